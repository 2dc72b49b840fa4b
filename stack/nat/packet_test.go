package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"peel/clock"
	"peel/stack/packet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

func sourceRoute(b []byte) []byte {
	b = append(append(append([]byte{}, b[:20]...), 131, 7, 4, 192, 0, 2, 9, 0), b[20:]...)
	b[0], b[3] = 0x47, b[3]+8
	repair(b)
	return b
}

// extended puts an IPv6 extension header of eight bytes before the payload.
func extended(b []byte, proto ip.Protocol, fourth byte) []byte {
	b = append(append(append([]byte{}, b[:40]...), b[6], 0, 0, fourth, 0, 0, 0, 0), b[40:]...)
	b[6], b[5] = byte(proto), b[5]+8
	return b
}

// Hostile and broken packets are refused, by name, and left alone.
func TestRefusals(t *testing.T) {
	fragment := udpPacket(ann+":4000", web+":53")
	fragment[6] = 0x20
	repair(fragment)
	bad := icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, udpPacket(outer+":4000", web+":53"))
	bad[22] ^= 1
	badQuote := icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, udpPacket(outer+":4000", web+":53"))
	badQuote[28+10] ^= 1
	binary.BigEndian.PutUint16(badQuote[22:], 0)
	binary.BigEndian.PutUint16(badQuote[22:], ^ip.Sum(0, badQuote[20:]))
	for _, c := range []struct {
		way  string
		pkt  []byte
		want Reason
	}{
		{"out", fragment, Fragment},
		{"out", udpPacket(ann+":4000", web+":53")[:30], Malformed},
		{"out", network(netip.MustParseAddr(ann), netip.MustParseAddr(web), ip.ProtoTCP, make([]byte, 19), 16), Malformed},
		{"out", network(netip.MustParseAddr(ann), netip.MustParseAddr(web), 47, make([]byte, 8), 0), Unsupported},
		{"out", icmpPacket(ann, web, 13, 0, 0, make([]byte, 12)), Unsupported},
		{"out", sourceRoute(udpPacket(ann+":4000", web+":53")), SourceRoute},                    // RFC 7126 §4.3
		{"out", extended(udpPacket(ann6+":4000", web6+":53"), ip.ProtoRouting, 1), SourceRoute}, // RFC 8200 §8.1
		{"out", extended(udpPacket(ann6+":4000", web6+":53"), ip.ProtoAH, 0), Unsupported},      // RFC 4302
		{"in", bad, BadChecksum}, // RFC 5508 REQ-3
		{"in", badQuote, BadChecksum},
		{"in", icmpPacket(web, outer, icmp.Unreachable4, 3, 0, udpPacket(outer+":4000", web+":53")[:24]), Malformed},
	} {
		n := make1(t, base(nil))
		p := wrap(c.pkt)
		r := n.Inbound
		if c.way == "out" {
			r = n.Outbound
		}
		if got := r(p, second); got.Verdict != Dropped || got.Reason != c.want || string(p.Bytes()) != string(c.pkt) || n.Stats().Dropped[c.want] != 1 {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	fw := func(p ip.Protocol, out, in string) func(*Options) {
		return func(o *Options) {
			o.Forwards = append(o.Forwards, Forward{p, netip.MustParseAddrPort(out), netip.MustParseAddrPort(in)})
		}
	}
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Outside = nil }, "nat: no outside address"},
		{func(o *Options) { o.Outside = append(o.Outside, o.Outside[0]) }, "nat: outside address 198.51.100.1 is given twice"},
		{func(o *Options) { o.PortFrom, o.PortTo = 9, 3 }, "nat: ports end at 3 before they begin at 9"},
		{fw(ip.ProtoICMP, outer+":1", ann+":1"), "nat: forward: ICMP has no ports"},
		{fw(ip.ProtoTCP, web+":1", ann+":1"), "nat: forward: 192.0.2.1 is no outside address for 10.0.0.1"},
		{fw(ip.ProtoTCP, outer+":1", ann6+":1"), "nat: forward: 198.51.100.1 is no outside address for fd00::1"},
		{func(o *Options) { fw(ip.ProtoTCP, outer+":1", ann+":1")(o); fw(ip.ProtoTCP, outer+":1", bob+":1")(o) }, "nat: forward: TCP port 198.51.100.1:1 is taken"},
		{func(o *Options) { fw(ip.ProtoTCP, outer+":1", ann+":1")(o); fw(ip.ProtoTCP, outer+":2", ann+":1")(o) }, "nat: forward: TCP port 10.0.0.1:1 has one already"},
	} {
		if _, err := New(base(c.change)); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// RFC 768: a checksum of 0 is none, and one that comes out as 0 is sent as
// 0xffff. RFC 1624 §4: the update has no wrong zero either.
func TestChecksumCorners(t *testing.T) {
	n := make1(t, base(nil))
	b := udpPacket(ann+":4000", web+":53")
	b[26], b[27] = 0, 0
	p := wrap(b)
	if n.Outbound(p, second).Verdict != Translated || p.Bytes()[26] != 0 || p.Bytes()[27] != 0 || !checksums(p.Bytes()).header {
		t.Errorf("% x", p.Bytes())
	}
	for v := range 1 << 16 { // one of them makes the sum come out as 0
		b := udpPacket(ann+":4000", web+":53")
		binary.BigEndian.PutUint16(b[28:], uint16(v))
		repair(b)
		p := wrap(b)
		n.Outbound(p, second)
		if got := checksums(p.Bytes()); !got.transport || !got.header || p.Bytes()[26] == 0 && p.Bytes()[27] == 0 {
			t.Fatalf("payload %#x: %+v % x", v, got, p.Bytes())
		}
		pool.Put(p)
	}
}

// Behind extension headers the ports are found, and checksums right.
func TestExtensionHeaders(t *testing.T) {
	n := make1(t, base(nil))
	for _, proto := range []ip.Protocol{ip.ProtoDestOpts, ip.ProtoRouting} {
		p := wrap(extended(udpPacket(ann6+":4000", web6+":53"), proto, 0))
		if r := n.Outbound(p, second); r.Verdict != Translated || checksums(p.Bytes()) != (sums{true, true, true, true}) {
			t.Errorf("%v: %v, %+v", proto, r, checksums(p.Bytes()))
		}
	}
}

// A damaged packet stays damaged: the receiver has to see it.
func TestWrongChecksumsStayWrong(t *testing.T) {
	n := make1(t, base(nil))
	b := tcpPacket(ann+":4000", web+":80", tcp.SYN)
	b[41] ^= 4
	p := wrap(b)
	if r := n.Outbound(p, second); r.Verdict != Translated || checksums(p.Bytes()) != (sums{true, false, true, true}) {
		t.Errorf("%v %+v", r, checksums(p.Bytes()))
	}
}

// With checksum offload the field holds the pseudo-header's sum: after the
// translation it is that of the new addresses.
func TestPartialChecksums(t *testing.T) {
	n := make1(t, base(nil))
	for _, b := range [][]byte{tcpPacket(ann+":4000", web+":80", tcp.SYN), udpPacket(ann+":4000", web+":53"),
		tcpPacket(ann6+":4000", web6+":80", tcp.SYN), ping("fd00::1", "2001:db8::1", 9), ping(ann, web, 9)} {
		h, _ := ip.Parse(b)
		pseudo := func(h ip.Packet) uint16 {
			if h.Protocol == ip.ProtoICMP {
				return 0
			}
			return ip.PseudoSum(h.Src, h.Dst, h.Protocol, h.Total-h.HeaderLen)
		}
		at := h.HeaderLen + sumAt(h.Protocol)
		binary.BigEndian.PutUint16(b[at:], pseudo(h))
		p := wrap(b)
		p.Checksum, p.SumFrom, p.SumAt = packet.Partial, uint16(h.HeaderLen), uint16(at)
		r := n.Outbound(p, second)
		b = p.Bytes()
		after, _ := ip.Parse(b)
		if r.Verdict != Translated || binary.BigEndian.Uint16(b[at:]) != pseudo(after) || !after.ChecksumOK {
			t.Errorf("%v: %#x, want %#x", r, b[at:at+2], pseudo(after))
		}
		binary.BigEndian.PutUint16(b[at:], ^ip.Sum(0, b[h.HeaderLen:]))
		if !checksums(b).transport {
			t.Errorf("%v: finished, the checksum is wrong", r)
		}
	}
}

// The list is in order and tells all there is to show.
func TestMappings(t *testing.T) {
	n := make1(t, base(func(o *Options) {
		o.Forwards = []Forward{{ip.ProtoTCP, netip.MustParseAddrPort(outer + ":80"), netip.MustParseAddrPort(bob + ":8080")}}
	}))
	run(t, n, []step{
		{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), ""},
		{1 * second, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN|tcp.ACK), ""},
		{1 * second, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), ""},
		{2 * second, "out", tcpPacket(ann+":4000", peer2+":80", tcp.SYN), ""},
		{3 * second, "out", ping(ann, web, 7), ""},
	})
	got := ""
	for _, m := range n.Mappings() {
		got += fmt.Sprintf("%d %v out %d in %d used %d", m.ID, m, m.Out.Packets, m.In.Packets, m.LastUsed/second)
		for _, s := range m.Sessions {
			got += fmt.Sprintf(" [%s %s until %d]", endpoint(s.Remote), s.State, s.Expires/second)
		}
		got += "\n"
	}
	want := `1 TCP 10.0.0.2:8080 = 198.51.100.1:80, forward out 0 in 0 used 0
2 TCP 10.0.0.1:4000 = 198.51.100.1:4000, established out 3 in 1 used 1002 [192.0.2.1:80 established until 8441] [192.0.2.2:80 opening until 1242]
3 ICMP 10.0.0.1:7 = 198.51.100.1:7, active out 1 in 0 used 1003 [192.0.2.1 active until 1063]
`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if n.Next() != 1063*second {
		t.Errorf("next at %d s", n.Next()/second)
	}
	n.Expire(1242 * second)
	if s := n.Stats(); s.Mappings != 2 || s.Sessions != 1 || s.Created != 3 || s.Expired != 2 || s.Out != 4 || s.In != 1 {
		t.Errorf("%+v", s)
	}
	if err := n.AddForward(Forward{ip.ProtoTCP, netip.MustParseAddrPort(outer + ":81"), netip.MustParseAddrPort(ann + ":4000")}, 1242*second); err != nil {
		t.Error(err)
	}
	n.Flush()
	check(t, n)
	if n.Stats().Mappings != 2 || !n.RemoveForward(ip.ProtoTCP, netip.MustParseAddrPort(outer+":81")) || n.RemoveForward(ip.ProtoTCP, netip.MustParseAddrPort(outer+":81")) || n.Next() != clock.Never {
		t.Errorf("%v", n)
	}
}

