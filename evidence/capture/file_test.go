package capture

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/decision"
	"peel/wire/pcap"
)

// list is a Source of records that are there.
type list struct{ recs []Record }

func (l *list) Next(bool) (Record, bool) {
	if len(l.recs) == 0 {
		return Record{}, false
	}
	r := l.recs[0]
	l.recs = l.recs[1:]
	return r, true
}

func drain(s Source) (out []Record) {
	for {
		r, ok := s.Next(true)
		if !ok {
			return out
		}
		r.Data = bytes.Clone(r.Data)
		out = append(out, r)
	}
}

// evidence has a record of each kind.
func evidence() []Record {
	decide := func(t clock.Time, socket uint32, d decision.Decision) Record {
		return Record{Time: t, Kind: Decided, Socket: socket, Exchange: 1, Lookup: 2, Stream: 5, Decision: d}
	}
	at := netip.MustParseAddrPort
	big := bytes.Repeat([]byte("0123456789"), 15000) // more than one made-up packet
	return []Record{
		decide(1_700_000_000_000_000_001, 0, &decision.LookupStarted{Host: "a.example."}),
		decide(1_700_000_000_000_000_002, 0, &decision.LookupEnded{Addresses: []decision.Address{{IP: netip.MustParseAddr("192.0.2.7"), Source: "dns", TTL: 300}}}),
		decide(1_700_000_000_000_000_003, 3, &decision.ConnectDone{Local: at("192.0.2.1:40000"), Remote: at("192.0.2.7:443")}),
		{Time: 1_700_000_000_000_000_004, Kind: Stream, Dir: Out, Socket: 3, Data: []byte("hello"), Length: 5},
		{Time: 1_700_000_000_000_000_005, Kind: Secret, Socket: 3, Data: []byte("CLIENT_RANDOM 00 11"), Length: 19},
		{Time: 1_700_000_000_000_000_006, Kind: Stream, Dir: In, Socket: 3, Data: big, Length: len(big)},
		decide(1_700_000_000_000_000_007, 4, &decision.SocketOpened{Transport: decision.UDP, Local: at("[2001:db8::1]:5000"), Remote: at("[2001:db8::2]:53")}),
		{Time: 1_700_000_000_000_000_008, Kind: Stream, Dir: Out, Socket: 4, Data: []byte("query"), Length: 5},
		{Time: 1_700_000_000_000_000_009, Kind: Stream, Dir: Out, Socket: 9, Data: []byte("of an unknown socket"), Length: 20},
		{Time: 1_700_000_000_000_000_010, Kind: Packet, Data: []byte("a packet"), Length: 80, Link: Link{Type: pcap.LinkEthernet, Where: "eth0", Sent: true, Partial: true, Comments: []string{"seen"}}},
		{Time: 1_700_000_000_000_000_011, Kind: Lost, Length: 77},
	}
}

