package socket

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"peel/clock"
	"peel/ethernet"
	"peel/host"
	"peel/kernel"
	"peel/link"
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
	dev   string // the kernel's
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

// needTool skips a test for want of a tool, loudly; in CI that is a failure.
func needTool(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			missing(t, n+" is not installed")
		}
	}
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip("SKIPPED: " + why)
}

func newKernelPeer(t testing.TB, o peerOptions) *kernelPeer {
	t.Helper()
	if o.mtu == 0 {
		o.mtu = 1500
	}
	needTool(t, "ip", "ethtool")
	ns, err := kernel.NewNamespace()
	if err != nil {
		missing(t, err.Error())
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
		missing(t, err.Error())
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
	needTool(t, "ping")
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
			var err error
			theirs, err = k.dialKernel(l.Addr().(*net.TCPAddr).AddrPort())
			done <- err
		}()
		l.SetDeadline(time.Now().Add(20 * time.Second))
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
		c, err := k.Stack.Dial(t.Context(), netip.AddrPort{}, netip.MustParseAddrPort(l.Addr().String()))
		if err != nil {
			t.Fatal(err)
		}
		mine = c
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
