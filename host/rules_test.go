package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/ethernet"
	"peel/icmp"
	"peel/ip"
	"peel/packet"
	"peel/tcp"
)

// rig is a host with one interface, whose packets are caught, on a queue.
type rig struct {
	t    *testing.T
	q    clock.Queue
	pool packet.Pool
	h    *Host
	eth  *Interface
	out  []caught
	n    uint64
}

// caught is a TCP segment that the host sent.
type caught struct {
	tcp.Segment
	at      clock.Time
	to      netip.AddrPort
	ecn     byte
	dontCut bool
}

var (
	ownMAC  = ethernet.MAC{2, 0, 0, 0, 0, 1}
	peerMAC = ethernet.MAC{2, 0, 0, 0, 0, 2}
	own     = netip.MustParseAddr("192.0.2.1")
	peer    = netip.MustParseAddr("192.0.2.2")
	router  = netip.MustParseAddr("192.0.2.254")
)

func newRig(t *testing.T, o Options) *rig {
	r := &rig{t: t}
	r.q.Advance(clock.Time(time.Hour))
	r.h = New("h", &r.q, &r.pool, func() uint64 { r.n += 0x9e3779b97f4a7c15; x := r.n; x ^= x >> 31; return x * 0xbf58476d1ce4e5b9 }, o)
	r.eth = r.h.AddInterface("eth0", ownMAC, 1500)
	if err := r.eth.AddAddress(netip.PrefixFrom(own, 24)); err != nil {
		t.Fatal(err)
	}
	r.eth.SetNeighbour(peer, peerMAC)
	r.eth.SetNeighbour(router, peerMAC)
	r.eth.Attach(r)
	r.out = nil
	return r
}

// Send implements Sender.
func (r *rig) Send(p *packet.Packet) {
	b := append([]byte(nil), p.Bytes()...)
	p.Release()
	k, err := ip.Parse(b[ethernet.HeaderLen:])
	if err != nil || k.Protocol != ip.ProtoTCP {
		return
	}
	b = b[ethernet.HeaderLen:]
	if ip.Sum(ip.PseudoSum(k.Src, k.Dst, ip.ProtoTCP, len(b)-k.HeaderLen), b[k.HeaderLen:]) != 0xffff {
		r.t.Fatal("wrong checksum")
	}
	seg, err := tcp.Parse(b[k.HeaderLen:])
	if err != nil {
		r.t.Fatal(err)
	}
	r.out = append(r.out, caught{seg, r.q.Now(), netip.AddrPortFrom(k.Dst, seg.DestinationPort()), b[1] & 3, b[6]&0x40 != 0})
}

// segment is one that the peer sends.
type segment struct {
	from, to uint16
	flags    tcp.Flags
	seq, ack uint32
	opts     []byte
	data     string
	dst      netip.Addr // own
}

func (r *rig) input(s segment) {
	dst := own
	if s.dst.IsValid() {
		dst = s.dst
	}
	head := 20 + len(s.opts)
	b := make([]byte, ethernet.HeaderLen+20+head, ethernet.HeaderLen+20+head+len(s.data))
	b = append(b, s.data...)
	v := b[ethernet.HeaderLen+20:]
	binary.BigEndian.PutUint16(v, s.from)
	binary.BigEndian.PutUint16(v[2:], s.to)
	binary.BigEndian.PutUint32(v[4:], s.seq)
	binary.BigEndian.PutUint32(v[8:], s.ack)
	binary.BigEndian.PutUint16(v[12:], uint16(head/4)<<12|uint16(s.flags))
	binary.BigEndian.PutUint16(v[14:], 65535)
	copy(v[20:], s.opts)
	binary.BigEndian.PutUint16(v[16:], ^ip.Sum(ip.PseudoSum(peer, dst, ip.ProtoTCP, len(v)), v))
	r.frame(b, dst, ip.ProtoTCP, peer)
}

// frame puts IP and Ethernet headers before a payload and gives it to the host.
func (r *rig) frame(b []byte, dst netip.Addr, proto ip.Protocol, src netip.Addr) {
	copy(b, ownMAC[:])
	copy(b[6:], peerMAC[:])
	b[12], b[13] = 8, 0
	header4(b[ethernet.HeaderLen:], src, dst, proto)
	p := r.pool.Get(len(b))
	p.Append(b)
	r.eth.Receive(p)
}

