package explain

import (
	"fmt"
	"net/netip"
	"time"

	"peel/trace"
)

// attempt is how a try at a connection ended: as the program that tried tells,
// and as the packets show. Empty where neither does.
func attempt(c *trace.Connection) trace.AttemptOutcome {
	if len(c.Attempts) > 0 {
		return c.Attempts[0].Outcome
	}
	if c.Failure != nil && c.Connected == nil {
		switch c.Failure.Code {
		case trace.FailConnectionRefused:
			return trace.AttemptRefused
		case trace.FailConnectTimeout:
			return trace.AttemptTimeout
		case trace.FailRejected:
			return trace.AttemptRejected
		case trace.FailUnreachable:
			return trace.AttemptUnreachable
		}
	}
	return ""
}

// opened tells whether a connection came about.
func opened(c *trace.Connection) bool { return c.Connected != nil && c.Network == "tcp" }

// target is the address that a connection was to.
func target(c *trace.Connection) netip.AddrPort {
	if len(c.Attempts) > 0 {
		return c.Attempts[0].Address
	}
	return c.RemoteAddr
}

// unopened: connections that did not come about, by what ended them.
func unopened(t *facts) []*trace.Finding {
	var g grouping
	for _, c := range t.Connections {
		outcome := attempt(c)
		if c.Network != "tcp" && c.Network != "" {
			continue
		}
		if outcome == "" || outcome == trace.AttemptConnected || outcome == trace.AttemptCancelled || outcome == trace.AttemptPending {
			continue
		}
		other := t.instead(c)
		f := &trace.Finding{Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID,
			trace.EventConnectStart, trace.EventConnectFailed, trace.EventTCPSYN, trace.EventTCPRST, trace.EventICMPError)}
		to := target(c).String()
		switch {
		case c.Rejected != nil || outcome == trace.AttemptUnreachable || outcome == trace.AttemptRejected:
			if other != nil && target(c).Addr().Is6() && target(other).Addr().Is4() {
				continue // ipv6Broken tells it
			}
			f.ID, f.Title, f.WhatToDo = ConnectUnreachable, to+" cannot be reached from here", "Check the route to it (ip route get "+target(c).Addr().String()+")."
			if len(c.Attempts) > 0 && c.Attempts[0].Error != "" {
				f.Title = c.Attempts[0].Error
			}
			if c.Failure != nil {
				f.Title, f.WhatToDo = c.Failure.Seen, sentence(c.Failure.Try)
				if c.Failure.Code == trace.FailRejected {
					f.ID = ConnectRejected
				}
			}
			f.Explanation, f.Source = "The system said so: it has no route there, or an ICMP error came. Which of the two was not seen.", "RFC 1122 §3.3.1"
			switch r := c.Rejected; {
			case r != nil && r.Local:
				f.Explanation = "No packet of the connection was sent: the request for the next hop's link address (ARP, neighbour discovery) brought no answer."
			case r != nil:
				f.Explanation, f.Source = "An ICMP error answered the SYN; a firewall that drops packets silently would have let it wait.", "RFC 792, RFC 4443"
			}
		case outcome == trace.AttemptRefused && other != nil && target(c).Addr().Is6() != target(other).Addr().Is6():
			f.ID, f.Severity = ConnectOneFamily, trace.Warning
			f.Title = fmt.Sprintf("%s refused the connection, %s accepted it", to, target(other))
			if target(c).Addr().IsLoopback() && target(other).Addr().IsLoopback() { // one machine
				f.Title += fmt.Sprintf(": the server listens on %s only", family(target(other).Addr()))
			}
			f.Explanation = "A name such as localhost stands for an address of each family, and programs try them in different orders: one that tries only the other address finds nothing there."
			f.WhatToDo = "Let the server listen on both ([::] for all addresses), or name the address that it listens on."
			f.Evidence = append(f.Evidence, ofConnection(t, other.ID, trace.EventConnectDone, trace.EventTCPEstablished)...)
		case outcome == trace.AttemptRefused:
			f.ID, f.WhatToDo, f.Source = ConnectRefused, "Check the port, and that the server runs and listens on this address.", "RFC 9293 §3.10.7.1"
			f.Title = to + " refused the connection"
			f.Explanation = "The machine is reachable, but nothing listens on that port, or a firewall rejects it. Whether an RST or an ICMP error said so was not seen."
			if c.ResetBy == trace.ByServer {
				f.Title += " (RST to the SYN)"
				f.Explanation = "A reset came instead of a SYN-ACK: something with that address answers. A port that nobody listens on does so, and a firewall that rejects."
			}
		case outcome == trace.AttemptTimeout:
			if other != nil && target(c).Addr().Is6() && target(other).Addr().Is4() {
				continue // ipv6Broken tells it
			}
			f.ID, f.WhatToDo, f.Source = ConnectTimeout, "Check the route and the firewalls on the way; a capture nearer to the server shows how far the SYNs come.", "RFC 9293 §3.8.3"
			f.Title = to + " did not answer" + tries(t, c)
			f.Explanation = "Neither a SYN-ACK nor a refusal came. A firewall that drops silently looks like this, and so does a machine that is down; one that rejects would have answered at once."
		default:
			continue
		}
		g.add(c, f)
	}
	return g.findings()
}

