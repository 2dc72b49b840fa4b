package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http1"
	"peel/wire/httpfield"
)

// h1conn is one HTTP/1 connection. One request at a time owns it, so it needs
// no lock and no goroutine of its own: the caller's writes and reads.
type h1conn struct {
	c    *Client
	pool *pool
	tap  *tap
	conn net.Conn // the tap, or TLS over it

	socket    uint32
	requests  int
	idleSince clock.Time
	deadline  clock.Time

	reader http1.Reader
	in     []byte // read and not consumed: in[r:w]
	r, w   int
	out    []byte
	eof    bool

	sending chan error // set while a body is being sent beside the reading
}

const (
	h1Buffer = 32 << 10
	// inlineBody is the largest body that is joined to the head in one write.
	inlineBody = 16 << 10
	// expectWait is how long a body is held back for a 100 (Continue) that
	// does not come (RFC 9110 §10.1.1).
	expectWait = time.Second
)

func newH1(c *Client, p *pool, t *tap, conn net.Conn) *h1conn {
	h := &h1conn{c: c, pool: p, tap: t, conn: conn, socket: t.socket, in: make([]byte, h1Buffer)}
	h.reader.Reset(http1.ClientRole, http1.Limits{})
	return h
}

// close ends the connection for good.
func (h *h1conn) close(by decision.Side, why string) {
	sayGoodbye(h.conn)
	h.c.closeSocket(h.tap, by, why)
}

// drop closes a connection that a request owns, and tells the pool.
func (h *h1conn) drop(by decision.Side, why string) {
	h.close(by, why)
	h.pool.gone(why)
}

// limit makes the connection give up after d, or at once when ctx has ended:
// its end may have come just before the new deadline was set.
func (h *h1conn) limit(ctx context.Context, d time.Duration) {
	h.extend(d)
	if ctx.Err() != nil {
		h.deadline = 0
		h.conn.SetDeadline(time.Unix(1, 0))
	}
}

// extend makes the connection give up after d. The system is asked only when
// the deadline in force is off by more than an eighth, for it is a cost in
// every request.
func (h *h1conn) extend(d time.Duration) {
	now := h.c.clock.Now()
	want := now.Add(d)
	if off := want.Sub(h.deadline); off >= 0 && off < d/8 {
		return
	}
	h.deadline = want
	h.conn.SetDeadline(time.Now().Add(d))
}

func (h *h1conn) roundTrip(ctx context.Context, ex uint32, req *Request) (resp *Response, safe bool, err error) {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { h.conn.SetDeadline(time.Unix(1, 0)) })
		defer func() {
			if !stop() && err == nil {
				// Too late to matter for the head; the body must not fail for
				// it either, so the deadline is set anew with the next read.
				h.deadline = 0
			}
		}()
	}
	reused := h.requests > 0
	h.requests++
	h.c.rec.Decide(capture.About{Exchange: ex, Socket: h.socket}, &decision.RequestBound{})
	h.limit(ctx, h.c.opt.ResponseTimeout)
	if err := h.send(ctx, req); err != nil {
		var bad *Error
		if errors.As(err, &bad) {
			h.drop(decision.Client, "the request could not be written")
			return nil, false, bad
		}
		// The server may have answered before it closed: look.
		if head, _, e := h.readHead(ex, req); e == nil {
			head.Body = h.startBody(ctx, head)
			return head.Response, false, nil
		}
		h.drop(decision.Server, "it failed while the request was being sent")
		if ctx.Err() != nil {
			return nil, false, cancelled(ctx, trace.LayerHTTP1, "sending the request")
		}
		return nil, reused, brokenFailure(trace.LayerHTTP1, "while the request was being sent", err)
	}
	head, got, err := h.readHead(ex, req)
	if err != nil {
		if ctx.Err() != nil {
			h.drop(decision.Client, "the request was cancelled")
			return nil, false, cancelled(ctx, trace.LayerHTTP1, "waiting for the response")
		}
		h.drop(closer(err), "no valid response came")
		// A connection that was idle can have been closed by the server just
		// as the request left; with no byte of a response, another try of an
		// idempotent request is harmless.
		return nil, reused && !got && !isTimeout(err) && req.idempotent(), h.headFailure(err, got)
	}
	head.Body = h.startBody(ctx, head)
	return head.Response, false, nil
}

