package tcp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"peel/clock"
)

// stream collects what an Assembler hands on; gaps are marked.
type stream struct {
	got   []byte
	gaps  int64
	ended bool
	fin   bool
}

func (s *stream) Bytes(_ clock.Time, b []byte) { s.got = append(s.got, b...) }
func (s *stream) Gap(_ clock.Time, n int64)    { s.gaps += n }
func (s *stream) End(_ clock.Time, fin bool)   { s.ended, s.fin = true, fin }

// Bytes cut into segments in every way, late, early, twice and overlapping,
// come out as they went in; sequence numbers wrap on the way.
func TestAssemblerGivesBackTheStream(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 500 {
		want := make([]byte, r.IntN(30000))
		for i := range want {
			want[i] = byte(r.Uint32())
		}
		isn := uint32(0) - uint32(r.IntN(40000))
		type seg struct {
			at  int
			b   []byte
			fin bool
		}
		var segs []seg
		for at := 0; at < len(want); {
			n := min(1+r.IntN(1460), len(want)-at)
			from := max(0, at-r.IntN(3)*r.IntN(500)) // overlaps what came before
			segs = append(segs, seg{from, want[from : at+n], at+n == len(want)})
			if r.IntN(6) == 0 {
				segs = append(segs, segs[r.IntN(len(segs))])
			}
			at += n
		}
		if len(want) == 0 {
			segs = append(segs, seg{0, nil, true})
		}
		for i := range segs { // a network reorders, but does not shuffle
			j := min(len(segs)-1, i+r.IntN(8))
			segs[i], segs[j] = segs[j], segs[i]
		}
		var s stream
		a := NewAssembler(Limits{}, &s)
		a.Start(isn + 1)
		for i, g := range segs {
			a.Input(clock.Time(i), isn+1+uint32(g.at), g.b, g.fin)
		}
		if !bytes.Equal(s.got, want) || s.gaps != 0 || !s.fin {
			t.Fatalf("round %d: %d bytes of %d, %d missing, FIN %v", round, len(s.got), len(want), s.gaps, s.fin)
		}
		if a.Conflicts != 0 {
			t.Fatalf("round %d: %d conflicts where bytes agree", round, a.Conflicts)
		}
	}
}

// Overlaps that differ: the policy says which bytes count, and it is told.
func TestAssemblerPolicies(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		want   string
	}{{First, "abcdefGHIJKL"}, {Last, "abcdefghiJKL"}} {
		var s stream
		a := NewAssembler(Limits{Policy: c.policy}, &s)
		a.Start(100)
		a.Input(1, 106, []byte("GHIJKL"), false)
		a.Input(2, 104, []byte("efghi"), false)
		a.Input(3, 100, []byte("abcd"), false)
		if string(s.got) != c.want || a.Conflicts != 1 || a.Overlaps != 1 {
			t.Errorf("policy %d: %q, %d conflicts, %d overlaps; want %q", c.policy, s.got, a.Conflicts, a.Overlaps, c.want)
		}
	}
}

func TestAssemblerGaps(t *testing.T) {
	t.Run("acknowledged bytes that never come", func(t *testing.T) {
		var s stream
		a := NewAssembler(Limits{Patience: 100}, &s)
		a.Start(0)
		a.Input(1, 0, []byte("aaaa"), false)
		a.Input(2, 8, []byte("cccc"), false)
		a.Acked(3, 12)
		if s.gaps != 0 {
			t.Error("the hole was given up at once: the capture may only be out of order")
		}
		a.Acked(104, 12)
		if string(s.got) != "aaaacccc" || s.gaps != 4 {
			t.Errorf("%q, %d missing", s.got, s.gaps)
		}
	})
	t.Run("more than is kept", func(t *testing.T) {
		var s stream
		a := NewAssembler(Limits{Bytes: 1000}, &s)
		a.Start(0)
		for i := range 30 {
			a.Input(1, uint32(100+100*i), make([]byte, 100), false)
		}
		if s.gaps != 100 || a.Waiting() > 1000 {
			t.Errorf("%d missing, %d wait", s.gaps, a.Waiting())
		}
	})
	t.Run("the end of the capture", func(t *testing.T) {
		var s stream
		a := NewAssembler(Limits{}, &s)
		a.Start(0)
		a.Input(1, 4, []byte("later"), true)
		a.Close(2)
		if string(s.got) != "later" || s.gaps != 4 || !s.fin {
			t.Errorf("%q, %d missing, FIN %v", s.got, s.gaps, s.fin)
		}
	})
	t.Run("far outside", func(t *testing.T) {
		var s stream
		a := NewAssembler(Limits{}, &s)
		a.Start(0)
		a.Input(1, 1<<31-5, []byte("blind attack"), false)
		a.Input(2, 0, []byte("ok"), true)
		if string(s.got) != "ok" || !s.fin {
			t.Errorf("%q", s.got)
		}
	})
}

