package weburl

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// lookupProfile is that of UTS #46 for lookups as browsers have it: what is only
// written in ASCII is left as it is, underscores too.
var lookupProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckJoiners(true), idna.Transitional(false), idna.StrictDomainName(false))

// ASCIIName returns a host name as it is asked for in DNS: one of other letters
// in its ASCII form (RFC 5890 §2.3.2.1), one of ASCII unchanged. It fails on what
// is no UTF-8 and on letters that no name may have.
func ASCIIName(name string) (string, error) {
	switch {
	case strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0:
		return name, nil
	case !utf8.ValidString(name):
		return "", fmt.Errorf("weburl: %q is no host name: its bytes are no UTF-8", name)
	}
	ascii, err := lookupProfile.ToASCII(name)
	if err != nil {
		return "", fmt.Errorf("weburl: %q is no host name: %s", name, strings.TrimPrefix(err.Error(), "idna: "))
	}
	return ascii, nil
}
