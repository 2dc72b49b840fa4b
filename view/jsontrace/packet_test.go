package jsontrace

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"peel/trace"
)

// What AppendPacket writes by hand reads back as the packet itself.
func TestAppendPacket(t *testing.T) {
	p := &trace.Packet{ID: 7, Time: 12345, Where: `eth"0`, LinkType: "ETHERNET", Length: 80, Captured: 60, Connection: 3, Direction: trace.In,
		Text: "a → b \x00\x1f\\ \u2028", Layers: []trace.Layer{{Name: "eth", Offset: 0, Length: 14}}, Bytes: &trace.Range{Space: trace.SpaceStream, Connection: 3, Direction: trace.In, Offset: 9, Length: 20},
		Notes: []string{"retransmission", "x"}, Comments: []string{"c"}, Hex: "00ff"}
	fields := []trace.Field{{Name: "eth", Value: "", Offset: 0, Length: 14, Children: []trace.Field{{Name: "eth.type", Value: "0x0800", Meaning: "IPv4", Offset: 12, Length: 2}}}}
	line := AppendPacket(nil, time.Unix(1700000000, 0).UTC(), p, fields)
	var got trace.Packet
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	want := *p
	want.Fields = fields
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	var at struct{ At time.Time }
	if json.Unmarshal(line, &at); at.At.UnixNano() != 1700000000*1e9+12345 {
		t.Errorf("at is %v", at.At)
	}
}

func FuzzString(f *testing.F) {
	f.Add("plain")
	f.Add("\xff\xfe\"\\\x00\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString(nil, s)
		var got, want string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		std, _ := json.Marshal(s)
		json.Unmarshal(std, &want)
		if got != want {
			t.Fatalf("%q, encoding/json says %q", got, want)
		}
	})
}