// segment builds one for the tests.
func segment(seq, ack uint32, flags Flags, window uint16, n int, opts ...byte) Segment {
	for len(opts)%4 != 0 {
		opts = append(opts, 1)
	}
	b := make([]byte, 20+len(opts)+n)
	b[0], b[1], b[2], b[3] = 0x30, 0x39, 0, 80
	put := func(at int, v uint32) {
		b[at], b[at+1], b[at+2], b[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
	}
	put(4, seq)
	put(8, ack)
	b[12] = byte(20+len(opts)) / 4 << 4
	b[13] = byte(flags)
	b[14], b[15] = byte(window>>8), byte(window)
	copy(b[20:], opts)
	return Segment(b)
}

// step is a segment of a script, and what is to be noted about it.
type step struct {
	ms   int
	side int
	s    Segment
	n    int
	want Note
}

func (s step) String() string {
	return fmt.Sprintf("%d ms, side %d, %v seq %d ack %d len %d", s.ms, s.side, s.s.Flags(), s.s.Seq(), s.s.Ack(), s.n)
}

// Each note by a script that earns it, after a handshake with a round trip of
// 10 ms.
func TestAnalysis(t *testing.T) {
	hello := []step{{0, 0, segment(999, 0, SYN, 64000, 0), 0, 0}, {5, 1, segment(4999, 1000, SYN|ACK, 64000, 0), 0, 0}, {10, 0, segment(1000, 5000, ACK, 64000, 0), 0, 0}}
	data := func(ms, side int, seq, ack uint32, n int, want Note) step {
		return step{ms, side, segment(seq, ack, ACK, 64000, n), n, want}
	}
	for name, script := range map[string][]step{
		"nothing": {data(20, 0, 1000, 5000, 100, 0), data(25, 1, 5000, 1100, 0, 0), data(26, 1, 5000, 1100, 500, 0), data(31, 0, 1100, 5500, 0, 0)},
		"retransmission timeout (RFC 6298 §5.4)": {data(20, 0, 1000, 5000, 100, 0), data(240, 0, 1000, 5000, 100, Retransmission)},
		"spurious retransmission":                {data(20, 0, 1000, 5000, 100, 0), data(25, 1, 5000, 1100, 0, 0), data(240, 0, 1000, 5000, 100, Retransmission|SpuriousRetransmission)},
		"fast retransmission (RFC 5681 §3.2)": {data(20, 0, 1000, 5000, 100, 0), data(21, 0, 1200, 5000, 100, LostSegment), data(22, 0, 1300, 5000, 100, 0), data(23, 0, 1400, 5000, 100, 0),
			data(26, 1, 5000, 1100, 0, 0), data(27, 1, 5000, 1100, 0, DupAck), data(28, 1, 5000, 1100, 0, DupAck),
			data(29, 1, 5000, 1100, 0, DupAck), data(33, 0, 1100, 5000, 100, Retransmission|FastRetransmission)},
		"out of order":              {data(20, 0, 1000, 5000, 100, 0), data(21, 0, 1200, 5000, 100, LostSegment), data(22, 0, 1100, 5000, 100, OutOfOrder)},
		"acknowledged but not seen": {data(20, 1, 5000, 1400, 0, AckedUnseen)},
		"zero window and its probe": {data(20, 0, 1000, 5000, 100, 0), {25, 1, segment(5000, 1100, ACK, 0, 0), 0, ZeroWindow},
			{300, 0, segment(1100, 5000, ACK, 64000, 1), 1, ZeroWindowProbe}, {305, 1, segment(5000, 1100, ACK, 0, 0), 0, ZeroWindow | ZeroWindowProbeAck}},
		"window full":                  {data(20, 0, 1000, 5000, 100, 0), {25, 1, segment(5000, 1100, ACK, 200, 0), 0, 0}, data(30, 0, 1100, 5000, 200, WindowFull)},
		"window update":                {data(20, 0, 1000, 5000, 100, 0), {25, 1, segment(5000, 1100, ACK, 200, 0), 0, 0}, {26, 1, segment(5000, 1100, ACK, 9000, 0), 0, WindowUpdate}},
		"keep-alive (RFC 9293 §3.8.4)": {data(20, 0, 1000, 5000, 100, 0), data(25, 1, 5000, 1100, 0, 0), data(9000, 0, 1099, 5000, 0, KeepAlive), data(9005, 1, 5000, 1100, 0, KeepAliveAck)},
		"SYN again":                    {{1000, 0, segment(999, 0, SYN, 64000, 0), 0, SYNRetransmission}},
		"DSACK (RFC 2883 §4.1)":        {data(20, 0, 1000, 5000, 100, 0), {25, 1, segment(5000, 1100, ACK, 64000, 0, 5, 10, 0, 0, 3, 232, 0, 0, 4, 76), 0, DSACK}},
	} {
		t.Run(name, func(t *testing.T) {
			var f Flow
			for _, s := range append(append([]step{}, hello...), script...) {
				if got := f.Input(clock.Time(s.ms)*1e6+1, s.side, s.s, s.n); got != s.want {
					t.Errorf("%v: %q, want %q", s, got, s.want)
				}
			}
		})
	}
}

func TestRTT(t *testing.T) {
	var f Flow
	for _, s := range []step{{0, 0, segment(999, 0, SYN, 64000, 0), 0, 0}, {30, 1, segment(4999, 1000, SYN|ACK, 64000, 0), 0, 0}, {31, 0, segment(1000, 5000, ACK, 64000, 0), 0, 0},
		{40, 0, segment(1000, 5000, ACK, 64000, 100), 100, 0}, {72, 1, segment(5000, 1100, ACK, 64000, 0), 0, 0},
		{80, 0, segment(1100, 5000, ACK, 64000, 100), 100, 0}, {380, 0, segment(1100, 5000, ACK, 64000, 100), 100, 0}, {381, 1, segment(5000, 1200, ACK, 64000, 0), 0, 0}} {
		f.Input(clock.Time(s.ms)*1e6+1, s.side, s.s, s.n)
	}
	if f.ACKTime-f.SYNTime != clock.Time(31*time.Millisecond) || f.NRTT[0] != 1 || f.MinRTT[0] != clock.Time(32*time.Millisecond) {
		t.Errorf("handshake %v, %d samples, least %v; what was sent again is no sample (Karn)", f.ACKTime-f.SYNTime, f.NRTT[0], f.MinRTT[0])
	}
}

func TestParseErrors(t *testing.T) {
	good := segment(1, 2, ACK, 3, 4)
	for _, c := range []struct {
		change func([]byte) []byte
		want   string
	}{
		{func(b []byte) []byte { return b[:19] }, "tcp: 19 bytes are too few for a header of 20"},
		{func(b []byte) []byte { b[12] = 0x40; return b }, "tcp: data offset 16 bytes is less than the header's 20"},
		{func(b []byte) []byte { b[12] = 0xf0; return b }, "tcp: data offset 60 bytes, but only 24 are there"},
	} {
		if _, err := Parse(c.change(bytes.Clone(good))); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(segment(1, 2, SYN, 3, 4, 2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, field := range Fields(b, 0) {
			if field.Offset+field.Length > len(b) || field.Length < 0 {
				t.Fatalf("%s at %d+%d in %d bytes", field.Name, field.Offset, field.Length, len(b))
			}
		}
		s, err := Parse(b)
		if err != nil {
			return
		}
		if o := s.Options(); o.NSACK > 4 || o.Bad >= len(s.OptionBytes()) && o.Bad > 0 {
			t.Fatalf("%+v", o)
		}
		s.Payload()
	})
}

// Any segments, in any order: no panic, bounds kept, and each byte of the
// stream once.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte{0, 0, 4, 1, 0, 8, 9, 0, 2, 4, 4, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s stream
		a := NewAssembler(Limits{Bytes: 2000, Segments: 20, Patience: 10}, &s)
		var flow Flow
		payload := make([]byte, 256)
		for i := 0; i+4 <= len(b); i += 4 {
			seq := uint32(b[i])<<8 | uint32(b[i+1])
			if b[i+3]&8 != 0 {
				seq = ^seq
			}
			n := int(b[i+2])
			now := clock.Time(i) * 3
			a.Input(now, seq, payload[:n], b[i+3]&1 != 0)
			if b[i+3]&16 != 0 {
				a.Lost(now, seq+uint32(n), 300)
			}
			if b[i+3]&2 != 0 {
				a.Acked(now, seq)
			}
			flow.Input(now, int(b[i+3]&4>>2), segment(seq, seq>>1, Flags(b[i+3]), uint16(b[i+2]), n), n)
			if a.Waiting() > 2000+256 {
				t.Fatalf("%d bytes wait", a.Waiting())
			}
		}
		a.Close(1 << 40)
		if int64(len(s.got))+s.gaps != a.Next() || !s.ended {
			t.Fatalf("%d bytes and %d missing make %d", len(s.got), s.gaps, a.Next())
		}
	})
}

