package main

import (
	"context"
	"net"
	"net/netip"

	"peel/clock"
	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/socket"
	"peel/stack/tcp"
	"peel/wire/ethernet"
	"time"
)

// peelPair is two of peel's hosts at the ends of a cable.
type peelPair struct {
	net  *socket.Network
	a    socket.Stack
	l    *socket.Listener
	addr netip.AddrPort
}

func (p *peelPair) Dial() (net.Conn, error) { return p.a.DialTCP(context.Background(), p.addr) }
func (p *peelPair) Listener() net.Listener  { return p.l }
func (p *peelPair) Close() {
	p.l.Close()
	p.net.Close()
}

// openPeel makes such pairs. As gVisor's pipe with GSO and GRO does, a cable on
// which nothing happens and nobody looks takes large packets whole.
func openPeel(o host.Offload) func(mtu int) (stackPair, error) {
	return func(mtu int) (stackPair, error) { return newPeel(mtu, o) }
}

func newPeel(mtu int, offload host.Offload) (stackPair, error) {
	p := &peelPair{net: socket.NewNetwork(clock.NewReal())}
	// As gVisor: a TIME-WAIT that lets the ports come back, 8 MiB at most,
	// and the same range of ports.
	o := host.Options{Ports: [2]uint16{16000, 65535}, TCP: tcp.Config{TimeWait: 100 * time.Millisecond, SendBuffer: 8 << 20, ReceiveBuffer: 8 << 20}}
	cable := link.NewCable(p.net.Link(nil), link.End{Name: "a"}, link.End{Name: "b"})
	var hosts [2]socket.Stack
	var err error
	for n := range hosts {
		h := p.net.Host(string(rune('a'+n)), [32]byte{byte(n)}, o)
		hosts[n] = socket.Stack{Network: p.net, Host: h}
		p.net.Do(func() {
			i := h.AddInterface("eth0", ethernet.MAC{2, 0, 0, 0, 0, byte(n + 1)}, mtu)
			for _, a := range [2][2]string{{"192.0.2.1/24", "2001:db8::1/64"}, {"192.0.2.2/24", "2001:db8::2/64"}}[n] {
				if e := i.AddAddress(netip.MustParsePrefix(a)); e != nil {
					err = e
				}
			}
			i.Offload = offload
			if n == 0 {
				cable.Plug(i, nil)
				i.Attach(cable.AB())
			} else {
				cable.Plug(nil, i)
				i.Attach(cable.BA())
			}
		})
	}
	if err != nil {
		return nil, err
	}
	p.a = hosts[0]
	p.addr = netip.MustParseAddrPort("192.0.2.2:80")
	if set.v6 {
		p.addr = netip.MustParseAddrPort("[2001:db8::2]:80")
	}
	p.l, err = hosts[1].Listen(p.addr)
	return p, err
}
