package text

import (
	"fmt"
	"io"
	"strings"

	"peel/trace"
)

// Messages lists the events of a trace in their order, as Write does before the
// story when Verbose is set.
func Messages(w io.Writer, t *trace.Trace, o Options) error {
	s := newWriter(w, t, o)
	s.messages()
	return s.err
}

// messages lists each event of the trace in order.
func (s *writer) messages() {
	packets := s.t.Packets
	for _, e := range s.t.Events {
		for len(packets) > 0 && packets[0].Time <= e.Time {
			s.packet(packets[0])
			packets = packets[1:]
		}
		arrow := " "
		switch e.Direction {
		case trace.Out:
			arrow = "→"
		case trace.In:
			arrow = "←"
		}
		where := ""
		if e.Connection != 0 {
			where = fmt.Sprintf("#%d", e.Connection)
			if e.Stream != 0 {
				where += fmt.Sprintf("/%d", e.Stream)
			}
		}
		lead := fmt.Sprintf("%4d %10s  %-5s %s %-6s ", e.ID, instant(e.Time), e.Layer, arrow, where)
		for i, l := range fold(clean(e.Text), max(s.o.Width-len([]rune(lead)), 30)) {
			if i == 0 {
				s.line("%s%s", s.dim(lead), l)
			} else {
				s.line("%s%s", strings.Repeat(" ", len([]rune(lead))), l)
			}
		}
		if s.o.Verbose > 1 {
			s.fields(e)
		}
	}
	for _, p := range packets {
		s.packet(p)
	}
	s.line("")
}

// fields shows what a message is made of, where it stands and its bytes.
func (s *writer) fields(e *trace.Event) {
	for i, r := range e.Bytes {
		word := "bytes"
		if i > 0 {
			word = "carried by"
		}
		s.line("       %s", s.dim(fmt.Sprintf("%s %s of %s %s, from %d, %d bytes", word, spaceWords[r.Space], "connection", fmt.Sprintf("#%d %s", r.Connection, r.Direction), r.Offset, r.Length)))
	}
	if len(e.Packets) > 0 {
		s.line("       %s", s.dim("in "+numbered("packet", e.Packets)))
	}
	if s.o.Fields != nil {
		for _, f := range s.o.Fields(e) {
			s.field(f, 7)
		}
	}
	s.hex(e.Raw, e.RawLength)
}

var spaceWords = map[trace.Space]string{trace.SpaceStream: "the stream", trace.SpaceTLS: "the TLS plaintext", trace.SpaceInside: "the plaintext of TLS inside of TLS", trace.SpaceDatagram: "a datagram"}

func (s *writer) field(f trace.Field, indent int) {
	value := clean(f.Value)
	if f.Meaning != "" {
		value += " (" + clean(f.Meaning) + ")"
	}
	at := fmt.Sprintf("%5d+%-4d", f.Offset, f.Length)
	lead := strings.Repeat(" ", indent)
	s.line("%s%s %s = %s", s.dim(at), lead[min(len(lead), 5):], f.Name, clip(value, max(s.o.Width-indent-len(f.Name)-14, 24)))
	for _, c := range f.Children {
		s.field(c, indent+2)
	}
}

// maxHex bounds the bytes of one message that are dumped.
const maxHex = 512

func (s *writer) hex(raw []byte, length int) {
	b := raw[:min(len(raw), maxHex)]
	for i := 0; i < len(b); i += 16 {
		row := b[i:min(i+16, len(b))]
		var hex, text strings.Builder
		for j, c := range row {
			if j == 8 {
				hex.WriteByte(' ')
			}
			fmt.Fprintf(&hex, "%02x ", c)
			if c < 0x20 || c > 0x7e {
				c = '.'
			}
			text.WriteByte(c)
		}
		s.line("       %s", s.dim(fmt.Sprintf("%04x  %-49s %s", i, hex.String(), text.String())))
	}
	if n := length - len(b); n > 0 && len(b) > 0 {
		s.line("       %s", s.dim(fmt.Sprintf("… %d more bytes", n)))
	}
}
