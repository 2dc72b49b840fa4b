package tlswire

import "bytes"

// Extensions that the hellos are read for (IANA, TLS ExtensionType Values).
const (
	extServerName        = 0
	extStatusRequest     = 5
	extSupportedGroups   = 10
	extPointFormats      = 11
	extSignatures        = 13
	extALPN              = 16
	extEncryptThenMAC    = 22
	extSessionTicket     = 35
	extPreSharedKey      = 41
	extEarlyData         = 42
	extSupportedVersions = 43
	extKeyShare          = 51
	extECH               = 0xfe0d
)

// ClientHello is what matters of that message (RFC 8446 §4.1.2, RFC 5246
// §7.4.1.2). Byte slices alias the message. Values of GREASE are left in: see
// IsGREASE.
type ClientHello struct {
	Random, SessionID []byte
	CipherSuites      []uint16
	Extensions        []Extension // in wire order
	ServerName        string
	ALPN              []string
	Versions          []uint16 // supported_versions, or the one in the head
	Groups            []uint16
	KeyShares         []KeyShare
	Signatures        []uint16
	PSKs              int // identities in pre_shared_key
	// Ticket is a session ticket offered in TLS 1.2 (RFC 5077).
	Ticket         []byte
	EarlyData      bool
	EncryptThenMAC bool
	ECH            bool // encrypted_client_hello is there, for real or as GREASE
}

// KeyShare is one key share; Length is that of the key in bytes.
type KeyShare struct {
	Group  uint16
	Length int
}

// ParseClientHello reads a ClientHello with its 4-byte header. With an error,
// what could be read is given too; Random is nil only when there is nothing.
func ParseClientHello(msg []byte) (ClientHello, error) {
	var h ClientHello
	c, err := body(msg, TypeClientHello)
	if err != nil {
		return h, err
	}
	h.Versions = []uint16{uint16(c.number(2))}
	h.Random = c.take(32)
	h.SessionID = c.bytes(1)
	h.CipherSuites = c.numbers(2)
	c.bytes(1) // compression methods
	h.Extensions = c.extensions()
	if err := c.finish(TypeClientHello); err != nil {
		return h, err
	}
	return h, eachExtension(TypeClientHello, h.Extensions, h.extension)
}

func (h *ClientHello) extension(id uint16, c *cursor) {
	switch id {
	case extServerName:
		list := c.vector(2)
		for list.more() {
			if typ, name := list.number(1), list.bytes(2); typ == 0 && h.ServerName == "" {
				h.ServerName = string(name)
			}
		}
		c.bad = c.bad || list.bad
	case extSupportedGroups:
		h.Groups = c.numbers(2)
	case extSignatures:
		h.Signatures = c.numbers(2)
	case extALPN:
		h.ALPN = c.protocols()
	case extEncryptThenMAC:
		h.EncryptThenMAC = true
	case extSessionTicket:
		h.Ticket = c.rest()
	case extPreSharedKey:
		list := c.vector(2)
		for ; list.more(); h.PSKs++ {
			list.bytes(2)
			list.take(4)
		}
		c.bytes(2) // binders
		c.bad = c.bad || list.bad
	case extEarlyData:
		h.EarlyData = true
	case extSupportedVersions:
		h.Versions = c.numbers(1)
	case extKeyShare:
		list := c.vector(2)
		for list.more() {
			h.KeyShares = append(h.KeyShares, KeyShare{uint16(list.number(2)), len(list.bytes(2))})
		}
		c.bad = c.bad || list.bad
	case extECH:
		h.ECH = true
	}
}

// ServerHello is what matters of that message. A HelloRetryRequest is a
// ServerHello with a fixed random (RFC 8446 §4.1.3).
type ServerHello struct {
	Version           uint16 // the one selected
	Random, SessionID []byte
	CipherSuite       uint16
	Extensions        []Extension
	HelloRetryRequest bool
	// Group is of the key share, or the one that a HelloRetryRequest wants.
	Group uint16
	// PSK tells that a pre-shared key was selected, and PSKIndex which: a
	// resumption in TLS 1.3.
	PSK            bool
	PSKIndex       int
	ALPN           string // TLS 1.2 only
	EncryptThenMAC bool
}

// helloRetryRandom is SHA-256 of "HelloRetryRequest".
var helloRetryRandom = []byte{0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c}

// isDraft13 tells the versions that drafts of TLS 1.3 had.
func isDraft13(v uint16) bool { return v>>8 == 0x7f }

// ParseServerHello reads a ServerHello with its 4-byte header. With an error,
// what could be read is given too.
func ParseServerHello(msg []byte) (ServerHello, error) {
	var h ServerHello
	c, err := body(msg, TypeServerHello)
	if err != nil {
		return h, err
	}
	h.Version = uint16(c.number(2))
	h.Random = c.take(32)
	short := isDraft13(h.Version) // of which the older ones have less
	if !short {
		h.SessionID = c.bytes(1)
	}
	h.CipherSuite = uint16(c.number(2))
	if !short {
		c.number(1) // compression method
	}
	h.Extensions = c.extensions()
	if err := c.finish(TypeServerHello); err != nil {
		return h, err
	}
	h.HelloRetryRequest = bytes.Equal(h.Random, helloRetryRandom)
	return h, eachExtension(TypeServerHello, h.Extensions, func(id uint16, c *cursor) {
		switch id {
		case extALPN:
			h.ALPN = first(c.protocols())
		case extEncryptThenMAC:
			h.EncryptThenMAC = true
		case extPreSharedKey:
			h.PSK, h.PSKIndex = true, c.number(2)
		case extSupportedVersions:
			h.Version = uint16(c.number(2))
		case extKeyShare:
			h.Group = uint16(c.number(2))
		}
	})
}

// EncryptedExtensions is what matters of that message (RFC 8446 §4.3.1).
type EncryptedExtensions struct {
	Extensions []Extension
	ALPN       string
	EarlyData  bool // the server takes it
}

// ParseEncryptedExtensions reads the message with its 4-byte header.
func ParseEncryptedExtensions(msg []byte) (EncryptedExtensions, error) {
	var h EncryptedExtensions
	c, err := body(msg, TypeEncryptedExtensions)
	if err != nil {
		return h, err
	}
	h.Extensions = c.extensions()
	if err := c.finish(TypeEncryptedExtensions); err != nil {
		return h, err
	}
	return h, eachExtension(TypeEncryptedExtensions, h.Extensions, func(id uint16, c *cursor) {
		switch id {
		case extALPN:
			h.ALPN = first(c.protocols())
		case extEarlyData:
			h.EarlyData = true
		}
	})
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
