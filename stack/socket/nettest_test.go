package socket

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/nettest"

	"peel/stack/host"
)

// What the net package's connections promise, ours do.
func TestAsTheNetPackage(t *testing.T) {
	for _, o := range []struct {
		name string
		mtu  int
		to   netip.Addr
	}{{"IPv4", 1500, pairAddrs[1]}, {"IPv6, jumbo", 9000, pairAddrs6[1]}} {
		t.Run(o.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				p := newPair(t, o.mtu, host.Options{})
				c, s := p.connect(t, netip.AddrPortFrom(o.to, 80))
				return c, s, func() { c.Close(); s.Close() }, nil
			})
		})
	}
}
