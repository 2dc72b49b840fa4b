package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/internal/needs"
)

// way is one way to reach a server.
type way struct {
	name, base, protocol string
	curl                 []string
	transport            *http.Transport
}

func ways(s *running) []way {
	protocols := func(set func(*http.Protocols)) *http.Protocols {
		p := new(http.Protocols)
		set(p)
		return p
	}
	h1 := protocols(func(p *http.Protocols) { p.SetHTTP1(true) })
	h2 := protocols(func(p *http.Protocols) { p.SetHTTP2(true); p.SetUnencryptedHTTP2(true) })
	trust := func() *tls.Config { return &tls.Config{RootCAs: s.roots} }
	return []way{
		{"h1", "http://" + s.plain, "HTTP/1.1", []string{"--http1.1"}, &http.Transport{Protocols: h1}},
		{"h1 TLS", "https://" + s.secure, "HTTP/1.1", []string{"--http1.1", "--cacert", s.rootFile}, &http.Transport{Protocols: h1, TLSClientConfig: trust()}},
		{"h2c", "http://" + s.plain, "HTTP/2", []string{"--http2-prior-knowledge"}, &http.Transport{Protocols: h2}},
		{"h2 TLS", "https://" + s.secure, "HTTP/2", []string{"--http2", "--cacert", s.rootFile}, &http.Transport{Protocols: h2, TLSClientConfig: trust()}},
	}
}

func TestNetHTTPClient(t *testing.T) {
	s := start(t, &Server{})
	for _, way := range ways(s) {
		t.Run(way.name, func(t *testing.T) {
			c := &http.Client{Transport: way.transport, Timeout: 30 * time.Second}
			defer way.transport.CloseIdleConnections()
			do := func(method, path string, body io.Reader) (*http.Response, string) {
				t.Helper()
				req, err := http.NewRequest(method, way.base+path, body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				return resp, string(b)
			}
			scheme, host, _ := strings.Cut(way.base, "://")
			if _, b := do("GET", "/method?a=1", nil); b != fmt.Sprintf("%s GET %s %s|/method|a=1", way.protocol, scheme, host) {
				t.Errorf("%q", b)
			}
			if resp, b := do("HEAD", "/", nil); b != "" || resp.ContentLength != 13 {
				t.Errorf("HEAD: %q %d", b, resp.ContentLength)
			}
			big, _ := io.ReadAll(io.LimitReader(pattern{}, 1<<20))
			if _, b := do("POST", "/echo", bytes.NewReader(big)); b != string(big) {
				t.Errorf("echo: %d bytes", len(b))
			}
			if resp, b := do("POST", "/echo", io.MultiReader(bytes.NewReader(big))); b != string(big) || resp.ContentLength != -1 {
				t.Errorf("echo without a length: %d bytes", len(b))
			}
			if _, b := do("GET", "/big?3000000", nil); len(b) != 3000000 {
				t.Errorf("big: %d bytes", len(b))
			}
			if resp, b := do("GET", "/trailer", nil); b != "body" || resp.Trailer.Get("X-Sum") != "42" {
				t.Errorf("trailer: %q %v", b, resp.Trailer)
			}
			if _, b := do("GET", "/flush", nil); b != "one two three" {
				t.Errorf("flush: %q", b)
			}
			if resp, _ := do("GET", "/status?304", nil); resp.StatusCode != 304 {
				t.Error(resp.Status)
			}
			if resp, _ := do("GET", "/panic", nil); resp.StatusCode != 500 {
				t.Error(resp.Status)
			}
			for _, path := range []string{"/short", "/late-panic"} {
				resp, err := c.Get(way.base + path)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%s: a part, %q, was taken for the whole", path, b)
				}
			}
			trailing(t, c, way.base)
			hinted(t, c, way.base)
			parallel(t, c, way.base)
		})
	}
}

// trailing sends a trailer.
func trailing(t *testing.T, c *http.Client, base string) {
	req, _ := http.NewRequest("POST", base+"/length", io.MultiReader(strings.NewReader("hello")))
	req.Trailer = http.Header{"X-Sum": {"abc"}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "5 <nil> abc" {
		t.Errorf("%q", b)
	}
}

// hinted gets an interim response.
func hinted(t *testing.T, c *http.Client, base string) {
	link := ""
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error { link = fmt.Sprint(code, h["Link"]); return nil }})
	req, _ := http.NewRequestWithContext(ctx, "GET", base+"/hints", nil)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "page" || link != "103 [</style.css>; rel=preload]" {
		t.Errorf("%q %q", b, link)
	}
}

func parallel(t *testing.T, c *http.Client, base string) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			body := strings.Repeat(string(rune('a'+i%26)), 1000*i)
			resp, err := c.Post(base+"/echo", "text/plain", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != body {
				t.Errorf("stream %d: %d of %d bytes, %v", i, len(b), len(body), err)
			}
		})
	}
	wg.Wait()
}

