package filter

import (
	"fmt"
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

// step is a packet at a time and what the filter says to it.
type step struct {
	at    clock.Time
	chain Chain
	pkt   []byte
	want  string
}

func run(t *testing.T, f *Filter, steps []step) {
	t.Helper()
	for i, s := range steps {
		if got := f.Check(s.chain, s.pkt, "", "", 1000*second+s.at).String(); !strings.HasPrefix(got, s.want) {
			t.Errorf("step %d at %v: %s, want %s", i+1, time.Duration(s.at), got, s.want)
		}
	}
}

// client is the usual filter of a client: it may ask, and what answers comes in.
func client(t testing.TB, o Options) *Filter {
	t.Helper()
	f := New(o)
	if err := f.Set(Input, Policy{Default: Drop, Rules: []Rule{{Name: "answers", States: StateEstablished | StateRelated}}}); err != nil {
		t.Fatal(err)
	}
	return f
}

const (
	me, peer     = "10.0.0.1:4000", "192.0.2.1:80"
	me6, peer6   = "[2001:db8::1]:4000", "[2001:db8:1::1]:80"
	back         = "accepted by input rule 1: answers"
	dropped      = "dropped by the default of input"
	out          = "accepted by the default of output"
	fin          = tcp.FIN | tcp.ACK
	synAck       = tcp.SYN | tcp.ACK
	quiet1, long = 119 * second, 431999 * second
)

func TestStories(t *testing.T) {
	type story struct {
		name  string
		o     Options
		steps []step
	}
	stories := []story{
		{"RFC 9293 §3.5: a connection opens, and only its own answers come in", Options{}, []step{
			{0, Input, tcpPacket(peer, me, synAck, 9, 1), dropped + " (invalid)"},
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out + " (new)"},
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out + " (new)"}, // repeated
			{0, Input, tcpPacket("192.0.2.1:81", me, synAck, 9, 1), dropped + " (invalid)"},
			{0, Input, tcpPacket(peer, me, synAck, 9, 1), back + " (established)"},
			{0, Output, tcpPacket(me, peer, tcp.ACK, 1, 10), out + " (established)"},
			{long, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), back},
			{2*long + second, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), dropped + " (invalid)"},
		}},
		{"a SYN without an answer is forgotten after 120 s", Options{}, []step{
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out},
			{quiet1 + second, Input, tcpPacket(peer, me, synAck, 9, 1), dropped + " (invalid)"},
		}},
		{"RFC 9293 §3.6: both FINs and their ACK lead to TIME-WAIT, and a SYN out of it to a new flow", Options{Timeouts: Timeouts{TimeWait: 5 * time.Second}}, []step{
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out},
			{0, Input, tcpPacket(peer, me, synAck, 9, 1), back},
			{0, Output, tcpPacket(me, peer, tcp.ACK, 1, 10), out},
			{0, Output, tcpPacket(me, peer, fin, 1, 10), out},
			{quiet1, Input, tcpPacket(peer, me, tcp.ACK, 10, 2), back}, // half closed
			{quiet1, Input, tcpPacket(peer, me, fin, 10, 2), back},
			{quiet1, Output, tcpPacket(me, peer, tcp.ACK, 2, 11), out},
			{quiet1 + 4*second, Input, tcpPacket(peer, me, fin, 10, 2), back},
			{quiet1 + 4*second, Input, tcpPacket(peer, me, tcp.SYN, 50, 0), dropped + " (new)"},
			{quiet1 + 4*second, Output, tcpPacket(me, peer, tcp.SYN, 900, 0), out + " (new)"},
			{quiet1 + 100*second, Input, tcpPacket(peer, me, synAck, 9, 901), back},
		}},
		{"RFC 5961 §3.2: a RST that does not fit leaves a living connection alone", Options{}, []step{
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out},
			{0, Input, tcpPacket(peer, me, synAck, 9, 1), back},
			{0, Output, tcpPacket(me, peer, tcp.ACK, 1, 10), out},
			{0, Input, tcpPacket(peer, me, tcp.RST, 77, 0), back},
			{quiet1, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), back},
			{1000 * second, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), back},
			{1000 * second, Input, tcpPacket(peer, me, tcp.RST, 10, 0), back},
			{1010 * second, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), dropped + " (invalid)"},
		}},
		{"a segment in the middle of nothing begins a flow when loose, a RST never", Options{Loose: true}, []step{
			{0, Output, tcpPacket(me, peer, tcp.RST, 1, 0), out + " (invalid)"},
			{0, Output, tcpPacket(me, peer, tcp.ACK, 1, 10), out + " (new)"},
			{0, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), back + " (established)"},
			{long, Input, tcpPacket(peer, me, tcp.ACK, 10, 1), back + " (established)"},
		}},
		{"RFC 9293 §3.10.7: flags that nobody sends together", Options{}, []step{
			{0, Output, tcpPacket(me, peer, tcp.SYN|tcp.FIN, 0, 0), out + " (invalid)"},
			{0, Output, tcpPacket(me, peer, tcp.SYN|tcp.RST, 0, 0), out + " (invalid)"},
			{0, Output, tcpPacket(me, peer, 0, 0, 0), out + " (invalid)"},
			{0, Output, tcpPacket(me, peer, tcp.SYN|tcp.ECE|tcp.CWR, 0, 0), out + " (new)"}, // RFC 3168 §6.1.1
			{0, Output, tcpPacket(me, peer, synAck, 0, 0), out + " (invalid)"},
		}},
		{"UDP: 30 s without an answer, 120 s with one", Options{}, []step{
			{0, Input, udpPacket(peer, me), dropped + " (new)"},
			{0, Output, udpPacket(me, peer), out + " (new)"},
			{29 * second, Input, udpPacket(peer, me), back},
			{148 * second, Input, udpPacket(peer, me), back},
			{268 * second, Input, udpPacket(peer, me), dropped},
			{300 * second, Output, udpPacket(me6, peer6), out + " (new)"},
			{300 * second, Input, udpPacket(peer6, me6), back},
			{301 * second, Output, udpPacket(me, peer), out + " (new)"},
			{331 * second, Input, udpPacket(peer, me), dropped},
		}},
		{"RFC 792: an echo's answer has its identifier, and pings do not open the way for pings", Options{}, []step{
			{0, Output, icmpPacket("10.0.0.1", "192.0.2.1", icmp.Echo4, 0, 7<<16|1, nil), out + " (new)"},
			{0, Input, icmpPacket("192.0.2.1", "10.0.0.1", icmp.EchoReply4, 0, 8<<16|1, nil), dropped + " (invalid)"},
			{0, Input, icmpPacket("192.0.2.1", "10.0.0.1", icmp.Echo4, 0, 7<<16|1, nil), dropped + " (new)"},
			{0, Input, icmpPacket("192.0.2.1", "10.0.0.1", icmp.EchoReply4, 0, 7<<16|1, nil), back + " (established)"},
			{30 * second, Input, icmpPacket("192.0.2.1", "10.0.0.1", icmp.EchoReply4, 0, 7<<16|1, nil), dropped + " (invalid)"},
			{30 * second, Output, icmpPacket("2001:db8::1", "2001:db8::2", icmp.Echo6, 0, 7<<16|1, nil), out + " (new)"},
			{30 * second, Input, icmpPacket("2001:db8::2", "2001:db8::1", icmp.EchoReply6, 0, 7<<16|1, nil), back + " (established)"},
		}},
		{"RFC 1122 §3.2.2: an error is related to what it quotes, if it goes to its source", Options{}, []step{
			{0, Output, udpPacket(me, peer), out + " (new)"},
			{0, Input, icmpPacket("198.51.100.1", "10.0.0.1", icmp.TimeExceeded4, 0, 0, udpPacket(me, peer)[:28]), back + " (related)"},
			{0, Input, icmpPacket("198.51.100.1", "10.0.0.2", icmp.TimeExceeded4, 0, 0, udpPacket(me, peer)[:28]), dropped + " (invalid)"},
			{0, Input, icmpPacket("198.51.100.1", "10.0.0.1", icmp.TimeExceeded4, 0, 0, udpPacket(me, "192.0.2.1:81")[:28]), dropped + " (invalid)"},
			{0, Input, icmpPacket("198.51.100.1", "10.0.0.1", icmp.TimeExceeded4, 0, 0, udpPacket(me, peer)[:24]), dropped + " (invalid)"},
			{0, Output, udpPacket(me6, peer6), out + " (new)"},
			{0, Input, icmpPacket("2001:db8:9::1", "2001:db8::1", icmp.TooBig6, 0, 1280, udpPacket(me6, peer6)), back + " (related)"},
			{29 * second, Input, icmpPacket("198.51.100.1", "10.0.0.1", icmp.TimeExceeded4, 0, 0, udpPacket(me, peer)[:28]), back + " (related)"},
			{30 * second, Input, udpPacket(peer, me), dropped}, // an error keeps nothing alive
		}},
		{"RFC 4861: Neighbor Discovery is not tracked", Options{}, []step{
			{0, Input, icmpPacket("2001:db8::2", "2001:db8::1", icmp.NeighborSolicit, 0, 0, make([]byte, 16)), dropped + " (untracked)"},
		}},
		{"a protocol without ports is a flow between two addresses", Options{}, []step{
			{0, Output, packet4or6("10.0.0.1", "192.0.2.1", 47, []byte{0, 0, 0, 0}, -1), out + " (new)"},
			{599 * second, Input, packet4or6("192.0.2.1", "10.0.0.1", 47, []byte{0, 0, 0, 0}, -1), back},
		}},
		{"a full table drops what would begin a flow, and nothing else", Options{MaxFlows: 2}, []step{
			{0, Output, udpPacket(me, "192.0.2.1:1"), out},
			{10 * second, Output, udpPacket(me, "192.0.2.1:2"), out},
			{10 * second, Output, udpPacket(me, "192.0.2.1:3"), "dropped: the table of flows is full (new)"},
			{10 * second, Input, udpPacket("192.0.2.1:2", me), back},
			{30 * second, Output, udpPacket(me, "192.0.2.1:3"), out},
		}},
		{"what says more bytes than it has is no packet", Options{}, []step{
			{0, Output, udpPacket(me, peer)[:30], "dropped: filter: the packet says 33 bytes, but only 30 are there"},
			{0, Output, nil, "dropped: ip: no bytes"},
		}},
		{"RFC 9293 §3.5: both sides open at once", Options{}, []step{
			{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out},
			{0, Output, tcpPacket(me, peer, synAck, 0, 10), out + " (invalid)"}, // nothing came yet
		}},
	}
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) { run(t, client(t, s.o), s.steps) })
	}
}

