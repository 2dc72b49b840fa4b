package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peel/internal/needs"
	"peel/internal/pki"
)

func TestNghttpd(t *testing.T) {
	needs.Long(t)
	bin := needs.Tool(t, "nghttpd")
	certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1"}})
	root := filepath.Join(t.TempDir(), "root")
	fill(t, root)
	secure, clear := freePort(t), freePort(t)
	background(t, command(t, bin, "-a", "127.0.0.1", "-d", root, secure, certs.key, certs.chain), secure)
	background(t, command(t, bin, "-a", "127.0.0.1", "-d", root, "--no-tls", "--trailer", "x-checksum: 1234", "--echo-upload", clear), clear)
	ways := []way{
		{"tls", "https://127.0.0.1:" + secure, []string{"--cacert", certs.ca, "--http2"}, []string{"--cacert", certs.ca, "--http2"}, "HTTP/2", "TLS 1.3"},
		{"clear", "http://127.0.0.1:" + clear, []string{"--http2-prior-knowledge"}, []string{"--http2-prior-knowledge"}, "HTTP/2", ""},
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Run("GET", func(t *testing.T) { sameAsCurl(t, w, "/small.html") })
			t.Run("HEAD", func(t *testing.T) { sameAsCurl(t, w, "/small.html", "-I") })
			t.Run("404", func(t *testing.T) { sameAsCurl(t, w, "/nothing") })
			t.Run("1 MB", func(t *testing.T) { sameAsCurl(t, w, "/1M.bin") })
			t.Run("100 MB", func(t *testing.T) { wantLarge(t, w, filepath.Join(root, "100M.bin")) })
			if w.tls == "" {
				t.Run("1 MB there and back", func(t *testing.T) {
					sameAsCurl(t, w, "/echo", "--data-binary", "@"+filepath.Join(root, "1M.bin"))
				})
			}
		})
	}
}

const apacheConf = `
ServerRoot %[1]s
ServerName 127.0.0.1
PidFile %[1]s/apache.pid
DefaultRuntimeDir %[1]s
Mutex pthread
LoadModule mpm_event_module %[2]s/mod_mpm_event.so
LoadModule authz_core_module %[2]s/mod_authz_core.so
LoadModule alias_module %[2]s/mod_alias.so
Listen 127.0.0.1:%[3]s
DocumentRoot %[1]s/root
ErrorLog /dev/stderr
Redirect 302 /redirect /small.html
`

func TestApache(t *testing.T) {
	needs.Long(t)
	bin := needs.Tool(t, "apache2")
	const modules = "/usr/lib/apache2/modules"
	if _, err := os.Stat(modules); err != nil {
		needs.Missing(t, "%s is not there", modules)
	}
	dir := t.TempDir()
	fill(t, filepath.Join(dir, "root"))
	port := freePort(t)
	conf := writeFile(t, "apache.conf", fmt.Appendf(nil, apacheConf, dir, modules, port))
	if os.Getuid() == 0 { // it will not run as root, and its children must read the files
		if err := os.WriteFile(conf, fmt.Appendf(nil, apacheConf+"User #65534\nGroup #65534\n", dir, modules, port), 0o644); err != nil {
			t.Fatal(err)
		}
		for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
			os.Chmod(d, 0o755)
		}
	}
	background(t, command(t, bin, "-X", "-f", conf), port)
	w := way{"http", "http://127.0.0.1:" + port, nil, []string{"--http1.1"}, "HTTP/1.1", ""}
	t.Run("GET", func(t *testing.T) { sameAsCurl(t, w, "/small.html") })
	t.Run("HEAD", func(t *testing.T) { sameAsCurl(t, w, "/small.html", "-I") })
	t.Run("404", func(t *testing.T) { sameAsCurl(t, w, "/nothing") })
	t.Run("redirect", func(t *testing.T) { sameAsCurl(t, w, "/redirect", "-L") })
	t.Run("1 MB", func(t *testing.T) { sameAsCurl(t, w, "/1M.bin") })
}

// openssl s_server can be told exactly which TLS to speak; the trace must say
// the same.
func TestOpenSSL(t *testing.T) {
	needs.Long(t)
	openssl := needs.Tool(t, "openssl")
	type tlsCase struct {
		name                  string
		key                   pki.KeyType
		server, peel          []string
		version, suite, group string
		retry                 bool
	}
	for _, c := range []tlsCase{
		{"TLS 1.3", pki.ECDSAP256, []string{"-tls1_3"}, nil, "TLS 1.3", "", "", false},
		{"AES-256", pki.ECDSAP256, []string{"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"}, nil, "TLS 1.3", "TLS_AES_256_GCM_SHA384", "", false},
		{"ChaCha20", pki.RSA2048, []string{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}, nil, "TLS 1.3", "TLS_CHACHA20_POLY1305_SHA256", "", false},
		{"Ed25519", pki.Ed25519, []string{"-tls1_3"}, nil, "TLS 1.3", "", "", false},
		{"HelloRetryRequest", pki.ECDSAP256, []string{"-tls1_3", "-groups", "P-384"}, nil, "TLS 1.3", "", "secp384r1", true},
		{"GCM", pki.RSA2048, []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}, nil, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "", false},
		{"ChaCha20 1.2", pki.RSA2048, []string{"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"}, nil, "TLS 1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "", false},
		{"CBC", pki.RSA2048, []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"}, nil, "TLS 1.2", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "", false},
		{"RSA key exchange", pki.RSA2048, []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"},
			[]string{"--ciphers", "TLS_RSA_WITH_AES_128_GCM_SHA256"}, "TLS 1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256", "", false},
		{"RSA and CBC", pki.RSA2048, []string{"-tls1_2", "-cipher", "AES256-SHA"}, []string{"--ciphers", "TLS_RSA_WITH_AES_256_CBC_SHA"}, "TLS 1.2", "TLS_RSA_WITH_AES_256_CBC_SHA", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1"}, Key: c.key})
			root := t.TempDir()
			page := strings.Repeat("a page\n", 10000)
			if err := os.WriteFile(filepath.Join(root, "page.txt"), []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
			port := freePort(t)
			s := command(t, openssl, slices.Concat([]string{"s_server", "-accept", "127.0.0.1:" + port,
				"-cert", certs.chain, "-cert_chain", certs.chain, "-key", certs.key, "-WWW", "-quiet"}, c.server)...)
			s.Dir = root
			background(t, s, port)
			url := "https://" + net.JoinHostPort("127.0.0.1", port) + "/page.txt"
			r := traced(t, slices.Concat([]string{"-s", "--cacert", certs.ca}, c.peel, []string{url})...)
			if r.code != 0 {
				t.Fatalf("exit code %d: %s", r.code, r.stderr)
			}
			if r.stdout != page {
				t.Errorf("%d bytes of body, want %d", len(r.stdout), len(page))
			}
			conns := tcpConnections(r.trace)
			if len(conns) != 1 {
				t.Fatalf("%d connections", len(conns))
			}
			wantTLS(t, conns[0], c.version)
			tl := conns[0].TLS
			if c.suite != "" && tl.Suite != c.suite {
				t.Errorf("suite %s, want %s", tl.Suite, c.suite)
			}
			if c.group != "" && tl.Group != c.group {
				t.Errorf("group %s, want %s", tl.Group, c.group)
			}
			if tl.HelloRetry != c.retry {
				t.Errorf("HelloRetryRequest %t, want %t", tl.HelloRetry, c.retry)
			}
			if v := tl.Verdict; v != nil && !v.OK {
				t.Errorf("verdict %+v", v)
			}
		})
	}
}
