package stub

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The examples of RFC 6724 §10.2, with the source address that each
// destination has there. The one on home addresses is left out: rule 4 is
// not implemented.
func TestRFC6724_10_2_Examples(t *testing.T) {
	for _, c := range []struct {
		rule       string
		sources    map[string]string
		deprecated string
		want       []string
	}{
		{"rule 2", map[string]string{"2001:db8:1::1": "2001:db8::2", "198.51.100.121": "169.254.13.78"}, "", []string{"2001:db8:1::1", "198.51.100.121"}},
		{"rule 2", map[string]string{"2001:db8:1::1": "fe80::1", "198.51.100.121": "198.51.100.117"}, "", []string{"198.51.100.121", "2001:db8:1::1"}},
		{"rule 6", map[string]string{"2001:db8:1::1": "2001:db8:1::2", "10.1.2.3": "10.1.2.4"}, "", []string{"2001:db8:1::1", "10.1.2.3"}},
		{"rule 8", map[string]string{"2001:db8:1::1": "2001:db8:1::2", "fe80::1": "fe80::2"}, "", []string{"fe80::1", "2001:db8:1::1"}},
		{"rule 3", map[string]string{"2001:db8:1::1": "2001:db8:1::2", "fe80::1": "fe80::2"}, "fe80::2", []string{"2001:db8:1::1", "fe80::1"}},
		{"rule 9", map[string]string{"2001:db8:1::1": "2001:db8:1::2", "2001:db8:3ffe::1": "2001:db8:3f44::2"}, "", []string{"2001:db8:1::1", "2001:db8:3ffe::1"}},
		{"rule 5", map[string]string{"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2002:c633:6401::2"}, "", []string{"2002:c633:6401::1", "2001:db8:1::1"}},
		{"rule 6", map[string]string{"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2001:db8:1::2"}, "", []string{"2001:db8:1::1", "2002:c633:6401::1"}},
		{"rule 1", map[string]string{"2001:db8:1::1": "", "198.51.100.121": "198.51.100.117"}, "", []string{"198.51.100.121", "2001:db8:1::1"}},
	} {
		s := Sorter{
			Source: func(dst netip.Addr) (netip.Addr, bool) {
				a, err := netip.ParseAddr(c.sources[dst.String()])
				return a, err == nil
			},
			Deprecated: func(a netip.Addr) bool { return a.String() == c.deprecated },
		}
		for _, order := range [][]string{c.want, {c.want[1], c.want[0]}} {
			var dsts []netip.Addr
			for _, d := range order {
				dsts = append(dsts, netip.MustParseAddr(d))
			}
			got := s.Sort(dsts)
			if got[0].Addr.String() != c.want[0] || got[1].Addr.String() != c.want[1] || !strings.HasPrefix(got[0].Why, c.rule+":") {
				t.Errorf("%v: %+v, want %v by %s", order, got, c.want, c.rule)
			}
		}
	}
}

// Rule 9 on IPv4 would undo a server's rotation.
func TestRFC6724_6_IPv4KeepsTheOrderOfTheAnswer(t *testing.T) {
	s := Sorter{Source: func(netip.Addr) (netip.Addr, bool) { return netip.MustParseAddr("192.0.2.77"), true }}
	dsts := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")}
	var got []netip.Addr
	for _, x := range s.Sort(dsts) {
		got = append(got, x.Addr)
	}
	if !slices.Equal(got, dsts) {
		t.Error(got)
	}
}

func TestRFC6724_2_1_PolicyTable(t *testing.T) {
	for addr, want := range map[string][2]int{
		"::1": {50, 0}, "2001:db8::1": {40, 1}, "192.0.2.1": {35, 4}, "::ffff:192.0.2.1": {35, 4}, "2002::1": {30, 2},
		"2001::1": {5, 5}, "fc00::1": {3, 13}, "fd12::1": {3, 13}, "::192.0.2.1": {1, 3}, "fec0::1": {1, 11}, "3ffe::1": {1, 12}, "fe80::1%eth0": {40, 1},
	} {
		if p := policyOf(netip.MustParseAddr(addr)); p.precedence != want[0] || p.label != want[1] {
			t.Errorf("%s: %+v, want %v", addr, p, want)
		}
	}
}

func TestSortedAddressesOfALookupSayWhy(t *testing.T) {
	cfg := Config{Resolv: resolv(one)}
	cfg.Sort.Source = func(dst netip.Addr) (netip.Addr, bool) {
		if dst.Is6() {
			return netip.Addr{}, false
		}
		return netip.MustParseAddr("192.0.2.77"), true
	}
	hosts := ParseHosts([]byte("2001:db8::1 x\n192.0.2.1 x\n"))
	cfg.Hosts = hosts
	r := play(t, cfg, "x", nobody(t)).wantAddrs("192.0.2.1", "2001:db8::1")
	if !strings.HasPrefix(r.Addresses[0].Why, "rule 1") || r.Addresses[0].LocalAddr.String() != "192.0.2.77" {
		t.Errorf("%+v", r)
	}
}
