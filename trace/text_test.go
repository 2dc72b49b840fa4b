package trace_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"peel/trace"
)

// What is text in JSON and more than that in Go comes back as it was.
func TestTextForms(t *testing.T) {
	type forms struct {
		Alerts   []trace.Alert
		Question trace.Question `json:",omitzero"`
		Address  netip.AddrPort `json:",omitzero"`
	}
	for _, c := range []struct {
		text string
		want forms
	}{
		{`{"Alerts":["in: fatal handshake_failure(40)"]}`, forms{Alerts: []trace.Alert{{Direction: trace.In, Code: 40, Text: "fatal handshake_failure(40)"}}}},
		{`{"Alerts":["out: warning close_notify(0)"]}`, forms{Alerts: []trace.Alert{{Direction: trace.Out, Text: "warning close_notify(0)"}}}},
		{`{"Alerts":["in: level 7 alert 200"]}`, forms{Alerts: []trace.Alert{{Direction: trace.In, Code: 200, Text: "level 7 alert 200"}}}},
		{`{"Alerts":null,"Question":"a\\032b. HTTPS"}`, forms{Question: trace.Question{Name: `a\032b.`, Type: "HTTPS"}}},
		{`{"Alerts":null,"Address":"[fe80::1%eth0]:53"}`, forms{Address: netip.MustParseAddrPort("[fe80::1%eth0]:53")}},
	} {
		b, err := json.Marshal(c.want)
		if err != nil || string(b) != c.text {
			t.Errorf("%+v is %s, %v, want %s", c.want, b, err, c.text)
		}
		var got forms
		if err := json.Unmarshal([]byte(c.text), &got); err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		again, _ := json.Marshal(got)
		if string(again) != c.text || len(got.Alerts) > 0 && got.Alerts[0] != c.want.Alerts[0] || got.Question != c.want.Question {
			t.Errorf("%s came back as %+v", c.text, got)
		}
	}
	var a trace.Alert
	for _, bad := range []string{"", "fatal", "in: fatal", "in: fatal x(999)"} {
		if a.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q is read as %+v", bad, a)
		}
	}
}

// Every severity that a person can ask for has its rank.
func TestSeveritiesAreRanked(t *testing.T) {
	for i, s := range []trace.Severity{"", trace.Info, trace.Warning, trace.Error} {
		if s.Rank() != i {
			t.Errorf("%q ranks %d, want %d", s, s.Rank(), i)
		}
	}
}
