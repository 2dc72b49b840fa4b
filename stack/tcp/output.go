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
	if c.ackNow {
		c.sendACK()
	}
	return c.deadline()
}

func (c *Conn) deadline() clock.Time {
	d := earlier(earlier(c.rtoAt, c.tlpAt), earlier(c.rackAt, c.persistAt))
	d = earlier(d, earlier(earlier(c.keepAt, c.lingerAt), c.ackAt))
	if c.paceAt > c.now {
		d = earlier(d, c.paceAt)
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
	if c.synDue {
		c.sendSYN()
	}
	if !c.canSend() {
		return
	}
	if c.lostBytes > 0 {
		c.retransmitLost()
	}
	if c.Unsent() == 0 && (!c.finQueued || c.finSent) {
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
		fin := c.finQueued && !c.finSent
		if unsent == 0 && !fin {
			break
		}
		if c.paceAt > c.now {
			break
		}
		usable := int(int32(c.una + uint32(c.wnd) - c.nxt))
		room := c.win.Cwnd - c.inFlight()
		if unsent > 0 && usable <= 0 {
			c.windowShut()
			break
		}
		if room <= 0 {
			c.limitedAt = c.nxt
			break
		}
		most := c.mss - c.sackRoom()
		n := min(unsent, most)
		if room < n && c.inFlight() > 0 {
			c.limitedAt = c.nxt
			break
		}
		if unsent > most && c.gso > most {
			// A segment that the card will cut: whole segments only.
			n = min(unsent, c.gso, usable, max(room, most))
			if n > most {
				n -= n % most
			}
		}
		if n > usable {
			// RFC 9293 §3.8.6.2.1: no silly window: a part only if it is at
			// least half of what the peer ever offered.
			if usable < c.mss && usable < c.maxWnd/2 {
				if c.inFlight() == 0 {
					c.armPersist()
				}
				break
			}
			n = usable
		}
		last := n == unsent
		if n > 0 && n < most && last && !fin && !c.noDelay && wire.Before(c.una, c.small) {
			// Nagle (RFC 9293 §3.7.4), as Minshall and Linux have it: one
			// small segment at a time.
			if !c.held {
				c.held = true
				c.note(Event{Kind: NagleHeld, From: c.nxt, To: c.nxt + uint32(n)})
			}
			break
		}
		if p := c.probeSize(); p > 0 {
			c.sendProbe(p)
			sent = true
			continue
		}
		if n < most {
			c.small = c.nxt + uint32(n)
		}
		c.held = false
		c.sendData(c.nxt, n, fin && last, nil)
		sent = true
	}
	if sent {
		c.persistAt, c.probes = clock.Never, 0
		c.armLoss()
	}
}

// sendData sends n bytes at seq: new ones, or those of record r again.
func (c *Conn) sendData(seq uint32, n int, fin bool, r *record) {
	a, b := c.send.peek(int(seq-c.sendSeq), n)
	h := Outgoing{Header: wire.Header{Seq: seq, Flags: wire.ACK}}
	end := seq + uint32(n)
	if fin {
		h.Flags |= wire.FIN
		end++
	}
	if n > 0 && (end == c.sendSeq+uint32(c.send.n) || fin) {
		h.Flags |= wire.PSH
	}
	if c.urgentOut && int32(c.urgent-seq) > 0 {
		h.Flags |= wire.URG
		h.Urgent = uint16(min(c.urgent-seq, 0xffff))
	}
	// RFC 3168 §6.1.2, §6.1.5: new data is marked, retransmissions are not.
	if c.ecn && r == nil {
		h.ECT = n > 0
		if c.cwrOut && n > 0 {
			h.Flags |= wire.CWR
			c.cwrOut = false
		}
	}
	if most := c.mss - c.sackRoom(); n > most && !c.probing {
		h.Segment = most
	}
	c.acknowledge(&h)
	if r == nil {
		r = c.track(seq, end, fin)
	}
	c.stampRecord(r)
	if c.una == c.nxt {
		c.stuckSince = c.now
	}
	if wire.Before(c.nxt, end) {
		c.nxt = end
		if fin {
			c.finSent = true
		}
	}
	c.sentAt = c.now
	if c.quick <= 0 || c.ackSince != 0 && c.now.Sub(c.ackSince) < 40*time.Millisecond {
		c.pingpong = true
	}
	c.pace(n)
	c.segmentsOut++
	c.out.SendSegment(c, &h, a, b)
}

// acknowledge fills in what every segment behind the SYN tells: ACK, window,
// timestamps, SACK blocks, ECE. The ACK that was owed is paid by it.
func (c *Conn) acknowledge(h *Outgoing) {
	h.Ack = c.rcvNxt
	h.Window = uint16(c.window() >> c.shiftIn)
	if c.ceSeen {
		h.Flags |= wire.ECE
	}
	if c.ts {
		c.timestampOption(h)
	}
	if c.sack && (len(c.ooo) > 0 || c.hasDSACK) {
		c.sackOption(h)
		c.hasDSACK = false // RFC 2883 §4: each is told once
	}
	c.lastAckSent = c.rcvNxt
	c.ackNow, c.unacked, c.ackAt = false, 0, clock.Never
}

// window moves the right edge of the receive window, which never comes back
// (RFC 9293 §3.8.6.2.2), and returns its size.
func (c *Conn) window() int {
	have := int(int32(c.edge - c.rcvNxt))
	want := max(c.rcvLimit-c.recv.n, 0)
	if most := 0xffff << c.shiftIn; want > most {
		want = most
	}
	// Whole units of the scale, or the edge announced would come back.
	want &^= 1<<c.shiftIn - 1
	if want > have && (want-have >= min(c.rcvLimit/2, c.rcvMSS()) || have <= 0) {
		if have <= 0 && want < min(c.rcvLimit/2, c.rcvMSS()) {
			return max(have, 0)
		}
		c.edge = c.rcvNxt + uint32(want)
		return want
	}
	// The field counts in units: round what is left up, so as not to take
	// back what was announced.
	if have > 0 {
		u := 1<<c.shiftIn - 1
		if r := (have + u) &^ u; r <= c.rcvLimit-c.recv.n && r <= 0xffff<<c.shiftIn {
			c.edge = c.rcvNxt + uint32(r)
			return r
		}
	}
	return max(have, 0)
}

// sendACK sends a segment without data.
func (c *Conn) sendACK() {
	if c.state == Closed || c.state == SynSent || c.state == Listen {
		c.ackNow = false
		return
	}
	if c.quick > 0 {
		c.quick--
	}
	h := Outgoing{Header: wire.Header{Seq: c.nxt, Flags: wire.ACK}}
	c.acknowledge(&h)
	c.out.SendSegment(c, &h, nil, nil)
}

// sendSYN sends the SYN or SYN-ACK.
func (c *Conn) sendSYN() {
	c.synDue = false
	h := Outgoing{Header: wire.Header{Seq: c.iss, Flags: wire.SYN}}
	passive := c.state == SynReceived
	if passive {
		h.Flags |= wire.ACK
		h.Ack = c.rcvNxt
	}
	m := c.announced()
	h.Option(wire.OptMSS, byte(m>>8), byte(m))
	if passive && c.sack || !passive && !c.cfg.NoSACK {
		h.Option(wire.OptSACKPermitted)
	}
	if passive && c.ts || !passive && !c.cfg.NoTimestamps {
		b := h.Options[h.NOptions:]
		b[0], b[1] = wire.OptTimestamps, 10
		binary.BigEndian.PutUint32(b[2:], c.tsNow())
		ecr := uint32(0)
		if passive {
			ecr = c.tsRecent
		}
		binary.BigEndian.PutUint32(b[6:], ecr)
		h.NOptions += 10
	}
	if passive && c.scaled || !passive && !c.cfg.NoWindowScale {
		h.Option(wire.OptWindowScale, c.shiftIn)
	}
	h.Pad()
	// RFC 3168 §6.1.1. After a retry without an answer, ask without ECN:
	// some drop such SYNs.
	if c.ecn {
		switch {
		case passive:
			h.Flags |= wire.ECE
		case c.retries < 2:
			h.Flags |= wire.ECE | wire.CWR
		default:
			c.ecn = false
		}
	}
	h.Window = uint16(min(c.rcvLimit, 0xffff))
	if c.retries == 0 {
		c.stuckSince, c.sentAt = c.now, c.now
	}
	c.out.SendSegment(c, &h, nil, nil)
}

// pace keeps the sender to the rate that pacing allows.
func (c *Conn) pace(n int) {
	rate := 0.0
	switch {
	case c.model != nil:
		rate = c.model.PacingRate()
	case c.cfg.Pacing && c.rtt.srtt > 0:
		// Twice the rate of the window while it doubles, else a fifth more.
		rate = float64(c.win.Cwnd) / c.rtt.srtt.Seconds() * 1.2
		if c.win.Cwnd < c.win.Ssthresh {
			rate = float64(c.win.Cwnd) / c.rtt.srtt.Seconds() * 2
		}
	}
	if rate <= 0 {
		c.paceAt = 0
		return
	}
	// A millisecond's worth may go out together.
	const quantum = clock.Time(time.Millisecond)
	c.paceAt = max(c.paceAt, c.now-quantum) + clock.Time(float64(n+wire.MinHeader)/rate*1e9)
}

// restartAfterIdle brings the window down to the initial one when nothing was
// sent for an RTO: what the path can take is not known any more
// (RFC 5681 §4.1).
func (c *Conn) restartAfterIdle() {
	if c.una != c.nxt || c.sentAt == 0 || c.cfg.NoSlowStartAfterIdle || c.model != nil || c.now.Sub(c.sentAt) <= c.rto() {
		return
	}
	iw := c.initialWindow()
	if c.win.Cwnd > iw {
		old := c.win.Cwnd
		// RFC 7661 §4.4: three quarters of what was reached stays known.
		c.win.Ssthresh = max(c.win.Ssthresh, c.win.Cwnd*3/4)
		c.win.Cwnd = iw
		c.note(Event{Kind: IdleRestarted, Old: old, New: iw, Wait: c.now.Sub(c.sentAt)})
	}
	c.sentAt = c.now
}
