package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"peel/dns"
	"peel/evidence/capture"
	"peel/internal/kernel"
	"peel/trace"
)

// attemptDelay is how long one address is tried alone before the next is
// tried beside it (RFC 8305 §5, Connection Attempt Delay).
const attemptDelay = 250 * time.Millisecond

// connect opens a connection for an origin: name, address, TCP, TLS, protocol.
func (c *Client) connect(ctx context.Context, p *pool, exchange uint32) (*h1conn, *h2conn, error) {
	host, port := p.origin.Host, p.origin.Port
	if c.opt.Address != nil {
		if t, ok := c.opt.Address(host, port); ok {
			c.rec.Decide(capture.Decision{Name: "connect.to", Exchange: exchange, Attrs: []capture.Attr{
				{Key: "from", Value: net.JoinHostPort(host, strconv.Itoa(int(port)))},
				{Key: "to", Value: net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))}, {Key: "why", Value: t.Why}}})
			host, port = t.Host, t.Port
		}
	}
	nc, socket, service, err := c.race(ctx, p, exchange, host, port)
	if err != nil {
		return nil, nil, err
	}
	t := newTap(nc, c.rec, socket)
	var conn net.Conn = t
	proto := "http/1.1"
	if p.origin.Scheme == "https" {
		p.at(trace.LayerTLS, "waiting for the TLS handshake with "+nc.RemoteAddr().String())
		if conn, proto, err = c.secure(ctx, p.origin, t, service); err != nil {
			c.closeSocket(t, trace.ByClient, "the TLS handshake failed")
			return nil, nil, err
		}
	}
	if proto == "h2" || c.opt.Version == PriorHTTP2 {
		return nil, newH2(c, p, t, conn), nil
	}
	return newH1(c, p, t, conn), nil, nil
}

// attempt is the outcome of trying one address.
type attempt struct {
	addr   netip.AddrPort
	socket uint32
	conn   net.Conn
	err    error
	took   time.Duration
}

// race looks the name up and tries its addresses in order, each beside the
// ones before it that have not answered yet, and takes the first connection
// (RFC 8305). It does not wait for the whole lookup when one family's answer
// is there. It returns the HTTPS record that was known when the connection was
// made, if any.
func (c *Client) race(ctx context.Context, p *pool, exchange uint32, host string, port uint16) (net.Conn, uint32, *dns.SVCB, error) {
	raceCtx, stop := context.WithCancel(ctx)
	defer stop()
	lookup := c.resolver.lookup(raceCtx, c, exchange, host, port, c.opt.HTTPSRecords && p.origin.Scheme == "https" && host == p.origin.Host && port == p.origin.Port)
	var service *dns.SVCB
	results := make(chan attempt)
	timer := time.NewTimer(attemptDelay)
	defer timer.Stop()
	var queue []netip.AddrPort
	tried := map[netip.AddrPort]bool{}
	running := 0
	begin := func() {
		if len(queue) == 0 {
			return
		}
		a := queue[0]
		queue = queue[1:]
		tried[a] = true
		socket := c.rec.NewSocket()
		c.rec.Decide(capture.Decision{Name: "connect.start", Exchange: exchange, Socket: socket, Attrs: []capture.Attr{
			{Key: "address", Value: a.String()}, {Key: "origin", Value: p.origin.String()}}})
		p.at(trace.LayerTCP, "connecting to "+a.String())
		running++
		go func() {
			t0 := c.clock.Now()
			conn, err := c.net.DialTCP(c.bound(raceCtx, socket), a)
			results <- attempt{a, socket, conn, err, c.clock.Now().Sub(t0)}
		}()
		timer.Reset(attemptDelay)
	}
	var first *Error
	for running > 0 || len(queue) > 0 || lookup != nil {
		select {
		case f := <-lookup:
			if f.last {
				lookup = nil
			}
			if f.err != nil {
				first = f.err
				break
			}
			service = f.service
			queue = queue[:0]
			for _, a := range f.addrs {
				if !tried[a] {
					queue = append(queue, a)
				}
			}
			if running == 0 {
				begin()
			}
		case a := <-results:
			running--
			if a.err == nil {
				c.connected(a)
				stop()
				for ; running > 0; running-- {
					c.lost(<-results, a.addr)
				}
				for lookup != nil {
					if f, ok := <-lookup; !ok || f.last {
						lookup = nil
					}
				}
				return a.conn, a.socket, service, nil
			}
			e := c.attemptFailed(ctx, a)
			if first == nil || first.Code == trace.FailCancelled {
				first = e
			}
			begin()
		case <-timer.C:
			begin()
		}
	}
	if first == nil {
		first = failure(trace.LayerDNS, trace.FailNoAddress, "no address to connect to", "", nil)
	}
	if n := len(tried); n > 1 {
		first.Seen += fmt.Sprintf(" (and so failed each of its %d addresses)", n)
	}
	return nil, 0, nil, first
}

