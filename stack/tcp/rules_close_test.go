package tcp

import "testing"

func TestCloseStates(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.6 figure 12: a normal close; TIME-WAIT is 2 MSL", Config{}, opened + `
			shut
			> F. 1 ack 1
			state FIN-WAIT-1
			+10ms < . 1 ack 2
			state FIN-WAIT-2
			+10ms < F. 1 ack 2
			> . 2 ack 2
			state TIME-WAIT
			eof true
			+59999ms
			state TIME-WAIT
			+1ms
			state CLOSED
			err none`},
		{"RFC 9293 §3.6 figure 12, the other side: CLOSE-WAIT, LAST-ACK", Config{}, opened + `
			< F. 1 ack 1
			> . 1 ack 2
			state CLOSE-WAIT
			eof true
			shut
			> F. 1 ack 2
			state LAST-ACK
			+10ms < . 2 ack 2
			state CLOSED
			err none`},
		{"RFC 9293 §3.6 figure 13: a simultaneous close", Config{}, opened + `
			shut
			> F. 1 ack 1
			< F. 1 ack 1
			> . 2 ack 2
			state CLOSING
			+5ms < . 2 ack 2
			state TIME-WAIT
			+60s
			state CLOSED`},
		{"RFC 9293 §3.3.2: FIN with the ACK of ours goes from FIN-WAIT-1 to TIME-WAIT", Config{}, opened + `
			shut
			> F. 1 ack 1
			+5ms < F. 1 ack 2
			> . 2 ack 2
			state TIME-WAIT`},
		{"RFC 9293 §3.6: a half-closed connection still receives", Config{QuickACKs: -1}, opened + `
			shut
			> F. 1 ack 1
			< . 1 ack 2
			+1s < P. 1:1001 ack 2
			state FIN-WAIT-2
			read 1000
			+40ms > . 2 ack 1001
			+1h
			state FIN-WAIT-2`},
		{"RFC 9293 §3.6: and the other half still sends in CLOSE-WAIT", Config{}, opened + `
			< F. 1 ack 1
			> . 1 ack 2
			write 1500
			> . 1:1001 ack 2
			> P. 1001:1501 ack 2
			+10ms < . 2 ack 1501
			shut
			> F. 1501 ack 2
			state LAST-ACK`},
		{"RFC 9293 §3.10.4: the FIN waits behind what was written", Config{}, plain + `
			write 15000
			> . 1:10001/1000 ack 1
			shut
			state FIN-WAIT-1
			+10ms < . 1 ack 10001
			> . 10001:14001/1000 ack 1
			> FP. 14001:15001 ack 1`},
		{"RFC 9293 §3.10.2: no SEND after CLOSE", Config{}, opened + `
			shut
			> F. 1 ack 1
			write 10 = 0`},
		{"RFC 9293 §3.10.7.4: a FIN that comes again in TIME-WAIT is acknowledged and starts the 2 MSL again", Config{}, opened + `
			shut
			> F. 1 ack 1
			+10ms < F. 1 ack 2
			> . 2 ack 2
			+30s < F. 1 ack 2
			> . 2 ack 2
			+59999ms
			state TIME-WAIT
			+1ms
			state CLOSED`},
		{"Config.TimeWait", Config{TimeWait: 4 * 60e9}, opened + `
			shut
			> F. 1 ack 1
			+10ms < F. 1 ack 2
			> . 2 ack 2
			+239999ms
			state TIME-WAIT
			+1ms
			state CLOSED`},
		{"RFC 1337 §3: RST does not end TIME-WAIT", Config{}, opened + `
			shut
			> F. 1 ack 1
			+10ms < F. 1 ack 2
			> . 2 ack 2
			< R 2
			state TIME-WAIT`},
		{"FIN-WAIT-2 of a connection that was closed for good is bounded", Config{}, opened + `
			close
			> F. 1 ack 1
			+10ms < . 1 ack 2
			+59999ms
			state FIN-WAIT-2
			+1ms
			state CLOSED`},
		{"so it is when it is closed for good in FIN-WAIT-2 only", Config{FinWait2: 5e9}, opened + `
			shut
			> F. 1 ack 1
			+10ms < . 1 ack 2
			+100s close
			+4999ms
			state FIN-WAIT-2
			+1ms
			state CLOSED`},
		{"RFC 2525 §2.17: CLOSE with unread data resets", Config{QuickACKs: -1}, opened + `
			< P. 1:101 ack 1
			close
			> R. 1 ack 101
			state CLOSED
			err connection-aborted`},
		{"RFC 9293 §3.6.1: data after CLOSE is reset", Config{}, opened + `
			close
			> F. 1 ack 1
			+10ms < . 1 ack 2
			state FIN-WAIT-2
			< P. 1:101 ack 2
			> R. 2 ack 1
			state CLOSED`},
		{"data that was read before does not come after CLOSE", Config{}, opened + `
			< P. 1:101 ack 1
			> . 1 ack 101
			read 100
			close
			> F. 1 ack 101
			< P. 1:101 ack 2
			> . 2 ack 101 <sack 1:101>
			state FIN-WAIT-1 # RFC 9293 §3.10.7.4: what is not acceptable is dropped, its ACK too
			< . 101 ack 2
			state FIN-WAIT-2`},
		{"RFC 9293 §3.10.5: ABORT sends RST with the next number", Config{}, opened + `
			write 10
			> P. 1:11 ack 1
			abort
			> R. 11 ack 1
			err connection-aborted`},
		{"RFC 5961 §3.2: but one that the peer accepts, had it shrunk its window", Config{}, opened + `
			write 100
			> P. 1:101 ack 1
			< . 1 ack 1 win 0
			abort
			> R. 1 ack 1`},
		{"RFC 9293 §3.10.7.4: FIN in order behind a hole is taken when the hole is filled", Config{}, opened + `
			< FP. 101:201 ack 1
			> . 1 ack 1 <sack 101:201>
			state ESTABLISHED
			+1ms < . 1:101 ack 1
			> . 1 ack 202
			state CLOSE-WAIT
			read 200
			eof true`},
		{"RFC 9293 §3.10.7.4: data beyond the peer's FIN is ignored", Config{}, opened + `
			< F. 1 ack 1
			> . 1 ack 2
			< P. 2:102 ack 1
			buffered 0
			state CLOSE-WAIT`},
		{"RFC 9293 §3.8.1: the FIN is retransmitted", Config{NoTLP: true}, opened + `
			shut
			> F. 1 ack 1
			rto 210ms
			+210ms > F. 1 ack 1
			+420ms > F. 1 ack 1
			+1ms < . 1 ack 2
			state FIN-WAIT-2`},
		{"FIN and data are retransmitted together", Config{NoTLP: true}, opened + `
			write 10
			> P. 1:11 ack 1
			shut
			> F. 11 ack 1
			+10ms < . 1 ack 11
			state FIN-WAIT-1
			+210ms > F. 11 ack 1
			+1ms < . 1 ack 12
			state FIN-WAIT-2`},
		{"RFC 9293 §3.9.1.5: the FIN of LAST-ACK gives up after its retries", Config{NoTLP: true, Retries: 1}, opened + `
			< F. 1 ack 1
			> . 1 ack 2
			close
			> F. 1 ack 2
			+210ms > F. 1 ack 2
			+420ms
			state CLOSED
			err connection-timed-out`},
	})
}
