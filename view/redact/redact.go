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
	secrets := find(t)
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
		if tells(e, secrets) {
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
	for _, s := range secrets {
		if bytes.Contains(b.Content, []byte(s)) {
			b.Content = bytes.ReplaceAll(b.Content, []byte(s), []byte(Mark))
		}
	}
}

// Text returns a text of a decision, such as a URL, without the secrets that
// can be told from it alone.
func Text(s string) string {
	query(s, func(v string) { s = strings.ReplaceAll(s, v, Mark) })
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		authority, path, _ := strings.Cut(rest, "/")
		if user, host, ok := strings.Cut(authority, "@"); ok && !strings.ContainsAny(user, " ") {
			if name, _, ok := strings.Cut(user, ":"); ok {
				s = scheme + "://" + name + ":" + Mark + "@" + host
				if len(rest) > len(authority) {
					s += "/" + path
				}
			}
		}
	}
	return s
}

// tells whether an event's bytes may hold a secret: compressed and encrypted
// forms cannot be searched, so a message of headers counts when there is any.
func tells(e *trace.Event, secrets []string) bool {
	if len(secrets) == 0 {
		return false
	}
	if e.Name == "http2.headers" || e.Name == "http2.continuation" || e.Layer == trace.LayerHTTP1 {
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

// find collects the secret values of a trace, the longest first.
func find(t *trace.Trace) []string {
	found := map[string]bool{}
	add := func(s string) {
		if s = strings.TrimSpace(s); len(s) >= shortest {
			found[s] = true
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
				if b, err := base64.StdEncoding.DecodeString(v); err == nil {
					_, pass, _ := strings.Cut(string(b), ":")
					add(pass)
					add(string(b))
				}
			case "cookie":
				for _, p := range strings.Split(h.Value, ";") {
					_, v, ok := strings.Cut(p, "=")
					if !ok {
						v = p
					}
					add(v)
				}
			case "set-cookie":
				pair, _, _ := strings.Cut(h.Value, ";")
				_, v, ok := strings.Cut(pair, "=")
				if !ok {
					v = pair
				}
				add(v)
			case "location", "referer", ":path":
				query(h.Value, add)
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
		query(x.URL, add)
		query(x.Input, add)
		query(x.Request.Target, add)
		if u, err := url.Parse(x.Input); err == nil && u.User != nil {
			if p, ok := u.User.Password(); ok {
				add(p)
				add(url.QueryEscape(p))
			}
			add(u.User.String())
		}
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
	return out
}

// query finds secret parameters in a URL or target.
func query(s string, add func(string)) {
	i := strings.IndexAny(s, "?#")
	if i < 0 {
		return
	}
	// A fragment counts too: OAuth 2.0 puts tokens there (RFC 6749 §4.2.2).
	for _, p := range strings.FieldsFunc(s[i:], func(r rune) bool { return r == '?' || r == '#' || r == '&' }) {
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
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(deepCopy(v.Field(i)))
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
			if v.Type().Field(i).IsExported() {
				replace(v.Field(i), r)
			}
		}
	case reflect.String:
		v.SetString(r.Replace(v.String()))
	}
}
