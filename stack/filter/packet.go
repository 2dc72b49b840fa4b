package filter

import (
	"net/netip"

	"peel/clock"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// Packet is what a rule's Match gets to see.
type Packet struct {
	IP ip.Packet
	// Bytes is the whole packet and Transport what follows its IP headers,
	// without padding.
	Bytes, Transport []byte
	// HasPorts tells that a TCP or UDP header was read.
	HasPorts                    bool
	SourcePort, DestinationPort uint16
	// HasFlags tells that a TCP header was read.
	HasFlags bool
	Flags    tcp.Flags
	// HasICMP tells that an ICMP header was read.
	HasICMP            bool
	ICMPType, ICMPCode uint8
	Chain              Chain
	In, Out            string
	State              State
	Now                clock.Time

	ack uint32
	seq uint32
}

// kind is what a packet is to connection tracking, before the table is asked.
type kind uint8

const (
	// invalid belongs to nothing.
	invalid kind = iota
	// untracked is let by.
	untracked
	// opening may begin a flow.
	opening
	// following needs a flow that is known.
	following
	// complaining is an ICMP error; the key is that of the packet it quotes.
	complaining
)

// key is one direction of a flow as its packets show it.
type key struct {
	src, dst netip.Addr
	// Ports, or the identifier of an ICMP query in both; 0 for protocols
	// without ports.
	from, to uint16
	proto    ip.Protocol
	// query is the type of an ICMP query or answer: two hosts that ping each
	// other with the same identifier are two flows.
	query uint8
}

func (k key) reverse() key {
	k.src, k.dst, k.from, k.to = k.dst, k.src, k.to, k.from
	if k.proto == ip.ProtoICMP || k.proto == ip.ProtoICMPv6 {
		k.query, _ = counterpart(k.proto, k.query)
	}
	return k
}

// counterpart gives the type that answers a query, or is answered by it, and
// tells whether t is the query.
func counterpart(p ip.Protocol, t uint8) (other uint8, query bool) {
	if p == ip.ProtoICMP {
		switch t {
		case icmp.Echo4:
			return icmp.EchoReply4, true
		case icmp.EchoReply4:
			return icmp.Echo4, false
		case icmp.Timestamp4:
			return icmp.TimestampReply4, true
		case icmp.TimestampReply4:
			return icmp.Timestamp4, false
		}
	}
	if t == icmp.Echo6 {
		return icmp.EchoReply6, true
	}
	return icmp.Echo6, false
}

// isQuery tells whether an ICMP message has an identifier.
func isQuery(p ip.Protocol, t uint8) bool {
	if p == ip.ProtoICMP {
		return t == icmp.Echo4 || t == icmp.EchoReply4 || t == icmp.Timestamp4 || t == icmp.TimestampReply4
	}
	return t == icmp.Echo6 || t == icmp.EchoReply6
}

// dissect reads the transport header. p.IP and p.Transport are there.
func (p *Packet) dissect() (kind, key) {
	h, b := &p.IP, p.Transport
	k := key{src: h.Src, dst: h.Dst, proto: h.Protocol}
	// A fragment shows its ports at best to the first rule that asks, and
	// its rest to none (RFC 1858): the caller reassembles first.
	if h.Fragment {
		return invalid, k
	}
	switch h.Protocol {
	case ip.ProtoTCP:
		s, err := tcp.Parse(b)
		if err != nil {
			return invalid, k
		}
		p.HasPorts, p.HasFlags = true, true
		p.SourcePort, p.DestinationPort, p.Flags = s.SourcePort(), s.DestinationPort(), s.Flags()
		p.seq, p.ack = s.Seq(), s.Ack()
		k.from, k.to = p.SourcePort, p.DestinationPort
		switch {
		case !sane(p.Flags):
			return invalid, k
		case p.Flags.Has(tcp.SYN) && !p.Flags.Has(tcp.ACK):
			return opening, k
		}
		return following, k
	case ip.ProtoUDP:
		d, err := udp.Parse(b)
		if err != nil {
			return invalid, k
		}
		p.HasPorts, p.SourcePort, p.DestinationPort = true, d.SourcePort(), d.DestinationPort()
		k.from, k.to = p.SourcePort, p.DestinationPort
		return opening, k
	case ip.ProtoICMP, ip.ProtoICMPv6:
		v6 := h.Protocol == ip.ProtoICMPv6
		if v6 != (h.Version == 6) {
			return invalid, k // RFC 4443 §1: each version has its own
		}
		m, err := icmp.Parse(b, v6)
		if err != nil {
			return invalid, k
		}
		p.HasICMP, p.ICMPType, p.ICMPCode = true, m.Type, m.Code
		switch {
		case m.IsError():
			return p.quoted(m)
		case isQuery(h.Protocol, m.Type):
			id := m.Identifier()
			k.from, k.to, k.query = id, id, m.Type
			if _, query := counterpart(h.Protocol, m.Type); !query {
				return following, k
			}
			return opening, k
		}
		return untracked, k
	}
	return opening, k
}

// quoted reads the key of the packet that an ICMP error is about.
func (p *Packet) quoted(m icmp.Message) (kind, key) {
	q := m.Quoted()
	h, err := ip.Parse(q)
	if err != nil || h.Version != p.IP.Version || h.Fragment && h.FragmentOffset > 0 {
		return invalid, key{}
	}
	// RFC 1122 §3.2.2: an error goes to the source of what it is about. One
	// that goes elsewhere would open a way to a host that is in no flow.
	if h.Src != p.IP.Dst {
		return invalid, key{}
	}
	k := key{src: h.Src, dst: h.Dst, proto: h.Protocol}
	b := h.Payload(q)
	switch h.Protocol {
	case ip.ProtoTCP, ip.ProtoUDP:
		if len(b) < ip.QuotedLen {
			return invalid, key{}
		}
		k.from, k.to = ip.Ports(b)
	case ip.ProtoICMP, ip.ProtoICMPv6:
		// RFC 1122 §3.2.2: no error is about an error.
		query, err := icmp.Parse(b, h.Protocol == ip.ProtoICMPv6)
		if err != nil || !isQuery(h.Protocol, query.Type) {
			return invalid, key{}
		}
		id := query.Identifier()
		k.from, k.to, k.query = id, id, query.Type
	}
	return complaining, k
}

// sane tells whether any TCP sends these flags together (RFC 9293 §3.10.7):
// exactly one of SYN, FIN and RST or none, and ACK with all but SYN and RST.
func sane(f tcp.Flags) bool {
	switch f & (tcp.SYN | tcp.FIN | tcp.RST) {
	case tcp.SYN, tcp.RST:
		return true
	case tcp.FIN, 0:
		return f.Has(tcp.ACK)
	}
	return false
}

// answerable tells whether an answer may be sent at all (RFC 1122 §3.2.2,
// RFC 4443 §2.4): not about an error, nor a fragment, nor to many, nor to
// nobody; and no RST for a RST (RFC 9293 §3.10.7.1).
func (p *Packet) answerable() bool {
	src, dst := p.IP.Src, p.IP.Dst
	switch {
	case p.IP.Fragment && p.IP.FragmentOffset > 0,
		dst.IsMulticast() || dst == ip.Broadcast4(),
		src.IsUnspecified() || src.IsMulticast() || src == ip.Broadcast4(),
		p.HasFlags && p.Flags.Has(tcp.RST):
		return false
	case p.IP.Protocol == ip.ProtoICMP || p.IP.Protocol == ip.ProtoICMPv6:
		m := icmp.Message{V6: p.IP.Version == 6, Type: p.ICMPType}
		return p.HasICMP && !m.IsError() && !(m.V6 && m.Type == icmp.Redirect6)
	}
	return true
}
