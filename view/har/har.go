// Package har writes the exchanges of a trace as HAR 1.2, the archive format
// that the developer tools of browsers import and export
// (http://www.softwareishard.com/blog/har-12-spec/). What HAR has no word for
// stands under names with an underscore, as the format wants it.
package har

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"peel/internal/content"
	"peel/trace"
)

// Options of Write.
type Options struct {
	// Version is that of peel, named as the creator.
	Version string
}

type nameValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type cookie struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Path     string `json:"path,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Expires  string `json:"expires,omitempty"`
	HTTPOnly bool   `json:"httpOnly"`
	Secure   bool   `json:"secure"`
	SameSite string `json:"sameSite,omitempty"`
}

type postData struct {
	MimeType string      `json:"mimeType"`
	Params   []nameValue `json:"params"`
	Text     string      `json:"text"`
	Encoding string      `json:"_encoding,omitempty"`
}

type request struct {
	Method      string      `json:"method"`
	URL         string      `json:"url"`
	HTTPVersion string      `json:"httpVersion"`
	Cookies     []cookie    `json:"cookies"`
	Headers     []nameValue `json:"headers"`
	QueryString []nameValue `json:"queryString"`
	PostData    *postData   `json:"postData,omitempty"`
	HeadersSize int64       `json:"headersSize"`
	BodySize    int64       `json:"bodySize"`
}

type body struct {
	Size        int64  `json:"size"`
	Compression *int64 `json:"compression,omitempty"`
	MimeType    string `json:"mimeType"`
	Text        string `json:"text,omitempty"`
	Encoding    string `json:"encoding,omitempty"`
	Comment     string `json:"comment,omitempty"`
}

type response struct {
	Status      int         `json:"status"`
	StatusText  string      `json:"statusText"`
	HTTPVersion string      `json:"httpVersion"`
	Cookies     []cookie    `json:"cookies"`
	Headers     []nameValue `json:"headers"`
	Content     body        `json:"content"`
	RedirectURL string      `json:"redirectURL"`
	HeadersSize int64       `json:"headersSize"`
	BodySize    int64       `json:"bodySize"`
	Error       string      `json:"_error,omitempty"`
	// Transferred is Chrome's name for head and body on the wire.
	Transferred int64 `json:"_transferSize,omitempty"`
}

type timings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	SSL     float64 `json:"ssl"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

// extras are what a trace knows and HAR has no place for.
type extras struct {
	Exchange   int                        `json:"exchange"`
	Connection int                        `json:"connection,omitempty"`
	Stream     uint32                     `json:"stream,omitempty"`
	Protocol   trace.Protocol             `json:"protocol"`
	Reused     bool                       `json:"reused"`
	Pool       string                     `json:"pool,omitempty"`
	Cause      trace.Cause                `json:"cause,omitempty"`
	LocalAddr  netip.AddrPort             `json:"local_addr,omitzero"`
	RemoteAddr netip.AddrPort             `json:"remote_addr,omitzero"`
	TLS        *tlsExtras                 `json:"tls,omitempty"`
	Failure    *trace.Failure             `json:"failure,omitempty"`
	Findings   []trace.FindingID          `json:"findings,omitempty"`
	Intervals  map[string]*trace.Interval `json:"intervals"`
}

type tlsExtras struct {
	Version string `json:"version,omitempty"`
	Suite   string `json:"suite,omitempty"`
	Group   string `json:"group,omitempty"`
	SNI     string `json:"sni,omitempty"`
	ALPN    string `json:"alpn,omitempty"`
	Resumed bool   `json:"resumed"`
}

type entry struct {
	Started  string   `json:"startedDateTime"`
	Time     float64  `json:"time"`
	Request  request  `json:"request"`
	Response response `json:"response"`
	Cache    struct{} `json:"cache"`
	Timings  timings  `json:"timings"`
	ServerIP string   `json:"serverIPAddress,omitempty"`
	Conn     string   `json:"connection,omitempty"`
	Comment  string   `json:"comment,omitempty"`
	Peel     extras   `json:"_peel"`
}

