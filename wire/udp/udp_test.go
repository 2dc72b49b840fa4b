package udp

import "testing"

func TestParse(t *testing.T) {
	b := []byte{0, 53, 0x30, 0x39, 0, 10, 0xab, 0xcd, 'h', 'i', 'x'}
	d, err := Parse(b)
	if err != nil || d.SourcePort() != 53 || d.DestinationPort() != 12345 || string(d.Payload()) != "hi" || d.Checksum() != 0xabcd {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := Parse(b[:7]); err == nil {
		t.Error("7 bytes were taken for a datagram")
	}
	b[5] = 7
	if _, err := Parse(b); err == nil || err.Error() != "udp: length 7 is less than the header's" {
		t.Error(err)
	}
	// RFC 2675 §4: a length of 0 is that of a jumbogram.
	b[5] = 0
	if d, err := Parse(b); err != nil || string(d.Payload()) != "hix" {
		t.Errorf("%v, %v", d, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 53, 0x30, 0x39, 0, 10, 0xab, 0xcd, 'h', 'i'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := Parse(b); err == nil {
			_ = d.Payload()
		}
		Fields(b, 0)
	})
}

func BenchmarkParse(b *testing.B) {
	d := make([]byte, 100)
	d[5] = 100
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(d); err != nil {
			b.Fatal(err)
		}
	}
}
