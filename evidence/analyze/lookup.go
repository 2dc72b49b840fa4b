package analyze

import (
	"net/netip"
	"slices"

	"peel/clock"
	"peel/trace"
)

// lookup is a name's story while it is being told: by decisions, or by the
// packets alone.
type lookup struct {
	tr trace.Lookup
	// early is when one family's addresses were good enough to go on.
	start, early, end *trace.Event
	used              bool       // by an exchange that no decision tells of
	number            uint32     // that decisions use; 0 when none does
	begun, last       clock.Time // something was heard of it
	handed            bool       // to who takes parts of the trace, and is not told again

	// Where only packets tell of it: who asked, what, and how it ended.
	client     netip.Addr
	asks       []*asked
	unanswered int
	more       int   // messages past the bound
	again      *conn // by which an answer that was cut short is asked for again
}

func (l *lookup) trace(a *Analyzer) *trace.Lookup {
	t := l.tr
	t.Addresses = slices.Clip(t.Addresses)
	if l.number == 0 {
		t.Steps, t.Failure = l.steps(a), l.failure(a)
	}
	t.Steps = slices.Clip(t.Steps)
	if t.Steps == nil {
		t.Steps = []trace.Step{}
	}
	if t.Addresses == nil {
		t.Addresses = []trace.Address{}
	}
	return &t
}
