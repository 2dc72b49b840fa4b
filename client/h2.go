package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

// h2conn is one HTTP/2 connection shared by many requests. One goroutine
// reads and one writes; requests put their frames into the engine's output
// and the writer sends what has gathered in one go.
type h2conn struct {
	c    *Client
	pool *pool
	tap  *tap
	conn net.Conn

	socket uint32
	wake   chan struct{} // to the writer; capacity 1
	done   chan struct{} // closed with the connection

	mu       sync.Mutex
	eng      *http2.Conn
	streams  map[uint32]*h2stream
	queue    []*h2stream // requests that wait for a stream
	blocked  []*h2stream // bodies that wait for room to send
	free     []*h2stream
	fields   httpfield.List
	timer    *time.Timer
	armed    clock.Time
	requests int
	troubled bool   // a stream was reset: more of that may be on its way
	draining string // why no new request may start
	goAway   *http2.GoAway
	err      error // why the connection ended
	shutting bool
}

// h2stream is one request and its response on an h2conn. Its fields are
// guarded by the connection's lock.
type h2stream struct {
	id      uint32
	head    int64         // size of the request's fields
	ready   chan struct{} // capacity 1: the state changed
	room    chan struct{} // capacity 1: there may be room to send
	resp    *Response
	in      []byte // body received and not yet read: in[off:]
	off     int
	sent    clock.Time // when it was opened
	late    bool       // no response within the limit
	ended   bool
	reset   *http2.ResetInfo
	err     error
	trailer httpfield.List
	got     int64
}

func newH2(c *Client, p *pool, t *tap, conn net.Conn) *h2conn {
	now := c.clock.Now()
	h := &h2conn{c: c, pool: p, tap: t, conn: conn, socket: t.socket,
		wake: make(chan struct{}, 1), done: make(chan struct{}), streams: map[uint32]*h2stream{}}
	h.eng = http2.NewConn(now, http2.Config{StreamWindow: c.opt.StreamWindow, ConnectionWindow: c.opt.ConnectionWindow})
	h.timer = time.AfterFunc(time.Hour, h.tick)
	h.mu.Lock()
	h.arm(now)
	h.mu.Unlock()
	h.kick()
	go h.read()
	go h.write()
	return h
}

// unusable tells why no further request may be put on the connection, or "".
func (h *h2conn) unusable() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closedWhy()
}

func (h *h2conn) closedWhy() string {
	switch {
	case h.err != nil:
		return fmt.Sprintf("connection #%d is closed: %v", h.socket, h.err)
	case h.draining != "":
		return h.draining
	}
	return ""
}

// roundTrip sends a request and waits for the head of its response.
func (h *h2conn) roundTrip(ctx context.Context, ex uint32, req *Request) (resp *Response, safe bool, err error) {
	h.mu.Lock()
	s, err := h.open(ctx, ex, req)
	if err != nil {
		h.mu.Unlock()
		return nil, errors.Is(err, errNotSent), unwrapSent(err)
	}
	h.mu.Unlock()
	h.kick()
	if req.Body != nil {
		go h.sendBody(s, req)
	}
	for {
		select {
		case <-s.ready:
		case <-ctx.Done():
			h.abandon(s, http2.ErrCodeCancel)
			return nil, false, cancelled(ctx, trace.LayerHTTP2, "waiting for the response")
		}
		h.mu.Lock()
		if s.resp != nil {
			resp := s.resp
			resp.Exchange = ex
			resp.Body = &h2body{h: h, s: s, ctx: ctx, ex: ex}
			resp.trailer = s
			h.mu.Unlock()
			return resp, false, nil
		}
		if s.err != nil || s.reset != nil || s.ended {
			err, safe := h.failedStream(s, req)
			h.forget(s)
			h.mu.Unlock()
			return nil, safe, err
		}
		late := s.late
		h.mu.Unlock()
		if late {
			h.abandon(s, http2.ErrCodeCancel)
			return nil, false, failure(trace.LayerHTTP2, trace.FailResponseTimeout, fmt.Sprintf("no response within %v", h.c.opt.ResponseTimeout), "the server is slow or stuck; allow more time", nil).hint(trace.HintTimeLimit)
		}
	}
}

