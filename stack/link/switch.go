package link

import (
	"math"
	"slices"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/ethernet"
)

// SwitchOptions of a switch; the zero value is a common one.
type SwitchOptions struct {
	// Ageing is how long a MAC address is known after its last frame; 0 is
	// 300 s (the default of IEEE 802.1Q).
	Ageing time.Duration
	// Addresses is how many are known at most; 0 is 8192. What does not fit is
	// flooded.
	Addresses int
	// Storm bounds the frames that are flooded within a millisecond, so that
	// a loop ends; 0 is 100,000.
	Storm int
	// Moves bounds how often an address moves within a second, as it does when
	// its frames come round a loop; then they are dropped until the second is
	// over. 0 is 100.
	Moves int
	// Instant bounds all frames at one instant, so that a loop without any
	// delay ends; 0 is 16 million.
	Instant int
}

// SwitchCounters of a switch. Received frames are Forwarded, Flooded or one of
// the others.
type SwitchCounters struct {
	Received, Forwarded, Flooded    uint64
	Runts, Reserved, SamePort, Lone uint64
	Storm                           uint64
	// NotLearned counts frames from addresses for which the table was full;
	// Moved those that came by another port than the last with that address.
	NotLearned, Moved uint64
}

// Switch is a learning bridge (IEEE 802.1Q clause 8) without VLANs and
// without a spanning tree: loops have to be kept out by whoever lays the cables.
type Switch struct {
	net      *Net
	o        SwitchOptions
	ports    []*SwitchPort
	index    map[uint64]int32 // by address, into known
	known    []station
	purge    clock.Time // no address is too old before
	c        SwitchCounters
	window   int64 // the millisecond of floods
	floods   int
	instant  clock.Time
	received int
}

type station struct {
	mac   uint64
	seen  clock.Time
	port  *SwitchPort
	moves int
	since clock.Time // moves are counted from here
}

// SwitchPort is where a cable goes into a switch.
type SwitchPort struct {
	sw       *Switch
	name, to string
	out      Sender
	down     bool
}

// NewSwitch returns a switch without ports.
func NewSwitch(n *Net, o SwitchOptions) *Switch {
	if o.Ageing == 0 {
		o.Ageing = 300 * time.Second
	}
	if o.Addresses == 0 {
		o.Addresses = 8192
	}
	if o.Storm == 0 {
		o.Storm = 100_000
	}
	if o.Moves == 0 {
		o.Moves = 100
	}
	if o.Instant == 0 {
		o.Instant = 1 << 24
	}
	return &Switch{net: n, o: o, index: map[uint64]int32{}, purge: clock.Time(math.MinInt64)}
}

// AddPort adds a port. name is its place in hops, by rule the name of the cable's
// end there; out is that end.
func (s *Switch) AddPort(name string, out Sender) *SwitchPort {
	p := &SwitchPort{sw: s, name: name, to: "to " + name, out: out}
	s.ports = append(s.ports, p)
	return p
}

// Counters returns what has happened so far.
func (s *Switch) Counters() SwitchCounters { return s.c }

// Lookup tells behind which port an address is.
func (s *Switch) Lookup(mac ethernet.MAC) (port string, ok bool) {
	if p := s.find(number(mac), s.net.Clock.Now()); p != nil {
		return p.name, true
	}
	return "", false
}

// Known is how many addresses are in the table, those included that nobody has
// asked for since they became too old.
func (s *Switch) Known() int { return len(s.known) }

// Carrier says that the port's cable was cut or mended. The addresses behind
// a port that is down are forgotten.
func (p *SwitchPort) Carrier(up bool) {
	p.down = !up
	if !up {
		p.sw.forget(func(e *station) bool { return e.port == p })
	}
}

