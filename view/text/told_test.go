package text

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"peel/evidence/explain"
	"peel/trace"
)

func wantIn(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(out, p) {
			t.Errorf("%q is missing in\n%s", p, out)
		}
	}
}

// A finding that says what the failure says is told with it; what it adds stands
// there, and what the failure lacks. Findings about something else stay below.
func TestVerdict(t *testing.T) {
	tr := sample()
	x := tr.Exchanges[0]
	x.Response = nil
	x.Failure = &trace.Failure{Layer: trace.LayerTLS, Code: trace.FailVersion, Seen: "no version suits"}
	tr.Findings = []*trace.Finding{
		{ID: explain.TLSVersion, Severity: trace.Error, Connection: 3, Title: "no version suits", Explanation: "It is old.", WhatToDo: "Mend it."},
		{ID: explain.TLSVersion, Severity: trace.Error, Connection: 9, Title: "elsewhere", WhatToDo: "Mend that."},
		{ID: explain.TCPLoss, Severity: trace.Warning, Connection: 3, Title: "some were lost", WhatToDo: "Look."},
	}
	out := render(t, tr, Options{Width: 100})
	wantIn(t, out, "GET https://example.com/a\nfailed  in 80.0 ms\ntls: no version suits\nwhy      It is old. (TLS-VERSION)\ntry      Mend it.\n\ndns ",
		"error TLS-VERSION: elsewhere", "warning TCP-LOSS: some were lost")
	if strings.Count(out, "no version suits") != 1 || strings.Count(out, "Mend it.") != 1 {
		t.Errorf("said again:\n%s", out)
	}
}

// Of several requests each that has something wrong is marked, by what is worst;
// findings name theirs, and the same finding of many is told once.
func TestListOfWhatIsWrong(t *testing.T) {
	tr := &trace.Trace{}
	for id := 1; id <= 9; id++ {
		x := &trace.Exchange{ID: id, Method: "GET", URL: fmt.Sprintf("http://x/%d", id), Connection: id, End: 10, Response: &trace.Response{Status: 200}}
		tr.Exchanges = append(tr.Exchanges, x)
		tr.Connections = append(tr.Connections, &trace.Connection{ID: id, Network: "tcp", Exchanges: []int{id}})
	}
	closed := &trace.Failure{Layer: trace.LayerHTTP1, Code: trace.FailClosedEarly, Seen: "closed", Try: "try again"}
	tr.Exchanges[1].Response, tr.Exchanges[1].Failure = nil, closed
	again := *closed
	tr.Exchanges[5].Response, tr.Exchanges[5].Failure = nil, &again
	tr.Exchanges[6].Method = "VERSION-CONTROL"
	tr.Exchanges[7].Method = "PROPFIND"
	tr.Findings = []*trace.Finding{{ID: "A", Severity: trace.Warning, Exchange: 3, Title: "same"}, {ID: "A", Severity: trace.Warning, Exchange: 4, Title: "same"}, {ID: "B", Severity: trace.Info, Exchange: 5, Title: "note"},
		{ID: "C", Severity: trace.Error, Connection: 9, Title: "of connection 9"}}
	for _, width := range []int{60, 80, 100, 160} {
		out := render(t, tr, Options{Width: width, Offline: true})
		wantIn(t, out, "\n  2 failed ✗ GET ", "  3 200 !    GET", "  4 200 !    GET", "  5 200      GET", "\n  6 failed ✗ GET ", " VERSION-CON… ", " PROPFIND     ", "  9 200 ✗    GET",
			"\nfailed requests 2, 6: http1: closed\n  Try again.\n", "warning A: requests 3–4: same", "note B: request 5: note", "error C: of connection 9")
		for _, l := range strings.Split(out, "\n") {
			if n := utf8.RuneCountInString(l); n > width {
				t.Errorf("width %d: a line of %d: %q", width, n, l)
			}
		}
	}
}

