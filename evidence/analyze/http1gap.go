package analyze

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/http1"
)

// A capture can lack bytes, and so messages. Behind the gap the next message is
// looked for where one can begin, and a response is given to the request that it
// answers by what the two sides had received of each other when they sent them:
// a client that waits for each response begins the next request when it has
// acknowledged all of it, so that the response to a request begins where that
// request's acknowledgement stands.

// arrival says where bytes that came together begin in the layer, and what their
// sender had received by then.
type arrival struct {
	offset int64
	ack    uint32
	acks   bool
}

// search looks for the beginning of a message behind a gap, or behind one that
// cannot be read.
type search struct {
	passed    int64 // bytes that belong to no message that can be read
	malformed bool  // nothing is missing
}

// Bounds of what waits: bytes of responses whose requests have not come, and the
// pieces in which they came.
const (
	maxWaiting  = 1 << 20
	maxArrivals = 1 << 13
)

// role is who reads what is sent in a direction.
func role(dir capture.Direction) http1.Role {
	if dir == capture.Out {
		return http1.ServerRole
	}
	return http1.ClientRole
}

// arrived takes note of n bytes that are about to be added.
func (h *h1conn) arrived(dir capture.Direction, n int) {
	f := &h.l.in[dir]
	if n == 0 || h.stopped[dir] || len(h.pieces[dir]) >= maxArrivals {
		return
	}
	p := arrival{offset: f.offset + int64(len(f.buf))}
	p.ack, p.acks = h.l.c.acked(dir)
	h.pieces[dir] = append(h.pieces[dir], p)
}

// passed forgets the pieces before the one that is read now.
func (h *h1conn) passed(dir capture.Direction) {
	list, at := h.pieces[dir], h.l.in[dir].offset
	n := 0
	for n+1 < len(list) && list[n+1].offset <= at {
		n++
	}
	if n > 0 {
		h.pieces[dir] = append(list[:0], list[n:]...)
	}
}

// ackAt is what the sender of the byte at offset had received.
func (h *h1conn) ackAt(dir capture.Direction, offset int64) (ack uint32, ok bool) {
	for _, p := range h.pieces[dir] {
		if p.offset > offset {
			break
		}
		ack, ok = p.ack, p.acks
	}
	return ack, ok
}

// place is where a byte of the layer stands in the stream of the socket, or the
// message of the layer below that carried it.
func (h *h1conn) place(dir capture.Direction, offset int64) int64 {
	if h.l.below != nil {
		if r, ok := h.l.below(dir, offset, 1); ok {
			return r.Offset
		}
	}
	return offset
}

// beginLate is for a connection whose beginning was not captured.
func (h *h1conn) beginLate() {
	h.doubt = true
	h.pending = append(h.pending, &h1request{hole: true})
	h.search = [2]*search{{}, {}}
}

// gap passes over n missing bytes.
func (h *h1conn) gap(t clock.Time, dir capture.Direction, n int64) bool {
	f := &h.l.in[dir]
	if h.stopped[dir] {
		f.offset += n + int64(len(f.buf))
		f.buf = nil
		return true
	}
	if len(f.buf) == 0 && h.search[dir] == nil && n > 0 && h.reader[dir].Missing(n) {
		h.passBody(dir, n)
		f.offset += n
		h.run(t, dir)
		return true
	}
	if dir == capture.In && len(f.buf) > 0 && h.search[dir] == nil && h.reader[dir].InHead() && h.current(dir) == nil {
		// Whole messages may be waiting for their requests: they will not come
		// any more, or stand behind this.
		h.final = true
		h.read(t, dir)
		h.final = false
		if h.l.dec != h {
			return false
		}
	}
	h.cut(t, dir)
	h.skip(dir, n+int64(len(f.buf)))
	f.buf = nil
	if h.search[dir] == nil {
		h.search[dir] = &search{}
	}
	if dir == capture.Out {
		h.read(t, capture.In)
	}
	return true
}

// skip passes over n bytes, there or not.
func (h *h1conn) skip(dir capture.Direction, n int64) {
	h.reader[dir].Resume(n)
	h.l.in[dir].offset += n
	h.passed(dir)
}

