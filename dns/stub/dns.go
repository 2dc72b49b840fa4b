package stub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// beginDNS starts the source dns: the names to ask for, one after the other.
func (l *Lookup) beginDNS(now clock.Time) {
	if l.names != nil { // dns stands twice on the line
		l.endDNS(l.failure, now)
		return
	}
	l.names = l.candidates(func(text string) {
		l.step(Step{Source: trace.SourceDNS, Outcome: trace.StepSkipped, Start: now, End: now, Text: text})
	})
	if n := len(l.cfg.Resolv.Servers); l.cfg.Resolv.Rotate && n > 0 {
		l.rotation = int(l.random() % uint64(n))
	}
	l.beginName(now)
}

// candidates lists the names to ask for, as the C library's search does: a
// name with enough dots as it stands first and then with each suffix, else
// the suffixes first; a name with a final dot only as it stands.
func (l *Lookup) candidates(skipped func(text string)) []searchName {
	conf := l.cfg.Resolv
	asIs := searchName{name: l.name, asIs: true}
	if l.rooted {
		return []searchName{asIs}
	}
	dots := l.name.NumLabels() - 1
	var list []searchName
	if dots >= conf.Dots {
		list = append(list, asIs)
	}
	for _, suffix := range conf.Search {
		name, err := l.name.Join(suffix)
		if err != nil {
			if skipped != nil {
				skipped(strings.TrimPrefix(err.Error(), "dns: "))
			}
			continue
		}
		if !slices.ContainsFunc(list, func(s searchName) bool { return s.name.EqualFold(name) }) {
			list = append(list, searchName{name: name, asIs: suffix.IsRoot()})
		}
	}
	hasAsIs := slices.ContainsFunc(list, func(s searchName) bool { return s.asIs })
	if !hasAsIs && (dots > 0 || !conf.NoTLDQuery || len(list) == 0) {
		list = append(list, asIs)
	}
	return list
}

// sequential tells whether A and AAAA are asked one after the other.
func (l *Lookup) sequential() bool {
	return l.cfg.Resolv.SingleRequest || l.cfg.Resolv.SingleRequestReopen
}

// beginName asks for the present name.
func (l *Lookup) beginName(now clock.Time) {
	if len(l.cfg.Resolv.Servers) == 0 {
		l.endDNS(&Error{Kind: Unreachable, Detail: "no name server is configured"}, now)
		return
	}
	l.closeAll()
	l.current = nil
	name := l.names[l.at].name
	if l.cfg.WantA {
		l.current = append(l.current, l.newQuestion(name, dns.TypeA))
	}
	if l.cfg.WantAAAA {
		if l.cfg.Resolv.NoAAAA {
			l.step(Step{Source: trace.SourceDNS, Outcome: trace.StepSkipped, Name: name, Type: dns.TypeAAAA, Start: now, End: now,
				Text: "AAAA is not asked: resolv.conf has the option no-aaaa"})
		} else {
			l.current = append(l.current, l.newQuestion(name, dns.TypeAAAA))
		}
	}
	if len(l.current) == 0 {
		l.endDNS(&Error{Kind: NoData, Detail: "only IPv6 is wanted, and resolv.conf has the option no-aaaa"}, now)
		return
	}
	for _, q := range l.current {
		l.ask(q, l.cfg.Resolv.UseTCP, now)
		if l.sequential() {
			break
		}
	}
	l.services.begin(l, name, now)
}

func (l *Lookup) newQuestion(name dns.Name, t dns.Type) *question {
	return &question{name: name, typ: t, attempt: 1, edns: !l.cfg.NoEDNS}
}

// server returns which of resolv.conf's servers q is at.
func (l *Lookup) server(q *question) int { return (q.place + l.rotation) % len(l.cfg.Resolv.Servers) }

// ask sends q to its server, which has its full time to answer.
func (l *Lookup) ask(q *question, tcp bool, now clock.Time) {
	q.deadline = now.Add(l.cfg.Resolv.timeout(l.server(q)))
	l.send(q, tcp, now)
}

