package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"peel/dns"
	"peel/trace"
)

// dnsTimeout: a name server did not answer. It costs the whole timeout even
// when another one answers then.
func dnsTimeout(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		if l.Kind != "" {
			continue
		}
		type told struct{ queries, silent, replies int }
		servers := map[netip.AddrPort]*told{}
		var order []netip.AddrPort
		answered := ""
		var wasted, waited trace.Duration
		for i, s := range l.Steps {
			if s.Source != trace.SourceDNS || !s.Server.IsValid() || s.Outcome == trace.StepIgnored {
				continue
			}
			if servers[s.Server] == nil {
				servers[s.Server] = &told{}
				order = append(order, s.Server)
			}
			servers[s.Server].queries++
			if s.Rcode != "" {
				servers[s.Server].replies++
			}
			switch {
			case s.Outcome == trace.StepTimeout:
				servers[s.Server].silent++
				waited = max(waited, s.Duration)
				if slices.ContainsFunc(l.Steps[i+1:], func(o trace.Step) bool { return o.Question == s.Question && o.Server.IsValid() }) {
					wasted = max(wasted, s.Duration)
				}
			case s.Rcode != "" && s.Outcome == trace.StepAnswer && answered == "":
				answered = fmt.Sprintf("%s answered in %v", s.Server, s.Duration.Std().Round(10*time.Microsecond))
			case (s.Outcome == trace.StepNoName || s.Outcome == trace.StepNoData || s.Outcome == trace.StepAnswer) && answered == "":
				answered = fmt.Sprintf("%s answered (%s) in %v", s.Server, s.Rcode, s.Duration.Std().Round(10*time.Microsecond))
			}
		}
		if wasted+waited > 0 && paired(t, l) != nil {
			continue // which tells what happened
		}
		for _, server := range order {
			n := servers[server]
			if n.silent == 0 {
				continue
			}
			f := &trace.Finding{ID: DNSTimeout, Severity: trace.Warning, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSQuery, trace.EventLookupStep),
				Title:       fmt.Sprintf("name server %s did not answer (%s, 0 replies)", server, counted(n.queries, "query", "queries")),
				Explanation: fmt.Sprintf("Each query waited up to %v before the next one was sent.", wasted.Std().Round(time.Millisecond)),
				WhatToDo:    "Take the dead server out of /etc/resolv.conf, or repair it; until then every lookup can pay for it.", Source: "resolv.conf(5)"}
			if wasted == 0 {
				f.Explanation = fmt.Sprintf("No answer came within %v.", waited.Std().Round(time.Millisecond))
			}
			if n.replies > 0 {
				f.Title = fmt.Sprintf("name server %s did not answer %d of %s", server, n.silent, counted(n.queries, "query", "queries"))
				f.WhatToDo = "The server is there: look for loss on the way to it, or for a server that is too slow."
			}
			if cut := l.Client.IsValid() && slices.ContainsFunc(l.Steps, func(s trace.Step) bool { return s.Outcome == trace.StepSkipped }); cut {
				// Of more than are told it is not known here how they ended.
				f.Title = fmt.Sprintf("name server %s did not answer %d of the first %s for %s", server, n.silent, counted(n.queries, "query", "queries"), l.Name)
				out = append(out, f)
				continue
			}
			if n.queries == 1 && l.Client.IsValid() && !askedOn(l, server) {
				// Nobody is seen to have given up.
				f.Explanation = fmt.Sprintf("The capture goes on for %v after it and shows no answer, and no other query for the name.", waited.Std().Round(time.Millisecond))
				f.WhatToDo = "Look whether the server runs, and whether port 53 is open to it and from it."
				out = append(out, f)
				continue
			}
			if answered != "" {
				f.Explanation += " Then " + answered + "."
			} else if n.replies == 0 {
				f.Severity = trace.Error
			}
			out = append(out, f)
		}
	}
	return few(out)
}

// maxAlike bounds the findings of one kind about lookups.
const maxAlike = 20

// few leaves of findings of one kind the first, and says how many more there are.
func few(list []*trace.Finding) []*trace.Finding {
	kinds := map[trace.FindingID]int{}
	more := map[trace.FindingID]*trace.Finding{}
	out := list[:0:0]
	for _, f := range list {
		kinds[f.ID]++
		if kinds[f.ID] <= maxAlike {
			out = append(out, f)
			continue
		}
		m := more[f.ID]
		if m == nil {
			m = &trace.Finding{ID: f.ID, Severity: f.Severity, Evidence: []int{}, WhatToDo: f.WhatToDo, Hint: f.Hint, Source: f.Source,
				Explanation: "The lookups are listed each with what came of it."}
			more[f.ID] = m
			out = append(out, m)
		}
		if f.Severity.Rank() > m.Severity.Rank() {
			m.Severity = f.Severity
		}
		m.Evidence = some(append(m.Evidence, f.Evidence...))
		n := kinds[f.ID] - maxAlike
		m.Title = fmt.Sprintf("the same is true of %d more lookups", n)
		if n == 1 {
			m.Title = "the same is true of one more lookup"
		}
	}
	return out
}

