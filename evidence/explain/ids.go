package explain

import "peel/trace"

// The findings that the rules make. Scripts go by these IDs: one that has
// been told keeps its meaning.

// Of names.
const (
	DNSTimeout       trace.FindingID = "DNS-TIMEOUT"
	DNSTruncated     trace.FindingID = "DNS-TRUNCATED"
	DNSSearchStorm   trace.FindingID = "DNS-SEARCH-STORM"
	DNSNoName        trace.FindingID = "DNS-NXDOMAIN"
	DNSEmpty         trace.FindingID = "DNS-EMPTY"
	DNSServerFailure trace.FindingID = "DNS-SERVFAIL"
	DNSRefused       trace.FindingID = "DNS-REFUSED"
	DNSUnreachable   trace.FindingID = "DNS-UNREACHABLE"
	DNSMalformed     trace.FindingID = "DNS-MALFORMED"
	DNSAliasLoop     trace.FindingID = "DNS-CNAME-LOOP"
	DNSHalfAnswered  trace.FindingID = "DNS-HALF-ANSWERED"
	DNSPairRace      trace.FindingID = "DNS-PAIR-RACE"
)

// Of connecting.
const (
	ConnectRefused trace.FindingID = "CONNECT-REFUSED"
	ConnectTimeout trace.FindingID = "CONNECT-TIMEOUT"
	// ConnectRejected is a firewall that answers with an ICMP error, and
	// ConnectUnreachable a router, or this machine, that knows no way.
	ConnectRejected    trace.FindingID = "CONNECT-REJECTED"
	ConnectUnreachable trace.FindingID = "CONNECT-UNREACHABLE"
	// ConnectOneFamily is a server that listens on an address of one family and
	// refuses at that of the other.
	ConnectOneFamily trace.FindingID = "CONNECT-ONE-FAMILY"
	IPv6Broken       trace.FindingID = "V6-BROKEN"
	IPv6Slow         trace.FindingID = "V6-SLOW"
)

// Of TLS and certificates.
const (
	TLSExpired           trace.FindingID = "TLS-EXPIRED"
	TLSClock             trace.FindingID = "TLS-CLOCK"
	TLSWrongName         trace.FindingID = "TLS-WRONG-NAME"
	TLSUnknownRoot       trace.FindingID = "TLS-UNKNOWN-ROOT"
	TLSSelfSigned        trace.FindingID = "TLS-SELF-SIGNED"
	TLSNoIntermediate    trace.FindingID = "TLS-NO-INTERMEDIATE"
	TLSKeyUsage          trace.FindingID = "TLS-KEY-USAGE"
	TLSWeakSignature     trace.FindingID = "TLS-WEAK-SIGNATURE"
	TLSCertificate       trace.FindingID = "TLS-CERTIFICATE"
	TLSExpiresSoon       trace.FindingID = "TLS-EXPIRES-SOON"
	TLSVersion           trace.FindingID = "TLS-VERSION"
	TLSCipher            trace.FindingID = "TLS-CIPHER"
	TLSALPN              trace.FindingID = "TLS-ALPN"
	TLSClientCertificate trace.FindingID = "TLS-MTLS"
	TLSNotTLS            trace.FindingID = "TLS-NOT-TLS"
	TLSHelloRetry        trace.FindingID = "TLS-HELLO-RETRY"
	TLSClosed            trace.FindingID = "TLS-CLOSED"
	TLSReset             trace.FindingID = "TLS-RESET"
	TLSAlert             trace.FindingID = "TLS-ALERT"
	TLSHandshake         trace.FindingID = "TLS-HANDSHAKE"
	TLSNoCloseNotify     trace.FindingID = "TLS-NO-CLOSE-NOTIFY"
)

// Of packets on the way.
const (
	TCPLoss        trace.FindingID = "TCP-LOSS"
	Reordered      trace.FindingID = "REORDER-DUP"
	ZeroWindow     trace.FindingID = "ZERO-WINDOW"
	PathMTUReduced trace.FindingID = "PMTU-REDUCED"
	ARPConflict    trace.FindingID = "ARP-CONFLICT"
	ARPSilence     trace.FindingID = "ARP-SILENCE"
)

// Of the capture itself.
const (
	CaptureGap     trace.FindingID = "CAPTURE-GAP"
	CaptureDropped trace.FindingID = "CAPTURE-DROPPED"
	CaptureDamaged trace.FindingID = "CAPTURE-DAMAGED"
	ChecksumWrong  trace.FindingID = "CHECKSUM-WRONG"
	CaptureOneWay  trace.FindingID = "CAPTURE-ONE-WAY"
	CaptureCopies  trace.FindingID = "CAPTURE-DUPLICATES"
	CaptureClock   trace.FindingID = "CAPTURE-CLOCK"
)

// Of HTTP.
const (
	HTTPTruncated     trace.FindingID = "HTTP-TRUNCATED"
	HTTPMalformed     trace.FindingID = "HTTP-MALFORMED"
	HTTPNotHTTP       trace.FindingID = "HTTP-NOT-HTTP"
	HTTPEmptyReply    trace.FindingID = "HTTP-EMPTY-REPLY"
	HTTPReset         trace.FindingID = "HTTP-RESET"
	HTTPEncoding      trace.FindingID = "HTTP-ENCODING"
	HTTPDesync        trace.FindingID = "HTTP-DESYNC"
	HTTPNotCaptured   trace.FindingID = "HTTP-NOT-CAPTURED"
	HTTPRedirectLoop  trace.FindingID = "HTTP-REDIRECT-LOOP"
	HTTPReuseRace     trace.FindingID = "HTTP-REUSE-RACE"
	HTTPNoCompression trace.FindingID = "HTTP-NO-COMPRESSION"
	HTTP2GoAway       trace.FindingID = "H2-GOAWAY"
	HTTP2MaxStreams   trace.FindingID = "H2-MAX-STREAMS"
	HTTP2StreamReset  trace.FindingID = "H2-STREAM-RESET"
	HTTP2Malformed    trace.FindingID = "H2-MALFORMED"
	// HTTP2FieldsUnknown is of captures that lack bytes.
	HTTP2FieldsUnknown trace.FindingID = "H2-FIELDS-UNKNOWN"
)
