package nat

import (
	"encoding/binary"
	"net/netip"

	"peel/wire/ip"
)

// delta is what changed words add to a one's complement sum: the sum of ~m+m'
// of RFC 1624 §3 equation 3, not folded.
type delta uint64

// put writes a word. at is even, counted from where every sum over it begins.
func (d *delta) put(b []byte, at int, v uint16) {
	*d += delta(^binary.BigEndian.Uint16(b[at:])) + delta(v)
	binary.BigEndian.PutUint16(b[at:], v)
}

// addr writes an address.
func (d *delta) addr(b []byte, at int, a netip.Addr) {
	if a.Is4() {
		w := a.As4()
		d.put(b, at, binary.BigEndian.Uint16(w[:]))
		d.put(b, at+2, binary.BigEndian.Uint16(w[2:]))
		return
	}
	w := a.As16()
	for i := 0; i < len(w); i += 2 {
		d.put(b, at+i, binary.BigEndian.Uint16(w[i:]))
	}
}

// to adds the delta to a sum that is not inverted, and folds it.
func (d delta) to(sum uint16) uint16 {
	s := uint64(d) + uint64(sum)
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// checksum is a field after the change (RFC 1624: HC' = ~(~HC + ~m + m')).
func (d delta) checksum(field uint16) uint16 { return ^d.to(^field) }

// rewrite gives a packet new ends and keeps its checksums as right or wrong as
// they were. With partial the transport field is the sum of the pseudo-header
// alone, which is not inverted and knows no ports. It returns what all its
// writing adds to a sum over the whole, for the ICMP error around it.
func (h *header) rewrite(b []byte, src, dst netip.AddrPort, partial bool) (whole delta) {
	var addr, port, sums delta
	srcAt, dstAt := h.base+12, h.base+16
	if h.v6 {
		srcAt, dstAt = h.base+8, h.base+24
	}
	if src.Addr() != h.src.Addr() {
		addr.addr(b, srcAt, src.Addr())
	}
	if dst.Addr() != h.dst.Addr() {
		addr.addr(b, dstAt, dst.Addr())
	}
	if h.srcAt != 0 {
		port.put(b, h.srcAt, src.Port())
	}
	if h.dstAt != 0 {
		port.put(b, h.dstAt, dst.Port())
	}
	if !h.v6 {
		sums.put(b, h.base+10, addr.checksum(binary.BigEndian.Uint16(b[h.base+10:])))
	}
	if h.sumAt != 0 {
		sums.put(b, h.sumAt, h.sum(binary.BigEndian.Uint16(b[h.sumAt:]), addr, port, partial))
	}
	return addr + port + sums
}

// sum is the transport checksum's field after a change.
func (h *header) sum(field uint16, addr, port delta, partial bool) uint16 {
	if h.proto == ip.ProtoICMP {
		addr = 0 // RFC 792: it covers no pseudo-header
	}
	switch {
	case partial:
		if addr == 0 {
			return field
		}
		return addr.to(field)
	case h.proto == ip.ProtoUDP && field == 0:
		return 0 // RFC 768: the sender made none
	}
	v := (addr + port).checksum(field)
	if h.proto == ip.ProtoUDP && v == 0 {
		return 0xffff // RFC 768: 0 would say that there is none
	}
	return v
}
