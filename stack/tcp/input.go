package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Input takes one segment whose checksum is right and that belongs to this
// connection. ce tells that the packet carried a congestion mark (RFC 3168).
// The payload is copied. Poll comes next.
func (c *Conn) Input(now clock.Time, s wire.Segment, ce bool) {
	c.now = now
	switch c.state {
	case Closed, Listen:
		return
	case SynSent:
		c.inputSynSent(s)
		return
	}
	o := s.Options()
	flags, seq := s.Flags(), s.Seq()
	payload := s.Payload()

	// RFC 7323 §5.3 (PAWS), RFC 9293 §3.10.7.4 first.
	if c.opt.ts && !flags.Has(wire.RST) {
		if o.Timestamps && wire.Before(o.TSVal, c.opt.tsRecent) && now.Sub(c.opt.tsRecentAt) < 24*24*time.Hour {
			if !(c.state == SynReceived && flags.Has(wire.SYN)) {
				c.drop("PAWS: an old timestamp", s)
				c.owe(seq, s)
				return
			}
		}
		// RFC 7323 §3.2: a segment without the option is dropped.
		if !o.Timestamps && !flags.Has(wire.SYN) {
			c.drop("no timestamp", s)
			return
		}
	}
	if c.state == SynReceived && flags.Has(wire.SYN) && !flags.Has(wire.RST) && seq == c.rcv.irs {
		// The SYN again, or the peer's half of a simultaneous open.
		if flags.Has(wire.ACK) && s.Ack() == c.snd.nxt {
			c.snd.una = c.snd.nxt
			c.snd.wnd, c.snd.wl1, c.snd.wl2 = int(s.Window()), seq, s.Ack()
			c.established()
			c.ack.due = true
			return
		}
		c.snd.synDue = true
		return
	}
	if !c.acceptable(seq, s) {
		if flags.Has(wire.RST) {
			return
		}
		c.drop("outside the window", s)
		c.duplicate(seq, s)
		if c.state == TimeWait && flags.Has(wire.FIN) {
			c.timer[timerLinger] = now.Add(c.cfg.timeWait()) // RFC 9293 §3.10.7.4, fifth
		}
		c.owe(seq, s)
		return
	}
	if flags.Has(wire.RST) {
		// RFC 5961 §3.2.
		if seq == c.rcv.nxt {
			c.reset()
		} else {
			c.challengeACK("RST in the window")
		}
		return
	}
	if flags.Has(wire.SYN) {
		// RFC 5961 §4.2.
		c.challengeACK("SYN in the window")
		return
	}
	if !flags.Has(wire.ACK) {
		return
	}
	if c.timer[timerKeepAlive] != clock.Never {
		c.touchKeepAlive()
	}
	if c.opt.ts && o.Timestamps && !wire.Before(o.TSVal, c.opt.tsRecent) && !wire.Before(c.ack.last, seq) {
		// RFC 7323 §4.3.
		c.opt.tsRecent, c.opt.tsRecentAt = o.TSVal, now
	}
	if !c.inputACK(s, &o, len(payload) > 0 || flags.Has(wire.FIN)) {
		return
	}
	if c.state == Closed {
		return
	}
	if flags.Has(wire.URG) {
		c.inputUrgent(s)
	}
	if c.opt.ecn {
		if flags.Has(wire.CWR) {
			c.ack.echoCE = false
		}
		if ce {
			if !c.ack.echoCE {
				c.ack.due = true
			}
			c.ack.echoCE = true
		}
	}
	if len(payload) > 0 || flags.Has(wire.FIN) {
		c.inputData(seq, payload, flags.Has(wire.FIN))
	}
}

// InputOwned is Input for a segment whose payload may be kept where it is: kept
// tells that owner is then this connection's to release.
func (c *Conn) InputOwned(now clock.Time, s wire.Segment, ce bool, owner Owner) (kept bool) {
	c.rcv.owner = owner
	c.Input(now, s, ce)
	kept = c.rcv.owner == nil
	c.rcv.owner = nil
	return kept
}

func (c *Conn) drop(why string, s wire.Segment) {
	c.note(Event{Kind: SegmentDropped, Why: why, From: s.Seq(), To: s.Seq() + uint32(len(s.Payload()))})
}

// owe sends the ACK that an unacceptable segment asks for; to one without data
// only so often, lest two hosts that disagree acknowledge each other for ever.
func (c *Conn) owe(seq uint32, s wire.Segment) {
	if len(s.Payload()) == 0 && !s.Flags().Any(wire.SYN|wire.FIN) && seq != c.rcv.nxt-1 {
		c.challengeACK("out of the window")
		return
	}
	c.ack.due = true
}

