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
	w    io.Writer
	o    Options
	t    *trace.Trace
	err  error
	told map[*trace.Finding]bool // in a verdict

	attempts map[int][]int // by exchange, the connections opened for it
	about    map[subject][]*trace.Finding
}

func newWriter(w io.Writer, t *trace.Trace, o Options) *writer {
	if o.Width == 0 {
		o.Width = 80
	}
	o.Width = min(max(o.Width, 60), 160)
	return &writer{w: w, o: o, t: t, told: map[*trace.Finding]bool{}}
}

// Write tells the trace.
func Write(w io.Writer, t *trace.Trace, o Options) error {
	s := newWriter(w, t, o)
	if o.Verbose > 0 {
		s.messages()
	}
	if o.Offline && len(t.Exchanges) != 1 {
		s.offline()
		s.failures(0)
		s.findings()
		return s.err
	}
	shown := 0
	switch n := len(t.Exchanges); {
	case n == 0:
		s.line("%s", s.dim("nothing was requested"))
	case n == 1:
		s.exchange(t.Exchanges[0])
		shown = t.Exchanges[0].ID
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
		shown = last.ID
	}
	if o.Offline {
		s.silent()
		s.lookups()
		s.unread()
	}
	if o.Blind != "" {
		s.row("packets", "not observed: "+clean(o.Blind))
	}
	s.account()
	s.failures(shown)
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

// bar draws the stretch from a to b on an axis that ends at end.
func (s *writer) bar(a, b, end trace.Time, width int) string {
	if end <= 0 || width <= 0 {
		return ""
	}
	// Captures span years, and their clocks step back: what lies outside of
	// the axis is drawn at its edge.
	from := min(cells(trace.Share(a, end), width), width-1)
	n := max(1, min(cells(trace.Share(b, end)-trace.Share(a, end), width), width-from))
	return strings.Repeat(" ", from) + s.paint("36", strings.Repeat("━", n))
}

// cells is how many columns of a width a share takes.
func cells(share float64, width int) int { return max(0, int(share*float64(width)+1e-9)) }

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
