package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/httpfield"
)

// origin is a net/http server: another implementation as the peer.
type origin struct {
	*httptest.Server
	dials atomic.Int32
}

func newOrigin(t testing.TB, secure, h2 bool, h http.Handler) *origin {
	t.Helper()
	o := &origin{Server: httptest.NewUnstartedServer(h)}
	o.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateNew {
			o.dials.Add(1)
		}
	}
	o.Config.ErrorLog = nil
	o.EnableHTTP2 = h2
	if secure {
		o.StartTLS()
	} else {
		o.Start()
	}
	t.Cleanup(o.Close)
	return o
}

func (o *origin) request(method, target string) *Request {
	u, _ := url.Parse(o.URL)
	port, _ := strconv.Atoi(u.Port())
	return &Request{Method: method, Origin: Origin{Scheme: u.Scheme, Host: u.Hostname(), Port: uint16(port)}, Authority: u.Host, Target: target}
}

func (o *origin) roots() *x509.CertPool {
	p := x509.NewCertPool()
	if c := o.Certificate(); c != nil {
		p.AddCert(c)
	}
	return p
}

type recorded struct {
	*Client
	rec *capture.Recorder
}

func newClient(t testing.TB, o Options) *recorded {
	t.Helper()
	o.Clock = clock.NewReal()
	o.Recorder = capture.NewRecorder(o.Clock, capture.Options{Limit: 256 << 20})
	c := New(o)
	t.Cleanup(c.Close)
	return &recorded{c, o.Recorder}
}

func (r *recorded) trace() *trace.Trace {
	r.Close()
	time.Sleep(20 * time.Millisecond) // connections close in goroutines of their own
	a := analyze.New(analyze.Limits{})
	a.Read(r.rec.Cursor(), false)
	return a.Trace()
}

func do(t testing.TB, c *recorded, req *Request) (*Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.Do(ctx, req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.Target, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", req.Method, req.Target, err)
	}
	resp.Body.Close()
	return resp, b
}

var matrix = []struct {
	name       string
	secure, h2 bool
	version    Version
	proto      trace.Protocol
}{
	{"http/1.1", false, false, AnyVersion, "HTTP/1.1"},
	{"https/1.1", true, false, AnyVersion, "HTTP/1.1"},
	{"https/2", true, true, AnyVersion, "HTTP/2"},
	{"https/2 refused by the client", true, true, OnlyHTTP1, "HTTP/1.1"},
}

func handler() http.Handler {
	m := http.NewServeMux()
	big := make([]byte, 3<<20)
	rand.Read(big)
	m.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { w.Write(big) })
	m.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Trailer", r.Trailer.Get("X-Sum"))
		w.Write(b)
	})
	m.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "42")
	})
	m.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	m.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(30 * time.Millisecond)
		io.WriteString(w, "slow")
	})
	m.HandleFunc("/hint", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</x>")
		w.WriteHeader(103)
		io.WriteString(w, "hinted")
	})
	return m
}

