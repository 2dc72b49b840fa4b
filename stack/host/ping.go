package host

import (
	"encoding/binary"
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
	if len(data) > 65507 {
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
	p := h.pool.Get(8 + len(data))
	b := p.Extend(8 + len(data))
	b[0], b[1] = icmp.Echo4, 0
	v6 := to.Is6()
	proto, sum := ip.ProtoICMP, uint16(0)
	if v6 {
		b[0], proto = icmp.Echo6, ip.ProtoICMPv6
		sum = ip.PseudoSum(from, to.WithZone(""), proto, len(b))
	}
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[4:], g.id)
	binary.BigEndian.PutUint16(b[6:], seq)
	copy(b[8:], data)
	binary.BigEndian.PutUint16(b[2:], ^ip.Sum(sum, b))
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
	if g := h.pings[binary.BigEndian.Uint16(m.Body)]; g != nil {
		g.add(Answer{Seq: binary.BigEndian.Uint16(m.Body[2:]), From: from, Data: append([]byte(nil), m.Body[4:]...), TTL: ttl})
	}
}

// quotedPing is an ICMP error about an echo request; q is its header. It tells
// whether that was ours.
func (h *Host) quotedPing(q []byte, m icmp.Message, from netip.Addr) bool {
	if q[0] != icmp.Echo4 && q[0] != icmp.Echo6 {
		return false
	}
	g := h.pings[binary.BigEndian.Uint16(q[4:])]
	if g != nil {
		m.Body = append([]byte(nil), m.Body...)
		g.add(Answer{Seq: binary.BigEndian.Uint16(q[6:]), From: from, Error: &m})
	}
	return g != nil
}
