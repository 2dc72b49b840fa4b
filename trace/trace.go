// Package trace is the model of what happened: plain data that every other
// package may import and that imports none of them.
//
// A trace is made by package analyze from a capture and never by hand. All
// times are nanoseconds since the start of the trace. What was not observed is
// absent (nil, empty, or zero where the comment says so), never guessed.
package trace

import (
	"net/netip"
	"sort"
	"strconv"
	"time"
)

// SchemaVersion is the version of the JSON form. It rises when a field
// changes its meaning or goes away, not when one is added.
const SchemaVersion = 1

// Trace is everything that one capture tells.
type Trace struct {
	SchemaVersion int `json:"schema_version"`
	// Start is the wall-clock time of time zero.
	Start       time.Time     `json:"start"`
	Exchanges   []*Exchange   `json:"exchanges"`
	Lookups     []*Lookup     `json:"lookups"`
	Connections []*Connection `json:"connections"`
	// Packets are those that the analysis was asked to keep.
	Packets []*Packet `json:"packets"`
	// Account is of all packets; nil when none was seen.
	Account *Account `json:"-"`
	// Unread counts the packets that were not read, by what they are.
	Unread []Unread `json:"unread,omitempty"`
	// Copies counts the packets that are in the capture again: each is analysed
	// once.
	Copies   int        `json:"copies,omitempty"`
	Events   []*Event   `json:"events"`
	Findings []*Finding `json:"findings"`
}

// Unread says how many packets are of a protocol that peel does not read.
type Unread struct {
	// Protocol is its name, with its number or port where that is all that is
	// known of it.
	Protocol string `json:"protocol"`
	Packets  int    `json:"packets"`
	// First is the ID of the first of them.
	First int `json:"first"`
}

// Time is an instant in nanoseconds since the trace's start.
type Time int64

// Interval is a stretch of time that names the two events it lies between.
type Interval struct {
	Start     Time     `json:"start"`
	End       Time     `json:"end"`
	Duration  Duration `json:"duration"`
	FromEvent int      `json:"from_event"`
	ToEvent   int      `json:"to_event"`
}

// Between returns the interval from a to b, or nil if either was not
// observed or b is earlier than a.
func Between(a, b *Event) *Interval {
	if a == nil || b == nil || b.Time < a.Time {
		return nil
	}
	return &Interval{Start: a.Time, End: b.Time, Duration: Duration(b.Time - a.Time), FromEvent: a.ID, ToEvent: b.ID}
}

// Event is one thing that happened: a message on the wire or a decision.
// Events are in the order of their times; ID is the place in that order,
// from 1.
type Event struct {
	ID    int       `json:"id"`
	Time  Time      `json:"time"`
	Layer LayerName `json:"layer"`
	Name  EventName `json:"name"`
	// Text is one line for a person.
	Text       string    `json:"text"`
	Direction  Direction `json:"direction,omitempty"`
	Connection int       `json:"connection,omitempty"`
	Stream     uint32    `json:"stream,omitempty"`
	Exchange   int       `json:"exchange,omitempty"`
	Lookup     int       `json:"lookup,omitempty"`
	// Bytes says where the message stands, from its own layer down: HTTP/2
	// frame, then TLS records, then the bytes of the TCP stream.
	Bytes []Range `json:"bytes,omitempty"`
	// Packets are the IDs of the packets that carried the message.
	Packets []int `json:"packets,omitempty"`
	// Fields and Hex are filled when a view asks for every field.
	Fields []Field `json:"fields,omitempty"`
	Hex    string  `json:"hex,omitempty"`
	// Raw is the message itself, as it stood at its own layer; for long
	// payloads its beginning. RawLength is its whole length.
	Raw       []byte `json:"-"`
	RawLength int    `json:"raw_length,omitempty"`
	// Masked tells that secrets in Raw were masked in their places.
	Masked bool `json:"masked,omitempty"`
	// ARP and ICMP hold what rules ask of such messages, so that none has to
	// read it out of Text; nil in other events.
	ARP  *ARP  `json:"-"`
	ICMP *ICMP `json:"-"`
}

