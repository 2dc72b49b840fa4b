package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"peel/internal/needs"
	"peel/internal/pki"
)

const caddyConf = `{
	admin off
	auto_https off
	default_sni 127.0.0.1
}
https://127.0.0.1:%[1]s {
	tls %[2]s %[3]s
	root * %[4]s
	encode gzip
	file_server
}
`

const h2oConf = `listen:
  host: 127.0.0.1
  port: %[1]s
  ssl:
    certificate-file: %[2]s
    key-file: %[3]s
pid-file: %[4]s/h2o.pid
%[5]s
hosts:
  default:
    paths:
      /:
        file.dir: %[4]s
`

// Two more servers, of other families: Caddy is Go's own HTTP, h2o a third
// HTTP/2 in C.
func TestCaddyAndH2o(t *testing.T) {
	needs.Long(t)
	for name, serve := range map[string]func(t *testing.T, port, root string, certs *certificates){
		"caddy": func(t *testing.T, port, root string, certs *certificates) {
			conf := writeFile(t, "Caddyfile", fmt.Appendf(nil, caddyConf, port, certs.chain, certs.key, root))
			c := command(t, needs.Tool(t, "caddy"), "run", "--config", conf, "--adapter", "caddyfile")
			c.Env = append(c.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
			background(t, c, port)
		},
		"h2o": func(t *testing.T, port, root string, certs *certificates) {
			user := ""
			if os.Getuid() == 0 { // else it would drop to nobody, who cannot read the files
				user = "user: root"
			}
			conf := writeFile(t, "h2o.conf", fmt.Appendf(nil, h2oConf, port, certs.chain, certs.key, root, user))
			background(t, command(t, needs.Tool(t, "h2o"), "-m", "worker", "-c", conf), port)
		},
	} {
		t.Run(name, func(t *testing.T) {
			certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1"}})
			root := filepath.Join(t.TempDir(), "root")
			fill(t, root)
			port := freePort(t)
			serve(t, port, root, certs)
			for _, flag := range []string{"--http1.1", "--http2"} {
				args := []string{"--cacert", certs.ca, flag}
				w := way{flag, "https://127.0.0.1:" + port, args, args, map[string]string{"--http1.1": "HTTP/1.1", "--http2": "HTTP/2"}[flag], "TLS 1.3"}
				t.Run(flag, func(t *testing.T) {
					t.Run("GET", func(t *testing.T) { sameAsCurl(t, w, "/small.html", "--compressed") })
					t.Run("HEAD", func(t *testing.T) { sameAsCurl(t, w, "/small.html", "-I", "--compressed") })
					t.Run("404", func(t *testing.T) { sameAsCurl(t, w, "/nothing", "--compressed") })
					t.Run("1 MB", func(t *testing.T) { sameAsCurl(t, w, "/1M.bin", "--compressed") })
				})
			}
		})
	}
}
