package ip

import (
	"encoding/binary"
	"net/netip"
)

// Sizes that other rooms reckon with.
const (
	// MaxLen is the longest packet that a length field can tell.
	MaxLen = 0xffff
	// MinMTU4 is what every IPv4 host takes in (RFC 791 §3.1), MinMTU6 what
	// every IPv6 link carries (RFC 8200 §5).
	MinMTU4 = 576
	MinMTU6 = 1280
	// FragmentLen is the length of IPv6's fragment header. Fragments of both
	// versions begin at a multiple of FragmentUnit bytes.
	FragmentLen  = 8
	FragmentUnit = 8
	// ExtensionUnit is what lengths of IPv6's extension headers count in.
	ExtensionUnit = 8
)

// Values of the ECN field (RFC 3168 §5).
const (
	NotECT = 0
	ECT1   = 1
	ECT0   = 2
	CE     = 3

	ecnMask = 3
)

const (
	version4 = 4 << 4
	version6 = 6 << 4

	dontFragment   = 0x4000
	moreFragments  = 0x2000
	offsetMask     = 0x1fff
	moreFragments6 = 1

	checksumAt4 = 10
	src4, dst4  = 12, 16
	src6, dst6  = 8, 24
	nextAt6     = 6
)

// Header is an IP header that is to be written, of the version of its
// addresses, without options and extension headers.
type Header struct {
	Src, Dst netip.Addr
	Protocol Protocol
	TTL      uint8 // or hop limit
	// TrafficClass is DSCP and ECN.
	TrafficClass uint8
	// FlowLabel is of IPv6 alone, what follows of IPv4 alone.
	FlowLabel      uint32
	ID             uint16
	DontFragment   bool
	MoreFragments  bool
	FragmentOffset int // in bytes, a multiple of FragmentUnit
}

// Len is the length of the header in bytes.
func (h *Header) Len() int { return HeaderLen(h.Dst) }

// Broadcast4 is the address of everybody on the link (RFC 919 §7).
func Broadcast4() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// HeaderLen is the length of a header without options and extension headers
// between addresses of a's version.
func HeaderLen(a netip.Addr) int {
	if a.Is4() {
		return MinHeader4
	}
	return Header6
}

// Put writes the header of a packet with so many bytes of payload to b, which
// is at least Len bytes long. A length that does not fit its field is left to
// the card that is to cut the packet, and written as 0.
func (h *Header) Put(b []byte, payload int) {
	if !h.Dst.Is4() {
		_ = b[Header6-1]
		if payload > MaxLen {
			payload = 0
		}
		binary.BigEndian.PutUint32(b, version6<<24|uint32(h.TrafficClass)<<20|h.FlowLabel&0xfffff)
		binary.BigEndian.PutUint16(b[4:], uint16(payload))
		b[nextAt6], b[7] = byte(h.Protocol), h.TTL
		s, d := h.Src.As16(), h.Dst.As16()
		copy(b[src6:], s[:])
		copy(b[dst6:], d[:])
		return
	}
	_ = b[MinHeader4-1]
	total := payload + MinHeader4
	if total > MaxLen {
		total = 0
	}
	b[0], b[1] = version4|MinHeader4/4, h.TrafficClass
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	binary.BigEndian.PutUint16(b[4:], h.ID)
	binary.BigEndian.PutUint16(b[6:], fragmentWord(h.FragmentOffset, h.MoreFragments, h.DontFragment))
	b[8], b[9] = h.TTL, byte(h.Protocol)
	s, d := h.Src.As4(), h.Dst.As4()
	copy(b[src4:], s[:])
	copy(b[dst4:], d[:])
	View(b).seal4(MinHeader4)
}

func fragmentWord(offset int, more, dont bool) uint16 {
	w := uint16(offset / FragmentUnit)
	if more {
		w |= moreFragments
	}
	if dont {
		w |= dontFragment
	}
	return w
}

// AppendTo appends the header of a packet with so many bytes of payload to b.
func (h *Header) AppendTo(b []byte, payload int) []byte {
	n := len(b)
	var room [Header6]byte
	b = append(b, room[:h.Len()]...)
	h.Put(b[n:], payload)
	return b
}

// FragmentHeader is IPv6's fragment header (RFC 8200 §4.5).
type FragmentHeader struct {
	Next   Protocol
	Offset int // in bytes, a multiple of FragmentUnit
	More   bool
	ID     uint32
}

// Put writes the header to b, which is at least FragmentLen bytes long.
func (f FragmentHeader) Put(b []byte) {
	w := uint16(f.Offset) &^ (FragmentUnit - 1)
	if f.More {
		w |= moreFragments6
	}
	b[0], b[1] = byte(f.Next), 0
	binary.BigEndian.PutUint16(b[2:], w)
	binary.BigEndian.PutUint32(b[4:], f.ID)
}

