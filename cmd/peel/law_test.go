package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"peel/internal/needs"
)

// The law of captures: what --pcap stores and peel read reads is the trace
// that the run itself told, with packets and without.
func TestStoredCaptureGivesTheSameTrace(t *testing.T) {
	runs := map[string][]string{
		"https":      {"https://example.com/api/users"},
		"redirect":   {"-L", "http://example.com/redirect/2", "https://example.com/bytes/200000"},
		"http1":      {"--http1.1", "-d", "a=b", "https://example.com/echo", "https://example.com/api/users"},
		"tls12":      {"--tls-max", "1.2", "https://example.com/", "https://www.example.com/"},
		"no name":    {"https://nosuch.example.com/"},
		"refused":    {"--connect-to", "::127.0.0.1:1", "http://example.com/"},
		"parallel":   {"-Z", "https://example.com/a", "https://example.com/b", "https://example.com/c"},
		"credential": {"-u", "user:pass", "https://example.com/?token=abcdef"},
	}
	for name, args := range runs {
		for _, packets := range []string{"on", "off"} {
			t.Run(name+"/packets="+packets, func(t *testing.T) {
				if packets == "on" {
					needs.Root(t)
				}
				dir := t.TempDir()
				file, live, read := filepath.Join(dir, "f.pcapng"), filepath.Join(dir, "live.json"), filepath.Join(dir, "read.json")
				plain(t, append([]string{"--lab", "-s", "-o", os.DevNull, "--packets=" + packets, "--pcap", file, "--pcap-secrets", "--redact=off", "--json=" + live}, args...)...)
				plain(t, "read", file, "--redact=off", "--json="+read)
				if packets == "on" {
					if p := traceFile(t, live)["packets"].([]any); len(p) == 0 {
						t.Error("no packet was captured")
					}
				}
				a, b := traceFile(t, live), traceFile(t, read)
				for key := range a {
					if !reflect.DeepEqual(a[key], b[key]) {
						x, _ := json.MarshalIndent(a[key], "", " ")
						y, _ := json.MarshalIndent(b[key], "", " ")
						t.Errorf("%s differ:\n%s", key, firstDifference(string(x), string(y)))
					}
				}
			})
		}
	}
}

// The packets and the bytes of the sockets tell the same of a request.
func TestPacketsAndSocketsTellTheSame(t *testing.T) {
	needs.Root(t)
	args := []string{"--lab", "-s", "-o", os.DevNull, "-d", "x=y", "https://example.com/echo", "https://example.com/bytes/300000", "http://example.com/api/users"}
	var told [2]map[string]any
	for i, packets := range []string{"on", "off"} {
		file := filepath.Join(t.TempDir(), "t.json")
		plain(t, append([]string{"--packets=" + packets, "--json=" + file}, args...)...)
		told[i] = traceFile(t, file)
	}
	a, b := told[0]["exchanges"].([]any), told[1]["exchanges"].([]any)
	if len(a) != 3 || len(b) != 3 {
		t.Fatalf("%d and %d exchanges", len(a), len(b))
	}
	for i := range a {
		x, y := a[i].(map[string]any), b[i].(map[string]any)
		for _, key := range []string{"method", "url", "protocol", "stream", "reused"} {
			if !reflect.DeepEqual(x[key], y[key]) {
				t.Errorf("exchange %d: %s is %v by packets and %v by sockets", i+1, key, x[key], y[key])
			}
		}
		for _, message := range []string{"request", "response"} {
			p, q := x[message].(map[string]any), y[message].(map[string]any)
			if !reflect.DeepEqual(p["body"], q["body"]) || !reflect.DeepEqual(p["status"], q["status"]) {
				t.Errorf("exchange %d: the %s is\n%v by packets and\n%v by sockets", i+1, message, p["body"], q["body"])
			}
		}
	}
	// The races of names and addresses can end differently in two runs; the
	// connections that carried the requests are the same.
	carrying := func(trace map[string]any) (n int) {
		for _, c := range trace["connections"].([]any) {
			if c.(map[string]any)["exchanges"] != nil {
				n++
			}
		}
		return n
	}
	if x, y := carrying(told[0]), carrying(told[1]); x != y {
		t.Errorf("%d connections carried requests by packets, %d by sockets", x, y)
	}
}

// tshark opens a stored capture decrypted, made-up packets too.
func TestStoredCaptureOpensInTshark(t *testing.T) {
	needs.Tool(t, "tshark")
	for _, packets := range []string{"on", "off"} {
		if packets == "on" {
			needs.Root(t)
		}
		file := filepath.Join(t.TempDir(), "f.pcapng")
		plain(t, "--lab", "-s", "-o", os.DevNull, "--packets="+packets, "--pcap", file, "--pcap-secrets", "https://example.com/api/users")
		out, err := exec.Command("tshark", "-r", file, "-Y", "http2.headers", "-T", "fields", "-e", "http2.headers.path", "-e", "http2.headers.status").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "/api/users") || !strings.Contains(string(out), "200") {
			t.Errorf("packets=%s: %v\n%s", packets, err, out)
		}
		if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("the file with secrets is open to others: %v %v", fi.Mode(), err)
		}
	}
}

func traceFile(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			from := max(0, i-6)
			return strings.Join(x[from:min(i+6, len(x))], "\n") + "\n--- read:\n" + strings.Join(y[from:min(i+6, len(y))], "\n")
		}
	}
	return "one ends after the other"
}

// plain runs peel with no flags but those given.
func plain(t *testing.T, args ...string) ran {
	t.Helper()
	return finish(t, peelCommand(t, args...))
}

// At full loopback speed, no packet is dropped by peel, and the packets carry
// every byte.
func TestLiveCaptureKeepsUp(t *testing.T) {
	needs.Root(t)
	for _, url := range []string{"http://example.com/bytes/100000000", "https://example.com/bytes/100000000"} {
		r := traced(t, "--lab", "-s", "-o", os.DevNull, "--packets=on", url)
		if r.code != 0 || len(r.trace.Exchanges) != 1 {
			t.Fatalf("%s: exit %d, %s", url, r.code, r.stderr)
		}
		if b := r.trace.Exchanges[0].Response.Body; b.WireSize != 100_000_000 || !b.Complete {
			t.Errorf("%s: the packets carried %d bytes, complete %v", url, b.WireSize, b.Complete)
		}
		for _, e := range r.trace.Events {
			if e.Layer == "capture" || e.Name == "tcp.gap" {
				t.Errorf("%s: %s", url, e.Text)
			}
		}
		c := r.trace.Connection(r.trace.Exchanges[0].Connection)
		if c == nil || c.Segments == nil || c.Segments.Missing != 0 || c.Segments.Account.Content != 100_000_000 {
			t.Errorf("%s: connection %+v", url, c)
		}
	}
}
