package dnstext

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	dnsclient "peel/dns/client"
	"peel/dns/recursor"
	"peel/dns/stub"
	"peel/trace"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares what a person reads with testdata/NAME.txt.
func golden(t *testing.T, name string, show func(o *Writer)) {
	t.Helper()
	var b strings.Builder
	o := &Writer{W: &b}
	show(o)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("not as in %s; go test -update writes it anew:\n%s", file, b.String())
	}
	// Colours change no letter.
	var colored strings.Builder
	show(&Writer{W: &colored, Color: true})
	plain := colored.String()
	for _, code := range []string{"0", "1", "2", "31", "32"} {
		plain = strings.ReplaceAll(plain, "\x1b["+code+"m", "")
	}
	if plain != b.String() {
		t.Errorf("with colours it reads otherwise:\n%s", plain)
	}
}

func rr(name string, ttl uint32, v dns.Value) dns.Resource {
	return dns.NewResource(dns.MustName(name), ttl, v)
}

func a(name, ip string) dns.Resource {
	return rr(name, 300, dns.A{Addr: netip.MustParseAddr(ip)})
}

func question(name string, t dns.Type) dns.Question {
	return dns.Question{Name: dns.MustName(name), Type: t, Class: dns.ClassIN}
}

var (
	began  = time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	server = dnsclient.Server{Addr: netip.MustParseAddrPort("192.0.2.53:53"), Transport: dnsclient.UDP}
)

func TestReply(t *testing.T) {
	m := &dns.Message{Header: dns.Header{ID: 1, Response: true, Authoritative: true, RecursionDesired: true, RecursionAvailable: true, AuthenticData: true}, Questions: []dns.Question{question("www.example.com", dns.TypeA)},
		Answers:    []dns.Resource{rr("www.example.com", 60, dns.CNAME{Target: dns.MustName("a-long-name.example.com")}), a("a-long-name.example.com", "192.0.2.1")},
		Authority:  []dns.Resource{rr("example.com", 86400, dns.NS{Host: dns.MustName("ns.example.com")})},
		Additional: []dns.Resource{a("ns.example.com", "192.0.2.53"), rr("example.com", 5, dns.TXT{Strings: []string{"quote \" and \x1b[31mred", "two"}})}}
	golden(t, "reply", func(o *Writer) {
		o.Reply(&dnsclient.Reply{Server: server, Transport: dnsclient.UDP, Message: m, Raw: make([]byte, 123), Sent: began, Received: began.Add(1234567 * time.Nanosecond), Tries: 1})
	})
	golden(t, "short", func(o *Writer) { o.Short(m) })
}

// What went wrong on the way stands above the records, what is wrong with the
// message below.
func TestReplyWithTroubles(t *testing.T) {
	m := &dns.Message{Header: dns.Header{ID: 1, Response: true, RecursionDesired: true, CheckingDisabled: true, Rcode: dns.RcodeNXDomain}, Questions: []dns.Question{question("nosuch.example.com", dns.TypeAAAA)},
		Authority: []dns.Resource{rr("example.com", 300, dns.SOA{Primary: dns.MustName("ns.example.com"), Mailbox: dns.MustName("admin.example.com"), Serial: 7, Refresh: 1, Retry: 2, Expire: 3, Minimum: 60})}}
	golden(t, "troubles", func(o *Writer) {
		o.Reply(&dnsclient.Reply{Server: server, Transport: dnsclient.TCP, Message: m, Raw: make([]byte, 45), Sent: began, Received: began.Add(2500 * time.Millisecond), Tries: 3, Truncated: true, Problem: errors.New("dns: the message ends within a record")})
	})
}

