package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/internal/needs"
	"peel/internal/pki"
	"peel/trace"
)

// site is a server of others that serves the same few paths on three ports.
type site struct {
	plain, tls12, tls13 string // ports
	ca, root            string
}

// way is one way of speaking to a server, for peel and for curl.
type way struct {
	name       string
	base       string
	peel, curl []string
	protocol   string
	tls        string
}

func (s *site) ways() []way {
	ca := []string{"--cacert", s.ca}
	with := func(more ...string) []string { return append(slices.Clone(ca), more...) }
	return []way{
		{"http-h1", "http://127.0.0.1:" + s.plain, []string{"--http1.1"}, []string{"--http1.1"}, "HTTP/1.1", ""},
		{"tls1.2-h1", "https://127.0.0.1:" + s.tls12, with("--http1.1"), with("--http1.1"), "HTTP/1.1", "TLS 1.2"},
		{"tls1.2-h2", "https://127.0.0.1:" + s.tls12, with("--http2"), with("--http2"), "HTTP/2", "TLS 1.2"},
		{"tls1.3-h1", "https://127.0.0.1:" + s.tls13, with("--http1.1"), with("--http1.1"), "HTTP/1.1", "TLS 1.3"},
		{"tls1.3-h2", "https://127.0.0.1:" + s.tls13, with("--http2"), with("--http2"), "HTTP/2", "TLS 1.3"},
	}
}

const nginxConf = `
daemon off;
master_process off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	types { text/html html; text/plain txt; application/octet-stream bin; }
	gzip_types text/plain;
	gzip_vary on;
	http2_max_concurrent_streams 128;
	ssl_certificate %[2]s;
	ssl_certificate_key %[3]s;
	%[4]s
}
`

const nginxServer = `
	server {
		listen 127.0.0.1:%[1]s %[2]s;
		root %[3]s;
		add_header X-Mixed-Case "Value, with  two spaces";
		add_header x-lower one;
		add_header X-Mixed-Case again;
		location /text.txt { gzip on; }
		location /post { default_type text/plain; return 200 "$request_method $content_type $content_length\n"; }
		location /redirect { return 302 /second; }
		location /second { return 307 /small.html; }
		location /cookie { default_type text/plain; add_header Set-Cookie "b=2; Path=/; HttpOnly"; add_header Set-Cookie "c=3"; return 200 "you sent: $http_cookie\n"; }
		location /many/ { default_type text/plain; return 200 "$request_uri\n"; }
		location /empty { return 204; }
		location /missing { return 404 "not here\n"; }
	}
`

func nginx(t *testing.T) *site {
	t.Helper()
	bin := needs.Tool(t, "nginx")
	certs := newCertificates(t, pki.Leaf{Names: []string{"127.0.0.1", "localhost"}})
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	fill(t, root)
	s := &site{plain: freePort(t), tls12: freePort(t), tls13: freePort(t), ca: certs.ca, root: root}
	servers := fmt.Sprintf(nginxServer, s.plain, "", root) +
		fmt.Sprintf(nginxServer, s.tls12, "ssl http2; ssl_protocols TLSv1.2", root) +
		fmt.Sprintf(nginxServer, s.tls13, "ssl http2; ssl_protocols TLSv1.3", root)
	conf := writeFile(t, "nginx.conf", fmt.Appendf(nil, nginxConf, dir, certs.chain, certs.key, servers))
	background(t, command(t, bin, "-p", dir, "-e", "stderr", "-c", conf), s.plain, s.tls12, s.tls13)
	return s
}

