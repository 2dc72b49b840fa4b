package server

import (
	"io"

	"peel/wire/http1"
)

// h1body is the body of the request that a connection is serving.
type h1body struct {
	h       *h1conn
	pending []byte // of the last event, not yet handed out
	expects bool   // the client waits for 100 (Continue)
	ended   bool
	err     error
	pace    bodyPace
}

func (b *h1body) reset(head *http1.Head) {
	*b = h1body{h: b.h, expects: head.Expect100 && head.Minor == 1 && head.Framing != http1.NoBody}
	if head.Framing == http1.NoBody || head.ContentLength == 0 {
		b.next() // the reader's End
	}
}

func (b *h1body) Read(p []byte) (int, error) {
	for len(b.pending) == 0 {
		if b.ended {
			return 0, io.EOF
		}
		if b.err != nil {
			return 0, b.err
		}
		b.next()
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	return n, nil
}

// next takes one event, and reads from the connection when it must.
func (b *h1body) next() {
	h := b.h
	for {
		ev, n, err := h.reader.Next(h.in[h.r:h.w], h.eof)
		h.r += n
		switch {
		case err != nil:
			b.err = err
			if bad, ok := err.(*http1.Error); ok && bad.Truncated() {
				b.err = io.ErrUnexpectedEOF
			}
			return
		case ev.Kind == http1.Data:
			b.expects = false
			b.pace.got += int64(len(ev.Data))
			if max := h.s.limits.Body; max > 0 && b.pace.got > max {
				b.err = ErrBodyTooLarge
				return
			}
			b.pending = ev.Data
			return
		case ev.Kind == http1.End:
			b.ended = true
			h.req.trailer = ev.Trailers
			return
		}
		if b.err = b.await(); b.err != nil {
			return
		}
	}
}

// await reads more of the body, within the limits on its pace.
func (b *h1body) await() error {
	h := b.h
	if b.expects {
		b.expects = false
		if !h.res.sent {
			if err := h.inform(100, nil); err != nil {
				return err
			}
		}
	}
	if err := h.flush(); err != nil {
		return err
	}
	before := h.s.clock.Now()
	h.readWithin(b.pace.allowance(&h.s.limits), 8)
	err := h.fill()
	b.pace.waited += h.s.clock.Now().Sub(before)
	if isTimeout(err) {
		err = ErrBodyTooSlow
	}
	return err
}

// drain reads what the handler left of the body, so that the next request can
// be found. It tells whether the end was reached within bounds.
func (b *h1body) drain() bool {
	if b.expects {
		// The client was never asked to send: it may, or may not.
		return false
	}
	for left := drainLimit; !b.ended && b.err == nil; {
		if left -= len(b.pending); left < 0 {
			return false
		}
		b.pending = nil
		b.next()
	}
	return b.ended
}

// unread tells whether so much of the body is left that the connection will
// rather be closed than read.
func (b *h1body) unread() bool {
	if b.ended {
		return false
	}
	return b.expects || b.err != nil || b.h.req.ContentLength-b.pace.got > drainLimit
}
