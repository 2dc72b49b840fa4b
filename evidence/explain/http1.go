package explain

import (
	"fmt"
	"strings"

	"peel/trace"
)

// ofHTTP1 are the events that show how an exchange failed.
var ofHTTP1 = []trace.EventName{trace.EventHTTP1Request, trace.EventHTTP1Response, trace.LayerHTTP1.Malformed(), trace.EventHTTP1CutShort, trace.EventBodyDecoded, trace.EventRequestFailed}

// brokenMessage: a request or a response that breaks the rules of HTTP/1, or is
// none.
func brokenMessage(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		if x.Failure == nil || x.Failure.Layer != trace.LayerHTTP1 {
			continue
		}
		switch x.Failure.Code {
		case trace.FailMalformedRequest:
			why := "A server must not guess what such a request means: servers that differ in it are how requests are smuggled."
			if x.Response != nil {
				why += fmt.Sprintf(" This one answered %d.", x.Response.Status)
			}
			out = append(out, failed(t, x, HTTPMalformed, "RFC 9112 §3, §11.2", why, ofHTTP1...))
		case trace.FailMalformedResponse:
			out = append(out, failed(t, x, HTTPMalformed, "RFC 9112 §4, §5, §6", "Clients that read strictly refuse such a response; others may read it differently from one another.", ofHTTP1...))
		case trace.FailHeadTooLarge:
			out = append(out, failed(t, x, HTTPMalformed, "RFC 9110 §5.4", "HTTP sets no limit to a head; each client, proxy and server has one of its own, and past it reads no further.", ofHTTP1...))
		case trace.FailMalformedBody:
			out = append(out, failed(t, x, HTTPMalformed, "RFC 9112 §7.1", "The bytes came, but where the body's parts end cannot be told from them.", ofHTTP1...))
		case trace.FailNotHTTP:
			out = append(out, failed(t, x, HTTPNotHTTP, "RFC 9112 §4", "What answers on this port does not begin as a response of HTTP/1 does.", ofHTTP1...))
		}
	}
	return out
}

// noReply: the connection ended before there was a response. A request that was
// sent again on another connection has its own finding.
func noReply(t *facts) []*trace.Finding {
	again := map[int]bool{}
	for _, x := range t.Exchanges {
		if x.Cause == trace.CauseRetry {
			again[x.Predecessor] = true
		}
	}
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		if x.Failure == nil || x.Failure.Layer != trace.LayerHTTP1 || x.Response != nil || again[x.ID] {
			continue
		}
		switch x.Failure.Code {
		case trace.FailClosedEarly:
			out = append(out, failed(t, x, HTTPEmptyReply, "RFC 9112 §9.5", "The connection was closed in order, with no byte of a response. Why, the server alone knows.", ofHTTP1...))
		case trace.FailReset:
			out = append(out, failed(t, x, HTTPReset, "RFC 9293 §3.10.7", "A reset throws away what was under way. The capture shows that it came, not who on the way made it.", ofHTTP1...))
		}
	}
	return out
}

// encoding: a body is not coded as its head says.
func encoding(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		for _, e := range t.exchanges[x.ID] {
			if e.Name == trace.EventBodyCoding {
				out = append(out, &trace.Finding{ID: HTTPEncoding, Severity: trace.Warning, Exchange: x.ID, Connection: x.Connection, Evidence: []int{e.ID}, Title: e.Text,
					Explanation: "A client does not decode what is not said to be coded: it shows or parses the compressed bytes.",
					WhatToDo:    "Send Content-Encoding: gzip with it, or the body as it is.", Source: "RFC 9110 §8.4"})
			}
		}
		if x.Failure != nil && x.Failure.Code == trace.FailContentEncoding {
			said := ""
			if x.Response != nil {
				said = x.Response.Body.Encoding
			}
			out = append(out, failed(t, x, HTTPEncoding, "RFC 9110 §8.4", fmt.Sprintf("The head says Content-Encoding: %s, and the body is not so: a server or a proxy that codes twice, or not at all, and leaves the field.", said), ofHTTP1...))
		}
	}
	return out
}

// desync: bytes behind a response, which no request asked for.
func desync(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		for _, e := range t.exchanges[x.ID] {
			if e.Name != trace.EventHTTP1Unsolicited || x.Method == "" {
				continue
			}
			if c := t.Connection(x.Connection); c != nil && c.Segments != nil && c.Segments.Conflicts > 0 {
				continue // segments differ in what they say: who sent what is not known
			}
			out = append(out, &trace.Finding{ID: HTTPDesync, Severity: trace.Warning, Exchange: x.ID, Connection: x.Connection, Evidence: []int{e.ID},
				Title:       "the server sent more than the response: " + e.Text,
				Explanation: "A client that keeps the connection would take them for the beginning of the next response; careful ones close it.",
				WhatToDo:    "Look at what makes the response's length: a body sent where there is none, or a Content-Length that is too small.", Source: "RFC 9112 §6.3, §9.2"})
		}
	}
	return out
}

// notCaptured: messages that the capture lacks.
func notCaptured(t *facts) []*trace.Finding {
	var ids []int
	requests, responses, torn := 0, 0, 0
	for _, x := range t.Exchanges {
		for _, e := range t.exchanges[x.ID] {
			if e.Name != trace.EventHTTP1Missing {
				continue
			}
			switch ids = append(ids, e.ID); {
			case x.Method == "":
				requests++
			case x.Response == nil:
				responses++
			default:
				torn++
			}
		}
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{requests, "request"}, {responses, "response"}} {
		if p.n > 0 {
			parts = append(parts, counted(p.n, p.what, p.what+"s"))
		}
	}
	if torn > 0 {
		parts = append(parts, "a part of "+counted(torn, "message", "messages"))
	}
	unread := int64(0)
	for _, c := range t.Connections {
		for _, e := range t.connections[c.ID] {
			if e.Name == trace.EventHTTP1Missing && e.Exchange == 0 {
				ids, unread = append(ids, e.ID), unread+int64(e.RawLength)
			}
		}
	}
	if unread > 0 {
		parts = append(parts, fmt.Sprintf("the beginning of what %d bytes are the rest of", unread))
	}
	if len(ids) == 0 {
		return nil
	}
	return []*trace.Finding{{ID: HTTPNotCaptured, Severity: trace.Warning, Evidence: ids,
		Title:       "the capture lacks " + strings.Join(parts, ", "),
		Explanation: "Each request stands in a row all the same, and what was captured whole is read. That a response is not there says nothing about the server.",
		WhatToDo:    "Capture with a larger buffer (tcpdump -B), without a snap length (-s 0), from before the connections begin."}}
}
