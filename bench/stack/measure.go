package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// chunk is what bulk writes and reads at once.
const chunk = 128 << 10

// open makes one connection and returns both its ends.
func open(p stackPair) (a, b net.Conn, err error) {
	type end struct {
		c   net.Conn
		err error
	}
	accepted := make(chan end, 1)
	go func() {
		c, err := p.Listener().Accept()
		accepted <- end{c, err}
	}()
	if a, err = p.Dial(); err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	e := <-accepted
	if e.err != nil {
		return nil, nil, fmt.Errorf("accept: %w", e.err)
	}
	return a, e.c, nil
}

// faithful tells that 8 MiB of noise arrive as they were sent and that EOF
// follows. It warms what a first connection has to make, too.
func faithful(p stackPair) error {
	a, b, err := open(p)
	if err != nil {
		return err
	}
	sent := make([]byte, 8<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := a.Write(sent)
		a.Close()
		wrote <- err
	}()
	got, err := io.ReadAll(b)
	b.Close()
	if err := errors.Join(<-wrote, err); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return errors.New("other bytes arrived than were sent")
	}
	runtime.GC()
	return nil
}

// bulk has one connection carry so many bytes from A to B.
func bulk(p stackPair, size int64) (sample, error) {
	a, b, err := open(p)
	if err != nil {
		return sample{}, err
	}
	defer b.Close()
	wrote := make(chan error, 1)
	buf := make([]byte, chunk)
	used, start := cpuTime(), time.Now()
	go func() {
		defer a.Close()
		data := make([]byte, chunk)
		for n := int64(0); n < size; n += chunk {
			if _, err := a.Write(data[:min(chunk, size-n)]); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	for n := int64(0); n < size; {
		k, err := b.Read(buf)
		if n += int64(k); err != nil {
			return sample{}, fmt.Errorf("after %d bytes: %w", n, err)
		}
	}
	took, used := time.Since(start), cpuTime()-used
	if err := <-wrote; err != nil {
		return sample{}, err
	}
	return sample{Rate: float64(size) / took.Seconds(), CPU: float64(used) / float64(size)}, nil
}

// connect makes and closes n connections, so many at once. The dialing side
// closes first, so that the waiting after the end (TIME-WAIT) is always A's.
func connect(p stackPair, n, dialers int) (sample, error) {
	var failed atomic.Pointer[error]
	fail := func(what string, err error) {
		err = fmt.Errorf("%s: %w", what, err)
		failed.CompareAndSwap(nil, &err)
	}
	var served, dialed sync.WaitGroup
	served.Add(n)
	used, start := cpuTime(), time.Now()
	go func() {
		for range n {
			c, err := p.Listener().Accept()
			if err != nil {
				return // the listener was closed after a failure
			}
			go func() {
				defer served.Done()
				defer c.Close()
				var b [1]byte
				if _, err := io.ReadFull(c, b[:]); err != nil {
					fail("server's read", err)
				} else if _, err := c.Write(b[:]); err != nil {
					fail("server's write", err)
				} else if _, err := c.Read(b[:]); err != io.EOF {
					fail("server's end", fmt.Errorf("%v instead of EOF", err))
				}
			}()
		}
	}()
	var next atomic.Int64
	for range dialers {
		dialed.Go(func() {
			for next.Add(1) <= int64(n) && failed.Load() == nil {
				c, err := p.Dial()
				if err != nil {
					fail("dial", err)
					return
				}
				var b [1]byte
				if _, err := c.Write(b[:]); err != nil {
					fail("client's write", err)
				} else if _, err := io.ReadFull(c, b[:]); err != nil {
					fail("client's read", err)
				}
				c.Close()
			}
		})
	}
	dialed.Wait()
	if err := failed.Load(); err != nil {
		return sample{}, *err
	}
	served.Wait()
	took, used := time.Since(start), cpuTime()-used
	if err := failed.Load(); err != nil {
		return sample{}, *err
	}
	return sample{Rate: float64(n) / took.Seconds(), CPU: used.Seconds() * 1e6 / float64(n)}, nil
}

// memory tells what an open connection on which nothing happens costs, both
// ends together. A byte has gone each way, as nothing is gained by a stack
// that has yet to allocate what the first byte needs.
func memory(p stackPair, n int) (sample, error) {
	conns := make([]net.Conn, 0, 2*n)
	before, routines := inUse(), runtime.NumGoroutine()
	for range n {
		a, b, err := open(p)
		if err != nil {
			return sample{}, fmt.Errorf("connection %d: %w", len(conns)/2, err)
		}
		conns = append(conns, a, b)
		var one [1]byte
		for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
			if _, err := way[0].Write(one[:]); err != nil {
				return sample{}, err
			}
			if _, err := io.ReadFull(way[1], one[:]); err != nil {
				return sample{}, err
			}
		}
	}
	after, more := inUse(), runtime.NumGoroutine()-routines
	for _, c := range conns {
		c.Close()
	}
	return sample{Bytes: float64(after-before) / float64(n), Goroutines: float64(more) / float64(n)}, nil
}

// inUse is the memory in use once what is not is gone: late acknowledgements
// are waited for, and two collections empty pools.
func inUse() int64 {
	time.Sleep(time.Second)
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
