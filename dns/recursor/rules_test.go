package recursor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"peel/dns"
)

// RFC 9156 §3: a server that refuses a name between is asked for the whole.
func TestRFC9156_3_RefusedForAShortenedName(t *testing.T) {
	for _, rcode := range []dns.Rcode{dns.RcodeRefused, dns.RcodeServFail, dns.RcodeNotImp} {
		w := plain(t, Config{})
		for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
			w.change(at, func(q query, honest []reply) []reply {
				if q.msg.Questions[0].Name.NumLabels() < 7 {
					return []reply{{msg: respond(q, func(m *dns.Message) { m.Rcode = rcode; m.Authoritative = false })}}
				}
				return honest
			})
		}
		w.want("a.b.c.d.e.example.com", dns.TypeA, "NOERROR A 192.0.2.2")
	}
}

// RFC 6672 §2.2: a name that a DNAME record makes too long is YXDOMAIN, from a
// server as from what is known.
func TestRFC6672_2_2_NamesThatBecomeTooLong(t *testing.T) {
	w := plain(t, Config{})
	long := strings.Repeat("a123456789012345678901234567890123456789.", 5)
	zone := "example.com\n@ SOA ns1 h 1 2 3 4 60\n@ NS ns1\nns1 A 10.0.0.3\nold DNAME " + long + "example.com.\n"
	w.serve("10.0.0.3", zone)
	w.serve("10.0.0.4", zone)
	name := strings.Repeat("b23456789.", 5) + "old.example.com"
	for range 2 {
		res := w.ask(name, dns.TypeA)
		if res.Rcode != dns.RcodeYXDomain || len(res.Entries) != 1 || res.Entries[0].Type != dns.TypeDNAME {
			t.Errorf("%s %s %v", res.Rcode, res.Reason, res.Entries)
		}
	}
	// That of a server without a DNAME record is a failure like others.
	w = plain(t, Config{NoMinimise: true})
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			return []reply{{msg: respond(q, func(m *dns.Message) { m.Rcode = dns.RcodeYXDomain })}}
		})
	}
	if res := w.ask("www.example.com", dns.TypeA); res.Rcode != dns.RcodeServFail {
		t.Error(res.Rcode)
	}
}

// RFC 2181 §5: a DNAME record that an answer comes by twice stands in it once.
func TestRFC2181_5_OneDNAMEOnce(t *testing.T) {
	w := plain(t, Config{})
	zone := "example.com\n@ SOA ns1 h 1 2 3 4 60\n@ NS ns1\nns1 A 10.0.0.3\nd DNAME e.example.com.\nx.e CNAME y.d.example.com.\ny.e A 192.0.2.7\n"
	w.serve("10.0.0.3", zone)
	w.serve("10.0.0.4", zone)
	for range 2 { // from the servers, and from the cache
		res := w.ask("x.d.example.com", dns.TypeA)
		m := &dns.Message{}
		res.Fill(m, true, false)
		seen := map[string]int{}
		for _, rr := range m.Answers {
			seen[fmt.Sprint(rr.Name, rr.Type, rr.Data)]++
		}
		for k, n := range seen {
			if n > 1 {
				t.Errorf("%q stands there %d times", k, n)
			}
		}
		if n := len(m.Answers); n != 5 || m.Answers[n-1].Type != dns.TypeA {
			t.Errorf("%v", m.Answers)
		}
	}
}

// Where what the child says of its own servers leads nowhere, the parent's set
// is tried, and its addresses, also when the names are the same.
func TestServersOfTheParentAreTried(t *testing.T) {
	for what, child := range map[string]string{
		"other servers":                  "@ NS gone\ngone A 10.9.9.9\n",
		"the same with other addresses":  "@ NS ns1\n@ NS ns2\nns1 A 10.9.9.9\nns2 A 10.9.9.8\n",
		"servers without addresses":      "@ NS gone.example.com.\n",
		"servers of a zone that is dead": "@ NS gone.other.com.\n",
	} {
		w := plain(t, Config{})
		delete(w.servers, "10.0.0.5")
		zone := "example.com\n@ SOA ns1 h 1 2 3 4 60\n" + child + "www 1 A 192.0.2.1\n"
		w.serve("10.0.0.3", zone)
		w.serve("10.0.0.4", zone)
		w.ask("example.com", dns.TypeNS)
		for _, n := range []string{"ns1.example.com", "ns2.example.com", "gone.example.com"} {
			w.ask(n, dns.TypeA)
		}
		w.now = w.now.Add(5 * time.Second)
		if r := w.ask("www.example.com", dns.TypeA); text(r) != "NOERROR A 192.0.2.1" {
			t.Errorf("%s: %s %s\n%s", what, text(r), r.Reason, w.log())
		}
	}
}