func header4(b []byte, src, dst netip.Addr, proto ip.Protocol) {
	b[0], b[8], b[9] = 0x45, 64, byte(proto)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b[:20]))
}

// icmp sends an ICMP error of a router's that quotes a segment.
func (r *rig) icmp(typ, code uint8, extra uint32, local, remote netip.AddrPort, seq uint32) {
	b := make([]byte, ethernet.HeaderLen+20+8+20+8)
	m := b[ethernet.HeaderLen+20:]
	m[0], m[1] = typ, code
	binary.BigEndian.PutUint32(m[4:], extra)
	header4(m[8:], local.Addr(), remote.Addr(), ip.ProtoTCP)
	binary.BigEndian.PutUint16(m[10:], 1500) // the length of what was quoted
	binary.BigEndian.PutUint16(m[28:], local.Port())
	binary.BigEndian.PutUint16(m[30:], remote.Port())
	binary.BigEndian.PutUint32(m[32:], seq)
	binary.BigEndian.PutUint16(m[2:], ^ip.Sum(0, m))
	r.frame(b, own, ip.ProtoICMP, router)
}

func (r *rig) run(d time.Duration) { r.q.Run(r.q.Now().Add(d)) }

// sent takes the one segment that was sent, with these flags.
func (r *rig) sent(flags tcp.Flags) caught {
	r.t.Helper()
	if len(r.out) != 1 || r.out[0].Flags() != flags {
		r.t.Fatalf("sent %s; want one of %v", r.list(), flags)
	}
	g := r.out[0]
	r.out = nil
	return g
}

func (r *rig) silent() {
	r.t.Helper()
	if len(r.out) > 0 {
		r.t.Fatalf("sent %s; want nothing", r.list())
	}
}

func (r *rig) list() string {
	var v []string
	for _, g := range r.out {
		v = append(v, fmt.Sprintf("[%v seq %d ack %d len %d]", g.Flags(), g.Seq(), g.Ack(), len(g.Payload())))
	}
	return strings.Join(v, " ")
}

func (r *rig) listen(port uint16, backlog int) *Listener {
	r.t.Helper()
	l, err := r.h.Listen(netip.AddrPortFrom(own, port), backlog, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// handshake opens a connection from a port of the peer's to a listener, and
// returns the SYN-ACK.
func (r *rig) handshake(from, to uint16, seq uint32, opts []byte) caught {
	r.t.Helper()
	r.input(segment{from: from, to: to, flags: tcp.SYN, seq: seq, opts: opts})
	g := r.sent(tcp.SYN | tcp.ACK)
	r.input(segment{from: from, to: to, flags: tcp.ACK, seq: seq + 1, ack: g.Seq() + 1})
	return g
}

// RFC 9293 §3.10.7.1: what comes to no connection is answered with a RST that
// its sender accepts, but for a RST.
func TestResetForClosed(t *testing.T) {
	r := newRig(t, Options{})
	r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 5, ack: 77, data: "abc"})
	if g := r.sent(tcp.RST); g.Seq() != 77 {
		t.Error("seq", g.Seq())
	}
	for _, c := range []struct {
		flags tcp.Flags
		data  string
		ack   uint32
	}{{tcp.SYN, "", 1001}, {tcp.FIN, "ab", 1003}, {tcp.SYN | tcp.FIN, "ab", 1004}, {0, "", 1000}} {
		r.input(segment{from: 9, to: 80, flags: c.flags, seq: 1000, data: c.data})
		if g := r.sent(tcp.RST | tcp.ACK); g.Seq() != 0 || g.Ack() != c.ack {
			t.Errorf("%v: seq %d ack %d", c.flags, g.Seq(), g.Ack())
		}
	}
	r.input(segment{from: 9, to: 80, flags: tcp.RST, seq: 1000})
	r.input(segment{from: 9, to: 80, flags: tcp.RST | tcp.ACK, seq: 1000, ack: 4})
	// RFC 9293 §3.9.2.3 MUST-57: nothing to what was for many.
	r.input(segment{from: 9, to: 80, flags: tcp.SYN, dst: netip.MustParseAddr("192.0.2.255")})
	r.input(segment{from: 9, to: 80, flags: tcp.SYN, dst: netip.MustParseAddr("224.0.0.1")})
	r.silent()
	r = newRig(t, Options{Silent: true})
	r.input(segment{from: 9, to: 80, flags: tcp.SYN})
	r.silent()
}

