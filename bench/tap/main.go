// Command tap measures what joins a network namespace to the world outside
// without privileges there: peel's host at the other side of a TAP device,
// slirp4netns, and pasta. A program in a namespace, iperf3, reaches a server on
// the loopback outside by 10.0.2.2, whoever stands between relays the bytes.
//
//	cd bench && go run ./tap
//	go run ./tap -only "peel with offloads" -mtu 1500 -direction upload -profile FILE
//
// Contenders take turns, round by round; the median counts.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// inside is the namespace's address, outside what stands for the loopback.
	inside, outside = "10.0.2.100", "10.0.2.2"
	port            = "5398"
	device          = "tap0"
)

type contender struct {
	name string
	// nobody is set when holder and relay are to run without root, in a user
	// namespace of their own.
	nobody bool
	// configured is set when the relay configures the device itself.
	configured bool
	relay      func(pid, mtu int) []string

	holder, cmd *exec.Cmd
	log         bytes.Buffer
	rate, cost  map[bool][]float64 // MB/s and CPU seconds per GB, by direction
	lost        string             // why it does not take part
}

var (
	mtus    = flag.String("mtu", "1500,65520", "MTUs of the TAP device")
	rounds  = flag.Int("rounds", 3, "rounds; the median counts")
	seconds = flag.Int("seconds", 3, "how long a transfer takes")
	only    = flag.String("only", "", "only contenders whose names hold this")
	control = flag.String("congestion", "cubic", "congestion control of iperf3's two ends: it decides what pasta does (bbr, reno)")
	way     = flag.String("direction", "", "only this: upload or download")
	profile = flag.String("profile", "", "write a CPU profile of peel's relay there; only for one at a time")
	relayOf = flag.Int("relay", 0, "internal: be the relay of this process's namespace")
	offload = flag.Bool("offloads", false, "internal: with offload headers")
)

func main() {
	// What is started here dies with this thread, so it must be the main one.
	runtime.LockOSThread()
	flag.Parse()
	err := error(nil)
	if *relayOf != 0 {
		err = relay(*relayOf, *mtus, *offload, *profile)
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tap:", err)
		os.Exit(1)
	}
}

func contenders() []*contender {
	peel := func(offloads bool) func(pid, mtu int) []string {
		return func(pid, mtu int) []string {
			return []string{"/proc/self/exe", "-relay", strconv.Itoa(pid), "-mtu", strconv.Itoa(mtu), "-profile", *profile, "-offloads=" + strconv.FormatBool(offloads)}
		}
	}
	list := []*contender{
		{name: "peel without offloads", relay: peel(false)},
		{name: "peel with offloads", relay: peel(true)},
		{name: "slirp4netns", configured: true, relay: func(pid, mtu int) []string {
			return []string{"slirp4netns", "--configure", "--mtu=" + strconv.Itoa(mtu), strconv.Itoa(pid), device}
		}},
		// As root it drops its rights too early to enter the namespace.
		{name: "pasta", nobody: true, configured: true, relay: func(pid, mtu int) []string {
			return []string{"pasta", "-f", "-e", "-q", "-4", "--config-net", "-I", device, "-m", strconv.Itoa(mtu),
				"-a", inside, "-n", "24", "-g", outside, "-t", "none", "-u", "none", "-T", "none", "-U", "none", strconv.Itoa(pid)}
		}},
	}
	return slices.DeleteFunc(list, func(c *contender) bool { return !strings.Contains(c.name, *only) })
}

func run() error {
	if err := outerNamespace(); err != nil {
		return err
	}
	server := child("iperf3", "-s", "-B", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		return err
	}
	defer end(server)
	for m := range strings.SplitSeq(*mtus, ",") {
		mtu, err := strconv.Atoi(m)
		if err != nil {
			return err
		}
		if err := compare(mtu); err != nil {
			return err
		}
	}
	return nil
}

// outerNamespace takes this thread and all that it starts away from the
// machine's network, to a loopback of its own, where the relays' sockets have
// Reno, which is all that a namespace may always have: relays get little from
// a machine's BBR, which paces. The interface is for pasta, which will not start without one to take after.
func outerNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("a network namespace: %w", err)
	}
	for _, c := range []string{"link set lo up", "tuntap add outer0 mode tap", "link set outer0 up", "addr add 192.0.2.2/24 dev outer0", "route add default via 192.0.2.1"} {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, bytes.TrimSpace(out))
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("reno"), 0)
}

func wayName(download bool) string {
	if download {
		return "download"
	}
	return "upload"
}

func directions() []bool {
	return slices.DeleteFunc([]bool{false, true}, func(download bool) bool { return !strings.HasPrefix(wayName(download), *way) })
}

