package tcp

import (
	"math"
	"time"

	"peel/clock"
)

// Window is what congestion control decides about, in bytes.
type Window struct {
	Cwnd, Ssthresh int
	// MSS is the sender's segment size (SMSS of RFC 5681).
	MSS int
}

// Acked is what an acknowledgment told.
type Acked struct {
	Now clock.Time
	// Bytes newly delivered, cumulatively or by SACK.
	Bytes int
	// RTT is a new measurement, or 0. SRTT and MinRTT go over the connection.
	RTT, SRTT, MinRTT time.Duration
	// InFlight is what is still under way, in bytes.
	InFlight int
	// Round counts round trips.
	Round uint64
	// Limited tells that the window, and not the program, was what held the
	// sender back (RFC 7661).
	Limited bool
	// Rate is the delivery rate in bytes a second, 0 when it is unknown;
	// AppLimited tells that the path may carry more.
	Rate       float64
	AppLimited bool
	// Lost counts bytes found lost by this acknowledgment.
	Lost int
	// Recovering tells that losses are being repaired.
	Recovering bool
}

// Congestion is a congestion control (RFC 5681). It owns the growth of the
// window and by how much it falls; what is resent when is the connection's.
type Congestion interface {
	Name() string
	// Acked is called for each acknowledgment of new data.
	Acked(w *Window, a Acked)
	// Reduce sets ssthresh after a loss, a timeout, or a congestion mark.
	Reduce(w *Window, now clock.Time, timeout bool)
	// Undo is called when the reduction turned out to be mistaken; cwnd and
	// ssthresh have been restored.
	Undo(w *Window)
}

// Model is a congestion control that paces and sets the window from a model of
// the path, in recovery too.
type Model interface {
	Congestion
	// PacingRate is in bytes a second; 0 while it is unknown.
	PacingRate() float64
}

// NewReno is the congestion control of RFC 5681 and RFC 6582.
type NewReno struct{ rest int }

// NewNewReno returns it, for Config.Congestion.
func NewNewReno() Congestion { return &NewReno{} }

// Name is "newreno".
func (*NewReno) Name() string { return "newreno" }

// Acked grows the window: by what was acknowledged in slow start, by one
// segment a round trip behind it.
func (n *NewReno) Acked(w *Window, a Acked) {
	if !a.Limited || a.Recovering {
		return
	}
	left := a.Bytes
	if w.Cwnd < w.Ssthresh {
		grow := min(left, w.Ssthresh-w.Cwnd)
		w.Cwnd += grow
		left -= grow
	}
	// RFC 3465 §2.1: count bytes, not acknowledgments.
	n.rest += left
	for n.rest >= w.Cwnd {
		n.rest -= w.Cwnd
		w.Cwnd += w.MSS
	}
}

// Reduce halves (RFC 5681 equation 4).
func (n *NewReno) Reduce(w *Window, _ clock.Time, _ bool) {
	w.Ssthresh = max(w.Cwnd/2, 2*w.MSS)
	n.rest = 0
}

// Undo has nothing to restore.
func (*NewReno) Undo(*Window) {}

// Cubic is the congestion control of RFC 9438, with the end of slow start of
// HyStart++ (RFC 9406). Its windows are in segments, as in the RFC.
type Cubic struct {
	epoch         clock.Time // 0: no congestion avoidance begun
	last          clock.Time // of the window's growth in it
	wMax, k, wEst float64
	cwndPrior     float64
	fraction      float64
	Before        struct {
		wMax, cwndPrior float64
		hy              hystart
	}
	hy hystart
}

// NewCubic returns it, for Config.Congestion.
func NewCubic() Congestion { return &Cubic{} }

// Name is "cubic".
func (*Cubic) Name() string { return "cubic" }

// RFC 9438 §4.1 and §4.6.
const (
	cubicC    = 0.4
	cubicBeta = 0.7
)

