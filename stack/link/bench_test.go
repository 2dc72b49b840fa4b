package link

import (
	"math/rand/v2"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// crossing measures one frame of 1514 bytes over a cable, with so many on their
// way at a time.
func crossing(b *testing.B, s Shape, window int, o Observer) {
	var q clock.Queue
	var pool packet.Pool
	n := &Net{Clock: &q, Pool: &pool, Trace: &Trace{}}
	if o != nil {
		n.Trace.Attach(o)
	}
	c := NewCable(n, End{Name: "a", Rand: rand.New(rand.NewPCG(1, 1))}, End{Name: "b", Rand: rand.New(rand.NewPCG(1, 2))})
	if err := c.SetShape(s); err != nil {
		b.Fatal(err)
	}
	// b sends each back as a new one, so that the window stays full.
	left := 0
	c.Plug(nil, portFunc(func(p *packet.Packet) {
		if left--; left > 0 {
			p.ID = 0
			c.AB().Send(p)
		} else {
			pool.Put(p)
		}
	}))
	b.ReportAllocs()
	left = b.N
	b.ResetTimer()
	for range window {
		p := pool.Get(1514)
		p.Extend(1514)
		c.AB().Send(p)
		if s.Delay > 0 {
			q.Run(q.Now() + clock.Time(s.Delay)/clock.Time(window))
		}
	}
	q.Run(clock.Never)
}

func BenchmarkCrossing(b *testing.B) {
	b.Run("one frame", func(b *testing.B) { crossing(b, Shape{Delay: time.Millisecond}, 1, nil) })
	b.Run("1000 on their way", func(b *testing.B) { crossing(b, Shape{Delay: time.Millisecond}, 1000, nil) })
	b.Run("without delay", func(b *testing.B) { crossing(b, Shape{}, 32, nil) })
	b.Run("1 Gbit per s, queued", func(b *testing.B) { crossing(b, Shape{Rate: 1e9, Medium: Base1000X()}, 32, nil) })
	b.Run("CoDel", func(b *testing.B) {
		crossing(b, Shape{Rate: 1e9, Medium: Base1000X(), Queue: QueueLimit{Discipline: CoDel}}, 32, nil)
	})
	b.Run("faults", func(b *testing.B) {
		crossing(b, Shape{Delay: time.Millisecond, Jitter: Jitter{Spread: time.Microsecond}, Loss: Loss{Probability: 1e-12}, Duplicate: 1e-12, Corrupt: Corrupt{Probability: 1e-12}}, 32, nil)
	})
	b.Run("observed", func(b *testing.B) { crossing(b, Shape{Delay: time.Millisecond}, 32, &counter{}) })
}

type counter struct{ n int }

func (c *counter) Observe(Hop) { c.n++ }

// A frame from host to host through a switch: two cables.
func BenchmarkSwitch(b *testing.B) {
	var q clock.Queue
	var pool packet.Pool
	n := &Net{Clock: &q, Pool: &pool}
	sw := NewSwitch(n, SwitchOptions{})
	left := 0
	var cables [2]*Cable
	for i := range cables {
		c := NewCable(n, End{Name: "h"}, End{Name: "s"})
		c.Plug(portFunc(func(p *packet.Packet) {
			if left--; left < 0 {
				pool.Put(p)
				return
			}
			f := p.Bytes()
			var dst ethernet.MAC
			copy(dst[:], f)
			copy(f, f[6:12])
			copy(f[6:], dst[:])
			c.AB().Send(p)
		}), sw.AddPort("s", c.BA()))
		cables[i] = c
	}
	b.ReportAllocs()
	left = b.N
	for range 32 {
		p := pool.Get(1514)
		f := p.Extend(1514)
		copy(f, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00")
		cables[0].AB().Send(p)
	}
	q.Run(clock.Never)
}

func BenchmarkRecorder(b *testing.B) {
	var pool packet.Pool
	p := pool.Get(1514)
	p.Extend(1514)
	r := NewRecorder(1 << 30)
	b.ReportAllocs()
	for i := range b.N {
		p.ID = uint64(i/4 + 1) // each is seen at four hops
		if i&0xffff == 0 {
			r = NewRecorder(1 << 30)
		}
		r.Observe(Hop{Packet: p, Where: "somewhere", Verdict: Sent})
	}
}
