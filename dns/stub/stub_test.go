package stub

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// reply is what a scripted server does with a query: answer with messages
// after a delay, fail, or say nothing when it is empty.
type reply struct {
	delay time.Duration
	msgs  [][]byte
	from  netip.AddrPort // the server itself unless set
	err   error
}

// sent is one query as it left the engine.
type sent struct {
	at     time.Duration
	server string
	tcp    bool
	msg    *dns.Message
}

func (s sent) String() string {
	return fmt.Sprintf("%s %s %s %s %s", s.at, s.server, transport(s.tcp), s.msg.Questions[0].Name.Host(), s.msg.Questions[0].Type)
}

// network plays a lookup against a script in virtual time.
type network struct {
	t       *testing.T
	l       *Lookup
	sent    []sent
	open    map[int]bool
	elapsed time.Duration
}

const epoch = clock.Time(1e18)

func play(t *testing.T, cfg Config, host string, script func(q sent) reply) *network {
	t.Helper()
	seed := uint64(0)
	n := &network{t: t, open: map[int]bool{}}
	n.l = NewLookup(epoch, &cfg, host, 443, func() uint64 { seed += 0x9e3779b97f4a7c15; return seed >> 16 })
	type event struct {
		at     clock.Time
		socket int
		from   netip.AddrPort
		msg    []byte
		err    error
	}
	var events []event
	now := epoch
	for range 10000 {
		actions, next := n.l.Poll(now)
		for _, a := range actions {
			switch a.Kind {
			case SendUDP, SendTCP, SendMulticast:
				m, err := dns.Parse(a.Msg)
				if err != nil {
					t.Fatal(err)
				}
				if _, used := n.open[a.Socket]; used && a.Kind != SendMulticast {
					t.Errorf("socket %d was used before", a.Socket)
				}
				n.open[a.Socket] = true
				q := sent{now.Sub(epoch), a.Server.String(), a.Kind == SendTCP, m}
				n.sent = append(n.sent, q)
				r := script(q)
				from := a.Server
				if r.from.IsValid() {
					from = r.from
				}
				for _, msg := range r.msgs {
					events = append(events, event{now.Add(r.delay), a.Socket, from, msg, nil})
				}
				if r.err != nil {
					events = append(events, event{now.Add(r.delay), a.Socket, from, nil, r.err})
				}
			case CloseSocket:
				if !n.open[a.Socket] {
					t.Errorf("socket %d is closed twice or was never open", a.Socket)
				}
				n.open[a.Socket] = false
			case Done:
				n.elapsed = now.Sub(epoch)
				for s, open := range n.open {
					if open {
						t.Errorf("socket %d is left open", s)
					}
				}
				if n.elapsed > n.l.Bound() {
					t.Errorf("took %s, the bound is %s", n.elapsed, n.l.Bound())
				}
				return n
			}
		}
		slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
		if len(events) > 0 && events[0].at <= next {
			e := events[0]
			events = events[1:]
			now = e.at
			if e.err != nil {
				n.l.InputError(now, e.socket, e.err)
			} else {
				n.l.Input(now, e.socket, e.from, e.msg)
			}
			continue
		}
		if next == clock.Never {
			t.Fatalf("the lookup waits for ever\n%s", n)
		}
		now = next
	}
	t.Fatal("the lookup does not end")
	return nil
}

// String tells the whole story.
func (n *network) String() string {
	var s strings.Builder
	for _, st := range n.l.Steps() {
		fmt.Fprintf(&s, "%8s %-9s %s\n", st.Start.Sub(epoch), st.Outcome, st)
	}
	return s.String()
}

// questions lists what was asked, in order.
func (n *network) questions() string {
	var out []string
	for _, q := range n.sent {
		out = append(out, q.String())
	}
	return strings.Join(out, "\n")
}

