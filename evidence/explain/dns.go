package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/trace"
)

// dnsTimeout: a name server did not answer. It costs the whole timeout even
// when another one answers then.
func dnsTimeout(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		silent := map[netip.AddrPort]int{}
		var order []netip.AddrPort
		answered := ""
		var wasted trace.Duration
		for _, s := range l.Steps {
			switch {
			case s.Source != trace.SourceDNS:
			case s.Outcome == trace.StepTimeout:
				if silent[s.Server] == 0 {
					order = append(order, s.Server)
				}
				silent[s.Server]++
				wasted = max(wasted, s.Duration)
			case s.Outcome == trace.StepAnswer && answered == "":
				answered = fmt.Sprintf("%s answered in %v", s.Server, s.Duration.Std().Round(10*time.Microsecond))
			}
		}
		for _, server := range order {
			f := &trace.Finding{ID: DNSTimeout, Severity: trace.Warning, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSQuery, trace.EventLookupStep),
				Title:       fmt.Sprintf("name server %s did not answer (%d queries, 0 replies)", server, silent[server]),
				Explanation: fmt.Sprintf("Each query waited up to %v before the next server was tried.", wasted.Std().Round(time.Millisecond)),
				WhatToDo:    "Take the dead server out of /etc/resolv.conf, or repair it; until then every lookup can pay for it.", Source: "resolv.conf(5)"}
			if answered != "" {
				f.Explanation += " Then " + answered + "."
			} else {
				f.Severity = trace.Error
			}
			out = append(out, f)
		}
	}
	return out
}

// dnsTruncated: an answer did not fit into a datagram and had to come again.
func dnsTruncated(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		for _, s := range l.Steps {
			if s.Outcome == trace.StepTruncated {
				out = append(out, &trace.Finding{ID: DNSTruncated, Severity: trace.Info, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSResponse),
					Title:       fmt.Sprintf("the answer to %s was cut to fit a datagram (TC) and was asked for again over TCP", s.Question),
					Explanation: "That costs another round trip or two, and resolvers that do not retry over TCP get no answer at all.",
					WhatToDo:    "Shorten the answer (fewer records, a shorter CNAME chain), and keep TCP port 53 open.", Source: "RFC 7766 §5"})
				break
			}
		}
	}
	return out
}

// dnsSearchStorm: search suffixes were tried before the name itself.
func dnsSearchStorm(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		want := strings.ToLower(strings.TrimSuffix(l.Name, "."))
		queries, wrong := 0, map[string]bool{}
		for _, s := range l.Steps {
			if s.Source != trace.SourceDNS || s.Question == (trace.Question{}) {
				continue
			}
			queries++
			if name := strings.ToLower(strings.TrimSuffix(s.Question.Name, ".")); name != want && s.Outcome == trace.StepNoName {
				wrong[name] = true
			}
		}
		// One suffix is how short names are meant to work.
		if len(wrong) >= 2 && l.Failure == nil {
			out = append(out, &trace.Finding{ID: DNSSearchStorm, Severity: trace.Warning, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSQuery),
				Title:       fmt.Sprintf("one name cost %d queries: %d search suffixes were tried for %q first", queries, len(wrong), l.Name),
				Explanation: "The name has fewer dots than ndots in /etc/resolv.conf, so each search suffix comes before the name itself.",
				WhatToDo:    "Write the name with a dot at its end, or lower ndots.", Source: "resolv.conf(5)"})
		}
	}
	return out
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
}

// dnsFailure: the lookup found no address.
func dnsFailure(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for i, l := range t.Lookups {
		if l.Failure == nil {
			continue
		}
		u, ok := unresolved[l.Failure.Code]
		if !ok || searchedOn(l, t.Lookups[i+1:]) {
			continue
		}
		out = append(out, &trace.Finding{ID: u.id, Severity: trace.Error, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSResponse, trace.EventLookupStep, trace.EventLookupEnd),
			Title: l.Name + " " + u.title + onlyAsked(l, u.id), Explanation: u.explanation, WhatToDo: sentence(l.Failure.Try), Hint: l.Failure.Hint, Source: "RFC 1035 §4.1.1"})
	}
	return out
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

// maxSearched bounds the lookups that are looked at for one of a search list,
// beside the time.
const maxSearched = 100

// searchedOn tells a lookup that was one step along a search list: soon after,
// the same name without the suffix, or with another, brought an address. A
// resolver that decides before peel's eyes makes one lookup of them all; of
// one that only its packets show, each name is a lookup.
func searchedOn(l *trace.Lookup, later []*trace.Lookup) bool {
	for _, o := range later[:min(len(later), maxSearched)] {
		if o.Start > l.End+trace.Time(searchPause) {
			break
		}
		if len(o.Addresses) > 0 && (leavesOut(l.Name, o.Name) || leavesOut(o.Name, l.Name)) {
			return true
		}
	}
	return false
}

// searchPause is how soon the next name of a search list is asked for.
const searchPause = 5 * time.Second

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
