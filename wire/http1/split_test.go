package http1

import "testing"

// However the bytes come, the story is the same, errors and offsets too.
func TestAnyCutGivesTheSameStory(t *testing.T) {
	for role, list := range samples {
		for _, in := range list {
			want := story(role, Limits{}, in, len(in))
			for step := 1; step < 8; step++ {
				if got := story(role, Limits{}, in, step); got != want {
					t.Errorf("%q in pieces of %d:\n%s\nwhole:\n%s", in, step, got, want)
				}
			}
		}
	}
}
