package analyze

import (
	"bytes"
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
	silent
	l       *layer
	reader  [2]http1.Reader
	pending []*exchange // sent and not yet answered, oldest first
	sending *exchange
	message [2]struct {
		offset int64 // of the message's first byte
		body   int64
	}
	stopped [2]bool
	over    [2]bool // no more bytes will come
	// connecting tells that a tunnel was asked for and not answered yet.
	connecting bool
	// switched is what a response has just changed to (RFC 9110 §7.8, §9.3.6).
	switched func(t clock.Time)
}

var http1Protocol = protocol{
	name: trace.ProtocolHTTP11, layer: trace.LayerHTTP1,
	fields:    func(_ *trace.Trace, e *trace.Event) []trace.Field { return http1.Fields(e.Raw) },
	recognise: func(o *opening) guess { return looksLikeHTTP1(o.out) },
	open:      func(l *layer, _ *exchange) decoder { return newH1(l) },
}

// maxMethod bounds the method of a request that is recognised.
const maxMethod = 32

// maxGuess bounds the bytes of a first line that is waited for.
const maxGuess = 4096

// looksLikeHTTP1 tells whether bytes begin a request line (RFC 9112 §3): a
// token, a space, a target, and a version.
func looksLikeHTTP1(b []byte) guess {
	if len(b) == 0 {
		return no
	}
	line, _, whole := bytes.Cut(b, []byte("\n"))
	method, rest, ok := bytes.Cut(line, []byte(" "))
	for _, ch := range method[:min(len(method), maxMethod+1)] {
		if ch < '!' || ch > '~' || ch == ':' || ch == '"' || ch == '{' || ch == '<' {
			return no
		}
	}
	switch {
	case len(method) > maxMethod || ok && len(method) == 0 || !ok && whole:
		return no
	case whole || len(b) > maxGuess:
		if i := bytes.LastIndex(rest, []byte(" HTTP/1.")); i >= 0 || len(b) > maxGuess {
			return yes
		}
		return no
	}
	return perhaps
}

func newH1(l *layer) *h1conn {
	h := &h1conn{l: l}
	h.reader[capture.Out].Reset(http1.ServerRole, http1.Limits{Observe: true})
	h.reader[capture.In].Reset(http1.ClientRole, http1.Limits{Observe: true})
	return h
}

func (h *h1conn) input(t clock.Time, dir capture.Direction, b []byte) {
	h.l.in[dir].add(t, b)
	h.run(t, dir)
}

// run takes what is there in one direction.
func (h *h1conn) run(t clock.Time, dir capture.Direction) {
	h.read(t, dir)
	if h.l.dec != h {
		return // the connection has changed to another protocol
	}
	if dir == capture.Out {
		h.read(t, capture.In) // what waited for the request
	} else if !h.connecting {
		h.read(t, capture.Out) // what waited for the answer to CONNECT
	}
}

func (h *h1conn) end(t clock.Time, dir capture.Direction) {
	h.over[dir] = true
	h.run(t, dir)
}

