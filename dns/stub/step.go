package stub

import (
	"fmt"
	"net/netip"
	"strings"

	"peel/clock"
	"peel/dns"
	"peel/trace"
)

// Step is one source asked, one query sent or one message ignored.
type Step struct {
	Source  trace.StepSource
	Outcome trace.StepOutcome

	// The rest down to Chain belongs to queries. Name is the root and Type 0
	// in other steps.
	Name      dns.Name
	Type      dns.Type
	Server    netip.AddrPort
	Transport string // "udp" or "tcp"
	Attempt   int    // from 1
	ID        uint16
	EDNS      bool
	Socket    int
	// Answered tells that Rcode, Answers, Errors and Chain were received.
	Answered bool
	Rcode    dns.Rcode
	Answers  []dns.Resource
	Errors   []dns.ExtendedError
	// Chain is where aliases led, without the name asked for.
	Chain []dns.Name

	// Start is when it was sent, End when it was answered or given up.
	Start, End clock.Time
	// Text is the outcome in one line.
	Text string
}

// String returns the step in one line.
func (s Step) String() string {
	if s.Type == 0 || s.Transport == "" {
		return string(s.Source) + ": " + s.Text
	}
	return "dns: " + Line(s.Name.String()+" "+s.Type.String(), s.Server.String(), s.Transport, s.Attempt, s.End.Sub(s.Start), s.Text)
}

// Trace returns s as the trace has it, with times from start.
func (s Step) Trace(start clock.Time) trace.Step {
	t := trace.Step{
		Time: trace.Time(s.Start.Sub(start)), Duration: trace.Duration(s.End.Sub(s.Start)), Source: s.Source,
		Transport: s.Transport, Attempt: s.Attempt, Outcome: s.Outcome, Text: s.Text, Server: s.Server,
	}
	if s.Type != 0 {
		t.Question = trace.Question{Name: s.Name.String(), Type: s.Type.String()}
	}
	if s.Answered {
		t.Rcode = s.Rcode.String()
	}
	for _, rr := range s.Answers {
		t.Answers = append(t.Answers, trace.Record{Name: rr.Name.String(), Type: rr.Type.String(), TTL: rr.TTL, Data: rr.Text()})
	}
	return t
}

// Result is what a lookup found.
type Result struct {
	// Source is the step's source that had the answer.
	Source trace.StepSource
	// Canonical is the name that the addresses belong to, the root when they
	// do not come from DNS. Chain is how aliases led to it.
	Canonical dns.Name
	Chain     []dns.Name
	// Addresses are in the order in which to try them.
	Addresses []Address
	// Service is the HTTPS record to go by, nil when there is none that can
	// be used.
	Service *dns.SVCB
	// Follow is the name at which the HTTPS records put the service, when its
	// addresses are still to be looked up; the root otherwise.
	Follow dns.Name
}

// Address is one address found.
type Address struct {
	Addr netip.Addr
	// TTL is in seconds, -1 where there is none.
	TTL int64
	// Source tells where it came from: "/etc/hosts line 3", "dns 10.0.0.53:53".
	Source string
	// LocalAddr is the address that packets to it would be sent from, invalid
	// when that is not known.
	LocalAddr netip.Addr
	// Why is the rule that put it before the next one.
	Why string
}

// Trace returns a as the trace has it.
func (a Address) Trace() trace.Address {
	return trace.Address{IP: a.Addr, Source: a.Source, TTL: a.TTL, Why: a.Why}
}

// Kind sorts the ways in which a lookup ends without an address.
type Kind uint8

const (
	NotFound    Kind = iota + 1 // the name does not exist
	NoData                      // it exists without an address of the wanted family
	Timeout                     // no server answered in time
	Refused                     // servers do not answer for this client
	ServFail                    // servers failed to find the answer
	Malformed                   // an answer could not be read, or aliases loop
	Unreachable                 // no server could be reached
	BadName                     // no name at all
	NotAsked                    // only sources that peel does not speak could tell
)

var codes = [...]trace.FailureCode{NotFound: trace.FailNameNotFound, NoData: trace.FailNoData, Timeout: trace.FailTimeout, Refused: trace.FailRefused, ServFail: trace.FailServerFailure,
	Malformed: trace.FailMalformed, Unreachable: trace.FailUnreachable, BadName: trace.FailBadName, NotAsked: trace.FailNotAsked}

