package tcp

import (
	"bytes"
	"encoding/binary"
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
	h  Header
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
			got, _ = c.Write(b, s.now)
		} else {
			got, _ = c.WriteUrgent(b, s.now)
		}
		s.wrote += got
	case "read":
		b := make([]byte, arg)
		got = c.Read(b, s.now)
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

// octet is the byte at a relative sequence number of one side's stream.
func octet(seq, side int) byte { return byte(seq*7 + seq>>8 + side*31) }

var flagLetters = "FSRP.UEW" // in the order of the bits

func flagsOf(v string) (f Flags) {
	for _, r := range v {
		f |= 1 << strings.IndexRune(flagLetters, r)
	}
	return f
}

func lettersOf(f Flags) string {
	v := ""
	for _, r := range "SFRPUEW." {
		if f&(1<<strings.IndexRune(flagLetters, r)) != 0 {
			v += string(r)
		}
	}
	return v
}

// segmentLine is a segment as a line has it.
type segmentLine struct {
	flags          Flags
	from, to, size int
	ack, win, urg  int // -1: not named
	ce, ect, nots  bool
	opts           string
	named          bool // opts is given
}

func (s *script) segment(f []string) segmentLine {
	s.t.Helper()
	l := segmentLine{flags: flagsOf(f[0]), ack: -1, win: -1, urg: -1}
	seq, size, cut := strings.Cut(f[1], "/")
	from, to, ok := strings.Cut(seq, ":")
	l.from = s.number(from)
	if l.to = l.from; ok {
		l.to = s.number(to)
	}
	if l.size = l.to - l.from; cut {
		l.size = s.number(size)
	}
	for i := 2; i < len(f); i++ {
		if strings.HasPrefix(f[i], "<") {
			l.opts, l.named = strings.Trim(strings.Join(f[i:], " "), "<>"), true
			break
		}
		switch f[i] {
		case "ce":
			l.ce = true
		case "ect":
			l.ect = true
		case "nots":
			l.nots = true
		case "ack", "win", "urg":
			*map[string]*int{"ack": &l.ack, "win": &l.win, "urg": &l.urg}[f[i]] = s.number(f[i+1])
			i++
		default:
			s.fail("what is %q?", f[i])
		}
	}
	return l
}

// expect takes the next segments that were sent and compares them.
func (s *script) expect(f []string) {
	s.t.Helper()
	l := s.segment(f)
	for from := l.from; ; {
		to := min(from+l.size, l.to)
		if len(s.sent) == 0 {
			s.fail("nothing was sent; next timer at %v; %+v", time.Duration(s.next-scriptStart), s.c.Info())
		}
		g := s.sent[0]
		s.sent = s.sent[1:]
		flags := l.flags
		if to < l.to {
			flags &^= PSH // of the last only
		}
		want := fmt.Sprintf("%s %d:%d", lettersOf(flags), from, to)
		got := fmt.Sprintf("%s %d:%d", lettersOf(g.h.Flags), int32(g.h.Seq-scriptISS), int32(g.h.Seq-scriptISS)+int32(len(g.b)))
		for _, n := range []struct {
			name      string
			want, got int
		}{{"ack", l.ack, int(int32(g.h.Ack - scriptIRS))}, {"win", l.win, s.bytes(&g.h)}, {"urg", l.urg, int(g.h.Urgent)}} {
			if n.want >= 0 {
				want += fmt.Sprintf(" %s %d", n.name, n.want)
				got += fmt.Sprintf(" %s %d", n.name, n.got)
			}
		}
		if l.ect != g.h.ECT {
			got += fmt.Sprintf(" (ect %v)", g.h.ECT)
		}
		opts := optionText(&g.h)
		switch {
		case !l.named && strings.HasPrefix(opts, "ts ") && !strings.Contains(opts, ","):
		case l.named && strings.HasPrefix(l.opts+",", "ts,") && strings.HasPrefix(opts, "ts "):
			_, rest, _ := strings.Cut(opts, ",")
			got += " <" + strings.Trim("ts,"+rest, ",") + ">"
			want += " <" + l.opts + ">"
		default:
			got += " <" + opts + ">"
			want += " <" + l.opts + ">"
		}
		if g.at != s.now {
			got += fmt.Sprintf(" at %v", time.Duration(g.at-scriptStart))
		}
		if got != want {
			s.fail("sent %s\nwant %s", got, want)
		}
		if from = to; from >= l.to {
			return
		}
	}
}

// bytes is the window that a header announces.
func (s *script) bytes(h *Header) int {
	if h.Flags.Has(SYN) {
		return int(h.Window)
	}
	return int(h.Window) << s.c.shiftIn
}

// SendSegment implements Output.
func (s *script) SendSegment(_ *Conn, h *Header, a, b []byte) {
	g := sentSegment{s.now, *h, append(bytes.Clone(a), b...)}
	s.log("> %s", s.show(&g))
	for i, o := range g.b {
		if n := int(int32(h.Seq-scriptISS)) + i; o != octet(n, 1) {
			s.fail("byte %d of the stream is wrong", n)
		}
	}
	if opts := optionText(h); strings.Contains(opts, "ts ") {
		_, v, _ := strings.Cut(opts, "ts ")
		v, _, _ = strings.Cut(v, " ")
		s.echo = uint32(s.number(v))
	}
	s.sent = append(s.sent, g)
}

