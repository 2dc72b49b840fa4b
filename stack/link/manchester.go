package link

import "fmt"

// manchester codes each bit as a change in its middle (IEEE 802.3 §7.3.1.1):
// the first half is the complement of the bit, the second the bit.
func (s *Symbols) manchester(octets []byte) {
	for i, o := range octets {
		from := len(s.Line)
		for bit := range 8 {
			if o>>bit&1 == 0 {
				s.Line = append(s.Line, +1, -1)
			} else {
				s.Line = append(s.Line, -1, +1)
			}
		}
		s.group(octetName(i, len(octets), o), string(lsb(nil, uint64(o), 8)), from)
	}
}

func decodeManchester(line []int8) ([]byte, error) {
	if len(line)%16 != 0 {
		return nil, fmt.Errorf("link: Manchester: %d half bits are not whole bytes", len(line))
	}
	out := make([]byte, len(line)/16)
	for i := 0; i < len(line); i += 2 {
		switch {
		case line[i] < 0 && line[i+1] > 0:
			out[i/16] |= 1 << (i / 2 % 8)
		case line[i] > 0 && line[i+1] < 0:
		default:
			return nil, fmt.Errorf("link: Manchester: no change in the middle of bit %d", i/2)
		}
	}
	return out, nil
}
