package text

import (
	"fmt"
	"slices"
	"strings"

	"peel/evidence/explain"
	"peel/trace"
)

// verdict says what a request came to when it failed, once: what was seen, why
// that happens where a rule knows, and what to try. The findings that say the
// same are told with it, and not again below.
func (s *writer) verdict(x *trace.Exchange) {
	fail := x.Failure
	if fail == nil {
		return
	}
	for _, l := range fold(fmt.Sprintf("%s: %s", fail.Layer, clean(fail.Seen)), s.o.Width) {
		s.line("%s", s.bad(l))
	}
	try, hint := fail.Try, fail.Hint
	for _, f := range s.sameAs(x) {
		if !s.told[f] && f.Explanation != "" {
			s.row("why", clean(f.Explanation)+" "+s.dim("("+string(f.ID)+")"))
		} else if !s.told[f] {
			s.row("why", s.dim(string(f.ID)))
		}
		s.told[f] = true
		if try == "" {
			try, hint = f.WhatToDo, f.Hint
		}
	}
	if try != "" {
		s.row("try", clean(s.advice(try, hint)))
	}
}

// sameAs are the findings that say what an exchange's failure says: those about
// it, its connections or its lookup.
func (s *writer) sameAs(x *trace.Exchange) []*trace.Finding {
	if s.about == nil {
		s.about = map[subject][]*trace.Finding{}
		for _, f := range s.t.Findings {
			of := subject{exchange: f.Exchange}
			if f.Exchange == 0 {
				of = subject{connection: f.Connection}
				if f.Connection == 0 {
					of = subject{lookup: f.Lookup}
				}
			}
			s.about[of] = append(s.about[of], f)
		}
	}
	of := []subject{{exchange: x.ID}}
	if x.Lookup != 0 {
		of = append(of, subject{lookup: x.Lookup})
	}
	for _, id := range s.tried(x) {
		of = append(of, subject{connection: id})
	}
	var out []*trace.Finding
	for _, about := range of {
		for _, f := range s.about[about] {
			if explain.Says(f, x.Failure) {
				out = append(out, f)
			}
		}
	}
	return out
}

// subject is the one thing that a finding is about.
type subject struct{ exchange, connection, lookup int }

// tried are the connections of an exchange: its own and those attempted for it.
func (s *writer) tried(x *trace.Exchange) []int {
	if s.attempts == nil {
		s.attempts = map[int][]int{}
		for _, e := range s.t.Events {
			if e.Exchange != 0 && e.Connection != 0 && e.Name == trace.EventConnectStart {
				s.attempts[e.Exchange] = append(s.attempts[e.Exchange], e.Connection)
			}
		}
	}
	out := s.attempts[x.ID]
	if x.Connection != 0 && !slices.Contains(out, x.Connection) {
		out = append(slices.Clip(out), x.Connection)
	}
	return out
}

// maxFailures bounds the failures that are told beside a list.
const maxFailures = 50

// failures says of the requests in a list what they failed of, where no finding
// does; besides names the one whose story is told anyway. Those that failed in
// the same way are told together.
func (s *writer) failures(besides int) {
	type failed struct {
		fail trace.Failure
		ids  []int
	}
	var all []*failed
	at := map[trace.Failure]*failed{}
	for _, x := range s.t.Exchanges {
		fail := x.Failure
		if fail == nil || x.ID == besides || len(s.sameAs(x)) > 0 {
			continue
		}
		if at[*fail] == nil {
			at[*fail] = &failed{fail: *fail}
			all = append(all, at[*fail])
		}
		at[*fail].ids = append(at[*fail].ids, x.ID)
	}
	for i, f := range all {
		if i == maxFailures {
			s.line("")
			s.line("%s", s.dim(fmt.Sprintf("… %d more requests failed in other ways", len(all)-i)))
			break
		}
		s.line("")
		if shown := s.t.Exchange(besides); shown != nil && shown.Failure != nil && *shown.Failure == f.fail {
			s.line("%s %s: as request %d", s.bad("failed"), numbered("request", f.ids), besides)
			continue
		}
		for i, l := range fold(fmt.Sprintf("failed %s: %s: %s", numbered("request", f.ids), f.fail.Layer, clean(f.fail.Seen)), s.o.Width) {
			if i == 0 {
				l = strings.Replace(l, "failed", s.bad("failed"), 1)
			}
			s.line("%s", l)
		}
		if f.fail.Try != "" {
			for _, l := range fold(clean(s.advice(sentence(f.fail.Try), f.fail.Hint)), s.o.Width-2) {
				s.line("  %s", l)
			}
		}
	}
}

// sentence makes an advice a sentence, as those of findings are.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// group is a finding, and the exchanges of which it says the same.
type group struct {
	*trace.Finding
	exchanges []int
}

// findings says what is wrong and what to do, but for what a verdict told.
func (s *writer) findings() {
	type same struct {
		id                  trace.FindingID
		title, what, advice string
		apart               bool
	}
	var all []*group
	at := map[same]*group{}
	for _, f := range s.t.Findings {
		if s.told[f] {
			continue
		}
		key := same{f.ID, f.Title, f.Explanation, f.WhatToDo, f.Exchange == 0}
		if g := at[key]; g != nil && f.Exchange != 0 {
			if !slices.Contains(g.exchanges[max(0, len(g.exchanges)-1):], f.Exchange) {
				g.exchanges = append(g.exchanges, f.Exchange)
			}
			continue
		}
		at[key] = &group{f, []int{f.Exchange}}
		all = append(all, at[key])
	}
	for _, g := range all {
		s.line("")
		s.finding(*g)
	}
}

func (s *writer) finding(g group) {
	mark, colour := "note", s.dim
	switch g.Severity {
	case trace.Warning:
		mark, colour = "warning", s.warn
	case trace.Error:
		mark, colour = "error", s.bad
	}
	title := clean(g.Title)
	if g.Exchange != 0 && (len(s.t.Exchanges) > 1 || s.t.Exchange(g.Exchange) == nil) {
		title = numbered("request", g.exchanges) + ": " + title
	}
	for i, l := range fold(fmt.Sprintf("%s %s: %s", mark, g.ID, title), s.o.Width) {
		if i == 0 {
			l = strings.Replace(l, mark, colour(mark), 1)
		}
		s.line("%s", l)
	}
	for _, text := range []string{g.Explanation, s.advice(g.WhatToDo, g.Hint)} {
		if text == "" {
			continue
		}
		for _, l := range fold(clean(text), s.o.Width-2) {
			s.line("  %s", l)
		}
	}
}
