package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// rto is the retransmission timeout with its back-off (RFC 6298 §5.5).
func (c *Conn) rto() time.Duration {
	d := c.rtt.rto
	for range min(c.backoff, 20) {
		d *= 2
		if d >= c.cfg.maxRTO() {
			return c.cfg.maxRTO()
		}
	}
	return d
}

// fire does what timers ask for.
func (c *Conn) fire() {
	now := c.now
	if c.lingerAt <= now {
		c.lingerAt = clock.Never
		c.shutdown()
		return
	}
	if c.ackAt <= now {
		c.note(Event{Kind: ACKDelayed, Wait: now.Sub(c.ackSince)})
		c.ackNow, c.ackAt = true, clock.Never
	}
	if c.rackAt <= now {
		c.rackTimer()
	}
	if c.tlpAt <= now {
		c.tailLossProbe()
	}
	if c.rtoAt <= now {
		c.timedOut()
	}
	if c.persistAt <= now {
		c.persist()
	}
	if c.keepAt <= now {
		c.keepAlive()
	}
}

// armLoss starts the timers that watch over what is under way.
func (c *Conn) armLoss() {
	if c.una == c.nxt {
		return
	}
	if c.rtoAt == clock.Never {
		c.rtoAt = c.now.Add(c.rto())
	}
	c.armTLP()
}

// armTLP sets the tail loss probe (RFC 8985 §7.2).
func (c *Conn) armTLP() {
	c.tlpAt = clock.Never
	if !c.sack || c.cfg.NoTLP || c.cfg.NoRACK || c.mode != modeOpen || c.tlp.out || c.sackBytes > 0 || c.una == c.nxt || c.state < Established {
		return
	}
	pto := time.Second
	if c.rtt.srtt > 0 {
		pto = 2 * c.rtt.srtt
		if int(c.nxt-c.una) <= c.mss {
			// The peer may delay its only ACK.
			pto += 200 * time.Millisecond
		} else {
			pto += 2 * time.Millisecond
		}
	}
	// RFC 8985 §7.2: where the RTO would come first, the probe takes its place.
	c.tlpAt = earlier(c.now.Add(pto), c.rtoAt)
}

// tailLossProbe sends new data, or the last segment again, to provoke an ACK
// that tells whether the tail was lost (RFC 8985 §7.3).
func (c *Conn) tailLossProbe() {
	c.tlpAt = clock.Never
	if c.una == c.nxt || c.mode != modeOpen {
		return
	}
	c.tlp.out, c.tlp.end = true, c.nxt
	usable := int(int32(c.una + uint32(c.wnd) - c.nxt))
	if n := min(c.Unsent(), c.mss-c.sackRoom()); n > 0 && n <= usable {
		c.tlp.retrans = false
		c.note(Event{Kind: TailLossProbe, From: c.nxt, To: c.nxt + uint32(n), Why: "new data", Wait: c.now.Sub(c.sentAt)})
		c.sendData(c.nxt, n, false, nil)
		c.tlp.end = c.nxt
	} else if i := len(c.sent) - 1; i >= c.sentHead {
		if r := &c.sent[i]; r.len() > c.mss {
			c.splitAt(i, r.end-uint32(c.mss))
			i++
		}
		c.tlp.retrans = true
		c.note(Event{Kind: TailLossProbe, From: c.sent[i].seq, To: c.sent[i].end, Why: "last segment", Wait: c.now.Sub(c.sentAt)})
		c.retransmit(i, "tail loss probe")
	}
	c.rtoAt = c.now.Add(c.rto())
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
		if c.mode == modeOpen {
			c.note(Event{Kind: LossMarked, Why: "repaired by the tail loss probe"})
			c.reduce(modeCWR, "tail loss", a.delivered)
			c.endRecovery("tail loss repaired")
		}
	}
}

func (c *Conn) rackTimer() {
	was := c.lostBytes
	c.rackDetect()
	if c.lostBytes > was && (c.mode == modeOpen || c.mode == modeCWR) {
		c.reduce(modeRecovery, "rack timer", 0)
	}
}

