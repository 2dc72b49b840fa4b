package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Write takes bytes to send and returns how many it took: fewer than len(p)
// when the send buffer is full. It fails once the connection cannot send.
func (c *Conn) Write(now clock.Time, p []byte) (int, error) {
	c.now = now
	switch {
	case c.err != nil:
		return 0, c.err
	case c.snd.finQueued || c.state == Closed:
		return 0, ErrClosed
	}
	n := min(len(p), c.snd.limit-c.snd.buf.n)
	if n <= 0 {
		return 0, nil
	}
	c.snd.buf.write(p[:n], c.cfg.Buffers)
	return n, nil
}

// WriteUrgent is Write, and marks the end of what it took as urgent
// (RFC 9293 §3.8.5; RFC 6093 says why not to).
func (c *Conn) WriteUrgent(now clock.Time, p []byte) (int, error) {
	n, err := c.Write(now, p)
	if n > 0 {
		c.snd.urgent, c.snd.urgentOut = c.snd.bufSeq+uint32(c.snd.buf.n), true
	}
	return n, err
}

// SetNoDelay overrides Config.NoDelay for this connection.
func (c *Conn) SetNoDelay(on bool) { c.noDelay = on }

// Unsent and Unacked are the bytes in the send buffer that were never sent,
// and that were sent and not acknowledged.
func (c *Conn) Unsent() int {
	return max(c.snd.buf.n-int(c.snd.nxt-c.snd.bufSeq), 0)
}

// Unacked: see Unsent.
func (c *Conn) Unacked() int { return int(c.snd.nxt - c.snd.una) }

// Read gives bytes that arrived in order and returns how many; 0 when there
// are none now (see EOF and Err).
func (c *Conn) Read(now clock.Time, p []byte) int {
	c.now = now
	n := min(len(p), c.rcv.buf.n)
	if n == 0 {
		return 0
	}
	for done := 0; done < n; {
		a, b := c.rcv.buf.peek(n - done)
		k := copy(p[done:], a)
		k += copy(p[done+k:], b)
		c.rcv.buf.discard(k)
		done += k
		if _, ok := c.rcv.buf.owned(); ok {
			n = done // that is for Take
		}
	}
	c.consumed(n)
	return n
}

// Take is Read without the copy: it gives the large payloads at the front, of
// up to n bytes together, to the caller, who releases each.
func (c *Conn) Take(now clock.Time, n int, to func(b []byte, o Owner)) (taken int) {
	c.now = now
	for {
		p, ok := c.rcv.buf.owned()
		if !ok || taken+p.n > n {
			break
		}
		taken += p.n
		c.rcv.buf.n -= p.n
		c.rcv.buf.shift()
		to(p.b, p.owner)
	}
	if taken > 0 {
		c.consumed(taken)
	}
	return taken
}

// Lend is Write for bytes that stay as they are until Keep: nothing is copied
// for those that are acknowledged by then. It takes none where Write is as
// good.
func (c *Conn) Lend(now clock.Time, p []byte) (int, error) {
	if c.state < Established || !c.snd.buf.lendable() {
		return 0, nil
	}
	if _, err := c.Write(now, nil); err != nil {
		return 0, err
	}
	n := max(min(len(p), c.snd.limit-c.snd.buf.n), 0)
	if n > 0 {
		c.snd.buf.lend(p[:n])
	}
	return n, nil
}

// Keep ends Lend.
func (c *Conn) Keep() { c.snd.buf.keep(c.cfg.Buffers) }

// HeldUp tells that lent bytes wait for the peer's window alone: next to all
// that was sent has been acknowledged already.
func (c *Conn) HeldUp() bool {
	return c.snd.buf.lent != nil && c.Unsent() > 0 && int(c.snd.nxt-c.snd.una) < c.path.mss && c.err == nil
}

// consumed tells that the user has taken n bytes off the receive buffer.
func (c *Conn) consumed(n int) {
	c.rcv.copied += n
	if c.rcv.buf.ring.n == 0 && len(c.rcv.ooo) == 0 {
		c.rcv.buf.ring.release(c.cfg.Buffers)
	}
	if c.state == Closed {
		return
	}
	c.tuneReceive()
	// RFC 9293 §3.8.6.2.2: tell the peer of a window that has become worth
	// it, unless it still has half of one.
	free := int(c.rcv.edge - c.rcv.nxt)
	most := min(c.rcv.limit, 0xffff<<c.opt.shiftIn)
	if gain := most - c.rcv.buf.n - free; gain >= min(most/2, 2*c.rcvMSS()) && free < most/2 {
		c.ack.due = true
	}
}

