package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"peel/internal/pki"
	"peel/trace"
	"peel/wire/tlswire"
)

// certificateIDs are the findings for the verifier's verdicts.
var certificateIDs = map[trace.VerdictCode]trace.FindingID{
	pki.Expired: TLSExpired, pki.NotYetValid: TLSClock, pki.WrongName: TLSWrongName, pki.UnknownRoot: TLSUnknownRoot, pki.SelfSigned: TLSSelfSigned,
	pki.MissingIntermediate: TLSNoIntermediate, pki.BadKeyUsage: TLSKeyUsage, pki.WeakSignature: TLSWeakSignature,
}

// faulty tells whether a fault was found in the certificate of a connection's
// server.
func faulty(c *trace.Connection) bool { return fault(c.TLS) != nil || fault(c.Inside) != nil }

// fault returns the verdict on a certificate that is at fault.
func fault(t *trace.TLS) *trace.Verdict {
	if t == nil || t.Verdict == nil || t.Verdict.OK || t.Verdict.Code == trace.VerdictNotJudged {
		return nil
	}
	return t.Verdict
}

// failedTLS tells whether a connection failed in TLS.
func failedTLS(c *trace.Connection) bool {
	return c.Failure != nil && c.Failure.Layer == trace.LayerTLS
}

func certificate(t *facts) []*trace.Finding {
	var out []*trace.Finding
	seen := map[string]bool{}
	for _, c := range t.Connections {
		own := c.TLS
		if fault(own) == nil {
			own = c.Inside
		}
		v := fault(own)
		if v == nil {
			continue
		}
		key := c.Origin + string(v.Code)
		if v.Against != "" {
			key = v.Reason + own.SNI + c.RemoteAddr.String()
			if failedTLS(c) {
				key += string(c.Failure.Code)
			}
		}
		if seen[key] {
			continue
		} else {
			seen[key] = true
		}
		f := &trace.Finding{ID: certificateIDs[v.Code], Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeCertificate.Event(), trace.EventTLSVerdict),
			Title: v.Reason, Explanation: v.Explanation, WhatToDo: sentence(v.Try), Hint: v.Hint, Source: "RFC 5280 §6"}
		if f.ID == "" {
			f.ID = TLSCertificate
		}
		switch {
		case v.Against == "":
		case failedTLS(c):
			f.Evidence = append(f.Evidence, ofConnection(t, c.ID, trace.EventTLSAlert)...)
			f.Explanation = strings.TrimSpace(f.Explanation + " " + sentence(c.Failure.Seen))
		case v.Code == pki.SelfSigned:
			f.Severity = trace.Info // its clients may well know it
		default:
			f.Severity = trace.Warning
		}
		if v.Against != "" {
			f.Explanation = strings.TrimSpace(f.Explanation + " Judged by " + v.Against + ".")
		}
		if v.Ignored {
			f.Severity = trace.Warning
			f.Explanation = strings.TrimSpace(f.Explanation + " The request went on, as was asked for; anyone on the way could have answered it.")
		}
		out = append(out, f)
	}
	return out
}

// handshakeIDs are the findings for handshakes that failed.
var handshakeIDs = map[trace.FailureCode]trace.FindingID{
	trace.FailVersion: TLSVersion, trace.FailCipher: TLSCipher, trace.FailALPN: TLSALPN, trace.FailClientCertificate: TLSClientCertificate,
	trace.FailNotTLS: TLSNotTLS, trace.FailUnrecognizedName: TLSWrongName, trace.FailAlert: TLSAlert, trace.FailHandshake: TLSHandshake,
	trace.FailClosedEarly: TLSClosed, trace.FailReset: TLSReset, trace.FailClientClosed: TLSClosed, trace.FailClientReset: TLSReset,
}

// certificateCodes are the findings where a client's alert alone tells that it
// does not take the certificate.
var certificateCodes = map[trace.FailureCode]trace.FindingID{
	trace.FailCertificate(pki.Expired): TLSExpired, trace.FailCertificate(pki.UnknownRoot): TLSUnknownRoot, trace.FailCertificate(pki.Refused): TLSCertificate,
}

