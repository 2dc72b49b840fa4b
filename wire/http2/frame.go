// Package http2 is HTTP/2 (RFC 9113): its frames with their field
// descriptions, and one sans-IO engine for either side of a connection.
package http2

import (
	"encoding/binary"
	"fmt"
	"strings"

	"peel/trace"
)

// FrameType is the type of a frame (RFC 9113 §6).
type FrameType uint8

// Frame types of RFC 9113, RFC 7838, RFC 8336 and RFC 9218.
const (
	FrameData           FrameType = 0x0
	FrameHeaders        FrameType = 0x1
	FramePriority       FrameType = 0x2
	FrameRSTStream      FrameType = 0x3
	FrameSettings       FrameType = 0x4
	FramePushPromise    FrameType = 0x5
	FramePing           FrameType = 0x6
	FrameGoAway         FrameType = 0x7
	FrameWindowUpdate   FrameType = 0x8
	FrameContinuation   FrameType = 0x9
	FrameAltSvc         FrameType = 0xa
	FrameOrigin         FrameType = 0xc
	FramePriorityUpdate FrameType = 0x10
)

var frameNames = map[FrameType]string{
	FrameData: "DATA", FrameHeaders: "HEADERS", FramePriority: "PRIORITY", FrameRSTStream: "RST_STREAM", FrameSettings: "SETTINGS",
	FramePushPromise: "PUSH_PROMISE", FramePing: "PING", FrameGoAway: "GOAWAY", FrameWindowUpdate: "WINDOW_UPDATE",
	FrameContinuation: "CONTINUATION", FrameAltSvc: "ALTSVC", FrameOrigin: "ORIGIN", FramePriorityUpdate: "PRIORITY_UPDATE",
}

// String returns the RFC's name, or the number.
func (t FrameType) String() string {
	if n := frameNames[t]; n != "" {
		return n
	}
	return fmt.Sprintf("frame type 0x%02x", uint8(t))
}

// Event names the event of such a frame: its name in lower case, as in
// "http2.rst_stream".
func (t FrameType) Event() trace.EventName {
	if n := frameEvents[t]; n != "" {
		return n
	}
	return frameEvent(t)
}

// frameEvents are the names of the events of the types that have a name, so
// that none is put together for each frame.
var frameEvents = func() map[FrameType]trace.EventName {
	m := make(map[FrameType]trace.EventName, len(frameNames))
	for t := range frameNames {
		m[t] = frameEvent(t)
	}
	return m
}()

func frameEvent(t FrameType) trace.EventName {
	return trace.EventName("http2." + strings.ToLower(t.String()))
}

// Flags are the flags of a frame; what a bit means depends on the type.
type Flags uint8

// Flags of RFC 9113 §6.
const (
	FlagEndStream  Flags = 0x1  // DATA, HEADERS
	FlagAck        Flags = 0x1  // SETTINGS, PING
	FlagEndHeaders Flags = 0x4  // HEADERS, PUSH_PROMISE, CONTINUATION
	FlagPadded     Flags = 0x8  // DATA, HEADERS, PUSH_PROMISE
	FlagPriority   Flags = 0x20 // HEADERS
)

// Has tells whether all bits of f are set.
func (f Flags) Has(bits Flags) bool { return f&bits == bits }

// FrameHeaderLen is the length of a frame's header in bytes.
const FrameHeaderLen = 9

// FrameHeader is the head of every frame (RFC 9113 §4.1).
type FrameHeader struct {
	// Length is that of the payload in bytes, at most 2^24-1.
	Length   uint32
	Type     FrameType
	Flags    Flags
	StreamID uint32
}

// ParseFrameHeader reads a frame's head from the first 9 bytes of b, which
// must be there. The reserved bit is dropped.
func ParseFrameHeader(b []byte) FrameHeader {
	_ = b[8]
	return FrameHeader{
		Length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		Type:   FrameType(b[3]), Flags: Flags(b[4]),
		StreamID: binary.BigEndian.Uint32(b[5:]) & 0x7fffffff,
	}
}

