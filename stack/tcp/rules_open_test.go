package tcp

import (
	"net/netip"
	"testing"
	"time"

	"peel/clock"
)

func TestOpen(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.5 figure 6: an active open", Config{}, opened + `
			state ESTABLISHED`},
		{"RFC 9293 §3.10.7.2: LISTEN, SYN, SYN-ACK, ACK", Config{}, `
			listen
			< S 0 win 5000 <mss 1000,sackOK>
			> S. 0 ack 1 win 65535 <mss 1460,sackOK>
			state SYN-RECEIVED
			+10ms < . 1 ack 1
			state ESTABLISHED`},
		{"RFC 9293 §3.5 figure 7: a simultaneous open", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			state SYN-SENT
			+5ms < S 0 win 5000 <mss 1000,sackOK>
			> S. 0 ack 1 <mss 1460,sackOK>
			state SYN-RECEIVED
			+5ms < S. 0 ack 1 win 6000
			> . 1 ack 1
			state ESTABLISHED
			write 100
			> P. 1:101 ack 1
			+5ms < . 1 ack 101`},
		{"RFC 9293 §3.5: a simultaneous open that is confirmed by a plain ACK", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+5ms < S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+5ms < . 1 ack 1
			state ESTABLISHED`},
		{"RFC 9293 §3.10.7.3: a wrong ACK in SYN-SENT is answered with its number in a RST, and the open goes on", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < . 700 ack 77
			> R 77
			< . 700 ack 0
			> R 0
			< R. 700 ack 77
			state SYN-SENT
			< S. 0 ack 1
			> . 1 ack 1
			state ESTABLISHED`},
		{"RFC 9293 §3.10.7.3: RST with the right ACK refuses", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < R. 0 ack 1
			state CLOSED
			err connection-refused`},
		{"RFC 9293 §3.10.7.3: RST without ACK is dropped", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < R 0
			state SYN-SENT`},
		{"RFC 9293 §3.10.7.3: neither SYN nor RST is dropped", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < . 1 ack 1
			< F 1
			state SYN-SENT`},
		{"RFC 9293 §3.10.7.4: a wrong ACK in SYN-RECEIVED is reset, the connection stays", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+1ms < . 1 ack 55
			> R 55
			< . 1 ack 0
			> R 0
			state SYN-RECEIVED`},
		{"RFC 9293 §3.10.7.4: RST in SYN-RECEIVED ends it", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+1ms < R 1
			state CLOSED
			err connection-refused`},
		{"RFC 9293 §3.8.1: the SYN again is answered with the SYN-ACK again", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+300ms < S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			state SYN-RECEIVED`},
		{"RFC 9293 §3.10.7.4: data with the ACK of the handshake is taken", Config{QuickACKs: -1}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+1ms < P. 1:101 ack 1
			state ESTABLISHED
			read 100
			+40ms > . 1 ack 101`},
		{"RFC 9293 §3.10.2: what is written in SYN-SENT goes out behind the handshake", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			write 10
			+1ms < S. 0 ack 1 <mss 1000>
			> P. 1:11 ack 1`},
		{"RFC 9293 §3.10.4: CLOSE in SYN-SENT deletes it without a word", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms close
			state CLOSED
			err connection-closed
			+1h`},
		{"RFC 9293 §3.10.4: CLOSE in SYN-RECEIVED waits for ESTABLISHED", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+1ms shut
			+1ms < . 1 ack 1
			> F. 1 ack 1
			state FIN-WAIT-1`},
		{"RFC 9293 §3.10.5: ABORT in SYN-SENT says nothing, in SYN-RECEIVED it resets", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			abort
			> R. 1 ack 1
			state CLOSED
			err connection-aborted`},
		{"RFC 6298 §2.1, §5.5: the SYN after 1, 3, 7 … 63 s, then the end at 127 s", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			@1s > S 0 <mss 1460,sackOK,ts 2000 ecr 0,wscale 7>
			@3s > S 0 <mss 1460,sackOK,ts 4000 ecr 0,wscale 7>
			@7s > S 0 <mss 1460,sackOK,ts 8000 ecr 0,wscale 7>
			@15s > S 0 <mss 1460,sackOK,ts 16000 ecr 0,wscale 7>
			@31s > S 0 <mss 1460,sackOK,ts 32000 ecr 0,wscale 7>
			@63s > S 0 <mss 1460,sackOK,ts 64000 ecr 0,wscale 7>
			@126999ms
			state SYN-SENT
			@127s
			state CLOSED
			err connection-timed-out`},
		{"RFC 9293 §3.8.3 R2 for a SYN-ACK: five retransmissions, the end at 63 s", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			@1s > S. 0 ack 1 <mss 1460>
			@3s > S. 0 ack 1 <mss 1460>
			@7s > S. 0 ack 1 <mss 1460>
			@15s > S. 0 ack 1 <mss 1460>
			@31s > S. 0 ack 1 <mss 1460>
			@63s
			state CLOSED`},
		{"Config.SynRetries", Config{SynRetries: 1}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			@1s > S 0 <mss 1460,sackOK,ts 2000 ecr 0,wscale 7>
			@3s
			err connection-timed-out`},
	})
}