func (n *network) wantQuestions(lines ...string) {
	n.t.Helper()
	if got, want := n.questions(), strings.Join(lines, "\n"); got != want {
		n.t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
}

func (n *network) wantAddrs(addrs ...string) Result {
	n.t.Helper()
	r, err := n.l.Result()
	var got []string
	for _, a := range r.Addresses {
		got = append(got, a.Addr.String())
	}
	if err != nil || !slices.Equal(got, addrs) {
		n.t.Errorf("addresses %v, %v, want %v\n%s", got, err, addrs, n)
	}
	return r
}

func (n *network) wantError(k Kind, parts ...string) *Error {
	n.t.Helper()
	_, err := n.l.Result()
	var e *Error
	if !errors.As(err, &e) || e.Kind != k {
		n.t.Fatalf("error %v, want %s\n%s", err, k, n)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			n.t.Errorf("error %q does not say %q", err, p)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		n.t.Errorf("error has more than one line: %q", err)
	}
	return e
}

func (n *network) wantStep(source trace.StepSource, outcome trace.StepOutcome, text string) {
	n.t.Helper()
	for _, s := range n.l.Steps() {
		if s.Source == source && s.Outcome == outcome && strings.Contains(s.Text, text) {
			return
		}
	}
	n.t.Errorf("no step %s, %s with %q in\n%s", source, outcome, text, n)
}

// answer packs a response to q with records in zone file form: "name ttl type data".
func answer(q sent, rcode dns.Rcode, records ...dns.Resource) reply {
	m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, Rcode: rcode}, Questions: q.msg.Questions, Answers: records}
	return packed(m)
}

func packed(m *dns.Message) reply {
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return reply{delay: 20 * time.Millisecond, msgs: [][]byte{b}}
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

// only answers A queries for name with one address, and NXDOMAIN to others.
func only(name, addr string) func(q sent) reply {
	return func(q sent) reply {
		switch {
		case !q.msg.Questions[0].Name.EqualFold(dns.MustName(name)):
			return answer(q, dns.RcodeNXDomain)
		case q.msg.Questions[0].Type == dns.TypeA:
			return answer(q, dns.RcodeNoError, a(name, 300, addr))
		}
		return answer(q, dns.RcodeNoError)
	}
}

func resolv(text string) *ResolvConf { return ParseResolvConf([]byte(text)) }

const one = "nameserver 10.0.0.53\n"
const two = one + "nameserver 10.0.0.54\n"

func TestRFC3596_AAndAAAAAreAskedInParallelFromTwoSockets(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one)}, "www.example.com", func(q sent) reply {
		if q.msg.Questions[0].Type == dns.TypeA {
			return answer(q, dns.RcodeNoError, a("www.example.com", 300, "192.0.2.1"))
		}
		return answer(q, dns.RcodeNoError, a("www.example.com", 200, "2001:db8::1"))
	})
	n.wantQuestions("0s 10.0.0.53:53 udp www.example.com A", "0s 10.0.0.53:53 udp www.example.com AAAA")
	r := n.wantAddrs("192.0.2.1", "2001:db8::1")
	if r.Addresses[1].TTL != 200 || r.Source != "dns" || n.elapsed != 20*time.Millisecond {
		t.Errorf("%+v in %s", r, n.elapsed)
	}
	if n.sent[0].msg.ID == n.sent[1].msg.ID {
		t.Error("both queries have the same ID")
	}
	if e, ok := n.sent[0].msg.EDNS(); !ok || e.UDPSize != 1232 || !n.sent[0].msg.RecursionDesired {
		t.Errorf("%+v", n.sent[0].msg)
	}
}

// DNS-TIMEOUT: the first server is dead; the second is asked after exactly
// five seconds.
func TestTrapDNSTimeout(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "api.example.com", func(q sent) reply {
		if q.server == "10.0.0.53:53" {
			return reply{}
		}
		return only("api.example.com", "192.0.2.1")(q)
	})
	n.wantQuestions("0s 10.0.0.53:53 udp api.example.com A", "5s 10.0.0.54:53 udp api.example.com A")
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "timeout", "no answer within 5s")
}

