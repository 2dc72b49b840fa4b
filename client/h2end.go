package client

import (
	"errors"
	"io"
	"net"
	"time"

	"peel/clock"
	"peel/evidence/decision"
	"peel/wire/http2"
)

// tick runs the engine's timers.
func (h *h2conn) tick() {
	now := h.c.clock.Now()
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.armed = 0
	events, err := h.eng.Poll(now)
	for i := range events {
		if s := h.handle(&events[i]); s != nil {
			signal(s.ready)
		}
	}
	for _, s := range h.streams {
		if s.resp == nil && now.Sub(s.sent) > h.c.opt.ResponseTimeout {
			s.late = true
			signal(s.ready)
		}
	}
	h.arm(now)
	pending := h.eng.HasOutput()
	h.mu.Unlock()
	if pending {
		h.kick()
	}
	if err != nil {
		h.flushThenFail(err)
	}
}

// arm sets the timer for the engine's next deadline. A deadline that moved
// further away is left to the timer's next run, which then sees it.
func (h *h2conn) arm(now clock.Time) {
	d := h.eng.Deadline()
	if len(h.streams) > 0 {
		// Coarse, so that it costs no request anything: a response that does
		// not come is found within a quarter of its limit.
		d = min(d, now.Add(h.c.opt.ResponseTimeout/4))
	}
	if d == clock.Never || h.armed != 0 && h.armed <= d {
		return
	}
	h.armed = d
	h.timer.Reset(max(d.Sub(now), time.Millisecond))
}

// flushThenFail lets the GOAWAY that the engine has written go out first.
func (h *h2conn) flushThenFail(err error) {
	h.mu.Lock()
	out := h.eng.TakeOutput(nil)
	h.mu.Unlock()
	if len(out) > 0 {
		h.conn.SetWriteDeadline(time.Now().Add(closeNotify))
		h.conn.Write(out)
	}
	h.fail(err, "")
}

// fail ends the connection and everything on it.
func (h *h2conn) fail(err error, doing string) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	by, why := decision.Server, err.Error()
	var bad *http2.ConnError
	switch {
	case h.shutting:
		by, why = decision.Client, h.draining
	case errors.As(err, &bad) || isTimeout(err):
		by = decision.Client
	}
	if doing != "" {
		why = doing + ": " + why
	}
	for _, s := range h.streams {
		if s.err == nil {
			s.err = err
		}
		signal(s.ready)
		signal(s.room)
	}
	for _, s := range h.queue {
		signal(s.ready)
	}
	patience := briefly
	if h.troubled || errors.As(err, &bad) {
		patience = closeNotify
	}
	h.timer.Stop()
	close(h.done)
	h.mu.Unlock()
	sayGoodbye(h.conn)
	if by == decision.Client {
		drain(h.tap.Conn, patience)
	}
	h.c.closeSocket(h.tap, by, why)
	h.pool.lost(h, h.unusable())
}

// briefly is how long something is waited for that is due at once: the peer's
// end after ours, or a sender that has just sent its last byte.
const briefly = 20 * time.Millisecond

// drain reads what the peer still sends before the socket is closed: a socket
// closed with unread bytes sends a reset, which can overtake the GOAWAY that
// says what was wrong.
func drain(conn net.Conn, patience time.Duration) {
	tcp, ok := conn.(interface{ CloseWrite() error })
	if !ok || tcp.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	io.Copy(io.Discard, io.LimitReader(conn, drainLimit))
}

// shut closes the connection when nobody uses it, with a GOAWAY first.
func (h *h2conn) shut(why string) {
	h.mu.Lock()
	if h.err != nil || h.shutting {
		h.mu.Unlock()
		return
	}
	h.shutting = true
	h.draining = why
	h.eng.Shutdown(http2.ErrCodeNo, "")
	h.mu.Unlock()
	h.flushThenFail(net.ErrClosed)
}
