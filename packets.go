package peel

import (
	"time"

	"peel/evidence/capture"
	"peel/internal/kernel"
	"peel/wire/pcap"
)

// sniffing takes the packets of watched ports into a capture.
type sniffing struct {
	s    *kernel.Sniffer
	rec  *capture.Recorder
	done chan struct{}
	// received and dropped count packets; they are known when it has stopped.
	received, dropped uint64
}

// startSniffing begins to capture what leaves and reaches the ports that are
// watched from now on.
func startSniffing(rec *capture.Recorder) (*sniffing, error) {
	s, err := kernel.OpenSniffer(kernel.SnifferOptions{})
	if err != nil {
		return nil, err
	}
	n := &sniffing{s: s, rec: rec, done: make(chan struct{})}
	rec.ByPackets()
	go n.run()
	return n, nil
}

// lag is how long after it passed a packet is surely there to be read.
const lag = 12 * time.Millisecond

func (n *sniffing) run() {
	defer close(n.done)
	for {
		before := n.rec.Clock().Now()
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

// stop waits until the packets of the end are there.
func (n *sniffing) stop() {
	time.Sleep(lag)
	n.s.Stop()
	<-n.done
	n.received, n.dropped = n.s.Stats()
	n.s.Close()
}