func TestAllServersSilentEndsWithinTheBound(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two + "nameserver 10.0.0.55\n"), WantA: true}, "api.example.com", func(sent) reply { return reply{} })
	// resolv.conf(5) leaves out what the C library does: 5, 10/3 and 20/3
	// whole seconds, twice.
	n.wantQuestions("0s 10.0.0.53:53 udp api.example.com A", "5s 10.0.0.54:53 udp api.example.com A", "8s 10.0.0.55:53 udp api.example.com A",
		"14s 10.0.0.53:53 udp api.example.com A", "19s 10.0.0.54:53 udp api.example.com A", "22s 10.0.0.55:53 udp api.example.com A")
	e := n.wantError(Timeout, "api.example.com", "10.0.0.53:53, 10.0.0.54:53, 10.0.0.55:53", "port 53")
	if n.elapsed != 28*time.Second || len(e.Servers) != 3 || !e.Timeout() {
		t.Errorf("%s %+v", n.elapsed, e)
	}
}

// DNS-PAIR-RACE: one of the pair is lost on the way and asked again.
func TestTrapDNSPairRace(t *testing.T) {
	lost := true
	n := play(t, Config{Resolv: resolv(one)}, "api.example.com", func(q sent) reply {
		if q.msg.Questions[0].Type == dns.TypeAAAA && lost {
			lost = false
			return reply{}
		}
		return only("api.example.com", "192.0.2.1")(q)
	})
	n.wantAddrs("192.0.2.1")
	if n.elapsed != 5*time.Second+20*time.Millisecond {
		t.Error(n.elapsed)
	}
}

// DNS-TRUNCATED: TC leads to TCP on the same server.
func TestTrapDNSTruncated_RFC7766_5(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "big.example.com", func(q sent) reply {
		if !q.tcp {
			m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Truncated: true}, Questions: q.msg.Questions}
			return packed(m)
		}
		return only("big.example.com", "192.0.2.1")(q)
	})
	n.wantQuestions("0s 10.0.0.53:53 udp big.example.com A", "20ms 10.0.0.53:53 tcp big.example.com A")
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "truncated", "TCP")
}

func TestTruncatedAndTCPRefusedGoesToTheNextServer(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "big.example.com", func(q sent) reply {
		switch {
		case q.tcp:
			return reply{delay: time.Millisecond, err: syscall.ECONNREFUSED}
		case q.server == "10.0.0.53:53":
			return packed(&dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Truncated: true}, Questions: q.msg.Questions})
		}
		return only("big.example.com", "192.0.2.1")(q)
	})
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "refused", "over tcp")
}

// DNS-SEARCH-STORM: ndots:5 makes eight queries of one name.
func TestTrapDNSSearchStorm(t *testing.T) {
	conf := "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n" + one
	n := play(t, Config{Resolv: resolv(conf)}, "api.example.com", only("api.example.com", "192.0.2.1"))
	n.wantAddrs("192.0.2.1")
	if len(n.sent) != 8 || n.sent[0].msg.Questions[0].Name.Host() != "api.example.com.ns.svc.cluster.local" {
		t.Errorf("%s", n.questions())
	}
	n = play(t, Config{Resolv: resolv(conf)}, "api.example.com.", only("api.example.com", "192.0.2.1"))
	n.wantAddrs("192.0.2.1")
	if len(n.sent) != 2 {
		t.Errorf("a final dot does not end the search:\n%s", n.questions())
	}
}

func TestSearchListOrderByNdots(t *testing.T) {
	conf := "search corp.example lab.example\n" + one
	n := play(t, Config{Resolv: resolv(conf), WantA: true}, "db", only("db.lab.example", "10.1.1.1"))
	n.wantQuestions("0s 10.0.0.53:53 udp db.corp.example A", "20ms 10.0.0.53:53 udp db.lab.example A")
	n = play(t, Config{Resolv: resolv(conf), WantA: true}, "db.x", only("db.x.corp.example", "10.1.1.1"))
	n.wantQuestions("0s 10.0.0.53:53 udp db.x A", "20ms 10.0.0.53:53 udp db.x.corp.example A")
	n = play(t, Config{Resolv: resolv(conf), WantA: true}, "nobody", only("x", "10.1.1.1"))
	n.wantError(NotFound, "names tried: nobody.corp.example, nobody.lab.example, nobody")
	n = play(t, Config{Resolv: resolv(conf + "options no-tld-query\n"), WantA: true}, "nobody", only("x", "10.1.1.1"))
	n.wantError(NotFound, "names tried: nobody.corp.example, nobody.lab.example")
}

