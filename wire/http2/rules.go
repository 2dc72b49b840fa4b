package http2

import (
	"encoding/binary"
	"fmt"

	"peel/wire/httpfield"
)

// CheckFrame checks a frame by itself (RFC 9113 §6): what can be said without
// knowing what came before. What is wrong with it ends the connection with
// that code; it is empty when nothing is.
func CheckFrame(h FrameHeader, p []byte) (code ErrCode, what string) {
	size := func(n int) (ErrCode, string) {
		return ErrCodeFrameSize, fmt.Sprintf("%v of %d bytes, not %d", h.Type, len(p), n)
	}
	switch h.Type {
	case FrameData, FrameHeaders, FramePriority, FrameRSTStream, FramePushPromise, FrameContinuation:
		if h.StreamID == 0 {
			return ErrCodeProtocol, h.Type.String() + " on stream 0"
		}
	case FrameSettings, FramePing, FrameGoAway:
		if h.StreamID != 0 {
			return ErrCodeProtocol, fmt.Sprintf("%v on stream %d", h.Type, h.StreamID)
		}
	}
	switch h.Type {
	case FrameData:
		if _, err := DataPayload(h, p); err != nil {
			return ErrCodeProtocol, err.Error()
		}
	case FrameHeaders, FramePushPromise:
		if _, _, err := HeaderFragment(h, p); err != nil {
			return ErrCodeProtocol, err.Error()
		}
	case FrameRSTStream, FrameWindowUpdate:
		if len(p) != 4 {
			return size(4)
		}
		if h.Type == FrameWindowUpdate && h.StreamID == 0 && binary.BigEndian.Uint32(p)&0x7fffffff == 0 {
			return ErrCodeProtocol, "WINDOW_UPDATE of 0 for the connection"
		}
	case FrameSettings:
		return checkSettings(h, p)
	case FramePing:
		if len(p) != 8 {
			return size(8)
		}
	case FrameGoAway:
		if _, err := ParseGoAway(p); err != nil {
			return ErrCodeFrameSize, err.Error()
		}
	}
	return 0, ""
}

func checkSettings(h FrameHeader, p []byte) (ErrCode, string) {
	if h.Flags.Has(FlagAck) {
		if len(p) != 0 {
			return ErrCodeFrameSize, "SETTINGS ACK with a payload"
		}
		return 0, ""
	}
	if len(p)%6 != 0 {
		return ErrCodeFrameSize, fmt.Sprintf("SETTINGS of %d bytes, not a multiple of 6", len(p))
	}
	for ; len(p) > 0; p = p[6:] {
		switch id, v := SettingID(binary.BigEndian.Uint16(p)), binary.BigEndian.Uint32(p[2:]); {
		case id == SettingEnablePush && v > 1:
			return ErrCodeProtocol, fmt.Sprintf("ENABLE_PUSH is %d", v)
		case id == SettingInitialWindowSize && v > maxWindow:
			return ErrCodeFlowControl, fmt.Sprintf("INITIAL_WINDOW_SIZE is %d, above 2^31-1", v)
		// A value of 0 made more than one implementation loop without end.
		case id == SettingMaxFrameSize && (v < 16384 || v > 1<<24-1):
			return ErrCodeProtocol, fmt.Sprintf("MAX_FRAME_SIZE is %d, outside of 16,384 to 16,777,215", v)
		}
	}
	return 0, ""
}

// CheckResponse checks the head of a response (RFC 9113 §8.2, §8.3.2), final
// or not. length is that of its content-length, -1 when it has none; what is
// empty when nothing is wrong.
func CheckResponse(l httpfield.List) (status int, length int64, what string) {
	length = -1
	for i := range l {
		f := &l[i]
		if len(f.Name) > 0 && f.Name[0] == ':' {
			if f.Name != ":status" || i > 0 || status != 0 {
				return status, length, "pseudo-header " + quoted(f.Name) + " where it may not stand"
			}
			v := f.Value
			if len(v) != 3 || v[0] < '1' || v[0] > '9' || v[1] < '0' || v[1] > '9' || v[2] < '0' || v[2] > '9' {
				return status, length, ":status is " + quoted(v)
			}
			status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
			continue
		}
		if what := CheckField(f); what != "" {
			return status, length, what
		}
		if f.Name == "content-length" && status >= 200 {
			if what := contentLength(f.Value, &length); what != "" {
				return status, length, what
			}
		}
	}
	switch status {
	case 0:
		return status, length, "a response without :status"
	case 101:
		return status, length, "status 101, which HTTP/2 does not have"
	}
	return status, length, ""
}

// Bodiless says why the response to a request with that method has no body
// (RFC 9110 §6.4.1), or "".
func Bodiless(method string, status int) string {
	switch {
	case method == "HEAD":
		return "the response to HEAD"
	case status == 204, status == 304:
		return fmt.Sprintf("a response with status %d", status)
	}
	return ""
}

// CheckTrailers checks trailer fields (RFC 9113 §8.1); end tells that they end
// the stream.
func CheckTrailers(l httpfield.List, end bool) string {
	if !end {
		return "a second HEADERS frame that does not end the stream"
	}
	for i := range l {
		if len(l[i].Name) > 0 && l[i].Name[0] == ':' {
			return "pseudo-header " + quoted(l[i].Name) + " in trailers"
		}
		if what := CheckField(&l[i]); what != "" {
			return what
		}
	}
	return ""
}

// LengthMismatch says what is wrong with a body of got bytes whose
// content-length is another.
func LengthMismatch(length, got int64) string {
	return fmt.Sprintf("content-length announces %d bytes, but %d came", length, got)
}

// HasBody says what is wrong with a body of got bytes where there may be none;
// of is what Bodiless says.
func HasBody(of string, got int64) string {
	return fmt.Sprintf("%s has no body, but %d bytes came", of, got)
}

// contentLength reads a content-length field.
func contentLength(v string, length *int64) string {
	n := int64(0)
	for i := 0; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' || i >= 18 {
			return "content-length is " + quoted(v)
		}
		n = n*10 + int64(v[i]-'0')
	}
	if v == "" || *length >= 0 && *length != n {
		return "content-length is " + quoted(v)
	}
	*length = n
	return ""
}

// CheckField checks one field (RFC 9113 §8.2) and returns what is wrong.
func CheckField(f *httpfield.Field) string {
	for i := 0; i < len(f.Name); i++ {
		if b := f.Name[i]; b >= 'A' && b <= 'Z' {
			return "the field name " + quoted(f.Name) + " has upper-case letters"
		}
	}
	if !httpfield.ValidName(f.Name) {
		return quoted(f.Name) + " is not a field name"
	}
	if !httpfield.ValidValue(f.Value) {
		return "the value of " + f.Name + " has control bytes or white space at an end"
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return f.Name + " is a field of HTTP/1 connections (RFC 9113 §8.2.2)"
	case "te":
		if f.Value != "trailers" {
			return "te is " + quoted(f.Value) + ", not trailers"
		}
	}
	return ""
}

func quoted(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Sprintf("%q", s)
}