// closer says who ended a connection that failed with err.
func closer(err error) decision.Side {
	if isTimeout(err) {
		return decision.Client
	}
	var bad *http1.Error
	if errors.As(err, &bad) {
		return decision.Client
	}
	return decision.Server
}

func (h *h1conn) headFailure(err error, got bool) *Error {
	var bad *http1.Error
	switch {
	case errors.As(err, &bad) && bad.Truncated():
		return because(words.HeadCut(), err)
	case errors.As(err, &bad):
		return because(words.Response(bad, h.in[h.r:h.w]), err)
	case isTimeout(err):
		return failure(trace.LayerHTTP1, trace.FailResponseTimeout, fmt.Sprintf("no response within %v", h.c.opt.ResponseTimeout), "the server is slow or stuck; allow more time", err).hint(trace.HintTimeLimit)
	case got:
		return brokenFailure(trace.LayerHTTP1, "in the middle of the response's head", err)
	}
	return brokenFailure(trace.LayerHTTP1, "before it sent a response", err)
}

// send writes the request: head and small body in one write, a larger body
// beside the reading of the response, which may come before the body's end.
func (h *h1conn) send(ctx context.Context, req *Request) error {
	head, chunked, err := h.head(req)
	if err != nil {
		return err
	}
	h.reader.ExpectResponseTo(req.Method)
	h.sending = nil
	if req.Body == nil {
		_, err = h.conn.Write(head)
		return err
	}
	expect := req.Header.HasToken("Expect", "100-continue")
	if !expect && !chunked && req.ContentLength <= inlineBody {
		n := len(head)
		h.out = append(head, make([]byte, req.ContentLength)...)
		if _, err := io.ReadFull(req.Body, h.out[n:]); err != nil {
			return failure(trace.LayerInput, trace.FailBody, "the request's body ended before its announced length: "+err.Error(), "", err)
		}
		_, err = h.conn.Write(h.out)
		return err
	}
	if _, err := h.conn.Write(head); err != nil {
		return err
	}
	if expect {
		h.awaitContinue(ctx)
	}
	h.sending = make(chan error, 1)
	go func() { h.sending <- h.sendBody(req, chunked) }()
	return nil
}

// awaitContinue waits a while for any response bytes.
func (h *h1conn) awaitContinue(ctx context.Context) {
	h.conn.SetReadDeadline(time.Now().Add(expectWait))
	n, err := h.conn.Read(h.in[h.w:])
	h.w += n
	if err != nil && !isTimeout(err) {
		h.eof = isEOF(err)
	}
	h.deadline = 0
	h.limit(ctx, h.c.opt.ResponseTimeout)
}

func (h *h1conn) sendBody(req *Request, chunked bool) error {
	if !chunked {
		n, err := io.Copy(onlyWriter{h.conn}, io.LimitReader(req.Body, req.ContentLength))
		if err == nil && n < req.ContentLength {
			err = failure(trace.LayerInput, trace.FailBody, fmt.Sprintf("the request's body ended after %d of %d bytes", n, req.ContentLength), "", nil)
		}
		return err
	}
	buf := make([]byte, 32<<10)
	var out []byte
	for {
		n, err := req.Body.Read(buf)
		if n > 0 {
			out = http1.AppendChunk(out[:0], buf[:n])
			if _, err := h.conn.Write(out); err != nil {
				return err
			}
		}
		if err == io.EOF {
			var trailer httpfield.List
			if req.Trailer != nil {
				trailer = req.Trailer()
			}
			if out, err = http1.AppendLastChunk(out[:0], trailer); err != nil {
				return err
			}
			_, err = h.conn.Write(out)
			return err
		}
		if err != nil {
			return err
		}
	}
}

// onlyWriter keeps io.Copy from going around the tap.
type onlyWriter struct{ io.Writer }

