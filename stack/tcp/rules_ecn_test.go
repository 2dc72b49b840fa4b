package tcp

import "testing"

func TestECN(t *testing.T) {
	on := Config{ECN: true, NoDelay: true}
	stories(t, []story{
		{"RFC 3168 §6.1.1: an ECN-setup SYN and SYN-ACK; then data is ECT, SYN and ACKs are not", on, ecnOpened + `
			write 100
			> P. 1:101 ack 1 ect
			< P. 1:11 ack 101
			> . 101 ack 11`},
		{"RFC 3168 §6.1.1: the peer does not know it", on, `
			open
			> SEW 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+10ms < S. 0 ack 1 <mss 1000>
			> . 1 ack 1
			write 100
			> P. 1:101 ack 1`},
		{"RFC 3168 §6.1.1: nor one that only reflects the bits", on, `
			open
			> SEW 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+10ms < SEW. 0 ack 1 <mss 1000>
			> . 1 ack 1
			write 100
			> P. 1:101 ack 1`},
		{"RFC 3168 §6.1.1: we are asked", on, `
			listen
			< SEW 0 <mss 1000>
			> SE. 0 ack 1 <mss 1460>
			+10ms < . 1 ack 1
			write 100
			> P. 1:101 ack 1 ect`},
		{"RFC 3168 §6.1.1: we are not", on, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>
			+10ms < . 1 ack 1
			write 100
			> P. 1:101 ack 1`},
		{"RFC 3168 §6.1.1: we are asked and do not know it", Config{}, `
			listen
			< SEW 0 <mss 1000>
			> S. 0 ack 1 <mss 1460>`},
		{"RFC 3168 §6.1.1.1: a SYN without an answer is tried without", on, `
			open
			> SEW 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1s > SEW 0 <mss 1460,sackOK,ts 2000 ecr 0,wscale 7>
			+2s > S 0 <mss 1460,sackOK,ts 4000 ecr 0,wscale 7>`},
		{"RFC 3168 §6.1.3: a mark is echoed in every ACK until CWR comes", Config{ECN: true, QuickACKs: -1}, ecnOpened + `
			< . 1:1001 ack 1 ce
			> E. 1 ack 1001
			< . 1001:3001/1000 ack 1
			> E. 1 ack 3001
			< W. 3001:4001 ack 1
			+1ms < . 4001:5001 ack 1
			> . 1 ack 5001`},
		{"RFC 3168 §6.1.3: CWR that is itself marked", Config{ECN: true, QuickACKs: -1}, ecnOpened + `
			< . 1:1001 ack 1 ce
			> E. 1 ack 1001
			< W. 1001:2001 ack 1 ce
			> E. 1 ack 2001`},
		{"RFC 3168 §6.1.2: one reaction a window, and CWR on the next new data", on, ecnOpened + `
			write 20000
			> . 1:10001/1000 ack 1 ect
			+10ms < E. 1 ack 1001
			> W. 10001:11001 ack 1 ect
			ssthresh 7000
			< E. 1 ack 2001 # the window comes down by three in ten
			< E. 1 ack 3001
			> . 11001:12001 ack 1 ect
			< E. 1 ack 4001
			< E. 1 ack 5001
			< E. 1 ack 6001 # what is under way has come down to ssthresh
			> . 12001:13001 ack 1 ect
			< E. 1 ack 7001
			> . 13001:14001 ack 1 ect
			< E. 1 ack 8001
			> . 14001:15001 ack 1 ect
			< E. 1 ack 9001
			> . 15001:16001 ack 1 ect
			< . 1 ack 10001
			> . 16001:17001 ack 1 ect
			ssthresh 7000
			cwnd 7000
			+10ms < E. 1 ack 11001
			> W. 17001:18001 ack 1 ect
			ssthresh 4900`},
		{"RFC 3168 §6.1.5: retransmissions are not ECT; §6.1.2: CWR after a loss too", on, ecnOpened + `
			write 20000
			> . 1:10001/1000 ack 1 ect
			+10ms < . 1 ack 1 <sack 1001:4001>
			> . 1:1001 ack 1
			+1ms < . 1 ack 1 <sack 1001:5001>
			> W. 10001:11001 ack 1 ect
			< . 1 ack 1 <sack 1001:6001>
			> . 11001:12001 ack 1 ect`},
		{"RFC 3168 §6.1.2: CWR after a timeout too", Config{ECN: true, NoTLP: true}, ecnOpened + `
			write 1000
			> P. 1:1001 ack 1 ect
			+210ms > P. 1:1001 ack 1
			+10ms < . 1 ack 1001
			write 1000
			> WP. 1001:2001 ack 1 ect`},
		{"RFC 3168 §6.1.6: window probes are not ECT", on, ecnOpened + `
			< . 1 ack 1 win 0
			write 10
			+210ms > . 0 ack 1`},
		{"ECE without ECN means nothing", Config{}, opened + `
			write 10000
			> P. 1:10001/1000 ack 1
			+10ms < E. 1 ack 1001
			ssthresh 1073741824`},
	})
}

const ecnOpened = `
	open
	> SEW 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
	+10ms < SE. 0 ack 1 <mss 1000,sackOK>
	> . 1 ack 1`
