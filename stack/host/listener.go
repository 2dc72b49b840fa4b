package host

import (
	"net/netip"

	"peel/stack/tcp"
	"peel/wire/ip"
	wiretcp "peel/wire/tcp"
)

// inputNoConn is a segment that belongs to no connection: for a listener, or
// for nobody.
func (h *Host) inputNoConn(i *Interface, seg wiretcp.Segment, local, remote netip.AddrPort, ce bool) {
	if !h.Local(local.Addr()) && !local.Addr().IsLoopback() {
		return // multicast, broadcast: RFC 9293 §3.9.2.3
	}
	flags := seg.Flags()
	l := h.listenerFor(local)
	if l == nil {
		h.Count.NoPorts++
		if h.Options.Silent || flags.Has(wiretcp.RST) {
			return
		}
		h.resetFor(seg, local, remote, i)
		return
	}
	switch {
	case flags.Has(wiretcp.RST):
	case flags.Has(wiretcp.ACK):
		if flags.Has(wiretcp.SYN) || !l.cookie(seg, local, remote, i, ce) {
			h.resetFor(seg, local, remote, i) // RFC 9293 §3.10.7.2
		}
	case flags.Has(wiretcp.SYN):
		l.syn(seg, local, remote, i)
	}
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
func (l *Listener) syn(seg wiretcp.Segment, local, remote netip.AddrPort, i *Interface) {
	h := l.host
	to := i.zoned(remote.Addr())
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
		hd := h.secret.SynAck(h.Now(), l.cfg, local, remote, seg, n.mtu-header-wiretcp.MinHeader)
		h.sendBare(&hd, local, remote, i)
		return
	}
	s := h.newTCP(tupleOf(local, remote), local, remote, n, to.Zone(), l.cfg, h.secret.ISS(h.Now(), local, remote))
	s.listener = l
	l.half++
	h.Count.TCPPassiveOpens++
	s.Conn.Accept(h.Now(), seg)
	s.Flush()
}

// cookie makes a connection of an ACK that gives a cookie back.
func (l *Listener) cookie(seg wiretcp.Segment, local, remote netip.AddrPort, i *Interface, ce bool) bool {
	h := l.host
	if !l.cookies {
		return false
	}
	irs, iss := seg.Seq()-1, seg.Ack()-1
	mss, ok := h.secret.CheckCookie(h.Now(), local, remote, irs, iss)
	if !ok {
		h.Count.SynCookiesFailed++
		return false
	}
	if len(l.queue) >= l.backlog {
		h.Count.ListenOverflows++
		return true
	}
	to := i.zoned(remote.Addr())
	n, err := h.route(to)
	if err != nil {
		return false
	}
	h.Count.SynCookiesReceived++
	o, ecn := wiretcp.Options{WindowScale: -1}, false
	if so := seg.Options(); so.Timestamps {
		o, ecn = tcp.CookieOptions(so.TSEcr - h.secret.TimestampOffset(local, remote))
		o.Timestamps, o.TSVal = true, so.TSVal
	}
	o.MSS = uint16(mss)
	s := h.newTCP(tupleOf(local, remote), local, remote, n, to.Zone(), l.cfg, iss)
	s.listener = l
	l.half++
	h.Count.TCPPassiveOpens++
	s.AcceptCookie(h.Now(), irs, &o, ecn)
	s.Input(h.Now(), seg, ce)
	s.wake()
	s.Flush()
	return true
}
