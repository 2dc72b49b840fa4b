package tlswire

import (
	"bytes"
	"fmt"
)

// cursor walks over a message. After a read past the end it is bad, and gives
// zeros.
type cursor struct {
	b   []byte
	pos int
	end int
	bad bool
}

func newCursor(b []byte) *cursor { return &cursor{b: b, end: len(b)} }

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || c.end-c.pos < n {
		c.bad = true
		return nil
	}
	c.pos += n
	return c.b[c.pos-n : c.pos]
}

func (c *cursor) number(n int) int {
	v := 0
	for _, x := range c.take(n) {
		v = v<<8 | int(x)
	}
	return v
}

// vector reads a length of n bytes and returns a cursor over what follows.
func (c *cursor) vector(n int) *cursor {
	size := c.number(n)
	start := c.pos
	if c.take(size) == nil && size > 0 {
		return &cursor{bad: true}
	}
	return &cursor{b: c.b, pos: start, end: start + size}
}

func (c *cursor) left() int { return c.end - c.pos }

func (c *cursor) rest() []byte { return c.b[c.pos:c.end] }

// body checks a message's header and returns a cursor over its body.
func body(msg []byte, want HandshakeType) (*cursor, error) {
	if len(msg) < 4 {
		return nil, fmt.Errorf("tlswire: a handshake message of %d bytes", len(msg))
	}
	if HandshakeType(msg[0]) != want {
		return nil, fmt.Errorf("tlswire: %v where %v was expected", HandshakeType(msg[0]), want)
	}
	c := newCursor(msg)
	c.take(1)
	if size := c.number(3); size != len(msg)-4 {
		return nil, fmt.Errorf("tlswire: %v: length %d, but %d bytes are there", want, size, len(msg)-4)
	}
	return c, nil
}

func short(t HandshakeType, c *cursor) error {
	return fmt.Errorf("tlswire: %v ends too early, at byte %d", t, c.pos)
}

// Extension is one extension; Data aliases the message.
type Extension struct {
	ID   uint16
	Data []byte
}

func extensions(c *cursor) ([]Extension, bool) {
	if c.left() == 0 {
		return nil, true
	}
	v := c.vector(2)
	var out []Extension
	for v.left() > 0 && !v.bad && len(out) < 128 {
		id := uint16(v.number(2))
		d := v.vector(2)
		if d.bad {
			return out, false
		}
		out = append(out, Extension{id, d.rest()})
	}
	return out, !v.bad && v.left() == 0
}

// ClientHello is what matters of that message (RFC 8446 §4.1.2). Slices alias
// the message.
type ClientHello struct {
	Random, SessionID []byte
	CipherSuites      []uint16
	Extensions        []Extension
	ServerName        string
	ALPN              []string
	Versions          []uint16
	Groups            []uint16
	KeyShares         []uint16
	Signatures        []uint16
	PSKs              int
	// Ticket is a session ticket offered in TLS 1.2 (RFC 5077).
	Ticket         []byte
	EarlyData      bool
	EncryptThenMAC bool
	ECH            bool
}

// ParseClientHello reads a ClientHello with its 4-byte header.
func ParseClientHello(msg []byte) (ClientHello, error) {
	var h ClientHello
	c, err := body(msg, TypeClientHello)
	if err != nil {
		return h, err
	}
	h.Versions = []uint16{uint16(c.number(2))}
	h.Random = c.take(32)
	h.SessionID = c.vector(1).rest()
	h.CipherSuites = numbers(c.vector(2))
	c.vector(1)
	var ok bool
	if h.Extensions, ok = extensions(c); c.bad || !ok {
		return h, short(TypeClientHello, c)
	}
	for _, e := range h.Extensions {
		v := newCursor(e.Data)
		switch e.ID {
		case 0:
			list := v.vector(2)
			if list.number(1) == 0 {
				h.ServerName = string(list.vector(2).rest())
			}
		case 10:
			h.Groups = numbers(v.vector(2))
		case 13:
			h.Signatures = numbers(v.vector(2))
		case 16:
			h.ALPN = protocols(v)
		case 22:
			h.EncryptThenMAC = true
		case 35:
			h.Ticket = e.Data
		case 41:
			for list := v.vector(2); list.left() > 0 && !list.bad; h.PSKs++ {
				list.vector(2)
				list.take(4)
			}
		case 42:
			h.EarlyData = true
		case 43:
			h.Versions = numbers(v.vector(1))
		case 51:
			for list := v.vector(2); list.left() > 0 && !list.bad; {
				h.KeyShares = append(h.KeyShares, uint16(list.number(2)))
				list.vector(2)
			}
		case 0xfe0d:
			h.ECH = true
		}
	}
	return h, nil
}

func numbers(c *cursor) []uint16 {
	var out []uint16
	for c.left() >= 2 && !c.bad {
		out = append(out, uint16(c.number(2)))
	}
	return out
}

func protocols(c *cursor) []string {
	var out []string
	for list := c.vector(2); list.left() > 0 && !list.bad; {
		out = append(out, string(list.vector(1).rest()))
	}
	return out
}

// ServerHello is what matters of that message. A HelloRetryRequest is a
// ServerHello with a fixed random (RFC 8446 §4.1.3).
type ServerHello struct {
	Version           uint16
	Random, SessionID []byte
	CipherSuite       uint16
	Extensions        []Extension
	HelloRetryRequest bool
	// Group is of the key share, or the one that a HelloRetryRequest wants.
	Group uint16
	// PSK tells that a pre-shared key was selected: a resumption in TLS 1.3.
	PSK            bool
	ALPN           string // TLS 1.2 only
	EncryptThenMAC bool
}

