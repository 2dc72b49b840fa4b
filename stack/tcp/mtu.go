package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// probeAfter is how long a size that ICMP lowered is kept before the larger one
// is tried again (RFC 1191 §6.3, RFC 8899 §5.1.1), probeSoon how long one that
// was lowered on suspicion is: a probe that is answered clears it.
const (
	probeAfter = 600 * time.Second
	probeSoon  = 2 * time.Second
)

// baseSegment is what every path of today carries: the least that a black hole
// brings segments down to at first (RFC 4821 §7.2 suggests 1024; Linux uses
// 1024 for tcp_base_mss).
const baseSegment = 1024

// pathMTU is what fits into a segment, and the search for more (RFC 4821).
type pathMTU struct {
	size int // what a packet of this path leaves for TCP's header and data
	link int // the same for the interface
	mss  int // of data, with options of every segment deducted
	gso  int // most data of one SendSegment; 0: mss

	timeouts int  // of large segments, in a row
	proved   bool // a full segment has been delivered
	ceiling  int  // size before it was lowered
	probing  bool // what is being sent is a probe
	probeAt  clock.Time
	wait     time.Duration
}

// PathMTU is told what a packet of this path leaves for TCP's header and data:
// by ICMP, with the sequence number that the message quotes, or by the host.
func (c *Conn) PathMTU(now clock.Time, n int, quoted uint32, why string) {
	c.now = now
	if wire.Before(quoted, c.snd.una) || wire.Before(c.snd.nxt, quoted) || n >= c.path.size || n < wire.MinHeader+minMSS || c.state == Closed {
		return // RFC 5927 §7.2, RFC 8201 §4: never more, and not by strangers
	}
	c.lowerPath(n, why, probeAfter)
	// RFC 1191 §6.5: it was dropped for its size and not for congestion, so
	// it goes out again at once and the window stays.
	for i := c.board.head; i < len(c.board.records); i++ {
		if r := &c.board.records[i]; r.len() > c.path.mss && r.flags&recSACKed == 0 {
			c.markLost(i, "too big for the path")
		}
	}
	if c.board.lost > 0 {
		c.retransmitLost()
	}
}

func (c *Conn) lowerPath(n int, why string, wait time.Duration) {
	c.path.ceiling = max(c.path.ceiling, c.path.size)
	c.path.size = n
	c.setMSS(why)
	c.path.wait = wait
	c.path.probeAt = c.now.Add(wait)
	c.path.timeouts, c.path.proved = 0, false
}

// suspectMTU counts timeouts of large segments: after some, the path may drop
// what is large and tell nobody (RFC 2923 §2.1, RFC 4821 §7.7).
func (c *Conn) suspectMTU() {
	if c.cfg.NoMTUProbing || c.board.head == len(c.board.records) {
		return
	}
	r := &c.board.records[c.board.head]
	size := min(r.len(), c.path.mss)
	n := baseSegment
	if size <= baseSegment {
		n = max(size/2, 256)
	}
	if n >= size {
		return // it would not be smaller than it is
	}
	limit := orInt(c.cfg.BlackHole, 3)
	if c.path.proved {
		// Such segments did get through: it takes more to doubt the path.
		limit *= 2
	}
	if c.path.timeouts++; c.path.timeouts < limit {
		return
	}
	header := wire.MinHeader
	if c.opt.ts {
		header += 12
	}
	c.note(Event{Kind: BlackHoleFound, From: r.seq, To: r.end, Old: c.path.mss, New: n})
	c.lowerPath(n+header, "black hole suspected", probeSoon)
}

// probeSize is the data of a probe that is due, or 0: one segment of the size
// that the path once had (RFC 4821 §7.3).
func (c *Conn) probeSize() int {
	if c.now < c.path.probeAt || c.rec.mode != modeOpen || c.cfg.NoMTUProbing {
		return 0
	}
	n := c.segmentFor(min(c.path.ceiling, c.path.link)) - c.sackRoom()
	if n <= c.path.mss || n > min(c.Unsent(), c.win.Cwnd-c.inFlight(), int(int32(c.snd.una+uint32(c.snd.wnd)-c.snd.nxt))) {
		return 0
	}
	return n
}

// sendProbe sends a segment that is larger than the path is known to carry.
func (c *Conn) sendProbe(n int) {
	c.note(Event{Kind: MTUProbed, From: c.snd.nxt, To: c.snd.nxt + uint32(n), Old: c.path.mss, New: n})
	c.path.probeAt = clock.Never
	c.path.probing = true
	c.sendData(c.snd.nxt, n, false, nil)
	c.path.probing = false
}

// probeDelivered: the path carries the larger size.
func (c *Conn) probeDelivered() {
	if c.path.ceiling <= c.path.size {
		return
	}
	c.path.size, c.path.ceiling = min(c.path.ceiling, c.path.link), 0
	c.setMSS("a probe of the larger size arrived")
}

// probeLost: it does not, or not this time (RFC 4821 §7.6.2).
func (c *Conn) probeLost() {
	c.path.wait = min(4*c.path.wait, probeAfter)
	c.path.probeAt = c.now.Add(c.path.wait)
}