// Acked grows the window.
func (q *Cubic) Acked(w *Window, a Acked) {
	if a.Recovering {
		return
	}
	left := a.Bytes
	if w.Cwnd < w.Ssthresh {
		left = q.hy.acked(w, a)
		if left == 0 {
			return
		}
	}
	if !a.Limited {
		return
	}
	mss := float64(w.MSS)
	cwnd := float64(w.Cwnd) / mss
	acked := float64(left) / mss
	if q.epoch == 0 {
		// §4.2: a new epoch of congestion avoidance.
		q.epoch, q.last = a.Now, a.Now
		q.wEst = cwnd
		if q.wMax > cwnd {
			q.k = math.Cbrt((q.wMax - cwnd) / cubicC)
		} else {
			q.k, q.wMax = 0, cwnd
		}
		q.fraction = 0
	}
	// §5.8: times in which the program, or recovery, kept the window from
	// growing do not count.
	if idle := a.Now.Sub(q.last) - a.SRTT; idle > 0 {
		q.epoch = q.epoch.Add(idle)
	}
	q.last = a.Now
	t := a.Now.Sub(q.epoch).Seconds()
	at := func(t float64) float64 { d := t - q.k; return cubicC*d*d*d + q.wMax }
	// §4.3: the Reno-friendly region.
	alpha := 3 * (1 - cubicBeta) / (1 + cubicBeta)
	if q.wEst >= q.cwndPrior {
		alpha = 1
	}
	q.wEst += alpha * acked / cwnd
	if at(t) < q.wEst {
		if n := int(q.wEst * mss); n > w.Cwnd {
			w.Cwnd = n
		}
		return
	}
	// §4.4, §4.5.
	target := min(max(at(t+a.SRTT.Seconds()), cwnd), 1.5*cwnd)
	q.fraction += (target - cwnd) / cwnd * acked * mss
	n := int(q.fraction)
	q.fraction -= float64(n)
	w.Cwnd += n
}

// Reduce multiplies by 0.7 and remembers where it was (RFC 9438 §4.6, §4.7).
func (q *Cubic) Reduce(w *Window, _ clock.Time, _ bool) {
	cwnd := float64(w.Cwnd) / float64(w.MSS)
	q.Before.wMax, q.Before.cwndPrior, q.Before.hy = q.wMax, q.cwndPrior, q.hy
	q.cwndPrior = cwnd
	if cwnd < q.wMax {
		q.wMax = cwnd * (1 + cubicBeta) / 2 // §4.7: fast convergence
	} else {
		q.wMax = cwnd
	}
	w.Ssthresh = max(int(float64(w.Cwnd)*cubicBeta), 2*w.MSS)
	q.epoch = 0
	q.hy = hystart{done: true} // RFC 9406 §4.3: only for the first slow start
}

// Undo restores W_max (RFC 9438 §4.9).
func (q *Cubic) Undo(*Window) {
	q.wMax, q.cwndPrior, q.hy = q.Before.wMax, q.Before.cwndPrior, q.Before.hy
	q.epoch = 0
}

// hystart ends slow start when the round trip grows (RFC 9406).
type hystart struct {
	done             bool
	round            uint64
	begun            bool
	samples          int
	lastMin, currMin time.Duration
	css              bool
	cssRounds        int
	cssBase          time.Duration
	fraction         int
}

// RFC 9406 §4.3.
const (
	hyMinThresh = 4 * time.Millisecond
	hyMaxThresh = 16 * time.Millisecond
	hySamples   = 8
	hyDivisor   = 4
	hyCSSRounds = 5
)

// acked grows the window in slow start and returns the bytes that are left for
// congestion avoidance.
func (h *hystart) acked(w *Window, a Acked) int {
	if !h.done {
		h.measure(w, a)
	}
	if !a.Limited {
		return 0
	}
	grow := a.Bytes
	if h.css {
		h.fraction += a.Bytes
		grow = h.fraction / hyDivisor
		h.fraction -= grow * hyDivisor
		w.Cwnd += grow
		return 0
	}
	grow = min(grow, w.Ssthresh-w.Cwnd)
	w.Cwnd += grow
	return a.Bytes - grow
}

func (h *hystart) measure(w *Window, a Acked) {
	if !h.begun || a.Round != h.round {
		if h.begun && h.css {
			if h.cssRounds++; h.cssRounds >= hyCSSRounds {
				w.Ssthresh = w.Cwnd
				h.done, h.css = true, false
				return
			}
		}
		h.begun, h.round = true, a.Round
		h.lastMin, h.currMin, h.samples = h.currMin, 0, 0
	}
	if a.RTT <= 0 {
		return
	}
	if h.currMin == 0 || a.RTT < h.currMin {
		h.currMin = a.RTT
	}
	if h.samples++; h.samples < hySamples || h.lastMin == 0 {
		return
	}
	if h.css {
		if h.currMin < h.cssBase {
			h.css, h.cssBase = false, 0 // the growth was not lasting
		}
		return
	}
	if h.currMin >= h.lastMin+min(max(h.lastMin/8, hyMinThresh), hyMaxThresh) {
		h.css, h.cssBase, h.cssRounds, h.fraction = true, h.currMin, 0, 0
	}
}
