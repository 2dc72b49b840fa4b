package weburl

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"https://example.com/":                  "https://example.com/ example.com 443",
		"example.com":                           "https://example.com/ example.com 443",
		"EXAMPLE.com/a/../b":                    "https://example.com/b example.com 443",
		"localhost:8080/x?y=1#z":                "http://localhost:8080/x?y=1#z localhost 8080",
		"10.0.0.1/x":                            "http://10.0.0.1/x 10.0.0.1 80",
		"[::1]:80":                              "http://[::1]/ ::1 80",
		"http://[2001:DB8::1]:8080/":            "http://[2001:db8::1]:8080/ 2001:db8::1 8080",
		"https://bücher.example/ü?ä=ö":          "https://xn--bcher-kva.example/%C3%BC?%C3%A4=%C3%B6 xn--bcher-kva.example 443",
		"http://0x7f.1/":                        "http://127.0.0.1/ 127.0.0.1 80",
		"https:\\\\example.com\\a\\b":           "https://example.com/a/b example.com 443",
		"https://u%40x:p%3aw@example.com/":      "https://example.com/ example.com 443",
		"https://example.com:443/":              "https://example.com/ example.com 443",
		"http://example.com?q":                  "http://example.com/?q example.com 80",
		"  https://example.com/a b\n":           "https://example.com/a%20b example.com 443",
		"https://example.com/%7Efoo/%2E%2e/bar": "https://example.com/bar example.com 443",
		"foo":                                   "https://foo/ foo 443",
	} {
		u, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := u.String() + " " + u.Host + " " + itoa(u.Port); got != want {
			t.Errorf("%q is %s, want %s", in, got, want)
		}
	}
	u, _ := Parse("https://u%40x:p%3aw@example.com/")
	if u.Username != "u@x" || u.Password != "p:w" || !u.HasCredentials() || strings.Contains(u.String(), "p:w") {
		t.Errorf("credentials: %+v", u)
	}
}

func itoa(n uint16) string {
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "empty",
		"how does tcp work":         "search",
		"ftp://example.com/":        "scheme",
		"mailto:a@b.example":        "scheme",
		"file:///etc/passwd":        "scheme",
		"https://":                  "",
		"https://exa mple.com/":     "",
		"http://example.com:99999/": "",
		"http://example.com:0/":     "port",
		"http://[::1%25eth0]/":      "",
		"http://a..b:x/":            "",
	} {
		_, err := Parse(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about %q", in, err, want)
		}
	}
	var words *NotURL
	if _, err := Parse("how does tcp work"); !errors.As(err, &words) {
		t.Error("search words are not recognised")
	}
}

func TestNotesSayWhatWasNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM":               "scheme added",
		"https://EXAMPLE.com/":      "host in lower case EXAMPLE.com → example.com",
		"https://bücher.example/":   "IDNA",
		"https://example.com:443/":  "default port left out",
		"https://example.com/#frag": "fragment not sent #frag",
		"https://example.com/a/./b": "dot segments",
		"https://example.com/a b":   "percent-encoding",
		"https://u:p@example.com/":  "Authorization",
	} {
		u, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		all := ""
		for _, n := range u.Notes {
			all += n.String() + "\n"
		}
		if !strings.Contains(all, want) {
			t.Errorf("%q: notes are %q, want %q", in, all, want)
		}
	}
	if u, _ := Parse("https://example.com/a?b=c"); len(u.Notes) != 0 {
		t.Errorf("a URL that is normal has notes: %v", u.Notes)
	}
}

func TestResolve(t *testing.T) {
	base, err := Parse("https://example.com/a/b?c#d")
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"x":                   "https://example.com/a/x#d",
		"/x#y":                "https://example.com/x#y",
		"//other.example/":    "https://other.example/#d",
		"http://example.com/": "http://example.com/#d",
		"?q":                  "https://example.com/a/b?q#d",
		"../../..":            "https://example.com/#d",
	} {
		u, err := Resolve(base, ref)
		if err != nil || u.String() != want {
			t.Errorf("%q is %s, %v; want %s", ref, u.String(), err, want)
		}
	}
	if _, err := Resolve(base, "javascript:alert(1)"); err == nil {
		t.Error("a javascript: reference is taken")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://example.com/", "localhost:8080", "[::1]", "a b", "http://0x7f.1/%2e", "https://bücher.example:1/ü?q#f", "http:/\\x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			return
		}
		if u.Host == "" || u.Port == 0 || u.Target == "" || u.Target[0] != '/' || strings.ContainsAny(u.Target+u.Authority, " \r\n\x00") {
			t.Fatalf("%q gives %+v", s, u)
		}
		again, err := Parse(u.String())
		if err != nil || again.String() != u.String() {
			t.Fatalf("%q → %q → %q, %v", s, u.String(), again.String(), err)
		}
	})
}
