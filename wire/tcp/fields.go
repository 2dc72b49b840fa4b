package tcp

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"peel/trace"
	"peel/wire/layout"
)

var headerFields = []layout.Field{
	{Name: "tcp.srcport", Bit: 0, Bits: 16},
	{Name: "tcp.dstport", Bit: 16, Bits: 16},
	{Name: "tcp.seq_raw", Bit: 32, Bits: 32},
	{Name: "tcp.ack_raw", Bit: 64, Bits: 32},
	{Name: "tcp.hdr_len", Bit: 96, Bits: 4, Scale: 4},
	{Name: "tcp.flags.res", Bit: 100, Bits: 3},
	{Name: "tcp.flags", Bit: 100, Bits: 12, Kind: layout.Hex, Meaning: func(v uint64) string { return Flags(v & 0x1ff).String() }},
	{Name: "tcp.window_size_value", Bit: 112, Bits: 16},
	{Name: "tcp.checksum", Bit: 128, Bits: 16, Kind: layout.Hex},
	{Name: "tcp.urgent_pointer", Bit: 144, Bits: 16},
}

var optionNames = map[byte]string{OptEnd: "end of option list", OptNop: "no operation", OptMSS: "maximum segment size", OptWindowScale: "window scale",
	OptSACKPermitted: "SACK permitted", OptSACK: "SACK", OptTimestamps: "timestamps", OptUserTimeout: "user timeout", OptAuth: "TCP-AO",
	19: "MD5 signature", OptMPTCP: "multipath TCP", OptFastOpen: "Fast Open cookie"}

// Fields returns the tree of a segment's header with its options; base is
// where b stands in the packet.
func Fields(b []byte, base int) []trace.Field {
	out := layout.Tree(b, base, headerFields)
	s, err := Parse(b)
	if err != nil {
		return out
	}
	opts := s.OptionBytes()
	for i := 0; i < len(opts); {
		f := trace.Field{Name: "tcp.option_kind", Value: strconv.Itoa(int(opts[i])), Meaning: optionNames[opts[i]], Offset: base + MinHeader + i, Length: 1}
		if opts[i] > OptNop {
			if i+2 > len(opts) || opts[i+1] < 2 || i+int(opts[i+1]) > len(opts) {
				f.Meaning = fmt.Sprintf("overruns the header: %d bytes are left", len(opts)-i)
				f.Length = len(opts) - i
				return append(out, f)
			}
			f.Length = int(opts[i+1])
			f.Children = optionFields(opts[i], opts[i+2:i+f.Length], f.Offset+2)
		}
		out = append(out, f)
		if opts[i] == OptEnd {
			break
		}
		i += f.Length
	}
	return out
}

func optionFields(kind byte, v []byte, at int) []trace.Field {
	u32 := func(name string, i int) trace.Field {
		return trace.Field{Name: name, Value: strconv.FormatUint(uint64(binary.BigEndian.Uint32(v[i:])), 10), Offset: at + i, Length: 4}
	}
	switch {
	case kind == OptMSS && len(v) == 2:
		return []trace.Field{{Name: "tcp.options.mss_val", Value: strconv.Itoa(int(binary.BigEndian.Uint16(v))), Offset: at, Length: 2}}
	case kind == OptWindowScale && len(v) == 1:
		return []trace.Field{{Name: "tcp.options.wscale.shift", Value: strconv.Itoa(int(v[0])), Meaning: fmt.Sprintf("multiply by %d", uint64(1)<<min(v[0], 14)), Offset: at, Length: 1}}
	case kind == OptTimestamps && len(v) == 8:
		return []trace.Field{u32("tcp.options.timestamp.tsval", 0), u32("tcp.options.timestamp.tsecr", 4)}
	case kind == OptSACK:
		var out []trace.Field
		for i := 0; i+8 <= len(v); i += 8 {
			out = append(out, u32("tcp.options.sack_le", i), u32("tcp.options.sack_re", i+4))
		}
		return out
	case len(v) > 0:
		return []trace.Field{{Name: "tcp.option_data", Value: hex.EncodeToString(v), Offset: at, Length: len(v)}}
	}
	return nil
}
