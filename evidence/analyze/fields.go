package analyze

import (
	"peel/trace"
	"peel/wire/arp"
	"peel/wire/tlswire"
)

// Fields returns the tree of fields of the message that an event is about,
// or nil when it is about none. t is the trace that the event is from.
func Fields(t *trace.Trace, e *trace.Event) []trace.Field {
	if len(e.Raw) == 0 {
		return nil
	}
	if e.Layer == trace.LayerARP {
		return arp.Fields(e.Raw, 0)
	}
	for _, p := range protocols {
		if p.layer == e.Layer {
			return p.fields(t, e)
		}
	}
	return nil
}

func tlsFields(t *trace.Trace, e *trace.Event) []trace.Field {
	switch {
	case tlswire.IsHandshakeEvent(e.Name):
		return tlswire.Fields(tlsVersion(t, e), e.Raw)
	case e.Name == trace.EventTLSAlert:
		return tlswire.AlertFields(e.Raw)
	}
	return nil
}

// tlsVersion is the version agreed on in the event's connection, on which the
// form of some handshake messages depends.
func tlsVersion(t *trace.Trace, e *trace.Event) uint16 {
	if c := t.Connection(e.Connection); c != nil && c.TLS != nil && c.TLS.Version == tlswire.VersionName(0x0303) {
		return 0x0303
	}
	return 0x0304
}

// headerFields lists the header fields whose bytes stand in an HTTP/2 frame,
// with how HPACK wrote each. They were decoded when the frame came: the table
// has moved on since.
func headerFields(t *trace.Trace, e *trace.Event) []trace.Field {
	x := t.Exchange(e.Exchange)
	if x == nil || len(e.Bytes) == 0 {
		return nil
	}
	lists := [][]trace.Header{x.Request.Headers, x.Request.Trailers}
	if x.Response != nil {
		lists = append(lists, x.Response.Headers, x.Response.Trailers)
	}
	frame := e.Bytes[0]
	var out []trace.Field
	for _, l := range lists {
		for _, h := range l {
			if h.Bytes == nil || h.Bytes.Space != frame.Space || h.Bytes.Direction != frame.Direction {
				continue
			}
			text := h.Name + ": " + h.Value
			switch h.Unknown {
			case trace.UnknownField:
				text = notKnown
			case trace.UnknownName:
				text = notKnown + ": " + h.Value
			}
			if at := h.Bytes.Offset - frame.Offset; at >= 0 && at < frame.Length {
				out = append(out, trace.Field{Name: "http2.header", Value: text, Meaning: h.Coding, Offset: int(at), Length: h.Size})
			}
		}
	}
	return out
}
