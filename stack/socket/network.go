// Package socket makes hosts of peel's own usable by ordinary Go code: it runs
// their network in real time (or in that of a testing/synctest bubble), and
// gives their sockets as net.Conn, net.Listener and net.PacketConn.
package socket

import (
	"math/rand/v2"
	"sync"
	"time"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/packet"
)

// Network is what runs hosts and the links between them: one lock, one queue
// of timers, one pool of packets. All that touches a host or a link of it
// happens within Do.
type Network struct {
	// Queue and Pool are for host.New and link.Net.
	Queue clock.Queue
	Pool  packet.Pool

	mu     sync.Mutex
	time   clock.Clock
	timer  *time.Timer
	armed  clock.Time // when timer fires
	closed bool
	ports  []*Port
	failed error
	// waiters are those for which somebody waits.
	waiters []*waiter
}

// NewNetwork returns a network without hosts that runs by the clock.
func NewNetwork(c clock.Clock) *Network {
	n := &Network{time: c, armed: clock.Never}
	n.Queue.Advance(c.Now())
	return n
}

// Link is what cables and switches of this network share.
func (n *Network) Link(t *link.Trace) *link.Net {
	return &link.Net{Clock: &n.Queue, Pool: &n.Pool, Trace: t}
}

// Host makes a host in this network. seed is what its random numbers grow
// from.
func (n *Network) Host(name string, seed [32]byte, o host.Options) *host.Host {
	r := rand.New(rand.NewChaCha8(seed))
	n.lock()
	defer n.unlock()
	return host.New(name, &n.Queue, &n.Pool, r.Uint64, o)
}

// Do calls f while nothing else happens in the network, at the present time,
// and then lets happen what f has caused.
func (n *Network) Do(f func()) {
	n.lock()
	defer n.unlock()
	f()
}

// Err is what ended a device while the network ran, or nil.
func (n *Network) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// Close stops the network: timers do not fire any more, devices are closed,
// and calls that wait fail.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	if n.timer != nil {
		n.timer.Stop()
	}
	for _, w := range n.waiters {
		w.wake()
	}
	ports := n.ports
	n.mu.Unlock()
	for _, d := range ports {
		d.dev.Close()
		<-d.done
	}
}

func (n *Network) lock() {
	n.mu.Lock()
	n.Queue.Advance(n.time.Now())
}

// settle lets happen what is due, and sees to it that somebody comes back for
// the rest.
func (n *Network) settle() {
	if n.closed {
		return
	}
	n.Queue.Run(n.Queue.Now())
	next := n.Queue.Next()
	if next >= n.armed {
		return // the timer comes earlier, and looks again
	}
	n.armed = next
	d := max(next.Sub(n.time.Now()), 0)
	if n.timer == nil {
		n.timer = time.AfterFunc(d, n.tick)
	} else {
		n.timer.Reset(d)
	}
}

// tick is the timer.
func (n *Network) tick() {
	n.mu.Lock()
	n.armed = clock.Never
	n.Queue.Advance(n.time.Now())
	n.unlock()
}

// unlock settles, and hands what ports have to send to their devices:
// outside of the lock, in order.
func (n *Network) unlock() {
	n.settle()
	if n.pending() {
		n.flush()
		return
	}
	n.mu.Unlock()
}

// flush writes what ports have to send, and gives the lock up. One goroutine
// at a time writes to a device; others leave it their frames and go on, until
// it is half a ring behind.
func (n *Network) flush() {
	for _, d := range n.ports {
		for d.writing && len(d.ring) > d.limit/2 {
			d.room.Wait()
		}
		if d.writing || len(d.ring) == 0 {
			continue
		}
		d.writing = true
		d.writeRing()
		if len(d.ring) > 0 {
			// Those of others must not keep this one from its work.
			go d.drain()
			continue
		}
		d.writing = false
	}
	n.mu.Unlock()
}

// Clock is the network's time, for whoever records it.
func (n *Network) Clock() clock.Clock { return n.time }
