// Package weburl turns what a person typed into a URL that can be requested,
// and says what it changed on the way and why. Parsing follows the WHATWG URL
// standard.
package weburl

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	whatwg "github.com/nlnwa/whatwg-url/url"
	"golang.org/x/net/idna"
)

// URL is an absolute http or https URL.
type URL struct {
	Scheme             string
	Username, Password string // percent-decoded
	// Host is a name in ASCII (IDNA), or an address without brackets.
	Host string
	// HostUnicode is Host as people write it.
	HostUnicode string
	// Port is the port to connect to, the scheme's default included.
	Port uint16
	// Path is percent-encoded and begins with a slash; Query and Fragment are
	// without their marks.
	Path, Query, Fragment string
	// Target is what a request line holds: path and query. Authority is what
	// Host or :authority holds: the default port left out.
	Target, Authority string
	// Notes says what was normalised.
	Notes []Note

	hasCredentials bool
}

// Note is one thing that was changed in what was typed.
type Note struct{ What, Before, After, Why string }

// String returns the note in one line.
func (n Note) String() string {
	s := n.What
	if n.Before != "" || n.After != "" {
		s += fmt.Sprintf(" %s → %s", shown(n.Before), shown(n.After))
	}
	if n.Why != "" {
		s += " (" + n.Why + ")"
	}
	return s
}

func shown(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// HasCredentials tells whether a user name or password stood in the URL.
func (u URL) HasCredentials() bool { return u.hasCredentials }

// String returns the URL without credentials and with its fragment.
func (u URL) String() string {
	s := u.Scheme + "://" + u.Authority + u.Target
	if u.Fragment != "" {
		s += "#" + u.Fragment
	}
	return s
}

// Origin returns scheme, host and port.
func (u URL) Origin() string {
	return u.Scheme + "://" + net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port)))
}

// NotURL is input that looks like words for a search engine.
type NotURL struct{ Input string }

func (e *NotURL) Error() string {
	return fmt.Sprintf("url: %q looks like words to search for, not like a URL; a URL has no spaces, such as https://example.com/", e.Input)
}

// maxInput bounds what is parsed.
const maxInput = 1 << 20

// Parse reads what a person typed: a URL, or a host with or without a port
// and a path, to which a scheme is added.
func Parse(input string) (URL, error) {
	if len(input) > maxInput {
		return URL{}, fmt.Errorf("url: %d bytes are too long for a URL", len(input))
	}
	var notes []Note
	s := strings.TrimFunc(input, func(r rune) bool { return r <= ' ' })
	if s != input {
		notes = append(notes, Note{What: "white space around it removed"})
	}
	if s == "" {
		return URL{}, fmt.Errorf("url: it is empty")
	}
	if !hasScheme(s) {
		if looksLikeWords(s) {
			return URL{}, &NotURL{input}
		}
		scheme, why := guessScheme(s)
		notes = append(notes, Note{What: "scheme added", Before: s, After: scheme + "://" + s, Why: why})
		s = scheme + "://" + s
	}
	return parse(s, nil, notes)
}

// Resolve reads a reference in a document or a Location field, relative to
// base. A fragment of base is kept when the reference has none (RFC 9110
// §10.2.2).
func Resolve(base URL, ref string) (URL, error) {
	if len(ref) > maxInput {
		return URL{}, fmt.Errorf("url: %d bytes are too long for a URL", len(ref))
	}
	b, err := whatwg.Parse(base.String())
	if err != nil {
		return URL{}, fmt.Errorf("url: base: %w", err)
	}
	u, err := parse(ref, b, nil)
	if err == nil && u.Fragment == "" {
		u.Fragment = base.Fragment
	}
	return u, err
}

// hasScheme tells whether s begins with a scheme. "localhost:8080" and
// "example.com:443/x" do not: what follows the colon is a port.
func hasScheme(s string) bool {
	i := strings.IndexByte(s, ':')
	if i <= 0 {
		return false
	}
	for j := 0; j < i; j++ {
		c := s[j]
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z':
		case j > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	rest := s[i+1:]
	port := 0
	for port < len(rest) && rest[port] >= '0' && rest[port] <= '9' {
		port++
	}
	return !(port > 0 && (port == len(rest) || strings.IndexByte("/?#\\", rest[port]) >= 0))
}

func looksLikeWords(s string) bool {
	host := s
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		host = s[:i]
	}
	return strings.ContainsAny(host, " \t\n") || host == "" && !strings.HasPrefix(s, "//")
}

// guessScheme chooses https for names in public use, and http where nobody
// has certificates: this machine, addresses, and port 80.
func guessScheme(s string) (scheme, why string) {
	host := s
	if i := strings.IndexAny(host, "/?#\\"); i >= 0 {
		host = host[:i]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i+1:]
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	_, addrErr := netip.ParseAddr(name)
	switch {
	case port == "443" || port == "8443":
		return "https", "port " + port
	case port == "80":
		return "http", "port 80"
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return "http", "this machine"
	case addrErr == nil:
		return "http", "an address"
	}
	return "https", "the web's default today"
}

