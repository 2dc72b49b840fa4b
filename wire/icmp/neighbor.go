package icmp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"peel/wire/ethernet"
)

// HopLimit of all Neighbor Discovery: no router has let it by (RFC 4861 §3.1).
const HopLimit = 255

// Options of Neighbor Discovery (RFC 4861 §4.6). Their length counts in units
// of eight bytes.
const (
	optSourceLink = 1
	optTargetLink = 2
	optPrefix     = 3
	optMTU        = 5

	optUnit   = 8
	linkLen   = 1 // in units
	prefixLen = 4
	mtuLen    = 1
)

// Flags of a neighbor advertisement and of a prefix.
const (
	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20

	flagOnLink     = 0x80
	flagAutonomous = 0x40
)

// How much of a message's Body stands before its options.
const (
	routerSolicitLen = 4
	routerAdvertLen  = 12
	neighborLen      = 20
)

// IsNeighborDiscovery tells whether an ICMPv6 type belongs to it.
func IsNeighborDiscovery(t uint8) bool { return t >= RouterSolicit && t <= Redirect6 }

// NeighborSolicitation asks who has an address (RFC 4861 §4.3). The zero MAC
// is not told: nobody may learn one from whom has no address yet.
type NeighborSolicitation struct {
	Target netip.Addr
	Source ethernet.MAC
}

// AppendTo appends the message, without its checksum.
func (n *NeighborSolicitation) AppendTo(b []byte) []byte {
	return appendNeighbor(b, NeighborSolicit, 0, n.Target, optSourceLink, n.Source)
}

// NeighborAdvertisement tells who has an address (RFC 4861 §4.4).
type NeighborAdvertisement struct {
	Target                      netip.Addr
	Link                        ethernet.MAC
	Router, Solicited, Override bool
}

// AppendTo appends the message, without its checksum.
func (n *NeighborAdvertisement) AppendTo(b []byte) []byte {
	flags := byte(0)
	if n.Router {
		flags |= flagRouter
	}
	if n.Solicited {
		flags |= flagSolicited
	}
	if n.Override {
		flags |= flagOverride
	}
	return appendNeighbor(b, NeighborAdvert, flags, n.Target, optTargetLink, n.Link)
}

func appendNeighbor(b []byte, typ, flags byte, target netip.Addr, option byte, m ethernet.MAC) []byte {
	t := target.As16()
	b = append(b, typ, 0, 0, 0, flags, 0, 0, 0)
	return appendLink(append(b, t[:]...), option, m)
}

func appendLink(b []byte, option byte, m ethernet.MAC) []byte {
	if m == (ethernet.MAC{}) {
		return b
	}
	return append(append(b, option, linkLen), m[:]...)
}

// Advertisement reads a neighbor advertisement.
func (m Message) Advertisement() (NeighborAdvertisement, bool) {
	target, ok := m.Target()
	if !ok || m.Type != NeighborAdvert {
		return NeighborAdvertisement{}, false
	}
	f := m.Body[0]
	a := NeighborAdvertisement{Target: target, Router: f&flagRouter != 0, Solicited: f&flagSolicited != 0, Override: f&flagOverride != 0}
	copy(a.Link[:], m.LinkAddress())
	return a, true
}

// RouterSolicitation asks for advertisements (RFC 4861 §4.1).
type RouterSolicitation struct{ Source ethernet.MAC }

// AppendTo appends the message, without its checksum.
func (r *RouterSolicitation) AppendTo(b []byte) []byte {
	return appendLink(append(b, RouterSolicit, 0, 0, 0, 0, 0, 0, 0), optSourceLink, r.Source)
}

// RouterAdvertisement is what a router tells on a link (RFC 4861 §4.2).
type RouterAdvertisement struct {
	// HopLimit and MTU are 0 where the router tells none.
	HopLimit uint8
	MTU      uint32
	// Lifetime as a default router, in whole seconds.
	Lifetime time.Duration
	Source   ethernet.MAC
	Prefixes []Prefix
}

// Prefix is one from which hosts make addresses (RFC 4861 §4.6.2). Lifetimes
// are in whole seconds.
type Prefix struct {
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	Valid, Preferred   time.Duration
}

func seconds(d time.Duration, most uint32) uint32 {
	return uint32(min(max(d, 0)/time.Second, time.Duration(most)))
}

// AppendTo appends the message, without its checksum.
func (r *RouterAdvertisement) AppendTo(b []byte) []byte {
	b = append(b, RouterAdvert, 0, 0, 0, r.HopLimit, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(seconds(r.Lifetime, 0xffff)))
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // neither reachable time nor retransmission timer
	b = appendLink(b, optSourceLink, r.Source)
	if r.MTU > 0 {
		b = append(b, optMTU, mtuLen, 0, 0)
		b = binary.BigEndian.AppendUint32(b, r.MTU)
	}
	for _, p := range r.Prefixes {
		flags := byte(0)
		if p.OnLink {
			flags |= flagOnLink
		}
		if p.Autonomous {
			flags |= flagAutonomous
		}
		a := p.Prefix.Addr().As16()
		b = append(b, optPrefix, prefixLen, byte(p.Prefix.Bits()), flags)
		b = binary.BigEndian.AppendUint32(b, seconds(p.Valid, 0xffffffff))
		b = binary.BigEndian.AppendUint32(b, seconds(p.Preferred, 0xffffffff))
		b = append(append(b, 0, 0, 0, 0), a[:]...)
	}
	return b
}

// RouterAdvertisement reads a router's message; what follows an option that
// overruns it is not read.
func (m Message) RouterAdvertisement() (RouterAdvertisement, bool) {
	if !m.V6 || m.Type != RouterAdvert || len(m.Body) < routerAdvertLen {
		return RouterAdvertisement{}, false
	}
	r := RouterAdvertisement{HopLimit: m.Body[0], Lifetime: time.Duration(binary.BigEndian.Uint16(m.Body[2:])) * time.Second}
	copy(r.Source[:], m.LinkAddress())
	for o := m.Body[routerAdvertLen:]; len(o) >= optUnit; {
		n := int(o[1]) * optUnit
		if n == 0 || n > len(o) {
			break
		}
		switch {
		case o[0] == optMTU:
			r.MTU = binary.BigEndian.Uint32(o[4:])
		case o[0] == optPrefix && n == prefixLen*optUnit:
			r.Prefixes = append(r.Prefixes, Prefix{
				Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2])),
				OnLink: o[3]&flagOnLink != 0, Autonomous: o[3]&flagAutonomous != 0,
				Valid:     time.Duration(binary.BigEndian.Uint32(o[4:])) * time.Second,
				Preferred: time.Duration(binary.BigEndian.Uint32(o[8:])) * time.Second,
			})
		}
		o = o[n:]
	}
	return r, true
}
