package tcp

import (
	"encoding/binary"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Poll does what is due at now: timers, retransmissions, new data, an ACK. It
// returns when it wants to be called again, at the latest.
func (c *Conn) Poll(now clock.Time) clock.Time {
	c.now = now
	c.fire()
	c.transmit()
	if c.ack.due {
		c.sendACK()
	}
	return c.deadline()
}

func (c *Conn) deadline() clock.Time {
	d := c.timer.first()
	if c.cc.paceAt > c.now {
		d = min(d, c.cc.paceAt)
	}
	return d
}

// canSend tells that data may be sent or sent again in this state.
func (c *Conn) canSend() bool {
	switch c.state {
	case Established, CloseWait, FinWait1, Closing, LastAck:
		return true
	}
	return false
}

// transmit sends what the windows allow: first what was lost, then new data.
func (c *Conn) transmit() {
	if c.snd.synDue {
		c.sendSYN()
	}
	if !c.canSend() {
		return
	}
	if c.board.lost > 0 {
		c.retransmitLost()
	}
	if c.Unsent() == 0 && (!c.snd.finQueued || c.snd.finSent) {
		return
	}
	c.restartAfterIdle()
	c.sendNew()
}

// sendNew sends data that was never sent, and the FIN behind it.
func (c *Conn) sendNew() {
	sent := false
	for {
		unsent := c.Unsent()
		fin := c.snd.finQueued && !c.snd.finSent
		if unsent == 0 && !fin {
			break
		}
		if c.cc.paceAt > c.now {
			break
		}
		usable := int(int32(c.snd.una + uint32(c.snd.wnd) - c.snd.nxt))
		room := c.win.Cwnd - c.inFlight()
		if unsent > 0 && usable <= 0 {
			c.windowShut()
			break
		}
		if room <= 0 {
			c.cc.limitedAt = c.snd.nxt
			break
		}
		most := c.path.mss - c.sackRoom()
		n := min(unsent, most)
		if room < n && c.inFlight() > 0 {
			c.cc.limitedAt = c.snd.nxt
			break
		}
		if unsent > most && c.path.gso > most {
			// A segment that the card will cut: whole segments only.
			n = min(unsent, c.path.gso, usable, max(room, most))
			if n > most {
				n -= n % most
			}
		}
		if n > usable {
			// RFC 9293 §3.8.6.2.1: no silly window: a part only if it is at
			// least half of what the peer ever offered.
			if usable < c.path.mss && usable < c.snd.maxWnd/2 {
				if c.inFlight() == 0 {
					c.armPersist()
				}
				break
			}
			n = usable
		}
		last := n == unsent
		if n > 0 && n < most && last && !fin && !c.noDelay && wire.Before(c.snd.una, c.snd.small) {
			// Nagle (RFC 9293 §3.7.4), as Minshall and Linux have it: one
			// small segment at a time.
			if !c.snd.held {
				c.snd.held = true
				c.note(Event{Kind: NagleHeld, From: c.snd.nxt, To: c.snd.nxt + uint32(n)})
			}
			break
		}
		if p := c.probeSize(); p > 0 {
			c.sendProbe(p)
			sent = true
			continue
		}
		if n < most {
			c.snd.small = c.snd.nxt + uint32(n)
		}
		c.snd.held = false
		c.sendData(c.snd.nxt, n, fin && last, nil)
		sent = true
	}
	if sent {
		c.timer[timerPersist], c.tries.probes = clock.Never, 0
		c.armLoss()
	}
}

// sendData sends n bytes at seq: new ones, or those of record r again.
func (c *Conn) sendData(seq uint32, n int, fin bool, r *record) {
	a, b := c.snd.buf.peek(int(seq-c.snd.bufSeq), n)
	h := Outgoing{Header: wire.Header{Seq: seq, Flags: wire.ACK}}
	end := seq + uint32(n)
	if fin {
		h.Flags |= wire.FIN
		end++
	}
	if n > 0 && (end == c.snd.bufSeq+uint32(c.snd.buf.n) || fin) {
		h.Flags |= wire.PSH
	}
	if c.snd.urgentOut && int32(c.snd.urgent-seq) > 0 {
		h.Flags |= wire.URG
		h.Urgent = uint16(min(c.snd.urgent-seq, 0xffff))
	}
	// RFC 3168 §6.1.2, §6.1.5: new data is marked, retransmissions are not.
	if c.opt.ecn && r == nil {
		h.ECT = n > 0
		if c.cc.cwr && n > 0 {
			h.Flags |= wire.CWR
			c.cc.cwr = false
		}
	}
	if most := c.path.mss - c.sackRoom(); n > most && !c.path.probing {
		h.Segment = most
	}
	c.acknowledge(&h)
	if r == nil {
		r = c.track(seq, end, fin)
	}
	c.stampRecord(r)
	if c.snd.una == c.snd.nxt {
		c.tries.stuckSince = c.now
	}
	if wire.Before(c.snd.nxt, end) {
		c.snd.nxt = end
		if fin {
			c.snd.finSent = true
		}
	}
	c.snd.sentAt = c.now
	if c.ack.quick <= 0 || c.ack.since != 0 && c.now.Sub(c.ack.since) < 40*time.Millisecond {
		c.ack.pingpong = true
	}
	c.pace(n)
	c.out.SendSegment(c, &h, a, b)
}

// acknowledge fills in what every segment behind the SYN tells: ACK, window,
// timestamps, SACK blocks, ECE. The ACK that was owed is paid by it.
func (c *Conn) acknowledge(h *Outgoing) {
	h.Ack = c.rcv.nxt
	h.Window = uint16(c.window() >> c.opt.shiftIn)
	if c.ack.echoCE {
		h.Flags |= wire.ECE
	}
	if c.opt.ts {
		c.timestampOption(h)
	}
	if c.opt.sack && (len(c.rcv.ooo) > 0 || c.rcv.hasDSACK) {
		c.sackOption(h)
		c.rcv.hasDSACK = false // RFC 2883 §4: each is told once
	}
	c.ack.last = c.rcv.nxt
	c.ack.due, c.ack.unacked, c.timer[timerACK] = false, 0, clock.Never
}

// window moves the right edge of the receive window, which never comes back
// (RFC 9293 §3.8.6.2.2), and returns its size.
func (c *Conn) window() int {
	have := int(int32(c.rcv.edge - c.rcv.nxt))
	want := max(c.rcv.limit-c.rcv.buf.n, 0)
	if most := 0xffff << c.opt.shiftIn; want > most {
		want = most
	}
	// Whole units of the scale, or the edge announced would come back.
	want &^= 1<<c.opt.shiftIn - 1
	if want > have && (want-have >= min(c.rcv.limit/2, c.rcvMSS()) || have <= 0) {
		if have <= 0 && want < min(c.rcv.limit/2, c.rcvMSS()) {
			return max(have, 0)
		}
		c.rcv.edge = c.rcv.nxt + uint32(want)
		return want
	}
	// The field counts in units: round what is left up, so as not to take
	// back what was announced.
	if have > 0 {
		u := 1<<c.opt.shiftIn - 1
		if r := (have + u) &^ u; r <= c.rcv.limit-c.rcv.buf.n && r <= 0xffff<<c.opt.shiftIn {
			c.rcv.edge = c.rcv.nxt + uint32(r)
			return r
		}
	}
	return max(have, 0)
}

// sendACK sends a segment without data.
func (c *Conn) sendACK() {
	if c.state == Closed || c.state == SynSent || c.state == Listen {
		c.ack.due = false
		return
	}
	if c.ack.quick > 0 {
		c.ack.quick--
	}
	h := Outgoing{Header: wire.Header{Seq: c.snd.nxt, Flags: wire.ACK}}
	c.acknowledge(&h)
	c.out.SendSegment(c, &h, nil, nil)
}

// sendSYN sends the SYN or SYN-ACK.
func (c *Conn) sendSYN() {
	c.snd.synDue = false
	h := Outgoing{Header: wire.Header{Seq: c.snd.iss, Flags: wire.SYN}}
	passive := c.state == SynReceived
	if passive {
		h.Flags |= wire.ACK
		h.Ack = c.rcv.nxt
	}
	m := c.announced()
	h.Option(wire.OptMSS, byte(m>>8), byte(m))
	if passive && c.opt.sack || !passive && !c.cfg.NoSACK {
		h.Option(wire.OptSACKPermitted)
	}
	if passive && c.opt.ts || !passive && !c.cfg.NoTimestamps {
		b := h.Options[h.NOptions:]
		b[0], b[1] = wire.OptTimestamps, 10
		binary.BigEndian.PutUint32(b[2:], c.tsNow())
		ecr := uint32(0)
		if passive {
			ecr = c.opt.tsRecent
		}
		binary.BigEndian.PutUint32(b[6:], ecr)
		h.NOptions += 10
	}
	if passive && c.opt.scaled || !passive && !c.cfg.NoWindowScale {
		h.Option(wire.OptWindowScale, c.opt.shiftIn)
	}
	h.Pad()
	// RFC 3168 §6.1.1. After a retry without an answer, ask without ECN:
	// some drop such SYNs.
	if c.opt.ecn {
		switch {
		case passive:
			h.Flags |= wire.ECE
		case c.tries.timeouts < 2:
			h.Flags |= wire.ECE | wire.CWR
		default:
			c.opt.ecn = false
		}
	}
	h.Window = uint16(min(c.rcv.limit, 0xffff))
	if c.tries.timeouts == 0 {
		c.tries.stuckSince, c.snd.sentAt = c.now, c.now
	}
	c.out.SendSegment(c, &h, nil, nil)
}

// pace keeps the sender to the rate that pacing allows.
func (c *Conn) pace(n int) {
	rate := 0.0
	switch {
	case c.cc.model != nil:
		rate = c.cc.model.PacingRate()
	case c.cfg.Pacing && c.rtt.srtt > 0:
		// Twice the rate of the window while it doubles, else a fifth more.
		rate = float64(c.win.Cwnd) / c.rtt.srtt.Seconds() * 1.2
		if c.win.Cwnd < c.win.Ssthresh {
			rate = float64(c.win.Cwnd) / c.rtt.srtt.Seconds() * 2
		}
	}
	if rate <= 0 {
		c.cc.paceAt = 0
		return
	}
	// A millisecond's worth may go out together.
	const quantum = clock.Time(time.Millisecond)
	c.cc.paceAt = max(c.cc.paceAt, c.now-quantum) + clock.Time(float64(n+wire.MinHeader)/rate*1e9)
}

// restartAfterIdle brings the window down to the initial one when nothing was
// sent for an RTO: what the path can take is not known any more
// (RFC 5681 §4.1).
func (c *Conn) restartAfterIdle() {
	if c.snd.una != c.snd.nxt || c.snd.sentAt == 0 || c.cfg.NoSlowStartAfterIdle || c.cc.model != nil || c.now.Sub(c.snd.sentAt) <= c.rto() {
		return
	}
	iw := c.initialWindow()
	if c.win.Cwnd > iw {
		old := c.win.Cwnd
		// RFC 7661 §4.4: three quarters of what was reached stays known.
		c.win.Ssthresh = max(c.win.Ssthresh, c.win.Cwnd*3/4)
		c.win.Cwnd = iw
		c.note(Event{Kind: IdleRestarted, Old: old, New: iw, Wait: c.now.Sub(c.snd.sentAt)})
	}
	c.snd.sentAt = c.now
}
