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
	pending []*h1request // sent and not yet answered, oldest first
	sending *h1request
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

	// Where the capture has gaps, see http1gap.go.
	pieces [2][]arrival
	search [2]*search // for the beginning of the next message
	doubt  bool       // responses may be missing before the next one
	final  bool       // nothing more will come that is worth waiting for
	begun  *h1request // a request that was answered before its head was whole

	last   *h1request // answered whole, the newest
	unread int64      // bytes of the server that no request asked for
	told   bool       // of those
}

// h1request is a request that waits for its response.
type h1request struct {
	x      *exchange
	method string
	// end is where its head ends in the stream of the socket.
	end int64
	// ack is what the client had received when it sent the request, as a
	// sequence number; acks tells that it is known.
	ack  uint32
	acks bool
	// hole is no request but a place where some may be missing; unseen is one
	// that is missing and has been answered.
	hole, unseen bool
	// broken tells of a hole that the capture lacks nothing: a request that is not
	// valid stands there, and how much of what follows is its own nobody knows.
	broken bool
	// interim tells that a 1xx response may come first.
	interim bool
	// matched tells that the next response is its own, answered that its head has
	// come.
	matched, answered bool
}

var http1Protocol = protocol{
	name: trace.ProtocolHTTP11, layer: trace.LayerHTTP1,
	fields:    func(_ *trace.Trace, e *trace.Event) []trace.Field { return http1.Fields(e.Raw) },
	recognise: recogniseHTTP1,
	open:      func(l *layer, _ *exchange) decoder { return newH1(l) },
}

// maxMethod bounds the method of a request that is recognised.
const maxMethod = 32

// maxGuess bounds the bytes of a first line that is waited for.
const maxGuess = 4096

// recogniseHTTP1 goes by the request, or by a response whose request is not in
// the capture.
func recogniseHTTP1(o *opening) guess {
	g := no
	if len(o.out) > 0 {
		if g = looksLikeHTTP1(o.out); g == yes {
			return yes
		}
	}
	// A request that breaks the rules is known by its answer.
	answers, more := http1.Begins(http1.ClientRole, o.in)
	switch {
	case answers && (len(o.out) == 0 || g == perhaps || wordy(o.out)):
		return yes
	case more && (len(o.in) > 0 || wordy(o.out)):
		return perhaps
	case len(o.in) > 0 && len(o.out) == 0:
		return no
	}
	return g
}

// wordy tells whether the first line has HTTP's version, or begins with a word of
// capitals, as that of a request does that is wrong further on.
func wordy(b []byte) bool {
	line, _, whole := bytes.Cut(b[:min(len(b), maxGuess)], []byte("\n"))
	if bytes.Contains(line, []byte("HTTP/1.")) {
		return true
	}
	for i, ch := range line[:min(len(line), maxMethod)] {
		if ch == ' ' || ch == '\r' {
			return i > 0
		}
		if (ch < 'A' || ch > 'Z') && ch != '-' && ch != '_' {
			return false
		}
	}
	return whole && len(line) > 0 && len(line) <= maxMethod
}

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
		if bytes.Contains(rest, []byte(" HTTP/1.")) || !whole && len(rest) > 0 && (rest[0] == '/' || absolute(string(rest[:min(len(rest), maxMethod)]))) {
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
	for dir := range h.reader {
		h.reader[dir].Resume(l.in[dir].offset)
	}
	// What TLS holds begins where its handshake was captured, whatever of TCP was.
	if l.late || !l.secure && l.c.late() {
		// What stands first may be the rest of a message, or answer a request
		// from before the capture.
		h.beginLate()
	}
	return h
}

func (h *h1conn) input(t clock.Time, dir capture.Direction, b []byte) {
	h.arrived(dir, len(b))
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
	if h.l.dec == h && h.over[capture.In] {
		h.unanswered(t)
	}
}

func (h *h1conn) end(t clock.Time, dir capture.Direction) {
	h.over[dir] = true
	if dir == capture.In {
		h.cutShort(t)
	}
	h.run(t, dir)
}

