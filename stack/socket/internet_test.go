package socket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"peel/client"
	"peel/clock"
	"peel/dns"
	nameserver "peel/dns/server"
	"peel/dns/stub"
	"peel/dns/zone"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/network"
	"peel/internal/pki"
	"peel/server"
	"peel/stack/filter"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/nat"
	"peel/stack/route"
	"peel/stack/tcp"
	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// internet is a small one, in one process:
//
//	laptop 10.0.0.10 ─┐                                         ┌─ server 203.0.113.80, 2001:db8:2::80
//	phone  10.0.0.11 ─┴ switch ─ home ═ 198.51.100.0/24 ═ isp ──┘
//	                      10.0.0.1   .2 (NAT)         .1
type internet struct {
	*Network
	trace                            *link.Trace
	rec                              *capture.Recorder
	laptop, phone, home, isp, server Stack
	wan, dc                          *link.Cable
	net                              *link.Net
	macs                             byte
}

func (in *internet) host(name string, o host.Options) Stack {
	if in.rec != nil {
		o.Observe = network.Decisions(in.rec)
	}
	h := in.Network.Host(name, [32]byte{byte(len(name)), name[0]}, o)
	h.Trace = in.trace
	return Stack{Network: in.Network, Host: h}
}

// plug adds an interface with addresses to a host.
func (in *internet) plug(s Stack, name string, out link.Sender, addrs ...string) *host.Interface {
	in.macs++
	i := s.Host.AddInterface(name, ethernet.MAC{2, 0, 0, 0, 0, in.macs}, 1500)
	for _, a := range append(addrs, host.LinkLocal(i.MAC).String()+"/64") {
		if err := i.AddAddress(netip.MustParsePrefix(a)); err != nil {
			panic(err)
		}
	}
	i.Attach(out)
	return i
}

func (in *internet) route(s Stack, prefix, via, dev string) {
	if err := s.Host.Routes.Add(route.Route{Prefix: netip.MustParsePrefix(prefix), Gateway: netip.MustParseAddr(via), Interface: dev, From: "static"}); err != nil {
		panic(err)
	}
}

