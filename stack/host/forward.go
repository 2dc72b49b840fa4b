package host

import (
	"peel/stack/filter"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// forward sends a packet on that is for another (RFC 1812 §5.2.1), to the next
// hop n unless there is none.
func (h *Host) forward(in *Interface, p *packet.Packet, n *hop, err error, v6 bool) {
	b := ip.View(p.Bytes())
	if b.TTL() <= 1 {
		h.Count.TTLExceeded++
		if v6 {
			h.errorFor(p, in, icmp.Header{Type: icmp.TimeExceeded6, Code: icmp.HopsExceeded})
		} else {
			h.errorFor(p, in, icmp.Header{Type: icmp.TimeExceeded4, Code: icmp.HopsExceeded})
		}
		return
	}
	if err != nil {
		h.Count.OutNoRoutes++
		switch {
		case n.route != nil && n.route.Kind == route.Blackhole:
			h.dropped(p, in, "black hole: "+n.route.String())
		case v6 && err == ErrProhibited:
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable6, Code: icmp.Prohibited6})
		case v6:
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable6, Code: icmp.NoRoute6})
		case err == ErrProhibited:
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable4, Code: icmp.Prohibited4})
		case n.route != nil:
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable4, Code: icmp.HostUnreachable4})
		default:
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable4, Code: icmp.NetUnreachable4})
		}
		return
	}
	if !v6 && n.out.isBroadcast(b.Destination()) {
		h.dropped(p, in, "to all hosts of another network") // RFC 2644
		return
	}
	if !h.filtered(filter.Forward, p, in, n.out) {
		return
	}
	if p.Len() > n.mtu && (p.Segment == 0 || segmentLen(p) > n.mtu) {
		if v6 {
			h.errorFor(p, in, icmp.Header{Type: icmp.TooBig6, Rest: uint32(n.mtu)})
			return
		}
		if b.DontFragment() {
			// RFC 1191 §4.
			h.Count.FragmentsFail++
			h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable4, Code: icmp.NeedFragment4, Rest: uint32(n.mtu)})
			return
		}
	}
	if p = h.masquerade(in, n.out, p, v6); p == nil {
		return
	}
	b = p.Bytes()
	b.SetTTL(b.TTL() - 1)
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
func segmentLen(p *packet.Packet) int {
	b := ip.View(p.Bytes())
	l4 := b.HeaderLen()
	if len(b) < l4+tcp.MinHeader {
		return len(b)
	}
	return l4 + tcp.Segment(b[l4:]).HeaderLen() + int(p.Segment)
}
