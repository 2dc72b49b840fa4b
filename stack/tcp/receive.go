package tcp

import (
	"slices"

	"peel/clock"
	wire "peel/wire/tcp"
)

// inputUrgent is RFC 9293 §3.10.7.4, sixth.
func (c *Conn) inputUrgent(s wire.Segment) {
	if up := s.Seq() + uint32(s.Urgent()); !c.rcv.urgentSeen || wire.Before(c.rcv.urgent, up) {
		c.rcv.urgent, c.rcv.urgentSeen = up, true
		c.note(Event{Kind: UrgentSeen, From: s.Seq(), To: up})
	}
}

// inputData is RFC 9293 §3.10.7.4, seventh and eighth.
func (c *Conn) inputData(seq uint32, b []byte, fin bool) {
	switch c.state {
	case Established, FinWait1, FinWait2:
	default:
		return // the peer has closed its side already
	}
	if c.orphan && len(b) > 0 && wire.Before(c.rcv.nxt, seq+uint32(len(b))) {
		// Nobody will ever read it (RFC 9293 §3.6.1, RFC 2525 §2.17).
		c.sendReset()
		c.shutdown()
		return
	}
	end := seq + uint32(len(b))
	if wire.Before(seq, c.rcv.nxt) {
		n := c.rcv.nxt - seq
		if c.opt.sack && len(b) > 0 {
			c.rcv.dsack, c.rcv.hasDSACK = wire.Block{From: seq, To: seq + min(n, uint32(len(b)))}, true
			c.ack.due = true
		}
		b = b[min(n, uint32(len(b))):]
		seq = c.rcv.nxt
		if len(b) == 0 && !fin {
			c.ack.due = true
			return
		}
	}
	if wire.Before(c.rcv.edge, end) {
		cut := min(int(end-c.rcv.edge), len(b))
		b = b[:len(b)-cut]
		fin = false
		end = seq + uint32(len(b))
		c.ack.due = true
	}
	if fin && !c.rcv.finSeen {
		c.rcv.finSeen, c.rcv.finAt = true, end
	}
	if len(b) > 0 {
		r := &c.rcv.buf.ring
		if seq == c.rcv.nxt && len(b) >= keepFrom && c.rcv.owner != nil && len(c.rcv.ooo) == 0 {
			c.rcv.buf.push(b, c.rcv.owner)
			c.rcv.owner = nil
			c.rcv.nxt = end
			c.received(len(b))
			c.reachFIN()
			return
		}
		r.reserve(r.n+int(end-c.rcv.nxt), c.cfg.Buffers)
		r.put(r.n+int(seq-c.rcv.nxt), b)
	}
	if seq == c.rcv.nxt {
		c.inOrder(end, len(b))
	} else {
		c.outOfOrder(seq, end)
		c.ack.due = true // RFC 5681 §4.2
	}
	c.reachFIN()
}

func (c *Conn) reachFIN() {
	if c.rcv.finSeen && c.rcv.nxt == c.rcv.finAt {
		c.finReached()
	}
}

// keepFrom is the least payload that is worth being kept where it is.
const keepFrom = 4096

// inOrder takes the bytes up to end, and what waited behind them.
func (c *Conn) inOrder(end uint32, n int) {
	old := c.rcv.nxt
	c.rcv.nxt = end
	if len(c.rcv.ooo) > 0 {
		i := 0
		for i < len(c.rcv.ooo) && !wire.Before(c.rcv.nxt, c.rcv.ooo[i].from) {
			if wire.Before(c.rcv.nxt, c.rcv.ooo[i].to) {
				c.rcv.nxt = c.rcv.ooo[i].to
			}
			i++
		}
		c.rcv.ooo = slices.Delete(c.rcv.ooo, 0, i)
		c.ack.due = true // RFC 5681 §4.2: a hole was filled
	}
	c.rcv.buf.advance(int(c.rcv.nxt - old))
	if n > 0 {
		c.received(n)
	}
}

// received sees to the ACK for n bytes that came in order.
func (c *Conn) received(n int) {
	if c.ack.unacked == 0 {
		c.ack.since = c.now
	}
	c.ack.unacked += n
	switch {
	case c.ack.quick > 0 && !c.ack.pingpong, c.cfg.DelayedACK < 0, c.ack.unacked >= 2*min(c.rcvMSS(), c.peerSegment(n)):
		// RFC 9293 §3.8.6.3: at least every second full segment.
		c.ack.due = true
	case c.timer[timerACK] == clock.Never && !c.ack.due:
		c.timer[timerACK] = c.now.Add(c.cfg.delayedACK())
	}
}

// peerSegment guesses the peer's segment size, which may be less than ours.
func (c *Conn) peerSegment(n int) int {
	return max(n, min(c.path.mss, c.rcvMSS()), 1)
}

// maxRanges bounds the ranges that wait for a hole to be filled.
const maxRanges = 256

// outOfOrder notes bytes that are not next.
func (c *Conn) outOfOrder(from, to uint32) {
	if from == to {
		return
	}
	i := 0
	for i < len(c.rcv.ooo) && wire.Before(c.rcv.ooo[i].to, from) {
		i++
	}
	j := i
	n := span{from, to, 0}
	for j < len(c.rcv.ooo) && !wire.Before(to, c.rcv.ooo[j].from) {
		if c.opt.sack && !c.rcv.hasDSACK && wire.Before(max32(from, c.rcv.ooo[j].from), min32(to, c.rcv.ooo[j].to)) {
			c.rcv.dsack, c.rcv.hasDSACK = wire.Block{From: max32(from, c.rcv.ooo[j].from), To: min32(to, c.rcv.ooo[j].to)}, true
		}
		n.from, n.to = min32(n.from, c.rcv.ooo[j].from), max32(n.to, c.rcv.ooo[j].to)
		j++
	}
	if i == j && len(c.rcv.ooo) >= maxRanges {
		return // it has to come again
	}
	c.rcv.stamp++
	n.stamp = c.rcv.stamp
	c.rcv.ooo = slices.Replace(c.rcv.ooo, i, j, n)
}

func min32(a, b uint32) uint32 {
	if wire.Before(a, b) {
		return a
	}
	return b
}

func max32(a, b uint32) uint32 {
	if wire.Before(a, b) {
		return b
	}
	return a
}

// duplicate reports a segment that lies before the window (RFC 2883 §4).
func (c *Conn) duplicate(seq uint32, s wire.Segment) {
	end := seq + uint32(len(s.Payload()))
	if c.opt.sack && wire.Before(seq, end) && !wire.Before(c.rcv.nxt, end) {
		c.rcv.dsack, c.rcv.hasDSACK = wire.Block{From: seq, To: end}, true
	}
}

// finReached: all up to the peer's FIN has arrived.
func (c *Conn) finReached() {
	c.rcv.finIn = true
	c.rcv.nxt++
	c.ack.due = true
	c.rcv.ooo = nil
	switch c.state {
	case Established:
		c.become(CloseWait)
	case FinWait1:
		c.become(Closing) // had our FIN been acknowledged, it were FIN-WAIT-2
	case FinWait2:
		c.timeWait()
	}
}
