package client_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"peel/dns"
	dnsclient "peel/dns/client"
	"peel/internal/pki"
)

// kernel dials by the host's kernel.
type kernel struct{}

func (kernel) DialTCP(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", a.String())
}

func (kernel) DialUDP(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", a.String())
}

func (kernel) Source(netip.Addr) (netip.Addr, bool) { return netip.Addr{}, false }

func question(name string, t dns.Type) *dns.Message {
	return &dns.Message{Header: dns.Header{ID: 0x1234, RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(name), Type: t, Class: dns.ClassIN}}}
}

// answer is the reply to a query with some records.
func answer(q *dns.Message, records ...dns.Resource) *dns.Message {
	return &dns.Message{Header: dns.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions, Answers: records}
}

func address(ip string) dns.Resource {
	return dns.NewResource(dns.MustName("www.example.com"), 300, dns.A{Addr: netip.MustParseAddr(ip)})
}

func packed(t testing.TB, m *dns.Message) []byte {
	t.Helper()
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// datagrams is a server that answers the nth query, from 1, with some
// datagrams.
func datagrams(t *testing.T, answers func(n int, q *dns.Message) [][]byte) (s dnsclient.Server, asked *atomic.Int32) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	asked = new(atomic.Int32)
	go func() {
		buf := make([]byte, dns.MaxMessage)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			q, err := dns.Parse(buf[:n])
			if err != nil {
				continue
			}
			for _, b := range answers(int(asked.Add(1)), q) {
				c.WriteTo(b, from)
			}
		}
	}()
	return dnsclient.Server{Addr: c.LocalAddr().(*net.UDPAddr).AddrPort(), Transport: dnsclient.UDP}, asked
}

// stream is a server that reads one query of each connection and gives it to
// serve. The listener is on port, or on any.
func stream(t *testing.T, port uint16, cfg *tls.Config, serve func(c net.Conn, q *dns.Message)) dnsclient.Server {
	t.Helper()
	var l net.Listener
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := dnsclient.Server{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Transport: dnsclient.TCP}
	if cfg != nil {
		l, s.Transport = tls.NewListener(l, cfg), dnsclient.TLS
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				b := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				if q, err := dns.Parse(b); err == nil {
					serve(c, q)
				}
			}()
		}
	}()
	return s
}

// send writes a message as RFC 1035 §4.2.2 frames it.
func send(c net.Conn, b []byte) {
	c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
}

func TestUDP(t *testing.T) {
	s, _ := datagrams(t, func(_ int, q *dns.Message) [][]byte {
		return [][]byte{packed(t, answer(q, address("192.0.2.1")))}
	})
	c := dnsclient.Client{Network: kernel{}}
	before := time.Now()
	r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
	if err != nil {
		t.Fatal(err)
	}
	if r.Transport != dnsclient.UDP || r.Tries != 1 || r.Truncated || r.Problem != nil || r.Server != s {
		t.Errorf("%+v", r)
	}
	if got := r.Message.Answers; len(got) != 1 || got[0].Text() != "192.0.2.1" {
		t.Errorf("answers %v", got)
	}
	if m, err := dns.Parse(r.Raw); err != nil || len(m.Answers) != 1 {
		t.Errorf("Raw: %v, %v", m, err)
	}
	if r.Sent.Before(before) || r.Received.Before(r.Sent) || r.Duration() != r.Received.Sub(r.Sent) {
		t.Errorf("sent %v, received %v", r.Sent, r.Received)
	}
	if s.String() != s.Addr.String() {
		t.Error(s)
	}
}

