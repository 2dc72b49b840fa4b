package trace

import (
	"net/netip"
	"strings"
)

// Exchange is one request and its response. A redirect or a repeated request
// is an exchange of its own, tied to the one before by Predecessor.
type Exchange struct {
	ID     int    `json:"id"`
	Method string `json:"method"`
	URL    string `json:"url"`
	// Protocol is the version of HTTP, as spoken.
	Protocol   Protocol `json:"protocol"`
	Connection int      `json:"connection,omitempty"`
	Stream     uint32   `json:"stream,omitempty"`
	Lookup     int      `json:"lookup,omitempty"`
	// Reused tells that the connection had been opened before this exchange
	// asked for one; Pool says in words which connection and why.
	Reused bool   `json:"reused"`
	Pool   string `json:"pool,omitempty"`
	// Proxy is the one that the request went through, in a tunnel.
	Proxy *Proxy `json:"proxy,omitempty"`
	// Predecessor is the exchange that led here; Cause says how.
	Predecessor int   `json:"predecessor,omitempty"`
	Cause       Cause `json:"cause,omitempty"`
	// Initiator names what on a page asked for it.
	Initiator string `json:"initiator,omitempty"`
	// Input is what the person typed, and Normalised how it became the URL.
	Input      string   `json:"input,omitempty"`
	Normalised []string `json:"normalised,omitempty"`

	Start    Time      `json:"start"`
	End      Time      `json:"end"`
	Request  Request   `json:"request"`
	Response *Response `json:"response,omitempty"`
	Timings  Timings   `json:"timings"`
	Failure  *Failure  `json:"failure,omitempty"`
}

// Request is a request as it was on the wire.
type Request struct {
	Method  string   `json:"method"`
	Target  string   `json:"target"`
	Headers []Header `json:"headers"`
	// HeadersSize is the bytes that the head took on the wire: start line and
	// fields in HTTP/1, the compressed header block in HTTP/2.
	HeadersSize int64    `json:"headers_size"`
	Body        Body     `json:"body"`
	Trailers    []Header `json:"trailers,omitempty"`
}

// Response is a response as it was on the wire.
type Response struct {
	Status      int      `json:"status"`
	Reason      string   `json:"reason,omitempty"`
	Headers     []Header `json:"headers"`
	HeadersSize int64    `json:"headers_size"`
	Body        Body     `json:"body"`
	Trailers    []Header `json:"trailers,omitempty"`
	// Informational lists the statuses of 1xx responses that came before.
	Informational []int `json:"informational,omitempty"`
}

// Header is one field in wire order and case.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Size is what the field cost in bytes on the wire: its line with CRLF in
	// HTTP/1, its representation in the header block in HTTP/2.
	Size int `json:"size"`
	// Coding says how HPACK wrote it, such as "indexed 2" or "literal with
	// incremental indexing". Empty in HTTP/1.
	Coding string `json:"coding,omitempty"`
	// Unknown says what of the field the capture cannot tell, as HPACK names an
	// entry whose header block was not captured. That is empty then.
	Unknown Unknown `json:"unknown,omitempty"`
	// Bytes is where the field stands.
	Bytes *Range `json:"bytes,omitempty"`
}

// Body describes the content of a message.
type Body struct {
	// Framing is how its end was marked.
	Framing Framing `json:"framing"`
	// WireSize is the content as transferred, without chunk and frame
	// headers; DecodedSize is after Content-Encoding was removed, -1 when
	// nobody decoded it.
	WireSize    int64  `json:"wire_size"`
	DecodedSize int64  `json:"decoded_size"`
	Encoding    string `json:"encoding,omitempty"`
	// Announced is the value of Content-Length, -1 when there was none.
	Announced int64 `json:"announced"`
	// Complete tells that the end was seen.
	Complete bool `json:"complete"`
	// Missing counts those bytes of WireSize that the capture lacks: that they
	// passed is known from what stands around them, or from who read them.
	Missing int64 `json:"missing,omitempty"`
	// Content is the content as transferred, when the analysis was asked to
	// keep it; shorter than WireSize where only the beginning was kept.
	Content []byte `json:"-"`
	// Plain is the content without its coding, where redaction had to look
	// behind it and masked something; nil elsewhere.
	Plain []byte `json:"-"`
	// Pieces say where the content stood, as transferred.
	Pieces []Piece `json:"-"`
}

