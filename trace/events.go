package trace

// EventName is a stable dotted name of an event, such as
// "tls.handshake.client_hello". The names are a closed vocabulary: each stands
// once. The rule: a name that is a word of its own is a constant here; one made
// of a prefix and a word of another closed type is made by that type's method
// Event (tlswire.HandshakeType, http2.FrameType, websocket.Opcode, tcp.Note) or
// by LayerName.Malformed. Two things name their own: a room with a list of its
// messages beside their parser (socks), and a network of our own, whose words
// follow the prefixes of package decision. As JSON they are plain strings.
type EventName string

// Malformed names the event of a message of the layer that breaks its format.
func (l LayerName) Malformed() EventName { return EventName(l) + ".malformed" }

// Of the request as a whole: what the client was asked and what it decided.
const (
	EventRequestStart   EventName = "request.start"
	EventRequestBind    EventName = "request.bind"
	EventRequestFailed  EventName = "request.failed"
	EventRedirect       EventName = "redirect.followed"
	EventCookieStored   EventName = "cookie.stored"
	EventCookieRejected EventName = "cookie.rejected"
	EventBodyDecoded    EventName = "body.decoded"
	EventBodyAbandoned  EventName = "body.abandoned"
	EventBodyRead       EventName = "body.read"
	EventBodyCoding     EventName = "body.coding"
)

// Of the choice of a connection.
const (
	EventPoolNew   EventName = "pool.new"
	EventPoolReuse EventName = "pool.reuse"
	EventPoolWait  EventName = "pool.wait"
)

// Of a lookup, as the resolver tells it.
const (
	EventLookupStart EventName = "lookup.start"
	EventLookupStep  EventName = "lookup.step"
	EventLookupEarly EventName = "lookup.early"
	EventLookupEnd   EventName = "lookup.end"
)

// Of DNS messages.
const (
	EventDNSQuery    EventName = "dns.query"
	EventDNSResponse EventName = "dns.response"
)

// Of connecting, and of sockets, as the operating system tells it.
const (
	EventConnectTo      EventName = "connect.to"
	EventConnectStart   EventName = "connect.start"
	EventConnectDone    EventName = "connect.done"
	EventConnectFailed  EventName = "connect.failed"
	EventSocketBound    EventName = "socket.bound"
	EventSocketOpen     EventName = "socket.open"
	EventSocketAccepted EventName = "socket.accepted"
	EventSocketEOF      EventName = "socket.eof"
	EventSocketReset    EventName = "socket.reset"
	EventSocketClosed   EventName = "socket.closed"
	EventTCPInfo        EventName = "tcp.info"
)

// Of TCP segments that tell more than that bytes flow. What else is remarkable
// about a segment is named by tcp.Note.
const (
	EventTCPSYN         EventName = "tcp.syn"
	EventTCPSYNACK      EventName = "tcp.syn_ack"
	EventTCPEstablished EventName = "tcp.established"
	EventTCPFIN         EventName = "tcp.fin"
	EventTCPRST         EventName = "tcp.rst"
	EventTCPGap         EventName = "tcp.gap"
	EventTCPIdle        EventName = "tcp.idle"
	EventTCPChecksum    EventName = "tcp.bad_checksum"
	EventTCPOneWay      EventName = "tcp.one_way"
)

// Of what carries a network.
const (
	EventARPRequest  EventName = "arp.request"
	EventARPReply    EventName = "arp.reply"
	EventICMPError   EventName = "icmp.error"
	EventICMPMessage EventName = "icmp.message"
)

// Of TLS. Handshake messages are named by tlswire.HandshakeType.
const (
	EventTLSStart            EventName = "tls.start"
	EventTLSDone             EventName = "tls.done"
	EventTLSFailed           EventName = "tls.failed"
	EventTLSVerdict          EventName = "tls.verdict"
	EventTLSAlert            EventName = "tls.alert"
	EventTLSChangeCipherSpec EventName = "tls.change_cipher_spec"
	EventTLSEarlyDataRefused EventName = "tls.early_data_refused"
	EventTLSUndecryptable    EventName = "tls.undecryptable"
	EventTLSJoined           EventName = "tls.joined"
	EventTLSGap              EventName = "tls.gap"
	EventTLSAsked            EventName = "tls.asked"
	EventTLSHello2           EventName = "tls.ssl2_hello"
)

// Of HTTP. HTTP/2 frames are named by http2.FrameType, WebSocket frames by
// websocket.Opcode.
const (
	EventHTTP1Request        EventName = "http1.request"
	EventHTTP1RequestHeadEnd EventName = "http1.request_head_end"
	EventHTTP1Response       EventName = "http1.response"
	EventHTTP1Body           EventName = "http1.body"
	EventHTTP1Deviation      EventName = "http1.deviation"
	EventHTTP1Unsolicited    EventName = "http1.unasked"
	EventHTTP1Missing        EventName = "http1.missing"
	EventHTTP1CutShort       EventName = "http1.cut_short"
	EventHTTP2Preface        EventName = "http2.preface"
	EventHTTP2Resumed        EventName = "http2.resumed"
)

// Of the evidence itself.
const (
	EventCaptureDamage   EventName = "capture.damage"
	EventCaptureDropped  EventName = "capture.dropped"
	EventCaptureNames    EventName = "capture.names"
	EventCaptureFormat   EventName = "capture.format"
	EventCaptureComment  EventName = "capture.comment"
	EventCaptureClock    EventName = "capture.clock"
	EventCaptureLinkType EventName = "capture.link_type"
	EventCaptureCopy     EventName = "capture.copy"
)
