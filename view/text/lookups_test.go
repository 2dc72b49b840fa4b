package text

import (
	"net/netip"
	"strings"
	"testing"

	"peel/trace"
)

// What was asked is told in a line each: the answer of each type, by whom, how
// and how often; and beside requests only what none of them used.
func TestLookupRows(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.53:53")
	step := func(typ string, attempt int, outcome trace.StepOutcome, rcode string, data ...string) trace.Step {
		s := trace.Step{Source: trace.SourceDNS, Question: trace.Question{Name: "www.test.", Type: typ}, Server: server, Transport: "udp", Attempt: attempt, Outcome: outcome, Rcode: rcode, Duration: 2e6}
		for _, d := range data {
			s.Answers = append(s.Answers, trace.Record{Name: "www.test.", Type: typ, Data: d})
		}
		return s
	}
	for want, l := range map[string]*trace.Lookup{
		"www.test A,AAAA  192.0.2.1, 192.0.2.2; AAAA no data": {Name: "www.test", Steps: []trace.Step{step("A", 1, trace.StepAnswer, "NOERROR", "192.0.2.1", "192.0.2.2"), step("AAAA", 1, trace.StepNoData, "NOERROR")}},
		"www.test MX  10 mail.test.":                          {Name: "www.test", Steps: []trace.Step{step("MX", 1, trace.StepAnswer, "NOERROR", "10 mail.test.")}},
		"www.test A  no answer in 2.00 ms":                    {Name: "www.test", Steps: []trace.Step{step("A", 1, trace.StepTimeout, "")}},
		"www.test A  no answer seen":                          {Name: "www.test", Steps: []trace.Step{step("A", 1, trace.StepWaiting, "")}},
		"www.test A  192.0.2.1":                               {Name: "www.test", Steps: []trace.Step{step("A", 1, trace.StepTimeout, ""), step("A", 2, trace.StepAnswer, "NOERROR", "192.0.2.1")}},
		"www.test A  refused (ICMP)":                          {Name: "www.test", Steps: []trace.Step{step("A", 1, trace.StepRefused, "")}},
		"UPDATE www.test SOA  NOTAUTH":                        {Name: "www.test", Kind: trace.LookupUpdate, Steps: []trace.Step{step("SOA", 1, trace.StepRefused, "NOTAUTH")}},
		`mDNS www.te\x1bst A  192.0.2.1`:                      {Name: "www.te\x1bst", Kind: trace.LookupMDNS, Steps: []trace.Step{step("A", 1, trace.StepAnswer, "NOERROR", "192.0.2.1")}},
	} {
		l.ID = 1
		var b strings.Builder
		if err := Write(&b, &trace.Trace{Lookups: []*trace.Lookup{l}}, Options{Offline: true, Width: 100}); err != nil {
			t.Fatal(err)
		}
		row := strings.Split(b.String(), "\n")[0]
		if !strings.Contains(row, "  "+want+" ") || !strings.Contains(row, "192.0.2.53 udp") {
			t.Errorf("%q, want %q", row, want)
		}
		if len(l.Steps) == 2 && !strings.Contains(row, "2 queries") {
			t.Errorf("%q does not say how often it was asked", row)
		}
		if strings.ContainsRune(b.String(), '\x1b') {
			t.Errorf("%q moves the cursor", b.String())
		}
	}
	lookups := []*trace.Lookup{{ID: 1, Name: "used.test", Steps: []trace.Step{step("A", 1, trace.StepAnswer, "NOERROR", "192.0.2.1")}}, {ID: 2, Name: "other.test", Steps: []trace.Step{step("A", 1, trace.StepAnswer, "NOERROR", "192.0.2.1")}}}
	var b strings.Builder
	Write(&b, &trace.Trace{Lookups: lookups, Exchanges: []*trace.Exchange{{ID: 1, Lookup: 1, Method: "GET", URL: "http://used.test/"}, {ID: 2, Method: "GET", URL: "http://used.test/"}}}, Options{Offline: true})
	if !strings.Contains(b.String(), "lookups that no request here goes back to:") || !strings.Contains(b.String(), "other.test A") || strings.Contains(b.String(), "used.test A") {
		t.Error(b.String())
	}
}