func TestMatrixAgainstNetHTTP(t *testing.T) {
	for _, m := range matrix {
		t.Run(m.name, func(t *testing.T) {
			o := newOrigin(t, m.secure, m.h2, handler())
			c := newClient(t, Options{Roots: o.roots(), Version: m.version})

			resp, b := do(t, c, o.request("GET", "/echo"))
			if resp.Status != 200 || resp.Protocol != m.proto || len(b) != 0 || resp.Header.Value("x-method") != "GET" {
				t.Fatalf("GET: %+v %q", resp, b)
			}
			_, big := do(t, c, o.request("GET", "/big"))
			if len(big) != 3<<20 {
				t.Fatalf("big: %d bytes", len(big))
			}
			head, b := do(t, c, o.request("HEAD", "/big"))
			if head.Status != 200 || len(b) != 0 {
				t.Fatalf("HEAD: %+v, %d bytes", head, len(b))
			}
			post := o.request("POST", "/echo")
			post.Body, post.ContentLength = bytes.NewReader(big), int64(len(big))
			if resp, b = do(t, c, post); !bytes.Equal(b, big) || resp.Header.Value("x-length") != fmt.Sprint(len(big)) {
				t.Fatalf("POST: %d bytes came back, length %s", len(b), resp.Header.Value("x-length"))
			}
			post = o.request("POST", "/echo")
			post.Body, post.ContentLength = strings.NewReader("of unknown length"), -1
			post.Header = httpfield.List{{Name: "Trailer", Value: "X-Sum"}}
			post.Trailer = func() httpfield.List { return httpfield.List{{Name: "X-Sum", Value: "7"}} }
			if resp, b = do(t, c, post); string(b) != "of unknown length" || resp.Header.Value("x-length") != "-1" || resp.Header.Value("x-trailer") != "7" {
				t.Fatalf("POST of unknown length: %q %v", b, resp.Header)
			}
			if resp, b = do(t, c, o.request("GET", "/trailers")); string(b) != "body" || resp.Trailer().Value("x-sum") != "42" {
				t.Fatalf("trailers: %q %v", b, resp.Trailer())
			}
			if resp, b = do(t, c, o.request("GET", "/empty")); resp.Status != 204 || len(b) != 0 {
				t.Fatalf("204: %+v", resp)
			}
			if resp, b = do(t, c, o.request("GET", "/hint")); resp.Status != 200 || string(b) != "hinted" {
				t.Fatalf("103: %+v", resp)
			}
			if n := o.dials.Load(); n != 1 {
				t.Errorf("%d connections for requests one after the other", n)
			}

			tr := c.trace()
			if len(tr.Exchanges) != 8 {
				t.Fatalf("the trace has %d exchanges", len(tr.Exchanges))
			}
			for i, x := range tr.Exchanges {
				if x.Response == nil || x.Failure != nil || !x.Response.Body.Complete || x.Protocol != m.proto || x.Reused != (i > 0) {
					t.Errorf("exchange %d: %+v %+v", i+1, x, x.Response)
				}
				if x.Timings.Total == nil || x.Timings.Send == nil || x.Timings.Receive == nil {
					t.Errorf("exchange %d: timings %+v", i+1, x.Timings)
				}
			}
			if got := tr.Exchanges[1].Response.Body.WireSize; got != 3<<20 {
				t.Errorf("the trace says %d bytes of body", got)
			}
			if got := tr.Exchanges[3].Request.Body.WireSize; got != 3<<20 {
				t.Errorf("the trace says %d bytes of request body", got)
			}
			if m.secure {
				tls := tr.Connections[len(tr.Connections)-1].TLS
				if tls == nil || !tls.Decrypted || tls.Undecryptable != "" || tls.Version != "TLS 1.3" || tls.Verdict == nil || !tls.Verdict.OK || len(tls.Chain) == 0 {
					t.Errorf("TLS: %+v", tls)
				}
			}
		})
	}
}

// RFC 9113 §3.2, and the stampede: who asks first, asks for all.
func TestFiftyFirstRequestsToAnHTTP2OriginMakeOneDial(t *testing.T) {
	o := newOrigin(t, true, true, handler())
	c := newClient(t, Options{Roots: o.roots()})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, b := do(t, c, o.request("GET", "/slow")); string(b) != "slow" {
				t.Errorf("%q", b)
			}
		})
	}
	all.Wait()
	if n := o.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
	tr := c.trace()
	if h2 := tr.Connections[len(tr.Connections)-1].HTTP2; h2 == nil || h2.MaxConcurrent < 2 {
		t.Errorf("HTTP/2 facts: %+v", h2)
	}
}

func TestHTTP1FansOutOnceTheProtocolIsKnown(t *testing.T) {
	o := newOrigin(t, true, false, handler())
	c := newClient(t, Options{Roots: o.roots(), MaxConnections: 6})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() { do(t, c, o.request("GET", "/slow")) })
	}
	all.Wait()
	if n := o.dials.Load(); n < 2 || n > 6 {
		t.Errorf("%d dials, at most 6 are allowed", n)
	}
}

func TestServerLimitOfStreamsIsWaitedFor(t *testing.T) {
	o := &origin{Server: httptest.NewUnstartedServer(handler())}
	o.EnableHTTP2 = true
	o.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
	o.StartTLS()
	t.Cleanup(o.Close)
	c := newClient(t, Options{Roots: o.roots()})
	do(t, c, o.request("GET", "/slow")) // brings the server's SETTINGS
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { do(t, c, o.request("GET", "/slow")) })
	}
	all.Wait()
	tr := c.trace()
	if h2 := tr.Connections[len(tr.Connections)-1].HTTP2; h2.MaxConcurrent != 3 {
		t.Errorf("%d streams at once, 3 are allowed", h2.MaxConcurrent)
	}
}

