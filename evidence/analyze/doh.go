package analyze

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"peel/clock"
	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
)

// DNS over HTTPS (RFC 8484): the request stays a request, and what it asks and
// gets is a lookup beside it.

// dnsMedia is the media type of a DNS message.
const dnsMedia = "application/dns-message"

// maxCarried bounds the bodies that are gathered at once for the DNS messages
// that they are. No more are open but where something is wrong.
const maxCarried = 256

// dnsHead takes the head of a request or response: what it says of its body, and
// the question that the URL of a GET holds (§4.1).
func (l *layer) dnsHead(t clock.Time, x *exchange, dir capture.Direction, e *trace.Event) {
	headers, body := x.tr.Request.Headers, &x.tr.Request.Body
	if dir == capture.In {
		headers, body = x.tr.Response.Headers, &x.tr.Response.Body
	}
	if dir == capture.Out && x.tr.Method == "GET" {
		_, query, found := strings.Cut(x.tr.Request.Target, "?")
		if !found || !strings.Contains(query, "dns=") {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if msg, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(values.Get("dns"), "=")); err == nil && asksDNS(headers, msg) {
			l.dnsMessage(t, x, dir, msg, e.Bytes)
		}
		return
	}
	if !slices.ContainsFunc(headers, isDNSMedia("content-type")) || body.Encoding != "" {
		return
	}
	l.c.a.carry.put(body, new([]byte))
}

// asksDNS tells a request by GET that asks in DNS: by what it takes, or by the
// form of the message where it does not say.
func asksDNS(headers []trace.Header, msg []byte) bool {
	return len(msg) >= dns.HeaderSize && (slices.ContainsFunc(headers, isDNSMedia("accept")) || looksLikeQuestion(msg))
}

func looksLikeQuestion(msg []byte) bool {
	m, err := dns.Parse(msg)
	return err == nil && !m.Response && len(m.Questions) == 1 && m.Trailing == 0
}

func isDNSMedia(field string) func(trace.Header) bool {
	return func(h trace.Header) bool {
		return strings.EqualFold(h.Name, field) && strings.Contains(strings.ToLower(h.Value), dnsMedia)
	}
}

// dnsBody takes a part of a body.
func (a *Analyzer) dnsBody(b *trace.Body, data []byte) {
	if len(a.carry.now) == 0 {
		return
	}
	if m, ok := a.carry.get(b); ok && len(*m)+len(data) <= dns.MaxMessage {
		*m = append(*m, data...)
	}
}

// dnsEnd takes the end of a body.
func (l *layer) dnsEnd(t clock.Time, x *exchange, dir capture.Direction) {
	a := l.c.a
	if len(a.carry.now) == 0 {
		return
	}
	body := &x.tr.Request.Body
	if dir == capture.In && x.tr.Response != nil {
		body = &x.tr.Response.Body
	}
	m, ok := a.carry.get(body)
	if !ok {
		return
	}
	a.carry.drop(body)
	if int64(len(*m)) != body.WireSize || len(*m) < dns.HeaderSize {
		return // longer than any DNS message, or none
	}
	var at []trace.Range
	if len(body.Pieces) == 1 {
		at = l.ranges(dir, body.Pieces[0].Bytes.Offset, body.Pieces[0].Bytes.Length)
	}
	l.dnsMessage(t, x, dir, *m, at)
}

// dnsMessage takes a DNS message that an exchange carried.
func (l *layer) dnsMessage(t clock.Time, x *exchange, dir capture.Direction, msg []byte, at []trace.Range) {
	c := l.c
	if c.lookup != nil {
		return // a decision tells of it
	}
	m, err := dns.Parse(msg)
	name := trace.EventDNSQuery
	if m.Response {
		name = trace.EventDNSResponse
	}
	e := c.a.event(t, trace.LayerDNS, name, dns.Summary(msg))
	e.Connection, e.Exchange, e.Stream, e.Direction, e.Bytes = c.tr.ID, x.tr.ID, x.tr.Stream, dirNames[dir], at
	e.Raw, e.RawLength = slices.Clone(msg[:min(len(msg), c.a.lim.Raw)]), len(msg)
	h := &message{t: t, c: c, m: m, broken: err, raw: msg, e: e, transport: "http", carrier: x.tr.ID}
	if c.secure {
		h.transport = "https"
	}
	h.between(c.tr.LocalAddr, c.tr.RemoteAddr, dir)
	c.a.heard(h)
}
