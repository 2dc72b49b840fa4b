package explain

import (
	"testing"

	"peel/internal/pki"
	"peel/trace"
)

// A failure and the finding that a rule makes of it are one; others are not.
func TestSays(t *testing.T) {
	for _, c := range []struct {
		id    trace.FindingID
		layer trace.LayerName
		code  trace.FailureCode
		want  bool
	}{
		{ConnectRefused, trace.LayerTCP, trace.FailConnectionRefused, true},
		{ConnectRefused, trace.LayerTCP, trace.FailConnectTimeout, false},
		{DNSNoName, trace.LayerDNS, trace.FailNameNotFound, true},
		{DNSEmpty, trace.LayerDNS, trace.FailNameNotFound, false},
		{DNSTimeout, trace.LayerHTTP1, trace.FailTimeout, false}, // a limit of the whole request
		{TLSExpired, trace.LayerTLS, trace.FailCertificate(pki.Expired), true},
		{TLSExpired, trace.LayerTLS, trace.FailCertificate(pki.WrongName), false},
		{TLSCertificate, trace.LayerTLS, trace.FailCertificate(pki.InvalidCA), true},
		{TLSCipher, trace.LayerTLS, trace.FailCipher, true},
		{TLSCertificate, trace.LayerTLS, trace.FailCipher, false},
		{HTTPTruncated, trace.LayerHTTP1, trace.FailBodyTruncated, true},
		{HTTPTruncated, trace.LayerHTTP2, trace.FailClosedEarly, true},
		{HTTPRedirectLoop, trace.LayerHTTP, trace.FailTooManyRedirects, true},
		{TCPLoss, trace.LayerHTTP1, trace.FailBodyTruncated, false},
		{"", trace.LayerTCP, trace.FailOther, false},
	} {
		if got := Says(&trace.Finding{ID: c.id}, &trace.Failure{Layer: c.layer, Code: c.code}); got != c.want {
			t.Errorf("%s says what %s %s says: %v", c.id, c.layer, c.code, got)
		}
	}
	if Says(&trace.Finding{ID: TCPLoss}, nil) {
		t.Error("nothing failed")
	}
}
