package stub

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/dns"
	"peel/trace"
)

// Answer is what a response says to one who asked for the records of one type.
// The resolver that asked and whoever saw the packets pass read it alike.
type Answer struct {
	Outcome trace.StepOutcome
	// Text is the outcome in one line.
	Text string
	// Kind and Detail say how it failed; Kind is 0 where it brought what was
	// asked for.
	Kind   Kind
	Detail string
	// Addresses are those of the name, along Chain, where aliases led.
	Addresses []Address
	Chain     []dns.Name
}

// ReadAnswer reads a response of server to a question for the records of q.
// broken is what dns.Parse said of it. That a response was cut short (TC) is
// for the caller to look at first.
func ReadAnswer(server netip.AddrPort, q dns.Question, m *dns.Message, broken error) Answer {
	edns, _ := m.EDNS()
	errs := edns.ExtendedErrors()
	switch {
	case broken != nil:
		text := strings.TrimPrefix(broken.Error(), "dns: ")
		return Answer{Outcome: trace.StepMalformed, Text: text, Kind: Malformed, Detail: fmt.Sprintf("%s sent a broken answer: %s", server, text)}
	case m.Rcode == dns.RcodeNoError:
		a := noError(server, q, m)
		a.Text += errorText(errs) // such as that it is stale
		return a
	case m.Rcode == dns.RcodeNXDomain:
		return Answer{Outcome: trace.StepNoName, Text: "the name does not exist (NXDOMAIN)" + negativeTTL(m) + errorText(errs), Kind: NotFound,
			Detail: fmt.Sprintf("%s says that %s does not exist (NXDOMAIN)", server, q.Name.Host())}
	}
	a := Answer{Outcome: trace.StepServerFailure, Text: rcodeText(m.Rcode, errs), Kind: KindOf(m.Rcode)}
	if a.Kind == Refused {
		a.Outcome = trace.StepRefused
	}
	a.Detail = fmt.Sprintf("%s said %s", server, a.Text)
	return a
}

func noError(server netip.AddrPort, q dns.Question, m *dns.Message) Answer {
	a := Answer{Outcome: trace.StepAnswer}
	found, chain, broken := follow(m.Answers, q.Name, q.Type)
	a.Chain = chain
	via := ""
	if len(chain) > 0 {
		via = "alias " + chainText(q.Name, chain) + ": "
	}
	switch {
	case broken != "":
		a.Outcome, a.Text = trace.StepMalformed, broken
		a.Kind, a.Detail = Malformed, fmt.Sprintf("%s answered with %s", server, broken)
	case len(found) > 0:
		a.Addresses = addresses(found)
		for i := range a.Addresses {
			a.Addresses[i].Source = "dns " + server.String()
		}
		what := addressList(a.Addresses)
		if len(a.Addresses) == 0 {
			what = DataList(found)
		}
		a.Text = fmt.Sprintf("%s%s (TTL %d s)", via, what, found[0].TTL)
	case len(m.Answers) == 0 && !m.Authoritative && !m.RecursionAvailable:
		a.Outcome, a.Text = trace.StepRefused, "an empty answer that is neither authoritative nor recursive: the server does not resolve for clients"
		a.Kind, a.Detail = Refused, fmt.Sprintf("%s does not resolve names for clients", server)
	default:
		target := q.Name
		a.Text = fmt.Sprintf("%s exists, but has no %s record (NODATA)", target.Host(), q.Type)
		if len(chain) > 0 {
			target = chain[len(chain)-1]
			a.Text = fmt.Sprintf("%sthe server gave no %s record of %s", via, q.Type, target.Host())
		}
		a.Kind, a.Detail = NoData, fmt.Sprintf("%s has no %s record of %s", server, q.Type, target.Host())
		a.Outcome, a.Text = trace.StepNoData, a.Text+negativeTTL(m)
	}
	return a
}