// What is not the answer to the question is passed over: another ID, another
// name, another type, a query, and noise (RFC 5452 §9.1).
func TestRFC5452_OtherMessagesArePassedOver(t *testing.T) {
	s, _ := datagrams(t, func(_ int, q *dns.Message) [][]byte {
		wrongID, wrongName, wrongType, aQuery := answer(q, address("192.0.2.66")), answer(q, address("192.0.2.66")), answer(q, address("192.0.2.66")), answer(q, address("192.0.2.66"))
		wrongID.ID++
		wrongName.Questions = []dns.Question{{Name: dns.MustName("www.example.net"), Type: dns.TypeA, Class: dns.ClassIN}}
		wrongType.Questions = []dns.Question{{Name: q.Questions[0].Name, Type: dns.TypeAAAA, Class: dns.ClassIN}}
		aQuery.Response = false
		right := answer(q, address("192.0.2.1"))
		right.Questions = []dns.Question{{Name: dns.MustName("WWW.example.COM"), Type: dns.TypeA, Class: dns.ClassIN}}
		return [][]byte{packed(t, wrongID), packed(t, wrongName), packed(t, wrongType), packed(t, aQuery), {}, []byte("noise"), packed(t, right)}
	})
	c := dnsclient.Client{Network: kernel{}}
	r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
	if err != nil || len(r.Message.Answers) != 1 || r.Message.Answers[0].Text() != "192.0.2.1" {
		t.Errorf("%v, %v", r, err)
	}
}

// A damaged answer is given as far as it goes, with what is wrong with it.
func TestDamagedAnswer(t *testing.T) {
	s, _ := datagrams(t, func(_ int, q *dns.Message) [][]byte {
		b := packed(t, answer(q, address("192.0.2.1"), address("192.0.2.2")))
		return [][]byte{b[:len(b)-2]}
	})
	c := dnsclient.Client{Network: kernel{}}
	r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
	if err != nil || r.Problem == nil || len(r.Message.Answers) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestUDPAsksAgain(t *testing.T) {
	s, asked := datagrams(t, func(n int, q *dns.Message) [][]byte {
		if n < 3 {
			return nil
		}
		return [][]byte{packed(t, answer(q))}
	})
	c := dnsclient.Client{Network: kernel{}, Timeout: 50 * time.Millisecond}
	r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
	if err != nil || r.Tries != 3 || asked.Load() != 3 {
		t.Errorf("%+v, %v, asked %d times", r, err, asked.Load())
	}
}

// Whom was asked, what was seen, what to try.
func TestFailuresSayWhatToTry(t *testing.T) {
	silent, asked := datagrams(t, func(int, *dns.Message) [][]byte { return nil })
	c := dnsclient.Client{Network: kernel{}, Timeout: 20 * time.Millisecond, Tries: 2}
	_, err := c.Do(t.Context(), silent, question("www.example.com", dns.TypeA))
	want := "dns: " + silent.Addr.String() + " over udp: no answer in 2 tries of 20ms"
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "; check that the server runs and that nothing on the way drops the port") || asked.Load() != 2 {
		t.Errorf("silent: %v, asked %d times", err, asked.Load())
	}
	closed := stream(t, 0, nil, func(c net.Conn, q *dns.Message) { c.Write([]byte{0}) })
	_, err = c.Do(t.Context(), closed, question("www.example.com", dns.TypeA))
	if err == nil || err.Error() != "dns: "+closed.Addr.String()+" over tcp: the server closed the connection before its answer was whole" {
		t.Errorf("closed: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	refused := dnsclient.Server{Addr: l.Addr().(*net.TCPAddr).AddrPort(), Transport: dnsclient.TCP}
	_, err = c.Do(t.Context(), refused, question("www.example.com", dns.TypeA))
	if err == nil || !strings.Contains(err.Error(), "nothing serves DNS there") {
		t.Errorf("refused: %v", err)
	}
}

// Somebody who gives up does not wait for the timeout.
func TestContextEndsTheWait(t *testing.T) {
	silent, _ := datagrams(t, func(int, *dns.Message) [][]byte { return nil })
	mute := stream(t, 0, nil, func(c net.Conn, q *dns.Message) { io.Copy(io.Discard, c) })
	for _, s := range []dnsclient.Server{silent, mute} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		began := time.Now()
		c := dnsclient.Client{Network: kernel{}, Timeout: time.Minute}
		if _, err := c.Do(ctx, s, question("www.example.com", dns.TypeA)); err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %v", s.Transport, err, time.Since(began))
		}
		cancel()
	}
}