// RFC 9293 §3.10.7.2: LISTEN.
func TestListen(t *testing.T) {
	r := newRig(t, Options{})
	l := r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: tcp.RST})
	r.input(segment{from: 9, to: 80, flags: tcp.FIN})
	r.silent()
	r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 1, ack: 500})
	if g := r.sent(tcp.RST); g.Seq() != 500 {
		t.Error("seq", g.Seq())
	}
	r.input(segment{from: 9, to: 80, flags: tcp.SYN | tcp.ACK, seq: 1, ack: 600})
	if g := r.sent(tcp.RST); g.Seq() != 600 {
		t.Error("seq", g.Seq())
	}
	r.handshake(9, 80, 100, nil)
	s := l.Accept()
	if s == nil || s.State() != tcp.Established || l.Accept() != nil {
		t.Fatal("not accepted, once")
	}
	if _, remote := s.Ends(); remote != netip.AddrPortFrom(peer, 9) {
		t.Error(remote)
	}
	if _, err := r.h.Listen(netip.AddrPortFrom(own, 80), 0, nil); err != ErrInUse {
		t.Error("a second listener:", err)
	}
	// A reset of the half-open one frees its place.
	r.input(segment{from: 10, to: 80, flags: tcp.SYN, seq: 5})
	r.out = nil
	if l.half != 1 {
		t.Error("half-open:", l.half)
	}
	r.input(segment{from: 10, to: 80, flags: tcp.RST, seq: 6})
	if l.half != 0 || len(r.h.tcps) != 1 {
		t.Error("half-open:", l.half, "connections:", len(r.h.tcps))
	}
	// One that is not accepted is reset when the listener closes; the others stay.
	g := r.handshake(11, 80, 100, nil)
	l.Close()
	if x := r.sent(tcp.RST | tcp.ACK); x.Seq() != g.Seq()+1 || x.to.Port() != 11 {
		t.Error("RST", x.Seq(), x.to)
	}
	if s.State() != tcp.Established {
		t.Error("the accepted one is", s.State())
	}
}

// The backlog is full: SYNs and last ACKs are dropped, so that they come again;
// or the latter reset.
func TestBacklogOverflow(t *testing.T) {
	r := newRig(t, Options{})
	l := r.listen(80, 1)
	r.input(segment{from: 2, to: 80, flags: tcp.SYN, seq: 100})
	two := r.sent(tcp.SYN | tcp.ACK)
	r.handshake(1, 80, 100, nil)
	r.input(segment{from: 3, to: 80, flags: tcp.SYN, seq: 100})
	r.silent()
	if r.h.Count.ListenOverflows != 1 || r.h.Count.ListenDrops != 1 {
		t.Errorf("%+v", r.h.Count)
	}
	r.input(segment{from: 2, to: 80, flags: tcp.ACK, seq: 101, ack: two.Seq() + 1})
	r.silent()
	r.run(time.Second)
	if again := r.sent(tcp.SYN | tcp.ACK); again.Seq() != two.Seq() {
		t.Error("another SYN-ACK")
	}
	if l.Accept() == nil {
		t.Fatal("nothing to accept")
	}
	r.input(segment{from: 2, to: 80, flags: tcp.ACK, seq: 101, ack: two.Seq() + 1})
	if s := l.Accept(); s == nil || s.State() != tcp.Established {
		t.Fatal("the second did not get in")
	}

	r = newRig(t, Options{ResetOnOverflow: true})
	r.listen(80, 1)
	r.input(segment{from: 2, to: 80, flags: tcp.SYN, seq: 100})
	two = r.sent(tcp.SYN | tcp.ACK)
	r.handshake(1, 80, 100, nil)
	r.input(segment{from: 2, to: 80, flags: tcp.ACK, seq: 101, ack: two.Seq() + 1})
	if g := r.sent(tcp.RST | tcp.ACK); g.Seq() != two.Seq()+1 || g.to.Port() != 2 {
		t.Error("RST", g.Seq(), g.to)
	}
}

// options of a SYN: MSS 1400, SACK, window scale 5, and a timestamp.
func synOptions(tsval uint32) []byte {
	b := []byte{2, 4, 1400 >> 8, 1400 & 255, 4, 2, 3, 3, 5, 1}
	return append(b, stampOption(tsval, 0)...)
}