// A full range is found to be full without asking for each port.
func TestPortsAreFound(t *testing.T) {
	var s ports
	never := func(uint16) bool { return false }
	for i := range 65536 {
		if p, ok := s.find(0, 65535, 40000, never); !ok || int(p) != (40000+i)%65536 {
			t.Fatalf("%d: %d, %v", i, p, ok)
		}
		s.take(uint16((40000 + i) % 65536))
	}
	if p, ok := s.find(0, 65535, 7, never); ok {
		t.Errorf("%d is free", p)
	}
	s.free(65535)
	if p, ok := s.find(1024, 65535, 65535, never); !ok || p != 65535 {
		t.Error(p, ok)
	}
	if p, ok := s.find(1024, 65535, 1024, func(uint16) bool { return true }); ok {
		t.Errorf("%d is reserved", p)
	}
}

// Packets of known flows cost no allocation.
func TestKnownFlowsDoNotAllocate(t *testing.T) {
	for _, filtering := range []Behaviour{EndpointIndependent, AddressDependent, AddressAndPortDependent} {
		n := make1(t, base(func(o *Options) { o.Filtering = filtering }))
		run(t, n, []step{{0, "out", tcpPacket(ann+":4000", web+":80", tcp.SYN), ""}, {0, "out", udpPacket(ann6+":4000", web6+":53"), ""},
			{0, "out", ping(ann, web, 7), ""}, {0, "out", tcpPacket(bob+":4000", outer+":4000", tcp.SYN), ""}})
		steps := []step{
			{0, "out", tcpPacket(ann+":4000", web+":80", tcp.ACK), ""}, {0, "in", tcpPacket(web+":80", outer+":4000", tcp.SYN|tcp.ACK), ""},
			{0, "out", udpPacket(ann6+":4000", web6+":53"), ""}, {0, "in", udpPacket(web6+":53", "["+outer6+"]:4000"), ""},
			{0, "in", pong(web, outer, 7), ""}, {0, "in", icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, tcpPacket(outer+":4000", web+":80", tcp.SYN)), ""},
		}
		if filtering == EndpointIndependent {
			steps = append(steps, step{0, "out", tcpPacket(bob+":4000", outer+":4000", tcp.SYN), ""})
		}
		var packets []*packet.Packet
		for _, s := range steps {
			packets = append(packets, wrap(s.pkt))
		}
		now := 1001 * second
		if a := testing.AllocsPerRun(100, func() {
			now += second / 100
			for i, s := range steps {
				copy(packets[i].Bytes(), s.pkt)
				var r Result
				if s.way == "out" {
					r = n.Outbound(packets[i], now)
				} else {
					r = n.Inbound(packets[i], now)
				}
				if r.Verdict != Translated && r.Verdict != Hairpin {
					t.Fatal(r)
				}
			}
		}); a != 0 {
			t.Errorf("filtering %v: %v allocations", filtering, a)
		}
	}
}

