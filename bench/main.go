// Command bench measures peel's clients and servers beside others, on
// loopback, one core each side. Every figure is CPU time per request of the
// process under test, and every comparison a ratio from one run: the
// contestants take turns, round by round, on the same machine.
//
//	cd bench && go run .            everything
//	go run . -only h2-client        one table
//	go run . -seconds 4 -rounds 3   longer
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// contestant is one implementation in a table.
type contestant struct {
	name string
	// server is the command that serves; client the command that asks. The
	// one under test is told by the table.
	server, client []string
}

// table is one comparison.
type table struct {
	name, title string
	// server tells that the servers are under test, else the clients.
	server bool
	bar    string
	list   []contestant
}

// figure is what one run gave.
type figure struct {
	perRequest time.Duration // CPU of the process under test
	rate       float64       // requests or bytes per second
}

func main() {
	role := flag.String("role", "", "internal: what this process does")
	addr := flag.String("addr", "", "internal: where")
	url := flag.String("url", "", "internal: what to ask for")
	n := flag.Int("n", 0, "internal: requests at once")
	only := flag.String("only", "", "run only the tables whose name holds this")
	seconds := flag.Float64("seconds", 2, "length of one run")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	flag.Parse()
	if *role != "" {
		if err := play(*role, *addr, *url, *n, time.Duration(*seconds*float64(time.Second))); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", *role, err)
			os.Exit(1)
		}
		return
	}
	fmt.Printf("%s %s/%s, %d CPUs, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	failed := false
	for _, t := range tables(*seconds) {
		if !strings.Contains(t.name, *only) {
			continue
		}
		if err := t.run(*rounds); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", t.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// run measures a table and prints it, the first contestant being the one that
// the others are compared with.
func (t table) run(rounds int) error {
	fmt.Printf("\n## %s: %s\n", t.name, t.title)
	got := map[string][]figure{}
	for range rounds {
		for _, c := range t.list {
			if _, err := exec.LookPath(c.server[0]); err != nil {
				continue
			}
			if _, err := exec.LookPath(c.client[0]); err != nil {
				continue
			}
			f, err := measure(c, t.server)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			got[c.name] = append(got[c.name], f)
		}
	}
	base := time.Duration(0)
	fmt.Printf("%-34s %12s %14s %10s\n", "", "CPU/request", "requests/s", "ratio")
	for i, c := range t.list {
		fs := got[c.name]
		if len(fs) == 0 {
			fmt.Printf("%-34s not installed\n", c.name)
			continue
		}
		slices.SortFunc(fs, func(a, b figure) int { return cmp.Compare(a.perRequest, b.perRequest) })
		m := fs[len(fs)/2]
		if i == 0 {
			base = m.perRequest
		}
		fmt.Printf("%-34s %12s %14.0f %9.2f×\n", c.name, m.perRequest.Round(10*time.Nanosecond), m.rate, float64(m.perRequest)/float64(base))
	}
	if t.bar != "" {
		fmt.Println("bar:", t.bar)
	}
	return nil
}
