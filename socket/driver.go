package socket

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"peel/host"
	"peel/kernel"
	"peel/packet"
)

// Device is a network device of the kernel's: kernel.Device.
type Device interface {
	Read(b []byte, o *kernel.Offload) (int, error)
	Write(b []byte, o *kernel.Offload) error
	Close() error
}

// driver joins an interface to a device.
type driver struct {
	n     *Network
	i     *host.Interface
	dev   Device
	done  chan struct{}
	limit int

	ring    []*packet.Packet // to be sent
	spare   []*packet.Packet // memory for the next ring
	writing sync.Mutex       // keeps batches in order
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
const maxFrame = 65535 + 18

// Drive attaches an interface to a device and brings it up.
func (n *Network) Drive(i *host.Interface, dev Device, o DriveOptions) {
	d := &driver{n: n, i: i, dev: dev, done: make(chan struct{}), limit: o.Ring}
	if d.limit == 0 {
		d.limit = 1024
	}
	n.lock()
	n.drivers = append(n.drivers, d)
	if o.Offloads {
		i.Offload = host.Offload{Checksum: true, Segment: 60000}
	}
	i.Attach(d)
	n.unlock()
	go d.read()
}

// Send implements host.Sender, under the network's lock.
func (d *driver) Send(p *packet.Packet) {
	if len(d.ring) >= d.limit {
		d.i.Count.TxDropped++
		d.n.Pool.Put(p)
		return
	}
	d.ring = append(d.ring, p)
}

func (d *driver) write(frames []*packet.Packet) {
	for _, p := range frames {
		o := kernel.Offload{}
		b := p.Bytes()
		switch p.Checksum {
		case packet.Partial:
			o.Partial, o.SumFrom, o.SumAt = true, p.SumFrom, p.SumAt-p.SumFrom
		case packet.Good:
			o.Valid = true
		}
		if p.Segment > 0 && len(b) > int(p.SumFrom)+12 {
			o.Segment, o.V6 = p.Segment, b[12] == 0x86
			o.HeaderLen = p.SumFrom + uint16(b[p.SumFrom+12]>>4)*4
		}
		if err := d.dev.Write(b, &o); err != nil {
			d.i.Count.TxDropped++
		}
	}
}

// read takes frames from the device until it is closed.
func (d *driver) read() {
	defer close(d.done)
	d.n.mu.Lock()
	p := d.n.Pool.Get(maxFrame)
	d.n.mu.Unlock()
	var o kernel.Offload
	for {
		buf := p.Extend(maxFrame)
		k, err := d.dev.Read(buf, &o)
		if err != nil {
			if errors.Is(err, syscall.ENETDOWN) {
				continue // the other side is down, for now
			}
			d.n.lock()
			d.n.Pool.Put(p)
			d.i.SetUp(false)
			if !errors.Is(err, os.ErrClosed) && d.n.failed == nil {
				d.n.failed = fmt.Errorf("socket: %s: %w", d.i.Name, err)
			}
			d.n.unlock()
			return
		}
		p.Truncate(k)
		if o.Segment > 0 {
			p.Segment = o.Segment
		}
		switch {
		case o.Partial:
			p.Checksum, p.SumFrom, p.SumAt = packet.Partial, o.SumFrom, o.SumFrom+o.SumAt
		case o.Valid:
			p.Checksum = packet.Good
		}
		d.n.lock()
		d.i.Receive(p)
		p = d.n.Pool.Get(maxFrame)
		d.n.unlock()
	}
}
