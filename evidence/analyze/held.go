package analyze

import (
	"bytes"
	"slices"
	"time"

	"peel/clock"
	"peel/evidence/capture"
)

// held is a segment that acknowledges bytes which have not come yet: a capture
// can have the two directions out of step. Its sender had them, so what it
// says comes after them.
type held struct {
	at   clock.Time
	seq  uint32
	data []byte
	fin  bool
	cut  int // bytes behind data that the capture left out
	ack  uint32
	acks bool
}

// Bounds of what is held, per direction: segments, and time in the capture.
const (
	maxHeld  = 512
	heldLife = 200 * time.Millisecond
)

// early tells whether a segment acknowledges bytes that have not come.
func (f *flow) early(dir capture.Direction, h *held) bool {
	st := f.streams[1-dir]
	return h.acks && st.Started() && f.analysis.Sides[1-dir].SawSYN && st.Missing(h.ack)
}

// hold keeps a segment, in the order of the stream: what was sent again for a
// loss is what the others wait for.
func (f *flow) hold(dir capture.Direction, h held) {
	h.data = bytes.Clone(h.data)
	list := f.waiting[dir]
	i := len(list)
	for i > 0 && int32(h.seq-list[i-1].seq) < 0 {
		i--
	}
	f.waiting[dir] = slices.Insert(list, i, h)
}

// unhold hands on what has waited long enough, or for what is there now.
func (f *flow) unhold(now clock.Time) {
	for again := true; again; {
		again = false
		for dir := range f.waiting {
			d := capture.Direction(dir)
			for len(f.waiting[dir]) > 0 {
				h := &f.waiting[dir][0]
				if f.early(d, h) && len(f.waiting[dir]) <= maxHeld && now.Sub(h.at) <= heldLife {
					break
				}
				next := *h
				f.waiting[dir] = f.waiting[dir][1:]
				f.deliver(d, &next)
				again = true
			}
		}
	}
}

// unholdBefore hands on what is held of one side and what the other had received,
// as its acknowledgement tells.
func (f *flow) unholdBefore(dir capture.Direction, ack uint32) {
	for ack != 0 && !f.busy[dir] && len(f.waiting[dir]) > 0 && int32(f.waiting[dir][0].seq-ack) < 0 {
		h := f.waiting[dir][0]
		f.waiting[dir] = f.waiting[dir][1:]
		f.deliver(dir, &h)
	}
}

func (f *flow) deliver(dir capture.Direction, h *held) {
	st := f.streams[dir]
	conflicts := st.Conflicts
	st.InputMarked(h.at, h.seq, h.data, h.fin && h.cut == 0, h.ack)
	if h.cut > 0 {
		end := h.seq + uint32(len(h.data))
		st.Lost(h.at, end, h.cut)
		if h.fin {
			st.InputMarked(h.at, end+uint32(h.cut), nil, true, h.ack)
		}
	}
	f.conflict += st.Conflicts - conflicts
}

// flush hands on what is held, at the end.
func (f *flow) flush() {
	for dir := range f.waiting {
		for len(f.waiting[dir]) > 0 {
			h := f.waiting[dir][0]
			f.waiting[dir] = f.waiting[dir][1:]
			f.deliver(capture.Direction(dir), &h)
		}
	}
}
