package explain

import (
	"fmt"
	"time"

	"peel/trace"
)

func attempts(t *facts, outcome trace.AttemptOutcome) []*trace.Connection {
	var out []*trace.Connection
	for _, c := range t.Connections {
		if len(c.Attempts) > 0 && c.Attempts[0].Outcome == outcome {
			out = append(out, c)
		}
	}
	return out
}

func connectRefused(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range attempts(t, trace.AttemptRefused) {
		out = append(out, &trace.Finding{ID: ConnectRefused, Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, trace.EventConnectStart, trace.EventConnectFailed),
			Title:       c.Attempts[0].Address.String() + " refused the connection",
			Explanation: "A reset came back at once: the machine is reachable, but nothing listens on that port, or a firewall rejects it.",
			WhatToDo:    "Check the port, and that the server runs and listens on this address.", Source: "RFC 9293 §3.10.7.1"})
	}
	return out
}

func connectTimeout(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range attempts(t, trace.AttemptTimeout) {
		d := trace.Duration(c.Attempts[0].End - c.Attempts[0].Start).Std().Round(time.Millisecond)
		out = append(out, &trace.Finding{ID: ConnectTimeout, Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, trace.EventConnectStart, trace.EventConnectFailed),
			Title:       fmt.Sprintf("%s did not answer within %v", c.Attempts[0].Address, d),
			Explanation: "Neither a SYN-ACK nor a refusal came. A firewall that drops silently looks like this, and so does a machine that is down; one that rejects would have answered at once.",
			WhatToDo:    "Check the route and the firewalls on the way; packets would show how far they come."})
	}
	return out
}

// ipv6Broken: an IPv6 address did not answer and IPv4 did.
func ipv6Broken(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if len(c.Attempts) == 0 || !c.Attempts[0].Address.Addr().Is6() || c.Attempts[0].Outcome == trace.AttemptConnected {
			continue
		}
		// A loser that was given up after a short race is how it should be.
		lost := trace.Duration(c.Attempts[0].End - c.Attempts[0].Start)
		if c.Attempts[0].Outcome == trace.AttemptCancelled && lost.Std() < 200*time.Millisecond {
			continue
		}
		for _, o := range t.Connections {
			if o.Origin == c.Origin && o.Connected != nil && o.RemoteAddr.Addr().Is4() {
				out = append(out, &trace.Finding{ID: IPv6Broken, Severity: trace.Warning, Connection: c.ID,
					Evidence:    append(ofConnection(t, c.ID, trace.EventConnectStart, trace.EventConnectFailed), ofConnection(t, o.ID, trace.EventConnectDone)...),
					Title:       fmt.Sprintf("IPv6 address %s does not work from here (%s after %v); IPv4 did", c.Attempts[0].Address, c.Attempts[0].Outcome, lost.Std().Round(time.Millisecond)),
					Explanation: "A program without Happy Eyeballs waits for the whole connect timeout before it tries IPv4.",
					WhatToDo:    "Repair IPv6 on the way to this server, or take the AAAA record away.", Source: "RFC 8305 §5"})
				break
			}
		}
	}
	return out
}
