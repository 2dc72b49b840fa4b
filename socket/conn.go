package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"peel/clock"
	"peel/host"
	"peel/kernel"
	"peel/tcp"
)

// waiter lets goroutines wait for a socket until a deadline.
type waiter struct {
	cond     *sync.Cond
	deadline clock.Time // 0 is none
	timer    *clock.Timer
	waiting  int
	woken    uint32
	at       int // in Network.waiters, while somebody waits
}

func (w *waiter) wake() {
	w.woken++
	if w.waiting > 0 {
		w.cond.Broadcast()
	}
}

// wait lets others run until wake. It is called under the network's lock.
func (w *waiter) wait(n *Network) {
	if w.cond == nil {
		w.cond = sync.NewCond(&n.mu)
	}
	if w.waiting++; w.waiting == 1 {
		w.at = len(n.waiters)
		n.waiters = append(n.waiters, w)
	}
	// What this goroutine has caused must happen before it sleeps, and the
	// lock is given up without unlock.
	woken := w.woken
	n.settle()
	if n.pending() {
		n.flush()
		n.mu.Lock()
	}
	if woken == w.woken {
		w.cond.Wait()
	}
	if w.waiting--; w.waiting == 0 {
		last := len(n.waiters) - 1
		n.waiters[w.at], n.waiters[last].at = n.waiters[last], w.at
		n.waiters[last] = nil
		n.waiters = n.waiters[:last]
	}
	n.Queue.Advance(n.time.Now())
}

// pending tells whether a port has something to send.
func (n *Network) pending() bool {
	for _, d := range n.ports {
		if len(d.ring) > 0 {
			return true
		}
	}
	return false
}

func (w *waiter) expired(now clock.Time) bool { return w.deadline != 0 && now >= w.deadline }

// set sets the deadline; the zero Time is none.
func (w *waiter) set(n *Network, t time.Time) {
	if t.IsZero() {
		w.deadline = 0
		if w.timer != nil {
			n.Queue.Stop(w.timer)
		}
		return
	}
	w.deadline = n.Queue.Now().Add(max(time.Until(t), 0))
	if w.timer == nil {
		w.timer = clock.NewTimer(func(clock.Time) { w.wake() })
	}
	n.Queue.Set(w.timer, w.deadline)
	w.wake()
}

// stop ends the deadline for good.
func (w *waiter) stop(n *Network) {
	if w.timer != nil {
		n.Queue.Stop(w.timer)
	}
	w.wake()
}

// Conn is a TCP connection of a host; it is a net.Conn, with half-close.
type Conn struct {
	n      *Network
	s      *host.TCP
	closed bool
	linger int // seconds; less than 0 is not set
	rd, wr waiter
	// writing tells that a Write is under way: others wait for its end, so
	// that what one gives stands together.
	writing bool
}

func newConn(n *Network, s *host.TCP) *Conn {
	c := &Conn{n: n, s: s, linger: -1}
	s.SetNoDelay(true)
	s.Wake = func() {
		c.rd.wake()
		c.wr.wake()
	}
	return c
}

// sysError gives an engine's error the name that it has everywhere, so that
// errors.Is(err, syscall.ECONNREFUSED) holds.
func sysError(err error) error {
	for _, e := range [...]struct {
		err error
		sys syscall.Errno
	}{{tcp.ErrReset, syscall.ECONNRESET}, {tcp.ErrRefused, syscall.ECONNREFUSED}, {host.ErrRefused, syscall.ECONNREFUSED}, {tcp.ErrTimeout, syscall.ETIMEDOUT}, {tcp.ErrKeepAlive, syscall.ETIMEDOUT},
		{host.ErrNoRoute, syscall.EHOSTUNREACH}, {host.ErrUnreachable, syscall.ENETUNREACH}, {host.ErrProhibited, syscall.EACCES}, {host.ErrTooBig, syscall.EMSGSIZE},
		{host.ErrNoAddress, syscall.EADDRNOTAVAIL}, {host.ErrInUse, syscall.EADDRINUSE}, {host.ErrNoPorts, syscall.EADDRNOTAVAIL}, {host.ErrDown, syscall.ENETDOWN}} {
		if errors.Is(err, e.err) {
			return &Error{err, e.sys}
		}
	}
	return err
}

// Error is what went wrong in the words of the engine that found it; it
// unwraps to the system's number for it too.
type Error struct {
	Err    error
	Number syscall.Errno
}

func (e *Error) Error() string   { return e.Err.Error() }
func (e *Error) Unwrap() []error { return []error{e.Err, e.Number} }

func (c *Conn) fail(op string, err error) error {
	local, remote := c.s.Ends()
	return &net.OpError{Op: op, Net: "tcp", Source: net.TCPAddrFromAddrPort(local), Addr: net.TCPAddrFromAddrPort(remote), Err: sysError(err)}
}

// Read reads what has arrived, and waits when there is nothing.
func (c *Conn) Read(p []byte) (int, error) {
	n := c.n
	n.lock()
	defer n.unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.rd.expired(n.Queue.Now()):
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		}
		if k := c.take(p); k > 0 {
			return k, nil
		}
		if k := c.s.Read(p, n.Queue.Now()); k > 0 {
			c.s.Flush()
			return k, nil
		}
		if c.s.EOF() {
			return 0, io.EOF
		}
		if err := c.s.Err(); err != nil {
			return 0, c.fail("read", err)
		}
		if c.s.State() == tcp.Closed {
			return 0, io.EOF
		}
		if n.closed {
			return 0, c.fail("read", net.ErrClosed)
		}
		c.rd.wait(n)
	}
}

