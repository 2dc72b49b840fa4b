package text

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"peel/trace"
)

// maxBeside bounds the lookups that are listed beside requests: those that no
// request went back to.
const maxBeside = 20

// lookups lists what was asked in DNS and used by no request. It tells whether
// there is any.
func (s *writer) lookups() bool {
	used := map[int]bool{}
	for _, x := range s.t.Exchanges {
		used[x.Lookup] = true
	}
	var list []*trace.Lookup
	for _, l := range s.t.Lookups {
		if !used[l.ID] && len(l.Steps) > 0 {
			list = append(list, l)
		}
	}
	if len(list) == 0 {
		return false
	}
	beside := len(s.t.Exchanges) > 0
	if beside {
		s.line("")
		s.line("%s", s.dim("lookups that no request here goes back to:"))
	}
	shown := list
	if beside && len(shown) > maxBeside {
		shown = shown[:maxBeside]
	}
	width := 0
	for _, l := range shown {
		width = max(width, min(len([]rune(asked(l))), 44))
	}
	for _, l := range shown {
		s.lookup(l, width)
	}
	if n := len(list) - len(shown); n > 0 {
		s.line("  … %d more", n)
	}
	return true
}

// lookup is one of them, in a line: when, what, what came of it, and how.
func (s *writer) lookup(l *trace.Lookup, width int) {
	at := s.t.Start.Add(time.Duration(l.Start)).Format("15:04:05.000")
	what := clip(asked(l), width)
	how := manner(l)
	result, colour := results(l)
	room := max(s.o.Width-len(at)-width-len([]rune(how))-6, 20)
	result = clip(clean(result), room)
	s.line("%s  %-*s  %s  %s", s.dim(at), width, what, colour(s, result)+strings.Repeat(" ", max(room-len([]rune(result)), 0)), s.dim(clean(how)))
}

// asked is what a lookup asks: the name, and the types.
func asked(l *trace.Lookup) string {
	var types []string
	for _, st := range l.Steps {
		if t := st.Question.Type; t != "" && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	name := l.Name
	if name == "" {
		name = "(no name that can be read)"
	}
	text := name + " " + strings.Join(types, ",")
	if l.Kind != "" {
		text = kindWords[l.Kind] + " " + text
	}
	return clean(text)
}

var kindWords = map[trace.LookupKind]string{trace.LookupMDNS: "mDNS", trace.LookupLLMNR: "LLMNR", trace.LookupAnnouncement: "mDNS tells",
	trace.LookupUpdate: "UPDATE", trace.LookupNotify: "NOTIFY", trace.LookupOther: "other"}

func plain(_ *writer, v string) string { return v }

// results says what came of each type that was asked for.
func results(l *trace.Lookup) (text string, colour func(*writer, string) string) {
	last := map[string]*trace.Step{}
	var types []string
	for i := range l.Steps {
		st := &l.Steps[i]
		switch st.Outcome {
		case trace.StepSkipped, trace.StepIgnored:
			continue
		}
		if last[st.Question.Type] == nil {
			types = append(types, st.Question.Type)
		}
		// Of several servers asked at once the one that answered counts.
		if old := last[st.Question.Type]; old == nil || !answered(old) || answered(st) {
			last[st.Question.Type] = st
		}
	}
	var parts []string
	bad, good := 0, 0
	for _, t := range types {
		st := last[t]
		r := result(st)
		switch l.Kind {
		case trace.LookupUpdate, trace.LookupNotify, trace.LookupOther:
			if st.Rcode != "" {
				r = st.Rcode // what such a message carries is no answer
			}
		}
		if answered(st) {
			good++
		}
		switch st.Outcome {
		case trace.StepTimeout, trace.StepRefused, trace.StepServerFailure, trace.StepMalformed, trace.StepUnreachable, trace.StepNoName:
			bad++
		}
		if len(types) > 1 {
			if slices.Contains(parts, r) {
				continue
			}
			if !answered(st) {
				r = t + " " + r
			}
		}
		parts = append(parts, r)
	}
	colour = plain
	switch {
	case l.Kind != "":
	case bad > 0 && good == 0:
		colour = (*writer).bad
	case bad > 0:
		colour = (*writer).warn
	}
	return strings.Join(parts, "; "), colour
}

func answered(st *trace.Step) bool { return st.Outcome == trace.StepAnswer }

// result is the outcome of a step, as short as can be.
func result(st *trace.Step) string {
	switch st.Outcome {
	case trace.StepAnswer:
		return data(st)
	case trace.StepNoData:
		return "no data"
	case trace.StepNoName, trace.StepServerFailure:
		if st.Rcode != "" {
			return st.Rcode
		}
	case trace.StepRefused:
		if st.Rcode != "" && st.Rcode != "NOERROR" {
			return st.Rcode
		}
		if st.Rcode == "" {
			return "refused (ICMP)"
		}
	case trace.StepTimeout:
		return "no answer in " + duration(st.Duration)
	case trace.StepWaiting:
		return "no answer seen"
	case trace.StepTruncated:
		return "cut short (TC)"
	case trace.StepReferral:
		return "referral"
	}
	return strings.ReplaceAll(string(st.Outcome), "_", " ")
}

// data is that of the records that were asked for, else of those that came.
func data(st *trace.Step) string {
	var parts []string
	for _, want := range []string{st.Question.Type, ""} {
		for _, r := range st.Answers {
			if want == "" || r.Type == want {
				text := r.Data
				if want == "" {
					text = r.Type + " " + text
				}
				parts = append(parts, text)
			}
		}
		if len(parts) > 0 {
			return strings.Join(parts, ", ")
		}
	}
	return st.Rcode
}

// manner is by whom and how a lookup was answered, and how often it was asked.
func manner(l *trace.Lookup) string {
	var servers, transports []string
	asked := 0
	took := trace.Duration(0)
	more := false
	for i := range l.Steps {
		st := &l.Steps[i]
		if st.Outcome == trace.StepSkipped {
			more = more || l.Client.IsValid()
			continue
		}
		if st.Server.IsValid() {
			if a := server(st.Server); !slices.Contains(servers, a) {
				servers = append(servers, a)
			}
		}
		if st.Transport != "" && !slices.Contains(transports, st.Transport) {
			transports = append(transports, st.Transport)
		}
		if st.Attempt > 0 && st.Outcome != trace.StepIgnored {
			asked++
		}
		if st.Rcode != "" {
			took = max(took, trace.Duration(st.Time-l.Start)+st.Duration)
		}
	}
	parts := []string{}
	switch n := len(servers); {
	case n == 1:
		parts = append(parts, servers[0])
	case n > 1:
		parts = append(parts, fmt.Sprintf("%s and %d more", servers[0], n-1))
	}
	if len(transports) > 0 {
		parts = append(parts, strings.Join(transports, ", "))
	}
	if took > 0 {
		parts = append(parts, duration(took))
	}
	if asked > 1 {
		parts = append(parts, plural(asked, "query"))
	}
	if more {
		parts = append(parts, "and more")
	}
	return strings.ReplaceAll(strings.Join(parts, " "), "querys", "queries")
}

// server is an address without the port that goes without saying.
func server(a netip.AddrPort) string {
	if a.Port() == 53 {
		return a.Addr().String()
	}
	return addr(a)
}
