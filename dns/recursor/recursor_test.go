package recursor

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/dnssec"
	"peel/dns/zone"
)

func TestRFC1034_5_3_3_WalkFromTheRoot(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if len(w.queries) != 3 {
		t.Errorf("%d queries\n%s", len(w.queries), w.log())
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if len(w.queries) != 3 {
		t.Errorf("the cache was not used\n%s", w.log())
	}
	w.want("alias.example.com", dns.TypeA, "NOERROR CNAME www.example.com. A 192.0.2.1")
	w.want("out.example.com", dns.TypeA, "NOERROR CNAME x.other.com. A 192.0.2.50")
	w.want("q.w.example.com", dns.TypeA, "NOERROR A 192.0.2.4")
	if w.sent("10.0.0.1") != 1 {
		t.Errorf("the root was asked again\n%s", w.log())
	}
}

func TestRFC8109_Priming(t *testing.T) {
	primed = true
	defer func() { primed = false }()
	w := plain(t, Config{NoMinimise: true})
	// Today's root has a second server, which the hints do not know.
	w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\n@ NS b.root.\na.root. A 10.0.0.1\nb.root. A 10.0.0.9\ncom NS ns.com.\nns.com. A 10.0.0.2\n")
	w.servers["10.0.0.9"] = w.servers["10.0.0.1"]
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if w.sent(". in ns") != 1 {
		t.Errorf("the root was not asked for its servers once\n%s", w.log())
	}
	for i := range 12 {
		w.ask(fmt.Sprintf("tld%d", i), dns.TypeA)
	}
	if w.sent("10.0.0.9") == 0 || w.sent(". in ns") != 1 {
		t.Errorf("the second root server was not used\n%s", w.log())
	}
}

func TestRFC9156_ServersSeeOnlyWhatTheyNeed(t *testing.T) {
	w := plain(t, Config{})
	w.want("a.b.c.d.e.example.com", dns.TypeA, "NOERROR A 192.0.2.2")
	for _, want := range []string{"10.0.0.1 udp com. in a", "10.0.0.2 udp example.com. in a", "e.example.com. in a"} {
		if w.sent(want) == 0 {
			t.Errorf("%s was not asked\n%s", want, w.log())
		}
	}
	if w.sent("10.0.0.1 udp a.b") > 0 || w.sent("10.0.0.2 udp a.b") > 0 {
		t.Errorf("the whole name went to the root or com\n%s", w.log())
	}
	// §2.3: at most ten queries, however many labels.
	w = plain(t, Config{})
	w.ask(strings.Repeat("x.", 100)+"example.com", dns.TypeA)
	if len(w.queries) > 15 {
		t.Errorf("%d queries for a long name\n%s", len(w.queries), w.log())
	}
}

func TestRFC9156_3_FallsBackWhenServersFailForShortNames(t *testing.T) {
	for name, broken := range map[string]func(m *dns.Message){
		"NXDOMAIN for an empty non-terminal": func(m *dns.Message) { m.Rcode = dns.RcodeNXDomain },
		"SERVFAIL":                           func(m *dns.Message) { m.Rcode = dns.RcodeServFail },
	} {
		w := plain(t, Config{NoCase: true})
		for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
			w.change(at, func(q query, honest []reply) []reply {
				if strings.HasPrefix(q.msg.Questions[0].Name.String(), "e.") {
					return []reply{{msg: respond(q, broken)}}
				}
				return honest
			})
		}
		if got := text(w.ask("a.b.c.d.e.example.com", dns.TypeA)); got != "NOERROR A 192.0.2.2" {
			t.Errorf("%s: %s\n%s", name, got, w.log())
		}
	}
}

func TestSilentServersAreTriedAndLeft(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.servers["10.0.0.3"] = nil
	start := w.now
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if d := w.now.Sub(start); d > 3*time.Second {
		t.Errorf("it took %s with one of two servers silent\n%s", d, w.log())
	}
	// The next question goes to the one that answers.
	w.queries = nil
	for i := range 10 {
		w.ask(fmt.Sprintf("n%d.example.com", i), dns.TypeA)
	}
	if silent := w.sent("10.0.0.3"); silent > 3 {
		t.Errorf("the silent server got %d of %d queries", silent, len(w.queries))
	}
	// All silent: an end in time, with the reason.
	w.servers["10.0.0.4"] = nil
	start = w.now
	res := w.ask("gone.example.com", dns.TypeA)
	if res.Rcode != dns.RcodeServFail || !strings.Contains(res.Reason, "no answer within") || w.now.Sub(start) > 16*time.Second {
		t.Errorf("%s %q after %s", res.Rcode, res.Reason, w.now.Sub(start))
	}
	// RFC 9520: the failure is remembered.
	before := len(w.queries)
	if w.ask("gone.example.com", dns.TypeA); len(w.queries) != before {
		t.Error("asked again at once")
	}
}