func (s *script) show(g *sentSegment) string {
	n := int(int32(g.h.Seq - scriptISS))
	return fmt.Sprintf("%s %d:%d ack %d win %d <%s>", lettersOf(g.h.Flags), n, n+len(g.b), int32(g.h.Ack-scriptIRS), s.bytes(&g.h), optionText(&g.h))
}

// optionText writes a header's options as lines have them.
func optionText(h *Header) string {
	b := make([]byte, MinHeader+h.NOptions)
	b[12] = byte(len(b)/4) << 4
	copy(b[MinHeader:], h.Options[:h.NOptions])
	o := Segment(b).Options()
	var out []string
	if o.MSS != 0 {
		out = append(out, fmt.Sprint("mss ", o.MSS))
	}
	if o.SACKPermitted {
		out = append(out, "sackOK")
	}
	if o.Timestamps {
		out = append(out, fmt.Sprintf("ts %d ecr %d", o.TSVal, o.TSEcr))
	}
	if o.WindowScale >= 0 {
		out = append(out, fmt.Sprint("wscale ", o.WindowScale))
	}
	if o.NSACK > 0 {
		v := "sack"
		for _, k := range o.SACK[:o.NSACK] {
			v += fmt.Sprintf(" %d:%d", int32(k.From-scriptIRS), int32(k.To-scriptIRS))
		}
		out = append(out, v)
	}
	return strings.Join(out, ",")
}

// input makes the segments of a line and gives them to the connection.
func (s *script) input(f []string) {
	s.t.Helper()
	l := s.segment(f)
	if l.win >= 0 {
		s.window = l.win
	}
	if !l.nots && s.c.ts && !strings.Contains(l.opts, "ts ") {
		l.opts = strings.Trim(fmt.Sprintf("ts %d ecr %d,%s", (s.now-scriptStart)/1e6+500, s.echo, l.opts), ",")
	}
	var h Header
	for _, o := range strings.Split(l.opts, ",") {
		s.option(&h, strings.Fields(o), l.flags)
	}
	h.pad()
	for from := l.from; ; {
		to := min(from+l.size, l.to)
		b := make([]byte, MinHeader+h.NOptions+to-from)
		binary.BigEndian.PutUint32(b[4:], scriptIRS+uint32(from))
		if l.flags.Has(ACK) {
			binary.BigEndian.PutUint32(b[8:], scriptISS+uint32(l.ack))
		}
		flags := l.flags
		if to < l.to {
			flags &^= PSH | FIN
		}
		binary.BigEndian.PutUint16(b[12:], uint16((MinHeader+h.NOptions)/4)<<12|uint16(flags))
		shift := s.shift
		if flags.Has(SYN) {
			shift = 0
		}
		binary.BigEndian.PutUint16(b[14:], uint16(min(s.window>>shift, 65535)))
		binary.BigEndian.PutUint16(b[18:], uint16(max(l.urg, 0)))
		copy(b[MinHeader:], h.Options[:h.NOptions])
		for i := range b[MinHeader+h.NOptions:] {
			b[MinHeader+h.NOptions+i] = octet(from+i, 2)
		}
		seg, err := Parse(b)
		if err != nil {
			s.fail("%v", err)
		}
		if s.c.State() == Listen {
			s.c.Accept(s.now, seg)
		} else {
			s.c.Input(s.now, seg, l.ce)
		}
		if from = to; from >= l.to {
			return
		}
		s.poll()
	}
}

// option appends one of a line's options to a header.
func (s *script) option(h *Header, f []string, flags Flags) {
	if len(f) == 0 {
		return
	}
	u32 := func(v ...uint32) (b []byte) {
		for _, n := range v {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return b
	}
	switch f[0] {
	case "mss":
		n := s.number(f[1])
		appendOption(h, optMSS, byte(n>>8), byte(n))
	case "sackOK":
		appendOption(h, optSACKPermitted)
	case "wscale":
		s.shift = uint8(s.number(f[1]))
		appendOption(h, optWindowScale, s.shift)
		s.shift = min(s.shift, 14)
	case "ts":
		appendOption(h, optTimestamps, u32(uint32(s.number(f[1])), uint32(s.number(f[3])))...)
	case "sack":
		var v []byte
		for _, k := range f[1:] {
			from, to, _ := strings.Cut(k, ":")
			v = append(v, u32(scriptISS+uint32(s.number(from)), scriptISS+uint32(s.number(to)))...)
		}
		appendOption(h, optSACK, v...)
	default:
		s.fail("what is option %q?", f[0])
	}
}

func duration(n int) time.Duration { return time.Duration(n) }

func fmtLines(format string, args ...any) string { return fmt.Sprintf(format, args...) }