// timedOut is the RTO (RFC 6298 §5.4 to §5.7).
func (c *Conn) timedOut() {
	c.rtoAt = clock.Never
	cfg := c.cfg
	if c.state == SynSent || c.state == SynReceived {
		limit := orInt(cfg.SynRetries, 6)
		if c.state == SynReceived {
			limit = orInt(cfg.SynAckRetries, 5)
		}
		if c.retries >= limit {
			c.giveUp()
			return
		}
		c.retries++
		c.backoff++
		c.synDue = true
		c.retransmitted++
		c.rtoAt = c.now.Add(c.rto())
		c.note(Event{Kind: TimedOut, From: c.iss, To: c.iss + 1, Why: "SYN", Wait: c.rto()})
		return
	}
	if c.una == c.nxt {
		return
	}
	waited := c.now.Sub(c.stuckSince)
	if c.retries >= orInt(cfg.Retries, 15) || cfg.UserTimeout > 0 && waited >= cfg.UserTimeout {
		c.giveUp()
		return
	}
	c.note(Event{Kind: TimedOut, From: c.una, To: c.nxt, Wait: c.rto()})
	c.suspectMTU()
	if c.mode != modeLoss || !wire.Before(c.una, c.recover) {
		if c.mode == modeOpen {
			c.armUndo()
		}
		c.cc.Reduce(&c.win, c.now, true)
		c.cwrOut = c.ecn // RFC 3168 §6.1.2
		// RFC 5681 §3.1: the loss window is one segment.
	}
	c.mode, c.recover = modeLoss, c.nxt
	c.dupAcks, c.dupBytes = 0, 0
	// Everything that was not SACKed counts as lost. A peer may drop what it
	// SACKed (RFC 2018 §8): after several timeouts that is sent again too.
	for i := c.sentHead; i < len(c.sent); i++ {
		if r := &c.sent[i]; r.flags&recSACKed != 0 && c.retries >= 2 {
			r.flags &^= recSACKed
			c.sackBytes -= r.len()
		}
		c.markLost(i, "rto")
	}
	c.win.Cwnd = c.mss
	c.retries++
	c.backoff++
	c.tlp.out, c.tlpAt, c.rackAt = false, clock.Never, clock.Never
	c.paceAt = 0
	if c.lostBytes > 0 {
		c.lostFrom = c.sentHead
		for c.sent[c.lostFrom].flags&recLost == 0 {
			c.lostFrom++
		}
		if r := &c.sent[c.lostFrom]; r.len() > c.mss {
			c.splitAt(c.lostFrom, r.seq+uint32(c.mss))
		}
		c.retransmit(c.lostFrom, "rto")
	}
	wait := c.rto()
	if cfg.UserTimeout > 0 {
		wait = min(wait, max(c.stuckSince.Add(cfg.UserTimeout).Sub(c.now), time.Millisecond))
	}
	c.rtoAt = c.now.Add(wait)
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
	if !c.shut {
		c.shut = true
		c.note(Event{Kind: WindowClosed, From: c.nxt, Old: c.wnd, New: c.Unsent()})
	}
	if c.una == c.nxt {
		c.armPersist()
	}
}

// armPersist sets the timer that probes a closed window (RFC 9293 §3.8.6.1).
func (c *Conn) armPersist() {
	if c.persistAt != clock.Never {
		return
	}
	d := c.rtt.rto
	for range min(c.probes, 20) {
		d = min(2*d, c.cfg.maxRTO())
	}
	if c.probes == 0 {
		c.stuckSince = c.now
	}
	c.persistAt = c.now.Add(d)
}

// persist sends a window probe: a segment that the peer has seen already and
// has to answer with its window.
func (c *Conn) persist() {
	c.persistAt = clock.Never
	if !c.canSend() || c.una != c.nxt || c.Unsent() == 0 {
		return
	}
	usable := int(int32(c.una + uint32(c.wnd) - c.nxt))
	if usable > 0 {
		// The override of sender silly window avoidance
		// (RFC 9293 §3.8.6.2.1 (4)).
		n := min(c.Unsent(), usable, c.mss-c.sackRoom())
		c.sendData(c.nxt, n, false, nil)
		c.armLoss()
		return
	}
	if c.orphan && c.probes >= orInt(c.cfg.Retries, 15) || c.cfg.UserTimeout > 0 && c.now.Sub(c.stuckSince) >= c.cfg.UserTimeout {
		c.giveUp()
		return
	}
	c.probes++
	c.note(Event{Kind: WindowProbed, New: c.probes})
	c.probe()
	c.armPersist()
}

// probe sends a segment from before the window, which has to be acknowledged.
func (c *Conn) probe() {
	h := Outgoing{Header: wire.Header{Seq: c.una - 1, Flags: wire.ACK}}
	c.acknowledge(&h)
	c.out.SendSegment(c, &h, nil, nil)
}

// touchKeepAlive puts the keep-alive off (RFC 9293 §3.8.4).
func (c *Conn) touchKeepAlive() {
	c.keepAt = clock.Never
	c.keeps = 0
	if c.cfg.KeepAlive > 0 && c.state >= Established && c.state < TimeWait {
		c.keepAt = c.now.Add(c.cfg.KeepAlive)
	}
}

func (c *Conn) keepAlive() {
	c.keepAt = clock.Never
	if c.state < Established || c.state >= TimeWait {
		return
	}
	interval := orDuration(c.cfg.KeepAliveInterval, 75*time.Second)
	if c.una != c.nxt || c.send.n > 0 {
		c.keepAt = c.now.Add(interval) // data under way asks as well
		return
	}
	if c.keeps >= orInt(c.cfg.KeepAliveProbes, 9) {
		c.sendReset()
		c.fail(ErrKeepAlive)
		return
	}
	c.keeps++
	c.note(Event{Kind: KeepAliveProbed, New: c.keeps})
	c.probe()
	c.keepAt = c.now.Add(interval)
}
