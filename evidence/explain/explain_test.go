package explain

import (
	"net/netip"
	"testing"
	"time"

	"peel/trace"
)

var day = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// healthy is a trace in which nothing is wrong.
func healthy() *trace.Trace {
	at := trace.Time(1000)
	return &trace.Trace{Start: day,
		Exchanges: []*trace.Exchange{{ID: 1, Method: "GET", URL: "https://example.com/", Protocol: "HTTP/2", Connection: 1, Stream: 1, Lookup: 1,
			Request:  trace.Request{Method: "GET", Headers: []trace.Header{{Name: "accept-encoding", Value: "gzip"}}},
			Response: &trace.Response{Status: 200, Headers: []trace.Header{{Name: "content-type", Value: "text/html"}}, Body: trace.Body{Framing: "end_stream", WireSize: 500, Announced: -1, Complete: true}}}},
		Lookups: []*trace.Lookup{{ID: 1, Name: "example.com", Steps: []trace.Step{{Source: "files", Outcome: "no_name"},
			{Source: "dns", Question: trace.Question{Name: "example.com.", Type: "A"}, Server: netip.MustParseAddrPort("10.0.0.53:53"), Outcome: "answer", Duration: 2e6}}, Addresses: []trace.Address{{IP: netip.MustParseAddr("192.0.2.1")}}}},
		Connections: []*trace.Connection{{ID: 1, Network: "tcp", Origin: "https://example.com:443", RemoteAddr: netip.MustParseAddrPort("192.0.2.1:443"), Connected: &at, Attempts: []trace.Attempt{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Outcome: "connected"}},
			TLS: &trace.TLS{Version: "TLS 1.3", ALPN: "h2", ALPNOffered: []string{"h2", "http/1.1"}, Decrypted: true, Verdict: &trace.Verdict{OK: true, Code: "ok"},
				Chain: []trace.Certificate{{Subject: "CN=example.com", NotBefore: "2026-10-01T00:00:00Z", NotAfter: "2027-01-01T00:00:00Z"}}},
			HTTP2: &trace.HTTP2{MaxConcurrent: 1, GoAway: &trace.GoAway{Direction: "out", Code: "NO_ERROR"}}}},
		Events: []*trace.Event{{ID: 1, Name: "dns.query", Lookup: 1}, {ID: 2, Name: "connect.start", Connection: 1, Exchange: 1}, {ID: 3, Name: "tls.handshake.certificate", Connection: 1},
			{ID: 4, Name: "http2.headers", Connection: 1, Exchange: 1}, {ID: 5, Name: "pool.wait", Exchange: 1}},
	}
}

func TestHealthyTraceHasNoFindings(t *testing.T) {
	for _, f := range Findings(healthy()) {
		t.Errorf("%s: %s", f.ID, f.Title)
	}
}

// Evidence is what shows a thing, not all that there is of it.
func TestEvidenceIsBounded(t *testing.T) {
	tr := healthy()
	tr.Connections[0].Failure = &trace.Failure{Layer: trace.LayerTLS, Code: trace.FailReset, Seen: "seen", Try: "try"}
	for _, name := range []trace.EventName{"tls.handshake.client_hello", trace.EventTLSAlert, trace.EventTCPRST} {
		for range 2 * enough {
			tr.Events = append(tr.Events, &trace.Event{ID: len(tr.Events) + 1, Name: name, Connection: 1})
		}
	}
	found := false
	for _, f := range Findings(tr) {
		found = found || f.ID == TLSReset
		if len(f.Evidence) > enough {
			t.Errorf("%s: %d events", f.ID, len(f.Evidence))
		}
	}
	if !found {
		t.Error("the reset was not found")
	}
}

