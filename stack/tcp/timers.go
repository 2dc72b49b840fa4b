package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// timerKind names a timer. Those that are due at one instant fire in this
// order: what ends the connection first, and what finds a loss before what
// only supposes one.
type timerKind uint8

const (
	timerLinger  timerKind = iota // TIME-WAIT, or FIN-WAIT-2 without a user
	timerACK                      // delayed
	timerRACK                     // reordering (RFC 8985 §6)
	timerTLP                      // tail loss probe (RFC 8985 §7)
	timerRTO                      // retransmission (RFC 6298)
	timerPersist                  // zero window probe
	timerKeepAlive
	timerKinds
)

// timers is when each of them fires; Never when it is off.
type timers [timerKinds]clock.Time

func (t *timers) clear() {
	for k := range t {
		t[k] = clock.Never
	}
}

func (t *timers) stop(kinds ...timerKind) {
	for _, k := range kinds {
		t[k] = clock.Never
	}
}

// first is when the next one fires.
func (t *timers) first() clock.Time {
	at := clock.Never
	for _, u := range t {
		at = min(at, u)
	}
	return at
}

// rto is the retransmission timeout with its back-off (RFC 6298 §5.5).
func (c *Conn) rto() time.Duration {
	d := c.rtt.rto
	for range min(c.tries.backoff, 20) {
		d *= 2
		if d >= c.cfg.maxRTO() {
			return c.cfg.maxRTO()
		}
	}
	return d
}

// fire does what timers ask for.
func (c *Conn) fire() {
	for k := range timerKinds {
		if c.timer[k] <= c.now {
			c.timer[k] = clock.Never
			c.expired(k)
		}
	}
}

func (c *Conn) expired(k timerKind) {
	switch k {
	case timerLinger:
		c.shutdown()
	case timerACK:
		c.note(Event{Kind: ACKDelayed, Wait: c.now.Sub(c.ack.since)})
		c.ack.due = true
	case timerRACK:
		c.rackTimer()
	case timerTLP:
		c.probeTail()
	case timerRTO:
		c.timedOut()
	case timerPersist:
		c.persist()
	case timerKeepAlive:
		c.keepAlive()
	}
}

// armLoss starts the timers that watch over what is under way.
func (c *Conn) armLoss() {
	if c.snd.una == c.snd.nxt {
		return
	}
	if c.timer[timerRTO] == clock.Never {
		c.timer[timerRTO] = c.now.Add(c.rto())
	}
	c.armTLP()
}

// armTLP sets the tail loss probe (RFC 8985 §7.2).
func (c *Conn) armTLP() {
	c.timer[timerTLP] = clock.Never
	if !c.opt.sack || c.cfg.NoTLP || c.cfg.NoRACK || c.rec.mode != modeOpen || c.tlp.out || c.board.sacked > 0 || c.snd.una == c.snd.nxt || c.state < Established {
		return
	}
	pto := time.Second
	if c.rtt.srtt > 0 {
		pto = 2 * c.rtt.srtt
		if int(c.snd.nxt-c.snd.una) <= c.path.mss {
			// The peer may delay its only ACK.
			pto += 200 * time.Millisecond
		} else {
			pto += 2 * time.Millisecond
		}
	}
	// RFC 8985 §7.2: where the RTO would come first, the probe takes its place.
	c.timer[timerTLP] = min(c.now.Add(pto), c.timer[timerRTO])
}

// probeTail sends new data, or the last segment again, to provoke an ACK
// that tells whether the tail was lost (RFC 8985 §7.3).
func (c *Conn) probeTail() {
	if c.snd.una == c.snd.nxt || c.rec.mode != modeOpen {
		return
	}
	c.tlp.out, c.tlp.end = true, c.snd.nxt
	usable := int(int32(c.snd.una + uint32(c.snd.wnd) - c.snd.nxt))
	if n := min(c.Unsent(), c.path.mss-c.sackRoom()); n > 0 && n <= usable {
		c.tlp.retrans = false
		c.note(Event{Kind: TailLossProbe, From: c.snd.nxt, To: c.snd.nxt + uint32(n), Why: "new data", Wait: c.now.Sub(c.snd.sentAt)})
		c.sendData(c.snd.nxt, n, false, nil)
		c.tlp.end = c.snd.nxt
	} else if i := len(c.board.records) - 1; i >= c.board.head {
		if r := &c.board.records[i]; r.len() > c.path.mss {
			c.splitAt(i, r.end-uint32(c.path.mss))
			i++
		}
		c.tlp.retrans = true
		c.note(Event{Kind: TailLossProbe, From: c.board.records[i].seq, To: c.board.records[i].end, Why: "last segment", Wait: c.now.Sub(c.snd.sentAt)})
		c.retransmit(i, "tail loss probe")
	}
	c.timer[timerRTO] = c.now.Add(c.rto())
}

