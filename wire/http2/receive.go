package http2

import (
	"encoding/binary"

	"peel/clock"
)

// Input takes bytes that arrived at now, cut anyhow, and returns what they
// mean. An error is a *ConnError that ends the connection; the GOAWAY that
// says so is in the output.
func (c *Conn) Input(now clock.Time, b []byte) ([]Event, error) {
	c.events, c.lent, c.data = c.events[:0], 0, c.data[:0]
	if c.err != nil {
		return nil, c.err
	}
	c.lastRead, c.pingSent = now, 0
	if c.prefaceLeft > 0 {
		var err error
		if b, err = c.preface(b); err != nil {
			return nil, err
		}
	}
	for len(b) > 0 || len(c.in) > 0 {
		frame, rest, err := c.nextFrame(b)
		if err != nil {
			return c.events, err
		}
		b = rest
		if frame == nil {
			break
		}
		h := ParseFrameHeader(frame)
		if err := c.frame(h, frame[FrameHeaderLen:], now); err != nil {
			return c.events, err
		}
		if len(c.out) > outputMax {
			return c.events, c.fail(ErrCodeEnhanceYourCalm, "the peer makes this side answer and does not read")
		}
	}
	return c.events, nil
}

func (c *Conn) preface(b []byte) ([]byte, error) {
	at := len(Preface) - c.prefaceLeft
	n := min(len(b), c.prefaceLeft)
	if string(b[:n]) != Preface[at:at+n] {
		return nil, c.fail(ErrCodeProtocol, "the connection does not begin with the HTTP/2 preface")
	}
	c.prefaceLeft -= n
	return b[n:], nil
}

// nextFrame cuts one whole frame off, or keeps what there is of one.
func (c *Conn) nextFrame(b []byte) (frame, rest []byte, err error) {
	if len(c.in) == 0 {
		if len(b) >= FrameHeaderLen {
			size, err := c.frameSize(b)
			if err != nil {
				return nil, nil, err
			}
			if len(b) >= size {
				return b[:size], b[size:], nil
			}
		}
		c.in = append(c.in, b...)
		return nil, nil, nil
	}
	if n := FrameHeaderLen - len(c.in); n > 0 {
		n = min(n, len(b))
		c.in = append(c.in, b[:n]...)
		b = b[n:]
		if len(c.in) < FrameHeaderLen {
			return nil, nil, nil
		}
	}
	size, err := c.frameSize(c.in)
	if err != nil {
		return nil, nil, err
	}
	n := min(size-len(c.in), len(b))
	c.in = append(c.in, b[:n]...)
	if len(c.in) < size {
		return nil, nil, nil
	}
	// Events may point into the frame while c.in gets the next one's
	// beginning, so it moves to memory that lasts for this call.
	at := len(c.data)
	c.data = append(c.data, c.in...)
	c.in = c.in[:0]
	return c.data[at:], b[n:], nil
}

// frameSize checks the length before the payload is waited for.
func (c *Conn) frameSize(b []byte) (int, error) {
	h := ParseFrameHeader(b)
	if !c.gotSettings && string(b[:7]) == "HTTP/1." {
		return 0, c.fail(ErrCodeProtocol, "the peer answers in HTTP/1, not in HTTP/2")
	}
	if h.Length > ourMaxFrame {
		return 0, c.fail(ErrCodeFrameSize, "%v of %d bytes; at most %d are allowed", h.Type, h.Length, ourMaxFrame)
	}
	return FrameHeaderLen + int(h.Length), nil
}

func (c *Conn) emit(e Event) { c.events = append(c.events, e) }

// calm spends from the budget for frames that cost work and bring nothing.
func (c *Conn) calm(cost float64, now clock.Time, what string) error {
	if c.noise.spend(cost, now) {
		return nil
	}
	return c.fail(ErrCodeEnhanceYourCalm, "too many %s", what)
}

// frame takes one frame (RFC 9113 §6).
func (c *Conn) frame(h FrameHeader, p []byte, now clock.Time) error {
	if c.block.stream != 0 && (h.Type != FrameContinuation || h.StreamID != c.block.stream) {
		return c.fail(ErrCodeProtocol, "%v on stream %d inside of the header block of stream %d", h.Type, h.StreamID, c.block.stream)
	}
	if !c.gotSettings && h.Type != FrameSettings {
		return c.fail(ErrCodeProtocol, "the first frame is %v, not SETTINGS", h.Type)
	}
	if code, what := CheckFrame(h, p); what != "" {
		return c.fail(code, "%s", what)
	}
	switch h.Type {
	case FrameData:
		return c.dataFrame(h, p, now)
	case FrameHeaders:
		return c.headersFrame(h, p, now)
	case FrameContinuation:
		return c.continuation(h, p, now)
	case FramePriority:
		return c.priority(h, p, now)
	case FrameRSTStream:
		return c.rstStream(h, p, now)
	case FrameSettings:
		return c.settings(h, p, now)
	case FramePushPromise:
		return c.fail(ErrCodeProtocol, "PUSH_PROMISE, which was not allowed")
	case FramePing:
		return c.ping(h, p, now)
	case FrameGoAway:
		return c.goAway(h, p)
	case FrameWindowUpdate:
		return c.windowUpdate(h, p, now)
	}
	// RFC 9113 §4.1: unknown types are ignored.
	return c.calm(0.2, now, "frames of unknown types")
}

