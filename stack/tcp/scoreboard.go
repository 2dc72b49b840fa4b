package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

type record struct {
	seq, end    uint32
	sent        clock.Time // last
	delivered   uint64     // Conn.delivered at that time
	deliveredAt clock.Time
	firstSent   clock.Time
	nth         uint32 // transmission of the connection
	tx          uint8
	flags       recordFlags
}

type recordFlags uint8

const (
	recSACKed recordFlags = 1 << iota
	recLost
	recFIN
	recAppLimited
	recProbe // of a larger MTU
)

func (r *record) len() int { return int(r.end - r.seq) }

// inFlight is the pipe of RFC 6675 in bytes: sent, and neither delivered nor
// lost.
func (c *Conn) inFlight() int {
	n := int(c.nxt-c.una) - c.sackBytes - c.lostBytes
	if c.dupBytes > 0 {
		n = max(n-c.dupBytes, 0)
	}
	if c.sendSeq != c.una && c.state <= SynReceived {
		return 0 // the SYN
	}
	return n
}

// track adds a record for new data.
func (c *Conn) track(seq, end uint32, fin bool) *record {
	if c.sentHead > 0 && len(c.sent) == cap(c.sent) {
		n := copy(c.sent, c.sent[c.sentHead:])
		c.sent = c.sent[:n]
		c.lostFrom -= c.sentHead
		c.sentHead = 0
	}
	if c.una == c.nxt {
		// RFC 9438 §4.2 and delivery rates: a new flight begins.
		c.firstSent, c.deliveredAt = c.now, c.now
	}
	c.sent = append(c.sent, record{seq: seq, end: end})
	r := &c.sent[len(c.sent)-1]
	if fin {
		r.flags = recFIN
	}
	if c.probing {
		r.flags |= recProbe
	}
	return r
}

// stampRecord notes a transmission.
func (c *Conn) stampRecord(r *record) {
	r.sent = c.now
	c.transmissions++
	r.nth = c.transmissions
	r.tx = min(r.tx+1, 250)
	r.delivered, r.deliveredAt, r.firstSent = c.delivered, c.deliveredAt, c.firstSent
	if c.Unsent() == 0 && c.lostBytes == 0 && c.inFlight() < c.win.Cwnd {
		r.flags |= recAppLimited
	} else {
		r.flags &^= recAppLimited
	}
	if c.mode == modeRecovery || c.mode == modeCWR {
		c.prr.out += r.len()
	}
}

// splitAt cuts record i so that one begins at seq.
func (c *Conn) splitAt(i int, seq uint32) {
	r := c.sent[i]
	c.sent = append(c.sent, record{})
	copy(c.sent[i+2:], c.sent[i+1:])
	c.sent[i+1] = r
	c.sent[i+1].seq = seq
	c.sent[i].end = seq
	c.sent[i].flags &^= recFIN
}

// markLost marks record i, which will be sent again.
func (c *Conn) markLost(i int, why string) {
	r := &c.sent[i]
	if r.flags&(recLost|recSACKed) != 0 {
		return
	}
	if r.flags&recProbe != 0 {
		r.flags &^= recProbe
		c.probeLost()
	}
	r.flags |= recLost
	c.lostBytes += r.len()
	if i < c.lostFrom || c.lostFrom < c.sentHead {
		c.lostFrom = i
	}
	c.note(Event{Kind: LossMarked, From: r.seq, To: r.end, Why: why})
}

// retransmitLost sends again what is lost, as the window allows.
func (c *Conn) retransmitLost() {
	for i := max(c.lostFrom, c.sentHead); i < len(c.sent) && c.lostBytes > 0; i++ {
		if c.sent[i].flags&recLost == 0 {
			continue
		}
		c.lostFrom = i
		room := c.win.Cwnd - c.inFlight()
		if room <= 0 || c.paceAt > c.now {
			return
		}
		if most := c.mss - c.sackRoom(); c.sent[i].len() > most {
			// It was larger when it was sent: the card cut it, or the path's
			// MTU has become known since.
			c.splitAt(i, c.sent[i].seq+uint32(most))
		}
		if room < c.sent[i].len() && c.inFlight() > 0 {
			return
		}
		c.retransmit(i, modeNames[c.mode])
	}
}

// retransmit sends record i again.
func (c *Conn) retransmit(i int, why string) {
	r := &c.sent[i]
	if r.flags&recLost != 0 {
		r.flags &^= recLost
		c.lostBytes -= r.len()
	}
	c.retransmitted++
	if c.undo.armed && c.mode != modeOpen {
		c.undo.retrans++
		if !c.undo.stamped {
			c.undo.stamped, c.undo.stamp = true, c.tsNow()
		}
	}
	c.note(Event{Kind: Retransmitted, From: r.seq, To: r.end, Why: why})
	n := r.len()
	if r.flags&recFIN != 0 {
		n--
	}
	c.sendData(r.seq, n, r.flags&recFIN != 0, r)
	if c.rtoAt == clock.Never {
		c.rtoAt = c.now.Add(c.rto())
	}
}

