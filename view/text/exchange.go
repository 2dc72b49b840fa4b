package text

import (
	"fmt"
	"net/netip"
	"strings"

	"peel/evidence/explain"
	"peel/trace"
)

// exchange tells one exchange: the answer, the waterfall, the layers.
func (s *writer) exchange(x *trace.Exchange) {
	head := fmt.Sprintf("%s %s", clean(x.Method), clean(x.URL))
	if x.Method == "" && x.URL == "" {
		head = "(no request was captured)"
	}
	s.line("%s", s.bold(clip(head, s.o.Width)))
	answer := s.status(x)
	if x.Response != nil {
		answer += "  " + string(x.Protocol)
		answer += "  " + bodyText(x.Response)
	}
	if x.Timings.Total != nil {
		answer += "  in " + duration(x.Timings.Total.Duration)
	}
	s.line("%s", answer)
	s.verdict(x)
	s.line("")
	s.waterfall(x)
	c := s.t.Connection(x.Connection)
	if c == nil {
		c = s.attempted(x)
	}
	s.url(x)
	if x.Pool != "" {
		s.row("pool", clean(x.Pool))
	}
	s.dns(x)
	s.tcp(c, x)
	if p := x.Proxy; p != nil {
		s.row("proxy", clean(fmt.Sprintf("through the proxy %s, asked by %s for %s", p.Address, p.Protocol, p.Target)))
	}
	s.tls(c, x)
	s.http(x, c)
	s.largest(x)
}

// attempted finds a connection that was tried for an exchange that got none.
func (s *writer) attempted(x *trace.Exchange) *trace.Connection {
	for _, e := range s.t.Events {
		if e.Exchange == x.ID && e.Name == trace.EventConnectStart {
			if c := s.t.Connection(e.Connection); c != nil {
				return c
			}
		}
	}
	return nil
}

func bodyText(r *trace.Response) string {
	b := r.Body
	s := bytesText(b.WireSize)
	if b.DecodedSize >= 0 && b.DecodedSize != b.WireSize {
		s = fmt.Sprintf("%s (%s %s)", bytesText(b.DecodedSize), bytesText(b.WireSize), clean(b.Encoding))
	}
	if !b.Complete {
		s += ", incomplete"
	}
	if b.Missing > 0 {
		s += fmt.Sprintf(", of which %s were not captured", bytesText(b.Missing))
	}
	return s
}

// phase is one bar of the waterfall.
type phase struct {
	name       string
	start, end trace.Time
	from, to   int
}

// phases splits HAR's timings into stretches that do not overlap: connect
// without the TLS handshake that it contains.
func phases(x *trace.Exchange) []phase {
	t := x.Timings
	var out []phase
	add := func(name string, i *trace.Interval) {
		if i != nil {
			out = append(out, phase{name, i.Start, i.End, i.FromEvent, i.ToEvent})
		}
	}
	add("blocked", t.Blocked)
	add("dns", t.DNS)
	if c := t.Connect; c != nil {
		tcp := t.TCP
		if tcp == nil {
			whole := *c
			if tcp = &whole; t.SSL != nil {
				tcp.End, tcp.ToEvent = t.SSL.Start, t.SSL.FromEvent
			}
		}
		add("client", between(c.Start, c.FromEvent, tcp.Start, tcp.FromEvent))
		add("tcp", tcp)
		next := t.SSL
		if next == nil {
			next = t.Send
		}
		if next != nil {
			name := "client"
			if x.Proxy != nil {
				name = "proxy" // which was asked meanwhile
			}
			add(name, between(tcp.End, tcp.ToEvent, next.Start, next.FromEvent))
		}
	}
	add("tls", t.SSL)
	if t.SSL != nil && t.Send != nil {
		add("client", between(t.SSL.End, t.SSL.ToEvent, t.Send.Start, t.Send.FromEvent))
	}
	add("send", t.Send)
	add("wait", t.Wait)
	add("receive", t.Receive)
	return out
}

// between is the stretch between two phases, which the client took for itself;
// nil where there is none.
func between(start trace.Time, from int, end trace.Time, to int) *trace.Interval {
	if end <= start {
		return nil
	}
	return &trace.Interval{Start: start, End: end, Duration: trace.Elapsed(start, end), FromEvent: from, ToEvent: to}
}

// tiny is what is not worth a bar: less than a five-hundredth of the whole.
func tiny(p phase, total trace.Duration) bool {
	return trace.Elapsed(p.start, p.end) < total/500 && (p.name == "blocked" || p.name == "client" || p.name == "send" || p.name == "receive")
}