func TestCurl(t *testing.T) {
	needs.Tool(t, "curl")
	s := start(t, &Server{})
	big := filepath.Join(t.TempDir(), "big")
	content, _ := io.ReadAll(io.LimitReader(pattern{}, 1<<20))
	if err := os.WriteFile(big, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range ways(s) {
		t.Run(way.name, func(t *testing.T) {
			curl := func(args ...string) string {
				t.Helper()
				return runTool(t, "curl", append(append([]string{"-sS", "-m", "30"}, way.curl...), args...)...)
			}
			version := strings.TrimSuffix(way.protocol[5:], ".0")
			if out := curl("-w", "%{http_version}", way.base+"/"); out != "hello, world\n"+version {
				t.Errorf("%q", out)
			}
			if out := curl("-I", way.base+"/"); !strings.Contains(strings.ToLower(out), "content-length: 13\r\n") {
				t.Errorf("%q", out)
			}
			for _, form := range [][]string{
				{"--data-binary", "@" + big},
				{"--data-binary", "@" + big, "-H", "Expect: 100-continue"},
				{"-T", big, "-X", "POST", "-H", "Transfer-Encoding: chunked"},
			} {
				if way.protocol == "HTTP/2" && form[0] == "-T" {
					form = form[:4]
				}
				if out := curl(append(form, way.base+"/echo")...); out != string(content) {
					t.Errorf("%v: %d bytes came back", form, len(out))
				}
			}
			// A response before the body was sent; curl stops sending.
			if out := curl("-w", "%{http_code}", "--data-binary", "@"+big, way.base+"/status?403"); out != "403" {
				t.Errorf("%q", out)
			}
			if way.name == "h2c" {
				// curl 7.88 stumbles over its own second request on such a
				// connection, whoever serves it.
				return
			}
			// Connections are kept: the second request opens none.
			out := curl("-w", "%{num_connects}\n", "-o", "/dev/null", way.base+"/", "-o", "/dev/null", way.base+"/big?100000")
			if out != "1\n0\n" {
				t.Errorf("connections opened: %q", out)
			}
		})
	}
	if out := runTool(t, "curl", "-sS", "-0", "-i", "http://"+s.plain+"/flush"); !strings.HasSuffix(out, "Connection: close\r\n\r\none two three") {
		t.Errorf("%q", out)
	}
}

func TestNghttp(t *testing.T) {
	needs.Tool(t, "nghttp")
	s := start(t, &Server{})
	out := runTool(t, "nghttp", "-v", "http://"+s.plain+"/trailer", "http://"+s.plain+"/hints", "http://"+s.plain+"/big?100000")
	for _, wanted := range []string{":status: 103", "x-sum: 42"} {
		if !strings.Contains(out, wanted) {
			t.Errorf("no %q in %s", wanted, out)
		}
	}
	out = runTool(t, "nghttp", "-ns", "-m", "200", "https://"+s.secure+"/big?5000")
	if n := strings.Count(out, " 200 "); n != 200 {
		t.Errorf("%d of 200 answered: %s", n, out)
	}
}

func TestLoadTools(t *testing.T) {
	needs.Long(t)
	s := start(t, &Server{})
	t.Run("h2load", func(t *testing.T) {
		for _, base := range []string{"https://" + s.secure, "http://" + s.plain} {
			out := runTool(t, "h2load", "-n", "5000", "-c", "8", "-m", "32", base+"/", base+"/big?20000")
			if !strings.Contains(out, "5000 succeeded, 0 failed, 0 errored") {
				t.Errorf("%s", out)
			}
		}
		out := runTool(t, "h2load", "--h1", "-n", "2000", "-c", "8", "-m", "4", "http://"+s.plain+"/")
		if !strings.Contains(out, "2000 succeeded, 0 failed, 0 errored") {
			t.Errorf("%s", out)
		}
	})
	t.Run("wrk", func(t *testing.T) {
		out := runTool(t, "wrk", "-t1", "-c16", "-d1s", "http://"+s.plain+"/")
		if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
			t.Errorf("%s", out)
		}
	})
}

var specResult = regexp.MustCompile(`(\d+) tests, (\d+) passed, \d+ skipped, (\d+) failed`)

// TestRFC9113_h2spec runs the conformance suite, strict, in clear and over TLS.
func TestRFC9113_h2spec(t *testing.T) {
	needs.Long(t)
	needs.Tool(t, "h2spec")
	s := start(t, &Server{Versions: OnlyHTTP2})
	for _, form := range [][]string{{s.plain}, {s.secure, "-t", "-k"}} {
		host, port, _ := strings.Cut(form[0], ":")
		args := append([]string{"--strict", "-o", "2", "-h", host, "-p", port}, form[1:]...)
		out := runTool(t, "h2spec", args...)
		if m := specResult.FindStringSubmatch(out); m == nil || m[1] != m[2] {
			t.Errorf("%s", out)
		}
	}
}

func TestRecorderHoldsWhatWasOnTheWireAndItsSecrets(t *testing.T) {
	rec := capture.NewRecorder(clock.NewReal(), capture.Options{})
	s := start(t, &Server{Recorder: rec})
	for _, way := range ways(s) {
		resp, err := way.transport.RoundTrip(request(t, way.base+"/"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		way.transport.CloseIdleConnections()
	}
	s.Shutdown(context.Background())
	rec.Close()
	var in, out [5]int
	secrets := map[uint32]int{}
	for c := rec.Cursor(); ; {
		r, ok := c.Next(false)
		if !ok {
			break
		}
		switch {
		case r.Kind == capture.Secret:
			secrets[r.Socket]++
		case r.Kind == capture.Stream && r.Dir == capture.In:
			in[r.Socket] += len(r.Data)
		case r.Kind == capture.Stream:
			out[r.Socket] += len(r.Data)
		}
	}
	for socket := 1; socket <= 4; socket++ {
		if in[socket] == 0 || out[socket] == 0 {
			t.Errorf("socket %d: %d bytes in, %d out", socket, in[socket], out[socket])
		}
	}
	if len(secrets) != 2 {
		t.Errorf("secrets of the sockets %v", secrets)
	}
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
