package analyze

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"peel/dns"
	"peel/dns/stub"
	"peel/trace"
)

// listens is how long a capture has to go on after a question before it can be
// said that no answer came: recursive servers take their time.
const listens = 2 * time.Second

// state is what can be said of a question so far.
type state uint8

const (
	open  state = iota // an answer may still come, or could not be seen
	mute               // none came
	ended              // one came, or an error in its place
)

// waited tells how long nothing was heard of a question, and whether that is
// long enough to say that it has no answer: whoever asked gave up and asked
// again; or the capture went on, and shows answers to others.
func (as *asked) waited(a *Analyzer) (state, time.Duration) {
	if as.ended {
		return ended, 0
	}
	if as.again != 0 {
		return mute, max(as.again.Sub(as.at), 0)
	}
	d := max(a.now.Sub(as.at), 0)
	if d >= listens && a.wire.heardBy(as.client) {
		return mute, d
	}
	// It waits as long as those before it did that were given up.
	for _, o := range as.lookup.asks {
		if o.again != 0 && o.q.Type == as.q.Type && o.server == as.server && d >= o.again.Sub(o.at)*9/10 {
			return mute, d
		}
	}
	return open, d
}

// steps are those of a lookup that only packets tell of.
func (l *lookup) steps(a *Analyzer) []trace.Step {
	out := make([]trace.Step, 0, len(l.asks)+1)
	for _, as := range l.asks {
		out = append(out, as.told(a))
	}
	if l.more > 0 {
		out = append(out, trace.Step{Time: a.time(l.last), Source: trace.SourceDNS, Outcome: trace.StepSkipped,
			Text: fmt.Sprintf("%d further messages for this name are counted, not told", l.more)})
	}
	return out
}

// told is a question as the trace has it.
func (as *asked) told(a *Analyzer) trace.Step {
	s := as.step
	s.Time, s.Source, s.Server, s.Transport = a.time(as.at), trace.SourceDNS, as.server, as.transport
	if !as.unseen {
		s.Attempt = as.attempt
	}
	what := "a message without a question that can be read"
	if as.q != (dns.Question{}) {
		s.Question = trace.Question{Name: as.q.Name.String(), Type: as.q.Type.String()}
		what = s.Question.String()
	}
	switch st, d := as.waited(a); st {
	case mute:
		s.Outcome, s.Duration, s.Text = trace.StepTimeout, trace.Duration(d), stub.NoAnswer(d)
		if as.again == 0 {
			s.Text += ", and none until the capture ends"
		}
	case open:
		s.Outcome, s.Duration = trace.StepWaiting, trace.Duration(d)
		s.Text = fmt.Sprintf("no answer in the capture, which goes on for %v", short(d))
		if as.lookup.tr.Kind == trace.LookupMDNS || as.lookup.tr.Kind == trace.LookupLLMNR {
			s.Text = "nobody answered, which is how it is when nobody has the name"
		}
	}
	if as.messages > 0 {
		s.Text += fmt.Sprintf(", in %d messages", as.messages+1)
	}
	if s.Outcome == trace.StepTruncated {
		s.Text += as.lookup.afterCut(a, as)
	}
	if as.unseen {
		s.Text = fmt.Sprintf("%s of %s over %s: %s", what, s.Server, s.Transport, s.Text)
		return s
	}
	s.Text = stub.Line(what, s.Server.String(), s.Transport, as.attempt, s.Duration.Std(), s.Text)
	return s
}

// afterCut says what followed an answer that was cut short.
func (l *lookup) afterCut(a *Analyzer, cut *asked) string {
	for _, as := range l.asks {
		if as.transport != "udp" && as.q.Type == cut.q.Type && as.at >= cut.at {
			return ": asked again over TCP"
		}
	}
	c := l.again
	switch {
	case c == nil:
		return ""
	case c.flow != nil && c.flow.analysis.Sides[1].SawSYN:
		return ": a TCP connection to the server followed, in which no question was read"
	case c.tr.ClosedBy == trace.ByReset:
		return ": the TCP connection that was to bring the whole was reset before it was open"
	}
	return ": the capture shows no SYN-ACK of the TCP connection that was to bring the whole"
}

