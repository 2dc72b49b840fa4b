package analyze

import (
	"slices"

	"peel/trace"
)

// maxCarriers bounds the packets that one event names.
const maxCarriers = 100

// carriers names the packets that carried an event's message, where packets
// were seen.
func (a *Analyzer) carriers(t *trace.Trace, c *trace.Connection, e *trace.Event) {
	if c == nil || len(e.Bytes) == 0 || len(e.Packets) > 0 || c.SentOut == nil && c.SentIn == nil {
		return
	}
	bottom := e.Bytes[len(e.Bytes)-1]
	if bottom.Space != trace.SpaceStream {
		return
	}
	a.ids = c.PacketIDs(a.ids[:0], bottom, maxCarriers)
	if len(a.ids) > 0 {
		e.Packets = slices.Clone(a.ids)
	}
}

// split tells the bytes of a connection's streams apart: TLS, HTTP and
// content.
func (c *conn) split(to *trace.Account, stream int64) {
	plain := stream
	if c.secure {
		to.TLS = max(min(c.sealed, stream)-c.plain, 0)
		plain = stream - to.TLS
	}
	to.Content = min(c.content, plain)
	to.HTTP = plain - to.Content
}

// total is the account of all packets.
func (a *Analyzer) total() *trace.Account {
	t := a.wire.account
	t.Repeated, t.TLS, t.HTTP, t.Content = a.handed.Repeated, a.handed.TLS, a.handed.HTTP, a.handed.Content
	for _, c := range a.order.conns {
		c.book(&t)
	}
	t.HTTP += a.wire.datagramBytes
	rest(&t)
	return &t
}

// rest leaves to Other what no layer claims. Where a packet was cut off, or
// claims more bytes than there are, nothing is left, and that much was not sent
// again.
func rest(t *trace.Account) {
	t.Other = t.Frames - t.Copies - t.Link - t.Network - t.Transport - t.Repeated - t.TLS - t.HTTP - t.Content
	if t.Other < 0 {
		t.Repeated = max(t.Repeated+t.Other, 0)
		t.Other = 0
	}
}

// book adds the bytes of a connection's streams to an account.
func (c *conn) book(t *trace.Account) {
	if c.flow == nil {
		return
	}
	x := c.account
	c.split(&x, c.tr.BytesOut+c.tr.BytesIn)
	t.Repeated += max(c.flow.analysis.Sides[0].Bytes+c.flow.analysis.Sides[1].Bytes-c.tr.BytesOut-c.tr.BytesIn-c.flow.missing, 0)
	t.TLS += x.TLS
	t.HTTP += x.HTTP
	t.Content += x.Content
}
