package ip

import (
	"encoding/binary"
	"net/netip"
)

// Delta is what changed words add to a one's complement sum: the sum of ~m+m'
// of RFC 1624 §3 equation 3, not folded. Sums of Deltas are Deltas.
type Delta uint64

// Put writes a word to the beginning of b, which is an even number of bytes
// behind where every sum over it begins.
func (d *Delta) Put(b []byte, v uint16) {
	old := binary.BigEndian.Uint16(b)
	if old == v {
		return // what does not change leaves even a sum's representation of zero as it is
	}
	*d += Delta(^old) + Delta(v)
	binary.BigEndian.PutUint16(b, v)
}

// PutAddr writes an address to the beginning of b.
func (d *Delta) PutAddr(b []byte, a netip.Addr) {
	if a.Is4() {
		w := a.As4()
		d.Put(b, binary.BigEndian.Uint16(w[:]))
		d.Put(b[2:], binary.BigEndian.Uint16(w[2:]))
		return
	}
	w := a.As16()
	for i := 0; i < len(w); i += 2 {
		d.Put(b[i:], binary.BigEndian.Uint16(w[i:]))
	}
}

// To adds the delta to a sum that is not inverted, and folds it.
func (d Delta) To(sum uint16) uint16 {
	s := uint64(d) + uint64(sum)
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Checksum is a field after the change (RFC 1624: HC' = ~(~HC + ~m + m')).
func (d Delta) Checksum(field uint16) uint16 { return ^d.To(^field) }
