package netrc

import (
	"strings"
	"testing"
)

const file = `# comment
machine Example.com login alice password "s p\"ace"
machine api.example.com
  login bob
  password #hash
macdef init
  cd /tmp
  machine not.this

default login anonymous password guest
`

func TestLookup(t *testing.T) {
	f, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"example.com": `alice s p"ace`, "API.example.com": "bob #hash", "not.this": "anonymous guest", "else.example": "anonymous guest",
	} {
		e, ok := f.Lookup(host, "")
		if got := e.Login + " " + e.Password; !ok || got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	if e, ok := f.Lookup("example.com", "carol"); ok {
		t.Errorf("a login that is not there gives %+v", e)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for in, want := range map[string]string{
		"login x":             "line 1",
		"\nmachine a logon b": "line 2",
		"machine a login":     "ends",
		"machine \"a":         "quoted",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := Parse(b); err == nil {
			n.Lookup("example.com", "")
		}
	})
}
