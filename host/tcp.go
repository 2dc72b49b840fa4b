package host

import (
	"encoding/binary"
	"net/netip"

	"peel/clock"
	"peel/icmp"
	"peel/ip"
	"peel/packet"
	"peel/tcp"
)

// tuple names a connection: addresses and ports of both ends.
type tuple struct {
	local, remote         [16]byte
	localPort, remotePort uint16
}

func tupleOf(l, r netip.AddrPort) tuple {
	return tuple{l.Addr().As16(), r.Addr().As16(), l.Port(), r.Port()}
}

// bound names a listener or a datagram socket: an address, or the unspecified
// one for all, of one family or (six, all zero) of both.
type bound struct {
	addr netip.Addr
	port uint16
}

// TCP is a connection of a host: tcp.Conn with its timer and its way out. It
// does not block: after each call that changes something comes Flush.
type TCP struct {
	tcp.Conn
	// Wake is called when something has changed for the user: bytes to read,
	// room to write, a new state. May be nil.
	Wake func()

	host     *Host
	key      tuple
	zone     string
	hop      hop
	hopAt    [2]uint64 // Host.changes and Routes.Changes when hop was found
	timer    clock.Timer
	listener *Listener // until it is accepted
	ready    bool      // in the accept queue
	touched  bool      // in this batch
	waits    bool      // in Host.waits
	gone     bool
	pathMTU  int
}

// Dial begins a connection from local, whose address and port may be zero. The
// SYN is the first thing that the queue does next.
func (h *Host) Dial(local, remote netip.AddrPort, cfg *tcp.Config) (*TCP, error) {
	n, err := h.route(remote.Addr())
	if err != nil {
		return nil, err
	}
	zone := remote.Addr().Zone()
	remote = netip.AddrPortFrom(remote.Addr().WithZone(""), remote.Port())
	addr := local.Addr().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() {
		if addr, err = h.sourceOn(n, remote.Addr()); err != nil {
			return nil, err
		}
	} else if h.local[addr] == nil && !addr.IsLoopback() {
		return nil, ErrNoAddress
	}
	port := local.Port()
	if port == 0 {
		if port, err = h.ephemeral(addr, remote); err != nil {
			return nil, err
		}
	}
	local = netip.AddrPortFrom(addr, port)
	key := tupleOf(local, remote)
	if old := h.tcps[key]; old != nil {
		if !h.replaceable(old) {
			return nil, ErrInUse
		}
		old.Abort(h.Now())
		old.Flush()
	}
	if cfg == nil {
		cfg = &h.Options.TCP
	}
	s := h.newTCP(key, local, remote, n, zone, cfg, h.secret.ISS(local, remote, h.Now()))
	h.Count.TCPActiveOpens++
	s.Open(h.Now())
	// The SYN goes out when the caller has let go: its port may be wanted
	// before.
	h.queue.Set(&s.timer, h.Now())
	return s, nil
}

// replaceable tells whether a connection in TIME-WAIT may give way to a new
// one to the same peer (RFC 6191 §2, as Linux's tcp_tw_reuse).
func (h *Host) replaceable(s *TCP) bool {
	return h.Options.ReuseTimeWait && s.State() == tcp.TimeWait && s.Quiet(h.Now())
}

func (h *Host) newTCP(key tuple, local, remote netip.AddrPort, n hop, zone string, cfg *tcp.Config, iss uint32) *TCP {
	s := &TCP{host: h, key: key, hop: n, hopAt: [2]uint64{h.changes, h.Routes.Changes}, zone: zone}
	s.timer.Init(func(clock.Time) { s.Flush(); s.wake() })
	header := ip.MinHeader4
	if remote.Addr().Is6() {
		header = ip.Header6
	}
	s.pathMTU = h.pathMTUTo(remote.Addr(), n.mtu)
	offload := 0
	if n.out != nil {
		offload = n.out.Offload.Segment
	}
	link := n.mtu
	if n.out != nil && !n.local {
		link = n.out.MTU
	}
	s.Init(cfg, s, tcp.Ends{Local: local, Remote: remote, ISS: iss, TSOffset: h.secret.TimestampOffset(local, remote), Link: link - header, Path: s.pathMTU - header, Offload: offload})
	h.tcps[key] = s
	return s
}

