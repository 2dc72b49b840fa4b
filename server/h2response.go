package server

import (
	"errors"

	"peel/clock"
	"peel/wire/httpfield"
)

// errStalled is what a stream dies of whose peer does not read.
var errStalled = errors.New("server: the peer takes nothing")

// continueFields is an interim response (RFC 9110 §15.2.1).
var continueFields = httpfield.List{{Name: ":status", Value: "100"}}

// send implements exchange.
func (st *h2stream) send(w *ResponseWriter, p []byte, last bool) error {
	h := st.h
	h.lock.Lock()
	defer h.lock.Unlock()
	if st.dead != nil {
		return st.dead
	}
	if w.bare {
		p = nil
	}
	now := h.s.clock.Now()
	trailers := last && len(w.trailer) > 0 && !w.bare
	if !w.sent {
		err := st.sendHead(w, last && len(p) == 0 && !trailers, now)
		if err != nil {
			p, last, trailers = h.s.unsendable(w, &st.req, err), true, false
			err = st.sendHead(w, len(p) == 0, now)
		}
		if err != nil {
			return err
		}
		if len(p) == 0 && last && !trailers {
			return nil
		}
	}
	if err := st.sendBody(p, last && !trailers, now); err != nil {
		return err
	}
	switch {
	case trailers:
		return h.eng.SendHeaders(st.id, w.trailer, true)
	case !last:
		h.call()
	}
	return nil
}

// sendBody gives p to the engine, as flow control and the batch allow.
func (st *h2stream) sendBody(p []byte, end bool, now clock.Time) error {
	h := st.h
	for len(p) > 0 || end {
		// A small piece goes in whatever waits: it ends a stream, mostly.
		part := p
		if room := h2Batch - h.unsent; len(part) > room && len(part) > record {
			part = part[:max(room, 0)]
		}
		n := 0
		if len(part) > 0 || len(p) == 0 {
			var err error
			if n, err = h.eng.SendData(now, st.id, part, end && len(part) == len(p)); err != nil {
				return err
			}
		}
		h.unsent += n
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if n == len(part) && h.unsent < h2Batch {
			continue
		}
		if !st.blocked {
			st.blocked = true
			h.blocked = append(h.blocked, st)
		}
		now = h.s.clock.Now()
		st.sending = true
		st.wait(now.Add(h.s.limits.Stall), now)
		st.sending = false
		if st.dead != nil {
			return st.dead
		}
	}
	return nil
}

// sendHead gives the response's head to the engine.
func (st *h2stream) sendHead(w *ResponseWriter, end bool, now clock.Time) error {
	h := st.h
	l := append(h.fields[:0], httpfield.Field{Name: ":status", Value: statusText(w.status)})
	dated := false
	for i := range w.Header {
		f := &w.Header[i]
		switch {
		case connectionField(f.Name), len(f.Name) == 14 && httpfield.EqualName(f.Name, "Content-Length"):
			continue
		case len(f.Name) == 4 && httpfield.EqualName(f.Name, "Date"):
			dated = true
		}
		l = append(l, *f)
	}
	if !dated {
		l = append(l, httpfield.Field{Name: "date", Value: h.s.date.at(now)})
	}
	if w.length >= 0 && w.status != 204 {
		l = append(l, httpfield.Field{Name: "content-length", Value: h.length.value(w.length)})
	}
	h.fields = l
	if err := h.eng.SendHeaders(st.id, l, end); err != nil {
		return err
	}
	w.sent = true
	return nil
}

// inform implements exchange.
func (st *h2stream) inform(status int, fields httpfield.List) error {
	h := st.h
	h.lock.Lock()
	defer h.lock.Unlock()
	if st.dead != nil {
		return st.dead
	}
	l := append(h.fields[:0], httpfield.Field{Name: ":status", Value: statusText(status)})
	h.fields = append(l, fields...)
	err := h.eng.SendHeaders(st.id, h.fields, false)
	h.call()
	return err
}

// flush implements exchange.
func (st *h2stream) flush() error {
	st.h.lock.Lock()
	defer st.h.lock.Unlock()
	st.h.call()
	return st.dead
}
