package trace

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Connection is one transport connection, or an attempt at one.
type Connection struct {
	ID      int    `json:"id"`
	Network string `json:"network"`
	// Origin is scheme, host and port that it serves.
	Origin     string         `json:"origin,omitempty"`
	LocalAddr  netip.AddrPort `json:"local_addr,omitzero"`
	RemoteAddr netip.AddrPort `json:"remote_addr,omitzero"`
	// Protocol is what was spoken on it.
	Protocol Protocol `json:"protocol,omitempty"`
	// Proxy is set when what is spoken only passes through the peer.
	Proxy    *Proxy    `json:"proxy,omitempty"`
	Process  *Process  `json:"process,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"`
	Opened   Time      `json:"opened"`
	// Connected and Closed are nil when not observed.
	Connected *Time  `json:"connected,omitempty"`
	Closed    *Time  `json:"closed,omitempty"`
	ClosedBy  Closer `json:"closed_by,omitempty"`
	// ResetBy is the side that sent the RST which ended the connection, where
	// its packet was seen.
	ResetBy Closer `json:"reset_by,omitempty"`
	// Rejected is the ICMP error by which the connection ended before it was
	// open; nil when none was seen.
	Rejected *Rejection `json:"rejected,omitempty"`
	// BytesOut and BytesIn count the bytes of the stream, TLS included.
	BytesOut int64 `json:"bytes_out"`
	BytesIn  int64 `json:"bytes_in"`
	TCP      *TCP  `json:"tcp,omitempty"`
	// Segments is what the packets of the connection tell; nil when none was
	// seen.
	Segments *Segments `json:"segments,omitempty"`
	TLS      *TLS      `json:"tls,omitempty"`
	// Inside is TLS inside of TLS: with the site, where the proxy before it is
	// spoken to over TLS too.
	Inside    *TLS     `json:"tls_inside,omitempty"`
	HTTP2     *HTTP2   `json:"http2,omitempty"`
	Exchanges []int    `json:"exchanges,omitempty"`
	Failure   *Failure `json:"failure,omitempty"`

	// RecordsOut and RecordsIn map the decrypted bytes of each direction to
	// the TLS records that carried them.
	RecordsOut []TLSRecord `json:"-"`
	RecordsIn  []TLSRecord `json:"-"`
	// InsideOut and InsideIn do so for TLS inside of TLS; their records stand in
	// the plaintext of the outer one.
	InsideOut []TLSRecord `json:"-"`
	InsideIn  []TLSRecord `json:"-"`
	// SentOut and SentIn map the byte stream of each direction to the packets
	// that carried it, in the order of the stream.
	SentOut []Sent `json:"-"`
	SentIn  []Sent `json:"-"`
	// LongestSent is the largest Length among them.
	LongestSent int32 `json:"-"`
}

// Sent says that Length bytes of a stream from Offset stood at byte At of a
// packet.
type Sent struct {
	Offset int64
	Packet int
	At     int32
	Length int32
}

// Proxy is a peer that passes bytes on to another.
type Proxy struct {
	// Protocol is how it was asked.
	Protocol ProxyProtocol `json:"protocol"`
	// Address is the proxy's own; Target is the host and port that it was
	// asked to connect to, as the client wrote them.
	Address netip.AddrPort `json:"address"`
	Target  string         `json:"target"`
}

// Rejection is an ICMP error about a packet that was to open a connection
// (RFC 792, RFC 4443).
type Rejection struct {
	// From is the router or host that sent it; not valid where it is not known.
	From netip.Addr `json:"from,omitzero"`
	// V6 tells that Type and Code are ICMPv6's.
	V6   bool  `json:"v6"`
	Type uint8 `json:"type"`
	Code uint8 `json:"code"`
	// Local tells that the machine that wanted to connect told itself so, as it
	// found nobody on its link to send to.
	Local bool `json:"local,omitempty"`
}

// Process is the owner of a socket.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// Attempt is one address tried by Happy Eyeballs (RFC 8305).
type Attempt struct {
	Address netip.AddrPort `json:"address"`
	Start   Time           `json:"start"`
	End     Time           `json:"end"`
	Outcome AttemptOutcome `json:"outcome"`
	Error   string         `json:"error,omitempty"`
}

// TCP holds transport facts and says where they come from.
type TCP struct {
	Source      TCPSource `json:"source"`
	State       string    `json:"state,omitempty"`
	RTT         Duration  `json:"rtt,omitempty"`
	RTTVar      Duration  `json:"rtt_var,omitempty"`
	MinRTT      Duration  `json:"min_rtt,omitempty"`
	RTO         Duration  `json:"rto,omitempty"`
	SendMSS     uint32    `json:"send_mss,omitempty"`
	ReceiveMSS  uint32    `json:"receive_mss,omitempty"`
	AdvertMSS   uint32    `json:"advertised_mss,omitempty"`
	PathMTU     uint32    `json:"path_mtu,omitempty"`
	CwndSegs    uint32    `json:"cwnd_segments,omitempty"`
	Retransmits uint32    `json:"retransmits"`
	Lost        uint32    `json:"lost"`
	SegmentsOut uint32    `json:"segments_out,omitempty"`
	SegmentsIn  uint32    `json:"segments_in,omitempty"`
	Options     []string  `json:"options,omitempty"`
}

