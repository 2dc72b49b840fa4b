package host

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"peel/wire/icmp"
)

// The network of an address that is taken away is still reached, as long as
// there is another address in it.
func TestTwoAddressesInOneNetwork(t *testing.T) {
	r := newRig(t, Options{})
	second := netip.MustParsePrefix("192.0.2.7/24")
	for _, gone := range []netip.Addr{second.Addr(), own} {
		r.eth.AddAddress(second)
		r.eth.RemoveAddress(gone)
		if a, err := r.h.Source(peer); err != nil || a == gone {
			t.Errorf("without %v: from %v, %v", gone, a, err)
		}
	}
	r.eth.RemoveAddress(second.Addr())
	if _, err := r.h.Source(peer); err != ErrUnreachable {
		t.Errorf("without an address: %v", err)
	}
}

// advertise gives the host a router's advertisement.
func (r *rig) advertise(router string, lifetime uint16, prefix string, valid time.Duration) {
	b := make([]byte, 16, 48)
	b[0] = icmp.RouterAdvert
	binary.BigEndian.PutUint16(b[6:], lifetime)
	if prefix != "" {
		p := netip.MustParsePrefix(prefix)
		a := p.Addr().As16()
		b = append(b, 3, 4, byte(p.Bits()), 0xc0)
		b = binary.BigEndian.AppendUint32(b, uint32(valid/time.Second))
		b = append(append(b, make([]byte, 8)...), a[:]...)
	}
	r.eth.inputNDP(icmp.Message{V6: true, Type: icmp.RouterAdvert, Body: b[4:]}, netip.MustParseAddr(router), allNodes)
}

func newListener6(t *testing.T) *rig {
	r := newRig(t, Options{})
	r.eth.AcceptRA = true
	r.eth.AddAddress(netip.PrefixFrom(LinkLocal(ownMAC), 64))
	return r
}

// A forged advertisement cannot take an address away at once.
func TestRFC4862_5_5_3_TwoHours(t *testing.T) {
	r := newListener6(t)
	a := eui64(netip.MustParsePrefix("2001:db8::/64"), ownMAC)
	left := func() (d time.Duration) {
		for d = 0; r.eth.has(a) && d < 30*time.Hour; d += time.Minute {
			r.run(time.Minute)
		}
		return d
	}
	for _, c := range []struct{ first, then, want time.Duration }{
		{24 * time.Hour, 0, 2 * time.Hour},
		{24 * time.Hour, time.Minute, 2 * time.Hour},
		{24 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{time.Hour, time.Minute, time.Hour},
		{time.Hour, 90 * time.Minute, 90 * time.Minute},
	} {
		r.advertise("fe80::1", 0, "2001:db8::/64", c.first)
		r.advertise("fe80::1", 0, "2001:db8::/64", c.then)
		if d := left(); d != c.want {
			t.Errorf("%v, then %v: gone after %v, want %v", c.first, c.then, d, c.want)
		}
	}
}

// An address that was given by hand does not end with an advertisement.
func TestAnAdvertisementOfAnAddressGivenByHand(t *testing.T) {
	r := newListener6(t)
	a := eui64(netip.MustParsePrefix("2001:db8::/64"), ownMAC)
	r.eth.AddAddress(netip.PrefixFrom(a, 64))
	r.advertise("fe80::1", 0, "2001:db8::/64", time.Minute)
	r.run(time.Hour)
	if !r.eth.has(a) {
		t.Error("the address is gone")
	}
}

// When one of two routers goes, the other one is left (RFC 4861 §6.3.6).
func TestRFC4861_6_3_6_TwoRouters(t *testing.T) {
	r := newListener6(t)
	gateway := func() netip.Addr {
		if o := r.h.Routes.Lookup(netip.MustParseAddr("2001:db8:9::9"), nil); o != nil {
			return o.Gateway
		}
		return netip.Addr{}
	}
	r.advertise("fe80::1", 1800, "", 0)
	r.advertise("fe80::2", 1800, "", 0)
	r.advertise("fe80::2", 0, "", 0)
	r.run(0)
	if g := gateway(); g != netip.MustParseAddr("fe80::1") {
		t.Errorf("by %v, want the router that is left", g)
	}
	r.advertise("fe80::1", 0, "", 0)
	r.run(0)
	if g := gateway(); g.IsValid() {
		t.Errorf("by %v, which has gone", g)
	}
}

// A MAC of many is none of a neighbour's (as with ARP).
func TestANeighbourIsNotMany(t *testing.T) {
	r := newListener6(t)
	target := LinkLocal(ownMAC).As16()
	body := append(append(make([]byte, 4), target[:]...), 1, 1, 0x33, 0x33, 0, 0, 0, 1)
	r.eth.inputNDP(icmp.Message{V6: true, Type: icmp.NeighborSolicit, Body: body}, netip.MustParseAddr("fe80::9"), LinkLocal(ownMAC))
	for _, n := range r.eth.Neighbours() {
		if n.MAC.Multicast() {
			t.Errorf("learned %+v", n)
		}
	}
	r.eth.SetUp(false)
}
