package socket

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"peel/internal/kernel"
	"peel/stack/host"
	"peel/stack/tcp"
)

// Stack is a host's sockets: a dialer and a listener.
type Stack struct {
	Network *Network
	Host    *host.Host
	// TCP is how its connections behave; nil is as the host says.
	TCP *tcp.Config
}

// Dial connects from a local address, which may be zero.
func (k Stack) Dial(ctx context.Context, local, remote netip.AddrPort) (*Conn, error) {
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: sysError(err)}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	n := k.Network
	n.lock()
	s, err := k.Host.Dial(local, remote, k.TCP)
	if err != nil {
		n.unlock()
		return fail(err)
	}
	if f := kernel.Bound(ctx); f != nil {
		own, _ := s.Ends()
		f(own.Port())
	}
	c := newConn(n, s)
	stop := func() bool { return true }
	if ctx.Done() != nil {
		stop = context.AfterFunc(ctx, func() { n.Do(c.wr.wake) })
	}
	for err == nil && s.State() < tcp.Established && s.State() != tcp.Closed {
		if n.closed {
			err = net.ErrClosed
		} else if err = ctx.Err(); err == nil {
			c.wr.wait(n)
		}
	}
	if err == nil {
		err = s.Err()
	}
	if err != nil {
		s.Abort(n.Queue.Now())
		s.Flush()
	}
	n.unlock()
	stop()
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// DialTCP connects to addr.
func (k Stack) DialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	c, err := k.Dial(ctx, netip.AddrPort{}, addr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// DialContext connects to an address and port over "tcp" or "udp", as
// net.Dialer does; it resolves no names.
func (k Stack) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	switch network {
	case "tcp", "tcp4", "tcp6":
		return k.DialTCP(ctx, addr)
	case "udp", "udp4", "udp6":
		return k.DialUDP(ctx, addr)
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
}

// Source is the address from which dst would be reached.
func (k Stack) Source(dst netip.Addr) (a netip.Addr, ok bool) {
	k.Network.Do(func() {
		var err error
		a, err = k.Host.Source(dst)
		ok = err == nil
	})
	return a, ok
}

// Listener takes connections; it is a net.Listener.
type Listener struct {
	n      *Network
	l      *host.Listener
	closed bool
	ac     waiter
}

// Listen takes connections to addr, whose address may be unspecified and whose
// port may be 0.
func (k Stack) Listen(addr netip.AddrPort) (*Listener, error) {
	n := k.Network
	n.lock()
	defer n.unlock()
	l, err := k.Host.Listen(addr, 0, k.TCP)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: sysError(err)}
	}
	s := &Listener{n: n, l: l}
	l.Wake = s.ac.wake
	return s, nil
}

// Accept waits for a connection.
func (l *Listener) Accept() (net.Conn, error) {
	l.n.lock()
	defer l.n.unlock()
	for {
		if l.closed || l.n.closed {
			return nil, l.fail("accept", net.ErrClosed)
		}
		if l.ac.expired(l.n.Queue.Now()) {
			return nil, l.fail("accept", os.ErrDeadlineExceeded)
		}
		if s := l.l.Accept(); s != nil {
			return newConn(l.n, s), nil
		}
		l.ac.wait(l.n)
	}
}

// SetDeadline bounds Accept.
func (l *Listener) SetDeadline(t time.Time) error {
	if !l.n.bound(t, &l.closed, []*waiter{&l.ac}) {
		return l.fail("set", net.ErrClosed)
	}
	return nil
}

func (l *Listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}

// Close ends listening; connections that were not accepted are reset.
func (l *Listener) Close() error {
	l.n.lock()
	defer l.n.unlock()
	if l.closed {
		return l.fail("close", net.ErrClosed)
	}
	l.closed = true
	l.l.Close()
	l.ac.stop(l.n)
	return nil
}

// Addr is a *net.TCPAddr.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.l.Addr()) }
