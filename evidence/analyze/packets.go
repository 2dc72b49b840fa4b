package analyze

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/arp"
	"peel/wire/cooked"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/layout"
	"peel/wire/pcap"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// wire is the lower half of the analysis: packets in, byte streams out.
type wire struct {
	fragments    *ip.Reassembler
	flows        map[flowKey]*flow
	datagrams    map[flowKey]*conn // UDP
	bound        map[uint16]uint32 // local port → socket, of what peel opened
	unattributed uint32            // connections that no decision names, so far
	packets      int               // so far; the number of the current one
	account      trace.Account
	kept         []*trace.Packet
	cur          packet
	last         clock.Time
	unknown      map[pcap.LinkType]bool
	malformed    int
	troubles     map[trace.EventName]int // how often each kind was met; only the first become events
	names        nameBook
	rawKept      int
	sent         int // entries of the maps from streams to packets
	// datagramBytes counts the payloads of DNS.
	datagramBytes int64
	shown         trace.Packet // handed to the hook, and used again
}

// flowKey names a flow by its ends and the virtual network they are in; the
// lesser end stands first, so that both directions have the same key.
type flowKey struct {
	a, b    netip.AddrPort
	network uint32
}

func (p *packet) key(src, dst netip.AddrPort) flowKey {
	if c := src.Addr().Compare(dst.Addr()); c > 0 || c == 0 && src.Port() > dst.Port() {
		return flowKey{dst, src, p.network}
	}
	return flowKey{src, dst, p.network}
}

// packet is the current packet as far as it has been read. It is used again
// for each.
type packet struct {
	rec     *capture.Record
	id      int
	layers  []trace.Layer // all headers, from the outside in
	carrier int           // bytes of headers outside of link
	depth   int           // packets inside packets
	network uint32        // virtual, that its addresses belong to
	link    span          // where each header and payload stands; length 0 for none
	net     span
	trans   span
	payload span
	proto   string // of trans
	eth     ethernet.Header
	cooked  cooked.Header
	hasEth  bool
	ip      ip.Packet
	isIP    bool
	src     netip.AddrPort
	dst     netip.AddrPort
	about   []netip.AddrPort // what it speaks of beside these
	parts   []ip.Part        // when the payload was put together from fragments

	conn   *conn
	dir    capture.Direction
	offset int64 // in the stream, of the payload
	inflow bool
	notes  []string
	text   string
	lead   int // of text: between whom
	tcp    tcp.Segment
	flow   *flow
	note   tcp.Note
	sum    ip.Verdict
}

type span struct{ at, len int }

// Bounds of the events about one kind of trouble in the capture, and how far
// its clock may go back without a word: several interfaces are not captured in
// exact order.
const (
	maxClockEvents     = 8
	maxMalformedEvents = 16
	clockTolerance     = time.Second
)

func (a *Analyzer) wireOf() *wire {
	if a.wire == nil {
		a.wire = &wire{fragments: ip.NewReassembler(ip.Limits{}),
			flows: map[flowKey]*flow{}, datagrams: map[flowKey]*conn{}, bound: map[uint16]uint32{},
			unknown: map[pcap.LinkType]bool{}, troubles: map[trace.EventName]int{},
			names: nameBook{questions: map[question]*asked{}, byAddr: map[netip.Addr]*lookup{}, open: map[client]*lookup{}}}
	}
	return a.wire
}

// packet takes a packet from its link header down to the bytes of a stream.
func (a *Analyzer) packet(r *capture.Record) {
	w := a.wireOf()
	w.packets++
	p := &w.cur
	*p = packet{rec: r, id: w.packets, notes: p.notes[:0], parts: p.parts[:0], layers: p.layers[:0]}
	w.account.Packets++
	w.account.Frames += int64(r.Length)
	if w.last.Sub(r.Time) > clockTolerance && w.troubles[trace.EventCaptureClock] < maxClockEvents {
		w.troubles[trace.EventCaptureClock]++
		a.aboutPacket(trace.LayerCapture, trace.EventCaptureClock, fmt.Sprintf("the clock went back by %v before packet %d", w.last.Sub(r.Time).Round(time.Millisecond), p.id))
	}
	w.last = r.Time
	if len(r.Data) < r.Length {
		p.notes = append(p.notes, fmt.Sprintf("cut off after %d of %d bytes", len(r.Data), r.Length))
	}
	a.linkLayer(w, p)
	a.account(w, p)
	if a.hook != nil || a.lim.Packets > len(w.kept) {
		t := a.describe(w, p)
		if a.hook != nil {
			t.Raw = r.Data
			a.hook(t)
		}
		if a.lim.Packets > len(w.kept) {
			if a.hook != nil {
				c := *t
				t = &c
			}
			t.Raw = nil
			if w.rawKept+len(r.Data) <= a.lim.PacketBytes {
				w.rawKept += len(r.Data)
				t.Raw = append([]byte(nil), r.Data...)
			}
			w.kept = append(w.kept, t)
		}
	}
}