func TestEachFaultIsFound(t *testing.T) {
	fail := func(layer trace.LayerName, code trace.FailureCode) *trace.Failure {
		return &trace.Failure{Layer: layer, Code: code, Seen: "seen", Try: "try"}
	}
	for id, spoil := range map[trace.FindingID]func(*trace.Trace){
		"DNS-TIMEOUT": func(t *trace.Trace) {
			t.Lookups[0].Steps = append([]trace.Step{{Source: "dns", Server: netip.MustParseAddrPort("10.0.0.9:53"), Outcome: "timeout", Duration: 5e9}}, t.Lookups[0].Steps...)
		},
		"DNS-TRUNCATED": func(t *trace.Trace) { t.Lookups[0].Steps[1].Outcome = "truncated" },
		"DNS-SEARCH-STORM": func(t *trace.Trace) {
			for _, s := range []string{"example.com.ns.svc.", "example.com.svc."} {
				t.Lookups[0].Steps = append(t.Lookups[0].Steps, trace.Step{Source: "dns", Question: trace.Question{Name: s, Type: "A"}, Outcome: "no_name"})
			}
		},
		"DNS-NXDOMAIN":    func(t *trace.Trace) { t.Lookups[0].Failure = fail("dns", "name_not_found") },
		"DNS-EMPTY":       func(t *trace.Trace) { t.Lookups[0].Failure = fail("dns", "no_data") },
		"DNS-SERVFAIL":    func(t *trace.Trace) { t.Lookups[0].Failure = fail("dns", "server_failure") },
		"CONNECT-REFUSED": func(t *trace.Trace) { t.Connections[0].Attempts[0].Outcome = "refused" },
		"CONNECT-TIMEOUT": func(t *trace.Trace) { t.Connections[0].Attempts[0].Outcome = "timeout" },
		// One that was given up after a quarter of a second may have been slow.
		"V6-SLOW": func(t *trace.Trace) {
			t.Connections = append(t.Connections, &trace.Connection{ID: 2, Origin: "https://example.com:443", Attempts: []trace.Attempt{{Address: netip.MustParseAddrPort("[2001:db8::1]:443"), Outcome: "cancelled", End: 250e6}}})
		},
		"V6-BROKEN": func(t *trace.Trace) {
			t.Connections = append(t.Connections, &trace.Connection{ID: 2, Origin: "https://example.com:443", Attempts: []trace.Attempt{{Address: netip.MustParseAddrPort("[2001:db8::1]:443"), Outcome: "timeout", End: 250e6}}})
		},
		"CONNECT-ONE-FAMILY": func(t *trace.Trace) {
			t.Connections = append(t.Connections, &trace.Connection{ID: 2, Origin: "https://example.com:443", Attempts: []trace.Attempt{{Address: netip.MustParseAddrPort("[::1]:443"), Outcome: "refused", End: 1e6}}})
		},
		"CONNECT-UNREACHABLE": func(t *trace.Trace) { t.Connections[0].Attempts[0].Outcome = "unreachable" },
		"CAPTURE-DUPLICATES": func(t *trace.Trace) {
			t.Copies, t.Account = 3, &trace.Account{Packets: 6}
			t.Events = append(t.Events, &trace.Event{ID: 6, Name: trace.EventCaptureCopy})
		},
		"TLS-EXPIRED": func(t *trace.Trace) { t.Connections[0].TLS.Verdict = &trace.Verdict{Code: "expired", Reason: "why"} },
		"TLS-CLOCK": func(t *trace.Trace) {
			t.Connections[0].TLS.Verdict = &trace.Verdict{Code: "not_yet_valid", Reason: "why"}
		},
		"TLS-WRONG-NAME": func(t *trace.Trace) { t.Connections[0].TLS.Verdict = &trace.Verdict{Code: "wrong_name", Reason: "why"} },
		"TLS-UNKNOWN-ROOT": func(t *trace.Trace) {
			t.Connections[0].TLS.Verdict = &trace.Verdict{Code: "unknown_root", Reason: "why"}
		},
		"TLS-NO-INTERMEDIATE": func(t *trace.Trace) {
			t.Connections[0].TLS.Verdict = &trace.Verdict{Code: "missing_intermediate", Reason: "why"}
		},
		"TLS-VERSION":     func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "version") },
		"TLS-CIPHER":      func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "cipher") },
		"TLS-ALPN":        func(t *trace.Trace) { t.Connections[0].TLS.ALPN, t.Connections[0].Protocol = "", trace.ProtocolHTTP11 },
		"TLS-MTLS":        func(t *trace.Trace) { t.Exchanges[0].Failure = fail("tls", "client_certificate") },
		"TLS-CLOSED":      func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "client_closed") },
		"TLS-RESET":       func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "reset") },
		"TLS-ALERT":       func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "alert") },
		"TLS-HANDSHAKE":   func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "handshake_failed") },
		"TLS-CERTIFICATE": func(t *trace.Trace) { t.Connections[0].Failure = fail("tls", "certificate_refused") },
		"TLS-NO-CLOSE-NOTIFY": func(t *trace.Trace) {
			t.Exchanges[0].Response.Body.Framing = trace.FramingClose
			t.Events = append(t.Events, &trace.Event{ID: 6, Name: trace.EventTCPFIN, Connection: 1, Direction: trace.In})
		},
		"TLS-HELLO-RETRY":  func(t *trace.Trace) { t.Connections[0].TLS.HelloRetry = true },
		"TLS-EXPIRES-SOON": func(t *trace.Trace) { t.Connections[0].TLS.Chain[0].NotAfter = "2026-11-25T00:00:00Z" },
		"HTTP-TRUNCATED": func(t *trace.Trace) {
			t.Exchanges[0].Response.Body.Complete = false
			t.Exchanges[0].Failure = fail("http1", "body_truncated")
		},
		"HTTP-MALFORMED": func(t *trace.Trace) { t.Exchanges[0].Failure = fail("http1", "malformed_request") },
		"HTTP-NOT-HTTP":  func(t *trace.Trace) { t.Exchanges[0].Failure = fail("http1", "not_http") },
		"HTTP-EMPTY-REPLY": func(t *trace.Trace) {
			t.Exchanges[0].Response, t.Exchanges[0].Failure = nil, fail("http1", "closed_early")
		},
		"HTTP-RESET": func(t *trace.Trace) {
			t.Exchanges[0].Response, t.Exchanges[0].Failure = nil, fail("http1", "reset")
		},
		"HTTP-ENCODING":      func(t *trace.Trace) { t.Exchanges[0].Failure = fail("http", "content_encoding") },
		"HTTP-DESYNC":        func(t *trace.Trace) { t.Events[3].Name = trace.EventHTTP1Unsolicited },
		"HTTP-NOT-CAPTURED":  func(t *trace.Trace) { t.Events[3].Name = trace.EventHTTP1Missing },
		"HTTP-REDIRECT-LOOP": func(t *trace.Trace) { t.Exchanges[0].Failure = fail("http", "too_many_redirects") },
		"HTTP-REUSE-RACE": func(t *trace.Trace) {
			t.Exchanges[0].Reused, t.Exchanges[0].Failure = true, fail("http1", "closed_early")
			t.Exchanges = append(t.Exchanges, &trace.Exchange{ID: 2, Predecessor: 1, Cause: "retry"})
		},
		"HTTP-NO-COMPRESSION": func(t *trace.Trace) { t.Exchanges[0].Response.Body.WireSize = 300_000 },
		"H2-GOAWAY": func(t *trace.Trace) {
			t.Connections[0].HTTP2.GoAway = &trace.GoAway{Direction: "in", Code: "ENHANCE_YOUR_CALM", LastStream: 11}
		},
		"H2-MAX-STREAMS": func(t *trace.Trace) { t.Events[4].Connection = 1 },
	} {
		tr := healthy()
		spoil(tr)
		var got []trace.FindingID
		found := false
		for _, f := range Findings(tr) {
			got = append(got, f.ID)
			if f.ID != id {
				continue
			}
			found = true
			if f.Title == "" || f.Evidence == nil || f.Severity != "info" && f.Severity != "warning" && f.Severity != "error" {
				t.Errorf("%s: %+v", id, f)
			}
			for _, e := range f.Evidence {
				if tr.Event(e) == nil {
					t.Errorf("%s: evidence %d does not exist", id, e)
				}
			}
		}
		if !found {
			t.Errorf("%s is not found, only %v", id, got)
		}
	}
}