// AppendFrameHeader appends a frame's head.
func AppendFrameHeader(dst []byte, h FrameHeader) []byte {
	return append(dst, byte(h.Length>>16), byte(h.Length>>8), byte(h.Length), byte(h.Type), byte(h.Flags),
		byte(h.StreamID>>24), byte(h.StreamID>>16), byte(h.StreamID>>8), byte(h.StreamID))
}

// ErrCode is an error code (RFC 9113 §7).
type ErrCode uint32

// Error codes.
const (
	ErrCodeNo                 ErrCode = 0x0
	ErrCodeProtocol           ErrCode = 0x1
	ErrCodeInternal           ErrCode = 0x2
	ErrCodeFlowControl        ErrCode = 0x3
	ErrCodeSettingsTimeout    ErrCode = 0x4
	ErrCodeStreamClosed       ErrCode = 0x5
	ErrCodeFrameSize          ErrCode = 0x6
	ErrCodeRefusedStream      ErrCode = 0x7
	ErrCodeCancel             ErrCode = 0x8
	ErrCodeCompression        ErrCode = 0x9
	ErrCodeConnect            ErrCode = 0xa
	ErrCodeEnhanceYourCalm    ErrCode = 0xb
	ErrCodeInadequateSecurity ErrCode = 0xc
	ErrCodeHTTP11Required     ErrCode = 0xd
)

var errNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

// String returns the RFC's name, or the number.
func (c ErrCode) String() string {
	if int(c) < len(errNames) {
		return errNames[c]
	}
	return fmt.Sprintf("error code 0x%x", uint32(c))
}

// SettingID names a parameter of SETTINGS (RFC 9113 §6.5.2).
type SettingID uint16

// Settings of RFC 9113, RFC 8441 and RFC 9218.
const (
	SettingHeaderTableSize       SettingID = 0x1
	SettingEnablePush            SettingID = 0x2
	SettingMaxConcurrentStreams  SettingID = 0x3
	SettingInitialWindowSize     SettingID = 0x4
	SettingMaxFrameSize          SettingID = 0x5
	SettingMaxHeaderListSize     SettingID = 0x6
	SettingEnableConnectProtocol SettingID = 0x8
	SettingNoRFC7540Priorities   SettingID = 0x9
)

var settingNames = map[SettingID]string{
	SettingHeaderTableSize: "HEADER_TABLE_SIZE", SettingEnablePush: "ENABLE_PUSH", SettingMaxConcurrentStreams: "MAX_CONCURRENT_STREAMS",
	SettingInitialWindowSize: "INITIAL_WINDOW_SIZE", SettingMaxFrameSize: "MAX_FRAME_SIZE", SettingMaxHeaderListSize: "MAX_HEADER_LIST_SIZE",
	SettingEnableConnectProtocol: "ENABLE_CONNECT_PROTOCOL", SettingNoRFC7540Priorities: "NO_RFC7540_PRIORITIES",
}

// String returns the RFC's name without SETTINGS_, or the number.
func (s SettingID) String() string {
	if n := settingNames[s]; n != "" {
		return n
	}
	return fmt.Sprintf("setting 0x%x", uint16(s))
}

// Setting is one parameter.
type Setting struct {
	ID    SettingID
	Value uint32
}

// ParseSettings reads the payload of a SETTINGS frame. It fails when its
// length is not a multiple of six.
func ParseSettings(p []byte) ([]Setting, error) {
	if len(p)%6 != 0 {
		return nil, fmt.Errorf("http2: SETTINGS of %d bytes, not a multiple of 6", len(p))
	}
	var out []Setting
	for ; len(p) > 0 && len(out) < 256; p = p[6:] {
		out = append(out, Setting{SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:])})
	}
	return out, nil
}

