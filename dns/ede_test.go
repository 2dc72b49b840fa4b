package dns

import (
	"strings"
	"testing"

	oracle "github.com/miekg/dns"
)

// The names are IANA's, as another implementation has them but for capitals.
func TestErrorCodes(t *testing.T) {
	for c := range len(errorNames) + 1 {
		got, want := ErrorCode(c).Meaning(), oracle.ExtendedErrorCodeToString[uint16(c)]
		if want != "" && !strings.EqualFold(got, want) {
			t.Errorf("%d is %q, and %q elsewhere", c, got, want)
		}
	}
	for c, want := range map[ErrorCode]string{EDEOther: "Other", EDEBogus: "DNSSEC Bogus", EDENoReachableAuthority: "No Reachable Authority",
		EDEInvalidQueryType: "Invalid Query Type", 60000: ""} {
		if got := c.Meaning(); got != want {
			t.Errorf("%d is %q, not %q", c, got, want)
		}
	}
}
