package text

import (
	"fmt"
	"io"
	"strings"

	"peel/trace"
)

// Why tells what a packet was for: its layers, what of a stream it carried,
// which messages that was part of, which requests they served.
func Why(w io.Writer, t *trace.Trace, p *trace.Packet, fields []trace.Field, o Options) error {
	s := newWriter(w, t, o)
	s.line("%s", s.bold(fmt.Sprintf("packet %d: %s", p.ID, clean(p.Text))))
	for _, n := range p.Notes {
		s.row("note", s.warn(clean(n)))
	}
	for _, l := range p.Layers {
		s.row(l.Name, fmt.Sprintf("bytes %d to %d", l.Offset, l.Offset+l.Length-1))
	}
	c := t.Connection(p.Connection)
	if c == nil {
		s.line("it belongs to no connection")
	} else {
		s.row("in", fmt.Sprintf("connection #%d %s → %s", c.ID, addr(c.LocalAddr), addr(c.RemoteAddr)))
	}
	if b := p.Bytes; b != nil {
		s.row("carries", fmt.Sprintf("bytes %d to %d of what the %s sent", b.Offset, b.Offset+b.Length-1, sender(b.Direction)))
	}
	served := map[int]bool{}
	var order []int
	for _, e := range t.Events {
		if !carriedBy(e, p) {
			continue
		}
		s.row("part of", fmt.Sprintf("event %d, %s: %s", e.ID, e.Layer, clean(e.Text)))
		if e.Exchange != 0 && !served[e.Exchange] {
			served[e.Exchange] = true
			order = append(order, e.Exchange)
		}
		if e.Lookup != 0 && len(order) == 0 {
			if l := t.Lookup(e.Lookup); l != nil {
				s.row("for", fmt.Sprintf("lookup %d: %s", l.ID, clean(l.Name)))
			}
		}
	}
	for _, id := range order {
		x := t.Exchange(id)
		if x == nil {
			continue
		}
		s.row("for", fmt.Sprintf("request %d: %s %s → %s", x.ID, clean(x.Method), clean(x.URL), s.status(x)))
	}
	if len(order) == 0 && c != nil && len(c.Exchanges) > 0 && p.Bytes == nil {
		s.row("for", fmt.Sprintf("the connection itself, which served %s", plural(len(c.Exchanges), "request")))
	}
	for _, f := range fields {
		s.field(f, 7)
	}
	return s.err
}

// carriedBy tells whether a packet carried a part of an event's message, or
// is what the event is about.
func carriedBy(e *trace.Event, p *trace.Packet) bool {
	for _, id := range e.Packets {
		if id == p.ID {
			return true
		}
	}
	if p.Bytes == nil || e.Connection != p.Connection || e.Direction != p.Direction || len(e.Bytes) == 0 {
		return false
	}
	b := e.Bytes[len(e.Bytes)-1]
	return b.Space == trace.SpaceStream && b.Offset < p.Bytes.Offset+p.Bytes.Length && p.Bytes.Offset < b.Offset+b.Length
}

func sender(direction trace.Direction) string {
	if direction == trace.Out {
		return "client"
	}
	return "server"
}

// Down tells which bytes of each layer below carried some bytes, down to the
// packets.
func Down(w io.Writer, t *trace.Trace, what string, ranges []trace.Range, o Options) error {
	s := newWriter(w, t, o)
	s.line("%s", s.bold(clean(what)))
	for depth := 1; len(ranges) > 0 && depth < 8; depth++ {
		var below []trace.Range
		for i, r := range ranges {
			if i == 32 {
				s.line("%s… %d more", strings.Repeat("  ", depth), len(ranges)-i)
			}
			if i < 32 {
				s.line("%s%s", strings.Repeat("  ", depth), place(r))
			}
			below = append(below, t.Down(r)...)
		}
		ranges = below
	}
	if len(t.Packets) == 0 && t.Account == nil {
		s.line("  %s", s.dim("packets were not observed"))
	}
	return s.err
}

func place(r trace.Range) string {
	if r.Space == trace.SpacePacket {
		return fmt.Sprintf("packet %d, bytes %d to %d", r.Packet, r.Offset, r.Offset+r.Length-1)
	}
	return fmt.Sprintf("%s of connection #%d %s, bytes %d to %d", spaceWords[r.Space], r.Connection, r.Direction, r.Offset, r.Offset+r.Length-1)
}
