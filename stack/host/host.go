// Package host is a computer of peel's own on a network: interfaces, neighbour
// tables, routes, forwarding, and sockets that do not block. It is a state
// machine on a queue of timers: packets come in by Interface.Receive, go out by
// the Sender that an interface is attached to, and whatever is to happen later
// is in the queue. It reads no clock and starts nothing. All of one network
// share a lock, or a goroutine. Package socket makes it blocking.
package host

import (
	"encoding/binary"
	"net/netip"
	"time"

	"peel/clock"
	"peel/stack/filter"
	"peel/stack/link"
	"peel/stack/packet"
	"peel/stack/route"
	"peel/stack/tcp"
	"peel/wire/ip"
)

// Options is how a host behaves. The zero value is an ordinary host.
type Options struct {
	// Forward makes it a router.
	Forward bool
	// ReversePath drops packets whose source is not reached by the interface
	// they came from: Strict, or by any interface: Loose (RFC 3704).
	ReversePath ReversePath
	// TCP is how connections behave, unless a socket brings its own.
	TCP tcp.Config
	// Backlog bounds the connections of a listener that were not accepted
	// yet; 0 is 4096. SynBacklog bounds the half-open ones; 0 is 1024; less
	// than 0 is none at all.
	Backlog, SynBacklog int
	// NoSynCookies drops SYNs when the backlog of half-open connections is
	// full, instead of answering with cookies (RFC 4987).
	NoSynCookies bool
	// ResetOnOverflow answers with RST when the accept queue is full,
	// instead of leaving the peer waiting.
	ResetOnOverflow bool
	// Ports is the range of ephemeral ports; zero is 32768 to 60999.
	Ports [2]uint16
	// ReuseTimeWait lets a new outgoing connection take the port of one in
	// TIME-WAIT after a second (RFC 6191).
	ReuseTimeWait bool
	// TimeWaits bounds the connections in TIME-WAIT; 0 is 65536. Beyond, the
	// oldest ends early.
	TimeWaits int
	// TTL of packets; 0 is 64.
	TTL uint8
	// NoPathMTU sends IPv4 without DF and does not learn from ICMP.
	NoPathMTU bool
	// Silent answers neither echo requests nor closed ports: a host behind a
	// firewall that drops.
	Silent bool
	// ICMPRate bounds the ICMP errors a second (RFC 1812 §4.3.2.8); 0 is
	// 1000, less than 0 is none at all.
	ICMPRate int
	// Limits bounds reassembly.
	Limits ip.Limits
	// Neighbours is how neighbour tables behave.
	Neighbours NeighbourOptions
	// Observe is told what the host decides; may be nil.
	Observe func(Event)
}

// ReversePath is how strictly sources are checked.
type ReversePath uint8

const (
	// Off: any source is taken.
	Off ReversePath = iota
	// Loose: a route to the source must lead out of some interface (RFC 3704
	// §2.4).
	Loose
	// Strict: it must lead out of the interface that the packet came in by
	// (RFC 3704 §2.2).
	Strict
)

// Event is a decision of the host that no packet shows.
type Event struct {
	Time clock.Time
	Host string
	// Name is a dotted word: "route", "neighbour", "drop", "icmp", "nat", or
	// that of a tcp.Event.
	Name string
	// Interface, if it is about one.
	Interface string
	// Local and Remote tell the connection or the flow, if it is about one.
	Local, Remote netip.AddrPort
	// Text says it in words.
	Text string
	// TCP is set for those of a connection.
	TCP *tcp.Event
}

// Host is a computer. Make one with New.
type Host struct {
	Name    string
	Options Options
	// Routes is its routing table. Routes to the networks of its addresses
	// are put in by AddAddress.
	Routes route.Table
	// Count is what happened to packets.
	Count Counters
	// Filter decides which packets pass; nil lets all pass.
	Filter *filter.Filter
	// NAT translates addresses; nil does not.
	NAT *Translation
	// Trace tells those who watch the network of packets that were dropped,
	// forwarded or translated here; may be nil.
	Trace *link.Trace

	queue   *clock.Queue
	pool    *packet.Pool
	secret  tcp.Secret
	entropy func() uint64
	buffers tcp.Buffers

	interfaces []*Interface
	local      map[netip.Addr]*Interface
	paths      map[netip.Addr]*pathMTU
	frags4     *ip.Reassembler
	frags6     *ip.Reassembler
	fragTimer  clock.Timer
	ipID       uint32
	icmpTokens tokens
	routeCache [64]routed
	changes    uint64 // of addresses and interfaces

	tcps      map[tuple]*TCP
	batching  bool
	touched   []*TCP // in this batch
	waits     []*TCP // in TIME-WAIT, the oldest first
	listeners map[bound]*Listener
	udps      map[bound]*UDP
	pings     map[uint16]*Ping
}

