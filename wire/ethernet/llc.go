package ethernet

import (
	"encoding/binary"
	"fmt"

	"peel/trace"
	"peel/wire/layout"
)

// LLC is the header by which frames that give a length instead of a type say
// what they carry (IEEE 802.2, with its Subnetwork Access Protocol).
type LLC struct {
	// Type of the payload; 0 when it has none, and Name says what it is.
	Type Type
	Name string
	Len  int
}

// Service access points and organisations.
const (
	sapIP   = 0x06
	sapSNAP = 0xaa
	snapLen = 8
	llcLen  = 3

	ouiEthernet = 0
	ouiBridge   = 0x0000f8
	ouiCisco    = 0x00000c
)

var sapNames = map[byte]string{0x42: "spanning tree (STP)", 0xe0: "IPX", 0xf0: "NetBIOS (NetBEUI)", 0xfe: "IS-IS or other ISO", 0xff: "IPX"}

var ciscoNames = map[uint16]string{0x2000: "CDP", 0x2003: "VTP", 0x2004: "DTP", 0x010b: "spanning tree (PVST+)", 0x0111: "UDLD"}

// ParseLLC reads such a header.
func ParseLLC(b []byte) (LLC, error) {
	if len(b) < llcLen {
		return LLC{}, fmt.Errorf("llc: %d bytes are too few for a header of %d", len(b), llcLen)
	}
	switch dsap := b[0]; {
	case dsap == sapSNAP && b[1]&0xfe == sapSNAP && b[2] == 3:
		if len(b) < snapLen {
			return LLC{}, fmt.Errorf("llc: %d bytes are too few for a SNAP header of %d", len(b), snapLen)
		}
		oui, pid := uint32(b[3])<<16|uint32(b[4])<<8|uint32(b[5]), binary.BigEndian.Uint16(b[6:])
		switch oui {
		case ouiEthernet, ouiBridge:
			return LLC{Type: Type(pid), Len: snapLen}, nil
		case ouiCisco:
			if n := ciscoNames[pid]; n != "" {
				return LLC{Name: n, Len: snapLen}, nil
			}
		}
		return LLC{Name: fmt.Sprintf("SNAP of %06x, protocol 0x%04x", oui, pid), Len: snapLen}, nil
	case dsap == sapIP && b[1]&0xfe == sapIP:
		return LLC{Type: TypeIPv4, Len: llcLen}, nil
	default:
		if n := sapNames[dsap]; n != "" {
			return LLC{Name: n, Len: llcLen}, nil
		}
		return LLC{Name: fmt.Sprintf("802.2 LLC, SAP 0x%02x", dsap), Len: llcLen}, nil
	}
}

var llcFields = []layout.Field{
	{Name: "llc.dsap", Bit: 0, Bits: 8, Kind: layout.Hex},
	{Name: "llc.ssap", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "llc.control", Bit: 16, Bits: 8, Kind: layout.Hex},
	{Name: "llc.oui", Bit: 24, Bits: 24, Kind: layout.Bytes},
	{Name: "llc.type", Bit: 48, Bits: 16, Kind: layout.Hex, Meaning: func(v uint64) string { return Type(v).String() }},
}

// LLCFields returns the tree of fields of an LLC header.
func LLCFields(b []byte, base int) []trace.Field { return layout.Tree(b, base, llcFields) }
