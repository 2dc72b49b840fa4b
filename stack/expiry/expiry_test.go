package expiry

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"peel/clock"
)

// The table against a list that is searched.
func TestTableAgainstAList(t *testing.T) {
	type entry struct {
		i             int32
		class         uint8
		created, last clock.Time
	}
	timeout := []time.Duration{5, 50, 500}
	tab := New[int](timeout)
	rnd := rand.New(rand.NewPCG(1, 1))
	var list []entry // in the order in which they were added
	now := clock.Time(1000)
	for n := range 20000 {
		now += clock.Time(rnd.IntN(4))
		switch k := rnd.IntN(10); {
		case k < 4:
			c := uint8(rnd.IntN(3))
			list = append(list, entry{tab.Add(n, c, now), c, now, now})
		case k < 7 && len(list) > 0:
			e := &list[rnd.IntN(len(list))]
			e.class, e.last = uint8(rnd.IntN(3)), now
			tab.Refresh(e.i, e.class, now)
		case k < 8 && len(list) > 0:
			at := rnd.IntN(len(list))
			tab.Remove(list[at].i)
			list = slices.Delete(list, at, at+1)
		}
		for i := tab.Due(now); i != 0; i = tab.Due(now) {
			tab.Remove(i)
			at := slices.IndexFunc(list, func(e entry) bool { return e.i == i })
			if at < 0 || now.Sub(list[at].last) < timeout[list[at].class] {
				t.Fatalf("step %d: entry %d is not due", n, i)
			}
			list = slices.Delete(list, at, at+1)
		}
		next, all := clock.Never, []int32{}
		for _, e := range list {
			end := e.last.Add(timeout[e.class])
			if end <= now {
				t.Fatalf("step %d: entry %d is overdue", n, e.i)
			}
			next, all = min(next, end), append(all, e.i)
			if created, last, ends := tab.Times(e.i); created != e.created || last != e.last || ends != end || tab.Class(e.i) != e.class {
				t.Fatalf("step %d: entry %d: %v %v %v", n, e.i, created, last, ends)
			}
		}
		if tab.Next() != next || tab.Len() != len(list) || n%50 == 0 && !slices.Equal(tab.All(), all) {
			t.Fatalf("step %d: next %v, want %v; %d entries, want %d", n, tab.Next(), next, tab.Len(), len(list))
		}
	}
}
