package socket

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"peel/internal/kernel"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/offload"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// Device is a network device of the kernel's: kernel.Device.
type Device interface {
	Read(b []byte, o *kernel.Offload) (int, error)
	// TryRead fails with EAGAIN instead of waiting.
	TryRead(b []byte, o *kernel.Offload) (int, error)
	Write(b []byte, o *kernel.Offload) error
	Close() error
}

// Port is the network's side of a device: what it is sent goes out by the
// device. It is a link.Sender, and a link.Port to plug a cable into.
type Port struct {
	// Dropped counts frames for which the queue or the device had no room.
	Dropped uint64

	n     *Network
	name  string
	take  func(*packet.Packet) // what comes from the device, under the lock
	i     *host.Interface      // may be nil
	dev   Device
	done  chan struct{}
	limit int
	size  int // of the largest frame that comes

	ring    []*packet.Packet // to be sent
	spare   []*packet.Packet // memory for the next ring
	writing bool             // by one goroutine, which keeps frames in order
	room    *sync.Cond       // the ring was taken
}

// DriveOptions is how a device is driven.
type DriveOptions struct {
	// Offloads tells that the device takes and gives frames with offload
	// headers.
	Offloads bool
	// Ring is the length of the transmit queue in frames; 0 is 1024. What
	// does not fit is dropped, and counted by the interface.
	Ring int
}

// maxFrame is the largest frame that a device gives: 64 KiB of IP behind
// Ethernet with a tag.
const maxFrame = ip.MaxLen + ethernetRoom

// ethernetRoom is for Ethernet's header with a tag.
const ethernetRoom = ethernet.HeaderLen + ethernet.TagLen

// Drive attaches an interface to a device and brings it up.
func (n *Network) Drive(i *host.Interface, dev Device, o DriveOptions) {
	d := n.port(dev, o)
	d.name, d.i, d.take = i.Name, i, i.Receive
	if !o.Offloads {
		d.size = i.MTU + ethernetRoom
	}
	n.Do(func() {
		if o.Offloads {
			i.Offload = host.Offload{Checksum: true, Segment: 60000}
		}
		i.Attach(d)
		n.ports = append(n.ports, d)
	})
	go d.read()
}

// Bridge puts a device at one end of a cable: frames from the device are sent
// into the cable, and the Port that it returns is to be plugged into that end.
func (n *Network) Bridge(name string, cable link.Sender, dev Device, o DriveOptions) *Port {
	d := n.port(dev, o)
	d.name = name
	d.take = func(p *packet.Packet) {
		// A cable carries frames as they are on the wire.
		if p.Segment > 0 {
			offload.Split(&n.Pool, p, cable.Send)
			return
		}
		offload.Finish(p)
		cable.Send(p)
	}
	n.Do(func() { n.ports = append(n.ports, d) })
	go d.read()
	return d
}

func (n *Network) port(dev Device, o DriveOptions) *Port {
	d := &Port{n: n, dev: dev, done: make(chan struct{}), limit: o.Ring, size: maxFrame}
	if d.limit == 0 {
		d.limit = 1024
	}
	d.room = sync.NewCond(&n.mu)
	return d
}

// Receive implements link.Port.
func (d *Port) Receive(p *packet.Packet) { d.Send(p) }

// Send implements link.Sender, under the network's lock.
func (d *Port) Send(p *packet.Packet) {
	if len(d.ring) >= d.limit {
		d.drop()
		d.n.Pool.Put(p)
		return
	}
	d.ring = append(d.ring, p)
}

func (d *Port) drop() {
	d.Dropped++
	if d.i != nil {
		d.i.Count.TxDropped++
	}
}

// drain writes until nothing is left. It is called with writing set.
func (d *Port) drain() {
	d.n.mu.Lock()
	for len(d.ring) > 0 {
		d.writeRing()
	}
	d.writing = false
	d.n.mu.Unlock()
}

// writeRing writes what the ring holds, for which it gives the lock up.
func (d *Port) writeRing() {
	frames := d.ring
	d.ring, d.spare = d.spare, nil
	d.room.Broadcast()
	d.n.mu.Unlock()
	failed := 0
	for _, p := range frames {
		if d.write(p) != nil {
			failed++
		}
	}
	d.n.mu.Lock()
	for range failed {
		d.drop()
	}
	for _, p := range frames {
		d.n.Pool.Put(p)
	}
	clear(frames)
	d.spare = frames[:0]
}

func (d *Port) write(p *packet.Packet) error {
	o := kernel.Offload{}
	b := p.Bytes()
	switch p.Checksum {
	case packet.Partial:
		o.Partial, o.SumFrom, o.SumAt = true, p.SumFrom, p.SumAt-p.SumFrom
	case packet.Good:
		o.Valid = true
	}
	if p.Segment > 0 && len(b) >= int(p.SumFrom)+tcp.MinHeader {
		o.Segment, o.V6 = p.Segment, ethernet.Frame(b).Type() == ethernet.TypeIPv6
		o.HeaderLen = p.SumFrom + uint16(tcp.Segment(b[p.SumFrom:]).HeaderLen())
	}
	return d.dev.Write(b, &o)
}

// What is read at once and handled under one lock: no more than fits into a
// processor's cache.
const (
	readFrames = 64
	readBytes  = 128 << 10
)

// read takes frames from the device until it is closed.
func (d *Port) read() {
	defer close(d.done)
	frames := make([]*packet.Packet, min(max(16, readBytes/d.size), readFrames))
	for n := 0; ; {
		d.n.lock()
		d.takeAll(frames[:n])
		for i, p := range frames {
			if i < n || p == nil {
				frames[i] = d.n.Pool.Get(d.size)
				frames[i].Extend(d.size)
			}
		}
		d.n.unlock()
		var err error
		if n, err = d.readMany(frames); err != nil {
			d.n.Do(func() { d.ended(frames, err) })
			return
		}
	}
}

func (d *Port) takeAll(frames []*packet.Packet) {
	if d.i == nil {
		for _, p := range frames {
			d.take(p)
		}
		return
	}
	d.i.Host.Batch(func() {
		for _, p := range frames {
			d.take(p)
		}
	})
}

// readMany waits for a frame, and reads those that have come with it.
func (d *Port) readMany(frames []*packet.Packet) (n int, err error) {
	read := d.dev.Read
	for size := 0; n < len(frames) && size < readBytes; {
		p := frames[n]
		var o kernel.Offload
		k, err := read(p.Bytes(), &o)
		switch {
		case err != nil && n > 0:
			return n, nil // EAGAIN: no more for now
		case errors.Is(err, syscall.ENETDOWN):
			continue // the other side is down, for now
		case err != nil:
			return 0, err
		}
		p.Truncate(k)
		p.Segment = o.Segment
		switch {
		case o.Partial:
			p.Checksum, p.SumFrom, p.SumAt = packet.Partial, o.SumFrom, o.SumFrom+o.SumAt
		case o.Valid:
			p.Checksum = packet.Good
		}
		n++
		size += k
		read = d.dev.TryRead
	}
	return n, nil
}

// ended tells why nothing comes any more. It is under the lock.
func (d *Port) ended(frames []*packet.Packet, err error) {
	for _, p := range frames {
		d.n.Pool.Put(p)
	}
	if d.i != nil {
		d.i.SetUp(false)
	}
	if !errors.Is(err, os.ErrClosed) && d.n.failed == nil {
		d.n.failed = fmt.Errorf("socket: %s: %w", d.name, err)
	}
}
