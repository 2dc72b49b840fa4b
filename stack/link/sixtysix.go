package link

import (
	"encoding/binary"
	"fmt"
)

// Block types of 64b/66b (IEEE 802.3 figure 49-7): a start in the first lane,
// and an end after 0 to 7 octets of the block.
const blockStart = 0x78

var blockEnd = [8]byte{0x87, 0x99, 0xaa, 0xb4, 0xcc, 0xd2, 0xe1, 0xff}

// Scrambler is the self-synchronising one of IEEE 802.3 §49.2.6,
// G(x) = 1 + x^39 + x^58: each bit is added to those that went over the line 39
// and 58 bits before. Its value is the last 58 of them, the latest lowest.
type Scrambler uint64

// scramblerStart is any; a receiver is in step after 58 bits.
const scramblerStart Scrambler = 1<<58 - 1

// Scramble takes a bit of data and gives one for the line.
func (s *Scrambler) Scramble(bit byte) byte {
	out := bit ^ byte(*s>>38^*s>>57)&1
	*s = (*s<<1 | Scrambler(out)) & (1<<58 - 1)
	return out
}

// Descramble takes a bit of the line and gives one of data.
func (s *Scrambler) Descramble(bit byte) byte {
	out := bit ^ byte(*s>>38^*s>>57)&1
	*s = (*s<<1 | Scrambler(bit)) & (1<<58 - 1)
	return out
}

// sixtyFourB66B makes blocks of 66 bits: a sync header, 01 for data and 10
// for control, which is not scrambled, and 64 bits, which are, each octet with
// the least significant bit first. The first block is control: its type, in the
// place of the first octet of the preamble, and seven octets.
// The idle control characters that fill up the last are zeros.
func (s *Symbols) sixtyFourB66B(octets []byte) {
	scrambler := scramblerStart
	put := func(name string, control bool, payload [8]byte) {
		from := len(s.Line)
		bits := []byte("01 ")
		if control {
			bits = []byte("10 ")
		}
		s.Line = append(s.Line, int8(bits[0]-'0'), int8(bits[1]-'0'))
		for _, bit := range lsb(nil, binary.LittleEndian.Uint64(payload[:]), 64) {
			bits = append(bits, bit)
			s.Line = append(s.Line, int8(scrambler.Scramble(bit-'0')))
		}
		s.group(name, string(bits), from)
	}
	var block [8]byte
	copy(block[:], octets)
	block[0] = blockStart
	put("start", true, block)
	rest := octets[8:]
	for ; len(rest) >= 8; rest = rest[8:] {
		put("data", false, [8]byte(rest))
	}
	block = [8]byte{blockEnd[len(rest)]}
	copy(block[1:], rest)
	put(fmt.Sprintf("end of %d", len(rest)), true, block)
}

func decodeSixtyFourB66B(line []int8) ([]byte, error) {
	scrambler := scramblerStart
	var out []byte
	for i := 0; i+66 <= len(line); i += 66 {
		var v uint64
		for n, l := range line[i+2 : i+66] {
			v |= uint64(scrambler.Descramble(byte(l&1))) << n
		}
		var block [8]byte
		binary.LittleEndian.PutUint64(block[:], v)
		header := [2]int8(line[i:])
		switch {
		case header != [2]int8{0, 1} && header != [2]int8{1, 0}:
			return nil, fmt.Errorf("link: 64b/66b: block %d has the sync header %d%d", i/66, header[0], header[1])
		case i == 0 && (header[0] == 0 || block[0] != blockStart):
			return nil, fmt.Errorf("link: 64b/66b: does not begin with a start block")
		case i == 0:
			out = append(append(out, preamble), block[1:]...)
		case header[0] == 0:
			out = append(out, block[:]...)
		default:
			for n, t := range blockEnd {
				if t == block[0] {
					return append(out, block[1:1+n]...), nil
				}
			}
			return nil, fmt.Errorf("link: 64b/66b: block %d of type %#02x within a packet", i/66, block[0])
		}
	}
	return nil, fmt.Errorf("link: 64b/66b: no end")
}
