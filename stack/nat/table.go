package nat

import (
	"net/netip"
	"time"

	"peel/clock"
	"peel/stack/expiry"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// class tells which timeout a session has.
type class = uint8

const (
	classEstablished class = iota
	classTransitory
	classUDP
	classICMP
	classes
)

func (t Timeouts) table() []time.Duration {
	or := func(d time.Duration, seconds int) time.Duration {
		if d > 0 {
			return d
		}
		return time.Duration(seconds) * time.Second
	}
	return []time.Duration{classEstablished: or(t.TCPEstablished, 7440), classTransitory: or(t.TCPTransitory, 240), classUDP: or(t.UDP, 300), classICMP: or(t.ICMP, 60)}
}

// mapping joins an inside endpoint to one outside. It stands in a slab, and
// lasts as long as it has sessions, or forever when it is a forward.
type mapping struct {
	proto           ip.Protocol
	static          bool
	inside, outside netip.AddrPort
	// remote is what the mapping's Behaviour looks at of the other end.
	remote        netip.AddrPort
	own           int // index of the outside address
	serial        uint64
	created, last clock.Time
	sessions      int
	out, in       Counter
	nextFree      int32
}

// session is one remote endpoint of a mapping. Sessions are made by packets
// from inside alone, so that nobody outside can fill the table.
type session struct {
	mapping int32
	remote  netip.AddrPort
	tcp     tcpSession
}

// host is an inside host with a mapping.
type host struct {
	own             int // RFC 4787 REQ-2: its outside address, by index
	ports, sessions int
}

type (
	insideKey struct {
		proto          ip.Protocol
		inside, remote netip.AddrPort
	}
	outsideKey struct {
		proto   ip.Protocol
		outside netip.AddrPort
	}
	sessionKey struct {
		mapping int32
		remote  netip.AddrPort
	}
	// permitKey counts a mapping's sessions with an address, for filtering
	// that is address-dependent.
	permitKey struct {
		mapping int32
		remote  netip.Addr
	}
)

// table holds mappings, whose index 0 is nobody, and sessions.
type table struct {
	mappings  []mapping
	freeMap   int32
	sessions  expiry.Table[session]
	byInside  map[insideKey]int32
	byOutside map[outsideKey]int32
	bySession map[sessionKey]int32
	permits   map[permitKey]int // nil unless filtering needs it
	forwards  map[outsideKey]int32
	hosts     map[netip.Addr]*host
	used      map[usedKey]*ports
	nmap      int
	serial    uint64 // of mappings
	expired   uint64 // sessions
}

type usedKey struct {
	proto ip.Protocol
	own   int
}

func (t *table) init(o *Options) {
	t.mappings, t.sessions = make([]mapping, 1, 64), expiry.New[session](o.Timeouts.table())
	t.byInside, t.byOutside, t.bySession = map[insideKey]int32{}, map[outsideKey]int32{}, map[sessionKey]int32{}
	t.forwards, t.hosts, t.used = map[outsideKey]int32{}, map[netip.Addr]*host{}, map[usedKey]*ports{}
	if o.Filtering == AddressDependent {
		t.permits = map[permitKey]int{}
	}
}

func (t *table) ports(p ip.Protocol, own int) *ports {
	k := usedKey{p, own}
	if t.used[k] == nil {
		t.used[k] = new(ports)
	}
	return t.used[k]
}

// addMapping takes a mapping whose outside port is free.
func (t *table) addMapping(m mapping) int32 {
	i := t.freeMap
	if i != 0 {
		t.freeMap = t.mappings[i].nextFree
	} else {
		i = int32(len(t.mappings))
		t.mappings = append(t.mappings, mapping{})
	}
	t.serial++
	t.nmap++
	m.serial = t.serial
	t.mappings[i] = m
	t.ports(m.proto, m.own).take(m.outside.Port())
	t.byOutside[outsideKey{m.proto, m.outside}] = i
	if m.static {
		t.forwards[outsideKey{m.proto, m.inside}] = i
		return i
	}
	t.byInside[insideKey{m.proto, m.inside, m.remote}] = i
	h := t.hosts[m.inside.Addr()]
	if h == nil {
		h = &host{own: m.own}
		t.hosts[m.inside.Addr()] = h
	}
	h.ports++
	return i
}

func (t *table) removeMapping(i int32) {
	m := &t.mappings[i]
	t.ports(m.proto, m.own).free(m.outside.Port())
	delete(t.byOutside, outsideKey{m.proto, m.outside})
	if m.static {
		delete(t.forwards, outsideKey{m.proto, m.inside})
	} else {
		delete(t.byInside, insideKey{m.proto, m.inside, m.remote})
		a := m.inside.Addr()
		h := t.hosts[a]
		if h.ports--; h.ports == 0 {
			delete(t.hosts, a)
		}
	}
	*m = mapping{nextFree: t.freeMap}
	t.freeMap = i
	t.nmap--
}

// addSession begins one of a mapping that is no forward.
func (t *table) addSession(m int32, remote netip.AddrPort, now clock.Time) int32 {
	c := classTransitory
	switch t.mappings[m].proto {
	case ip.ProtoUDP:
		c = classUDP
	case ip.ProtoICMP, ip.ProtoICMPv6:
		c = classICMP
	}
	i := t.sessions.Add(session{mapping: m, remote: remote}, c, now)
	t.bySession[sessionKey{m, remote}] = i
	if t.permits != nil {
		t.permits[permitKey{m, remote.Addr()}]++
	}
	t.mappings[m].sessions++
	t.hosts[t.mappings[m].inside.Addr()].sessions++
	return i
}

// removeSession ends one, and its mapping with the last.
func (t *table) removeSession(i int32) {
	s := *t.sessions.At(i)
	t.sessions.Remove(i)
	delete(t.bySession, sessionKey{s.mapping, s.remote})
	if t.permits != nil {
		k := permitKey{s.mapping, s.remote.Addr()}
		if t.permits[k]--; t.permits[k] == 0 {
			delete(t.permits, k)
		}
	}
	m := &t.mappings[s.mapping]
	t.hosts[m.inside.Addr()].sessions--
	if m.sessions--; m.sessions == 0 {
		t.removeMapping(s.mapping)
	}
}

// expire ends the sessions whose time is over.
func (t *table) expire(now clock.Time) {
	for i := t.sessions.Due(now); i != 0; i = t.sessions.Due(now) {
		t.removeSession(i)
		t.expired++
	}
}

// tcpState is what decides about a TCP session's timeout: the state machine
// of RFC 6146 §3.5.2, as RFC 7857 §2 asks of every NAT.
type tcpState uint8

const (
	opening tcpState = iota
	established
	closing
	reset
)

func (s tcpState) String() string {
	return [...]string{"opening", "established", "closing", "reset"}[s]
}

// Directions.
const (
	outward = 0
	inward  = 1
)

type tcpSession struct {
	state      tcpState
	acked, fin [2]bool
}

// next takes a segment into account and returns the session's class.
func (t *tcpSession) next(dir int, f tcp.Flags) class {
	switch {
	case f.Has(tcp.RST):
		// It may be a forgery: the session is not ended, only short, and
		// goes on if the inside host does (RFC 7857 §2.2).
		t.state = reset
	case f.Has(tcp.SYN) && !f.Has(tcp.ACK):
		if t.state == closing || t.state == reset {
			*t = tcpSession{} // the ports are used again
		}
	default:
		if t.state == reset && dir == outward {
			t.state = established
		}
		t.fin[dir] = t.fin[dir] || f.Has(tcp.FIN)
		t.acked[dir] = t.acked[dir] || f.Has(tcp.ACK)
		switch {
		case t.fin[outward] && t.fin[inward] && t.state != reset:
			t.state = closing
		case t.acked[outward] && t.acked[inward] && t.state == opening:
			t.state = established
		}
	}
	if t.state == established {
		return classEstablished
	}
	return classTransitory
}
