package analyze

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// script is packets as they are captured, with the time going on.
type script struct {
	now  time.Duration
	list []capture.Record
}

func (s *script) wait(d time.Duration) *script { s.now += d; return s }

// packet adds an IPv4 packet, and goes on by a millisecond.
func (s *script) packet(from, to string, proto ip.Protocol, payload []byte) *script {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	return s.raw(ipPacket(a.Addr(), b.Addr(), 0, proto, payload))
}

func (s *script) raw(p []byte) *script {
	s.list = append(s.list, captured(clock.Time(time.Second+s.now), p))
	return s.wait(time.Millisecond)
}

func (s *script) udp(from, to string, payload []byte) *script {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	d := make([]byte, udp.HeaderLen, udp.HeaderLen+len(payload))
	udp.Header{Source: a.Port(), Destination: b.Port(), Length: uint16(udp.HeaderLen + len(payload))}.Put(d)
	binary.BigEndian.PutUint16(d[udp.ChecksumAt:], 0)
	return s.packet(from, to, ip.ProtoUDP, append(d, payload...))
}

func (s *script) tcp(from, to string, h tcp.Header, payload []byte) *script {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	h.Window = 1000
	return s.raw(tcpPacket(a, b, 0, h, string(payload)))
}

// cut makes the last packet as a snap length leaves it.
func (s *script) cut(n int) *script {
	r := &s.list[len(s.list)-1]
	r.Data = r.Data[:len(r.Data)-n]
	return s
}

// dnsMessage makes a message: "A? www.test", and with records "A www.test",
// which may begin with flags such as "TC", an opcode or a response code.
func dnsMessage(t testing.TB, id uint16, text string, records ...string) []byte {
	t.Helper()
	m := dns.Message{Header: dns.Header{ID: id, RecursionDesired: true, Response: true, RecursionAvailable: true}}
	words := strings.Fields(text)
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if r, ok := dns.ParseRcode(w); ok {
			m.Rcode = r
			continue
		}
		switch w {
		case "TC":
			m.Truncated = true
			continue
		case "UPDATE":
			m.Opcode = dns.OpcodeUpdate
			continue
		case "NORD":
			m.RecursionDesired, m.RecursionAvailable = false, false
			continue
		case "AUTHORITY":
			continue
		}
		m.Response = m.Response && !strings.HasSuffix(w, "?")
		typ, ok := dns.ParseType(strings.TrimSuffix(w, "?"))
		if !ok || len(words) == 0 {
			t.Fatalf("%q", text)
		}
		m.Questions = append(m.Questions, dns.Question{Name: dns.MustName(words[0]), Type: typ, Class: dns.ClassIN})
		words = words[1:]
	}
	if !m.Response {
		m.RecursionAvailable = false
	}
	for _, r := range records {
		name, data, _ := strings.Cut(r, " ")
		owner := dns.MustName(name)
		switch {
		case strings.HasPrefix(data, "NS "):
			m.Authority = append(m.Authority, dns.NewResource(owner, 60, dns.NS{Host: dns.MustName(data[3:])}))
		case strings.HasPrefix(data, "CNAME "):
			m.Answers = append(m.Answers, dns.NewResource(owner, 60, dns.CNAME{Target: dns.MustName(data[6:])}))
		default:
			m.Answers = append(m.Answers, dns.NewResource(owner, 60, dns.A{Addr: netip.MustParseAddr(data)}))
		}
	}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// toldLookups is what a trace tells of names: a line for each step.
func toldLookups(tr *trace.Trace) []string {
	var out []string
	for _, l := range tr.Lookups {
		for _, s := range l.Steps {
			_, text, _ := strings.Cut(s.Text, ": ")
			out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s %s %s %d %s: %s", l.ID, l.Kind, s.Question, s.Server, s.Transport, s.Attempt, s.Outcome, text)))
		}
		if l.Failure != nil {
			out = append(out, fmt.Sprintf("%d failed: %s", l.ID, l.Failure.Code))
		}
	}
	return out
}

