package host

import (
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

// ndp sends a Neighbor Discovery message on this link.
func (i *Interface) ndp(from, to netip.Addr, message interface{ AppendTo([]byte) []byte }) {
	h := i.Host
	b := message.AppendTo(make([]byte, 0, 128))
	p := h.pool.Get(len(b))
	m := p.Extend(len(b))
	copy(m, b)
	icmp.Seal(m, ip.PseudoSum(from, to, ip.ProtoICMPv6, len(m)))
	p.Checksum = packet.Good
	h.Count.ICMPOut++
	d := datagram{src: from, dst: to, proto: ip.ProtoICMPv6, ttl: icmp.HopLimit, hop: &hop{out: i, gateway: to, mtu: i.MTU}}
	h.output(p, &d)
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
	to := solicitedNode(e.addr)
	if e.state == Probe {
		to = e.addr
	}
	i.ndp(src, to, &icmp.NeighborSolicitation{Target: e.addr, Source: i.MAC})
}

// probeDuplicate asks whether somebody else has the address (RFC 4862 §5.4),
// which is used meanwhile (RFC 4429), and tells the link that it is here.
func (i *Interface) probeDuplicate(a netip.Addr) {
	now := i.Host.Now()
	i.tentative = slices.DeleteFunc(i.tentative, func(t tentative) bool { return t.until < now || t.addr == a })
	i.tentative = append(i.tentative, tentative{a, now.Add(time.Second)})
	i.ndp(netip.IPv6Unspecified(), solicitedNode(a), &icmp.NeighborSolicitation{Target: a})
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
	b := ip.View(p.Bytes())
	m, err := icmp.Parse(b[head:], true)
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	src, dst := b.Source(), b.Destination()
	switch {
	case m.Type == icmp.Echo6:
		if h.Options.Silent {
			break
		}
		h.echo(p, head, i.zoned(src), dst, icmp.EchoReply6, true)
		return
	case m.Type == icmp.EchoReply6:
		h.pingReply(m, src, b.TTL())
	case icmp.IsNeighborDiscovery(m.Type):
		// RFC 4861 §6.1, §7.1: only from this link, which the hop limit
		// proves.
		if i != nil && b.TTL() == icmp.HopLimit && m.Code == 0 {
			i.inputNDP(m, src, dst)
		}
	case m.IsError():
		if q := ip.View(m.Quoted()); q.Whole() && q.V6() {
			h.quoted(q, m, src)
		}
	}
	h.pool.Put(p)
}

func (i *Interface) inputNDP(m icmp.Message, src, dst netip.Addr) {
	var mac ethernet.MAC
	option := m.LinkAddress()
	if option != nil {
		copy(mac[:], option)
		if mac.Multicast() {
			return // of many, and so of nobody
		}
	}
	switch m.Type {
	case icmp.NeighborSolicit:
		target, ok := m.Target()
		if !ok || !i.has(target) {
			return
		}
		if src.IsUnspecified() {
			// Somebody probes for our address: it is taken.
			i.ndp(target, allNodes, &icmp.NeighborAdvertisement{Target: target, Link: i.MAC, Override: true})
			return
		}
		if option != nil {
			i.neighbour.learn(src, mac, false, true, true)
		}
		i.ndp(target, src, &icmp.NeighborAdvertisement{Target: target, Link: i.MAC, Router: i.Host.Options.Forward, Solicited: true, Override: true})
	case icmp.NeighborAdvert:
		a, ok := m.Advertisement()
		if !ok {
			return
		}
		if i.has(a.Target) {
			i.conflict(a.Target)
			return
		}
		if option != nil {
			i.neighbour.learn(a.Target, mac, a.Solicited, a.Override, false)
		}
	case icmp.RouterSolicit:
		if i.RouterAdvertisement != nil {
			if option != nil && !src.IsUnspecified() {
				i.neighbour.learn(src, mac, false, true, true)
			}
			i.advertise()
		}
	case icmp.RouterAdvert:
		if ra, ok := m.RouterAdvertisement(); ok && i.AcceptRA && src.IsLinkLocalUnicast() {
			if option != nil {
				i.neighbour.learn(src, mac, false, true, true)
			}
			i.acceptRA(&ra, src)
		}
	}
}

// maxSolicitations is how often routers are asked (RFC 4861 §10).
const maxSolicitations = 3

// eui64Bits is the length of the prefix before an identifier made of a MAC.
const eui64Bits = 64

// solicitRouters asks for advertisements (RFC 4861 §6.3.7): up to three times,
// four seconds apart.
func (i *Interface) solicitRouters() {
	src := netip.IPv6Unspecified()
	for _, p := range i.addresses {
		if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
			src = p.Addr()
		}
	}
	m := &icmp.RouterSolicitation{}
	if !src.IsUnspecified() {
		m.Source = i.MAC
	}
	i.ndp(src, allRouters, m)
	if i.rsSent++; i.rsSent < maxSolicitations {
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
	m := &icmp.RouterAdvertisement{HopLimit: ra.HopLimit, MTU: uint32(max(ra.MTU, 0)), Lifetime: orDur(ra.Lifetime, 30*time.Minute), Source: i.MAC}
	life := orDur(ra.PrefixLifetime, 24*time.Hour)
	for _, p := range ra.Prefixes {
		m.Prefixes = append(m.Prefixes, icmp.Prefix{Prefix: p.Masked(), OnLink: true, Autonomous: true, Valid: life, Preferred: life / 2})
	}
	i.ndp(from, allNodes, m)
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
func (i *Interface) acceptRA(ra *icmp.RouterAdvertisement, router netip.Addr) {
	i.rsSent = maxSolicitations
	i.Host.queue.Stop(&i.rsTimer)
	if ra.HopLimit > 0 {
		i.hopLimit = ra.HopLimit
	}
	i.learn(learned{router: router}, ra.Lifetime)
	if mtu := int(ra.MTU); mtu >= ip.MinMTU6 && mtu < i.MTU {
		i.MTU = mtu
		i.Host.changes++
	}
	for _, o := range ra.Prefixes {
		if p := o.Prefix; o.Autonomous && p.Bits() == eui64Bits && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
			i.learn(learned{addr: netip.PrefixFrom(eui64(p, i.MAC), eui64Bits)}, o.Valid)
		}
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