// DNS-EMPTY: the name exists without an address, which is not NXDOMAIN.
func TestTrapDNSEmpty_RFC2308_2_2_NoData(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one)}, "dynamodb.example.com", func(q sent) reply {
		m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, RecursionAvailable: true}, Questions: q.msg.Questions,
			Authority: []dns.Resource{dns.NewResource(dns.MustName("example.com"), 900, dns.SOA{Minimum: 60})}}
		return packed(m)
	})
	n.wantError(NoData, "10.0.0.53:53", "no A record", "dynamodb.example.com")
	n.wantStep("dns", "no_data", "60 s (SOA of example.com)")
}

func TestNXDomainStopsTheOtherTypesRetries(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two)}, "nobody.example.com", func(q sent) reply {
		if q.msg.Questions[0].Type == dns.TypeAAAA {
			return reply{}
		}
		return answer(q, dns.RcodeNXDomain)
	})
	n.wantError(NotFound, "NXDOMAIN")
	if n.elapsed != 5*time.Second {
		t.Error(n.elapsed)
	}
}

func TestRFC4074_4_2_NXDomainForAAAABesideAnAddressDoesNotCount(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one)}, "www.example.com", func(q sent) reply {
		if q.msg.Questions[0].Type == dns.TypeAAAA {
			return answer(q, dns.RcodeNXDomain)
		}
		return answer(q, dns.RcodeNoError, a("www.example.com", 60, "192.0.2.1"))
	})
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "ignored", "RFC 4074")
}

func TestServerFailuresGoToTheNextServer(t *testing.T) {
	for rcode, outcome := range map[dns.Rcode]trace.StepOutcome{dns.RcodeServFail: "server_failure", dns.RcodeRefused: "refused", dns.RcodeNotImp: "server_failure", dns.RcodeFormErr: "server_failure"} {
		n := play(t, Config{Resolv: resolv(two), WantA: true, NoEDNS: true}, "www.example.com", func(q sent) reply {
			if q.server == "10.0.0.53:53" {
				return answer(q, rcode)
			}
			return only("www.example.com", "192.0.2.1")(q)
		})
		n.wantQuestions("0s 10.0.0.53:53 udp www.example.com A", "20ms 10.0.0.54:53 udp www.example.com A")
		n.wantAddrs("192.0.2.1")
		n.wantStep("dns", outcome, rcode.String())
	}
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply { return answer(q, dns.RcodeRefused) })
	n.wantError(Refused)
	n = play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply {
		m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Rcode: dns.RcodeServFail}, Questions: q.msg.Questions,
			Additional: []dns.Resource{dns.EDNS{Options: []dns.Option{dns.ExtendedError{Code: dns.EDESignatureExpired, Text: "com. expired"}.Option()}}.Resource()}}
		return packed(m)
	})
	n.wantError(ServFail, `7 (Signature Expired): "com. expired"`)
}

func TestRFC6891_6_2_2_FormErrIsAskedAgainWithoutEDNS(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply {
		if _, ok := q.msg.EDNS(); ok {
			m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Rcode: dns.RcodeFormErr}} // and no question
			return packed(m)
		}
		return only("www.example.com", "192.0.2.1")(q)
	})
	n.wantQuestions("0s 10.0.0.53:53 udp www.example.com A", "20ms 10.0.0.53:53 udp www.example.com A")
	n.wantAddrs("192.0.2.1")
}

