package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peel/internal/needs"
)

// What failed is said once, first, with what to try; a finding that says the
// same is told with it and not again.
func TestVerdictIsToldOnce(t *testing.T) {
	port := freePort(t)
	r := plain(t, "--packets=off", "http://127.0.0.1:"+port+"/")
	lines := strings.Split(r.stderr, "\n")
	if !strings.HasPrefix(lines[0], "GET ") || !strings.HasPrefix(lines[1], "failed  in ") || !strings.HasPrefix(lines[2], "tcp: 127.0.0.1:"+port+" refused the connection") {
		t.Errorf("the verdict is not first:\n%s", r.stderr)
	}
	for _, once := range []string{"refused the connection", "\ntry ", "CONNECT-REFUSED"} {
		if n := strings.Count(r.stderr, once); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", once, n, r.stderr)
		}
	}
	if strings.Contains(r.stderr, "error CONNECT-REFUSED") {
		t.Errorf("the finding is told again:\n%s", r.stderr)
	}
}

// A response that came and is bad: its row is marked, in colour and without;
// the finding names the request; and it is found.
func TestBadResponseIsMarked(t *testing.T) {
	good := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood"))
	short := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"))
	file := filepath.Join(t.TempDir(), "f.pcapng")
	plain(t, "-s", "--packets=off", "-o", os.DevNull, "-o", os.DevNull, "-o", os.DevNull, "--pcap", file, good+"first", short+"second", good+"third")
	list := plain(t, "read", file).stdout
	row := ""
	for l := range strings.Lines(list) {
		if strings.Contains(l, "second") {
			row = l
		}
	}
	if !strings.Contains(row, " 2 200 ✗ ") || strings.Count(list, "✗") != 1 {
		t.Errorf("the row is not marked:\n%s", list)
	}
	wantIn(t, "the finding", list, "error HTTP-TRUNCATED: request 2: ")
	if coloured := plain(t, "read", file, "--color=always").stdout; !strings.Contains(coloured, "\x1b[31m200 ✗") {
		t.Errorf("the mark has no colour:\n%q", coloured)
	}
	if failed := plain(t, "read", file, "--status", "failed").stdout; !strings.Contains(failed, "second") || strings.Contains(failed, "first") {
		t.Errorf("--status failed finds\n%s", failed)
	}
}

// The longest method is shown whole.
func TestMethodsAreNotClipped(t *testing.T) {
	url := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	file := filepath.Join(t.TempDir(), "f.pcapng")
	plain(t, "-s", "--packets=off", "-o", os.DevNull, "--pcap", file, "-X", "PROPFIND", url, url)
	wantIn(t, "the list", plain(t, "read", file).stdout, " PROPFIND http://")
}

// A proxy that the environment names is not passed over in silence.
func TestProxyOfTheEnvironment(t *testing.T) {
	for _, c := range []struct{ env, url, want string }{
		{"http_proxy=http://p:3128", "http://a.example/", "http_proxy"},
		{"HTTP_PROXY=http://p:3128", "http://a.example/", ""}, // a CGI program's
		{"http_proxy=http://p:3128", "https://a.example/", ""},
		{"https_proxy=http://p:3128", "https://a.example/", "https_proxy"},
		{"HTTPS_PROXY=http://p:3128", "https://a.example/", "HTTPS_PROXY"},
		{"all_proxy=socks5://p", "https://a.example/", "all_proxy"},
		{"ALL_PROXY=socks5://p", "http://a.example/", "ALL_PROXY"},
		{"http_proxy=http://p no_proxy=.example,x", "http://a.example/", ""},
		{"http_proxy=http://p no_proxy=ample", "http://a.example/", "http_proxy"},
		{"http_proxy=http://p NO_PROXY=*", "http://a.example/", ""},
		{"http_proxy=http://p no_proxy=10.0.0.0/8", "http://10.1.2.3/", ""},
		{"", "http://a.example/", ""},
	} {
		env := map[string]string{}
		for _, v := range strings.Fields(c.env) {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
		scheme, rest, _ := strings.Cut(c.url, "://")
		if got := proxyVariable(func(name string) string { return env[name] }, scheme, strings.TrimSuffix(rest, "/")); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.env, c.url, got, c.want)
		}
	}
	url := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	run := func(args ...string) string {
		c := peelCommand(t, append(args, url, url)...)
		c.Env = append(c.Env, "http_proxy=http://ada:geheim@127.0.0.1:1", "no_proxy=")
		return finish(t, c).stderr
	}
	if got := run(); !strings.HasPrefix(got, "peel: http_proxy is set, and peel does not use proxies yet: going direct to 127.0.0.1\n") || strings.Count(got, "http_proxy") != 1 || strings.Contains(got, "geheim") {
		t.Errorf("%s", got)
	}
	if got := run("-s"); got != "" {
		t.Errorf("-s: %s", got)
	}
}

