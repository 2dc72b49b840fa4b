package cooked

import (
	"testing"

	"peel/wire/ethernet"
)

func TestHeaders(t *testing.T) {
	sll := []byte{0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0}
	h, err := ParseSLL(sll)
	if err != nil || !h.Outgoing || h.Type != ethernet.TypeIPv4 || h.Len != 16 || len(h.Address) != 6 {
		t.Errorf("SLL: %+v, %v", h, err)
	}
	sll2 := []byte{0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}
	h, err = ParseSLL2(sll2)
	if err != nil || h.Outgoing || h.Type != ethernet.TypeIPv6 || h.Index != 3 || h.Len != 20 {
		t.Errorf("SLL2: %+v, %v", h, err)
	}
	// The family stands in the order of whoever captured; BSD numbers IPv6 24,
	// 28 or 30, Linux 10.
	for _, c := range []struct {
		b    []byte
		want ethernet.Type
	}{{[]byte{2, 0, 0, 0}, ethernet.TypeIPv4}, {[]byte{0, 0, 0, 2}, ethernet.TypeIPv4},
		{[]byte{30, 0, 0, 0}, ethernet.TypeIPv6}, {[]byte{0, 0, 0, 24}, ethernet.TypeIPv6}, {[]byte{10, 0, 0, 0}, ethernet.TypeIPv6}} {
		if h, err := ParseNull(c.b); err != nil || h.Type != c.want {
			t.Errorf("null % x: %+v, %v", c.b, h, err)
		}
	}
	if _, err := ParseNull([]byte{99, 0, 0, 0}); err == nil || err.Error() != "loopback: address family 99 is neither IPv4 nor IPv6" {
		t.Error(err)
	}
}

func FuzzCooked(f *testing.F) {
	f.Add([]byte{0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 1, 8, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, parse := range map[string]func([]byte) (Header, error){"sll": ParseSLL, "sll2": ParseSLL2, "null": ParseNull} {
			if h, err := parse(b); err == nil && h.Len > len(b) {
				t.Fatalf("%s: a header of %d bytes in %d", name, h.Len, len(b))
			}
		}
		SLLFields(b, 0)
		SLL2Fields(b, 0)
		NullFields(b, 0)
	})
}
