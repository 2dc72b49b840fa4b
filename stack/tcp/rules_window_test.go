package tcp

import (
	"fmt"
	"testing"
	"time"

	wire "peel/wire/tcp"
)

func TestNagle(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.7.4: a small segment waits while a small one is unacknowledged", Config{}, opened + `
			write 10
			> P. 1:11 ack 1
			write 10
			saw tcp.nagle
			write 10
			+10ms < . 1 ack 11
			> P. 11:31 ack 1`},
		{"Minshall: but not behind full ones only", Config{}, opened + `
			write 1000
			> P. 1:1001 ack 1
			write 10
			> P. 1001:1011 ack 1
			write 10
			+10ms < . 1 ack 1001
			+1ms < . 1 ack 1011
			> P. 1011:1021 ack 1`},
		{"RFC 9293 §3.7.4: full segments do not wait", Config{}, opened + `
			write 10
			> P. 1:11 ack 1
			write 2010
			> . 11:2011/1000 ack 1
			+10ms < . 1 ack 2011
			> P. 2011:2021 ack 1`},
		{"RFC 9293 §3.7.4 MUST-17: it can be switched off", Config{NoDelay: true}, opened + `
			write 10
			> P. 1:11 ack 1
			write 10
			> P. 11:21 ack 1`},
		{"a FIN takes what waits with it", Config{}, opened + `
			write 10
			> P. 1:11 ack 1
			write 10
			shut
			> FP. 11:21 ack 1`},
	})
}

func TestDelayedACK(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.8.6.3: an ACK waits, 40 ms here", Config{QuickACKs: -1}, opened + `
			< P. 1:101 ack 1
			+39999us
			+1us > . 1 ack 101
			saw tcp.delayed_ack`},
		{"RFC 9293 §3.8.6.3: but not when a second full segment comes", Config{QuickACKs: -1}, opened + `
			< . 1:1001 ack 1
			+1ms < . 1001:2001 ack 1
			> . 1 ack 2001
			< . 2001:3001 ack 1
			+40ms > . 1 ack 3001`},
		{"small ones do not add up", Config{QuickACKs: -1}, opened + `
			< P. 1:101 ack 1
			< P. 101:201 ack 1
			< P. 201:301 ack 1
			+40ms > . 1 ack 301`},
		{"data takes it along", Config{QuickACKs: -1}, opened + `
			< P. 1:101 ack 1
			+20ms write 10
			> P. 1:11 ack 101
			+100ms < . 101 ack 11`},
		{"RFC 5681 §4.2: at once when out of order, and when a hole is filled", Config{QuickACKs: -1}, opened + `
			< P. 101:201 ack 1
			> . 1 ack 1 <sack 101:201>
			< P. 1:51 ack 1
			> . 1 ack 51 <sack 101:201>
			< P. 51:101 ack 1
			> . 1 ack 201`},
		{"Config.DelayedACK", Config{QuickACKs: -1, DelayedACK: 200 * ms}, opened + `
			< P. 1:101 ack 1
			+199999us
			+1us > . 1 ack 101`},
		{"Config.DelayedACK: none", Config{QuickACKs: -1, DelayedACK: -1}, opened + `
			< P. 1:101 ack 1
			> . 1 ack 101`},
		{"Config.QuickACKs: the first are not delayed; the handshake's counts", Config{QuickACKs: 3}, opened + `
			< P. 1:101 ack 1
			> . 1 ack 101
			< P. 101:201 ack 1
			> . 1 ack 201
			< P. 201:301 ack 1
			+40ms > . 1 ack 301`},
		{"a read of a little does not make an ACK", Config{QuickACKs: -1}, opened + `
			< P. 1:101 ack 1
			read 100
			+40ms > . 1 ack 101`},
	})
}

// small is an open by a side with a receive buffer of 4000.
const small4000 = `
	open
	> S 0 win 4000 <mss 1460,sackOK,ts 1000 ecr 0,wscale 0>
	+10ms < S. 0 ack 1 win 65535 <mss 1000,sackOK>
	> . 1 ack 1 win 4000`

func TestReceiveWindow(t *testing.T) {
	cfg := Config{ReceiveBuffer: 4000, FixedBuffers: true}
	stories(t, []story{
		{"RFC 9293 §3.8.6: it closes as bytes wait", cfg, small4000 + `
			< . 1:1001 ack 1
			> . 1 ack 1001 win 3000
			< . 1001:2001 ack 1
			> . 1 ack 2001 win 2000
			< . 2001:4001 ack 1
			> . 1 ack 4001 win 0`},
		{"RFC 9293 §3.8.6.2.2: silly windows: it opens by a segment or half the buffer, or not at all", cfg, small4000 + `
			< . 1:4001/1000 ack 1
			> . 1 ack 1001 win 3000
			> . 1 ack 2001 win 2000
			> . 1 ack 3001 win 1000
			> . 1 ack 4001 win 0
			read 1000
			< . 4000 ack 1
			> . 1 ack 4001 win 0
			read 447
			< . 4000 ack 1
			> . 1 ack 4001 win 0
			read 1
			< . 4000 ack 1
			> . 1 ack 4001 win 1448`},
		{"RFC 9293 §3.8.6.2.2: a window update comes by itself", cfg, small4000 + `
			< . 1:4001/1000 ack 1
			> . 1 ack 1001 win 3000
			> . 1 ack 2001 win 2000
			> . 1 ack 3001 win 1000
			> . 1 ack 4001 win 0
			read 1999
			read 1
			> . 1 ack 4001 win 2000
			+1h`},
		{"RFC 9293 §3.8.6 SHLD-14: it never shrinks: the right edge stays, whatever waits out of order", cfg, small4000 + `
			< . 1001:4001/1000 ack 1
			> . 1 ack 1 win 4000 <sack 1001:2001>
			> . 1 ack 1 win 4000 <sack 1001:3001>
			> . 1 ack 1 win 4000 <sack 1001:4001>
			< . 1:1001 ack 1
			> . 1 ack 4001 win 0`},
		{"RFC 9293 §3.10.7.4: what overruns it is cut", cfg, small4000 + `
			< . 1:1001 ack 1
			> . 1 ack 1001 win 3000
			< . 1001:5001/5000 ack 1
			> . 1 ack 4001 win 0
			buffered 4000`},
	})
}

// Whatever the sizes of segments, reads and the scale: the right edge that is
// announced never moves back (RFC 9293 §3.8.6 SHLD-14).
func TestWindowNeverShrinks(t *testing.T) {
	for _, buffer := range []int{3000, 65535, 100001, 1 << 20} {
		s := newScript(t, Config{ReceiveBuffer: buffer, NoTimestamps: true}, scriptEnds)
		s.loose = true
		s.play(`
			listen
			< S 0 win 65535 <mss 1000,wscale 7>
			+1ms < . 1 ack 1`)
		seq, buffered := 1, 0
		var edge uint32 = s.c.rcv.edge
		for i := range 5000 {
			n := 1 + i*7919%1000
			if room := int(s.c.rcv.edge - s.c.rcv.nxt); n > room {
				n = room
			}
			if n > 0 {
				s.step(fmt.Sprintf("+1ms < P. %d:%d ack 1", seq, seq+n))
			}
			seq, buffered = seq+n, buffered+n
			if i%3 == 0 && buffered > 0 {
				r := min(buffered, 1+i*104729%2500)
				s.step(fmt.Sprintf("read %d", r))
				buffered -= r
			}
			for _, g := range s.sent {
				e := g.h.Ack + uint32(s.bytes(&g.h))
				if g.h.Flags.Has(wire.SYN) {
					continue
				}
				// RFC 7323 §2.4: but for less than a unit of the scale.
				if int(int32(edge-e)) >= 1<<s.c.opt.shiftIn {
					t.Fatalf("buffer %d: the edge moved back by %d", buffer, edge-e)
				}
				edge = e
			}
			s.sent = nil
		}
	}
}

func TestZeroWindow(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.8.6.1: probes after one RTO, and with back-off; they are answered for ever", Config{}, opened + `
			< . 1 ack 1 win 0
			write 3000
			saw tcp.zero_window
			+210ms > . 0 ack 1
			saw tcp.window_probe
			+1ms < . 1 ack 1
			+419ms > . 0 ack 1
			< . 1 ack 1
			+840ms > . 0 ack 1
			< . 1 ack 1
			+1680ms > . 0 ack 1
			< . 1 ack 1
			+3360ms > . 0 ack 1
			< . 1 ack 1
			+6720ms > . 0 ack 1
			< . 1 ack 1
			+13440ms > . 0 ack 1
			< . 1 ack 1
			+26880ms > . 0 ack 1
			< . 1 ack 1
			+53760ms > . 0 ack 1
			< . 1 ack 1
			+107520ms > . 0 ack 1
			< . 1 ack 1
			+120s > . 0 ack 1
			< . 1 ack 1
			+120s > . 0 ack 1
			state ESTABLISHED
			+1s < . 1 ack 1 win 5000
			> P. 1:3001/1000 ack 1
			saw tcp.window_open`},
		{"RFC 9293 §3.8.6.1: the window that data closes", Config{}, opened + `
			< . 1 ack 1 win 2000
			write 3000
			> . 1:2001/1000 ack 1
			+10ms < . 1 ack 2001 win 0
			+210ms > . 2000 ack 1
			+10ms < . 1 ack 2001 win 1000
			> P. 2001:3001 ack 1`},
		{"RFC 9293 §3.8.6.2.1: the sender avoids silly windows: not less than a segment or half the largest window, until the override", Config{}, opened + `
			< . 1 ack 1 win 0
			write 3000
			+210ms > . 0 ack 1
			< . 1 ack 1 win 999
			+210ms > . 1:1000 ack 1
			+10ms < . 1 ack 1000 win 1000
			> . 1000:2000 ack 1`},
		{"RFC 9293 §3.8.6.2.1 (2): half of the largest window ever will do", Config{}, `
			open
			> S 0 win 65535 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+10ms < S. 0 ack 1 win 800 <mss 1000,sackOK>
			> . 1 ack 1
			write 3000
			> . 1:801 ack 1
			+10ms < . 1 ack 801 win 400
			> . 801:1201 ack 1
			+10ms < . 1 ack 1201 win 399
			+210ms > . 1201:1600 ack 1`},
		{"RFC 9293 §3.8.6 MUST-34: a window that shrinks below what was sent does not break it", Config{NoTLP: true}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			< . 1 ack 1 win 1000
			+10ms < . 1 ack 1001 win 0
			+10ms < . 1 ack 3001 win 65535
			write 1000
			> P. 3001:4001 ack 1`},
		{"RFC 9293 §3.8.3: a user timeout ends it when the probes stay unanswered", Config{UserTimeout: time.Second}, opened + `
			< . 1 ack 1 win 0
			write 10
			+210ms > . 0 ack 1
			+420ms > . 0 ack 1
			+840ms
			err connection-timed-out`},
		{"a connection closed for good does not probe for ever", Config{Retries: 3}, opened + `
			< . 1 ack 1 win 0
			write 10
			close
			+210ms > . 0 ack 1
			+420ms > . 0 ack 1
			+840ms > . 0 ack 1
			+1680ms
			err connection-timed-out`},
	})
}