// terminal is a pseudo-terminal: what a program writes to tty is read from
// screen.
func newTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		needs.Missing(t, "a pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return screen, tty
}

// onTerminal runs peel with stdout on a terminal, and returns what is on it.
func onTerminal(t *testing.T, args ...string) (string, ran) {
	t.Helper()
	screen, tty := newTerminal(t)
	c := peelCommand(t, args...)
	c.Stdout = tty
	shown := make(chan string)
	go func() {
		b, _ := io.ReadAll(screen) // ends with an error when nobody has the tty open
		shown <- strings.ReplaceAll(string(b), "\r\n", "\n")
	}()
	r := finish(t, c)
	tty.Close()
	return <-shown, r
}

// On a terminal the story is shown instead of the body, and with -s the body.
func TestTerminal(t *testing.T) {
	url := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"))
	if got, r := onTerminal(t, "-s", url); got != "hello\n" || r.code != 0 || r.stderr != "" {
		t.Errorf("-s: exit %d, %q, %s", r.code, got, r.stderr)
	}
	if got, _ := onTerminal(t, url); strings.Contains(got, "hello") || !strings.Contains(got, "200 OK") {
		t.Errorf("the story: %q", got)
	}
	binary := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n\x7fELF\x00\x01"))
	if got, r := onTerminal(t, "-s", binary); got != "" || r.code != exitFailed || !strings.Contains(r.stderr, "-o FILE") {
		t.Errorf("binary: exit %d, %q, %s", r.code, got, r.stderr)
	}
	if got, r := onTerminal(t, "-s", "-o", "-", binary); !strings.Contains(got, "ELF\x00") || r.code != 0 {
		t.Errorf("binary, asked for: exit %d, %q, %s", r.code, got, r.stderr)
	}
}

// A file that is sent is read as it is sent, however large it is, and anew when
// it is sent again.
func TestUploadsAreNotKeptInMemory(t *testing.T) {
	needs.Long(t)
	file := filepath.Join(t.TempDir(), "up")
	got := make(chan string, 4)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := make([]byte, 5)
		io.ReadFull(r.Body, begin)
		n, _ := io.Copy(io.Discard, r.Body)
		got <- fmt.Sprintf("%s %s %d", r.Method, begin, n+5)
		if r.URL.Path == "/twice" {
			http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
		}
	}))
	for _, c := range []struct {
		path  string
		size  int64
		sends int
	}{{"/twice", 3 << 20, 2}, {"/once", 800 << 20, 1}} {
		if err := os.WriteFile(file, []byte("begin"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, c.size); err != nil {
			t.Fatal(err)
		}
		run := peelCommand(t, "-s", "-L", "--packets=off", "-X", "PUT", "--data-binary", "@"+file, "http://"+l.Addr().String()+c.path)
		if r := finish(t, run); r.code != 0 {
			t.Fatal(r.stderr)
		}
		for range c.sends {
			if once, want := <-got, fmt.Sprintf("PUT begin %d", c.size); once != want {
				t.Errorf("the server got %s, want %s", once, want)
			}
		}
		// The evidence that waits for the analysis is bounded; the file is in
		// nobody's memory.
		if kb := run.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; kb > 500<<10 {
			t.Errorf("peel took %d MB of memory to send %d MB", kb>>10, c.size>>20)
		}
	}
}

