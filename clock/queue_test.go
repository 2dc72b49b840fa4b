package clock

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// The queue against a sorted list, with timers moved and stopped at random.
func TestQueueFiresInOrderOfTimeAndSequence(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var q Queue
	type want struct {
		at  Time
		seq int
		id  int
	}
	set := map[int]want{}
	var fired []int
	timers := make([]*Timer, 300)
	for i := range timers {
		timers[i] = NewTimer(func(Time) { fired = append(fired, i) })
	}
	for n := range 5000 {
		i := rnd.IntN(len(timers))
		if rnd.IntN(4) == 0 {
			q.Stop(timers[i])
			delete(set, i)
			continue
		}
		at := Time(rnd.IntN(100))
		q.Set(timers[i], at)
		set[i] = want{at, n, i}
	}
	var order []want
	for _, w := range set {
		order = append(order, w)
	}
	slices.SortFunc(order, func(a, b want) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq))
	})
	if q.Len() != len(order) || q.Next() != order[0].at {
		t.Fatalf("%d timers, first at %d; want %d, %d", q.Len(), q.Next(), len(order), order[0].at)
	}
	q.Run(Never)
	for i, w := range order {
		if fired[i] != w.id {
			t.Fatalf("timer %d fired at place %d, want %d", fired[i], i, w.id)
		}
	}
	if len(fired) != len(order) || q.Len() != 0 || q.Now() != order[len(order)-1].at {
		t.Fatalf("%d fired, %d left, now %d", len(fired), q.Len(), q.Now())
	}
}

func TestQueueRunsWhatIsSetOnTheWay(t *testing.T) {
	var q Queue
	n := 0
	var tick *Timer
	tick = NewTimer(func(now Time) {
		n++
		q.Set(tick, now+10)
	})
	q.Set(tick, 0)
	q.Run(95)
	if n != 10 || q.Now() != 95 || q.Next() != 100 {
		t.Fatalf("%d ticks, now %d, next %d", n, q.Now(), q.Next())
	}
	q.Set(tick, 50) // in the past: due now
	if q.Next() != 95 {
		t.Fatalf("next %d, want 95", q.Next())
	}
}

func BenchmarkQueue(b *testing.B) {
	var q Queue
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		var tm *Timer
		tm = NewTimer(func(now Time) { q.Set(tm, now+Time(rnd.IntN(1000))) })
		q.Set(tm, Time(rnd.IntN(1000)))
	}
	for b.Loop() {
		q.Step(Never)
	}
}
