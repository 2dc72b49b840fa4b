package host

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// RouterAdvertisement is what a router tells on a link (RFC 4861 §4.2).
type RouterAdvertisement struct {
	// Prefixes are those from which hosts make addresses.
	Prefixes []netip.Prefix
	// Lifetime as a default router; 0 is 30 min, less than 0 is no default
	// router.
	Lifetime time.Duration
	// PrefixLifetime of the addresses; 0 is 24 h.
	PrefixLifetime time.Duration
	// Interval between advertisements; 0 is 200 s.
	Interval time.Duration
	// MTU of the link to tell; 0 tells none.
	MTU int
	// HopLimit to tell; 0 tells none.
	HopLimit uint8
}

// learned is what an advertisement gave, until it expires.
type learned struct {
	addr    netip.Prefix // an address, or
	router  netip.Addr   // a default router
	expires clock.Time
	timer   *clock.Timer
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// solicitedNode is the multicast address at which an address is asked for
// (RFC 4291 §2.7.1).
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

// ndp sends a Neighbor Discovery message on this link: type, flags, target or
// other fixed body, options.
func (i *Interface) ndp(from, to netip.Addr, typ uint8, body []byte) {
	h := i.Host
	p := h.pool.Get(4 + len(body))
	m := p.Extend(4 + len(body))
	m[0], m[1], m[2], m[3] = typ, 0, 0, 0
	copy(m[4:], body)
	binary.BigEndian.PutUint16(m[2:], ^ip.Sum(ip.PseudoSum(from, to, ip.ProtoICMPv6, len(m)), m))
	p.Checksum = packet.Good
	h.Count.ICMPOut++
	d := datagram{src: from, dst: to, proto: ip.ProtoICMPv6, ttl: 255, hop: &hop{out: i, gateway: to, mtu: i.MTU}}
	h.output(p, &d)
}

// linkOption is the source (1) or target (2) link-layer address option.
func linkOption(kind byte, m ethernet.MAC) []byte {
	return []byte{kind, 1, m[0], m[1], m[2], m[3], m[4], m[5]}
}

// solicit asks for a neighbour's MAC (RFC 4861 §7.2.2).
func (i *Interface) solicit(e *neighbour) {
	src, ok := netip.Addr{}, false
	for _, p := range i.addresses {
		if a := p.Addr(); a.Is6() && (a.IsLinkLocalUnicast() == e.addr.IsLinkLocalUnicast() || !ok) {
			src, ok = a, true
		}
	}
	if !ok {
		return
	}
	t := e.addr.As16()
	body := append(append(make([]byte, 4, 28), t[:]...), linkOption(1, i.MAC)...)
	to := solicitedNode(e.addr)
	if e.state == Probe {
		to = e.addr
	}
	i.ndp(src, to, icmp.NeighborSolicit, body)
}

// probeDuplicate asks whether somebody else has the address (RFC 4862 §5.4),
// which is used meanwhile (RFC 4429), and tells the link that it is here.
func (i *Interface) probeDuplicate(a netip.Addr) {
	now := i.Host.Now()
	i.tentative = slices.DeleteFunc(i.tentative, func(t tentative) bool { return t.until < now || t.addr == a })
	i.tentative = append(i.tentative, tentative{a, now.Add(time.Second)})
	t := a.As16()
	i.ndp(netip.IPv6Unspecified(), solicitedNode(a), icmp.NeighborSolicit, append(make([]byte, 4, 20), t[:]...))
}

// tentative is an address that somebody else may turn out to have, until then.
type tentative struct {
	addr  netip.Addr
	until clock.Time
}

// conflict: somebody else has the address too. One that was only just taken is
// given up (RFC 4862 §5.4.5).
func (i *Interface) conflict(a netip.Addr) {
	for _, t := range i.tentative {
		if t.addr == a && i.Host.Now() <= t.until {
			i.Host.tell("ndp.duplicate", i.Name, func() string { return a.String() + " is taken: given up" })
			i.RemoveAddress(a)
			return
		}
	}
	i.Host.tell("ndp.conflict", i.Name, func() string { return "somebody else claims " + a.String() })
}

// inputICMP6 is RFC 4443 and Neighbor Discovery.
func (h *Host) inputICMP6(i *Interface, p *packet.Packet, head int) {
	h.Count.ICMPIn++
	b := p.Bytes()
	m, err := icmp.Parse(b[head:], true)
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	src, dst := ends(b, true)
	switch {
	case m.Type == icmp.Echo6:
		if h.Options.Silent {
			break
		}
		h.echo(p, head, i.zoned(src), dst, icmp.EchoReply6, true)
		return
	case m.Type == icmp.EchoReply6:
		h.pingReply(m, src, b[7])
	case m.Type >= icmp.RouterSolicit && m.Type <= icmp.Redirect6:
		// RFC 4861 §6.1, §7.1: only from this link, which the hop limit
		// proves.
		if i != nil && b[7] == 255 && m.Code == 0 {
			i.inputNDP(m, src, dst)
		}
	case m.IsError():
		if q := m.Quoted(); len(q) >= ip.Header6 && q[0]>>4 == 6 {
			h.quoted(q, true, m, src)
		}
	}
	h.pool.Put(p)
}

func (i *Interface) inputNDP(m icmp.Message, src, dst netip.Addr) {
	var mac ethernet.MAC
	option := m.LinkAddress()
	if option != nil && option[0]&1 != 0 {
		return // of many, and so of nobody
	}
	if option != nil {
		copy(mac[:], option)
	}
	switch m.Type {
	case icmp.NeighborSolicit:
		target, ok := m.Target()
		if !ok || !i.has(target) {
			return
		}
		t := target.As16()
		if src.IsUnspecified() {
			// Somebody probes for our address: it is taken.
			body := append([]byte{0x20, 0, 0, 0}, t[:]...)
			i.ndp(target, allNodes, icmp.NeighborAdvert, append(body, linkOption(2, i.MAC)...))
			return
		}
		if option != nil {
			i.neighbour.learn(src, mac, false, true, true)
		}
		flags := byte(0x60) // solicited, override
		if i.Host.Options.Forward {
			flags |= 0x80
		}
		body := append([]byte{flags, 0, 0, 0}, t[:]...)
		i.ndp(target, src, icmp.NeighborAdvert, append(body, linkOption(2, i.MAC)...))
	case icmp.NeighborAdvert:
		target, ok := m.Target()
		if !ok {
			return
		}
		if i.has(target) {
			i.conflict(target)
			return
		}
		if option != nil {
			i.neighbour.learn(target, mac, m.Body[0]&0x40 != 0, m.Body[0]&0x20 != 0, false)
		}
	case icmp.RouterSolicit:
		if i.RouterAdvertisement != nil {
			if option != nil && !src.IsUnspecified() {
				i.neighbour.learn(src, mac, false, true, true)
			}
			i.advertise()
		}
	case icmp.RouterAdvert:
		if i.AcceptRA && src.IsLinkLocalUnicast() && len(m.Body) >= 12 {
			if option != nil {
				i.neighbour.learn(src, mac, false, true, true)
			}
			i.acceptRA(m.Body, src)
		}
	}
}

// solicitRouters asks for advertisements (RFC 4861 §6.3.7): up to three times,
// four seconds apart.
func (i *Interface) solicitRouters() {
	src := netip.IPv6Unspecified()
	for _, p := range i.addresses {
		if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
			src = p.Addr()
		}
	}
	body := make([]byte, 4, 12)
	if !src.IsUnspecified() {
		body = append(body, linkOption(1, i.MAC)...)
	}
	i.ndp(src, allRouters, icmp.RouterSolicit, body)
	if i.rsSent++; i.rsSent < 3 {
		i.Host.queue.Set(&i.rsTimer, i.Host.Now().Add(4*time.Second))
	}
}

