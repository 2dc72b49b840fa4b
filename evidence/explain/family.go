package explain

import (
	"fmt"
	"time"

	"peel/trace"
)

// dnsHalf: one family's addresses came, and the question for the other's failed
// in a way that a right server's does not.
func dnsHalf(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		if l.Kind != "" || l.Failure != nil {
			continue
		}
		last := map[string]trace.Step{}
		for _, s := range l.Steps {
			if s.Source == trace.SourceDNS && s.Outcome != trace.StepIgnored && s.Outcome != trace.StepSkipped {
				last[s.Question.Type] = s
			}
		}
		for _, pair := range [][2]string{{"AAAA", "A"}, {"A", "AAAA"}} {
			bad, good := last[pair[0]], last[pair[1]]
			if good.Outcome != trace.StepAnswer || bad.Rcode == "" || bad.Question.Name != good.Question.Name {
				continue
			}
			switch bad.Outcome {
			case trace.StepServerFailure, trace.StepRefused, trace.StepNoName:
			default:
				continue
			}
			f := &trace.Finding{ID: DNSHalfAnswered, Severity: trace.Warning, Lookup: l.ID, Evidence: ofLookup(t, l.ID, trace.EventDNSResponse, trace.EventLookupStep),
				Title:       fmt.Sprintf("%s of %s was answered with %s, and %s with an address", pair[0], l.Name, bad.Rcode, pair[1]),
				Explanation: fmt.Sprintf("A name without a record of type %s is to be answered with NOERROR and no records. Resolvers that take %s for the whole name find no address at all, and others ask again first.", pair[0], bad.Rcode),
				WhatToDo:    "Mend the zone's servers, or what stands before them, to answer both types.", Source: "RFC 4074 §4"}
			out = append(out, f)
		}
	}
	return few(out)
}

// pair is a question that was lost of two that left one port together.
type pair struct {
	lost, kept trace.Step
	apart      time.Duration
	evidence   []int
}

// together is how close two questions leave that were sent as one pair.
const together = trace.Time(10 * time.Millisecond)

// maxPaired bounds the questions of a lookup that are looked at: a pair is the
// first that is sent.
const maxPaired = 16

// paired finds two questions of a lookup for A and AAAA that left from one port
// at once, of which one was answered and the other was not, and was asked again.
func paired(t *facts, l *trace.Lookup) *pair {
	if !l.Client.IsValid() || len(l.Steps) < 3 {
		return nil
	}
	steps := l.Steps[:min(len(l.Steps), maxPaired)]
	var sent []*trace.Event // questions
	for _, e := range t.lookups[l.ID] {
		if e.Name == trace.EventDNSQuery && len(sent) < maxPaired {
			sent = append(sent, e)
		}
	}
	eventOf := func(s trace.Step) *trace.Event {
		for _, e := range sent {
			if e.Time == s.Time {
				return e
			}
		}
		return nil
	}
	for _, lost := range steps {
		if lost.Outcome != trace.StepTimeout || lost.Transport != "udp" || lost.Question.Type != "A" && lost.Question.Type != "AAAA" {
			continue
		}
		for _, kept := range steps {
			apart := kept.Time - lost.Time
			if kept.Rcode == "" || kept.Question.Type == lost.Question.Type || kept.Question.Type != "A" && kept.Question.Type != "AAAA" ||
				kept.Server != lost.Server || max(apart, -apart) > together {
				continue
			}
			a, b := eventOf(lost), eventOf(kept)
			if a == nil || b == nil || a == b || a.Connection != b.Connection {
				continue
			}
			for _, later := range steps {
				if later.Time > lost.Time && later.Question == lost.Question && later.Rcode != "" && later.Server == lost.Server {
					return &pair{lost: lost, kept: kept, apart: time.Duration(max(apart, -apart)), evidence: []int{a.ID, b.ID}}
				}
			}
		}
	}
	return nil
}

// dnsPairRace: of two questions that left from one port at once, one was lost.
// Where it was lost the capture does not show.
func dnsPairRace(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, l := range t.Lookups {
		p := paired(t, l)
		if p == nil {
			continue
		}
		out = append(out, &trace.Finding{ID: DNSPairRace, Severity: trace.Warning, Lookup: l.ID, Evidence: p.evidence,
			Title: fmt.Sprintf("A and AAAA of %s were sent from the same port %v apart: %s was answered, and %s was asked for again after %v",
				l.Name, p.apart.Round(time.Microsecond), p.kept.Question.Type, p.lost.Question.Type, p.lost.Duration.Std().Round(time.Millisecond)),
			Explanation: "A NAT that sets up one connection for two packets at once can drop the second (insert_failed in conntrack -S). This capture does not show where it was lost.",
			WhatToDo:    "If it repeats, set single-request-reopen in /etc/resolv.conf, or ask over TCP.", Source: "resolv.conf(5)"})
	}
	return few(out)
}
