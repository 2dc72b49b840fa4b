package ip

import (
	"bytes"
	"net/netip"
	"slices"

	"peel/clock"
)

// Limits of reassembly. The zero value has the defaults given.
type Limits struct {
	// Datagrams bounds those that are incomplete at once; 0 means 256.
	Datagrams int
	// Fragments bounds those of one datagram; 0 means 1024: at the smallest
	// fragment size that is 8 kB, at the usual one more than the 64 KiB that
	// fit.
	Fragments int
	// Timeout is how long a datagram waits for its fragments, in ns; 0 means
	// 60 s (RFC 8200 §4.5).
	Timeout clock.Time
}

// Reassembler joins fragments to the payload they were cut from. Where
// fragments overlap and differ, the bytes that came first stay, and the
// datagram is marked (RFC 5722 tells IPv6 hosts to drop such a datagram, and
// IPv4 hosts differ).
type Reassembler struct {
	lim   Limits
	open  map[fragmentKey]*datagram
	order []fragmentKey // oldest first
	// Expired and Dropped count datagrams that were given up: too old, or
	// pushed out by the limits.
	Expired, Dropped int
}

type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    Protocol
}

// keyOf tells the datagram that a fragment is of. RFC 791: the protocol is part
// of the key; RFC 8200 §4.5: for IPv6 the identification alone tells, whatever
// the next header says.
func keyOf(p *Packet) fragmentKey {
	k := fragmentKey{src: p.Src, dst: p.Dst, id: p.ID}
	if p.Version == 4 {
		k.proto = p.Protocol
	}
	return k
}

type datagram struct {
	first clock.Time
	parts []Part
	data  []byte
	have  []span // covered, sorted, disjoint
	total int    // of the payload; -1 while the last fragment is missing
	over  bool
	kept  []byte // of the first fragment, see Keep
}

type span struct{ from, to int }

// Part tells which packet a stretch of the payload came from.
type Part struct {
	Packet int
	// Offset in the payload, and At, where it stands in the packet.
	Offset, At, Length int
}

// Whole is a payload put together again.
type Whole struct {
	Payload []byte
	Parts   []Part
	// Overlap tells that fragments overlapped.
	Overlap bool
}

// NewReassembler returns an empty one.
func NewReassembler(l Limits) *Reassembler {
	if l.Datagrams == 0 {
		l.Datagrams = 256
	}
	if l.Fragments == 0 {
		l.Fragments = 1024
	}
	if l.Timeout == 0 {
		l.Timeout = 60e9
	}
	return &Reassembler{lim: l, open: map[fragmentKey]*datagram{}}
}

// Add takes a fragment whose payload stands at byte at of that packet. It
// returns the whole when this fragment completes it. payload is copied.
func (r *Reassembler) Add(p *Packet, payload []byte, packet, at int, now clock.Time) (Whole, bool) {
	r.Expire(now)
	k := keyOf(p)
	d := r.open[k]
	if d == nil {
		if len(r.open) >= r.lim.Datagrams {
			r.forget(r.order[0])
			r.Dropped++
		}
		d = &datagram{first: now, total: -1}
		r.open[k] = d
		r.order = append(r.order, k)
	}
	end := p.FragmentOffset + len(payload)
	if end > 65535 || len(d.parts) >= r.lim.Fragments || d.total >= 0 && end > d.total {
		r.forget(k)
		r.Dropped++
		return Whole{}, false
	}
	d.add(p.FragmentOffset, payload, packet, at)
	if !p.MoreFragments {
		d.total = end
	}
	if d.total < 0 || len(d.have) != 1 || d.have[0] != (span{0, d.total}) {
		return Whole{}, false
	}
	r.forget(k)
	slices.SortStableFunc(d.parts, func(a, b Part) int { return a.Offset - b.Offset })
	return Whole{Payload: d.data[:d.total], Parts: d.parts, Overlap: d.over}, true
}

func (d *datagram) add(from int, b []byte, packet, at int) {
	to := from + len(b)
	for _, p := range d.parts {
		if p.Offset == from && p.Length == len(b) && bytes.Equal(d.data[from:to], b) {
			return // the same once more, which RFC 8200 §4.5 lets pass
		}
	}
	if to > len(d.data) {
		d.data = append(d.data, make([]byte, to-len(d.data))...)
	}
	// Fill only the holes: what came first stays.
	next := from
	for _, s := range d.have {
		if s.to <= next || s.from >= to {
			continue
		}
		d.over = true
		if s.from > next {
			copy(d.data[next:s.from], b[next-from:])
			d.parts = append(d.parts, Part{packet, next, at + next - from, s.from - next})
		}
		next = s.to
	}
	if next < to {
		copy(d.data[next:to], b[next-from:])
		d.parts = append(d.parts, Part{packet, next, at + next - from, to - next})
	}
	d.have = append(d.have, span{from, to})
	slices.SortFunc(d.have, func(a, b span) int { return a.from - b.from })
	merged := d.have[:1]
	for _, s := range d.have[1:] {
		if l := &merged[len(merged)-1]; s.from <= l.to {
			l.to = max(l.to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	d.have = merged
}

// Keep keeps a copy of b, the beginning of the packet with the first fragment,
// for Expire to return if the datagram stays incomplete.
func (r *Reassembler) Keep(p *Packet, b []byte) {
	if d := r.open[keyOf(p)]; d != nil {
		d.kept = bytes.Clone(b)
	}
}

// Expire gives up the datagrams whose time is over, and returns what was kept
// of them.
func (r *Reassembler) Expire(now clock.Time) (kept [][]byte) {
	for len(r.order) > 0 && r.Next() <= now {
		if b := r.open[r.order[0]].kept; b != nil {
			kept = append(kept, b)
		}
		r.forget(r.order[0])
		r.Expired++
	}
	return kept
}

// Next is when the next datagram is to be given up, or clock.Never.
func (r *Reassembler) Next() clock.Time {
	if len(r.order) == 0 {
		return clock.Never
	}
	return r.open[r.order[0]].first + r.lim.Timeout + 1
}

func (r *Reassembler) forget(k fragmentKey) {
	delete(r.open, k)
	if i := slices.Index(r.order, k); i >= 0 {
		r.order = slices.Delete(r.order, i, i+1)
	}
}

// Open is the number of datagrams that wait for fragments.
func (r *Reassembler) Open() int { return len(r.open) }
