package cache

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
)

const start = clock.Time(1e18)

func at(d time.Duration) clock.Time { return start.Add(d) }

func entry(name string, ttl uint32, rank Rank, addr string) *Entry {
	rr := dns.NewResource(dns.MustName(name), ttl, dns.A{Addr: netip.MustParseAddr(addr)})
	return &Entry{Name: rr.Name, Type: dns.TypeA, Rank: rank, TTL: ttl, Records: []dns.Resource{rr}}
}

func addr(c *Cache, name string, now clock.Time) string {
	e, ok := c.Get(dns.MustName(name), dns.TypeA, now, false)
	if !ok {
		return "-"
	}
	if e.Negative() {
		return e.Rcode.String()
	}
	return fmt.Sprintf("%s/%d", e.Records[0].Text(), e.Records[0].TTL)
}

func want(t *testing.T, c *Cache, name string, now clock.Time, s string) {
	t.Helper()
	if got := addr(c, name, now); got != s {
		t.Errorf("%s after %s: %s, want %s", name, now.Sub(start), got, s)
	}
}

func TestTTLsCountDown(t *testing.T) {
	c := New()
	c.Put(entry("a.example", 10, Answer, "192.0.2.1"), start)
	want(t, c, "A.Example", start, "192.0.2.1/10")
	want(t, c, "a.example", at(9500*time.Millisecond), "192.0.2.1/1")
	want(t, c, "a.example", at(10*time.Second), "-")
}

func TestRFC2181_5_4_1_RankCounts(t *testing.T) {
	c := New()
	c.Put(entry("a.example", 10, Answer, "192.0.2.1"), start)
	c.Put(entry("a.example", 100, Glue, "192.0.2.66"), start)
	want(t, c, "a.example", start, "192.0.2.1/10")
	c.Put(entry("a.example", 20, Answer, "192.0.2.2"), start)
	want(t, c, "a.example", start, "192.0.2.2/20")
	c.Put(entry("a.example", 100, Glue, "192.0.2.3"), at(21*time.Second)) // the better one is over
	want(t, c, "a.example", at(21*time.Second), "192.0.2.3/100")
	// What was validated is not replaced by what was not.
	e := entry("s.example", 10, Answer, "192.0.2.1")
	e.Security = Secure
	c.Put(e, start)
	c.Put(entry("s.example", 10, Answer, "6.6.6.6"), start)
	want(t, c, "s.example", start, "192.0.2.1/10")
}

func TestRFC2308_NegativeEntries(t *testing.T) {
	c := New()
	soa := dns.NewResource(dns.MustName("example"), 60, dns.SOA{Minimum: 30})
	c.Put(&Entry{Name: dns.MustName("none.example"), Type: dns.TypeMX, Rcode: dns.RcodeNXDomain, Rank: Answer, TTL: 30, Proofs: []dns.Resource{soa}}, start)
	want(t, c, "none.example", start, "NXDOMAIN") // of every type
	c.Put(&Entry{Name: dns.MustName("a.example"), Type: dns.TypeMX, Rank: Answer, TTL: 30, Proofs: []dns.Resource{soa}}, start)
	e, ok := c.Get(dns.MustName("a.example"), dns.TypeMX, start, false)
	if !ok || !e.Negative() || len(e.Proofs) != 1 || e.Proofs[0].Text() != soa.Text() || e.Proofs[0].TTL != 30 {
		t.Errorf("%+v", e)
	}
	want(t, c, "a.example", start, "-") // but not of another
	c.Put(&Entry{Name: dns.MustName("long.example"), Type: dns.TypeA, Rank: Answer, TTL: 1 << 30}, start)
	if e, _ := c.Get(dns.MustName("long.example"), dns.TypeA, start, false); e.TTL != 3*3600 {
		t.Errorf("a negative answer is kept for %d s", e.TTL)
	}
}

func TestRFC8767_StaleEntries(t *testing.T) {
	c := New()
	c.KeepStale = time.Hour
	c.Put(entry("a.example", 10, Answer, "192.0.2.1"), start)
	want(t, c, "a.example", at(time.Minute), "-")
	e, ok := c.Get(dns.MustName("a.example"), dns.TypeA, at(time.Minute), true)
	if !ok || e.Records[0].TTL != 30 {
		t.Errorf("%+v", e)
	}
	if _, ok := c.Get(dns.MustName("a.example"), dns.TypeA, at(2*time.Hour), true); ok {
		t.Error("kept for too long")
	}
}

