// Package analyze turns a capture into a trace: records in, what happened
// out. It does not know where the capture came from. Records are taken one at
// a time, so that a capture can be analysed while it grows and need not fit
// into memory.
package analyze

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/tcp"
)

// Limits bound what an Analyzer keeps; it goes on counting past them and says
// what it left out.
type Limits struct {
	// Events bounds the events kept; 0 means 200,000.
	Events int
	// Raw bounds the bytes of one message kept for its fields and hex dump;
	// 0 means 64 KiB. Payload frames keep their first 512 bytes.
	Raw int
	// DataEvents bounds the DATA frames of one stream that become events of
	// their own; the rest are counted. 0 means 64.
	DataEvents int
	// Packets bounds the packets that become part of the trace; 0 is none.
	// Those past it are counted, and their connections analysed alike.
	Packets int
	// PacketBytes bounds the bytes of packets kept for their fields and hex
	// dump.
	PacketBytes int
	// Body bounds the bytes kept of each message's content; 0 keeps none.
	// Bodies bounds those of all messages together; 0 means 512 MiB.
	Body, Bodies int
	// Exchanges and Connections bound those that become part of the trace;
	// the ones past them are analysed, counted, and let go. 0 means 50,000
	// each.
	Exchanges, Connections int
	// Flows bounds the TCP connections that are open at once, and the UDP
	// flows; 0 means 65,536. Past it idle ones are forgotten.
	Flows int
	// TCP bounds the reassembly of each connection.
	TCP tcp.Limits
	// Roots are what the certificates of a capture are judged against, by its
	// own time. Without them only that is judged which needs none: dates and
	// names. Nobody knows what the client of a capture trusted.
	Roots *x509.CertPool
}

// Analyzer builds a trace from records. It is not safe for concurrent use.
type Analyzer struct {
	lim       Limits
	protocols []*protocol
	start     clock.Time
	now       clock.Time
	conns     map[uint32]*conn
	exchanges map[uint32]*exchange
	lookups   map[uint32]*lookup
	order     struct {
		conns     []*conn
		exchanges []*exchange
		lookups   []*lookup
	}
	sessions map[string][]byte // TLS 1.2: ticket or session ID → master secret
	events   []*trace.Event
	skipped  int
	made     struct{ exchanges, lookups int }              // so far; the newest ID
	cut      struct{ exchanges, connections, lookups int } // past the limits
	follow   *following
	handed   trace.Account // of connections that were handed out
	lost     int

	rec                capture.Record // the current one
	ids                []int
	bodies             int   // bytes of content kept
	coded              int   // bytes of bodies that wait to be decoded
	decodable, decoded int64 // what bodies might decode to, and did
	wire               *wire
	hook               func(*trace.Packet)
	keys               keyRing
	carry              keeping[*trace.Body, *[]byte] // bodies that are DNS messages
	decisions          bool                          // some were seen: the capture is peel's own
}

// New returns an empty Analyzer.
func New(l Limits) *Analyzer {
	setDefault(&l.Events, 200_000)
	setDefault(&l.Raw, 64<<10)
	setDefault(&l.DataEvents, 64)
	setDefault(&l.Flows, 1<<16)
	setDefault(&l.Bodies, 512<<20)
	setDefault(&l.Exchanges, 50_000)
	setDefault(&l.Connections, 50_000)
	return &Analyzer{lim: l, protocols: protocols, sessions: map[string][]byte{},
		conns: map[uint32]*conn{}, exchanges: map[uint32]*exchange{}, lookups: map[uint32]*lookup{},
		keys:  keyRing{lines: map[string][][]byte{}, waiting: map[string][]*tlsConn{}, search: maxGapSearch},
		carry: newKeeping[*trace.Body, *[]byte](maxCarried, nil)}
}

// OnPacket has f called for each packet as it comes, after it was analysed.
// What f is given is valid during the call. Raw is the packet.
func (a *Analyzer) OnPacket(f func(*trace.Packet)) { a.hook = f }

// Start is the time of the first record, which times of the trace count from.
func (a *Analyzer) Start() time.Time { return a.start.Std() }

// Packets is the number of packets so far.
func (a *Analyzer) Packets() int {
	if a.wire == nil {
		return 0
	}
	return a.wire.packets
}

func setDefault(v *int, d int) {
	if *v == 0 {
		*v = d
	}
}

