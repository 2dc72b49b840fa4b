package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of this process's own making: an empty
// network stack of the kernel, with a loopback interface that is down. It goes
// away with Close and the last process in it.
type Namespace struct{ f *os.File }

// NewNamespace makes one. It needs CAP_SYS_ADMIN: root, or a user namespace.
func NewNamespace() (*Namespace, error) {
	var n Namespace
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("kernel: a new network namespace: %w", err)
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		n.f = f
		return err
	})
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// onThread runs f on a thread that is thrown away afterwards, as its namespace
// is not that of the others any more.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		// A goroutine that ends while it is locked takes the thread along.
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Do runs f on a thread of the namespace. Sockets and devices that f opens
// belong to it for good.
func (n *Namespace) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(n.f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("kernel: enter the namespace: %w", err)
		}
		return f()
	})
}

// Start starts a command in the namespace.
func (n *Namespace) Start(c *exec.Cmd) error { return n.Do(c.Start) }

// Close gives the namespace up.
func (n *Namespace) Close() error { return n.f.Close() }
