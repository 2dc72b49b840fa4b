// Package server answers DNS on sockets: UDP, TCP and TLS (RFC 7858), from
// zones, from a recursive resolver, or from both. Package server/doh puts it
// behind HTTPS (RFC 8484).
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"peel/dns"
	"peel/dns/zone"
	"peel/internal/accept"
	"peel/internal/kernel"
)

// Server answers queries. Set it up before the first Serve.
type Server struct {
	// Zones answers with authority; nil where there are none.
	Zones *zone.Server
	// Recursive answers for all other names; nil where nobody does.
	Recursive Recursive
	// MaxStreams bounds the connections at once; 0 is a share of the files
	// that the process may have open.
	MaxStreams int
	// AllowRecursion are the networks whose clients may have names resolved
	// that the zones do not answer for; nil allows all.
	AllowRecursion []netip.Prefix
	// Cookies and Rate are against forged addresses; nil leaves them out.
	Cookies *Cookies
	Rate    *RateLimit
	// OnVisit is told of each response; nil tells nobody. It is called from
	// many goroutines, and must not wait.
	OnVisit func(Visit)
	// Log is told when something runs short, with what to do, and when that is
	// over; nil tells nobody. It is called from many goroutines.
	Log func(text string)

	counters counters

	once    sync.Once
	done    chan struct{} // closed with Close
	streams streams
	mu      sync.Mutex
	closed  bool
	closers map[io.Closer]struct{}
	running sync.WaitGroup
}

func (s *Server) init() {
	s.once.Do(func() {
		s.done = make(chan struct{})
		if s.streams.limit = s.MaxStreams; s.streams.limit == 0 {
			s.streams.limit = defaultStreams()
		}
	})
}

// Recursive is what a resolver has to do for the server.
type Recursive interface {
	// Cached appends the answer to dst if it is known, else nothing. It must
	// be safe from many goroutines.
	Cached(w *dns.Message, dst, query []byte, limit int) []byte
	// Resolve finds the answer and calls reply once with it.
	Resolve(query []byte, peer netip.AddrPort, limit int, reply func(msg []byte))
}

// Bounds of what clients may cost.
const (
	batchSize    = 64
	udpLimit     = 1232 // octets of an answer over UDP, offered more or not
	writing      = 10 * time.Second
	maxPipelined = 64 // queries of one connection that wait for an answer
)

// workspace is what answering uses again and again.
type workspace struct {
	zone zone.Workspace
	msg  dns.Message
}

// now answers at once if that is possible.
func (s *Server) now(w *workspace, dst, query []byte, v *visit) []byte {
	v.source = FromZone
	out := dst
	switch {
	case v.cookie.broken && len(query) >= 12 && query[2]&0x80 == 0:
		v.source = FromPolicy
		out = refuse(&w.msg, dst, query, v.room(), dns.RcodeFormErr, "")
	case s.Zones != nil && (s.Recursive == nil || s.Zones.Has(query)):
		out = s.Zones.AnswerWith(&w.zone, dst, query, v.room())
	case s.Recursive == nil:
	case !s.mayRecurse(v.peer.Addr()):
		if len(query) < 12 || query[2]&0x80 != 0 {
			return dst
		}
		v.source = FromPolicy
		s.counters.refused.Add(1)
		out = refuse(&w.msg, dst, query, v.room(), dns.RcodeRefused, "names are resolved for others only (--allow-recursion)")
	default:
		v.source = FromCache
		out = s.Recursive.Cached(&w.msg, dst, query, v.room())
	}
	if len(out) > len(dst) {
		out = s.leave(v, out)
	}
	return out
}

// later answers a query that now did not. reply may be called from anywhere,
// once; with nothing, there is no response.
func (s *Server) later(query []byte, v visit, reply func(msg []byte)) bool {
	if s.Recursive == nil || len(query) < 12 || query[2]&0x80 != 0 || s.Zones != nil && s.Zones.Has(query) || !s.mayRecurse(v.peer.Addr()) {
		return false
	}
	v.source = FromResolver
	s.Recursive.Resolve(query, v.peer, v.room(), func(msg []byte) { reply(s.leave(&v, msg)) })
	return true
}

// ServeUDP answers on a socket until it is closed. Several may serve one
// socket, or sockets that share a port.
func (s *Server) ServeUDP(conn *net.UDPConn) error {
	if !s.track(conn) {
		return net.ErrClosed
	}
	defer s.untrack(conn)
	b, err := kernel.NewBatch(conn, batchSize, dns.MaxMessage)
	if err != nil {
		return err
	}
	var w workspace
	var trouble accept.Trouble
	for {
		n, err := b.Read()
		if s.passes(&trouble, "reading datagrams on", conn, err) {
			continue
		}
		if err != nil {
			return s.end(err)
		}
		for i := range n {
			query, from := b.Message(i), b.Sender(i)
			v := s.arrive(query, from, OverUDP)
			out := s.now(&w, b.Room(), query, &v)
			switch {
			case len(out) > 0:
				b.Reply(i, out)
			case out != nil: // else it is not to be answered
				s.later(append([]byte(nil), query...), v, func(msg []byte) {
					if len(msg) > 0 {
						_, _ = conn.WriteToUDPAddrPort(msg, from)
					}
				})
			}
		}
		// What cannot be sent is lost, as a datagram may be.
		if err := b.Write(); err != nil && !accept.Passing(err) {
			return s.end(err)
		}
	}
}

// passes tells that an error is one that a socket gets over, after a pause.
func (s *Server) passes(t *accept.Trouble, doing string, conn interface{ LocalAddr() net.Addr }, err error) bool {
	passing := err != nil && accept.Passing(err)
	if err == nil || passing {
		if text := t.Changed(err); text != "" && s.Log != nil {
			s.Log(fmt.Sprintf("%s %s: %s", doing, conn.LocalAddr(), text))
		}
	}
	if passing {
		select {
		case <-time.After(t.Pause()):
		case <-s.done:
		}
	}
	return passing
}

