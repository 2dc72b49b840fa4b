package tlswire

import "fmt"

// cursor walks over a message. After a read past the end it is bad, and gives
// zeros.
type cursor struct {
	b   []byte
	pos int
	end int
	bad bool
}

func newCursor(b []byte) *cursor { return &cursor{b: b, end: len(b)} }

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || c.end-c.pos < n {
		c.bad = true
		return nil
	}
	c.pos += n
	return c.b[c.pos-n : c.pos : c.pos]
}

func (c *cursor) number(n int) int {
	v := 0
	for _, x := range c.take(n) {
		v = v<<8 | int(x)
	}
	return v
}

// vector reads a length of n bytes and returns a cursor over what follows.
func (c *cursor) vector(n int) cursor {
	size := c.number(n)
	start := c.pos
	c.take(size)
	if c.bad {
		return cursor{bad: true}
	}
	return cursor{b: c.b, pos: start, end: start + size}
}

// more tells whether a list has another element.
func (c *cursor) more() bool { return !c.bad && c.pos < c.end }

func (c *cursor) left() int { return c.end - c.pos }

func (c *cursor) rest() []byte { return c.b[c.pos:c.end:c.end] }

// bytes reads a vector with a length of n bytes.
func (c *cursor) bytes(n int) []byte {
	v := c.vector(n)
	return v.rest()
}

// numbers reads a list of 16-bit numbers whose length has n bytes.
func (c *cursor) numbers(n int) []uint16 {
	v := c.vector(n)
	out := make([]uint16, 0, v.left()/2)
	for v.more() {
		out = append(out, uint16(v.number(2)))
	}
	c.bad = c.bad || v.bad
	return out
}

// protocols reads a list of ALPN names (RFC 7301 §3.1).
func (c *cursor) protocols() []string {
	var out []string
	v := c.vector(2)
	for v.more() {
		out = append(out, string(v.bytes(1)))
	}
	c.bad = c.bad || v.bad
	return out
}

// body checks a message's header and returns a cursor over its body.
func body(msg []byte, want HandshakeType) (cursor, error) {
	if len(msg) < 4 {
		return cursor{bad: true}, fmt.Errorf("tlswire: %v: %d bytes, and a header has 4", want, len(msg))
	}
	if HandshakeType(msg[0]) != want {
		return cursor{bad: true}, fmt.Errorf("tlswire: %v where %v was expected", HandshakeType(msg[0]), want)
	}
	c := cursor{b: msg, pos: 1, end: len(msg)}
	if size := c.number(3); size != len(msg)-4 {
		return cursor{bad: true}, fmt.Errorf("tlswire: %v: length %d, but %d bytes are there", want, size, len(msg)-4)
	}
	return c, nil
}

// finish judges a message that was read to its end.
func (c *cursor) finish(t HandshakeType) error {
	switch {
	case c.bad:
		return fmt.Errorf("tlswire: %v: ends too early, at byte %d", t, c.pos)
	case c.left() > 0:
		return fmt.Errorf("tlswire: %v: %d bytes too many, at byte %d", t, c.left(), c.pos)
	}
	return nil
}

// Extension is one extension. Offset is where its 4-byte header stands in the
// message; Data aliases the message.
type Extension struct {
	ID     uint16
	Offset int
	Data   []byte
}

// maxExtensions bounds the extensions of one message; browsers send about 20.
const maxExtensions = 256

// extensions reads the extensions block at the end of a message; a TLS 1.2
// hello may have none.
func (c *cursor) extensions() []Extension {
	if c.bad || c.left() == 0 {
		return nil
	}
	v := c.vector(2)
	out := make([]Extension, 0, min(v.left()/4, 24))
	for v.more() && len(out) < maxExtensions {
		e := Extension{Offset: v.pos, ID: uint16(v.number(2))}
		if e.Data = v.bytes(2); !v.bad {
			out = append(out, e)
		}
	}
	c.bad = c.bad || v.bad || v.more()
	return out
}

// eachExtension gives the body of each extension to read. A body that is cut
// is an error; the others are read all the same.
func eachExtension(t HandshakeType, list []Extension, read func(id uint16, c *cursor)) (err error) {
	c := new(cursor)
	for _, e := range list {
		*c = cursor{b: e.Data, end: len(e.Data)}
		if read(e.ID, c); c.bad && err == nil {
			err = fmt.Errorf("tlswire: %v: extension %s at byte %d is cut", t, ExtensionName(e.ID), e.Offset)
		}
	}
	return err
}
