package redact

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"peel/trace"
	"peel/wire/http2"
)

// request is a trace of one exchange that everybody may change.
func request(change func(x *trace.Exchange)) *trace.Trace {
	x := &trace.Exchange{ID: 1, Method: "GET", URL: "https://example.com/", Request: trace.Request{Method: "GET", Target: "/"}, Response: &trace.Response{Status: 200}}
	if change != nil {
		change(x)
	}
	return &trace.Trace{Exchanges: []*trace.Exchange{x}}
}

// fill puts text into every string that t can hold, and returns how many
// there are. Lists get one element.
func fill(v reflect.Value, text string, depth int) (n int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("before " + text + " after")
		return 1
	case reflect.Pointer:
		if depth > 12 {
			return 0
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return fill(v.Elem(), text, depth+1)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("before " + text + " after"))
			return 1
		}
		if depth > 12 {
			return 0
		}
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			n += fill(v.Index(i), text, depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += fill(v.Field(i), text, depth+1)
			}
		}
	}
	return n
}

// holding returns where in v text stands.
func holding(v reflect.Value, text, at string) (out []string) {
	switch v.Kind() {
	case reflect.String:
		if strings.Contains(v.String(), text) {
			out = append(out, at)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return holding(v.Elem(), text, at)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if strings.Contains(string(v.Bytes()), text) {
				out = append(out, at)
			}
			return out
		}
		for i := range v.Len() {
			out = append(out, holding(v.Index(i), text, fmt.Sprintf("%s[%d]", at, i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				out = append(out, holding(v.Field(i), text, at+"."+f.Name)...)
			}
		}
	}
	return out
}

// A secret that is known from one place stands in no string and no bytes of
// what comes out, wherever a trace can hold one: headers, URLs, bodies, texts
// of events, fields, findings, failures, steps of lookups, packets.
func TestSecretIsGoneEverywhere(t *testing.T) {
	const secret = "s3cr3t-value"
	sources := map[string]func(x *trace.Exchange){}
	for _, h := range []struct{ name, value string }{
		{"Authorization", "Bearer " + secret},
		{"AUTHORIZATION", secret},
		{"Proxy-Authorization", "Digest username=\"a\", response=" + secret},
		{"Cookie", "a=b; sid=" + secret},
		{"cookie", secret},
		{"X-Api-Key", secret},
		{"private-token", secret},
		{"Referer", "https://example.com/?access_token=" + secret},
		{":path", "/p?x=1&TOKEN=" + secret + "&y=2"},
	} {
		sources["request "+h.name+" "+h.value] = func(x *trace.Exchange) {
			x.Request.Headers = []trace.Header{{Name: h.name, Value: h.value}}
		}
		sources["request trailer "+h.name+" "+h.value] = func(x *trace.Exchange) {
			x.Request.Trailers = []trace.Header{{Name: h.name, Value: h.value}}
		}
	}
	for _, h := range []struct{ name, value string }{
		{"Set-Cookie", "sid=" + secret + "; Path=/; Secure"},
		{"set-cookie", secret},
		{"Location", "/next#id_token=" + secret + "&state=1"},
		{"Location", "https://ada:" + secret + "@example.com/"},
		{"Content-Location", "/x?sig=" + secret},
		{"Link", "<https://example.com/?page=2&key=" + secret + ">; rel=\"next\""},
		{"Refresh", "5; url=https://example.com/?token=" + secret},
	} {
		sources["response "+h.name+" "+h.value] = func(x *trace.Exchange) {
			x.Response.Headers = []trace.Header{{Name: h.name, Value: h.value}}
		}
		sources["response trailer "+h.name+" "+h.value] = func(x *trace.Exchange) {
			x.Response.Trailers = []trace.Header{{Name: h.name, Value: h.value}}
		}
	}
	for _, u := range []string{
		"https://example.com/?token=" + secret, "https://example.com/?a=b&client_secret=" + secret + "#top", "https://example.com/#access_token=" + secret,
		"https://ada:" + secret + "@example.com/", "https://ada:" + secret + "@example.com", "https://" + secret + "@example.com/", "ada:" + secret + "@example.com/path",
		"https://a:" + secret + "@[::1]:8443/?q=1",
	} {
		sources["URL "+u] = func(x *trace.Exchange) { x.URL = u }
		sources["Input "+u] = func(x *trace.Exchange) { x.Input = u }
		sources["Target "+u] = func(x *trace.Exchange) { x.Request.Target = u }
	}
	for name, change := range sources {
		t.Run(name, func(t *testing.T) {
			in := &trace.Trace{}
			n := fill(reflect.ValueOf(in).Elem(), secret, 0)
			if n < 100 {
				t.Fatalf("only %d places filled", n)
			}
			// The exchange that makes the secret known.
			in.Exchanges = append(in.Exchanges, request(change).Exchanges...)
			before, _ := json.Marshal(in)
			out := Apply(in, On)
			if left := holding(reflect.ValueOf(out).Elem(), secret, "trace"); left != nil {
				t.Errorf("still in %d places: %v", len(left), left[:min(len(left), 10)])
			}
			b, err := json.Marshal(out)
			if err != nil || strings.Contains(string(b), secret) {
				t.Errorf("the JSON has it: %v", err)
			}
			if after, _ := json.Marshal(in); string(after) != string(before) {
				t.Error("the trace that came in was changed")
			}
			if Apply(in, Off) != in {
				t.Error("off: another trace")
			}
		})
	}
}

// A password may be escaped in ways that its owner did not type.
func TestPasswordIsGoneInEveryForm(t *testing.T) {
	for _, input := range []string{"https://ada:p%40ss%2Fword@example.com/", "https://ada:p@ss%2fword@example.com/"} {
		in := request(func(x *trace.Exchange) {
			x.Input = input
			x.Normalised = []string{"the password p%40ss%2Fword", "p@ss/word", "p%40ss%2fword and p@ss%2Fword"}
			x.Request.Headers = []trace.Header{{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:p@ss/word"))}}
		})
		b, _ := json.Marshal(Apply(in, On))
		for _, form := range []string{"p@ss/word", "p%40ss%2Fword", base64.StdEncoding.EncodeToString([]byte("ada:p@ss/word"))} {
			if strings.Contains(string(b), form) {
				t.Errorf("%s: %s is left in %s", input, form, b)
			}
		}
	}
}

// What a person reads of a field that is a secret.
func TestHeaders(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Authorization", "Bearer abcdefgh", "Bearer [redacted]"},
		{"Authorization", "abcdefgh", "[redacted]"},
		{"Proxy-Authorization", "Basic YTpi", "Basic [redacted]"},
		{"Cookie", "a=1; b=22222; c", "a=[redacted]; [redacted]; [redacted]"},
		{"Set-Cookie", "sid=abcdef; Path=/; HttpOnly", "sid=[redacted]; Path=/; HttpOnly"},
		{"Set-Cookie", "abcdef", "[redacted]"},
		{"X-API-Key", "k", "[redacted]"},
		{"Location", "/next?token=abcdef&page=2", "/next?token=[redacted]&page=2"},
		{"Location", "/next?token=ab&page=2", "/next?[redacted]&page=2"},
		{"X-Forwarded-Auth", "Bearer abcdefgh", "Bearer [redacted]"},
		{"WWW-Authenticate", "Bearer realm=\"x\"", "Bearer realm=\"x\""},
		{"X-User", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "[redacted]"},
		{"Location", "https://ada:lovelace@example.com/x", "https://ada:[redacted]@example.com/x"},
		{"Link", "</?key=abcdef>; rel=next", "</?key=[redacted]>; rel=next"},
		{"Content-Type", "text/html; charset=utf-8", "text/html; charset=utf-8"},
		{"X-Request-Id", "abcdef", "abcdef"},
	} {
		out := Apply(request(func(x *trace.Exchange) {
			x.Response.Headers = []trace.Header{{Name: c.name, Value: c.value, Size: 7}}
		}), On)
		if got := out.Exchanges[0].Response.Headers[0]; got.Value != c.want || got.Name != c.name || got.Size != 7 {
			t.Errorf("%s: %s: got %q, want %q", c.name, c.value, got.Value, c.want)
		}
	}
}

// The bytes of a head keep their length and place; what is a secret in them is
// masked, be it packed by HPACK, or so short that it is not searched for; and so
// in the packets that carried them, over which it may be spread.
func TestBytesOfHeadsAreMaskedInPlace(t *testing.T) {
	for _, cookie := range []string{"ab", "abcdef"} {
		line := "Cookie: sid=" + cookie + "\r\n"
		head := "GET / HTTP/1.1\r\nHost: x\r\n" + line + "Accept: */*\r\n\r\n"
		at := strings.Index(head, line)
		in := request(func(x *trace.Exchange) {
			x.Request.Headers = []trace.Header{{Name: "Host", Value: "x", Bytes: &trace.Range{Space: trace.SpaceStream, Connection: 1, Direction: trace.Out, Offset: 16, Length: 9}},
				{Name: "Cookie", Value: "sid=" + cookie, Bytes: &trace.Range{Space: trace.SpaceStream, Connection: 1, Direction: trace.Out, Offset: int64(at), Length: int64(len(line))}}}
		})
		cut := at + len("Cookie: sid=a") // the secret goes over two packets
		in.Connections = []*trace.Connection{{ID: 1, SentOut: []trace.Sent{{Offset: 0, Packet: 1, At: 2, Length: int32(cut)}, {Offset: int64(cut), Packet: 2, At: 2, Length: int32(len(head) - cut)}}, LongestSent: 1000}}
		in.Events = []*trace.Event{{ID: 1, Layer: trace.LayerHTTP1, Name: trace.EventHTTP1Request, Exchange: 1, Connection: 1, Direction: trace.Out, Raw: []byte(head), RawLength: len(head), Hex: "47",
			Bytes: []trace.Range{{Space: trace.SpaceStream, Connection: 1, Direction: trace.Out, Length: int64(len(head))}}}}
		in.Packets = []*trace.Packet{{ID: 1, Connection: 1, Raw: []byte("##" + head[:cut]), Hex: "23"}, {ID: 2, Connection: 1, Raw: []byte("##" + head[cut:]), Hex: "23"}, {ID: 3, Connection: 1, Raw: []byte("## nothing"), Hex: "23"}}
		out := Apply(in, On)
		want := strings.Replace(head, cookie, strings.Repeat("*", len(cookie)), 1)
		if got := string(out.Events[0].Raw); got != want || !out.Events[0].Masked || out.Events[0].Hex != "" {
			t.Errorf("the event keeps %q, want %q", got, want)
		}
		if got := string(out.Packets[0].Raw[2:]) + string(out.Packets[1].Raw[2:]); got != want {
			t.Errorf("the packets keep %q, want %q", got, want)
		}
		if p := out.Packets[2]; p.Masked || string(p.Raw) != "## nothing" || p.Hex == "" {
			t.Errorf("bytes without a secret were changed: %q", p.Raw)
		}
	}
}

// Of an HTTP/2 header block the fields stay that are known to be no secret.
func TestHeaderBlockIsMaskedInPlace(t *testing.T) {
	at := func(from, n int64) *trace.Range {
		return &trace.Range{Space: trace.SpaceTLS, Connection: 1, Direction: trace.Out, Offset: 100 + from, Length: n}
	}
	frame := func(id, exchange int, offset int64, raw string) *trace.Event {
		return &trace.Event{ID: id, Layer: trace.LayerHTTP2, Name: http2.FrameHeaders.Event(), Exchange: exchange, Connection: 1, Direction: trace.Out, Raw: []byte(raw), RawLength: len(raw),
			Bytes: []trace.Range{{Space: trace.SpaceTLS, Connection: 1, Direction: trace.Out, Offset: offset, Length: int64(len(raw))}}}
	}
	in := request(func(x *trace.Exchange) {
		x.Request.Headers = []trace.Header{{Name: ":method", Value: "GET", Coding: "indexed 2", Bytes: at(9, 1)}, {Name: "cookie", Value: "sid=abcdef", Coding: "literal", Bytes: at(10, 7)}, {Name: "x-y", Value: "z", Coding: "literal", Bytes: at(17, 4)}}
	})
	in.Events = []*trace.Event{frame(1, 1, 100, "\x00\x00\x0c\x01\x05\x00\x00\x00\x01\x82PACKED!like"), frame(2, 0, 400, "\x00\x00\x04\x01\x05\x00\x00\x00\x03UNKN")}
	out := Apply(in, On)
	for i, want := range []string{"\x00\x00\x0c\x01\x05\x00\x00\x00\x01\x82*******like", "\x00\x00\x04\x01\x05\x00\x00\x00\x03****"} {
		if got := string(out.Events[i].Raw); got != want {
			t.Errorf("frame %d keeps %q, want %q", i+1, got, want)
		}
	}
}

// Bodies of requests and responses hold secrets by the names of forms and JSON.
func TestBodies(t *testing.T) {
	for _, c := range []struct{ request, response, want, wantResponse string }{
		{"grant_type=authorization_code&code=Xk9&client_secret=s3cret&redirect_uri=x", "", "grant_type=authorization_code&code=***&client_secret=******&redirect_uri=x", ""},
		{`{"user": "ada", "password" : "love\"lace", "n": 1}`, `{"access_token":"abc.def","expires_in":3600}`, `{"user": "ada", "password" : "**********", "n": 1}`, `{"access_token":"*******","expires_in":3600}`},
		{`{"code":"1234","x":"y"}`, `{"code":"NOT_FOUND","message":"no"}`, `{"code":"****","x":"y"}`, `{"code":"NOT_FOUND","message":"no"}`},
		{"--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2!\r\n--b", "<script>password = document.getElementById('x')</script>",
			"--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n********\r\n--b", "<script>password = document.getElementById('x')</script>"},
		{"page=2&sort=up", "the key: value", "page=2&sort=up", "the key: value"},
	} {
		out := Apply(request(func(x *trace.Exchange) {
			x.Request.Body = trace.Body{WireSize: int64(len(c.request)), Content: []byte(c.request)}
			x.Response.Body = trace.Body{WireSize: int64(len(c.response)), Content: []byte(c.response)}
		}), On).Exchanges[0]
		if got := string(out.Request.Body.Content); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		if got := string(out.Response.Body.Content); got != c.wantResponse {
			t.Errorf("%q, want %q", got, c.wantResponse)
		}
	}
}

// A coding hides nothing: a compressed body with a secret is kept without its
// coding, and what was transferred is masked as a whole.
func TestCompressedBody(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(`{"access_token":"s3cr3t-value","x":"y"}`))
	z.Close()
	raw := b.Bytes()
	out := Apply(request(func(x *trace.Exchange) {
		x.Response.Body = trace.Body{WireSize: int64(len(raw)), DecodedSize: -1, Encoding: "gzip", Content: raw}
	}), On).Exchanges[0].Response.Body
	if string(out.Plain) != `{"access_token":"************","x":"y"}` || bytes.Trim(out.Content, "*") != nil && len(bytes.Trim(out.Content, "*")) > 0 {
		t.Errorf("%q, %q", out.Plain, out.Content)
	}
}

// A secret that was cut off at the end of a text, or of what was kept of a
// message, is one all the same.
func TestCutSecret(t *testing.T) {
	in := request(func(x *trace.Exchange) {
		x.Request.Headers = []trace.Header{{Name: "Authorization", Value: "Bearer 0123456789abcdefghijklmnop"}}
	})
	in.Events = []*trace.Event{{ID: 1, Text: "sent 0123456789abcdef…", Raw: []byte("x 0123456789ab"), RawLength: 100}}
	out := Apply(in, On).Events[0]
	if out.Text != "sent [redacted]…" || string(out.Raw) != "x ************" {
		t.Errorf("%q %q", out.Text, out.Raw)
	}
}

// What redaction costs grows with the trace, and not with the secrets in it
// times its messages.
func TestManySecrets(t *testing.T) {
	in := &trace.Trace{}
	for i := range 5000 {
		value := fmt.Sprintf("session-%08d-of-somebody", i)
		in.Exchanges = append(in.Exchanges, &trace.Exchange{ID: i + 1, Request: trace.Request{Headers: []trace.Header{{Name: "Cookie", Value: "sid=" + value}}}})
		in.Events = append(in.Events, &trace.Event{ID: i + 1, Text: "cookie " + value, Raw: []byte(strings.Repeat("session-", 20) + value)})
	}
	for i, e := range Apply(in, On).Events {
		if e.Text != "cookie [redacted]" || !strings.HasSuffix(string(e.Raw), "session-"+strings.Repeat("*", len("session-00000000-of-somebody"))) {
			t.Fatalf("event %d: %q %q", i, e.Text, e.Raw)
		}
	}
}

// A name before the @ is no secret, and words of the trace stay whole.
func TestWhatIsNoSecretStays(t *testing.T) {
	in := request(func(x *trace.Exchange) {
		x.Input = "https://user@example.com/?q=agent&page=2"
		x.Request.Headers = []trace.Header{{Name: "user-agent", Value: "peel"}, {Name: "cookie", Value: "a=1"}}
	})
	in.Events = []*trace.Event{{ID: 1, Text: "the user typed 1"}}
	out := Apply(in, On)
	if x := out.Exchanges[0]; x.Input != in.Exchanges[0].Input || x.Request.Headers[0].Name != "user-agent" || out.Events[0].Text != "the user typed 1" {
		t.Errorf("%+v %+v", x, out.Events[0])
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"https://example.com/", "https://example.com/"},
		{"https://ada:lovelace@example.com/x?y=1", "https://ada:[redacted]@example.com/x?y=1"},
		{"https://ada:love@lace@example.com/", "https://ada:[redacted]@example.com/"},
		{"https://ada:p@example.com", "https://ada:[redacted]@example.com"},
		{"https://ada@example.com/", "https://ada@example.com/"},
		{"https://example.com/a@b:c", "https://example.com/a@b:c"},
		{"https://example.com:80?x=a@b", "https://example.com:80?x=a@b"},
		{"https://example.com/?token=abcd&x=1", "https://example.com/?token=[redacted]&x=1"},
		{"/cb#access_token=abcd", "/cb#access_token=[redacted]"},
		{"no URL at all: a@b", "no URL at all: a@b"},
		{"", ""},
	} {
		if got := Text(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}