// ParseFragment reads a fragment header; b is at least FragmentLen bytes long.
func ParseFragment(b []byte) FragmentHeader {
	w := binary.BigEndian.Uint16(b[2:])
	return FragmentHeader{Protocol(b[0]), int(w &^ (FragmentUnit - 1)), w&moreFragments6 != 0, binary.BigEndian.Uint32(b[4:])}
}

// View is the bytes of a packet whose IP header is known to be whole: Whole
// tells. Its accessors read the fixed header alone, and cost next to nothing;
// Parse reads all.
type View []byte

// Whole tells whether the fixed header of one of the versions is there.
func (v View) Whole() bool {
	if len(v) < MinHeader4 {
		return false
	}
	return v.V4() || v.V6() && len(v) >= Header6
}

// V4 and V6 tell the version.
func (v View) V4() bool { return v[0]>>4 == 4 }
func (v View) V6() bool { return v[0]>>4 == 6 }

// HeaderLen is the length of the header, with IPv4's options and without
// IPv6's extension headers.
func (v View) HeaderLen() int {
	if v.V6() {
		return Header6
	}
	return int(v[0]&0xf) * 4
}

// Total is the length of the packet as it says itself; for IPv6 without a
// payload length it is that of the header.
func (v View) Total() int {
	if v.V6() {
		return Header6 + int(binary.BigEndian.Uint16(v[4:]))
	}
	return int(binary.BigEndian.Uint16(v[2:]))
}

// Protocol is that of the payload, or of the first extension header.
func (v View) Protocol() Protocol {
	if v.V6() {
		return Protocol(v[nextAt6])
	}
	return Protocol(v[9])
}

// NextHeaderAt is where an IPv6 packet tells the protocol of its payload.
func (v View) NextHeaderAt() int {
	if p, err := Parse(v); err == nil && p.NExtensions > 0 {
		return p.Extensions[p.NExtensions-1].At
	}
	return nextAt6
}

// TTL is the time to live, or the hop limit.
func (v View) TTL() uint8 {
	if v.V6() {
		return v[7]
	}
	return v[8]
}

// ECN is the two bits of explicit congestion notification.
func (v View) ECN() uint8 {
	if v.V6() {
		return v[1] >> 4 & ecnMask
	}
	return v[1] & ecnMask
}

// Source and Destination are the addresses.
func (v View) Source() netip.Addr {
	if v.V6() {
		return netip.AddrFrom16([16]byte(v[src6:]))
	}
	return netip.AddrFrom4([4]byte(v[src4:]))
}

// Destination is the address that the packet goes to.
func (v View) Destination() netip.Addr {
	if v.V6() {
		return netip.AddrFrom16([16]byte(v[dst6:]))
	}
	return netip.AddrFrom4([4]byte(v[dst4:]))
}

// ToMulticast tells whether the destination is a group, without making an
// address of it.
func (v View) ToMulticast() bool {
	if v.V6() {
		return v[dst6] == 0xff
	}
	return v[dst4]&0xf0 == 0xe0
}

// fragment4 is the word of the flags and the offset.
func (v View) fragment4() uint16 { return binary.BigEndian.Uint16(v[6:]) }

// DontFragment, MoreFragments and FragmentOffset are of IPv4's header; IPv6
// has a header of its own for them (FragmentHeader).
func (v View) DontFragment() bool  { return v.V4() && v.fragment4()&dontFragment != 0 }
func (v View) MoreFragments() bool { return v.V4() && v.fragment4()&moreFragments != 0 }
func (v View) FragmentOffset() int {
	if v.V6() {
		return 0
	}
	return int(v.fragment4()&offsetMask) * FragmentUnit
}

// Fragment tells whether an IPv4 packet is a part of one.
func (v View) Fragment() bool { return v.V4() && v.fragment4()&(moreFragments|offsetMask) != 0 }

// ChecksumOK tells whether the checksum of an IPv4 header is right, which is
// whole with its options; it is true for IPv6, which has none.
func (v View) ChecksumOK() bool { return v.V6() || Sum(0, v[:v.HeaderLen()]) == sumRight }

// sumRight is the sum over what has its right checksum in it.
const sumRight = 0xffff

// ID is the identification of IPv4.
func (v View) ID() uint16 { return binary.BigEndian.Uint16(v[4:]) }

// SetTTL changes the time to live, or the hop limit, and keeps the checksum as
// right or wrong as it was (RFC 1624).
func (v View) SetTTL(n uint8) {
	if v.V6() {
		v[7] = n
		return
	}
	var d Delta
	d.Put(v[8:], uint16(n)<<8|uint16(v[9]))
	v.update4(d)
}

// SetECN changes the two bits of explicit congestion notification, and keeps
// the checksum as right or wrong as it was (RFC 1624).
func (v View) SetECN(n uint8) {
	n &= ecnMask
	if v.V6() {
		v[1] = v[1]&^(ecnMask<<4) | n<<4
		return
	}
	var d Delta
	d.Put(v, uint16(v[0])<<8|uint16(v[1]&^ecnMask|n))
	v.update4(d)
}

