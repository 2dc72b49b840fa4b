package decision

import (
	"net/netip"
	"time"

	"peel/trace"
)

// LookupStarted says that a host name is being looked up.
type LookupStarted struct{ Host string }

// Name is trace.EventLookupStart.
func (*LookupStarted) Name() trace.EventName { return trace.EventLookupStart }

func (d *LookupStarted) fields(c *codec) { c.text(&d.Host) }

// LookupStep is one source asked, or one query sent, and what came of it.
type LookupStep struct {
	// Source is a word of nsswitch.conf such as "files" or "dns", or
	// "--resolve", "literal", "localhost", "name".
	Source trace.StepSource
	// Question is the name and type of a query, such as "example.com. AAAA";
	// Server, Transport ("udp", "tcp") and Attempt, from 1, belong to it.
	Question  string
	Server    netip.AddrPort
	Transport string
	Attempt   uint32
	// Outcome is a word as in trace.Step. Rcode is empty when nobody
	// answered.
	Outcome trace.StepOutcome
	Rcode   string
	// Duration ends when the step is recorded.
	Duration time.Duration
	Answers  []Record
	// Text is the step in one line.
	Text string
}

// Record is a resource record of an answer, in presentation form.
type Record struct {
	Name string
	Type string
	// TTL is in seconds.
	TTL  uint32
	Data string
}

// Name is trace.EventLookupStep.
func (*LookupStep) Name() trace.EventName { return trace.EventLookupStep }

func (d *LookupStep) fields(c *codec) {
	source := string(d.Source) // of a file, so that it may be private
	c.text(&source)
	d.Source = trace.StepSource(source)
	c.text(&d.Question)
	c.addrPort(&d.Server)
	word(c, &d.Transport)
	c.uint32(&d.Attempt)
	word(c, &d.Outcome)
	word(c, &d.Rcode)
	c.duration(&d.Duration)
	list(c, &d.Answers, func(c *codec, r *Record) {
		c.text(&r.Name)
		word(c, &r.Type)
		c.uint32(&r.TTL)
		c.text(&r.Data)
	})
	c.text(&d.Text)
}

func (d *LookupStep) note() string { return d.Text }

// Address is one address that a lookup found.
type Address struct {
	IP netip.Addr
	// Source tells where it came from: "/etc/hosts line 3".
	Source string
	// TTL is in seconds, -1 where there is none.
	TTL int64
	// Why is the rule of RFC 6724 that put it before the next one.
	Why string
}

func addresses(c *codec, p *[]Address) {
	list(c, p, func(c *codec, a *Address) {
		c.addr(&a.IP)
		c.text(&a.Source)
		c.int64(&a.TTL)
		c.text(&a.Why)
	})
}

// LookupEarly says that the addresses of one family are there, and are used
// before the other family's answer (RFC 8305 §3).
type LookupEarly struct{ Addresses []Address }

// Name is trace.EventLookupEarly.
func (*LookupEarly) Name() trace.EventName { return trace.EventLookupEarly }

func (d *LookupEarly) fields(c *codec) { addresses(c, &d.Addresses) }

// LookupEnded says what a name's addresses are, in the order in which they
// are tried.
type LookupEnded struct {
	Addresses []Address
	// Failure is zero when there are addresses, or simply none.
	Failure trace.Failure
	// Partly tells that one family's answer was not waited for.
	Partly bool
}

// Name is trace.EventLookupEnd.
func (*LookupEnded) Name() trace.EventName { return trace.EventLookupEnd }

func (d *LookupEnded) fields(c *codec) {
	addresses(c, &d.Addresses)
	c.failure(&d.Failure)
	c.bool(&d.Partly)
	word(c, &d.Failure.Hint)
}

func (d *LookupEnded) note() string { return d.Failure.Seen }
