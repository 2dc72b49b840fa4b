package cooked

import (
	"encoding/binary"
	"fmt"

	"peel/wire/ethernet"
)

// Links that are rare today, of which a header says in a byte or two what
// follows.

// ARCNET packet types (RFC 1201, RFC 1051).
var arcnetTypes = map[byte]ethernet.Type{212: ethernet.TypeIPv4, 213: ethernet.TypeARP, 196: ethernet.TypeIPv6, 240: ethernet.TypeIPv4, 241: ethernet.TypeARP}

// ParseARCNET reads an ARCNET header as Linux (linux) or BSD captures have it.
func ParseARCNET(b []byte, linux bool) (Header, error) {
	at := 2 // the two addresses
	if linux {
		at = 4 // and an offset
	}
	if len(b) < at+1 {
		return Header{}, fmt.Errorf("arcnet: %d bytes are too few for a header of %d", len(b), at+1)
	}
	h := Header{Type: arcnetTypes[b[at]], Len: at + 1}
	if b[at] == 240 || b[at] == 241 {
		return h, nil // RFC 1051 has no fragments
	}
	if len(b) < at+4 {
		return h, fmt.Errorf("arcnet: %d bytes are too few for a header of %d", len(b), at+4)
	}
	h.Len = at + 4
	switch split := b[at+1]; {
	case split == 0xff && len(b) >= at+8: // an exception packet: the header again
		h.Len = at + 8
	case split != 0:
		h.Type = 0 // a fragment
	}
	return h, nil
}

// ParseFDDI reads an FDDI header; ok is false for frames that carry no LLC.
func ParseFDDI(b []byte) (n int, ok bool, err error) {
	const fddiLen = 13
	if len(b) < fddiLen {
		return 0, false, fmt.Errorf("fddi: %d bytes are too few for a header of %d", len(b), fddiLen)
	}
	return fddiLen, b[0]&0xf0 == 0x50 || b[0]&0xf0 == 0x10, nil
}

// ParsePKTAP reads Apple's header of where a packet was captured: its length, and
// the link type of what follows.
func ParsePKTAP(b []byte) (n int, link uint16, err error) {
	const least = 12
	if len(b) < least {
		return 0, 0, fmt.Errorf("pktap: %d bytes are too few for a header of %d", len(b), least)
	}
	size, dlt := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[8:])
	if size < least || uint64(size) > uint64(len(b)) || dlt > 0xffff {
		return 0, 0, fmt.Errorf("pktap: a header of %d bytes and link type %d", size, dlt)
	}
	return int(size), uint16(dlt), nil
}
