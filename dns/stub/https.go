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

// services is the question for HTTPS records that goes beside those for
// addresses (RFC 9460). It never holds them up for long, and its failure
// changes nothing (§3).
type services struct {
	q     *question
	owner dns.Name // whose service it is
	found *dns.SVCB
	// elsewhere is where the service is, when its addresses are not known.
	elsewhere dns.Name
	// linger is until when addresses that are there wait for it.
	linger  clock.Time
	waiting Result
}

// serviceDelay is how long addresses wait for the HTTPS records: as long as
// one family's waits for the other's (RFC 8305 §3).
const serviceDelay = 50 * time.Millisecond

// begin asks for the records of a name, and forgets those of another.
func (v *services) begin(l *Lookup, name dns.Name, now clock.Time) {
	*v = services{owner: name}
	if !l.cfg.WantHTTPS {
		return
	}
	if l.port != 443 { // §9.1: _8443._https.example.com
		n, err := dns.MustName(fmt.Sprintf("_%d._https", l.port)).Join(name)
		if err != nil {
			return
		}
		name = n
	}
	v.q = l.newQuestion(name, dns.TypeHTTPS)
	l.ask(v.q, l.cfg.Resolv.UseTCP, now)
}

func (v *services) poll(l *Lookup, now clock.Time) {
	if l.done || v.q == nil || v.q.done {
		return
	}
	if v.linger != 0 && v.linger <= now {
		v.q.done = true
		l.conclude(v.waiting, now)
		return
	}
	if v.q.deadline <= now {
		l.end(l.sockets[v.q.socket], trace.StepTimeout, "no answer; it is not asked again", now)
		v.ended(l, now)
	}
}

func (v *services) next() clock.Time {
	switch {
	case v.q == nil || v.q.done:
		return clock.Never
	case v.linger != 0:
		return v.linger
	}
	return v.q.deadline
}

// wait holds a result back until the records are there, if they still may
// come in time.
func (v *services) wait(r Result, now clock.Time) bool {
	if v.q == nil || v.q.done {
		return false
	}
	v.linger, v.waiting = now.Add(serviceDelay), r
	return true
}

// ended marks the question as over.
func (v *services) ended(l *Lookup, now clock.Time) {
	v.q.done = true
	if v.linger != 0 {
		l.conclude(v.waiting, now)
	}
}

// answered takes the response.
func (v *services) answered(l *Lookup, s *socket, m *dns.Message, parseErr error, now clock.Time) {
	st := l.end(s, trace.StepAnswer, "", now)
	st.Answered, st.Rcode, st.Answers = true, m.Rcode, m.Answers
	l.close(s)
	switch {
	case m.Truncated && !s.tcp:
		st.Outcome, st.Text = trace.StepTruncated, "the answer did not fit the datagram (TC): asked again over TCP"
		l.ask(v.q, true, now)
		return
	case parseErr != nil:
		st.Outcome, st.Text = trace.StepMalformed, strings.TrimPrefix(parseErr.Error(), "dns: ")
	case m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain:
		st.Outcome, st.Text = trace.StepServerFailure, rcodeText(m.Rcode, nil)
	default:
		st.Outcome, st.Text = v.take(m.Answers)
	}
	v.ended(l, now)
}

// take chooses among the records: the one of the least priority that a client
// can go by.
func (v *services) take(answers []dns.Resource) (outcome trace.StepOutcome, text string) {
	at := v.q.name
	for range maxChain {
		var list []dns.SVCB
		var next *dns.Name
		for _, rr := range answers {
			if !rr.Name.EqualFold(at) {
				continue
			}
			switch d := rr.Value().(type) {
			case dns.HTTPS:
				list = append(list, d.SVCB)
			case dns.CNAME:
				next = &d.Target
			}
		}
		if len(list) == 0 {
			if next == nil {
				return trace.StepNoData, "no HTTPS record"
			}
			at = *next
			continue
		}
		slices.SortStableFunc(list, func(a, b dns.SVCB) int { return int(a.Priority) - int(b.Priority) })
		var parts []string
		for i := range list {
			d := &list[i]
			note := ""
			if d.Priority == 0 { // §2.4.2: then it alone counts
				if v.found == nil && v.elsewhere.IsRoot() && !d.Target.EqualFold(v.owner) {
					v.elsewhere = d.Target
				}
				parts = append(parts, d.String())
				break
			}
			if why := v.unusable(d); why != "" {
				note = " (not used: " + why + ")"
			} else if v.found == nil {
				v.found = d
			}
			parts = append(parts, d.String()+note)
		}
		return trace.StepAnswer, strings.Join(parts, "; ")
	}
	return trace.StepMalformed, "a loop of aliases"
}

// unusable says why a record cannot be gone by, or "".
func (v *services) unusable(d *dns.SVCB) string {
	if p, ok := d.Param(dns.SvcMandatory); ok {
		for i := 0; i+1 < len(p.Value); i += 2 {
			switch k := dns.SvcKey(uint16(p.Value[i])<<8 | uint16(p.Value[i+1])); k {
			case dns.SvcALPN, dns.SvcNoDefaultALPN, dns.SvcPort, dns.SvcIPv4Hint, dns.SvcIPv6Hint:
			default:
				return "it demands " + k.String()
			}
		}
	}
	for _, p := range d.Protocols() {
		if p == "h2" || p == "http/1.1" {
			return ""
		}
	}
	return "it offers only " + strings.Join(d.Protocols(), ", ")
}

// hinted gives the addresses to use: those of another target, or the hints
// when there are no others.
func (v *services) hinted(l *Lookup, addrs []Address, now clock.Time) []Address {
	if v.found == nil {
		return addrs
	}
	other := !v.found.Target.IsRoot() && !v.found.Target.EqualFold(v.owner)
	if len(addrs) > 0 && !other {
		return addrs
	}
	var out []Address
	for _, a := range v.found.Hints() {
		if l.wants(a) {
			out = append(out, Address{Addr: a, TTL: -1, Source: "HTTPS record's hint"})
		}
	}
	if len(out) == 0 {
		v.elsewhere = v.found.Target
		return addrs
	}
	return out
}

// conclude ends the lookup with the record that the connection goes by.
func (l *Lookup) conclude(r Result, now clock.Time) {
	if d := l.services.found; d != nil {
		r.Addresses = l.services.hinted(l, r.Addresses, now)
		r.Service = d
		l.step(Step{Source: trace.SourceHTTPS, Outcome: trace.StepAnswer, Start: now, End: now, Text: use(d, l.port)})
	}
	if r.Follow = l.services.elsewhere; !r.Follow.IsRoot() {
		l.step(Step{Source: trace.SourceHTTPS, Outcome: trace.StepAnswer, Start: now, End: now, Text: "the HTTPS record puts the service at " + r.Follow.Host() + ", whose addresses are looked up"})
	}
	l.finish(r)
}

// use says what a record changes for a connection.
func use(d *dns.SVCB, port uint16) string {
	text := "the HTTPS record is gone by: it offers " + strings.Join(d.Protocols(), ", ")
	if p, ok := d.Port(); ok && p != port {
		text += fmt.Sprintf(", at port %d", p)
	}
	if slices.Contains(d.ALPN(), "h3") {
		text += " (h3 is not spoken here)"
	}
	return text
}
