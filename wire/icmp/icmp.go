// Package icmp is the Internet Control Message Protocol for IPv4 (RFC 792)
// and IPv6 (RFC 4443), with Neighbor Discovery (RFC 4861).
package icmp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"peel/trace"
	"peel/wire/layout"
)

// Message is an ICMP message; Body is what follows the first four bytes.
type Message struct {
	V6         bool
	Type, Code uint8
	Body       []byte
}

// HeaderLen is the length of type, code, checksum and the four bytes whose
// meaning depends on the type.
const HeaderLen = 8

// Parse reads a message.
func Parse(b []byte, v6 bool) (Message, error) {
	if len(b) < HeaderLen {
		return Message{}, fmt.Errorf("icmp: %d bytes are too few for a header of %d", len(b), HeaderLen)
	}
	return Message{v6, b[0], b[1], b[restAt:]}, nil
}

// Types that peel looks at.
const (
	EchoReply4      = 0
	Unreachable4    = 3
	SourceQuench4   = 4
	Redirect4       = 5
	Echo4           = 8
	TimeExceeded4   = 11
	ParameterProb4  = 12
	Timestamp4      = 13
	TimestampReply4 = 14
	Unreachable6    = 1
	TooBig6         = 2
	TimeExceeded6   = 3
	ParameterProb6  = 4
	Echo6           = 128
	EchoReply6      = 129
	RouterSolicit   = 133
	RouterAdvert    = 134
	NeighborSolicit = 135
	NeighborAdvert  = 136
	Redirect6       = 137

	// firstInformation is where ICMPv6's types begin that are no errors
	// (RFC 4443 §2.1).
	firstInformation = 128
)

// Codes of Unreachable4 (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
const (
	NetUnreachable4      = 0
	HostUnreachable4     = 1
	ProtocolUnreachable4 = 2
	PortUnreachable4     = 3
	NeedFragment4        = 4
	NetUnknown4          = 6
	NetProhibited4       = 9
	HostProhibited4      = 10
	NetTOS4              = 11
	Prohibited4          = 13
)

// Codes of Unreachable6 (RFC 4443 §3.1).
const (
	NoRoute6            = 0
	Prohibited6         = 1
	AddressUnreachable6 = 3
	PortUnreachable6    = 4
	SourceRefused6      = 5
	RouteRejected6      = 6
)

// Codes of both versions' TimeExceeded.
const (
	HopsExceeded       = 0
	ReassemblyExceeded = 1
)

// Codes of ParameterProb6 (RFC 4443 §3.4).
const (
	BadField6          = 0
	UnknownNextHeader6 = 1
	UnknownOption6     = 2
)

var types4 = map[uint64]string{
	EchoReply4: "echo reply", Unreachable4: "destination unreachable", SourceQuench4: "source quench", Redirect4: "redirect",
	Echo4: "echo request", 9: "router advertisement", 10: "router solicitation", TimeExceeded4: "time exceeded",
	ParameterProb4: "parameter problem", Timestamp4: "timestamp", TimestampReply4: "timestamp reply",
}

var types6 = map[uint64]string{
	Unreachable6: "destination unreachable", TooBig6: "packet too big", TimeExceeded6: "time exceeded", ParameterProb6: "parameter problem",
	Echo6: "echo request", EchoReply6: "echo reply", 130: "multicast listener query", 131: "multicast listener report",
	132: "multicast listener done", RouterSolicit: "router solicitation", RouterAdvert: "router advertisement",
	NeighborSolicit: "neighbor solicitation", NeighborAdvert: "neighbor advertisement", Redirect6: "redirect",
	143: "multicast listener report v2",
}

var codes4 = map[uint64]string{
	NetUnreachable4: "network unreachable", HostUnreachable4: "host unreachable", ProtocolUnreachable4: "protocol unreachable",
	PortUnreachable4: "port unreachable", NeedFragment4: "fragmentation needed and DF set", 5: "source route failed",
	NetUnknown4: "network unknown", 7: "host unknown", NetProhibited4: "network administratively prohibited",
	HostProhibited4: "host administratively prohibited", NetTOS4: "network unreachable for this TOS",
	12: "host unreachable for this TOS", Prohibited4: "communication administratively prohibited",
}

