package analyze

import (
	"fmt"
	"strings"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/http1"
	"peel/wire/httpfield"
)

// h1conn reads the HTTP/1 messages of one connection.
type h1conn struct {
	c       *conn
	reader  [2]http1.Reader
	pending []*exchange // sent and not yet answered, oldest first
	sending *exchange
	message [2]struct {
		offset int64 // of the message's first byte
		body   int64
	}
	stopped [2]bool
	over    [2]bool // no more bytes will come
	// switched is the protocol that a 101 response has just changed to.
	switched string
}

func newH1(c *conn) *h1conn {
	h := &h1conn{c: c}
	h.reader[capture.Out].Reset(http1.ServerRole, http1.Limits{Observe: true})
	h.reader[capture.In].Reset(http1.ClientRole, http1.Limits{Observe: true})
	return h
}

// run takes what is there in one direction.
func (h *h1conn) run(t clock.Time, dir capture.Direction) {
	h.read(t, dir)
	if dir == capture.Out {
		h.read(t, capture.In) // what waited for the request
	}
}

// close takes the end of one direction.
func (h *h1conn) close(t clock.Time, dir capture.Direction) {
	h.over[dir] = true
	h.run(t, dir)
}

func (h *h1conn) read(t clock.Time, dir capture.Direction) {
	f := &h.c.app[dir]
	for !h.stopped[dir] {
		if dir == capture.In && len(h.pending) == 0 {
			// Bytes that no request asked for wait until there is one.
			if h.over[capture.In] && h.over[capture.Out] && len(f.buf) > 0 {
				h.stopped[dir] = true
				e := h.c.message(t, trace.LayerHTTP1, "http1.unasked", fmt.Sprintf("%d bytes from the server that no request asked for", len(f.buf)), dir, f.offset, len(f.buf), f.buf)
				e.RawLength = len(f.buf)
			}
			return
		}
		first := f.first
		ev, n, err := h.reader[dir].Next(f.buf, h.over[dir])
		if err != nil {
			h.malformed(t, dir, err)
			h.stopped[dir] = true
			return
		}
		switch ev.Kind {
		case http1.NeedMore:
			f.take(n, t)
			if len(f.buf) > 0 {
				f.first = first
			}
			return
		case http1.HeadEvent:
			if dir == capture.Out {
				h.request(first, t, f, n, ev.Head)
			} else {
				h.response(first, t, f, n, ev.Head)
			}
		case http1.Data:
			h.data(dir, f.offset, ev.Data)
		case http1.End:
			h.end(t, dir, f.offset+int64(n), ev.Trailers)
		case http1.Tunnel, http1.Closed:
			h.stopped[dir] = true
		}
		f.take(n, t)
		if h.switched != "" {
			to, x := h.switched, h.pending[0]
			h.switched, h.pending = "", nil
			h.c.upgrade(t, x, to)
			return
		}
	}
}

// maxPipelined bounds the requests that wait for their responses.
const maxPipelined = 10_000

