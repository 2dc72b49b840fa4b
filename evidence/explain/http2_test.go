package explain

import (
	"strings"
	"testing"

	"peel/trace"
	"peel/wire/http2"
)

// ended is a trace of requests on one HTTP/2 connection that failed so.
func ended(goAway *trace.GoAway, list ...trace.Failure) *trace.Trace {
	t := &trace.Trace{Connections: []*trace.Connection{{ID: 1, HTTP2: &trace.HTTP2{GoAway: goAway}}}}
	for i, f := range list {
		x := &trace.Exchange{ID: i + 1, Connection: 1, Stream: uint32(2*i + 1)}
		if f.Code != "" {
			x.Failure = &f
		}
		t.Exchanges = append(t.Exchanges, x)
		for _, name := range []trace.EventName{http2.FrameHeaders.Event(), http2.FrameRSTStream.Event(), trace.LayerHTTP2.Malformed(), http2.FrameGoAway.Event()} {
			bad := f.Code == trace.FailMalformedResponse || f.Code == trace.FailProtocol
			if f.Code != "" && (bad || name != trace.LayerHTTP2.Malformed()) {
				t.Events = append(t.Events, &trace.Event{ID: len(t.Events) + 1, Name: name, Connection: 1, Exchange: x.ID, Text: "what it says"})
			}
		}
	}
	return t
}

func titles(t *trace.Trace) (out []string) {
	for _, f := range Findings(t) {
		out = append(out, string(f.ID)+" "+string(f.Severity)+": "+f.Title+" | "+f.Explanation+" | "+f.WhatToDo)
	}
	return out
}

// What ended requests on HTTP/2 is found, once.
func TestEndsOfHTTP2AreFound(t *testing.T) {
	failure := func(code trace.FailureCode) trace.Failure {
		return trace.Failure{Layer: trace.LayerHTTP2, Code: code, Seen: "what was seen", Try: "what to try"}
	}
	fine := trace.Failure{}
	calm := func(last uint32, code string) *trace.GoAway {
		return &trace.GoAway{Direction: trace.In, LastStream: last, Code: code}
	}
	for _, c := range []struct {
		name  string
		trace *trace.Trace
		want  []string // parts of each finding
	}{
		{"a reset", ended(nil, fine, failure(trace.FailStreamReset)), []string{"H2-STREAM-RESET error: what was seen | RST_STREAM ends one stream, which is a request and its response; it says nothing of the others on the connection. | What to try."}},
		{"a response that breaks the rules", ended(nil, failure(trace.FailMalformedResponse)), []string{"H2-MALFORMED error: what was seen"}},
		{"a connection that broke the protocol", ended(nil, failure(trace.FailProtocol), failure(trace.FailProtocol)), []string{"H2-MALFORMED error: what was seen"}},
		{"a frame that hurt nobody", func() *trace.Trace {
			tr := ended(nil, fine)
			tr.Events = []*trace.Event{{ID: 1, Name: trace.LayerHTTP2.Malformed(), Connection: 1, Text: "the server broke the protocol"}}
			return tr
		}(), []string{"H2-MALFORMED warning: connection #1: the server broke the protocol"}},
		{"a friendly end", ended(calm(1, "NO_ERROR"), fine), nil},
		{"the client's own end", ended(&trace.GoAway{Direction: trace.Out, Code: "PROTOCOL_ERROR"}, fine), nil},
		{"an end that names an error", ended(calm(1, "INTERNAL_ERROR"), fine), []string{"H2-GOAWAY error: the server ended connection #1 with GOAWAY INTERNAL_ERROR, naming 1 as the last stream"}},
		{"an end with requests under way", ended(calm(1, "NO_ERROR"), failure(trace.FailGoAway), failure(trace.FailGoAway), failure(trace.FailGoAway)),
			[]string{"2 requests (2, 3) are on a later stream: the server did not process what is there, and sending it again does no harm. Request 1 was not answered"}},
		{"an end for too much", ended(calm(0, "ENHANCE_YOUR_CALM"), failure(trace.FailGoAway)), []string{"the server did not process what is there. | What to try."}},
		{"fields that are not known", func() *trace.Trace {
			tr := ended(nil, fine)
			tr.Exchanges[0].Request.Headers = []trace.Header{{Unknown: trace.UnknownField}, {Name: ":method", Value: "GET"}}
			return tr
		}(), []string{"H2-FIELDS-UNKNOWN info: connection #1: header fields that are not known, in all 1 (header lists: 1)"}},
	} {
		got := titles(c.trace)
		ok := len(got) == len(c.want)
		for i := range min(len(got), len(c.want)) {
			ok = ok && strings.Contains(got[i], c.want[i])
		}
		if !ok {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
