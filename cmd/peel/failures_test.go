package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/internal/needs"
	"peel/internal/pki"
	"peel/trace"
)

// wantFailure runs peel twice and checks what a failure owes the person:
// exit code 1, one line on stderr that names layer, cause and what to try when
// silent, and the same in a story and in a trace otherwise.
func wantFailure(t *testing.T, layer, seen string, args ...string) ran {
	t.Helper()
	silent := finish(t, peelCommand(t, append([]string{"-s"}, args...)...))
	line, rest, _ := strings.Cut(silent.stderr, "\n")
	if silent.code != exitFailed || rest != "" {
		t.Errorf("-s: exit code %d, want 1 and one line:\n%s", silent.code, silent.stderr)
	}
	prefix := "peel: " + layer + ": "
	if !strings.HasPrefix(line, prefix) || !strings.Contains(line, seen) {
		t.Errorf("-s: %q, want %q and %q", line, prefix, seen)
	}
	if !strings.Contains(line, "; ") {
		t.Errorf("-s: %q does not say what to try", line)
	}
	r := traced(t, args...)
	if r.code != exitFailed {
		t.Errorf("exit code %d, want 1", r.code)
	}
	if !strings.Contains(unwrapped(r.stderr), "\n"+layer+": ") || !strings.Contains(unwrapped(r.stderr), seen) || !strings.Contains(r.stderr, "\ntry ") {
		t.Errorf("the story does not tell %s: %q and what to try:\n%s", layer, seen, r.stderr)
	}
	if r.trace == nil || len(r.trace.Exchanges) == 0 {
		t.Fatalf("no trace:\n%s", r.stderr)
	}
	f := r.trace.Exchanges[len(r.trace.Exchanges)-1].Failure
	if f == nil {
		t.Fatal("the trace tells of no failure")
	}
	if string(f.Layer) != layer || f.Code == "" || !strings.Contains(f.Seen, seen) || f.Try == "" {
		t.Errorf("trace: %+v, want layer %s and %q", f, layer, seen)
	}
	return r
}

// unwrapped undoes the line breaks within a line of the story.
func unwrapped(s string) string {
	lines := strings.Split(s, "\n")
	var b strings.Builder
	for i, l := range lines {
		switch {
		case i == 0:
		case len(lines[i-1]) > 60 && l != "":
			b.WriteByte(' ')
			l = strings.TrimLeft(l, " ")
		default:
			b.WriteByte('\n')
		}
		b.WriteString(l)
	}
	return b.String()
}

// unfolded is a text without any line breaks, and without what fills its
// columns.
func unfolded(s string) string { return strings.Join(strings.Fields(s), " ") }

// answering is a server that reads a request's head and then does as told.
func answering(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	return "http://" + listening(t, func(c *net.TCPConn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		serve(c)
	}) + "/"
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, text) }
}

// untilGone keeps a connection open until the other side leaves.
func untilGone(c net.Conn) { io.Copy(io.Discard, c) }

func TestFailureOfConnection(t *testing.T) {
	needs.Long(t)
	t.Run("refused", func(t *testing.T) {
		wantFailure(t, "tcp", "refused", "http://127.0.0.1:"+freePort(t)+"/")
	})
	t.Run("name does not exist", func(t *testing.T) {
		wantFailure(t, "dns", "does not exist", "--lab", "http://nosuch.example.com/")
	})
	t.Run("server never answers", func(t *testing.T) {
		wantFailure(t, "http1", "time limit", "-m", "0.3", answering(t, untilGone))
	})
	t.Run("HTTP/2 server never answers", func(t *testing.T) {
		wantFailure(t, "http2", "time limit", "-m", "0.4", "--lab", "https://example.com/slow/9000")
	})
	t.Run("server ends before TLS", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Read(make([]byte, 1<<16))
				c.Close()
			}
		}()
		wantFailure(t, "tls", "clos", "https://"+l.Addr().String()+"/")
	})
	t.Run("no TLS spoken", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Read(make([]byte, 1<<16))
				io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nspeak HTTP\n")
				c.Close()
			}
		}()
		wantFailure(t, "tls", "", "https://"+l.Addr().String()+"/")
	})
}