// take reads large payloads, which it copies while others may go on.
func (c *Conn) take(p []byte) int {
	var few [8]piece
	pieces := few[:0]
	k := c.s.Take(len(p), c.n.Queue.Now(), func(b []byte, o tcp.Owner) { pieces = append(pieces, piece{b, o}) })
	if k == 0 {
		return 0
	}
	c.s.Flush()
	c.n.unlock()
	for _, x := range pieces {
		p = p[copy(p, x.b):]
	}
	c.n.lock()
	for _, x := range pieces {
		x.owner.Release()
	}
	return k
}

type piece struct {
	b     []byte
	owner tcp.Owner
}

// Write gives all of p to the connection, and waits for room.
func (c *Conn) Write(p []byte) (int, error) {
	n := c.n
	n.lock()
	defer n.unlock()
	done, mine := 0, false
	defer func() {
		if mine {
			c.writing = false
			c.wr.wake()
		}
	}()
	for {
		switch {
		case c.closed:
			return done, c.fail("write", net.ErrClosed)
		case c.wr.expired(n.Queue.Now()):
			return done, c.fail("write", os.ErrDeadlineExceeded)
		case n.closed:
			return done, c.fail("write", net.ErrClosed)
		case c.writing && !mine:
			c.wr.wait(n)
			continue
		}
		c.writing, mine = true, true
		woken := c.wr.woken
		k, err := c.lend(p[done:])
		if k == 0 && err == nil {
			k, err = c.s.Write(p[done:], n.Queue.Now())
		}
		done += k
		if err != nil {
			if errors.Is(err, tcp.ErrClosed) {
				err = syscall.EPIPE
			}
			return done, c.fail("write", err)
		}
		if k > 0 {
			c.s.Flush()
		}
		if done == len(p) {
			return done, nil
		}
		if woken == c.wr.woken { // lend lets others run
			c.wr.wait(n)
		}
	}
}

// lend sends from p itself where the other side is near enough to have it
// before this returns.
func (c *Conn) lend(p []byte) (int, error) {
	if len(p) < lendFrom {
		return 0, nil
	}
	k, err := c.s.Lend(p, c.n.Queue.Now())
	if k > 0 {
		c.s.Flush()
		c.n.settle()
		// A peer that has acknowledged all of it already is in this process:
		// let it read, rather than copy what it has no room for now.
		for try := 0; try < 4 && c.s.HeldUp(); try++ {
			c.n.unlock()
			runtime.Gosched()
			c.n.lock()
			c.s.Flush()
			c.n.settle()
		}
		c.s.Keep()
	}
	return k, err
}

// lendFrom is the least write that is worth it.
const lendFrom = 16 << 10

// Close ends the connection: what was written is still sent. Unread bytes, or
// SetLinger(0), make it a reset.
func (c *Conn) Close() error {
	n := c.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	if c.linger == 0 {
		c.s.Abort(n.Queue.Now())
	} else {
		c.s.Close(n.Queue.Now())
	}
	c.s.Flush()
	c.rd.stop(n)
	c.wr.stop(n)
	return nil
}

// CloseWrite sends a FIN behind what was written; reading goes on.
func (c *Conn) CloseWrite() error {
	n := c.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.s.CloseWrite(n.Queue.Now())
	c.s.Flush()
	return nil
}

// SetNoDelay with false lets small segments wait for each other (Nagle,
// RFC 9293 §3.7.4). As with the net package, they do not from the start.
func (c *Conn) SetNoDelay(on bool) error {
	c.n.Do(func() {
		c.s.SetNoDelay(on)
		c.s.Flush()
	})
	return nil
}

// SetLinger with 0 makes Close a reset.
func (c *Conn) SetLinger(sec int) error {
	c.n.Do(func() { c.linger = sec })
	return nil
}

// Info is the connection's row in the table of sockets.
func (c *Conn) Info() (i tcp.Info) {
	c.n.Do(func() { i = c.s.Info() })
	return i
}

// LocalAddr is a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr {
	local, _ := c.s.Ends()
	return net.TCPAddrFromAddrPort(local)
}

// RemoteAddr is a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr {
	_, remote := c.s.Ends()
	return net.TCPAddrFromAddrPort(remote)
}

// SetDeadline bounds Read and Write.
func (c *Conn) SetDeadline(t time.Time) error { return c.set(t, &c.rd, &c.wr) }

// SetReadDeadline bounds Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.set(t, &c.rd) }

// SetWriteDeadline bounds Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.set(t, &c.wr) }

func (c *Conn) set(t time.Time, of ...*waiter) error {
	c.n.lock()
	defer c.n.unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	for _, w := range of {
		w.set(c.n, t)
	}
	return nil
}

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
	l.n.lock()
	defer l.n.unlock()
	if l.closed {
		return l.fail("set", net.ErrClosed)
	}
	l.ac.set(l.n, t)
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
