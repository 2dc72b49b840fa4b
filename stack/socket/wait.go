package socket

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/tcp"
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

// bound sets the deadline of waiters, unless their socket is closed.
func (n *Network) bound(t time.Time, closed *bool, of []*waiter) bool {
	n.lock()
	defer n.unlock()
	if *closed {
		return false
	}
	for _, w := range of {
		w.set(n, t)
	}
	return true
}

// stop ends the deadline for good.
func (w *waiter) stop(n *Network) {
	if w.timer != nil {
		n.Queue.Stop(w.timer)
	}
	w.wake()
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

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() []error { return []error{e.Err, e.Number} }
