package filter

import (
	"net/netip"
	"time"

	"peel/clock"
	"peel/stack/expiry"
	"peel/wire/ip"
)

// Timeouts is how long a flow is remembered after its last accepted packet.
// 0 is the default; they are Linux's, which suit RFC 5382 REQ-5 and RFC 4787
// REQ-5.
type Timeouts struct {
	// SYN is for a TCP connection that is being opened; 0 is 120 s.
	SYN time.Duration
	// Established is for one that is open; 0 is 432000 s, five days.
	Established time.Duration
	// Closing is from the first FIN on; 0 is 120 s.
	Closing time.Duration
	// TimeWait is after both FINs were acknowledged; 0 is 120 s.
	TimeWait time.Duration
	// Reset is after a RST; 0 is 10 s.
	Reset time.Duration
	// UDP is for a flow without an answer, UDPReplied with one; 0 is 30 s
	// and 120 s.
	UDP, UDPReplied time.Duration
	// ICMP is for a query; 0 is 30 s.
	ICMP time.Duration
	// Other is for protocols without ports; 0 is 600 s.
	Other time.Duration
}

// class tells which timeout a flow has.
type class = uint8

const (
	classSYN class = iota
	classEstablished
	classClosing
	classTimeWait
	classReset
	classUDP
	classUDPReplied
	classICMP
	classOther
	classes
)

func (t Timeouts) table() []time.Duration {
	or := func(d time.Duration, seconds int) time.Duration {
		if d > 0 {
			return d
		}
		return time.Duration(seconds) * time.Second
	}
	return []time.Duration{
		classSYN: or(t.SYN, 120), classEstablished: or(t.Established, 432000), classClosing: or(t.Closing, 120), classTimeWait: or(t.TimeWait, 120), classReset: or(t.Reset, 10),
		classUDP: or(t.UDP, 30), classUDPReplied: or(t.UDPReplied, 120), classICMP: or(t.ICMP, 30), classOther: or(t.Other, 600),
	}
}

// Directions of a flow: as its first packet went, and back.
const (
	original = 0
	reply    = 1
)

// flow is a connection.
type flow struct {
	orig    key
	replied bool
	tcp     tcpFlow
	count   [2]Counter
}

// table holds the flows.
type table struct {
	expiry.Table[flow]
	byKey   map[key]int32
	limit   int
	expired uint64
}

func (t *table) init(limit int, timeouts Timeouts) {
	if limit <= 0 {
		limit = 65536
	}
	t.limit = min(limit, 1<<29) // an index and a direction fit an int32
	t.Table = expiry.New[flow](timeouts.table())
	t.byKey = map[key]int32{}
}

// find returns the flow that a packet with this key belongs to, and which
// direction it goes; 0 is none.
func (t *table) find(k key) (i int32, dir int) {
	ref := t.byKey[k]
	return ref >> 1, int(ref & 1)
}

// add makes a flow; the caller saw to it that there is room and that the key
// is not there.
func (t *table) add(k key, c class, now clock.Time) int32 {
	i := t.Add(flow{orig: k}, c, now)
	// A host that talks to itself from a port to the same port has one key
	// for both directions; it stays the original one.
	t.byKey[k.reverse()] = i<<1 | reply
	t.byKey[k] = i<<1 | original
	return i
}

func (t *table) remove(i int32) {
	k := t.At(i).orig
	delete(t.byKey, k)
	delete(t.byKey, k.reverse())
	t.Remove(i)
}

// expire forgets the flows whose time is over.
func (t *table) expire(now clock.Time) {
	for i := t.Due(now); i != 0; i = t.Due(now) {
		t.remove(i)
		t.expired++
	}
}

// Flow is a connection as the table knows it.
type Flow struct {
	// ID counts flows from 1, in the order in which they began.
	ID       uint64
	Protocol ip.Protocol
	// Source and Destination of the first packet. The port is an ICMP
	// query's identifier in both, and 0 for protocols without ports.
	Source, Destination netip.AddrPort
	// State is what a TCP connection has come to, "unreplied" or "replied".
	State                  string
	Replied                bool
	Created, Last, Expires clock.Time
	// Sent counts the accepted packets in the first one's direction and
	// Received those that came back.
	Sent, Received Counter
}

// list returns the flows in the order in which they began.
func (t *table) list() []Flow {
	out := make([]Flow, 0, t.Len())
	for _, i := range t.All() {
		f := t.At(i)
		s := "unreplied"
		if f.replied {
			s = "replied"
		}
		if f.orig.proto == ip.ProtoTCP {
			s = f.tcp.state.String()
		}
		created, last, ends := t.Times(i)
		out = append(out, Flow{ID: t.Serial(i), Protocol: f.orig.proto, Source: netip.AddrPortFrom(f.orig.src, f.orig.from), Destination: netip.AddrPortFrom(f.orig.dst, f.orig.to),
			State: s, Replied: f.replied, Created: created, Last: last, Expires: ends, Sent: f.count[original], Received: f.count[reply]})
	}
	return out
}
