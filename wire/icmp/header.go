package icmp

import (
	"encoding/binary"

	"peel/wire/ip"
)

// Header is the first eight bytes of a message that is to be written.
type Header struct {
	Type, Code uint8
	// Rest is what follows the checksum: an MTU, a pointer, an identifier with
	// a sequence number, or nothing.
	Rest uint32
}

// Echo is the header of an echo request or reply.
func Echo(typ uint8, id, seq uint16) Header {
	return Header{Type: typ, Rest: uint32(id)<<16 | uint32(seq)}
}

// Where fields stand in the header.
const (
	ChecksumAt   = 2
	restAt       = 4
	IdentifierAt = 4
)

// Put writes the header to b, which is at least HeaderLen bytes long, with a
// checksum of zero.
func (h Header) Put(b []byte) {
	b[0], b[1] = h.Type, h.Code
	binary.BigEndian.PutUint16(b[ChecksumAt:], 0)
	binary.BigEndian.PutUint32(b[restAt:], h.Rest)
}

// Message is what the header says without the bytes that follow it.
func (h Header) Message(v6 bool) Message {
	return Message{v6, h.Type, h.Code, binary.BigEndian.AppendUint32(nil, h.Rest)}
}

// SetType makes the message b one of another type; Seal makes its checksum
// again.
func SetType(b []byte, t uint8) { b[0] = t }

// TypeOf is the type of the message b, of which the rest may be cut off.
func TypeOf(b []byte) uint8 { return b[0] }

// Seal makes the checksum of the message b, given the sum of the pseudo-header,
// which is 0 for IPv4: there it covers none (RFC 792).
func Seal(b []byte, pseudo uint16) { ip.Seal(pseudo, b, ChecksumAt) }

// Identifier and Sequence are those of an echo, and of the other queries.
func (m Message) Identifier() uint16 { return binary.BigEndian.Uint16(m.Body) }
func (m Message) Sequence() uint16   { return binary.BigEndian.Uint16(m.Body[2:]) }

// Data is what follows the header.
func (m Message) Data() []byte { return m.Body[HeaderLen-restAt:] }