// Add takes the next record of the capture.
func (a *Analyzer) Add(r capture.Record) {
	if r.Kind == capture.Lost {
		a.lost += r.Length
		for _, socket := range slices.Sorted(maps.Keys(a.conns)) {
			c := a.conns[socket]
			c.gap()
			if c.flow == nil && c.tr.Network != "udp" {
				// What comes next need not be what its first bytes were to
				// be: it would be taken for another request's.
				c.root.broken = true
			}
		}
		return
	}
	if a.start == 0 {
		a.start = r.Time
	}
	a.now = r.Time
	if a.follow != nil {
		defer a.look()
	}
	a.rec = r // so that nothing is allocated for each
	switch r.Kind {
	case capture.Decided:
		a.decided(&a.rec)
	case capture.Stream:
		c := a.conn(r.Socket)
		if a.lost > 0 && !c.tr.RemoteAddr.IsValid() {
			c.root.broken = true // its beginning was lost
		}
		dir := r.Dir
		if c.accepted {
			dir = capture.Out + capture.In - dir // a trace takes the client's view
		}
		c.bytes(r.Time, dir, r.Data)
	case capture.Packet:
		a.packet(&a.rec)
	case capture.Secret:
		c := a.conns[r.Socket]
		if c == nil {
			// Of no socket that is known: whatever it opens, it is of.
			a.shared(r.Data)
			return
		}
		c.secret(r.Data)
	}
}

// End says that no record will follow: what waits for more is given up.
func (a *Analyzer) End() {
	for _, c := range a.order.conns {
		if c.flow != nil {
			c.flow.close(a.now)
		}
	}
	a.handOut(true)
}

// Read takes everything that a source has, waiting for more if wait is set.
func (a *Analyzer) Read(c capture.Source, wait bool) {
	for {
		r, ok := c.Next(wait)
		if !ok {
			return
		}
		a.Add(r)
	}
}

func (a *Analyzer) time(t clock.Time) trace.Time { return trace.Time(t - a.start) }

// event adds an event. The caller may fill in the rest of it.
func (a *Analyzer) event(t clock.Time, layer trace.LayerName, name trace.EventName, text string) *trace.Event {
	e := &trace.Event{Time: a.time(t), Layer: layer, Name: name, Text: text}
	if len(a.events) >= a.lim.Events {
		a.skipped++
		return e
	}
	a.events = append(a.events, e)
	return e
}

func (a *Analyzer) conn(socket uint32) *conn {
	c := a.conns[socket]
	if c == nil {
		c = newConn(a, socket)
		a.conns[socket] = c
		if len(a.order.conns) < a.lim.Connections {
			a.order.conns = append(a.order.conns, c)
		} else {
			a.cut.connections++
		}
	}
	return c
}

func (a *Analyzer) exchange(n uint32) *exchange {
	x := a.exchanges[n]
	if x == nil {
		x = a.newExchange()
		x.number = n
		a.exchanges[n] = x
	}
	return x
}

func (a *Analyzer) newExchange() *exchange {
	x := &exchange{}
	x.tr.Start = a.time(a.now)
	a.made.exchanges++
	x.tr.ID = a.made.exchanges
	x.tr.Request.Body = emptyBody()
	if len(a.order.exchanges) < a.lim.Exchanges {
		x.listed = true
		a.order.exchanges = append(a.order.exchanges, x)
	} else {
		a.cut.exchanges++
	}
	return x
}

// ExchangeID returns the ID that the trace has for the exchange which the
// recorded program numbered n (capture.Decision.Exchange). It is false when
// no evidence names that number, as it was dropped or has not come yet. The
// exchange is not in the trace when it is past Limits.Exchanges.
func (a *Analyzer) ExchangeID(n uint32) (id int, ok bool) {
	x := a.exchanges[n]
	if x == nil {
		return 0, false
	}
	return x.tr.ID, true
}

func emptyBody() trace.Body {
	return trace.Body{Framing: trace.FramingNone, DecodedSize: -1, Announced: -1}
}

func (a *Analyzer) lookup(n uint32) *lookup {
	l := a.lookups[n]
	if l == nil {
		l = a.newLookup(a.now)
		l.number = n
		a.lookups[n] = l
	}
	return l
}

// newLookup makes the next lookup. Past the limit it is counted only.
func (a *Analyzer) newLookup(t clock.Time) *lookup {
	l := &lookup{begun: t, last: t}
	a.made.lookups++
	l.tr.ID = a.made.lookups
	l.tr.Start, l.tr.End = a.time(t), a.time(t)
	if len(a.order.lookups) < a.lim.Connections {
		a.order.lookups = append(a.order.lookups, l)
	} else {
		a.cut.lookups++
	}
	return l
}

// Findings about the analysis itself; those about what it shows are made by
// package explain.
const (
	CaptureLoss trace.FindingID = "CAPTURE-LOSS"
	TraceCut    trace.FindingID = "TRACE-CUT"
)

