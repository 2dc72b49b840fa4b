package tcp

import (
	"net/netip"
	"testing"
)

func TestMSS(t *testing.T) {
	stories(t, []story{
		{"RFC 9293 §3.7.1 MUST-15: 536 when the peer names none", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < S. 0 ack 1
			> . 1 ack 1
			mss 536`},
		{"RFC 9293 §3.7.1: not more than the peer takes", Config{}, opened + `
			mss 1000`},
		{"RFC 6691 §2: options come off it: timestamps", Config{}, stamped + `
			mss 1000`},
		{"RFC 6691 §2: and SACK blocks", Config{}, opened + `
			< P. 11:21 ack 1
			> . 1 ack 1 <sack 11:21>
			write 2000
			> . 1:989 ack 1 <sack 11:21>
			> . 989:1977 ack 1 <sack 11:21>
			> P. 1977:2001 ack 1 <sack 11:21>`},
		{"RFC 9293 §3.7.1: not more than the path takes, however much the peer does", Config{NoDelay: true}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < S. 0 ack 1 <mss 65495>
			> . 1 ack 1
			mss 1460
			write 3000
			> . 1:2921/1460 ack 1
			> P. 2921:3001 ack 1`},
		{"Config.MSS bounds what is announced, not what is sent", Config{MSS: 700}, `
			open
			> S 0 <mss 700,sackOK,ts 1000 ecr 0,wscale 7>
			+1ms < S. 0 ack 1 <mss 1460>
			> . 1 ack 1
			mss 1460`},
		{"a hostile MSS of 1 does not make segments of 1", Config{}, `
			listen
			< S 0 <mss 1>
			> S. 0 ack 1 <mss 1460>
			+1ms < . 1 ack 1
			mss 48`},
	})
	e := Ends{Local: netip.MustParseAddrPort("[2001:db8::1]:1000"), Remote: netip.MustParseAddrPort("[2001:db8::2]:80"), ISS: scriptISS, Link: 1460, Path: 1460}
	s := newScript(t, Config{}, e)
	s.play(` # RFC 9293 §3.7.1 MUST-15: 1220 over IPv6; RFC 8200: the MTU less 60
		open
		> S 0 <mss 1440,sackOK,ts 1000 ecr 0,wscale 7>
		+1ms < S. 0 ack 1
		> . 1 ack 1
		mss 1220`)
}

func TestWindowScale(t *testing.T) {
	stories(t, []story{
		{"RFC 7323 §2.2: the window of a SYN is not scaled; behind it, it is", Config{NoTimestamps: true}, `
			open
			> S 0 win 65535 <mss 1460,sackOK,wscale 7>
			+1ms < S. 0 ack 1 win 3000 <mss 1000,wscale 4>
			> . 1 ack 1 win 131072
			write 100000
			> . 1:3001/1000 ack 1
			+1ms < . 1 ack 3001 win 48000
			> . 3001:13001/1000 ack 1`},
		{"RFC 7323 §1.3: only when both ask: the peer does not", Config{NoTimestamps: true}, `
			open
			> S 0 win 65535 <mss 1460,sackOK,wscale 7>
			+1ms < S. 0 ack 1 win 3000 <mss 1000>
			> . 1 ack 1 win 65535`},
		{"RFC 7323 §2.2: a passive side does not send it unasked", Config{}, `
			listen
			< S 0 <mss 1000>
			> S. 0 ack 1 win 65535 <mss 1460>
			+1ms < . 1 ack 1`},
		{"RFC 7323 §2.3: a shift of more than 14 counts as 14", Config{NoTimestamps: true}, `
			open
			> S 0 win 65535 <mss 1460,sackOK,wscale 7>
			+1ms < S. 0 ack 1 win 3000 <mss 1000,wscale 15>
			> . 1 ack 1
			< . 1 ack 1 win 1048576
			write 100000
			> . 1:10001/1000 ack 1`},
		{"Config.NoWindowScale", Config{NoWindowScale: true}, `
			listen
			< S 0 <mss 1000,wscale 3>
			> S. 0 ack 1 win 65535 <mss 1460>
			+1ms < . 1 ack 1`},
		{"RFC 7323 §2.2: the least shift that tells the whole buffer", Config{ReceiveBuffer: 200000, NoTimestamps: true}, `
			open
			> S 0 win 65535 <mss 1460,sackOK,wscale 2>`},
	})
}

