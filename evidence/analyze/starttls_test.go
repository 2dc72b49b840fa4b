package analyze

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/pcap"
)

// clientHello is a record with a ClientHello of crypto/tls.
func clientHello(t *testing.T, name string) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		client.Close()
	}()
	b := make([]byte, 1<<14)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// Protocols that change to TLS are named, and the TLS behind them is read; where
// TLS is refused, nothing is taken for it.
func TestSTARTTLS(t *testing.T) {
	hello := clientHello(t, "mail.example")
	mysql := "\x4a\x00\x00\x00\x0a8.0.32\x00" + strings.Repeat("x", 66)
	for _, c := range []struct {
		protocol trace.Protocol
		pieces   []any
		tls      bool
	}{
		{"SMTP", []any{[]byte("220 mail.example ESMTP\r\n"), "EHLO a\r\n", []byte("250-mail.example\r\n250 STARTTLS\r\n"), "starttls\r\n", []byte("220 go ahead\r\n"), hello}, true},
		{"SMTP", []any{[]byte("220-mail.example\r\n220 ESMTP\r\n"), "EH", "LO a\r\n", []byte("250 STARTTLS\r\n"), "START", "TLS\r\n", []byte("220 ok\r\n"), hello[:1], hello[1:]}, true},
		{"SMTP", []any{[]byte("220 mail.example ESMTP\r\n"), "EHLO a\r\n", []byte("250 STARTTLS\r\n"), "STARTTLS\r\n", []byte("454 not now\r\n"), "MAIL FROM:<a@example>\r\n"}, false},
		{"FTP", []any{[]byte("220 (vsFTPd 3.0.5)\r\n"), "AUTH TLS\r\n", []byte("234 Proceed.\r\n"), hello}, true},
		{"POP3", []any{[]byte("+OK ready\r\n"), "CAPA\r\n", []byte("+OK\r\nSTLS\r\n.\r\n"), "STLS\r\n", []byte("+OK begin\r\n"), hello}, true},
		{"IMAP", []any{[]byte("* OK ready\r\n"), "a1 CAPABILITY\r\n", []byte("a1 OK\r\n"), "a2 STARTTLS\r\n", []byte("a2 OK begin\r\n"), hello}, true},
		{"XMPP", []any{"<?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client'>", []byte("<stream:features><starttls/></stream:features>"), "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", []byte("<proceed/>"), hello}, true},
		{"LDAP", []any{"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + ldapStartTLS, []byte("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"), hello}, true},
		{"PostgreSQL", []any{string(postgreSQLAsks), []byte("S"), hello}, true},
		{"PostgreSQL", []any{string(postgreSQLAsks), []byte("N"), "\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00"}, false},
		{"MySQL", []any{[]byte(mysql), "\x20\x00\x00\x01\x05\xae\xff\x19" + strings.Repeat("\x00", 28), hello}, true},
		{"MySQL", []any{[]byte(mysql), "\x40\x00\x00\x01\x05\xa6\xff\x19" + strings.Repeat("\x00", 60)}, false},
	} {
		a := New(Limits{})
		for _, r := range socket(c.pieces...) {
			a.Add(r)
		}
		tr := a.Trace()
		conn := tr.Connections[0]
		if conn.Protocol != c.protocol || (conn.TLS != nil) != c.tls || c.tls && conn.TLS.SNI != "mail.example" {
			t.Errorf("%.40q: protocol %q, TLS %+v", c.pieces, conn.Protocol, conn.TLS)
		}
		var asked, hellos int
		for _, e := range tr.Events {
			switch e.Name {
			case trace.EventTLSAsked:
				asked++
			case "tls.handshake.client_hello":
				hellos++
			case trace.LayerTLS.Malformed():
				t.Errorf("%.40q: %s", c.pieces, e.Text)
			}
		}
		if c.tls && (asked != 1 || hellos != 1) {
			t.Errorf("%.40q: asked for %d times, %d hellos", c.pieces, asked, hellos)
		}
	}
}

// A TLS client that comes to such a server is no client of its protocol.
func TestTLSOnAClearPort(t *testing.T) {
	for _, greeting := range []string{"220 mail.example ESMTP\r\n", "+OK ready\r\n", "* OK ready\r\n", "\x4a\x00\x00\x00\x0a8.0.32\x00" + strings.Repeat("x", 66)} {
		a := New(Limits{})
		for _, r := range socket([]byte(greeting), clientHello(t, "mail.example")) {
			a.Add(r)
		}
		c := a.Trace().Connections[0]
		if c.TLS == nil || c.Failure == nil || c.Failure.Code != trace.FailNotTLS || c.Protocol.StartsClear() {
			t.Errorf("%.20q: %q, failure %+v", greeting, c.Protocol, c.Failure)
		}
	}
}

// The hello of old clients is named, and what they go on in.
func TestHelloInTheFormOfSSL2(t *testing.T) {
	challenge := strings.Repeat("c", 16)
	for _, c := range []struct {
		pieces  []any
		version string
	}{
		{[]any{"\x80\x1f\x01\x00\x02\x00\x06\x00\x00\x00\x10\x07\x00\xc0\x01\x00\x80" + challenge, []byte("\x83\xb4\x04\x00\x01\x00\x02" + strings.Repeat("x", 940))}, "SSL 2.0"},
		{[]any{"\x80\x1f\x01\x03\x01\x00\x06\x00\x00\x00\x10\x00\x00\x2f\x00\x00\x04" + challenge,
			[]byte("\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01" + strings.Repeat("r", 32) + "\x00\x00\x04\x00")}, "TLS 1.0"},
		{[]any{"\x80\x1f", "\x01\x03\x00\x00\x06\x00\x00\x00\x10\x00\x00\x2f\x00\x00\x04" + challenge,
			[]byte("\x16\x03\x00\x00\x2a\x02\x00\x00\x26\x03\x00" + strings.Repeat("r", 32) + "\x00\x00\x04\x00")}, "SSL 3.0"},
	} {
		a := New(Limits{})
		for _, r := range socket(c.pieces...) {
			a.Add(r)
		}
		tr := a.Trace()
		if f := tr.Connections[0].TLS; f == nil || f.Version != c.version || len(f.Messages) == 0 || f.Messages[0].Type != "ClientHello" {
			t.Errorf("%s: %+v", c.version, f)
		}
		found := false
		for _, e := range tr.Events {
			found = found || e.Name == trace.EventTLSHello2 && strings.Contains(e.Text, "in the form of SSL 2.0") && e.RawLength == 33
		}
		if !found {
			t.Errorf("%s: the hello is not named", c.version)
		}
	}
}

// QUIC and DTLS are not read yet; they are called by their names.
func TestNamedBySight(t *testing.T) {
	for want, payload := range map[trace.Protocol]string{
		trace.ProtocolQUIC: "\xc3\x00\x00\x00\x01\x08abcdefgh\x00\x00\x44\xd0" + strings.Repeat("x", 1200),
		trace.ProtocolDTLS: "\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00",
		"":                 "\xc3\x12\x34\x56\x78\x08abcdefgh\x00\x00\x44\xd0",
	} {
		p := unhex(t, outer(8+len(payload), 17)+udpTo(443, len(payload)))
		p = append(p, payload...)
		a := New(Limits{})
		a.Add(capture.Record{Time: clock.Time(1e9), Kind: capture.Packet, Length: len(p), Data: p, Link: capture.Link{Type: pcap.LinkRaw}})
		a.End()
		tr := a.Trace()
		if want == "" {
			if len(tr.Connections) != 0 {
				t.Errorf("%q is named %s", payload[:8], tr.Connections[0].Protocol)
			}
		} else if len(tr.Connections) != 1 || tr.Connections[0].Protocol != want || !want.BySight() {
			t.Errorf("%s: %+v", want, tr.Connections)
		}
	}
}
