package host

import (
	"peel/clock"
	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// join4 and join6 add a fragment and return the whole packet, with the first
// fragment's header made whole, when it is there.
func (h *Host) join4(i *Interface, p *packet.Packet, pk *ip.Packet) *packet.Packet {
	whole := h.reassemble(i, p, pk, h.frags4)
	if whole == nil {
		return nil
	}
	n := whole.Len()
	if n > ip.MaxLen-ip.MinHeader4 {
		h.Count.ReassemblyFails++
		h.dropped(whole, i, "fragments of more than an IPv4 packet can be")
		return nil
	}
	k := ip.Header{Src: pk.Src, Dst: pk.Dst, Protocol: pk.Protocol, TTL: pk.TTL, TrafficClass: pk.TrafficClass, ID: uint16(pk.ID)}
	k.Put(whole.Prepend(k.Len()), n)
	return whole
}

func (h *Host) join6(i *Interface, p *packet.Packet, pk *ip.Packet) *packet.Packet {
	whole := h.reassemble(i, p, pk, h.frags6)
	if whole == nil {
		return nil
	}
	n := whole.Len()
	k := ip.Header{Src: pk.Src, Dst: pk.Dst, Protocol: pk.Protocol, TTL: pk.TTL, TrafficClass: pk.TrafficClass}
	k.Put(whole.Prepend(k.Len()), n)
	return whole
}

// reassemble adds a fragment and returns the whole payload in a packet of its
// own, when it is there.
func (h *Host) reassemble(i *Interface, p *packet.Packet, pk *ip.Packet, r *ip.Reassembler) *packet.Packet {
	drops := r.Expired + r.Dropped
	payload := pk.Payload(p.Bytes())
	if len(payload) == 0 || pk.MoreFragments && len(payload)%ip.FragmentUnit != 0 {
		h.bad(i, p, "a fragment of "+itoa(len(payload))+" bytes")
		return nil
	}
	whole, ok := r.Add(pk, payload, 0, 0, h.Now())
	if !ok && pk.FragmentOffset == 0 {
		r.Keep(pk, p.Bytes()[:min(p.Len(), ip.MinMTU6)])
	}
	id := p.ID
	h.pool.Put(p)
	h.Count.ReassemblyFails += uint64(r.Expired + r.Dropped - drops)
	if next := r.Next(); next < h.queue.At(&h.fragTimer) {
		h.queue.Set(&h.fragTimer, next)
	}
	if !ok {
		return nil
	}
	if whole.Overlap && pk.Version == 6 {
		h.Count.ReassemblyFails++ // RFC 5722
		return nil
	}
	h.Count.ReassemblyOK++
	q := h.pool.Get(len(whole.Payload) + ip.Header6)
	q.ID = id
	if b := q.Extend(len(whole.Payload)); b != nil {
		copy(b, whole.Payload)
	}
	return q
}

// expireFragments gives up datagrams whose fragments did not come in time, and
// tells who sent them where the first one did come (RFC 1122 §3.3.2,
// RFC 8200 §4.5).
func (h *Host) expireFragments(now clock.Time) {
	for _, r := range [...]*ip.Reassembler{h.frags4, h.frags6} {
		before := r.Expired
		for _, first := range r.Expire(now) {
			e := icmp.Header{Type: icmp.TimeExceeded4, Code: icmp.ReassemblyExceeded}
			if ip.View(first).V6() {
				e.Type = icmp.TimeExceeded6
			}
			p := h.pool.Get(len(first))
			copy(p.Extend(len(first)), first)
			h.errorFor(p, nil, e)
		}
		h.Count.ReassemblyFails += uint64(r.Expired - before)
		if next := r.Next(); next < h.queue.At(&h.fragTimer) {
			h.queue.Set(&h.fragTimer, next)
		}
	}
}

// extensions looks at what an IPv6 packet's extension headers ask of the host
// that it is for, and tells whether the packet goes on (RFC 8200 §4).
func (h *Host) extensions(i *Interface, p *packet.Packet, pk *ip.Packet) bool {
	b := p.Bytes()
	for _, x := range pk.Extensions[:pk.NExtensions] {
		switch x.Protocol {
		case ip.ProtoRouting:
			// RFC 5095 §3: type 0 is not followed, nor is what is unknown.
			if ip.SegmentsLeft(b[x.At:]) != 0 {
				h.errorFor(p, i, icmp.Header{Type: icmp.ParameterProb6, Code: icmp.BadField6, Rest: uint32(x.At + ip.RoutingTypeAt)})
				return false
			}
		case ip.ProtoHopByHop, ip.ProtoDestOpts:
			at, act := ip.UnknownOption(b[x.At : x.At+x.Len])
			switch {
			case act == ip.SkipOption:
				continue
			case act == ip.DropPacket, act == ip.ReportUnicast && pk.Dst.IsMulticast():
				h.bad(i, p, "an IPv6 option that is not known")
			default:
				h.errorFor(p, i, icmp.Header{Type: icmp.ParameterProb6, Code: icmp.UnknownOption6, Rest: uint32(x.At + at)})
			}
			return false
		}
	}
	return true
}