// KindOf sorts an answer that brought no address by its response code.
func KindOf(rcode dns.Rcode) Kind {
	switch rcode {
	case dns.RcodeNoError:
		return NoData
	case dns.RcodeNXDomain:
		return NotFound
	case dns.RcodeRefused:
		return Refused
	}
	return ServFail
}

// Outweighs tells which of two questions for one name says more about why the
// name has no address. A loop counts most; then NXDOMAIN, which speaks for all
// types; then a failure, which leaves open what there is; and NODATA only if
// it is true of every type.
func (k Kind) Outweighs(other Kind) bool { return k.weight() > other.weight() }

func (k Kind) weight() int {
	switch k {
	case NoData:
		return 0
	case NotFound:
		return 2
	case Malformed:
		return 3
	}
	return 1
}

// Code returns the word for it in a trace.
func (k Kind) Code() trace.FailureCode {
	if int(k) < len(codes) {
		return codes[k]
	}
	return ""
}

// String returns the same word.
func (k Kind) String() string { return string(k.Code()) }

// Error says why a lookup found no address.
type Error struct {
	Kind Kind
	// Name is the host as it was given.
	Name string
	// Servers lists the servers that were asked, in that order.
	Servers []netip.AddrPort
	// Asked are the types of address that were asked for.
	Asked []dns.Type
	// Detail is what was seen, in one line.
	Detail string
}

// Error returns one line: what was seen and what to try.
func (e *Error) Error() string {
	return fmt.Sprintf("dns: %.300s: %s; %s", e.Name, e.Seen(), e.Try())
}

// Timeout tells whether no server answered in time; it is the method that
// net.Error and os.IsTimeout look for.
func (e *Error) Timeout() bool { return e.Kind == Timeout }

// Seen says what was observed.
func (e *Error) Seen() string {
	var what string
	switch e.Kind {
	case NotFound:
		what = "the name does not exist"
	case NoData:
		what = "the name has no address of the wanted kind"
	case Timeout:
		what = "no name server answered in time"
	case Refused:
		what = "the name servers refuse to answer"
	case ServFail:
		what = "the name servers failed"
	case Malformed:
		what = "the answer is broken"
	case Unreachable:
		what = "no name server can be reached"
	case BadName:
		what = "this is no host name"
	case NotAsked:
		what = "peel cannot ask the source that would know it"
	}
	if len(e.Servers) > 0 {
		parts := make([]string, len(e.Servers))
		for i, s := range e.Servers {
			parts[i] = s.String()
		}
		what += " (asked " + strings.Join(parts, ", ") + ")"
	}
	if e.Detail != "" {
		what += ": " + e.Detail
	}
	return what
}

// Try says what to do about it.
func (e *Error) Try() string {
	switch e.Kind {
	case NotFound:
		return "check the spelling, and whether the name is public or known only inside some network"
	case NoData:
		if len(e.Asked) == 1 {
			return fmt.Sprintf("ask for the other address family, or add a record of type %s to the zone", e.Asked[0])
		}
		return "add an A or AAAA record to the zone"
	case Timeout:
		return "check that the name servers in /etc/resolv.conf run and that port 53 is open to them"
	case Refused:
		return "use a name server that serves this network: see /etc/resolv.conf"
	case ServFail:
		return "ask another name server; if only validating ones fail, the zone's DNSSEC is broken"
	case Malformed:
		return "look at the answer and tell the keeper of the zone or server"
	case Unreachable:
		return "check the addresses in /etc/resolv.conf and that a route leads there"
	case BadName:
		return "labels are 1 to 63 octets, the whole name at most 255"
	case NotAsked:
		return "see the hosts line of /etc/nsswitch.conf, or give the address"
	}
	return ""
}

// Failure returns e as the trace has it.
func (e *Error) Failure() trace.Failure {
	return trace.Failure{Layer: trace.LayerDNS, Code: e.Kind.Code(), Seen: e.Name + ": " + e.Seen(), Try: e.Try(), Hint: e.Hint()}
}

// Hint says what of the program that asked would help.
func (e *Error) Hint() trace.Hint {
	switch e.Kind {
	case Malformed:
		return trace.HintFields
	case NotAsked:
		return trace.HintAddress
	}
	return ""
}

// asked lists the servers of all queries so far.
func (l *Lookup) asked() []netip.AddrPort {
	var out []netip.AddrPort
next:
	for _, s := range l.sockets {
		for _, o := range out {
			if o == s.server {
				continue next
			}
		}
		out = append(out, s.server)
	}
	return out
}
