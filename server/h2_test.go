package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"peel/internal/needs"
)

// peer is the other end of an HTTP/2 connection, frame by frame, with the
// codec of another implementation.
type peer struct {
	t testing.TB
	net.Conn
	*http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
	// silent peers acknowledge no SETTINGS: another goroutine is writing.
	silent bool
}

// h2dial connects, in clear by prior knowledge, and sends the preface.
func h2dial(t testing.TB, addr string, settings ...http2.Setting) *peer {
	t.Helper()
	return h2on(t, dial(t, addr), settings...)
}

func h2on(t testing.TB, c net.Conn, settings ...http2.Setting) *peer {
	t.Helper()
	p := &peer{t: t, Conn: c, Framer: http2.NewFramer(c, c)}
	p.enc = hpack.NewEncoder(&p.buf)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(c, http2.ClientPreface)
	if err := p.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) block(pairs ...string) []byte {
	p.buf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return p.buf.Bytes()
}

func (p *peer) request(id uint32, end bool, method, path string, more ...string) error {
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: end, EndHeaders: true,
		BlockFragment: p.block(append([]string{":method", method, ":scheme", "http", ":authority", "a", ":path", path}, more...)...)})
}

// next returns the next frame that is not about the connection's settings and
// windows.
func (p *peer) next() (http2.Frame, error) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() && !p.silent {
				p.WriteSettingsAck()
			}
			continue
		case *http2.WindowUpdateFrame:
			continue
		}
		return f, nil
	}
}

// want reads a frame of type F.
func want[F http2.Frame](p *peer) F {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	ff, ok := f.(F)
	if !ok {
		p.t.Fatalf("got %v", f)
	}
	return ff
}

func (p *peer) status() string {
	p.t.Helper()
	return want[*http2.MetaHeadersFrame](p).PseudoValue("status")
}

func TestRFC9113_8_1_HandlerFaultsEndOnlyTheirStream(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, true, "GET", "/panic")
	if st := p.status(); st != "500" {
		t.Fatal(st)
	}
	want[*http2.DataFrame](p)
	for id, path := range map[uint32]string{3: "/abort"} {
		p.request(id, true, "GET", path)
		if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeInternal {
			t.Fatal(f)
		}
	}
	p.request(5, true, "GET", "/short")
	if f := want[*http2.MetaHeadersFrame](p); f.StreamEnded() {
		t.Fatal(f)
	}
	if f := want[*http2.DataFrame](p); f.StreamEnded() {
		t.Fatal("a response that broke off looks whole")
	}
	want[*http2.RSTStreamFrame](p)
	p.request(7, true, "GET", "/bad-field")
	if st := p.status(); st != "500" {
		t.Fatal(st)
	}
	if f := want[*http2.DataFrame](p); string(f.Data()) != "Internal Server Error\n" || !f.StreamEnded() {
		t.Fatal(f)
	}
	p.request(9, true, "GET", "/")
	if st := p.status(); st != "200" {
		t.Fatal(st)
	}
}

func TestRFC9113_8_1_HeadIsOneFrame(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, true, "HEAD", "/")
	f := want[*http2.MetaHeadersFrame](p)
	if !f.StreamEnded() || f.PseudoValue("status") != "200" {
		t.Fatal(f)
	}
	p.request(3, true, "GET", "/status?204")
	f = want[*http2.MetaHeadersFrame](p)
	if !f.StreamEnded() || f.PseudoValue("status") != "204" {
		t.Fatal(f)
	}
	for _, h := range f.RegularFields() {
		if h.Name == "content-length" {
			t.Fatal("content-length in 204")
		}
	}
}

