package explain

import (
	"fmt"
	"strings"

	"peel/trace"
	"peel/wire/http2"
)

// streamReset: one side ended a stream with an error.
func streamReset(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		if f := x.Failure; f != nil && f.Code == trace.FailStreamReset {
			out = append(out, failed(t, x, HTTP2StreamReset, "RFC 9113 §6.4",
				"RST_STREAM ends one stream, which is a request and its response; it says nothing of the others on the connection.",
				http2.FrameHeaders.Event(), http2.FrameRSTStream.Event(), trace.EventRequestFailed))
		}
	}
	return out
}

// malformedHTTP2: a response, or a frame, that breaks the rules of HTTP/2. Where
// no request is known to have failed by it, it is a warning.
func malformedHTTP2(t *facts) []*trace.Finding {
	var out []*trace.Finding
	bad := trace.LayerHTTP2.Malformed()
	told, blamed := map[int]bool{}, map[int]bool{} // connections, exchanges
	for _, x := range t.Exchanges {
		f := x.Failure
		switch {
		case f == nil || f.Layer != trace.LayerHTTP2:
		case f.Code == trace.FailMalformedResponse, f.Code == trace.FailMalformedBody:
			out = append(out, failed(t, x, HTTP2Malformed, "RFC 9113 §8.1.1",
				"A client must not pass on a response that breaks the rules: what one program reads in it, another reads otherwise, and that is how responses are smuggled.",
				bad, http2.FrameHeaders.Event(), http2.FrameRSTStream.Event(), trace.EventRequestFailed))
			blamed[x.ID] = true
		case f.Code == trace.FailProtocol && !told[x.Connection]:
			told[x.Connection] = true
			finding := failed(t, x, HTTP2Malformed, "RFC 9113 §5.4.1", "A connection on which one side breaks the protocol is over, and all requests on it with it.", trace.EventRequestFailed)
			finding.Evidence = append(ofConnection(t, x.Connection, bad, http2.FrameGoAway.Event()), finding.Evidence...)
			out = append(out, finding)
		}
	}
	for _, c := range t.Connections {
		if c.HTTP2 == nil || told[c.ID] {
			continue
		}
		ids := pick(t.connections[c.ID], func(e *trace.Event) bool { return e.Name == bad && !blamed[e.Exchange] })
		if len(ids) > 0 {
			out = append(out, &trace.Finding{ID: HTTP2Malformed, Severity: trace.Warning, Connection: c.ID, Evidence: ids,
				Title:       fmt.Sprintf("connection #%d: %s", c.ID, t.Event(ids[0]).Text),
				Explanation: "No request is known to have failed by it.", WhatToDo: "Look at the frame and at those before it.", Hint: trace.HintMessages, Source: "RFC 9113 §5.4.1"})
		}
	}
	return out
}

// fieldsUnknown: bytes are missing, and with them what later header blocks refer
// to.
func fieldsUnknown(t *facts) []*trace.Finding {
	lists, fields := map[int]int{}, map[int]int{}
	for _, x := range t.Exchanges {
		heads := [][]trace.Header{x.Request.Headers, x.Request.Trailers}
		if x.Response != nil {
			heads = append(heads, x.Response.Headers, x.Response.Trailers)
		}
		for _, l := range heads {
			n := 0
			for _, h := range l {
				if h.Unknown != "" {
					n++
				}
			}
			if n > 0 {
				lists[x.Connection]++
				fields[x.Connection] += n
			}
		}
	}
	var out []*trace.Finding
	for _, c := range t.Connections {
		if lists[c.ID] == 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: HTTP2FieldsUnknown, Severity: trace.Info, Connection: c.ID, Evidence: ofConnection(t, c.ID, trace.EventHTTP2Resumed),
			Title:       fmt.Sprintf("connection #%d: header fields that are not known, in all %d (header lists: %d)", c.ID, fields[c.ID], lists[c.ID]),
			Explanation: "HTTP/2 sends a field once and refers to it later (HPACK). Bytes that are not in the capture held what these refer to; the other fields are read for certain.",
			WhatToDo:    "Begin the capture before the connection, and without losses.", Source: "RFC 7541 §2.3.2"})
	}
	return out
}

