package redact

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"

	"peel/trace"
)

// span is a stretch of bytes.
type span struct{ from, to int64 }

// secretName are parameters of URLs and forms, and members of JSON objects,
// whose value is a secret. In lower case, with _ for - and no blanks.
var secretName = words("access_token refresh_token id_token token api_key apikey password passwd pwd passphrase secret client_secret client_assertion assertion code_verifier device_code " +
	"oauth_token oauth_token_secret oauth_verifier oauth_signature access_key secret_key private_key session_token sessionid session_id jsessionid phpsessid jwt otp totp csrf_token authenticity_token " +
	"x_amz_signature x_amz_security_token x_amz_credential x_goog_signature awsaccesskeyid saml_response samlresponse")

// perhapsName are those that mean a secret in a URL or a form, and in a text or
// a JSON object often something else.
var perhapsName = words("key code sig signature auth session sid pass pin state_token credential ticket hash_token")

// inRequests are those that mean a secret in a JSON object that a client sends.
var inRequests = words("code otp pin pass")

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

// maxName bounds the names that are looked at.
const maxName = 48

// named tells whether a name says that its value is a secret, surely or
// perhaps.
func named[B []byte | string](name B) (surely, perhaps bool) {
	if len(name) == 0 || len(name) > maxName {
		return false, false
	}
	var buf [maxName]byte
	n := buf[:len(name)]
	for i := range len(name) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '-' || c == '.':
			c = '_'
		}
		n[i] = c
	}
	surely = secretName[string(n)] || bytes.HasSuffix(n, []byte("_token")) || bytes.HasSuffix(n, []byte("_secret")) || bytes.HasSuffix(n, []byte("password")) || bytes.HasSuffix(n, []byte("_api_key"))
	return surely, perhapsName[string(n)]
}

// secretField are header fields, beside those of RFC 9110 and RFC 6265, whose
// whole value is a secret. In lower case.
var secretField = words("x-api-key api-key apikey x-apikey x-auth-token x-access-token x-csrf-token x-xsrf-token x-amz-security-token x-goog-api-key private-token x-gitlab-token x-vault-token " +
	"ocp-apim-subscription-key x-auth-key x-session-id x-session-token x-id-token x-refresh-token authentication x-authorization x-forwarded-access-token x-shopify-access-token dpop")

func isSecretField(lower string) bool {
	return secretField[lower] || strings.HasSuffix(lower, "-token") || strings.HasSuffix(lower, "-api-key") || strings.HasSuffix(lower, "-secret") || strings.HasSuffix(lower, "-password")
}

// secrets are the values that are looked for wherever they may stand.
type secrets struct {
	values map[string]bool
}

// shortest is the length below which a value is not searched for elsewhere:
// it would be found in words that have nothing to do with it. Where it stands
// as a secret it is redacted all the same.
const shortest = 4

// How long a value must be that is a word, or a number: counts and sizes have
// as many digits.
const (
	wordLength   = 6
	numberLength = 9
)

// shortestToken is the length from which what stands before the @ of a URL,
// without a password, is taken for a token and not for a person's name.
const shortestToken = 12

// searchable tells whether a value stands out enough to be a secret wherever it
// stands.
func searchable(v string) bool {
	least := shortest
	switch {
	case strings.Trim(v, "0123456789") == "":
		least = numberLength
	case strings.Trim(strings.ToLower(v), "abcdefghijklmnopqrstuvwxyz") == "":
		least = wordLength
	}
	return len(v) >= least
}

// add takes a value, and what stands before it, such as "token=": the two
// together are searched for where the value alone does not stand out.
func (s *secrets) add(before, v string) {
	v = strings.TrimSpace(v)
	if v == "" {
		return
	}
	if !searchable(v) {
		if v = before + v; before == "" || !searchable(v) {
			return
		}
	}
	if s.values[v] {
		return
	}
	s.values[v] = true
	// However somebody may have escaped it.
	forms := []string{url.QueryEscape(v), url.PathEscape(v), url.UserPassword("", v).String()[1:]}
	for _, plain := range []func(string) (string, error){url.QueryUnescape, url.PathUnescape} {
		if u, err := plain(v); err == nil && searchable(u) {
			forms = append(forms, u, url.QueryEscape(u), url.PathEscape(u), url.UserPassword("", u).String()[1:])
		}
	}
	for _, f := range forms {
		s.values[f] = true
		if low := lowerEscapes(f); low != f {
			s.values[low] = true
		}
	}
}

