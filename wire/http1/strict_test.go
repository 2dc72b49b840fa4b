package http1

import (
	"fmt"
	"strings"
	"testing"

	"peel/wire/httpfield"
)

func TestRequestsThatAreRefusedToo(t *testing.T) {
	for name, in := range map[string]string{
		"RFC9112_2_2_BareCRFirst":            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9112_2_2_BareLFFirst":            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9112_3_2_Fragment":               "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC3986_2_RawByte":                  "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9112_3_2_2_NoAuthority":          "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9110_4_2_4_Userinfo":             "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9112_3_2_3_TwoPorts":             "CONNECT a:1:2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9112_3_2_3_NoPort":               "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n",
		"RFC9110_9_3_6_ConnectContent":       "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"RFC9110_9_3_6_ConnectChunked":       "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"RFC9112_3_2_HostTwoPorts":           "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
		"RFC9112_3_2_HostUnclosedBracket":    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
		"RFC9112_3_2_HostPortTooLarge":       "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
		"RFC9112_3_2_HostBadPercentCoding":   "GET / HTTP/1.1\r\nHost: a%0g\r\n\r\n",
		"RFC9112_3_2_HostWithBytesAbove0x7f": "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
	} {
		if got := story(ServerRole, Limits{}, in, len(in)); !strings.HasPrefix(got, "error 400") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestRFC9112_9_6_NothingIsReadAfterClose(t *testing.T) {
	in := "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	if got := story(ServerRole, Limits{}, in, len(in)); strings.Contains(got, "/2") || !strings.Contains(got, fmt.Sprintf("kind %d", Closed)) {
		t.Error(got)
	}
}

func TestInterimResponsesAreBounded(t *testing.T) {
	in := strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)
	if got := story(ClientRole, Limits{}, in, len(in)); strings.Count(got, "head") != 32 || !strings.Contains(got, "error") {
		t.Error(got)
	}
}

func TestABodyWhereNoneMayBeIsNoted(t *testing.T) {
	in := "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"
	if got := story(ClientRole, Limits{}, in, len(in)); !strings.Contains(got, "204 response announces a body") {
		t.Error(got)
	}
}

// A slow sender must not make the reader search the same bytes twice.
func TestSlowLineIsSearchedOnce(t *testing.T) {
	var r Reader
	r.Reset(ServerRole, Limits{})
	in := []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 30000))
	for n := 1; n <= len(in); n++ {
		if _, used, err := r.Next(in[:n], false); err != nil || used != 0 {
			t.Fatal(used, err)
		}
		if r.scanned != n {
			t.Fatalf("after %d bytes the search stands at %d", n, r.scanned)
		}
	}
}

// Each continuation line copies the value before it: their number is bounded.
func TestFoldFloodIsRefused(t *testing.T) {
	in := "HTTP/1.1 200 OK\r\nX: a\r\n" + strings.Repeat(" b\r\n", 10000) + "\r\n"
	if got := story(ClientRole, Limits{}, in, len(in)); !strings.HasPrefix(got, "error 431") {
		t.Error(got)
	}
}

func TestWritersRefuse(t *testing.T) {
	type fields = httpfield.List
	both := fields{{Name: "Content-Length", Value: "1"}, {Name: "Transfer-Encoding", Value: "chunked"}}
	for _, h := range []Head{
		{Method: "GET", Target: "/", Minor: -38}, // would end the line
		{Method: "GET", Target: "/#f", Minor: 1}, {Method: "GET", Target: "/\x80", Minor: 1},
		{Method: "POST", Target: "/", Minor: 1, Fields: both},
		{Method: "POST", Target: "/", Minor: 1, Fields: fields{{Name: "Content-Length", Value: "+1"}}},
		{Method: "POST", Target: "/", Minor: 0, Fields: both[1:]},
	} {
		if out, err := AppendRequest([]byte("kept"), &h); err == nil || string(out) != "kept" {
			t.Errorf("%+v was written: %q", h, out)
		}
	}
	for _, h := range []Head{{Status: 204, Minor: 1, Fields: both[:1]}, {Status: 100, Minor: 1, Fields: both[1:]}, {Status: 200, Minor: 7}} {
		if out, err := AppendResponse([]byte("kept"), &h); err == nil || string(out) != "kept" {
			t.Errorf("%+v was written: %q", h, out)
		}
	}
}

// validText is a faster ValidValue; ValidValue is its judge.
func TestValidTextAgreesWithValidValue(t *testing.T) {
	for c := 0; c < 256; c++ {
		for n := 1; n < 20; n++ {
			for at := 0; at < n; at++ {
				b := []byte(strings.Repeat("a", n+2)) // nothing odd at the ends
				b[at+1] = byte(c)
				if s := string(b); validText(s) != httpfield.ValidValue(s) {
					t.Fatalf("%q: %v", s, validText(s))
				}
			}
		}
	}
}
