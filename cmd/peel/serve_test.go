package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/internal/needs"
)

// serveInBackground runs peel serve dns until the test ends, and returns what
// it says line by line.
func serveInBackground(t *testing.T, env string, args ...string) <-chan string {
	t.Helper()
	c := peelCommand(t, append([]string{"serve", "dns"}, args...)...)
	c.Env = append(c.Env, env)
	return inBackground(t, c)
}

// inBackground is serveInBackground for a command that is made already.
func inBackground(t *testing.T, c *exec.Cmd) <-chan string {
	t.Helper()
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		if err := c.Wait(); err != nil {
			t.Errorf("it did not end well: %v", err)
		}
	})
	lines := make(chan string, 100)
	go func() {
		s := bufio.NewScanner(stderr)
		for s.Scan() {
			lines <- s.Text()
		}
		close(lines)
	}()
	return lines
}

// said waits for a line and returns the part in its parentheses.
func said(t *testing.T, lines <-chan string, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.After(15 * time.Second); ; {
		select {
		case l, ok := <-lines:
			if m := re.FindStringSubmatch(l); m != nil {
				return m[len(m)-1]
			}
			if !ok {
				t.Fatalf("it ended without saying %s", pattern)
			}
		case <-end:
			t.Fatalf("it does not say %s", pattern)
		}
	}
}

func TestServeDNS(t *testing.T) {
	needs.Long(t)
	file := filepath.Join(t.TempDir(), "zone")
	zone := func(serial, addr string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("$TTL 60\n@ SOA ns h "+serial+" 2 3 4 5\n@ NS ns\nns A 127.0.0.1\nwww A "+addr+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	zone("1", "192.0.2.1")
	lines := serveInBackground(t, "", "--zone", "a.test="+file, "--listen", "127.0.0.1:0", "--tls", "127.0.0.1:0", "--https", "127.0.0.1:0", "--allow-transfer", "127.0.0.1", "--nsid", "me")
	at := said(t, lines, `serving DNS on (\S+),`)
	dot := said(t, lines, `DNS over TLS on (\S+)`)
	doh := said(t, lines, `DNS over HTTPS on (\S+)`)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"@" + at, "www.a.test", "A", "--short"}, "192.0.2.1\n"},
		{[]string{"@" + at, "www.a.test", "A", "--tcp"}, "over tcp"},
		{[]string{"@" + at, "www.a.test", "A", "--nsid"}, `("me")`},
		{[]string{"@" + dot, "--tls", "-k", "www.a.test", "A"}, "over tls"},
		{[]string{"--https", doh, "-k", "www.a.test", "A"}, "over https"},
		{[]string{"@" + at, "a.test", "AXFR"}, ";; 5 records in 1 messages"},
		{[]string{"@" + at, "nobody.a.test", "A"}, "NXDOMAIN"},
		{[]string{"@" + at, "www.a.test", "A", "--json"}, `"data": "192.0.2.1"`},
	} {
		if out, stderr, code := runPeel(t, append([]string{"dns"}, c.args...)...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit %d, no %q in\n%s%s", c.args, code, c.want, out, stderr)
		}
	}
	if out, stderr, code := runPeel(t, "dns", "@"+dot, "--tls", "www.a.test", "A"); code != 1 || !strings.Contains(stderr, "certificate") {
		t.Errorf("a certificate that nobody knows was taken: exit %d\n%s%s", code, out, stderr)
	}
	// A file with an error leaves the zone as it was; a good one replaces it.
	zone("2", "x")
	said(t, lines, "stays as it was")
	if out, _, _ := runPeel(t, "dns", "@"+at, "www.a.test", "A", "--short"); out != "192.0.2.1\n" {
		t.Error(out)
	}
	zone("3", "192.0.2.3")
	said(t, lines, "serial 3")
	if out, _, _ := runPeel(t, "dns", "@"+at, "www.a.test", "A", "--short"); out != "192.0.2.3\n" {
		t.Error(out)
	}
	if out, _, _ := runPeel(t, "dns", "@"+at, "a.test", "IXFR", "--serial", "1"); !strings.Contains(out, "www.a.test. 60 IN A 192.0.2.1\n") || !strings.Contains(out, "www.a.test. 60 IN A 192.0.2.3\n") {
		t.Errorf("IXFR:\n%s", out)
	}
}

