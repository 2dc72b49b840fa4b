package trace

import (
	"math"
	"strings"
	"testing"
)

func sample() *Trace {
	return &Trace{
		Exchanges:   []*Exchange{{ID: 1, Connection: 1, Lookup: 1}, {ID: 2, Connection: 1}, {ID: 3, Connection: 2, Predecessor: 2}},
		Lookups:     []*Lookup{{ID: 1}},
		Connections: []*Connection{{ID: 1, RecordsIn: []TLSRecord{{PlainOffset: 0, PlainLength: 100, Offset: 5, Length: 122}, {PlainOffset: 100, PlainLength: 50, Offset: 127, Length: 72}}}, {ID: 2}},
		Events:      []*Event{{ID: 1, Time: 0, Exchange: 1}, {ID: 2, Time: 5, Connection: 1}, {ID: 3, Time: 9, Exchange: 2, Connection: 1}, {ID: 4, Time: 20, Exchange: 3, Connection: 2}},
		Findings:    []*Finding{{ID: "A", Evidence: []int{3}}, {ID: "B", Evidence: []int{4}}},
	}
}

func TestOnlyKeepsWhatBelongsToAnExchange(t *testing.T) {
	o := sample().Only(1)
	if len(o.Exchanges) != 1 || len(o.Connections) != 1 || len(o.Lookups) != 1 || len(o.Events) != 2 || len(o.Findings) != 0 {
		t.Errorf("%+v", o)
	}
	o = sample().Only(3)
	if len(o.Exchanges) != 2 || len(o.Connections) != 2 || len(o.Findings) != 2 || o.Event(4) == nil || o.Event(1) != nil {
		t.Errorf("%+v", o)
	}
	if sample().Only(9) != nil {
		t.Error("an exchange that is not there")
	}
}

func TestDownFollowsPlaintextToRecords(t *testing.T) {
	tr := sample()
	for _, c := range []struct {
		offset, length int64
		records        int
	}{{0, 10, 1}, {90, 20, 2}, {100, 50, 1}, {150, 1, 0}} {
		got := tr.Down(Range{Space: SpaceTLS, Connection: 1, Direction: In, Offset: c.offset, Length: c.length})
		if len(got) != c.records {
			t.Errorf("%d+%d lies on %v", c.offset, c.length, got)
		}
	}
}

func TestBetweenNamesItsEvents(t *testing.T) {
	a, b := &Event{ID: 1, Time: 5}, &Event{ID: 2, Time: 9}
	if i := Between(a, b); i.Duration != 4 || i.FromEvent != 1 || i.ToEvent != 2 {
		t.Errorf("%+v", i)
	}
	if Between(b, a) != nil || Between(nil, a) != nil {
		t.Error("an interval that was not observed")
	}
}

func TestOnlyKeepsFindingsByWhatTheyName(t *testing.T) {
	tr := sample()
	tr.Findings = []*Finding{{ID: "of 2", Exchange: 2}, {ID: "of 3", Exchange: 3}, {ID: "of another, by an event of this connection", Exchange: 2, Evidence: []int{2}}, {ID: "of connection 1", Connection: 1},
		{ID: "of connection 2", Connection: 2}, {ID: "of the lookup", Lookup: 1}, {ID: "of none"}, {ID: "by evidence", Evidence: []int{9, 1}}}
	var got []string
	for _, f := range tr.Only(1).Findings {
		got = append(got, string(f.ID))
	}
	if want := "of connection 1, of the lookup, by evidence"; strings.Join(got, ", ") != want {
		t.Errorf("%q, want %s", got, want)
	}
}

// Lengths of time and shares are never below nothing, and never more than there
// is.
func TestElapsedAndShare(t *testing.T) {
	for _, c := range []struct {
		a, b Time
		want Duration
	}{{0, 5, 5}, {5, 5, 0}, {5, 0, 0}, {-5, 5, 10}, {math.MinInt64, math.MaxInt64, math.MaxInt64}, {math.MaxInt64, math.MinInt64, 0}} {
		if got := Elapsed(c.a, c.b); got != c.want {
			t.Errorf("from %d to %d: %d", c.a, c.b, got)
		}
	}
	for _, c := range []struct {
		part, whole int64
		want        float64
	}{{1, 4, 0.25}, {-1, 4, 0}, {5, 4, 1}, {1, 0, 0}, {1, -4, 0}, {math.MaxInt64, math.MaxInt64, 1}} {
		if got := Share(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d: %v", c.part, c.whole, got)
		}
	}
}

// A number is not rounded up to a thousand of its unit.
func TestDurationsBesideTheirUnits(t *testing.T) {
	for d, want := range map[Duration]string{0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 999_499: "999 µs", 999_500: "1.00 ms", 999_999: "1.00 ms",
		999_499_999: "999 ms", 999_500_000: "1.00 s", 1_000_000_000: "1.00 s"} {
		if got := d.String(); got != want {
			t.Errorf("%d ns: %q, want %q", int64(d), got, want)
		}
	}
}
