package cooked

import (
	"encoding/binary"
	"fmt"

	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/layout"
)

// nflogPayload is the type of the attribute that holds the packet, and nflogLen
// the length of what stands before the first attribute (LINKTYPE_NFLOG).
const (
	nflogPayload = 9
	nflogLen     = 4
)

// ParseNFLOG reads what Linux's netfilter logs of a packet: attributes, each with
// its length and type in the byte order of whoever captured, the last of which
// is the packet.
func ParseNFLOG(b []byte) (Header, error) {
	if len(b) < nflogLen {
		return Header{}, fmt.Errorf("nflog: %d bytes are too few for a header of %d", len(b), nflogLen)
	}
	var h Header
	switch b[0] {
	case 2:
		h.Type = ethernet.TypeIPv4
	case 10:
		h.Type = ethernet.TypeIPv6
	}
	for at := nflogLen; at+4 <= len(b); {
		n, typ := int(binary.LittleEndian.Uint16(b[at:])), binary.LittleEndian.Uint16(b[at+2:])
		if n < 4 || n > len(b)-at && typ != nflogPayload {
			// The other byte order; a length is small.
			n, typ = int(binary.BigEndian.Uint16(b[at:])), binary.BigEndian.Uint16(b[at+2:])
		}
		if typ&0x7fff == nflogPayload {
			h.Len = at + 4
			return h, nil
		}
		if n < 4 {
			return h, fmt.Errorf("nflog: an attribute of %d bytes at byte %d", n, at)
		}
		at += (n + 3) &^ 3
	}
	return h, fmt.Errorf("nflog: no attribute of %d bytes holds a packet", len(b)-nflogLen)
}

var nflogFields = []layout.Field{
	{Name: "nflog.family", Bit: 0, Bits: 8},
	{Name: "nflog.version", Bit: 8, Bits: 8},
	{Name: "nflog.res_id", Bit: 16, Bits: 16},
}

// NFLOGFields returns the tree of fields.
func NFLOGFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, nflogFields) }