// Piece says that Length bytes of a body from At stood at Bytes.
type Piece struct {
	At, Length int64
	Bytes      Range
}

// Timings are the phases of an exchange, with the meaning of HAR 1.2: ssl is
// contained in connect. A phase that did not take place is nil.
type Timings struct {
	// Blocked runs from the request being handed in to the first thing done
	// for it: waiting for a connection or for an HTTP/2 stream.
	Blocked *Interval `json:"blocked"`
	DNS     *Interval `json:"dns"`
	Connect *Interval `json:"connect"`
	SSL     *Interval `json:"ssl"`
	// TCP is the part of Connect in which the network was at work: from the SYN,
	// or the first address that was tried, to the end of the handshake. What lies
	// between its end and SSL, or Send, is the client's own time.
	TCP *Interval `json:"tcp,omitempty"`
	// Send runs from the first to the last byte of the request.
	Send *Interval `json:"send"`
	// Wait runs from the last byte of the request to the first of the
	// response.
	Wait *Interval `json:"wait"`
	// Receive runs from the first to the last byte of the response.
	Receive *Interval `json:"receive"`
	Total   *Interval `json:"total"`
}

// Lookup is a name's story: how it became addresses.
type Lookup struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	// Kind is empty for a question to a name server, and says otherwise what
	// was said instead.
	Kind LookupKind `json:"kind,omitempty"`
	// Client is who asked, where only packets tell of the lookup.
	Client    netip.Addr `json:"client,omitzero"`
	Start     Time       `json:"start"`
	End       Time       `json:"end"`
	Steps     []Step     `json:"steps"`
	Addresses []Address  `json:"addresses"`
	Failure   *Failure   `json:"failure,omitempty"`
}

// Step is one source asked, or one query sent, on the way to an address.
type Step struct {
	Time     Time       `json:"time"`
	Duration Duration   `json:"duration"`
	Source   StepSource `json:"source"`
	// Question is the name and type asked for.
	Question  Question       `json:"question,omitzero"`
	Server    netip.AddrPort `json:"server,omitzero"`
	Transport string         `json:"transport,omitempty"`
	Attempt   int            `json:"attempt,omitempty"`
	Outcome   StepOutcome    `json:"outcome"`
	Rcode     string         `json:"rcode,omitempty"`
	Answers   []Record       `json:"answers,omitempty"`
	// Authority and Additional are the other sections of a response, where
	// packets showed it.
	Authority  []Record `json:"authority,omitempty"`
	Additional []Record `json:"additional,omitempty"`
	// Size is that of the response in octets, where packets showed it.
	Size int `json:"size,omitempty"`
	// Text is the step in one line.
	Text string `json:"text"`
}

// Question is what a name server is asked: a name and a type of records, both
// as they are printed. As text, and so as JSON, it is "example.com. AAAA".
type Question struct{ Name, Type string }

// String returns the name and the type.
func (q Question) String() string {
	if q == (Question{}) {
		return ""
	}
	return q.Name + " " + q.Type
}

// MarshalText writes what String returns.
func (q Question) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads what MarshalText wrote. A printed name has no spaces:
// they are escaped in it (RFC 4343 §2.1).
func (q *Question) UnmarshalText(b []byte) error {
	q.Name, q.Type, _ = strings.Cut(string(b), " ")
	return nil
}

// Record is a resource record in presentation form.
type Record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl"`
	Data string `json:"data"`
}

// Address is one result of a lookup, in the order in which it is tried.
type Address struct {
	IP netip.Addr `json:"ip"`
	// Source tells where it came from; TTL is -1 where there is none.
	Source string `json:"source"`
	TTL    int64  `json:"ttl"`
	// Why is the rule of RFC 6724 that put it before the next one.
	Why string `json:"why,omitempty"`
}