// Segments is a TCP connection as its packets show it, from where they were
// captured.
type Segments struct {
	Client SegmentSide `json:"client"`
	Server SegmentSide `json:"server"`
	// HandshakeRTT runs from the client's SYN to its ACK of the SYN-ACK.
	HandshakeRTT Duration `json:"handshake_rtt,omitempty"`
	// Complete tells that the handshake was seen from the SYN on.
	Complete bool `json:"complete"`
	// OneWay tells that the segments of one side only are in the capture, and
	// that they acknowledge what the other side sent.
	OneWay bool `json:"one_way,omitempty"`
	// Missing counts the bytes that were sent and not captured.
	Missing int64 `json:"missing"`
	// BadChecksums counts segments whose checksum is wrong, Offloaded those
	// whose checksum the network card was to fill in after the capture.
	BadChecksums int `json:"bad_checksums"`
	Offloaded    int `json:"offloaded"`
	// Conflicts counts segments that say something else for bytes that had
	// been sent before.
	Conflicts int     `json:"conflicts"`
	Account   Account `json:"account"`
}

// SegmentSide is what one end of a TCP connection sent.
type SegmentSide struct {
	// MAC is the link address that its frames came from, where there was one.
	MAC string `json:"mac,omitempty"`
	// TTL is the time to live, or hop limit, of its packets when captured.
	TTL uint8 `json:"ttl"`
	// ResetTTL is that of its RST, where it sent one.
	ResetTTL    uint8  `json:"reset_ttl,omitempty"`
	ISN         uint32 `json:"isn"`
	MSS         uint16 `json:"mss,omitempty"`
	WindowScale int    `json:"window_scale"`
	SACK        bool   `json:"sack_permitted"`
	Timestamps  bool   `json:"timestamps"`
	Segments    int    `json:"segments"`
	// SYNs counts the segments that were to open the connection, those sent
	// again too.
	SYNs           int   `json:"syns"`
	Bytes          int64 `json:"bytes"`
	LargestSegment int   `json:"largest_segment"`
	// Retransmissions counts segments sent again, of which Fast were asked
	// for by duplicate ACKs and Spurious had been acknowledged already.
	Retransmissions int `json:"retransmissions"`
	Fast            int `json:"fast_retransmissions"`
	Spurious        int `json:"spurious_retransmissions"`
	// BadChecksums and GoodChecksums count the segments whose checksum is wrong
	// and right; of others it was not checked.
	BadChecksums  int `json:"bad_checksums"`
	GoodChecksums int `json:"good_checksums"`
	// LongestWait is the longest time from sending a segment to sending it
	// again, of those whose first sending was seen.
	LongestWait Duration `json:"longest_wait,omitempty"`
	OutOfOrder  int      `json:"out_of_order"`
	// DSACKs counts its acknowledgements that tell of bytes which had arrived
	// already (RFC 2883).
	DSACKs        int `json:"dsacks"`
	DuplicateACKs int `json:"duplicate_acks"`
	ZeroWindows   int `json:"zero_windows"`
	// Stalled is the longest time that its window was seen closed.
	Stalled    Duration `json:"stalled,omitempty"`
	WindowFull int      `json:"window_full"`
	KeepAlives int      `json:"keep_alives"`
	// MinRTT and MeanRTT lie between its data and the acknowledgement, as
	// seen from where the packets were captured.
	MinRTT  Duration `json:"min_rtt,omitempty"`
	MeanRTT Duration `json:"mean_rtt,omitempty"`
}

// Account says how many bytes each layer took on the wire.
type Account struct {
	Packets int   `json:"packets"`
	Frames  int64 `json:"frames"`
	Link    int64 `json:"link"`
	Network int64 `json:"network"`
	// Transport is TCP or UDP headers.
	Transport int64 `json:"transport"`
	// Repeated is payload that was sent more than once.
	Repeated int64 `json:"repeated"`
	// Copies is frames that are in the capture again.
	Copies int64 `json:"copies"`
	// TLS is handshake, record headers, tags and padding.
	TLS int64 `json:"tls"`
	// HTTP is framing and heads, or other application bytes that are no
	// content; Content is the bodies of requests and responses.
	HTTP    int64 `json:"http"`
	Content int64 `json:"content"`
	// Other is what no layer of these claims: Ethernet padding, ARP, ICMP.
	Other int64 `json:"other"`
}

