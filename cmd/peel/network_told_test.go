package main

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// What a person is told of what lies below the streams: each sentence is one
// that the packets bear out.
func TestToldOfPackets(t *testing.T) {
	const get = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	for _, c := range []struct {
		name     string
		file     string // of testdata/captures, or
		packets  func(w *wireWriter)
		findings string
		says     []string
		not      []string
	}{
		{name: "a client that resets after the SYN-ACK", file: "client-resets-after-synack.pcap",
			says: []string{"the server accepted (SYN-ACK), and the client reset it"}, not: []string{"refused"}},
		{name: "one direction only", file: "one-way-capture.pcap", findings: "CAPTURE-ONE-WAY",
			says: []string{"only one direction was captured"}, not: []string{"did not answer", "SYNs"}},
		{name: "every frame twice", file: "every-frame-captured-twice.pcap", findings: "CAPTURE-DUPLICATES",
			says: []string{"18 of 36 packets are in the capture a second time", "copies"}, not: []string{"sent again (", "timeout"}},
		{name: "an ARP probe", file: "arp-probe.pcap", not: []string{"nobody answers", "\nip "}},
		{name: "GRE is read", file: "gre-http.pcap", says: []string{"200 OK"}, not: []string{"does not read"}},
		{name: "a clock that steps back", file: "panic-clock-steps-back.pcap", findings: "CAPTURE-CLOCK", says: []string{"the clock went back by 2m2s"}},
		{name: "an IP header that claims too much", file: "panic-ip-length-beyond-frame.pcap", says: []string{"1 packet"}},

		{name: "an RST to the SYN", findings: "CONNECT-REFUSED", says: []string{"192.0.2.2:80 refused the connection (RST"},
			packets: func(w *wireWriter) {
				w.client(tcp.SYN, 100, 0, "")
				w.server(tcp.RST|tcp.ACK, 0, 101, "")
			}},
		{name: "an RST that answers something else", not: []string{"refused"},
			packets: func(w *wireWriter) {
				w.client(tcp.SYN, 100, 0, "")
				w.server(tcp.RST|tcp.ACK, 0, 77, "")
			}},
		{name: "SYNs that nothing answers", findings: "CONNECT-TIMEOUT", says: []string{"192.0.2.2:80 did not answer 3 SYNs within 3.002s"},
			packets: func(w *wireWriter) {
				w.client(tcp.SYN, 100, 0, "")
				w.wait(time.Second)
				w.client(tcp.SYN, 100, 0, "")
				w.wait(2 * time.Second)
				w.client(tcp.SYN, 100, 0, "")
			}},
		{name: "one SYN at the end of a capture", says: []string{"no answer to 1 segment in the capture"}, not: []string{"did not answer"},
			packets: func(w *wireWriter) { w.client(tcp.SYN, 100, 0, "") }},
		{name: "a firewall that rejects", findings: "CONNECT-REJECTED", says: []string{"a machine on the way, 198.51.100.1, answered with ICMP communication administratively prohibited"}, not: []string{"RST to the SYN", "no route"},
			packets: func(w *wireWriter) {
				syn := w.client(tcp.SYN, 100, 0, "")
				w.icmp("198.51.100.1", 3, 13, syn)
			}},
		{name: "a port that a firewall closes", findings: "CONNECT-REJECTED", says: []string{"192.0.2.2 answered with ICMP port unreachable"}, not: []string{"(RST"},
			packets: func(w *wireWriter) { w.icmp("192.0.2.2", 3, 3, w.client(tcp.SYN, 100, 0, "")) }},
		{name: "a router that knows no way", findings: "CONNECT-UNREACHABLE", says: []string{"198.51.100.1, answered with ICMP host unreachable"},
			packets: func(w *wireWriter) { w.icmp("198.51.100.1", 3, 1, w.client(tcp.SYN, 100, 0, "")) }},
		{name: "an ICMP error that the connection survives", says: []string{"200 OK"},
			packets: func(w *wireWriter) {
				w.icmp("198.51.100.1", 3, 1, w.client(tcp.SYN, 100, 0, ""))
				w.wait(time.Second)
				w.client(tcp.SYN, 100, 0, "")
				w.server(tcp.SYN|tcp.ACK, 500, 101, "")
				w.client(tcp.ACK, 101, 501, "")
				w.client(tcp.ACK, 101, 501, get)
				w.server(tcp.ACK, 501, 101+uint32(len(get)), answer)
			}},
		{name: "localhost that listens on IPv4 only", findings: "CONNECT-ONE-FAMILY", says: []string{"[::1]:80 refused the connection, 127.0.0.1:80 accepted it: the server listens on IPv4 only"}, not: []string{"error CONNECT"},
			packets: func(w *wireWriter) {
				w.between("::1", "::1")
				w.client(tcp.SYN, 100, 0, "")
				w.server(tcp.RST|tcp.ACK, 0, 101, "")
				w.between("127.0.0.1", "127.0.0.1")
				w.opened()
				w.client(tcp.ACK, 101, 501, get)
				w.server(tcp.ACK, 501, 101+uint32(len(get)), answer)
			}},
		{name: "segments sent again", findings: "TCP-LOSS", says: []string{"(2 of 5)", "The longest time from sending a segment to sending it again was 410 ms"}, not: []string{"costs 200 ms"},
			packets: func(w *wireWriter) {
				w.opened()
				w.client(tcp.ACK, 101, 501, "GET /a HTTP/1.1\r\n")
				w.wait(203 * time.Millisecond)
				w.client(tcp.ACK, 101, 501, "GET /a HTTP/1.1\r\n")
				w.wait(409 * time.Millisecond)
				w.client(tcp.ACK, 101, 501, "GET /a HTTP/1.1\r\n")
			}},
		{name: "segments that are cut off", findings: "CAPTURE-GAP", says: []string{"200 OK", "http://a.example/a", "9998 bytes of 1 connection are missing"}, not: []string{"sent again"},
			packets: func(w *wireWriter) {
				w.opened()
				w.client(tcp.ACK, 101, 501, get)
				const head = "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
				w.snap = 14 + 20 + 20 + len(head) + 2
				w.server(tcp.ACK, 501, 101+uint32(len(get)), head+strings.Repeat("x", 10000))
			}},
		{name: "packets of protocols that are not read", says: []string{"2 of 5 packets are SCTP, which peel does not read (the first: packet 1)", "QUIC, which peel names and does not read",
			"1 of 5 packets is UDP port 514 (syslog), which", "1 of 5 packets is LLDP, which"},
			packets: func(w *wireWriter) {
				w.ip(132, make([]byte, 20))
				w.ip(132, make([]byte, 24))
				w.udp(50000, 443, append([]byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0}, make([]byte, 100)...))
				w.udp(50000, 514, []byte("<13>hello"))
				w.frame(0x88cc, make([]byte, 40))
			}},
		{name: "a wrong checksum", findings: "CHECKSUM-WRONG", says: []string{"the TCP checksum of 1 segment is wrong", "damaged on the way"},
			packets: func(w *wireWriter) {
				w.opened()
				w.client(tcp.ACK, 101, 501, get)
				w.damage = true
				w.client(tcp.ACK, 101+uint32(len(get)), 501, get)
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(testdata(t), "captures", c.file)
			if c.file == "" {
				file = filepath.Join(t.TempDir(), "f.pcapng")
				w := newWireWriter(t, file)
				c.packets(w)
				w.close()
			}
			r := plain(t, "read", file)
			for _, s := range c.says {
				if !strings.Contains(unfolded(r.stdout), s) {
					t.Errorf("%q is not said:\n%s", s, r.stdout)
				}
			}
			for _, s := range c.not {
				if strings.Contains(unfolded(r.stdout), s) {
					t.Errorf("%q is said:\n%s", s, r.stdout)
				}
			}
			var tr struct {
				Findings []trace.Finding
				Events   []struct{ ID int }
			}
			if err := json.Unmarshal([]byte(plain(t, "read", "--json", file).stdout), &tr); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, f := range tr.Findings {
				ids = append(ids, string(f.ID))
				if len(f.Evidence) == 0 {
					t.Errorf("%s has no evidence", f.ID)
				}
				for _, e := range f.Evidence {
					if e < 1 || e > len(tr.Events) {
						t.Errorf("%s: there is no event %d", f.ID, e)
					}
				}
			}
			if got := strings.Join(ids, " "); got != c.findings {
				t.Errorf("findings %q, want %q\n%s", got, c.findings, r.stdout)
			}
		})
	}
}

