// Package server is an origin server for HTTP/1.1 and HTTP/2 around peel's own
// engines. It serves any net.Listener: HTTP/2 is chosen by ALPN over TLS and
// by its connection preface in clear.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/internal/accept"
)

// ErrClosed is what Serve returns after Shutdown or Close.
var ErrClosed = errors.New("server: closed")

// Versions restricts the versions of HTTP that a server speaks.
type Versions uint8

const (
	// AnyVersion lets the peer choose.
	AnyVersion Versions = iota
	// OnlyHTTP1 is HTTP/1.1 and 1.0.
	OnlyHTTP1
	// OnlyHTTP2 is HTTP/2, in clear by prior knowledge.
	OnlyHTTP2
)

// Server answers requests on the connections of its listeners. The zero value
// with a Handler is usable. Its fields must not be changed once it serves.
type Server struct {
	Handler Handler
	// TLSConfig is for ServeTLS; it needs a certificate. NextProtos follow from
	// Versions unless it names some.
	TLSConfig *tls.Config
	Limits    Limits
	// Versions are what is spoken: any when it is zero.
	Versions Versions
	// Clock is real time when nil.
	Clock clock.Clock
	// Recorder gets what every connection reads and writes, and the TLS
	// secrets; nil records nothing.
	Recorder *capture.Recorder
	// ErrorLog is told of panics of handlers and of connections that broke the
	// rules; nil tells nobody. It is called from many goroutines.
	ErrorLog func(text string)

	once    sync.Once
	limits  Limits
	clock   clock.Clock
	real    bool
	tls     *tls.Config
	date    dateCache
	workers workers
	slots   chan struct{} // one for each connection
	corks   sync.Pool     // buffers of *[]byte with room for corkLimit
	closing atomic.Bool

	mu        sync.Mutex
	done      chan struct{} // closed with the first Shutdown or Close
	gone      chan struct{} // closed when the last connection went after that
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
}

func (s *Server) init() {
	s.once.Do(func() {
		s.limits = s.Limits.withDefaults()
		s.clock = s.Clock
		if s.clock == nil {
			s.clock = clock.NewReal()
		}
		_, s.real = s.clock.(*clock.Real)
		if s.TLSConfig != nil {
			s.tls = s.tlsConfig()
		}
		s.slots = make(chan struct{}, s.limits.Connections)
		s.done, s.gone = make(chan struct{}), make(chan struct{})
		s.listeners = map[net.Listener]struct{}{}
		s.conns = map[*conn]struct{}{}
	})
}

// Serve answers cleartext connections of l until Shutdown or Close, and then
// returns ErrClosed; or until l fails. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, false) }

// ServeTLS is Serve for TLS connections.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.TLSConfig == nil {
		return errors.New("server: ServeTLS: no TLSConfig")
	}
	return s.serve(l, true)
}

func (s *Server) serve(l net.Listener, secure bool) error {
	s.init()
	defer l.Close()
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	err := accept.Loop(l, s.done, func(text string) { s.logf("server: %s", text) }, func(nc net.Conn) {
		select {
		case s.slots <- struct{}{}:
			go s.accepted(nc, secure)
		case <-s.done:
			nc.Close()
		}
	})
	if s.closing.Load() {
		return ErrClosed
	}
	if err == nil {
		err = net.ErrClosed // by somebody else than this server
	}
	return fmt.Errorf("server: accept: %w", err)
}

// Shutdown stops taking connections and requests, lets what runs end, and
// returns when every connection is closed or ctx is done: then it closes what
// is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.drain()
	}
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// Close closes the listeners and every connection at once.
func (s *Server) Close() error {
	for _, c := range s.stop() {
		c.close()
	}
	return nil
}

// stop closes the listeners, and returns the connections there are.
func (s *Server) stop() []*conn {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing.Swap(true) {
		close(s.done)
		s.workers.stop()
		if len(s.conns) == 0 {
			close(s.gone)
		}
	}
	for l := range s.listeners {
		l.Close()
	}
	var conns []*conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// add enters a connection; false means that the server is closing.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.conns[c]; !ok {
		return
	}
	delete(s.conns, c)
	if s.closing.Load() && len(s.conns) == 0 {
		close(s.gone)
	}
}

// after returns the deadline d from now for a connection. With the real clock
// it carries the monotonic time, so that a machine that was suspended does not
// time everything out; otherwise the network's time is the clock's.
func (s *Server) after(d time.Duration) time.Time {
	if s.real {
		return time.Now().Add(d)
	}
	return s.clock.Now().Add(d).Std()
}

func (s *Server) logf(format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog(fmt.Sprintf(format, args...))
	}
}

// run calls the handler and ends the response. A handler that panics costs
// its own response and no other; err tells that it was broken off.
func (s *Server) run(w *ResponseWriter, r *Request) (err error) {
	if err := s.call(w, r); err != nil {
		return err
	}
	return w.finish()
}

func (s *Server) call(w *ResponseWriter, r *Request) (err error) {
	defer func() {
		if r.cancel != nil {
			r.cancel()
		}
		v := recover()
		if v == nil {
			return
		}
		if v == any(Abort) {
			err = Abort
			return
		}
		s.logf("server: panic serving %s %s to %v: %v\n%s", r.Method, r.Target, r.RemoteAddr, v, debug.Stack())
		if w.sent {
			err = Abort
			return
		}
		w.failed()
	}()
	switch {
	case r.tooLarge:
		w.refuse(431, "Request Header Fields Too Large\n")
	case s.limits.Body > 0 && r.ContentLength > s.limits.Body:
		w.refuse(413, "Content Too Large\n")
	case r.Method == "CONNECT":
		// An origin server opens no tunnels.
		w.refuse(501, "Not Implemented\n")
	default:
		s.Handler.Serve(w, r)
	}
	return nil
}