// ephemeral chooses a port towards remote: hash-based, so that the ports of
// one peer tell nothing of another's (RFC 6056 §3.3.3).
func (h *Host) ephemeral(local netip.Addr, remote netip.AddrPort) (uint16, error) {
	lo, hi := int(h.Options.Ports[0]), int(h.Options.Ports[1])
	n := hi - lo + 1
	// A random step makes it algorithm 4's unpredictability at little cost.
	start := int(h.secret.PortOffset(local, remote)%uint32(n)) + int(h.entropy()%uint64(n))
	var spare uint16
	for i := range n {
		p := uint16(lo + (start+i)%n)
		l := netip.AddrPortFrom(local, p)
		old := h.tcps[tupleOf(l, remote)]
		if old == nil && h.listenerFor(l) == nil {
			return p, nil
		}
		if spare == 0 && old != nil && h.replaceable(old) {
			spare = p
		}
	}
	if spare != 0 {
		return spare, nil
	}
	h.Count.PortsExhausted++
	h.tell("ports_exhausted", "", func() string {
		return "all " + itoa(n) + " ephemeral ports from " + local.String() + " to " + remote.String() + " are taken"
	})
	return 0, ErrNoPorts
}

// Flush sends what is to be sent and sets the timer. It comes after every
// call that changes the connection.
func (s *TCP) Flush() {
	h := s.host
	next := s.Poll(h.queue.Now())
	switch {
	case s.State() == tcp.Closed:
		s.remove()
	case s.State() == tcp.TimeWait && !s.waits:
		h.queue.Set(&s.timer, next)
		h.await(s)
	case next < h.queue.At(&s.timer):
		// A timer that fires too early costs less than one that is moved
		// with each ACK.
		h.queue.Set(&s.timer, next)
	}
}

// await keeps account of a connection in TIME-WAIT, and ends the oldest one when
// there are too many.
func (h *Host) await(s *TCP) {
	s.waits = true
	limit := h.Options.TimeWaits
	if limit == 0 {
		limit = 65536
	}
	h.waits = append(h.waits, s)
	if len(h.waits) > limit {
		h.Count.TimeWaitOverflows++
		h.waits[0].Abort(h.Now())
		h.waits[0].Flush()
	}
}

// remove takes a closed connection out of the tables.
func (s *TCP) remove() {
	if s.gone {
		return
	}
	s.gone = true
	h := s.host
	h.queue.Stop(&s.timer)
	if h.tcps[s.key] == s {
		delete(h.tcps, s.key)
	}
	for len(h.waits) > 0 && h.waits[0].gone {
		h.waits[0] = nil
		h.waits = h.waits[1:]
	}
	if l := s.listener; l != nil && !s.ready {
		l.half--
		s.listener = nil
	}
}

func (s *TCP) wake() {
	if l := s.listener; l != nil {
		if s.ready || s.State() < tcp.Established {
			return
		}
		s.ready = true
		l.half--
		l.queue = append(l.queue, s)
		if l.Wake != nil {
			l.Wake()
		}
		return
	}
	if s.Wake != nil {
		s.Wake()
	}
}

// SendSegment implements tcp.Output.
func (s *TCP) SendSegment(c *tcp.Conn, hd *tcp.Header, a, b []byte) {
	h := s.host
	if s.hopAt != [2]uint64{h.changes, h.Routes.Changes} {
		s.reroute()
	}
	local, remote := c.Ends()
	n := len(a) + len(b)
	p := h.pool.Get(n)
	if n > 0 {
		d := p.Extend(n)
		copy(d[copy(d, a):], b)
	}
	buildTCP(p, hd, local, remote, s.hop.out != nil && s.hop.out.Offload.Checksum && !s.hop.local)
	if hd.Segment > 0 {
		p.Segment = uint16(hd.Segment)
	}
	d := datagram{src: local.Addr(), dst: remote.Addr(), proto: ip.ProtoTCP, df: !h.Options.NoPathMTU, hop: &s.hop}
	if hd.ECT {
		d.class = 2 // ECT(0), RFC 3168 §5
	}
	if s.hop.out == nil && !s.hop.local {
		h.dropped(p, nil, "no route to "+remote.Addr().String())
		return
	}
	h.output(p, &d)
}