// The accessors of the hot path allocate nothing.
func TestAccessorsDoNotAllocate(t *testing.T) {
	b := []byte(segment(1, 2, SYN, 3, 4, 2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7))
	if n := testing.AllocsPerRun(100, func() {
		s, err := Parse(b)
		if err != nil || s.SourcePort() == 0 || s.Seq() == 0 || s.Options().MSS == 0 || len(s.Payload()) != 4 {
			t.Fatal("not read")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkView(b *testing.B) {
	raw := []byte(segment(1, 2, ACK, 3, 1448, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2))
	b.ReportAllocs()
	for b.Loop() {
		s, err := Parse(raw)
		if err != nil || s.Seq()+s.Ack()+uint32(s.Window()) == 0 {
			b.Fatal("not read")
		}
	}
}

func BenchmarkAnalysis(b *testing.B) {
	var f Flow
	s := segment(1000, 2, ACK, 3, 1448, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)
	b.ReportAllocs()
	for b.Loop() {
		f.Input(1, 0, s, 1448)
	}
}

// What a snap length cut off is a gap at its place, at once and in whatever order
// the segments come; what another segment brings of it is no gap.
func TestAssemblerOfCutSegments(t *testing.T) {
	type segment struct {
		at   int
		data string
		cut  int
	}
	for _, c := range []struct {
		name string
		in   []segment
		got  string
		gaps int64
	}{
		{"in order", []segment{{0, "ab", 3}, {5, "fg", 0}}, "ab[3]fg", 3},
		{"the last one", []segment{{0, "ab", 3}}, "ab[3]", 3},
		{"out of order", []segment{{0, "ab", 3}, {10, "kl", 2}, {5, "fg", 3}}, "ab[3]fg[3]kl[2]", 8},
		{"early", []segment{{5, "fg", 3}, {0, "abcde", 0}}, "abcdefg[3]", 3},
		{"sent again, whole", []segment{{0, "abcde", 0}, {0, "ab", 3}, {5, "fg", 0}}, "abcdefg", 0},
		{"brought by another meanwhile", []segment{{5, "fg", 3}, {7, "hij", 0}, {0, "abcde", 0}}, "abcdefghij", 0},
		{"behind a hole", []segment{{0, "ab", 0}, {5, "fg", 3}}, "ab[3]fg[3]", 6},
		{"of nothing but a head", []segment{{0, "", 5}, {5, "fg", 0}}, "[5]fg", 5},
	} {
		var s marked
		a := NewAssembler(Limits{}, &s)
		a.Start(1000)
		end := 0
		for i, g := range c.in {
			a.Input(clock.Time(i), uint32(1000+g.at), []byte(g.data), false)
			a.Lost(clock.Time(i), uint32(1000+g.at+len(g.data)), g.cut)
			end = max(end, g.at+len(g.data)+g.cut)
		}
		a.Input(9, uint32(1000+end), nil, true)
		a.Close(10)
		if string(s.got) != c.got || s.gaps != c.gaps || !s.ended {
			t.Errorf("%s: %s, %d missing, FIN %v; want %s", c.name, s.got, s.gaps, s.fin, c.got)
		}
	}
}

// marked is a stream whose gaps stand in what it got.
type marked struct{ stream }

func (m *marked) Gap(now clock.Time, n int64) {
	m.got = fmt.Appendf(m.got, "[%d]", n)
	m.gaps += n
}