func newInternet(t testing.TB, record bool) *internet {
	t.Helper()
	in := &internet{Network: NewNetwork(clock.NewReal()), trace: &link.Trace{}}
	if record {
		in.rec = capture.NewRecorder(in.Clock(), capture.Options{})
		in.trace.Attach(network.Evidence(in.rec), "laptop:eth0")
		in.rec.ByPackets()
	}
	in.net = in.Link(in.trace)
	rnd := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(7, n)) }
	cable := func(a, b string, ms int) *link.Cable {
		c := link.NewCable(in.net, link.End{Name: a, Rand: rnd(uint64(ms))}, link.End{Name: b, Rand: rnd(uint64(ms) + 100)})
		if err := c.SetShape(link.Shape{Delay: time.Duration(ms) * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	in.laptop, in.phone = in.host("laptop", host.Options{}), in.host("phone", host.Options{})
	in.home, in.isp = in.host("home", host.Options{Forward: true}), in.host("isp", host.Options{Forward: true})
	// The server finds out that a peer is gone, though late.
	in.server = in.host("server", host.Options{TCP: tcp.Config{KeepAlive: 10 * time.Minute}})
	in.Do(func() {
		sw := link.NewSwitch(in.net, link.SwitchOptions{})
		lan := func(s Stack, name, end string, addrs ...string) *host.Interface {
			c := cable(end, "switch:"+end, 1)
			i := in.plug(s, name, c.AB(), addrs...)
			c.Plug(i, sw.AddPort("switch:"+end, c.BA()))
			return i
		}
		lan(in.laptop, "eth0", "laptop:eth0", "10.0.0.10/24")
		lan(in.phone, "eth0", "phone:eth0", "10.0.0.11/24")
		lan(in.home, "lan", "home:lan", "10.0.0.1/24", "2001:db8:1::1/64")
		in.wan = cable("home:wan", "isp:wan", 10)
		in.wan.Plug(in.plug(in.home, "wan", in.wan.AB(), "198.51.100.2/24", "2001:db8:9::2/64"), in.plug(in.isp, "wan", in.wan.BA(), "198.51.100.1/24", "2001:db8:9::1/64"))
		in.dc = cable("isp:dc", "server:eth0", 5)
		in.dc.Plug(in.plug(in.isp, "dc", in.dc.AB(), "203.0.113.1/24", "2001:db8:2::1/64"), in.plug(in.server, "eth0", in.dc.BA(), "203.0.113.80/24", "2001:db8:2::80/64"))
		for _, s := range []Stack{in.laptop, in.phone} {
			in.route(s, "0.0.0.0/0", "10.0.0.1", "eth0")
		}
		in.route(in.home, "0.0.0.0/0", "198.51.100.1", "wan")
		in.route(in.home, "::/0", "2001:db8:9::1", "wan")
		in.route(in.isp, "2001:db8:1::/64", "2001:db8:9::2", "wan")
		in.route(in.server, "0.0.0.0/0", "203.0.113.1", "eth0")
		in.route(in.server, "::/0", "2001:db8:2::1", "eth0")
	})
	return in
}

// masquerade makes home translate.
func (in *internet) masquerade(t testing.TB, o nat.Options) {
	t.Helper()
	o.Outside = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
	o.Inside = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	o.Entropy = rand.New(rand.NewPCG(1, 9)).Uint64
	n, err := nat.New(o)
	if err != nil {
		t.Fatal(err)
	}
	in.Do(func() { in.home.Host.NAT = &host.Translation{NAT: n, Outside: "wan"} })
}

// echo serves a port of the server with what comes in.
func (in *internet) echo(t testing.TB, s Stack, addr string) *Listener {
	t.Helper()
	l, err := s.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
				c.Close()
			}()
		}
	}()
	return l
}

func say(t testing.TB, c net.Conn, what string) error {
	t.Helper()
	if _, err := io.WriteString(c, what); err != nil {
		return err
	}
	b := make([]byte, len(what))
	_, err := io.ReadFull(c, b)
	if err == nil && string(b) != what {
		t.Errorf("%q came back as %q", what, b)
	}
	return err
}

// crypto/tls, our HTTP engines and our DNS on hosts of our own, seen at the
// laptop's cable: the trace is that of a request on any network.
func TestAnHTTPSRequestAcrossAnInternetOfOurOwn(t *testing.T) {
	for _, version := range []client.Version{client.OnlyHTTP1, client.OnlyHTTP2} {
		synctest.Test(t, func(t *testing.T) { httpsRequest(t, version) })
	}
}

