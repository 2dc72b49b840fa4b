package link

import (
	"fmt"
	"math/bits"
)

// 8b/10b (A. X. Widmer, P. A. Franaszek 1983; IEEE 802.3 tables 36-1 and 36-2):
// the five low bits of an octet become abcdei, the three high ones fghj, a is first
// on the wire. The tables are for the running disparity -1. The form for +1 is
// the complement, for those that are not balanced and for the two that are but
// would make runs too long (D.7 and D.x.3).

// fiveSix is abcdei by EDCBA.
var fiveSix = [32]byte{
	0b100111, 0b011101, 0b101101, 0b110001, 0b110101, 0b101001, 0b011001, 0b111000,
	0b111001, 0b100101, 0b010101, 0b110100, 0b001101, 0b101100, 0b011100, 0b010111,
	0b011011, 0b100011, 0b010011, 0b110010, 0b001011, 0b101010, 0b011010, 0b111010,
	0b110011, 0b100110, 0b010110, 0b110110, 0b001110, 0b101110, 0b011110, 0b101011,
}

// k28 is abcdei of the control characters K28.y; the others take fiveSix.
const k28 = 0b001111

// threeFour is fghj by HGF for data, threeFourK for control.
var (
	threeFour  = [8]byte{0b1011, 0b1001, 0b0101, 0b1100, 0b1101, 0b1010, 0b0110, 0b1110}
	threeFourK = [8]byte{0b1011, 0b0110, 0b1010, 0b1100, 0b1101, 0b0101, 0b1001, 0b0111}
)

// alternate7 is fghj of D.x.A7, where the primary form would make a run of five
// over the boundary.
const alternate7 = 0b0111

// Disparity is the running disparity of a line: -1 or +1.
type Disparity int8

// Control characters of IEEE 802.3 clause 36, as octets: K28.5 is the comma, then
// start and end of packet and carrier extend.
const (
	kComma  = 0xbc
	kStart  = 0xfb // /S/ = K27.7
	kEnd    = 0xfd // /T/ = K29.7
	kExtend = 0xf7 // /R/ = K23.7
)

// EncodeEightB10B codes an octet, or a control character, and gives the ten
// bits, abcdeifghj from the highest down, and the disparity after them. ok is
// false if there is no such control character.
func EncodeEightB10B(octet byte, control bool, rd Disparity) (code uint16, after Disparity, ok bool) {
	x, y := octet&31, octet>>5
	six := fiveSix[x]
	four := threeFour[y]
	if control {
		if x != 28 && (y != 7 || x != 23 && x != 27 && x != 29 && x != 30) {
			return 0, rd, false
		}
		if x == 28 {
			six = k28
		}
		four = threeFourK[y]
	}
	balanced := bits.OnesCount8(six) == 3
	if rd > 0 && (!balanced || x == 7) {
		six ^= 0b111111
	}
	if !balanced {
		rd = -rd
	}
	// IEEE 802.3 clause 36: D17, D18, D20 after -1, D11, D13, D14 after +1.
	if !control && y == 7 && (rd < 0 && (x == 17 || x == 18 || x == 20) || rd > 0 && (x == 11 || x == 13 || x == 14)) {
		four = alternate7
	}
	balanced = bits.OnesCount8(four) == 2
	// The balanced forms of control characters are complemented too: that is
	// what makes them differ from data.
	if rd > 0 && (!balanced || y == 3 || control) {
		four ^= 0b1111
	}
	if !balanced {
		rd = -rd
	}
	return uint16(six)<<4 | uint16(four), rd, true
}

// DecodeEightB10B is the way back, for a line whose disparity before is rd. ok is
// false for ten bits that a line in that state does not have.
func DecodeEightB10B(code uint16, rd Disparity) (octet byte, control bool, after Disparity, ok bool) {
	for _, control := range [...]bool{false, true} {
		for o := range 256 {
			if c, after, ok := EncodeEightB10B(byte(o), control, rd); ok && c == code {
				return byte(o), control, after, true
			}
		}
	}
	return 0, false, rd, false
}

// eightB10B makes a packet of 1000BASE-X: /S/ replaces the first octet of the
// preamble, /T/R/ follows the FCS, with another /R/ if need be for the idle after it
// to start at an even place (IEEE 802.3 clause 36), and one /I/: /I1/
// brings the disparity back to -1, /I2/ leaves it there. The
// line before was idle, so the disparity starts at -1.
func (s *Symbols) eightB10B(octets []byte) {
	rd := Disparity(-1)
	put := func(octet byte, control bool) {
		from := len(s.Line)
		var code uint16
		code, rd, _ = EncodeEightB10B(octet, control, rd)
		for i := 9; i >= 0; i-- {
			s.Line = append(s.Line, int8(code>>i&1))
		}
		kind := 'D'
		if control {
			kind = 'K'
		}
		b := msb(nil, uint64(code>>4), 6)
		s.group(fmt.Sprintf("%c%d.%d", kind, octet&31, octet>>5), string(msb(append(b, ' '), uint64(code&15), 4)), from)
	}
	put(kStart, true)
	for _, o := range octets[1:] {
		put(o, false)
	}
	put(kEnd, true)
	put(kExtend, true)
	if len(octets)%2 != 0 {
		put(kExtend, true)
	}
	positive := rd > 0
	put(kComma, true)
	if positive {
		put(0xc5, false) // /I1/: D5.6
	} else {
		put(0x50, false) // /I2/: D16.2
	}
}

func decodeEightB10B(line []int8) ([]byte, error) {
	rd := Disparity(-1)
	var out []byte
	for i := 0; i+10 <= len(line); i += 10 {
		var code uint16
		for _, l := range line[i : i+10] {
			code = code<<1 | uint16(l&1)
		}
		o, control, after, ok := DecodeEightB10B(code, rd)
		rd = after
		switch {
		case !ok:
			return nil, fmt.Errorf("link: 8b/10b: code-group %d is %010b, which a line of disparity %+d does not have", i/10, code, rd)
		case i == 0 && !(control && o == kStart):
			return nil, fmt.Errorf("link: 8b/10b: does not start with /S/")
		case i == 0:
			out = append(out, preamble)
		case control && o == kEnd:
			return out, nil
		case control:
			return nil, fmt.Errorf("link: 8b/10b: K%d.%d within a packet", o&31, o>>5)
		default:
			out = append(out, o)
		}
	}
	return nil, fmt.Errorf("link: 8b/10b: no /T/")
}