// advertise sends a router advertisement and sets the time of the next.
func (i *Interface) advertise() {
	ra := i.RouterAdvertisement
	if ra == nil || !i.up {
		return
	}
	from := LinkLocal(i.MAC)
	if !i.has(from) {
		return
	}
	seconds := func(d, def time.Duration) uint32 {
		if d < 0 {
			return 0
		}
		return uint32(orDur(d, def) / time.Second)
	}
	b := make([]byte, 12, 128)
	b[0] = ra.HopLimit
	binary.BigEndian.PutUint16(b[2:], uint16(min(seconds(ra.Lifetime, 30*time.Minute), 0xffff)))
	b = append(b, linkOption(1, i.MAC)...)
	if ra.MTU > 0 {
		b = append(b, 5, 1, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(ra.MTU))
	}
	for _, p := range ra.Prefixes {
		life := seconds(ra.PrefixLifetime, 24*time.Hour)
		b = append(b, 3, 4, byte(p.Bits()), 0xc0) // on-link, autonomous
		b = binary.BigEndian.AppendUint32(b, life)
		b = binary.BigEndian.AppendUint32(b, life/2)
		a := p.Masked().Addr().As16()
		b = append(append(b, 0, 0, 0, 0), a[:]...)
	}
	i.ndp(from, allNodes, icmp.RouterAdvert, b)
	i.Host.queue.Set(&i.raTimer, i.Host.Now().Add(orDur(ra.Interval, 200*time.Second)))
}

