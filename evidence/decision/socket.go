package decision

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"peel/trace"
)

// Side is an end of a connection.
type Side = trace.Closer

// Sides.
const (
	Client = trace.ByClient
	Server = trace.ByServer
)

// Transport is what a socket speaks.
type Transport string

// Transports.
const (
	TCP Transport = "tcp"
	UDP Transport = "udp"
)

// Purpose says what a socket is for, where its bytes do not.
type Purpose string

// Purposes.
const (
	ForHTTP Purpose = ""
	ForDNS  Purpose = "dns"
)

// Outcome says how an attempt to connect ended without a connection.
type Outcome = trace.AttemptOutcome

// Outcomes.
const (
	Refused     = trace.AttemptRefused
	Timeout     = trace.AttemptTimeout
	Unreachable = trace.AttemptUnreachable
	Cancelled   = trace.AttemptCancelled
	Failed      = trace.AttemptFailed
)

// HostPort is a host, by name or address, and a port.
type HostPort struct {
	Host string
	Port uint16
}

// String joins the two as in a URL: an IPv6 address stands in brackets.
func (h HostPort) String() string {
	port := strconv.Itoa(int(h.Port))
	if strings.Contains(h.Host, ":") {
		return "[" + h.Host + "]:" + port
	}
	return h.Host + ":" + port
}

func (h *HostPort) fields(c *codec) {
	c.text(&h.Host)
	c.uint16(&h.Port)
}

// ConnectTo says that another place is connected to than the URL names.
type ConnectTo struct {
	From, To HostPort
	Why      string
}

// Name is trace.EventConnectTo.
func (*ConnectTo) Name() trace.EventName { return trace.EventConnectTo }

func (d *ConnectTo) fields(c *codec) {
	d.From.fields(c)
	d.To.fields(c)
	c.text(&d.Why)
}

func (d *ConnectTo) note() string { return d.Why }

// ConnectStarted says that an address is being tried.
type ConnectStarted struct {
	Address netip.AddrPort
	// Origin is scheme, host and port of the URL.
	Origin string
}

// Name is trace.EventConnectStart.
func (*ConnectStarted) Name() trace.EventName { return trace.EventConnectStart }

func (d *ConnectStarted) fields(c *codec) {
	c.addrPort(&d.Address)
	c.text(&d.Origin)
}

// ConnectDone says that the connection stands.
type ConnectDone struct{ Local, Remote netip.AddrPort }

// Name is trace.EventConnectDone.
func (*ConnectDone) Name() trace.EventName { return trace.EventConnectDone }

func (d *ConnectDone) fields(c *codec) {
	c.addrPort(&d.Local)
	c.addrPort(&d.Remote)
}

// ConnectFailed says that an attempt ended without one.
type ConnectFailed struct {
	Outcome Outcome
	// Error is what was seen, in one line.
	Error string
	// Reset tells that an RST answered. From, V6, Type and Code are of the ICMP
	// error that did; From is not valid when none is known.
	Reset      bool
	From       netip.Addr
	V6         bool
	Type, Code uint8
	// Local tells that From is this machine itself.
	Local bool
}

// Name is trace.EventConnectFailed.
func (*ConnectFailed) Name() trace.EventName { return trace.EventConnectFailed }

func (d *ConnectFailed) fields(c *codec) {
	word(c, &d.Outcome)
	c.text(&d.Error)
	c.bool(&d.Reset)
	c.addr(&d.From)
	c.bool(&d.V6)
	c.uint8(&d.Type)
	c.uint8(&d.Code)
	c.bool(&d.Local)
}

func (d *ConnectFailed) note() string { return d.Error }

// SocketBound says which port a socket has, before anything is sent from it.
type SocketBound struct{ Port uint16 }

// Name is trace.EventSocketBound.
func (*SocketBound) Name() trace.EventName { return trace.EventSocketBound }

func (d *SocketBound) fields(c *codec) { c.uint16(&d.Port) }

// SocketOpened says that there is a socket that no request asked for by
// itself, such as that of a lookup.
type SocketOpened struct {
	Transport     Transport
	For           Purpose
	Local, Remote netip.AddrPort
}

// Name is trace.EventSocketOpen.
func (*SocketOpened) Name() trace.EventName { return trace.EventSocketOpen }

func (d *SocketOpened) fields(c *codec) {
	word(c, &d.Transport)
	word(c, &d.For)
	c.addrPort(&d.Local)
	c.addrPort(&d.Remote)
}

// SocketAccepted says that a server took a connection.
type SocketAccepted struct{ Local, Remote netip.AddrPort }

// Name is trace.EventSocketAccepted.
func (*SocketAccepted) Name() trace.EventName { return trace.EventSocketAccepted }

func (d *SocketAccepted) fields(c *codec) {
	c.addrPort(&d.Local)
	c.addrPort(&d.Remote)
}

// SocketEOF says that the peer closed its side.
type SocketEOF struct{}

// Name is trace.EventSocketEOF.
func (*SocketEOF) Name() trace.EventName { return trace.EventSocketEOF }

func (*SocketEOF) fields(*codec) {}

// SocketReset says that reading failed for good.
type SocketReset struct{ Error string }

// Name is trace.EventSocketReset.
func (*SocketReset) Name() trace.EventName { return trace.EventSocketReset }

func (d *SocketReset) fields(c *codec) { c.text(&d.Error) }

func (d *SocketReset) note() string { return d.Error }

// SocketClosed says that the recorded program closed a socket, and who was
// the first to end the connection.
type SocketClosed struct {
	By  Side
	Why string
}

// Name is trace.EventSocketClosed.
func (*SocketClosed) Name() trace.EventName { return trace.EventSocketClosed }

func (d *SocketClosed) fields(c *codec) {
	word(c, &d.By)
	c.text(&d.Why)
}

func (d *SocketClosed) note() string { return d.Why }

// TCPInfo is what the kernel tells of a connection (TCP_INFO of Linux).
// Segment sizes are bytes, the rest are counts of segments.
type TCPInfo struct {
	// State is as ss(8) says it, such as "ESTABLISHED".
	State                                   string
	RTT, RTTVar, MinRTT, RTO                time.Duration
	SendMSS, ReceiveMSS, AdvertMSS, PathMTU uint32
	Cwnd                                    uint32
	Retransmits, Lost                       uint32
	SegmentsOut, SegmentsIn                 uint32
	// Options are those that both sides agreed on, such as "timestamps".
	Options []string
}

// Name is trace.EventTCPInfo.
func (*TCPInfo) Name() trace.EventName { return trace.EventTCPInfo }

func (d *TCPInfo) fields(c *codec) {
	word(c, &d.State)
	for _, p := range [...]*time.Duration{&d.RTT, &d.RTTVar, &d.MinRTT, &d.RTO} {
		c.duration(p)
	}
	for _, p := range [...]*uint32{&d.SendMSS, &d.ReceiveMSS, &d.AdvertMSS, &d.PathMTU, &d.Cwnd, &d.Retransmits, &d.Lost, &d.SegmentsOut, &d.SegmentsIn} {
		c.uint32(p)
	}
	list(c, &d.Options, word[string])
}
