// Package cookie keeps cookies as RFC 6265bis says, and says why it kept or
// refused each.
package cookie

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"peel/clock"
)

// Cookie is one stored cookie.
type Cookie struct {
	Name, Value  string
	Domain, Path string
	// HostOnly cookies go to the very host that set them.
	HostOnly, Secure, HTTPOnly bool
	SameSite                   string
	// Expires is when it ends; 0 is the end of the session.
	Expires clock.Time

	created uint64 // order of creation
}

// Decision is what became of a Set-Cookie field.
type Decision struct {
	// Outcome is "stored", "replaced", "deleted" or "rejected".
	Outcome string
	Name    string
	Domain  string
	Reason  string
}

// Accepted tells that the cookie was not rejected.
func (d Decision) Accepted() bool { return d.Outcome != "rejected" }

// String returns the decision in one line, without the cookie's value.
func (d Decision) String() string {
	s := fmt.Sprintf("cookie %q %s", d.Name, d.Outcome)
	if d.Domain != "" {
		s += " for " + d.Domain
	}
	if d.Reason != "" {
		s += ": " + d.Reason
	}
	return s
}

// Limits of RFC 6265bis §5.6 and §6.1.
const (
	maxPair      = 4096 // name and value, bytes
	maxAttribute = 1024
	maxPerDomain = 180
	maxAll       = 3000
	maxAge       = 400 * 24 * time.Hour
)

// Jar keeps cookies. It is safe for concurrent use.
type Jar struct {
	mu      sync.Mutex
	list    []Cookie
	created uint64
}

// NewJar returns an empty jar.
func NewJar() *Jar { return &Jar{} }

// SetFrom takes the value of a Set-Cookie field of a response from scheme,
// host and path (RFC 6265bis §5.7).
func (j *Jar) SetFrom(scheme, host, path, line string, now clock.Time) Decision {
	c, maxAgeSet, err := parse(line, now)
	d := Decision{Name: c.Name, Outcome: "rejected"}
	if err != "" {
		d.Reason = err
		return d
	}
	host = strings.ToLower(host)
	secure := scheme == "https" || host == "localhost" || strings.HasSuffix(host, ".localhost")
	if d.Reason = c.place(host, path, secure); d.Reason != "" {
		return d
	}
	d.Domain = c.Domain
	j.mu.Lock()
	defer j.mu.Unlock()
	d.Outcome = "stored"
	for i := range j.list {
		old := &j.list[i]
		if old.Name == c.Name && old.Domain == c.Domain && old.Path == c.Path && old.HostOnly == c.HostOnly {
			if old.Secure && !secure {
				return Decision{Name: c.Name, Outcome: "rejected", Domain: c.Domain, Reason: "a cookie from https cannot be replaced over http"}
			}
			c.created = old.created
			d.Outcome = "replaced"
			j.list = slices.Delete(j.list, i, i+1)
			break
		}
	}
	if maxAgeSet && c.Expires <= now {
		d.Outcome = "deleted"
		return d
	}
	if c.created == 0 {
		j.created++
		c.created = j.created
	}
	j.list = append(j.list, c)
	j.evict(c.Domain, now)
	return d
}

// place works out domain and path and returns why the cookie is refused.
func (c *Cookie) place(host, path string, secure bool) string {
	_, addrErr := netip.ParseAddr(strings.Trim(host, "[]"))
	isAddr := addrErr == nil
	if c.Domain != "" {
		domain := strings.TrimPrefix(strings.ToLower(c.Domain), ".")
		suffix, icann := publicsuffix.PublicSuffix(domain)
		public := suffix == domain && (icann || strings.Contains(domain, "."))
		switch {
		case domain == "":
			c.Domain = ""
		case public && domain != host:
			return fmt.Sprintf("Domain=%s is a public suffix, under which others have names too", domain)
		case public:
			c.Domain = ""
		case isAddr && domain != host, !isAddr && domain != host && !strings.HasSuffix(host, "."+domain):
			return fmt.Sprintf("Domain=%s does not cover %s", domain, host)
		default:
			c.Domain = domain
		}
	}
	if c.Domain == "" {
		c.Domain, c.HostOnly = host, true
	}
	attrPath := c.Path
	if attrPath == "" || attrPath[0] != '/' {
		c.Path = defaultPath(path)
	}
	lower := strings.ToLower(c.Name)
	switch {
	case c.Secure && !secure:
		return "Secure, but it came over http"
	case c.SameSite == "None" && !c.Secure:
		return "SameSite=None without Secure"
	case strings.HasPrefix(lower, "__secure-") && !c.Secure:
		return "the name begins with __Secure- and Secure is missing"
	case strings.HasPrefix(lower, "__host-") && (!c.Secure || !c.HostOnly || attrPath != "/"):
		return "the name begins with __Host-, which demands Secure, Path=/ and no Domain"
	}
	return ""
}

// defaultPath is RFC 6265bis §5.1.4.
func defaultPath(p string) string {
	i := strings.LastIndexByte(p, '/')
	if i <= 0 || p[0] != '/' {
		return "/"
	}
	return p[:i]
}

// evict keeps the jar within its limits: first what has expired, then the
// oldest of the domain, then the oldest of all.
func (j *Jar) evict(domain string, now clock.Time) {
	j.list = slices.DeleteFunc(j.list, func(c Cookie) bool { return c.Expires != 0 && c.Expires <= now })
	oldest := func(of func(*Cookie) bool) {
		at := -1
		for i := range j.list {
			if of(&j.list[i]) && (at < 0 || j.list[i].created < j.list[at].created) {
				at = i
			}
		}
		if at >= 0 {
			j.list = slices.Delete(j.list, at, at+1)
		}
	}
	n := 0
	for i := range j.list {
		if j.list[i].Domain == domain {
			n++
		}
	}
	if n > maxPerDomain {
		oldest(func(c *Cookie) bool { return c.Domain == domain })
	}
	if len(j.list) > maxAll {
		oldest(func(*Cookie) bool { return true })
	}
}

// For returns the cookies for a request, in the order in which they are sent:
// longer paths first, then older ones (RFC 6265bis §5.8.3).
func (j *Jar) For(scheme, host, path string, now clock.Time) []Cookie {
	host = strings.ToLower(host)
	secure := scheme == "https" || host == "localhost" || strings.HasSuffix(host, ".localhost")
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Cookie
	for _, c := range j.list {
		switch {
		case c.Expires != 0 && c.Expires <= now, c.Secure && !secure,
			c.HostOnly && c.Domain != host,
			!c.HostOnly && c.Domain != host && !strings.HasSuffix(host, "."+c.Domain),
			!pathMatch(path, c.Path):
			continue
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Cookie) int {
		return cmp.Or(cmp.Compare(len(b.Path), len(a.Path)), cmp.Compare(a.created, b.created))
	})
	return out
}

func pathMatch(request, cookie string) bool {
	if !strings.HasPrefix(request, cookie) {
		return false
	}
	return len(request) == len(cookie) || cookie[len(cookie)-1] == '/' || request[len(cookie)] == '/'
}

// Header returns the value of the Cookie field for a request, or "".
func (j *Jar) Header(scheme, host, path string, now clock.Time) string {
	var parts []string
	for _, c := range j.For(scheme, host, path, now) {
		if c.Name == "" {
			parts = append(parts, c.Value)
		} else {
			parts = append(parts, c.Name+"="+c.Value)
		}
	}
	return strings.Join(parts, "; ")
}
