package tlswire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every cipher suite of crypto/tls, live: what the decoder reads has to be
// what was said.

// tap records what goes over a connection, in the order of its end.
type tap struct {
	net.Conn
	mu      sync.Mutex
	flights []flight
}

func (c *tap) note(dir Dir, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights = append(c.flights, flight{dir, bytes.Clone(b)})
}

func (c *tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(FromServer, b[:n])
	return n, err
}

func (c *tap) Write(b []byte) (int, error) {
	c.note(FromClient, b)
	return c.Conn.Write(b)
}

func certificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer.test"}, DNSNames: []string{"peer.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var identities = sync.OnceValue(func() (out struct{ rsa, ecdsa crypto.Signer }) {
	out.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	out.ecdsa, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return out
})

// talk makes a connection over which the client sends data that the server
// sends back, and returns what went over it and the client's key log.
func talk(t *testing.T, client, server *tls.Config, data []byte) (flights []flight, keys [][]byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var served sync.WaitGroup
	served.Go(func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		c := tls.Server(raw, server)
		defer c.Close()
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("server: %v", err)
		}
		c.Write(b)
	})
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	client = client.Clone()
	client.KeyLogWriter = &log
	line := &tap{Conn: raw}
	c := tls.Client(line, client)
	if _, err := c.Write(data); err != nil {
		t.Fatalf("client: %v", err)
	}
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, data) {
		t.Fatalf("client: %d of %d bytes came back: %v", len(b), len(data), err)
	}
	c.Close()
	served.Wait()
	for l := range strings.Lines(log.String()) {
		keys = append(keys, []byte(l))
	}
	return line.flights, keys
}

// order is the handshake of RFC 8446 §2 or RFC 5246 §7.3, by direction.
func order(version uint16, suite string, resumed, clientCert, retry bool) (out [2][]string) {
	say := func(dir Dir, when bool, names ...string) {
		if when {
			out[dir] = append(out[dir], names...)
		}
	}
	say(FromClient, true, "ClientHello")
	if version == tls.VersionTLS13 {
		say(FromClient, true, "CCS")
		say(FromClient, retry, "ClientHello")
		say(FromClient, clientCert, "Certificate", "CertificateVerify")
		say(FromServer, retry, "HelloRetryRequest", "CCS", "ServerHello")
		say(FromServer, !retry, "ServerHello", "CCS")
		say(FromServer, true, "EncryptedExtensions")
		say(FromServer, clientCert, "CertificateRequest")
		say(FromServer, !resumed, "Certificate", "CertificateVerify")
		say(FromServer, true, "Finished", "NewSessionTicket")
	} else {
		say(FromClient, clientCert, "Certificate")
		say(FromClient, !resumed, "ClientKeyExchange")
		say(FromClient, clientCert, "CertificateVerify")
		say(FromClient, true, "CCS")
		say(FromServer, true, "ServerHello")
		say(FromServer, !resumed, "Certificate")
		say(FromServer, !resumed && strings.Contains(suite, "ECDHE"), "ServerKeyExchange")
		say(FromServer, clientCert, "CertificateRequest")
		say(FromServer, !resumed, "ServerHelloDone")
		// crypto/tls renews the ticket with each resumption (RFC 5077 §3.3).
		say(FromServer, true, "NewSessionTicket", "CCS", "Finished")
	}
	say(FromClient, true, "Finished")
	for i := range out {
		out[i] = append(out[i], "alert "+Alert{1, 0}.String())
	}
	return out
}

// check replays a connection with the keys early and late.
func check(t *testing.T, name string, flights []flight, keys [][]byte, master []byte, want *story) {
	t.Helper()
	for _, late := range []bool{false, true} {
		for _, chunk := range []int{1 << 20, 1000} {
			d := NewDecoder(Limits{})
			d.Resume(master)
			got := replay(d, flights, keys, late, chunk)
			if !reflect.DeepEqual(got.said, want.said) {
				t.Errorf("%s, late %v:\n got %q\nwant %q", name, late, got.said, want.said)
			}
			for i := range got.data {
				if !bytes.Equal(got.data[i], want.data[i]) {
					t.Errorf("%s, late %v: %d bytes of data instead of %d, or others", name, late, len(got.data[i]), len(want.data[i]))
				}
			}
		}
	}
}

func TestEverySuiteOfCryptoTLS(t *testing.T) {
	data := make([]byte, 70_000)
	rand.Read(data)
	ids := identities()
	type suiteOf struct {
		*tls.CipherSuite
		version uint16
	}
	var all []suiteOf
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			all = append(all, suiteOf{s, tls.VersionTLS12})
		}
	}
	// crypto/tls does not let one choose among the suites of 1.3: this is the
	// one it takes. The others are spoken with openssl.
	all = append(all, suiteOf{&tls.CipherSuite{ID: tls.TLS_AES_128_GCM_SHA256, Name: "TLS 1.3"}, tls.VersionTLS13})
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			key := ids.rsa
			if strings.Contains(s.Name, "ECDSA") {
				key = ids.ecdsa
			}
			server := &tls.Config{Certificates: []tls.Certificate{certificate(t, key)}, MinVersion: s.version, MaxVersion: s.version, CipherSuites: []uint16{s.ID}}
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "peer.test", MinVersion: s.version, MaxVersion: s.version,
				CipherSuites: []uint16{s.ID}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			if strings.Contains(s.Name, "RC4") || strings.Contains(s.Name, "3DES") {
				flights, keys := talk(t, client, server, data)
				got := replay(NewDecoder(Limits{}), flights, keys, false, 1<<20)
				last := got.said[FromClient][len(got.said[FromClient])-1]
				if want := "undecryptable: cipher suite " + s.Name; !strings.HasPrefix(last, want) {
					t.Errorf("an unknown suite: %q instead of %q", last, want)
				}
				return
			}
			want := func(resumed, cert, retry bool) *story {
				return &story{order(s.version, s.Name, resumed, cert, retry), [2][]byte{data, data}}
			}
			flights, keys := talk(t, client, server, data)
			check(t, "full", flights, keys, nil, want(false, false, false))

			d := NewDecoder(Limits{})
			replay(d, flights, keys, false, 1<<20)
			flights, keys = talk(t, client, server, data)
			check(t, "resumed", flights, keys, d.Master(), want(true, false, false))

			server = server.Clone()
			server.ClientAuth = tls.RequireAnyClientCert
			client = client.Clone()
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			client.Certificates = []tls.Certificate{certificate(t, ids.ecdsa)}
			flights, keys = talk(t, client, server, data)
			check(t, "client certificate", flights, keys, nil, want(false, true, false))

			if s.version == tls.VersionTLS13 {
				server.CurvePreferences = []tls.CurveID{tls.CurveP384}
				client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
				server.ClientAuth = tls.NoClientCert
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				flights, keys = talk(t, client, server, data)
				check(t, "HelloRetryRequest", flights, keys, nil, want(false, false, true))
			}
		})
	}
}
