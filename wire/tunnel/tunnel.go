// Package tunnel reads the headers that carry whole packets of another network:
// GRE (RFC 2784, RFC 2890), its version for PPTP (RFC 2637) and ERSPAN,
// VXLAN (RFC 7348), MPLS label stacks (RFC 3032), PPPoE sessions (RFC 2516), and
// IP in IP (RFC 2003, RFC 2473, RFC 4213), which has no header of its own.
// Numbers are in network byte order.
package tunnel

import (
	"encoding/binary"
	"fmt"

	"peel/wire/ethernet"
)

// Types and numbers under which tunnels are found (IANA, IEEE).
const (
	TypeMPLS          ethernet.Type = 0x8847
	TypeMPLSMulticast ethernet.Type = 0x8848
	// TypeTEB is Transparent Ethernet Bridging: a whole Ethernet frame.
	TypeTEB        ethernet.Type = 0x6558
	TypePPP        ethernet.Type = 0x880b
	typeERSPAN2    ethernet.Type = 0x88be
	typeERSPAN3    ethernet.Type = 0x22eb
	VXLANPort                    = 4789 // UDP
	maxLabels                    = 16
	pppoeSession                 = 0 // the code of a packet of a session
	pppoeHeader                  = 6
	vxlanHeader                  = 8
	erspan2Header                = 8
	erspan3Header                = 12
	erspanPlatform               = 8
)

// Payload is what stands behind a tunnel's header.
type Payload struct {
	// HeaderLen is the length of the header in bytes.
	HeaderLen int
	// Type says what follows it; 0 when that is nothing that is read here.
	Type ethernet.Type
	// Frame tells that a whole Ethernet frame follows.
	Frame bool
	// Network is the number of a virtual network whose addresses are its own
	// (VXLAN's VNI), 0 when there is none.
	Network uint32
}

// of makes a Payload of an EtherType.
func of(n int, typ ethernet.Type) Payload {
	return Payload{HeaderLen: n, Type: typ, Frame: typ == TypeTEB}
}

func short(what string, have, want int) error {
	return fmt.Errorf("%s: %d bytes are too few for a header of %d", what, have, want)
}

// GRE flags and version (RFC 2890 §2, RFC 2637 §4.1), in the first two bytes.
const (
	greChecksum = 0x8000
	greRouting  = 0x4000 // RFC 1701, no longer in use
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080 // version 1
	greVersion  = 0x0007
)

// ParseGRE reads a GRE header: version 0 with any EtherType, and version 1, in
// which PPTP carries PPP.
func ParseGRE(b []byte) (Payload, error) {
	n, err := greLen(b)
	if err != nil {
		return Payload{}, err
	}
	flags, typ := binary.BigEndian.Uint16(b), ethernet.Type(binary.BigEndian.Uint16(b[2:]))
	switch {
	case flags&greVersion == 1:
		if binary.BigEndian.Uint16(b[4:]) == 0 {
			return Payload{HeaderLen: n}, nil // an acknowledgement alone
		}
		return ppp("gre", b, n)
	case typ == typeERSPAN2 && flags&greSequence != 0:
		n += erspan2Header
		typ = TypeTEB
	case typ == typeERSPAN2:
		typ = TypeTEB // type I has no header of its own
	case typ == typeERSPAN3:
		if len(b) < n+erspan3Header {
			return Payload{}, short("gre: erspan", len(b)-n, erspan3Header)
		}
		platform := b[n+erspan3Header-1]&1 != 0 // the O bit
		n += erspan3Header
		if platform {
			n += erspanPlatform
		}
		typ = TypeTEB
	case typ == TypePPP:
		return ppp("gre", b, n)
	}
	if len(b) < n {
		return Payload{}, short("gre", len(b), n)
	}
	return of(n, typ), nil
}

// greLen is the length of the header with its optional fields.
func greLen(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, short("gre", len(b), 4)
	}
	flags := binary.BigEndian.Uint16(b)
	n := 4
	switch v := flags & greVersion; {
	case v > 1:
		return 0, fmt.Errorf("gre: version %d is not known", v)
	case flags&greRouting != 0:
		return 0, fmt.Errorf("gre: source routing (RFC 1701) is not read")
	case v == 1:
		n += 4 // payload length and call ID stand in the place of the key
		if flags&greSequence != 0 {
			n += 4
		}
		if flags&greAck != 0 {
			n += 4
		}
	default:
		for _, f := range [...]uint16{greChecksum, greKey, greSequence} {
			if flags&f != 0 {
				n += 4
			}
		}
	}
	if len(b) < n {
		return 0, short("gre", len(b), n)
	}
	return n, nil
}