func stampOption(val, ecr uint32) []byte {
	b := []byte{8, 10}
	b = binary.BigEndian.AppendUint32(b, val)
	return binary.BigEndian.AppendUint32(b, ecr)
}

// RFC 4987 §3.6: with the SYN queue full, nothing is kept; the options come back
// in the timestamp, the MSS in the number.
func TestSYNCookies(t *testing.T) {
	for _, tsval := range []uint32{7, 0x7fffffff, 0xf0000000} {
		r := newRig(t, Options{SynBacklog: -1, TCP: tcp.Config{ECN: true}})
		l := r.listen(80, 0)
		r.input(segment{from: 9, to: 80, flags: tcp.SYN | tcp.ECE | tcp.CWR, seq: 100, opts: synOptions(tsval)})
		g := r.sent(tcp.SYN | tcp.ACK | tcp.ECE)
		o := g.Options()
		if len(r.h.tcps) != 0 || l.half != 0 || r.h.Count.SynCookiesSent != 1 {
			t.Fatal("something is kept")
		}
		if o.MSS != 1460 || !o.SACKPermitted || o.WindowScale != 7 || o.TSEcr != tsval || g.Ack() != 101 {
			t.Errorf("SYN-ACK options %+v, ack %d", o, g.Ack())
		}
		r.run(200 * time.Millisecond)
		r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 101, ack: g.Seq() + 1, opts: append([]byte{1, 1}, stampOption(tsval+200, o.TSVal)...), data: "hello"})
		s := l.Accept()
		if s == nil {
			t.Fatalf("TSval %x: not accepted; %+v; sent %s", tsval, r.h.Count, r.list())
		}
		i := s.Info()
		if i.Options != "timestamps sack wscale ecn " || i.MSS != 1360-12 || i.SendWindow != 65535<<5 {
			t.Errorf("TSval %x: %q, MSS %d, window %d", tsval, i.Options, i.MSS, i.SendWindow)
		}
		var b [9]byte
		if n := s.Read(b[:], r.q.Now()); string(b[:n]) != "hello" {
			t.Errorf("read %q", b[:n])
		}
		if a := r.sent(tcp.ACK); a.Ack() != 106 {
			t.Error("ack", a.Ack())
		}
	}
}

// Without timestamps only the MSS comes back: the greatest of the eight that
// is not greater.
func TestSYNCookieMSS(t *testing.T) {
	for _, c := range []struct{ mss, want int }{{216, 216}, {535, 216}, {536, 536}, {1300, 1220}, {1459, 1440}, {1460, 1460}, {9000, 1460}, {0, 536}} {
		r := newRig(t, Options{SynBacklog: -1})
		l := r.listen(80, 0)
		var opts []byte
		if c.mss > 0 {
			opts = []byte{2, 4, byte(c.mss >> 8), byte(c.mss)}
		}
		g := r.handshake(9, 80, 100, opts)
		if o := g.Options(); o.Timestamps || o.SACKPermitted || o.WindowScale >= 0 {
			t.Errorf("unasked: %+v", o)
		}
		s := l.Accept()
		if s == nil {
			t.Fatal("not accepted")
		}
		if i := s.Info(); i.MSS != c.want || i.Options != "" {
			t.Errorf("MSS %d of %d, %q", i.MSS, c.mss, i.Options)
		}
	}
}

