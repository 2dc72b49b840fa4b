package failure

import (
	"bytes"
	"fmt"
	"strings"

	"peel/internal/pki"
	"peel/trace"
	"peel/wire/tlswire"
)

// DuringHandshake is when a connection ended whose TLS handshake was not done.
const DuringHandshake = "during the TLS handshake"

// NotTLS is an answer to a ClientHello that is no TLS; first is how it begins.
func NotTLS(host string, first []byte) trace.Failure {
	seen := fmt.Sprintf("%s does not speak TLS on this port: its first bytes are %q", host, first[:min(len(first), 5)])
	if is := spokenInstead(first); is != "" {
		seen = fmt.Sprintf("%s does not speak TLS on this port: it answers in %s (its first bytes are %q)", host, is, first[:min(len(first), 5)])
	}
	return words(trace.LayerTLS, trace.FailNotTLS, seen, "use http:// instead of https://, or another port", "")
}

// spokenInstead names what an answer that begins so is, where five bytes tell.
func spokenInstead(first []byte) string {
	for _, p := range []struct{ begins, name string }{{"HTTP/", "plain HTTP"}, {"SSH-", "SSH"}, {"220 ", "SMTP or FTP"}, {"220-", "SMTP or FTP"}, {"+OK", "POP3"}, {"* OK", "IMAP"}} {
		if bytes.HasPrefix(first, []byte(p.begins)) {
			return p.name
		}
	}
	return ""
}

// TLSAlert is an alert that ended a connection, with what was seen before it.
type TLSAlert struct {
	// From names who sent it: the server as the one who asks knows it, or "the
	// client".
	From        string
	Description uint8
	// Name, Versions and Protocols are what the ClientHello offered:
	// server_name, supported_versions and ALPN. Nil lists are not known.
	Name                string
	Versions, Protocols []string
	// Agreed tells that the server had sent its ServerHello.
	Agreed bool
	// Wanted tells that the server had asked for a client certificate, Given
	// that the client had sent one.
	Wanted, Given bool
}

// Alert is a TLS alert of the server that ended the connection (RFC 8446
// §6.2).
func Alert(a TLSAlert) trace.Failure {
	said := fmt.Sprintf("%s ended the connection with the TLS alert %s", a.From, tlswire.AlertName(a.Description))
	fail := func(code trace.FailureCode, try string, hint trace.Hint) trace.Failure {
		return words(trace.LayerTLS, code, said, try, hint)
	}
	const look = "look at the server's log for this moment"
	switch a.Description {
	case 40, 71:
		switch {
		case a.Wanted && !a.Given:
			said += ", after it had asked for a client certificate and got none"
			return fail(trace.FailClientCertificate, "the server wants a client certificate: give one", trace.HintClientCert)
		case a.Wanted:
			said += ", after it had got the client's certificate"
			return fail(trace.FailClientCertificate, "the server's log says what is wrong with the client's certificate", "")
		case a.Agreed:
			said += ", after version and cipher suite were agreed on"
			return fail(trace.FailAlert, look, trace.HintMessages)
		}
		return fail(trace.FailCipher, "by this alert a server says that no cipher suite, group or certificate suits both sides: compare what was offered with what it is set up for", trace.HintMessages)
	case 70:
		if len(a.Versions) > 0 {
			said += "; offered was " + strings.Join(a.Versions, ", ")
		}
		return fail(trace.FailVersion, "the server speaks none of the TLS versions that were offered", "")
	case 86:
		return fail(trace.FailVersion, "the client offered less than it can (TLS_FALLBACK_SCSV), and the server speaks more", "")
	case 112:
		if a.Name == "" {
			return fail(trace.FailUnrecognizedName, "no host name was sent (SNI), as for an address; ask by a name that the server knows", "")
		}
		return fail(trace.FailUnrecognizedName, "the server knows no site of that name; check the host name", "")
	case 42, 43, 44, 45, 46, 48, 116:
		switch {
		case a.Given:
			said += ": " + ofCertificate[a.Description]
			return fail(trace.FailClientCertificate, "it is about the client's certificate: give one that the server accepts", trace.HintClientCert)
		case a.Wanted || a.Description == 116:
			return fail(trace.FailClientCertificate, "the server wants a client certificate: give one", trace.HintClientCert)
		}
	case 120:
		if len(a.Protocols) > 0 {
			said += "; offered was " + strings.Join(a.Protocols, ", ")
		}
		return fail(trace.FailALPN, "the server speaks none of the offered protocols; try another", trace.HintHTTPVersion)
	}
	return fail(trace.FailAlert, look, "")
}

// ofCertificate says what the alerts about the other side's certificate mean
// (RFC 8446 §6.2).
var ofCertificate = map[uint8]string{
	42:  "the certificate does not verify",
	43:  "the certificate is of a kind that is not supported",
	44:  "the certificate was revoked",
	45:  "the certificate has expired or is not valid yet",
	46:  "the certificate is not acceptable",
	48:  "the certificate's issuer is not trusted",
	116: "a certificate is required",
}

// UnknownCA is what a client's alert of that name is evidence of.
const UnknownCA = "the client's alert unknown_ca(48)"

// ClientAlert is a TLS alert of the client that ended the connection.
func ClientAlert(description uint8) trace.Failure {
	said := "the client ended the connection with the TLS alert " + tlswire.AlertName(description)
	code, try := trace.FailAlert, "look at what the client says of this moment"
	if why := ofCertificate[description]; why != "" {
		said += ": to it, " + why
		code, try = trace.FailCertificate(pki.Refused), "look at the certificate that the server sent, and at what the client trusts"
	}
	switch description {
	case 45:
		code, try = trace.FailCertificate(pki.Expired), "compare the dates of the server's certificate with the client's clock"
	case 48:
		code, try = trace.FailCertificate(pki.UnknownRoot), "the server must send its whole chain, and the client must trust the root that it ends in"
	case 70:
		said += ": it does not speak the version that the server chose"
		code, try = trace.FailVersion, "let both sides speak TLS 1.2 or 1.3"
	case 120:
		code = trace.FailALPN
	}
	return words(trace.LayerTLS, code, said, try, "")
}

// ClientClosed is an end by the client before the handshake was done.
func ClientClosed() trace.Failure {
	return words(trace.LayerTLS, trace.FailClientClosed, "the client closed the connection "+DuringHandshake, onlyClientKnows, "")
}

// ClientReset is an RST of the client before the handshake was done.
func ClientReset() trace.Failure {
	return words(trace.LayerTLS, trace.FailClientReset, "the client reset the connection "+DuringHandshake, onlyClientKnows, "")
}

const onlyClientKnows = "only the client knows why: it gave up waiting, or what it got did not suit it"

// EndedUnread is an end before the handshake was done, after an encrypted record
// of the client that has the size of an alert.
func EndedUnread() trace.Failure {
	return words(trace.LayerTLS, trace.FailClosedEarly, "the connection ended "+DuringHandshake+", right after an encrypted record of the client that is as long as an alert",
		"with the keys of the connection the record can be read; else look at what the client says of this moment", "")
}
