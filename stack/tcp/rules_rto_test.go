package tcp

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestRetransmissionTimer(t *testing.T) {
	stories(t, []story{
		{"RFC 6298 §2.2, §2.3: SRTT and RTTVAR", Config{MinRTO: ms}, opened + `
			srtt 10ms
			rto 30ms # 10 + 4·5
			write 2000
			> . 1:1001 ack 1
			> P. 1001:2001 ack 1
			+18ms < . 1 ack 2001
			srtt 11ms # 7/8·10 + 1/8·18
			rto 34ms # RTTVAR = 3/4·5 + 1/4·8 = 5.75
			write 2000
			> . 2001:3001 ack 1
			> P. 3001:4001 ack 1
			+11ms < . 1 ack 4001
			srtt 11ms
			rto 28.25ms # RTTVAR = 3/4·5.75 = 4.3125`},
		{"RFC 6298 §2.4: the least RTO, here above the round trip, as Linux has it", Config{}, opened + `
			rto 210ms`},
		{"Config.MinRTO", Config{MinRTO: time.Second}, opened + `
			rto 1.01s`},
		{"Config.InitialRTO", Config{InitialRTO: 300 * ms}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+300ms > S 0 <mss 1460,sackOK,ts 1300 ecr 0,wscale 7>
			+600ms > S 0 <mss 1460,sackOK,ts 1900 ecr 0,wscale 7>`},
		{"RFC 6298 §5.1, §5.4–§5.6: it backs off; §2.5: up to a most", Config{NoTLP: true, MaxRTO: 2 * time.Second}, opened + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+420ms > P. 1:101 ack 1
			+840ms > P. 1:101 ack 1
			+1680ms > P. 1:101 ack 1
			+2s > P. 1:101 ack 1
			+2s > P. 1:101 ack 1`},
		{"RFC 6298 §5.2: off when all is acknowledged", Config{}, opened + `
			write 100
			> P. 1:101 ack 1
			+1ms < . 1 ack 101
			+1h`},
		{"RFC 6298 §5.3: an ACK of new data starts it again", Config{NoTLP: true}, opened + `
			write 2000
			> . 1:1001 ack 1
			> P. 1001:2001 ack 1
			+10ms < . 1 ack 1001
			rto 210ms # RTTVAR falls, but the least RTO counts
			+209999us
			+1us > P. 1001:2001 ack 1`},
		{"RFC 6298 §5.1: new data does not start it again", Config{NoTLP: true, NoDelay: true}, opened + `
			write 100
			> P. 1:101 ack 1
			+200ms write 100
			> P. 101:201 ack 1
			+10ms > . 1:101 ack 1
			> P. 101:201 ack 1`},
		{"RFC 6298 §3, Karn: what was retransmitted measures nothing, and §5: the backed-off RTO stays until something does", Config{NoTLP: true}, plain + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+420ms > P. 1:101 ack 1
			+50ms < . 1 ack 101
			srtt 10ms
			rto 840ms
			write 100
			> P. 101:201 ack 1
			+10ms < . 1 ack 201
			srtt 10ms
			rto 210ms`},
		{"RFC 7323 §4.1: with timestamps it does", Config{NoTLP: true}, stamped + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+50ms < . 1 ack 101
			srtt 15ms # 7/8·10 + 1/8·50
			rto 215ms`},
		{"RFC 6298 §5.7: when the SYN was lost, the RTO is 3 s once data flows", Config{NoTLP: true}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1s > S 0 <mss 1460,sackOK,ts 2000 ecr 0,wscale 7>
			+10ms < S. 0 ack 1 <mss 1000,sackOK>
			> . 1 ack 1
			rto 3s
			write 100
			> P. 1:101 ack 1
			+3s > P. 1:101 ack 1`},
		{"RFC 6298 §5.7: so it is for a SYN-ACK", Config{NoTLP: true}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+1s > S. 0 ack 1 <mss 1460>
			+10ms < . 1 ack 1
			rto 3s
			cwnd 1000 # RFC 5681 §3.1: and the window is one segment`},
		{"RFC 5681 §3.1: the window is one segment when the SYN was lost", Config{NoTLP: true}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1s > S 0 <mss 1460,sackOK,ts 2000 ecr 0,wscale 7>
			+10ms < S. 0 ack 1 <mss 1000,sackOK>
			> . 1 ack 1
			write 5000
			> . 1:1001 ack 1`},
		{"RFC 5681 §3.1: after a timeout the window is one segment, ssthresh what congestion control says; slow start follows", Config{NoTLP: true, Congestion: NewNewReno}, plain + `
			write 10000
			> P. 1:10001/1000 ack 1
			+210ms > . 1:1001 ack 1
			cwnd 1000
			ssthresh 5000
			+10ms < . 1 ack 1001
			> . 1001:3001/1000 ack 1
			cwnd 2000
			+10ms < . 1 ack 3001
			> . 3001:7001/1000 ack 1
			cwnd 4000
			+10ms < . 1 ack 7001
			> P. 7001:10001/1000 ack 1
			cwnd 5000`},
		{"a timeout of a retransmission does not lower ssthresh again (RFC 5681 equation 4)", Config{NoTLP: true, Congestion: NewNewReno}, plain + `
			write 10000
			> P. 1:10001/1000 ack 1
			+210ms > . 1:1001 ack 1
			+420ms > . 1:1001 ack 1
			ssthresh 5000`},
		{"RFC 2018 §8: after several timeouts SACKed data is sent again", Config{NoTLP: true, NoRACK: true, NoMTUProbing: true}, opened + `
			write 3000
			> P. 1:3001/1000 ack 1
			+10ms < . 1 ack 1 <sack 1001:3001>
			+200ms > . 1:1001 ack 1
			+420ms > . 1:1001 ack 1
			+840ms > . 1:1001 ack 1
			+10ms < . 1 ack 1001
			> . 1001:2001 ack 1
			> P. 2001:3001 ack 1`},
		{"RFC 9293 §3.8.3, Config.Retries", Config{NoTLP: true, Retries: 2}, opened + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+420ms > P. 1:101 ack 1
			+839999us
			state ESTABLISHED
			+1us
			state CLOSED
			err connection-timed-out`},
		{"RFC 9293 §3.8.3, user timeout: to the instant", Config{NoTLP: true, UserTimeout: time.Second}, opened + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+420ms > P. 1:101 ack 1
			+369999us
			state ESTABLISHED
			+1us
			err connection-timed-out`},
		{"user timeout: an ACK of new data starts it again", Config{NoTLP: true, NoSACK: true, UserTimeout: time.Second}, plain2 + `
			write 2000
			> . 1:1001 ack 1
			> P. 1001:2001 ack 1
			+10ms < . 1 ack 1001
			+210ms > P. 1001:2001 ack 1
			+420ms > P. 1001:2001 ack 1
			+369999us
			state ESTABLISHED
			+1us
			err connection-timed-out`},
	})
}

// plain2 is plain with Config.NoSACK.
const plain2 = `
	open
	> S 0 win 65535 <mss 1460,ts 1000 ecr 0,wscale 7>
	+10ms < S. 0 ack 1 win 65535 <mss 1000>
	> . 1 ack 1`

// RFC 9293 §3.8.3 R2, RFC 6298 §5.5: all fifteen retransmissions, 120 s apart at
// most, and the end.
func TestAllRetransmissions(t *testing.T) {
	text, wait, at := "", 210*ms, 10*ms
	for range 15 {
		at += wait
		text += fmt.Sprintf("@%v > P. 1:101 ack 1\n", at)
		wait = min(2*wait, 120*time.Second)
	}
	text += fmt.Sprintf("@%v\nstate ESTABLISHED\n@%v\nerr connection-timed-out", at+wait-1, at+wait)
	play(t, Config{NoTLP: true}, opened, "write 100\n> P. 1:101 ack 1", text)
	if at+wait < 924*time.Second-300*time.Second {
		t.Error("RFC 9293 §3.8.3: R2 is at least 100 s:", at+wait)
	}
}
