// Package explain finds what is wrong in a trace: findings, each with its
// evidence, an explanation and what to do. A rule is a function from a trace
// to findings; what a rule cannot see it does not claim.
package explain

import (
	"peel/trace"
)

// rule finds one kind of fault.
type rule func(*trace.Trace) []*trace.Finding

// rules in the order of the layers, as a request meets them.
var rules = []rule{
	dnsTimeout, dnsTruncated, dnsSearchStorm, dnsFailure,
	connectRefused, connectTimeout, ipv6Broken,
	certificate, tlsAlert, helloRetry, certificateSoon, noALPN,
	refusedSeen, unanswered, retransmissions, zeroWindow, tooBig, arpConflict, arpSilence, incomplete,
	truncatedBody, redirectLoop, reuseRace, uncompressed, goAway, streamLimit,
}

// Findings applies every rule.
func Findings(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	for _, r := range rules {
		out = append(out, r(t)...)
	}
	return out
}

// events returns the IDs of the events that match.
func events(t *trace.Trace, match func(*trace.Event) bool) []int {
	out := []int{}
	for _, e := range t.Events {
		if match(e) {
			out = append(out, e.ID)
			if len(out) == 20 {
				break // enough to show it
			}
		}
	}
	return out
}

func ofExchange(t *trace.Trace, id int, names ...trace.EventName) []int {
	return events(t, func(e *trace.Event) bool { return e.Exchange == id && named(e, names) })
}

func ofConnection(t *trace.Trace, id int, names ...trace.EventName) []int {
	return events(t, func(e *trace.Event) bool { return e.Connection == id && named(e, names) })
}

func ofLookup(t *trace.Trace, id int, names ...trace.EventName) []int {
	return events(t, func(e *trace.Event) bool { return e.Lookup == id && named(e, names) })
}

func named(e *trace.Event, names []trace.EventName) bool {
	for _, n := range names {
		if e.Name == n {
			return true
		}
	}
	return len(names) == 0
}
