package tunnel

import (
	"encoding/binary"
	"fmt"

	"peel/wire/ethernet"
	"peel/wire/ip"
)

// UDP ports of tunnels (IANA).
const (
	GenevePort = 6081
	GTPPort    = 2152
	TeredoPort = 3544
	AYIYAPort  = 5072
	L2TPPort   = 1701
	// GREPort is RFC 8086's.
	GREPort = 4754
	// VXLANLinuxPort is what Linux took before VXLAN had a port.
	VXLANLinuxPort = 8472
	// VXLANNextPort is that of VXLAN whose header says what follows.
	VXLANNextPort = 4790
)

// ParseGeneve reads a Geneve header (RFC 8926 §3.4) with its options.
func ParseGeneve(b []byte) (Payload, error) {
	if len(b) < 8 {
		return Payload{}, short("geneve", len(b), 8)
	}
	n := 8 + int(b[0]&0x3f)*4
	switch {
	case b[0]>>6 != 0:
		return Payload{}, fmt.Errorf("geneve: version %d is not known", b[0]>>6)
	case b[1]&0x3f != 0 || b[7] != 0:
		return Payload{}, fmt.Errorf("geneve: reserved bits %#02x and %#02x are set", b[1]&0x3f, b[7])
	case len(b) < n:
		return Payload{}, short("geneve", len(b), n)
	}
	p := of(n, ethernet.Type(binary.BigEndian.Uint16(b[2:])))
	p.Network = binary.BigEndian.Uint32(b[4:]) >> 8
	return p, nil
}

// GTP message types and flags (3GPP TS 29.281 §5).
const (
	gtpData      = 0xff
	gtpVersion1  = 0x30 // with the protocol type of GTP
	gtpOptional  = 0x07 // extension, sequence number, N-PDU number
	gtpExtension = 0x04
	maxGTPExt    = 16
)

// ParseGTP reads a GTP-U header of version 1 before a user's packet. Messages
// that carry none have no Type.
func ParseGTP(b []byte) (Payload, error) {
	if len(b) < 8 {
		return Payload{}, short("gtp", len(b), 8)
	}
	if b[0]&0xf0 != gtpVersion1 {
		return Payload{}, fmt.Errorf("gtp: flags %#02x are not those of version 1", b[0])
	}
	if b[1] != gtpData {
		return Payload{HeaderLen: 8}, nil
	}
	n := 8
	if b[0]&gtpOptional != 0 {
		n += 4
		if len(b) < n {
			return Payload{}, short("gtp", len(b), n)
		}
		next := b[n-1]
		for i := 0; b[0]&gtpExtension != 0 && next != 0; i++ {
			if i == maxGTPExt || len(b) < n+4 || b[n] == 0 || len(b) < n+int(b[n])*4 {
				return Payload{}, fmt.Errorf("gtp: an extension header at byte %d that does not fit", n)
			}
			n += int(b[n]) * 4
			next = b[n-1]
		}
	}
	return packetAt("gtp", b, n)
}

// packetAt is an IP packet of either version at n.
func packetAt(what string, b []byte, n int) (Payload, error) {
	if len(b) <= n {
		return Payload{}, short(what, len(b), n+ip.MinHeader4)
	}
	switch b[n] >> 4 {
	case 4:
		return of(n, ethernet.TypeIPv4), nil
	case 6:
		return of(n, ethernet.TypeIPv6), nil
	}
	return Payload{}, fmt.Errorf("%s: what begins with %#02x is no IP packet", what, b[n])
}

// packet6At is an IPv6 packet at n that fills the rest.
func packet6At(what string, b []byte, n int) (Payload, error) {
	if len(b) < n+ip.Header6 || b[n]>>4 != 6 || int(binary.BigEndian.Uint16(b[n+4:]))+ip.Header6 > len(b)-n {
		return Payload{}, fmt.Errorf("%s: no IPv6 packet at byte %d", what, n)
	}
	return of(n, ethernet.TypeIPv6), nil
}

// ParseTeredo reads the indications before an IPv6 packet in Teredo (RFC 4380
// §5.1.1).
func ParseTeredo(b []byte) (Payload, error) {
	n := 0
	if len(b) >= 4 && b[0] == 0 && b[1] == 1 { // authentication
		n += 4 + int(b[2]) + int(b[3]) + 9
	}
	if len(b) >= n+8 && b[n] == 0 && b[n+1] == 0 { // origin
		n += 8
	}
	return packet6At("teredo", b, n)
}

// ParseAYIYA reads an AYIYA header (draft-massar-v6ops-ayiya-02) before an IPv6
// packet.
func ParseAYIYA(b []byte) (Payload, error) {
	if len(b) < 8 {
		return Payload{}, short("ayiya", len(b), 8)
	}
	const forward, next6 = 1, 41
	n := 8 + 1<<(b[0]>>4) + int(b[1]>>4)*4
	if b[2]&0xf != forward || b[3] != next6 {
		return Payload{HeaderLen: min(n, len(b))}, nil
	}
	return packet6At("ayiya", b, n)
}

// L2TP flags (RFC 2661 §3.1).
const (
	l2tpControl  = 0x8000
	l2tpLength   = 0x4000
	l2tpSequence = 0x0800
	l2tpOffset   = 0x0200
	l2tpReserved = 0x34f0
)

// ParseL2TP reads an L2TP header of version 2 and the PPP header behind it.
// Control messages have no Type.
func ParseL2TP(b []byte) (Payload, error) {
	if len(b) < 6 {
		return Payload{}, short("l2tp", len(b), 6)
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&0xf != 2 || flags&l2tpReserved != 0 {
		return Payload{}, fmt.Errorf("l2tp: flags %#04x are not those of version 2", flags)
	}
	n := 6
	for _, f := range [...]struct {
		flag uint16
		size int
	}{{l2tpLength, 2}, {l2tpSequence, 4}, {l2tpOffset, 2}} {
		if flags&f.flag != 0 {
			n += f.size
		}
	}
	if len(b) < n {
		return Payload{}, short("l2tp", len(b), n)
	}
	if flags&l2tpControl != 0 {
		return Payload{HeaderLen: n}, nil
	}
	if flags&l2tpOffset != 0 {
		n += int(binary.BigEndian.Uint16(b[n-2:]))
	}
	if len(b) < n {
		return Payload{}, short("l2tp", len(b), n)
	}
	return ppp("l2tp", b, n)
}
