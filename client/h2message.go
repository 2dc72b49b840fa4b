package client

import (
	"fmt"

	"peel/trace"
	"peel/wire/httpfield"
)

// appendRequestFields writes a request as HTTP/2 fields (RFC 9113 §8.3.1).
// Fields that belong to an HTTP/1 connection are left out (§8.2.2).
func appendRequestFields(dst httpfield.List, req *Request) httpfield.List {
	authority := req.Authority
	if v, ok := req.Header.Get("Host"); ok {
		authority = v
	}
	dst = append(dst,
		httpfield.Field{Name: ":method", Value: req.Method},
		httpfield.Field{Name: ":scheme", Value: req.Origin.Scheme},
		httpfield.Field{Name: ":authority", Value: authority},
		httpfield.Field{Name: ":path", Value: req.Target})
	for _, f := range req.Header {
		if !connectionField(f) {
			dst = append(dst, f)
		}
	}
	if req.Body != nil && req.ContentLength >= 0 && !req.Header.Has("Content-Length") {
		dst = append(dst, httpfield.Field{Name: "content-length", Value: fmt.Sprint(req.ContentLength)})
	}
	return dst
}

func connectionField(f httpfield.Field) bool {
	switch len(f.Name) {
	case 2:
		return httpfield.EqualName(f.Name, "TE") && !httpfield.EqualName(f.Value, "trailers")
	case 4:
		return httpfield.EqualName(f.Name, "Host")
	case 7:
		return httpfield.EqualName(f.Name, "Upgrade")
	case 10:
		return httpfield.EqualName(f.Name, "Connection") || httpfield.EqualName(f.Name, "Keep-Alive")
	case 16:
		return httpfield.EqualName(f.Name, "Proxy-Connection")
	case 17:
		return httpfield.EqualName(f.Name, "Transfer-Encoding")
	}
	return false
}

func newH2Response(fields httpfield.List) *Response {
	r := &Response{Protocol: trace.ProtocolHTTP2, ContentLength: -1}
	for i, f := range fields {
		if f.Name == ":status" {
			r.Status = atoi(f.Value)
			continue
		}
		r.Header = fields[i:].Clone()
		break
	}
	if v, ok := r.Header.Get("content-length"); ok {
		r.ContentLength = int64(atoi(v))
	}
	return r
}

// atoi reads a number that the engine has checked already.
func atoi(s string) int {
	n := 0
	for i := 0; i < len(s) && i < 18; i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
