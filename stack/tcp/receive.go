package tcp

import (
	"slices"

	"peel/clock"
	wire "peel/wire/tcp"
)

// inputUrgent is RFC 9293 §3.10.7.4, sixth.
func (c *Conn) inputUrgent(s wire.Segment) {
	if up := s.Seq() + uint32(s.Urgent()); !c.urgentSeen || wire.Before(c.urgentIn, up) {
		c.urgentIn, c.urgentSeen = up, true
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
	if c.orphan && len(b) > 0 && wire.Before(c.rcvNxt, seq+uint32(len(b))) {
		// Nobody will ever read it (RFC 9293 §3.6.1, RFC 2525 §2.17).
		c.sendReset()
		c.shutdown()
		return
	}
	end := seq + uint32(len(b))
	if wire.Before(seq, c.rcvNxt) {
		n := c.rcvNxt - seq
		if c.sack && len(b) > 0 {
			c.dsack, c.hasDSACK = wire.Block{From: seq, To: seq + min(n, uint32(len(b)))}, true
			c.ackNow = true
		}
		b = b[min(n, uint32(len(b))):]
		seq = c.rcvNxt
		if len(b) == 0 && !fin {
			c.ackNow = true
			return
		}
	}
	if wire.Before(c.edge, end) {
		cut := min(int(end-c.edge), len(b))
		b = b[:len(b)-cut]
		fin = false
		end = seq + uint32(len(b))
		c.ackNow = true
	}
	if fin && !c.finSeen {
		c.finSeen, c.finAt = true, end
	}
	if len(b) > 0 {
		r := &c.recv.ring
		if seq == c.rcvNxt && len(b) >= keepFrom && c.owner != nil && len(c.ooo) == 0 {
			c.recv.push(b, c.owner)
			c.owner = nil
			c.rcvNxt = end
			c.received(len(b))
			c.reachFIN()
			return
		}
		r.reserve(r.n+int(end-c.rcvNxt), c.cfg.Buffers)
		r.put(r.n+int(seq-c.rcvNxt), b)
	}
	if seq == c.rcvNxt {
		c.inOrder(end, len(b))
	} else {
		c.outOfOrder(seq, end)
		c.ackNow = true // RFC 5681 §4.2
	}
	c.reachFIN()
}

func (c *Conn) reachFIN() {
	if c.finSeen && c.rcvNxt == c.finAt {
		c.finReached()
	}
}

// keepFrom is the least payload that is worth being kept where it is.
const keepFrom = 4096

// inOrder takes the bytes up to end, and what waited behind them.
func (c *Conn) inOrder(end uint32, n int) {
	old := c.rcvNxt
	c.rcvNxt = end
	if len(c.ooo) > 0 {
		i := 0
		for i < len(c.ooo) && !wire.Before(c.rcvNxt, c.ooo[i].from) {
			if wire.Before(c.rcvNxt, c.ooo[i].to) {
				c.rcvNxt = c.ooo[i].to
			}
			i++
		}
		c.ooo = slices.Delete(c.ooo, 0, i)
		c.ackNow = true // RFC 5681 §4.2: a hole was filled
	}
	c.recv.advance(int(c.rcvNxt - old))
	if n > 0 {
		c.received(n)
	}
}

// received sees to the ACK for n bytes that came in order.
func (c *Conn) received(n int) {
	if c.unacked == 0 {
		c.ackSince = c.now
	}
	c.unacked += n
	switch {
	case c.quick > 0 && !c.pingpong, c.cfg.DelayedACK < 0, c.unacked >= 2*min(c.rcvMSS(), c.peerSegment(n)):
		// RFC 9293 §3.8.6.3: at least every second full segment.
		c.ackNow = true
	case c.ackAt == clock.Never && !c.ackNow:
		c.ackAt = c.now.Add(c.cfg.delayedACK())
	}
}

// peerSegment guesses the peer's segment size, which may be less than ours.
func (c *Conn) peerSegment(n int) int {
	return max(n, min(c.mss, c.rcvMSS()), 1)
}

// maxRanges bounds the ranges that wait for a hole to be filled.
const maxRanges = 256

// outOfOrder notes bytes that are not next.
func (c *Conn) outOfOrder(from, to uint32) {
	if from == to {
		return
	}
	i := 0
	for i < len(c.ooo) && wire.Before(c.ooo[i].to, from) {
		i++
	}
	j := i
	n := span{from, to, 0}
	for j < len(c.ooo) && !wire.Before(to, c.ooo[j].from) {
		if c.sack && !c.hasDSACK && wire.Before(max32(from, c.ooo[j].from), min32(to, c.ooo[j].to)) {
			c.dsack, c.hasDSACK = wire.Block{From: max32(from, c.ooo[j].from), To: min32(to, c.ooo[j].to)}, true
		}
		n.from, n.to = min32(n.from, c.ooo[j].from), max32(n.to, c.ooo[j].to)
		j++
	}
	if i == j && len(c.ooo) >= maxRanges {
		return // it has to come again
	}
	c.stamp++
	n.stamp = c.stamp
	c.ooo = slices.Replace(c.ooo, i, j, n)
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
	if c.sack && wire.Before(seq, end) && !wire.Before(c.rcvNxt, end) {
		c.dsack, c.hasDSACK = wire.Block{From: seq, To: end}, true
	}
}

// finReached: all up to the peer's FIN has arrived.
func (c *Conn) finReached() {
	c.finIn = true
	c.rcvNxt++
	c.ackNow = true
	c.ooo = nil
	switch c.state {
	case Established:
		c.become(CloseWait)
	case FinWait1:
		c.become(Closing) // had our FIN been acknowledged, it were FIN-WAIT-2
	case FinWait2:
		c.timeWait()
	}
}
