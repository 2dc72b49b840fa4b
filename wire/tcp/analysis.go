package tcp

import (
	"math/bits"
	"strconv"
	"strings"
	"time"

	"peel/clock"
	"peel/trace"
)

const (
	// fastWithin is how soon after the acknowledgements that ask for it a
	// segment comes that answers them.
	fastWithin = 20 * time.Millisecond
	// usualRTT stands for the round trip of a connection whose handshake was
	// not seen.
	usualRTT = 3 * time.Millisecond
)

// Note says what a segment means beside its content.
type Note uint32

// The notes.
const (
	// Retransmission: bytes that had been sent before.
	Retransmission Note = 1 << iota
	// FastRetransmission: so, after duplicate acknowledgements asked for it
	// (RFC 5681 §3.2).
	FastRetransmission
	// SpuriousRetransmission: so, although they had been acknowledged.
	SpuriousRetransmission
	// OutOfOrder: bytes that come later than ones after them.
	OutOfOrder
	// LostSegment: bytes before this segment were not captured.
	LostSegment
	// AckedUnseen: an acknowledgement of bytes that were not captured.
	AckedUnseen
	// DupAck: an acknowledgement that tells nothing new, as one does for each
	// segment behind a hole (RFC 5681 §2).
	DupAck
	// ZeroWindow: the receiver takes nothing now.
	ZeroWindow
	// ZeroWindowProbe: a byte sent to learn whether it does again
	// (RFC 9293 §3.8.6.1).
	ZeroWindowProbe
	// ZeroWindowProbeAck: the answer to that.
	ZeroWindowProbeAck
	// WindowFull: the segment fills what the receiver takes.
	WindowFull
	// WindowUpdate: an acknowledgement that changes the window and nothing
	// else.
	WindowUpdate
	// KeepAlive: a segment from before the next byte, sent to be answered
	// (RFC 9293 §3.8.4).
	KeepAlive
	// KeepAliveAck: the answer to that.
	KeepAliveAck
	// PortReused: a new connection on the ports of an old one.
	PortReused
	// DSACK: the receiver tells that bytes arrived twice (RFC 2883).
	DSACK
	// SYNRetransmission: a SYN or SYN-ACK sent again.
	SYNRetransmission
)

var noteNames = [...]string{"retransmission", "fast retransmission", "spurious retransmission", "out of order", "previous segment not captured", "acknowledges bytes not captured",
	"duplicate ACK", "zero window", "zero window probe", "answer to a zero window probe", "window full", "window update", "keep-alive", "keep-alive ACK", "ports reused", "DSACK", "SYN retransmission"}

// Event names the event of a segment so noted. Of several notes the one that
// says most gives the name.
func (n Note) Event() trace.EventName {
	for _, e := range noteEvents {
		if n.Has(e.notes) {
			return e.name
		}
	}
	return "tcp.note"
}

// noteEvents are the names of the events of notes, those that say most first.
var noteEvents = [...]struct {
	notes Note
	name  trace.EventName
}{
	{Retransmission | SYNRetransmission, "tcp.retransmission"},
	{OutOfOrder, "tcp.out_of_order"},
	{LostSegment, "tcp.lost_segment"},
	{AckedUnseen, "tcp.acked_unseen"},
	{ZeroWindowProbe, "tcp.zero_window_probe"},
	{ZeroWindow, "tcp.zero_window"},
	{WindowFull, "tcp.window_full"},
	{KeepAlive, "tcp.keep_alive"},
	{DSACK, "tcp.dsack"},
}

// Has tells whether one of x is noted.
func (n Note) Has(x Note) bool { return n&x != 0 }

// String writes the notes as words, with commas.
func (n Note) String() string {
	var s []string
	for i, name := range noteNames {
		if n&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, ", ")
}