func httpsRequest(t *testing.T, version client.Version) {
	in := newInternet(t, true)
	in.masquerade(t, nat.Options{})
	authority, err := pki.NewAuthority("test", true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(pki.Leaf{Names: []string{"www.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	origin := &server.Server{Clock: in.Clock(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
		Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
			w.Write([]byte(strings.Repeat("It works. ", 10000)))
		})}
	l, err := in.server.Listen(netip.MustParseAddrPort("[::]:443"))
	if err != nil {
		t.Fatal(err)
	}
	go origin.ServeTLS(l)
	z, err := zone.New(dns.MustName("example.com"),
		dns.NewResource(dns.MustName("example.com"), 60, dns.SOA{Primary: dns.MustName("ns.example.com"), Mailbox: dns.MustName("h.example.com"), Serial: 1}),
		dns.NewResource(dns.MustName("example.com"), 60, dns.NS{Host: dns.MustName("ns.example.com")}),
		dns.NewResource(dns.MustName("www.example.com"), 60, dns.A{Addr: netip.MustParseAddr("203.0.113.80")}))
	if err != nil {
		t.Fatal(err)
	}
	zones := zone.NewServer()
	zones.Put(z)
	names := &nameserver.Server{Zones: zones}
	u, err := in.server.ListenPacket(netip.MustParseAddrPort("[::]:53"))
	if err != nil {
		t.Fatal(err)
	}
	go names.ServePacket(u)

	resolv := stub.ParseResolvConf(nil)
	resolv.Servers = []netip.AddrPort{netip.MustParseAddrPort("203.0.113.80:53")}
	cl := client.New(client.Options{Network: in.laptop, Clock: in.Clock(), Recorder: in.rec, Roots: authority.Pool(), Version: version,
		Resolver: &client.Resolver{Config: &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: dns\n")), Hosts: &stub.Hosts{}, Resolv: resolv}}})
	start := time.Now()
	resp, err := cl.Do(t.Context(), &client.Request{Method: "GET", Origin: client.Origin{Scheme: "https", Host: "www.example.com", Port: 443}, Authority: "www.example.com", Target: "/"})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) != 100000 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	resp.Body.Close()
	// 33 ms there and back: DNS (with ARP), TCP, TLS, request, and what slow
	// start takes for 100 kB.
	took := time.Since(start)
	if took < 4*34*time.Millisecond || took > 400*time.Millisecond {
		t.Errorf("the request took %v", took)
	}
	cl.Close()
	time.Sleep(time.Second)

	a := analyze.New(analyze.Limits{})
	in.rec.Close()
	a.Read(capture.InOrder(in.rec.Cursor(), true), true)
	a.End()
	tr := a.Trace()
	if len(tr.Exchanges) != 1 || tr.Exchanges[0].Response == nil || tr.Exchanges[0].Response.Status != 200 {
		t.Fatalf("exchanges: %+v", tr.Exchanges)
	}
	used := tr.Exchanges[0].Connection
	for _, c := range tr.Connections {
		if c.ID == used && (c.Segments == nil || c.RemoteAddr.String() != "203.0.113.80:443") {
			t.Errorf("connection %d: %+v", used, c)
		}
	}
	decided := map[trace.EventName]int{}
	for _, e := range tr.Events {
		decided[e.Name]++
	}
	if a.Packets() < 100 || decided["host.tcp.rtt"] == 0 || decided["host.route"] == 0 || decided["host.neighbour"] == 0 {
		t.Errorf("%d packets, decisions %v", a.Packets(), decided)
	}
	origin.Close()
	names.Close()
	time.Sleep(10 * time.Minute)
	in.leftNothing(t)
	in.Close()
}

// leftNothing checks that all is given back.
func (in *internet) leftNothing(t *testing.T) {
	t.Helper()
	in.Do(func() {
		for _, s := range []Stack{in.laptop, in.phone, in.home, in.isp, in.server} {
			if !s.Host.Idle() {
				t.Errorf("%s is left with %+v", s.Host.Name, s.Host.Sockets())
			}
		}
		if in.Pool.Out != 0 {
			t.Errorf("%d packets are out", in.Pool.Out)
		}
	})
}

func TestNATOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInternet(t, false)
		in.masquerade(t, nat.Options{RandomPorts: true, Timeouts: nat.Timeouts{TCPEstablished: 5 * time.Minute}})
		l := in.echo(t, in.server, "203.0.113.80:7")
		c, err := in.laptop.DialTCP(t.Context(), netip.MustParseAddrPort("203.0.113.80:7"))
		if err != nil {
			t.Fatal(err)
		}
		if err := say(t, c, "hello"); err != nil {
			t.Fatal(err)
		}
		// The server talks with home's address, not with the laptop's.
		in.Do(func() {
			for _, s := range in.server.Host.Sockets() {
				if s.State == "ESTABLISHED" && s.Remote.Addr().String() != "198.51.100.2" {
					t.Errorf("the server talks with %v", s.Remote)
				}
			}
			if m := in.home.Host.NAT.Mappings(); len(m) != 1 || m[0].Inside.Addr().String() != "10.0.0.10" {
				t.Errorf("mappings: %+v", m)
			}
		})
		// NAT-IDLE-RST: the mapping is forgotten, the next one has another
		// port, and of that the server knows nothing.
		time.Sleep(6 * time.Minute)
		if err := say(t, c, "still there?"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after six idle minutes: %v", err)
		}
		// From outside nobody comes in, unless a port is forwarded.
		if _, err := in.isp.DialTCP(ctxFor(t, 10*time.Second), netip.MustParseAddrPort("198.51.100.2:8080")); err == nil {
			t.Error("an outsider came in")
		}
		web := in.echo(t, in.laptop, "10.0.0.10:80")
		in.Do(func() {
			if err := in.home.Host.NAT.AddForward(nat.Forward{Protocol: ip.ProtoTCP, Outside: netip.MustParseAddrPort("198.51.100.2:8080"),
				Inside: netip.MustParseAddrPort("10.0.0.10:80")}, in.Queue.Now()); err != nil {
				t.Fatal(err)
			}
		})
		for _, from := range []Stack{in.isp, in.phone} { // the phone's is a hairpin
			f, err := from.DialTCP(ctxFor(t, 10*time.Second), netip.MustParseAddrPort("198.51.100.2:8080"))
			if err != nil {
				t.Errorf("%s: %v", from.Host.Name, err)
				continue
			}
			if err := say(t, f, "knock"); err != nil {
				t.Errorf("%s: %v", from.Host.Name, err)
			}
			f.Close()
		}
		c.Close()
		l.Close()
		web.Close()
		time.Sleep(2 * time.Hour)
		in.leftNothing(t)
		in.Close()
	})
}

func ctxFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Drop and reject, as a caller meets them (DROP-vs-REJECT).
func TestFilterOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInternet(t, false)
		in.masquerade(t, nat.Options{})
		l := in.echo(t, in.server, "203.0.113.80:7")
		f := filter.New(filter.Options{})
		port := func(n uint16) filter.Ports { return filter.Ports{From: n, To: n} }
		if err := f.Set(filter.Forward, filter.Policy{Default: filter.Accept, Rules: []filter.Rule{
			{Name: "no telnet", Protocol: ip.ProtoTCP, DestinationPorts: port(23), Verdict: filter.Reject, Answer: filter.Reset},
			{Name: "no smtp", Protocol: ip.ProtoTCP, DestinationPorts: port(25), Verdict: filter.Drop},
			{Name: "no ldap", Protocol: ip.ProtoTCP, DestinationPorts: port(389), Verdict: filter.Reject, Answer: filter.Prohibited},
			{Name: "no strangers", In: "dc", States: filter.StateNew | filter.StateInvalid, Verdict: filter.Drop},
		}}); err != nil {
			t.Fatal(err)
		}
		in.Do(func() { in.isp.Host.Filter = f })
		for _, c := range []struct {
			port int
			want error
			took time.Duration
		}{{7, nil, 2 * 17 * time.Millisecond}, {23, syscall.ECONNREFUSED, 2 * 12 * time.Millisecond}, {25, context.DeadlineExceeded, time.Minute}, {389, syscall.EACCES, 2 * 12 * time.Millisecond}} {
			for range 2 { // the second time all MACs are known
				start := time.Now()
				conn, err := in.laptop.DialTCP(ctxFor(t, time.Minute), netip.MustParseAddrPort(fmt.Sprint("203.0.113.80:", c.port)))
				if c.want == nil && err == nil {
					err = say(t, conn, "hello")
					conn.Close()
				}
				if !errors.Is(err, c.want) {
					t.Errorf("port %d: %v, want %v", c.port, err, c.want)
				}
				if took := time.Since(start); c.want != nil && took < c.took {
					t.Errorf("port %d took %v, want %v at least", c.port, took, c.took)
				}
			}
		}
		l.Close()
		in.Close()
	})
}

