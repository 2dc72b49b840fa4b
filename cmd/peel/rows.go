package main

import (
	"bufio"

	"peel/trace"
	"peel/view/redact"
	"peel/view/text"
)

// rows tells requests as they end, of a capture that goes on.
type rows struct {
	r     *read
	w     *bufio.Writer
	out   *text.Rows
	worst int // rank of the findings
}

// newRows returns what --follow shows, or nil where a whole trace is asked for,
// which is told at the end.
func (r *read) newRows() *rows {
	if !r.follow || r.packets || r.why != "" || r.json != "" || r.har != "" || r.open > 0 {
		return nil
	}
	w := bufio.NewWriter(r.std.out)
	return &rows{r: r, w: w, out: text.NewRows(w, r.textOptions(nil))}
}

// part tells what has ended.
func (l *rows) part(part *trace.Trace) {
	l.worst = max(l.worst, severity(part))
	part = redact.Apply(l.r.filter.apply(part), l.r.mode())
	if l.r.verbose > 0 && len(part.Events) > 0 {
		text.Messages(l.w, part, l.r.textOptions(part))
	}
	l.out.Write(part)
	l.w.Flush()
}

// end tells what had not ended when the reading did.
func (l *rows) end(rest *trace.Trace) int {
	l.part(rest)
	return l.r.code(l.worst)
}
