package peel

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors says on which floor a package lives. A package imports only from
// floors below its own; the exceptions are listed under sameFloor.
var floors = map[string]int{
	"clock": 0, "trace": 0,
	"httpfield": 1, "hpack": 1, "http1": 1, "http2": 1, "dns": 1, "dns/zone": 1, "dns/dnssec": 1, "dns/cache": 1, "dns/recursor": 1, "tlswire": 1, "weburl": 1, "content": 1, "cookie": 1, "netrc": 1, "pki": 1,
	"layout": 1, "pcap": 1, "ethernet": 1, "cooked": 1, "arp": 1, "ip": 1, "icmp": 1, "udp": 1, "tcp": 1, "websocket": 1,
	"packet": 1, "offload": 1, "expiry": 1, "route": 1, "filter": 1, "nat": 1, "link": 2, "host": 2, "socket": 3,
	"kernel": 2, "capture": 2, "analyze": 3,
	"nameserver": 3, "dnsclient": 3, "client": 3, "session": 3, "server": 3, "lab": 3,
	"view/text": 4, "view/jsontrace": 4, "view/redact": 4, "view/har": 4, "view/dnstext": 4, "explain": 4,
	".":        5,
	"cmd/peel": 6,
}

// sameFloor lists the imports within one floor: from → to.
var sameFloor = map[string][]string{
	"hpack":   {"httpfield"},
	"http1":   {"httpfield"},
	"http2":   {"httpfield", "hpack"},
	"session": {"client"},
	// The tables of fields, and the EtherTypes.
	"ethernet": {"layout"}, "cooked": {"layout", "ethernet"}, "arp": {"layout", "ethernet"}, "ip": {"layout"}, "icmp": {"layout"}, "udp": {"layout"}, "tcp": {"layout"}, "websocket": {"layout"},
	"dns/zone": {"dns"}, "dns/dnssec": {"dns"}, "dns/cache": {"dns"},
	"dns/recursor": {"dns", "dns/cache", "dns/dnssec"},
	"nameserver":   {"server"},
	"dnsclient":    {"client"},
	"offload":      {"packet", "ethernet", "ip", "tcp"},
	// The engines that take whole packets apart.
	"filter": {"packet", "ip", "icmp", "tcp", "udp", "expiry"}, "nat": {"packet", "ip", "icmp", "tcp", "udp", "expiry"},
	"host":   {"link"},
	"socket": {"client"},
	"lab":    {"server", "client", "nameserver"},
}

func TestImportsGoDownTheFloors(t *testing.T) {
	for dir, imports := range projectImports(t) {
		from, ok := floors[dir]
		if !ok {
			t.Errorf("package %s has no floor: give it one in floors_test.go and in ARCHITECTURE.md", dir)
			continue
		}
		for to := range imports {
			floor, ok := floors[to]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which has no floor", dir, to)
			case floor > from:
				t.Errorf("%s (floor %d) imports %s (floor %d): imports go down", dir, from, to, floor)
			case floor == from && !contains(sameFloor[dir], to):
				t.Errorf("%s imports %s on its own floor %d; if that is right, list it under sameFloor", dir, to, from)
			}
		}
	}
}

// Engines are sans-IO: no sockets, no files, no reading of the clock, no
// global randomness.
func TestEnginesDoNoIO(t *testing.T) {
	engines := []string{"hpack", "http1", "http2", "dns", "dns/zone", "dns/dnssec", "dns/cache", "dns/recursor", "tlswire", "httpfield", "packet", "tcp", "ip", "icmp", "arp", "ethernet", "udp", "offload", "expiry", "route", "filter", "nat", "host"}
	forbidden := []string{"os", "math/rand", "math/rand/v2", "crypto/rand", "net/http", "crypto/tls", "sync"}
	for _, dir := range engines {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, imp := range fileImports(t, file) {
				if contains(forbidden, imp) {
					t.Errorf("%s imports %s: an engine does no I/O and draws no randomness", file, imp)
				}
			}
		}
	}
}

// projectImports returns, for each directory with Go files, the directories of
// this module that its non-test files import.
func projectImports(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "bench" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if all[dir] == nil {
			all[dir] = map[string]bool{}
		}
		for _, imp := range fileImports(t, path) {
			if imp == "peel" {
				all[dir]["."] = true
			} else if rest, ok := strings.CutPrefix(imp, "peel/"); ok {
				all[dir][rest] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found: does the test run in the project's root?", len(all))
	}
	return all
}

func fileImports(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range f.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
