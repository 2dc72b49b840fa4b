package http1

import (
	"fmt"
	"strconv"

	"peel/httpfield"
)

// AppendRequest appends a request's head to dst: its start line, its fields
// as they stand, and the empty line. It refuses what could not be read back
// as the same message.
func AppendRequest(dst []byte, h *Head) ([]byte, error) {
	if !httpfield.ValidName(h.Method) {
		return dst, fmt.Errorf("http1: method %s is not a token", quoted(h.Method))
	}
	if h.Target == "" {
		return dst, fmt.Errorf("http1: empty request target")
	}
	for i := 0; i < len(h.Target); i++ {
		if c := h.Target[i]; c <= ' ' || c == 0x7f {
			return dst, fmt.Errorf("http1: byte 0x%02x at %d of the request target", c, i)
		}
	}
	n := len(dst)
	dst = append(dst, h.Method...)
	dst = append(dst, ' ')
	dst = append(dst, h.Target...)
	dst = append(dst, " HTTP/1."...)
	dst = append(dst, byte('0'+h.Minor), '\r', '\n')
	return appendFields(dst, n, h.Fields)
}

// AppendResponse appends a response's head to dst.
func AppendResponse(dst []byte, h *Head) ([]byte, error) {
	if h.Status < 100 || h.Status > 999 {
		return dst, fmt.Errorf("http1: status %d is not of three digits", h.Status)
	}
	if !httpfield.ValidValue(h.Reason) {
		return dst, fmt.Errorf("http1: reason phrase %s", quoted(h.Reason))
	}
	n := len(dst)
	dst = append(dst, "HTTP/1."...)
	dst = append(dst, byte('0'+h.Minor), ' ')
	dst = strconv.AppendInt(dst, int64(h.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, h.Reason...)
	dst = append(dst, '\r', '\n')
	return appendFields(dst, n, h.Fields)
}

// appendFields appends field lines and the empty line; on error it returns
// dst as it was before the message, which began at start.
func appendFields(dst []byte, start int, l httpfield.List) ([]byte, error) {
	for i := range l {
		f := &l[i]
		if !httpfield.ValidName(f.Name) {
			return dst[:start], fmt.Errorf("http1: field name %s is not a token", quoted(f.Name))
		}
		if !httpfield.ValidValue(f.Value) {
			return dst[:start], fmt.Errorf("http1: value of %s: control bytes or white space at an end: %s", f.Name, quoted(f.Value))
		}
		dst = append(dst, f.Name...)
		dst = append(dst, ':', ' ')
		dst = append(dst, f.Value...)
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n'), nil
}

// AppendChunk appends p as one chunk (RFC 9112 §7.1). An empty p appends
// nothing: an empty chunk would end the body.
func AppendChunk(dst, p []byte) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(p)), 16)
	dst = append(dst, '\r', '\n')
	dst = append(dst, p...)
	return append(dst, '\r', '\n')
}

// AppendLastChunk appends the last chunk and the trailer section.
func AppendLastChunk(dst []byte, trailer httpfield.List) ([]byte, error) {
	n := len(dst)
	for _, f := range trailer {
		if forbiddenTrailer(f.Name) {
			return dst, fmt.Errorf("http1: %s is not allowed as a trailer field", f.Name)
		}
	}
	return appendFields(append(dst, '0', '\r', '\n'), n, trailer)
}
