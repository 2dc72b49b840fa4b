package main

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/trace"
)

// stripped are the packets and secrets of a stored capture, without what peel
// had noted down of its decisions.
func stripped(t *testing.T, file string) []capture.Record {
	t.Helper()
	var packets, secrets []capture.Record
	for _, rec := range records(t, file) {
		rec.Socket = 0
		switch rec.Kind {
		case capture.Packet:
			packets = append(packets, rec)
		case capture.Secret:
			secrets = append(secrets, rec)
		}
	}
	// Whoever reads a file has its secrets before its packets.
	return append(secrets, packets...)
}

// tlsFindings are the IDs of those of TLS that are more than a note.
func tlsFindings(tr *trace.Trace) (ids []string) {
	for _, f := range tr.Findings {
		if strings.HasPrefix(string(f.ID), "TLS-") && f.Severity != trace.Info {
			ids = append(ids, string(f.ID))
		}
	}
	return ids
}

// What a live run says of a failed handshake, its capture says as well, even
// when only the packets are left of it.
func TestTLSFailuresLiveAndRead(t *testing.T) {
	needs.Long(t)
	year := 365 * 24 * time.Hour
	ancient := pki.Leaf{NotBefore: time.Now().Add(-7 * year), NotAfter: time.Now().Add(-6 * year)}
	raw := func(serve func(net.Conn)) func(*testing.T) (string, string) {
		return func(t *testing.T) (url, ca string) {
			addr := listening(t, func(c *net.TCPConn) {
				c.Read(make([]byte, 4096))
				serve(c)
				c.Close()
			})
			return "https://" + addr + "/", newCertificates(t, pki.Leaf{}).ca
		}
	}
	says := func(leaf pki.Leaf, config *tls.Config) func(*testing.T) (string, string) {
		return func(t *testing.T) (string, string) {
			leaf := leaf
			if leaf.Names == nil {
				leaf.Names = []string{"127.0.0.1", "localhost"}
			}
			return tlsServer(t, leaf, config)
		}
	}
	for _, c := range []struct {
		name   string
		server func(*testing.T) (url, ca string)
		args   []string
		id     string
		seen   string // live
		read   string // of packets; empty when the same
		not    string // is never said
	}{
		{name: "expired, with a younger intermediate", server: says(ancient, nil), id: "TLS-EXPIRED", seen: "by this machine's clock", read: "by the capture's clock", not: "current time"},
		{name: "not yet valid", server: says(pki.Leaf{NotBefore: time.Now().Add(24 * time.Hour), NotAfter: time.Now().Add(year)}, nil), id: "TLS-CLOCK", seen: "by this machine's clock", read: "by the capture's clock"},
		{name: "wrong name", server: says(pki.Leaf{Names: []string{"wrong.example"}}, nil), id: "TLS-WRONG-NAME", seen: "the certificate is for wrong.example, not for localhost"},
		{name: "self-signed", server: says(pki.Leaf{SelfSigned: true}, nil), id: "TLS-SELF-SIGNED", seen: "is self-signed: nobody else vouches for it"},
		{name: "client certificate wanted, 1.2", server: says(pki.Leaf{}, &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}),
			id: "TLS-MTLS", seen: "ended the connection with the TLS alert handshake_failure(40), after it had asked for a client certificate and got none"},
		{name: "client certificate wanted, 1.3", server: says(pki.Leaf{}, &tls.Config{ClientAuth: tls.RequireAnyClientCert}),
			id: "TLS-MTLS", seen: "the server ended the connection with the TLS alert certificate_required(116)"},
		{name: "version", server: says(pki.Leaf{}, &tls.Config{MaxVersion: tls.VersionTLS12}), args: []string{"--tlsv1.3"}, id: "TLS-VERSION", seen: "ended the connection with the TLS alert protocol_version(70); offered was TLS 1.3"},
		{name: "ALPN", server: says(pki.Leaf{}, &tls.Config{NextProtos: []string{"http/1.1"}}), args: []string{"--http2"}, id: "TLS-ALPN", seen: "ended the connection with the TLS alert no_application_protocol(120); offered was h2"},
		{name: "closed", server: raw(func(net.Conn) {}), id: "TLS-CLOSED", seen: "the server closed the connection during the TLS handshake"},
		{name: "reset", server: raw(func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }), id: "TLS-RESET", seen: "the connection was reset during the TLS handshake"},
		{name: "HTTP", server: raw(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), id: "TLS-NOT-TLS", seen: `does not speak TLS on this port: it answers in plain HTTP (its first bytes are "HTTP/")`},
		{name: "handshake_failure", server: raw(func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }), id: "TLS-CIPHER", seen: "ended the connection with the TLS alert handshake_failure(40)"},
		{name: "unrecognized_name", server: raw(func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) }), id: "TLS-WRONG-NAME", seen: "ended the connection with the TLS alert unrecognized_name(112)"},
		{name: "internal_error", server: raw(func(c net.Conn) { c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }), id: "TLS-ALERT", seen: "ended the connection with the TLS alert internal_error(80)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, ca := c.server(t)
			// By a name that is sent.
			url = strings.Replace(url, "127.0.0.1", "localhost", 1)
			file := filepath.Join(t.TempDir(), "f.pcapng")
			r := wantFailure(t, "tls", "", append(c.args, "-4", "--cacert", ca, "--pcap", file, "--pcap-secrets", url)...)
			if got := tlsFindings(r.trace); !slices.Equal(got, []string{c.id}) {
				t.Errorf("live: %q, want %s", got, c.id)
			}
			if f := finding(r.trace, trace.FindingID(c.id)); f == nil || !strings.Contains(f.Title, c.seen) || len(f.Evidence) == 0 {
				t.Errorf("live: %+v", f)
			}
			if c.not != "" && strings.Contains(r.stderr, c.not) {
				t.Errorf("live it is said %q:\n%s", c.not, r.stderr)
			}
			tr, out := told(t, stripped(t, file), nil, analyze.Limits{})
			if got := tlsFindings(tr); !slices.Equal(got, []string{c.id}) {
				t.Errorf("read: %q, want %s\n%s", got, c.id, out)
			}
			if c.read == "" {
				c.read = c.seen
			}
			if f := finding(tr, trace.FindingID(c.id)); f == nil || !strings.Contains(f.Title, c.read) || len(f.Evidence) == 0 || f.Severity != trace.Error {
				t.Errorf("read: %+v\n%s", f, out)
			}
		})
	}
}

