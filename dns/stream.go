package dns

import (
	"encoding/binary"
	"io"
	"slices"
)

// On a stream two octets with its length stand before each message
// (RFC 1035 §4.2.2).
const streamHead = 2

// AppendStream appends msg to b as a stream carries it. A message has
// MaxMessage octets at most.
func AppendStream(b, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(slices.Grow(b, streamHead+len(msg)), uint16(len(msg))), msg...)
}

// CutStream takes the first message off the bytes of a stream. It is not ok as
// long as the message is not whole.
func CutStream(b []byte) (msg, rest []byte, ok bool) {
	if len(b) < streamHead {
		return nil, b, false
	}
	end := streamHead + int(binary.BigEndian.Uint16(b))
	if len(b) < end {
		return nil, b, false
	}
	return b[streamHead:end:end], b[end:], true
}

// ReadStream reads the next message into buf's room, or into new room where
// that is too small. The error is io.EOF only between two messages.
func ReadStream(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) < streamHead {
		buf = make([]byte, 0, 512) // enough for nearly all, so that one allocation does
	}
	head := buf[:streamHead]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head))
	msg := slices.Grow(buf[:0], n)[:n]
	if _, err := io.ReadFull(r, msg); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return msg, nil
}
