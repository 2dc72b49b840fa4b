package zone

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"peel/dns"
	"peel/internal/needs"
)

func testZone(t testing.TB) *Zone {
	n := dns.MustName
	records := []dns.Resource{
		dns.NewResource(n("example.test"), 3600, dns.SOA{Primary: n("ns.example.test"), Mailbox: n("root.example.test"), Serial: 7, Refresh: 1, Retry: 1, Expire: 1, Minimum: 30}),
		dns.NewResource(n("example.test"), 3600, dns.NS{Host: n("ns.example.test")}),
		a("ns.example.test", 3600, "127.0.0.1"),
		a("www.example.test", 300, "192.0.2.1"), a("www.example.test", 300, "2001:db8::1"),
		alias("alias.example.test", 60, "hop.example.test"), alias("hop.example.test", 60, "WWW.example.test"),
		alias("out.example.test", 60, "elsewhere.test"), alias("loop.example.test", 60, "loop2.example.test"), alias("loop2.example.test", 60, "loop.example.test"),
		dns.NewResource(n("a.deep.example.test"), 60, dns.TXT{Strings: []string{"deep"}}),
		dns.NewResource(n("*.wild.example.test"), 60, dns.A{Addr: netip.MustParseAddr("192.0.2.42")}),
		dns.NewResource(n("child.example.test"), 60, dns.NS{Host: n("ns.child.example.test")}), a("ns.child.example.test", 60, "192.0.2.53"),
	}
	for i := range 60 {
		records = append(records, a("big.example.test", 60, fmt.Sprintf("192.0.2.%d", i+1)))
	}
	z, err := New(n("example.test"), records...)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func query(name string, typ dns.Type, edns *dns.EDNS) []byte {
	m := &dns.Message{Header: dns.Header{ID: 99, RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(name), Type: typ, Class: dns.ClassIN}}}
	if edns != nil {
		m.Additional = []dns.Resource{edns.Resource()}
	}
	b, _ := m.Append(nil)
	return b
}

func TestRFC1034_4_3_2_ZoneAnswers(t *testing.T) {
	z := testZone(t)
	for _, c := range []struct {
		name  string
		typ   dns.Type
		rcode dns.Rcode
		aa    bool
		// answers, then the types of the authority section
		want, authority string
	}{
		{"WWW.example.test", dns.TypeA, 0, true, "www.example.test. A 192.0.2.1", ""},
		{"www.example.test", dns.TypeAAAA, 0, true, "www.example.test. AAAA 2001:db8::1", ""},
		{"www.example.test", dns.TypeMX, 0, true, "", "SOA"},
		{"nobody.example.test", dns.TypeA, dns.RcodeNXDomain, true, "", "SOA"},
		{"deep.example.test", dns.TypeA, 0, true, "", "SOA"}, // RFC 8020 §2
		{"alias.example.test", dns.TypeA, 0, true, "alias.example.test. CNAME hop.example.test.|hop.example.test. CNAME WWW.example.test.|www.example.test. A 192.0.2.1", ""},
		{"alias.example.test", dns.TypeCNAME, 0, true, "alias.example.test. CNAME hop.example.test.", ""},
		{"out.example.test", dns.TypeA, 0, true, "out.example.test. CNAME elsewhere.test.", ""},
		{"loop.example.test", dns.TypeA, 0, true, "loop.example.test. CNAME loop2.example.test.|loop2.example.test. CNAME loop.example.test.", ""},
		{"x.y.wild.example.test", dns.TypeA, 0, true, "x.y.wild.example.test. A 192.0.2.42", ""}, // RFC 4592 §2.2.1
		{"x.wild.example.test", dns.TypeMX, 0, true, "", "SOA"},
		{"www.child.example.test", dns.TypeA, 0, false, "", "NS"},
		{"example.test", dns.TypeNS, 0, true, "example.test. NS ns.example.test.", ""},
		{"example.org", dns.TypeA, dns.RcodeRefused, false, "", ""},
		{"example.test", dns.TypeAXFR, dns.RcodeRefused, false, "", ""},
	} {
		m, err := dns.Parse(z.Answer(query(c.name, c.typ, nil), dns.MaxMessage))
		if err != nil {
			t.Fatal(c.name, err)
		}
		var got, authority []string
		for _, rr := range m.Answers {
			got = append(got, fmt.Sprintf("%s %s %s", rr.Name, rr.Type, rr.Text()))
		}
		for _, rr := range m.Authority {
			authority = append(authority, rr.Type.String())
			if rr.Type == dns.TypeSOA && rr.TTL != 30 {
				t.Errorf("RFC 2308 §3: negative TTL %d", rr.TTL)
			}
		}
		if strings.Join(got, "|") != c.want || strings.Join(authority, "|") != c.authority || m.Rcode != c.rcode || m.Authoritative != c.aa || !m.Response || m.ID != 99 || !m.RecursionDesired {
			t.Errorf("%s %s: %s aa=%v %v %v, want %s", c.name, c.typ, m.Rcode, m.Authoritative, got, authority, c.want)
		}
	}
}

