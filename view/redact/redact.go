// Package redact takes secrets out of a trace before it is stored or shared:
// credentials, cookies, and tokens in URLs.
package redact

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"reflect"
	"sort"
	"strings"

	"peel/trace"
	"peel/wire/http2"
)

// Mode says whether to redact.
type Mode uint8

// Modes. The zero value redacts.
const (
	On Mode = iota
	Off
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// secretQuery are query parameters whose value is a secret.
var secretQuery = map[string]bool{"token": true, "access_token": true, "refresh_token": true, "id_token": true, "key": true, "api_key": true, "apikey": true, "password": true, "passwd": true,
	"secret": true, "client_secret": true, "sig": true, "signature": true, "code": true, "auth": true, "session": true, "x-amz-signature": true, "x-amz-security-token": true}

// secretParameter are parameters of credentials, beside those above.
var secretParameter = map[string]bool{"response": true, "oauth_token": true, "oauth_signature": true}

// secretField are header fields, beside those of RFC 9110 and RFC 6265, whose
// whole value is a secret. In lower case.
var secretField = map[string]bool{"x-api-key": true, "api-key": true, "apikey": true, "x-apikey": true, "x-auth-token": true, "x-access-token": true, "x-csrf-token": true, "x-xsrf-token": true,
	"x-amz-security-token": true, "x-goog-api-key": true, "private-token": true, "x-gitlab-token": true, "x-vault-token": true, "ocp-apim-subscription-key": true}

// Apply returns a trace without secrets. Values that are secret are found by
// where they stand, and then replaced wherever else they appear. Raw bytes
// that hold one are taken out, with the fields made from them. t itself is
// not changed.
func Apply(t *trace.Trace, m Mode) *trace.Trace {
	if m == Off {
		return t
	}
	secrets, some := find(t)
	out := deepCopy(reflect.ValueOf(t)).Interface().(*trace.Trace)
	for _, x := range out.Exchanges {
		headers(x.Request.Headers)
		headers(x.Request.Trailers)
		if x.Response != nil {
			headers(x.Response.Headers)
			headers(x.Response.Trailers)
		}
	}
	if len(secrets) > 0 {
		pairs := make([]string, 0, 2*len(secrets))
		for _, s := range secrets {
			pairs = append(pairs, s, Mark)
		}
		replace(reflect.ValueOf(out).Elem(), strings.NewReplacer(pairs...))
	}
	telling := map[int]bool{}
	for _, e := range out.Events {
		if some && tells(e, secrets) {
			e.Raw, e.Hex, e.Fields = nil, "", nil
			for _, id := range e.Packets {
				telling[id] = true
			}
		}
	}
	for _, p := range out.Packets {
		if telling[p.ID] || holds(p.Raw, secrets) {
			p.Raw, p.Hex = nil, ""
		}
	}
	for _, x := range out.Exchanges {
		content(&x.Request.Body, secrets)
		if x.Response != nil {
			content(&x.Response.Body, secrets)
		}
	}
	return out
}

func holds(b []byte, secrets []string) bool {
	for _, s := range secrets {
		if bytes.Contains(b, []byte(s)) {
			return true
		}
	}
	return false
}

// content takes secrets out of a body that was kept. What Content-Encoding
// hides is not searched.
func content(b *trace.Body, secrets []string) {
	before := len(b.Content)
	for _, s := range secrets {
		if bytes.Contains(b.Content, []byte(s)) {
			b.Content = bytes.ReplaceAll(b.Content, []byte(s), []byte(Mark))
		}
	}
	b.Redacted += int64(before - len(b.Content))
}

// Text returns a text of a decision, such as a URL, without the secrets that
// can be told from it alone.
func Text(s string) string {
	query(s, func(v string) { s = strings.ReplaceAll(s, v, Mark) })
	if from, to := userinfo(s); to > from && strings.Contains(s, "://") && !strings.Contains(s[from:to], " ") {
		if name, _, ok := strings.Cut(s[from:to], ":"); ok {
			s = s[:from] + name + ":" + Mark + s[to:]
		}
	}
	return s
}

// userinfo says where the credentials stand in a URL, which may lack its
// scheme; from and to are equal if there are none. As in WHATWG's URL the last
// @ of the authority ends them.
func userinfo(s string) (from, to int) {
	if i := strings.Index(s, "://"); i >= 0 {
		from = i + len("://")
	}
	end := len(s)
	if i := strings.IndexAny(s[from:], "/\\?#"); i >= 0 {
		end = from + i
	}
	if i := strings.LastIndexByte(s[from:end], '@'); i >= 0 {
		return from, from + i
	}
	return 0, 0
}

// tells whether an event's bytes may hold a secret: compressed and encrypted
// forms cannot be searched, so a message of headers counts when there is any.
func tells(e *trace.Event, secrets []string) bool {
	if e.Name == http2.FrameHeaders.Event() || e.Name == http2.FrameContinuation.Event() || e.Layer == trace.LayerHTTP1 {
		return true
	}
	return holds(e.Raw, secrets)
}

// headers redacts fields by name. Of cookies, names and attributes stay.
func headers(l []trace.Header) {
	for i := range l {
		h := &l[i]
		if secretField[strings.ToLower(h.Name)] {
			h.Value = Mark
			continue
		}
		switch strings.ToLower(h.Name) {
		case "authorization", "proxy-authorization":
			scheme, _, ok := strings.Cut(h.Value, " ")
			if !ok {
				scheme = ""
			}
			h.Value = strings.TrimSpace(scheme + " " + Mark)
		case "cookie":
			parts := strings.Split(h.Value, ";")
			for j, p := range parts {
				if name, _, ok := strings.Cut(p, "="); ok {
					parts[j] = name + "=" + Mark
				} else {
					parts[j] = Mark
				}
			}
			h.Value = strings.Join(parts, ";")
		case "set-cookie":
			pair, attrs, _ := strings.Cut(h.Value, ";")
			name, _, ok := strings.Cut(pair, "=")
			h.Value = Mark
			if ok {
				h.Value = name + "=" + Mark
			}
			if attrs != "" {
				h.Value += ";" + attrs
			}
		}
	}
}

// shortest is the length below which a value is not searched for elsewhere:
// it would be found in words that have nothing to do with it. Where it stands
// as a secret it is redacted all the same.
const shortest = 4

// shortestToken is the length from which what stands before the @ of a URL,
// without a password, is taken for a token and not for a person's name.
const shortestToken = 12

// find collects the secret values of a trace, the longest first; some tells
// that there is one, be it too short to be searched for.
func find(t *trace.Trace) (secrets []string, some bool) {
	found := map[string]bool{}
	add := func(s string) {
		s = strings.TrimSpace(s)
		some = some || s != ""
		if len(s) >= shortest {
			found[s] = true
		}
	}
	// pair adds a value that has a name before it, and both where the value
	// alone is too short.
	pair := func(p string) {
		_, v, ok := strings.Cut(p, "=")
		if !ok {
			v = p
		} else if v = strings.TrimSpace(v); len(v) < shortest && v != "" {
			add(p)
		}
		add(v)
	}
	address := func(s string) {
		query(s, add)
		from, to := userinfo(s)
		if from == to {
			return
		}
		_, p, ok := strings.Cut(s[from:to], ":")
		if !ok && to-from < shortestToken {
			return // a name
		}
		add(s[from:to])
		if ok {
			add(p)
			if plain, err := url.PathUnescape(p); err == nil {
				p = plain
			}
			add(p)
			// However somebody may have escaped it.
			add(url.QueryEscape(p))
			add(url.PathEscape(p))
			u := url.UserPassword("", p).String()
			add(u[1:])
		}
	}
	fields := func(l []trace.Header) {
		for _, h := range l {
			if secretField[strings.ToLower(h.Name)] {
				add(h.Value)
				continue
			}
			switch strings.ToLower(h.Name) {
			case "authorization", "proxy-authorization":
				_, v, ok := strings.Cut(h.Value, " ")
				if !ok {
					v = h.Value
				}
				add(v)
				// Schemes with parameters (RFC 9110 §11.4): one of them alone may
				// stand elsewhere.
				for _, p := range strings.Split(v, ",") {
					if name, w, ok := strings.Cut(strings.TrimSpace(p), "="); ok && (secretQuery[strings.ToLower(name)] || secretParameter[strings.ToLower(name)]) {
						add(strings.Trim(w, `"`))
					}
				}
				if b, err := base64.StdEncoding.DecodeString(v); err == nil {
					_, pass, _ := strings.Cut(string(b), ":")
					add(pass)
					add(string(b))
				}
			case "cookie":
				for _, p := range strings.Split(h.Value, ";") {
					pair(p)
				}
			case "set-cookie":
				p, _, _ := strings.Cut(h.Value, ";")
				pair(p)
			case "location", "content-location", "referer", "refresh", "link", ":path":
				address(h.Value)
			}
		}
	}
	for _, x := range t.Exchanges {
		fields(x.Request.Headers)
		fields(x.Request.Trailers)
		if x.Response != nil {
			fields(x.Response.Headers)
			fields(x.Response.Trailers)
		}
		address(x.URL)
		address(x.Input)
		address(x.Request.Target)
	}
	out := make([]string, 0, len(found))
	for s := range found {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool {
		if len(out[i]) != len(out[j]) {
			return len(out[i]) > len(out[j])
		}
		return out[i] < out[j]
	})
	return out, some
}

// query finds secret parameters in a URL or target.
func query(s string, add func(string)) {
	i := strings.IndexAny(s, "?#")
	if i < 0 {
		return
	}
	// A fragment counts too: OAuth 2.0 puts tokens there (RFC 6749 §4.2.2).
	for _, p := range strings.FieldsFunc(s[i:], func(r rune) bool { return r == '?' || r == '#' || r == '&' }) {
		if i := strings.IndexAny(p, " <>\"'"); i >= 0 {
			p = p[:i] // of a URL within a text, as in Link
		}
		if name, v, ok := strings.Cut(p, "="); ok && secretQuery[strings.ToLower(name)] {
			if 0 < len(v) && len(v) < shortest {
				add(p) // too short to be searched for alone
			}
			add(v)
			if u, err := url.QueryUnescape(v); err == nil {
				add(u)
			}
		}
	}
}

// deepCopy copies exported data; a trace has no cycles.
func deepCopy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(deepCopy(v.Elem()))
		return p
	case reflect.Slice:
		if v.IsNil() || !texts(v.Type().Elem()) {
			return v // nothing in it is changed
		}
		s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			s.Index(i).Set(deepCopy(v.Index(i)))
		}
		return s
	case reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Struct:
				if f.CanInterface() { // it is exported
					c.Field(i).Set(deepCopy(f))
				}
			}
		}
		return c
	}
	return v
}

// texts tells whether a type can hold a string.
func texts(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Interface, reflect.Map:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return texts(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[trace.Field]() {
			return true // it holds itself
		}
		for i := range t.NumField() {
			if t.Field(i).IsExported() && texts(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// replace applies r to every string below v.
func replace(v reflect.Value, r *strings.Replacer) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			replace(v.Elem(), r)
		}
	case reflect.Slice:
		if !texts(v.Type().Elem()) {
			return
		}
		for i := range v.Len() {
			replace(v.Index(i), r)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() { // it is exported
				replace(f, r)
			}
		}
	case reflect.String:
		v.SetString(r.Replace(v.String()))
	}
}
