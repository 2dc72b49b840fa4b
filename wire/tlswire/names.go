package tlswire

import (
	"fmt"
	"strings"

	"peel/trace"
)

// HandshakeType is the type of a handshake message (RFC 8446 §4).
type HandshakeType uint8

// Handshake message types of the IANA registry.
const (
	TypeHelloRequest        HandshakeType = 0
	TypeClientHello         HandshakeType = 1
	TypeServerHello         HandshakeType = 2
	TypeNewSessionTicket    HandshakeType = 4
	TypeEndOfEarlyData      HandshakeType = 5
	TypeEncryptedExtensions HandshakeType = 8
	TypeCertificate         HandshakeType = 11
	TypeServerKeyExchange   HandshakeType = 12
	TypeCertificateRequest  HandshakeType = 13
	TypeServerHelloDone     HandshakeType = 14
	TypeCertificateVerify   HandshakeType = 15
	TypeClientKeyExchange   HandshakeType = 16
	TypeFinished            HandshakeType = 20
	TypeCertificateStatus   HandshakeType = 22
	TypeKeyUpdate           HandshakeType = 24
	TypeCompressedCert      HandshakeType = 25
)

var handshakeNames = map[HandshakeType]string{
	TypeHelloRequest: "HelloRequest", TypeClientHello: "ClientHello", TypeServerHello: "ServerHello", TypeNewSessionTicket: "NewSessionTicket",
	TypeEndOfEarlyData: "EndOfEarlyData", TypeEncryptedExtensions: "EncryptedExtensions", TypeCertificate: "Certificate",
	TypeServerKeyExchange: "ServerKeyExchange", TypeCertificateRequest: "CertificateRequest", TypeServerHelloDone: "ServerHelloDone",
	TypeCertificateVerify: "CertificateVerify", TypeClientKeyExchange: "ClientKeyExchange", TypeFinished: "Finished",
	TypeCertificateStatus: "CertificateStatus", TypeKeyUpdate: "KeyUpdate", TypeCompressedCert: "CompressedCertificate",
}

// String returns the RFC's name, or the number.
func (t HandshakeType) String() string {
	if n := handshakeNames[t]; n != "" {
		return n
	}
	return fmt.Sprintf("handshake type %d", uint8(t))
}

// handshakeEvent begins the names of the events of handshake messages.
const handshakeEvent = "tls.handshake."

// Event names the event of such a message: its name in snake_case, as in
// "tls.handshake.client_hello".
func (t HandshakeType) Event() trace.EventName {
	b := []byte(handshakeEvent)
	for i, c := range []byte(t.String()) {
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 {
				b = append(b, '_')
			}
			b = append(b, c|0x20)
		case c == ' ':
			b = append(b, '_')
		default:
			b = append(b, c)
		}
	}
	return trace.EventName(b)
}

// IsHandshakeEvent tells the names that HandshakeType.Event makes.
func IsHandshakeEvent(n trace.EventName) bool { return strings.HasPrefix(string(n), handshakeEvent) }

// Alert is an alert (RFC 8446 §6).
type Alert struct{ Level, Description uint8 }

var alertNames = map[uint8]string{
	0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow", 30: "decompression_failure",
	40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
	46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error", 52: "too_many_cids_requested",
	60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
	100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity", 116: "certificate_required",
	117: "general_error", 120: "no_application_protocol", 121: "ech_required",
}

// AlertName returns an alert's name and number, such as "unknown_ca(48)".
func AlertName(d uint8) string {
	if n := alertNames[d]; n != "" {
		return fmt.Sprintf("%s(%d)", n, d)
	}
	return fmt.Sprintf("alert %d", d)
}

// String returns level and description.
func (a Alert) String() string {
	level := map[uint8]string{1: "warning", 2: "fatal"}[a.Level]
	if level == "" {
		level = fmt.Sprintf("level %d", a.Level)
	}
	return level + " " + AlertName(a.Description)
}

// ContentTypeName returns the name of a record's content type.
func ContentTypeName(t uint8) string {
	switch t {
	case typeCCS:
		return "change_cipher_spec"
	case typeAlert:
		return "alert"
	case typeHandshake:
		return "handshake"
	case typeData:
		return "application_data"
	case typeHeartbeat:
		return "heartbeat"
	}
	return fmt.Sprintf("content type %d", t)
}

// VersionName returns "TLS 1.3" for 0x0304, and so on.
func VersionName(v uint16) string {
	switch {
	case v >= 0x0301 && v <= 0x0304:
		return fmt.Sprintf("TLS 1.%d", v-0x0301)
	case v == 0x0300:
		return "SSL 3.0"
	case v == 0x0002:
		return "SSL 2.0"
	case isDraft13(v):
		return fmt.Sprintf("TLS 1.3 draft %d", v&0xff)
	case IsGREASE(v):
		return fmt.Sprintf("GREASE 0x%04x", v)
	}
	return fmt.Sprintf("0x%04x", v)
}

