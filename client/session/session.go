// Package session is what a person does with a client: it prepares a request
// with its default fields, cookies and credentials, sends it, follows
// redirects, answers a challenge, and takes the content encoding off. Each
// request on the way is an exchange of its own.
package session

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"peel/client"
	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	words "peel/evidence/failure"
	"peel/internal/content"
	"peel/internal/cookie"
	"peel/internal/netrc"
	"peel/internal/weburl"
	"peel/trace"
	"peel/wire/httpfield"
)

// Options of a Session. The zero value sends plain requests and follows no
// redirect.
type Options struct {
	Client   *client.Client
	Recorder *capture.Recorder
	Clock    clock.Clock
	// Follow follows redirects, at most MaxRedirects of them (0 means 50).
	Follow       bool
	MaxRedirects int
	// Jar keeps cookies; nil keeps none.
	Jar *cookie.Jar
	// User and Password are sent to the host of the first URL, and to others
	// only with TrustRedirects.
	User, Password string
	HasUser        bool
	TrustRedirects bool
	Netrc          *netrc.File
	// Raw leaves the content encoding alone and does not ask for one.
	Raw       bool
	UserAgent string
	// MaxDecoded bounds the decoded size of a body in bytes; 0 means no bound
	// but the ratio that package content allows.
	MaxDecoded int64
}

// Session sends requests one after the other. It is not safe for concurrent
// use.
type Session struct{ o Options }

// New makes a session.
func New(o Options) *Session {
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 50
	}
	return &Session{o: o}
}

// Request is what a person asks for.
type Request struct {
	Method string
	URL    weburl.URL
	// Input is what was typed, for the trace.
	Input string
	// Header holds the fields given by the person. They replace defaults of
	// the same name in place; a field with an empty value removes the default.
	Header httpfield.List
	// Body gives the content, each time from its beginning; nil is none. The
	// length is -1 when unknown.
	Body          func() (io.Reader, error)
	ContentLength int64
	// KeepMethod keeps the method over a redirect, as an explicit -X does.
	KeepMethod bool
}

// Response is the last response of a chain. Body is decoded unless the
// session is raw.
type Response struct {
	*client.Response
	URL  weburl.URL
	Body io.ReadCloser
}

// Fetch sends a request and what follows from it. When it fails after some
// exchanges, the last response is returned beside the error if there is one.
func (s *Session) Fetch(ctx context.Context, r *Request) (*Response, error) {
	cur := *r
	first := r.URL
	var before uint32
	var cause decision.Cause
	for hop := 0; ; hop++ {
		creq, err := s.prepare(&cur, first)
		if err != nil {
			return nil, err
		}
		creq.Predecessor, creq.Cause = before, cause
		if hop == 0 {
			creq.Input = r.Input
			for _, n := range r.URL.Notes {
				creq.Normalised = append(creq.Normalised, n.String())
			}
		}
		resp, err := s.o.Client.Do(ctx, creq)
		if err != nil {
			return nil, err
		}
		s.keepCookies(resp, cur.URL)
		next, why, err := s.redirect(&cur, resp)
		if err == nil && next != nil && hop >= s.o.MaxRedirects {
			err = &client.Error{Failure: trace.Failure{Layer: trace.LayerHTTP, Code: trace.FailTooManyRedirects,
				Seen: fmt.Sprintf("%d redirects, and %s still redirects to %s", hop, cur.URL.String(), next.URL.String()),
				Try:  "look at the chain: the server may loop because of a cookie or a proxy's scheme; else allow more", Hint: trace.HintRedirects}}
		}
		if err != nil {
			s.decide(resp.Exchange, failed(err))
		}
		if err != nil || next == nil {
			body, derr := s.decoded(resp)
			if err == nil {
				err = derr
			}
			return &Response{Response: resp, URL: cur.URL, Body: body}, err
		}
		s.decide(resp.Exchange, &decision.Redirected{Text: why})
		// The rest of a redirect's body is of no use; a short one is read so
		// that the connection can be used again.
		resp.Body.Close()
		before, cause = resp.Exchange, decision.CauseRedirect
		cur = *next
	}
}

func failed(err error) *decision.RequestFailed {
	if e, ok := err.(*client.Error); ok {
		return &decision.RequestFailed{Failure: e.Failure}
	}
	return &decision.RequestFailed{Failure: trace.Failure{Layer: trace.LayerHTTP, Code: trace.FailOther, Seen: err.Error()}}
}

func (s *Session) decide(exchange uint32, d decision.Decision) {
	s.o.Recorder.Decide(capture.About{Exchange: exchange}, d)
}

// prepare makes the request that is sent: its default fields in the order in
// which curl sends them, then what the person gave.
func (s *Session) prepare(r *Request, first weburl.URL) (*client.Request, error) {
	u := r.URL
	req := &client.Request{
		Method: r.Method, Origin: client.Origin{Scheme: u.Scheme, Host: u.Host, Port: u.Port},
		Authority: u.Authority, Target: u.Target, ContentLength: r.ContentLength,
	}
	h := httpfield.List{{Name: "Host", Value: u.Authority}}
	if auth := s.authorization(u, first); auth != "" {
		h = append(h, httpfield.Field{Name: "Authorization", Value: auth, Sensitive: true})
	}
	h.Add("User-Agent", s.o.UserAgent)
	h.Add("Accept", "*/*")
	if !s.o.Raw {
		h.Add("Accept-Encoding", content.AcceptEncoding())
	}
	if s.o.Jar != nil {
		if v := s.o.Jar.Header(u.Scheme, u.Host, u.Path, s.o.Clock.Now()); v != "" {
			h.Add("Cookie", v)
		}
	}
	sameOrigin := u.Scheme == first.Scheme && u.Host == first.Host && u.Port == first.Port
	for _, f := range r.Header {
		// What the person wrote for one host is not for another (RFC 9110
		// §15.4, and CVE-2018-1000007).
		if !sameOrigin && !s.o.TrustRedirects && private(f.Name) {
			continue
		}
		switch {
		case f.Value == "":
			h.Del(f.Name)
		case httpfield.EqualName(f.Name, "Cookie") && h.Has("Cookie"):
			h.Set("Cookie", h.Value("Cookie")+"; "+f.Value)
		case defaultField(f.Name):
			h.Set(f.Name, f.Value)
		default:
			h = append(h, f)
		}
	}
	req.Header = h
	if r.Body != nil {
		body, err := r.Body()
		if err != nil {
			return nil, err
		}
		req.Body, req.GetBody = body, r.Body
	}
	return req, nil
}

