package stub

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// multicast is the question to the link (RFC 6762 §5.1, a one-shot query):
// any host on it may answer for its own .local name.
type multicast struct {
	src      Source
	asked    []*socket // one for each family
	answered int
	addrs    []Address
	sends    int
	next     clock.Time // when to send again or give up
	active   bool
}

var (
	mdnsGroup4 = netip.MustParseAddrPort("224.0.0.251:5353")
	mdnsGroup6 = netip.MustParseAddrPort("[ff02::fb]:5353")
)

// A query is sent again once, a second later (§5.2); where one family has
// answered, the other has a moment more.
const (
	mdnsInterval = time.Second
	mdnsSends    = 2
	mdnsMore     = 100 * time.Millisecond
)

// isMDNS tells whether a word of nsswitch.conf is multicast DNS, as nss-mdns
// names it: mdns, mdns4, mdns6, each perhaps with _minimal.
func isMDNS(source string) bool { return strings.HasPrefix(source, "mdns") }

// beginMulticast asks the link for the name; false when the source is not for
// it. What it finds or not, mdnsEnded goes on.
func (l *Lookup) beginMulticast(src Source, now clock.Time) bool {
	if !l.name.IsSubdomainOf(nameLocal) || l.name.NumLabels() < 2 {
		l.step(Step{Source: trace.StepSource(src.Name), Outcome: trace.StepSkipped, Start: now, End: now, Text: "not asked: only .local names are for multicast DNS"})
		return false
	}
	if strings.HasSuffix(src.Name, "_minimal") && l.name.NumLabels() > 2 {
		l.step(Step{Source: trace.StepSource(src.Name), Outcome: trace.StepSkipped, Start: now, End: now, Text: "not asked: " + src.Name + " takes only names of one label below .local"})
		return false
	}
	l.mdns = multicast{src: src, active: true}
	base := strings.TrimSuffix(src.Name, "_minimal")
	for _, typ := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
		if typ == dns.TypeA && (base == "mdns6" || !l.cfg.WantA) || typ == dns.TypeAAAA && (base == "mdns4" || !l.cfg.WantAAAA) {
			continue
		}
		q := l.newQuestion(l.name, typ)
		q.started = true
		s := &socket{number: len(l.sockets), server: mdnsGroup4, q: q, id: uint16(l.random()), waiting: true, multicast: true}
		if base == "mdns6" {
			s.server = mdnsGroup6
		}
		s.step = l.step(Step{Source: trace.StepSource(src.Name), Outcome: trace.StepWaiting, Name: l.name, Type: typ, Server: s.server, Transport: "udp", Attempt: 1,
			ID: s.id, Socket: s.number, Start: now, End: now, Text: "nobody on the link has answered yet"})
		l.sockets = append(l.sockets, s)
		l.mdns.asked = append(l.mdns.asked, s)
	}
	if len(l.mdns.asked) == 0 {
		l.mdns.active = false
		l.step(Step{Source: trace.StepSource(src.Name), Outcome: trace.StepSkipped, Start: now, End: now, Text: "not asked: " + src.Name + " is not for the wanted address family"})
		return false
	}
	l.sendMulticast(now)
	return true
}

func (l *Lookup) sendMulticast(now clock.Time) {
	l.mdns.sends++
	l.mdns.next = now.Add(mdnsInterval)
	for _, s := range l.mdns.asked {
		if !s.waiting {
			continue
		}
		m := dns.Message{Header: dns.Header{ID: s.id}, Questions: []dns.Question{{Name: s.q.name, Type: s.q.typ, Class: dns.ClassIN}}}
		msg, err := m.Append(nil)
		if err != nil {
			panic(err) // a valid name and a fixed form always fit
		}
		l.steps[s.step].Attempt = l.mdns.sends
		l.out = append(l.out, Action{Kind: SendMulticast, Server: s.server, Socket: s.number, Msg: msg})
	}
}

// pollMulticast sends again, or gives up.
func (l *Lookup) pollMulticast(now clock.Time) {
	if !l.mdns.active || l.mdns.next > now {
		return
	}
	if len(l.mdns.addrs) == 0 && l.mdns.sends < mdnsSends {
		l.sendMulticast(now)
		return
	}
	l.endMulticast(now)
}

// heard takes a message from the link. Anybody may send one; what is not an
// answer to the question is passed over.
func (l *Lookup) heard(s *socket, from netip.AddrPort, m *dns.Message, now clock.Time) {
	if !m.Response || m.Rcode != dns.RcodeNoError || from.Port() != 5353 || !s.waiting || !l.mdns.active {
		return // §6: answers come from port 5353
	}
	var found []Address
	for _, rr := range m.Answers {
		rr.Class &^= 1 << 15 // the cache-flush bit (§10.2)
		if a, ok := rr.Addr(); ok && rr.Type == s.q.typ && rr.Name.EqualFold(s.q.name) {
			found = append(found, Address{Addr: a, TTL: int64(rr.TTL), Source: s.sourceName(l) + " from " + from.Addr().String()})
		}
	}
	if len(found) == 0 {
		return
	}
	st := l.end(s, trace.StepAnswer, fmt.Sprintf("%s says %s (TTL %d s)", from.Addr(), addressList(found), found[0].TTL), now)
	st.Answered, st.Answers = true, m.Answers
	l.close(s)
	l.mdns.addrs = append(l.mdns.addrs, found...)
	if l.mdns.answered++; l.mdns.answered == len(l.mdns.asked) {
		l.endMulticast(now)
		return
	}
	l.mdns.next = min(l.mdns.next, now.Add(mdnsMore))
}

func (s *socket) sourceName(l *Lookup) string { return string(l.steps[s.step].Source) }

// endMulticast has the answers, or goes on with the next source.
func (l *Lookup) endMulticast(now clock.Time) {
	l.mdns.active = false
	for _, s := range l.mdns.asked {
		if s.waiting {
			l.end(s, trace.StepTimeout, "nobody on the link answered", now)
		}
		l.close(s)
	}
	if len(l.mdns.addrs) > 0 {
		l.finish(Result{Source: trace.StepSource(l.mdns.src.Name), Canonical: l.name, Addresses: l.mdns.addrs})
		return
	}
	// RFC 6762 §3 keeps .local names from name servers: [NOTFOUND=return]
	// behind the source does that, where it stands.
	l.goOn(l.mdns.src, StatusNotFound, now)
}
