package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/pki"
	"peel/trace"
	"peel/wire/ip"
)

var talkTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// handshake is a TLS connection of crypto/tls on both sides, and what a
// capture of it tells.
type handshake struct {
	leaf           pki.Leaf
	client, server tls.Config
	version        uint16
	trusts         bool // the client trusts the server's CA
	checks         bool // the client judges the certificate
}

func (h *handshake) packets(t *testing.T) (list []capture.Record, keys []byte, ca *pki.Authority) {
	t.Helper()
	ca, err := pki.NewAuthority("test", true, talkTime)
	if err != nil {
		t.Fatal(err)
	}
	if h.leaf.Names == nil {
		h.leaf.Names = []string{"www.example.com"}
	}
	cert, err := ca.Issue(h.leaf)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h.server.Certificates = []tls.Certificate{cert}
	h.client.KeyLogWriter = &log
	h.client.InsecureSkipVerify = !h.checks
	h.client.RootCAs = x509.NewCertPool()
	if h.trusts {
		h.client.RootCAs = ca.Pool()
	}
	now := func() time.Time { return talkTime }
	h.client.Time, h.server.Time = now, now
	if h.client.ServerName == "" {
		h.client.ServerName = "www.example.com"
	}
	if h.version != 0 {
		h.server.MaxVersion = h.version
	}
	list = overhear(t, talkTime, func(c net.Conn) {
		s := tls.Client(c, &h.client)
		if s.Handshake() == nil {
			io.WriteString(s, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
			io.Copy(io.Discard, s)
		}
	}, func(c net.Conn) {
		s := tls.Server(c, &h.server)
		if _, err := s.Read(make([]byte, 4096)); err == nil {
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			s.Close()
		}
	})
	return list, log.Bytes(), ca
}

// Handshakes that fail, as their bytes alone tell.
func TestReadTLSFailures(t *testing.T) {
	year := 365 * 24 * time.Hour
	expired := pki.Leaf{NotBefore: talkTime.Add(-year), NotAfter: talkTime.Add(-36 * time.Hour)}
	for _, c := range []struct {
		name      string
		h         *handshake
		id        trace.FindingID
		says      string
		without   trace.FindingID // without the keys; empty when the same
		withoutIs string
	}{
		{name: "expired 1.2", h: &handshake{leaf: expired, trusts: true, checks: true, version: tls.VersionTLS12},
			id: "TLS-EXPIRED", says: "the certificate for www.example.com expired 2026-11-19 00:00 UTC, 36 h ago by the capture's clock"},
		{name: "expired 1.3", h: &handshake{leaf: expired, trusts: true, checks: true},
			id: "TLS-EXPIRED", says: "expired 2026-11-19 00:00 UTC", without: "TLS-CLOSED", withoutIs: "the connection ended during the TLS handshake, right after an encrypted record of the client that is as long as an alert"},
		{name: "not yet valid", h: &handshake{leaf: pki.Leaf{NotBefore: talkTime.Add(76 * time.Second)}, trusts: true, checks: true, version: tls.VersionTLS12},
			id: "TLS-CLOCK", says: "is not valid before 2026-11-20 12:01 UTC, in 1 min by the capture's clock"},
		{name: "wrong name", h: &handshake{leaf: pki.Leaf{Names: []string{"other.example"}}, trusts: true, checks: true, version: tls.VersionTLS12},
			id: "TLS-WRONG-NAME", says: "the certificate is for other.example, not for www.example.com"},
		{name: "self-signed", h: &handshake{leaf: pki.Leaf{SelfSigned: true}, checks: true, version: tls.VersionTLS12}, id: "TLS-SELF-SIGNED", says: "self-signed"},
		{name: "unknown root", h: &handshake{checks: true, version: tls.VersionTLS12},
			id: "TLS-CERTIFICATE", says: "the client ended the connection with the TLS alert bad_certificate(42)"},
		{name: "version", h: &handshake{client: tls.Config{MinVersion: tls.VersionTLS13}, version: tls.VersionTLS12},
			id: "TLS-VERSION", says: "192.0.2.2:443 ended the connection with the TLS alert protocol_version(70); offered was TLS 1.3"},
		{name: "cipher", h: &handshake{leaf: pki.Leaf{Key: pki.RSA2048}, client: tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, MaxVersion: tls.VersionTLS12},
			server: tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}}}, id: "TLS-CIPHER", says: "192.0.2.2:443 ended the connection with the TLS alert handshake_failure(40)"},
		{name: "ALPN", h: &handshake{client: tls.Config{NextProtos: []string{"h2"}}, server: tls.Config{NextProtos: []string{"http/1.1"}}},
			id: "TLS-ALPN", says: "192.0.2.2:443 ended the connection with the TLS alert no_application_protocol(120); offered was h2"},
		{name: "client certificate 1.2", h: &handshake{server: tls.Config{ClientAuth: tls.RequireAnyClientCert}, version: tls.VersionTLS12},
			id: "TLS-MTLS", says: "192.0.2.2:443 ended the connection with the TLS alert handshake_failure(40), after it had asked for a client certificate and got none"},
		{name: "client certificate 1.3", h: &handshake{server: tls.Config{ClientAuth: tls.RequireAnyClientCert}},
			id: "TLS-MTLS", says: "the server ended the connection with the TLS alert certificate_required(116)", without: "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, keys, ca := c.h.packets(t)
			tr, out := told(t, list, keys, analyze.Limits{})
			onlyFindings(t, tr, c.id)
			if f := finding(tr, c.id); f != nil && (f.Severity != trace.Error || f.Connection == 0 || !strings.Contains(f.Title, c.says)) {
				t.Errorf("%+v", f)
			}
			if !strings.Contains(out, "TLS alert") {
				t.Errorf("the alert is not told:\n%s", out)
			}
			tr, out = told(t, list, nil, analyze.Limits{})
			switch c.without {
			case "":
				onlyFindings(t, tr, c.id)
			case "none":
				onlyFindings(t, tr)
			default:
				onlyFindings(t, tr, c.without)
				if !strings.Contains(out, c.withoutIs) {
					t.Errorf("without keys:\n%s", out)
				}
			}
			if c.name == "unknown root" {
				// Who says what to trust gets the verdict of a client.
				tr, _ = told(t, list, keys, analyze.Limits{Roots: x509.NewCertPool()})
				onlyFindings(t, tr, "TLS-UNKNOWN-ROOT")
				tr, _ = told(t, list, keys, analyze.Limits{Roots: ca.Pool()})
				if v := tr.Connections[0].TLS.Verdict; v == nil || !v.OK || v.Against == "" {
					t.Errorf("by the root itself: %+v", v)
				}
			}
		})
	}
}