// RFC 5452 §9.1: none of these may be taken for the answer.
func TestRFC5452_9_1_ForgedAnswersAreIgnored(t *testing.T) {
	forge := func(change func(m *dns.Message)) func(q sent) reply {
		return func(q sent) reply {
			m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true}, Questions: slices.Clone(q.msg.Questions),
				Answers: []dns.Resource{a("bank.example", 60, "203.0.113.66")}}
			change(m)
			r := packed(m)
			r.msgs = append(r.msgs, answer(q, dns.RcodeNoError, a("bank.example", 60, "192.0.2.1")).msgs...)
			return r
		}
	}
	for want, change := range map[string]func(*dns.Message){
		"its ID is":                   func(m *dns.Message) { m.ID++ },
		"not a response":              func(m *dns.Message) { m.Response = false },
		"answers evil.example. IN A":  func(m *dns.Message) { m.Questions[0].Name = dns.MustName("evil.example") },
		"bank.example. IN MX":         func(m *dns.Message) { m.Questions[0].Type = dns.TypeMX },
		"it repeats 0 questions":      func(m *dns.Message) { m.Questions = nil },
		"answers bank.example. CH A,": func(m *dns.Message) { m.Questions[0].Class = dns.ClassCH },
	} {
		n := play(t, Config{Resolv: resolv(one), WantA: true}, "bank.example", forge(change))
		n.wantAddrs("192.0.2.1")
		n.wantStep("dns", "ignored", want)
	}
	other := netip.MustParseAddrPort("10.0.0.53:5353")
	n := play(t, Config{Resolv: resolv("options attempts:1\n" + one), WantA: true}, "bank.example", func(q sent) reply {
		r := answer(q, dns.RcodeNoError, a("bank.example", 60, "203.0.113.66"))
		r.from = other
		return r
	})
	n.wantError(Timeout)
	n.wantStep("dns", "ignored", "came from 10.0.0.53:5353")
}

func TestAnswerOfAnotherOwnerInTheMessageIsNotTaken(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one), WantA: true}, "www.example.com", func(q sent) reply {
		return answer(q, dns.RcodeNoError, a("www.example.com", 60, "192.0.2.1"), a("other.example.com", 60, "203.0.113.66"))
	})
	n.wantAddrs("192.0.2.1")
}

func TestLateAnswerIsToldAndNotTaken(t *testing.T) {
	n := play(t, Config{Resolv: resolv("options timeout:1\n" + two), WantA: true}, "slow.example.com", func(q sent) reply {
		r := only("slow.example.com", "192.0.2.1")(q)
		r.delay = 700 * time.Millisecond
		if q.server == "10.0.0.53:53" {
			r.delay = 1200 * time.Millisecond
		}
		return r
	})
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "ignored", "1.2s after the query, too late")
}

func TestRFC1034_3_6_2_AliasesAreFollowedInTheAnswer(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one), WantA: true}, "www.example.com", func(q sent) reply {
		return answer(q, dns.RcodeNoError, a("edge.example.org", 300, "192.0.2.7"), alias("cdn.example.net", 30, "EDGE.example.org"), alias("WWW.example.com", 3600, "cdn.example.net"))
	})
	r := n.wantAddrs("192.0.2.7")
	if r.Canonical.Host() != "EDGE.example.org" || len(r.Chain) != 2 || r.Addresses[0].TTL != 30 {
		t.Errorf("%+v", r)
	}
}

func TestAliasLoopIsAnErrorAtOnce(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two)}, "a.example", func(q sent) reply {
		return answer(q, dns.RcodeNoError, alias("a.example", 60, "b.example"), alias("b.example", 60, "A.example"))
	})
	n.wantError(Malformed, "a loop of aliases: a.example → b.example → A.example")
	n = play(t, Config{Resolv: resolv(two)}, "n0.example", func(q sent) reply {
		var chain []dns.Resource
		for i := range 30 {
			chain = append(chain, alias(fmt.Sprintf("n%d.example", i), 60, fmt.Sprintf("n%d.example", i+1)))
		}
		return answer(q, dns.RcodeNoError, chain...)
	})
	n.wantError(Malformed, "more than 16 aliases")
}