// Counters counts packets, by their fate. The names are those of
// /proc/net/snmp where it has one.
type Counters struct {
	InReceives, InDelivers, OutRequests, Forwarded           uint64
	InHeaderErrors, InAddressErrors, InUnknownProtocols      uint64
	InChecksumErrors, InDiscards, OutNoRoutes                uint64
	ReassemblyOK, ReassemblyFails, FragmentsOK               uint64
	FragmentsFail, FragmentsCreated                          uint64
	ReversePathDrops, FilterDrops, TTLExceeded               uint64
	Translated, NATDrops                                     uint64
	ICMPOut, ICMPIn, ICMPLimited                             uint64
	NeighbourFailures, NoPorts, ListenOverflows, ListenDrops uint64
	SynCookiesSent, SynCookiesReceived, SynCookiesFailed     uint64
	TCPResetsSent, TCPActiveOpens, TCPPassiveOpens           uint64
	PortsExhausted, TimeWaitOverflows                        uint64
}

// New returns a host on a queue, with packets from a pool that its network
// shares. entropy gives random bits.
func New(name string, q *clock.Queue, pool *packet.Pool, entropy func() uint64, o Options) *Host {
	h := &Host{Name: name, Options: o, queue: q, pool: pool, entropy: entropy, local: map[netip.Addr]*Interface{}, paths: map[netip.Addr]*pathMTU{},
		frags4: ip.NewReassembler(o.Limits), frags6: ip.NewReassembler(o.Limits), tcps: map[tuple]*TCP{}, listeners: map[bound]*Listener{}, udps: map[bound]*UDP{}, pings: map[uint16]*Ping{}}
	for i := 0; i < len(h.secret); i += 8 {
		binary.BigEndian.PutUint64(h.secret[i:], entropy())
	}
	h.ipID = uint32(entropy())
	h.fragTimer.Init(h.expireFragments)
	if o.Ports == [2]uint16{} {
		h.Options.Ports = [2]uint16{32768, 60999}
	}
	if o.TTL == 0 {
		h.Options.TTL = 64
	}
	h.Options.TCP.Buffers = &h.buffers
	if o.Observe != nil {
		h.Options.TCP.Observe = h.observeTCP
	}
	return h
}

// Now is the time of the host's network.
func (h *Host) Now() clock.Time { return h.queue.Now() }

// Queue is what the host's timers are set on.
func (h *Host) Queue() *clock.Queue { return h.queue }

// Pool is where the host's packets come from.
func (h *Host) Pool() *packet.Pool { return h.pool }

func (h *Host) observeTCP(c *tcp.Conn, e tcp.Event) {
	l, r := c.Ends()
	h.Options.Observe(Event{Time: e.Time, Host: h.Name, Name: e.Kind.String(), Local: l, Remote: r, TCP: &e})
}

// tell reports a decision, if somebody wants to know.
func (h *Host) tell(name, iface string, text func() string) {
	if h.Options.Observe != nil {
		h.Options.Observe(Event{Time: h.Now(), Host: h.Name, Name: name, Interface: iface, Text: text()})
	}
}

// dropped puts a packet back and says why.
func (h *Host) dropped(p *packet.Packet, in *Interface, why string) {
	text := func() string { return why }
	h.report(p, in, link.Dropped, text)
	h.tell("drop", in.name(), text)
	h.pool.Put(p)
}

// Local tells whether a is an address of this host.
func (h *Host) Local(a netip.Addr) bool { return h.local[a.WithZone("")] != nil }

// Interfaces returns them in the order in which they were added.
func (h *Host) Interfaces() []*Interface { return h.interfaces }

// Interface returns the one with that name, or nil.
func (h *Host) Interface(name string) *Interface {
	for _, i := range h.interfaces {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// tokens bounds a rate.
type tokens struct {
	at clock.Time
	n  float64
}

const (
	// defaultICMPRate is how many ICMP errors are sent in a second.
	defaultICMPRate = 1000
	// leastBurst of them may always come together.
	leastBurst = 6
)

func (t *tokens) take(now clock.Time, rate int) bool {
	if rate < 0 {
		return false
	}
	if rate == 0 {
		rate = defaultICMPRate
	}
	t.n = min(t.n+now.Sub(t.at).Seconds()*float64(rate), float64(rate)/10+leastBurst)
	t.at = now
	if t.n < 1 {
		return false
	}
	t.n--
	return true
}

// pathMTU is what was learned about the path to a destination.
type pathMTU struct {
	mtu     int
	expires clock.Time
}

// pathExpires is how long a path MTU is believed (RFC 8201 §5.3: 10 minutes).
const pathExpires = 10 * time.Minute
