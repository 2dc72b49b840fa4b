package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"peel/internal/needs"
)

// Who rejects a connection, and how: routers of a network of two namespaces
// that prohibit, know no way, and a port on which nobody listens.
func TestWhoRejected(t *testing.T) {
	needs.Root(t)
	needs.Tool(t, "ip")
	if !queuesErrors() {
		needs.Missing(t, "a kernel that queues ICMP errors about a SYN (Linux 5.9)")
	}
	here, there := namespace(t), namespace(t)
	holder := exec.Command("sleep", "60") // whose namespace a device is put into
	if err := there.Start(holder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	setUp(t, here, "link add va type veth peer name vb", fmt.Sprintf("link set vb netns %d", holder.Process.Pid), "link set lo up", "link set va up",
		"addr add 198.51.100.1/24 dev va", "addr add fd99::1/64 dev va nodad", "route add 203.0.113.0/24 via 198.51.100.2", "route add 192.0.2.0/24 via 198.51.100.2", "-6 route add fd98::/64 via fd99::2")
	setUp(t, there, "link set lo up", "link set vb up", "addr add 198.51.100.2/24 dev vb", "addr add fd99::2/64 dev vb nodad",
		"route add prohibit 203.0.113.0/24", "route add unreachable 192.0.2.0/24", "-6 route add prohibit fd98::/64")
	run(t, there, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	v4, v6 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("fd99::2")
	for _, c := range []struct {
		to   string
		want *ICMPError
	}{
		{"203.0.113.7:80", &ICMPError{From: v4, Type: 3, Code: 13}},
		{"192.0.2.7:80", &ICMPError{From: v4, Type: 3, Code: 1}},
		{"[fd98::7]:80", &ICMPError{From: v6, V6: true, Type: 1, Code: 1}},
		{"198.51.100.2:9", nil},
		{"[fd99::2]:9", nil},
		{"198.51.100.77:9", &ICMPError{From: netip.MustParseAddr("198.51.100.1"), Type: 3, Code: 1, Local: true}},
	} {
		var err error
		if e := here.Do(func() error {
			ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
			defer stop()
			_, err = Network{}.DialTCP(ctx, netip.MustParseAddrPort(c.to))
			return nil
		}); e != nil {
			t.Fatal(e)
		}
		var r *Refusal
		switch {
		case !errors.As(err, &r):
			t.Errorf("%s: %v, and not who says so", c.to, err)
		case c.want == nil && (r.ICMP != nil || !errors.Is(err, syscall.ECONNREFUSED)):
			t.Errorf("%s: %v, %+v; want an RST", c.to, err, r.ICMP)
		case c.want != nil && (r.ICMP == nil || *r.ICMP != *c.want):
			t.Errorf("%s: %v, %+v; want %+v", c.to, err, r.ICMP, c.want)
		}
	}
}

func namespace(t *testing.T) *Namespace {
	t.Helper()
	n, err := NewNamespace()
	if err != nil {
		needs.Missing(t, "network namespaces: %v", err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func setUp(t *testing.T, n *Namespace, commands ...string) {
	t.Helper()
	for _, c := range commands {
		run(t, n, "ip", strings.Fields(c)...)
	}
}

func run(t *testing.T, n *Namespace, name string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &out, &out
	if err := n.Start(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out.String())
	}
}