// A handshake that succeeds, whatever the capture shows of it, is no failure.
func TestReadTLSThatIsWell(t *testing.T) {
	for name, h := range map[string]*handshake{
		"1.3": {trusts: true, checks: true}, "1.2": {trusts: true, checks: true, version: tls.VersionTLS12},
		"client certificate wanted, not needed": {server: tls.Config{ClientAuth: tls.RequestClientCert}},
	} {
		t.Run(name, func(t *testing.T) {
			list, keys, _ := h.packets(t)
			for n := range list {
				// The capture may end anywhere.
				for _, k := range [][]byte{keys, nil} {
					tr, _ := told(t, list[:n+1], k, analyze.Limits{})
					onlyFindings(t, tr)
				}
			}
			// What is missing to read it is said, also where the end is not there.
			if tr, out := told(t, list[:len(list)-3], nil, analyze.Limits{}); tr.Connections[0].TLS.Undecryptable == "" || !strings.Contains(out, "not decrypted: no key log line") {
				t.Errorf("without keys, and cut off:\n%s", out)
			}
			tr, out := told(t, list, keys, analyze.Limits{})
			v := tr.Connections[0].TLS.Verdict
			if v == nil || v.OK || v.Code != trace.VerdictNotJudged || !strings.Contains(v.Against, "the capture's clock") || strings.Contains(out, "not valid") ||
				!strings.Contains(out, "for www.example.com, valid from 2026-11-19 to 2027-02-18, issued by test Intermediate; not judged further: what the client trusts is not known") {
				t.Errorf("verdict %+v\n%s", v, out)
			}
		})
	}
}