// passBody counts missing bytes that are of a body.
func (h *h1conn) passBody(dir capture.Direction, n int64) {
	a := h.current(dir)
	if a == nil {
		return
	}
	h.message[dir].body += n
	b := &a.x.tr.Request.Body
	if dir == capture.In {
		if a.x.tr.Response == nil {
			return
		}
		b = &a.x.tr.Response.Body
		a.x.coded.drop(h.l.c.a)
	}
	b.WireSize += n
	b.Missing += n
}

// cut ends the message that a gap tears, and says what is known of it.
func (h *h1conn) cut(t clock.Time, dir capture.Direction) {
	h.torn(t, dir)
	if dir == capture.Out {
		h.begun = nil
		if a := h.sending; a != nil {
			h.missing(t, dir, a.x, fmt.Sprintf("the rest of the request is missing from the capture, from byte %d of its body on", a.x.tr.Request.Body.WireSize))
			h.sending = nil
		}
		if n := len(h.pending); n == 0 || !h.pending[n-1].hole {
			h.pending = append(h.pending, &h1request{hole: true})
		}
		return
	}
	if a := h.current(dir); a != nil && a.answered {
		h.missing(t, dir, a.x, fmt.Sprintf("the rest of the response is missing from the capture, from byte %d of its body on", a.x.tr.Response.Body.WireSize))
		a.x.coded.drop(h.l.c.a)
		h.pending = append(h.pending[:0], h.pending[1:]...)
	} else if a != nil {
		a.matched = false
	}
	h.doubt = true
}

// torn shows what there is of a head whose rest is missing, when its first line
// is whole.
func (h *h1conn) torn(t clock.Time, dir capture.Direction) {
	f := &h.l.in[dir]
	if len(f.buf) == 0 || !h.reader[dir].InHead() {
		return
	}
	if h.search[dir] != nil {
		if start, _ := h.piece(dir, 0); !start || dir == capture.In {
			return
		}
	}
	// A line that is cut says something else than what was sent.
	b := f.buf[:bytes.LastIndexByte(f.buf, '\n')+1]
	if dir == capture.Out && len(b) == 0 {
		b = f.buf
	}
	if yes, _ := http1.Begins(role(dir), b); !yes && (dir == capture.In || !http1.Torn(b)) {
		return
	}
	head := http1.Glimpse(role(dir), b)
	if dir == capture.Out {
		if len(h.pending) >= maxPipelined {
			return
		}
		a := h.ask(f.offset, len(b), head.Method)
		h.asks(a.x, f, len(b), head)
		h.requestEvent(f.first, t, a, f, len(b), fmt.Sprintf("%s %s %s, the rest of the head is missing from the capture", head.Method, head.Target, version(head.Minor)))
		h.connecting = false
		return
	}
	a := h.current(dir)
	if a == nil || head.Status < 200 {
		return
	}
	h.partial(f.first, f, len(b), a, head, "the rest of the head is missing from the capture")
}

// partial shows a response of which not all that its head says is known.
func (h *h1conn) partial(t clock.Time, f *stretch, n int, a *h1request, head *http1.Head, why string) {
	x := a.x
	e := h.l.message(t, trace.LayerHTTP1, trace.EventHTTP1Response, fmt.Sprintf("%s %d %s: %s", version(head.Minor), head.Status, head.Reason, why), capture.In, f.offset, n, f.buf[:n])
	e.Exchange = x.tr.ID
	a.answered = true
	x.respFirst, x.respLast = e, e
	x.tr.Protocol = version(head.Minor)
	b := emptyBody()
	b.Encoding = head.Fields.Value("Content-Encoding")
	x.tr.Response = &trace.Response{Status: head.Status, Reason: head.Reason, Headers: h.headers(capture.In, f, n, head.Fields), HeadersSize: int64(n), Body: b}
}

// missing says of an exchange what the capture lacks of it.
func (h *h1conn) missing(t clock.Time, dir capture.Direction, x *exchange, text string) {
	e := h.note(t, dir, x, text)
	e.Layer, e.Name = trace.LayerCapture, trace.EventHTTP1Missing
}

// found looks for the next message in what is there. It tells whether the reader
// can go on.
func (h *h1conn) found(t clock.Time, dir capture.Direction) bool {
	f := &h.l.in[dir]
	// A message begins where bytes came anew, or behind an empty line, which ends
	// a head, or where a request says that its response does.
	keep := len(f.buf)
	for at := 0; at < len(f.buf); {
		start, end := h.piece(dir, at)
		b := f.buf[at:]
		if !start {
			b = f.buf[at:end] // a line that goes on in the next piece began with one
		}
		yes, more := http1.Begins(role(dir), b)
		fits, waits := yes, more && start
		if yes && dir == capture.In {
			fits, waits = h.fits(f.offset + int64(at))
		}
		if fits {
			h.pass(t, dir, at)
			h.unreadable(t, dir)
			h.search[dir] = nil
			return true
		}
		if waits && !h.over[dir] && !h.final && len(b) < maxWaiting {
			keep = at
			break
		}
		at = h.next(dir, at)
	}
	h.pass(t, dir, keep)
	return false
}

