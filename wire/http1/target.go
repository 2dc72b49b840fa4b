package http1

import (
	"fmt"
	"net/netip"
	"strings"
)

// TargetForm is one of the four forms of a request target (RFC 9112 §3.2).
type TargetForm uint8

const (
	// OriginForm is a path with an optional query: "/a?b".
	OriginForm TargetForm = iota
	// AbsoluteForm is a whole URI, as sent to a proxy.
	AbsoluteForm
	// AuthorityForm is "host:port", for CONNECT only.
	AuthorityForm
	// AsteriskForm is "*", for OPTIONS only.
	AsteriskForm
)

var formNames = [...]string{"origin-form", "absolute-form", "authority-form", "asterisk-form"}

func (f TargetForm) String() string { return formNames[f] }

// Classes of bytes in a request target.
const (
	targetBad  = iota // refused: controls, space, "#", bytes of 0x80 and above
	targetGood        // RFC 3986
	targetOdd         // should be percent-encoded, yet browsers send some of them bare
)

var targetClass = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = targetGood, targetGood
	}
	for _, c := range "0123456789-._~:/?@!$&'()*+,;=%" {
		t[c] = targetGood
	}
	for _, c := range "\"<>[\\]^`{|}" {
		t[c] = targetOdd
	}
	return t
}()

// checkTarget tells the form of a request target, and its authority in the
// forms that have one. at is the index of the byte that detail is about.
func checkTarget(method, target string, n *notes) (form TargetForm, authority, detail string, at int) {
	if target == "" {
		return 0, "", "is empty", 0
	}
	var seen uint8
	for i := 0; i < len(target); i++ {
		class := targetClass[target[i]]
		if class == targetBad {
			return 0, "", fmt.Sprintf("has byte 0x%02x", target[i]), i
		}
		seen |= class
	}
	if seen&targetOdd != 0 {
		n.add("request target has a character that must be percent-encoded (RFC 3986 §2)")
	}
	switch {
	case method == "CONNECT":
		host, port, ok := cutHost(target)
		if !ok || host == "" || port == "" {
			return 0, "", "CONNECT needs host:port, but here is " + quoted(target), 0
		}
		return AuthorityForm, target, "", 0
	case target[0] == '/':
		return OriginForm, "", "", 0
	case target == "*":
		if method != "OPTIONS" {
			return 0, "", "* is for OPTIONS only, not for " + quoted(method), 0
		}
		return AsteriskForm, "", "", 0
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !validScheme(scheme) {
		return 0, "", quoted(target) + " is neither a path nor an absolute URI", 0
	}
	authority = rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	// RFC 9110 §4.2.4: userinfo before the host is an error, for it hides the
	// true authority.
	if host, _, ok := cutHost(authority); !ok || host == "" {
		return 0, "", quoted(authority) + " is not host[:port]", len(target) - len(rest)
	}
	return AbsoluteForm, authority, "", 0
}

func validScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isAlpha(c) && (i == 0 || !digit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// cutHost splits uri-host [":" port] (RFC 3986 §3.2.2) and tells whether both
// are well-formed. An IP literal keeps its brackets. The port is decimal, at
// most 65535, and may be empty.
func cutHost(s string) (host, port string, ok bool) {
	end := strings.IndexByte(s, ':')
	if strings.HasPrefix(s, "[") {
		close := strings.IndexByte(s, ']')
		if close < 0 {
			return "", "", false
		}
		ip, err := netip.ParseAddr(s[1:close])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", false
		}
		if end = close + 1; end < len(s) && s[end] != ':' {
			return "", "", false
		}
	} else {
		if end < 0 {
			end = len(s)
		}
		if !validRegName(s[:end]) {
			return "", "", false
		}
	}
	if end >= len(s) {
		return s, "", true
	}
	host, port = s[:end], s[end+1:]
	n := 0
	for i := 0; i < len(port); i++ {
		if !digit(port[i]) {
			return "", "", false
		}
		if n = n*10 + int(port[i]-'0'); n > 65535 {
			return "", "", false
		}
	}
	return host, port, true
}

// validRegName checks reg-name: unreserved, sub-delims and percent-encoding.
func validRegName(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case isAlpha(c), digit(c), c == '.', c == '-', c == '_':
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		case strings.IndexByte("~!$&'()*+,;=", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return c|0x20-'a' < 26 }

func isHex(c byte) bool {
	_, ok := hexDigit(c)
	return ok
}

// notes collects oddities, each once.
type notes []string

func (n *notes) add(s string) { *n = append(*n, s) }