// Memory stays bounded, and what is used stays before what is not.
func TestBoundedMemory(t *testing.T) {
	c := New()
	c.MaxBytes = 100_000
	c.Put(entry("hot.example", 3600, Answer, "192.0.2.1"), start)
	for i := range 20_000 {
		c.Put(entry(fmt.Sprintf("n%d.example", i), 3600, Answer, "192.0.2.2"), start)
		want(t, c, "hot.example", start, "192.0.2.1/3600")
		if s := c.Stats(); s.Bytes > c.MaxBytes {
			t.Fatalf("%d bytes", s.Bytes)
		}
	}
	s := c.Stats()
	if s.Evicted == 0 || s.Entries < 300 || ringOf(t, c) != s.Entries {
		t.Errorf("%+v, ring of %d", s, ringOf(t, c))
	}
}

// ringOf counts the keys in the rings; each entry must stand where its slot
// says.
func ringOf(t *testing.T, c *Cache) (n int) {
	t.Helper()
	for i := range c.parts {
		p := &c.parts[i]
		n += len(p.ring)
		for at, k := range p.ring {
			if s, ok := p.slots[k]; !ok || int(s.at) != at {
				t.Fatalf("%v stands at %d of its ring, its slot says %d", k.name, at, s.at)
			}
		}
	}
	return n
}

// What is forgotten and learned again and again leaves nothing behind.
func TestForgettingLeavesNothing(t *testing.T) {
	c := New()
	for i := range 10_000 {
		c.Put(entry(fmt.Sprintf("n%d.example", i%7), 3600, Answer, "192.0.2.1"), start)
		c.Remove(dns.MustName(fmt.Sprintf("n%d.example", i%5)), dns.TypeA, false)
	}
	if s := c.Stats(); s.Entries > 7 || ringOf(t, c) != s.Entries {
		t.Errorf("%+v, ring of %d", s, ringOf(t, c))
	}
}

// Readers, writers and those who forget do not disturb each other.
func TestManyGoroutines(t *testing.T) {
	c := New()
	c.MaxBytes = 200_000
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 2000 {
				name := fmt.Sprintf("n%d.example", i%700)
				switch (i + g) % 4 {
				case 0:
					c.Put(entry(name, 3600, Answer, "192.0.2.1"), start)
				case 1:
					c.Remove(dns.MustName(name), dns.TypeA, false)
				default:
					if got := addr(c, name, start); got != "-" && got != "192.0.2.1/3600" {
						t.Errorf("%s: %s", name, got)
					}
				}
			}
			c.Remove(dns.MustName("n1.example"), dns.TypeANY, true)
			c.All(start)
		})
	}
	all.Wait()
	if s := c.Stats(); ringOf(t, c) != s.Entries {
		t.Errorf("%+v", s)
	}
}

func TestRemove(t *testing.T) {
	c := New()
	for _, n := range []string{"example", "a.example", "b.a.example", "other"} {
		c.Put(entry(n, 60, Answer, "192.0.2.1"), start)
	}
	if n := c.Remove(dns.MustName("a.example"), dns.TypeANY, false); n != 1 {
		t.Error(n)
	}
	if n := c.Remove(dns.MustName("Example"), dns.TypeANY, true); n != 2 {
		t.Error(n)
	}
	if all := c.All(start); len(all) != 1 || all[0].Name.Host() != "other" {
		t.Errorf("%v", all)
	}
	if s := c.Stats(); s.Entries != 1 || s.Bytes <= 0 || ringOf(t, c) != 1 {
		t.Errorf("%+v", s)
	}
}

// What is put in comes out again: records, signatures, proofs and the reason.
func TestEntriesKeepAllTheyHold(t *testing.T) {
	c := New()
	e := entry("a.example", 60, Answer, "192.0.2.1")
	e.Security, e.Reason = Insecure, "example is not signed"
	e.Signatures = []dns.Resource{dns.NewResource(e.Name, 60, dns.RRSIG{Covered: dns.TypeA, Signer: dns.MustName("example"), Signature: []byte("sig")})}
	e.Proofs = []dns.Resource{dns.NewResource(dns.MustName("b.example"), 60, dns.NSEC{Next: dns.MustName("c.example"), Types: []dns.Type{dns.TypeA}})}
	c.Put(e, start)
	got, _ := c.Get(e.Name, dns.TypeA, start, false)
	if got.Security != Insecure || got.Reason != e.Reason || got.Rank != Answer || fmt.Sprint(got.Records, got.Signatures, got.Proofs) != fmt.Sprint(e.Records, e.Signatures, e.Proofs) {
		t.Errorf("%+v", got)
	}
}
