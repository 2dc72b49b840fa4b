// Package arp is the Address Resolution Protocol for IPv4 over Ethernet
// (RFC 826).
package arp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"peel/trace"
	"peel/wire/ethernet"
	"peel/wire/layout"
)

// Operations.
const (
	Request = 1
	Reply   = 2
)

// Message is an ARP message for IPv4 over Ethernet.
type Message struct {
	Operation            uint16
	SenderMAC, TargetMAC ethernet.MAC
	SenderIP, TargetIP   netip.Addr
}

// Len is the length of a Message in bytes.
const Len = 28

// What comes before the operation: the kinds of addresses and their lengths.
const (
	hardwareEthernet = 1
	headerLen        = 8
	macLen           = len(ethernet.MAC{})
	ipLen            = 4
)

// Parse reads a message; it fails on address types other than Ethernet and
// IPv4.
func Parse(b []byte) (Message, error) {
	if len(b) < headerLen {
		return Message{}, fmt.Errorf("arp: %d bytes are too few for a header of %d", len(b), headerLen)
	}
	hw, proto, hlen, plen := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), b[4], b[5]
	if hw != hardwareEthernet || proto != uint16(ethernet.TypeIPv4) || hlen != uint8(macLen) || plen != ipLen {
		return Message{}, fmt.Errorf("arp: hardware type %d (%d bytes) and protocol %#04x (%d bytes) are not Ethernet and IPv4", hw, hlen, proto, plen)
	}
	if len(b) < Len {
		return Message{}, fmt.Errorf("arp: the message is cut off after %d of %d bytes", len(b), Len)
	}
	m := Message{Operation: binary.BigEndian.Uint16(b[6:])}
	copy(m.SenderMAC[:], b[8:])
	copy(m.TargetMAC[:], b[18:])
	m.SenderIP = netip.AddrFrom4([4]byte(b[14:18]))
	m.TargetIP = netip.AddrFrom4([4]byte(b[24:28]))
	return m, nil
}

// Put writes the message to b, which is at least Len bytes long.
func (m *Message) Put(b []byte) {
	_ = b[Len-1]
	binary.BigEndian.PutUint16(b, hardwareEthernet)
	binary.BigEndian.PutUint16(b[2:], uint16(ethernet.TypeIPv4))
	b[4], b[5] = uint8(macLen), ipLen
	binary.BigEndian.PutUint16(b[6:], m.Operation)
	s, t := m.SenderIP.As4(), m.TargetIP.As4()
	copy(b[8:], m.SenderMAC[:])
	copy(b[14:], s[:])
	copy(b[18:], m.TargetMAC[:])
	copy(b[24:], t[:])
}

// AppendTo appends the message to b.
func (m *Message) AppendTo(b []byte) []byte {
	var room [Len]byte
	m.Put(room[:])
	return append(b, room[:]...)
}

// String is the message in the words of tcpdump.
func (m Message) String() string {
	switch {
	case m.Operation == Request && m.SenderIP == m.TargetIP:
		return "announcement: " + m.SenderIP.String() + " is at " + m.SenderMAC.String()
	case m.Operation == Request:
		return "who has " + m.TargetIP.String() + "? tell " + m.SenderIP.String()
	case m.Operation == Reply:
		return m.SenderIP.String() + " is at " + m.SenderMAC.String()
	}
	return fmt.Sprintf("operation %d from %v to %v", m.Operation, m.SenderIP, m.TargetIP)
}

var fields = []layout.Field{
	{Name: "arp.hw.type", Bit: 0, Bits: 16, Meaning: layout.Names(map[uint64]string{1: "Ethernet"})},
	{Name: "arp.proto.type", Bit: 16, Bits: 16, Kind: layout.Hex, Meaning: func(v uint64) string { return ethernet.Type(v).String() }},
	{Name: "arp.hw.size", Bit: 32, Bits: 8},
	{Name: "arp.proto.size", Bit: 40, Bits: 8},
	{Name: "arp.opcode", Bit: 48, Bits: 16, Meaning: layout.Names(map[uint64]string{1: "request", 2: "reply"})},
	{Name: "arp.src.hw_mac", Bit: 64, Bits: 48, Kind: layout.MAC},
	{Name: "arp.src.proto_ipv4", Bit: 112, Bits: 32, Kind: layout.Addr},
	{Name: "arp.dst.hw_mac", Bit: 144, Bits: 48, Kind: layout.MAC},
	{Name: "arp.dst.proto_ipv4", Bit: 192, Bits: 32, Kind: layout.Addr},
}

// Fields returns the tree of fields; base is where b stands in the packet.
func Fields(b []byte, base int) []trace.Field {
	if _, err := Parse(b); err != nil {
		return layout.Tree(b, base, fields[:5])
	}
	return layout.Tree(b, base, fields)
}
