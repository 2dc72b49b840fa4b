// Package wlan reads the frames of wireless networks (IEEE 802.11-2020 §9.2) as
// captures have them: bare, or behind a radiotap header (radiotap.org).
package wlan

import (
	"encoding/binary"
	"fmt"

	"peel/trace"
	"peel/wire/layout"
)

// Header is what stands before the payload of a frame.
type Header struct {
	// Len is the length of all of it, radiotap and padding too.
	Len int
	// Kind says what the frame is.
	Kind Kind
}

// Kind is what a frame is to one who wants what it carries.
type Kind uint8

// The kinds.
const (
	// Data is followed by an LLC header, in the clear.
	Data Kind = iota
	// Control is management and control, and data frames without data.
	Control
	// Protected is encrypted.
	Protected
	// Part is one of several frames with one payload, or one that holds several.
	Part
)

// String says what it is in a few words.
func (k Kind) String() string {
	return [...]string{"802.11", "802.11 management and control", "encrypted 802.11", "802.11 fragments and aggregates"}[k]
}

func short(what string, have, want int) error {
	return fmt.Errorf("802.11: %d bytes are too few for %s of %d", have, what, want)
}

const (
	radiotapFixed = 8
	tsftBit       = 1 << 0
	flagsBit      = 1 << 1
	moreBit       = 1 << 31
	maxPresent    = 32
	flagPadded    = 0x20 // between header and payload, to a multiple of four
)

// radiotap reads the header that describes how a frame was received: its length,
// and whether the frame's own header is padded.
func radiotap(b []byte) (n int, padded bool, err error) {
	if len(b) < radiotapFixed {
		return 0, false, short("a radiotap header", len(b), radiotapFixed)
	}
	n = int(binary.LittleEndian.Uint16(b[2:]))
	if b[0] != 0 || n < radiotapFixed || n > len(b) {
		return 0, false, fmt.Errorf("802.11: a radiotap header of version %d and %d bytes, of which %d are there", b[0], n, len(b))
	}
	present := binary.LittleEndian.Uint32(b[4:])
	at := radiotapFixed
	for more, i := present, 0; more&moreBit != 0 && i < maxPresent; i++ {
		if at+4 > n {
			return 0, false, short("the fields of a radiotap header", n, at+4)
		}
		more = binary.LittleEndian.Uint32(b[at:])
		at += 4
	}
	if present&flagsBit == 0 {
		return n, false, nil
	}
	if present&tsftBit != 0 {
		at = (at+7)&^7 + 8
	}
	return n, at < n && b[at]&flagPadded != 0, nil
}

// Bits of the frame control field, in the order of its bytes.
const (
	typeData    = 2
	subNoData   = 4 // of a data frame's subtype
	subQoS      = 8
	toDS        = 0x01
	fromDS      = 0x02
	moreParts   = 0x04
	isProtected = 0x40
	hasOrder    = 0x80
	aggregate   = 0x80 // in the QoS control field
	baseLen     = 24
	controlLen  = 10 // the least that any frame has
)

// Parse reads a frame. withRadiotap says that such a header stands before it.
func Parse(b []byte, withRadiotap bool) (Header, error) {
	var h Header
	padded := false
	if withRadiotap {
		var err error
		if h.Len, padded, err = radiotap(b); err != nil {
			return h, err
		}
	}
	f := b[h.Len:]
	if len(f) < controlLen {
		return h, short("a frame", len(f), controlLen)
	}
	kind, sub, flags := f[0]>>2&3, f[0]>>4, f[1]
	if kind != typeData || sub&subNoData != 0 {
		h.Kind, h.Len = Control, h.Len+controlLen
		return h, nil
	}
	n := baseLen
	if flags&(toDS|fromDS) == toDS|fromDS {
		n += 6 // a fourth address
	}
	qos := n
	if sub&subQoS != 0 {
		n += 2
		if flags&hasOrder != 0 {
			n += 4 // HT control
		}
	}
	if len(f) < n {
		return h, short("the header of a data frame", len(f), n)
	}
	switch {
	case flags&isProtected != 0:
		h.Kind = Protected
	case flags&moreParts != 0 || f[22]&0xf != 0 || sub&subQoS != 0 && f[qos]&aggregate != 0:
		h.Kind = Part
	}
	if padded {
		n = (n + 3) &^ 3
	}
	h.Len = min(h.Len+n, len(b))
	return h, nil
}

var frameFields = []layout.Field{
	{Name: "wlan.fc.subtype", Bit: 0, Bits: 4},
	{Name: "wlan.fc.type", Bit: 4, Bits: 2, Meaning: layout.Names(map[uint64]string{0: "management", 1: "control", 2: "data", 3: "extension"})},
	{Name: "wlan.fc.version", Bit: 6, Bits: 2},
	{Name: "wlan.flags", Bit: 8, Bits: 8, Kind: layout.Hex},
	{Name: "wlan.duration", Bit: 16, Bits: 16, Kind: layout.Bytes},
	{Name: "wlan.ra", Bit: 32, Bits: 48, Kind: layout.MAC},
	{Name: "wlan.ta", Bit: 80, Bits: 48, Kind: layout.MAC},
	{Name: "wlan.addr3", Bit: 128, Bits: 48, Kind: layout.MAC},
}

var radiotapFields = []layout.Field{
	{Name: "radiotap.version", Bit: 0, Bits: 8},
	{Name: "radiotap.pad", Bit: 8, Bits: 8},
	{Name: "radiotap.length", Bit: 16, Bits: 16, Kind: layout.Bytes},
	{Name: "radiotap.present", Bit: 32, Bits: 32, Kind: layout.Bytes},
}

// Fields returns the tree of fields of a frame without radiotap.
func Fields(b []byte, base int) []trace.Field { return layout.Tree(b, base, frameFields) }

// RadiotapFields returns those of a frame with radiotap.
func RadiotapFields(b []byte, base int) []trace.Field {
	out := layout.Tree(b, base, radiotapFields)
	if n, _, err := radiotap(b); err == nil {
		out = append(out, Fields(b[n:], base+n)...)
	}
	return out
}
