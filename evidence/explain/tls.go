package explain

import (
	"fmt"
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

func certificate(t *facts) []*trace.Finding {
	var out []*trace.Finding
	seen := map[string]bool{}
	for _, c := range t.Connections {
		if c.TLS == nil || c.TLS.Verdict == nil || c.TLS.Verdict.OK {
			continue
		}
		v := c.TLS.Verdict
		if key := c.Origin + string(v.Code); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		f := &trace.Finding{ID: certificateIDs[v.Code], Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeCertificate.Event(), trace.EventTLSVerdict),
			Title: v.Reason, Explanation: v.Explanation, WhatToDo: sentence(v.Try), Hint: v.Hint, Source: "RFC 5280 §6"}
		if f.ID == "" {
			f.ID = TLSCertificate
		}
		if v.Ignored {
			f.Severity = trace.Warning
			f.Explanation = strings.TrimSpace(f.Explanation + " The request went on, as was asked for; anyone on the way could have answered it.")
		}
		out = append(out, f)
	}
	return out
}

// alertIDs are the findings for handshakes that ended.
var alertIDs = map[trace.FailureCode]trace.FindingID{
	trace.FailVersion: TLSVersion, trace.FailCipher: TLSCipher, trace.FailALPN: TLSALPN, trace.FailClientCertificate: TLSClientCertificate,
	trace.FailNotTLS: TLSNotTLS, trace.FailUnrecognizedName: TLSWrongName,
}

// tlsAlert: the server ended the handshake.
func tlsAlert(t *facts) []*trace.Finding {
	var out []*trace.Finding
	var failed []*trace.Exchange
	for _, x := range t.Exchanges {
		if x.Failure != nil && x.Failure.Layer == trace.LayerTLS {
			failed = append(failed, x)
		}
	}
	for _, c := range t.Connections {
		// The alert can end the handshake, or the first exchange after it.
		fail, try, hint := c.Failure, "", trace.Hint("")
		for _, x := range failed {
			if fail != nil && x.Failure.Code == fail.Code || fail == nil && x.Connection == c.ID {
				fail, try, hint = x.Failure, x.Failure.Try, x.Failure.Hint
			}
		}
		if fail == nil || fail.Layer != trace.LayerTLS || alertIDs[fail.Code] == "" {
			continue
		}
		out = append(out, &trace.Finding{ID: alertIDs[fail.Code], Severity: trace.Error, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeClientHello.Event(), trace.EventTLSAlert, trace.EventTLSFailed),
			Title: fail.Seen, WhatToDo: sentence(try), Hint: hint, Source: "RFC 8446 §6.2"})
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

func certificateSoon(t *facts) []*trace.Finding {
	var out []*trace.Finding
	seen := map[string]bool{}
	for _, c := range t.Connections {
		if c.TLS == nil || len(c.TLS.Chain) == 0 || c.TLS.Verdict == nil || !c.TLS.Verdict.OK || seen[c.Origin] {
			continue
		}
		seen[c.Origin] = true
		leaf := c.TLS.Chain[0]
		end, err := time.Parse(time.RFC3339, leaf.NotAfter)
		begin, err2 := time.Parse(time.RFC3339, leaf.NotBefore)
		// Certificates that live a few days only are renewed late on purpose.
		if left := end.Sub(t.Start); err == nil && err2 == nil && left < soon && end.Sub(begin) > 2*soon {
			out = append(out, &trace.Finding{ID: TLSExpiresSoon, Severity: trace.Warning, Connection: c.ID, Evidence: ofConnection(t, c.ID, tlswire.TypeCertificate.Event()),
				Title:       fmt.Sprintf("the certificate for %s expires in %d days, on %s", leaf.Subject, int(left.Hours()/24), end.Format(time.DateOnly)),
				Explanation: "Automatic renewal happens about 30 days ahead; it has probably failed.", WhatToDo: "Renew the certificate."})
		}
	}
	return out
}

// noALPN: the server chose no protocol although some were offered.
func noALPN(t *facts) []*trace.Finding {
	var out []*trace.Finding
	for _, c := range t.Connections {
		if c.TLS != nil && c.TLS.ALPN == "" && len(c.TLS.ALPNOffered) > 1 && c.TLS.Decrypted {
			out = append(out, &trace.Finding{ID: TLSALPN, Severity: trace.Info, Connection: c.ID,
				Evidence:    ofConnection(t, c.ID, tlswire.TypeClientHello.Event(), tlswire.TypeEncryptedExtensions.Event(), tlswire.TypeServerHello.Event()),
				Title:       "the server chose no protocol by ALPN; HTTP/1.1 was used",
				Explanation: "Offered was " + strings.Join(c.TLS.ALPNOffered, ", ") + ". Clients that insist on HTTP/2, such as gRPC's, fail here.",
				WhatToDo:    "Switch HTTP/2 on where TLS ends: the server or the load balancer before it.", Source: "RFC 7301 §3.2"})
		}
	}
	return out
}
