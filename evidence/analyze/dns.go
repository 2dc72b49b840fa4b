package analyze

import (
	"net/netip"

	"peel/clock"
	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
)

var dnsProtocol = protocol{
	name: trace.ProtocolDNS, layer: trace.LayerDNS, over: overBoth,
	fields:    func(_ *trace.Trace, e *trace.Event) []trace.Field { return dns.Fields(e.Raw) },
	recognise: looksLikeDNS,
	open:      func(l *layer, _ *exchange) decoder { return &dnsConn{l: l} },
}

// looksLikeDNS goes by the ports: 53, of multicast DNS and LLMNR, and that of DNS
// over TLS (RFC 7858 §3.1), or what ALPN says. On other ports it goes by the
// form, where nothing else has it.
func looksLikeDNS(o *opening) guess {
	switch {
	case o.datagram && (isDNS(o.client) || isDNS(o.server)):
		return yes
	case o.datagram && beyondDoubt(o.out):
		return yes
	case !o.datagram && o.secure && (o.server == 853 || o.alpn == "dot"):
		return yes
	case !o.datagram && o.server == 53:
		return yes
	case !o.datagram && !o.late && len(o.out) > 0:
		return framedBeyondDoubt(o.out)
	}
	return no
}

// framedBeyondDoubt tells a stream that begins with what can only be a question
// with its length before it.
func framedBeyondDoubt(b []byte) guess {
	const most = 512
	if b[0] > most>>8 || len(b) > 1 && int(b[0])<<8|int(b[1]) > most {
		return no
	}
	if len(b) > 5 && (b[4]&0xfe != 0 || b[5]&0xcf != 0) { // a question: opcode 0, nothing but RD, AD, CD
		return no
	}
	msg, _, whole := dns.CutStream(b)
	switch {
	case whole && beyondDoubt(msg):
		return yes
	case whole:
		return no
	}
	return perhaps
}

// isDNS tells the ports of DNS, multicast DNS and LLMNR.
func isDNS(port uint16) bool { return port == 53 || port == portMDNS || port == portLLMNR }

// beyondDoubt tells a datagram that can only be a DNS message: one question of
// the Internet for a host name, flags as resolvers and servers set them, counts
// that are small, and every octet accounted for.
func beyondDoubt(b []byte) bool {
	const reserved, opcode, most = 1 << 6, 0x78, 64
	if len(b) < dns.HeaderSize+7 || b[2]&opcode != 0 || b[3]&reserved != 0 || b[4] != 0 || b[5] != 1 ||
		b[6] != 0 || b[7] > most || b[8] != 0 || b[9] > most || b[10] != 0 || b[11] > most {
		return false
	}
	response := b[2]&0x80 != 0
	if !response && (b[7] != 0 || b[9] != 0 || b[11] > 1 || b[3]&0x0f != 0 || b[2]&0x06 != 0) || response && b[7] == 0 {
		return false
	}
	m, err := dns.Parse(b)
	if err != nil || m.Trailing != 0 || len(m.Questions) != 1 {
		return false
	}
	q := m.Questions[0]
	if q.Class != dns.ClassIN || !q.Type.Known() || q.Name.NumLabels() < 2 {
		return false
	}
	for label := range q.Name.Labels() {
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return !response || m.Answers[0].Name.EqualFold(q.Name)
}

// dnsConn reads DNS messages: each a datagram, or with its length before it in
// a stream (RFC 1035 §4.2.2).
type dnsConn struct {
	silent
	l *layer
	// lost tells for each direction of a stream that it is not known where the
	// next message begins: the beginning, or bytes on the way, were not captured.
	begun [2]bool
	lost  [2]bool
}

func (d *dnsConn) datagrams() bool { return d.l.c.tr.Network == "udp" }

func (d *dnsConn) input(t clock.Time, dir capture.Direction, b []byte) {
	f := &d.l.in[dir]
	if d.datagrams() {
		if len(b) > 0 {
			d.message(t, dir, b, trace.SpaceDatagram, 0)
		}
		f.offset += int64(len(b))
		return
	}
	if !d.begun[dir] && len(b) > 0 {
		d.begun[dir] = true
		d.lost[dir] = d.l.c.late()
	}
	if d.lost[dir] {
		// Those who write a message at once begin a segment with it.
		if !looksLikeFramed(b) {
			f.offset += int64(len(b))
			return
		}
		d.lost[dir] = false
	}
	f.add(t, b)
	for {
		msg, rest, ok := dns.CutStream(f.buf)
		if !ok {
			return
		}
		n := len(f.buf) - len(rest)
		d.message(t, dir, msg, d.l.space, f.offset+int64(n-len(msg)))
		f.take(n, t)
	}
}

// looksLikeFramed tells whether bytes of a stream begin with a message.
func looksLikeFramed(b []byte) bool {
	if len(b) < 2+dns.HeaderSize || int(b[0])<<8|int(b[1]) < dns.HeaderSize {
		return false
	}
	_, _, ok := dns.QuestionOf(b[2:])
	return ok && b[2+4] == 0 && b[2+5] == 1 && b[2+3]&(1<<6) == 0
}

// gap is passed where each message comes by itself; in a stream the next
// message has to be found.
func (d *dnsConn) gap(_ clock.Time, dir capture.Direction, n int64) bool {
	if !d.datagrams() {
		f := &d.l.in[dir]
		f.offset += int64(len(f.buf)) + n
		f.buf = nil
		d.begun[dir], d.lost[dir] = true, true
	}
	return true
}

func (d *dnsConn) message(t clock.Time, dir capture.Direction, msg []byte, space trace.Space, offset int64) {
	c := d.l.c
	m, err := dns.Parse(msg)
	name := trace.EventDNSQuery
	if m.Response {
		name = trace.EventDNSResponse
	}
	e := d.l.message(t, trace.LayerDNS, name, dns.Summary(msg), dir, offset, len(msg), msg)
	e.Bytes[0].Space = space
	h := &message{t: t, c: c, m: m, broken: err, raw: msg, e: e, transport: c.tr.Network}
	if c.a.wire != nil && d.datagrams() {
		e.Packets = c.a.wire.carriers()
		c.a.wire.cur.named = m
		h.short = c.a.wire.cur.short
	}
	if c.lookup != nil {
		e.Lookup = c.lookup.tr.ID
		return
	}
	if len(msg) < dns.HeaderSize {
		return
	}
	if d.l.secure {
		h.transport = "tls"
	}
	h.between(c.tr.LocalAddr, c.tr.RemoteAddr, dir)
	if !h.client.IsValid() {
		h.carrier = c.tr.ID
	}
	c.a.heard(h)
}

// between says who asks and who answers, which the message itself tells: between
// two servers both ports are 53.
func (h *message) between(local, remote netip.AddrPort, dir capture.Direction) {
	h.client, h.server = local, remote
	if h.m.Response != (dir == capture.In) {
		h.client, h.server = remote, local
	}
}