func TestFailureOfHTTP(t *testing.T) {
	t.Run("closed before a response", func(t *testing.T) {
		wantFailure(t, "http1", "before it sent a response", answering(t, func(net.Conn) {}))
	})
	t.Run("closed within the head", func(t *testing.T) {
		wantFailure(t, "http1", "", answering(t, says("HTTP/1.1 200 OK\r\nContent-")))
	})
	t.Run("malformed status line", func(t *testing.T) {
		wantFailure(t, "http1", "", answering(t, says("HTTP/1.1 abc Strange\r\n\r\n")))
	})
	t.Run("not HTTP", func(t *testing.T) {
		wantFailure(t, "http1", "", answering(t, says("SSH-2.0-OpenSSH_9.2\r\n")))
	})
	t.Run("malformed chunk", func(t *testing.T) {
		r := wantFailure(t, "http1", "", answering(t, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")))
		if r.stdout != "hello" {
			t.Errorf("stdout %q: what came must not be lost", r.stdout)
		}
	})
	t.Run("body shorter than announced", func(t *testing.T) {
		r := wantFailure(t, "http1", "9 of 1000", answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")))
		if r.stdout != "only this" {
			t.Errorf("stdout %q: what came must not be lost", r.stdout)
		}
		b := r.trace.Exchanges[0].Response.Body
		if b.WireSize != 9 || b.Announced != 1000 || b.Complete {
			t.Errorf("trace: %+v", b)
		}
	})
	t.Run("body shorter than announced over HTTP/2", func(t *testing.T) {
		r := wantFailure(t, "http2", "9 bytes", "--lab", "https://example.com/short-body")
		if r.stdout != "only this" {
			t.Errorf("stdout %q: what came must not be lost", r.stdout)
		}
	})
	t.Run("damaged gzip", func(t *testing.T) {
		wantFailure(t, "http", "", answering(t, says("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!")))
	})
	t.Run("redirect loop", func(t *testing.T) {
		r := wantFailure(t, "http", "redirects", "--lab", "-L", "https://example.com/redirect-loop")
		if n := len(r.trace.Exchanges); n != 51 {
			t.Errorf("%d exchanges, want 51: the first and 50 redirects", n)
		}
	})
	t.Run("redirect to no URL", func(t *testing.T) {
		wantFailure(t, "http", "", "-L", answering(t, says("HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")))
	})
}

// A server with one fault in its TLS, and what peel says of it.
func TestFailureOfTLS(t *testing.T) {
	needs.Long(t)
	year := 365 * 24 * time.Hour
	for _, c := range []struct {
		name    string
		leaf    pki.Leaf
		server  *tls.Config
		strange bool // the CA is not the one that peel trusts
		args    []string
		seen    string
	}{
		{name: "expired", leaf: pki.Leaf{NotBefore: time.Now().Add(-year), NotAfter: time.Now().Add(-24 * time.Hour)}, seen: "expired"},
		{name: "not yet valid", leaf: pki.Leaf{NotBefore: time.Now().Add(24 * time.Hour), NotAfter: time.Now().Add(year)}, seen: "not valid"},
		{name: "wrong name", leaf: pki.Leaf{Names: []string{"other.example"}}, seen: "other.example"},
		{name: "unknown root", strange: true, seen: "test Root"},
		{name: "self-signed", leaf: pki.Leaf{SelfSigned: true}, seen: "self-signed"},
		{name: "missing intermediate", leaf: pki.Leaf{OmitIntermediate: true}, seen: "test Intermediate"},
		{name: "version", server: &tls.Config{MaxVersion: tls.VersionTLS12}, args: []string{"--tlsv1.3"}, seen: "version"},
		{name: "cipher", leaf: pki.Leaf{Key: pki.RSA2048}, server: &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}},
			args: []string{"--ciphers", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-max", "1.2"}, seen: "handshake"},
		{name: "ALPN refused", server: &tls.Config{NextProtos: []string{"http/1.1"}}, args: []string{"--http2"}, seen: "h2"},
		{name: "ALPN silent", args: []string{"--http2"}, seen: "h2"},
		{name: "client certificate wanted", server: &tls.Config{ClientAuth: tls.RequireAnyClientCert}, seen: "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.leaf.Names == nil {
				c.leaf.Names = []string{"127.0.0.1"}
			}
			url, ca := tlsServer(t, c.leaf, c.server)
			if c.strange {
				ca = newCertificates(t, pki.Leaf{}).ca
			}
			r := wantFailure(t, "tls", c.seen, append(c.args, "--cacert", ca, url)...)
			conns := tcpConnections(r.trace)
			if len(conns) == 0 || conns[0].TLS == nil || len(conns[0].TLS.Messages) == 0 {
				t.Fatal("the trace shows no handshake")
			}
			if why := conns[0].TLS.Undecryptable; why != "" {
				t.Errorf("undecryptable: %s", why)
			}
			if !slices.ContainsFunc(r.trace.Findings, func(f *trace.Finding) bool { return f.Severity == "error" && strings.HasPrefix(string(f.ID), "TLS-") }) {
				t.Errorf("no finding tells of it: %v", r.trace.Findings)
			}
		})
	}
}

// tlsServer answers any request over TLS with "hello".
func tlsServer(t *testing.T, leaf pki.Leaf, config *tls.Config) (url, ca string) {
	t.Helper()
	if config == nil {
		config = &tls.Config{}
	}
	// A ticket comes under keys that a client which gives up never makes.
	config.SessionTicketsDisabled = true
	certs := newCertificates(t, leaf)
	pair, err := tls.LoadX509KeyPair(certs.chain, certs.key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{pair}
	return "https://" + listening(t, func(c *net.TCPConn) {
		s := tls.Server(c, config)
		defer s.Close()
		if _, err := s.Read(make([]byte, 4096)); err == nil {
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
		}
	}) + "/", certs.ca
}

func TestFailOn(t *testing.T) {
	url, _ := tlsServer(t, pki.Leaf{Names: []string{"other.example"}}, &tls.Config{})
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"ignored certificate is a warning", []string{"-k", "--fail-on", "warning", url}, exitLimit},
		{"which is no error", []string{"-k", "--fail-on", "error", url}, exitDone},
		{"and fails nothing by itself", []string{"-k", url}, exitDone},
		{"a failure stays one", []string{"--fail-on", "error", url}, exitFailed},
		{"--fail with 503", []string{"--fail", "--lab", "https://example.com/status/503"}, exitFailed},
		{"503 alone", []string{"--lab", "https://example.com/status/503"}, exitDone},
		{"nothing wrong", []string{"--lab", "-L", "--fail-on", "warning", "https://example.com/redirect/2"}, exitDone},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := traced(t, c.args...); r.code != c.code {
				t.Errorf("exit code %d, want %d\n%s", r.code, c.code, r.stderr)
			}
		})
	}
}

