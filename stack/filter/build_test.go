package filter

import (
	"encoding/binary"
	"net/netip"

	"peel/wire/ip"
	"peel/wire/tcp"
)

// packet4or6 puts an IP header before a transport segment whose checksum
// field is at byte at (RFC 791 §3.1, RFC 8200 §3), and fills both checksums.
func packet4or6(src, dst string, proto ip.Protocol, seg []byte, at int) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	sum := uint16(0)
	if proto != ip.ProtoICMP {
		sum = ip.PseudoSum(s, d, proto, len(seg))
	}
	if at >= 0 {
		binary.BigEndian.PutUint16(seg[at:], ^ip.Sum(sum, seg))
	}
	if s.Is4() {
		b := make([]byte, 20, 20+len(seg))
		b[0], b[8], b[9] = 0x45, 64, byte(proto)
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(seg)))
		copy(b[12:], s.AsSlice())
		copy(b[16:], d.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b))
		return append(b, seg...)
	}
	b := make([]byte, 40, 40+len(seg))
	b[0], b[6], b[7] = 0x60, byte(proto), 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(seg)))
	copy(b[8:], s.AsSlice())
	copy(b[24:], d.AsSlice())
	return append(b, seg...)
}

func tcpPacket(src, dst string, flags tcp.Flags, seq, ack uint32) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	binary.BigEndian.PutUint16(b[12:], 5<<12|uint16(flags))
	return packet4or6(s.Addr().String(), d.Addr().String(), ip.ProtoTCP, b, 16)
}

func udpPacket(src, dst string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := append(make([]byte, 8), "hello"...)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return packet4or6(s.Addr().String(), d.Addr().String(), ip.ProtoUDP, b, 6)
}

func icmpPacket(src, dst string, typ, code uint8, rest uint32, data []byte) []byte {
	b := make([]byte, 8, 8+len(data))
	b[0], b[1] = typ, code
	binary.BigEndian.PutUint32(b[4:], rest)
	proto := ip.ProtoICMP
	if netip.MustParseAddr(src).Is6() {
		proto = ip.ProtoICMPv6
	}
	return packet4or6(src, dst, proto, append(b, data...), 2)
}