func TestUnreadBodyDoesNotStallOthers(t *testing.T) {
	o := newOrigin(t, true, true, handler())
	c := newClient(t, Options{Roots: o.roots(), StreamWindow: 65535, ConnectionWindow: 65535})
	ctx := context.Background()
	held, err := c.Do(ctx, o.request("GET", "/big"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, b := do(t, c, o.request("GET", "/slow")); string(b) != "slow" {
		t.Errorf("%q", b)
	}
	if b, err := io.ReadAll(held.Body); err != nil || len(b) != 3<<20 {
		t.Errorf("the held body: %d bytes, %v", len(b), err)
	}
}

func TestConnectionClosedWhileIdleIsFoundBeforeUse(t *testing.T) {
	o := newOrigin(t, false, false, handler())
	c := newClient(t, Options{})
	do(t, c, o.request("GET", "/echo"))
	o.CloseClientConnections()
	time.Sleep(20 * time.Millisecond)
	do(t, c, o.request("POST", "/echo"))
	tr := c.trace()
	x := tr.Exchanges[len(tr.Exchanges)-1]
	if x.Reused || !strings.Contains(x.Pool, "closed") {
		t.Errorf("pool: %q", x.Pool)
	}
}

// A server that closes a connection just as the request leaves: catalogue
// HTTP-REUSE-RACE.
func TestConnectionThatDiesUnderARequestIsRetriedWhenSafe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				conn.Read(buf)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				if n == 0 {
					conn.Read(buf) // the second request gets no answer
					return
				}
				conn.Read(buf)
			}()
		}
	}()
	o := &origin{Server: &httptest.Server{URL: "http://" + l.Addr().String()}}
	c := newClient(t, Options{})
	do(t, c, o.request("GET", "/"))
	if _, b := do(t, c, o.request("GET", "/")); string(b) != "ok" {
		t.Fatalf("%q", b)
	}
	tr := c.trace()
	if len(tr.Exchanges) != 3 || tr.Exchanges[2].Cause != "retry" || tr.Exchanges[2].Predecessor != 2 || tr.Exchanges[1].Failure == nil {
		t.Errorf("%d exchanges, the last: %+v", len(tr.Exchanges), tr.Exchanges[len(tr.Exchanges)-1])
	}
}

func TestFailuresNameTheirLayer(t *testing.T) {
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	closedURL := "http://" + closed.Addr().String()
	closed.Close()
	plain := newOrigin(t, false, false, handler())
	secure := newOrigin(t, true, true, handler())
	raw := func(answer string) *origin {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 4096))
				io.WriteString(conn, answer)
				conn.Close()
			}
		}()
		return &origin{Server: &httptest.Server{URL: "http://" + l.Addr().String()}}
	}
	notTLS := *plain.request("GET", "/")
	notTLS.Origin.Scheme = "https"
	for _, f := range []struct {
		name  string
		req   *Request
		opt   Options
		layer trace.LayerName
		code  trace.FailureCode
	}{
		{"refused", (&origin{Server: &httptest.Server{URL: closedURL}}).request("GET", "/"), Options{}, "tcp", "connection_refused"},
		{"unknown root", secure.request("GET", "/"), Options{Roots: x509.NewCertPool()}, "tls", "certificate_self_signed"},
		{"wrong name", secure.request("GET", "/"), Options{Roots: secure.roots(), ServerName: "other.invalid"}, "tls", "certificate_wrong_name"},
		{"not TLS", &notTLS, Options{}, "tls", "not_tls"},
		{"version", secure.request("GET", "/"), Options{Roots: secure.roots(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, "tls", "cipher"},
		{"no answer", raw("").request("GET", "/"), Options{}, "http1", "closed_early"},
		{"cut head", raw("HTTP/1.1 200 OK\r\nContent-").request("GET", "/"), Options{}, "http1", "malformed_response"},
		{"a head over the limit", raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 70_000)).request("GET", "/"), Options{}, "http1", "head_too_large"},
		{"two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n").request("GET", "/"), Options{}, "http1", "malformed_response"},
		{"malformed", raw("SSH-2.0-OpenSSH_9.2\r\n").request("GET", "/"), Options{}, "http1", "not_http"},
		{"HTTP/2 from a server without", plain.request("GET", "/"), Options{Version: PriorHTTP2}, "http2", "protocol_error"},
	} {
		c := newClient(t, f.opt)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_, err := c.Do(ctx, f.req)
		cancel()
		var e *Error
		if !errors.As(err, &e) || e.Layer != f.layer || f.code != "" && e.Code != f.code {
			t.Errorf("%s: %v (%+v)", f.name, err, e)
			continue
		}
		tr := c.trace()
		x := tr.Exchanges[0]
		if x.Failure == nil || x.Failure.Seen != e.Seen {
			t.Errorf("%s: the trace says %+v", f.name, x.Failure)
		}
	}
}

