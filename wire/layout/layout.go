// Package layout describes headers by tables: where each field stands, what
// it is called and how it reads. A header's table stands beside its parser;
// from it comes the tree of named fields, made only when a view asks.
package layout

import (
	"encoding/hex"
	"net/netip"
	"strconv"

	"peel/trace"
)

// Field is one field of a header, Bits wide, Bit bits from its beginning, in
// network byte order.
type Field struct {
	// Name is Wireshark's name for the field.
	Name      string
	Bit, Bits int
	Kind      Kind
	// Scale is what the number counts: 4 for a length in 32-bit words, shown
	// in bytes. 0 means 1.
	Scale uint64
	// Meaning says what a value means; nil or "" for nothing to say.
	Meaning func(v uint64) string
}

// Kind is how a value is written.
type Kind uint8

const (
	Decimal Kind = iota // a number
	Hex                 // 0x and as many digits as the field has
	Flag                // 0 or 1
	MAC                 // 48 bits
	Addr                // 32 or 128 bits
	Bytes               // hexadecimal digits
)

// Tree returns the fields of h, whose first byte is byte base of the packet.
// Fields that h is too short for are left out.
func Tree(h []byte, base int, fields []Field) []trace.Field {
	out := make([]trace.Field, 0, len(fields))
	for i := range fields {
		f := &fields[i]
		start, end := f.Bit/8, (f.Bit+f.Bits+7)/8
		if end > len(h) {
			break
		}
		t := trace.Field{Name: f.Name, Offset: base + start, Length: end - start}
		raw := h[start:end]
		switch f.Kind {
		case MAC:
			t.Value = HardwareAddr(raw)
		case Addr:
			a, _ := netip.AddrFromSlice(raw)
			t.Value = a.String()
		case Bytes:
			t.Value = hex.EncodeToString(raw)
		default:
			v := bits(raw, f.Bit%8, f.Bits)
			if f.Kind == Hex {
				t.Value = HexValue(v, (f.Bits+3)/4)
			} else {
				t.Value = strconv.FormatUint(v*max(f.Scale, 1), 10)
			}
			if f.Meaning != nil {
				t.Meaning = f.Meaning(v)
			}
		}
		out = append(out, t)
	}
	return out
}

// bits reads n bits from bit offset first of raw, at most 64.
func bits(raw []byte, first, n int) uint64 {
	var v uint64
	for _, b := range raw {
		v = v<<8 | uint64(b)
	}
	v >>= uint(len(raw)*8 - first - n)
	if n < 64 {
		v &= 1<<uint(n) - 1
	}
	return v
}

// HexValue writes v with 0x and at least that many digits.
func HexValue(v uint64, digits int) string {
	b := append(make([]byte, 0, 18), "0x"...)
	for i := digits; i > 1 && v>>(4*uint(i-1)) == 0; i-- {
		b = append(b, '0')
	}
	return string(strconv.AppendUint(b, v, 16))
}

// HardwareAddr writes a link-layer address with colons.
func HardwareAddr(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 3*len(b))
	for i, c := range b {
		if i > 0 {
			out = append(out, ':')
		}
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// Names returns a Meaning that looks values up.
func Names(m map[uint64]string) func(uint64) string {
	return func(v uint64) string { return m[v] }
}
