// Package websocket is the frame of the WebSocket protocol (RFC 6455 §5.2).
// Numbers are in network byte order.
package websocket

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"peel/trace"
	"peel/wire/layout"
)

// Opcode says what a frame is.
type Opcode uint8

// The opcodes of RFC 6455 §11.8; those from 8 on are control frames.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

var opcodeNames = map[Opcode]string{Continuation: "continuation", Text: "text", Binary: "binary", Close: "close", Ping: "ping", Pong: "pong"}

func (o Opcode) String() string {
	if n := opcodeNames[o]; n != "" {
		return n
	}
	return "opcode " + strconv.Itoa(int(o))
}

// Event names the event of such a frame, as in "websocket.ping".
func (o Opcode) Event() trace.EventName { return trace.EventName("websocket." + o.String()) }

// Header is that of a frame.
type Header struct {
	Fin    bool
	RSV    uint8 // RSV1 is 4: a compressed message (RFC 7692)
	Opcode Opcode
	Masked bool
	Key    [4]byte
	// Length is that of the payload, up to 2^63-1.
	Length int64
	// Len is the length of the header.
	Len int
}

// MaxHeader is the longest header in bytes.
const MaxHeader = 14

// ParseHeader reads a header from the beginning of b; ok is false when more
// bytes are needed.
func ParseHeader(b []byte) (h Header, ok bool, err error) {
	if len(b) < 2 {
		return h, false, nil
	}
	h = Header{Fin: b[0]&0x80 != 0, RSV: b[0] >> 4 & 7, Opcode: Opcode(b[0] & 15), Masked: b[1]&0x80 != 0, Length: int64(b[1] & 0x7f), Len: 2}
	switch h.Length {
	case 126:
		h.Len = 4
		if len(b) >= 4 {
			h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		}
	case 127:
		h.Len = 10
		if len(b) >= 10 {
			n := binary.BigEndian.Uint64(b[2:])
			if n > math.MaxInt64 {
				return h, false, fmt.Errorf("websocket: a payload length of %d has its highest bit set", n)
			}
			h.Length = int64(n)
		}
	}
	if h.Masked {
		h.Len += 4
	}
	if len(b) < h.Len {
		return h, false, nil
	}
	if h.Masked {
		copy(h.Key[:], b[h.Len-4:])
	}
	if h.Opcode >= Close && (h.Length > 125 || !h.Fin) {
		return h, false, fmt.Errorf("websocket: a %v frame of %d bytes: control frames have at most 125 and are not cut", h.Opcode, h.Length)
	}
	return h, true, nil
}

// Unmask takes the mask off payload bytes, in place, of which the first is
// byte at of the payload.
func (h Header) Unmask(b []byte, at int64) {
	if h.Masked {
		for i := range b {
			b[i] ^= h.Key[(at+int64(i))&3]
		}
	}
}

// Describe is a frame in one line; payload is its beginning, without mask.
func Describe(h Header, payload []byte) string {
	s := fmt.Sprintf("%v, %d bytes", h.Opcode, h.Length)
	if !h.Fin {
		s += ", more follows"
	}
	if h.RSV&4 != 0 {
		return s + ", compressed"
	}
	switch {
	case h.Opcode == Close && len(payload) >= 2:
		s += fmt.Sprintf(": code %d", binary.BigEndian.Uint16(payload))
		if len(payload) > 2 {
			s += " " + strconv.Quote(string(payload[2:]))
		}
	case h.Opcode == Text && len(payload) > 0:
		p := string(payload[:min(len(payload), 60)])
		for !utf8.ValidString(p) && len(p) > 0 && len(p)+4 > min(len(payload), 60) {
			p = p[:len(p)-1]
		}
		s += ": " + strings.ToValidUTF8(p, "\ufffd")
	}
	return s
}

var fields = []layout.Field{
	{Name: "websocket.fin", Bit: 0, Bits: 1, Kind: layout.Flag},
	{Name: "websocket.rsv", Bit: 1, Bits: 3, Kind: layout.Hex},
	{Name: "websocket.opcode", Bit: 4, Bits: 4, Meaning: func(v uint64) string { return Opcode(v).String() }},
	{Name: "websocket.mask", Bit: 8, Bits: 1, Kind: layout.Flag},
	{Name: "websocket.payload_length", Bit: 9, Bits: 7},
}

// Fields returns the tree of a frame's header.
func Fields(b []byte) []trace.Field {
	out := layout.Tree(b, 0, fields)
	h, ok, err := ParseHeader(b)
	if !ok || err != nil {
		return out
	}
	ext := h.Len - 2
	if h.Masked {
		ext -= 4
	}
	if ext > 0 {
		out = append(out, trace.Field{Name: "websocket.payload_length_ext_" + strconv.Itoa(ext*8), Value: strconv.FormatInt(h.Length, 10), Offset: 2, Length: ext})
	}
	if h.Masked {
		out = append(out, layout.Tree(b[h.Len-4:], h.Len-4, []layout.Field{{Name: "websocket.masking_key", Bits: 32, Kind: layout.Bytes}})...)
	}
	return out
}