func TestAliasThatTheServerDidNotCompleteIsNoData(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one), WantA: true}, "www.example.com", func(q sent) reply {
		return answer(q, dns.RcodeNoError, alias("www.example.com", 60, "gone.example.net"))
	})
	n.wantError(NoData, "no A record of gone.example.net")
}

// DNS-LAME: an empty answer without authority or recursion says nothing.
func TestTrapDNSLame(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply {
		if q.server == "10.0.0.53:53" {
			return packed(&dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true}, Questions: q.msg.Questions})
		}
		return only("www.example.com", "192.0.2.1")(q)
	})
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "refused", "does not resolve for clients")
}

// DNS-UNREACHABLE: an ICMP error moves on at once instead of after a timeout.
func TestTrapDNSUnreachable(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply {
		return reply{delay: time.Millisecond, err: syscall.ECONNREFUSED}
	})
	n.wantError(Unreachable, "connection refused")
	if n.elapsed != 4*time.Millisecond {
		t.Error(n.elapsed)
	}
}

func TestBrokenAnswerGoesToTheNextServer(t *testing.T) {
	n := play(t, Config{Resolv: resolv(two), WantA: true}, "www.example.com", func(q sent) reply {
		r := answer(q, dns.RcodeNoError, a("www.example.com", 60, "192.0.2.1"))
		if q.server == "10.0.0.53:53" {
			r.msgs[0] = r.msgs[0][:len(r.msgs[0])-2]
		}
		return r
	})
	n.wantAddrs("192.0.2.1")
	n.wantStep("dns", "malformed", "4 octets announced, 2 left")
}

func TestResolvConfOptionsReachTheWire(t *testing.T) {
	n := play(t, Config{Resolv: resolv("options use-vc trust-ad no-aaaa\n" + one)}, "www.example.com", only("www.example.com", "192.0.2.1"))
	n.wantQuestions("0s 10.0.0.53:53 tcp www.example.com A")
	if !n.sent[0].msg.AuthenticData {
		t.Error("trust-ad did not set AD")
	}
	n = play(t, Config{Resolv: resolv("options single-request\n" + one)}, "www.example.com", only("www.example.com", "192.0.2.1"))
	n.wantQuestions("0s 10.0.0.53:53 udp www.example.com A", "20ms 10.0.0.53:53 udp www.example.com AAAA")
	started := map[string]bool{}
	for i := range 8 {
		cfg := Config{Resolv: resolv("options rotate\n" + two), WantA: true}
		l := NewLookup(epoch, &cfg, "www.example.com", 1, func() uint64 { return uint64(i) })
		actions, _ := l.Poll(epoch)
		started[actions[0].Server.String()] = true
	}
	if len(started) != 2 {
		t.Errorf("rotate began with %v", started)
	}
}

func nobody(t *testing.T) func(sent) reply {
	return func(q sent) reply {
		t.Errorf("a name server was asked: %s", q)
		return reply{}
	}
}

func TestSourcesThatNeedNoServer(t *testing.T) {
	hosts := ParseHosts([]byte("127.0.0.1 localhost\n\n10.1.2.3 db.corp DB # here\n2001:db8::5 db\n"))
	n := play(t, Config{Hosts: hosts}, "Db", nobody(t))
	if r := n.wantAddrs("10.1.2.3", "2001:db8::5"); r.Addresses[0].Source != "/etc/hosts line 3" {
		t.Errorf("%+v", r)
	}
	n.wantStep("files", "answer", "/etc/hosts line 3: 10.1.2.3")
	play(t, Config{Hosts: hosts}, "localhost", nobody(t)).wantAddrs("127.0.0.1")
	play(t, Config{}, "LocalHost.", nobody(t)).wantAddrs("::1", "127.0.0.1")
	play(t, Config{WantA: true}, "app.localhost", nobody(t)).wantAddrs("127.0.0.1")
	play(t, Config{}, "192.0.2.1", nobody(t)).wantAddrs("192.0.2.1")
	play(t, Config{}, "fe80::1%eth0", nobody(t)).wantAddrs("fe80::1%eth0")
	play(t, Config{WantA: true}, "::1", nobody(t)).wantError(NoData)
	play(t, Config{}, "facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion", nobody(t)).wantError(NotFound, "Tor")
	play(t, Config{}, "a..b", nobody(t)).wantError(BadName, "empty label")
	play(t, Config{}, strings.Repeat("a", 64)+".example", nobody(t)).wantError(BadName, "64 octets")
	over := map[string][]netip.Addr{"api.example.com:443": {netip.MustParseAddr("192.0.2.9")}, "*:443": {netip.MustParseAddr("192.0.2.10")}}
	play(t, Config{Resolve: over, Hosts: hosts}, "API.example.com", nobody(t)).wantAddrs("192.0.2.9")
	play(t, Config{Resolve: over}, "db", nobody(t)).wantAddrs("192.0.2.10")
}

