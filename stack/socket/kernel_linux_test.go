package socket

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"peel/clock"
	"peel/internal/kernel"
	"peel/internal/needs"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/route"
	"peel/stack/tcp"
	"peel/wire/ethernet"
)

// The Linux kernel as the peer: it lives in a network namespace that the test
// makes, with 192.0.2.2 and 2001:db8::2; our host is 192.0.2.1 and
// 2001:db8::1, at the other side of a TAP device or of a veth pair.
type kernelPeer struct {
	*Network
	Stack
	ns    *kernel.Namespace
	iface *host.Interface
	cable *link.Cable
	// remote is a host behind ours, if far was called.
	remote Stack
	dev    string // the kernel's
}

type peerOptions struct {
	veth     bool
	offloads bool
	mtu      int
	host     host.Options
	// cable puts a cable between our host and the device, to be shaped.
	cable bool
}

var (
	ours4, theirs4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	ours6, theirs6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

func newKernelPeer(t testing.TB, o peerOptions) *kernelPeer {
	t.Helper()
	if o.mtu == 0 {
		o.mtu = 1500
	}
	needs.Tools(t, "ip", "ethtool")
	ns, err := kernel.NewNamespace()
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	t.Cleanup(func() { ns.Close() })
	k := &kernelPeer{Network: NewNetwork(clock.NewReal()), ns: ns, dev: "tap0"}
	k.Stack = Stack{Network: k.Network, Host: k.Network.Host("peel", [32]byte{1}, o.host)}
	var dev *kernel.Device
	if o.veth {
		k.dev = "veth0"
		k.run(t, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
		k.run(t, "ip", "link", "set", "veth1", "mtu", fmt.Sprint(o.mtu), "up", "addrgenmode", "none")
		if !o.offloads {
			// Without offload headers the kernel must not leave work over.
			k.run(t, "ethtool", "-K", "veth0", "tx", "off", "tso", "off", "gso", "off")
		}
		err = ns.Do(func() error { dev, err = kernel.OpenPacket("veth1", o.offloads); return err })
	} else {
		err = ns.Do(func() error { dev, err = kernel.OpenTAP("tap0", o.offloads); return err })
	}
	if err != nil {
		needs.Missing(t, "%v", err)
	}
	k.run(t, "ip", "link", "set", "lo", "up")
	k.run(t, "ip", "link", "set", k.dev, "mtu", fmt.Sprint(o.mtu), "up")
	k.run(t, "ip", "addr", "add", "192.0.2.2/24", "dev", k.dev)
	k.run(t, "ip", "-6", "addr", "add", "2001:db8::2/64", "dev", k.dev, "nodad")
	k.run(t, "ip", "route", "add", "default", "via", "192.0.2.1")
	k.run(t, "ip", "-6", "route", "add", "default", "via", "2001:db8::1")
	k.Network.Do(func() {
		k.iface = k.Stack.Host.AddInterface("eth0", ethernet.MAC{2, 0x70, 0x65, 0x65, 0x6c, 1}, o.mtu)
		for _, p := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
			if err := k.iface.AddAddress(netip.MustParsePrefix(p)); err != nil {
				t.Fatal(err)
			}
		}
		k.iface.AddAddress(netip.PrefixFrom(host.LinkLocal(k.iface.MAC), 64))
	})
	if o.cable {
		k.cable = link.NewCable(k.Network.Link(nil), link.End{Name: "peel", Port: k.iface, Rand: rand.New(rand.NewPCG(1, 1))}, link.End{Name: "kernel", Rand: rand.New(rand.NewPCG(1, 2))})
		p := k.Network.Bridge("kernel", k.cable.BA(), dev, DriveOptions{Offloads: o.offloads})
		k.Network.Do(func() {
			k.cable.Plug(nil, p)
			k.iface.Attach(k.cable.AB())
		})
	} else {
		k.Network.Drive(k.iface, dev, DriveOptions{Offloads: o.offloads})
	}
	t.Cleanup(k.Network.Close)
	return k
}

// command returns a command that is to run in the kernel's namespace.
func (k *kernelPeer) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := k.try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (k *kernelPeer) try(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := k.ns.Start(c); err != nil {
		return "", err
	}
	err := c.Wait()
	return out.String(), err
}

// eachDevice runs a test over TAP and veth, with and without offloads.
func eachDevice(t *testing.T, f func(t *testing.T, o peerOptions)) {
	for _, o := range []peerOptions{{}, {offloads: true}, {veth: true}, {veth: true, offloads: true}} {
		name := "tap"
		if o.veth {
			name = "veth"
		}
		if o.offloads {
			name += "+offloads"
		}
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

func TestKernelPings(t *testing.T) {
	needs.Long(t)
	needs.Tools(t, "ping")
	eachDevice(t, func(t *testing.T, o peerOptions) {
		k := newKernelPeer(t, o)
		for _, to := range []string{"192.0.2.1", "2001:db8::1", "fe80::70:65ff:fe65:6c01%" + k.dev} {
			for _, size := range []int{0, 1, 56, 1400, 1472, 1473, 3000, 20000, 65000} {
				out := k.run(t, "ping", "-n", "-c", "2", "-i", "0.01", "-W", "2", "-s", fmt.Sprint(size), to)
				if !strings.Contains(out, " 2 received, 0% packet loss") || strings.Contains(out, "wrong data") {
					t.Errorf("ping -s %d %s:\n%s", size, to, out)
				}
			}
		}
	})
}

// listenKernel and dialKernel are the kernel's sockets in the namespace.
func (k *kernelPeer) listenKernel(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := k.ns.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (k *kernelPeer) dialKernel(addr netip.AddrPort) (c net.Conn, err error) {
	err = k.ns.Do(func() (err error) {
		c, err = (&net.Dialer{Timeout: 20 * time.Second, FallbackDelay: -1}).Dial("tcp", addr.String())
		return err
	})
	return c, err
}

// persist tries again where neighbours did not find each other: three lost
// questions are enough for that.
func persist(dial func() error) (err error) {
	for range 5 {
		if err = dial(); !errors.Is(err, syscall.EHOSTUNREACH) {
			return err
		}
	}
	return err
}

// transfer moves n bytes each way at once, over a connection that the kernel
// opens (or we do), and checks that all arrived and nothing is left behind.
func (k *kernelPeer) transfer(t testing.TB, a [2]netip.Addr, kernelOpens bool, n int64) {
	t.Helper()
	var mine, theirs net.Conn
	done := make(chan error, 1)
	if kernelOpens {
		l, err := k.Stack.Listen(netip.AddrPortFrom(a[0], 0))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			done <- persist(func() (err error) {
				theirs, err = k.dialKernel(l.Addr().(*net.TCPAddr).AddrPort())
				return err
			})
		}()
		l.SetDeadline(time.Now().Add(40 * time.Second))
		if mine, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	} else {
		l := k.listenKernel(t, netip.AddrPortFrom(a[1], 0).String())
		go func() {
			var err error
			theirs, err = l.Accept()
			done <- err
		}()
		if err := persist(func() (err error) {
			mine, err = k.Stack.DialTCP(t.Context(), netip.MustParseAddrPort(l.Addr().String()))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	defer theirs.Close()
	var wg sync.WaitGroup
	var sent, got [2]string
	conns := [2]net.Conn{mine, theirs}
	for i, c := range conns {
		c.SetDeadline(time.Now().Add(5 * time.Minute))
		wg.Go(func() {
			h := sha256.New()
			r := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), n), h)
			k, err := io.CopyBuffer(struct{ io.Writer }{c}, r, make([]byte, 64<<10))
			if err == nil {
				err = c.(interface{ CloseWrite() error }).CloseWrite()
			}
			if err != nil {
				t.Errorf("side %d sent %d of %d: %v", i, k, n, err)
			}
			sent[i] = fmt.Sprintf("%x", h.Sum(nil))
		})
		wg.Go(func() {
			h := sha256.New()
			k, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{c}, make([]byte, 64<<10))
			if err != nil {
				t.Errorf("side %d received %d of %d: %v", i, k, n, err)
			}
			got[1-i] = fmt.Sprintf("%x", h.Sum(nil))
		})
	}
	wg.Wait()
	if sent != got {
		t.Errorf("what was sent has SHA-256 %v, what arrived %v", sent, got)
	}
}

func TestKernelTransfers(t *testing.T) {
	needs.Long(t)
	eachDevice(t, func(t *testing.T, o peerOptions) {
		k := newKernelPeer(t, o)
		for _, a := range [][2]netip.Addr{{ours4, theirs4}, {ours6, theirs6}} {
			for _, opens := range []bool{true, false} {
				start := time.Now()
				k.transfer(t, a, opens, 100<<20)
				t.Logf("%v, kernel opens: %v: 100 MiB each way in %v", a[0], opens, time.Since(start))
			}
		}
	})
}

func TestKernelOverABadCable(t *testing.T) {
	needs.Long(t)
	for _, c := range []struct {
		name  string
		shape link.Shape
	}{
		{"loss 1 %", link.Shape{Loss: link.Loss{Probability: 0.01}}},
		{"loss 5 %", link.Shape{Loss: link.Loss{Probability: 0.05}}},
		{"loss 20 %", link.Shape{Loss: link.Loss{Probability: 0.2}}},
		{"reordered", link.Shape{Delay: 200 * time.Microsecond, Reorder: link.Reorder{Probability: 0.1, Delay: 300 * time.Microsecond}}},
		{"doubled", link.Shape{Duplicate: 0.1}},
		// One bit is what the checksum always finds: of three, one change in
		// 300 gets past it.
		{"corrupted", link.Shape{Corrupt: link.Corrupt{Probability: 0.01, Bits: 1, PastFCS: true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := peerOptions{cable: true}
			// With 200 ms at least for each timeout, a fifth lost would take
			// an hour.
			o.host.TCP.MinRTO = 5 * time.Millisecond
			if c.shape.Loss.Probability >= 0.2 {
				// Nor does CUBIC get anywhere then, on either side.
				o.host.TCP.Congestion = tcp.NewBBR
			}
			k := newKernelPeer(t, o)
			k.run(t, "ip", "route", "add", "192.0.2.1/32", "dev", k.dev, "rto_min", "5ms")
			k.run(t, "ip", "-6", "route", "add", "2001:db8::1/128", "dev", k.dev, "rto_min", "5ms")
			k.Network.Do(func() {
				if err := k.cable.SetShape(c.shape); err != nil {
					t.Fatal(err)
				}
			})
			for _, a := range [][2]netip.Addr{{ours4, theirs4}, {ours6, theirs6}} {
				start, n := time.Now(), int64(100<<20)
				if c.shape.Loss.Probability >= 0.2 && (a[0].Is6() || !k.hasBBR()) {
					n = 10 << 20 // once is enough of a minute's wait
				}
				k.transfer(t, a, a[0].Is4(), n)
				t.Logf("%v: %d MiB each way in %v", a[0], n>>20, time.Since(start))
			}
		})
	}
}

// hasBBR makes BBR the kernel's congestion control, where it has one.
func (k *kernelPeer) hasBBR() bool {
	return k.ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("bbr"), 0) }) == nil
}

