// Package filter is a stateful packet filter for a host or a router: ordered
// rules for what comes in, goes through and goes out, and a table of the
// connections that it let pass.
//
// It looks at whole packets: who calls it reassembles fragments first. It does
// not verify checksums, as the caller does or has a card that does, and it
// sends nothing: a rejected packet's Answer is the caller's to send.
package filter

import (
	"fmt"

	"peel/clock"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// Options of a filter. The zero value has the defaults given.
type Options struct {
	Timeouts Timeouts
	// MaxFlows bounds the table; 0 is 65536. When it is full, packets that
	// would begin a flow are dropped.
	MaxFlows int
	// Loose lets a TCP segment in the middle of no known connection begin a
	// flow, as after the filter's restart. Otherwise it is StateInvalid.
	Loose bool
}

// Filter is a packet filter. New makes one that accepts everything; Set gives
// it rules. It is for one goroutine, or for those that share a lock.
type Filter struct {
	loose  bool
	chain  [chains]chain
	flows  table
	now    clock.Time
	counts Stats
	// p is the packet at hand: here, so that lending it to a rule's Match
	// does not allocate.
	p Packet
}

type chain struct {
	policy   Policy
	counts   []Counter
	fallback Counter
}

// New returns a filter without rules.
func New(o Options) *Filter {
	f := &Filter{loose: o.Loose}
	f.flows.init(o.MaxFlows, o.Timeouts)
	return f
}

// Set gives a chain its rules, with counters at 0. Known flows stay. It fails
// on a rule that contradicts itself, and then changes nothing.
func (f *Filter) Set(c Chain, p Policy) error {
	if c >= chains {
		return fmt.Errorf("filter: %v is none", c)
	}
	if p.Default > Reject || p.Answer > Prohibited {
		return fmt.Errorf("filter: %v: default %v with answer %v is none", c, p.Default, p.Answer)
	}
	rules := make([]Rule, len(p.Rules))
	copy(rules, p.Rules)
	for i := range rules {
		r := &rules[i]
		if r.Name == "" {
			r.Name = r.String()
		}
		if err := r.check(); err != nil {
			return fmt.Errorf("filter: %v rule %d (%s): %w", c, i+1, r.Name, err)
		}
		r.Source, r.Destination = r.Source.Masked(), r.Destination.Masked()
	}
	p.Rules = rules
	f.chain[c] = chain{policy: p, counts: make([]Counter, len(rules))}
	return nil
}

// Cause is why a packet got its verdict.
type Cause uint8

const (
	// ByRule: Result.Rule decided.
	ByRule Cause = iota
	// ByDefault: no rule matched.
	ByDefault
	// TableFull: a rule or the default would have accepted it, but the flow
	// that it begins has no room.
	TableFull
	// Malformed: it is not a whole IP packet; Result.Err says why.
	Malformed
)

// Result is what was decided about a packet, and why.
type Result struct {
	Verdict Verdict
	// Answer is what to send for a Reject: Reset or Prohibited. A rejected
	// packet that must not be answered (RFC 1122 §3.2.2) is dropped.
	Answer Answer
	Cause  Cause
	Chain  Chain
	// Rule counts from 1; 0 is none. Name is its name.
	Rule  int
	Name  string
	State State
	// Flow is the ID of the flow that the packet belongs to, begins, or
	// complains about; 0 is none.
	Flow uint64
	// Err is what is wrong with a malformed packet.
	Err error
}

// String tells it: "dropped by input rule 3: no telnet (new)".
func (r Result) String() string {
	s := [...]string{"accepted", "dropped", "rejected"}[min(r.Verdict, Reject)]
	if r.Verdict == Reject {
		s += " with " + r.Answer.String()
	}
	switch r.Cause {
	case ByRule:
		s += fmt.Sprintf(" by %v rule %d: %s", r.Chain, r.Rule, r.Name)
	case ByDefault:
		s += fmt.Sprintf(" by the default of %v", r.Chain)
	case TableFull:
		s += ": the table of flows is full"
	case Malformed:
		return fmt.Sprintf("%s: %v", s, r.Err)
	}
	return s + " (" + r.State.String() + ")"
}

// Check decides about an IP packet on its way through a chain, and takes it
// into account when it is accepted. in and out are interfaces' names, empty
// where there is none. pkt is only read, and not kept. A time before an
// earlier call's counts as that one's.
func (f *Filter) Check(c Chain, pkt []byte, in, out string, now clock.Time) Result {
	f.Expire(now)
	p := &f.p
	*p = Packet{Bytes: pkt, Chain: c, In: in, Out: out, Now: f.now}
	var err error
	if p.IP, err = ip.Parse(pkt); err == nil && p.IP.Total > len(pkt) {
		err = fmt.Errorf("filter: the packet says %d bytes, but only %d are there", p.IP.Total, len(pkt))
	}
	if err == nil && c >= chains {
		err = fmt.Errorf("filter: %v is none", c)
	}
	if err != nil {
		f.counts.Malformed++
		return Result{Verdict: Drop, Cause: Malformed, Chain: c, State: StateInvalid, Err: err}
	}
	p.Transport = p.IP.Payload(pkt)
	k, id := p.dissect()
	var flow int32
	var dir int
	flow, dir, p.State = f.track(k, id)
	r := f.decide(p)
	if flow != 0 {
		r.Flow = f.flows.Serial(flow)
	}
	// Only what passes is remembered: a dropped packet opens no way back.
	if r.Verdict == Accept && (k == opening || k == following) {
		f.keep(&r, p, id, flow, dir)
	}
	p.Bytes, p.Transport = nil, nil
	return r
}

// track finds the packet's flow and state.
func (f *Filter) track(k kind, id key) (flow int32, dir int, s State) {
	switch k {
	case invalid:
		return 0, 0, StateInvalid
	case untracked:
		return 0, 0, StateUntracked
	}
	flow, dir = f.flows.find(id)
	if k == complaining {
		if flow == 0 {
			return 0, 0, StateInvalid
		}
		return flow, dir, StateRelated
	}
	isTCP := id.proto == ip.ProtoTCP
	if flow == 0 {
		// An answer to nothing; a RST begins nothing even when Loose.
		if k == following && !(f.loose && isTCP && !f.p.Flags.Has(tcp.RST)) {
			return 0, 0, StateInvalid
		}
		return 0, 0, StateNew
	}
	fl := f.flows.At(flow)
	switch {
	case isTCP && fl.tcp.reopens(f.p.Flags):
		return flow, dir, StateNew
	case isTCP && !fl.tcp.fits(dir, f.p.Flags):
		return flow, dir, StateInvalid
	case dir == original && !fl.replied:
		return flow, dir, StateNew
	}
	return flow, dir, StateEstablished
}

// decide asks the chain's rules.
func (f *Filter) decide(p *Packet) Result {
	c := &f.chain[p.Chain]
	r := Result{Chain: p.Chain, State: p.State, Cause: ByDefault, Verdict: c.policy.Default, Answer: c.policy.Answer}
	count := &c.fallback
	for i := range c.policy.Rules {
		rule := &c.policy.Rules[i]
		if rule.matches(p) {
			r.Cause, r.Rule, r.Name, r.Verdict, r.Answer = ByRule, i+1, rule.Name, rule.Verdict, rule.Answer
			count = &c.counts[i]
			break
		}
	}
	count.add(len(p.Bytes))
	switch {
	case r.Verdict != Reject:
		r.Answer = Auto
	case !p.answerable():
		r.Verdict, r.Answer = Drop, Auto
	case !p.HasFlags:
		r.Answer = Prohibited
	case r.Answer == Auto:
		r.Answer = Reset
	}
	return r
}

// keep takes an accepted packet into the table.
func (f *Filter) keep(r *Result, p *Packet, id key, i int32, dir int) {
	t := &f.flows
	switch {
	case p.State == StateInvalid:
		return // a rule let it pass; it still belongs to nothing
	case p.State == StateNew && i != 0 && id.proto == ip.ProtoTCP && t.At(i).tcp.reopens(p.Flags):
		t.remove(i)
		i, dir = 0, original
	}
	if i == 0 {
		if t.Len() >= t.limit {
			f.counts.Full++
			r.Verdict, r.Cause = Drop, TableFull
			return
		}
		i = t.add(id, classOther, f.now)
		if id.proto == ip.ProtoTCP {
			t.At(i).tcp.begin(p.Flags, p.ack)
		}
	}
	fl := t.At(i)
	r.Flow = t.Serial(i)
	fl.replied = fl.replied || dir == reply
	fl.count[dir].add(len(p.Bytes))
	c := classOther
	switch id.proto {
	case ip.ProtoTCP:
		c = fl.tcp.next(dir, p.Flags, p.seq, p.ack, fl.replied)
	case ip.ProtoUDP:
		c = classUDP
		if fl.replied {
			c = classUDPReplied
		}
	case ip.ProtoICMP, ip.ProtoICMPv6:
		c = classICMP
	}
	t.Refresh(i, c, f.now)
}

// Expire forgets the flows whose time is over. Check does it, too.
func (f *Filter) Expire(now clock.Time) {
	f.now = max(f.now, now)
	f.flows.expire(f.now)
}

// Next is when the first flow expires, or clock.Never.
func (f *Filter) Next() clock.Time { return f.flows.Next() }

// Flows lists the known flows in the order in which they began.
func (f *Filter) Flows() []Flow { return f.flows.list() }

// Flush forgets all flows.
func (f *Filter) Flush() {
	for _, i := range f.flows.All() {
		f.flows.remove(i)
	}
}

// RuleCount is a rule and what it matched.
type RuleCount struct {
	Rule
	Counter
}

// Rules lists a chain's rules, and what its default decided about.
func (f *Filter) Rules(c Chain) (rules []RuleCount, fallback Counter) {
	if c >= chains {
		return nil, Counter{}
	}
	for i, r := range f.chain[c].policy.Rules {
		rules = append(rules, RuleCount{r, f.chain[c].counts[i]})
	}
	return rules, f.chain[c].fallback
}

// Stats counts what happened to the table since New.
type Stats struct {
	// Flows are those that are known now; Created and Expired count them.
	Flows            int
	Created, Expired uint64
	// Full counts packets that were dropped because the table was full, and
	// Malformed those that were no IP packets.
	Full, Malformed uint64
}

// Stats returns the counts.
func (f *Filter) Stats() Stats {
	s := f.counts
	s.Flows, s.Created, s.Expired = f.flows.Len(), f.flows.Added(), f.flows.expired
	return s
}
