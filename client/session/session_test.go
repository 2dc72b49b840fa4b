package session

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"peel/client"
	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/cookie"
	"peel/internal/netrc"
	"peel/internal/weburl"
	"peel/trace"
	"peel/wire/httpfield"
)

type fixture struct {
	t    *testing.T
	a, b *httptest.Server // two hosts: 127.0.0.1 and localhost's other port
	rec  *capture.Recorder
	c    *client.Client
	clk  clock.Clock
	seen []string // what the servers got: method, path, and fields of interest
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{t: t, clk: clock.NewReal()}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.seen = append(f.seen, fmt.Sprintf("%s %s auth=%q cookie=%q body=%q", r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Cookie"), body))
		q := r.URL.Query()
		if c := q.Get("cookie"); c != "" {
			w.Header().Set("Set-Cookie", c)
		}
		if code := q.Get("to"); code != "" {
			var n int
			fmt.Sscan(code, &n)
			w.Header().Set("Location", q.Get("at"))
			w.WriteHeader(n)
			return
		}
		io.WriteString(w, "done")
	})
	f.a, f.b = httptest.NewServer(h), httptest.NewServer(h)
	f.rec = capture.NewRecorder(f.clk, capture.Options{})
	f.c = client.New(client.Options{Clock: f.clk, Recorder: f.rec, Roots: x509.NewCertPool()})
	t.Cleanup(func() { f.c.Close(); f.a.Close(); f.b.Close() })
	return f
}

