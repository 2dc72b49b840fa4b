package host

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// NeighbourOptions bounds and times a neighbour table (RFC 4861 §10, used for
// ARP too). The zero value has the defaults given.
type NeighbourOptions struct {
	// Reachable is how long an answer is believed: 30 s.
	Reachable time.Duration
	// Retransmit is the time between questions: 1 s.
	Retransmit time.Duration
	// Delay is how long a stale entry in use waits for word from above
	// before it is asked: 5 s.
	Delay time.Duration
	// Tries is the number of questions: 3.
	Tries int
	// Expire is when an unused stale entry is forgotten: 60 s.
	Expire time.Duration
	// Size bounds the table: 1024. Queue bounds the packets that wait for one
	// answer: 64.
	Size, Queue int
}

// NeighbourState is the state of an entry (RFC 4861 §7.3.2, and Linux's names
// for the other two).
type NeighbourState uint8

const (
	// Incomplete: asked, no answer yet; packets wait.
	Incomplete NeighbourState = iota
	// Reachable: confirmed a short time ago.
	Reachable
	// Stale: no longer sure, used until somebody sends.
	Stale
	// Delay: in use while stale: the layer above may still confirm it.
	Delay
	// Probe: asked again, by unicast.
	Probe
	// Failed: nobody answered; forgotten after a while.
	Failed
	// Permanent: set by hand, never asked for.
	Permanent
)

