package recursor

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/dnssec"
)

// The tests of this file attack the resolver, and bound what that costs in
// counted work: queries, signatures, tasks looked at.

// fakeKeys makes n RSA keys of one tag that look right, of the kind that costs
// most to check.
func fakeKeys(n int) []dns.DNSKEY {
	base := make([]byte, 512)
	for i := range base {
		base[i] = byte(i*7 + 131)
	}
	base[0], base[511] = 0xc1, 0xd5
	var out []dns.DNSKEY
	for i := range n {
		b := bytes.Clone(base)
		// The tag is a sum of 16-bit words: what one loses another gets.
		binary.BigEndian.PutUint16(b[100:], 1000+uint16(i))
		binary.BigEndian.PutUint16(b[102:], 30000-uint16(i))
		out = append(out, dns.DNSKEY{Flags: 256, Protocol: 3, Algorithm: 8, PublicKey: append([]byte{4, 0x7f, 0xff, 0xff, 0xff}, b...)})
	}
	return out
}

// KeyTrap (CVE-2023-50387): what one question may cost is bounded, however
// many records the set has, and what one zone may cost however many questions
// there are.
func TestKeyTrapCost(t *testing.T) {
	keys := fakeKeys(32)
	tags := map[uint16]int{}
	for _, k := range keys {
		tags[k.Tag()]++
	}
	if len(tags) != 1 {
		t.Fatalf("the keys have %d tags", len(tags))
	}
	name := dns.MustName("trap.test")
	w := newWorld(t, Config{})
	w.r.now = w.now
	trap := func(size int, b *budget) {
		var set, sigs []dns.Resource
		for i := range size {
			set = append(set, dns.NewResource(name, 300, dns.TXT{Strings: []string{strings.Repeat("x", 40) + fmt.Sprint(i)}}))
		}
		now := uint32(w.now.Std().Unix())
		for i := range 8 {
			s := make([]byte, 512)
			s[9] = byte(i + 1)
			sigs = append(sigs, dns.NewResource(name, 300, dns.RRSIG{Covered: dns.TypeTXT, Algorithm: 8, Labels: 2, OriginalTTL: 300,
				Expiration: now + 1000, Inception: now - 1000, KeyTag: keys[0].Tag(), Signer: name, Signature: s}))
		}
		if _, err := w.r.verify(set, sigs, &trust{zone: name, keys: keys}, b); err == nil {
			t.Error("a signature of nothing fits")
		}
	}
	for _, size := range []int{1, 200, 1000} {
		clear(w.r.meters)
		b := w.r.newBudget()
		trap(size, b)
		if b.verified != maxFailed || b.work == 0 || b.work > maxWork {
			t.Errorf("%d records: %d signatures were checked, at a cost of %d", size, b.verified, b.work)
		}
	}
	// A flood of such questions: the zone uses its share up.
	clear(w.r.meters)
	total := func() (n int) {
		for range 1000 {
			b := w.r.newBudget()
			trap(1, b)
			n += b.work
		}
		return n
	}
	if n := total(); n > wasteAllowed+maxWork {
		t.Errorf("1000 questions at once cost %d", n)
	}
	w.now = w.now.Add(2 * time.Second)
	w.r.now = w.now
	if n := total(); n == 0 || n > wasteAllowed+2*wastePerSecond {
		t.Errorf("1000 questions two seconds later cost %d", n)
	}
	// Another zone is none the worse.
	if w.r.wasteful(dns.MustName("other.test")) {
		t.Error("another zone pays")
	}
}

// The estimate of what a signature costs orders keys as they are.
func TestWorkOfSignatures(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	key := func(e ...byte) dns.DNSKEY {
		return dns.DNSKEY{Flags: 256, Protocol: 3, Algorithm: 8, PublicKey: append(append([]byte{byte(len(e))}, e...), small.N.Bytes()...)}
	}
	set := dnssec.NewSet([]dns.Resource{dns.NewResource(dns.MustName("a.test"), 1, dns.TXT{Strings: []string{"x"}})})
	usual, odd, large := set.Work(key(1, 0, 1)), set.Work(key(0x7f, 0xff, 0xff, 0xff)), set.Work(fakeKeys(1)[0])
	if usual <= 0 || odd <= usual || large < 10*odd {
		t.Errorf("1024 bits: %d, with a large exponent: %d, and 4096 bits: %d", usual, odd, large)
	}
}

