// Package failure holds the words for what goes wrong on a request's way. A
// client that meets a failure and a capture that shows it say the same: both
// take the words from here.
//
// Host and addr name the server as the one who asked knows it.
package failure

import (
	"fmt"
	"strings"

	"peel/trace"
	"peel/wire/tlswire"
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

// NotTLS is an answer to a ClientHello that is no TLS; first is how it begins.
func NotTLS(host string, first []byte) trace.Failure {
	return words(trace.LayerTLS, trace.FailNotTLS, fmt.Sprintf("%s does not speak TLS on this port: its first bytes are %q", host, first[:min(len(first), 5)]),
		"use http:// instead of https://, or another port", "")
}

// Alert is a fatal TLS alert of the server (RFC 8446 §6.2). Offered are the
// protocols of the ClientHello's ALPN extension.
func Alert(host string, description uint8, offered []string) trace.Failure {
	said := fmt.Sprintf("%s ended the connection with the TLS alert %s", host, tlswire.AlertName(description))
	switch description {
	case 40:
		return words(trace.LayerTLS, trace.FailCipher, said, "no cipher suite, group or certificate suits both sides", trace.HintMessages)
	case 70:
		return words(trace.LayerTLS, trace.FailVersion, said, "the server does not speak TLS 1.2 or 1.3 as offered", "")
	case 112:
		return words(trace.LayerTLS, trace.FailUnrecognizedName, said, "the server knows no site of that name; check the host name", "")
	case 116, 42:
		return words(trace.LayerTLS, trace.FailClientCertificate, said, "the server wants a client certificate: give one", trace.HintClientCert)
	case 120:
		return words(trace.LayerTLS, trace.FailALPN, said+"; offered was "+strings.Join(offered, ", "), "the server speaks none of the offered protocols; try another", trace.HintHTTPVersion)
	}
	return words(trace.LayerTLS, trace.FailAlert, said, "", "")
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