// lowerEscapes writes percent escapes with small letters.
func lowerEscapes(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// field finds the secrets in the value of a header field: where they stand in
// it, and in s, which may be nil, what they are.
func (s *secrets) field(name, value string) []span {
	var out []span
	part := func(from, to int) string {
		for from < to && value[from] == ' ' {
			from++
		}
		for to > from && value[to-1] == ' ' {
			to--
		}
		if from < to {
			out = append(out, span{int64(from), int64(to)})
		}
		return value[from:to]
	}
	note := func(before, v string) {
		if s != nil {
			s.add(before, v)
		}
	}
	pair := func(from, to int) {
		if i := strings.IndexByte(value[from:to], '='); i >= 0 {
			note(strings.TrimSpace(value[from:from+i])+"=", part(from+i+1, to))
		} else {
			note("", part(from, to))
		}
	}
	lower := strings.ToLower(name)
	switch {
	case name == "":
		// HPACK refers to a name that was not captured: it may be that of a secret.
		// What it is, is not searched for elsewhere, as it may be any common word.
		part(0, len(value))
	case lower == "authorization" || lower == "proxy-authorization" || scheme(lower, value):
		from := strings.IndexByte(value, ' ') + 1
		v := part(from, len(value))
		note("", v)
		if s == nil {
			break
		}
		// Schemes with parameters (RFC 9110 §11.4): one of them alone may
		// stand elsewhere.
		for _, p := range strings.Split(v, ",") {
			if name, w, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
				if surely, perhaps := named(name); surely || perhaps || strings.EqualFold(name, "response") {
					note("", strings.Trim(w, `"`))
				}
			}
		}
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			user, pass, _ := strings.Cut(string(b), ":")
			note(user+":", pass)
			note("", string(b))
		}
	case lower == "cookie":
		for from := 0; from <= len(value); {
			to := len(value)
			if i := strings.IndexByte(value[from:], ';'); i >= 0 {
				to = from + i
			}
			pair(from, to)
			from = to + 1
		}
	case lower == "set-cookie":
		to := len(value)
		if i := strings.IndexByte(value, ';'); i >= 0 {
			to = i
		}
		pair(0, to)
	case isSecretField(lower) || isJWT(value):
		note("", part(0, len(value)))
	default:
		out = append(out, s.address(value, false)...)
	}
	return out
}

// scheme tells whether another field than Authorization holds credentials, and
// not a challenge for some.
func scheme(lower, value string) bool {
	word, rest, ok := strings.Cut(value, " ")
	return ok && rest != "" && !strings.HasSuffix(lower, "-authenticate") && (strings.EqualFold(word, "bearer") || strings.EqualFold(word, "basic"))
}

// isJWT tells a JSON Web Token (RFC 7519): three parts in base64url, of which
// the first is an object.
func isJWT(v string) bool {
	return len(v) > 30 && strings.HasPrefix(v, "eyJ") && strings.Count(v, ".") == 2 && !strings.ContainsAny(v, " ;,=")
}

// address finds the secrets of the URLs in a text. Whole says that the text is
// one URL, which may lack its scheme.
func (s *secrets) address(text string, whole bool) []span {
	if !strings.ContainsAny(text, "@?#") {
		return nil
	}
	var out []span
	scan([]byte(text), inText, func(before string, from, to int, surely bool) {
		out = append(out, span{int64(from), int64(to)})
		if s != nil {
			s.add(before, text[from:to])
		}
	})
	if whole && !strings.Contains(text, "://") {
		if from, to, before := userinfo([]byte(text), 0); to > from {
			out = append(out, span{int64(from), int64(to)})
			if s != nil {
				s.add(before, text[from:to])
			}
		}
	}
	return out
}

// userinfo says where the secret of a URL's userinfo stands; its authority
// begins at from. As in WHATWG's URL the last @ of the authority ends it.
func userinfo(b []byte, from int) (at, to int, before string) {
	end := len(b)
	if i := bytes.IndexAny(b[from:], "/\\?#\r\n\t \"'<>"); i >= 0 {
		end = from + i
	}
	i := bytes.LastIndexByte(b[from:end], '@')
	if i < 0 {
		return 0, 0, ""
	}
	if colon := bytes.IndexByte(b[from:from+i], ':'); colon >= 0 {
		return from + colon + 1, from + i, string(b[from : from+colon+1])
	}
	if i >= shortestToken {
		return from, from + i, ""
	}
	return 0, 0, "" // a name
}

// form is what scan reads.
type form uint8

const (
	// inText is a text for a person, or a URL.
	inText form = iota
	// inRequest and inResponse are bytes of a message: heads, forms, JSON.
	inRequest
	inResponse
)

