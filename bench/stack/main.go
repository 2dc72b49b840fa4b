// Command stack measures user-space TCP/IP stacks beside each other: two hosts
// joined by a cable in one process. It tells how fast one connection carries
// bytes, how many connections a second are made and closed, and what an idle
// connection costs in memory.
//
//	cd bench && go run ./stack            everything
//	go run ./stack -only bulk             one table: bulk, rate or memory
//	go run ./stack -links                 which of gVisor's links is fastest; with -only, too
//	go run ./stack -profile FILE -role bulk -contender gVisor -mtu 1500
//
// Every measurement is a process of its own, so that no contender meets the
// heap that another left behind; contenders take turns, round by round.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"peel/stack/host"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
)

// stackPair is two hosts joined by a cable in one process.
type stackPair interface {
	Dial() (net.Conn, error) // from host A to the listener on host B
	Listener() net.Listener
	Close()
}

type contender struct {
	name string
	open func(mtu int) (stackPair, error)
}

// contenders are compared in every table; the first is what ratios are of.
var contenders = []contender{
	{name: "gVisor", open: openGVisor(bestLink, 0)},
	{name: "peel", open: openPeel(host.Offload{Segment: 60000})},
}

// variants are told beside the bulk figures: the same as the first contender
// but for what they are named after.
var variants = []contender{
	{name: "gVisor, RX checksums not verified", open: openGVisor(bestLink, skipRX)},
	{name: "gVisor, no checksums at all", open: openGVisor(bestLink, skipRX|skipTX)},
	{name: "peel, no checksums at all", open: openPeel(host.Offload{Segment: 60000, Checksum: true})},
	{name: "peel, each frame by itself", open: openPeel(host.Offload{})},
}

// mtus are Ethernet's, and one close to the largest packet of IPv4.
var mtus = []int{1500, 65520}

type settings struct {
	rounds, mib, conns, idle int
	v6                       bool
}

var set settings