func (h *h1conn) read(t clock.Time, dir capture.Direction) {
	f := &h.l.in[dir]
	for !h.stopped[dir] {
		if dir == capture.In && len(h.pending) == 0 {
			// Bytes that no request asked for wait until there is one.
			if h.over[capture.In] && h.over[capture.Out] && len(f.buf) > 0 {
				h.stopped[dir] = true
				e := h.l.message(t, trace.LayerHTTP1, trace.EventHTTP1Unsolicited, fmt.Sprintf("%d bytes from the server that no request asked for", len(f.buf)), dir, f.offset, len(f.buf), f.buf)
				e.RawLength = len(f.buf)
			}
			return
		}
		if dir == capture.Out && h.connecting {
			return // what follows is of the tunnel, if there will be one
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
			h.ended(t, dir, f.offset+int64(n), ev.Trailers)
		case http1.Tunnel, http1.Closed:
			h.stopped[dir] = true
		}
		f.take(n, t)
		if h.switched != nil {
			h.stopped = [2]bool{true, true}
			h.switched(t)
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
	x := h.l.c.request(0)
	h.sending = x
	h.pending = append(h.pending, x)
	h.message[capture.Out].offset, h.message[capture.Out].body = f.offset, 0
	h.reader[capture.In].ExpectResponseTo(head.Method)
	x.tr.Protocol = version(head.Minor)
	x.tr.Method = head.Method
	h.connecting = head.Method == "CONNECT"
	x.tr.Request = trace.Request{Method: head.Method, Target: head.Target, Headers: h.headers(capture.Out, f, n, head.Fields),
		HeadersSize: int64(n), Body: body(head)}
	if x.tr.URL == "" {
		x.tr.URL = h.url(head)
	}
	text := fmt.Sprintf("%s %s %s, %d fields, %d bytes", head.Method, head.Target, version(head.Minor), len(head.Fields), n)
	e := h.l.message(first, trace.LayerHTTP1, trace.EventHTTP1Request, text, capture.Out, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	x.sendFirst, x.sendLast = e, e
	if first != t {
		// The head came in pieces: its end is another event.
		x.sendLast = h.l.c.a.event(t, trace.LayerHTTP1, trace.EventHTTP1RequestHeadEnd, "the request's head is complete")
		x.sendLast.Exchange, x.sendLast.Connection = x.tr.ID, h.l.c.tr.ID
	}
	h.l.dnsHead(t, x, capture.Out, e)
}

// url is the target URI of a request (RFC 9112 §3.3).
func (h *h1conn) url(head *http1.Head) string {
	switch {
	case head.Method == "CONNECT" && !strings.HasPrefix(head.Target, "/"):
		return head.Target // the authority-form: no URL is asked for
	case strings.Contains(head.Target, "://"):
		return head.Target // the absolute-form, which proxies are asked with
	}
	scheme := "http"
	if h.l.secure {
		scheme = "https"
	}
	if head.Target == "*" {
		return scheme + "://" + head.Fields.Value("Host")
	}
	return scheme + "://" + head.Fields.Value("Host") + head.Target
}

func (h *h1conn) response(first, t clock.Time, f *stretch, n int, head *http1.Head) {
	x := h.pending[0]
	h.message[capture.In].offset, h.message[capture.In].body = f.offset, 0
	text := fmt.Sprintf("%s %d %s, %d fields, %d bytes", version(head.Minor), head.Status, head.Reason, len(head.Fields), n)
	e := h.l.message(first, trace.LayerHTTP1, trace.EventHTTP1Response, text, capture.In, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	if head.Status < 200 && head.Status != 101 {
		x.informational = append(x.informational, head.Status)
		return
	}
	h.connecting = false
	x.respFirst, x.respLast = e, e
	x.tr.Response = &trace.Response{Status: head.Status, Reason: head.Reason, Headers: h.headers(capture.In, f, n, head.Fields),
		HeadersSize: int64(n), Body: body(head)}
	h.l.dnsHead(t, x, capture.In, e)
	switch {
	case head.Status == 101:
		x.tr.Response.Body.Complete = true
		h.switched = h.upgrade(x, strings.TrimSpace(head.Fields.Value("Upgrade")))
	case x.tr.Method == "CONNECT" && head.Status/100 == 2:
		// RFC 9110 §9.3.6: behind the head the connection is a tunnel.
		x.tr.Response.Body.Complete = true
		proxy := &trace.Proxy{Protocol: trace.ProxyCONNECT, Address: h.l.c.tr.RemoteAddr, Target: x.tr.Request.Target}
		h.switched = func(t clock.Time) { h.l.tunnel(t, proxy) }
	}
	for _, d := range head.Deviations {
		o := h.l.c.a.event(t, trace.LayerHTTP1, trace.EventHTTP1Deviation, "the response bends the rules: "+d)
		o.Exchange, o.Connection = x.tr.ID, h.l.c.tr.ID
	}
}

// upgrade goes on with another protocol where a 101 response ended HTTP/1.1.
func (h *h1conn) upgrade(x *exchange, token string) func(t clock.Time) {
	p := h.l.c.a.upgradeTo(token)
	if p == nil {
		return func(clock.Time) { h.l.ignore() }
	}
	return func(t clock.Time) { h.l.become(t, p, x) }
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
			r := h.l.ranges(dir, f.offset+int64(lines[i].Offset), int64(lines[i].Length))[0]
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
		h.l.piece(&x.tr.Request.Body, dir, offset, b)
	} else if x.tr.Response != nil {
		h.l.piece(&x.tr.Response.Body, dir, offset, b)
	}
}

// release lets go of what only a running connection needs.
func (h *h1conn) release() {
	h.reader = [2]http1.Reader{}
	h.stopped = [2]bool{true, true}
	h.pending, h.sending = nil, nil
}

func (h *h1conn) ended(t clock.Time, dir capture.Direction, offset int64, trailers httpfield.List) {
	x := h.current(dir)
	if x == nil {
		return
	}
	m := &h.message[dir]
	var e *trace.Event
	if m.body > 0 || len(trailers) > 0 {
		e = h.l.c.a.event(t, trace.LayerHTTP1, trace.EventHTTP1Body, fmt.Sprintf("body complete: %d bytes", m.body))
		e.Connection, e.Exchange, e.Direction = h.l.c.tr.ID, x.tr.ID, dirNames[dir]
		e.Bytes = h.l.ranges(dir, m.offset, offset-m.offset)
		e.RawLength = int(offset - m.offset)
	}
	var tr []trace.Header
	for _, f := range trailers {
		tr = append(tr, trace.Header{Name: f.Name, Value: f.Value, Size: len(f.Name) + len(f.Value) + 4})
	}
	if dir == capture.Out {
		x.tr.Request.Body.Complete = true
		x.tr.Request.Trailers = tr
		h.l.dnsEnd(t, x, dir)
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
	h.l.dnsEnd(t, x, dir)
	if e != nil {
		x.respLast = e
	}
	h.pending = append(h.pending[:0], h.pending[1:]...)
}

func (h *h1conn) malformed(t clock.Time, dir capture.Direction, err error) {
	e := h.l.c.a.event(t, trace.LayerHTTP1, trace.LayerHTTP1.Malformed(), strings.TrimPrefix(err.Error(), "http1: "))
	e.Connection, e.Direction = h.l.c.tr.ID, dirNames[dir]
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
