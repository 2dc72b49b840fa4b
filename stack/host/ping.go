package host

import (
	"net/netip"

	"peel/wire/icmp"
	"peel/wire/ip"
)

// Ping is a socket for echo requests. It does not block.
type Ping struct {
	// Wake is called when an answer has come. May be nil.
	Wake func()
	// TTL of what is sent; 0 is the host's.
	TTL uint8

	host    *Host
	id      uint16
	answers []Answer
}

// Answer is a reply to an echo request, or an ICMP error about it.
type Answer struct {
	Seq  uint16
	From netip.Addr
	// Data of a reply, and the TTL it came with.
	Data []byte
	TTL  uint8
	// Error is set when it is an ICMP error.
	Error *icmp.Message
}

// maxAnswers bounds those that wait.
const maxAnswers = 1024

// maxPing is the most data of an echo request, of either version.
const maxPing = ip.MaxLen - ip.MinHeader4 - icmp.HeaderLen

// OpenPing opens a socket with an identifier of its own.
func (h *Host) OpenPing() (*Ping, error) {
	for range 1000 {
		id := uint16(h.entropy())
		if id != 0 && h.pings[id] == nil {
			g := &Ping{host: h, id: id}
			h.pings[id] = g
			return g, nil
		}
	}
	return nil, ErrNoPorts
}

// Close closes the socket.
func (g *Ping) Close() { delete(g.host.pings, g.id) }

// Send sends an echo request.
func (g *Ping) Send(to netip.Addr, seq uint16, data []byte) error {
	if len(data) > maxPing {
		return ErrTooBig
	}
	h := g.host
	n, err := h.route(to)
	if err != nil {
		return err
	}
	from, err := h.sourceOn(n, to)
	if err != nil {
		return err
	}
	p := h.pool.Get(icmp.HeaderLen + len(data))
	b := p.Extend(icmp.HeaderLen + len(data))
	typ, proto, sum := uint8(icmp.Echo4), ip.ProtoICMP, uint16(0)
	if to.Is6() {
		typ, proto = icmp.Echo6, ip.ProtoICMPv6
		sum = ip.PseudoSum(from, to.WithZone(""), proto, len(b))
	}
	icmp.Echo(typ, g.id, seq).Put(b)
	copy(b[icmp.HeaderLen:], data)
	icmp.Seal(b, sum)
	h.Count.ICMPOut++
	return h.output(p, &datagram{src: from, dst: to.WithZone(""), proto: proto, ttl: g.TTL, hop: &n})
}

// Receive returns an answer, or false when none waits.
func (g *Ping) Receive() (Answer, bool) {
	if len(g.answers) == 0 {
		return Answer{}, false
	}
	a := g.answers[0]
	g.answers = g.answers[1:]
	return a, true
}

func (g *Ping) add(a Answer) {
	if len(g.answers) < maxAnswers {
		g.answers = append(g.answers, a)
	}
	if g.Wake != nil {
		g.Wake()
	}
}

func (h *Host) pingReply(m icmp.Message, from netip.Addr, ttl uint8) {
	if g := h.pings[m.Identifier()]; g != nil {
		g.add(Answer{Seq: m.Sequence(), From: from, Data: append([]byte(nil), m.Data()...), TTL: ttl})
	}
}

// quotedPing is an ICMP error m about an echo request q. It tells whether that
// was ours.
func (h *Host) quotedPing(q, m icmp.Message, from netip.Addr) bool {
	if q.Type != icmp.Echo4 && q.Type != icmp.Echo6 {
		return false
	}
	g := h.pings[q.Identifier()]
	if g != nil {
		m.Body = append([]byte(nil), m.Body...)
		g.add(Answer{Seq: q.Sequence(), From: from, Error: &m})
	}
	return g != nil
}
