package tcp

import (
	"encoding/binary"

	"peel/wire/ip"
)

// Header is a TCP header that is to be written (RFC 9293 §3.1). Numbers are in
// host byte order; the ports are given when it is written.
type Header struct {
	// Seq is the number of the first byte that follows, or of the SYN.
	Seq uint32
	// Ack is the number of the byte that is waited for.
	Ack   uint32
	Flags Flags
	// Window is the field as it stands, already scaled down.
	Window uint16
	// Urgent is where the urgent data ends, from Seq on.
	Urgent uint16
	// Options holds NOptions bytes of options, a multiple of 4 once padded.
	Options  [40]byte
	NOptions int
}

// Len is the length of the header in bytes, 20 to 60.
func (h *Header) Len() int { return MinHeader + h.NOptions }

// Option appends an option with the value v. The caller sees to it that the 40
// bytes of options suffice.
func (h *Header) Option(kind byte, v ...byte) {
	n := h.NOptions
	h.Options[n], h.Options[n+1] = kind, byte(2+len(v))
	copy(h.Options[n+2:], v)
	h.NOptions = n + 2 + len(v)
}

// Pad brings the options to a multiple of 4 bytes with no-operations.
func (h *Header) Pad() {
	for h.NOptions%4 != 0 {
		h.Options[h.NOptions] = OptNop
		h.NOptions++
	}
}

// Put writes the header to b, which is at least Len bytes long, with a checksum
// of zero.
func (h *Header) Put(b []byte, source, destination uint16) {
	binary.BigEndian.PutUint16(b, source)
	binary.BigEndian.PutUint16(b[2:], destination)
	binary.BigEndian.PutUint32(b[4:], h.Seq)
	binary.BigEndian.PutUint32(b[8:], h.Ack)
	binary.BigEndian.PutUint16(b[12:], uint16(h.Len()/4)<<12|uint16(h.Flags))
	binary.BigEndian.PutUint16(b[14:], h.Window)
	b[ChecksumAt], b[ChecksumAt+1] = 0, 0
	binary.BigEndian.PutUint16(b[18:], h.Urgent)
	copy(b[MinHeader:], h.Options[:h.NOptions])
}

// SetSeq changes the sequence number; Seal makes the checksum again.
func (s Segment) SetSeq(n uint32) { binary.BigEndian.PutUint32(s[4:], n) }

// SetFlags changes the control bits; the checksum is the caller's.
func (s Segment) SetFlags(f Flags) {
	w := binary.BigEndian.Uint16(s[12:])
	binary.BigEndian.PutUint16(s[12:], w&^flagsMask|uint16(f)&flagsMask)
}

// SetChecksum writes the checksum, or what a card is to make it from.
func (s Segment) SetChecksum(sum uint16) { binary.BigEndian.PutUint16(s[ChecksumAt:], sum) }

// Seal makes the checksum, given the sum of the pseudo-header.
func (s Segment) Seal(pseudo uint16) { ip.Seal(pseudo, s, ChecksumAt) }
