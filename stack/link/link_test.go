package link

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
)

// world is a network with one cable from a to b, and what arrived at b.
type world struct {
	t     *testing.T
	clock clock.Queue
	pool  packet.Pool
	trace Trace
	net   *Net
	cable *Cable
	got   []arrival
}

type arrival struct {
	n   int // the frame's number
	at  time.Duration
	sum packet.Checksum
}

type portFunc func(*packet.Packet)

func (f portFunc) Receive(p *packet.Packet) { f(p) }

func newWorld(t *testing.T, seed uint64, s Shape) *world {
	t.Helper()
	w := &world{t: t}
	w.net = &Net{Clock: &w.clock, Pool: &w.pool, Trace: &w.trace}
	w.cable = NewCable(w.net, End{Name: "a", Rand: rand.New(rand.NewPCG(seed, 1))}, End{Name: "b", Rand: rand.New(rand.NewPCG(seed, 2))})
	w.cable.Plug(nil, portFunc(func(p *packet.Packet) {
		w.got = append(w.got, arrival{int(binary.BigEndian.Uint32(p.Bytes()[14:])), time.Duration(w.clock.Now()), p.Checksum})
		w.pool.Put(p)
	}))
	if err := w.cable.AB().SetShape(s); err != nil {
		t.Fatal(err)
	}
	return w
}

// frame makes a frame of size bytes whose payload starts with its number.
func (w *world) frame(n, size int) *packet.Packet {
	p := w.pool.Get(size)
	b := p.Extend(size)
	clear(b)
	copy(b, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x88\xb5")
	binary.BigEndian.PutUint32(b[14:], uint32(n))
	p.Checksum = packet.Good
	return p
}

// send sends frames numbered from to to, every so often, and lets time pass
// until the last was sent.
func (w *world) send(from, to, size int, every time.Duration) {
	for n := from; n <= to; n++ {
		w.cable.AB().Send(w.frame(n, size))
		if every > 0 {
			w.clock.Run(w.clock.Now().Add(every))
		}
	}
}

// finish runs until nothing is left and checks that nothing leaked and that the
// counters add up.
func (w *world) finish() {
	w.t.Helper()
	w.clock.Run(clock.Never)
	if w.pool.Out != 0 {
		w.t.Errorf("%d packets leaked", w.pool.Out)
	}
	c := w.cable.AB().Counters()
	if c.Offered != c.TooLarge+c.NoCarrier+c.QueueFull+c.CoDelDropped+c.Sent && c.Cut == 0 {
		w.t.Errorf("offered frames do not add up: %+v", c)
	}
	if c.Sent+c.Duplicated != c.Delivered+c.Lost+c.FCSErrors+c.NoPort && c.Cut == 0 {
		w.t.Errorf("sent frames do not add up: %+v", c)
	}
	if c.Offered+c.Duplicated != c.TooLarge+c.NoCarrier+c.QueueFull+c.CoDelDropped+c.Delivered+c.Lost+c.FCSErrors+c.NoPort+c.Cut {
		w.t.Errorf("frames do not add up: %+v", c)
	}
}

func (w *world) numbers() []int {
	var out []int
	for _, a := range w.got {
		out = append(out, a.n)
	}
	return out
}

// hops is an Observer that keeps verdicts.
type hops []Hop

func (h *hops) Observe(x Hop) { *h = append(*h, x) }

func (h hops) with(v Verdict) []Hop {
	var out []Hop
	for _, x := range h {
		if x.Verdict == v {
			out = append(out, x)
		}
	}
	return out
}
