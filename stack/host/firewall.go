package host

import (
	"net/netip"

	"peel/stack/filter"
	"peel/stack/link"
	"peel/stack/nat"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// Translation is a NAT between an interface to the outside and all others.
type Translation struct {
	*nat.NAT
	// Outside is the name of the interface.
	Outside string
}

// filtered lets the packet filter decide, and tells whether the packet goes
// on. If not, it has been put back, and answered where a rule says so.
func (h *Host) filtered(c filter.Chain, p *packet.Packet, in, out *Interface) bool {
	if h.Filter == nil {
		return true
	}
	r := h.Filter.Check(c, p.Bytes(), in.name(), out.name(), h.Now())
	switch r.Verdict {
	case filter.Accept:
		return true
	case filter.Reject:
		h.Count.FilterDrops++
		h.reject(p, in, r)
		return false
	}
	h.Count.FilterDrops++
	h.dropped(p, in, r.String())
	return false
}

// name of an interface, which may be nil.
func (i *Interface) name() string {
	if i == nil {
		return ""
	}
	return i.Name
}

// reject answers a packet and puts it back.
func (h *Host) reject(p *packet.Packet, in *Interface, r filter.Result) {
	v6 := ip.View(p.Bytes()).V6()
	h.tell("drop", in.name(), r.String)
	switch {
	case r.Answer == filter.Reset:
		h.report(p, in, link.Dropped, r.String)
		h.resetPacket(p, in)
	case v6:
		h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable6, Code: icmp.Prohibited6})
	default:
		h.errorFor(p, in, icmp.Header{Type: icmp.Unreachable4, Code: icmp.Prohibited4})
	}
}

// resetPacket answers a TCP packet with a RST in the name of whom it was for,
// and puts it back.
func (h *Host) resetPacket(p *packet.Packet, in *Interface) {
	b := ip.View(p.Bytes())
	src, dst := b.Source(), b.Destination()
	if k, err := ip.Parse(b); err == nil {
		if seg, err := tcp.Parse(b[k.HeaderLen:]); err == nil && !seg.Flags().Has(tcp.RST) {
			h.resetFor(seg, netip.AddrPortFrom(dst, seg.DestinationPort()), netip.AddrPortFrom(src, seg.SourcePort()), in)
		}
	}
	h.pool.Put(p)
}

// translate lets the NAT see a packet that comes from outside, or that is from
// inside to the address outside. It returns nil when the packet has come to
// its end here.
func (h *Host) translate(in *Interface, p *packet.Packet, v6 bool) *packet.Packet {
	if h.NAT == nil || in == nil {
		return p
	}
	dst := ip.View(p.Bytes()).Destination()
	outside := in.Name == h.NAT.Outside
	if !outside && (h.local[dst] == nil || h.local[dst].Name != h.NAT.Outside) {
		return p
	}
	if p = h.whole(in, p, v6); p == nil {
		return nil
	}
	if outside {
		return h.translated(p, in, h.NAT.Inbound(p, h.Now()))
	}
	return h.translated(p, in, h.NAT.Outbound(p, h.Now()))
}

// masquerade lets the NAT see a packet that is about to leave by out.
func (h *Host) masquerade(in, out *Interface, p *packet.Packet, v6 bool) *packet.Packet {
	if h.NAT == nil || in == nil || out.Name != h.NAT.Outside || in == out {
		return p
	}
	if p = h.whole(in, p, v6); p == nil {
		return nil
	}
	return h.translated(p, in, h.NAT.Outbound(p, h.Now()))
}

// quotesTranslated tells whether a packet of this host to itself is an ICMP
// error about what may have been translated, and for whom the NAT knows: it
// comes from the outside then.
func (h *Host) quotesTranslated(b ip.View, v6 bool) *Interface {
	if h.NAT == nil {
		return nil
	}
	out, proto := h.local[b.Destination()], ip.ProtoICMP
	if v6 {
		proto = ip.ProtoICMPv6
	}
	if out.name() != h.NAT.Outside || b.Protocol() != proto || !isError(b[b.HeaderLen():], v6) {
		return nil
	}
	return out
}

func (h *Host) translated(p *packet.Packet, in *Interface, r nat.Result) *packet.Packet {
	switch r.Verdict {
	case nat.Untouched:
		return p
	case nat.Translated, nat.Hairpin:
		h.Count.Translated++
		h.report(p, in, link.Translated, r.String)
		if h.Options.Observe != nil {
			h.tell("nat", in.Name, r.String)
		}
		return p
	case nat.RejectRST:
		h.report(p, in, link.Dropped, r.String)
		h.tell("drop", in.Name, r.String)
		h.resetPacket(p, in)
		return nil
	}
	h.Count.NATDrops++
	h.dropped(p, in, r.String())
	return nil
}

// whole joins the fragments of a packet that is to be translated: only the
// first has ports. It returns nil while some are missing.
func (h *Host) whole(in *Interface, p *packet.Packet, v6 bool) *packet.Packet {
	k, err := ip.Parse(p.Bytes())
	if err != nil || !k.Fragment {
		return p
	}
	if v6 {
		return h.join6(in, p, &k)
	}
	return h.join4(in, p, &k)
}

// report tells those who watch the network what happened to a packet here. It
// is shown with the Ethernet header with which it came.
func (h *Host) report(p *packet.Packet, in *Interface, v link.Verdict, why func() string) {
	if !h.Trace.Watching() {
		return
	}
	t := ethernet.TypeIPv4
	if p.Len() > 0 && ip.View(p.Bytes()).V6() {
		t = ethernet.TypeIPv6
	}
	b := p.Prepend(ethernet.HeaderLen)
	if in == nil {
		ethernet.Frame(b).SetHeader(ethernet.MAC{}, ethernet.MAC{}, t)
	}
	where := h.Name
	if in != nil {
		where += ":" + in.Name
	}
	h.Trace.Report(link.Hop{Packet: p, Time: h.Now(), Where: where, Verdict: v, Reason: why()})
	p.Strip(ethernet.HeaderLen)
}
