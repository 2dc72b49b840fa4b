package ip

import "encoding/binary"

// TCP and UDP headers begin alike, so that whoever sees only the beginning of
// one, quoted in an ICMP error, can tell whose it is.
const (
	SourcePortAt      = 0
	DestinationPortAt = 2
	// QuotedLen is how much of a transport header every ICMP error quotes
	// (RFC 792).
	QuotedLen = 8
)

// Ports reads the ports of a TCP or UDP header, of which the first four bytes
// suffice.
func Ports(b []byte) (source, destination uint16) {
	return binary.BigEndian.Uint16(b[SourcePortAt:]), binary.BigEndian.Uint16(b[DestinationPortAt:])
}

// Seal makes the checksum of the transport packet b, whose field is at byte at,
// given the sum of its pseudo-header.
func Seal(pseudo uint16, b []byte, at int) uint16 {
	f := b[at:]
	binary.BigEndian.PutUint16(f, 0)
	c := ^Sum(pseudo, b)
	binary.BigEndian.PutUint16(f, c)
	return c
}

// Right tells whether b has its right checksum in it, given the sum of its
// pseudo-header.
func Right(pseudo uint16, b []byte) bool { return Sum(pseudo, b) == sumRight }
