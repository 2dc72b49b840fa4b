package peel_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"peel"
	"peel/client"
	"peel/dns"
	"peel/dns/stub"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/explain"
	"peel/internal/needs"
	"peel/trace"
)

// faultyServer answers as the first label of a name says, over UDP and TCP.
func faultyServer(t *testing.T) netip.AddrPort {
	t.Helper()
	l, pc := bothOn(t)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := faulty(buf[:n], false); out != nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	faultyStreams(l)
	return netip.MustParseAddrPort(l.Addr().String())
}

// bothOn listens with TCP and UDP on one port. Where somebody has the one with
// UDP already, another is tried.
func bothOn(t *testing.T) (l net.Listener, pc net.PacketConn) {
	t.Helper()
	for try := 1; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			t.Cleanup(func() { pc.Close() })
			return l, pc
		}
		if try == 10 {
			t.Fatal(err)
		}
	}
}

// faultyStreams is the same on connections, of TLS as well.
func faultyStreams(l net.Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					msg, err := dns.ReadStream(c, nil)
					if err != nil {
						return
					}
					if out := faulty(msg, true); out != nil {
						c.Write(dns.AppendStream(nil, out))
					}
				}
			}()
		}
	}()
}

func faulty(query []byte, tcp bool) []byte {
	m, err := dns.Parse(query)
	if err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	r := dns.Message{Header: dns.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}, Questions: m.Questions}
	address := func() {
		if q.Type == dns.TypeA {
			r.Answers = append(r.Answers, dns.NewResource(q.Name, 60, dns.A{Addr: netip.MustParseAddr("192.0.2.1")}))
		}
	}
	name := q.Name.Host()
	switch word, _, _ := strings.Cut(name, "."); {
	case word == "silent":
		return nil
	case word == "nope" || strings.HasSuffix(name, ".a.test") || strings.HasSuffix(name, ".b.test"):
		r.Rcode = dns.RcodeNXDomain
	case word == "fail", word == "half" && q.Type == dns.TypeAAAA:
		r.Rcode = dns.RcodeServFail
	case word == "refuse":
		r.Rcode = dns.RcodeRefused
	case word == "empty":
	case word == "formerr" && len(m.Additional) > 0:
		r.Rcode = dns.RcodeFormErr
	case word == "circle":
		r.Answers = []dns.Resource{dns.NewResource(q.Name, 60, dns.CNAME{Target: dns.MustName("b.test")}), dns.NewResource(dns.MustName("b.test"), 60, dns.CNAME{Target: q.Name})}
	case word == "big" && !tcp:
		r.Truncated = true
	default:
		address()
	}
	out, err := r.Append(nil)
	if err != nil {
		panic(err)
	}
	return out
}

// told are the findings about names, without what depends on who tells.
func told(t *trace.Trace) []string {
	var out []string
	for _, f := range t.Findings {
		if strings.HasPrefix(string(f.ID), "DNS-") {
			out = append(out, fmt.Sprintf("%s %s: %s", f.Severity, f.ID, f.Title))
		}
	}
	slices.Sort(out)
	for i := range out { // which of the two is asked first is left to chance
		out[i] = strings.Replace(out[i], "big.test. AAAA", "big.test. A", 1)
	}
	return out
}