func (f *fixture) fetch(o Options, method, url string, header httpfield.List, body string) (*Response, error) {
	f.t.Helper()
	o.Client, o.Recorder, o.Clock, o.UserAgent = f.c, f.rec, f.clk, "test"
	u, err := weburl.Parse(url)
	if err != nil {
		f.t.Fatal(err)
	}
	r := &Request{Method: method, URL: u, Input: url, Header: header}
	if body != "" {
		r.ContentLength = int64(len(body))
		r.Body = func() (io.Reader, error) { return strings.NewReader(body), nil }
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	f.t.Cleanup(cancel)
	f.seen = nil
	resp, err := New(o).Fetch(ctx, r)
	if resp != nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

func (f *fixture) trace() *trace.Trace {
	a := analyze.New(analyze.Limits{})
	a.Read(f.rec.Cursor(), false)
	return a.Trace()
}

func TestRFC9110_15_4_Redirects(t *testing.T) {
	for _, c := range []struct {
		status       int
		method, want string
	}{
		{301, "GET", `GET /end auth="" cookie="" body=""`},
		{301, "POST", `GET /end auth="" cookie="" body=""`},
		{302, "POST", `GET /end auth="" cookie="" body=""`},
		{303, "PUT", `GET /end auth="" cookie="" body=""`},
		{303, "HEAD", `HEAD /end auth="" cookie="" body=""`},
		{307, "POST", `POST /end auth="" cookie="" body="content"`},
		{308, "PUT", `PUT /end auth="" cookie="" body="content"`},
	} {
		f := newFixture(t)
		body := "content"
		if c.method == "GET" || c.method == "HEAD" {
			body = ""
		}
		resp, err := f.fetch(Options{Follow: true}, c.method, fmt.Sprintf("%s/?to=%d&at=/end", f.a.URL, c.status), nil, body)
		if err != nil || resp.Status != 200 || f.seen[len(f.seen)-1] != c.want {
			t.Errorf("%d to %s: %v, the server saw %q", c.status, c.method, err, f.seen)
		}
		tr := f.trace()
		if len(tr.Exchanges) != 2 || tr.Exchanges[1].Predecessor != 1 || tr.Exchanges[1].Cause != "redirect" {
			t.Errorf("%d: %d exchanges", c.status, len(tr.Exchanges))
		}
	}
}

func TestRedirectsAreNotFollowedUnasked(t *testing.T) {
	f := newFixture(t)
	resp, err := f.fetch(Options{}, "GET", f.a.URL+"/?to=302&at=/end", nil, "")
	if err != nil || resp.Status != 302 || len(f.seen) != 1 {
		t.Errorf("%v %v", err, f.seen)
	}
}

func TestRedirectLoopEnds(t *testing.T) {
	f := newFixture(t)
	resp, err := f.fetch(Options{Follow: true, MaxRedirects: 4}, "GET", f.a.URL+"/?to=302&at=?to=302%26at=/x", nil, "")
	if err != nil || resp.Status != 200 {
		t.Fatal(err)
	}
	loop := f.a.URL + "/loop?to=302&at="
	resp, err = f.fetch(Options{Follow: true, MaxRedirects: 4}, "GET", loop, nil, "")
	var e *client.Error
	if !errors.As(err, &e) || e.Code != "too_many_redirects" || len(f.seen) != 5 || resp == nil {
		t.Errorf("%v after %d requests", err, len(f.seen))
	}
}

// CVE-2018-1000007: what was meant for one host goes to no other.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	f := newFixture(t)
	header := httpfield.List{{Name: "Authorization", Value: "Bearer abc"}, {Name: "Cookie", Value: "a=b"}}
	url := f.a.URL + "/?to=302&at=" + f.b.URL + "/other"
	if _, err := f.fetch(Options{Follow: true}, "GET", url, header, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.seen[0], "Bearer abc") || !strings.Contains(f.seen[0], "a=b") || f.seen[1] != `GET /other auth="" cookie="" body=""` {
		t.Errorf("%q", f.seen)
	}
	if _, err := f.fetch(Options{Follow: true, HasUser: true, User: "u", Password: "p"}, "GET", url, nil, ""); err != nil ||
		!strings.Contains(f.seen[0], "Basic dTpw") || strings.Contains(f.seen[1], "Basic") {
		t.Errorf("-u: %v %q", err, f.seen)
	}
	if _, err := f.fetch(Options{Follow: true, HasUser: true, User: "u", Password: "p", TrustRedirects: true}, "GET", url, nil, ""); err != nil || !strings.Contains(f.seen[1], "Basic dTpw") {
		t.Errorf("trusted: %v %q", err, f.seen)
	}
}

func TestCredentialsFromURLAndNetrc(t *testing.T) {
	f := newFixture(t)
	if _, err := f.fetch(Options{}, "GET", strings.Replace(f.a.URL, "http://", "http://u:p@", 1)+"/", nil, ""); err != nil || !strings.Contains(f.seen[0], "Basic dTpw") {
		t.Errorf("%v %q", err, f.seen)
	}
	n, err := netrc.Parse([]byte("machine 127.0.0.1 login n password r"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.fetch(Options{Netrc: n}, "GET", f.a.URL+"/", nil, ""); err != nil || !strings.Contains(f.seen[0], client.Basic("n", "r")) {
		t.Errorf("%v %q", err, f.seen)
	}
}

func TestCookiesComeBackAlongARedirect(t *testing.T) {
	f := newFixture(t)
	jar := cookie.NewJar()
	if _, err := f.fetch(Options{Follow: true, Jar: jar}, "GET", f.a.URL+"/?cookie=id=7&to=302&at=/end", nil, ""); err != nil || !strings.Contains(f.seen[1], `cookie="id=7"`) {
		t.Errorf("%v %q", err, f.seen)
	}
	found := false
	for _, e := range f.trace().Events {
		found = found || e.Name == "cookie.stored" && !strings.Contains(e.Text, "=7")
	}
	if !found {
		t.Error("the trace does not tell of the cookie, or shows its value")
	}
}

func TestFieldsOfThePersonReplaceDefaultsInPlace(t *testing.T) {
	f := newFixture(t)
	if _, err := f.fetch(Options{}, "GET", f.a.URL+"/", httpfield.List{{Name: "user-agent", Value: "mine"}, {Name: "Accept", Value: ""}, {Name: "X-New", Value: "1"}}, ""); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range f.trace().Exchanges[0].Request.Headers {
		got = append(got, h.Name)
	}
	if s := strings.Join(got, " "); s != "Host User-Agent Accept-Encoding X-New" {
		t.Errorf("fields sent: %s", s)
	}
}
