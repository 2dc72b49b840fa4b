package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/link/qdisc/fifo"
	"gvisor.dev/gvisor/pkg/tcpip/link/veth"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

const (
	skipTX = stack.CapabilityTXChecksumOffload
	skipRX = stack.CapabilityRXChecksumOffload

	nicID = 1
	// queue is in packets: more than the largest window holds at MTU 1500, so
	// that the cable itself loses nothing.
	queue = 1 << 14
	// timeWait keeps A's ports from running out: of the 49,536 it may use, a
	// minute of TIME-WAIT would let 825 connections a second through.
	// 10 ms and 1 s give the same rates.
	timeWait = 100 * time.Millisecond
)

// gvLink is how two of gVisor's stacks are joined.
type gvLink struct {
	// kind is the endpoint: pipe delivers on the writer's goroutine, veth has
	// one goroutine for both ways, channel one of ours for each way.
	kind string
	// fifo queues packets before the endpoint, with a goroutine that writes
	// them in batches.
	fifo bool
	// gso (gVisor's software GSO; its host GSO would carry packets larger than
	// the MTU) lets TCP work on 64 KiB and cuts that into real packets of the MTU
	// just before the endpoint.
	gso bool
	// gro joins packets before TCP sees them, for channel and for pipe with
	// fifo, which know when no more is at hand. It verifies the checksums.
	gro bool
	// buffer is the default of send and receive buffers in KiB; both are
	// auto-tuned to 8 MiB from there. 1024, gVisor's own default, when 0.
	buffer int
}

func (l gvLink) String() string {
	s := l.kind
	for _, o := range []struct {
		on   bool
		name string
	}{{l.fifo, "fifo"}, {l.gso, "GSO"}, {l.gro, "GRO"}, {l.buffer != 0, fmt.Sprintf("%d KiB", l.buffer)}} {
		if o.on {
			s += "+" + o.name
		}
	}
	return s
}

// bestLink is the fastest in bulk for an MTU, and not slower than others in
// connections: go run ./stack -links tells. At MTU 65520 there is nothing to
// join, and fifo, with GSO or without, is what counts.
func bestLink(mtu int) gvLink {
	if mtu < 9000 {
		return gvLink{kind: "pipe", fifo: true, gso: true, gro: true}
	}
	return gvLink{kind: "pipe", fifo: true, gso: true}
}

// links are all that are worth comparing.
func links() (list []contender) {
	for _, l := range []gvLink{
		{kind: "pipe"},
		{kind: "pipe", buffer: 4096},
		{kind: "pipe", gso: true},
		{kind: "pipe", fifo: true},
		{kind: "pipe", fifo: true, gso: true},
		{kind: "pipe", fifo: true, gro: true},
		{kind: "pipe", fifo: true, gso: true, gro: true},
		{kind: "channel"},
		{kind: "channel", gso: true},
		{kind: "channel", gro: true},
		{kind: "channel", gso: true, gro: true},
		{kind: "channel", gso: true, gro: true, buffer: 4096},
		{kind: "veth"},
		{kind: "veth", gso: true},
		{kind: "veth", gso: true, buffer: 4096},
	} {
		list = append(list, contender{name: l.String(), open: openGVisor(func(int) gvLink { return l }, 0)})
	}
	return list
}

// gvPair is two of gVisor's stacks.
type gvPair struct {
	stacks   [2]*stack.Stack
	addr     tcpip.FullAddress
	proto    tcpip.NetworkProtocolNumber
	listener *gonet.TCPListener
	stop     func()
}

var (
	gv4 = [2]tcpip.Address{tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})}
	gv6 = [2]tcpip.Address{tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 1}), tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 2})}
)

// openGVisor opens pairs joined by what link says, whose hosts leave out the
// checksums of skip.
func openGVisor(link func(mtu int) gvLink, skip stack.LinkEndpointCapabilities) func(mtu int) (stackPair, error) {
	return func(mtu int) (stackPair, error) {
		l := link(mtu)
		ends, stop, err := l.cable(uint32(mtu), skip)
		if err != nil {
			return nil, err
		}
		p := &gvPair{stop: stop, proto: ipv4.ProtocolNumber, addr: tcpip.FullAddress{NIC: nicID, Addr: gv4[1], Port: 80}}
		if set.v6 {
			p.proto, p.addr.Addr = ipv6.ProtocolNumber, gv6[1]
		}
		for i := range p.stacks {
			if p.stacks[i], err = gvHost(i, ends[i], l); err != nil {
				return nil, err
			}
		}
		if p.listener, err = gonet.ListenTCP(p.stacks[1], p.addr, p.proto); err != nil {
			return nil, err
		}
		return p, nil
	}
}

func (p *gvPair) Dial() (net.Conn, error) { return gonet.DialTCP(p.stacks[0], p.addr, p.proto) }
func (p *gvPair) Listener() net.Listener  { return p.listener }

func (p *gvPair) Close() {
	p.listener.Shutdown()
	p.listener.Close()
	for _, s := range p.stacks {
		s.Close()
	}
	p.stop()
	for _, s := range p.stacks {
		s.Wait()
	}
}

func (p *gvPair) retransmits() (n uint64) {
	for _, s := range p.stacks {
		n += s.Stats().TCP.Retransmits.Value()
	}
	return n
}