var codes6 = map[uint64]string{
	NoRoute6: "no route", Prohibited6: "administratively prohibited", 2: "beyond scope of source address",
	AddressUnreachable6: "address unreachable", PortUnreachable6: "port unreachable",
	SourceRefused6: "source address failed policy", RouteRejected6: "reject route",
}

var exceeded = map[uint64]string{HopsExceeded: "hop limit exceeded in transit", ReassemblyExceeded: "fragment reassembly time exceeded"}

// EndsAttempt tells whether the message ends an attempt to connect: it says that
// the packet did not and will not arrive.
func (m Message) EndsAttempt() bool {
	if m.V6 {
		return m.Type == Unreachable6 || m.Type == TimeExceeded6 && m.Code == HopsExceeded
	}
	return m.Type == Unreachable4 && m.Code != NeedFragment4 || m.Type == TimeExceeded4 && m.Code == HopsExceeded
}

// Reason says in words what an error of that type and code reports.
func Reason(v6 bool, typ, code uint8) string {
	types, codes := types4, codes4
	unreachable, exceeds := uint8(Unreachable4), uint8(TimeExceeded4)
	if v6 {
		types, codes, unreachable, exceeds = types6, codes6, Unreachable6, TimeExceeded6
	}
	var word string
	switch typ {
	case unreachable:
		word = codes[uint64(code)]
	case exceeds:
		word = exceeded[uint64(code)]
	}
	if word == "" {
		word = types[uint64(typ)]
	}
	if word == "" {
		return fmt.Sprintf("type %d, code %d", typ, code)
	}
	return word
}

// IsError tells whether the message is about a packet that it quotes.
func (m Message) IsError() bool {
	if m.V6 {
		return m.Type < firstInformation
	}
	switch m.Type {
	case Unreachable4, SourceQuench4, Redirect4, TimeExceeded4, ParameterProb4:
		return true
	}
	return false
}

// Unreachable tells whether the message says that a packet could not be
// delivered.
func (m Message) Unreachable() bool {
	if m.V6 {
		return m.Type == Unreachable6
	}
	return m.Type == Unreachable4
}

// PortUnreachable tells whether it says that nothing listens on the port.
func (m Message) PortUnreachable() bool {
	if m.V6 {
		return m.Unreachable() && m.Code == PortUnreachable6
	}
	return m.Unreachable() && m.Code == PortUnreachable4
}

// Quoted returns the beginning of the packet that an error is about.
func (m Message) Quoted() []byte {
	if !m.IsError() || len(m.Body) < 4 {
		return nil
	}
	return m.Body[4:]
}

// MTU returns the next hop's MTU that a "fragmentation needed" (RFC 1191) or
// "packet too big" message tells, and 0 for others.
func (m Message) MTU() int {
	switch {
	case m.V6 && m.Type == TooBig6:
		return int(binary.BigEndian.Uint32(m.Body))
	case !m.V6 && m.Type == Unreachable4 && m.Code == NeedFragment4:
		return int(binary.BigEndian.Uint16(m.Body[2:]))
	}
	return 0
}

// Target returns the address that a neighbor solicitation or advertisement is
// about.
func (m Message) Target() (netip.Addr, bool) {
	if !m.V6 || m.Type != NeighborSolicit && m.Type != NeighborAdvert || len(m.Body) < neighborLen {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(m.Body[4:neighborLen])), true
}

// LinkAddress returns the source or target link-layer address option of
// Neighbor Discovery (RFC 4861 §4.6.1), or nil.
func (m Message) LinkAddress() []byte {
	at := 0
	switch m.Type {
	case RouterSolicit:
		at = routerSolicitLen
	case RouterAdvert:
		at = routerAdvertLen
	case NeighborSolicit, NeighborAdvert:
		at = neighborLen
	}
	if !m.V6 || at == 0 {
		return nil
	}
	for b := m.Body; len(b) >= at+optUnit; {
		n := int(b[at+1]) * optUnit
		if n == 0 || len(b) < at+n {
			return nil
		}
		if b[at] == optSourceLink || b[at] == optTargetLink {
			return b[at+2 : at+optUnit]
		}
		at += n
	}
	return nil
}