// RFC 4987 §3.6: a cookie holds for a minute at least and two at most, for whom
// it was made; nobody can make one up.
func TestSYNCookieForgery(t *testing.T) {
	for _, c := range []struct {
		rule string
		wait time.Duration
		from uint16
		seq  uint32
		ack  uint32 // added
		ok   bool
	}{
		{"at once", 0, 9, 101, 0, true},
		{"after 59 s", 59 * time.Second, 9, 101, 0, true},
		{"after two minutes", 2 * time.Minute, 9, 101, 0, false},
		{"after 32 minutes, when the minutes in it are the same again", 32 * time.Minute, 9, 101, 0, false},
		{"of another port", 0, 10, 101, 0, false},
		{"with another number", 0, 9, 102, 0, false},
		{"guessed", 0, 9, 101, 1, false},
		{"with another MSS", 0, 9, 101, 1 << 24, false},
	} {
		r := newRig(t, Options{SynBacklog: -1})
		l := r.listen(80, 0)
		r.input(segment{from: 9, to: 80, flags: tcp.SYN, seq: 100, opts: []byte{2, 4, 5, 0xb4}})
		g := r.sent(tcp.SYN | tcp.ACK)
		r.run(c.wait)
		r.input(segment{from: c.from, to: 80, flags: tcp.ACK, seq: c.seq, ack: g.Seq() + 1 + c.ack})
		if ok := l.Accept() != nil; ok != c.ok {
			t.Errorf("%s: accepted %v", c.rule, ok)
		}
		if !c.ok {
			if x := r.sent(tcp.RST); x.Seq() != g.Seq()+1+c.ack || r.h.Count.SynCookiesFailed != 1 {
				t.Errorf("%s: RST %d", c.rule, x.Seq())
			}
		}
	}
	// Before any cookie was sent, none is believed.
	r := newRig(t, Options{})
	r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 101, ack: 5})
	r.sent(tcp.RST)
	if r.h.Count.SynCookiesFailed != 0 {
		t.Error("a cookie was looked for")
	}
	// RFC 4987 §3.6 is a choice.
	r = newRig(t, Options{SynBacklog: 1, NoSynCookies: true})
	r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: tcp.SYN, seq: 100})
	r.sent(tcp.SYN | tcp.ACK)
	r.input(segment{from: 10, to: 80, flags: tcp.SYN, seq: 100})
	r.silent()
}

var web = netip.AddrPortFrom(peer, 80)

