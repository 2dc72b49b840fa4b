package failure

import (
	"fmt"

	"peel/trace"
	"peel/wire/http2"
)

// StreamReset is an RST_STREAM of the server (RFC 9113 §6.4), after got bytes
// of body.
func StreamReset(stream uint32, code http2.ErrCode, got int64) trace.Failure {
	f := words(trace.LayerHTTP2, trace.FailStreamReset, fmt.Sprintf("the server reset stream %d with %v", stream, code)+afterBody(got),
		"look at the server's log for this moment", trace.HintWithoutHTTP2)
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

// StreamGivenUp is an RST_STREAM of the client, after got bytes of body. A
// client that wants no more says CANCEL; any other code is what it objects to.
func StreamGivenUp(stream uint32, code http2.ErrCode, got int64) trace.Failure {
	seen := fmt.Sprintf("the client reset stream %d with %v", stream, code)
	if code == http2.ErrCodeCancel || code == http2.ErrCodeNo {
		return words(trace.LayerHTTP2, trace.FailCancelled, seen+" before a response came",
			"look at the client: a time limit, or somebody who did not want to wait", "")
	}
	return words(trace.LayerHTTP2, trace.FailStreamReset, seen+afterBody(got), "the code says what the client objects to: look at the frames of the server", trace.HintMessages)
}

func afterBody(got int64) string {
	if got > 0 {
		return fmt.Sprintf(" after %d bytes of body", got)
	}
	return ""
}

// IllegalResponse is a response whose head breaks the rules of HTTP/2, so that
// a client must treat it as malformed (RFC 9113 §8.1.1); what says how.
func IllegalResponse(stream uint32, what string) trace.Failure {
	return words(trace.LayerHTTP2, trace.FailMalformedResponse, illegal(stream, what),
		"the server, or a proxy before it, has to be mended", trace.HintWithoutHTTP2)
}

// IllegalBody is a response whose body or trailers do so.
func IllegalBody(stream uint32, what string) trace.Failure {
	return words(trace.LayerHTTP2, trace.FailMalformedBody, illegal(stream, what), "the server, or a proxy before it, has to be mended; what came is kept", "")
}

func illegal(stream uint32, what string) string {
	return fmt.Sprintf("the response on stream %d breaks the rules of HTTP/2: %s", stream, what)
}

// ProtocolBroken is a frame of the server that ends the connection; code and
// what say why.
func ProtocolBroken(code http2.ErrCode, what string) trace.Failure {
	return words(trace.LayerHTTP2, trace.FailProtocol, fmt.Sprintf("the server broke the protocol: %v: %s", code, what),
		"look at the frames, or do without HTTP/2", trace.HintMessagesOrHTTP)
}

// largeHead is from where on a request's head may be too large for a server:
// nginx allows 4 KiB for a field, others 8 KiB or more for all.
const largeHead = 4 << 10

// GoneAway is a request whose response the server's GOAWAY ended (RFC 9113
// §6.8). head is the size of the request's fields as §6.5.2 counts them; how
// is what became of the stream, where the server may have looked at it, as in
// "and closed the connection before it sent a response on stream 1".
func GoneAway(stream uint32, g http2.GoAway, head int64, how string) trace.Failure {
	seen := fmt.Sprintf("the server said GOAWAY %v", g.Code)
	if len(g.Debug) > 0 {
		seen += fmt.Sprintf(" (%q)", g.Debug[:min(len(g.Debug), 80)])
	}
	unprocessed := stream > g.LastStreamID
	if unprocessed {
		seen += fmt.Sprintf(", naming %d as the last stream that it looks at: stream %d was not processed", g.LastStreamID, stream)
	} else {
		seen += " " + how
	}
	f := words(trace.LayerHTTP2, trace.FailGoAway, seen, "the code says what the server objects to: look at the frames, and at its log", trace.HintMessages)
	switch {
	case g.Code == http2.ErrCodeEnhanceYourCalm && head >= largeHead:
		f.Try, f.Hint = fmt.Sprintf("the server finds this client too demanding: the request's header fields are %d bytes, which may be more than it takes; send fewer or shorter ones", head), ""
	case g.Code == http2.ErrCodeEnhanceYourCalm:
		f.Try, f.Hint = "the server finds this client too demanding: send less at once, or wait", ""
	case g.Code == http2.ErrCodeHTTP11Required:
		f.Try, f.Hint = "the server wants HTTP/1.1 for this", trace.HintHTTP1
	case g.Code == http2.ErrCodeNo && unprocessed:
		f.Try, f.Hint = "send it again, on another connection: that can do no harm", ""
	case g.Code == http2.ErrCodeNo:
		f.Try, f.Hint = "whether the server acted on the request is not known: send it again if that can do no harm", ""
	}
	return f
}

// ClientGoneAway is a request whose connection the client ended with a GOAWAY
// that says what it objects to, where nothing that was seen tells more.
func ClientGoneAway(g http2.GoAway) trace.Failure {
	seen := fmt.Sprintf("the client ended the connection with GOAWAY %v", g.Code)
	if len(g.Debug) > 0 {
		seen += fmt.Sprintf(" (%q)", g.Debug[:min(len(g.Debug), 80)])
	}
	return words(trace.LayerHTTP2, trace.FailGoAway, seen, "the code says what the client objects to: look at the frames of the server", trace.HintMessages)
}

// EndedWithoutResponse is an END_STREAM that no head came before.
func EndedWithoutResponse(stream uint32) trace.Failure {
	return words(trace.LayerHTTP2, trace.FailNoResponse, fmt.Sprintf("stream %d ended without a response", stream), "look at the server's log for this moment", "")
}

// StreamLeft is a connection that the client closed or reset before the response
// to a request of its own came.
func StreamLeft(stream uint32, reset bool) trace.Failure {
	how := "closed"
	if reset {
		how = "reset"
	}
	return words(trace.LayerHTTP2, trace.FailCancelled, fmt.Sprintf("the client %s the connection before a response came on stream %d", how, stream),
		"look at the client: a time limit, or somebody who did not want to wait", "")
}
