package analyze

import (
	"bytes"
	"errors"
	"fmt"

	"peel/clock"
	"peel/evidence/capture"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http1"
)

// fails says what went wrong with an exchange.
func (h *h1conn) fails(x *exchange, f trace.Failure, e *trace.Event) {
	if x.fault == nil {
		x.fault = &f
		if x.failed == nil {
			x.failed = e
		}
	}
}

// malformed takes what the reader cannot read. It tells whether there is more to
// read in that direction now.
func (h *h1conn) malformed(t clock.Time, dir capture.Direction, err error) bool {
	var bad *http1.Error
	if !errors.As(err, &bad) {
		h.stopped[dir] = true
		return false
	}
	if dir == capture.Out {
		return h.badRequest(t, bad)
	}
	return h.badResponse(t, bad)
}

// headLength is the length of the head that b begins with, or all of it.
func headLength(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	if i := bytes.Index(b, []byte("\n\n")); i >= 0 {
		return i + 2
	}
	return len(b)
}

// badRequest shows a request that breaks the rules. What follows it is read from
// the next one on.
func (h *h1conn) badRequest(t clock.Time, bad *http1.Error) bool {
	f := &h.l.in[capture.Out]
	if a := h.sending; a != nil {
		e := h.note(t, capture.Out, a.x, "the request: "+bad.Detail())
		if bad.Truncated() {
			h.fails(a.x, words.RequestCut(bad.Detail()), e)
		} else {
			h.fails(a.x, words.MalformedRequest(bad.Detail()), e)
		}
		h.sending = nil
	} else if len(f.buf) > 0 && len(h.pending) < maxPipelined {
		h.shownBadly(t, bad)
	}
	if h.over[capture.Out] || bad.Truncated() {
		h.stopped[capture.Out] = true
		return false
	}
	h.reader[capture.Out].Resume(0)
	h.search[capture.Out] = &search{malformed: true}
	h.pass(t, capture.Out, headLength(f.buf))
	h.search[capture.Out].passed = 0
	if n := len(h.pending); n > 0 {
		// What stands between it and the next request may have been answered too.
		h.pending = append(h.pending, &h1request{hole: true, broken: true})
	}
	return true
}

// shownBadly makes an exchange of a head that is not valid or not whole.
func (h *h1conn) shownBadly(t clock.Time, bad *http1.Error) {
	f := &h.l.in[capture.Out]
	n := headLength(f.buf)
	n = min(n, maxShown)
	head := http1.Glimpse(http1.ServerRole, f.buf[:n])
	a := h.ask(f.offset, n, head.Method)
	h.asks(a.x, f, n, head)
	h.requestEvent(f.first, t, a, f, n, fmt.Sprintf("%s %s: not a valid request", head.Method, head.Target))
	e := h.note(t, capture.Out, a.x, "the request: "+bad.Detail())
	if bad.Truncated() {
		h.fails(a.x, words.RequestCut("the connection ended inside of the request's head"), e)
		return
	}
	h.fails(a.x, words.MalformedRequest(bad.Detail()), e)
}

// maxShown bounds the head that is shown of a request that is none.
const maxShown = 16 << 10

// badResponse says of a request that its response cannot be read, or not to its
// end.
func (h *h1conn) badResponse(t clock.Time, bad *http1.Error) bool {
	f := &h.l.in[capture.In]
	a := h.current(capture.In)
	if a == nil {
		h.stopped[capture.In] = true
		return false
	}
	x := a.x
	if bad.Truncated() && h.tornByCapture() {
		h.stopped[capture.In] = true
		return false
	}
	text := "the response: " + bad.Detail()
	if a.answered {
		text = "the response's body: " + bad.Detail()
	}
	e := h.note(t, capture.In, x, text)
	if bad.Truncated() {
		e.Name = trace.EventHTTP1CutShort
	}
	got := h.message[capture.In].body
	switch {
	case bad.Truncated() && a.answered:
		h.fails(x, h.endedEarly(bad, got), e)
		x.respLast = e
	case bad.Truncated():
		h.fails(x, h.endedInHead(), e)
		h.glimpse(t, a, bad)
	case a.answered:
		h.fails(x, words.MalformedBody(got, bad.Detail()), e)
		x.respLast = e
	default:
		h.fails(x, words.Response(bad, f.buf), e)
		h.glimpse(t, a, bad)
	}
	x.coded.drop(h.l.c.a)
	if bad.Truncated() || bad.Alien() || h.over[capture.In] {
		h.stopped[capture.In] = true
		return false
	}
	// The next response begins where the next request says so.
	h.pending = append(h.pending[:0], h.pending[1:]...)
	h.doubt = true
	h.search[capture.In] = &search{malformed: true}
	h.reader[capture.In].Resume(0)
	h.pass(t, capture.In, min(1, len(f.buf)))
	return true
}

