package tlswire

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"peel/trace"
)

// tree builds fields while a cursor walks over the message.
type tree struct {
	c   *cursor
	out []trace.Field
}

func (t *tree) add(name, value, meaning string, from int) *trace.Field {
	t.out = append(t.out, trace.Field{Name: name, Value: value, Meaning: meaning, Offset: from, Length: t.c.pos - from})
	return &t.out[len(t.out)-1]
}

// number adds a number of n bytes, with what it means.
func (t *tree) number(name string, n int, meaning func(int) string) int {
	from := t.c.pos
	v := t.c.number(n)
	if t.c.bad {
		return 0
	}
	m := ""
	if meaning != nil {
		m = meaning(v)
	}
	t.add(name, strconv.Itoa(v), m, from)
	return v
}

// code adds a 16-bit number shown in hexadecimal with its name.
func (t *tree) code(name string, meaning func(uint16) string) {
	from := t.c.pos
	v := t.c.number(2)
	if !t.c.bad {
		t.add(name, fmt.Sprintf("0x%04x", v), meaning(uint16(v)), from)
	}
}

func (t *tree) bytes(name string, n int) {
	from := t.c.pos
	b := t.c.take(n)
	if !t.c.bad {
		t.add(name, shortHex(b), "", from)
	}
}

// vector adds a field for a vector with a length of n bytes, whose parts f
// adds as children.
func (t *tree) vector(name string, n int, f func(*tree)) {
	from := t.c.pos
	v := t.c.vector(n)
	if t.c.bad || v.bad {
		t.c.bad = true
		return
	}
	inner := &tree{c: v}
	for f != nil && v.left() > 0 && !v.bad {
		at := v.pos
		f(inner)
		if v.pos == at {
			break
		}
	}
	value := fmt.Sprintf("%d bytes", v.end-from-n)
	if f == nil {
		value = shortHex(v.rest())
	}
	t.add(name, value, "", from).Children = inner.out
}

func shortHex(b []byte) string {
	if len(b) > 32 {
		return hex.EncodeToString(b[:32]) + fmt.Sprintf("… (%d bytes)", len(b))
	}
	return hex.EncodeToString(b)
}

// Fields describes a handshake message, with its 4-byte header, as a tree
// with byte ranges. version decides the form of messages that have two; of a
// message that is cut, what is there is described.
func Fields(version uint16, msg []byte) []trace.Field {
	t := &tree{c: newCursor(msg)}
	typ := HandshakeType(t.number("tls.handshake.type", 1, func(v int) string { return HandshakeType(v).String() }))
	t.number("tls.handshake.length", 3, nil)
	switch typ {
	case TypeClientHello:
		t.hello(true)
	case TypeServerHello:
		t.hello(false)
	case TypeEncryptedExtensions:
		t.extensions()
	case TypeCertificate:
		t.certificates(version)
	case TypeCertificateRequest:
		t.certificateRequest(version)
	case TypeCertificateVerify:
		t.code("tls.handshake.sig_hash_alg", SignatureName)
		t.vector("tls.handshake.sig", 2, nil)
	case TypeServerKeyExchange:
		if t.number("tls.handshake.server_curve_type", 1, nil) == 3 {
			t.code("tls.handshake.server_named_curve", GroupName)
			t.vector("tls.handshake.server_point", 1, nil)
			t.code("tls.handshake.sig_hash_alg", SignatureName)
			t.vector("tls.handshake.sig", 2, nil)
		}
	case TypeClientKeyExchange:
		t.bytes("tls.handshake.client_point", t.c.left())
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
			t.extensions()
		}
	case TypeKeyUpdate:
		t.number("tls.handshake.key_update.request_update", 1, func(v int) string {
			return map[int]string{0: "update_not_requested", 1: "update_requested"}[v]
		})
	}
	if n := t.c.left(); n > 0 && !t.c.bad {
		t.bytes("tls.handshake.data", n)
	}
	return t.out
}

func version(v uint16) string { return VersionName(v) }

func (t *tree) hello(client bool) {
	t.code("tls.handshake.version", version)
	t.bytes("tls.handshake.random", 32)
	t.vector("tls.handshake.session_id", 1, nil)
	if client {
		t.vector("tls.handshake.ciphersuites", 2, func(t *tree) { t.code("tls.handshake.ciphersuite", SuiteName) })
		t.vector("tls.handshake.comp_methods", 1, func(t *tree) { t.number("tls.handshake.comp_method", 1, nil) })
	} else {
		t.code("tls.handshake.ciphersuite", SuiteName)
		t.number("tls.handshake.comp_method", 1, nil)
	}
	t.extensions()
}

func (t *tree) extensions() {
	if t.c.left() == 0 {
		return
	}
	t.vector("tls.handshake.extensions", 2, (*tree).extension)
}