// TLS holds the facts of a TLS connection. They come from its decrypted
// messages where secrets were there, else from the clear ones.
type TLS struct {
	Version string `json:"version,omitempty"`
	Suite   string `json:"suite,omitempty"`
	Group   string `json:"group,omitempty"`
	// Signature is the scheme of the server's CertificateVerify or
	// ServerKeyExchange.
	Signature   string   `json:"signature,omitempty"`
	SNI         string   `json:"sni,omitempty"`
	ALPNOffered []string `json:"alpn_offered,omitempty"`
	ALPN        string   `json:"alpn,omitempty"`
	Resumed     bool     `json:"resumed"`
	HelloRetry  bool     `json:"hello_retry_request"`
	Tickets     int      `json:"tickets"`
	// Decrypted tells that records were decrypted; Undecryptable says why
	// some were not.
	Decrypted     bool          `json:"decrypted"`
	Undecryptable string        `json:"undecryptable,omitempty"`
	Messages      []TLSMessage  `json:"messages"`
	Alerts        []Alert       `json:"alerts,omitempty"`
	Chain         []Certificate `json:"chain,omitempty"`
	Verdict       *Verdict      `json:"verdict,omitempty"`
	Handshake     *Interval     `json:"handshake,omitempty"`
}

// Alert is a TLS alert (RFC 8446 §6). As text, and so as JSON, it is
// "in: fatal handshake_failure(40)".
type Alert struct {
	Direction Direction
	// Code is its description's number, and Text its level and name.
	Code uint8
	Text string
}

// CloseNotify tells whether it only says that nothing more will be sent,
// which is how a connection should end.
func (a Alert) CloseNotify() bool { return a.Code == 0 }

// String returns the direction, the level, the name and the number.
func (a Alert) String() string { return string(a.Direction) + ": " + a.Text }

// MarshalText writes what String returns.
func (a Alert) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Alert) UnmarshalText(b []byte) error {
	dir, text, ok := strings.Cut(string(b), ": ")
	if !ok {
		return fmt.Errorf("trace: alert %q has no direction", b)
	}
	number := strings.TrimSuffix(text[strings.LastIndexAny(text, "( ")+1:], ")")
	code, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return fmt.Errorf("trace: alert %q ends in no number", b)
	}
	*a = Alert{Direction(dir), uint8(code), text}
	return nil
}

// TLSMessage is one handshake message.
type TLSMessage struct {
	Type      string    `json:"type"`
	Direction Direction `json:"direction"`
	Time      Time      `json:"time"`
	Size      int       `json:"size"`
	Encrypted bool      `json:"encrypted"`
	Event     int       `json:"event"`
}

// TLSRecord maps plaintext to one record: PlainLength bytes of application
// data from PlainOffset came in the record of Length bytes at Offset of the
// stream.
type TLSRecord struct {
	PlainOffset, PlainLength int64
	Offset, Length           int64
	Time                     Time
}

// Certificate is one link of a chain as the peer sent it.
type Certificate struct {
	Subject   string   `json:"subject"`
	Issuer    string   `json:"issuer"`
	Names     []string `json:"names,omitempty"`
	NotBefore string   `json:"not_before"`
	NotAfter  string   `json:"not_after"`
	Key       string   `json:"key"`
	Signature string   `json:"signature"`
	Serial    string   `json:"serial"`
	SHA256    string   `json:"sha256"`
	IsCA      bool     `json:"is_ca"`
}

// Verdict is what the verifier decided about a chain.
type Verdict struct {
	OK bool `json:"ok"`
	// Code is a stable word, such as "expired"; Reason is one line.
	Code        VerdictCode `json:"code"`
	Reason      string      `json:"reason"`
	Explanation string      `json:"explanation,omitempty"`
	Try         string      `json:"try,omitempty"`
	Hint        Hint        `json:"hint,omitempty"`
	// Against says what a chain of a capture was judged by, where it was not the
	// client that judged: nobody knows what that one trusts.
	Against string `json:"against,omitempty"`
	// Ignored tells that the person asked to go on regardless.
	Ignored bool `json:"ignored,omitempty"`
}

// VerdictNotJudged is the code of a chain in which no fault is seen and whose
// root was not judged, as nobody said what to trust.
const VerdictNotJudged VerdictCode = "not_judged"

// HTTP2 holds the facts of an HTTP/2 connection.
type HTTP2 struct {
	ClientSettings []Setting `json:"client_settings"`
	ServerSettings []Setting `json:"server_settings"`
	// FramesOut and FramesIn count frames by type.
	FramesOut map[string]int `json:"frames_out"`
	FramesIn  map[string]int `json:"frames_in"`
	// MaxConcurrent is the most streams that were open at once.
	MaxConcurrent int     `json:"max_concurrent"`
	GoAway        *GoAway `json:"goaway,omitempty"`
	// HeaderTableOut and HeaderTableIn are the sizes of the HPACK dynamic
	// tables at the end, in octets as RFC 7541 §4.1 counts.
	HeaderTableOut uint32 `json:"header_table_out"`
	HeaderTableIn  uint32 `json:"header_table_in"`
	// WindowOut and WindowIn are the connection's flow-control windows at the
	// end: what the client may still send, and the server.
	WindowOut int64 `json:"window_out"`
	WindowIn  int64 `json:"window_in"`
}

// Setting is one parameter of a SETTINGS frame.
type Setting struct {
	Name  string `json:"name"`
	Value uint32 `json:"value"`
}

// GoAway is the last GOAWAY frame seen.
type GoAway struct {
	Direction  Direction `json:"direction"`
	LastStream uint32    `json:"last_stream"`
	Code       string    `json:"code"`
	Debug      string    `json:"debug,omitempty"`
}