func (c *Conn) rcvMSS() int { return min(c.announced(), max(c.path.link-wire.MinHeader-12, 8)) }

// tuneReceive lets the window grow when the user takes more than half of it
// in a round trip, as it then holds the sender back.
func (c *Conn) tuneReceive() {
	span := max(c.rtt.srtt, 10*time.Microsecond)
	if c.now.Sub(c.rcv.copiedAt) < span {
		return
	}
	if want := 2 * c.rcv.copied; want > c.rcv.limit && !c.cfg.FixedBuffers {
		old := c.rcv.limit
		c.rcv.limit = min(max(want, 2*old), c.cfg.receiveBuffer())
		if old != c.rcv.limit {
			c.note(Event{Kind: BufferGrown, Why: "receive", Old: old, New: c.rcv.limit})
		}
	}
	c.rcv.copied, c.rcv.copiedAt = 0, c.now
}

// Buffered is how many bytes Read can give.
func (c *Conn) Buffered() int { return c.rcv.buf.n }

// EOF tells that the peer has closed its side and everything was read.
func (c *Conn) EOF() bool { return c.rcv.finIn && c.rcv.buf.n == 0 }

// UrgentMark returns how many bytes from the next one to be read on the
// urgent data ends, and whether there is any (RFC 9293 §3.8.5).
func (c *Conn) UrgentMark() (int, bool) {
	n := int32(c.rcv.urgent - (c.rcv.nxt - uint32(c.rcv.buf.n)))
	if c.rcv.finIn {
		n++
	}
	return int(n), c.rcv.urgentSeen && n > 0
}

// CloseWrite sends a FIN behind what was written; reading goes on.
func (c *Conn) CloseWrite(now clock.Time) {
	c.now = now
	if c.snd.finQueued || c.state == Closed {
		return
	}
	c.snd.finQueued = true
	switch c.state {
	case SynSent:
		if c.snd.buf.n == 0 {
			c.shutdown() // RFC 9293 §3.10.4
		}
	case SynReceived: // the FIN waits for the handshake
	case Established:
		c.become(FinWait1)
	case CloseWait:
		c.become(LastAck)
	}
}

// Close ends the connection: what was written is still sent, what arrives is
// not wanted any more. Unread bytes make it a reset, so that the peer learns
// that they were lost (RFC 2525 §2.17).
func (c *Conn) Close(now clock.Time) {
	c.now = now
	c.orphan = true
	if c.rcv.buf.n > 0 && c.state != Closed {
		c.Abort(now)
		return
	}
	if c.state == SynSent {
		c.err = ErrClosed
		c.shutdown()
		return
	}
	c.CloseWrite(now)
	if c.state == FinWait2 {
		c.timer[timerLinger] = now.Add(c.cfg.finWait2())
	}
	if c.state == Closed {
		c.rcv.buf.release(c.cfg.Buffers)
	}
}

// Abort ends the connection with a RST (RFC 9293 §3.10.5).
func (c *Conn) Abort(now clock.Time) {
	c.now = now
	c.orphan = true
	switch c.state {
	case SynReceived, Established, FinWait1, FinWait2, CloseWait, Closing, LastAck:
		c.sendReset()
	}
	if c.state == Closed {
		c.rcv.buf.release(c.cfg.Buffers)
		return
	}
	c.fail(ErrAborted)
}

// sendReset sends a RST that the peer accepts (RFC 5961 §3.2: its exact next
// sequence number).
func (c *Conn) sendReset() {
	h := Outgoing{Header: wire.Header{Seq: c.snd.nxt, Ack: c.rcv.nxt, Flags: wire.RST | wire.ACK}}
	if int32(c.snd.nxt-(c.snd.una+uint32(c.snd.wnd))) > 0 {
		h.Seq = c.snd.una
	}
	if c.opt.ts {
		c.timestampOption(&h) // RFC 7323 §3.2: a RST SHOULD have it too
	}
	c.out.SendSegment(c, &h, nil, nil)
}