// aboutPacket adds an event about the current packet.
func (a *Analyzer) aboutPacket(layer trace.LayerName, name trace.EventName, text string) *trace.Event {
	e := a.event(a.now, layer, name, text)
	e.Packets = []int{a.wire.cur.id}
	return e
}

// malformedPacket notes what is wrong with the current packet. The first of
// each kind become events.
func (a *Analyzer) malformedPacket(layer trace.LayerName, at int, err error) {
	w := a.wire
	w.malformed++
	text := fmt.Sprintf("%v (at byte %d of packet %d)", err, at, w.cur.id)
	w.cur.notes = append(w.cur.notes, "malformed: "+err.Error())
	name := layer.Malformed()
	if w.troubles[name]++; w.troubles[name] <= maxMalformedEvents {
		a.aboutPacket(layer, name, text)
	}
}

// linkLayer reads the header that the capture's link type says.
func (a *Analyzer) linkLayer(w *wire, p *packet) {
	b := p.rec.Data
	var typ ethernet.Type
	var err error
	name := "eth"
	switch p.rec.Link.Type {
	case pcap.LinkEthernet:
		a.frame(w, p, 0, b)
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
		if !w.unknown[p.rec.Link.Type] && len(w.unknown) < 64 {
			w.unknown[p.rec.Link.Type] = true
			a.aboutPacket(trace.LayerCapture, trace.EventCaptureLinkType, fmt.Sprintf("packets of link type %v are not read (first: packet %d)", p.rec.Link.Type, p.id))
		}
		p.text = "link type " + p.rec.Link.Type.String()
		return
	}
	if err != nil {
		a.malformedPacket(trace.LayerCapture, 0, err)
		return
	}
	p.layer(name, p.link)
	a.payload(w, p, typ, p.link.len, b[p.link.len:])
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
		p.text = "ARP " + m.String()
	default:
		if c := carrierOf(func(c *carrier) bool { return typ != 0 && slices.Contains(c.types, typ) }); c != nil {
			a.carried(w, p, c, at, b)
			return
		}
		p.text = typ.String()
		if typ == 0 {
			p.text = "802.3 frame"
		}
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
		if c := carrierOf(func(c *carrier) bool { return c.port != 0 && c.port == p.dst.Port() }); c != nil && p.sum != ip.Bad {
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
			} else if c := w.datagrams[p.key(src, dst)]; c != nil {
				p.conn = c
				e.Connection = c.tr.ID
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

// account books the bytes of the current packet.
func (a *Analyzer) account(w *wire, p *packet) {
	book := func(to *trace.Account, count bool) {
		if count {
			to.Packets++
			to.Frames += int64(p.rec.Length)
		}
		to.Link += int64(p.carrier + p.link.len)
		to.Network += int64(p.net.len)
		if p.inflow {
			to.Transport += int64(p.trans.len)
		}
	}
	book(&w.account, false)
	if p.inflow {
		book(&p.conn.account, true)
	}
}

// describe makes the trace's view of the current packet.
func (a *Analyzer) describe(w *wire, p *packet) *trace.Packet {
	t := &w.shown
	if a.hook == nil {
		t = new(trace.Packet)
	}
	*t = trace.Packet{ID: p.id, Time: a.time(p.rec.Time), Where: p.rec.Link.Where, LinkType: p.rec.Link.Type.String(), Length: p.rec.Length, Captured: len(p.rec.Data),
		Source: p.src, Destination: p.dst, About: p.about, Layers: t.Layers[:0], Comments: p.rec.Link.Comments}
	if p.conn != nil {
		t.Connection = p.conn.tr.ID
		if p.inflow {
			t.Direction = dirNames[p.dir]
		}
	}
	t.Layers = append(t.Layers, p.layers...)
	if p.payload.len > 0 {
		t.Layers = append(t.Layers, trace.Layer{Name: "data", Offset: p.payload.at, Length: p.payload.len})
	}
	if a.hook == nil {
		t.Layers = append([]trace.Layer{}, t.Layers...)
	}
	if p.inflow && p.tcp != nil && p.payload.len > 0 && p.offset >= 0 {
		t.Bytes = &trace.Range{Space: trace.SpaceStream, Connection: p.conn.tr.ID, Direction: dirNames[p.dir], Offset: p.offset, Length: int64(p.payload.len)}
	}
	t.Text, t.Lead = a.packetText(p)
	t.Notes = append([]string(nil), p.notes...)
	return t
}

// packetText writes the packet in one line, much as tcpdump does. The first
// lead bytes say between whom.
func (a *Analyzer) packetText(p *packet) (text string, lead int) {
	switch {
	case p.text != "":
		return p.text, p.lead
	case p.tcp != nil:
		b := make([]byte, 0, 160)
		b = p.src.AppendTo(b)
		b = append(b, " → "...)
		b = p.dst.AppendTo(b)
		b = append(b, ' ')
		lead = len(b)
		b = append(b, "TCP ["...)
		b = append(b, p.tcp.Flags().String()...)
		b = append(b, ']')
		seq, ack := p.tcp.Seq(), p.tcp.Ack()
		if p.flow != nil {
			seq, ack = seq-p.flow.relative[p.dir], ack-p.flow.relative[1-p.dir]
		}
		b = append(b, " seq "...)
		b = strconv.AppendUint(b, uint64(seq), 10)
		if p.tcp.Flags().Has(tcp.ACK) {
			b = append(b, " ack "...)
			b = strconv.AppendUint(b, uint64(ack), 10)
		}
		win := uint64(p.tcp.Window())
		if p.flow != nil && !p.tcp.Flags().Has(tcp.SYN) {
			win <<= uint(p.flow.analysis.Scale(int(p.dir)))
		}
		b = append(b, " win "...)
		b = strconv.AppendUint(b, win, 10)
		b = append(b, " len "...)
		b = strconv.AppendInt(b, int64(p.payload.len), 10)
		if p.tcp.Flags().Has(tcp.SYN) {
			b = append(b, synText(p.tcp)...)
		}
		return string(b), lead
	case p.proto == "udp":
		text = fmt.Sprintf("%v → %v ", p.src, p.dst)
		return text + fmt.Sprintf("UDP len %d", p.payload.len), len(text)
	case p.isIP:
		text = fmt.Sprintf("%v → %v ", p.ip.Src, p.ip.Dst)
		return text + p.ip.Protocol.String(), len(text)
	}
	return "not readable", 0
}

func synText(s tcp.Segment) string {
	o := s.Options()
	var l []string
	if o.MSS > 0 {
		l = append(l, "MSS "+strconv.Itoa(int(o.MSS)))
	}
	if o.SACKPermitted {
		l = append(l, "SACK")
	}
	if o.Timestamps {
		l = append(l, "timestamps")
	}
	if o.WindowScale >= 0 {
		l = append(l, "window scale "+strconv.Itoa(int(o.WindowScale)))
	}
	if o.FastOpen {
		l = append(l, "Fast Open")
	}
	if o.MPTCP {
		l = append(l, "MPTCP")
	}
	if len(l) == 0 {
		return ""
	}
	return " (" + strings.Join(l, ", ") + ")"
}

// PacketFields returns the trees of fields of a packet's headers, one for
// each layer; nil when the packet itself was not kept.
func PacketFields(p *trace.Packet) []trace.Field {
	if len(p.Raw) == 0 {
		return nil
	}
	out := make([]trace.Field, 0, len(p.Layers))
	for _, l := range p.Layers {
		b := p.Raw[min(l.Offset, len(p.Raw)):min(l.Offset+l.Length, len(p.Raw))]
		f := trace.Field{Name: l.Name, Offset: l.Offset, Length: l.Length}
		switch l.Name {
		case "eth":
			f.Children = ethernet.Fields(b, l.Offset)
		case "sll":
			if p.LinkType == pcap.LinkSLL2.String() {
				f.Children = cooked.SLL2Fields(b, l.Offset)
			} else {
				f.Children = cooked.SLLFields(b, l.Offset)
			}
		case "null":
			f.Children = cooked.NullFields(b, l.Offset)
		case "arp":
			f.Children = arp.Fields(b, l.Offset)
		case "ip", "ipv6":
			f.Children = ip.Fields(b, l.Offset)
		case "tcp":
			f.Children = checked(p, l, tcp.Fields(b, l.Offset), "tcp.checksum", ip.ProtoTCP)
		case "udp":
			f.Children = checked(p, l, udp.Fields(b, l.Offset), "udp.checksum", ip.ProtoUDP)
		case "icmp", "icmpv6":
			f.Children = icmp.Fields(p.Raw[min(l.Offset, len(p.Raw)):], l.Name == "icmpv6", l.Offset)
		default:
			if c := carrierOf(func(c *carrier) bool { return string(c.layer) == l.Name }); c != nil {
				f.Children = c.fields(b, l.Offset)
				break
			}
			f.Value = strconv.Itoa(l.Length) + " bytes"
		}
		out = append(out, f)
	}
	return out
}

// checked says of a transport checksum whether it is right.
func checked(p *trace.Packet, l trace.Layer, fields []trace.Field, name string, proto ip.Protocol) []trace.Field {
	i := -1 // the IP header before it
	for j, x := range p.Layers {
		if (x.Name == "ip" || x.Name == "ipv6") && x.Offset < l.Offset {
			i = j
		}
	}
	if i < 0 || p.Captured < p.Length || p.Masked {
		return fields
	}
	at := p.Layers[i].Offset
	h, err := ip.Parse(p.Raw[min(at, len(p.Raw)):])
	if err != nil || h.Fragment || h.Protocol != proto || at+h.HeaderLen != l.Offset {
		return fields
	}
	b := h.Payload(p.Raw[at:])
	for j := range fields {
		f := &fields[j]
		if f.Name != name || f.Offset-l.Offset+2 > len(b) {
			continue
		}
		switch {
		case proto == ip.ProtoUDP && b[6] == 0 && b[7] == 0:
			f.Meaning = "none"
		default:
			f.Meaning = [...]string{"not checked", "right", "left to the network card", "wrong"}[ip.Check(h.Src, h.Dst, proto, b, f.Offset-l.Offset)]
		}
	}
	return fields
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