// Only the client's packets were captured: what the server did is not known.
func TestReadTLSOneWay(t *testing.T) {
	h := &handshake{leaf: pki.Leaf{SelfSigned: true}, checks: true}
	list, _, _ := h.packets(t)
	var half []capture.Record
	for _, r := range list {
		if r.Data[15] == 1 { // of 192.0.2.1
			half = append(half, r)
		}
	}
	tr, _ := told(t, half, nil, analyze.Limits{})
	for _, f := range tr.Findings {
		if strings.HasPrefix(string(f.ID), "TLS-") {
			t.Errorf("%s: %s", f.ID, f.Title)
		}
	}
}

// A reset whose TTL is not the server's is said to have it.
func TestReadStrangeReset(t *testing.T) {
	list := overhear(t, talkTime, func(conn net.Conn) {
		tls.Client(conn, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true}).Handshake()
	}, func(c net.Conn) { c.Read(make([]byte, 4096)); c.(*net.TCPConn).SetLinger(0) })
	for _, strange := range []bool{false, true} {
		if strange {
			rst := list[len(list)-1].Data
			rst[8], rst[10], rst[11] = 61, 0, 0
			binary.BigEndian.PutUint16(rst[10:], ^ip.Sum(0, rst[:20]))
		}
		_, out := told(t, list, nil, analyze.Limits{})
		if said := strings.Contains(unwrapped(out), "The RST came with a TTL of 61, the server's first packet with 64: it may be of another machine, on the way."); said != strange {
			t.Errorf("strange %v:\n%s", strange, out)
		}
	}
}

// What answers a ClientHello and is no TLS, and what does not answer.
func TestReadClientHelloUnanswered(t *testing.T) {
	read := func(c net.Conn) { c.Read(make([]byte, 4096)) }
	for _, c := range []struct {
		name   string
		server func(net.Conn)
		id     trace.FindingID
		says   []string
	}{
		{"closed", read, "TLS-CLOSED", []string{"the server closed the connection during the TLS handshake", "and asks for www.example.com (SNI); nothing came back.", "bytes in 2 segments"}},
		{"reset", func(c net.Conn) { read(c); c.(*net.TCPConn).SetLinger(0) }, "TLS-RESET", []string{"the connection was reset during the TLS handshake", "nothing came back."}},
		{"HTTP", func(c net.Conn) { read(c); io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "TLS-NOT-TLS", []string{`192.0.2.2:443 does not speak TLS on this port: it answers in plain HTTP (its first bytes are "HTTP/")`}},
		{"SSH", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); read(c) }, "TLS-NOT-TLS", []string{"it answers in SSH"}},
		{"unrecognized_name", func(c net.Conn) { read(c); c.Write([]byte{21, 3, 3, 0, 2, 2, 112}) }, "TLS-WRONG-NAME", []string{"192.0.2.2:443 ended the connection with the TLS alert unrecognized_name(112)"}},
		{"internal_error", func(c net.Conn) { read(c); c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }, "TLS-ALERT", []string{"192.0.2.2:443 ended the connection with the TLS alert internal_error(80)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := overhear(t, talkTime, func(conn net.Conn) {
				tls.Client(conn, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true}).Handshake()
			}, c.server)
			tr, out := told(t, list, nil, analyze.Limits{})
			onlyFindings(t, tr, c.id)
			for _, s := range c.says {
				if !strings.Contains(out, s) {
					t.Errorf("%q is not told:\n%s", s, out)
				}
			}
			if fail := tr.Connections[0].Failure; fail == nil || fail.Layer != trace.LayerTLS || fail.Try == "" {
				t.Errorf("the connection's failure is %+v", fail)
			}
		})
	}
}

