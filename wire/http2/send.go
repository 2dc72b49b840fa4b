package http2

import (
	"fmt"

	"peel/clock"
	"peel/wire/httpfield"
)

// OpenStream sends a request's head and returns its stream (clients). Pseudo-
// headers come first in l; upper-case names are lowered on the way.
func (c *Conn) OpenStream(now clock.Time, l httpfield.List, endStream bool) (uint32, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.goAwayGot || c.goAwaySent:
		return 0, ErrGoingAway
	case c.nextID > maxStreamID:
		return 0, ErrIDsExhausted
	case c.local >= c.peerStreams:
		return 0, ErrStreamLimit
	}
	if err := checkSent(l); err != nil {
		return 0, err
	}
	id := c.nextID
	c.nextID += 2
	c.lastLocal = id
	s := c.newStream(id)
	if len(l) > 0 && l[0].Name == ":method" {
		s.method = l[0].Value
	}
	c.local++
	if len(c.streams) == 1 {
		// The first stream after a quiet time: silence counts from here.
		c.lastRead = max(c.lastRead, now)
	}
	c.appendHeaders(id, l, endStream)
	s.localEnd = endStream
	return id, nil
}

// checkSent refuses fields that a peer would have to reject.
func checkSent(l httpfield.List) error {
	for i := range l {
		f := &l[i]
		name := f.Name
		if len(name) > 0 && name[0] == ':' {
			name = name[1:]
		}
		if !httpfield.ValidName(name) {
			return fmt.Errorf("http2: %s is not a field name", quoted(f.Name))
		}
		if !httpfield.ValidValue(f.Value) {
			return fmt.Errorf("http2: value of %s: control bytes or white space at an end: %s", f.Name, quoted(f.Value))
		}
	}
	return nil
}

// SendHeaders sends a response's head, a 1xx response, or trailers.
func (c *Conn) SendHeaders(id uint32, l httpfield.List, endStream bool) error {
	s := c.streams[id]
	if s == nil || s.localEnd || c.err != nil {
		return ErrNoStream
	}
	if err := checkSent(l); err != nil {
		return err
	}
	c.appendHeaders(id, l, endStream)
	if endStream {
		c.endLocal(s)
	}
	return nil
}

