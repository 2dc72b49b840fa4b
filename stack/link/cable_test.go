package link

import (
	"slices"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
)

func TestZeroShapeDeliversAtOnceAndInOrder(t *testing.T) {
	w := newWorld(t, 1, Shape{})
	w.send(1, 100, 60, 0)
	if len(w.got) != 0 {
		t.Fatal("delivered within Send")
	}
	w.finish()
	for i, a := range w.got {
		if a.n != i+1 || a.at != 0 {
			t.Fatalf("arrival %d: frame %d at %v", i, a.n, a.at)
		}
	}
	if len(w.got) != 100 {
		t.Fatalf("%d of 100", len(w.got))
	}
}

// 1 bit at 1 Mbit/s is 1000 ns.
func TestRateDeliversAtTheNanosecond(t *testing.T) {
	ethernet := Medium{Framing: EthernetFraming()}
	for _, c := range []struct {
		name        string
		shape       Shape
		size        int
		first, next time.Duration // arrival of the first, and between arrivals
	}{
		{"bytes alone", Shape{Rate: 1e6}, 125, 1000 * time.Microsecond, 1000 * time.Microsecond},
		{"with delay", Shape{Rate: 1e6, Delay: 7 * time.Millisecond}, 125, 8 * time.Millisecond, time.Millisecond},
		// 8 + 125 + 4 bytes, then 12 of gap.
		{"Ethernet", Shape{Rate: 1e6, Medium: ethernet}, 125, 1096 * time.Microsecond, 1192 * time.Microsecond},
		// 8 + 64, then 12: the well-known 84 bytes, 148,810 frames a second at 100 Mbit/s.
		{"Ethernet's minimum", Shape{Rate: 100e6, Medium: ethernet}, 18, 5760, 6720},
		{"10 Gbit/s", Shape{Rate: 10e9, Medium: ethernet}, 1514, 1220, 1231}, // 1220.8, then 1230.4 more,
		{"radio", Shape{Rate: 65e6, Medium: Radio()}, 60, 181500 + 10338, 181500 + 10338},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1, c.shape)
			w.send(1, 3, c.size, 0)
			w.finish()
			if len(w.got) != 3 || w.got[0].at != c.first || w.got[1].at-w.got[0].at != c.next {
				t.Errorf("arrivals %v; want the first at %v, the next %v later", w.got, c.first, c.next)
			}
		})
	}
}

// 1230.4 ns for each frame of 1514 bytes at 10 Gbit/s: nothing is rounded away.
func TestRateIsExactInTheLongRun(t *testing.T) {
	w := newWorld(t, 1, Shape{Rate: 10e9, Medium: Base10GR(), Queue: QueueLimit{Packets: 2000}})
	w.send(1, 1001, 1514, 0)
	w.finish()
	if d := w.got[1000].at - w.got[0].at; d != 1230400 {
		t.Errorf("1000 frames took %v, want 1.2304 ms", d)
	}
}

// A driver in real time comes late; the rate must not suffer.
func TestLateDriverDoesNotSlowTheCable(t *testing.T) {
	w := newWorld(t, 1, Shape{Rate: 1e6})
	w.send(1, 10, 125, 0) // 1 ms each
	w.clock.Advance(clock.Time(7500 * time.Microsecond))
	w.clock.Run(w.clock.Now())
	if len(w.got) != 7 || w.cable.AB().InFlight() != 1 {
		t.Fatalf("after 7.5 ms %d arrived, %d on the way", len(w.got), w.cable.AB().InFlight())
	}
	w.finish()
	if w.got[9].at != 10*time.Millisecond {
		t.Errorf("the last arrived at %v", w.got[9].at)
	}
}

func TestQueueLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		queue QueueLimit
		want  int
	}{
		{"packets", QueueLimit{Packets: 5}, 6}, // and the one that is being sent
		{"bytes", QueueLimit{Bytes: 350}, 4},
		{"both", QueueLimit{Packets: 2, Bytes: 350}, 3},
		{"default", QueueLimit{}, 1001},
	} {
		w := newWorld(t, 1, Shape{Rate: 1e6, Queue: c.queue})
		var h hops
		w.trace.Attach(&h)
		w.send(1, 1100, 100, 0)
		w.finish()
		if len(w.got) != c.want || w.got[len(w.got)-1].n != c.want {
			t.Errorf("%s: %d arrived, want the first %d", c.name, len(w.got), c.want)
		}
		drops := h.with(Dropped)
		if len(drops) != 1100-c.want || drops[0].Reason != ReasonQueueFull || drops[0].Where != "a" {
			t.Errorf("%s: %d drops", c.name, len(drops))
		}
		// The last waited for all before it.
		q := h.with(Queued)
		if got, want := q[len(q)-1].Wait, time.Duration(c.want-1)*800*time.Microsecond; got != want {
			t.Errorf("%s: the last waited %v, want %v", c.name, got, want)
		}
	}
}

func TestMTU(t *testing.T) {
	w := newWorld(t, 1, Shape{MTU: 1500})
	w.send(1, 1, 1514, 0)
	w.send(2, 2, 1515, 0)
	tagged := w.frame(3, 1518)
	copy(tagged.Bytes()[12:], "\x81\x00\x00\x05\x08\x00")
	w.cable.AB().Send(tagged)
	w.finish()
	if c := w.cable.AB().Counters(); c.Delivered != 2 || c.TooLarge != 1 {
		t.Errorf("%+v", c)
	}
}