// RFC 6891 §6.2.2, RFC 9715: that a server knows no EDNS is believed only when
// it answers without, and not for long.
func TestServersAreAskedWithEDNSAgain(t *testing.T) {
	edns := func(w *world, from int) (with, without int) {
		for _, q := range w.queries[from:] {
			if _, ok := q.msg.EDNS(); ok {
				with++
			} else {
				without++
			}
		}
		return with, without
	}
	w := plain(t, Config{})
	bad := true
	for _, at := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		w.change(at, func(q query, honest []reply) []reply {
			if _, ok := q.msg.EDNS(); ok && bad {
				return []reply{{msg: respond(q, func(m *dns.Message) { m.Rcode = dns.RcodeFormErr; m.Authoritative = false; m.Questions = nil })}}
			}
			return honest
		})
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	bad = false
	w.now = w.now.Add(noEDNSFor / 2)
	n := len(w.queries)
	w.r.Flush(dns.MustName("com"), true)
	if w.ask("www.example.com", dns.TypeA); len(w.queries) == n {
		t.Fatal("nothing was asked")
	}
	if _, without := edns(w, n); without == 0 {
		t.Error("what a server showed is forgotten at once")
	}
	w.now = w.now.Add(noEDNSFor + time.Second)
	n = len(w.queries)
	w.r.Flush(dns.MustName("com"), true)
	w.ask("www.example.com", dns.TypeA)
	if with, without := edns(w, n); with == 0 || without > 0 {
		t.Errorf("%d queries with EDNS and %d without, long after", with, without)
	}
}

// All that is known of a server ends.
func TestMemoryOfServersEnds(t *testing.T) {
	w := plain(t, Config{})
	w.ask("www.example.com", dns.TypeA)
	a := netip.MustParseAddr("10.0.0.3")
	w.r.now = w.now
	i := w.r.server(a)
	i.noCase, i.serverCookie, i.lame, i.srtt = true, []byte("8octets!"), map[dns.Name]clock.Time{dns.MustName("x"): w.now.Add(time.Hour * 10000)}, time.Hour
	w.r.now = w.now.Add(infraFor + time.Second)
	if i := w.r.server(a); i.noCase || i.serverCookie != nil || i.lame != nil || i.srtt != 0 {
		t.Errorf("%+v", i)
	}
}

// NXNS (CVE-2020-12662) and CAMP: one question makes few queries, at the
// victim and in all.
func TestNXNSAmplification(t *testing.T) {
	attacker := func(w *world) {
		w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\nattacker NS ns.attacker\nns.attacker A 10.0.0.9\nvictim NS ns.victim\nns.victim A 10.0.0.8\n")
		w.serve("10.0.0.8", "victim.com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.8\n")
	}
	for _, n := range []int{4, 20} {
		w := plain(t, Config{})
		attacker(w)
		w.servers["10.0.0.9"] = func(q query) []reply {
			return []reply{{after: time.Millisecond, msg: respond(q, func(m *dns.Message) {
				m.Authoritative = false
				for i := range n {
					m.Authority = append(m.Authority, dns.NewResource(q.msg.Questions[0].Name, 300, dns.NS{Host: dns.MustName(fmt.Sprintf("r%d-%d.a.b.c.d.e.f.g.victim.com", len(w.queries), i))}))
				}
			})}}
		}
		w.ask("x1.attacker.com", dns.TypeA)
		if len(w.queries) > 30 || w.sent("10.0.0.8") > 20 {
			t.Errorf("%d servers without addresses: %d queries, %d of them to the victim", n, len(w.queries), w.sent("10.0.0.8"))
		}
	}
	w := plain(t, Config{})
	attacker(w)
	i := 0
	w.servers["10.0.0.9"] = func(q query) []reply {
		return []reply{{after: time.Millisecond, msg: respond(q, func(m *dns.Message) {
			i++
			m.Answers = append(m.Answers, dns.NewResource(q.msg.Questions[0].Name, 300, dns.CNAME{Target: dns.MustName(fmt.Sprintf("a.b.c.d.e.f.g.h.i%d.attacker.com", i))}))
		})}}
	}
	if w.ask("x1.attacker.com", dns.TypeA); len(w.queries) > 40 {
		t.Errorf("a chain of aliases: %d queries", len(w.queries))
	}
	w = plain(t, Config{})
	ns := ""
	for j := range 20 {
		ns += fmt.Sprintf("attacker NS n%d.attacker\nn%d.attacker A 10.1.0.%d\n", j, j, j+1)
	}
	w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\n"+ns)
	if w.ask("x1.attacker.com", dns.TypeA); len(w.queries) > 40 {
		t.Errorf("20 silent servers: %d queries", len(w.queries))
	}
}

