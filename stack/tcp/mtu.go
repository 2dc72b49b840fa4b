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

// PathMTU is told what a packet of this path leaves for TCP's header and data:
// by ICMP, with the sequence number that the message quotes, or by the host.
func (c *Conn) PathMTU(now clock.Time, n int, quoted uint32, why string) {
	c.now = now
	if wire.Before(quoted, c.una) || wire.Before(c.nxt, quoted) || n >= c.path || n < wire.MinHeader+minMSS || c.state == Closed {
		return // RFC 5927 §7.2, RFC 8201 §4: never more, and not by strangers
	}
	c.lowerPath(n, why, probeAfter)
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

func (c *Conn) lowerPath(n int, why string, wait time.Duration) {
	c.mtu.ceiling = max(c.mtu.ceiling, c.path)
	c.path = n
	c.setMSS(why)
	c.mtu.wait = wait
	c.mtu.probeAt = c.now.Add(wait)
	c.mtu.timeouts, c.mtu.proved = 0, false
}

// suspectMTU counts timeouts of large segments: after some, the path may drop
// what is large and tell nobody (RFC 2923 §2.1, RFC 4821 §7.7).
func (c *Conn) suspectMTU() {
	if c.cfg.NoMTUProbing || c.sentHead == len(c.sent) {
		return
	}
	r := &c.sent[c.sentHead]
	size := min(r.len(), c.mss)
	n := baseSegment
	if size <= baseSegment {
		n = max(size/2, 256)
	}
	if n >= size {
		return // it would not be smaller than it is
	}
	limit := orInt(c.cfg.BlackHole, 3)
	if c.mtu.proved {
		// Such segments did get through: it takes more to doubt the path.
		limit *= 2
	}
	if c.mtu.timeouts++; c.mtu.timeouts < limit {
		return
	}
	header := wire.MinHeader
	if c.ts {
		header += 12
	}
	c.note(Event{Kind: BlackHoleFound, From: r.seq, To: r.end, Old: c.mss, New: n})
	c.lowerPath(n+header, "black hole suspected", probeSoon)
}

// probeSize is the data of a probe that is due, or 0: one segment of the size
// that the path once had (RFC 4821 §7.3).
func (c *Conn) probeSize() int {
	if c.now < c.mtu.probeAt || c.mode != modeOpen || c.cfg.NoMTUProbing {
		return 0
	}
	n := c.segmentFor(min(c.mtu.ceiling, c.link)) - c.sackRoom()
	if n <= c.mss || n > min(c.Unsent(), c.win.Cwnd-c.inFlight(), int(int32(c.una+uint32(c.wnd)-c.nxt))) {
		return 0
	}
	return n
}

// sendProbe sends a segment that is larger than the path is known to carry.
func (c *Conn) sendProbe(n int) {
	c.note(Event{Kind: MTUProbed, From: c.nxt, To: c.nxt + uint32(n), Old: c.mss, New: n})
	c.mtu.probeAt = clock.Never
	c.probing = true
	c.sendData(c.nxt, n, false, nil)
	c.probing = false
}

// probeDelivered: the path carries the larger size.
func (c *Conn) probeDelivered() {
	if c.mtu.ceiling <= c.path {
		return
	}
	c.path, c.mtu.ceiling = min(c.mtu.ceiling, c.link), 0
	c.setMSS("a probe of the larger size arrived")
}

// probeLost: it does not, or not this time (RFC 4821 §7.6.2).
func (c *Conn) probeLost() {
	c.mtu.wait = min(4*c.mtu.wait, probeAfter)
	c.mtu.probeAt = c.now.Add(c.mtu.wait)
}
