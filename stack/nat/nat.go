// Package nat is a network address and port translator between an inside and
// an outside, for IPv4 and, alike, IPv6: RFC 4787 for UDP, RFC 5382 for TCP,
// RFC 5508 for ICMP, updated by RFC 7857.
//
// It rewrites whole packets in place: who calls it reassembles fragments
// first, routes, and sends. Checksums are updated, not made anew (RFC 1624),
// so that a packet that was damaged stays damaged.
package nat

import (
	"fmt"
	"net/netip"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ip"
)

// NAT is a translator. Make one with New. It is for one goroutine, or for
// those that share a lock.
type NAT struct {
	o   Options
	own map[netip.Addr]int
	// turn is which outside address the next new host gets, for IPv4 and IPv6.
	turn   [2]int
	byV    [2][]int // indexes of outside addresses
	last   int      // the last port that was drawn without entropy
	t      table
	now    clock.Time
	counts Stats
	// ip, h and quote are of the packet at hand: here, so that they are not
	// allocated for each.
	ip       ip.Packet
	h, quote header
}

// New returns a NAT, or what is wrong with the options.
func New(o Options) (*NAT, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	n := &NAT{o: o, own: map[netip.Addr]int{}}
	for i, a := range o.Outside {
		n.own[a] = i
		n.byV[version(a)] = append(n.byV[version(a)], i)
	}
	n.t.init(&n.o)
	for _, f := range o.Forwards {
		if err := n.AddForward(f, 0); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func version(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// AddForward opens a port from outside. What the inside endpoint had mapped
// before ends.
func (n *NAT) AddForward(f Forward, now clock.Time) error {
	a := f.Inside.Addr()
	if f.Protocol != ip.ProtoTCP && f.Protocol != ip.ProtoUDP {
		return fmt.Errorf("nat: forward: %v has no ports", f.Protocol)
	}
	if !a.IsValid() || f.Inside.Port() == 0 || f.Outside.Port() == 0 {
		return fmt.Errorf("nat: forward: from %v to %v is not from a port to an address and a port", f.Outside, f.Inside)
	}
	if _, ok := n.own[a]; ok {
		return fmt.Errorf("nat: forward: %v is outside", f.Inside)
	}
	if !f.Outside.Addr().IsValid() {
		if len(n.byV[version(a)]) == 0 {
			return fmt.Errorf("nat: forward: no outside address of the version of %v", a)
		}
		f.Outside = netip.AddrPortFrom(n.o.Outside[n.byV[version(a)][0]], f.Outside.Port())
	}
	own, ok := n.own[f.Outside.Addr()]
	switch {
	case !ok || a.Is4() != f.Outside.Addr().Is4():
		return fmt.Errorf("nat: forward: %v is no outside address for %v", f.Outside.Addr(), a)
	case n.t.ports(f.Protocol, own).has(f.Outside.Port()):
		return fmt.Errorf("nat: forward: %v port %v is taken", f.Protocol, f.Outside)
	case n.t.forwards[outsideKey{f.Protocol, f.Inside}] != 0:
		return fmt.Errorf("nat: forward: %v port %v has one already", f.Protocol, f.Inside)
	}
	for _, i := range n.t.sessions.All() {
		if s := n.t.sessions.At(i); n.t.mappings[s.mapping].proto == f.Protocol && n.t.mappings[s.mapping].inside == f.Inside {
			n.t.removeSession(i)
		}
	}
	n.now = max(n.now, now)
	n.t.addMapping(mapping{proto: f.Protocol, static: true, inside: f.Inside, outside: f.Outside, own: own, created: n.now})
	return nil
}

// RemoveForward closes a port and tells whether it was open.
func (n *NAT) RemoveForward(p ip.Protocol, outside netip.AddrPort) bool {
	i := n.t.byOutside[outsideKey{p, outside}]
	if i == 0 || !n.t.mappings[i].static {
		return false
	}
	n.t.removeMapping(i)
	return true
}

// Expire ends the sessions whose time is over. Outbound and Inbound do it, too.
func (n *NAT) Expire(now clock.Time) {
	n.now = max(n.now, now)
	n.t.expire(n.now)
}

// Next is when the first session ends, or clock.Never.
func (n *NAT) Next() clock.Time { return n.t.sessions.Next() }

// Flush ends all sessions. Forwards stay.
func (n *NAT) Flush() {
	for _, i := range n.t.sessions.All() {
		n.t.removeSession(i)
	}
}

// Stats returns the counts.
func (n *NAT) Stats() Stats {
	s := n.counts
	s.Mappings, s.Sessions, s.Created, s.Expired = n.t.nmap, n.t.sessions.Len(), n.t.sessions.Added(), n.t.expired
	return s
}

// Outbound translates a packet from inside that goes outside, or to one of
// the outside addresses, which may be a hairpin. A time before an earlier
// call's counts as that one's.
func (n *NAT) Outbound(p *packet.Packet, now clock.Time) Result {
	n.Expire(now)
	return n.count(n.outbound(p), true)
}

// Inbound translates a packet that came from outside, before it is known to
// be for this router: what is for its own ports stays Untouched.
func (n *NAT) Inbound(p *packet.Packet, now clock.Time) Result {
	n.Expire(now)
	return n.count(n.inbound(p), false)
}

func (n *NAT) count(r Result, out bool) Result {
	if r.Reason != None {
		n.counts.Dropped[r.Reason]++
	}
	switch {
	case r.Verdict == Untouched:
		n.counts.Untouched++
	case r.Verdict == Hairpin:
		n.counts.Hairpins++
	case r.Verdict == RejectRST:
		n.counts.Resets++
	case r.Verdict == Translated && out:
		n.counts.Out++
	case r.Verdict == Translated:
		n.counts.In++
	}
	if r.Before == (Endpoints{}) && n.h.src.IsValid() {
		r.Before = n.h.endpoints()
		r.After = r.Before
	}
	return r
}

func drop(r Reason) Result { return Result{Verdict: Dropped, Reason: r} }

// isInside tells whether the NAT translates for a source.
func (n *NAT) isInside(a netip.Addr) bool {
	if _, ok := n.own[a]; ok {
		return false // the router's own
	}
	for _, p := range n.o.Inside {
		if p.Contains(a) {
			return true
		}
	}
	return len(n.o.Inside) == 0
}

// read parses a packet into n.h. mine tells, by its addresses, whether it is
// the NAT's business; what is not may be anything.
func (n *NAT) read(p *packet.Packet, mine func(*NAT) bool) (b []byte, r Result, ok bool) {
	n.h = header{}
	b = p.Bytes()
	var err error
	h := &n.ip
	if *h, err = ip.Parse(b); err != nil || h.Total > len(b) || h.Total != 0 && h.Total < h.HeaderLen {
		return nil, drop(Malformed), false
	}
	n.h.proto, n.h.src, n.h.dst = h.Protocol, netip.AddrPortFrom(h.Src, 0), netip.AddrPortFrom(h.Dst, 0)
	if len(n.byV[version(h.Src)]) == 0 || !mine(n) {
		return nil, Result{}, false
	}
	if h.Fragment {
		return nil, drop(Fragment), false
	}
	if h.Total != 0 {
		b = b[:h.Total]
	}
	reason := n.h.network(h, b, 0)
	if reason == None {
		reason = n.h.transport(b)
	}
	_, toOwn := n.own[h.Dst]
	switch {
	case reason == None:
		return b, Result{}, true
	case reason == Unsupported && toOwn && (n.o.Unknown == PassUnknown || n.reserved(h.Protocol, n.h.dst)):
		return nil, Result{}, false // the router's own tunnel, say
	}
	return nil, drop(reason), false
}
