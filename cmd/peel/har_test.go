package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"peel/internal/needs"
)

// harSchema fetches the JSON Schema of HAR 1.2 that tools validate with.
func harSchema(t *testing.T) string {
	t.Helper()
	needs.Tool(t, "npm")
	dir := t.TempDir()
	c := exec.Command("npm", "pack", "har-schema@2.0.0", "--silent")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		needs.Missing(t, "npm's har-schema is not installed (%s)", out)
	}
	if out, err := exec.Command("tar", "xzf", filepath.Join(dir, "har-schema-2.0.0.tgz"), "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "package", "lib", "har.json")
}

// A HAR of each kind of run passes the schema, and says what was seen.
func TestHAR(t *testing.T) {
	needs.Long(t)
	schema := harSchema(t)
	check := filepath.Join(t.TempDir(), "schemacheck")
	build := exec.Command("go", "build", "-o", check, ".")
	build.Dir = "testdata/schemacheck"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, run := range map[string]struct {
		args    []string
		entries int
		status  int
		text    string
	}{
		"page":     {[]string{"https://example.com/api/users"}, 1, 200, "Ada Lovelace"},
		"redirect": {[]string{"-L", "http://example.com/redirect/1"}, 2, 302, ""},
		"form":     {[]string{"-d", "a=b&c=d", "-b", "k=v", "https://example.com/echo?q=1"}, 1, 200, "a=b&c=d"},
		"binary":   {[]string{"https://example.com/bytes/3000"}, 1, 200, ""},
		"no name":  {[]string{"https://nosuch.example.com/"}, 1, 0, ""},
		"cookie":   {[]string{"https://example.com/cookie"}, 1, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "t.har")
			plain(t, append([]string{"--lab", "-s", "-o", os.DevNull, "--har", file}, run.args...)...)
			if out, err := exec.Command(check, schema, file).CombinedOutput(); err != nil {
				t.Errorf("not valid: %v\n%s", err, out)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var h struct {
				Log struct {
					Entries []struct {
						Time     float64
						Request  struct{ Method, URL string }
						Response struct {
							Status  int
							Error   string `json:"_error"`
							Content struct{ Text, Encoding string }
						}
						Timings map[string]float64
					}
				}
			}
			if err := json.Unmarshal(b, &h); err != nil {
				t.Fatal(err)
			}
			if len(h.Log.Entries) != run.entries {
				t.Fatalf("%d entries, want %d", len(h.Log.Entries), run.entries)
			}
			e := h.Log.Entries[0]
			if e.Response.Status != run.status || e.Response.Status == 0 && e.Response.Error == "" {
				t.Errorf("status %d (%s), want %d", e.Response.Status, e.Response.Error, run.status)
			}
			if run.text != "" && !strings.Contains(e.Response.Content.Text, run.text) {
				t.Errorf("content is %q", e.Response.Content.Text)
			}
			sum := 0.0
			for phase, v := range e.Timings {
				if v > 0 && phase != "ssl" {
					sum += v
				}
			}
			if e.Time < sum-0.001 || e.Time > sum+0.001 {
				t.Errorf("time is %v, and its parts make %v", e.Time, sum)
			}
		})
	}
}
