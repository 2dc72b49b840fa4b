package dns

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// reader walks a message. Its first error sticks; every read after it gives
// zero values, so that callers check once.
type reader struct {
	msg []byte
	off int
	// end is where the present region ends: the message, or a record's data.
	end int
	err error
	// multicast tells that the record is of multicast DNS, whose names may be
	// compressed wherever they stand (RFC 6762 §18.14).
	multicast bool
	// arena holds the octets of all names and data that were read, so that a
	// message costs one allocation for them. Strings cut from it stay as they
	// are: it is only ever appended to.
	arena strings.Builder
	// known remembers the last names and where they stood: most names in a
	// response are a pointer into one of them.
	known  [8]knownName
	nknown int
}

type knownName struct {
	off int
	// plain counts the octets from off on that stand there as they are in
	// name, before its compression pointer.
	plain int
	name  Name
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
	start := r.off
	if n, ok := r.known1(); ok {
		return n
	}
	var buf [maxName]byte
	wire, plain, problem := r.walkName(buf[:0])
	if problem != "" {
		r.fail("%s at offset %d: %s", what, start, problem)
		return Name{}
	}
	if len(wire) == 0 {
		return Name{}
	}
	at := r.arena.Len()
	r.arena.Write(wire)
	n := Name{r.arena.String()[at:]}
	if plain > 0 && r.nknown < len(r.known) {
		r.known[r.nknown] = knownName{start, plain, n}
		r.nknown++
	}
	return n
}

// known1 reads a name that is a pointer into a known one, and nothing else.
func (r *reader) known1() (Name, bool) {
	if r.end-r.off < 2 || r.msg[r.off]&0xc0 != 0xc0 {
		return Name{}, false
	}
	to := int(r.msg[r.off]&0x3f)<<8 | int(r.msg[r.off+1])
	for i := range r.known[:r.nknown] {
		k := &r.known[i]
		if to < k.off || to >= k.off+k.plain || to >= r.off {
			continue
		}
		w := k.name.wire
		for len(w) > len(k.name.wire)-(to-k.off) {
			w = w[1+w[0]:]
		}
		if len(k.name.wire)-len(w) == to-k.off {
			r.off += 2
			return Name{w}, true
		}
	}
	return Name{}, false
}

// walkName appends the name at the reader's place to wire and goes behind it.
// plain counts the octets before the first pointer, without a final zero;
// problem is the error.
func (r *reader) walkName(wire []byte) (_ []byte, plain int, problem string) {
	var (
		off     = r.off
		segment = r.off // where the labels being read began
		end     = r.end
		jumps   = 0
	)
	for {
		if off >= end {
			return nil, 0, "name runs over the end"
		}
		c := int(r.msg[off])
		switch c & 0xc0 {
		case 0:
			if c == 0 {
				if jumps == 0 {
					r.off = off + 1
					plain = len(wire)
				}
				return wire, plain, ""
			}
			if off+1+c > end {
				return nil, 0, fmt.Sprintf("label of %d octets runs over the end", c)
			}
			if len(wire)+1+c > maxName-1 {
				return nil, 0, "name longer than 255 octets"
			}
			wire = append(wire, r.msg[off:off+1+c]...)
			off += 1 + c
		case 0xc0:
			if off+2 > end {
				return nil, 0, "compression pointer runs over the end"
			}
			to := c&0x3f<<8 | int(r.msg[off+1])
			switch {
			case to >= segment:
				return nil, 0, fmt.Sprintf("compression pointer to offset %d does not lead backwards", to)
			case to < HeaderSize:
				return nil, 0, fmt.Sprintf("compression pointer to offset %d leads into the header", to)
			}
			if jumps++; jumps > maxPointers {
				return nil, 0, fmt.Sprintf("more than %d compression pointers in one name", maxPointers)
			}
			if jumps == 1 {
				r.off = off + 2
				plain = len(wire)
				end = len(r.msg) // earlier than here, hence always inside
			}
			off, segment = to, to
		default:
			return nil, 0, fmt.Sprintf("label type %#x is not known", c&0xc0)
		}
	}
}

