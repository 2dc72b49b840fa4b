package decision

import (
	"net/netip"
	"time"

	"peel/trace"
)

// What decides in a network of our own has more words than a capture needs to
// know; they are the rest of the decision's name.
const (
	framePrefix = "link."
	hostPrefix  = "host."
	tcpPrefix   = "host.tcp."
)

// FrameHandled says what became of a frame at a place of a network, beside
// being sent and delivered.
type FrameHandled struct {
	// Verdict is a word of package link, such as "dropped".
	Verdict string
	// Where names the place, such as a cable or a switch.
	Where string
	// Packet is the number of the packet within the network.
	Packet uint64
	// Reason is empty where the verdict says all.
	Reason string
	// Wait is how long it waited there.
	Wait time.Duration
}

// Name is "link." and the verdict.
func (d *FrameHandled) Name() trace.EventName { return trace.EventName(framePrefix + d.Verdict) }

func (d *FrameHandled) fields(c *codec) {
	c.text(&d.Where)
	c.uint64(&d.Packet)
	c.text(&d.Reason)
	c.duration(&d.Wait)
}

func (d *FrameHandled) note() string {
	s := d.Where + ": " + d.Verdict
	if d.Reason != "" {
		s += ": " + d.Reason
	}
	return s
}

// HostDecided says what a host decided: a route, a neighbour, a drop.
type HostDecided struct {
	// What is a word of package host, such as "route".
	What string
	Host string
	// Interface is empty when it is about none.
	Interface string
	// Local and Remote are the ends of a flow, not valid when it is about
	// none.
	Local, Remote netip.AddrPort
	// Text says it in words.
	Text string
}

// Name is "host." and what was decided.
func (d *HostDecided) Name() trace.EventName { return trace.EventName(hostPrefix + d.What) }

func (d *HostDecided) fields(c *codec) {
	c.text(&d.Host)
	c.text(&d.Interface)
	c.addrPort(&d.Local)
	c.addrPort(&d.Remote)
	c.text(&d.Text)
}

func (d *HostDecided) note() string { return d.Text }

// TCPDecided says what a host's TCP decided about a connection. Which of the
// fields count depends on What; the others are 0.
type TCPDecided struct {
	// What is a word of package tcp, such as "rtt".
	What          string
	Host          string
	Local, Remote netip.AddrPort
	// State is that of the connection after it, such as "ESTABLISHED".
	State string
	// Why says what led to it.
	Why string
	// From and To are the sequence numbers it is about.
	From, To uint32
	// Wait is a retransmission timeout, a round-trip time or a delay.
	Wait time.Duration
	// Old and New are windows, segment sizes or buffers, in bytes.
	Old, New int64
	// Cwnd, Ssthresh and Flight are bytes at that time.
	Cwnd, Ssthresh, Flight int64
	// Text says all of it in one line.
	Text string
}

// Name is "host.tcp." and what was decided.
func (d *TCPDecided) Name() trace.EventName { return trace.EventName(tcpPrefix + d.What) }

func (d *TCPDecided) fields(c *codec) {
	c.text(&d.Host)
	c.addrPort(&d.Local)
	c.addrPort(&d.Remote)
	word(c, &d.State)
	c.text(&d.Why)
	c.uint32(&d.From)
	c.uint32(&d.To)
	c.duration(&d.Wait)
	for _, p := range [...]*int64{&d.Old, &d.New, &d.Cwnd, &d.Ssthresh, &d.Flight} {
		c.int64(p)
	}
	c.text(&d.Text)
}

func (d *TCPDecided) note() string {
	if d.Why != "" {
		return d.Why
	}
	return d.Text
}
