package link

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"peel/wire/ethernet"
)

// Symbols is a frame as it is on the wire, in the order of time.
type Symbols struct {
	Code LineCode
	// Line holds the levels of the signal, each for one symbol time: -1 and +1
	// for Manchester's halves of a bit; -1, 0 and +1 for MLT-3; 0 and 1
	// (dark and light) on fibre.
	Line []int8
	// Groups divide the line. A scrambled group's Bits are those before the
	// scrambler.
	Groups []Group
}

// Group is what is coded together: a byte, a code-group or a block.
type Group struct {
	// Name says what it is, as "preamble", "55", "D21.2" or "/J/".
	Name string
	// Bits before the last step of the code (NRZ), "0" and "1" in the order on
	// the wire.
	Bits string
	// Line[From:To] is its signal.
	From, To int
}

// shown bounds String.
const shown = 64

// String shows the first 64 groups, a line each.
func (s Symbols) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d groups, %d symbols\n", s.Code, len(s.Groups), len(s.Line))
	for i, g := range s.Groups {
		if i == shown {
			fmt.Fprintf(&b, "… and %d more\n", len(s.Groups)-i)
			break
		}
		fmt.Fprintf(&b, "%-9s %s  %s\n", g.Name, g.Bits, s.signal(s.Line[g.From:g.To]))
	}
	return b.String()
}

func (s *Symbols) signal(line []int8) string {
	marks := "-0+"
	switch s.Code {
	case Manchester:
		marks = "_?¯"
	case EightB10B, SixtyFourB66B:
		marks = "?01"
	}
	m := []rune(marks)
	out := make([]rune, len(line))
	for i, l := range line {
		out[i] = m[l+1]
	}
	return string(out)
}

// Symbols codes a frame without FCS, with what the medium adds: preamble,
// padding to the minimum, FCS, delimiters. A medium without a line code has
// none.
func (m Medium) Symbols(frame []byte) Symbols {
	octets := m.octets(frame)
	s := Symbols{Code: m.LineCode}
	switch m.LineCode {
	case Manchester:
		s.manchester(octets)
	case FourB5B, ScrambledFourB5B:
		s.fourB5B(octets)
	case EightB10B:
		s.eightB10B(octets)
	case SixtyFourB66B:
		s.sixtyFourB66B(octets)
	}
	return s
}

const (
	preamble = 0x55 // 10101010 on the wire, as the least significant bit is first
	sfd      = 0xd5 // 10101011
	leadLen  = 8
)

// octets are those that IEEE 802.3 §3.1.1 hands to the physical layer.
func (m Medium) octets(frame []byte) []byte {
	out := bytes.Repeat([]byte{preamble}, leadLen)
	out[leadLen-1] = sfd
	out = append(out, frame...)
	for len(out) < leadLen+m.Framing.Min-m.Framing.FCS {
		out = append(out, 0)
	}
	fcs := ethernet.FCS(out[leadLen:])
	return append(out, fcs[:]...)
}

// Decode reads what Symbols has made: the frame with its padding, without
// FCS. It fails on a signal that the code does not have, and on a wrong FCS.
func (m Medium) Decode(line []int8) ([]byte, error) {
	var octets []byte
	var err error
	switch m.LineCode {
	case Manchester:
		octets, err = decodeManchester(line)
	case FourB5B, ScrambledFourB5B:
		octets, err = decodeFourB5B(line, m.LineCode == ScrambledFourB5B)
	case EightB10B:
		octets, err = decodeEightB10B(line)
	case SixtyFourB66B:
		octets, err = decodeSixtyFourB66B(line)
	default:
		err = errors.New("link: " + m.Name + " has no line code")
	}
	if err != nil {
		return nil, err
	}
	if len(octets) < leadLen+4 || octets[leadLen-1] != sfd {
		return nil, errors.New("link: no start frame delimiter after seven bytes of preamble")
	}
	frame := octets[leadLen : len(octets)-4]
	if fcs := ethernet.FCS(frame); !bytes.Equal(fcs[:], octets[len(octets)-4:]) {
		return nil, fmt.Errorf("link: FCS %x of a frame that has %x", octets[len(octets)-4:], fcs)
	}
	return frame, nil
}

// octetName is what an octet at index i of n is called.
func octetName(i, n int, o byte) string {
	switch {
	case i < leadLen-1:
		return "preamble"
	case i == leadLen-1:
		return "SFD"
	case i >= n-4:
		return fmt.Sprintf("FCS %02x", o)
	}
	return fmt.Sprintf("%02x", o)
}

// lsb writes n bits of v, the least significant first.
func lsb(b []byte, v uint64, n int) []byte {
	for i := range n {
		b = append(b, '0'+byte(v>>i&1))
	}
	return b
}

// msb writes n bits of v, the most significant first.
func msb(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, '0'+byte(v>>i&1))
	}
	return b
}

func (s *Symbols) group(name, bits string, from int) {
	s.Groups = append(s.Groups, Group{name, bits, from, len(s.Line)})
}
