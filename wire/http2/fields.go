package http2

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"peel/trace"
)

// Describe says in one line what a frame holds.
func Describe(h FrameHeader, p []byte) string {
	s := h.Type.String()
	switch h.Type {
	case FrameData:
		d, err := DataPayload(h, p)
		if err != nil {
			return s + ", " + err.Error()
		}
		s += fmt.Sprintf(", %d bytes", len(d))
		if pad := len(p) - len(d); pad > 0 {
			s += fmt.Sprintf(" and %d of padding", pad)
		}
	case FrameSettings:
		if h.Flags.Has(FlagAck) {
			return s + " ACK"
		}
		list, _ := ParseSettings(p)
		for i, x := range list {
			sep := ", "
			if i == 0 {
				sep = ": "
			}
			s += fmt.Sprintf("%s%v=%d", sep, x.ID, x.Value)
		}
	case FrameWindowUpdate:
		if len(p) == 4 {
			of := "the connection"
			if h.StreamID != 0 {
				of = "the stream"
			}
			s += fmt.Sprintf(": %d bytes more for %s", binary.BigEndian.Uint32(p)&0x7fffffff, of)
		}
	case FrameRSTStream:
		if len(p) == 4 {
			s += ": " + ErrCode(binary.BigEndian.Uint32(p)).String()
		}
	case FramePing:
		if h.Flags.Has(FlagAck) {
			s += " ACK"
		}
		s += " " + hex.EncodeToString(p[:min(len(p), 8)])
	case FrameGoAway:
		if g, err := ParseGoAway(p); err == nil {
			s += fmt.Sprintf(": last stream %d, %v", g.LastStreamID, g.Code)
			if len(g.Debug) > 0 {
				s += fmt.Sprintf(" %q", g.Debug[:min(len(g.Debug), 80)])
			}
		}
	}
	if (h.Type == FrameData || h.Type == FrameHeaders) && h.Flags.Has(FlagEndStream) {
		s += ", END_STREAM"
	}
	return s
}

// flagNames are the flags that a type has.
var flagNames = map[FrameType][]struct {
	bit  Flags
	name string
}{
	FrameData:         {{FlagEndStream, "END_STREAM"}, {FlagPadded, "PADDED"}},
	FrameHeaders:      {{FlagEndStream, "END_STREAM"}, {FlagEndHeaders, "END_HEADERS"}, {FlagPadded, "PADDED"}, {FlagPriority, "PRIORITY"}},
	FrameSettings:     {{FlagAck, "ACK"}},
	FramePing:         {{FlagAck, "ACK"}},
	FramePushPromise:  {{FlagEndHeaders, "END_HEADERS"}, {FlagPadded, "PADDED"}},
	FrameContinuation: {{FlagEndHeaders, "END_HEADERS"}},
}

// KnownFlags tells whether a frame's type is one that there is, with flags that
// it has.
func KnownFlags(h FrameHeader) bool {
	if frameNames[h.Type] == "" {
		return false
	}
	known := Flags(0)
	for _, f := range flagNames[h.Type] {
		known |= f.bit
	}
	return h.Flags&^known == 0
}

// Fields describes a frame, with its header, as a tree with byte ranges. Of a
// frame that is cut, what is there is described.
func Fields(frame []byte) []trace.Field {
	if len(frame) < FrameHeaderLen {
		return nil
	}
	h := ParseFrameHeader(frame)
	var flags []string
	for _, f := range flagNames[h.Type] {
		if h.Flags.Has(f.bit) {
			flags = append(flags, f.name)
		}
	}
	out := []trace.Field{
		{Name: "http2.length", Value: strconv.Itoa(int(h.Length)), Offset: 0, Length: 3},
		{Name: "http2.type", Value: strconv.Itoa(int(h.Type)), Meaning: h.Type.String(), Offset: 3, Length: 1},
		{Name: "http2.flags", Value: fmt.Sprintf("0x%02x", uint8(h.Flags)), Meaning: strings.Join(flags, " "), Offset: 4, Length: 1},
		{Name: "http2.streamid", Value: strconv.Itoa(int(h.StreamID)), Offset: 5, Length: 4},
	}
	return append(out, payloadFields(h, frame[FrameHeaderLen:])...)
}

func payloadFields(h FrameHeader, p []byte) []trace.Field {
	var out []trace.Field
	add := func(name, value, meaning string, at, n int) {
		if at+n <= len(p) {
			out = append(out, trace.Field{Name: name, Value: value, Meaning: meaning, Offset: FrameHeaderLen + at, Length: n})
		}
	}
	u32 := func(at int) uint32 {
		if at+4 > len(p) {
			return 0
		}
		return binary.BigEndian.Uint32(p[at:])
	}
	at := 0
	if h.Flags.Has(FlagPadded) && (h.Type == FrameData || h.Type == FrameHeaders || h.Type == FramePushPromise) && len(p) > 0 {
		add("http2.padding_len", strconv.Itoa(int(p[0])), "", 0, 1)
		at = 1
	}
	switch h.Type {
	case FrameData:
		d, err := DataPayload(h, p)
		if err == nil {
			add("http2.data.data", fmt.Sprintf("%d bytes", len(d)), "", at, len(d))
		}
	case FrameHeaders, FrameContinuation:
		if h.Type == FrameHeaders && h.Flags.Has(FlagPriority) {
			add("http2.stream_dependency", strconv.Itoa(int(u32(at)&0x7fffffff)), "", at, 4)
			at += 5
		}
		if f, _, err := HeaderFragment(h, p); err == nil {
			add("http2.headers", fmt.Sprintf("%d bytes of header block", len(f)), "", at, len(f))
		}
	case FramePriority:
		add("http2.stream_dependency", strconv.Itoa(int(u32(0)&0x7fffffff)), "", 0, 4)
	case FrameRSTStream:
		add("http2.rst_stream.error", strconv.Itoa(int(u32(0))), ErrCode(u32(0)).String(), 0, 4)
	case FrameSettings:
		for ; at+6 <= len(p) && len(out) < 256; at += 6 {
			id, v := SettingID(binary.BigEndian.Uint16(p[at:])), u32(at+2)
			out = append(out, trace.Field{Name: "http2.settings", Value: fmt.Sprintf("%v = %d", id, v), Offset: FrameHeaderLen + at, Length: 6, Children: []trace.Field{
				{Name: "http2.settings.id", Value: strconv.Itoa(int(id)), Meaning: id.String(), Offset: FrameHeaderLen + at, Length: 2},
				{Name: "http2.settings.value", Value: strconv.FormatUint(uint64(v), 10), Offset: FrameHeaderLen + at + 2, Length: 4}}})
		}
	case FramePing:
		add("http2.ping", hex.EncodeToString(p[:min(len(p), 8)]), "", 0, 8)
	case FrameGoAway:
		add("http2.goaway.last_stream_id", strconv.Itoa(int(u32(0)&0x7fffffff)), "", 0, 4)
		add("http2.goaway.error", strconv.Itoa(int(u32(4))), ErrCode(u32(4)).String(), 4, 4)
		if len(p) > 8 {
			add("http2.goaway.addata", fmt.Sprintf("%q", p[8:min(len(p), 264)]), "", 8, len(p)-8)
		}
	case FrameWindowUpdate:
		add("http2.window_update.window_size_increment", strconv.Itoa(int(u32(0)&0x7fffffff)), "", 0, 4)
	default:
		add("http2.unknown", fmt.Sprintf("%d bytes", len(p)), "", 0, len(p))
	}
	return out
}