// RFC 9460 §3: HTTPS records never hold addresses up: those wait for as long
// as one family's for the other's, and no longer.
func TestRFC9460_3_AddressesDoNotWaitForHTTPSRecords(t *testing.T) {
	script := func(https reply) func(q sent) reply {
		return func(q sent) reply {
			switch q.msg.Questions[0].Type {
			case dns.TypeHTTPS:
				return https
			case dns.TypeA:
				return answer(q, dns.RcodeNoError, a("www.example.com", 300, "192.0.2.1"))
			}
			return answer(q, dns.RcodeNoError)
		}
	}
	cfg := Config{Resolv: resolv(one), WantHTTPS: true}
	n := play(t, cfg, "www.example.com", script(reply{}))
	n.wantAddrs("192.0.2.1")
	if n.elapsed != 20*time.Millisecond+serviceDelay {
		t.Errorf("a silent server held the addresses up for %s", n.elapsed)
	}
	n = play(t, cfg, "www.example.com", script(reply{delay: time.Millisecond, err: os.ErrClosed}))
	n.wantAddrs("192.0.2.1")
	if n.elapsed != 20*time.Millisecond {
		t.Errorf("a failure held the addresses up for %s", n.elapsed)
	}
}

func TestNsswitchActions(t *testing.T) {
	hosts := ParseHosts([]byte("10.1.2.3 printer.local\n"))
	cfg := func(line string) Config {
		return Config{Nsswitch: ParseNsswitch([]byte("hosts: " + line)), Hosts: hosts, Resolv: resolv(one), WantA: true}
	}
	n := play(t, cfg("files [NOTFOUND=return] dns"), "www.example.com", nobody(t))
	n.wantError(NotFound)
	n.wantStep("files", "skipped", "[NOTFOUND=return]")
	// Debian and Ubuntu's line: .local belongs to multicast DNS and must not
	// leak to the name server; other names go on to dns.
	line := "mymachines mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns"
	link := func(f func(q sent) reply) func(q sent) reply {
		return func(q sent) reply {
			if q.server != "224.0.0.251:5353" {
				t.Errorf("%s was asked for a .local name", q.server)
			}
			return f(q)
		}
	}
	n = play(t, cfg(line), "printer.local", link(func(sent) reply { return reply{} }))
	n.wantError(NotAsked, "mymachines")
	n.wantStep("mdns4_minimal", "timeout", "nobody on the link answered")
	if len(n.sent) != 2 || n.elapsed != 2*time.Second {
		t.Errorf("RFC 6762 §5.2: %d queries in %s", len(n.sent), n.elapsed)
	}
	// Another host's answer, beside one for another name and one from a port
	// that multicast DNS does not use.
	host := netip.MustParseAddrPort("192.0.2.77:5353")
	say := func(q sent, name, addr string) []byte {
		rr := a(name, 120, addr)
		rr.Class |= 1 << 15 // the cache-flush bit
		m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Authoritative: true}, Questions: q.msg.Questions, Answers: []dns.Resource{rr}}
		b, _ := m.Append(nil)
		return b
	}
	n = play(t, cfg(line), "printer.local", link(func(q sent) reply {
		return reply{delay: 20 * time.Millisecond, from: host, msgs: [][]byte{say(q, "other.local", "6.6.6.6"), {1, 2, 3}, say(q, "Printer.local", "192.0.2.77")}}
	}))
	if r := n.wantAddrs("192.0.2.77"); r.Addresses[0].Source != "mdns4_minimal from 192.0.2.77" || r.Addresses[0].TTL != 120 {
		t.Errorf("%+v", r)
	}
	n = play(t, cfg(line), "printer.local", link(func(q sent) reply {
		return reply{from: netip.MustParseAddrPort("192.0.2.66:1234"), msgs: [][]byte{say(q, "printer.local", "6.6.6.6")}}
	}))
	n.wantError(NotAsked)
	n = play(t, cfg(line), "a.b.local", only("a.b.local", "192.0.2.1")) // a site's own zone, as nss-mdns lets it be
	n.wantStep("mdns4_minimal", "skipped", "one label below .local")
	both := cfg("mdns [NOTFOUND=return] dns")
	both.WantAAAA = true
	n = play(t, both, "printer.local", link(func(q sent) reply {
		if q.msg.Questions[0].Type == dns.TypeAAAA {
			return reply{}
		}
		return reply{from: host, msgs: [][]byte{say(q, "printer.local", "192.0.2.77")}}
	}))
	n.wantAddrs("192.0.2.77")
	if n.elapsed != 100*time.Millisecond {
		t.Errorf("the other family was waited for %s", n.elapsed)
	}
	n = play(t, cfg(line), "www.example.com", only("www.example.com", "192.0.2.1"))
	n.wantAddrs("192.0.2.1")
	n.wantStep("resolve", "skipped", "systemd-resolved")
	n = play(t, cfg("dns files"), "printer.local", only("x", "192.0.2.1"))
	n.wantAddrs("10.1.2.3")
	n = play(t, cfg("dns [NOTFOUND=return] files"), "printer.local", only("x", "192.0.2.1"))
	n.wantError(NotFound)
	n = play(t, cfg("dns dns"), "nobody.example", only("x", "192.0.2.1"))
	n.wantError(NotFound)
}