func (m Message) typeName() string {
	t := types4
	if m.V6 {
		t = types6
	}
	if n := t[uint64(m.Type)]; n != "" {
		return n
	}
	return "type " + strconv.Itoa(int(m.Type))
}

func (m Message) codeName() string {
	switch {
	case m.V6 && m.Type == Unreachable6:
		return codes6[uint64(m.Code)]
	case !m.V6 && m.Type == Unreachable4:
		return codes4[uint64(m.Code)]
	case m.V6 && m.Type == TimeExceeded6 || !m.V6 && m.Type == TimeExceeded4:
		return exceeded[uint64(m.Code)]
	}
	return ""
}

// String is the message in one line.
func (m Message) String() string {
	s := m.typeName()
	if c := m.codeName(); c != "" {
		s += ": " + c
	}
	if n := m.MTU(); n > 0 {
		s += fmt.Sprintf(", next MTU %d", n)
	}
	if t, ok := m.Target(); ok {
		if m.Type == NeighborSolicit {
			s = "who has " + t.String() + "?"
		} else {
			s = t.String() + " is here"
		}
		if a := m.LinkAddress(); a != nil {
			s += " (" + layout.HardwareAddr(a) + ")"
		}
	}
	switch {
	case !m.V6 && (m.Type == Echo4 || m.Type == EchoReply4), m.V6 && (m.Type == Echo6 || m.Type == EchoReply6):
		s += fmt.Sprintf(" id=%d seq=%d", m.Identifier(), m.Sequence())
	}
	return s
}

// Fields returns the tree of fields; base is where b stands in the packet.
func Fields(b []byte, v6 bool, base int) []trace.Field {
	m, err := Parse(b, v6)
	if err != nil {
		return nil
	}
	p := "icmp."
	if v6 {
		p = "icmpv6."
	}
	table := []layout.Field{
		{Name: p + "type", Bit: 0, Bits: 8, Meaning: func(uint64) string { return m.typeName() }},
		{Name: p + "code", Bit: 8, Bits: 8, Meaning: func(uint64) string { return m.codeName() }},
		{Name: p + "checksum", Bit: 16, Bits: 16, Kind: layout.Hex},
	}
	switch {
	case !v6 && (m.Type == Echo4 || m.Type == EchoReply4):
		table = append(table, layout.Field{Name: "icmp.ident", Bit: 32, Bits: 16}, layout.Field{Name: "icmp.seq", Bit: 48, Bits: 16})
	case v6 && (m.Type == Echo6 || m.Type == EchoReply6):
		table = append(table, layout.Field{Name: "icmpv6.echo.identifier", Bit: 32, Bits: 16, Kind: layout.Hex}, layout.Field{Name: "icmpv6.echo.sequence_number", Bit: 48, Bits: 16})
	case !v6 && m.Type == Unreachable4 && m.Code == NeedFragment4:
		table = append(table, layout.Field{Name: "icmp.mtu", Bit: 48, Bits: 16})
	case v6 && m.Type == TooBig6:
		table = append(table, layout.Field{Name: "icmpv6.mtu", Bit: 32, Bits: 32})
	case v6 && m.Type == NeighborSolicit:
		table = append(table, layout.Field{Name: "icmpv6.nd.ns.target_address", Bit: 64, Bits: 128, Kind: layout.Addr})
	case v6 && m.Type == NeighborAdvert:
		table = append(table, layout.Field{Name: "icmpv6.nd.na.flag.r", Bit: 32, Bits: 1, Kind: layout.Flag}, layout.Field{Name: "icmpv6.nd.na.flag.s", Bit: 33, Bits: 1, Kind: layout.Flag},
			layout.Field{Name: "icmpv6.nd.na.flag.o", Bit: 34, Bits: 1, Kind: layout.Flag}, layout.Field{Name: "icmpv6.nd.na.target_address", Bit: 64, Bits: 128, Kind: layout.Addr})
	case v6 && m.Type == RouterAdvert:
		table = append(table, layout.Field{Name: "icmpv6.nd.ra.cur_hop_limit", Bit: 32, Bits: 8}, layout.Field{Name: "icmpv6.nd.ra.router_lifetime", Bit: 48, Bits: 16})
	}
	return layout.Tree(b, base, table)
}
