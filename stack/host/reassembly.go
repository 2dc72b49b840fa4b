package host

import (
	"encoding/binary"

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
	if n > 65535-ip.MinHeader4 {
		h.Count.ReassemblyFails++
		h.dropped(whole, i, "fragments of more than an IPv4 packet can be")
		return nil
	}
	b := whole.Prepend(ip.MinHeader4)
	put4(b, &datagram{src: pk.Src, dst: pk.Dst, proto: pk.Protocol, ttl: pk.TTL, class: pk.TrafficClass}, n+ip.MinHeader4, pk.ID)
	return whole
}

func (h *Host) join6(i *Interface, p *packet.Packet, pk *ip.Packet) *packet.Packet {
	whole := h.reassemble(i, p, pk, h.frags6)
	if whole == nil {
		return nil
	}
	n := whole.Len()
	b := whole.Prepend(ip.Header6)
	clear(b)
	binary.BigEndian.PutUint32(b, 6<<28|uint32(pk.TrafficClass)<<20)
	binary.BigEndian.PutUint16(b[4:], uint16(min(n, 0xffff)))
	b[6], b[7] = byte(pk.Protocol), pk.TTL
	s, d := pk.Src.As16(), pk.Dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return whole
}

// reassemble adds a fragment and returns the whole payload in a packet of its
// own, when it is there.
func (h *Host) reassemble(i *Interface, p *packet.Packet, pk *ip.Packet, r *ip.Reassembler) *packet.Packet {
	drops := r.Expired + r.Dropped
	payload := pk.Payload(p.Bytes())
	if len(payload) == 0 || pk.MoreFragments && len(payload)%8 != 0 {
		h.bad(i, p, "a fragment of "+itoa(len(payload))+" bytes")
		return nil
	}
	whole, ok := r.Add(pk, payload, 0, 0, h.Now())
	if !ok && pk.FragmentOffset == 0 {
		r.Keep(pk, p.Bytes()[:min(p.Len(), 1280)])
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
			typ := uint8(icmp.TimeExceeded4)
			if first[0]>>4 == 6 {
				typ = icmp.TimeExceeded6
			}
			p := h.pool.Get(len(first))
			copy(p.Extend(len(first)), first)
			h.errorFor(p, nil, typ, 1, 0)
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
			if b[x.At+3] != 0 {
				h.errorFor(p, i, icmp.ParameterProb6, 0, uint32(x.At+2))
				return false
			}
		case ip.ProtoHopByHop, ip.ProtoDestOpts:
			at, act := unknownOption(b[x.At:x.At+x.Len], x.At)
			switch {
			case act == 0:
				continue
			case act == 1, act == 3 && pk.Dst.IsMulticast():
				h.bad(i, p, "an IPv6 option that is not known")
			default:
				h.errorFor(p, i, icmp.ParameterProb6, 2, uint32(at))
			}
			return false
		}
	}
	return true
}

// unknownOption returns where the first option stands that may not be skipped,
// and what its highest bits ask for instead (RFC 8200 §4.2).
func unknownOption(b []byte, base int) (at int, act byte) {
	for n := 2; n < len(b); {
		if b[n] == 0 {
			n++ // Pad1
			continue
		}
		if b[n] > 1 && b[n]>>6 != 0 {
			return base + n, b[n] >> 6
		}
		if n+1 >= len(b) {
			break
		}
		n += 2 + int(b[n+1])
	}
	return 0, 0
}
