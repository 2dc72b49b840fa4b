package server

import (
	"peel/wire/http1"
	"peel/wire/httpfield"
)

// direct is the size from which a piece of a body is written from where it
// lies, in bytes.
const direct = 16 << 10

// send implements exchange.
func (h *h1conn) send(w *ResponseWriter, p []byte, last bool) error {
	if !w.sent {
		if err := h.sendHead(w, last); err != nil {
			p, last = h.s.unsendable(w, &h.req, err), true
			if err := h.sendHead(w, last); err != nil {
				return err
			}
		}
	}
	switch {
	case w.bare || len(p) == 0:
	case h.chunked:
		h.out = http1.AppendChunk(h.out, p)
	case len(p) >= direct:
		if err := h.flush(); err != nil {
			return err
		}
		return h.write(p)
	default:
		h.out = append(h.out, p...)
	}
	if last && h.chunked && !w.bare {
		var err error
		if h.out, err = http1.AppendLastChunk(h.out, w.trailer); err != nil {
			return err
		}
	}
	if len(h.out) >= h1Batch {
		return h.flush()
	}
	return nil
}

// sendHead decides how the response is framed (RFC 9112 §6) and puts its head
// into the output.
func (h *h1conn) sendHead(w *ResponseWriter, last bool) error {
	head := http1.Head{Status: w.status, Reason: reason(w.status), Minor: 1}
	fields := h.fields[:0]
	hasDate := false
	for i := range w.Header {
		f := &w.Header[i]
		switch {
		case len(f.Name) == 14 && httpfield.EqualName(f.Name, "Content-Length"):
			continue
		case connectionField(f.Name):
			if httpfield.EqualName(f.Name, "Connection") && w.Header.HasToken("Connection", "close") {
				h.closes = true
			}
			continue
		case len(f.Name) == 4 && httpfield.EqualName(f.Name, "Date"):
			hasDate = true
		}
		fields = append(fields, *f)
	}
	if !hasDate {
		fields.Add("Date", h.s.date.at(h.s.clock.Now()))
	}
	switch {
	case w.length >= 0 && (w.status == 204 || w.status < 200):
		// RFC 9110 §8.6: no Content-Length.
	case w.length >= 0 && (len(w.trailer) == 0 || h.minor == 0 || w.bare):
		fields.Add("Content-Length", h.length.value(w.length))
	case w.bare:
	case h.minor == 1:
		h.chunked = true
		fields.Add("Transfer-Encoding", "chunked")
	default:
		h.closes = true // the body ends with the connection
	}
	if h.stopping.Load() || last && h.body.unread() {
		h.closes = true
	}
	switch {
	case h.closes:
		fields.Add("Connection", "close")
	case h.minor == 0:
		fields.Add("Connection", "keep-alive")
	}
	head.Fields = fields
	h.fields = fields[:0]
	out, err := http1.AppendResponse(h.out, &head)
	if err != nil {
		h.chunked = false
		return err
	}
	h.out = out
	w.sent = true
	return nil
}

// inform implements exchange.
func (h *h1conn) inform(status int, fields httpfield.List) error {
	if h.minor == 0 {
		return nil
	}
	out, err := http1.AppendResponse(h.out, &http1.Head{Status: status, Reason: reason(status), Minor: 1, Fields: fields})
	if err != nil {
		return err
	}
	h.out = out
	return h.flush()
}

// flush implements exchange.
func (h *h1conn) flush() error {
	if len(h.out) == 0 {
		return nil
	}
	err := h.write(h.out)
	h.out = h.out[:0]
	return err
}

// writePart is how much is written under one deadline, in bytes.
const writePart = 1 << 20

func (h *h1conn) write(p []byte) error {
	for {
		part := p[:min(len(p), writePart)]
		if want := h.s.after(h.s.limits.Stall); want.Sub(h.writeBy) > h.s.limits.Stall/8 {
			h.writeBy = want
			h.SetWriteDeadline(want)
		}
		if err := h.transmit(part); err != nil {
			return err
		}
		if p = p[len(part):]; len(p) == 0 {
			return nil
		}
	}
}