func TestAnswerToQueriesThatAreNone(t *testing.T) {
	z := testZone(t)
	good := query("www.example.test", dns.TypeA, nil)
	change := func(at int, v byte) []byte { b := slices.Clone(good); b[at] = v; return b }
	two := &dns.Message{Questions: []dns.Question{{Type: dns.TypeA, Class: 1}, {Type: dns.TypeA, Class: 1}}}
	twoQuestions, _ := two.Append(nil)
	for name, c := range map[string]struct {
		query []byte
		rcode dns.Rcode
	}{
		"opcode UPDATE":         {change(2, 5<<3), dns.RcodeNotImp},
		"cut short":             {good[:len(good)-3], dns.RcodeFormErr},
		"two questions":         {twoQuestions, dns.RcodeFormErr},
		"octets behind":         {append(slices.Clone(good), 0), dns.RcodeFormErr},
		"EDNS version 1":        {query("www.example.test", dns.TypeA, &dns.EDNS{Version: 1}), dns.RcodeBadVers},
		"pointer to itself":     {message("0001 0000 0001 0000 0000 0000 c00c 0001 0001"), dns.RcodeFormErr},
		"no question":           {message("0001 0000 0000 0000 0000 0000"), dns.RcodeFormErr},
		"count without records": {message("0001 0000 0000 ffff 0000 0000"), dns.RcodeFormErr},
	} {
		m, err := dns.Parse(z.Answer(c.query, 512))
		if err != nil || m.Rcode != c.rcode || !m.Response {
			t.Errorf("%s: %v %v, want %s", name, m, err, c.rcode)
		}
	}
	if z.Answer(change(2, 0x80), 512) != nil || z.Answer(good[:11], 512) != nil || z.Answer(nil, 512) != nil {
		t.Error("a response or a fragment was answered")
	}
}

func TestRFC6891_6_2_3_AnswerThatDoesNotFitIsCut(t *testing.T) {
	z := testZone(t)
	for _, c := range []struct {
		edns  *dns.EDNS
		limit int
		cut   bool
	}{{nil, 1232, true}, {&dns.EDNS{UDPSize: 1232}, 1232, false}, {&dns.EDNS{UDPSize: 100}, 1232, true},
		{&dns.EDNS{UDPSize: 4096}, 600, true}, {nil, dns.MaxMessage, false}, {&dns.EDNS{UDPSize: 512}, dns.MaxMessage, false}} {
		b := z.Answer(query("big.example.test", dns.TypeA, c.edns), c.limit)
		m, err := dns.Parse(b)
		_, echoed := m.EDNS()
		if err != nil || m.Truncated != c.cut || len(b) > c.limit || echoed != (c.edns != nil) {
			t.Errorf("%+v: cut %v, %d octets, %v", c, m.Truncated, len(b), err)
		}
	}
}