// data reads the record data that fills the reader's region and returns it
// with no name in it compressed, held against its form. Data of no octets
// where the type would have some is how RFC 2136 deletes and asks, in classes
// ANY and NONE.
func (r *reader) data(t Type, c Class) string {
	r.multicast = c&multicastFlag != 0
	f := formOf(t, c)
	if r.off == r.end {
		if f != nil && (c == ClassIN || c == ClassCH || c == ClassHS) && f.minimum() > 0 {
			r.fail("empty, at least %d octets are needed", f.minimum())
		}
		return ""
	}
	if f == nil {
		return r.keep(r.rest())
	}
	if len(f.fields) == 1 && f.fields[0].kind <= kindIPv6 { // the many
		switch f.fields[0].kind {
		case kindIPv4:
			return r.keep(r.bytes(4, "address"))
		case kindIPv6:
			return r.keep(r.bytes(16, "address"))
		}
	}
	at := r.arena.Len()
	for i := range f.fields {
		r.field(&f.fields[i])
		if r.err != nil {
			return ""
		}
	}
	out := r.arena.String()[at:]
	if t == TypeSVCB || t == TypeHTTPS {
		if err := consistent(out); err != nil {
			r.fail("%w", err)
		}
	}
	return out
}

func (r *reader) keep(b []byte) string {
	at := r.arena.Len()
	r.arena.Write(b)
	return r.arena.String()[at:]
}

// field reads one field and appends it to the arena.
func (r *reader) field(f *field) {
	what := f.name
	switch f.kind {
	case kindName, kindRead:
		r.keepName(what, true)
	case kindPlain, kindSigner:
		r.keepName(what, false)
	case kindNames:
		for r.off < r.end && r.err == nil {
			r.keepName(what, false)
		}
	case kindString, kindBare, kindSalt, kindHash, kindWord:
		r.keepString(f)
	case kindStrings:
		for first := true; (first || r.off < r.end) && r.err == nil; first = false {
			r.keepString(f)
		}
	case kindBitmap:
		start := r.off
		r.bitmap()
		r.keepFrom(start)
	case kindParams:
		start := r.off
		r.params()
		r.keepFrom(start)
	case kindOptions:
		start := r.off
		for r.off < r.end && r.err == nil {
			r.u16("option code")
			r.bytes(int(r.u16("option length")), "option")
		}
		r.keepFrom(start)
	case kindText, kindHex, kindBase64, kindNSAP:
		r.arena.Write(r.rest())
	case kindLOC, kindAPL, kindServices, kindGateway, kindRelay, kindHIP:
		start := r.off
		if s := checkSpecial(f.kind, r.rest()); s != "" {
			r.off = start
			r.fail("%s at offset %d: %s", what, start, s)
		}
		r.keepFrom(start)
	default:
		r.arena.Write(r.bytes(kindSizes[f.kind], what))
	}
}

func (r *reader) keepFrom(start int) {
	if r.err == nil {
		r.arena.Write(r.msg[start:r.off])
	}
}

func (r *reader) keepString(f *field) {
	start := r.off
	n := int(r.u8("string length"))
	r.bytes(n, "string")
	if f.kind == kindWord && n == 0 {
		r.fail("%s at offset %d: empty", f.name, start)
	}
	r.keepFrom(start)
}

func (r *reader) keepName(what string, compressed bool) {
	start := r.off
	var buf [maxName]byte
	wire, _, problem := r.walkName(buf[:0])
	switch {
	case problem != "":
		r.fail("%s at offset %d: %s", what, start, problem)
		return
	case !compressed && !r.multicast && r.off-start != len(wire)+1:
		r.fail("%s at offset %d: compressed where compression is forbidden", what, start)
		return
	}
	r.arena.Write(wire)
	r.arena.WriteByte(0)
}

// bitmap holds a type bitmap against RFC 4034 §4.1.2: windows in rising
// order, each with 1 to 32 octets of bits.
func (r *reader) bitmap() {
	last := -1
	for r.off < r.end && r.err == nil {
		window, n := int(r.u8("window")), int(r.u8("bitmap length"))
		switch {
		case window <= last:
			r.fail("type bitmap: window %d after window %d", window, last)
		case n < 1 || n > 32:
			r.fail("type bitmap: window of %d octets, 1 to 32 are possible", n)
		}
		last = window
		r.bytes(n, "bitmap")
	}
}

