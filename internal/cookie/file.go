package cookie

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"peel/clock"
)

// maxFile bounds a cookie file in bytes.
const maxFile = 8 << 20

// ReadFile adds the cookies of a file in Netscape format, as curl writes it:
// domain, include-subdomains, path, secure, expiry, name, value, separated by
// tabs.
func (j *Jar) ReadFile(b []byte) error {
	if len(b) > maxFile {
		return fmt.Errorf("cookie: a file larger than %d bytes", maxFile)
	}
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimRight(line, "\r")
		httpOnly := strings.HasPrefix(line, "#HttpOnly_")
		line = strings.TrimPrefix(line, "#HttpOnly_")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) == 6 {
			f = append(f, "")
		}
		if len(f) != 7 {
			return fmt.Errorf("cookie: line %d has %d fields, not 7 separated by tabs", i+1, len(f))
		}
		expires, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil {
			return fmt.Errorf("cookie: line %d: expiry %q is not a number", i+1, f[4])
		}
		j.mu.Lock()
		j.created++
		c := Cookie{Domain: strings.ToLower(strings.TrimPrefix(f[0], ".")), HostOnly: f[1] != "TRUE", Path: f[2], Secure: f[3] == "TRUE", Name: f[5], Value: f[6], HTTPOnly: httpOnly, created: j.created}
		if c.Path == "" {
			c.Path = "/"
		}
		if expires > 0 {
			c.Expires = clock.Time(min(expires, 7e9) * int64(time.Second))
		}
		j.list = append(j.list, c)
		j.evict(c.Domain, 0)
		j.mu.Unlock()
	}
	return nil
}

// File returns the cookies that have not expired in Netscape format.
func (j *Jar) File(now clock.Time) []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	b.WriteString("# Netscape HTTP Cookie File\n\n")
	yes := func(v bool) string {
		if v {
			return "TRUE"
		}
		return "FALSE"
	}
	for _, c := range j.list {
		if c.Expires != 0 && c.Expires <= now {
			continue
		}
		domain := c.Domain
		if !c.HostOnly {
			domain = "." + domain
		}
		if c.HTTPOnly {
			domain = "#HttpOnly_" + domain
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", domain, yes(!c.HostOnly), c.Path, yes(c.Secure), int64(c.Expires)/int64(time.Second), c.Name, c.Value)
	}
	return []byte(b.String())
}
