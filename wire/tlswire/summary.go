package tlswire

import (
	"crypto/x509"
	"fmt"
	"strings"
)

// Summary says in one line what a handshake message holds.
func Summary(version uint16, msg []byte) string {
	if len(msg) < 4 {
		return "a cut handshake message"
	}
	t := HandshakeType(msg[0])
	detail := ""
	switch t {
	case TypeClientHello:
		if h, err := ParseClientHello(msg); err == nil {
			detail = clientHelloSummary(h)
		}
	case TypeServerHello:
		if h, err := ParseServerHello(msg); err == nil {
			if h.HelloRetryRequest {
				return fmt.Sprintf("HelloRetryRequest: send a key share for %s", GroupName(h.Group))
			}
			detail = VersionName(h.Version) + ", " + SuiteName(h.CipherSuite)
			if h.Group != 0 {
				detail += ", " + GroupName(h.Group)
			}
			if h.PSK {
				detail += ", resumed by a pre-shared key"
			}
			if h.ALPN != "" {
				detail += ", ALPN " + h.ALPN
			}
		}
	case TypeEncryptedExtensions:
		if h, err := ParseEncryptedExtensions(msg); err == nil {
			detail = "no ALPN"
			if h.ALPN != "" {
				detail = "ALPN " + h.ALPN
			}
		}
	case TypeCertificate:
		if ders, err := ParseCertificate(version, msg); err == nil {
			detail = certificateSummary(ders)
		}
	case TypeCertificateVerify:
		if s := SignatureScheme(msg); s != 0 {
			detail = SignatureName(s)
		}
	case TypeServerKeyExchange:
		if k, err := ParseServerKeyExchange(msg); err == nil {
			detail = GroupName(k.Group) + ", signed with " + SignatureName(k.Signature)
		}
	case TypeNewSessionTicket:
		if k, err := ParseNewSessionTicket(version, msg); err == nil {
			detail = fmt.Sprintf("%d bytes, good for %d s", len(k.Ticket), k.Lifetime)
		}
	case TypeCompressedCert:
		if z, err := ParseCompressedCertificate(msg); err == nil {
			detail = fmt.Sprintf("%d bytes, %d with %s", z.Length, z.Compressed, CompressionName(z.Algorithm))
		}
	case TypeKeyUpdate:
		detail = "new keys from here on"
		if len(msg) > 4 && msg[4] == 1 {
			detail += ", and the peer is asked for the same"
		}
	}
	if detail == "" {
		return fmt.Sprintf("%v, %d bytes", t, len(msg))
	}
	return fmt.Sprintf("%v: %s", t, detail)
}

func clientHelloSummary(h ClientHello) string {
	var best uint16
	for _, v := range h.Versions {
		if v > best && !IsGREASE(v) {
			best = v
		}
	}
	parts := []string{"up to " + VersionName(best)}
	if h.ServerName != "" {
		parts = append(parts, "SNI "+h.ServerName)
	} else {
		parts = append(parts, "no SNI")
	}
	if len(h.ALPN) > 0 {
		parts = append(parts, "ALPN "+strings.Join(h.ALPN, " "))
	}
	parts = append(parts, fmt.Sprintf("%d cipher suites", len(h.CipherSuites)))
	if len(h.KeyShares) > 0 {
		names := make([]string, len(h.KeyShares))
		for i, g := range h.KeyShares {
			names[i] = GroupName(g.Group)
		}
		parts = append(parts, "key shares "+strings.Join(names, " "))
	}
	if h.PSKs > 0 {
		parts = append(parts, fmt.Sprintf("%d tickets to resume", h.PSKs))
	}
	if h.EarlyData {
		parts = append(parts, "0-RTT data follows")
	}
	return strings.Join(parts, ", ")
}

func certificateSummary(ders [][]byte) string {
	if len(ders) == 0 {
		return "none"
	}
	s := fmt.Sprintf("%d in the chain", len(ders))
	if c, err := x509.ParseCertificate(ders[0]); err == nil {
		name := c.Subject.CommonName
		if len(c.DNSNames) > 0 {
			name = strings.Join(c.DNSNames[:min(len(c.DNSNames), 3)], " ")
		}
		s = fmt.Sprintf("%s, issued by %s, valid until %s; %s", name, c.Issuer.CommonName, c.NotAfter.UTC().Format("2006-01-02"), s)
	}
	return s
}
