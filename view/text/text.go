// Package text tells a trace as a story in a terminal: the answer, where the
// time went, a line or two for each layer, what is wrong; and on request each
// message, each field, each byte.
package text

import (
	"fmt"
	"io"
	"strings"

	"peel/trace"
)

// Options say how the story is told. The zero value is plain text of 80
// columns.
type Options struct {
	Color bool
	// Width is the columns of the terminal; 0 means 80.
	Width int
	// Verbose: 1 lists each message, 2 every field with its bytes too.
	Verbose int
	// Fields gives the fields of an event's message for Verbose 2.
	Fields func(*trace.Event) []trace.Field
	// PacketFields gives those of a packet.
	PacketFields func(*trace.Packet) []trace.Field
	// Offline is for captures that peel did not make: whose connections are
	// of interest also when no request was seen on them, and which have no
	// last request that all was about.
	Offline bool
	// Blind says why no packets were observed; empty where they were.
	Blind string
	// Hints give for a hint the words that say how it is followed, appended
	// to the advice that it belongs to: only the program that shows a trace
	// knows its own flags.
	Hints map[trace.Hint]string
}

// writer collects the story; the first error of the output ends it.
type writer struct {
	w   io.Writer
	o   Options
	t   *trace.Trace
	err error
}

// Write tells the trace.
func Write(w io.Writer, t *trace.Trace, o Options) error {
	if o.Width == 0 {
		o.Width = 80
	}
	o.Width = min(max(o.Width, 60), 160)
	s := &writer{w: w, o: o, t: t}
	if o.Verbose > 0 {
		s.messages()
	}
	if o.Offline && len(t.Exchanges) != 1 {
		s.offline()
		s.findings()
		return s.err
	}
	switch n := len(t.Exchanges); {
	case n == 0:
		s.line("%s", s.dim("nothing was requested"))
	case n == 1:
		s.exchange(t.Exchanges[0])
	default:
		s.list()
		// The last one is what the others led to; a failed one is what one
		// looks for.
		last := t.Exchanges[n-1]
		for i := n - 1; i > 0 && last.Cause == trace.CausePush; i-- {
			last = t.Exchanges[i-1] // what was pushed, nobody asked for
		}
		for _, x := range t.Exchanges {
			if x.Failure != nil && last.Failure == nil && x.Cause == last.Cause {
				last = x
			}
		}
		s.line("")
		s.exchange(last)
	}
	if o.Offline {
		s.silent()
	}
	if o.Blind != "" {
		s.row("packets", "not observed: "+clean(o.Blind))
	}
	s.account()
	s.findings()
	return s.err
}

func (s *writer) line(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, strings.TrimRight(format, " ")+"\n", args...)
	}
}

// Colours carry no meaning that the text does not.
func (s *writer) paint(code, v string) string {
	if !s.o.Color || v == "" {
		return v
	}
	return "\x1b[" + code + "m" + v + "\x1b[0m"
}

func (s *writer) bold(v string) string { return s.paint("1", v) }
func (s *writer) dim(v string) string  { return s.paint("2", v) }
func (s *writer) good(v string) string { return s.paint("32", v) }
func (s *writer) bad(v string) string  { return s.paint("31", v) }
func (s *writer) warn(v string) string { return s.paint("33", v) }

// row writes a labelled line, folded to the width.
func (s *writer) row(label, text string) {
	const indent = 9
	for i, l := range fold(text, s.o.Width-indent) {
		if i > 0 {
			label = ""
		}
		s.line("%s%s", s.dim(fmt.Sprintf("%-*s", indent, label)), l)
	}
}

// status shows a response's status, or that there is none.
func (s *writer) status(x *trace.Exchange) string {
	switch {
	case x.Response == nil && x.Failure == nil:
		return s.warn("no response seen")
	case x.Response == nil:
		return s.bad("failed")
	case x.Response.Status >= 400:
		return s.bad(statusText(x.Response))
	case x.Response.Status >= 300:
		return s.warn(statusText(x.Response))
	}
	return s.good(statusText(x.Response))
}

