package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peel/internal/needs"
	"peel/internal/pki"
)

var topLevelKeys = []string{"schema_version", "start", "exchanges", "lookups", "connections", "packets", "events", "findings"}

// Whatever happened, the trace is what `peel schema` describes.
func TestJSONValidatesAgainstSchema(t *testing.T) {
	needs.Long(t)
	check := filepath.Join(t.TempDir(), "schemacheck")
	build := command(t, "go", "build", "-o", check, ".")
	build.Dir = "testdata/schemacheck"
	if r := finish(t, build); r.code != 0 {
		needs.Missing(t, "the schema validator cannot be built: %s", r.stderr)
	}
	schema := finish(t, peelCommand(t, "schema"))
	if schema.code != 0 || schema.stderr != "" {
		t.Fatal(schema)
	}
	schemaFile := writeFile(t, "schema.json", []byte(schema.stdout))
	short := answering(t, says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"))
	expired, ca := tlsServer(t, pki.Leaf{Names: []string{"other.example"}}, nil)
	files := []string{schemaFile}
	for name, args := range map[string][]string{
		"page":         {"https://example.com/"},
		"clear":        {"http://example.com/chunked"},
		"fields":       {"-vv", "https://example.com/trailers"},
		"redirects":    {"-L", "https://example.com/redirect/3"},
		"parallel":     {"-Z", "https://example.com/1", "https://example.com/2", "http://example.com/3"},
		"informed":     {"https://example.com/early-hints"},
		"compressed":   {"-v", "https://example.com/br"},
		"not found":    {"https://nosuch.example.com/"},
		"refused":      {"http://127.0.0.1:1/"},
		"short":        {short},
		"short h2":     {"https://example.com/short-body"},
		"certificate":  {"--cacert", ca, expired},
		"closed":       {"http://example.com/close-early"},
		"out of time":  {"-m", "0.2", "https://example.com/slow/9000"},
		"unredacted":   {"--redact=off", "-u", "user:pass", "https://example.com/basic-auth?token=abc"},
		"cookies":      {"-b", "a=1", "-c", "/dev/null", "https://example.com/cookie"},
		"posted":       {"-d", "a=1", "https://example.com/echo"},
		"interim":      {"--http1.1", "https://example.com/early-hints"},
		"redirect too": {"-L", "--max-redirs", "2", "https://example.com/redirect-loop"},
	} {
		r := traced(t, append([]string{"--lab"}, args...)...)
		if r.trace == nil {
			t.Errorf("%s: no trace: %s", name, r.stderr)
			continue
		}
		if keys := keysOf(t, r.json); !slices.Equal(keys, topLevelKeys) {
			t.Errorf("%s: top-level keys %q", name, keys)
		}
		files = append(files, writeFile(t, strings.ReplaceAll(name, " ", "-")+".json", r.json))
	}
	if r := finish(t, command(t, check, files...)); r.code != 0 {
		t.Error(r.stdout, r.stderr)
	}
}

// keysOf lists the keys of a JSON object in the order in which they stand.
func keysOf(t *testing.T, b []byte) (keys []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// With --json the trace is all of stdout, and nothing else is written.
func TestJSONToStdout(t *testing.T) {
	for _, args := range [][]string{
		{"--lab", "--json", "https://example.com/"},
		{"--lab", "--json", "https://example.com/", "http://example.com/"},
	} {
		r := finish(t, peelCommand(t, args...))
		if r.code != 0 || r.stderr != "" {
			t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
		}
		if keys := keysOf(t, []byte(r.stdout)); !slices.Equal(keys, topLevelKeys) {
			t.Errorf("top-level keys %q", keys)
		}
	}
}

// The trace is a file that people attach to bug reports: nothing that opens a
// door stands in it, in no encoding of it, unless it is asked for.
func TestSecretsStayOut(t *testing.T) {
	needs.Long(t)
	server := answering(t, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 302 Found\r\nSet-Cookie: sid=s3cr3t-setcookie; Path=/\r\nLocation: /next?token=s3cr3t-location\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	host, port, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(server, "http://"), "/"), ":")
	secrets := []string{
		"s3cr3t-bearer", "s3cr3t-cookie", "s3cr3t-query", "s3cr3t-setcookie", "s3cr3t-location", "s3cr3t-key",
	}
	args := []string{"-H", "Authorization: Bearer s3cr3t-bearer", "-H", "X-Api-Key: s3cr3t-key", "-b", "sid=s3cr3t-cookie"}
	for name, rest := range map[string][]string{
		"HTTP/1.1":  {"http://" + host + ":" + port + "/?token=s3cr3t-query"},
		"HTTP/2":    {"--lab", "https://example.com/cookie?token=s3cr3t-query"},
		"a failure": {"http://127.0.0.1:1/?token=s3cr3t-query"},
		"redirects": {"--max-redirs", "2", "-L", "http://" + host + ":" + port + "/?token=s3cr3t-query"},
	} {
		for _, verbose := range []string{"", "-v", "-vv"} {
			t.Run(name+verbose, func(t *testing.T) {
				all := slices.Concat(args, rest)
				if verbose != "" {
					all = append(all, verbose)
				}
				r := traced(t, all...)
				if r.trace == nil {
					t.Fatal(r.stderr)
				}
				for _, s := range secrets {
					for how, e := range map[string]string{"as it is": s, "in hexadecimal": hexOf(s)} {
						if i := strings.Index(string(r.json), e); i >= 0 {
							t.Errorf("%s stands %s in the trace: …%s…", s, how, r.json[max(0, i-120):min(len(r.json), i+60)])
						}
					}
				}
				open := traced(t, append([]string{"--redact=off"}, all...)...)
				for _, s := range secrets[:3] {
					if name == "a failure" && s != "s3cr3t-query" {
						continue // they were never sent
					}
					if !strings.Contains(string(open.json), s) {
						t.Errorf("--redact=off: %s is not in the trace", s)
					}
				}
			})
		}
	}
	t.Run("short token and fragment", func(t *testing.T) {
		r := traced(t, "--lab", "-vv", "https://example.com/?a=1&token=xyz#access_token=s3cr3t-fragment")
		for _, s := range []string{"=xyz", hexOf("=xyz"), "s3cr3t-fragment"} {
			if strings.Contains(string(r.json), s) {
				t.Errorf("%s stands in the trace", s)
			}
		}
	})
	t.Run("password", func(t *testing.T) {
		r := traced(t, "--lab", "-vv", "-u", "user:pass", "https://user:pass@example.com/basic-auth")
		for _, s := range []string{"dXNlcjpwYXNz", "user:pass"} {
			if strings.Contains(string(r.json), s) || strings.Contains(string(r.json), hexOf(s)) {
				t.Errorf("%s stands in the trace", s)
			}
		}
	})
}

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }
