package analyze

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
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
	s := trace.Step{Time: a.time(as.at), Duration: trace.Duration(t - as.at), Source: trace.SourceDNS, Question: trace.Question{Name: q.Name.String(), Type: q.Type.String()}, Server: c.tr.RemoteAddr,
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
	switch {
	case rcode == "NXDOMAIN":
		s.Outcome = trace.StepNoName
	case rcode == "SERVFAIL":
		s.Outcome = trace.StepServerFailure
	case rcode == "REFUSED":
		s.Outcome = trace.StepRefused
	case m.Header.Truncated:
		s.Outcome = trace.StepTruncated
	case len(ips) == 0 && (q.Type == dns.TypeA || q.Type == dns.TypeAAAA):
		s.Outcome = trace.StepNoData
	}
	s.Text = fmt.Sprintf("%s to %s over %s, attempt %d, %v: %s", s.Question, s.Server, s.Transport, s.Attempt, short(s.Duration.Std()), strings.Join(ips, ", "))
	if len(ips) == 0 {
		s.Text += string(s.Outcome)
	}
	l.tr.Steps = append(l.tr.Steps, s)
	l.tr.End = a.time(t)
	l.end = e
	if len(l.tr.Addresses) == 0 && s.Outcome == trace.StepNoName {
		l.tr.Failure = &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNoName, Seen: l.tr.Name + " does not exist", Try: "check the spelling of the name"}
	} else if len(l.tr.Addresses) > 0 {
		l.tr.Failure = nil
	}
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
