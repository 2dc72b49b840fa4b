package filter

import (
	"net/netip"
	"slices"
	"time"

	"peel/clock"
	"peel/ip"
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

// class is a list of flows with one timeout: in the order of their last
// packets, which is that of their ends.
type class uint8

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

func (t Timeouts) table() [classes]time.Duration {
	or := func(d time.Duration, seconds int) time.Duration {
		if d > 0 {
			return d
		}
		return time.Duration(seconds) * time.Second
	}
	return [classes]time.Duration{
		classSYN: or(t.SYN, 120), classEstablished: or(t.Established, 432000), classClosing: or(t.Closing, 120), classTimeWait: or(t.TimeWait, 120), classReset: or(t.Reset, 10),
		classUDP: or(t.UDP, 30), classUDPReplied: or(t.UDPReplied, 120), classICMP: or(t.ICMP, 30), classOther: or(t.Other, 600),
	}
}

// Directions of a flow: as its first packet went, and back.
const (
	original = 0
	reply    = 1
)

// flow is a connection. It stands in the table's slab, and by its index in
// the list of its class.
type flow struct {
	orig          key
	serial        uint64
	created, last clock.Time
	prev, next    int32
	class         class
	replied       bool
	tcp           tcpFlow
	count         [2]Counter
}

// table holds the flows. Index 0 of the slab is nobody.
type table struct {
	slab     []flow
	free     int32 // the first free one, chained by next
	byKey    map[key]int32
	lists    [classes]struct{ head, tail int32 }
	timeout  [classes]time.Duration
	limit, n int
	serial   uint64
	expired  uint64
}

func (t *table) init(limit int, timeouts Timeouts) {
	if limit <= 0 {
		limit = 65536
	}
	t.limit = min(limit, 1<<29) // an index and a direction fit an int32
	t.timeout = timeouts.table()
	t.slab = make([]flow, 1, 64)
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
	i := t.free
	if i != 0 {
		t.free = t.slab[i].next
	} else {
		i = int32(len(t.slab))
		t.slab = append(t.slab, flow{})
	}
	t.n++
	t.serial++
	t.slab[i] = flow{orig: k, serial: t.serial, created: now, class: c}
	// A host that talks to itself from a port to the same port has one key
	// for both directions; it stays the original one.
	t.byKey[k.reverse()] = i<<1 | reply
	t.byKey[k] = i<<1 | original
	t.link(i, c, now)
	return i
}

func (t *table) remove(i int32) {
	t.unlink(i)
	f := &t.slab[i]
	delete(t.byKey, f.orig)
	delete(t.byKey, f.orig.reverse())
	*f = flow{next: t.free}
	t.free = i
	t.n--
}

// touch puts a flow to the end of a class's list.
func (t *table) touch(i int32, c class, now clock.Time) {
	t.unlink(i)
	t.link(i, c, now)
}

func (t *table) link(i int32, c class, now clock.Time) {
	f, l := &t.slab[i], &t.lists[c]
	f.class, f.last, f.prev, f.next = c, now, l.tail, 0
	if l.tail != 0 {
		t.slab[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (t *table) unlink(i int32) {
	f := &t.slab[i]
	l := &t.lists[f.class]
	if f.prev != 0 {
		t.slab[f.prev].next = f.next
	} else {
		l.head = f.next
	}
	if f.next != 0 {
		t.slab[f.next].prev = f.prev
	} else {
		l.tail = f.prev
	}
}

// expire forgets the flows whose time is over: only the heads of the lists
// are looked at, and a flow expires once.
func (t *table) expire(now clock.Time) {
	for c := range t.lists {
		for i := t.lists[c].head; i != 0 && now.Sub(t.slab[i].last) >= t.timeout[c]; i = t.lists[c].head {
			t.remove(i)
			t.expired++
		}
	}
}

// next is when the first flow expires, or Never.
func (t *table) next() clock.Time {
	at := clock.Never
	for c := range t.lists {
		if i := t.lists[c].head; i != 0 {
			at = min(at, t.slab[i].last.Add(t.timeout[c]))
		}
	}
	return at
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
	out := make([]Flow, 0, t.n)
	for i := range t.slab {
		f := &t.slab[i]
		if f.serial == 0 {
			continue
		}
		s := "unreplied"
		if f.replied {
			s = "replied"
		}
		if f.orig.proto == ip.ProtoTCP {
			s = f.tcp.state.String()
		}
		out = append(out, Flow{ID: f.serial, Protocol: f.orig.proto, Source: netip.AddrPortFrom(f.orig.src, f.orig.from), Destination: netip.AddrPortFrom(f.orig.dst, f.orig.to),
			State: s, Replied: f.replied, Created: f.created, Last: f.last, Expires: f.last.Add(t.timeout[f.class]), Sent: f.count[original], Received: f.count[reply]})
	}
	slices.SortFunc(out, func(a, b Flow) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}