// compare runs all contenders at an MTU and prints what they did.
func compare(mtu int) error {
	list := contenders()
	for _, c := range list {
		c.rate, c.cost = map[bool][]float64{}, map[bool][]float64{}
		defer c.stop()
		if err := c.start(mtu); err != nil {
			c.lost = err.Error()
		}
	}
	for range *rounds {
		for _, download := range directions() {
			for _, c := range list {
				if c.lost != "" {
					continue
				}
				if err := c.transfer(download); err != nil {
					c.lost = err.Error()
				}
			}
		}
	}
	for _, download := range directions() {
		fmt.Printf("\nMTU %d, %s\n", mtu, wayName(download))
		for _, c := range list {
			if c.lost != "" {
				fmt.Printf("  %-22s left out: %s\n", c.name, c.lost)
				continue
			}
			fmt.Printf("  %-22s %6.0f MB/s  %5.2f CPU s/GB", c.name, median(c.rate[download]), median(c.cost[download]))
			for _, o := range list {
				if strings.HasPrefix(c.name, "peel") && !strings.HasPrefix(o.name, "peel") && o.lost == "" {
					fmt.Printf("  %5.2f × %s", median(c.rate[download])/median(o.rate[download]), o.name)
				}
			}
			fmt.Println()
		}
	}
	return nil
}

// start makes a namespace and puts the relay at its border.
func (c *contender) start(mtu int) error {
	as := []string{"unshare", "-n"}
	asNobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}
	if c.nobody {
		as = append(slices.Clone(asNobody), "unshare", "-r", "-n")
	}
	c.holder = child(append(as, "sleep", "1000")...)
	if err := c.holder.Start(); err != nil {
		return err
	}
	pid := c.holder.Process.Pid
	if err := eventually(func() error { return c.inside("true") }); err != nil {
		return err
	}
	args := c.relay(pid, mtu)
	if c.nobody {
		args = append(asNobody, args...)
	}
	c.cmd = child(args...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	if !c.configured {
		if err := eventually(func() error { return c.inside("ip", "addr", "add", inside+"/24", "dev", device) }); err != nil {
			return c.because(err)
		}
	} else if err := eventually(func() error { return c.inside("ip", "route", "get", outside) }); err != nil {
		return c.because(err)
	}
	// An old pasta tells the MTU to those who ask by DHCP only.
	if err := c.inside("ip", "link", "set", device, "mtu", strconv.Itoa(mtu), "up"); err != nil {
		return err
	}
	return eventually(func() error { _, _, err := c.iperf("-n", "1M"); return err })
}

// because adds what the relay said.
func (c *contender) because(err error) error {
	end(c.cmd)
	return fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(c.log.String()), " "))
}

// inside runs a command in the namespace.
func (c *contender) inside(args ...string) error {
	// Until unshare has done its work the namespace is still that outside.
	if a, b := netns("self"), netns(strconv.Itoa(c.holder.Process.Pid)); a == b {
		return fmt.Errorf("no namespace was made")
	}
	out, err := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.holder.Process.Pid), "-n"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

func netns(pid string) string {
	s, _ := os.Readlink("/proc/" + pid + "/ns/net")
	return s
}

// iperf runs the client in the namespace.
func (c *contender) iperf(args ...string) (moved, took float64, err error) {
	cmd := child(append([]string{"timeout", strconv.Itoa(*seconds + 10), "nsenter", "-t", strconv.Itoa(c.holder.Process.Pid), "-n",
		"iperf3", "-J", "-c", outside, "-p", port, "-C", *control, "--connect-timeout", "1000"}, args...)...)
	out, err := cmd.Output()
	var r struct {
		Error string
		End   struct {
			Received struct {
				Bytes, Seconds float64
			} `json:"sum_received"`
		}
	}
	if json.Unmarshal(out, &r); err != nil || r.Error != "" {
		return 0, 0, fmt.Errorf("iperf3: %v %s", err, r.Error)
	}
	return r.End.Received.Bytes, r.End.Received.Seconds, nil
}

func (c *contender) transfer(download bool) error {
	args := []string{"-t", strconv.Itoa(*seconds)}
	if download {
		args = append(args, "-R")
	}
	var before, used time.Duration
	var moved, took float64
	// The server may be busy yet with what the last relay held back.
	err := eventually(func() (err error) {
		before = cpu(c.cmd.Process.Pid)
		moved, took, err = c.iperf(args...)
		used = cpu(c.cmd.Process.Pid) - before
		return err
	})
	if err != nil {
		return c.because(err)
	}
	c.rate[download] = append(c.rate[download], moved/took/1e6)
	c.cost[download] = append(c.cost[download], used.Seconds()/(moved/1e9))
	return nil
}

func (c *contender) stop() {
	end(c.cmd)
	end(c.holder)
}

// child is a command that dies with this program.
func child(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// end asks a command to end, and sees to it.
func end(cmd *exec.Cmd) {
	if cmd == nil || cmd.Process == nil || cmd.ProcessState != nil {
		return
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	kill := time.AfterFunc(2*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	cmd.Wait()
	kill.Stop()
}

func eventually(f func() error) (err error) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

// cpu is what a process has used.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
