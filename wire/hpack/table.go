package hpack

import "peel/wire/httpfield"

// table is a dynamic table (RFC 7541 §2.3.2): a ring of entries, the newest
// at index 62.
type table struct {
	ring  []httpfield.Field
	head  int // of the newest
	count int
	size  uint32
	max   uint32
}

// at returns the i-th newest entry, from 0.
func (t *table) at(i int) *httpfield.Field {
	return &t.ring[(t.head-i+len(t.ring))%len(t.ring)]
}

// evict drops the oldest entries until size bytes are free, and returns how
// many. gone is called for each.
func (t *table) evict(room uint32, gone func(*httpfield.Field)) int {
	n := 0
	for t.count > 0 && t.size+room > t.max {
		old := t.at(t.count - 1)
		t.size -= uint32(fieldSize(old))
		if gone != nil {
			gone(old)
		}
		*old = httpfield.Field{}
		t.count--
		n++
	}
	return n
}

// insert adds an entry for which evict has made room.
func (t *table) insert(f httpfield.Field) {
	if t.count == len(t.ring) {
		bigger := make([]httpfield.Field, max(16, 2*len(t.ring)))
		for i := range t.count {
			bigger[t.count-1-i] = *t.at(i)
		}
		t.ring, t.head = bigger, t.count-1
	}
	t.head = (t.head + 1) % len(t.ring)
	t.ring[t.head] = f
	t.count++
	t.size += uint32(fieldSize(&f))
}

// add puts a field into the table as RFC 7541 §4.4 says, and tells whether it
// is there then.
func (t *table) add(f httpfield.Field, gone func(*httpfield.Field)) (inserted bool, evicted int) {
	size := fieldSize(&f)
	if uint64(size) > uint64(t.max) {
		// A field larger than the table empties it.
		return false, t.evict(t.max, gone)
	}
	evicted = t.evict(uint32(size), gone)
	f.Sensitive = false
	t.insert(f)
	return true, evicted
}

func (t *table) resize(n uint32, gone func(*httpfield.Field)) int {
	t.max = n
	return t.evict(0, gone)
}

func (t *table) entries() []Entry {
	out := make([]Entry, 0, t.count)
	for i := range t.count {
		f := *t.at(i)
		out = append(out, Entry{Index: firstDynamic + i, Field: f, Size: uint32(fieldSize(&f))})
	}
	return out
}
