package tcp

import (
	"time"

	"peel/clock"
)

// BBR is the congestion control of draft-cardwell-iccrg-bbr-congestion-control
// in its first version: it sends at the rate at which the path was seen to
// deliver, and keeps as much under way as that rate and the least round trip
// need. Loss alone does not slow it down.
type BBR struct {
	mode   bbrMode
	pacing float64 // gains
	cwnd   float64

	rates     [bbrRateRounds]float64 // the most of each of the last rounds, bytes a second
	round     uint64
	full      float64 // the rate when the pipe last grew
	fullCount int

	minRTT   time.Duration
	minRTTAt clock.Time

	cycle   int
	cycleAt clock.Time

	probeEnd clock.Time
	prior    int // window before the round trip was probed
	mss      int
}

// NewBBR returns it, for Config.Congestion.
func NewBBR() Congestion {
	return &BBR{pacing: bbrHigh, cwnd: bbrHigh}
}

type bbrMode uint8

const (
	bbrStartup bbrMode = iota
	bbrDrain
	bbrProbeBW
	bbrProbeRTT
)

const (
	bbrHigh       = 2.885 // 2/ln 2: doubles the rate each round
	bbrRateRounds = 10
	bbrMinRTTFor  = 10 * time.Second
	bbrProbeFor   = 200 * time.Millisecond
)

var bbrCycle = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

// Name is "bbr".
func (*BBR) Name() string { return "bbr" }

func (b *BBR) rate() (most float64) {
	for _, r := range b.rates {
		most = max(most, r)
	}
	return most
}

// PacingRate is the gain times the path's rate, in bytes a second.
func (b *BBR) PacingRate() float64 { return b.pacing * b.rate() * 0.99 }

// inFlightFor is the window for a gain, in bytes.
func (b *BBR) inFlightFor(gain float64) int {
	if b.minRTT == 0 || b.rate() == 0 {
		return 10 * b.mss
	}
	return int(gain*b.rate()*b.minRTT.Seconds()) + 3*b.mss
}

// Acked updates the model and sets window and gains.
func (b *BBR) Acked(w *Window, a Acked) {
	b.mss = w.MSS
	newRound := a.Round != b.round
	if newRound {
		for b.round < a.Round {
			b.round++
			b.rates[b.round%bbrRateRounds] = 0
			if a.Round-b.round > bbrRateRounds {
				b.round = a.Round - bbrRateRounds
			}
		}
	}
	if a.Rate > 0 && (!a.AppLimited || a.Rate > b.rate()) {
		if r := &b.rates[b.round%bbrRateRounds]; a.Rate > *r {
			*r = a.Rate
		}
	}
	expired := b.minRTT > 0 && a.Now.Sub(b.minRTTAt) > bbrMinRTTFor
	if a.RTT > 0 && (b.minRTT == 0 || a.RTT <= b.minRTT || expired) {
		b.minRTT, b.minRTTAt = a.RTT, a.Now
	}
	if b.mode == bbrStartup && newRound && !a.AppLimited {
		// The pipe is full when the rate has not grown by a quarter in three
		// rounds.
		if r := b.rate(); r >= b.full*1.25 {
			b.full, b.fullCount = r, 0
		} else if b.fullCount++; b.fullCount >= 3 {
			b.mode, b.pacing, b.cwnd = bbrDrain, 1/bbrHigh, bbrHigh
		}
	}
	if b.mode == bbrDrain && a.InFlight <= b.inFlightFor(1) {
		b.probeBW(a.Now)
	}
	if b.mode == bbrProbeBW {
		b.advance(a)
	}
	if expired && b.mode != bbrProbeRTT {
		b.mode, b.pacing = bbrProbeRTT, 1
		b.prior, b.probeEnd = w.Cwnd, 0
	}
	if b.mode == bbrProbeRTT {
		if b.probeEnd == 0 && a.InFlight <= 4*w.MSS {
			b.probeEnd = a.Now.Add(max(bbrProbeFor, a.SRTT))
		}
		if b.probeEnd != 0 && a.Now > b.probeEnd {
			b.minRTTAt = a.Now
			w.Cwnd = max(w.Cwnd, b.prior)
			b.probeBW(a.Now)
		}
	}
	b.setWindow(w, a)
}

func (b *BBR) setWindow(w *Window, a Acked) {
	target := b.inFlightFor(b.cwnd)
	switch {
	case b.mode == bbrStartup || b.mode == bbrDrain:
		if w.Cwnd < target || b.rate() == 0 {
			w.Cwnd += a.Bytes
		}
	case w.Cwnd < target:
		w.Cwnd = min(w.Cwnd+a.Bytes, target)
	default:
		w.Cwnd = target
	}
	w.Cwnd = max(w.Cwnd, 4*w.MSS)
	if b.mode == bbrProbeRTT {
		w.Cwnd = 4 * w.MSS
	}
}

func (b *BBR) probeBW(now clock.Time) {
	b.mode, b.cwnd = bbrProbeBW, 2
	// The draft begins at random; a fixed phase keeps runs repeatable.
	b.cycle, b.cycleAt = 2, now
	b.pacing = bbrCycle[b.cycle]
}

func (b *BBR) advance(a Acked) {
	long := a.Now.Sub(b.cycleAt) > b.minRTT
	switch gain := bbrCycle[b.cycle]; {
	case gain > 1:
		long = long && (a.Lost > 0 || a.InFlight >= b.inFlightFor(gain))
	case gain < 1:
		long = long || a.InFlight <= b.inFlightFor(1)
	}
	if long {
		b.cycle, b.cycleAt = (b.cycle+1)%len(bbrCycle), a.Now
		b.pacing = bbrCycle[b.cycle]
	}
}

// Reduce: the model decides, not the loss.
func (b *BBR) Reduce(*Window, clock.Time, bool) {}

// Undo has nothing to restore.
func (b *BBR) Undo(*Window) {}
