package text

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"peel/trace"
)

// columns are the widths of a list's columns.
type columns struct{ id, method, url, bar int }

// Of the columns whose width is always the same, with the blanks between.
const fixedColumns = 1 + statusWidth + 1 + 1 + 1 + sizeWidth + 1 + sizeWidth + 1

const (
	statusWidth = 8 // "failed ✗"
	sizeWidth   = 8
	// longestMethod is where a method is cut off: the longest that are in use
	// have 10 (RFC 5323, RFC 4791).
	longestMethod = 12
	shortestURL   = 16
	shortestBar   = 6
)

func (s *writer) columns(list []*trace.Exchange) columns {
	c := columns{id: 3, method: 4}
	for _, x := range list {
		c.id = max(c.id, len(fmt.Sprint(x.ID)))
		c.method = max(c.method, min(utf8.RuneCountInString(clean(x.Method)), longestMethod))
	}
	left := s.o.Width - fixedColumns - c.id - c.method
	c.bar = min(max(s.o.Width/4, 16), left-shortestURL)
	if c.bar < shortestBar {
		c.bar = 0
	}
	c.url = max(left-c.bar, shortestURL)
	return c
}

// list shows several exchanges, a line each, on one time axis.
func (s *writer) list() {
	t := s.t
	var end trace.Time
	for _, x := range t.Exchanges {
		end = max(end, x.End)
	}
	most := 40
	if s.o.Offline {
		most = len(t.Exchanges)
	}
	shown := t.Exchanges[:min(len(t.Exchanges), most)]
	c, marks := s.columns(shown), marks(t)
	for _, x := range shown {
		s.listed(x, marks[x.ID], c, s.bar(x.Start, x.End, end, c.bar))
	}
	if n := len(t.Exchanges) - len(shown); n > 0 {
		s.line("    … %d more", n)
	}
}

// listed writes the line of one exchange.
func (s *writer) listed(x *trace.Exchange, mark trace.Severity, c columns, bar string) {
	status := "failed"
	if x.Response != nil {
		status = fmt.Sprint(x.Response.Status)
	} else if x.Failure == nil {
		status = "none"
	}
	colour := s.good
	switch {
	case x.Response == nil || x.Response.Status >= 400 || mark == trace.Error:
		colour = s.bad
	case x.Response.Status >= 300 || mark == trace.Warning:
		colour = s.warn
	}
	if sign := signs[mark]; sign != "" {
		status += " " + sign
	}
	total, size := "-", "-"
	if x.Timings.Total != nil {
		total = duration(x.Timings.Total.Duration)
	}
	if x.Response != nil {
		size = bytesText(x.Response.Body.WireSize)
	}
	line := fmt.Sprintf("%*d %s %-*s %-*s %*s %*s %s", c.id, x.ID, colour(fmt.Sprintf("%-*s", statusWidth, status)), c.method, clip(clean(x.Method), c.method),
		c.url, clip(clean(x.URL), c.url), sizeWidth, size, sizeWidth, total, bar)
	s.line("%s", strings.TrimRight(line, " "))
	if x.Cause == trace.CausePush {
		s.line("%*s %s", c.id+1+statusWidth, "", s.dim("pushed "+pushedText(x)))
	}
	if x.Proxy != nil {
		s.line("%*s %s", c.id+1+statusWidth, "", s.dim("through proxy "+addr(x.Proxy.Address)+" ("+clean(string(x.Proxy.Protocol))+")"))
	}
}

// signs mark what is wrong in a line, beside its colour.
var signs = map[trace.Severity]string{trace.Error: "✗", trace.Warning: "!"}

// marks are, by exchange, the worst of what is wrong with it: a failure, or
// findings about it alone.
func marks(t *trace.Trace) map[int]trace.Severity {
	out := map[int]trace.Severity{}
	worse := func(id int, s trace.Severity) {
		if s.Rank() > out[id].Rank() {
			out[id] = s
		}
	}
	for _, x := range t.Exchanges {
		if x.Failure != nil {
			worse(x.ID, trace.Error)
		}
	}
	for _, f := range t.Findings {
		if f.Exchange != 0 {
			worse(f.Exchange, f.Severity)
		} else if c := t.Connection(f.Connection); c != nil && len(c.Exchanges) == 1 {
			worse(c.Exchanges[0], f.Severity)
		}
	}
	return out
}

// Rows writes requests as they end, a line each with what is wrong below it,
// for a capture that goes on.
type Rows struct{ s *writer }

// NewRows returns one that writes to w.
func NewRows(w io.Writer, o Options) *Rows { return &Rows{newWriter(w, &trace.Trace{}, o)} }

// Write writes the requests of a part of a trace, and what is wrong with a
// connection or a lookup that ended.
func (r *Rows) Write(part *trace.Trace) error {
	s := r.s
	widths, marks := columns{id: 3, method: 7}, marks(part)
	widths.url = max(s.o.Width-fixedColumns-widths.id-widths.method, shortestURL)
	// What is said of a row stands below it, set in.
	var below strings.Builder
	o := s.o
	o.Width -= rowIndent
	about := newWriter(&below, part, o)
	for _, x := range part.Exchanges {
		s.listed(x, marks[x.ID], widths, "")
		about.verdict(x)
	}
	for _, c := range part.Connections {
		if quiet(c) {
			s.line("%*s %s", widths.id, "", quietLine(c))
		}
	}
	for _, f := range part.Findings {
		if !about.told[f] && f.Severity != trace.Info {
			about.finding(group{f, []int{f.Exchange}})
		}
	}
	for l := range strings.Lines(below.String()) {
		s.line("%*s%s", rowIndent, "", strings.TrimSuffix(l, "\n"))
	}
	return s.err
}

const rowIndent = 4
