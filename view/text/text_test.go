package text

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"peel/trace"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is an HTTP/2 request whose certificate is fine, over HTTPS.
func sample() *trace.Trace {
	ms := func(v float64) trace.Time { return trace.Time(v * 1e6) }
	iv := func(a, b float64, from, to int) *trace.Interval {
		return &trace.Interval{Start: ms(a), End: ms(b), Duration: trace.Duration(ms(b) - ms(a)), FromEvent: from, ToEvent: to}
	}
	connected := ms(22)
	return &trace.Trace{SchemaVersion: 1, Start: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
		Exchanges: []*trace.Exchange{{ID: 1, Method: "GET", URL: "https://example.com/a", Protocol: "HTTP/2", Connection: 3, Stream: 1, Lookup: 1, Pool: "new connection: first request to this origin",
			Start: 0, End: ms(80), Normalised: []string{"scheme added example.com/a → https://example.com/a (the web's default today)"},
			Request:  trace.Request{Method: "GET", Headers: make([]trace.Header, 7), HeadersSize: 55},
			Response: &trace.Response{Status: 200, Headers: []trace.Header{{Name: "content-type", Value: "text/html"}, {Name: "server", Value: "nginx"}}, HeadersSize: 53, Body: trace.Body{Framing: "end_stream", WireSize: 2300, DecodedSize: 9100, Encoding: "gzip", Complete: true, Announced: -1}},
			Timings:  trace.Timings{Blocked: iv(0, 0.05, 1, 2), DNS: iv(0.05, 12, 2, 3), Connect: iv(12, 46, 4, 6), SSL: iv(22, 46, 5, 6), Send: iv(46.1, 46.1, 7, 7), Wait: iv(46.1, 77, 7, 8), Receive: iv(77, 80, 8, 9), Total: iv(0, 80, 1, 9)}}},
		Lookups: []*trace.Lookup{{ID: 1, Name: "example.com", Steps: []trace.Step{{Source: "files", Text: "files: no entry in /etc/hosts"}, {Source: "dns", Text: "example.com. A to 10.0.0.53:53 over udp, attempt 1, 11.9ms: 192.0.2.1 (TTL 300 s)"}}, Addresses: []trace.Address{{IP: netip.MustParseAddr("192.0.2.1"), TTL: 300}}}},
		Connections: []*trace.Connection{{ID: 3, Network: "tcp", LocalAddr: netip.MustParseAddrPort("10.0.0.7:40000"), RemoteAddr: netip.MustParseAddrPort("192.0.2.1:443"), Connected: &connected, TCP: &trace.TCP{Source: "TCP_INFO", RTT: 10e6, SendMSS: 1448, Retransmits: 1},
			TLS: &trace.TLS{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", SNI: "example.com", ALPN: "h2", ALPNOffered: []string{"h2"}, Verdict: &trace.Verdict{OK: true, Reason: "valid for example.com, issued by R3, trusted through ISRG Root X1, expires in 60 days"}}}},
		Events: []*trace.Event{
			{ID: 1, Time: 0, Layer: "input", Name: "request.start", Text: "GET https://example.com/a", Exchange: 1},
			{ID: 2, Time: ms(0.05), Layer: "dns", Name: "lookup.start", Text: "look up example.com", Lookup: 1},
			{ID: 3, Time: ms(12), Layer: "dns", Name: "lookup.end", Text: "example.com is 192.0.2.1", Lookup: 1},
			{ID: 4, Time: ms(12), Layer: "tcp", Name: "connect.start", Text: "connect to 192.0.2.1:443", Connection: 3, Exchange: 1},
			{ID: 5, Time: ms(22), Layer: "tls", Name: "tls.start", Text: "TLS handshake for example.com", Connection: 3},
			{ID: 6, Time: ms(46), Layer: "tls", Name: "tls.done", Text: "TLS handshake complete", Connection: 3},
			{ID: 7, Time: ms(46.1), Layer: "http2", Name: "http2.headers", Direction: "out", Text: "HEADERS, END_STREAM: GET /a", Connection: 3, Stream: 1, Exchange: 1, Raw: []byte("\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82"), RawLength: 10,
				Bytes: []trace.Range{{Space: "tls", Connection: 3, Direction: "out", Offset: 64, Length: 10}, {Space: "stream", Connection: 3, Direction: "out", Offset: 1600, Length: 32}}},
			{ID: 8, Time: ms(77), Layer: "http2", Name: "http2.headers", Direction: "in", Text: "HEADERS: 200", Connection: 3, Stream: 1, Exchange: 1},
			{ID: 9, Time: ms(80), Layer: "http2", Name: "http2.data", Direction: "in", Text: "DATA, 2300 bytes, END_STREAM", Connection: 3, Stream: 1, Exchange: 1}},
		Findings: []*trace.Finding{{ID: "TLS-EXPIRES-SOON", Severity: "warning", Title: "the certificate expires in 5 days", Explanation: "Renewal has probably failed.", WhatToDo: "Renew it."}},
	}
}

func failed() *trace.Trace {
	t := sample()
	x := t.Exchanges[0]
	x.Response, x.Timings.Wait, x.Timings.Receive = nil, nil, nil
	x.Failure = &trace.Failure{Layer: "http2", Code: "reset", Seen: "the server reset stream 1 with INTERNAL_ERROR", Try: "look at the server's log for this moment"}
	second := *x
	second.ID, second.Predecessor, second.Cause, second.Reused = 2, 1, "retry", true
	second.Start = x.End
	second.End = x.End + 10e6
	t.Exchanges = append(t.Exchanges, &second)
	return t
}

func render(t *testing.T, tr *trace.Trace, o Options) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, tr, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	fields := func(e *trace.Event) []trace.Field {
		if e.ID != 7 {
			return nil
		}
		return []trace.Field{{Name: "http2.type", Value: "1", Meaning: "HEADERS", Offset: 3, Length: 1, Children: []trace.Field{{Name: "http2.header", Value: ":method: GET", Meaning: "indexed 2", Offset: 9, Length: 1}}}}
	}
	for name, out := range map[string]string{
		"story-80.txt":  render(t, sample(), Options{Width: 80}),
		"story-120.txt": render(t, sample(), Options{Width: 120}),
		"messages.txt":  render(t, sample(), Options{Width: 100, Verbose: 2, Fields: fields}),
		"failed.txt":    render(t, failed(), Options{Width: 100}),
		"empty.txt":     render(t, &trace.Trace{}, Options{}),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			os.MkdirAll("testdata", 0o755)
			if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != out {
			t.Errorf("%s (go test -update writes it anew):\n%s", name, out)
		}
	}
}

func TestStoryFitsTheScreen(t *testing.T) {
	for _, width := range []int{60, 80, 100, 120} {
		out := render(t, sample(), Options{Width: width})
		lines := strings.Split(out, "\n")
		if len(lines) > 40 {
			t.Errorf("width %d: %d lines", width, len(lines))
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l); n > width {
				t.Errorf("width %d: a line of %d: %q", width, n, l)
			}
		}
	}
}

// What comes from the network must not steer the terminal.
func TestHostileTextIsHarmless(t *testing.T) {
	tr := sample()
	bad := "a\x1b[31mred\x07\r\n\u202eevil\xff\x00"
	x := tr.Exchanges[0]
	x.URL += bad
	x.Method += bad
	x.Pool += bad
	x.Response.Reason = bad
	x.Response.Headers[0].Value = bad
	tr.Connections[0].TLS.SNI = bad
	tr.Connections[0].TLS.Verdict.Reason = bad
	tr.Lookups[0].Steps[0].Text = bad
	tr.Findings[0].Title = bad
	tr.Events[6].Text = bad
	x.Failure = &trace.Failure{Layer: "http", Seen: bad, Try: bad}
	out := render(t, tr, Options{Verbose: 2, Fields: func(*trace.Event) []trace.Field { return []trace.Field{{Name: "x", Value: bad, Meaning: bad}} }})
	for _, c := range []string{"\x1b", "\x07", "\r", "\u202e", "\xff", "\x00"} {
		if strings.Contains(out, c) {
			t.Errorf("%q reaches the terminal", c)
		}
	}
	if !utf8.ValidString(out) {
		t.Error("invalid UTF-8 reaches the terminal")
	}
}

func TestColourCarriesNoMeaning(t *testing.T) {
	plain := render(t, failed(), Options{Width: 100})
	coloured := render(t, failed(), Options{Width: 100, Color: true})
	stripped := coloured
	for {
		i := strings.IndexByte(stripped, 0x1b)
		if i < 0 {
			break
		}
		j := strings.IndexByte(stripped[i:], 'm')
		stripped = stripped[:i] + stripped[i+j+1:]
	}
	if stripped != plain {
		t.Errorf("without colour:\n%s\nwith, stripped:\n%s", plain, stripped)
	}
}