func (h *h1conn) request(first, t clock.Time, f *stretch, n int, head *http1.Head) {
	if len(h.pending) >= maxPipelined {
		h.malformed(t, capture.Out, fmt.Errorf("more than %d requests without a response", maxPipelined))
		h.stopped[capture.Out] = true
		return
	}
	x := h.c.request(0)
	h.sending = x
	h.pending = append(h.pending, x)
	h.message[capture.Out].offset, h.message[capture.Out].body = f.offset, 0
	h.reader[capture.In].ExpectResponseTo(head.Method)
	x.tr.Protocol = version(head.Minor)
	x.tr.Method = head.Method
	x.tr.Request = trace.Request{Method: head.Method, Target: head.Target, Headers: h.headers(capture.Out, f, n, head.Fields),
		HeadersSize: int64(n), Body: body(head)}
	if x.tr.URL == "" {
		scheme := "http"
		if h.c.tls != nil && h.c.tls.active {
			scheme = "https"
		}
		x.tr.URL = scheme + "://" + head.Fields.Value("Host") + head.Target
	}
	e := h.c.message(first, trace.LayerHTTP1, "http1.request", fmt.Sprintf("%s %s %s, %d fields, %d bytes", head.Method, head.Target, version(head.Minor), len(head.Fields), n), capture.Out, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	x.sendFirst, x.sendLast = e, e
	if first != t {
		// The head came in pieces: its end is another event.
		x.sendLast = h.c.a.event(t, trace.LayerHTTP1, "http1.request_head_end", "the request's head is complete")
		x.sendLast.Exchange, x.sendLast.Connection = x.tr.ID, h.c.tr.ID
	}
}

func (h *h1conn) response(first, t clock.Time, f *stretch, n int, head *http1.Head) {
	x := h.pending[0]
	h.message[capture.In].offset, h.message[capture.In].body = f.offset, 0
	e := h.c.message(first, trace.LayerHTTP1, "http1.response", fmt.Sprintf("%s %d %s, %d fields, %d bytes", version(head.Minor), head.Status, head.Reason, len(head.Fields), n), capture.In, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	if head.Status < 200 && head.Status != 101 {
		x.informational = append(x.informational, head.Status)
		return
	}
	x.respFirst, x.respLast = e, e
	x.tr.Response = &trace.Response{Status: head.Status, Reason: head.Reason, Headers: h.headers(capture.In, f, n, head.Fields),
		HeadersSize: int64(n), Body: body(head)}
	if head.Status == 101 {
		h.switched = strings.ToLower(strings.TrimSpace(head.Fields.Value("Upgrade")))
		x.tr.Response.Body.Complete = true
	}
	for _, d := range head.Deviations {
		o := h.c.a.event(t, trace.LayerHTTP1, "http1.deviation", "the response bends the rules: "+d)
		o.Exchange, o.Connection = x.tr.ID, h.c.tr.ID
	}
}

func version(minor int) trace.Protocol {
	if minor == 0 {
		return trace.ProtocolHTTP10
	}
	return trace.ProtocolHTTP11
}

func body(head *http1.Head) trace.Body {
	b := emptyBody()
	b.Encoding = head.Fields.Value("Content-Encoding")
	if head.ContentLength >= 0 {
		b.Announced = head.ContentLength
	}
	switch head.Framing {
	case http1.ContentLength:
		b.Framing = trace.FramingContentLength
	case http1.Chunked:
		b.Framing = trace.FramingChunked
	case http1.UntilClose:
		b.Framing = trace.FramingClose
	default:
		b.Complete = true
	}
	return b
}

// headers lists fields with what each cost and where it stands.
func (h *h1conn) headers(dir capture.Direction, f *stretch, n int, fields httpfield.List) []trace.Header {
	out := make([]trace.Header, 0, len(fields))
	lines := http1.FieldLines(f.buf[:n])
	for i, fl := range fields {
		hd := trace.Header{Name: fl.Name, Value: fl.Value, Size: len(fl.Name) + len(fl.Value) + 4}
		if i < len(lines) {
			hd.Size = lines[i].Length
			r := h.c.ranges(dir, f.offset+int64(lines[i].Offset), int64(lines[i].Length))[0]
			hd.Bytes = &r
		}
		out = append(out, hd)
	}
	return out
}

// current is the exchange whose message is under way in a direction.
func (h *h1conn) current(dir capture.Direction) *exchange {
	if dir == capture.Out {
		return h.sending
	}
	if len(h.pending) > 0 {
		return h.pending[0]
	}
	return nil
}

func (h *h1conn) data(dir capture.Direction, offset int64, b []byte) {
	x := h.current(dir)
	if x == nil {
		return
	}
	h.message[dir].body += int64(len(b))
	if dir == capture.Out {
		h.c.piece(&x.tr.Request.Body, dir, offset, b)
	} else if x.tr.Response != nil {
		h.c.piece(&x.tr.Response.Body, dir, offset, b)
	}
}

// release lets go of what only a running connection needs.
func (h *h1conn) release() {
	h.reader = [2]http1.Reader{}
	h.stopped = [2]bool{true, true}
	h.pending, h.sending = nil, nil
}

func (h *h1conn) end(t clock.Time, dir capture.Direction, offset int64, trailers httpfield.List) {
	x := h.current(dir)
	if x == nil {
		return
	}
	m := &h.message[dir]
	var e *trace.Event
	if m.body > 0 || len(trailers) > 0 {
		e = h.c.a.event(t, trace.LayerHTTP1, "http1.body", fmt.Sprintf("body complete: %d bytes", m.body))
		e.Connection, e.Exchange, e.Direction = h.c.tr.ID, x.tr.ID, dirNames[dir]
		e.Bytes = h.c.ranges(dir, m.offset, offset-m.offset)
		e.RawLength = int(offset - m.offset)
	}
	var tr []trace.Header
	for _, f := range trailers {
		tr = append(tr, trace.Header{Name: f.Name, Value: f.Value, Size: len(f.Name) + len(f.Value) + 4})
	}
	if dir == capture.Out {
		x.tr.Request.Body.Complete = true
		x.tr.Request.Trailers = tr
		if e != nil {
			x.sendLast = e
		}
		h.sending = nil
		return
	}
	if x.tr.Response == nil || x.respFirst == nil {
		return // an interim response
	}
	x.tr.Response.Body.Complete = true
	x.tr.Response.Trailers = tr
	if e != nil {
		x.respLast = e
	}
	h.pending = append(h.pending[:0], h.pending[1:]...)
}

func (h *h1conn) malformed(t clock.Time, dir capture.Direction, err error) {
	e := h.c.a.event(t, trace.LayerHTTP1, "http1.malformed", strings.TrimPrefix(err.Error(), "http1: "))
	e.Connection, e.Direction = h.c.tr.ID, dirNames[dir]
	if x := h.current(dir); x != nil {
		e.Exchange = x.tr.ID
		if dir == capture.In && x.respFirst != nil {
			x.respLast = e
		}
		if x.tr.Failure == nil && dir == capture.In {
			x.tr.Failure = &trace.Failure{Layer: trace.LayerHTTP1, Code: trace.FailMalformed, Seen: e.Text}
			x.failed = e
		}
	}
}
