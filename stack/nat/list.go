package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"peel/clock"
	"peel/wire/ip"
)

// Counter counts packets and their bytes.
type Counter struct{ Packets, Bytes uint64 }

func (c *Counter) add(n int) {
	c.Packets++
	c.Bytes += uint64(n)
}

// Mapping is one as the table knows it.
type Mapping struct {
	// ID counts mappings from 1, in the order in which they were made.
	ID       uint64
	Protocol ip.Protocol
	// Inside and Outside are the endpoints that it joins. The port is an
	// ICMP query's identifier.
	Inside, Outside netip.AddrPort
	// Remote is the only end that it is for: not valid when it is for all,
	// and with port 0 when it is for all of an address.
	Remote netip.AddrPort
	// Forward tells that it is a port opened by the options.
	Forward bool
	// State is "forward", or that of the session that lasts longest.
	State string
	// Created, the last packet in either direction, and when it ends, which
	// is Never for a forward.
	Created, LastUsed, Expires clock.Time
	Out, In                    Counter
	Sessions                   []Session
}

// Session is a mapping's dealing with one remote endpoint.
type Session struct {
	Remote netip.AddrPort
	// State is "opening", "established", "closing" or "reset" for TCP, and
	// "active" for others.
	State string
	// Refreshed is when it was last given its whole time.
	Created, Refreshed, Expires clock.Time
}

// String is the mapping in one line.
func (m Mapping) String() string {
	s := fmt.Sprintf("%v %v = %v", m.Protocol, m.Inside, m.Outside)
	if m.Remote.IsValid() {
		s += " for " + endpoint(m.Remote)
	}
	return s + ", " + m.State
}

// Mappings lists the mappings in the order in which they were made, each with
// its sessions in the order in which they began.
func (n *NAT) Mappings() []Mapping {
	t := &n.t
	out := make([]Mapping, 0, t.nmap)
	at := make([]int, len(t.mappings))
	for i := range t.mappings {
		m := &t.mappings[i]
		if m.serial == 0 {
			continue
		}
		l := Mapping{ID: m.serial, Protocol: m.proto, Inside: m.inside, Outside: m.outside, Remote: m.remote, Forward: m.static, Created: m.created, LastUsed: m.last, Out: m.out, In: m.in}
		if m.static {
			l.State, l.Expires = "forward", clock.Never
		}
		at[i] = len(out)
		out = append(out, l)
	}
	for _, i := range t.sessions.All() {
		s := t.sessions.At(i)
		m := &out[at[s.mapping]]
		created, last, ends := t.sessions.Times(i)
		l := Session{Remote: s.remote, State: "active", Created: created, Refreshed: last, Expires: ends}
		if m.Protocol == ip.ProtoTCP {
			l.State = s.tcp.state.String()
		}
		if l.Expires > m.Expires {
			m.State, m.Expires = l.State, l.Expires
		}
		m.Sessions = append(m.Sessions, l)
	}
	slices.SortFunc(out, func(a, b Mapping) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// String is the table in lines.
func (n *NAT) String() string {
	var s strings.Builder
	for _, m := range n.Mappings() {
		s.WriteString(m.String() + "\n")
	}
	return s.String()
}
