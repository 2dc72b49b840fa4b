package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"peel/internal/needs"
)

// h2specd plays a server that breaks RFC 9113 in 57 ways and watches how the
// client answers.
func TestH2specd(t *testing.T) {
	needs.Long(t)
	h2specd, err := exec.LookPath("h2specd")
	if err != nil {
		needs.Missing(t, "h2specd is not installed: go install github.com/summerwind/h2spec/cmd/h2specd@v2.2.1+incompatible")
	}
	peel := filepath.Join(t.TempDir(), "peel")
	if out, err := exec.Command("go", "build", "-o", peel, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Some cases send a whole response, then a PING, and want its answer; a
	// program that has its response may end before it sees the PING. A second
	// URL, slow to answer, keeps the pool and its connections alive.
	slow, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	second := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(300 * time.Millisecond)
	})}
	go second.Serve(slow)
	defer second.Close()
	script := filepath.Join(t.TempDir(), "client")
	commands := fmt.Sprintf("#!/bin/sh\nexec %s -s --http2-prior-knowledge -m 5 \"$1\" http://%s/\n", peel, slow.Addr())
	if err := os.WriteFile(script, []byte(commands), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(h2specd, "-p", "0", "-f", "21000", "-o", "2", "--exec", script).CombinedOutput()
	sum := regexp.MustCompile(`\d+ tests, \d+ passed, \d+ skipped, \d+ failed`).FindString(string(out))
	if sum != "57 tests, 57 passed, 0 skipped, 0 failed" {
		var failed []string
		for _, l := range strings.Split(string(out), "\n") {
			if strings.Contains(l, "×") || strings.Contains(l, "Actual") {
				failed = append(failed, l)
			}
		}
		t.Errorf("%s (%v)\n%s", sum, err, strings.Join(failed, "\n"))
	}
}
