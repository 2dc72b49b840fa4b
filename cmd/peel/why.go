package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"peel/evidence/analyze"
	"peel/trace"
	"peel/view/redact"
	"peel/view/text"
)

// whyPacket returns the packet that --why asks about, or 0.
func whyPacket(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0
	}
	return n
}

func clonePacket(p *trace.Packet) *trace.Packet {
	c := *p
	c.Layers = append([]trace.Layer(nil), p.Layers...)
	c.Raw = append([]byte(nil), p.Raw...)
	return &c
}

// tellWhy answers --why: from a packet up to the requests that it served, or
// from a header or a byte of a body down to the packets that carried it.
func (r *read) tellWhy(w io.Writer, t *trace.Trace) error {
	if n := whyPacket(r.why); n > 0 {
		if r.filter.wanted == nil {
			return fmt.Errorf("--why: there is no packet %d", n)
		}
		alone := *t
		alone.Packets = []*trace.Packet{r.filter.wanted}
		shown := redact.Apply(&alone, r.mode())
		text.Why(w, shown, shown.Packets[0], analyze.PacketFields(shown.Packets[0]), terminal(r.std.out, r.color))
		return nil
	}
	t = redact.Apply(t, r.mode())
	id, what, ok := strings.Cut(r.why, "/")
	n, err := strconv.Atoi(id)
	if !ok || err != nil || what == "" {
		return fmt.Errorf("--why is %q; it takes a packet's number, or REQUEST/HEADER, REQUEST/status, REQUEST/body:BYTE", r.why)
	}
	x := t.Exchange(n)
	if x == nil {
		return fmt.Errorf("--why: there is no request %d; there are %d", n, len(t.Exchanges))
	}
	if at, isBody := strings.CutPrefix(what, "body:"); isBody {
		byteAt, err := strconv.ParseInt(at, 10, 64)
		if err != nil || byteAt < 0 {
			return fmt.Errorf("--why: %q is no byte of a body", at)
		}
		ranges, err := bodyByte(t, x, byteAt)
		if err != nil {
			return fmt.Errorf("--why: %w", err)
		}
		text.Down(w, t, fmt.Sprintf("byte %d of the body of response %d", byteAt, n), ranges, terminal(r.std.out, r.color))
		return nil
	}
	found := false
	for _, side := range []struct {
		name string
		list []trace.Header
	}{{"request", x.Request.Headers}, {"response", responseHeaders(x)}} {
		for _, h := range side.list {
			if strings.EqualFold(h.Name, what) && h.Bytes != nil {
				found = true
				coding := ""
				if h.Coding != "" {
					coding = " (" + h.Coding + ")"
				}
				text.Down(w, t, fmt.Sprintf("%s field %s: %s%s", side.name, h.Name, h.Value, coding), []trace.Range{*h.Bytes}, terminal(r.std.out, r.color))
			}
		}
	}
	if !found {
		return fmt.Errorf("--why: request %d has no header %q", n, what)
	}
	return nil
}

func responseHeaders(x *trace.Exchange) []trace.Header {
	if x.Response == nil {
		return nil
	}
	return x.Response.Headers
}

// bodyByte finds the bytes that carried one byte of a response's body, as it
// was transferred.
func bodyByte(t *trace.Trace, x *trace.Exchange, at int64) ([]trace.Range, error) {
	if x.Response == nil || at >= x.Response.Body.WireSize {
		return nil, fmt.Errorf("the body of response %d was %d bytes as transferred", x.ID, responseSize(x))
	}
	for _, p := range x.Response.Body.Pieces {
		if at >= p.At && at < p.At+p.Length {
			rg := p.Bytes
			rg.Offset += at - p.At
			rg.Length = 1
			return []trace.Range{rg}, nil
		}
	}
	return nil, fmt.Errorf("where byte %d stood was not kept", at)
}

func responseSize(x *trace.Exchange) int64 {
	if x.Response == nil {
		return 0
	}
	return x.Response.Body.WireSize
}
