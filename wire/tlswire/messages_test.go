package tlswire

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"peel/trace"
)

// spokenMessages are the handshake messages of a connection, decrypted.
func spokenMessages(t testing.TB, flights []flight, keys [][]byte) (out []Event) {
	t.Helper()
	d := NewDecoder(Limits{})
	for _, l := range keys {
		d.Secret(l)
	}
	var at [2]int64
	for _, f := range flights {
		for _, e := range d.Input(f.dir, f.data, at[f.dir], 0) {
			if e.Kind == KindHandshake {
				e.Data = bytes.Clone(e.Data)
				out = append(out, e)
			}
		}
		at[f.dir] += int64(len(f.data))
	}
	return out
}

func rfcMessage(t *testing.T, name string, typ HandshakeType, n int) []byte {
	t.Helper()
	r := rfcTraces(t)[name]
	for _, e := range spokenMessages(t, r.flights, r.keyLog()) {
		if e.Type == typ {
			if n--; n < 0 {
				return e.Data
			}
		}
	}
	t.Fatalf("no %v in %s", typ, name)
	return nil
}

func TestParseHellosOfRFC8448(t *testing.T) {
	h, err := ParseClientHello(rfcMessage(t, "3 simple 1-RTT", TypeClientHello, 0))
	if err != nil {
		t.Fatal(err)
	}
	if h.ServerName != "server" || !slices.Equal(h.CipherSuites, []uint16{0x1301, 0x1303, 0x1302}) || !slices.Equal(h.Versions, []uint16{0x0304}) ||
		!slices.Equal(h.KeyShares, []KeyShare{{29, 32}}) || len(h.Groups) != 9 || len(h.Signatures) != 15 || h.PSKs != 0 || h.EarlyData || len(h.Random) != 32 {
		t.Errorf("%+v", h)
	}
	var ids []uint16
	for _, e := range h.Extensions {
		ids = append(ids, e.ID)
	}
	if want := []uint16{0, 0xff01, 10, 35, 51, 43, 13, 45, 28}; !slices.Equal(ids, want) {
		t.Errorf("extensions %v instead of %v", ids, want)
	}
	h, err = ParseClientHello(rfcMessage(t, "4 resumed 0-RTT", TypeClientHello, 0))
	if err != nil || h.PSKs != 1 || !h.EarlyData {
		t.Errorf("%+v, %v", h, err)
	}
	s, err := ParseServerHello(rfcMessage(t, "4 resumed 0-RTT", TypeServerHello, 0))
	if err != nil || !s.PSK || s.PSKIndex != 0 || s.Version != version13 || s.CipherSuite != 0x1301 || s.Group != 29 || s.HelloRetryRequest {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = ParseServerHello(rfcMessage(t, "5 HelloRetryRequest", TypeServerHello, 0))
	if err != nil || !s.HelloRetryRequest || s.Group != 23 {
		t.Errorf("%+v, %v", s, err)
	}
	e, err := ParseEncryptedExtensions(rfcMessage(t, "4 resumed 0-RTT", TypeEncryptedExtensions, 0))
	if err != nil || !e.EarlyData {
		t.Errorf("%+v, %v", e, err)
	}
	ders, err := ParseCertificate(version13, rfcMessage(t, "3 simple 1-RTT", TypeCertificate, 0))
	if err != nil || len(ders) != 1 || len(ders[0]) != 432 {
		t.Errorf("%d certificates, %v", len(ders), err)
	}
	if got := SignatureScheme(rfcMessage(t, "3 simple 1-RTT", TypeCertificateVerify, 0)); got != 0x0804 {
		t.Errorf("signed with %s", SignatureName(got))
	}
	n, err := ParseNewSessionTicket(version13, rfcMessage(t, "3 simple 1-RTT", TypeNewSessionTicket, 0))
	if err != nil || n.Lifetime != 30 || n.AgeAdd != 0xfad6aac5 || len(n.Nonce) != 2 || len(n.Ticket) != 178 || n.MaxEarlyData != 1024 {
		t.Errorf("%+v, %v", n, err)
	}
}

// A message that is cut anywhere, or is too long, is an error that names it.
func TestCutMessagesAreErrors(t *testing.T) {
	parse := map[HandshakeType]func([]byte) error{
		TypeClientHello:         func(b []byte) error { _, err := ParseClientHello(b); return err },
		TypeServerHello:         func(b []byte) error { _, err := ParseServerHello(b); return err },
		TypeEncryptedExtensions: func(b []byte) error { _, err := ParseEncryptedExtensions(b); return err },
		TypeCertificate:         func(b []byte) error { _, err := ParseCertificate(version13, b); return err },
		TypeNewSessionTicket:    func(b []byte) error { _, err := ParseNewSessionTicket(version13, b); return err },
	}
	for typ, f := range parse {
		msg := rfcMessage(t, "3 simple 1-RTT", typ, 0)
		if err := f(msg); err != nil {
			t.Errorf("%v: %v", typ, err)
		}
		for n := range len(msg) + 2 {
			if n == len(msg) {
				continue
			}
			cut := append(bytes.Clone(msg[:min(n, len(msg))]), make([]byte, max(n-len(msg), 0))...)
			if n >= 4 { // the length fits, the content does not
				cut[1], cut[2], cut[3] = byte((n-4)>>16), byte((n-4)>>8), byte(n-4)
			}
			err := f(cut)
			// Before the extensions TLS 1.2 may end, and an empty list of them is
			// not there.
			if err == nil && !(n < len(msg) && bytes.Equal(msg[n:n+2], []byte{byte((len(msg) - n - 2) >> 8), byte(len(msg) - n - 2)})) {
				t.Errorf("%v of %d bytes cut to %d: no error", typ, len(msg), n)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "tlswire: "+typ.String()) {
				t.Errorf("%v: %v", typ, err)
			}
		}
	}
}

// values collects the fields of a name.
func values(fields []trace.Field, name string) (out []string) {
	for _, f := range fields {
		if f.Name == name {
			out = append(out, strings.TrimSpace(f.Value+" "+f.Meaning))
		}
		out = append(out, values(f.Children, name)...)
	}
	return out
}

// Every byte of every message of real connections has a field, and a field at
// the lowest level says what it is.
func TestFieldsCoverEveryMessage(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().rsa)}, MaxVersion: version, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"}}
		client := &tls.Config{Certificates: []tls.Certificate{certificate(t, identities().ecdsa)}, InsecureSkipVerify: true, ServerName: "peer.test", MaxVersion: version,
			NextProtos: []string{"h2", "http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		for range 2 { // the second is a resumption
			flights, keys := talk(t, client, server, []byte("x"))
			for _, e := range spokenMessages(t, flights, keys) {
				fields := Fields(version, e.Data)
				inside(t, fields, 0, len(e.Data))
				at := 0
				for _, f := range fields {
					if f.Offset != at {
						t.Errorf("%v: bytes %d to %d have no field", e.Type, at, f.Offset)
					}
					at = f.Offset + f.Length
				}
				if at != len(e.Data) {
					t.Errorf("%v: bytes from %d to %d have no field", e.Type, at, len(e.Data))
				}
				if raw := values(fields, "tls.handshake.data"); raw != nil {
					t.Errorf("%s %v: nobody knows %q", VersionName(version), e.Type, raw)
				}
				want := map[HandshakeType][2]string{
					TypeClientHello:         {"tls.handshake.extensions_server_name", "peer.test"},
					TypeServerHello:         {"tls.handshake.type", "2 ServerHello"},
					TypeEncryptedExtensions: {"tls.handshake.extensions_alpn_str", "h2"},
					TypeCertificate:         {"x509ce.dNSName", "peer.test"},
					TypeServerKeyExchange:   {"tls.handshake.server_curve_type", "3 named_curve"},
				}[e.Type]
				if got := values(fields, want[0]); want[0] != "" && !slices.Contains(got, want[1]) {
					t.Errorf("%v: %s is %q instead of %q", e.Type, want[0], got, want[1])
				}
			}
		}
	}
}

