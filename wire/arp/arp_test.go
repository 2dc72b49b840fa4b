package arp

import (
	"bytes"
	"testing"
)

func TestParse(t *testing.T) {
	raw := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2}
	m, err := Parse(raw)
	if err != nil || m.String() != "who has 192.0.2.2? tell 192.0.2.1" {
		t.Errorf("%v, %v", m, err)
	}
	if !bytes.Equal(m.AppendTo(nil), raw) {
		t.Error("AppendTo does not give back what Parse read")
	}
	for n := range raw {
		if _, err := Parse(raw[:n]); err == nil {
			t.Errorf("%d bytes were taken for a message", n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		for _, field := range Fields(b, 0) {
			if field.Offset+field.Length > len(b) {
				t.Fatalf("%s stands outside", field.Name)
			}
		}
		if err == nil && !bytes.Equal(m.AppendTo(nil), b[:Len]) {
			t.Fatal("AppendTo does not give back what Parse read")
		}
	})
}
