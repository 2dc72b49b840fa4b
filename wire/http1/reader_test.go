package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"
	"testing"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n"
const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

// Each is a request on which two servers could disagree: it must be refused,
// with this status, and what came before it must have been delivered.
func TestRequestsThatAreRefused(t *testing.T) {
	deep := strings.Repeat("a", 9000)
	for _, c := range []struct {
		name, in string
		status   int
	}{
		{"RFC9112_6_1_LengthBesideCoding", get + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"RFC9112_6_1_CodingBesideLength", get + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
		{"RFC9112_6_1_CodingInHTTP10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"RFC9112_6_3_CodingDoesNotEndInChunked", get + "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
		{"RFC9112_6_3_Identity", get + "Transfer-Encoding: identity\r\n\r\n", 400},
		{"RFC9112_6_1_UnknownCoding", get + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"ObfuscatedCoding_xchunked", get + "Transfer-Encoding: xchunked\r\n\r\n", 400},
		{"ObfuscatedCoding_quoted", get + "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
		{"ObfuscatedCoding_verticalTab", get + "Transfer-Encoding: \vchunked\r\n\r\n", 400},
		{"ObfuscatedCoding_spaceBeforeColon", get + "Transfer-Encoding : chunked\r\n\r\n", 400},
		{"ObfuscatedCoding_folded", get + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
		{"ObfuscatedCoding_emptyLast", get + "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n\r\n", 400},
		{"RFC9112_6_3_DifferingLengths", get + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		{"RFC9112_6_3_LengthList", get + "Content-Length: 3, 3\r\n\r\nabc", 400},
		{"LengthWithSign", get + "Content-Length: +3\r\n\r\nabc", 400},
		{"LengthNegative", get + "Content-Length: -3\r\n\r\n", 400},
		{"LengthWithSpace", get + "Content-Length: 1 2\r\n\r\n", 400},
		{"LengthHex", get + "Content-Length: 0x3\r\n\r\nabc", 400},
		{"LengthEmpty", get + "Content-Length:\r\n\r\n", 400},
		{"LengthOverflow", get + "Content-Length: 18446744073709551619\r\n\r\nabc", 400},
		{"RFC9112_2_2_BareLF", "GET / HTTP/1.1\nHost: a\n\n", 400},
		{"RFC9112_2_2_BareLFInField", get + "X: a\nY: b\r\n\r\n", 400},
		{"RFC9112_2_2_BareCR", get + "X: a\rY: b\r\n\r\n", 400},
		{"RFC9112_2_2_SpaceBeforeFirstField", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_5_1_SpaceBeforeColon", get + "X : y\r\n\r\n", 400},
		{"RFC9112_5_2_ObsFold", get + "X: a\r\n b\r\n\r\n", 400},
		{"EmptyName", get + ": y\r\n\r\n", 400},
		{"NoColon", get + "X\r\n\r\n", 400},
		{"NulInValue", get + "X: a\x00b\r\n\r\n", 400},
		{"ControlInValue", get + "X: a\x01b\r\n\r\n", 400},
		{"RFC9112_3_2_NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
		{"RFC9112_3_2_TwoHosts", get + "Host: a\r\n\r\n", 400},
		{"RFC9112_3_2_TwoHostsHTTP10", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
		{"RFC9112_3_2_HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"RFC9112_3_2_HostWithUser", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
		{"RFC9112_3_TwoSpaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_3_Tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_3_HTTP09", "GET /\r\n\r\n", 400},
		{"RFC9112_3_MethodNoToken", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_2_3_LowerCaseVersion", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_2_3_LongVersion", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_2_3_HTTP2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"RFC9112_3_2_3_AuthorityForGet", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_3_2_4_AsteriskForGet", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_3_2_3_PathForConnect", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		{"RFC9112_3_StartLineTooLong", "GET /" + deep + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"RFC6585_5_HeadTooLarge", get + strings.Repeat("X: "+deep[:4000]+"\r\n", 20) + "\r\n", 431},
		{"RFC6585_5_TooManyFields", get + strings.Repeat("X: y\r\n", 300) + "\r\n", 431},
		{"ChunkSizeEmpty", chunked + "\r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkSizeSigned", chunked + "+5\r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkSizePrefixed", chunked + "0x5\r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkSizeSpace", chunked + "5 \r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkSizeOverflow", chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkLineEndsWithLF_CVE_2025_22871", chunked + "5\nhello\r\n0\r\n\r\n", 400},
		{"ChunkExtensionHidesLF", chunked + "5;a\nhello\r\n0\r\n\r\n", 400},
		{"ChunkExtensionHidesCR", chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n", 400},
		{"ChunkDataEndsWithLF", chunked + "5\r\nhello\n0\r\n\r\n", 400},
		{"ChunkDataSpills", chunked + "5\r\nhelloXX0\r\n\r\n", 400},
		{"ChunkExtensionFlood", chunked + strings.Repeat("1;"+deep[:2000]+"\r\na\r\n", 20), 400},
		{"ChunkExtensionEndless", chunked + "1;" + deep, 400},
		{"LastChunkMissing", chunked + "5\r\nhello\r\n", 400},
		{"TrailerLF", chunked + "0\r\nX: y\n\r\n", 400},
		{"RFC9110_6_5_1_TrailerFraming", chunked + "0\r\nContent-Length: 3\r\n\r\n", 400},
		{"RFC9110_6_5_1_TrailerHost", chunked + "0\r\nHost: b\r\n\r\n", 400},
		{"TrailerFlood", chunked + "0\r\n" + strings.Repeat("X: "+deep[:4000]+"\r\n", 9) + "\r\n", 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := story(ServerRole, Limits{}, c.in, len(c.in))
			last := got[strings.LastIndexByte(got, '\n')+1:]
			if !strings.HasPrefix(last, fmt.Sprintf("error %d ", c.status)) {
				t.Errorf("want %d, got %s", c.status, got)
			}
			if strings.HasPrefix(c.in, chunked) && !strings.HasPrefix(got, "head POST") {
				t.Errorf("the head was not delivered before the error: %s", got)
			}
		})
	}
}

func TestResponsesThatAreTolerated(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"RFC9112_2_2_BareLF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "LF alone"},
		{"RFC9112_5_2_ObsFold", "HTTP/1.1 200 OK\r\nX: a\r\n\t b\r\nContent-Length: 0\r\n\r\n", "{X a b false}"},
		{"RFC9112_5_1_SpaceBeforeColon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", "{X a false}"},
		{"RFC9112_6_3_EqualLengths", "HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n", "length 0"},
		{"RFC9112_6_3_CodingOverridesLength", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "keep false"},
		{"RFC9112_4_NoSpaceAfterStatus", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "no space after the status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := story(ClientRole, Limits{}, c.in, len(c.in), "GET")
			if !strings.Contains(got, c.want) || strings.Contains(got, "deviations []") || strings.Contains(got, "error") {
				t.Errorf("want %q and a deviation, got %s", c.want, got)
			}
		})
	}
}

func TestResponsesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"NotHTTP", "SSH-2.0-OpenSSH_9.2\r\n"}, {"NoHTTPWithoutLine", "\x15\x03\x01\x00\x02\x02\x46"},
		{"DifferingLengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
		{"StatusOfTwoDigits", "HTTP/1.1 20 OK\r\n\r\n"}, {"StatusBelow100", "HTTP/1.1 099 X\r\n\r\n"},
		{"NulInReason", "HTTP/1.1 200 O\x00K\r\n\r\n"}, {"BareCR", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"},
		{"ChunkLineLF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"},
	} {
		if got := story(ClientRole, Limits{}, c.in, len(c.in), "GET"); !strings.Contains(got, "error") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestRFC9112_6_3_FramingHangsOnTheRequest(t *testing.T) {
	const length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	got := story(ClientRole, Limits{}, length+length+"hello"+length+"\x16\x03", 1, "HEAD", "GET", "CONNECT")
	for _, want := range []string{"length 5", "end []", `data "hello"`, "kind 4, 2 bytes left"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestTruncatedBodyTellsTheNumbers(t *testing.T) {
	var r Reader
	r.Reset(ClientRole, Limits{})
	b := []byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
	for {
		_, n, err := r.Next(b, true)
		b = b[n:]
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !e.Truncated() || e.Announced != 10 || e.Received != 3 {
				t.Errorf("%#v", err)
			}
			return
		}
	}
}

// Net/http is the judge: what both accept they must understand alike.
func TestDifferentialAgainstNetHTTP(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for i := range 2000 {
		in, response := generate(rnd)
		method := "GET"
		if response {
			agreeResponse(t, in, true)
		} else {
			agreeRequest(t, in, true)
		}
		if t.Failed() {
			t.Fatalf("message %d for %s:\n%q", i, method, in)
		}
	}
}

// generate makes a valid message with a delimited body.
func generate(rnd *rand.Rand) (msg string, response bool) {
	pick := func(s ...string) string { return s[rnd.Intn(len(s))] }
	response = rnd.Intn(2) == 0
	var b strings.Builder
	if response {
		b.WriteString("HTTP/1.1 " + pick("200 OK", "404 Not Found", "500 ", "302 Gone elsewhere") + "\r\n")
	} else {
		b.WriteString(pick("GET", "POST", "PUT", "DELETE", "PATCH") + " " + pick("/", "/a/b?c=d&e", "/%20;x", "http://h.example/p?q") + " HTTP/1.1\r\nHost: h.example\r\n")
	}
	for range rnd.Intn(8) {
		b.WriteString(pick("X-A", "x-b", "Accept", "X_c", "Cookie") + ":" + pick("", " ", "\t ") + pick("1", "a b", "\xc3\xa9", "", "a, b;c=\"d\"") + pick("", " ") + "\r\n")
	}
	body := strings.Repeat("x", rnd.Intn(50))
	if rnd.Intn(2) == 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
		return b.String(), response
	}
	b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	for body != "" {
		n := 1 + rnd.Intn(len(body))
		fmt.Fprintf(&b, "%x%s\r\n%s\r\n", n, pick("", ";a", ";a=b"), body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n" + pick("", "X-Trailer: 1\r\n") + "\r\n")
	return b.String(), response
}

// message is what a reader understood.
type message struct {
	line    string
	fields  http.Header
	body    string
	trailer http.Header
	length  int64
	chunked bool
	ok      bool
}

func ours(role Role, in string) (m message) {
	var r Reader
	r.Reset(role, Limits{})
	r.ExpectResponseTo("GET")
	m.fields, m.trailer = http.Header{}, http.Header{}
	b := []byte(in)
	for {
		ev, n, err := r.Next(b, true)
		b = b[n:]
		switch {
		case err != nil:
			return m
		case ev.Kind == HeadEvent:
			h := ev.Head
			if role == ServerRole {
				m.line = h.Method + " " + h.Target
			} else {
				m.line = fmt.Sprintf("%03d", h.Status)
			}
			m.length, m.chunked = h.ContentLength, h.Framing == Chunked
			for _, f := range h.Fields {
				m.fields.Add(f.Name, f.Value)
			}
		case ev.Kind == Data:
			m.body += string(ev.Data)
		case ev.Kind == End:
			for _, f := range ev.Trailers {
				m.trailer.Add(f.Name, f.Value)
			}
			m.ok = true
			return m
		default:
			return m
		}
	}
}

func agreeRequest(t *testing.T, in string, must bool) {
	mine := ours(ServerRole, in)
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
	if err != nil {
		if must {
			t.Errorf("net/http: %v", err)
		}
		return
	}
	body, err := io.ReadAll(req.Body)
	compare(t, mine, err, must, req.Method+" "+req.RequestURI, req.Header, string(body), req.Trailer, len(req.TransferEncoding) > 0)
}

func agreeResponse(t *testing.T, in string, must bool) {
	mine := ours(ClientRole, in)
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(in)), &http.Request{Method: "GET"})
	if err != nil {
		if must {
			t.Errorf("net/http: %v", err)
		}
		return
	}
	body, err := io.ReadAll(res.Body)
	compare(t, mine, err, must, fmt.Sprintf("%03d", res.StatusCode), res.Header, string(body), res.Trailer, len(res.TransferEncoding) > 0)
}

func compare(t *testing.T, mine message, err error, must bool, line string, fields http.Header, body string, trailer http.Header, chunked bool) {
	if !mine.ok || err != nil {
		if must {
			t.Errorf("refused: ours %v, net/http %v", !mine.ok, err)
		}
		return
	}
	if mine.line != line || mine.body != body || mine.chunked != chunked {
		t.Errorf("ours %q %q chunked %v, net/http %q %q chunked %v", mine.line, mine.body, mine.chunked, line, body, chunked)
	}
	if !must {
		return
	}
	for _, k := range []string{"X-A", "X-B", "Accept", "X_c", "Cookie"} {
		if fmt.Sprint(mine.fields[k]) != fmt.Sprint(fields[k]) {
			t.Errorf("%s: ours %q, net/http %q", k, mine.fields[k], fields[k])
		}
	}
	if fmt.Sprint(mine.trailer) != fmt.Sprint(http.Header(trailer)) && len(mine.trailer)+len(trailer) > 0 {
		t.Errorf("trailers: ours %v, net/http %v", mine.trailer, trailer)
	}
}

func TestDirectReadsCountLikeOthers(t *testing.T) {
	var r Reader
	r.Reset(ClientRole, Limits{})
	head := []byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
	if ev, n, err := r.Next(head, false); err != nil || ev.Kind != HeadEvent || n != len(head) || r.Direct() != 10 {
		t.Fatal(ev.Kind, n, err, r.Direct())
	}
	r.Skip(4)
	if ev, n, err := r.Next([]byte("56"), false); err != nil || ev.Kind != Data || n != 2 || r.Direct() != 4 {
		t.Fatal(ev.Kind, n, err, r.Direct())
	}
	r.Skip(4)
	if ev, _, err := r.Next(nil, false); err != nil || ev.Kind != End || r.Direct() != 0 {
		t.Fatal(ev.Kind, err)
	}
}
