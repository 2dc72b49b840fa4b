package tcp

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"peel/clock"
)

// A script is a story of one connection in virtual time, after packetdrill. A
// line is a time and what happens then:
//
//	+10ms < S. 0 ack 1 win 65535 <mss 1000,sackOK>   a segment arrives 10 ms later
//	> P. 1:501 ack 1                                 this one is sent, at that very instant
//	@2s > . 1:5001/1000                              five segments of 1000, 2 s from the start
//	write 500                                        the user's call
//	state ESTABLISHED                                what must hold
//
// Flags are S, F, R, P, U, E (ECE), W (CWR) and "." for ACK. Numbers are
// relative to the initial ones of the side they belong to; both are near 2³², so
// every story wraps. Windows are in bytes, whatever the scale. What is sent and
// is not in the script fails the test, and so does a nanosecond of difference.
// Options that are not named must not be there, timestamps excepted.
type script struct {
	t      *testing.T
	cfg    *Config
	c      *Conn
	now    clock.Time
	next   clock.Time
	sent   []sentSegment
	events []Event
	line   string
	window int    // the peer's, until a line changes it
	shift  uint8  // the peer's scale
	echo   uint32 // the latest timestamp of ours
	read   int
	wrote  int
	past   []string // what has happened, for failures
	loose  bool     // segments are not checked against the script
}

type sentSegment struct {
	at clock.Time
	h  Outgoing
	b  []byte
}

// scriptStart is the time of a script's beginning; timestamps are milliseconds
// of the clock, so they begin at 1000.
const (
	scriptStart = clock.Time(time.Second)
	scriptISS   = 0xfffffe00
	scriptIRS   = 0xffffff80
)

var scriptEnds = Ends{Local: netip.MustParseAddrPort("192.0.2.1:1000"), Remote: netip.MustParseAddrPort("192.0.2.2:80"), ISS: scriptISS, Link: 1480, Path: 1480}

func newScript(t *testing.T, cfg Config, e Ends) *script {
	t.Helper()
	s := &script{t: t, cfg: &cfg, now: scriptStart, next: clock.Never, window: 65535}
	cfg.Observe = func(_ *Conn, e Event) { s.events = append(s.events, e) }
	s.c = NewConn(s.cfg, s, e)
	return s
}

// play runs a script on a new connection.
func play(t *testing.T, cfg Config, text ...string) *script {
	t.Helper()
	s := newScript(t, cfg, scriptEnds)
	s.play(text...)
	return s
}

// opened is an active open over 10 ms with segments of 1000 bytes, with SACK.
const opened = `
	open
	> S 0 win 65535 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
	+10ms < S. 0 ack 1 win 65535 <mss 1000,sackOK>
	> . 1 ack 1`

// plain is the same without options.
const plain = `
	open
	> S 0 win 65535 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
	+10ms < S. 0 ack 1 win 65535 <mss 1000>
	> . 1 ack 1`

// stamped is the same with timestamps and SACK.
const stamped = `
	open
	> S 0 win 65535 <mss 1460,sackOK,ts 1000 ecr 0,wscale 7>
	+10ms < S. 0 ack 1 win 65535 <mss 1012,sackOK,ts 500 ecr 1000>
	> . 1 ack 1`

func (s *script) play(text ...string) {
	s.t.Helper()
	for _, line := range strings.Split(strings.Join(text, "\n"), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			s.line = line
			s.step(line)
		}
	}
	s.line = "the end"
	s.silent()
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\nat %v: %s\n%s", s.line, time.Duration(s.now-scriptStart), fmt.Sprintf(format, args...), strings.Join(s.past[max(0, len(s.past)-25):], "\n"))
}

func (s *script) log(format string, args ...any) {
	s.past = append(s.past, fmt.Sprintf("  %-10v ", time.Duration(s.now-scriptStart))+fmt.Sprintf(format, args...))
}

// silent fails when something was sent that nobody expected.
func (s *script) silent() {
	s.t.Helper()
	if len(s.sent) > 0 && !s.loose {
		s.fail("unexpected at %v: %s", time.Duration(s.sent[0].at-scriptStart), s.show(&s.sent[0]))
	}
}

