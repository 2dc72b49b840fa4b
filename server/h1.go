package server

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"peel/wire/http1"
	"peel/wire/httpfield"
)

// h1conn is an HTTP/1 connection. Its one goroutine reads a request, runs the
// handler and writes the response, so it needs no lock. Nothing is written
// before it would wait for input: responses to pipelined requests gather, and
// leave in one write.
type h1conn struct {
	*conn
	reader http1.Reader
	in     []byte // read and not consumed: in[r:w]
	r, w   int
	eof    bool
	out    []byte // to be written

	headStart time.Time // when the first byte of the head being read came
	readBy    time.Time // deadlines in force
	writeBy   time.Time
	idle      atomic.Bool // waits for a request: may be closed
	stopping  atomic.Bool // after this response no other

	req  Request
	res  ResponseWriter
	body h1body

	minor   int
	closes  bool // the connection ends with this response
	chunked bool
	fields  httpfield.List // scratch
	length  contentLength
}

const (
	h1Buffer = 32 << 10
	// h1Batch is how much output may gather, in bytes.
	h1Batch = 64 << 10
	// drainLimit is how much of a body that the handler did not read is read
	// to save the connection.
	drainLimit = 256 << 10
)

func newH1(c *conn) *h1conn {
	h := &h1conn{conn: c, in: make([]byte, h1Buffer)}
	h.reader.Reset(http1.ServerRole, http1.Limits{HeadBytes: c.s.limits.HeaderBytes, Fields: c.s.limits.HeaderFields})
	h.body.h = h
	return h
}

func (h *h1conn) serve() {
	for h.exchange() {
	}
}

// exchange serves one request, and tells whether another may follow.
func (h *h1conn) exchange() bool {
	head, err := h.readHead()
	if err != nil {
		h.refuse(err)
		return false
	}
	if head == nil {
		h.flush()
		return false
	}
	h.begin(head)
	err = h.s.run(&h.res, &h.req)
	if err != nil {
		// What was sent is not the whole response. The connection's end says
		// so: no last chunk, too few bytes.
		h.flush()
		if err != Abort && !isGone(err) {
			h.s.logf("server: %s %s to %v: %v", h.req.Method, h.req.Target, h.remote, err)
		}
		h.linger()
		return false
	}
	if !h.body.drain() || h.closes {
		if h.flush() == nil {
			h.linger()
		}
		return false
	}
	return true
}

// readHead waits for a request. It returns nil when none will come.
func (h *h1conn) readHead() (*http1.Head, error) {
	h.headStart = time.Time{}
	for {
		ev, n, err := h.reader.Next(h.in[h.r:h.w], h.eof)
		h.r += n
		switch {
		case err != nil:
			return nil, err
		case ev.Kind == http1.HeadEvent:
			return ev.Head, nil
		case h.eof:
			return nil, nil
		}
		if err := h.await(); err != nil {
			if isTimeout(err) && h.r != h.w && !h.stopping.Load() {
				return nil, &http1.Error{Status: 408, What: "the request's head did not come in time"}
			}
			return nil, nil
		}
	}
}

// await reads more of a head.
func (h *h1conn) await() error {
	if err := h.flush(); err != nil {
		return err
	}
	if h.r == h.w {
		h.readWithin(h.s.limits.Idle, 8)
		h.idle.Store(true)
		defer h.idle.Store(false)
		// Looked at after idle was set: either this sees that the server
		// stops, or whoever stops it sees that the connection is idle.
		if h.stopping.Load() {
			return io.EOF
		}
	} else {
		if h.headStart.IsZero() {
			h.headStart = h.s.after(0)
		}
		h.readBy = h.headStart.Add(h.s.limits.Header)
		h.SetReadDeadline(h.readBy)
	}
	return h.fill()
}

// readWithin makes reading give up after d. The system is asked only when the
// deadline in force is off by more than a part of d, for it is a cost in
// every request.
func (h *h1conn) readWithin(d, part time.Duration) {
	want := h.s.after(d)
	if off := want.Sub(h.readBy); off >= 0 && off < d/part && !h.stopping.Load() {
		return
	}
	h.readBy = want
	h.SetReadDeadline(want)
}

// fill reads once.
func (h *h1conn) fill() error {
	switch {
	case h.r == h.w:
		h.r, h.w = 0, 0
	case h.w == len(h.in):
		// Limits.HeaderBytes can be more than the buffer holds.
		in := h.in
		if h.r < len(in)/2 {
			in = make([]byte, 2*len(in))
		}
		h.w = copy(in, h.in[h.r:h.w])
		h.in, h.r = in, 0
	}
	n, err := h.Read(h.in[h.w:])
	h.w += n
	if h.tls == nil {
		h.tap.release()
	}
	if n > 0 || err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		h.eof = true
		return nil
	}
	return err
}

// begin makes the request and the response to it.
func (h *h1conn) begin(head *http1.Head) {
	h.minor, h.closes, h.chunked = head.Minor, !head.KeepAlive, false
	r := &h.req
	*r = Request{
		Method: head.Method, Target: head.Target, Scheme: "http", Authority: head.Authority, Header: head.Fields, Body: &h.body,
		ContentLength: head.ContentLength, Protocol: "HTTP/1.1", RemoteAddr: h.remote, TLS: h.tls, conn: h,
	}
	if head.Minor == 0 {
		r.Protocol = "HTTP/1.0"
	}
	if h.tls != nil {
		r.Scheme = "https"
	}
	if head.Framing == http1.NoBody {
		r.ContentLength = 0
	}
	r.split()
	h.body.reset(head)
	h.res.reset(h, head.Method == "HEAD")
}

// refuse answers what is not a request, and closes.
func (h *h1conn) refuse(err error) {
	var bad *http1.Error
	if !errors.As(err, &bad) || bad.Truncated() {
		h.flush()
		return
	}
	h.s.logf("server: %v: %v", h.remote, err)
	h.minor, h.closes, h.chunked = 1, true, false
	h.res.reset(h, false)
	h.res.refuse(bad.Status, strings.TrimPrefix(bad.Error(), "http1: ")+"\n")
	if h.res.finish() == nil && h.flush() == nil {
		h.linger()
	}
}

// drain closes the connection after the response that is being made.
func (h *h1conn) drain() {
	h.stopping.Store(true)
	if h.idle.Load() {
		h.SetReadDeadline(time.Unix(1, 0))
	}
}