func TestStepTrace(t *testing.T) {
	n := play(t, Config{Resolv: resolv(one), WantA: true}, "www.example.com", only("www.example.com", "192.0.2.1"))
	s := n.l.Steps()[len(n.l.Steps())-1].Trace(epoch)
	if s.Question.String() != "www.example.com. A" || s.Duration.Std() != 20*time.Millisecond || s.Rcode != "NOERROR" || len(s.Answers) != 1 || s.Answers[0].Data != "192.0.2.1" {
		t.Errorf("%+v", s)
	}
}

// A driver may report anything at any time.
func FuzzLookup(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3}, "www.example.com")
	f.Add([]byte{3, 2, 1, 0}, "printer.local")
	f.Fuzz(func(t *testing.T, b []byte, host string) {
		cfg := Config{Resolv: resolv("search a.example b.example\n" + two), WantHTTPS: true, Nsswitch: ParseNsswitch([]byte("hosts: files mdns [NOTFOUND=continue] dns"))}
		l := NewLookup(epoch, &cfg, host, 443, func() uint64 { return 1 })
		now := epoch
		var last []byte
		var server netip.AddrPort
		for range 5000 {
			actions, next := l.Poll(now)
			for _, a := range actions {
				if a.Kind == Done {
					return
				}
				if a.Msg != nil {
					last, server = slices.Clone(a.Msg), a.Server
				}
			}
			if len(b) > 1 && len(last) > 3 {
				last[2] |= 0x80
				last[3] = b[1]
				l.Input(now, int(b[0]%8), server, append(last, b[2:]...))
				if b[0]&1 != 0 {
					l.InputError(now, int(b[1]%8), os.ErrClosed)
				}
				b = b[2:]
				continue
			}
			if next != clock.Never {
				now = next
			}
		}
		t.Fatal("the lookup does not end")
	})
}