// tlpAcked judges the answer to a tail loss probe (RFC 8985 §7.4).
func (c *Conn) tlpAcked(ack uint32, a *ackInfo, o *wire.Options, dup bool) {
	if !c.tlp.out || wire.Before(ack, c.tlp.end) {
		return
	}
	switch {
	case !c.tlp.retrans:
		c.tlp.out = false // new data
	case a.dsack && o.SACK[0].To == c.tlp.end, ack == c.tlp.end && dup && o.NSACK == 0:
		c.tlp.out = false // the original had arrived as well
	case wire.Before(c.tlp.end, ack):
		// Nothing told of a duplicate: the probe has repaired a loss that
		// nothing else showed, and the window has to answer for it.
		c.tlp.out = false
		if c.rec.mode == modeOpen {
			c.note(Event{Kind: LossMarked, Why: "repaired by the tail loss probe"})
			c.reduce(modeCWR, "tail loss", a.delivered)
			c.endRecovery("tail loss repaired")
		}
	}
}

func (c *Conn) rackTimer() {
	was := c.board.lost
	c.rackDetect()
	if c.board.lost > was && (c.rec.mode == modeOpen || c.rec.mode == modeCWR) {
		c.reduce(modeRecovery, "rack timer", 0)
	}
}

// timedOut is the RTO (RFC 6298 §5.4 to §5.7).
func (c *Conn) timedOut() {
	cfg := c.cfg
	if c.state == SynSent || c.state == SynReceived {
		limit := orInt(cfg.SynRetries, 6)
		if c.state == SynReceived {
			limit = orInt(cfg.SynAckRetries, 5)
		}
		if c.tries.timeouts >= limit {
			c.giveUp()
			return
		}
		c.tries.timeouts++
		c.tries.backoff++
		c.snd.synDue = true
		c.board.retransmitted++
		c.timer[timerRTO] = c.now.Add(c.rto())
		c.note(Event{Kind: TimedOut, From: c.snd.iss, To: c.snd.iss + 1, Why: "SYN", Wait: c.rto()})
		return
	}
	if c.snd.una == c.snd.nxt {
		return
	}
	waited := c.now.Sub(c.tries.stuckSince)
	if c.tries.timeouts >= orInt(cfg.Retries, 15) || cfg.UserTimeout > 0 && waited >= cfg.UserTimeout {
		c.giveUp()
		return
	}
	c.note(Event{Kind: TimedOut, From: c.snd.una, To: c.snd.nxt, Wait: c.rto()})
	c.suspectMTU()
	if c.rec.mode != modeLoss || !wire.Before(c.snd.una, c.rec.point) {
		if c.rec.mode == modeOpen {
			c.armUndo()
		}
		c.cc.alg.Reduce(&c.win, c.now, true)
		c.cc.cwr = c.opt.ecn // RFC 3168 §6.1.2
		// RFC 5681 §3.1: the loss window is one segment.
	}
	c.rec.mode, c.rec.point = modeLoss, c.snd.nxt
	c.board.dupAcks, c.board.dupBytes = 0, 0
	// Everything that was not SACKed counts as lost. A peer may drop what it
	// SACKed (RFC 2018 §8): after several timeouts that is sent again too.
	for i := c.board.head; i < len(c.board.records); i++ {
		if r := &c.board.records[i]; r.flags&recSACKed != 0 && c.tries.timeouts >= 2 {
			r.flags &^= recSACKed
			c.board.sacked -= r.len()
		}
		c.markLost(i, "rto")
	}
	c.win.Cwnd = c.path.mss
	c.tries.timeouts++
	c.tries.backoff++
	c.tlp.out = false
	c.timer.stop(timerTLP, timerRACK)
	c.cc.paceAt = 0
	if c.board.lost > 0 {
		c.board.lostFrom = c.board.head
		for c.board.records[c.board.lostFrom].flags&recLost == 0 {
			c.board.lostFrom++
		}
		if r := &c.board.records[c.board.lostFrom]; r.len() > c.path.mss {
			c.splitAt(c.board.lostFrom, r.seq+uint32(c.path.mss))
		}
		c.retransmit(c.board.lostFrom, "rto")
	}
	wait := c.rto()
	if cfg.UserTimeout > 0 {
		wait = min(wait, max(c.tries.stuckSince.Add(cfg.UserTimeout).Sub(c.now), time.Millisecond))
	}
	c.timer[timerRTO] = c.now.Add(wait)
}

