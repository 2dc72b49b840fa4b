package analyze

import (
	"fmt"
	"strings"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/hpack"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

// headerBlock is a header block that CONTINUATION frames may go on with.
type headerBlock struct {
	open   bool
	wire   uint32 // the stream that its frames are on
	stream uint32 // the one that it is about: another for a promise
	push   bool
	flags  http2.Flags
	offset int64 // of the HEADERS frame
	frames int   // bytes of all frames of the block, with their headers
	block  []byte
	parts  []part // where the fragments stand
}

// part says that block bytes from at stand at offset of the stream.
type part struct {
	at     int
	offset int64
}

// place maps an offset in the block to the application stream.
func (b *headerBlock) place(at int) (int64, bool) {
	for i := len(b.parts) - 1; i >= 0; i-- {
		if at >= b.parts[i].at {
			return b.parts[i].offset + int64(at-b.parts[i].at), true
		}
	}
	return 0, false
}

// headerFrame gathers a header block.
func (h *h2conn) headerFrame(e *trace.Event, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	b := &h.block[dir]
	payload := raw[http2.FrameHeaderLen:]
	frag, at, err := http2.HeaderFragment(fh, payload)
	if err != nil {
		e.Text += ": " + strings.TrimPrefix(err.Error(), "http2: ")
		return
	}
	if fh.Type != http2.FrameContinuation {
		*b = headerBlock{open: true, wire: fh.StreamID, stream: fh.StreamID, flags: fh.Flags, offset: offset}
		if fh.Type == http2.FramePushPromise {
			b.push = true
			b.stream = http2.Promised(payload, at)
		}
	} else if !b.open {
		return
	}
	b.parts = append(b.parts, part{len(b.block), offset + http2.FrameHeaderLen + int64(at)})
	b.block = append(b.block, frag...)
	b.frames += len(raw)
	if len(b.block) > maxFrame {
		h.violation(t, dir, b.wire, http2.ErrCodeEnhanceYourCalm, fmt.Sprintf("a header block of more than %d bytes, larger than is read", maxFrame), b.offset, b.frames)
		h.stopped[dir] = true
		return
	}
	if fh.Flags.Has(http2.FlagEndHeaders) {
		b.open = false
		h.headers(e, t, dir, b)
	}
}

// fieldList is a header block as it was read.
type fieldList struct {
	known   httpfield.List // the fields of which all is known
	listed  []trace.Header // all of them
	unknown int            // how many fields are not in known
}

// value is that of a field, which is not known when fields are missing.
func (l *fieldList) value(name string) string {
	v, ok := l.known.Get(name)
	if !ok && l.unknown > 0 {
		return notKnown
	}
	return v
}

// What stands for what the capture does not show: in a URL, and for one.
const (
	notKnown       = "(unknown)"
	notCapturedURL = "(request not captured)"
)

// behind tells whether there may be requests that were not read: bytes of the
// client are missing, or wait behind some that are.
func (h *h2conn) behind() bool {
	return h.holes[capture.Out] || h.stopped[capture.Out] || h.l.c.behind(capture.Out)
}

// decode reads a header block. It is false where that cannot be done.
func (h *h2conn) decode(t clock.Time, dir capture.Direction, b *headerBlock) (l fieldList, ok bool) {
	reps, err := h.dec[dir].Explain(b.block, hpack.Limits{})
	if err != nil {
		at, length := b.offset, b.frames
		if bad, is := err.(*hpack.Error); is {
			if off, known := b.place(bad.Offset); known {
				at, length = off, 1
			}
		}
		h.violation(t, dir, b.wire, http2.ErrCodeCompression, err.Error(), at, length)
		h.stopped[dir] = true
		return l, false
	}
	for _, r := range reps {
		if r.Kind == hpack.SizeUpdate {
			continue
		}
		hd := trace.Header{Name: r.Field.Name, Value: r.Field.Value, Size: r.Length, Coding: r.Coding()}
		switch {
		case r.ValueUnknown:
			hd.Unknown = trace.UnknownField
		case r.NameUnknown:
			hd.Unknown = trace.UnknownName
		}
		if hd.Unknown == "" {
			l.known = append(l.known, r.Field)
		} else {
			l.unknown++
		}
		if off, ok := b.place(r.Offset); ok {
			rg := h.l.ranges(dir, off, int64(r.Length))[0]
			hd.Bytes = &rg
		}
		l.listed = append(l.listed, hd)
	}
	return l, true
}

// headers takes a complete header block.
func (h *h2conn) headers(e *trace.Event, t clock.Time, dir capture.Direction, b *headerBlock) {
	fields, ok := h.decode(t, dir, b)
	if !ok {
		e.Text += ": a header block that cannot be read"
		return
	}
	plain := 0
	for _, f := range fields.known {
		plain += len(f.Name) + len(f.Value) + 4
	}
	e.Text += fmt.Sprintf(": %s, %d fields in %d bytes", fields.headline(), len(fields.listed), len(b.block))
	if fields.unknown == 0 {
		e.Text += fmt.Sprintf(" (%d in HTTP/1)", plain)
	} else {
		e.Text += fmt.Sprintf("; %d of them refer to header blocks that were not captured and are not known", fields.unknown)
	}
	if b.push {
		if dir == capture.In {
			h.promise(e, b, &fields)
		}
		return
	}
	s := h.stream(dir, b.stream, &fields)
	if s == nil {
		return
	}
	e.Exchange = s.x.tr.ID
	end := b.flags.Has(http2.FlagEndStream)
	if dir == capture.Out {
		h.requestHead(e, s, b, &fields, end)
	} else if !h.responseHead(e, t, s, b, &fields, end) {
		return
	}
	if s.x.sendFirst == e || s.x.respFirst == e {
		h.l.dnsHead(t, s.x, dir, e)
	}
	if end {
		h.endStream(e, t, s, dir)
	}
}

// stream finds the stream of a header block, or makes it.
func (h *h2conn) stream(dir capture.Direction, id uint32, fields *fieldList) *h2stream {
	s := h.streams[id]
	if s != nil || len(h.streams) >= maxStreams || id == 0 {
		h.opened(dir, id)
		return s
	}
	defer h.opened(dir, id)
	if dir == capture.In {
		// The server opens none but by a promise: the request was not captured,
		// or comes later, where the two directions are out of step. Trailers of a
		// stream that is not known tell nothing.
		if !h.behind() || !fields.begins(":status") || id%2 == 0 || id <= max(h.highest[capture.In], h.highest[capture.Out]) {
			return nil
		}
		s = h.newStream(id, h.l.c.request(id))
		s.lost[capture.Out] = true
		// Nothing of the client was captured, and nothing of it waits.
		s.ended[capture.Out] = len(h.facts.FramesOut) == 0 && !h.l.c.behind(capture.Out)
		s.x.apart = true
		s.x.tr.Protocol, s.x.tr.URL = trace.ProtocolHTTP2, notCapturedURL
		return s
	}
	if id <= h.highest[dir] || id%2 == 0 || h.holes[dir] && !fields.begins(":method") {
		return nil // of a stream that is over, or trailers of one that was not seen
	}
	return h.newStream(id, h.l.c.request(id))
}

// opened takes note of a stream that a side used.
func (h *h2conn) opened(dir capture.Direction, id uint32) {
	if id%2 == 1 {
		h.highest[dir] = max(h.highest[dir], id)
	} else if dir == capture.In {
		h.promised = max(h.promised, id)
	}
}

func (h *h2conn) newStream(id uint32, x *exchange) *h2stream {
	s := &h2stream{id: id, x: x, length: -1}
	x.tr.Stream = id
	h.streams[id] = s
	h.open++
	h.facts.MaxConcurrent = max(h.facts.MaxConcurrent, h.open)
	h.trust(s, capture.Out)
	h.trust(s, capture.In)
	// It began behind whatever is missing of the connection.
	x.apart = h.holes != [2]bool{}
	return s
}

// begins tells whether the fields can be those of a head, which begins with
// pseudo-header fields: none that is known says otherwise.
func (l *fieldList) begins(pseudo string) bool {
	if l.known.Has(pseudo) {
		return true
	}
	return len(l.listed) > 0 && l.listed[0].Unknown != ""
}

func (l *fieldList) headline() string {
	if s, ok := l.known.Get(":status"); ok {
		return s
	}
	if m, ok := l.known.Get(":method"); ok {
		return m + " " + l.value(":path")
	}
	if l.unknown > 0 {
		return "fields"
	}
	return "trailers"
}

// requestHead takes the fields that a client sent.
func (h *h2conn) requestHead(e *trace.Event, s *h2stream, b *headerBlock, fields *fieldList, end bool) {
	x := s.x
	if x.sendFirst != nil {
		x.tr.Request.Trailers = fields.listed
		x.sendLast = e
		return
	}
	if x.tr.URL == notCapturedURL {
		x.tr.URL = ""
	}
	h.found(s, capture.Out)
	s.requested(b, fields, end)
	x.sendFirst, x.sendLast = e, e
	if g := h.goAway[capture.In]; g != nil && s.id > g.LastStreamID {
		h.fail(s, e, h.goneAwayFrom(s, ""))
	}
}

// requested fills in what the head of a request says.
func (s *h2stream) requested(b *headerBlock, fields *fieldList, end bool) {
	x := s.x
	x.tr.Protocol = trace.ProtocolHTTP2
	x.tr.Method = fields.value(":method")
	x.tr.URL = fields.url()
	s.tunnel = x.tr.Method == "CONNECT" && !fields.known.Has(":protocol")
	s.websocket = x.tr.Method == "CONNECT" && fields.known.Value(":protocol") == webSocketProtocol.upgrade
	s.head = fields.known.Size()
	target := fields.value(":path")
	if s.tunnel {
		target = fields.value(":authority")
	}
	x.tr.Request = trace.Request{Method: x.tr.Method, Target: target, Headers: fields.listed, HeadersSize: int64(len(b.block)), Body: h2Body(fields.known, end)}
}

// url is the target URI of a request (RFC 9113 §8.3.1).
func (l *fieldList) url() string {
	authority := l.value(":authority")
	if host, ok := l.known.Get("host"); ok && !l.known.Has(":authority") {
		authority = host
	}
	scheme, path := l.value(":scheme"), l.value(":path")
	switch {
	case l.known.Value(":method") == "CONNECT" && !l.known.Has(":protocol"):
		return authority // where a tunnel is to lead: no URL is asked for
	case path == "*":
		path = ""
	}
	return scheme + "://" + authority + path
}

// promise takes a request that the server makes up for the client, whose
// response it is going to send (RFC 9113 §8.4).
func (h *h2conn) promise(e *trace.Event, b *headerBlock, fields *fieldList) {
	e.Text += fmt.Sprintf(", promised on stream %d", b.stream)
	if b.stream == 0 || b.stream%2 == 1 || b.stream <= h.promised || len(h.streams) >= maxStreams {
		return
	}
	h.opened(capture.In, b.stream)
	s := h.newStream(b.stream, h.l.c.request(b.stream))
	s.ended[capture.Out] = true
	s.requested(b, fields, true)
	s.x.sendFirst, s.x.sendLast = e, e
	s.x.tr.Cause = trace.CausePush
	if parent := h.streams[b.wire]; parent != nil {
		s.x.tr.Predecessor = parent.x.tr.ID
	}
	e.Exchange = s.x.tr.ID
}

// responseHead takes the fields that a server sent. It is false for a response
// that is not the last one of its stream.
func (h *h2conn) responseHead(e *trace.Event, t clock.Time, s *h2stream, b *headerBlock, fields *fieldList, end bool) bool {
	x := s.x
	if x.tr.Response != nil {
		x.tr.Response.Trailers = fields.listed
		x.respLast = e
		if fields.unknown == 0 && s.illegal == "" {
			h.illegal(e, t, s, fields, http2.CheckTrailers(fields.known, end), false)
		}
		return true
	}
	status, length, what := http2.CheckResponse(fields.known)
	if fields.unknown > 0 {
		what = "" // what is not known may be what seems to be missing
	}
	if status >= 100 && status < 200 && what == "" {
		x.informational = append(x.informational, status)
		if end {
			h.illegal(e, t, s, fields, "an informational response ends the stream", true)
		}
		return end
	}
	x.tr.Response = &trace.Response{Status: status, Headers: fields.listed, HeadersSize: int64(len(b.block)), Body: h2Body(fields.known, end)}
	x.respFirst, x.respLast = e, e
	x.coded.begin(x)
	if x.fault != nil && x.fault.Code == trace.FailGoAway {
		x.fault, x.failed = nil, nil // it looked at the request after all
	}
	if status >= 200 {
		h.found(s, capture.In) // it begins behind what is missing
	}
	if fields.unknown == 0 {
		s.bodiless = http2.Bodiless(x.tr.Method, status)
		if s.bodiless == "" && x.tr.Method != "" && x.tr.Method != notKnown {
			s.length = length
		}
		h.illegal(e, t, s, fields, what, true)
	}
	if s.tunnel && status/100 == 2 {
		s.length, s.bodiless = -1, ""
		e.Text += "; from here on the stream is a tunnel to " + x.tr.Request.Target
	}
	if s.websocket && status/100 == 2 {
		s.length, s.bodiless = -1, ""
		s.above = webSocketProtocol.open(&layer{c: h.l.c, at: h.carriedBy(s)}, x)
	}
	return true
}

// illegal notes by what a response breaks the rules, and where.
func (h *h2conn) illegal(e *trace.Event, t clock.Time, s *h2stream, fields *fieldList, what string, inHead bool) {
	if what == "" || s.illegal != "" {
		return
	}
	s.illegal, s.inHead = what, inHead
	at := e.Bytes
	if fields != nil && fields.unknown == 0 {
		for i := range fields.known {
			if b := fields.listed[i].Bytes; b != nil && http2.CheckField(&fields.known[i]) == what {
				at = h.l.ranges(capture.In, b.Offset, b.Length)
			}
		}
	}
	n := h.l.c.a.event(t, trace.LayerHTTP2, trace.LayerHTTP2.Malformed(), "the response breaks the rules: "+what)
	n.Connection, n.Exchange, n.Stream, n.Direction = e.Connection, s.x.tr.ID, s.id, e.Direction
	n.Bytes = at
	h.fail(s, n, s.breaksRules())
}

func h2Body(f httpfield.List, ended bool) trace.Body {
	b := emptyBody()
	b.Encoding = f.Value("content-encoding")
	if v, ok := f.Get("content-length"); ok {
		fmt.Sscanf(v, "%d", &b.Announced)
	}
	if ended {
		b.Complete = true
	} else {
		b.Framing = trace.FramingEndStream
	}
	return b
}
