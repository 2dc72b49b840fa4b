package socket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/link"
	"peel/wire/ethernet"
)

// pair is two hosts at the ends of a cable.
type pair struct {
	net   *Network
	hosts [2]Stack
	cable *link.Cable
}

var pairAddrs = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
var pairAddrs6 = [2]netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}

func newPair(t testing.TB, mtu int, o host.Options) *pair {
	t.Helper()
	p := &pair{net: NewNetwork(clock.NewReal())}
	p.cable = link.NewCable(p.net.Link(nil), link.End{Name: "a", Rand: rand.New(rand.NewPCG(1, 1))}, link.End{Name: "b", Rand: rand.New(rand.NewPCG(1, 2))})
	for n := range p.hosts {
		h := p.net.Host(string(rune('a'+n)), [32]byte{byte(n)}, o)
		p.hosts[n] = Stack{Network: p.net, Host: h}
		p.net.Do(func() {
			i := h.AddInterface("eth0", ethernet.MAC{2, 0, 0, 0, 0, byte(n + 1)}, mtu)
			for _, a := range []netip.Prefix{netip.PrefixFrom(pairAddrs[n], 24), netip.PrefixFrom(pairAddrs6[n], 64), netip.PrefixFrom(host.LinkLocal(i.MAC), 64)} {
				if err := i.AddAddress(a); err != nil {
					t.Fatal(err)
				}
			}
			if n == 0 {
				p.cable.Plug(i, nil)
				i.Attach(p.cable.AB())
			} else {
				p.cable.Plug(nil, i)
				i.Attach(p.cable.BA())
			}
		})
	}
	t.Cleanup(p.net.Close)
	return p
}

func (p *pair) connect(t testing.TB, to netip.AddrPort) (client, server *Conn) {
	t.Helper()
	l, err := p.hosts[1].Listen(to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := p.hosts[0].Dial(t.Context(), netip.AddrPort{}, to)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, s.(*Conn)
}

func TestBytesGoBothWays(t *testing.T) {
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(pairAddrs[1], 80), netip.AddrPortFrom(pairAddrs6[1], 80)} {
		p := newPair(t, 1500, host.Options{})
		c, s := p.connect(t, to)
		data := make([]byte, 20<<20)
		rand.NewChaCha8([32]byte{}).Read(data)
		go func() {
			c.Write(data)
			c.CloseWrite()
		}()
		h := sha256.New()
		if n, err := io.Copy(h, s); err != nil || n != int64(len(data)) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if want := sha256.Sum256(data); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Fatal("other bytes arrived than were sent")
		}
		io.WriteString(s, "thanks")
		s.Close()
		if b, err := io.ReadAll(c); err != nil || string(b) != "thanks" {
			t.Fatalf("%q, %v", b, err)
		}
		c.Close()
	}
}

// In a bubble of testing/synctest the same network runs in virtual time.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		p.net.Do(func() { p.cable.SetShape(link.Shape{Delay: time.Second}) })
		start := time.Now()
		c, s := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
		// ARP out and back, SYN out and back, ACK out.
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("connected after %v, want 5 s", d)
		}
		io.WriteString(c, "hello")
		var b [10]byte
		if n, err := s.Read(b[:]); string(b[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", b[:n], err)
		}
		s.SetReadDeadline(time.Now().Add(time.Hour))
		start = time.Now()
		if _, err := s.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		c.Close()
		s.Close()
		time.Sleep(10 * time.Minute)
		p.net.Do(func() {
			for _, k := range p.hosts {
				if !k.Host.Idle() {
					t.Errorf("%s is left with %v", k.Host.Name, k.Host.Sockets())
				}
			}
			if p.net.Pool.Out != 0 {
				t.Errorf("%d packets are out", p.net.Pool.Out)
			}
		})
		p.net.Close()
	})
}

func TestWhatFailsIsNamedAsEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		dial := func(a string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := p.hosts[0].DialTCP(ctx, netip.MustParseAddrPort(a))
			return err
		}
		for _, c := range []struct {
			addr string
			want error
			wait time.Duration
		}{
			{"192.0.2.2:9", syscall.ECONNREFUSED, 0},
			{"192.0.2.77:9", syscall.EHOSTUNREACH, 3 * time.Second}, // three questions for its MAC
			{"203.0.113.1:9", syscall.ENETUNREACH, 0},
			{"[2001:db8::2]:9", syscall.ECONNREFUSED, 0},
			{"[2001:db8::77]:9", syscall.EHOSTUNREACH, 3 * time.Second},
		} {
			start := time.Now()
			err := dial(c.addr)
			if !errors.Is(err, c.want) || time.Since(start) != c.wait {
				t.Errorf("%s: %v after %v, want %v after %v", c.addr, err, time.Since(start), c.want, c.wait)
			}
		}
		// A silent host: 1 + 2 + 4 + … + 64 s, seven SYNs.
		p.net.Do(func() { p.hosts[1].Host.Options.Silent = true })
		start := time.Now()
		if err := dial("192.0.2.2:9"); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
			t.Errorf("%v after %v, want ETIMEDOUT after 127 s", err, time.Since(start))
		}
		p.net.Close()
	})
}

func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		s, err := p.hosts[1].ListenPacket(netip.MustParseAddrPort("[::]:53"))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []netip.Addr{pairAddrs[1], pairAddrs6[1]} {
			c, err := p.hosts[0].DialUDP(t.Context(), netip.AddrPortFrom(a, 53))
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{0, 1, 1400, 1472, 1473, 9000, 65507} {
				msg := bytes.Repeat([]byte{byte(size)}, size)
				if _, err := c.Write(msg); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 65536)
				n, from, err := s.ReadFrom(b)
				if err != nil || !bytes.Equal(b[:n], msg) {
					t.Fatalf("%d bytes of %d, %v", n, size, err)
				}
				if _, err := s.WriteTo(b[:n], from); err != nil {
					t.Fatal(err)
				}
				if n, err := c.Read(b); err != nil || !bytes.Equal(b[:n], msg) {
					t.Fatalf("back: %d bytes of %d, %v", n, size, err)
				}
			}
			c.Close()
			closed, err := p.hosts[0].DialUDP(t.Context(), netip.AddrPortFrom(a, 54))
			if err != nil {
				t.Fatal(err)
			}
			closed.Write([]byte("anybody?"))
			if _, err := closed.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a closed port: %v", err)
			}
			closed.Close()
		}
		s.Close()
		p.net.Close()
	})
}

var _ net.Conn = (*Conn)(nil)
var _ net.Listener = (*Listener)(nil)
var _ net.PacketConn = (*PacketConn)(nil)
