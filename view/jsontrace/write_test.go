package jsontrace

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"peel/trace"
)

// What is written part by part is what encoding/json makes of the whole.
func TestWriteIsTheWhole(t *testing.T) {
	full := &trace.Trace{SchemaVersion: 1, Start: time.Unix(1700000000, 5).UTC(), Exchanges: []*trace.Exchange{{ID: 1, URL: "http://x/?a<b>&c", Request: trace.Request{Headers: []trace.Header{{Name: "a", Value: "\u2028"}}}}, {ID: 2}},
		Lookups: []*trace.Lookup{}, Connections: []*trace.Connection{{ID: 1}}, Packets: []*trace.Packet{{ID: 1, Raw: []byte{1, 2}}}, Account: &trace.Account{Packets: 1},
		Events: []*trace.Event{{ID: 1, Raw: []byte{3, 4}}, {ID: 2}}, Findings: []*trace.Finding{{ID: "X", Evidence: []int{1}}}}
	for _, tr := range []*trace.Trace{{}, full} {
		var want, got bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(tr); err != nil {
			t.Fatal(err)
		}
		if err := Write(&got, tr, Options{}); err != nil || got.String() != want.String() {
			t.Errorf("%v\n%s\nwant\n%s", err, &got, &want)
		}
	}
	var got bytes.Buffer
	fields := []trace.Field{{Name: "f", Value: "v"}}
	if err := Write(&got, full, Options{Fields: func(*trace.Trace, *trace.Event) []trace.Field { return fields }, PacketFields: func(*trace.Packet) []trace.Field { return fields }}); err != nil {
		t.Fatal(err)
	}
	var back trace.Trace
	if err := json.Unmarshal(got.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if e, p := back.Events[0], back.Packets[0]; e.Hex != hex.EncodeToString([]byte{3, 4}) || p.Hex != "0102" || len(e.Fields) != 1 || len(p.Fields) != 1 {
		t.Errorf("%+v %+v", e, p)
	}
	if full.Events[0].Fields != nil || full.Packets[0].Hex != "" {
		t.Error("the trace was changed")
	}
}