// One bad DS record of one packet does not stay: what does not validate is
// asked again, and is not kept.
func TestStickyBadDS(t *testing.T) {
	w := signedWorld(t, Config{}, nil)
	used := 0
	w.change("10.0.0.2", func(q query, h []reply) []reply {
		m, _ := dns.Parse(h[0].msg)
		for i, rr := range m.Authority {
			if rr.Type == dns.TypeDS && used == 0 {
				m.Authority[i].TTL = 86400
				m.Authority[i].Data = rr.Data[:len(rr.Data)-1] + "x"
				used++
			}
		}
		h[0].msg, _ = m.Append(nil)
		return h
	})
	for _, d := range []time.Duration{0, time.Minute, 10 * time.Minute, time.Hour, 12 * time.Hour} {
		w.now = w.now.Add(d)
		if r := w.ask("www.example.com", dns.TypeA); r.Security.String() != "secure" {
			t.Errorf("after %s: %s %s %s", d, r.Rcode, r.Security, r.Reason)
		}
	}
	if used != 1 {
		t.Error("the bad record was not given out")
	}
}

// Ghost domains: a delegation that was withdrawn ends with the time that the
// parent gave it, whatever the child says, and so does what is below it.
func TestGhostDomain(t *testing.T) {
	for _, below := range []bool{false, true} {
		w := plain(t, Config{})
		gone := false
		w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\na.root. A 10.0.0.1\ncom 172800 NS ns.com.\nns.com. 172800 A 10.0.0.2\n")
		w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\nghost 3600 NS ns.ghost\nns.ghost 3600 A 10.0.0.9\n")
		w.change("10.0.0.2", func(q query, honest []reply) []reply {
			if gone && strings.HasSuffix(strings.ToLower(q.msg.Questions[0].Name.String()), "ghost.com.") {
				return []reply{{after: time.Millisecond, msg: respond(q, func(m *dns.Message) {
					m.Rcode = dns.RcodeNXDomain
					m.Authority = append(m.Authority, dns.NewResource(dns.MustName("com"), 60, dns.SOA{Primary: dns.MustName("ns.com"), Mailbox: dns.MustName("h.com"), Minimum: 60}))
				})}}
			}
			return honest
		})
		k := 0
		w.servers["10.0.0.9"] = func(q query) []reply {
			return []reply{{after: time.Millisecond, msg: respond(q, func(m *dns.Message) {
				qq := q.msg.Questions[0]
				k++
				host := dns.MustName(fmt.Sprintf("ns%d.ghost.com", k))
				switch zone := dns.MustName("sub.ghost.com"); {
				case qq.Type == dns.TypeNS:
					m.Answers = append(m.Answers, dns.NewResource(qq.Name, 360000, dns.NS{Host: host}))
					m.Additional = append(m.Additional, dns.NewResource(host, 360000, dns.A{Addr: netip.MustParseAddr("10.0.0.9")}))
				case strings.HasPrefix(strings.ToLower(qq.Name.String()), "ns"):
					m.Answers = append(m.Answers, dns.NewResource(qq.Name, 360000, dns.A{Addr: netip.MustParseAddr("10.0.0.9")}))
				case below && !gone && qq.Name.EqualFold(zone):
					m.Authoritative = false
					m.Authority = append(m.Authority, dns.NewResource(zone, 360000, dns.NS{Host: host}))
					m.Additional = append(m.Additional, dns.NewResource(host, 360000, dns.A{Addr: netip.MustParseAddr("10.0.0.9")}))
				default:
					m.Answers = append(m.Answers, dns.NewResource(qq.Name, 1, dns.A{Addr: netip.MustParseAddr("192.0.2.66")}))
				}
			})}}
		}
		name := "www.ghost.com"
		if below {
			name = "www.sub.ghost.com"
		}
		w.want(name, dns.TypeA, "NOERROR A 192.0.2.66")
		gone = true
		for range 4 {
			w.now = w.now.Add(50 * time.Minute)
			w.ask(strings.TrimPrefix(name, "www."), dns.TypeNS)
			w.ask("x"+name, dns.TypeA)
		}
		if r := w.ask(name, dns.TypeA); r.Rcode != dns.RcodeNXDomain {
			t.Errorf("%s, hours after the delegation of an hour was withdrawn: %s", name, text(r))
		}
	}
}