// follow reads the records of name and type t from an answer, along CNAMEs. It
// takes only records that the chain leads to. The TTL of each is the least on
// its way.
func follow(answers []dns.Resource, name dns.Name, t dns.Type) (found []dns.Resource, chain []dns.Name, broken string) {
	ttl := uint32(1<<31 - 1) // RFC 2181 §8: a larger TTL is not one
	at := name
	for {
		var next *dns.Resource
		for i := range answers {
			rr := &answers[i]
			if rr.Class != dns.ClassIN || !rr.Name.EqualFold(at) {
				continue
			}
			if rr.Type == t || t == dns.TypeANY {
				r := *rr
				r.TTL = min(ttl, r.TTL)
				found = append(found, r)
			} else if rr.Type == dns.TypeCNAME {
				next = rr
			}
		}
		if len(found) > 0 || next == nil {
			return found, chain, ""
		}
		alias, ok := next.Value().(dns.CNAME)
		if !ok {
			return nil, chain, "" // an alias without a name, which RFC 2136 knows
		}
		ttl = min(ttl, next.TTL)
		at = alias.Target
		if at.EqualFold(name) || slices.ContainsFunc(chain, at.EqualFold) {
			return nil, append(chain, at), "a loop of aliases: " + chainText(name, append(chain, at))
		}
		if chain = append(chain, at); len(chain) > maxChain {
			return nil, chain, fmt.Sprintf("more than %d aliases in a row", maxChain)
		}
	}
}

func addresses(records []dns.Resource) []Address {
	var out []Address
	for _, rr := range records {
		switch d := rr.Value().(type) {
		case dns.A:
			out = append(out, Address{Addr: d.Addr, TTL: int64(rr.TTL)})
		case dns.AAAA:
			out = append(out, Address{Addr: d.Addr, TTL: int64(rr.TTL)})
		}
	}
	return out
}

// maxListed bounds the records that one line names.
const maxListed = 4

// DataList names the data of records in one line.
func DataList(records []dns.Resource) string {
	var parts []string
	for i, rr := range records {
		if i == maxListed {
			parts = append(parts, fmt.Sprintf("%d more", len(records)-i))
			break
		}
		text := rr.Text()
		if len(text) > 80 {
			text = text[:80] + "…"
		}
		parts = append(parts, rr.Type.String()+" "+text)
	}
	return strings.Join(parts, ", ")
}

// NoAnswer says in one line that a query was given up.
func NoAnswer(waited time.Duration) string { return fmt.Sprintf("no answer within %s", round(waited)) }

// Silent says of a server that it did not answer.
func Silent(server netip.AddrPort, transport string, waited time.Duration) string {
	return fmt.Sprintf("%s did not answer over %s within %s", server, transport, round(waited))
}

// Line returns a step in one line: what was asked, of whom, and what came of it.
func Line(question, server, transport string, attempt int, took time.Duration, text string) string {
	return fmt.Sprintf("%s to %s over %s, attempt %d, %s: %s", question, server, transport, attempt, round(took), text)
}

func negativeTTL(m *dns.Message) string {
	for _, rr := range m.Authority {
		if d, ok := rr.Value().(dns.SOA); ok {
			// RFC 2308 §5: the lesser of the record's TTL and its minimum.
			return fmt.Sprintf("; may be cached for %d s (SOA of %s)", min(rr.TTL, d.Minimum), rr.Name.Host())
		}
	}
	return ""
}

func rcodeText(r dns.Rcode, errs []dns.ExtendedError) string {
	s := r.String()
	if m := r.Meaning(); m != "" {
		s += ": " + m
	}
	return s + errorText(errs)
}

// errorText names the reasons that a server gives (RFC 8914).
func errorText(errs []dns.ExtendedError) string {
	s := ""
	for _, e := range errs {
		s += "; " + e.String()
	}
	return s
}

func chainText(name dns.Name, chain []dns.Name) string {
	s := name.Host()
	for _, n := range chain {
		s += " → " + n.Host()
	}
	return s
}
