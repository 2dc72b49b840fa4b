// Package failure holds the words for what goes wrong on a request's way. A
// client that meets a failure and a capture that shows it say the same: both
// take the words from here.
//
// Host and addr name the server as the one who asked knows it.
package failure

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/trace"
	"peel/wire/http1"
	"peel/wire/icmp"
	"peel/wire/tlswire"
)

func words(layer trace.LayerName, code trace.FailureCode, seen, try string, hint trace.Hint) trace.Failure {
	return trace.Failure{Layer: layer, Code: code, Seen: seen, Try: try, Hint: hint}
}

// Refused is an RST that answers a SYN (RFC 9293 §3.10.7.1).
func Refused(addr string) trace.Failure {
	return words(trace.LayerTCP, trace.FailConnectionRefused, addr+" refused the connection (RST to the SYN)",
		"check the port, and that the server runs and listens on this address", "")
}

// RefusedSomehow is a refusal of which it was not seen whether an RST or an ICMP
// error brought it.
func RefusedSomehow(addr string) trace.Failure {
	return words(trace.LayerTCP, trace.FailConnectionRefused, addr+" refused the connection (by an RST or an ICMP error; which was not seen): nothing listens on that port, or a firewall rejects it",
		"check the port and that the server runs", "")
}

// Unanswered is a SYN to which nothing came within took.
func Unanswered(addr string, took time.Duration) trace.Failure {
	return words(trace.LayerTCP, trace.FailConnectTimeout, fmt.Sprintf("%s did not answer within %s: no SYN-ACK, no refusal", addr, rounded(took)),
		"a firewall may drop the packets silently, or the machine is down; a refused port would have answered at once", "")
}

// Rejected is an ICMP error that answers a SYN (RFC 792, RFC 4443).
func Rejected(addr netip.AddrPort, r trace.Rejection) trace.Failure {
	who := "a machine on the way"
	switch {
	case r.From == addr.Addr():
		who = r.From.String()
	case r.From.IsValid():
		who = "a machine on the way, " + r.From.String() + ","
	}
	reason := "ICMP " + icmp.Reason(r.V6, r.Type, r.Code)
	unreachable := uint8(icmp.Unreachable4)
	if r.V6 {
		unreachable = icmp.Unreachable6
	}
	code := func(v4, v6 uint8) bool {
		return r.Type == unreachable && (!r.V6 && r.Code == v4 || r.V6 && r.Code == v6)
	}
	const none = 255
	switch {
	case code(icmp.PortUnreachable4, icmp.PortUnreachable6), code(icmp.ProtocolUnreachable4, none):
		return words(trace.LayerTCP, trace.FailRejected, fmt.Sprintf("the connection to %s was rejected: %s answered with %s", addr, who, reason),
			"a closed port answers with an RST, so this is a firewall: look at its rules for this port", "")
	case code(icmp.NetProhibited4, icmp.Prohibited6), code(icmp.HostProhibited4, icmp.SourceRefused6), code(icmp.Prohibited4, icmp.RouteRejected6):
		return words(trace.LayerTCP, trace.FailRejected, fmt.Sprintf("the connection to %s is forbidden: %s answered with %s", addr, who, reason),
			"a firewall there rejects it: look at its rules for this address and port", "")
	case r.Local:
		return words(trace.LayerTCP, trace.FailUnreachable, fmt.Sprintf("%s cannot be reached: nobody on the link answers for it or for the router to it (%s from this machine itself)", addr, reason),
			"check that the machine, or the router to it, is up and on this link", "")
	case code(icmp.NetUnreachable4, icmp.NoRoute6), code(icmp.NetUnknown4, none):
		return words(trace.LayerTCP, trace.FailUnreachable, fmt.Sprintf("%s cannot be reached: %s has no way to it (%s)", addr, who, reason), "check the routes there", "")
	}
	return words(trace.LayerTCP, trace.FailUnreachable, fmt.Sprintf("%s cannot be reached: %s answered with %s", addr, who, reason), "check the way there, and that the machine is up", "")
}

// rounded shortens a duration to three digits or so, for a person.
func rounded(d time.Duration) time.Duration {
	switch {
	case d > 10*time.Second:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
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

// Response names what is wrong with a response that cannot be read; first is how
// it begins.
func Response(bad *http1.Error, first []byte) trace.Failure {
	why := bad.Detail()
	switch {
	case bad.Alien():
		return NotHTTP(first)
	case bad.TooLarge():
		return TooLarge(why)
	}
	return MalformedResponse(why)
}

// HeadCut is a connection that was closed before the response's head was whole.
func HeadCut() trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedResponse, "the server closed the connection in the middle of the response's head", "try again; if it repeats, look at the server's log for this moment", "")
}

