package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"peel/internal/pki"
	"peel/server"
)

// body is what every server answers with: 128 bytes.
var body = bytes.Repeat([]byte("0123456789abcdef"), 8)

// big is what they answer under /big: 100 MB.
const big = 100 << 20

// serve runs one server until it is killed. Names end in -tls for TLS.
func serve(name, addr string) error {
	name, secure := strings.CutSuffix(name, "-tls")
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	cfg := &tls.Config{}
	if secure {
		c, err := certificate()
		if err != nil {
			return err
		}
		cfg.Certificates = []tls.Certificate{c}
	}
	switch name {
	case "peel":
		s := &server.Server{TLSConfig: cfg, Handler: server.HandlerFunc(func(w *server.ResponseWriter, r *server.Request) {
			w.Header.Add("Content-Type", "text/plain")
			if r.Path == "/big" {
				w.Header.Add("Content-Length", strconv.Itoa(big))
				block := make([]byte, 64<<10)
				for n := 0; n < big; n += len(block) {
					w.Write(block)
				}
				return
			}
			w.Write(body)
		})}
		if secure {
			return s.ServeTLS(l)
		}
		return s.Serve(l)
	case "nethttp":
		s := &http.Server{TLSConfig: cfg, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			if r.URL.Path == "/big" {
				w.Header().Set("Content-Length", strconv.Itoa(big))
				block := make([]byte, 64<<10)
				for n := 0; n < big; n += len(block) {
					w.Write(block)
				}
				return
			}
			w.Write(body)
		})}
		if secure {
			return s.ServeTLS(l, "", "")
		}
		return s.Serve(l)
	case "fasthttp":
		s := &fasthttp.Server{TLSConfig: cfg, Handler: func(c *fasthttp.RequestCtx) {
			c.SetContentType("text/plain")
			c.Write(body)
		}}
		if secure {
			return s.ServeTLS(l, "", "")
		}
		return s.Serve(l)
	}
	return fmt.Errorf("no server %q", name)
}

func certificate() (tls.Certificate, error) {
	a, err := pki.NewAuthority("bench", false, time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	return a.Issue(pki.Leaf{Names: []string{"localhost", "127.0.0.1"}})
}

// writeConfigs writes what the servers that are not Go need: a certificate, a
// page, and nginx's configuration.
func writeConfigs(dir string, port int) error {
	c, err := certificate()
	if err != nil {
		return err
	}
	chain, key, err := pki.PEM(c)
	if err != nil {
		return err
	}
	conf := func(listen string) string {
		return fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log /dev/null;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; http2_max_concurrent_streams 128; default_type text/plain;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { listen 127.0.0.1:%[2]d %[3]s; ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; root %[1]s;
    location / { try_files /index.html =404; } location /big { try_files /big =404; } } }
`, dir, port, listen)
	}
	files := map[string][]byte{"cert.pem": chain, "key.pem": key, "index.html": body, "nginx.conf": []byte(conf("")), "nginx-tls.conf": []byte(conf("ssl http2"))}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(big)
}