func (s *writer) waterfall(x *trace.Exchange) {
	total := x.Timings.Total
	if total == nil || total.Duration <= 0 {
		return
	}
	width := s.o.Width - 9 - 11
	for _, p := range phases(x) {
		if tiny(p, total.Duration) {
			continue
		}
		bar := s.bar(p.start-total.Start, p.end-total.Start, trace.Time(total.Duration), width)
		if outside(p, total) {
			bar = s.warn("not within the request's time: the clock stepped")
		}
		s.line("%s%9s  %s", s.dim(fmt.Sprintf("%-9s", p.name)), duration(trace.Elapsed(p.start, p.end)), bar)
	}
	s.line("")
}

// outside tells whether a phase begins before the request or behind its end, as
// a clock that was set makes it seem. A lookup can have been begun for another
// request, and a request can go on when its response has ended.
func outside(p phase, total *trace.Interval) bool {
	return p.start < total.Start && p.name != "dns" || p.start > total.End
}

func (s *writer) url(x *trace.Exchange) {
	if len(x.Normalised) > 0 {
		s.row("url", clean(strings.Join(x.Normalised, "; ")))
	}
	switch {
	case x.Cause == trace.CausePush:
		s.row("pushed", pushedText(x))
	case x.Predecessor != 0:
		s.row("after", fmt.Sprintf("exchange %d (%s)", x.Predecessor, clean(string(x.Cause))))
	}
}

// pushedText says that nobody asked for an exchange.
func pushedText(x *trace.Exchange) string {
	text := "by the server, on its own account"
	if x.Predecessor != 0 {
		text += fmt.Sprintf(", with exchange %d", x.Predecessor)
	}
	return text
}

func (s *writer) dns(x *trace.Exchange) {
	l := s.t.Lookup(x.Lookup)
	if l == nil {
		return
	}
	for _, st := range l.Steps {
		if st.Outcome == trace.StepSkipped {
			continue
		}
		s.row("dns", clean(st.Text))
	}
	if len(l.Addresses) > 1 || len(l.Steps) > 1 {
		var parts []string
		for _, a := range l.Addresses {
			p := a.IP.String()
			if a.TTL >= 0 {
				p += fmt.Sprintf(" (TTL %d s)", a.TTL)
			}
			parts = append(parts, p)
		}
		if len(parts) > 0 {
			s.row("dns", "tried in this order: "+clip(clean(strings.Join(parts, ", ")), 4*s.o.Width))
		}
	}
}

func (s *writer) tcp(c *trace.Connection, x *trace.Exchange) {
	if c == nil {
		return
	}
	// Happy Eyeballs: the attempts that did not win.
	for _, e := range s.t.Events {
		if e.Exchange != x.ID || e.Name != trace.EventConnectStart {
			continue
		}
		if o := s.t.Connection(e.Connection); o != nil && o != c && len(o.Attempts) > 0 {
			s.row("tcp", clean(loser(o)))
		}
	}
	text := ""
	switch {
	case c.Connected != nil:
		text = fmt.Sprintf("#%d %s → %s", c.ID, addr(c.LocalAddr), addr(c.RemoteAddr))
		if x.Reused {
			text += ", open before"
		}
	case len(c.Attempts) > 0:
		a := c.Attempts[0]
		text = fmt.Sprintf("#%d %s: %s after %s", c.ID, addr(a.Address), a.Outcome, duration(trace.Elapsed(a.Start, a.End)))
	default:
		text = fmt.Sprintf("#%d %s", c.ID, addr(c.RemoteAddr))
	}
	if t := c.TCP; t != nil && c.Segments == nil {
		text += fmt.Sprintf(", RTT %s, MSS %d", duration(t.RTT), t.SendMSS)
		if t.Retransmits > 0 {
			text += fmt.Sprintf(", %s retransmitted", plural(int(t.Retransmits), "segment"))
		}
		if t.Source == trace.FromKernel {
			text += " (kernel TCP_INFO; packets not observed)"
		}
	}
	s.row("tcp", clean(text))
	s.segments(c)
}

// loser is a connection that was opened for a request which another one
// served.
func loser(c *trace.Connection) string {
	a := c.Attempts[0]
	text := fmt.Sprintf("%s %s after %s", addr(a.Address), a.Outcome, duration(trace.Elapsed(a.Start, a.End)))
	switch {
	case len(c.Exchanges) > 0:
		return fmt.Sprintf("#%d %s: it served %s", c.ID, text, numbered("request", c.Exchanges))
	case a.Outcome == trace.AttemptConnected:
		return fmt.Sprintf("#%d %s: a spare connection, unused", c.ID, text)
	case a.Error != "" && a.Outcome != trace.AttemptCancelled:
		return text + ": " + a.Error
	}
	return text
}