// send puts one query on a new socket, and so on a new source port.
func (l *Lookup) send(q *question, tcp bool, now clock.Time) {
	m := dns.Message{
		Header:    dns.Header{ID: uint16(l.random()), RecursionDesired: true, AuthenticData: l.cfg.Resolv.TrustAD},
		Questions: []dns.Question{{Name: q.name, Type: q.typ, Class: dns.ClassIN}},
	}
	if q.edns {
		m.Additional = []dns.Resource{dns.EDNS{UDPSize: l.cfg.EDNSSize}.Resource()}
	}
	msg, err := m.Append(nil)
	if err != nil {
		panic(err) // a valid name and a fixed form always fit
	}
	s := &socket{number: len(l.sockets), server: l.cfg.Resolv.Servers[l.server(q)], tcp: tcp, id: m.ID, q: q, waiting: true}
	s.step = l.step(Step{
		Source: trace.SourceDNS, Outcome: trace.StepWaiting, Name: q.name, Type: q.typ, Server: s.server, Transport: transport(tcp),
		Attempt: q.attempt, ID: m.ID, EDNS: q.edns, Socket: s.number, Start: now, End: now, Text: "no answer yet",
	})
	l.sockets = append(l.sockets, s)
	q.socket, q.started = s.number, true
	kind := SendUDP
	if tcp {
		kind = SendTCP
	}
	l.out = append(l.out, Action{Kind: kind, Server: s.server, Socket: s.number, Msg: msg})
}

// end completes the step of a query.
func (l *Lookup) end(s *socket, outcome trace.StepOutcome, text string, now clock.Time) *Step {
	s.waiting = false
	st := &l.steps[s.step]
	st.Outcome, st.Text, st.End = outcome, text, now
	return st
}

// expire gives up on the present query of q. Its socket stays open, so that
// an answer that comes late can be told.
func (l *Lookup) expire(q *question, now clock.Time) {
	s := l.sockets[q.socket]
	waited := now.Sub(l.steps[s.step].Start)
	l.end(s, trace.StepTimeout, NoAnswer(waited), now)
	l.serverFailed(q, Timeout, Silent(s.server, transport(s.tcp), waited), now)
}

// answered takes a message that passed every check of mismatch.
func (l *Lookup) answered(s *socket, m *dns.Message, parseErr error, now clock.Time) {
	q := s.q
	if q == l.services.q {
		l.services.answered(l, s, m, parseErr, now)
		return
	}
	st := l.end(s, trace.StepAnswer, "", now)
	st.Answered, st.Rcode, st.Answers = true, m.Rcode, m.Answers
	edns, _ := m.EDNS()
	st.Errors = edns.ExtendedErrors()
	l.close(s)
	switch {
	case m.Truncated && !s.tcp:
		st.Outcome, st.Text = trace.StepTruncated, "the answer did not fit the datagram (TC): asked again over TCP"
		l.ask(q, true, now)
	case parseErr == nil && q.edns && (m.Rcode == dns.RcodeFormErr || m.Rcode == dns.RcodeNotImp || m.Rcode == dns.RcodeBadVers):
		// RFC 6891 §6.2.2: a server that does not know EDNS says FORMERR.
		// The same server gets what is left of its time.
		st.Outcome, st.Text = trace.StepRefused, fmt.Sprintf("%s: the server may not know EDNS, asked again without", m.Rcode)
		q.edns = false
		l.send(q, s.tcp, now)
	default:
		a := ReadAnswer(s.server, dns.Question{Name: q.name, Type: q.typ, Class: dns.ClassIN}, m, parseErr)
		st.Outcome, st.Text, st.Chain = a.Outcome, a.Text, a.Chain
		q.addrs, q.chain = a.Addresses, a.Chain
		if parseErr != nil || m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain || a.Kind == Refused {
			l.serverFailed(q, a.Kind, a.Detail, now)
			return
		}
		q.kind, q.detail = a.Kind, a.Detail
		l.endQuestion(q, now)
	}
}

// serverFailed goes on to the next server, in the next attempt to the first,
// until the attempts are used up.
func (l *Lookup) serverFailed(q *question, kind Kind, detail string, now clock.Time) {
	q.kind, q.detail = kind, detail
	// When the other type's answer was NXDOMAIN, the name has none of this
	// type either, and further attempts would only take time.
	for _, other := range l.current {
		if other != q && other.done && other.kind == NotFound {
			l.endQuestion(q, now)
			return
		}
	}
	if q.place++; q.place == len(l.cfg.Resolv.Servers) {
		q.place = 0
		q.attempt++
	}
	if q.attempt > l.cfg.Resolv.Attempts {
		l.endQuestion(q, now)
		return
	}
	l.ask(q, l.cfg.Resolv.UseTCP, now)
}