func (h *h1conn) read(t clock.Time, dir capture.Direction) {
	f := &h.l.in[dir]
	for !h.stopped[dir] {
		if dir == capture.Out && h.connecting {
			return // what follows is of the tunnel, if there will be one
		}
		if h.search[dir] != nil && !h.found(t, dir) {
			return
		}
		if dir == capture.In && h.reader[dir].InHead() && !h.expect(t) {
			return
		}
		first := f.first
		ev, n, err := h.reader[dir].Next(f.buf, h.over[dir])
		if err != nil {
			if !h.malformed(t, dir, err) {
				return
			}
			continue
		}
		switch ev.Kind {
		case http1.NeedMore:
			h.take(dir, n, t)
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
			h.data(t, dir, f.offset, ev.Data)
		case http1.End:
			h.ended(t, dir, f.offset+int64(n), ev.Trailers)
		case http1.Tunnel, http1.Closed:
			h.stopped[dir] = true
		}
		h.take(dir, n, t)
		if h.switched != nil {
			h.stopped = [2]bool{true, true}
			h.switched(t)
			return
		}
	}
}

// take consumes n bytes of one direction.
func (h *h1conn) take(dir capture.Direction, n int, t clock.Time) {
	h.l.in[dir].take(n, t)
	h.passed(dir)
}

// maxPipelined bounds the requests that wait for their responses.
const maxPipelined = 10_000

func (h *h1conn) request(first, t clock.Time, f *stretch, n int, head *http1.Head) {
	if len(h.pending) >= maxPipelined {
		h.note(t, capture.Out, nil, fmt.Sprintf("more than %d requests without a response", maxPipelined))
		h.stopped[capture.Out] = true
		return
	}
	a := h.ask(f.offset, n, head.Method)
	x := a.x
	h.sending = a
	h.message[capture.Out].offset, h.message[capture.Out].body = f.offset, 0
	h.connecting = head.Method == "CONNECT"
	a.interim = head.Expect100
	h.asks(x, f, n, head)
	x.tr.Request.Body = body(head)
	text := fmt.Sprintf("%s %s %s, %d fields, %d bytes", head.Method, head.Target, version(head.Minor), len(head.Fields), n)
	h.requestEvent(first, t, a, f, n, text)
	for _, d := range head.Deviations {
		h.note(t, capture.Out, x, "the request bends the rules: "+d).Name = trace.EventHTTP1Deviation
	}
}

// ask makes the exchange of a request whose head is the n bytes at offset.
func (h *h1conn) ask(offset int64, n int, method string) *h1request {
	if a := h.begun; a != nil {
		h.begun = nil
		a.method, a.end = method, h.place(capture.Out, offset+int64(n))
		return a
	}
	a := &h1request{x: h.l.c.request(0), method: method, end: h.place(capture.Out, offset+int64(n))}
	if a.x.number == 0 {
		a.x.tr.Start = h.l.c.a.time(h.l.in[capture.Out].first)
	}
	a.ack, a.acks = h.ackAt(capture.Out, offset)
	h.pending = append(h.pending, a)
	return a
}

// asks fills in what the head of a request says.
func (h *h1conn) asks(x *exchange, f *stretch, n int, head *http1.Head) {
	x.apart = true
	x.tr.Protocol = version(head.Minor)
	x.tr.Method = head.Method
	x.tr.Request = trace.Request{Method: head.Method, Target: head.Target, Headers: h.headers(capture.Out, f, n, head.Fields), HeadersSize: int64(n), Body: emptyBody()}
	if x.tr.URL == "" || x.number == 0 {
		x.tr.URL = h.url(head)
	}
}

func (h *h1conn) requestEvent(first, t clock.Time, a *h1request, f *stretch, n int, text string) {
	x := a.x
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
	target := head.Target
	if head.Method == "CONNECT" && !strings.HasPrefix(target, "/") || absolute(target) {
		return target // the authority-form asks for no URL, the absolute-form has it whole
	}
	scheme, port := "http", uint16(80)
	if h.l.secure {
		scheme, port = "https", 443
	}
	host := head.Fields.Value("Host")
	if host == "" {
		// Nobody said which site: what is known is who was asked.
		server := h.l.c.tr.RemoteAddr
		if host = server.String(); server.Port() == port {
			host = strings.TrimSuffix(host, fmt.Sprintf(":%d", port))
		}
		if !server.IsValid() {
			host = ""
		}
	}
	switch {
	case target == "*" || target == "":
		return scheme + "://" + host
	case target[0] == '/' || target[0] == '?':
		return scheme + "://" + host + target
	}
	return target // no form of RFC 9112 §3.2: what it means is the server's guess
}

