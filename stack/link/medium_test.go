package link

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func unhex(t *testing.T, format string, args ...any) []byte {
	t.Helper()
	b, err := hex.DecodeString(fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTimesOfMedia(t *testing.T) {
	for _, c := range []struct {
		m         Medium
		bytes     int
		want, gap time.Duration
	}{
		{Base10T(), 1514, 1220800, 9600},
		{Base10T(), 14, 57600, 9600},
		{Base100TX(), 1514, 122080, 960},
		{Base1000X(), 60, 576, 96},
		{Base10GR(), 1514, 1221, 10}, // 1220.8, 9.6
		{Medium{}, 1514, 0, 0},
	} {
		if s, g := c.m.Serialisation(c.bytes), c.m.Gap(); s != c.want || g != c.gap {
			t.Errorf("%s: %d bytes take %v and a gap of %v, want %v, %v", c.m.Name, c.bytes, s, g, c.want, c.gap)
		}
	}
	// Glass: about 4.9 µs a kilometre. Copper: about 5.05 ns a metre.
	if d := Base1000X().Propagation(1000); d < 4890*time.Nanosecond || d > 4900*time.Nanosecond {
		t.Errorf("1 km of fibre: %v", d)
	}
	if d := Base100TX().Propagation(100); d < 500*time.Nanosecond || d > 570*time.Nanosecond { // IEEE 802.3 allows 570 ns
		t.Errorf("100 m of copper: %v", d)
	}
	if s := Base100TX().Shape(100); s.Rate != 100e6 || s.Delay != Base100TX().Propagation(100) {
		t.Errorf("%+v", s)
	}
}

func TestWhatWasCodedIsDecoded(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	media := Media()[:4]
	plain := Base100TX()
	plain.LineCode = FourB5B
	media = append(media, plain)
	for _, m := range media {
		for size := range 200 {
			frame := make([]byte, size)
			for i := range frame {
				frame[i] = byte(rnd.Uint32())
			}
			s := m.Symbols(frame)
			got, err := m.Decode(s.Line)
			if want := append(frame, make([]byte, max(0, 60-size))...); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, %d bytes: %v\n got %x\nwant %x", m.Name, size, err, got, want)
			}
			from := 0
			for _, g := range s.Groups {
				if g.From != from || g.To <= from {
					t.Fatalf("%s: group %+v does not follow %d", m.Name, g, from)
				}
				from = g.To
			}
			if from != len(s.Line) {
				t.Fatalf("%s: groups end at %d of %d", m.Name, from, len(s.Line))
			}
		}
	}
	if s := Radio().Symbols(make([]byte, 60)); len(s.Line) != 0 {
		t.Error("the radio has symbols")
	}
	if _, err := Radio().Decode(nil); err == nil {
		t.Error("the radio was decoded")
	}
}

// No bit of the line can be wrong without notice: the code or the FCS tells.
func TestWrongSignalIsNoticed(t *testing.T) {
	for _, m := range Media()[:4] {
		s := m.Symbols([]byte("a frame of some length"))
		// Behind the end nobody looks: two idle code-groups and /R/.
		last := len(s.Line)
		if m.LineCode == EightB10B {
			last -= 30
		}
		for i := range last {
			if m.LineCode == SixtyFourB66B && i >= s.Groups[len(s.Groups)-1].From+2+8+8*4 {
				break
			}
			was := s.Line[i]
			switch {
			case m.LineCode == Manchester:
				s.Line[i] = -was
			case was == 0:
				s.Line[i] = 1
			default:
				s.Line[i] = 0
			}
			got, err := m.Decode(s.Line)
			if err == nil && !bytes.HasPrefix(got, []byte("a frame of some length")) {
				t.Errorf("%s: symbol %d wrong: %x", m.Name, i, got)
			}
			s.Line[i] = was
		}
		for i := range s.Line {
			_, _ = m.Decode(s.Line[:i]) // must not panic
		}
	}
}

// IEEE 802.3 §7.3.1.1, not G. E. Thomas's convention.
func TestManchester(t *testing.T) {
	s := Base10T().Symbols(nil)
	if want := "preamble  10101010  _¯¯__¯¯__¯¯__¯¯_"; !strings.Contains(s.String(), want) {
		t.Errorf("want %s, got\n%s", want, s)
	}
	if g := s.Groups[7]; g.Name != "SFD" || g.Bits != "10101011" || s.signal(s.Line[g.From:g.To]) != "_¯¯__¯¯__¯¯__¯_¯" {
		t.Errorf("SFD: %+v", g)
	}
	if n := len(s.Line); n != (8+64)*16 {
		t.Errorf("%d half bits", n)
	}
}

// The table as ANSI X3.263 and IEEE 802.3 table 24-1 print it.
func TestFourFiveTable(t *testing.T) {
	for nibble, want := range strings.Fields("11110 01001 10100 10101 01010 01011 01110 01111 10010 10011 10110 10111 11010 11011 11100 11101") {
		if got := fmt.Sprintf("%05b", fourFive[nibble]); got != want {
			t.Errorf("%X: %s, want %s", nibble, got, want)
		}
	}
	m := Base100TX()
	m.LineCode = FourB5B
	s := m.Symbols([]byte{0xb2})
	names := ""
	for _, g := range s.Groups[:20] {
		names += g.Name + " "
	}
	// The low nibble first; the SFD d5 is 5, D.
	if want := "/J/ /K/ 5 5 5 5 5 5 5 5 5 5 5 5 5 D 2 B 0 0 "; names != want {
		t.Errorf("%s, want %s", names, want)
	}
	// MLT-3 from 0: /J/ 11000 steps to + and 0 and rests; /K/ 10001 steps to -,
	// rests, and to 0.
	if got := s.signal(s.Line[:10]); got != "+0000---"+"-0" {
		t.Errorf("/J/K/ is %s", got)
	}
	if last := s.Groups[len(s.Groups)-2:]; last[0].Name != "/T/" || last[0].Bits != "01101" || last[1].Name != "/R/" || last[1].Bits != "00111" {
		t.Errorf("ends with %+v", last)
	}
}

// The stream cipher has the longest period that 11 bits allow, and obeys its
// equation.
func TestStreamCipher(t *testing.T) {
	c := cipherStart
	var key []byte
	for range 2047 + 11 {
		key = append(key, c.bit())
	}
	if c = cipherStart; !bytes.Equal(key[:11], key[2047:]) {
		t.Error("the period is not 2047")
	}
	ones := 0
	for i, k := range key {
		if i >= 11 && k != key[i-11]^key[i-9] {
			t.Fatalf("bit %d", i)
		}
		if i < 2047 {
			ones += int(k)
		}
	}
	if ones != 1024 {
		t.Errorf("%d ones in a period", ones)
	}
	// A frame of zeros still moves the line.
	s := Base100TX().Symbols(make([]byte, 1500))
	run, longest := 0, 0
	for i := 1; i < len(s.Line); i++ {
		if run++; s.Line[i] != s.Line[i-1] {
			run = 0
		}
		longest = max(longest, run)
	}
	if longest > 60 { // TP-PMD: "no more than 60 bits"
		t.Errorf("the line rested for %d symbols", longest)
	}
}

// Code-groups as IEEE 802.3 tables 36-1 and 36-2 print them.
func TestEightTenVectors(t *testing.T) {
	for _, c := range []struct {
		name         string
		octet        byte
		control      bool
		minus, plus  string
		after, other Disparity // after -1, after +1
	}{
		{"D0.0", 0x00, false, "100111 0100", "011000 1011", -1, +1},
		{"D1.0", 0x01, false, "011101 0100", "100010 1011", -1, +1},
		{"D2.0", 0x02, false, "101101 0100", "010010 1011", -1, +1},
		{"D3.0", 0x03, false, "110001 1011", "110001 0100", +1, -1},
		{"D5.0", 0x05, false, "101001 1011", "101001 0100", +1, -1},
		{"D7.0", 0x07, false, "111000 1011", "000111 0100", +1, -1},
		{"D31.1", 0x3f, false, "101011 1001", "010100 1001", +1, -1},
		{"D21.5", 0xb5, false, "101010 1010", "101010 1010", -1, +1},
		{"D2.2", 0x42, false, "101101 0101", "010010 0101", +1, -1},
		{"D16.2", 0x50, false, "011011 0101", "100100 0101", +1, -1},
		{"D5.6", 0xc5, false, "101001 0110", "101001 0110", -1, +1},
		{"D10.2", 0x4a, false, "010101 0101", "010101 0101", -1, +1},
		{"D3.3", 0x63, false, "110001 1100", "110001 0011", -1, +1},
		{"D0.3", 0x60, false, "100111 0011", "011000 1100", +1, -1},
		{"D17.7", 0xf1, false, "100011 0111", "100011 0001", +1, -1},
		{"D11.7", 0xeb, false, "110100 1110", "110100 1000", +1, -1},
		{"D31.7", 0xff, false, "101011 0001", "010100 1110", -1, +1},
		{"K28.0", 0x1c, true, "001111 0100", "110000 1011", -1, +1},
		{"K28.1", 0x3c, true, "001111 1001", "110000 0110", +1, -1},
		{"K28.5", 0xbc, true, "001111 1010", "110000 0101", +1, -1},
		{"K28.7", 0xfc, true, "001111 1000", "110000 0111", -1, +1},
		{"K23.7", 0xf7, true, "111010 1000", "000101 0111", -1, +1},
		{"K27.7", 0xfb, true, "110110 1000", "001001 0111", -1, +1},
		{"K29.7", 0xfd, true, "101110 1000", "010001 0111", -1, +1},
		{"K30.7", 0xfe, true, "011110 1000", "100001 0111", -1, +1},
	} {
		for i, rd := range []Disparity{-1, +1} {
			code, after, ok := EncodeEightB10B(c.octet, c.control, rd)
			got := fmt.Sprintf("%06b %04b", code>>4, code&15)
			want, wantAfter := c.minus, c.after
			if i == 1 {
				want, wantAfter = c.plus, c.other
			}
			if !ok || got != want || after != wantAfter {
				t.Errorf("%s at %+d: %s then %+d, want %s then %+d", c.name, rd, got, after, want, wantAfter)
			}
		}
	}
	if _, _, ok := EncodeEightB10B(0x00, true, -1); ok {
		t.Error("K0.0 exists")
	}
}

// What the code promises: each group is balanced or off by two, the disparity
// is always ±1, no two octets share a group, runs are at most five long, and
// the comma is nowhere in data.
func TestEightTenPromises(t *testing.T) {
	for _, rd := range []Disparity{-1, +1} {
		used := map[uint16]bool{}
		for _, control := range []bool{false, true} {
			for o := range 256 {
				code, after, ok := EncodeEightB10B(byte(o), control, rd)
				if !ok {
					continue
				}
				ones := strings.Count(fmt.Sprintf("%b", code), "1")
				if used[code] || after != rd+Disparity(2*ones-10) || after != -1 && after != +1 {
					t.Fatalf("%02x control %v at %+d: %010b then %+d", o, control, rd, code, after)
				}
				used[code] = true
				if back, c, a, ok := DecodeEightB10B(code, rd); !ok || back != byte(o) || c != control || a != after {
					t.Fatalf("%010b at %+d decodes to %02x", code, rd, back)
				}
			}
		}
		if len(used) != 256+12 {
			t.Errorf("%d code-groups, want 268", len(used))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	rd := Disparity(-1)
	var line strings.Builder
	sum := -1
	for range 200_000 {
		code, after, _ := EncodeEightB10B(byte(rnd.Uint32()), false, rd)
		rd = after
		b := fmt.Sprintf("%010b", code)
		sum += 2*strings.Count(b, "1") - 10
		if sum != int(rd) {
			t.Fatalf("the line is off by %d, the disparity says %d", sum, rd)
		}
		line.WriteString(b)
	}
	for _, never := range []string{"000000", "111111", "0011111", "1100000"} {
		if strings.Contains(line.String(), never) {
			t.Errorf("%s in data", never)
		}
	}
}

func TestEightTenPacket(t *testing.T) {
	for _, size := range []int{60, 61, 100, 101} {
		s := Base1000X().Symbols(bytes.Repeat([]byte{0x5a}, size))
		n := len(s.Groups)
		tail := []string{s.Groups[n-4].Name, s.Groups[n-3].Name, s.Groups[n-2].Name}
		if s.Groups[0].Name != "K27.7" || tail[1] != "K23.7" || tail[2] != "K28.5" || (size%2 == 0) != (tail[0] == "K29.7") {
			t.Errorf("%d: begins %s, ends %v", size, s.Groups[0].Name, tail)
		}
		if n%2 != 0 {
			t.Errorf("%d: the idle is at an odd place", size)
		}
		ones := 0
		for _, l := range s.Line {
			ones += int(l)
		}
		if 2*ones != len(s.Line) {
			t.Errorf("%d: after /I/ the disparity is not -1 again", size)
		}
	}
}

func TestSixtySixBlocks(t *testing.T) {
	types := map[string]bool{}
	for size := 60; size < 68; size++ {
		s := Base10GR().Symbols(make([]byte, size))
		for i, g := range s.Groups {
			header := fmt.Sprint(s.Line[g.From], s.Line[g.From+1])
			control := i == 0 || i == len(s.Groups)-1
			if g.To-g.From != 66 || control != (header == "1 0") || !control != (header == "0 1") {
				t.Errorf("block %d of %d: %d bits, header %s", i, len(s.Groups), g.To-g.From, header)
			}
		}
		// Type 0x78, least significant bit first; then 0x55 six times and the SFD.
		if want := "10 00011110" + strings.Repeat("10101010", 6) + "10101011"; s.Groups[0].Bits != want {
			t.Errorf("start block %s", s.Groups[0].Bits)
		}
		types[s.Groups[len(s.Groups)-1].Bits[3:11]] = true
	}
	// The eight types of end blocks are at least 4 bits apart.
	for a := range types {
		for b := range types {
			d := 0
			for i := range a {
				if a[i] != b[i] {
					d++
				}
			}
			if a != b && d < 4 {
				t.Errorf("%s and %s differ in %d bits", a, b, d)
			}
		}
	}
	if len(types) != 8 {
		t.Errorf("%d types", len(types))
	}
}

// IEEE 802.3 §49.2.6: what comes out is what came in plus what came out 39 and
// 58 bits before; and whoever tunes in is in step after 58 bits.
func TestScramblerOf64b66b(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	tx, rx := Scrambler(0x123456789abcdef&(1<<58-1)), Scrambler(0)
	var in, out, back []byte
	for range 1000 {
		b := byte(rnd.Uint32() & 1)
		in = append(in, b)
		out = append(out, tx.Scramble(b))
		back = append(back, rx.Descramble(out[len(out)-1]))
	}
	for i := 58; i < len(in); i++ {
		if out[i] != in[i]^out[i-39]^out[i-58] {
			t.Fatalf("bit %d does not obey x^58+x^39+1", i)
		}
	}
	if bytes.Equal(in[:58], back[:58]) || !bytes.Equal(in[58:], back[58:]) {
		t.Error("not in step after 58 bits")
	}
}

func TestSymbolsAreShownBounded(t *testing.T) {
	s := Base1000X().Symbols(make([]byte, 1500)).String()
	if n := strings.Count(s, "\n"); n != shown+2 || !strings.HasSuffix(s, "… and 1452 more\n") {
		t.Errorf("%d lines, ending %q", n, s[len(s)-40:])
	}
}

// The FCS goes out least significant byte first: over frame and FCS together
// the CRC is the well-known residue.
func TestFCSOnTheWire(t *testing.T) {
	o := Base10T().octets([]byte("123456789"))
	if crc := crc32.ChecksumIEEE(o[8:]); len(o) != 8+64 || crc != 0x2144df1c {
		t.Fatalf("%x has the CRC %08x", o, crc)
	}
	if o[0] != 0x55 || o[7] != 0xd5 {
		t.Errorf("preamble %x", o[:8])
	}
}

func TestPresets(t *testing.T) {
	for _, name := range []string{"lan", "fibre", "adsl", "wifi", "4g", "satellite"} {
		p, err := PresetNamed(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, s := range []Shape{p.Down, p.Up} {
			if err := s.Check(); err != nil || s.Rate == 0 || s.Delay == 0 {
				t.Errorf("%s: %v %+v", name, err, s)
			}
		}
	}
	if _, err := PresetNamed("carrier pigeon"); err == nil || !strings.Contains(err.Error(), "satellite") {
		t.Errorf("%v", err)
	}
}