func TestRFC9113_8_1_AnsweredRequestThatGoesOnIsReset(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, false, "POST", "/")
	if st := p.status(); st != "200" {
		t.Fatal(st)
	}
	if f := want[*http2.DataFrame](p); !f.StreamEnded() {
		t.Fatal(f)
	}
	p.WriteData(1, false, []byte("more")) // a little does no harm
	for range 4 {
		p.WriteData(1, false, make([]byte, 16384))
	}
	if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeNo {
		t.Fatal(f)
	}
	// One that just hangs is reset after a while.
	p.request(3, false, "POST", "/")
	p.status()
	want[*http2.DataFrame](p)
	if f := want[*http2.RSTStreamFrame](p); f.StreamID != 3 || f.ErrCode != http2.ErrCodeNo {
		t.Fatal(f)
	}
}

func TestRFC9110_10_1_1_ContinueOnHTTP2(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, false, "POST", "/length", "expect", "100-continue")
	if st := p.status(); st != "100" {
		t.Fatal(st)
	}
	p.WriteData(1, true, []byte("hello"))
	if st := p.status(); st != "200" {
		t.Fatal(st)
	}
	if f := want[*http2.DataFrame](p); string(f.Data()) != "5 <nil> " {
		t.Fatalf("%q", f.Data())
	}
}

func TestTooLargeHeadIsAnsweredWith431(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, true, "GET", "/", "x", strings.Repeat("v", 17<<10))
	p.Conn.SetDeadline(time.Now().Add(5 * time.Second))
	if st := p.status(); st != "431" {
		t.Fatal(st)
	}
	want[*http2.DataFrame](p)
	p.request(3, true, "GET", "/")
	if st := p.status(); st != "200" {
		t.Fatal(st)
	}
}

func TestBlockedHandlersDoNotStallOthers(t *testing.T) {
	release := make(chan struct{})
	s := start(t, &Server{Limits: Limits{Streams: 200, Handlers: 100}, Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		if r.Path == "/block" {
			w.WriteString("first")
			w.Flush()
			<-release
		}
		w.WriteString("done")
	})})
	p := h2dial(t, s.plain)
	for i := range 90 {
		p.request(uint32(2*i+1), true, "GET", "/block")
	}
	for range 90 { // all of them have begun
		p.status()
		if f := want[*http2.DataFrame](p); string(f.Data()) != "first" {
			t.Fatal(f)
		}
	}
	p.request(1001, true, "GET", "/")
	p.status()
	if f := want[*http2.DataFrame](p); f.StreamID != 1001 || string(f.Data()) != "done" {
		t.Fatal(f)
	}
	close(release)
	for range 90 {
		if f := want[*http2.DataFrame](p); string(f.Data()) != "done" {
			t.Fatal(f)
		}
	}
}

// A connection that opens streams and resets them gets no more handlers than
// one that behaves (CVE-2023-44487).
func TestRapidResetIsBounded(t *testing.T) {
	var running, most, served atomic.Int64
	release := make(chan struct{})
	s := start(t, &Server{Limits: Limits{Handlers: 10, Streams: 50}, Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		served.Add(1)
		for n := running.Add(1); ; {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		running.Add(-1)
	})})
	p := h2dial(t, s.plain)
	p.silent = true
	go func() {
		for id := uint32(1); id < 200_000; id += 2 {
			if p.request(id, true, "GET", "/") != nil || p.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	for {
		f, err := p.next()
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != http2.ErrCodeEnhanceYourCalm {
				t.Fatal(g)
			}
			break
		}
	}
	if n := most.Load(); n > 10 {
		t.Errorf("%d handlers ran at once", n)
	}
	if n := served.Load(); n > 10 {
		t.Errorf("%d handlers ran for streams that were reset before one was free", n)
	}
	close(release)
}

func TestUnreadBodiesAreBounded(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	s := start(t, &Server{Limits: Limits{Unread: 300_000}, Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		<-release
	})})
	p := h2dial(t, s.plain)
	p.silent = true
	go func() {
		part := make([]byte, 16384)
		for id := uint32(1); id < 20; id += 2 {
			if p.request(id, false, "POST", "/") != nil {
				return
			}
			for range 15 {
				if p.WriteData(id, false, part) != nil {
					return
				}
			}
		}
	}()
	if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeEnhanceYourCalm {
		t.Fatal(f)
	}
}

