package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/dnssec"
	"peel/dns/zone"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/server"
	"peel/server/doh"
)

const peerZone = `$TTL 300
@ SOA ns root %d 3600 600 86400 60
@ NS ns
ns A 127.53.1.1
www A 192.0.2.1
www AAAA 2001:db8::1
mail MX 10 www
txt TXT "hello" "world"
alias CNAME www
*.wild A 192.0.2.2
old DNAME new
x.new A 192.0.2.3
svc HTTPS 1 . alpn=h2,h3 ipv4hint=192.0.2.1
sub NS ns.sub
ns.sub A 192.0.2.53
big TXT "%s"
`

func signedZone(t testing.TB, name string, serial int) *zone.Zone {
	t.Helper()
	origin := dns.MustName(name)
	text := fmt.Sprintf(peerZone, serial, strings.Repeat(strings.Repeat("x", 200)+`" "`, 8))
	records, err := zone.Read(strings.NewReader(text), name, zone.ReadOptions{Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dnssec.NewSigner(origin, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := s.SignZone(records, 60, now.Add(-time.Hour), now.Add(24*time.Hour), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zone.New(origin, signed...)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Every client program of the field reads our answers, over every transport.
func TestClientProgramsReadOurAnswers(t *testing.T) {
	zones := zone.NewServer()
	zones.NSID = "peel-1"
	zones.Put(signedZone(t, "peer.test", 1))
	zones.Transfer = func(*zone.Zone, string) bool { return true }
	s := &Server{Zones: zones}
	serveAt(t, s, "127.53.1.1:53")
	authority, err := pki.NewAuthority("test", false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(pki.Leaf{Names: []string{"127.53.1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.53.1.1:853")
	if err != nil {
		t.Fatal(err)
	}
	go s.ServeTCP(tls.NewListener(tcp, &tls.Config{Certificates: []tls.Certificate{cert}}))
	https, err := net.Listen("tcp", "127.53.1.1:443")
	if err != nil {
		t.Fatal(err)
	}
	web := &server.Server{Handler: doh.Handler(s), Clock: clock.NewReal(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
	go web.ServeTLS(https)
	t.Cleanup(func() { web.Close() })
	for _, c := range []struct {
		args string
		want []string
	}{
		{"dig @127.53.1.1 www.peer.test A +nsid", []string{"status: NOERROR", "192.0.2.1", "peel-1"}},
		{"dig @127.53.1.1 www.peer.test AAAA +tcp", []string{"2001:db8::1", "(TCP)"}},
		{"dig @127.53.1.1 www.peer.test A +dnssec", []string{"RRSIG", "flags: do"}},
		{"dig @127.53.1.1 nobody.peer.test A +dnssec", []string{"status: NXDOMAIN", "NSEC"}},
		{"dig @127.53.1.1 a.wild.peer.test A +dnssec", []string{"192.0.2.2", "NSEC"}},
		{"dig @127.53.1.1 x.old.peer.test A", []string{"DNAME", "x.new.peer.test.", "192.0.2.3"}},
		{"dig @127.53.1.1 www.sub.peer.test A", []string{"ns.sub.peer.test.", "192.0.2.53"}},
		{"dig @127.53.1.1 big.peer.test TXT", []string{"Truncated, retrying in TCP mode", "(TCP)"}},
		{"dig @127.53.1.1 svc.peer.test HTTPS", []string{`1 . alpn="h2,h3" ipv4hint=192.0.2.1`}},
		{"dig @127.53.1.1 peer.test AXFR", []string{"XFR size:", "x.new.peer.test."}},
		{"dig @127.53.1.1 www.peer.test A +tls", []string{"192.0.2.1", "(TLS)"}},
		{"dig @127.53.1.1 www.peer.test A +https", []string{"192.0.2.1", "(HTTPS)"}},
		{"dig @127.53.1.1 www.peer.test A +https-get", []string{"192.0.2.1", "(HTTPS-GET)"}},
		{"kdig @127.53.1.1 www.peer.test A +dnssec", []string{"NOERROR", "RRSIG", "192.0.2.1"}},
		{"kdig @127.53.1.1 www.peer.test A +tls", []string{"192.0.2.1", "TLS"}},
		{"kdig @127.53.1.1 peer.test AXFR", []string{"Received", "x.new.peer.test."}},
		{"drill -D www.peer.test @127.53.1.1 A", []string{"rcode: NOERROR", "192.0.2.1", "RRSIG"}},
		{"drill nobody.peer.test @127.53.1.1 A", []string{"rcode: NXDOMAIN"}},
		{"host -t MX mail.peer.test 127.53.1.1", []string{"handled by 10 www.peer.test."}},
	} {
		f := strings.Fields(c.args)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		out, err := exec.CommandContext(ctx, needs.Tool(t, f[0]), f[1:]...).CombinedOutput()
		cancel()
		for _, w := range c.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%s: no %q (%v)\n%s", c.args, w, err, out)
			}
		}
		for _, w := range []string{"WARNING: Message", "malformed", "communications error"} {
			if strings.Contains(string(out), w) {
				t.Errorf("%s: %q\n%s", c.args, w, out)
			}
		}
	}
}

// NSD, BIND and Knot are secondaries of ours: they transfer the zone, take
// the notice of a new version and its difference, and serve the same.
func TestRFC5936_RFC1995_SecondariesFollow(t *testing.T) {
	needs.Long(t)
	zones := zone.NewServer()
	zones.Put(signedZone(t, "peer.test", 1))
	zones.Transfer = func(_ *zone.Zone, peer string) bool { return strings.HasPrefix(peer, "127.") }
	s := &Server{Zones: zones}
	serveAt(t, s, "127.53.1.1:53")
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	write(t, filepath.Join(dir, "nsd.conf"), fmt.Sprintf("server:\n ip-address: 127.53.1.2\n zonesdir: %[1]q\n database: \"\"\n pidfile: \"\"\n"+
		" zonelistfile: %[2]q\n xfrdfile: %[3]q\n xfrdir: %[1]q\n username: \"\"\n chroot: \"\"\n server-count: 1\nremote-control:\n control-enable: no\n"+
		"zone:\n name: peer.test\n zonefile: nsd.zone\n allow-notify: 127.0.0.0/8 NOKEY\n request-xfr: 127.53.1.1 NOKEY\n outgoing-interface: 127.53.1.2\n",
		dir, filepath.Join(dir, "list"), filepath.Join(dir, "state")))
	daemon(t, dir, "nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))
	write(t, filepath.Join(dir, "named.conf"), fmt.Sprintf("options { directory %q; listen-on { 127.53.0.3; }; listen-on-v6 { none; }; recursion no; pid-file none; "+
		"session-keyfile none; managed-keys-directory %q; dnssec-validation no; notify no; };\ncontrols { };\n"+
		"zone \"peer.test\" { type secondary; primaries { 127.53.1.1; }; allow-notify { any; }; file \"named.zone\"; };\n", dir, dir))
	daemon(t, dir, "named", "-g", "-c", filepath.Join(dir, "named.conf"))
	write(t, filepath.Join(dir, "knot.conf"), fmt.Sprintf("server:\n  listen: 127.53.1.4@53\n  rundir: %[1]q\ndatabase:\n  storage: %[1]q\nremote:\n"+
		"  - id: primary\n    address: 127.53.1.1\nacl:\n  - id: notify\n    address: 127.0.0.0/8\n    action: notify\ntemplate:\n  - id: default\n"+
		"    storage: %[1]q\nzone:\n  - domain: peer.test\n    master: primary\n    acl: notify\n", dir))
	daemon(t, dir, "knotd", "-c", filepath.Join(dir, "knot.conf"))
	secondaries := map[string]string{"NSD": "127.53.1.2:53", "BIND": "127.53.0.3:53", "Knot": "127.53.1.4:53"}
	soa := func(at string) uint32 {
		m, err := exchange(at, &dns.Message{Header: dns.Header{ID: 5}, Questions: []dns.Question{{Name: dns.MustName("peer.test"), Type: dns.TypeSOA, Class: dns.ClassIN}}})
		if err != nil || len(m.Answers) != 1 || !m.Authoritative {
			return 0
		}
		v, _ := m.Answers[0].Value().(dns.SOA)
		return v.Serial
	}
	until := func(serial uint32) {
		t.Helper()
		for name, at := range secondaries {
			for end := time.Now().Add(15 * time.Second); soa(at) != serial; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s does not have serial %d but %d", name, serial, soa(at))
				}
			}
		}
	}
	until(1)
	// The whole zone arrived: they answer as we do.
	for name, at := range secondaries {
		for _, q := range []dns.Question{
			{Name: dns.MustName("www.peer.test"), Type: dns.TypeA, Class: 1}, {Name: dns.MustName("a.b.wild.peer.test"), Type: dns.TypeA, Class: 1},
			{Name: dns.MustName("nobody.peer.test"), Type: dns.TypeA, Class: 1}, {Name: dns.MustName("x.old.peer.test"), Type: dns.TypeA, Class: 1},
			{Name: dns.MustName("svc.peer.test"), Type: dns.TypeHTTPS, Class: 1}, {Name: dns.MustName("www.sub.peer.test"), Type: dns.TypeA, Class: 1},
			{Name: dns.MustName("new.peer.test"), Type: dns.TypeA, Class: 1}, {Name: dns.MustName("alias.peer.test"), Type: dns.TypeAAAA, Class: 1},
			{Name: dns.MustName("peer.test"), Type: dns.TypeDNSKEY, Class: 1}, {Name: dns.MustName("sub.peer.test"), Type: dns.TypeDS, Class: 1},
		} {
			m := &dns.Message{Header: dns.Header{ID: 5}, Questions: []dns.Question{q}, Additional: []dns.Resource{dns.EDNS{UDPSize: 1232, DNSSECOK: true}.Resource()}}
			theirs, err := exchange(at, m)
			if err != nil {
				t.Fatal(name, err)
			}
			ours, err := exchange("127.53.1.1:53", m)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := full(ours), full(theirs); a != b {
				t.Errorf("%s, %s:\nours   %s\ntheirs %s", name, q, a, b)
			}
		}
	}
	z := signedZone(t, "peer.test", 2)
	zones.Put(z)
	notify := z.Notify(7)
	for _, at := range secondaries {
		if c, err := net.Dial("udp", at); err == nil {
			c.Write(notify)
			c.Close()
		}
	}
	until(2)
}

// full sums up what an answer proves: its sections, with signatures and
// proofs.
func full(m *dns.Message) string {
	section := func(list []dns.Resource) string {
		var out []string
		for _, rr := range list {
			if rr.Type == dns.TypeOPT || rr.Type == dns.TypeNS && len(m.Answers) > 0 {
				continue // servers may add the zone's NS records to any answer
			}
			kind := rr.Type.String()
			if sig, ok := rr.Value().(dns.RRSIG); ok {
				if sig.Covered == dns.TypeNS && len(m.Answers) > 0 {
					continue
				}
				kind += "/" + sig.Covered.String()
			}
			out = append(out, strings.ToLower(rr.Name.String())+" "+kind)
		}
		return strings.Join(sorted(out), ", ")
	}
	return fmt.Sprintf("%s aa=%v [%s] [%s]", m.Rcode, m.Authoritative, section(m.Answers), section(m.Authority))
}

// Zones change under load, and no query is lost or answered wrongly.
func TestReloadDropsNoQuery(t *testing.T) {
	needs.Long(t)
	zones := zone.NewServer()
	zones.Put(signedZone(t, "peer.test", 1))
	s := &Server{Zones: zones}
	serveAt(t, s, "127.53.1.7:53")
	versions := []*zone.Zone{signedZone(t, "peer.test", 2), signedZone(t, "peer.test", 3)}
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				zones.Put(versions[i%2])
			}
		}
	})
	dir := t.TempDir()
	var queries strings.Builder
	for _, n := range []string{"www", "mail", "txt", "alias", "nobody", "q.wild"} {
		fmt.Fprintf(&queries, "%s.peer.test A\n", n)
	}
	write(t, filepath.Join(dir, "queries"), queries.String())
	out := command(t, dir, "dnsperf", "-s", "127.53.1.7", "-d", "queries", "-l", "2", "-q", "50", "-c", "4")
	close(stop)
	changes.Wait()
	if !strings.Contains(out, "Queries lost:         0 (0.00%)") || strings.Contains(out, "SERVFAIL") || strings.Contains(out, "REFUSED") {
		t.Error(out)
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
