package http1

import (
	"testing"
)

// A start line is known by itself, and nothing else is taken for one.
func TestBegins(t *testing.T) {
	for _, c := range []struct {
		role      Role
		in        string
		yes, more bool
	}{
		{ServerRole, "GET / HTTP/1.1\r\n", true, false},
		{ServerRole, "GET / HTTP/1.1\n", true, false},
		{ServerRole, "GET / HTTP/1.", false, true},
		{ServerRole, "GET /a b HTTP/1.1\r\n", false, false},
		{ServerRole, "and / HTTP/1.1 is\r\n", false, false},
		{ServerRole, "GET / HTTP/2.0\r\n", false, false},
		{ServerRole, "{\"a\": 1", false, false},
		{ServerRole, "", false, true},
		{ClientRole, "HTTP/1.1 200 OK\r\n", true, false},
		{ClientRole, "HTTP/1.1 200\r\n", true, false},
		{ClientRole, "HTTP/1.0 40", false, true},
		{ClientRole, "HTTP/1.1 2000 OK", false, false},
		{ClientRole, "HTTP is a protocol", false, false},
	} {
		if yes, more := Begins(c.role, []byte(c.in)); yes != c.yes || more != c.more {
			t.Errorf("%q: %v, more %v", c.in, yes, more)
		}
	}
}

func TestTorn(t *testing.T) {
	for in, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost": true, "GET /a H": true, "GET /a ": false, "GET /a": false, "GET": false, "rest of a text": false, "GET /a HTTP/2": false,
	} {
		if Torn([]byte(in)) != want {
			t.Errorf("%q: %v", in, !want)
		}
	}
}

// What is missing of a body of known length is passed over; of a head, it is not.
func TestMissing(t *testing.T) {
	var r Reader
	head := []byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
	read := func(b string) Event {
		t.Helper()
		ev, n, err := r.Next([]byte(b), false)
		if err != nil || ev.Kind != NeedMore && n != len(b) {
			t.Fatalf("%q: %+v, %d, %v", b, ev, n, err)
		}
		return ev
	}
	r.Reset(ClientRole, Limits{Observe: true})
	if r.Missing(1) {
		t.Error("a byte of a head is passed over")
	}
	r.Answering("GET")
	read(string(head))
	read("abc")
	if r.Missing(8) || !r.Missing(7) {
		t.Error("7 bytes are missing, 8 are too many")
	}
	if ev := read(""); ev.Kind != End {
		t.Errorf("%+v", ev)
	}
	r.Answering("GET")
	read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	read("5\r\nab")
	if r.Missing(4) || !r.Missing(3) {
		t.Error("3 bytes of the chunk are missing")
	}
	if ev := read("\r\n0\r\n\r\n"); ev.Kind != End {
		t.Errorf("%+v", ev)
	}
	r.Answering("HEAD")
	read(string(head))
	if ev := read(""); ev.Kind != End {
		t.Errorf("a response to HEAD: %+v", ev)
	}
	if _, _, err := r.Next([]byte("nonsense"), false); err == nil {
		t.Error("nonsense is read")
	}
	r.Resume(8)
	if !r.InHead() {
		t.Error("the reader does not go on")
	}
	read(string(head))
}

// RFC 9110 §8.6: leading zeros are digits as others are.
func TestContentLengthOfManyDigits(t *testing.T) {
	for in, want := range map[string]int64{"00000000000000000000000000005": 5, "99999999999999999": 99999999999999999, "18446744073709551615": -1, "-5": -1} {
		var r Reader
		r.Reset(ServerRole, Limits{})
		ev, _, err := r.Next([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+in+"\r\n\r\n"), false)
		switch {
		case want < 0 && err == nil, want >= 0 && (err != nil || ev.Head.ContentLength != want):
			t.Errorf("%s: %+v, %v", in, ev, err)
		case want < 0 && err.(*Error).Offset != 26:
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestGlimpse(t *testing.T) {
	for _, c := range []struct {
		role                   Role
		in, method, target     string
		status, minor, nfields int
	}{
		{ServerRole, "GET /a b HTTP/1.0\r\nHost: x\r\n", "GET", "/a b", 0, 0, 1},
		{ServerRole, "GET HTTP/1.1\r\n\r\n", "GET", "", 0, 1, 0},
		{ServerRole, "GET /a HT", "GET", "/a", 0, 1, 0},
		{ServerRole, "OPTIONS\nHost: x\n\n", "OPTIONS", "", 0, 1, 1},
		{ServerRole, "\x00\xff garbage", "", "", 0, 1, 0},
		{ClientRole, "HTTP/1.0 404 Not Found\r\nA: b\r\nbad\r\nC: d\r\n", "", "", 404, 0, 2},
		{ClientRole, "HTTP/1.1 abc\r\n", "", "", 0, 1, 0},
	} {
		h := Glimpse(c.role, []byte(c.in))
		if h.Method != c.method || h.Target != c.target || h.Status != c.status || h.Minor != c.minor || len(h.Fields) != c.nfields {
			t.Errorf("%q: %+v", c.in, h)
		}
	}
}

func FuzzGlimpse(f *testing.F) {
	f.Add([]byte("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, server bool) {
		role := ClientRole
		if server {
			role = ServerRole
		}
		h := Glimpse(role, b)
		yes, more := Begins(role, b)
		if yes && more {
			t.Error("it begins, and more is needed to say so")
		}
		if yes && role == ServerRole && (h.Method == "" || !Torn(b)) || yes && role == ClientRole && h.Status == 0 && b[9] != '0' {
			t.Errorf("%q begins a message, of which nothing is known: %+v", b, h)
		}
	})
}
