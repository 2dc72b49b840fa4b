package tcp

import "testing"

func TestBlindAttacks(t *testing.T) {
	stories(t, []story{
		{"RFC 5961 §3.2: RST with the exact number resets", Config{}, opened + `
			< R 1
			state CLOSED
			err connection-reset-by-peer`},
		{"RFC 5961 §3.2: RST elsewhere in the window is challenged; the true peer then resets", Config{}, opened + `
			< R 2
			> . 1 ack 1
			< R 65535
			> . 1 ack 1
			state ESTABLISHED
			< R 1
			state CLOSED`},
		{"RFC 5961 §3.2: RST out of the window is dropped", Config{}, opened + `
			< R 0
			< R 65536
			state ESTABLISHED`},
		{"RFC 5961 §4.2: SYN is challenged, whatever its number", Config{}, opened + `
			< S 1
			> . 1 ack 1
			< S 0
			> . 1 ack 1
			< S 1000000
			> . 1 ack 1
			state ESTABLISHED`},
		{"RFC 5961 §5.2: an ACK of the future, or from before the largest window, is challenged", Config{}, opened + `
			write 1000
			> P. 1:1001 ack 1
			< P. 1:11 ack 1002
			> . 1001 ack 1
			< P. 1:11 ack -70000
			> . 1001 ack 1
			buffered 0
			< P. 1:11 ack -65000
			> . 1001 ack 11
			buffered 10`},
		{"RFC 5961 §7: ten challenges a second", Config{}, opened + `
			< S 1
			> . 1
			< S 1
			> . 1
			< S 1
			> . 1
			< S 1
			> . 1
			< S 1
			> . 1
			< R 2
			> . 1
			< R 2
			> . 1
			< R 2
			> . 1
			< . 1 ack 2
			> . 1
			< . 1 ack 2
			> . 1
			< . 1 ack 2
			< R 2
			< S 1
			+999ms < S 1
			+1ms < S 1
			> . 1`},
		{"RFC 9293 §3.10.7.4: what lies before the window is acknowledged and dropped", Config{NoSACK: true}, `
			open
			> S 0 <mss 1460,ts 1000 ecr 0,wscale 7>
			< S. 0 ack 1
			> . 1 ack 1
			< P. -99:1 ack 1
			> . 1 ack 1
			buffered 0`},
		{"RFC 9293 §3.10.7.4: so is what lies behind it", Config{}, opened + `
			< P. 65536:65546 ack 1
			> . 1 ack 1
			< P. 65530:65540 ack 1
			> . 1 ack 1 <sack 65530:65536>`},
		{"RFC 9293 §3.10.7.4: a segment without ACK is dropped", Config{}, opened + `
			< P 1:11
			buffered 0`},
		{"two hosts that disagree do not acknowledge each other for ever", Config{}, opened + `
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1
			> . 1
			< . 70000 ack 1`},
		{"RFC 9293 §3.10.7.1: nothing comes out of CLOSED", Config{}, opened + `
			< R 1
			< P. 1:10 ack 1
			+1h`},
		{"RFC 9293 §3.4: at a window of zero only the exact number is acceptable", Config{ReceiveBuffer: 2000, FixedBuffers: true}, opened0 + `
			< . 1:1001 ack 1
			> . 1 ack 1001 win 1000
			< . 1001:2001 ack 1
			> . 1 ack 2001 win 0
			< . 2001:2002 ack 1
			> . 1 ack 2001 win 0
			< R 2002
			< R 2001
			err connection-reset-by-peer`},
	})
}

// opened0 is opened with a receive buffer of 2000.
const opened0 = `
	open
	> S 0 win 2000 <mss 1460,sackOK,ts 1000 ecr 0,wscale 0>
	+10ms < S. 0 ack 1 <mss 1000,sackOK>
	> . 1 ack 1 win 2000`