// wireWriter writes a capture of packets between a client and a server, a
// millisecond apart.
type wireWriter struct {
	t      *testing.T
	f      *os.File
	w      *pcap.Writer
	at     clock.Time
	ends   [2]netip.Addr
	id     uint16
	snap   int
	damage bool
}

func newWireWriter(t *testing.T, file string) *wireWriter {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &wireWriter{t: t, f: f, w: pcap.NewWriter(f, "test"), at: clock.Time(1_700_000_000 * time.Second), id: 7}
	w.w.Interface(pcap.Interface{Link: pcap.LinkEthernet})
	w.between("192.0.2.1", "192.0.2.2")
	return w
}

func (w *wireWriter) close() {
	if err := w.w.Err(); err != nil {
		w.t.Fatal(err)
	}
	w.f.Close()
}

func (w *wireWriter) wait(d time.Duration) { w.at += clock.Time(d) }
func (w *wireWriter) between(client, server string) {
	w.ends = [2]netip.Addr{netip.MustParseAddr(client), netip.MustParseAddr(server)}
}

func (w *wireWriter) opened() {
	w.client(tcp.SYN, 100, 0, "")
	w.server(tcp.SYN|tcp.ACK, 500, 101, "")
	w.client(tcp.ACK, 101, 501, "")
}