// story is one named script.
type story struct {
	rule string
	cfg  Config
	text string
}

func stories(t *testing.T, list []story) {
	for _, c := range list {
		t.Run(c.rule, func(t *testing.T) { play(t, c.cfg, c.text) })
	}
}

// RFC 5461 §4.1: an ICMP error ends an open; RFC 5927 §4: not when it quotes
// what is not under way; RFC 9293 §3.9.2.2: later it is only a hint.
func TestOpenUnreachable(t *testing.T) {
	no := &netError{}
	s := play(t, Config{}, `
		open
		> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>`)
	s.c.Unreachable(s.now, scriptISS+2, no)
	s.play(`state SYN-SENT`)
	s.c.Unreachable(s.now, scriptISS, no)
	s.play(`state CLOSED`)
	if s.c.Err() != error(no) {
		t.Fatal(s.c.Err())
	}
	s = play(t, Config{Retries: 1, NoTLP: true}, opened, `
		write 100
		> P. 1:101`)
	s.c.Unreachable(s.now, scriptISS+1, no)
	s.play(`
		state ESTABLISHED
		+210ms > P. 1:101
		+420ms
		state CLOSED`)
	if s.c.Err() != error(no) {
		t.Fatal("the hint is not told at the end:", s.c.Err())
	}
}

type netError struct{}

func (*netError) Error() string { return "no route" }

// RFC 6528 §3: ISN = M + F(localip, localport, remoteip, remoteport, secret),
// M a clock of 4 µs.
func TestISN(t *testing.T) {
	k := Secret{1, 2, 3}
	a, b := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:80")
	at := func(d time.Duration) uint32 { return k.ISS(clock.Time(1e18).Add(d), a, b) }
	if got := at(4*time.Second) - at(0); got != 1e6 {
		t.Errorf("4 s move the ISN by %d, not by a million", got)
	}
	if at(0) != at(3999) && at(0)+1 != at(3999) {
		t.Error("it moves more often than each 4 µs")
	}
	seen := map[uint32]string{at(0): "itself"}
	for name, v := range map[string]uint32{
		"local port":        k.ISS(1e18, netip.MustParseAddrPort("192.0.2.1:1001"), b),
		"local addr":        k.ISS(1e18, netip.MustParseAddrPort("192.0.2.3:1000"), b),
		"remote port":       k.ISS(1e18, a, netip.MustParseAddrPort("192.0.2.2:81")),
		"remote addr":       k.ISS(1e18, a, netip.MustParseAddrPort("192.0.2.4:80")),
		"the secret":        (&Secret{1, 2, 4}).ISS(1e18, a, b),
		"the ends, swapped": k.ISS(1e18, b, a),
	} {
		if o, ok := seen[v]; ok {
			t.Errorf("%s gives the ISN of %s", name, o)
		}
		seen[v] = name
	}
	// RFC 7323 §7.1 with RFC 6191: one timestamp clock for a pair of hosts.
	if k.TimestampOffset(a, b) != k.TimestampOffset(netip.MustParseAddrPort("192.0.2.1:9"), b) {
		t.Error("the timestamps of two connections to one host are not of one clock")
	}
	if k.TimestampOffset(a, b) == k.TimestampOffset(a, netip.MustParseAddrPort("192.0.2.3:80")) {
		t.Error("two hosts see the same timestamps")
	}
}
