package nat

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

const second = clock.Time(time.Second)

const (
	ann, bob   = "10.0.0.1", "10.0.0.2"
	outer      = "198.51.100.1"
	web, peer2 = "192.0.2.1", "192.0.2.2"
	ann6, web6 = "[fd00::1]", "[2001:db8::1]"
	outer6     = "2001:db8:ffff::1"
)

func base(change func(*Options)) Options {
	o := Options{Outside: []netip.Addr{netip.MustParseAddr(outer), netip.MustParseAddr(outer6)}, Inside: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	if change != nil {
		change(&o)
	}
	return o
}

func make1(t testing.TB, o Options) *NAT {
	t.Helper()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// step is a packet from inside ("out") or outside ("in") and what became of it.
type step struct {
	at   clock.Time
	way  string
	pkt  []byte
	want string
}

// run checks beside the story that checksums stay right, and that a packet
// that is not translated stays as it is.
func run(t *testing.T, n *NAT, steps []step) {
	t.Helper()
	for i, s := range steps {
		p := wrap(s.pkt)
		var r Result
		if s.way == "out" {
			r = n.Outbound(p, 1000*second+s.at)
		} else {
			r = n.Inbound(p, 1000*second+s.at)
		}
		if got := r.String(); !strings.HasSuffix(got, s.want) {
			t.Errorf("step %d at %v: %s\nwant … %s", i+1, time.Duration(s.at), got, s.want)
		}
		if c := checksums(p.Bytes()); c != (sums{true, true, true, true}) {
			t.Errorf("step %d: checksums %+v", i+1, c)
		}
		if (r.Verdict == Translated || r.Verdict == Hairpin) == (string(p.Bytes()) == string(s.pkt)) {
			t.Errorf("step %d: %v, but the bytes say otherwise", i+1, r)
		}
		check(t, n)
		pool.Put(p)
	}
}

// check verifies that the table is whole.
func check(t *testing.T, n *NAT) {
	t.Helper()
	sessions, mappings := 0, n.Mappings()
	for _, m := range mappings {
		sessions += len(m.Sessions)
		if !m.Forward && len(m.Sessions) == 0 {
			t.Fatalf("%v has no session", m)
		}
	}
	if err := n.t.sessions.Check(); err != nil {
		t.Fatal(err)
	}
	if s := n.Stats(); len(mappings) != s.Mappings || sessions != s.Sessions || n.t.sessions.Len() != sessions ||
		len(n.t.bySession) != sessions || len(n.t.byOutside) != len(mappings) || len(n.t.byInside)+len(n.t.forwards) != len(mappings) {
		t.Fatalf("%+v, but %d mappings, %d sessions, %d in lists", s, len(mappings), sessions, n.t.sessions.Len())
	}
	if n.t.sessions.Len() == 0 && len(n.t.hosts)+len(n.t.permits) != 0 {
		t.Fatal("hosts or permits without sessions")
	}
}

func TestStories(t *testing.T) {
	udp := func(b string) string { return "translated to UDP " + b }
	const (
		noMapping = "dropped: no mapping"
		filtered  = "dropped: the mapping's filter does not know the sender"
	)
	quote := udpPacket(outer+":4000", web+":53")[:28] // as a router outside saw it
	stories := []struct {
		name   string
		change func(*Options)
		steps  []step
	}{
		{"RFC 4787 REQ-1: one port for all destinations; anybody may answer", nil, []step{
			{0, "in", udpPacket(web+":53", outer+":4000"), noMapping},
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4000", peer2+":53"), udp("198.51.100.1:4000 > 192.0.2.2:53")},
			{0, "in", udpPacket(web+":53", outer+":4000"), udp("192.0.2.1:53 > 10.0.0.1:4000")},
			{0, "in", udpPacket("203.0.113.9:9", outer+":4000"), udp("203.0.113.9:9 > 10.0.0.1:4000")},
			{0, "out", udpPacket(bob+":4000", web+":53"), udp("198.51.100.1:1024 > 192.0.2.1:53")}, // REQ-3: never one port for two
			{0, "out", udpPacket(bob+":80", web+":53"), udp("198.51.100.1:1025 > 192.0.2.1:53")},   // out of range
			{0, "out", udpPacket(ann6+":4000", web6+":53"), udp("[2001:db8:ffff::1]:4000 > [2001:db8::1]:53")},
			{0, "in", udpPacket(web6+":53", "["+outer6+"]:4000"), udp("[2001:db8::1]:53 > [fd00::1]:4000")},
		}},
		{"RFC 4787 §4.1: address-dependent mapping", func(o *Options) { o.Mapping = AddressDependent }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4000", web+":54"), udp("198.51.100.1:4000 > 192.0.2.1:54")},
			{0, "out", udpPacket(ann+":4000", peer2+":53"), udp("198.51.100.1:1024 > 192.0.2.2:53")},
		}},
		{"RFC 4787 §4.1: address and port-dependent mapping, counted from entropy", func(o *Options) {
			o.Mapping, o.RandomPorts = AddressAndPortDependent, true
			o.Entropy = func() uint64 { return 5000 - 1024 }
		}, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:5000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4000", web+":54"), udp("198.51.100.1:5001 > 192.0.2.1:54")},
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:5000 > 192.0.2.1:53")},
			{0, "in", udpPacket(web+":54", outer+":5001"), udp("192.0.2.1:54 > 10.0.0.1:4000")},
		}},
		{"RFC 4787 §5: address-dependent filtering", func(o *Options) { o.Filtering = AddressDependent }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "in", udpPacket(web+":99", outer+":4000"), udp("192.0.2.1:99 > 10.0.0.1:4000")},
			{0, "in", udpPacket(peer2+":53", outer+":4000"), filtered},
			{300 * second, "in", udpPacket(web+":99", outer+":4000"), noMapping},
		}},
		{"RFC 4787 §5: address and port-dependent filtering", func(o *Options) { o.Filtering = AddressAndPortDependent }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "in", udpPacket(web+":99", outer+":4000"), filtered},
			{0, "in", udpPacket(web+":53", outer+":4000"), udp("192.0.2.1:53 > 10.0.0.1:4000")},
		}},
		{"RFC 4787 REQ-6: packets from inside refresh, those from outside do not", nil, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{299 * second, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{598 * second, "in", udpPacket(web+":53", outer+":4000"), udp("192.0.2.1:53 > 10.0.0.1:4000")},
			{599 * second, "in", udpPacket(web+":53", outer+":4000"), noMapping},
		}},
		{"RFC 4787 REQ-6: unless they are told to", func(o *Options) { o.InboundRefresh = true }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{299 * second, "in", udpPacket(web+":53", outer+":4000"), udp("192.0.2.1:53 > 10.0.0.1:4000")},
			{598 * second, "in", udpPacket(web+":53", outer+":4000"), udp("192.0.2.1:53 > 10.0.0.1:4000")},
		}},
		{"RFC 5382 REQ-5: a connection is transitory, established for 7440 s, and transitory again", nil, []step{
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), "TCP 198.51.100.1:4000 > 192.0.2.1:80"},
			{239 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN|tcp.ACK), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{239 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), "TCP 198.51.100.1:4000 > 192.0.2.1:80"},
			{7000 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.ACK|tcp.FIN), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{7001 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), "TCP 198.51.100.1:4000 > 192.0.2.1:80"}, // half closed
			{14000 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK|tcp.FIN), "TCP 198.51.100.1:4000 > 192.0.2.1:80"},
			{14239 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.ACK), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{14240 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.ACK), noMapping},
		}},
		{"RFC 7857 §2.2: a RST shortens the session, and life from inside revives it", nil, []step{
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), ""},
			{0, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN|tcp.ACK), ""},
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), ""},
			{0, "in", tcpPacket(web+":80", outer+":4000", tcp.RST), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{239 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), ""},
			{7000 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.RST), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{7200 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.ACK), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
			{7240 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.ACK), noMapping},
			{7240 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.RST), "dropped: it belongs to no mapping and cannot begin one"},
		}},
		{"RFC 5382 REQ-2: both ends open at once, through the strictest filter", func(o *Options) { o.Filtering = AddressAndPortDependent }, []step{
			{0, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN), noMapping}, // REQ-4: no RST
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), "TCP 198.51.100.1:4000 > 192.0.2.1:80"},
			{1 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN), "TCP 192.0.2.1:80 > 10.0.0.1:4000"},
		}},
		{"RFC 5382 REQ-3: a stranger's connection through an open filter, refused by the inside host", nil, []step{
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), ""},
			{0, "in", tcpPacket(peer2+":9", outer+":4000", tcp.SYN), "TCP 192.0.2.2:9 > 10.0.0.1:4000"},
			{0, "out", tcpPacket(ann+":4000", peer2+":9", tcp.RST|tcp.ACK), "TCP 198.51.100.1:4000 > 192.0.2.2:9"},
			{0, "in", tcpPacket(peer2+":9", outer+":4000", tcp.SYN), "TCP 192.0.2.2:9 > 10.0.0.1:4000"},
			{0, "out", tcpPacket(ann+":4000", peer2+":9", tcp.SYN|tcp.ACK), "TCP 198.51.100.1:4000 > 192.0.2.2:9"},
			{0, "in", tcpPacket(peer2+":9", outer+":4000", tcp.ACK), ""},
			{7439 * second, "in", tcpPacket(peer2+":9", outer+":4000", tcp.ACK), "TCP 192.0.2.2:9 > 10.0.0.1:4000"},
		}},
		{"an unknown TCP packet is reset when the options say so; others are not", func(o *Options) { o.Unknown = ResetUnknown }, []step{
			{0, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN), "rejected with a RST: no mapping"},
			{0, "in", tcpPacket(web+":80", outer+":4000", tcp.RST), noMapping},
			{0, "in", udpPacket(web+":53", outer+":4000"), noMapping},
		}},
		{"RFC 4787 REQ-9: a hairpin shows the sender's outside endpoint", nil, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), ""},
			{0, "out", udpPacket(bob+":5000", web+":53"), ""},
			{0, "out", udpPacket(ann+":4000", outer+":5000"), "UDP 10.0.0.1:4000 > 198.51.100.1:5000 hairpin to UDP 198.51.100.1:4000 > 10.0.0.2:5000"},
			{0, "out", udpPacket(bob+":5000", outer+":4000"), "hairpin to UDP 198.51.100.1:5000 > 10.0.0.1:4000"},
			{0, "out", udpPacket(bob+":5000", outer+":4001"), noMapping},
			// RFC 5508 REQ-7: and so does an error about it.
			{0, "out", icmpPacket(bob, outer, icmp.Unreachable4, 3, 0, udpPacket(outer+":4000", bob+":5000")),
				"hairpin to ICMP 198.51.100.1 > 10.0.0.1 (about UDP 198.51.100.1:4000 > 10.0.0.2:5000, now UDP 10.0.0.1:4000 > 198.51.100.1:5000)"},
		}},
		{"a hairpin has to pass the filter", func(o *Options) { o.Filtering = AddressAndPortDependent }, []step{
			{0, "out", udpPacket(bob+":5000", web+":53"), ""},
			{0, "out", udpPacket(ann+":4000", outer+":5000"), filtered},
			{0, "out", udpPacket(bob+":5000", outer+":4000"), "hairpin to UDP 198.51.100.1:5000 > 10.0.0.1:4000"},
			{0, "out", udpPacket(ann+":4000", outer+":5000"), "hairpin to UDP 198.51.100.1:4000 > 10.0.0.2:5000"},
		}},
		{"hairpinning switched off", func(o *Options) { o.NoHairpin = true }, []step{
			{0, "out", udpPacket(bob+":5000", web+":53"), ""},
			{0, "out", udpPacket(ann+":4000", outer+":5000"), "dropped: hairpinning is off"},
		}},
		{"RFC 5508 §3: pings have a mapping of their identifier for 60 s", nil, []step{
			{0, "out", ping(ann, web, 7), "translated to ICMP 198.51.100.1:7 > 192.0.2.1"},
			{0, "out", ping(bob, web, 7), "translated to ICMP 198.51.100.1:1 > 192.0.2.1"},
			{59 * second, "in", pong(web, outer, 7), "translated to ICMP 192.0.2.1 > 10.0.0.1:7"},
			{59 * second, "in", pong(web, outer, 1), "translated to ICMP 192.0.2.1 > 10.0.0.2:7"},
			{60 * second, "in", pong(web, outer, 7), noMapping},
			{60 * second, "in", ping(web, outer, 7), "untouched"},
			{60 * second, "out", ping(ann, outer, 7), "untouched"},
			{60 * second, "out", pong(ann, web, 7), "dropped: it belongs to no mapping and cannot begin one"},
			{60 * second, "out", ping("fd00::1", "2001:db8::1", 7), "translated to ICMPv6 [2001:db8:ffff::1]:7 > 2001:db8::1"},
			{60 * second, "in", pong("2001:db8::1", outer6, 7), "translated to ICMPv6 2001:db8::1 > [fd00::1]:7"},
		}},
		{"RFC 5508 REQ-4: an error from outside, and what it quotes, and REQ-6: which refreshes nothing", func(o *Options) { o.InboundRefresh = true }, []step{
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, quote), noMapping},
			{0, "out", udpPacket(ann+":4001", peer2+":53"), ""},
			{0, "out", udpPacket(bob+":4000", web+":53"), ""},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, quote),
				"translated to ICMP 203.0.113.1 > 10.0.0.2 (about UDP 198.51.100.1:4000 > 192.0.2.1:53, now UDP 10.0.0.2:4000 > 192.0.2.1:53)"},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.Unreachable4, 4, 1400, udpPacket(outer+":4000", web+":53")), "now UDP 10.0.0.2:4000 > 192.0.2.1:53)"},
			{0, "out", tcpPacket(ann6+":4000", web6+":80", tcp.SYN), ""},
			{0, "in", icmpPacket("2001:db8:9::1", outer6, icmp.TooBig6, 0, 1280, tcpPacket("["+outer6+"]:4000", web6+":80", tcp.SYN)),
				"translated to ICMPv6 2001:db8:9::1 > fd00::1 (about TCP [2001:db8:ffff::1]:4000 > [2001:db8::1]:80, now TCP [fd00::1]:4000 > [2001:db8::1]:80)"},
			{0, "out", ping(bob, web, 7), ""},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, ping(outer, web, 7)[:28]),
				"translated to ICMP 203.0.113.1 > 10.0.0.2 (about ICMP 198.51.100.1:7 > 192.0.2.1, now ICMP 10.0.0.2:7 > 192.0.2.1)"},
			{300 * second, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, quote), noMapping},
		}},
		{"RFC 5508 REQ-5: an error from inside, by the host or a router before it, comes from the NAT", nil, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), ""},
			{0, "out", icmpPacket(ann, web, icmp.Unreachable4, 3, 0, udpPacket(web+":53", ann+":4000")),
				"translated to ICMP 198.51.100.1 > 192.0.2.1 (about UDP 192.0.2.1:53 > 10.0.0.1:4000, now UDP 192.0.2.1:53 > 198.51.100.1:4000)"},
			{0, "out", icmpPacket("10.9.9.9", web, icmp.TimeExceeded4, 0, 0, udpPacket(web+":53", ann+":4000")),
				"translated to ICMP 198.51.100.1 > 192.0.2.1 (about UDP 192.0.2.1:53 > 10.0.0.1:4000, now UDP 192.0.2.1:53 > 198.51.100.1:4000)"},
			{0, "out", icmpPacket(ann, web, icmp.Unreachable4, 3, 0, udpPacket(web+":53", ann+":4001")), noMapping},
			{0, "out", icmpPacket(ann, peer2, icmp.Unreachable4, 3, 0, udpPacket(web+":53", ann+":4000")), noMapping},
			{0, "out", icmpPacket(ann, web, icmp.Unreachable4, 3, 0, icmpPacket(web, ann, icmp.Unreachable4, 3, 0, nil)), "dropped: a protocol without ports cannot be translated"},
		}},
		{"an error through the strictest filter is about a session", func(o *Options) { o.Filtering = AddressAndPortDependent }, []step{
			{0, "out", udpPacket(bob+":4000", web+":53"), ""},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, quote), "now UDP 10.0.0.2:4000 > 192.0.2.1:53)"},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, udpPacket(outer+":4000", web+":54")), filtered},
		}},
		{"forwards: anybody may come in, answers and hairpins find them, and nothing expires", func(o *Options) {
			o.Filtering, o.Mapping = AddressAndPortDependent, AddressAndPortDependent
			o.Forwards = []Forward{{ip.ProtoTCP, netip.AddrPortFrom(netip.Addr{}, 80), netip.MustParseAddrPort("10.0.0.2:8080")}}
		}, []step{
			{0, "in", tcpPacket(web+":9", outer+":80", tcp.SYN), "translated to TCP 192.0.2.1:9 > 10.0.0.2:8080"},
			{0, "out", tcpPacket(bob+":8080", web+":9", tcp.SYN|tcp.ACK), "translated to TCP 198.51.100.1:80 > 192.0.2.1:9"},
			{0, "out", tcpPacket(ann+":4000", outer+":80", tcp.SYN), "hairpin to TCP 198.51.100.1:4000 > 10.0.0.2:8080"},
			{0, "out", tcpPacket(bob+":8080", outer+":4000", tcp.SYN|tcp.ACK), "hairpin to TCP 198.51.100.1:80 > 10.0.0.1:4000"},
			{99999 * second, "in", tcpPacket(web+":9", outer+":80", tcp.SYN), "translated to TCP 192.0.2.1:9 > 10.0.0.2:8080"},
			{99999 * second, "in", icmpPacket("203.0.113.1", outer, icmp.Unreachable4, 1, 0, tcpPacket(outer+":80", web+":9", tcp.ACK)), "now TCP 10.0.0.2:8080 > 192.0.2.1:9)"},
			{99999 * second, "in", udpPacket(web+":9", outer+":80"), noMapping},
		}},
		{"the router's own ports stay its own, and are not given out", func(o *Options) {
			o.Reserved = func(p ip.Protocol, e netip.AddrPort) bool { return e.Port() == 4000 || p == 50 }
		}, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:1024 > 192.0.2.1:53")},
			{0, "in", udpPacket(web+":53", outer+":4000"), "untouched"},
			{0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, quote), "untouched"},
			{0, "in", network(netip.MustParseAddr(web), netip.MustParseAddr(outer), 50, make([]byte, 8), 0), "untouched"},
			{0, "in", network(netip.MustParseAddr(web), netip.MustParseAddr(outer), 47, make([]byte, 8), 0), "dropped: a protocol without ports cannot be translated"},
		}},
		{"what is none of the NAT's business", nil, []step{
			{0, "out", udpPacket("172.16.0.1:4000", web+":53"), "untouched"}, // not inside
			{0, "out", udpPacket(outer+":4000", web+":53"), "untouched"},     // the router's
			{0, "in", udpPacket(web+":53", "172.16.0.1:9"), "untouched"},     // to somebody else
			{0, "in", icmpPacket("fe80::1", outer6, icmp.NeighborSolicit, 0, 0, make([]byte, 16)), "untouched"},
			{0, "in", udpPacket(outer+":53", outer+":9"), "dropped: from outside, but with an address of this NAT"},
		}},
		{"RFC 6888 REQ-4: a host has so many ports", func(o *Options) { o.MaxHostPorts = 1 }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4001", web+":53"), "dropped: the inside host has all the ports it may have"},
			{0, "out", udpPacket(ann+":4000", web+":54"), udp("198.51.100.1:4000 > 192.0.2.1:54")},
			{0, "out", udpPacket(bob+":4001", web+":53"), udp("198.51.100.1:4001 > 192.0.2.1:53")},
			{300 * second, "out", udpPacket(ann+":4001", web+":53"), udp("198.51.100.1:4001 > 192.0.2.1:53")},
		}},
		{"and so many sessions", func(o *Options) { o.MaxHostSessions = 1 }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), ""},
			{0, "out", udpPacket(ann+":4000", web+":54"), "dropped: the inside host has all the sessions it may have"},
		}},
		{"the table has so many sessions", func(o *Options) { o.MaxSessions = 2 }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), ""},
			{0, "out", udpPacket(bob+":4000", web+":53"), ""},
			{0, "out", udpPacket(bob+":4000", web+":54"), "dropped: the table of sessions is full"},
			{0, "out", udpPacket(bob+":4000", web+":53"), udp("198.51.100.1:1024 > 192.0.2.1:53")},
		}},
		{"the range has so many ports", func(o *Options) { o.PortFrom, o.PortTo = 2000, 2001 }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:2000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4001", web+":53"), udp("198.51.100.1:2001 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4002", web+":53"), "dropped: no port is free at the outside address"},
			{0, "out", tcpPacket(ann+":4002", web+":53", tcp.SYN), "TCP 198.51.100.1:2000 > 192.0.2.1:53"}, // TCP has its own
		}},
		{"RFC 4787 REQ-2: a host keeps its outside address", func(o *Options) { o.Outside = append(o.Outside, netip.MustParseAddr("198.51.100.2")) }, []step{
			{0, "out", udpPacket(ann+":4000", web+":53"), udp("198.51.100.1:4000 > 192.0.2.1:53")},
			{0, "out", udpPacket(bob+":4000", web+":53"), udp("198.51.100.2:4000 > 192.0.2.1:53")},
			{0, "out", udpPacket(ann+":4001", web+":53"), udp("198.51.100.1:4001 > 192.0.2.1:53")},
			{0, "out", udpPacket(bob+":4001", web+":53"), udp("198.51.100.2:4001 > 192.0.2.1:53")},
		}},
	}
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) { run(t, make1(t, base(s.change)), s.steps) })
	}
}