func orDur(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// maxLearned bounds what advertisements can make of an interface.
const maxLearned = 32

// acceptRA takes a router's word (RFC 4861 §6.3.4, RFC 4862 §5.5.3).
func (i *Interface) acceptRA(b []byte, router netip.Addr) {
	i.rsSent = 3
	i.Host.queue.Stop(&i.rsTimer)
	if b[0] > 0 {
		i.hopLimit = b[0]
	}
	life := time.Duration(binary.BigEndian.Uint16(b[2:])) * time.Second
	i.learn(learned{router: router}, life)
	for o := b[12:]; len(o) >= 8; {
		n := int(o[1]) * 8
		if n == 0 || n > len(o) {
			return
		}
		switch {
		case o[0] == 5:
			if mtu := int(binary.BigEndian.Uint32(o[4:])); mtu >= 1280 && mtu < i.MTU {
				i.MTU = mtu
				i.Host.changes++
			}
		case o[0] == 3 && n == 32:
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2]))
			valid := time.Duration(binary.BigEndian.Uint32(o[4:])) * time.Second
			if o[3]&0x40 != 0 && p.Bits() == 64 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
				i.learn(learned{addr: netip.PrefixFrom(eui64(p, i.MAC), 64)}, valid)
			}
		}
		o = o[n:]
	}
}

// learn keeps an address or a default router for as long as it lives.
func (i *Interface) learn(l learned, life time.Duration) {
	h := i.Host
	l.expires = h.Now().Add(life)
	for n := range i.learned {
		o := &i.learned[n]
		if o.addr != l.addr || o.router != l.router {
			continue
		}
		if left := o.expires.Sub(h.Now()); !l.router.IsValid() && life < left {
			// RFC 4862 §5.5.3 (e): nobody takes an address away at once.
			l.expires = h.Now().Add(max(life, min(left, 2*time.Hour)))
		}
		o.expires = l.expires
		h.queue.Set(o.timer, l.expires)
		return
	}
	if life == 0 || len(i.learned) >= maxLearned || i.has(l.addr.Addr()) {
		return
	}
	l.timer = clock.NewTimer(func(clock.Time) { i.forget(l.addr, l.router) })
	h.queue.Set(l.timer, l.expires)
	i.learned = append(i.learned, l)
	if l.router.IsValid() {
		i.defaultRoute(l.router)
		return
	}
	i.AddAddress(l.addr)
}

func (i *Interface) defaultRoute(router netip.Addr) {
	i.Host.Routes.Add(route.Route{Prefix: netip.MustParsePrefix("::/0"), Gateway: router, Interface: i.Name, Metric: 1024, From: "ra"})
}

func (i *Interface) forget(addr netip.Prefix, router netip.Addr) {
	for n, o := range i.learned {
		if o.addr == addr && o.router == router {
			i.learned = append(i.learned[:n:n], i.learned[n+1:]...)
			break
		}
	}
	if router.IsValid() {
		i.Host.Routes.Remove(func(r route.Route) bool { return r.From == "ra" && r.Gateway == router && r.Interface == i.Name })
		for _, o := range i.learned {
			if o.router.IsValid() {
				i.defaultRoute(o.router)
			}
		}
		return
	}
	i.RemoveAddress(addr.Addr())
}
