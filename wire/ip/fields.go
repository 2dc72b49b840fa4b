package ip

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"peel/trace"
	"peel/wire/layout"
)

func protoName(v uint64) string { return Protocol(v).String() }

var dscpNames = layout.Names(map[uint64]string{0: "default (CS0)", 8: "CS1", 10: "AF11", 16: "CS2",
	18: "AF21", 24: "CS3", 26: "AF31", 32: "CS4", 34: "AF41", 40: "CS5", 46: "EF", 48: "CS6", 56: "CS7"})
var ecnNames = layout.Names(map[uint64]string{0: "not ECN-capable", 1: "ECT(1)", 2: "ECT(0)", 3: "congestion experienced"})

var fields4 = []layout.Field{
	{Name: "ip.version", Bit: 0, Bits: 4},
	{Name: "ip.hdr_len", Bit: 4, Bits: 4, Scale: 4},
	{Name: "ip.dsfield.dscp", Bit: 8, Bits: 6, Meaning: dscpNames},
	{Name: "ip.dsfield.ecn", Bit: 14, Bits: 2, Meaning: ecnNames},
	{Name: "ip.len", Bit: 16, Bits: 16},
	{Name: "ip.id", Bit: 32, Bits: 16, Kind: layout.Hex},
	{Name: "ip.flags.rb", Bit: 48, Bits: 1, Kind: layout.Flag},
	{Name: "ip.flags.df", Bit: 49, Bits: 1, Kind: layout.Flag},
	{Name: "ip.flags.mf", Bit: 50, Bits: 1, Kind: layout.Flag},
	{Name: "ip.frag_offset", Bit: 51, Bits: 13, Scale: 8},
	{Name: "ip.ttl", Bit: 64, Bits: 8},
	{Name: "ip.proto", Bit: 72, Bits: 8, Meaning: protoName},
	{Name: "ip.checksum", Bit: 80, Bits: 16, Kind: layout.Hex},
	{Name: "ip.src", Bit: 96, Bits: 32, Kind: layout.Addr},
	{Name: "ip.dst", Bit: 128, Bits: 32, Kind: layout.Addr},
}

var fields6 = []layout.Field{
	{Name: "ipv6.version", Bit: 0, Bits: 4},
	{Name: "ipv6.tclass.dscp", Bit: 4, Bits: 6, Meaning: dscpNames},
	{Name: "ipv6.tclass.ecn", Bit: 10, Bits: 2, Meaning: ecnNames},
	{Name: "ipv6.flow", Bit: 12, Bits: 20, Kind: layout.Hex},
	{Name: "ipv6.plen", Bit: 32, Bits: 16},
	{Name: "ipv6.nxt", Bit: 48, Bits: 8, Meaning: protoName},
	{Name: "ipv6.hlim", Bit: 56, Bits: 8},
	{Name: "ipv6.src", Bit: 64, Bits: 128, Kind: layout.Addr},
	{Name: "ipv6.dst", Bit: 192, Bits: 128, Kind: layout.Addr},
}

var fragmentFields = []layout.Field{
	{Name: "ipv6.fraghdr.nxt", Bit: 0, Bits: 8, Meaning: protoName},
	{Name: "ipv6.fraghdr.offset", Bit: 16, Bits: 13, Scale: 8},
	{Name: "ipv6.fraghdr.more", Bit: 31, Bits: 1, Kind: layout.Flag},
	{Name: "ipv6.fraghdr.ident", Bit: 32, Bits: 32, Kind: layout.Hex},
}

var extensionFields = []layout.Field{
	{Name: "ipv6.opt.nxt", Bit: 0, Bits: 8, Meaning: protoName},
	{Name: "ipv6.opt.len", Bit: 8, Bits: 8, Meaning: func(v uint64) string { return strconv.FormatUint(v*8+8, 10) + " bytes" }},
}

// Fields returns the tree of an IP header's fields, with its options or
// extension headers; base is where b stands in the packet.
func Fields(b []byte, base int) []trace.Field {
	if len(b) == 0 {
		return nil
	}
	if b[0]>>4 == 6 {
		out := layout.Tree(b, base, fields6)
		p, _ := Parse(b)
		for _, e := range p.Extensions[:p.NExtensions] {
			out = append(out, extension(b, base, e))
		}
		return out
	}
	out := layout.Tree(b, base, fields4)
	p, err := Parse(b)
	if err != nil {
		return out
	}
	for i := range out {
		if out[i].Name == "ip.checksum" {
			out[i].Meaning = "right"
			if !p.ChecksumOK {
				out[i].Meaning = "wrong"
			}
		}
	}
	return append(out, options4(b[:p.HeaderLen], base)...)
}

func extension(b []byte, base int, e Extension) trace.Field {
	f := trace.Field{Name: "ipv6.ext", Value: e.Protocol.String(), Offset: base + e.At, Length: e.Len}
	raw := b[e.At : e.At+e.Len]
	if e.Protocol == ProtoFragment {
		f.Children = layout.Tree(raw, base+e.At, fragmentFields)
		return f
	}
	f.Children = layout.Tree(raw, base+e.At, extensionFields)
	if e.Protocol != ProtoHopByHop && e.Protocol != ProtoDestOpts {
		return f
	}
	for i := 2; i < len(raw); { // RFC 8200 §4.2
		if raw[i] == 0 {
			f.Children = append(f.Children, trace.Field{Name: "ipv6.opt.pad1", Value: "1 byte", Offset: base + e.At + i, Length: 1})
			i++
			continue
		}
		if i+2 > len(raw) || i+2+int(raw[i+1]) > len(raw) {
			break
		}
		n := 2 + int(raw[i+1])
		f.Children = append(f.Children, trace.Field{Name: "ipv6.opt.type", Value: strconv.Itoa(int(raw[i])), Meaning: option6(raw[i]), Offset: base + e.At + i, Length: n})
		i += n
	}
	return f
}

func option6(t byte) string {
	switch t {
	case 1:
		return "padding"
	case 5:
		return "router alert"
	case 0xc2:
		return "jumbo payload"
	}
	return ""
}

var optionNames = map[byte]string{0: "end of options", 1: "no operation", 7: "record route", 68: "timestamp",
	130: "security", 131: "loose source route", 137: "strict source route", 148: "router alert"}

// options4 lists IPv4 options (RFC 791 §3.1).
func options4(h []byte, base int) []trace.Field {
	var out []trace.Field
	for i := MinHeader4; i < len(h); {
		t, n := h[i], 1
		if t > 1 {
			if i+2 > len(h) || h[i+1] < 2 || i+int(h[i+1]) > len(h) {
				return append(out, trace.Field{Name: "ip.opt.type", Value: strconv.Itoa(int(t)), Meaning: fmt.Sprintf("overruns the header at byte %d", i), Offset: base + i, Length: len(h) - i})
			}
			n = int(h[i+1])
		}
		f := trace.Field{Name: "ip.opt.type", Value: strconv.Itoa(int(t)), Meaning: optionNames[t], Offset: base + i, Length: n}
		if n > 2 {
			f.Children = []trace.Field{{Name: "ip.opt.data", Value: hex.EncodeToString(h[i+2 : i+n]), Offset: base + i + 2, Length: n - 2}}
		}
		out = append(out, f)
		if t == 0 {
			break
		}
		i += n
	}
	return out
}
