package tcp

import (
	"fmt"
	"testing"
	"time"
)

func TestFastRetransmit(t *testing.T) {
	reno := Config{Congestion: NewNewReno, NoTLP: true}
	stories(t, []story{
		{"RFC 5681 §3.2: the third duplicate ACK; RFC 3042: the first two send new data", reno, plain + `
			write 20000
			> . 1:10001/1000 ack 1
			+10ms < . 1 ack 1
			> . 10001:11001 ack 1
			< . 1 ack 1
			> . 11001:12001 ack 1
			< . 1 ack 1
			> . 1:1001 ack 1
			saw tcp.recovery.start
			ssthresh 5000
			+10ms < . 1 ack 12001
			> . 12001:17001/1000 ack 1
			saw tcp.recovery.end
			cwnd 5000`},
		{"RFC 5681 §2: no duplicate: one with data, one with another window, one with nothing under way", reno, plain + `
			< . 1 ack 1
			< . 1 ack 1
			< . 1 ack 1
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 win 60000
			< . 1 ack 1 win 60001
			< . 1 ack 1 win 60002
			< P. 1:11 ack 1
			> . 10001 ack 11
			< P. 11:21 ack 1
			> . 10001 ack 21
			< P. 21:31 ack 1
			> . 10001 ack 31
			unseen tcp.recovery.start`},
		{"RFC 6582 §3.2 step 3: a partial ACK sends the next hole at once", reno, plain + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1
			< . 1 ack 1
			< . 1 ack 1
			> . 1:1001 ack 1
			< . 1 ack 1
			< . 1 ack 1
			< . 1 ack 1
			< . 1 ack 1
			+10ms < . 1 ack 4001
			> . 4001:5001 ack 1
			unseen tcp.recovery.end
			+10ms < . 1 ack 10001
			saw tcp.recovery.end
			cwnd 5000`},
		{"RFC 6582 §3.2 step 3, RFC 9937: what duplicates told is not delivered again by the partial ACK", Config{Congestion: NewNewReno, NoTLP: true, InitialWindow: 20}, plain + `
			write 30000
			> . 1:20001/1000 ack 1
			+10ms < . 1 ack 1
			> . 20001:21001 ack 1
			< . 1 ack 1
			> . 21001:22001 ack 1
			< . 1 ack 1
			> . 1:1001 ack 1
			+10ms < . 1 ack 4001
			> . 4001:5001 ack 1
			< . 1 ack 4001`},
		{"RFC 6582 §3.2 step 3: at once, even where the rate would not allow it yet", reno, plain + `
			write 30000
			> . 1:10001/1000 ack 1
			+10ms < . 1 ack 1
			> . 10001:11001 ack 1
			< . 1 ack 1
			> . 11001:12001 ack 1
			< . 1 ack 1
			> . 1:1001 ack 1
			< . 1 ack 1
			+10ms < . 1 ack 2001
			> . 2001:3001 ack 1`},
		{"RFC 6582 §3.2 step 2: duplicates of before “recover” do not start it again", reno, plain + `
			write 4000
			> P. 1:4001/1000 ack 1
			+210ms > . 1:1001 ack 1
			+10ms < . 1 ack 1001
			> . 1001:3001/1000 ack 1
			+10ms < . 1 ack 4001
			write 4000
			> P. 4001:8001/1000 ack 1
			< . 1 ack 4001
			< . 1 ack 4001
			< . 1 ack 4001
			< . 1 ack 4001
			unseen tcp.recovery.start`},
		{"RFC 6675 §3: without RACK, three segments above make a loss", Config{NoRACK: true}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:2001>
			< . 1 ack 1 <sack 1001:3001>
			< . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			ssthresh 7000`},
		{"RFC 6675: all holes of one window with one reduction", Config{NoRACK: true}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:2001 3001:4001 5001:10001>
			> . 1:1001 ack 1
			> . 2001:3001 ack 1
			> . 4001:5001 ack 1
			ssthresh 7000
			+10ms < . 1 ack 10001
			cwnd 7000`},
	})
}

func TestRACK(t *testing.T) {
	stories(t, []story{
		{"RFC 8985 §6.2 step 5: before three are SACKed, a quarter of the round trip", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:2001>
			+2499us
			+1us > . 1:1001 ack 1
			saw tcp.recovery.start`},
		{"RFC 8985 §6.2 step 4: with three SACKed and no reordering seen, at once", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:2001>
			< . 1 ack 1 <sack 1001:3001>
			+1ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1`},
		{"RFC 8985 §6.2 step 4: once reordering was seen, three do not count", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:2001>
			+1ms < . 1 ack 2001
			saw tcp.reordering
			< . 1 ack 2001 <sack 3001:7001>
			+500us # sent at 0, RTT 11 ms, and 10/4 ms
			+2ms > . 2001:3001 ack 1`},
		{"RFC 8985 §6.2 step 3: a delayed ACK with a SACK block is no reordering", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 2001 <sack 3001:4001>
			unseen tcp.reordering
			< . 1 ack 2001 <sack 3001:5001>
			< . 1 ack 2001 <sack 3001:6001>
			> . 2001:3001 ack 1`},
		{"RFC 8985 §6.2: what was sent later than the delivered is not lost", Config{NoDelay: true}, opened + `
			write 2000
			> . 1:1001 ack 1
			> P. 1001:2001 ack 1
			+5ms write 2000
			> . 2001:3001 ack 1
			> P. 3001:4001 ack 1
			+5ms < . 1 ack 1 <sack 1001:2001>
			+2500us > . 1:1001 ack 1
			+100us < . 1 ack 2001`},
		{"RFC 8985 §3.1: a lost retransmission is found by what was sent behind it", Config{}, opened + `
			write 20000
			> . 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+1ms < . 1 ack 1 <sack 1001:10001>
			> . 10001:16001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:16001>
			> . 1:1001 ack 1
			> P. 16001:20001/1000 ack 1
			+10ms < . 1 ack 20001
			unseen tcp.reordering # step 3: what was retransmitted tells nothing of order`},
		{"RFC 8985 §6.2 step 2: an ACK that may be the original's does not say when the retransmission arrived", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+1ms < . 1 ack 1001 <sack 1001:4001> # 1 ms is less than any round trip
			+1ms
			+20ms < . 1 ack 10001`},
		{"RFC 8985 §6.3: the timer repairs several losses", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < . 1 ack 1 <sack 3001:4001>
			+2500us > . 1:1001 ack 1 # proportional rate reduction spreads them
			+1ms < . 1 ack 1 <sack 3001:5001>
			> . 1001:2001 ack 1
			+1ms < . 1 ack 1 <sack 3001:6001>
			> . 2001:3001 ack 1`},
	})
}

// RFC 8985 §6.2 step 4: each round trip with a DSACK widens the reordering
// window by a quarter of the least round trip, up to SRTT; sixteen recoveries
// later it is one quarter again.
func TestRACKReorderingWindow(t *testing.T) {
	s := play(t, Config{NoDelay: true}, opened)
	want := func(quarters int) {
		t.Helper()
		s.c.rack.reordering = true
		if got := s.c.reoWindow(); got != min(10*ms/4*time.Duration(quarters), s.c.rtt.srtt) {
			t.Fatalf("%v after %d quarters", got, quarters)
		}
	}
	want(1)
	for n, q := range []int{2, 3, 4, 5, 6} {
		from := 1 + n*100
		s.play(fmt.Sprintf(`
			write 100
			> P. %d:%d ack 1
			+10ms < . 1 ack %d
			< . 1 ack %d <sack %d:%d>`, from, from+100, from+100, from+100, from, from+100))
		want(q)
	}
	s.play("+1ms < . 1 ack 501 <sack 1:101>")
	want(7)
	for range 15 {
		s.c.rec.mode = modeRecovery
		s.c.endRecovery("")
	}
	want(7)
	s.c.rec.mode = modeRecovery
	s.c.endRecovery("")
	want(1)
}

func TestTailLossProbe(t *testing.T) {
	stories(t, []story{
		{"RFC 8985 §7.2: after two round trips, the last segment; then the RTO from there", Config{}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+22ms > P. 2001:3001 ack 1
			saw tcp.tlp
			cwnd 10000
			+210ms > . 1:1001 ack 1
			saw tcp.rto
			cwnd 1000`},
		{"RFC 8985 §7.3: new data if there is some", Config{}, opened + `
			write 20000
			> . 1:10001/1000 ack 1
			+22ms > . 10001:11001 ack 1`},
		{"RFC 8985 §7.2: one segment waits for a delayed ACK as well, but not beyond the RTO, which it replaces", Config{}, opened + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			saw tcp.tlp
			cwnd 10000
			+210ms > P. 1:101 ack 1
			saw tcp.rto`},
		{"RFC 8985 §7.2: one segment, with an RTO that is later", Config{MinRTO: 500 * ms}, opened + `
			write 100
			> P. 1:101 ack 1
			+220ms > P. 1:101 ack 1
			saw tcp.tlp
			+510ms > P. 1:101 ack 1`},
		{"RFC 8985 §7.2: an ACK puts it off", Config{}, opened + `
			write 4000
			> P. 1:4001/1000 ack 1
			+20ms < . 1 ack 1001
			+24499us # SRTT is now 11.25 ms
			+1us > P. 3001:4001 ack 1`},
		{"RFC 8985 §7.4: the probe's ACK and a DSACK: nothing was lost", Config{}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+22ms > P. 2001:3001 ack 1
			+1ms < . 1 ack 3001
			+10ms < . 1 ack 3001 <sack 2001:3001>
			write 1000
			> P. 3001:4001 ack 1
			+10ms < . 1 ack 4001
			ssthresh 1073741824`},
		{"RFC 8985 §7.4: no DSACK by the time that later data is acknowledged: the probe repaired a loss", Config{}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+10ms < . 1 ack 2001
			+210ms > P. 2001:3001 ack 1
			saw tcp.tlp
			+10ms < . 1 ack 3001
			ssthresh 1073741824
			write 1000
			> P. 3001:4001 ack 1
			+10ms < . 1 ack 4001
			ssthresh 7000
			cwnd 7000`},
		{"RFC 8985 §7.4: a duplicate ACK without SACK says the same as a DSACK", Config{}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+22ms > P. 2001:3001 ack 1
			+1ms < . 1 ack 3001
			+10ms < . 1 ack 3001
			write 1000
			> P. 3001:4001 ack 1
			+10ms < . 1 ack 4001
			ssthresh 1073741824`},
		{"RFC 8985 §7.4: a probe of new data reduces nothing", Config{}, opened + `
			write 11000
			> . 1:10001/1000 ack 1
			+22ms > P. 10001:11001 ack 1
			+10ms < . 1 ack 11001
			write 1000
			> P. 11001:12001 ack 1
			+10ms < . 1 ack 12001
			ssthresh 1073741824`},
		{"RFC 8985 §7.3: one probe at a time", Config{MinRTO: 900 * ms}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+22ms > P. 2001:3001 ack 1
			+909ms
			+1ms > . 1:1001 ack 1`},
		{"RFC 8985 §7.4: the probe shows the losses before it, which RACK repairs", Config{}, opened + `
			write 5000
			> P. 1:5001/1000 ack 1
			+10ms < . 1 ack 1001
			+22ms > P. 4001:5001 ack 1
			+10ms < . 1 ack 1001 <sack 4001:5001>
			> . 1001:2001 ack 1
			+1ms < . 1 ack 2001 <sack 4001:5001>
			> . 2001:4001/1000 ack 1`},
		{"Config.NoTLP", Config{NoTLP: true}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+210ms > . 1:1001 ack 1`},
	})
}
