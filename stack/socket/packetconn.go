package socket

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"peel/stack/host"
)

// PacketConn is a datagram socket of a host; it is a net.PacketConn, and with
// a peer a net.Conn.
type PacketConn struct {
	n      *Network
	u      *host.UDP
	closed bool
	rd, wr waiter // wr has a deadline only: writes do not wait
}

// ListenPacket opens a datagram socket at local, whose address may be unspecified
// and whose port may be 0.
func (k Stack) ListenPacket(local netip.AddrPort) (*PacketConn, error) {
	return k.datagrams("listen", local, netip.AddrPort{})
}

// DialUDP opens a datagram socket that talks only with addr.
func (k Stack) DialUDP(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	c, err := k.datagrams("dial", netip.AddrPort{}, addr)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ListenUDP opens a datagram socket on a random port from which a group can be
// asked, and which hears whoever answers.
func (k Stack) ListenUDP(_ context.Context, group netip.AddrPort) (net.PacketConn, error) {
	a := netip.IPv4Unspecified()
	if group.Addr().Is6() {
		a = netip.IPv6Unspecified()
	}
	c, err := k.datagrams("listen", netip.AddrPortFrom(a, 0), netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (k Stack) datagrams(op string, local, peer netip.AddrPort) (*PacketConn, error) {
	n := k.Network
	n.lock()
	defer n.unlock()
	u, err := k.Host.ListenUDP(local, peer)
	if err != nil {
		return nil, &net.OpError{Op: op, Net: "udp", Addr: net.UDPAddrFromAddrPort(peer), Err: sysError(err)}
	}
	c := &PacketConn{n: n, u: u}
	u.Wake = c.rd.wake
	return c, nil
}

func (c *PacketConn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: sysError(err)}
}

// ReadFromAddrPort waits for a datagram. What does not fit into p is lost.
func (c *PacketConn) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	n := c.n
	n.lock()
	defer n.unlock()
	for {
		switch {
		case c.closed, n.closed:
			return 0, netip.AddrPort{}, c.fail("read", net.ErrClosed)
		case c.rd.expired(n.Queue.Now()):
			return 0, netip.AddrPort{}, c.fail("read", os.ErrDeadlineExceeded)
		}
		if d, ok := c.u.Receive(); ok {
			return copy(p, d.Payload), d.From, nil
		}
		// A connected socket hears of errors (RFC 1122 §4.1.3.3).
		if e, ok := c.u.Error(); ok && c.u.Peer().IsValid() {
			return 0, netip.AddrPort{}, c.fail("read", e.Err)
		}
		c.rd.wait(n)
	}
}

// ReadFrom waits for a datagram; the address is a *net.UDPAddr.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(p)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read waits for a datagram of the peer's.
func (c *PacketConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromAddrPort(p)
	return n, err
}

// WriteToAddrPort sends a datagram.
func (c *PacketConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	n := c.n
	n.lock()
	defer n.unlock()
	if c.closed || n.closed {
		return 0, c.fail("write", net.ErrClosed)
	}
	if c.wr.expired(n.Queue.Now()) {
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	}
	if c.u.Peer().IsValid() {
		if e, ok := c.u.Error(); ok {
			return 0, c.fail("write", e.Err)
		}
	}
	if err := c.u.Send(p, netip.AddrPortFrom(to.Addr().Unmap(), to.Port())); err != nil {
		return 0, c.fail("write", err)
	}
	return len(p), nil
}

// WriteTo sends a datagram to a *net.UDPAddr.
func (c *PacketConn) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.fail("write", net.InvalidAddrError("not a *net.UDPAddr"))
	}
	return c.WriteToAddrPort(p, a.AddrPort())
}

// Write sends a datagram to the peer.
func (c *PacketConn) Write(p []byte) (int, error) { return c.WriteToAddrPort(p, c.u.Peer()) }

// Close closes the socket.
func (c *PacketConn) Close() error {
	n := c.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	c.u.Close()
	c.rd.stop(n)
	c.wr.stop(n)
	return nil
}

// LocalAddr is a *net.UDPAddr.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.u.Local()) }

// RemoteAddr is a *net.UDPAddr, or nil without a peer.
func (c *PacketConn) RemoteAddr() net.Addr {
	if !c.u.Peer().IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.u.Peer())
}

// SetDeadline bounds reads, and lets writes fail from then on.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.set(t, &c.rd, &c.wr) }

// SetReadDeadline bounds reads.
func (c *PacketConn) SetReadDeadline(t time.Time) error { return c.set(t, &c.rd) }

// SetWriteDeadline lets writes fail from then on.
func (c *PacketConn) SetWriteDeadline(t time.Time) error { return c.set(t, &c.wr) }

func (c *PacketConn) set(t time.Time, of ...*waiter) error {
	if !c.n.bound(t, &c.closed, of) {
		return c.fail("set", net.ErrClosed)
	}
	return nil
}
