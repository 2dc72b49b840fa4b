package link

import (
	"encoding/hex"
	"math"
	"testing"
	"time"

	"peel/clock"
	"peel/wire/ip"
)

// A source that sends 25 % more than the cable takes, for five seconds.
func overload(t *testing.T, q QueueLimit) (*world, []Hop, []Hop) {
	w := newWorld(t, 1, Shape{Rate: 10e6, Queue: q})
	var h hops
	w.trace.Attach(&h)
	w.send(1, 5000, 1250, 800*time.Microsecond) // takes 1 ms to send
	w.finish()
	return w, h.with(Dropped), h.with(Queued)
}

// RFC 8289 §5: while the queue stays above the target, the nth drop is
// interval/sqrt(n) before the next.
func TestCoDelDropsByItsLaw(t *testing.T) {
	w, drops, queued := overload(t, QueueLimit{Packets: 10_000, Discipline: CoDel})
	if len(drops) < 50 || w.cable.AB().Counters().CoDelDropped != uint64(len(drops)) {
		t.Fatalf("%d drops, %+v", len(drops), w.cable.AB().Counters())
	}
	// The first comes an interval after the queue rose above 5 ms.
	var above clock.Time
	for _, q := range queued {
		if q.Wait >= 5*time.Millisecond {
			above = q.Time
			break
		}
	}
	if d := drops[0].Time.Sub(above); d < 100*time.Millisecond || d > 101*time.Millisecond {
		t.Errorf("the first drop is %v after the queue was above the target", d)
	}
	at := drops[0].Time
	for n := 1; n < 40; n++ {
		// Drops happen when a frame is taken from the queue: each 1 ms.
		at = at.Add(time.Duration(float64(100*time.Millisecond) / math.Sqrt(float64(n))))
		if d := drops[n].Time.Sub(at); d < 0 || d > time.Millisecond {
			t.Fatalf("drop %d is %v after its time", n+1, d)
		}
	}
	for i, d := range drops {
		if d.Wait < 5*time.Millisecond || d.Reason != ReasonCoDel || d.Where != "a" {
			t.Fatalf("drop %d: %+v", i, d)
		}
	}
	perSecond := [5]int{}
	for _, d := range drops {
		if s := d.Time / 1e9; s < 4 {
			perSecond[s]++
		}
	}
	for s := 1; s < 4; s++ {
		if perSecond[s] <= perSecond[s-1] {
			t.Errorf("drops in each second: %v; they should become more", perSecond)
		}
	}
}

// None is dropped while the queue is below the target, or above it for less
// than an interval.
func TestCoDelLeavesGoodQueuesAlone(t *testing.T) {
	for _, burst := range []int{4, 90} {
		w := newWorld(t, 1, Shape{Rate: 10e6, Queue: QueueLimit{Discipline: CoDel}})
		for n := range 20 {
			w.send(n*burst, n*burst+burst-1, 1250, 0)
			w.clock.Run(w.clock.Now().Add(95 * time.Millisecond))
		}
		w.finish()
		if c := w.cable.AB().Counters(); c.CoDelDropped != 0 || len(w.got) != 20*burst {
			t.Errorf("bursts of %d: %+v", burst, c)
		}
	}
}

// What CoDel is for: a source that slows down when it is told keeps the queue
// near the target.
func TestCoDelControlsASourceThatListens(t *testing.T) {
	mean := func(d Discipline) time.Duration {
		w := newWorld(t, 1, Shape{Rate: 10e6, Queue: QueueLimit{Discipline: d}})
		var h hops
		w.trace.Attach(&h)
		gap, seen, last := 2*time.Millisecond, uint64(0), clock.Time(0)
		for n := range 8000 {
			w.send(n, n, 1250, gap)
			gap = max(200*time.Microsecond, gap-gap/1000)
			c := w.cable.AB().Counters()
			if lost := c.CoDelDropped + c.QueueFull; lost > seen {
				seen = lost
				if w.clock.Now().Sub(last) > 20*time.Millisecond {
					gap, last = min(gap*2, 4*time.Millisecond), w.clock.Now()
				}
			}
		}
		w.finish()
		var sum time.Duration
		q := h.with(Queued)
		for _, x := range q {
			sum += x.Wait
		}
		return sum / time.Duration(len(q))
	}
	tail, codel := mean(DropTail), mean(CoDel)
	if codel > 100*time.Millisecond || codel*4 > tail {
		t.Errorf("mean wait: CoDel %v, DropTail %v", codel, tail)
	}
}

func TestCoDelMarksInsteadOfDropping(t *testing.T) {
	w := newWorld(t, 1, Shape{Rate: 10e6, Queue: QueueLimit{Packets: 10_000, Discipline: CoDel, ECN: true}})
	var h hops
	w.trace.Attach(&h)
	for n := range 2000 {
		p := w.frame(n, 1250)
		copy(p.Bytes()[12:], "\x08\x00\x45\x02")
		w.cable.AB().Send(p)
		w.clock.Run(w.clock.Now().Add(800 * time.Microsecond))
	}
	w.finish()
	c := w.cable.AB().Counters()
	marked := 0
	for _, x := range h.with(Queued) {
		if x.Reason == ReasonMarked {
			marked++
		}
	}
	if c.CoDelDropped != 0 || c.Marked < 10 || marked != int(c.Marked) || len(w.got) != 2000 {
		t.Errorf("%d arrived, %+v", len(w.got), c)
	}
}

func TestMarkCE(t *testing.T) {
	v4 := "020000000002020000000001" + "0800" + "45%s0054a6f2400040110000c0a80001c0a80002"
	for _, c := range []struct {
		name, tos, want string
		ok              bool
	}{
		{"not ECT", "00", "00", false},
		{"ECT(1)", "01", "03", true},
		{"ECT(0)", "b2", "b3", true},
		{"CE", "03", "03", true},
	} {
		b := unhex(t, v4, c.tos)
		sum := ^ip.Sum(0, b[14:34])
		b[24], b[25] = byte(sum>>8), byte(sum)
		if markCE(b) != c.ok || b[15] != unhex(t, "%s", c.want)[0] || ip.Sum(0, b[14:34]) != 0xffff {
			t.Errorf("IPv4 %s: TOS %02x, checksum right: %v", c.name, b[15], ip.Sum(0, b[14:34]) == 0xffff)
		}
	}
	v6 := "020000000002020000000001" + "8100000586dd" + "6%s00000008114000000000000000000000000000000001" + "000000000000000000000000000000020000000000000000"
	for _, c := range []struct {
		name, class, want string
		ok                bool
	}{
		{"not ECT", "b80", "b80", false},
		{"ECT(1)", "b90", "bb0", true},
		{"ECT(0), with flow label", "02f", "03f", true},
	} {
		b := unhex(t, v6, c.class)
		if markCE(b) != c.ok || hex.EncodeToString(b[18:20])[1:] != c.want {
			t.Errorf("IPv6 %s: %x", c.name, b[18:22])
		}
	}
	for _, b := range [][]byte{nil, unhex(t, "020000000002020000000001080645%s", "02"), unhex(t, "020000000002020000000001080045%s", "02")} {
		if markCE(b) {
			t.Errorf("marked %x", b)
		}
	}
}
