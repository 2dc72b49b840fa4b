package analyze

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// row is an exchange as far as it does not depend on the numbers of events.
func row(x *trace.Exchange) string {
	c := *x
	for _, i := range []**trace.Interval{&c.Timings.Blocked, &c.Timings.DNS, &c.Timings.Connect, &c.Timings.SSL, &c.Timings.Send, &c.Timings.Wait, &c.Timings.Receive, &c.Timings.Total} {
		if *i != nil {
			v := **i
			v.FromEvent, v.ToEvent = 0, 0
			*i = &v
		}
	}
	c.End = 0 // of what never ended: when it was looked at
	b, _ := json.Marshal(c)
	return string(b)
}

// What is handed out piece by piece is what the trace of the whole would be.
func TestPartsAreTheWhole(t *testing.T) {
	for name, file := range seeds(t) {
		list := records(t, file)
		whole := New(Limits{})
		parts := New(Limits{})
		var got struct {
			exchanges, conns, lookups []string
			events                    map[int]bool
		}
		got.events = map[int]bool{}
		parts.OnEnd(func(p *trace.Trace) {
			if n := len(p.Exchanges) + len(p.Connections) + len(p.Lookups); n != 1 {
				t.Errorf("%s: a part of %d things", name, n)
			}
			for _, x := range p.Exchanges {
				got.exchanges = append(got.exchanges, row(x))
			}
			for _, c := range p.Connections {
				got.conns = append(got.conns, fmt.Sprint(c.ID, c.LocalAddr, c.RemoteAddr, c.Protocol, c.BytesIn, c.BytesOut, c.ClosedBy, c.Exchanges))
			}
			for _, l := range p.Lookups {
				got.lookups = append(got.lookups, fmt.Sprint(l.ID, l.Name, len(l.Steps), l.Addresses))
			}
			last := trace.Time(-1 << 62)
			for _, e := range p.Events {
				if e.ID == 0 || got.events[e.ID] || e.Time < last {
					t.Errorf("%s: event %d stands twice, or out of order", name, e.ID)
				}
				got.events[e.ID], last = true, e.Time
			}
		})
		for _, r := range list {
			whole.Add(r)
			parts.Add(r)
		}
		whole.End()
		parts.End()
		tr := whole.Trace()
		var want [3][]string
		for _, x := range tr.Exchanges {
			want[0] = append(want[0], row(x))
		}
		for _, c := range tr.Connections {
			want[1] = append(want[1], fmt.Sprint(c.ID, c.LocalAddr, c.RemoteAddr, c.Protocol, c.BytesIn, c.BytesOut, c.ClosedBy, c.Exchanges))
		}
		for _, l := range tr.Lookups {
			want[2] = append(want[2], fmt.Sprint(l.ID, l.Name, len(l.Steps), l.Addresses))
		}
		for i, have := range [][]string{got.exchanges, got.conns, got.lookups} {
			slices.Sort(have)
			slices.Sort(want[i])
			if !slices.Equal(have, want[i]) {
				t.Errorf("%s: of kind %d\n%s\nwant\n%s", name, i, strings.Join(have, "\n"), strings.Join(want[i], "\n"))
			}
		}
		rest := parts.Trace()
		if len(rest.Exchanges)+len(rest.Connections)+len(rest.Lookups) > 0 {
			t.Errorf("%s: something was not handed out", name)
		}
		if a, b := tr.Account, rest.Account; (a == nil) != (b == nil) || a != nil && *a != *b {
			t.Errorf("%s: account %+v, want %+v", name, b, a)
		}
	}
}

// request is a connection of its own with one request, from a port on.
func request(port uint16) (packets [][]byte) {
	for _, p := range conversation() {
		b := slices.Clone(p)
		at := 20
		if b[15] == 2 { // from the server
			at = 22
		}
		b[at], b[at+1] = byte(port>>8), byte(port)
		b[20+tcp.ChecksumAt], b[21+tcp.ChecksumAt] = 0, 0 // as a network card's
		packets = append(packets, b)
	}
	return packets
}

// Which connections make room for others does not change from one reading to the
// next, nor what is said of them.
func TestFlowsMakeRoomInOrder(t *testing.T) {
	var list []capture.Record
	for i := range 200 {
		k := newTalk()
		k.off = i
		k.at = clock.Time(1e9 + i*1e8)
		if i >= 100 {
			k.at += clock.Time(flowLife)
		}
		// What is said at its end: that one direction alone was captured.
		k.send(capture.Out, tcp.SYN, "").send(capture.In, tcp.SYN|tcp.ACK, "").lose().out(ask("/"))
		list = append(list, k.list...)
	}
	read := func() string {
		var b strings.Builder
		a := New(Limits{Flows: 40})
		for _, r := range list {
			a.Add(r)
		}
		a.End()
		for _, e := range a.Trace().Events {
			fmt.Fprintln(&b, e.ID, e.Connection, e.Exchange, e.Time, e.Name, e.Text)
		}
		return b.String()
	}
	first := read()
	for range 3 {
		if read() != first {
			t.Fatal("another trace of the same capture")
		}
	}
}

// What is kept is bounded by what is open, and the work by what comes.
func TestFollowingKeepsWhatIsOpen(t *testing.T) {
	parts := 0
	a := New(Limits{Flows: 100})
	a.OnEnd(func(p *trace.Trace) { parts++ })
	at := clock.Time(1e9)
	most := 0
	const n = 20_000
	for i := range n {
		for _, p := range request(uint16(1024 + i%50_000)) {
			at += 1e6
			a.Add(capture.Record{Time: at, Kind: capture.Packet, Length: len(p), Data: p, Link: capture.Link{Type: pcap.LinkRaw}})
		}
		most = max(most, len(a.events)+len(a.order.exchanges)+len(a.order.conns)+len(a.conns)+len(a.exchanges))
	}
	a.End()
	if parts != 2*n {
		t.Errorf("%d parts of %d requests and connections", parts, 2*n)
	}
	if most > 3000 {
		t.Errorf("%d things were kept at once, of 100 open connections", most)
	}
}