// What a lookup that fails is found to have is found in the packets that it
// made, with the resolver's decisions and without.
func TestNamesFailTheSameLiveAndInPackets(t *testing.T) {
	servers := []netip.AddrPort{faultyServer(t), faultyServer(t)}
	mute, err := net.ListenPacket("udp", "127.0.0.1:0") // it reads nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	deaf := netip.MustParseAddrPort(mute.LocalAddr().String())
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := netip.MustParseAddrPort(gone.LocalAddr().String())
	gone.Close()
	for _, c := range []struct {
		what, host string
		servers    []netip.AddrPort
		search     []dns.Name
		packets    bool // the sockets alone do not show it
		want       []string
	}{
		{what: "healthy", host: "www.good.test", want: nil},
		{what: "FORMERR for EDNS", host: "formerr.test", want: nil},
		{what: "first server silent", host: "www.good.test", servers: []netip.AddrPort{deaf, servers[0]},
			want: []string{fmt.Sprintf("warning DNS-TIMEOUT: name server %s did not answer (2 queries, 0 replies)", deaf)}},
		{what: "all silent", host: "silent.test", servers: servers[:1],
			want: []string{fmt.Sprintf("error DNS-TIMEOUT: name server %s did not answer (4 queries, 0 replies)", servers[0])}},
		{what: "NXDOMAIN", host: "nope.test", want: []string{"error DNS-NXDOMAIN: nope.test does not exist"}},
		{what: "NXDOMAIN along a search list", host: "nope.test", search: []dns.Name{dns.MustName("a.test"), dns.MustName("b.test")},
			want: []string{"error DNS-NXDOMAIN: nope.test does not exist"}},
		{what: "search list", host: "www.good.test", search: []dns.Name{dns.MustName("a.test"), dns.MustName("b.test")},
			want: []string{`warning DNS-SEARCH-STORM: one name cost 6 queries: 2 search suffixes were tried for "www.good.test" first`}},
		{what: "no data", host: "empty.test", want: []string{"error DNS-EMPTY: empty.test has no address"}},
		{what: "SERVFAIL", host: "fail.test", want: []string{"error DNS-SERVFAIL: fail.test could not be looked up: the name servers failed"}},
		{what: "REFUSED", host: "refuse.test", want: []string{"error DNS-REFUSED: refuse.test could not be looked up: the name servers refuse"}},
		{what: "SERVFAIL for AAAA", host: "half.test", want: []string{"warning DNS-HALF-ANSWERED: AAAA of half.test was answered with SERVFAIL, and A with an address"}},
		{what: "aliases in a circle", host: "circle.test", want: []string{"error DNS-CNAME-LOOP: circle.test could not be looked up: its aliases lead in a circle"}},
		{what: "truncated", host: "big.test", want: []string{"info DNS-TRUNCATED: the answer to big.test. A was cut to fit a datagram (TC) and was asked for again over TCP"}},
		{what: "nothing listens", host: "www.good.test", servers: []netip.AddrPort{closed}, packets: true,
			want: []string{"error DNS-UNREACHABLE: www.good.test could not be looked up: no name server can be reached"}},
	} {
		for _, packets := range []peel.Packets{peel.NoPackets, peel.NeedPackets} {
			if packets == peel.NoPackets && c.packets {
				continue
			}
			t.Run(fmt.Sprintf("%s/packets=%v", c.what, packets == peel.NeedPackets), func(t *testing.T) {
				if packets == peel.NeedPackets {
					needs.Root(t)
				}
				r := stub.ParseResolvConf(nil)
				r.Servers, r.Search, r.Timeout, r.Attempts = servers, c.search, 300*time.Millisecond, 2
				if c.servers != nil {
					r.Servers = c.servers
				}
				if c.search != nil {
					r.Dots = 5
				}
				live, file := looked(t, packets, &stub.Config{Nsswitch: stub.ParseNsswitch([]byte("hosts: dns")), Resolv: r}, c.host)
				if got := told(live); !slices.Equal(got, c.want) {
					t.Errorf("live:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
				stored, err := peel.Read(context.Background(), peel.ReadOptions{}, bytes.NewReader(file))
				if err != nil {
					t.Fatal(err)
				}
				if got := told(stored); !slices.Equal(got, c.want) {
					t.Errorf("stored:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
				if packets == peel.NoPackets {
					return // the file holds what the sockets carried, and who asked is told by decisions alone
				}
				bare := undecided(t, file)
				if got := told(bare); !slices.Equal(got, c.want) {
					t.Errorf("packets alone:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
					for _, l := range bare.Lookups {
						for _, s := range l.Steps {
							t.Log(l.Name, s.Text)
						}
					}
				}
				for _, tr := range []*trace.Trace{live, stored, bare} {
					for _, f := range tr.Findings {
						// Who asked for both kinds of address is not told to ask for the other.
						if f.ID == "DNS-EMPTY" && f.WhatToDo != "Add an A or AAAA record to the zone." {
							t.Errorf("%s: %q", f.ID, f.WhatToDo)
						}
					}
				}
				for _, f := range bare.Findings {
					if strings.HasPrefix(string(f.ID), "DNS-") && len(f.Evidence) == 0 {
						t.Errorf("%s has no evidence", f.ID)
					}
				}
			})
		}
	}
}

// looked looks a name up and returns the trace and the capture.
func looked(t *testing.T, packets peel.Packets, cfg *stub.Config, host string) (*trace.Trace, []byte) {
	t.Helper()
	recording, err := peel.Record(peel.RecordOptions{Packets: packets, Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := recording.Store(&file, capture.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Options{Clock: recording.Clock(), Recorder: recording.Recorder(), Network: recording.Network(), Resolver: &client.Resolver{Config: cfg}})
	c.Lookup(context.Background(), host, 80)
	c.Close()
	if err := recording.Close(); err != nil {
		t.Fatal(err)
	}
	return recording.Trace(), file.Bytes()
}

// undecided reads the packets of a capture and nothing that a program told.
func undecided(t *testing.T, file []byte) *trace.Trace {
	t.Helper()
	r, err := capture.NewFileReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	a := analyze.New(analyze.Limits{})
	packets := 0
	for {
		rec, ok := r.Next(true)
		if !ok {
			break
		}
		if rec.Kind == capture.Packet {
			packets++
			rec.Data = bytes.Clone(rec.Data)
			a.Add(rec)
		}
	}
	if packets == 0 {
		t.Fatal("no packets")
	}
	a.End()
	tr := a.Trace()
	tr.Findings = append(tr.Findings, explain.Findings(tr)...)
	return tr
}
