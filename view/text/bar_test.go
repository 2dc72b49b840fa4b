package text

import (
	"strings"
	"testing"

	"peel/trace"
)

// A bar stays within its axis, whatever the times: captures that span years,
// clocks that step back.
func TestBarStaysOnItsAxis(t *testing.T) {
	s := newWriter(nil, nil, Options{})
	const year = trace.Time(365 * 24 * 3600 * 1e9)
	for _, c := range []struct {
		a, b, end trace.Time
		want      string
	}{
		{0, 10, 10, "━━━━━━━━━━"},
		{5, 10, 10, "     ━━━━━"},
		{-5, 5, 10, "━━━━━"},
		{-20, -10, 10, "━"},
		{20, 30, 10, "         ━"},
		{8, 4, 10, "        ━"},
		{12 * year, 12*year + 1, 12*year + 1, "         ━"},
		{0, 1, 0, ""},
		{0, 1, -5, ""},
	} {
		if got := s.bar(c.a, c.b, c.end, 10); got != c.want || strings.Count(got, "━") > 10 {
			t.Errorf("bar(%d, %d, %d) is %q, want %q", c.a, c.b, c.end, got, c.want)
		}
	}
}
