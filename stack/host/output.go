package host

import (
	"errors"
	"net/netip"

	"peel/clock"
	"peel/stack/filter"
	"peel/stack/offload"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/ethernet"
	"peel/wire/ip"
)

// Errors of sending.
var (
	ErrNoRoute     = errors.New("host: no route to host")
	ErrUnreachable = errors.New("host: network is unreachable")
	ErrProhibited  = errors.New("host: administratively prohibited")
	ErrTooBig      = errors.New("host: message too long")
	ErrNoAddress   = errors.New("host: cannot assign requested address")
	ErrInUse       = errors.New("host: address already in use")
	ErrNoPorts     = errors.New("host: no ephemeral port is free")
	ErrDown        = errors.New("host: the interface is down")
)

// hop is where packets to a destination go next.
type hop struct {
	out     *Interface
	gateway netip.Addr // the neighbour to give them to
	mtu     int
	route   *route.Route
	local   bool // to this host itself
	// to is the gateway's entry in the neighbour table, once it was asked
	// for; one that was forgotten has failed.
	to *neighbour
}

// confirm is word from above that the next hop answers.
func (n *hop) confirm() {
	if n.to != nil {
		n.out.neighbour.confirm(n.to)
	}
}

type routed struct {
	dst     netip.Addr
	hop     hop
	changes uint64
	routes  uint64
}

// usable tells that a route's interface is up.
func (h *Host) usable(r *route.Route) bool {
	if r.Kind != route.Unicast {
		return true
	}
	i := h.Interface(r.Interface)
	return i != nil && i.up
}

// lookup finds the next hop.
func (h *Host) lookup(dst netip.Addr) (hop, error) {
	n, err := h.cached(dst)
	return *n, err
}

// cached is lookup, and returns what is kept in a cache in front of the table:
// good until the next call.
func (h *Host) cached(dst netip.Addr) (*hop, error) {
	a := dst.As16()
	slot := &h.routeCache[(uint(a[15])^uint(a[14])<<2^uint(a[13])<<4)%uint(len(h.routeCache))]
	if slot.dst == dst && slot.changes == h.changes && slot.routes == h.Routes.Changes {
		return &slot.hop, nil
	}
	n, err := h.find(dst)
	*slot = routed{dst, n, h.changes, h.Routes.Changes}
	if err != nil {
		slot.dst = netip.Addr{}
	}
	return &slot.hop, err
}

func (h *Host) find(dst netip.Addr) (hop, error) {
	if i := h.local[dst]; i != nil || dst.IsLoopback() {
		return hop{out: i, local: true, gateway: dst, mtu: ip.MaxLen}, nil
	}
	r := h.Routes.Lookup(dst, h.usable)
	if r == nil {
		return hop{}, ErrUnreachable
	}
	switch r.Kind {
	case route.Blackhole:
		return hop{route: r}, ErrNoRoute
	case route.Unreachable:
		return hop{route: r}, ErrNoRoute
	case route.Prohibit:
		return hop{route: r}, ErrProhibited
	}
	n := hop{out: h.Interface(r.Interface), gateway: r.Gateway, route: r}
	if !n.gateway.IsValid() {
		n.gateway = dst
	}
	n.mtu = n.out.MTU
	if r.MTU > 0 {
		n.mtu = min(n.mtu, r.MTU)
	}
	h.tell("route", r.Interface, func() string {
		s := dst.String() + ": " + r.String()
		if m := h.Routes.Matches(dst); len(m) > 1 {
			s += ", over"
			for _, o := range m {
				if o != *r {
					s += " " + o.String() + ";"
				}
			}
		}
		return s
	})
	return n, nil
}

// pathMTUTo is what is known of the path to dst, at most the interface's.
func (h *Host) pathMTUTo(dst netip.Addr, mtu int) int {
	if p := h.paths[dst]; p != nil {
		if p.expires <= h.Now() {
			delete(h.paths, dst)
			return mtu
		}
		return min(mtu, p.mtu)
	}
	return mtu
}

// maxPaths bounds the path MTUs that are kept.
const maxPaths = 4096

// leastPath4 is the least path MTU that is believed. RFC 1191 §3 allows 68; one
// smaller than this is an attack.
const leastPath4 = 552

