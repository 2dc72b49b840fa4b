// Package client sends one DNS message to one server and brings back what
// it answers: over UDP, TCP, TLS (RFC 7858) and HTTPS (RFC 8484).
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"peel/dns"
)

// Transport says how messages travel.
type Transport string

// The transports.
const (
	UDP   Transport = "udp"
	TCP   Transport = "tcp"
	TLS   Transport = "tls"
	HTTPS Transport = "https"
)

// Server is whom to ask.
type Server struct {
	Addr      netip.AddrPort
	Transport Transport
	// Name is checked against the certificate of a TLS server.
	Name string
	// URL of an HTTPS server; Addr does not count then.
	URL string
}

// String returns "192.0.2.1:53", or the URL.
func (s Server) String() string {
	if s.Transport == HTTPS {
		return s.URL
	}
	return s.Addr.String()
}

// Network is where queries are sent.
type Network interface {
	DialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	DialUDP(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// Client asks. The zero value has no network and no limits.
type Client struct {
	Network Network
	// HTTPS brings a message to an HTTPS server and its answer back
	// (RFC 8484); package client/doh has it. Without it there are no such
	// servers.
	HTTPS func(ctx context.Context, url string, message []byte) ([]byte, error)
	// TLS is the configuration for TLS servers.
	TLS *tls.Config
	// Timeout bounds one try, and Tries is how many there are over UDP; 0
	// means 5 s and 3.
	Timeout time.Duration
	Tries   int
	// KeepTruncated takes a truncated answer, and does not ask again over TCP.
	KeepTruncated bool
}

// Reply is an answer, and how it came.
type Reply struct {
	Server    Server
	Transport Transport
	Message   *dns.Message
	// Raw is the message's octets.
	Raw []byte
	// Sent and Received are the times of the query that was answered.
	Sent, Received time.Time
	// Tries counts the queries over UDP.
	Tries int
	// Truncated tells that the answer over UDP was cut, and asked for again.
	Truncated bool
	// Problem says what is wrong with the message, which was read as far as
	// it goes.
	Problem error
}

// Duration is from the query to the answer.
func (r *Reply) Duration() time.Duration { return r.Received.Sub(r.Sent) }

// Do sends a query and returns the answer to it. Messages that are not that
// answer are passed over.
func (c *Client) Do(ctx context.Context, s Server, query *dns.Message) (*Reply, error) {
	r, err := c.do(ctx, s, query)
	if err != nil {
		return nil, failure(s, err)
	}
	return r, nil
}

// failure says who was asked, what was seen, and what to try.
func failure(s Server, err error) error {
	try := ""
	switch {
	case s.Transport == HTTPS:
		return fmt.Errorf("dns: %s: %w", s, err) // the HTTP client has said what to try
	case errors.Is(err, syscall.ECONNREFUSED):
		try = "; nothing serves DNS there: check the address and port, and that the server runs"
	case isTimeout(err):
		try = "; check that the server runs and that nothing on the way drops the port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		try = "; no route leads there from here"
	}
	return fmt.Errorf("dns: %s over %s: %w%s", s, s.Transport, err, try)
}

func (c *Client) do(ctx context.Context, s Server, query *dns.Message) (*Reply, error) {
	msg, err := query.Append(nil)
	if err != nil {
		return nil, err
	}
	switch s.Transport {
	case HTTPS:
		return c.https(ctx, s, query, msg)
	case TCP, TLS:
		return c.stream(ctx, s, query, msg)
	}
	r, err := c.datagram(ctx, s, query, msg)
	if err != nil || !r.Message.Truncated || c.KeepTruncated {
		return r, err
	}
	s.Transport = TCP
	again, err := c.stream(ctx, s, query, msg)
	if err != nil {
		return r, fmt.Errorf("the answer did not fit a datagram (TC), and over TCP: %w", err)
	}
	again.Truncated = true
	return again, nil
}

func (c *Client) timeout() time.Duration {
	if c.Timeout == 0 {
		return 5 * time.Second
	}
	return c.Timeout
}

func (c *Client) datagram(ctx context.Context, s Server, query *dns.Message, msg []byte) (*Reply, error) {
	tries := c.Tries
	if tries == 0 {
		tries = 3
	}
	buf := make([]byte, dns.MaxMessage)
	var last error
	for try := 1; try <= tries; try++ {
		// A new socket each time: a new source port.
		conn, err := c.Network.DialUDP(ctx, s.Addr)
		if err != nil {
			return nil, err
		}
		r, err := c.once(ctx, conn, s, query, msg, buf)
		conn.Close()
		if err == nil {
			r.Tries = try
			return r, nil
		}
		if last = err; ctx.Err() != nil || !isTimeout(err) {
			break
		}
	}
	if isTimeout(last) {
		return nil, fmt.Errorf("no answer in %d tries of %s: %w", tries, c.timeout(), last)
	}
	return nil, last
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func (c *Client) once(ctx context.Context, conn net.Conn, s Server, query *dns.Message, msg, buf []byte) (*Reply, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sent := time.Now()
	conn.SetDeadline(sent.Add(c.timeout()))
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if r := reply(s, UDP, query, buf[:n], sent); r != nil {
			return r, nil
		}
	}
}

// reply reads a message; nil when it is not the answer to query.
func reply(s Server, t Transport, query *dns.Message, b []byte, sent time.Time) *Reply {
	m, err := dns.Parse(b)
	if !m.Response || m.ID != query.ID {
		return nil
	}
	if len(m.Questions) == 1 && len(query.Questions) == 1 {
		if a, b := m.Questions[0], query.Questions[0]; !a.Name.EqualFold(b.Name) || a.Type != b.Type || a.Class != b.Class {
			return nil
		}
	}
	return &Reply{Server: s, Transport: t, Message: m, Raw: bytes.Clone(b), Sent: sent, Received: time.Now(), Problem: err}
}

// dial opens a stream, with TLS where that is the transport.
func (c *Client) dial(ctx context.Context, s Server) (net.Conn, error) {
	conn, err := c.Network.DialTCP(ctx, s.Addr)
	if err != nil || s.Transport != TLS {
		return conn, err
	}
	cfg := &tls.Config{}
	if c.TLS != nil {
		cfg = c.TLS.Clone()
	}
	if cfg.NextProtos == nil {
		cfg.NextProtos = []string{"dot"}
	}
	if cfg.ServerName = s.Name; s.Name == "" {
		cfg.ServerName = s.Addr.Addr().String()
	}
	t := tls.Client(conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

func (c *Client) stream(ctx context.Context, s Server, query *dns.Message, msg []byte) (*Reply, error) {
	var out *Reply
	err := c.exchange(ctx, s, query, msg, func(r *Reply) bool { out = r; return false })
	return out, err
}

// exchange sends a query on a stream and gives each answer to use, until that
// is false.
func (c *Client) exchange(ctx context.Context, s Server, query *dns.Message, msg []byte, use func(*Reply) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 4*c.timeout())
	defer cancel()
	conn, err := c.dial(ctx, s)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sent := time.Now()
	conn.SetDeadline(sent.Add(c.timeout()))
	if _, err := conn.Write(dns.AppendStream(nil, msg)); err != nil {
		return err
	}
	var b []byte // reply keeps a copy
	for {
		var err error
		if b, err = dns.ReadStream(conn, b); err != nil {
			return ended(err)
		}
		conn.SetDeadline(time.Now().Add(c.timeout()))
		if r := reply(s, s.Transport, query, b, sent); r != nil && !use(r) {
			return nil
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection before its answer was whole")
	}
	return err
}

// Transfer asks for a whole zone (AXFR), or what changed in it (IXFR), and
// gives each message to use. It ends with the SOA record that ends the
// transfer (RFC 5936 §2.2).
func (c *Client) Transfer(ctx context.Context, s Server, query *dns.Message, use func(*Reply) error) error {
	if s.Transport != TLS {
		s.Transport = TCP
	}
	msg, err := query.Append(nil)
	if err != nil {
		return err
	}
	var first dns.Resource
	records, soas := 0, 0
	var failed error
	err = c.exchange(ctx, s, query, msg, func(r *Reply) bool {
		if failed = use(r); failed != nil || r.Problem != nil || r.Message.Rcode != dns.RcodeNoError {
			return false
		}
		for _, rr := range r.Message.Answers {
			if records++; records == 1 {
				if first = rr; rr.Type != dns.TypeSOA {
					failed = errors.New("the transfer does not begin with an SOA record")
					return false
				}
			}
			if rr.Type == dns.TypeSOA && rr.Data == first.Data {
				soas++
			}
		}
		// A single SOA record answers an IXFR that has nothing new.
		if query.Questions[0].Type == dns.TypeIXFR {
			return !(records == 1 || soas >= 3 || soas == 2 && !incremental(r, records))
		}
		return soas < 2
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return failure(s, err)
	}
	return nil
}

// incremental tells whether an IXFR answer is in differences: its second
// record is an SOA record then. It has the first serial three times.
func incremental(r *Reply, records int) bool {
	a := r.Message.Answers
	return len(a) > 1 && len(a) == records && a[1].Type == dns.TypeSOA && a[1].Data != a[0].Data
}

func (c *Client) https(ctx context.Context, s Server, query *dns.Message, msg []byte) (*Reply, error) {
	if c.HTTPS == nil {
		return nil, errors.New("this client speaks no HTTPS")
	}
	ctx, cancel := context.WithTimeout(ctx, 4*c.timeout())
	defer cancel()
	sent := time.Now()
	b, err := c.HTTPS(ctx, s.URL, msg)
	if err != nil {
		return nil, err
	}
	if r := reply(s, HTTPS, query, b, sent); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("the body of %d bytes is not the answer to the query", len(b))
}
