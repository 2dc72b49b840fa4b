package nat

import (
	"encoding/binary"
	"net/netip"

	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

var pool packet.Pool

func wrap(b []byte) *packet.Packet {
	p := pool.Get(len(b))
	p.Append(b)
	return p
}

// network puts an IP header before a transport segment and fills both
// checksums; at is where the transport's stands.
func network(src, dst netip.Addr, proto ip.Protocol, seg []byte, at int) []byte {
	sum := uint16(0)
	if proto != ip.ProtoICMP {
		sum = ip.PseudoSum(src, dst, proto, len(seg))
	}
	v := ^ip.Sum(sum, seg)
	if proto == ip.ProtoUDP && v == 0 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(seg[at:], v)
	if src.Is4() {
		b := make([]byte, 20, 20+len(seg))
		b[0], b[8], b[9] = 0x45, 64, byte(proto)
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(seg)))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b))
		return append(b, seg...)
	}
	b := make([]byte, 40, 40+len(seg))
	b[0], b[6], b[7] = 0x60, byte(proto), 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(seg)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, seg...)
}

func tcpPacket(src, dst string, flags tcp.Flags) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := append(make([]byte, 20), "data!"...)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint16(b[12:], 5<<12|uint16(flags))
	return network(s.Addr(), d.Addr(), ip.ProtoTCP, b, 16)
}

func udpPacket(src, dst string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	b := append(make([]byte, 8), "hello"...)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return network(s.Addr(), d.Addr(), ip.ProtoUDP, b, 6)
}

func icmpPacket(src, dst string, typ, code uint8, rest uint32, data []byte) []byte {
	b := make([]byte, 8, 8+len(data))
	b[0], b[1] = typ, code
	binary.BigEndian.PutUint32(b[4:], rest)
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	proto := ip.ProtoICMP
	if s.Is6() {
		proto = ip.ProtoICMPv6
	}
	return network(s, d, proto, append(b, data...), 2)
}

func ping(src, dst string, id uint16) []byte {
	if netip.MustParseAddr(src).Is6() {
		return icmpPacket(src, dst, icmp.Echo6, 0, uint32(id)<<16|1, []byte("ping"))
	}
	return icmpPacket(src, dst, icmp.Echo4, 0, uint32(id)<<16|1, []byte("ping"))
}

func pong(src, dst string, id uint16) []byte {
	if netip.MustParseAddr(src).Is6() {
		return icmpPacket(src, dst, icmp.EchoReply6, 0, uint32(id)<<16|1, []byte("ping"))
	}
	return icmpPacket(src, dst, icmp.EchoReply4, 0, uint32(id)<<16|1, []byte("ping"))
}

// sumAt is where a transport's checksum stands.
func sumAt(p ip.Protocol) int {
	switch p {
	case ip.ProtoTCP:
		return 16
	case ip.ProtoUDP:
		return 6
	case ip.ProtoICMP, ip.ProtoICMPv6:
		return 2
	}
	return -1
}

// sums verifies, with none of the code under test, every checksum of a packet:
// of the IP header, the transport, and of what an ICMP error quotes. A
// checksum that is not there, or not all of its bytes, counts as right.
type sums struct{ header, transport, quotedHeader, quotedTransport bool }

func checksums(b []byte) (s sums) {
	s = sums{true, true, true, true}
	h, err := ip.Parse(b)
	if err != nil {
		return s
	}
	s.header = h.ChecksumOK
	t := h.Payload(b)
	at := sumAt(h.Protocol)
	if h.Fragment || at < 0 || len(t) < at+2 || h.Protocol == ip.ProtoUDP && t[6] == 0 && t[7] == 0 {
		return s
	}
	pseudo := uint16(0)
	if h.Protocol != ip.ProtoICMP {
		pseudo = ip.PseudoSum(h.Src, h.Dst, h.Protocol, len(t))
	}
	s.transport = ip.Sum(pseudo, t) == 0xffff
	if m, err := icmp.Parse(t, h.Version == 6); err == nil && (h.Protocol == ip.ProtoICMP || h.Protocol == ip.ProtoICMPv6) && m.IsError() {
		q := m.Quoted()
		if qh, err := ip.Parse(q); err == nil && qh.Total <= len(q) {
			in := checksums(q)
			s.quotedHeader, s.quotedTransport = in.header, in.transport
		} else if err == nil {
			s.quotedHeader = qh.ChecksumOK
		}
	}
	return s
}

// repair makes the checksums of a packet right, from the inside out.
func repair(b []byte) {
	h, err := ip.Parse(b)
	if err != nil {
		return
	}
	if h.Version == 4 {
		binary.BigEndian.PutUint16(b[10:], 0)
		binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b[:h.HeaderLen]))
	}
	t := h.Payload(b)
	at := sumAt(h.Protocol)
	if at < 0 || len(t) < at+2 {
		return
	}
	if m, err := icmp.Parse(t, h.Version == 6); err == nil && sumAt(h.Protocol) == 2 && m.IsError() {
		if q := m.Quoted(); len(q) < len(b) {
			repair(q)
		}
	}
	pseudo := uint16(0)
	if h.Protocol != ip.ProtoICMP {
		pseudo = ip.PseudoSum(h.Src, h.Dst, h.Protocol, len(t))
	}
	binary.BigEndian.PutUint16(t[at:], 0)
	v := ^ip.Sum(pseudo, t)
	if v == 0 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], v)
}