func steps() []recursor.Step {
	ns := func(zone, host string) dns.Resource { return rr(zone, 3600, dns.NS{Host: dns.MustName(host)}) }
	at := func(us int64) clock.Time { return clock.Time(us * 1000) }
	root := netip.MustParseAddrPort("198.41.0.4:53")
	return []recursor.Step{
		{Zone: dns.MustName("."), Name: dns.MustName("a.root-servers.net"), Server: root, Transport: "udp", Question: question("com", dns.TypeA), Start: at(0), End: at(20500), Outcome: "referral", Referral: dns.MustName("com"),
			Message: &dns.Message{Authority: []dns.Resource{ns("com", "a.gtld.net"), ns("com", "b.gtld.net"), ns("com", "c.gtld.net"), ns("com", "d.gtld.net"), ns("com", "A.gtld.net")},
				Additional: []dns.Resource{a("a.gtld.net", "192.0.2.10"), rr("a.gtld.net", 3600, dns.AAAA{Addr: netip.MustParseAddr("2001:db8::10")})}},
			NotAsked: []dns.Name{dns.MustName("b.root-servers.net"), dns.MustName("c.root-servers.net"), dns.MustName("d.root-servers.net"), dns.MustName("e.root-servers.net"), dns.MustName("f.root-servers.net")}},
		{Depth: 1, Zone: dns.MustName("com"), Name: dns.MustName("a.gtld.net"), Server: netip.MustParseAddrPort("192.0.2.10:53"), Transport: "udp", Question: question("ns.example.com", dns.TypeA), Start: at(0), End: at(2000000), Outcome: "timeout", Text: "no answer in 2s"},
		{Zone: dns.MustName("example.com"), Name: dns.MustName("ns.example.com"), Server: netip.MustParseAddrPort("192.0.2.53:53"), Transport: "tcp", Question: question("www.example.com", dns.TypeA), Start: at(0), End: at(345), Outcome: "alias",
			Message: &dns.Message{Answers: []dns.Resource{rr("www.example.com", 60, dns.CNAME{Target: dns.MustName("host.example.com")})}}},
		{Zone: dns.MustName("example.com"), Name: dns.MustName("ns.example.com"), Server: netip.MustParseAddrPort("192.0.2.53:53"), Transport: "udp", Question: question("host.example.com", dns.TypeA), Start: at(0), End: at(345), Outcome: "answer", NotAsked: []dns.Name{dns.MustName("ns2.example.com")},
			Message: &dns.Message{Answers: []dns.Resource{a("host.example.com", "192.0.2.1"), a("host.example.com", "192.0.2.2"), a("host.example.com", "192.0.2.3"), a("host.example.com", "192.0.2.4"), a("host.example.com", "192.0.2.5"), a("host.example.com", "192.0.2.6")}}},
		{Zone: dns.MustName("example.com"), Name: dns.MustName("ns.example.com"), Server: netip.MustParseAddrPort("192.0.2.53:53"), Transport: "udp", Question: question("host.example.com", dns.TypeTXT), Start: at(0), End: at(345), Outcome: "answer",
			Message: &dns.Message{Answers: []dns.Resource{rr("host.example.com", 60, dns.TXT{Strings: []string{strings.Repeat("x", 100)}})}}},
		{Zone: dns.MustName("example.com"), Name: dns.MustName("ns.example.com"), Server: netip.MustParseAddrPort("192.0.2.53:53"), Transport: "udp", Question: question("host.example.com", dns.TypeMX), Start: at(0), End: at(345), Outcome: "no_data", Text: "the name has no MX record"},
	}
}

func TestWalk(t *testing.T) {
	golden(t, "walk", func(o *Writer) {
		for _, s := range steps() {
			o.Step(s)
		}
	})
}

func TestResult(t *testing.T) {
	q := question("www.example.com", dns.TypeA)
	positive := &cache.Entry{Name: q.Name, Type: q.Type, Records: []dns.Resource{a("www.example.com", "192.0.2.1")}}
	negative := &cache.Entry{Name: q.Name, Type: q.Type, TTL: 60, Proofs: []dns.Resource{rr("example.com", 60, dns.SOA{Primary: dns.MustName("ns.example.com"), Mailbox: dns.MustName("admin.example.com"), Serial: 7})}}
	golden(t, "result", func(o *Writer) {
		o.Result(q, &recursor.Result{Security: cache.Secure, Entries: []*cache.Entry{positive}, Queries: 4}, 5*time.Millisecond)
		o.Result(q, &recursor.Result{Security: cache.Insecure, Reason: "example.com has no DS record", Rcode: dns.RcodeNXDomain, Entries: []*cache.Entry{negative}, Queries: 4}, 1500*time.Millisecond)
		o.Result(q, &recursor.Result{Security: cache.Bogus, Reason: "the signature of www.example.com A expired", Rcode: dns.RcodeServFail, Queries: 9}, 900*time.Nanosecond)
		o.Result(q, &recursor.Result{Rcode: dns.RcodeServFail, Reason: "no server of example.com answers", Queries: 9}, time.Second)
		o.Result(q, &recursor.Result{Entries: []*cache.Entry{positive}, Queries: 1}, time.Second)
	})
}

func TestStory(t *testing.T) {
	l := &trace.Lookup{Name: "www.example.com", Start: 1000, End: 2501000, Addresses: []trace.Address{{IP: netip.MustParseAddr("2001:db8::1"), Source: "dns", TTL: 300, Why: "rule 6: higher precedence"}, {IP: netip.MustParseAddr("192.0.2.1"), Source: "files", TTL: -1, Why: "the last has none to stand before"}},
		Steps: []trace.Step{{Duration: 1500, Text: "files: no line for www.example.com"}, {Duration: 2_340_000, Text: "dns: www.example.com. AAAA from 192.0.2.53: 2001:db8::1"}}}
	golden(t, "story", func(o *Writer) {
		o.Story(l, "files, dns (nsswitch.conf)", []stub.Difference{{Library: "musl", Text: "asks all servers at once"}, {Library: "Go", Text: "does not know mymachines"}})
	})
	one := &trace.Lookup{Name: "localhost", Addresses: []trace.Address{{IP: netip.MustParseAddr("::1"), Source: "localhost", TTL: -1}}}
	golden(t, "story-one", func(o *Writer) { o.Story(one, "files", nil) })
	failed := &trace.Lookup{Name: "nosuch.example", End: 5_000_000_000, Failure: &trace.Failure{Code: "no_name", Seen: "192.0.2.53 says that it does not exist", Try: "check the name"}}
	golden(t, "story-failed", func(o *Writer) { o.Story(failed, "dns", nil) })
}

