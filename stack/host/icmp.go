package host

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"peel/stack/link"
	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// errorFor answers a packet with an ICMP error and puts it back. The four
// bytes behind the checksum are extra: an MTU or a pointer.
func (h *Host) errorFor(p *packet.Packet, in *Interface, typ, code uint8, extra uint32) {
	b := p.Bytes()
	v6 := b[0]>>4 == 6
	if h.Options.Observe != nil || h.Trace.Watching() {
		m := icmp.Message{V6: v6, Type: typ, Code: code, Body: binary.BigEndian.AppendUint32(nil, extra)}
		_, dst := ends(b, v6)
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
	src, dst := ends(b, v6)
	// RFC 1812 §4.3.2.3: as much as fits into 576 bytes; RFC 4443 §2.4 (c):
	// into the least MTU.
	most := 576 - 20 - 8
	if v6 {
		most = 1280 - 40 - 8
	}
	q := h.pool.Get(8 + min(most, len(b)))
	m := q.Extend(8 + min(most, len(b)))
	m[0], m[1], m[2], m[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], extra)
	copy(m[8:], b)
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
func (h *Host) mayReport(b []byte, in *Interface, v6 bool) bool {
	src, dst := ends(b, v6)
	if src.IsUnspecified() || src.IsMulticast() || src.IsLoopback() || dst.IsMulticast() {
		return false
	}
	if v6 {
		pk, err := ip.Parse(b)
		if err != nil {
			return true
		}
		return pk.Protocol != ip.ProtoICMPv6 || len(b) <= pk.HeaderLen || b[pk.HeaderLen] >= 128
	}
	if in != nil && (in.isBroadcast(src) || in.isBroadcast(dst)) {
		return false
	}
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return false // not the first fragment
	}
	head := int(b[0]&15) * 4
	if b[9] != byte(ip.ProtoICMP) || len(b) <= head {
		return true
	}
	return !icmp.Message{Type: b[head]}.IsError()
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
	m[2], m[3] = 0, 0
	sum := uint16(0)
	proto := ip.ProtoICMP
	if v6 {
		proto = ip.ProtoICMPv6
		sum = ip.PseudoSum(from, to, proto, len(m))
	}
	binary.BigEndian.PutUint16(m[2:], ^ip.Sum(sum, m))
	p.Checksum = packet.Good
	h.Count.ICMPOut++
	d := datagram{src: from, dst: to, proto: proto, hop: &n}
	if v6 && m[0] >= icmp.RouterSolicit && m[0] <= icmp.Redirect6 {
		d.ttl = 255 // RFC 4861 §3.1
	}
	return h.output(p, &d)
}