// GoAway is the payload of a GOAWAY frame.
type GoAway struct {
	LastStreamID uint32
	Code         ErrCode
	Debug        []byte
}

// ParseGoAway reads the payload of a GOAWAY frame; Debug aliases it.
func ParseGoAway(p []byte) (GoAway, error) {
	if len(p) < 8 {
		return GoAway{}, fmt.Errorf("http2: GOAWAY of %d bytes, at least 8 are needed", len(p))
	}
	return GoAway{binary.BigEndian.Uint32(p) & 0x7fffffff, ErrCode(binary.BigEndian.Uint32(p[4:])), p[8:]}, nil
}

// unpad takes the padding off a payload (RFC 9113 §6.1).
func unpad(h FrameHeader, p []byte) (data []byte, at int, err error) {
	if !h.Flags.Has(FlagPadded) {
		return p, 0, nil
	}
	if len(p) < 1 || int(p[0]) > len(p)-1 {
		return nil, 0, fmt.Errorf("http2: %v with padding longer than its payload of %d bytes", h.Type, len(p))
	}
	return p[1 : len(p)-int(p[0])], 1, nil
}

// DataPayload returns the content of a DATA frame without its padding.
func DataPayload(h FrameHeader, p []byte) ([]byte, error) {
	d, _, err := unpad(h, p)
	return d, err
}

// HeaderFragment returns the part of a header block that a HEADERS,
// PUSH_PROMISE or CONTINUATION frame holds, and where it begins in the
// payload.
func HeaderFragment(h FrameHeader, p []byte) (fragment []byte, at int, err error) {
	if h.Type == FrameContinuation {
		return p, 0, nil
	}
	d, at, err := unpad(h, p)
	if err != nil {
		return nil, 0, err
	}
	skip := 0
	switch {
	case h.Type == FramePushPromise:
		skip = 4
	case h.Flags.Has(FlagPriority):
		skip = 5
	}
	if len(d) < skip {
		return nil, 0, fmt.Errorf("http2: %v of %d bytes is too short for its flags", h.Type, len(p))
	}
	return d[skip:], at + skip, nil
}

// Promised is the stream that a PUSH_PROMISE is about (RFC 9113 §6.6). at is
// where HeaderFragment found that its header block begins.
func Promised(p []byte, at int) uint32 {
	return binary.BigEndian.Uint32(p[at-4:]) & 0x7fffffff
}

func appendWindowUpdate(dst []byte, id, n uint32) []byte {
	dst = AppendFrameHeader(dst, FrameHeader{4, FrameWindowUpdate, 0, id})
	return binary.BigEndian.AppendUint32(dst, n)
}

func appendRSTStream(dst []byte, id uint32, c ErrCode) []byte {
	dst = AppendFrameHeader(dst, FrameHeader{4, FrameRSTStream, 0, id})
	return binary.BigEndian.AppendUint32(dst, uint32(c))
}

// AppendSettings appends a SETTINGS frame.
func AppendSettings(dst []byte, list ...Setting) []byte {
	dst = AppendFrameHeader(dst, FrameHeader{uint32(6 * len(list)), FrameSettings, 0, 0})
	for _, s := range list {
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.ID))
		dst = binary.BigEndian.AppendUint32(dst, s.Value)
	}
	return dst
}

// AppendGoAway appends a GOAWAY frame.
func AppendGoAway(dst []byte, last uint32, c ErrCode, debug string) []byte {
	dst = AppendFrameHeader(dst, FrameHeader{uint32(8 + len(debug)), FrameGoAway, 0, 0})
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(c))
	return append(dst, debug...)
}

// AppendPing appends a PING frame.
func AppendPing(dst []byte, ack bool, data [8]byte) []byte {
	var f Flags
	if ack {
		f = FlagAck
	}
	dst = AppendFrameHeader(dst, FrameHeader{8, FramePing, f, 0})
	return append(dst, data[:]...)
}
