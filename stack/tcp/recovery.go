package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// recovery is how a sender repairs losses: proportional rate reduction
// (RFC 9937), NewReno without SACK (RFC 6582), undo (RFC 3522, RFC 3708) and the
// RTO (RFC 6298).
type recovery struct {
	mode  recoveryMode
	point uint32 // nxt when the mode was entered: the "recover" of RFC 6582
	prr   struct{ delivered, out, flight int }
	undo  struct {
		armed          bool
		cwnd, ssthresh int
		from           uint32 // una at that time
		retrans        int    // retransmissions not reported as duplicates yet
		stamp          uint32 // timestamp of the first
		stamped        bool
	}
}

type recoveryMode uint8

const (
	modeOpen     recoveryMode = iota
	modeCWR                   // reducing after a congestion mark or a tail loss
	modeRecovery              // fast recovery
	modeLoss                  // after an RTO
)

var modeNames = [...]string{"open", "cwr", "recovery", "loss"}

// ackReceived does what an acceptable ACK means for sending: it moves una,
// finds losses and lets congestion control decide.
func (c *Conn) ackReceived(ack uint32, o *wire.Options, dup bool, ece bool) {
	a := ackInfo{fack: c.rack.fack}
	priorUna, priorLost := c.snd.una, c.board.lost
	a.advanced = wire.Before(c.snd.una, ack)
	if o.NSACK > 0 && c.opt.sack {
		skip := 0
		if a.dsack = c.dsackBlock(ack, o); a.dsack {
			skip = 1
			c.dsackReceived(o.SACK[0])
		}
		for _, b := range o.SACK[skip:o.NSACK] {
			c.selective(b, &a)
		}
	}
	if a.advanced {
		c.cumulative(ack, &a)
		c.acked(ack)
	}
	c.measure(&a, o)
	if c.cc.roundEnd == priorUna || !wire.Before(c.snd.una, c.cc.roundEnd) {
		c.cc.round++
		c.cc.roundEnd = c.snd.nxt
	}
	if !c.opt.sack {
		c.countDuplicates(dup, &a)
	}
	c.tlpAcked(ack, &a, o, dup)
	c.rackUpdate(&a, o)
	if a.any || a.dsack {
		if c.cfg.NoRACK && c.opt.sack {
			c.dupThreshDetect()
		} else {
			c.rackDetect()
		}
	}
	c.tryUndo(&a, o)
	a.lost = max(c.board.lost-priorLost, 0)
	c.steer(&a, priorUna, ece)
	if c.snd.una == c.snd.nxt {
		c.timer.stop(timerRTO, timerTLP, timerRACK)
	} else if a.advanced || a.sacked {
		if a.advanced {
			c.timer[timerRTO] = c.now.Add(c.rto())
		}
		c.armTLP()
	}
}

// acked moves una.
func (c *Conn) acked(ack uint32) {
	n := int(ack - c.snd.bufSeq)
	if n > 0 {
		data := min(n, c.snd.buf.n) // the FIN is not in the buffer
		c.snd.buf.discard(data)
		c.snd.bufSeq += uint32(data)
	}
	c.snd.una = ack
	c.tries.timeouts = 0
	c.tries.stuckSince = c.now
	c.path.timeouts = 0
	c.soft = nil
	if c.snd.urgentOut && !wire.Before(c.snd.una, c.snd.urgent) {
		c.snd.urgentOut = false
	}
	if c.snd.buf.n == 0 {
		c.snd.buf.release(c.cfg.Buffers)
	}
	// The send buffer keeps up with the window, so that there is always a
	// round trip's worth to send.
	if want := 2 * c.win.Cwnd; want > c.snd.limit && !c.cfg.FixedBuffers && c.snd.limit < c.cfg.sendBuffer() {
		old := c.snd.limit
		c.snd.limit = min(max(want, 2*old), c.cfg.sendBuffer())
		c.note(Event{Kind: BufferGrown, Why: "send", Old: old, New: c.snd.limit})
	}
}