// learnPathMTU keeps what ICMP told (RFC 1191 §3, RFC 8201 §4).
func (h *Host) learnPathMTU(dst netip.Addr, mtu int) bool {
	least := leastPath4
	if dst.Is6() {
		least = ip.MinMTU6
	}
	mtu = max(mtu, least)
	n, err := h.lookup(dst)
	if err != nil || n.local || mtu >= h.pathMTUTo(dst, n.mtu) {
		return false
	}
	if len(h.paths) >= maxPaths {
		clear(h.paths)
	}
	h.paths[dst] = &pathMTU{mtu, h.Now().Add(pathExpires)}
	h.tell("path_mtu", n.out.Name, func() string { return dst.String() + ": " + itoa(mtu) + " bytes" })
	return true
}

// Source chooses the address to talk to dst from (RFC 6724 §5, RFC 1122
// §3.3.4.3), given the way that packets go.
func (h *Host) Source(dst netip.Addr) (netip.Addr, error) {
	n, err := h.route(dst)
	if err != nil {
		return netip.Addr{}, err
	}
	return h.sourceOn(n, dst)
}

// route is lookup, with the zone of a link-local address.
func (h *Host) route(dst netip.Addr) (hop, error) {
	if !dst.IsValid() {
		return hop{}, ErrNoAddress
	}
	if z := dst.Zone(); z != "" {
		i := h.Interface(z)
		if i == nil || !i.up {
			return hop{}, ErrDown
		}
		bare := dst.WithZone("")
		if h.local[bare] == i {
			return hop{out: i, local: true, gateway: bare, mtu: ip.MaxLen}, nil
		}
		return hop{out: i, gateway: bare, mtu: i.MTU}, nil
	}
	if dst.IsLinkLocalUnicast() && dst.Is6() || dst.IsMulticast() {
		for _, i := range h.interfaces {
			if i.up && h.local[dst] == nil {
				return hop{out: i, gateway: dst, mtu: i.MTU}, nil
			}
		}
	}
	return h.lookup(dst)
}

func (h *Host) sourceOn(n hop, dst netip.Addr) (netip.Addr, error) {
	dst = dst.WithZone("")
	if n.local {
		return dst, nil
	}
	if n.route != nil && n.route.Source.IsValid() && h.local[n.route.Source] != nil {
		return n.route.Source, nil
	}
	best, score := netip.Addr{}, -1
	consider := func(i *Interface) {
		for _, p := range i.addresses {
			a := p.Addr()
			if a.Is4() != dst.Is4() {
				continue
			}
			s := commonBits(a, dst)
			// Rule 2: appropriate scope.
			if a.IsLinkLocalUnicast() == (dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()) {
				s += 1000
			}
			if i == n.out {
				s += 500 // rule 5: the outgoing interface
			}
			if s > score {
				best, score = a, s
			}
		}
	}
	for _, i := range h.interfaces {
		if i == n.out || !dst.IsLinkLocalUnicast() && !dst.IsLinkLocalMulticast() {
			consider(i)
		}
	}
	if score < 0 {
		return best, ErrNoAddress
	}
	return best, nil
}

func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	n := 0
	for i := range x {
		d := x[i] ^ y[i]
		if d == 0 {
			n += 8
			continue
		}
		for d&0x80 == 0 {
			n++
			d <<= 1
		}
		break
	}
	return n
}

// datagram is what the IP header of a packet of this host's says.
type datagram struct {
	src, dst netip.Addr
	proto    ip.Protocol
	ttl      uint8
	class    uint8 // DSCP and ECN
	df       bool
	hop      *hop
}

// output puts the IP header before a transport packet and sends it,
// fragmented where it has to be.
func (h *Host) output(p *packet.Packet, d *datagram) error {
	h.Count.OutRequests++
	v6 := d.dst.Is6()
	if d.ttl == 0 {
		d.ttl = h.Options.TTL
		if d.hop.out != nil && d.hop.out.hopLimit > 0 && v6 {
			d.ttl = d.hop.out.hopLimit
		}
	}
	k := ip.Header{Src: d.src, Dst: d.dst, Protocol: d.proto, TTL: d.ttl, TrafficClass: d.class, DontFragment: d.df}
	if !v6 {
		h.ipID++
		k.ID = uint16(h.ipID)
	}
	n := p.Len()
	k.Put(p.Prepend(k.Len()), n)
	if !h.filtered(filter.Output, p, nil, d.hop.out) {
		return ErrProhibited
	}
	return h.emit(p, d.hop, v6, d.df)
}