// buildTCP puts the TCP header before the payload in p, with its checksum or
// with what the card needs to make it.
func buildTCP(p *packet.Packet, hd *tcp.Header, local, remote netip.AddrPort, offload bool) {
	head := tcp.MinHeader + hd.NOptions
	t := p.Prepend(head)
	binary.BigEndian.PutUint16(t, local.Port())
	binary.BigEndian.PutUint16(t[2:], remote.Port())
	binary.BigEndian.PutUint32(t[4:], hd.Seq)
	binary.BigEndian.PutUint32(t[8:], hd.Ack)
	binary.BigEndian.PutUint16(t[12:], uint16(head/4)<<12|uint16(hd.Flags))
	binary.BigEndian.PutUint16(t[14:], hd.Window)
	t[16], t[17] = 0, 0
	binary.BigEndian.PutUint16(t[18:], hd.Urgent)
	copy(t[tcp.MinHeader:], hd.Options[:hd.NOptions])
	sum := ip.PseudoSum(local.Addr(), remote.Addr(), ip.ProtoTCP, p.Len())
	if offload {
		binary.BigEndian.PutUint16(t[16:], sum)
		p.Checksum, p.SumFrom, p.SumAt = packet.Partial, 0, tcp.ChecksumAt
		return
	}
	binary.BigEndian.PutUint16(t[16:], ^ip.Sum(sum, p.Bytes()))
	p.Checksum = packet.Good
}

// reroute finds the way again after routes or addresses have changed.
func (s *TCP) reroute() {
	h := s.host
	s.hopAt = [2]uint64{h.changes, h.Routes.Changes}
	_, remote := s.Ends()
	dst := remote.Addr()
	if s.zone != "" {
		dst = dst.WithZone(s.zone)
	}
	n, err := h.route(dst)
	if err != nil {
		s.hop = hop{}
		return
	}
	s.hop = n
}

// inputTCP brings a segment to its connection or listener.
func (h *Host) inputTCP(i *Interface, p *packet.Packet, head int, v6 bool) {
	b := p.Bytes()
	seg, err := tcp.Parse(b[head:])
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	var key tuple
	src, dst := ends(b, v6)
	key.local, key.remote = dst.As16(), src.As16()
	key.localPort, key.remotePort = seg.DestinationPort(), seg.SourcePort()
	ce := b[1]&3 == 3
	if v6 {
		ce = b[1]>>4&3 == 3
	}
	now := h.queue.Now()
	s := h.tcps[key]
	if s != nil && s.State() == tcp.TimeWait && s.TimeWaitReuse(seg) {
		s.Abort(now)
		s.Flush()
		s = nil
	}
	if s == nil {
		h.inputNoConn(i, seg, netip.AddrPortFrom(dst, key.localPort), netip.AddrPortFrom(src, key.remotePort), ce)
		h.pool.Put(p)
		return
	}
	if l := s.listener; l != nil && !s.ready && s.State() == tcp.SynReceived && len(l.queue) >= l.backlog && seg.Flags()&(tcp.SYN|tcp.RST|tcp.ACK) == tcp.ACK {
		// The accept queue is full: as if the ACK had been lost, so that the
		// peer's data and our SYN-ACK come again.
		h.Count.ListenOverflows++
		if h.Options.ResetOnOverflow {
			s.Abort(now)
			s.Flush()
		} else {
			h.tell("listen_overflow", "", func() string {
				return "the accept queue of " + l.addr.String() + " is full (" + itoa(l.backlog) + ")"
			})
		}
		h.pool.Put(p)
		return
	}
	una := s.Unacked()
	if n := len(seg.Payload()); n < p.Cap()/2 {
		// Small in large memory: better copied.
		s.Input(now, seg, ce)
		h.pool.Put(p)
	} else if !s.InputOwned(now, seg, ce, p) {
		h.pool.Put(p)
	}
	if una > s.Unacked() && s.hop.out != nil {
		s.hop.confirm() // it answers
	}
	if h.batching && s.State() == tcp.Established && !s.Disordered() {
		if !s.touched {
			s.touched = true
			h.touched = append(h.touched, s)
		}
		return
	}
	s.wake()
	s.Flush()
}

// Batch calls f, which gives the host several frames that came together. What
// they cause is done once for each connection: one ACK, one call of Wake.
// Where something is missing the peer has to hear of each segment, and does.
func (h *Host) Batch(f func()) {
	h.batching = true
	f()
	h.batching = false
	for _, s := range h.touched {
		s.touched = false
		s.wake()
		s.Flush()
	}
	clear(h.touched)
	h.touched = h.touched[:0]
}

// inputNoConn is a segment that belongs to no connection: for a listener, or
// for nobody.
func (h *Host) inputNoConn(i *Interface, seg tcp.Segment, local, remote netip.AddrPort, ce bool) {
	if !h.Local(local.Addr()) && !local.Addr().IsLoopback() {
		return // multicast, broadcast: RFC 9293 §3.9.2.3
	}
	flags := seg.Flags()
	l := h.listenerFor(local)
	if l == nil {
		h.Count.NoPorts++
		if h.Options.Silent || flags.Has(tcp.RST) {
			return
		}
		h.resetFor(seg, local, remote, i)
		return
	}
	switch {
	case flags.Has(tcp.RST):
	case flags.Has(tcp.ACK):
		if flags.Has(tcp.SYN) || !l.cookie(seg, local, remote, i, ce) {
			h.resetFor(seg, local, remote, i) // RFC 9293 §3.10.7.2
		}
	case flags.Has(tcp.SYN):
		l.syn(seg, local, remote, i)
	}
}