// askedOn tells whether another query followed one that a server did not answer.
func askedOn(l *trace.Lookup, server netip.AddrPort) bool {
	for i, s := range l.Steps {
		if s.Server == server && s.Outcome == trace.StepTimeout {
			return slices.ContainsFunc(l.Steps[i+1:], func(o trace.Step) bool { return o.Question == s.Question && o.Attempt > 0 })
		}
	}
	return false
}

// dnsTruncated: an answer did not fit into a datagram and had to come again.
func dnsTruncated(t *facts) []*trace.Finding {
	var out []*trace.Finding
	var to map[netip.AddrPort][]*trace.Connection
	for _, l := range t.Lookups {
		for i, s := range l.Steps {
			if s.Outcome != trace.StepTruncated {
				continue
			}
			f := &trace.Finding{ID: DNSTruncated, Severity: trace.Info, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSResponse),
				Title:       fmt.Sprintf("the answer to %s was cut to fit a datagram (TC) and was asked for again over TCP", s.Question),
				Explanation: "That costs another round trip or two, and resolvers that do not retry over TCP get no answer at all.",
				WhatToDo:    "Shorten the answer (fewer records, a shorter CNAME chain), and keep TCP port 53 open.", Source: "RFC 7766 §5"}
			if !slices.ContainsFunc(l.Steps[i+1:], func(o trace.Step) bool { return o.Transport != "udp" && o.Question == s.Question }) {
				if to == nil {
					to = toServers(t)
				}
				notOverTCP(t, f, l, s, to[s.Server])
			}
			out = append(out, f)
			break
		}
	}
	return few(out)
}

// toServers lists the connections by the server's address.
func toServers(t *facts) map[netip.AddrPort][]*trace.Connection {
	out := map[netip.AddrPort][]*trace.Connection{}
	for _, c := range t.Connections {
		if c.Network == "tcp" {
			out[c.RemoteAddr] = append(out[c.RemoteAddr], c)
		}
	}
	return out
}

// followed is how long a capture has to go on to show that nothing came.
const followed = trace.Time(time.Second)

// notOverTCP says what came after an answer that was cut, where no question over
// TCP was read.
func notOverTCP(t *facts, f *trace.Finding, l *trace.Lookup, s trace.Step, conns []*trace.Connection) {
	f.Title = fmt.Sprintf("the answer to %s was cut to fit a datagram (TC)", s.Question)
	if s.Size > 0 {
		f.Title = fmt.Sprintf("the answer to %s was cut to %d octets to fit a datagram (TC)", s.Question, s.Size)
	}
	end := s.Time + trace.Time(s.Duration)
	// A list in the order of time; the first after the answer is the one.
	i := sort.Search(len(conns), func(i int) bool { return conns[i].Opened >= end })
	for _, c := range conns[i:min(i+maxSearched, len(conns))] {
		if c.Opened > end+trace.Time(searchPause) {
			break
		}
		if l.Client.IsValid() && c.LocalAddr.Addr() != l.Client {
			continue
		}
		f.Severity = trace.Warning
		f.Connection = c.ID
		f.Evidence = append(f.Evidence, ofConnection(t, c.ID, trace.EventTCPSYN, trace.EventTCPRST)...)
		switch g := c.Segments; {
		case g != nil && g.Server.Segments == 0:
			f.Title += ", and the server did not answer the connection over TCP that was to bring the whole"
		case c.ClosedBy == trace.ByReset && c.BytesIn+c.BytesOut == 0:
			f.Title += ", and the connection over TCP that was to bring the whole was reset before it was open"
		default:
			f.Severity = trace.Info
			f.Title += ", and a connection over TCP followed in which no question was read"
		}
		return
	}
	if len(t.Events) > 0 && t.Events[len(t.Events)-1].Time-end >= followed {
		f.Severity = trace.Warning
		f.Title += ", and was not asked for again over TCP"
		f.Explanation = "Whoever asked went on with what was cut, or without an answer."
	}
}

// unresolved are the findings for lookups that found no address.
var unresolved = map[trace.FailureCode]struct {
	id                 trace.FindingID
	title, explanation string
}{
	trace.FailNameNotFound: {DNSNoName, "does not exist", "The server answered NXDOMAIN: neither this name nor anything below it exists."},
	trace.FailNoData:       {DNSEmpty, "has no address", "The server answered NOERROR without a record of that type: the name exists, but not with such an address."},
	trace.FailServerFailure: {DNSServerFailure, "could not be looked up: the name servers failed",
		"SERVFAIL says that the resolver could not get an answer itself: the zone's servers are down or lame, or DNSSEC does not validate."},
	trace.FailRefused:     {DNSRefused, "could not be looked up: the name servers refuse", "The server does not want to answer this client."},
	trace.FailUnreachable: {DNSUnreachable, "could not be looked up: no name server can be reached", ""},
	trace.FailMalformed:   {DNSMalformed, "could not be looked up: the answer is broken", ""},
}

