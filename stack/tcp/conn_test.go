package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// lossyPath is two connections and a path between them in virtual time, which
// loses, doubles, delays and swaps segments as its seed says.
type lossyPath struct {
	q    clock.Queue
	rnd  *rand.Rand
	ends [2]*end
	// Faults, as probabilities, towards each end.
	loss, dup, reorder float64
	delay              time.Duration
	jitter             time.Duration
	rate               float64 // bytes a second; 0 is no limit
	queue              int     // bytes that wait at most
	busy               [2]clock.Time
	mtu                int // silently dropped above
	count              [2]int
	hash               func(b []byte)
	filter             func(to int, h *Outgoing, n int) bool
	log                func(format string, args ...any)
}

type end struct {
	w     *lossyPath
	i     int
	conn  *Conn
	timer *clock.Timer

	toSend, got     []byte
	wrote           int
	closed, eof     bool
	closeAfterWrite bool
	paused          bool
}

func newLossyPath(seed uint64, cfg [2]*Config) *lossyPath {
	w := &lossyPath{rnd: rand.New(rand.NewPCG(seed, 1)), delay: 10 * time.Millisecond}
	w.q.Advance(clock.Time(1e9))
	addrs := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:80")}
	for i := range w.ends {
		e := &end{w: w, i: i}
		e.timer = clock.NewTimer(func(now clock.Time) { e.run() })
		e.conn = NewConn(cfg[i], e, Ends{Local: addrs[i], Remote: addrs[1-i], ISS: uint32(w.rnd.Uint64()), TSOffset: uint32(w.rnd.Uint64()), Link: 1480, Path: 1480})
		w.ends[i] = e
	}
	return w
}

// run lets the user do its work, and polls.
func (e *end) run() {
	now := e.w.q.Now()
	for {
		did := false
		if st := e.conn.State(); st >= Established && e.wrote < len(e.toSend) {
			n, err := e.conn.Write(now, e.toSend[e.wrote:min(e.wrote+30000, len(e.toSend))])
			if err == nil && n > 0 {
				e.wrote += n
				did = true
			}
		}
		if e.closeAfterWrite && e.wrote == len(e.toSend) && !e.closed && e.conn.State() >= Established {
			e.closed = true
			e.conn.CloseWrite(now)
		}
		if !e.paused {
			var b [8192]byte
			if n := e.conn.Read(now, b[:]); n > 0 {
				e.got = append(e.got, b[:n]...)
				did = true
			}
			e.eof = e.eof || e.conn.EOF()
		}
		if !did {
			break
		}
	}
	e.w.q.Set(e.timer, e.conn.Poll(now))
}

func (e *end) SendSegment(c *Conn, h *Outgoing, a, b []byte) {
	seg := make([]byte, wire.MinHeader+h.NOptions, wire.MinHeader+h.NOptions+len(a)+len(b))
	binary.BigEndian.PutUint32(seg[4:], h.Seq)
	binary.BigEndian.PutUint32(seg[8:], h.Ack)
	binary.BigEndian.PutUint16(seg[12:], uint16((wire.MinHeader+h.NOptions)/4)<<12|uint16(h.Flags))
	binary.BigEndian.PutUint16(seg[14:], h.Window)
	binary.BigEndian.PutUint16(seg[18:], h.Urgent)
	copy(seg[wire.MinHeader:], h.Options[:h.NOptions])
	seg = append(append(seg, a...), b...)
	e.w.send(1-e.i, seg, h)
}

func (w *lossyPath) send(to int, seg []byte, h *Outgoing) {
	now := w.q.Now()
	if w.log != nil {
		w.log("%v → %d %v seq %d ack %d win %d len %d opts %x", time.Duration(now-1e9), to, h.Flags, h.Seq, h.Ack, h.Window, len(seg)-wire.MinHeader-h.NOptions, h.Options[:h.NOptions])
	}
	if w.hash != nil {
		var b [9]byte
		binary.BigEndian.PutUint64(b[:], uint64(now))
		b[8] = byte(to)
		w.hash(b[:])
		w.hash(seg)
	}
	w.count[to]++
	if w.filter != nil && !w.filter(to, h, len(seg)-wire.MinHeader-h.NOptions) {
		return
	}
	if w.rnd.Float64() < w.loss || w.mtu > 0 && len(seg)+20 > w.mtu {
		return
	}
	n := 1
	if w.rnd.Float64() < w.dup {
		n = 2
	}
	for range n {
		at := now.Add(w.delay)
		if w.rate > 0 {
			start := max(now, w.busy[to])
			if w.queue > 0 && float64(start-now)/1e9*w.rate > float64(w.queue) {
				return
			}
			w.busy[to] = start + clock.Time(float64(len(seg)+40)/w.rate*1e9)
			at = w.busy[to].Add(w.delay)
		}
		if w.jitter > 0 && w.rnd.Float64() < w.reorder {
			at = at.Add(time.Duration(w.rnd.Int64N(int64(w.jitter))))
		}
		e := w.ends[to]
		b := bytes.Clone(seg)
		w.q.Set(clock.NewTimer(func(now clock.Time) {
			s, err := wire.Parse(b)
			if err != nil {
				panic(err)
			}
			if e.conn.State() == Listen {
				e.conn.Accept(now, s)
			} else {
				e.conn.Input(now, s, false)
			}
			e.run()
		}), at)
	}
}