var neighbourStates = [...]string{"INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}

func (s NeighbourState) String() string { return neighbourStates[s] }

// Neighbour is an entry of a neighbour table, to be shown.
type Neighbour struct {
	Addr    netip.Addr
	MAC     ethernet.MAC
	State   NeighbourState
	Updated clock.Time
	// Queued packets wait for the answer.
	Queued int
}

type neighbours struct {
	i       *Interface
	entries map[netip.Addr]*neighbour
	conf    NeighbourOptions
}

type neighbour struct {
	addr    netip.Addr
	mac     ethernet.MAC
	state   NeighbourState
	updated clock.Time
	used    clock.Time
	tries   int
	waiting []*packet.Packet
	timer   clock.Timer
}

func (n *neighbours) init(i *Interface) {
	o := i.Host.Options.Neighbours
	o.Reachable = cmp.Or(o.Reachable, 30*time.Second)
	o.Retransmit = cmp.Or(o.Retransmit, time.Second)
	o.Delay = cmp.Or(o.Delay, 5*time.Second)
	o.Tries = cmp.Or(o.Tries, 3)
	o.Expire = cmp.Or(o.Expire, 60*time.Second)
	o.Size = cmp.Or(o.Size, 1024)
	o.Queue = cmp.Or(o.Queue, 64)
	*n = neighbours{i: i, entries: map[netip.Addr]*neighbour{}, conf: o}
}

// Neighbours lists the table in order of address.
func (i *Interface) Neighbours() []Neighbour {
	var out []Neighbour
	for _, e := range i.neighbour.entries {
		out = append(out, Neighbour{e.addr, e.mac, e.state, e.updated, len(e.waiting)})
	}
	slices.SortFunc(out, func(a, b Neighbour) int { return a.Addr.Compare(b.Addr) })
	return out
}

// SetNeighbour puts in an entry that does not expire.
func (i *Interface) SetNeighbour(a netip.Addr, m ethernet.MAC) {
	e := i.neighbour.entry(a)
	e.mac = m
	i.neighbour.become(e, Permanent)
	i.neighbour.release(e)
}

// FlushNeighbours forgets all but the permanent ones.
func (i *Interface) FlushNeighbours() { i.neighbour.flush() }

func (n *neighbours) flush() {
	for _, a := range n.addrs() {
		if e := n.entries[a]; e.state != Permanent {
			n.forget(e)
		}
	}
}

func (n *neighbours) addrs() []netip.Addr {
	var out []netip.Addr
	for a := range n.entries {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

func (n *neighbours) forget(e *neighbour) {
	n.i.Host.queue.Stop(&e.timer)
	for _, p := range e.waiting {
		n.i.Host.pool.Put(p)
	}
	e.waiting = nil
	e.state = Failed
	delete(n.entries, e.addr)
}

func (n *neighbours) entry(a netip.Addr) *neighbour {
	e := n.entries[a]
	if e == nil {
		if len(n.entries) >= n.conf.Size {
			n.makeRoom()
		}
		e = &neighbour{addr: a, state: Failed, used: n.i.Host.Now()}
		e.timer.Init(func(clock.Time) { n.expire(e) })
		n.entries[a] = e
	}
	return e
}

// makeRoom forgets what was used the longest ago.
func (n *neighbours) makeRoom() {
	var old *neighbour
	for _, e := range n.entries {
		if e.state != Permanent && (old == nil || cmp.Or(cmp.Compare(e.used, old.used), e.addr.Compare(old.addr)) < 0) {
			old = e
		}
	}
	if old != nil {
		n.forget(old)
	}
}

func (n *neighbours) become(e *neighbour, s NeighbourState) {
	h := n.i.Host
	if e.state != s {
		e.state = s
		h.tell("neighbour", n.i.Name, func() string {
			t := e.addr.String() + " " + s.String()
			if s != Incomplete && s != Failed {
				t += " " + e.mac.String()
			}
			return t
		})
	}
	now := h.Now()
	e.updated = now
	switch s {
	case Reachable:
		h.queue.Set(&e.timer, now.Add(n.conf.Reachable))
	case Stale:
		h.queue.Set(&e.timer, now.Add(n.conf.Expire))
	case Delay:
		h.queue.Set(&e.timer, now.Add(n.conf.Delay))
	case Incomplete, Probe:
		h.queue.Set(&e.timer, now.Add(n.conf.Retransmit))
	case Failed:
		h.queue.Set(&e.timer, now.Add(n.conf.Retransmit))
	case Permanent:
		h.queue.Stop(&e.timer)
	}
}

// expire moves an entry on when its time is over.
func (n *neighbours) expire(e *neighbour) {
	switch e.state {
	case Reachable:
		n.become(e, Stale)
	case Stale:
		if left := e.used.Add(n.conf.Expire); left > n.i.Host.Now() {
			n.i.Host.queue.Set(&e.timer, left)
			return
		}
		n.forget(e)
	case Delay:
		e.tries = 0
		n.become(e, Probe)
		n.ask(e)
	case Incomplete, Probe:
		if e.tries < n.conf.Tries {
			n.ask(e)
			n.i.Host.queue.Set(&e.timer, n.i.Host.Now().Add(n.conf.Retransmit))
			return
		}
		n.failed(e)
	case Failed:
		n.forget(e)
	}
}

// failed: nobody answered. What waits is answered with "unreachable".
func (n *neighbours) failed(e *neighbour) {
	h := n.i.Host
	h.Count.NeighbourFailures++
	waiting := e.waiting
	e.waiting = nil
	n.become(e, Failed)
	for _, p := range waiting {
		h.unreachable(p, n.i)
	}
}

func (n *neighbours) ask(e *neighbour) {
	e.tries++
	if e.addr.Is4() {
		n.i.askARP(e)
	} else {
		n.i.solicit(e)
	}
}

// resolve sends a packet to the next hop, at once or when its MAC is known.
func (n *neighbours) resolve(p *packet.Packet, to *hop, t ethernet.Type) {
	e := to.to
	if e != nil && e.state == Reachable {
		e.used = n.i.Host.Now()
		n.i.send(p, e.mac, t)
		return
	}
	a := to.gateway
	e = n.entry(a)
	to.to = e
	e.used = n.i.Host.Now()
	switch e.state {
	case Permanent, Reachable, Delay, Probe:
		n.i.send(p, e.mac, t)
	case Stale:
		// RFC 4861 §7.3.3: use it, and ask soon unless it is confirmed.
		n.become(e, Delay)
		n.i.send(p, e.mac, t)
	case Failed, Incomplete:
		if len(e.waiting) >= n.conf.Queue {
			n.i.Host.dropped(e.waiting[0], n.i, "too many packets wait for the MAC of "+a.String())
			e.waiting = append(e.waiting[:0], e.waiting[1:]...)
		}
		e.waiting = append(e.waiting, p)
		if e.state == Failed {
			e.tries = 0
			n.become(e, Incomplete)
			n.ask(e)
		}
	}
}

// release sends what waited.
func (n *neighbours) release(e *neighbour) {
	waiting := e.waiting
	e.waiting = nil
	t := ethernet.TypeIPv6
	if e.addr.Is4() {
		t = ethernet.TypeIPv4
	}
	for _, p := range waiting {
		n.i.send(p, e.mac, t)
	}
}

// learn takes the MAC of a neighbour: solicited by our question, or told by
// its own. An entry is made only for those we talk with, or if create.
func (n *neighbours) learn(a netip.Addr, m ethernet.MAC, solicited, override, create bool) {
	e := n.entries[a]
	if e == nil {
		if !create {
			return
		}
		e = n.entry(a)
	}
	if e.state == Permanent {
		return
	}
	known := e.state != Failed && e.state != Incomplete
	if known && e.mac != m && !override {
		// RFC 4861 §7.2.5: a different address that may not override.
		if e.state == Reachable {
			n.become(e, Stale)
		}
		return
	}
	if known && e.mac != m {
		old := e.mac
		n.i.Host.tell("neighbour.changed", n.i.Name, func() string { return a.String() + " was " + old.String() + ", is " + m.String() })
	}
	changed := !known || e.mac != m
	e.mac = m
	switch {
	case solicited:
		n.become(e, Reachable)
	case changed:
		n.become(e, Stale)
	}
	n.release(e)
}

// confirm is word from above that a neighbour answers (RFC 4861 §7.3.1).
func (n *neighbours) confirm(e *neighbour) {
	if e.state == Delay || e.state == Probe || e.state == Stale {
		n.become(e, Reachable)
	}
}
