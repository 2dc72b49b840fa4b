package nat

import (
	"net/netip"

	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// kind is what a packet is to the NAT.
type kind uint8

const (
	// The zero kind has ports: TCP and UDP.
	_ kind = iota
	// asking and answering have an identifier: ICMP echo. It counts as the
	// port of the end that asked.
	asking
	answering
	// complaining is an ICMP error.
	complaining
	// other ICMP is between neighbours, or for the router.
	other
)

// header is where the endpoints of a packet stand: of one on its way, or of
// one that an ICMP error quotes.
type header struct {
	v6       bool
	proto    ip.Protocol
	kind     kind
	src, dst netip.AddrPort
	// base is where the IP header begins, and at the transport header.
	base, at int
	// srcAt and dstAt are where the port or the identifier of an end stands,
	// sumAt the transport checksum; 0 is nowhere.
	srcAt, dstAt, sumAt int
	flags               tcp.Flags
}

func (h *header) endpoints() Endpoints { return Endpoints{h.proto, h.src, h.dst} }

// network takes over what the IP header says, and refuses what cannot be
// translated.
func (h *header) network(p *ip.Packet, b []byte, base int) Reason {
	*h = header{v6: p.Version == 6, proto: p.Protocol, src: netip.AddrPortFrom(p.Src, 0), dst: netip.AddrPortFrom(p.Dst, 0), base: base, at: base + p.HeaderLen}
	// With a source route the destination is not the one that the checksums
	// cover (RFC 8200 §8.1), and RFC 7126 §4.3 drops such packets.
	for _, e := range p.Extensions[:p.NExtensions] {
		switch {
		case e.Protocol == ip.ProtoRouting && ip.SegmentsLeft(b[base+e.At:]) != 0:
			return SourceRoute
		case e.Protocol == ip.ProtoAH:
			return Unsupported // RFC 4302: it covers the addresses
		}
	}
	if p.Version == 4 && ip.View(b[base:]).SourceRouted() {
		return SourceRoute
	}
	return None
}

// transport reads the header in b[h.at:] of a packet on its way.
func (h *header) transport(b []byte) Reason {
	t := b[h.at:]
	switch h.proto {
	case ip.ProtoTCP:
		s, err := tcp.Parse(t)
		if err != nil {
			return Malformed
		}
		h.flags = s.Flags()
		h.ports(t, tcp.ChecksumAt)
	case ip.ProtoUDP:
		if _, err := udp.Parse(t); err != nil {
			return Malformed
		}
		h.ports(t, udp.ChecksumAt)
	case ip.ProtoICMP, ip.ProtoICMPv6:
		if h.v6 != (h.proto == ip.ProtoICMPv6) {
			return Malformed // RFC 4443 §1: each version has its own
		}
		m, err := icmp.Parse(t, h.v6)
		if err != nil {
			return Malformed
		}
		h.sumAt = h.at + icmp.ChecksumAt
		if h.kind = other; m.IsError() {
			h.kind = complaining
		} else {
			h.echo(m)
		}
	default:
		return Unsupported
	}
	return None
}

// quoted reads the packet that an ICMP error quotes, from base on.
func (h *header) quoted(b []byte, base int, v6 bool) Reason {
	q := b[base:]
	p, err := ip.Parse(q)
	if err != nil || v6 != (p.Version == 6) || p.FragmentOffset > 0 {
		return Malformed
	}
	// RFC 5508 REQ-3 a: an error about an IP header that is not right.
	if !p.ChecksumOK {
		return BadChecksum
	}
	if r := h.network(&p, b, base); r != None {
		return r
	}
	t := p.Payload(q)
	if len(t) < ip.QuotedLen {
		return Malformed
	}
	switch h.proto {
	case ip.ProtoTCP:
		h.ports(t, tcp.ChecksumAt)
		if len(t) < tcp.ChecksumAt+2 {
			h.sumAt = 0
		}
	case ip.ProtoUDP:
		h.ports(t, udp.ChecksumAt)
	case ip.ProtoICMP, ip.ProtoICMPv6:
		h.sumAt = h.at + icmp.ChecksumAt
		// RFC 1122 §3.2.2: no error is about an error.
		h.kind = other
		if m, err := icmp.Parse(t, v6); err != nil || v6 != (h.proto == ip.ProtoICMPv6) || !h.echo(m) {
			return Unsupported
		}
	default:
		return Unsupported
	}
	return None
}

func (h *header) ports(t []byte, sum int) {
	h.srcAt, h.dstAt, h.sumAt = h.at+ip.SourcePortAt, h.at+ip.DestinationPortAt, h.at+sum
	src, dst := ip.Ports(t)
	h.src = netip.AddrPortFrom(h.src.Addr(), src)
	h.dst = netip.AddrPortFrom(h.dst.Addr(), dst)
}

// echo gives the identifier to the end that asked.
func (h *header) echo(m icmp.Message) bool {
	id := m.Identifier()
	switch typ := m.Type; {
	case !h.v6 && typ == icmp.Echo4, h.v6 && typ == icmp.Echo6:
		h.kind, h.srcAt = asking, h.at+icmp.IdentifierAt
		h.src = netip.AddrPortFrom(h.src.Addr(), id)
	case !h.v6 && typ == icmp.EchoReply4, h.v6 && typ == icmp.EchoReply6:
		h.kind, h.dstAt = answering, h.at+icmp.IdentifierAt
		h.dst = netip.AddrPortFrom(h.dst.Addr(), id)
	default:
		return false
	}
	return true
}
