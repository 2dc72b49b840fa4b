// Package accept takes connections from a listener for as long as it works:
// what passes, such as a lack of file descriptors, makes it wait, and is said.
package accept

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Pauses of a loop that cannot go on for the moment.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// Loop hands each connection of a listener to take, until the listener is
// closed or done is, which is no error, or the listener is broken. log, if not
// nil, is told once when connections cannot be accepted, with what to do, and
// once when they can be again.
func Loop(l net.Listener, done <-chan struct{}, log func(text string), take func(net.Conn)) error {
	var t Trouble
	for {
		c, err := l.Accept()
		if err == nil || worthSaying(err) {
			if text := t.Changed(err); text != "" && log != nil {
				log(fmt.Sprintf("accepting connections on %s: %s", l.Addr(), text))
			}
		}
		switch {
		case err == nil:
			take(c)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !Passing(err):
			select {
			case <-done:
				return nil
			default:
			}
			return err
		default:
			select {
			case <-time.After(t.Pause()):
			case <-done:
				return nil
			}
		}
	}
}

// Short tells that an error is for want of something on this machine, which
// passes when there is some again.
func Short(err error) bool {
	return is(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL)
}

// Passing tells that a socket that gave an error is none the worse for it:
// something is short, or one connection or datagram failed, of which accept(2)
// and recv(2) tell as well.
func Passing(err error) bool {
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		return true
	}
	return Short(err) || is(err, syscall.EAGAIN, syscall.EINTR, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPERM, syscall.EPROTO,
		syscall.ENOPROTOOPT, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.EMSGSIZE) || is(err, onThisSystem...)
}

// worthSaying leaves out what only tells of one connection.
func worthSaying(err error) bool { return Short(err) || is(err, syscall.EPERM) }

func is(err error, list ...syscall.Errno) bool {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	for _, x := range list {
		if e == x {
			return true
		}
	}
	return false
}

// Trouble keeps whether something works, so that each change is said once, and
// how long to wait before it is tried again. It may be used from many
// goroutines.
type Trouble struct {
	mu    sync.Mutex
	since time.Time // zero when all is well
	pause time.Duration
}

// Changed takes what came of a try, and returns what to tell: nothing when it
// is as it was.
func (t *Trouble) Changed(err error) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && !t.since.IsZero():
		text := fmt.Sprintf("it works again, after %v", time.Since(t.since).Round(time.Millisecond))
		t.since, t.pause = time.Time{}, 0
		return text
	case err != nil && t.since.IsZero():
		t.since = time.Now()
		return err.Error() + advice(err) + "; it goes on when that has passed"
	}
	return ""
}

// Pause returns how long to wait: longer each time, until all is well.
func (t *Trouble) Pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pause = min(max(2*t.pause, firstPause), maxPause)
	return t.pause
}

func advice(err error) string {
	switch {
	case is(err, syscall.EMFILE):
		return ": this process has as many files open as it may (ulimit -n); raise the limit, or serve fewer at once"
	case is(err, syscall.ENFILE):
		return ": the machine has as many files open as it may (sysctl fs.file-max)"
	case is(err, syscall.ENOBUFS, syscall.ENOMEM):
		return ": the kernel has no memory for sockets"
	case is(err, syscall.EADDRNOTAVAIL):
		return ": no local port is free (sysctl net.ipv4.ip_local_port_range)"
	case is(err, syscall.EPERM):
		return ": a rule of this machine's firewall or security module forbids it"
	}
	return ""
}