// piece tells whether bytes came anew at a place of what is there, and where the
// next did.
func (h *h1conn) piece(dir capture.Direction, at int) (start bool, end int) {
	f := &h.l.in[dir]
	end = len(f.buf)
	list := h.pieces[dir]
	i := sort.Search(len(list), func(i int) bool { return list[i].offset >= f.offset+int64(at) })
	if i < len(list) && list[i].offset == f.offset+int64(at) {
		start = true
		i++
	}
	if i < len(list) {
		end = min(end, int(list[i].offset-f.offset))
	}
	return start, end
}

// unreadable tells of the bytes that were passed over.
func (h *h1conn) unreadable(t clock.Time, dir capture.Direction) {
	if s := h.search[dir]; s != nil && s.passed > 0 {
		if s.malformed {
			h.note(t, dir, nil, fmt.Sprintf("%d bytes behind a message that is not valid are not read", s.passed)).RawLength = int(s.passed)
			return
		}
		e := h.note(t, dir, nil, fmt.Sprintf("%d bytes are of no message that can be read: its beginning is missing", s.passed))
		e.Layer, e.Name, e.RawLength = trace.LayerCapture, trace.EventHTTP1Missing, int(s.passed)
	}
}

// pass counts n bytes that cannot be read.
func (h *h1conn) pass(t clock.Time, dir capture.Direction, n int) {
	if n == 0 {
		return
	}
	h.search[dir].passed += int64(n)
	h.reader[dir].Resume(int64(n))
	h.take(dir, n, t)
}

// next is the next place behind at where a message can begin.
func (h *h1conn) next(dir capture.Direction, at int) int {
	f := &h.l.in[dir]
	_, best := h.piece(dir, at)
	if i := bytes.Index(f.buf[at:best], []byte("\r\n\r\n")); i >= 0 {
		best = min(best, at+i+4)
	}
	if dir == capture.In && h.l.below == nil {
		for _, a := range h.pending {
			if o, ok := h.acknowledged(a); ok && o > f.offset+int64(at) {
				best = min(best, int(min(o-f.offset, int64(best))))
				break
			}
		}
	}
	return best
}

// fits tells whether a response can begin at offset: one that a request which was
// seen waits for, or one whose request may be missing. It waits as answers does.
func (h *h1conn) fits(offset int64) (ok, waits bool) {
	switch i, which, waits := h.answers(offset); {
	case waits && !h.final:
		return false, true
	case i >= 0 || which == oneOf:
		return true, false
	case which == none:
		return false, false
	}
	for _, a := range h.pending {
		if a.hole {
			return true, false
		}
	}
	return false, false
}

// which says what is known of a response whose request is not.
type which uint8

const (
	unseen which = iota // of none that was seen
	oneOf               // of one of several
	none                // it is no response: the one that is due begins elsewhere
)

// acknowledged is how far into the server's stream the client had come when it
// sent a request.
func (h *h1conn) acknowledged(a *h1request) (int64, bool) {
	if !a.acks || h.l.c.flow == nil {
		return 0, false
	}
	st := h.l.c.flow.streams[capture.In]
	return st.Offset(a.ack), st.Started()
}

