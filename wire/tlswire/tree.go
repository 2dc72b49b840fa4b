package tlswire

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"peel/trace"
)

// maxFields bounds the fields made of one message. What lies past it is shown
// as bytes.
const maxFields = 4096

// tree builds fields while a cursor walks over the message.
type tree struct {
	c    *cursor
	out  []trace.Field
	left *int // fields that may still be made
}

func newTree(b []byte) *tree {
	left := maxFields
	return &tree{c: newCursor(b), left: &left}
}

func (t *tree) add(name, value, meaning string, from int) *trace.Field {
	*t.left--
	t.out = append(t.out, trace.Field{Name: name, Value: value, Meaning: meaning, Offset: from, Length: t.c.pos - from})
	return &t.out[len(t.out)-1]
}

// number adds a number of n bytes, with what it means.
func (t *tree) number(name string, n int, meaning func(int) string) int {
	from := t.c.pos
	v := t.c.number(n)
	if t.c.bad {
		return 0
	}
	m := ""
	if meaning != nil {
		m = meaning(v)
	}
	t.add(name, strconv.Itoa(v), m, from)
	return v
}

// code adds a 16-bit number shown in hexadecimal with its name.
func (t *tree) code(name string, meaning func(uint16) string) {
	from := t.c.pos
	v := t.c.number(2)
	if !t.c.bad {
		t.add(name, fmt.Sprintf("0x%04x", v), meaning(uint16(v)), from)
	}
}

func (t *tree) bytes(name string, n int) {
	from := t.c.pos
	b := t.c.take(n)
	if !t.c.bad {
		t.add(name, shortHex(b), "", from)
	}
}

// vector adds a field for a vector with a length of n bytes, whose parts f
// adds as children. The field's range has the length's bytes in it.
func (t *tree) vector(name string, n int, f func(*tree)) {
	from := t.c.pos
	v := t.c.vector(n)
	if t.c.bad {
		return
	}
	value := fmt.Sprintf("%d bytes", v.left())
	if f == nil {
		value = shortHex(v.rest())
	}
	inner := &tree{c: &v, left: t.left}
	for f != nil && v.more() {
		at := v.pos
		if *t.left > 0 {
			f(inner)
		}
		if v.pos == at || v.bad {
			inner.remains()
			break
		}
	}
	t.add(name, value, "", from).Children = inner.out
}

// remains adds what is left as bytes.
func (t *tree) remains() {
	t.c.bad = false
	if n := t.c.left(); n > 0 {
		t.bytes("tls.handshake.data", n)
	}
}

func (t *tree) text(name string, n int) {
	from := t.c.pos
	v := t.c.bytes(n)
	if t.c.bad {
		return
	}
	value := string(v)
	for _, c := range v {
		if c < ' ' || c > '~' {
			value = strconv.QuoteToASCII(value)
			break
		}
	}
	t.add(name, value, "", from)
}

func shortHex(b []byte) string {
	if len(b) > 32 {
		return hex.EncodeToString(b[:32]) + fmt.Sprintf("… (%d bytes)", len(b))
	}
	return hex.EncodeToString(b)
}

// oneOf names the values of a small enumeration.
func oneOf(names ...string) func(int) string {
	return func(v int) string {
		if v < len(names) {
			return names[v]
		}
		return ""
	}
}