// goAway: a connection was ended with a GOAWAY that names an error, or that
// requests which were under way did not survive.
func goAway(t *facts) []*trace.Finding {
	lost := map[int][]*trace.Exchange{}
	for _, x := range t.Exchanges {
		if x.Failure != nil && x.Failure.Code == trace.FailGoAway {
			lost[x.Connection] = append(lost[x.Connection], x)
		}
	}
	var out []*trace.Finding
	for _, c := range t.Connections {
		if c.HTTP2 == nil || c.HTTP2.GoAway == nil {
			continue
		}
		g, list := c.HTTP2.GoAway, lost[c.ID]
		if len(list) == 0 && (g.Direction == trace.Out || g.Code == http2.ErrCodeNo.String()) {
			continue // a connection ends so when it is not needed any more
		}
		f := &trace.Finding{ID: HTTP2GoAway, Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, http2.FrameGoAway.Event()),
			Title:       fmt.Sprintf("the %s ended connection #%d with GOAWAY %s, naming %d as the last stream", side(g.Direction), c.ID, g.Code, g.LastStream),
			Explanation: "What the other side objects to ends the whole connection.", WhatToDo: "The code says what the " + side(g.Direction) + " objects to.", Hint: trace.HintMessages, Source: "RFC 9113 §6.8"}
		if g.Debug != "" {
			f.Title += fmt.Sprintf(", saying %q", g.Debug)
		}
		if len(list) > 0 {
			f.Exchange = list[0].ID
			f.WhatToDo, f.Hint = sentence(list[0].Failure.Try), list[0].Failure.Hint
			f.Explanation = requestsLost(g, list)
			for _, x := range list {
				f.Evidence = append(f.Evidence, ofExchange(t, x.ID, trace.EventRequestFailed)...)
			}
		}
		out = append(out, f)
	}
	return out
}

// requestsLost says which requests a GOAWAY ended, and which of them the server
// has not looked at.
func requestsLost(g *trace.GoAway, list []*trace.Exchange) string {
	var above, below []string
	for _, x := range list {
		if g.Direction == trace.In && x.Stream > g.LastStream {
			above = append(above, fmt.Sprint(x.ID))
		} else {
			below = append(below, fmt.Sprint(x.ID))
		}
	}
	var parts []string
	if len(above) > 0 {
		again := ", and sending it again does no harm"
		if g.Code == http2.ErrCodeEnhanceYourCalm.String() {
			again = ""
		}
		parts = append(parts, requests(above, "is", "are")+" on a later stream: the server did not process what is there"+again+".")
	}
	if len(below) > 0 {
		parts = append(parts, fmt.Sprintf("%s not answered: whether the server acted on it is not known.", requests(below, "was", "were")))
	}
	return strings.Join(parts, " ")
}

func requests(ids []string, one, many string) string {
	if len(ids) == 1 {
		return "Request " + ids[0] + " " + one
	}
	text := strings.Join(ids[:min(len(ids), enough)], ", ")
	if len(ids) > enough {
		text += ", …"
	}
	return fmt.Sprintf("%d requests (%s) %s", len(ids), text, many)
}

func side(d trace.Direction) string {
	if d == trace.Out {
		return string(trace.ByClient)
	}
	return string(trace.ByServer)
}

// streamLimit: requests waited because the server allows few streams.
func streamLimit(t *facts) []*trace.Finding {
	waits := map[int][]int{}
	for _, e := range t.Events {
		if e.Name == trace.EventPoolWait && e.Connection != 0 {
			waits[e.Connection] = append(waits[e.Connection], e.ID)
		}
	}
	var out []*trace.Finding
	for _, c := range t.Connections {
		if ids := waits[c.ID]; len(ids) > 0 && c.HTTP2 != nil {
			out = append(out, &trace.Finding{ID: HTTP2MaxStreams, Severity: trace.Info, Evidence: ids,
				Title:       fmt.Sprintf("%d requests waited for a stream: the server allows fewer at once than were wanted", len(ids)),
				Explanation: fmt.Sprintf("At most %d streams were open at the same time on connection #%d.", c.HTTP2.MaxConcurrent, c.ID),
				WhatToDo:    "Raise the server's SETTINGS_MAX_CONCURRENT_STREAMS, or ask for less at once.", Source: "RFC 9113 §5.1.2"})
		}
	}
	return out
}