// Side is what an observer knows of one end of a connection: what it sent.
type Side struct {
	// ISN is the initial sequence number and Options those of the SYN, if
	// SawSYN.
	ISN      uint32
	Options  Options
	SawSYN   bool
	Segments int
	// Retransmissions, OutOfOrder, DupAcks and ZeroWindows count segments.
	Retransmissions, OutOfOrder, DupAcks, ZeroWindows int
	// KeepAlives, WindowFulls, DSACKs and Lost count segments, too.
	KeepAlives, WindowFulls, DSACKs, Lost int
	// Timeouts, Fast and Spurious are the kinds of retransmissions.
	Timeouts, Fast, Spurious int
	// Bytes counts the payload, and MaxSegment is the largest one.
	Bytes      int64
	MaxSegment int
	// FIN and RST tell that one was sent.
	FIN, RST bool

	known    bool
	next     uint32 // after the last byte sent
	nextTime clock.Time
	ack      uint32
	ackTime  clock.Time
	acked    bool
	dups     int
	window   uint32
	lastNote Note
	samples  []sample // sent and not acknowledged yet
	holes    []Block  // not captured (yet)
}

type sample struct {
	end uint32
	at  clock.Time
	re  bool // sent again: no RTT from it (Karn)
}

// maxRTT is what no round trip takes: twice the time that a segment lives
// (RFC 9293 §3.4.2), and much more.
const maxRTT = clock.Time(time.Hour)

// maxSamples bounds the segments in flight that RTT is measured from.
const maxSamples = 256

// Flow analyses one connection. Directions are 0 for the client and 1 for the
// server. The zero Flow is ready.
type Flow struct {
	Sides [2]Side
	// Handshake is from SYN to the client's ACK: the round trip that the
	// connection began with, 0 if not seen. SYNTime, SYNACKTime and ACKTime
	// are its three segments.
	SYNTime, SYNACKTime, ACKTime clock.Time
	// MinRTT, and sum and number of the samples, as seen at the place of the
	// capture: from a data segment to its acknowledgement. Of direction d:
	// data sent by side d.
	MinRTT [2]clock.Time
	SumRTT [2]clock.Time
	NRTT   [2]int
}

// Scale returns the shift of the windows that side d announces.
func (f *Flow) Scale(d int) int {
	if f.Sides[0].Options.WindowScale >= 0 && f.Sides[1].Options.WindowScale >= 0 && f.Sides[0].SawSYN && f.Sides[1].SawSYN {
		return int(f.Sides[d].Options.WindowScale)
	}
	return 0
}

// Next is the sequence number that side d has sent up to.
func (f *Flow) Next(d int) uint32 { return f.Sides[d].next }

// Input takes a segment from side d, whose payload was length bytes long
// before any snap length. It returns what is to be noted.
func (f *Flow) Input(now clock.Time, d int, s Segment, length int) Note {
	fwd, rev := &f.Sides[d], &f.Sides[1-d]
	flags, seq, ack := s.Flags(), s.Seq(), s.Ack()
	fwd.Segments++
	fwd.Bytes += int64(length)
	fwd.MaxSegment = max(fwd.MaxSegment, length)
	window := uint32(s.Window())
	if !flags.Any(SYN) {
		window <<= uint(f.Scale(d))
	}
	end := seq + uint32(length)
	if flags.Any(SYN | FIN) {
		end++
	}
	var n Note
	var opts Options
	if len(s.OptionBytes()) > 0 {
		opts = s.Options()
		if f.isDSACK(d, ack, &opts) {
			n |= DSACK
			fwd.DSACKs++
		}
	}
	if flags.Has(SYN) {
		n |= f.syn(now, d, seq, flags, opts)
	}
	control := flags.Any(SYN | FIN | RST)
	keepAlive := fwd.known && length <= 1 && seq == fwd.next-1 && !control && (length == 1 || rev.acked && ack == fwd.ack)
	switch {
	case !fwd.known:
	case length == 1 && seq == fwd.next && rev.window == 0 && rev.known && !control:
		n |= ZeroWindowProbe
	case keepAlive:
		n |= KeepAlive
		fwd.KeepAlives++
	case Before(fwd.next, seq) && !flags.Any(RST|SYN):
		n |= LostSegment
		fwd.Lost++
		fwd.hole(fwd.next, seq)
	case length > 0 && Before(seq, fwd.next):
		n |= f.again(now, fwd, rev, seq, end)
	case flags.Has(FIN) && fwd.FIN && Before(seq, fwd.next):
		n |= Retransmission
		fwd.Retransmissions++
	}
	if length > 0 && rev.acked && rev.known && end == rev.ack+rev.window && !control && n&(ZeroWindowProbe|KeepAlive) == 0 && rev.window > 0 {
		n |= WindowFull
		fwd.WindowFulls++
	}
	if window == 0 && !control && fwd.known {
		n |= ZeroWindow
		fwd.ZeroWindows++
	}
	if flags.Has(ACK) && !flags.Any(RST) {
		n |= f.ackOf(now, d, seq, ack, window, length, control, rev.lastNote)
	}
	if fwd.known && !control && length == 0 && seq == fwd.next && fwd.acked && ack == fwd.ack && window != fwd.window && n&(DupAck|KeepAlive|KeepAliveAck|ZeroWindow|ZeroWindowProbeAck) == 0 {
		n |= WindowUpdate
	}
	f.advance(now, fwd, seq, end, length, flags, n)
	if flags.Has(ACK) {
		if !fwd.acked || Before(fwd.ack, ack) {
			fwd.ack, fwd.ackTime, fwd.acked = ack, now, true
		}
	}
	fwd.window = window
	fwd.lastNote = n
	fwd.FIN = fwd.FIN || flags.Has(FIN)
	fwd.RST = fwd.RST || flags.Has(RST)
	return n
}