// measure takes the round trip from what was delivered, or from the echoed
// timestamp where that is all there is (RFC 7323 §4.1).
func (c *Conn) measure(a *ackInfo, o *wire.Options) {
	d := a.rtt
	if a.again {
		// What was repaired may have held the ACK of the rest back.
		d = 0
	}
	if d == 0 && a.advanced && !a.dsack && c.opt.ts && o.Timestamps && o.TSEcr != 0 {
		if ms := int32(c.tsNow() - o.TSEcr); ms >= 0 {
			d = time.Duration(ms) * time.Millisecond
		}
		if d == 0 {
			c.tries.backoff = 0
			return // less than the clock of the timestamps can tell
		}
	}
	a.rtt = d
	if d == 0 {
		return
	}
	c.tries.backoff = 0 // RFC 6298 §5, the note: a new measurement collapses it
	c.rtt.sample(d, c.now, c.cfg)
	c.note(Event{Kind: RTTMeasured, Wait: d})
}

// steer enters and leaves recovery and moves the window.
func (c *Conn) steer(a *ackInfo, priorUna uint32, ece bool) {
	deflated := false
	if c.rec.mode != modeOpen && !wire.Before(c.snd.una, c.rec.point) && c.snd.una != priorUna {
		deflated = c.rec.mode != modeLoss
		c.endRecovery("all acknowledged")
	}
	switch {
	case c.board.lost > 0 && (c.rec.mode == modeOpen || c.rec.mode == modeCWR):
		c.reduce(modeRecovery, "loss", a.delivered)
	case ece && c.opt.ecn && c.rec.mode == modeOpen && a.advanced:
		c.reduce(modeCWR, "ECE", a.delivered)
	}
	info := Acked{Now: c.now, Bytes: a.delivered, RTT: a.rtt, SRTT: c.rtt.srtt, MinRTT: c.rtt.min, InFlight: c.inFlight(), Round: c.cc.round, Lost: a.lost,
		Recovering: c.rec.mode == modeRecovery || c.rec.mode == modeCWR}
	flight := int(c.snd.nxt-c.snd.una) + a.delivered
	info.Limited = wire.Before(priorUna, c.cc.limitedAt) || c.win.Cwnd < c.win.Ssthresh && c.win.Cwnd < 2*flight
	if a.any {
		info.Rate, info.AppLimited = c.rate(&a.newest)
	}
	if c.cc.model != nil {
		if a.delivered > 0 {
			c.cc.alg.Acked(&c.win, info)
		}
		return
	}
	switch c.rec.mode {
	case modeOpen, modeLoss:
		// RFC 5681 §3.2 step 6, RFC 9937 §6: the ACK that ends recovery sets the
		// window to ssthresh and does no more.
		if a.delivered > 0 && (a.advanced || c.rec.mode == modeLoss) && !deflated {
			was := c.win.Cwnd < c.win.Ssthresh
			c.cc.alg.Acked(&c.win, info)
			if was && c.win.Cwnd >= c.win.Ssthresh {
				c.note(Event{Kind: SlowStartEnded})
			}
		}
	default:
		c.reduceRate(a)
	}
}

// rate is the delivery rate over the flight that r belonged to, in bytes a
// second.
func (c *Conn) rate(r *record) (float64, bool) {
	if r.deliveredAt == 0 {
		return 0, false
	}
	c.board.firstSent = r.sent
	d := max(c.board.deliveredAt.Sub(r.deliveredAt), r.sent.Sub(r.firstSent))
	if d <= 0 || d < c.rtt.min {
		return 0, r.flags&recAppLimited != 0
	}
	return float64(c.board.delivered-r.delivered) / d.Seconds(), r.flags&recAppLimited != 0
}