// FuzzTranslate throws packets at a NAT, from both sides: it never panics,
// what it does not translate it does not touch, and checksums that were right
// stay right.
func FuzzTranslate(f *testing.F) {
	for i, b := range [][]byte{
		tcpPacket(ann+":4000", web+":80", tcp.SYN), udpPacket(ann+":4000", web+":53"), udpPacket(web+":53", outer+":4000"), udpPacket(ann+":4000", outer+":5000"),
		udpPacket(ann6+":4000", web6+":53"), udpPacket(web6+":53", "["+outer6+"]:4000"), ping(ann, web, 7), pong(web, outer, 7), ping("fd00::1", "2001:db8::1", 7),
		icmpPacket(web, outer, icmp.Unreachable4, 3, 0, udpPacket(outer+":4000", web+":53")), icmpPacket(bob, web, icmp.Unreachable4, 3, 0, tcpPacket(web+":80", bob+":5000", tcp.ACK)),
		icmpPacket(bob, outer, icmp.Unreachable4, 3, 0, udpPacket(outer+":4000", bob+":5000")),
		icmpPacket("2001:db8:9::1", outer6, icmp.TooBig6, 0, 1280, tcpPacket("["+outer6+"]:4000", web6+":80", tcp.SYN)),
		icmpPacket("203.0.113.1", outer, icmp.TimeExceeded4, 0, 0, ping(outer, web, 7)), sourceRoute(udpPacket(ann+":4000", web+":53")),
	} {
		f.Add(b, i%2 == 0, uint8(i), uint8(i*37))
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool, how, aim uint8) {
		if len(b) > 9000 {
			return
		}
		n := make1(t, base(func(o *Options) {
			o.Mapping, o.Filtering, o.Unknown = Behaviour(how%3), Behaviour(how/3%3), Unknown(how/9%3)
			o.RandomPorts, o.InboundRefresh, o.MaxSessions = how&1 != 0, how&2 != 0, 12
			o.Forwards = []Forward{{ip.ProtoTCP, netip.MustParseAddrPort(outer + ":80"), netip.MustParseAddrPort(bob + ":8080")}}
			x := uint64(how)
			o.Entropy = func() uint64 { x = x*6364136223846793005 + 1; return x >> 20 }
		}))
		known := [][]byte{udpPacket(ann+":4000", web+":53"), udpPacket(bob+":5000", web+":53"), tcpPacket(bob+":5000", web+":80", tcp.SYN), tcpPacket(ann6+":4000", web6+":80", tcp.SYN), ping(ann, web, 7)}
		for _, k := range known {
			n.Outbound(wrap(k), second)
		}
		b = append([]byte{}, b...)
		// Lead it to where something is, or the fuzzer hardly gets there.
		inside := []string{ann, bob, outer, web}
		if len(b) >= 20 && b[0]>>4 == 4 && aim&1 != 0 {
			copy(b[12:], netip.MustParseAddr(inside[aim>>1&3]).AsSlice())
			copy(b[16:], netip.MustParseAddr(inside[aim>>3&3]).AsSlice())
		}
		if fix {
			repair(b)
		}
		for i := range 4 {
			p := wrap(b)
			was := checksums(b)
			var r Result
			if i%2 == 0 {
				r = n.Outbound(p, clock.Time(1+i)*100*second)
			} else {
				r = n.Inbound(p, clock.Time(1+i)*100*second)
			}
			_ = r.String()
			now := checksums(p.Bytes())
			if r.Verdict != Translated && r.Verdict != Hairpin {
				if string(p.Bytes()) != string(b) {
					t.Fatalf("%v, but the bytes changed", r)
				}
			} else if was.header && !now.header || was.transport && !now.transport || was.quotedHeader && !now.quotedHeader || was.quotedTransport && !now.quotedTransport {
				t.Fatalf("%v: checksums %+v became %+v\n% x\n% x", r, was, now, b, p.Bytes())
			}
			check(t, n)
			pool.Put(p)
		}
		n.Expire(clock.Never)
		if check(t, n); n.Stats().Sessions != 0 || n.Stats().Mappings != 1 {
			t.Fatalf("all expired, but %v", n)
		}
	})
}

func BenchmarkOutboundKnown(b *testing.B) {
	n := make1(b, base(nil))
	pkt := tcpPacket(ann+":4000", web+":80", tcp.SYN)
	p := wrap(pkt)
	for b.Loop() {
		copy(p.Bytes(), pkt)
		n.Outbound(p, second)
	}
}
