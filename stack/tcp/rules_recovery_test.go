package tcp

import (
	"math/rand/v2"
	"testing"
	"time"

	wire "peel/wire/tcp"
)

func TestUndo(t *testing.T) {
	stories(t, []story{
		{"RFC 3522, RFC 4015: the echoed timestamp is of before the retransmission: the original had arrived", Config{}, stamped + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			ssthresh 7000
			+1ms < . 1 ack 4001 <ts 520 ecr 1010>
			saw tcp.undo
			cwnd 11000 # as it was, and slow start goes on
			ssthresh 1073741824`},
		{"RFC 3522: it is of the retransmission: that had been needed", Config{}, stamped + `
			write 4000
			> P. 1:4001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+10ms < . 1 ack 4001 <ts 530 ecr 1020>
			unseen tcp.undo
			ssthresh 7000`},
		{"RFC 3522: a spurious timeout; what was marked lost is not sent again", Config{NoTLP: true}, stamped + `
			write 5000
			> P. 1:5001/1000 ack 1
			+210ms > . 1:1001 ack 1
			cwnd 1000
			+1ms < . 1 ack 1001 <ts 520 ecr 1010>
			saw tcp.undo
			cwnd 10000
			+1ms < . 1 ack 5001 <ts 521 ecr 1010>`},
		{"RFC 3708: each retransmission is told to be a duplicate, in recovery", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+1ms < . 1 ack 4001
			unseen tcp.undo
			+9ms < . 1 ack 4001 <sack 1:1001>
			saw tcp.undo
			cwnd 10000
			ssthresh 1073741824`},
		{"RFC 3708: and when recovery is over by then", Config{}, opened + `
			write 4000
			> P. 1:4001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+1ms < . 1 ack 4001
			saw tcp.recovery.end
			cwnd 7000
			+9ms < . 1 ack 4001 <sack 1:1001>
			saw tcp.undo
			cwnd 10000
			ssthresh 1073741824`},
		{"RFC 3708: one of two is not enough", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 2001:10001>
			> . 1:2001/1000 ack 1
			+1ms < . 1 ack 10001
			+9ms < . 1 ack 10001 <sack 1:1001>
			unseen tcp.undo
			+1ms < . 1 ack 10001 <sack 1001:2001>
			saw tcp.undo`},
		{"RFC 3708: a duplicate of what was sent later proves nothing", Config{}, opened + `
			write 4000
			> P. 1:4001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+10ms < . 1 ack 4001
			write 1000
			> P. 4001:5001 ack 1
			+10ms < . 1 ack 5001
			< . 1 ack 5001 <sack 4001:5001>
			unseen tcp.undo
			ssthresh 7000`},
		{"an undone congestion mark there is not: ECN's reduction stays", Config{ECN: true, NoDelay: true}, ecnOpened + `
			write 4000
			> P. 1:4001/1000 ack 1 ect
			+10ms < E. 1 ack 1001
			+10ms < . 1 ack 4001
			ssthresh 7000
			< . 1 ack 4001 <sack 3001:4001>
			unseen tcp.undo
			ssthresh 7000`},
	})
}

// PRR as RFC 9937 §6 writes it, in segments' bytes, beside the connection's.
type prrModel struct {
	recoverFS, delivered, out, ssthresh int
}

func (p *prrModel) ack(deliveredData, inflight, mss int, safe bool) (cwnd int) {
	p.delivered += deliveredData
	sndCnt := 0
	if inflight > p.ssthresh {
		sndCnt = (p.delivered*p.ssthresh+p.recoverFS-1)/p.recoverFS - p.out
	} else {
		sndCnt = max(p.delivered-p.out, deliveredData)
		if safe {
			sndCnt += mss
		}
		sndCnt = min(p.ssthresh-inflight, sndCnt)
	}
	if p.out == 0 {
		sndCnt = max(sndCnt, mss) // a fast retransmit at least
	}
	return inflight + max(sndCnt, 0)
}

// RFC 9937 §6: over recoveries of many shapes, the window after each ACK is
// that of the RFC's algorithm; at the end it is ssthresh.
func TestProportionalRateReduction(t *testing.T) {
	const mss = 1000
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		flight := 10 + rnd.IntN(50)
		cfg := Config{InitialWindow: flight, NoTLP: true, Congestion: NewNewReno, NoTimestamps: true}
		if seed%2 == 1 {
			cfg.Congestion = NewCubic
		}
		s := newScript(t, cfg, scriptEnds)
		s.loose = true
		s.play(`
			open
			+10ms < S. 0 ack 1 win 500000 <mss 1000,sackOK,wscale 7>
			< . 1 ack 1
			write 100000`)
		s.sent = nil
		lost := map[int]bool{0: true}
		for i := 1; i < flight-4; i++ {
			lost[i] = rnd.IntN(6) == 0
		}
		var p *prrModel
		top := 0 // the highest SACKed
		s.step("+10ms")
		for i := range flight {
			if lost[i] {
				continue
			}
			top = i
			blocks := sackBlocks(lost, top)
			Before := s.c.board.delivered
			priorFlight := int(s.c.snd.nxt-s.c.snd.una) - s.c.board.sacked
			s.c.Input(s.now, ackSegment(1, blocks), false)
			newly := int(s.c.board.delivered - Before)
			if s.c.rec.mode != modeRecovery {
				s.poll()
				s.step("+10us")
				continue
			}
			if p == nil {
				// §6.1: all that was under way and not SACKed before this ACK.
				p = &prrModel{recoverFS: priorFlight, ssthresh: s.c.win.Ssthresh}
			}
			want := p.ack(newly, s.c.inFlight(), mss, false)
			if got := s.c.win.Cwnd; got != max(want, mss) {
				t.Fatalf("seed %d, ACK %d: cwnd %d, RFC 9937 has %d (%+v, pipe %d)", seed, i, got, want, *p, s.c.inFlight())
			}
			s.sent = nil
			s.poll()
			for _, g := range s.sent {
				p.out += len(g.b)
			}
			s.step("+10us")
		}
		if p == nil {
			t.Fatalf("seed %d: no recovery", seed)
		}
		s.c.Input(s.now.Add(10*time.Millisecond), ackSegment(int(s.c.snd.nxt-scriptISS), nil), false)
		if s.c.rec.mode != modeOpen || s.c.win.Cwnd != s.c.win.Ssthresh {
			t.Fatalf("seed %d: cwnd %d after recovery, ssthresh %d", seed, s.c.win.Cwnd, s.c.win.Ssthresh)
		}
	}
}

// sackBlocks are the runs of segments of 1000 up to top that are not lost, the
// highest first.
func sackBlocks(lost map[int]bool, top int) (b []wire.Block) {
	for i := top; i >= 0 && len(b) < 4; i-- {
		if lost[i] {
			continue
		}
		from := i
		for from > 0 && !lost[from-1] {
			from--
		}
		b = append(b, wire.Block{From: uint32(1 + from*1000), To: uint32(1 + (i+1)*1000)})
		i = from
	}
	return b
}

func ackSegment(ack int, blocks []wire.Block) wire.Segment {
	h := Outgoing{Header: wire.Header{Flags: wire.ACK}}
	if len(blocks) > 0 {
		var v []byte
		for _, b := range blocks {
			for _, n := range []uint32{b.From, b.To} {
				n += scriptISS
				v = append(v, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
			}
		}
		h.Option(wire.OptSACK, v...)
		h.Pad()
	}
	b := make([]byte, wire.MinHeader+h.NOptions)
	seq, n := scriptIRS+uint32(1), scriptISS+uint32(ack)
	copy(b[4:], []byte{byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	b[12], b[13] = byte(len(b)/4)<<4, byte(wire.ACK)
	b[14], b[15] = 0x0f, 0x42 // 500 000 with a scale of 7
	copy(b[wire.MinHeader:], h.Options[:h.NOptions])
	return wire.Segment(b)
}

// RFC 6191 §2: which SYNs begin anew what is in TIME-WAIT.
func TestTimeWaitReuse(t *testing.T) {
	for _, c := range []struct {
		rule, open, syn string
		want            bool
	}{
		{"later timestamps, any number", stamped, "S -5000 <ts 600 ecr 0>", true},
		{"the same timestamp, a higher number", stamped, "S 100 <ts 520 ecr 0>", true},
		{"the same timestamp, a lower number", stamped, "S 1 <ts 520 ecr 0>", false},
		{"an earlier timestamp, a higher number", stamped, "S 100 <ts 519 ecr 0>", false},
		{"timestamps no more, a higher number", stamped, "S 100", true},
		{"timestamps no more, a lower number", stamped, "S 1", false},
		{"timestamps for the first time", opened, "S 1 <ts 1 ecr 0>", true},
		{"none, a higher number", opened, "S 100", true},
		{"none, a lower number", opened, "S 1", false},
		{"not by a SYN-ACK", opened, "S. 100 ack 2", false},
		{"not by a RST", opened, "SR 100", false},
	} {
		s := play(t, Config{}, c.open, `
			shut
			> F. 1 ack 1
			+10ms < F. 1 ack 2
			> . 2 ack 2
			state TIME-WAIT`)
		if got := s.c.TimeWaitReuse(s.make(c.syn)); got != c.want {
			t.Errorf("%s: %v", c.rule, got)
		}
	}
	// As the one who opens: after a second, with timestamps only.
	s := play(t, Config{}, stamped, `
		shut
		> F. 1 ack 1
		+10ms < F. 1 ack 2
		> . 2 ack 2`)
	if s.c.Quiet(s.now.Add(999*time.Millisecond)) || !s.c.Quiet(s.now.Add(time.Second)) {
		t.Error("a second is what makes it quiet")
	}
}