// PPP protocol numbers (IANA).
var pppTypes = map[uint16]ethernet.Type{0x0021: ethernet.TypeIPv4, 0x0057: ethernet.TypeIPv6, 0x0281: TypeMPLS, 0x0283: TypeMPLSMulticast}

// ppp reads a PPP header at n (RFC 1661 §2), with or without the address and
// control fields of HDLC framing, and with its number in one byte or two.
func ppp(what string, b []byte, n int) (Payload, error) {
	if len(b) >= n+2 && b[n] == 0xff && b[n+1] == 3 {
		n += 2
	}
	if len(b) < n+1 {
		return Payload{}, short(what+": ppp", len(b)-n, 2)
	}
	if b[n]&1 != 0 {
		return of(n+1, pppTypes[uint16(b[n])]), nil
	}
	if len(b) < n+2 {
		return Payload{}, short(what+": ppp", len(b)-n, 2)
	}
	return of(n+2, pppTypes[binary.BigEndian.Uint16(b[n:])]), nil
}

// ParsePPPoE reads a PPPoE header of a session (RFC 2516 §4) and the PPP header
// behind it.
func ParsePPPoE(b []byte) (Payload, error) {
	switch {
	case len(b) < pppoeHeader:
		return Payload{}, short("pppoe", len(b), pppoeHeader)
	case b[0] != 0x11:
		return Payload{}, fmt.Errorf("pppoe: version and type %#02x are not 0x11", b[0])
	case b[1] != pppoeSession:
		return Payload{HeaderLen: pppoeHeader}, nil
	}
	return ppp("pppoe", b, pppoeHeader)
}

// VXLAN flags: the network identifier is valid, and (draft-ietf-nvo3-vxlan-gpe)
// the last byte before it says what follows.
const (
	vxlanValid = 0x08
	vxlanNext  = 0x04
)

// ParseVXLAN reads a VXLAN header (RFC 7348 §5), of whose reserved bits others have
// made use. It fails without the flag that says that the network identifier is
// valid, and where the last byte is not 0: then the datagram is something else.
func ParseVXLAN(b []byte) (Payload, error) {
	switch {
	case len(b) < vxlanHeader:
		return Payload{}, short("vxlan", len(b), vxlanHeader)
	case b[0]&vxlanValid == 0 || b[7] != 0:
		return Payload{}, fmt.Errorf("vxlan: flags %#02x and last byte %#02x are not those of RFC 7348", b[0], b[7])
	}
	typ := TypeTEB
	if b[0]&vxlanNext != 0 {
		typ = map[byte]ethernet.Type{1: ethernet.TypeIPv4, 2: ethernet.TypeIPv6, 3: TypeTEB}[b[3]]
	}
	p := of(vxlanHeader, typ)
	p.Network = binary.BigEndian.Uint32(b[4:]) >> 8
	return p, nil
}

// ParseMPLS reads a stack of labels (RFC 3032 §2.1). What follows the last one
// is not said; it is told by its first bits: an IP version, or the zero of a
// pseudowire's control word (RFC 4385), behind which stands a frame.
func ParseMPLS(b []byte) (Payload, error) {
	for n := 0; n < maxLabels*4; {
		if len(b) < n+4 {
			return Payload{}, short("mpls", len(b), n+4)
		}
		last := b[n+2]&1 != 0
		n += 4
		if !last {
			continue
		}
		switch {
		case len(b) <= n:
			return Payload{HeaderLen: n}, nil
		case b[n]>>4 == 4:
			return of(n, ethernet.TypeIPv4), nil
		case b[n]>>4 == 6:
			return of(n, ethernet.TypeIPv6), nil
		case b[n]>>4 == 0 && len(b) >= n+4+ethernet.HeaderLen:
			return of(n+4, TypeTEB), nil
		}
		return Payload{HeaderLen: n}, nil
	}
	return Payload{}, fmt.Errorf("mpls: more than %d labels", maxLabels)
}

// ParseIP is of IP in IP: nothing stands between the two headers.
func ParseIP(b []byte) (Payload, error) {
	if len(b) == 0 {
		return Payload{}, short("ip in ip", 0, 20)
	}
	if b[0]>>4 == 6 {
		return of(0, ethernet.TypeIPv6), nil
	}
	return of(0, ethernet.TypeIPv4), nil
}
