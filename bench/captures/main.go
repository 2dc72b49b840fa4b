// Command captures measures the reading of captures beside tshark: the whole
// pipeline with decryption, and packets as JSON. It makes the capture first:
// nginx, h2load and tcpdump in a network namespace of their own, more than
// 200,000 packets of HTTP/1.1 in the clear, over TLS 1.2 and 1.3, and HTTP/2.
//
//	cd bench && go run ./captures             everything, as root
//	go run ./captures -dir DIR                keep the capture there and use it again
//	go run ./captures -rounds 5
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"peel"
)

func main() {
	dir := flag.String("dir", "", "where the capture is kept; a temporary folder unless given")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	heap := flag.String("heap", "", "internal: analyse that capture and print the heap")
	flag.Parse()
	if *heap != "" {
		printHeap(*heap)
		return
	}
	if err := run(*dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "captures:", err)
		os.Exit(1)
	}
}

func run(dir string, rounds int) error {
	if dir == "" {
		d, err := os.MkdirTemp("", "captures-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(d)
		dir = d
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	mix, keys := filepath.Join(dir, "mix.pcap"), filepath.Join(dir, "keys.log")
	if _, err := os.Stat(mix); err != nil {
		if err := makeMix(dir); err != nil {
			return err
		}
	}
	peel := filepath.Join(dir, "peel")
	build := exec.Command("go", "build", "-o", peel, "./cmd/peel")
	build.Dir = ".." // a module of its own
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building peel: %v\n%s", err, out)
	}
	fields := []string{"-T", "fields"}
	for _, f := range strings.Fields("frame.number frame.time_epoch ip.src ip.dst tcp.srcport tcp.dstport tcp.stream tcp.seq tcp.len tcp.flags " +
		"http.request.method http.request.uri http.response.code http2.type http2.headers.method http2.headers.path http2.headers.status") {
		fields = append(fields, "-e", f)
	}
	tshark := func(more ...string) *exec.Cmd {
		return exec.Command("tshark", append([]string{"-n", "-r", mix, "-o", "tls.keylog_file:" + keys}, more...)...)
	}
	size, _ := os.Stat(mix)
	packets, err := count(mix)
	if err != nil {
		return err
	}
	fmt.Printf("%d packets, %.0f MB\n\n", packets, float64(size.Size())/1e6)

	type contestant struct {
		name    string
		make    func() *exec.Cmd
		packets int
		once    bool
		took    []time.Duration
	}
	list := []*contestant{
		{name: "peel read --keylog", make: func() *exec.Cmd { return exec.Command(peel, "read", mix, "--keylog", keys) }, packets: packets},
		{name: "tshark -T fields, same keys", make: func() *exec.Cmd { return tshark(fields...) }, packets: packets},
		{name: "peel read --packets --json", make: func() *exec.Cmd { return exec.Command(peel, "read", mix, "--keylog", keys, "--packets", "--json") }, packets: packets},
		// It takes minutes, and is far from any bar: once is enough.
		{name: "tshark -T json", make: func() *exec.Cmd { return tshark("-T", "json") }, packets: packets, once: true},
	}
	for range rounds {
		for _, c := range list {
			if c.once && len(c.took) > 0 {
				continue
			}
			cmd := c.make()
			t0 := time.Now()
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.took = append(c.took, time.Since(t0))
		}
	}
	rate := map[string]float64{}
	for _, c := range list {
		slices.Sort(c.took)
		mid := c.took[len(c.took)/2]
		rate[c.name] = float64(c.packets) / mid.Seconds()
		fmt.Printf("%-30s %8.2f s  %9.0f packets/s\n", c.name, mid.Seconds(), rate[c.name])
	}
	fmt.Printf("\nwhole pipeline: %.1f × tshark -T fields (bar 10)\n", rate[list[0].name]/rate[list[1].name])
	fmt.Printf("packets as JSON with ranges: %.1f × tshark -T json (bar 50)\n", rate[list[2].name]/rate[list[3].name])
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-heap", dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// count asks capinfos how many packets there are.
func count(file string) (int, error) {
	out, err := exec.Command("capinfos", "-c", "-M", "-T", "-r", file).Output()
	if err != nil {
		return 0, fmt.Errorf("capinfos: %w", err)
	}
	f := strings.Fields(string(out))
	n := 0
	_, err = fmt.Sscan(f[len(f)-1], &n)
	return n, err
}

// printHeap analyses the capture in this process and prints the largest heap
// seen on the way.
func printHeap(dir string) {
	keys, _ := os.ReadFile(filepath.Join(dir, "keys.log"))
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	t, err := peel.ReadFiles(context.Background(), peel.ReadOptions{KeyLogs: [][]byte{keys}}, filepath.Join(dir, "mix.pcap"))
	close(stop)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	b, _ := json.Marshal(map[string]int{"exchanges": len(t.Exchanges), "events": len(t.Events)})
	fmt.Printf("largest Go heap of the whole pipeline: %.0f MB (bar 128), %s\n", float64(<-done)/1e6, b)
	runtime.KeepAlive(t)
}
