// Package packet is a packet on its way through peel's own network: bytes with
// room before them for the headers of the layers below, and what a network
// card would tell beside them.
package packet

// Headroom is the room before a new packet's bytes: Ethernet with a tag, IPv6
// or IPv4 with options, TCP with options.
const Headroom = 160

// Checksum is what is known of the transport checksum.
type Checksum uint8

const (
	// Unknown: whoever receives the packet has to check it.
	Unknown Checksum = iota
	// Good: it was computed or checked, and the bytes have not changed since.
	Good
	// Partial: the field holds the sum of the pseudo-header only; the last
	// one to touch the packet before a wire has to finish it.
	Partial
)

// Packet is a packet, owned by one at a time: who hands it on does not touch
// it any more. Get one from a Pool.
type Packet struct {
	buf      []byte
	from, to int
	class    int8
	pool     *Pool
	// ID is the same wherever the packet is seen, NAT included; 0 until
	// somebody who watches gave it one.
	ID uint64
	// Checksum and where the transport header starts and its field stands,
	// from the packet's current first byte, when it is Partial.
	Checksum       Checksum
	SumFrom, SumAt uint16
	// Segment is the payload of each segment when the packet is to be cut
	// into several by the card (TSO), or was joined from several (GRO); 0 for
	// one that is as on the wire.
	Segment uint16
}

// Bytes is the packet from its current first header on.
func (p *Packet) Bytes() []byte { return p.buf[p.from:p.to] }

// Len is the number of Bytes.
func (p *Packet) Len() int { return p.to - p.from }

// Prepend makes room for a header of n bytes and returns it, not cleared. It
// panics when the headroom is used up, which is a programmer's mistake.
func (p *Packet) Prepend(n int) []byte {
	if n > p.from {
		panic("packet: headroom used up")
	}
	p.from -= n
	p.SumFrom += uint16(n)
	p.SumAt += uint16(n)
	return p.buf[p.from : p.from+n]
}

// Strip takes n bytes off the front.
func (p *Packet) Strip(n int) {
	p.from += min(n, p.Len())
	p.SumFrom -= uint16(n)
	p.SumAt -= uint16(n)
}

// Truncate cuts the packet to n bytes.
func (p *Packet) Truncate(n int) { p.to = p.from + min(n, p.Len()) }

// Append adds b, if there is room, and tells whether there was.
func (p *Packet) Append(b []byte) bool {
	if len(b) > len(p.buf)-p.to {
		return false
	}
	p.to += copy(p.buf[p.to:], b)
	return true
}

// Extend adds n bytes, not cleared, and returns them; nil if there is no room.
func (p *Packet) Extend(n int) []byte {
	if n > len(p.buf)-p.to {
		return nil
	}
	p.to += n
	return p.buf[p.to-n : p.to]
}

// Pool gives packets and takes them back. It is for one goroutine, or for
// those that share a lock. The zero Pool is ready.
type Pool struct {
	free [len(classes)][]*Packet
	// Out counts the packets that were got and not put back.
	Out int
}

// classes are the sizes of buffers: one Ethernet frame, a jumbo frame, and the
// largest IP packet.
var classes = [...]int{frameClass, Headroom + jumboFrame, Headroom + largest}

const (
	// frameClass takes an Ethernet frame with its headroom, in a size that
	// memory is given out in.
	frameClass = 2048
	jumboFrame = 9216
	// largest is an IP packet with what a link puts around it.
	largest = 0xffff + 64
)

// keep bounds the free packets of each class: 8, 9 and 16 MiB.
var keep = [len(classes)]int{4096, 1024, 256}

// Get returns an empty packet with Headroom and room for n bytes, at most
// largest.
func (l *Pool) Get(n int) *Packet {
	c := 0
	for c < len(classes)-1 && classes[c] < Headroom+n {
		c++
	}
	if classes[c] < Headroom+n {
		panic("packet: larger than an IP packet can be")
	}
	l.Out++
	if f := l.free[c]; len(f) > 0 {
		p := f[len(f)-1]
		l.free[c] = f[:len(f)-1]
		*p = Packet{buf: p.buf, from: Headroom, to: Headroom, class: p.class, pool: l}
		return p
	}
	return &Packet{buf: make([]byte, classes[c]), from: Headroom, to: Headroom, class: int8(c), pool: l}
}

// Put takes a packet back, which nobody may use any more.
func (l *Pool) Put(p *Packet) {
	l.Out--
	if f := l.free[p.class]; len(f) < keep[p.class] {
		l.free[p.class] = append(f, p)
	}
}

// Release puts the packet back where it came from. It makes a Packet an owner
// of bytes that others hold on to.
func (p *Packet) Release() { p.pool.Put(p) }

// Cap is the size of the memory that the packet takes.
func (p *Packet) Cap() int { return len(p.buf) }

// Clone returns a copy of p.
func (l *Pool) Clone(p *Packet) *Packet {
	q := l.Get(p.Len())
	buf, class := q.buf, q.class
	*q = *p
	q.buf, q.class, q.pool = buf, class, l
	q.from, q.to = Headroom, Headroom+copy(buf[Headroom:], p.Bytes())
	return q
}
