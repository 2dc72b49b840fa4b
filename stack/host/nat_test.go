package host_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/nat"
)

// What a router that translates has to say about a packet from inside reaches
// the one who sent it: of a smaller MTU outside, and of a next hop that does
// not answer.
func TestWordOfARouterThatTranslates(t *testing.T) {
	for _, c := range []struct {
		to   string
		want error
	}{{"10.1.0.2:9", host.ErrTooBig}, {"10.1.0.77:9", host.ErrNoRoute}} {
		h := newChain(t, 2, host.Options{}, link.Shape{})
		h.hosts[1].Interface("right").MTU = 1300
		n, err := nat.New(nat.Options{Outside: []netip.Addr{netip.MustParseAddr("10.1.0.1")}, Entropy: rand.New(rand.NewPCG(1, 1)).Uint64})
		if err != nil {
			t.Fatal(err)
		}
		h.hosts[1].NAT = &host.Translation{NAT: n, Outside: "right"}
		u, err := h.hosts[0].ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort(c.to))
		if err != nil {
			t.Fatal(err)
		}
		u.DontFragment = c.want == host.ErrTooBig
		u.Send(noise(1400, 1), u.Peer())
		h.q.Run(h.q.Now().Add(10 * time.Second))
		if e, _ := u.Error(); e.Err != c.want {
			t.Errorf("%s: %v, want %v", c.to, e.Err, c.want)
		}
		u.Close()
		h.leftNothing(t)
	}
}
