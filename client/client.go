// Package client makes HTTP requests: it finds or opens a connection, speaks
// HTTP/1.1 or HTTP/2 on it with peel's own engines, and puts everything that
// happens into a capture. It follows no redirect and keeps no cookie; package
// session, above it, does.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/internal/kernel"
	"peel/trace"
)

// Network is how the client reaches others. kernel.Network is the host's own.
type Network interface {
	DialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	DialUDP(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// Source is the address from which dst would be reached.
	Source(dst netip.Addr) (netip.Addr, bool)
}

// Family restricts the addresses used.
type Family uint8

// Families of addresses.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// Version restricts the versions of HTTP offered.
type Version uint8

// Versions of HTTP. PriorHTTP2 speaks HTTP/2 without asking, also in clear.
const (
	AnyVersion Version = iota
	OnlyHTTP1
	OnlyHTTP10
	OnlyHTTP2
	PriorHTTP2
)

// Options of a Client. The zero value makes requests through the host's
// kernel and its resolver configuration, and has a limit for every wait.
type Options struct {
	Network Network
	Clock   clock.Clock
	// Recorder gets the evidence; nil records nothing.
	Recorder *capture.Recorder
	// Resolver turns names into addresses; nil reads the host's files.
	Resolver *Resolver
	// Address, when set, replaces the address of an origin, as curl's
	// --connect-to does; ok is false for "as usual".
	Address func(host string, port uint16) (addr Target, ok bool)

	Family  Family
	Version Version
	// HTTPSRecords asks for HTTPS records beside addresses, and goes by them:
	// port, protocols, address hints (RFC 9460). It costs a query.
	HTTPSRecords bool

	// Roots are the trusted roots; nil means the system's.
	Roots *x509.CertPool
	// Insecure goes on although the certificate is not valid; the verdict is
	// recorded all the same.
	Insecure bool
	// ServerName replaces the name sent in SNI and checked, when not empty.
	ServerName             string
	Certificates           []tls.Certificate
	MinVersion, MaxVersion uint16
	CipherSuites           []uint16
	Curves                 []tls.CurveID

	// ConnectTimeout bounds name lookup, TCP and TLS together; 0 means 30 s.
	ConnectTimeout time.Duration
	// ResponseTimeout bounds the wait for a response to begin, and
	// StallTimeout each wait for more of it; 0 means 2 min and 1 min.
	ResponseTimeout time.Duration
	StallTimeout    time.Duration
	// IdleTimeout is how long an unused connection is kept; 0 means 90 s.
	IdleTimeout time.Duration
	// MaxConnections bounds the HTTP/1 connections to one origin, MaxIdle the
	// unused ones among them; 0 means 100.
	MaxConnections, MaxIdle int
	// StreamWindow and ConnectionWindow are the HTTP/2 receive windows in
	// bytes; 0 means 1 MiB and 16 MiB.
	StreamWindow, ConnectionWindow uint32
}

// Target is where to connect instead. Host is looked up unless it is an
// address; Why is said in the trace.
type Target struct {
	Host string
	Port uint16
	Why  string
}

// Client makes requests and keeps connections. It is safe for concurrent use.
type Client struct {
	opt      Options
	rec      *capture.Recorder
	clock    clock.Clock
	net      Network
	resolver *Resolver
	sessions tls.ClientSessionCache

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.RWMutex
	pools map[Origin]*pool
}

// New makes a client.
func New(o Options) *Client {
	if o.Network == nil {
		o.Network = kernel.Network{}
	}
	if o.Clock == nil {
		o.Clock = clock.NewReal()
	}
	setDefault(&o.ConnectTimeout, 30*time.Second)
	setDefault(&o.ResponseTimeout, 2*time.Minute)
	setDefault(&o.StallTimeout, time.Minute)
	setDefault(&o.IdleTimeout, 90*time.Second)
	setDefault(&o.MaxConnections, 100)
	setDefault(&o.MaxIdle, 100)
	setDefault(&o.StreamWindow, 1<<20)
	setDefault(&o.ConnectionWindow, 16<<20)
	if o.Resolver == nil {
		o.Resolver = &Resolver{}
	}
	c := &Client{opt: o, rec: o.Recorder, clock: o.Clock, net: o.Network, resolver: o.Resolver,
		sessions: tls.NewLRUClientSessionCache(64), pools: map[Origin]*pool{}}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

var errClosed = errors.New("client: closed")

// Close closes every connection. Requests under way fail.
func (c *Client) Close() {
	c.cancel(errClosed)
	c.CloseIdle("the client was closed")
}

// CloseIdle closes the connections that no request uses. why goes into the
// trace.
func (c *Client) CloseIdle(why string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, p := range c.pools {
		p.closeIdle(why)
	}
}

func (c *Client) pool(o Origin) *pool {
	c.mu.RLock()
	p := c.pools[o]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.pools[o]; p == nil {
		p = &pool{c: c, origin: o}
		if o.Scheme == "http" && c.opt.Version != PriorHTTP2 {
			// Without TLS there is no ALPN: it is HTTP/1.1 from the start.
			p.proto = protoHTTP1
		}
		c.pools[o] = p
	}
	return p
}

// maxTries bounds how often one request is sent when connections die under
// it.
const maxTries = 3

// Do sends a request and returns when the head of the response is there. The
// error is an *Error. A request that a dead connection swallowed is sent
// again when that is safe: on a connection that had been used before, when
// the server cannot have acted on it or the method is idempotent.
func (c *Client) Do(ctx context.Context, req *Request) (*Response, error) {
	r := req
	for try := 1; ; try++ {
		ex := c.rec.NewExchange()
		c.started(ex, r)
		resp, safe, err := c.try(ctx, ex, r)
		if err == nil {
			return resp, nil
		}
		var e *Error
		if !errors.As(err, &e) {
			e = brokenFailure(trace.LayerHTTP, "during the exchange", err)
		}
		again := safe && try < maxTries && r.replayable() && ctx.Err() == nil && c.ctx.Err() == nil
		if again && r.Body != nil {
			body, bodyErr := r.GetBody()
			if again = bodyErr == nil; again {
				next := *r
				next.Body = body
				r = &next
			}
		}
		c.failed(ex, e, again)
		if !again {
			return nil, e
		}
		next := *r
		next.Predecessor, next.Cause = ex, decision.CauseRetry
		r = &next
	}
}

// try sends a request once. safe tells that sending it again cannot do harm.
func (c *Client) try(ctx context.Context, ex uint32, req *Request) (resp *Response, safe bool, err error) {
	h, err := c.pool(req.Origin).get(ctx, ex)
	if err != nil {
		return nil, false, err
	}
	if h.h2 != nil {
		return h.h2.roundTrip(ctx, ex, req)
	}
	return h.h1.roundTrip(ctx, ex, req)
}

func (c *Client) started(ex uint32, r *Request) {
	if c.rec == nil {
		return
	}
	c.rec.Decide(capture.About{Exchange: ex}, &decision.RequestStarted{Method: r.Method, Scheme: r.Origin.Scheme, Authority: r.Authority, Target: r.Target,
		Input: r.Input, Normalised: r.Normalised, Predecessor: r.Predecessor, Cause: r.Cause})
}

func (c *Client) failed(ex uint32, e *Error, again bool) {
	if c.rec == nil {
		return
	}
	next := ""
	if again {
		next = "sent again on another connection"
	}
	c.rec.Decide(capture.About{Exchange: ex}, &decision.RequestFailed{Failure: e.Failure, Next: next})
}
