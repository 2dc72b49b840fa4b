package main

import (
	"errors"

	"peel/client"
	"peel/trace"
)

// hints say how peel is told to do what a hint of the trace advises. Each is
// appended to that advice.
var hints = map[trace.Hint]string{
	trace.HintTimeLimit:      " with -m SECONDS",
	trace.HintStallLimit:     " with --stall-time",
	trace.HintAddress:        " with --resolve",
	trace.HintMessages:       " (-v shows each message)",
	trace.HintFields:         " (-vv shows each byte)",
	trace.HintHeader:         " (-H)",
	trace.HintVersionLimits:  " with --tlsv1.x/--tls-max",
	trace.HintClientCert:     " with --cert and --key",
	trace.HintTrust:          " with --cacert FILE",
	trace.HintPriorKnowledge: " with --http2-prior-knowledge",
	trace.HintHTTP1:          ": use --http1.1",
	trace.HintWithoutHTTP2:   "; --http1.1 shows whether HTTP/2 is the cause",
	trace.HintHTTPVersion:    " with --http1.1 or --http2",
	trace.HintMessagesOrHTTP: " (-v, --http1.1)",
	trace.HintRedirects:      " with --max-redirs (-v shows the chain)",
	trace.HintRaw:            " with --raw",
	trace.HintMoreRequests:   " with --max-requests",
	trace.HintIPv6:           " with -6",
}

// explained is an error in one line, with the flag that helps.
func explained(err error) string {
	var e *client.Error
	if errors.As(err, &e) {
		return err.Error() + hints[e.Hint]
	}
	return err.Error()
}