func (f *Flow) syn(now clock.Time, d int, seq uint32, flags Flags, opts Options) Note {
	s := &f.Sides[d]
	if s.SawSYN && s.ISN == seq {
		s.Retransmissions++
		if !flags.Has(ACK) && f.ACKTime == 0 {
			f.SYNTime = max(f.SYNTime, now) // RTT is measured from the last
		}
		return SYNRetransmission
	}
	s.ISN, s.Options, s.SawSYN = seq, opts, true
	if len(opts.Cookie) > 0 {
		s.Options.Cookie = nil // it belongs to the packet
	}
	if flags.Has(ACK) {
		f.SYNACKTime = now
	} else if f.ACKTime == 0 {
		f.SYNTime = now
	}
	return 0
}

// again judges a segment with bytes from before the highest sent.
func (f *Flow) again(now clock.Time, fwd, rev *Side, seq, end uint32) Note {
	missing := fwd.fill(seq, end)
	if rev.acked && !Before(rev.ack, end) {
		fwd.Retransmissions++
		fwd.Spurious++
		return Retransmission | SpuriousRetransmission
	}
	// Three duplicate acknowledgements ask for it at once.
	if rev.dups >= 2 && rev.acked && rev.ack == seq && now-rev.ackTime < clock.Time(fastWithin) {
		fwd.Retransmissions++
		fwd.Fast++
		return Retransmission | FastRetransmission
	}
	// What comes within a fraction of the round trip cannot be an answer to
	// its loss: it was overtaken.
	limit := clock.Time(usualRTT)
	if rtt := f.initialRTT(); rtt > 0 {
		limit = rtt
	}
	if missing && now-fwd.nextTime < limit {
		fwd.OutOfOrder++
		return OutOfOrder
	}
	fwd.Retransmissions++
	fwd.Timeouts++
	return Retransmission
}

// fill tells whether the bytes from seq to end were missing so far, and takes
// them out of the holes.
func (s *Side) fill(seq, end uint32) bool {
	for i := range s.holes {
		h := s.holes[i]
		if Before(seq, h.From) || Before(h.To, end) {
			continue
		}
		s.holes = append(s.holes[:i], s.holes[i+1:]...)
		if h.From != seq {
			s.hole(h.From, seq)
		}
		if h.To != end {
			s.hole(end, h.To)
		}
		return true
	}
	return false
}

// maxHoles bounds the holes remembered.
const maxHoles = 64

func (s *Side) hole(from, to uint32) {
	if len(s.holes) == maxHoles {
		s.holes = append(s.holes[:0], s.holes[1:]...)
	}
	s.holes = append(s.holes, Block{from, to})
}

