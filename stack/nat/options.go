package nat

import (
	"fmt"
	"net/netip"
	"time"

	"peel/wire/ip"
)

// Behaviour is how much of the remote endpoint a mapping or its filter
// depends on (RFC 4787 §4.1, §5).
type Behaviour uint8

const (
	// EndpointIndependent does not look at the remote end.
	EndpointIndependent Behaviour = iota
	// AddressDependent looks at its address.
	AddressDependent
	// AddressAndPortDependent looks at both: a "symmetric" NAT.
	AddressAndPortDependent
)

func (b Behaviour) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address and port-dependent"
	}
	return fmt.Sprintf("behaviour %d", uint8(b))
}

// of is the part of a remote endpoint that the behaviour looks at.
func (b Behaviour) of(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	}
	return remote
}

// Unknown is what happens to a packet from outside that no mapping wants.
type Unknown uint8

const (
	// DropUnknown says nothing, so that a TCP peer that opens at the same
	// time can still be met (RFC 5382 REQ-4).
	DropUnknown Unknown = iota
	// ResetUnknown refuses TCP with a RST and drops the others.
	ResetUnknown
	// PassUnknown leaves it to the router itself, untouched.
	PassUnknown
)

// Timeouts is how long a session lasts after what refreshed it. 0 is the
// default.
type Timeouts struct {
	// TCPEstablished is for an open connection; 0 is 7440 s (RFC 5382 REQ-5).
	TCPEstablished time.Duration
	// TCPTransitory is for one being opened or closed, or after a RST; 0 is
	// 240 s (RFC 5382 REQ-5).
	TCPTransitory time.Duration
	// UDP; 0 is 300 s (RFC 4787 REQ-5).
	UDP time.Duration
	// ICMP is for queries; 0 is 60 s (RFC 5508 REQ-2).
	ICMP time.Duration
}

// Forward is a port that is open from outside.
type Forward struct {
	// Protocol is TCP or UDP.
	Protocol ip.Protocol
	// Outside is where packets come in. Without an address it is the first
	// outside address of Inside's version of IP.
	Outside netip.AddrPort
	// Inside is where they go. Two forwards of a protocol cannot go to one
	// endpoint: its answers would not tell which one they belong to.
	Inside netip.AddrPort
}

// Options of a NAT. The zero value of a field is the default given.
type Options struct {
	// Outside are the NAT's own addresses, of either version of IP. Packets
	// of a version without one are not translated. An inside host keeps one
	// address as long as it has a mapping (RFC 4787 REQ-2).
	Outside []netip.Addr
	// Inside says whose packets are translated; empty is everybody's.
	Inside []netip.Prefix
	// Mapping says when an inside endpoint's port outside is used again, and
	// Filtering who may send to it.
	Mapping, Filtering Behaviour
	// RandomPorts draws a port for each mapping. Otherwise the inside port
	// is kept where it is free and in range (RFC 4787 §4.2.1).
	RandomPorts bool
	// PortFrom and PortTo are the range of ports; 0 is 1024 and 65535. ICMP
	// identifiers are not bounded.
	PortFrom, PortTo uint16
	// Reserved tells which ports (or ICMP identifiers, or protocols, with
	// port 0) at outside addresses the router uses itself: they are not given
	// out, and what comes to them is not touched.
	Reserved func(p ip.Protocol, outside netip.AddrPort) bool
	// Entropy draws ports; without it they are counted up.
	Entropy func() uint64
	// NoHairpin drops packets from inside to the outside endpoint of a
	// mapping, which RFC 4787 REQ-9 wants to work.
	NoHairpin bool
	Unknown   Unknown
	// InboundRefresh lets packets from outside keep a session alive
	// (RFC 4787 REQ-6 leaves the choice).
	InboundRefresh bool
	Timeouts       Timeouts
	// MaxSessions bounds all sessions; 0 is 65536. A mapping lasts as long
	// as it has a session, one for each remote endpoint.
	MaxSessions int
	// MaxHostPorts bounds the mappings of an inside host (RFC 6888 REQ-4),
	// and MaxHostSessions its sessions; 0 is no bound.
	MaxHostPorts, MaxHostSessions int
	Forwards                      []Forward
}

func (o *Options) check() error {
	if len(o.Outside) == 0 {
		return fmt.Errorf("nat: no outside address")
	}
	for i, a := range o.Outside {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("nat: %v cannot be an outside address", a)
		}
		for _, b := range o.Outside[:i] {
			if a == b {
				return fmt.Errorf("nat: outside address %v is given twice", a)
			}
		}
	}
	for _, p := range o.Inside {
		if !p.IsValid() {
			return fmt.Errorf("nat: an inside prefix is not valid")
		}
	}
	if o.PortFrom == 0 {
		o.PortFrom = 1024
	}
	if o.PortTo == 0 {
		o.PortTo = 65535
	}
	switch {
	case o.PortTo < o.PortFrom:
		return fmt.Errorf("nat: ports end at %d before they begin at %d", o.PortTo, o.PortFrom)
	case o.Mapping > AddressAndPortDependent:
		return fmt.Errorf("nat: mapping %v is none", o.Mapping)
	case o.Filtering > AddressAndPortDependent:
		return fmt.Errorf("nat: filtering %v is none", o.Filtering)
	}
	if o.MaxSessions <= 0 {
		o.MaxSessions = 65536
	}
	o.MaxSessions = min(o.MaxSessions, 1<<30) // an index fits an int32
	return nil
}