// A message of many small parts is described up to a bound.
func TestFieldsAreBounded(t *testing.T) {
	suites := bytes.Repeat([]byte{0x13, 0x01}, 30000)
	msg := append([]byte{1, 0, 0, 0, 3, 3}, make([]byte, 33)...)
	msg = append(append(msg, byte(len(suites)>>8), byte(len(suites))), suites...)
	msg = append(msg, 1, 0, 0, 0)
	n := len(msg) - 4
	msg[1], msg[2], msg[3] = byte(n>>16), byte(n>>8), byte(n)
	fields := Fields(version13, msg)
	inside(t, fields, 0, len(msg))
	if got := len(values(fields, "tls.handshake.ciphersuite")); got < 1000 || got > maxFields {
		t.Errorf("%d fields", got)
	}
	if len(values(fields, "tls.handshake.data")) == 0 {
		t.Error("the rest is not shown")
	}
}

func TestRecordAndAlertFields(t *testing.T) {
	alert := []byte{21, 3, 3, 0, 2, 2, 48}
	got := fmt.Sprint(values(RecordFields(alert), "tls.alert_message.desc"), values(RecordFields(alert), "tls.record.content_type"), values(AlertFields(alert[5:]), "tls.alert_message.level"))
	if want := "[48 unknown_ca(48)] [21 alert] [2 fatal]"; got != want {
		t.Errorf("%s instead of %s", got, want)
	}
}