// scan finds secrets by what stands before them: parameters of URLs and forms,
// userinfo, header fields, members of JSON objects. It is for bytes that nobody
// took apart. found is given what stands before a value, with which it stands
// out; surely tells that it is a secret wherever else it stands, too.
func scan(b []byte, as form, found func(before string, from, to int, surely bool)) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '=':
			name := wordBefore(b, i)
			if from, to := part(b, name, i); to > from && as == inRequest {
				found("", from, to, true)
				i = to - 1
				continue
			}
			surely, perhaps := named(b[name:i])
			if !parameter(b, name, as, surely, perhaps) {
				continue
			}
			from, stop := i+1, "&#;, \t\r\n\"'<>"
			if from < len(b) && b[from] == '"' {
				from, stop = from+1, "\"\r\n"
			}
			to := until(b, from, stop)
			if to > from {
				found(string(b[name:i+1]), from, to, true)
				i = to - 1
			}
		case ':':
			if i+2 < len(b) && b[i+1] == '/' && b[i+2] == '/' {
				if from, to, before := userinfo(b, i+3); to > from {
					found(before, from, to, true)
					i = to - 1
				}
				continue
			}
			if as == inText {
				continue
			}
			if from, to, before, surely := member(b, i, as); to > from {
				found(before, from, to, surely)
				i = to - 1
			} else if at := wordBefore(b, i); at < i && (at == 0 || b[at-1] == '\n') {
				lower := strings.ToLower(string(b[at:i]))
				if lower != "cookie" && lower != "set-cookie" && lower != "authorization" && lower != "proxy-authorization" && !isSecretField(lower) {
					continue
				}
				end := until(b, i+1, "\r\n")
				value := string(b[i+1 : end])
				for _, x := range (*secrets)(nil).field(lower, value) {
					found("", i+1+int(x.from), i+1+int(x.to), true)
				}
				i = max(i, end-1)
			}
		}
	}
}

// parameter tells whether what stands from name on is a parameter that holds a
// secret, by what stands before it.
func parameter(b []byte, name int, as form, surely, perhaps bool) bool {
	before := byte('\n')
	if name > 0 {
		before = b[name-1]
	}
	switch {
	case !surely && !perhaps:
		return false
	case before == '?' || before == '&' || before == '#':
		return true
	case as == inText:
		return surely
	case as == inRequest:
		return before == '\n' || surely && strings.IndexByte(" \t,;", before) >= 0
	}
	return false // programs and pages have assignments, too
}

// part is the value of a part of multipart/form-data (RFC 7578 §4.2) whose name
// follows the equals sign at i and means a secret.
func part(b []byte, name, i int) (from, to int) {
	if string(b[name:i]) != "name" || i+1 >= len(b) || b[i+1] != '"' {
		return 0, 0
	}
	end := until(b, i+2, "\"\r\n")
	if surely, perhaps := named(b[i+2 : end]); !surely && !perhaps {
		return 0, 0
	}
	blank := bytes.Index(b[end:min(end+512, len(b))], []byte("\r\n\r\n"))
	if blank < 0 {
		return 0, 0
	}
	from = end + blank + 4
	return from, until(b, from, "\r\n")
}

// member is the value of a JSON member whose name ends before the colon at i.
func member(b []byte, i int, as form) (from, to int, before string, surely bool) {
	end := i
	for end > 0 && (b[end-1] == ' ' || b[end-1] == '\t') && i-end < 8 {
		end--
	}
	if end == 0 || b[end-1] != '"' {
		return 0, 0, "", false
	}
	name := wordBefore(b, end-1)
	if name == 0 || b[name-1] != '"' {
		return 0, 0, "", false
	}
	surely, _ = named(b[name : end-1])
	if !surely && (as != inRequest || !inRequests[strings.ToLower(string(b[name:end-1]))]) {
		return 0, 0, "", false
	}
	from = i + 1
	for from < len(b) && (b[from] == ' ' || b[from] == '\t') {
		from++
	}
	if from == len(b) {
		return 0, 0, "", false
	}
	if b[from] != '"' {
		to = until(b, from, ",}] \t\r\n")
		if v := string(b[from:to]); v == "null" || v == "true" || v == "false" || strings.ContainsAny(v, "{[") {
			return 0, 0, "", false
		}
		return from, to, string(b[name-1 : from]), surely
	}
	from++
	for to = from; to < len(b) && b[to] != '"'; to++ {
		if b[to] == '\\' {
			to++
		}
	}
	to = min(to, len(b))
	return from, to, string(b[name-1 : from]), surely
}

// wordBefore is where the name begins that ends before i.
func wordBefore(b []byte, i int) int {
	at := i
	for at > 0 && i-at <= maxName {
		c := b[at-1]
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		at--
	}
	return at
}

func until(b []byte, from int, stop string) int {
	if i := bytes.IndexAny(b[from:], stop); i >= 0 {
		return from + i
	}
	return len(b)
}

// of collects the secrets of all headers and URLs of a trace.
func (s *secrets) of(t *trace.Trace) {
	for _, x := range t.Exchanges {
		for _, l := range heads(x) {
			for _, h := range l.fields {
				s.field(h.Name, h.Value)
			}
		}
		s.address(x.URL, true)
		s.address(x.Input, true)
		s.address(x.Request.Target, true)
	}
}

// head is a list of fields and the way that it took.
type head struct {
	fields []trace.Header
	dir    trace.Direction
}

func heads(x *trace.Exchange) []head {
	out := []head{{x.Request.Headers, trace.Out}, {x.Request.Trailers, trace.Out}}
	if r := x.Response; r != nil {
		out = append(out, head{r.Headers, trace.In}, head{r.Trailers, trace.In})
	}
	return out
}
