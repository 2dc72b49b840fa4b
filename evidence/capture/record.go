// Package capture holds evidence: one ordered, timed sequence of packets,
// stream bytes, secrets and decisions, from whatever source. It understands
// none of it; package analyze does.
package capture

import (
	"peel/clock"
	"peel/evidence/decision"
	"peel/wire/pcap"
)

// Kind tells what a record is.
type Kind uint8

const (
	// Packet is a packet as a link carried it.
	Packet Kind = iota + 1
	// Stream is bytes that a socket wrote or read, where no packet is seen.
	// For a datagram socket each record is one datagram.
	Stream
	// Secret is one line of a TLS key log (RFC 9850), which opens the records
	// of the socket that it names.
	Secret
	// Decided is a decision: what no wire shows.
	Decided
	// Lost says that Data was not kept; Length counts the bytes.
	Lost
	// Mark says that every packet up to Time has been recorded.
	Mark
)

// Direction of bytes, as the observed program sees them.
type Direction uint8

const (
	// Out is from the program to the network.
	Out Direction = iota
	// In is from the network to the program.
	In
)

// Record is one piece of evidence. Data belongs to the capture and must not
// be changed; it stays valid for as long as it is referenced.
type Record struct {
	Time clock.Time
	Kind Kind
	Dir  Direction
	// Socket numbers the socket within the capture, from 1; 0 is none.
	Socket uint32
	// Length is the number of bytes there were; it is more than len(Data)
	// when only the beginning was kept.
	Length int
	Data   []byte
	// Decision is set when Kind is Decided, and Exchange, Lookup and Stream
	// say what it is about, as in About.
	Decision                 decision.Decision
	Exchange, Lookup, Stream uint32
	// Link is set when Kind is Packet.
	Link Link
}

// Link says where and how a packet was seen.
type Link struct {
	// Type is the header that the packet begins with.
	Type pcap.LinkType
	// Where names the interface; empty when it has no name.
	Where string
	// Sent and Received tell the direction at the capturing host, where the
	// capture tells.
	Sent, Received bool
	// Partial tells that the kernel had not filled in the transport
	// checksum yet.
	Partial  bool
	Comments []string
}

// About ties a decision to other evidence. A number is 0 where it does not
// apply.
type About struct {
	// Exchange numbers the request within the capture, from 1.
	Exchange uint32
	// Lookup numbers the name lookup within the capture, from 1.
	Lookup uint32
	// Socket numbers the socket within the capture, from 1.
	Socket uint32
	// Stream is the HTTP/2 stream.
	Stream uint32
}
