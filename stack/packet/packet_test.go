package packet

import "testing"

func TestAPacketGrowsAtBothEnds(t *testing.T) {
	var l Pool
	p := l.Get(10)
	copy(p.Extend(4), "data")
	p.Checksum, p.SumFrom, p.SumAt = Partial, 0, 2
	copy(p.Prepend(4), "head")
	if string(p.Bytes()) != "headdata" || p.SumFrom != 4 || p.SumAt != 6 {
		t.Errorf("%q, sum from %d at %d", p.Bytes(), p.SumFrom, p.SumAt)
	}
	q := l.Clone(p)
	p.Strip(4)
	p.Truncate(2)
	if string(p.Bytes()) != "da" || p.SumFrom != 0 || string(q.Bytes()) != "headdata" || q.SumAt != 6 {
		t.Errorf("%q and %q", p.Bytes(), q.Bytes())
	}
	if !p.Append([]byte("!")) || p.Append(make([]byte, p.Cap())) || p.Extend(p.Cap()) != nil {
		t.Error("room where there is none, or none where there is")
	}
	p.Release()
	q.Release()
	if l.Out != 0 {
		t.Errorf("%d are out", l.Out)
	}
}

func TestThePoolGivesPacketsAgain(t *testing.T) {
	var l Pool
	for _, n := range []int{0, 1, 1514, 2000, 9000, 65535 + 18} {
		p := l.Get(n)
		if p.Extend(n) == nil && n > 0 || p.Cap() < n+Headroom {
			t.Fatalf("no room for %d bytes in %d", n, p.Cap())
		}
		p.ID, p.Segment, p.Checksum = 7, 9, Good
		l.Put(p)
		if q := l.Get(n); q != p || q.Len() != 0 || q.ID|uint64(q.Segment)|uint64(q.Checksum) != 0 {
			t.Errorf("%d bytes: %+v", n, q)
		} else {
			l.Put(q)
		}
	}
	if n := testing.AllocsPerRun(100, func() { l.Put(l.Get(1514)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