// segments tells what the packets of a connection show.
func (s *writer) segments(c *trace.Connection) {
	g := c.Segments
	if g == nil {
		return
	}
	var parts []string
	if g.HandshakeRTT > 0 {
		parts = append(parts, "handshake in "+duration(g.HandshakeRTT))
	}
	answered := g.Server.WindowScale >= 0 || g.Server.MSS > 0 || g.Server.ISN > 0
	switch {
	case g.Complete && answered:
		parts = append(parts, fmt.Sprintf("ISN %d and %d", g.Client.ISN, g.Server.ISN))
	case g.Complete:
		parts = append(parts, fmt.Sprintf("ISN %d, no SYN-ACK", g.Client.ISN))
	}
	if g.Client.MSS > 0 && g.Server.MSS > 0 {
		parts = append(parts, fmt.Sprintf("MSS %d and %d", g.Client.MSS, g.Server.MSS))
	}
	parts = append(parts, fmt.Sprintf("%s out, %d in", plural(g.Client.Segments, "segment"), g.Server.Segments))
	if g.Server.Segments > 0 {
		parts = append(parts, fmt.Sprintf("TTL %d and %d", g.Client.TTL, g.Server.TTL))
	}
	if g.Client.MAC != "" && g.Server.MAC != "" && g.Client.MAC != "00:00:00:00:00:00" {
		parts = append(parts, g.Client.MAC+" → "+g.Server.MAC)
	}
	if g.Server.MinRTT > 0 {
		parts = append(parts, "RTT "+duration(max(g.Client.MinRTT, g.Server.MinRTT)))
	}
	for _, n := range []struct {
		n    int
		what string
	}{{g.Client.Retransmissions + g.Server.Retransmissions, "retransmission"},
		{g.Client.OutOfOrder + g.Server.OutOfOrder, "out-of-order segment"}, {g.Client.DuplicateACKs + g.Server.DuplicateACKs, "duplicate ACK"},
		{g.Client.ZeroWindows + g.Server.ZeroWindows, "zero window"}, {g.BadChecksums, "wrong checksum"}, {g.Conflicts, "conflicting segment"}} {
		if n.n > 0 {
			parts = append(parts, plural(n.n, n.what))
		}
	}
	if g.Missing > 0 {
		parts = append(parts, bytesText(g.Missing)+" not captured")
	}
	s.row("packets", clean(strings.Join(parts, ", ")))
}

func (s *writer) tls(c *trace.Connection, x *trace.Exchange) {
	if c == nil {
		return
	}
	s.tlsFacts("tls", c, c.TLS, x)
	s.tlsFacts("inside", c, c.Inside, x)
}

func (s *writer) tlsFacts(label string, c *trace.Connection, t *trace.TLS, x *trace.Exchange) {
	if t == nil {
		return
	}
	var parts []string
	for _, p := range []string{t.Version, t.Suite, t.Group} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if t.SNI != "" {
		parts = append(parts, "SNI "+t.SNI)
	}
	switch {
	case t.ALPN != "":
		parts = append(parts, "ALPN "+t.ALPN)
	case t.Version != "" && len(t.ALPNOffered) > 0:
		parts = append(parts, "no ALPN chosen")
	}
	if t.Resumed {
		parts = append(parts, "resumed")
	}
	if t.HelloRetry {
		parts = append(parts, "one more round trip (HelloRetryRequest)")
	}
	if len(parts) > 0 {
		s.row(label, clean(strings.Join(parts, ", ")))
	}
	if v := t.Verdict; v != nil && !(x.Reused && v.OK) {
		text := clean(v.Reason)
		if told := s.toldOf(c, x, v); told != "" {
			text = told
		}
		switch {
		case v.Code == trace.VerdictNotJudged:
		case v.Ignored:
			text = s.warn("not valid, ignored as asked: ") + text
		case !v.OK:
			text = s.bad("not valid: ") + text
		}
		s.row("cert", text)
	}
	for _, a := range t.Alerts {
		if !a.CloseNotify() {
			s.row("alert", clean(a.String()))
		}
	}
	if t.Undecryptable != "" {
		s.row("tls", s.warn("not decrypted: ")+clean(t.Undecryptable))
	}
}

// toldOf says where a verdict about a chain that is not valid is told in whole:
// in that of the exchange, or by a finding. It is empty where nothing tells it.
func (s *writer) toldOf(c *trace.Connection, x *trace.Exchange, v *trace.Verdict) string {
	fail := trace.Failure{Layer: trace.LayerTLS, Code: trace.FailCertificate(v.Code)}
	if v.OK {
		return ""
	}
	if x.Failure != nil && x.Failure.Code == fail.Code {
		return "as told above"
	}
	for _, f := range s.t.Findings {
		if f.Connection == c.ID && explain.Says(f, &fail) {
			return string(f.ID) + ", as told below"
		}
	}
	return ""
}

