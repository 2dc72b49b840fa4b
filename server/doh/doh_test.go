package doh_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"peel/client"
	over "peel/client/doh"
	"peel/clock"
	"peel/dns"
	dnsclient "peel/dns/client"
	nameserver "peel/dns/server"
	"peel/dns/zone"
	"peel/server"
	"peel/server/doh"
)

// RFC 8484, both ends: what is posted with the HTTP client is answered from
// the zone, and what is no query is refused in words.
func TestMessagesOverHTTP(t *testing.T) {
	z, err := zone.Read(strings.NewReader("@ 60 SOA ns. h. 1 2 3 4 5\n@ 60 NS ns.example.\nwww 60 A 192.0.2.1\n"), "example", zone.ReadOptions{Origin: dns.MustName("example")})
	if err != nil {
		t.Fatal(err)
	}
	made, err := zone.New(dns.MustName("example"), z...)
	if err != nil {
		t.Fatal(err)
	}
	zones := zone.NewServer()
	zones.Put(made)
	url := serve(t, &nameserver.Server{Zones: zones})
	web := client.New(client.Options{})
	defer web.Close()
	c := &dnsclient.Client{HTTPS: over.Post(web)}
	query := &dns.Message{Header: dns.Header{ID: 7}, Questions: []dns.Question{{Name: dns.MustName("www.example"), Type: dns.TypeA, Class: dns.ClassIN}}}
	r, err := c.Do(context.Background(), dnsclient.Server{Transport: dnsclient.HTTPS, URL: url}, query)
	if err != nil {
		t.Fatal(err)
	}
	if r.Transport != dnsclient.HTTPS || len(r.Message.Answers) != 1 || r.Message.Answers[0].TTL != 60 {
		t.Fatalf("%s: %v", r.Transport, r.Message.Answers)
	}
	if _, err := c.HTTPS(context.Background(), url, nil); err == nil || !strings.Contains(err.Error(), "400") {
		t.Fatalf("an empty message: %v", err)
	}
}

type broken struct{}

func (broken) Answer(context.Context, []byte, netip.AddrPort) ([]byte, error) {
	return nil, errors.New("no query of mine")
}

func TestWhatIsRefusedIsExplained(t *testing.T) {
	web := client.New(client.Options{})
	defer web.Close()
	_, err := over.Post(web)(context.Background(), serve(t, broken{}), []byte("x"))
	if err == nil || !strings.Contains(err.Error(), "400") || !strings.Contains(err.Error(), "no query of mine") {
		t.Fatal(err)
	}
}

func serve(t *testing.T, a doh.Answerer) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server.Server{Handler: doh.Handler(a), Clock: clock.NewReal()}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String() + "/dns-query"
}