// Wrong usage is told before anything is sent: exit code 2, and no trace.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no URL", nil, "no URL"},
		{"bad flag", []string{"--nosuch", "http://127.0.0.1/"}, "nosuch"},
		{"bad flag value", []string{"--max-time", "soon", "http://127.0.0.1/"}, "max-time"},
		{"negative time", []string{"-m", "-1", "http://127.0.0.1/"}, "-1"},
		{"search words", []string{"how", "do", "I", "peel"}, "words"},
		{"search words in one", []string{"how do I peel"}, "words"},
		{"bracket", []string{"http://[::1"}, "http://[::1"},
		{"port", []string{"http://127.0.0.1:99999/"}, "99999"},
		{"scheme", []string{"gopher://127.0.0.1/"}, "gopher"},
		{"field", []string{"-H", "no colon", "http://127.0.0.1/"}, "no colon"},
		{"field with line break", []string{"-H", "a: b\r\nc: d", "http://127.0.0.1/"}, "header field"},
		{"cipher", []string{"--ciphers", "NOSUCH", "https://127.0.0.1/"}, "NOSUCH"},
		{"group", []string{"--curves", "NOSUCH", "https://127.0.0.1/"}, "NOSUCH"},
		{"level", []string{"--fail-on", "bad", "http://127.0.0.1/"}, "bad"},
		{"colour", []string{"--color", "blue", "http://127.0.0.1/"}, "blue"},
		{"redact", []string{"--redact", "some", "http://127.0.0.1/"}, "some"},
		{"data file", []string{"-d", "@/nonexistent", "http://127.0.0.1/"}, "/nonexistent"},
		{"cookie file", []string{"-b", "/nonexistent", "http://127.0.0.1/"}, "/nonexistent"},
		{"CA file", []string{"--cacert", "/nonexistent", "https://127.0.0.1/"}, "/nonexistent"},
		{"resolve", []string{"--resolve", "a:b", "http://127.0.0.1/"}, "a:b"},
		{"parallel", []string{"-Z", "--parallel-max", "0", "http://127.0.0.1/"}, "parallel-max"},
		{"both versions", []string{"--http1.1", "--http2", "http://127.0.0.1/"}, "http"},
		{"subcommand to come", []string{"page", "http://example.com"}, "page"},
		{"schema with arguments", []string{"schema", "x"}, "schema"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := finish(t, peelCommand(t, c.args...))
			first, _, _ := strings.Cut(r.stderr, "\n")
			if r.code != exitUsage || !strings.HasPrefix(first, "peel: ") || !strings.Contains(first, c.want) {
				t.Errorf("exit code %d, want 2 and %q:\n%s", r.code, c.want, r.stderr)
			}
			if r.stdout != "" {
				t.Errorf("stdout %q", r.stdout)
			}
		})
	}
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	url := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"))
	for _, c := range []struct{ flag, file string }{{"-o", "/nonexistent/body"}, {"-c", "/nonexistent/jar"}, {"-o", "/dev/full"}} {
		t.Run(c.flag+" "+c.file, func(t *testing.T) {
			r := traced(t, c.flag, c.file, url)
			if r.code != exitFailed || !strings.Contains(r.stderr, "\npeel: ") || !strings.Contains(r.stderr, c.file) {
				t.Errorf("exit code %d, want 1 and %q:\n%s", r.code, c.file, r.stderr)
			}
			if r.trace == nil || len(r.trace.Exchanges) != 1 {
				t.Error("no trace")
			}
		})
	}
}