// Write writes the exchanges, in the order of their beginnings, one at a time.
func Write(w io.Writer, t *trace.Trace, o Options) error {
	bw := bufio.NewWriter(w)
	creator, _ := json.Marshal(map[string]string{"name": "peel", "version": o.Version})
	findings, err := marshal(t.Findings)
	if err != nil {
		return err
	}
	bw.WriteString(`{"log":{"version":"1.2","creator":`)
	bw.Write(creator)
	bw.WriteString(`,"pages":[],"_peel":{"findings":`)
	bw.Write(findings)
	bw.WriteString(`},"entries":[`)
	list := slices.Clone(t.Exchanges)
	slices.SortStableFunc(list, func(a, b *trace.Exchange) int { return cmp.Compare(a.Start, b.Start) })
	found := findingsOf(t)
	for i, x := range list {
		if i > 0 {
			bw.WriteByte(',')
		}
		e := newEntry(t, x)
		e.Peel.Findings = found[x.ID]
		b, err := marshal(e)
		if err != nil {
			return err
		}
		bw.WriteByte('\n')
		if _, err := bw.Write(b); err != nil {
			return err
		}
	}
	bw.WriteString("\n]}}\n")
	return bw.Flush()
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// findingsOf tells which findings are about which exchange: by what they name,
// or by the events that they rest on.
func findingsOf(t *trace.Trace) map[int][]trace.FindingID {
	out := map[int][]trace.FindingID{}
	add := func(exchange int, id trace.FindingID) {
		if exchange != 0 && !slices.Contains(out[exchange], id) {
			out[exchange] = append(out[exchange], id)
		}
	}
	for _, f := range t.Findings {
		add(f.Exchange, f.ID)
		for _, id := range f.Evidence {
			if e := t.Event(id); e != nil && f.Exchange == 0 {
				add(e.Exchange, f.ID)
			}
		}
	}
	return out
}

func newEntry(t *trace.Trace, x *trace.Exchange) *entry {
	e := &entry{Started: t.Start.Add(time.Duration(x.Start)).Format("2006-01-02T15:04:05.000000Z07:00"), Request: newRequest(x), Response: newResponse(x)}
	e.Timings = timings{ms(x.Timings.Blocked, -1), ms(x.Timings.DNS, -1), ms(x.Timings.Connect, -1), ms(x.Timings.SSL, -1), ms(x.Timings.Send, 0), ms(x.Timings.Wait, 0), ms(x.Timings.Receive, 0)}
	// The sum leaves ssl out: connect contains it.
	for _, v := range []float64{e.Timings.Blocked, e.Timings.DNS, e.Timings.Connect, e.Timings.Send, e.Timings.Wait, e.Timings.Receive} {
		e.Time += max(v, 0)
	}
	e.Peel = extras{Exchange: x.ID, Connection: x.Connection, Stream: x.Stream, Protocol: x.Protocol, Reused: x.Reused,
		Pool: x.Pool, Cause: x.Cause, Failure: x.Failure, Intervals: map[string]*trace.Interval{}}
	for name, i := range map[string]*trace.Interval{"blocked": x.Timings.Blocked, "dns": x.Timings.DNS, "connect": x.Timings.Connect,
		"ssl": x.Timings.SSL, "send": x.Timings.Send, "wait": x.Timings.Wait, "receive": x.Timings.Receive, "total": x.Timings.Total} {
		if i != nil {
			e.Peel.Intervals[name] = i
		}
	}
	c := t.Connection(x.Connection)
	if c == nil {
		return e
	}
	if c.RemoteAddr.IsValid() {
		e.ServerIP = c.RemoteAddr.Addr().String()
	}
	e.Conn = itoa(c.ID)
	e.Peel.LocalAddr, e.Peel.RemoteAddr = c.LocalAddr, c.RemoteAddr
	if s := c.TLS; s != nil {
		e.Peel.TLS = &tlsExtras{s.Version, s.Suite, s.Group, s.SNI, s.ALPN, s.Resumed}
	}
	return e
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// ms is an interval in milliseconds; none stands for one that is absent.
func ms(i *trace.Interval, none float64) float64 {
	if i == nil {
		return none
	}
	return max(float64(i.Duration)/1e6, 0)
}

func httpVersion(protocol trace.Protocol) string {
	if protocol == trace.ProtocolHTTP2 {
		return "h2" // as Chrome writes it
	}
	if protocol == "" {
		return "unknown"
	}
	return strings.ToLower(string(protocol))
}

func headers(list []trace.Header) []nameValue {
	out := make([]nameValue, 0, len(list))
	for _, h := range list {
		if h.Unknown == "" {
			out = append(out, nameValue{h.Name, h.Value})
		}
	}
	return out
}

func value(list []trace.Header, name string) string {
	for _, h := range list {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func newRequest(x *trace.Exchange) request {
	r := request{Method: x.Method, URL: x.URL, HTTPVersion: httpVersion(x.Protocol), Cookies: []cookie{}, Headers: headers(x.Request.Headers), QueryString: query(x.URL),
		HeadersSize: x.Request.HeadersSize, BodySize: x.Request.Body.WireSize}
	if len(x.Request.Headers) == 0 {
		r.HeadersSize, r.BodySize = -1, -1
	}
	for _, h := range x.Request.Headers {
		// HTTP/2 may cut a Cookie field into crumbs (RFC 9113 §8.2.3).
		if !strings.EqualFold(h.Name, "cookie") {
			continue
		}
		for _, p := range strings.Split(h.Value, ";") {
			name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
			if name != "" {
				r.Cookies = append(r.Cookies, cookie{Name: name, Value: v})
			}
		}
	}
	if b := x.Request.Body; b.WireSize > 0 {
		p := &postData{MimeType: value(x.Request.Headers, "content-type"), Params: []nameValue{}}
		plain, whole := plainBody(b)
		if whole {
			p.Text, p.Encoding = text(plain)
			if strings.HasPrefix(strings.ToLower(p.MimeType), "application/x-www-form-urlencoded") && p.Encoding == "" {
				p.Params = pairs(p.Text)
			}
		}
		r.PostData = p
	}
	return r
}

// query splits the query of a URL, in its order.
func query(raw string) []nameValue {
	_, q, ok := strings.Cut(raw, "?")
	if !ok {
		return []nameValue{}
	}
	q, _, _ = strings.Cut(q, "#")
	return pairs(q)
}

func pairs(q string) []nameValue {
	out := []nameValue{}
	for _, p := range strings.Split(q, "&") {
		if p == "" {
			continue
		}
		name, v, _ := strings.Cut(p, "=")
		out = append(out, nameValue{unescape(name), unescape(v)})
	}
	return out
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func newResponse(x *trace.Exchange) response {
	r := response{HTTPVersion: httpVersion(x.Protocol), Cookies: []cookie{}, Headers: []nameValue{}, HeadersSize: -1, BodySize: -1, Content: body{MimeType: "x-unknown"}}
	if x.Failure != nil {
		r.Error = x.Failure.Seen
	}
	if x.Response == nil {
		return r
	}
	from := x.Response
	r.Status, r.StatusText, r.Headers = from.Status, from.Reason, headers(from.Headers)
	r.HeadersSize, r.BodySize, r.Transferred = from.HeadersSize, from.Body.WireSize, from.HeadersSize+from.Body.WireSize
	r.RedirectURL = ""
	if from.Status/100 == 3 {
		r.RedirectURL = value(from.Headers, "location")
	}
	for _, h := range from.Headers {
		if strings.EqualFold(h.Name, "set-cookie") {
			if c, err := http.ParseSetCookie(h.Value); err == nil {
				r.Cookies = append(r.Cookies, newCookie(c))
			}
		}
	}
	if m := value(from.Headers, "content-type"); m != "" {
		r.Content.MimeType = m
	}
	r.Content.Size = from.Body.WireSize
	if from.Body.DecodedSize >= 0 {
		r.Content.Size = from.Body.DecodedSize
	}
	plain, whole := plainBody(from.Body)
	switch {
	case whole && from.Body.WireSize > 0:
		r.Content.Size = int64(len(plain))
		r.Content.Text, r.Content.Encoding = text(plain)
	case from.Body.WireSize > 0:
		r.Content.Comment = "the content was not kept, or not whole"
	}
	if n := r.Content.Size - from.Body.WireSize; from.Body.Encoding != "" && whole {
		r.Content.Compression = &n
	}
	return r
}

func newCookie(c *http.Cookie) cookie {
	out := cookie{Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain, HTTPOnly: c.HttpOnly, Secure: c.Secure}
	if !c.Expires.IsZero() {
		out.Expires = c.Expires.UTC().Format(time.RFC3339)
	}
	switch c.SameSite {
	case http.SameSiteLaxMode:
		out.SameSite = "Lax"
	case http.SameSiteStrictMode:
		out.SameSite = "Strict"
	case http.SameSiteNoneMode:
		out.SameSite = "None"
	}
	return out
}

// maxDecoded bounds a body that is decompressed.
const maxDecoded = 64 << 20

// plainBody returns a body without its coding, and whether all of it is there.
func plainBody(b trace.Body) ([]byte, bool) {
	if int64(len(b.Content)) < b.WireSize {
		return nil, false
	}
	if b.Plain != nil {
		return b.Plain, true
	}
	if b.Encoding == "" {
		return b.Content, true
	}
	r, err := content.NewReader(bytes.NewReader(b.Content), b.Encoding, content.Limit{MaxBytes: maxDecoded})
	if err != nil {
		return nil, false
	}
	plain, err := io.ReadAll(r)
	return plain, err == nil
}

// text returns bytes as they stand in JSON: themselves, or in base64.
func text(b []byte) (s, encoding string) {
	if utf8.Valid(b) && !bytes.ContainsRune(b, 0) {
		return string(b), ""
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}