var errNotSent = errors.New("not sent")

// notSent marks a failure of a request of which no byte left.
type notSent struct{ error }

func (notSent) Is(target error) bool { return target == errNotSent }
func unwrapSent(err error) error {
	if n, ok := err.(notSent); ok {
		return n.error
	}
	return err
}

// open starts a stream, waiting for one if the server's limit is reached. It
// is called with the lock held.
func (h *h2conn) open(ctx context.Context, ex uint32, req *Request) (*h2stream, error) {
	var s *h2stream
	for {
		if why := h.closedWhy(); why != "" {
			var bad *http2.ConnError
			if h.requests == 0 && errors.As(h.err, &bad) {
				// Another connection would end the same way.
				return nil, because(words.ProtocolBroken(bad.Code, bad.What), h.err)
			}
			return nil, notSent{failure(trace.LayerHTTP2, trace.FailConnectionClosed, why, "", h.err)}
		}
		h.fields = appendRequestFields(h.fields[:0], req)
		now := h.c.clock.Now()
		id, err := h.eng.OpenStream(now, h.fields, req.Body == nil)
		if err == nil {
			if s == nil {
				s = h.newStream()
			}
			s.id, s.sent, s.head = id, now, h.fields.Size()
			h.streams[id] = s
			h.arm(now)
			h.requests++
			h.c.rec.Decide(capture.About{Exchange: ex, Socket: h.socket, Stream: id}, &decision.RequestBound{})
			return s, nil
		}
		if !errors.Is(err, http2.ErrStreamLimit) {
			if errors.Is(err, http2.ErrGoingAway) || errors.Is(err, http2.ErrIDsExhausted) {
				h.draining = fmt.Sprintf("connection #%d takes no new streams: %v", h.socket, err)
				return nil, notSent{failure(trace.LayerHTTP2, trace.FailConnectionClosed, h.draining, "", err)}
			}
			return nil, failure(trace.LayerInput, trace.FailBadRequest, said(err), "check the method and the header fields", err).hint(trace.HintHeader)
		}
		if s == nil {
			s = h.newStream()
			h.c.rec.Decide(capture.About{Exchange: ex, Socket: h.socket},
				&decision.PoolWaited{Why: fmt.Sprintf("the server allows %d streams at once", h.eng.PeerMaxStreams())})
		}
		h.queue = append(h.queue, s)
		h.mu.Unlock()
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
		h.mu.Lock()
		h.queue = without(h.queue, s)
		if ctx.Err() != nil {
			return nil, cancelled(ctx, trace.LayerHTTP2, "waiting for a stream")
		}
	}
}

