// Package expiry is a table of entries that are forgotten when nothing has
// refreshed them for as long as their class says. Each class has one timeout,
// so that its entries in the order of their refreshing are in the order of
// their ends: everything costs the same however many there are.
package expiry

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"peel/clock"
)

// Table holds entries, each under an index that stays until it is removed.
// Index 0 is nobody. Make one with New.
type Table[T any] struct {
	slots   []slot[T]
	free    int32 // the first free one, chained by next
	lists   []struct{ head, tail int32 }
	timeout []time.Duration
	n       int
	serial  uint64
}

type slot[T any] struct {
	value         T
	serial        uint64 // 0 is free
	created, last clock.Time
	prev, next    int32
	class         uint8
}

// New returns an empty table with a class for each timeout, at most 256.
func New[T any](timeout []time.Duration) Table[T] {
	return Table[T]{slots: make([]slot[T], 1, 64), lists: make([]struct{ head, tail int32 }, len(timeout)), timeout: timeout}
}

// Len is the number of entries, and Added how many there were ever.
func (t *Table[T]) Len() int { return t.n }

// Added: see Len.
func (t *Table[T]) Added() uint64 { return t.serial }

// At returns an entry, good until the next Add.
func (t *Table[T]) At(i int32) *T { return &t.slots[i].value }

// Add takes an entry of a class and returns its index.
func (t *Table[T]) Add(v T, class uint8, now clock.Time) int32 {
	i := t.free
	if i != 0 {
		t.free = t.slots[i].next
	} else {
		i = int32(len(t.slots))
		t.slots = append(t.slots, slot[T]{})
	}
	t.n++
	t.serial++
	t.slots[i] = slot[T]{value: v, serial: t.serial, created: now}
	t.link(i, class, now)
	return i
}

// Remove takes an entry out.
func (t *Table[T]) Remove(i int32) {
	t.unlink(i)
	t.slots[i] = slot[T]{next: t.free}
	t.free = i
	t.n--
}

// Refresh lets an entry's time begin anew, in a class.
func (t *Table[T]) Refresh(i int32, class uint8, now clock.Time) {
	t.unlink(i)
	t.link(i, class, now)
}

func (t *Table[T]) link(i int32, class uint8, now clock.Time) {
	s, l := &t.slots[i], &t.lists[class]
	s.class, s.last, s.prev, s.next = class, now, l.tail, 0
	if l.tail != 0 {
		t.slots[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (t *Table[T]) unlink(i int32) {
	s := &t.slots[i]
	l := &t.lists[s.class]
	if s.prev != 0 {
		t.slots[s.prev].next = s.next
	} else {
		l.head = s.next
	}
	if s.next != 0 {
		t.slots[s.next].prev = s.prev
	} else {
		l.tail = s.prev
	}
}

// Class is that of an entry.
func (t *Table[T]) Class(i int32) uint8 { return t.slots[i].class }

// Serial counts entries from 1, in the order in which they were added.
func (t *Table[T]) Serial(i int32) uint64 { return t.slots[i].serial }

// Times are when an entry was added, when it was refreshed, and when it ends.
func (t *Table[T]) Times(i int32) (created, last, ends clock.Time) {
	s := &t.slots[i]
	return s.created, s.last, s.last.Add(t.timeout[s.class])
}

// Due returns an entry whose time is over, which the caller removes; 0 is
// none.
func (t *Table[T]) Due(now clock.Time) int32 {
	for c := range t.lists {
		if i := t.lists[c].head; i != 0 && now.Sub(t.slots[i].last) >= t.timeout[c] {
			return i
		}
	}
	return 0
}

// Next is when the first entry ends, or clock.Never.
func (t *Table[T]) Next() clock.Time {
	at := clock.Never
	for c := range t.lists {
		if i := t.lists[c].head; i != 0 {
			at = min(at, t.slots[i].last.Add(t.timeout[c]))
		}
	}
	return at
}

// Check goes over the table's books: each entry stands once in the list of its
// class, in the order of its refreshing. It is for tests.
func (t *Table[T]) Check() error {
	linked := 0
	for c := range t.lists {
		last, prev := clock.Time(0), int32(0)
		for i := t.lists[c].head; i != 0; i = t.slots[i].next {
			s := &t.slots[i]
			if linked++; linked > t.n || s.serial == 0 || int(s.class) != c || s.prev != prev || s.last < last {
				return fmt.Errorf("expiry: entry %d does not belong where it stands in list %d", i, c)
			}
			last, prev = s.last, i
		}
		if t.lists[c].tail != prev {
			return fmt.Errorf("expiry: list %d ends with entry %d, not %d", c, prev, t.lists[c].tail)
		}
	}
	if linked != t.n {
		return fmt.Errorf("expiry: %d entries stand in lists, of %d", linked, t.n)
	}
	return nil
}

// All returns the indexes of all entries, in the order in which they were
// added.
func (t *Table[T]) All() []int32 {
	out := make([]int32, 0, t.n)
	for i := range t.slots {
		if t.slots[i].serial != 0 {
			out = append(out, int32(i))
		}
	}
	slices.SortFunc(out, func(a, b int32) int { return cmp.Compare(t.slots[a].serial, t.slots[b].serial) })
	return out
}
