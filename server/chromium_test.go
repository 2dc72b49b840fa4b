package server

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/internal/needs"
)

// A browser loads a page with forty resources over HTTP/2 and over HTTP/1.1.
func TestChromium(t *testing.T) {
	needs.Long(t)
	chromium := ""
	for _, n := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(n); err == nil {
			chromium = p
			break
		}
	}
	if chromium == "" {
		needs.Missing(t, "chromium is not installed")
	}
	var mu sync.Mutex
	protocols := map[string]int{}
	s := start(t, &Server{Handler: HandlerFunc(func(w *ResponseWriter, r *Request) {
		mu.Lock()
		protocols[r.Protocol]++
		mu.Unlock()
		switch {
		case r.Path == "/":
			w.Header.Add("Content-Type", "text/html")
			w.WriteString("<!doctype html><title>loading</title><p id=n>0</p><script>let n=0;function one(){n++;document.getElementById('n').textContent='loaded '+n}</script>")
			for i := range 40 {
				fmt.Fprintf(w, "<script src=/s/%d.js></script>", i)
			}
		case strings.HasPrefix(r.Path, "/s/"):
			w.Header.Add("Content-Type", "text/javascript")
			w.WriteString("one();" + strings.Repeat("// padding to make it a few frames\n", 1000))
		default:
			w.WriteHeader(404)
		}
	})})
	for base, protocol := range map[string]string{"https://" + s.secure: "HTTP/2", "http://" + s.plain: "HTTP/1.1"} {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		out, err := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), "--dump-dom", base+"/").Output()
		cancel()
		if err != nil || !strings.Contains(string(out), "loaded 40") {
			t.Errorf("%s: %v: %.300s", base, err, out)
		}
		mu.Lock()
		if protocols[protocol] < 41 {
			t.Errorf("%s: requests by protocol: %v", base, protocols)
		}
		mu.Unlock()
	}
}
