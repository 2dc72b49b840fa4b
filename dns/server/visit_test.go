package server

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
)

// exampleZones is one small zone.
func exampleZones(t *testing.T) *zone.Server {
	t.Helper()
	name := dns.MustName("example.test")
	z, err := zone.New(name,
		dns.NewResource(name, 60, dns.SOA{Primary: dns.MustName("ns.example.test"), Mailbox: dns.MustName("h.example.test"), Serial: 1}),
		dns.NewResource(name, 60, dns.NS{Host: dns.MustName("ns.example.test")}),
		dns.NewResource(dns.MustName("www.example.test"), 60, dns.A{Addr: netip.MustParseAddr("192.0.2.1")}))
	if err != nil {
		t.Fatal(err)
	}
	s := zone.NewServer()
	s.Put(z)
	return s
}

func query(t *testing.T, name string, options ...dns.Option) []byte {
	t.Helper()
	m := &dns.Message{Header: dns.Header{ID: 7, RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(name), Type: dns.TypeA, Class: dns.ClassIN}},
		Additional: []dns.Resource{dns.EDNS{UDPSize: 1232, Options: options}.Resource()}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// overUDP is what the server does with a datagram.
func overUDP(s *Server, q []byte, from string) []byte {
	var w workspace
	v := s.arrive(q, netip.AddrPortFrom(netip.MustParseAddr(from), 999), OverUDP)
	return s.now(&w, make([]byte, 0, 4096), q, &v)
}

func cookieOf(t *testing.T, msg []byte) []byte {
	t.Helper()
	m, err := dns.Parse(msg)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := m.EDNS()
	for _, o := range e.Options {
		if o.Code == dns.OptionCookie {
			return o.Data
		}
	}
	return nil
}

// RFC 7873 §5.2, RFC 9018 §4: a client gets a cookie that counts for its
// address alone, and for an hour.
func TestRFC7873_ServerCookies(t *testing.T) {
	s := &Server{Zones: exampleZones(t), Cookies: &Cookies{Secret: bytes.Repeat([]byte("k"), 32)}}
	client := []byte("12345678")
	option := func(data []byte) dns.Option { return dns.Option{Code: dns.OptionCookie, Data: data} }
	if got := cookieOf(t, overUDP(s, query(t, "www.example.test"), "192.0.2.1")); got != nil {
		t.Errorf("a cookie that nobody asked for: %x", got)
	}
	got := cookieOf(t, overUDP(s, query(t, "www.example.test", option(client)), "192.0.2.1"))
	if len(got) != 24 || !bytes.Equal(got[:8], client) || got[8] != 1 {
		t.Fatalf("%x", got)
	}
	now := time.Now()
	for _, c := range []struct {
		what string
		data []byte
		from string
		at   time.Time
		good bool
	}{
		{"the same address", got, "192.0.2.1", now, true},
		{"another", got, "192.0.2.2", now, false},
		{"a bit changed", append(bytes.Clone(got[:23]), got[23]^1), "192.0.2.1", now, false},
		{"another client's part", append([]byte("87654321"), got[8:]...), "192.0.2.1", now, false},
		{"later", got, "192.0.2.1", now.Add(50 * time.Minute), true},
		{"too late", got, "192.0.2.1", now.Add(61 * time.Minute), false},
		{"before its time", got, "192.0.2.1", now.Add(-6 * time.Minute), false},
		{"another length", got[:16], "192.0.2.1", now, false},
	} {
		if k := s.Cookies.read(query(t, "www.example.test", option(c.data)), netip.MustParseAddr(c.from), c.at); k.good != c.good || !k.has {
			t.Errorf("%s: %+v", c.what, k)
		}
	}
	// RFC 7873 §5.2.2: other lengths have no form.
	for _, n := range []int{0, 7, 9, 15, 41} {
		out := overUDP(s, query(t, "www.example.test", option(make([]byte, n))), "192.0.2.1")
		if m, err := dns.Parse(out); err != nil || m.Rcode != dns.RcodeFormErr {
			t.Errorf("%d octets: %v, %v", n, m.Rcode, err)
		}
	}
}

// A flood of one question from one network is answered so often as it may,
// then with TC now and then; other networks, good cookies and TCP are not
// concerned.
func TestResponseRateLimiting(t *testing.T) {
	s := &Server{Zones: exampleZones(t), Cookies: &Cookies{Secret: bytes.Repeat([]byte("k"), 32)}, Rate: &RateLimit{PerSecond: 10, Slip: 2}}
	count := func(name, from string, options ...dns.Option) (full, cut, none int) {
		for range 100 {
			switch out := overUDP(s, query(t, name, options...), from); {
			case out == nil:
				none++
			case out[2]&2 != 0:
				if m, err := dns.Parse(out); err != nil || len(m.Answers)+len(m.Additional) > 0 || len(m.Questions) != 1 {
					t.Errorf("%v %v", m, err)
				}
				cut++
			default:
				full++
			}
		}
		return full, cut, none
	}
	for _, name := range []string{"www.example.test", "nobody.example.test"} {
		// A little more may pass while the test takes its time.
		if full, cut, none := count(name, "192.0.2.1"); full < 10 || full > 60 || cut == 0 || none < cut-1 || none > cut+1 {
			t.Errorf("%s: %d whole, %d cut, %d not at all", name, full, cut, none)
		}
		if full, _, _ := count(name, "192.0.2.200"); full > 50 {
			t.Errorf("%s: another address of the network gets %d", name, full)
		}
		if full, _, _ := count(name, "198.51.100.1"); full < 10 {
			t.Errorf("%s: another network gets %d", name, full)
		}
	}
	good := cookieOf(t, overUDP(s, query(t, "ns.example.test", dns.Option{Code: dns.OptionCookie, Data: []byte("12345678")}), "203.0.113.1"))
	if full, _, _ := count("www.example.test", "203.0.113.1", dns.Option{Code: dns.OptionCookie, Data: good}); full != 100 {
		t.Errorf("with a good cookie %d of 100 are answered", full)
	}
	// Names that do not exist are of one kind, whichever they are.
	full := 0
	for i := range 100 {
		if out := overUDP(s, query(t, strings.Repeat("x", 1+i%50)+".example.test"), "203.0.113.9"); out != nil && out[2]&2 == 0 {
			full++
		}
	}
	if full > 60 {
		t.Errorf("of 100 names that do not exist %d are answered", full)
	}
	for i := range maxBuckets + 10 {
		s.Rate.judge(make([]byte, 12), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).Next(), time.Unix(int64(i), 0))
		if len(s.Rate.buckets) > maxBuckets {
			t.Fatal(len(s.Rate.buckets))
		}
	}
}