// fill writes the files that the peers serve.
func fill(t *testing.T, root string) {
	t.Helper()
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	noise := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int{"1M.bin": 1 << 20, "100M.bin": 100 << 20} {
		b := make([]byte, size)
		noise.Read(b)
		if err := os.WriteFile(filepath.Join(root, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"small.html": "<p>small\n", "text.txt": strings.Repeat("the same line again\n", 5000)} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// An hour old: of a file that was written this second, Apache gives a weak
	// ETag, and a moment later a strong one.
	files, err := filepath.Glob(filepath.Join(root, "*"))
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, f := range files {
		if err := os.Chtimes(f, old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// head gives the field lines of `-i` output: everything up to the empty line
// but the status line, without the value of Date, which is the clock's.
func head(s string) (status string, fields []string, body string) {
	h, body, _ := strings.Cut(s, "\r\n\r\n")
	lines := strings.Split(h, "\r\n")
	for i, l := range lines {
		if name, _, _ := strings.Cut(l, ":"); strings.EqualFold(name, "date") {
			lines[i] = name + ":"
		}
	}
	return lines[0], lines[1:], body
}

// sameAsCurl makes the request with both and compares status, field lines in
// order and case, and the body byte for byte.
func sameAsCurl(t *testing.T, w way, path string, args ...string) ran {
	t.Helper()
	args = append(slices.Clone(args), "-s", w.base+path)
	c := finish(t, command(t, needs.Tool(t, "curl"), slices.Concat(w.curl, []string{"-i", "-A", "same", "-H", "Accept-Encoding:"}, args)...))
	p := traced(t, slices.Concat(w.peel, []string{"-i", "-A", "same", "--raw"}, args)...)
	if c.code != 0 || p.code != 0 {
		t.Fatalf("curl: exit code %d %s; peel: %d %s", c.code, c.stderr, p.code, p.stderr)
	}
	wantStory(t, w, p)
	curl, own := c.stdout, p.stdout
	for { // curl -i shows every response's head on the way of a redirect
		cs, cf, cb := head(curl)
		if strings.HasPrefix(cs, "HTTP/") && strings.HasPrefix(cb, "HTTP/") {
			curl = cb
			if _, _, pb := head(own); strings.HasPrefix(pb, "HTTP/") {
				own = pb
			}
			continue
		}
		ps, pf, pb := head(own)
		if strings.TrimSpace(cs) != strings.TrimSpace(ps) {
			t.Errorf("status line: peel %q, curl %q", ps, cs)
		}
		if all := statuses(p.trace); !strings.HasPrefix(cs+" ", fmt.Sprintf("%s %d ", w.protocol, all[len(all)-1])) {
			t.Errorf("statuses in the trace %v, curl %q", all, cs)
		}
		if !slices.Equal(cf, pf) {
			t.Errorf("fields:\npeel %q\ncurl %q", pf, cf)
		}
		if cb != pb {
			t.Errorf("body: peel %d bytes, curl %d bytes", len(pb), len(cb))
		}
		break
	}
	return p
}

// wantStory checks what the trace says against what is known of the way.
func wantStory(t *testing.T, w way, r ran) {
	t.Helper()
	if r.trace == nil {
		t.Fatalf("no trace: %s", r.stderr)
	}
	for _, x := range r.trace.Exchanges {
		if string(x.Protocol) != w.protocol {
			t.Errorf("exchange %d: %s, want %s", x.ID, x.Protocol, w.protocol)
		}
		if x.Response == nil || x.Response.Status == 0 {
			t.Errorf("exchange %d has no response", x.ID)
		} else if !x.Response.Body.Complete && x.Response.Status/100 != 3 {
			// The body of a redirect that is followed may be given up.
			t.Errorf("exchange %d: body not complete", x.ID)
		}
	}
	conns := tcpConnections(r.trace)
	if len(conns) != 1 {
		t.Errorf("%d connections, want 1", len(conns))
	}
	if len(r.trace.Exchanges) == 0 {
		t.Fatal("no exchanges")
	}
	for _, c := range conns {
		if string(c.Protocol) != w.protocol {
			t.Errorf("connection %d: %s, want %s", c.ID, c.Protocol, w.protocol)
		}
		wantTLS(t, c, w.tls)
	}
}

// wantTLS checks that all of a connection's TLS could be read.
func wantTLS(t *testing.T, c *trace.Connection, version string) {
	t.Helper()
	if version == "" {
		if c.TLS != nil {
			t.Errorf("connection %d: TLS on plain TCP", c.ID)
		}
		return
	}
	if c.TLS == nil {
		t.Fatalf("connection %d: no TLS", c.ID)
	}
	if c.TLS.Version != version {
		t.Errorf("connection %d: %s, want %s", c.ID, c.TLS.Version, version)
	}
	if !c.TLS.Decrypted || c.TLS.Undecryptable != "" {
		t.Errorf("connection %d: decrypted %t, undecryptable %q", c.ID, c.TLS.Decrypted, c.TLS.Undecryptable)
	}
	finished := map[trace.Direction]int{}
	for _, m := range c.TLS.Messages {
		if m.Type == "Finished" {
			finished[m.Direction]++
		}
	}
	if finished["out"] != 1 || finished["in"] != 1 {
		t.Errorf("connection %d: Finished seen %v; messages %v", c.ID, finished, c.TLS.Messages)
	}
	if c.TLS.Verdict == nil {
		t.Errorf("connection %d: no verdict on the certificate", c.ID)
	}
}

func tcpConnections(tr *trace.Trace) (list []*trace.Connection) {
	for i := range tr.Connections {
		if c := tr.Connections[i]; c.Network == "tcp" {
			list = append(list, c)
		}
	}
	return list
}

func TestNginx(t *testing.T) {
	needs.Long(t)
	s := nginx(t)
	for _, w := range s.ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Run("GET", func(t *testing.T) { sameAsCurl(t, w, "/small.html") })
			t.Run("POST", func(t *testing.T) { sameAsCurl(t, w, "/post", "-d", "a=1", "-d", "b=2") })
			t.Run("HEAD", func(t *testing.T) { sameAsCurl(t, w, "/1M.bin", "-I") })
			t.Run("204", func(t *testing.T) { sameAsCurl(t, w, "/empty") })
			t.Run("404", func(t *testing.T) { sameAsCurl(t, w, "/missing") })
			t.Run("1 MB", func(t *testing.T) { sameAsCurl(t, w, "/1M.bin") })
			t.Run("redirect", func(t *testing.T) {
				r := sameAsCurl(t, w, "/redirect", "-L")
				if n := statuses(r.trace); !slices.Equal(n, []int{302, 307, 200}) {
					t.Errorf("statuses %v", n)
				}
			})
			t.Run("-b", func(t *testing.T) { sameAsCurl(t, w, "/cookie", "-b", "a=1; z=9") })
			t.Run("gzip raw", func(t *testing.T) { wantGzip(t, w) })
			t.Run("-c and -b", func(t *testing.T) { wantJar(t, w) })
			t.Run("several URLs", func(t *testing.T) {
				r := traced(t, slices.Concat(w.peel, []string{"-s", w.base + "/many/1", w.base + "/many/2", w.base + "/many/3"})...)
				if r.code != 0 || r.stdout != "/many/1\n/many/2\n/many/3\n" {
					t.Errorf("exit code %d, %q, %s", r.code, r.stdout, r.stderr)
				}
				wantStory(t, w, r)
				for i, x := range r.trace.Exchanges {
					if x.Reused != (i > 0) {
						t.Errorf("exchange %d: reused %t", x.ID, x.Reused)
					}
				}
			})
			if w.protocol == "HTTP/2" {
				t.Run("100 at once", func(t *testing.T) { wantParallel(t, w) })
			}
		})
	}
	// The whole way of 100 MB once for each protocol: what differs is only
	// there.
	for _, w := range s.ways() {
		if w.tls != "TLS 1.2" {
			t.Run("100 MB "+w.name, func(t *testing.T) { wantLarge(t, w, filepath.Join(s.root, "100M.bin")) })
		}
	}
}

func statuses(tr *trace.Trace) (list []int) {
	for _, x := range tr.Exchanges {
		n := 0
		if x.Response != nil {
			n = x.Response.Status
		}
		list = append(list, n)
	}
	return list
}

// wantGzip asks for compression: by default the body is taken out of it, with
// --raw and the field given by hand it is left as it comes.
func wantGzip(t *testing.T, w way) {
	plain := finish(t, command(t, needs.Tool(t, "curl"), slices.Concat(w.curl, []string{"-s", w.base + "/text.txt"})...))
	packed := finish(t, command(t, needs.Tool(t, "curl"), slices.Concat(w.curl, []string{"-s", "-H", "Accept-Encoding: gzip", w.base + "/text.txt"})...))
	if plain.stdout == packed.stdout {
		t.Fatal("the server does not compress")
	}
	r := traced(t, slices.Concat(w.peel, []string{"-s", w.base + "/text.txt"})...)
	if r.stdout != plain.stdout {
		t.Errorf("by default: %d bytes, curl without compression %d", len(r.stdout), len(plain.stdout))
	}
	wantStory(t, w, r)
	b := r.trace.Exchanges[0].Response.Body
	if b.Encoding != "gzip" || b.DecodedSize != int64(len(plain.stdout)) || b.WireSize != int64(len(packed.stdout)) {
		t.Errorf("trace: %+v, want %d bytes that were %d on the wire", b, len(plain.stdout), len(packed.stdout))
	}
	r = traced(t, slices.Concat(w.peel, []string{"-s", "--raw", "-H", "Accept-Encoding: gzip", w.base + "/text.txt"})...)
	if r.stdout != packed.stdout {
		t.Errorf("with --raw: %d bytes, curl %d", len(r.stdout), len(packed.stdout))
	}
	wantStory(t, w, r)
}

// wantJar lets each of the two write cookies and the other read them.
func wantJar(t *testing.T, w way) {
	dir := t.TempDir()
	url := w.base + "/cookie"
	curl := needs.Tool(t, "curl")
	one := traced(t, slices.Concat(w.peel, []string{"-s", "-c", filepath.Join(dir, "peel"), url})...)
	two := finish(t, command(t, curl, slices.Concat(w.curl, []string{"-s", "-c", filepath.Join(dir, "curl"), url})...))
	if one.stdout != two.stdout || one.stdout != "you sent: \n" {
		t.Errorf("first: peel %q, curl %q", one.stdout, two.stdout)
	}
	// Netscape's format keeps no order among cookies; the same file must
	// give the same field.
	for _, file := range []string{"peel", "curl"} {
		p := traced(t, slices.Concat(w.peel, []string{"-s", "-b", filepath.Join(dir, file), url})...)
		c := finish(t, command(t, curl, slices.Concat(w.curl, []string{"-s", "-b", filepath.Join(dir, file), url})...))
		if sortedCookies(p.stdout) != sortedCookies(c.stdout) || !strings.Contains(p.stdout, "b=2") || !strings.Contains(p.stdout, "c=3") {
			t.Errorf("with the file of %s: peel %q, curl %q", file, p.stdout, c.stdout)
		}
	}
}

func sortedCookies(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "you sent: "), "\n")
	list := strings.Split(s, "; ")
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// wantParallel makes 100 requests at once, which all share one connection.
func wantParallel(t *testing.T, w way) {
	args := slices.Concat(w.peel, []string{"-s", "-Z", "--parallel-max", "100"})
	want := map[string]int{}
	for i := range 100 {
		args = append(args, fmt.Sprintf("%s/many/%d", w.base, i))
		want[fmt.Sprintf("/many/%d", i)]++
	}
	r := traced(t, args...)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	for _, l := range strings.Fields(r.stdout) {
		want[l]--
	}
	for l, n := range want {
		if n != 0 {
			t.Errorf("%s: %d too few", l, n)
		}
	}
	if len(r.trace.Exchanges) != 100 {
		t.Errorf("%d exchanges", len(r.trace.Exchanges))
	}
	wantStory(t, w, r)
}

// wantLarge downloads a file and compares it with the one that is served.
func wantLarge(t *testing.T, w way, served string) {
	out := filepath.Join(t.TempDir(), "body")
	r := traced(t, slices.Concat(w.peel, []string{"-s", "-o", out, w.base + "/" + filepath.Base(served)})...)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	if cmp := finish(t, command(t, "cmp", out, served)); cmp.code != 0 {
		t.Error(cmp.stdout, cmp.stderr)
	}
	wantStory(t, w, r)
	if b := r.trace.Exchanges[0].Response.Body; b.WireSize != 100<<20 || b.Announced != 100<<20 {
		t.Errorf("trace: %+v", b)
	}
}