// A race that IPv4 wins within the usual delay is how it should be.
func TestShortLossOfIPv6IsNoFinding(t *testing.T) {
	tr := healthy()
	tr.Connections = append(tr.Connections, &trace.Connection{ID: 2, Origin: "https://example.com:443", Attempts: []trace.Attempt{{Address: netip.MustParseAddrPort("[2001:db8::1]:443"), Outcome: "cancelled", End: 20e6}}})
	if f := Findings(tr); len(f) > 0 {
		t.Errorf("%s", f[0].Title)
	}
}

// A name that a search list made is no failure where another of the list
// brought an address.
func TestSearchListInPackets(t *testing.T) {
	for _, c := range []struct {
		failed, found string
		after         time.Duration
		finding       bool
	}{
		{"db.shop.svc.cluster.local", "db.svc.cluster.local", time.Millisecond, false},
		{"example.com.svc.cluster.local", "example.com", time.Millisecond, false},
		{"printer", "printer.example.com", time.Millisecond, false},
		{"example.com.svc.cluster.local", "example.com", time.Minute, true},
		{"www.example.com", "www.example.net", time.Millisecond, true},
		{"example.com", "www.example.com", time.Millisecond, true},
	} {
		tr := &trace.Trace{Lookups: []*trace.Lookup{
			{ID: 1, Name: c.failed, Failure: &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNameNotFound}},
			{ID: 2, Name: c.found, Start: trace.Time(c.after), Addresses: []trace.Address{{IP: netip.MustParseAddr("192.0.2.1")}}}}}
		if got := len(dnsFailure(lay(tr))) == 1; got != c.finding {
			t.Errorf("%s, then %s after %v: finding %v", c.failed, c.found, c.after, got)
		}
	}
}

