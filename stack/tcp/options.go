package tcp

import (
	"encoding/binary"

	wire "peel/wire/tcp"
)

// sackRoom is what SACK blocks take of a data segment.
func (c *Conn) sackRoom() int {
	if len(c.rcv.ooo) == 0 && !c.rcv.hasDSACK || !c.opt.sack {
		return 0
	}
	n := c.blocks()
	return 4 + 8*n
}

// sackOption reports what arrived out of order, the latest first
// (RFC 2018 §4), behind a duplicate if there was one (RFC 2883).
func (c *Conn) sackOption(h *Outgoing) {
	n := c.blocks()
	if n == 0 {
		return
	}
	b := h.Options[h.NOptions:]
	b[0], b[1], b[2], b[3] = wire.OptNop, wire.OptNop, wire.OptSACK, byte(2+8*n)
	b = b[4:]
	put := func(from, to uint32) {
		binary.BigEndian.PutUint32(b, from)
		binary.BigEndian.PutUint32(b[4:], to)
		b = b[8:]
	}
	h.NOptions += 4 + 8*n
	if c.rcv.hasDSACK {
		put(c.rcv.dsack.From, c.rcv.dsack.To)
		n--
	}
	last := ^uint32(0)
	for ; n > 0; n-- {
		best := -1
		for i := range c.rcv.ooo {
			if s := c.rcv.ooo[i].stamp; s < last && (best < 0 || s > c.rcv.ooo[best].stamp) {
				best = i
			}
		}
		put(c.rcv.ooo[best].from, c.rcv.ooo[best].to)
		last = c.rcv.ooo[best].stamp
	}
}

// blocks is how many SACK blocks fit: four, or three beside timestamps.
func (c *Conn) blocks() int {
	n := len(c.rcv.ooo)
	if c.rcv.hasDSACK {
		n++
	}
	if c.opt.ts {
		return min(n, 3)
	}
	return min(n, 4)
}

// tsNow is the timestamp clock: milliseconds (RFC 7323 §5.4), from an offset
// of the connection's own.
func (c *Conn) tsNow() uint32 { return uint32(c.now/1e6) + c.opt.tsOffset }

func (c *Conn) timestampOption(h *Outgoing) {
	b := h.Options[h.NOptions:]
	b[0], b[1], b[2], b[3] = wire.OptNop, wire.OptNop, wire.OptTimestamps, 10
	binary.BigEndian.PutUint32(b[4:], c.tsNow())
	binary.BigEndian.PutUint32(b[8:], c.opt.tsRecent)
	h.NOptions += 12
}