// endQuestion marks q done; with the last one, the name is judged.
func (l *Lookup) endQuestion(q *question, now clock.Time) {
	q.done = true
	for _, other := range l.current {
		if other.done {
			continue
		}
		if !other.started {
			l.ask(other, l.cfg.Resolv.UseTCP, now)
		}
		return
	}
	l.endName(now)
}

// endName has the answers to all questions for the present name.
func (l *Lookup) endName(now clock.Time) {
	r := Result{Source: trace.SourceDNS, Canonical: l.names[l.at].name}
	for _, q := range l.current {
		r.Addresses = append(r.Addresses, q.addrs...)
		if len(q.addrs) > 0 && len(q.chain) > 0 {
			r.Chain, r.Canonical = q.chain, q.chain[len(q.chain)-1]
		}
	}
	if r.Addresses = l.services.hinted(l, r.Addresses, now); len(r.Addresses) > 0 || !l.services.elsewhere.IsRoot() {
		l.remark(now)
		if !l.services.wait(r, now) {
			l.conclude(r, now)
		}
		return
	}
	present := &l.names[l.at]
	present.verdict = l.verdict()
	next := l.at + 1
	switch present.verdict.Kind {
	case NotFound, NoData, ServFail:
	default:
		// As the C library does: any other failure ends the search list, but
		// a name that has not been asked as it stands still is; and a failure
		// of the name as it stands does not stop the list behind it.
		for !present.asIs && next < len(l.names) && !l.names[next].asIs {
			next++
		}
	}
	if next < len(l.names) {
		l.at = next
		l.beginName(now)
		return
	}
	l.endDNS(l.choose(), now)
}

// remark tells when the types disagree in a way that no correct server
// causes.
func (l *Lookup) remark(now clock.Time) {
	for _, q := range l.current {
		if q.kind == NotFound {
			l.step(Step{Source: trace.SourceDNS, Outcome: trace.StepIgnored, Name: q.name, Type: q.typ, Start: now, End: now,
				Text: fmt.Sprintf("NXDOMAIN for %s does not count: the name has addresses of the other type (RFC 4074 §4.2)", q.typ)})
		}
	}
}

// verdict sums up why the present name has no address.
func (l *Lookup) verdict() *Error {
	var worst *question
	for _, q := range l.current {
		if worst == nil || q.kind.Outweighs(worst.kind) {
			worst = q
		}
	}
	return &Error{Kind: worst.kind, Detail: worst.detail}
}

// choose picks what to report when no name had an address, as the C library
// does: what was said of the name as it stands if that came first, else that
// some name exists without an address, else a server's failure, else the last.
func (l *Lookup) choose() *Error {
	var tried []string
	var noData, servFail, last *Error
	for _, n := range l.names {
		if n.verdict == nil {
			continue
		}
		tried = append(tried, n.name.Host())
		last = n.verdict
		switch {
		case n.verdict.Kind == NoData && noData == nil:
			noData = n.verdict
		case n.verdict.Kind == ServFail && servFail == nil:
			servFail = n.verdict
		}
	}
	err := last
	switch {
	case l.names[0].asIs:
		err = l.names[0].verdict
	case noData != nil:
		err = noData
	case servFail != nil:
		err = servFail
	}
	if len(tried) > 1 {
		err.Detail += "; names tried: " + strings.Join(tried, ", ")
	}
	return err
}

// endDNS hands a failure back to the walk along nsswitch.conf.
func (l *Lookup) endDNS(err *Error, now clock.Time) {
	l.closeAll()
	l.current = nil
	l.failure = err
	status := StatusTryAgain
	switch err.Kind {
	case NotFound, NoData:
		status = StatusNotFound
	case Unreachable:
		status = StatusUnavail
	}
	if l.source < len(l.cfg.Nsswitch.Sources) && l.cfg.Nsswitch.Sources[l.source-1].Stops[status] {
		l.step(Step{Source: trace.SourceDNS, Outcome: trace.StepSkipped, Start: now, End: now,
			Text: fmt.Sprintf("[%s=return] after dns in nsswitch.conf ends the lookup here", status)})
		l.source = len(l.cfg.Nsswitch.Sources)
	}
	l.nextSource(now)
}

func transport(tcp bool) string {
	if tcp {
		return "tcp"
	}
	return "udp"
}

// round makes a duration short enough to read.
func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}
