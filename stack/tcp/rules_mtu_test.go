package tcp

import "testing"

// large is an open over 10 ms with segments of 1460 bytes.
const large = `
	open
	> S 0 win 65535 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
	+10ms < S. 0 ack 1 win 65535 <mss 1460,sackOK>
	> . 1 ack 1`

func TestPathMTU(t *testing.T) {
	cfg := Config{NoTLP: true}
	stories(t, []story{
		{"RFC 1191 §6.5, RFC 8201 §5.4: smaller segments at once, without a change of the window", cfg, large + `
			write 4380
			> P. 1:4381/1460 ack 1
			+1ms icmp mtu 1000 seq 1
			> . 1:961 ack 1
			> . 961:1461 ack 1
			> . 1461:2421 ack 1
			> . 2421:2921 ack 1
			> . 2921:3881 ack 1
			> P. 3881:4381 ack 1
			mss 960
			cwnd 14600
			saw tcp.mss
			unseen tcp.recovery.start
			+10ms < . 1 ack 4381
			ssthresh 1073741824`},
		{"RFC 5927 §7.2: a message that quotes what is not under way is ignored", cfg, large + `
			write 1460
			> P. 1:1461 ack 1
			icmp mtu 1000 seq 0
			icmp mtu 1000 seq 1462
			icmp mtu 1000 seq -100000
			mss 1460
			+10ms < . 1 ack 1461
			icmp mtu 1000 seq 1
			mss 1460`},
		{"RFC 8201 §4: never more than before", cfg, large + `
			write 1460
			> P. 1:1461 ack 1
			icmp mtu 1500 seq 1
			icmp mtu 9000 seq 1
			mss 1460`},
		{"RFC 5927 §7.2: and not next to nothing", cfg, large + `
			write 1460
			> P. 1:1461 ack 1
			icmp mtu 68 seq 1
			mss 1460`},
		{"RFC 1191 §6.5: what was SACKed stays", cfg, large + `
			write 4380
			> P. 1:4381/1460 ack 1
			+10ms < . 1 ack 1 <sack 1461:4381>
			+1ms icmp mtu 1400 seq 1
			> . 1:1361 ack 1
			> . 1361:1461 ack 1
			+10ms < . 1 ack 4381`},
		{"RFC 1191 §6.3: the old size is tried again after ten minutes, by one segment; what it says counts", cfg, large + `
			write 1460
			> P. 1:1461 ack 1
			icmp mtu 1000 seq 1
			> . 1:961 ack 1
			> P. 961:1461 ack 1
			+10ms < . 1 ack 1461
			@599s write 1460
			> . 1461:2421 ack 1
			> P. 2421:2921 ack 1
			+10ms < . 1 ack 2921
			@601s write 2420
			> . 2921:4381 ack 1
			> P. 4381:5341 ack 1
			saw tcp.mtu_probe
			mss 960
			+10ms < . 1 ack 5341
			mss 1460`},
		{"RFC 4821 §7.6.2: a lost probe is repaired with the smaller size", Config{}, large + `
			write 1460
			> P. 1:1461 ack 1
			icmp mtu 1000 seq 1
			> . 1:961 ack 1
			> P. 961:1461 ack 1
			+10ms < . 1 ack 1461
			@601s write 4340
			> . 1461:2921 ack 1
			> P. 2921:5801/960 ack 1
			+10ms < . 1 ack 1461 <sack 2921:5801>
			> . 1461:2421 ack 1
			> . 2421:2921 ack 1
			mss 960
			+10ms < . 1 ack 5801`},
		{"RFC 9293 §3.7.1: a probe is not larger than the peer's segments", cfg, opened + `
			write 1000
			> P. 1:1001 ack 1
			icmp mtu 900 seq 1
			> . 1:861 ack 1
			> P. 861:1001 ack 1
			+10ms < . 1 ack 1001
			@601s write 3000
			> . 1001:2001 ack 1
			> . 2001:2861 ack 1
			> . 2861:3721 ack 1
			> P. 3721:4001 ack 1`},
	})
}

func TestBlackHole(t *testing.T) {
	stories(t, []story{
		{"RFC 2923 §2.1, RFC 4821 §7.7: after three timeouts of a large segment, smaller ones", Config{NoTLP: true}, large + `
			write 2920
			> P. 1:2921/1460 ack 1
			+210ms > . 1:1461 ack 1
			+420ms > . 1:1461 ack 1
			mss 1460
			+840ms > . 1:1025 ack 1
			saw tcp.black_hole
			mss 1024
			+10ms < . 1 ack 1025
			> . 1025:1461 ack 1
			> . 1461:2485 ack 1
			> P. 2485:2921 ack 1`},
		{"Config.BlackHole", Config{NoTLP: true, BlackHole: 1}, large + `
			write 1460
			> P. 1:1461 ack 1
			+210ms > . 1:1025 ack 1`},
		{"Config.NoMTUProbing", Config{NoTLP: true, NoMTUProbing: true}, large + `
			write 1460
			> P. 1:1461 ack 1
			+210ms > P. 1:1461 ack 1
			+420ms > P. 1:1461 ack 1
			+840ms > P. 1:1461 ack 1
			+1680ms > P. 1:1461 ack 1`},
		{"small segments raise no suspicion", Config{NoTLP: true}, large + `
			write 100
			> P. 1:101 ack 1
			+210ms > P. 1:101 ack 1
			+420ms > P. 1:101 ack 1
			+840ms > P. 1:101 ack 1
			+1680ms > P. 1:101 ack 1
			unseen tcp.black_hole
			mss 1460`},
		{"it takes twice as much once large ones have got through", Config{NoTLP: true, BlackHole: 1}, large + `
			write 1460
			> P. 1:1461 ack 1
			+10ms < . 1 ack 1461
			write 1460
			> P. 1461:2921 ack 1
			+210ms > P. 1461:2921 ack 1
			+420ms > . 1461:2485 ack 1`},
		{"RFC 4821 §7.3: two seconds later the larger size is tried: an answer clears the path", Config{NoTLP: true, BlackHole: 1}, large + `
			write 1460
			> P. 1:1461 ack 1
			+210ms > . 1:1025 ack 1
			+10ms < . 1 ack 1025
			> P. 1025:1461 ack 1
			+10ms < . 1 ack 1461
			+2s write 3000
			> . 1461:2921 ack 1
			+10ms < . 1 ack 2921
			> . 2921:4381 ack 1
			> P. 4381:4461 ack 1
			mss 1460`},
	})
}