// A flood for names in a zone whose servers are silent costs each question
// little, and soon nothing.
func TestFloodOfADeadZone(t *testing.T) {
	w := plain(t, Config{})
	w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\ndead NS ns.dead\nns.dead A 10.9.0.9\nother NS ns.other\nns.other A 10.0.0.5\n")
	n, late, healthy := 0, 0, 0
	for s := range 30 {
		if s == 15 {
			late = len(w.queries)
		}
		for range 200 {
			w.start(fmt.Sprintf("r%d.dead.com", n), dns.TypeA)
			n++
		}
		id := w.start(fmt.Sprintf("x%d.other.com", s), dns.TypeA)
		w.run(time.Second)
		if r := w.results[id]; r != nil && r.Rcode == dns.RcodeNXDomain {
			healthy++
		}
	}
	if healthy != 30 {
		t.Errorf("of 30 questions for another zone %d were answered in their second", healthy)
	}
	// One in a few seconds goes ahead to see whether the zone is back.
	if more := len(w.queries) - late; more > 15*5 {
		t.Errorf("%d queries in the last 15 seconds for %d questions", more, 15*200)
	}
	w.run(20 * time.Second)
	if len(w.r.tasks) > 0 || len(w.r.lanes) > 0 || len(w.r.waiting) > 0 || len(w.r.accounts) > 0 || w.r.questions != 0 {
		t.Errorf("left: %d tasks, %d lanes, %d accounts, %d questions", len(w.r.tasks), len(w.r.lanes), len(w.r.accounts), w.r.questions)
	}
	// When it comes back, that is seen soon.
	w.serve("10.9.0.9", "dead.com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.9.0.9\nwww A 192.0.2.9\n")
	w.now = w.now.Add(maxRetry + deadFor)
	w.want("www.dead.com", dns.TypeA, "NOERROR A 192.0.2.9")
}

// TsuNAME: zones whose servers are named in each other cost a few queries in a
// while, and not some for each question.
func TestFloodOfTsuNAME(t *testing.T) {
	w := newWorld(t, Config{})
	w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\na.root. A 10.0.0.1\none NS ns.two.\ntwo NS ns.one.\n")
	for i := range 1000 {
		if r := w.ask(fmt.Sprintf("r%d.one", i), dns.TypeA); r.Rcode != dns.RcodeServFail {
			t.Fatal(r.Rcode)
		}
		w.now = w.now.Add(10 * time.Millisecond)
	}
	if len(w.queries) > 60 {
		t.Errorf("1000 questions in 10 s made %d queries", len(w.queries))
	}
}

// Whether one task needs another is found by what it needs, which is little,
// and not by who needs it.
func TestNeedsAreFoundWithLittleWork(t *testing.T) {
	r := newWorld(t, Config{}).r
	b := r.newBudget()
	name := func(i int) dns.Name { return dns.MustName(fmt.Sprintf("t%d", i)) }
	shared := r.newTask(name(0), dns.TypeA, b)
	for i := range 50_000 {
		r.newTask(name(i+1), dns.TypeA, b).need(shared)
	}
	if r.needed(shared, r.tasks[taskKey{name(1), dns.TypeA}]) {
		t.Error("it needs nobody")
	}
	// Each layer needs the whole layer below: the ways down are past counting.
	layers := make([][]*task, 8)
	for i := range layers {
		for j := range 8 {
			layers[i] = append(layers[i], r.newTask(name(100_000+10*i+j), dns.TypeA, b))
		}
		if i > 0 {
			for _, t := range layers[i-1] {
				t.needs = layers[i]
			}
		}
	}
	if r.needed(layers[0][0], shared) || !r.needed(layers[0][0], layers[7][7]) {
		t.Error("wrong about who needs whom")
	}
}

