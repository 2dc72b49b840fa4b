package host

import (
	"net/netip"

	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/udp"
)

// UDP is a datagram socket of a host. It does not block.
type UDP struct {
	// Wake is called when a datagram or an error has come. May be nil.
	Wake func()
	// TTL of what is sent; 0 is the host's. Limit bounds the bytes that wait
	// to be received; 0 is 1 MiB.
	TTL   uint8
	Limit int
	// DontFragment makes what is larger than the path's MTU an error.
	DontFragment bool
	// Drops counts datagrams for which there was no room.
	Drops uint64

	host   *Host
	key    bound
	local  netip.AddrPort
	peer   netip.AddrPort // of a connected socket
	queue  []Datagram
	bytes  int
	errors []SocketError
	closed bool
}

// Datagram is one that was received.
type Datagram struct {
	From, To netip.AddrPort
	Payload  []byte
	TTL      uint8
}

// SocketError is what ICMP told about a datagram that was sent.
type SocketError struct {
	Err     error
	Message icmp.Message
	// From is who sent the ICMP message; To is where the datagram went.
	From netip.Addr
	To   netip.AddrPort
}

// maxErrors bounds those that wait.
const maxErrors = 32

// ListenUDP opens a socket at local, whose address may be unspecified and whose
// port may be 0. With a peer it is connected: it hears nobody else.
func (h *Host) ListenUDP(local, peer netip.AddrPort) (*UDP, error) {
	a := local.Addr().WithZone("")
	if !a.IsValid() {
		a = netip.IPv6Unspecified()
		if peer.IsValid() {
			s, err := h.Source(peer.Addr())
			if err != nil {
				return nil, err
			}
			a = s
		}
	}
	if !a.IsUnspecified() && h.local[a] == nil && !a.IsLoopback() && !a.IsMulticast() {
		return nil, ErrNoAddress
	}
	port := local.Port()
	if port == 0 {
		lo, n := h.Options.Ports[0], int(h.Options.Ports[1]-h.Options.Ports[0])+1
		start := int(h.entropy() % uint64(n))
		for i := range n {
			if p := lo + uint16((start+i)%n); h.udps[bound{a, p}] == nil {
				port = p
				break
			}
		}
		if port == 0 {
			h.Count.PortsExhausted++
			return nil, ErrNoPorts
		}
	}
	key := bound{a, port}
	if h.udps[key] != nil {
		return nil, ErrInUse
	}
	u := &UDP{host: h, key: key, local: netip.AddrPortFrom(a, port), peer: peer}
	h.udps[key] = u
	return u, nil
}

// Local is the socket's address.
func (u *UDP) Local() netip.AddrPort { return u.local }

// Peer is the address of a connected socket's peer.
func (u *UDP) Peer() netip.AddrPort { return u.peer }

// Close closes the socket.
func (u *UDP) Close() {
	if !u.closed {
		u.closed = true
		delete(u.host.udps, u.key)
		u.queue, u.bytes = nil, 0
	}
}

// Send sends a datagram, fragmented where it has to be.
func (u *UDP) Send(b []byte, to netip.AddrPort) error {
	h := u.host
	n, err := h.route(to.Addr())
	if err != nil {
		return err
	}
	dst := to.Addr().WithZone("")
	src := u.local.Addr()
	if src.IsUnspecified() || src.IsMulticast() {
		if src, err = h.sourceOn(n, dst); err != nil {
			return err
		}
	}
	if src.Is4() != dst.Is4() {
		return ErrNoAddress
	}
	head := ip.HeaderLen(dst)
	most := ip.MaxLen - udp.HeaderLen
	if dst.Is4() {
		most -= ip.MinHeader4 // there the length counts the header too
	}
	if len(b) > most {
		return ErrTooBig
	}
	if !n.local && (u.DontFragment || dst.Is6()) {
		n.mtu = h.pathMTUTo(dst, n.mtu)
		if u.DontFragment && len(b)+udp.HeaderLen+head > n.mtu {
			return ErrTooBig
		}
	}
	p := h.pool.Get(len(b))
	copy(p.Extend(len(b)), b)
	d := p.Prepend(udp.HeaderLen)
	udp.Header{Source: u.local.Port(), Destination: to.Port(), Length: uint16(p.Len())}.Put(d)
	udp.Datagram(p.Bytes()).Seal(ip.PseudoSum(src, dst, ip.ProtoUDP, p.Len()))
	p.Checksum = packet.Good
	return h.output(p, &datagram{src: src, dst: dst, proto: ip.ProtoUDP, ttl: u.TTL, df: u.DontFragment, hop: &n})
}

