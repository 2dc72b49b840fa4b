package wlan

import (
	"encoding/hex"
	"strings"
	"testing"

	"peel/wire/ethernet"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

const addresses = "0200000000010200000000020200000000031000"

// IEEE 802.11-2020 §9.2.4: which frames carry a packet in the clear, and where.
func TestFrames(t *testing.T) {
	for _, c := range []struct {
		name, bytes string
		radiotap    bool
		want        Header
		fails       bool
	}{
		{"data", "08010000" + addresses + "aaaa03", false, Header{24, Data}, false},
		{"data with QoS", "88010000" + addresses + "0000 aaaa03", false, Header{26, Data}, false},
		{"between access points", "08030000" + addresses + "020000000004 aaaa03", false, Header{30, Data}, false},
		{"encrypted", "08410000" + addresses + "00000000", false, Header{24, Protected}, false},
		{"a fragment", "08050000" + addresses + "aaaa03", false, Header{24, Part}, false},
		{"an aggregate", "88010000" + addresses + "8000 aaaa03", false, Header{26, Part}, false},
		{"no data", "48010000" + addresses, false, Header{10, Control}, false},
		{"a beacon", "80000000" + addresses, false, Header{10, Control}, false},
		{"an acknowledgement", "d4000000 020000000001", false, Header{10, Control}, false},
		{"behind radiotap", "00000800 00000000 08010000" + addresses + "aaaa03", true, Header{32, Data}, false},
		{"behind radiotap, with padding", "00001100 03000000 0000000000000000 20 88010000" + addresses + "0000 0000 aaaa03", true, Header{17 + 28, Data}, false},
		{"cut off", "08010000 0200", false, Header{}, true},
		{"radiotap longer than the packet", "0000ff00 00000000", true, Header{}, true},
	} {
		got, err := Parse(unhex(c.bytes), c.radiotap)
		if (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(unhex("00001100 03000000 0000000000000000 20 88010000" + addresses + "0000 0000 aaaa03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, radiotap := range []bool{false, true} {
			h, err := Parse(b, radiotap)
			if err == nil && h.Len > len(b) {
				t.Fatalf("a header of %d bytes in %d", h.Len, len(b))
			}
			if err == nil {
				ethernet.ParseLLC(b[h.Len:])
			}
		}
		Fields(b, 7)
		RadiotapFields(b, 7)
	})
}
