package peel_test

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"peel"
	"peel/client"
	"peel/trace"
)

func newServer(t *testing.T, h http.HandlerFunc) (*httptest.Server, peel.Options) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, peel.Options{Options: client.Options{Roots: roots}}
}

// patience bounds what is waited for.
const patience = 30 * time.Second

const onlyHTTP1 = client.OnlyHTTP1

// newClearServer is a server without TLS.
func newClearServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func newClient(t *testing.T, o peel.Options) *peel.Client {
	t.Helper()
	c, err := peel.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// traceOf returns the trace of a response, whose last exchange is its own.
func traceOf(t *testing.T, resp *http.Response) (*trace.Trace, *trace.Exchange) {
	t.Helper()
	tr, err := peel.TraceOf(resp)
	if err != nil {
		t.Fatal(err)
	}
	return tr, tr.Exchanges[len(tr.Exchanges)-1]
}

func TestClientIsARoundTripperWhoseResponsesHaveATrace(t *testing.T) {
	s, o := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/old":
			http.Redirect(w, r, "/new", http.StatusFound)
		default:
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-Test"), b)
		}
	})
	c := newClient(t, o)
	hc := &http.Client{Transport: c}

	req, _ := http.NewRequest("POST", s.URL+"/x?q=1", strings.NewReader("body"))
	req.Header.Set("X-Test", "yes")
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(b) != "POST yes body" || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
		t.Fatalf("%q %v %v", b, err, resp.Proto)
	}
	tr, x := traceOf(t, resp)
	if len(tr.Exchanges) != 1 || len(tr.Connections) == 0 || len(tr.Lookups) != 1 {
		t.Fatalf("trace: %+v", tr)
	}
	if x.Method != "POST" || x.Response.Status != 200 || x.Request.Body.WireSize != 4 || !x.Response.Body.Complete || x.Timings.SSL == nil {
		t.Errorf("exchange: %+v", x)
	}

	// http.Client follows redirects with it; each request is an exchange.
	resp, err = hc.Get(s.URL + "/old")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	tr, x = traceOf(t, resp)
	if x.URL != s.URL+"/new" || !x.Reused || x.Timings.Connect != nil {
		t.Errorf("after a redirect: %+v", x)
	}
	if all := c.Trace(); len(all.Exchanges) != 3 || all.Exchanges[1].Response.Status != 302 {
		t.Errorf("%d exchanges in all", len(all.Exchanges))
	}
	if len(tr.Exchanges) != 2 || x.Cause != "redirect" || x.Predecessor != tr.Exchanges[0].ID || tr.Exchanges[0].URL != s.URL+"/old" {
		t.Errorf("what led to it: %+v", tr.Exchanges)
	}
	if tr, err := peel.TraceOf(&http.Response{Body: http.NoBody}); tr != nil || err != peel.ErrNotTraced {
		t.Errorf("of a response from elsewhere: %v, %v", tr, err)
	}
}

// Any header can be followed down to the bytes that carried it, and its
// events say when.
func TestProvenanceFromHeaderToStream(t *testing.T) {
	s, o := newServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	c := newClient(t, o)
	resp, err := (&http.Client{Transport: c}).Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	tr, _ := traceOf(t, resp)
	for _, h := range tr.Exchanges[0].Response.Headers {
		if h.Bytes == nil || h.Bytes.Space != "tls" || h.Bytes.Length != int64(h.Size) {
			t.Fatalf("%s: %+v", h.Name, h)
		}
		below := tr.Down(*h.Bytes)
		if len(below) != 1 || below[0].Space != "stream" || below[0].Length <= h.Bytes.Length {
			t.Errorf("%s: %v lies on %v", h.Name, h.Bytes, below)
		}
		if tr.Down(below[0]) != nil {
			t.Error("there is something below the stream although no packet was seen")
		}
	}
}

func TestErrorsNameTheLayer(t *testing.T) {
	c := newClient(t, peel.Options{})
	_, err := (&http.Client{Transport: c}).Get("http://127.0.0.1:1/")
	if err == nil || !strings.Contains(err.Error(), "tcp: 127.0.0.1:1 refused") {
		t.Error(err)
	}
	if _, err := (&http.Client{Transport: c}).Get("gopher://127.0.0.1/"); err == nil || !strings.Contains(err.Error(), "only http and https") {
		t.Error(err)
	}
}