func statusText(r *trace.Response) string {
	reason := r.Reason
	if reason == "" {
		reason = reasons[r.Status]
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, clean(reason)))
}

// reasons are the phrases of RFC 9110 §15, which HTTP/2 does not send.
var reasons = map[int]string{200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other",
	304: "Not Modified", 307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
	408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Content Too Large", 414: "URI Too Long", 415: "Unsupported Media Type", 421: "Misdirected Request", 429: "Too Many Requests",
	431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}

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
	barWidth := max(s.o.Width/4, 16)
	urlWidth := s.o.Width - barWidth - 36
	shown := t.Exchanges
	if len(shown) > most {
		shown = shown[:most]
	}
	for _, x := range shown {
		status := "failed"
		if x.Response != nil {
			status = fmt.Sprint(x.Response.Status)
		} else if x.Failure == nil {
			status = "none"
		}
		colour := s.good
		if x.Response == nil || x.Response.Status >= 400 {
			colour = s.bad
		} else if x.Response.Status >= 300 {
			colour = s.warn
		}
		total := "-"
		if x.Timings.Total != nil {
			total = duration(x.Timings.Total.Duration)
		}
		size := "-"
		if x.Response != nil {
			size = bytesText(x.Response.Body.WireSize)
		}
		s.line("%3d %s %-4s %-*s %8s %8s %s", x.ID, colour(fmt.Sprintf("%-6s", status)), clip(clean(x.Method), 4), urlWidth, clip(clean(x.URL), urlWidth), size, total,
			s.bar(x.Start, x.End, end, barWidth))
		if x.Cause == trace.CausePush {
			s.line("                %s", s.dim("pushed "+pushedText(x)))
		}
		if x.Proxy != nil {
			s.line("                %s", s.dim("through proxy "+addr(x.Proxy.Address)+" ("+clean(string(x.Proxy.Protocol))+")"))
		}
	}
	if n := len(t.Exchanges) - len(shown); n > 0 {
		s.line("    … %d more", n)
	}
}

// bar draws the stretch from a to b on an axis that ends at end.
func (s *writer) bar(a, b, end trace.Time, width int) string {
	if end <= 0 {
		return ""
	}
	// Captures span years, and their clocks step back: what lies outside of
	// the axis is drawn at its edge.
	share := func(t trace.Time) float64 { return max(0, min(float64(t)/float64(end), 1)) }
	cells := func(share float64) int { return int(share*float64(width) + 1e-9) }
	from := min(cells(share(a)), width-1)
	n := max(1, min(cells(share(b)-share(a)), width-from))
	return strings.Repeat(" ", from) + s.paint("36", strings.Repeat("━", n))
}

// advice is what to do, and by what flag.
func (s *writer) advice(what string, h trace.Hint) string {
	how := s.o.Hints[h]
	if how == "" {
		return what
	}
	if sentence, ok := strings.CutSuffix(what, "."); ok {
		return sentence + how + "."
	}
	return what + how
}

// findings says what is wrong and what to do.
func (s *writer) findings() {
	for _, f := range s.t.Findings {
		mark, colour := "note", s.dim
		switch f.Severity {
		case trace.Warning:
			mark, colour = "warning", s.warn
		case trace.Error:
			mark, colour = "error", s.bad
		}
		s.line("")
		for i, l := range fold(fmt.Sprintf("%s %s: %s", mark, f.ID, clean(f.Title)), s.o.Width) {
			if i == 0 {
				l = strings.Replace(l, mark, colour(mark), 1)
			}
			s.line("%s", l)
		}
		for _, text := range []string{f.Explanation, s.advice(f.WhatToDo, f.Hint)} {
			if text == "" {
				continue
			}
			for _, l := range fold(clean(text), s.o.Width-2) {
				s.line("  %s", l)
			}
		}
	}
}