// Receive takes a frame in.
func (p *SwitchPort) Receive(pkt *packet.Packet) {
	s := p.sw
	now := s.net.Clock.Now()
	s.c.Received++
	if now != s.instant {
		s.instant, s.received = now, 0
	}
	b := pkt.Bytes()
	s.received++
	switch {
	case len(b) < ethernet.HeaderLen:
		s.c.Runts++
		s.net.drop(pkt, p.name, ReasonRunt, Hop{})
		return
	case s.received > s.o.Instant:
		s.c.Storm++
		s.net.drop(pkt, p.name, ReasonStorm, Hop{})
		return
	}
	f := ethernet.Frame(b)
	dst, src := number(f.Destination()), f.Source()
	// A group is never a source (IEEE 802.1Q §8.7).
	if !src.Multicast() && !s.learn(number(src), p, now) {
		s.c.Storm++
		s.net.drop(pkt, p.name, ReasonMoves, Hop{})
		return
	}
	if dst&^0xf == reserved {
		s.c.Reserved++
		s.net.drop(pkt, p.name, ReasonReserved, Hop{})
		return
	}
	reason := ReasonUnknown
	if !f.Destination().Multicast() {
		out := s.find(dst, now)
		if out == p {
			s.c.SamePort++
			s.net.drop(pkt, p.name, ReasonSamePort, Hop{})
			return
		}
		if out != nil {
			s.c.Forwarded++
			if s.net.Trace.Watching() {
				s.net.Trace.Report(Hop{Packet: pkt, Time: now, Where: p.name, Verdict: Forwarded, Reason: out.to})
			}
			out.out.Send(pkt)
			return
		}
	} else if reason = ReasonMulticast; dst == 0xffffffffffff {
		reason = ReasonBroadcast
	}
	p.flood(pkt, reason, now)
}

// flood sends to all other ports that are up.
func (p *SwitchPort) flood(pkt *packet.Packet, reason string, now clock.Time) {
	s := p.sw
	if ms := int64(now) / int64(time.Millisecond); ms != s.window {
		s.window, s.floods = ms, 0
	}
	if s.floods++; s.floods > s.o.Storm {
		s.c.Storm++
		s.net.drop(pkt, p.name, ReasonStorm, Hop{})
		return
	}
	var last *SwitchPort
	for _, q := range s.ports {
		if q == p || q.down {
			continue
		}
		if last == nil {
			s.c.Flooded++
			if s.net.Trace.Watching() {
				s.net.Trace.Report(Hop{Packet: pkt, Time: now, Where: p.name, Verdict: Flooded, Reason: reason})
			}
		} else {
			last.out.Send(s.net.Pool.Clone(pkt))
		}
		last = q
	}
	if last == nil {
		s.c.Lone++
		s.net.drop(pkt, p.name, ReasonLonely, Hop{})
		return
	}
	last.out.Send(pkt)
}

// learn notes that mac is behind p. It is false for one that moves too often.
func (s *Switch) learn(mac uint64, p *SwitchPort, now clock.Time) bool {
	if i, ok := s.index[mac]; ok {
		e := &s.known[i]
		if e.port != p {
			s.c.Moved++
			e.port = p
			if now.Sub(e.since) >= time.Second {
				e.since, e.moves = now, 0
			}
			e.moves++
		}
		e.seen = now
		return e.moves <= s.o.Moves || now.Sub(e.since) >= time.Second
	}
	if len(s.known) >= s.o.Addresses && now >= s.purge {
		oldest := now
		s.forget(func(e *station) bool {
			old := now.Sub(e.seen) > s.o.Ageing
			if !old {
				oldest = min(oldest, e.seen)
			}
			return old
		})
		s.purge = oldest.Add(s.o.Ageing) + 1
	}
	if len(s.known) >= s.o.Addresses {
		s.c.NotLearned++
		return true
	}
	s.index[mac] = int32(len(s.known))
	s.known = append(s.known, station{mac: mac, seen: now, port: p, since: now})
	return true
}

// find returns the port behind which mac is, or nil.
func (s *Switch) find(mac uint64, now clock.Time) *SwitchPort {
	i, ok := s.index[mac]
	if !ok || now.Sub(s.known[i].seen) > s.o.Ageing {
		return nil
	}
	return s.known[i].port
}

func (s *Switch) forget(which func(*station) bool) {
	s.known = slices.DeleteFunc(s.known, func(e station) bool { return which(&e) })
	clear(s.index)
	for i := range s.known {
		s.index[s.known[i].mac] = int32(i)
	}
	s.purge = clock.Time(math.MinInt64)
}

// reserved are the addresses that no bridge forwards, but for their last four
// bits (IEEE 802.1Q §8.6.3).
const reserved = 0x0180c2000000

func number(b ethernet.MAC) uint64 {
	return uint64(b[0])<<40 | uint64(b[1])<<32 | uint64(b[2])<<24 | uint64(b[3])<<16 | uint64(b[4])<<8 | uint64(b[5])
}