func parse(s string, base *whatwg.Url, notes []Note) (URL, error) {
	if scheme, _, ok := strings.Cut(s, ":"); ok && hasScheme(s) {
		switch strings.ToLower(scheme) {
		case "http", "https":
		default:
			return URL{}, fmt.Errorf("url: the scheme %q is not http or https; only those two can be requested", scheme)
		}
	}
	var w *whatwg.Url
	var err error
	if base != nil {
		w, err = base.Parse(s)
	} else {
		w, err = whatwg.Parse(s)
	}
	if err != nil {
		return URL{}, fmt.Errorf("url: %q is not a valid URL: %s", clip(s), reason(err))
	}
	u := URL{Scheme: w.Scheme(), Host: strings.Trim(w.Hostname(), "[]"), Path: w.Pathname(), Query: w.Query(), Fragment: w.Fragment()}
	if u.Scheme != "http" && u.Scheme != "https" {
		return URL{}, fmt.Errorf("url: the scheme %q is not http or https; only those two can be requested", u.Scheme)
	}
	if u.Host == "" {
		return URL{}, fmt.Errorf("url: %q has no host", clip(s))
	}
	if w.Username() != "" || w.Password() != "" {
		u.hasCredentials = true
		u.Username, u.Password = unescape(w.Username()), unescape(w.Password())
		notes = append(notes, Note{What: "user name and password taken out of the URL", Why: "they go into the Authorization field"})
	}
	u.Port = 443
	if u.Scheme == "http" {
		u.Port = 80
	}
	u.Authority = w.Hostname()
	if p := w.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return URL{}, fmt.Errorf("url: port %s of %q is not between 1 and 65535", p, clip(s))
		}
		u.Port = uint16(n)
		u.Authority += ":" + p
	}
	if strings.Contains(u.Host, ":") && !strings.HasPrefix(u.Authority, "[") {
		u.Authority = "[" + u.Host + "]" + strings.TrimPrefix(u.Authority, w.Hostname())
	}
	u.HostUnicode = u.Host
	if uni, err := idna.Display.ToUnicode(u.Host); err == nil {
		u.HostUnicode = uni
	}
	u.Target = u.Path
	if u.Target == "" {
		u.Target = "/"
	}
	if w.Search() != "" || strings.Contains(strings.SplitN(s, "#", 2)[0], "?") && base == nil {
		u.Target += "?" + u.Query
	}
	u.Notes = append(notes, compare(s, u, base == nil)...)
	return u, nil
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

func reason(err error) string {
	s := err.Error()
	if i := strings.Index(s, ": "); i >= 0 && len(s) > 300 {
		s = s[:300]
	}
	return s
}

func unescape(s string) string {
	if v, err := url.PathUnescape(s); err == nil {
		return v
	}
	return s
}

// compare says what parsing changed.
func compare(s string, u URL, whole bool) []Note {
	if !whole {
		return nil
	}
	var notes []Note
	note := func(what, before, after, why string) { notes = append(notes, Note{what, before, after, why}) }
	if strings.ContainsAny(s, "\t\r\n") {
		note("tabs and line breaks removed", "", "", "")
		s = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(s)
	}
	_, rest, _ := strings.Cut(s, ":")
	trimmed := strings.TrimLeft(rest, "/\\")
	if rest[:len(rest)-len(trimmed)] != "//" {
		note("slashes after the scheme", rest[:len(rest)-len(trimmed)], "//", "")
	}
	authority, tail := trimmed, ""
	if i := strings.IndexAny(trimmed, "/?#\\"); i >= 0 {
		authority, tail = trimmed[:i], trimmed[i:]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:i], authority[i+1:]
	}
	switch bare := strings.Trim(host, "[]"); {
	case bare == u.Host:
	case strings.ToLower(bare) == u.Host:
		note("host in lower case", host, u.Host, "names have no case")
	case strings.Contains(u.Host, "xn--"):
		note("host in ASCII", host, u.Host, "IDNA")
	default:
		note("host", host, u.Host, "its usual form")
	}
	if port != "" && !strings.Contains(u.Authority, ":"+port) {
		note("default port left out", ":"+port, "", "")
	}
	path := tail
	if i := strings.IndexByte(path, '#'); i >= 0 {
		path = path[:i]
		note("fragment not sent", clip(tail[i:]), "", "it is for the browser")
	}
	query := ""
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i+1:]
	}
	if path != u.Path && !(path == "" && u.Path == "/") {
		note("path", path, u.Path, pathWhy(path))
	}
	if query != u.Query {
		note("query", query, u.Query, "percent-encoding")
	}
	return notes
}

func pathWhy(p string) string {
	switch {
	case strings.Contains(p, "\\"):
		return "a backslash is a slash"
	case strings.Contains(p, "/.") || strings.Contains(strings.ToLower(p), "%2e"):
		return "dot segments are resolved"
	}
	return "percent-encoding"
}
