package analyze

import (
	"slices"
	"strings"
	"testing"

	"peel/trace"
)

const (
	get = "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n"
	ok  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
)

// What passes through a proxy is read as if there were none, in whatever pieces
// it comes.
func TestThroughAProxy(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []any
		proxy  trace.Proxy
		url    string
		events []string
	}{
		{"SOCKS5", []any{"\x05\x01\x00", []byte("\x05\x00"), "\x05\x01\x00\x03\x0bexample.com\x00\x50", []byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"), get, []byte(ok)},
			trace.Proxy{Protocol: "SOCKS5", Target: "example.com:80"}, "http://example.com/a",
			[]string{"SOCKS5 client offers no authentication", "SOCKS5 proxy chooses: no authentication", "SOCKS5 CONNECT example.com:80", "SOCKS5 reply: succeeded"}},
		{"SOCKS5 with a password, byte by byte", slices.Concat(each("\x05\x01\x02"), []any{[]byte("\x05"), []byte("\x02")}, each("\x01\x03ada\x06secret"), []any{[]byte("\x01\x00")},
			each("\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"), []any{[]byte("\x05\x00\x00\x01\x00\x00\x00"), []byte("\x00\x00\x00"), get, []byte(ok)}),
			trace.Proxy{Protocol: "SOCKS5", Target: "192.0.2.1:80"}, "http://example.com/a",
			[]string{"SOCKS5 client offers user name and password", "SOCKS5 proxy chooses: user name and password", "SOCKS5 user ada with a password", "SOCKS5 proxy takes the password",
				"SOCKS5 CONNECT 192.0.2.1:80", "SOCKS5 reply: succeeded"}},
		{"SOCKS4a", []any{"\x04\x01\x00\x50\x00\x00\x00\x01ada\x00example.com\x00", []byte("\x00\x5a\x00\x00\x00\x00\x00\x00"), get, []byte(ok)},
			trace.Proxy{Protocol: "SOCKS4", Target: "example.com:80"}, "http://example.com/a", []string{"SOCKS4 CONNECT example.com:80", "SOCKS4 reply: granted"}},
		{"HTTP CONNECT", []any{"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", []byte("HTTP/1.1 200 Connection established\r\n\r\n"), get, []byte(ok)},
			trace.Proxy{Protocol: "HTTP CONNECT", Target: "example.com:80"}, "http://example.com/a", nil},
		{"HTTP CONNECT, not waiting for the answer", []any{"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n" + get, []byte("HTTP/1.1 200 Connection established\r\n\r\n" + ok)},
			trace.Proxy{Protocol: "HTTP CONNECT", Target: "example.com:80"}, "http://example.com/a", nil},
		{"HTTP CONNECT, refused, then a request", []any{"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", []byte("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"),
			"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n", []byte("HTTP/1.1 200 OK\r\n\r\n"), get, []byte(ok)},
			trace.Proxy{Protocol: "HTTP CONNECT", Target: "example.com:80"}, "http://example.com/a", nil},
	} {
		a := New(Limits{})
		for _, r := range socket(c.pieces...) {
			a.Add(r)
		}
		tr := a.Trace()
		x := tr.Exchanges[len(tr.Exchanges)-1]
		if x.URL != c.url || x.Response == nil || x.Response.Status != 200 || !x.Response.Body.Complete || x.Reused {
			t.Errorf("%s: %+v", c.name, x)
		}
		if x.Proxy == nil || x.Proxy.Protocol != c.proxy.Protocol || x.Proxy.Target != c.proxy.Target {
			t.Errorf("%s: proxy %+v", c.name, x.Proxy)
		}
		if p := tr.Connections[0].Protocol; p != "HTTP/1.1" {
			t.Errorf("%s: protocol %q", c.name, p)
		}
		var got []string
		for _, e := range tr.Events {
			if e.Layer == "socks" {
				got = append(got, e.Text)
				if len(Fields(tr, e)) < 2 {
					t.Errorf("%s: %s has no fields", c.name, e.Name)
				}
				if strings.Contains(string(e.Raw), "secret") {
					t.Errorf("%s: the password is kept", c.name)
				}
			}
		}
		if !slices.Equal(got, c.events) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// each sends a message byte by byte.
func each(s string) (out []any) {
	for i := range s {
		out = append(out, s[i:i+1])
	}
	return out
}

func TestProxyRefuses(t *testing.T) {
	for want, pieces := range map[string][]any{
		"the SOCKS5 proxy did not connect to example.com:80: connection refused": {"\x05\x01\x00", []byte("\x05\x00"), "\x05\x01\x00\x03\x0bexample.com\x00\x50",
			[]byte("\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")},
		"the SOCKS5 proxy accepts no way to authenticate that the client offers": {"\x05\x01\x00", []byte("\x05\xff")},
		"the SOCKS5 proxy refuses the user name or password":                     {"\x05\x01\x02", []byte("\x05\x02"), "\x01\x03ada\x03bad", []byte("\x01\x01")},
	} {
		a := New(Limits{})
		for _, r := range socket(pieces...) {
			a.Add(r)
		}
		if f := a.Trace().Connections[0].Failure; f == nil || f.Seen != want || f.Code != trace.FailProxyRefused || f.Try == "" {
			t.Errorf("%+v, want %q", f, want)
		}
	}
}

// What is no SOCKS is not taken for it.
func TestNoSOCKS(t *testing.T) {
	for _, pieces := range [][]any{{"\x05\x01\x00", []byte("hello, I talk first")},
		{"\x05\x64\x08\xc4\x04\x00\x03\x00\xb4\xb8", []byte("\x05\x64\x0a\x44\x03\x00\x04\x00\x7c\xae"), "\x05\x64\x12" + strings.Repeat("\xc4", 100)}, // DNP3
		{"\x05\x01\x00", []byte("\x05\x02")},                                                 // chooses what was not offered
		{"\x04\x03\x00\x08\x00\x00\x01\x9a\x00", []byte("\x00\x5a\x00\x00\x00\x00\x00\x00")}, // SOCKS4 has two commands
		{"\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, {get, []byte(ok)}} {
		a := New(Limits{})
		for _, r := range socket(pieces...) {
			a.Add(r)
		}
		tr := a.Trace()
		if p := tr.Connections[0].Protocol; p == "SOCKS" || p == "" && len(pieces) > 1 {
			t.Errorf("%q: protocol %q", pieces, p)
		}
		for _, e := range tr.Events {
			if e.Layer == "socks" {
				t.Errorf("%q is taken for SOCKS: %s", pieces, e.Text)
			}
		}
	}
}

// A tunnel through which nothing passed was asked for in a protocol.
func TestNothingPassed(t *testing.T) {
	for want, pieces := range map[trace.Protocol][]any{
		"SOCKS":    {"\x05\x01\x00", []byte("\x05\x00"), "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", []byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")},
		"HTTP/1.1": {"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", []byte("HTTP/1.1 200 OK\r\n\r\n")},
	} {
		a := New(Limits{})
		for _, r := range socket(pieces...) {
			a.Add(r)
		}
		if c := a.Trace().Connections[0]; c.Protocol != want || c.Proxy == nil {
			t.Errorf("protocol %q, proxy %v, want %q", c.Protocol, c.Proxy, want)
		}
	}
}

// A CONNECT with a path, which is malformed, keeps the host in its URL.
func TestConnectWithAPath(t *testing.T) {
	a := New(Limits{})
	for _, r := range socket("CONNECT / HTTP/1.1\r\nHost: a.example\r\n\r\n", []byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) {
		a.Add(r)
	}
	if u := a.Trace().Exchanges[0].URL; u != "http://a.example/" {
		t.Error(u)
	}
}

// A client that begins like SOCKS and is never answered is not waited for
// without end: what is kept of a beginning is bounded, also byte by byte.
func TestOpeningIsBounded(t *testing.T) {
	a := New(Limits{})
	for _, r := range socket(append([]any{"\x05\x01\x00"}, each(strings.Repeat("x", 2*maxOpeningOut))...)...) {
		a.Add(r)
		if n := len(a.conns[1].root.early[0]); n > maxOpeningOut+1 {
			t.Fatalf("%d pieces are kept", n)
		}
	}
	if l := &a.conns[1].root; l.dec == nil || l.early[0] != nil {
		t.Error("the beginning is still kept")
	}
}
