package har

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"peel/trace"
	"peel/view/redact"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2024, 2, 29, 23, 59, 59, 999_999_000, time.FixedZone("", 2*3600))

func interval(from, to trace.Time, a, b int) *trace.Interval {
	return &trace.Interval{Start: from, End: to, Duration: trace.Duration(to - from), FromEvent: a, ToEvent: b}
}

// ms is milliseconds since the trace's start.
func at(ms float64) trace.Time { return trace.Time(ms * 1e6) }

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// sample has a form sent over HTTP/1.1 that is redirected to a compressed page
// on HTTP/2, and a request that failed before it had a connection.
func sample() *trace.Trace {
	form := "name=Ada+Lovelace&note=%3C%26%3E&empty="
	page := strings.Repeat("<p>page</p>\n", 20)
	packed := gzipped(page)
	return &trace.Trace{
		Start: start,
		Connections: []*trace.Connection{
			{ID: 1, LocalAddr: netip.MustParseAddrPort("192.0.2.1:50000"), RemoteAddr: netip.MustParseAddrPort("192.0.2.2:80")},
			{ID: 2, LocalAddr: netip.MustParseAddrPort("[2001:db8::1]:50001"), RemoteAddr: netip.MustParseAddrPort("[2001:db8::2]:443"), TLS: &trace.TLS{Version: "TLS 1.3", Suite: "TLS_AES_128_GCM_SHA256", Group: "X25519", SNI: "example.com", ALPN: "h2", Resumed: true}},
		},
		// Not in the order of their beginnings.
		Exchanges: []*trace.Exchange{
			{
				ID: 2, Method: "GET", URL: "https://example.com/page?q=a%20b&q=c+d&flag&x=%zz#part", Protocol: "HTTP/2", Connection: 2, Stream: 1, Predecessor: 1, Cause: "redirect", Start: at(20), End: at(50),
				Request: trace.Request{Method: "GET", Target: "/page?q=a%20b&q=c+d&flag&x=%zz", HeadersSize: 40,
					Headers: []trace.Header{{Name: ":method", Value: "GET"}, {Name: "cookie", Value: "a=1"}, {Name: "cookie", Value: "b=2; c"}}},
				Response: &trace.Response{Status: 200, HeadersSize: 30,
					Headers: []trace.Header{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "text/html; charset=utf-8"}, {Name: "content-encoding", Value: "gzip"},
						{Name: "set-cookie", Value: "sid=x; Path=/p; Domain=example.com; Expires=Thu, 29 Feb 2024 23:59:59 GMT; Secure; HttpOnly; SameSite=Lax"}, {Name: "set-cookie", Value: "=;;"}},
					Body: trace.Body{Framing: "end_stream", WireSize: int64(len(packed)), DecodedSize: -1, Encoding: "gzip", Announced: -1, Complete: true, Content: packed}},
				Timings: trace.Timings{Connect: interval(at(20.5), at(30.5), 10, 20), SSL: interval(at(22), at(30.5), 12, 20), Send: interval(at(31), at(31), 21, 21), Wait: interval(at(31), at(41), 21, 22), Receive: interval(at(41), at(50), 22, 30), Total: interval(at(20), at(50), 9, 30)},
			},
			{
				ID: 1, Method: "POST", URL: "http://example.com/form", Protocol: "HTTP/1.1", Connection: 1, Start: at(0.001), End: at(19), Pool: "new connection",
				Request: trace.Request{Method: "POST", Target: "/form", HeadersSize: 120,
					Headers: []trace.Header{{Name: "Host", Value: "example.com"}, {Name: "Content-Type", Value: "application/x-www-form-urlencoded"}},
					Body:    trace.Body{Framing: "content-length", WireSize: int64(len(form)), DecodedSize: -1, Announced: int64(len(form)), Complete: true, Content: []byte(form)}},
				Response: &trace.Response{Status: 303, Reason: "See Other", HeadersSize: 60,
					Headers: []trace.Header{{Name: "Location", Value: "https://example.com/page?q=a%20b&q=c+d&flag&x=%zz"}, {Name: "Content-Length", Value: "0"}},
					Body:    trace.Body{Framing: "content-length", DecodedSize: -1, Complete: true}},
				Timings: trace.Timings{Blocked: interval(at(0.001), at(1), 1, 2), DNS: interval(at(1), at(3.5), 2, 4), Connect: interval(at(3.5), at(5), 4, 5), Send: interval(at(5), at(6), 6, 7), Wait: interval(at(6), at(18), 7, 8), Receive: interval(at(18), at(19), 8, 9), Total: interval(at(0.001), at(19), 1, 9)},
			},
			{
				ID: 3, Method: "GET", URL: "https://nosuch.example/", Start: at(60), End: at(61),
				Failure: &trace.Failure{Layer: trace.LayerDNS, Code: "no_name", Seen: "nosuch.example does not exist", Try: "check the name"},
			},
		},
		Events:   []*trace.Event{{ID: 1, Exchange: 1}, {ID: 2, Exchange: 2}},
		Findings: []*trace.Finding{{ID: "HTTP-CLEAR", Severity: "info", Title: "a form in the clear", Evidence: []int{1}}},
	}
}

