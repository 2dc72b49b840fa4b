package client

import (
	"context"
	"fmt"
	"io"
	"time"

	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/trace"
	"peel/wire/http1"
	"peel/wire/httpfield"
)

// h1body reads one response's body from its connection and, at the end, gives
// the connection back to the pool or closes it and says why.
type h1body struct {
	h       *h1conn
	ctx     context.Context
	stop    func() bool
	ex      uint32
	pending []byte // data of the last event, not yet handed out
	fields  httpfield.List
	status  int
	closes  string // why the connection cannot be used again; "" if it can
	got     int64
	err     error
	done    bool
}

// startBody begins the body of a response. A response that has none gives its
// connection back at once.
func (h *h1conn) startBody(ctx context.Context, resp *h1head) io.ReadCloser {
	b := &h1body{h: h, ctx: ctx, ex: resp.Exchange, status: resp.Status}
	if resp.closes {
		b.closes = resp.why
	}
	ev, n, err := h.reader.Next(h.in[h.r:h.w], h.eof)
	h.r += n
	switch {
	case err == nil && ev.Kind == http1.End:
		b.finish(io.EOF)
		return noBody{}
	case err == nil && ev.Kind == http1.Data:
		b.pending = ev.Data
	case err != nil:
		b.err = err
	}
	resp.trailer = b
	if ctx.Done() != nil {
		b.stop = context.AfterFunc(ctx, func() { h.conn.SetDeadline(time.Unix(1, 0)) })
	}
	return b
}

// noBody is the body of a response that has none.
type noBody struct{}

func (noBody) Read([]byte) (int, error) { return 0, io.EOF }
func (noBody) Close() error             { return nil }

func (b *h1body) trailers() httpfield.List { return b.fields }

func (b *h1body) Read(p []byte) (int, error) {
	for {
		if len(b.pending) > 0 {
			n := copy(p, b.pending)
			b.pending = b.pending[n:]
			b.got += int64(n)
			return n, nil
		}
		if b.done {
			return 0, b.err
		}
		if b.err != nil {
			b.finish(b.failed(b.err))
			return 0, b.err
		}
		b.h.limit(b.ctx, b.h.c.opt.StallTimeout)
		if n := b.direct(p); n > 0 {
			return n, nil
		}
		ev, err := b.h.next()
		switch {
		case err != nil:
			b.finish(b.failed(err))
		case ev.Kind == http1.Data:
			b.pending = ev.Data
		case ev.Kind == http1.End:
			b.fields = ev.Trailers
			b.finish(io.EOF)
		}
	}
}

// direct reads body bytes from the connection straight into p where nothing
// stands between them, which spares large bodies a copy. Errors are left for
// the next read to meet again.
func (b *h1body) direct(p []byte) int {
	h := b.h
	room := min(int64(len(p)), h.reader.Direct())
	if h.r != h.w || h.eof || room < directFrom {
		return 0
	}
	n, err := h.conn.Read(p[:room])
	h.reader.Skip(n)
	b.got += int64(n)
	if n == 0 && isEOF(err) {
		h.eof = true
	}
	return n
}

// directFrom is the room from which reading directly pays: with less, the
// connection's own buffer makes fewer system calls.
const directFrom = 8 << 10

func (b *h1body) failed(err error) error {
	if b.ctx.Err() != nil {
		return b.record(cancelled(b.ctx, trace.LayerHTTP1, fmt.Sprintf("reading the body, after %d bytes", b.got)))
	}
	var e *Error
	switch bad, ok := err.(*http1.Error); {
	case ok && bad.Truncated():
		e = because(words.Truncated(said(bad)), err)
	case ok:
		e = because(words.MalformedBody(b.got, said(bad)), err)
	case isTimeout(err):
		e = failure(trace.LayerHTTP1, trace.FailStalled, fmt.Sprintf("nothing came for %v, after %d bytes of body", b.h.c.opt.StallTimeout, b.got), "the server stopped sending; allow longer silence", err).hint(trace.HintStallLimit)
	default:
		e = brokenFailure(trace.LayerHTTP1, fmt.Sprintf("after %d bytes of body", b.got), err)
	}
	return b.record(e)
}

func (b *h1body) record(e *Error) error {
	b.h.c.failed(b.ex, e, false)
	return e
}

// finish ends the body with err, which is io.EOF when it is whole.
func (b *h1body) finish(err error) {
	if b.done {
		return
	}
	b.done, b.err = true, err
	if err == io.EOF {
		b.h.c.readWhole(b.ex, b.h.socket, b.status, b.got)
	}
	if b.stop != nil && !b.stop() {
		b.h.deadline = 0
	}
	h := b.h
	if h.sending != nil {
		select {
		case sendErr := <-h.sending:
			if sendErr != nil && b.closes == "" {
				b.closes = "the request's body could not be sent whole"
			}
		case <-time.After(briefly):
			b.closes = "the response ended before the request's body was sent"
		}
		h.sending = nil
	}
	switch {
	case err != io.EOF:
		h.drop(decision.Client, "the response's body was not read to its end")
	case b.closes != "":
		h.drop(decision.Client, b.closes)
	case h.r != h.w:
		h.drop(decision.Client, "the server sent bytes after the response that nobody asked for")
	default:
		h.r, h.w = 0, 0
		h.idleSince = h.c.clock.Now()
		h.pool.put(h)
	}
}

// readWhole notes that a response was read to its end, where packets are
// captured: some of those that brought it may be missing.
func (c *Client) readWhole(ex, socket uint32, status int, size int64) {
	if c.rec.SeesPackets() {
		c.rec.Decide(capture.About{Exchange: ex, Socket: socket}, &decision.BodyRead{Status: uint16(status), Size: size})
	}
}

// drainLimit bounds what Close reads to save a connection; past it a new
// connection is cheaper.
const drainLimit = 64 << 10

// Close gives the rest of the body up. A short rest is read so that the
// connection can be used again.
func (b *h1body) Close() error {
	if b.done {
		return nil
	}
	b.got += int64(len(b.pending))
	b.pending = nil
	if b.err == nil && b.ctx.Err() == nil {
		for start := b.got; !b.done && b.got-start < drainLimit; {
			b.h.limit(b.ctx, closeNotify)
			ev, err := b.h.next()
			if err != nil {
				break
			}
			if ev.Kind == http1.End {
				b.fields = ev.Trailers
				b.finish(io.EOF)
				return nil
			}
			b.got += int64(len(ev.Data))
		}
		b.h.deadline = 0
	}
	b.h.c.rec.Decide(capture.About{Exchange: b.ex, Socket: b.h.socket}, &decision.BodyAbandoned{})
	b.finish(io.ErrUnexpectedEOF)
	return nil
}