// resetFor answers a segment for which there is no connection
// (RFC 9293 §3.10.7.1).
func (h *Host) resetFor(seg tcp.Segment, local, remote netip.AddrPort, i *Interface) {
	hd := tcp.Header{Flags: tcp.RST}
	if f := seg.Flags(); f.Has(tcp.ACK) {
		hd.Seq = seg.Ack()
	} else {
		n := uint32(len(seg.Payload()))
		if f.Has(tcp.SYN) {
			n++
		}
		if f.Has(tcp.FIN) {
			n++
		}
		hd.Flags |= tcp.ACK
		hd.Ack = seg.Seq() + n
	}
	h.Count.TCPResetsSent++
	h.sendBare(&hd, local, remote, i)
}

// sendBare sends a segment that belongs to no connection.
func (h *Host) sendBare(hd *tcp.Header, local, remote netip.AddrPort, i *Interface) {
	to := remote.Addr()
	if to.Is6() && to.IsLinkLocalUnicast() && i != nil {
		to = to.WithZone(i.Name)
	}
	n, err := h.route(to)
	if err != nil {
		return
	}
	p := h.pool.Get(0)
	buildTCP(p, hd, local, remote, false)
	h.output(p, &datagram{src: local.Addr(), dst: remote.Addr(), proto: ip.ProtoTCP, df: true, hop: &n})
}

// quotedTCP is an ICMP error about a segment of ours.
func (h *Host) quotedTCP(local, remote netip.AddrPort, seq uint32, m icmp.Message, mtu int, from netip.Addr) {
	s := h.tcps[tupleOf(local, remote)]
	if s == nil {
		return
	}
	now := h.queue.Now()
	if mtu > 0 {
		if h.Options.NoPathMTU || !s.UnderWay(seq) {
			return // RFC 5927 §7.1: nothing of ours
		}
		h.learnPathMTU(remote.Addr(), mtu)
		header := ip.MinHeader4
		if remote.Addr().Is6() {
			header = ip.Header6
		}
		s.PathMTU(now, h.pathMTUTo(remote.Addr(), s.hop.mtu)-header, seq, "ICMP from "+from.String())
	} else {
		err := icmpError(m)
		if m.V6 && m.Type == icmp.TimeExceeded6 || !m.V6 && (m.Type == icmp.TimeExceeded4 || m.Type == 4 || m.Type == icmp.Redirect4) {
			return
		}
		if err == ErrRefused {
			err = tcp.ErrRefused
		}
		s.Unreachable(now, seq, err)
	}
	s.wake()
	s.Flush()
}

// Listener takes connections on a port.
type Listener struct {
	// Wake is called when there is one to accept. May be nil.
	Wake func()

	host    *Host
	key     bound
	addr    netip.AddrPort
	cfg     *tcp.Config
	queue   []*TCP
	half    int // connections in SYN-RECEIVED
	backlog int
	closed  bool
	cookies bool // some were sent
}

// Listen takes connections to addr, whose address may be unspecified and whose
// port may be 0. backlog 0 is the host's.
func (h *Host) Listen(addr netip.AddrPort, backlog int, cfg *tcp.Config) (*Listener, error) {
	a := addr.Addr().WithZone("")
	if a.IsValid() && !a.IsUnspecified() && h.local[a] == nil && !a.IsLoopback() {
		return nil, ErrNoAddress
	}
	if !a.IsValid() {
		a = netip.IPv6Unspecified()
	}
	port := addr.Port()
	for range 1000 {
		if port != 0 {
			break
		}
		p := h.Options.Ports[0] + uint16(h.entropy()%(uint64(h.Options.Ports[1]-h.Options.Ports[0])+1))
		if h.listeners[bound{a, p}] == nil {
			port = p
		}
	}
	key := bound{a, port}
	if port == 0 || h.listeners[key] != nil {
		return nil, ErrInUse
	}
	if backlog <= 0 {
		backlog = h.Options.Backlog
	}
	if backlog <= 0 {
		backlog = 4096
	}
	if cfg == nil {
		cfg = &h.Options.TCP
	}
	l := &Listener{host: h, key: key, addr: netip.AddrPortFrom(a, port), cfg: cfg, backlog: backlog}
	h.listeners[key] = l
	return l, nil
}