// RFC 7766 §5: an answer that was cut is asked for again over TCP.
func TestRFC7766_TruncatedIsAskedAgainOverTCP(t *testing.T) {
	s, asked := datagrams(t, func(_ int, q *dns.Message) [][]byte {
		m := answer(q)
		m.Truncated = true
		return [][]byte{packed(t, m)}
	})
	q := question("www.example.com", dns.TypeA)
	keep := dnsclient.Client{Network: kernel{}, KeepTruncated: true}
	if r, err := keep.Do(t.Context(), s, q); err != nil || !r.Message.Truncated || r.Truncated {
		t.Errorf("kept: %+v, %v", r, err)
	}
	c := dnsclient.Client{Network: kernel{}}
	// Nothing listens on TCP: the cut answer comes with the error, or no answer.
	if _, err := c.Do(t.Context(), s, q); err == nil || !strings.Contains(err.Error(), "did not fit a datagram (TC), and over TCP") {
		t.Errorf("no TCP: %v", err)
	}
	stream(t, s.Addr.Port(), nil, func(conn net.Conn, q *dns.Message) {
		send(conn, packed(t, answer(q, address("192.0.2.1"))))
	})
	r, err := c.Do(t.Context(), s, q)
	if err != nil || !r.Truncated || r.Transport != dnsclient.TCP || len(r.Message.Answers) != 1 || asked.Load() != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A message may come in pieces, and behind others.
func TestTCPInPieces(t *testing.T) {
	s := stream(t, 0, nil, func(c net.Conn, q *dns.Message) {
		other := answer(q)
		other.ID++
		send(c, packed(t, other))
		b := packed(t, answer(q, address("192.0.2.1")))
		for _, x := range append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) {
			c.Write([]byte{x})
		}
	})
	c := dnsclient.Client{Network: kernel{}}
	r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
	if err != nil || r.Transport != dnsclient.TCP || len(r.Message.Answers) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// RFC 7858: the certificate is checked against the server's name, or else its
// address, and ALPN says "dot".
func TestRFC7858_TLS(t *testing.T) {
	a, err := pki.NewAuthority("test", false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Issue(pki.Leaf{Names: []string{"dns.example", "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	alpn := make(chan string, 10)
	s := stream(t, 0, &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"dot"}}, func(c net.Conn, q *dns.Message) {
		alpn <- c.(*tls.Conn).ConnectionState().NegotiatedProtocol
		send(c, packed(t, answer(q, address("192.0.2.1"))))
	})
	c := dnsclient.Client{Network: kernel{}, TLS: &tls.Config{RootCAs: a.Pool()}}
	for _, name := range []string{"dns.example", ""} {
		s.Name = name
		r, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA))
		if err != nil || r.Transport != dnsclient.TLS || len(r.Message.Answers) != 1 {
			t.Errorf("%q: %+v, %v", name, r, err)
			continue
		}
		if got := <-alpn; got != "dot" {
			t.Errorf("ALPN %q", got)
		}
	}
	s.Name = "other.example"
	var wrong *tls.CertificateVerificationError
	if _, err := c.Do(t.Context(), s, question("www.example.com", dns.TypeA)); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "over tls") {
		t.Errorf("another name: %v", err)
	}
	s.Name = "dns.example"
	strangers := dnsclient.Client{Network: kernel{}}
	if _, err := strangers.Do(t.Context(), s, question("www.example.com", dns.TypeA)); !errors.As(err, &wrong) {
		t.Errorf("an unknown authority: %v", err)
	}
}

func soa(serial uint32) dns.Resource {
	return dns.NewResource(dns.MustName("example.com"), 300, dns.SOA{Primary: dns.MustName("ns.example.com"), Mailbox: dns.MustName("admin.example.com"), Serial: serial})
}