func (r *rig) dial(to netip.AddrPort) (*TCP, caught) {
	r.t.Helper()
	s, err := r.h.Dial(netip.AddrPort{}, to, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(0)
	return s, r.sent(tcp.SYN)
}

// connect is dial with the peer's answer.
func (r *rig) connect(opts []byte) (*TCP, caught) {
	r.t.Helper()
	s, syn := r.dial(web)
	r.input(segment{from: 80, to: syn.SourcePort(), flags: tcp.SYN | tcp.ACK, seq: 500, ack: syn.Seq() + 1, opts: opts})
	r.sent(tcp.ACK)
	return s, syn
}

// RFC 6056: ephemeral ports come from the whole range in an order that differs
// from peer to peer, each once; when none is left the call fails, for that peer.
func TestEphemeralPorts(t *testing.T) {
	r := newRig(t, Options{Ports: [2]uint16{50000, 50099}})
	r.listen(50007, 0)
	seen := map[uint16]bool{}
	rising := 0
	last := uint16(0)
	for range 99 {
		_, syn := r.dial(web)
		p := syn.SourcePort()
		if p < 50000 || p > 50099 || seen[p] || p == 50007 {
			t.Fatal("port", p)
		}
		if p == last+1 {
			rising++
		}
		seen[p], last = true, p
	}
	if rising > 50 {
		t.Error("the next port is the last and one,", rising, "times of 99")
	}
	if _, err := r.h.Dial(netip.AddrPort{}, web, nil); err != ErrNoPorts || r.h.Count.PortsExhausted != 1 {
		t.Error("exhausted:", err)
	}
	r.dial(netip.AddrPortFrom(peer, 81))
	r.dial(netip.AddrPortFrom(router, 80))
	// RFC 6528 §3: the numbers of two incarnations differ by the clock.
	r = newRig(t, Options{})
	from := netip.AddrPortFrom(own, 1234)
	iss := uint32(0)
	for i := range 3 {
		s, err := r.h.Dial(from, web, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.run(0)
		syn := r.sent(tcp.SYN)
		if i > 0 && syn.Seq()-iss != 250000 {
			t.Error("a second later the ISN is", syn.Seq()-iss, "higher")
		}
		iss = syn.Seq()
		if _, err := r.h.Dial(from, web, nil); err != ErrInUse {
			t.Error("twice:", err)
		}
		s.Close(r.q.Now())
		s.Flush()
		r.run(time.Second)
		r.silent()
	}
}

// timeWait brings a connection that the host opened to TIME-WAIT.
func (r *rig) timeWait(opts []byte, stamp func(n uint32) []byte) (*TCP, caught) {
	r.t.Helper()
	s, syn := r.connect(opts)
	s.CloseWrite(r.q.Now())
	s.Flush()
	r.sent(tcp.FIN | tcp.ACK)
	r.input(segment{from: 80, to: syn.SourcePort(), flags: tcp.FIN | tcp.ACK, seq: 501, ack: syn.Seq() + 2, opts: stamp(1)})
	r.sent(tcp.ACK)
	if s.State() != tcp.TimeWait {
		r.t.Fatal(s.State())
	}
	return s, syn
}

func noStamp(uint32) []byte { return nil }

// RFC 6191 as the one who opens: a port in TIME-WAIT is taken again after a
// second, if timestamps protect it and there is no other.
func TestTimeWaitPorts(t *testing.T) {
	stamped := append([]byte{1, 1}, stampOption(1000, 0)...)
	stamp := func(n uint32) []byte { return append([]byte{1, 1}, stampOption(1000+n, 0)...) }
	for _, c := range []struct {
		rule  string
		reuse bool
		opts  []byte
		stamp func(uint32) []byte
		wait  time.Duration
		ok    bool
	}{
		{"after a second", true, stamped, stamp, time.Second, true},
		{"before", true, stamped, stamp, 999 * time.Millisecond, false},
		{"not asked for", false, stamped, stamp, 30 * time.Second, false},
		{"without timestamps", true, nil, noStamp, 30 * time.Second, false},
		{"when TIME-WAIT is over", false, nil, noStamp, 60 * time.Second, true},
	} {
		r := newRig(t, Options{Ports: [2]uint16{50000, 50000}, ReuseTimeWait: c.reuse})
		old, syn := r.timeWait(c.opts, c.stamp)
		r.run(c.wait)
		_, err := r.h.Dial(netip.AddrPort{}, web, nil)
		if c.ok != (err == nil) {
			t.Errorf("%s: %v", c.rule, err)
		}
		if !c.ok {
			r.silent()
			continue
		}
		r.run(0)
		g := r.sent(tcp.SYN)
		if old.State() != tcp.Closed || int32(g.Seq()-syn.Seq()) <= 2 {
			t.Errorf("%s: %v, ISN %d on", c.rule, old.State(), g.Seq()-syn.Seq())
		}
		if o, n := syn.Options(), g.Options(); n.TSVal-o.TSVal != uint32(c.wait/time.Millisecond) {
			t.Errorf("%s: the timestamps do not go on: %d and %d", c.rule, o.TSVal, n.TSVal)
		}
	}
}

// RFC 9293 §3.10.7.4, RFC 6191 §2: a SYN that is newer begins anew what is in
// TIME-WAIT; another is acknowledged.
func TestTimeWaitSYN(t *testing.T) {
	r := newRig(t, Options{})
	l := r.listen(80, 0)
	r.handshake(9, 80, 1000, nil)
	s := l.Accept()
	s.CloseWrite(r.q.Now())
	s.Flush()
	fin := r.sent(tcp.FIN | tcp.ACK)
	r.input(segment{from: 9, to: 80, flags: tcp.FIN | tcp.ACK, seq: 1001, ack: fin.Seq() + 1})
	r.sent(tcp.ACK)
	r.input(segment{from: 9, to: 80, flags: tcp.SYN, seq: 900})
	if g := r.sent(tcp.ACK); g.Ack() != 1002 || s.State() != tcp.TimeWait {
		t.Error("an old SYN: ack", g.Ack(), s.State())
	}
	r.run(time.Second)
	r.input(segment{from: 9, to: 80, flags: tcp.SYN, seq: 5000})
	g := r.sent(tcp.SYN | tcp.ACK)
	if g.Ack() != 5001 || s.State() != tcp.Closed || int32(g.Seq()-fin.Seq()) <= 0 {
		t.Errorf("a new SYN: ack %d, %v, ISN %d behind the FIN", g.Ack(), s.State(), int32(g.Seq()-fin.Seq()))
	}
	r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 5001, ack: g.Seq() + 1})
	if l.Accept() == nil {
		t.Error("not accepted")
	}
}

