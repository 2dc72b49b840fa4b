package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is what /proc/PID/stat counts in: USER_HZ, 100 on Linux.
const clockTick = 10 * time.Millisecond

// measure runs a server on core 0 and a client on core 1 and returns the CPU
// time per request of the one under test.
func measure(c contestant, server bool) (figure, error) {
	port, err := freePort()
	if err != nil {
		return figure{}, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	conf, err := os.MkdirTemp("", "peel-bench")
	if err != nil {
		return figure{}, err
	}
	defer os.RemoveAll(conf)
	fill := func(args []string) []string {
		out := make([]string, len(args))
		for i, a := range args {
			out[i] = strings.NewReplacer("{addr}", addr, "{port}", strconv.Itoa(port), "{dir}", conf).Replace(a)
		}
		return out
	}
	if err := writeConfigs(conf, port); err != nil {
		return figure{}, err
	}
	srv := pinned("0", fill(c.server))
	var log bytes.Buffer
	srv.Stderr = &log
	if err := srv.Start(); err != nil {
		return figure{}, err
	}
	defer func() {
		syscall.Kill(-srv.Process.Pid, syscall.SIGKILL)
		srv.Wait()
	}()
	if err := awaitListening(addr); err != nil {
		return figure{}, fmt.Errorf("%w: %s", err, log.String())
	}
	before := cpuOf(srv.Process.Pid)
	cli := pinned("1", fill(c.client))
	start := time.Now()
	out, err := cli.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return figure{}, fmt.Errorf("client: %w: %s", err, out)
	}
	requests, clientCPU, elapsed, err := result(string(out))
	if err != nil {
		return figure{}, fmt.Errorf("%w in %q", err, out)
	}
	if elapsed == 0 {
		elapsed = took
	}
	cpu := clientCPU
	if cpu == 0 {
		cpu = cli.ProcessState.UserTime() + cli.ProcessState.SystemTime()
	}
	if server {
		cpu = cpuOf(srv.Process.Pid) - before
	}
	return figure{perRequest: cpu / time.Duration(max(requests, 1)), rate: float64(requests) / elapsed.Seconds()}, nil
}

func pinned(core string, args []string) *exec.Cmd {
	cmd := exec.Command("taskset", append([]string{"-c", core}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// cpuOf sums the CPU time of a process and its children, which nginx's
// workers are.
func cpuOf(pid int) time.Duration {
	var sum time.Duration
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// Fields 14 and 15 after the name, which may hold spaces: proc(5).
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	for _, i := range []int{11, 12} {
		n, _ := strconv.ParseInt(f[i], 10, 64)
		sum += time.Duration(n) * clockTick
	}
	kids, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, k := range strings.Fields(string(kids)) {
		n, _ := strconv.Atoi(k)
		sum += cpuOf(n)
	}
	return sum
}

var (
	oursLine   = regexp.MustCompile(`requests=(\d+) cpu_ns=(\d+) elapsed_ns=(\d+)`)
	h2loadLine = regexp.MustCompile(`requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded`)
	wrkLine    = regexp.MustCompile(`(\d+) requests in ([\d.]+)s`)
)

// result reads how many requests a client made from what it printed.
func result(out string) (requests int, cpu, elapsed time.Duration, err error) {
	if m := oursLine.FindStringSubmatch(out); m != nil {
		requests, _ = strconv.Atoi(m[1])
		c, _ := strconv.ParseInt(m[2], 10, 64)
		e, _ := strconv.ParseInt(m[3], 10, 64)
		return requests, time.Duration(c), time.Duration(e), nil
	}
	if m := h2loadLine.FindStringSubmatch(out); m != nil {
		requests, _ = strconv.Atoi(m[3])
		return requests, 0, 0, nil
	}
	if m := wrkLine.FindStringSubmatch(out); m != nil {
		requests, _ = strconv.Atoi(m[1])
		s, _ := strconv.ParseFloat(m[2], 64)
		return requests, 0, time.Duration(s * float64(time.Second)), nil
	}
	return 0, 0, 0, fmt.Errorf("no result")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func awaitListening(addr string) error {
	for range 200 {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return fmt.Errorf("nothing listens on %s", addr)
}

// report prints a result in the form that result reads.
func report(w io.Writer, requests int, cpu, elapsed time.Duration) {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "requests=%d cpu_ns=%d elapsed_ns=%d\n", requests, cpu, elapsed)
	b.Flush()
}

// usage is the CPU time of this process so far.
func usage() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
