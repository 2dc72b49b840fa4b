package host

import (
	"net/netip"
	"time"

	"peel/stack/packet"
	"peel/wire/arp"
	"peel/wire/ethernet"
)

func (i *Interface) sendARP(m arp.Message, to ethernet.MAC) {
	p := i.Host.pool.Get(arp.Len)
	m.Put(p.Extend(arp.Len))
	i.send(p, to, ethernet.TypeARP)
}

// askARP asks who has an address; a known one is asked directly
// (RFC 1122 §2.3.2.1).
func (i *Interface) askARP(e *neighbour) {
	src, ok := i.sourceFor(e.addr)
	if !ok {
		return
	}
	to := ethernet.Everybody()
	if e.state == Probe {
		to = e.mac
	}
	i.sendARP(arp.Message{Operation: arp.Request, SenderMAC: i.MAC, SenderIP: src, TargetIP: e.addr}, to)
}

// sourceFor is the interface's address in the network of a, or any.
func (i *Interface) sourceFor(a netip.Addr) (netip.Addr, bool) {
	var any netip.Addr
	for _, p := range i.addresses {
		if p.Addr().Is4() != a.Is4() {
			continue
		}
		if p.Contains(a) {
			return p.Addr(), true
		}
		if !any.IsValid() {
			any = p.Addr()
		}
	}
	return any, any.IsValid()
}

// inputARP is RFC 826's reception, with RFC 5227's conflict detection.
func (i *Interface) inputARP(p *packet.Packet) {
	h := i.Host
	m, err := arp.Parse(p.Bytes())
	h.pool.Put(p)
	if err != nil || m.SenderMAC.Multicast() {
		i.Count.RxErrors++
		return
	}
	if m.SenderMAC == i.MAC {
		return // our own, come back
	}
	if i.has(m.SenderIP) {
		h.tell("arp.conflict", i.Name, func() string { return m.SenderMAC.String() + " also claims " + m.SenderIP.String() })
		// RFC 5227 §2.4 (b): defend the address, but not for ever.
		if now := h.Now(); i.defended == 0 || now.Sub(i.defended) >= 10*time.Second {
			i.defended = now
			i.announce(m.SenderIP)
		}
		return
	}
	mine := i.has(m.TargetIP)
	if m.SenderIP.IsValid() && !m.SenderIP.IsUnspecified() {
		i.neighbour.learn(m.SenderIP, m.SenderMAC, mine && m.Operation == arp.Reply, true, mine && m.Operation == arp.Request)
	}
	if m.Operation == arp.Request && mine {
		i.sendARP(arp.Message{Operation: arp.Reply, SenderMAC: i.MAC, SenderIP: m.TargetIP, TargetMAC: m.SenderMAC, TargetIP: m.SenderIP}, m.SenderMAC)
	}
}

// announce tells the link that an address is here (RFC 5227 §2.3,
// RFC 9131 for IPv6).
func (i *Interface) announce(a netip.Addr) {
	if a.Is4() {
		i.sendARP(arp.Message{Operation: arp.Request, SenderMAC: i.MAC, SenderIP: a, TargetIP: a}, ethernet.Everybody())
		return
	}
	i.probeDuplicate(a)
}
