package redact

import (
	"sort"
	"strings"
	"testing"
)

// Whatever is scanned, what is found stands in it, one after the other.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"GET /?token=abc&x HTTP/1.1\r\nCookie: a=b; c\r\nAuthorization: Basic eDp5\r\n\r\npassword=x&code=y", `{"password": "a\"b", "access_token":123,"secret":"`, "https://a:b@c/?key=d#sig=e https://x@y://:@",
		"Content-Disposition: form-data; name=\"secret\"\r\n\r\nabc\r\n--", "Set-Cookie:", "token=\"", "cookie:\r\ncookie: =\r\n", "://", "=", ":"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, as := range []form{inText, inRequest, inResponse} {
			end := 0
			scan(b, as, func(before string, from, to int, _ bool) {
				if from < end || to <= from || to > len(b) {
					t.Fatalf("%q: %d to %d after %d", b, from, to, end)
				}
				end = to
			})
		}
		s := string(b)
		once := Text(s)
		if again := Text(once); again != once {
			t.Errorf("%q becomes %q, and that %q", s, once, again)
		}
	})
}

// The matcher finds what looking for each text by itself finds.
func FuzzMatcher(f *testing.F) {
	f.Add("abcd\nbcde\ncde\nabcdabce", "xabcdabcdeabcdabce")
	f.Add("aaaa\naaaaa\naaaaaaa", "aaaaaabaaaa")
	f.Fuzz(func(t *testing.T, patterns, text string) {
		var list []string
		for _, p := range strings.Split(patterns, "\n") {
			if len(p) >= shortest && len(p) <= 2*piece {
				list = append(list, p)
			}
		}
		sort.Strings(list)
		want := make([]bool, len(text))
		for _, p := range list {
			for i := 0; i+len(p) <= len(text); i++ {
				if text[i:i+len(p)] == p {
					for j := range len(p) {
						want[i+j] = true
					}
				}
			}
		}
		got := make([]bool, len(text))
		find(newMatcher(list), text, func(from, to int) {
			for i := from; i < to; i++ {
				got[i] = true
			}
		})
		for i := range want {
			if want[i] != got[i] {
				t.Fatalf("%q in %q, at %d: %v", list, text, i, got[i])
			}
		}
	})
}
