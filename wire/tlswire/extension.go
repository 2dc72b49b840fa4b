package tlswire

import (
	"fmt"
	"strconv"
	"time"

	"peel/trace"
)

func (t *tree) extensions(in HandshakeType) {
	if t.c.left() > 0 && !t.c.bad {
		t.vector("tls.handshake.extensions", 2, func(t *tree) { t.extension(in) })
	}
}

func (t *tree) extension(in HandshakeType) {
	from := t.c.pos
	id := uint16(t.c.number(2))
	d := t.c.vector(2)
	if t.c.bad {
		return
	}
	inner := &tree{c: &d, left: t.left}
	inner.out = []trace.Field{
		{Name: "tls.handshake.extension.type", Value: strconv.Itoa(int(id)), Meaning: ExtensionName(id), Offset: from, Length: 2},
		{Name: "tls.handshake.extension.len", Value: strconv.Itoa(d.left()), Offset: from + 2, Length: 2},
	}
	*t.left -= 2
	if f := extensionFields[id]; f != nil && d.left() > 0 {
		f(inner, in)
	}
	inner.remains()
	t.add("tls.handshake.extension", ExtensionName(id), "", from).Children = inner.out
}

// extensionFields describe the content of an extension, which depends on the
// message that it is in.
var extensionFields = map[uint16]func(t *tree, in HandshakeType){
	extServerName: func(t *tree, _ HandshakeType) {
		t.vector("tls.handshake.extensions_server_name_list", 2, func(t *tree) {
			t.number("tls.handshake.extensions_server_name_type", 1, oneOf("host_name"))
			t.text("tls.handshake.extensions_server_name", 2)
		})
	},
	1: func(t *tree, _ HandshakeType) {
		t.number("tls.handshake.max_fragment_length", 1, oneOf("", "512 bytes", "1024 bytes", "2048 bytes", "4096 bytes"))
	},
	extStatusRequest: func(t *tree, in HandshakeType) {
		if in != TypeClientHello {
			t.certificateStatus()
			return
		}
		t.number("tls.handshake.extensions_status_request_type", 1, oneOf("", "ocsp"))
		t.vector("tls.handshake.extensions_status_request_responder_ids", 2, nil)
		t.vector("tls.handshake.extensions_status_request_exts", 2, nil)
	},
	extSupportedGroups: func(t *tree, _ HandshakeType) {
		t.vector("tls.handshake.extensions_supported_groups", 2, func(t *tree) { t.code("tls.handshake.extensions_supported_group", GroupName) })
	},
	extPointFormats: func(t *tree, _ HandshakeType) {
		t.vector("tls.handshake.extensions_ec_point_formats", 1, func(t *tree) {
			t.number("tls.handshake.extensions_ec_point_format", 1, oneOf("uncompressed", "ansiX962_compressed_prime", "ansiX962_compressed_char2"))
		})
	},
	extSignatures: signatureFields,
	50:            signatureFields, // signature_algorithms_cert
	15: func(t *tree, _ HandshakeType) {
		t.number("tls.handshake.extension.heartbeat.mode", 1, oneOf("", "peer_allowed_to_send", "peer_not_allowed_to_send"))
	},
	extALPN: func(t *tree, _ HandshakeType) {
		t.vector("tls.handshake.extensions_alpn_list", 2, func(t *tree) { t.text("tls.handshake.extensions_alpn_str", 1) })
	},
	18: func(t *tree, in HandshakeType) {
		t.vector("tls.handshake.extensions.sct_list", 2, (*tree).sct)
	},
	21: func(t *tree, _ HandshakeType) { t.bytes("tls.handshake.extensions_padding_data", t.c.left()) },
	27: func(t *tree, _ HandshakeType) {
		t.vector("tls.compress_certificate.algorithms", 1, func(t *tree) { t.code("tls.compress_certificate.algorithm", CompressionName) })
	},
	28: func(t *tree, _ HandshakeType) { t.number("tls.record_size_limit", 2, nil) },
	extSessionTicket: func(t *tree, _ HandshakeType) {
		t.bytes("tls.handshake.session_ticket", t.c.left())
	},
	extPreSharedKey: preSharedKeyFields,
	extEarlyData: func(t *tree, _ HandshakeType) {
		t.number("tls.early_data.max_early_data_size", 4, func(v int) string { return fmt.Sprintf("%d bytes", v) })
	},
	extSupportedVersions: func(t *tree, in HandshakeType) {
		one := func(t *tree) { t.code("tls.handshake.extensions.supported_version", VersionName) }
		if in == TypeServerHello {
			one(t)
			return
		}
		t.vector("tls.handshake.extensions.supported_versions", 1, one)
	},
	44: func(t *tree, _ HandshakeType) { t.vector("tls.handshake.extensions.cookie", 2, nil) },
	45: func(t *tree, _ HandshakeType) {
		t.vector("tls.extension.psk_ke_modes", 1, func(t *tree) { t.number("tls.extension.psk_ke_mode", 1, oneOf("psk_ke", "psk_dhe_ke")) })
	},
	47:          func(t *tree, _ HandshakeType) { t.distinguishedNames() },
	extKeyShare: keyShareFields,
	extECH:      echFields,
	0x4469:      applicationSettings,
	0x44cd:      applicationSettings,
	0xff01: func(t *tree, _ HandshakeType) {
		t.vector("tls.handshake.extensions_reneg_info", 1, nil)
	},
}

