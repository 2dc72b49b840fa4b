package http1

import (
	"strings"

	"peel/wire/httpfield"
)

// framing decides how the body ends and whether the connection lasts (RFC
// 9112 §6.3 and §9.3). One pass over the fields finds all that matters.
func (r *Reader) framing() error {
	h := &r.head
	var coding, connection, host string
	hosts, codings := 0, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		switch len(f.Name) {
		case 4:
			if httpfield.EqualName(f.Name, "Host") {
				hosts++
				host = f.Value
			}
		case 6:
			if httpfield.EqualName(f.Name, "Expect") {
				h.Expect100 = httpfield.EqualName(f.Value, "100-continue")
			}
		case 7:
			if httpfield.EqualName(f.Name, "Upgrade") {
				h.Upgrade = f.Value
			}
		case 10:
			if httpfield.EqualName(f.Name, "Connection") {
				if connection != "" {
					connection += ","
				}
				connection += f.Value
			}
		case 14:
			if httpfield.EqualName(f.Name, "Content-Length") {
				if err := r.contentLength(i, f.Value); err != nil {
					return err
				}
			}
		case 17:
			if httpfield.EqualName(f.Name, "Transfer-Encoding") {
				codings++
				if coding != "" {
					coding += ","
				}
				coding += f.Value
			}
		}
	}
	if r.role == ServerRole && !r.lim.Observe {
		if err := r.hostRule(hosts, host); err != nil {
			return err
		}
	}
	if h.Authority == "" {
		h.Authority = host
	}
	if r.role == ServerRole && h.Method == "CONNECT" && (codings > 0 || h.ContentLength > 0) {
		if err := r.deviate(0, "CONNECT has no content, yet its head announces some"); err != nil {
			return err
		}
	}
	r.connection(connection)
	if err := r.transferCoding(coding, codings); err != nil {
		return err
	}
	return r.chooseFraming()
}

func (r *Reader) contentLength(field int, v string) error {
	h := &r.head
	bad := func(format string, args ...any) error {
		at := 0
		if lines := FieldLines(r.raw); field < len(lines) {
			at = lines[field].Offset
		}
		return r.bad(at, format, args...)
	}
	// RFC 9110 §8.6: a list of equal values may be taken as one. For a
	// request it is a smuggler's tool.
	if i := strings.IndexByte(v, ','); i >= 0 {
		if err := r.deviate(0, "Content-Length is a list: "+quoted(v)); err != nil {
			return err
		}
		for _, part := range strings.Split(v, ",") {
			if err := r.contentLength(field, trimOWS(part)); err != nil {
				return err
			}
		}
		return nil
	}
	var n int64
	for i := 0; i < len(v); i++ {
		if !digit(v[i]) {
			return bad("Content-Length is %s: not a number of bytes", quoted(v))
		}
		if n >= 1e17 {
			return bad("Content-Length is %s: more bytes than can be", quoted(v))
		}
		n = n*10 + int64(v[i]-'0')
	}
	if v == "" {
		return bad("Content-Length is empty")
	}
	if h.ContentLength >= 0 {
		if h.ContentLength != n {
			return bad("two different Content-Length: %d and %d", h.ContentLength, n)
		}
		return r.deviate(0, "Content-Length is there more than once")
	}
	h.ContentLength = n
	return nil
}

// hostRule is RFC 9112 §3.2: exactly one valid Host in an HTTP/1.1 request.
func (r *Reader) hostRule(n int, host string) error {
	switch {
	case n > 1:
		return r.bad(0, "more than one Host field")
	case n == 0 && r.head.Minor == 1:
		return r.bad(0, "no Host field in an HTTP/1.1 request")
	}
	if name, port, ok := cutHost(host); host != "" && (!ok || name == "" && port != "") {
		return r.bad(0, "Host is %s: not host[:port]", quoted(host))
	}
	return nil
}

