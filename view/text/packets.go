package text

import (
	"fmt"
	"io"
	"strings"
	"time"

	"peel/trace"
)

// Packets writes packets, a line each, and at Verbose 2 the trees of their
// fields and their bytes.
type Packets struct{ s *writer }

// NewPackets returns one that writes to w.
func NewPackets(w io.Writer, o Options) *Packets {
	return &Packets{newWriter(w, &trace.Trace{}, o)}
}

// Write writes a packet; start is what its time counts from.
func (p *Packets) Write(start time.Time, pk *trace.Packet) error {
	s := p.s
	at := start.Add(time.Duration(pk.Time))
	b := make([]byte, 0, 256)
	b = fmt.Appendf(b, "%6d ", pk.ID)
	b = at.AppendFormat(b, "15:04:05.000000")
	b = append(b, ' ')
	lead := string(b)
	line := clean(pk.Text)
	if len(pk.Notes) > 0 {
		line += s.warn("  [" + clean(strings.Join(pk.Notes, "; ")) + "]")
	}
	if pk.Connection != 0 {
		line += s.dim(fmt.Sprintf("  #%d", pk.Connection))
	}
	s.line("%s%s", s.dim(lead), line)
	for _, c := range pk.Comments {
		s.line("       %s", s.dim("comment: "+clean(c)))
	}
	if s.o.Verbose > 1 {
		s.packetTree(pk)
	}
	return s.err
}

// packet shows a packet among the messages.
func (s *writer) packet(p *trace.Packet) {
	arrow := " "
	switch p.Direction {
	case trace.Out:
		arrow = "→"
	case trace.In:
		arrow = "←"
	}
	where := ""
	if p.Connection != 0 {
		where = fmt.Sprintf("#%d", p.Connection)
	}
	text := p.Text
	if p.Connection != 0 && p.Direction != "" {
		text = text[min(p.Lead, len(text)):] // the arrow and the number say between whom
	}
	text = clean(text)
	if len(p.Notes) > 0 {
		text += " [" + clean(strings.Join(p.Notes, "; ")) + "]"
	}
	lead := fmt.Sprintf("%4s %10s  %-5s %s %-6s ", fmt.Sprintf("p%d", p.ID), instant(p.Time), "wire", arrow, where)
	for i, l := range fold(text, max(s.o.Width-len([]rune(lead)), 30)) {
		if i > 0 {
			lead = strings.Repeat(" ", len([]rune(lead)))
		}
		s.line("%s%s", s.dim(lead), s.dim(l))
	}
	if s.o.Verbose > 1 {
		s.packetTree(p)
	}
}

func (s *writer) packetTree(p *trace.Packet) {
	if s.o.PacketFields != nil {
		for _, f := range s.o.PacketFields(p) {
			s.field(f, 7)
		}
	}
	s.hex(p.Raw, len(p.Raw))
}

// numbered names things by their numbers, with runs joined: "packet 3",
// "requests 2, 5–9".
func numbered(word string, ids []int) string {
	if len(ids) != 1 {
		word += "s"
	}
	var parts []string
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d–%d", ids[i], ids[j]))
		} else {
			parts = append(parts, fmt.Sprint(ids[i]))
		}
		i = j + 1
		if len(parts) == 8 && i < len(ids) {
			parts = append(parts, fmt.Sprintf("… %d more", len(ids)-i))
			break
		}
	}
	return word + " " + strings.Join(parts, ", ")
}

// account shows what each layer took on the wire.
func (s *writer) account() {
	a := s.t.Account
	if a == nil || a.Frames == 0 {
		return
	}
	type share struct {
		name string
		n    int64
	}
	shares := []share{{"content", a.Content}, {"http/dns", a.HTTP}, {"tls", a.TLS}, {"tcp/udp", a.Transport}, {"ip", a.Network}, {"link", a.Link}, {"sent again", a.Repeated}, {"copies", a.Copies}, {"other", a.Other}}
	if !s.o.Offline && s.o.Verbose == 0 {
		var parts []string
		for _, l := range shares {
			if l.n > 0 {
				parts = append(parts, fmt.Sprintf("%s %.1f %%", l.name, 100*trace.Share(l.n, a.Frames)))
			}
		}
		s.row("wire", fmt.Sprintf("%s, %s: %s", plural(a.Packets, "packet"), bytesText(a.Frames), strings.Join(parts, ", ")))
		return
	}
	s.line("")
	s.line("%s", s.dim(fmt.Sprintf("on the wire: %s, %s", plural(a.Packets, "packet"), bytesText(a.Frames))))
	width := max(s.o.Width-40, 10)
	for _, l := range shares {
		if l.n <= 0 {
			continue
		}
		share := trace.Share(l.n, a.Frames)
		s.line("%s %10s %6.2f %%  %s", s.dim(fmt.Sprintf("%-11s", l.name)), bytesText(l.n), 100*share, s.paint("36", strings.Repeat("━", cells(share, width))))
	}
}

