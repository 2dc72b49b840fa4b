package link

import (
	"errors"
	"math/rand/v2"
	"time"

	"peel/clock"
	"peel/stack/offload"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// Counters of a direction. Frames that were offered and not refused
// (TooLarge, NoCarrier) have Sent, or QueueFull, CoDelDropped or Cut, or
// are waiting; Sent and Duplicated ones become one of Delivered, Lost,
// FCSErrors, NoPort or Cut, or are on their way.
type Counters struct {
	Offered, OfferedBytes     uint64
	Sent, SentBytes           uint64
	Delivered, DeliveredBytes uint64
	// Refused before the queue.
	TooLarge, NoCarrier uint64
	// In the queue. Marked frames live on.
	QueueFull, CoDelDropped, Marked uint64
	// On the cable.
	Lost, Duplicated, Corrupted, Reordered uint64
	// At the far end.
	FCSErrors, NoPort uint64
	// Cut counts what was waiting or on its way when the cable was cut.
	Cut uint64
	// MostQueued is the longest that the queue was, in frames.
	MostQueued int
}

// Direction is one way through a cable. It is the Sender of the end where it
// begins.
type Direction struct {
	net            *Net
	cable          *Cable
	from, way, to  string
	port           Port
	rnd            *rand.Rand
	shape          Shape
	fast           bool // nothing but Delay happens, to frames up to fastLen
	fastLen        int
	flight         flight
	arrival        clock.Timer
	last           clock.Time // when the last frame that kept its turn arrives
	queue          queue
	sending        clock.Timer // set while frames wait: when the cable is free
	free           clock.Time  // when the next frame can be sent,
	fraction       int64       // and this many 1/Rate ns later
	loss           lossState
	counters       Counters
	codel          codel
	limitP, limitB int
}

func (d *Direction) init(n *Net, c *Cable, from, to End) {
	*d = Direction{net: n, cable: c, from: from.Name, way: from.Name + " → " + to.Name, to: to.Name, port: to.Port, rnd: from.Rand}
	d.arrival.Init(d.arrive)
	d.sending.Init(d.pump)
	d.adopt()
}

// Shape returns what SetShape set.
func (d *Direction) Shape() Shape { return d.shape }

// SetShape changes what happens to frames from now on. Frames on their way
// keep their fate and their time, and are not overtaken by later ones unless
// the shape lets frames overtake; frames in the queue are sent in the new
// shape. Counts and states (EveryNth, Burst, CoDel) start anew.
func (d *Direction) SetShape(s Shape) error {
	if err := d.check(&s); err != nil {
		return err
	}
	d.shape = s
	d.adopt()
	return nil
}

func (d *Direction) check(s *Shape) error {
	if s.chance() && d.rnd == nil {
		return errors.New("link: " + d.way + ": the shape needs chance, and there is no Rand")
	}
	return s.Check()
}

// adopt computes what the shape means.
func (d *Direction) adopt() {
	s := &d.shape
	d.fraction = 0
	d.loss = lossState{}
	d.codel = newCoDel(s)
	d.limitP, d.limitB = s.Queue.Packets, s.Queue.Bytes
	if d.limitP == 0 && d.limitB == 0 {
		d.limitP = 1000
	}
	d.choosePath()
}

func (d *Direction) choosePath() {
	d.fast = d.shape.plain() && !d.cable.down
	d.fastLen = 1 << 30
	if d.shape.MTU > 0 {
		d.fastLen = ethernet.HeaderLen + d.shape.MTU
	}
}

// Counters returns what has happened so far.
func (d *Direction) Counters() Counters { return d.counters }

// Queued is how many frames wait to be sent, and their bytes.
func (d *Direction) Queued() (frames, bytes int) { return d.queue.ring.n, d.queue.bytes }

// InFlight is how many frames are on their way.
func (d *Direction) InFlight() int { return d.flight.len() }

// Send puts a frame on the cable, or into the queue before it. A frame whose
// checksum or segmentation was left to the card passes as it is as long as
// nothing but Delay happens on the cable and nobody watches.
func (d *Direction) Send(p *packet.Packet) {
	now := d.net.Clock.Now()
	n := p.Len()
	c := &d.counters
	c.Offered++
	c.OfferedBytes += uint64(n)
	if d.fast && n <= d.fastLen && d.queue.ring.n == 0 && d.free <= now && len(d.flight.held) == 0 && !d.net.Trace.Watching() {
		c.Sent++
		c.SentBytes += uint64(n)
		at := max(now.Add(d.shape.Delay), d.last)
		d.last = at
		d.flight.ring.push(frame{p: p, at: at})
		if !d.arrival.Pending() {
			d.net.Clock.Set(&d.arrival, at)
		}
		return
	}
	if p.Segment > 0 || p.Checksum == packet.Partial {
		// What is to happen to frames, or to be seen of them, happens to
		// them as they are on the wire.
		c.Offered--
		c.OfferedBytes -= uint64(n)
		if p.Segment > 0 {
			offload.Split(d.net.Pool, p, d.Send)
		} else {
			offload.Finish(p)
			d.Send(p)
		}
		return
	}
	switch {
	case d.cable.down:
		c.NoCarrier++
		d.net.drop(p, d.from, ReasonDown, Hop{})
	case d.shape.MTU > 0 && payloadLen(p.Bytes()) > d.shape.MTU:
		c.TooLarge++
		d.net.drop(p, d.from, ReasonMTU, Hop{})
	case d.queue.ring.n == 0 && d.free <= now:
		d.codel.idle()
		d.transmit(p, now)
	case d.limitP > 0 && d.queue.ring.n >= d.limitP, d.limitB > 0 && d.queue.bytes+n > d.limitB:
		c.QueueFull++
		d.net.drop(p, d.from, ReasonQueueFull, Hop{})
	default:
		d.queue.push(waiting{p: p, since: now})
		c.MostQueued = max(c.MostQueued, d.queue.ring.n)
		if !d.sending.Pending() {
			d.net.Clock.Set(&d.sending, d.free)
		}
	}
}

// payloadLen is what the MTU bounds: IEEE 802.3 §3.2.7 lets tagged frames be
// longer by their tags.
func payloadLen(b []byte) int {
	h, err := ethernet.Parse(b)
	if err != nil {
		return len(b)
	}
	return len(b) - h.Len
}

// pump sends what waits as far as the cable is free. Each frame starts when
// the one before it ended, even if the driver of the clock comes late.
func (d *Direction) pump(now clock.Time) {
	for d.queue.ring.n > 0 && d.free <= now {
		start := max(d.free, d.queue.ring.head().since)
		w, mark := d.dequeue(start)
		if w.p == nil {
			break
		}
		if mark {
			d.counters.Marked++
		}
		if d.net.Trace.Watching() {
			h := Hop{Packet: w.p, Time: now, Where: d.from, Verdict: Queued, Wait: max(0, start.Sub(w.since))}
			if mark {
				h.Reason = ReasonMarked
			}
			d.net.Trace.Report(h)
		}
		// CoDel may have dropped those that came before w.
		d.transmit(w.p, max(start, w.since))
	}
	if d.queue.ring.n > 0 {
		d.net.Clock.Set(&d.sending, d.free)
	}
}

// transmit puts a frame on the free cable at start.
func (d *Direction) transmit(p *packet.Packet, start clock.Time) {
	d.counters.Sent++
	d.counters.SentBytes += uint64(p.Len())
	d.report(p, d.from, Sent, "", 0)
	end := start
	if rate := d.shape.Rate; rate > 0 {
		// The part of a nanosecond that the frame before took is carried over,
		// so that the rate is exact in the long run.
		if start > d.free {
			d.fraction = 0
		}
		f := &d.shape.Medium.Framing
		last, next := f.bits(p.Len())
		var rest int64
		end, _ = later(start, d.fraction, last, rate)
		d.free, rest = later(start, d.fraction, next, rate)
		end, d.free = end.Add(f.Access), d.free.Add(f.Access)
		d.fraction = rest
	}
	d.decide(p, end)
}

// later is t and fraction/rate ns, and the time of that many bits after it.
// bits are at most about a million, so that the product fits.
func later(t clock.Time, fraction, bits, rate int64) (clock.Time, int64) {
	ns := bits*int64(time.Second) + fraction
	return t + clock.Time(ns/rate), ns % rate
}

// arrive delivers what is due. It takes no more than was on its way when it
// began, so that a port that sends in its turn cannot keep it.
func (d *Direction) arrive(now clock.Time) {
	for n := d.flight.len(); n > 0; n-- {
		f, ok := d.flight.pop(now)
		if !ok {
			break
		}
		d.deliver(f)
	}
	if at := d.flight.next(); at != clock.Never {
		d.net.Clock.Set(&d.arrival, at)
	}
}

func (d *Direction) deliver(f frame) {
	switch {
	case f.check && ethernet.FCS(f.p.Bytes()) != f.fcs:
		d.counters.FCSErrors++
		d.net.drop(f.p, d.to, ReasonFCS, Hop{})
	case d.port == nil:
		d.counters.NoPort++
		d.net.drop(f.p, d.to, ReasonNoPort, Hop{})
	default:
		d.counters.Delivered++
		d.counters.DeliveredBytes += uint64(f.p.Len())
		d.report(f.p, d.to, Delivered, "", 0)
		d.port.Receive(f.p)
	}
}

// clear loses all that waits or is on its way.
func (d *Direction) clear() {
	for d.queue.ring.n > 0 {
		w := d.queue.pop()
		d.counters.Cut++
		d.net.drop(w.p, d.from, ReasonCut, Hop{Wait: d.net.Clock.Now().Sub(w.since)})
	}
	for {
		f, ok := d.flight.pop(clock.Never)
		if !ok {
			break
		}
		d.counters.Cut++
		d.net.drop(f.p, d.way, ReasonCut, Hop{})
	}
	d.net.Clock.Stop(&d.arrival)
	d.net.Clock.Stop(&d.sending)
	d.last, d.free, d.fraction = 0, 0, 0
	d.codel = newCoDel(&d.shape)
}