// What the kernel does without, we can do without.
func TestKernelFeaturesOff(t *testing.T) {
	needs.Long(t)
	for _, c := range []struct{ name, sysctl, value string }{
		{"no timestamps", "tcp_timestamps", "0"},
		{"no SACK", "tcp_sack", "0"},
		{"no window scaling", "tcp_window_scaling", "0"},
		{"ECN", "tcp_ecn", "1"},
		{"no ECN", "tcp_ecn", "0"},
		{"Reno", "tcp_congestion_control", "reno"},
		{"no delayed data", "tcp_autocorking", "0"},
		{"MTU probing", "tcp_mtu_probing", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := peerOptions{cable: true, host: host.Options{TCP: tcp.Config{ECN: true}}}
			k := newKernelPeer(t, o)
			// /proc/sys/net is that of the thread's namespace.
			if err := k.ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/"+c.sysctl, []byte(c.value), 0) }); err != nil {
				t.Fatal(err)
			}
			for _, loss := range []float64{0, 0.005} {
				k.Network.Do(func() { k.cable.SetShape(link.Shape{Loss: link.Loss{Probability: loss}}) })
				for i, a := range [][2]netip.Addr{{ours4, theirs4}, {ours6, theirs6}} {
					k.transfer(t, a, i == 0, 5<<20)
				}
			}
		})
	}
}

