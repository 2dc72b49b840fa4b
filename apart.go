package peel

import (
	"peel/evidence/capture"
	"peel/evidence/decision"
)

// apart gives the records of one of several captures. Each recording of peel
// counts its sockets, exchanges and lookups from 1; put together, what two of
// them call connection 1 stays two.
type apart struct {
	capture.Source
	numbers *[3]numbers
	file    int
}

// Kinds of numbers.
const (
	sockets = iota
	exchanges
	lookups
)

// numbers are those of one kind. A number stays as it is for the first capture
// that uses it.
type numbers struct {
	given map[numbered]uint32
	taken map[uint32]bool
	last  uint32
}

type numbered struct {
	file   int
	number uint32
}

func newNumbers() *[3]numbers {
	var n [3]numbers
	for i := range n {
		n[i] = numbers{given: map[numbered]uint32{}, taken: map[uint32]bool{}}
	}
	return &n
}

func (n *numbers) of(file int, number uint32) uint32 {
	if number == 0 {
		return 0 // none
	}
	k := numbered{file, number}
	to, ok := n.given[k]
	if ok {
		return to
	}
	for to = number; n.taken[to]; to = n.last {
		n.last++
	}
	n.given[k], n.taken[to] = to, true
	return to
}

func (a *apart) Next(wait bool) (capture.Record, bool) {
	r, ok := a.Source.Next(wait)
	r.Socket = a.numbers[sockets].of(a.file, r.Socket)
	if r.Kind != capture.Decided {
		return r, ok
	}
	r.Exchange = a.numbers[exchanges].of(a.file, r.Exchange)
	r.Lookup = a.numbers[lookups].of(a.file, r.Lookup)
	if d, ok := r.Decision.(*decision.RequestStarted); ok && d.Predecessor != 0 {
		started := *d
		started.Predecessor = a.numbers[exchanges].of(a.file, d.Predecessor)
		r.Decision = &started
	}
	return r, ok
}
