package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/stack/packet"
	"peel/stack/tcp"
	"peel/wire/ethernet"
	"peel/wire/ip"
	wiretcp "peel/wire/tcp"
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
	wiretcp.Segment
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
	seg, err := wiretcp.Parse(b[k.HeaderLen:])
	if err != nil {
		r.t.Fatal(err)
	}
	r.out = append(r.out, caught{seg, r.q.Now(), netip.AddrPortFrom(k.Dst, seg.DestinationPort()), b[1] & 3, b[6]&0x40 != 0})
}

// segment is one that the peer sends.
type segment struct {
	from, to uint16
	flags    wiretcp.Flags
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
func (r *rig) sent(flags wiretcp.Flags) caught {
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
	r.input(segment{from: from, to: to, flags: wiretcp.SYN, seq: seq, opts: opts})
	g := r.sent(wiretcp.SYN | wiretcp.ACK)
	r.input(segment{from: from, to: to, flags: wiretcp.ACK, seq: seq + 1, ack: g.Seq() + 1})
	return g
}

// RFC 9293 §3.10.7.1: what comes to no connection is answered with a RST that
// its sender accepts, but for a RST.
func TestResetForClosed(t *testing.T) {
	r := newRig(t, Options{})
	r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 5, ack: 77, data: "abc"})
	if g := r.sent(wiretcp.RST); g.Seq() != 77 {
		t.Error("seq", g.Seq())
	}
	for _, c := range []struct {
		flags wiretcp.Flags
		data  string
		ack   uint32
	}{{wiretcp.SYN, "", 1001}, {wiretcp.FIN, "ab", 1003}, {wiretcp.SYN | wiretcp.FIN, "ab", 1004}, {0, "", 1000}} {
		r.input(segment{from: 9, to: 80, flags: c.flags, seq: 1000, data: c.data})
		if g := r.sent(wiretcp.RST | wiretcp.ACK); g.Seq() != 0 || g.Ack() != c.ack {
			t.Errorf("%v: seq %d ack %d", c.flags, g.Seq(), g.Ack())
		}
	}
	r.input(segment{from: 9, to: 80, flags: wiretcp.RST, seq: 1000})
	r.input(segment{from: 9, to: 80, flags: wiretcp.RST | wiretcp.ACK, seq: 1000, ack: 4})
	// RFC 9293 §3.9.2.3 MUST-57: nothing to what was for many.
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, dst: netip.MustParseAddr("192.0.2.255")})
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, dst: netip.MustParseAddr("224.0.0.1")})
	r.silent()
	r = newRig(t, Options{Silent: true})
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN})
	r.silent()
}