// A body that ends with the connection, whose TLS was not ended: it may be cut
// off, which is said live and of a capture; and not where TLS was ended.
func TestNoCloseNotify(t *testing.T) {
	for _, ends := range []bool{false, true} {
		certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1"}})
		pair, err := tls.LoadX509KeyPair(certs.chain, certs.key)
		if err != nil {
			t.Fatal(err)
		}
		addr := listening(t, func(c *net.TCPConn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
			s.Read(make([]byte, 4096))
			io.WriteString(s, "HTTP/1.1 200 OK\r\n\r\nabc")
			if ends {
				s.CloseWrite()
			}
			c.Close()
		})
		file := filepath.Join(t.TempDir(), "f.pcapng")
		r := traced(t, "--cacert", certs.ca, "--pcap", file, "--pcap-secrets", "https://"+addr+"/")
		tr, out := told(t, stripped(t, file), nil, analyze.Limits{})
		for _, seen := range []struct {
			how string
			tr  *trace.Trace
			out string
		}{{"live", r.trace, r.stderr}, {"read", tr, out}} {
			f := finding(seen.tr, "TLS-NO-CLOSE-NOTIFY")
			if ends != (f == nil) {
				t.Errorf("%s, ended by TLS %v: %+v", seen.how, ends, f)
			}
			if f != nil && (f.Exchange != 1 || len(f.Evidence) < 2 || !strings.Contains(unwrapped(seen.out), "the response's body ended with the connection after 3 bytes, and TLS was not ended: it may be cut off")) {
				t.Errorf("%s: %+v\n%s", seen.how, f, seen.out)
			}
		}
	}
}

// No name is sent for an address, which is said where it matters.
func TestWrongNameForAnAddress(t *testing.T) {
	url, ca := tlsServer(t, pki.Leaf{Names: []string{"wrong.example"}}, nil)
	r := wantFailure(t, "tls", "the certificate is for wrong.example, not for 127.0.0.1", "--cacert", ca, url)
	if said := unwrapped(r.stderr); !strings.Contains(said, "For an address no name is sent (SNI)") {
		t.Errorf("it is not said that no name is sent:\n%s", said)
	}
}