func TestServerSelectionByRTT(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.change("10.0.0.3", func(q query, honest []reply) []reply { honest[0].after = 200 * time.Millisecond; return honest })
	for i := range 40 {
		w.ask(fmt.Sprintf("n%d.example.com", i), dns.TypeA)
	}
	if slow := w.sent("10.0.0.3"); slow > 5 {
		t.Errorf("the slow server got %d queries, the fast one %d", slow, w.sent("10.0.0.4"))
	}
}

func TestLameServersAreLeftOut(t *testing.T) {
	for name, f := range map[string]func(m *dns.Message){
		"REFUSED":      func(m *dns.Message) { m.Rcode, m.Authoritative = dns.RcodeRefused, false },
		"no authority": func(m *dns.Message) { m.Authoritative = false },
		"referral upwards": func(m *dns.Message) {
			m.Authoritative = false
			m.Authority = []dns.Resource{dns.NewResource(dns.Name{}, 60, dns.NS{Host: dns.MustName("a.root")})}
		},
		"referral to self": func(m *dns.Message) {
			m.Authoritative = false
			m.Authority = []dns.Resource{dns.NewResource(dns.MustName("example.com"), 60, dns.NS{Host: dns.MustName("ns1.example.com")})}
		},
		"referral sideways": func(m *dns.Message) {
			m.Authoritative = false
			m.Authority = []dns.Resource{dns.NewResource(dns.MustName("other.example.com"), 60, dns.NS{Host: dns.MustName("ns1.example.com")})}
		},
	} {
		w := plain(t, Config{NoMinimise: true, NoCase: true})
		w.change("10.0.0.3", func(q query, _ []reply) []reply { return []reply{{msg: respond(q, f)}} })
		for i := range 8 {
			if got := text(w.ask(fmt.Sprintf("n%d.w.example.com", i), dns.TypeA)); got != "NOERROR A 192.0.2.4" {
				t.Errorf("%s: %s\n%s", name, got, w.log())
			}
		}
		if lame := w.sent("10.0.0.3"); lame > 2 {
			t.Errorf("%s: the lame server was asked %d times", name, lame)
		}
	}
}

func TestRFC7766_TruncatedAnswersComeOverTCP(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	res := w.ask("big.example.com", dns.TypeTXT)
	if len(res.Entries) != 1 || len(res.Entries[0].Records[0].Data) < 2000 || w.sent("tcp") != 1 {
		t.Errorf("%s\n%s", text(res), w.log())
	}
}

func TestRFC6891_6_2_2_ServersWithoutEDNS(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			if _, ok := q.msg.EDNS(); ok {
				return []reply{{msg: respond(q, func(m *dns.Message) { m.Rcode = dns.RcodeFormErr; m.Authoritative = false })}}
			}
			return honest
		})
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
}

func TestAnswersToOtherQuestionsAreIgnored(t *testing.T) {
	evil := dns.NewResource(dns.MustName("www.example.com"), 60, dns.A{Addr: netip.MustParseAddr("6.6.6.6")})
	for name, forge := range map[string]func(q query) reply{
		"other ID": func(q query) reply {
			q.msg.ID++
			return reply{msg: respond(q, func(m *dns.Message) { m.Answers = []dns.Resource{evil} })}
		},
		"other sender": func(q query) reply {
			return reply{from: "10.6.6.6:53", msg: respond(q, func(m *dns.Message) { m.Answers = []dns.Resource{evil} })}
		},
		"other port": func(q query) reply {
			return reply{from: q.to + ":5353", msg: respond(q, func(m *dns.Message) { m.Answers = []dns.Resource{evil} })}
		},
		"other question": func(q query) reply {
			return reply{msg: respond(q, func(m *dns.Message) {
				m.Questions = []dns.Question{{Name: dns.MustName("x.example.com"), Type: dns.TypeA, Class: dns.ClassIN}}
				m.Answers = []dns.Resource{evil}
			})}
		},
		"other case": func(q query) reply {
			return reply{msg: respond(q, func(m *dns.Message) {
				m.Questions = slices.Clone(m.Questions)
				m.Questions[0].Name = m.Questions[0].Name.Fold()
				m.Answers = []dns.Resource{evil}
			})}
		},
		"a query": func(q query) reply {
			return reply{msg: respond(q, func(m *dns.Message) { m.Response = false; m.Answers = []dns.Resource{evil} })}
		},
	} {
		w := plain(t, Config{NoMinimise: true})
		for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
			w.change(at, func(q query, honest []reply) []reply { return append([]reply{forge(q)}, honest...) })
		}
		if got := text(w.ask("www.example.com", dns.TypeA)); got != "NOERROR A 192.0.2.1" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A flood of forged answers makes the question go over TCP.
func TestFloodOfForgedAnswers(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			if q.tcp {
				return honest
			}
			var out []reply
			for i := range 200 {
				id := q.msg.ID + 1 + uint16(i)
				out = append(out, reply{msg: respond(q, func(m *dns.Message) { m.ID = id })})
			}
			return append(out, honest...)
		})
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if w.sent("tcp") == 0 {
		t.Error("TCP was not used")
	}
}

