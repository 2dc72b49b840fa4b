package ethernet

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	dst, src := MAC{0, 0x1b, 0x21, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	for _, c := range []struct {
		h    Header
		want string
	}{
		{Header{Dst: dst, Src: src, Type: TypeIPv6, Len: HeaderLen}, "001b21000001" + "020000000002" + "86dd"},
		// IEEE 802.1Q §9.3: priority 5, VLAN 100.
		{Header{Dst: dst, Src: src, Type: TypeIPv4, TagCount: 1, VLAN: [MaxTags]Tag{{TypeVLAN, 5<<13 | 100}}, Len: HeaderLen + TagLen},
			"001b21000001" + "020000000002" + "8100a064" + "0800"},
		{Header{Dst: dst, Src: src, Length802: 38, Len: HeaderLen}, "001b21000001" + "020000000002" + "0026"},
	} {
		b := make([]byte, c.h.Len)
		if n := c.h.Put(b); n != len(b) || hex.EncodeToString(b) != c.want {
			t.Errorf("%x, want %s", b, c.want)
		}
		if got, err := Parse(b); err != nil || got != c.h {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestFrame(t *testing.T) {
	f := make(Frame, HeaderLen)
	f.SetHeader(Everybody(), MAC{2, 0, 0, 0, 0, 2}, TypeARP)
	if hex.EncodeToString(f) != "ffffffffffff0200000000020806" || f.Destination() != Everybody() || f.Source() != (MAC{2, 0, 0, 0, 0, 2}) || f.Type() != TypeARP {
		t.Errorf("%x", []byte(f))
	}
}

// RFC 1112 §6.4: the low 23 bits. RFC 2464 §7: the low 32.
func TestGroup(t *testing.T) {
	for a, want := range map[string]string{"224.0.0.251": "01:00:5e:00:00:fb", "239.128.1.2": "01:00:5e:00:01:02", "ff02::1:ff12:3456": "33:33:ff:12:34:56"} {
		if got := Group(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
}
