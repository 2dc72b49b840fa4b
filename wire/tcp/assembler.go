package tcp

import (
	"bytes"
	"sort"
	"time"

	"peel/clock"
)

// Policy says which bytes count where segments overlap and differ. Hosts
// differ in this, which is what evasion lives from.
type Policy uint8

const (
	// First keeps the bytes that came first.
	First Policy = iota
	// Last takes the bytes that came last, as long as they have not been
	// handed on.
	Last
)

// Limits of reassembly, per direction. The zero value has the defaults given.
type Limits struct {
	// Bytes and Segments bound what waits for a hole to be filled; 0 means
	// 8 MiB and 8192. When they are reached the hole is given up.
	Bytes, Segments int
	// Patience is how long, in the capture's time, a hole whose bytes the
	// receiver acknowledged is waited for: a capture can have packets in
	// the wrong order, but not by much. 0 means 200 ms.
	Patience clock.Time
	// Policy is for segments that overlap.
	Policy Policy
}

// Sink takes the byte stream of one direction as it comes into order.
type Sink interface {
	// Bytes takes the next bytes. b is valid during the call.
	Bytes(now clock.Time, b []byte)
	// Gap tells that n bytes were not captured.
	Gap(now clock.Time, n int64)
	// End tells that the stream is over: by FIN, or not (reset, given up).
	End(now clock.Time, fin bool)
}

// Assembler puts one direction's segments into order.
type Assembler struct {
	lim     Limits
	sink    Sink
	started bool
	ended   bool
	base    uint32 // sequence number of stream offset 0, modulo 2^32
	next    int64  // stream offset of the next byte to hand on
	fin     int64  // stream offset of the FIN, -1 unknown
	queue   []piece
	queued  int
	acked   int64      // highest offset the receiver acknowledged
	waiting clock.Time // since when an acknowledged hole has been waited for
	mark    uint32     // of the bytes being handed on
	gone    []stretch  // not captured, and not reached yet
	// Overlaps counts segments whose bytes overlapped others that waited;
	// Conflicts those among them whose bytes differed.
	Overlaps, Conflicts int
}

// stretch is bytes from one offset of the stream to another.
type stretch struct{ from, to int64 }

// maxGone bounds the stretches remembered that are known to be missing. What is
// past it is found missing in the end.
const maxGone = 4096

type piece struct {
	off  int64
	data []byte
	mark uint32
	came clock.Time
}

func (p *piece) end() int64 { return p.off + int64(len(p.data)) }

// NewAssembler returns one that hands its stream to sink.
func NewAssembler(l Limits, sink Sink) *Assembler {
	if l.Bytes == 0 {
		l.Bytes = 8 << 20
	}
	if l.Segments == 0 {
		l.Segments = 8192
	}
	if l.Patience == 0 {
		l.Patience = clock.Time(200 * time.Millisecond)
	}
	return &Assembler{lim: l, sink: sink, fin: -1}
}

// Started tells whether the place of the first byte is known.
func (a *Assembler) Started() bool { return a.started }

// Start says which sequence number the first byte of the stream has.
func (a *Assembler) Start(seq uint32) {
	if !a.started {
		a.started, a.base = true, seq
	}
}

// Offset returns the place of a sequence number in the stream; numbers are
// taken to be within 2^31 of the next byte.
func (a *Assembler) Offset(seq uint32) int64 {
	return a.next + int64(int32(seq-a.base-uint32(a.next)))
}

// Next is the stream offset up to which bytes were handed on.
func (a *Assembler) Next() int64 { return a.next }

// Missing tells whether bytes before a sequence number, as an acknowledgement
// names it, have not been handed on.
func (a *Assembler) Missing(ack uint32) bool {
	off := a.Offset(ack)
	if a.fin >= 0 && off > a.fin {
		off = a.fin // the FIN takes a number
	}
	if a.ended {
		return false
	}
	if off == a.next+1 && a.fin < 0 {
		// One more than the bytes that came: perhaps a FIN that was not seen.
		return false
	}
	return off > a.next && off < a.next+1<<30
}

