package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
	"peel/internal/needs"
)

type noNetwork struct{}

func (noNetwork) DialUDP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, net.ErrClosed
}
func (noNetwork) DialTCP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, net.ErrClosed
}

func questions(n int) (out [][]byte) {
	for i := range n {
		m := &dns.Message{Header: dns.Header{ID: uint16(i), RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(fmt.Sprintf("h%d.bench.test", i)), Type: dns.TypeA, Class: dns.ClassIN}}}
		b, _ := m.Append(nil)
		out = append(out, b)
	}
	return out
}

func address(i int) dns.Resource {
	return dns.NewResource(dns.MustName(fmt.Sprintf("h%d.bench.test", i)), 3600, dns.A{Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
}

// What an answer costs without the sockets.
func BenchmarkAnswer(b *testing.B) {
	const n = 100_000
	qs := questions(n)
	b.Run("cached", func(b *testing.B) {
		c := cache.New()
		real := clock.NewReal()
		for i := range n {
			rr := address(i)
			c.Put(&cache.Entry{Name: rr.Name, Type: rr.Type, Rank: cache.Answer, TTL: rr.TTL, Records: []dns.Resource{rr}}, real.Now())
		}
		d := NewResolver(recursor.Config{}, c, noNetwork{}, real)
		defer d.Close()
		var w dns.Message
		buf := make([]byte, 0, 4096)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if len(d.Cached(&w, buf, qs[i%n], 1232)) == 0 {
				b.Fatal("not cached")
			}
		}
	})
	b.Run("authoritative", func(b *testing.B) {
		var records []dns.Resource
		for i := range n {
			records = append(records, address(i))
		}
		z, err := zone.New(dns.MustName("bench.test"), records...)
		if err != nil {
			b.Fatal(err)
		}
		s := zone.NewServer()
		s.Put(z)
		var w zone.Workspace
		buf := make([]byte, 0, 4096)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if len(s.AnswerWith(&w, buf, qs[i%n], 1232)) == 0 {
				b.Fatal("no answer")
			}
		}
	})
}

// A million cached names stay within 400 MB.
func TestMillionCachedNames(t *testing.T) {
	needs.Long(t)
	c := cache.New()
	now := clock.Time(time.Hour)
	for i := range 1_000_000 {
		rr := address(i)
		c.Put(&cache.Entry{Name: rr.Name, Type: rr.Type, Rank: cache.Answer, TTL: rr.TTL, Records: []dns.Resource{rr}}, now)
	}
	s := c.Stats()
	if s.Entries != 1_000_000 {
		t.Fatalf("%d entries, %d MB: some were thrown out", s.Entries, s.Bytes>>20)
	}
	if heap := heapInUse(); heap > 400<<20 {
		t.Errorf("%d MB of heap, by its own account %d MB", heap>>20, s.Bytes>>20)
	} else {
		t.Logf("%d MB of heap, by its own account %d MB", heap>>20, s.Bytes>>20)
	}
	if e, ok := c.Get(dns.MustName("h77777.bench.test"), dns.TypeA, now, false); !ok || e.Records[0].Text() != "10.1.47.209" {
		t.Error("the cache lost a name")
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
