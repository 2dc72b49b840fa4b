package server

import (
	"context"
	"io"
	"sync"
	"time"

	"peel/clock"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

// h2stream is one request and its response on an h2conn. Its fields are
// guarded by the connection's lock, but for req and res, which are the
// handler's while it runs.
type h2stream struct {
	h       *h2conn
	id      uint32
	req     Request
	res     ResponseWriter
	changed sync.Cond // for the handler: bytes came, room was made, or the end

	in      []byte // body received and not yet read: in[off:]
	off     int
	ended   bool // the peer has sent all
	expects bool // the peer waits for 100 (Continue)
	bodyErr error
	pace    bodyPace

	blocked bool // is in h.blocked
	sending bool // waits to send
	waitBy  clock.Time
	dead    error // the stream was reset, or the connection ended
	cancel  context.CancelFunc
}

func (h *h2conn) newStream(ev *http2.Event) *h2stream {
	var st *h2stream
	if n := len(h.free); n > 0 {
		st = h.free[n-1]
		h.free = h.free[:n-1]
	} else {
		st = &h2stream{h: h}
		st.changed.L = &h.lock
	}
	st.id, st.ended = ev.StreamID, ev.EndStream
	r := &st.req
	*r = Request{
		Protocol: "HTTP/2", RemoteAddr: h.remote, TLS: h.tls, Body: st, ContentLength: -1, conn: st,
		Header: r.Header[:0], trailer: r.trailer[:0], tooLarge: ev.TooLarge,
	}
	i := 0
	for ; i < len(ev.Fields) && ev.Fields[i].Name[0] == ':'; i++ {
		switch f := &ev.Fields[i]; f.Name {
		case ":method":
			r.Method = f.Value
		case ":scheme":
			r.Scheme = f.Value
		case ":authority":
			r.Authority = f.Value
		case ":path":
			r.Target = f.Value
		}
	}
	r.Header = append(r.Header, ev.Fields[i:]...)
	for j := range r.Header {
		switch f := &r.Header[j]; f.Name {
		case "content-length":
			r.ContentLength = number(f.Value)
		case "host":
			if r.Authority == "" {
				r.Authority = f.Value
			}
		case "expect":
			st.expects = !ev.EndStream && httpfield.EqualName(f.Value, "100-continue")
		}
	}
	if ev.EndStream {
		r.ContentLength = 0
	}
	if r.Method == "CONNECT" {
		r.Target = r.Authority
	}
	r.split()
	st.res.reset(st, r.Method == "HEAD")
	return st
}

// number reads a Content-Length that the engine has checked.
func number(s string) (n int64) {
	for i := 0; i < len(s) && i < 18; i++ {
		n = n*10 + int64(s[i]-'0')
	}
	return n
}

// keptBody is the largest body buffer that is kept with a stream for the next
// one, in bytes.
const keptBody = 16 << 10

// recycle keeps a stream that has ended for another request.
func (h *h2conn) recycle(st *h2stream) {
	h.unread -= len(st.in) - st.off
	if len(h.free) >= h.s.limits.Handlers {
		return
	}
	in := st.in[:0]
	if cap(in) > keptBody {
		in = nil
	}
	*st = h2stream{h: h, req: st.req, res: st.res, changed: sync.Cond{L: &h.lock}, in: in}
	h.free = append(h.free, st)
}

// received takes body bytes.
func (st *h2stream) received(ev *http2.Event) {
	st.expects = false
	st.ended = st.ended || ev.EndStream
	st.pace.got += int64(len(ev.Data))
	if max := st.h.s.limits.Body; max > 0 && st.pace.got > max {
		st.bodyErr = ErrBodyTooLarge
	}
	h := st.h
	switch {
	case st.bodyErr != nil || st.dead != nil:
	case h.unread+len(ev.Data) > h.s.limits.Unread:
		h.eng.Reset(st.id, http2.ErrCodeEnhanceYourCalm)
		st.kill(errReset)
	default:
		st.in = append(st.in, ev.Data...)
		h.unread += len(ev.Data)
	}
	st.changed.Signal()
}

// kill tells the handler that nobody waits for its response any more.
func (st *h2stream) kill(err error) {
	if st.dead == nil {
		st.dead = err
	}
	if st.cancel != nil {
		st.cancel()
	}
	st.changed.Signal()
}

// overdue ends a wait that took too long.
func (st *h2stream) overdue() {
	if st.sending {
		// The peer does not take what it asked for.
		st.h.eng.Reset(st.id, http2.ErrCodeCancel)
		st.kill(errStalled)
		return
	}
	st.bodyErr = ErrBodyTooSlow
	st.changed.Signal()
}

// wait waits for the stream to change, with the lock held.
func (st *h2stream) wait(by clock.Time, now clock.Time) {
	h := st.h
	h.call()
	st.waitBy = by
	h.armAt(by, now)
	st.changed.Wait()
	st.waitBy = 0
}

// Read is the request's body.
func (st *h2stream) Read(p []byte) (int, error) {
	h := st.h
	h.lock.Lock()
	defer h.lock.Unlock()
	for {
		switch {
		case st.bodyErr != nil:
			return 0, st.bodyErr
		case st.off < len(st.in):
			n := copy(p, st.in[st.off:])
			if st.off += n; st.off == len(st.in) {
				st.in, st.off = st.in[:0], 0
			}
			h.unread -= n
			if st.dead == nil && !st.ended {
				h.eng.Consumed(st.id, n)
				h.call()
			}
			return n, nil
		case st.ended:
			return 0, io.EOF
		case st.dead != nil:
			return 0, io.ErrUnexpectedEOF
		case len(p) == 0:
			return 0, nil
		}
		if st.expects {
			st.expects = false
			if !st.res.sent {
				if err := h.eng.SendHeaders(st.id, continueFields, false); err != nil {
					return 0, err
				}
			}
		}
		before := h.s.clock.Now()
		st.wait(before.Add(st.pace.allowance(&h.s.limits)), before)
		st.pace.waited += h.s.clock.Now().Sub(before)
	}
}

func (st *h2stream) context() (context.Context, context.CancelFunc) {
	ctx, cancel := st.h.conn.context()
	st.h.lock.Lock()
	defer st.h.lock.Unlock()
	st.cancel = cancel
	if st.dead != nil {
		cancel()
	}
	return ctx, cancel
}

// finished ends the stream after its handler. Called with the lock held.
func (st *h2stream) finished(err error) {
	h := st.h
	if st.dead != nil || h.err != nil {
		return
	}
	switch {
	case err != nil:
		if err != Abort {
			h.s.logf("server: %s %s to %v: %v", st.req.Method, st.req.Target, h.remote, err)
		}
		h.eng.Reset(st.id, http2.ErrCodeInternal)
	case !st.ended:
		h.forgo(st.id)
	}
}

// half is a stream whose response is whole while its request is not.
type half struct {
	id    uint32
	left  int // bytes of the body that may still come
	until clock.Time
}

// halfTime is how long a peer has to end a request that was answered, and
// halfBytes how much of it may still come.
const (
	halfTime  = time.Second
	halfBytes = 64 << 10
)

// forgo gives the rest of a request up (RFC 9113 §8.1). The stream is reset
// when much of it comes, or after a while: right away would hit a peer that
// was just about to end it.
func (h *h2conn) forgo(id uint32) {
	if len(h.halves) >= 2*h.s.limits.Streams {
		h.eng.Reset(h.halves[0].id, http2.ErrCodeNo)
		h.halves = append(h.halves[:0], h.halves[1:]...)
	}
	now := h.s.clock.Now()
	h.halves = append(h.halves, half{id, halfBytes, now.Add(halfTime)})
	h.armAt(h.halves[0].until, now)
}

// discard drops body bytes of a request that was answered.
func (h *h2conn) discard(id uint32, n int) {
	for i := range h.halves {
		if half := &h.halves[i]; half.id == id {
			if half.left -= n; half.left < 0 {
				h.eng.Reset(id, http2.ErrCodeNo)
			}
			return
		}
	}
}

// resetHalves resets the streams whose time is over, and forgets them.
func (h *h2conn) resetHalves(now clock.Time) {
	n := 0
	for n < len(h.halves) && h.halves[n].until <= now {
		h.eng.Reset(h.halves[n].id, http2.ErrCodeNo)
		n++
	}
	h.halves = append(h.halves[:0], h.halves[n:]...)
	if len(h.halves) > 0 {
		h.armAt(h.halves[0].until, now)
	}
}