// A proxy that is spoken to over TLS: the TLS of the site is inside of its own.
func TestReadTLSInsideTLS(t *testing.T) {
	ca, err := pki.NewAuthority("test", true, talkTime)
	if err != nil {
		t.Fatal(err)
	}
	config := func(name string) *tls.Config {
		cert, err := ca.Issue(pki.Leaf{Names: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	var keys bytes.Buffer
	client := func(name string) *tls.Config {
		return &tls.Config{ServerName: name, InsecureSkipVerify: true, KeyLogWriter: &keys}
	}
	const established = "HTTP/1.1 200 OK\r\n\r\n"
	list := overhear(t, talkTime, func(c net.Conn) {
		proxy := tls.Client(c, client("proxy.example"))
		io.WriteString(proxy, "CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n")
		io.ReadFull(proxy, make([]byte, len(established)))
		site := tls.Client(proxy, client("www.example.com"))
		io.WriteString(site, "GET /in HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
		io.Copy(io.Discard, site)
	}, func(c net.Conn) {
		proxy := tls.Server(c, config("proxy.example"))
		proxy.Read(make([]byte, 4096))
		io.WriteString(proxy, established)
		site := tls.Server(proxy, config("www.example.com"))
		site.Read(make([]byte, 4096))
		io.WriteString(site, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		site.Close()
		proxy.Close()
	})
	tr, out := told(t, list, keys.Bytes(), analyze.Limits{})
	onlyFindings(t, tr)
	c := tr.Connections[0]
	if c.TLS == nil || c.Inside == nil || c.TLS.SNI != "proxy.example" || c.Inside.SNI != "www.example.com" || !c.TLS.Decrypted || !c.Inside.Decrypted || c.Proxy == nil {
		t.Fatalf("TLS %+v\ninside %+v", c.TLS, c.Inside)
	}
	if n := len(tr.Exchanges); n != 2 || tr.Exchanges[1].URL != "https://www.example.com/in" || tr.Exchanges[1].Response == nil || string(tr.Exchanges[1].Response.Body.Content) != "ok" {
		t.Fatalf("%d exchanges\n%s", n, out)
	}
	// Each byte of the inner response leads down to packets.
	r := tr.Exchanges[1].Response.Body.Pieces[0].Bytes
	for _, space := range []trace.Space{trace.SpaceInside, trace.SpaceTLS, trace.SpaceStream, trace.SpacePacket} {
		if r.Space != space {
			t.Fatalf("%+v, want %s", r, space)
		}
		if space != trace.SpacePacket {
			down := tr.Down(r)
			if len(down) == 0 {
				t.Fatalf("nothing carries %+v", r)
			}
			r = down[0]
		}
	}
	if a := tr.Account; a.TLS <= 0 || a.Content != 2 || a.HTTP <= 0 || a.HTTP > 600 {
		t.Errorf("account %+v", a)
	}
}

// A packet that was not captured costs the records that it carried a part of,
// and no more; what is missing is told, and what comes behind keeps its place.
func TestReadTLSBehindAGap(t *testing.T) {
	const size = 200_000
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, err := pki.NewAuthority("test", true, talkTime)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.Issue(pki.Leaf{Names: []string{"www.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		var keys bytes.Buffer
		list := overhear(t, talkTime, func(c net.Conn) {
			s := tls.Client(c, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, KeyLogWriter: &keys})
			io.WriteString(s, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
			io.Copy(io.Discard, s)
		}, func(c net.Conn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
			s.Read(make([]byte, 4096))
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n")
			s.Write(make([]byte, size))
			s.Close()
		})
		whole, _ := told(t, list, keys.Bytes(), analyze.Limits{})
		end := func(tr *trace.Trace) int64 {
			r := tr.Connections[0].RecordsIn
			if len(r) == 0 {
				return 0
			}
			return r[len(r)-1].PlainOffset + r[len(r)-1].PlainLength
		}
		if end(whole) < size {
			t.Fatalf("%d bytes of plaintext", end(whole))
		}
		at := len(list) / 2
		lossy := append(append([]capture.Record{}, list[:at]...), list[at+1:]...)
		tr, out := told(t, lossy, keys.Bytes(), analyze.Limits{})
		var gaps int
		for _, e := range tr.Events {
			if e.Name == trace.EventTLSGap && strings.Contains(e.Text, "reading goes on behind them") {
				gaps++
			}
		}
		if gaps != 1 || end(tr) != end(whole) || tr.Connections[0].TLS.Undecryptable != "" {
			t.Errorf("%x: %d gaps, %d bytes of plaintext and not %d, %q\n%s", version, gaps, end(tr), end(whole), tr.Connections[0].TLS.Undecryptable, out)
		}
	}
}

// A capture that begins in the middle of a record of TLS 1.3 is read from the
// next one on.
func TestReadTLSFromInsideARecord(t *testing.T) {
	const size = 300_000
	ca, err := pki.NewAuthority("test", true, talkTime)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(pki.Leaf{Names: []string{"www.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	var keys bytes.Buffer
	list := overhear(t, talkTime, func(c net.Conn) {
		s := tls.Client(c, &tls.Config{ServerName: "www.example.com", InsecureSkipVerify: true, KeyLogWriter: &keys})
		io.WriteString(s, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
		io.Copy(io.Discard, s)
	}, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		s.Read(make([]byte, 4096))
		io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
		s.Write(make([]byte, size))
		s.Close()
	})
	for from := 40; from < 60; from++ {
		tr, out := told(t, list[from:], keys.Bytes(), analyze.Limits{})
		c := tr.Connections[0]
		if c.TLS == nil || !c.TLS.Decrypted || c.TLS.Version != "TLS 1.3" || len(c.RecordsIn) < 10 {
			t.Errorf("from packet %d on: %+v\n%s", from+1, c.TLS, out)
		}
		tr, _ = told(t, list[from:], nil, analyze.Limits{})
		if c := tr.Connections[0]; c.TLS == nil || c.TLS.Decrypted || c.TLS.Undecryptable == "" {
			t.Errorf("from packet %d on, without keys: %+v", from+1, c.TLS)
		}
	}
}

// Captures of peel itself, of servers that do not do TLS, without its
// decisions: the person is told what the live run told.
func TestReadStoredTLSFailures(t *testing.T) {
	for file, want := range map[string]struct{ row, finding string }{
		"live-eofhello.pcap": {"TLS, the server closed the connection during the TLS handshake, 1.51 kB out, 0 B in",
			"error TLS-CLOSED: the server closed the connection during the TLS handshake The ClientHello is of 1506 bytes and names no host (no SNI); nothing came back."},
		"live-rsthello.pcap": {"TLS, the connection was reset during the TLS handshake, 1.51 kB out, 0 B in",
			"error TLS-RESET: the connection was reset during the TLS handshake The ClientHello is of 1506 bytes and names no host (no SNI); nothing came back."},
		"live-plain443.pcap": {"does not speak TLS on this port: it answers in plain HTTP", "error TLS-NOT-TLS: 127.0.0.1:21011 does not speak TLS on this port: it answers in plain HTTP"},
	} {
		r := finish(t, peelCommand(t, "read", "--color", "never", filepath.Join(testdata(t), "captures", file)))
		said := unfolded(r.stdout)
		for _, s := range []string{want.row, want.finding} {
			if !strings.Contains(said, s) {
				t.Errorf("%s: %q is not told:\n%s", file, s, r.stdout)
			}
		}
	}
}

// A server that answers the ClientHello with close_notify has ended the
// connection, also where the client is the first to close its side of TCP.
func TestReadCloseNotifyInsteadOfAHandshake(t *testing.T) {
	list := overhear(t, talkTime, func(c net.Conn) {
		tls.Client(c, &tls.Config{ServerName: "www.example.com"}).Handshake()
		c.Close()
	}, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		c.Write([]byte{21, 3, 3, 0, 2, 1, 0})
		io.Copy(io.Discard, c)
	})
	tr, out := told(t, list, nil, analyze.Limits{})
	onlyFindings(t, tr, "TLS-CLOSED")
	if f := tr.Connections[0].Failure; f == nil || f.Code != trace.FailClosedEarly || !strings.Contains(out, "the server closed the connection during the TLS handshake") {
		t.Errorf("%+v\n%s", f, out)
	}
}

// testdata is the folder, for a program that runs in another.
func testdata(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
