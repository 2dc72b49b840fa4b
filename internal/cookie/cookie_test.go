package cookie

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"peel/clock"
)

var now = clock.Time(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano())

func TestSetFromDecides(t *testing.T) {
	for _, c := range []struct{ url, line, outcome, reason string }{
		{"https://www.example.com/a/b", "id=1", "stored", ""},
		{"https://www.example.com/", "id=1; Domain=example.com", "stored", ""},
		{"https://www.example.com/", "id=1; Domain=other.com", "rejected", "does not cover"},
		{"https://www.example.com/", "id=1; Domain=com", "rejected", "public suffix"},
		{"https://a.co.uk/", "id=1; Domain=co.uk", "rejected", "public suffix"},
		{"https://ample.com/", "id=1; Domain=example.com", "rejected", "does not cover"},
		{"http://example.com/", "id=1; Secure", "rejected", "http"},
		{"http://localhost/", "id=1; Secure", "stored", ""},
		{"https://example.com/", "__Host-id=1; Secure; Path=/", "stored", ""},
		{"https://example.com/", "__Host-id=1; Secure; Path=/; Domain=example.com", "rejected", "__Host-"},
		{"https://example.com/", "__Secure-id=1", "rejected", "__Secure-"},
		{"https://example.com/", "id=1; SameSite=None", "rejected", "SameSite"},
		{"https://example.com/", "id=1; Max-Age=0", "deleted", ""},
		{"https://example.com/", "id=1; Expires=Wed, 09 Jun 2021 10:18:14 GMT", "deleted", ""},
		{"https://example.com/", "id=" + strings.Repeat("x", 5000), "rejected", "4096"},
		{"https://example.com/", "id=\x01", "rejected", "control"},
		{"https://example.com/", "=", "rejected", "neither"},
		{"https://127.0.0.1/", "id=1; Domain=0.0.1", "rejected", "does not cover"},
	} {
		scheme, rest, _ := strings.Cut(c.url, "://")
		host, path, _ := strings.Cut(rest, "/")
		d := NewJar().SetFrom(scheme, host, "/"+path, c.line, now)
		if d.Outcome != c.outcome || !strings.Contains(d.Reason, c.reason) {
			t.Errorf("%s %.60q: %v, want %s %s", c.url, c.line, d, c.outcome, c.reason)
		}
	}
}

func TestRFC6265_5_8_3_OrderAndScope(t *testing.T) {
	j := NewJar()
	j.SetFrom("https", "www.example.com", "/", "a=1; Path=/", now)
	j.SetFrom("https", "www.example.com", "/", "b=2; Path=/docs", now)
	j.SetFrom("https", "www.example.com", "/", "c=3; Domain=example.com; Path=/", now)
	j.SetFrom("https", "www.example.com", "/", "d=4; Secure; Path=/; Max-Age=60", now)
	for _, c := range []struct{ scheme, host, path, want string }{
		{"https", "www.example.com", "/docs/x", "b=2; a=1; c=3; d=4"},
		{"https", "www.example.com", "/docsx", "a=1; c=3; d=4"},
		{"http", "www.example.com", "/", "a=1; c=3"},
		{"https", "api.example.com", "/", "c=3"},
		{"https", "other.com", "/", ""},
	} {
		if got := j.Header(c.scheme, c.host, c.path, now); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if got := j.Header("https", "www.example.com", "/", now.Add(time.Hour)); strings.Contains(got, "d=4") {
		t.Errorf("an expired cookie is sent: %q", got)
	}
	if d := j.SetFrom("http", "www.example.com", "/", "d=5; Path=/", now); d.Accepted() {
		t.Errorf("http replaced a Secure cookie: %v", d)
	}
}

func TestRFC6265_5_1_1_Dates(t *testing.T) {
	for s, want := range map[string]string{
		"Sun, 06 Nov 1994 08:49:37 GMT":  "1994-11-06T08:49:37Z",
		"Sunday, 06-Nov-94 08:49:37 GMT": "1994-11-06T08:49:37Z",
		"Sun Nov  6 08:49:37 1994":       "1994-11-06T08:49:37Z",
		"06 nov 69 8:9:7":                "2069-11-06T08:09:07Z",
		"32 Nov 2020 08:49:37":           "",
		"06 Nov 2020 24:49:37":           "",
		"06 Nov 2020":                    "",
	} {
		d, ok := parseDate(s)
		got := ""
		if ok {
			got = d.UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}

func TestNetscapeFileComesBack(t *testing.T) {
	j := NewJar()
	j.SetFrom("https", "www.example.com", "/x/y", "a=1; Max-Age=1000; HttpOnly", now)
	j.SetFrom("https", "www.example.com", "/", "b=2; Domain=example.com; Path=/; Secure", now)
	k := NewJar()
	if err := k.ReadFile(j.File(now)); err != nil {
		t.Fatal(err)
	}
	if a, b := string(j.File(now)), string(k.File(now)); a != b {
		t.Errorf("wrote\n%sread\n%s", a, b)
	}
	if err := k.ReadFile([]byte("# ok\nexample.com\tTRUE\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
}

func TestJarIsBounded(t *testing.T) {
	j := NewJar()
	for i := range 500 {
		j.SetFrom("https", "example.com", "/", fmt.Sprintf("c%d=1", i), now)
	}
	if n := len(j.For("https", "example.com", "/", now)); n != maxPerDomain {
		t.Errorf("%d cookies of one domain", n)
	}
	for i := range 5000 {
		j.SetFrom("https", fmt.Sprintf("h%d.example", i), "/", "c=1", now)
	}
	if len(j.list) > maxAll {
		t.Errorf("%d cookies in all", len(j.list))
	}
}

func FuzzSetFrom(f *testing.F) {
	f.Add("id=1; Domain=example.com; Path=/; Expires=Sun, 06 Nov 2094 08:49:37 GMT; Max-Age=99999999999999999999; SameSite=none; Secure")
	f.Fuzz(func(t *testing.T, line string) {
		j := NewJar()
		j.SetFrom("https", "www.example.com", "/a/b", line, now)
		if h := j.Header("https", "www.example.com", "/a/b", now); strings.ContainsAny(h, "\r\n\x00;") && !strings.Contains(h, "; ") {
			t.Fatalf("%q", h)
		}
		j.ReadFile([]byte(line))
		j.File(now)
	})
}
