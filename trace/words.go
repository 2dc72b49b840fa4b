package trace

// The closed vocabularies of a trace. Each word stands here once, or, for
// findings, beside the rule that makes them; whoever asks for one compares
// with the constant. As JSON they are plain strings.

// LayerName names a layer. Events, failures and findings say which one they
// belong to.
type LayerName string

// Layers, from the person down to the wire.
const (
	LayerInput LayerName = "input"
	LayerURL   LayerName = "url"
	LayerPool  LayerName = "pool"
	LayerDNS   LayerName = "dns"
	LayerTCP   LayerName = "tcp"
	LayerUDP   LayerName = "udp"
	LayerIP    LayerName = "ip"
	LayerICMP  LayerName = "icmp"
	LayerARP   LayerName = "arp"
	// LayerCapture is what is said about the evidence itself.
	LayerCapture   LayerName = "capture"
	LayerTLS       LayerName = "tls"
	LayerHTTP1     LayerName = "http1"
	LayerHTTP2     LayerName = "http2"
	LayerWebSocket LayerName = "websocket"
	LayerHTTP      LayerName = "http"
	LayerPeel      LayerName = "peel"
)

// Direction is the way that bytes take, as the observed client sees it.
type Direction string

// Directions.
const (
	Out Direction = "out"
	In  Direction = "in"
)

// Space is what the offsets of a Range count in.
type Space string

// Spaces in which a Range counts.
const (
	// SpaceStream is the byte stream of one direction of a connection as it
	// is on the wire, from its first byte.
	SpaceStream Space = "stream"
	// SpaceTLS is the plaintext that the TLS application-data records of one
	// direction hold, joined.
	SpaceTLS Space = "tls"
	// SpaceInside is that of TLS inside of TLS, as through a proxy that is spoken
	// to over TLS.
	SpaceInside Space = "tls_inside"
	// SpaceDatagram counts in one UDP payload.
	SpaceDatagram Space = "datagram"
	// SpacePacket counts in one packet, from the first byte of its link
	// header. Range.Packet names it.
	SpacePacket Space = "packet"
)

// Severity says how bad a finding is.
type Severity string

// Severities, the mildest first.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Rank orders severities: 1 for Info, 2 for Warning, 3 for Error, and 0 for
// what is none of them.
func (s Severity) Rank() int {
	switch s {
	case Info:
		return 1
	case Warning:
		return 2
	case Error:
		return 3
	}
	return 0
}

// FindingID names a finding for good, such as "DNS-TIMEOUT". The rules that
// make findings declare theirs.
type FindingID string

// Protocol is what is spoken on a connection.
type Protocol string

// Protocols.
const (
	ProtocolHTTP10    Protocol = "HTTP/1.0"
	ProtocolHTTP11    Protocol = "HTTP/1.1"
	ProtocolHTTP2     Protocol = "HTTP/2"
	ProtocolTLS       Protocol = "TLS"
	ProtocolDNS       Protocol = "DNS"
	ProtocolSOCKS     Protocol = "SOCKS"
	ProtocolWebSocket Protocol = "WebSocket"

	// Those that begin in the clear and can change to TLS.
	ProtocolSMTP       Protocol = "SMTP"
	ProtocolFTP        Protocol = "FTP"
	ProtocolPOP3       Protocol = "POP3"
	ProtocolIMAP       Protocol = "IMAP"
	ProtocolXMPP       Protocol = "XMPP"
	ProtocolLDAP       Protocol = "LDAP"
	ProtocolPostgreSQL Protocol = "PostgreSQL"
	ProtocolMySQL      Protocol = "MySQL"

	// Those over UDP that are known by sight only.
	ProtocolQUIC Protocol = "QUIC"
	ProtocolDTLS Protocol = "DTLS"

	// ProtocolUnknown is one that peel does not read.
	ProtocolUnknown Protocol = "unknown"
)

// StartsClear tells of a protocol that begins in the clear and can change to
// TLS, as SMTP does with STARTTLS.
func (p Protocol) StartsClear() bool {
	switch p {
	case ProtocolSMTP, ProtocolFTP, ProtocolPOP3, ProtocolIMAP, ProtocolXMPP, ProtocolLDAP, ProtocolPostgreSQL, ProtocolMySQL:
		return true
	}
	return false
}

// BySight tells of a protocol that peel names where it sees it, and does not
// read.
func (p Protocol) BySight() bool { return p == ProtocolQUIC || p == ProtocolDTLS }

// ProxyProtocol is how a proxy was asked to connect on.
type ProxyProtocol string

// Proxy protocols.
const (
	ProxyCONNECT ProxyProtocol = "HTTP CONNECT"
	ProxySOCKS4  ProxyProtocol = "SOCKS4"
	ProxySOCKS5  ProxyProtocol = "SOCKS5"
)