// RFC 9293 §3.10.7.2: LISTEN.
func TestListen(t *testing.T) {
	r := newRig(t, Options{})
	l := r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: wiretcp.RST})
	r.input(segment{from: 9, to: 80, flags: wiretcp.FIN})
	r.silent()
	r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 1, ack: 500})
	if g := r.sent(wiretcp.RST); g.Seq() != 500 {
		t.Error("seq", g.Seq())
	}
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN | wiretcp.ACK, seq: 1, ack: 600})
	if g := r.sent(wiretcp.RST); g.Seq() != 600 {
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
	r.input(segment{from: 10, to: 80, flags: wiretcp.SYN, seq: 5})
	r.out = nil
	if l.half != 1 {
		t.Error("half-open:", l.half)
	}
	r.input(segment{from: 10, to: 80, flags: wiretcp.RST, seq: 6})
	if l.half != 0 || len(r.h.tcps) != 1 {
		t.Error("half-open:", l.half, "connections:", len(r.h.tcps))
	}
	// One that is not accepted is reset when the listener closes; the others stay.
	g := r.handshake(11, 80, 100, nil)
	l.Close()
	if x := r.sent(wiretcp.RST | wiretcp.ACK); x.Seq() != g.Seq()+1 || x.to.Port() != 11 {
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
	r.input(segment{from: 2, to: 80, flags: wiretcp.SYN, seq: 100})
	two := r.sent(wiretcp.SYN | wiretcp.ACK)
	r.handshake(1, 80, 100, nil)
	r.input(segment{from: 3, to: 80, flags: wiretcp.SYN, seq: 100})
	r.silent()
	if r.h.Count.ListenOverflows != 1 || r.h.Count.ListenDrops != 1 {
		t.Errorf("%+v", r.h.Count)
	}
	r.input(segment{from: 2, to: 80, flags: wiretcp.ACK, seq: 101, ack: two.Seq() + 1})
	r.silent()
	r.run(time.Second)
	if again := r.sent(wiretcp.SYN | wiretcp.ACK); again.Seq() != two.Seq() {
		t.Error("another SYN-ACK")
	}
	if l.Accept() == nil {
		t.Fatal("nothing to accept")
	}
	r.input(segment{from: 2, to: 80, flags: wiretcp.ACK, seq: 101, ack: two.Seq() + 1})
	if s := l.Accept(); s == nil || s.State() != tcp.Established {
		t.Fatal("the second did not get in")
	}

	r = newRig(t, Options{ResetOnOverflow: true})
	r.listen(80, 1)
	r.input(segment{from: 2, to: 80, flags: wiretcp.SYN, seq: 100})
	two = r.sent(wiretcp.SYN | wiretcp.ACK)
	r.handshake(1, 80, 100, nil)
	r.input(segment{from: 2, to: 80, flags: wiretcp.ACK, seq: 101, ack: two.Seq() + 1})
	if g := r.sent(wiretcp.RST | wiretcp.ACK); g.Seq() != two.Seq()+1 || g.to.Port() != 2 {
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
		r.input(segment{from: 9, to: 80, flags: wiretcp.SYN | wiretcp.ECE | wiretcp.CWR, seq: 100, opts: synOptions(tsval)})
		g := r.sent(wiretcp.SYN | wiretcp.ACK | wiretcp.ECE)
		o := g.Options()
		if len(r.h.tcps) != 0 || l.half != 0 || r.h.Count.SynCookiesSent != 1 {
			t.Fatal("something is kept")
		}
		if o.MSS != 1460 || !o.SACKPermitted || o.WindowScale != 7 || o.TSEcr != tsval || g.Ack() != 101 {
			t.Errorf("SYN-ACK options %+v, ack %d", o, g.Ack())
		}
		r.run(200 * time.Millisecond)
		r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 101, ack: g.Seq() + 1, opts: append([]byte{1, 1}, stampOption(tsval+200, o.TSVal)...), data: "hello"})
		s := l.Accept()
		if s == nil {
			t.Fatalf("TSval %x: not accepted; %+v; sent %s", tsval, r.h.Count, r.list())
		}
		i := s.Info()
		if strings.TrimSpace(i.Options) != "timestamps sack wscale ecn" || i.MSS != 1360-12 || i.SendWindow != 65535<<5 {
			t.Errorf("TSval %x: %q, MSS %d, window %d", tsval, i.Options, i.MSS, i.SendWindow)
		}
		var b [9]byte
		if n := s.Read(r.q.Now(), b[:]); string(b[:n]) != "hello" {
			t.Errorf("read %q", b[:n])
		}
		if a := r.sent(wiretcp.ACK); a.Ack() != 106 {
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
		r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, seq: 100, opts: []byte{2, 4, 5, 0xb4}})
		g := r.sent(wiretcp.SYN | wiretcp.ACK)
		r.run(c.wait)
		r.input(segment{from: c.from, to: 80, flags: wiretcp.ACK, seq: c.seq, ack: g.Seq() + 1 + c.ack})
		if ok := l.Accept() != nil; ok != c.ok {
			t.Errorf("%s: accepted %v", c.rule, ok)
		}
		if !c.ok {
			if x := r.sent(wiretcp.RST); x.Seq() != g.Seq()+1+c.ack || r.h.Count.SynCookiesFailed != 1 {
				t.Errorf("%s: RST %d", c.rule, x.Seq())
			}
		}
	}
	// Before any cookie was sent, none is believed.
	r := newRig(t, Options{})
	r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 101, ack: 5})
	r.sent(wiretcp.RST)
	if r.h.Count.SynCookiesFailed != 0 {
		t.Error("a cookie was looked for")
	}
	// RFC 4987 §3.6 is a choice.
	r = newRig(t, Options{SynBacklog: 1, NoSynCookies: true})
	r.listen(80, 0)
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, seq: 100})
	r.sent(wiretcp.SYN | wiretcp.ACK)
	r.input(segment{from: 10, to: 80, flags: wiretcp.SYN, seq: 100})
	r.silent()
}