func TestKernelThousandConnections(t *testing.T) {
	needs.Long(t)
	k := newKernelPeer(t, peerOptions{})
	const conns = 1000
	l, err := k.Stack.Listen(netip.AddrPortFrom(ours4, 80))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(struct{ io.Writer }{c}, c)
			}()
		}
	}()
	theirs := k.listenKernel(t, "192.0.2.2:0")
	go func() {
		for {
			c, err := theirs.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(struct{ io.Writer }{c}, c)
			}()
		}
	}()
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			var c net.Conn
			var err error
			if i%2 == 0 {
				c, err = k.dialKernel(netip.AddrPortFrom(ours4, 80))
			} else {
				c, err = k.Stack.DialTCP(t.Context(), netip.MustParseAddrPort(theirs.Addr().String()))
			}
			if err != nil {
				t.Error(i, err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			for range 5 {
				msg := bytes.Repeat([]byte{byte(i)}, 5000)
				if _, err := c.Write(msg); err != nil {
					t.Error(i, err)
					return
				}
				got := make([]byte, len(msg))
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
					t.Error(i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	// All is given back, but for TIME-WAIT.
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := map[string]int{}
		k.Network.Do(func() {
			for _, s := range k.Stack.Host.Sockets() {
				left[s.State]++
			}
		})
		delete(left, "TIME-WAIT")
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestKernelTraceroutesToUsAndThroughUs(t *testing.T) {
	needs.Tools(t, "traceroute")
	k := newKernelPeer(t, peerOptions{host: host.Options{Forward: true}})
	// Behind our host lies another, on a cable of its own.
	k.far(t)
	for _, c := range []struct{ to, via, at string }{
		{"192.0.2.1", "", "192.0.2.1"},
		{"198.51.100.2", "192.0.2.1", "198.51.100.2"},
		{"2001:db8:2::2", "2001:db8::1", "2001:db8:2::2"},
	} {
		for _, how := range []string{"-U", "-I", "-T"} {
			out := k.run(t, "traceroute", how, "-n", "-q", "1", "-w", "2", c.to)
			lines := strings.Split(strings.TrimSpace(out), "\n")[1:]
			want := []string{c.at}
			if c.via != "" {
				want = []string{c.via, c.at}
			}
			var got []string
			for _, l := range lines {
				got = append(got, strings.Fields(l)[1])
			}
			if !slices.Equal(got, want) {
				t.Errorf("traceroute %s %s: %v, want %v\n%s", how, c.to, got, want, out)
			}
		}
	}
	// The cable behind us carries 1400 bytes only: the kernel learns that
	// from our ICMP, for TCP too.
	out, _ := k.try("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1472", "198.51.100.2")
	if !strings.Contains(out, "mtu = 1400") && !strings.Contains(out, "mtu=1400") {
		t.Errorf("a ping that is too large for the next link:\n%s", out)
	}
	l, err := k.remote.Listen(netip.MustParseAddrPort("[::]:80"))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"198.51.100.2:80", "[2001:db8:2::2]:80"} {
		c, err := k.dialKernel(netip.MustParseAddrPort(a))
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c.Write(make([]byte, 5<<20))
			c.Close()
		}()
		if n, err := io.Copy(io.Discard, s); n != 5<<20 || err != nil {
			t.Errorf("%s: %d bytes, %v", a, n, err)
		}
		s.Close()
	}
}

// far adds a host behind ours: 198.51.100.2 and 2001:db8:2::2.
func (k *kernelPeer) far(t testing.TB) {
	k.remote = Stack{Network: k.Network, Host: k.Network.Host("far", [32]byte{2}, host.Options{})}
	cable := link.NewCable(k.Network.Link(nil), link.End{Name: "router"}, link.End{Name: "far"})
	k.Network.Do(func() {
		near := k.Stack.Host.AddInterface("eth1", ethernet.MAC{2, 0x70, 0x65, 0x65, 0x6c, 2}, 1400)
		far := k.remote.Host.AddInterface("eth0", ethernet.MAC{2, 0x70, 0x65, 0x65, 0x6c, 3}, 1400)
		for i, p := range map[*host.Interface][]string{near: {"198.51.100.1/24", "2001:db8:2::1/64"}, far: {"198.51.100.2/24", "2001:db8:2::2/64"}} {
			for _, a := range p {
				i.AddAddress(netip.MustParsePrefix(a))
			}
			i.AddAddress(netip.PrefixFrom(host.LinkLocal(i.MAC), 64))
		}
		for _, r := range []route.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("198.51.100.1"), Interface: "eth0"},
			{Prefix: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("2001:db8:2::1"), Interface: "eth0"}} {
			if err := k.remote.Host.Routes.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		cable.Plug(near, far)
		near.Attach(cable.AB())
		far.Attach(cable.BA())
	})
}
