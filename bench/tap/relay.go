package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"peel/clock"
	"peel/internal/kernel"
	"peel/stack/host"
	"peel/stack/socket"
	"peel/wire/ethernet"
)

// relay is peel's part: a host at the other side of a TAP device in the
// namespace of a process. It takes connections, and dials the same port on the
// loopback here for each.
func relay(pid int, mtus string, offloads bool, profile string) error {
	mtu, err := strconv.Atoi(mtus)
	if err != nil {
		return err
	}
	dev, err := openTAP(pid, offloads)
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	n := socket.NewNetwork(clock.NewReal())
	defer n.Close()
	stack := socket.Stack{Network: n, Host: n.Host("peel", [32]byte{1}, host.Options{})}
	var i *host.Interface
	n.Do(func() {
		i = stack.Host.AddInterface("eth0", ethernet.MAC{2, 0x70, 0x65, 0x65, 0x6c, 1}, mtu)
		err = i.AddAddress(netip.MustParsePrefix(outside + "/24"))
	})
	if err != nil {
		return err
	}
	n.Drive(i, dev, socket.DriveOptions{Offloads: offloads})
	l, err := stack.Listen(netip.MustParseAddrPort(outside + ":" + port))
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go join(c.(*socket.Conn))
		}
	}()
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM)
	<-done
	return nil
}

// openTAP makes the device in the namespace of a process.
func openTAP(pid int, offloads bool) (dev *kernel.Device, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		// The thread stays in the namespace, and ends with this goroutine.
		runtime.LockOSThread()
		var f *os.File
		if f, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			dev, err = kernel.OpenTAP(device, offloads)
		}
	})
	wg.Wait()
	return dev, err
}

// join relays both ways, and passes on the end of each.
func join(in *socket.Conn) {
	defer in.Close()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		in.SetLinger(0)
		return
	}
	out := c.(*net.TCPConn)
	defer out.Close()
	var wg sync.WaitGroup
	wg.Go(func() { pass(out, in) })
	wg.Go(func() { pass(in, out) })
	wg.Wait()
}

type halfCloser interface {
	io.Writer
	CloseWrite() error
}

func pass(to halfCloser, from io.Reader) {
	// Without their ReadFrom and WriteTo, so that the buffer is this one.
	io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
	to.CloseWrite()
}
