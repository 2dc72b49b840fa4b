package link

import (
	"container/heap"

	"peel/clock"
	"peel/stack/packet"
)

// ring is a FIFO that allocates only when it grows.
type ring[T any] struct {
	buf     []T // a power of two
	from, n int
}

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		bigger := make([]T, max(16, 2*len(r.buf)))
		n := copy(bigger, r.buf[r.from:])
		copy(bigger[n:], r.buf[:r.from])
		r.buf, r.from = bigger, 0
	}
	r.buf[(r.from+r.n)&(len(r.buf)-1)] = v
	r.n++
}

// head is the first element; there has to be one.
func (r *ring[T]) head() *T { return &r.buf[r.from] }

func (r *ring[T]) pop() T {
	var zero T
	v := r.buf[r.from]
	r.buf[r.from] = zero
	r.from = (r.from + 1) & (len(r.buf) - 1)
	r.n--
	return v
}

// frame is a frame on its way.
type frame struct {
	p     *packet.Packet
	at    clock.Time // of arrival; for one that is held back, the latest
	gap   int32      // for one that is held back: by how many still
	check bool       // the receiver has to compare the FCS with fcs
	fcs   [4]byte
}

// flight is the frames on their way. Those that keep their turn are in the
// ring, in the order of arrival; late are those that lost it; held are those
// that wait until others have overtaken them.
type flight struct {
	ring ring[frame]
	late lateHeap
	seq  uint64
	held []frame
}

func (f *flight) len() int { return f.ring.n + len(f.late) + len(f.held) }

func (f *flight) pushLate(e frame) {
	f.seq++
	heap.Push(&f.late, lateFrame{e, f.seq})
}

// passed counts a frame that overtakes those that are held back, and calls
// release for each that was held back long enough.
func (f *flight) passed(release func(frame)) {
	keep := f.held[:0]
	for _, h := range f.held {
		if h.gap--; h.gap > 0 {
			keep = append(keep, h)
		} else {
			release(h)
		}
	}
	clear(f.held[len(keep):])
	f.held = keep
}

// firstHeld is the index of the frame whose time is up first.
func (f *flight) firstHeld() int {
	first := 0
	for i := range f.held {
		if f.held[i].at < f.held[first].at {
			first = i
		}
	}
	return first
}

// next is when the next frame arrives.
func (f *flight) next() clock.Time {
	at := clock.Never
	if f.ring.n > 0 {
		at = f.ring.head().at
	}
	if len(f.late) > 0 {
		at = min(at, f.late[0].at)
	}
	if len(f.held) > 0 {
		at = min(at, f.held[f.firstHeld()].at)
	}
	return at
}

// pop takes the next frame if it has arrived by now. At one instant those that
// kept their turn are first.
func (f *flight) pop(now clock.Time) (frame, bool) {
	at := f.next()
	switch {
	case at > now || f.len() == 0:
		return frame{}, false
	case f.ring.n > 0 && f.ring.head().at == at:
		return f.ring.pop(), true
	case len(f.late) > 0 && f.late[0].at == at:
		return heap.Pop(&f.late).(lateFrame).frame, true
	}
	i := f.firstHeld()
	e := f.held[i]
	f.held = append(f.held[:i], f.held[i+1:]...)
	return e, true
}

type lateFrame struct {
	frame
	seq uint64
}

type lateHeap []lateFrame

func (h lateHeap) Len() int { return len(h) }
func (h lateHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h lateHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *lateHeap) Push(x any)   { *h = append(*h, x.(lateFrame)) }
func (h *lateHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = lateFrame{}
	*h = old[:len(old)-1]
	return e
}