// ARP is an ARP message: one who asks for the MAC of an address, or answers.
type ARP struct {
	Request        bool
	Sender, Target netip.Addr
	// SenderMAC is the link address that the sender claims.
	SenderMAC string
	// Heard tells that packets to the sender of a request are in the capture:
	// an answer to it would be, too.
	Heard bool
	// TargetSpoke tells that the capture has a packet of the target.
	TargetSpoke bool
}

// ICMP is an ICMP message.
type ICMP struct {
	V6         bool
	Type, Code uint8
	// NextMTU is what a router says fits the next link; 0 where it does not.
	NextMTU int
}

// Range names bytes: Length bytes from Offset in one space of one direction
// of a connection.
type Range struct {
	Space      Space     `json:"space"`
	Connection int       `json:"connection"`
	Direction  Direction `json:"direction"`
	Offset     int64     `json:"offset"`
	Length     int64     `json:"length"`
	// Packet is the ID of the packet that a Range of SpacePacket is in.
	Packet int `json:"packet,omitempty"`
}

// Finding says what is wrong, by what evidence, and what to do.
type Finding struct {
	ID       FindingID `json:"id"`
	Severity Severity  `json:"severity"`
	Title    string    `json:"title"`
	// Exchange, Connection and Lookup are what it is about; 0 where it is about
	// none of them, or about several.
	Exchange   int `json:"exchange,omitempty"`
	Connection int `json:"connection,omitempty"`
	Lookup     int `json:"lookup,omitempty"`
	// Evidence holds the IDs of the events that show it.
	Evidence    []int  `json:"evidence"`
	Explanation string `json:"explanation"`
	WhatToDo    string `json:"what_to_do"`
	// Hint says what of the observing program would help, as in Failure.
	Hint Hint `json:"hint,omitempty"`
	// Source is the rule behind it: an RFC section or a manual page.
	Source string `json:"source,omitempty"`
}

// Packet is one packet as it was seen at one place.
type Packet struct {
	ID   int  `json:"id"`
	Time Time `json:"time"`
	// Where names the interface or tap that saw it.
	Where    string `json:"where"`
	LinkType string `json:"link_type"`
	// Length is that on the wire, Captured what was kept, in bytes.
	Length   int `json:"length"`
	Captured int `json:"captured"`
	// Connection is the one that the packet belongs to, 0 for none;
	// Direction is the client's: "out" is from client to server.
	Connection int       `json:"connection,omitempty"`
	Direction  Direction `json:"direction,omitempty"`
	// Source and Destination are between whom it goes, with port 0 where it
	// has no ports. About are further addresses that it speaks of: those of
	// the packet that an ICMP error quotes, or of a neighbour.
	Source      netip.AddrPort   `json:"-"`
	Destination netip.AddrPort   `json:"-"`
	About       []netip.AddrPort `json:"-"`
	// Text is the packet in one line. Its first Lead bytes say between whom
	// the packet goes.
	Text   string  `json:"text"`
	Lead   int     `json:"-"`
	Layers []Layer `json:"layers"`
	// Bytes is the part of the connection's byte stream that it carries.
	Bytes *Range `json:"bytes,omitempty"`
	// Notes say what is remarkable: "retransmission", "wrong checksum" …
	Notes    []string `json:"notes,omitempty"`
	Comments []string `json:"comments,omitempty"`
	// Fields and Hex are filled when a view asks for every field.
	Fields []Field `json:"fields,omitempty"`
	Hex    string  `json:"hex,omitempty"`
	// Raw is the packet itself, where it was kept.
	Raw []byte `json:"-"`
	// Masked tells that secrets in Raw were masked in their places; checksums
	// are those of the packet as it was.
	Masked bool `json:"masked,omitempty"`
}