// inputSynSent is RFC 9293 §3.10.7.3.
func (c *Conn) inputSynSent(s wire.Segment) {
	flags := s.Flags()
	o := s.Options()
	if flags.Has(wire.ACK) {
		if ack := s.Ack(); !wire.Before(c.snd.iss, ack) || wire.Before(c.snd.nxt, ack) {
			if !flags.Has(wire.RST) {
				h := Outgoing{Header: wire.Header{Seq: ack, Flags: wire.RST}}
				c.out.SendSegment(c, &h, nil, nil)
			}
			return
		}
	}
	if flags.Has(wire.RST) {
		if flags.Has(wire.ACK) {
			c.fail(ErrRefused)
		}
		return
	}
	if !flags.Has(wire.SYN) {
		return
	}
	ecn := c.opt.ecn
	if flags.Has(wire.ACK) && c.tries.timeouts == 0 {
		c.rtt.sample(c.now.Sub(c.snd.sentAt), c.now, c.cfg)
	}
	c.takeSYN(s, &o)
	if !flags.Has(wire.ACK) {
		// Simultaneous open (RFC 9293 §3.5).
		c.opt.ecn = ecn && flags.Has(wire.ECE|wire.CWR)
		c.become(SynReceived)
		c.snd.synDue = true
		c.timer[timerRTO] = c.now.Add(c.rto())
		return
	}
	c.opt.ecn = ecn && flags&(wire.ECE|wire.CWR) == wire.ECE
	if o.Timestamps && c.opt.ts && c.tries.timeouts > 0 {
		if ms := int32(c.tsNow() - o.TSEcr); ms > 0 {
			c.rtt.sample(time.Duration(ms)*time.Millisecond, c.now, c.cfg)
		}
	}
	c.snd.una = s.Ack()
	c.snd.wl2 = c.snd.una
	c.established()
	c.ack.due = true
}

// acceptable is the sequence number check of RFC 9293 §3.10.7.4.
func (c *Conn) acceptable(seq uint32, s wire.Segment) bool {
	n := uint32(len(s.Payload()))
	if s.Flags().Has(wire.FIN) {
		n++
	}
	wnd := c.rcv.edge - c.rcv.nxt
	switch {
	case n == 0 && wnd == 0:
		return seq == c.rcv.nxt
	case n == 0:
		return !wire.Before(seq, c.rcv.nxt) && wire.Before(seq, c.rcv.edge) || seq == c.rcv.nxt
	case wnd == 0:
		// A probe of one octet; and a FIN needs no room.
		return seq == c.rcv.nxt && len(s.Payload()) == 0
	}
	return wire.Before(seq, c.rcv.edge) && wire.Before(c.rcv.nxt, seq+n)
}

// challengeACK answers what may be forged, a bounded number of times a second
// (RFC 5961 §7).
func (c *Conn) challengeACK(why string) {
	if c.now.Sub(c.ack.challenge.at) >= time.Second {
		c.ack.challenge.at, c.ack.challenge.n = c.now, 0
	}
	if c.ack.challenge.n++; c.ack.challenge.n > 10 {
		return
	}
	c.note(Event{Kind: ChallengeACK, Why: why})
	c.ack.due = true
}

// reset is a valid RST (RFC 9293 §3.10.7.4, second).
func (c *Conn) reset() {
	switch c.state {
	case SynReceived:
		c.fail(ErrRefused)
	case TimeWait, Closing, LastAck:
		// What was to be done is done; RFC 1337 lets TIME-WAIT ignore it.
		if c.state == TimeWait {
			return
		}
		c.shutdown()
	default:
		c.fail(ErrReset)
	}
}

