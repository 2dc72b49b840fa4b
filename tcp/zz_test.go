package tcp
import ("testing";"time";"fmt")
func TestZZ(t *testing.T) {
	for seed := uint64(1000); seed < 12000; seed++ { hostile(t, seed); if t.Failed() {return} }
}
func TestZSpeed(t *testing.T) {
	for _, loss := range []float64{0, 0.001, 0.01, 0.05, 0.2} {
	 for _, cc := range []func() Congestion{NewCubic, NewNewReno} {
		w := newWire(1, [2]*Config{{Congestion: cc}, {Congestion: cc}})
		w.loss = loss; w.delay = 10*time.Millisecond; w.rate=12.5e6; w.queue=250000
		w.ends[0].toSend = pattern(20<<20, 1)
		for _, e := range w.ends { e.closeAfterWrite = true }
		w.open()
		start := w.q.Now()
		for !w.ends[1].eof && w.q.Step(1<<62) {}
		d := w.q.Now().Sub(start)
		c := w.ends[0].conn
		fmt.Println(c.cc.Name(), loss, d, float64(20<<20)/d.Seconds()/1e6, "MB/s retrans", c.retransmitted, "of", w.count[1], "mode", c.mode, "got", len(w.ends[1].got))
	 }
	}
}