func (t *tree) extension() {
	from := t.c.pos
	id := uint16(t.c.number(2))
	d := t.c.vector(2)
	if t.c.bad || d.bad {
		t.c.bad = true
		return
	}
	inner := &tree{c: d}
	inner.out = []trace.Field{
		{Name: "tls.handshake.extension.type", Value: strconv.Itoa(int(id)), Meaning: ExtensionName(id), Offset: from, Length: 2},
		{Name: "tls.handshake.extension.len", Value: strconv.Itoa(d.left()), Offset: from + 2, Length: 2},
	}
	inner.extensionData(id)
	if n := d.left(); n > 0 && !d.bad {
		inner.bytes("tls.handshake.extension.data", n)
	}
	t.add("tls.handshake.extension", ExtensionName(id), "", from).Children = inner.out
}

func (t *tree) extensionData(id uint16) {
	group := func(t *tree) { t.code("tls.handshake.extensions_supported_group", GroupName) }
	switch id {
	case 0:
		if t.c.left() > 0 {
			t.vector("tls.handshake.extensions_server_name_list", 2, func(t *tree) {
				t.number("tls.handshake.extensions_server_name_type", 1, nil)
				t.text("tls.handshake.extensions_server_name", 2)
			})
		}
	case 10:
		t.vector("tls.handshake.extensions_supported_groups", 2, group)
	case 11:
		t.vector("tls.handshake.extensions_ec_point_formats", 1, func(t *tree) { t.number("tls.handshake.extensions_ec_point_format", 1, nil) })
	case 13, 50:
		t.vector("tls.handshake.sig_hash_algs", 2, func(t *tree) { t.code("tls.handshake.sig_hash_alg", SignatureName) })
	case 16:
		t.vector("tls.handshake.extensions_alpn_list", 2, func(t *tree) { t.text("tls.handshake.extensions_alpn_str", 1) })
	case 43:
		if t.c.left() == 2 {
			t.code("tls.handshake.extensions.supported_version", version)
			return
		}
		t.vector("tls.handshake.extensions.supported_versions", 1, func(t *tree) { t.code("tls.handshake.extensions.supported_version", version) })
	case 45:
		t.vector("tls.extension.psk_ke_modes", 1, func(t *tree) {
			t.number("tls.extension.psk_ke_mode", 1, func(v int) string { return map[int]string{0: "psk_ke", 1: "psk_dhe_ke"}[v] })
		})
	case 51:
		t.keyShare()
	}
}

// keyShare is a list in a ClientHello, one share in a ServerHello and a group
// alone in a HelloRetryRequest (RFC 8446 §4.2.8).
func (t *tree) keyShare() {
	share := func(t *tree) {
		t.code("tls.handshake.extensions_key_share_group", GroupName)
		t.vector("tls.handshake.extensions_key_share_key_exchange", 2, nil)
	}
	n := t.c.left()
	switch {
	case n == 2:
		t.code("tls.handshake.extensions_key_share_selected_group", GroupName)
	case n > 4 && int(t.c.b[t.c.pos])<<8|int(t.c.b[t.c.pos+1]) == n-2:
		t.vector("tls.handshake.extensions_key_share_client", 2, share)
	default:
		share(t)
	}
}

func (t *tree) text(name string, n int) {
	from := t.c.pos
	v := t.c.vector(n)
	if t.c.bad || v.bad {
		t.c.bad = true
		return
	}
	t.add(name, string(v.rest()), "", from)
}

func (t *tree) certificates(version uint16) {
	if version == version13 {
		t.vector("tls.handshake.certificate_request_context", 1, nil)
	}
	t.vector("tls.handshake.certificates", 3, func(t *tree) {
		from := t.c.pos
		v := t.c.vector(3)
		if t.c.bad || v.bad {
			t.c.bad = true
			return
		}
		t.add("tls.handshake.certificate", fmt.Sprintf("%d bytes", v.left()), certificateSummary([][]byte{v.rest()}), from)
		if version == version13 {
			t.vector("tls.handshake.extensions", 2, (*tree).extension)
		}
	})
}

func (t *tree) certificateRequest(version uint16) {
	if version == version13 {
		t.vector("tls.handshake.certificate_request_context", 1, nil)
		t.extensions()
		return
	}
	t.vector("tls.handshake.cert_types", 1, func(t *tree) { t.number("tls.handshake.cert_type", 1, nil) })
	t.vector("tls.handshake.sig_hash_algs", 2, func(t *tree) { t.code("tls.handshake.sig_hash_alg", SignatureName) })
	t.vector("tls.handshake.dnames", 2, func(t *tree) { t.vector("tls.handshake.dname", 2, nil) })
}

// AlertFields describes the two bytes of an alert.
func AlertFields(b []byte) []trace.Field {
	t := &tree{c: newCursor(b)}
	t.number("tls.alert_message.level", 1, func(v int) string { return map[int]string{1: "warning", 2: "fatal"}[v] })
	t.number("tls.alert_message.desc", 1, func(v int) string { return AlertName(uint8(v)) })
	return t.out
}
