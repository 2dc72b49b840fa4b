package nat

import (
	"net/netip"

	"peel/stack/packet"
	"peel/wire/ip"
	"peel/wire/tcp"
)

func (n *NAT) outbound(p *packet.Packet) Result {
	b, r, ok := n.read(p, (*NAT).isOutbound)
	if !ok {
		return r
	}
	h := &n.h
	_, toOwn := n.own[h.dst.Addr()]
	switch h.kind {
	case complaining:
		return n.outboundError(p, b, toOwn)
	case other:
		if toOwn {
			return Result{}
		}
		return drop(Unsupported)
	case asking:
		if toOwn {
			return Result{} // the router answers pings itself
		}
	}
	if toOwn {
		return n.hairpin(p, b)
	}
	m, s, reason := n.outboundMapping(h.proto, h.src, h.dst)
	if reason != None {
		return drop(reason)
	}
	n.sent(m, s, len(b))
	return n.finish(p, b, m, Translated, n.t.mappings[m].outside, h.dst)
}

func (n *NAT) isOutbound() bool { return n.isInside(n.ip.Src) }

// hairpin turns a packet from inside to an outside endpoint around, with the
// sender's outside endpoint as its source (RFC 4787 REQ-9 a).
func (n *NAT) hairpin(p *packet.Packet, b []byte) Result {
	h := &n.h
	to := n.t.byOutside[outsideKey{h.proto, h.dst}]
	if to == 0 {
		return n.unknown()
	}
	if n.o.NoHairpin {
		return drop(HairpinOff)
	}
	m, s, reason := n.outboundMapping(h.proto, h.src, h.dst)
	if reason != None {
		return drop(reason)
	}
	n.sent(m, s, len(b))
	src := n.t.mappings[m].outside
	back, permitted := n.permits(to, src)
	if !permitted {
		return drop(Filtered)
	}
	n.received(to, back, len(b))
	return n.finish(p, b, m, Hairpin, src, n.t.mappings[to].inside)
}

func (n *NAT) inbound(p *packet.Packet) Result {
	b, r, ok := n.read(p, (*NAT).isInbound)
	if !ok {
		return r
	}
	h := &n.h
	if _, ok := n.own[h.src.Addr()]; ok {
		return drop(Spoofed)
	}
	switch h.kind {
	case complaining:
		return n.inboundError(p, b)
	case asking, other:
		// No mapping can want it: Neighbor Discovery, or a ping, which the
		// router answers itself.
		return Result{}
	}
	m := n.t.byOutside[outsideKey{h.proto, h.dst}]
	if m == 0 {
		return n.unknown()
	}
	s, permitted := n.permits(m, h.src)
	if !permitted {
		return drop(Filtered)
	}
	n.received(m, s, len(b))
	return n.finish(p, b, m, Translated, h.src, n.t.mappings[m].inside)
}

func (n *NAT) isInbound() bool {
	_, ok := n.own[n.ip.Dst]
	return ok
}

// unknown is what happens to a packet for an outside address without a mapping.
func (n *NAT) unknown() Result {
	h := &n.h
	switch {
	case n.reserved(h.proto, h.dst), n.o.Unknown == PassUnknown:
		return Result{}
	case n.o.Unknown == ResetUnknown && h.proto == ip.ProtoTCP && !h.flags.Has(tcp.RST):
		return Result{Verdict: RejectRST, Reason: NoMapping}
	}
	return drop(NoMapping)
}

func (n *NAT) reserved(p ip.Protocol, outside netip.AddrPort) bool {
	return n.o.Reserved != nil && n.o.Reserved(p, outside)
}

// finish rewrites the packet and tells.
func (n *NAT) finish(p *packet.Packet, b []byte, m int32, v Verdict, src, dst netip.AddrPort) Result {
	h := &n.h
	src, dst = h.keep(src, dst)
	h.rewrite(b, src, dst, p.Checksum == packet.Partial)
	return Result{Verdict: v, Mapping: n.t.mappings[m].serial, Before: h.endpoints(), After: Endpoints{h.proto, src, dst}}
}

// keep leaves the ports of ends that have none.
func (h *header) keep(src, dst netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	if h.srcAt == 0 {
		src = netip.AddrPortFrom(src.Addr(), 0)
	}
	if h.dstAt == 0 {
		dst = netip.AddrPortFrom(dst.Addr(), 0)
	}
	return src, dst
}

// mappingOf finds the mapping of an inside endpoint towards a remote one.
func (n *NAT) mappingOf(p ip.Protocol, inside, remote netip.AddrPort) int32 {
	if len(n.t.forwards) > 0 {
		if m := n.t.forwards[outsideKey{p, inside}]; m != 0 {
			return m
		}
	}
	return n.t.byInside[insideKey{p, inside, n.o.Mapping.of(remote)}]
}