func TestNewRejects(t *testing.T) {
	n := dns.MustName("example.test")
	for want, rrs := range map[string][]dns.Resource{
		"not in the zone":   {a("example.org", 1, "192.0.2.1")},
		"has other records": {alias("x.example.test", 1, "y.example.test"), a("x.example.test", 1, "192.0.2.1")},
		"no data":           {{Name: n, Type: dns.TypeA, Class: dns.ClassIN}},
		"SOA record at":     {dns.NewResource(dns.MustName("x.example.test"), 1, dns.SOA{})},
		"two SOA":           {dns.NewResource(n, 1, dns.SOA{}), dns.NewResource(n, 1, dns.SOA{})},
	} {
		if _, err := New(n, rrs...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	z := testZone(f)
	f.Add(query("alias.example.test", dns.TypeA, &dns.EDNS{UDPSize: 1232}))
	f.Add(query("a.b.wild.example.test", dns.TypeANY, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := z.Answer(b, 1232)
		if len(out) > 1232 {
			t.Fatal("too long")
		}
		if out == nil {
			return
		}
		if m, err := dns.Parse(out); err != nil || !m.Response || m.ID != binary.BigEndian.Uint16(b) {
			t.Fatal(m, err)
		}
	})
}

// serve answers from z on one loopback port over UDP and TCP.
func serve(t *testing.T, z *Zone) netip.AddrPort {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		tcp.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		buf := make([]byte, dns.MaxMessage)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteToUDPAddrPort(z.Answer(buf[:n], 1232), from)
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					q, err := dns.ReadStream(c, nil)
					if err != nil {
						return
					}
					out := z.Answer(q, dns.MaxMessage)
					_, _ = c.Write(dns.AppendStream(nil, out))
				}
			}()
		}
	}()
	return addr
}

func TestDigReadsTheAnswerer(t *testing.T) {
	dig := needs.Tool(t, "dig")
	addr := serve(t, testZone(t))
	for _, c := range []struct {
		args string
		want []string
		not  []string
	}{
		{"www.example.test AAAA", []string{"status: NOERROR", "flags: qr aa rd;", "2001:db8::1", "EDNS: version: 0, flags:; udp: 1232"}, []string{"WARNING: Message", "malformed"}},
		{"alias.example.test A +tcp", []string{"hop.example.test.", "192.0.2.1", "(TCP)", "ANSWER: 3"}, []string{"malformed"}},
		{"nobody.example.test A", []string{"status: NXDOMAIN", "30\tIN\tSOA\tns.example.test. root.example.test. 7 1 1 1 30"}, nil},
		{"big.example.test A +noedns +ignore", []string{"flags: qr aa tc rd;", "ANSWER: 0"}, nil},
		{"big.example.test A +noedns", []string{"Truncated, retrying in TCP mode", "ANSWER: 60", "(TCP)"}, nil},
		{"big.example.test A +bufsize=1232", []string{"ANSWER: 60", "(UDP)"}, nil},
		{"www.child.example.test A", []string{"flags: qr rd;", "ns.child.example.test.", "192.0.2.53"}, nil},
		{"www.example.test A +edns=1 +noednsneg", []string{"status: BADVERS"}, nil},
		{"www.example.test A +opcode=notify", []string{"status: NOTAUTH"}, nil},
		{"www.example.test A +opcode=update", []string{"status: NOTIMP"}, nil},
		{"www.example.org A", []string{"status: REFUSED"}, nil},
	} {
		args := append([]string{"@127.0.0.1", "-p", fmt.Sprint(addr.Port()), "+time=5", "+tries=1", "+norecurse", "+recurse"}, strings.Fields(c.args)...)
		out, err := exec.Command(dig, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.args, err, out)
			continue
		}
		for _, w := range c.want {
			if !bytes.Contains(out, []byte(w)) {
				t.Errorf("dig %s does not say %q:\n%s", c.args, w, out)
			}
		}
		for _, w := range c.not {
			if bytes.Contains(out, []byte(w)) {
				t.Errorf("dig %s says %q:\n%s", c.args, w, out)
			}
		}
	}
}

func a(name string, ttl uint32, addr string) dns.Resource {
	ip := netip.MustParseAddr(addr)
	if ip.Is4() {
		return dns.NewResource(dns.MustName(name), ttl, dns.A{Addr: ip})
	}
	return dns.NewResource(dns.MustName(name), ttl, dns.AAAA{Addr: ip})
}

func alias(name string, ttl uint32, target string) dns.Resource {
	return dns.NewResource(dns.MustName(name), ttl, dns.CNAME{Target: dns.MustName(target)})
}

func message(parts ...string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}