func TestTimestamps(t *testing.T) {
	stories(t, []story{
		{"RFC 7323 §3.2: in all segments once both agree, and echoed", Config{NoDelay: true}, stamped + `
			write 100
			> P. 1:101 ack 1 <ts 1010 ecr 500>
			+5ms < P. 1:11 ack 101 <ts 777 ecr 1010>
			> . 101 ack 11 <ts 1015 ecr 777>
			+5ms shut
			> F. 101 ack 11 <ts 1020 ecr 777>`},
		{"RFC 7323 §3.2: SHOULD drop a segment without; RST excepted", Config{}, stamped + `
			< P. 1:11 ack 1 nots
			buffered 0
			< R 1 nots
			state CLOSED`},
		{"RFC 7323 §3.2: a RST carries them too", Config{}, stamped + `
			abort
			> R. 1 ack 1 <ts 1010 ecr 500>`},
		{"RFC 7323 §5.3: PAWS drops what is older, and acknowledges", Config{}, stamped + `
			< P. 1:11 ack 1 <ts 600 ecr 1010>
			> . 1 ack 11 <ts 1010 ecr 600>
			< P. 11:21 ack 1 <ts 599 ecr 1010>
			> . 1 ack 11 <ts 1010 ecr 600>
			buffered 10
			< P. 11:21 ack 1 <ts 600 ecr 1010>
			> . 1 ack 21 <ts 1010 ecr 600>`},
		{"RFC 7323 §5.3: PAWS over the wrap of the peer's clock", Config{}, `
			open
			> S 0 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
			+10ms < S. 0 ack 1 <mss 1012,sackOK,ts 4294967290 ecr 1000>
			> . 1 ack 1 <ts 1010 ecr 4294967290>
			< P. 1:11 ack 1 <ts 5 ecr 1010>
			> . 1 ack 11 <ts 1010 ecr 5>
			< P. 11:21 ack 1 <ts 4294967295 ecr 1010>
			> . 1 ack 11 <ts 1010 ecr 5>
			buffered 10`},
		{"RFC 7323 §5.2: RST is not subject to PAWS", Config{}, stamped + `
			< R 1 <ts 3 ecr 1010>
			state CLOSED`},
		{"RFC 7323 §5.5: after 24 days of silence the stamp is too old to judge", Config{}, stamped + `
			+576h < P. 1:11 ack 1 <ts 3 ecr 1010>
			> . 1 ack 11
			buffered 10`},
		{"RFC 7323 §5.5: a day before, it is not", Config{}, stamped + `
			+552h < P. 1:11 ack 1 <ts 3 ecr 1010>
			> . 1 ack 1
			buffered 0`},
		{"RFC 7323 §4.3: what is echoed is that of the segment that the ACK answers: delayed ACKs echo the earlier", Config{QuickACKs: -1}, stamped + `
			< P. 1:11 ack 1 <ts 600 ecr 1010>
			+1ms < P. 11:21 ack 1 <ts 601 ecr 1010>
			+39ms > . 1 ack 21 <ts 1050 ecr 600>`},
		{"RFC 7323 §4.3: behind a hole the last that advanced is echoed; what fills it, then", Config{QuickACKs: -1}, stamped + `
			< P. 11:21 ack 1 <ts 601 ecr 1010>
			> . 1 ack 1 <ts 1010 ecr 500,sack 11:21>
			< P. 1:11 ack 1 <ts 602 ecr 1010>
			> . 1 ack 21 <ts 1010 ecr 602>`},
		{"RFC 7323 §3.2: only when both ask", Config{}, `
			listen
			< S 0 <mss 1000,ts 1 ecr 0>
			> S. 0 ack 1 <mss 1460,ts 1000 ecr 1>
			+1ms < . 1 ack 1 <ts 2 ecr 1000>`},
		{"Config.NoTimestamps", Config{NoTimestamps: true}, `
			listen
			< S 0 <mss 1000,ts 1 ecr 0>
			> S. 0 ack 1 <mss 1460>
			+1ms < . 1 ack 1`},
	})
}

