package host

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"peel/stack/link"
	"peel/stack/packet"
	"peel/wire/ethernet"
	"peel/wire/icmp"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// sink is a Sender that keeps what it is sent, without Ethernet's header.
type sink struct{ ip [][]byte }

func (s *sink) Send(p *packet.Packet) {
	if b := p.Bytes()[ethernet.HeaderLen:]; b[0]>>4 == 4 || b[0]>>4 == 6 {
		s.ip = append(s.ip, append([]byte(nil), b...))
	}
	p.Release()
}

// catch gives a rig a second interface, and catches the IP packets of both.
func (r *rig) catch() *sink {
	s := &sink{}
	r.eth.out = s
	i := r.h.AddInterface("eth1", ethernet.MAC{2, 0, 0, 0, 1, 1}, 1500)
	i.AddAddress(netip.MustParsePrefix("198.51.100.1/24"))
	i.Attach(s)
	s.ip = nil
	return s
}

// packet4 gives the host an IPv4 packet with a payload.
func (r *rig) packet4(src, dst string, proto ip.Protocol, payload []byte) {
	b := append(make([]byte, ethernet.HeaderLen+20), payload...)
	r.frame(b, netip.MustParseAddr(dst), proto, netip.MustParseAddr(src))
}

// packet6 gives the host an IPv6 packet with a payload.
func (r *rig) packet6(to ethernet.MAC, src, dst string, proto ip.Protocol, payload []byte) {
	b := append(make([]byte, ethernet.HeaderLen+40), payload...)
	copy(b, to[:])
	b[12], b[13] = 0x86, 0xdd
	h := b[ethernet.HeaderLen:]
	h[0], h[6], h[7] = 0x60, byte(proto), 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(h[8:], s[:])
	copy(h[24:], d[:])
	p := r.pool.Get(len(b))
	p.Append(b)
	p.Checksum = packet.Good
	r.eth.Receive(p)
}

// quoting is an ICMP "fragmentation needed" about a UDP datagram.
func quoting(src, dst string, mtu uint16) []byte {
	m := make([]byte, 8+20+8)
	m[0], m[1] = icmp.Unreachable4, 4
	binary.BigEndian.PutUint16(m[6:], mtu)
	header4(m[8:], netip.MustParseAddr(src), netip.MustParseAddr(dst), ip.ProtoUDP)
	binary.BigEndian.PutUint16(m[28:], 5000)
	binary.BigEndian.PutUint16(m[30:], 53)
	binary.BigEndian.PutUint16(m[2:], ^ip.Sum(0, m))
	return m
}

// A forged error about a packet to the loopback address, which has no
// interface.
func TestAnErrorAboutThePathToLoopback(t *testing.T) {
	r := newRig(t, Options{})
	r.packet4(router.String(), own.String(), ip.ProtoICMP, quoting(own.String(), "127.0.0.1", 600))
	if r.pool.Out != 0 {
		t.Errorf("%d packets are out", r.pool.Out)
	}
}

