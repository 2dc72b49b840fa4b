package host

import (
	"net/netip"

	"peel/clock"
	"peel/stack/tcp"
	"peel/wire/ip"
)

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
	s := h.newTCP(key, local, remote, n, zone, cfg, h.secret.ISS(h.Now(), local, remote))
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
