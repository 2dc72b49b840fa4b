package analyze

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/stub"
	"peel/evidence/capture"
	"peel/trace"
)

// nameBook joins questions and answers seen in packets to lookups, where no
// decision tells of them.
type nameBook struct {
	questions map[question]*asked
	byAddr    map[netip.Addr]*lookup // the last lookup that gave an address
	open      map[client]*lookup
}

// client is who asks for a name.
type client struct {
	addr netip.Addr
	name string
}

type question struct {
	client, server netip.AddrPort
	id             uint16
	name           string
	typ            dns.Type
}

type asked struct {
	at      clock.Time
	lookup  *lookup
	attempt int
}

// Bounds of the book; past them it begins anew.
const (
	maxQuestions = 1 << 14
	maxNames     = 1 << 16
)

// sameLookup is how long questions for the same name by the same client belong
// to one lookup.
const sameLookup = clock.Time(5 * time.Second)

// unattributed takes a DNS message that no decision tells of.
func (c *conn) unattributed(t clock.Time, dir capture.Direction, msg []byte, e *trace.Event) {
	a := c.a
	w := a.wireOf()
	m, err := dns.Parse(msg)
	if err != nil || len(m.Questions) != 1 || m.Header.Opcode != 0 {
		return
	}
	q := m.Questions[0]
	key := question{c.tr.LocalAddr, c.tr.RemoteAddr, m.Header.ID, strings.ToLower(q.Name.String()), q.Type}
	if _, server := c.ports(); c.tr.Network == "udp" && !isDNS(server) {
		return
	}
	if !m.Header.Response {
		if len(w.names.questions) >= maxQuestions {
			clear(w.names.questions)
		}
		as := w.names.questions[key]
		if as == nil {
			as = &asked{lookup: a.lookupFor(t, c, key.name, e)}
			w.names.questions[key] = as
		}
		as.at = t
		as.attempt++
		as.lookup.last = t
		if judged(m) {
			as.lookup.asks(q.Type)
		}
		e.Lookup = as.lookup.tr.ID
		return
	}
	as := w.names.questions[key]
	if as == nil {
		return
	}
	as.lookup.last = t
	delete(w.names.questions, key)
	l := as.lookup
	e.Lookup = l.tr.ID
	rcode := m.Header.Rcode.String()
	s := trace.Step{Time: a.time(as.at), Duration: trace.Elapsed(trace.Time(as.at), trace.Time(t)), Source: trace.SourceDNS, Question: trace.Question{Name: q.Name.String(), Type: q.Type.String()}, Server: c.tr.RemoteAddr,
		Transport: c.tr.Network, Attempt: as.attempt, Outcome: trace.StepAnswer, Rcode: rcode}
	var ips []string
	for _, r := range m.Answers {
		data := r.Text()
		s.Answers = append(s.Answers, trace.Record{Name: r.Name.String(), Type: r.Type.String(), TTL: r.TTL, Data: data})
		if r.Type != dns.TypeA && r.Type != dns.TypeAAAA {
			continue
		}
		if addr, err := netip.ParseAddr(data); err == nil {
			if len(w.names.byAddr) >= maxNames {
				clear(w.names.byAddr)
			}
			w.names.byAddr[addr] = l
			ips = append(ips, data)
			l.tr.Addresses = append(l.tr.Addresses, trace.Address{IP: addr, Source: c.tr.RemoteAddr.String(), TTL: int64(r.TTL)})
		}
	}
	answer := reply{server: c.tr.RemoteAddr}
	switch {
	case m.Rcode == dns.RcodeNXDomain:
		s.Outcome, answer.kind = trace.StepNoName, stub.NotFound
	case m.Rcode == dns.RcodeRefused:
		s.Outcome, answer.kind = trace.StepRefused, stub.Refused
	case m.Rcode != dns.RcodeNoError:
		s.Outcome, answer.kind = trace.StepServerFailure, stub.KindOf(m.Rcode)
	case m.Header.Truncated:
		s.Outcome = trace.StepTruncated
	case len(ips) == 0 && (q.Type == dns.TypeA || q.Type == dns.TypeAAAA):
		s.Outcome, answer.kind = trace.StepNoData, stub.NoData
	}
	switch answer.kind {
	case 0:
	case stub.NoData:
		answer.detail = fmt.Sprintf("%s has no %s record of %s", answer.server, q.Type, q.Name.Host())
	case stub.NotFound:
		answer.detail = fmt.Sprintf("%s says that %s does not exist (NXDOMAIN)", answer.server, q.Name.Host())
	default:
		answer.detail = fmt.Sprintf("%s said %s", answer.server, rcode)
	}
	s.Text = fmt.Sprintf("%s to %s over %s, attempt %d, %v: %s", s.Question, s.Server, s.Transport, s.Attempt, short(s.Duration.Std()), strings.Join(ips, ", "))
	if len(ips) == 0 {
		s.Text += string(s.Outcome)
	}
	l.tr.Steps = append(l.tr.Steps, s)
	l.tr.End = a.time(t)
	l.end = e
	// What was cut short is asked again over TCP, and what was referred to
	// other servers is asked there.
	if s.Outcome != trace.StepTruncated && !isReferral(m) {
		l.replied(q.Type, answer)
	}
}

