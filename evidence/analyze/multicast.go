package analyze

import (
	"fmt"
	"net/netip"
	"strings"

	"peel/clock"
	"peel/dns"
	"peel/dns/stub"
	"peel/trace"
)

// The ports of what is asked of everybody on the link.
const (
	portMDNS  = 5353 // RFC 6762
	portLLMNR = 5355 // RFC 4795
)

// Classes of multicast DNS lend their highest bit: in a question for an answer
// to the asker alone (RFC 6762 §5.4), in a record for "forget what you had"
// (§10.2).
const classFlag = 1 << 15

// maxTold bounds the names of one multicast message that are told apart.
const maxTold = 16

// groupWaits is how long an answer may come after a question to everybody.
const groupWaits = clock.Time(10e9)

// multicast tells what a message of the ports of multicast DNS and LLMNR is;
// empty for any other.
func (h *message) multicast() trace.LookupKind {
	switch {
	case h.transport != "udp":
		return ""
	case h.server.Port() == portMDNS:
		return trace.LookupMDNS
	case h.server.Port() == portLLMNR:
		return trace.LookupLLMNR
	}
	return ""
}

// heardMulticast takes a message of multicast DNS or LLMNR: a question has
// several answers, or none, and an answer need not have been asked for.
func (a *Analyzer) heardMulticast(h *message, kind trace.LookupKind) {
	for _, section := range [][]dns.Resource{h.m.Answers, h.m.Authority, h.m.Additional} {
		for i := range section {
			section[i].Class &^= classFlag
		}
	}
	if h.m.Response {
		a.answeredByGroup(h, kind)
		return
	}
	book := &a.wireOf().names
	for i, q := range h.m.Questions {
		if i == maxTold {
			break
		}
		q.Class &^= classFlag
		name := strings.ToLower(q.Name.String())
		l := a.lookupFor(h.t, client{h.client.Addr(), name, kind}, q, h.e)
		if h.e.Lookup == 0 {
			h.e.Lookup = l.tr.ID
		}
		a.asks(l, h, q)
		book.group.put(client{name: name, kind: kind}, l)
	}
}

func (a *Analyzer) answeredByGroup(h *message, kind trace.LookupKind) {
	book := &a.wireOf().names
	told := map[string]bool{}
	names := make([]string, 0, 4)
	add := func(n dns.Name) {
		if s := strings.ToLower(n.String()); !told[s] && len(names) < maxTold {
			told[s] = true
			names = append(names, s)
		}
	}
	if kind == trace.LookupLLMNR {
		for _, q := range h.m.Questions {
			add(q.Name) // and an answer to it can be empty
		}
	}
	for _, r := range h.m.Answers {
		add(r.Name)
	}
	answered := false
	for _, name := range names {
		l, ok := book.group.get(client{name: name, kind: kind})
		if ok && !l.handed && h.t-l.last <= groupWaits && a.answeredInGroup(l, h, name) {
			answered = true
		}
	}
	if answered || len(names) == 0 {
		return
	}
	who := client{h.server.Addr(), "", trace.LookupAnnouncement}
	l, ok := book.group.get(who)
	if !ok || l.handed || h.t-l.last > sameLookup {
		l = a.newLookup(h.t)
		l.start = h.e
		l.client, l.tr.Client, l.tr.Kind = who.addr, who.addr, who.kind
		l.tr.Name = strings.TrimSuffix(names[0], ".")
		book.group.put(who, l)
	}
	var first dns.Question
	for _, r := range h.m.Answers {
		first = dns.Question{Name: r.Name, Type: r.Type, Class: r.Class}
		break
	}
	as := a.asks(l, h, first)
	as.unseen = true
	a.toldTo(as, h, h.m.Answers, "told without a question in the capture")
}

// answeredInGroup adds what a response says of a name to the lookup that asked
// for it.
func (a *Analyzer) answeredInGroup(l *lookup, h *message, name string) bool {
	var list []dns.Resource
	for _, r := range h.m.Answers {
		if strings.ToLower(r.Name.String()) == name {
			list = append(list, r)
		}
	}
	done := false
	for _, as := range l.asks {
		var mine []dns.Resource
		for _, r := range list {
			if r.Type == as.q.Type || as.q.Type == dns.TypeANY {
				mine = append(mine, r)
			}
		}
		if len(mine) == 0 && len(list) > 0 || as.unseen {
			continue
		}
		if as.ended {
			if len(l.asks) >= maxAsks || as.server == h.server {
				continue // it says so once more
			}
			further := a.asks(l, h, as.q)
			further.at, further.unseen = as.at, true
			a.toldTo(further, h, mine, "")
			return true
		}
		as.server = h.server
		a.toldTo(as, h, mine, "")
		done = true
	}
	return done
}

// toldTo ends a question to everybody with what one of them says.
func (a *Analyzer) toldTo(as *asked, h *message, list []dns.Resource, why string) {
	l := as.lookup
	if h.e.Lookup == 0 {
		h.e.Lookup = l.tr.ID
	}
	as.ends()
	as.settled, as.lastly = true, h.t
	l.last, l.end = h.t, h.e
	l.tr.End = a.time(h.t)
	as.step = trace.Step{Outcome: trace.StepAnswer, Rcode: h.m.Rcode.String(), Size: len(h.raw), Duration: trace.Duration(max(h.t-as.at, 0)),
		Answers: printed(nil, list), Additional: printed(nil, h.m.Additional)}
	as.step.Text = stub.DataList(list)
	switch {
	case h.m.Rcode != dns.RcodeNoError:
		as.step.Outcome, as.step.Text = trace.StepServerFailure, h.m.Rcode.String()
	case len(list) == 0:
		as.step.Outcome, as.step.Text = trace.StepNoData, fmt.Sprintf("no %s record", as.q.Type)
	}
	if why != "" {
		as.step.Text = why + ": " + as.step.Text
	}
	var found []trace.Address
	for _, r := range list {
		var ip netip.Addr
		switch d := r.Value().(type) {
		case dns.A:
			ip = d.Addr
		case dns.AAAA:
			ip = d.Addr
		default:
			continue
		}
		found = append(found, trace.Address{IP: ip, Source: as.server.String(), TTL: int64(r.TTL)})
	}
	if l.tr.Kind != trace.LookupAnnouncement {
		a.found(l, found)
	}
}