// handshakeFailed: one side ended the handshake, or the first exchange after
// it. Connections that failed alike make one finding.
func handshakeFailed(t *facts) []*trace.Finding {
	var out []*trace.Finding
	failed := map[int]*trace.Exchange{}
	for _, x := range t.Exchanges {
		if x.Failure != nil && x.Failure.Layer == trace.LayerTLS && failed[x.Connection] == nil {
			failed[x.Connection] = x
		}
	}
	// An exchange that got no connection names none: it is known by its failure.
	without := failed[0]
	same := map[string]*trace.Finding{}
	more := map[*trace.Finding]int{}
	for _, c := range t.Connections {
		fail, x := c.Failure, failed[c.ID]
		if x == nil && without != nil && fail != nil && without.Failure.Code == fail.Code {
			x = without
		}
		if x != nil && (fail == nil || fail.Code == x.Failure.Code) {
			fail = x.Failure
		}
		if fail == nil || fail.Layer != trace.LayerTLS {
			continue
		}
		id, refused := certificateCodes[fail.Code]
		if !refused {
			id = handshakeIDs[fail.Code]
		}
		if id == "" || refused && faulty(c) {
			continue
		}
		f := &trace.Finding{ID: id, Severity: trace.Error, Connection: c.ID,
			Evidence: ofConnection(t, c.ID, tlswire.TypeClientHello.Event(), tlswire.TypeCertificateRequest.Event(), trace.EventTLSAlert, trace.EventTLSFailed, trace.LayerTLS.Malformed()),
			Title:    fail.Seen, Explanation: helloText(c), WhatToDo: sentence(fail.Try), Hint: fail.Hint, Source: "RFC 8446 §6.2"}
		if x != nil {
			f.Exchange = x.ID
		} else if len(c.Exchanges) > 0 {
			f.Severity = trace.Warning // the requests were not hurt
		}
		if refused && c.TLS != nil && c.TLS.Verdict != nil && c.TLS.Verdict.Against != "" && len(c.TLS.Chain) > 0 {
			// Nothing is wrong with the chain that all clients would see.
			f.Explanation = fmt.Sprintf("The server sent %d certificate(s), the first %s.", len(c.TLS.Chain), c.TLS.Verdict.Reason)
			f.Evidence = append(f.Evidence, ofConnection(t, c.ID, tlswire.TypeCertificate.Event())...)
		}
		switch fail.Code {
		case trace.FailClientClosed, trace.FailClientReset:
			f.Severity = trace.Warning
			fallthrough
		case trace.FailClosedEarly, trace.FailReset:
			f.Explanation = strings.TrimSpace(f.Explanation + " " + strangeReset(c))
			f.Evidence = append(f.Evidence, ofConnection(t, c.ID, trace.EventTCPFIN, trace.EventTCPRST, trace.EventSocketEOF, trace.EventSocketReset)...)
			f.Source = "RFC 8446 §6.1"
		}
		key := string(f.ID) + f.Title + f.Explanation
		if first := same[key]; first != nil {
			more[first]++
			first.Evidence = some(append(first.Evidence, f.Evidence...))
			continue
		}
		same[key] = f
		out = append(out, f)
	}
	for _, f := range out {
		if n := more[f]; n > 0 {
			f.Explanation = strings.TrimSpace(fmt.Sprintf("%s So ended %d more connections.", f.Explanation, n))
		}
	}
	return out
}

// helloText tells how far a handshake came that ended before its time: what was
// sent and what came back, no more.
func helloText(c *trace.Connection) string {
	if c.TLS == nil || len(c.TLS.Messages) == 0 || c.TLS.Messages[0].Type != tlswire.TypeClientHello.String() {
		return ""
	}
	hello := c.TLS.Messages[0]
	text := fmt.Sprintf("The ClientHello is of %d bytes", hello.Size)
	if n := segmentsOf(c.SentOut, int64(hello.Size)+5); n > 1 {
		text += fmt.Sprintf(" in %d segments", n)
	}
	if c.TLS.SNI != "" {
		text += " and asks for " + c.TLS.SNI + " (SNI)"
	} else {
		text += " and names no host (no SNI)"
	}
	if c.BytesIn == 0 {
		return text + "; nothing came back."
	}
	var came []string
	for _, m := range c.TLS.Messages {
		if m.Direction == trace.In && len(came) < 8 {
			came = append(came, m.Type)
		}
	}
	if len(came) > 0 {
		return text + "; back came " + strings.Join(came, ", ") + "."
	}
	return text + "."
}

// strangeReset compares the RST with the server's other packets: they have come
// over as many routers when both are of one machine.
func strangeReset(c *trace.Connection) string {
	if c.Segments == nil {
		return ""
	}
	s := &c.Segments.Server
	if s.ResetTTL == 0 || s.ResetTTL == s.TTL || s.Segments < 2 {
		return ""
	}
	return fmt.Sprintf("The RST came with a TTL of %d, the server's first packet with %d: it may be of another machine, on the way.", s.ResetTTL, s.TTL)
}

// segmentsOf counts the segments that carried the first size bytes of a stream.
func segmentsOf(sent []trace.Sent, size int64) int {
	n, last := 0, int64(-1)
	for _, s := range sent {
		if s.Offset >= size {
			break
		}
		if s.Offset > last { // not sent again
			n, last = n+1, s.Offset
		}
	}
	return n
}

