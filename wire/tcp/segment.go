// Package tcp is the Transmission Control Protocol (RFC 9293) as it stands on
// the wire: segments, read and built, and their fields; the reassembly of the byte
// streams (Assembler); and the analysis of what both ends did (Flow). Numbers
// are in network byte order on the wire, in host order in Go values. Package
// stack/tcp plays the protocol.
package tcp

import (
	"encoding/binary"
	"fmt"
)

// Flags are the control bits of a segment.
type Flags uint16

// The control bits (RFC 9293 §3.1; RFC 3168 §6.1, RFC 9768 §3.1).
const (
	FIN Flags = 1 << iota // no more data from the sender
	SYN                   // the sequence number is the initial one
	RST                   // the connection is gone
	PSH                   // hand it on: the sender has no more just now
	ACK                   // the acknowledgement number counts
	URG                   // the urgent pointer counts
	ECE                   // a packet came with a congestion mark; in a SYN: I speak ECN
	CWR                   // the window has come down, ECE need not go on
	AE                    // accurate ECN

	flagsMask = 1<<iota - 1
)

// Has tells whether all of x are set.
func (f Flags) Has(x Flags) bool { return f&x == x }

// Any tells whether one of x is set.
func (f Flags) Any(x Flags) bool { return f&x != 0 }

// String writes the flags as names with commas, in the order in which people
// say them: "SYN, ACK".
func (f Flags) String() string {
	s := ""
	for _, n := range [...]struct {
		f    Flags
		name string
	}{{FIN, "FIN"}, {SYN, "SYN"}, {RST, "RST"}, {PSH, "PSH"}, {URG, "URG"}, {ECE, "ECE"}, {CWR, "CWR"}, {AE, "AE"}, {ACK, "ACK"}} {
		if f.Has(n.f) {
			if s != "" {
				s += ", "
			}
			s += n.name
		}
	}
	if s == "" {
		return "no flags"
	}
	return s
}

// MinHeader is the length of a header without options, in bytes.
const MinHeader = 20

// Segment is a TCP header and what follows it. Make one with Parse: its
// accessors then stay within it.
type Segment []byte

// Parse returns the segment in b. It fails on a header shorter than 20 bytes
// and on a data offset outside the buffer.
func Parse(b []byte) (Segment, error) {
	if len(b) < MinHeader {
		return nil, fmt.Errorf("tcp: %d bytes are too few for a header of %d", len(b), MinHeader)
	}
	n := int(b[12]>>4) * 4
	switch {
	case n < MinHeader:
		return nil, fmt.Errorf("tcp: data offset %d bytes is less than the header's %d", n, MinHeader)
	case n > len(b):
		return nil, fmt.Errorf("tcp: data offset %d bytes, but only %d are there", n, len(b))
	}
	return Segment(b), nil
}

// SourcePort is the sender's port.
func (s Segment) SourcePort() uint16 { return binary.BigEndian.Uint16(s) }

// DestinationPort is the receiver's port.
func (s Segment) DestinationPort() uint16 { return binary.BigEndian.Uint16(s[2:]) }

// Seq is the number of the first byte of the payload, or of the SYN.
func (s Segment) Seq() uint32 { return binary.BigEndian.Uint32(s[4:]) }

// Ack is the number of the byte that the sender waits for; it counts with the
// flag ACK.
func (s Segment) Ack() uint32 { return binary.BigEndian.Uint32(s[8:]) }

// HeaderLen is the length of the header with its options, in bytes.
func (s Segment) HeaderLen() int { return int(s[12]>>4) * 4 }

// Flags are the control bits.
func (s Segment) Flags() Flags { return Flags(binary.BigEndian.Uint16(s[12:]) & flagsMask) }

// Window is the field as it stands, before scaling.
func (s Segment) Window() uint16 { return binary.BigEndian.Uint16(s[14:]) }

// Checksum is the field; it covers the addresses of the IP header, too.
func (s Segment) Checksum() uint16 { return binary.BigEndian.Uint16(s[16:]) }

// Urgent is where the urgent data ends, from Seq on; it counts with the flag
// URG.
func (s Segment) Urgent() uint16 { return binary.BigEndian.Uint16(s[18:]) }