func TestKeepAlive(t *testing.T) {
	cfg := Config{KeepAlive: 10 * time.Second, KeepAliveInterval: 2 * time.Second, KeepAliveProbes: 3}
	stories(t, []story{
		{"RFC 9293 §3.8.4: off unless asked for", Config{}, opened + `
			+1000h`},
		{"RFC 9293 §3.8.4: a probe from before the window when idle; an answer puts it off", cfg, opened + `
			+9999ms
			+1ms > . 0 ack 1
			saw tcp.keep_alive
			+1ms < . 1 ack 1
			+9999ms
			+1ms > . 0 ack 1`},
		{"RFC 9293 §3.8.4: unanswered, they end it", cfg, opened + `
			+10s > . 0 ack 1
			+2s > . 0 ack 1
			+2s > . 0 ack 1
			+1999ms
			state ESTABLISHED
			+1ms > R. 1 ack 1
			state CLOSED
			err connection-timed-out:-the-peer-does-not-answer-keep-alive-probes`},
		{"RFC 9293 §3.8.4 MUST-26: data puts it off", cfg, opened + `
			+9s < P. 1:11 ack 1
			> . 1 ack 11
			+9999ms
			+1ms > . 0 ack 11`},
		{"the defaults: nine, 75 s apart", Config{KeepAlive: 2 * time.Hour}, opened + `
			+2h > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > . 0 ack 1
			+75s > R. 1 ack 1`},
		{"RFC 9293 §3.8.4: the peer's probe is answered, each time", Config{}, opened + `
			+2h < . 0 ack 1
			> . 1 ack 1
			+75s < . 0 ack 1
			> . 1 ack 1
			< . 0 ack 1
			> . 1 ack 1`},
		{"in CLOSE-WAIT too", cfg, opened + `
			< F. 1 ack 1
			> . 1 ack 2
			+10s > . 0 ack 2`},
	})
}
