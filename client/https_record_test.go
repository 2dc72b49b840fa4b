package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/stub"
	"peel/dns/zone"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/pki"
	"peel/trace"
)

// zoneServer answers from a zone; what change gives replaces an answer, and
// nil drops it.
func zoneServer(t *testing.T, text string, change func(q *dns.Message, honest []byte) []byte) *stub.Config {
	t.Helper()
	origin := dns.MustName("example.com")
	records, err := zone.Read(strings.NewReader("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ A 127.0.0.1\n"+text), "zone", zone.ReadOptions{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zone.New(origin, records...)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			out := z.Answer(buf[:n], 1232)
			if m, err := dns.Parse(buf[:n]); err == nil && change != nil {
				out = change(m, out)
			}
			if out != nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	r := stub.ParseResolvConf(nil)
	r.Servers = []netip.AddrPort{netip.MustParseAddrPort(pc.LocalAddr().String())}
	return &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: dns")), Resolv: r}
}

func TestRFC9460_HTTPSRecords(t *testing.T) {
	authority, err := pki.NewAuthority("test", false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(pki.Leaf{Names: []string{"example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	roots := x509.NewCertPool()
	roots.AddCert(authority.Root)

	silent := func(q *dns.Message, honest []byte) []byte {
		if q.Questions[0].Type == dns.TypeHTTPS {
			return nil
		}
		return honest
	}
	for _, c := range []struct {
		name, records string
		port          int // of the URL; the server's own when 0
		change        func(*dns.Message, []byte) []byte
		proto, say    string
	}{
		{"no record", "", 0, nil, "HTTP/2.0", "no HTTPS record"},
		{"port and protocol", fmt.Sprintf("_8443._https HTTPS 1 example.com. alpn=http/1.1 port=%d", port), 8443, nil, "HTTP/1.1", fmt.Sprintf("it offers http/1.1, at port %d", port)},
		{"the least priority counts", fmt.Sprintf("_8443._https HTTPS 2 example.com. port=1\n_8443._https HTTPS 1 example.com. alpn=h2 port=%d", port),
			8443, nil, "HTTP/2.0", "it offers h2, http/1.1, at port"},
		{"a record for others", fmt.Sprintf("_%d._https HTTPS 1 example.com. alpn=h3 no-default-alpn", port), 0, nil, "HTTP/2.0", "not used: it offers only h3"},
		{"a demand that is not met", fmt.Sprintf("_%d._https HTTPS 1 example.com. mandatory=ech ech=AEX+DQA=", port), 0, nil, "HTTP/2.0", "not used: it demands ech"},
		{"hints of another target", fmt.Sprintf("_8443._https HTTPS 1 cdn.example.com. ipv4hint=127.0.0.1 port=%d", port), 8443, nil, "HTTP/1.1", "HTTPS record is gone by"},
		{"another target without hints", fmt.Sprintf("_8443._https HTTPS 1 cdn.example.com. alpn=h2 port=%d\ncdn A 127.0.0.1", port), 8443, nil, "HTTP/2.0", "puts the service at cdn.example.com"},
		{"an alias of the service", fmt.Sprintf("_8443._https HTTPS 0 svc.example.com.\nsvc A 127.0.0.1\n_8443._https.svc HTTPS 1 svc.example.com. alpn=http/1.1 port=%d", port),
			8443, nil, "HTTP/1.1", "puts the service at svc.example.com"},
		{"an alias that loops", fmt.Sprintf("_%d._https HTTPS 0 svc.example.com.\nsvc A 127.0.0.1\n_%d._https.svc HTTPS 0 example.com.", port, port),
			0, nil, "HTTP/2.0", "puts the service at svc.example.com"},
		{"an alias that leads nowhere", fmt.Sprintf("_%d._https HTTPS 0 none.example.com.", port), 0, nil, "HTTP/2.0", "puts the service at none.example.com"},
		{"a name server that keeps silent", "", 0, silent, "HTTP/2.0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := capture.NewRecorder(clock.NewReal(), capture.Options{})
			cl := New(Options{Resolver: &Resolver{Config: zoneServer(t, c.records, c.change)}, Roots: roots, HTTPSRecords: true, Recorder: rec})
			defer cl.Close()
			p := uint16(port)
			if c.port != 0 {
				p = uint16(c.port)
			}
			resp, err := cl.Do(context.Background(), &Request{Method: "GET", Origin: Origin{Scheme: "https", Host: "example.com", Port: p}, Authority: "example.com", Target: "/"})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			buf := make([]byte, 20)
			n, _ := resp.Body.Read(buf)
			if string(buf[:n]) != c.proto {
				t.Errorf("%s, want %s", buf[:n], c.proto)
			}
			a := analyze.New(analyze.Limits{})
			a.Read(rec.Cursor(), false)
			said := ""
			for _, l := range a.Trace().Lookups {
				said += steps(l)
			}
			if !strings.Contains(said, c.say) {
				t.Errorf("no %q in\n%s", c.say, said)
			}
		})
	}
}

func steps(l *trace.Lookup) (s string) {
	for _, x := range l.Steps {
		s += x.Text + "\n"
	}
	return s
}
