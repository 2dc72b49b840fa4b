package tunnel

import (
	"encoding/binary"
	"fmt"

	"peel/wire/ethernet"
)

// ParsePPP reads the header of a PPP frame (RFC 1661 §2), framed as on a serial
// line or not. Where a capture mixes it with Cisco's framing, that is read too.
func ParsePPP(b []byte) (Payload, error) {
	if len(b) >= ciscoLen && (b[0] == ciscoUnicast || b[0] == ciscoMulticast) && b[1] == 0 {
		return ParseHDLC(b)
	}
	return ppp("ppp", b, 0)
}

// Cisco's HDLC framing: an address, a zero, an EtherType.
const (
	ciscoUnicast   = 0x0f
	ciscoMulticast = 0x8f
	ciscoLen       = 4
)

// ParseHDLC reads a header of Cisco's HDLC framing, or of PPP in HDLC framing
// (RFC 1662), which a capture of that link type may have instead.
func ParseHDLC(b []byte) (Payload, error) {
	switch {
	case len(b) < ciscoLen:
		return Payload{}, short("hdlc", len(b), ciscoLen)
	case b[0] == ciscoUnicast || b[0] == ciscoMulticast:
		return of(ciscoLen, ethernet.Type(binary.BigEndian.Uint16(b[2:]))), nil
	case b[0] == 0xff && b[1] == 3:
		return ppp("hdlc", b, 0)
	}
	return Payload{}, fmt.Errorf("hdlc: address %#02x is neither Cisco's nor PPP's", b[0])
}

// ParseFrameRelay reads a Frame Relay header (Q.922) and the protocol identifier
// behind it (RFC 2427 §3). Type is 0 for what it names in another way.
func ParseFrameRelay(b []byte) (Payload, error) {
	n := 0
	for n < len(b) && n < 4 && b[n]&1 == 0 {
		n++
	}
	n++
	if n < 2 || n > 4 || len(b) < n+2 {
		return Payload{}, short("frame relay", len(b), 4)
	}
	if b[n] != 3 { // Cisco's: an EtherType
		return of(n+2, ethernet.Type(binary.BigEndian.Uint16(b[n:]))), nil
	}
	n++
	if b[n] == 0 {
		n++ // padding
	}
	if n >= len(b) {
		return Payload{}, short("frame relay", len(b), n+1)
	}
	switch b[n] {
	case 0xcc:
		return of(n+1, ethernet.TypeIPv4), nil
	case 0x8e:
		return of(n+1, ethernet.TypeIPv6), nil
	case 0x80:
		if len(b) >= n+6 && b[n+1]|b[n+2]|b[n+3] == 0 {
			return of(n+6, ethernet.Type(binary.BigEndian.Uint16(b[n+4:]))), nil
		}
	}
	return Payload{HeaderLen: n + 1}, nil
}
