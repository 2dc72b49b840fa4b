package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// scoreboard is what a sender knows of the segments under way (RFC 2018,
// RFC 6675).
type scoreboard struct {
	records  []record // from head on: under way, in order of seq
	head     int
	sacked   int // bytes of them that were SACKed
	lost     int // bytes of them that are held lost and were not sent again yet
	dupBytes int // without SACK: what duplicate ACKs stand for
	dupAcks  int
	lostFrom int // no record before this index is lost

	transmissions uint32
	retransmitted uint64
	delivered     uint64
	deliveredAt   clock.Time
	firstSent     clock.Time
}

type record struct {
	seq, end    uint32
	sent        clock.Time // last
	delivered   uint64     // scoreboard.delivered at that time
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
	n := int(c.snd.nxt-c.snd.una) - c.board.sacked - c.board.lost
	if c.board.dupBytes > 0 {
		n = max(n-c.board.dupBytes, 0)
	}
	if c.snd.bufSeq != c.snd.una && c.state <= SynReceived {
		return 0 // the SYN
	}
	return n
}

// track adds a record for new data.
func (c *Conn) track(seq, end uint32, fin bool) *record {
	if c.board.head > 0 && len(c.board.records) == cap(c.board.records) {
		n := copy(c.board.records, c.board.records[c.board.head:])
		c.board.records = c.board.records[:n]
		c.board.lostFrom -= c.board.head
		c.board.head = 0
	}
	if c.snd.una == c.snd.nxt {
		// RFC 9438 §4.2 and delivery rates: a new flight begins.
		c.board.firstSent, c.board.deliveredAt = c.now, c.now
	}
	c.board.records = append(c.board.records, record{seq: seq, end: end})
	r := &c.board.records[len(c.board.records)-1]
	if fin {
		r.flags = recFIN
	}
	if c.path.probing {
		r.flags |= recProbe
	}
	return r
}

// stampRecord notes a transmission.
func (c *Conn) stampRecord(r *record) {
	r.sent = c.now
	c.board.transmissions++
	r.nth = c.board.transmissions
	r.tx = min(r.tx+1, 250)
	r.delivered, r.deliveredAt, r.firstSent = c.board.delivered, c.board.deliveredAt, c.board.firstSent
	if c.Unsent() == 0 && c.board.lost == 0 && c.inFlight() < c.win.Cwnd {
		r.flags |= recAppLimited
	} else {
		r.flags &^= recAppLimited
	}
	if c.rec.mode == modeRecovery || c.rec.mode == modeCWR {
		c.rec.prr.out += r.len()
	}
}

// splitAt cuts record i so that one begins at seq.
func (c *Conn) splitAt(i int, seq uint32) {
	r := c.board.records[i]
	c.board.records = append(c.board.records, record{})
	copy(c.board.records[i+2:], c.board.records[i+1:])
	c.board.records[i+1] = r
	c.board.records[i+1].seq = seq
	c.board.records[i].end = seq
	c.board.records[i].flags &^= recFIN
}

// markLost marks record i, which will be sent again.
func (c *Conn) markLost(i int, why string) {
	r := &c.board.records[i]
	if r.flags&(recLost|recSACKed) != 0 {
		return
	}
	if r.flags&recProbe != 0 {
		r.flags &^= recProbe
		c.probeLost()
	}
	r.flags |= recLost
	c.board.lost += r.len()
	if i < c.board.lostFrom || c.board.lostFrom < c.board.head {
		c.board.lostFrom = i
	}
	c.note(Event{Kind: LossMarked, From: r.seq, To: r.end, Why: why})
}

