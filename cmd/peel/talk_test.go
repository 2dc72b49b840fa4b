package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"peel/clock"
	"peel/evidence/analyze"
	"peel/evidence/capture"
	"peel/evidence/explain"
	"peel/trace"
	"peel/view/text"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// talk is what two programs say to each other on a socket, as the packets of a
// capture taken at the client.
type talk struct {
	mu      sync.Mutex
	at      time.Time
	seq     [2]uint32
	packets []capture.Record
	over    [2]bool
}

// Addresses of the packets of a talk, and the most that one of them carries.
const (
	talkClient, talkServer = "192.0.2.1", "192.0.2.2"
	talkPort               = 443
	talkMSS                = 1400
)

func newTalk(at time.Time) *talk {
	t := &talk{at: at, seq: [2]uint32{1000, 7000}}
	t.packet(0, tcp.SYN, nil)
	t.packet(1, tcp.SYN|tcp.ACK, nil)
	t.packet(0, tcp.ACK, nil)
	return t
}

// packet adds a packet of the client (0) or of the server (1).
func (t *talk) packet(from int, flags tcp.Flags, payload []byte) {
	addrs, ports := [2]netip.Addr{netip.MustParseAddr(talkClient), netip.MustParseAddr(talkServer)}, [2]uint16{40000, talkPort}
	h := tcp.Header{Seq: t.seq[from], Flags: flags, Window: 60000}
	if flags.Has(tcp.ACK) {
		h.Ack = t.seq[1-from]
	}
	seg := make([]byte, h.Len())
	h.Put(seg, ports[from], ports[1-from])
	seg = append(seg, payload...)
	binary.BigEndian.PutUint16(seg[tcp.ChecksumAt:], ^ip.Sum(ip.PseudoSum(addrs[from], addrs[1-from], ip.ProtoTCP, len(seg)), seg))
	head := append(append([]byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0}, addrs[from].AsSlice()...), addrs[1-from].AsSlice()...)
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(seg)))
	binary.BigEndian.PutUint16(head[10:], ^ip.Sum(0, head))
	data := append(head, seg...)
	t.packets = append(t.packets, capture.Record{Time: clock.Time(t.at.UnixNano()), Kind: capture.Packet, Data: data, Length: len(data), Link: capture.Link{Type: pcap.LinkRaw}})
	t.at = t.at.Add(time.Millisecond)
	t.seq[from] += uint32(len(payload))
	if flags.Any(tcp.SYN | tcp.FIN) {
		t.seq[from]++
	}
}

func (t *talk) bytes(from int, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(b) > 0 && !t.over[from] {
		n := min(len(b), talkMSS)
		t.packet(from, tcp.ACK|tcp.PSH, b[:n])
		b = b[n:]
	}
}

func (t *talk) end(from int, flags tcp.Flags) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over[from] {
		t.packet(from, flags, nil)
		t.over[from] = true
		if flags.Has(tcp.RST) {
			t.over[1-from] = true
		}
	}
}

// overheard is the client's end of a connection whose bytes a talk takes.
type overheard struct {
	net.Conn
	t *talk
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.t.bytes(1, p[:n])
	if errors.Is(err, io.EOF) {
		o.t.end(1, tcp.FIN|tcp.ACK)
	} else if errors.Is(err, syscall.ECONNRESET) {
		o.t.end(1, tcp.RST|tcp.ACK)
	}
	return n, err
}

func (o *overheard) Write(p []byte) (int, error) {
	o.t.bytes(0, p)
	return o.Conn.Write(p)
}

func (o *overheard) Close() error {
	o.t.end(0, tcp.FIN|tcp.ACK)
	return o.Conn.Close()
}

// overhear lets a client and a server talk over a socket. The capture begins
// at the time at.
func overhear(t *testing.T, at time.Time, client, server func(net.Conn)) []capture.Record {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan bool)
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			c.SetDeadline(time.Now().Add(patience))
			server(c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	conn := &overheard{c, newTalk(at)}
	client(conn)
	io.Copy(io.Discard, conn) // what the server says yet
	conn.Close()
	<-done
	return conn.t.packets
}

// told is what peel read tells of packets: the trace with its findings, and
// what a person sees.
func told(t *testing.T, list []capture.Record, keys []byte, limits analyze.Limits) (*trace.Trace, string) {
	t.Helper()
	limits.Body = 1 << 20
	a := analyze.New(limits)
	a.KeyLog(keys)
	for _, r := range list {
		a.Add(r)
	}
	a.End()
	tr := a.Trace()
	tr.Findings = append(tr.Findings, explain.Findings(tr)...)
	var out bytes.Buffer
	if err := text.Write(&out, tr, text.Options{Offline: true, Width: 160}); err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("PEEL_TEST_TALK"); name != "" {
		t.Logf("%s", out.String())
	}
	return tr, out.String()
}

// finding returns the finding with that ID, or nil.
func finding(tr *trace.Trace, id trace.FindingID) *trace.Finding {
	for _, f := range tr.Findings {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// onlyFindings fails unless a trace has just these TLS findings, each with evidence.
func onlyFindings(t *testing.T, tr *trace.Trace, want ...trace.FindingID) {
	t.Helper()
	var got []string
	for _, f := range tr.Findings {
		got = append(got, string(f.ID))
		if len(f.Evidence) == 0 {
			t.Errorf("%s has no evidence", f.ID)
		}
	}
	var list []string
	for _, id := range want {
		list = append(list, string(id))
	}
	if strings.Join(got, " ") != strings.Join(list, " ") {
		t.Errorf("findings %q, want %q", got, list)
	}
}