// outboundMapping finds or makes the mapping and the session of a packet from
// inside. A forward has no sessions.
func (n *NAT) outboundMapping(p ip.Protocol, inside, remote netip.AddrPort) (m, s int32, r Reason) {
	t := &n.t
	m = n.mappingOf(p, inside, remote)
	if m != 0 {
		if t.mappings[m].static {
			return m, 0, None
		}
		if s = t.bySession[sessionKey{m, remote}]; s != 0 {
			return m, s, None
		}
	}
	if _, ok := n.permits(m, remote); m != 0 && ok && n.h.flags.Has(tcp.RST) {
		return m, 0, None // it refuses whom the filter let in
	}
	h := t.hosts[inside.Addr()]
	switch {
	case n.h.kind == answering || n.h.flags.Has(tcp.RST):
		return 0, 0, NotOpening
	case t.sessions.Len() >= n.o.MaxSessions:
		return 0, 0, TableFull
	case h != nil && n.o.MaxHostSessions > 0 && h.sessions >= n.o.MaxHostSessions:
		return 0, 0, HostSessions
	}
	if m == 0 {
		if h != nil && n.o.MaxHostPorts > 0 && h.ports >= n.o.MaxHostPorts {
			return 0, 0, HostPorts
		}
		v := version(inside.Addr())
		own := n.byV[v][n.turn[v]%len(n.byV[v])]
		if h != nil {
			own = h.own
		}
		port, ok := n.allocate(p, own, inside.Port())
		if !ok {
			return 0, 0, PortsExhausted
		}
		if h == nil {
			n.turn[v] = (n.turn[v] + 1) % len(n.byV[v])
		}
		m = t.addMapping(mapping{proto: p, inside: inside, outside: netip.AddrPortFrom(n.o.Outside[own], port), remote: n.o.Mapping.of(remote), own: own, created: n.now})
	}
	return m, t.addSession(m, remote, n.now), None
}

// allocate chooses an outside port.
func (n *NAT) allocate(p ip.Protocol, own int, want uint16) (uint16, bool) {
	used, a := n.t.ports(p, own), n.o.Outside[own]
	lo, hi := int(n.o.PortFrom), int(n.o.PortTo)
	if p == ip.ProtoICMP || p == ip.ProtoICMPv6 {
		lo, hi = 0, 65535
	}
	reserved := func(q uint16) bool { return n.reserved(p, netip.AddrPortFrom(a, q)) }
	if !n.o.RandomPorts && int(want) >= lo && int(want) <= hi && !used.has(want) && !reserved(want) {
		return want, true
	}
	start := n.last + 1
	if n.o.Entropy != nil {
		start = lo + int(n.o.Entropy()%uint64(hi-lo+1)) // RFC 6056 §3.3.1
	}
	if start < lo || start > hi {
		start = lo
	}
	port, ok := used.find(lo, hi, start, reserved)
	if ok {
		n.last = int(port)
	}
	return port, ok
}

// permits tells whether a mapping's filter lets a remote endpoint send to it
// (RFC 4787 §5), and which session it has; 0 is none.
func (n *NAT) permits(m int32, remote netip.AddrPort) (s int32, ok bool) {
	if n.t.mappings[m].static {
		return 0, true
	}
	s = n.t.bySession[sessionKey{m, remote}]
	switch {
	case s != 0 || n.o.Filtering == EndpointIndependent:
		return s, true
	case n.o.Filtering == AddressDependent:
		return 0, n.t.permits[permitKey{m, remote.Addr()}] > 0
	}
	return 0, false
}

// sent takes a packet from inside into account: it refreshes the session
// (RFC 4787 REQ-6).
func (n *NAT) sent(m, s int32, size int) {
	n.t.mappings[m].last = n.now
	n.t.mappings[m].out.add(size)
	if s == 0 {
		return
	}
	se, c := n.t.sessions.At(s), n.t.sessions.Class(s)
	if n.t.mappings[m].proto == ip.ProtoTCP {
		c = se.tcp.next(outward, n.h.flags)
	}
	n.t.sessions.Refresh(s, c, n.now)
}

// received takes a packet from outside into account, which refreshes only
// when the options say so, or when a TCP connection opens or closes.
func (n *NAT) received(m, s int32, size int) {
	n.t.mappings[m].last = n.now
	n.t.mappings[m].in.add(size)
	if s == 0 {
		return
	}
	se, c := n.t.sessions.At(s), n.t.sessions.Class(s)
	if n.t.mappings[m].proto == ip.ProtoTCP {
		c = se.tcp.next(inward, n.h.flags)
	}
	if c != n.t.sessions.Class(s) || n.o.InboundRefresh {
		n.t.sessions.Refresh(s, c, n.now)
	}
}