// giveUp ends the connection for want of an answer.
func (c *Conn) giveUp() {
	if c.soft != nil {
		c.fail(c.soft)
		return
	}
	c.fail(ErrTimeout)
}

// windowShut is called when the peer's window keeps data back.
func (c *Conn) windowShut() {
	if !c.snd.shut {
		c.snd.shut = true
		c.note(Event{Kind: WindowClosed, From: c.snd.nxt, Old: c.snd.wnd, New: c.Unsent()})
	}
	if c.snd.una == c.snd.nxt {
		c.armPersist()
	}
}

// armPersist sets the timer that probes a closed window (RFC 9293 §3.8.6.1).
func (c *Conn) armPersist() {
	if c.timer[timerPersist] != clock.Never {
		return
	}
	d := c.rtt.rto
	for range min(c.tries.probes, 20) {
		d = min(2*d, c.cfg.maxRTO())
	}
	if c.tries.probes == 0 {
		c.tries.stuckSince = c.now
	}
	c.timer[timerPersist] = c.now.Add(d)
}

// persist sends a window probe: a segment that the peer has seen already and
// has to answer with its window.
func (c *Conn) persist() {
	if !c.canSend() || c.snd.una != c.snd.nxt || c.Unsent() == 0 {
		return
	}
	usable := int(int32(c.snd.una + uint32(c.snd.wnd) - c.snd.nxt))
	if usable > 0 {
		// The override of sender silly window avoidance
		// (RFC 9293 §3.8.6.2.1 (4)).
		n := min(c.Unsent(), usable, c.path.mss-c.sackRoom())
		c.sendData(c.snd.nxt, n, false, nil)
		c.armLoss()
		return
	}
	if c.orphan && c.tries.probes >= orInt(c.cfg.Retries, 15) || c.cfg.UserTimeout > 0 && c.now.Sub(c.tries.stuckSince) >= c.cfg.UserTimeout {
		c.giveUp()
		return
	}
	c.tries.probes++
	c.note(Event{Kind: WindowProbed, New: c.tries.probes})
	c.probe()
	c.armPersist()
}

// probe sends a segment from before the window, which has to be acknowledged.
func (c *Conn) probe() {
	h := Outgoing{Header: wire.Header{Seq: c.snd.una - 1, Flags: wire.ACK}}
	c.acknowledge(&h)
	c.out.SendSegment(c, &h, nil, nil)
}

// touchKeepAlive puts the keep-alive off (RFC 9293 §3.8.4).
func (c *Conn) touchKeepAlive() {
	c.timer[timerKeepAlive] = clock.Never
	c.tries.keepAlives = 0
	if c.cfg.KeepAlive > 0 && c.state >= Established && c.state < TimeWait {
		c.timer[timerKeepAlive] = c.now.Add(c.cfg.KeepAlive)
	}
}

func (c *Conn) keepAlive() {
	if c.state < Established || c.state >= TimeWait {
		return
	}
	interval := orDuration(c.cfg.KeepAliveInterval, 75*time.Second)
	if c.snd.una != c.snd.nxt || c.snd.buf.n > 0 {
		c.timer[timerKeepAlive] = c.now.Add(interval) // data under way asks as well
		return
	}
	if c.tries.keepAlives >= orInt(c.cfg.KeepAliveProbes, 9) {
		c.sendReset()
		c.fail(ErrKeepAlive)
		return
	}
	c.tries.keepAlives++
	c.note(Event{Kind: KeepAliveProbed, New: c.tries.keepAlives})
	c.probe()
	c.timer[timerKeepAlive] = c.now.Add(interval)
}