// Receive returns a datagram, or false when none waits.
func (u *UDP) Receive() (Datagram, bool) {
	if len(u.queue) == 0 {
		return Datagram{}, false
	}
	d := u.queue[0]
	u.queue = u.queue[1:]
	u.bytes -= len(d.Payload) + datagramCost
	return d, true
}

// Error returns what ICMP told, or false when there is nothing.
func (u *UDP) Error() (SocketError, bool) {
	if len(u.errors) == 0 {
		return SocketError{}, false
	}
	e := u.errors[0]
	u.errors = u.errors[1:]
	return e, true
}

const (
	// datagramCost is what a waiting datagram counts beside its bytes.
	datagramCost = 128
	// defaultLimit of UDP.Limit.
	defaultLimit = 1 << 20
)

// inputUDP brings a datagram to its socket.
func (h *Host) inputUDP(i *Interface, p *packet.Packet, head int, v6 bool) {
	b := ip.View(p.Bytes())
	d, err := udp.Parse(b[head:])
	if err != nil || int(d.Length()) > len(d) {
		h.bad(i, p, "UDP length")
		return
	}
	src, dst := b.Source(), b.Destination()
	from, to := netip.AddrPortFrom(src, d.SourcePort()), netip.AddrPortFrom(dst, d.DestinationPort())
	u := h.udpFor(to, from)
	if u == nil {
		h.Count.NoPorts++
		switch {
		case dst.IsMulticast() || i != nil && !v6 && i.isBroadcast(dst):
			h.pool.Put(p)
		case v6:
			h.errorFor(p, i, icmp.Header{Type: icmp.Unreachable6, Code: icmp.PortUnreachable6})
		default:
			h.errorFor(p, i, icmp.Header{Type: icmp.Unreachable4, Code: icmp.PortUnreachable4})
		}
		return
	}
	from = netip.AddrPortFrom(i.zoned(src), from.Port())
	limit := u.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	if u.bytes+len(d.Payload())+datagramCost > limit {
		u.Drops++
		h.Count.InDiscards++
		h.dropped(p, i, "the receive queue of "+u.local.String()+" is full")
		return
	}
	u.queue = append(u.queue, Datagram{from, to, append([]byte(nil), d.Payload()...), b.TTL()})
	u.bytes += len(d.Payload()) + datagramCost
	if u.Wake != nil {
		u.Wake()
	}
	h.pool.Put(p)
}

// udpFor is the socket for a datagram between its address and another: the one
// that is bound most closely, among those that want to hear that peer.
func (h *Host) udpFor(local, peer netip.AddrPort) *UDP {
	for _, a := range [...]netip.Addr{local.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		u := h.udps[bound{a, local.Port()}]
		if u == nil || a == netip.IPv4Unspecified() && local.Addr().Is6() {
			continue
		}
		if p := u.peer; !p.IsValid() || p.Port() == peer.Port() && p.Addr().WithZone("") == peer.Addr() {
			return u
		}
	}
	return nil
}

// quotedUDP is an ICMP error about a datagram. It tells whether that can be one
// of ours.
func (h *Host) quotedUDP(local, remote netip.AddrPort, m icmp.Message, from netip.Addr) bool {
	u := h.udpFor(local, remote)
	if u == nil {
		return false
	}
	if len(u.errors) < maxErrors {
		u.errors = append(u.errors, socketError(m, from, remote))
	}
	if u.Wake != nil {
		u.Wake()
	}
	return true
}

func socketError(m icmp.Message, from netip.Addr, to netip.AddrPort) SocketError {
	err := icmpError(m)
	if m.MTU() > 0 {
		err = ErrTooBig
	}
	m.Body = append([]byte(nil), m.Body...)
	return SocketError{err, m, from, to}
}
