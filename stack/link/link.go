// Package link is what lies between the hosts of peel's own network: cables,
// each direction with its rate, delay, queue and faults; switches; and the
// places where one can look. Time is that of a clock.Queue, which somebody
// else runs; chance comes from a *rand.Rand that the caller seeds. The same
// seed gives the same fates.
//
// Nothing here is for more than one goroutine at a time.
package link

import (
	"peel/clock"
	"peel/stack/packet"
)

// Port is what a cable ends in: a host's interface or a switch's port.
// Receive gets an Ethernet frame without FCS, at the time to which the network's clock
// has come, and owns it from then on.
type Port interface {
	Receive(p *packet.Packet)
}

// Sender is the end of a cable as its owner sees it. Send takes a frame over.
type Sender interface {
	Send(p *packet.Packet)
}

// CarrierPort is a Port that wants to know when its cable is cut or mended.
type CarrierPort interface {
	Port
	Carrier(up bool)
}

// Net is what the cables and switches of one network share. Trace may be nil.
type Net struct {
	Clock *clock.Queue
	Pool  *packet.Pool
	Trace *Trace
}

// drop reports a frame's end and takes it back.
func (n *Net) drop(p *packet.Packet, where, reason string, h Hop) {
	if n.Trace.Watching() {
		h.Packet, h.Time, h.Where, h.Verdict, h.Reason = p, n.Clock.Now(), where, Dropped, reason
		n.Trace.Report(h)
	}
	n.Pool.Put(p)
}