// reduce enters a mode in which the window comes down; delivered is what the
// ACK that led to it told.
func (c *Conn) reduce(m recoveryMode, why string, delivered int) {
	first := c.rec.mode == modeOpen
	c.rec.mode, c.rec.point = m, c.snd.nxt
	c.timer[timerTLP] = clock.Never
	if first {
		c.armUndo()
		c.cc.alg.Reduce(&c.win, c.now, false)
		c.cc.cwr = c.opt.ecn // RFC 3168 §6.1.2: for whatever reason
		c.rec.prr.delivered, c.rec.prr.out, c.rec.prr.flight = 0, 0, max(int(c.snd.nxt-c.snd.una)-c.board.sacked-c.board.dupBytes+delivered, c.path.mss)
		// One segment at least goes out at once (RFC 9937 §5.1).
		if c.cc.model == nil {
			c.win.Cwnd = c.inFlight() + c.path.mss
		}
	}
	if m == modeRecovery {
		c.note(Event{Kind: RecoveryStarted, From: c.snd.una, To: c.rec.point, Why: why})
	} else {
		c.note(Event{Kind: WindowReduced, Why: why})
	}
}

func (c *Conn) armUndo() {
	u := &c.rec.undo
	u.armed, u.from, u.retrans, u.stamped = true, c.snd.una, 0, false
	u.cwnd, u.ssthresh = c.win.Cwnd, c.win.Ssthresh
}

// reduceRate is proportional rate reduction (RFC 9937 §5): what goes out is in
// proportion to what arrives.
func (c *Conn) reduceRate(a *ackInfo) {
	if a.delivered == 0 && a.lost == 0 {
		return
	}
	p := &c.rec.prr
	p.delivered += a.delivered
	pipe, n := c.inFlight(), 0
	if pipe > c.win.Ssthresh {
		n = (p.delivered*c.win.Ssthresh+p.flight-1)/p.flight - p.out
	} else {
		n = max(p.delivered-p.out, a.delivered)
		if a.advanced && a.lost == 0 {
			n += c.path.mss
		}
		n = min(n, c.win.Ssthresh-pipe)
	}
	n = max(n, 0)
	if p.out == 0 || !c.opt.sack && a.lost > 0 { // RFC 6582 §3.2 step 3: at once
		n = max(n, c.path.mss)
	}
	c.win.Cwnd = max(pipe+n, c.path.mss)
}

func (c *Conn) endRecovery(why string) {
	if c.cc.model == nil && c.rec.mode != modeLoss {
		c.win.Cwnd = max(c.win.Ssthresh, 2*c.path.mss)
	}
	// The duplicates of what was sent again are told of only now (RFC 3708).
	c.rec.undo.armed = c.rec.undo.armed && c.rec.mode != modeCWR && c.rec.undo.stamped
	c.rec.mode = modeOpen
	c.board.dupAcks, c.board.dupBytes = 0, 0
	if c.rack.persist > 0 {
		if c.rack.persist--; c.rack.persist == 0 {
			c.rack.mult = 1
		}
	}
	c.note(Event{Kind: RecoveryEnded, Why: why})
}

// tryUndo restores the window when nothing had been lost: the ACK answers the
// original and not the retransmission (RFC 3522), or every retransmission was
// reported as a duplicate (RFC 3708).
func (c *Conn) tryUndo(a *ackInfo, o *wire.Options) {
	u := &c.rec.undo
	if !u.armed || c.rec.mode == modeCWR {
		return
	}
	why := ""
	switch {
	case a.advanced && c.rec.mode != modeOpen && u.stamped && c.opt.ts && o.Timestamps && o.TSEcr != 0 && wire.Before(o.TSEcr, u.stamp):
		why = "the original arrived (timestamp)"
	case u.stamped && u.retrans == 0:
		why = "all retransmissions were duplicates (DSACK)"
	default:
		return
	}
	for i := c.board.head; i < len(c.board.records) && c.rec.mode != modeOpen; i++ {
		if r := &c.board.records[i]; r.flags&recLost != 0 {
			r.flags &^= recLost
			c.board.lost -= r.len()
		}
	}
	c.win.Cwnd, c.win.Ssthresh = max(c.win.Cwnd, u.cwnd), u.ssthresh
	c.cc.alg.Undo(&c.win)
	c.note(Event{Kind: Undone, Why: why, New: c.win.Cwnd})
	c.tries.backoff = 0
	u.armed = false
	c.rec.mode = modeOpen
	c.board.dupAcks, c.board.dupBytes = 0, 0
	if !c.rack.reordering {
		c.rack.reordering = true
	}
}
