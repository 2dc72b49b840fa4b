// Package kernel is the host's own network: its sockets, its TCP facts, and
// the files by which it is told how names become addresses.
package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Network dials through the host's kernel. The zero value is ready.
type Network struct {
	// Watch, when set, is told the local port of each socket before anything
	// is sent from it. TCP sockets are then bound before they connect.
	Watch func(port uint16) error
}

// DialTCP connects to addr. The context bounds the attempt. Where the kernel
// tells what ended it, the error is a *Refusal.
func (n Network) DialTCP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	// Go's own Happy Eyeballs and keep-alive probes are switched off: the
	// race is ours and visible, and probes would be packets nobody asked for.
	d := net.Dialer{FallbackDelay: -1, KeepAlive: -1}
	var w *witness
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		w.close() // of a try before
		w = watch(c, network == "tcp6")
		if n.Watch != nil {
			return n.bind(ctx, network, address, c)
		}
		return nil
	}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if w == nil {
		return conn, err
	}
	defer w.close()
	if err == nil {
		return conn, nil
	}
	// Without an ICMP error the refusal was an RST.
	if icmp := w.told(); icmp != nil || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, &Refusal{Err: err, ICMP: icmp}
	}
	return nil, err
}

type onBound struct{}

// OnBound returns a context with which DialTCP calls f with the socket's
// local port before it connects, if the Network has a Watch.
func OnBound(ctx context.Context, f func(port uint16)) context.Context {
	return context.WithValue(ctx, onBound{}, f)
}

// Bound is what OnBound put into a context, or nil: for networks that are not
// the kernel's.
func Bound(ctx context.Context) func(port uint16) {
	f, _ := ctx.Value(onBound{}).(func(uint16))
	return f
}

// bind gives a socket its local port, which connect would do too late for it
// to be watched.
func (n Network) bind(ctx context.Context, network, _ string, c syscall.RawConn) error {
	var port uint16
	var err error
	if cerr := c.Control(func(fd uintptr) { port, err = bindAny(fd, network == "tcp6") }); cerr != nil {
		return cerr
	}
	if err != nil {
		return err
	}
	if f := Bound(ctx); f != nil {
		f(port)
	}
	return n.Watch(port)
}

// DialUDP opens a datagram socket that only talks with addr, from a port that
// the kernel picks at random.
func (n Network) DialUDP(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr)) // it waits for nothing
	if err != nil {
		return nil, err
	}
	if n.Watch == nil {
		return c, nil
	}
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		if err := n.Watch(uint16(a.Port)); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// ListenUDP opens a datagram socket on a random port from which a group can
// be asked, and which hears whoever answers.
func (n Network) ListenUDP(ctx context.Context, group netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if group.Addr().Is6() {
		network = "udp6"
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, network, ":0")
	if err != nil || n.Watch == nil {
		return c, err
	}
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		if err := n.Watch(uint16(a.Port)); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Source returns the address from which the kernel would send to dst, by
// asking its routing table through an unsent datagram socket. It is false
// when there is no route.
func (Network) Source(dst netip.Addr) (netip.Addr, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 9)))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return a.AddrPort().Addr().Unmap(), true
}

// AddrPort returns the address and port of one end of a TCP or UDP socket, an
// IPv4 address as one. It is not valid for other kinds of sockets.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Files by which the resolver of the host is told what to do.
const (
	HostsFile    = "/etc/hosts"
	ResolvConf   = "/etc/resolv.conf"
	NsswitchConf = "/etc/nsswitch.conf"
)

// maxConfig bounds a configuration file; a hosts file used as a block list
// can be several megabytes.
const maxConfig = 32 << 20

// ReadConfig reads one of the resolver's files. A file that is not there is
// nil without an error, as the resolver itself treats it.
func ReadConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > maxConfig {
		return nil, errors.New("kernel: " + path + " is larger than 32 MiB")
	}
	return os.ReadFile(path)
}

// Info is what the kernel tells of a TCP connection (tcp(7), TCP_INFO).
type Info struct {
	State                  string
	RTT, RTTVar, MinRTT    time.Duration
	RTO                    time.Duration
	SendMSS, ReceiveMSS    uint32
	AdvertisedMSS, PathMTU uint32
	CwndSegments           uint32
	Retransmits, Lost      uint32
	SegmentsOut            uint32
	SegmentsIn             uint32
	// Options are those both sides agreed on.
	Options []string
}

// State of a connection that nobody uses, found by Peek.
type State uint8

const (
	// Quiet: open, and nothing to read.
	Quiet State = iota
	// Ended: the peer has closed its side, or the connection is broken.
	Ended
	// Talking: there are bytes to read that nobody asked for.
	Talking
)
