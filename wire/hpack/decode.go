package hpack

import (
	"strconv"

	"peel/wire/httpfield"
)

// Decoder reads the header blocks of one direction of a connection.
type Decoder struct {
	t       table
	allowed uint32 // the most that a size update may set
	// owed tells that our smaller limit was announced and that the next block
	// must begin with a size update (RFC 7541 §4.2).
	owed     bool
	smallest uint32 // of the limits since the last size update
	scratch  []byte
	failed   error
	blind    bool // blocks were missed: see Lose
}

// NewDecoder returns a decoder whose table holds maxTable bytes.
func NewDecoder(maxTable uint32) *Decoder {
	return &Decoder{t: table{max: maxTable}, allowed: maxTable}
}

// SetAllowedMaxTableSize sets the limit that this side has announced in
// SETTINGS and the peer has acknowledged.
func (d *Decoder) SetAllowedMaxTableSize(n uint32) {
	if n < d.t.max && (!d.owed || n < d.smallest) {
		d.owed, d.smallest = true, n
	}
	d.allowed = n
}

// Table returns the dynamic table, newest entry first.
func (d *Decoder) Table() []Entry { return d.t.entries() }

// Size returns the bytes in the dynamic table; MaxSize its present limit.
func (d *Decoder) Size() uint32    { return d.t.size }
func (d *Decoder) MaxSize() uint32 { return d.t.max }

// mostKept bounds the table of a decoder that has missed blocks, and with them
// perhaps size updates, in bytes.
const mostKept = 64 << 10

// Lose says that blocks were missed, whose fields are not in the table: it
// begins anew. From here on an index that leads to one of them is an unknown
// field (Representation.NameUnknown, ValueUnknown) and no error. What comes in
// from here on is found again by its index, as entries are counted from the
// newest: an encoder names no entry that has been driven out. So neither the
// size of the peer's table nor what drove out what needs to be known.
func (d *Decoder) Lose() {
	d.blind, d.owed = true, false
	d.t = table{max: mostKept}
}

// Blind tells whether Lose was called.
func (d *Decoder) Blind() bool { return d.blind }

// Decode reads a whole block and appends its fields to dst. Past the limits
// it goes on for the table's sake without storing, and says so in the Result.
// An error is an *Error, and final.
func (d *Decoder) Decode(dst httpfield.List, block []byte, lim Limits) (httpfield.List, Result, error) {
	lim = lim.withDefaults()
	var res Result
	err := d.walk(block, lim, &res, func(r *Representation) {
		if r.Kind == SizeUpdate {
			return
		}
		if res.Fields > lim.MaxFields || res.Size > lim.MaxListSize {
			res.Truncated = true
			return
		}
		dst = append(dst, r.Field)
	})
	return dst, res, err
}

// Explain reads a block as Decode does and returns each item with its bytes
// and its effect on the table.
func (d *Decoder) Explain(block []byte, lim Limits) ([]Representation, error) {
	var out []Representation
	var res Result
	err := d.walk(block, lim.withDefaults(), &res, func(r *Representation) { out = append(out, *r) })
	return out, err
}

// maxUpdates bounds the size updates of one block: each is a byte that would
// make an item without a field, and so without a charge.
const maxUpdates = 8

// walk reads a block item by item.
func (d *Decoder) walk(block []byte, lim Limits, res *Result, each func(*Representation)) error {
	if d.failed != nil {
		return d.failed
	}
	var r Representation
	updates := 0
	for pos, fields := 0, false; pos < len(block); {
		r = Representation{Offset: pos}
		next, err := d.item(block, pos, &r)
		if err == nil {
			switch {
			case r.Kind == SizeUpdate && fields:
				err = &Error{Reason: ErrTableSize, Detail: "a size update stands behind a field"}
			case r.Kind == SizeUpdate:
				// Two are all that RFC 7541 §4.2 has a use for.
				if updates++; updates > maxUpdates {
					err = &Error{Reason: ErrTableSize, Detail: "more than " + strconv.Itoa(maxUpdates) + " size updates"}
					break
				}
				err = d.update(&r)
			case d.owed:
				err = &Error{Reason: ErrTableSize, Detail: "the block does not begin with the size update that a smaller limit demands"}
			default:
				fields = true
				res.Fields++
				res.Size += fieldSize(&r.Field)
				if res.Size > lim.MaxWork {
					err = &Error{Reason: ErrTooLarge, Detail: "more than " + strconv.Itoa(lim.MaxWork) + " bytes of fields"}
				}
			}
		}
		if err != nil {
			if e, ok := err.(*Error); ok {
				e.Offset = pos
			}
			d.failed = err
			return err
		}
		r.Length = next - pos
		pos = next
		each(&r)
	}
	return nil
}