func TestSACK(t *testing.T) {
	stories(t, []story{
		{"RFC 2018 §4: the latest block first, then the others by age; at most four", Config{}, opened + `
			< . 101:201 ack 1
			> . 1 ack 1 <sack 101:201>
			< . 301:401 ack 1
			> . 1 ack 1 <sack 301:401 101:201>
			< . 501:601 ack 1
			> . 1 ack 1 <sack 501:601 301:401 101:201>
			< . 701:801 ack 1
			> . 1 ack 1 <sack 701:801 501:601 301:401 101:201>
			< . 901:1001 ack 1
			> . 1 ack 1 <sack 901:1001 701:801 501:601 301:401>
			< . 201:301 ack 1
			> . 1 ack 1 <sack 101:401 901:1001 701:801 501:601>
			< . 1:101 ack 1
			> . 1 ack 401 <sack 901:1001 701:801 501:601>
			read 400
			< . 401:901 ack 1
			> . 1 ack 1001
			read 600`},
		{"RFC 2018 §3: three beside timestamps", Config{}, stamped + `
			< . 101:201 ack 1
			> . 1 ack 1 <ts,sack 101:201>
			< . 301:401 ack 1
			> . 1 ack 1 <ts,sack 301:401 101:201>
			< . 501:601 ack 1
			> . 1 ack 1 <ts,sack 501:601 301:401 101:201>
			< . 701:801 ack 1
			> . 1 ack 1 <ts,sack 701:801 501:601 301:401>`},
		{"RFC 2018 §2: only when permitted", Config{}, plain + `
			< . 101:201 ack 1
			> . 1 ack 1`},
		{"RFC 2883 §4.1.1: a full duplicate of what was taken is told first, and once", Config{NoDelay: true}, opened + `
			< . 1:101 ack 1
			> . 1 ack 101
			< . 1:101 ack 1
			> . 1 ack 101 <sack 1:101>
			write 10
			> P. 1:11 ack 101
			< . 201:301 ack 11
			> . 11 ack 101 <sack 201:301>`},
		{"RFC 2883 §4: told once too when data carries it", Config{NoDelay: true, QuickACKs: -1}, opened + `
			< . 1:101 ack 1
			write 10
			> P. 1:11 ack 101
			< . 201:301 ack 11
			> . 11 ack 101 <sack 201:301>
			< . 201:301 ack 11
			> . 11 ack 101 <sack 201:301 201:301>
			write 10
			> P. 11:21 ack 101 <sack 201:301>`},
		{"RFC 2883 §4.2.1: a partial duplicate", Config{}, opened + `
			< . 1:101 ack 1
			> . 1 ack 101
			< . 51:151 ack 1
			> . 1 ack 151 <sack 51:101>
			read 150`},
		{"RFC 2883 §4.1.2: of what waits out of order: the duplicate, and then the block that holds it", Config{}, opened + `
			< . 101:201 ack 1
			> . 1 ack 1 <sack 101:201>
			< . 151:301 ack 1
			> . 1 ack 1 <sack 151:201 101:301>`},
		{"RFC 2018 §8: blocks of what was never sent, or turned round, are ignored", Config{NoTLP: true}, opened + `
			write 2000
			> P. 1:2001/1000 ack 1
			< . 1 ack 1 <sack 2001:3001 1500:1200 -500:0>
			flight 2000
			+10ms < . 1 ack 1 <sack 1001:2001>
			flight 1000
			+2500us > . 1:1001 ack 1`},
	})
}

func TestUrgent(t *testing.T) {
	stories(t, []story{
		{"RFC 6093 §6: the pointer is behind the last urgent byte; data behind it has none", Config{NoDelay: true}, opened + `
			urgent 5
			> UP. 1:6 ack 1 urg 5
			write 5
			> P. 6:11 ack 1 urg 0`},
		{"RFC 9293 §3.8.5: all segments up to it say so", Config{}, opened + `
			urgent 2500
			> U. 1:1001 ack 1 urg 2500
			> U. 1001:2001 ack 1 urg 1500
			> UP. 2001:2501 ack 1 urg 500`},
		{"RFC 9293 §3.10.7.4: the user learns where it ends", Config{}, opened + `
			urgentmark none
			< UP. 1:11 ack 1 urg 4
			> . 1 ack 11
			urgentmark 4
			read 3
			urgentmark 1
			read 1
			urgentmark none`},
		{"RFC 9293 §3.10.7.4: before the data itself has come; it only moves on", Config{}, opened + `
			< UP. 1:11 ack 1 urg 20
			> . 1 ack 11
			urgentmark 20
			< UP. 11:16 ack 1 urg 5
			> . 1 ack 16
			urgentmark 20
			< UP. 16:26 ack 1 urg 10
			> . 1 ack 26
			urgentmark 25`},
	})
}
