// Package cooked is the headers that capturing puts where a link's own would
// be: Linux cooked capture (LINKTYPE_LINUX_SLL and SLL2) and the address
// family of BSD loopback (LINKTYPE_NULL and LOOP).
package cooked

import (
	"encoding/binary"
	"fmt"

	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/layout"
)

// Header is what such a header tells.
type Header struct {
	Type ethernet.Type
	// Outgoing tells that the capturing host sent the packet.
	Outgoing bool
	// Address is the sender's link-layer address, nil when there is none.
	Address []byte
	// Index is the interface's number (SLL2), else 0.
	Index uint32
	Len   int
}

// Header lengths in bytes.
const (
	SLLLen  = 16
	SLL2Len = 20
	NullLen = 4
)

const outgoing = 4 // PACKET_OUTGOING

// ParseSLL reads a Linux cooked header v1.
func ParseSLL(b []byte) (Header, error) {
	if len(b) < SLLLen {
		return Header{}, fmt.Errorf("sll: %d bytes are too few for a header of %d", len(b), SLLLen)
	}
	n := min(int(binary.BigEndian.Uint16(b[4:])), 8)
	h := Header{Type: ethernet.Type(binary.BigEndian.Uint16(b[14:])), Outgoing: binary.BigEndian.Uint16(b) == outgoing, Address: b[6 : 6+n], Len: SLLLen}
	return untag(h, b)
}

// ParseSLL2 reads a Linux cooked header v2.
func ParseSLL2(b []byte) (Header, error) {
	if len(b) < SLL2Len {
		return Header{}, fmt.Errorf("sll2: %d bytes are too few for a header of %d", len(b), SLL2Len)
	}
	n := min(int(b[11]), 8)
	h := Header{Type: ethernet.Type(binary.BigEndian.Uint16(b)), Outgoing: b[10] == outgoing, Address: b[12 : 12+n], Index: binary.BigEndian.Uint32(b[4:]), Len: SLL2Len}
	return untag(h, b)
}

// untag passes over VLAN tags, which cooked captures leave in.
func untag(h Header, b []byte) (Header, error) {
	for i := 0; h.Type == ethernet.TypeVLAN || h.Type == ethernet.TypeQinQ; i++ {
		if i == ethernet.MaxTags || len(b) < h.Len+ethernet.TagLen {
			return h, fmt.Errorf("sll: the VLAN tag at byte %d is cut off", h.Len)
		}
		h.Type = ethernet.Type(binary.BigEndian.Uint16(b[h.Len+2:]))
		h.Len += ethernet.TagLen
	}
	return h, nil
}

// ParseNull reads the address family of a loopback capture, which stands in
// the byte order of whoever captured it; systems number AF_INET6 differently.
func ParseNull(b []byte) (Header, error) {
	if len(b) < NullLen {
		return Header{}, fmt.Errorf("loopback: %d bytes are too few for a header of %d", len(b), NullLen)
	}
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	h := Header{Len: NullLen}
	switch family {
	case 2:
		h.Type = ethernet.TypeIPv4
	case 10, 24, 28, 30:
		h.Type = ethernet.TypeIPv6
	default:
		return h, fmt.Errorf("loopback: address family %d is neither IPv4 nor IPv6", family)
	}
	return h, nil
}

var packetTypes = layout.Names(map[uint64]string{0: "to us", 1: "broadcast", 2: "multicast", 3: "to another host", 4: "sent by us"})

func typeName(v uint64) string { return ethernet.Type(v).String() }

var sllFields = []layout.Field{
	{Name: "sll.pkttype", Bit: 0, Bits: 16, Meaning: packetTypes},
	{Name: "sll.hatype", Bit: 16, Bits: 16},
	{Name: "sll.halen", Bit: 32, Bits: 16},
	{Name: "sll.src.other", Bit: 48, Bits: 64, Kind: layout.Bytes},
	{Name: "sll.etype", Bit: 112, Bits: 16, Kind: layout.Hex, Meaning: typeName},
}

var sll2Fields = []layout.Field{
	{Name: "sll.etype", Bit: 0, Bits: 16, Kind: layout.Hex, Meaning: typeName},
	{Name: "sll.ifindex", Bit: 32, Bits: 32},
	{Name: "sll.hatype", Bit: 64, Bits: 16},
	{Name: "sll.pkttype", Bit: 80, Bits: 8, Meaning: packetTypes},
	{Name: "sll.halen", Bit: 88, Bits: 8},
	{Name: "sll.src.other", Bit: 96, Bits: 64, Kind: layout.Bytes},
}

var nullFields = []layout.Field{{Name: "null.family", Bit: 0, Bits: 32, Kind: layout.Bytes}}

// SLLFields, SLL2Fields and NullFields return the trees of fields.
func SLLFields(b []byte, base int) []trace.Field  { return layout.Tree(b, base, sllFields) }
func SLL2Fields(b []byte, base int) []trace.Field { return layout.Tree(b, base, sll2Fields) }
func NullFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, nullFields) }
