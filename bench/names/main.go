// Command names measures peel's name servers beside others: authoritative
// answers beside NSD and CoreDNS, cached answers beside unbound, and the
// memory of a million cached names. dnsperf asks, on one core; the server has
// the other. The figure is the server's CPU time per query, as dnsperf itself
// can be what bounds the rate.
//
//	cd bench && go run ./names
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type contestant struct {
	name, at string
	args     []string
	// fill asks every query once first.
	fill bool
	cmd  *exec.Cmd
	cpu  []float64 // µs per query
	rate []float64
	lost int
}

const (
	names  = 100_000
	rounds = 5
	port   = "5399"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "peel-names")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	if out, err := exec.Command("go", "build", "-C", "..", "-o", filepath.Join(dir, "peel"), "./cmd/peel").CombinedOutput(); err != nil {
		return fmt.Errorf("%v\n%s", err, out)
	}
	if err := files(dir); err != nil {
		return err
	}
	peel := filepath.Join(dir, "peel")
	list := []*contestant{
		{name: "NSD", at: "127.60.0.2", args: []string{"nsd", "-d", "-c", "nsd.conf"}},
		{name: "peel, authoritative", at: "127.60.0.1", args: []string{peel, "serve", "dns", "--zone", "bench.test=bench.zone", "--listen", "127.60.0.1:" + port}},
		{name: "unbound, cached", at: "127.60.0.3", args: []string{"unbound", "-d", "-c", "unbound.conf"}, fill: true},
		{name: "peel, cached", at: "127.60.0.4", args: []string{peel, "serve", "dns", "--recursive", "--root-hints", "hints", "--root-port", port, "--listen", "127.60.0.4:" + port}, fill: true},
	}
	if coredns, err := exec.LookPath("coredns"); err == nil {
		list = append(list, &contestant{name: "CoreDNS, authoritative", at: "127.60.0.5", args: []string{coredns, "-conf", "Corefile"}})
	} else {
		fmt.Println("CoreDNS is not installed and left out: go install github.com/coredns/coredns@v1.12.0")
	}
	root := &contestant{args: []string{peel, "serve", "dns", "--zone", ".=root.zone", "--listen", "127.60.0.6:" + port}}
	for _, c := range append(list, root) {
		c.cmd = exec.Command("taskset", append([]string{"-c", "0"}, c.args...)...)
		c.cmd.Dir = dir
		c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := c.cmd.Start(); err != nil {
			return err
		}
		defer func() { syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL); c.cmd.Wait() }()
	}
	time.Sleep(2 * time.Second)
	for _, c := range list {
		if c.fill {
			if _, err := dnsperf(dir, c.at, "-n", "1", "-q", "100"); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for range rounds {
		for _, c := range list {
			before := cpu(c.cmd.Process.Pid)
			r, err := dnsperf(dir, c.at, "-l", "2", "-q", "200")
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.cpu = append(c.cpu, (cpu(c.cmd.Process.Pid)-before).Seconds()*1e6/float64(r.done))
			c.rate = append(c.rate, r.rate)
			c.lost += r.lost
		}
	}
	for _, c := range list {
		fmt.Printf("%-24s %6.2f µs of CPU a query  %8.0f queries/s  %d lost  %d MB\n", c.name, median(c.cpu), median(c.rate), c.lost, rss(c.cmd.Process.Pid)>>20)
	}
	m := func(i int) float64 { return median(list[i].cpu) }
	fmt.Printf("\nauthoritative: %.2f × NSD's answers per second of CPU (bar 0.5)\n", m(0)/m(1))
	fmt.Printf("cached:        %.2f × unbound's (bar 1)\n", m(2)/m(3))
	if len(list) > 4 {
		fmt.Printf("authoritative: %.2f × CoreDNS's\n", m(4)/m(1))
	}
	return nil
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

func files(dir string) error {
	var zone, queries strings.Builder
	zone.WriteString("$ORIGIN bench.test.\n$TTL 3600\n@ SOA ns root 1 3600 600 86400 60\n@ NS ns\nns A 127.60.0.2\n")
	r := rand.New(rand.NewPCG(1, 2))
	for i := range names {
		fmt.Fprintf(&zone, "h%d A 10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255)
		if i%2 == 0 {
			n := "h"
			if i%20 == 0 {
				n = "none"
			}
			fmt.Fprintf(&queries, "%s%d.bench.test A\n", n, r.IntN(names))
		}
	}
	for name, text := range map[string]string{
		"bench.zone": zone.String(), "queries": queries.String(),
		"nsd.conf": "server:\n ip-address: 127.60.0.2@" + port + "\n zonesdir: \"" + dir + "\"\n database: \"\"\n pidfile: \"\"\n" +
			" zonelistfile: \"" + dir + "/list\"\n xfrdfile: \"" + dir + "/xfrd\"\n xfrdir: \"" + dir + "\"\n username: \"\"\n chroot: \"\"\n server-count: 1\n" +
			" rrl-ratelimit: 0\n rrl-whitelist-ratelimit: 0\nremote-control:\n control-enable: no\nzone:\n name: bench.test\n zonefile: bench.zone\n",
		"unbound.conf": "server:\n interface: 127.60.0.3@" + port + "\n do-daemonize: no\n use-syslog: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n" +
			" directory: \"" + dir + "\"\n num-threads: 1\n do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n local-zone: \"test.\" nodefault\n" +
			" module-config: \"iterator\"\n msg-cache-size: 200m\n rrset-cache-size: 200m\nremote-control:\n control-enable: no\nstub-zone:\n" +
			" name: bench.test\n stub-addr: 127.60.0.2@" + port + "\n",
		"Corefile":  ".:" + port + " {\n bind 127.60.0.5\n file bench.zone bench.test\n}\n",
		"hints":     ". 3600 NS a.root.\na.root. 3600 A 127.60.0.6\n",
		"root.zone": "$TTL 3600\n. SOA a.root. h. 1 2 3 4 60\n. NS a.root.\na.root. A 127.60.0.6\nbench.test. NS ns.bench.test.\nns.bench.test. A 127.60.0.2\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

type result struct {
	done, lost int
	rate       float64
}

func dnsperf(dir, at string, args ...string) (result, error) {
	cmd := exec.Command("taskset", append([]string{"-c", "1", "dnsperf", "-s", at, "-p", port, "-d", "queries", "-c", "8"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("dnsperf: %v\n%s", err, out)
	}
	var r result
	for _, l := range strings.Split(string(out), "\n") {
		f := strings.Fields(l)
		switch {
		case strings.Contains(l, "Queries completed:"):
			r.done, _ = strconv.Atoi(f[2])
		case strings.Contains(l, "Queries lost:"):
			r.lost, _ = strconv.Atoi(f[2])
		case strings.Contains(l, "Queries per second:"):
			r.rate, _ = strconv.ParseFloat(f[3], 64)
		}
	}
	if r.done == 0 {
		return r, fmt.Errorf("dnsperf: no query was answered\n%s", out)
	}
	return r, nil
}

// cpu is what a process and its children have used.
func cpu(pid int) time.Duration {
	total := time.Duration(0)
	for _, p := range append(children(pid), pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		total += time.Duration(user+system) * 10 * time.Millisecond
	}
	return total
}

func children(pid int) (out []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(append(out, n), children(n)...)
		}
	}
	return out
}

func rss(pid int) (total int) {
	for _, p := range append(children(pid), pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p))
		if f := strings.Fields(string(b)); len(f) > 1 {
			n, _ := strconv.Atoi(f[1])
			total += n * os.Getpagesize()
		}
	}
	return total
}
