package host

import (
	"fmt"
	"net/netip"

	"peel/clock"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/ethernet"
)

// Offload is what an interface's card does with packets by itself.
type Offload struct {
	// Checksum: the card fills in transport checksums.
	Checksum bool
	// Segment is the most TCP data of one packet that the card cuts into
	// segments itself (TSO); 0 is none.
	Segment int
}

// Interface joins a host to a link.
type Interface struct {
	Name    string
	Host    *Host
	MAC     ethernet.MAC
	MTU     int
	Offload Offload
	// Count is the frames that passed.
	Count InterfaceCounters
	// RouterAdvertisement makes a router announce itself here (RFC 4861).
	RouterAdvertisement *RouterAdvertisement
	// AcceptRA makes a host take addresses and routes from routers' words
	// (RFC 4862).
	AcceptRA bool

	out       link.Sender
	up        bool
	addresses []netip.Prefix
	neighbour neighbours
	tentative []tentative
	defended  clock.Time // an address of ours, against another who claims it
	raTimer   clock.Timer
	rsTimer   clock.Timer
	rsSent    int
	learned   []learned
	hopLimit  uint8
}

// InterfaceCounters counts frames and bytes.
type InterfaceCounters struct {
	RxPackets, TxPackets, RxBytes, TxBytes uint64
	RxDropped, RxErrors, TxDropped         uint64
}

// AddInterface adds an interface, which is down until it is attached.
func (h *Host) AddInterface(name string, mac ethernet.MAC, mtu int) *Interface {
	i := &Interface{Name: name, Host: h, MAC: mac, MTU: mtu}
	i.neighbour.init(i)
	i.raTimer.Init(func(clock.Time) { i.advertise() })
	i.rsTimer.Init(func(clock.Time) { i.solicitRouters() })
	h.interfaces = append(h.interfaces, i)
	h.changes++
	return i
}

// Attach joins the interface to what carries its frames, and brings it up.
func (i *Interface) Attach(out link.Sender) {
	i.out = out
	i.SetUp(true)
}

// SetUp brings the interface up or down. Routes by an interface that is down
// do not count, and its neighbours are forgotten.
func (i *Interface) SetUp(up bool) {
	if i.up == up {
		return
	}
	i.up = up
	i.Host.changes++
	i.Host.tell("interface", i.Name, func() string {
		if up {
			return "up"
		}
		return "down"
	})
	if !up {
		i.neighbour.flush()
		return
	}
	for _, a := range i.addresses {
		i.announce(a.Addr())
	}
	if i.RouterAdvertisement != nil {
		i.Host.queue.Set(&i.raTimer, i.Host.Now())
	}
	if i.AcceptRA {
		i.rsSent = 0
		i.Host.queue.Set(&i.rsTimer, i.Host.Now())
	}
}

// Up tells whether the interface is up.
func (i *Interface) Up() bool { return i.up }

// Addresses are those of the interface, with the length of their network.
func (i *Interface) Addresses() []netip.Prefix { return i.addresses }

// AddAddress gives the interface an address, and the host a route to its
// network.
func (i *Interface) AddAddress(p netip.Prefix) error {
	if !p.IsValid() || p.Addr().Is4In6() {
		return fmt.Errorf("host: %v is not an address with the length of its network", p)
	}
	if i.has(p.Addr()) {
		return nil
	}
	h := i.Host
	i.addresses = append(i.addresses, p)
	h.local[p.Addr()] = i
	h.changes++
	if err := i.connected(p); err != nil {
		return err
	}
	if i.up {
		i.announce(p.Addr())
	}
	return nil
}

// connected adds the route to an address's network.
func (i *Interface) connected(p netip.Prefix) error {
	if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
		return nil
	}
	return i.Host.Routes.Add(route.Route{Prefix: p.Masked(), Interface: i.Name, Source: p.Addr(), From: "address"})
}

// RemoveAddress takes an address away.
func (i *Interface) RemoveAddress(a netip.Addr) {
	for n, p := range i.addresses {
		if p.Addr() == a {
			i.addresses = append(i.addresses[:n:n], i.addresses[n+1:]...)
			delete(i.Host.local, a)
			i.Host.Routes.Remove(func(r route.Route) bool {
				return r.From == "address" && r.Interface == i.Name && r.Prefix == p.Masked()
			})
			for _, o := range i.addresses {
				if o.Masked() == p.Masked() {
					i.connected(o) // its network is still here
				}
			}
			i.Host.changes++
			return
		}
	}
}

func (i *Interface) has(a netip.Addr) bool {
	for _, p := range i.addresses {
		if p.Addr() == a {
			return true
		}
	}
	return false
}

// zoned gives a link-local address of IPv6 the zone of the interface that its
// packet came by, which may be nil.
func (i *Interface) zoned(a netip.Addr) netip.Addr {
	if i == nil || !a.Is6() || !a.IsLinkLocalUnicast() {
		return a
	}
	return a.WithZone(i.Name)
}

// LinkLocal makes the link-local address of the interface's MAC
// (RFC 4862 §5.3, RFC 2464 §4).
func LinkLocal(m ethernet.MAC) netip.Addr { return eui64(netip.MustParsePrefix("fe80::/64"), m) }

func eui64(p netip.Prefix, m ethernet.MAC) netip.Addr {
	b := p.Addr().As16()
	copy(b[8:], []byte{m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
	return netip.AddrFrom16(b)
}

// Receive takes a frame from the link; it implements link.Port.
func (i *Interface) Receive(p *packet.Packet) {
	h := i.Host
	b := p.Bytes()
	i.Count.RxPackets++
	i.Count.RxBytes += uint64(len(b))
	if !i.up || len(b) < ethernet.HeaderLen {
		i.Count.RxErrors++
		h.pool.Put(p)
		return
	}
	dst := ethernet.Frame(b).Destination()
	if dst != i.MAC && !dst.Multicast() {
		i.Count.RxDropped++ // flooded by a switch, for another
		h.pool.Put(p)
		return
	}
	switch ethernet.Frame(b).Type() {
	case ethernet.TypeIPv4:
		p.Strip(ethernet.HeaderLen)
		h.input4(i, p, dst)
	case ethernet.TypeIPv6:
		p.Strip(ethernet.HeaderLen)
		h.input6(i, p, dst)
	case ethernet.TypeARP:
		p.Strip(ethernet.HeaderLen)
		i.inputARP(p)
	default:
		i.Count.RxDropped++
		h.pool.Put(p)
	}
}

// send puts the Ethernet header before an IP or ARP packet and sends it.
func (i *Interface) send(p *packet.Packet, dst ethernet.MAC, t ethernet.Type) {
	ethernet.Frame(p.Prepend(ethernet.HeaderLen)).SetHeader(dst, i.MAC, t)
	if !i.up || i.out == nil {
		i.Count.TxDropped++
		i.Host.pool.Put(p)
		return
	}
	if p.Segment > 0 && i.Offload.Segment == 0 || p.Checksum == packet.Partial && !i.Offload.Checksum {
		i.software(p)
		return
	}
	i.Count.TxPackets++
	i.Count.TxBytes += uint64(p.Len())
	i.out.Send(p)
}