// A connection that was opened and lost the race is told without words that are
// missing.
func TestSpareConnection(t *testing.T) {
	tr := sample()
	attempt := tr.Connections[0].RemoteAddr
	spare := func(id int, change func(*trace.Connection)) {
		c := &trace.Connection{ID: id, Network: "tcp", Attempts: []trace.Attempt{{Address: attempt, Start: 0, End: 1_300_000, Outcome: trace.AttemptConnected}}}
		change(c)
		tr.Connections = append(tr.Connections, c)
		tr.Events = append(tr.Events, &trace.Event{ID: len(tr.Events) + 1, Name: trace.EventConnectStart, Exchange: 1, Connection: id})
	}
	spare(4, func(c *trace.Connection) {})
	spare(5, func(c *trace.Connection) { c.Exchanges = []int{7} })
	spare(6, func(c *trace.Connection) { c.Attempts[0].Outcome, c.Attempts[0].Error = trace.AttemptRefused, "nobody" })
	spare(7, func(c *trace.Connection) { c.Attempts[0].Outcome, c.Attempts[0].End = trace.AttemptCancelled, -5 })
	wantIn(t, render(t, tr, Options{Width: 120}), "tcp      #4 192.0.2.1:443 connected after 1.30 ms: a spare connection, unused\n", "#5 192.0.2.1:443 connected after 1.30 ms: it served request 7\n",
		"tcp      192.0.2.1:443 refused after 1.30 ms: nobody\n", "tcp      192.0.2.1:443 cancelled after 0 ns\n")
}

// An instant before the first record has its sign.
func TestInstants(t *testing.T) {
	for at, want := range map[trace.Time]string{0: "0 ns", 1500: "1.50 µs", -122e9: "−122 s", 4e17: "4630 d", -1 << 63: "−106752 d"} {
		if got := instant(at); got != want {
			t.Errorf("%d is %q, want %q", at, got, want)
		}
	}
}

// A chain that is not valid is told once, too: in the verdict, or by a finding.
func TestCertificateIsToldOnce(t *testing.T) {
	tr := sample()
	tr.Connections[0].TLS.Verdict = &trace.Verdict{Code: "expired", Reason: "it ended in May"}
	tr.Findings = []*trace.Finding{{ID: explain.TLSExpired, Severity: trace.Error, Connection: 3, Title: "it ended in May"}}
	tr.Exchanges[0].Failure = &trace.Failure{Layer: trace.LayerTLS, Code: trace.FailCertificate("expired"), Seen: "it ended in May", Try: "renew it"}
	if out := render(t, tr, Options{Width: 100}); strings.Count(out, "it ended in May") != 1 || !strings.Contains(out, "cert     not valid: as told above\n") {
		t.Errorf("%s", out)
	}
	tr.Exchanges[0].Failure, tr.Connections[0].TLS.Verdict.Ignored = nil, true
	if out := render(t, tr, Options{Width: 100}); strings.Count(out, "it ended in May") != 1 || !strings.Contains(out, "cert     not valid, ignored as asked: TLS-EXPIRED, as told below\n") {
		t.Errorf("%s", out)
	}
	tr.Findings = nil
	if out := render(t, tr, Options{Width: 100}); !strings.Contains(out, "cert     not valid, ignored as asked: it ended in May\n") {
		t.Errorf("%s", out)
	}
}

// A clock that steps back within a request leaves no phase outside of it, and no
// share.
func TestClockThatSteps(t *testing.T) {
	tr := sample()
	x := tr.Exchanges[0]
	x.Timings.Wait = &trace.Interval{Start: x.Timings.Total.Start - 122e9, End: x.Timings.Total.Start + 1e6, Duration: 122e9 + 1e6}
	out := render(t, tr, Options{Width: 100})
	wantIn(t, out, "wait         122 s  not within the request's time: the clock stepped\n", "time     the times do not fit together: waiting for the server took 122 s, and the whole 80.0 ms;")
	if strings.Contains(out, "% is") {
		t.Errorf("%s", out)
	}
	// A lookup that was begun for another request, and a body that goes on when
	// the response has ended, are no such thing.
	tr = sample()
	x = tr.Exchanges[0]
	x.Timings.DNS.Start -= 5e6
	x.Timings.Send.End = x.Timings.Total.End + 5e6
	wantIn(t, render(t, tr, Options{Width: 100}), "% is")
}

// A size has three digits, and fits its column, whatever it is.
func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 999_499: "999 kB", 999_500: "1.00 MB", 12_345_678: "12.3 MB", 1 << 40: "1.10 TB", 1<<63 - 1: "9.22 EB"} {
		if got := bytesText(n); got != want || len(got) > sizeWidth {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
