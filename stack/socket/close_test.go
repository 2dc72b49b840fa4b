package socket

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"peel/stack/host"
)

// Calls that wait fail when their network is closed.
func TestCloseOfTheNetworkWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		c, _ := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
		full, _ := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 81))
		l, err := p.hosts[1].Listen(netip.AddrPortFrom(pairAddrs[1], 82))
		if err != nil {
			t.Fatal(err)
		}
		u, err := p.hosts[1].ListenPacket(netip.AddrPortFrom(pairAddrs[1], 53))
		if err != nil {
			t.Fatal(err)
		}
		p.net.Do(func() { p.cable.SetUp(false) })
		calls := map[string]func() error{
			"Read":     func() error { _, err := c.Read(make([]byte, 1)); return err },
			"Write":    func() error { _, err := full.Write(make([]byte, 64<<20)); return err },
			"Accept":   func() error { _, err := l.Accept(); return err },
			"ReadFrom": func() error { _, _, err := u.ReadFrom(make([]byte, 1)); return err },
			"Dial": func() error {
				_, err := p.hosts[0].DialTCP(t.Context(), netip.AddrPortFrom(pairAddrs[1], 82))
				return err
			},
		}
		var wg sync.WaitGroup
		for name, call := range calls {
			wg.Go(func() {
				if err := call(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		synctest.Wait()
		p.net.Close()
		wg.Wait()
	})
}

// What one Write gives stands together, whoever else writes.
func TestWritesDoNotMix(t *testing.T) {
	p := newPair(t, 1500, host.Options{})
	c, s := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
	const writers, size = 4, 2 << 20
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			if k, err := c.Write(bytes.Repeat([]byte{byte(n)}, size)); k != size || err != nil {
				t.Errorf("%d bytes, %v", k, err)
			}
		})
	}
	b, last, changes, got := make([]byte, 1<<20), -1, 0, 0
	for got < writers*size {
		n, err := s.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range b[:n] {
			if int(x) != last {
				last, changes = int(x), changes+1
			}
		}
		got += n
	}
	if changes != writers {
		t.Errorf("%d writes arrived in %d pieces", writers, changes)
	}
	wg.Wait()
	c.Close()
	s.Close()
}

// A Write that waits for another one's end still has its deadline, and ends
// with the connection.
func TestAWriteBehindAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		c, _ := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
		for _, end := range []struct {
			by   func()
			want error
		}{
			{func() { c.SetWriteDeadline(time.Now().Add(time.Second)) }, os.ErrDeadlineExceeded},
			{func() { c.Close() }, net.ErrClosed},
		} {
			c.SetWriteDeadline(time.Time{})
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, end.want) {
						t.Errorf("%v, want %v", err, end.want)
					}
				})
			}
			synctest.Wait()
			end.by()
			wg.Wait()
		}
		p.net.Close()
	})
}

// A socket that is closed takes no deadline, and leaves no timer.
func TestDeadlinesAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		c, s := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
		l, err := p.hosts[1].Listen(netip.AddrPortFrom(pairAddrs[1], 81))
		if err != nil {
			t.Fatal(err)
		}
		u, err := p.hosts[1].ListenPacket(netip.AddrPortFrom(pairAddrs[1], 53))
		if err != nil {
			t.Fatal(err)
		}
		later := time.Now().Add(24 * time.Hour)
		for _, x := range []interface {
			SetDeadline(time.Time) error
			Close() error
		}{c, s, l, u} {
			if err := x.SetDeadline(later); err != nil {
				t.Errorf("%T: %v", x, err)
			}
			x.Close()
			if err := x.SetDeadline(later); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%T: a deadline after Close: %v", x, err)
			}
			var op *net.OpError
			if err := x.Close(); !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
				t.Errorf("%T: Close again: %v", x, err)
			}
		}
		time.Sleep(time.Hour)
		p.net.Do(func() {
			if n := p.net.Queue.Len(); n != 0 {
				t.Errorf("%d timers are left", n)
			}
		})
		p.net.Close()
	})
}

// A datagram is not sent after its deadline.
func TestADatagramAfterItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, 1500, host.Options{})
		c, err := p.hosts[0].DialUDP(t.Context(), netip.AddrPortFrom(pairAddrs[1], 53))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(-time.Second))
		if _, err := c.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		c.SetWriteDeadline(time.Time{})
		if _, err := c.Write([]byte("in time")); err != nil {
			t.Errorf("Write: %v", err)
		}
		c.Close()
		p.net.Close()
	})
}

// Three who write and three who read at each end, while it is closed in one of
// three ways: none of them waits for ever, and no packet is left.
func TestManyUsersOfOneConnection(t *testing.T) {
	for round := range 24 {
		mtu := []int{1500, 9000, 65000}[round/2%3]
		p := newPair(t, mtu, host.Options{})
		if round%2 == 1 {
			p.net.Do(func() {
				for _, k := range p.hosts {
					k.Host.Interfaces()[0].Offload = host.Offload{Checksum: true, Segment: 60000}
				}
			})
		}
		c, s := p.connect(t, netip.AddrPortFrom(pairAddrs[1], 80))
		var wg sync.WaitGroup
		for _, x := range []*Conn{c, s} {
			for range 3 {
				wg.Go(func() {
					b := make([]byte, 1+rand.IntN(400000))
					for {
						if _, err := x.Write(b[:1+rand.IntN(len(b))]); err != nil {
							return
						}
					}
				})
				wg.Go(func() {
					b := make([]byte, 1+rand.IntN(400000))
					for {
						if _, err := x.Read(b); err != nil {
							return
						}
					}
				})
			}
			wg.Go(func() {
				for range 5 {
					x.SetDeadline(time.Now().Add(time.Hour))
					x.SetNoDelay(rand.IntN(2) == 0)
					x.Info()
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		switch round % 3 {
		case 0:
			c.Close()
			s.Close()
		case 1:
			c.SetLinger(0)
			c.Close()
			time.Sleep(time.Millisecond)
			s.Close()
		case 2:
			c.CloseWrite()
			s.SetDeadline(time.Now())
			s.Close()
			c.Close()
		}
		wg.Wait()
		time.Sleep(20 * time.Millisecond)
		p.net.Do(func() {
			if p.net.Pool.Out != 0 || len(p.net.waiters) != 0 {
				t.Errorf("round %d mtu %d: %d out, %d waiters; %+v", round, mtu, p.net.Pool.Out, len(p.net.waiters), p.hosts[0].Host.Sockets())
			}
		})
		p.net.Close()
	}
}
