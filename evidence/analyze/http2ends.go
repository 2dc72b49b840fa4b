package analyze

import (
	"fmt"
	"maps"
	"slices"

	"peel/clock"
	"peel/evidence/capture"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http2"
)

// fail notes why a request failed, with the event that shows it. The first
// reason stands.
func (h *h2conn) fail(s *h2stream, e *trace.Event, f trace.Failure) {
	if s.x.fault != nil && s.x.fault.Code != trace.FailNotCaptured {
		return
	}
	s.x.fault = &f
	if s.x.failed == nil && s.x.number == 0 {
		s.x.failed = e
	}
}

// answered tells whether the whole response came, so that how the stream ended
// does not matter: a server resets it to be sent no more of the request, a
// client to be done with it.
func (s *h2stream) answered() bool {
	r := s.x.tr.Response
	return r != nil && s.illegal == "" && (r.Body.Complete || s.ended[capture.In])
}

// got is how much of the body came.
func (s *h2stream) got() int64 {
	if s.x.tr.Response == nil {
		return 0
	}
	return s.x.tr.Response.Body.WireSize
}

// reset takes an RST_STREAM.
func (h *h2conn) reset(e *trace.Event, dir capture.Direction, id uint32, code http2.ErrCode) {
	s := h.streams[id]
	if s == nil {
		return
	}
	e.Exchange = s.x.tr.ID
	if s.x.respFirst != nil {
		s.x.respLast = e
	}
	switch {
	case s.answered():
	case dir == capture.In:
		h.fail(s, e, words.StreamReset(id, code, s.got()))
	case s.illegal != "": // that is why
	case (code == http2.ErrCodeCancel || code == http2.ErrCodeNo) && s.x.tr.Response != nil:
		// It has seen the head and wants no more: nothing failed.
		e.Text += ": the client wants no more of the response"
	default:
		h.fail(s, e, words.StreamGivenUp(id, code, s.got()))
	}
	h.close(s, capture.In)
	h.close(s, capture.Out)
}

// breaksRules is the failure of a response that no client may take.
func (s *h2stream) breaksRules() trace.Failure {
	if s.inHead {
		return words.IllegalResponse(s.id, s.illegal)
	}
	return words.IllegalBody(s.id, s.illegal)
}

// maxGoAways bounds those GOAWAY frames for which all streams are looked at.
const maxGoAways = 16

// goneAway takes a GOAWAY.
func (h *h2conn) goneAway(e *trace.Event, dir capture.Direction, g http2.GoAway) {
	g.Debug = slices.Clone(g.Debug)
	if old := h.goAway[dir]; old != nil && old.Code != http2.ErrCodeNo && g.Code == http2.ErrCodeNo {
		g.Code, g.Debug = old.Code, old.Debug // why it ended was said before
	}
	h.goAway[dir] = &g
	// What the server said counts for more than the client's leave-taking, and
	// a reason for more than none.
	if said := h.facts.GoAway; said == nil || said.Direction == dirNames[dir] || said.Code == http2.ErrCodeNo.String() && (dir == capture.In || g.Code != http2.ErrCodeNo) {
		h.facts.GoAway = &trace.GoAway{Direction: dirNames[dir], LastStream: g.LastStreamID, Code: g.Code.String(), Debug: string(g.Debug)}
	}
	if dir == capture.Out {
		if bad := h.broke[capture.In]; bad != nil && g.Code != http2.ErrCodeNo {
			// From that frame on the client has taken nothing.
			for _, s := range h.struck {
				h.fail(s, e, words.ProtocolBroken(bad.Code, bad.What))
			}
		}
		return
	}
	if h.goAways++; h.goAways > maxGoAways {
		return
	}
	for _, s := range h.inOrder() {
		if s.id%2 == 1 && s.id > g.LastStreamID && !s.answered() {
			h.fail(s, e, h.goneAwayFrom(s, ""))
		}
	}
}

// goneAwayFrom is the failure of a stream of a connection on which the server
// said GOAWAY.
func (h *h2conn) goneAwayFrom(s *h2stream, how string) trace.Failure {
	return words.GoneAway(s.id, *h.goAway[capture.In], s.head, how)
}

// inOrder are the open streams, the oldest first.
func (h *h2conn) inOrder() []*h2stream {
	out := make([]*h2stream, 0, len(h.streams))
	for _, id := range slices.Sorted(maps.Keys(h.streams)) {
		out = append(out, h.streams[id])
	}
	return out
}

func (h *h2conn) end(t clock.Time, dir capture.Direction) {
	if h.over[dir] {
		return
	}
	h.over[dir] = true
	cut := h.l.c.flow != nil && h.l.c.flow.cut
	if dir == capture.Out && !cut {
		return // responses may still be under way
	}
	for _, s := range h.inOrder() {
		h.unanswered(t, s, cut)
	}
}

// unanswered is for a stream that the end of the connection left open.
func (h *h2conn) unanswered(t clock.Time, s *h2stream, cut bool) {
	switch {
	case s.answered() || s.x.fault != nil || s.x.number != 0 || s.tunnel && s.x.tr.Response != nil:
		return
	case s.lost[capture.In] || h.holes[capture.In] && h.grid[capture.In].seeking || s.lost[capture.Out]:
		return // what ended it may be among what is missing
	}
	if f := h.l.c.flow; f != nil && (!f.streams[capture.In].Started() || f.streams[capture.In].Behind()) {
		return // the server's side was not captured
	}
	f, told := h.whyUnanswered(s, cut)
	if !told {
		return
	}
	e := h.l.c.a.event(t, f.Layer, trace.EventRequestFailed, f.Seen)
	e.Exchange, e.Connection, e.Stream = s.x.tr.ID, h.l.c.tr.ID, s.id
	h.fail(s, e, f)
}

// whyUnanswered says why the end of the connection ended a stream, from what
// was seen before it: the first thing that went wrong. It is false when nothing
// did.
func (h *h2conn) whyUnanswered(s *h2stream, cut bool) (f trace.Failure, told bool) {
	doing := fmt.Sprintf("before it sent a response on stream %d", s.id)
	if s.x.tr.Response != nil {
		doing = fmt.Sprintf("after %d bytes of body", s.got())
	}
	client := h.goAway[capture.Out]
	byClient := cut && h.l.c.flow.cutBy == capture.Out || !cut && h.over[capture.Out]
	switch {
	case h.broke[capture.In] != nil:
		return words.ProtocolBroken(h.broke[capture.In].Code, h.broke[capture.In].What), true
	case client != nil && client.Code != http2.ErrCodeNo:
		return words.ClientGoneAway(*client), true
	case h.goAway[capture.In] != nil && cut:
		return h.goneAwayFrom(s, "and the connection was reset "+doing), true
	case h.goAway[capture.In] != nil && byClient:
		return h.goneAwayFrom(s, "and the client closed the connection "+doing), true
	case h.goAway[capture.In] != nil:
		return h.goneAwayFrom(s, "and closed the connection "+doing), true
	}
	if f := h.l.c.tr.Failure; f != nil && f.Layer == trace.LayerTLS {
		return *f, true // below it something else went wrong first
	}
	switch {
	case byClient && s.x.tr.Response != nil:
		return f, false // it had the head and wanted no more
	case byClient:
		return words.StreamLeft(s.id, cut), true
	case cut:
		return words.Reset(trace.LayerHTTP2, doing), true
	}
	return words.Closed(trace.LayerHTTP2, doing), true
}