// What ICMP tells of a path is believed if a socket has sent there.
func TestRFC5927_APathMTUNeedsASocket(t *testing.T) {
	r := newRig(t, Options{})
	tell := func() {
		r.packet4(router.String(), own.String(), ip.ProtoICMP, quoting(own.String(), peer.String(), 600))
	}
	tell()
	if n := r.h.pathMTUTo(peer, 1500); n != 1500 {
		t.Errorf("without a socket: %d bytes", n)
	}
	u, err := r.h.ListenUDP(netip.AddrPortFrom(own, 5000), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	tell()
	if n := r.h.pathMTUTo(peer, 1500); n != 600 {
		t.Errorf("with a socket: %d bytes", n)
	}
	u.Close()
}

// Fragments of a datagram whose header and payload are more than 65535 bytes
// (the ping of death).
func TestRFC791_FragmentsOfTooMuch(t *testing.T) {
	r := newRig(t, Options{})
	u, err := r.h.ListenUDP(netip.AddrPortFrom(own, 53), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	d := make([]byte, 65535)
	binary.BigEndian.PutUint16(d[2:], 53)
	binary.BigEndian.PutUint16(d[4:], 65535)
	for at := 0; at < len(d); at += 1480 {
		end := min(at+1480, len(d))
		b := append(make([]byte, ethernet.HeaderLen+20), d[at:end]...)
		w := uint16(at / 8)
		if end < len(d) {
			w |= 0x2000
		}
		binary.BigEndian.PutUint16(b[ethernet.HeaderLen+6:], w)
		r.frame(b, own, ip.ProtoUDP, peer)
	}
	if d, ok := u.Receive(); ok || r.h.Count.ReassemblyFails != 1 {
		t.Errorf("%d bytes were received; %+v", len(d.Payload), r.h.Count)
	}
	if u.Close(); r.pool.Out != 0 {
		t.Errorf("%d packets are out", r.pool.Out)
	}
}

// Fragments of nothing would only cost memory.
func TestFragmentsOfNothing(t *testing.T) {
	r := newRig(t, Options{})
	b := make([]byte, ethernet.HeaderLen+20)
	b[ethernet.HeaderLen+6] = 0x20
	r.frame(b, own, ip.ProtoUDP, peer)
	if n := r.h.frags4.Open(); n != 0 {
		t.Errorf("%d datagrams wait", n)
	}
}

// No error answers what went to many (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
func TestNoErrorAnswersWhatWentToMany(t *testing.T) {
	r := newRig(t, Options{})
	r.eth.AddAddress(netip.MustParsePrefix("2001:db8::1/64"))
	s := r.catch()
	r.packet4(peer.String(), "192.0.2.255", 99, make([]byte, 20))
	r.packet4("192.0.2.255", own.String(), 99, make([]byte, 20))
	r.packet6(ethernet.MAC{0x33, 0x33, 0, 0, 0, 1}, "2001:db8::2", "ff02::1", 99, make([]byte, 20))
	r.run(time.Second)
	if len(s.ip) != 0 {
		t.Errorf("sent %x", s.ip)
	}
	r.packet4(peer.String(), own.String(), 99, make([]byte, 20))
	if len(s.ip) != 1 {
		t.Error("no error answers what went to this host alone")
	}
}

// The pointer of "unrecognized next header" shows where that stands
// (RFC 8200 §4).
func TestRFC8200_4_UnknownNextHeader(t *testing.T) {
	r := newRig(t, Options{})
	r.eth.AddAddress(netip.MustParsePrefix("2001:db8::1/64"))
	r.eth.SetNeighbour(netip.MustParseAddr("2001:db8::2"), peerMAC)
	for _, c := range []struct {
		proto   ip.Protocol
		payload []byte
		want    uint32
	}{{99, make([]byte, 20), 6}, {ip.ProtoDestOpts, append([]byte{99, 0, 1, 4}, make([]byte, 20)...), 40}} {
		s := &sink{}
		r.eth.out = s
		r.packet6(ownMAC, "2001:db8::2", "2001:db8::1", c.proto, c.payload)
		if len(s.ip) != 1 || s.ip[0][40] != icmp.ParameterProb6 || binary.BigEndian.Uint32(s.ip[0][44:]) != c.want {
			t.Errorf("sent %x; want pointer %d", s.ip, c.want)
		}
	}
}

// A router sends no packet to all hosts of a network because somebody
// elsewhere asks for it (RFC 2644), and none that is from or to nobody
// (RFC 1812 §5.3.7, RFC 4291 §2.5.2).
func TestRFC2644_WhatIsNotForwarded(t *testing.T) {
	r := newRig(t, Options{Forward: true})
	s := r.catch()
	r.h.Interface("eth1").AddAddress(netip.MustParsePrefix("2001:db8:1::1/64"))
	s.ip = nil
	r.packet4(peer.String(), "198.51.100.255", ip.ProtoUDP, make([]byte, 8))
	r.packet4("0.0.0.0", "198.51.100.7", ip.ProtoUDP, make([]byte, 8))
	r.packet6(ownMAC, "::", "2001:db8:1::7", ip.ProtoUDP, make([]byte, 8))
	if n := r.h.Interface("eth1").Neighbours(); len(s.ip) > 0 || len(n) > 0 || r.h.Count.Forwarded > 0 {
		t.Errorf("sent %x, asked for %+v", s.ip, n)
	}
	if r.pool.Out != 0 {
		t.Errorf("%d packets are out", r.pool.Out)
	}
}

// A SYN from this host's own address (LAND).
func TestASYNFromItself(t *testing.T) {
	r := newRig(t, Options{})
	l := r.listen(80, 0)
	b := make([]byte, ethernet.HeaderLen+20+20)
	v := b[ethernet.HeaderLen+20:]
	binary.BigEndian.PutUint16(v, 80)
	binary.BigEndian.PutUint16(v[2:], 80)
	binary.BigEndian.PutUint16(v[12:], 5<<12|uint16(tcp.SYN))
	binary.BigEndian.PutUint16(v[16:], ^ip.Sum(ip.PseudoSum(own, own, ip.ProtoTCP, len(v)), v))
	r.frame(b, own, ip.ProtoTCP, own)
	for range 1000 {
		if !r.q.Step(r.q.Now()) {
			break
		}
	}
	if n := len(r.h.tcps); n != 0 {
		t.Errorf("%d connections with itself", n)
	}
	l.Close()
}

// The reply to an echo request is a packet of its own.
func TestAReplyIsNotItsRequest(t *testing.T) {
	r := newRig(t, Options{})
	s := &ids{}
	r.eth.out = s
	m := []byte{icmp.Echo4, 0, 0, 0, 0, 1, 0, 1}
	binary.BigEndian.PutUint16(m[2:], ^ip.Sum(0, m))
	r.h.Trace = &link.Trace{}
	b := append(make([]byte, ethernet.HeaderLen+20), m...)
	header4(b[ethernet.HeaderLen:], peer, own, ip.ProtoICMP)
	copy(b, ownMAC[:])
	b[12] = 8
	p := r.pool.Get(len(b))
	p.Append(b)
	p.ID = 77
	r.eth.Receive(p)
	if len(s.id) != 1 || s.id[0] == 77 {
		t.Errorf("sent %v", s.id)
	}
}

type ids struct{ id []uint64 }

func (s *ids) Send(p *packet.Packet) {
	s.id = append(s.id, p.ID)
	p.Release()
}

// Closing a listener gives back what those that nobody accepted have sent,
// those too that are over.
func TestCloseOfAListenerWithConnectionsThatAreOver(t *testing.T) {
	r := newRig(t, Options{})
	r.eth.MTU = 9000
	l := r.listen(80, 0)
	g := r.handshake(1000, 80, 100, nil)
	data := make([]byte, 8000)
	r.input(segment{from: 1000, to: 80, flags: tcp.ACK, seq: 101, ack: g.Seq() + 1, data: string(data)})
	r.input(segment{from: 1000, to: 80, flags: tcp.RST, seq: 8101})
	if len(r.h.tcps) != 0 || r.pool.Out != 1 {
		t.Fatalf("%d connections, %d packets", len(r.h.tcps), r.pool.Out)
	}
	l.Close()
	if r.pool.Out != 0 {
		t.Errorf("%d packets are out", r.pool.Out)
	}
}

// Of connections that were in TIME-WAIT nothing is left.
func TestTimeWaitIsForgotten(t *testing.T) {
	r := newRig(t, Options{})
	for range 3 {
		r.timeWait(nil, noStamp)
	}
	r.run(time.Hour)
	if n := len(r.h.waits); n != 0 {
		t.Errorf("%d of them are kept", n)
	}
}

// Nobody is reached at no address.
func TestNoAddressIsNoDestination(t *testing.T) {
	r := newRig(t, Options{})
	u, err := r.h.ListenUDP(netip.AddrPortFrom(own, 0), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := u.Send([]byte("x"), netip.AddrPort{}); err != ErrNoAddress {
			t.Errorf("sent to nobody: %v", err)
		}
		if _, err := r.h.Dial(netip.AddrPort{}, netip.AddrPort{}, nil); err == nil {
			t.Error("connected to nobody")
		}
	}
	u.Close()
}