func (w *lossyPath) open() {
	w.ends[1].conn.state = Listen
	w.ends[0].conn.Open(w.q.Now())
	w.ends[0].run()
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8) ^ seed
	}
	return b
}

// transfer moves n bytes each way and closes.
func (w *lossyPath) transfer(t testing.TB, n0, n1 int, limit time.Duration) {
	t.Helper()
	w.ends[0].toSend, w.ends[1].toSend = pattern(n0, 1), pattern(n1, 2)
	for _, e := range w.ends {
		e.closeAfterWrite = true
	}
	w.open()
	w.q.Run(w.q.Now().Add(limit))
	for i, e := range w.ends {
		if err := e.conn.Err(); err != nil {
			t.Fatalf("end %d: %v (%v)", i, err, e.conn.State())
		}
		if want := w.ends[1-i].toSend; !bytes.Equal(e.got, want) {
			t.Fatalf("end %d got %d bytes of %d; state %v, peer %v %+v", i, len(e.got), len(want), e.conn.State(), w.ends[1-i].conn.State(), w.ends[1-i].conn.Info())
		}
		if !e.eof {
			t.Fatalf("end %d saw no end of the stream; state %v", i, e.conn.State())
		}
	}
}

func TestTransferOverAGoodPath(t *testing.T) {
	w := newLossyPath(1, [2]*Config{{}, {}})
	w.transfer(t, 3<<20, 1<<20, 200*time.Second)
	for i, e := range w.ends {
		if e.conn.board.retransmitted != 0 || e.conn.State() != Closed {
			t.Errorf("end %d: %d retransmissions, %v", i, e.conn.board.retransmitted, e.conn.State())
		}
	}
}

// hostile runs one random transfer over a random path and returns a hash of
// every segment with its time.
func hostile(t testing.TB, seed uint64) (uint64, *lossyPath) {
	r := rand.New(rand.NewPCG(seed, 99))
	var cfgs [2]*Config
	for i := range cfgs {
		c := &Config{NoTimestamps: r.IntN(4) == 0, NoSACK: r.IntN(4) == 0, NoWindowScale: r.IntN(6) == 0, NoRACK: r.IntN(5) == 0, NoTLP: r.IntN(5) == 0, NoDelay: r.IntN(2) == 0,
			Pacing: r.IntN(4) == 0, Retries: 60, SynRetries: 30, SynAckRetries: 60, MaxRTO: 5 * time.Second}
		if r.IntN(3) == 0 {
			c.Congestion = NewNewReno
		}
		if r.IntN(4) == 0 {
			c.ReceiveBuffer, c.SendBuffer = 2000+r.IntN(20000), 2000+r.IntN(20000)
		}
		cfgs[i] = c
	}
	w := newLossyPath(seed, cfgs)
	w.loss, w.dup, w.reorder = r.Float64()*0.25, r.Float64()*0.1, r.Float64()*0.3
	w.jitter = time.Duration(r.IntN(60)) * time.Millisecond
	w.delay = time.Duration(r.IntN(80000)) * time.Microsecond
	if r.IntN(2) == 0 {
		w.rate, w.queue = 1e5+r.Float64()*1e6, 5000+r.IntN(100000)
	}
	h := fnv.New64a()
	w.hash = func(b []byte) { h.Write(b) }
	w.transfer(t, r.IntN(200000), r.IntN(200000), 4*time.Hour)
	for i, e := range w.ends {
		if e.conn.State() != Closed {
			t.Fatalf("end %d is in %v", i, e.conn.State())
		}
		if e.conn.snd.buf.ring.b != nil || e.conn.rcv.buf.ring.b != nil || len(e.conn.board.records) > 0 {
			t.Fatalf("end %d keeps memory", i)
		}
	}
	if w.q.Len() != 0 {
		t.Fatalf("%d timers left", w.q.Len())
	}
	return h.Sum64(), w
}

// Over thousands of hostile paths all data arrives, once and in order, and
// nothing is left behind; the same seed gives the same segments at the same
// nanoseconds.
func TestHostilePaths(t *testing.T) {
	n := uint64(600)
	if testing.Short() {
		n = 50
	}
	for seed := range n {
		ok := t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			a, _ := hostile(t, seed)
			if seed%10 == 0 {
				if b, _ := hostile(t, seed); a != b {
					t.Fatalf("seed %d is not repeatable", seed)
				}
			}
		})
		if !ok {
			break
		}
	}
}