// A server that answers in lower case whatever it was asked still is heard.
func TestServersThatLoseTheCase(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			m, _ := dns.Parse(honest[0].msg)
			m.Questions[0].Name = m.Questions[0].Name.Fold()
			honest[0].msg, _ = m.Append(nil)
			return honest
		})
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	before := w.now
	w.want("mmmmmmmm.w.example.com", dns.TypeA, "NOERROR A 192.0.2.4")
	if w.sent("tcp") == 0 || w.now.Sub(before) > 2*time.Second {
		t.Errorf("after %s\n%s", w.now.Sub(before), w.log())
	}
}

func TestNamesKeepTheCaseTheyWereAskedIn(t *testing.T) {
	w := plain(t, Config{})
	res := w.ask("alias.example.com", dns.TypeA)
	if got, _ := res.Entries[0].Records[0].Target(); got.String() != "www.example.com." {
		t.Errorf("the random case of the query came back: %s", got)
	}
}

func TestRFC7873_Cookies(t *testing.T) {
	server := []byte("8octets!")
	cookie := func(q query) []byte {
		e, _ := q.msg.EDNS()
		for _, o := range e.Options {
			if o.Code == dns.OptionCookie {
				return o.Data
			}
		}
		return nil
	}
	with := func(msg []byte, q query, rcode dns.Rcode) []byte {
		m, _ := dns.Parse(msg)
		m.Additional = slices.DeleteFunc(m.Additional, func(r dns.Resource) bool { return r.Type == dns.TypeOPT })
		e := dns.EDNS{UDPSize: 1232, Options: []dns.Option{{Code: dns.OptionCookie, Data: append(bytes.Clone(cookie(q)[:8]), server...)}}}
		m.Additional = append(m.Additional, e.Resource())
		if rcode != 0 {
			m.Rcode, m.Answers = rcode, nil
		}
		b, _ := m.Append(nil)
		return b
	}
	w := plain(t, Config{NoMinimise: true})
	delete(w.servers, "10.0.0.4")
	bad := 0
	w.change("10.0.0.3", func(q query, honest []reply) []reply {
		if len(cookie(q)) == 8 {
			bad++
			honest[0].msg = with(honest[0].msg, q, dns.RcodeBadCookie)
		} else {
			honest[0].msg = with(honest[0].msg, q, 0)
		}
		return honest
	})
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	w.want("a.w.example.com", dns.TypeA, "NOERROR A 192.0.2.4")
	if bad != 1 {
		t.Errorf("%d queries came without the server's cookie", bad)
	}
	// An answer without the cookie that the server always sent is not its.
	evil := dns.NewResource(dns.MustName("b.w.example.com"), 60, dns.A{Addr: netip.MustParseAddr("6.6.6.6")})
	w.change("10.0.0.3", func(q query, honest []reply) []reply {
		return append([]reply{{msg: respond(q, func(m *dns.Message) { m.Answers = []dns.Resource{evil} })}}, honest...)
	})
	w.want("b.w.example.com", dns.TypeA, "NOERROR A 192.0.2.4")
}

