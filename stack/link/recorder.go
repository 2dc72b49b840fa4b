package link

import (
	"bytes"
	"time"

	"peel/clock"
)

// Recorder is an Observer that remembers. A packet's bytes are stored once;
// a place that sees them with another header (addresses of the next link, TTL,
// NAT) costs that header; only where the length or the bytes behind have changed
// are they stored anew.
type Recorder struct {
	limit, used int
	hops        []hop
	stored      [][]byte // by body number from 0, and heads too
	chunk       []byte   // room for what comes
	packets     map[uint64]known
	names       []string
	numbers     map[string]uint32
	full        bool
	stopped     clock.Time
	missed      int
}

// headLen is how much of a frame a changed header is looked for in.
const headLen = 128

// What a hop and a packet cost beside bytes; about what they take in memory.
const (
	hopCost    = 48
	packetCost = 64
	storeCost  = 24
)

type hop struct {
	at            clock.Time
	wait          time.Duration
	id            uint64
	body, head    uint32 // in stored; head 0 is the body's own
	place, reason uint32 // in names
	verdict       Verdict
}

// known is how a packet was seen last.
type known struct{ body, head uint32 }

// Seen is a hop as it was recorded.
type Seen struct {
	ID      uint64
	Time    clock.Time
	Where   string
	Verdict Verdict
	Reason  string
	Wait    time.Duration
}

// NewRecorder returns a recorder that stops when it has taken limit bytes.
func NewRecorder(limit int) *Recorder {
	return &Recorder{limit: limit, packets: map[uint64]known{}, numbers: map[string]uint32{"": 0}, names: []string{""}, stored: [][]byte{nil}}
}

// Observe records h.
func (r *Recorder) Observe(h Hop) {
	if r.full {
		r.missed++
		return
	}
	b := h.Packet.Bytes()
	// At most all of it is new.
	if r.used+hopCost+packetCost+storeCost+len(b)+len(h.Where)+len(h.Reason) > r.limit {
		r.full, r.stopped, r.missed = true, h.Time, 1
		return
	}
	e := hop{at: h.Time, wait: h.Wait, id: h.Packet.ID, place: r.number(h.Where), reason: r.number(h.Reason), verdict: h.Verdict}
	e.body, e.head = r.bytes(h.Packet.ID, b)
	r.hops = append(r.hops, e)
	r.used += hopCost
}

// bytes finds or stores b, and says where.
func (r *Recorder) bytes(id uint64, b []byte) (body, head uint32) {
	k, ok := r.packets[id]
	if !ok || id == 0 {
		k = known{body: r.store(b)}
		r.packets[id] = k
		r.used += packetCost
		return k.body, 0
	}
	n := min(headLen, len(b))
	was := r.stored[k.body]
	switch {
	case len(b) != len(was) || !bytes.Equal(b[n:], was[n:]):
		k = known{body: r.store(b)}
	case bytes.Equal(b[:n], was[:n]):
		k.head = 0
	case k.head == 0 || !bytes.Equal(b[:n], r.stored[k.head]):
		k.head = r.store(b[:n])
	default:
		return k.body, k.head
	}
	r.packets[id] = k
	return k.body, k.head
}

// store keeps a copy of b.
func (r *Recorder) store(b []byte) uint32 {
	if len(b) > cap(r.chunk)-len(r.chunk) {
		r.chunk = make([]byte, 0, max(len(b), 256<<10))
	}
	from := len(r.chunk)
	r.chunk = append(r.chunk, b...)
	r.stored = append(r.stored, r.chunk[from:len(r.chunk):len(r.chunk)])
	r.used += len(b) + storeCost
	return uint32(len(r.stored) - 1)
}

func (r *Recorder) number(s string) uint32 {
	n, ok := r.numbers[s]
	if !ok {
		n = uint32(len(r.names))
		r.numbers[s] = n
		r.names = append(r.names, s)
		r.used += len(s)
	}
	return n
}

// Stopped tells whether the limit was reached, when, and how many hops were
// not recorded since.
func (r *Recorder) Stopped() (at clock.Time, missed int, stopped bool) {
	return r.stopped, r.missed, r.full
}

// Used is the bytes taken of the limit.
func (r *Recorder) Used() int { return r.used }

// Len is the number of hops.
func (r *Recorder) Len() int { return len(r.hops) }

// At returns the hop of index i, in the order of time.
func (r *Recorder) At(i int) Seen {
	h := &r.hops[i]
	return Seen{ID: h.id, Time: h.at, Where: r.names[h.place], Verdict: h.verdict, Reason: r.names[h.reason], Wait: h.wait}
}

// Frame appends to b the frame as it was at hop i.
func (r *Recorder) Frame(b []byte, i int) []byte {
	h := &r.hops[i]
	body := r.stored[h.body]
	if h.head == 0 {
		return append(b, body...)
	}
	head := r.stored[h.head]
	return append(append(b, head...), body[len(head):]...)
}

// Saw calls f for what went over the cable's end of that name, as a capture
// there would have it: what was sent and what was delivered. The frame is valid
// only during the call. f returns false to stop.
func (r *Recorder) Saw(where string, f func(t clock.Time, frame []byte) bool) {
	place, ok := r.numbers[where]
	if !ok {
		return
	}
	var b []byte
	for i := range r.hops {
		if h := &r.hops[i]; h.place == place && (h.verdict == Sent || h.verdict == Delivered) {
			b = r.Frame(b[:0], i)
			if !f(h.at, b) {
				return
			}
		}
	}
}

// Places returns the names of all places that were seen, in the order of their
// first hop.
func (r *Recorder) Places() []string {
	var out []string
	listed := map[uint32]bool{}
	for i := range r.hops {
		if p := r.hops[i].place; !listed[p] {
			listed[p] = true
			out = append(out, r.names[p])
		}
	}
	return out
}
