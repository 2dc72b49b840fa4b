package analyze

import (
	"fmt"
	"net/netip"
	"slices"

	"peel/trace"
	"peel/wire/arp"
	"peel/wire/cooked"
	"peel/wire/ethernet"
	"peel/wire/layout"
	"peel/wire/pcap"
)

// linkLayer reads the header that the capture's link type says.
func (a *Analyzer) linkLayer(w *wire, p *packet) { a.linkOf(w, p, p.rec.Link.Type, 0) }

// linkOf reads a header of a link type, which stands at byte at.
func (a *Analyzer) linkOf(w *wire, p *packet, typeOfLink pcap.LinkType, at int) {
	b := p.rec.Data[at:]
	var typ ethernet.Type
	var err error
	name := "eth"
	switch typeOfLink {
	case pcap.LinkEthernet:
		a.frame(w, p, at, b)
		return
	case pcap.LinkSLL:
		name = "sll"
		p.cooked, err = cooked.ParseSLL(b)
		p.link.len, typ = p.cooked.Len, p.cooked.Type
	case pcap.LinkSLL2:
		name = "sll"
		p.cooked, err = cooked.ParseSLL2(b)
		p.link.len, typ = p.cooked.Len, p.cooked.Type
	case pcap.LinkNull, pcap.LinkLoop:
		name = "null"
		p.cooked, err = cooked.ParseNull(b)
		p.link.len, typ = p.cooked.Len, p.cooked.Type
	case pcap.LinkRaw, pcap.LinkRawBSD, pcap.LinkRawOther, pcap.LinkIPv4, pcap.LinkIPv6:
		typ = ethernet.TypeIPv4
		if len(b) > 0 && b[0]>>4 == 6 {
			typ = ethernet.TypeIPv6
		}
	default:
		if l := links[typeOfLink]; l != nil {
			a.linked(w, p, l, at, b)
			return
		}
		if !w.unknown[typeOfLink] && len(w.unknown) < 64 {
			w.unknown[typeOfLink] = true
			a.aboutPacket(trace.LayerCapture, trace.EventCaptureLinkType, fmt.Sprintf("packets of link type %v are not read (first: packet %d)", typeOfLink, p.id))
		}
		p.text = "link type " + typeOfLink.String()
		a.notRead(w, p, "of link type "+typeOfLink.String())
		return
	}
	if err != nil {
		a.malformedPacket(trace.LayerCapture, at, err)
		return
	}
	p.link.at = at
	p.layer(name, p.link)
	a.payload(w, p, typ, at+p.link.len, b[p.link.len:])
}

// linked reads what stands behind a link header, which stands at byte at.
func (a *Analyzer) linked(w *wire, p *packet, l *link, at int, b []byte) {
	in, err := l.parse(b)
	if err == nil && in.headerLen > len(b) {
		err = fmt.Errorf("%s: %d bytes are too few for a header of %d", l.layer, len(b), in.headerLen)
	}
	if err != nil {
		a.malformedPacket(trace.LayerCapture, at, err)
		return
	}
	p.link = span{at, in.headerLen}
	p.layer(l.layer, p.link)
	rest := b[in.headerLen:]
	switch at += in.headerLen; {
	case in.again != 0 && p.depth < maxDepth:
		p.depth++
		p.carrier += in.headerLen
		p.link = span{}
		a.linkOf(w, p, in.again, at)
	case in.frame:
		p.carrier += in.headerLen
		a.frame(w, p, at, rest)
	case in.llc:
		a.llc(w, p, at, rest)
	case in.unread != "":
		p.text = in.unread
		a.notRead(w, p, in.unread)
	default:
		a.payload(w, p, in.typ, at, rest)
	}
}

