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
		sum := ^ip.Sum(0, b[p.SumFrom:])
		if sum == 0 {
			sum = 0xffff // UDP: 0 means that there is none
		}
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
	v6 := b[l3]>>4 == 6
	l4 := l3 + ip.Header6
	if !v6 {
		l4 = l3 + max(int(b[l3]&15)*4, ip.MinHeader4)
	}
	if len(b) < l4+tcp.MinHeader {
		pool.Put(p)
		return
	}
	head := l4 + max(int(b[l4+12]>>4)*4, tcp.MinHeader)
	if len(b) <= head {
		p.Segment = 0
		Finish(p)
		out(p)
		return
	}
	data := b[head:]
	size := int(p.Segment)
	seq := binary.BigEndian.Uint32(b[l4+4:])
	id := binary.BigEndian.Uint16(b[l3+4:])
	for at := 0; at < len(data); at += size {
		n := min(size, len(data)-at)
		q := pool.Get(head + n)
		q.ID = p.ID
		f := q.Extend(head + n)
		copy(f, b[:head])
		copy(f[head:], data[at:at+n])
		seg := f[l4:]
		binary.BigEndian.PutUint32(seg[4:], seq+uint32(at))
		flags := tcp.Flags(binary.BigEndian.Uint16(seg[12:]) & 0x1ff)
		if at+n < len(data) {
			flags &^= tcp.FIN | tcp.PSH
		}
		if at > 0 {
			flags &^= tcp.CWR // RFC 3168 §6.1.2: on the first only
		}
		binary.BigEndian.PutUint16(seg[12:], binary.BigEndian.Uint16(seg[12:])&^0x1ff|uint16(flags))
		if v6 {
			binary.BigEndian.PutUint16(f[l3+4:], uint16(len(f)-l3-ip.Header6))
		} else {
			binary.BigEndian.PutUint16(f[l3+2:], uint16(len(f)-l3))
			binary.BigEndian.PutUint16(f[l3+4:], id)
			id++
			f[l3+10], f[l3+11] = 0, 0
			binary.BigEndian.PutUint16(f[l3+10:], ^ip.Sum(0, f[l3:l4]))
		}
		seg[16], seg[17] = 0, 0
		binary.BigEndian.PutUint16(seg[16:], ^ip.Sum(Pseudo(f[l3:], v6, ip.ProtoTCP, len(seg)), seg))
		q.Checksum = packet.Good
		out(q)
	}
	pool.Put(p)
}

// Pseudo is the sum of the pseudo-header, from the IP header's bytes.
func Pseudo(l3 []byte, v6 bool, proto ip.Protocol, n int) uint16 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	b[7] = byte(proto)
	s := ip.Sum(0, b[:])
	if v6 {
		return ip.Sum(s, l3[8:40])
	}
	return ip.Sum(s, l3[12:20])
}
