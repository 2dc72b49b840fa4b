package stub

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"peel/clock"
	"peel/trace"
)

// override answers from --resolve.
func (l *Lookup) override(port uint16, now clock.Time) bool {
	suffix := ":" + strconv.Itoa(int(port))
	key := strings.ToLower(strings.TrimSuffix(l.host, ".")) + suffix
	addrs, ok := l.cfg.Resolve[key]
	if !ok {
		key = "*" + suffix
		addrs, ok = l.cfg.Resolve[key]
	}
	if !ok {
		return false
	}
	var list []Address
	for _, a := range addrs {
		if l.wants(a) {
			list = append(list, Address{Addr: a, TTL: -1, Source: string(trace.SourceOverride), Why: "the order given"})
		}
	}
	s := Step{Source: trace.SourceOverride, Outcome: trace.StepAnswer, Start: now, End: now, Text: fmt.Sprintf("%s is overridden: %s", key, addressList(list))}
	if len(list) == 0 {
		s.Outcome, s.Text = trace.StepNoData, fmt.Sprintf("%s is overridden, but with no address of the wanted family", key)
		l.step(s)
		l.fail(&Error{Kind: NoData, Detail: s.Text})
		return true
	}
	l.step(s)
	l.finish(Result{Source: trace.SourceOverride, Addresses: list})
	return true
}

// literal answers for an IP address in place of a name: nobody is asked.
func (l *Lookup) literal(now clock.Time) bool {
	a, err := netip.ParseAddr(l.host)
	if err != nil {
		return false
	}
	s := Step{Source: trace.SourceLiteral, Outcome: trace.StepAnswer, Start: now, End: now, Text: a.String() + " is an address already: no lookup"}
	if !l.wants(a) {
		s.Outcome, s.Text = trace.StepNoData, a.String()+" is not of the wanted address family"
		l.step(s)
		l.fail(&Error{Kind: NoData, Detail: s.Text})
		return true
	}
	l.step(s)
	l.finish(Result{Source: trace.SourceLiteral, Addresses: []Address{{Addr: a, TTL: -1, Source: string(trace.SourceLiteral)}}})
	return true
}

// nextSource goes through the hosts line of nsswitch.conf until a source has
// to wait for the network or the lookup has ended.
func (l *Lookup) nextSource(now clock.Time) {
	for !l.done && l.source < len(l.cfg.Nsswitch.Sources) {
		s := l.cfg.Nsswitch.Sources[l.source]
		l.source++
		status := StatusNotFound
		switch {
		case s.Name == "files":
			if l.askFiles(now) {
				return
			}
		case s.Name == "dns":
			if l.special(now) {
				return
			}
			l.beginDNS(now)
			return // endDNS goes on from here
		case isMDNS(s.Name):
			if l.beginMulticast(s, now) {
				return // endMulticast goes on from here
			}
			status = StatusUnavail
		default:
			status = l.notAsked(s, now)
		}
		if l.stops(s, status, now) {
			break
		}
	}
	l.lastSource(now)
}

// goOn continues behind a source that had to wait.
func (l *Lookup) goOn(s Source, status Status, now clock.Time) {
	if l.stops(s, status, now) {
		l.source = len(l.cfg.Nsswitch.Sources)
	}
	l.nextSource(now)
}

// stops tells whether nsswitch.conf ends the lookup behind a source.
func (l *Lookup) stops(s Source, status Status, now clock.Time) bool {
	if s.Stops[status] {
		l.step(Step{Source: trace.StepSource(s.Name), Outcome: trace.StepSkipped, Start: now, End: now,
			Text: fmt.Sprintf("[%s=return] after %s in nsswitch.conf ends the lookup here", status, s.Name)})
	}
	return s.Stops[status]
}

// lastSource ends a lookup that no source had an answer for.
func (l *Lookup) lastSource(now clock.Time) {
	if l.done || l.special(now) {
		return
	}
	if l.failure == nil {
		l.failure = &Error{Kind: NotFound, Detail: "no source of nsswitch.conf that was asked has the name"}
		if len(l.unasked) > 0 {
			l.failure.Kind = NotAsked
			l.failure.Detail = "no source that peel can ask has the name"
		}
	}
	if len(l.unasked) > 0 {
		l.failure.Detail += "; not asked: " + strings.Join(l.unasked, ", ")
	}
	l.fail(l.failure)
}

func (l *Lookup) askFiles(now clock.Time) (found bool) {
	var list []Address
	var lines []string
	other := 0
	for _, e := range l.cfg.Hosts.Lookup(l.host) {
		if !l.wants(e.Addr) {
			other++
			continue
		}
		list = append(list, Address{Addr: e.Addr, TTL: -1, Source: fmt.Sprintf("/etc/hosts line %d", e.Line)})
		lines = append(lines, fmt.Sprintf("/etc/hosts line %d: %s", e.Line, e.Addr))
	}
	s := Step{Source: trace.SourceFiles, Outcome: trace.StepAnswer, Start: now, End: now, Text: strings.Join(lines, ", ")}
	if len(list) == 0 {
		s.Outcome, s.Text = trace.StepNoName, "no entry in /etc/hosts"
		if other > 0 {
			s.Text = "/etc/hosts has the name, but with no address of the wanted family"
		}
		l.step(s)
		return false
	}
	l.step(s)
	l.finish(Result{Source: trace.SourceFiles, Addresses: list})
	return true
}

// special answers for names that must never reach a name server: localhost
// and all below it (RFC 6761 §6.3), .onion (RFC 7686 §2).
func (l *Lookup) special(now clock.Time) bool {
	s := Step{Source: trace.SourceLocalhost, Outcome: trace.StepAnswer, Start: now, End: now}
	switch {
	case l.name.IsSubdomainOf(nameLocalhost):
		var list []Address
		for _, a := range []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})} {
			if l.wants(a) {
				list = append(list, Address{Addr: a, TTL: -1, Source: string(trace.SourceLocalhost)})
			}
		}
		s.Text = "localhost is always this machine, no name server is asked (RFC 6761): " + addressList(list)
		l.step(s)
		l.finish(Result{Source: trace.SourceLocalhost, Addresses: list})
		return true
	case l.name.IsSubdomainOf(nameOnion):
		s.Source, s.Outcome, s.Text = trace.SourceDNS, trace.StepNoName, "not asked: .onion names belong to Tor and must not reach a name server (RFC 7686)"
		l.step(s)
		l.fail(&Error{Kind: NotFound, Detail: s.Text})
		return true
	}
	return false
}

// notAsked tells of a source that peel does not speak. It counts as
// unavailable.
func (l *Lookup) notAsked(src Source, now clock.Time) Status {
	status := StatusUnavail
	what := "the source " + src.Name
	switch {
	case src.Name == "resolve":
		what = "systemd-resolved's own protocol"
	case src.Name == "mymachines":
		what = "systemd-machined's protocol"
	case src.Name == "myhostname":
		what = "the source myhostname (this machine's own name)"
	}
	l.unasked = append(l.unasked, src.Name)
	l.step(Step{Source: trace.StepSource(src.Name), Outcome: trace.StepSkipped, Start: now, End: now,
		Text: fmt.Sprintf("not asked: peel does not speak %s; counted as %s", what, status)})
	return status
}
