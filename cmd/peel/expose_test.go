package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServeDNSCheck(t *testing.T) {
	dir := t.TempDir()
	zone := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return "a.test=" + file
	}
	good := zone("good", "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 127.0.0.1\n")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--zone", good}, exitDone, "nothing is wrong"},
		{[]string{"--zone", zone("bad", "@ SOA ns h 1 2 3 4 x\n")}, exitFailed, "bad:1"},
		{[]string{"--zone", good, "--listen", "here"}, exitFailed, "--listen here"},
		{[]string{"--zone", good, "--tls", "here"}, exitFailed, "--tls here"},
		{[]string{"--zone", good, "--cert", filepath.Join(dir, "none"), "--tls", "127.0.0.1:1"}, exitFailed, "--cert: open "},
		{[]string{"--zone", good, "--key", filepath.Join(dir, "none")}, exitUsage, "--cert"},
		{[]string{"--zone", good, "--query-log", filepath.Join(dir, "none", "log")}, exitFailed, "--query-log"},
		{[]string{"--recursive", "--cache-size", "-1"}, exitUsage, "--cache-size"},
		{[]string{"--zone", good, "--metrics", "192.0.2.1:80"}, exitFailed, "loopback"},
		{[]string{"--recursive", "--allow-recursion", "all"}, exitFailed, "--allow-recursion all"},
		{[]string{"--zone", good, "--user", "nobody-of-that-name"}, exitFailed, "--user"},
	} {
		if _, stderr, code := runPeel(t, append([]string{"serve", "dns", "--check"}, c.args...)...); code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
}

// What a server tells those who run it: metrics, health, and each query.
func TestServeDNSMetricsAndQueryLog(t *testing.T) {
	dir := t.TempDir()
	file, log := filepath.Join(dir, "zone"), filepath.Join(dir, "log")
	if err := os.WriteFile(file, []byte("$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	lines := serveInBackground(t, "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "--zone", "a.test="+file, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--query-log", log)
	metrics := said(t, lines, `metrics on (\S+)`)
	at := said(t, lines, `serving DNS on (\S+),`)
	buf := make([]byte, 100)
	ready.SetDeadline(time.Now().Add(15 * time.Second))
	if n, err := ready.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("systemd is told %q, %v", buf[:n], err)
	}
	runPeel(t, "dns", "@"+at, "www.a.test", "A")
	runPeel(t, "dns", "@"+at, "nobody.a.test", "A", "--tcp")
	get := func(url string) string {
		t.Helper()
		r, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 {
			t.Errorf("%s: %s, %v", url, r.Status, err)
		}
		return string(b)
	}
	text := get(metrics)
	for _, want := range []string{`peel_dns_queries_total{transport="udp"} 1`, `peel_dns_queries_total{transport="tcp"} 1`, `peel_dns_responses_total{rcode="NXDOMAIN"} 1`,
		`peel_dns_responses_by_source_total{source="zone"} 2`, "# TYPE peel_dns_connections gauge"} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if got := get(strings.Replace(metrics, "/metrics", "/health", 1)); got != "ok\n" {
		t.Errorf("%q", got)
	}
	var seen []visitJSON
	for end := time.Now().Add(15 * time.Second); len(seen) < 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		seen = nil
		b, _ := os.ReadFile(log)
		for d := json.NewDecoder(strings.NewReader(string(b))); ; {
			var v visitJSON
			if err := d.Decode(&v); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Log(err)
				}
				break
			}
			seen = append(seen, v)
		}
	}
	if len(seen) != 2 || seen[0].Name != "www.a.test." || seen[0].Rcode != "NOERROR" || seen[0].From != "zone" || seen[1].Transport != "tcp" || seen[1].Rcode != "NXDOMAIN" {
		t.Errorf("%+v", seen)
	}
	if i, err := os.Stat(log); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
}

// The directory of control sockets is this user's own, or none.
func TestControlDirectoryIsOurs(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", tmp)
	dir := filepath.Join(tmp, fmt.Sprintf("peel-%d", os.Geteuid()))
	try := func() error {
		f, err := controlDir(true)
		if err == nil {
			f.Close()
		}
		return err
	}
	if err := try(); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Lstat(dir); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", i, err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil || !strings.Contains(err.Error(), "others can write") {
		t.Errorf("a directory that all can write to is taken: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		if err := try(); err == nil || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("somebody else's directory is taken: %v", err)
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(filepath.Join(tmp, "other"), 0o700), os.Symlink("other", dir)); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil {
		t.Error("a symbolic link is followed")
	}
	if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := try(); err == nil {
		t.Error("a file is taken for a directory")
	}
}