func (d *Decoder) update(r *Representation) error {
	if d.blind {
		r.Evicted = d.t.resize(min(r.TableSize, mostKept), nil)
		return nil
	}
	if r.TableSize > d.allowed {
		return &Error{Reason: ErrTableSize, Detail: strconv.FormatUint(uint64(r.TableSize), 10) + " is above the limit of " + strconv.FormatUint(uint64(d.allowed), 10)}
	}
	if d.owed && r.TableSize > d.smallest {
		return &Error{Reason: ErrTableSize, Detail: "the smaller limit of " + strconv.FormatUint(uint64(d.smallest), 10) + " in between was not followed"}
	}
	d.owed = false
	r.Evicted = d.t.resize(r.TableSize, nil)
	return nil
}

// item reads one representation at pos (RFC 7541 §6) and returns where the
// next begins.
func (d *Decoder) item(b []byte, pos int, r *Representation) (int, error) {
	c := b[pos]
	prefix := uint(4)
	switch {
	case c&0x80 != 0:
		r.Kind = Indexed
		v, next, err := readInteger(b, pos, 7)
		if err != nil {
			return pos, err
		}
		f, err := d.lookup(v)
		if err != nil {
			return pos, err
		}
		r.Index, r.Field = v, *f
		if d.blind {
			r.NameUnknown, r.ValueUnknown = f.Name == "", f == &unknown
		}
		return next, nil
	case c&0xc0 == 0x40:
		r.Kind, prefix = LiteralIncremental, 6
	case c&0xe0 == 0x20:
		r.Kind = SizeUpdate
		v, next, err := readInteger(b, pos, 5)
		r.TableSize = uint32(v)
		return next, err
	case c&0xf0 == 0x10:
		r.Kind = LiteralNever
		r.Field.Sensitive = true
	default:
		r.Kind = LiteralWithout
	}
	index, next, err := readInteger(b, pos, prefix)
	if err != nil {
		return pos, err
	}
	r.Index = index
	d.scratch = d.scratch[:0]
	nameLen := 0
	if index != 0 {
		f, err := d.lookup(index)
		if err != nil {
			return pos, err
		}
		r.Field.Name = f.Name
		r.NameUnknown = d.blind && f.Name == ""
	} else {
		r.NameOffset = next
		if d.scratch, r.NameHuffman, next, err = readString(d.scratch, b, next); err != nil {
			return pos, err
		}
		nameLen = len(d.scratch)
	}
	r.ValueOffset = next
	if d.scratch, r.ValueHuffman, next, err = readString(d.scratch, b, next); err != nil {
		return pos, err
	}
	// Name and value share one allocation.
	text := string(d.scratch)
	if index == 0 {
		r.Field.Name = text[:nameLen]
	}
	r.Field.Value = text[nameLen:]
	if r.Kind == LiteralIncremental {
		r.Inserted, r.Evicted = d.t.add(r.Field, nil)
	}
	return next, nil
}

// unknown stands for an entry that a decoder has missed. One whose name alone
// is unknown has an empty name, as no field has.
var unknown httpfield.Field

// lookup returns the entry with that index (RFC 7541 §2.3.3).
func (d *Decoder) lookup(i uint64) (*httpfield.Field, error) {
	switch {
	case i > 0 && i < firstDynamic:
		return &staticTable[i], nil
	case i >= firstDynamic && i-firstDynamic < uint64(d.t.count):
		return d.t.at(int(i - firstDynamic)), nil
	}
	if d.blind && i >= firstDynamic && i < firstDynamic+mostKept/entryOverhead {
		return &unknown, nil
	}
	return nil, &Error{Reason: ErrIndex, Detail: strconv.FormatUint(i, 10) + " is not between 1 and " + strconv.Itoa(firstDynamic-1+d.t.count)}
}

// Coding says in words how the item is written, such as "indexed 2".
func (r *Representation) Coding() string {
	s := r.Kind.String()
	if r.Kind == Indexed {
		return s + " " + strconv.FormatUint(r.Index, 10)
	}
	if r.Index != 0 {
		s += ", name " + strconv.FormatUint(r.Index, 10)
	}
	if r.ValueHuffman || r.NameHuffman {
		s += ", Huffman"
	}
	return s
}