// unreachable answers packets whose next hop did not answer.
func (h *Host) unreachable(p *packet.Packet, out *Interface) {
	b := p.Bytes()
	v6 := b[0]>>4 == 6
	src, dst := ends(b, v6)
	if h.local[src] != nil {
		// It was ours: tell the socket as if ICMP had.
		h.quoted(b, v6, icmp.Message{V6: v6, Type: map[bool]uint8{false: icmp.Unreachable4, true: icmp.Unreachable6}[v6], Code: map[bool]uint8{false: 1, true: 3}[v6], Body: make([]byte, 4)}, src)
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
	if v6 {
		h.errorFor(p, out, icmp.Unreachable6, 3, 0)
	} else {
		h.errorFor(p, out, icmp.Unreachable4, 1, 0)
	}
}

// inputICMP4 is RFC 792 and RFC 1122 §3.2.2.
func (h *Host) inputICMP4(i *Interface, p *packet.Packet, head int) {
	b := p.Bytes()
	h.Count.ICMPIn++
	if len(b) < head+icmp.HeaderLen || ip.Sum(0, b[head:]) != 0xffff {
		h.Count.InChecksumErrors++
		h.dropped(p, i, "ICMP checksum")
		return
	}
	m, err := icmp.Parse(b[head:], false)
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	src, dst := ends(b, false)
	switch {
	case m.Type == icmp.Echo4:
		if h.Options.Silent || h.local[dst] == nil {
			break // RFC 1122 §3.2.2.6 lets broadcast pings go unanswered
		}
		h.echo(p, head, src, dst, icmp.EchoReply4, false)
		return
	case m.Type == icmp.EchoReply4:
		h.pingReply(m, src, b[8])
	case m.IsError():
		if q := m.Quoted(); len(q) >= ip.MinHeader4 && q[0]>>4 == 4 {
			h.quoted(q, false, m, src)
		}
	}
	h.pool.Put(p)
}

// echo turns a request into its reply.
func (h *Host) echo(p *packet.Packet, head int, src, dst netip.Addr, typ uint8, v6 bool) {
	p.Strip(head)
	p.ID = 0
	p.Bytes()[0] = typ
	from := dst
	if dst.IsMulticast() {
		from = netip.Addr{}
	}
	h.sendICMP(p, from, src, v6)
}

// quoted brings an ICMP error to the socket that the quoted packet was from. An
// error about what no socket sent is forged, or late (RFC 5927 §4).
func (h *Host) quoted(q []byte, v6 bool, m icmp.Message, from netip.Addr) {
	head, proto := 0, ip.Protocol(0)
	if v6 {
		if len(q) < ip.Header6 {
			return
		}
		head, proto = ip.Header6, ip.Protocol(q[6])
		if proto == ip.ProtoFragment && len(q) >= ip.Header6+8 {
			proto, head = ip.Protocol(q[ip.Header6]), head+8
		}
	} else {
		head, proto = int(q[0]&15)*4, ip.Protocol(q[9])
		if binary.BigEndian.Uint16(q[6:])&0x1fff != 0 {
			return
		}
	}
	src, dst := ends(q, v6)
	if h.local[src] == nil || len(q) < head+8 {
		return
	}
	mtu := m.MTU()
	if mtu == 0 && !v6 && m.Type == icmp.Unreachable4 && m.Code == 4 {
		mtu = plateau(int(binary.BigEndian.Uint16(q[2:])))
	}
	local := netip.AddrPortFrom(src, binary.BigEndian.Uint16(q[head:]))
	remote := netip.AddrPortFrom(dst, binary.BigEndian.Uint16(q[head+2:]))
	switch proto {
	case ip.ProtoTCP:
		h.quotedTCP(local, remote, binary.BigEndian.Uint32(q[head+4:]), m, mtu, from)
	case ip.ProtoUDP:
		if h.quotedUDP(local, remote, m, from) && mtu > 0 && !h.Options.NoPathMTU {
			h.learnPathMTU(dst, mtu)
		}
	case ip.ProtoICMP, ip.ProtoICMPv6:
		if h.quotedPing(q[head:], m, from) && mtu > 0 && !h.Options.NoPathMTU {
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
		case m.Type == icmp.Unreachable6 && m.Code == 4:
			return ErrRefused
		case m.Type == icmp.Unreachable6 && (m.Code == 1 || m.Code == 5 || m.Code == 6):
			return ErrProhibited
		case m.Type == icmp.Unreachable6 && m.Code == 0:
			return ErrUnreachable
		}
		return ErrNoRoute
	}
	switch {
	case m.Type == icmp.Unreachable4 && (m.Code == 2 || m.Code == 3):
		return ErrRefused
	case m.Type == icmp.Unreachable4 && (m.Code == 9 || m.Code == 10 || m.Code == 13):
		return ErrProhibited
	case m.Type == icmp.Unreachable4 && (m.Code == 0 || m.Code == 6 || m.Code == 11):
		return ErrUnreachable
	}
	return ErrNoRoute
}

// ErrRefused is what a datagram socket gets when the peer's port is closed.
var ErrRefused = errors.New("host: connection refused")
