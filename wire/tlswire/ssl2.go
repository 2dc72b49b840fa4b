package tlswire

import "errors"

// Hello2 is a ClientHello in the form of SSL 2.0, in which clients asked for
// SSL 3.0 and TLS 1.0 too as long as there were servers of the old (RFC 5246
// Appendix E.2).
type Hello2 struct {
	// Version is the highest that the client speaks.
	Version uint16
	// Suites counts the cipher suites offered.
	Suites int
}

// ErrShort says that more bytes are needed to tell.
var ErrShort = errors.New("tlswire: more bytes are needed")

// ParseHello2 reads a ClientHello in the form of SSL 2.0 off b, and returns how
// many bytes it takes. It fails with ErrShort on its beginning.
func ParseHello2(b []byte) (h Hello2, n int, err error) {
	bad := errors.New("tlswire: no ClientHello of SSL 2.0")
	head := [...]byte{0x80, 0, 1}
	for i := range min(len(b), len(head)) {
		if i != 1 && b[i] != head[i] {
			return h, 0, bad
		}
	}
	if len(b) < 11 {
		return h, 0, ErrShort
	}
	n = 2 + int(b[1])
	at := func(i int) int { return int(b[i])<<8 | int(b[i+1]) }
	h.Version, h.Suites = uint16(at(3)), at(5)/3
	if h.Version != 2 && h.Version>>8 != 3 || h.Suites == 0 || at(5)%3 != 0 || at(7) != 0 && at(7) != 16 || at(9) < 16 || at(9) > 32 || 11+at(5)+at(7)+at(9) != n {
		return h, 0, bad
	}
	if len(b) < n {
		return h, 0, ErrShort
	}
	return h, n, nil
}

// IsServerHello2 tells whether a server's first bytes are a SERVER-HELLO of SSL
// 2.0. It fails with ErrShort when they are too few.
func IsServerHello2(b []byte) (bool, error) {
	switch {
	case len(b) > 0 && b[0]&0x80 == 0, len(b) > 2 && b[2] != 4, len(b) > 5 && b[5] != 0, len(b) > 6 && b[6] != 2:
		return false, nil
	case len(b) < 7:
		return false, ErrShort
	}
	return true, nil
}