// Waiting is the number of bytes that wait behind a hole.
func (a *Assembler) Waiting() int { return a.queued }

// Mark is what InputMarked was told of the segment whose bytes the sink is given
// now, or was given last.
func (a *Assembler) Mark() uint32 { return a.mark }

// Behind tells whether bytes wait behind some that did not come, or the receiver
// has acknowledged some that did not.
func (a *Assembler) Behind() bool { return a.queued > 0 || a.started && a.acked > a.next }

// Input takes a segment's payload, which begins at seq. b is copied if it has
// to wait.
func (a *Assembler) Input(now clock.Time, seq uint32, b []byte, fin bool) {
	a.InputMarked(now, seq, b, fin, 0)
}

// InputMarked is Input of a segment of which something is to be remembered, such
// as what it acknowledged, until its bytes are handed on.
func (a *Assembler) InputMarked(now clock.Time, seq uint32, b []byte, fin bool, mark uint32) {
	if a.ended {
		return
	}
	a.Start(seq)
	off := a.Offset(seq)
	if fin && a.fin < 0 {
		a.fin = off + int64(len(b))
	}
	switch {
	case len(b) == 0:
	case off <= a.next && len(a.queue) == 0 && len(a.gone) == 0:
		if skip := a.next - off; skip < int64(len(b)) {
			a.deliver(now, b[skip:], mark)
		}
	case off+int64(len(b)) <= a.next:
	case off > a.next+int64(1<<30):
		// Not of this stream, whatever it is.
	default:
		a.wait(piece{off, b, mark, now})
		a.drain(now, false)
	}
	for len(a.queue) > 0 && (a.queued > a.lim.Bytes || len(a.queue) > a.lim.Segments) {
		a.giveUp(now)
	}
	a.checkEnd(now)
}

// Lost says that the n bytes from seq on were in a segment that the capture cut
// off: nobody will bring them.
func (a *Assembler) Lost(now clock.Time, seq uint32, n int) {
	if a.ended || !a.started || n <= 0 {
		return
	}
	from := a.Offset(seq)
	s := stretch{max(from, a.next), from + int64(n)}
	if s.to <= a.next || s.from > a.next+1<<30 || len(a.gone) >= maxGone {
		return
	}
	i := sort.Search(len(a.gone), func(i int) bool { return a.gone[i].from >= s.from })
	a.gone = append(a.gone, stretch{})
	copy(a.gone[i+1:], a.gone[i:])
	a.gone[i] = s
	a.drain(now, true)
	a.checkEnd(now)
}

// pass goes past what is known to be missing at the next byte, as far as no
// segment brought it after all.
func (a *Assembler) pass(now clock.Time) bool {
	for len(a.gone) > 0 && a.gone[0].to <= a.next {
		a.gone = a.gone[1:]
	}
	if len(a.gone) == 0 || a.gone[0].from > a.next {
		return false
	}
	to := a.gone[0].to
	if len(a.queue) > 0 {
		to = min(to, a.queue[0].off)
	}
	if to <= a.next {
		return false
	}
	n := to - a.next
	a.next = to
	a.sink.Gap(now, n)
	return true
}

func (a *Assembler) deliver(now clock.Time, b []byte, mark uint32) {
	a.mark = mark
	a.next += int64(len(b))
	a.sink.Bytes(now, b)
}