// peel URL | head -c 1: the reader goes away in the middle of the body.
func TestBrokenPipe(t *testing.T) {
	for _, base := range []string{"http://example.com", "https://example.com"} {
		t.Run(base, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "trace.json")
			c := peelCommand(t, "--json="+file, "--lab", base+"/bytes/8000000")
			c.Stdout = w
			go func() {
				r.Read(make([]byte, 1))
				r.Close()
			}()
			time.AfterFunc(patience, func() { w.Close() })
			got := withTrace(t, finish(t, c), file)
			w.Close()
			if got.code != exitFailed || !strings.Contains(got.stderr, "closed by its reader") {
				t.Errorf("exit code %d\n%s", got.code, got.stderr)
			}
			if got.trace == nil || len(got.trace.Exchanges) != 1 || got.trace.Exchanges[0].Response == nil {
				t.Error("the story so far is missing")
			}
		})
	}
}

// Ctrl-C in the middle of a body ends in 130 and the story so far.
func TestInterrupt(t *testing.T) {
	begun := make(chan struct{}, 1)
	url := answering(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe beginning")
		begun <- struct{}{}
		untilGone(c)
	})
	for _, args := range [][]string{{url}, {"-s", url}, {url, url}, {"-Z", url, url}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trace.json")
			c := peelCommand(t, append([]string{"--json=" + file}, args...)...)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			c.Stdout = w
			got := withTrace(t, finish(t, c, func() {
				// Once the first bytes are out, the run is in the body.
				<-begun
				io.ReadFull(r, make([]byte, 13))
				c.Process.Signal(syscall.SIGINT)
			}), file)
			w.Close()
			for len(begun) > 0 {
				<-begun
			}
			if got.code != exitInterrupted {
				t.Errorf("exit code %d, want 130\n%s", got.code, got.stderr)
			}
			if got.trace == nil || !slices.ContainsFunc(got.trace.Exchanges, func(x *trace.Exchange) bool {
				return x.Response != nil && x.Response.Body.WireSize == 13
			}) {
				t.Errorf("the trace does not tell what came:\n%s", got.json)
			}
			if args[0] != "-s" && !regexp.MustCompile(`(?s)200.*13 B`).MatchString(got.stderr) {
				t.Errorf("the story so far is missing:\n%s", got.stderr)
			}
		})
	}
}

// Ctrl-C while nothing comes: in each layer it ends the wait at once.
func TestInterruptWhileWaiting(t *testing.T) {
	needs.Long(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go untilGone(c)
		}
	}()
	silent := l.Addr().String()
	for layer, args := range map[string][]string{
		"tls":   {"https://" + silent + "/"},
		"http1": {"http://" + silent + "/"},
		"http2": {"--lab", "https://example.com/slow/9000"},
	} {
		t.Run(layer, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trace.json")
			c := peelCommand(t, append([]string{"--json=" + file}, args...)...)
			// Long enough to be waiting; were it earlier, the signal would
			// only meet another layer, which the test would tell.
			got := withTrace(t, finish(t, c, func() {
				time.Sleep(time.Second)
				c.Process.Signal(syscall.SIGINT)
			}), file)
			if got.code != exitInterrupted {
				t.Errorf("exit code %d, want 130\n%s", got.code, got.stderr)
			}
			if got.trace == nil || len(got.trace.Exchanges) != 1 || got.trace.Exchanges[0].Failure == nil {
				t.Fatalf("no story so far:\n%s", got.stderr)
			}
			f := got.trace.Exchanges[0].Failure
			if layer == "tls" && f.Layer == "pool" {
				return // waiting for the connection whose handshake it is
			}
			if string(f.Layer) != layer || f.Code != "cancelled" {
				t.Errorf("%+v, want layer %s and cancelled", f, layer)
			}
		})
	}
}
