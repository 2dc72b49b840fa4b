package ethernet

import (
	"encoding/hex"
	"testing"

	"peel/trace"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, frame string
		typ         Type
		vlans       []int
		len         int
		err         string
	}{
		{"plain", "ffffffffffff0200000000010800" + "45", TypeIPv4, nil, 14, ""},
		{"VLAN 42, priority 1", "0200000000020200000000018100202a86dd", TypeIPv6, []int{42}, 18, ""},
		{"QinQ", "02000000000202000000000188a80007810020640806", TypeARP, []int{7, 100}, 22, ""},
		{"802.3 with a length", "0180c200000002000000000100264242", 0, nil, 14, ""},
		{"too short", "ffffffffffff02000000000108", 0, nil, 0, "ethernet: 13 bytes are too few for a header of 14"},
		{"tag cut off", "02000000000202000000000181002a", 0x8100, nil, 14, "ethernet: the VLAN tag is cut off after 1 of 4 bytes"},
	} {
		h, err := Parse(unhex(t, c.frame))
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil || h.Type != c.typ || h.Len != c.len || h.TagCount != len(c.vlans) {
			t.Errorf("%s: %+v, %v", c.name, h, err)
			continue
		}
		for i, id := range c.vlans {
			if h.VLAN[i].ID() != id {
				t.Errorf("%s: tag %d is VLAN %d, want %d", c.name, i, h.VLAN[i].ID(), id)
			}
		}
	}
}

// IEEE 802.3 §3.2.9: the check value of CRC-32 over "123456789" is CBF43926,
// and it goes out least significant byte first.
func TestFCS(t *testing.T) {
	if got := FCS([]byte("123456789")); got != [4]byte{0x26, 0x39, 0xf4, 0xcb} {
		t.Errorf("% x", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x81\x00\x00\x2a\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Parse(b)
		if err == nil && (h.Len > len(b) || h.Len != HeaderLen+h.TagCount*TagLen) {
			t.Fatalf("header of %d bytes in %d", h.Len, len(b))
		}
		within(t, Fields(b, 5), 5, 5+len(b))
	})
}

// within checks that no field stands outside of the bytes it was read from.
func within(t *testing.T, fields []trace.Field, from, to int) {
	t.Helper()
	for _, f := range fields {
		if f.Offset < from || f.Length < 0 || f.Offset+f.Length > to {
			t.Fatalf("%s stands at %d+%d, outside %d to %d", f.Name, f.Offset, f.Length, from, to)
		}
		within(t, f.Children, from, to)
	}
}

func BenchmarkParse(b *testing.B) {
	frame := unhex(b, "0200000000020200000000018100202a0800")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(frame); err != nil {
			b.Fatal(err)
		}
	}
}
