package tcp

// outbox holds n bytes that were written and not acknowledged: the first in a
// ring, and behind them what the user lends for the time of a call.
type outbox struct {
	ring ring
	lent []byte
	n    int
}

// write copies p behind what is held.
func (o *outbox) write(p []byte, pool *Buffers) {
	o.keep(pool)
	o.ring.reserve(o.ring.n+len(p), pool)
	o.ring.put(o.ring.n, p)
	o.ring.n += len(p)
	o.n += len(p)
}

// lendable tells whether bytes may be lent: they must not be the third piece
// of a segment.
func (o *outbox) lendable() bool {
	return o.lent == nil && o.ring.start+o.ring.n <= len(o.ring.b)
}

// lend puts p behind what is held, without a copy, until keep.
func (o *outbox) lend(p []byte) {
	o.lent = p
	o.n += len(p)
}

// keep copies what is still held of lent bytes.
func (o *outbox) keep(pool *Buffers) {
	rest := o.lent
	o.lent = nil
	if len(rest) > 0 {
		o.n -= len(rest)
		o.write(rest, pool)
	}
}

// peek returns the n bytes at an offset, in up to two pieces.
func (o *outbox) peek(off, n int) (a, b []byte) {
	if o.lent == nil || off+n <= o.ring.n {
		return o.ring.peek(off, n)
	}
	if off >= o.ring.n {
		return o.lent[off-o.ring.n:][:n], nil
	}
	a, _ = o.ring.peek(off, o.ring.n-off)
	return a, o.lent[:n-len(a)]
}

// discard takes n bytes off the start.
func (o *outbox) discard(n int) {
	o.n -= n
	k := min(n, o.ring.n)
	o.ring.discard(k)
	if n > k {
		o.lent = o.lent[n-k:]
	}
}

// release gives the memory back.
func (o *outbox) release(pool *Buffers) {
	o.ring.release(pool)
	o.lent, o.n = nil, 0
}
