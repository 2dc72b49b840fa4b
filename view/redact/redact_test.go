package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"peel/trace"
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
		{"Cookie", "a=1; b=22222; c", "a=[redacted]; b=[redacted];[redacted]"},
		{"Set-Cookie", "sid=abcdef; Path=/; HttpOnly", "sid=[redacted]; Path=/; HttpOnly"},
		{"Set-Cookie", "abcdef", "[redacted]"},
		{"X-API-Key", "k", "[redacted]"},
		{"Location", "/next?token=abcdef&page=2", "/next?token=[redacted]&page=2"},
		{"Location", "/next?token=ab&page=2", "/next?[redacted]&page=2"},
		{"Location", "https://ada:lovelace@example.com/x", "https://[redacted]@example.com/x"},
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

// Bytes of a message of headers go away as a whole: what HPACK has packed or
// is shorter than what can be searched for would else be read from them.
func TestBytesOfHeadsGoAway(t *testing.T) {
	for _, cookie := range []string{"sid=ab", "sid=abcdef"} {
		in := request(func(x *trace.Exchange) {
			x.Request.Headers = []trace.Header{{Name: "cookie", Value: cookie}}
		})
		field := []trace.Field{{Name: "http2.header", Value: cookie}}
		in.Events = []*trace.Event{
			{ID: 1, Layer: trace.LayerHTTP2, Name: "http2.headers", Raw: []byte{0x82}, Hex: "82", Fields: field, Packets: []int{1}},
			{ID: 2, Layer: trace.LayerHTTP1, Name: "http1.request", Raw: []byte("GET / HTTP/1.1\r\nCookie: " + cookie), Hex: "47", Fields: field, Packets: []int{2}},
			{ID: 3, Layer: trace.LayerHTTP2, Name: "http2.settings", Raw: []byte{0, 3}, Hex: "0003", Fields: []trace.Field{{Name: "x"}}, Packets: []int{3}},
		}
		in.Packets = []*trace.Packet{{ID: 1, Raw: []byte{1}, Hex: "01"}, {ID: 2, Raw: []byte{2}, Hex: "02"}, {ID: 3, Raw: []byte{3}, Hex: "03"}}
		out := Apply(in, On)
		for i := range 2 {
			if e := out.Events[i]; e.Raw != nil || e.Hex != "" || e.Fields != nil {
				t.Errorf("%s: %s keeps %q %q %v", cookie, e.Name, e.Raw, e.Hex, e.Fields)
			}
			if p := out.Packets[i]; p.Raw != nil || p.Hex != "" {
				t.Errorf("%s: packet %d keeps its bytes", cookie, p.ID)
			}
		}
		if e, p := out.Events[2], out.Packets[2]; e.Raw == nil || e.Fields == nil || p.Raw == nil {
			t.Errorf("%s: bytes without a secret went too", cookie)
		}
	}
	// Without a secret nothing goes.
	in := request(nil)
	in.Events = []*trace.Event{{ID: 1, Layer: trace.LayerHTTP1, Name: "http1.request", Raw: []byte("GET")}}
	if out := Apply(in, On); string(out.Events[0].Raw) != "GET" {
		t.Error("bytes went away without a secret")
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
