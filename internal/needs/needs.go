// Package needs says what a test needs of its machine: a program, root, a
// right. Where it is missing the test is skipped, loudly; in CI, where all is
// installed, it fails, so that no check is silently left out.
package needs

import (
	"os"
	"os/exec"
	"testing"
)

// Missing ends the test because something is not there: a failure when the
// environment has CI=true, else a skip.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// Tool returns the path of a program.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is not installed", name)
	}
	return path
}

// Tools needs several programs.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		Tool(t, n)
	}
}

// Root needs the effective user 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "this needs root")
	}
}
