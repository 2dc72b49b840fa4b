package tlswire

import "fmt"

// maxChain bounds the certificates of one message.
const maxChain = 64

// ParseCertificate returns the certificates of a Certificate message in DER,
// leaf first. They alias the message. Its form depends on the version (RFC
// 8446 §4.4.2, RFC 5246 §7.4.2).
func ParseCertificate(version uint16, msg []byte) ([][]byte, error) {
	c, err := body(msg, TypeCertificate)
	if err != nil {
		return nil, err
	}
	if version == version13 {
		c.bytes(1) // certificate_request_context
	}
	var out [][]byte
	list := c.vector(3)
	for list.more() && len(out) < maxChain {
		if der := list.bytes(3); !list.bad {
			out = append(out, der)
		}
		if version == version13 {
			list.bytes(2)
		}
	}
	if list.more() {
		return out, fmt.Errorf("tlswire: Certificate: more than %d certificates", maxChain)
	}
	c.bad = c.bad || list.bad
	return out, c.finish(TypeCertificate)
}

// CertificateRequest is what a server asks for (RFC 8446 §4.3.2, RFC 5246
// §7.4.4).
type CertificateRequest struct {
	Signatures  []uint16
	Authorities [][]byte // DER of distinguished names; aliases the message
}

// ParseCertificateRequest reads the message with its 4-byte header.
func ParseCertificateRequest(version uint16, msg []byte) (CertificateRequest, error) {
	var r CertificateRequest
	c, err := body(msg, TypeCertificateRequest)
	if err != nil {
		return r, err
	}
	names := func(c *cursor) {
		list := c.vector(2)
		for list.more() {
			r.Authorities = append(r.Authorities, list.bytes(2))
		}
		c.bad = c.bad || list.bad
	}
	c.bytes(1) // context, or certificate types
	if version != version13 {
		r.Signatures = c.numbers(2)
		names(&c)
		return r, c.finish(TypeCertificateRequest)
	}
	list := c.extensions()
	if err := c.finish(TypeCertificateRequest); err != nil {
		return r, err
	}
	return r, eachExtension(TypeCertificateRequest, list, func(id uint16, c *cursor) {
		switch id {
		case extSignatures:
			r.Signatures = c.numbers(2)
		case 47: // certificate_authorities
			names(c)
		}
	})
}

// SignatureScheme returns the scheme of a CertificateVerify message, or 0.
func SignatureScheme(msg []byte) uint16 {
	c, err := body(msg, TypeCertificateVerify)
	if err != nil {
		return 0
	}
	return uint16(c.number(2))
}

// CompressedCertificate is what that message says of itself (RFC 8879 §4). Its
// content is left packed.
type CompressedCertificate struct {
	Algorithm          uint16 // 1 zlib, 2 brotli, 3 zstd
	Length, Compressed int    // bytes without and with compression
	Packed             []byte // the message's content; aliases the message
}

// ParseCompressedCertificate reads the message with its 4-byte header.
func ParseCompressedCertificate(msg []byte) (CompressedCertificate, error) {
	c, err := body(msg, TypeCompressedCert)
	if err != nil {
		return CompressedCertificate{}, err
	}
	out := CompressedCertificate{Algorithm: uint16(c.number(2)), Length: c.number(3), Packed: c.bytes(3)}
	out.Compressed = len(out.Packed)
	return out, c.finish(TypeCompressedCert)
}