// What a server says beside the question, about names that are not its own,
// is not believed.
func TestRFC2181_5_4_1_BailiwickRules(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	evil := netip.MustParseAddr("6.6.6.6")
	w.change("10.0.0.5", func(q query, honest []reply) []reply { // other.com's server
		m, _ := dns.Parse(honest[0].msg)
		m.Answers = append(m.Answers, dns.NewResource(dns.MustName("www.example.com"), 86400, dns.A{Addr: evil}))
		m.Authority = append(m.Authority, dns.NewResource(dns.MustName("example.com"), 86400, dns.NS{Host: dns.MustName("ns.evil.com")}))
		m.Additional = append(m.Additional, dns.NewResource(dns.MustName("ns1.example.com"), 86400, dns.A{Addr: evil}), dns.NewResource(dns.MustName("ns.com"), 86400, dns.A{Addr: evil}))
		honest[0].msg, _ = m.Append(nil)
		return honest
	})
	w.want("x.other.com", dns.TypeA, "NOERROR A 192.0.2.50")
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if w.sent("6.6.6.6") > 0 {
		t.Errorf("a poisoned address was asked\n%s", w.log())
	}
	// A CNAME into another zone does not carry that zone's records along.
	w = plain(t, Config{NoMinimise: true})
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			m, _ := dns.Parse(honest[0].msg)
			if strings.HasPrefix(m.Questions[0].Name.Fold().String(), "out.") {
				m.Answers = append(m.Answers, dns.NewResource(dns.MustName("x.other.com"), 86400, dns.A{Addr: evil}))
			}
			honest[0].msg, _ = m.Append(nil)
			return honest
		})
	}
	w.want("out.example.com", dns.TypeA, "NOERROR CNAME x.other.com. A 192.0.2.50")
}

func TestAliasLoopsAndChainsEnd(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	if res := w.ask("loop1.example.com", dns.TypeA); res.Rcode != dns.RcodeServFail || !strings.Contains(res.Reason, "loop of aliases") {
		t.Errorf("%s %q", res.Rcode, res.Reason)
	}
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			n := q.msg.Questions[0].Name
			next := dns.MustName(fmt.Sprintf("n%d.example.com", w.random()%1000000))
			return []reply{{msg: respond(q, func(m *dns.Message) { m.Answers = []dns.Resource{dns.NewResource(n, 60, dns.CNAME{Target: next})} })}}
		})
	}
	before := len(w.queries)
	if res := w.ask("endless.example.com", dns.TypeA); res.Rcode != dns.RcodeServFail || len(w.queries)-before > 20 {
		t.Errorf("%s after %d queries", res.Rcode, len(w.queries)-before)
	}
}

func TestRFC2308_NegativeAnswersAreKept(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.want("nobody.example.com", dns.TypeA, "NXDOMAIN")
	w.want("www.example.com", dns.TypeMX, "NOERROR")
	n := len(w.queries)
	w.want("nobody.example.com", dns.TypeTXT, "NXDOMAIN") // §5: of the name, not the type
	w.want("www.example.com", dns.TypeMX, "NOERROR")
	if len(w.queries) != n {
		t.Errorf("asked again\n%s", w.log())
	}
	w.now = w.now.Add(61 * time.Second) // the SOA minimum is 60
	w.want("nobody.example.com", dns.TypeA, "NXDOMAIN")
	if len(w.queries) == n {
		t.Error("kept for longer than the SOA minimum")
	}
}

func TestTTLsCountDownAndAreCapped(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.ask("www.example.com", dns.TypeA)
	w.now = w.now.Add(40 * time.Second)
	e, _ := w.r.cache.Get(dns.MustName("www.example.com"), dns.TypeA, w.now, false)
	if ttl := e.Records[0].TTL; ttl < 59 || ttl > 61 {
		t.Errorf("TTL %d after 40 s of 100", ttl)
	}
	w.ask("long.example.com", dns.TypeA)
	e, _ = w.r.cache.Get(dns.MustName("long.example.com"), dns.TypeA, w.now, false)
	if e.TTL != 7*86400 {
		t.Errorf("TTL %d, want a week at most", e.TTL)
	}
}

func TestRFC8767_StaleAnswersWhenServersAreGone(t *testing.T) {
	w := plain(t, Config{NoMinimise: true, Stale: time.Hour})
	w.ask("www.example.com", dns.TypeA)
	w.now = w.now.Add(10 * time.Minute)
	clear(w.servers)
	res := w.ask("www.example.com", dns.TypeA)
	if !res.Stale || text(res) != "NOERROR A 192.0.2.1" || len(res.Errors) != 1 || res.Errors[0].Code != dns.EDEStaleAnswer {
		t.Errorf("%+v", res)
	}
	m := &dns.Message{}
	res.Fill(m, false, false)
	if len(m.Answers) != 1 || m.Answers[0].TTL != 30 {
		t.Errorf("%v", m.Answers)
	}
	w.now = w.now.Add(2 * time.Hour)
	if res := w.ask("www.example.com", dns.TypeA); res.Stale || res.Rcode != dns.RcodeServFail {
		t.Errorf("%+v", res)
	}
}

