package main

import (
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/internal/kernel"
	"peel/wire/pcap"
)

// sniffing takes this run's packets into the capture.
type sniffing struct {
	s    *kernel.Sniffer
	rec  *capture.Recorder
	clk  clock.Clock
	done chan struct{}
}

// startSniffing begins to capture what leaves and reaches the ports that are
// watched from now on.
func startSniffing(rec *capture.Recorder, clk clock.Clock) (*sniffing, error) {
	s, err := kernel.OpenSniffer(kernel.SnifferOptions{})
	if err != nil {
		return nil, err
	}
	n := &sniffing{s: s, rec: rec, clk: clk, done: make(chan struct{})}
	rec.ByPackets()
	go n.run()
	return n, nil
}

// lag is how long after it passed a packet is surely there to be read.
const lag = 12 * time.Millisecond

func (n *sniffing) run() {
	defer close(n.done)
	for {
		before := n.clk.Now()
		p, ok, err := n.s.Next(5 * time.Millisecond)
		switch {
		case err != nil:
			return
		case ok:
			n.rec.Packet(p.Time, capture.Link{Type: linkType(p.Hardware), Where: n.s.InterfaceName(p.Interface), Sent: p.Outgoing, Received: !p.Outgoing, Partial: p.ChecksumPartial}, p.Length, p.Data)
		default:
			n.rec.Mark(before.Add(-lag))
			if n.s.Stopped() {
				return
			}
		}
	}
}

// linkType is the header that packets of a kind of interface begin with
// (if_arp.h).
func linkType(hardware uint16) pcap.LinkType {
	switch hardware {
	case 1, 772: // ARPHRD_ETHER, ARPHRD_LOOPBACK
		return pcap.LinkEthernet
	case 65534, 519, 768, 769, 776: // none, raw IP, and tunnels
		return pcap.LinkRaw
	}
	return pcap.LinkEthernet
}

// stop waits until the packets of the end are there, and tells what the
// capture received and dropped.
func (n *sniffing) stop() (received, dropped uint64) {
	time.Sleep(lag)
	n.s.Stop()
	<-n.done
	received, dropped = n.s.Stats()
	n.s.Close()
	return received, dropped
}
