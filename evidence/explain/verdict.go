package explain

import (
	"slices"

	"peel/trace"
)

// verdicts are the findings that say what a failure's code says, beside those
// of the tables by which the rules make them.
var verdicts = map[trace.FailureCode][]trace.FindingID{
	trace.FailConnectionRefused: {ConnectRefused},
	trace.FailConnectTimeout:    {ConnectTimeout},
	trace.FailTimeout:           {ConnectTimeout, DNSTimeout},
	trace.FailBodyTruncated:     {HTTPTruncated},
	trace.FailMalformed:         {HTTPTruncated},
	trace.FailStreamReset:       {HTTPTruncated, HTTP2GoAway},
	trace.FailReset:             {HTTPTruncated},
	trace.FailConnectionClosed:  {HTTP2GoAway},
	trace.FailTooManyRedirects:  {HTTPRedirectLoop},
}

// Says tells whether a finding says the same as the failure of the exchange or
// connection that it is about, so that a view tells both as one.
func Says(f *trace.Finding, fail *trace.Failure) bool {
	if fail == nil || f.Severity != trace.Error {
		return false
	}
	if slices.Contains(verdicts[fail.Code], f.ID) || alertIDs[fail.Code] == f.ID || unresolved[fail.Code].id == f.ID {
		return true
	}
	for code, id := range certificateIDs {
		if id == f.ID {
			return trace.FailCertificate(code) == fail.Code
		}
	}
	// Of the other verdicts about a chain.
	return f.ID == TLSCertificate && fail.Layer == trace.LayerTLS && alertIDs[fail.Code] == ""
}
