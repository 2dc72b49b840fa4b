package http1

import (
	"strings"
	"testing"

	"peel/trace"
)

func FuzzReadRequest(f *testing.F)  { fuzzRead(f, ServerRole) }
func FuzzReadResponse(f *testing.F) { fuzzRead(f, ClientRole) }

// fuzzRead checks that no input panics or stalls the reader, that events do
// not depend on where the input is cut, and that a message which net/http
// accepts too is understood alike.
func fuzzRead(f *testing.F, role Role) {
	for _, in := range samples[role] {
		f.Add([]byte(in), byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		if len(b) > 4<<10 {
			return
		}
		in := string(b)
		whole := story(role, Limits{}, in, max(len(in), 1))
		if strings.Contains(whole, "stuck") {
			t.Fatalf("stuck on %q:\n%s", in, whole)
		}
		if got := story(role, Limits{}, in, int(step%9)+1); got != whole {
			t.Fatalf("%q in pieces of %d:\n%s\nwhole:\n%s", in, step%9+1, got, whole)
		}
		story(role, Limits{Observe: true}, in, int(step)+1)
		switch {
		// The body of a CONNECT is nobody's to judge: ours has none.
		case role == ServerRole && !strings.HasPrefix(in, "CONNECT"):
			agreeRequest(t, in, false)
		// RFC 9112 §6.1 counts Transfer-Encoding in an HTTP/1.0 response, and
		// the connection ends after it; net/http ignores the field.
		case role == ClientRole && strings.HasPrefix(in, "HTTP/1.0"):
		case role == ClientRole && !strings.Contains(in, " 1"): // for net/http an interim response is the response
			agreeResponse(t, in, false)
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, list := range samples {
		for _, in := range list {
			f.Add([]byte(in))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		within(t, Fields(b), 0, len(b))
	})
}

func within(t *testing.T, list []trace.Field, from, to int) {
	for _, f := range list {
		if f.Offset < from || f.Length < 0 || f.Offset+f.Length > to {
			t.Fatalf("%s at %d+%d lies outside %d..%d", f.Name, f.Offset, f.Length, from, to)
		}
		within(t, f.Children, f.Offset, f.Offset+f.Length)
	}
}
