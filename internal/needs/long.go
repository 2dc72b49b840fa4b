package needs

import "testing"

// Long marks a test that starts other programs or runs big simulations and
// so takes more than about a second. It runs always but under -short, which
// is for the minute between two edits.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: long, left out by -short")
	}
}
