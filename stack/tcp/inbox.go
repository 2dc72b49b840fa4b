package tcp

// Owner is who the memory of a payload belongs to. Release gives it back.
type Owner interface{ Release() }

// inbox holds what was received and not read: n bytes in order, and in the
// ring, behind those that are in order there, what is out of order. Large
// payloads stay where they came in, which saves a copy; the others are copied
// into the ring.
type inbox struct {
	ring ring // its n are those in order
	// parts are the bytes in order, from the first on; none when all are in
	// the ring.
	parts []part
	n     int
}

// part is a payload that is kept where it came in or, without an owner, the
// next n bytes of the ring.
type part struct {
	b     []byte
	owner Owner
	n     int
}

// push adds a payload of owner's. There must be nothing out of order.
func (in *inbox) push(b []byte, owner Owner) {
	if len(in.parts) == 0 && in.ring.n > 0 {
		in.parts = append(in.parts, part{n: in.ring.n})
	}
	in.parts = append(in.parts, part{b, owner, len(b)})
	in.n += len(b)
}

// advance tells that k more bytes of the ring are in order.
func (in *inbox) advance(k int) {
	in.ring.n += k
	in.n += k
	if l := len(in.parts); l > 0 {
		if in.parts[l-1].owner == nil {
			in.parts[l-1].n += k
		} else if k > 0 {
			in.parts = append(in.parts, part{n: k})
		}
	}
}

// owned is the first part, when it is a payload that was kept.
func (in *inbox) owned() (part, bool) {
	if len(in.parts) == 0 || in.parts[0].owner == nil {
		return part{}, false
	}
	return in.parts[0], true
}

// peek returns up to n of the first bytes, in up to two pieces: those of the
// first part.
func (in *inbox) peek(n int) (a, b []byte) {
	if p, ok := in.owned(); ok {
		return p.b[:min(n, p.n)], nil
	}
	n = min(n, in.ring.n)
	if len(in.parts) > 0 {
		n = min(n, in.parts[0].n)
	}
	return in.ring.peek(0, n)
}

// discard takes n bytes off the start, which peek has shown.
func (in *inbox) discard(n int) {
	in.n -= n
	if len(in.parts) == 0 {
		in.ring.discard(n)
		return
	}
	p := &in.parts[0]
	p.n -= n
	if p.owner == nil {
		in.ring.discard(n)
	} else {
		p.b = p.b[n:]
	}
	if p.n == 0 {
		if p.owner != nil {
			p.owner.Release()
		}
		in.shift()
	}
}

// shift drops the first part.
func (in *inbox) shift() {
	in.parts[0] = part{}
	in.parts = in.parts[1:]
	if len(in.parts) == 0 {
		in.parts = nil
	}
}

// release gives all memory back.
func (in *inbox) release(pool *Buffers) {
	for _, p := range in.parts {
		if p.owner != nil {
			p.owner.Release()
		}
	}
	in.parts, in.n = nil, 0
	in.ring.release(pool)
}
