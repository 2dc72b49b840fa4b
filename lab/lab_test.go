package lab

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	mdns "github.com/miekg/dns"
)

func up(t *testing.T) *Lab {
	t.Helper()
	l, err := Up(context.Background(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func ask(t *testing.T, l *Lab, network, name string, typ uint16) *mdns.Msg {
	t.Helper()
	q := new(mdns.Msg).SetQuestion(name, typ)
	c := mdns.Client{Net: network, Timeout: 5 * time.Second}
	m, _, err := c.Exchange(q, l.dnsAddr.String())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestNamesOfTheLabAnswerOverUDPAndTCP(t *testing.T) {
	l := up(t)
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, l, network, "www.example.com.", mdns.TypeA)
		if len(m.Answer) != 2 || m.Answer[0].Header().Rrtype != mdns.TypeCNAME || m.Answer[1].(*mdns.A).A.String() != "127.0.0.1" {
			t.Errorf("%s: %v", network, m)
		}
		if m := ask(t, l, network, "missing.example.com.", mdns.TypeA); m.Rcode != mdns.RcodeNameError || len(m.Ns) != 1 {
			t.Errorf("%s: %v", network, m)
		}
		if m := ask(t, l, network, "golang.org.", mdns.TypeA); m.Rcode != mdns.RcodeNameError {
			t.Errorf("%s: %v", network, m)
		}
	}
}

func TestEveryNameHasAnAddressACertificateAndAPort(t *testing.T) {
	l := up(t)
	for _, name := range hostNames {
		m := ask(t, l, "udp", name+".", mdns.TypeA)
		if len(m.Answer) == 0 {
			t.Errorf("%s has no address", name)
			continue
		}
		port, ok := l.Port(name, 443)
		if !ok {
			t.Errorf("%s has no port", name)
			continue
		}
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		c, err := tls.Dial("tcp", addr.String(), &tls.Config{ServerName: name, RootCAs: l.Roots(), NextProtos: []string{"h2"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	if _, ok := l.Port("example.com", 8080); ok {
		t.Error("a port that nothing listens on")
	}
}

// browser is a client inside the lab.
func browser(t *testing.T, l *Lab) *http.Client {
	tr := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: l.Roots()},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, _ := strings.Cut(addr, ":")
			p, ok := l.Port(host, map[string]uint16{"80": 80, "443": 443}[port])
			if !ok {
				t.Errorf("%s is not in the lab", addr)
			}
			return new(net.Dialer).DialContext(ctx, network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p).String())
		}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func TestOriginPaths(t *testing.T) {
	l := up(t)
	c := browser(t, l)
	for _, base := range []string{"http://example.com", "https://www.example.org"} {
		for _, p := range []struct {
			path   string
			status int
			body   string // a part of it
		}{
			{"/", 200, "<h1>Example</h1>"},
			{"/api/users", 200, `"Ada Lovelace"`},
			{"/api/users/2", 200, `{"id":2,"name":"Grace Hopper"}` + "\n"},
			{"/api/users/9", 404, "no such user"},
			{"/nothing/here", 404, `{"error":"not found"}`},
			{"/redirect/3", 200, "<h1>Example</h1>"},
			{"/chunked", 200, "chunk 0\nchunk 1\nchunk 2\nchunk 3\nchunk 4\n"},
			{"/trailers", 200, "with a trailer\n"},
			{"/slow/10", 200, "slow\n"},
			{"/status/418", 418, ""},
			{"/status/204", 204, ""},
			{"/cookie", 200, "you sent: "},
			{"/basic-auth", 401, ""},
			{"/early-hints", 200, "<h1>Example</h1>"},
		} {
			resp, err := c.Get(base + p.path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != p.status || !strings.Contains(string(b), p.body) {
				t.Errorf("%s%s: %s %q %v", base, p.path, resp.Status, b, err)
			}
			if p.path == "/trailers" && resp.Trailer.Get("X-Checksum") != "1234" {
				t.Errorf("%s%s: trailer %v", base, p.path, resp.Trailer)
			}
		}
		if _, err := c.Get(base + "/redirect-loop"); err == nil {
			t.Error("the redirect loop ended")
		}
		for _, path := range []string{"/short-body", "/close-early"} {
			resp, err := c.Get(base + path)
			if err != nil {
				continue
			}
			if _, err = io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s%s looks whole", base, path)
			}
		}
		resp, err := c.Post(base+"/echo", "text/x-test", strings.NewReader("back again"))
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); string(b) != "back again" || resp.Header.Get("Content-Type") != "text/x-test" {
			t.Errorf("echo: %q %v", b, resp.Header)
		}
		resp, err = c.Get(base + "/bytes/1000000")
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); len(b) != 1000000 || resp.ContentLength != 1000000 {
			t.Errorf("bytes: %d", len(b))
		}
	}
}

// Other implementations read the encoded variants.
func TestContentCodings(t *testing.T) {
	l := up(t)
	c := browser(t, l)
	for coding, open := range map[string]func(io.Reader) (io.Reader, error){
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
		"br":      func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		"zstd":    func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		resp, err := c.Get("https://example.com/" + coding)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		r, err := open(bytes.NewReader(b))
		if err != nil || resp.Header.Get("Content-Encoding") != coding {
			t.Errorf("%s: %v %v", coding, err, resp.Header)
			continue
		}
		if text, err := io.ReadAll(r); err != nil || len(text) != 200*len("the same line again and again\n") {
			t.Errorf("%s: %d bytes, %v", coding, len(text), err)
		}
	}
}

func TestLabEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	l, err := Up(ctx, Options{})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := net.Dial("tcp", l.dnsAddr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	cancel()
	l.Close()
	if _, err := net.Dial("tcp", l.dnsAddr.String()); err == nil {
		t.Error("the name server still listens")
	}
	port, _ := l.Port("example.com", 80)
	if _, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String()); err == nil {
		t.Error("the origin still listens")
	}
}