// appendHeaders writes a header block straight into the output and cuts it
// into CONTINUATION frames only when it is larger than a frame.
func (c *Conn) appendHeaders(id uint32, l httpfield.List, endStream bool) {
	start := len(c.out)
	c.out = append(c.out, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for i := range l {
		c.out = c.enc.Append(c.out, l[i])
	}
	flags := FlagEndHeaders
	if endStream {
		flags |= FlagEndStream
	}
	size := len(c.out) - start - FrameHeaderLen
	if size <= int(c.peerFrame) {
		AppendFrameHeader(c.out[:start], FrameHeader{uint32(size), FrameHeaders, flags, id})
		return
	}
	block := append([]byte(nil), c.out[start+FrameHeaderLen:]...)
	c.out = c.out[:start]
	typ := FrameHeaders
	for first := true; len(block) > 0; first = false {
		n := min(len(block), int(c.peerFrame))
		f := Flags(0)
		if first && endStream {
			f |= FlagEndStream
		}
		if n == len(block) {
			f |= FlagEndHeaders
		}
		c.out = AppendFrameHeader(c.out, FrameHeader{uint32(n), typ, f, id})
		c.out = append(c.out, block[:n]...)
		block = block[n:]
		typ = FrameContinuation
	}
}

// SendData sends as much of p as the windows and the output's high-water mark
// allow, and returns how much that was. With endStream, the stream ends when
// all of p was taken. When not all was, the stream can go on after an
// EventWindowOpened, or when the output has been taken.
func (c *Conn) SendData(now clock.Time, id uint32, p []byte, endStream bool) (int, error) {
	s := c.streams[id]
	if s == nil || s.localEnd || c.err != nil {
		return 0, ErrNoStream
	}
	if len(p) == 0 {
		if endStream {
			c.out = AppendFrameHeader(c.out, FrameHeader{0, FrameData, FlagEndStream, id})
			c.endLocal(s)
		}
		return 0, nil
	}
	sent := 0
	for sent < len(p) && len(c.out) < outputHigh {
		n := min(int64(len(p)-sent), int64(c.peerFrame), s.sendWindow, c.sendWindow)
		if n <= 0 {
			if s.blocked == 0 {
				s.blocked = now
				c.watch(now)
			}
			break
		}
		flags := Flags(0)
		if endStream && sent+int(n) == len(p) {
			flags = FlagEndStream
		}
		c.out = AppendFrameHeader(c.out, FrameHeader{uint32(n), FrameData, flags, id})
		c.out = append(c.out, p[sent:sent+int(n)]...)
		s.sendWindow -= n
		c.sendWindow -= n
		sent += int(n)
	}
	if endStream && sent == len(p) {
		c.endLocal(s)
	}
	return sent, nil
}

// Reset ends a stream with RST_STREAM. It does nothing for one that is gone.
func (c *Conn) Reset(id uint32, code ErrCode) {
	s := c.streams[id]
	if s == nil || c.err != nil {
		return
	}
	c.out = appendRSTStream(c.out, id, code)
	c.remember(id)
	c.remove(s)
}

// remember notes a stream that this side has reset.
func (c *Conn) remember(id uint32) {
	c.resets[c.resetAt%len(c.resets)] = id
	c.resetAt++
}

// reset ends a stream for a reason of this side and tells the driver.
func (c *Conn) reset(s *stream, code ErrCode, why string) {
	id := s.id
	c.Reset(id, code)
	c.emit(Event{Type: EventReset, StreamID: id, Code: code, Reset: ResetInfo{Code: code, Ours: true, Why: why}})
}

// streamError answers a fault of the peer on one stream. A peer that makes
// this side reset stream after stream has found another way to the rapid
// reset (CVE-2025-8671) and pays from the same budget.
func (c *Conn) streamError(id uint32, s *stream, code ErrCode, what string, now clock.Time) error {
	if !c.churn.spend(1, now) {
		return c.fail(ErrCodeEnhanceYourCalm, "too many streams with errors, the last: %s", what)
	}
	if s != nil {
		c.reset(s, code, what)
		return nil
	}
	c.out = appendRSTStream(c.out, id, code)
	c.remember(id)
	return nil
}

// Consumed tells that the application has read n bytes of a stream's body, so
// that the peer may send as many more.
func (c *Conn) Consumed(id uint32, n int) {
	s := c.streams[id]
	if s == nil || c.err != nil {
		return
	}
	n64 := min(int64(n), s.unread)
	s.unread -= n64
	c.creditStream(s, n64)
}

// creditStream gives window back in steps of a quarter, so that small reads
// do not each cost a frame.
func (c *Conn) creditStream(s *stream, n int64) {
	if s.remoteEnd {
		return
	}
	if s.credit += n; s.credit >= int64(c.cfg.StreamWindow)/4 {
		c.out = appendWindowUpdate(c.out, s.id, uint32(s.credit))
		s.recvWindow += s.credit
		s.credit = 0
	}
}

func (c *Conn) creditConnection(n int64) {
	if c.credit += n; c.credit >= int64(c.cfg.ConnectionWindow)/4 {
		c.out = appendWindowUpdate(c.out, 0, uint32(c.credit))
		c.recvWindow += c.credit
		c.credit = 0
	}
}

func (c *Conn) endRemote(s *stream) {
	s.remoteEnd = true
	if s.localEnd {
		c.remove(s)
	}
}

func (c *Conn) endLocal(s *stream) {
	s.localEnd = true
	s.blocked = 0
	if s.remoteEnd {
		c.remove(s)
	}
}

// remove forgets a stream that is closed.
func (c *Conn) remove(s *stream) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if s.id%2 == c.nextID%2 {
		c.local--
	} else {
		c.remote--
	}
	if len(c.free) < 256 {
		c.free = append(c.free, s)
	}
}