// Cause says why an exchange followed another.
type Cause string

// Causes.
const (
	CauseRedirect Cause = "redirect"
	CauseAuth     Cause = "auth"
	CauseRetry    Cause = "retry"
	// CausePush is of a request that the server promised for the client, on its
	// own account (RFC 9113 §8.4).
	CausePush Cause = "push"
)

// AttemptOutcome is how an attempt at a connection ended.
type AttemptOutcome string

// Outcomes of attempts.
const (
	// AttemptPending is one whose end was not observed.
	AttemptPending     AttemptOutcome = "pending"
	AttemptConnected   AttemptOutcome = "connected"
	AttemptRefused     AttemptOutcome = "refused"
	AttemptTimeout     AttemptOutcome = "timeout"
	AttemptUnreachable AttemptOutcome = "unreachable"
	// AttemptRejected is one that a firewall answered with an ICMP error.
	AttemptRejected  AttemptOutcome = "rejected"
	AttemptCancelled AttemptOutcome = "cancelled"
	AttemptFailed    AttemptOutcome = "failed"
)

// Closer is who ended a connection; empty when its end was not observed.
type Closer string

// Closers.
const (
	ByClient Closer = "client"
	ByServer Closer = "server"
	// ByReset is an end by force, from whichever side.
	ByReset Closer = "reset"
)

// TCPSource is where facts about a TCP connection come from.
type TCPSource string

// Sources of TCP facts.
const (
	FromKernel  TCPSource = "TCP_INFO" // the kernel told
	FromPackets TCPSource = "packets"  // peel saw the segments
)

// StepSource is who was asked in a step of a lookup: one of these, or another
// word from the hosts line of nsswitch.conf.
type StepSource string

// Sources of steps.
const (
	// SourceOverride is an address that was given with the request. Its word
	// is curl's flag for it, under which readers of the JSON know it.
	SourceOverride  StepSource = "--resolve"
	SourceLiteral   StepSource = "literal"
	SourceLocalhost StepSource = "localhost"
	// SourceName is the name itself, when it is none that can be asked for.
	SourceName  StepSource = "name"
	SourceFiles StepSource = "files"
	SourceDNS   StepSource = "dns"
	// SourceHTTPS is what an HTTPS record says of the service.
	SourceHTTPS StepSource = "https"
)

// StepOutcome is how a step of a lookup ended.
type StepOutcome string

// Outcomes of steps.
const (
	// StepWaiting is a step that has not ended, or whose lookup was given up.
	StepWaiting   StepOutcome = "waiting"
	StepAnswer    StepOutcome = "answer"
	StepNoData    StepOutcome = "no_data"
	StepNoName    StepOutcome = "no_name"
	StepTimeout   StepOutcome = "timeout"
	StepTruncated StepOutcome = "truncated"
	// StepReferral is an answer that names other servers to ask.
	StepReferral      StepOutcome = "referral"
	StepRefused       StepOutcome = "refused"
	StepServerFailure StepOutcome = "server_failure"
	StepMalformed     StepOutcome = "malformed"
	StepUnreachable   StepOutcome = "unreachable"
	StepIgnored       StepOutcome = "ignored"
	StepSkipped       StepOutcome = "skipped"
	StepFailed        StepOutcome = "failed"
)

// LookupKind says what DNS messages that are no question to a name server are.
type LookupKind string

// Kinds of what is said in DNS beside lookups. They are told and not judged.
const (
	// LookupMDNS asks everybody on the link (RFC 6762), and so does
	// LookupLLMNR (RFC 4795): that nobody answers is no failure.
	LookupMDNS  LookupKind = "mdns"
	LookupLLMNR LookupKind = "llmnr"
	// LookupAnnouncement is what multicast DNS tells without being asked.
	LookupAnnouncement LookupKind = "announcement"
	LookupUpdate       LookupKind = "update" // RFC 2136
	LookupNotify       LookupKind = "notify" // RFC 1996
	// LookupOther has an opcode that no other word fits.
	LookupOther LookupKind = "other"
)

// Framing is how the end of a body was marked.
type Framing string

// Framings.
const (
	FramingNone          Framing = "none"
	FramingContentLength Framing = "content-length"
	FramingChunked       Framing = "chunked"
	FramingClose         Framing = "close"
	FramingEndStream     Framing = "end_stream"
)

// VerdictCode is what the verifier decided about a chain, in one word. Its
// words stand beside the verifier, in package pki.
type VerdictCode string

// Unknown says what of a header field is not known.
type Unknown string

// What is not known.
const (
	UnknownName  Unknown = "name"
	UnknownField Unknown = "name and value"
)