// idle tells whether a stream was never used.
func (c *Conn) idle(id uint32) bool {
	if id%2 == c.nextID%2 {
		return id > c.lastLocal
	}
	return id > c.lastPeer
}

// weReset tells whether this side reset the stream a short while ago: what is
// still on its way for it is ignored (RFC 9113 §5.1, closed).
func (c *Conn) weReset(id uint32) bool {
	for _, r := range c.resets {
		if r == id {
			return true
		}
	}
	return false
}

func (c *Conn) dataFrame(h FrameHeader, p []byte, now clock.Time) error {
	data, err := DataPayload(h, p)
	if err != nil {
		return c.fail(ErrCodeProtocol, "%v", err)
	}
	if c.idle(h.StreamID) {
		return c.fail(ErrCodeProtocol, "DATA on stream %d, which is idle", h.StreamID)
	}
	if len(data) == 0 && !h.Flags.Has(FlagEndStream) {
		if err := c.calm(1, now, "empty DATA frames"); err != nil {
			return err
		}
	}
	// All of the payload counts, padding too, whether or not the stream is
	// still there (RFC 9113 §6.9.1).
	size := int64(len(p))
	if size > c.recvWindow {
		return c.fail(ErrCodeFlowControl, "DATA of %d bytes, but the connection's window is %d", size, c.recvWindow)
	}
	c.recvWindow -= size
	c.creditConnection(size)
	s := c.streams[h.StreamID]
	if s == nil || s.remoteEnd {
		if s == nil && c.weReset(h.StreamID) {
			return c.calm(0.1, now, "frames on streams that were reset")
		}
		return c.streamError(h.StreamID, s, ErrCodeStreamClosed, "DATA after the stream's end", now)
	}
	if !s.gotHead {
		return c.streamError(h.StreamID, s, ErrCodeProtocol, "DATA before the response's head", now)
	}
	if size > s.recvWindow {
		return c.streamError(h.StreamID, s, ErrCodeFlowControl, "more DATA than the stream's window allows", now)
	}
	s.recvWindow -= size
	s.unread += int64(len(data))
	if pad := size - int64(len(data)); pad > 0 {
		c.creditStream(s, pad)
	}
	s.got += int64(len(data))
	end := h.Flags.Has(FlagEndStream)
	switch {
	case s.bodiless != "" && s.got > 0:
		return c.streamError(h.StreamID, s, ErrCodeProtocol, HasBody(s.bodiless, s.got), now)
	case s.length >= 0 && (s.got > s.length || end && s.got != s.length):
		return c.streamError(h.StreamID, s, ErrCodeProtocol, LengthMismatch(s.length, s.got), now)
	}
	if len(data) > 0 || end {
		c.emit(Event{Type: EventData, StreamID: s.id, Data: data, EndStream: end})
	}
	if end {
		c.endRemote(s)
	}
	return nil
}

func (c *Conn) priority(h FrameHeader, p []byte, now clock.Time) error {
	if len(p) != 5 {
		return c.streamError(h.StreamID, c.streams[h.StreamID], ErrCodeFrameSize, "PRIORITY that is not of 5 bytes", now)
	}
	if binary.BigEndian.Uint32(p)&0x7fffffff == h.StreamID {
		return c.streamError(h.StreamID, c.streams[h.StreamID], ErrCodeProtocol, "a stream that depends on itself", now)
	}
	return c.calm(0.5, now, "PRIORITY frames")
}

func (c *Conn) rstStream(h FrameHeader, p []byte, now clock.Time) error {
	if c.idle(h.StreamID) {
		return c.fail(ErrCodeProtocol, "RST_STREAM on stream %d, which is idle", h.StreamID)
	}
	code := ErrCode(binary.BigEndian.Uint32(p))
	s := c.streams[h.StreamID]
	if s == nil {
		return c.calm(1, now, "RST_STREAM frames on closed streams")
	}
	// Rapid reset (CVE-2023-44487): opening and resetting streams costs the
	// peer little and this side much.
	if c.cfg.Server && !c.churn.spend(1, now) {
		return c.fail(ErrCodeEnhanceYourCalm, "too many streams are opened and reset")
	}
	c.remove(s)
	c.emit(Event{Type: EventReset, StreamID: h.StreamID, Code: code, Reset: ResetInfo{Code: code, Unprocessed: code == ErrCodeRefusedStream}})
	return nil
}

