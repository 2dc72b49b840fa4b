package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"peel/dns"
	"peel/evidence/capture"
	"peel/evidence/decision"
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
			c.rec.Decide(capture.About{Exchange: exchange},
				&decision.ConnectTo{From: decision.HostPort{Host: host, Port: port}, To: decision.HostPort{Host: t.Host, Port: t.Port}, Why: t.Why})
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
			c.closeSocket(t, decision.Client, "the TLS handshake failed")
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
		c.rec.Decide(capture.About{Exchange: exchange, Socket: socket}, &decision.ConnectStarted{Address: a, Origin: p.origin.String()})
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
		c.rec.Decide(capture.About{Socket: socket}, &decision.SocketBound{Port: port})
	})
}

func (c *Client) connected(a attempt) {
	if c.rec == nil {
		return
	}
	c.rec.Decide(capture.About{Socket: a.socket}, &decision.ConnectDone{Local: kernel.AddrPort(a.conn.LocalAddr()), Remote: kernel.AddrPort(a.conn.RemoteAddr())})
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
	c.rec.Decide(capture.About{Socket: a.socket}, &decision.ConnectFailed{Outcome: decision.Cancelled, Error: why})
}

func (c *Client) attemptFailed(ctx context.Context, a attempt) *Error {
	d, e := connectFailure(a.addr, a.err, a.took)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errClosed) {
		e = failure(trace.LayerTCP, trace.FailCancelled, "the attempt at "+a.addr.String()+" was cancelled", "", context.Cause(ctx))
		d = &decision.ConnectFailed{Outcome: decision.Cancelled, Error: e.Seen}
	}
	c.rec.Decide(capture.About{Socket: a.socket}, d)
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
	c.rec.Decide(capture.About{Socket: socket}, &decision.TCPInfo{State: i.State, RTT: i.RTT, RTTVar: i.RTTVar, MinRTT: i.MinRTT, RTO: i.RTO,
		SendMSS: i.SendMSS, ReceiveMSS: i.ReceiveMSS, AdvertMSS: i.AdvertisedMSS, PathMTU: i.PathMTU, Cwnd: i.CwndSegments,
		Retransmits: i.Retransmits, Lost: i.Lost, SegmentsOut: i.SegmentsOut, SegmentsIn: i.SegmentsIn, Options: i.Options})
}

// closeSocket closes a connection and records by whom and why.
func (c *Client) closeSocket(t *tap, by decision.Side, why string) {
	c.tcpInfo(t.socket, t.Conn)
	c.rec.Decide(capture.About{Socket: t.socket}, &decision.SocketClosed{By: by, Why: why})
	t.Conn.Close()
}