func stored(t *testing.T, o FileOptions, recs []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewFileWriter(&b, o)
	for _, r := range recs {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What was stored comes back, record for record; only long streams come in
// pieces, and names are told once more.
func TestFileRoundTrip(t *testing.T) {
	file := stored(t, FileOptions{Application: "test", Secrets: true}, evidence())
	r, err := NewFileReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var got []Record
	shared := 0
	for _, rec := range drain(r) {
		switch {
		case rec.Kind == Secret && rec.Socket == 0:
			shared++ // the block that other readers understand
			continue
		}
		if d, ok := rec.Decision.(*decision.CaptureNames); ok {
			want := []decision.HostNames{{IP: netip.MustParseAddr("192.0.2.7"), Names: []string{"a.example"}}}
			if !reflect.DeepEqual(d.Hosts, want) {
				t.Errorf("names %v", d.Hosts)
			}
			continue
		}
		if n := len(got); n > 0 && rec.Kind == Stream && got[n-1].Kind == Stream && got[n-1].Time == rec.Time {
			got[n-1].Data = append(got[n-1].Data, rec.Data...)
			got[n-1].Length += rec.Length
			continue
		}
		got = append(got, rec)
	}
	want := evidence()
	if len(got) != len(want) || shared != 1 {
		t.Fatalf("%d records came back of %d, %d blocks of secrets", len(got), len(want), shared)
	}
	for i := range want {
		if !reflect.DeepEqual(normal(got[i]), normal(want[i])) {
			t.Errorf("record %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func normal(r Record) string {
	return fmt.Sprintf("%d %d %d %d %d %q %d %d %d %T %+v %+v", r.Time, r.Kind, r.Dir, r.Socket, r.Length, r.Data, r.Exchange, r.Lookup, r.Stream, r.Decision, r.Decision, r.Link)
}

// Of a file that an older version stored all is read but the decisions, and
// one remark says so.
func TestFileOfFormatOne(t *testing.T) {
	file := bytes.ReplaceAll(stored(t, FileOptions{Secrets: true}, evidence()), mark, []byte("peel\x01"))
	r, err := NewFileReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	comments, sockets, partial := 0, map[uint32]int{}, false
	for _, rec := range drain(r) {
		switch d := rec.Decision.(type) {
		case nil:
			sockets[rec.Socket] += len(rec.Data)
			partial = partial || rec.Link.Partial
		case *decision.CaptureFormat:
			comments++
			if d.Format != 1 || d.Known != format {
				t.Errorf("%+v", d)
			}
		case *decision.CaptureNames:
		default:
			t.Errorf("%+v", d)
		}
	}
	if comments != 1 || sockets[3] < 150_000 || sockets[4] != 5 || !partial {
		t.Errorf("%d remarks, bytes of sockets %v, partial checksums %v", comments, sockets, partial)
	}
}

// What is private is taken out of what was decided before it is stored.
func TestFileRedacts(t *testing.T) {
	recs := []Record{{Kind: Decided, Exchange: 1, Decision: &decision.RequestStarted{Method: "GET", Target: "/?token=hunter2", Normalised: []string{"hunter2"}}},
		{Kind: Decided, Decision: &decision.Unknown{Called: "later.thing", Raw: []byte("hunter2")}},
		{Kind: Packet, Data: []byte("x"), Length: 1, Link: Link{Type: pcap.LinkRaw}}}
	file := stored(t, FileOptions{Redact: func(s string) string { return strings.ReplaceAll(s, "hunter2", "-") }}, recs)
	if bytes.Contains(file, []byte("hunter2")) || !bytes.Contains(file, []byte("/?token=-")) {
		t.Errorf("%q", file)
	}
}

// Secrets are stored only when asked for.
func TestFileWithoutSecrets(t *testing.T) {
	file := stored(t, FileOptions{}, evidence())
	if bytes.Contains(file, []byte("CLIENT_RANDOM")) {
		t.Error("the file holds secrets that nobody asked for")
	}
}

// Secrets stand before the packets that they open, which readers in one pass
// need.
func TestSecretsComeFirst(t *testing.T) {
	recs := []Record{{Time: 1, Kind: Packet, Data: []byte("x"), Length: 1, Link: Link{Type: pcap.LinkRaw}}, {Time: 2, Kind: Secret, Socket: 1, Data: []byte("A B C"), Length: 5}}
	r, err := pcap.NewReader(bytes.NewReader(stored(t, FileOptions{Secrets: true}, recs)))
	if err != nil {
		t.Fatal(err)
	}
	secrets := false
	for {
		b, err := r.Next()
		if err == io.EOF {
			break
		}
		if b.Kind == pcap.KindSecrets {
			secrets = true
		}
		if b.Kind == pcap.KindPacket && !secrets {
			t.Error("a packet stands before the secrets")
		}
	}
}

// Packets are recorded later than decisions; in order they are told by time.
func TestInOrder(t *testing.T) {
	d := func(at clock.Time) Record { return Record{Time: at, Kind: Decided, Decision: &decision.RequestBound{}} }
	p := func(at clock.Time) Record { return Record{Time: at, Kind: Packet} }
	m := func(at clock.Time) Record { return Record{Time: at, Kind: Mark} }
	src := &list{[]Record{d(1), d(5), p(2), p(3), d(9), m(6), p(7), p(8), d(20), m(10), d(21)}}
	var got []clock.Time
	for _, r := range drain(InOrder(src, true)) {
		got = append(got, r.Time)
	}
	if fmt.Sprint(got) != "[1 2 3 5 7 8 9 20 21]" {
		t.Errorf("%v", got)
	}
}

func TestMerge(t *testing.T) {
	p := func(at clock.Time) Record { return Record{Time: at, Kind: Packet} }
	var got []clock.Time
	for _, r := range drain(Merge(&list{[]Record{p(1), p(4), p(9)}}, &list{}, &list{[]Record{p(2), p(3), p(10)}})) {
		got = append(got, r.Time)
	}
	if fmt.Sprint(got) != "[1 2 3 4 9 10]" {
		t.Errorf("%v", got)
	}
}

func TestRecorderKeepsPackets(t *testing.T) {
	r := NewRecorder(&ticking{}, Options{})
	r.Stream(1, Out, []byte("seen"))
	r.ByPackets()
	r.Stream(1, Out, []byte("not recorded twice"))
	l := Link{Type: pcap.LinkEthernet, Where: "lo", Received: true, Partial: true}
	r.Packet(77, l, 2000, []byte("bytes"))
	r.Mark(80)
	r.Close()
	got := drain(r.Cursor())
	if len(got) != 3 || got[1].Time != 77 || got[1].Length != 2000 || string(got[1].Data) != "bytes" || !reflect.DeepEqual(got[1].Link, l) || got[2].Kind != Mark || got[2].Time != 80 {
		t.Errorf("%+v", got)
	}
}

// A file that says anything about itself is read without a panic, and records
// have the kinds that there are.
func FuzzFileReader(f *testing.F) {
	var b bytes.Buffer
	w := NewFileWriter(&b, FileOptions{Secrets: true})
	for _, r := range evidence() {
		w.Write(r)
	}
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := NewFileReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		defer r.Close()
		for range 10000 {
			rec, ok := r.Next(true)
			if !ok {
				break
			}
			if rec.Kind < Packet || rec.Kind > Lost {
				t.Fatalf("%+v", rec)
			}
		}
	})
}
