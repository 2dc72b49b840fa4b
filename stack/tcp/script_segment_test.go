package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	wire "peel/wire/tcp"
)

// octet is the byte at a relative sequence number of one side's stream.
func octet(seq, side int) byte { return byte(seq*7 + seq>>8 + side*31) }

var flagLetters = "FSRP.UEW" // in the order of the bits

func flagsOf(v string) (f wire.Flags) {
	for _, r := range v {
		f |= 1 << strings.IndexRune(flagLetters, r)
	}
	return f
}

func lettersOf(f wire.Flags) string {
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
	flags          wire.Flags
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
			flags &^= wire.PSH // of the last only
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
func (s *script) bytes(h *Outgoing) int {
	if h.Flags.Has(wire.SYN) {
		return int(h.Window)
	}
	return int(h.Window) << s.c.opt.shiftIn
}

// SendSegment implements Output.
func (s *script) SendSegment(_ *Conn, h *Outgoing, a, b []byte) {
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
func optionText(h *Outgoing) string {
	b := make([]byte, wire.MinHeader+h.NOptions)
	b[12] = byte(len(b)/4) << 4
	copy(b[wire.MinHeader:], h.Options[:h.NOptions])
	o := wire.Segment(b).Options()
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
	if !l.nots && s.c.opt.ts && !strings.Contains(l.opts, "ts ") {
		l.opts = strings.Trim(fmt.Sprintf("ts %d ecr %d,%s", (s.now-scriptStart)/1e6+500, s.echo, l.opts), ",")
	}
	for from := l.from; ; {
		to := min(from+l.size, l.to)
		seg := s.encode(l, from, to)
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

// make returns the segment of a line.
func (s *script) make(line string) wire.Segment {
	l := s.segment(strings.Fields(line))
	return s.encode(l, l.from, l.to)
}

// encode makes the segment of a line that holds from up to to.
func (s *script) encode(l segmentLine, from, to int) wire.Segment {
	s.t.Helper()
	var h Outgoing
	for _, o := range strings.Split(l.opts, ",") {
		s.option(&h, strings.Fields(o))
	}
	h.Pad()
	b := make([]byte, wire.MinHeader+h.NOptions+to-from)
	binary.BigEndian.PutUint32(b[4:], scriptIRS+uint32(from))
	if l.flags.Has(wire.ACK) {
		binary.BigEndian.PutUint32(b[8:], scriptISS+uint32(l.ack))
	}
	flags, shift := l.flags, s.shift
	if to < l.to {
		flags &^= wire.PSH | wire.FIN
	}
	if flags.Has(wire.SYN) {
		shift = 0
	}
	binary.BigEndian.PutUint16(b[12:], uint16((wire.MinHeader+h.NOptions)/4)<<12|uint16(flags))
	binary.BigEndian.PutUint16(b[14:], uint16(min(s.window>>shift, 65535)))
	binary.BigEndian.PutUint16(b[18:], uint16(max(l.urg, 0)))
	copy(b[wire.MinHeader:], h.Options[:h.NOptions])
	for i := range b[wire.MinHeader+h.NOptions:] {
		b[wire.MinHeader+h.NOptions+i] = octet(from+i, 2)
	}
	seg, err := wire.Parse(b)
	if err != nil {
		s.fail("%v", err)
	}
	return seg
}

// option appends one of a line's options to a header.
func (s *script) option(h *Outgoing, f []string) {
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
		h.Option(wire.OptMSS, byte(n>>8), byte(n))
	case "sackOK":
		h.Option(wire.OptSACKPermitted)
	case "wscale":
		s.shift = uint8(s.number(f[1]))
		h.Option(wire.OptWindowScale, s.shift)
		s.shift = min(s.shift, 14)
	case "ts":
		h.Option(wire.OptTimestamps, u32(uint32(s.number(f[1])), uint32(s.number(f[3])))...)
	case "sack":
		var v []byte
		for _, k := range f[1:] {
			from, to, _ := strings.Cut(k, ":")
			v = append(v, u32(scriptISS+uint32(s.number(from)), scriptISS+uint32(s.number(to)))...)
		}
		h.Option(wire.OptSACK, v...)
	default:
		s.fail("what is option %q?", f[0])
	}
}