// retransmitLost sends again what is lost, as the window allows.
func (c *Conn) retransmitLost() {
	for i := max(c.board.lostFrom, c.board.head); i < len(c.board.records) && c.board.lost > 0; i++ {
		if c.board.records[i].flags&recLost == 0 {
			continue
		}
		c.board.lostFrom = i
		room := c.win.Cwnd - c.inFlight()
		if room <= 0 || c.cc.paceAt > c.now {
			return
		}
		if most := c.path.mss - c.sackRoom(); c.board.records[i].len() > most {
			// It was larger when it was sent: the card cut it, or the path's
			// MTU has become known since.
			c.splitAt(i, c.board.records[i].seq+uint32(most))
		}
		if room < c.board.records[i].len() && c.inFlight() > 0 {
			return
		}
		c.retransmit(i, modeNames[c.rec.mode])
	}
}

// retransmit sends record i again.
func (c *Conn) retransmit(i int, why string) {
	r := &c.board.records[i]
	if r.flags&recLost != 0 {
		r.flags &^= recLost
		c.board.lost -= r.len()
	}
	c.board.retransmitted++
	if c.rec.undo.armed && c.rec.mode != modeOpen {
		c.rec.undo.retrans++
		if !c.rec.undo.stamped {
			c.rec.undo.stamped, c.rec.undo.stamp = true, c.tsNow()
		}
	}
	c.note(Event{Kind: Retransmitted, From: r.seq, To: r.end, Why: why})
	n := r.len()
	if r.flags&recFIN != 0 {
		n--
	}
	c.sendData(r.seq, n, r.flags&recFIN != 0, r)
	if c.timer[timerRTO] == clock.Never {
		c.timer[timerRTO] = c.now.Add(c.rto())
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
	c.board.delivered += uint64(n)
	c.board.deliveredAt = c.now
	if r.flags&recProbe != 0 {
		c.probeDelivered()
	}
	if r.tx == 1 {
		// Karn's rule: only what was sent once measures the round trip.
		if d := c.now.Sub(r.sent); a.rtt == 0 || d < a.rtt {
			a.rtt = max(d, 1)
		}
		if r.len() >= c.path.mss && c.path.mss > baseSegment {
			c.path.proved = true
		}
		// RFC 8985 §6.2 step 3.
		if wire.Before(r.end, a.fack) && !c.rack.reordering && c.opt.sack {
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
	for c.board.head < len(c.board.records) {
		r := &c.board.records[c.board.head]
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
		c.board.head++
	}
	if c.board.head == len(c.board.records) {
		c.board.records, c.board.head, c.board.lostFrom = c.board.records[:0], 0, 0
		if cap(c.board.records) > 64 {
			c.board.records = nil
		}
	}
}

func (c *Conn) settle(r *record, a *ackInfo) {
	if r.flags&recSACKed != 0 {
		c.board.sacked -= r.len()
		return
	}
	if r.flags&recLost != 0 {
		c.board.lost -= r.len()
	}
	c.deliver(r, a)
}

// selective marks what a SACK block reports.
func (c *Conn) selective(b wire.Block, a *ackInfo) {
	if !wire.Before(b.From, b.To) || wire.Before(c.snd.nxt, b.To) || !wire.Before(c.snd.una, b.To) {
		return
	}
	lo, hi := c.board.head, len(c.board.records)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); !wire.Before(b.From, c.board.records[m].end) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for i := lo; i < len(c.board.records) && wire.Before(c.board.records[i].seq, b.To); i++ {
		if c.board.records[i].flags&recSACKed != 0 {
			continue
		}
		if wire.Before(c.board.records[i].seq, b.From) {
			c.splitAt(i, b.From)
			continue
		}
		if wire.Before(b.To, c.board.records[i].end) {
			c.splitAt(i, b.To)
		}
		r := &c.board.records[i]
		if r.flags&recLost != 0 {
			r.flags &^= recLost
			c.board.lost -= r.len()
		}
		c.deliver(r, a)
		r.flags |= recSACKed
		c.board.sacked += r.len()
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
	if r := &c.board.records[c.board.head]; r.len() > c.path.mss {
		c.splitAt(c.board.head, r.seq+uint32(c.path.mss))
	}
}
