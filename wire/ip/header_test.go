package ip

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// The header's bytes are those of a DNS query of Wireshark's sample captures,
// checksum and all; the second is RFC 8200's layout filled in.
func TestHeaderBytes(t *testing.T) {
	for _, c := range []struct {
		h       Header
		payload int
		want    string
	}{
		{Header{Src: addr("192.168.170.8"), Dst: addr("192.168.170.20"), Protocol: ProtoUDP, TTL: 64, DontFragment: true}, 36,
			"4500" + "0038" + "0000" + "4000" + "4011" + "6547" + "c0a8aa08" + "c0a8aa14"},
		{Header{Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), Protocol: ProtoTCP, TTL: 64, TrafficClass: 0xb8 | CE, FlowLabel: 0x12345}, 20,
			"6bb12345" + "0014" + "06" + "40" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002"},
	} {
		if got := hex.EncodeToString(c.h.AppendTo(nil, c.payload)); got != c.want {
			t.Errorf("%+v:\n%s, want\n%s", c.h, got, c.want)
		}
	}
}

// What is put is what Parse reads.
func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []Header{
		{Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Protocol: ProtoTCP, TTL: 1, TrafficClass: ECT0, ID: 0xffff, DontFragment: true},
		{Src: addr("255.255.255.255"), Dst: addr("0.0.0.0"), Protocol: ProtoICMP, TTL: 255, ID: 7, MoreFragments: true, FragmentOffset: 65528},
		{Src: addr("fe80::1"), Dst: addr("ff02::1"), Protocol: ProtoICMPv6, TTL: 255, TrafficClass: 0xff, FlowLabel: 0xfffff},
	} {
		const payload = 13
		b := append(h.AppendTo(nil, payload), make([]byte, payload)...)
		p, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		got := Header{Src: p.Src, Dst: p.Dst, Protocol: p.Protocol, TTL: p.TTL, TrafficClass: p.TrafficClass, FlowLabel: p.FlowLabel,
			ID: uint16(p.ID), DontFragment: p.DontFragment, MoreFragments: p.MoreFragments, FragmentOffset: p.FragmentOffset}
		if got != h || p.Total != len(b) || !p.ChecksumOK || p.HeaderLen != h.Len() {
			t.Errorf("%+v\ncame back as %+v, %d of %d bytes", h, got, p.Total, len(b))
		}
		v := View(b)
		if !v.Whole() || v.Source() != h.Src || v.Destination() != h.Dst || v.TTL() != h.TTL || v.Protocol() != h.Protocol || v.ECN() != h.TrafficClass&3 ||
			v.Total() != len(b) || v.FragmentOffset() != h.FragmentOffset || v.DontFragment() != h.DontFragment || !v.ChecksumOK() || v.ToMulticast() != h.Dst.IsMulticast() {
			t.Errorf("%+v: the view sees something else", h)
		}
	}
}

// A length that no field can tell is left to the card: 0.
func TestHeaderOfWhatACardWillCut(t *testing.T) {
	for _, a := range []netip.Addr{addr("10.0.0.1"), addr("fe80::1")} {
		h := Header{Src: a, Dst: a, Protocol: ProtoTCP, TTL: 64}
		p, err := Parse(h.AppendTo(nil, 100_000))
		if err != nil || p.Total != 0 {
			t.Errorf("%v: total %d, %v", a, p.Total, err)
		}
	}
}

func TestFragmentHeader(t *testing.T) {
	f := FragmentHeader{Next: ProtoUDP, Offset: 1448, More: true, ID: 0x01020304}
	var b [FragmentLen]byte
	f.Put(b[:])
	// RFC 8200 §4.5: 1448 is 181 units, shifted by the three bits behind it.
	if got := hex.EncodeToString(b[:]); got != "110005a901020304" || ParseFragment(b[:]) != f {
		t.Errorf("%s, read as %+v", got, ParseFragment(b[:]))
	}
}

// Every setter leaves a right checksum right, and a wrong one wrong.
func TestSettersKeepTheChecksum(t *testing.T) {
	h := Header{Src: addr("198.51.100.7"), Dst: addr("203.0.113.9"), Protocol: ProtoUDP, TTL: 64, TrafficClass: ECT1}
	for name, set := range map[string]func(View){
		"TTL":       func(v View) { v.SetTTL(v.TTL() - 1) },
		"TTL 0":     func(v View) { v.SetTTL(0) },
		"ECN":       func(v View) { v.SetECN(CE) },
		"addresses": func(v View) { v.Readdress(addr("10.9.8.7"), h.Dst) },
		"the same":  func(v View) { v.Readdress(h.Src, h.Dst) },
	} {
		for _, broken := range []bool{false, true} {
			for id := range 1 << 16 {
				h.ID = uint16(id)
				v := View(h.AppendTo(nil, 0))
				if broken {
					v.SetID(h.ID ^ 0x100)
				}
				if set(v); v.ChecksumOK() == broken {
					t.Fatalf("%s: ID %d, broken %v: checksum right: %v", name, id, broken, !broken)
				}
			}
		}
	}
}

// A new pseudo-header sum is the old one with the delta.
func TestReaddressTellsWhatItChanged(t *testing.T) {
	for _, c := range [][4]string{
		{"10.0.0.1", "192.0.2.1", "198.51.100.1", "192.0.2.1"},
		{"fd00::1", "2001:db8::1", "2001:db8:9::5", "fd00::77"},
	} {
		h := Header{Src: addr(c[0]), Dst: addr(c[1]), Protocol: ProtoTCP, TTL: 64}
		v := View(h.AppendTo(nil, 20))
		before, whole := v.PseudoSum(ProtoTCP, 20), Sum(0, v)
		pseudo, header := v.Readdress(addr(c[2]), addr(c[3]))
		if v.Source() != addr(c[2]) || v.Destination() != addr(c[3]) || !v.ChecksumOK() {
			t.Errorf("%v: it became %v to %v", c, v.Source(), v.Destination())
		}
		if got := v.PseudoSum(ProtoTCP, 20); got != PseudoSum(addr(c[2]), addr(c[3]), ProtoTCP, 20) || got != pseudo.To(before) {
			t.Errorf("%v: the pseudo-header's sum is %#x, not %#x", c, got, pseudo.To(before))
		}
		if got := Sum(0, v); got != header.To(whole) {
			t.Errorf("%v: the header's sum is %#x, not %#x", c, got, header.To(whole))
		}
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	b := make([]byte, Header6)
	h := Header{Src: addr("fe80::1"), Dst: addr("fe80::2"), Protocol: ProtoTCP, TTL: 64}
	if n := testing.AllocsPerRun(100, func() { h.Put(b, 20); View(b).SetTTL(3); View(b).Readdress(h.Dst, h.Src) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