// tries says how often and how long an answer was waited for.
func tries(t *facts, c *trace.Connection) string {
	s := ""
	if c.Segments != nil && c.Segments.Client.SYNs > 0 {
		s = fmt.Sprintf(" %d SYNs", c.Segments.Client.SYNs)
		if c.Segments.Client.SYNs == 1 {
			s = " the SYN"
		}
	}
	var took trace.Duration
	if len(c.Attempts) > 0 {
		took = trace.Elapsed(c.Attempts[0].Start, c.Attempts[0].End)
	} else if syns := ofConnection(t, c.ID, trace.EventTCPSYN); len(syns) > 1 {
		took = trace.Elapsed(t.Event(syns[0]).Time, t.Event(syns[len(syns)-1]).Time)
	}
	return fmt.Sprintf("%s within %v", s, took.Std().Round(time.Millisecond))
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// grouping joins findings that say the same of the same two hosts, so that a
// port scan is one finding and not a thousand.
type grouping struct {
	list []*group
	of   map[groupKey]*group
}

type groupKey struct {
	id     trace.FindingID
	client netip.Addr
	server netip.AddrPort
}

type group struct {
	*trace.Finding
	key   groupKey
	times int
}

// manyPorts is from how many ports on a host's findings are one.
const manyPorts = 8

func (g *grouping) add(c *trace.Connection, f *trace.Finding) {
	if g.of == nil {
		g.of = map[groupKey]*group{}
	}
	key := groupKey{id: f.ID, client: c.LocalAddr.Addr(), server: target(c)}
	if was := g.of[key]; was != nil && c.LocalAddr.IsValid() {
		was.times++
		was.Evidence = some(append(was.Evidence, f.Evidence...))
		return
	}
	n := &group{Finding: f, key: key, times: 1}
	g.of[key] = n
	g.list = append(g.list, n)
}

func (g *grouping) findings() []*trace.Finding {
	perHost := map[groupKey]int{}
	host := func(n *group) groupKey {
		return groupKey{id: n.key.id, client: n.key.client, server: netip.AddrPortFrom(n.key.server.Addr(), 0)}
	}
	for _, n := range g.list {
		perHost[host(n)]++
	}
	first := map[groupKey]*group{}
	var out []*trace.Finding
	for _, n := range g.list {
		h := host(n)
		if ports := perHost[h]; ports > manyPorts {
			if was := first[h]; was != nil {
				was.Evidence = some(append(was.Evidence, n.Evidence...))
				continue
			}
			first[h] = n
			n.Title = fmt.Sprintf("%s, and so for %d more of its ports", n.Title, ports-1)
			n.times = 1
		}
		if n.times > 1 {
			n.Title += fmt.Sprintf(", %d times", n.times)
		}
		out = append(out, n.Finding)
	}
	return out
}

// instead finds the connection that came about in place of c, which did not: to
// another address of the same origin, of the same name as the capture has it,
// or of this machine.
func (t *facts) instead(c *trace.Connection) *trace.Connection {
	if opened(c) || !target(c).IsValid() {
		return nil
	}
	if t.open == nil {
		t.open = map[uint16][]*trace.Connection{}
		for _, o := range t.Connections {
			if opened(o) {
				port := target(o).Port()
				t.open[port] = append(t.open[port], o)
			}
		}
	}
	list := t.open[target(c).Port()]
	for _, o := range list[:min(len(list), maxOthers)] {
		if a, b := target(c).Addr(), target(o).Addr(); a != b && sameService(t, c, o) && trace.Elapsed(min(c.Opened, o.Opened), max(c.Opened, o.Opened)) < trace.Duration(10*time.Second) {
			return o
		}
	}
	return nil
}

// maxOthers bounds the connections that one is compared with.
const maxOthers = 1000

func sameService(t *facts, c, o *trace.Connection) bool {
	a, b := target(c).Addr(), target(o).Addr()
	switch {
	case c.Origin != "" || o.Origin != "":
		return c.Origin == o.Origin
	case a.IsLoopback() && b.IsLoopback():
		return true
	}
	for _, l := range t.named(a) {
		for _, ip := range l.Addresses {
			if ip.IP == b {
				return true
			}
		}
	}
	return false
}

// named are the lookups that brought an address.
func (t *facts) named(a netip.Addr) []*trace.Lookup {
	if t.names == nil {
		t.names = map[netip.Addr][]*trace.Lookup{}
		for _, l := range t.Lookups {
			for _, ip := range l.Addresses {
				if len(t.names[ip.IP]) < enough {
					t.names[ip.IP] = append(t.names[ip.IP], l)
				}
			}
		}
	}
	return t.names[a]
}

// ipv6Broken: an IPv6 address did not answer and IPv4 did.
func ipv6Broken(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		outcome := attempt(c)
		if !target(c).Addr().Is6() || outcome == "" || outcome == trace.AttemptConnected || outcome == trace.AttemptRefused || outcome == trace.AttemptPending {
			continue
		}
		o := t.instead(c)
		if o == nil || !target(o).Addr().Is4() {
			continue
		}
		f := &trace.Finding{ID: IPv6Broken, Severity: trace.Warning, Connection: c.ID, Source: "RFC 8305 §5",
			Evidence: append(ofConnection(t, c.ID, trace.EventConnectStart, trace.EventConnectFailed, trace.EventTCPSYN, trace.EventICMPError),
				ofConnection(t, o.ID, trace.EventConnectDone, trace.EventTCPEstablished)...)}
		if outcome == trace.AttemptCancelled {
			// A loser that was given up after a short race is how it should be.
			waited := trace.Elapsed(c.Attempts[0].Start, c.Attempts[0].End)
			if waited.Std() < 200*time.Millisecond || c.Segments != nil && c.Segments.Server.SYNs > 0 {
				continue
			}
			f.ID = IPv6Slow
			f.Title = fmt.Sprintf("IPv6 address %s had not answered after %v; IPv4 was tried beside it, and answered", target(c), waited.Std().Round(time.Millisecond))
			f.Explanation = "Whether it is slow or does not work is not known, as an answer was not waited for. A program without Happy Eyeballs waits."
			f.WhatToDo = "Try IPv6 alone."
			f.Hint = trace.HintIPv6
			out = append(out, f)
			continue
		}
		how := "did not answer" + tries(t, c)
		if outcome != trace.AttemptTimeout {
			how = "cannot be reached"
			if c.Failure != nil {
				how = "does not work from here (" + c.Failure.Seen + ")"
			}
		}
		f.Title = fmt.Sprintf("IPv6 address %s %s; IPv4 did", target(c), how)
		if outcome != trace.AttemptTimeout {
			f.Title = fmt.Sprintf("IPv6 address %s %s; IPv4 works", target(c), how)
		}
		f.Explanation = "A program without Happy Eyeballs waits for the whole connect timeout before it tries IPv4."
		f.WhatToDo = "Repair IPv6 on the way to this server, or take the AAAA record away."
		out = append(out, f)
	}
	return out
}
