package http2

import (
	"errors"

	"peel/clock"
	"peel/wire/hpack"
	"peel/wire/httpfield"
)

// A header block may span that many frames and bytes before it ends. Its
// compressed form is hardly larger than the list that is allowed.
const maxBlockFrames = 32

func (c *Conn) maxBlock() int { return max(2*c.cfg.Headers.MaxListSize, 32<<10) }

func (c *Conn) headersFrame(h FrameHeader, p []byte, now clock.Time) error {
	frag, at, err := HeaderFragment(h, p)
	if err != nil {
		return c.fail(ErrCodeProtocol, "%v", err)
	}
	selfDependent := false
	if h.Flags.Has(FlagPriority) && at >= 5 {
		dep := p[at-5 : at]
		selfDependent = uint32(dep[0]&0x7f)<<24|uint32(dep[1])<<16|uint32(dep[2])<<8|uint32(dep[3]) == h.StreamID
	}
	if h.Flags.Has(FlagEndHeaders) {
		return c.headers(h.StreamID, h.Flags, frag, selfDependent, now)
	}
	c.block.stream, c.block.flags, c.block.frames = h.StreamID, h.Flags, 1
	c.block.buf = append(c.block.buf[:0], frag...)
	return nil
}

func (c *Conn) continuation(h FrameHeader, p []byte, now clock.Time) error {
	b := &c.block
	if b.stream == 0 {
		return c.fail(ErrCodeProtocol, "CONTINUATION without a header block before it")
	}
	b.frames++
	// CVE-2023-45288: the block cannot be skipped, since it changes the
	// table, so there must be an end to it.
	if b.frames > maxBlockFrames || len(b.buf)+len(p) > c.maxBlock() {
		return c.fail(ErrCodeEnhanceYourCalm, "a header block of more than %d frames or %d bytes", maxBlockFrames, c.maxBlock())
	}
	b.buf = append(b.buf, p...)
	if !h.Flags.Has(FlagEndHeaders) {
		return nil
	}
	id := b.stream
	b.stream = 0
	return c.headers(id, b.flags, b.buf, false, now)
}

// headers takes a whole header block. It is decoded whatever becomes of it,
// because the table must follow.
func (c *Conn) headers(id uint32, flags Flags, block []byte, selfDependent bool, now clock.Time) error {
	if c.lent == len(c.fields) {
		c.fields = append(c.fields, nil)
	}
	list, res, err := c.dec.Decode(c.fields[c.lent][:0], block, c.cfg.Headers)
	c.fields[c.lent] = list
	if err != nil {
		if errors.Is(err, hpack.ErrTooLarge) {
			return c.fail(ErrCodeEnhanceYourCalm, "%v", err)
		}
		return c.fail(ErrCodeCompression, "%v", err)
	}
	end := flags.Has(FlagEndStream)
	s := c.streams[id]
	if s == nil {
		if s, err = c.newPeerStream(id, now); s == nil {
			return err
		}
	} else if s.remoteEnd {
		return c.streamError(id, s, ErrCodeStreamClosed, "HEADERS after the stream's end", now)
	}
	if selfDependent {
		return c.streamError(id, s, ErrCodeProtocol, "a stream that depends on itself", now)
	}
	c.lent++
	ev := Event{StreamID: id, Fields: list, EndStream: end, TooLarge: res.Truncated}
	what := ""
	switch {
	case s.gotHead:
		ev.Type = EventTrailers
		what = CheckTrailers(list, end)
	case c.cfg.Server:
		ev.Type = EventRequest
		what = c.checkRequest(s, list, end, res.Truncated)
		s.gotHead = true
	default:
		ev.Type, what = c.checkResponse(s, list, end)
		if ev.Type == EventResponse {
			s.gotHead = true
			if res.Truncated {
				what = "a header list larger than this side takes"
			}
		}
	}
	if what == "" && end && s.length > 0 && s.got != s.length {
		what = LengthMismatch(s.length, s.got)
	}
	if what != "" {
		return c.streamError(id, s, ErrCodeProtocol, what, now)
	}
	c.emit(ev)
	if end {
		c.endRemote(s)
	}
	return nil
}

