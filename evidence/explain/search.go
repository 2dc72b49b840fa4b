package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"peel/trace"
)

// dnsSearchStorm: search suffixes were tried before the name itself. A resolver
// that decides before peel's eyes makes one lookup of them all; of one that only
// its packets show, each name is a lookup.
func dnsSearchStorm(t *facts) []*trace.Finding {
	var out []*trace.Finding
	near := neighbours(t.Lookups)
	for _, l := range t.Lookups {
		if l.Kind != "" || l.Failure != nil {
			continue
		}
		name := l.Name
		want := strings.ToLower(strings.TrimSuffix(l.Name, "."))
		asked, wrong := 0, map[string]bool{}
		for _, s := range l.Steps {
			if s.Source != trace.SourceDNS || s.Question == (trace.Question{}) {
				continue
			}
			asked++
			if name := strings.ToLower(strings.TrimSuffix(s.Question.Name, ".")); name != want && s.Outcome == trace.StepNoName {
				wrong[name] = true
			}
		}
		evidence := ofLookup(t, l.ID, trace.EventDNSQuery)
		if l.Client.IsValid() && len(l.Addresses) > 0 {
			before := near.tried(l)
			for _, o := range before {
				wrong[strings.ToLower(o.Name)] = true
				asked += questions(o)
			}
			if len(before) > 0 {
				name = given(l, before)
			}
			for _, o := range before {
				evidence = append(evidence, ofLookup(t, o.ID, trace.EventDNSQuery)...)
			}
		}
		// One suffix is how short names are meant to work.
		if len(wrong) >= 2 {
			out = append(out, &trace.Finding{ID: DNSSearchStorm, Severity: trace.Warning, Lookup: l.ID, Evidence: evidence,
				Title:       fmt.Sprintf("one name cost %d queries: %d search suffixes were tried for %q first", asked, len(wrong), name),
				Explanation: "A resolver tries its search suffixes before the name itself where that has fewer dots than ndots in its resolv.conf.",
				WhatToDo:    "Write the name with a dot at its end, or lower ndots.", Source: "resolv.conf(5)"})
		}
	}
	return few(out)
}

func questions(l *trace.Lookup) int {
	n := 0
	for _, s := range l.Steps {
		if s.Attempt > 0 && s.Outcome != trace.StepIgnored {
			n++
		}
	}
	return n
}

// given is the name that a search list was tried for: the head that all the
// names have.
func given(l *trace.Lookup, before []*trace.Lookup) string {
	head := strings.Split(l.Name, ".")
	for _, o := range before {
		labels := strings.Split(o.Name, ".")
		n := 0
		for n < len(head) && n < len(labels) && strings.EqualFold(head[n], labels[n]) {
			n++
		}
		head = head[:n]
	}
	return strings.Join(head, ".")
}

// near are the lookups of each client that begin with the same label, in the
// order of time: those of one search list stand close to each other.
type near struct {
	list  map[string][]*trace.Lookup
	place map[*trace.Lookup]int
}

func neighbours(lookups []*trace.Lookup) near {
	n := near{map[string][]*trace.Lookup{}, map[*trace.Lookup]int{}}
	for _, l := range lookups {
		if l.Kind != "" || l.Name == "" {
			continue
		}
		k := near{}.key(l)
		n.place[l] = len(n.list[k])
		n.list[k] = append(n.list[k], l)
	}
	return n
}

func (near) key(l *trace.Lookup) string {
	first, _, _ := strings.Cut(l.Name, ".")
	return l.Client.String() + " " + strings.ToLower(first)
}

// maxSearched bounds the lookups that are looked at for one of a search list,
// beside the time.
const maxSearched = 20

// searchPause is how soon the next name of a search list is asked for.
const searchPause = 5 * time.Second

// around calls f with the lookups before l, the nearest first, and then with
// those after it, as long as each follows soon and f is true.
func (n near) around(l *trace.Lookup, f func(o *trace.Lookup, before bool) bool) {
	list, at := n.list[n.key(l)], n.place[l]
	for i := at - 1; i >= max(at-maxSearched, 0) && list[i+1].Start <= list[i].End+trace.Time(searchPause); i-- {
		if !f(list[i], true) {
			return
		}
	}
	for i := at + 1; i < min(at+maxSearched, len(list)) && list[i].Start <= list[i-1].End+trace.Time(searchPause); i++ {
		if !f(list[i], false) {
			return
		}
	}
}

// searchedOn tells a lookup that was one step along a search list: soon before
// or after, the same name without the suffix, or with another, brought an
// address; or the name itself was found not to be there, which tells it all.
func (n near) searchedOn(l *trace.Lookup) bool {
	found := false
	n.around(l, func(o *trace.Lookup, before bool) bool {
		switch {
		case len(o.Addresses) > 0 && leavesOut(l.Name, o.Name), !before && len(o.Addresses) > 0 && leavesOut(o.Name, l.Name):
			found = true
		case o.Client.IsValid() && o.Failure != nil && o.Failure.Code == trace.FailNameNotFound && l.Failure != nil && l.Failure.Code == trace.FailNameNotFound &&
			strings.HasPrefix(strings.ToLower(l.Name), strings.ToLower(o.Name)+"."):
			found = true
		}
		return !found
	})
	return found
}

// tried are the names of a search list that were asked for in vain before l
// brought an address.
func (n near) tried(l *trace.Lookup) []*trace.Lookup {
	var out []*trace.Lookup
	n.around(l, func(o *trace.Lookup, before bool) bool {
		if !before || len(o.Addresses) > 0 {
			return false
		}
		if o.Failure != nil && o.Failure.Code == trace.FailNameNotFound && (leavesOut(l.Name, o.Name) || leavesOut(o.Name, l.Name)) {
			out = append(out, o)
		}
		return true
	})
	slices.Reverse(out)
	return out
}