func TestShortBodyKeepsWhatCame(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
		conn.Close()
	}()
	c := newClient(t, Options{})
	resp, err := c.Do(context.Background(), (&origin{Server: &httptest.Server{URL: "http://" + l.Addr().String()}}).request("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	var e *Error
	if string(b) != "only this" || !errors.As(err, &e) || e.Code != "body_truncated" || !strings.Contains(e.Seen, "9 of 100") {
		t.Errorf("%q, %v", b, err)
	}
	x := c.trace().Exchanges[0]
	if x.Response == nil || x.Response.Body.Complete || x.Response.Body.WireSize != 9 || x.Failure == nil {
		t.Errorf("%+v", x)
	}
}

func TestTimeoutAndCancellation(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	wait := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-stop })
	for _, h2 := range []bool{false, true} {
		o := newOrigin(t, true, h2, wait)
		c := newClient(t, Options{Roots: o.roots()})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		_, err := c.Do(ctx, o.request("GET", "/"))
		cancel()
		var e *Error
		if !errors.As(err, &e) || e.Code != "timeout" {
			t.Errorf("h2=%v: %v", h2, err)
		}
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err = c.Do(ctx, o.request("GET", "/")); !errors.As(err, &e) || e.Code != "cancelled" {
			t.Errorf("h2=%v: %v", h2, err)
		}
		o.CloseClientConnections()
	}
}

func TestResponseThatDoesNotComeIsGivenUpWithoutAContext(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	wait := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if r.URL.Path == "/body" {
			io.WriteString(w, "some")
			w.(http.Flusher).Flush()
		}
		<-stop
	})
	silent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-stop })
	for _, h2 := range []bool{false, true} {
		o := newOrigin(t, true, h2, silent)
		c := newClient(t, Options{Roots: o.roots(), ResponseTimeout: 100 * time.Millisecond})
		var e *Error
		if _, err := c.Do(context.Background(), o.request("GET", "/")); !errors.As(err, &e) || e.Code != "response_timeout" {
			t.Errorf("h2=%v: %v", h2, err)
		}
		o.CloseClientConnections()
		o = newOrigin(t, true, h2, wait)
		c = newClient(t, Options{Roots: o.roots(), StallTimeout: 100 * time.Millisecond})
		resp, err := c.Do(context.Background(), o.request("GET", "/body"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "some" || !errors.As(err, &e) || e.Code != "stalled" {
			t.Errorf("h2=%v: %q, %v", h2, b, err)
		}
		o.CloseClientConnections()
	}
}

func TestSecondConnectionResumesTLS(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		o := newOrigin(t, true, true, handler())
		c := newClient(t, Options{Roots: o.roots(), MaxVersion: v})
		do(t, c, o.request("GET", "/slow"))
		c.CloseIdle("the test wants a second connection")
		do(t, c, o.request("GET", "/slow"))
		tr := c.trace()
		var resumed []bool
		for _, cn := range tr.Connections {
			if cn.TLS != nil {
				resumed = append(resumed, cn.TLS.Resumed)
				if !cn.TLS.Decrypted || cn.TLS.Undecryptable != "" {
					t.Errorf("%x: connection %d was not decrypted: %s", v, cn.ID, cn.TLS.Undecryptable)
				}
			}
		}
		if len(resumed) != 2 || resumed[0] || !resumed[1] {
			t.Errorf("%x: resumed %v", v, resumed)
		}
	}
}