func signatureFields(t *tree, _ HandshakeType) {
	t.vector("tls.handshake.sig_hash_algs", 2, func(t *tree) { t.code("tls.handshake.sig_hash_alg", SignatureName) })
}

func applicationSettings(t *tree, in HandshakeType) {
	if in == TypeClientHello {
		t.vector("tls.handshake.extensions_alps_alpn_list", 2, func(t *tree) { t.text("tls.handshake.extensions_alps_alpn_str", 1) })
	}
}

// keyShareFields is a list in a ClientHello, one share in a ServerHello and a
// group alone in a HelloRetryRequest (RFC 8446 §4.2.8).
func keyShareFields(t *tree, in HandshakeType) {
	share := func(t *tree) {
		from := t.c.pos
		inner := &tree{c: t.c, left: t.left}
		inner.code("tls.handshake.extensions_key_share_group", GroupName)
		inner.vector("tls.handshake.extensions_key_share_key_exchange", 2, nil)
		if !t.c.bad {
			t.add("tls.handshake.extensions_key_share_entry", inner.out[0].Meaning, "", from).Children = inner.out
		}
	}
	switch {
	case in == TypeClientHello:
		t.vector("tls.handshake.extensions_key_share_client", 2, share)
	case t.c.left() == 2:
		t.code("tls.handshake.extensions_key_share_selected_group", GroupName)
	default:
		share(t)
	}
}

func preSharedKeyFields(t *tree, in HandshakeType) {
	if in != TypeClientHello {
		t.number("tls.handshake.extensions.psk.identity.selected", 2, nil)
		return
	}
	t.vector("tls.handshake.extensions.psk.identities", 2, func(t *tree) {
		t.vector("tls.handshake.extensions.psk.identity.identity", 2, nil)
		t.number("tls.handshake.extensions.psk.identity.obfuscated_ticket_age", 4, nil)
	})
	t.vector("tls.handshake.extensions.psk.binders", 2, func(t *tree) { t.vector("tls.handshake.extensions.psk.binder", 1, nil) })
}

// echFields is RFC 9849 §5. Only the outer hello can be seen; one made up as
// GREASE looks the same.
func echFields(t *tree, in HandshakeType) {
	switch {
	case in == TypeServerHello && t.c.left() == 8:
		t.bytes("tls.handshake.extensions.ech.hrr_conf", 8)
	case in == TypeEncryptedExtensions:
		t.vector("tls.handshake.extensions.ech.retry_configs", 2, nil)
	case in == TypeClientHello:
		if t.number("tls.ech.client_hello_type", 1, oneOf("outer, or GREASE", "inner")) != 0 {
			return
		}
		t.code("tls.ech.hpke.keyconfig.cipher_suite.kdf_id", func(v uint16) string { return nameOf(hpkeKDFs, v) })
		t.code("tls.ech.hpke.keyconfig.cipher_suite.aead_id", func(v uint16) string { return nameOf(hpkeAEADs, v) })
		t.number("tls.ech.config_id", 1, nil)
		t.vector("tls.ech.enc", 2, nil)
		t.vector("tls.ech.payload", 2, nil)
	}
}

var (
	hpkeKDFs  = map[uint16]string{1: "HKDF-SHA256", 2: "HKDF-SHA384", 3: "HKDF-SHA512"}
	hpkeAEADs = map[uint16]string{1: "AES-128-GCM", 2: "AES-256-GCM", 3: "ChaCha20Poly1305", 0xffff: "Export-only"}
)

// sct is a signed certificate timestamp (RFC 6962 §3.2).
func (t *tree) sct() {
	from := t.c.pos
	v := t.c.vector(2)
	if t.c.bad {
		return
	}
	inner := &tree{c: &v, left: t.left}
	inner.number("tls.sct.sct_version", 1, oneOf("v1"))
	inner.bytes("tls.sct.sct_logid", 32)
	inner.number("tls.sct.sct_timestamp", 8, func(ms int) string { return time.UnixMilli(int64(ms)).UTC().Format(time.RFC3339) })
	inner.vector("tls.sct.sct_extensions", 2, nil)
	inner.code("tls.handshake.sig_hash_alg", SignatureName)
	inner.vector("tls.sct.sct_signature", 2, nil)
	inner.remains()
	t.add("tls.sct", fmt.Sprintf("%d bytes", v.end-from-2), "", from).Children = inner.out
}
