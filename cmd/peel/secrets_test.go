package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"peel/internal/needs"
)

// secret marks each secret of these tests: no two are the same, so that what
// leaks tells whence.
func secret(where string) string { return "s3cr3t-" + where + "-9f" }

// encoded are the ways in which somebody might read a secret from an output.
func encoded(s string) map[string]string {
	percent := ""
	for i := range len(s) {
		percent += fmt.Sprintf("%%%02X", s[i])
	}
	return map[string]string{"as it is": s, "in base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(s)), "="), "in hexadecimal": hex.EncodeToString([]byte(s)), "percent-encoded": percent}
}

var dump = regexp.MustCompile(`(?m)^ +[0-9a-f]{4}  ((?:[0-9a-f]{2} +)+)`)

// leaks looks for secrets in an output, in hex dumps too.
func leaks(t *testing.T, what, out string, secrets []string) {
	t.Helper()
	bytes := ""
	for _, m := range dump.FindAllStringSubmatch(out, -1) {
		bytes += strings.ReplaceAll(m[1], " ", "")
	}
	for _, s := range secrets {
		for how, e := range encoded(s) {
			if i := strings.Index(out, e); i >= 0 {
				t.Errorf("%s: %s stands there %s: …%s…", what, s, how, out[max(0, i-100):min(len(out), i+60)])
			}
		}
		if strings.Contains(bytes, hex.EncodeToString([]byte(s))) {
			t.Errorf("%s: %s stands in a dump", what, s)
		}
	}
}

// secretive answers with secrets, in fields and in JSON, and sends on to a URL
// with one.
func secretive(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/" {
			w.Header().Set("Set-Cookie", "sid="+secret("set-cookie")+"; Path=/")
			w.Header().Set("Location", "/next?token="+secret("location"))
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Refresh-Token", secret("field"))
		fmt.Fprintf(w, `{"access_token": %q, "expires_in": 3600, "nothing": "here"}`, secret("json"))
	}))
	return l.Addr().String()
}

// Nothing that opens a door stands in what people store, show and attach to
// reports, in no encoding of it, unless it is asked for: neither when a request
// is made nor when its capture is read.
func TestNoSecretInAnyOutput(t *testing.T) {
	needs.Long(t)
	addr := secretive(t)
	runs := map[string][]string{
		"HTTP/1.1":  {"-L", "http://ada:" + secret("userinfo") + "@" + addr + "/?api_key=" + secret("query")},
		"form":      {"-H", "Authorization: Bearer " + secret("bearer"), "-d", "grant_type=code&client_secret=" + secret("form") + "&code=" + secret("code"), "http://" + addr + "/x"},
		"JSON":      {"-u", "ada:" + secret("password"), "--json-body", `{"name":"ada","password":"` + secret("jsonbody") + `"}`, "http://" + addr + "/x"},
		"HTTP/2":    {"--lab", "-H", "Authorization: Bearer " + secret("bearer"), "-b", "sid=" + secret("cookie"), "https://example.com/cookie?token=" + secret("query")},
		"form h2":   {"--lab", "-d", "client_secret=" + secret("form"), "https://example.com/echo"},
		"a failure": {"-b", "sid=" + secret("cookie"), "http://ada:" + secret("userinfo") + "@127.0.0.1:1/?access_token=" + secret("query")},
		"no name":   {"--lab", "http://ada:" + secret("userinfo") + "@nosuch.example.com/?access_token=" + secret("query")},
	}
	var all []string
	for _, where := range []string{"userinfo", "query", "bearer", "form", "code", "password", "jsonbody", "cookie", "apikey", "referer", "set-cookie", "location", "field", "json"} {
		all = append(all, secret(where))
	}
	all = append(all, base64.StdEncoding.EncodeToString([]byte("ada:"+secret("password"))), base64.StdEncoding.EncodeToString([]byte("ada:"+secret("userinfo"))))
	for name, args := range runs {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := func(f string) string { return filepath.Join(dir, f) }
			args := append([]string{"-o", os.DevNull, "-H", "X-Api-Key: " + secret("apikey"), "-e", "http://x.example/?token=" + secret("referer")}, args...)
			read := func(f string) string {
				b, err := os.ReadFile(at(f))
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			for _, verbose := range []string{"--color=auto", "-v", "-vv"} {
				r := plain(t, append([]string{verbose, "--json=" + at("t.json"), "--har", at("t.har"), "--pcap", at("t.pcapng"), "--pcap-secrets"}, args...)...)
				leaks(t, verbose, r.stdout+r.stderr, all)
				leaks(t, verbose+" --json", read("t.json"), all)
				leaks(t, verbose+" --har", read("t.har"), all)
				r = plain(t, "read", at("t.pcapng"), verbose, "--json="+at("r.json"), "--har", at("r.har"))
				leaks(t, "read "+verbose, r.stdout+r.stderr, all)
				leaks(t, "read "+verbose+" --json", read("r.json"), all)
				leaks(t, "read "+verbose+" --har", read("r.har"), all)
				leaks(t, "read --packets "+verbose, plain(t, "read", at("t.pcapng"), "--packets", verbose).stdout, all)
				leaks(t, "read --packets --json "+verbose, plain(t, "read", at("t.pcapng"), "--packets", "--json", verbose).stdout, all)
			}
			leaks(t, "-s", plain(t, append([]string{"-s"}, args...)...).stderr, all)
			for _, why := range []string{"1/authorization", "1/cookie", "1/x-api-key", "1/referer", "1/:path", "1/location", "1/set-cookie", "4", "6", "8", "10"} {
				leaks(t, "--why "+why, plain(t, "read", at("t.pcapng"), "--why", why).stdout, all)
			}
			// What is no secret is told, also in the same bytes.
			if name == "form" {
				json := read("t.json")
				for _, want := range []string{hex.EncodeToString([]byte("POST /x HTTP/1.1\r\nHost: ")), hex.EncodeToString([]byte("User-Agent: peel"))} {
					if !strings.Contains(json, want) {
						t.Errorf("the trace has no %s", want)
					}
				}
			}
		})
	}
	// The file itself: of what is encrypted there is no secret in it, in the
	// decisions neither.
	file := filepath.Join(t.TempDir(), "f.pcapng")
	plain(t, append([]string{"-s", "-o", os.DevNull, "--pcap", file, "-H", "X-Api-Key: " + secret("apikey")}, runs["HTTP/2"]...)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "--pcap", string(b), all)
}

// Wrong usage is told without the password that stood in it.
func TestNoSecretInUsage(t *testing.T) {
	for _, url := range []string{"http://ada:" + secret("userinfo") + "@[bad", "gopher://ada:" + secret("userinfo") + "@x/", "http://x:99999/?token=" + secret("query")} {
		r := plain(t, url)
		if r.code != exitUsage {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
		leaks(t, url, r.stderr, []string{secret("userinfo"), secret("query")})
	}
}