// ServePacket is ServeUDP for a socket that is not the kernel's.
func (s *Server) ServePacket(conn net.PacketConn) error {
	if !s.track(conn) {
		return net.ErrClosed
	}
	defer s.untrack(conn)
	var w workspace
	var trouble accept.Trouble
	in, room := make([]byte, dns.MaxMessage), make([]byte, 0, dns.MaxMessage)
	for {
		n, from, err := conn.ReadFrom(in)
		if s.passes(&trouble, "reading datagrams on", conn, err) {
			continue
		}
		if err != nil {
			return s.end(err)
		}
		var peer netip.AddrPort
		if a, ok := from.(*net.UDPAddr); ok {
			peer = a.AddrPort()
		}
		v := s.arrive(in[:n], peer, OverUDP)
		out := s.now(&w, room[:0], in[:n], &v)
		switch {
		case len(out) > 0:
			room = out
			_, _ = conn.WriteTo(out, from)
		case out != nil && peer.IsValid():
			s.later(append([]byte(nil), in[:n]...), v, func(msg []byte) {
				if len(msg) > 0 {
					_, _ = conn.WriteTo(msg, from)
				}
			})
		}
	}
}

// ServeTCP answers on the connections of a listener until it is closed. With
// a TLS listener that is DNS over TLS (RFC 7858).
func (s *Server) ServeTCP(l net.Listener) error {
	if !s.track(l) {
		return net.ErrClosed
	}
	defer s.untrack(l)
	return s.end(accept.Loop(l, s.done, s.Log, func(c net.Conn) {
		st := s.streams.enter(c, time.Now())
		if st == nil {
			c.Close()
			return
		}
		s.running.Go(func() {
			defer s.streams.leave(st)
			s.connection(st)
		})
	}))
}

// connection answers the queries of one connection, in any order, as the
// answers come (RFC 7766 §6.2.1.1).
func (s *Server) connection(st *stream) {
	c := st.conn
	if !s.track(c) {
		return
	}
	defer s.untrack(c)
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	var (
		w         workspace
		turn      sync.Mutex
		pending   = make(chan struct{}, maxPipelined)
		transport = OverTCP
	)
	if _, ok := c.(*tls.Conn); ok {
		transport = OverTLS
	}
	send := func(msg []byte) error {
		turn.Lock()
		defer turn.Unlock()
		c.SetWriteDeadline(time.Now().Add(writing))
		_, err := c.Write(dns.AppendStream(nil, msg))
		s.streams.query(st, -1, time.Now())
		return err
	}
	for {
		c.SetReadDeadline(time.Now().Add(s.streams.idle()))
		query, err := dns.ReadStream(c, nil)
		if err != nil {
			break
		}
		s.streams.query(st, 1, time.Now())
		if s.Zones != nil {
			if t, ok := s.Zones.Transfers(query, peer.Addr().Unmap().String()); t != nil && ok {
				for {
					msg, more := t.Next(nil)
					if !more {
						break
					}
					if send(msg) != nil {
						return
					}
					s.streams.query(st, 1, time.Now())
				}
				s.streams.query(st, -1, time.Now())
				continue
			}
		}
		v := s.arrive(query, peer, transport)
		if out := s.now(&w, nil, query, &v); len(out) > 0 {
			if send(out) != nil {
				break
			}
			continue
		}
		pending <- struct{}{}
		if !s.later(query, v, func(msg []byte) { _ = send(msg); <-pending }) {
			<-pending
			break // no DNS query: nothing to wait for on this connection
		}
	}
	for range maxPipelined { // answers under way are still sent
		select {
		case pending <- struct{}{}:
		case <-time.After(writing):
			return
		case <-s.done:
			return
		}
	}
}

var errNoQuery = errors.New("the message is no DNS query")

// Answer answers one message that came by a road of the caller's, such as DNS
// over HTTPS. It fails on what is no query, and with ctx.
func (s *Server) Answer(ctx context.Context, query []byte, peer netip.AddrPort) ([]byte, error) {
	var w workspace
	v := s.arrive(query, peer, OverHTTPS)
	if out := s.now(&w, nil, query, &v); len(out) > 0 {
		return out, nil
	}
	done := make(chan []byte, 1)
	if !s.later(query, v, func(msg []byte) { done <- msg }) {
		return nil, errNoQuery
	}
	select {
	case out := <-done:
		return out, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// track notes what Close has to close.
func (s *Server) track(c io.Closer) bool {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	if s.closers == nil {
		s.closers = map[io.Closer]struct{}{}
	}
	s.closers[c] = struct{}{}
	return true
}

func (s *Server) untrack(c io.Closer) {
	s.mu.Lock()
	delete(s.closers, c)
	s.mu.Unlock()
	c.Close()
}

// end is nil for the end that Close makes.
func (s *Server) end(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || s.closed || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close ends all serving, and returns when it is over.
func (s *Server) Close() {
	s.init()
	s.mu.Lock()
	if !s.closed {
		close(s.done)
	}
	s.closed = true
	for c := range s.closers {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// Listen opens one port for UDP and TCP on an address, as name servers have
// it. Port 0 takes a free one.
func Listen(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, net.Listener, error) {
	var lc net.ListenConfig
	var last error
	for range 20 {
		tcp, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return nil, nil, err
		}
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		udp, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr.Addr(), at.Port()).String())
		if err == nil {
			return udp.(*net.UDPConn), tcp, nil
		}
		tcp.Close()
		if last = err; addr.Port() != 0 {
			break
		}
	}
	return nil, nil, last
}
