package dns

import (
	"encoding/binary"
	"fmt"
)

// reader walks a message. Its first error sticks; every read after it gives
// zero values, so that callers check once.
type reader struct {
	msg []byte
	off int
	// end is where the present region ends: the message, or a record's data.
	end int
	err error
	// known remembers the last names and where they stood: most names in a
	// response are a pointer to one of them.
	known [8]struct {
		off  int
		name Name
	}
	nknown int
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) bytes(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if r.end-r.off < n {
		r.fail("%s at offset %d: %d bytes wanted, %d left", what, r.off, n, r.end-r.off)
		return nil
	}
	b := r.msg[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

func (r *reader) u8(what string) uint8 {
	if b := r.bytes(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if b := r.bytes(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if b := r.bytes(4, what); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// rest returns what is left of the present region.
func (r *reader) rest() []byte {
	if r.err != nil {
		return nil
	}
	return r.bytes(r.end-r.off, "")
}

// maxPointers bounds the compression pointers of one name. A name has at most
// 127 labels, and a pointer to a pointer serves nothing.
const maxPointers = 127

// name reads a possibly compressed name (RFC 1035 §4.1.4). A pointer must
// lead to an earlier place than the labels it continues, which makes loops
// impossible, and not into the header.
func (r *reader) name(what string) Name {
	if r.err != nil {
		return Name{}
	}
	var (
		buf     [maxName]byte
		wire    = buf[:0]
		start   = r.off
		off     = r.off
		segment = r.off // where the labels being read began
		end     = r.end
		jumps   = 0
	)
	for {
		if off >= end {
			r.fail("%s at offset %d: name runs over the end", what, start)
			return Name{}
		}
		c := int(r.msg[off])
		switch c & 0xc0 {
		case 0:
			if c == 0 {
				if jumps == 0 {
					r.off = off + 1
				}
				n := Name{string(wire)}
				r.remember(start, n)
				return n
			}
			if off+1+c > end {
				r.fail("%s at offset %d: label of %d octets runs over the end", what, start, c)
				return Name{}
			}
			if len(wire)+1+c > maxName-1 {
				r.fail("%s at offset %d: name longer than 255 octets", what, start)
				return Name{}
			}
			wire = append(wire, r.msg[off:off+1+c]...)
			off += 1 + c
		case 0xc0:
			if off+2 > end {
				r.fail("%s at offset %d: compression pointer runs over the end", what, start)
				return Name{}
			}
			to := c&0x3f<<8 | int(r.msg[off+1])
			switch {
			case to >= segment:
				r.fail("%s at offset %d: compression pointer to offset %d does not lead backwards", what, start, to)
				return Name{}
			case to < headerSize:
				r.fail("%s at offset %d: compression pointer to offset %d leads into the header", what, start, to)
				return Name{}
			}
			if jumps++; jumps > maxPointers {
				r.fail("%s at offset %d: more than %d compression pointers in one name", what, start, maxPointers)
				return Name{}
			}
			if jumps == 1 {
				r.off = off + 2
				end = len(r.msg) // earlier than here, hence always inside
				if len(wire) == 0 {
					if n, ok := r.recall(to); ok {
						return n
					}
				}
			}
			off, segment = to, to
		default:
			r.fail("%s at offset %d: label type %#x is not known", what, start, c&0xc0)
			return Name{}
		}
	}
}

// plainName reads a name that must not be compressed where it stands.
func (r *reader) plainName(what string) Name {
	start := r.off
	n := r.name(what)
	if r.err == nil && r.off-start != n.Size() {
		r.fail("%s at offset %d: compressed where compression is forbidden", what, start)
		return Name{}
	}
	return n
}

func (r *reader) remember(off int, n Name) {
	if r.nknown < len(r.known) {
		r.known[r.nknown].off, r.known[r.nknown].name = off, n
		r.nknown++
	}
}

func (r *reader) recall(off int) (Name, bool) {
	for i := range r.known[:r.nknown] {
		if r.known[i].off == off {
			return r.known[i].name, true
		}
	}
	return Name{}, false
}

// packer appends a message to buf.
type packer struct {
	buf []byte
	// base is where the message begins in buf.
	base int
	// labels holds offsets, from base, at which a name or the tail of one
	// stands: the targets of compression. The bound keeps the search for a
	// match short; messages with more labels are compressed a little less.
	labels  [96]uint16
	nlabels int
}

func (p *packer) u8(v uint8)   { p.buf = append(p.buf, v) }
func (p *packer) u16(v uint16) { p.buf = binary.BigEndian.AppendUint16(p.buf, v) }
func (p *packer) u32(v uint32) { p.buf = binary.BigEndian.AppendUint32(p.buf, v) }

// plainName appends n uncompressed and not as a target of compression.
func (p *packer) plainName(n Name) {
	p.buf = append(p.buf, n.wire...)
	p.buf = append(p.buf, 0)
}

// name appends n, its longest known tail replaced by a pointer. Tails match
// only with the same case, so that the case of every name survives.
func (p *packer) name(n Name) {
	for w := n.wire; w != ""; w = w[1+w[0]:] {
		if off, ok := p.find(w); ok {
			p.u16(0xc000 | off)
			return
		}
		if here := len(p.buf) - p.base; here < 0x4000 && p.nlabels < len(p.labels) {
			p.labels[p.nlabels] = uint16(here)
			p.nlabels++
		}
		p.buf = append(p.buf, w[:1+w[0]]...)
	}
	p.u8(0)
}

func (p *packer) find(w string) (uint16, bool) {
	msg := p.buf[p.base:]
	for _, off := range p.labels[:p.nlabels] {
		if matchesAt(msg, int(off), w) {
			return off, true
		}
	}
	return 0, false
}

// matchesAt tells whether the name at off in msg, written by a packer, is w.
func matchesAt(msg []byte, off int, w string) bool {
	for {
		if off >= len(msg) {
			return false // the name is still being written
		}
		c := int(msg[off])
		switch {
		case c == 0:
			return w == ""
		case c >= 0xc0:
			if off+1 >= len(msg) {
				return false
			}
			off = c&0x3f<<8 | int(msg[off+1])
		default:
			if len(w) <= c || off+1+c > len(msg) || string(msg[off:off+1+c]) != w[:1+c] {
				return false
			}
			w = w[1+c:]
			off += 1 + c
		}
	}
}
