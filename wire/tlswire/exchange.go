package tlswire

import "fmt"

// ServerKeyExchange is what matters of that message with an ECDHE key
// exchange (RFC 8422 §5.4). PublicKey aliases the message.
type ServerKeyExchange struct {
	Group, Signature uint16
	PublicKey        []byte
}

const namedCurve = 3

// ParseServerKeyExchange reads the message with its 4-byte header. It fails on
// what names no curve: the message does not say which key exchange it is of.
func ParseServerKeyExchange(msg []byte) (ServerKeyExchange, error) {
	var k ServerKeyExchange
	c, err := body(msg, TypeServerKeyExchange)
	if err != nil {
		return k, err
	}
	if c.number(1) != namedCurve {
		return k, fmt.Errorf("tlswire: ServerKeyExchange: no named curve")
	}
	k.Group = uint16(c.number(2))
	k.PublicKey = c.bytes(1)
	if c.left() > 0 { // an anonymous or pre-shared key exchange is not signed
		k.Signature = uint16(c.number(2))
		c.bytes(2)
	}
	return k, c.finish(TypeServerKeyExchange)
}

// NewSessionTicket is what matters of that message in TLS 1.3 (RFC 8446
// §4.6.1). Slices alias the message.
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
	if version != version13 {
		t.Ticket = c.bytes(2)
		return t, c.finish(TypeNewSessionTicket)
	}
	t.AgeAdd = uint32(c.number(4))
	t.Nonce = c.bytes(1)
	t.Ticket = c.bytes(2)
	list := c.extensions()
	if err := c.finish(TypeNewSessionTicket); err != nil {
		return t, err
	}
	return t, eachExtension(TypeNewSessionTicket, list, func(id uint16, c *cursor) {
		if id == extEarlyData {
			t.MaxEarlyData = uint32(c.number(4))
		}
	})
}
