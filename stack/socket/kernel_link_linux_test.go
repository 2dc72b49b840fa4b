package socket

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/stack/host"
)

// We ping the kernel, with packets of all sizes.
func TestWePingTheKernel(t *testing.T) {
	eachDevice(t, func(t *testing.T, o peerOptions) {
		k := newKernelPeer(t, o)
		for _, to := range []netip.Addr{theirs4, theirs6} {
			for _, size := range []int{0, 56, 1472, 1473, 20000, 65000} {
				data := bytes.Repeat([]byte{byte(size)}, size)
				answer := make(chan host.Answer, 1)
				var g *host.Ping
				k.Network.Do(func() {
					var err error
					if g, err = k.Stack.Host.OpenPing(); err != nil {
						t.Fatal(err)
					}
					g.Wake = func() {
						if a, ok := g.Receive(); ok {
							answer <- a
						}
					}
					if err := g.Send(to, 7, data); err != nil {
						t.Fatal(err)
					}
				})
				select {
				case a := <-answer:
					if a.Error != nil || a.From != to || a.Seq != 7 || !bytes.Equal(a.Data, data) {
						t.Errorf("%v, %d bytes: %+v", to, size, a)
					}
				case <-time.After(10 * time.Second):
					t.Errorf("%v, %d bytes: no answer", to, size)
				}
				k.Network.Do(g.Close)
			}
		}
	})
}

// Datagrams of all sizes to the kernel and back, and what a closed port says.
func TestKernelDatagrams(t *testing.T) {
	eachDevice(t, func(t *testing.T, o peerOptions) {
		k := newKernelPeer(t, o)
		for _, a := range []netip.Addr{theirs4, theirs6} {
			var u net.PacketConn
			if err := k.ns.Do(func() (err error) {
				u, err = net.ListenPacket("udp", netip.AddrPortFrom(a, 0).String())
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			go func() {
				b := make([]byte, 65536)
				for {
					n, from, err := u.ReadFrom(b)
					if err != nil {
						return
					}
					u.WriteTo(b[:n], from)
				}
			}()
			c, err := k.Stack.DialUDP(t.Context(), netip.MustParseAddrPort(u.LocalAddr().String()))
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			for _, size := range []int{0, 1, 1472, 1473, 9000, 65000} {
				msg := bytes.Repeat([]byte{byte(size + 1)}, size)
				if _, err := c.Write(msg); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 65536)
				if n, err := c.Read(b); err != nil || !bytes.Equal(b[:n], msg) {
					t.Fatalf("%v, %d bytes: %d came back, %v", a, size, n, err)
				}
			}
			c.Close()
			closed, err := k.Stack.DialUDP(t.Context(), netip.AddrPortFrom(a, 9))
			if err != nil {
				t.Fatal(err)
			}
			closed.SetDeadline(time.Now().Add(20 * time.Second))
			closed.Write([]byte("anybody?"))
			if _, err := closed.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%v: a closed port says %v", a, err)
			}
			closed.Close()
		}
	})
}

// The kernel makes an address and a route of what our router advertises.
func TestKernelTakesOurAdvertisement(t *testing.T) {
	k := newKernelPeer(t, peerOptions{host: host.Options{Forward: true}})
	k.Network.Do(func() {
		k.iface.RouterAdvertisement = &host.RouterAdvertisement{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:77::/64")},
			Lifetime: time.Hour, MTU: 1400, HopLimit: 55, Interval: 100 * time.Millisecond}
		k.iface.SetUp(false)
		k.iface.SetUp(true)
	})
	deadline := time.Now().Add(15 * time.Second)
	for {
		addrs, routes := k.run(t, "ip", "-6", "addr", "show", "dev", k.dev), k.run(t, "ip", "-6", "route", "show", "proto", "ra")
		if strings.Contains(addrs, "inet6 2001:db8:77:") && strings.Contains(routes, "default via "+host.LinkLocal(k.iface.MAC).String()) && strings.Contains(routes, "hoplimit 55") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the kernel has\n%s\n%s", addrs, routes)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The kernel does not take an address that we have, and we none of the
// kernel's.
func TestKernelAndDuplicateAddresses(t *testing.T) {
	k := newKernelPeer(t, peerOptions{})
	k.run(t, "ip", "-6", "addr", "add", "2001:db8::1/64", "dev", k.dev)
	k.Network.Do(func() {
		if err := k.iface.AddAddress(netip.MustParsePrefix("2001:db8::2/64")); err != nil {
			t.Fatal(err)
		}
	})
	deadline := time.Now().Add(15 * time.Second)
	for {
		addrs, ours := k.run(t, "ip", "-6", "addr", "show", "dev", k.dev), true
		k.Network.Do(func() { ours = k.Stack.Host.Local(theirs6) })
		if strings.Contains(addrs, "2001:db8::1/64 scope global dadfailed") && !ours {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("we have it: %v; the kernel has\n%s", ours, addrs)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
