package needs

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// spy is a test that is watched. Like a real one it ends its goroutine when
// it fails or is skipped.
type spy struct {
	testing.TB
	said string
}

func (s *spy) Helper() {}

func (s *spy) Fatalf(format string, args ...any) {
	s.said = "failed: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (s *spy) Skipf(format string, args ...any) {
	s.said = "skipped: " + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func watch(f func(t testing.TB)) string {
	s := &spy{said: "went on"}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(s)
	}()
	<-done
	return s.said
}

// What is missing is skipped loudly, and fails where all must run.
func TestMissing(t *testing.T) {
	tool := func(t testing.TB) { Tool(t, "no-such-program") }
	t.Setenv("CI", "")
	if got := watch(tool); got != "skipped: SKIPPED: no-such-program is not installed" {
		t.Error(got)
	}
	if got := watch(func(t testing.TB) { Tools(t, "go", "no-such-program") }); !strings.HasPrefix(got, "skipped: ") {
		t.Error(got)
	}
	t.Setenv("CI", "true")
	if got := watch(tool); got != "failed: no-such-program is not installed" {
		t.Error(got)
	}
	if got := watch(func(t testing.TB) { Tools(t, "go") }); got != "went on" {
		t.Error(got)
	}
}