// OptionBytes are the options as they stand, with their padding.
func (s Segment) OptionBytes() []byte {
	return s[MinHeader:s.HeaderLen()]
}

// Payload is what follows the header.
func (s Segment) Payload() []byte { return s[s.HeaderLen():] }

// ChecksumAt is where the checksum stands in the header.
const ChecksumAt = 16

// Option kinds (IANA). Behind each stands what its value holds.
const (
	OptEnd           = 0  // ends the list (RFC 9293 §3.2); no length, no value
	OptNop           = 1  // fills up between options (RFC 9293 §3.2); no length, no value
	OptMSS           = 2  // in a SYN: the most data the sender takes in a segment, 16 bits (RFC 9293 §3.7.1)
	OptWindowScale   = 3  // in a SYN: how far its windows are shifted, 8 bits (RFC 7323 §2)
	OptSACKPermitted = 4  // in a SYN: OptSACK may be sent to it; empty (RFC 2018 §2)
	OptSACK          = 5  // blocks that arrived out of order, two numbers each (RFC 2018 §3)
	OptTimestamps    = 8  // the sender's clock, and the one it echoes, 32 bits each (RFC 7323 §3)
	OptUserTimeout   = 28 // for how long data may go unacknowledged, 16 bits (RFC 5482)
	OptAuth          = 29 // TCP-AO: two key numbers and a code over the segment (RFC 5925)
	OptMPTCP         = 30 // multipath TCP, with subtypes of its own (RFC 8684)
	OptFastOpen      = 34 // in a SYN: a cookie, or empty to ask for one (RFC 7413)
)

// Block is a range of sequence numbers, From up to but without To.
type Block struct{ From, To uint32 }

// Options are the options of a segment that peel reads.
type Options struct {
	// MSS is 0 when the option is absent.
	MSS uint16
	// WindowScale is the shift count, -1 when the option is absent.
	WindowScale int8
	// SACKPermitted tells that the option is there.
	SACKPermitted bool
	// SACK holds NSACK blocks.
	SACK  [4]Block
	NSACK int
	// Timestamps tells that the option is there; TSVal is the sender's clock,
	// TSEcr the one it echoes.
	Timestamps   bool
	TSVal, TSEcr uint32
	// FastOpen tells that the option of RFC 7413 is there; Cookie is its
	// content.
	FastOpen bool
	Cookie   []byte
	// MPTCP tells that an option of multipath TCP is there.
	MPTCP bool
	// Bad is where an option overruns the header or has a wrong length, in
	// bytes from the first option; -1 when none does.
	Bad int
}

// Options reads the options. It allocates nothing.
func (s Segment) Options() Options {
	o := Options{WindowScale: -1, Bad: -1}
	b := s.OptionBytes()
	for i := 0; i < len(b); {
		kind := b[i]
		if kind == OptEnd {
			break
		}
		if kind == OptNop {
			i++
			continue
		}
		if i+2 > len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
			o.Bad = i
			break
		}
		n := int(b[i+1])
		v := b[i+2 : i+n]
		switch {
		case kind == OptMSS && len(v) == 2:
			o.MSS = binary.BigEndian.Uint16(v)
		case kind == OptWindowScale && len(v) == 1:
			o.WindowScale = int8(min(v[0], 14)) // RFC 7323 §2.3
		case kind == OptSACKPermitted && len(v) == 0:
			o.SACKPermitted = true
		case kind == OptSACK && len(v)%8 == 0 && len(v) > 0:
			for ; len(v) >= 8 && o.NSACK < len(o.SACK); v = v[8:] {
				o.SACK[o.NSACK] = Block{binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])}
				o.NSACK++
			}
		case kind == OptTimestamps && len(v) == 8:
			o.Timestamps, o.TSVal, o.TSEcr = true, binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:])
		case kind == OptFastOpen:
			o.FastOpen, o.Cookie = true, v
		case kind == OptMPTCP:
			o.MPTCP = true
		case kind <= OptTimestamps && kind != 6 && kind != 7 && o.Bad < 0:
			o.Bad = i
		}
		i += n
	}
	return o
}

// Before tells whether sequence number a comes before b (RFC 9293 §3.4). The
// numbers go round, so that each has one half of all others before it: a and b
// must be less than 2^31 apart.
func Before(a, b uint32) bool { return int32(a-b) < 0 }
