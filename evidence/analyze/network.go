package analyze

import (
	"fmt"
	"net/netip"
	"slices"

	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// network reads an IP packet, which stands at byte at.
func (a *Analyzer) network(w *wire, p *packet, at int, b []byte) {
	h, err := ip.Parse(b)
	if err != nil {
		a.malformedPacket(trace.LayerIP, max(at, 0), err)
		return
	}
	p.ip, p.isIP = h, true
	p.net = span{max(at, 0), h.HeaderLen}
	if at >= 0 {
		name := "ip"
		if h.Version == 6 {
			name = "ipv6"
		}
		p.layer(name, p.net)
	}
	p.src, p.dst = netip.AddrPortFrom(h.Src, 0), netip.AddrPortFrom(h.Dst, 0)
	if at >= 0 && a.copied(w, p, b) {
		a.copyOf(w, p, at, b)
		return
	}
	w.met(p)
	payload := p.ip.Payload(b)
	if !h.ChecksumOK {
		p.notes = append(p.notes, "wrong IP header checksum")
		if binaryZero(b[10:12]) {
			p.notes[len(p.notes)-1] = "IP header checksum left to the network card"
		}
	}
	whole := len(b) >= h.Total && h.Total > 0 || h.Total == 0 && len(p.rec.Data) >= p.rec.Length
	length := h.Total - h.HeaderLen
	if room := p.rec.Length - at; at >= 0 && h.Total > room {
		// Not cut off by the capture: it never was as long as it says.
		p.notes = append(p.notes, fmt.Sprintf("the IP header says %d bytes, and the frame has room for %d", h.Total, room))
		length = max(room-h.HeaderLen, 0)
		whole = false
	}
	if h.Total == 0 {
		length = len(b) - h.HeaderLen
		if at >= 0 {
			length = p.rec.Length - at - h.HeaderLen
		}
	}
	if !h.Fragment {
		a.transport(w, p, behind(at, h.HeaderLen), payload, length, whole)
		return
	}
	p.text = fmt.Sprintf("%v → %v ", h.Src, h.Dst)
	p.lead = len(p.text)
	p.text += fmt.Sprintf("fragment of %v, id %#x, bytes %d to %d", h.Protocol, h.ID, h.FragmentOffset, h.FragmentOffset+length-1)
	if h.MoreFragments {
		p.text += ", more follow"
	}
	if at >= 0 {
		p.payload = span{at + h.HeaderLen, len(payload)}
	}
	if !whole {
		return
	}
	full, ok := w.fragments.Add(&p.ip, payload, p.id, max(behind(at, h.HeaderLen), 0), p.rec.Time)
	if !ok {
		return
	}
	if full.Overlap {
		p.notes = append(p.notes, "fragments overlap")
	}
	p.notes = append(p.notes, fmt.Sprintf("completes a datagram of %d bytes in %d fragments", len(full.Payload), len(full.Parts)))
	p.parts = full.Parts
	p.ip.Fragment = false
	a.transport(w, p, -1, full.Payload, len(full.Payload), true)
}

// copyOf reads of a copy only what shows it.
func (a *Analyzer) copyOf(w *wire, p *packet, at int, b []byte) {
	body := p.ip.Payload(b)
	if p.ip.Fragment {
		return
	}
	switch p.ip.Protocol {
	case ip.ProtoTCP:
		s, err := tcp.Parse(body)
		if err != nil {
			return
		}
		p.proto, p.tcp = "tcp", s
		p.src, p.dst = netip.AddrPortFrom(p.ip.Src, s.SourcePort()), netip.AddrPortFrom(p.ip.Dst, s.DestinationPort())
		p.place(at+p.ip.HeaderLen, s.HeaderLen(), len(body))
		if f := w.flows[p.key(p.src, p.dst)]; f != nil {
			p.flow, p.conn, p.dir = f, f.conn, f.from(p.src)
		}
	case ip.ProtoUDP:
		d, err := udp.Parse(body)
		if err != nil {
			return
		}
		p.proto = "udp"
		p.src, p.dst = netip.AddrPortFrom(p.ip.Src, d.SourcePort()), netip.AddrPortFrom(p.ip.Dst, d.DestinationPort())
		p.place(at+p.ip.HeaderLen, udp.HeaderLen, len(d))
		if c := w.datagrams[p.key(p.src, p.dst)]; c != nil {
			p.conn = c
		}
	case ip.ProtoICMP, ip.ProtoICMPv6:
		m, err := icmp.Parse(body, p.ip.Protocol == ip.ProtoICMPv6)
		if err != nil {
			return
		}
		p.proto = "icmp"
		p.place(at+p.ip.HeaderLen, icmp.HeaderLen, len(body))
		p.text = fmt.Sprintf("%v → %v ICMP %v", p.ip.Src, p.ip.Dst, m)
	}
}

func binaryZero(b []byte) bool { return b[0] == 0 && b[1] == 0 }

// transport reads what an IP packet carries: length bytes, of which b was
// kept. at is where b stands in the packet, -1 when it was put together.
func (a *Analyzer) transport(w *wire, p *packet, at int, b []byte, length int, whole bool) {
	if at >= 0 {
		p.trans.at = at
	}
	switch p.ip.Protocol {
	case ip.ProtoTCP:
		p.proto = "tcp"
		s, err := tcp.Parse(b)
		if err != nil {
			a.malformedPacket(trace.LayerTCP, max(at, 0), err)
			return
		}
		p.src, p.dst = netip.AddrPortFrom(p.ip.Src, s.SourcePort()), netip.AddrPortFrom(p.ip.Dst, s.DestinationPort())
		p.place(at, s.HeaderLen(), len(b))
		if whole {
			p.sum = ip.Check(p.ip.Src, p.ip.Dst, ip.ProtoTCP, b, tcp.ChecksumAt)
		}
		a.segment(w, p, s, length-s.HeaderLen())
	case ip.ProtoUDP:
		p.proto = "udp"
		d, err := udp.Parse(b)
		if err != nil {
			a.malformedPacket(trace.LayerUDP, max(at, 0), err)
			return
		}
		p.src, p.dst = netip.AddrPortFrom(p.ip.Src, d.SourcePort()), netip.AddrPortFrom(p.ip.Dst, d.DestinationPort())
		p.place(at, udp.HeaderLen, len(d))
		if whole && d.Checksum() != 0 && int(d.Length()) == len(d) {
			p.sum = ip.Check(p.ip.Src, p.ip.Dst, ip.ProtoUDP, d, 6)
		}
		w.checked(p)
		if c := carrierOf(func(c *carrier) bool {
			return slices.Contains(c.ports, p.dst.Port()) && rank(p.src.Port()) < wellKnown || c.replies && slices.Contains(c.ports, p.src.Port()) && rank(p.dst.Port()) < wellKnown
		}); c != nil && !w.damaged(p) {
			if _, err := c.parse(d.Payload()); err == nil {
				a.carried(w, p, c, behind(at, udp.HeaderLen), d.Payload())
				return
			}
		}
		a.datagram(w, p, d)
	case ip.ProtoICMP, ip.ProtoICMPv6:
		p.proto = "icmp"
		v6 := p.ip.Protocol == ip.ProtoICMPv6
		m, err := icmp.Parse(b, v6)
		if err != nil {
			a.malformedPacket(trace.LayerICMP, max(at, 0), err)
			return
		}
		p.place(at, icmp.HeaderLen, len(b))
		a.control(w, p, m, b)
	default:
		if c := carrierOf(func(c *carrier) bool { return slices.Contains(c.protocols, p.ip.Protocol) }); c != nil {
			a.carried(w, p, c, at, b)
			return
		}
		p.payload = span{max(at, 0), len(b)}
		p.text = fmt.Sprintf("%v → %v %v", p.ip.Src, p.ip.Dst, p.ip.Protocol)
		a.notRead(w, p, p.ip.Protocol.String())
	}
	if p.sum == ip.Bad {
		p.notes = append(p.notes, "wrong checksum")
	}
}

// place says where the transport header and its payload stand.
func (p *packet) place(at, header, all int) {
	if at < 0 {
		return
	}
	p.trans = span{at, header}
	p.payload = span{at + header, all - header}
	name := p.proto
	if name == "icmp" && p.ip.Version == 6 {
		name = "icmpv6"
	}
	p.layer(name, p.trans)
}

// control takes an ICMP message.
func (a *Analyzer) control(w *wire, p *packet, m icmp.Message, b []byte) {
	text := m.String()
	name := trace.EventICMPMessage
	if m.IsError() {
		name = trace.EventICMPError
	}
	e := a.aboutPacket(trace.LayerICMP, name, "")
	e.Raw, e.RawLength = append([]byte(nil), b[:min(len(b), a.lim.Raw)]...), len(b)
	e.ICMP = &trace.ICMP{V6: m.V6, Type: m.Type, Code: m.Code, NextMTU: m.MTU()}
	cause := trace.Rejection{From: p.ip.Src, V6: m.V6, Type: m.Type, Code: m.Code}
	if q := m.Quoted(); q != nil {
		// What an error quotes names the connection that it is about.
		if h, err := ip.Parse(q); err == nil && len(q) >= h.HeaderLen+4 && (h.Protocol == ip.ProtoTCP || h.Protocol == ip.ProtoUDP) {
			t := q[h.HeaderLen:]
			src := netip.AddrPortFrom(h.Src, uint16(t[0])<<8|uint16(t[1]))
			dst := netip.AddrPortFrom(h.Dst, uint16(t[2])<<8|uint16(t[3]))
			p.about = []netip.AddrPort{src, dst}
			text += fmt.Sprintf(", about %v → %v", src, dst)
			if f := w.flows[p.key(src, dst)]; f != nil {
				p.conn = f.conn
				e.Connection = f.conn.tr.ID
				if f.from(src) == capture.Out {
					f.rejects(m, cause)
				}
			} else if c := w.datagrams[p.key(src, dst)]; c != nil {
				p.conn = c
				e.Connection = c.tr.ID
				if m.Unreachable() && len(t) > udp.HeaderLen {
					e.Lookup = a.unreachable(c, src, dst, t[udp.HeaderLen:], m)
				}
			}
		}
	}
	if target, ok := m.Target(); ok {
		p.about = append(p.about, netip.AddrPortFrom(target, 0))
	}
	if p.ip.Src.IsValid() {
		e.Text = fmt.Sprintf("%v → %v: %s", p.ip.Src, p.ip.Dst, text)
	}
	p.text = fmt.Sprintf("%v → %v ICMP %s", p.ip.Src, p.ip.Dst, text)
}
