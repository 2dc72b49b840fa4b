package analyze

import (
	"fmt"
	"slices"
	"sort"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/http2"
)

// data takes a DATA frame. Past a limit the frames of a stream share one
// event, so that a large body does not become thousands.
func (h *h2conn) data(first, t clock.Time, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64) {
	h.window[dir] -= int64(fh.Length)
	payload, err := http2.DataPayload(fh, raw[http2.FrameHeaderLen:])
	s := h.streams[fh.StreamID]
	if s == nil || err != nil {
		e := h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), http2.Describe(fh, raw[http2.FrameHeaderLen:]), dir, offset, len(raw), raw[:min(len(raw), 512)])
		e.Stream = fh.StreamID
		return
	}
	at := offset + http2.FrameHeaderLen
	if fh.Flags.Has(http2.FlagPadded) {
		at++
	}
	e := h.dataEvent(t, s, dir, fh, raw, offset, len(raw))
	h.content(e, t, s, dir, at, payload, 0, fh.Flags.Has(http2.FlagEndStream))
}

// dataEvent makes the event of a DATA frame of length bytes, of which raw is
// the beginning.
func (h *h2conn) dataEvent(t clock.Time, s *h2stream, dir capture.Direction, fh http2.FrameHeader, raw []byte, offset int64, length int) *trace.Event {
	s.frames[dir]++
	var e *trace.Event
	if s.frames[dir] <= h.l.c.a.lim.DataEvents {
		e = h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), http2.Describe(fh, raw[http2.FrameHeaderLen:]), dir, offset, length, raw[:min(len(raw), 512)])
	} else {
		if s.more[dir] == nil {
			s.more[dir] = h.l.message(t, trace.LayerHTTP2, http2.FrameData.Event(), "", dir, offset, length, raw[:min(len(raw), 64)])
		} else {
			// The event moves on with the frames that it stands for.
			s.more[dir].Time = h.l.c.a.time(t)
			s.more[dir].RawLength += length
		}
		e = s.more[dir]
		e.Text = fmt.Sprintf("DATA, %d more frames, %d bytes in all", s.frames[dir]-h.l.c.a.lim.DataEvents, e.RawLength)
	}
	e.Stream, e.Exchange = s.id, s.x.tr.ID
	return e
}

// content takes the content of a DATA frame, which stands at offset at, and
// behind which missing bytes were not captured.
func (h *h2conn) content(e *trace.Event, t clock.Time, s *h2stream, dir capture.Direction, at int64, payload []byte, missing int64, end bool) {
	if dir == capture.Out {
		h.l.piece(&s.x.tr.Request.Body, dir, at, payload)
		lacks(&s.x.tr.Request.Body, missing)
		s.x.sendLast = e
	} else if r := s.x.tr.Response; r != nil {
		h.l.piece(&r.Body, dir, at, payload)
		lacks(&r.Body, missing)
		s.x.coded.add(h.l.c.a, payload)
		if missing > 0 {
			s.x.coded.drop(h.l.c.a)
		}
		s.x.respLast = e
		h.measure(e, t, s, end)
	} else if !s.lost[capture.In] {
		h.illegal(e, t, s, nil, "DATA before the response's head", true)
	}
	switch {
	case s.above == nil:
	case missing > 0:
		s.above = nil // where the next of its frames begins is not known
	default:
		s.above.input(t, dir, payload)
	}
	if end {
		h.endStream(e, t, s, dir)
	}
}

// carriedBy says where bytes that a stream carried stand.
func (h *h2conn) carriedBy(s *h2stream) func(capture.Direction, int64, int64) []trace.Range {
	return func(dir capture.Direction, offset, length int64) []trace.Range {
		pieces := s.x.tr.Request.Body.Pieces
		if dir == capture.In {
			pieces = s.x.tr.Response.Body.Pieces
		}
		i := sort.Search(len(pieces), func(i int) bool { return pieces[i].At+pieces[i].Length > offset })
		if i == len(pieces) || pieces[i].At > offset {
			return nil // past the pieces whose places are kept
		}
		into := offset - pieces[i].At
		return h.l.ranges(dir, pieces[i].Bytes.Offset+into, min(length, pieces[i].Length-into))
	}
}

// measure compares the length of a body with what the head says of it.
func (h *h2conn) measure(e *trace.Event, t clock.Time, s *h2stream, end bool) {
	got := s.x.tr.Response.Body.WireSize
	switch {
	case s.lost[capture.In]:
	case s.bodiless != "" && got > 0:
		h.illegal(e, t, s, nil, http2.HasBody(s.bodiless, got), false)
	case s.length >= 0 && (got > s.length || end && got != s.length):
		h.illegal(e, t, s, nil, http2.LengthMismatch(s.length, got), false)
	}
}

// endStream takes an END_STREAM flag.
func (h *h2conn) endStream(e *trace.Event, t clock.Time, s *h2stream, dir capture.Direction) {
	if dir == capture.Out {
		s.x.tr.Request.Body.Complete = !s.lost[dir]
	} else if r := s.x.tr.Response; r != nil {
		if s.length >= 0 && s.got() == s.length {
			h.found(s, dir) // nothing of it was among what is missing
		}
		h.measure(e, t, s, true)
		if r.Body.Complete = !s.lost[dir]; r.Body.Complete {
			s.x.decodeBody(h.l.c, t)
		}
	}
	h.l.dnsEnd(t, s.x, dir)
	h.close(s, dir)
}

// found says that nothing of one side of a stream is missing after all.
func (h *h2conn) found(s *h2stream, dir capture.Direction) {
	if !s.lost[dir] {
		return
	}
	s.lost[dir] = false
	h.trust(s, dir)
	if s.lost == [2]bool{} && s.x.fault != nil && s.x.fault.Code == trace.FailNotCaptured {
		s.x.fault = nil
	}
}

// trust puts a stream among those of which nothing is missing. Those that are
// over go from there when they are many.
func (h *h2conn) trust(s *h2stream, dir capture.Direction) {
	list := &h.sure[dir]
	if len(*list) > 2*len(h.streams)+1000 {
		*list = slices.DeleteFunc(*list, func(s *h2stream) bool { return h.streams[s.id] != s })
	}
	*list = append(*list, s)
}

// close closes one side of a stream; with both closed it is forgotten.
func (h *h2conn) close(s *h2stream, dir capture.Direction) {
	s.ended[dir] = true
	if s.ended[0] && s.ended[1] && h.streams[s.id] == s {
		delete(h.streams, s.id)
		h.open--
		s.x.coded.drop(h.l.c.a)
	}
}

// lacks says that n bytes of a body passed that were not captured.
func lacks(b *trace.Body, n int64) {
	b.WireSize += n
	b.Missing += n
}