var helloRetryRandom = []byte{0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c}

// ParseServerHello reads a ServerHello with its 4-byte header.
func ParseServerHello(msg []byte) (ServerHello, error) {
	var h ServerHello
	c, err := body(msg, TypeServerHello)
	if err != nil {
		return h, err
	}
	h.Version = uint16(c.number(2))
	h.Random = c.take(32)
	h.SessionID = c.vector(1).rest()
	h.CipherSuite = uint16(c.number(2))
	c.take(1)
	var ok bool
	if h.Extensions, ok = extensions(c); c.bad || !ok {
		return h, short(TypeServerHello, c)
	}
	h.HelloRetryRequest = bytes.Equal(h.Random, helloRetryRandom)
	for _, e := range h.Extensions {
		v := newCursor(e.Data)
		switch e.ID {
		case 16:
			if l := protocols(v); len(l) > 0 {
				h.ALPN = l[0]
			}
		case 22:
			h.EncryptThenMAC = true
		case 41:
			h.PSK = true
		case 43:
			h.Version = uint16(v.number(2))
		case 51:
			h.Group = uint16(v.number(2))
		}
	}
	return h, nil
}

// EncryptedExtensions is what matters of that message (RFC 8446 §4.3.1).
type EncryptedExtensions struct {
	Extensions []Extension
	ALPN       string
	EarlyData  bool
}

// ParseEncryptedExtensions reads the message with its 4-byte header.
func ParseEncryptedExtensions(msg []byte) (EncryptedExtensions, error) {
	var h EncryptedExtensions
	c, err := body(msg, TypeEncryptedExtensions)
	if err != nil {
		return h, err
	}
	var ok bool
	if h.Extensions, ok = extensions(c); c.bad || !ok {
		return h, short(TypeEncryptedExtensions, c)
	}
	for _, e := range h.Extensions {
		switch e.ID {
		case 16:
			if l := protocols(newCursor(e.Data)); len(l) > 0 {
				h.ALPN = l[0]
			}
		case 42:
			h.EarlyData = true
		}
	}
	return h, nil
}

// maxChain bounds the certificates of one message.
const maxChain = 64

// ParseCertificate returns the certificates of a Certificate message in DER,
// leaf first. Its form depends on the version (RFC 8446 §4.4.2, RFC 5246
// §7.4.2).
func ParseCertificate(version uint16, msg []byte) ([][]byte, error) {
	c, err := body(msg, TypeCertificate)
	if err != nil {
		return nil, err
	}
	if version == version13 {
		c.vector(1)
	}
	var out [][]byte
	list := c.vector(3)
	for list.left() > 0 && !list.bad && len(out) < maxChain {
		der := list.vector(3)
		if der.bad {
			break
		}
		out = append(out, der.rest())
		if version == version13 {
			list.vector(2)
		}
	}
	if c.bad || list.bad {
		return out, short(TypeCertificate, c)
	}
	return out, nil
}

// SignatureScheme returns the scheme of a CertificateVerify message, or 0.
func SignatureScheme(msg []byte) uint16 {
	c, err := body(msg, TypeCertificateVerify)
	if err != nil {
		return 0
	}
	return uint16(c.number(2))
}

// ServerKeyExchange is what matters of that message with an ECDHE key
// exchange (RFC 8422 §5.4).
type ServerKeyExchange struct {
	Group, Signature uint16
	PublicKey        []byte
}

// ParseServerKeyExchange reads the message with its 4-byte header. It fails on
// curves that are not named.
func ParseServerKeyExchange(msg []byte) (ServerKeyExchange, error) {
	var k ServerKeyExchange
	c, err := body(msg, TypeServerKeyExchange)
	if err != nil {
		return k, err
	}
	if c.number(1) != 3 {
		return k, fmt.Errorf("tlswire: ServerKeyExchange without a named curve")
	}
	k.Group = uint16(c.number(2))
	k.PublicKey = c.vector(1).rest()
	k.Signature = uint16(c.number(2))
	if c.bad {
		return k, short(TypeServerKeyExchange, c)
	}
	return k, nil
}

// NewSessionTicket is what matters of that message in TLS 1.3 (RFC 8446
// §4.6.1).
type NewSessionTicket struct {
	Lifetime      uint32 // seconds
	AgeAdd        uint32
	Nonce, Ticket []byte
	MaxEarlyData  uint32 // bytes; 0 when not allowed
}

// ParseNewSessionTicket reads the message with its 4-byte header; in TLS 1.2
// it has a lifetime and a ticket only (RFC 5077 §3.3).
func ParseNewSessionTicket(version uint16, msg []byte) (NewSessionTicket, error) {
	var t NewSessionTicket
	c, err := body(msg, TypeNewSessionTicket)
	if err != nil {
		return t, err
	}
	t.Lifetime = uint32(c.number(4))
	if version == version13 {
		t.AgeAdd = uint32(c.number(4))
		t.Nonce = c.vector(1).rest()
	}
	t.Ticket = c.vector(2).rest()
	exts, ok := extensions(c)
	for _, e := range exts {
		if e.ID == 42 {
			t.MaxEarlyData = uint32(newCursor(e.Data).number(4))
		}
	}
	if c.bad || !ok {
		return t, short(TypeNewSessionTicket, c)
	}
	return t, nil
}
