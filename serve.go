package peel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"peel/server"
	"peel/trace"
)

// ServeOptions say what a Server answers, and how its evidence is taken.
type ServeOptions struct {
	RecordOptions
	// Handler answers the requests. It must be set.
	Handler server.Handler
	// TLSConfig is for ServeTLS; it needs a certificate.
	TLSConfig *tls.Config
	// Bounds are what peers may use of the server, and how long they may
	// take; zero values have defaults.
	Bounds server.Limits
	// Versions are those of HTTP that are spoken: any when it is zero.
	Versions server.Versions
}

// Server is an origin server for HTTP/1.1 and HTTP/2 whose trace shows the
// requests that came in, in the view of those who made them: a connection's
// bytes out are the client's. It is safe for concurrent use.
type Server struct {
	s         *server.Server
	recording *Recording
}

// NewServer makes a server. It fails without a Handler, and when packets are
// asked for, which only clients capture.
func NewServer(o ServeOptions) (*Server, error) {
	if o.Handler == nil {
		return nil, errors.New("peel: a server needs a Handler")
	}
	if o.Packets != NoPackets {
		return nil, errors.New("peel: a server captures no packets")
	}
	r, err := Record(o.RecordOptions)
	if err != nil {
		return nil, err
	}
	return &Server{recording: r, s: &server.Server{Handler: o.Handler, TLSConfig: o.TLSConfig, Limits: o.Bounds, Versions: o.Versions,
		Clock: r.Clock(), Recorder: r.Recorder()}}, nil
}

// Serve answers cleartext connections of l until Shutdown or Close, and then
// returns server.ErrClosed; or until l fails. It closes l.
func (s *Server) Serve(l net.Listener) error { return s.s.Serve(l) }

// ServeTLS is Serve for TLS connections.
func (s *Server) ServeTLS(l net.Listener) error { return s.s.ServeTLS(l) }

// Trace returns what happened so far on all connections. It can be called
// while they are served.
func (s *Server) Trace() *trace.Trace { return s.recording.Trace() }

// Shutdown stops taking connections and requests, lets what runs end, and
// returns when every connection is closed or ctx is done: then it closes what
// is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.s.Shutdown(ctx)
	if rerr := s.recording.Close(); err == nil {
		err = rerr
	}
	return err
}

// Close closes the listeners and every connection at once.
func (s *Server) Close() error {
	err := s.s.Close()
	if rerr := s.recording.Close(); err == nil {
		err = rerr
	}
	return err
}