func TestCutCable(t *testing.T) {
	w := newWorld(t, 1, Shape{Rate: 1e6, Delay: 10 * time.Millisecond})
	w.send(1, 20, 125, 0)
	w.clock.Run(clock.Time(14500 * time.Microsecond)) // four arrived, 11 on the way, 5 wait
	w.cable.SetUp(false)
	w.send(21, 25, 125, 0)
	w.clock.Run(clock.Time(20 * time.Millisecond))
	w.cable.SetUp(true)
	w.send(26, 26, 125, 0)
	w.finish()
	if got := w.numbers(); !slices.Equal(got, []int{1, 2, 3, 4, 26}) {
		t.Errorf("arrived: %v", got)
	}
	if w.got[4].at != 31*time.Millisecond {
		t.Errorf("the first after the cut at %v", w.got[4].at)
	}
	if c := w.cable.AB().Counters(); c.Cut != 16 || c.NoCarrier != 5 {
		t.Errorf("%+v", c)
	}
}

func TestUnpluggedEnd(t *testing.T) {
	w := newWorld(t, 1, Shape{})
	w.cable.BA().Send(w.frame(1, 60))
	w.finish()
	if c := w.cable.BA().Counters(); c.NoPort != 1 {
		t.Errorf("%+v", c)
	}
}

func TestFramesOnTheirWayKeepTheirFate(t *testing.T) {
	w := newWorld(t, 1, Shape{Delay: 100 * time.Millisecond})
	w.send(1, 1, 60, time.Millisecond)
	if err := w.cable.AB().SetShape(Shape{Loss: Loss{Probability: 1}}); err != nil {
		t.Fatal(err)
	}
	w.send(2, 2, 60, time.Millisecond)
	if err := w.cable.AB().SetShape(Shape{Delay: 10 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	w.send(3, 3, 60, 200*time.Millisecond) // does not overtake
	w.send(4, 4, 60, 0)
	w.finish()
	want := []arrival{{1, 100 * time.Millisecond, packet.Good}, {3, 100 * time.Millisecond, packet.Good}, {4, 212 * time.Millisecond, packet.Good}}
	if !slices.Equal(w.got, want) {
		t.Errorf("got %v, want %v", w.got, want)
	}
}

func TestRateTakenAwayEmptiesTheQueue(t *testing.T) {
	w := newWorld(t, 1, Shape{Rate: 1e6})
	w.send(1, 10, 125, 0)
	w.clock.Run(clock.Time(1500 * time.Microsecond))
	if err := w.cable.AB().SetShape(Shape{}); err != nil {
		t.Fatal(err)
	}
	w.send(11, 11, 125, 0)
	w.finish()
	if len(w.got) != 11 || w.got[1].at != 2*time.Millisecond || w.got[10].at != 2*time.Millisecond || !slices.IsSorted(w.numbers()) {
		t.Errorf("%v", w.got)
	}
}

func TestSetShapeSaysWhatIsWrong(t *testing.T) {
	for want, s := range map[string]Shape{
		"loss 1.5 is not within 0 to 1": {Loss: Loss{Probability: 1.5}},
		"rate -1 is not":                {Rate: -1},
		"delay -1 is not":               {Delay: -1},
		"corrupted bits 65 is not":      {Corrupt: Corrupt{Bits: 65}},
		"no queueing discipline 7":      {Queue: QueueLimit{Discipline: 7}},
	} {
		w := newWorld(t, 1, Shape{Delay: 5})
		err := w.cable.SetShape(s)
		if err == nil || !strings.Contains(err.Error(), want) || w.cable.AB().Shape().Delay != 5 {
			t.Errorf("%q: %v", want, err)
		}
	}
	c := NewCable(&Net{Clock: &clock.Queue{}, Pool: &packet.Pool{}}, End{Name: "x"}, End{Name: "y"})
	if err := c.SetShape(Shape{Duplicate: 0.5}); err == nil || !strings.Contains(err.Error(), "there is no Rand") {
		t.Errorf("chance without Rand: %v", err)
	}
}

// A port that sends on as soon as it receives, over a cable without delay,
// must not keep time from going on.
func TestPingPongWithoutDelayLetsOthersIn(t *testing.T) {
	w := newWorld(t, 1, Shape{})
	n := 0
	echo := func(back *Direction) Port {
		return portFunc(func(p *packet.Packet) {
			if n++; n > 1000 {
				w.pool.Put(p)
				return
			}
			back.Send(p)
		})
	}
	w.cable.Plug(echo(w.cable.AB()), echo(w.cable.BA()))
	between := 0
	w.cable.AB().Send(w.frame(1, 60))
	w.clock.Set(clock.NewTimer(func(clock.Time) { between = n }), 0)
	w.drain()
	if n != 1001 || between > 2 {
		t.Errorf("%d times, %d before the other timer", n, between)
	}
}

// drain runs until nothing is left, for worlds whose ports send on themselves.
func (w *world) drain() {
	w.t.Helper()
	w.clock.Run(clock.Never)
	if w.pool.Out != 0 {
		w.t.Errorf("%d packets leaked", w.pool.Out)
	}
}
