package http1

import (
	"fmt"
	"strconv"

	"peel/wire/httpfield"
)

// AppendRequest appends a request's head to dst: its start line, its fields
// as they stand, and the empty line. It refuses what could not be read back
// as the same message.
func AppendRequest(dst []byte, h *Head) ([]byte, error) {
	if !httpfield.ValidName(h.Method) {
		return dst, fmt.Errorf("http1: method %s is not a token", quoted(h.Method))
	}
	var odd notes // a browser sends such characters too
	if _, _, detail, at := checkTarget(h.Method, h.Target, &odd); detail != "" {
		return dst, fmt.Errorf("http1: request target %s (at %d)", detail, at)
	}
	if err := checkVersion(h.Minor); err != nil {
		return dst, err
	}
	if err := checkFraming(h.Fields, h.Minor, false); err != nil {
		return dst, err
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
	if err := checkVersion(h.Minor); err != nil {
		return dst, err
	}
	if err := checkFraming(h.Fields, h.Minor, h.Status < 200 || h.Status == 204); err != nil {
		return dst, err
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

func checkVersion(minor int) error {
	if minor != 0 && minor != 1 {
		return fmt.Errorf("http1: version HTTP/1.%d: only 1.0 and 1.1 are written", minor)
	}
	return nil
}

// checkFraming refuses a head whose end two readers could see in different
// places (RFC 9112 §6.1, §6.2), or that must announce no body and does.
func checkFraming(l httpfield.List, minor int, none bool) error {
	lengths, codings := 0, 0
	for i := range l {
		switch f := &l[i]; {
		case httpfield.EqualName(f.Name, "Content-Length"):
			for j := 0; j < len(f.Value); j++ {
				if !digit(f.Value[j]) {
					return fmt.Errorf("http1: Content-Length is %s: not a number of bytes", quoted(f.Value))
				}
			}
			if lengths++; f.Value == "" || len(f.Value) > 18 {
				return fmt.Errorf("http1: Content-Length is %s: not a number of bytes", quoted(f.Value))
			}
		case httpfield.EqualName(f.Name, "Transfer-Encoding"):
			if codings++; !httpfield.EqualName(f.Value, "chunked") {
				return fmt.Errorf("http1: Transfer-Encoding %s: only chunked is written", quoted(f.Value))
			}
		}
	}
	switch {
	case lengths > 1 || codings > 1 || lengths > 0 && codings > 0:
		return fmt.Errorf("http1: %d Content-Length and %d Transfer-Encoding fields: at most one of both", lengths, codings)
	case codings > 0 && minor == 0:
		return fmt.Errorf("http1: Transfer-Encoding in HTTP/1.0")
	case none && lengths+codings > 0:
		return fmt.Errorf("http1: a 1xx or 204 response announces a body")
	}
	return nil
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
