// Package trace is the model of what happened: plain data that every other
// package may import and that imports none of them.
//
// A trace is made by package analyze from a capture and never by hand. All
// times are nanoseconds since the start of the trace. What was not observed is
// absent (nil, empty, or zero where the comment says so), never guessed.
package trace

import (
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
	Packets     []*Packet     `json:"packets"`
	Events      []*Event      `json:"events"`
	Findings    []*Finding    `json:"findings"`
}

// Time is an instant in nanoseconds since the trace's start.
type Time int64

// Duration is a length of time in nanoseconds.
type Duration int64

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

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

// Layers, from the person down to the wire. Events, failures and findings
// name the layer they belong to.
const (
	LayerInput = "input"
	LayerURL   = "url"
	LayerPool  = "pool"
	LayerDNS   = "dns"
	LayerTCP   = "tcp"
	LayerTLS   = "tls"
	LayerHTTP1 = "http1"
	LayerHTTP2 = "http2"
	LayerHTTP  = "http"
	LayerPeel  = "peel"
)

// Directions of bytes, as the observed client sees them.
const (
	Out = "out"
	In  = "in"
)

// Event is one thing that happened: a message on the wire or a decision.
// Events are in the order of their times; ID is the place in that order,
// from 1.
type Event struct {
	ID    int    `json:"id"`
	Time  Time   `json:"time"`
	Layer string `json:"layer"`
	// Name is a stable dotted name, such as "tls.handshake.client_hello".
	Name string `json:"name"`
	// Text is one line for a person.
	Text       string `json:"text"`
	Direction  string `json:"direction,omitempty"`
	Connection int    `json:"connection,omitempty"`
	Stream     uint32 `json:"stream,omitempty"`
	Exchange   int    `json:"exchange,omitempty"`
	Lookup     int    `json:"lookup,omitempty"`
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
}

// Spaces in which a Range counts.
const (
	// SpaceStream is the byte stream of one direction of a connection as it
	// is on the wire, from its first byte.
	SpaceStream = "stream"
	// SpaceTLS is the plaintext that the TLS application-data records of one
	// direction hold, joined.
	SpaceTLS = "tls"
	// SpaceDatagram counts in one UDP payload.
	SpaceDatagram = "datagram"
)

// Range names bytes: Length bytes from Offset in one space of one direction
// of a connection.
type Range struct {
	Space      string `json:"space"`
	Connection int    `json:"connection"`
	Direction  string `json:"direction"`
	Offset     int64  `json:"offset"`
	Length     int64  `json:"length"`
}

// Finding says what is wrong, by what evidence, and what to do.
type Finding struct {
	// ID is stable, such as "DNS-TIMEOUT".
	ID string `json:"id"`
	// Severity is "info", "warning" or "error".
	Severity string `json:"severity"`
	Title    string `json:"title"`
	// Evidence holds the IDs of the events that show it.
	Evidence    []int  `json:"evidence"`
	Explanation string `json:"explanation"`
	WhatToDo    string `json:"what_to_do"`
	// Source is the rule behind it: an RFC section or a manual page.
	Source string `json:"source,omitempty"`
}

// Failure says at which layer something ended, what was seen and what to try.
type Failure struct {
	Layer string `json:"layer"`
	// Code is a stable word, such as "connection_refused".
	Code string `json:"code"`
	// Seen is what was observed, in one line.
	Seen string `json:"seen"`
	// Try is what to do about it, in one line.
	Try string `json:"try"`
}

// Packet is one packet as it was seen at one place.
type Packet struct {
	ID   int  `json:"id"`
	Time Time `json:"time"`
	// Where names the interface or tap that saw it.
	Where    string  `json:"where"`
	LinkType string  `json:"link_type"`
	Length   int     `json:"length"`
	Layers   []Layer `json:"layers"`
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
	for _, c := range t.Connections {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Exchange returns the exchange with that ID, or nil.
func (t *Trace) Exchange(id int) *Exchange {
	for _, e := range t.Exchanges {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// Lookup returns the lookup with that ID, or nil.
func (t *Trace) Lookup(id int) *Lookup {
	for _, l := range t.Lookups {
		if l.ID == id {
			return l
		}
	}
	return nil
}

// Down returns the bytes one layer below that carried r: for decrypted bytes
// the TLS records in the TCP stream. It returns nil when r is already at the
// bottom of what was observed.
func (t *Trace) Down(r Range) []Range {
	c := t.Connection(r.Connection)
	if c == nil || r.Space != SpaceTLS {
		return nil
	}
	records := c.RecordsIn
	if r.Direction == Out {
		records = c.RecordsOut
	}
	var out []Range
	for _, rec := range records {
		if rec.PlainOffset+rec.PlainLength <= r.Offset || rec.PlainOffset >= r.Offset+r.Length {
			continue
		}
		out = append(out, Range{Space: SpaceStream, Connection: r.Connection, Direction: r.Direction, Offset: rec.Offset, Length: rec.Length})
	}
	return out
}

func (r Range) String() string {
	return r.Space + " " + r.Direction + " " + strconv.FormatInt(r.Offset, 10) + "+" + strconv.FormatInt(r.Length, 10)
}
