package cookie

import (
	"strconv"
	"strings"
	"time"

	"peel/clock"
)

// parse reads a Set-Cookie value (RFC 6265bis §5.6). bad says why it is none.
func parse(line string, now clock.Time) (c Cookie, expires bool, bad string) {
	for i := 0; i < len(line); i++ {
		if b := line[i]; b < 0x20 && b != '\t' || b == 0x7f {
			return c, false, "control bytes in the field"
		}
	}
	pair, attrs, _ := strings.Cut(line, ";")
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		name, value = "", name
	}
	c.Name, c.Value = trim(name), trim(value)
	switch {
	case c.Name == "" && c.Value == "":
		return c, false, "neither name nor value"
	case len(c.Name)+len(c.Value) > maxPair:
		return c, false, "name and value are longer than 4096 bytes together"
	}
	var maxAgeAt, expiresAt clock.Time
	for attrs != "" {
		var a string
		a, attrs, _ = strings.Cut(attrs, ";")
		key, val, _ := strings.Cut(a, "=")
		key, val = strings.ToLower(trim(key)), trim(val)
		if len(val) > maxAttribute {
			continue
		}
		switch key {
		case "expires":
			if t, ok := parseDate(val); ok {
				expiresAt = max(clock.Time(t.UnixNano()), 1)
			}
		case "max-age":
			n, err := strconv.ParseInt(val, 10, 64)
			switch {
			case err != nil && !(val != "" && strings.Trim(val, "0123456789") == ""):
			case err == nil && n <= 0:
				maxAgeAt = 1
			default:
				maxAgeAt = now.Add(maxAge)
				if err == nil && n < int64(maxAge/time.Second) {
					maxAgeAt = now.Add(time.Duration(n) * time.Second)
				}
			}
		case "domain":
			c.Domain = val
		case "path":
			c.Path = val
		case "secure":
			c.Secure = true
		case "httponly":
			c.HTTPOnly = true
		case "samesite":
			switch strings.ToLower(val) {
			case "none":
				c.SameSite = "None"
			case "lax":
				c.SameSite = "Lax"
			case "strict":
				c.SameSite = "Strict"
			default:
				c.SameSite = ""
			}
		}
	}
	// Max-Age wins over Expires; both are capped.
	switch {
	case maxAgeAt != 0:
		c.Expires = maxAgeAt
	case expiresAt != 0:
		c.Expires = min(expiresAt, now.Add(maxAge))
	}
	return c, c.Expires != 0, ""
}

func trim(s string) string { return strings.Trim(s, " \t") }

// parseDate reads a date as leniently as RFC 6265bis §5.1.1 asks.
func parseDate(s string) (time.Time, bool) {
	var hour, minute, second, day, month, year int
	var hasTime, hasDay, hasMonth, hasYear bool
	tokens := strings.FieldsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == ':' || r >= 0x7f)
	})
	for _, t := range tokens {
		switch {
		case !hasTime && clockToken(t, &hour, &minute, &second):
			hasTime = true
		case !hasDay && digits(t, 1, 2, &day):
			hasDay = true
		case !hasMonth && monthToken(t, &month):
			hasMonth = true
		case !hasYear && digits(t, 2, 4, &year):
			hasYear = true
		}
	}
	switch {
	case year >= 70 && year <= 99:
		year += 1900
	case year >= 0 && year <= 69:
		year += 2000
	}
	if !hasTime || !hasDay || !hasMonth || !hasYear || day < 1 || day > 31 || year < 1601 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	d := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if d.Day() != day {
		return time.Time{}, false
	}
	if year > 2200 { // nanoseconds since 1970 end in 2262
		d = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if year < 1971 {
		d = time.Unix(0, 1)
	}
	return d, true
}

// digits reads a number of at least low and at most high digits at the
// beginning of a token, with no digit behind.
func digits(t string, low, high int, v *int) bool {
	n := 0
	for n < len(t) && t[n] >= '0' && t[n] <= '9' {
		n++
	}
	if n < low || n > high {
		return false
	}
	*v, _ = strconv.Atoi(t[:n])
	return true
}

func clockToken(t string, h, m, s *int) bool {
	parts := strings.SplitN(t, ":", 3)
	return len(parts) == 3 && digits(parts[0], 1, 2, h) && digits(parts[1], 1, 2, m) && digits(parts[2], 1, 2, s)
}

func monthToken(t string, m *int) bool {
	if len(t) < 3 {
		return false
	}
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(t[:3]))
	if i < 0 || i%3 != 0 {
		return false
	}
	*m = i/3 + 1
	return true
}
