package tlswire

import (
	"bytes"
	"crypto/x509"
	"fmt"

	"peel/trace"
)

// Fields describes a handshake message, with its 4-byte header, as a tree
// with byte ranges. version decides the form of messages that have two; of a
// message that is cut, what is there is described.
func Fields(version uint16, msg []byte) []trace.Field {
	t := newTree(msg)
	typ := HandshakeType(t.number("tls.handshake.type", 1, func(v int) string { return HandshakeType(v).String() }))
	t.number("tls.handshake.length", 3, nil)
	if len(msg) < 4 {
		t.remains()
		return t.out
	}
	switch typ {
	case TypeClientHello:
		t.hello(typ)
	case TypeServerHello:
		t.hello(typ)
	case TypeEncryptedExtensions:
		t.extensions(typ)
	case TypeCertificate:
		t.certificates(version)
	case TypeCertificateRequest:
		t.certificateRequest(version)
	case TypeCertificateVerify:
		t.signature()
	case TypeCertificateStatus:
		t.certificateStatus()
	case TypeCompressedCert:
		t.code("tls.compress_certificate.algorithm", CompressionName)
		t.number("tls.compress_certificate.uncompressed_length", 3, nil)
		t.vector("tls.compress_certificate.compressed_certificate_message", 3, nil)
	case TypeServerKeyExchange:
		t.serverKeyExchange()
	case TypeClientKeyExchange:
		t.clientKeyExchange()
	case TypeFinished:
		t.bytes("tls.handshake.verify_data", t.c.left())
	case TypeNewSessionTicket:
		t.number("tls.handshake.session_ticket_lifetime_hint", 4, func(v int) string { return fmt.Sprintf("%d s", v) })
		if version == version13 {
			t.number("tls.handshake.session_ticket_age_add", 4, nil)
			t.vector("tls.handshake.session_ticket_nonce", 1, nil)
		}
		t.vector("tls.handshake.session_ticket", 2, nil)
		if version == version13 {
			t.extensions(typ)
		}
	case TypeKeyUpdate:
		t.number("tls.handshake.key_update.request_update", 1, oneOf("update_not_requested", "update_requested"))
	}
	t.remains()
	return t.out
}

// RecordFields describes a record as it is on the wire: its 5-byte header and
// what it carries, which of most records is encrypted.
func RecordFields(rec []byte) []trace.Field {
	t := newTree(rec)
	typ := t.number("tls.record.content_type", 1, func(v int) string { return ContentTypeName(uint8(v)) })
	t.code("tls.record.version", VersionName)
	t.number("tls.record.length", 2, nil)
	if n := t.c.left(); n > 0 && !t.c.bad {
		switch {
		case typ == typeCCS && n == 1:
			t.bytes("tls.change_cipher_spec", n)
		case typ == typeAlert && n == 2:
			t.alert()
		case typ == typeHandshake:
			t.bytes("tls.handshake.fragment", n)
		default:
			t.bytes("tls.app_data", n)
		}
	}
	t.remains()
	return t.out
}

// AlertFields describes the two bytes of an alert.
func AlertFields(b []byte) []trace.Field {
	t := newTree(b)
	t.alert()
	t.remains()
	return t.out
}

func (t *tree) alert() {
	t.number("tls.alert_message.level", 1, oneOf("", "warning", "fatal"))
	t.number("tls.alert_message.desc", 1, func(v int) string { return AlertName(uint8(v)) })
}

func (t *tree) hello(typ HandshakeType) {
	t.code("tls.handshake.version", VersionName)
	at := t.c.pos
	t.bytes("tls.handshake.random", 32)
	if !t.c.bad && bytes.Equal(t.c.b[at:t.c.pos], helloRetryRandom) {
		t.out[len(t.out)-1].Meaning = "this is a HelloRetryRequest"
	}
	t.vector("tls.handshake.session_id", 1, nil)
	if typ == TypeClientHello {
		t.vector("tls.handshake.ciphersuites", 2, func(t *tree) { t.code("tls.handshake.ciphersuite", SuiteName) })
		t.vector("tls.handshake.comp_methods", 1, func(t *tree) { t.number("tls.handshake.comp_method", 1, oneOf("null", "DEFLATE")) })
	} else {
		t.code("tls.handshake.ciphersuite", SuiteName)
		t.number("tls.handshake.comp_method", 1, oneOf("null", "DEFLATE"))
	}
	t.extensions(typ)
}

func (t *tree) signature() {
	t.code("tls.handshake.sig_hash_alg", SignatureName)
	t.vector("tls.handshake.sig", 2, nil)
}

