package client

import (
	"encoding/base64"
	"io"
	"net"
	"strconv"

	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/httpfield"
)

// Origin is whom a request is for (RFC 6454 §4): connections are shared
// within one origin and never across.
type Origin struct {
	// Scheme is "http" or "https".
	Scheme string
	// Host is a name in ASCII, or an IP address without brackets.
	Host string
	Port uint16
}

func (o Origin) String() string {
	return o.Scheme + "://" + net.JoinHostPort(o.Host, strconv.Itoa(int(o.Port)))
}

// Request is one request as it will be sent, on whichever version of HTTP.
type Request struct {
	Method string
	Origin Origin
	// Authority goes into Host or :authority; Target is the origin-form path
	// and query (or "*").
	Authority string
	Target    string
	// Header is sent in this order. HTTP/1 keeps the case of the names,
	// HTTP/2 lowers it as it must. A Host field here replaces Authority.
	// Content-Length and Transfer-Encoding are added when the body needs them
	// and they are not there.
	Header httpfield.List
	// Body is nil when there is none. ContentLength is its length in bytes,
	// or -1 when it is not known.
	Body          io.Reader
	ContentLength int64
	// GetBody gives the body anew, so that the request can be sent again. It
	// may be nil.
	GetBody func() (io.Reader, error)
	// Trailer is called after the body was sent and gives the trailer fields;
	// it may be nil.
	Trailer func() httpfield.List

	// What the trace tells about where the request came from.
	Input       string         // what the person typed
	Normalised  []string       // how that became the URL
	Predecessor uint32         // the exchange that led to this one
	Cause       decision.Cause // how it led here
}

// Response is one response. Body must be read to its end or closed.
type Response struct {
	// Protocol is the version of HTTP that was spoken.
	Protocol trace.Protocol
	Status   int
	Reason   string
	// Header is in wire order and case, without pseudo-headers.
	Header httpfield.List
	Body   io.ReadCloser
	// ContentLength is the announced length, or -1.
	ContentLength int64
	// Exchange is the number under which the capture knows this exchange.
	Exchange uint32

	trailer interface{ trailers() httpfield.List }
}

// Trailer returns the trailer fields; they are there when Body is at its end.
func (r *Response) Trailer() httpfield.List {
	if r.trailer == nil {
		return nil
	}
	return r.trailer.trailers()
}

// idempotent tells whether a request may be sent again although it is not
// known whether the server acted on it (RFC 9110 §9.2.2).
func (r *Request) idempotent() bool {
	switch r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// replayable tells whether the body can be sent again from its beginning.
func (r *Request) replayable() bool { return r.Body == nil || r.GetBody != nil }

// Basic returns the value of an Authorization field for the Basic scheme
// (RFC 7617).
func Basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
