package nat

import (
	"encoding/binary"
	"net/netip"

	"peel/wire/ip"
	"peel/wire/udp"
)

// rewrite gives a packet new ends and keeps its checksums as right or wrong as
// they were. With partial the transport field is the sum of the pseudo-header
// alone, which is not inverted and knows no ports. It returns what all its
// writing adds to a sum over the whole, for the ICMP error around it.
func (h *header) rewrite(b []byte, src, dst netip.AddrPort, partial bool) (whole ip.Delta) {
	var port, sums ip.Delta
	addr, whole := ip.View(b[h.base:]).Readdress(src.Addr(), dst.Addr())
	if h.srcAt != 0 {
		port.Put(b[h.srcAt:], src.Port())
	}
	if h.dstAt != 0 {
		port.Put(b[h.dstAt:], dst.Port())
	}
	if h.sumAt != 0 {
		sums.Put(b[h.sumAt:], h.sum(binary.BigEndian.Uint16(b[h.sumAt:]), addr, port, partial))
	}
	return whole + port + sums
}

// sum is the transport checksum's field after a change.
func (h *header) sum(field uint16, addr, port ip.Delta, partial bool) uint16 {
	if h.proto == ip.ProtoICMP {
		addr = 0 // RFC 792: it covers no pseudo-header
	}
	switch {
	case partial:
		if addr == 0 {
			return field
		}
		return addr.To(field)
	case h.proto == ip.ProtoUDP && !udp.HasChecksum(field):
		return field
	}
	v := (addr + port).Checksum(field)
	if h.proto == ip.ProtoUDP {
		return udp.Field(v)
	}
	return v
}