// emit gives a packet with its IP header to the link, or back to this host.
func (h *Host) emit(p *packet.Packet, n *hop, v6, df bool) error {
	if n.local {
		h.loopback(p, v6)
		return nil
	}
	if p.Len() > n.mtu && p.Segment == 0 {
		if df && !v6 {
			h.Count.FragmentsFail++
			h.dropped(p, n.out, "larger than the MTU, and DF is set")
			return ErrTooBig
		}
		return h.fragment(p, n, v6)
	}
	h.link(p, n, v6)
	return nil
}

// link sends a packet to the next hop's MAC.
func (h *Host) link(p *packet.Packet, n *hop, v6 bool) {
	t := ethernet.TypeIPv4
	if v6 {
		t = ethernet.TypeIPv6
	}
	switch b := ip.View(p.Bytes()); {
	case b.ToMulticast():
		n.out.send(p, ethernet.Group(b.Destination()), t)
	case !v6 && n.out.isBroadcast(b.Destination()):
		n.out.send(p, ethernet.Everybody(), t)
	default:
		n.out.neighbour.resolve(p, n, t)
	}
}

// isBroadcast tells whether an IPv4 address is everybody's, on the link or on
// one of the interface's networks.
func (i *Interface) isBroadcast(a netip.Addr) bool {
	b := a.As4()
	if b[3]&1 == 0 {
		return false // no broadcast address ends in 0
	}
	v := number4(b)
	if v == ^uint32(0) {
		return true
	}
	for _, p := range i.addresses {
		if p.Addr().Is4() && p.Bits() < 31 {
			if host := ^uint32(0) >> p.Bits(); v&host == host && v&^host == number4(p.Addr().As4())&^host {
				return true
			}
		}
	}
	return false
}

func number4(a [4]byte) uint32 {
	return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
}

// loopback gives a packet of this host to itself, later: not within the call
// that sent it.
func (h *Host) loopback(p *packet.Packet, v6 bool) {
	offload.Finish(p)
	h.queue.Set(clock.NewTimer(func(clock.Time) {
		p.Segment = 0
		switch out := h.quotesTranslated(p.Bytes(), v6); {
		case out != nil && v6:
			h.input6(out, p, out.MAC)
		case out != nil:
			h.input4(out, p, out.MAC)
		case v6:
			h.local6(nil, p)
		default:
			h.local4(nil, p)
		}
	}), h.Now())
}

// fragment cuts a packet for the MTU (RFC 791 §3.2, RFC 8200 §4.5).
func (h *Host) fragment(p *packet.Packet, n *hop, v6 bool) error {
	offload.Finish(p)
	b := ip.View(p.Bytes())
	head, extra := b.HeaderLen(), 0
	if v6 {
		extra = ip.FragmentLen
	}
	offset, more, proto := b.FragmentOffset(), b.MoreFragments(), b.Protocol()
	room := (n.mtu - head - extra) &^ (ip.FragmentUnit - 1)
	if room < ip.FragmentUnit {
		h.Count.FragmentsFail++
		h.dropped(p, n.out, "the MTU leaves no room for a fragment")
		return ErrTooBig
	}
	id := uint32(h.entropy())
	data := b[head:]
	for at := 0; at < len(data); at += room {
		k := min(room, len(data)-at)
		follow := at+k < len(data)
		q := h.pool.Get(head + extra + k)
		q.ID = p.ID
		f := ip.View(q.Extend(head + extra + k))
		copy(f, b[:head])
		copy(f[head+extra:], data[at:at+k])
		if v6 {
			f.SetPayload(extra + k)
			f.SetNext(ip.ProtoFragment)
			ip.FragmentHeader{Next: proto, Offset: at, More: follow, ID: id}.Put(f[head:])
		} else {
			f.SetFragment(offset+at, follow || more, k)
		}
		h.Count.FragmentsCreated++
		h.link(q, n, v6)
	}
	h.Count.FragmentsOK++
	h.pool.Put(p)
	return nil
}
