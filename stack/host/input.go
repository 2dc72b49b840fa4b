package host

import (
	"net/netip"
	"strconv"

	"peel/stack/filter"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

func itoa(n int) string { return strconv.Itoa(n) }

// input4 is an IPv4 packet from the link (RFC 1122 §3.2.1, RFC 1812 §5.2).
func (h *Host) input4(i *Interface, p *packet.Packet, to ethernet.MAC) {
	h.Count.InReceives++
	b := ip.View(p.Bytes())
	if !b.Whole() || !b.V4() {
		h.bad(i, p, "no IPv4 header")
		return
	}
	head, total := b.HeaderLen(), b.Total()
	if total == 0 && p.Segment > 0 {
		total = len(b)
	}
	if head < ip.MinHeader4 || total < head || total > len(b) {
		h.bad(i, p, "IPv4 lengths that do not fit")
		return
	}
	if !b.ChecksumOK() {
		h.bad(i, p, "IPv4 header checksum")
		return
	}
	p.Truncate(total) // Ethernet's padding
	if p = h.translate(i, p, false); p == nil {
		return
	}
	b = p.Bytes()
	h.place(i, p, b.Source(), b.Destination(), to, false)
}

// input6 is an IPv6 packet from the link (RFC 8200).
func (h *Host) input6(i *Interface, p *packet.Packet, to ethernet.MAC) {
	h.Count.InReceives++
	b := ip.View(p.Bytes())
	if !b.Whole() || !b.V6() {
		h.bad(i, p, "no IPv6 header")
		return
	}
	total := b.Total()
	if total == ip.Header6 && p.Segment > 0 {
		total = len(b)
	}
	if total > len(b) {
		h.bad(i, p, "IPv6 payload length that does not fit")
		return
	}
	p.Truncate(total)
	if p = h.translate(i, p, true); p == nil {
		return
	}
	b = p.Bytes()
	h.place(i, p, b.Source(), b.Destination(), to, true)
}

// place gives a packet with a sound header to this host, to the next hop, or
// to nobody. to is the MAC that its frame was for.
func (h *Host) place(i *Interface, p *packet.Packet, src, dst netip.Addr, to ethernet.MAC, v6 bool) {
	refuse := func(why string) {
		h.Count.InAddressErrors++
		h.dropped(p, i, why)
	}
	// What is link-local stays on its link, and is not routed.
	link := v6 && src.IsLinkLocalUnicast()
	switch {
	case src.IsMulticast(), src.IsLoopback(), src.Is4In6(), src == broadcast4, dst.IsLoopback(), dst.IsUnspecified(), dst.Is4In6():
		refuse("martian: " + src.String() + " to " + dst.String())
		return
	case !link && !(v6 && src.IsUnspecified()) && !h.reverse(i, src):
		h.Count.ReversePathDrops++
		h.dropped(p, i, "reverse path: "+src.String()+" is not reached by "+i.Name)
		return
	}
	next, err := h.cached(dst)
	local := err == nil && next.local
	switch {
	case local && h.local[src] != nil:
		refuse("martian: from this host's own " + src.String())
	case local && !(v6 && dst.IsLinkLocalUnicast() && !i.has(dst)), dst.IsMulticast(), !v6 && i.isBroadcast(dst):
		if v6 {
			h.local6(i, p)
		} else {
			h.local4(i, p)
		}
	case to.Multicast():
		// RFC 1122 §3.3.6: unicast in a broadcast frame is not for us.
		refuse("unicast packet in a broadcast frame")
	case h.Options.Forward && !src.IsUnspecified() && !link && !(v6 && dst.IsLinkLocalUnicast()):
		h.forward(i, p, next, err, v6)
	default:
		refuse("not for this host: " + dst.String())
	}
}

var broadcast4 = ip.Broadcast4()

func (h *Host) bad(i *Interface, p *packet.Packet, why string) {
	h.Count.InHeaderErrors++
	h.dropped(p, i, why)
}

// reverse is the reverse-path check (RFC 3704 §2.2, §2.4).
func (h *Host) reverse(i *Interface, src netip.Addr) bool {
	if h.Options.ReversePath == Off {
		return true
	}
	n, err := h.lookup(src)
	if err != nil {
		return false
	}
	return h.Options.ReversePath == Loose || n.out == i
}

// local4 is a packet for this host.
func (h *Host) local4(i *Interface, p *packet.Packet) {
	b := ip.View(p.Bytes())
	head := b.HeaderLen()
	if b.Fragment() {
		pk, err := ip.Parse(b)
		if err != nil {
			h.bad(i, p, err.Error())
			return
		}
		if p = h.join4(i, p, &pk); p == nil {
			return
		}
		b, head = p.Bytes(), ip.MinHeader4
	}
	if !h.filtered(filter.Input, p, i, nil) {
		return
	}
	h.deliver(i, p, b.Protocol(), head, false)
}

// local6 is a packet for this host.
func (h *Host) local6(i *Interface, p *packet.Packet) {
	b := ip.View(p.Bytes())
	head, proto := ip.Header6, b.Protocol()
	switch proto {
	case ip.ProtoTCP, ip.ProtoUDP, ip.ProtoICMPv6:
	default:
		pk, err := ip.Parse(b)
		if err != nil {
			h.bad(i, p, err.Error())
			return
		}
		if pk.Fragment {
			if p = h.join6(i, p, &pk); p != nil {
				h.local6(i, p)
			}
			return
		}
		if !h.extensions(i, p, &pk) {
			return
		}
		head, proto = pk.HeaderLen, pk.Protocol
	}
	if !h.filtered(filter.Input, p, i, nil) {
		return
	}
	h.deliver(i, p, proto, head, true)
}

// deliver gives a packet to its transport. The transport header stands at
// head.
func (h *Host) deliver(i *Interface, p *packet.Packet, proto ip.Protocol, head int, v6 bool) {
	b := ip.View(p.Bytes())
	if proto == ip.ProtoTCP || proto == ip.ProtoUDP || proto == ip.ProtoICMPv6 {
		least := icmp.HeaderLen
		switch proto {
		case ip.ProtoTCP:
			least = tcp.MinHeader
		case ip.ProtoUDP:
			least = udp.HeaderLen
		}
		if len(b) < head+least {
			h.bad(i, p, "a transport header that is cut off")
			return
		}
		if p.Checksum == packet.Unknown {
			seg := b[head:]
			if proto == ip.ProtoUDP {
				d := udp.Datagram(seg)
				if n := int(d.Length()); n >= udp.HeaderLen && n <= len(seg) {
					seg = seg[:n]
				}
				if !udp.HasChecksum(d.Checksum()) && !v6 {
					seg = nil
				}
			}
			if seg != nil && !ip.Right(b.PseudoSum(proto, len(seg)), seg) {
				h.Count.InChecksumErrors++
				h.dropped(p, i, proto.String()+" checksum")
				return
			}
		}
	}
	h.Count.InDelivers++
	switch {
	case proto == ip.ProtoTCP:
		h.inputTCP(i, p, head, v6)
	case proto == ip.ProtoUDP:
		h.inputUDP(i, p, head, v6)
	case proto == ip.ProtoICMP && !v6:
		h.inputICMP4(i, p, head)
	case proto == ip.ProtoICMPv6 && v6:
		h.inputICMP6(i, p, head)
	case proto == ip.ProtoNone:
		h.pool.Put(p)
	default:
		h.Count.InUnknownProtocols++
		if v6 {
			h.errorFor(p, i, icmp.Header{Type: icmp.ParameterProb6, Code: icmp.UnknownNextHeader6, Rest: uint32(b.NextHeaderAt())})
		} else {
			h.errorFor(p, i, icmp.Header{Type: icmp.Unreachable4, Code: icmp.ProtocolUnreachable4})
		}
	}
}