func (c *Conn) ping(h FrameHeader, p []byte, now clock.Time) error {
	if h.Flags.Has(FlagAck) {
		return nil
	}
	if err := c.calm(1, now, "PING frames"); err != nil {
		return err
	}
	c.out = AppendPing(c.out, true, [8]byte(p))
	return nil
}

func (c *Conn) goAway(h FrameHeader, p []byte) error {
	g, err := ParseGoAway(p)
	if err != nil {
		return c.fail(ErrCodeFrameSize, "%v", err)
	}
	if c.goAwayGot && g.LastStreamID > c.goAwayLast {
		return c.fail(ErrCodeProtocol, "a second GOAWAY with a higher last stream: %d after %d", g.LastStreamID, c.goAwayLast)
	}
	c.goAwayGot, c.goAwayLast = true, g.LastStreamID
	c.emit(Event{Type: EventGoAway, StreamID: g.LastStreamID, Code: g.Code, Data: g.Debug})
	for id, s := range c.streams {
		if id%2 == c.nextID%2 && id > g.LastStreamID {
			c.remove(s)
			c.emit(Event{Type: EventReset, StreamID: id, Code: g.Code, Reset: ResetInfo{Code: g.Code, Unprocessed: true, GoAway: true}})
		}
	}
	return nil
}

func (c *Conn) windowUpdate(h FrameHeader, p []byte, now clock.Time) error {
	n := int64(binary.BigEndian.Uint32(p) & 0x7fffffff)
	if n < 16 {
		// Tiny updates cost more than they give.
		if err := c.calm(1, now, "WINDOW_UPDATE frames of a few bytes"); err != nil {
			return err
		}
	}
	if h.StreamID == 0 {
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return c.fail(ErrCodeFlowControl, "the connection's window would be %d", c.sendWindow)
		}
		c.opened(nil)
		return nil
	}
	if c.idle(h.StreamID) {
		return c.fail(ErrCodeProtocol, "WINDOW_UPDATE on stream %d, which is idle", h.StreamID)
	}
	s := c.streams[h.StreamID]
	if s == nil {
		return nil // allowed for a while after the end
	}
	if n == 0 {
		return c.streamError(h.StreamID, s, ErrCodeProtocol, "WINDOW_UPDATE of 0", now)
	}
	if s.sendWindow += n; s.sendWindow > maxWindow {
		return c.streamError(h.StreamID, s, ErrCodeFlowControl, "the stream's window would be too large", now)
	}
	c.opened(s)
	return nil
}

// opened tells streams that wait for a window that there is one: s, or all.
func (c *Conn) opened(s *stream) {
	if c.stallCheck == 0 || c.sendWindow <= 0 {
		return
	}
	if s != nil {
		if s.blocked != 0 && s.sendWindow > 0 {
			s.blocked = 0
			c.emit(Event{Type: EventWindowOpened, StreamID: s.id})
		}
		return
	}
	any := false
	for _, s := range c.streams {
		if s.blocked != 0 && s.sendWindow > 0 {
			s.blocked = 0
			any = true
		}
	}
	if any {
		c.emit(Event{Type: EventWindowOpened})
	}
}

func (c *Conn) settings(h FrameHeader, p []byte, now clock.Time) error {
	if h.Flags.Has(FlagAck) {
		if !c.gotSettings {
			return c.fail(ErrCodeProtocol, "the first frame is a SETTINGS ACK")
		}
		if c.pendingAcks > 0 {
			c.pendingAcks--
		}
		return nil
	}
	if err := c.calm(1+float64(len(p))/60, now, "SETTINGS frames"); err != nil {
		return err
	}
	if c.peerStreams == assumedStreams && !c.gotSettings {
		c.peerStreams = maxStreamID // no limit unless it says one
	}
	c.gotSettings = true
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.out = AppendFrameHeader(c.out, FrameHeader{0, FrameSettings, FlagAck, 0})
	c.emit(Event{Type: EventSettings})
	return nil
}

func (c *Conn) setting(id SettingID, v uint32) error {
	switch id {
	case SettingHeaderTableSize:
		c.enc.SetMaxTableSize(min(v, c.cfg.HeaderTable))
	case SettingEnablePush:
		if v == 1 && !c.cfg.Server {
			return c.fail(ErrCodeProtocol, "ENABLE_PUSH is %d", v)
		}
	case SettingMaxConcurrentStreams:
		c.peerStreams = v
	case SettingInitialWindowSize:
		// The difference applies to every open stream and may make its window
		// negative (RFC 9113 §6.9.2).
		delta := int64(v) - c.peerInitial
		c.peerInitial = int64(v)
		for _, s := range c.streams {
			if s.sendWindow += delta; s.sendWindow > maxWindow {
				return c.fail(ErrCodeFlowControl, "INITIAL_WINDOW_SIZE makes the window of stream %d too large", s.id)
			}
		}
		if delta > 0 {
			c.opened(nil)
		}
	case SettingMaxFrameSize:
		c.peerFrame = v
	}
	return nil
}