func (f *Flow) initialRTT() clock.Time {
	if f.ACKTime > 0 && f.SYNTime > 0 {
		return f.ACKTime - f.SYNTime
	}
	return 0
}

// ackOf judges the acknowledgement that side d gives.
func (f *Flow) ackOf(now clock.Time, d int, seq, ack, window uint32, length int, control bool, provoked Note) Note {
	fwd, rev := &f.Sides[d], &f.Sides[1-d]
	var n Note
	if d == 0 && f.ACKTime == 0 && f.SYNACKTime > 0 && ack == f.Sides[1].ISN+1 {
		f.ACKTime = max(now, f.SYNTime) // clocks step back
	}
	if rev.known && Before(rev.next, ack) {
		n |= AckedUnseen
		rev.next = ack // not captured, but sent
	}
	if fwd.acked && ack == fwd.ack && length == 0 && !control && fwd.known && seq == fwd.next {
		switch {
		case provoked.Has(KeepAlive) && window == fwd.window:
			n |= KeepAliveAck
		case provoked.Has(ZeroWindowProbe) && window == 0 && fwd.window == 0:
			n |= ZeroWindowProbeAck
		case window == fwd.window && window != 0:
			fwd.dups++
			fwd.DupAcks++
			fwd.ackTime = now
			n |= DupAck
		}
	} else if !fwd.acked || Before(fwd.ack, ack) {
		fwd.dups = 0
	}
	f.measure(now, 1-d, ack)
	return n
}

// measure takes RTT samples of the data that ack confirms.
func (f *Flow) measure(now clock.Time, d int, ack uint32) {
	s := &f.Sides[d]
	n := 0
	for n < len(s.samples) && !Before(ack, s.samples[n].end) {
		n++
	}
	if n == 0 {
		return
	}
	if last := s.samples[n-1]; !last.re && last.end == ack {
		rtt := now - last.at
		// Else the clock was set, or the capture is joined from several.
		if rtt >= 0 && rtt <= maxRTT {
			if f.NRTT[d] == 0 || rtt < f.MinRTT[d] {
				f.MinRTT[d] = rtt
			}
			f.SumRTT[d] += rtt
			f.NRTT[d]++
		}
	}
	s.samples = append(s.samples[:0], s.samples[n:]...)
}

func (f *Flow) advance(now clock.Time, s *Side, seq, end uint32, length int, flags Flags, n Note) {
	if n.Has(KeepAlive | ZeroWindowProbe) {
		return
	}
	if flags.Has(RST) && s.known {
		return
	}
	if !s.known || Before(s.next, end) {
		if length > 0 && len(s.samples) < maxSamples {
			s.samples = append(s.samples, sample{end: end, at: now})
		}
		s.known, s.next, s.nextTime = true, end, now
		return
	}
	if n.Has(Retransmission) {
		for i := range s.samples {
			if Before(seq, s.samples[i].end) {
				s.samples[i].re = true
			}
		}
	}
}

// isDSACK tells whether the first SACK block reports bytes that arrived twice
// (RFC 2883 §4): it lies below the acknowledgement, or within the next block.
func (f *Flow) isDSACK(d int, ack uint32, o *Options) bool {
	if o.NSACK == 0 {
		return false
	}
	b := o.SACK[0]
	if Before(b.From, ack) {
		return true
	}
	return o.NSACK > 1 && !Before(b.From, o.SACK[1].From) && !Before(o.SACK[1].To, b.To)
}

// Text says what the notes of a segment come to, with the number of a
// duplicate acknowledgement.
func (f *Flow) Text(d int, n Note) string {
	if n == 0 {
		return ""
	}
	s := n.String()
	if n.Has(DupAck) {
		s = strings.Replace(s, "duplicate ACK", "duplicate ACK "+strconv.Itoa(f.Sides[d].dups), 1)
	}
	return s
}

// Count is the number of notes set.
func (n Note) Count() int { return bits.OnesCount32(uint32(n)) }
