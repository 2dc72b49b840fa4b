package tcp

// ring is a buffer of bytes that begin at a sequence number. It takes memory
// when there is something to hold, and gives it back when there is not.
type ring struct {
	b     []byte // its length is a power of two, or 0
	start int
	n     int // bytes from start on that are in order
	hint  int // the size that it had when it was last given back
}

// smallest is what a ring takes first.
const smallest = 4096

// reserve makes room for n bytes from the start, keeping what is there; kept
// bytes may lie beyond n (out of order), so all of the old buffer moves.
func (r *ring) reserve(n int, pool *Buffers) {
	if n <= len(r.b) {
		return
	}
	size := max(smallest, len(r.b))
	if r.b == nil {
		size = max(size, r.hint)
	}
	for size < n {
		size *= 2
	}
	b := pool.get(size)
	k := copy(b, r.b[r.start:])
	copy(b[k:], r.b[:r.start])
	pool.put(r.b)
	r.b, r.start = b, 0
}

// put writes p at an offset from the start; there must be room.
func (r *ring) put(off int, p []byte) {
	i := (r.start + off) & (len(r.b) - 1)
	n := copy(r.b[i:], p)
	copy(r.b, p[n:])
}

// peek returns the n bytes at an offset, in up to two pieces.
func (r *ring) peek(off, n int) (a, b []byte) {
	if n == 0 {
		return nil, nil
	}
	i := (r.start + off) & (len(r.b) - 1)
	if i+n <= len(r.b) {
		return r.b[i : i+n], nil
	}
	return r.b[i:], r.b[:i+n-len(r.b)]
}

// discard takes n bytes off the start.
func (r *ring) discard(n int) {
	r.n -= n
	if len(r.b) > 0 {
		r.start = (r.start + n) & (len(r.b) - 1)
	}
}

// release gives the memory back.
func (r *ring) release(pool *Buffers) {
	pool.put(r.b)
	*r = ring{hint: max(len(r.b), r.hint)}
}

// Buffers keeps the memory of connections' buffers for the next ones. It is
// for one goroutine, or for those that share a lock. A nil *Buffers keeps
// nothing.
type Buffers struct {
	free [13][][]byte // 4 KiB, 8 KiB, … 16 MiB
	held int
}

// maxHeld bounds the memory that waits for use.
const maxHeld = 64 << 20

func class(size int) int {
	c := 0
	for s := smallest; s < size; s *= 2 {
		c++
	}
	return c
}

func (p *Buffers) get(size int) []byte {
	if c := class(size); p != nil && c < len(p.free) {
		if f := p.free[c]; len(f) > 0 {
			b := f[len(f)-1]
			p.free[c] = f[:len(f)-1]
			p.held -= size
			return b
		}
	}
	return make([]byte, size)
}

func (p *Buffers) put(b []byte) {
	if p == nil || len(b) == 0 || p.held+len(b) > maxHeld {
		return
	}
	if c := class(len(b)); c < len(p.free) {
		p.free[c] = append(p.free[c], b)
		p.held += len(b)
	}
}
