// Package ethernet is the frame of IEEE 802.3 with the VLAN tags of 802.1Q
// and 802.1ad. Numbers are in network byte order.
package ethernet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strconv"

	"peel/trace"
	"peel/wire/layout"
)

// Type is an EtherType (IANA, IEEE 802 Numbers).
type Type uint16

// The types that this project reads or names.
const (
	TypeIPv4  Type = 0x0800
	TypeARP   Type = 0x0806
	TypeVLAN  Type = 0x8100
	TypeIPv6  Type = 0x86dd
	TypePPPoE Type = 0x8864
	TypeQinQ  Type = 0x88a8
	TypeQinQ1 Type = 0x9100 // before 802.1ad
)

var typeNames = map[Type]string{TypeIPv4: "IPv4", TypeARP: "ARP", TypeVLAN: "802.1Q VLAN", TypeIPv6: "IPv6",
	TypeQinQ: "802.1ad QinQ", TypeQinQ1: "QinQ (old)",
	TypePPPoE: "PPPoE session", 0x8863: "PPPoE discovery", 0x88cc: "LLDP", 0x888e: "802.1X", 0x8847: "MPLS", 0x8035: "RARP", 0x88e5: "MACsec", 0x88f7: "PTP", 0x0842: "Wake-on-LAN"}

func (t Type) String() string {
	if n := typeNames[t]; n != "" {
		return n
	}
	return fmt.Sprintf("EtherType 0x%04x", uint16(t))
}

// MAC is an address of 48 bits.
type MAC [6]byte

func (m MAC) String() string { return layout.HardwareAddr(m[:]) }

