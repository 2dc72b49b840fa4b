package host

import (
	"net/netip"
	"testing"
	"time"

	"peel/stack/tcp"
	"peel/wire/icmp"
	wiretcp "peel/wire/tcp"
)

var web = netip.AddrPortFrom(peer, 80)

func (r *rig) dial(to netip.AddrPort) (*TCP, caught) {
	r.t.Helper()
	s, err := r.h.Dial(netip.AddrPort{}, to, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(0)
	return s, r.sent(wiretcp.SYN)
}

// connect is dial with the peer's answer.
func (r *rig) connect(opts []byte) (*TCP, caught) {
	r.t.Helper()
	s, syn := r.dial(web)
	r.input(segment{from: 80, to: syn.SourcePort(), flags: wiretcp.SYN | wiretcp.ACK, seq: 500, ack: syn.Seq() + 1, opts: opts})
	r.sent(wiretcp.ACK)
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
		syn := r.sent(wiretcp.SYN)
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
	r.sent(wiretcp.FIN | wiretcp.ACK)
	r.input(segment{from: 80, to: syn.SourcePort(), flags: wiretcp.FIN | wiretcp.ACK, seq: 501, ack: syn.Seq() + 2, opts: stamp(1)})
	r.sent(wiretcp.ACK)
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
		g := r.sent(wiretcp.SYN)
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
	fin := r.sent(wiretcp.FIN | wiretcp.ACK)
	r.input(segment{from: 9, to: 80, flags: wiretcp.FIN | wiretcp.ACK, seq: 1001, ack: fin.Seq() + 1})
	r.sent(wiretcp.ACK)
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, seq: 900})
	if g := r.sent(wiretcp.ACK); g.Ack() != 1002 || s.State() != tcp.TimeWait {
		t.Error("an old SYN: ack", g.Ack(), s.State())
	}
	r.run(time.Second)
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN, seq: 5000})
	g := r.sent(wiretcp.SYN | wiretcp.ACK)
	if g.Ack() != 5001 || s.State() != tcp.Closed || int32(g.Seq()-fin.Seq()) <= 0 {
		t.Errorf("a new SYN: ack %d, %v, ISN %d behind the FIN", g.Ack(), s.State(), int32(g.Seq()-fin.Seq()))
	}
	r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 5001, ack: g.Seq() + 1})
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
		s.Write(r.q.Now(), []byte("x"))
		s.Flush()
		r.sent(wiretcp.PSH | wiretcp.ACK)
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
		s.Write(r.q.Now(), make([]byte, 1460))
		s.Flush()
		if g := r.sent(wiretcp.PSH | wiretcp.ACK); len(g.Payload()) != 1460 || !g.dontCut {
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
	r.input(segment{from: 9, to: 80, flags: wiretcp.SYN | wiretcp.ECE | wiretcp.CWR, seq: 100})
	g := r.sent(wiretcp.SYN | wiretcp.ACK | wiretcp.ECE)
	if g.ecn != 0 {
		t.Error("SYN-ACK is", g.ecn)
	}
	r.input(segment{from: 9, to: 80, flags: wiretcp.ACK, seq: 101, ack: g.Seq() + 1})
	s := l.Accept()
	s.Write(r.q.Now(), []byte("x"))
	s.Flush()
	if g := r.sent(wiretcp.PSH | wiretcp.ACK); g.ecn != 2 {
		t.Error("data is", g.ecn)
	}
	for len(r.out) == 0 {
		r.run(100 * time.Millisecond)
	}
	if g := r.sent(wiretcp.PSH | wiretcp.ACK); g.ecn != 0 {
		t.Error("a retransmission is", g.ecn)
	}
}
