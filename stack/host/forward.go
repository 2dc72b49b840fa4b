package host

import (
	"encoding/binary"
	"net/netip"

	"peel/stack/filter"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/icmp"
)

// forward sends a packet on that is for another (RFC 1812 §5.2.1), to the next
// hop n unless there is none.
func (h *Host) forward(in *Interface, p *packet.Packet, n *hop, err error, v6 bool) {
	b := p.Bytes()
	ttl := 8
	if v6 {
		ttl = 7
	}
	if b[ttl] <= 1 {
		h.Count.TTLExceeded++
		if v6 {
			h.errorFor(p, in, icmp.TimeExceeded6, 0, 0)
		} else {
			h.errorFor(p, in, icmp.TimeExceeded4, 0, 0)
		}
		return
	}
	if err != nil {
		h.Count.OutNoRoutes++
		switch {
		case n.route != nil && n.route.Kind == route.Blackhole:
			h.dropped(p, in, "black hole: "+n.route.String())
		case v6 && err == ErrProhibited:
			h.errorFor(p, in, icmp.Unreachable6, 1, 0)
		case v6:
			h.errorFor(p, in, icmp.Unreachable6, 0, 0)
		case err == ErrProhibited:
			h.errorFor(p, in, icmp.Unreachable4, 13, 0)
		case n.route != nil:
			h.errorFor(p, in, icmp.Unreachable4, 1, 0)
		default:
			h.errorFor(p, in, icmp.Unreachable4, 0, 0)
		}
		return
	}
	if !v6 && n.out.isBroadcast(netip.AddrFrom4([4]byte(b[16:20]))) {
		h.dropped(p, in, "to all hosts of another network") // RFC 2644
		return
	}
	if !h.filtered(filter.Forward, p, in, n.out) {
		return
	}
	if p.Len() > n.mtu && (p.Segment == 0 || segmentLen(p, v6) > n.mtu) {
		if v6 {
			h.errorFor(p, in, icmp.TooBig6, 0, uint32(n.mtu))
			return
		}
		if b[6]&0x40 != 0 {
			// RFC 1191 §4.
			h.Count.FragmentsFail++
			h.errorFor(p, in, icmp.Unreachable4, 4, uint32(n.mtu))
			return
		}
	}
	if p = h.masquerade(in, n.out, p, v6); p == nil {
		return
	}
	b = p.Bytes()
	b[ttl]--
	if !v6 {
		// RFC 1624: the sum of the word with the TTL went down by 256.
		sum := uint32(binary.BigEndian.Uint16(b[10:])) + 0x100
		binary.BigEndian.PutUint16(b[10:], uint16(sum+sum>>16))
	}
	h.Count.Forwarded++
	if h.Trace.Watching() {
		h.report(p, in, link.Forwarded, func() string { return "by " + n.out.Name + " to " + n.gateway.String() })
	}
	if p.Len() > n.mtu && p.Segment == 0 {
		h.fragment(p, n, v6)
		return
	}
	h.link(p, n, v6)
}

// segmentLen is the length of the packets that a card would cut p into.
func segmentLen(p *packet.Packet, v6 bool) int {
	b := p.Bytes()
	l4 := 40
	if !v6 {
		l4 = int(b[0]&15) * 4
	}
	if len(b) < l4+20 {
		return len(b)
	}
	return l4 + int(b[l4+12]>>4)*4 + int(p.Segment)
}