// Everybody is the address of all stations of a link.
func Everybody() MAC { return MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// Broadcast tells whether m is ff:ff:ff:ff:ff:ff.
func (m MAC) Broadcast() bool { return m == Everybody() }

// Multicast tells whether the group bit is set, as it is in Broadcast too.
func (m MAC) Multicast() bool { return m[0]&1 != 0 }

// Group is the address at which a link listens to a multicast group of IPv4
// (RFC 1112 §6.4) or IPv6 (RFC 2464 §7).
func Group(a netip.Addr) MAC {
	if a.Is4() {
		b := a.As4()
		return MAC{1, 0, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// Header lengths in bytes.
const (
	HeaderLen = 14
	TagLen    = 4
	// MaxTags bounds the VLAN tags that are read.
	MaxTags = 8
)

// Header is what stands before a frame's payload.
type Header struct {
	Dst, Src MAC
	// VLAN holds the tags from the outside in; TagCount of them count.
	VLAN     [MaxTags]Tag
	TagCount int
	// Type of the payload; 0 for an 802.3 frame that gives its length
	// instead, in Length802.
	Type      Type
	Length802 int
	// Len is the length of the header with its tags.
	Len int
}

// Tag is a VLAN tag (IEEE 802.1Q §9.6).
type Tag struct {
	TPID Type
	TCI  uint16
}

// ID is the VLAN identifier, 0 to 4095.
func (t Tag) ID() int { return int(t.TCI & 0xfff) }

// Priority is the priority code point, 0 to 7.
func (t Tag) Priority() int { return int(t.TCI >> 13) }

// Parse reads the header of a frame.
func Parse(b []byte) (Header, error) {
	var h Header
	if len(b) < HeaderLen {
		return h, fmt.Errorf("ethernet: %d bytes are too few for a header of %d", len(b), HeaderLen)
	}
	copy(h.Dst[:], b)
	copy(h.Src[:], b[srcAt:])
	h.Len = HeaderLen
	typ := Type(binary.BigEndian.Uint16(b[typeAt:]))
	for typ == TypeVLAN || typ == TypeQinQ || typ == TypeQinQ1 {
		if len(b) < h.Len+TagLen {
			return h, fmt.Errorf("ethernet: the VLAN tag is cut off after %d of 4 bytes", len(b)-h.Len)
		}
		if h.TagCount == MaxTags {
			return h, fmt.Errorf("ethernet: more than %d VLAN tags", MaxTags)
		}
		h.VLAN[h.TagCount] = Tag{typ, binary.BigEndian.Uint16(b[h.Len:])}
		h.TagCount++
		typ = Type(binary.BigEndian.Uint16(b[h.Len+2:]))
		h.Len += TagLen
	}
	// IEEE 802.3 §3.2.6: up to 1500 it is a length, from 1536 a type.
	if typ < 1536 {
		h.Length802 = int(typ)
		typ = 0
	}
	h.Type = typ
	return h, nil
}

// Put writes the header with its tags to b, which is at least HeaderLen bytes
// and TagLen for each tag long, and returns how many bytes it took.
func (h *Header) Put(b []byte) int {
	copy(b, h.Dst[:])
	copy(b[srcAt:], h.Src[:])
	at := typeAt
	for _, t := range h.VLAN[:h.TagCount] {
		binary.BigEndian.PutUint16(b[at:], uint16(t.TPID))
		binary.BigEndian.PutUint16(b[at+2:], t.TCI)
		at += TagLen
	}
	last := uint16(h.Type)
	if h.Type == 0 {
		last = uint16(h.Length802)
	}
	binary.BigEndian.PutUint16(b[at:], last)
	return at + 2
}

const srcAt, typeAt = 6, 12

// Frame is the bytes of a frame of at least HeaderLen: its accessors cost next
// to nothing, and do not look behind tags as Parse does.
type Frame []byte

// Destination is the MAC address of the receiver.
func (f Frame) Destination() MAC { return MAC(f[:srcAt]) }

// Source is the MAC address of the sender.
func (f Frame) Source() MAC { return MAC(f[srcAt:typeAt]) }

// Type is that of the payload, or of the first tag.
func (f Frame) Type() Type { return Type(binary.BigEndian.Uint16(f[typeAt:])) }

// SetHeader writes a header without tags.
func (f Frame) SetHeader(dst, src MAC, t Type) {
	copy(f, dst[:])
	copy(f[srcAt:], src[:])
	binary.BigEndian.PutUint16(f[typeAt:], uint16(t))
}

var headerFields = []layout.Field{
	{Name: "eth.dst", Bit: 0, Bits: 48, Kind: layout.MAC},
	{Name: "eth.src", Bit: 48, Bits: 48, Kind: layout.MAC},
	{Name: "eth.type", Bit: 96, Bits: 16, Kind: layout.Hex, Meaning: func(v uint64) string { return Type(v).String() }},
}

var tagFields = []layout.Field{
	{Name: "vlan.priority", Bit: 0, Bits: 3},
	{Name: "vlan.dei", Bit: 3, Bits: 1, Kind: layout.Flag},
	{Name: "vlan.id", Bit: 4, Bits: 12},
	{Name: "vlan.etype", Bit: 16, Bits: 16, Kind: layout.Hex, Meaning: func(v uint64) string { return Type(v).String() }},
}

// Fields returns the tree of the header's fields; base is where b stands in
// the packet.
func Fields(b []byte, base int) []trace.Field {
	out := layout.Tree(b, base, headerFields)
	h, err := Parse(b)
	if err != nil {
		return out
	}
	if h.Type == 0 && h.TagCount == 0 {
		out[2] = trace.Field{Name: "eth.len", Value: strconv.Itoa(h.Length802), Offset: base + 12, Length: 2}
	}
	for i := range h.TagCount {
		at := HeaderLen + i*TagLen
		out = append(out, trace.Field{Name: "vlan", Value: strconv.Itoa(h.VLAN[i].ID()), Offset: base + at, Length: TagLen, Children: layout.Tree(b[at:], base+at, tagFields)})
	}
	return out
}

// FCS returns the frame check sequence of a frame without it, as the four
// bytes that follow it on the wire (IEEE 802.3 §3.2.9): least significant
// byte first.
func FCS(frame []byte) [4]byte {
	var out [4]byte
	binary.LittleEndian.PutUint32(out[:], crc32.ChecksumIEEE(frame))
	return out
}
