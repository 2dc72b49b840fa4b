// Package peel makes HTTP requests and shows everything that happened on the
// way down to the wire. Its Client is an http.RoundTripper; the trace of each
// response tells, from recorded evidence, which name became which address,
// how the connection came about, what TLS and HTTP said in which bytes, and
// where the time went.
package peel

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"peel/client"
	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/explain"
	"peel/trace"
	"peel/wire/httpfield"
)

// Options of a Client: those of package client, and how much evidence to keep.
type Options struct {
	client.Options
	// Evidence bounds the bytes of the capture kept in memory; 0 means
	// 64 MiB. When it is full the oldest is dropped, and traces say so.
	Evidence int
}

// Client is an http.RoundTripper whose responses come with a trace. It
// follows no redirects and keeps no cookies; http.Client does both with it.
// It is safe for concurrent use. The zero Client is not usable; call
// NewClient.
type Client struct {
	c   *client.Client
	rec *capture.Recorder

	mu       sync.Mutex
	analyzer *analyze.Analyzer
	cursor   *capture.Cursor
}

// NewClient makes a client that records.
func NewClient(o Options) *Client {
	if o.Clock == nil {
		o.Clock = clock.NewReal()
	}
	if o.Recorder == nil {
		o.Recorder = capture.NewRecorder(o.Clock, capture.Options{Limit: o.Evidence})
	}
	return &Client{c: client.New(o.Options), rec: o.Recorder}
}

// Close closes every connection.
func (c *Client) Close() { c.c.Close() }

// CloseIdleConnections closes the connections that no request uses.
func (c *Client) CloseIdleConnections() { c.c.CloseIdle("CloseIdleConnections was called") }

// Trace returns what happened so far, over all requests of the client.
func (c *Client) Trace() *trace.Trace {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.analyzer == nil {
		c.analyzer = analyze.New(analyze.Limits{})
		c.cursor = c.rec.Cursor()
	}
	c.analyzer.Read(c.cursor, false)
	t := c.analyzer.Trace()
	t.Findings = append(t.Findings, explain.Findings(t)...)
	return t
}

// TraceOf returns the trace of one response that a Client gave: its exchange,
// the connection and the lookup behind it, and their events. It tells what
// happened until now: ask when the body has been read. It is nil for a
// response that came from elsewhere.
func TraceOf(resp *http.Response) *trace.Trace {
	b, ok := resp.Body.(*tracedBody)
	if !ok {
		return nil
	}
	return b.client.Trace().Only(int(b.exchange))
}

// tracedBody ties a response to its client and exchange.
type tracedBody struct {
	io.ReadCloser
	client   *Client
	exchange uint32
	resp     *http.Response
	trailer  func() httpfield.List
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.resp.Trailer == nil {
		if t := b.trailer(); len(t) > 0 {
			b.resp.Trailer = header(t)
		}
	}
	return n, err
}

// RoundTrip sends a request. Header names go out as they stand in the map;
// as a map has no order, they are sent sorted by name. Use package client to
// choose the order.
func (c *Client) RoundTrip(hr *http.Request) (*http.Response, error) {
	req, err := request(hr)
	if err != nil {
		closeBody(hr)
		return nil, err
	}
	resp, err := c.c.Do(hr.Context(), req)
	if err != nil {
		closeBody(hr)
		return nil, err
	}
	out := &http.Response{
		Status: strconv.Itoa(resp.Status) + " " + resp.Reason, StatusCode: resp.Status,
		Proto: string(resp.Protocol), ProtoMajor: 1, ProtoMinor: 1,
		Header: header(resp.Header), ContentLength: resp.ContentLength, Request: hr,
	}
	if resp.Reason == "" {
		out.Status = strconv.Itoa(resp.Status) + " " + http.StatusText(resp.Status)
	}
	switch resp.Protocol {
	case trace.ProtocolHTTP2:
		out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/2.0", 2, 0
	case trace.ProtocolHTTP10:
		out.ProtoMinor = 0
	}
	out.Body = &tracedBody{ReadCloser: resp.Body, client: c, exchange: resp.Exchange, resp: out, trailer: resp.Trailer}
	return out, nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// request turns a net/http request into one of ours.
func request(hr *http.Request) (*client.Request, error) {
	u := hr.URL
	if u == nil {
		return nil, errors.New("peel: the request has no URL")
	}
	o, err := origin(u)
	if err != nil {
		return nil, err
	}
	req := &client.Request{Method: hr.Method, Origin: o, Authority: u.Host, Target: u.RequestURI(), ContentLength: hr.ContentLength}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if hr.Host != "" {
		req.Authority = hr.Host
	}
	req.Header = make(httpfield.List, 0, len(hr.Header)+1)
	for _, name := range sortedNames(hr.Header) {
		for _, v := range hr.Header[name] {
			req.Header.Add(name, v)
		}
	}
	if u.User != nil && !req.Header.Has("Authorization") {
		pass, _ := u.User.Password()
		req.Header.Add("Authorization", client.Basic(u.User.Username(), pass))
	}
	if hr.Body != nil && hr.Body != http.NoBody {
		req.Body = hr.Body
		if hr.ContentLength == 0 {
			req.ContentLength = -1
		}
		if hr.GetBody != nil {
			req.GetBody = func() (io.Reader, error) { return hr.GetBody() }
		}
		if len(hr.Trailer) > 0 {
			req.Trailer = func() httpfield.List {
				var l httpfield.List
				for _, name := range sortedNames(hr.Trailer) {
					for _, v := range hr.Trailer[name] {
						l.Add(name, v)
					}
				}
				return l
			}
		}
	}
	return req, nil
}

func origin(u *url.URL) (client.Origin, error) {
	o := client.Origin{Scheme: u.Scheme, Host: strings.ToLower(u.Hostname())}
	switch u.Scheme {
	case "http":
		o.Port = 80
	case "https":
		o.Port = 443
	default:
		return o, fmt.Errorf("peel: unsupported scheme %q in %s; only http and https", u.Scheme, u.Redacted())
	}
	if o.Host == "" {
		return o, fmt.Errorf("peel: no host in %q", u.Redacted())
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return o, fmt.Errorf("peel: port %q is not between 1 and 65535", p)
		}
		o.Port = uint16(n)
	}
	return o, nil
}
