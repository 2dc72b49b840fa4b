package analyze

import (
	"encoding/binary"
	"net/netip"

	"peel/clock"
	"peel/evidence/capture"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// ipPacket makes an IPv4 packet.
func ipPacket(src, dst netip.Addr, id uint16, proto ip.Protocol, payload []byte) []byte {
	head := []byte{0x45, 0, 0, 0, byte(id >> 8), byte(id), 0x40, 0, 64, byte(proto), 0, 0}
	head = append(append(head, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(head[10:], ^ip.Sum(0, head))
	return append(head, payload...)
}

// tcpPacket makes an IPv4 packet of a segment, with a right checksum.
func tcpPacket(src, dst netip.AddrPort, id uint16, h tcp.Header, payload string) []byte {
	seg := make([]byte, h.Len())
	h.Put(seg, src.Port(), dst.Port())
	seg = append(seg, payload...)
	binary.BigEndian.PutUint16(seg[tcp.ChecksumAt:], ^ip.Sum(ip.PseudoSum(src.Addr(), dst.Addr(), ip.ProtoTCP, len(seg)), seg))
	return ipPacket(src.Addr(), dst.Addr(), id, ip.ProtoTCP, seg)
}

// captured is the record of a packet that begins with its IP header.
func captured(at clock.Time, p []byte) capture.Record {
	return capture.Record{Time: at, Kind: capture.Packet, Length: len(p), Data: p, Link: capture.Link{Type: pcap.LinkRaw}}
}
