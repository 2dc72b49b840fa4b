package server

import (
	"errors"
	"fmt"
	"strconv"

	"peel/wire/httpfield"
)

// Errors of writing a response.
var (
	// ErrNoContent says that the response has no body by its status
	// (RFC 9110 §6.4.1).
	ErrNoContent = errors.New("server: response: a response with this status has no body")
	// ErrContentLength says that more was written than Content-Length announced.
	ErrContentLength = errors.New("server: response: more bytes written than Content-Length says")
	// ErrEnded says that the response has ended or was broken off.
	ErrEnded = errors.New("server: response: it has ended")
)

// holdBack is how much of a body is kept back, in bytes, until it is known
// whether that is all: a response that is smaller gets a Content-Length and
// leaves in one piece.
const holdBack = 8 << 10

// ResponseWriter makes one response.
type ResponseWriter struct {
	// Header is sent with the first byte of the body that does not fit in 8
	// KiB, with Flush, or at the end. Date and Content-Length are added when
	// they are missing; Connection: close is obeyed on HTTP/1; other fields
	// that belong to a connection are left out.
	Header httpfield.List

	conn    exchange
	status  int   // 0 until it is decided
	length  int64 // announced; -1 when not
	written int64
	head    bool // the request's method is HEAD
	bare    bool // nothing but the head is sent
	sent    bool // the head was sent
	ended   bool
	body    []byte // held back
	trailer httpfield.List
	err     error
}

// reset makes w ready for a response to r.
func (w *ResponseWriter) reset(x exchange, head bool) {
	*w = ResponseWriter{Header: w.Header[:0], conn: x, length: -1, head: head, bare: head, body: w.body[:0], trailer: w.trailer[:0]}
}

// WriteHeader decides the status, 200 to 999. A second call changes nothing.
// A response that is not decided is 200.
func (w *ResponseWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if status < 200 || status > 999 {
		panic(fmt.Sprintf("server: response: status %d is not between 200 and 999", status))
	}
	w.status = status
	if status == 204 || status == 304 {
		w.bare = true
	}
	if v, ok := w.Header.Get("Content-Length"); ok {
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil {
			panic(fmt.Sprintf("server: response: Content-Length %q is not a number", v))
		}
		w.length = int64(n)
	}
}

// WriteInformational sends an interim response (RFC 9110 §15.2), status 100
// to 199 but not 101, such as 103 with Link fields. HTTP/1.0 peers get none.
func (w *ResponseWriter) WriteInformational(status int, fields httpfield.List) error {
	if status < 100 || status > 199 || status == 101 {
		return fmt.Errorf("server: response: %d is not an interim status", status)
	}
	if w.sent {
		return errors.New("server: response: an interim response after the final one")
	}
	return w.conn.inform(status, fields)
}

// Write adds p to the body. To HEAD it counts and sends nothing.
func (w *ResponseWriter) Write(p []byte) (int, error) {
	if done, err := hold(w, p); err != nil {
		return 0, err
	} else if done {
		return len(p), nil
	}
	if err := w.release(); err != nil {
		return 0, err
	}
	if w.err == nil {
		w.err = w.conn.send(w, p, false)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// WriteString adds s to the body.
func (w *ResponseWriter) WriteString(s string) (int, error) {
	if done, err := hold(w, s); err != nil {
		return 0, err
	} else if done {
		return len(s), nil
	}
	w.written -= int64(len(s))
	return w.Write([]byte(s))
}

// hold counts p in and keeps it back, or drops it where only the head is
// sent. done is false when p is too big to be held back.
func hold[T string | []byte](w *ResponseWriter, p T) (done bool, err error) {
	if w.err != nil {
		return false, w.err
	}
	if w.status == 0 {
		w.WriteHeader(200)
	}
	if w.bare && !w.head {
		return false, ErrNoContent
	}
	if w.length >= 0 && w.written+int64(len(p)) > w.length {
		return false, ErrContentLength
	}
	w.written += int64(len(p))
	if w.bare {
		return true, nil
	}
	if len(w.body)+len(p) <= holdBack {
		w.body = append(w.body, p...)
		return true, nil
	}
	return false, nil
}

// release sends the head and what is held back.
func (w *ResponseWriter) release() error {
	if w.sent && len(w.body) == 0 {
		return nil
	}
	err := w.conn.send(w, w.body, false)
	if err != nil {
		w.err = err
	}
	w.body = w.body[:0]
	return w.err
}

// Flush sends the head and what was written so far.
func (w *ResponseWriter) Flush() error {
	if w.err != nil {
		return w.err
	}
	if w.status == 0 {
		w.WriteHeader(200)
	}
	if err := w.release(); err != nil {
		return err
	}
	w.err = w.conn.flush()
	return w.err
}

// SetTrailer adds a trailer field, which is sent after the body. HTTP/1.0
// peers do not get it, nor does a response without a body.
func (w *ResponseWriter) SetTrailer(name, value string) { w.trailer.Set(name, value) }

// finish ends the response.
func (w *ResponseWriter) finish() error {
	if w.ended {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	if w.status == 0 {
		w.WriteHeader(200)
	}
	if w.length >= 0 && w.written < w.length && !w.bare {
		// The peer must not take a part for the whole.
		if err := w.release(); err != nil {
			return err
		}
		return fmt.Errorf("server: response: only %d of %d bytes were written", w.written, w.length)
	}
	if !w.sent && w.length < 0 && w.status != 204 && w.status != 304 && (!w.head || w.written > 0) {
		w.length = w.written
	}
	if err := w.conn.send(w, w.body, true); err != nil {
		w.err = err
		return err
	}
	w.ended, w.err = true, ErrEnded
	return nil
}

// failed replaces a response that was not begun by a plain 500.
func (w *ResponseWriter) failed() {
	w.refuse(500, "Internal Server Error\n")
}

// unsendable replaces a response whose fields cannot be sent, and returns the
// body of the one to send instead. What the handler still writes is refused.
func (s *Server) unsendable(w *ResponseWriter, r *Request, err error) (body []byte) {
	s.logf("server: the response to %s %s cannot be sent: %v", r.Method, r.Target, err)
	w.failed()
	w.length = w.written
	w.ended, w.err = true, ErrEnded
	return w.body
}

// refuse replaces a response that was not begun by a short one.
func (w *ResponseWriter) refuse(status int, text string) {
	w.reset(w.conn, w.head)
	w.Header.Add("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.WriteString(text)
}

// connectionField tells whether a field belongs to an HTTP/1 connection, so
// that the server alone may set it (RFC 9110 §7.6.1, RFC 9113 §8.2.2).
func connectionField(name string) bool {
	switch len(name) {
	case 7:
		return httpfield.EqualName(name, "Upgrade")
	case 10:
		return httpfield.EqualName(name, "Connection") || httpfield.EqualName(name, "Keep-Alive")
	case 16:
		return httpfield.EqualName(name, "Proxy-Connection")
	case 17:
		return httpfield.EqualName(name, "Transfer-Encoding")
	}
	return false
}

// contentLength is the value of a Content-Length field for n. The last one is
// kept, as answers of one size come in rows.
type contentLength struct {
	n    int64
	text string
}

func (c *contentLength) value(n int64) string {
	if c.text == "" || c.n != n {
		c.n, c.text = n, strconv.FormatInt(n, 10)
	}
	return c.text
}