// noCloseNotify: a body that only the end of the connection ends was not ended
// by TLS, so that nothing tells whether it is whole (RFC 9112 §9.8).
func noCloseNotify(t *facts) []*trace.Finding {
	connections := map[int]*trace.Connection{}
	for _, c := range t.Connections {
		connections[c.ID] = c
	}
	var out []*trace.Finding
	for _, x := range t.Exchanges {
		c := connections[x.Connection]
		if x.Failure != nil || x.Response == nil || x.Response.Body.Framing != trace.FramingClose || c == nil || c.TLS == nil || !c.TLS.Decrypted ||
			c.Segments != nil && c.Segments.Missing > 0 || slices.ContainsFunc(c.TLS.Alerts, func(a trace.Alert) bool { return a.Direction == trace.In }) {
			continue
		}
		ends := pick(t.connections[c.ID], func(e *trace.Event) bool {
			return e.Direction == trace.In && named(e, []trace.EventName{trace.EventTCPFIN, trace.EventSocketEOF})
		})
		if len(ends) == 0 {
			continue
		}
		out = append(out, &trace.Finding{ID: TLSNoCloseNotify, Severity: trace.Warning, Exchange: x.ID, Connection: c.ID, Evidence: append(ofExchange(t, x.ID, trace.EventHTTP1Response), ends...),
			Title:       fmt.Sprintf("the response's body ended with the connection after %d bytes, and TLS was not ended: it may be cut off", x.Response.Body.WireSize),
			Explanation: "The response says no length, so only its end tells that it is whole; and the server closed the connection without the TLS alert close_notify, which anyone on the way can do too.",
			WhatToDo:    "Let the server send Content-Length or a chunked body, or close_notify before it closes.", Source: "RFC 9112 §9.8"})
	}
	return out
}

func helloRetry(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if c.TLS != nil && c.TLS.HelloRetry {
			out = append(out, &trace.Finding{ID: TLSHelloRetry, Severity: trace.Info, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeClientHello.Event(), tlswire.TypeServerHello.Event()),
				Title:       fmt.Sprintf("the handshake took one more round trip: the server wants a key share for %s", c.TLS.Group),
				Explanation: "The client had sent shares for other groups, so the server asked again (HelloRetryRequest).",
				WhatToDo:    "Let the server accept a group that clients send first, such as X25519MLKEM768 or X25519.", Source: "RFC 8446 §4.1.4"})
		}
	}
	return out
}

// soon is when a certificate should have been renewed: automatic renewal
// happens 30 days ahead, so that 14 days mean that it failed.
const soon = 14 * 24 * time.Hour

// origin is what a connection is for, as far as is known.
func origin(c *trace.Connection) string {
	if c.Origin == "" && c.TLS != nil {
		return c.RemoteAddr.String() + " " + c.TLS.SNI
	}
	return c.Origin
}

func certificateSoon(t *facts) []*trace.Finding {
	var out []*trace.Finding
	seen := map[string]bool{}
	for _, c := range t.Connections {
		if c.TLS == nil || len(c.TLS.Chain) == 0 || c.TLS.Verdict == nil || faulty(c) || seen[origin(c)] {
			continue
		}
		seen[origin(c)] = true
		leaf := c.TLS.Chain[0]
		end, err := time.Parse(time.RFC3339, leaf.NotAfter)
		begin, err2 := time.Parse(time.RFC3339, leaf.NotBefore)
		// Certificates that live a few days only are renewed late on purpose.
		if left := end.Sub(t.Start); err == nil && err2 == nil && left < soon && end.Sub(begin) > 2*soon {
			out = append(out, &trace.Finding{ID: TLSExpiresSoon, Severity: trace.Warning, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeCertificate.Event()),
				Title:       fmt.Sprintf("the certificate for %s expires in %d days, on %s", append(leaf.Names, leaf.Subject)[0], int(left.Hours()/24), end.Format(time.DateOnly)),
				Explanation: "Where renewal is automatic, it happens about 30 days ahead.", WhatToDo: "Renew the certificate."})
		}
	}
	return out
}

// noALPN: the server chose no protocol although some were offered.
func noALPN(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if c.TLS != nil && c.TLS.ALPN == "" && len(c.TLS.ALPNOffered) > 1 && c.TLS.Decrypted && (c.Protocol == trace.ProtocolHTTP11 || c.Protocol == trace.ProtocolHTTP10) {
			out = append(out, &trace.Finding{ID: TLSALPN, Severity: trace.Info, Connection: c.ID,
				Evidence:    ofConnection(t, c.ID, tlswire.TypeClientHello.Event(), tlswire.TypeEncryptedExtensions.Event(), tlswire.TypeServerHello.Event()),
				Title:       "the server chose no protocol by ALPN; HTTP/1.1 was used",
				Explanation: "Offered was " + strings.Join(c.TLS.ALPNOffered, ", ") + ". Clients that insist on HTTP/2, such as gRPC's, fail here.",
				WhatToDo:    "Switch HTTP/2 on where TLS ends: the server or the load balancer before it.", Source: "RFC 7301 §3.2"})
		}
	}
	return out
}
