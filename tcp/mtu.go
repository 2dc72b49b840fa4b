package tcp

import (
	"time"

	"peel/clock"
)

// raiseAfter is how long a lowered segment size is kept before a larger one is
// tried again (RFC 1191 §6.3, RFC 8899 §5.1.1: 600 s).
const raiseAfter = 600 * time.Second

// baseSegment is what every path of today carries: the least that a black hole
// brings segments down to at first (RFC 4821 §7.2 suggests 1024; Linux uses
// 1024 for tcp_base_mss).
const baseSegment = 1024

// PathMTU is told what a packet of this path leaves for TCP's header and data:
// by ICMP, with the sequence number that the message quotes, or by the host.
func (c *Conn) PathMTU(now clock.Time, n int, quoted uint32, why string) {
	c.now = now
	if before(quoted, c.una) || before(c.nxt, quoted) || n >= c.path || n < MinHeader+minMSS || c.state == Closed {
		return // RFC 5927 §7.2, RFC 8201 §4: never more, and not by strangers
	}
	c.lowerPath(n, why)
	// RFC 1191 §6.5: it was dropped for its size and not for congestion, so
	// it goes out again at once and the window stays.
	for i := c.sentHead; i < len(c.sent); i++ {
		if r := &c.sent[i]; r.len() > c.mss && r.flags&recSACKed == 0 {
			c.markLost(i, "too big for the path")
		}
	}
	if c.lostBytes > 0 {
		c.retransmitLost()
	}
}

func (c *Conn) lowerPath(n int, why string) {
	c.mtu.ceiling = max(c.mtu.ceiling, c.path)
	c.path = n
	c.setMSS(why)
	c.mtu.raiseAt = c.now.Add(raiseAfter)
	c.mtu.timeouts = 0
}

// suspectMTU counts timeouts of large segments: after some, the path may drop
// what is large and tell nobody (RFC 2923 §2.1, RFC 4821 §7.7).
func (c *Conn) suspectMTU() {
	if c.cfg.NoMTUProbing || c.sentHead == len(c.sent) {
		return
	}
	r := &c.sent[c.sentHead]
	if min(r.len(), c.mss) <= minMSS*4 || r.len() < c.mss && c.mss <= baseSegment {
		return
	}
	if c.mtu.timeouts++; c.mtu.timeouts < orInt(c.cfg.BlackHole, 2) {
		return
	}
	header := c.path - c.mss
	n := baseSegment
	if c.mss <= baseSegment {
		n = max(c.mss/2, 256)
	}
	if n >= c.mss {
		return
	}
	c.note(Event{Kind: BlackHoleFound, From: r.seq, To: r.end, Old: c.mss, New: n})
	c.lowerPath(n+header, "black hole suspected")
}

// raiseMTU tries the larger size again.
func (c *Conn) raiseMTU() {
	c.mtu.raiseAt = clock.Never
	if c.mtu.ceiling <= c.path {
		return
	}
	c.path = min(c.mtu.ceiling, c.link)
	c.mtu.ceiling = 0
	c.note(Event{Kind: MTUProbed, New: c.path})
	c.setMSS("larger size tried again")
}