// Who may not have names resolved is refused, and told why; the zones answer
// all.
func TestAllowRecursion(t *testing.T) {
	c := cache.New()
	real := clock.NewReal()
	rr := dns.NewResource(dns.MustName("www.other.test"), 3600, dns.A{Addr: netip.MustParseAddr("192.0.2.7")})
	c.Put(&cache.Entry{Name: rr.Name, Type: rr.Type, Rank: cache.Answer, TTL: 3600, Records: []dns.Resource{rr}}, real.Now())
	d := NewResolver(recursor.Config{}, c, noNetwork{}, real)
	defer d.Close()
	s := &Server{Zones: exampleZones(t), Recursive: d, AllowRecursion: LocalNetworks()}
	for _, c := range []struct {
		name, from string
		rcode      dns.Rcode
	}{
		{"www.other.test", "127.0.0.1", 0}, {"www.other.test", "::ffff:10.1.2.3", 0}, {"www.other.test", "fd00::1", 0},
		{"www.other.test", "192.0.2.1", dns.RcodeRefused}, {"www.other.test", "2001:db8::1", dns.RcodeRefused},
		{"www.example.test", "192.0.2.1", 0}, {"unknown.other.test", "192.0.2.1", dns.RcodeRefused},
	} {
		m, err := dns.Parse(overUDP(s, query(t, c.name), c.from))
		if err != nil || m.Rcode != c.rcode {
			t.Errorf("%s from %s: %v, %v", c.name, c.from, m.Rcode, err)
		}
		if e, _ := m.EDNS(); c.rcode != 0 && (len(e.ExtendedErrors()) != 1 || m.RecursionAvailable) {
			t.Errorf("%s from %s: no reason is given", c.name, c.from)
		}
	}
	if n := s.Counts(); n.Refused != 3 || n.Queries[OverUDP] != 7 || n.Responses[dns.RcodeRefused] != 3 || n.Sources[FromCache] != 3 || n.Sources[FromZone] != 1 {
		t.Errorf("%+v", n)
	}
}

// blocked is a network on which nothing moves until it is let go.
type blocked struct {
	noNetwork
	entered, let chan struct{}
}

func (b blocked) DialUDP(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	b.entered <- struct{}{}
	<-b.let
	return nil, net.ErrClosed
}

// What is in the cache is answered while the engine does something that takes
// for ever.
func TestCachedAnswersDoNotWait(t *testing.T) {
	c := cache.New()
	real := clock.NewReal()
	rr := dns.NewResource(dns.MustName("www.other.test"), 3600, dns.A{Addr: netip.MustParseAddr("192.0.2.7")})
	c.Put(&cache.Entry{Name: rr.Name, Type: rr.Type, Rank: cache.Answer, TTL: 3600, Records: []dns.Resource{rr}}, real.Now())
	b := blocked{entered: make(chan struct{}, 10), let: make(chan struct{})}
	d := NewResolver(recursor.Config{Hints: []recursor.Server{{Name: dns.MustName("a.root"), Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}}}, c, b, real)
	s := &Server{Recursive: d}
	replied := make(chan []byte, maxAsks+100)
	ask := func(name string) {
		q := query(t, name)
		s.later(q, s.arrive(q, netip.MustParseAddrPort("127.0.0.1:9"), OverUDP), func(msg []byte) { replied <- msg })
	}
	ask("x.test")
	<-b.entered // the engine is held
	for range 1000 {
		if out := overUDP(s, query(t, "www.other.test"), "127.0.0.1"); len(out) == 0 {
			t.Fatal("not from the cache")
		}
	}
	// Questions that it cannot take are bounded, and those too many are told.
	for range maxAsks + 50 {
		ask("y.test")
	}
	for range 50 {
		if m, err := dns.Parse(<-replied); err != nil || m.Rcode != dns.RcodeServFail {
			t.Error(m.Rcode, err)
		}
	}
	close(b.let)
	d.Close()
}