func private(name string) bool {
	return httpfield.EqualName(name, "Authorization") || httpfield.EqualName(name, "Cookie") || httpfield.EqualName(name, "Proxy-Authorization") || httpfield.EqualName(name, "Host")
}

func defaultField(name string) bool {
	for _, d := range []string{"Host", "Authorization", "User-Agent", "Accept", "Accept-Encoding"} {
		if httpfield.EqualName(name, d) {
			return true
		}
	}
	return false
}

// authorization chooses credentials: -u for the first host, then those in the
// URL, then netrc.
func (s *Session) authorization(u, first weburl.URL) string {
	switch {
	case u.HasCredentials():
		return client.Basic(u.Username, u.Password)
	case s.o.HasUser && (u.Host == first.Host && u.Port == first.Port && u.Scheme == first.Scheme || s.o.TrustRedirects):
		return client.Basic(s.o.User, s.o.Password)
	}
	if s.o.Netrc != nil {
		if e, ok := s.o.Netrc.Lookup(u.Host, ""); ok {
			return client.Basic(e.Login, e.Password)
		}
	}
	return ""
}

func (s *Session) keepCookies(resp *client.Response, u weburl.URL) {
	if s.o.Jar == nil {
		return
	}
	for _, line := range resp.Header.Values("Set-Cookie") {
		d := s.o.Jar.SetFrom(u.Scheme, u.Host, u.Path, line, s.o.Clock.Now())
		if d.Accepted() {
			s.decide(resp.Exchange, &decision.CookieStored{Text: d.String()})
		} else {
			s.decide(resp.Exchange, &decision.CookieRejected{Text: d.String()})
		}
	}
}

// redirect works out the request that a response redirects to (RFC 9110
// §15.4), or nil when it does not or redirects are not followed.
func (s *Session) redirect(r *Request, resp *client.Response) (next *Request, why string, err error) {
	if !s.o.Follow {
		return nil, "", nil
	}
	switch resp.Status {
	case 301, 302, 303, 307, 308:
	default:
		return nil, "", nil
	}
	loc, ok := resp.Header.Get("Location")
	if !ok {
		return nil, "", nil
	}
	u, err := weburl.Resolve(r.URL, loc)
	if err != nil {
		return nil, "", &client.Error{Err: err, Failure: trace.Failure{Layer: trace.LayerHTTP, Code: trace.FailBadRedirect,
			Seen: fmt.Sprintf("the server redirects to %q, which is not a usable URL: %v", loc, err), Try: "the server's Location field is wrong"}}
	}
	n := *r
	n.URL = u
	why = strconv.Itoa(resp.Status) + " redirects to " + u.String()
	// 307 and 308 keep the method; 303 asks for GET; for 301 and 302 browsers
	// and curl turn POST into GET, and the RFC allows it.
	change := resp.Status == 303 && r.Method != "HEAD" || (resp.Status == 301 || resp.Status == 302) && r.Method == "POST"
	if change && !r.KeepMethod {
		if r.Method != "GET" {
			why += "; " + r.Method + " becomes GET"
		}
		n.Method, n.Body, n.ContentLength = "GET", nil, 0
		n.Header = n.Header.Clone()
		n.Header.Del("Content-Type")
		n.Header.Del("Content-Length")
		n.Header.Del("Transfer-Encoding")
	}
	return &n, why, nil
}

// decoded takes the content encoding off a response's body.
func (s *Session) decoded(resp *client.Response) (io.ReadCloser, error) {
	codings := strings.Join(resp.Header.Values("Content-Encoding"), ", ")
	if s.o.Raw || codings == "" {
		return resp.Body, nil
	}
	d, err := content.NewReader(resp.Body, codings, content.Limit{MaxBytes: s.o.MaxDecoded})
	if err != nil {
		return resp.Body, &client.Error{Err: err, Failure: trace.Failure{Layer: trace.LayerHTTP, Code: trace.FailContentEncoding,
			Seen: fmt.Sprintf("the body's encoding %q cannot be taken off: %v", codings, err), Try: "take the body as it came", Hint: trace.HintRaw}}
	}
	return &decodedBody{d: d, body: resp.Body, s: s, exchange: resp.Exchange}, nil
}

// decodedBody is a body without its content encoding. It records its size
// when it ends.
type decodedBody struct {
	d        *content.Reader
	body     io.Closer
	s        *Session
	exchange uint32
	told     bool
}

func (b *decodedBody) Read(p []byte) (int, error) {
	n, err := b.d.Read(p)
	if err != nil && !b.told {
		b.told = true
		b.s.decide(b.exchange, &decision.BodyDecoded{Size: b.d.Decoded()})
		if err != io.EOF {
			if _, ours := err.(*client.Error); !ours {
				err = &client.Error{Err: err, Failure: words.Encoding(err)}
				b.s.decide(b.exchange, failed(err))
			}
		}
	}
	return n, err
}

func (b *decodedBody) Close() error { return b.body.Close() }
