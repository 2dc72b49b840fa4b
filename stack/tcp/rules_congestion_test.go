package tcp

import (
	"fmt"
	"math"
	"testing"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// path is a congestion control that is fed one round trip after the other: all
// of the window is sent and acknowledged by segments, evenly over the round.
type path struct {
	cc  Congestion
	w   Window
	now clock.Time
	rtt time.Duration
	n   uint64
}

func (p *path) round(each func()) {
	p.n++
	segments := p.w.Cwnd / p.w.MSS
	for i := range segments {
		at := p.now.Add(p.rtt * time.Duration(i+1) / time.Duration(segments))
		p.cc.Acked(&p.w, Acked{Now: at, Bytes: p.w.MSS, RTT: p.rtt, SRTT: p.rtt, MinRTT: p.rtt, InFlight: p.w.Cwnd, Round: p.n, Limited: true})
		if each != nil {
			p.now, at = at, p.now
			each()
			p.now = at
		}
	}
	p.now = p.now.Add(p.rtt)
}

// RFC 9438 §4.2: W_cubic(t) = C·(t−K)³ + W_max with K = ∛((W_max − cwnd)/C),
// which the window follows from the reduction on, a round trip behind its
// target W_cubic(t+RTT).
func TestCubicGrowth(t *testing.T) {
	for _, c := range []struct {
		wMax float64
		rtt  time.Duration
	}{{300, 200 * ms}, {1000, 50 * ms}, {400, 200 * ms}, {2000, 80 * ms}} {
		p := &path{cc: NewCubic(), w: Window{Cwnd: int(c.wMax) * 1000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9, rtt: c.rtt}
		p.cc.Reduce(&p.w, p.now, false)
		if want := int(c.wMax * 700); p.w.Ssthresh != want {
			t.Fatalf("§4.6: ssthresh %d, not %d", p.w.Ssthresh, want)
		}
		p.w.Cwnd = p.w.Ssthresh
		k := math.Cbrt(c.wMax * 0.3 / 0.4)
		epoch := clock.Time(0)
		cubic := func(t float64) float64 { return 0.4*math.Pow(t-k, 3) + c.wMax }
		for range int(2 * k / c.rtt.Seconds()) {
			p.round(func() {
				if epoch == 0 {
					epoch = p.now
				}
			})
			at := p.now.Sub(epoch).Seconds()
			got := float64(p.w.Cwnd) / 1000
			// It lies between the curve and its target, but for rounding and
			// what the curve bends within a round trip.
			lo, hi := cubic(at-c.rtt.Seconds())-2, cubic(at+c.rtt.Seconds())+2
			if got < lo || got > hi {
				t.Fatalf("W_max %v, RTT %v, t = %.2f (K = %.2f): cwnd %.1f, the curve is at %.1f", c.wMax, c.rtt, at, k, got, cubic(at))
			}
		}
		if float64(p.w.Cwnd)/1000 < 1.2*c.wMax {
			t.Fatalf("convex growth brought it to %d only", p.w.Cwnd/1000)
		}
	}
}

// RFC 9438 §4.3: where Reno would be faster, as over short round trips, the
// window is W_est, which grows by 3·(1−β)/(1+β) a round and, from where it was
// before the reduction, by one.
func TestCubicRenoFriendly(t *testing.T) {
	p := &path{cc: NewCubic(), w: Window{Cwnd: 20000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9, rtt: 10 * ms}
	p.cc.Reduce(&p.w, p.now, false)
	p.w.Cwnd = p.w.Ssthresh
	est := 14.0
	for i := range 40 {
		n := p.w.Cwnd / 1000
		cwnd := float64(p.w.Cwnd) / 1000
		alpha := 9.0 / 17
		if est >= 20 {
			alpha = 1
		}
		p.round(nil)
		est += alpha * float64(n) / cwnd
		if got := float64(p.w.Cwnd) / 1000; math.Abs(got-est) > 0.5 {
			t.Fatalf("round %d: %.2f, W_est is %.2f", i, got, est)
		}
	}
	if p.w.Cwnd < 30000 {
		t.Fatal("it has not come to a segment a round:", p.w.Cwnd)
	}
}

// RFC 9438 §4.7: a reduction below the last W_max releases more: W_max becomes
// cwnd·(1+β)/2; §4.6: ssthresh is at least two segments; §4.9: undo.
func TestCubicReductions(t *testing.T) {
	q := NewCubic().(*Cubic)
	w := Window{Cwnd: 100000, Ssthresh: 1 << 30, MSS: 1000}
	q.Reduce(&w, 1, false)
	if q.wMax != 100 {
		t.Error("W_max", q.wMax)
	}
	w.Cwnd = 80000
	q.Reduce(&w, 2, false)
	if math.Abs(q.wMax-80*1.7/2) > 1e-9 || w.Ssthresh != 56000 {
		t.Errorf("fast convergence: W_max %v, ssthresh %d", q.wMax, w.Ssthresh)
	}
	q.Undo(&w)
	if q.wMax != 100 {
		t.Error("undo: W_max", q.wMax)
	}
	w.Cwnd = 120000
	q.Reduce(&w, 3, false)
	if q.wMax != 120 {
		t.Error("above the last: W_max", q.wMax)
	}
	w.Cwnd = 2000
	q.Reduce(&w, 4, false)
	if w.Ssthresh != 2000 {
		t.Error("less than two segments:", w.Ssthresh)
	}
}

// RFC 9438 §5.8: a pause of the program's is not time in which the curve rises.
func TestCubicIdle(t *testing.T) {
	grow := func(pause time.Duration) int {
		p := &path{cc: NewCubic(), w: Window{Cwnd: 100000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9, rtt: 100 * ms}
		p.cc.Reduce(&p.w, p.now, false)
		p.w.Cwnd = p.w.Ssthresh
		for range 20 {
			p.round(nil)
		}
		p.now = p.now.Add(pause)
		for range 3 {
			p.round(nil)
		}
		return p.w.Cwnd
	}
	if a, b := grow(0), grow(time.Hour); b > a+2000 {
		t.Errorf("after an hour of pause the window is %d, without %d", b, a)
	}
}

// RFC 5681 §3.1: slow start by what was acknowledged, then a segment a round;
// equation 4; RFC 7661: nothing when the program is what limits.
func TestNewReno(t *testing.T) {
	p := &path{cc: NewNewReno(), w: Window{Cwnd: 10000, Ssthresh: 40000, MSS: 1000}, now: 1e9, rtt: 10 * ms}
	for _, want := range []int{20000, 40000, 41000, 42000, 43000} {
		p.round(nil)
		if p.w.Cwnd != want {
			t.Fatalf("cwnd %d, not %d", p.w.Cwnd, want)
		}
	}
	p.cc.Acked(&p.w, Acked{Bytes: 43000})
	p.cc.Acked(&p.w, Acked{Bytes: 43000, Limited: true, Recovering: true})
	if p.w.Cwnd != 43000 {
		t.Error("it grew though the program was what limited, or in recovery")
	}
	p.cc.Reduce(&p.w, 1, false)
	if p.w.Ssthresh != 21500 {
		t.Error("ssthresh", p.w.Ssthresh)
	}
	p.w.Cwnd = 3000
	p.cc.Reduce(&p.w, 1, true)
	if p.w.Ssthresh != 2000 {
		t.Error("ssthresh is at least two segments:", p.w.Ssthresh)
	}
}

// RFC 9406 §4.2: a round whose least RTT is above the last by clamp(1/8, 4 ms,
// 16 ms) turns slow start into conservative slow start, four times slower;
// five rounds later it ends; a lower RTT takes it back.
func TestHyStart(t *testing.T) {
	type round struct {
		rtt  time.Duration
		grow float64 // of the window, as a factor
	}
	for _, c := range []struct {
		rule   string
		rounds []round
		end    bool
	}{
		{"a constant round trip", []round{{50 * ms, 2}, {50 * ms, 2}, {50 * ms, 2}}, false},
		{"a growth of less than an eighth", []round{{50 * ms, 2}, {56 * ms, 2}, {56 * ms, 2}}, false},
		{"a growth of an eighth", []round{{50 * ms, 2}, {57 * ms, 0}, {57 * ms, 1.25}, {57 * ms, 1.25}, {57 * ms, 1.25}, {57 * ms, 1.25}, {57 * ms, 0}}, true},
		{"4 ms at least", []round{{10 * ms, 2}, {13 * ms, 2}, {13 * ms, 2}}, false},
		{"4 ms are enough", []round{{10 * ms, 2}, {14 * ms, 0}, {14 * ms, 1.25}}, false},
		{"16 ms are enough", []round{{300 * ms, 2}, {316 * ms, 0}, {316 * ms, 1.25}}, false},
		{"15 of 300 ms are not", []round{{300 * ms, 2}, {315 * ms, 2}}, false},
		{"a spike that passes", []round{{50 * ms, 2}, {60 * ms, 0}, {60 * ms, 1.25}, {50 * ms, 0}, {50 * ms, 2}}, false},
	} {
		p := &path{cc: NewCubic(), w: Window{Cwnd: 20000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9}
		for i, r := range c.rounds {
			p.rtt = r.rtt
			old := p.w.Cwnd
			p.round(nil)
			if got := float64(p.w.Cwnd) / float64(old); r.grow != 0 && math.Abs(got-r.grow) > 0.02 {
				t.Errorf("%s: round %d: the window grew by %.3f, not %v", c.rule, i, got, r.grow)
			}
		}
		if ended := p.w.Ssthresh < 1<<30; ended != c.end {
			t.Errorf("%s: ssthresh %d", c.rule, p.w.Ssthresh)
		}
	}
	// §4.2: eight samples a round at least.
	p := &path{cc: NewCubic(), w: Window{Cwnd: 7000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9, rtt: 10 * ms}
	p.round(nil)
	p.w.Cwnd, p.rtt = 7000, 100*ms
	p.round(nil)
	if p.w.Cwnd != 14000 {
		t.Error("seven samples were enough")
	}
	// §4.3: in the first slow start only.
	q := NewCubic().(*Cubic)
	q.Reduce(&Window{Cwnd: 50000, MSS: 1000}, 1, true)
	p = &path{cc: q, w: Window{Cwnd: 20000, Ssthresh: 1 << 30, MSS: 1000}, now: 1e9, rtt: 10 * ms}
	p.round(nil)
	p.rtt = 100 * ms
	p.round(nil)
	if p.w.Cwnd != 80000 {
		t.Error("HyStart++ in a later slow start:", p.w.Cwnd)
	}
}

func TestInitialWindow(t *testing.T) {
	stories(t, []story{
		{"RFC 6928 §2: ten segments", Config{}, opened + `
			write 30000
			> . 1:10001/1000 ack 1
			+10ms < . 1 ack 2001
			> . 10001:14001/1000 ack 1 # RFC 5681: slow start
			+1ms < . 1 ack 3001
			> . 14001:16001/1000 ack 1`},
		{"Config.InitialWindow", Config{InitialWindow: 2}, opened + `
			write 30000
			> . 1:2001/1000 ack 1`},
		{"RFC 7661 §4.3: no growth when the program is what limits", Config{}, opened + `
			write 2000
			> P. 1:2001/1000 ack 1
			+10ms < . 1 ack 2001
			cwnd 10000`},
	})
	for _, c := range []struct{ mss, want int }{{536, 5360}, {1460, 14600}, {2000, 14600}, {8960, 17920}} {
		e := scriptEnds
		e.Link, e.Path = 9000, 9000
		s := newScript(t, Config{NoTimestamps: true}, e)
		s.play(fmt.Sprintf(`
			open
			> S 0 <mss 8980,sackOK,wscale 7>
			+1ms < S. 0 ack 1 <mss %d>
			> . 1 ack 1
			cwnd %d`, c.mss, c.want))
	}
}

func TestIdle(t *testing.T) {
	grown := opened + `
		write 20000
		> . 1:10001/1000 ack 1
		+10ms < . 1 ack 10001
		> P. 10001:20001/1000 ack 1
		cwnd 20000
		+10ms < . 1 ack 20001
		cwnd 20000`
	stories(t, []story{
		{"RFC 5681 §4.1: after an RTO of silence the window is the initial one; RFC 7661: ssthresh keeps three quarters", Config{}, grown + `
			+300ms write 20000
			> . 20001:30001/1000 ack 1
			saw tcp.cwnd.idle
			cwnd 10000`},
		{"RFC 5681 §4.1: not before", Config{}, grown + `
			+190ms write 20000
			> P. 20001:40001/1000 ack 1`},
		{"Config.NoSlowStartAfterIdle", Config{NoSlowStartAfterIdle: true}, grown + `
			+1h write 20000
			> P. 20001:40001/1000 ack 1`},
	})
}

// Pacing: a fifth more than a window a round trip, twice a window in slow
// start; at most a millisecond's worth at once.
func TestPacing(t *testing.T) {
	for _, c := range []struct{ ssthresh, gain float64 }{{1 << 30, 2}, {100000, 1.2}} {
		s := newScript(t, Config{Pacing: true, InitialWindow: 100, NoTLP: true, NoTimestamps: true}, scriptEnds)
		s.loose = true
		s.play(`
			open
			+100ms < S. 0 ack 1 win 500000 <mss 1000,sackOK,wscale 7>
			< . 1 ack 1`)
		s.c.win.Ssthresh = int(c.ssthresh)
		s.play(`
			write 100000
			+100ms`)
		rate := c.gain * 100000 / s.c.rtt.srtt.Seconds() // bytes a second
		n, start, last := 0, clock.Time(0), clock.Time(0)
		for _, g := range s.sent {
			if len(g.b) == 0 {
				continue
			}
			if start == 0 {
				start = g.at
			}
			n, last = n+len(g.b)+wire.MinHeader, g.at
			if most := g.at.Sub(start).Seconds()*rate + rate/1000 + 1020; float64(n) > most+1 {
				t.Fatalf("%d bytes after %v: the pace allows %.0f", n, g.at.Sub(start), most)
			}
		}
		if want := time.Duration(102000 / rate * 1e9); s.c.Unsent() > 0 || (last.Sub(start)-want).Abs() > 3*ms {
			t.Errorf("%d bytes unsent; the last went out after %v, not %v", s.c.Unsent(), last.Sub(start), want)
		}
	}
}

// BBR finds the path's rate, keeps it with one packet in a hundred lost at
// random, and does not fill the queue; CUBIC cannot.
func TestBBR(t *testing.T) {
	run := func(cc func() Congestion, loss float64) (rate float64, queued time.Duration) {
		cfg := &Config{Congestion: cc}
		w := newLossyPath(5, [2]*Config{cfg, cfg})
		w.rate, w.queue, w.loss, w.delay = 2e6, 1<<20, 0, 20*ms
		w.open()
		w.q.Run(w.q.Now().Add(100 * ms))
		w.loss = loss
		w.ends[0].toSend = pattern(40e6, 1)
		w.ends[0].run()
		w.q.Run(w.q.Now().Add(5 * time.Second))
		from, at := len(w.ends[1].got), w.q.Now()
		w.q.Run(at.Add(5 * time.Second))
		return float64(len(w.ends[1].got)-from) / 5, w.busy[1].Sub(w.q.Now())
	}
	net := 2e6 * 1448 / (1448 + 32 + 40)
	rate, queued := run(NewBBR, 0)
	if rate < 0.93*net || queued > 60*ms {
		t.Errorf("without loss %.2f of the path's rate, %v queued", rate/net, queued)
	}
	rate, _ = run(NewBBR, 0.01)
	if rate < 0.85*net {
		t.Errorf("with loss %.2f of the path's rate", rate/net)
	}
	if cubic, _ := run(NewCubic, 0.01); cubic > rate {
		t.Errorf("CUBIC has %.2f with loss: this is no test", cubic/net)
	}
}
