package host

import (
	"errors"
	"net/netip"

	"peel/stack/link"
	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// errorFor answers a packet with an ICMP error and puts it back.
func (h *Host) errorFor(p *packet.Packet, in *Interface, e icmp.Header) {
	b := ip.View(p.Bytes())
	v6 := b.V6()
	src, dst := b.Source(), b.Destination()
	if h.Options.Observe != nil || h.Trace.Watching() {
		m := e.Message(v6)
		h.report(p, in, link.Dropped, m.String)
		h.tell("icmp", in.name(), func() string { return m.String() + ", about a packet to " + dst.String() })
	}
	if !h.mayReport(b, in, v6) || h.Options.Silent {
		h.pool.Put(p)
		return
	}
	if !h.icmpTokens.take(h.Now(), h.Options.ICMPRate) {
		h.Count.ICMPLimited++
		h.pool.Put(p)
		return
	}
	// RFC 1812 §4.3.2.3: as much as fits into 576 bytes; RFC 4443 §2.4 (c):
	// into the least MTU.
	most := ip.MinMTU4 - ip.MinHeader4
	if v6 {
		most = ip.MinMTU6 - ip.Header6
	}
	n := min(most, icmp.HeaderLen+len(b))
	q := h.pool.Get(n)
	m := q.Extend(n)
	e.Put(m)
	copy(m[icmp.HeaderLen:], b)
	from := dst
	if h.local[dst] == nil {
		from = netip.Addr{}
		if in != nil {
			if a, ok := in.sourceFor(src); ok && !v6 {
				from = a
			}
		}
	}
	h.pool.Put(p)
	h.sendICMP(q, from, in.zoned(src), v6)
}

// mayReport tells whether an error may be sent about a packet
// (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
func (h *Host) mayReport(b ip.View, in *Interface, v6 bool) bool {
	src, dst := b.Source(), b.Destination()
	if src.IsUnspecified() || src.IsMulticast() || src.IsLoopback() || dst.IsMulticast() {
		return false
	}
	if v6 {
		pk, err := ip.Parse(b)
		if err != nil {
			return true
		}
		return pk.Protocol != ip.ProtoICMPv6 || len(b) <= pk.HeaderLen || !isError(b[pk.HeaderLen:], true)
	}
	if in != nil && (in.isBroadcast(src) || in.isBroadcast(dst)) {
		return false
	}
	if b.FragmentOffset() > 0 {
		return false // not the first fragment
	}
	head := b.HeaderLen()
	return b.Protocol() != ip.ProtoICMP || len(b) <= head || !isError(b[head:], false)
}

// isError tells whether an ICMP message, of which one byte is there at least,
// is about a packet.
func isError(b []byte, v6 bool) bool {
	return icmp.Message{V6: v6, Type: icmp.TypeOf(b)}.IsError()
}

// sendICMP fills in the checksum and sends a message; from may be zero.
func (h *Host) sendICMP(p *packet.Packet, from, to netip.Addr, v6 bool) error {
	n, err := h.route(to)
	if err == nil && !from.IsValid() {
		from, err = h.sourceOn(n, to)
	}
	if err != nil {
		h.pool.Put(p)
		return err
	}
	to = to.WithZone("")
	m := p.Bytes()
	sum := uint16(0)
	proto := ip.ProtoICMP
	if v6 {
		proto = ip.ProtoICMPv6
		sum = ip.PseudoSum(from, to, proto, len(m))
	}
	icmp.Seal(m, sum)
	p.Checksum = packet.Good
	h.Count.ICMPOut++
	d := datagram{src: from, dst: to, proto: proto, hop: &n}
	if v6 && icmp.IsNeighborDiscovery(icmp.TypeOf(m)) {
		d.ttl = icmp.HopLimit
	}
	return h.output(p, &d)
}

// unreachable answers packets whose next hop did not answer.
func (h *Host) unreachable(p *packet.Packet, out *Interface) {
	b := ip.View(p.Bytes())
	src, dst := b.Source(), b.Destination()
	e := icmp.Header{Type: icmp.Unreachable4, Code: icmp.HostUnreachable4}
	if b.V6() {
		e = icmp.Header{Type: icmp.Unreachable6, Code: icmp.AddressUnreachable6}
	}
	if h.local[src] != nil {
		// It was ours: tell the socket as if ICMP had.
		h.quoted(b, e.Message(b.V6()), src)
		if h.NAT == nil || out.Name != h.NAT.Outside {
			h.dropped(p, out, "the next hop to "+dst.String()+" does not answer")
			return
		}
		// Or it was translated, and somebody's inside, who is told from there.
		for _, i := range h.interfaces {
			if _, ok := i.sourceFor(src); ok && i != out {
				out = i
				break
			}
		}
	}
	h.errorFor(p, out, e)
}

// inputICMP4 is RFC 792 and RFC 1122 §3.2.2.
func (h *Host) inputICMP4(i *Interface, p *packet.Packet, head int) {
	b := ip.View(p.Bytes())
	h.Count.ICMPIn++
	if len(b) < head+icmp.HeaderLen || !ip.Right(0, b[head:]) {
		h.Count.InChecksumErrors++
		h.dropped(p, i, "ICMP checksum")
		return
	}
	m, err := icmp.Parse(b[head:], false)
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	src, dst := b.Source(), b.Destination()
	switch {
	case m.Type == icmp.Echo4:
		if h.Options.Silent || h.local[dst] == nil {
			break // RFC 1122 §3.2.2.6 lets broadcast pings go unanswered
		}
		h.echo(p, head, src, dst, icmp.EchoReply4, false)
		return
	case m.Type == icmp.EchoReply4:
		h.pingReply(m, src, b.TTL())
	case m.IsError():
		if q := ip.View(m.Quoted()); q.Whole() && q.V4() {
			h.quoted(q, m, src)
		}
	}
	h.pool.Put(p)
}

// echo turns a request into its reply.
func (h *Host) echo(p *packet.Packet, head int, src, dst netip.Addr, typ uint8, v6 bool) {
	p.Strip(head)
	p.ID = 0
	icmp.SetType(p.Bytes(), typ)
	from := dst
	if dst.IsMulticast() {
		from = netip.Addr{}
	}
	h.sendICMP(p, from, src, v6)
}

// quoted brings an ICMP error to the socket that the quoted packet was from. An
// error about what no socket sent is forged, or late (RFC 5927 §4).
func (h *Host) quoted(q ip.View, m icmp.Message, from netip.Addr) {
	head, proto := q.HeaderLen(), q.Protocol()
	if proto == ip.ProtoFragment && q.V6() && len(q) >= head+ip.FragmentLen {
		proto, head = ip.ParseFragment(q[head:]).Next, head+ip.FragmentLen
	}
	if q.FragmentOffset() > 0 {
		return
	}
	src, dst := q.Source(), q.Destination()
	if h.local[src] == nil || len(q) < head+ip.QuotedLen {
		return
	}
	mtu := m.MTU()
	if mtu == 0 && q.V4() && m.Type == icmp.Unreachable4 && m.Code == icmp.NeedFragment4 {
		mtu = plateau(q.Total())
	}
	t := q[head:]
	sport, dport := ip.Ports(t)
	local, remote := netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	switch proto {
	case ip.ProtoTCP:
		h.quotedTCP(local, remote, tcp.Segment(t).Seq(), m, mtu, from)
	case ip.ProtoUDP:
		if h.quotedUDP(local, remote, m, from) && mtu > 0 && !h.Options.NoPathMTU {
			h.learnPathMTU(dst, mtu)
		}
	case ip.ProtoICMP, ip.ProtoICMPv6:
		if e, err := icmp.Parse(t, q.V6()); err == nil && h.quotedPing(e, m, from) && mtu > 0 && !h.Options.NoPathMTU {
			h.learnPathMTU(dst, mtu)
		}
	}
}

// plateau guesses the next MTU below a packet's, for routers that tell none
// (RFC 1191 §7.1).
func plateau(total int) int {
	for _, n := range [...]int{32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296} {
		if n < total {
			return n
		}
	}
	return 68
}

// icmpError is what an ICMP error means for a socket.
func icmpError(m icmp.Message) error {
	if m.V6 {
		switch {
		case m.Type == icmp.Unreachable6 && m.Code == icmp.PortUnreachable6:
			return ErrRefused
		case m.Type == icmp.Unreachable6 && (m.Code == icmp.Prohibited6 || m.Code == icmp.SourceRefused6 || m.Code == icmp.RouteRejected6):
			return ErrProhibited
		case m.Type == icmp.Unreachable6 && m.Code == icmp.NoRoute6:
			return ErrUnreachable
		}
		return ErrNoRoute
	}
	switch {
	case m.Type == icmp.Unreachable4 && (m.Code == icmp.ProtocolUnreachable4 || m.Code == icmp.PortUnreachable4):
		return ErrRefused
	case m.Type == icmp.Unreachable4 && (m.Code == icmp.NetProhibited4 || m.Code == icmp.HostProhibited4 || m.Code == icmp.Prohibited4):
		return ErrProhibited
	case m.Type == icmp.Unreachable4 && (m.Code == icmp.NetUnreachable4 || m.Code == icmp.NetUnknown4 || m.Code == icmp.NetTOS4):
		return ErrUnreachable
	}
	return ErrNoRoute
}

// ErrRefused is what a datagram socket gets when the peer's port is closed.
var ErrRefused = errors.New("host: connection refused")