// reply is how a question ended. The kind is 0 where the answer was not an
// empty one, or has not come.
type reply struct {
	came   bool
	kind   stub.Kind
	server netip.AddrPort
	detail string
}

// judged tells the questions by which a lookup is judged: those for the whole
// answer, which a recursor's own are not; and not those for the names of
// addresses, of which most have none.
func judged(m *dns.Message) bool {
	return m.Header.RecursionDesired && m.Questions[0].Type != dns.TypePTR
}

// asks notes a question that no decision names.
func (l *lookup) asks(t dns.Type) {
	if _, known := l.replies[t]; known {
		return
	}
	if l.replies == nil {
		l.replies = map[dns.Type]reply{}
	}
	l.replies[t] = reply{}
	l.judge()
}

// replied notes how a question ended.
func (l *lookup) replied(t dns.Type, r reply) {
	if _, asked := l.replies[t]; !asked {
		return
	}
	r.came = true
	l.replies[t] = r
	l.judge()
}

// judge says why there is no address, once every question has its answer: in
// the words of the resolver that would have asked them.
func (l *lookup) judge() {
	l.tr.Failure = nil
	if len(l.tr.Addresses) > 0 {
		return
	}
	var worst stub.Error
	for _, t := range slices.Sorted(maps.Keys(l.replies)) {
		r := l.replies[t]
		if !r.came {
			return
		}
		if r.kind == 0 {
			continue
		}
		if !slices.Contains(worst.Servers, r.server) {
			worst.Servers = append(worst.Servers, r.server)
		}
		if worst.Kind == 0 || r.kind.Outweighs(worst.Kind) {
			worst.Kind, worst.Detail = r.kind, r.detail
		}
	}
	if _, asked := l.replies[dns.TypeA]; !asked && worst.Kind == stub.NoData {
		return // most names have no IPv6 address, and this one's IPv4 address was not asked for here
	}
	if worst.Kind != 0 {
		worst.Name = l.tr.Name
		failure := worst.Failure()
		l.tr.Failure = &failure
	}
}

// isReferral tells an answer that names the servers to ask instead (RFC 1034
// §4.3.1).
func isReferral(m *dns.Message) bool {
	if m.Rcode != dns.RcodeNoError || m.Header.Authoritative || len(m.Answers) > 0 {
		return false
	}
	is := func(t dns.Type) func(dns.Resource) bool { return func(r dns.Resource) bool { return r.Type == t } }
	return slices.ContainsFunc(m.Authority, is(dns.TypeNS)) && !slices.ContainsFunc(m.Authority, is(dns.TypeSOA))
}

// lookupFor returns the lookup that a question belongs to.
func (a *Analyzer) lookupFor(t clock.Time, c *conn, name string, e *trace.Event) *lookup {
	w := a.wire
	k := client{c.tr.LocalAddr.Addr(), name}
	if l := w.names.open[k]; l != nil && a.time(t)-l.tr.Start < trace.Time(sameLookup) {
		return l
	}
	if len(w.names.open) >= maxNames {
		clear(w.names.open)
	}
	l := a.newLookup(t)
	l.start = e
	l.tr.Name = strings.TrimSuffix(name, ".")
	w.names.open[k] = l
	return l
}
