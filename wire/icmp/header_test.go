package icmp

import (
	"encoding/hex"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"peel/wire/ethernet"
	"peel/wire/ip"
)

// The first request of a ping of Linux's, with the checksum that tshark finds
// right.
func TestEchoBytes(t *testing.T) {
	b := append(make([]byte, HeaderLen), "abcdefghijklmnopqrstuvwabcdefghi"...)
	Echo(Echo4, 1, 0x4d).Put(b)
	Seal(b, 0)
	// Windows' ping; RFC 792.
	if got := hex.EncodeToString(b[:HeaderLen]); got != "08004d0e0001004d" {
		t.Errorf("%s", got)
	}
	m, err := Parse(b, false)
	if err != nil || m.Type != Echo4 || m.Identifier() != 1 || m.Sequence() != 0x4d || string(m.Data()) != string(b[HeaderLen:]) || !ip.Right(0, b) {
		t.Errorf("%v, %v", m, err)
	}
}

// RFC 1191 §4 and RFC 4443 §3.2: where the MTU stands.
func TestErrorHeaders(t *testing.T) {
	for _, c := range []struct {
		h    Header
		v6   bool
		want string
		text string
	}{
		{Header{Type: Unreachable4, Code: NeedFragment4, Rest: 1400}, false, "0304000000000578", "destination unreachable: fragmentation needed and DF set, next MTU 1400"},
		{Header{Type: TooBig6, Rest: 1280}, true, "0200000000000500", "packet too big, next MTU 1280"},
		{Header{Type: TimeExceeded6, Code: ReassemblyExceeded}, true, "0301000000000000", "time exceeded: fragment reassembly time exceeded"},
	} {
		b := make([]byte, HeaderLen)
		c.h.Put(b)
		m, err := Parse(b, c.v6)
		if got := hex.EncodeToString(b); got != c.want || err != nil || m.String() != c.text || !m.IsError() || !reflect.DeepEqual(m, c.h.Message(c.v6)) {
			t.Errorf("%s %q, want %s %q", got, m, c.want, c.text)
		}
	}
}

var mac = ethernet.MAC{0x02, 0, 0, 0, 0, 0x07}

// RFC 4861 §4.3 and §4.4, byte by byte.
func TestNeighborDiscoveryBytes(t *testing.T) {
	target := netip.MustParseAddr("fe80::7")
	const at = "fe800000000000000000000000000007"
	for name, c := range map[string]struct {
		m    interface{ AppendTo([]byte) []byte }
		want string
	}{
		"solicitation":        {&NeighborSolicitation{Target: target, Source: mac}, "87000000" + "00000000" + at + "0101020000000007"},
		"probe":               {&NeighborSolicitation{Target: target}, "87000000" + "00000000" + at},
		"advertisement":       {&NeighborAdvertisement{Target: target, Link: mac, Router: true, Solicited: true, Override: true}, "88000000" + "e0000000" + at + "0201020000000007"},
		"router solicitation": {&RouterSolicitation{Source: mac}, "85000000" + "00000000" + "0101020000000007"},
	} {
		b := c.m.AppendTo(nil)
		if got := hex.EncodeToString(b); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
		m, err := Parse(b, true)
		if err != nil || !IsNeighborDiscovery(m.Type) {
			t.Errorf("%s: %v", name, err)
		}
		if a, ok := m.Advertisement(); ok && !reflect.DeepEqual(&a, c.m) {
			t.Errorf("%s: it came back as %+v", name, a)
		}
	}
}

func TestRouterAdvertisementRoundTrip(t *testing.T) {
	for _, want := range []RouterAdvertisement{
		{},
		{HopLimit: 64, MTU: 1400, Lifetime: 30 * time.Minute, Source: mac, Prefixes: []Prefix{
			{netip.MustParsePrefix("2001:db8:1::/64"), true, true, 24 * time.Hour, 12 * time.Hour},
			{netip.MustParsePrefix("fd00::/48"), true, false, 0xffffffff * time.Second, 0}}},
	} {
		m, err := Parse(want.AppendTo(nil), true)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.RouterAdvertisement(); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\ncame back as\n%+v", want, got)
		}
	}
	// RFC 4861 §4.2: no lifetime as a router is longer than its 16 bits say.
	long := RouterAdvertisement{Lifetime: 24 * time.Hour}
	m, _ := Parse(long.AppendTo(nil), true)
	if got, _ := m.RouterAdvertisement(); got.Lifetime != 0xffff*time.Second {
		t.Errorf("%v", got.Lifetime)
	}
}

// What is cut off, or overruns the message, is not read.
func TestHostileRouterAdvertisement(t *testing.T) {
	ra := RouterAdvertisement{MTU: 1400, Source: mac, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8::/64"), Valid: time.Hour}}}
	whole := ra.AppendTo(nil)
	for n := HeaderLen; n < len(whole); n++ {
		m, err := Parse(whole[:n], true)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := m.RouterAdvertisement(); len(got.Prefixes) > 0 {
			t.Errorf("a prefix from the first %d of %d bytes", n, len(whole))
		}
	}
}
