// Package offload does to packets what a network card does for the host that
// says so: it finishes checksums (checksum offload) and cuts large TCP packets
// into segments (TCP segmentation offload). Between, such packets are
// packet.Partial and have a packet.Segment.
package offload

import (
	"encoding/binary"

	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// Finish fills in a checksum that was left to the card. One that has no place
// in the packet is left to whoever receives it.
func Finish(p *packet.Packet) {
	if p.Checksum != packet.Partial {
		return
	}
	b := p.Bytes()
	p.Checksum = packet.Unknown
	if int(p.SumFrom) < len(b) && int(p.SumAt)+2 <= len(b) {
		// For TCP, both representations of a sum of zero are as good.
		sum := udp.Field(^ip.Sum(0, b[p.SumFrom:]))
		binary.BigEndian.PutUint16(b[p.SumAt:], sum)
		p.Checksum = packet.Good
	}
}

// Split cuts a frame with a large TCP segment into frames of p.Segment bytes
// of data each, as a card does (TSO), and gives each to out. p is put back;
// a frame without data to cut passes as it is, what is no TCP frame not at all.
func Split(pool *packet.Pool, p *packet.Packet, out func(*packet.Packet)) {
	b := p.Bytes()
	l3 := ethernet.HeaderLen
	if len(b) < l3+ip.MinHeader4 {
		pool.Put(p)
		return
	}
	v := ip.View(b[l3:])
	v6 := v.V6()
	l4 := l3 + max(v.HeaderLen(), ip.MinHeader4)
	if len(b) < l4+tcp.MinHeader {
		pool.Put(p)
		return
	}
	whole := tcp.Segment(b[l4:])
	head := l4 + max(whole.HeaderLen(), tcp.MinHeader)
	if len(b) <= head {
		p.Segment = 0
		Finish(p)
		out(p)
		return
	}
	data := b[head:]
	size := int(p.Segment)
	id := v.ID()
	for at := 0; at < len(data); at += size {
		n := min(size, len(data)-at)
		q := pool.Get(head + n)
		q.ID = p.ID
		f := q.Extend(head + n)
		copy(f, b[:head])
		copy(f[head:], data[at:at+n])
		seg := tcp.Segment(f[l4:])
		seg.SetSeq(whole.Seq() + uint32(at))
		flags := whole.Flags()
		if at+n < len(data) {
			flags &^= tcp.FIN | tcp.PSH
		}
		if at > 0 {
			flags &^= tcp.CWR // RFC 3168 §6.1.2: on the first only
		}
		seg.SetFlags(flags)
		w := ip.View(f[l3:])
		if !v6 {
			w.SetID(id)
			id++
		}
		w.SetPayload(len(w) - w.HeaderLen())
		seg.Seal(w.PseudoSum(ip.ProtoTCP, len(seg)))
		q.Checksum = packet.Good
		out(q)
	}
	pool.Put(p)
}
