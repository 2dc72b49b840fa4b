package host_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"peel/stack/host"
	"peel/stack/link"
	"peel/stack/route"
	"peel/wire/arp"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
)

// told gathers what a host decides.
func told(o *host.Options) *[]string {
	var list []string
	o.Observe = func(e host.Event) {
		if e.TCP == nil {
			list = append(list, strings.TrimSpace(e.Host+" "+e.Name+" "+e.Interface+" "+e.Text))
		}
	}
	return &list
}

func has(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

// ping sends one echo request and returns the answer after a while.
func (c *chain) ping(t *testing.T, from int, to string, size int, ttl uint8) (host.Answer, bool) {
	t.Helper()
	g, err := c.hosts[from].OpenPing()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	g.TTL = ttl
	if err := g.Send(netip.MustParseAddr(to), 1, noise(size, 1)); err != nil {
		t.Fatal(err)
	}
	c.q.Run(c.q.Now().Add(10 * time.Second))
	return g.Receive()
}

func TestRFC792_TheWayOfAPing(t *testing.T) {
	c := newChain(t, 4, host.Options{}, link.Shape{Delay: time.Millisecond})
	for ttl, want := range map[uint8]string{1: "10.0.0.2", 2: "10.1.0.2", 3: "10.2.0.2", 4: "10.3.0.2", 64: "10.3.0.2"} {
		a, ok := c.ping(t, 0, "10.3.0.2", 56, ttl)
		if !ok || a.From.String() != want || (a.Error != nil) != (ttl < 4) {
			t.Errorf("TTL %d: %+v, %v", ttl, a, ok)
		}
	}
	// What comes back has crossed three routers.
	if a, _ := c.ping(t, 0, "10.3.0.2", 56, 0); a.TTL != 61 {
		t.Errorf("TTL %d came back, want 61", a.TTL)
	}
}

func TestRFC791_FragmentsOfEverySize(t *testing.T) {
	c := newChain(t, 3, host.Options{}, link.Shape{})
	c.hosts[1].Interface("right").MTU = 620
	for _, size := range []int{0, 1, 592, 593, 1472, 1473, 8000, 65507} {
		a, ok := c.ping(t, 0, "10.2.0.2", size, 0)
		if !ok || a.Error != nil || !bytes.Equal(a.Data, noise(size, 1)) {
			t.Errorf("%d bytes: %d came back, %v, %+v", size, len(a.Data), ok, a.Error)
		}
	}
	if c.hosts[1].Count.FragmentsCreated == 0 || c.hosts[3].Count.ReassemblyOK == 0 {
		t.Errorf("%+v", c.hosts[1].Count)
	}
	c.leftNothing(t)
}

func TestRFC1122_3_3_2_FragmentsThatNeverCome(t *testing.T) {
	c := newChain(t, 1, host.Options{Limits: ip.Limits{Datagrams: 4}}, link.Shape{})
	n := 0
	c.cables[0].AB().SetShape(link.Shape{Loss: link.Loss{Predicate: func(f []byte) bool {
		// Each second fragment is lost.
		if f[20]&0x1f|f[21] != 0 && f[13] == 0 {
			n++
			return true
		}
		return false
	}}})
	// Whoever sent them hears of it when their time is over.
	g, err := c.hosts[0].OpenPing()
	if err != nil {
		t.Fatal(err)
	}
	start := c.q.Now()
	g.Send(netip.MustParseAddr("10.0.0.2"), 1, noise(2000, 1))
	var heard time.Duration
	g.Wake = func() { heard = c.q.Now().Sub(start) }
	c.q.Run(c.q.Now().Add(2 * time.Minute))
	a, ok := g.Receive()
	if !ok || a.Error == nil || a.Error.Type != icmp.TimeExceeded4 || a.Error.Code != 1 || heard < 60*time.Second || heard > 61*time.Second {
		t.Errorf("after %v: %+v, %v", heard, a, ok)
	}
	g.Close()
	// There are never more than four that wait.
	for range 9 {
		c.ping(t, 0, "10.0.0.2", 2000, 0)
	}
	c.cables[0].AB().SetShape(link.Shape{})
	c.q.Run(c.q.Now().Add(2 * time.Minute))
	if _, ok := c.ping(t, 0, "10.0.0.2", 2000, 0); !ok {
		t.Error("no answer on a mended cable")
	}
	if got := c.hosts[1].Count.ReassemblyFails; got != 10 || n != 10 {
		t.Errorf("%d datagrams were given up, %d fragments lost; want 10", got, n)
	}
	c.leftNothing(t)
}

// What IPv6 extension headers ask for (RFC 8200 §4.2, RFC 5095).
func TestRFC8200_4_2_ExtensionHeaders(t *testing.T) {
	for _, x := range []struct {
		name    string
		headers []byte // from the next header field of the IPv6 header on
		answer  string
	}{
		{"an option to skip", []byte{60, 58, 0, 0x1e, 4, 0, 0, 0, 0}, "echo reply"},
		{"padding", []byte{0, 58, 0, 1, 4, 0, 0, 0, 0}, "echo reply"},
		{"an option that drops", []byte{60, 58, 0, 0x5e, 4, 0, 0, 0, 0}, ""},
		{"an option that complains", []byte{60, 58, 0, 0x9e, 4, 0, 0, 0, 0}, "parameter problem"},
		{"a routing header of type 0", []byte{43, 58, 0, 0, 1, 0, 0, 0, 0}, "parameter problem"},
		{"a routing header that is done", []byte{43, 58, 0, 0, 0, 0, 0, 0, 0}, "echo reply"},
		{"an atomic fragment", []byte{44, 58, 0, 0, 0, 0, 0, 0, 7}, "echo reply"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newChain(t, 1, host.Options{}, link.Shape{})
			a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			c.hosts[0].Interface("right").AddAddress(netip.PrefixFrom(a, 64))
			i := c.hosts[1].Interface("left")
			i.AddAddress(netip.PrefixFrom(b, 64))
			c.q.Run(c.q.Now().Add(time.Second))
			echo := []byte{icmp.Echo6, 0, 0, 0, 0, 1, 0, 1}
			sum := ^ip.Sum(ip.PseudoSum(a, b, ip.ProtoICMPv6, len(echo)), echo)
			echo[2], echo[3] = byte(sum>>8), byte(sum)
			body := append(x.headers[1:len(x.headers):len(x.headers)], echo...)
			frame := append([]byte{}, i.MAC[:]...)
			frame = append(frame, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(body)), x.headers[0], 64)
			frame = append(append(frame, a.AsSlice()...), b.AsSlice()...)
			frame = append(frame, body...)
			answer := ""
			c.watch(func(h link.Hop) {
				if f := h.Packet.Bytes(); h.Verdict == link.Delivered && h.Where == "h0:right" && f[20] == 58 {
					if m, err := icmp.Parse(f[54:], true); err == nil && (m.IsError() || m.Type == icmp.EchoReply6) {
						answer, _, _ = strings.Cut(m.String(), ":")
						answer, _, _ = strings.Cut(answer, " id")
					}
				}
			})
			p := c.pool.Get(len(frame))
			copy(p.Extend(len(frame)), frame)
			i.Receive(p)
			c.q.Run(c.q.Now().Add(time.Second))
			if answer != x.answer {
				t.Errorf("answered with %q, want %q", answer, x.answer)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	var o host.Options
	list := told(&o)
	c := newChain(t, 2, o, link.Shape{})
	p := netip.MustParsePrefix
	for _, r := range []route.Route{{Prefix: p("10.1.0.2/32"), Kind: route.Blackhole, Metric: 9},
		{Prefix: p("192.0.2.0/24"), Kind: route.Unreachable}, {Prefix: p("198.51.100.0/24"), Kind: route.Prohibit}} {
		if err := c.hosts[1].Routes.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	for _, dst := range []string{"10.1.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"} {
		if err := c.hosts[0].Routes.Add(route.Route{Prefix: p(dst), Gateway: netip.MustParseAddr("10.0.0.2"), Interface: "right"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		dst  string
		code int // of "unreachable"; less than 0 is silence
	}{{"10.1.0.2", -1}, {"192.0.2.1", 1}, {"198.51.100.1", 13}, {"203.0.113.1", 0}} {
		a, ok := c.ping(t, 0, x.dst, 56, 0)
		if ok != (x.code >= 0) || ok && (a.Error == nil || a.Error.Type != icmp.Unreachable4 || int(a.Error.Code) != x.code) {
			t.Errorf("%s: %+v, %v; want code %d", x.dst, a, ok, x.code)
		}
	}
	if !has(*list, "h1 drop left black hole: blackhole 10.1.0.2/32") {
		t.Errorf("told: %v", *list)
	}
	// The longest prefix wins over the metric, and says over what.
	if !has(*list, "h0 route right 10.1.0.2: 10.1.0.0/24 via 10.0.0.2 dev right, over 10.1.0.0/16") {
		t.Errorf("told: %v", *list)
	}
	// An interface that is down takes its routes along.
	c.hosts[0].Interface("right").SetUp(false)
	if _, err := c.hosts[0].Source(netip.MustParseAddr("10.1.0.2")); err != host.ErrUnreachable {
		t.Errorf("with the interface down: %v", err)
	}
}

func TestRFC3704_ReversePath(t *testing.T) {
	for mode, want := range map[host.ReversePath]uint64{host.Off: 0, host.Loose: 1, host.Strict: 2} {
		c := newChain(t, 2, host.Options{}, link.Shape{})
		r := c.hosts[1]
		r.Options.ReversePath = mode
		// To a router from the left: from where it should, from the right,
		// and from nowhere.
		for _, src := range []string{"10.0.0.1", "10.1.0.2", "192.0.2.1"} {
			q := c.pool.Get(28)
			b := q.Extend(28)
			copy(b, []byte{0x45, 0, 0, 28, 0, 1, 0, 0, 9, 17, 0, 0})
			s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr("10.1.0.2").As4()
			copy(b[12:], s[:])
			copy(b[16:], d[:])
			copy(b[20:], []byte{0, 9, 0, 9, 0, 8, 0, 0})
			sum := ^ip.Sum(0, b[:20])
			b[10], b[11] = byte(sum>>8), byte(sum)
			i := r.Interface("left")
			e := q.Prepend(ethernet.HeaderLen)
			copy(e, i.MAC[:])
			e[12], e[13] = 8, 0
			i.Receive(q)
		}
		if got := r.Count.ReversePathDrops; got != want {
			t.Errorf("mode %d: %d dropped, want %d", mode, got, want)
		}
	}
}

// An entry of the neighbour table goes its way (RFC 4861 §7.3).
func TestRFC4861_7_3_NeighbourStates(t *testing.T) {
	var o host.Options
	list := told(&o)
	c := newChain(t, 1, o, link.Shape{Delay: time.Millisecond})
	i := c.hosts[0].Interface("right")
	state := func() string {
		n := i.Neighbours()
		if len(n) != 1 {
			return fmt.Sprint(len(n), " entries")
		}
		return n[0].State.String()
	}
	send := func() {
		u, err := c.hosts[0].ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:9"))
		if err != nil {
			t.Fatal(err)
		}
		u.Send([]byte("x"), u.Peer())
		u.Close()
	}
	at := func(d time.Duration, want string) {
		t.Helper()
		c.q.Run(c.q.Now().Add(d))
		if got := state(); got != want {
			t.Errorf("%v later: %s, want %s", d, got, want)
		}
	}
	// The announcement of the other's address makes no entry here.
	at(time.Second, "0 entries")
	send()
	at(0, "INCOMPLETE")
	at(2*time.Millisecond, "REACHABLE")
	at(30*time.Second, "STALE")
	send()
	at(0, "DELAY")
	at(5*time.Second, "PROBE")
	at(2*time.Millisecond, "REACHABLE")
	at(31*time.Second, "STALE")
	at(61*time.Second, "0 entries")
	// Nobody there: three questions, a second apart.
	c.cables[0].SetUp(false)
	send()
	at(2900*time.Millisecond, "INCOMPLETE")
	at(200*time.Millisecond, "FAILED")
	if c.hosts[0].Count.NeighbourFailures != 1 || !has(*list, "the next hop to 10.0.0.2 does not answer") {
		t.Errorf("failures %d, told %v", c.hosts[0].Count.NeighbourFailures, *list)
	}
	c.leftNothing(t)
}

// Two hosts with one address: both learn of it (ARP-CONFLICT).
func TestRFC5227_AddressConflict(t *testing.T) {
	var o host.Options
	list := told(&o)
	c := newChain(t, 1, o, link.Shape{})
	c.q.Run(c.q.Now().Add(time.Second))
	if err := c.hosts[1].Interface("left").AddAddress(netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	c.q.Run(c.q.Now().Add(time.Second))
	c.q.Run(c.q.Now().Add(time.Minute))
	said := 0
	c.watch(func(h link.Hop) {
		if h.Verdict == link.Sent {
			said++
		}
	})
	// Each defends it, and lets it be then.
	c.q.Run(c.q.Now().Add(time.Minute))
	if said != 0 || !has(*list, "h1 arp.conflict left 02:00:00:00:00:01 also claims 10.0.0.1") {
		t.Errorf("%d frames a minute later; told: %v", said, *list)
	}
	if !has(*list, "h0 arp.conflict right 02:00:00:00:00:02 also claims 10.0.0.1") {
		t.Errorf("told: %v", *list)
	}
}

// An address that somebody else has is given up when it is new, and kept when
// it is not (RFC 4862 §5.4.5).
func TestRFC4862_5_4_5_DuplicateAddress(t *testing.T) {
	var o host.Options
	list := told(&o)
	c := newChain(t, 1, o, link.Shape{Delay: time.Millisecond})
	a := netip.MustParsePrefix("2001:db8::1/64")
	for n, name := range []string{"right", "left"} {
		if err := c.hosts[n].Interface(name).AddAddress(a); err != nil {
			t.Fatal(err)
		}
		c.q.Run(c.q.Now().Add(10 * time.Second))
	}
	if !c.hosts[0].Local(a.Addr()) || c.hosts[1].Local(a.Addr()) || !has(*list, "h1 ndp.duplicate left 2001:db8::1 is taken: given up") {
		t.Errorf("first %v, second %v; told %v", c.hosts[0].Local(a.Addr()), c.hosts[1].Local(a.Addr()), *list)
	}
}

// A new MAC for an old address is taken from its announcement (failover).
func TestRFC826_AnnouncementUpdatesTheTable(t *testing.T) {
	c := newChain(t, 1, host.Options{}, link.Shape{})
	if _, ok := c.ping(t, 0, "10.0.0.2", 1, 0); !ok {
		t.Fatal("no answer")
	}
	i := c.hosts[0].Interface("right")
	m := arp.Message{Operation: arp.Request, SenderMAC: ethernet.MAC{2, 9, 9, 9, 9, 9}, SenderIP: netip.MustParseAddr("10.0.0.2"), TargetIP: netip.MustParseAddr("10.0.0.2")}
	p := c.pool.Get(64)
	e := p.Extend(ethernet.HeaderLen)
	copy(e, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 9, 9, 9, 9, 9, 8, 6})
	p.Append(m.AppendTo(nil))
	i.Receive(p)
	if n := i.Neighbours(); n[0].MAC != m.SenderMAC {
		t.Errorf("after the announcement: %+v", n)
	}
}

// ICMP errors are bounded (RFC 1812 §4.3.2.8), and none answers an error
// (RFC 1122 §3.2.2).
func TestRFC1812_4_3_2_8_ErrorsAreBounded(t *testing.T) {
	c := newChain(t, 1, host.Options{ICMPRate: 10}, link.Shape{})
	u, err := c.hosts[0].ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:9"))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		u.Send([]byte("x"), u.Peer())
		c.q.Run(c.q.Now().Add(time.Millisecond))
	}
	got := c.hosts[1].Count
	if got.ICMPOut < 10 || got.ICMPOut > 20 || got.ICMPLimited != 1000-got.ICMPOut {
		t.Errorf("%d errors in a second, %d withheld", got.ICMPOut, got.ICMPLimited)
	}
	u.Close()
}

// A transmit queue that is full drops, and counts it.
func TestTransmitQueue(t *testing.T) {
	c := newChain(t, 1, host.Options{}, link.Shape{Rate: 1e6, Queue: link.QueueLimit{Packets: 10}})
	c.ping(t, 0, "10.0.0.2", 1, 0)
	u, err := c.hosts[0].ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:9"))
	if err != nil {
		t.Fatal(err)
	}
	before := c.cables[0].AB().Counters().QueueFull
	for range 50 {
		u.Send(noise(1000, 1), u.Peer())
	}
	// Ten wait, and one is on the cable.
	if n := c.cables[0].AB().Counters().QueueFull - before; n != 39 {
		t.Errorf("%d were dropped, want 39", n)
	}
	u.Close()
	c.q.Run(c.q.Now().Add(time.Minute))
	c.leftNothing(t)
}

// A path's MTU that ICMP told is forgotten after ten minutes (RFC 8201 §5.3).
func TestRFC8201_5_3_PathMTUExpires(t *testing.T) {
	c := newChain(t, 2, host.Options{}, link.Shape{})
	c.hosts[1].Interface("right").MTU = 1300
	send := func() error {
		u, err := c.hosts[0].ListenUDP(netip.AddrPort{}, netip.MustParseAddrPort("10.1.0.2:9"))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		u.DontFragment = true
		err = u.Send(noise(1400, 1), u.Peer())
		c.q.Run(c.q.Now().Add(time.Second))
		return err
	}
	if err := send(); err != nil { // learns
		t.Error(err)
	}
	if err := send(); err != host.ErrTooBig {
		t.Errorf("after ICMP: %v", err)
	}
	c.q.Run(c.q.Now().Add(10 * time.Minute))
	if err := send(); err != nil {
		t.Errorf("ten minutes later: %v", err)
	}
}

// Taps tell the way of one packet, and what became of it.
func TestTheWayOfAPacket(t *testing.T) {
	c := newChain(t, 3, host.Options{}, link.Shape{Delay: time.Millisecond})
	c.ping(t, 0, "10.2.0.2", 1, 0)
	rec := link.NewRecorder(1 << 20)
	c.trace.Attach(rec)
	for _, h := range c.hosts {
		h.Trace = c.trace
	}
	c.ping(t, 0, "10.2.0.2", 1, 2)
	var story []string
	for n := range rec.Len() {
		s := rec.At(n)
		story = append(story, fmt.Sprintf("%d %s %v %s", s.ID, s.Where, s.Verdict, s.Reason))
	}
	want := []string{
		"1 h0:right sent ", "1 h1:left delivered ", "1 h1:left forwarded by right to 10.1.0.2", "1 h1:right sent ", "1 h2:left delivered ",
		"1 h2:left dropped time exceeded: hop limit exceeded in transit",
		"2 h2:left sent ", "2 h1:right delivered ", "2 h1:right forwarded by left to 10.0.0.1", "2 h1:left sent ", "2 h0:right delivered ",
	}
	for n := range story {
		story[n] = strings.TrimRight(story[n], " ")
	}
	for n := range want {
		want[n] = strings.TrimRight(want[n], " ")
	}
	if !slices.Equal(story, want) {
		t.Errorf("the story:\n%s\nwant:\n%s", strings.Join(story, "\n"), strings.Join(want, "\n"))
	}
}

// The source address fits the way and the scope (RFC 6724 §5, rules 2, 5, 8).
func TestRFC6724_5_SourceAddress(t *testing.T) {
	c := newChain(t, 2, host.Options{}, link.Shape{})
	h := c.hosts[1]
	for name, addrs := range map[string][]string{"left": {"2001:db8:1::2/64", "fe80::2/64"}, "right": {"2001:db8:2::1/64", "fe80::1/64"}} {
		for _, a := range addrs {
			if err := h.Interface(name).AddAddress(netip.MustParsePrefix(a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.Routes.Add(route.Route{Prefix: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fe80::9"), Interface: "right"}); err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]string{"10.0.0.1": "10.0.0.2", "10.1.0.2": "10.1.0.1", "2001:db8:1::77": "2001:db8:1::2", "2001:db8:2::77": "2001:db8:2::1",
		"2001:db8:f::1": "2001:db8:2::1", "fe80::77%left": "fe80::2", "fe80::77%right": "fe80::1", "10.1.0.1": "10.1.0.1"} {
		if got, err := h.Source(netip.MustParseAddr(dst)); err != nil || got.String() != want {
			t.Errorf("to %s from %v, %v; want %s", dst, got, err, want)
		}
	}
}

func TestTheTableOfSockets(t *testing.T) {
	c := newChain(t, 1, host.Options{Ports: [2]uint16{40000, 40000}}, link.Shape{Delay: 5 * time.Millisecond})
	l, err := c.hosts[1].Listen(netip.MustParseAddrPort("[::]:80"), 16, nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := c.hosts[1].ListenUDP(netip.MustParseAddrPort("10.0.0.2:53"), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.hosts[0].Dial(netip.AddrPort{}, netip.MustParseAddrPort("10.0.0.2:80"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.q.Run(c.q.Now().Add(time.Second))
	s.Write(c.q.Now(), []byte("hello"))
	s.Flush()
	c.q.Run(c.q.Now().Add(7 * time.Millisecond))
	for n, want := range []string{`Netid  State        Recv-Q  Send-Q  Local           Peer         Timer     Details
tcp    ESTABLISHED  0       5       10.0.0.1:40000  10.0.0.2:80  on 208ms  cubic timestamps,sack,wscale rtt 15ms mss 1448 cwnd 14480
`, `Netid  State        Recv-Q  Send-Q  Local        Peer            Timer  Details
tcp    ESTABLISHED  5       0       10.0.0.2:80  10.0.0.1:40000         cubic timestamps,sack,wscale rtt 10ms mss 1448 cwnd 14480
tcp    LISTEN       1       16      [::]:80      *                      
udp    UNCONN       0       0       10.0.0.2:53  *                      
`} {
		if got := host.FormatSockets(c.hosts[n].Sockets(), c.q.Now()); got != want {
			t.Errorf("host %d:\n%s\nwant:\n%s", n, got, want)
		}
	}
	l.Close()
	u.Close()
}