func (s *script) step(line string) {
	s.t.Helper()
	at := s.now
	f := strings.Fields(line)
	switch line[0] {
	case '+', '@':
		d, err := time.ParseDuration(f[0][1:])
		if err != nil {
			s.fail("%v", err)
		}
		at = at.Add(d)
		if line[0] == '@' {
			at = scriptStart.Add(d)
		}
		f = f[1:]
	}
	s.advance(at)
	if len(f) == 0 {
		s.silent()
		return
	}
	if f[0] == ">" {
		s.expect(f[1:])
		return
	}
	s.silent()
	if !s.assert(f) {
		s.do(f)
		s.poll()
	}
}

// advance lets the connection's timers fire up to a time.
func (s *script) advance(to clock.Time) {
	for n := 0; s.next <= to; n++ {
		if n > 1e6 {
			s.fail("timers do not come to rest")
		}
		s.now = max(s.now, s.next)
		s.poll()
	}
	s.now = max(s.now, to)
}

func (s *script) poll() { s.next = s.c.Poll(s.now) }

// number parses one of a line's numbers.
func (s *script) number(v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		s.fail("%v", err)
	}
	return n
}

// do makes the user's calls and takes segments from the peer.
func (s *script) do(f []string) {
	s.t.Helper()
	c, arg, want := s.c, 0, -1
	if len(f) > 1 && f[0] != "<" && f[0] != "icmp" {
		arg = s.number(f[1])
		want = arg
		if len(f) > 3 {
			want = s.number(f[3]) // "= n"
		}
	}
	s.log("%s", strings.Join(f, " "))
	got := want
	switch f[0] {
	case "open":
		c.Open(s.now)
	case "listen":
		c.state = Listen
	case "write", "urgent":
		b := make([]byte, arg)
		for i := range b {
			b[i] = octet(s.wrote+i+1, 1)
		}
		if f[0] == "write" {
			got, _ = c.Write(s.now, b)
		} else {
			got, _ = c.WriteUrgent(s.now, b)
		}
		s.wrote += got
	case "read":
		b := make([]byte, arg)
		got = c.Read(s.now, b)
		for i := range b[:got] {
			if s.read++; b[i] != octet(s.read, 2) {
				s.fail("byte %d is wrong", s.read)
			}
		}
	case "shut":
		c.CloseWrite(s.now)
	case "close":
		c.Close(s.now)
	case "abort":
		c.Abort(s.now)
	case "icmp": // icmp mtu 1000 seq 1: what IP leaves is 20 less
		c.PathMTU(s.now, s.number(f[2])-20, scriptISS+uint32(s.number(f[4])), "ICMP")
	case "<":
		s.input(f[1:])
	default:
		s.fail("what is %q?", f[0])
	}
	if got != want {
		s.fail("%s: %d", f[0], got)
	}
}

// assert checks what the connection says of itself.
func (s *script) assert(f []string) bool {
	s.t.Helper()
	i := s.c.Info()
	var got string
	switch f[0] {
	case "state":
		got = s.c.State().String()
	case "err":
		if got = "none"; s.c.Err() != nil {
			got = strings.ReplaceAll(strings.TrimPrefix(s.c.Err().Error(), "tcp: "), " ", "-")
		}
	case "cwnd":
		got = fmt.Sprint(i.Cwnd)
	case "ssthresh":
		got = fmt.Sprint(i.Ssthresh)
	case "flight":
		got = fmt.Sprint(i.Flight)
	case "rto":
		got = i.RTO.String()
	case "srtt":
		got = i.SRTT.String()
	case "mss":
		got = fmt.Sprint(i.MSS)
	case "eof":
		got = fmt.Sprint(s.c.EOF())
	case "buffered":
		got = fmt.Sprint(s.c.Buffered())
	case "urgentmark":
		if n, ok := s.c.UrgentMark(); ok {
			got = fmt.Sprint(n)
		} else {
			got = "none"
		}
	case "saw", "unseen":
		n := slices.IndexFunc(s.events, func(e Event) bool { return e.Kind.String() == f[1] })
		if n < 0 == (f[0] == "saw") {
			s.fail("events: %v", s.events)
		}
		s.events = s.events[n+1:]
		return true
	default:
		return false
	}
	if got != f[1] {
		s.fail("%s is %s", f[0], got)
	}
	return true
}
