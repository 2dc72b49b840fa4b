package link

import (
	"math"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/ip"
)

// queue is the frames that wait before a cable.
type queue struct {
	ring  ring[waiting]
	bytes int
}

type waiting struct {
	p     *packet.Packet
	since clock.Time
}

func (q *queue) push(w waiting) {
	q.ring.push(w)
	q.bytes += w.p.Len()
}

func (q *queue) pop() waiting {
	w := q.ring.pop()
	q.bytes -= w.p.Len()
	return w
}

// codel is the state of RFC 8289 §5, with its names.
type codel struct {
	on, ecn          bool
	target, interval time.Duration
	// maxPacket is the largest frame seen: with no more than that in the queue
	// there is no standing queue.
	maxPacket        int
	firstAbove       clock.Time
	dropNext         clock.Time
	count, lastCount int
	dropping         bool
}

func newCoDel(s *Shape) codel {
	c := codel{on: s.Queue.Discipline == CoDel, ecn: s.Queue.ECN, target: s.Queue.Target, interval: s.Queue.Interval}
	if c.target == 0 {
		c.target = 5 * time.Millisecond
	}
	if c.interval == 0 {
		c.interval = 100 * time.Millisecond
	}
	return c
}

// law is the time of the drop after one at t (RFC 8289 §5).
func (c *codel) law(t clock.Time) clock.Time {
	return t.Add(time.Duration(float64(c.interval) / math.Sqrt(float64(c.count))))
}

// idle notes that a frame found the queue empty.
func (c *codel) idle() { c.firstAbove, c.dropping = 0, false }

// take is dodequeue of RFC 8289 §5: the next frame, and whether the queue
// has stood above the target for an interval.
func (d *Direction) take(now clock.Time) (w waiting, okToDrop bool) {
	c := &d.codel
	if d.queue.ring.n == 0 {
		c.firstAbove = 0
		return waiting{}, false
	}
	w = d.queue.pop()
	c.maxPacket = max(c.maxPacket, w.p.Len())
	switch {
	case now.Sub(w.since) < c.target || d.queue.bytes <= c.maxPacket:
		c.firstAbove = 0
	case c.firstAbove == 0:
		c.firstAbove = now.Add(c.interval)
	case now >= c.firstAbove:
		okToDrop = true
	}
	return w, okToDrop
}

// dequeue gives the frame to send at now, which may be none, and whether it
// was marked (RFC 8289 §5).
func (d *Direction) dequeue(now clock.Time) (w waiting, marked bool) {
	c := &d.codel
	if !c.on {
		return d.queue.pop(), false
	}
	w, ok := d.take(now)
	if c.dropping {
		if !ok {
			c.dropping = false
		}
		for c.dropping && now >= c.dropNext {
			c.count++
			if d.mark(w) {
				c.dropNext = c.law(c.dropNext)
				return w, true
			}
			d.dropLate(w, now)
			if w, ok = d.take(now); !ok {
				c.dropping = false
			} else {
				c.dropNext = c.law(c.dropNext)
			}
		}
		return w, false
	}
	if !ok {
		return w, false
	}
	if marked = d.mark(w); !marked {
		d.dropLate(w, now)
		w, _ = d.take(now)
	}
	c.dropping = true
	// RFC 8289 §5: if the last dropping state ended not long ago, go on with
	// the rate that controlled the queue then.
	delta := c.count - c.lastCount
	c.count = 1
	if delta > 1 && now.Sub(c.dropNext) < 16*c.interval {
		c.count = delta
	}
	c.dropNext = c.law(now)
	c.lastCount = c.count
	return w, marked
}

func (d *Direction) dropLate(w waiting, now clock.Time) {
	d.counters.CoDelDropped++
	d.net.drop(w.p, d.from, ReasonCoDel, Hop{Wait: now.Sub(w.since)})
}

func (d *Direction) mark(w waiting) bool {
	return d.codel.ecn && markCE(w.p.Bytes())
}

// markCE sets the congestion experienced codepoint in a frame's IP header, if
// its transport is capable of ECN (RFC 3168 §5), and tells whether it is there.
func markCE(b []byte) bool {
	h, err := ethernet.Parse(b)
	if err != nil {
		return false
	}
	v := ip.View(b[h.Len:])
	if h.Type != ethernet.TypeIPv4 && h.Type != ethernet.TypeIPv6 || !v.Whole() || v.V6() != (h.Type == ethernet.TypeIPv6) || v.ECN() == ip.NotECT {
		return false
	}
	v.SetECN(ip.CE)
	return true
}