// RFC 5461 §4.1, RFC 9293 §3.9.2.2: ICMP errors end an open and not a
// connection; RFC 5927 §4.1: only those that quote what is under way count.
func TestICMPErrors(t *testing.T) {
	for _, c := range []struct {
		code uint8
		want error
	}{{3, tcp.ErrRefused}, {2, tcp.ErrRefused}, {0, ErrUnreachable}, {1, ErrNoRoute}, {13, ErrProhibited}} {
		r := newRig(t, Options{})
		s, syn := r.dial(web)
		local := netip.AddrPortFrom(own, syn.SourcePort())
		r.icmp(icmp.Unreachable4, c.code, 0, local, web, syn.Seq()+100)
		r.icmp(icmp.Unreachable4, c.code, 0, local, netip.AddrPortFrom(peer, 81), syn.Seq())
		r.icmp(icmp.TimeExceeded4, 0, 0, local, web, syn.Seq())
		r.icmp(4, 0, 0, local, web, syn.Seq()) // RFC 6633: source quench
		if s.State() != tcp.SynSent {
			t.Errorf("code %d: a wrong quotation ended it", c.code)
		}
		r.icmp(icmp.Unreachable4, c.code, 0, local, web, syn.Seq())
		if s.State() != tcp.Closed || s.Err() != c.want {
			t.Errorf("code %d: %v, %v", c.code, s.State(), s.Err())
		}
		r.run(time.Minute)
		r.silent()

		r = newRig(t, Options{})
		s, syn = r.connect(nil)
		s.Write([]byte("x"), r.q.Now())
		s.Flush()
		r.sent(tcp.PSH | tcp.ACK)
		r.icmp(icmp.Unreachable4, c.code, 0, netip.AddrPortFrom(own, syn.SourcePort()), web, syn.Seq()+1)
		if s.State() != tcp.Established || s.Err() != nil {
			t.Errorf("code %d: an established connection is %v", c.code, s.State())
		}
	}
}

// RFC 1191, RFC 5927 §7: a smaller path MTU shows at once, in what was too big;
// a router that tells none is guessed for; strangers are not believed.
func TestPathMTUDiscovery(t *testing.T) {
	for _, c := range []struct {
		rule string
		mtu  uint32
		seq  uint32 // from the first under way
		want int    // bytes of the next segment; 0: none
	}{
		{"what is under way", 1000, 0, 960},
		{"its last byte", 1000, 1459, 960},
		{"what is not sent yet", 1000, 1460, 0},
		{"what is acknowledged", 1000, ^uint32(0), 0},
		{"no MTU told: the next plateau", 0, 0, 1452},
		{"larger than it was", 1600, 0, 0},
	} {
		r := newRig(t, Options{})
		s, syn := r.connect([]byte{2, 4, 5, 0xb4})
		s.Write(make([]byte, 1460), r.q.Now())
		s.Flush()
		if g := r.sent(tcp.PSH | tcp.ACK); len(g.Payload()) != 1460 || !g.dontCut {
			t.Fatal("the segment:", len(g.Payload()), g.dontCut)
		}
		r.icmp(icmp.Unreachable4, 4, c.mtu, netip.AddrPortFrom(own, syn.SourcePort()), web, syn.Seq()+1+c.seq)
		if c.want == 0 {
			r.silent()
			continue
		}
		if len(r.out) == 0 || r.out[0].Seq() != syn.Seq()+1 || len(r.out[0].Payload()) != c.want || r.out[0].at != r.q.Now() {
			t.Fatalf("%s: sent %s", c.rule, r.list())
		}
		r.out = nil
		// RFC 1191 §6.2: it is known to the next connection too.
		if next, _ := r.dial(netip.AddrPortFrom(peer, 81)); next.Info().PathMTU != c.want+20 {
			t.Errorf("%s: the next connection has %d", c.rule, next.Info().PathMTU)
		}
	}
}

// RFC 3168 §5, §6.1.1: data is marked ECT(0) in the IP header, SYN, ACK and what
// is sent again are not; a mark that arrives is echoed.
func TestECNOnTheWire(t *testing.T) {
	r := newRig(t, Options{TCP: tcp.Config{ECN: true, NoTLP: true}})
	l := r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: tcp.SYN | tcp.ECE | tcp.CWR, seq: 100})
	g := r.sent(tcp.SYN | tcp.ACK | tcp.ECE)
	if g.ecn != 0 {
		t.Error("SYN-ACK is", g.ecn)
	}
	r.input(segment{from: 9, to: 80, flags: tcp.ACK, seq: 101, ack: g.Seq() + 1})
	s := l.Accept()
	s.Write([]byte("x"), r.q.Now())
	s.Flush()
	if g := r.sent(tcp.PSH | tcp.ACK); g.ecn != 2 {
		t.Error("data is", g.ecn)
	}
	for len(r.out) == 0 {
		r.run(100 * time.Millisecond)
	}
	if g := r.sent(tcp.PSH | tcp.ACK); g.ecn != 0 {
		t.Error("a retransmission is", g.ecn)
	}
}
