package analyze

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/stub"
	"peel/trace"
	"peel/wire/icmp"
)

// askKey is by what an answer finds its question (RFC 5452 §9.1).
type askKey struct {
	client, server netip.AddrPort
	id             uint16
	carrier        int // the exchange or connection that carried it, where addresses do not tell it apart
}

// asked is one question that packets show, and how it ended.
type asked struct {
	lookup         *lookup
	q              dns.Question
	opcode         dns.Opcode
	client, server netip.AddrPort
	transport      string
	at             clock.Time
	attempt        int
	recursion      bool         // RD: for the whole answer
	sum            uint64       // of the message
	again          clock.Time   // when it was asked again; 0 when it was not
	lastly         clock.Time   // when its last answer came; 0 before
	reply          uint64       // sum of that answer
	messages       int          // of a transfer
	came           *trace.Event // the answer
	// ended tells that step is how it ended; settled that nothing is to be asked
	// after it.
	ended, settled bool
	unseen         bool // the question itself was not captured
	overtaken      bool // asked again, and that was answered
	step           trace.Step
	answer         stub.Answer
}

// message is a DNS message that no decision tells of.
type message struct {
	t         clock.Time
	c         *conn
	m         *dns.Message
	broken    error
	raw       []byte
	e         *trace.Event
	client    netip.AddrPort
	server    netip.AddrPort
	transport string
	carrier   int
	short     bool // only its beginning is there
}

// Bounds of what is kept of one lookup, and of one response.
const (
	maxAsks          = 128
	maxListedRecords = 100
)

// twice is how soon after itself a packet that is seen again is the same one,
// captured in two places: no resolver asks again so soon.
const twice = clock.Time(5 * time.Millisecond)

// heard takes a DNS message that no decision tells of.
func (a *Analyzer) heard(h *message) {
	if kind := h.multicast(); kind != "" {
		a.heardMulticast(h, kind)
		return
	}
	if h.m.Response {
		a.heardAnswer(h)
	} else {
		a.heardQuestion(h)
	}
}

// question returns what a message is about. Of a message without one that can
// be read it is the root.
func (h *message) question() dns.Question {
	if len(h.m.Questions) > 0 {
		return h.m.Questions[0]
	}
	return dns.Question{}
}

// who is the one that a message's lookup belongs to.
func (h *message) who() client {
	name := strings.ToLower(h.question().Name.String())
	if len(h.m.Questions) == 0 {
		name = ""
	}
	return client{h.client.Addr(), name, kindOf(h.m.Opcode)}
}

// kindOf tells lookups from what else is said in DNS.
func kindOf(o dns.Opcode) trace.LookupKind {
	switch o {
	case dns.OpcodeQuery:
		return ""
	case dns.OpcodeUpdate:
		return trace.LookupUpdate
	case dns.OpcodeNotify:
		return trace.LookupNotify
	}
	return trace.LookupOther
}

func (h *message) key() askKey { return askKey{h.client, h.server, h.m.ID, h.carrier} }

func (a *Analyzer) heardQuestion(h *message) {
	book := &a.wireOf().names
	q := h.question()
	if old, ok := book.asked.get(h.key()); ok && !old.ended && h.t-old.at < twice && old.sum == sumOf(h.raw) {
		h.e.Lookup = old.lookup.tr.ID // seen twice, not asked twice
		return
	}
	l := a.lookupFor(h.t, h.who(), q, h.e)
	h.e.Lookup = l.tr.ID
	as := a.asks(l, h, q)
	for _, old := range l.asks[:max(len(l.asks)-1, 0)] {
		if old.q.Type != q.Type || old.ended {
			continue
		}
		if old.again == 0 && h.t-old.at >= clock.Time(patient) {
			old.again = h.t
		}
		if old.server == as.server && old.transport == as.transport {
			as.attempt++
		}
	}
	as.sum = sumOf(h.raw)
	book.asked.put(h.key(), as)
}