func TestPrefetchAsksBeforeTheEnd(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.ask("www.example.com", dns.TypeA)
	q := dns.Question{Name: dns.MustName("www.example.com"), Type: dns.TypeA, Class: dns.ClassIN}
	var ws Workspace
	if ok, refresh := w.r.Cached(w.now.Add(50*time.Second), &ws, &dns.Message{}, q, false, false, false); !ok || refresh {
		t.Error(ok, refresh)
	}
	w.now = w.now.Add(95 * time.Second)
	if ok, refresh := w.r.Cached(w.now, &ws, &dns.Message{}, q, false, false, false); !ok || !refresh {
		t.Error(ok, refresh)
	}
	n := len(w.queries)
	w.r.Refresh(w.now, q)
	w.r.Refresh(w.now, q) // once is enough
	w.run(time.Second)
	e, _ := w.r.cache.Get(q.Name, q.Type, w.now, false)
	if len(w.queries) != n+1 || e.Records[0].TTL < 98 {
		t.Errorf("%d queries, TTL %d", len(w.queries)-n, e.Records[0].TTL)
	}
}

func TestSameQuestionsAreAskedOnce(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	var ids []int
	for range 50 {
		ids = append(ids, w.start("www.example.com", dns.TypeA))
	}
	w.run(time.Minute)
	for _, id := range ids {
		if text(w.results[id]) != "NOERROR A 192.0.2.1" {
			t.Error(text(w.results[id]))
		}
	}
	if len(w.queries) != 3 {
		t.Errorf("%d queries for 50 askers", len(w.queries))
	}
}

// NXNSAttack (CVE-2020-12662): a referral to many servers without glue must
// not make many queries.
func TestNXNSAttack(t *testing.T) {
	w := plain(t, Config{})
	w.change("10.0.0.5", func(q query, honest []reply) []reply {
		return []reply{{after: time.Millisecond, msg: respond(q, func(m *dns.Message) {
			m.Authoritative = false
			for i := range 60 {
				m.Authority = append(m.Authority, dns.NewResource(dns.MustName("evil.other.com"), 60, dns.NS{Host: dns.MustName(fmt.Sprintf("ns%d.victim%d.com", i, i))}))
			}
		})}}
	})
	res := w.ask("x.evil.other.com", dns.TypeA)
	if res.Rcode != dns.RcodeServFail || len(w.queries) > 30 {
		t.Errorf("%s after %d queries", res.Rcode, len(w.queries))
	}
}

// Two zones whose servers are named in each other can never be resolved, and
// it must end.
func TestServersThatNeedEachOther(t *testing.T) {
	w := newWorld(t, Config{})
	w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\na.root. A 10.0.0.1\none NS ns.two.\ntwo NS ns.one.\n")
	start := w.now
	if res := w.ask("www.one", dns.TypeA); res.Rcode != dns.RcodeServFail || w.now.Sub(start) > 15*time.Second || len(w.queries) > 60 {
		t.Errorf("%s %q after %s and %d queries", res.Rcode, res.Reason, w.now.Sub(start), len(w.queries))
	}
}

func TestGluelessDelegation(t *testing.T) {
	w := newWorld(t, Config{})
	w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\na.root. A 10.0.0.1\none NS ns.two.\ntwo NS ns.two.\nns.two. A 10.0.0.2\n")
	w.serve("10.0.0.2", "two\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\n", "one\n@ SOA ns.two. h 1 2 3 4 60\n@ NS ns.two.\nwww A 192.0.2.1\n")
	w.want("www.one", dns.TypeA, "NOERROR A 192.0.2.1")
}

func TestBudgetBoundsAQuestion(t *testing.T) {
	w := plain(t, Config{MaxQueries: 2, NoMinimise: true})
	if res := w.ask("www.example.com", dns.TypeA); res.Rcode != dns.RcodeServFail || len(w.queries) > 2 {
		t.Errorf("%s after %d queries", res.Rcode, len(w.queries))
	}
}

func TestUnreachableServers(t *testing.T) {
	w := plain(t, Config{NoMinimise: true})
	w.change("10.0.0.3", func(query, []reply) []reply { return []reply{{err: errRefused}} })
	start := w.now
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	if w.now.Sub(start) > time.Second {
		t.Error("a refused connection was waited for")
	}
}

