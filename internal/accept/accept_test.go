package accept

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// script is a listener that gives what it is told to, in turn.
type script struct {
	mu    sync.Mutex
	steps []error // nil is a connection
	ended error
}

func (s *script) Accept() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.steps) == 0 {
		return nil, s.ended
	}
	err := s.steps[0]
	s.steps = s.steps[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}
func (s *script) Close() error   { return nil }
func (s *script) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53} }

// What passes does not end a listener, and is said once, as is its end.
func TestLoopGoesOn(t *testing.T) {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENETDOWN} {
		var said []string
		taken := 0
		l := &script{steps: []error{nil, e, e, nil, nil, e, nil}, ended: net.ErrClosed}
		err := Loop(l, nil, func(text string) { said = append(said, text) }, func(c net.Conn) { c.Close(); taken++ })
		if err != nil || taken != 4 {
			t.Errorf("%v: %d connections, %v", e, taken, err)
		}
		want := 4 // it fails, works, fails, works
		if e == syscall.ECONNABORTED || e == syscall.EPROTO || e == syscall.ENETDOWN {
			want = 0 // that was one client's
		}
		if len(said) != want {
			t.Errorf("%v: %q", e, said)
		}
		if e == syscall.EMFILE && (!strings.Contains(said[0], "ulimit -n") || !strings.Contains(said[1], "works again")) {
			t.Errorf("%q", said)
		}
	}
}

// A listener that is broken ends the loop, and one that is closed without an
// error.
func TestLoopEnds(t *testing.T) {
	if err := Loop(&script{ended: syscall.EBADF}, nil, nil, func(net.Conn) {}); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
	if err := Loop(&script{ended: fmt.Errorf("accept: %w", net.ErrClosed)}, nil, nil, func(net.Conn) {}); err != nil {
		t.Error(err)
	}
	done := make(chan struct{})
	close(done)
	if err := Loop(&script{ended: syscall.EMFILE}, done, nil, func(net.Conn) {}); err != nil {
		t.Error(err)
	}
}

// The pauses double up to a second, and begin anew when all is well.
func TestPauses(t *testing.T) {
	var tr Trouble
	tr.Changed(syscall.EMFILE)
	sum := firstPause
	for i := range 12 {
		if p := tr.Pause(); p != sum {
			t.Fatalf("pause %d is %v, not %v", i, p, sum)
		}
		sum = min(2*sum, maxPause)
	}
	tr.Changed(nil)
	if p := tr.Pause(); p != firstPause {
		t.Error(p)
	}
	if Files() < 16 {
		t.Error(Files())
	}
}
