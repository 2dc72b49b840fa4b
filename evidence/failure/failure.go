// Package failure holds the words for what goes wrong on a request's way. A
// client that meets a failure and a capture that shows it say the same: both
// take the words from here.
//
// Host and addr name the server as the one who asked knows it.
package failure

import (
	"fmt"

	"peel/trace"
	"peel/wire/http2"
)

func words(layer trace.LayerName, code trace.FailureCode, seen, try string, hint trace.Hint) trace.Failure {
	return trace.Failure{Layer: layer, Code: code, Seen: seen, Try: try, Hint: hint}
}

// Refused is an RST that answers a SYN (RFC 9293 §3.10.7.1).
func Refused(addr string) trace.Failure {
	return words(trace.LayerTCP, trace.FailConnectionRefused, addr+" refused the connection (RST): the machine answers, but nothing listens on that port",
		"check the port and that the server runs", "")
}

// Closed is an end of the connection that came too early. Doing says when, as
// in "before it sent a response".
func Closed(layer trace.LayerName, doing string) trace.Failure {
	return words(layer, trace.FailClosedEarly, "the server closed the connection "+doing, "try again; if it repeats, look at the server's log for this moment", "")
}

// Reset is an RST in an open connection.
func Reset(layer trace.LayerName, doing string) trace.Failure {
	return words(layer, trace.FailReset, "the connection was reset "+doing,
		"try again; a reset comes from the server, or from a firewall or NAT on the way that forgot the connection", "")
}

// StreamReset is an RST_STREAM of the server (RFC 9113 §6.4), after got bytes
// of body.
func StreamReset(stream uint32, code http2.ErrCode, got int64) trace.Failure {
	seen := fmt.Sprintf("the server reset stream %d with %v", stream, code)
	if got > 0 {
		seen += fmt.Sprintf(" after %d bytes of body", got)
	}
	f := words(trace.LayerHTTP2, trace.FailStreamReset, seen, "look at the server's log for this moment", trace.HintWithoutHTTP2)
	switch code {
	case http2.ErrCodeRefusedStream:
		f.Try, f.Hint = "the server did not process the request: try again", ""
	case http2.ErrCodeEnhanceYourCalm:
		f.Try, f.Hint = "the server finds this client too busy: send less at once", ""
	case http2.ErrCodeHTTP11Required:
		f.Try, f.Hint = "the server wants HTTP/1.1 for this", trace.HintHTTP1
	}
	return f
}

// MalformedResponse is a head that breaks the rules of HTTP/1.1; why says how.
func MalformedResponse(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedResponse, "the response is not valid HTTP/1.1: "+why, "look at the bytes: is it an HTTP server?", trace.HintFields)
}

// Truncated is a body that ended before its time; why says how much came of it.
func Truncated(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailBodyTruncated, why, "the server or something on the way closed the connection too early; what came is kept", "")
}

// MalformedBody is a body whose framing is wrong after got bytes.
func MalformedBody(got int64, why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedBody, fmt.Sprintf("after %d bytes of body: %s", got, why), "what came is kept", "")
}