// ackInfo gathers what one ACK told.
type ackInfo struct {
	delivered int
	rtt       time.Duration
	newest    record // most recently sent of those delivered
	any       bool
	sacked    bool // something was newly SACKed
	lost      int
	dsack     bool
	advanced  bool   // una moved
	again     bool   // delivered something that was sent more than once
	fack      uint32 // rack.fack before it: within one ACK nothing is out of order
}

// deliver counts a record as delivered, once.
func (c *Conn) deliver(r *record, a *ackInfo) {
	n := r.len()
	a.delivered += n
	c.delivered += uint64(n)
	c.deliveredAt = c.now
	if r.flags&recProbe != 0 {
		c.probeDelivered()
	}
	if r.tx == 1 {
		// Karn's rule: only what was sent once measures the round trip.
		if d := c.now.Sub(r.sent); a.rtt == 0 || d < a.rtt {
			a.rtt = max(d, 1)
		}
		if r.len() >= c.mss && c.mss > baseSegment {
			c.mtu.proved = true
		}
		// RFC 8985 §6.2 step 3.
		if wire.Before(r.end, a.fack) && !c.rack.reordering && c.sack {
			c.rack.reordering = true
			c.note(Event{Kind: ReorderingSeen, From: r.seq, To: r.end})
		}
	}
	if r.tx > 1 {
		a.again = true
	}
	if !a.any || sentAfter(r.nth, r.end, a.newest.nth, a.newest.end) {
		a.newest, a.any = *r, true
	}
	if wire.Before(c.rack.fack, r.end) {
		c.rack.fack = r.end
	}
}

// sentAfter is the order of transmission of RFC 8985 §6.2 step 2. It goes by
// counting: in virtual time a retransmission and new data leave at one instant,
// and by their sequence numbers the new data would seem to be later.
func sentAfter(n1, end1, n2, end2 uint32) bool {
	return wire.Before(n2, n1) || n1 == n2 && wire.Before(end2, end1)
}

// cumulative takes what ack acknowledges off the scoreboard.
func (c *Conn) cumulative(ack uint32, a *ackInfo) {
	for c.sentHead < len(c.sent) {
		r := &c.sent[c.sentHead]
		if wire.Before(ack, r.end) {
			if !wire.Before(r.seq, ack) {
				break
			}
			// A part of a record.
			part := *r
			part.end = ack
			part.flags &^= recFIN
			c.settle(&part, a)
			r.seq = ack
			break
		}
		c.settle(r, a)
		c.sentHead++
	}
	if c.sentHead == len(c.sent) {
		c.sent, c.sentHead, c.lostFrom = c.sent[:0], 0, 0
		if cap(c.sent) > 64 {
			c.sent = nil
		}
	}
}

func (c *Conn) settle(r *record, a *ackInfo) {
	if r.flags&recSACKed != 0 {
		c.sackBytes -= r.len()
		return
	}
	if r.flags&recLost != 0 {
		c.lostBytes -= r.len()
	}
	c.deliver(r, a)
}

// selective marks what a SACK block reports.
func (c *Conn) selective(b wire.Block, a *ackInfo) {
	if !wire.Before(b.From, b.To) || wire.Before(c.nxt, b.To) || !wire.Before(c.una, b.To) {
		return
	}
	lo, hi := c.sentHead, len(c.sent)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); !wire.Before(b.From, c.sent[m].end) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for i := lo; i < len(c.sent) && wire.Before(c.sent[i].seq, b.To); i++ {
		if c.sent[i].flags&recSACKed != 0 {
			continue
		}
		if wire.Before(c.sent[i].seq, b.From) {
			c.splitAt(i, b.From)
			continue
		}
		if wire.Before(b.To, c.sent[i].end) {
			c.splitAt(i, b.To)
		}
		r := &c.sent[i]
		if r.flags&recLost != 0 {
			r.flags &^= recLost
			c.lostBytes -= r.len()
		}
		c.deliver(r, a)
		r.flags |= recSACKed
		c.sackBytes += r.len()
		a.sacked = true
	}
}

// dsackBlock tells whether the first SACK block reports a duplicate
// (RFC 2883 §4).
func (c *Conn) dsackBlock(ack uint32, o *wire.Options) bool {
	if o.NSACK == 0 {
		return false
	}
	b := o.SACK[0]
	if !wire.Before(b.From, b.To) {
		return false
	}
	if wire.Before(b.From, ack) {
		return !wire.Before(ack, b.To)
	}
	return o.NSACK > 1 && !wire.Before(b.From, o.SACK[1].From) && !wire.Before(o.SACK[1].To, b.To)
}

// firstToMSS cuts the first record to one segment.
func (c *Conn) firstToMSS() {
	if r := &c.sent[c.sentHead]; r.len() > c.mss {
		c.splitAt(c.sentHead, r.seq+uint32(c.mss))
	}
}