// MTU-BLACKHOLE: a link of 1400 bytes whose ICMP errors nobody gets.
func TestBlackHoleOnTheWay(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			in := newInternet(t, false)
			in.masquerade(t, nat.Options{})
			in.Do(func() {
				in.isp.Host.Interface("dc").MTU = 1400
				if silent {
					in.isp.Host.Options.ICMPRate = -1
				}
			})
			l := in.echo(t, in.server, "203.0.113.80:7")
			c, err := in.laptop.DialTCP(t.Context(), netip.MustParseAddrPort("203.0.113.80:7"))
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := say(t, c, strings.Repeat("x", 20000)); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			if silent == (took < time.Second) {
				t.Errorf("silent: %v, and it took %v", silent, took)
			}
			c.Close()
			l.Close()
			time.Sleep(time.Hour)
			in.leftNothing(t)
			in.Close()
		})
	}
}

// Traceroute with our own sockets, by echo requests and by datagrams.
func TestTracerouteFromAHostOfOurOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInternet(t, false)
		in.masquerade(t, nat.Options{})
		want := []string{"10.0.0.1", "198.51.100.1", "203.0.113.80"}
		var ping *host.Ping
		in.Do(func() { ping, _ = in.laptop.Host.OpenPing() })
		for ttl := 1; ttl <= 3; ttl++ {
			in.Do(func() {
				ping.TTL = uint8(ttl)
				if err := ping.Send(netip.MustParseAddr("203.0.113.80"), uint16(ttl), []byte("peel")); err != nil {
					t.Fatal(err)
				}
			})
			time.Sleep(time.Second)
			in.Do(func() {
				a, ok := ping.Receive()
				if !ok || a.From.String() != want[ttl-1] || (a.Error != nil) != (ttl < 3) || a.Error != nil && a.Error.Type != icmp.TimeExceeded4 {
					t.Errorf("TTL %d: %+v, %v", ttl, a, ok)
				}
			})
		}
		in.Do(func() {
			ping.Close()
			u, err := in.laptop.Host.ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort("203.0.113.80:33434"))
			if err != nil {
				t.Fatal(err)
			}
			u.TTL = 2
			u.Send([]byte("peel"), u.Peer())
			defer u.Close()
		})
		in.Close()
	})
}

// A router advertises a prefix; hosts make addresses of it and reach the
// world (RFC 4862), until the prefix's time is over.
func TestSLAAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInternet(t, false)
		in.Do(func() {
			in.laptop.Host.Interface("eth0").AcceptRA = true
			lan := in.home.Host.Interface("lan")
			lan.RouterAdvertisement = &host.RouterAdvertisement{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}, Lifetime: 10 * time.Minute, PrefixLifetime: 20 * time.Minute, HopLimit: 61}
			lan.SetUp(false)
			lan.SetUp(true)
		})
		time.Sleep(time.Second)
		l := in.echo(t, in.server, "[2001:db8:2::80]:7")
		c, err := in.laptop.DialTCP(t.Context(), netip.MustParseAddrPort("[2001:db8:2::80]:7"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(), netip.MustParsePrefix("2001:db8:1::/64"); !want.Contains(got) {
			t.Errorf("the laptop talks from %v", got)
		}
		if err := say(t, c, "hello"); err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
		in.Do(func() { in.home.Host.Interface("lan").RouterAdvertisement = nil })
		time.Sleep(21 * time.Minute)
		in.Do(func() {
			if n := len(in.laptop.Host.Interface("eth0").Addresses()); n != 2 {
				t.Errorf("%d addresses are left, want the two that were given", n)
			}
			if r := in.laptop.Host.Routes.Lookup(netip.MustParseAddr("2001:db8:2::80"), nil); r != nil {
				t.Errorf("a route is left: %v", r)
			}
		})
		in.Close()
	})
}