// IsGREASE tells whether a value is one of those that mean nothing and keep
// peers tolerant (RFC 8701).
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// CompressionName names a certificate compression algorithm (RFC 8879 §7.3).
func CompressionName(id uint16) string {
	return nameOf(map[uint16]string{1: "zlib", 2: "brotli", 3: "zstd"}, id)
}

// SuiteName returns a cipher suite's IANA name, or its number.
func SuiteName(id uint16) string { return nameOf(suiteNames, id) }

var groupNames = map[uint16]string{
	19: "secp192r1", 21: "secp224r1", 22: "secp256k1", 26: "brainpoolP256r1", 27: "brainpoolP384r1", 28: "brainpoolP512r1", 31: "brainpoolP256r1tls13",
	32: "brainpoolP384r1tls13", 33: "brainpoolP512r1tls13",
	0x0200: "MLKEM512", 0x0201: "MLKEM768", 0x0202: "MLKEM1024", 41: "curveSM2",
	23: "secp256r1", 24: "secp384r1", 25: "secp521r1", 29: "x25519", 30: "x448", 256: "ffdhe2048", 257: "ffdhe3072", 258: "ffdhe4096", 259: "ffdhe6144", 260: "ffdhe8192",
	4587: "SecP256r1MLKEM768", 4588: "X25519MLKEM768", 4589: "SecP384r1MLKEM1024", 0x6399: "X25519Kyber768Draft00",
}

// GroupName returns a named group's IANA name, or its number.
func GroupName(id uint16) string { return nameOf(groupNames, id) }

var signatureNames = map[uint16]string{
	0x0401: "rsa_pkcs1_sha256", 0x0501: "rsa_pkcs1_sha384", 0x0601: "rsa_pkcs1_sha512", 0x0403: "ecdsa_secp256r1_sha256", 0x0503: "ecdsa_secp384r1_sha384", 0x0603: "ecdsa_secp521r1_sha512",
	0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512", 0x0807: "ed25519", 0x0808: "ed448",
	0x0809: "rsa_pss_pss_sha256", 0x080a: "rsa_pss_pss_sha384", 0x080b: "rsa_pss_pss_sha512", 0x0201: "rsa_pkcs1_sha1", 0x0203: "ecdsa_sha1",
	0x0904: "mldsa44", 0x0905: "mldsa65", 0x0906: "mldsa87", 0x0301: "rsa_pkcs1_sha224", 0x0303: "ecdsa_sha224", 0x0402: "dsa_sha256",
	0x0202: "dsa_sha1", 0x0302: "dsa_sha224", 0x0502: "dsa_sha384", 0x0602: "dsa_sha512",
	0x0708: "sm2sig_sm3", 0x081a: "ecdsa_brainpoolP256r1tls13_sha256", 0x081b: "ecdsa_brainpoolP384r1tls13_sha384", 0x081c: "ecdsa_brainpoolP512r1tls13_sha512",
}

// SignatureName returns a signature scheme's IANA name, or its number.
func SignatureName(id uint16) string { return nameOf(signatureNames, id) }

var extensionNames = map[uint16]string{
	2: "client_certificate_url", 3: "trusted_ca_keys", 4: "truncated_hmac", 6: "user_mapping", 7: "client_authz", 8: "server_authz", 9: "cert_type", 12: "srp", 17: "status_request_v2",
	24: "token_binding", 25: "cached_info", 26: "tls_lts", 29: "pwd_protect", 30: "pwd_clear", 31: "password_salt", 32: "ticket_pinning", 33: "tls_cert_with_extern_psk", 39: "supported_ekt_ciphers",
	54: "connection_id", 55: "external_id_hash", 56: "external_session_id", 58: "ticket_request", 59: "dnssec_chain", 61: "rrc", 0xfd00: "ech_outer_extensions", 0x44cd: "application_settings_new",
	0: "server_name", 1: "max_fragment_length", 5: "status_request", 10: "supported_groups", 11: "ec_point_formats", 13: "signature_algorithms", 14: "use_srtp",
	15: "heartbeat", 16: "application_layer_protocol_negotiation", 18: "signed_certificate_timestamp", 19: "client_certificate_type", 20: "server_certificate_type",
	21: "padding", 22: "encrypt_then_mac", 23: "extended_master_secret", 27: "compress_certificate", 28: "record_size_limit", 34: "delegated_credential", 35: "session_ticket",
	41: "pre_shared_key", 42: "early_data", 43: "supported_versions", 44: "cookie", 45: "psk_key_exchange_modes", 47: "certificate_authorities", 48: "oid_filters",
	49: "post_handshake_auth", 50: "signature_algorithms_cert", 51: "key_share", 57: "quic_transport_parameters", 0xff01: "renegotiation_info",
	0xfe0d: "encrypted_client_hello", 0x4469: "application_settings", 13172: "next_protocol_negotiation",
}

// ExtensionName returns an extension's IANA name, or its number.
func ExtensionName(id uint16) string { return nameOf(extensionNames, id) }

func nameOf(names map[uint16]string, id uint16) string {
	if n := names[id]; n != "" {
		return n
	}
	if IsGREASE(id) {
		return fmt.Sprintf("GREASE 0x%04x", id)
	}
	return fmt.Sprintf("0x%04x", id)
}