// glimpse shows a response whose status can be known and little else.
func (h *h1conn) glimpse(t clock.Time, a *h1request, bad *http1.Error) {
	f := &h.l.in[capture.In]
	n := min(headLength(f.buf), maxShown)
	if head := http1.Glimpse(http1.ClientRole, f.buf[:n]); head.Status >= 100 && a.x.tr.Response == nil {
		h.partial(t, f, n, a, head, bad.Detail())
	}
}

// tornByCapture tells that bytes of the server are missing, so that its end says
// nothing of what it sent.
func (h *h1conn) tornByCapture() bool {
	return h.search[capture.In] != nil || h.doubt
}

// reset is the failure of an exchange whose connection an RST ended, if one did;
// doing says when.
func (h *h1conn) reset(doing string) (f trace.Failure, was bool) {
	switch flow := h.l.c.flow; {
	case flow == nil || !flow.cut:
		return f, false
	case flow.cutBy == capture.Out:
		return words.ClientLeft(true, doing), true
	}
	return words.Reset(trace.LayerHTTP1, doing), true
}

// endedEarly is a body whose end did not come, after got bytes.
func (h *h1conn) endedEarly(bad *http1.Error, got int64) trace.Failure {
	if f, was := h.reset(fmt.Sprintf("after %d bytes of body", got)); was {
		return f
	}
	return words.Truncated(bad.Detail())
}

// endedInHead is a response whose head did not come to its end.
func (h *h1conn) endedInHead() trace.Failure {
	if f, was := h.reset("in the middle of the response's head"); was {
		return f
	}
	return words.HeadCut()
}

// endedWithout is a connection that ended before a response came.
func (h *h1conn) endedWithout() trace.Failure {
	switch f, was := h.reset("before it sent a response"); {
	case was && f.Code == trace.FailClientReset:
		return words.ClientLeft(true, "before a response came")
	case was:
		return f
	case h.over[capture.Out]:
		return words.ClientLeft(false, "before a response came; the server then closed without one")
	}
	return words.Closed(trace.LayerHTTP1, "before it sent a response")
}

// cutShort notes that a reset ends a body which ends with the connection: that it
// was whole cannot be told from it (RFC 9112 §8).
func (h *h1conn) cutShort(t clock.Time) {
	a := h.current(capture.In)
	if a == nil || !a.answered || a.x.tr.Response.Body.Framing != trace.FramingClose || h.stopped[capture.In] || h.search[capture.In] != nil {
		return
	}
	f, was := h.reset(fmt.Sprintf("after %d bytes of body", a.x.tr.Response.Body.WireSize))
	if !was {
		return
	}
	e := h.note(t, capture.In, a.x, f.Seen)
	e.Name = trace.EventHTTP1CutShort
	h.fails(a.x, f, e)
	a.x.respLast = e
	h.stopped[capture.In] = true
}

// unanswered says of each request that the server's end leaves without a
// response what ended it.
func (h *h1conn) unanswered(t clock.Time) {
	if h.tornByCapture() || h.l.c.flow != nil && h.l.c.flow.analysis.Sides[1].Segments == 0 {
		return
	}
	for _, a := range h.pending {
		if a.hole || a.unseen {
			return // it may have been answered, by a response that was given to none
		}
		if a.answered || a.x.fault != nil || len(a.x.informational) > 0 && a.matched && len(h.l.in[capture.In].buf) > 0 {
			continue
		}
		f := h.endedWithout()
		e := h.note(t, capture.In, a.x, f.Seen)
		e.Name = trace.EventHTTP1CutShort
		h.fails(a.x, f, e)
	}
}

// before takes bytes that the client had received before it sent the request
// whose response is next: they are of no response to it.
func (h *h1conn) before(t clock.Time, a *h1request) {
	f := &h.l.in[capture.In]
	if h.l.below != nil {
		return
	}
	o, ok := h.acknowledged(a)
	n := o - f.offset
	if !ok || n <= 0 || n > int64(len(f.buf)) {
		return
	}
	if yes, _ := http1.Begins(http1.ClientRole, f.buf); yes {
		return
	}
	if yes, more := http1.Begins(http1.ClientRole, f.buf[n:]); !yes && !more {
		return
	}
	h.unread = n
	h.unasked(t, f.offset, f.buf[:n])
	h.told, h.unread = false, 0
	h.reader[capture.In].Resume(n)
	h.take(capture.In, int(n), t)
}