// What was not asked for is not said to be missing.
func TestNoDataSaysWhatWasAsked(t *testing.T) {
	tr := healthy()
	tr.Lookups[0].Failure = &trace.Failure{Layer: trace.LayerDNS, Code: trace.FailNoData, Seen: "seen", Try: "try"}
	tr.Lookups[0].Steps = []trace.Step{{Source: trace.SourceDNS, Question: trace.Question{Name: "example.com.", Type: "A"}, Outcome: trace.StepNoData}}
	find := func() string {
		for _, f := range Findings(tr) {
			if f.ID == DNSEmpty {
				return f.Title
			}
		}
		return ""
	}
	if got := find(); got != "example.com has no address of IPv4; IPv6 was not asked for" {
		t.Error(got)
	}
	tr.Lookups[0].Steps = append(tr.Lookups[0].Steps, trace.Step{Source: trace.SourceDNS, Question: trace.Question{Name: "example.com.", Type: "AAAA"}, Outcome: trace.StepNoData})
	if got := find(); got != "example.com has no address" {
		t.Error(got)
	}
}

// A request that was sent again on another connection is told once, and a
// malformed chunk is no truncation.
func TestHTTP1FindingsThatAreNot(t *testing.T) {
	retried := healthy()
	retried.Exchanges[0].Response, retried.Exchanges[0].Failure = nil, &trace.Failure{Layer: trace.LayerHTTP1, Code: trace.FailClosedEarly, Seen: "seen"}
	retried.Exchanges = append(retried.Exchanges, &trace.Exchange{ID: 2, Predecessor: 1, Cause: trace.CauseRetry, Response: &trace.Response{Status: 200, Body: trace.Body{Complete: true}}})
	chunk := healthy()
	chunk.Exchanges[0].Response.Body.Complete = false
	chunk.Exchanges[0].Failure = &trace.Failure{Layer: trace.LayerHTTP1, Code: trace.FailMalformedBody, Seen: "seen"}
	client := healthy()
	client.Exchanges[0].Response, client.Exchanges[0].Failure = nil, &trace.Failure{Layer: trace.LayerHTTP1, Code: trace.FailClientReset, Seen: "seen"}
	for _, c := range []struct {
		tr  *trace.Trace
		not trace.FindingID
	}{{retried, HTTPEmptyReply}, {chunk, HTTPTruncated}, {client, HTTPReset}} {
		for _, f := range Findings(c.tr) {
			if f.ID == c.not {
				t.Errorf("%s: %s", f.ID, f.Title)
			}
		}
	}
}
