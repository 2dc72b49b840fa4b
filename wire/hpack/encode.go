package hpack

import (
	"peel/wire/httpfield"
)

// Encoder writes the header blocks of one direction of a connection. It finds
// entries by hash, so that a large table costs no more than a small one.
type Encoder struct {
	t     table
	limit uint32 // the largest table this side keeps
	// smallest and pending tell of size updates that the next block begins
	// with (RFC 7541 §4.2).
	smallest, wanted uint32
	pending          bool
	added            uint64            // entries ever inserted
	pairs, names     map[uint32]uint64 // hash → number of the newest entry with it
	lower            []byte
	drop             func(*httpfield.Field)
	// keys holds the hashes of the entries by their number, so that an entry
	// need not be hashed again when it goes. A table of n bytes holds at most
	// n/32 entries.
	keys []entryKeys
}

type entryKeys struct{ name, pair uint32 }

// NewEncoder returns an encoder that keeps a table of at most maxTable bytes.
// It begins with the 4,096 that every peer does, tells the peer in its first
// block when that is too much, and grows only when the peer's SETTINGS allow.
func NewEncoder(maxTable uint32) *Encoder {
	e := &Encoder{t: table{max: DefaultTableSize}, limit: maxTable, pairs: map[uint32]uint64{}, names: map[uint32]uint64{},
		keys: make([]entryKeys, max(maxTable, DefaultTableSize)/entryOverhead+1)}
	e.drop = e.forget
	e.SetMaxTableSize(min(maxTable, DefaultTableSize))
	return e
}

// SetMaxTableSize follows the peer's SETTINGS_HEADER_TABLE_SIZE. The next
// block tells the peer: the smallest size since the last block, then the last.
func (e *Encoder) SetMaxTableSize(n uint32) {
	n = min(n, e.limit)
	if !e.pending && n == e.t.max {
		return
	}
	if !e.pending || n < e.smallest {
		e.smallest = n
	}
	e.pending, e.wanted = true, n
	e.t.resize(n, e.drop)
}

// Table returns the dynamic table, newest entry first.
func (e *Encoder) Table() []Entry { return e.t.entries() }

// Size returns the bytes in the dynamic table; MaxSize its present limit.
func (e *Encoder) Size() uint32    { return e.t.size }
func (e *Encoder) MaxSize() uint32 { return e.t.max }

func hash(seed uint32, s string) uint32 {
	for i := 0; i < len(s); i++ {
		seed = (seed ^ uint32(s[i])) * 16777619
	}
	return seed
}

const hashSeed = 0

// forget removes an entry that is about to be evicted, the oldest, from the
// maps, unless a newer one has taken its place there.
func (e *Encoder) forget(*httpfield.Field) {
	number := e.added - uint64(e.t.count) + 1
	k := e.key(number)
	if e.names[k.name] == number {
		delete(e.names, k.name)
	}
	if e.pairs[k.pair] == number {
		delete(e.pairs, k.pair)
	}
}

func (e *Encoder) key(number uint64) *entryKeys { return &e.keys[number%uint64(len(e.keys))] }

// entry returns the entry with that number, or nil, and its index.
func (e *Encoder) entry(number uint64) (*httpfield.Field, int) {
	if number == 0 || e.added-number >= uint64(e.t.count) {
		return nil, 0
	}
	i := int(e.added - number)
	return e.t.at(i), firstDynamic + i
}

// AppendBlock appends a whole block.
func (e *Encoder) AppendBlock(dst []byte, l httpfield.List) []byte {
	for i := range l {
		dst = e.Append(dst, l[i])
	}
	return dst
}

// Append appends one field to the present block. Upper-case letters in its
// name become lower case.
func (e *Encoder) Append(dst []byte, f httpfield.Field) []byte {
	if e.pending {
		e.pending = false
		if e.smallest < e.wanted {
			// The smallest size in between must be told too. It is told as
			// zero, with the table emptied: a decoder in wide use takes a
			// second update only when the first has left nothing.
			e.t.resize(0, e.drop)
			e.t.max = e.wanted
			dst = appendInteger(dst, 0x20, 5, 0)
		}
		dst = appendInteger(dst, 0x20, 5, uint64(e.wanted))
	}
	f.Name = e.lowerName(f.Name)
	h := hash(hashSeed, f.Name)
	static := staticName(f.Name, h)
	if f.Sensitive || neverIndexed(&f) {
		return e.literal(dst, 0x10, 4, &f, static, h)
	}
	if static != 0 {
		if i := staticPair(static, f.Value); i != 0 {
			return appendInteger(dst, 0x80, 7, uint64(i))
		}
	}
	if unlikelyAgain(&f) || fieldSize(&f) > int(e.t.max)*3/4 {
		return e.literal(dst, 0, 4, &f, static, h)
	}
	ph := hash(h*31, f.Value)
	if g, i := e.entry(e.pairs[ph]); g != nil && g.Name == f.Name && g.Value == f.Value {
		return appendInteger(dst, 0x80, 7, uint64(i))
	}
	dst = e.literal(dst, 0x40, 6, &f, static, h)
	if inserted, _ := e.t.add(f, e.drop); inserted {
		e.added++
		*e.key(e.added) = entryKeys{h, ph}
		e.names[h], e.pairs[ph] = e.added, e.added
	}
	return dst
}

// lowerName returns the name in lower case. Names that are lower already, as
// nearly all are, cost nothing.
func (e *Encoder) lowerName(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			e.lower = append(e.lower[:0], s...)
			for ; i < len(e.lower); i++ {
				if c := e.lower[i]; c >= 'A' && c <= 'Z' {
					e.lower[i] = c | 0x20
				}
			}
			h := hash(hashSeed, string(e.lower))
			if n := staticName(string(e.lower), h); n != 0 {
				return staticTable[n].Name
			}
			if g, _ := e.entry(e.names[h]); g != nil && g.Name == string(e.lower) {
				return g.Name
			}
			return string(e.lower)
		}
	}
	return s
}

// literal appends a literal with its name by index where there is one.
func (e *Encoder) literal(dst []byte, flags byte, prefix uint, f *httpfield.Field, static int, h uint32) []byte {
	switch g, i := e.entry(e.names[h]); {
	case static != 0:
		dst = appendInteger(dst, flags, prefix, uint64(static))
	case g != nil && g.Name == f.Name:
		dst = appendInteger(dst, flags, prefix, uint64(i))
	default:
		dst = append(dst, flags)
		dst = appendString(dst, f.Name)
	}
	return appendString(dst, f.Value)
}

// neverIndexed tells of values that an attacker could guess piece by piece
// from how well they compress (RFC 7541 §7.1.3): credentials, and cookies so
// short that guessing is cheap.
func neverIndexed(f *httpfield.Field) bool {
	switch len(f.Name) {
	case 6:
		return f.Name == "cookie" && len(f.Value) < 20
	case 13:
		return f.Name == "authorization"
	case 19:
		return f.Name == "proxy-authorization"
	}
	return false
}

// unlikelyAgain tells of fields whose value hardly comes twice; in the table
// they would drive out others.
func unlikelyAgain(f *httpfield.Field) bool {
	switch len(f.Name) {
	case 3:
		return f.Name == "age"
	case 4:
		return f.Name == "etag"
	case 5:
		return f.Name == ":path"
	case 8:
		return f.Name == "location"
	case 10:
		return f.Name == "set-cookie"
	case 13:
		return f.Name == "if-none-match"
	case 14:
		return f.Name == "content-length"
	case 17:
		return f.Name == "if-modified-since"
	}
	return false
}
