package explain

import (
	"slices"

	"peel/trace"
)

// verdicts are the findings that say what a failure of a layer says by its code,
// beside those of the tables by which the rules make them.
var verdicts = map[verdict][]trace.FindingID{
	{trace.LayerTCP, trace.FailConnectionRefused}:   {ConnectRefused},
	{trace.LayerTCP, trace.FailConnectTimeout}:      {ConnectTimeout},
	{trace.LayerTCP, trace.FailTimeout}:             {ConnectTimeout},
	{trace.LayerTCP, trace.FailRejected}:            {ConnectRejected},
	{trace.LayerTCP, trace.FailUnreachable}:         {ConnectUnreachable},
	{trace.LayerDNS, trace.FailTimeout}:             {DNSTimeout},
	{trace.LayerHTTP1, trace.FailBodyTruncated}:     {HTTPTruncated},
	{trace.LayerHTTP1, trace.FailMalformedRequest}:  {HTTPMalformed},
	{trace.LayerHTTP1, trace.FailMalformedResponse}: {HTTPMalformed},
	{trace.LayerHTTP1, trace.FailMalformedBody}:     {HTTPMalformed},
	{trace.LayerHTTP1, trace.FailHeadTooLarge}:      {HTTPMalformed},
	{trace.LayerHTTP1, trace.FailNotHTTP}:           {HTTPNotHTTP},
	{trace.LayerHTTP1, trace.FailReset}:             {HTTPTruncated, HTTPReuseRace, HTTPReset},
	{trace.LayerHTTP1, trace.FailClosedEarly}:       {HTTPReuseRace, HTTPEmptyReply},
	{trace.LayerHTTP2, trace.FailReset}:             {HTTPTruncated, HTTPReuseRace},
	{trace.LayerHTTP2, trace.FailClosedEarly}:       {HTTPTruncated, HTTPReuseRace},
	{trace.LayerHTTP2, trace.FailStreamReset}:       {HTTP2StreamReset},
	{trace.LayerHTTP2, trace.FailGoAway}:            {HTTP2GoAway},
	{trace.LayerHTTP2, trace.FailProtocol}:          {HTTP2Malformed},
	{trace.LayerHTTP2, trace.FailMalformedResponse}: {HTTP2Malformed},
	{trace.LayerHTTP2, trace.FailMalformedBody}:     {HTTP2Malformed},
	{trace.LayerHTTP2, trace.FailConnectionClosed}:  {HTTP2GoAway},
	{trace.LayerHTTP, trace.FailTooManyRedirects}:   {HTTPRedirectLoop},
	{trace.LayerHTTP, trace.FailContentEncoding}:    {HTTPEncoding},
}

type verdict struct {
	layer trace.LayerName
	code  trace.FailureCode
}

// Says tells whether a finding says the same as the failure of the exchange or
// connection that it is about, so that a view tells both as one.
func Says(f *trace.Finding, fail *trace.Failure) bool {
	if fail == nil {
		return false
	}
	if slices.Contains(verdicts[verdict{fail.Layer, fail.Code}], f.ID) {
		return true
	}
	switch fail.Layer {
	case trace.LayerTLS:
		if handshakeIDs[fail.Code] == f.ID {
			return true
		}
	case trace.LayerDNS:
		return unresolved[fail.Code].id == f.ID
	default:
		return false
	}
	for code, id := range certificateIDs {
		if id == f.ID {
			return trace.FailCertificate(code) == fail.Code
		}
	}
	// Of the other verdicts about a chain.
	return f.ID == TLSCertificate && handshakeIDs[fail.Code] == ""
}