// newTrace makes a trace of nothing: its lists are empty, not absent.
func (a *Analyzer) newTrace() *trace.Trace {
	return &trace.Trace{
		SchemaVersion: trace.SchemaVersion,
		Start:         a.start.Std(),
		Exchanges:     []*trace.Exchange{}, Lookups: []*trace.Lookup{}, Connections: []*trace.Connection{},
		Packets: []*trace.Packet{}, Events: []*trace.Event{}, Findings: []*trace.Finding{},
	}
}

// Trace returns what the records so far tell. The Analyzer can go on: it does
// not change what it has returned, which others may read meanwhile. So what it
// changes in its place is copied; a list that only gets longer is shared, cut
// to its length.
func (a *Analyzer) Trace() *trace.Trace {
	t := a.newTrace()
	// Keys can come after the bytes they open, so events are not made in the
	// order of their times.
	slices.SortStableFunc(a.events, func(x, y *trace.Event) int { return cmp.Compare(x.Time, y.Time) })
	for i, e := range a.events {
		if a.follow == nil {
			e.ID = i + 1
		} else if e.ID == 0 {
			a.follow.event++
			e.ID = a.follow.event
		}
	}
	if a.lost > 0 {
		t.Findings = append(t.Findings, &trace.Finding{ID: CaptureLoss, Severity: trace.Warning, Evidence: []int{},
			Title:       fmt.Sprintf("%d bytes of evidence were dropped because the recorder was full", a.lost),
			Explanation: "What the dropped bytes carried is missing from this trace, and TLS records behind a gap cannot be decrypted.",
			WhatToDo:    "Give the recorder a higher limit, or read the trace more often."})
	}
	if a.skipped > 0 {
		t.Findings = append(t.Findings, &trace.Finding{ID: TraceCut, Severity: trace.Info, Evidence: []int{},
			Title:       fmt.Sprintf("%d events past the first %d are counted but not listed", a.skipped, a.lim.Events),
			Explanation: "The trace keeps a bounded number of events.", WhatToDo: "Trace fewer requests at once."})
	}
	if a.cut.lookups > 0 {
		t.Findings = append(t.Findings, &trace.Finding{ID: TraceCut, Severity: trace.Info, Evidence: []int{},
			Title:       fmt.Sprintf("%d lookups past the first %d are counted but not listed", a.cut.lookups, a.lim.Connections),
			Explanation: "A trace is of bounded size, however long the capture.", WhatToDo: "Read a part of the capture (editcap -A, -B)."})
	}
	if w := a.wire; w != nil && w.names.forgotten > 0 {
		t.Findings = append(t.Findings, &trace.Finding{ID: TraceCut, Severity: trace.Info, Evidence: []int{},
			Title:       fmt.Sprintf("%d DNS questions were let go before their answers could have come", w.names.forgotten),
			Explanation: fmt.Sprintf("At most %d questions are kept at once: of those let go it is not known whether they were answered.", maxQuestions),
			WhatToDo:    "Read a part of the capture (editcap -A, -B)."})
	}
	if a.cut.exchanges+a.cut.connections > 0 {
		t.Findings = append(t.Findings, &trace.Finding{ID: TraceCut, Severity: trace.Info, Evidence: []int{},
			Title:       fmt.Sprintf("%d requests and %d connections past the first %d and %d are counted but not listed", a.cut.exchanges, a.cut.connections, a.lim.Exchanges, a.lim.Connections),
			Explanation: "A trace is of bounded size, however long the capture.", WhatToDo: "Read a part of the capture (editcap -A, -B), or raise the limit of requests.", Hint: trace.HintMoreRequests})
	}
	for _, l := range a.order.lookups {
		t.Lookups = append(t.Lookups, l.trace(a))
	}
	for _, c := range a.order.conns {
		t.Connections = append(t.Connections, c.trace())
	}
	for _, x := range a.order.exchanges {
		t.Exchanges = append(t.Exchanges, x.trace(a))
	}
	byID := map[int]*trace.Connection{}
	for _, c := range t.Connections {
		byID[c.ID] = c
	}
	copies := make([]trace.Event, len(a.events))
	t.Events = make([]*trace.Event, len(a.events))
	for i, e := range a.events {
		copies[i] = *e
		t.Events[i] = &copies[i]
		a.carriers(t, byID[e.Connection], t.Events[i])
		if e.ARP != nil && a.wire != nil {
			copies[i].ARP = a.wire.arp(*e.ARP)
		}
	}
	if w := a.wire; w != nil {
		t.Packets = append(t.Packets, w.kept...)
		t.Copies = w.copies.n
		t.Unread = w.unread.list()
		if w.packets > 0 {
			t.Account = a.total()
		}
	}
	return t
}