// unexpected takes bytes that came when no request waits: they stay until one
// does. When they answer the part of a request's head that is there, they are its
// response.
func (h *h1conn) unexpected(t clock.Time) bool {
	f, out := &h.l.in[capture.In], &h.l.in[capture.Out]
	if len(out.buf) > 0 && h.reader[capture.Out].InHead() && h.search[capture.Out] == nil && h.begun == nil {
		if ack, ok := h.ackAt(capture.In, f.offset); ok && h.l.c.flow != nil {
			st := h.l.c.flow.streams[capture.Out]
			yes, _ := http1.Begins(http1.ClientRole, f.buf)
			if yes && st.Offset(ack) == st.Next() && st.Next() > h.place(capture.Out, out.offset) {
				return h.answeredEarly(t)
			}
		}
	}
	if len(f.buf) > maxWaiting {
		h.unread += int64(len(f.buf))
		if !h.told {
			h.unasked(t, f.offset, f.buf)
		}
		h.reader[capture.In].Resume(int64(len(f.buf)))
		h.take(capture.In, len(f.buf), t)
		return false
	}
	if !h.final && !(h.over[capture.In] && h.over[capture.Out]) {
		return false
	}
	if yes, _ := http1.Begins(http1.ClientRole, f.buf); yes && !h.told {
		a := &h1request{x: h.l.c.unbound(0), unseen: true, matched: true}
		a.x.apart = true
		a.x.tr.Request.Headers = []trace.Header{}
		line, _, _ := bytes.Cut(f.buf[:min(len(f.buf), 200)], []byte("\n"))
		e := h.note(t, capture.In, a.x, fmt.Sprintf("a response that no request asked for: %s", bytes.TrimRight(line, "\r")))
		e.Name = trace.EventHTTP1Unsolicited
		h.pending = append(h.pending, a)
		h.reader[capture.In].Answering("")
		return true
	}
	h.unread += int64(len(f.buf))
	h.unasked(t, f.offset, f.buf)
	h.stopped[capture.In] = true
	return false
}

// answeredEarly makes an exchange of a request whose head was answered before it
// was whole.
func (h *h1conn) answeredEarly(t clock.Time) bool {
	out := &h.l.in[capture.Out]
	n := min(len(out.buf), maxShown)
	head := http1.Glimpse(http1.ServerRole, out.buf[:n])
	a := h.ask(out.offset, n, head.Method)
	h.asks(a.x, out, n, head)
	h.requestEvent(out.first, t, a, out, n, fmt.Sprintf("%s %s: answered before the head was whole", head.Method, head.Target))
	h.begun = a
	a.matched = true
	h.reader[capture.In].Answering(head.Method)
	return true
}

// unasked names bytes of the server that no request asked for.
func (h *h1conn) unasked(t clock.Time, offset int64, b []byte) {
	if h.told {
		return
	}
	h.told = true
	text := fmt.Sprintf("%d bytes from the server that no request asked for", h.unread)
	var x *exchange
	if a := h.last; a != nil && a.x.tr.Response != nil {
		x = a.x
		switch r := x.tr.Response; {
		case a.method == "HEAD":
			text = fmt.Sprintf("%d bytes behind the response to HEAD, which has no body", h.unread)
		case r.Status == 204 || r.Status == 304:
			text = fmt.Sprintf("%d bytes behind the %d response, which has no body", h.unread, r.Status)
		case r.Body.Framing == trace.FramingContentLength:
			text = fmt.Sprintf("%d bytes more than the Content-Length of %d announced", h.unread, r.Body.Announced)
		}
	}
	e := h.l.message(t, trace.LayerHTTP1, trace.EventHTTP1Unsolicited, text, capture.In, offset, len(b), b)
	e.RawLength = int(h.unread)
	if x != nil {
		e.Exchange = x.tr.ID
	}
}

// finally says what can be said of what is left when nothing more comes.
func (h *h1conn) finally(t clock.Time) {
	h.final = true
	if !h.stopped[capture.Out] {
		h.torn(t, capture.Out)
	}
	if !h.stopped[capture.In] {
		h.read(t, capture.In)
		if h.l.dec == h && h.current(capture.In) != nil {
			h.torn(t, capture.In)
		}
	}
	for _, dir := range []capture.Direction{capture.Out, capture.In} {
		h.unreadable(t, dir)
	}
}
