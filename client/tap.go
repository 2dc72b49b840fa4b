package client

import (
	"net"

	"peel/evidence/capture"
	"peel/evidence/decision"
)

// tap is a connection whose bytes go into the capture as they pass. It stands
// under TLS, so what it records is what the socket carried. Reads are
// buffered: one system call brings many TLS records.
type tap struct {
	net.Conn
	rec    *capture.Recorder
	socket uint32
	buf    []byte
	r, w   int
}

const tapBuffer = 64 << 10

func newTap(c net.Conn, rec *capture.Recorder, socket uint32) *tap {
	return &tap{Conn: c, rec: rec, socket: socket}
}

func (t *tap) Read(p []byte) (int, error) {
	if t.r < t.w {
		n := copy(p, t.buf[t.r:t.w])
		t.r += n
		return n, nil
	}
	if len(p) >= tapBuffer/4 {
		n, err := t.Conn.Read(p)
		t.saw(p[:n], err)
		return n, err
	}
	if t.buf == nil {
		t.buf = make([]byte, tapBuffer)
	}
	n, err := t.Conn.Read(t.buf)
	t.saw(t.buf[:n], err)
	t.r, t.w = 0, n
	n = copy(p, t.buf[:n])
	t.r = n
	return n, err
}

// saw records what a read brought, and how the stream ended.
func (t *tap) saw(b []byte, err error) {
	t.rec.Stream(t.socket, capture.In, b)
	t.rec.Pace(len(b))
	if err == nil || isTimeout(err) || isClosed(err) {
		return
	}
	about := capture.About{Socket: t.socket}
	if isEOF(err) {
		t.rec.Decide(about, &decision.SocketEOF{})
	} else {
		t.rec.Decide(about, &decision.SocketReset{Error: err.Error()})
	}
}

func (t *tap) Write(p []byte) (int, error) {
	// Recorded before the call: what comes back cannot then stand before it.
	t.rec.Stream(t.socket, capture.Out, p)
	n, err := t.Conn.Write(p)
	t.rec.Pace(n)
	return n, err
}
