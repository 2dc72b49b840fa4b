package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/internal/content"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/pcap"
)

// captured is a folder of files and an nginx that serves it in every way.
type captured struct {
	dir   string
	files map[string][]byte
	ports map[string]string // scheme and version → port
}

func newCaptured(t *testing.T) *captured {
	t.Helper()
	needs.Tool(t, "nginx")
	s := &captured{dir: t.TempDir(), files: map[string][]byte{}, ports: map[string]string{}}
	os.Chmod(s.dir, 0o755)
	add := func(name string, b []byte) {
		s.files["/"+name] = b
		if err := os.WriteFile(filepath.Join(s.dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	random := make([]byte, 200_000)
	rand.Read(random)
	add("index.html", []byte(`<!doctype html><link rel=stylesheet href=/a.css><script src=/a.js></script><script src=/big.js></script><p>hi`))
	add("a.css", bytes.Repeat([]byte("p { color: red }\n"), 4000))
	add("a.js", []byte("document.title = 'x'"))
	add("a.bin", random)
	add("big.js", append([]byte("//"), bytes.Repeat([]byte("0123456789abcdef"), 20_000)...))
	add("empty", nil)
	certs := newCertificates(t, pki.Leaf{Names: []string{"localhost", "127.0.0.1", "::1"}})
	conf := "pid " + filepath.Join(t.TempDir(), "pid") + "; error_log stderr crit; worker_processes 1; daemon off; user root;\nevents {}\nhttp { access_log off; root " + s.dir +
		"; gzip on; gzip_min_length 100; gzip_types text/css; types { text/html html; text/css css; text/javascript js; }\n"
	var all []string
	for _, way := range []struct{ name, listen, extra string }{{"http", "", ""}, {"tls12", "ssl", "ssl_protocols TLSv1.2;"},
		{"tls13", "ssl", "ssl_protocols TLSv1.3;"}, {"h2", "ssl http2", "ssl_protocols TLSv1.3;"}, {"h2tls12", "ssl http2", "ssl_protocols TLSv1.2;"}} {
		port := freeOnBoth(t)
		s.ports[way.name] = port
		all = append(all, port)
		conf += fmt.Sprintf("server { listen 127.0.0.1:%s %s; listen [::1]:%s %s; %s ssl_certificate %s; ssl_certificate_key %s; }\n", port, way.listen, port, way.listen, way.extra, certs.chain, certs.key)
	}
	conf += "}\n"
	background(t, exec.Command("nginx", "-c", writeFile(t, "nginx.conf", []byte(conf)), "-p", s.dir), all...)
	return s
}

// freeOnBoth is a port that is free on IPv4 and on IPv6.
func freeOnBoth(t *testing.T) string {
	for {
		port := freePort(t)
		if l, err := net.Listen("tcp", "[::1]:"+port); err == nil {
			l.Close()
			return port
		}
	}
}

func (s *captured) url(way, host, path string) string {
	scheme := "https"
	if way == "http" {
		scheme = "http"
	}
	return scheme + "://" + host + ":" + s.ports[way] + path
}

// record lets tcpdump capture what happens on the captured's ports during f.
func (s *captured) record(t *testing.T, f func()) (file string) {
	t.Helper()
	needs.Tool(t, "tcpdump")
	needs.Root(t)
	var ports []string
	for _, p := range s.ports {
		ports = append(ports, "tcp port "+p)
	}
	slices.Sort(ports)
	file = filepath.Join(t.TempDir(), "f.pcap")
	c := exec.Command("tcpdump", "-i", "lo", "-n", "-U", "--immediate-mode", "-B", "65536", "-w", file, strings.Join(ports, " or "))
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	told := make([]byte, 512)
	stderr.Read(told) // "listening on lo": from here on it captures
	go io.Copy(io.Discard, stderr)
	f()
	time.Sleep(300 * time.Millisecond)
	c.Process.Signal(os.Interrupt)
	c.Wait()
	return file
}

func decoded(b []byte, coding string) []byte {
	r, err := content.NewReader(bytes.NewReader(b), coding, content.Limit{})
	if err != nil {
		return nil
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return out
}

// fetched is what a capture shows of one exchange, by the content itself.
func fetched(tr *trace.Trace) []string {
	var out []string
	for _, x := range tr.Exchanges {
		_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(x.URL, "https://"), "http://"), "/")
		line := x.Method + " /" + path + " " + string(x.Protocol)
		if r := x.Response; r != nil {
			line += fmt.Sprintf(" %d", r.Status)
			body := r.Body.Content
			if r.Body.Encoding != "" {
				body = decoded(body, r.Body.Encoding)
			}
			sum := sha256.Sum256(body)
			line += " " + hex.EncodeToString(sum[:6])
			if !r.Body.Complete {
				line += " incomplete"
			}
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

func (s *captured) want(protocol string, paths ...string) []string {
	var out []string
	for _, p := range paths {
		sum := sha256.Sum256(s.files[p])
		out = append(out, fmt.Sprintf("GET %s %s 200 %s", p, protocol, hex.EncodeToString(sum[:6])))
	}
	return out
}

// records are those of a stored capture, in its order.
func records(t *testing.T, file string) (list []capture.Record) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.NewFileReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		rec, ok := r.Next(true)
		if !ok {
			return list
		}
		rec.Data = bytes.Clone(rec.Data)
		list = append(list, rec)
	}
}

// readCapture analyses a capture after every packet went through change.
func readCapture(t *testing.T, file, keys string, change func([]capture.Record) []capture.Record) *trace.Trace {
	t.Helper()
	list := records(t, file)
	if change != nil {
		list = change(list)
	}
	a := analyze.New(analyze.Limits{Body: 1 << 20})
	if log, err := os.ReadFile(keys); err == nil {
		a.KeyLog(log)
	}
	for _, rec := range list {
		a.Add(rec)
	}
	a.End()
	return a.Trace()
}

// What curl fetched from nginx is what the capture shows: same requests, same
// bytes; and still so after what networks and captures do to packets.
func TestCapturesOfCurl(t *testing.T) {
	needs.Long(t)
	needs.Tool(t, "curl")
	s := newCaptured(t)
	keys := filepath.Join(t.TempDir(), "keys")
	paths := []string{"/index.html", "/a.css", "/a.bin", "/empty"}
	var want []string
	file := s.record(t, func() {
		for _, run := range []struct {
			way, host, protocol string
			flags               []string
		}{
			{"http", "127.0.0.1", "HTTP/1.1", nil}, {"http", "[::1]", "HTTP/1.1", []string{"--compressed"}},
			{"tls12", "127.0.0.1", "HTTP/1.1", []string{"--compressed"}}, {"tls12", "[::1]", "HTTP/1.1", []string{"--ciphers", "ECDHE-ECDSA-AES256-SHA384"}},
			{"tls13", "127.0.0.1", "HTTP/1.1", []string{"--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"}}, {"tls13", "[::1]", "HTTP/1.1", []string{"--compressed"}},
			{"h2", "127.0.0.1", "HTTP/2", []string{"--compressed"}}, {"h2", "[::1]", "HTTP/2", nil}, {"h2", "127.0.0.1", "HTTP/2", []string{"-Z"}}, {"h2tls12", "[::1]", "HTTP/2", nil},
		} {
			args := append([]string{"-s", "-k"}, run.flags...)
			for _, p := range paths {
				args = append(args, "-o", "/dev/null", s.url(run.way, run.host, p))
			}
			c := exec.Command("curl", args...)
			c.Env = append(os.Environ(), "SSLKEYLOGFILE="+keys)
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("curl %v: %v\n%s", run.flags, err, out)
			}
			want = append(want, s.want(run.protocol, paths...)...)
		}
	})
	slices.Sort(want)
	check := func(t *testing.T, tr *trace.Trace) {
		t.Helper()
		if got := fetched(tr); !slices.Equal(got, want) {
			t.Errorf("%d exchanges, want %d:\n%s", len(got), len(want), strings.Join(difference(got, want), "\n"))
			for _, x := range tr.Exchanges {
				for _, e := range tr.Events {
					if x.Response == nil && e.Connection == x.Connection {
						t.Logf("%4d %v %s %s %d %s %v", e.ID, time.Duration(e.Time), e.Layer, e.Direction, e.Stream, e.Text, e.Packets)
					}
				}
			}
		}
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) { check(t, readCapture(t, file, keys, change)) })
	}
	t.Run("tshark", func(t *testing.T) {
		needs.Tool(t, "tshark")
		dir := t.TempDir()
		args := []string{"-n", "-r", file, "-o", "tls.keylog_file:" + keys, "-o", "tcp.reassemble_out_of_order:TRUE", "-q", "--export-objects", "http," + dir}
		for way, port := range s.ports { // a port can be somebody else's by chance
			protocol := "tls"
			if way == "http" {
				protocol = "http"
			}
			args = append(args, "-d", "tcp.port=="+port+","+protocol)
		}
		out, err := exec.Command("tshark", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		theirs := map[string]int{}
		objects, _ := filepath.Glob(dir + "/*")
		for _, o := range objects {
			b, _ := os.ReadFile(o)
			if len(b) > 0 {
				theirs[fmt.Sprintf("%x", sha256.Sum256(b))]++
			}
		}
		ours := map[string]int{}
		for _, x := range readCapture(t, file, keys, nil).Exchanges {
			if x.Protocol != "HTTP/1.1" || x.Response == nil || x.Response.Body.WireSize == 0 {
				continue
			}
			b := decoded(x.Response.Body.Content, x.Response.Body.Encoding)
			ours[fmt.Sprintf("%x", sha256.Sum256(b))]++
		}
		if fmt.Sprint(ours) != fmt.Sprint(theirs) {
			t.Errorf("HTTP/1 bodies by hash:\npeel   %v\ntshark %v", ours, theirs)
		}
	})
}

func difference(got, want []string) []string {
	var out []string
	for _, g := range got {
		if !slices.Contains(want, g) {
			out = append(out, "+ "+g)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			out = append(out, "- "+w)
		}
	}
	return out
}

// changes are what networks and captures do to packets.
var changes = map[string]func([]capture.Record) []capture.Record{
	"as it is": nil,
	"every packet twice": func(l []capture.Record) (out []capture.Record) {
		for _, r := range l {
			out = append(out, r, r)
		}
		return out
	},
	"neighbours swapped": func(l []capture.Record) []capture.Record {
		for i := 7; i+1 < len(l); i += 3 {
			l[i].Time, l[i+1].Time = l[i+1].Time, l[i].Time
			l[i], l[i+1] = l[i+1], l[i]
		}
		return l
	},
	"lost and sent again": func(l []capture.Record) (out []capture.Record) {
		// Every ninth packet with data comes again five packets later, and
		// only then.
		late := map[int][]capture.Record{}
		for i, r := range l {
			if i%9 == 4 && len(r.Data) > 200 {
				late[i+5] = append(late[i+5], r)
			} else {
				out = append(out, r)
			}
			for _, x := range late[i] {
				x.Time = r.Time
				out = append(out, x)
			}
			delete(late, i)
		}
		for _, list := range late {
			out = append(out, list...)
		}
		return out
	},
	"in VLANs": func(l []capture.Record) []capture.Record {
		for i := range l {
			b := l[i].Data
			l[i].Data = slices.Concat(b[:12], []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0x20, 42}, b[12:])
			l[i].Length += 8
		}
		return l
	},
	"Linux cooked": func(l []capture.Record) []capture.Record {
		for i := range l {
			b := l[i].Data
			l[i].Data = slices.Concat([]byte{0, 0, 3, 4, 0, 6}, b[6:12], []byte{0, 0}, b[12:])
			l[i].Length += 2
			l[i].Link.Type = pcap.LinkSLL
		}
		return l
	},
	"raw IP": func(l []capture.Record) []capture.Record {
		for i := range l {
			l[i].Data, l[i].Length, l[i].Link.Type = l[i].Data[14:], l[i].Length-14, pcap.LinkRaw
		}
		return l
	},
	"in fragments": fragmented,
}

