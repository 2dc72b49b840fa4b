package peel

import (
	"net/http"
	"slices"

	"peel/wire/httpfield"
)

// header turns a field list into net/http's map. The order is lost there; the
// trace keeps it.
func header(l httpfield.List) http.Header {
	h := make(http.Header, len(l))
	for _, f := range l {
		h.Add(f.Name, f.Value)
	}
	return h
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for n := range h {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
