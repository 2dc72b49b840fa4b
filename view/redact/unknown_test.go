package redact

import "testing"

// A value whose name was not captured may be a secret's.
func TestValueOfAnUnknownNameIsMasked(t *testing.T) {
	s := &secrets{values: map[string]bool{}}
	value := "sid=0123456789abcdef"
	got := s.field("", value)
	if len(got) != 1 || got[0] != (span{0, int64(len(value))}) {
		t.Errorf("masked %v of %q, want all of it", got, value)
	}
	if len(s.values) != 0 {
		t.Errorf("%v is looked for elsewhere too", s.values)
	}
	if got := s.field("accept", "text/html"); len(got) != 0 {
		t.Errorf("masked %v of a field that is no secret", got)
	}
}
