package link

import (
	"slices"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// lossState is where the ways of losing frames have come to.
type lossState struct {
	count int
	bad   bool
}

// decide draws the fate of a frame whose last bit leaves at end, and lets it
// go. Each kind of fault draws for each frame, whatever the others drew, so that
// the losses of one kind do not shift those of another.
func (d *Direction) decide(p *packet.Packet, end clock.Time) {
	s := &d.shape
	if s.plain() {
		d.launch(frame{p: p, at: d.inTurn(end.Add(s.Delay))})
		return
	}
	reason := d.lost(p.Bytes())
	twice := d.chance(s.Duplicate)
	corrupt := d.chance(s.Corrupt.Probability)
	held := d.chance(s.Reorder.Probability)
	at := end.Add(d.delay())
	if reason != "" {
		d.counters.Lost++
		d.net.drop(p, d.way, reason, Hop{})
		return
	}
	var twin *packet.Packet
	if twice {
		d.counters.Duplicated++
		d.report(p, d.way, Duplicated, "", 0)
		twin = d.net.Pool.Clone(p)
	}
	f := frame{p: p}
	if corrupt && p.Len() > 0 {
		d.corrupt(&f)
	}
	switch {
	case held && s.Reorder.Gap > 0:
		longest := s.Reorder.Delay
		if longest == 0 {
			longest = time.Second
		}
		d.counters.Reordered++
		d.report(p, d.way, Reordered, ReasonHeld, longest)
		f.at, f.gap = at.Add(longest), int32(s.Reorder.Gap)
		d.flight.held = append(d.flight.held, f)
		d.arm(f.at)
	case held:
		d.counters.Reordered++
		d.report(p, d.way, Reordered, ReasonHeld, s.Reorder.Delay)
		f.at = at.Add(s.Reorder.Delay)
		d.launchLate(f)
	case s.Jitter.Overtake && at < d.last:
		f.at = at
		d.launchLate(f)
	default:
		f.at = d.inTurn(at)
		d.launch(f)
	}
	if twin != nil {
		d.launch(frame{p: twin, at: d.inTurn(at)})
	}
}

// inTurn is the first time from at on when a frame does not overtake another.
func (d *Direction) inTurn(at clock.Time) clock.Time {
	d.last = max(at, d.last)
	return d.last
}

// launch sends off a frame in its turn, and behind it those that were held
// back for it.
func (d *Direction) launch(f frame) {
	d.flight.ring.push(f)
	d.arm(f.at)
	if len(d.flight.held) > 0 {
		d.flight.passed(func(h frame) {
			h.at = f.at
			d.flight.ring.push(h)
		})
	}
}

func (d *Direction) launchLate(f frame) {
	d.flight.pushLate(f)
	d.arm(f.at)
}

// arm makes the timer of arrivals fire by at.
func (d *Direction) arm(at clock.Time) {
	if !d.arrival.Pending() || at < d.net.Clock.At(&d.arrival) {
		d.net.Clock.Set(&d.arrival, at)
	}
}

func (d *Direction) chance(p float64) bool { return p > 0 && d.rnd.Float64() < p }

// lost gives the reason why a frame is lost, or "".
func (d *Direction) lost(b []byte) string {
	l := &d.shape.Loss
	reason := ""
	if d.chance(l.Probability) {
		reason = ReasonLoss
	}
	if g := &l.Burst; *g != (GilbertElliott{}) {
		step, loss := g.P, g.Good
		if d.loss.bad {
			step = g.R
		}
		if d.chance(step) {
			d.loss.bad = !d.loss.bad
		}
		if d.loss.bad {
			if loss = g.Bad; loss == 0 {
				loss = 1
			}
		}
		if d.chance(loss) {
			reason = ReasonBurst
		}
	}
	if l.EveryNth > 0 {
		if d.loss.count++; d.loss.count == l.EveryNth {
			d.loss.count = 0
			reason = ReasonNth
		}
	}
	if l.Predicate != nil && l.Predicate(b) {
		reason = ReasonRule
	}
	return reason
}

// delay draws how long the way takes.
func (d *Direction) delay() time.Duration {
	s := &d.shape
	if s.Jitter.Spread == 0 {
		return s.Delay
	}
	x := 0.0
	if s.Jitter.Distribution == Normal {
		x = d.rnd.NormFloat64()
	} else {
		x = 2*d.rnd.Float64() - 1
	}
	return max(0, s.Delay+time.Duration(x*float64(s.Jitter.Spread)))
}

// corrupt flips bits of a frame. The FCS is that of the bytes before, as it
// was computed by the sender, unless something on the way computes it anew.
func (d *Direction) corrupt(f *frame) {
	c := &d.shape.Corrupt
	b := f.p.Bytes()
	if !c.PastFCS {
		f.check, f.fcs = true, ethernet.FCS(b)
	}
	var flipped [64]int
	for n := range min(max(1, c.Bits), 8*len(b)) {
		bit := d.rnd.IntN(8 * len(b))
		for slices.Contains(flipped[:n], bit) {
			bit = d.rnd.IntN(8 * len(b))
		}
		flipped[n] = bit
		b[bit/8] ^= 1 << (bit % 8)
	}
	// Whoever receives it has to look at the checksums himself.
	f.p.Checksum = packet.Unknown
	d.counters.Corrupted++
	reason := ReasonFlipped
	if c.PastFCS {
		reason = ReasonPastFCS
	}
	d.report(f.p, d.way, Corrupted, reason, 0)
}

func (d *Direction) report(p *packet.Packet, where string, v Verdict, reason string, wait time.Duration) {
	if d.net.Trace.Watching() {
		d.net.Trace.Report(Hop{Packet: p, Time: d.net.Clock.Now(), Where: where, Verdict: v, Reason: reason, Wait: wait})
	}
}