func written(t *testing.T, tr *trace.Trace) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tr, Options{Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What an importer reads, member by member.
func TestGolden(t *testing.T) {
	raw := written(t, sample())
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	const file = "testdata/sample.har"
	if *update {
		if err := os.WriteFile(file, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("not as in %s; go test -update writes it anew:\n%s", file, pretty.Bytes())
	}
}

// required are the members that HAR 1.2 does not let be left out, and their
// types: s, n, b, a (array) and o (object).
var required = map[string]string{
	"log":      "version:s creator:o entries:a",
	"creator":  "name:s version:s",
	"entry":    "startedDateTime:s time:n request:o response:o cache:o timings:o",
	"request":  "method:s url:s httpVersion:s cookies:a headers:a queryString:a headersSize:n bodySize:n",
	"response": "status:n statusText:s httpVersion:s cookies:a headers:a content:o redirectURL:s headersSize:n bodySize:n",
	"cookie":   "name:s value:s",
	"pair":     "name:s value:s",
	"postData": "mimeType:s params:a text:s",
	"content":  "size:n mimeType:s",
	"timings":  "send:n wait:n receive:n",
}

// known are the other members of the standard. What is in neither begins with
// an underscore.
var known = map[string]string{
	"log": "browser pages comment", "creator": "comment", "entry": "pageref serverIPAddress connection comment", "request": "postData comment", "response": "comment",
	"cookie": "path domain expires httpOnly secure sameSite comment", "pair": "comment", "postData": "comment", "content": "compression text encoding comment", "timings": "blocked dns connect ssl comment",
}

func checkObject(t *testing.T, at, kind string, v any) map[string]any {
	t.Helper()
	o, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is %T, not an object", at, v)
	}
	names := map[string]bool{}
	for _, r := range strings.Fields(required[kind]) {
		name, typ, _ := strings.Cut(r, ":")
		names[name] = true
		got := ""
		switch o[name].(type) {
		case string:
			got = "s"
		case float64:
			got = "n"
		case bool:
			got = "b"
		case []any:
			got = "a"
		case map[string]any:
			got = "o"
		}
		if got != typ {
			t.Errorf("%s.%s is %T, want %s", at, name, o[name], typ)
		}
	}
	for name := range o {
		if !names[name] && !slices.Contains(strings.Fields(known[kind]), name) && !strings.HasPrefix(name, "_") {
			t.Errorf("%s.%s is no member of HAR 1.2", at, name)
		}
	}
	return o
}

func checkPairs(t *testing.T, at, kind string, v any) {
	t.Helper()
	for i, p := range v.([]any) {
		checkObject(t, fmt.Sprintf("%s[%d]", at, i), kind, p)
	}
}

// checkHAR checks a file against the standard: members, times, sizes.
func checkHAR(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	log := checkObject(t, "log", "log", file["log"])
	if log["version"] != "1.2" || len(file) != 1 {
		t.Errorf("version %v, %d members at the top", log["version"], len(file))
	}
	checkObject(t, "creator", "creator", log["creator"])
	var entries []map[string]any
	last := time.Time{}
	for i, v := range log["entries"].([]any) {
		at := fmt.Sprintf("entries[%d]", i)
		e := checkObject(t, at, "entry", v)
		entries = append(entries, e)
		began, err := time.Parse(time.RFC3339, e["startedDateTime"].(string))
		if err != nil || began.Before(last) {
			t.Errorf("%s: began at %v, the one before at %v: %v", at, began, last, err)
		}
		last = began
		q := checkObject(t, at+".request", "request", e["request"])
		r := checkObject(t, at+".response", "response", e["response"])
		for kind, o := range map[string]map[string]any{"request": q, "response": r} {
			checkPairs(t, at+"."+kind+".headers", "pair", o["headers"])
			checkPairs(t, at+"."+kind+".cookies", "cookie", o["cookies"])
			for _, size := range []string{"headersSize", "bodySize"} {
				if n := o[size].(float64); n < -1 || n != float64(int64(n)) {
					t.Errorf("%s.%s.%s is %v", at, kind, size, n)
				}
			}
		}
		checkPairs(t, at+".request.queryString", "pair", q["queryString"])
		if p, ok := q["postData"]; ok {
			checkPairs(t, at+".request.postData.params", "pair", checkObject(t, at+".request.postData", "postData", p)["params"])
		}
		content := checkObject(t, at+".response.content", "content", r["content"])
		if text, ok := content["text"].(string); ok {
			plain := []byte(text)
			if content["encoding"] == "base64" {
				if plain, err = base64.StdEncoding.DecodeString(text); err != nil {
					t.Errorf("%s: base64: %v", at, err)
				}
			}
			if content["size"] != float64(len(plain)) {
				t.Errorf("%s: size %v of %d bytes", at, content["size"], len(plain))
			}
		}
		times := checkObject(t, at+".timings", "timings", e["timings"])
		sum := 0.0
		for name, v := range times {
			n := v.(float64)
			if n < 0 && (n != -1 || name == "send" || name == "wait" || name == "receive") {
				t.Errorf("%s.timings.%s is %v", at, name, n)
			}
			if name != "ssl" && n > 0 {
				sum += n
			}
		}
		// "time" is the sum of all that is not -1; ssl is within connect.
		if got := e["time"].(float64); got < sum-1e-6 || got > sum+1e-6 {
			t.Errorf("%s: time %v, the sum is %v", at, got, sum)
		}
		if ssl, connect := times["ssl"].(float64), times["connect"].(float64); ssl > connect {
			t.Errorf("%s: ssl %v is more than connect %v", at, ssl, connect)
		}
	}
	return entries
}

func TestHAR12(t *testing.T) {
	entries := checkHAR(t, written(t, sample()))
	if len(entries) != 3 {
		t.Fatalf("%d entries", len(entries))
	}
	checkHAR(t, written(t, &trace.Trace{Start: start}))
	// Only what was not observed is missing.
	checkHAR(t, written(t, &trace.Trace{Start: start, Exchanges: []*trace.Exchange{{ID: 1}, {ID: 2, Connection: 9, Response: &trace.Response{Status: 100}}}}))
}

func entryOf(t *testing.T, x *trace.Exchange) map[string]any {
	t.Helper()
	return checkHAR(t, written(t, &trace.Trace{Start: start, Exchanges: []*trace.Exchange{x}}))[0]
}

// Without a response HAR wants status 0 and sizes of -1.
func TestFailedRequest(t *testing.T) {
	e := entryOf(t, sample().Exchanges[2])
	q, r := e["request"].(map[string]any), e["response"].(map[string]any)
	if r["status"] != 0.0 || r["headersSize"] != -1.0 || r["bodySize"] != -1.0 || r["_error"] != "nosuch.example does not exist" {
		t.Errorf("response %v", r)
	}
	if q["headersSize"] != -1.0 || q["bodySize"] != -1.0 || q["httpVersion"] != "unknown" {
		t.Errorf("request %v", q)
	}
	if _, ok := e["serverIPAddress"]; ok {
		t.Error("an address without a connection")
	}
}

// redirectURL is the Location of a 3xx response, and empty otherwise.
func TestRedirectURL(t *testing.T) {
	for status, want := range map[int]string{200: "", 201: "", 301: "/next", 302: "/next", 303: "/next", 304: "/next", 307: "/next", 308: "/next", 404: ""} {
		e := entryOf(t, &trace.Exchange{ID: 1, Response: &trace.Response{Status: status, Headers: []trace.Header{{Name: "LOCATION", Value: "/next"}}}})
		if got := e["response"].(map[string]any)["redirectURL"]; got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

// A body is text where it is UTF-8, base64 where not, and left out with the
// reason where it is not whole.
func TestContent(t *testing.T) {
	packed := gzipped("hello, hello, hello, hello, hello, hello")
	for _, c := range []struct {
		name string
		body trace.Body
		want map[string]any
	}{
		{"none", trace.Body{DecodedSize: -1}, map[string]any{"size": 0.0, "text": nil, "encoding": nil, "comment": nil}},
		{"text", trace.Body{WireSize: 5, DecodedSize: -1, Content: []byte("héy!")}, map[string]any{"size": 5.0, "text": "héy!", "encoding": nil}},
		{"no UTF-8", trace.Body{WireSize: 3, DecodedSize: -1, Content: []byte{0xff, 0xfe, 'a'}}, map[string]any{"size": 3.0, "text": "//5h", "encoding": "base64"}},
		{"a zero byte", trace.Body{WireSize: 3, DecodedSize: -1, Content: []byte("a\x00b")}, map[string]any{"size": 3.0, "text": "YQBi", "encoding": "base64"}},
		{"markup", trace.Body{WireSize: 3, DecodedSize: -1, Content: []byte("<&>")}, map[string]any{"text": "<&>"}},
		{"gzip", trace.Body{WireSize: int64(len(packed)), DecodedSize: -1, Encoding: "gzip", Content: packed}, map[string]any{"size": 40.0, "compression": float64(40 - len(packed)), "text": "hello, hello, hello, hello, hello, hello"}},
		{"damaged gzip", trace.Body{WireSize: 4, DecodedSize: -1, Encoding: "gzip", Content: []byte("abcd")}, map[string]any{"size": 4.0, "text": nil, "comment": "the content was not kept, or not whole"}},
		{"not kept", trace.Body{WireSize: 100, DecodedSize: 300, Encoding: "gzip"}, map[string]any{"size": 300.0, "text": nil, "compression": nil, "comment": "the content was not kept, or not whole"}},
		{"its beginning", trace.Body{WireSize: 100, DecodedSize: -1, Content: []byte("abc")}, map[string]any{"size": 100.0, "text": nil}},
	} {
		e := entryOf(t, &trace.Exchange{ID: 1, Response: &trace.Response{Status: 200, HeadersSize: 10, Body: c.body}})
		r := e["response"].(map[string]any)
		got := r["content"].(map[string]any)
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: %s is %v, want %v", c.name, name, got[name], want)
			}
		}
		// The body's size is that on the wire.
		if r["bodySize"] != float64(c.body.WireSize) || r["_transferSize"] != float64(c.body.WireSize+10) {
			t.Errorf("%s: bodySize %v, _transferSize %v", c.name, r["bodySize"], r["_transferSize"])
		}
	}
}

// A request's body is whole or absent; forms are taken apart.
func TestPostData(t *testing.T) {
	post := func(mime, content string, size int) map[string]any {
		x := &trace.Exchange{ID: 1, Method: "POST", Request: trace.Request{Headers: []trace.Header{{Name: "content-type", Value: mime}}, Body: trace.Body{WireSize: int64(size), Content: []byte(content)}}}
		p, _ := entryOf(t, x)["request"].(map[string]any)["postData"].(map[string]any)
		return p
	}
	p := post("application/x-www-form-urlencoded; charset=utf-8", "a=1&b=%20+x&c", 13)
	if got := fmt.Sprint(p["params"]); got != "[map[name:a value:1] map[name:b value:  x] map[name:c value:]]" || p["text"] != "a=1&b=%20+x&c" {
		t.Errorf("form: %v", p)
	}
	if p := post("application/json", `{"a":1}`, 7); p["text"] != `{"a":1}` || len(p["params"].([]any)) != 0 {
		t.Errorf("JSON: %v", p)
	}
	if p := post("image/png", "\x89PNG\x00", 5); p["text"] != "iVBORwA=" || p["_encoding"] != "base64" {
		t.Errorf("binary: %v", p)
	}
	if p := post("text/plain", "abc", 1000); p["text"] != "" {
		t.Errorf("not whole: %v", p)
	}
	if p := post("", "", 0); p != nil {
		t.Errorf("no body: %v", p)
	}
}

// A body with secrets masked in it keeps its length, and is whole.
func TestRedactedContent(t *testing.T) {
	const secret = "0123456789abcdef"
	for _, c := range []struct {
		value, content string
		size           int64
		text           string
	}{
		{secret, "<p>" + secret + "</p>", 23, "<p>****************</p>"},
		{secret, "<p>" + secret + "</p>", 24, ""},
	} {
		x := &trace.Exchange{ID: 1, Request: trace.Request{Headers: []trace.Header{{Name: "Cookie", Value: "id=" + c.value}}},
			Response: &trace.Response{Status: 200, Body: trace.Body{WireSize: c.size, DecodedSize: -1, Content: []byte(c.content)}}}
		var out bytes.Buffer
		if err := Write(&out, redact.Apply(&trace.Trace{Exchanges: []*trace.Exchange{x}}, redact.On), Options{}); err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Log struct {
				Entries []struct {
					Response struct{ Content struct{ Text string } }
				}
			}
		}
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if got := doc.Log.Entries[0].Response.Content.Text; got != c.text {
			t.Errorf("%q, want %q", got, c.text)
		}
	}
}