// fragmented cuts each IP packet to pieces of 1480 bytes, and sends the last
// piece first.
func fragmented(l []capture.Record) (out []capture.Record) {
	for n, r := range l {
		h, err := ip.Parse(r.Data[14:])
		if err != nil || len(r.Data) < 1600 {
			out = append(out, r)
			continue
		}
		payload := h.Payload(r.Data[14:])
		var parts []capture.Record
		for at := 0; at < len(payload); at += 1480 {
			part := payload[at:min(at+1480, len(payload))]
			more := at+len(part) < len(payload)
			x := r
			if h.Version == 4 {
				x.Data = slices.Concat(r.Data[:14], r.Data[14:14+h.HeaderLen], part)
				b := x.Data[14:]
				binary.BigEndian.PutUint16(b[2:], uint16(h.HeaderLen+len(part)))
				binary.BigEndian.PutUint16(b[4:], uint16(n))
				f := uint16(at / 8)
				if more {
					f |= 0x2000
				}
				binary.BigEndian.PutUint16(b[6:], f)
				binary.BigEndian.PutUint16(b[10:], 0)
				binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b[:h.HeaderLen]))
			} else {
				f := uint16(at)
				if more {
					f |= 1
				}
				ext := binary.BigEndian.AppendUint16([]byte{byte(h.Protocol), 0}, f)
				ext = binary.BigEndian.AppendUint32(ext, uint32(n))
				x.Data = slices.Concat(r.Data[:14], r.Data[14:14+40], ext, part)
				binary.BigEndian.PutUint16(x.Data[14+4:], uint16(8+len(part)))
				x.Data[14+6] = byte(ip.ProtoFragment)
			}
			x.Length = len(x.Data)
			parts = append(parts, x)
		}
		slices.Reverse(parts)
		out = append(out, parts...)
	}
	return out
}

