package link

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
)

// witness keeps what a Recorder should be able to give.
type witness struct {
	hops   []Hop
	frames [][]byte
	ids    []uint64
}

func (w *witness) Observe(h Hop) {
	w.hops = append(w.hops, h)
	w.frames = append(w.frames, bytes.Clone(h.Packet.Bytes()))
	w.ids = append(w.ids, h.Packet.ID)
}

// Everything that changes a frame, seen by a recorder and by a witness.
func TestRecorderGivesBackWhatWasSeen(t *testing.T) {
	l := newLab(t, 4, SwitchOptions{})
	rec, wit := NewRecorder(100<<20), &witness{}
	l.trace.Attach(rec)
	l.trace.Attach(wit)
	faults := Shape{Duplicate: 0.2, Corrupt: Corrupt{Probability: 0.3, Bits: 2, PastFCS: true}, Delay: time.Millisecond, Jitter: Jitter{Spread: time.Millisecond, Overtake: true},
		Reorder: Reorder{Probability: 0.1, Delay: 3 * time.Millisecond}}
	w := newWorld(t, 9, Shape{})
	w.net.Trace, w.net.Clock, w.net.Pool = &l.trace, &l.clock, &l.pool
	if err := w.cable.AB().SetShape(faults); err != nil {
		t.Fatal(err)
	}
	// Behind the faults stands a router that rewrites the header (and, for
	// some, cuts the packet or makes it longer) and sends to the switch.
	w.cable.Plug(nil, portFunc(func(p *packet.Packet) {
		b := p.Bytes()
		copy(b, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01")
		b[22]--
		switch b[17] % 5 {
		case 1:
			p.Truncate(p.Len() - 3)
		case 2:
			p.Append([]byte("longer"))
		case 3:
			copy(b[26:], "\x0a\x01\x02\x03")
			l.trace.Report(Hop{Packet: p, Time: l.clock.Now(), Where: "router", Verdict: Translated, Reason: "NAT"})
		}
		l.cables[0].AB().Send(p)
	}))
	for n := range 500 {
		p := l.frame(n, 60+n*2)
		for i := range p.Bytes()[18:] {
			p.Bytes()[18+i] = byte(i * n)
		}
		w.cable.AB().Send(p)
		l.clock.Run(l.clock.Now().Add(100 * time.Microsecond))
	}
	l.clock.Run(clock.Never)
	if l.pool.Out != 0 {
		t.Errorf("%d packets leaked", l.pool.Out)
	}
	if rec.Len() != len(wit.hops) || rec.Len() < 3000 {
		t.Fatalf("%d hops recorded, %d seen", rec.Len(), len(wit.hops))
	}
	seen := map[string][][]byte{}
	total := 0
	for i, want := range wit.hops {
		s := rec.At(i)
		if s.ID != wit.ids[i] || s.ID == 0 || s.Time != want.Time || s.Where != want.Where || s.Verdict != want.Verdict || s.Reason != want.Reason || s.Wait != want.Wait {
			t.Fatalf("hop %d: %+v, want %+v", i, s, want)
		}
		if got := rec.Frame(nil, i); !bytes.Equal(got, wit.frames[i]) {
			t.Fatalf("hop %d (%s %s):\n got %x\nwant %x", i, s.Where, s.Verdict, got, wit.frames[i])
		}
		if want.Verdict == Sent || want.Verdict == Delivered {
			seen[want.Where] = append(seen[want.Where], wit.frames[i])
		}
		total += len(wit.frames[i])
	}
	if rec.Used() > total/2 {
		t.Errorf("%d bytes for %d of frames: were they stored more than once?", rec.Used(), total)
	}
	for _, where := range rec.Places() {
		var got [][]byte
		rec.Saw(where, func(_ clock.Time, f []byte) bool {
			got = append(got, bytes.Clone(f))
			return true
		})
		if !slices.EqualFunc(got, seen[where], bytes.Equal) {
			t.Errorf("%s saw %d frames, want %d", where, len(got), len(seen[where]))
		}
	}
}

// A packet that crosses ten links unchanged is stored once; one whose MAC and
// TTL change at each costs 128 bytes a change.
func TestRecorderStoresBytesOnce(t *testing.T) {
	var pool packet.Pool
	p := pool.Get(1514)
	p.Extend(1514)
	p.ID = 1
	r := NewRecorder(1 << 20)
	for range 10 {
		r.Observe(Hop{Packet: p, Where: "x", Verdict: Sent})
	}
	const hops = 10 * hopCost
	if want := 1514 + storeCost + packetCost + hops + 1; r.Used() != want {
		t.Errorf("unchanged: %d bytes, want %d", r.Used(), want)
	}
	before := r.Used()
	for i := range 10 {
		p.Bytes()[22] = byte(i + 1)
		r.Observe(Hop{Packet: p, Where: "x", Verdict: Sent})
	}
	if want := 10*(headLen+storeCost) + hops; r.Used()-before != want {
		t.Errorf("changed: %d bytes, want %d", r.Used()-before, want)
	}
}

func TestRecorderStopsAtItsLimit(t *testing.T) {
	w := newWorld(t, 1, Shape{})
	r := NewRecorder(10_000)
	w.trace.Attach(r)
	w.send(1, 20, 1000, time.Millisecond)
	w.finish()
	at, missed, stopped := r.Stopped()
	if !stopped || r.Used() > 10_000 || missed != 40-r.Len() || r.Len() != 15 || at != clock.Time(7*time.Millisecond) {
		t.Errorf("stopped %v at %v after %d hops and %d bytes, %d missed", stopped, at, r.Len(), r.Used(), missed)
	}
	if _, _, stopped := NewRecorder(1).Stopped(); stopped {
		t.Error("stopped before it began")
	}
}

func TestObserversComeAndGo(t *testing.T) {
	w := newWorld(t, 1, Shape{})
	var all, b hops
	w.trace.Attach(&all)
	w.trace.Attach(&b, "b")
	w.send(1, 1, 60, time.Millisecond)
	w.trace.Detach(&all)
	w.send(2, 2, 60, time.Millisecond)
	w.trace.Detach(&b)
	w.send(3, 3, 60, time.Millisecond)
	w.finish()
	if len(all) != 2 || len(b) != 2 || w.trace.Watching() {
		t.Errorf("%d everywhere, %d at b", len(all), len(b))
	}
}