func gvHost(i int, end *gvEnd, l gvLink) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	if l.buffer == 0 {
		l.buffer = tcp.DefaultSendBufferSize >> 10
	}
	sack, moderate, wait := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true), tcpip.TCPTimeWaitTimeoutOption(timeWait)
	cubic := tcpip.CongestionControlOption("cubic")
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: l.buffer << 10, Max: 8 << 20}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: l.buffer << 10, Max: 8 << 20}
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &wait, &cubic, &send, &receive} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("%T: %s", o, err)
		}
	}
	var nic stack.NICOptions
	if l.fifo {
		nic.QDisc = fifo.New(end, 1, queue)
	}
	if err := s.CreateNICWithOptions(nicID, end, nic); err != nil {
		return nil, errors.New(err.String())
	}
	for _, a := range []tcpip.ProtocolAddress{
		{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: gv4[i], PrefixLen: 24}},
		{Protocol: ipv6.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: gv6[i], PrefixLen: 64}},
	} {
		if err := s.AddProtocolAddress(nicID, a, stack.AddressProperties{}); err != nil {
			return nil, errors.New(err.String())
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}, {Destination: header.IPv6EmptySubnet, NIC: nicID}})
	return s, nil
}

// gvEnd is one end of a cable: an endpoint of gVisor's, with the abilities
// that the comparison wants it to have.
type gvEnd struct {
	stack.LinkEndpoint
	caps  stack.LinkEndpointCapabilities
	gso   stack.SupportedGSO
	trust bool // checksums of what arrives are not verified
	joins bool
	join  gro.GRO
	peer  *gvEnd
}

func (e *gvEnd) Capabilities() stack.LinkEndpointCapabilities { return e.caps }
func (e *gvEnd) SupportedGSO() stack.SupportedGSO             { return e.gso }
func (e *gvEnd) GSOMaxSize() uint32                           { return stack.GVisorGSOMaxSize }

func (e *gvEnd) Attach(d stack.NetworkDispatcher) {
	if e.joins && d != nil {
		e.join.Dispatcher = d
		d = gvJoiner{d, e}
	}
	e.LinkEndpoint.Attach(d)
}

// WritePackets is called with batches when fifo is in between.
func (e *gvEnd) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	n, err := e.LinkEndpoint.WritePackets(pkts)
	if _, ok := e.LinkEndpoint.(*pipe.Endpoint); ok && e.peer.joins {
		e.peer.join.Flush()
	}
	return n, err
}

// gvJoiner has GRO see what arrives before the stack. One goroutine at a time
// delivers to it: a pump, or that of the other side's fifo.
type gvJoiner struct {
	stack.NetworkDispatcher
	end *gvEnd
}

func (j gvJoiner) DeliverNetworkPacket(proto tcpip.NetworkProtocolNumber, p *stack.PacketBuffer) {
	p.NetworkProtocolNumber, p.RXChecksumValidated = proto, j.end.trust
	j.end.join.Enqueue(p)
}

// cable joins two ends, whose stacks leave out the checksums of skip.
func (l gvLink) cable(mtu uint32, skip stack.LinkEndpointCapabilities) (ends [2]*gvEnd, stop func(), err error) {
	for i := range ends {
		ends[i] = &gvEnd{caps: skip, trust: skip&skipRX != 0, joins: l.gro, peer: ends[0]}
		if l.gso {
			ends[i].gso = stack.GVisorGSOSupported
		}
		if l.gro {
			// GRO verifies every TCP checksum, and the stack must not do it
			// again: a joined packet's is no longer that of its bytes.
			ends[i].join.Init(true)
			ends[i].caps |= skipRX
		}
	}
	ends[0].peer = ends[1]
	switch l.kind {
	case "pipe":
		if l.gro && !l.fifo {
			return ends, nil, errors.New("GRO on a pipe needs fifo")
		}
		ends[0].LinkEndpoint, ends[1].LinkEndpoint = pipe.New("", "", mtu)
		return ends, func() {}, nil
	case "veth":
		a, b := veth.NewPair(mtu, queue)
		ends[0].LinkEndpoint, ends[1].LinkEndpoint = a, b
		return ends, a.Close, nil
	case "channel":
		a, b := channel.New(queue, mtu, ""), channel.New(queue, mtu, "")
		ends[0].LinkEndpoint, ends[1].LinkEndpoint = a, b
		ctx, cancel := context.WithCancel(context.Background())
		var pumps sync.WaitGroup
		pumps.Go(func() { pump(ctx, a, b, ends[1]) })
		pumps.Go(func() { pump(ctx, b, a, ends[0]) })
		return ends, func() { cancel(); pumps.Wait() }, nil
	}
	return ends, nil, errors.New("no such link: " + l.kind)
}

// pump carries packets from one host to the other.
func pump(ctx context.Context, from, to *channel.Endpoint, end *gvEnd) {
	for p := from.ReadContext(ctx); p != nil; p = from.ReadContext(ctx) {
		for n := 1; p != nil; n++ {
			in := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: p.ToBuffer()})
			to.InjectInbound(p.NetworkProtocolNumber, in)
			in.DecRef()
			p.DecRef()
			if p = nil; n < 64 {
				p = from.Read()
			}
		}
		if end.joins {
			end.join.Flush()
		}
	}
}