// dnsFailure: the lookup found no address.
func dnsFailure(t *facts) []*trace.Finding {
	var out []*trace.Finding
	near := neighbours(t.Lookups)
	for _, l := range t.Lookups {
		if l.Failure == nil {
			continue
		}
		u, ok := unresolved[l.Failure.Code]
		if !ok || near.searchedOn(l) {
			continue
		}
		f := &trace.Finding{ID: u.id, Severity: trace.Error, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSResponse, trace.EventICMPError, trace.EventLookupStep, trace.EventLookupEnd),
			Title: l.Name + " " + u.title + onlyAsked(l, u.id), Explanation: u.explanation, WhatToDo: sentence(l.Failure.Try), Hint: l.Failure.Hint, Source: "RFC 1035 §4.1.1"}
		switch rcode, meaning := failing(l); {
		case u.id == DNSServerFailure && rcode != "" && rcode != "SERVFAIL":
			f.Title = fmt.Sprintf("%s could not be looked up: the name server said %s", l.Name, rcode)
			f.Explanation = "That is no answer about the name: " + meaning + "."
			f.WhatToDo = "Ask again without EDNS, or ask another name server."
		case u.explanation == "":
			f.Explanation = strings.TrimSuffix(l.Failure.Seen, ".") + "."
		}
		if circle := aliasLoop(l); circle != "" && u.id == DNSMalformed {
			f.ID, f.Source = DNSAliasLoop, "RFC 1034 §3.6.2"
			f.Title = l.Name + " could not be looked up: its aliases lead in a circle"
			f.Explanation = "The CNAME records of the answer: " + circle + "."
		}
		if !forAddress(l) {
			f.Severity = trace.Warning // no request needs it
		}
		out = append(out, f)
	}
	return few(out)
}

// failing is the response code of the last server that failed, and its meaning.
func failing(l *trace.Lookup) (rcode, meaning string) {
	for _, s := range l.Steps {
		if s.Outcome == trace.StepServerFailure && s.Rcode != "" {
			rcode = s.Rcode
			if code, ok := dns.ParseRcode(rcode); ok {
				meaning = code.Meaning()
			}
		}
	}
	if meaning == "" {
		meaning = "the server failed"
	}
	return rcode, meaning
}

// forAddress tells whether an address was asked for, or whether nothing is known
// of what was.
func forAddress(l *trace.Lookup) bool {
	other := false
	for _, s := range l.Steps {
		switch s.Question.Type {
		case "A", "AAAA":
			return true
		case "":
		default:
			other = true
		}
	}
	return !other
}

// aliasLoop names the aliases that lead in a circle.
func aliasLoop(l *trace.Lookup) string {
	for _, s := range l.Steps {
		if s.Outcome != trace.StepMalformed || s.Rcode != "NOERROR" {
			continue
		}
		alias := map[string]string{}
		for _, r := range s.Answers {
			if r.Type == "CNAME" {
				alias[strings.ToLower(r.Name)] = strings.ToLower(r.Data)
			}
		}
		at := strings.ToLower(s.Question.Name)
		way, seen := []string{at}, map[string]bool{at: true}
		for next := alias[at]; next != ""; next = alias[next] {
			way = append(way, next)
			if seen[next] {
				return strings.Join(way, " → ")
			}
			seen[next] = true
		}
	}
	return ""
}

// onlyAsked says which kind of address is meant when just one was asked for.
func onlyAsked(l *trace.Lookup, id trace.FindingID) string {
	if id != DNSEmpty {
		return ""
	}
	asked := map[string]bool{}
	for _, s := range l.Steps {
		if s.Source == trace.SourceDNS {
			asked[s.Question.Type] = true
		}
	}
	switch {
	case asked["A"] && !asked["AAAA"]:
		return " of IPv4; IPv6 was not asked for"
	case asked["AAAA"] && !asked["A"]:
		return " of IPv6; IPv4 was not asked for"
	}
	return ""
}

// leavesOut tells whether short is long without some labels, of which the
// first is none.
func leavesOut(long, short string) bool {
	l, s := strings.Split(strings.ToLower(long), "."), strings.Split(strings.ToLower(short), ".")
	if len(s) >= len(l) || l[0] != s[0] {
		return false
	}
	head := 0
	for head < len(s) && l[head] == s[head] {
		head++
	}
	return slices.Equal(s[head:], l[len(l)-len(s)+head:])
}

// sentence makes a hint a sentence.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