// sumOf is a sum by which a message is known again (FNV-1a).
func sumOf(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// patient is the least that a resolver waits before it asks again for want of
// an answer. Sooner it asks several servers at once.
const patient = 250 * time.Millisecond

// asks adds a question to a lookup.
func (a *Analyzer) asks(l *lookup, h *message, q dns.Question) *asked {
	as := &asked{lookup: l, q: q, opcode: h.m.Opcode, client: h.client, server: h.server, transport: h.transport, at: h.t, attempt: 1, recursion: h.m.RecursionDesired}
	l.last = h.t
	if len(l.asks) >= maxAsks {
		l.more++
		return as
	}
	l.asks = append(l.asks, as)
	l.unanswered++
	return as
}

// ends notes how a question ended.
func (as *asked) ends() {
	if !as.ended && !as.overtaken {
		as.lookup.unanswered = max(as.lookup.unanswered-1, 0)
	}
	as.ended = true
}

// settles says that nothing is to be asked after an answer: earlier questions
// for the same wait no more.
func (as *asked) settles() {
	as.settled = true
	for _, o := range as.lookup.asks {
		if o != as && !o.ended && !o.overtaken && o.q.Type == as.q.Type {
			o.overtaken = true
			as.lookup.unanswered = max(as.lookup.unanswered-1, 0)
		}
	}
}

func (a *Analyzer) heardAnswer(h *message) {
	book := &a.wireOf().names
	if _, known := book.answered.get(h.client.Addr()); !known {
		book.answered.put(h.client.Addr(), struct{}{})
	}
	as, ok := book.asked.get(h.key())
	if ok && !h.answers(as) {
		ok = false
	}
	switch {
	case ok && as.ended:
		a.heardAgain(h, as)
		return
	case !ok:
		// The question is not in the capture, or was let go.
		l := a.lookupFor(h.t, h.who(), h.question(), h.e)
		as = a.asks(l, h, h.question())
		as.unseen = true
		a.answered(as, h)
		why := "the question was not captured"
		if book.forgotten > 0 {
			why = "the question was not captured, or not kept"
		}
		as.step.Text = why + "; " + as.step.Text
		book.asked.put(h.key(), as)
		return
	}
	a.answered(as, h)
}

// answers tells whether a response repeats the question. Servers that could not
// read it leave it out.
func (h *message) answers(as *asked) bool {
	if len(h.m.Questions) == 0 {
		return h.m.Opcode == as.opcode
	}
	q := h.m.Questions[0]
	return q.Name.EqualFold(as.q.Name) && q.Type == as.q.Type && h.m.Opcode == as.opcode
}

// heardAgain takes a further response to a question that has one.
func (a *Analyzer) heardAgain(h *message, as *asked) {
	l := as.lookup
	h.e.Lookup = l.tr.ID
	same := as.reply == sumOf(h.raw)
	switch {
	case h.t-as.lastly < twice && same:
		return // seen twice
	case as.q.Type == dns.TypeAXFR || as.q.Type == dns.TypeIXFR:
		// A zone comes in many messages (RFC 5936 §2.2).
		as.messages++
		as.lastly = h.t
		l.last, l.end = h.t, h.e
		l.tr.End = a.time(h.t)
		as.step.Duration = trace.Duration(max(h.t-as.at, 0))
		as.step.Answers = printed(as.step.Answers, h.m.Answers)
		return
	case l.handed:
		return
	}
	extra := a.asks(l, h, as.q)
	extra.at = as.at
	a.answered(extra, h)
	extra.answer = stub.Answer{} // whoever asked has taken the first one
	extra.settled = false
	extra.step.Outcome = trace.StepIgnored
	extra.attempt = as.attempt
	word := "another answer to the same question: "
	if same {
		word = "the same answer once more: "
	}
	extra.step.Text = word + extra.step.Text
	as.lastly = h.t
}

// answered notes the response to a question.
func (a *Analyzer) answered(as *asked, h *message) {
	l, m := as.lookup, h.m
	h.e.Lookup = l.tr.ID
	as.lastly, as.reply = h.t, sumOf(h.raw)
	as.ends()
	as.step = trace.Step{Outcome: trace.StepAnswer, Rcode: m.Rcode.String(), Size: len(h.raw),
		Duration: trace.Duration(max(h.t-as.at, 0)), Answers: printed(nil, m.Answers), Authority: printed(nil, m.Authority), Additional: printed(nil, m.Additional)}
	if l.handed {
		return
	}
	l.last, l.end, as.came = h.t, h.e, h.e
	l.tr.End = a.time(h.t)
	ans := stub.ReadAnswer(as.server, as.q, m, h.broken)
	switch {
	case h.short && h.broken != nil:
		ans = partly(as, m)
	case l.tr.Kind != "":
		ans = told(ans, m)
	case m.Truncated && h.transport == "udp":
		ans.Outcome, ans.Kind = trace.StepTruncated, 0
		ans.Text = fmt.Sprintf("the answer of %d octets is cut short (TC)", len(h.raw))
		a.wireOf().names.cut.put(cutKey{as.client.Addr(), as.server}, l)
	case h.broken == nil && isReferral(m):
		ans = stub.Answer{Outcome: trace.StepReferral, Text: referral(m)}
	case h.broken == nil && len(m.Questions) > 1:
		ans.Text += fmt.Sprintf("; the first of %d questions in one message", len(m.Questions))
	}
	as.answer = ans
	as.step.Outcome, as.step.Text = ans.Outcome, ans.Text
	switch ans.Outcome {
	case trace.StepAnswer, trace.StepNoData, trace.StepNoName:
		as.settles()
	}
	var list []trace.Address
	for _, ad := range ans.Addresses {
		list = append(list, ad.Trace())
	}
	for i := range list {
		list[i].Source = as.server.String()
	}
	a.found(l, list)
}

// partly is an answer of which only the beginning was captured. What it says up
// to there is told, and it is not judged.
func partly(as *asked, m *dns.Message) stub.Answer {
	ans := stub.ReadAnswer(as.server, as.q, m, nil)
	ans.Kind = 0
	if len(ans.Addresses) == 0 && m.Rcode == dns.RcodeNoError {
		ans.Outcome, ans.Text = trace.StepAnswer, m.Rcode.String()
	}
	ans.Text += "; the rest of the answer was not captured"
	return ans
}

// told is the answer to what is no lookup.
func told(ans stub.Answer, m *dns.Message) stub.Answer {
	if ans.Outcome == trace.StepMalformed {
		return stub.Answer{Outcome: ans.Outcome, Text: ans.Text}
	}
	out := stub.Answer{Outcome: trace.StepAnswer, Text: m.Opcode.String() + ": " + m.Rcode.String()}
	switch m.Rcode {
	case dns.RcodeNoError:
		return out
	case dns.RcodeRefused, dns.RcodeNotAuth:
		out.Outcome = trace.StepRefused
	default:
		out.Outcome = trace.StepServerFailure
	}
	if w := m.Rcode.Meaning(); w != "" {
		out.Text += ": " + w
	}
	return out
}

// printed appends what a section holds, as it is printed.
func printed(to []trace.Record, section []dns.Resource) []trace.Record {
	for _, r := range section {
		if len(to) >= maxListedRecords {
			break
		}
		if r.Type == dns.TypeOPT {
			continue // it is of the message, not of the name
		}
		to = append(to, trace.Record{Name: r.Name.String(), Type: r.Type.String(), TTL: r.TTL, Data: r.Text()})
	}
	return to
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

// referral names the servers that an answer sends to.
func referral(m *dns.Message) string {
	var zone string
	var servers []string
	for _, r := range m.Authority {
		if d, ok := r.Value().(dns.NS); ok {
			zone = r.Name.String()
			if len(servers) < 4 {
				servers = append(servers, d.Host.Host())
			}
		}
	}
	return fmt.Sprintf("referred to the servers of %s: %s", zone, strings.Join(servers, ", "))
}

// unreachable takes an ICMP error about a question (RFC 1122 §4.1.3.3). quoted
// is what it quotes of the datagram's payload.
func (a *Analyzer) unreachable(c *conn, client, server netip.AddrPort, quoted []byte, m icmp.Message) (lookup int) {
	if c.lookup != nil || len(quoted) < 2 || a.wire == nil {
		return 0
	}
	id := uint16(quoted[0])<<8 | uint16(quoted[1])
	as, ok := a.wire.names.asked.get(askKey{client, server, id, 0})
	if !ok || as.ended || as.lookup.handed {
		return 0
	}
	as.ends()
	as.lookup.last, as.lookup.tr.End = a.now, a.time(a.now)
	outcome := trace.StepUnreachable
	if m.PortUnreachable() {
		outcome = trace.StepRefused
	}
	detail := fmt.Sprintf("%s over %s: %s", server, as.transport, m)
	as.step = trace.Step{Outcome: outcome, Text: detail, Duration: trace.Duration(max(a.now-as.at, 0))}
	as.answer = stub.Answer{Outcome: outcome, Text: detail, Kind: stub.Unreachable, Detail: detail}
	return as.lookup.tr.ID
}
