package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// recovery is what a sender knows of the segments under way, and how it
// repairs losses: the scoreboard of SACK (RFC 2018, RFC 6675), RACK-TLP
// (RFC 8985), proportional rate reduction (RFC 9937), NewReno without SACK
// (RFC 6582), undo (RFC 3522, RFC 3708) and the RTO (RFC 6298).
type recovery struct {
	sent      []record // from sentHead on: under way, in order of seq
	sentHead  int
	sackBytes int // of them, SACKed
	lostBytes int // of them, held lost and not sent again yet
	dupBytes  int // without SACK: what duplicate ACKs stand for
	dupAcks   int
	lostFrom  int // no record before this index is lost

	mode          recoveryMode
	recover       uint32 // nxt when the mode was entered
	prr           struct{ delivered, out, flight int }
	retransmitted uint64
	delivered     uint64
	deliveredAt   clock.Time
	firstSent     clock.Time
	transmissions uint32

	rack struct {
		sent       clock.Time // of the latest delivered segment
		nth        uint32     // and which transmission that was
		end        uint32
		rtt        time.Duration
		fack       uint32
		reordering bool
		mult       int // of the reordering window
		persist    int
		dsackRound uint32
	}
	tlp struct {
		out     bool
		end     uint32
		retrans bool
	}
	undo struct {
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
	priorUna, priorLost := c.una, c.lostBytes
	a.advanced = wire.Before(c.una, ack)
	if o.NSACK > 0 && c.sack {
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
	if c.roundEnd == priorUna || !wire.Before(c.una, c.roundEnd) {
		c.round++
		c.roundEnd = c.nxt
	}
	if !c.sack {
		c.countDuplicates(dup, &a)
	}
	c.tlpAcked(ack, &a, o, dup)
	c.rackUpdate(&a, o)
	if a.any || a.dsack {
		if c.cfg.NoRACK && c.sack {
			c.dupThreshDetect()
		} else {
			c.rackDetect()
		}
	}
	c.tryUndo(&a, o)
	a.lost = max(c.lostBytes-priorLost, 0)
	c.steer(&a, priorUna, ece)
	if c.una == c.nxt {
		c.rtoAt, c.tlpAt, c.rackAt = clock.Never, clock.Never, clock.Never
	} else if a.advanced || a.sacked {
		if a.advanced {
			c.rtoAt = c.now.Add(c.rto())
		}
		c.armTLP()
	}
}

// acked moves una.
func (c *Conn) acked(ack uint32) {
	n := int(ack - c.sendSeq)
	if n > 0 {
		data := min(n, c.send.n) // the FIN is not in the buffer
		c.send.discard(data)
		c.sendSeq += uint32(data)
	}
	c.una = ack
	c.retries = 0
	c.stuckSince = c.now
	c.mtu.timeouts = 0
	c.soft = nil
	if c.urgentOut && !wire.Before(c.una, c.urgent) {
		c.urgentOut = false
	}
	if c.send.n == 0 {
		c.send.release(c.cfg.Buffers)
	}
	// The send buffer keeps up with the window, so that there is always a
	// round trip's worth to send.
	if want := 2 * c.win.Cwnd; want > c.sendLimit && !c.cfg.FixedBuffers && c.sendLimit < c.cfg.sendBuffer() {
		old := c.sendLimit
		c.sendLimit = min(max(want, 2*old), c.cfg.sendBuffer())
		c.note(Event{Kind: BufferGrown, Why: "send", Old: old, New: c.sendLimit})
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
	if d == 0 && a.advanced && !a.dsack && c.ts && o.Timestamps && o.TSEcr != 0 {
		if ms := int32(c.tsNow() - o.TSEcr); ms >= 0 {
			d = time.Duration(ms) * time.Millisecond
		}
		if d == 0 {
			c.backoff = 0
			return // less than the clock of the timestamps can tell
		}
	}
	a.rtt = d
	if d == 0 {
		return
	}
	c.backoff = 0 // RFC 6298 §5, the note: a new measurement collapses it
	c.rtt.sample(d, c.now, c.cfg)
	c.note(Event{Kind: RTTMeasured, Wait: d})
}

// steer enters and leaves recovery and moves the window.
func (c *Conn) steer(a *ackInfo, priorUna uint32, ece bool) {
	deflated := false
	if c.mode != modeOpen && !wire.Before(c.una, c.recover) && c.una != priorUna {
		deflated = c.mode != modeLoss
		c.endRecovery("all acknowledged")
	}
	switch {
	case c.lostBytes > 0 && (c.mode == modeOpen || c.mode == modeCWR):
		c.reduce(modeRecovery, "loss", a.delivered)
	case ece && c.ecn && c.mode == modeOpen && a.advanced:
		c.reduce(modeCWR, "ECE", a.delivered)
	}
	info := Acked{Now: c.now, Bytes: a.delivered, RTT: a.rtt, SRTT: c.rtt.srtt, MinRTT: c.rtt.min, InFlight: c.inFlight(), Round: c.round, Lost: a.lost,
		Recovering: c.mode == modeRecovery || c.mode == modeCWR}
	flight := int(c.nxt-c.una) + a.delivered
	info.Limited = wire.Before(priorUna, c.limitedAt) || c.win.Cwnd < c.win.Ssthresh && c.win.Cwnd < 2*flight
	if a.any {
		info.Rate, info.AppLimited = c.rate(&a.newest)
	}
	if c.model != nil {
		if a.delivered > 0 {
			c.cc.Acked(&c.win, info)
		}
		return
	}
	switch c.mode {
	case modeOpen, modeLoss:
		// RFC 5681 §3.2 step 6, RFC 9937 §6: the ACK that ends recovery sets the
		// window to ssthresh and does no more.
		if a.delivered > 0 && (a.advanced || c.mode == modeLoss) && !deflated {
			was := c.win.Cwnd < c.win.Ssthresh
			c.cc.Acked(&c.win, info)
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
	c.firstSent = r.sent
	d := max(c.deliveredAt.Sub(r.deliveredAt), r.sent.Sub(r.firstSent))
	if d <= 0 || d < c.rtt.min {
		return 0, r.flags&recAppLimited != 0
	}
	return float64(c.delivered-r.delivered) / d.Seconds(), r.flags&recAppLimited != 0
}

// reduce enters a mode in which the window comes down; delivered is what the
// ACK that led to it told.
func (c *Conn) reduce(m recoveryMode, why string, delivered int) {
	first := c.mode == modeOpen
	c.mode, c.recover = m, c.nxt
	c.tlpAt = clock.Never
	if first {
		c.armUndo()
		c.cc.Reduce(&c.win, c.now, false)
		c.cwrOut = c.ecn // RFC 3168 §6.1.2: for whatever reason
		c.prr.delivered, c.prr.out, c.prr.flight = 0, 0, max(int(c.nxt-c.una)-c.sackBytes-c.dupBytes+delivered, c.mss)
		// One segment at least goes out at once (RFC 9937 §5.1).
		if c.model == nil {
			c.win.Cwnd = c.inFlight() + c.mss
		}
	}
	if m == modeRecovery {
		c.note(Event{Kind: RecoveryStarted, From: c.una, To: c.recover, Why: why})
	} else {
		c.note(Event{Kind: WindowReduced, Why: why})
	}
}

func (c *Conn) armUndo() {
	u := &c.undo
	u.armed, u.from, u.retrans, u.stamped = true, c.una, 0, false
	u.cwnd, u.ssthresh = c.win.Cwnd, c.win.Ssthresh
}

// reduceRate is proportional rate reduction (RFC 9937 §5): what goes out is in
// proportion to what arrives.
func (c *Conn) reduceRate(a *ackInfo) {
	if a.delivered == 0 && a.lost == 0 {
		return
	}
	p := &c.prr
	p.delivered += a.delivered
	pipe, n := c.inFlight(), 0
	if pipe > c.win.Ssthresh {
		n = (p.delivered*c.win.Ssthresh+p.flight-1)/p.flight - p.out
	} else {
		n = max(p.delivered-p.out, a.delivered)
		if a.advanced && a.lost == 0 {
			n += c.mss
		}
		n = min(n, c.win.Ssthresh-pipe)
	}
	n = max(n, 0)
	if p.out == 0 || !c.sack && a.lost > 0 { // RFC 6582 §3.2 step 3: at once
		n = max(n, c.mss)
	}
	c.win.Cwnd = max(pipe+n, c.mss)
}

func (c *Conn) endRecovery(why string) {
	if c.model == nil && c.mode != modeLoss {
		c.win.Cwnd = max(c.win.Ssthresh, 2*c.mss)
	}
	// The duplicates of what was sent again are told of only now (RFC 3708).
	c.undo.armed = c.undo.armed && c.mode != modeCWR && c.undo.stamped
	c.mode = modeOpen
	c.dupAcks, c.dupBytes = 0, 0
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
	u := &c.undo
	if !u.armed || c.mode == modeCWR {
		return
	}
	why := ""
	switch {
	case a.advanced && c.mode != modeOpen && u.stamped && c.ts && o.Timestamps && o.TSEcr != 0 && wire.Before(o.TSEcr, u.stamp):
		why = "the original arrived (timestamp)"
	case u.stamped && u.retrans == 0:
		why = "all retransmissions were duplicates (DSACK)"
	default:
		return
	}
	for i := c.sentHead; i < len(c.sent) && c.mode != modeOpen; i++ {
		if r := &c.sent[i]; r.flags&recLost != 0 {
			r.flags &^= recLost
			c.lostBytes -= r.len()
		}
	}
	c.win.Cwnd, c.win.Ssthresh = max(c.win.Cwnd, u.cwnd), u.ssthresh
	c.cc.Undo(&c.win)
	c.note(Event{Kind: Undone, Why: why, New: c.win.Cwnd})
	c.backoff = 0
	u.armed = false
	c.mode = modeOpen
	c.dupAcks, c.dupBytes = 0, 0
	if !c.rack.reordering {
		c.rack.reordering = true
	}
}