func (h *Host) listenerFor(local netip.AddrPort) *Listener {
	if len(h.listeners) == 0 {
		return nil
	}
	if l := h.listeners[bound{local.Addr(), local.Port()}]; l != nil {
		return l
	}
	if local.Addr().Is4() {
		if l := h.listeners[bound{netip.IPv4Unspecified(), local.Port()}]; l != nil {
			return l
		}
	}
	return h.listeners[bound{netip.IPv6Unspecified(), local.Port()}]
}

// Addr is where the listener listens.
func (l *Listener) Addr() netip.AddrPort { return l.addr }

// Accept returns a connection, or nil when none waits.
func (l *Listener) Accept() *TCP {
	if len(l.queue) == 0 {
		return nil
	}
	s := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	s.listener = nil
	return s
}

// Close ends listening; connections that were not accepted are reset.
func (l *Listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.host.listeners, l.key)
	var mine []*TCP
	for _, s := range l.host.tcps {
		if s.listener == l {
			mine = append(mine, s)
		}
	}
	sortTCP(mine)
	// Those that are over already, too: what they received is given back.
	for _, s := range append(mine, l.queue...) {
		s.Abort(l.host.Now())
		s.Flush()
		s.listener = nil
	}
	l.queue = nil
}

// syn answers a SYN: with a connection, with a cookie, or not at all.
func (l *Listener) syn(seg tcp.Segment, local, remote netip.AddrPort, i *Interface) {
	h := l.host
	zone := ""
	to := remote.Addr()
	if to.Is6() && to.IsLinkLocalUnicast() && i != nil {
		zone = i.Name
		to = to.WithZone(zone)
	}
	n, err := h.route(to)
	if err != nil {
		return
	}
	if len(l.queue) >= l.backlog {
		h.Count.ListenOverflows++
		h.Count.ListenDrops++
		h.tell("listen_overflow", "", func() string { return "the accept queue of " + l.addr.String() + " is full: a SYN was dropped" })
		return
	}
	limit := h.Options.SynBacklog
	if limit == 0 {
		limit = 1024
	}
	if l.half >= limit {
		if h.Options.NoSynCookies {
			h.Count.ListenDrops++
			return
		}
		h.Count.SynCookiesSent++
		if !l.cookies {
			l.cookies = true
			h.tell("syn_cookies", "", func() string { return "the SYN queue of " + l.addr.String() + " is full: answering with cookies" })
		}
		header := ip.MinHeader4
		if remote.Addr().Is6() {
			header = ip.Header6
		}
		hd := h.secret.SynAck(l.cfg, local, remote, seg, n.mtu-header-tcp.MinHeader, h.Now())
		h.sendBare(&hd, local, remote, i)
		return
	}
	s := h.newTCP(tupleOf(local, remote), local, remote, n, zone, l.cfg, h.secret.ISS(local, remote, h.Now()))
	s.listener = l
	l.half++
	h.Count.TCPPassiveOpens++
	s.Conn.Accept(h.Now(), seg)
	s.Flush()
}

// cookie makes a connection of an ACK that gives a cookie back.
func (l *Listener) cookie(seg tcp.Segment, local, remote netip.AddrPort, i *Interface, ce bool) bool {
	h := l.host
	if !l.cookies {
		return false
	}
	irs, iss := seg.Seq()-1, seg.Ack()-1
	mss, ok := h.secret.CheckCookie(local, remote, irs, iss, h.Now())
	if !ok {
		h.Count.SynCookiesFailed++
		return false
	}
	if len(l.queue) >= l.backlog {
		h.Count.ListenOverflows++
		return true
	}
	zone := ""
	to := remote.Addr()
	if to.Is6() && to.IsLinkLocalUnicast() && i != nil {
		zone = i.Name
		to = to.WithZone(zone)
	}
	n, err := h.route(to)
	if err != nil {
		return false
	}
	h.Count.SynCookiesReceived++
	o, ecn := tcp.Options{WindowScale: -1}, false
	if so := seg.Options(); so.Timestamps {
		o, ecn = tcp.CookieOptions(so.TSEcr - h.secret.TimestampOffset(local, remote))
		o.Timestamps, o.TSVal = true, so.TSVal
	}
	o.MSS = uint16(mss)
	s := h.newTCP(tupleOf(local, remote), local, remote, n, zone, l.cfg, iss)
	s.listener = l
	l.half++
	h.Count.TCPPassiveOpens++
	s.AcceptCookie(h.Now(), irs, &o, ecn)
	s.Input(h.Now(), seg, ce)
	s.wake()
	s.Flush()
	return true
}
