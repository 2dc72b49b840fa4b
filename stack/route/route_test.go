package route

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func add(t *testing.T, tab *Table, routes ...Route) {
	t.Helper()
	for _, r := range routes {
		if err := tab.Add(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLongestPrefixThenLeastMetric(t *testing.T) {
	var tab Table
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	add(t, &tab,
		Route{Prefix: p("0.0.0.0/0"), Gateway: a("192.0.2.1"), Interface: "eth0"},
		Route{Prefix: p("198.51.100.0/24"), Interface: "eth1", Metric: 20},
		Route{Prefix: p("198.51.100.0/24"), Interface: "eth2", Metric: 10},
		Route{Prefix: p("198.51.100.7/32"), Kind: Blackhole},
		Route{Prefix: p("2001:db8::/32"), Interface: "eth0"})
	for _, c := range []struct{ dst, want string }{
		{"203.0.113.1", "default via 192.0.2.1 dev eth0"},
		{"198.51.100.1", "198.51.100.0/24 dev eth2 metric 10"},
		{"198.51.100.7", "blackhole 198.51.100.7/32"},
		{"2001:db8::1", "2001:db8::/32 dev eth0"},
	} {
		if r := tab.Lookup(a(c.dst), nil); r == nil || r.String() != c.want {
			t.Errorf("%s goes by %v, want %s", c.dst, r, c.want)
		}
	}
	if r := tab.Lookup(a("2001:db9::1"), nil); r != nil {
		t.Errorf("a route out of nowhere: %v", r)
	}
	down := func(r *Route) bool { return r.Interface != "eth2" }
	if r := tab.Lookup(a("198.51.100.1"), down); r.Interface != "eth1" {
		t.Errorf("with eth2 down it goes by %v", r)
	}
	if m := tab.Matches(a("198.51.100.7")); len(m) != 4 || m[3].Prefix.Bits() != 0 {
		t.Errorf("matches: %v", m)
	}
	if n := tab.Remove(func(r Route) bool { return r.Interface == "eth2" }); n != 1 || len(tab.All()) != 4 {
		t.Errorf("%d removed, %d left", n, len(tab.All()))
	}
}

// The table against a walk over all its routes.
func TestLookupAgainstALinearSearch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var tab Table
	for range 300 {
		addr := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(4)), byte(rnd.IntN(4)), byte(rnd.IntN(256))})
		add(t, &tab, Route{Prefix: netip.PrefixFrom(addr, rnd.IntN(33)).Masked(), Interface: "e", Metric: rnd.IntN(3)})
	}
	all := tab.All()
	for range 5000 {
		dst := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(4)), byte(rnd.IntN(5)), byte(rnd.IntN(256))})
		var best *Route
		for i, r := range all {
			if r.Prefix.Contains(dst) && (best == nil || r.Prefix.Bits() > best.Prefix.Bits() || r.Prefix.Bits() == best.Prefix.Bits() && r.Metric < best.Metric) {
				best = &all[i]
			}
		}
		got := tab.Lookup(dst, nil)
		if (got == nil) != (best == nil) || got != nil && *got != *best {
			t.Fatalf("%v: %v, want %v", dst, got, best)
		}
	}
}