func TestQuestionsInPackets(t *testing.T) {
	const c, c2, s, s2 = "192.0.2.1:4000", "192.0.2.1:4001", "192.0.2.53:53", "192.0.2.54:53"
	m := func(id uint16, text string, records ...string) []byte { return dnsMessage(t, id, text, records...) }
	mdns, llmnr := "224.0.0.251:5353", "224.0.0.252:5355"
	for what, c := range map[string]struct {
		s    *script
		want []string
	}{
		"an answer": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"aliases": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test CNAME web.test", "web.test 198.51.100.1", "other.test 198.51.100.2")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: alias www.test → web.test: 198.51.100.1 (TTL 60 s)"}},
		"the question is missing": {new(script).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 0 answer: the question was not captured; 198.51.100.1 (TTL 60 s)"}},
		"asked again, from the same port": {new(script).udp(c, s, m(1, "A? www.test")).wait(5*time.Second).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 timeout: no answer within 5.001s", "1  www.test. A 192.0.2.53:53 udp 2 answer: 198.51.100.1 (TTL 60 s)"}},
		"asked of another server": {new(script).udp(c, s, m(1, "A? www.test")).wait(5*time.Second).udp(c2, s2, m(2, "A? www.test")).udp(s2, c2, m(2, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 timeout: no answer within 5.001s", "1  www.test. A 192.0.2.54:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"an answer after the next question": {new(script).udp(c, s, m(1, "A? www.test")).wait(5*time.Second).udp(c2, s2, m(2, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)", "1  www.test. A 192.0.2.54:53 udp 1 waiting: no answer in the capture, which goes on for 1ms"}},
		"the capture ends soon": {new(script).udp(c, s, m(1, "A? www.test")).wait(time.Second).udp(c2, s, m(2, "A? other.test")).udp(s, c2, m(2, "A other.test", "other.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 waiting: no answer in the capture, which goes on for 1s", "2  other.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"the capture goes on": {new(script).udp(c, s, m(1, "A? www.test")).wait(3*time.Second).udp(c2, s, m(2, "A? other.test")).udp(s, c2, m(2, "A other.test", "other.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 timeout: no answer within 3.002s, and none until the capture ends", "1 failed: timeout", "2  other.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"only what the client sends is captured": {new(script).udp(c, s, m(1, "A? www.test")).wait(3*time.Second).udp(c2, s, m(2, "A? other.test")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 waiting: no answer in the capture, which goes on for 3s", "2  other.test. A 192.0.2.53:53 udp 1 waiting: no answer in the capture, which goes on for 0s"}},
		"captured twice": {new(script).udp(c, s, m(1, "A? www.test")).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"two answers": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 203.0.113.9")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 203.0.113.9 (TTL 60 s)", "1  www.test. A 192.0.2.53:53 udp 1 ignored: another answer to the same question: 198.51.100.1 (TTL 60 s)"}},
		"asked for anew": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1")).udp(c2, s, m(2, "A? www.test")).udp(s, c2, m(2, "A www.test", "www.test 198.51.100.1")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)", "2  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s)"}},
		"FORMERR without the question": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "FORMERR")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 server_failure: FORMERR: the server could not read the query", "1 failed: server_failure"}},
		"no MX is no fault": {new(script).udp(c, s, m(1, "MX? www.test")).udp(s, c, m(1, "MX www.test")),
			[]string{"1  www.test. MX 192.0.2.53:53 udp 1 no_data: www.test exists, but has no MX record (NODATA)"}},
		"a name that cannot be read": {new(script).udp(s, c, append(m(1, "SERVFAIL")[:5], 1, 0, 0, 0, 0, 0, 0, 0x80, 0, 1, 0, 1)),
			[]string{"1   192.0.2.53:53 udp 0 malformed: the question was not captured; question 1 of 1: name at offset 12: label type 0x80 is not known"}},
		"a list that does not have an address": {new(script).udp(c, s, m(1, "A? 1.2.0.192.list.test")).udp(s, c, m(1, "NXDOMAIN A 1.2.0.192.list.test")),
			[]string{"1  1.2.0.192.list.test. A 192.0.2.53:53 udp 1 no_name: the name does not exist (NXDOMAIN)"}},
		"a referral": {new(script).udp(c, s, m(1, "NORD A? www.test")).udp(s, c, m(1, "NORD A www.test", "test NS ns.test")),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 referral: referred to the servers of test.: ns.test"}},
		"an update that is refused": {new(script).udp(c, s, m(1, "UPDATE SOA? test")).udp(s, c, m(1, "UPDATE REFUSED SOA test")),
			[]string{"1 update test. SOA 192.0.2.53:53 udp 1 refused: UPDATE: REFUSED: the server does not answer this client for this name"}},
		"the beginning of an answer": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "A www.test", "www.test 198.51.100.1", "www.test 198.51.100.2")).cut(3),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 answer: 198.51.100.1 (TTL 60 s); the rest of the answer was not captured"}},
		"another port": {new(script).udp(c, "192.0.2.53:8053", m(1, "A? www.test")).udp("192.0.2.53:8053", c, m(1, "NXDOMAIN A www.test")),
			[]string{"1  www.test. A 192.0.2.53:8053 udp 1 no_name: the name does not exist (NXDOMAIN)", "1 failed: name_not_found"}},
		"another port, and no DNS": {new(script).udp(c, "192.0.2.53:8053", append(m(1, "A? www.test"), 0)).udp("192.0.2.53:8053", c, []byte("answer")), nil},
		"between two servers": {new(script).udp(s, s2, m(1, "A? www.test")).udp(s2, s, m(1, "A www.test", "www.test 198.51.100.1")).udp(s2, s, m(2, "A? other.test")).udp(s, s2, m(2, "NXDOMAIN A other.test")),
			[]string{"1  www.test. A 192.0.2.54:53 udp 1 answer: 198.51.100.1 (TTL 60 s)", "2  other.test. A 192.0.2.53:53 udp 1 no_name: the name does not exist (NXDOMAIN)", "2 failed: name_not_found"}},
		"multicast: two questions, two who answer, one who is not asked": {new(script).udp("192.0.2.1:5353", mdns, m(0, "A? a.local A? b.local")).
			udp("192.0.2.7:5353", mdns, m(0, "", "a.local 192.0.2.7")).udp("192.0.2.8:5353", mdns, m(0, "", "a.local 192.0.2.8")).udp("192.0.2.9:5353", mdns, m(0, "", "c.local 192.0.2.9")),
			[]string{"1 mdns a.local. A 192.0.2.7:5353 udp 1 answer: A 192.0.2.7", "1 mdns a.local. A 192.0.2.8:5353 udp 0 answer: A 192.0.2.8",
				"2 mdns b.local. A 224.0.0.251:5353 udp 1 waiting: nobody answered, which is how it is when nobody has the name",
				"3 announcement c.local. A 192.0.2.9:5353 udp 0 answer: told without a question in the capture: A 192.0.2.9"}},
		"LLMNR": {new(script).udp(c, llmnr, m(5, "A? pc")).udp("192.0.2.7:5355", c, m(5, "A pc", "pc 192.0.2.7")),
			[]string{"1 llmnr pc. A 192.0.2.7:5355 udp 1 answer: A 192.0.2.7"}},
		"TCP after an answer that was cut, two questions in one segment, an answer in two": {new(script).udp(c, s, m(1, "A? www.test")).udp(s, c, m(1, "TC A www.test")).
			tcp(c, s, tcp.Header{Seq: 99, Flags: tcp.SYN}, nil).tcp(s, c, tcp.Header{Seq: 499, Ack: 100, Flags: tcp.SYN | tcp.ACK}, nil).
			tcp(c, s, tcp.Header{Seq: 100, Ack: 500, Flags: tcp.ACK | tcp.PSH}, framed(m(2, "A? www.test"), m(3, "AAAA? www.test"))).
			tcp(s, c, tcp.Header{Seq: 500, Ack: 160, Flags: tcp.ACK | tcp.PSH}, framed(m(3, "AAAA www.test"), m(2, "A www.test", "www.test 198.51.100.1"))[:40]).
			tcp(s, c, tcp.Header{Seq: 540, Ack: 160, Flags: tcp.ACK | tcp.PSH}, framed(m(3, "AAAA www.test"), m(2, "A www.test", "www.test 198.51.100.1"))[40:]),
			[]string{"1  www.test. A 192.0.2.53:53 udp 1 truncated: the answer of 26 octets is cut short (TC): asked again over TCP",
				"1  www.test. A 192.0.2.53:53 tcp 1 answer: 198.51.100.1 (TTL 60 s)",
				"1  www.test. AAAA 192.0.2.53:53 tcp 1 no_data: www.test exists, but has no AAAA record (NODATA)"}},
		"TCP whose beginning is missing, in the middle of a message": {new(script).
			tcp(c, s, tcp.Header{Seq: 100, Ack: 500, Flags: tcp.ACK | tcp.PSH}, framed(m(2, "A? lost.test"))[9:]).
			tcp(c, s, tcp.Header{Seq: 200, Ack: 500, Flags: tcp.ACK | tcp.PSH}, nil).
			tcp(c, s, tcp.Header{Seq: 100 + 20, Ack: 500, Flags: tcp.ACK | tcp.PSH}, framed(m(3, "A? www.test"))).
			tcp(s, c, tcp.Header{Seq: 500, Ack: 148, Flags: tcp.ACK | tcp.PSH}, framed(m(3, "A www.test", "www.test 198.51.100.1"))),
			[]string{"1  www.test. A 192.0.2.53:53 tcp 1 answer: 198.51.100.1 (TTL 60 s)"}},
	} {
		if got := toldLookups(whole(t, c.s.list)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func framed(messages ...[]byte) (b []byte) {
	for _, m := range messages {
		b = dns.AppendStream(b, m)
	}
	return b
}

// The name that a request is for tells which lookup it goes back to, where
// several names have one address.
func TestLookupOfARequest(t *testing.T) {
	const c, s, web = "192.0.2.1:4000", "192.0.2.53:53", "198.51.100.1:80"
	for host, want := range map[string]string{"a.test": "a.test", "b.test": "b.test", "short": "short.corp.test", "c.test": "", "198.51.100.1": ""} {
		sc := new(script)
		for i, name := range []string{"a.test", "b.test", "short.corp.test"} {
			sc.udp(c, s, dnsMessage(t, uint16(i), "A? "+name)).udp(s, c, dnsMessage(t, uint16(i), "A "+name, name+" 198.51.100.1"))
		}
		get := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		sc.tcp("192.0.2.1:5000", web, tcp.Header{Seq: 99, Flags: tcp.SYN}, nil).tcp(web, "192.0.2.1:5000", tcp.Header{Seq: 499, Ack: 100, Flags: tcp.SYN | tcp.ACK}, nil).
			tcp("192.0.2.1:5000", web, tcp.Header{Seq: 100, Ack: 500, Flags: tcp.ACK | tcp.PSH}, get).
			tcp(web, "192.0.2.1:5000", tcp.Header{Seq: 500, Ack: 100 + uint32(len(get)), Flags: tcp.ACK | tcp.PSH}, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
		tr := whole(t, sc.list)
		if len(tr.Exchanges) != 1 {
			t.Fatalf("%d exchanges", len(tr.Exchanges))
		}
		got := ""
		if l := tr.Lookup(tr.Exchanges[0].Lookup); l != nil {
			got = l.Name
			if tr.Exchanges[0].Timings.DNS == nil {
				t.Errorf("%s: no time for the lookup", host)
			}
		}
		if got != want {
			t.Errorf("a request for %s goes back to %q, want %q", host, got, want)
		}
	}
}

// A client that does not wait for the other family's answer has its lookup end
// with the first.
func TestLookupThatGoesOnAfterTheConnection(t *testing.T) {
	const c, s, web, local = "192.0.2.1:4000", "192.0.2.53:53", "198.51.100.1:80", "192.0.2.1:5000"
	get := []byte("GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
	sc := new(script).udp(c, s, dnsMessage(t, 1, "A? www.test")).udp(c, s, dnsMessage(t, 2, "AAAA? www.test")).udp(s, c, dnsMessage(t, 1, "A www.test", "www.test 198.51.100.1")).
		tcp(local, web, tcp.Header{Seq: 99, Flags: tcp.SYN}, nil).tcp(web, local, tcp.Header{Seq: 499, Ack: 100, Flags: tcp.SYN | tcp.ACK}, nil).
		tcp(local, web, tcp.Header{Seq: 100, Ack: 500, Flags: tcp.ACK | tcp.PSH}, get).wait(time.Second).
		udp(s, c, dnsMessage(t, 2, "AAAA www.test")).tcp(web, local, tcp.Header{Seq: 500, Ack: 100 + uint32(len(get)), Flags: tcp.ACK | tcp.PSH}, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
	tr := whole(t, sc.list)
	if d := tr.Exchanges[0].Timings.DNS; d == nil || d.Duration.Std() != 2*time.Millisecond {
		t.Errorf("the lookup took %+v", d)
	}
}

// What is kept of questions is bounded, and it is said what was let go.
func TestManyQuestions(t *testing.T) {
	const questions = maxQuestions + 1000
	a := New(Limits{})
	s := new(script)
	for i := range questions {
		s.list, s.now = s.list[:0], time.Duration(i)*time.Microsecond
		s.udp(fmt.Sprintf("192.0.2.1:%d", 1024+i%60000), "192.0.2.53:53", dnsMessage(t, uint16(i/60000), fmt.Sprintf("A? n%d.test", i)))
		a.Add(s.list[0])
	}
	first := dnsMessage(t, 0, "NXDOMAIN A n0.test")
	s.list = s.list[:0]
	s.udp("192.0.2.53:53", "192.0.2.1:1024", first)
	a.Add(s.list[0])
	a.End()
	tr := a.Trace()
	want := fmt.Sprintf("%d DNS questions were let go before their answers could have come", questions-maxQuestions+1) // that of the answer is one more
	if !slices.ContainsFunc(tr.Findings, func(f *trace.Finding) bool { return f.Title == want }) {
		t.Errorf("no finding %q", want)
	}
	book := &a.wire.names
	for what, n := range map[string]int{"asked": len(book.asked.now), "order": len(book.asked.order), "open": len(book.open.now)} {
		if n > 4*maxQuestions {
			t.Errorf("%s holds %d", what, n)
		}
	}
	if n := len(tr.Lookups); n != 50_000 {
		t.Errorf("%d lookups", n)
	}
}

// What is DNS is told by ports, by ALPN (RFC 7858 §3.2), and on other ports by a
// form that nothing else has.
func TestWhatIsDNS(t *testing.T) {
	query := dnsMessage(t, 1, "A? www.test")
	for what, c := range map[string]struct {
		o    opening
		want guess
	}{
		"port 53":                  {opening{datagram: true, server: 53}, yes},
		"TCP port 53":              {opening{server: 53}, yes},
		"port 853":                 {opening{secure: true, server: 853}, yes},
		"port 853 without TLS":     {opening{server: 853}, no},
		"ALPN dot":                 {opening{secure: true, server: 443, alpn: "dot"}, yes},
		"a question":               {opening{datagram: true, server: 8053, out: query}, yes},
		"and a byte more":          {opening{datagram: true, server: 8053, out: append(slices.Clone(query), 0)}, no},
		"a question in a stream":   {opening{server: 8053, out: framed(query)}, yes},
		"its beginning":            {opening{server: 8053, out: framed(query)[:9]}, perhaps},
		"HTTP":                     {opening{server: 8053, out: []byte("GET / HTTP/1.1\r\n")}, no},
		"a TLS record":             {opening{server: 8053, out: []byte{0x16, 3, 1, 2, 0, 1, 0}}, no},
		"a stream begun elsewhere": {opening{server: 8053, late: true, out: framed(query)}, no},
	} {
		if got := looksLikeDNS(&c.o); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}

// Whatever two sides say on the ports of DNS, it is told or it is not; nothing
// breaks, and no time is negative. Each message has a byte for its ways: who
// sends it, on which port, after how long.
func FuzzNames(f *testing.F) {
	one := func(way byte, msg []byte) []byte { return append([]byte{way, byte(len(msg))}, msg...) }
	q, a := dnsMessage(f, 1, "A? www.test"), dnsMessage(f, 1, "A www.test", "www.test CNAME web.test", "web.test 198.51.100.1")
	f.Add(append(one(0, q), one(1, a)...))
	f.Add(append(one(2, dnsMessage(f, 0, "A? a.local AAAA? a.local")), one(3, dnsMessage(f, 0, "", "a.local 192.0.2.7"))...))
	f.Add(append(append(one(0x10, q), one(0x20, q)...), one(1, dnsMessage(f, 1, "TC A www.test"))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := new(script)
		for len(b) >= 2 && len(s.list) < 200 {
			way, n := b[0], min(int(b[1]), len(b)-2)
			port := []string{"53", "5353", "5355", "8053"}[way>>1&3]
			from, to := "192.0.2.1:4000", "192.0.2.53:"+port
			if way&1 != 0 {
				from, to = to, from
			}
			s.udp(from, to, b[2:2+n]).wait(time.Duration(way>>4) * 500 * time.Millisecond)
			b = b[2+n:]
		}
		tr := whole(t, s.list)
		for _, l := range tr.Lookups {
			for _, st := range l.Steps {
				if st.Duration < 0 || st.Text == "" {
					t.Errorf("%+v", st)
				}
			}
		}
	})
}