// Rules are asked in order; each field narrows; each is counted.
func TestRules(t *testing.T) {
	f := New(Options{})
	err := f.Set(Forward, Policy{Default: Reject, Rules: []Rule{
		{Name: "no telnet", Protocol: ip.ProtoTCP, DestinationPorts: Ports{From: 23}, Verdict: Reject},
		{Name: "no spoofing", In: "outside", Source: netip.MustParsePrefix("10.1.2.3/8"), Verdict: Drop},
		{Name: "web", Protocol: ip.ProtoTCP, Destination: netip.MustParsePrefix("192.0.2.0/24"), DestinationPorts: Ports{80, 443}, FlagsMask: tcp.SYN | tcp.ACK, FlagsValue: tcp.SYN},
		{Name: "ping", Protocol: ip.ProtoICMP, ICMPTypes: []uint8{icmp.Echo4, icmp.EchoReply4}},
		{Name: "to dmz", Out: "dmz", SourcePorts: Ports{4000, 4001}},
		{Name: "low TTL", Match: func(p *Packet) bool { return p.IP.TTL < 10 }, Verdict: Reject, Answer: Prohibited},
	}})
	if err != nil {
		t.Fatal(err)
	}
	low := udpPacket(me, peer)
	low[8] = 3
	lowFragment := udpPacket(me, peer)
	lowFragment[8], lowFragment[7] = 3, 100
	for _, c := range []struct {
		pkt     []byte
		in, out string
		want    string
	}{
		{tcpPacket(me, "192.0.2.1:23", tcp.SYN, 0, 0), "inside", "outside", "rejected with TCP RST by forward rule 1: no telnet (new)"},
		{tcpPacket(me, "192.0.2.1:23", tcp.RST, 0, 0), "inside", "outside", "dropped by forward rule 1: no telnet (invalid)"},
		{udpPacket(me, peer), "outside", "dmz", "dropped by forward rule 2: no spoofing (new)"},
		{tcpPacket(me, "192.0.2.1:443", tcp.SYN, 0, 0), "inside", "outside", "accepted by forward rule 3: web (new)"},
		{tcpPacket(me, "192.0.3.1:443", tcp.SYN, 0, 0), "inside", "outside", "rejected with TCP RST by the default of forward (new)"},
		{tcpPacket(me, "192.0.2.1:444", tcp.SYN, 0, 0), "inside", "outside", "rejected with TCP RST by the default of forward (new)"},
		{tcpPacket(me, "192.0.2.1:80", tcp.ACK, 0, 0), "inside", "outside", "rejected with TCP RST by the default of forward (invalid)"},
		{icmpPacket("10.0.0.1", "192.0.2.1", icmp.Echo4, 0, 1, nil), "inside", "outside", "accepted by forward rule 4: ping (new)"},
		{udpPacket("10.0.0.1:4001", peer), "inside", "dmz", "accepted by forward rule 5: to dmz (new)"},
		{udpPacket("10.0.0.1:4002", peer), "inside", "dmz", "rejected with ICMP administratively prohibited by the default of forward (new)"},
		{low, "inside", "outside", "rejected with ICMP administratively prohibited by forward rule 6: low TTL (new)"},
		// RFC 1122 §3.2.2: no answer to errors, to the rest of a fragment, to many.
		{icmpPacket("10.0.0.1", "192.0.2.1", icmp.Unreachable4, 3, 0, udpPacket(peer, me)), "inside", "outside", "dropped by the default of forward (invalid)"},
		{lowFragment, "inside", "outside", "dropped by forward rule 6: low TTL (invalid)"},
		{udpPacket(me, "224.0.0.251:5353"), "inside", "outside", "dropped by the default of forward (new)"},
		// RFC 1858: a fragment has no ports to be accepted by.
		{lowFragment, "inside", "dmz", "dropped by forward rule 6: low TTL (invalid)"},
	} {
		if got := f.Check(Forward, c.pkt, c.in, c.out, second).String(); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
	rules, fallback := f.Rules(Forward)
	var counts []uint64
	for _, r := range rules {
		counts = append(counts, r.Packets)
	}
	if fmt.Sprint(counts, fallback.Packets) != "[2 1 1 1 1 3] 6" || rules[0].Bytes != 80 {
		t.Errorf("counted %v %v", counts, fallback)
	}
}

// A rule that could never match, or says two things, is refused by its name.
func TestRulesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		r    Rule
		want string
	}{
		{Rule{Name: "x", Protocol: ip.ProtoICMP, SourcePorts: Ports{From: 1}}, "filter: input rule 1 (x): ports, but ICMP has none"},
		{Rule{Protocol: ip.ProtoTCP, DestinationPorts: Ports{9, 3}}, "filter: input rule 1 (TCP to port 9: accept): destination ports end at 3 before they begin at 9"},
		{Rule{Name: "x", ICMPTypes: []uint8{8}}, "filter: input rule 1 (x): ICMP types, but the protocol is neither ICMP nor ICMPv6"},
		{Rule{Name: "x", FlagsMask: tcp.SYN, FlagsValue: tcp.ACK}, "filter: input rule 1 (x): flags ACK are wanted, but not in the mask"},
		{Rule{Name: "x", Protocol: ip.ProtoUDP, FlagsMask: tcp.SYN}, "filter: input rule 1 (x): TCP flags, but the protocol is UDP"},
		{Rule{Name: "x", Source: netip.MustParsePrefix("::/0"), Destination: netip.MustParsePrefix("10.0.0.0/8")}, "filter: input rule 1 (x): ::/0 and 10.0.0.0/8 are of two versions of IP"},
	} {
		if err := New(Options{}).Set(Input, Policy{Rules: []Rule{c.r}}); err == nil || err.Error() != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

// The list of flows is in the order of their beginnings and tells when each ends.
func TestFlows(t *testing.T) {
	f := client(t, Options{})
	run(t, f, []step{
		{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out},
		{second, Output, udpPacket(me, peer), out},
		{2 * second, Output, icmpPacket("10.0.0.1", "192.0.2.1", icmp.Echo4, 0, 7<<16|1, nil), out},
		{3 * second, Input, tcpPacket(peer, me, synAck, 9, 1), back},
	})
	got := ""
	for _, l := range f.Flows() {
		got += fmt.Sprintf("%d %v %v > %v %s %d/%d until %d\n", l.ID, l.Protocol, l.Source, l.Destination, l.State, l.Sent.Packets, l.Received.Packets, l.Expires/second)
	}
	want := `1 TCP 10.0.0.1:4000 > 192.0.2.1:80 SYN received 1/1 until 1123
2 UDP 10.0.0.1:4000 > 192.0.2.1:80 unreplied 1/0 until 1031
3 ICMP 10.0.0.1:7 > 192.0.2.1:7 unreplied 1/0 until 1032
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if f.Next() != 1031*second {
		t.Errorf("next at %d s", f.Next()/second)
	}
	f.Expire(1031 * second)
	if s := f.Stats(); s.Flows != 2 || s.Created != 3 || s.Expired != 1 {
		t.Errorf("%+v", s)
	}
	f.Flush()
	if f.Stats().Flows != 0 || f.Next() != clock.Never || len(f.flows.byKey) != 0 {
		t.Errorf("flushed, but %+v, next %v, %d keys", f.Stats(), f.Next(), len(f.flows.byKey))
	}
}

// Packets of known flows cost no allocation.
func TestKnownFlowsDoNotAllocate(t *testing.T) {
	f := client(t, Options{})
	f.chain[Input].policy.Rules = append([]Rule{{Match: func(p *Packet) bool { return p.IP.TTL == 0 }}}, f.chain[Input].policy.Rules...)
	f.chain[Input].counts = make([]Counter, 2)
	run(t, f, []step{{0, Output, tcpPacket(me, peer, tcp.SYN, 0, 0), out}, {0, Output, udpPacket(me6, peer6), out}})
	a, b, c := tcpPacket(peer, me, synAck, 9, 1), tcpPacket(me, peer, tcp.ACK, 1, 10), udpPacket(peer6, me6)
	e := icmpPacket("198.51.100.1", "10.0.0.1", icmp.TimeExceeded4, 0, 0, b)
	now := 1000 * second
	if n := testing.AllocsPerRun(100, func() {
		now += second / 100
		for _, s := range [...]struct {
			c Chain
			b []byte
		}{{Input, a}, {Output, b}, {Input, c}, {Input, e}} {
			if r := f.Check(s.c, s.b, "", "", now); r.Verdict != Accept {
				t.Fatal(r)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCheck throws packets at a filter between two that belong together: it
// never panics, its lists stay whole, and it only reads.
func FuzzCheck(f *testing.F) {
	for _, b := range [][]byte{tcpPacket(me, peer, tcp.SYN, 0, 0), tcpPacket(peer, me, synAck, 9, 1),
		udpPacket(me6, peer6), icmpPacket("192.0.2.1", "10.0.0.1", 3, 1, 0, tcpPacket(me, peer, tcp.ACK, 1, 1)),
		icmpPacket("2001:db8::1", "2001:db8::2", icmp.Echo6, 0, 7<<16|1, nil), {0x60, 0, 0, 0, 0, 8, 44, 1}} {
		f.Add(b, b, uint16(3))
	}
	f.Fuzz(func(t *testing.T, a, b []byte, seconds uint16) {
		x := client(t, Options{MaxFlows: 3, Loose: seconds%2 == 0})
		now := 1000 * second
		for i := range 6 {
			for _, pkt := range [][]byte{a, tcpPacket(me, peer, tcp.SYN, 0, 0), b, udpPacket(peer, fmt.Sprintf("10.0.0.1:%d", i+1))} {
				old := string(pkt)
				r := x.Check(Chain(i)%chains, pkt, "eth0", "eth1", now)
				_ = r.String()
				if string(pkt) != old {
					t.Fatal("a packet was written to")
				}
				if err := x.flows.Check(); err != nil {
					t.Fatal(err)
				}
				if n := x.flows.Len(); n > 3 || n != len(x.Flows()) || len(x.flows.byKey) > 2*n {
					t.Fatalf("%d flows, %d listed, %d keys", n, len(x.Flows()), len(x.flows.byKey))
				}
				now += clock.Time(seconds) * second / 8
			}
		}
	})
}

func BenchmarkCheckKnown(b *testing.B) {
	f := client(b, Options{})
	f.Check(Output, tcpPacket(me, peer, tcp.SYN, 0, 0), "", "", second)
	pkt := tcpPacket(peer, me, synAck, 9, 1)
	for b.Loop() {
		f.Check(Input, pkt, "", "", 2*second)
	}
}