func TestConsistency(t *testing.T) {
	zone := dns.MustName("example.com")
	good := []Check{
		{Server: "ns1.example.com", Addr: netip.MustParseAddr("192.0.2.1"), Transport: "udp", Serial: 7, Answer: "192.0.2.9", Took: 1500 * time.Microsecond},
		{Server: "ns1.example.com", Addr: netip.MustParseAddr("2001:db8::1"), Transport: "tcp", NotAsked: "no route over IPv6", Took: 0},
		{Server: "ns2.example.com", Addr: netip.MustParseAddr("192.0.2.2"), Transport: "udp", Serial: 7, Answer: "192.0.2.9", Took: 80 * time.Microsecond},
	}
	bad := append(good[:3:3],
		Check{Server: "ns3.example.com", Addr: netip.MustParseAddr("192.0.2.3"), Transport: "udp", Serial: 8, Answer: "192.0.2.9"},
		Check{Server: "ns4.example.com", Addr: netip.MustParseAddr("192.0.2.4"), Transport: "udp", Serial: 7, Answer: "192.0.2.10"},
		Check{Server: "ns5.example.com", Addr: netip.MustParseAddr("192.0.2.5"), Transport: "udp", Problem: "lame: it does not know the zone"})
	for _, c := range []struct {
		name   string
		checks []Check
		agree  bool
	}{
		{"agree", good, true},
		{"differ", bad, false},
		{"none-answers", []Check{{Server: "ns1.example.com", Addr: netip.MustParseAddr("192.0.2.1"), Transport: "udp", Problem: "no answer"}}, false},
		{"none-asked", good[1:2], true},
	} {
		golden(t, "servers-"+c.name, func(o *Writer) {
			if got := o.Consistency(zone, c.checks); got != c.agree {
				t.Errorf("%s: agree is %v", c.name, got)
			}
		})
	}
}

type full struct{ after int }

func (f *full) Write(b []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, os.ErrClosed
	}
	return len(b), nil
}

// The first error of the output stays, and nothing is written after it.
func TestErrorOfTheOutput(t *testing.T) {
	w := &full{after: 1}
	o := &Writer{W: w}
	o.Short(&dns.Message{Answers: []dns.Resource{a("a.example", "192.0.2.1"), a("a.example", "192.0.2.2"), a("a.example", "192.0.2.3")}})
	if !errors.Is(o.Err, os.ErrClosed) || w.after != -1 {
		t.Errorf("%v, %d", o.Err, w.after)
	}
}

// Whatever a server puts into names, texts, values and options, no control
// character reaches the terminal.
func TestAnswersDoNotControlTheTerminal(t *testing.T) {
	const evil = "\x1b]0;gone\x07\r\x9b2J"
	name, err := dns.ParseName(`\027[2J\013.example.com`)
	if err != nil {
		t.Fatal(err)
	}
	m := &dns.Message{Header: dns.Header{ID: 1, Response: true}, Questions: []dns.Question{{Name: name, Type: dns.TypeTXT, Class: dns.ClassIN}},
		Answers: []dns.Resource{
			dns.NewResource(name, 1, dns.TXT{Strings: []string{evil}}),
			dns.NewResource(name, 1, dns.CNAME{Target: name}),
			dns.NewResource(name, 1, dns.CAA{Tag: "issue", Value: evil}),
			dns.NewResource(name, 1, dns.HTTPS{SVCB: dns.SVCB{Priority: 1, Target: name, Params: []dns.SvcParam{{Key: dns.SvcALPN, Value: append([]byte{byte(len(evil))}, evil...)}, {Key: dns.SvcDoHPath, Value: []byte(evil)}}}}),
			dns.NewResource(name, 1, dns.Unknown{RRType: 65280, Octets: []byte(evil)}),
		},
		Additional: []dns.Resource{dns.EDNS{UDPSize: 1232, Options: []dns.Option{dns.ExtendedError{Code: 22, Text: evil}.Option(), {Code: dns.OptionNSID, Data: []byte(evil)}, {Code: 65001, Data: []byte(evil)}}}.Resource()},
	}
	var b strings.Builder
	o := &Writer{W: &b}
	o.Reply(&dnsclient.Reply{Server: server, Transport: dnsclient.UDP, Message: m, Sent: began, Received: began})
	o.Short(m)
	o.Step(recursor.Step{Zone: name, Name: name, Server: server.Addr, Question: m.Questions[0], Outcome: "answer", Message: m, NotAsked: []dns.Name{name}})
	o.Step(recursor.Step{Zone: name, Name: name, Server: server.Addr, Question: m.Questions[0], Outcome: "referral", Referral: name, Message: &dns.Message{Authority: []dns.Resource{dns.NewResource(name, 1, dns.NS{Host: name})}}})
	for i, c := range []byte(b.String()) {
		if c < 0x20 && c != '\n' || c == 0x7f || c == 0x9b {
			t.Errorf("byte %#02x in %q", c, b.String()[max(0, i-40):min(i+20, b.Len())])
		}
	}
}
