package host_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/wire/ethernet"
)

// chain is hosts in a row, in virtual time: 10.0.0.1 at the first end, and at
// the other 10.n.0.2, with n-1 routers between.
type chain struct {
	q      clock.Queue
	pool   packet.Pool
	hosts  []*host.Host
	cables []*link.Cable
	trace  *link.Trace
}

func newChain(tb testing.TB, links int, o host.Options, shape link.Shape) *chain {
	c := &chain{trace: &link.Trace{}}
	c.q.Advance(1e9)
	net := &link.Net{Clock: &c.q, Pool: &c.pool, Trace: c.trace}
	for n := range links + 1 {
		ho := o
		ho.Forward = n > 0 && n < links
		c.hosts = append(c.hosts, host.New(fmt.Sprint("h", n), &c.q, &c.pool, rand.New(rand.NewPCG(1, uint64(n))).Uint64, ho))
	}
	mac := byte(0)
	plug := func(h *host.Host, name, addr string) *host.Interface {
		mac++
		i := h.AddInterface(name, ethernet.MAC{2, 0, 0, 0, 0, mac}, 1500)
		if err := i.AddAddress(netip.MustParsePrefix(addr)); err != nil {
			tb.Fatal(err)
		}
		return i
	}
	for n := range links {
		a := plug(c.hosts[n], "right", fmt.Sprintf("10.%d.0.1/24", n))
		b := plug(c.hosts[n+1], "left", fmt.Sprintf("10.%d.0.2/24", n))
		cable := link.NewCable(net, link.End{Name: fmt.Sprint("h", n, ":right"), Port: a, Rand: rand.New(rand.NewPCG(2, uint64(n)))},
			link.End{Name: fmt.Sprint("h", n+1, ":left"), Port: b, Rand: rand.New(rand.NewPCG(3, uint64(n)))})
		if err := cable.SetShape(shape); err != nil {
			tb.Fatal(err)
		}
		c.cables = append(c.cables, cable)
		a.Attach(cable.AB())
		b.Attach(cable.BA())
	}
	for n, h := range c.hosts {
		for l := range links {
			r := route.Route{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", l))}
			switch {
			case l > n:
				r.Gateway, r.Interface = netip.MustParseAddr(fmt.Sprintf("10.%d.0.2", n)), "right"
			case l < n-1:
				r.Gateway, r.Interface = netip.MustParseAddr(fmt.Sprintf("10.%d.0.1", n-1)), "left"
			default:
				continue
			}
			if err := h.Routes.Add(r); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return c
}

// Packets through four routers, in virtual time on one goroutine. A hop is a
// link that a packet crosses, with all that the host behind it does.
func BenchmarkForwarding(b *testing.B) {
	for _, size := range []int{64, 1472} {
		b.Run(fmt.Sprint(size+28, " bytes"), func(b *testing.B) {
			const links = 5
			c := newChain(b, links, host.Options{}, link.Shape{Delay: time.Millisecond})
			last := c.hosts[links]
			to := netip.MustParseAddrPort(fmt.Sprintf("10.%d.0.2:9", links-1))
			sink, err := last.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 9), netip.AddrPort{})
			if err != nil {
				b.Fatal(err)
			}
			got := 0
			sink.Wake = func() {
				for {
					if _, ok := sink.Receive(); !ok {
						break
					}
					got++
				}
			}
			from, err := c.hosts[0].ListenUDP(netip.AddrPort{}, to)
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, size)
			send := func(n int) {
				for range n {
					if err := from.Send(payload, to); err != nil {
						b.Fatal(err)
					}
				}
				c.q.Run(c.q.Now().Add(20 * time.Millisecond))
			}
			send(1)
			c.q.Run(c.q.Now().Add(time.Second))
			sent := 1
			for b.Loop() {
				send(100)
				sent += 100
			}
			b.StopTimer()
			if got != sent {
				b.Fatalf("%d of %d arrived", got, sent)
			}
			b.ReportMetric(float64(sent*links)/b.Elapsed().Seconds()/1e6, "Mhops/s")
		})
	}
}
