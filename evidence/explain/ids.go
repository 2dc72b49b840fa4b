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
)

// Of connecting.
const (
	ConnectRefused trace.FindingID = "CONNECT-REFUSED"
	ConnectTimeout trace.FindingID = "CONNECT-TIMEOUT"
	IPv6Broken     trace.FindingID = "V6-BROKEN"
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
)

// Of HTTP.
const (
	HTTPTruncated     trace.FindingID = "HTTP-TRUNCATED"
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