func without(list []*h2stream, s *h2stream) []*h2stream {
	for i, x := range list {
		if x == s {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

func (h *h2conn) newStream() *h2stream {
	if n := len(h.free); n > 0 {
		s := h.free[n-1]
		h.free = h.free[:n-1]
		return s
	}
	return &h2stream{ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// sendBody sends the request's body as flow control allows.
func (h *h2conn) sendBody(s *h2stream, req *Request) {
	buf := make([]byte, 32<<10)
	var left []byte
	eof := false
	for {
		if len(left) == 0 && !eof {
			n, err := req.Body.Read(buf)
			left = buf[:n]
			if err != nil && err != io.EOF {
				h.abandon(s, http2.ErrCodeCancel)
				return
			}
			eof = err == io.EOF
		}
		h.mu.Lock()
		if h.err != nil || s.reset != nil || s.err != nil || h.streams[s.id] != s {
			h.mu.Unlock()
			return
		}
		end := eof && req.Trailer == nil
		n, err := h.eng.SendData(h.c.clock.Now(), s.id, left, end)
		whole := n == len(left)
		left = left[n:]
		if err == nil && whole && eof && req.Trailer != nil {
			err = h.eng.SendHeaders(s.id, req.Trailer(), true)
		}
		if err == nil && !whole {
			h.blocked = append(h.blocked, s)
		}
		h.mu.Unlock()
		h.kick()
		if err != nil || whole && eof {
			return
		}
		if !whole {
			select {
			case <-s.room:
			case <-h.done:
				return
			}
		}
	}
}

func (h *h2conn) kick() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is the writing goroutine.
func (h *h2conn) write() {
	var out []byte
	var deadline time.Time
	for {
		select {
		case <-h.wake:
		case <-h.done:
			return
		}
		for {
			// Let every request that can run put its frames in first: they
			// then go out in one write, and in one TLS record.
			runtime.Gosched()
			h.mu.Lock()
			out = h.eng.TakeOutput(out[:0])
			for _, s := range h.blocked {
				signal(s.room)
			}
			h.blocked = h.blocked[:0]
			closing := h.shutting && h.eng.Closed()
			h.mu.Unlock()
			if len(out) > 0 {
				if now := time.Now(); deadline.Sub(now) < h.c.opt.StallTimeout/2 {
					deadline = now.Add(h.c.opt.StallTimeout)
					h.conn.SetWriteDeadline(deadline)
				}
				if _, err := h.conn.Write(out); err != nil {
					h.fail(err, "it failed while sending")
					return
				}
			}
			if closing {
				h.fail(net.ErrClosed, "")
				return
			}
			if len(out) == 0 {
				break
			}
		}
	}
}

// read is the reading goroutine.
func (h *h2conn) read() {
	buf := make([]byte, 64<<10)
	var ready []*h2stream
	for {
		n, err := h.conn.Read(buf)
		if n > 0 {
			now := h.c.clock.Now()
			h.mu.Lock()
			events, engErr := h.eng.Input(now, buf[:n])
			ready = ready[:0]
			for i := range events {
				if s := h.handle(&events[i]); s != nil {
					ready = append(ready, s)
				}
			}
			h.arm(now)
			h.admit()
			pending := h.eng.HasOutput()
			h.mu.Unlock()
			// Only now, when all that came was looked at: a response whose
			// body came along is then read in one go.
			for _, s := range ready {
				signal(s.ready)
			}
			if pending {
				h.kick()
			}
			if engErr != nil {
				h.flushThenFail(engErr)
				return
			}
		}
		if err != nil {
			h.fail(err, "")
			return
		}
	}
}

// admit wakes as many of the waiting requests as there are streams for.
func (h *h2conn) admit() {
	if len(h.queue) == 0 {
		return
	}
	for _, s := range h.queue[:min(len(h.queue), h.eng.Room())] {
		signal(s.ready)
	}
}

// handle applies one event and returns the stream to wake, if any.
func (h *h2conn) handle(ev *http2.Event) *h2stream {
	switch ev.Type {
	case http2.EventSettings:
		return nil
	case http2.EventGoAway:
		h.draining = fmt.Sprintf("the server said GOAWAY on connection #%d (%v)", h.socket, ev.Code)
		h.goAway = &http2.GoAway{LastStreamID: ev.StreamID, Code: ev.Code, Debug: bytes.Clone(ev.Data)}
		for _, s := range h.queue {
			signal(s.ready)
		}
		return nil
	case http2.EventWindowOpened:
		for _, s := range h.blocked {
			signal(s.room)
		}
		return nil
	}
	s := h.streams[ev.StreamID]
	if s == nil {
		return nil
	}
	switch ev.Type {
	case http2.EventResponse:
		s.resp = newH2Response(ev.Fields)
		s.ended = s.ended || ev.EndStream
	case http2.EventTrailers:
		s.trailer = ev.Fields.Clone()
		s.ended = true
	case http2.EventData:
		s.in = append(s.in, ev.Data...)
		s.got += int64(len(ev.Data))
		s.ended = s.ended || ev.EndStream
	case http2.EventReset:
		r := ev.Reset
		s.reset = &r
		h.troubled = true
	default:
		return nil
	}
	return s
}
