package kernel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"peel/internal/needs"
)

func openSniffer(t *testing.T, o SnifferOptions) *Sniffer {
	t.Helper()
	s, err := OpenSniffer(o)
	if errors.Is(err, ErrNoRight) {
		needs.Missing(t, "capturing packets needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// talk sends n bytes over a loopback connection and returns the server's port.
func talk(t *testing.T, before func(server, client uint16), n int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	server := uint16(l.Addr().(*net.TCPAddr).Port)
	before(server, 0)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Repeat([]byte("payload "), 8192)
	for n > 0 {
		m, err := c.Write(b[:min(n, len(b))])
		if err != nil {
			t.Fatal(err)
		}
		n -= m
	}
	c.Close()
	<-done
}

// What is watched is captured whole, once, and nothing else is.
func TestSnifferTakesWhatIsWatched(t *testing.T) {
	s := openSniffer(t, SnifferOptions{Ring: 8 << 20})
	talk(t, func(uint16, uint16) {}, 1000) // before anything is watched
	var port uint16
	talk(t, func(server, _ uint16) {
		port = server
		if err := s.Watch(server); err != nil {
			t.Fatal(err)
		}
	}, 5000)
	talk(t, func(uint16, uint16) {}, 1000) // of another port
	payload, packets := 0, 0
	for {
		p, ok, err := s.Next(50 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		packets++
		b := p.Data
		if len(b) != p.Length || b[12] != 8 || b[23] != 6 {
			t.Fatalf("packet % x", b[:min(len(b), 40)])
		}
		src, dst := uint16(b[34])<<8|uint16(b[35]), uint16(b[36])<<8|uint16(b[37])
		if src != port && dst != port {
			t.Errorf("a packet from port %d to %d, and %d is watched", src, dst, port)
		}
		if s.InterfaceName(p.Interface) != "lo" || p.Outgoing || p.Hardware != hwLoopback {
			t.Errorf("%+v", p)
		}
		if d := time.Since(time.Unix(0, int64(p.Time))); d < 0 || d > time.Minute {
			t.Errorf("seen %v ago", d)
		}
		if dst == port {
			payload += len(b) - 34 - int(b[46]>>4)*4
		}
	}
	if payload != 5000 || packets < 6 {
		t.Errorf("%d packets with %d bytes of 5000", packets, payload)
	}
	if _, dropped := s.Stats(); dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
}

func TestSnifferEnds(t *testing.T) {
	s := openSniffer(t, SnifferOptions{Ring: 4 << 20})
	s.Watch(9)
	ended := make(chan error)
	go func() {
		for {
			if _, _, err := s.Next(time.Second); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("Next still waits after Close")
	}
	if err := s.Watch(10); err == nil {
		t.Error("a closed capture was told to watch")
	}
}

// Without the right, the error says what is missing and how to get it.
func TestSnifferWithoutTheRight(t *testing.T) {
	if os.Getenv("KERNEL_TEST_NOBODY") != "" {
		_, err := OpenSniffer(SnifferOptions{})
		if errors.Is(err, ErrNoRight) {
			os.Stdout.WriteString("told: " + err.Error() + "\n")
		}
		return
	}
	needs.Root(t) // to become somebody else
	// Somewhere that everybody may read.
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp("/tmp", "kernel-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	f.Write(self)
	f.Close()
	os.Chmod(f.Name(), 0o755)
	c := exec.Command(f.Name(), "-test.run", "TestSnifferWithoutTheRight")
	c.Dir = "/"
	c.Env = []string{"KERNEL_TEST_NOBODY=1"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "CAP_NET_RAW") || !strings.Contains(string(out), "setcap") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The filter, run by the bpf machine. It has no network header of its own, so
// only what the program is made of is checked here; the kernel runs it in the
// other tests.
func TestPortFilterAssembles(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, widePorts, widePorts + 1, 5000} {
		ports := make([]uint16, n)
		for i := range ports {
			ports[i] = uint16(1024 + i)
		}
		prog := portFilter(ports)
		if len(prog) > 4096 {
			t.Errorf("%d ports make %d instructions; the kernel takes 4096", n, len(prog))
		}
		if _, err := bpf.Assemble(prog); err != nil {
			t.Errorf("%d ports: %v", n, err)
		}
		if n > widePorts && len(prog) > 200 {
			t.Errorf("%d ports are not taken as all: %d instructions", n, len(prog))
		}
	}
}