// inputACK is RFC 9293 §3.10.7.4, fifth. It returns false when the segment is
// not to be looked at further.
func (c *Conn) inputACK(s wire.Segment, o *wire.Options, carries bool) bool {
	ack := s.Ack()
	if c.state == SynReceived {
		if !wire.Before(c.snd.una, ack) || wire.Before(c.snd.nxt, ack) {
			h := Outgoing{Header: wire.Header{Seq: ack, Flags: wire.RST}}
			c.out.SendSegment(c, &h, nil, nil)
			return false
		}
		if c.tries.timeouts == 0 && c.snd.sentAt != 0 {
			c.rtt.sample(c.now.Sub(c.snd.sentAt), c.now, c.cfg)
		}
		c.snd.una = ack
		c.snd.wnd, c.snd.wl1, c.snd.wl2 = int(s.Window())<<c.opt.shiftOut, s.Seq(), ack
		c.snd.maxWnd = max(c.snd.maxWnd, c.snd.wnd)
		if c.opt.ts && o.Timestamps {
			c.opt.tsRecent, c.opt.tsRecentAt = o.TSVal, c.now
		}
		c.established()
		return true
	}
	// RFC 5961 §5.2.
	if wire.Before(c.snd.nxt, ack) {
		c.drop("acknowledges what was not sent", s)
		c.challengeACK("ACK of the future")
		return false
	}
	if wire.Before(ack, c.snd.una) {
		if wire.Before(ack, c.snd.una-uint32(max(c.snd.maxWnd, 1))) {
			c.drop("acknowledges what is long gone", s)
			c.challengeACK("ACK of the past")
			return false
		}
		if o.NSACK > 0 && c.opt.sack {
			c.ackReceived(c.snd.una, o, false, false)
		}
		return true
	}
	wnd := int(s.Window()) << c.opt.shiftOut
	dup := ack == c.snd.una && !carries && wnd == c.snd.wnd
	if wire.Before(c.snd.wl1, s.Seq()) || c.snd.wl1 == s.Seq() && !wire.Before(ack, c.snd.wl2) {
		grown := wnd > c.snd.wnd
		c.snd.wnd, c.snd.wl1, c.snd.wl2 = wnd, s.Seq(), ack
		c.snd.maxWnd = max(c.snd.maxWnd, wnd)
		if grown || wnd > 0 {
			if c.timer[timerPersist] != clock.Never && wnd > 0 {
				c.timer[timerPersist], c.tries.probes = clock.Never, 0
				if c.Unsent() > 0 && wnd < min(c.path.mss, c.Unsent()) {
					c.armPersist()
				}
			}
			if c.snd.shut && wnd > 0 {
				c.snd.shut = false
				c.note(Event{Kind: WindowOpened, New: wnd})
			}
		}
	}
	if c.tries.probes > 0 {
		c.tries.stuckSince = c.now // it answers: RFC 9293 §3.8.6.1 keeps the connection
	}
	c.ackReceived(ack, o, dup, s.Flags().Has(wire.ECE))
	if c.snd.finSent && c.snd.una == c.snd.nxt {
		c.finAcked()
	}
	return true
}

// finAcked: the peer has our FIN.
func (c *Conn) finAcked() {
	switch c.state {
	case FinWait1:
		c.become(FinWait2)
		if c.orphan {
			c.timer[timerLinger] = c.now.Add(c.cfg.finWait2())
		}
	case Closing:
		c.timeWait()
	case LastAck:
		c.shutdown()
	}
}

// timeWait enters TIME-WAIT (RFC 9293 §3.3.2).
func (c *Conn) timeWait() {
	c.become(TimeWait)
	c.timer.stop(timerKeepAlive, timerPersist, timerRTO, timerTLP, timerRACK)
	c.timer[timerLinger] = c.now.Add(c.cfg.timeWait())
	c.snd.buf.release(c.cfg.Buffers)
	c.board.records = nil
	c.rcv.ooo = nil
}

// TimeWaitReuse tells whether a SYN may start a new connection on the same
// four numbers (RFC 9293 §3.10.7.4, RFC 6191 §2): when it is certain to be
// newer than anything of the old one.
func (c *Conn) TimeWaitReuse(s wire.Segment) bool {
	if c.state != TimeWait || !s.Flags().Has(wire.SYN) || s.Flags().Any(wire.RST|wire.ACK) {
		return false
	}
	o := s.Options()
	if c.opt.ts && o.Timestamps {
		if wire.Before(c.opt.tsRecent, o.TSVal) {
			return true
		}
		return o.TSVal == c.opt.tsRecent && wire.Before(c.rcv.nxt, s.Seq())
	}
	// Timestamps that are new say that the connection is, too.
	return wire.Before(c.rcv.nxt, s.Seq()) || o.Timestamps && !c.cfg.NoTimestamps && !c.opt.ts
}

// Unreachable is told by ICMP, or by the host when the next hop does not answer.
// It ends an open that is under way (RFC 5461 §4.1, which is what hosts do;
// RFC 9293 §3.9.2.2 would go on trying); later it is only a hint, for when
// nothing gets through any more. quoted is the sequence number that the ICMP
// message quotes: one that is not under way is forged or late (RFC 5927 §4).
func (c *Conn) Unreachable(now clock.Time, quoted uint32, err error) {
	c.now = now
	if wire.Before(quoted, c.snd.una) || wire.Before(c.snd.nxt, quoted) || c.state == Closed {
		return
	}
	if c.state == SynSent {
		c.fail(err)
		return
	}
	c.soft = err
}
