package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"peel/wire/httpfield"
)

// Handler answers requests. Each request has its own goroutine, which a
// handler may block.
//
// The Request, its Header and its Body, and the ResponseWriter are lent: they
// serve another request once Serve has returned. The strings in them may be
// kept. They are for one goroutine at a time.
type Handler interface {
	Serve(w *ResponseWriter, r *Request)
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(w *ResponseWriter, r *Request)

// Serve calls f.
func (f HandlerFunc) Serve(w *ResponseWriter, r *Request) { f(w, r) }

// Abort is what a handler panics with to break its response off: an HTTP/1
// connection is closed, an HTTP/2 stream is reset. Nothing is logged.
var Abort = errors.New("server: the handler broke the response off")

// Errors that a body gives besides io.EOF.
var (
	// ErrBodyTooLarge ends a request body that is longer than Limits.Body.
	ErrBodyTooLarge = errors.New("server: request body: longer than the limit")
	// ErrBodyTooSlow ends a request body that does not come, or comes so
	// slowly that it looks like an attack.
	ErrBodyTooSlow = errors.New("server: request body: comes too slowly")
)

// Request is a request as it stood on the wire.
type Request struct {
	Method string
	// Scheme is "http" or "https", as the request or the connection says.
	Scheme string
	// Authority is the host and port that was asked, from :authority, from an
	// absolute target or from Host.
	Authority string
	// Target is the request target as received; Path and Query are its parts
	// before and after the first "?", still percent-encoded. Of an absolute
	// target Path begins behind the authority.
	Target, Path, Query string
	// Header has order and case of the wire, without pseudo-header fields.
	Header httpfield.List
	// Body is never nil. It ends with io.EOF, or with io.ErrUnexpectedEOF when
	// the peer broke it off.
	Body io.Reader
	// ContentLength is the body's length in bytes, -1 when it is not known.
	ContentLength int64
	// Protocol is "HTTP/1.0", "HTTP/1.1" or "HTTP/2".
	Protocol   string
	RemoteAddr net.Addr
	// TLS is nil on a cleartext connection.
	TLS *tls.ConnectionState

	trailer  httpfield.List
	tooLarge bool // the head was over the limits and is cut
	conn     exchange
	ctx      context.Context
	cancel   context.CancelFunc
}

// Trailer returns the trailer fields. They are there when Body has ended.
func (r *Request) Trailer() httpfield.List { return r.trailer }

// Context is cancelled when the handler returns, when an HTTP/2 peer resets
// the stream or loses the connection, and when the server is closed. On
// HTTP/1 a peer that went away is seen only by reading or writing.
func (r *Request) Context() context.Context {
	if r.ctx == nil {
		r.ctx, r.cancel = r.conn.context()
	}
	return r.ctx
}

// split cuts Target into Path and Query.
func (r *Request) split() {
	t := r.Target
	if len(t) > 0 && t[0] != '/' {
		t = pathOf(t)
	}
	r.Path, r.Query = t, ""
	for i := 0; i < len(t); i++ {
		if t[i] == '?' {
			r.Path, r.Query = t[:i], t[i+1:]
			return
		}
	}
}

// pathOf returns what stands behind the authority of an absolute target;
// other forms ("*", a CONNECT authority) have no path and are given whole.
func pathOf(target string) string {
	for i := 0; i+2 < len(target); i++ {
		if target[i] == ':' && target[i+1] == '/' && target[i+2] == '/' {
			rest := target[i+3:]
			for j := 0; j < len(rest); j++ {
				switch rest[j] {
				case '/':
					return rest[j:]
				case '?':
					return "/" + rest[j:]
				}
			}
			return "/"
		}
		if target[i] == '/' || target[i] == '?' {
			break
		}
	}
	return target
}

// exchange is the protocol's side of one request and its response.
type exchange interface {
	// send puts body bytes on their way, after the head if that was not sent
	// yet, and with last the end of the response. It blocks for flow control.
	send(w *ResponseWriter, p []byte, last bool) error
	// inform sends an interim response.
	inform(status int, fields httpfield.List) error
	// flush gets what was sent onto the wire.
	flush() error
	context() (context.Context, context.CancelFunc)
}
