package link

import "fmt"

// The code-groups of 4B/5B, the leftmost bit first on the wire (IEEE 802.3
// table 24-1).
var fourFive = [16]byte{
	0b11110, 0b01001, 0b10100, 0b10101, 0b01010, 0b01011, 0b01110, 0b01111,
	0b10010, 0b10011, 0b10110, 0b10111, 0b11010, 0b11011, 0b11100, 0b11101,
}

const (
	groupJ = 0b11000 // start of stream, two groups
	groupK = 0b10001
	groupT = 0b01101 // end of stream, two groups
	groupR = 0b00111
)

// streamCipher is the scrambler of 100BASE-TX (ANSI X3.263 TP-PMD): the
// key is x[n] = x[n-11] + x[n-9]. Any state but 0 will do; on a real link the
// receiver finds it out from the idle before the frame.
type streamCipher uint16

const cipherStart streamCipher = 0x7ff

func (c *streamCipher) bit() byte {
	k := byte(*c>>10^*c>>8) & 1
	*c = (*c<<1 | streamCipher(k)) & 0x7ff
	return k
}

// mlt3 goes round 0, +1, 0, -1: one step for a 1, none for a 0.
var mlt3 = [4]int8{0, 1, 0, -1}

// fourB5B codes the low nibble of each octet first. /J/K/ replaces the first
// octet of the preamble, /T/R/ follows the FCS (IEEE 802.3 clause 24).
func (s *Symbols) fourB5B(octets []byte) {
	cipher, level := cipherStart, 0
	put := func(name string, code byte) {
		from := len(s.Line)
		for i := 4; i >= 0; i-- {
			bit := code >> i & 1
			if s.Code == ScrambledFourB5B {
				bit ^= cipher.bit()
			}
			level = (level + int(bit)) % 4
			s.Line = append(s.Line, mlt3[level])
		}
		s.group(name, string(msb(nil, uint64(code), 5)), from)
	}
	put("/J/", groupJ)
	put("/K/", groupK)
	for _, o := range octets[1:] {
		put(fmt.Sprintf("%X", o&15), fourFive[o&15])
		put(fmt.Sprintf("%X", o>>4), fourFive[o>>4])
	}
	put("/T/", groupT)
	put("/R/", groupR)
}

func decodeFourB5B(line []int8, scrambled bool) ([]byte, error) {
	if len(line)%5 != 0 || len(line) < 20 {
		return nil, fmt.Errorf("link: 4B/5B: %d symbols are not whole code-groups from /J/ to /R/", len(line))
	}
	cipher, level := cipherStart, 0
	var codes []byte
	for i, l := range line {
		var bit byte
		if l != mlt3[level] {
			level = (level + 1) % 4
			if bit = 1; l != mlt3[level] {
				return nil, fmt.Errorf("link: MLT-3: symbol %d leaves out a level", i)
			}
		}
		if scrambled {
			bit ^= cipher.bit()
		}
		if i%5 == 0 {
			codes = append(codes, 0)
		}
		codes[i/5] = codes[i/5]<<1 | bit
	}
	n := len(codes)
	if codes[0] != groupJ || codes[1] != groupK {
		return nil, fmt.Errorf("link: 4B/5B: starts with %05b %05b, not /J/K/", codes[0], codes[1])
	}
	if codes[n-2] != groupT || codes[n-1] != groupR || n%2 != 0 {
		return nil, fmt.Errorf("link: 4B/5B: ends with %05b %05b, not /T/R/", codes[n-2], codes[n-1])
	}
	out := []byte{preamble}
	for i, c := range codes[2 : n-2] {
		nibble := -1
		for v, code := range fourFive {
			if code == c {
				nibble = v
			}
		}
		if nibble < 0 {
			return nil, fmt.Errorf("link: 4B/5B: code-group %d is %05b, which is no data", i+2, c)
		}
		if i%2 == 0 {
			out = append(out, byte(nibble))
		} else {
			out[len(out)-1] |= byte(nibble) << 4
		}
	}
	return out, nil
}
