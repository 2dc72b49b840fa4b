package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"peel/wire/ip"
	"peel/wire/tcp"
)

// Chain is where in a host or router a packet is looked at.
type Chain uint8

const (
	// Input is for packets to this host.
	Input Chain = iota
	// Forward is for those that a router passes on.
	Forward
	// Output is for those that this host made.
	Output
	chains
)

var chainNames = [chains]string{"input", "forward", "output"}

func (c Chain) String() string {
	if c < chains {
		return chainNames[c]
	}
	return fmt.Sprintf("chain %d", uint8(c))
}

// Verdict is what becomes of a packet.
type Verdict uint8

const (
	// Accept lets it pass.
	Accept Verdict = iota
	// Drop says nothing to the sender.
	Drop
	// Reject drops, and the caller sends the Answer.
	Reject
)

func (v Verdict) String() string {
	switch v {
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Reject:
		return "reject"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Answer is what the sender of a rejected packet gets.
type Answer uint8

const (
	// Auto, in a rule, is a Reset for TCP and Prohibited for the others. In
	// a Result it says that nothing is to be sent.
	Auto Answer = iota
	// Reset is a TCP RST (RFC 9293 §3.10.7.1). What is not TCP gets
	// Prohibited.
	Reset
	// Prohibited is ICMP "communication administratively prohibited": type 3
	// code 13 (RFC 1812 §5.2.7.1), or ICMPv6 type 1 code 1 (RFC 4443 §3.1).
	Prohibited
)

func (a Answer) String() string {
	switch a {
	case Auto:
		return "none"
	case Reset:
		return "TCP RST"
	case Prohibited:
		return "ICMP administratively prohibited"
	}
	return fmt.Sprintf("answer %d", uint8(a))
}

// State is what a packet is to the connections that are known. They are bits,
// so that a rule can name several.
type State uint8

const (
	// StateNew begins a flow, or repeats its beginning: no answer was seen yet.
	StateNew State = 1 << iota
	// StateEstablished belongs to a flow that went in both directions.
	StateEstablished
	// StateRelated is an ICMP error about a packet of a known flow.
	StateRelated
	// StateInvalid belongs to nothing known and cannot begin anything.
	StateInvalid
	// StateUntracked is what flows are not kept for: Neighbor Discovery, multicast
	// listener reports, and ICMP that neither asks, answers nor complains.
	StateUntracked
)

// Has tells whether one of x is in s.
func (s State) Has(x State) bool { return s&x != 0 }

// String names the states: "new", "established,related".
func (s State) String() string {
	var names []string
	for i, n := range [...]string{"new", "established", "related", "invalid", "untracked"} {
		if s&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// Ports is a range of ports, both ends included. The zero value is any port;
// To 0 is From alone.
type Ports struct{ From, To uint16 }

func (r Ports) any() bool { return r == Ports{} }

func (r Ports) has(p uint16) bool { return p >= r.From && p <= max(r.From, r.To) }

func (r Ports) String() string {
	if r.To > r.From {
		return fmt.Sprintf("%d-%d", r.From, r.To)
	}
	return fmt.Sprint(r.From)
}

// Rule decides about the packets that match all of it. The zero value of a
// field matches every packet.
type Rule struct {
	// Name is what a dropped packet's story says; when empty it is made from
	// what the rule matches.
	Name                string
	Source, Destination netip.Prefix
	// Protocol of the payload behind all extension headers. 0 is any:
	// hop-by-hop options are never the payload.
	Protocol ip.Protocol
	// SourcePorts and DestinationPorts match TCP and UDP. A fragment has no
	// ports, so that none can pass on a port's account (RFC 1858).
	SourcePorts, DestinationPorts Ports
	// ICMPTypes need Protocol, as both versions count differently.
	ICMPTypes []uint8
	// In and Out are names of interfaces.
	In, Out string
	// States is one or several of StateNew, StateEstablished, …
	States State
	// FlagsMask selects flags of a TCP segment, which must be FlagsValue.
	FlagsMask, FlagsValue tcp.Flags
	// Match, if not nil, is asked last. The Packet is only lent.
	Match func(*Packet) bool

	Verdict Verdict
	// Answer is for Reject.
	Answer Answer
}

// check tells what is wrong with a rule, so that it cannot silently never
// match.
func (r *Rule) check() error {
	ports := !r.SourcePorts.any() || !r.DestinationPorts.any()
	switch {
	case r.Verdict > Reject:
		return fmt.Errorf("%v is none", r.Verdict)
	case r.Answer > Prohibited:
		return fmt.Errorf("%v is none", r.Answer)
	case ports && r.Protocol != 0 && r.Protocol != ip.ProtoTCP && r.Protocol != ip.ProtoUDP:
		return fmt.Errorf("ports, but %v has none", r.Protocol)
	case r.SourcePorts.To != 0 && r.SourcePorts.To < r.SourcePorts.From:
		return fmt.Errorf("source ports end at %d before they begin at %d", r.SourcePorts.To, r.SourcePorts.From)
	case r.DestinationPorts.To != 0 && r.DestinationPorts.To < r.DestinationPorts.From:
		return fmt.Errorf("destination ports end at %d before they begin at %d", r.DestinationPorts.To, r.DestinationPorts.From)
	case len(r.ICMPTypes) > 0 && r.Protocol != ip.ProtoICMP && r.Protocol != ip.ProtoICMPv6:
		return fmt.Errorf("ICMP types, but the protocol is neither ICMP nor ICMPv6")
	case r.FlagsMask != 0 && r.Protocol != 0 && r.Protocol != ip.ProtoTCP:
		return fmt.Errorf("TCP flags, but the protocol is %v", r.Protocol)
	case r.FlagsValue&^r.FlagsMask != 0:
		return fmt.Errorf("flags %v are wanted, but not in the mask", r.FlagsValue&^r.FlagsMask)
	case r.Source.IsValid() && r.Destination.IsValid() && r.Source.Addr().Is4() != r.Destination.Addr().Is4():
		return fmt.Errorf("%v and %v are of two versions of IP", r.Source, r.Destination)
	}
	return nil
}

// matches asks the cheap questions first.
func (r *Rule) matches(p *Packet) bool {
	switch {
	case r.States != 0 && !r.States.Has(p.State),
		r.Protocol != 0 && r.Protocol != p.IP.Protocol,
		r.In != "" && r.In != p.In,
		r.Out != "" && r.Out != p.Out,
		!r.SourcePorts.any() && !(p.HasPorts && r.SourcePorts.has(p.SourcePort)),
		!r.DestinationPorts.any() && !(p.HasPorts && r.DestinationPorts.has(p.DestinationPort)),
		r.FlagsMask != 0 && !(p.HasFlags && p.Flags&r.FlagsMask == r.FlagsValue),
		len(r.ICMPTypes) > 0 && !(p.HasICMP && slices.Contains(r.ICMPTypes, p.ICMPType)),
		r.Source.IsValid() && !r.Source.Contains(p.IP.Src),
		r.Destination.IsValid() && !r.Destination.Contains(p.IP.Dst):
		return false
	}
	return r.Match == nil || r.Match(p)
}

// String says what the rule matches and does: "TCP to 10.0.0.0/8 port 23: drop".
func (r *Rule) String() string {
	var s []string
	if r.States != 0 {
		s = append(s, r.States.String())
	}
	if r.Protocol != 0 {
		s = append(s, r.Protocol.String())
	}
	if len(r.ICMPTypes) > 0 {
		s = append(s, "type", strings.Trim(strings.ReplaceAll(fmt.Sprint(r.ICMPTypes), " ", ","), "[]"))
	}
	if r.FlagsMask != 0 {
		s = append(s, fmt.Sprintf("flags %v of %v", r.FlagsValue, r.FlagsMask))
	}
	for _, end := range [...]struct {
		word   string
		prefix netip.Prefix
		ports  Ports
	}{{"from", r.Source, r.SourcePorts}, {"to", r.Destination, r.DestinationPorts}} {
		if end.prefix.IsValid() {
			s = append(s, end.word, end.prefix.String())
		} else if !end.ports.any() {
			s = append(s, end.word)
		}
		if !end.ports.any() {
			s = append(s, "port", end.ports.String())
		}
	}
	if r.In != "" {
		s = append(s, "in on", r.In)
	}
	if r.Out != "" {
		s = append(s, "out on", r.Out)
	}
	if r.Match != nil {
		s = append(s, "with a condition")
	}
	if len(s) == 0 {
		s = append(s, "everything")
	}
	return strings.Join(s, " ") + ": " + r.Verdict.String()
}

// Policy is what a chain does: the first rule that matches decides, or
// Default when none does. The zero Policy accepts everything.
type Policy struct {
	Rules   []Rule
	Default Verdict
	// Answer is for a Default of Reject.
	Answer Answer
}

// Counter counts what matched; Bytes are those of IP packets.
type Counter struct{ Packets, Bytes uint64 }

func (c *Counter) add(n int) {
	c.Packets++
	c.Bytes += uint64(n)
}
