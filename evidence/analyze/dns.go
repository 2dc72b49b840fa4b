package analyze

import (
	"encoding/binary"

	"peel/clock"
	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
)

// dns takes a datagram, or a piece of a TCP stream in which a length stands
// before each message (RFC 1035 §4.2.2).
func (c *conn) dns(t clock.Time, dir capture.Direction, b []byte) {
	f := &c.app[dir]
	if c.tr.Network == "udp" {
		c.dnsMessage(t, dir, b, trace.SpaceDatagram, 0)
		f.offset += int64(len(b))
		return
	}
	f.add(t, b)
	for len(f.buf) >= 2 {
		n := int(binary.BigEndian.Uint16(f.buf))
		if len(f.buf) < 2+n {
			return
		}
		c.dnsMessage(t, dir, f.buf[2:2+n], trace.SpaceStream, f.offset+2)
		f.take(2+n, t)
	}
}

func (c *conn) dnsMessage(t clock.Time, dir capture.Direction, msg []byte, space trace.Space, offset int64) {
	name := "dns.query"
	if dir == capture.In {
		name = "dns.response"
	}
	e := c.message(t, trace.LayerDNS, name, dns.Summary(msg), dir, offset, len(msg), msg)
	e.Bytes[0].Space = space
	if c.a.wire != nil && c.tr.Network == "udp" {
		e.Packets = c.a.wire.carriers()
	}
	if c.lookup != nil {
		e.Lookup = c.lookup.tr.ID
	} else {
		c.overheard(t, dir, msg, e)
	}
}
