package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// get asks on an open connection and returns the body.
func get(t testing.TB, c net.Conn, rd *bufio.Reader, path string) (*http.Response, string) {
	t.Helper()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestSlowHeadIsAnsweredWith408(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Header: 100 * time.Millisecond}})
	c := dial(t, s.plain)
	go func() {
		for _, b := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Fatalf("%q", b)
	}
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Header: 50 * time.Millisecond, Handshake: 50 * time.Millisecond, Idle: 50 * time.Millisecond}})
	for _, addr := range []string{s.plain, s.secure} {
		if got := raw(t, addr, ""); got != "" {
			t.Fatalf("%q", got)
		}
	}
	c := dial(t, s.plain)
	rd := bufio.NewReader(c)
	get(t, c, rd, "/")
	if _, err := rd.ReadByte(); err != io.EOF {
		t.Fatal("an idle connection was not closed:", err)
	}
}

func TestSlowBodyIsGivenUp(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Stall: 50 * time.Millisecond}})
	got := raw(t, s.plain, "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
	if !strings.Contains(got, "5 "+ErrBodyTooSlow.Error()) {
		t.Fatalf("%q", got)
	}
}

func TestBodyPaceCountsOnlyWaiting(t *testing.T) {
	l := Limits{Stall: time.Hour}.withDefaults()
	p := bodyPace{}
	if d := p.allowance(&l); d != 30*time.Second {
		t.Fatal(d)
	}
	p = bodyPace{waited: 29 * time.Second, got: 5000}
	if d := p.allowance(&l); d != 6*time.Second {
		t.Fatal(d)
	}
	p = bodyPace{waited: 36 * time.Second, got: 5000}
	if d := p.allowance(&l); d > 0 {
		t.Fatal(d)
	}
}

func TestPeerThatDoesNotReadIsDropped(t *testing.T) {
	returned := make(chan error, 1)
	s := start(t, &Server{Limits: Limits{Stall: 100 * time.Millisecond}, Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		_, err := io.Copy(w, pattern{})
		returned <- err
	})})
	c := dial(t, s.plain)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case err := <-returned:
		if err == nil {
			t.Fatal("no error")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the handler is stuck")
	}
}

func TestBodyLimit(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Body: 10}})
	got := raw(t, s.plain, "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world")
	if !strings.HasPrefix(got, "HTTP/1.1 413 ") {
		t.Fatalf("%q", got)
	}
	got = raw(t, s.plain, "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n")
	if !strings.Contains(got, ErrBodyTooLarge.Error()) {
		t.Fatalf("%q", got)
	}
}

func TestConnectionLimitLetsOthersWait(t *testing.T) {
	s := start(t, &Server{Limits: Limits{Connections: 2}})
	// Each listener accepts on its own: a connection counts when something
	// came back on it, not when it was dialed.
	held := tls.Client(dial(t, s.secure), &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1"})
	if err := held.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s.plain)
	rd := bufio.NewReader(c)
	get(t, c, rd, "/")
	second := dial(t, s.plain)
	io.WriteString(second, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatal("more connections than allowed:", err)
	}
	c.Close()
	second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil {
		t.Fatal(err)
	}
}

func TestShutdownH1EndsIdleAtOnceAndLetsTheRestEnd(t *testing.T) {
	s := start(t, &Server{})
	idle, busy := dial(t, s.plain), dial(t, s.plain)
	idleRd, busyRd := bufio.NewReader(idle), bufio.NewReader(busy)
	get(t, idle, idleRd, "/")
	get(t, busy, busyRd, "/")
	io.WriteString(busy, "GET /sleep?300ms HTTP/1.1\r\nHost: a\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	if _, err := idleRd.ReadByte(); err != io.EOF {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(busyRd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "slept" || !resp.Close {
		t.Fatalf("%q %v", b, resp.Header)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", s.plain); err == nil {
		t.Fatal("the listener is open")
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	s := start(t, &Server{})
	c := dial(t, s.plain)
	io.WriteString(c, "GET /sleep?1h HTTP/1.1\r\nHost: a\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Log("closed with", err)
	}
}