// SetFragment makes an IPv4 header that of a part of a packet, with another
// length and its checksum; whether it may be fragmented stays as it was.
func (v View) SetFragment(offset int, more bool, payload int) {
	binary.BigEndian.PutUint16(v[6:], fragmentWord(offset, more, v.DontFragment()))
	v.SetPayload(payload)
}

// SetNext makes p the protocol of what follows IPv6's header.
func (v View) SetNext(p Protocol) { v[nextAt6] = byte(p) }

// SetID changes the identification of IPv4; the checksum is made by SetPayload.
func (v View) SetID(id uint16) { binary.BigEndian.PutUint16(v[4:], id) }

// SetPayload tells the length of what follows the header, and makes the
// checksum of IPv4.
func (v View) SetPayload(n int) {
	if v.V6() {
		binary.BigEndian.PutUint16(v[4:], uint16(n))
		return
	}
	head := v.HeaderLen()
	binary.BigEndian.PutUint16(v[2:], uint16(head+n))
	v.seal4(head)
}

func (v View) seal4(head int) {
	binary.BigEndian.PutUint16(v[checksumAt4:], 0)
	binary.BigEndian.PutUint16(v[checksumAt4:], ^Sum(0, v[:head]))
}

func (v View) update4(d Delta) {
	f := v[checksumAt4:]
	binary.BigEndian.PutUint16(f, d.Checksum(binary.BigEndian.Uint16(f)))
}

// Readdress gives the packet other addresses and keeps the checksum of its
// header as right or wrong as it was. pseudo is what that changes in the sum of
// the pseudo-header, header what it changes in a sum over the whole header.
func (v View) Readdress(src, dst netip.Addr) (pseudo, header Delta) {
	if v.V6() {
		pseudo.PutAddr(v[src6:], src)
		pseudo.PutAddr(v[dst6:], dst)
		return pseudo, pseudo
	}
	pseudo.PutAddr(v[src4:], src)
	pseudo.PutAddr(v[dst4:], dst)
	header = pseudo
	f := v[checksumAt4:]
	header.Put(f, pseudo.Checksum(binary.BigEndian.Uint16(f)))
	return pseudo, header
}

// PseudoSum is the sum of the pseudo-header of a transport packet of n bytes
// (RFC 9293 §3.1, RFC 8200 §8.1), from the addresses as they stand.
func (v View) PseudoSum(p Protocol, n int) uint16 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	b[7] = byte(p)
	s := Sum(0, b[:])
	if v.V6() {
		return Sum(s, v[src6:Header6])
	}
	return Sum(s, v[src4:MinHeader4])
}

// SourceRouted tells whether IPv4 options hold a source route (RFC 791 §3.1).
func (v View) SourceRouted() bool {
	for o := v[MinHeader4:v.HeaderLen()]; len(o) > 0 && o[0] != optEnd; {
		switch {
		case o[0] == optLooseRoute || o[0] == optStrictRoute:
			return true
		case o[0] == optNop:
			o = o[1:]
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return false
		default:
			o = o[o[1]:]
		}
	}
	return false
}

// Options of IPv4 (IANA).
const (
	optEnd         = 0
	optNop         = 1
	optLooseRoute  = 131
	optStrictRoute = 137
)

// segmentsLeftAt is where a routing header tells how many nodes are still to be
// visited, counted from where it begins (RFC 8200 §4.4). RoutingTypeAt is where
// it tells what kind of route it is.
const (
	RoutingTypeAt  = 2
	segmentsLeftAt = 3
)

// SegmentsLeft is how many nodes a routing header that begins at b wants still
// to be visited.
func SegmentsLeft(b []byte) uint8 { return b[segmentsLeftAt] }

// UnknownOption looks for an option in a hop-by-hop or destination options
// header b that may not be skipped by whom does not know it. It returns where
// it stands in b, and what its highest bits ask for instead (RFC 8200 §4.2).
func UnknownOption(b []byte) (at int, act OptionAction) {
	const pad1, padN = 0, 1
	for n := 2; n < len(b); {
		if b[n] == pad1 {
			n++
			continue
		}
		if b[n] > padN && b[n]>>6 != 0 {
			return n, OptionAction(b[n] >> 6)
		}
		if n+1 >= len(b) {
			break
		}
		n += 2 + int(b[n+1])
	}
	return 0, SkipOption
}

// OptionAction is what an option asks of a host that does not know it.
type OptionAction uint8

const (
	// SkipOption passes over the option.
	SkipOption OptionAction = iota
	// DropPacket: without a word.
	DropPacket
	// ReportPacket: dropped, and told to its source.
	ReportPacket
	// ReportUnicast: told only if it was not for a group.
	ReportUnicast
)
