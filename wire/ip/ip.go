// Package ip is the Internet Protocol, version 4 (RFC 791) and 6 (RFC 8200):
// headers, options, extension headers, checksums and reassembly. Numbers are
// in network byte order.
package ip

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Protocol is the number in IPv4's Protocol field and IPv6's Next Header field
// (IANA, Protocol Numbers).
type Protocol uint8

// The numbers that this project reads, among them all extension headers of
// IPv6 (RFC 7045).
const (
	ProtoHopByHop Protocol = 0
	ProtoICMP     Protocol = 1
	ProtoTCP      Protocol = 6
	ProtoUDP      Protocol = 17
	ProtoRouting  Protocol = 43
	ProtoFragment Protocol = 44
	ProtoESP      Protocol = 50
	ProtoAH       Protocol = 51
	ProtoICMPv6   Protocol = 58
	ProtoNone     Protocol = 59
	ProtoDestOpts Protocol = 60
	ProtoMobility Protocol = 135
	ProtoHIP      Protocol = 139
	ProtoShim6    Protocol = 140
)

var protoNames = map[Protocol]string{0: "hop-by-hop options", 1: "ICMP", 2: "IGMP", 4: "IPv4", 6: "TCP", 17: "UDP", 41: "IPv6", 43: "routing", 44: "fragment", 47: "GRE",
	50: "ESP", 51: "AH", 58: "ICMPv6", 59: "no next header", 60: "destination options", 89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP", 135: "mobility"}

func (p Protocol) String() string {
	if n := protoNames[p]; n != "" {
		return n
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Header lengths in bytes.
const (
	MinHeader4 = 20
	Header6    = 40
	// maxExtensions bounds the extension headers that are read.
	maxExtensions = 16
)

// Packet is what the headers of an IP packet say.
type Packet struct {
	Version  int
	Src, Dst netip.Addr
	// Protocol of the payload, behind all extension headers.
	Protocol Protocol
	// HeaderLen counts every header up to the payload; Total is the length
	// of the packet as it says itself. 0 stands for what segmentation
	// offload had not filled in yet.
	HeaderLen, Total int
	TTL              uint8 // or hop limit
	TrafficClass     uint8 // DSCP and ECN
	ID               uint32
	FlowLabel        uint32
	DontFragment     bool
	// Fragment tells that this is a part; it begins at FragmentOffset bytes
	// of the whole payload and MoreFragments follow.
	Fragment       bool
	FragmentOffset int
	MoreFragments  bool
	// Extensions are the IPv6 extension headers, in order; ExtensionAt is
	// where each begins.
	Extensions  [maxExtensions]Extension
	NExtensions int
	// ChecksumOK tells that the IPv4 header's checksum is right; it is true
	// for IPv6, which has none.
	ChecksumOK bool
}

// Extension is an IPv6 extension header.
type Extension struct {
	Protocol Protocol
	At, Len  int
}

// Parse reads the headers of an IP packet of either version.
func Parse(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, fmt.Errorf("ip: no bytes")
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return Packet{}, fmt.Errorf("ip: version %d is neither 4 nor 6", b[0]>>4)
}

func parse4(b []byte) (Packet, error) {
	if len(b) < MinHeader4 {
		return Packet{}, fmt.Errorf("ip: %d bytes are too few for a header of %d", len(b), MinHeader4)
	}
	n := int(b[0]&0xf) * 4
	p := Packet{Version: 4, HeaderLen: n, Total: int(binary.BigEndian.Uint16(b[2:])), TrafficClass: b[1],
		ID: uint32(binary.BigEndian.Uint16(b[4:])), TTL: b[8], Protocol: Protocol(b[9]),
		Src: netip.AddrFrom4([4]byte(b[src4:dst4])), Dst: netip.AddrFrom4([4]byte(b[dst4:MinHeader4]))}
	v := View(b)
	p.DontFragment, p.MoreFragments, p.FragmentOffset = v.DontFragment(), v.MoreFragments(), v.FragmentOffset()
	p.Fragment = p.MoreFragments || p.FragmentOffset > 0
	switch {
	case n < MinHeader4:
		return p, fmt.Errorf("ip: a header length of %d bytes is less than %d", n, MinHeader4)
	case n > len(b):
		return p, fmt.Errorf("ip: the header of %d bytes is cut off after %d", n, len(b))
	case p.Total != 0 && p.Total < n:
		return p, fmt.Errorf("ip: total length %d is less than the header's %d", p.Total, n)
	}
	p.ChecksumOK = Sum(0, b[:n]) == sumRight
	return p, nil
}

func parse6(b []byte) (Packet, error) {
	if len(b) < Header6 {
		return Packet{}, fmt.Errorf("ipv6: %d bytes are too few for a header of %d", len(b), Header6)
	}
	p := Packet{Version: 6, HeaderLen: Header6, TrafficClass: b[0]<<4 | b[1]>>4, FlowLabel: binary.BigEndian.Uint32(b) & 0xfffff,
		TTL: b[7], Protocol: Protocol(b[nextAt6]),
		Src: netip.AddrFrom16([16]byte(b[src6:dst6])), Dst: netip.AddrFrom16([16]byte(b[dst6:Header6])), ChecksumOK: true}
	if n := int(binary.BigEndian.Uint16(b[4:])); n != 0 {
		p.Total = Header6 + n
	}
	for p.NExtensions < maxExtensions {
		at, n := p.HeaderLen, 0
		switch p.Protocol {
		case ProtoHopByHop, ProtoRouting, ProtoDestOpts, ProtoMobility, ProtoHIP, ProtoShim6:
			if len(b) < at+8 {
				return p, fmt.Errorf("ipv6: the %v header at byte %d is cut off", p.Protocol, at)
			}
			n = (int(b[at+1]) + 1) * 8
		case ProtoAH:
			if len(b) < at+8 {
				return p, fmt.Errorf("ipv6: the %v header at byte %d is cut off", p.Protocol, at)
			}
			n = (int(b[at+1]) + 2) * 4
		case ProtoFragment:
			if len(b) < at+8 {
				return p, fmt.Errorf("ipv6: the %v header at byte %d is cut off", p.Protocol, at)
			}
			n = FragmentLen
			f := ParseFragment(b[at:])
			p.FragmentOffset, p.MoreFragments, p.ID = f.Offset, f.More, f.ID
			// RFC 6946: an atomic fragment is a whole packet.
			p.Fragment = p.MoreFragments || p.FragmentOffset > 0
		default:
			return p, nil
		}
		if len(b) < at+n {
			return p, fmt.Errorf("ipv6: the %v header of %d bytes at byte %d is cut off", p.Protocol, n, at)
		}
		p.Extensions[p.NExtensions] = Extension{p.Protocol, at, n}
		p.NExtensions++
		next := Protocol(b[at])
		last := p.Protocol
		p.Protocol = next
		p.HeaderLen = at + n
		if last == ProtoFragment && p.Fragment {
			return p, nil // what follows is a part of something
		}
	}
	return p, fmt.Errorf("ipv6: more than %d extension headers", maxExtensions)
}

// Payload returns what was kept of the payload: b up to the packet's own
// length, so that Ethernet's padding is left out.
func (p *Packet) Payload(b []byte) []byte {
	end := len(b)
	if p.Total != 0 && p.Total < end {
		end = p.Total
	}
	return b[min(p.HeaderLen, end):end]
}
