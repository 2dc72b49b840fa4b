// Package dnstext shows DNS to people: answers as zone files have them, the
// walk from the root, the story of a name on this machine, and caches.
package dnstext

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"peel/dns"
	"peel/dns/cache"
	dnsclient "peel/dns/client"
	"peel/dns/recursor"
	"peel/dns/stub"
	"peel/trace"
)

// Writer shows things on w. The first error of the output is kept.
type Writer struct {
	W     io.Writer
	Color bool
	// Hints are the words for hints, as in text.Options.
	Hints map[trace.Hint]string
	Err   error
}

func (o *Writer) line(format string, args ...any) {
	if o.Err == nil {
		_, o.Err = fmt.Fprintf(o.W, format+"\n", args...)
	}
}

func (o *Writer) paint(code, s string) string {
	if !o.Color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (o *Writer) dim(s string) string  { return o.paint("2", s) }
func (o *Writer) bold(s string) string { return o.paint("1", s) }
func (o *Writer) bad(s string) string  { return o.paint("31", s) }
func (o *Writer) good(s string) string { return o.paint("32", s) }

// Reply shows an answer: a line on how it came, then the records as dig
// prints them.
func (o *Writer) Reply(r *dnsclient.Reply) {
	m := r.Message
	var flags []string
	for _, f := range []struct {
		on   bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticData, "ad"}, {m.CheckingDisabled, "cd"}} {
		if f.on {
			flags = append(flags, f.name)
		}
	}
	rcode := o.good(m.Rcode.String())
	if m.Rcode != dns.RcodeNoError {
		rcode = o.bad(m.Rcode.String())
		if w := m.Rcode.Meaning(); w != "" {
			rcode += " (" + w + ")"
		}
	}
	o.line(";; %s from %s over %s in %s, %d octets, flags: %s", rcode, r.Server, r.Transport, round(r.Duration()), len(r.Raw), strings.Join(flags, " "))
	if r.Truncated {
		o.line(";; %s", o.dim("the answer over UDP was cut (TC) and asked for again over TCP"))
	}
	if r.Tries > 1 {
		o.line(";; %s", o.dim(fmt.Sprintf("answered at try %d", r.Tries)))
	}
	if e, ok := m.EDNS(); ok {
		do := ""
		if e.DNSSECOK {
			do = " do"
		}
		o.line(";; %s", o.dim(fmt.Sprintf("EDNS version %d, takes %d octets over UDP%s", e.Version, e.UDPSize, do)))
		for _, opt := range e.Options {
			o.line(";; %s", o.dim(opt.String()))
		}
	}
	for _, q := range m.Questions {
		o.line(";; question: %s", q)
	}
	o.section("answer", m.Answers)
	o.section("authority", m.Authority)
	var more []dns.Resource
	for _, rr := range m.Additional {
		if rr.Type != dns.TypeOPT {
			more = append(more, rr)
		}
	}
	o.section("additional", more)
	if r.Problem != nil {
		o.line(";; %s", o.bad(strings.TrimPrefix(r.Problem.Error(), "dns: ")))
	}
}

func (o *Writer) section(name string, records []dns.Resource) {
	if len(records) == 0 {
		return
	}
	o.line("\n;; %s", name)
	o.Records(records)
}

// Records shows records in columns.
func (o *Writer) Records(records []dns.Resource) {
	width := 0
	for _, rr := range records {
		width = max(width, min(len(rr.Name.String()), 40))
	}
	for _, rr := range records {
		o.line("%-*s %7d %s %-6s %s", width, rr.Name, rr.TTL, rr.Class, rr.Type, rr.Text())
	}
}

