package hpack

import "strconv"

// maxInteger is the largest integer that is read: what SETTINGS can say.
const maxInteger = 1<<32 - 1

// appendInteger appends v with a prefix of n bits (RFC 7541 §5.1); flags are
// the bits above the prefix.
func appendInteger(dst []byte, flags byte, n uint, v uint64) []byte {
	limit := uint64(1)<<n - 1
	if v < limit {
		return append(dst, flags|byte(v))
	}
	dst = append(dst, flags|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// readInteger reads the integer at pos with a prefix of n bits and returns
// the position after it. It takes at most five octets after the prefix, as
// RFC 7541 §5.1 asks for a limit in value and in length.
func readInteger(b []byte, pos int, n uint) (v uint64, next int, err error) {
	if pos >= len(b) {
		return 0, pos, &Error{Reason: ErrTruncated, Detail: "an integer is missing"}
	}
	limit := uint64(1)<<n - 1
	v = uint64(b[pos]) & limit
	pos++
	if v < limit {
		return v, pos, nil
	}
	for shift := uint(0); shift < 35; shift += 7 {
		if pos >= len(b) {
			return 0, pos, &Error{Reason: ErrTruncated, Detail: "an integer is cut off"}
		}
		c := b[pos]
		pos++
		v += uint64(c&0x7f) << shift
		if v > maxInteger {
			return 0, pos, &Error{Reason: ErrInteger, Detail: strconv.FormatUint(v, 10) + " is above 4294967295"}
		}
		if c < 0x80 {
			return v, pos, nil
		}
	}
	return 0, pos, &Error{Reason: ErrInteger, Detail: "it goes on after five octets"}
}

// appendString appends a string literal (RFC 7541 §5.2), compressed if that
// is shorter.
func appendString(dst []byte, s string) []byte {
	if n := huffmanLength(s); n < len(s) {
		return appendHuffman(appendInteger(dst, 0x80, 7, uint64(n)), s, n)
	}
	return append(appendInteger(dst, 0, 7, uint64(len(s))), s...)
}

// readString appends the string literal at pos to dst, decompressed, and
// returns the position after it.
func readString(dst, b []byte, pos int) (out []byte, huffman bool, next int, err error) {
	n, start, err := readInteger(b, pos, 7)
	if err != nil {
		return dst, false, pos, err
	}
	huffman = b[pos]&0x80 != 0
	if n > uint64(len(b)-start) {
		return dst, huffman, pos, &Error{Reason: ErrTruncated,
			Detail: "a string of " + strconv.FormatUint(n, 10) + " bytes, but only " + strconv.Itoa(len(b)-start) + " are there"}
	}
	next = start + int(n)
	if huffman {
		out, err = appendHuffmanDecoded(dst, b[start:next])
	} else {
		out = append(dst, b[start:next]...)
	}
	return out, huffman, next, err
}
