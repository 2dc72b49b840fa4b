package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

func (s *h2stream) trailers() httpfield.List { return s.trailer }

// forget ends the connection's interest in a stream. Called with the lock
// held.
func (h *h2conn) forget(s *h2stream) {
	if h.streams[s.id] == s {
		delete(h.streams, s.id)
	}
}

// abandon gives up a stream that the server has not ended.
func (h *h2conn) abandon(s *h2stream, code http2.ErrCode) {
	h.mu.Lock()
	if h.streams[s.id] == s && h.err == nil && s.reset == nil {
		h.eng.Reset(s.id, code)
	}
	h.forget(s)
	h.admit()
	h.mu.Unlock()
	h.kick()
}

// failedStream says why a stream ended without a response, and whether the
// request can be sent again: the server did not act on it when it refused the
// stream (RFC 9113 §8.7) or named a lower stream in its GOAWAY (§6.8). One that
// is too busy is left alone all the same.
func (h *h2conn) failedStream(s *h2stream, req *Request) (error, bool) {
	switch r := s.reset; {
	case r == nil:
	case r.Ours:
		return h.ours(s), false
	case r.GoAway:
		return h.goneAway(s, ""), r.Code != http2.ErrCodeEnhanceYourCalm
	default:
		return because(words.StreamReset(s.id, r.Code, s.got), nil), r.Unprocessed
	}
	if s.err == nil {
		return because(words.EndedWithoutResponse(s.id), nil), false
	}
	calm := h.goAway != nil && h.goAway.Code == http2.ErrCodeEnhanceYourCalm
	return h.broken(s, fmt.Sprintf("before it sent a response on stream %d", s.id)), h.requests > 1 && req.idempotent() && !calm
}

// ours says why this side reset a stream.
func (h *h2conn) ours(s *h2stream) *Error {
	switch r := s.reset; {
	case r.Code == http2.ErrCodeCancel:
		return failure(trace.LayerHTTP2, trace.FailStalled, r.Why, "the server does not take the request's body", nil).hint(trace.HintStallLimit)
	case s.resp == nil:
		return because(words.IllegalResponse(s.id, r.Why), nil)
	default:
		return because(words.IllegalBody(s.id, r.Why), nil)
	}
}

// goneAway is for a stream that the server's GOAWAY ended.
func (h *h2conn) goneAway(s *h2stream, how string) *Error {
	return because(words.GoneAway(s.id, *h.goAway, s.head, how), nil)
}

// broken says how the end of the connection ended a stream; doing says when,
// as in "after 3 bytes of body".
func (h *h2conn) broken(s *h2stream, doing string) *Error {
	var bad *http2.ConnError
	if errors.As(s.err, &bad) {
		if bad.Code == http2.ErrCodeNo {
			return failure(trace.LayerHTTP2, trace.FailTimeout, bad.What+" "+doing, "the server is stuck or the path is dead", s.err)
		}
		return because(words.ProtocolBroken(bad.Code, bad.What), s.err)
	}
	e := brokenFailure(trace.LayerHTTP2, doing, s.err)
	if h.goAway == nil {
		return e
	}
	switch e.Code {
	case trace.FailClosedEarly:
		return h.goneAway(s, "and closed the connection "+doing)
	case trace.FailReset:
		return h.goneAway(s, "and the connection was reset "+doing)
	}
	return e
}

// h2body reads one response's body from its stream.
type h2body struct {
	h    *h2conn
	s    *h2stream
	ctx  context.Context
	ex   uint32
	err  error
	read int64
	wait *time.Timer
}

func (b *h2body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	h, s := b.h, b.s
	for {
		h.mu.Lock()
		if s.off < len(s.in) {
			n := copy(p, s.in[s.off:])
			s.off += n
			if s.off == len(s.in) {
				s.in, s.off = s.in[:0], 0
			}
			b.read += int64(n)
			pending := false
			if !s.ended && h.err == nil {
				h.eng.Consumed(s.id, n)
				pending = h.eng.HasOutput()
			}
			h.mu.Unlock()
			if pending {
				h.kick()
			}
			return n, nil
		}
		switch {
		case s.ended:
			b.err = io.EOF
			h.forget(s)
		case s.reset != nil, s.err != nil:
			b.err = b.failed()
			h.forget(s)
		}
		h.mu.Unlock()
		if b.err != nil {
			b.stopTimer()
			return 0, b.err
		}
		if err := b.await(); err != nil {
			return 0, err
		}
	}
}

// await waits for the stream to change, within the limits.
func (b *h2body) await() error {
	limit := b.h.c.opt.StallTimeout
	if b.wait == nil {
		b.wait = time.NewTimer(limit)
	} else {
		b.wait.Reset(limit)
	}
	select {
	case <-b.s.ready:
		return nil
	case <-b.ctx.Done():
		b.err = b.record(cancelled(b.ctx, trace.LayerHTTP2, fmt.Sprintf("reading the body, after %d bytes", b.read)))
	case <-b.wait.C:
		b.err = b.record(failure(trace.LayerHTTP2, trace.FailStalled, fmt.Sprintf("nothing came for %v, after %d bytes of body", limit, b.read), "the server stopped sending; allow longer silence", nil).hint(trace.HintStallLimit))
	}
	b.stopTimer()
	b.h.abandon(b.s, http2.ErrCodeCancel)
	return b.err
}

func (b *h2body) stopTimer() {
	if b.wait != nil {
		b.wait.Stop()
	}
}

func (b *h2body) failed() error {
	s, doing := b.s, fmt.Sprintf("after %d bytes of body", b.read)
	switch r := s.reset; {
	case r == nil:
		return b.record(b.h.broken(s, doing))
	case r.Ours:
		return b.record(b.h.ours(s))
	case r.GoAway:
		return b.record(b.h.goneAway(s, doing))
	default:
		return b.record(because(words.StreamReset(s.id, r.Code, b.read), nil))
	}
}

func (b *h2body) record(e *Error) error {
	b.h.c.failed(b.ex, e, false)
	return e
}

// Close gives up what was not read.
func (b *h2body) Close() error {
	if b.err != nil {
		return nil
	}
	b.err = errClosedBody
	b.stopTimer()
	if !b.drained() {
		b.h.abandon(b.s, http2.ErrCodeCancel)
		b.h.c.rec.Decide(capture.About{Exchange: b.ex, Socket: b.h.socket, Stream: b.s.id}, &decision.BodyAbandoned{})
	}
	return nil
}

// drained drops what is left of a body and tells whether its end has come,
// for which it waits briefly: the rest of a short one is on its way, and a
// reset would cost more than reading it.
func (b *h2body) drained() bool {
	h, s := b.h, b.s
	patience := time.NewTimer(briefly)
	defer patience.Stop()
	for dropped := 0; ; {
		h.mu.Lock()
		n := len(s.in) - s.off
		dropped += n
		s.in, s.off = s.in[:0], 0
		gone := s.reset != nil || s.err != nil || h.err != nil
		if s.ended || gone {
			h.forget(s)
			h.mu.Unlock()
			return true
		}
		h.eng.Consumed(s.id, n)
		h.mu.Unlock()
		if dropped > drainLimit || b.ctx.Err() != nil {
			return false
		}
		select {
		case <-s.ready:
		case <-patience.C:
			return false
		}
	}
}

var errClosedBody = errors.New("client: read of a closed body")