func (w *wireWriter) client(flags tcp.Flags, seq, ack uint32, payload string) []byte {
	return w.segment(0, flags, seq, ack, payload)
}

func (w *wireWriter) server(flags tcp.Flags, seq, ack uint32, payload string) []byte {
	return w.segment(1, flags, seq, ack, payload)
}

func (w *wireWriter) segment(from int, flags tcp.Flags, seq, ack uint32, payload string) []byte {
	src, dst := w.ends[from], w.ends[1-from]
	ports := [2]uint16{40000, 80}
	h := tcp.Header{Seq: seq, Ack: ack, Flags: flags, Window: 64000}
	b := make([]byte, h.Len())
	h.Put(b, ports[from], ports[1-from])
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[tcp.ChecksumAt:], ^ip.Sum(ip.PseudoSum(src, dst, ip.ProtoTCP, len(b)), b))
	if w.damage {
		b[tcp.ChecksumAt]++
	}
	return w.packet(src, dst, byte(ip.ProtoTCP), b)
}

func (w *wireWriter) ip(protocol byte, payload []byte) {
	w.packet(w.ends[0], w.ends[1], protocol, payload)
}

func (w *wireWriter) udp(from, to uint16, payload []byte) {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	w.ip(byte(ip.ProtoUDP), append(append(b, 0, 0), payload...))
}

// icmp is an error about a packet, to its sender.
func (w *wireWriter) icmp(from string, typ, code byte, about []byte) {
	b := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, about...)
	binary.BigEndian.PutUint16(b[2:], ^ip.Sum(0, b))
	w.packet(netip.MustParseAddr(from), w.ends[0], byte(ip.ProtoICMP), b)
}

// packet writes an IP packet and returns it.
func (w *wireWriter) packet(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	var b []byte
	typ := uint16(0x0800)
	if src.Is4() {
		w.id++
		b = []byte{0x45, 0, 0, 0, byte(w.id >> 8), byte(w.id), 0x40, 0, 64, protocol, 0, 0}
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(b[10:], ^ip.Sum(0, b))
	} else {
		typ = 0x86dd
		b = []byte{0x60, 0, 0, 0, 0, 0, protocol, 64}
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	}
	b = append(b, payload...)
	w.frame(typ, b)
	return b
}

func (w *wireWriter) frame(typ uint16, b []byte) {
	f := append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, byte(typ>>8), byte(typ))
	f = append(f, b...)
	kept := f
	if w.snap > 0 && w.snap < len(f) {
		kept = f[:w.snap]
	}
	w.at += clock.Time(time.Millisecond)
	w.w.Packet(&pcap.Block{Time: w.at, Data: kept, Length: len(f)})
}
