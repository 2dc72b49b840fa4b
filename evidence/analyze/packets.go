package analyze

import (
	"fmt"
	"net/netip"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/cooked"
	"peel/wire/ethernet"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// wire is the lower half of the analysis: packets in, byte streams out.
type wire struct {
	fragments    *ip.Reassembler
	flows        map[flowKey]*flow
	datagrams    map[flowKey]*conn // UDP
	bound        map[uint16]uint32 // local port → socket, of what peel opened
	unattributed uint32            // connections that no decision names, so far
	packets      int               // so far; the number of the current one
	account      trace.Account
	kept         []*trace.Packet
	cur          packet
	last         clock.Time
	unknown      map[pcap.LinkType]bool
	troubles     map[trace.EventName]int // how often each kind was met; only the first become events
	names        nameBook
	copies       copies
	hosts        hosts
	unread       tally
	honest       map[maker]bool // senders of datagrams with a right checksum
	rawKept      int
	sent         int // entries of the maps from streams to packets
	// datagramBytes counts the payloads of DNS.
	datagramBytes int64
	shown         trace.Packet // handed to the hook, and used again
}

// flowKey names a flow by its ends and the virtual network they are in; the
// lesser end stands first, so that both directions have the same key.
type flowKey struct {
	a, b    netip.AddrPort
	network uint32
}

func (p *packet) key(src, dst netip.AddrPort) flowKey {
	if c := src.Addr().Compare(dst.Addr()); c > 0 || c == 0 && src.Port() > dst.Port() {
		return flowKey{dst, src, p.network}
	}
	return flowKey{src, dst, p.network}
}

// packet is the current packet as far as it has been read. It is used again
// for each.
type packet struct {
	rec     *capture.Record
	id      int
	layers  []trace.Layer // all headers, from the outside in
	carrier int           // bytes of headers outside of link
	depth   int           // packets inside packets
	network uint32        // virtual, that its addresses belong to
	link    span          // where each header and payload stands; length 0 for none
	net     span
	trans   span
	payload span
	proto   string // of trans
	eth     ethernet.Header
	cooked  cooked.Header
	hasEth  bool
	ip      ip.Packet
	isIP    bool
	src     netip.AddrPort
	dst     netip.AddrPort
	about   []netip.AddrPort // what it speaks of beside these
	parts   []ip.Part        // when the payload was put together from fragments

	copy   int // the packet that this one is a copy of; 0 for none
	conn   *conn
	dir    capture.Direction
	offset int64 // in the stream, of the payload
	inflow bool
	notes  []string
	text   string
	lead   int // of text: between whom
	tcp    tcp.Segment
	flow   *flow
	named  *dns.Message // that a datagram holds
	short  bool         // of its datagram less is there than it says
	note   tcp.Note
	sum    ip.Verdict
}

type span struct{ at, len int }

// Bounds of the events about one kind of trouble in the capture, and how far
// its clock may go back without a word: several interfaces are not captured in
// exact order.
const (
	maxClockEvents     = 8
	maxMalformedEvents = 16
	clockTolerance     = time.Second
)

func (a *Analyzer) wireOf() *wire {
	if a.wire == nil {
		a.wire = &wire{fragments: ip.NewReassembler(ip.Limits{}),
			flows: map[flowKey]*flow{}, hosts: hosts{}, datagrams: map[flowKey]*conn{}, bound: map[uint16]uint32{},
			unknown: map[pcap.LinkType]bool{}, troubles: map[trace.EventName]int{},
			names: a.newNameBook()}
	}
	return a.wire
}

// packet takes a packet from its link header down to the bytes of a stream.
func (a *Analyzer) packet(r *capture.Record) {
	w := a.wireOf()
	w.packets++
	p := &w.cur
	*p = packet{rec: r, id: w.packets, notes: p.notes[:0], parts: p.parts[:0], layers: p.layers[:0]}
	w.account.Packets++
	w.account.Frames += int64(r.Length)
	if w.last.Sub(r.Time) > clockTolerance && w.troubles[trace.EventCaptureClock] < maxClockEvents {
		w.troubles[trace.EventCaptureClock]++
		a.aboutPacket(trace.LayerCapture, trace.EventCaptureClock, fmt.Sprintf("the clock went back by %v before packet %d", w.last.Sub(r.Time).Round(time.Millisecond), p.id))
	}
	w.last = r.Time
	if len(r.Data) < r.Length {
		p.notes = append(p.notes, fmt.Sprintf("cut off after %d of %d bytes", len(r.Data), r.Length))
	}
	a.linkLayer(w, p)
	a.account(w, p)
	if a.hook != nil || a.lim.Packets > len(w.kept) {
		t := a.describe(w, p)
		if a.hook != nil {
			t.Raw = r.Data
			a.hook(t)
		}
		if a.lim.Packets > len(w.kept) {
			if a.hook != nil {
				c := *t
				t = &c
			}
			t.Raw = nil
			if w.rawKept+len(r.Data) <= a.lim.PacketBytes {
				w.rawKept += len(r.Data)
				t.Raw = append([]byte(nil), r.Data...)
			}
			w.kept = append(w.kept, t)
		}
	}
}

// aboutPacket adds an event about the current packet.
func (a *Analyzer) aboutPacket(layer trace.LayerName, name trace.EventName, text string) *trace.Event {
	e := a.event(a.now, layer, name, text)
	e.Packets = []int{a.wire.cur.id}
	return e
}

// malformedPacket notes what is wrong with the current packet. The first of
// each kind become events.
func (a *Analyzer) malformedPacket(layer trace.LayerName, at int, err error) {
	w := a.wire
	text := fmt.Sprintf("%v (at byte %d of packet %d)", err, at, w.cur.id)
	w.cur.notes = append(w.cur.notes, "malformed: "+err.Error())
	name := layer.Malformed()
	if w.troubles[name]++; w.troubles[name] <= maxMalformedEvents {
		a.aboutPacket(layer, name, text)
	}
}
