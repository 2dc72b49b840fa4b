package icmp

import (
	"encoding/hex"
	"testing"
)

func TestMessages(t *testing.T) {
	for _, c := range []struct {
		b    string
		v6   bool
		want string
		err  bool // is an error message
	}{
		{"0800000012340001", false, "echo request id=4660 seq=1", false},
		{"03030000000000004500", false, "destination unreachable: port unreachable", true},
		{"0304000000000578" + "4500", false, "destination unreachable: fragmentation needed and DF set, next MTU 1400", true},
		{"0b00000000000000" + "4500", false, "time exceeded: hop limit exceeded in transit", true},
		{"0200000000000500" + "6000", true, "packet too big, next MTU 1280", true},
		{"8700000000000000" + "20010db8000000000000000000000001" + "0101020000000001", true, "who has 2001:db8::1? (02:00:00:00:00:01)", false},
		{"8800000060000000" + "20010db8000000000000000000000001" + "0201020000000002", true, "2001:db8::1 is here (02:00:00:00:00:02)", false},
		{"f000000000000000", false, "type 240", false},
	} {
		b, err := hex.DecodeString(c.b)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(b, c.v6)
		if err != nil || m.String() != c.want || m.IsError() != c.err {
			t.Errorf("%s: %q, error message %v, %v; want %q, %v", c.b, m, m.IsError(), err, c.want, c.err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x87\x00\x00\x00\x00\x00\x00\x00\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x02\x00\x00\x00\x00\x01"), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		if m, err := Parse(b, v6); err == nil {
			_ = m.String()
			m.Quoted()
		}
		for _, field := range Fields(b, v6, 0) {
			if field.Offset+field.Length > len(b) {
				t.Fatalf("%s stands outside", field.Name)
			}
		}
	})
}
