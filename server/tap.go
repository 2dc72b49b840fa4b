package server

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"peel/evidence/capture"
	"peel/evidence/decision"
)

// tap is the socket under TLS and HTTP. It puts the bytes into the capture,
// and saves system calls: one read brings many TLS records, and records that
// are written while it is corked leave in one write.
type tap struct {
	net.Conn
	rec    *capture.Recorder
	socket uint32

	buf  []byte // read and not taken: buf[r:w]
	r, w int

	wmu   sync.Mutex
	held  *[]byte // written while corked; nil when not
	spare *sync.Pool
}

const (
	tapBuffer = 32 << 10
	// corkLimit is how much is held back while corked.
	corkLimit = 128 << 10
)

func (t *tap) Read(p []byte) (int, error) {
	if t.r < t.w {
		n := copy(p, t.buf[t.r:t.w])
		t.r += n
		return n, nil
	}
	if len(p) >= tapBuffer/2 {
		return t.receive(p)
	}
	if err := t.fill(); err != nil {
		return 0, err
	}
	n := copy(p, t.buf[:t.w])
	t.r = n
	return n, nil
}

// fill reads into the buffer behind what is there, or from its beginning when
// all was taken.
func (t *tap) fill() error {
	if t.buf == nil {
		t.buf = make([]byte, tapBuffer)
	}
	if t.r == t.w {
		t.r, t.w = 0, 0
	}
	n, err := t.receive(t.buf[t.w:])
	t.w += n
	if n > 0 {
		return nil // the error, if any, comes again
	}
	return err
}

// peek returns what is buffered, after reading until there are n bytes or
// until enough(what is there) says so.
func (t *tap) peek(n int, enough func([]byte) bool) ([]byte, error) {
	for t.w-t.r < n && (t.w == t.r || !enough(t.buf[t.r:t.w])) {
		if err := t.fill(); err != nil {
			return t.buf[t.r:t.w], err
		}
	}
	return t.buf[t.r:t.w], nil
}

// release lets go of the buffer when nothing is in it: for cleartext, where
// the protocols read into their own.
func (t *tap) release() {
	if t.r == t.w {
		t.buf, t.r, t.w = nil, 0, 0
	}
}

func (t *tap) receive(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if t.rec == nil {
		return n, err
	}
	t.rec.Stream(t.socket, capture.In, p[:n])
	if err != nil && !isTimeout(err) && !errors.Is(err, net.ErrClosed) {
		about := capture.About{Socket: t.socket}
		if errors.Is(err, io.EOF) {
			t.rec.Decide(about, &decision.SocketEOF{})
		} else {
			t.rec.Decide(about, &decision.SocketReset{Error: err.Error()})
		}
	}
	return n, err
}

func (t *tap) Write(p []byte) (int, error) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	if t.held == nil {
		return t.transmit(p)
	}
	if len(*t.held)+len(p) > corkLimit {
		if err := t.flush(); err != nil {
			return 0, err
		}
	}
	*t.held = append(*t.held, p...)
	return len(p), nil
}

func (t *tap) transmit(p []byte) (int, error) {
	// Recorded before the call: what comes back cannot then stand before it.
	t.rec.Stream(t.socket, capture.Out, p)
	return t.Conn.Write(p)
}

// cork holds back what is written, up to corkLimit, until uncork.
func (t *tap) cork() {
	t.wmu.Lock()
	if t.held, _ = t.spare.Get().(*[]byte); t.held == nil {
		b := make([]byte, 0, corkLimit)
		t.held = &b
	}
	t.wmu.Unlock()
}

func (t *tap) uncork() error {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	err := t.flush()
	t.spare.Put(t.held)
	t.held = nil
	return err
}

// flush writes what is held back.
func (t *tap) flush() error {
	if len(*t.held) == 0 {
		return nil
	}
	_, err := t.transmit(*t.held)
	*t.held = (*t.held)[:0]
	return err
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isGone tells whether an error is only that the peer went away or the
// connection was closed here: nothing that a log should tell.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || isTimeout(err)
}
