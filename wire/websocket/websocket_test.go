package websocket

import "testing"

// The examples of RFC 6455 §5.7.
func TestExamples(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"unmasked text", []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, "text, 5 bytes: Hello"},
		{"masked text", []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, "text, 5 bytes: Hello"},
		{"fragment", []byte{0x01, 0x03, 'H', 'e', 'l'}, "text, 3 bytes, more follows: Hel"},
		{"ping", []byte{0x89, 0x05, 'H', 'e', 'l', 'l', 'o'}, "ping, 5 bytes"},
		{"close", []byte{0x88, 0x04, 0x03, 0xe8, 'o', 'k'}, `close, 4 bytes: code 1000 "ok"`},
	} {
		h, ok, err := ParseHeader(c.b)
		if err != nil || !ok {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		payload := append([]byte(nil), c.b[h.Len:]...)
		h.Unmask(payload, 0)
		if got := Describe(h, payload); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		for n := range h.Len {
			if _, ok, err := ParseHeader(c.b[:n]); ok || err != nil {
				t.Errorf("%s: %d bytes were taken for a header (%v)", c.name, n, err)
			}
		}
	}
	if h, ok, _ := ParseHeader([]byte{0x82, 0x7e, 1, 0}); !ok || h.Length != 256 || h.Len != 4 {
		t.Errorf("256 bytes: %+v", h)
	}
	if h, ok, _ := ParseHeader([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}); !ok || h.Length != 65536 || h.Len != 10 {
		t.Errorf("64 KiB: %+v", h)
	}
	if _, _, err := ParseHeader([]byte{0x89, 0x7e, 1, 0}); err == nil {
		t.Error("a ping of 256 bytes was taken (RFC 6455 §5.5)")
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58})
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok, err := ParseHeader(b)
		if ok && err == nil {
			if h.Len > len(b) || h.Length < 0 {
				t.Fatalf("%+v in %d bytes", h, len(b))
			}
			Describe(h, b[h.Len:])
		}
		Fields(b)
	})
}