// A server that comes to the end of its file descriptors says so, goes on, and
// recovers; with more of them it does not come to their end.
func TestServeDNSWithFewFiles(t *testing.T) {
	needs.Tool(t, "sh")
	file := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(file, []byte("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, files := range []string{"14", "256"} {
		t.Run(files, func(t *testing.T) {
			c := peelCommand(t, "serve", "dns", "--zone", "a.test="+file, "--listen", "127.0.0.1:0")
			limited := exec.Command("sh", append([]string{"-c", "ulimit -n " + files + "; exec \"$@\"", "sh", c.Path}, c.Args[1:]...)...)
			limited.Env, limited.Dir = c.Env, c.Dir
			lines := inBackground(t, limited)
			at := said(t, lines, `serving DNS on (\S+),`)
			var held []net.Conn
			for i := range 255 {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i))}, Timeout: 5 * time.Second}
				if conn, err := d.Dial("tcp", at); err == nil {
					held = append(held, conn)
				}
			}
			ask := func(over ...string) string {
				out, _, _ := runPeel(t, append([]string{"dns", "@" + at, "www.a.test", "A", "--short"}, over...)...)
				return out
			}
			if files == "14" {
				said(t, lines, "accepting connections on .*ulimit -n")
			} else if out := ask("--tcp"); out != "192.0.2.1\n" {
				t.Errorf("over TCP, with connections held: %q", out)
			}
			if out := ask(); out != "192.0.2.1\n" {
				t.Errorf("over UDP, with connections held: %q", out)
			}
			for _, conn := range held {
				conn.Close()
			}
			if files == "14" {
				said(t, lines, "it works again")
			}
			if out := ask("--tcp"); out != "192.0.2.1\n" {
				t.Errorf("over TCP, afterwards: %q", out)
			}
		})
	}
}

func TestServeDNSRecursiveAndItsCache(t *testing.T) {
	rootPort, hints, anchor := smallInternet(t, 7)
	run := t.TempDir()
	env := "XDG_RUNTIME_DIR=" + run
	lines := serveInBackground(t, env, "--recursive", "--root-hints", hints, "--trust-anchor", anchor, "--root-port", rootPort, "--listen", "127.0.0.1:0")
	at := said(t, lines, `serving DNS on (\S+),`)
	out, stderr, code := runPeel(t, "dns", "@"+at, "www.example.test", "A")
	if code != 0 || !strings.Contains(out, "flags: rd ra ad") || !strings.Contains(out, "192.0.2.1") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	_, port, _ := net.SplitHostPort(at)
	ask := func(args ...string) string {
		t.Helper()
		c := peelCommand(t, append([]string{"dns", "--cache", "-p", port}, args...)...)
		c.Env = append(c.Env, env)
		r := finish(t, c)
		if r.code != 0 {
			t.Errorf("%v: exit %d\n%s", args, r.code, r.stderr)
		}
		return r.stdout
	}
	if out := ask(); !regexp.MustCompile(`(?m)^web\.example\.test\. \d+ IN A 192\.0\.2\.1 ; of 300 s \(answer, secure\)$`).MatchString(out) || !strings.Contains(out, "entries, about") {
		t.Error(out)
	}
	// What is no name is not every name: neither here nor where it arrives.
	for _, flags := range [][]string{{"--flush"}, {"--flush", "--below"}, {}} {
		if _, stderr, code := runPeel(t, append([]string{"dns", "--cache", "-p", port, "bad..name"}, flags...)...); code != exitUsage || !strings.Contains(stderr, "bad..name") {
			t.Errorf("%v: exit %d, %s", flags, code, stderr)
		}
	}
	c, err := net.Dial("unix", filepath.Join(run, "peel-dns-"+port+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var r controlReply
	if err := errors.Join(json.NewEncoder(c).Encode(control{Flush: true, Name: "bad..name", Below: true}), json.NewDecoder(c).Decode(&r)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Error, "bad..name") || r.Flushed != 0 {
		t.Errorf("the server forgot %d entries: %q", r.Flushed, r.Error)
	}
	if out := ask("web.example.test", "--flush"); !strings.Contains(out, "forgot 1 entries") {
		t.Error(out)
	}
	if out := ask("--json"); strings.Contains(out, `"name": "web.example.test."`) || !strings.Contains(out, `"name": "www.example.test."`) {
		t.Error(out)
	}
}
