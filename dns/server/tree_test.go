package server

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
	"peel/internal/kernel"
	"peel/internal/needs"
)

// The tests of this package run in a network namespace of their own, where
// port 53 of any loopback address is theirs.
func TestMain(m *testing.M) {
	if os.Getenv("PEEL_TEST_NETNS") == "" {
		args := []string{"-n"}
		if os.Geteuid() != 0 {
			args = []string{"-rn"}
		}
		cmd := exec.Command("unshare", append(append(args, "sh", "-c", "ip link set lo up && ip addr add 127.53.0.3/32 dev lo && exec \"$@\"", "sh"), os.Args...)...)
		cmd.Env = append(os.Environ(), "PEEL_TEST_NETNS=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		if e, ok := err.(*exec.ExitError); ok {
			os.Exit(e.ExitCode())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "SKIPPED: no network namespace can be made:", err)
			if os.Getenv("CI") == "true" { // as needs.Missing, which wants a test that there is not yet
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// zoneOf is one zone of the tree.
type zoneOf struct {
	name, at string // the zone, and the address of its server
	peer     string // nsd or named
	sign     []string
	text     string // records without SOA and NS
	// ds chooses what the parent says: "good", "wrong", or "" for nothing.
	ds string
	ns string // other NS records than ns.<zone>
}

func tree() []zoneOf {
	var hosts strings.Builder
	for i := range 60 {
		fmt.Fprintf(&hosts, "h%d A 192.0.2.%d\n", i, i+1)
		if i%3 == 0 {
			fmt.Fprintf(&hosts, "h%d AAAA 2001:db8::%x\n", i, i+1)
		}
		if i%5 == 0 {
			fmt.Fprintf(&hosts, "a%d CNAME h%d\n", i, i)
		}
	}
	common := hosts.String() + `
@ A 192.0.2.200
@ MX 10 mail
mail A 192.0.2.201
txt TXT "one" "two three"
*.wild A 192.0.2.202
deep.under.wild A 192.0.2.203
x.ent.deep TXT "below empty non-terminals"
alias CNAME chain
chain CNAME h1
dangling CNAME nowhere
out CNAME h3.plain.test.
outs CNAME h3.example.test.
*.walias CNAME h4
loop1 CNAME loop2
loop2 CNAME loop1
old DNAME new
x.new A 192.0.2.204
_sip._udp SRV 0 5 5060 h5
svc HTTPS 1 . alpn=h2
`
	nsec := []string{"-P"}
	return []zoneOf{
		{name: ".", at: "127.53.0.1", peer: "nsd", sign: nsec, ds: "good"},
		{name: "test.", at: "127.53.0.2", peer: "nsd", sign: []string{"-P", "-3", "ab12", "-H", "3"}, ds: "good", text: "direct A 192.0.2.99\n"},
		{name: "example.test.", at: "127.53.0.3", peer: "named", sign: nsec, ds: "good", text: common},
		{name: "hashed.test.", at: "127.53.0.3", peer: "named", sign: []string{"-P", "-3", "-", "-H", "0"}, ds: "good", text: common},
		{name: "optout.test.", at: "127.53.0.2", peer: "nsd", sign: []string{"-P", "-3", "cd", "-H", "1", "-A"}, ds: "good", text: common},
		{name: "below.optout.test.", at: "127.53.0.3", peer: "named", text: common},
		{name: "signed.example.test.", at: "127.53.0.3", peer: "named", sign: nsec, ds: "good", text: common},
		{name: "plain.test.", at: "127.53.0.3", peer: "named", text: common},
		{name: "wrong.test.", at: "127.53.0.3", peer: "named", sign: nsec, ds: "wrong", text: common},
		{name: "expired.test.", at: "127.53.0.3", peer: "named", sign: []string{"-P", "-s", "20200101000000", "-e", "20200201000000"}, ds: "good", text: common},
		{name: "stripped.test.", at: "127.53.0.3", peer: "named", ds: "wrong", text: common},
		// Served from names in another zone, without glue.
		{name: "glueless.test.", at: "127.53.0.3", peer: "named", text: common, ns: "ns.plain.test."},
		// Delegated to a server that does not have it, and to one that has.
		{name: "halflame.test.", at: "127.53.0.3", peer: "named", text: common, ns: "lame.plain.test. ns.plain.test."},
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func command(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// daemon runs a server until the test ends.
func daemon(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(needs.Tool(t, name), args...)
	cmd.Dir = dir
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() && os.Getenv("PEEL_TEST_LOGS") != "" {
			t.Logf("%s:\n%s", name, log)
		}
	})
}

// grow signs the tree's zones from the leaves up, and serves them.
func grow(t testing.TB, zones []zoneOf) (anchor []dns.Resource) {
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	parentOf := func(name string) string {
		for at := dns.MustName(name).Parent(); ; at = at.Parent() {
			if slices.ContainsFunc(zones, func(z zoneOf) bool { return z.name == at.String() }) {
				return at.String()
			}
		}
	}
	ds := map[string][]string{} // by parent
	file := func(name string) string { return "zone" + strings.ReplaceAll(name, ".", "_") }
	for _, z := range slices.Backward(zones) {
		apex := strings.TrimPrefix("."+z.name, "..")
		apex = strings.TrimPrefix(apex, ".")
		ns := z.ns
		if ns == "" {
			ns = "ns." + apex
		}
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 300\n@ SOA ns.%s root.%s 1 3600 600 86400 60\n", z.name, apex, apex)
		for _, n := range strings.Fields(ns) {
			text += "@ NS " + n + "\n"
		}
		if z.ns == "" {
			text += "ns A " + z.at + "\n"
		}
		if z.name == "plain.test." {
			text += "lame A 127.53.0.4\n"
		}
		text += z.text + strings.Join(ds[z.name], "")
		write(t, filepath.Join(dir, file(z.name)), text)
		var sets string
		if z.sign != nil {
			for _, flag := range [][]string{{"-f", "KSK"}, nil} {
				command(t, dir, "dnssec-keygen", append(append([]string{"-q", "-a", "ECDSAP256SHA256"}, flag...), z.name)...)
			}
			args := append([]string{"-S", "-K", ".", "-o", z.name, "-f", file(z.name) + ".signed"}, z.sign...)
			command(t, dir, "dnssec-signzone", append(args, file(z.name))...)
			b, err := os.ReadFile(filepath.Join(dir, "dsset-"+z.name))
			if err != nil {
				t.Fatal(err)
			}
			sets = string(b)
			os.Rename(filepath.Join(dir, file(z.name)+".signed"), filepath.Join(dir, file(z.name)))
		}
		if z.name == "." {
			rrs, err := zone.Read(strings.NewReader("$TTL 300\n"+sets), "dsset", zone.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			anchor = rrs
			continue
		}
		if z.ds == "wrong" {
			sets = z.name + " 300 IN DS 4711 13 2 " + strings.Repeat("AB", 32) + "\n"
		}
		parent := parentOf(z.name)
		up := sets
		for _, n := range strings.Fields(ns) {
			up += fmt.Sprintf("%s 300 IN NS %s\n", z.name, n)
		}
		if z.ns == "" {
			up += fmt.Sprintf("ns.%s 300 IN A %s\n", apex, z.at)
		}
		ds[parent] = append(ds[parent], up)
	}
	// NSD serves two addresses from one configuration each; BIND the third.
	for _, at := range []string{"127.53.0.1", "127.53.0.2"} {
		conf := fmt.Sprintf("server:\n ip-address: %s\n zonesdir: %q\n database: \"\"\n pidfile: \"\"\n zonelistfile: %q\n xfrdfile: %q\n xfrdir: %q\n"+
			" username: \"\"\n chroot: \"\"\n server-count: 1\n verbosity: 1\nremote-control:\n control-enable: no\n",
			at, dir, filepath.Join(dir, at+".list"), filepath.Join(dir, at+".state"), dir)
		for _, z := range zones {
			if z.at == at {
				conf += fmt.Sprintf("zone:\n name: %q\n zonefile: %q\n", z.name, file(z.name))
			}
		}
		write(t, filepath.Join(dir, at+".conf"), conf)
		daemon(t, dir, "nsd", "-d", "-c", filepath.Join(dir, at+".conf"))
	}
	conf := fmt.Sprintf("options { directory %q; listen-on { 127.53.0.3; }; listen-on-v6 { none; }; recursion no; pid-file none; "+
		"session-keyfile none; managed-keys-directory %q; dnssec-validation no; notify no; };\ncontrols { };\n", dir, dir)
	for _, z := range zones {
		if z.peer == "named" {
			conf += fmt.Sprintf("zone %q { type primary; file %q; check-names ignore; };\n", z.name, file(z.name))
		}
	}
	write(t, filepath.Join(dir, "named.conf"), conf)
	daemon(t, dir, "named", "-g", "-c", filepath.Join(dir, "named.conf"))
	serveAt(t, &Server{Zones: zone.NewServer()}, "127.53.0.4:53") // refuses everything
	for _, at := range []string{"127.53.0.1", "127.53.0.2", "127.53.0.3"} {
		await(t, at+":53")
	}
	return anchor
}

// await waits until a name server answers anything.
func await(t testing.TB, at string) {
	t.Helper()
	q := &dns.Message{Header: dns.Header{ID: 1}, Questions: []dns.Question{{Type: dns.TypeSOA, Class: dns.ClassIN}}}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if _, err := exchange(at, q); err == nil {
			return
		}
	}
	t.Fatalf("nothing answers at %s", at)
}

func exchange(at string, q *dns.Message) (*dns.Message, error) {
	c, err := net.Dial("udp", at)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(8 * time.Second))
	msg, _ := q.Append(nil)
	if _, err := c.Write(msg); err != nil {
		return nil, err
	}
	buf := make([]byte, dns.MaxMessage)
	n, err := c.Read(buf)
	if err != nil {
		return nil, err
	}
	m, err := dns.Parse(buf[:n])
	if err == nil && m.Truncated {
		return exchangeTCP(at, q)
	}
	return m, err
}

func exchangeTCP(at string, q *dns.Message) (*dns.Message, error) {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(8 * time.Second))
	msg, _ := q.Append(nil)
	c.Write(append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...))
	buf := make([]byte, dns.MaxMessage+2)
	n := 0
	for n < 2 || n < 2+int(buf[0])<<8+int(buf[1]) {
		k, err := c.Read(buf[n:])
		if err != nil {
			return nil, err
		}
		n += k
	}
	return dns.Parse(buf[2:n])
}

func recursive(t testing.TB, cfg recursor.Config) *Resolver {
	d := NewResolver(cfg, cache.New(), kernel.Network{}, clock.NewReal())
	t.Cleanup(d.Close)
	return d
}

// serveAt answers on an address, on UDP and TCP.
func serveAt(t testing.TB, s *Server, at string) netip.AddrPort {
	t.Helper()
	udp, tcp, err := Listen(context.Background(), netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	go s.ServeUDP(udp)
	go s.ServeTCP(tcp)
	t.Cleanup(s.Close)
	return tcp.Addr().(*net.TCPAddr).AddrPort()
}

// story sums an answer up for comparison.
func story(m *dns.Message) string {
	var sets []string
	for _, rr := range m.Answers {
		if rr.Type != dns.TypeRRSIG {
			sets = append(sets, fmt.Sprintf("%s %s %s", rr.Name.Fold(), rr.Type, strings.ToLower(rr.Text())))
		}
	}
	slices.Sort(sets)
	sets = slices.Compact(sets)
	soa := ""
	for _, rr := range m.Authority {
		if rr.Type == dns.TypeSOA {
			soa = " SOA " + rr.Name.Fold().String()
		}
	}
	return fmt.Sprintf("%s ad=%v %s%s", m.Rcode, m.AuthenticData, strings.Join(sets, " | "), soa)
}

// Our resolver and unbound walk the same tree, served by NSD and BIND, and
// say the same of thousands of names: rcode, records, and whether they are
// authentic.
func TestRFC4035_ResolverAgreesWithUnbound(t *testing.T) {
	needs.Long(t)
	zones := tree()
	anchors := grow(t, zones)
	hints := []recursor.Server{{Name: dns.MustName("ns"), Addrs: []netip.Addr{netip.MustParseAddr("127.53.0.1")}}}
	s := &Server{Recursive: recursive(t, recursor.Config{Hints: hints, Anchors: anchors, NoIPv6: true})}
	serveAt(t, s, "127.53.0.9:53")

	dir := t.TempDir()
	os.Chmod(dir, 0o777)
	var key strings.Builder
	for _, a := range anchors {
		key.WriteString(a.String() + "\n")
	}
	write(t, filepath.Join(dir, "root.key"), key.String())
	write(t, filepath.Join(dir, "root.hints"), ". 3600000 NS ns.\nns. 3600000 A 127.53.0.1\n")
	write(t, filepath.Join(dir, "unbound.conf"), fmt.Sprintf(`server:
 interface: 127.53.0.10
 do-ip6: no
 do-daemonize: no
 use-syslog: no
 username: ""
 chroot: ""
 pidfile: ""
 directory: %q
 root-hints: "root.hints"
 trust-anchor-file: "root.key"
 do-not-query-localhost: no
 access-control: 127.0.0.0/8 allow
 local-zone: "test." nodefault
 module-config: "validator iterator"
 harden-referral-path: no
 minimal-responses: no
 trust-anchor-signaling: no
 root-key-sentinel: no
 val-log-level: 2
remote-control:
 control-enable: no
`, dir))
	daemon(t, dir, "unbound", "-d", "-c", filepath.Join(dir, "unbound.conf"))
	await(t, "127.53.0.10:53")

	rng := rand.New(rand.NewPCG(7, 11))
	types := []dns.Type{dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeNS,
		dns.TypeSOA, dns.TypeDS, dns.TypeDNSKEY, dns.TypeCNAME, dns.TypeSRV, dns.TypeHTTPS, dns.TypeNSEC3PARAM}
	labels := func() string {
		pool := []string{"", "", fmt.Sprintf("h%d.", rng.IntN(64)), fmt.Sprintf("h%d.", rng.IntN(64)), fmt.Sprintf("a%d.", rng.IntN(12)*5), fmt.Sprintf("none%d.", rng.IntN(30)),
			fmt.Sprintf("w%d.wild.", rng.IntN(30)), "a.b.wild.", "under.wild.", "x.under.wild.", "deep.under.wild.", "wild.", "*.wild.", "ent.deep.", "deep.", "x.ent.deep.", "y.ent.deep.", "alias.", "chain.",
			"dangling.", "out.", "outs.", fmt.Sprintf("q%d.walias.", rng.IntN(20)), "loop1.", "x.old.", "y.old.", "old.", "new.", "_sip._udp.", "_udp.",
			"svc.", "mail.", "txt.", "ns.", "a.b.c.d.e.f.", "a.h1.", "direct."}
		return pool[rng.IntN(len(pool))]
	}
	asked, secure, different := 0, 0, 0
	ask := func(q *dns.Message) {
		theirs, err := exchange("127.53.0.10:53", q)
		if err != nil {
			t.Fatalf("unbound, %s: %v", q.Questions[0], err)
		}
		ours, err := exchange("127.53.0.9:53", q)
		if err != nil {
			t.Fatalf("ours, %s: %v", q.Questions[0], err)
		}
		asked++
		if ours.AuthenticData {
			secure++
		}
		// unbound 1.17 fails to validate the alias that a DNAME makes when it
		// is asked for itself, and gives the target's NXDOMAIN when it knows it.
		if q.Questions[0].Type == dns.TypeCNAME && strings.Contains(q.Questions[0].Name.String(), ".old.") && ours.Rcode == dns.RcodeNoError && len(ours.Answers) > 0 {
			return
		}
		if a, b := story(ours), story(theirs); a != b {
			if different++; different <= 25 {
				e, _ := ours.EDNS()
				t.Errorf("%s\nours    %s %v\nunbound %s", q.Questions[0], a, e.ExtendedErrors(), b)
			}
		}
	}
	seen := map[string]bool{}
	for asked < 4000 {
		z := zones[rng.IntN(len(zones))]
		name, typ := labels()+strings.TrimPrefix(z.name, "."), types[rng.IntN(len(types))]
		if name == "" {
			name = "."
		}
		if k := name + typ.String(); !seen[k] || rng.IntN(8) == 0 {
			seen[k] = true
			q := &dns.Message{Header: dns.Header{ID: uint16(rng.Uint32()), RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(name), Type: typ, Class: dns.ClassIN}}}
			q.Additional = []dns.Resource{dns.EDNS{UDPSize: 1232, DNSSECOK: true}.Resource()}
			ask(q)
		}
		if len(seen) > 6000 {
			break
		}
	}
	t.Logf("%d questions, %d answers authentic, %d different", asked, secure, different)
}