// NotHTTP is an answer to a request that begins like nothing in HTTP/1: it is named
// for what it is, as far as its first bytes tell.
func NotHTTP(first []byte) trace.Failure {
	f := func(what, try string, hint trace.Hint) trace.Failure {
		return words(trace.LayerHTTP1, trace.FailNotHTTP, "the answer is not HTTP: "+what, try, hint)
	}
	line, _, _ := strings.Cut(string(first[:min(len(first), 100)]), "\n")
	line = strings.TrimRight(line, "\r")
	switch {
	case strings.HasPrefix(line, "SSH-"):
		return f(fmt.Sprintf("an SSH server answers, %q", line), "use an SSH client, or the port of the web server", "")
	case len(first) >= 3 && first[0] == 0x15 && first[1] == 3:
		what := "a TLS alert"
		if len(first) >= 7 && first[3] == 0 && first[4] == 2 {
			what += ", " + tlswire.AlertName(first[6])
		}
		return f(what+": this port expects TLS", "use https:// instead of http://", "")
	case len(first) >= 3 && first[0] == 0x16 && first[1] == 3:
		return f("a TLS handshake record: this port speaks TLS", "use https:// instead of http://", "")
	case len(first) >= 9 && first[0] == 0 && first[3] == 4 && first[4]&^1 == 0 && first[5]|first[6]|first[7]|first[8] == 0:
		return f("an HTTP/2 SETTINGS frame: this port speaks HTTP/2 alone", "speak HTTP/2 without asking first", trace.HintPriorKnowledge)
	case strings.HasPrefix(line, "220") && (len(line) == 3 || line[3] == ' ' || line[3] == '-'):
		return f(fmt.Sprintf("a greeting as mail (SMTP) and FTP servers send it, %q", line), "use the port of the web server", "")
	case strings.HasPrefix(line, "ICY "):
		return f(fmt.Sprintf("a SHOUTcast stream, %q", line), "use a player that knows it", "")
	case len(line) > 5 && strings.EqualFold(line[:5], "HTTP/"):
		return f(fmt.Sprintf("it begins with %q, and the protocol's name is written HTTP/", line[:min(len(line), 24)]), "look at the server: clients that read strictly refuse this", trace.HintFields)
	case strings.HasPrefix(line, "<"):
		return f(fmt.Sprintf("a body without a head, as HTTP/0.9 had it; it begins with %q", line[:min(len(line), 24)]), "look at the bytes: is it an HTTP server?", trace.HintFields)
	case strings.HasPrefix(line, "+OK"):
		return f(fmt.Sprintf("a greeting as POP3 servers send it, %q", line), "use the port of the web server", "")
	case strings.HasPrefix(line, "* OK"):
		return f(fmt.Sprintf("a greeting as IMAP servers send it, %q", line), "use the port of the web server", "")
	}
	return f(fmt.Sprintf("it begins with %q, not with HTTP/", first[:min(len(first), 24)]), "look at the bytes: is it an HTTP server?", trace.HintFields)
}

// TooLarge is a message past a limit; why names both.
func TooLarge(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailHeadTooLarge, "the response is not read further: "+why, "the server sends more in its header fields than a client takes: look at what they are", trace.HintFields)
}

// MalformedRequest is a request that breaks the rules of HTTP/1.1; why says how.
func MalformedRequest(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedRequest, "the request is not valid HTTP/1.1: "+why, "look at the program that sent it", trace.HintFields)
}

// RequestCut is a request whose end did not come; why says how much of it did.
func RequestCut(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailClientClosed, "the client did not send its request to the end: "+why, "look at the program that sent it", "")
}

// ClientLeft is a client that ended the connection itself; doing says when.
func ClientLeft(reset bool, doing string) trace.Failure {
	how, code := "closed", trace.FailClientClosed
	if reset {
		how, code = "reset", trace.FailClientReset
	}
	return words(trace.LayerHTTP1, code, "the client "+how+" the connection "+doing, "look at the client: a time limit, or somebody who did not want to wait", "")
}

// Encoding is a body whose content encoding cannot be taken off.
func Encoding(err error) trace.Failure {
	return words(trace.LayerHTTP, trace.FailContentEncoding, err.Error(), "take the body as it came", trace.HintRaw)
}

// MalformedResponse is a head that breaks the rules of HTTP/1.1; why says how.
func MalformedResponse(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedResponse, "the response is not valid HTTP/1.1: "+why, "look at the server, or at a proxy before it", trace.HintFields)
}

// Truncated is a body that ended before its time; why says how much came of it.
func Truncated(why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailBodyTruncated, why, "the server or something on the way closed the connection too early; what came is kept", "")
}

// MalformedBody is a body whose framing is wrong after got bytes.
func MalformedBody(got int64, why string) trace.Failure {
	return words(trace.LayerHTTP1, trace.FailMalformedBody, fmt.Sprintf("after %d bytes of body: %s", got, why), "what came is kept", "")
}