// A page that Chromium loads, over HTTP/2 and HTTP/1.1.
func TestCapturesOfChromium(t *testing.T) {
	needs.Long(t)
	needs.Tool(t, "chromium")
	s := newCaptured(t)
	keys := filepath.Join(t.TempDir(), "keys")
	for _, way := range []string{"h2", "tls13", "http"} {
		file := s.record(t, func() {
			c := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
				"--user-data-dir="+t.TempDir(), "--ssl-key-log-file="+keys, "--ignore-certificate-errors", "--dump-dom", s.url(way, "127.0.0.1", "/index.html"))
			c.Env = append(os.Environ(), "SSLKEYLOGFILE="+keys)
			if out, err := c.Output(); err != nil || !strings.Contains(string(out), "<p>hi") {
				t.Fatalf("chromium: %v\n%s", err, out)
			}
		})
		protocol := "HTTP/1.1"
		if way == "h2" {
			protocol = "HTTP/2"
		}
		got := fetched(readCapture(t, file, keys, nil))
		for _, w := range s.want(protocol, "/index.html", "/a.css", "/a.js", "/big.js") {
			if !slices.Contains(got, w) {
				t.Errorf("%s: %s is missing in\n%s", way, w, strings.Join(got, "\n"))
			}
		}
	}
}
