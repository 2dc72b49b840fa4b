package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var dateLine = regexp.MustCompile(`Date: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n`)

// undated takes the Date fields out, which must be there.
func undated(t *testing.T, s string) string {
	t.Helper()
	if !dateLine.MatchString(s) {
		t.Errorf("no Date in %q", s)
	}
	return dateLine.ReplaceAllString(s, "")
}

func TestH1ResponseFraming(t *testing.T) {
	s := start(t, &Server{})
	for _, c := range []struct{ rule, send, want string }{
		{"RFC9112_6_3_ContentLengthWhenTheWholeIsKnown",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\nhello, world\n"},
		{"RFC9112_7_1_ChunkedWhenTheLengthIsUnknown",
			"GET /flush HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"},
		{"RFC9112_6_3_ToHTTP10TheBodyEndsWithTheConnection",
			"GET /flush HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none two three"},
		{"RFC9112_9_3_HTTP10KeepAlive",
			"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\nhello, world\n" +
				"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\nhello, world\n"},
		{"RFC9112_7_1_2_TrailersInChunkedOnly",
			"GET /trailer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n"},
		{"RFC9110_9_3_2_HeadTellsTheLengthAndSendsNothing",
			"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\n"},
		{"RFC9110_9_3_2_HeadOfAChunkedBody",
			"HEAD /big?20000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\nConnection: close\r\n\r\n"},
		{"RFC9110_8_6_NoContentLengthIn204",
			"GET /status?204 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"RFC9110_15_4_5_NoBodyIn304",
			"GET /status?304 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"},
		{"RFC8297_EarlyHints",
			"GET /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage"},
		{"RFC9110_15_2_NoInterimResponsesToHTTP10",
			"GET /hints HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage"},
		{"RFC9110_10_1_1_ContinueWhenTheBodyIsWanted",
			"POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n0 <nil> "},
		{"RFC9112_6_3_ShortBodyEndsTheConnection",
			"GET /short HTTP/1.1\r\nHost: a\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred"},
		{"RFC9110_5_5_NoResponseSplitting",
			"GET /bad-field HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 22\r\nConnection: close\r\n\r\nInternal Server Error\n"},
		{"RFC9112_3_2_2_AbsoluteTargetBeatsHost",
			"GET http://b.example:81/method?q=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 42\r\nConnection: close\r\n\r\nHTTP/1.1 GET http b.example:81|/method|q=1"},
		{"RFC9110_9_3_6_AnOriginServerOpensNoTunnel",
			"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\nConnection: close\r\n\r\nNot Implemented\n"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			if got := undated(t, raw(t, s.plain, c.send)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestRFC9112_9_3_2_PipelinedResponsesComeInOrder(t *testing.T) {
	s := start(t, &Server{})
	var send strings.Builder
	for i := range 100 {
		if i%3 == 0 {
			send.WriteString("POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n")
		} else {
			send.WriteString("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	}
	send.WriteString("GET /status?418 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	rd := bufio.NewReader(strings.NewReader(raw(t, s.plain, send.String())))
	for i := range 101 {
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		b, _ := io.ReadAll(resp.Body)
		want := "hello, world\n"
		switch {
		case i == 100:
			want = ""
		case i%3 == 0:
			want = "5 <nil> 9"
		}
		if string(b) != want {
			t.Fatalf("response %d: %q", i, b)
		}
	}
}

func TestRFC9110_10_1_1_ContinueIsSentBeforeTheBodyIsAwaited(t *testing.T) {
	s := start(t, &Server{})
	c, err := net.Dial("tcp", s.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "POST /length HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	rd := bufio.NewReader(c)
	line, _ := rd.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q", line)
	}
	rd.ReadString('\n')
	io.WriteString(c, "hello")
	resp, err := http.ReadResponse(rd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "5 <nil> " {
		t.Fatalf("%q", b)
	}
}

func TestRFC9110_10_1_1_BodyThatWasNotAskedForEndsTheConnection(t *testing.T) {
	s := start(t, &Server{})
	got := raw(t, s.plain, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "Connection: close\r\n") {
		t.Fatalf("%q", got)
	}
}

// The unread body is longer than any socket buffer: were the connection
// closed on it, a reset would destroy the response.
func TestRFC9112_9_6_ResponseOutlivesALongUnreadBody(t *testing.T) {
	s := start(t, &Server{})
	for range 5 {
		c, err := net.Dial("tcp", s.plain)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		go io.WriteString(c, "POST /status?403 HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("x", 400000))
		time.Sleep(20 * time.Millisecond)
		b, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 403 Forbidden\r\n") {
			t.Fatalf("%q %v", b, err)
		}
		c.Close()
	}
}

func TestShortUnreadBodyKeepsTheConnection(t *testing.T) {
	s := start(t, &Server{})
	got := raw(t, s.plain, "POST /status?403 HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n"+strings.Repeat("x", 50000)+
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 403 ") || !strings.HasSuffix(got, "hello, world\n") {
		t.Fatalf("%q", got)
	}
}

func TestH1SmugglingIsRefusedAndTheConnectionClosed(t *testing.T) {
	s := start(t, &Server{})
	const next = "GET /status?418 HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct{ what, send, status string }{
		{"both framings", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, "400"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + next, "400"},
		{"length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello" + next, "400"},
		{"signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello" + next, "400"},
		{"space before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello" + next, "400"},
		{"folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n" + next, "400"},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n" + next, "400"},
		{"bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n" + next, "400"},
		{"NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n" + next, "400"},
		{"unknown coding last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n" + next, "400"},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + next, "501"},
		{"no Host", "GET / HTTP/1.1\r\n\r\n" + next, "400"},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + next, "400"},
		{"long target", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n" + next, "414"},
		{"large head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 20000) + "\r\n\r\n" + next, "431"},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n" + next, "431"},
		{"other version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n" + next, "505"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		{"half a preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "505"},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := raw(t, s.plain, c.send)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") {
				t.Errorf("not refused with %s: %q", c.status, got)
			}
			if strings.Contains(got, "418") {
				t.Errorf("the smuggled request was answered: %q", got)
			}
		})
	}
	// Broken chunks show only while the body is read.
	for _, chunks := range []string{"5\nhello\r\n0\r\n\r\n", "5\r\nhelloX0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5 \x01\r\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"} {
		got := raw(t, s.plain, "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks+next)
		if strings.Contains(got, "418") || strings.Contains(got, "<nil>") {
			t.Errorf("chunks %q were taken: %q", chunks, got)
		}
	}
}

func TestHandlerPanicCostsOnlyItsOwnResponse(t *testing.T) {
	s := start(t, &Server{})
	got := raw(t, s.plain, "GET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 500 ") || !strings.HasSuffix(got, "hello, world\n") {
		t.Fatalf("%q", got)
	}
	if !strings.Contains(s.logged(), "a bug in the handler") || !strings.Contains(s.logged(), "server_test.go") {
		t.Fatalf("the log does not tell: %s", s.logged())
	}
	got = raw(t, s.plain, "GET /late-panic HTTP/1.1\r\nHost: a\r\n\r\n")
	if !strings.HasSuffix(got, "\r\n\r\n6\r\na part\r\n") {
		t.Fatalf("a response that broke off looks whole: %q", got)
	}
	if got := raw(t, s.plain, "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n"); got != "" {
		t.Fatalf("%q", got)
	}
}