// Who asks much gets half of the places; when all are taken, the oldest
// question of whoever has most gives way.
func TestPlacesAreSharedByClient(t *testing.T) {
	w := plain(t, Config{MaxQuestions: 100})
	w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\ndead NS ns.dead\nns.dead A 10.9.0.9\n")
	ask := func(from string, name string) int {
		return w.r.Ask(w.now, dns.Question{Name: dns.MustName(name), Type: dns.TypeA, Class: dns.ClassIN}, netip.MustParseAddr(from), false)
	}
	refused := func() (n int) {
		w.run(time.Millisecond)
		for _, r := range w.results {
			if strings.Contains(r.Reason, "questions") {
				n++
			}
		}
		return n
	}
	for i := range 200 {
		ask("192.0.2.1", fmt.Sprintf("a%d.dead.com", i))
	}
	if n := refused(); n != 150 {
		t.Errorf("of 200 questions of one client %d were refused, and 50 are waiting", n)
	}
	for i := range 60 { // one site, many addresses
		ask(fmt.Sprintf("2001:db8:0:%x::%x", i, i), fmt.Sprintf("b%d.dead.com", i))
	}
	if n := refused(); n != 160 {
		t.Errorf("%d were refused after another client came", n)
	}
	id := ask("192.0.2.3", "www.dead.com")
	if n := refused(); n != 161 || w.results[id] != nil {
		t.Errorf("%d were refused; the third client: %+v", n, w.results[id])
	}
	w.run(time.Minute)
	if w.r.questions != 0 || len(w.r.accounts) != 0 {
		t.Errorf("%d questions of %d clients are left", w.r.questions, len(w.r.accounts))
	}
}

// Sockets are bounded, and one zone has no more than its share of them; what
// waits for one is not held against the servers.
func TestSocketsAreSharedByZone(t *testing.T) {
	w := plain(t, Config{MaxSockets: 40})
	w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\nslow NS ns.slow\nns.slow A 10.0.0.9\nother NS ns.other\nns.other A 10.0.0.5\n")
	w.serve("10.0.0.9", "slow.com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.9\n* A 192.0.2.9\n")
	w.change("10.0.0.9", func(_ query, h []reply) []reply { h[0].after = 350 * time.Millisecond; return h })
	most := 0
	w.change("10.0.0.5", func(_ query, h []reply) []reply { most = max(most, len(w.open)); return h })
	w.ask("first.slow.com", dns.TypeA)
	w.ask("x.other.com", dns.TypeA)
	var slow []int
	for i := range 200 {
		slow = append(slow, w.start(fmt.Sprintf("s%d.slow.com", i), dns.TypeA))
	}
	w.run(10 * time.Millisecond)
	if len(w.open) > 40/4 {
		t.Errorf("one zone has %d of 40 sockets", len(w.open))
	}
	id := w.start("y.other.com", dns.TypeA)
	w.run(100 * time.Millisecond)
	if w.results[id] == nil {
		t.Error("a question for another zone waited for the slow one")
	}
	w.run(15 * time.Second)
	good := 0
	for _, id := range slow {
		if r := w.results[id]; r != nil && r.Rcode == dns.RcodeNoError {
			good++
		}
	}
	if good != len(slow) || most > 40 {
		t.Errorf("%d of %d slow questions were answered; %d sockets at most", good, len(slow), most)
	}
	if i := w.r.infra[netip.MustParseAddr("10.0.0.9")]; i.timeouts > 0 {
		t.Errorf("waiting for a socket counts as %d timeouts of the server", i.timeouts)
	}
}

// That no socket can be opened here says nothing about the server: it is tried
// again when there is one, with fewer at once.
func TestWithoutSockets(t *testing.T) {
	w := plain(t, Config{})
	left := 3
	for _, at := range []string{"10.0.0.1", "10.0.0.3"} {
		w.change(at, func(_ query, h []reply) []reply {
			if left > 0 {
				left--
				return []reply{{err: syscall.EMFILE}}
			}
			return h
		})
	}
	w.want("www.example.com", dns.TypeA, "NOERROR A 192.0.2.1")
	for _, at := range []string{"10.0.0.1", "10.0.0.3"} {
		if i := w.r.infra[netip.MustParseAddr(at)]; i != nil && i.timeouts > 0 {
			t.Errorf("%s is blamed for it", at)
		}
	}
	if s := w.r.Stats(); s.NoSocket != 3 || s.MaxOpen < minOpen || s.MaxOpen > 100 {
		t.Errorf("%+v", s)
	}
}

// Of many queries that were out at once and brought nothing, one counts.
func TestServerIsNotDownForOneMoment(t *testing.T) {
	w := plain(t, Config{})
	w.ask("www.example.com", dns.TypeA)
	silent := true
	for _, at := range []string{"10.0.0.3", "10.0.0.4"} {
		w.change(at, func(_ query, h []reply) []reply {
			if silent {
				return nil
			}
			return h
		})
	}
	for i := range 100 {
		w.start(fmt.Sprintf("n%d.example.com", i), dns.TypeA)
	}
	w.run(150 * time.Millisecond)
	silent = false
	w.run(10 * time.Second)
	for id, r := range w.results {
		if r.Rcode == dns.RcodeServFail {
			t.Fatalf("question %d: %s", id, r.Reason)
		}
	}
}