// newPeerStream takes a HEADERS frame that opens a stream (servers). The
// stream is nil when it does not: then err says why, or is nil when the frame
// is to be ignored.
func (c *Conn) newPeerStream(id uint32, now clock.Time) (*stream, error) {
	if !c.cfg.Server {
		switch {
		case c.idle(id):
			return nil, c.fail(ErrCodeProtocol, "HEADERS on stream %d, which is idle", id)
		case c.weReset(id):
			return nil, c.calm(0.1, now, "frames on streams that were reset")
		}
		return nil, c.fail(ErrCodeStreamClosed, "HEADERS on stream %d, which is closed", id)
	}
	switch {
	case id%2 == 0:
		return nil, c.fail(ErrCodeProtocol, "a client's stream has the even identifier %d", id)
	case id <= c.lastPeer:
		if c.weReset(id) {
			return nil, c.calm(0.1, now, "frames on streams that were reset")
		}
		return nil, c.fail(ErrCodeStreamClosed, "HEADERS on stream %d, which is closed", id)
	}
	if c.goAwaySent && c.graceful == 0 {
		return nil, nil // RFC 9113 §6.8: ignored after the last GOAWAY
	}
	c.lastPeer = id
	if c.remote >= c.cfg.MaxStreams {
		return nil, c.streamError(id, nil, ErrCodeRefusedStream, "more streams than allowed", now)
	}
	s := c.newStream(id)
	c.remote++
	return s, nil
}

func (c *Conn) newStream(id uint32) *stream {
	var s *stream
	if n := len(c.free); n > 0 {
		s = c.free[n-1]
		c.free = c.free[:n-1]
		*s = stream{}
	} else {
		s = &stream{}
	}
	s.id, s.length = id, -1
	s.sendWindow, s.recvWindow = c.peerInitial, int64(c.cfg.StreamWindow)
	c.streams[id] = s
	return s
}

// checkRequest is RFC 9113 §8.3.1.
func (c *Conn) checkRequest(s *stream, l httpfield.List, end, cut bool) string {
	var method, scheme, path, authority int
	connect := false
	regular := false
	for i := range l {
		f := &l[i]
		if len(f.Name) == 0 || f.Name[0] != ':' {
			regular = true
			if what := CheckField(f); what != "" {
				return what
			}
			if f.Name == "content-length" {
				if what := contentLength(f.Value, &s.length); what != "" {
					return what
				}
			}
			continue
		}
		if regular {
			return f.Name + " after a regular field"
		}
		if !httpfield.ValidValue(f.Value) {
			return "control bytes in " + f.Name
		}
		switch f.Name {
		case ":method":
			method++
			connect = f.Value == "CONNECT"
			if !httpfield.ValidName(f.Value) {
				return ":method is " + quoted(f.Value)
			}
		case ":scheme":
			scheme++
		case ":path":
			path++
			if f.Value == "" || !connect && f.Value[0] != '/' && f.Value != "*" {
				return ":path is " + quoted(f.Value)
			}
			for j := 0; j < len(f.Value); j++ {
				if f.Value[j] <= ' ' || f.Value[j] == 0x7f {
					return "control bytes or spaces in :path"
				}
			}
		case ":authority":
			authority++
		default:
			return "unknown pseudo-header " + quoted(f.Name)
		}
	}
	if cut {
		return "" // what is missing may be behind the cut; the driver answers 431
	}
	switch {
	case connect && (method != 1 || authority != 1 || scheme+path != 0):
		return "CONNECT takes :authority and neither :scheme nor :path"
	case !connect && (method != 1 || scheme != 1 || path != 1 || authority > 1):
		return "a request takes :method, :scheme and :path once each"
	case end && s.length > 0:
		return LengthMismatch(s.length, s.got)
	}
	return ""
}

// checkResponse is RFC 9113 §8.3.2.
func (c *Conn) checkResponse(s *stream, l httpfield.List, end bool) (EventType, string) {
	status, length, what := CheckResponse(l)
	switch {
	case what != "":
		return EventResponse, what
	case status < 200 && end:
		return EventInformational, "an informational response ends the stream"
	case status < 200:
		return EventInformational, ""
	}
	if s.bodiless = Bodiless(s.method, status); s.bodiless == "" {
		s.length = length
	}
	return EventResponse, ""
}
