// Package explain finds what is wrong in a trace: findings, each with its
// evidence, an explanation and what to do. A rule is a function from a trace
// to findings; what a rule cannot see it does not claim.
package explain

import (
	"fmt"
	"net/netip"

	"peel/trace"
)

// facts is a trace with its events laid out by what they are about, so that no
// rule looks at all of them for each connection.
type facts struct {
	*trace.Trace
	exchanges, connections, lookups map[int][]*trace.Event
	// Made when a rule first asks for them.
	open  map[uint16][]*trace.Connection // those that came about, by port
	names map[netip.Addr][]*trace.Lookup // that brought an address
}

func lay(t *trace.Trace) *facts {
	f := &facts{Trace: t, exchanges: map[int][]*trace.Event{}, connections: map[int][]*trace.Event{}, lookups: map[int][]*trace.Event{}}
	for _, e := range t.Events {
		for _, of := range []struct {
			id   int
			list map[int][]*trace.Event
		}{{e.Exchange, f.exchanges}, {e.Connection, f.connections}, {e.Lookup, f.lookups}} {
			if of.id != 0 {
				of.list[of.id] = append(of.list[of.id], e)
			}
		}
	}
	return f
}

// rule finds one kind of fault.
type rule func(*facts) []*trace.Finding

// rules in the order of the layers, as a request meets them.
var rules = []rule{
	dnsTimeout, dnsPairRace, dnsTruncated, dnsSearchStorm, dnsFailure, dnsHalf,
	unopened, ipv6Broken,
	certificate, handshakeFailed, noCloseNotify, helloRetry, certificateSoon, noALPN,
	retransmissions, zeroWindow, tooBig, arpConflict, arpSilence, incomplete, checksums, oneWay, copies, clockSteps,
	truncatedBody, brokenMessage, noReply, encoding, desync, notCaptured, redirectLoop, reuseRace, uncompressed, goAway, streamReset, malformedHTTP2, fieldsUnknown, streamLimit,
}

// Findings applies every rule.
func Findings(t *trace.Trace) []*trace.Finding {
	var out []*trace.Finding
	laid := lay(t)
	for _, r := range rules {
		for _, f := range r(laid) {
			f.Evidence = some(f.Evidence)
			out = append(out, f)
		}
	}
	return out
}

// enough is how many events show a thing; more are not listed.
const enough = 20

// some is a list cut to what shows a thing. Rules that gather evidence of many
// things cut it as they go; Findings cuts that of all.
func some(ids []int) []int { return ids[:min(len(ids), enough)] }

func pick(list []*trace.Event, match func(*trace.Event) bool) []int {
	out := []int{}
	for _, e := range list {
		if match(e) {
			out = append(out, e.ID)
			if len(out) == enough {
				break
			}
		}
	}
	return out
}

// events returns the IDs of the events of the whole trace that match. It is for
// rules that are about no connection, exchange or lookup.
func events(t *facts, match func(*trace.Event) bool) []int { return pick(t.Events, match) }

func ofExchange(t *facts, id int, names ...trace.EventName) []int {
	return pick(t.exchanges[id], func(e *trace.Event) bool { return named(e, names) })
}

func ofConnection(t *facts, id int, names ...trace.EventName) []int {
	return pick(t.connections[id], func(e *trace.Event) bool { return named(e, names) })
}

func ofLookup(t *facts, id int, names ...trace.EventName) []int {
	return pick(t.lookups[id], func(e *trace.Event) bool { return named(e, names) })
}

// failed is a finding about an exchange, in the words of its failure.
func failed(t *facts, x *trace.Exchange, id trace.FindingID, source, explanation string, evidence ...trace.EventName) *trace.Finding {
	return &trace.Finding{ID: id, Severity: trace.Error, Exchange: x.ID, Connection: x.Connection, Evidence: ofExchange(t, x.ID, evidence...),
		Title: x.Failure.Seen, Explanation: explanation, WhatToDo: sentence(x.Failure.Try), Hint: x.Failure.Hint, Source: source}
}

func named(e *trace.Event, names []trace.EventName) bool {
	for _, n := range names {
		if e.Name == n {
			return true
		}
	}
	return len(names) == 0
}

// counted is a number of things in words.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