func TestRFC6761_NamesThatAreNeverAsked(t *testing.T) {
	w := plain(t, Config{})
	w.want("a.localhost", dns.TypeA, "NOERROR A 127.0.0.1")
	w.want("localhost", dns.TypeMX, "NOERROR")
	w.want("x.onion", dns.TypeA, "NXDOMAIN")
	w.want("x.invalid", dns.TypeA, "NXDOMAIN")
	if len(w.queries) > 0 {
		t.Error(w.log())
	}
}

// The same world and the same numbers give the same queries.
func TestDeterministic(t *testing.T) {
	play := func() string {
		w := plain(t, Config{})
		for _, n := range []string{"www.example.com", "out.example.com", "nobody.example.com", "a.b.c.d.e.example.com"} {
			w.ask(n, dns.TypeA)
		}
		var b strings.Builder
		for _, q := range w.queries {
			fmt.Fprintf(&b, "%d %s %x\n", q.at, q, q.raw)
		}
		return b.String()
	}
	if a, b := play(), play(); a != b {
		t.Error("two runs differ")
	}
}

// zeros is entropy for keys in tests that do not care.
var entropy io.Reader = rand.Reader

// signedWorld is plain with DNSSEC; change may alter the records of a zone
// after it is signed.
func signedWorld(t testing.TB, cfg Config, change func(zone string, records []dns.Resource) []dns.Resource) *world {
	w := newWorld(t, Config{})
	start := w.now.Std()
	var up []dns.Resource
	zones := []struct{ at, name, text string }{
		{"10.0.0.3", "example.com", "@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.3\nwww A 192.0.2.1\nalias CNAME www\n*.w A 192.0.2.4\nmmm A 192.0.2.5\n"},
		{"10.0.0.2", "com", "@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\nexample NS ns.example\nns.example A 10.0.0.3\nplain NS ns.plain\nns.plain A 10.0.0.5\n"},
		{"10.0.0.1", ".", ". SOA a.root. h. 1 2 3 4 60\n. NS a.root.\na.root. A 10.0.0.1\ncom. NS ns.com.\nns.com. A 10.0.0.2\n"},
	}
	for _, z := range zones {
		origin := dns.MustName(z.name)
		records, err := zone.Read(strings.NewReader("$TTL 300\n"+z.text), z.name, zone.ReadOptions{Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		s, err := dnssec.NewSigner(origin, entropy)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := s.SignZone(append(records, up...), 60, start.Add(-time.Hour), start.Add(24*time.Hour), entropy)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			signed = change(z.name, signed)
		}
		got, err := zone.New(origin, signed...)
		if err != nil {
			t.Fatal(err)
		}
		server := zone.NewServer()
		server.Put(got)
		w.servers[z.at] = func(q query) []reply { return []reply{{after: 5 * time.Millisecond, msg: answerOf(server, q)}} }
		up = []dns.Resource{s.DS(300)}
	}
	w.serve("10.0.0.5", "plain.com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.5\nwww A 192.0.2.7\n")
	cfg.Hints, cfg.Anchors, cfg.NoPriming = w.r.cfg.Hints, up, true
	w.r = New(cfg, cache.New(), w.random)
	return w
}

func (w *world) security(name string, t dns.Type, s cache.Security, reason string) {
	w.t.Helper()
	res := w.ask(name, t)
	if res.Security != s || !strings.Contains(res.Reason, reason) || (s == cache.Bogus) != (res.Rcode == dns.RcodeServFail) {
		w.t.Errorf("%s %s: %s, %s %q, want %s %q", name, t, res.Rcode, res.Security, res.Reason, s, reason)
	}
}

func TestRFC4035_5_Validation(t *testing.T) {
	w := signedWorld(t, Config{}, nil)
	w.security("www.example.com", dns.TypeA, cache.Secure, "")
	w.security("alias.example.com", dns.TypeA, cache.Secure, "")
	w.security("x.w.example.com", dns.TypeA, cache.Secure, "")
	w.security("nobody.example.com", dns.TypeA, cache.Secure, "")
	w.security("www.example.com", dns.TypeMX, cache.Secure, "")
	w.security("www.plain.com", dns.TypeA, cache.Insecure, "no DS record")
	w.security("nobody.plain.com", dns.TypeA, cache.Insecure, "")
	w.now = w.now.Add(25 * time.Hour)
	w.security("www.example.com", dns.TypeA, cache.Bogus, "has expired")
}

func TestBogusZones(t *testing.T) {
	drop := func(zone string, f func(dns.Resource) bool) func(string, []dns.Resource) []dns.Resource {
		return func(name string, records []dns.Resource) []dns.Resource {
			if name == zone {
				records = slices.DeleteFunc(records, f)
			}
			return records
		}
	}
	sigOver := func(rr dns.Resource, t dns.Type) bool {
		s, ok := rr.Value().(dns.RRSIG)
		return ok && s.Covered == t
	}
	for name, c := range map[string]struct {
		change func(string, []dns.Resource) []dns.Resource
		ask    string
		reason string
	}{
		"no signature over the answer": {drop("example.com", func(rr dns.Resource) bool { return sigOver(rr, dns.TypeA) }), "www.example.com", "no signatures over"},
		"no DNSKEY":                    {drop("example.com", func(rr dns.Resource) bool { return rr.Type == dns.TypeDNSKEY || sigOver(rr, dns.TypeDNSKEY) }), "www.example.com", "no DNSKEY"},
		"DNSKEY without a signature":   {drop("example.com", func(rr dns.Resource) bool { return sigOver(rr, dns.TypeDNSKEY) }), "www.example.com", "DNSKEY: no signatures"},
		"another answer than signed": {func(name string, records []dns.Resource) []dns.Resource {
			for i, rr := range records {
				if name == "example.com" && rr.Type == dns.TypeA && strings.HasPrefix(rr.Name.String(), "www.") {
					records[i] = dns.NewResource(rr.Name, rr.TTL, dns.A{Addr: netip.MustParseAddr("6.6.6.6")})
				}
			}
			return records
		}, "www.example.com", "does not fit"},
		"another key than the parent names": {func(name string, records []dns.Resource) []dns.Resource {
			for i, rr := range records {
				if k, ok := rr.Value().(dns.DNSKEY); ok && name == "example.com" {
					k.PublicKey = slices.Clone(k.PublicKey)
					k.PublicKey[5] ^= 1
					records[i] = dns.NewResource(rr.Name, rr.TTL, k)
				}
			}
			return records
		}, "www.example.com", "is the one that its parent names"},
		"no proof that there is no DS":          {drop("com", func(rr dns.Resource) bool { return rr.Type == dns.TypeNSEC || sigOver(rr, dns.TypeNSEC) }), "www.plain.com", "DS"},
		"no proof that the name does not exist": {drop("example.com", func(rr dns.Resource) bool { return rr.Type == dns.TypeNSEC || sigOver(rr, dns.TypeNSEC) }), "nobody.example.com", "not prove"},
	} {
		w := signedWorld(t, Config{}, c.change)
		res := w.ask(c.ask, dns.TypeA)
		if res.Security != cache.Bogus || res.Rcode != dns.RcodeServFail || !strings.Contains(res.Reason, c.reason) || len(res.Errors) != 1 {
			t.Errorf("%s: %s %s %q %v", name, res.Rcode, res.Security, res.Reason, res.Errors)
		}
		// CD takes it all the same.
		id := w.r.Ask(w.now, dns.Question{Name: dns.MustName(c.ask), Type: dns.TypeA, Class: dns.ClassIN}, netip.Addr{}, true)
		w.run(time.Minute)
		if res := w.results[id]; res.Rcode == dns.RcodeServFail {
			t.Errorf("%s, unchecked: %s %q", name, res.Rcode, res.Reason)
		}
	}
}

// One server of two without the signatures does not spoil the zone.
func TestOneServerWithoutSignatures(t *testing.T) {
	w := signedWorld(t, Config{}, nil)
	honest := w.servers["10.0.0.3"]
	strip := func(msg []byte) []byte {
		m, _ := dns.Parse(msg)
		bare := func(list []dns.Resource) []dns.Resource {
			return slices.DeleteFunc(list, func(r dns.Resource) bool { return r.Type == dns.TypeRRSIG || r.Type == dns.TypeDNSKEY })
		}
		m.Answers, m.Authority = bare(m.Answers), bare(m.Authority)
		b, _ := m.Append(nil)
		return b
	}
	w.servers["10.0.0.4"] = func(q query) []reply {
		h := honest(q)
		h[0].msg, h[0].after = strip(h[0].msg), time.Millisecond // and it is the faster one
		return h
	}
	w.change("10.0.0.2", func(q query, h []reply) []reply {
		m, _ := dns.Parse(h[0].msg)
		for i, rr := range m.Additional {
			if rr.Type == dns.TypeA && strings.HasPrefix(rr.Name.Fold().String(), "ns.example") {
				m.Additional = slices.Insert(m.Additional, i, dns.NewResource(rr.Name, 300, dns.A{Addr: netip.MustParseAddr("10.0.0.4")}))
				break
			}
		}
		h[0].msg, _ = m.Append(nil)
		return h
	})
	for _, n := range []string{"www.example.com", "nobody.example.com", "x.w.example.com", "alias.example.com"} {
		w.security(n, dns.TypeA, cache.Secure, "")
	}
	if w.sent("10.0.0.4") == 0 {
		t.Error("the bad server was never asked: this tests nothing")
	}
}

// A NSEC record that covers a name answers for it without asking.
func TestRFC8198_AggressiveNSEC(t *testing.T) {
	w := signedWorld(t, Config{}, nil)
	w.security("na.example.com", dns.TypeA, cache.Secure, "")
	n := len(w.queries)
	for i := range 20 {
		res := w.ask(fmt.Sprintf("nb%d.example.com", i), dns.TypeA)
		if res.Rcode != dns.RcodeNXDomain || res.Security != cache.Secure {
			t.Errorf("%s %s", res.Rcode, res.Security)
		}
	}
	if len(w.queries) != n {
		t.Errorf("%d queries for names that a known NSEC record covers\n%s", len(w.queries)-n, w.log())
	}
	w.want("mmm.example.com", dns.TypeA, "NOERROR A 192.0.2.5") // and those that exist are found
	w.want("zz.w.example.com", dns.TypeA, "NOERROR A 192.0.2.4")
}

// KeyTrap (CVE-2023-50387): many keys with one tag and many signatures must
// not make much work.
func TestKeyTrap(t *testing.T) {
	w := signedWorld(t, Config{}, func(name string, records []dns.Resource) []dns.Resource {
		if name != "example.com" {
			return records
		}
		var key dns.DNSKEY
		for _, rr := range records {
			if k, ok := rr.Value().(dns.DNSKEY); ok {
				key = k
			}
		}
		var out []dns.Resource
		for _, rr := range records {
			out = append(out, rr)
			if s, ok := rr.Value().(dns.RRSIG); ok {
				for i := range 60 {
					s.Signature = slices.Clone(s.Signature)
					s.Signature[7] = byte(i)
					out = append(out, dns.NewResource(rr.Name, rr.TTL, s))
				}
			}
		}
		for i := range 60 { // the same tag: two octets of the sum swapped about
			k := key
			k.PublicKey = slices.Clone(key.PublicKey)
			k.PublicKey[2*i%64] ^= 0
			k.PublicKey[(2*i)%64], k.PublicKey[(2*i+2)%64] = k.PublicKey[(2*i+2)%64], k.PublicKey[(2*i)%64]
			out = append(out, dns.NewResource(dns.MustName("example.com"), 3600, k))
		}
		return out
	})
	res := w.ask("www.example.com", dns.TypeA)
	if res.Verified == 0 || res.Verified > maxVerified+1 {
		t.Errorf("%d signatures were checked, %d are the most", res.Verified, maxVerified)
	}
}

func FuzzReceive(f *testing.F) {
	w := signedWorld(f, Config{}, nil)
	for _, at := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		for _, n := range []string{"www.example.com", "nobody.example.com", "com"} {
			q := &dns.Message{Questions: []dns.Question{{Name: dns.MustName(n), Type: dns.TypeA, Class: dns.ClassIN}}, Additional: []dns.Resource{dns.EDNS{UDPSize: 1232, DNSSECOK: true}.Resource()}}
			raw, _ := q.Append(nil)
			f.Add(w.servers[at](query{msg: q, raw: raw})[0].msg, uint16(1))
		}
	}
	honest := w.servers
	f.Fuzz(func(t *testing.T, msg []byte, which uint16) {
		w := newWorld(t, Config{Anchors: w.r.cfg.Anchors, NoCase: true})
		n := 0
		for at, f := range honest {
			w.servers[at] = func(q query) []reply {
				if n++; n%3 != int(which%3) || len(msg) < 12 {
					return f(q)
				}
				// The hostile message, made to look like the answer.
				m, _ := dns.Parse(msg)
				m.ID, m.Response, m.Opcode, m.Questions = q.msg.ID, true, 0, q.msg.Questions
				b, err := m.Append(nil)
				if err != nil {
					return f(q)
				}
				return []reply{{msg: b}}
			}
		}
		w.ask("www.example.com", dns.TypeA)
		w.ask("nobody.example.com", dns.TypeMX)
		if len(w.queries) > 300 {
			t.Fatalf("%d queries", len(w.queries))
		}
	})
}

var _ = clock.Never