// packer appends a message to buf.
type packer struct {
	buf []byte
	// base is where the message begins in buf.
	base int
	// tails are the places, from base, at which a name or the tail of one
	// stands: the targets of compression. The bound keeps the search for a
	// match short; messages with more labels are compressed a little less.
	tails  [96]tail
	ntails int
	// last is the name written last, and where it stands: the records of a
	// set have the same owner.
	last    string
	lastOff uint16
}

type tail struct {
	hash uint32
	off  uint16
}

func (p *packer) u8(v uint8)   { p.buf = append(p.buf, v) }
func (p *packer) u16(v uint16) { p.buf = binary.BigEndian.AppendUint16(p.buf, v) }
func (p *packer) u32(v uint32) { p.buf = binary.BigEndian.AppendUint32(p.buf, v) }

// name appends a name, given without its final zero, its longest known tail
// replaced by a pointer. Tails match only with the same case, so that the
// case of every name survives.
func (p *packer) name(wire string) {
	if wire == "" {
		p.u8(0)
		return
	}
	if wire == p.last && p.lastOff != 0 {
		p.u16(0xc000 | p.lastOff)
		return
	}
	var starts [128]uint8
	var hashes [128]uint32
	n := 0
	for at := 0; at < len(wire); at += 1 + int(wire[at]) {
		starts[n] = uint8(at)
		n++
	}
	h, end := uint32(2166136261), len(wire)
	for i := n - 1; i >= 0; i-- {
		for at := int(starts[i]); at < end; at++ {
			h = (h ^ uint32(wire[at])) * 16777619
		}
		hashes[i], end = h, int(starts[i])
	}
	here := len(p.buf) - p.base
	for i := range n {
		w := wire[starts[i]:]
		if off, ok := p.find(hashes[i], w); ok {
			if i == 0 {
				p.last, p.lastOff = wire, off
			} else {
				p.remember(wire, here)
			}
			p.u16(0xc000 | off)
			return
		}
		if at := len(p.buf) - p.base; at < 0x4000 && p.ntails < len(p.tails) {
			p.tails[p.ntails] = tail{hashes[i], uint16(at)}
			p.ntails++
		}
		p.buf = append(p.buf, w[:1+w[0]]...)
	}
	p.u8(0)
	p.remember(wire, here)
}

func (p *packer) remember(wire string, at int) {
	if at < 0x4000 {
		p.last, p.lastOff = wire, uint16(at)
	}
}

func (p *packer) find(hash uint32, w string) (uint16, bool) {
	msg := p.buf[p.base:]
	for i := range p.tails[:p.ntails] {
		if t := &p.tails[i]; t.hash == hash && matchesAt(msg, int(t.off), w) {
			return t.off, true
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

// compressed tells whether the data of a type holds names that are written
// compressed.
func compressed(t Type) bool {
	switch t {
	case TypeNS, TypeCNAME, TypeSOA, TypePTR, TypeMX, 3, 4, 7, 8, 9, 14:
		return true
	}
	return false
}

// data appends record data, its names compressed where RFC 3597 §4 lets them
// be. Data that does not have its form goes out as it is.
func (p *packer) data(t Type, c Class, wire string) {
	if !compressed(t) {
		p.buf = append(p.buf, wire...)
		return
	}
	for _, f := range forms[t].fields {
		n := kindSizes[f.kind]
		if f.kind == kindName {
			if n = nameLength(wire); n > 0 {
				p.name(wire[:n-1])
				wire = wire[n:]
				continue
			}
		}
		if n == 0 || n > len(wire) {
			break
		}
		p.buf = append(p.buf, wire[:n]...)
		wire = wire[n:]
	}
	p.buf = append(p.buf, wire...)
}

// nameLength returns how many octets the uncompressed name at the beginning
// of wire takes with its final zero, 0 when there is none.
func nameLength(wire string) int {
	for at := 0; at < len(wire) && at < maxName; at += 1 + int(wire[at]) {
		if wire[at] == 0 {
			return at + 1
		}
		if wire[at] > maxLabel {
			return 0
		}
	}
	return 0
}
