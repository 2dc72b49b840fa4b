package host

import (
	"net/netip"

	"peel/clock"
	"peel/stack/packet"
	"peel/stack/tcp"
	"peel/wire/icmp"
	"peel/wire/ip"
	wiretcp "peel/wire/tcp"
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
func (s *TCP) SendSegment(c *tcp.Conn, hd *tcp.Outgoing, a, b []byte) {
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
		d.class = ip.ECT0
	}
	if s.hop.out == nil && !s.hop.local {
		h.dropped(p, nil, "no route to "+remote.Addr().String())
		return
	}
	h.output(p, &d)
}

// buildTCP puts the TCP header before the payload in p, with its checksum or
// with what the card needs to make it.
func buildTCP(p *packet.Packet, hd *tcp.Outgoing, local, remote netip.AddrPort, offload bool) {
	hd.Put(p.Prepend(hd.Len()), local.Port(), remote.Port())
	sum := ip.PseudoSum(local.Addr(), remote.Addr(), ip.ProtoTCP, p.Len())
	seg := wiretcp.Segment(p.Bytes())
	if offload {
		seg.SetChecksum(sum)
		p.Checksum, p.SumFrom, p.SumAt = packet.Partial, 0, wiretcp.ChecksumAt
		return
	}
	seg.Seal(sum)
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
	b := ip.View(p.Bytes())
	seg, err := wiretcp.Parse(b[head:])
	if err != nil {
		h.bad(i, p, err.Error())
		return
	}
	var key tuple
	src, dst := b.Source(), b.Destination()
	key.local, key.remote = dst.As16(), src.As16()
	key.localPort, key.remotePort = seg.DestinationPort(), seg.SourcePort()
	ce := b.ECN() == ip.CE
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
	if l := s.listener; l != nil && !s.ready && s.State() == tcp.SynReceived && len(l.queue) >= l.backlog && seg.Flags()&(wiretcp.SYN|wiretcp.RST|wiretcp.ACK) == wiretcp.ACK {
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

// resetFor answers a segment for which there is no connection
// (RFC 9293 §3.10.7.1).
func (h *Host) resetFor(seg wiretcp.Segment, local, remote netip.AddrPort, i *Interface) {
	hd := tcp.Outgoing{Header: wiretcp.Header{Flags: wiretcp.RST}}
	if f := seg.Flags(); f.Has(wiretcp.ACK) {
		hd.Seq = seg.Ack()
	} else {
		n := uint32(len(seg.Payload()))
		if f.Has(wiretcp.SYN) {
			n++
		}
		if f.Has(wiretcp.FIN) {
			n++
		}
		hd.Flags |= wiretcp.ACK
		hd.Ack = seg.Seq() + n
	}
	h.Count.TCPResetsSent++
	h.sendBare(&hd, local, remote, i)
}

// sendBare sends a segment that belongs to no connection.
func (h *Host) sendBare(hd *tcp.Outgoing, local, remote netip.AddrPort, i *Interface) {
	n, err := h.route(i.zoned(remote.Addr()))
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
		s.PathMTU(now, h.pathMTUTo(remote.Addr(), s.hop.mtu)-ip.HeaderLen(remote.Addr()), seq, "ICMP from "+from.String())
	} else {
		err := icmpError(m)
		if m.V6 && m.Type == icmp.TimeExceeded6 || !m.V6 && (m.Type == icmp.TimeExceeded4 || m.Type == icmp.SourceQuench4 || m.Type == icmp.Redirect4) {
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