// llc reads the header of a frame that gives no type, and what it says.
func (a *Analyzer) llc(w *wire, p *packet, at int, b []byte) {
	h, err := ethernet.ParseLLC(b)
	if err != nil {
		a.malformedPacket(trace.LayerCapture, max(at, 0), err)
		return
	}
	if at >= 0 {
		p.layer("llc", span{at, h.Len})
	}
	p.link.len += h.Len
	if h.Type == 0 {
		p.text = h.Name
		a.notRead(w, p, h.Name)
		return
	}
	a.payload(w, p, h.Type, behind(at, h.Len), b[h.Len:])
}

// frame reads an Ethernet frame, which stands at byte at; -1 when it was put
// together from fragments.
func (a *Analyzer) frame(w *wire, p *packet, at int, b []byte) {
	var err error
	if p.eth, err = ethernet.Parse(b); err != nil {
		a.malformedPacket(trace.LayerCapture, max(at, 0), err)
		return
	}
	p.hasEth = true
	p.link = span{max(at, 0), p.eth.Len}
	if at >= 0 {
		p.layer("eth", p.link)
	}
	if p.eth.Type == 0 {
		a.llc(w, p, behind(at, p.eth.Len), b[p.eth.Len:])
		return
	}
	a.payload(w, p, p.eth.Type, behind(at, p.eth.Len), b[p.eth.Len:])
}

// behind is the place n bytes behind at; what was put together from fragments
// has none, and stays at -1.
func behind(at, n int) int {
	if at < 0 {
		return at
	}
	return at + n
}

// payload reads what a link header says that it carries.
func (a *Analyzer) payload(w *wire, p *packet, typ ethernet.Type, at int, b []byte) {
	switch typ {
	case ethernet.TypeIPv4, ethernet.TypeIPv6:
		a.network(w, p, at, b)
	case ethernet.TypeARP:
		p.net = span{max(at, 0), min(arp.Len, len(b))}
		m, err := arp.Parse(b)
		if err != nil {
			a.malformedPacket(trace.LayerARP, max(at, 0), err)
			return
		}
		if at >= 0 {
			p.layer("arp", p.net)
		}
		e := a.aboutPacket(trace.LayerARP, arpName(m), m.String())
		e.Raw, e.RawLength = append([]byte(nil), b[:arp.Len]...), arp.Len
		if m.Operation == arp.Request || m.Operation == arp.Reply {
			e.ARP = &trace.ARP{Request: m.Operation == arp.Request, Sender: m.SenderIP, Target: m.TargetIP, SenderMAC: m.SenderMAC.String()}
		}
		p.src, p.dst = netip.AddrPortFrom(m.SenderIP, 0), netip.AddrPortFrom(m.TargetIP, 0)
		switch {
		case m.Operation == arp.Reply && m.SenderIP != m.TargetIP && !(p.hasEth && p.eth.Dst.Broadcast()):
			w.met(p)
		case p.cooked.Outgoing || p.rec.Link.Sent:
			w.hosts.note(m.SenderIP, presence{heard: true})
		}
		p.text = "ARP " + m.String()
	default:
		if c := carrierOf(func(c *carrier) bool { return typ != 0 && slices.Contains(c.types, typ) }); c != nil {
			a.carried(w, p, c, at, b)
			return
		}
		p.text = typ.String()
		a.notRead(w, p, p.text)
	}
}

// layer notes a header.
func (p *packet) layer(name string, s span) {
	if s.len > 0 {
		p.layers = append(p.layers, trace.Layer{Name: name, Offset: s.at, Length: s.len})
	}
}

func arpName(m arp.Message) trace.EventName {
	if m.Operation == arp.Reply {
		return trace.EventARPReply
	}
	return trace.EventARPRequest
}

// macs returns the link addresses of the current packet, or "".
func (p *packet) macs() (src, dst string) {
	switch {
	case p.hasEth:
		return p.eth.Src.String(), p.eth.Dst.String()
	case len(p.cooked.Address) == 6:
		return layout.HardwareAddr(p.cooked.Address), ""
	}
	return "", ""
}
