package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"peel/internal/pki"
)

// On SIGHUP the certificate is read again; one with errors leaves the old one.
func TestServeDNSReadsItsCertificateAgain(t *testing.T) {
	dir := t.TempDir()
	zone, file := filepath.Join(dir, "zone"), filepath.Join(dir, "cert")
	if err := os.WriteFile(zone, []byte("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := pki.NewAuthority("test", false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) {
		t.Helper()
		c, err := a.Issue(pki.Leaf{Names: []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		b := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue("old.test")
	c := peelCommand(t, "serve", "dns", "--zone", "a.test="+zone, "--listen", "127.0.0.1:0", "--tls", "127.0.0.1:0", "--cert", file)
	lines := inBackground(t, c)
	at := said(t, lines, `DNS over TLS on (\S+)`)
	is := func(name string) {
		t.Helper()
		conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.ConnectionState().PeerCertificates[0].VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	is("old.test")
	issue("new.test")
	c.Process.Signal(syscall.SIGHUP)
	said(t, lines, "was read again")
	is("new.test")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Process.Signal(syscall.SIGHUP)
	said(t, lines, "stays as it was")
	is("new.test")
}