// offline lists what a capture holds: its requests, and the connections on
// which none was seen, with the reason.
func (s *writer) offline() {
	t := s.t
	if len(t.Exchanges) > 0 {
		s.list()
	}
	silent := s.silent()
	if silent && len(t.Exchanges) == 0 && len(t.Lookups) > 0 {
		s.line("")
	}
	named := s.lookups()
	if len(t.Exchanges) == 0 && !silent && !named {
		s.line("%s", s.dim("no request was seen"))
	}
	s.unread()
	s.account()
}

// unread says what the capture holds that peel does not read.
func (s *writer) unread() {
	list := s.t.Unread
	if len(list) == 0 || s.t.Account == nil {
		return
	}
	const most = 12
	s.line("")
	for i, u := range list {
		if i == most {
			n := 0
			for _, u := range list[most:] {
				n += u.Packets
			}
			s.line("%s", s.dim(fmt.Sprintf("and %s of %d kinds more", plural(n, "packet"), len(list)-most)))
			break
		}
		verb := "are"
		if u.Packets == 1 {
			verb = "is"
		}
		text := fmt.Sprintf("%d of %s %s %s, which peel does not read", u.Packets, plural(s.t.Account.Packets, "packet"), verb, clean(u.Protocol))
		if u.Packets > 1 {
			text += fmt.Sprintf(" (the first: packet %d)", u.First)
		} else {
			text += fmt.Sprintf(" (packet %d)", u.First)
		}
		s.line("%s", s.dim(text))
	}
}

// silent lists the connections on which no request was seen.
func (s *writer) silent() bool {
	t := s.t
	first := true
	for _, c := range t.Connections {
		if !quiet(c) {
			continue
		}
		if first {
			if len(t.Exchanges) > 0 {
				s.line("")
			}
			s.line("%s", s.dim("connections without a request that could be read:"))
			first = false
		}
		s.line("  %s", quietLine(c))
	}
	return !first
}

// quiet tells a connection on which no request was seen.
func quiet(c *trace.Connection) bool {
	return (c.Network == "tcp" || c.Protocol.BySight()) && len(c.Exchanges) == 0 && c.Protocol != trace.ProtocolDNS
}

func quietLine(c *trace.Connection) string {
	return fmt.Sprintf("#%d %s → %s  %s", c.ID, addr(c.LocalAddr), addr(c.RemoteAddr), clean(silence(c)))
}

// silence says why no request was seen on a connection.
func silence(c *trace.Connection) string {
	var parts []string
	if c.Protocol.BySight() {
		return fmt.Sprintf("%s, which peel names and does not read", c.Protocol)
	}
	if c.TLS != nil {
		v := c.TLS.Version
		if v == "" {
			v = "TLS"
		}
		if c.TLS.SNI != "" {
			v += " " + c.TLS.SNI
		}
		if c.TLS.ALPN != "" {
			v += ", ALPN " + c.TLS.ALPN
		}
		if c.Protocol.StartsClear() {
			v = string(c.Protocol) + ", then " + v
		}
		parts = append(parts, v)
		if c.TLS.Undecryptable != "" {
			parts = append(parts, "not decrypted: "+c.TLS.Undecryptable)
		}
		for _, a := range c.TLS.Alerts {
			if !a.CloseNotify() && !failedTLS(c) {
				parts = append(parts, "alert "+a.String())
			}
		}
	} else if c.Protocol != "" {
		parts = append(parts, string(c.Protocol))
	}
	switch g := c.Segments; {
	case g == nil || c.Failure != nil && c.Connected == nil && c.BytesIn+c.BytesOut == 0: // the failure tells
	case g.OneWay && g.Server.Segments == 0:
		parts = append(parts, "only the client's packets were captured")
	case g.OneWay:
		parts = append(parts, "only the server's packets were captured")
	case g.Server.Segments == 0:
		parts = append(parts, fmt.Sprintf("no answer to %s in the capture", plural(g.Client.Segments, "segment")))
	case c.ClosedBy == trace.ByReset && c.Connected == nil && c.ResetBy == trace.ByClient && g.Server.SYNs > 0 && c.BytesIn+c.BytesOut == 0:
		parts = append(parts, "the server accepted (SYN-ACK), and the client reset it instead of going on, as a port scan does")
	case c.ClosedBy == trace.ByReset && failedTLS(c): // the failure says so
	case c.ClosedBy == trace.ByReset && c.ResetBy != "":
		parts = append(parts, "reset by the "+string(c.ResetBy))
	case c.ClosedBy == trace.ByReset:
		parts = append(parts, "reset")
	}
	if c.Failure != nil {
		parts = append(parts, c.Failure.Seen)
	}
	parts = append(parts, fmt.Sprintf("%s out, %s in", bytesText(c.BytesOut), bytesText(c.BytesIn)))
	return strings.Join(parts, ", ")
}

// failedTLS tells whether a connection's failure says how its TLS ended.
func failedTLS(c *trace.Connection) bool {
	return c.Failure != nil && c.Failure.Layer == trace.LayerTLS
}
