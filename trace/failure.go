package trace

// Failure says at which layer something ended, what was seen and what to try.
type Failure struct {
	Layer LayerName   `json:"layer"`
	Code  FailureCode `json:"code"`
	// Seen is what was observed, in one line.
	Seen string `json:"seen"`
	// Try is what to do about it, in one line.
	Try string `json:"try"`
	// Hint says what of the observing program itself would help; a view that
	// knows the program's flags or settings names it.
	Hint Hint `json:"hint,omitempty"`
}

// FailureCode says in one stable word what went wrong. The words stand here
// and not beside the clients and resolvers that say them, because rules and
// views, which know neither, judge by them.
type FailureCode string

// Of any layer.
const (
	FailTimeout     FailureCode = "timeout"
	FailCancelled   FailureCode = "cancelled"
	FailClosedEarly FailureCode = "closed_early"
	FailReset       FailureCode = "reset"
	FailBroken      FailureCode = "broken"
	FailMalformed   FailureCode = "malformed"
	FailUnreachable FailureCode = "unreachable"
	FailRefused     FailureCode = "refused"
	// FailNotCaptured is of the evidence: bytes are missing from it.
	FailNotCaptured FailureCode = "not_captured"
	// FailOther is an end that no other word fits.
	FailOther FailureCode = "failed"
)

// Of the request as it was given.
const (
	FailBody       FailureCode = "body"
	FailBadRequest FailureCode = "bad_request"
)

// Of names.
const (
	FailConfiguration FailureCode = "configuration"
	FailNameNotFound  FailureCode = "name_not_found"
	FailNoData        FailureCode = "no_data"
	FailServerFailure FailureCode = "server_failure"
	FailBadName       FailureCode = "bad_name"
	FailNotAsked      FailureCode = "not_asked"
	FailNoAddress     FailureCode = "no_address"
)

// Of connecting.
const (
	FailConnectionRefused FailureCode = "connection_refused"
	// FailRejected is an ICMP error that a firewall sends instead of passing
	// the connection on.
	FailRejected       FailureCode = "connection_rejected"
	FailNotPermitted   FailureCode = "not_permitted"
	FailConnectTimeout FailureCode = "connect_timeout"
	FailConnect        FailureCode = "connect_failed"
	FailProxyRefused   FailureCode = "proxy_refused"
)

// Of TLS.
const (
	FailNotTLS            FailureCode = "not_tls"
	FailVersion           FailureCode = "version"
	FailHandshake         FailureCode = "handshake_failed"
	FailCipher            FailureCode = "cipher"
	FailUnrecognizedName  FailureCode = "unrecognized_name"
	FailClientCertificate FailureCode = "client_certificate"
	FailALPN              FailureCode = "alpn"
	FailAlert             FailureCode = "alert"
	// FailClientClosed and FailClientReset are ends by the client, before the
	// handshake was done.
	FailClientClosed FailureCode = "client_closed"
	FailClientReset  FailureCode = "client_reset"
)

// FailCertificate is the code of a chain that the verifier does not accept.
func FailCertificate(v VerdictCode) FailureCode { return FailureCode("certificate_" + v) }

// Of HTTP.
const (
	FailMalformedRequest  FailureCode = "malformed_request"
	FailMalformedResponse FailureCode = "malformed_response"
	FailNotHTTP           FailureCode = "not_http"
	FailHeadTooLarge      FailureCode = "head_too_large"
	FailMalformedBody     FailureCode = "malformed_body"
	FailBodyTruncated     FailureCode = "body_truncated"
	FailResponseTimeout   FailureCode = "response_timeout"
	FailStalled           FailureCode = "stalled"
	FailProtocol          FailureCode = "protocol_error"
	FailConnectionClosed  FailureCode = "connection_closed"
	FailStreamReset       FailureCode = "stream_reset"
	FailGoAway            FailureCode = "goaway"
	FailNoResponse        FailureCode = "no_response"
	FailBadRedirect       FailureCode = "bad_redirect"
	FailTooManyRedirects  FailureCode = "too_many_redirects"
	FailContentEncoding   FailureCode = "content_encoding"
)

// Hint names what of the observing program would help, in one word, without
// saying how that program is told: whoever shows it knows the flag.
type Hint string

// Hints.
const (
	HintTimeLimit      Hint = "time_limit"       // a longer limit for the whole request
	HintStallLimit     Hint = "stall_limit"      // a longer limit for silence
	HintAddress        Hint = "address"          // the address, given by hand
	HintMessages       Hint = "messages"         // every message, shown
	HintFields         Hint = "fields"           // every field and byte, shown
	HintHeader         Hint = "header"           // the header fields that were given
	HintVersionLimits  Hint = "version_limits"   // the limits of the TLS version
	HintClientCert     Hint = "client_cert"      // a client certificate and its key
	HintTrust          Hint = "trust"            // a CA to trust
	HintHTTP1          Hint = "http1"            // HTTP/1.1 instead of HTTP/2
	HintPriorKnowledge Hint = "prior_knowledge"  // HTTP/2 without asking first
	HintWithoutHTTP2   Hint = "without_http2"    // the same, to see whether HTTP/2 is the cause
	HintHTTPVersion    Hint = "http_version"     // another version of HTTP
	HintMessagesOrHTTP Hint = "messages_or_http" // the messages, or HTTP/1.1
	HintRedirects      Hint = "redirects"        // more redirects
	HintRaw            Hint = "raw"              // the body as it came
	HintMoreRequests   Hint = "more_requests"    // more requests kept in a trace
	HintIPv6           Hint = "ipv6"             // IPv6 alone
)
