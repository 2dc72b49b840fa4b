package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"peel/stack/host"
	"peel/stack/tcp"
)

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
		if k := c.s.Read(n.Queue.Now(), p); k > 0 {
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
	k := c.s.Take(c.n.Queue.Now(), len(p), func(b []byte, o tcp.Owner) { pieces = append(pieces, piece{b, o}) })
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
			k, err = c.s.Write(n.Queue.Now(), p[done:])
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
	k, err := c.s.Lend(c.n.Queue.Now(), p)
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
	if !c.n.bound(t, &c.closed, of) {
		return c.fail("set", net.ErrClosed)
	}
	return nil
}
