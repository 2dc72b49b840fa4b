package ip

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sum adds b to the one's complement sum s and folds it to 16 bits
// (RFC 1071). An odd last byte counts as the high byte of a word. The sum of
// a header with its right checksum is 0xffff.
func Sum(s uint16, b []byte) uint16 {
	// The sum of words is the same in either byte order, but for the order of
	// its own two bytes (RFC 1071 §2 (B)): the native one needs no swaps.
	sum, n := sumWide(b)
	b = b[n:]
	sum, carry := bits.Add64(sum, uint64(bits.ReverseBytes16(s)), 0)
	sum += carry
	for len(b) >= 64 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[56:]), carry)
		sum += carry
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum += carry
		b = b[8:]
	}
	var rest uint64
	for i := range b {
		rest |= uint64(b[i]) << (8 * uint(i))
	}
	sum, carry = bits.Add64(sum, rest, 0)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return bits.ReverseBytes16(uint16(sum))
}

// PseudoSum is the sum of the pseudo-header that TCP, UDP and ICMPv6
// checksums cover (RFC 9293 §3.1, RFC 8200 §8.1).
func PseudoSum(src, dst netip.Addr, p Protocol, length int) uint16 {
	var b [40]byte
	n := 0
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		n = copy(b[:], s[:])
		n += copy(b[n:], d[:])
	} else {
		s, d := src.As16(), dst.As16()
		n = copy(b[:], s[:])
		n += copy(b[n:], d[:])
	}
	binary.BigEndian.PutUint32(b[n:], uint32(length))
	b[n+7] = byte(p)
	return Sum(0, b[:n+8])
}

// Verdict is what a transport checksum turned out to be.
type Verdict uint8

const (
	// Unchecked: the packet was cut off, is a fragment, or has no checksum.
	Unchecked Verdict = iota
	// Good: the checksum is right.
	Good
	// Offloaded: the field holds the sum of the pseudo-header alone: the
	// network card was to finish it, after the packet was captured.
	Offloaded
	// Bad: the checksum is wrong.
	Bad
)

// Check verifies the checksum of a transport segment b, whose checksum field
// is at byte at.
func Check(src, dst netip.Addr, p Protocol, b []byte, at int) Verdict {
	pseudo := PseudoSum(src, dst, p, len(b))
	switch field := binary.BigEndian.Uint16(b[at:]); {
	case Sum(pseudo, b) == sumRight:
		return Good
	case field == pseudo, field == PseudoSum(src, dst, p, 0):
		// With segmentation offload the length is left out, too.
		return Offloaded
	}
	return Bad
}
