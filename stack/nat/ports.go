package nat

import "math/bits"

// ports are those in use at one outside address for one protocol, one bit
// each. A port is never given out twice (RFC 4787 REQ-3: no overloading).
type ports [65536 / 64]uint64

func (s *ports) has(p uint16) bool { return s[p/64]&(1<<(p%64)) != 0 }
func (s *ports) take(p uint16)     { s[p/64] |= 1 << (p % 64) }
func (s *ports) free(p uint16)     { s[p/64] &^= 1 << (p % 64) }

// next returns the first free port in [from, to].
func (s *ports) next(from, to int) (int, bool) {
	for p := from; p <= to; {
		w := ^s[p/64] >> (p % 64)
		if w != 0 {
			p += bits.TrailingZeros64(w)
			return p, p <= to
		}
		p = (p/64 + 1) * 64
	}
	return 0, false
}

// find returns a free port in [lo, hi] that is not reserved: the first from
// start on, and then from lo on.
func (s *ports) find(lo, hi, start int, reserved func(uint16) bool) (uint16, bool) {
	for _, r := range [...][2]int{{start, hi}, {lo, start - 1}} {
		for p, ok := s.next(r[0], r[1]); ok; p, ok = s.next(p+1, r[1]) {
			if !reserved(uint16(p)) {
				return uint16(p), true
			}
		}
	}
	return 0, false
}
