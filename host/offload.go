package host

import (
	"encoding/binary"

	"peel/ethernet"
	"peel/ip"
	"peel/packet"
	"peel/tcp"
)

// software does what the card of this interface does not: finish the
// checksum, and cut a large TCP packet into segments.
func (i *Interface) software(p *packet.Packet) {
	if p.Segment == 0 {
		Finish(p)
		i.Count.TxPackets++
		i.Count.TxBytes += uint64(p.Len())
		i.out.Send(p)
		return
	}
	Split(i.Host.pool, p, func(q *packet.Packet) {
		i.Count.TxPackets++
		i.Count.TxBytes += uint64(q.Len())
		i.out.Send(q)
	})
}

// Finish fills in a checksum that was left to the card.
func Finish(p *packet.Packet) {
	if p.Checksum != packet.Partial {
		return
	}
	b := p.Bytes()
	if int(p.SumFrom) < len(b) && int(p.SumAt)+2 <= len(b) {
		sum := ^ip.Sum(0, b[p.SumFrom:])
		if sum == 0 {
			sum = 0xffff // UDP: 0 means that there is none
		}
		binary.BigEndian.PutUint16(b[p.SumAt:], sum)
	}
	p.Checksum = packet.Good
}

// Split cuts a frame with a large TCP segment into frames of p.Segment bytes
// of data each, as a card does (TSO), and gives each to out. p is put back.
func Split(pool *packet.Pool, p *packet.Packet, out func(*packet.Packet)) {
	b := p.Bytes()
	l3 := ethernet.HeaderLen
	v6 := b[l3]>>4 == 6
	l4 := l3 + ip.Header6
	if !v6 {
		l4 = l3 + int(b[l3]&15)*4
	}
	if len(b) < l4+tcp.MinHeader || len(b) < l4+int(b[l4+12]>>4)*4 {
		pool.Put(p)
		return
	}
	head := l4 + int(b[l4+12]>>4)*4
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
		sumTCP(f[l3:], seg, v6)
		q.Checksum = packet.Good
		out(q)
	}
	pool.Put(p)
}

// sumTCP writes the checksum of a TCP segment within its IP packet.
func sumTCP(l3, seg []byte, v6 bool) {
	seg[16], seg[17] = 0, 0
	binary.BigEndian.PutUint16(seg[16:], ^ip.Sum(pseudo(l3, v6, ip.ProtoTCP, len(seg)), seg))
}

// pseudo is the sum of the pseudo-header, from the IP header's bytes.
func pseudo(l3 []byte, v6 bool, proto ip.Protocol, n int) uint16 {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	b[7] = byte(proto)
	s := ip.Sum(0, b[:])
	if v6 {
		return ip.Sum(s, l3[8:40])
	}
	return ip.Sum(s, l3[12:20])
}
