// Package lab is a small internet in this process. Until a whole one stands
// behind it, it is an origin server and a name server on loopback, with a
// certificate authority made on the spot: a request into it goes through real
// sockets, real DNS messages and real TLS.
package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/pki"
	"peel/server"
)

// Options of a Lab.
type Options struct {
	// Clock is real time when nil.
	Clock clock.Clock
}

// names are the hosts of the lab's zones, with a certificate for each.
var names = []string{"example.com", "www.example.com", "api.example.com", "example.org", "www.example.org"}

// Lab is a running lab.
type Lab struct {
	authority   *pki.Authority
	servers     []*server.Server
	http, https uint16
	dnsAddr     netip.AddrPort
	zones       []*dns.Zone
	root        *dns.Zone
	running     sync.WaitGroup
	leave       func() bool // the context

	mu      sync.Mutex
	closed  bool
	closers map[io.Closer]struct{}
}

// Up starts a lab. It ends with Close or with the context.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if o.Clock == nil {
		o.Clock = clock.NewReal()
	}
	l := &Lab{closers: map[io.Closer]struct{}{}}
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
	cert, err := l.authority.Issue(pki.Leaf{Names: append([]string{"localhost"}, names...)})
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
	if err := l.zone(hosts); err != nil {
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
	return 0, fmt.Errorf("%w: %v", errNoPort, lastErr)
}

// zone fills the lab's zones: A and AAAA for each name, and an alias; and a
// root in which there is nothing else.
func (l *Lab) zone(hosts []string) (err error) {
	l.root, err = dns.NewZone(dns.Name{}, dns.NewResource(dns.Name{}, 86400, dns.SOA{Primary: dns.MustName("ns.lab"), Mailbox: dns.MustName("hostmaster.lab"), Serial: 1, Refresh: 1800, Retry: 900, Expire: 604800, Minimum: 86400}))
	if err != nil {
		return err
	}
	for _, apex := range []string{"example.com", "example.org"} {
		origin := dns.MustName(apex)
		records := []dns.Resource{
			dns.NewResource(origin, 3600, dns.SOA{Primary: dns.MustName("ns1." + apex), Mailbox: dns.MustName("hostmaster." + apex), Serial: 1, Refresh: 7200, Retry: 3600, Expire: 1209600, Minimum: 300}),
			dns.NewResource(origin, 3600, dns.NS{Host: dns.MustName("ns1." + apex)}),
			dns.NewResource(dns.MustName("www."+apex), 300, dns.CNAME{Target: origin}),
		}
		for _, owner := range []string{apex, "api." + apex, "ns1." + apex} {
			for _, h := range hosts {
				var data dns.RData = dns.A{Addr: netip.MustParseAddr(h)}
				if strings.Contains(h, ":") {
					data = dns.AAAA{Addr: netip.MustParseAddr(h)}
				}
				records = append(records, dns.NewResource(dns.MustName(owner), 300, data))
			}
		}
		z, err := dns.NewZone(origin, records...)
		if err != nil {
			return err
		}
		l.zones = append(l.zones, z)
	}
	return nil
}

// nameServer answers on one port over UDP and TCP.
func (l *Lab) nameServer() error {
	tcp, udp, err := listenBoth()
	if err != nil {
		return err
	}
	l.closeAtEnd(tcp)
	l.closeAtEnd(udp)
	l.dnsAddr = netip.MustParseAddrPort(tcp.Addr().String())
	l.running.Go(func() {
		buf := make([]byte, dns.MaxMessage)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := l.answer(buf[:n], 1232); a != nil {
				udp.WriteTo(a, from)
			}
		}
	})
	l.running.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			l.running.Go(func() { l.answerTCP(c) })
		}
	})
	return nil
}

// listenBoth opens a port that is free for UDP and for TCP.
func listenBoth() (tcp net.Listener, udp net.PacketConn, err error) {
	for range 20 {
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			return tcp, udp, nil
		}
		tcp.Close()
	}
	return nil, nil, fmt.Errorf("%w: %v", errNoPort, err)
}

// closeAtEnd has c closed with the lab; it is closed now if that has ended.
func (l *Lab) closeAtEnd(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return
	}
	l.closers[c] = struct{}{}
}

// idle bounds a DNS connection.
const idle = 10 * time.Second

func (l *Lab) answerTCP(c net.Conn) {
	l.closeAtEnd(c)
	defer func() {
		l.mu.Lock()
		delete(l.closers, c)
		l.mu.Unlock()
		c.Close()
	}()
	for {
		c.SetDeadline(time.Now().Add(idle))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		a := l.answer(q, dns.MaxMessage)
		if a == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

// answer lets the zone that the question belongs to answer; names outside of
// all of them do not exist in the lab, and the root says so.
func (l *Lab) answer(query []byte, limit int) []byte {
	m, err := dns.Parse(query)
	for _, z := range l.zones {
		if err == nil && len(m.Questions) > 0 && m.Questions[0].Name.IsSubdomainOf(z.Origin()) {
			return z.Answer(query, limit)
		}
	}
	return l.root.Answer(query, limit)
}

// Resolver returns the configuration of a stub resolver inside the lab.
func (l *Lab) Resolver() *dns.Config {
	r := dns.ParseResolvConf(nil)
	r.Servers = []netip.AddrPort{l.dnsAddr}
	return &dns.Config{Nsswitch: dns.ParseNsswitch([]byte("hosts: dns\n")), Hosts: &dns.Hosts{}, Resolv: r}
}

// Roots returns the trusted roots inside the lab: its own authority.
func (l *Lab) Roots() *x509.CertPool { return l.authority.Pool() }

// Port returns the port on which the lab's server for a port of the real
// internet listens, as ports below 1024 are not for everybody.
func (l *Lab) Port(host string, port uint16) (uint16, bool) {
	known := false
	for _, n := range names {
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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for c := range l.closers {
		c.Close()
	}
}

var errNoPort = errors.New("lab: no port is free on all addresses")