// answers finds the request that the response at offset of the layer answers: an
// index into pending, or -1. It waits when the server had received bytes that have
// not come yet.
func (h *h1conn) answers(offset int64) (i int, w which, waits bool) {
	ack, acks := h.ackAt(capture.In, offset)
	at := h.place(capture.In, offset)
	i = -1
	received := int64(-1)
	if acks && h.l.c.flow != nil {
		if st := h.l.c.flow.streams[capture.Out]; st.Started() {
			if st.Missing(ack) && !h.over[capture.Out] {
				return -1, unseen, true
			}
			received = st.Offset(ack)
		}
	}
	best, same, hidden := int64(0), 0, false
	if out := &h.l.in[capture.Out]; len(out.buf) > 0 && h.search[capture.Out] == nil && received > h.place(capture.Out, out.offset) && h.reader[capture.Out].InHead() {
		// It had received of a request what is not whole here yet.
		if hidden = true; !h.final && !h.over[capture.Out] {
			return -1, unseen, true
		}
	}
	for k, a := range slices.Backward(h.pending) { // the newest that can be
		if a.hole {
			hidden = true
			continue
		}
		o, ok := h.acknowledged(a)
		if !ok || o > at || received >= 0 && a.end > received {
			continue
		}
		if i >= 0 && o != best {
			break
		}
		if i >= 0 {
			same++
		}
		i, best = k, o
	}
	switch {
	case i < 0 && !acks && len(h.pending) == 1 && !h.pending[0].hole:
		return 0, unseen, false // no packet tells, and there is one only
	case i < 0 || best == at:
		return i, unseen, false
	case same > 0:
		return -1, oneOf, false
	case hidden:
		return -1, unseen, false
	case h.l.below == nil && !h.pending[i].interim:
		// The client had received all before its request: the response begins there.
		return -1, none, false
	}
	return i, unseen, false
}

// expect finds out which request the next response answers. It is false while
// that cannot be known.
func (h *h1conn) expect(t clock.Time) bool {
	f := &h.l.in[capture.In]
	if len(h.pending) > 0 && !h.doubt && !h.pending[0].matched && len(f.buf) > 0 {
		if o, ok := h.acknowledged(h.pending[0]); ok && o < 0 {
			h.doubt = true // it was sent before the first byte of the server that was captured
		}
	}
	if len(h.pending) > 0 && !h.pending[0].hole && (h.pending[0].matched || !h.doubt) {
		if a := h.pending[0]; !a.matched && len(f.buf) > 0 {
			h.before(t, a)
			a.matched = true
			h.reader[capture.In].Answering(a.method)
		}
		return true
	}
	if len(f.buf) == 0 {
		return false
	}
	if len(h.pending) == 0 {
		return h.unexpected(t)
	}
	i, w, waits := h.answers(f.offset)
	if waits && !h.final && len(f.buf) < maxWaiting {
		return false
	}
	if i < 0 {
		broken := h.pending[0].broken
		if yes, more := http1.Begins(http1.ClientRole, f.buf); !yes {
			if more && !h.final && !h.over[capture.In] {
				return false
			}
			h.search[capture.In] = &search{malformed: broken}
			return h.found(t, capture.In) && h.expect(t)
		}
		a := &h1request{x: h.l.c.unbound(0), unseen: true, matched: true}
		a.x.apart = true
		a.x.tr.Request.Headers = []trace.Header{}
		why := "the request is missing from the capture"
		if w == oneOf {
			why = "responses are missing from the capture: which of the requests that wait this one answers cannot be told"
		}
		if broken {
			h.note(t, capture.Out, a.x, "which request this answers cannot be told: the one before was not valid")
		} else {
			h.missing(t, capture.Out, a.x, why)
		}
		h.pending = append([]*h1request{a}, h.pending...)
	} else {
		for _, a := range h.pending[:i] {
			if !a.hole {
				h.missing(t, capture.In, a.x, "the response is missing from the capture")
			}
		}
		h.pending = append(h.pending[:0], h.pending[i:]...)
		h.pending[0].matched = true
		h.doubt = false
	}
	h.reader[capture.In].Answering(h.pending[0].method)
	return true
}

// seeker is the decoder of bytes whose beginning is not there: it counts them
// until a message begins that can be told by itself.
type seeker struct {
	silent
	l *layer
}

func (s *seeker) input(t clock.Time, dir capture.Direction, b []byte) {
	if lateHTTP2(b) == yes {
		s.l.c.tr.Protocol = http2Protocol.name
		s.l.dec = openH2(s.l, nil)
		s.l.dec.input(t, dir, b)
		return
	}
	if yes, _ := http1.Begins(role(dir), b); !yes {
		s.l.in[dir].offset += int64(len(b))
		return
	}
	s.l.c.tr.Protocol = http1Protocol.name
	h := newH1(s.l)
	if len(h.pending) == 0 {
		h.beginLate()
	}
	s.l.dec = h
	h.input(t, dir, b)
}

func (s *seeker) gap(_ clock.Time, dir capture.Direction, n int64) bool {
	s.l.in[dir].offset += n
	return true
}
