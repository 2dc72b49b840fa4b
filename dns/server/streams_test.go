package server

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
)

// fake is a connection that only has an address and an end.
type fake struct {
	net.Conn
	from   string
	closed chan struct{}
}

func (f *fake) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.from), 1000))
}
func (f *fake) Close() error { close(f.closed); return nil }

// RFC 7766 §6.2.3, RFC 9210 §4.3: one client gets a share of the connections;
// when all are taken, the one that has been idle for longest of whoever has
// most makes room; none that waits for an answer does.
func TestRFC9210_ConnectionsByClient(t *testing.T) {
	s := &streams{limit: 100}
	now := time.Unix(1e9, 0)
	var all []*stream
	enter := func(from string) *stream {
		now = now.Add(time.Second)
		st := s.enter(&fake{from: from, closed: make(chan struct{})}, now)
		if st != nil {
			all = append(all, st)
		}
		return st
	}
	closed := func(st *stream) bool {
		_, in := st.of.conns[st]
		return !in
	}
	for range 10 {
		enter("192.0.2.1")
	}
	s.query(all[0], 1, now) // it waits for an answer
	enter("192.0.2.1")
	if closed(all[0]) || !closed(all[1]) || closed(all[2]) || s.n != 10 {
		t.Error("the eleventh connection of a client takes the place of the one that has been idle longest")
	}
	<-all[1].conn.(*fake).closed
	for i := range 90 { // addresses of one site are one client
		enter(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, byte(i / 9), 15: byte(i)}).String())
	}
	if s.n != 20 {
		t.Errorf("%d connections of two clients", s.n)
	}
	for i := range 90 {
		enter(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}).String())
	}
	last := all[len(all)-1]
	if n, _ := s.counts(); n != 100 || closed(last) || closed(all[0]) {
		t.Errorf("%d connections; a new client is in: %v", n, !closed(last))
	}
	// All of the largest client's wait for answers: nobody is thrown out.
	s = &streams{limit: 8}
	for range 8 {
		s.query(enter("192.0.2.9"), 1, now)
	}
	if enter("192.0.2.10") != nil || s.n != 8 {
		t.Error("a connection that is in use was closed")
	}
	for _, st := range all {
		s.leave(st)
		s.leave(st)
	}
}

// The time that a connection may be idle shrinks as they become many.
func TestIdleTimeShrinksWithLoad(t *testing.T) {
	s := &streams{limit: 100}
	last := s.idle()
	if last != maxIdle {
		t.Error(last)
	}
	for s.n = range 101 {
		if d := s.idle(); d > last || d < minIdle {
			t.Errorf("%v with %d, %v before", d, s.n, last)
		} else {
			last = d
		}
	}
	if last != minIdle {
		t.Error(last)
	}
}

// A thousand connections of one client, all kept busy with a query now and
// then, do not keep others out, and not that client either.
func TestConnectionsThatAreHeld(t *testing.T) {
	zones := zone.NewServer()
	z, err := zone.New(dns.MustName("example.test"),
		dns.NewResource(dns.MustName("example.test"), 60, dns.SOA{Primary: dns.MustName("ns.example.test"), Mailbox: dns.MustName("h.example.test"), Serial: 1}),
		dns.NewResource(dns.MustName("example.test"), 60, dns.NS{Host: dns.MustName("ns.example.test")}),
		dns.NewResource(dns.MustName("www.example.test"), 60, dns.A{Addr: netip.MustParseAddr("192.0.2.1")}))
	if err != nil {
		t.Fatal(err)
	}
	zones.Put(z)
	s := &Server{Zones: zones, MaxStreams: 200}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.ServeTCP(l) }()
	q, _ := (&dns.Message{Header: dns.Header{ID: 7}, Questions: []dns.Question{{Name: dns.MustName("www.example.test"), Type: dns.TypeA, Class: dns.ClassIN}}}).Append(nil)
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c net.Conn) error {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(dns.AppendStream(nil, q)); err != nil {
			return err
		}
		_, err := dns.ReadStream(c, nil)
		return err
	}
	var held []net.Conn
	for range 1000 {
		held = append(held, dial("127.0.0.1"))
	}
	for round := range 3 {
		for _, c := range held {
			c.Write(dns.AppendStream(nil, q)) // what is closed fails
		}
		for _, from := range []string{"127.0.0.2", "127.0.0.1"} {
			if err := ask(dial(from)); err != nil {
				t.Errorf("round %d, from %s: %v", round, from, err)
			}
		}
	}
	if n, closed := s.streams.counts(); n > 200/10+3 || closed < 900 {
		t.Errorf("%d connections are open, %d were closed", n, closed)
	}
	s.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, _ := s.streams.counts(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// RFC 6891 §6.1.2: both kinds of servers say FORMERR to an OPT record that is
// not the root's, and to two.
func TestRFC6891_6_1_2_MalformedEDNS(t *testing.T) {
	opt := dns.EDNS{UDPSize: 1232}.Resource()
	owned := opt
	owned.Name = dns.MustName("x.example")
	for what, list := range map[string][]dns.Resource{"an owner": {owned}, "two": {opt, opt}} {
		q, err := (&dns.Message{Header: dns.Header{ID: 7, RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName("a.test"), Type: dns.TypeA, Class: dns.ClassIN}}, Additional: list}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		d := NewResolver(recursor.Config{}, cache.New(), noNetwork{}, clock.NewReal())
		for name, s := range map[string]*Server{"zones": {Zones: zone.NewServer()}, "recursive": {Recursive: d}} {
			out, err := s.Answer(t.Context(), q, netip.AddrPort{})
			if m, perr := dns.Parse(out); err != nil || perr != nil || m.Rcode != dns.RcodeFormErr {
				t.Errorf("%s, %s: %v %v %v", name, what, m.Rcode, err, perr)
			}
		}
		d.Close()
	}
}