func main() {
	flag.IntVar(&set.rounds, "rounds", 3, "rounds; the median counts")
	flag.IntVar(&set.mib, "mib", 1024, "MiB that one bulk connection carries")
	flag.IntVar(&set.conns, "conns", 20_000, "connections made and closed to tell their rate")
	flag.IntVar(&set.idle, "idle", 10_000, "idle connections whose memory is told")
	flag.BoolVar(&set.v6, "6", false, "over IPv6")
	only := flag.String("only", "", "run only the table whose name holds this: bulk, rate, memory")
	sweep := flag.Bool("links", false, "compare gVisor's links instead, in bulk")
	role := flag.String("role", "", "internal: what this process measures")
	name := flag.String("contender", "", "internal: whom")
	mtu := flag.Int("mtu", 1500, "internal: with which MTU")
	dialers := flag.Int("dialers", 1, "internal: how many dial at once")
	profile := flag.String("profile", "", "with -role: write a CPU profile there")
	flag.Parse()
	var err error
	switch {
	case *role != "":
		err = play(*role, *name, *mtu, *dialers, *profile)
	case *sweep:
		err = run(*only, "gVisor's links", links(), nil)
	default:
		err = run(*only, "one connection, 128 KiB writes and reads", contenders, variants)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(only, title string, list, also []contender) error {
	for _, t := range []struct {
		name  string
		print func() error
	}{
		{"bulk", func() error { return bulkTable(title, slices.Concat(list, also)) }},
		{"rate", func() error { return rateTable(list) }},
		{"memory", func() error { return memoryTable(list) }},
	} {
		if !strings.Contains(t.name, only) {
			continue
		}
		if err := t.print(); err != nil {
			return err
		}
	}
	return nil
}

// sample is what one process measured.
type sample struct {
	Rate        float64 // bytes or connections a second
	CPU         float64 // CPU ns per byte, µs per connection
	Bytes       float64 // per connection
	Goroutines  float64 // per connection
	Retransmits uint64
}

func bulkTable(title string, list []contender) error {
	for _, mtu := range mtus {
		fmt.Printf("%s, %d MiB, MTU %d\n", title, set.mib, mtu)
		got, err := take(list, "bulk", "-mtu", strconv.Itoa(mtu))
		if err != nil {
			return err
		}
		first := middle(got[0], rate)
		for i, c := range list {
			r := middle(got[i], rate)
			fmt.Printf("  %-36s %8.0f MB/s  %6.3f ns of CPU a byte  %5.2f × %s  %s  %d segments retransmitted\n", c.name, r/1e6, middle(got[i], cpu), r/first, list[0].name, spread(got[i], 1e6), sum(got[i]))
		}
		fmt.Println()
	}
	return nil
}

func rateTable(list []contender) error {
	for _, dialers := range []int{1, 16} {
		fmt.Printf("dial, accept, a byte each way, close: %d connections, %d at once, MTU 1500\n", set.conns, dialers)
		got, err := take(list, "rate", "-dialers", strconv.Itoa(dialers))
		if err != nil {
			return err
		}
		first := middle(got[0], rate)
		for i, c := range list {
			r := middle(got[i], rate)
			fmt.Printf("  %-36s %8.0f connections/s  %5.1f µs of CPU each  %5.2f × %s  %s\n", c.name, r, middle(got[i], cpu), r/first, list[0].name, spread(got[i], 1))
		}
		fmt.Println()
	}
	return nil
}

func memoryTable(list []contender) error {
	fmt.Printf("%d idle connections, both ends, after a byte each way, MTU 1500\n", set.idle)
	got, err := take(list, "memory")
	if err != nil {
		return err
	}
	size := func(s sample) float64 { return s.Bytes }
	first := middle(got[0], size)
	for i, c := range list {
		b := middle(got[i], size)
		fmt.Printf("  %-36s %8.0f bytes a connection  %.2f goroutines a connection  %5.2f × %s\n", c.name, b, middle(got[i], func(s sample) float64 { return s.Goroutines }), b/first, list[0].name)
	}
	return nil
}

func rate(s sample) float64 { return s.Rate }
func cpu(s sample) float64  { return s.CPU }

// take has every contender play a role as often as there are rounds, in turns.
func take(list []contender, role string, args ...string) ([][]sample, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	got := make([][]sample, len(list))
	for range set.rounds {
		for i, c := range list {
			cmd := exec.Command(self, append([]string{
				"-role", role, "-contender", c.name,
				"-mib", strconv.Itoa(set.mib), "-conns", strconv.Itoa(set.conns), "-idle", strconv.Itoa(set.idle),
				"-6=" + strconv.FormatBool(set.v6),
			}, args...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w\n%s", c.name, role, err, stderr.String())
			}
			var s sample
			if err := json.Unmarshal(out, &s); err != nil {
				return nil, fmt.Errorf("%s, %s: %w in %q", c.name, role, err, out)
			}
			got[i] = append(got[i], s)
		}
	}
	return got, nil
}

// play measures in this process and prints the sample.
func play(role, name string, mtu, dialers int, profile string) error {
	all := slices.Concat(contenders, variants, links())
	i := slices.IndexFunc(all, func(c contender) bool { return c.name == name })
	if i < 0 {
		return fmt.Errorf("no contender is named %q", name)
	}
	p, err := all[i].open(mtu)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := faithful(p); err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var s sample
	switch role {
	case "bulk":
		s, err = bulk(p, int64(set.mib)<<20)
	case "rate":
		s, err = connect(p, set.conns, dialers)
	case "memory":
		s, err = memory(p, set.idle)
	default:
		err = errors.New("no such role: " + role)
	}
	if err != nil {
		return err
	}
	if r, ok := p.(interface{ retransmits() uint64 }); ok {
		s.Retransmits = r.retransmits()
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

func values(list []sample, of func(sample) float64) []float64 {
	v := make([]float64, len(list))
	for i, s := range list {
		v[i] = of(s)
	}
	slices.Sort(v)
	return v
}

// middle is the median.
func middle(list []sample, of func(sample) float64) float64 {
	return values(list, of)[len(list)/2]
}

func spread(list []sample, unit float64) string {
	v := values(list, rate)
	return fmt.Sprintf("(%.0f to %.0f)", v[0]/unit, v[len(v)-1]/unit)
}

func sum(list []sample) (n uint64) {
	for _, s := range list {
		n += s.Retransmits
	}
	return n
}