func (s *writer) http(x *trace.Exchange, c *trace.Connection) {
	if x.Response == nil && len(x.Request.Headers) == 0 {
		return
	}
	text := string(x.Protocol)
	if x.Stream != 0 {
		text += fmt.Sprintf(" stream %d", x.Stream)
	}
	text += fmt.Sprintf(", request head %s", bytesText(x.Request.HeadersSize))
	if x.Stream != 0 {
		text += fmt.Sprintf(" for %s", plural(len(x.Request.Headers), "field"))
	}
	if x.Request.Body.WireSize > 0 {
		text += fmt.Sprintf(", body %s", bytesText(x.Request.Body.WireSize))
	}
	if r := x.Response; r != nil {
		text += fmt.Sprintf("; response head %s, body %s", bytesText(r.HeadersSize), framing(r.Body))
		if len(r.Informational) > 0 {
			text += fmt.Sprintf(", before it %v", r.Informational)
		}
		if len(r.Trailers) > 0 {
			text += fmt.Sprintf(", %s", plural(len(r.Trailers), "trailer"))
		}
	}
	s.row("http", clean(text))
	if x.Response != nil {
		var parts []string
		for _, h := range x.Response.Headers {
			switch strings.ToLower(h.Name) {
			case "content-type", "server", "location", "cache-control", "content-encoding":
				parts = append(parts, h.Name+": "+h.Value)
			}
		}
		if len(parts) > 0 {
			s.row("", clip(clean(strings.Join(parts, " · ")), 2*s.o.Width))
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func framing(b trace.Body) string {
	switch b.Framing {
	case trace.FramingNone:
		return "none"
	case trace.FramingContentLength:
		return "by Content-Length"
	case trace.FramingChunked:
		return "in chunks"
	case trace.FramingClose:
		return "until the connection's end"
	case trace.FramingEndStream:
		return "in DATA frames"
	}
	return string(b.Framing)
}

// largest says in words where the time went.
func (s *writer) largest(x *trace.Exchange) {
	total := x.Timings.Total
	if total == nil || total.Duration <= 0 {
		return
	}
	var top phase
	stepped := false
	for _, p := range phases(x) {
		if trace.Elapsed(p.start, p.end) > trace.Elapsed(top.start, top.end) {
			top = p
		}
		stepped = stepped || outside(p, total)
	}
	if top.name == "" {
		return
	}
	d := trace.Elapsed(top.start, top.end)
	if stepped {
		// Nothing is said of a cause that was not seen: shares would be nonsense.
		s.row("time", fmt.Sprintf("the times do not fit together: %s took %s, and the whole %s; a clock that was set does that",
			phaseWords[top.name], duration(d), duration(total.Duration)))
		return
	}
	text := fmt.Sprintf("%d %% is %s", int(100*trace.Share(d, total.Duration)), phaseWords[top.name])
	if a, b := s.t.Event(top.from), s.t.Event(top.to); a != nil && b != nil {
		text += fmt.Sprintf(": %s, from %q (event %d) to %q (event %d)", duration(d), clip(clean(a.Text), 32), a.ID, clip(clean(b.Text), 32), b.ID)
	}
	s.row("time", text)
}

var phaseWords = map[string]string{
	"blocked": "waiting on this side", "dns": "the name lookup", "tcp": "opening the connection", "client": "the client's own time, in which it sent nothing", "proxy": "asking the proxy", "tls": "the TLS handshake",
	"send": "sending the request", "wait": "waiting for the server", "receive": "receiving the response",
}

// duration shows a length of time with three digits.
func duration(d trace.Duration) string { return d.String() }

// instant shows a time since the trace's start. What a clock that was set back
// puts before it has a minus sign.
func instant(t trace.Time) string {
	if t < 0 {
		return "−" + duration(trace.Elapsed(t, 0))
	}
	return duration(trace.Elapsed(0, t))
}

// three shows a number with three digits.
func three(v float64, unit string) string { return trace.Three(v) + " " + unit }

// addr shows an address, and nothing where it was not observed.
func addr(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return clean(a.String()) // a zone is whatever somebody called an interface
}

// bytesText shows a size.
func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n), "kMGTPE"
	for i := range units {
		if v /= 1000; v < 999.5 || i == len(units)-1 {
			return three(v, units[i:i+1]+"B")
		}
	}
	return ""
}