// Layer is one protocol's share of a packet.
type Layer struct {
	Name   string `json:"name"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

// Event returns the event with that ID, or nil.
func (t *Trace) Event(id int) *Event {
	// In a whole trace the ID is the place; in a part of one it is not.
	if id >= 1 && id <= len(t.Events) && t.Events[id-1].ID == id {
		return t.Events[id-1]
	}
	for _, e := range t.Events {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// Connection returns the connection with that ID, or nil.
func (t *Trace) Connection(id int) *Connection {
	if id < 1 {
		return nil // none
	}
	if id <= len(t.Connections) && t.Connections[id-1].ID == id {
		return t.Connections[id-1]
	}
	for _, c := range t.Connections {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Exchange returns the exchange with that ID, or nil.
func (t *Trace) Exchange(id int) *Exchange {
	if id < 1 {
		return nil // none
	}
	if id <= len(t.Exchanges) && t.Exchanges[id-1].ID == id {
		return t.Exchanges[id-1]
	}
	for _, e := range t.Exchanges {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// Lookup returns the lookup with that ID, or nil.
func (t *Trace) Lookup(id int) *Lookup {
	if id < 1 {
		return nil // none
	}
	if id <= len(t.Lookups) && t.Lookups[id-1].ID == id {
		return t.Lookups[id-1]
	}
	for _, l := range t.Lookups {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// Down returns the bytes one layer below that carried r: for decrypted bytes
// the TLS records in the TCP stream, for those the packets. It returns nil
// when r is already at the bottom of what was observed.
func (t *Trace) Down(r Range) []Range {
	c := t.Connection(r.Connection)
	if c == nil {
		return nil
	}
	switch r.Space {
	case SpaceInside:
		return records(c.InsideOut, c.InsideIn, r, SpaceTLS)
	case SpaceTLS:
		return records(c.RecordsOut, c.RecordsIn, r, SpaceStream)
	case SpaceStream:
		return c.Packets(r)
	}
	return nil
}

// records leads from plaintext to the records that carried it, which stand in
// the space below.
func records(sent, received []TLSRecord, r Range, below Space) []Range {
	records := received
	if r.Direction == Out {
		records = sent
	}
	var out []Range
	i := sort.Search(len(records), func(i int) bool { return records[i].PlainOffset+records[i].PlainLength > r.Offset })
	for _, rec := range records[i:] {
		if rec.PlainOffset >= r.Offset+r.Length {
			break
		}
		if rec.PlainLength > 0 {
			out = append(out, Range{Space: below, Connection: r.Connection, Direction: r.Direction, Offset: rec.Offset, Length: rec.Length})
		}
	}
	return out
}

// Packets returns every packet that carried bytes of r, a range of the
// connection's stream, those that carried them again too, in the order of the
// stream.
func (c *Connection) Packets(r Range) []Range {
	var out []Range
	for s := range c.carriers(r) {
		from, to := max(s.Offset, r.Offset), min(s.Offset+int64(s.Length), r.Offset+r.Length)
		out = append(out, Range{Space: SpacePacket, Connection: r.Connection, Direction: r.Direction, Packet: s.Packet, Offset: int64(s.At) + from - s.Offset, Length: to - from})
	}
	return out
}

// PacketIDs appends the IDs of those packets to ids, at most most in all.
func (c *Connection) PacketIDs(ids []int, r Range, most int) []int {
	for s := range c.carriers(r) {
		if len(ids) >= most {
			break
		}
		ids = append(ids, s.Packet)
	}
	return ids
}

func (c *Connection) carriers(r Range) func(func(Sent) bool) {
	sent := c.SentIn
	if r.Direction == Out {
		sent = c.SentOut
	}
	return func(yield func(Sent) bool) {
		// None that begins earlier is long enough to reach r.
		i := sort.Search(len(sent), func(i int) bool { return sent[i].Offset > r.Offset-int64(c.LongestSent) })
		for _, s := range sent[i:] {
			if s.Offset >= r.Offset+r.Length {
				return
			}
			if s.Offset+int64(s.Length) > r.Offset && !yield(s) {
				return
			}
		}
	}
}

func (r Range) String() string {
	return string(r.Space) + " " + string(r.Direction) + " " + strconv.FormatInt(r.Offset, 10) + "+" + strconv.FormatInt(r.Length, 10)
}
