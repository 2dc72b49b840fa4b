package analyze

import (
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
// over TLS (RFC 7858 §3.1).
func looksLikeDNS(o *opening) guess {
	switch {
	case o.datagram && (isDNS(o.client) || isDNS(o.server)):
		return yes
	case !o.datagram && (o.server == 53 || o.secure && o.server == 853):
		return yes
	}
	return no
}

// isDNS tells the ports of DNS, multicast DNS and LLMNR.
func isDNS(port uint16) bool { return port == 53 || port == 5353 || port == 5355 }

// dnsConn reads DNS messages: each a datagram, or with its length before it in
// a stream (RFC 1035 §4.2.2).
type dnsConn struct {
	silent
	l *layer
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

// gap is passed where each message comes by itself.
func (d *dnsConn) gap(clock.Time, capture.Direction, int64) bool { return d.datagrams() }

func (d *dnsConn) message(t clock.Time, dir capture.Direction, msg []byte, space trace.Space, offset int64) {
	c := d.l.c
	name := trace.EventDNSQuery
	if dir == capture.In {
		name = trace.EventDNSResponse
	}
	e := d.l.message(t, trace.LayerDNS, name, dns.Summary(msg), dir, offset, len(msg), msg)
	e.Bytes[0].Space = space
	if c.a.wire != nil && d.datagrams() {
		e.Packets = c.a.wire.carriers()
	}
	if c.lookup != nil {
		e.Lookup = c.lookup.tr.ID
	} else {
		c.unattributed(t, dir, msg, e)
	}
}