// heardBy tells whether the capture shows answers to a client at all: one that
// holds only what the client sends shows none.
func (w *wire) heardBy(client netip.AddrPort) bool {
	_, ok := w.names.answered.get(client.Addr())
	return ok
}

// failure says why there is no address, once every question has its answer: in
// the words of the resolver that would have asked them.
func (l *lookup) failure(a *Analyzer) *trace.Failure {
	if len(l.tr.Addresses) > 0 || l.tr.Kind != "" {
		return nil
	}
	var types []dns.Type
	for _, as := range l.asks {
		if as.judged() && !slices.Contains(types, as.q.Type) {
			types = append(types, as.q.Type)
		}
	}
	slices.Sort(types)
	var worst stub.Error
	for _, t := range types {
		kind, detail, known := l.typeFailure(a, t)
		switch {
		case !known:
			return nil
		case kind == 0:
			continue
		case worst.Kind == 0 || kind.Outweighs(worst.Kind):
			worst.Kind, worst.Detail = kind, detail
		}
	}
	for _, as := range l.asks {
		if as.judged() && !slices.Contains(worst.Servers, as.server) {
			worst.Servers = append(worst.Servers, as.server)
		}
	}
	for _, t := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		if slices.Contains(types, t) {
			worst.Asked = append(worst.Asked, t)
		}
	}
	if worst.Kind == stub.NoData && !slices.Contains(types, dns.TypeA) {
		return nil // most names have no IPv6 address, and this one's IPv4 address was not asked for here
	}
	if worst.Kind == 0 {
		return nil
	}
	worst.Name = l.tr.Name
	failure := worst.Failure()
	return &failure
}

// typeFailure says how the questions for one type failed in the end; kind is 0
// where they did not, and it is not known as long as one is open.
func (l *lookup) typeFailure(a *Analyzer, t dns.Type) (kind stub.Kind, detail string, known bool) {
	for _, as := range l.asks {
		if as.q.Type != t || !as.judged() {
			continue
		}
		st, d := as.waited(a)
		switch {
		case as.ended && as.settled:
			if as.answer.Kind == 0 || as.answer.Kind == stub.NoData && t != dns.TypeA && t != dns.TypeAAAA {
				return 0, "", true // most names have no records of most types
			}
			return as.answer.Kind, as.answer.Detail, true
		case as.ended && as.answer.Kind == 0:
			// Cut short or referred: what followed is judged.
		case as.ended:
			kind, detail, known = as.answer.Kind, as.answer.Detail, true
		case st == open:
			return 0, "", false
		default:
			kind, detail, known = stub.Timeout, stub.Silent(as.server, as.transport, d), true
		}
	}
	return kind, detail, known
}

// judged tells the questions by which a lookup is judged: those for the whole
// answer, which a recursor's own are not; and not those for the names of
// addresses, of which most have none.
func (as *asked) judged() bool {
	if as.q == (dns.Question{}) || !as.recursion || as.opcode != dns.OpcodeQuery || as.q.Type == dns.TypePTR || as.step.Outcome == trace.StepIgnored {
		return false
	}
	return !aboutAddress(as.q.Name)
}

// aboutAddress tells a name that asks a list about an address, as those of
// blocked senders are asked (RFC 5782 §2): that it does not exist is the good
// answer.
func aboutAddress(n dns.Name) bool {
	numbers, nibbles := 0, 0
	for label := range n.Labels() {
		v, err := strconv.ParseUint(label, 10, 8)
		if err == nil && strconv.FormatUint(v, 10) == label && numbers >= 0 {
			numbers++
		} else if numbers < 4 {
			numbers = -1
		}
		if _, err := strconv.ParseUint(label, 16, 4); err == nil && len(label) == 1 {
			nibbles++
		} else if nibbles < 32 {
			nibbles = 0
		}
		if numbers == 4 || nibbles == 32 {
			return n.NumLabels() > max(numbers, nibbles)
		}
	}
	return false
}
