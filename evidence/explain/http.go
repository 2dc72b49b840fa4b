package explain

import (
	"fmt"
	"strings"

	"peel/trace"
	"peel/wire/http2"
)

func truncatedBody(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		r := x.Response
		if r == nil || r.Body.Complete || x.Failure == nil {
			continue
		}
		switch x.Failure.Code {
		case trace.FailBodyTruncated, trace.FailMalformed, trace.FailReset, trace.FailClosedEarly:
		default:
			continue
		}
		title := fmt.Sprintf("the body ended after %d bytes", r.Body.WireSize)
		if r.Body.Announced >= 0 {
			title += fmt.Sprintf(" of %d announced", r.Body.Announced)
		}
		out = append(out, &trace.Finding{ID: HTTPTruncated, Severity: trace.Error, Exchange: x.ID, Connection: x.Connection,
			Evidence: ofExchange(t, x.ID, trace.EventHTTP1Response, trace.EventHTTP1CutShort, http2.FrameHeaders.Event(), trace.EventRequestFailed, http2.FrameRSTStream.Event()),
			Title:    title, Explanation: wellUntilTheEnd(r.Status),
			WhatToDo: "Look at the log of the server, and of a proxy before it, for this moment: the connection ended before the body did.", Source: "RFC 9112 §8"})
	}
	return out
}

// wellUntilTheEnd says how a body that is cut short is missed.
func wellUntilTheEnd(status int) string {
	if status/100 == 2 {
		return "The status said that all was well; only the end of the body tells otherwise."
	}
	return "Nothing in the head tells; only the end of the body does."
}

func redirectLoop(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		if x.Failure == nil || x.Failure.Code != trace.FailTooManyRedirects {
			continue
		}
		// The shortest loop that the chain ends in.
		var chain []string
		for at := x; at != nil; at = t.Exchange(at.Predecessor) {
			chain = append(chain, at.URL)
			if at.Predecessor == 0 {
				break
			}
		}
		loop := ""
		for i := 1; i < len(chain); i++ {
			if chain[i] == chain[0] {
				loop = fmt.Sprintf(" It goes round: %s comes back after %d.", chain[0], i)
				break
			}
		}
		out = append(out, &trace.Finding{ID: HTTPRedirectLoop, Severity: trace.Error, Exchange: x.ID, Connection: x.Connection, Evidence: ofExchange(t, x.ID, trace.EventHTTP1Response, http2.FrameHeaders.Event(), trace.EventRequestFailed),
			Title: x.Failure.Seen, Explanation: "Each response sends the client on to the next URL." + loop,
			WhatToDo: "If TLS ends at a proxy, let the application trust X-Forwarded-Proto; else look for a cookie that the client does not send back.", Source: "RFC 9110 §15.4"})
	}
	return out
}

// connectionDied tells whether a request failed as its connection ended; a stream
// can be refused, and the connection go on.
func connectionDied(f *trace.Failure) bool {
	if f == nil {
		return false
	}
	switch f.Code {
	case trace.FailClosedEarly, trace.FailReset, trace.FailBroken, trace.FailConnectionClosed:
		return true
	}
	return false
}

// reuseRace: a request went into a connection that the server was closing.
func reuseRace(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		prev := t.Exchange(x.Predecessor)
		if x.Cause != trace.CauseRetry || prev == nil || !prev.Reused || !connectionDied(prev.Failure) {
			continue
		}
		out = append(out, &trace.Finding{ID: HTTPReuseRace, Severity: trace.Warning, Exchange: prev.ID, Connection: prev.Connection,
			Evidence:    append(ofExchange(t, prev.ID, trace.EventPoolReuse, trace.EventRequestFailed), ofExchange(t, x.ID, trace.EventPoolNew, trace.EventPoolReuse)...),
			Title:       fmt.Sprintf("connection #%d died as request %d left on it; it was sent again", prev.Connection, prev.ID),
			Explanation: "The server closes idle connections after a time; a request that leaves at that very moment is lost.",
			WhatToDo:    "Let the server keep idle connections longer than its clients do.", Source: "RFC 9112 §9.3.1"})
	}
	return out
}

// uncompressedFrom is where compression of text begins to matter: ten initial
// congestion windows' worth is a visible delay on slow links.
const uncompressedFrom = 100_000

func uncompressed(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		r := x.Response
		if r == nil || r.Body.Encoding != "" || r.Body.WireSize < uncompressedFrom || value(x.Request.Headers, "accept-encoding") == "" {
			continue
		}
		ct := strings.ToLower(value(r.Headers, "content-type"))
		if strings.HasPrefix(ct, "text/") || strings.Contains(ct, "json") || strings.Contains(ct, "javascript") || strings.Contains(ct, "xml") {
			out = append(out, &trace.Finding{ID: HTTPNoCompression, Severity: trace.Info, Exchange: x.ID, Connection: x.Connection, Evidence: ofExchange(t, x.ID, trace.EventHTTP1Response, http2.FrameHeaders.Event()),
				Title:       fmt.Sprintf("%d bytes of %s came without compression", r.Body.WireSize, ct),
				Explanation: "The client takes compressed content; text usually shrinks to a quarter.", WhatToDo: "Switch compression on in the server.", Source: "RFC 9110 §8.4"})
		}
	}
	return out
}

func value(l []trace.Header, name string) string {
	for _, h := range l {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}
