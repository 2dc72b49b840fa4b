// Package lab is a small internet in this process. Until a whole one stands
// behind it, it is an origin server and a name server on loopback, with a
// certificate authority made on the spot: a request into it goes through real
// sockets, real DNS messages and real TLS.
package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"peel/clock"
	"peel/dns"
	nameserver "peel/dns/server"
	"peel/dns/stub"
	"peel/dns/zone"
	"peel/internal/pki"
	"peel/server"
)

// Options of a Lab.
type Options struct {
	// Clock is real time when nil.
	Clock clock.Clock
}

// hostNames are the hosts of the lab's zones, with a certificate for each.
var hostNames = []string{"example.com", "www.example.com", "api.example.com", "example.org", "www.example.org"}

// Lab is a running lab.
type Lab struct {
	authority   *pki.Authority
	servers     []*server.Server
	http, https uint16
	dnsAddr     netip.AddrPort
	zones       *zone.Server
	names       *nameserver.Server
	running     sync.WaitGroup
	leave       func() bool // the context
}

// Up starts a lab. It ends with Close or with the context.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if o.Clock == nil {
		o.Clock = clock.NewReal()
	}
	l := &Lab{zones: zone.NewServer()}
	if err := l.start(o); err != nil {
		l.Close()
		return nil, err
	}
	l.leave = context.AfterFunc(ctx, l.end)
	return l, nil
}

func (l *Lab) start(o Options) error {
	var err error
	if l.authority, err = pki.NewAuthority("peel lab", true, o.Clock.Now().Std()); err != nil {
		return err
	}
	cert, err := l.authority.Issue(pki.Leaf{Names: append([]string{"localhost"}, hostNames...)})
	if err != nil {
		return err
	}
	origin := &server.Server{Handler: Origin(), Clock: o.Clock, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	l.servers = append(l.servers, origin)
	// One port serves both address families, so that which one is used makes
	// no difference to the port.
	hosts := []string{"127.0.0.1"}
	if ipv6() {
		hosts = append(hosts, "::1")
	}
	if l.http, err = l.listen(hosts, origin.Serve); err != nil {
		return err
	}
	if l.https, err = l.listen(hosts, origin.ServeTLS); err != nil {
		return err
	}
	if err := l.makeZones(hosts); err != nil {
		return err
	}
	return l.nameServer()
}

func ipv6() bool {
	n, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	n.Close()
	return true
}

// listen opens the same free port on every host and serves it.
func (l *Lab) listen(hosts []string, serve func(net.Listener) error) (uint16, error) {
	var lastErr error
	for range 20 {
		first, err := net.Listen("tcp", net.JoinHostPort(hosts[0], "0"))
		if err != nil {
			return 0, err
		}
		port := first.Addr().(*net.TCPAddr).Port
		listeners := []net.Listener{first}
		for _, h := range hosts[1:] {
			var n net.Listener
			if n, lastErr = net.Listen("tcp", net.JoinHostPort(h, fmt.Sprint(port))); lastErr != nil {
				break
			}
			listeners = append(listeners, n)
		}
		if len(listeners) < len(hosts) {
			first.Close()
			continue
		}
		for _, n := range listeners {
			l.running.Go(func() { serve(n) })
		}
		return uint16(port), nil
	}
	return 0, fmt.Errorf("no port is free for all of %v: %w", hosts, lastErr)
}

// makeZones fills the lab's zones: A and AAAA for each name, and an alias; and a
// root in which there is nothing else.
func (l *Lab) makeZones(hosts []string) error {
	root, err := zone.New(dns.Name{}, dns.NewResource(dns.Name{}, 86400,
		dns.SOA{Primary: dns.MustName("ns.lab"), Mailbox: dns.MustName("hostmaster.lab"), Serial: 1, Refresh: 1800, Retry: 900, Expire: 604800, Minimum: 86400}))
	if err != nil {
		return err
	}
	l.zones.Put(root)
	for _, apex := range []string{"example.com", "example.org"} {
		origin := dns.MustName(apex)
		records := []dns.Resource{
			dns.NewResource(origin, 3600, dns.SOA{Primary: dns.MustName("ns1." + apex), Mailbox: dns.MustName("hostmaster." + apex), Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minimum: 300}),
			dns.NewResource(origin, 3600, dns.NS{Host: dns.MustName("ns1." + apex)}),
			dns.NewResource(dns.MustName("www."+apex), 300, dns.CNAME{Target: origin}),
		}
		for _, owner := range []string{apex, "api." + apex, "ns1." + apex} {
			for _, h := range hosts {
				var data dns.Value = dns.A{Addr: netip.MustParseAddr(h)}
				if strings.Contains(h, ":") {
					data = dns.AAAA{Addr: netip.MustParseAddr(h)}
				}
				records = append(records, dns.NewResource(dns.MustName(owner), 300, data))
			}
		}
		z, err := zone.New(origin, records...)
		if err != nil {
			return err
		}
		l.zones.Put(z)
	}
	return nil
}

// nameServer answers on one port over UDP and TCP. Names outside of the lab's
// zones do not exist in it, and its root says so.
func (l *Lab) nameServer() error {
	udp, tcp, err := nameserver.Listen(context.Background(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return err
	}
	l.names = &nameserver.Server{Zones: l.zones}
	l.dnsAddr = netip.MustParseAddrPort(tcp.Addr().String())
	l.running.Go(func() { l.names.ServeUDP(udp) })
	l.running.Go(func() { l.names.ServeTCP(tcp) })
	return nil
}

// Resolver returns the configuration of a stub resolver inside the lab.
func (l *Lab) Resolver() *stub.Config {
	r := stub.ParseResolvConf(nil)
	r.Servers = []netip.AddrPort{l.dnsAddr}
	return &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: dns\n")), Hosts: &stub.Hosts{}, Resolv: r}
}

// Roots returns the trusted roots inside the lab: its own authority.
func (l *Lab) Roots() *x509.CertPool { return l.authority.Pool() }

// Port returns the port on which the lab's server for a port of the real
// internet listens, as ports below 1024 are not for everybody.
func (l *Lab) Port(host string, port uint16) (uint16, bool) {
	known := false
	for _, n := range hostNames {
		known = known || n == strings.ToLower(host)
	}
	switch {
	case known && port == 80:
		return l.http, true
	case known && port == 443:
		return l.https, true
	}
	return 0, false
}

// Describe says in lines what runs where.
func (l *Lab) Describe() []string {
	return []string{
		fmt.Sprintf("name server  %s (UDP and TCP), zones example.com, example.org", l.dnsAddr),
		fmt.Sprintf("origin       127.0.0.1:%d (http), 127.0.0.1:%d (https, HTTP/2 and HTTP/1.1)", l.http, l.https),
		fmt.Sprintf("trust        %s, made for this run", l.authority.Root.Subject.CommonName),
	}
}

// Close ends the lab, and returns when it is gone.
func (l *Lab) Close() {
	if l.leave != nil {
		l.leave()
	}
	l.end()
	l.running.Wait()
}

func (l *Lab) end() {
	for _, s := range l.servers {
		s.Close()
	}
	if l.names != nil {
		l.names.Close()
	}
}