// Short shows the data of the answers alone.
func (o *Writer) Short(m *dns.Message) {
	for _, rr := range m.Answers {
		o.line("%s", rr.Text())
	}
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Step shows one query of a walk, indented by what needed it.
func (o *Writer) Step(s recursor.Step) {
	indent := strings.Repeat("  ", s.Depth)
	zone := s.Zone.String()
	took := round(s.End.Sub(s.Start))
	asked := fmt.Sprintf("%s %s", s.Question.Name.String(), s.Question.Type)
	what := s.Text
	switch s.Outcome {
	case "answer":
		what = o.good("answer") + ": " + answers(s)
	case "alias":
		what = "alias: " + answers(s)
	case "referral":
		what = "referral to " + o.bold(s.Referral.String()) + ": " + glue(s)
	case "no_data", "no_name":
	default:
		what = o.bad(s.Outcome) + ": " + what
	}
	o.line("%s%-14s %s %s %s over %s, %s", indent, zone, s.Name.Host(), o.dim("("+s.Server.Addr().String()+")"), asked, s.Transport, took)
	o.line("%s%-14s %s", indent, "", what)
	if len(s.NotAsked) > 0 {
		var names []string
		for i, n := range s.NotAsked {
			if i == 3 && len(s.NotAsked) > 4 {
				names = append(names, fmt.Sprintf("%d more", len(s.NotAsked)-i))
				break
			}
			names = append(names, n.Host())
		}
		o.line("%s%-14s %s", indent, "", o.dim("not asked: "+strings.Join(names, ", ")))
	}
}

func answers(s recursor.Step) string {
	var parts []string
	for i, rr := range s.Message.Answers {
		if rr.Type == dns.TypeRRSIG {
			continue
		}
		if len(parts) == 4 {
			parts = append(parts, fmt.Sprintf("%d more", len(s.Message.Answers)-i))
			break
		}
		text := rr.Text()
		if len(text) > 60 {
			text = text[:57] + "…"
		}
		parts = append(parts, fmt.Sprintf("%s %s (TTL %d)", rr.Type, text, rr.TTL))
	}
	return strings.Join(parts, ", ")
}

func glue(s recursor.Step) string {
	var parts []string
	names := map[string]bool{}
	for _, rr := range s.Message.Authority {
		host, ok := rr.Target()
		if !ok || rr.Type != dns.TypeNS || !rr.Name.EqualFold(s.Referral) || names[host.Fold().String()] {
			continue
		}
		names[host.Fold().String()] = true
		var addrs []string
		for _, g := range s.Message.Additional {
			if a, ok := g.Addr(); ok && g.Name.EqualFold(host) {
				addrs = append(addrs, a.String())
			}
		}
		text := host.Host()
		if len(addrs) > 0 {
			text += " (glue " + strings.Join(addrs, ", ") + ")"
		} else {
			text += " (no glue)"
		}
		parts = append(parts, text)
	}
	if len(parts) > 3 {
		parts = append(parts[:3], fmt.Sprintf("%d more", len(parts)-3))
	}
	return strings.Join(parts, ", ")
}

// Result shows what a walk found.
func (o *Writer) Result(q dns.Question, r *recursor.Result, took time.Duration) {
	o.line("")
	var state string
	switch r.Security {
	case cache.Secure:
		state = o.good("secure") + ": every part is signed, up to a trust anchor"
	case cache.Insecure:
		state = "insecure: " + r.Reason
	case cache.Bogus:
		state = o.bad("bogus") + ": " + r.Reason
	default:
		state = "not validated"
	}
	rcode := r.Rcode.String()
	if r.Rcode != dns.RcodeNoError {
		rcode = o.bad(rcode)
	}
	queries := "queries"
	if r.Queries == 1 {
		queries = "query"
	}
	o.line("%s: %s after %d %s in %s", o.bold(q.Name.String()+" "+q.Type.String()), rcode, r.Queries, queries, round(took))
	if r.Rcode == dns.RcodeServFail && r.Security != cache.Bogus && r.Reason != "" {
		o.line("%s", r.Reason)
	} else {
		o.line("DNSSEC %s", state)
	}
	for _, e := range r.Entries {
		o.Records(e.Records)
		if e.Negative() {
			for _, rr := range e.Proofs {
				if rr.Type == dns.TypeSOA {
					o.line("nothing there; that may be kept for %d s (SOA of %s)", e.TTL, rr.Name)
				}
			}
		}
	}
}

// Story tells a lookup on this machine: what was asked in which order, and
// what came of it.
func (o *Writer) Story(l *trace.Lookup, sources string, differences []stub.Difference) {
	took := round(trace.Elapsed(l.Start, l.End).Std())
	if l.Failure != nil {
		o.line("%s: %s in %s", o.bold(l.Name), o.bad(string(l.Failure.Code)), took)
		o.line("%s", l.Failure.Seen)
		if l.Failure.Try != "" {
			o.line("%s", l.Failure.Try+o.Hints[l.Failure.Hint])
		}
	} else {
		plural := "es"
		if len(l.Addresses) == 1 {
			plural = ""
		}
		o.line("%s: %s in %s", o.bold(l.Name), o.good(fmt.Sprintf("%d address%s", len(l.Addresses), plural)), took)
		for i, a := range l.Addresses {
			text := a.IP.String()
			if a.TTL >= 0 {
				text += fmt.Sprintf("  TTL %d s", a.TTL)
			}
			text += "  from " + a.Source
			if a.Why != "" && i+1 < len(l.Addresses) {
				text += o.dim("  before the next: " + a.Why)
			}
			o.line("  %d  %s", i+1, text)
		}
	}
	o.line("\n%s", o.dim("order    "+sources))
	for _, s := range l.Steps {
		o.line("%8s %s", round(time.Duration(s.Duration)), s.Text)
	}
	if len(differences) > 0 {
		o.line("")
		for _, d := range differences {
			o.line("%-6s %s", d.Library, d.Text)
		}
	}
}

// Check is what one server of a zone said.
type Check struct {
	Server    string
	Addr      netip.Addr
	Transport string
	// Serial is the zone's version, and Answer the records; Problem says why
	// there are none.
	Serial  uint32
	Answer  string
	Problem string
	// NotAsked says why it was not asked, which says nothing of the server.
	NotAsked string
	Took     time.Duration
}

// Consistency shows what the servers of a zone say, and where they differ.
func (o *Writer) Consistency(zone dns.Name, checks []Check) (agree bool) {
	o.line("\nall servers of %s:", zone)
	agree = true
	var first *Check
	for i := range checks {
		c := &checks[i]
		if c.Problem == "" && c.NotAsked == "" && first == nil {
			first = c
		}
	}
	for _, c := range checks {
		what := fmt.Sprintf("serial %d, %s", c.Serial, round(c.Took))
		switch {
		case c.NotAsked != "":
			what = o.dim("not asked: " + c.NotAsked)
		case c.Problem != "":
			what, agree = o.bad(c.Problem), false
		case c.Serial != first.Serial:
			what, agree = what+": "+o.bad(fmt.Sprintf("another version than %s (serial %d)", first.Server, first.Serial)), false
		case c.Answer != first.Answer:
			what, agree = what+": "+o.bad("another answer than "+first.Server+": "+c.Answer), false
		}
		o.line("  %-24s %-24s %-3s %s", c.Server, c.Addr, c.Transport, what)
	}
	if agree && first != nil {
		o.line("  %s", o.good("they agree"))
	}
	return agree
}