func TestPeerThatOpensNoWindowLosesTheStream(t *testing.T) {
	returned := make(chan error, 1)
	s := start(t, &Server{Limits: Limits{Stall: 100 * time.Millisecond}, Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		_, err := io.Copy(w, pattern{})
		returned <- err
	})})
	p := h2dial(t, s.plain, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	p.request(1, true, "GET", "/")
	p.status()
	if f := want[*http2.DataFrame](p); len(f.Data()) != 1 {
		t.Fatal(f)
	}
	want[*http2.RSTStreamFrame](p)
	if err := <-returned; err == nil {
		t.Fatal("the handler was not told")
	}
}

func TestH2SlowBodyIsGivenUp(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Stall: 50 * time.Millisecond}})
	p := h2dial(t, s.plain)
	p.request(1, false, "POST", "/length")
	p.WriteData(1, false, []byte("hello"))
	p.status()
	if f := want[*http2.DataFrame](p); string(f.Data()) != "5 "+ErrBodyTooSlow.Error()+" " {
		t.Fatalf("%q", f.Data())
	}
}

func TestContextEndsWithTheStream(t *testing.T) {
	begun, ended := make(chan struct{}, 3), make(chan error, 3)
	s := start(t, &Server{Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		ctx := r.Context()
		begun <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
	})})
	p := h2dial(t, s.plain)
	p.request(1, true, "GET", "/")
	<-begun
	p.WriteRSTStream(1, http2.ErrCodeCancel)
	if err := <-ended; err != context.Canceled {
		t.Fatal(err)
	}
	p.request(3, true, "GET", "/")
	<-begun
	p.Close()
	if err := <-ended; err != context.Canceled {
		t.Fatal(err)
	}
}

func TestRFC9113_6_8_ShutdownIsTwoGoAways(t *testing.T) {
	s := start(t, &Server{})
	p := h2dial(t, s.plain)
	p.request(1, true, "GET", "/sleep?300ms")
	// A PING that is answered tells that the request was taken.
	p.WritePing(false, [8]byte{1})
	want[*http2.PingFrame](p)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	if f := want[*http2.GoAwayFrame](p); f.LastStreamID != 1<<31-1 || f.ErrCode != http2.ErrCodeNo {
		t.Fatal(f)
	}
	// What was on its way before the client saw it is still served.
	p.request(3, true, "GET", "/")
	got := map[uint32]bool{}
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
			got[d.StreamID] = true
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.LastStreamID != 3 || g.ErrCode != http2.ErrCodeNo {
				t.Fatal(g)
			}
			break
		}
	}
	if !got[1] || !got[3] {
		t.Fatal("not all was answered:", got)
	}
	if _, err := p.next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestIdleH2ConnectionIsClosed(t *testing.T) {
	needs.Long(t)
	s := start(t, &Server{Limits: Limits{Idle: 50 * time.Millisecond}})
	p := h2dial(t, s.plain)
	want[*http2.GoAwayFrame](p)
	want[*http2.GoAwayFrame](p)
	if _, err := p.next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestConnectionsLeaveNothingBehind(t *testing.T) {
	s := start(t, &Server{})
	runtime.GC()
	before := runtime.NumGoroutine()
	for i := range 50 {
		c, err := tls.Dial("tcp", s.secure, &tls.Config{RootCAs: s.roots, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		p := h2on(t, c)
		p.request(1, true, "GET", "/")
		if i%2 == 0 {
			p.status()
		}
		c.Close()
	}
	for range 100 {
		if runtime.NumGoroutine() <= before+maxIdle/8 {
			s.Server.mu.Lock()
			n := len(s.conns)
			s.Server.mu.Unlock()
			if n == 0 {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