// absolute tells whether a target begins with a scheme and an authority.
func absolute(target string) bool {
	i := strings.Index(target, "://")
	return i > 0 && !strings.ContainsAny(target[:i], "/?#:") && target[0] != '.'
}

func (h *h1conn) response(first, t clock.Time, f *stretch, n int, head *http1.Head) {
	a := h.pending[0]
	x := a.x
	h.message[capture.In].offset, h.message[capture.In].body = f.offset, 0
	text := fmt.Sprintf("%s %d %s, %d fields, %d bytes", version(head.Minor), head.Status, head.Reason, len(head.Fields), n)
	e := h.l.message(first, trace.LayerHTTP1, trace.EventHTTP1Response, text, capture.In, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	if head.Status < 200 && head.Status != 101 {
		x.informational = append(x.informational, head.Status)
		return
	}
	h.connecting = false
	a.answered = true
	x.respFirst, x.respLast = e, e
	x.tr.Protocol = version(head.Minor) // the answer's own: a server may be older than it was asked as
	x.tr.Response = &trace.Response{Status: head.Status, Reason: head.Reason, Headers: h.headers(capture.In, f, n, head.Fields),
		HeadersSize: int64(n), Body: body(head)}
	h.l.dnsHead(t, x, capture.In, e)
	x.coded.begin(x)
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
		h.note(t, capture.In, x, "the response bends the rules: "+d).Name = trace.EventHTTP1Deviation
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

// current is the request whose message is under way in a direction.
func (h *h1conn) current(dir capture.Direction) *h1request {
	if dir == capture.Out {
		return h.sending
	}
	if len(h.pending) > 0 && h.pending[0].matched {
		return h.pending[0]
	}
	return nil
}

func (h *h1conn) data(t clock.Time, dir capture.Direction, offset int64, b []byte) {
	a := h.current(dir)
	if a == nil {
		return
	}
	h.message[dir].body += int64(len(b))
	if dir == capture.Out {
		h.l.piece(&a.x.tr.Request.Body, dir, offset, b)
	} else if a.x.tr.Response != nil {
		h.undeclared(t, a.x, b)
		h.l.piece(&a.x.tr.Response.Body, dir, offset, b)
		a.x.coded.add(h.l.c.a, b)
	}
}

// release lets go of what only a running connection needs.
func (h *h1conn) release() {
	if h.l.dec == h && !h.l.broken {
		h.finally(h.l.c.a.now)
	}
	for _, a := range h.pending {
		if a.x != nil {
			a.x.coded.drop(h.l.c.a)
		}
	}
	h.reader = [2]http1.Reader{}
	h.stopped = [2]bool{true, true}
	h.pending, h.sending, h.begun, h.last = nil, nil, nil, nil
	h.pieces, h.search = [2][]arrival{}, [2]*search{}
}

func (h *h1conn) ended(t clock.Time, dir capture.Direction, offset int64, trailers httpfield.List) {
	a := h.current(dir)
	if a == nil {
		return
	}
	x, m := a.x, &h.message[dir]
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
	x.decodeBody(h.l.c, t)
	h.answeredWhole()
}

// answeredWhole goes on to the next response.
func (h *h1conn) answeredWhole() {
	h.last = h.pending[0]
	h.pending = append(h.pending[:0], h.pending[1:]...)
}

// note adds an event that is no message.
func (h *h1conn) note(t clock.Time, dir capture.Direction, x *exchange, text string) *trace.Event {
	e := h.l.c.a.event(t, trace.LayerHTTP1, trace.LayerHTTP1.Malformed(), text)
	e.Connection, e.Direction = h.l.c.tr.ID, dirNames[dir]
	if x != nil {
		e.Exchange = x.tr.ID
	}
	return e
}
