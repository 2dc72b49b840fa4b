package decision

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"
	"unicode/utf8"

	"peel/trace"
)

// What a codec does with the fields that it is shown.
const (
	writing = iota
	reading
	// rewriting puts each text through a function.
	rewriting
)

const (
	// maxText bounds the bytes of all texts of a decision together, and
	// maxItems the items of all its lists, so that MaxEncoded holds: an item
	// takes less than 64 bytes beside its texts.
	maxText  = 44 << 10
	maxItems = 256
	// maxZone is the longest name of an interface in an address (IFNAMSIZ).
	maxZone = 15
)

// codec is shown the fields of a decision one after the other. Numbers are
// varints, texts stand behind their length, lists behind their count. Where
// the input ends before a field, an older version did not have it.
type codec struct {
	mode    int
	out     []byte
	room    int // for texts
	items   int // of lists so far
	in      string
	bad     bool
	rewrite func(string) string
}

func (c *codec) fail() {
	c.in, c.bad = "", true
}

// number writes or reads an unsigned number of at most limit.
func (c *codec) number(v, limit uint64) uint64 {
	switch {
	case c.mode == writing:
		c.out = binary.AppendUvarint(c.out, v)
	case c.mode == reading && c.in != "":
		var shift uint
		v = 0
		for i := range len(c.in) {
			b := c.in[i]
			if shift > 63 || shift == 63 && b > 1 {
				break
			}
			v |= uint64(b&0x7f) << shift
			if b < 0x80 {
				c.in = c.in[i+1:]
				if v > limit {
					break
				}
				return v
			}
			shift += 7
		}
		c.fail()
		return 0
	}
	return v
}

func (c *codec) uint64(p *uint64) { *p = c.number(*p, math.MaxUint64) }
func (c *codec) uint32(p *uint32) { *p = uint32(c.number(uint64(*p), math.MaxUint32)) }
func (c *codec) uint8(p *uint8)   { *p = uint8(c.number(uint64(*p), math.MaxUint8)) }
func (c *codec) uint16(p *uint16) { *p = uint16(c.number(uint64(*p), math.MaxUint16)) }

// int64 folds the sign into the lowest bit, so that small numbers are short.
func (c *codec) int64(p *int64) {
	u := c.number(uint64(*p)<<1^uint64(*p>>63), math.MaxUint64)
	*p = int64(u>>1) ^ -int64(u&1)
}

func (c *codec) duration(p *time.Duration) {
	n := int64(*p)
	c.int64(&n)
	*p = time.Duration(n)
}

func (c *codec) bool(p *bool) {
	var n uint64
	if *p {
		n = 1
	}
	*p = c.number(n, 1) == 1
}

// bytes takes n bytes of the input.
func (c *codec) bytes(n uint64) string {
	if n > uint64(len(c.in)) {
		c.fail()
		return ""
	}
	s := c.in[:n]
	c.in = c.in[n:]
	return s
}

// string writes or reads text that nobody rewrites.
func (c *codec) string(s string) string {
	switch c.mode {
	case writing:
		if len(s) > c.room {
			n := c.room
			for n > 0 && !utf8.RuneStart(s[n]) {
				n--
			}
			s = s[:n]
		}
		c.room -= len(s)
		c.out = binary.AppendUvarint(c.out, uint64(len(s)))
		c.out = append(c.out, s...)
	case reading:
		s = c.bytes(c.number(0, math.MaxUint32))
	}
	return s
}

// text is words for people, in which something private can stand.
func (c *codec) text(p *string) {
	if c.mode == rewriting {
		*p = c.rewrite(*p)
		return
	}
	*p = c.string(*p)
}

// word is one of a vocabulary, in which nothing private can stand.
func word[T ~string](c *codec, p *T) { *p = T(c.string(string(*p))) }

// list goes through the items of a list.
func list[T any](c *codec, p *[]T, item func(*codec, *T)) {
	n := len(*p)
	if c.mode == rewriting {
		for i := range *p {
			item(c, &(*p)[i])
		}
		return
	}
	n = min(n, maxItems-c.items)
	n = int(c.number(uint64(n), uint64(maxItems-c.items)))
	c.items += n
	if c.mode == reading {
		*p = nil // as when there are none
		for range n {
			var v T
			item(c, &v)
			if c.bad {
				return
			}
			*p = append(*p, v)
		}
		return
	}
	for i := range n {
		item(c, &(*p)[i])
	}
}

func (c *codec) texts(p *[]string) { list(c, p, (*codec).text) }

// addr is an IP address in the binary form of package netip, with its zone.
func (c *codec) addr(p *netip.Addr) {
	switch c.mode {
	case writing:
		a := *p
		if len(a.Zone()) > maxZone {
			a = a.WithZone("")
		}
		b, _ := a.MarshalBinary()
		c.out = append(append(c.out, byte(len(b))), b...)
	case reading:
		if p.UnmarshalBinary([]byte(c.string(""))) != nil {
			c.fail()
		}
	}
}

func (c *codec) addrPort(p *netip.AddrPort) {
	a, port := p.Addr(), p.Port()
	c.addr(&a)
	c.uint16(&port)
	*p = netip.AddrPortFrom(a, port)
}

func (c *codec) failure(p *trace.Failure) {
	word(c, &p.Layer)
	word(c, &p.Code)
	c.text(&p.Seen)
	c.text(&p.Try)
}

// rest is all that is left.
func (c *codec) rest(p *[]byte) {
	switch c.mode {
	case writing:
		c.out = append(c.out, (*p)[:min(len(*p), maxText)]...)
	case reading:
		if c.in != "" {
			*p = []byte(c.in)
		}
		c.in = ""
	case rewriting:
		*p = nil // nobody knows what is a text in it
	}
}
