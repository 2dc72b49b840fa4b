package http2

import (
	"errors"
	"fmt"

	"peel/clock"
	"peel/wire/hpack"
	"peel/wire/httpfield"
)

// A header block may span that many frames and bytes before it ends. Its
// compressed form is hardly larger than the list that is allowed.
const maxBlockFrames = 32

func (c *Conn) maxBlock() int { return max(2*c.cfg.Headers.MaxListSize, 32<<10) }

func (c *Conn) headersFrame(h FrameHeader, p []byte, now clock.Time) error {
	if h.StreamID == 0 {
		return c.fail(ErrCodeProtocol, "HEADERS on stream 0")
	}
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
		what = c.checkTrailers(s, list, end)
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
	if what == "" && end && s.length > 0 && s.got != s.length && !s.headOnly {
		what = lengthMismatch(s)
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

func lengthMismatch(s *stream) string {
	return fmt.Sprintf("content-length announces %d bytes, but %d came", s.length, s.got)
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

// checkField checks one field (RFC 9113 §8.2) and returns what is wrong.
func checkField(f *httpfield.Field) string {
	for i := 0; i < len(f.Name); i++ {
		if b := f.Name[i]; b >= 'A' && b <= 'Z' {
			return "the field name " + quoted(f.Name) + " has upper-case letters"
		}
	}
	if !httpfield.ValidName(f.Name) {
		return quoted(f.Name) + " is not a field name"
	}
	if !httpfield.ValidValue(f.Value) {
		return "the value of " + f.Name + " has control bytes or white space at an end"
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return f.Name + " is a field of HTTP/1 connections (RFC 9113 §8.2.2)"
	case "te":
		if f.Value != "trailers" {
			return "te is " + quoted(f.Value) + ", not trailers"
		}
	}
	return ""
}

func quoted(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// contentLength reads a content-length field into the stream.
func (s *stream) contentLength(v string) string {
	n := int64(0)
	for i := 0; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' || i >= 18 {
			return "content-length is " + quoted(v)
		}
		n = n*10 + int64(v[i]-'0')
	}
	if v == "" || s.length >= 0 && s.length != n {
		return "content-length is " + quoted(v)
	}
	s.length = n
	return ""
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
			if what := checkField(f); what != "" {
				return what
			}
			if f.Name == "content-length" {
				if what := s.contentLength(f.Value); what != "" {
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
		return lengthMismatch(s)
	}
	return ""
}

// checkResponse is RFC 9113 §8.3.2.
func (c *Conn) checkResponse(s *stream, l httpfield.List, end bool) (EventType, string) {
	status := 0
	for i := range l {
		f := &l[i]
		if len(f.Name) > 0 && f.Name[0] == ':' {
			if f.Name != ":status" || i > 0 || status != 0 {
				return EventResponse, "pseudo-header " + quoted(f.Name) + " where it may not stand"
			}
			v := f.Value
			if len(v) != 3 || v[0] < '1' || v[0] > '9' || v[1] < '0' || v[1] > '9' || v[2] < '0' || v[2] > '9' {
				return EventResponse, ":status is " + quoted(v)
			}
			status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
			continue
		}
		if what := checkField(f); what != "" {
			return EventResponse, what
		}
		if f.Name == "content-length" && status >= 200 {
			if what := s.contentLength(f.Value); what != "" {
				return EventResponse, what
			}
		}
	}
	switch {
	case status == 0:
		return EventResponse, "a response without :status"
	case status == 101:
		return EventResponse, "status 101, which HTTP/2 does not have"
	case status < 200:
		if end {
			return EventInformational, "an informational response ends the stream"
		}
		return EventInformational, ""
	}
	if status == 204 || status == 304 || s.headOnly {
		s.length = -1
		if s.headOnly || status == 304 {
			s.headOnly = true
		}
	}
	return EventResponse, ""
}

func (c *Conn) checkTrailers(s *stream, l httpfield.List, end bool) string {
	if !end {
		return "a second HEADERS frame that does not end the stream"
	}
	for i := range l {
		if len(l[i].Name) > 0 && l[i].Name[0] == ':' {
			return "pseudo-header " + quoted(l[i].Name) + " in trailers"
		}
		if what := checkField(&l[i]); what != "" {
			return what
		}
	}
	return ""
}