// bound returns a context by which the capture learns a socket's port before
// anything is sent from it.
func (c *Client) bound(ctx context.Context, socket uint32) context.Context {
	if !c.rec.SeesPackets() {
		return ctx
	}
	return kernel.OnBound(ctx, func(port uint16) {
		c.rec.Decide(capture.Decision{Name: "socket.bound", Socket: socket, Attrs: []capture.Attr{{Key: "port", Value: strconv.Itoa(int(port))}}})
	})
}

func (c *Client) connected(a attempt) {
	if c.rec == nil {
		return
	}
	c.rec.Decide(capture.Decision{Name: "connect.done", Socket: a.socket, Attrs: []capture.Attr{
		{Key: "local", Value: a.conn.LocalAddr().String()}, {Key: "remote", Value: a.conn.RemoteAddr().String()}}})
	c.tcpInfo(a.socket, a.conn)
}

// lost records an attempt that another one beat.
func (c *Client) lost(a attempt, winner netip.AddrPort) {
	why := "cancelled: " + winner.String() + " answered first"
	if a.err == nil {
		a.conn.Close()
		why = "connected too late: " + winner.String() + " answered first"
	} else if !errors.Is(a.err, context.Canceled) {
		why = a.err.Error()
	}
	c.rec.Decide(capture.Decision{Name: "connect.failed", Socket: a.socket, Attrs: []capture.Attr{{Key: "outcome", Value: string(trace.AttemptCancelled)}, {Key: "error", Value: why}}})
}

func (c *Client) attemptFailed(ctx context.Context, a attempt) *Error {
	outcome, e := connectFailure(a.addr.String(), a.err, a.took)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errClosed) {
		e = failure(trace.LayerTCP, trace.FailCancelled, "the attempt at "+a.addr.String()+" was cancelled", "", context.Cause(ctx))
		outcome = trace.AttemptCancelled
	}
	c.rec.Decide(capture.Decision{Name: "connect.failed", Socket: a.socket, Attrs: []capture.Attr{{Key: "outcome", Value: string(outcome)}, {Key: "error", Value: e.Seen}}})
	return e
}

// tcpInfo records what the kernel tells of a connection.
func (c *Client) tcpInfo(socket uint32, conn net.Conn) {
	if c.rec == nil {
		return
	}
	i, ok := kernel.TCPInfo(conn)
	if !ok {
		return
	}
	num := func(k string, v int64) capture.Attr { return capture.Attr{Key: k, Value: strconv.FormatInt(v, 10)} }
	d := capture.Decision{Name: "tcp.info", Socket: socket, Attrs: []capture.Attr{
		{Key: "state", Value: i.State},
		num("rtt_ns", int64(i.RTT)), num("rtt_var_ns", int64(i.RTTVar)), num("min_rtt_ns", int64(i.MinRTT)), num("rto_ns", int64(i.RTO)),
		num("send_mss", int64(i.SendMSS)), num("receive_mss", int64(i.ReceiveMSS)), num("advertised_mss", int64(i.AdvertisedMSS)),
		num("path_mtu", int64(i.PathMTU)), num("cwnd", int64(i.CwndSegments)), num("retransmits", int64(i.Retransmits)),
		num("lost", int64(i.Lost)), num("segments_out", int64(i.SegmentsOut)), num("segments_in", int64(i.SegmentsIn))}}
	for _, o := range i.Options {
		d.Attrs = append(d.Attrs, capture.Attr{Key: "option", Value: o})
	}
	c.rec.Decide(d)
}

// closeSocket closes a connection and records by whom and why.
func (c *Client) closeSocket(t *tap, by trace.Closer, why string) {
	c.tcpInfo(t.socket, t.Conn)
	c.rec.Decide(capture.Decision{Name: "socket.closed", Socket: t.socket, Attrs: []capture.Attr{{Key: "by", Value: string(by)}, {Key: "why", Value: why}}})
	t.Conn.Close()
}