// A transfer ends with its second SOA record, in whichever message that comes
// (RFC 5936 §2.2); of an IXFR answer one alone means "nothing new", and one in
// differences has the new serial three times (RFC 1995 §4).
func TestTransfers(t *testing.T) {
	www := func(ip string) dns.Resource { return address(ip) }
	for _, c := range []struct {
		name     string
		typ      dns.Type
		messages [][]dns.Resource
		records  int
		fails    string
	}{
		{"AXFR in one message", dns.TypeAXFR, [][]dns.Resource{{soa(2), www("192.0.2.1"), soa(2)}}, 3, ""},
		{"AXFR in three", dns.TypeAXFR, [][]dns.Resource{{soa(2)}, {www("192.0.2.1"), www("192.0.2.2")}, {soa(2)}}, 4, ""},
		{"IXFR, nothing new", dns.TypeIXFR, [][]dns.Resource{{soa(2)}}, 1, ""},
		{"IXFR, whole", dns.TypeIXFR, [][]dns.Resource{{soa(2), www("192.0.2.1"), soa(2)}}, 3, ""},
		{"IXFR in differences", dns.TypeIXFR, [][]dns.Resource{{soa(2), soa(1), www("192.0.2.1"), soa(2), www("192.0.2.2"), soa(2)}}, 6, ""},
		{"no SOA first", dns.TypeAXFR, [][]dns.Resource{{www("192.0.2.1")}}, 1, "does not begin with an SOA record"},
		{"cut off", dns.TypeAXFR, [][]dns.Resource{{soa(2), www("192.0.2.1")}}, 2, "before its answer was whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stream(t, 0, nil, func(conn net.Conn, q *dns.Message) {
				for _, records := range c.messages {
					send(conn, packed(t, answer(q, records...)))
				}
				// One more would be the next transfer's, and is not read.
				if c.fails == "" {
					send(conn, packed(t, answer(q, www("192.0.2.99"))))
				}
			})
			s.Transport = dnsclient.UDP // transfers go over TCP whatever is asked for
			n := 0
			client := dnsclient.Client{Network: kernel{}}
			err := client.Transfer(t.Context(), s, question("example.com", c.typ), func(r *dnsclient.Reply) error {
				n += len(r.Message.Answers)
				return nil
			})
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("%v, want %q", err, c.fails)
			}
			if n != c.records {
				t.Errorf("%d records, want %d", n, c.records)
			}
		})
	}
	// A server that refuses ends it, and so does the caller.
	refuses := stream(t, 0, nil, func(conn net.Conn, q *dns.Message) {
		m := answer(q)
		m.Rcode = dns.RcodeRefused
		send(conn, packed(t, m))
	})
	client := dnsclient.Client{Network: kernel{}}
	enough := errors.New("enough")
	for _, want := range []error{nil, enough} {
		var rcode dns.Rcode
		err := client.Transfer(t.Context(), refuses, question("example.com", dns.TypeAXFR), func(r *dnsclient.Reply) error {
			rcode = r.Message.Rcode
			return want
		})
		if err != want || rcode != dns.RcodeRefused {
			t.Errorf("%v, %v", err, rcode)
		}
	}
}

// A query that cannot be written is refused before anybody is asked.
func TestQueryThatDoesNotFit(t *testing.T) {
	q := question("www.example.com", dns.TypeA)
	for range 3000 {
		q.Answers = append(q.Answers, dns.NewResource(dns.MustName("www.example.com"), 1, dns.TXT{Strings: []string{string(bytes.Repeat([]byte("x"), 200))}}))
	}
	c := dnsclient.Client{Network: kernel{}}
	if _, err := c.Do(t.Context(), dnsclient.Server{Addr: netip.MustParseAddrPort("127.0.0.1:1")}, q); err == nil {
		t.Error("sent")
	}
}