func (r *Reader) connection(v string) {
	h := &r.head
	closes, keeps, upgrade := hasToken(v, "close"), hasToken(v, "keep-alive"), hasToken(v, "upgrade")
	switch {
	case closes:
		h.WhyClose = "Connection: close"
	case h.Minor == 0 && !keeps:
		h.WhyClose = "HTTP/1.0 without keep-alive"
	default:
		h.KeepAlive = true
	}
	if !upgrade {
		h.Upgrade = ""
	}
}

func hasToken(list, token string) bool {
	for list != "" {
		var part string
		part, list, _ = strings.Cut(list, ",")
		if httpfield.EqualName(trimOWS(part), token) {
			return true
		}
	}
	return false
}

// transferCoding takes chunked and nothing else (RFC 9112 §6.1).
func (r *Reader) transferCoding(v string, fields int) error {
	h := &r.head
	if fields == 0 {
		return nil
	}
	if h.ContentLength >= 0 {
		// RFC 9112 §6.3 rule 3: an attempt at smuggling.
		if err := r.deviate(0, "both Transfer-Encoding and Content-Length are there"); err != nil {
			return err
		}
		h.KeepAlive, h.WhyClose = false, "both Transfer-Encoding and Content-Length were there"
	}
	if h.Minor == 0 {
		if err := r.deviate(0, "Transfer-Encoding in HTTP/1.0"); err != nil {
			return err
		}
		h.KeepAlive, h.WhyClose = false, "Transfer-Encoding in HTTP/1.0"
	}
	if httpfield.EqualName(v, "chunked") {
		h.Framing = Chunked
		return nil
	}
	last := v
	if i := strings.LastIndexByte(v, ','); i >= 0 {
		last = v[i+1:]
	}
	if r.role == ServerRole && !r.lim.Observe {
		if httpfield.EqualName(trimOWS(last), "chunked") {
			return r.fail(501, 0, "Transfer-Encoding %s is not supported; only chunked", quoted(v))
		}
		return r.bad(0, "Transfer-Encoding %s does not end in chunked", quoted(v))
	}
	if httpfield.EqualName(trimOWS(last), "chunked") {
		h.Framing = Chunked
	} else {
		h.Framing = UntilClose
	}
	return r.deviate(0, "Transfer-Encoding is "+quoted(v))
}

// chooseFraming is RFC 9112 §6.3.
func (r *Reader) chooseFraming() error {
	h := &r.head
	if r.role == ClientRole {
		if h.Status < 200 && h.Status != 101 {
			// An interim response: the real one is still to come.
			if r.interim++; r.interim > r.lim.Interim {
				return r.bad(0, "more than %d interim (1xx) responses", r.lim.Interim)
			}
			if h.ContentLength >= 0 || h.Framing == Chunked {
				r.note("an interim response announces a body")
			}
			h.Framing, h.ContentLength = NoBody, -1
			r.state = atHead
			return nil
		}
		r.interim = 0
		m := plainMethod
		if len(r.methods) > 0 {
			m = r.methods[0]
			r.methods = append(r.methods[:0], r.methods[1:]...)
		}
		switch {
		case h.Status == 101, m == connectMethod && h.Status < 300:
			h.Framing = NoBody
			r.state = atTunnel
			return nil
		case m != headMethod && h.Status == 204 && (h.ContentLength > 0 || h.Framing == Chunked):
			r.note("a 204 response announces a body")
			fallthrough
		case m == headMethod, h.Status == 204, h.Status == 304:
			h.Framing = NoBody
			r.state = atEnd
			return nil
		}
	}
	switch {
	case h.Framing == Chunked:
		r.state = atChunkSize
	case h.Framing == UntilClose:
		r.state = atClose
	case h.ContentLength >= 0:
		h.Framing = ContentLength
		r.left = h.ContentLength
		r.state = atBody
	case r.role == ClientRole:
		h.Framing = UntilClose
		r.state = atClose
	default:
		r.state = atEnd
	}
	if h.Framing == UntilClose {
		h.KeepAlive = false
		if h.WhyClose == "" {
			h.WhyClose = "the body ends with the connection"
		}
	}
	return nil
}