// What is sent is what curl sends: parts joined, line ends of --data files taken
// out, those of --data-binary kept.
func TestBodyOfParts(t *testing.T) {
	file := writeFile(t, "f", []byte("x\r\ny\n"))
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go os.WriteFile(pipe, []byte("piped"), 0)
	r := plain(t, "--lab", "-s", "-d", "a=b", "-d", "@"+file, "--data-raw", "@c", "--data-binary", "@"+file, "--data-binary", "@"+pipe, "https://example.com/echo")
	wantIn(t, "the echo", r.stdout, "a=b&xy&@c&x\r\ny\n&piped")
}

// A capture that grows is told as it grows: a row for each request when it has
// ended, though nothing follows.
func TestFollowTellsRequestsAsTheyEnd(t *testing.T) {
	good := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood"))
	short := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"))
	dir := t.TempDir()
	whole, growing := filepath.Join(dir, "whole.pcapng"), filepath.Join(dir, "growing.pcapng")
	var parts [2][]byte
	for i, url := range []string{good + "first?token=geheimnis", short + "second"} {
		plain(t, "-s", "--packets=off", "-o", os.DevNull, "--pcap", whole, url)
		b, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = b // a section of pcapng each
	}
	f, err := os.Create(growing)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Write(parts[0])
	c := peelCommand(t, "read", "--follow", growing)
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = w
	time.AfterFunc(patience, func() { out.Close() })
	lines := bufio.NewScanner(out)
	until := func(want string) (seen string) {
		for lines.Scan() {
			seen += lines.Text() + "\n"
			if strings.Contains(lines.Text(), want) {
				return seen
			}
		}
		t.Fatalf("%q is never told:\n%s", want, seen)
		return ""
	}
	finish(t, c, func() {
		if first := until("first"); !strings.Contains(first, "1 200 ") || strings.Contains(first, "geheimnis") {
			t.Errorf("%s", first)
		}
		f.Write(parts[1])
		wantIn(t, "the second", until("try "), "2 200 ✗", "HTTP-TRUNCATED", "http1: ")
		c.Process.Signal(os.Interrupt)
	})
	w.Close()
	rest, _ := io.ReadAll(out)
	if bytes.Contains(rest, []byte("second")) {
		t.Errorf("told again:\n%s", rest)
	}
}

// So is a pipe, in which nothing more comes either; and the end of the reading
// does not wait for it.
func TestFollowTellsRequestsOfAPipe(t *testing.T) {
	url := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood"))
	file := filepath.Join(t.TempDir(), "f.pcapng")
	plain(t, "-s", "--packets=off", "-o", os.DevNull, "--pcap", file, url+"first")
	capture, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(c *exec.Cmd, in io.Closer){
		"interrupted": func(c *exec.Cmd, _ io.Closer) { c.Process.Signal(os.Interrupt) },
		"ended":       func(_ *exec.Cmd, in io.Closer) { in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := peelCommand(t, "read", "--follow", "-")
			in, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			out, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			c.Stdout = w
			time.AfterFunc(patience, func() { out.Close() })
			r := finish(t, c, func() {
				in.Write(capture)
				lines := bufio.NewScanner(out)
				for lines.Scan() && !strings.Contains(lines.Text(), "first") {
				}
				if !strings.Contains(lines.Text(), "1 200 ") {
					t.Errorf("%q", lines.Text())
				}
				end(c, in)
			})
			w.Close()
			if r.code != 0 {
				t.Errorf("exit %d: %s", r.code, r.stderr)
			}
		})
	}
}
