package tunnel

import (
	"encoding/binary"
	"strconv"

	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/layout"
)

func typeName(v uint64) string {
	switch t := ethernet.Type(v); t {
	case TypeTEB:
		return "Transparent Ethernet Bridging"
	case TypePPP:
		return "PPP"
	case typeERSPAN2:
		return "ERSPAN"
	case typeERSPAN3:
		return "ERSPAN III"
	default:
		return t.String()
	}
}

var greFields = []layout.Field{
	{Name: "gre.flags.checksum", Bit: 0, Bits: 1, Kind: layout.Flag},
	{Name: "gre.flags.routing", Bit: 1, Bits: 1, Kind: layout.Flag},
	{Name: "gre.flags.key", Bit: 2, Bits: 1, Kind: layout.Flag},
	{Name: "gre.flags.sequence_number", Bit: 3, Bits: 1, Kind: layout.Flag},
	{Name: "gre.flags.version", Bit: 13, Bits: 3},
	{Name: "gre.proto", Bit: 16, Bits: 16, Kind: layout.Hex, Meaning: typeName},
}

// GREFields returns the fields of a GRE header; base is where b stands in the
// packet.
func GREFields(b []byte, base int) []trace.Field {
	out := layout.Tree(b, base, greFields)
	if _, err := greLen(b); err != nil {
		return out
	}
	flags := binary.BigEndian.Uint16(b)
	at := 4
	word := func(name string, bits int) {
		out = append(out, layout.Tree(b[at:], base+at, []layout.Field{{Name: name, Bits: bits, Kind: kindOf(name)}})...)
		at += bits / 8
	}
	if flags&greVersion == 1 {
		word("gre.key.payload_length", 16)
		word("gre.key.call_id", 16)
	} else {
		if flags&greChecksum != 0 {
			word("gre.checksum", 16)
			word("gre.offset", 16)
		}
		if flags&greKey != 0 {
			word("gre.key", 32)
		}
	}
	if flags&greSequence != 0 {
		word("gre.sequence_number", 32)
	}
	if flags&greVersion == 1 && flags&greAck != 0 {
		word("gre.ack_number", 32)
	}
	return out
}

func kindOf(name string) layout.Kind {
	if name == "gre.key" || name == "gre.checksum" {
		return layout.Hex
	}
	return layout.Decimal
}

var vxlanFields = []layout.Field{
	{Name: "vxlan.flags", Bit: 0, Bits: 16, Kind: layout.Hex},
	{Name: "vxlan.gbp", Bit: 16, Bits: 16},
	{Name: "vxlan.vni", Bit: 32, Bits: 24},
}

// VXLANFields returns the fields of a VXLAN header.
func VXLANFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, vxlanFields) }

var labelFields = []layout.Field{
	{Name: "mpls.label", Bit: 0, Bits: 20},
	{Name: "mpls.exp", Bit: 20, Bits: 3},
	{Name: "mpls.bottom", Bit: 23, Bits: 1, Kind: layout.Flag},
	{Name: "mpls.ttl", Bit: 24, Bits: 8},
}

// MPLSFields returns the fields of a label stack, a tree for each label.
func MPLSFields(b []byte, base int) []trace.Field {
	var out []trace.Field
	for n := 0; n+4 <= len(b) && n < maxLabels*4; n += 4 {
		label := uint64(binary.BigEndian.Uint32(b[n:]) >> 12)
		out = append(out, trace.Field{Name: "mpls", Value: strconv.FormatUint(label, 10), Offset: base + n, Length: 4, Children: layout.Tree(b[n:], base+n, labelFields)})
		if b[n+2]&1 != 0 {
			break
		}
	}
	return out
}

var pppoeFields = []layout.Field{
	{Name: "pppoe.version", Bit: 0, Bits: 4},
	{Name: "pppoe.type", Bit: 4, Bits: 4},
	{Name: "pppoe.code", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "pppoe.session_id", Bit: 16, Bits: 16, Kind: layout.Hex},
	{Name: "pppoe.payload_length", Bit: 32, Bits: 16},
	{Name: "ppp.protocol", Bit: 48, Bits: 16, Kind: layout.Hex},
}

// PPPoEFields returns the fields of a PPPoE header and of the PPP header behind
// it.
func PPPoEFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, pppoeFields) }

var geneveFields = []layout.Field{
	{Name: "geneve.version", Bit: 0, Bits: 2},
	{Name: "geneve.option.length", Bit: 2, Bits: 6, Scale: 4},
	{Name: "geneve.flags", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "geneve.proto_type", Bit: 16, Bits: 16, Kind: layout.Hex, Meaning: typeName},
	{Name: "geneve.vni", Bit: 32, Bits: 24, Kind: layout.Hex},
}

// GeneveFields returns the fields of a Geneve header.
func GeneveFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, geneveFields) }

var gtpFields = []layout.Field{
	{Name: "gtp.flags", Bit: 0, Bits: 8, Kind: layout.Hex},
	{Name: "gtp.message", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "gtp.length", Bit: 16, Bits: 16},
	{Name: "gtp.teid", Bit: 32, Bits: 32, Kind: layout.Hex},
}

// GTPFields returns the fields of a GTP-U header.
func GTPFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, gtpFields) }

var ayiyaFields = []layout.Field{
	{Name: "ayiya.idlen", Bit: 0, Bits: 4},
	{Name: "ayiya.idtype", Bit: 4, Bits: 4},
	{Name: "ayiya.siglen", Bit: 8, Bits: 4, Scale: 4},
	{Name: "ayiya.hashmethod", Bit: 12, Bits: 4},
	{Name: "ayiya.authmethod", Bit: 16, Bits: 4},
	{Name: "ayiya.opcode", Bit: 20, Bits: 4},
	{Name: "ayiya.nextheader", Bit: 24, Bits: 8},
}

// AYIYAFields returns the fields of an AYIYA header.
func AYIYAFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, ayiyaFields) }

var l2tpFields = []layout.Field{
	{Name: "l2tp.type", Bit: 0, Bits: 1, Kind: layout.Flag},
	{Name: "l2tp.length_bit", Bit: 1, Bits: 1, Kind: layout.Flag},
	{Name: "l2tp.seq_bit", Bit: 4, Bits: 1, Kind: layout.Flag},
	{Name: "l2tp.offset_bit", Bit: 6, Bits: 1, Kind: layout.Flag},
	{Name: "l2tp.version", Bit: 12, Bits: 4},
}

// L2TPFields returns the flags of an L2TP header.
func L2TPFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, l2tpFields) }

var hdlcFields = []layout.Field{
	{Name: "chdlc.address", Bit: 0, Bits: 8, Kind: layout.Hex},
	{Name: "chdlc.control", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "chdlc.protocol", Bit: 16, Bits: 16, Kind: layout.Hex},
}

// HDLCFields returns the fields of a header of HDLC framing.
func HDLCFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, hdlcFields) }
