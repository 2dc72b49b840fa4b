package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"

	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/internal/kernel"
)

// conn is one accepted connection, whatever is spoken on it.
type conn struct {
	s   *Server
	tap *tap
	// Conn is what HTTP is spoken on: the tap, or TLS over it.
	net.Conn
	remote net.Addr
	tls    *tls.ConnectionState

	mu       sync.Mutex
	protocol protocol // nil until it is known
	draining bool
	end      context.CancelFunc // ends ctx
	ctx      context.Context    // of the connection; made when somebody asks
	closed   bool
}

// protocol is what a connection does by the protocol that it speaks.
type protocol interface {
	serve()
	// drain lets what runs end and then closes. It may be called from any
	// goroutine, and more than once.
	drain()
}

// preface is what an HTTP/2 connection begins with (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func (s *Server) accepted(nc net.Conn, secure bool) {
	defer func() { <-s.slots }()
	c := &conn{s: s, remote: nc.RemoteAddr(), tap: &tap{Conn: nc, spare: &s.corks, rec: s.Recorder, socket: s.Recorder.NewSocket()}}
	c.Conn = c.tap
	if !s.add(c) {
		nc.Close()
		return
	}
	if s.Recorder != nil {
		s.Recorder.Decide(capture.About{Socket: c.tap.socket}, &decision.SocketAccepted{Local: kernel.AddrPort(nc.LocalAddr()), Remote: kernel.AddrPort(c.remote)})
	}
	defer s.remove(c)
	defer c.close()
	h2, err := c.agree(secure)
	if err != nil {
		if !isGone(err) {
			s.logf("server: %v: %v", c.remote, err)
		}
		return
	}
	var p protocol
	if h2 {
		p = newH2(c)
	} else {
		p = newH1(c)
	}
	c.mu.Lock()
	c.protocol = p
	draining := c.draining
	c.mu.Unlock()
	if draining {
		p.drain()
	}
	p.serve()
}

// agree finds out what is spoken: by ALPN after the TLS handshake, by the
// preface in clear.
func (c *conn) agree(secure bool) (h2 bool, err error) {
	if secure {
		c.SetDeadline(c.s.after(c.s.limits.Handshake))
		tc := tls.Server(c.tap, c.s.tls)
		if err := tc.Handshake(); err != nil {
			return false, err
		}
		state := tc.ConnectionState()
		c.mu.Lock() // close may be looking
		c.Conn, c.tls = tc, &state
		c.mu.Unlock()
		c.SetDeadline(time.Time{})
		return state.NegotiatedProtocol == "h2" || c.s.Versions == OnlyHTTP2, nil
	}
	if c.s.Versions != AnyVersion {
		return c.s.Versions == OnlyHTTP2, nil
	}
	c.SetReadDeadline(c.s.after(c.s.limits.Header))
	first, err := c.tap.peek(len(preface), func(b []byte) bool {
		return !strings.HasPrefix(preface, string(b))
	})
	c.SetReadDeadline(time.Time{})
	if len(first) == 0 {
		return false, err
	}
	return bytes.HasPrefix(first, []byte(preface)), nil
}

// tlsConfig completes the configuration.
func (s *Server) tlsConfig() *tls.Config {
	cfg := s.TLSConfig.Clone()
	if len(cfg.NextProtos) == 0 {
		switch s.Versions {
		case OnlyHTTP1:
			cfg.NextProtos = []string{"http/1.1"}
		case OnlyHTTP2:
			cfg.NextProtos = []string{"h2"}
		default:
			cfg.NextProtos = []string{"h2", "http/1.1"}
		}
	}
	// Small records help the first page on a slow link; here they would cost
	// the batches their point.
	cfg.DynamicRecordSizingDisabled = true
	if s.Recorder == nil {
		return cfg
	}
	// Each connection logs its own secrets, so that they are bound to it. The
	// copy shares the session ticket keys of the original.
	choose := cfg.GetConfigForClient
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		own := cfg
		if choose != nil {
			chosen, err := choose(hello)
			if err != nil {
				return nil, err
			}
			if chosen != nil {
				own = chosen
			}
		}
		t, ok := hello.Conn.(*tap)
		if !ok {
			return own, nil
		}
		own = own.Clone()
		own.KeyLogWriter = s.Recorder.KeyLog(t.socket)
		return own, nil
	}
	return cfg
}

// drain ends the connection when what runs on it has ended.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	p := c.protocol
	c.mu.Unlock()
	if p != nil {
		p.drain()
		return
	}
	// Nothing was asked yet: there is nothing to wait for.
	c.close()
}

// close closes the socket. TLS says goodbye first, where it can without
// waiting.
func (c *conn) close() {
	c.mu.Lock()
	was, over := c.closed, c.Conn
	c.closed = true
	if c.end != nil {
		c.end()
	}
	c.mu.Unlock()
	if was {
		return
	}
	c.farewell(over)
	c.tap.Conn.Close()
	c.s.Recorder.Decide(capture.About{Socket: c.tap.socket}, &decision.SocketClosed{By: decision.Server})
}

// farewell sends TLS's close_notify (RFC 8446 §6.1).
func (c *conn) farewell(over net.Conn) {
	tc, ok := over.(*tls.Conn)
	if !ok {
		return
	}
	c.tap.Conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	tc.CloseWrite()
}

// context returns a context that ends with the connection.
func (c *conn) context() (context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.end = context.WithCancel(context.Background())
		if c.closed {
			c.end()
		}
	}
	return context.WithCancel(c.ctx)
}

// record is the most that TLS puts into one record, in bytes (RFC 8446 §5.1).
const record = 16 << 10

// transmit writes p with as few system calls as can be.
func (c *conn) transmit(p []byte) error {
	if c.tls == nil || len(p) <= record {
		_, err := c.Conn.Write(p)
		return err
	}
	c.tap.cork()
	_, err := c.Conn.Write(p)
	if e := c.tap.uncork(); err == nil {
		err = e
	}
	return err
}

// Lingering: bytes and time for which a connection that is closed under a
// talking peer is still read.
const (
	lingerBytes = 256 << 10
	lingerTime  = 2 * time.Second
)

// linger closes the sending side and reads on for a while: closing a socket
// that holds unread bytes makes TCP send a reset, which can destroy the last
// response before the peer has read it (RFC 9112 §9.6).
func (c *conn) linger() {
	c.farewell(c.Conn)
	if half, ok := c.tap.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	c.tap.Conn.SetReadDeadline(c.s.after(lingerTime))
	buf := make([]byte, 16<<10)
	for got := 0; got < lingerBytes; {
		n, err := c.tap.Conn.Read(buf)
		got += n
		if err != nil {
			return
		}
	}
}