// wait queues the bytes of a piece that are neither handed on nor queued yet.
func (a *Assembler) wait(p piece) {
	off, b := p.off, p.data
	if skip := a.next - off; skip > 0 {
		off, b = a.next, b[skip:]
	}
	end := off + int64(len(b))
	i := sort.Search(len(a.queue), func(i int) bool { return a.queue[i].end() > off })
	overlapped := false
	for len(b) > 0 && i < len(a.queue) && a.queue[i].off < end {
		q := &a.queue[i]
		if off < q.off {
			n := q.off - off
			a.insert(i, piece{off, b[:n], p.mark, p.came})
			i++
			off, b = off+n, b[n:]
			continue
		}
		n := min(q.end(), end) - off
		old := q.data[off-q.off : off-q.off+n]
		overlapped = true
		if !bytes.Equal(old, b[:n]) {
			a.Conflicts++
			if a.lim.Policy == Last {
				copy(old, b[:n])
			}
		}
		off, b = off+n, b[n:]
		i++
	}
	if overlapped {
		a.Overlaps++
	}
	if len(b) > 0 {
		a.insert(i, piece{off, b, p.mark, p.came})
	}
}

func (a *Assembler) insert(i int, p piece) {
	a.queue = append(a.queue, piece{})
	copy(a.queue[i+1:], a.queue[i:])
	p.data = bytes.Clone(p.data)
	a.queue[i] = p
	a.queued += len(p.data)
}

// drain hands on what is in order now. Behind a hole that was filled, the receiver
// has it now; behind one in the capture alone it had it when it came.
func (a *Assembler) drain(now clock.Time, hole bool) {
	n := 0
	for {
		for ; n < len(a.queue) && a.queue[n].off <= a.next; n++ {
			p := a.queue[n]
			a.queued -= len(p.data)
			if skip := a.next - p.off; skip < int64(len(p.data)) {
				at := now
				if hole {
					at = p.came
				}
				a.deliver(at, p.data[skip:], p.mark)
			}
		}
		if n > 0 {
			a.queue = append(a.queue[:0], a.queue[n:]...)
			a.waiting, n = 0, 0
		}
		if len(a.gone) == 0 || !a.pass(now) {
			return
		}
	}
}

// giveUp passes over the hole before what waits, or before what is known to be
// missing.
func (a *Assembler) giveUp(now clock.Time) {
	for len(a.gone) > 0 && a.gone[0].to <= a.next {
		a.gone = a.gone[1:]
	}
	var to int64
	switch {
	case len(a.queue) > 0 && len(a.gone) > 0:
		to = min(a.queue[0].off, a.gone[0].from)
	case len(a.queue) > 0:
		to = a.queue[0].off
	case len(a.gone) > 0:
		to = a.gone[0].from
	default:
		return
	}
	if n := to - a.next; n > 0 {
		a.next = to
		a.sink.Gap(now, n)
	}
	a.drain(now, true)
}

// Acked takes an acknowledgement of this direction: bytes before it have
// reached the receiver, so a hole among them is a hole in the capture.
func (a *Assembler) Acked(now clock.Time, ack uint32) {
	if !a.started || a.ended {
		return
	}
	off := a.Offset(ack)
	if a.fin >= 0 && off > a.fin {
		off = a.fin // the FIN takes a number
	}
	if off > a.next+1<<30 {
		return
	}
	a.acked = max(a.acked, off)
	if len(a.queue) == 0 || a.queue[0].off > a.acked {
		return
	}
	switch {
	case a.waiting == 0:
		a.waiting = now
	case now-a.waiting > a.lim.Patience:
		a.giveUp(now)
		a.checkEnd(now)
	}
}

func (a *Assembler) checkEnd(now clock.Time) {
	if a.fin >= 0 && a.next >= a.fin && !a.ended {
		a.ended = true
		a.sink.End(now, true)
	}
}

// Close ends the stream where the capture or the connection ends: what waits
// is handed on behind its gap.
func (a *Assembler) Close(now clock.Time) {
	if a.ended {
		return
	}
	for len(a.queue) > 0 || len(a.gone) > 0 {
		a.giveUp(now)
	}
	if a.started && a.acked > a.next {
		n := a.acked - a.next
		a.next = a.acked
		a.sink.Gap(now, n)
	}
	a.ended = true
	a.sink.End(now, a.fin >= 0 && a.next >= a.fin)
}