// head builds the request's head in h.out.
func (h *h1conn) head(req *Request) (head []byte, chunked bool, err error) {
	rh := http1.Head{Method: req.Method, Target: req.Target, Minor: 1, Fields: req.Header}
	if h.c.opt.Version == OnlyHTTP10 {
		rh.Minor = 0
	}
	need := 0
	addHost := !req.Header.Has("Host")
	if addHost {
		need++
	}
	framing := httpfield.Field{}
	switch {
	case req.Header.Has("Content-Length"):
	case req.Header.Has("Transfer-Encoding"):
		chunked = true
	case req.Body != nil && req.ContentLength >= 0:
		framing = httpfield.Field{Name: "Content-Length", Value: strconv.FormatInt(req.ContentLength, 10)}
	case req.Body != nil && rh.Minor == 0:
		return nil, false, failure(trace.LayerInput, trace.FailBody, "HTTP/1.0 cannot send a body of unknown length", "give the body as a file or a string", nil)
	case req.Body != nil:
		chunked = true
		framing = httpfield.Field{Name: "Transfer-Encoding", Value: "chunked"}
	case req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH":
		// RFC 9110 §8.6: a method that expects content says that there is none.
		framing = httpfield.Field{Name: "Content-Length", Value: "0"}
	}
	if framing.Name != "" {
		need++
	}
	if need > 0 {
		all := make(httpfield.List, 0, len(req.Header)+need)
		if addHost {
			all = append(all, httpfield.Field{Name: "Host", Value: req.Authority})
		}
		all = append(all, req.Header...)
		if framing.Name != "" {
			all = append(all, framing)
		}
		rh.Fields = all
	}
	h.out, err = http1.AppendRequest(h.out[:0], &rh)
	if err != nil {
		return nil, false, failure(trace.LayerInput, trace.FailBadRequest, said(err), "check the method and the header fields", err).hint(trace.HintHeader)
	}
	return h.out, chunked, nil
}

// h1head is a response head with what it means for the connection.
type h1head struct {
	*Response
	closes bool
	why    string
}

// readHead reads up to the final response's head. got tells whether any byte
// of a response came.
func (h *h1conn) readHead(ex uint32, req *Request) (resp *h1head, got bool, err error) {
	for {
		ev, err := h.next()
		got = got || h.w > 0
		if err != nil {
			return nil, got, err
		}
		switch ev.Kind {
		case http1.HeadEvent:
			head := ev.Head
			if head.Status >= 100 && head.Status < 200 && head.Status != 101 {
				continue
			}
			return &h1head{closes: !head.KeepAlive, why: head.WhyClose, Response: &Response{
				Protocol: protocolName(head.Minor), Status: head.Status, Reason: head.Reason,
				Header: head.Fields.Clone(), ContentLength: head.ContentLength, Exchange: ex,
			}}, true, nil
		case http1.Closed:
			return nil, got, io.EOF
		}
	}
}

func protocolName(minor int) trace.Protocol {
	if minor == 0 {
		return trace.ProtocolHTTP10
	}
	return trace.ProtocolHTTP11
}

// next gives the reader's next event, reading from the connection as needed.
func (h *h1conn) next() (http1.Event, error) {
	for {
		ev, n, err := h.reader.Next(h.in[h.r:h.w], h.eof)
		h.r += n
		if err != nil || ev.Kind != http1.NeedMore {
			return ev, err
		}
		if h.eof {
			return ev, io.ErrUnexpectedEOF
		}
		if h.r == h.w {
			h.r, h.w = 0, 0
		} else if h.w == len(h.in) {
			if h.r > 0 {
				h.w = copy(h.in, h.in[h.r:h.w])
				h.r = 0
			} else {
				h.in = append(h.in, make([]byte, len(h.in))...)
			}
		}
		n, err = h.conn.Read(h.in[h.w:])
		h.w += n
		if n == 0 && err != nil {
			if !isEOF(err) {
				return http1.Event{}, err
			}
			h.eof = true
		}
	}
}