// RFC 9850 §2.
func TestKeyLogLines(t *testing.T) {
	random, secret := strings.Repeat("0a", 32), strings.Repeat("b0", 32)
	for line, want := range map[string]string{
		"# a comment": "", "": "", "\r\n": "",
		"CLIENT_TRAFFIC_SECRET_0 " + random + " " + secret + "\r\n":          "CLIENT_TRAFFIC_SECRET_0",
		"CLIENT_TRAFFIC_SECRET_0 " + strings.ToUpper(random) + " " + secret:  "CLIENT_TRAFFIC_SECRET_0",
		"ECH_SECRET " + random + " " + secret:                                "ECH_SECRET",
		"CLIENT_RANDOM " + random + " " + secret + secret[:32]:               "CLIENT_RANDOM",
		"CLIENT_RANDOM " + random + " " + secret:                             "tlswire: key log line: CLIENT_RANDOM of 32 bytes",
		"CLIENT_TRAFFIC_SECRET_0  " + random + " " + secret:                  "tlswire: key log line: a client random of 64 hexadecimal digits is wanted, not 0 bytes",
		"CLIENT_TRAFFIC_SECRET_0 " + random + " " + secret + " ":             "tlswire: key log line: a secret in hexadecimal digits is wanted, not 65 bytes",
		"client_random " + random + " " + secret:                             "tlswire: key log line: 'c' in the label",
		"CLIENT_RANDOM " + random[2:] + " " + secret:                         "tlswire: key log line: a client random of 64 hexadecimal digits is wanted, not 62 bytes",
		"RSA 0011223344556677 001122":                                        "tlswire: key log line: a client random of 64 hexadecimal digits is wanted, not 16 bytes",
		"CLIENT_RANDOM " + random:                                            "tlswire: key log line: a label, a client random and a secret with one space between are wanted",
		"CLIENT_TRAFFIC_SECRET_0 " + random + " " + strings.Repeat("zz", 32): "tlswire: key log line: a secret in hexadecimal digits is wanted, not 64 bytes",
	} {
		label, _, _, err := ParseKeyLogLine([]byte(line))
		if err != nil {
			label = err.Error()
		}
		if label != want {
			t.Errorf("%q: %q instead of %q", line, label, want)
		}
	}
}

func FuzzRecordFields(f *testing.F) {
	for _, r := range rfcTraces(f) {
		for _, fl := range r.flights {
			f.Add(fl.data)
		}
	}
	f.Add([]byte{21, 3, 3, 0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		inside(t, RecordFields(b), 0, len(b))
		inside(t, AlertFields(b), 0, len(b))
		ParseCertificateRequest(version12, b)
		ParseCertificateRequest(version13, b)
		ParseCompressedCertificate(b)
	})
}
