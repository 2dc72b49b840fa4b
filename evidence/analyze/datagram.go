package analyze

import (
	"net/netip"

	"peel/evidence/capture"
	"peel/wire/ip"
	"peel/wire/udp"
)

// datagram takes a UDP datagram. Those of a protocol that is recognised are
// read; of others only the packets are shown.
func (a *Analyzer) datagram(w *wire, p *packet, d udp.Datagram) {
	key := p.key(p.src, p.dst)
	c := w.datagrams[key]
	if c == nil {
		socket, mine := w.bound[p.src.Port()]
		var spoken *protocol
		if !mine {
			spoken = a.recognised(&opening{datagram: true, out: d.Payload(), client: p.src.Port(), server: p.dst.Port(), waited: true})
			if spoken == nil {
				a.datagramNotRead(w, p, d)
				return
			}
		}
		if len(w.datagrams) >= a.lim.Flows {
			for _, old := range w.datagrams { // they hold no state but their number
				a.forget(old)
			}
			clear(w.datagrams)
		}
		if !mine {
			socket = a.unattributedSocket(w)
		}
		c = a.conn(socket)
		w.datagrams[key] = c
		c.tr.Network = "udp"
		if !mine {
			c.speak(spoken.name) // even when none of it can be read
			client, server := p.src, p.dst
			if b := d.Payload(); spoken == &dnsProtocol && len(b) > 2 {
				if b[2]&0x80 != 0 { // the message says which side it is of
					client, server = server, client
				}
			} else if rank(client.Port()) > rank(server.Port()) {
				client, server = server, client
			}
			c.tr.LocalAddr, c.tr.RemoteAddr = client, server
			c.tr.Opened = a.time(a.now)
		}
	}
	dir := capture.Out
	if p.src == c.tr.RemoteAddr {
		dir = capture.In
	}
	p.conn, p.dir, p.inflow = c, dir, true
	if w.damaged(p) {
		return // the receiver drops it
	}
	p.short = int(d.Length()) > len(d)
	if _, named := c.root.dec.(*dnsConn); len(d.Payload()) == 0 || p.short && c.root.dec != nil && !named {
		return
	}
	w.datagramBytes += int64(len(d.Payload()))
	c.bytes(a.now, dir, d.Payload())
}

// recognised returns the protocol that takes what begins so, or nil.
func (a *Analyzer) recognised(o *opening) *protocol {
	for _, p := range a.protocols {
		if p.recognise != nil && p.over.datagrams(true) && p.recognise(o) == yes {
			return p
		}
	}
	return nil
}

// carriers are the packets that the current datagram came in.
func (w *wire) carriers() []int {
	if len(w.cur.parts) == 0 {
		return []int{w.cur.id}
	}
	var out []int
	for _, part := range w.cur.parts {
		out = append(out, part.Packet)
	}
	return out
}

// checked remembers who sends right checksums.
func (w *wire) checked(p *packet) {
	if p.sum != ip.Good {
		return
	}
	if w.honest == nil {
		w.honest = map[maker]bool{}
	}
	if len(w.honest) < maxHosts {
		w.honest[p.origin()] = true
	}
}

// origin is who sent the current datagram, and how: checksums of what went in
// fragments are made elsewhere than those of others.
func (p *packet) origin() maker { return maker{p.src.Addr(), len(p.parts) > 0} }

type maker struct {
	addr  netip.Addr
	parts bool
}

// damaged tells whether the current datagram was damaged on its way. Where no
// checksum of its sender is right, they are made after the packets are captured,
// or the capture was edited.
func (w *wire) damaged(p *packet) bool { return p.sum == ip.Bad && w.honest[p.origin()] }
