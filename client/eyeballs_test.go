package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"peel/dns"
	"peel/dns/stub"
	"peel/dns/zone"
	"peel/internal/kernel"
)

// nameServer answers for example.com with the given addresses; types in
// silent get no answer.
func nameServer(t *testing.T, silent dns.Type, addrs ...string) *stub.Config {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	name := dns.MustName("example.com")
	records := []dns.Resource{dns.NewResource(name, 60, dns.SOA{Primary: name, Mailbox: name})}
	for _, a := range addrs {
		ip := netip.MustParseAddr(a)
		var data dns.Value = dns.A{Addr: ip}
		if ip.Is6() {
			data = dns.AAAA{Addr: ip}
		}
		records = append(records, dns.NewResource(name, 60, data))
	}
	z, err := zone.New(name, records...)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if m, _ := dns.Parse(buf[:n]); len(m.Questions) > 0 && m.Questions[0].Type == silent {
				continue
			}
			pc.WriteTo(z.Answer(buf[:n], 1232), from)
		}
	}()
	r := stub.ParseResolvConf(nil)
	r.Servers = []netip.AddrPort{netip.MustParseAddrPort(pc.LocalAddr().String())}
	return &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: dns")), Resolv: r}
}

// scripted is the kernel's network with other outcomes for some addresses.
type scripted struct {
	kernel.Network
	dial map[string]func(ctx context.Context) (net.Conn, error)
	mu   sync.Mutex
	seen []string
}

func (s *scripted) DialTCP(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	s.mu.Lock()
	s.seen = append(s.seen, a.Addr().String())
	s.mu.Unlock()
	if f := s.dial[a.Addr().String()]; f != nil {
		return f(ctx)
	}
	return s.Network.DialTCP(ctx, a)
}

// Source makes both families reachable, IPv6 first.
func (s *scripted) Source(dst netip.Addr) (netip.Addr, bool) {
	if dst.Is6() {
		return netip.MustParseAddr("2001:db8::1"), true
	}
	return netip.MustParseAddr("192.0.2.1"), true
}

func black(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }

func TestRFC8305_HappyEyeballs(t *testing.T) {
	o := newOrigin(t, false, false, handler())
	_, port, _ := net.SplitHostPort(o.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	real := func(ctx context.Context) (net.Conn, error) {
		return kernel.Network{}.DialTCP(ctx, netip.MustParseAddrPort(o.Listener.Addr().String()))
	}
	refused := func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	for _, c := range []struct {
		name     string
		silent   dns.Type
		addrs    []string
		dial     map[string]func(context.Context) (net.Conn, error)
		outcomes []string // of the attempts, in order
		within   time.Duration
	}{
		{"§5 a black hole is raced after 250 ms", 0, []string{"2001:db8::80", "192.0.2.80"},
			map[string]func(context.Context) (net.Conn, error){"2001:db8::80": black, "192.0.2.80": real}, []string{"cancelled", "connected"}, 2 * time.Second},
		{"§5 a refusal starts the next at once", 0, []string{"2001:db8::80", "192.0.2.80"},
			map[string]func(context.Context) (net.Conn, error){"2001:db8::80": refused, "192.0.2.80": real}, []string{"refused", "connected"}, 2 * time.Second},
		{"§3 an AAAA answer does not wait for the A", dns.TypeA, []string{"2001:db8::80"}, map[string]func(context.Context) (net.Conn, error){"2001:db8::80": real}, []string{"connected"}, 3 * time.Second},
		{"§3 an A answer waits 50 ms for the AAAA", dns.TypeAAAA, []string{"192.0.2.80"}, map[string]func(context.Context) (net.Conn, error){"192.0.2.80": real}, []string{"connected"}, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			network := &scripted{dial: c.dial}
			cl := newClient(t, Options{Network: network, Resolver: &Resolver{Config: nameServer(t, c.silent, c.addrs...)}})
			ctx, cancel := context.WithTimeout(context.Background(), c.within)
			defer cancel()
			resp, err := cl.Do(ctx, &Request{Method: "GET", Origin: Origin{"http", "example.com", uint16(n)}, Authority: "example.com", Target: "/echo"})
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			var got []string
			tr := cl.trace()
			for _, cn := range tr.Connections {
				for _, a := range cn.Attempts {
					got = append(got, string(a.Outcome))
				}
			}
			if len(got) != len(c.outcomes) {
				t.Fatalf("attempts %v, want %v", got, c.outcomes)
			}
			for i := range got {
				if got[i] != c.outcomes[i] {
					t.Errorf("attempts %v, want %v", got, c.outcomes)
				}
			}
			if l := tr.Lookups[0]; l.Failure != nil || len(l.Addresses) == 0 {
				t.Errorf("lookup: %+v", l)
			}
		})
	}
}

func TestEveryAddressFailing(t *testing.T) {
	network := &scripted{dial: map[string]func(context.Context) (net.Conn, error){
		"192.0.2.1": func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
		"192.0.2.2": func(context.Context) (net.Conn, error) { return nil, syscall.EHOSTUNREACH }}}
	cl := newClient(t, Options{Network: network, Resolver: &Resolver{Config: nameServer(t, 0, "192.0.2.1", "192.0.2.2")}})
	_, err := cl.Do(context.Background(), &Request{Method: "GET", Origin: Origin{"http", "example.com", 80}, Authority: "example.com", Target: "/"})
	var e *Error
	if !errors.As(err, &e) || e.Layer != "tcp" || len(network.seen) != 2 {
		t.Errorf("%v, tried %v", err, network.seen)
	}
}
