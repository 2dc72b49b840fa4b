package analyze

import (
	"fmt"
	"strconv"
	"strings"

	"peel/trace"
	"peel/wire/arp"
	"peel/wire/cooked"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
	"peel/wire/udp"
)

// account books the bytes of the current packet.
func (a *Analyzer) account(w *wire, p *packet) {
	book := func(to *trace.Account, count bool) {
		if count {
			to.Packets++
			to.Frames += int64(p.rec.Length)
		}
		to.Link += int64(p.carrier + p.link.len)
		if p.isIP {
			to.Network += int64(p.net.len)
		}
		if p.inflow {
			to.Transport += int64(p.trans.len)
		}
	}
	if p.copy > 0 {
		w.account.Copies += int64(p.rec.Length)
		return
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
		return text + p.datagramText(), len(text)
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
		case "llc":
			f.Children = ethernet.LLCFields(b, l.Offset)
		default:
			if c := linkNamed(l.Name, p.LinkType); c != nil {
				f.Children = c.fields(b, l.Offset)
			} else if c := carrierOf(func(c *carrier) bool { return string(c.layer) == l.Name }); c != nil {
				f.Children = c.fields(b, l.Offset)
			}
			if len(f.Children) > 0 {
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
