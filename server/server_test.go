package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/internal/needs"
	"peel/wire/httpfield"
)

// app answers what the tests ask.
func app(w *ResponseWriter, r *Request) {
	switch {
	case r.Path == "/":
		w.Header.Add("Content-Type", "text/plain")
		w.WriteString("hello, world\n")
	case r.Path == "/echo":
		if r.ContentLength >= 0 {
			w.Header.Add("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		}
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(Abort)
		}
	case r.Path == "/length":
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %v %s", n, err, r.Trailer().Value("X-Sum"))
	case r.Path == "/method":
		fmt.Fprintf(w, "%s %s %s %s|%s|%s", r.Protocol, r.Method, r.Scheme, r.Authority, r.Path, r.Query)
	case r.Path == "/fields":
		for _, f := range r.Header {
			fmt.Fprintf(w, "%s: %s\n", f.Name, f.Value)
		}
	case r.Path == "/big":
		n, _ := strconv.Atoi(r.Query)
		io.Copy(w, io.LimitReader(pattern{}, int64(n)))
	case r.Path == "/flush":
		w.WriteString("one ")
		w.Flush()
		w.WriteString("two ")
		w.Flush()
		w.WriteString("three")
	case r.Path == "/trailer":
		w.WriteString("body")
		w.SetTrailer("X-Sum", "42")
	case r.Path == "/hints":
		w.WriteInformational(103, fields("Link", "</style.css>; rel=preload"))
		w.WriteString("page")
	case r.Path == "/status":
		n, _ := strconv.Atoi(r.Query)
		w.WriteHeader(n)
	case r.Path == "/panic":
		panic("a bug in the handler")
	case r.Path == "/late-panic":
		w.WriteString("a part")
		w.Flush()
		panic("a bug in the handler")
	case r.Path == "/abort":
		panic(Abort)
	case r.Path == "/short":
		w.Header.Add("Content-Length", "100")
		w.WriteString("not a hundred")
	case r.Path == "/bad-field":
		w.Header.Add("X-Bad", "a\r\nSet-Cookie: stolen=1")
		w.WriteString("secret")
	case r.Path == "/sleep":
		d, _ := time.ParseDuration(r.Query)
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		w.WriteString("slept")
	default:
		w.WriteHeader(404)
		w.WriteString("not found\n")
	}
}

// pattern is an endless body whose bytes tell their place.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte('a' + i%26)
	}
	return len(p), nil
}

// running is a server with a cleartext and a TLS listener on loopback.
type running struct {
	*Server
	plain, secure string // host:port
	roots         *x509.CertPool
	rootFile      string

	mu  sync.Mutex
	log []string
}

func (r *running) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, "\n")
}

// start serves app, or s.Handler, until the test ends.
func start(t testing.TB, s *Server) *running {
	t.Helper()
	r := &running{Server: s}
	if s.Handler == nil {
		s.Handler = HandlerFunc(app)
	}
	if s.ErrorLog == nil {
		s.ErrorLog = func(text string) {
			r.mu.Lock()
			r.log = append(r.log, text)
			r.mu.Unlock()
		}
	}
	cert := selfSigned(t)
	r.roots = x509.NewCertPool()
	r.roots.AddCert(cert.Leaf)
	r.rootFile = t.TempDir() + "/root.pem"
	writePEM(t, r.rootFile, cert.Leaf.Raw)
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	listen := func(serve func(net.Listener) error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- serve(l) }()
		t.Cleanup(func() {
			s.Close()
			if err := <-ended; err != ErrClosed {
				t.Errorf("Serve returned %v", err)
			}
		})
		return l.Addr().String()
	}
	r.plain = listen(s.Serve)
	r.secure = listen(s.ServeTLS)
	return r
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func writePEM(t testing.TB, file string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runTool runs a program and returns what it printed on stdout.
func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, needs.Tool(t, name), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

func fields(pairs ...string) (l httpfield.List) {
	for i := 0; i < len(pairs); i += 2 {
		l.Add(pairs[i], pairs[i+1])
	}
	return l
}

// raw sends bytes on a new connection and returns all that comes back until
// the server closes it.
func raw(t testing.TB, addr, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}