// serverKeyExchange finds the key exchange by trying: the message does not say
// it. Finite fields: RFC 5246 §7.4.3.
func (t *tree) serverKeyExchange() {
	start := *t.c
	ecdhe := func(c *cursor) bool {
		named := c.number(1) == namedCurve
		c.take(2)
		c.bytes(1)
		return named && signedOrNot(c)
	}
	dhe := func(c *cursor) bool {
		c.bytes(2)
		c.bytes(2)
		c.bytes(2)
		return signedOrNot(c)
	}
	if c := start; ecdhe(&c) {
		t.number("tls.handshake.server_curve_type", 1, oneOf("", "explicit_prime", "explicit_char2", "named_curve"))
		t.code("tls.handshake.server_named_curve", GroupName)
		t.vector("tls.handshake.server_point", 1, nil)
	} else if c := start; dhe(&c) {
		t.vector("tls.handshake.p", 2, nil)
		t.vector("tls.handshake.g", 2, nil)
		t.vector("tls.handshake.ys", 2, nil)
	} else {
		return
	}
	if t.c.left() > 0 {
		t.signature()
	}
}

// signedOrNot tells that a signature follows, or nothing.
func signedOrNot(c *cursor) bool {
	if c.left() > 0 {
		c.take(2)
		c.bytes(2)
	}
	return !c.bad && c.left() == 0
}

func (t *tree) clientKeyExchange() {
	n := t.c.left()
	b := t.c.rest()
	switch {
	case n > 1 && int(b[0]) == n-1:
		t.vector("tls.handshake.client_point", 1, nil)
	case n > 2 && int(b[0])<<8|int(b[1]) == n-2:
		t.vector("tls.handshake.epms", 2, nil)
		t.out[len(t.out)-1].Meaning = "the premaster secret, encrypted (RSA), or a public value (DHE)"
	}
}

func (t *tree) certificates(version uint16) {
	if version == version13 {
		t.vector("tls.handshake.certificate_request_context", 1, nil)
	}
	t.vector("tls.handshake.certificates", 3, func(t *tree) {
		from := t.c.pos
		v := t.c.vector(3)
		if t.c.bad {
			return
		}
		f := t.add("tls.handshake.certificate", fmt.Sprintf("%d bytes", v.left()), certificateSummary([][]byte{v.rest()}), from)
		f.Children = certificateFields(v.rest(), v.pos)
		if version == version13 {
			t.extensions(TypeCertificate)
		}
	})
}

// certificateFields describes the parts of a certificate that a person asks
// for first; at is where it stands in its message.
func certificateFields(der []byte, at int) []trace.Field {
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return []trace.Field{{Name: "x509af.certificate", Value: "not readable: " + err.Error(), Offset: at, Length: len(der)}}
	}
	issuer := max(bytes.Index(der, x.RawIssuer), 0)
	subject := issuer + len(x.RawIssuer)
	subject += max(bytes.Index(der[subject:], x.RawSubject), 0)
	whole := func(name, value string) trace.Field {
		return trace.Field{Name: name, Value: value, Offset: at, Length: len(der)}
	}
	const day = "2006-01-02 15:04:05 MST"
	out := []trace.Field{
		whole("x509af.serialNumber", x.SerialNumber.Text(16)),
		{Name: "x509af.issuer", Value: x.Issuer.String(), Offset: at + issuer, Length: len(x.RawIssuer)},
		whole("x509af.notBefore", x.NotBefore.UTC().Format(day)),
		whole("x509af.notAfter", x.NotAfter.UTC().Format(day)),
		{Name: "x509af.subject", Value: x.Subject.String(), Offset: at + subject, Length: len(x.RawSubject)},
		whole("x509af.algorithm", x.PublicKeyAlgorithm.String()+" key, signed with "+x.SignatureAlgorithm.String()),
	}
	const maxNames = 100
	for _, name := range x.DNSNames[:min(len(x.DNSNames), maxNames)] {
		out = append(out, whole("x509ce.dNSName", name))
	}
	for _, ip := range x.IPAddresses[:min(len(x.IPAddresses), maxNames)] {
		out = append(out, whole("x509ce.iPAddress", ip.String()))
	}
	return out
}

func (t *tree) certificateRequest(version uint16) {
	if version == version13 {
		t.vector("tls.handshake.certificate_request_context", 1, nil)
		t.extensions(TypeCertificateRequest)
		return
	}
	types := map[int]string{1: "rsa_sign", 2: "dss_sign", 64: "ecdsa_sign"}
	t.vector("tls.handshake.cert_types", 1, func(t *tree) {
		t.number("tls.handshake.cert_type", 1, func(v int) string { return types[v] })
	})
	t.vector("tls.handshake.sig_hash_algs", 2, func(t *tree) { t.code("tls.handshake.sig_hash_alg", SignatureName) })
	t.distinguishedNames()
}

func (t *tree) distinguishedNames() {
	t.vector("tls.handshake.dnames", 2, func(t *tree) { t.vector("tls.handshake.dname", 2, nil) })
}

// certificateStatus is that message, and the extension of a TLS 1.3
// certificate with the same content (RFC 8446 §4.4.2.1).
func (t *tree) certificateStatus() {
	if t.number("tls.handshake.extensions_status_request_type", 1, oneOf("", "ocsp", "ocsp_multi")) == 1 {
		t.vector("tls.handshake.ocsp_response", 3, nil)
	}
}
