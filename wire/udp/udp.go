// Package udp is the User Datagram Protocol (RFC 768).
package udp

import (
	"encoding/binary"
	"fmt"

	"peel/trace"
	"peel/wire/ip"
	"peel/wire/layout"
)

// HeaderLen is the length of the header in bytes; ChecksumAt is where the
// checksum stands in it.
const (
	HeaderLen  = 8
	ChecksumAt = 6
)

// Header is a UDP header that is to be written.
type Header struct {
	Source, Destination uint16
	// Length is that of header and payload, in bytes.
	Length uint16
}

// Put writes the header to b, which is at least HeaderLen bytes long, without
// a checksum.
func (h Header) Put(b []byte) {
	binary.BigEndian.PutUint16(b, h.Source)
	binary.BigEndian.PutUint16(b[2:], h.Destination)
	binary.BigEndian.PutUint16(b[4:], h.Length)
	binary.BigEndian.PutUint16(b[ChecksumAt:], noChecksum)
}

// noChecksum says that the sender made none; a sum that comes out like it is
// sent as its other representation (RFC 768).
const (
	noChecksum = 0
	zeroSum    = 0xffff
)

// Field is what stands in the header for a checksum.
func Field(sum uint16) uint16 {
	if sum == noChecksum {
		return zeroSum
	}
	return sum
}

// Datagram is a UDP header and what follows it, in network byte order. Make
// one with Parse.
type Datagram []byte

// Parse returns the datagram at the beginning of b, which may be cut off by
// a snap length.
func Parse(b []byte) (Datagram, error) {
	if len(b) < HeaderLen {
		return nil, fmt.Errorf("udp: %d bytes are too few for a header of %d", len(b), HeaderLen)
	}
	d := Datagram(b)
	n := int(d.Length())
	// RFC 2675 §4: 0 for jumbograms.
	if n != 0 && n < HeaderLen {
		return nil, fmt.Errorf("udp: length %d is less than the header's", n)
	}
	if n >= HeaderLen && n < len(b) {
		d = d[:n]
	}
	return d, nil
}

// SourcePort is the sender's port, or 0 if it wants no answer.
func (d Datagram) SourcePort() uint16 { return binary.BigEndian.Uint16(d) }

// DestinationPort is the receiver's port.
func (d Datagram) DestinationPort() uint16 { return binary.BigEndian.Uint16(d[2:]) }

// Length is that of header and payload, in bytes.
func (d Datagram) Length() uint16 { return binary.BigEndian.Uint16(d[4:]) }

// Checksum is the field as it stands, right or not; over IPv4 0 is none.
func (d Datagram) Checksum() uint16 { return binary.BigEndian.Uint16(d[ChecksumAt:]) }

// HasChecksum tells whether a field says that the sender made one.
func HasChecksum(field uint16) bool { return field != noChecksum }

// Seal makes the checksum, given the sum of the pseudo-header.
func (d Datagram) Seal(pseudo uint16) {
	binary.BigEndian.PutUint16(d[ChecksumAt:], Field(ip.Seal(pseudo, d, ChecksumAt)))
}

// Payload is what was kept of it.
func (d Datagram) Payload() []byte { return d[HeaderLen:] }

var fields = []layout.Field{
	{Name: "udp.srcport", Bit: 0, Bits: 16},
	{Name: "udp.dstport", Bit: 16, Bits: 16},
	{Name: "udp.length", Bit: 32, Bits: 16},
	{Name: "udp.checksum", Bit: 48, Bits: 16, Kind: layout.Hex},
}

// Fields returns the tree of the header's fields; base is where b stands in
// the packet.
func Fields(b []byte, base int) []trace.Field { return layout.Tree(b, base, fields) }
