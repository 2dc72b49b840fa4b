package main

import (
	"bufio"
	"time"

	"golang.org/x/term"

	"peel/evidence/analyze"
	"peel/trace"
	"peel/view/jsontrace"
	"peel/view/redact"
	"peel/view/text"
)

// packetLines writes a line for each packet, as it comes.
type packetLines struct {
	r     *read
	w     *bufio.Writer
	out   *text.Packets
	json  bool
	buf   []byte
	now   bool // each line at once: somebody watches
	err   error
	begin func() time.Time // of the capture, known when there is a packet
	start time.Time

	secrets redact.Stream
}

func (r *read) newPacketLines(begin func() time.Time) *packetLines {
	l := &packetLines{r: r, begin: begin, w: bufio.NewWriterSize(r.std.out, 1<<16), json: r.json != ""}
	o := terminal(r.std.out, r.color)
	o.Verbose = r.verbose
	o.PacketFields = analyze.PacketFields
	l.out = text.NewPackets(l.w, o)
	l.now = r.follow || r.files[0] == "-" && term.IsTerminal(int(r.std.out.Fd()))
	return l
}

func (l *packetLines) packet(p *trace.Packet) {
	if l.start.IsZero() {
		l.start = l.begin()
	}
	if l.err != nil || !l.r.filter.packet(l.start, p) {
		return
	}
	if l.r.mode() == redact.On {
		masked := *p
		if p = &masked; l.r.verbose > 1 {
			l.secrets.Packet(p)
		}
		p.Text = redact.Text(p.Text)
	}
	if l.json {
		fields := analyze.PacketFields(p)
		if l.r.verbose > 1 {
			p.Hex = jsontrace.HexOf(p)
		}
		l.buf = jsontrace.AppendPacket(l.buf[:0], l.start, p, fields)
		_, l.err = l.w.Write(l.buf)
	} else {
		l.err = l.out.Write(l.start, p)
	}
	if l.now && l.err == nil {
		l.err = l.w.Flush()
	}
}

func (l *packetLines) flush() error {
	if l.err == nil {
		l.err = l.w.Flush()
	}
	return l.err
}
