package analyze

import (
	"cmp"
	"slices"
	"time"

	"peel/clock"
	"peel/trace"
)

// following hands out what has ended, so that a capture without an end can be
// analysed: what was handed out is forgotten.
type following struct {
	consume func(part *trace.Trace)
	event   int        // the newest ID
	fresh   int        // records since the last look
	quiet   clock.Time // since the last record, as far as Idle was told
}

// OnEnd has f called with what has ended, as it ends: a part of the trace that
// holds one request with its events, one lookup with its own, or one connection
// with those that belong to no request. A request has ended when its response is
// whole or it failed; a lookup when nothing is asked any more; a connection when
// both sides have closed it. IDs are those of the whole: what a request's
// Connection and Lookup name comes in another part.
//
// What was handed out is forgotten, so memory is bounded by what is open at
// once, and Trace tells of that alone. Call it before the first record; End hands
// out the rest. The part is the caller's own.
//
// Parts come a little later than what they tell of: what belongs to it may still
// come, and a look at what is open costs as much as that is large. Flush looks
// at once.
func (a *Analyzer) OnEnd(f func(part *trace.Trace)) { a.follow = &following{consume: f} }

// grace is how long after its end something is kept, for what belongs to it and
// comes later: the last decisions about a request, the other family's answer.
const grace = clock.Time(200 * time.Millisecond)

// maxFollowedEvents bounds the events that a connection keeps for its own part,
// beside those of its requests.
const maxFollowedEvents = 1000

// look hands out what has ended when enough has happened since the last time, so
// that looking costs no more than reading.
func (a *Analyzer) look() {
	f := a.follow
	if f.fresh++; f.fresh*4 >= len(a.events)+len(a.order.exchanges)+len(a.order.conns)+len(a.order.lookups) {
		a.Flush()
	}
}

// Flush hands out what has ended by now. It does nothing without OnEnd.
func (a *Analyzer) Flush() { a.handOut(false) }

// Idle does what Flush does when no record has come for so long: where nothing
// follows, what has ended would wait for the next record. Tell it first of the
// moment when the silence begins, with 0.
func (a *Analyzer) Idle(silence time.Duration) {
	if f := a.follow; f != nil {
		f.quiet = clock.Time(silence)
		a.handOut(false)
		f.quiet = 0
	}
}

func (a *Analyzer) handOut(all bool) {
	f := a.follow
	if f == nil {
		return
	}
	f.fresh = 0
	exchanges, conns, lookups := a.takeEnded(all)
	if len(exchanges)+len(conns)+len(lookups) == 0 && len(a.events) < a.lim.Events {
		return
	}
	// Timings name events by their IDs: each has its own before one is handed out.
	slices.SortStableFunc(a.events, func(x, y *trace.Event) int { return cmp.Compare(x.Time, y.Time) })
	for _, e := range a.events {
		if e.ID == 0 {
			f.event++
			e.ID = f.event
		}
	}
	ofExchange, ofConn, ofLookup := a.sortOut(exchanges, conns, lookups)
	part := func(events []*trace.Event) *trace.Trace {
		t := a.newTrace()
		t.Events = append(t.Events, events...)
		return t
	}
	for _, l := range lookups {
		t := part(ofLookup[l.tr.ID])
		t.Lookups = append(t.Lookups, l.trace(a))
		l.handed = true
		f.consume(t)
	}
	for _, x := range exchanges {
		t := part(ofExchange[x.tr.ID])
		t.Exchanges = append(t.Exchanges, x.trace(a))
		f.consume(t)
	}
	for _, c := range conns {
		t := part(ofConn[c.tr.ID])
		own := c.trace()
		t.Connections = append(t.Connections, own)
		for _, e := range t.Events {
			a.carriers(t, own, e)
		}
		f.consume(t)
		c.handedOut()
	}
}

// handedOut lets go of what only the trace needs.
func (c *conn) handedOut() {
	c.book(&c.a.handed)
	if f := c.flow; f != nil {
		c.a.wire.sent -= len(f.sent[0]) + len(f.sent[1])
		f.sent = [2][]sent{}
	}
}

// takeEnded takes what has ended out of what is open, in the order of the
// beginnings.
func (a *Analyzer) takeEnded(all bool) (exchanges []*exchange, conns []*conn, lookups []*lookup) {
	now := a.now + a.follow.quiet
	a.order.exchanges = slices.DeleteFunc(a.order.exchanges, func(x *exchange) bool {
		if !all && !x.over(now) {
			return false
		}
		exchanges = append(exchanges, x)
		delete(a.exchanges, x.number)
		if x.conn != nil {
			x.conn.open--
		}
		return true
	})
	a.order.lookups = slices.DeleteFunc(a.order.lookups, func(l *lookup) bool {
		if !all && !l.over(now) {
			return false
		}
		lookups = append(lookups, l)
		delete(a.lookups, l.number)
		return true
	})
	a.order.conns = slices.DeleteFunc(a.order.conns, func(c *conn) bool {
		if !all && !c.over(now) {
			return false
		}
		conns = append(conns, c)
		delete(a.conns, c.socket)
		return true
	})
	return exchanges, conns, lookups
}

// sortOut gives events to what they belong to and takes them out of those of
// what is open.
func (a *Analyzer) sortOut(exchanges []*exchange, conns []*conn, lookups []*lookup) (ofExchange, ofConn, ofLookup map[int][]*trace.Event) {
	ofExchange, ofConn, ofLookup = map[int][]*trace.Event{}, map[int][]*trace.Event{}, map[int][]*trace.Event{}
	for _, x := range exchanges {
		ofExchange[x.tr.ID] = []*trace.Event{}
	}
	for _, c := range conns {
		ofConn[c.tr.ID] = []*trace.Event{}
	}
	for _, l := range lookups {
		ofLookup[l.tr.ID] = []*trace.Event{}
	}
	kept := map[int]int{}
	a.events = slices.DeleteFunc(a.events, func(e *trace.Event) bool {
		for _, place := range []struct {
			id int
			of map[int][]*trace.Event
		}{{e.Exchange, ofExchange}, {e.Lookup, ofLookup}, {e.Connection, ofConn}} {
			if list, ok := place.of[place.id]; ok && place.id != 0 {
				place.of[place.id] = append(list, e)
				return true
			}
		}
		if e.Exchange == 0 {
			// Of a long connection, or of none: the first ones tell.
			if kept[e.Connection]++; kept[e.Connection] > maxFollowedEvents {
				a.skipped++
				return true
			}
		}
		return false
	})
	return ofExchange, ofConn, ofLookup
}

// over tells whether an exchange has ended, and long enough ago.
func (x *exchange) over(now clock.Time) bool {
	if x.conn != nil && x.conn.released {
		return true
	}
	r := x.tr.Response
	whole := r != nil && r.Body.Complete && x.tr.Request.Body.Complete && r.Status != 101
	if !whole && x.failed == nil {
		x.ended = 0
		return false
	}
	if x.ended == 0 {
		x.ended = now
	}
	return now-x.ended > grace
}

// over tells whether nothing more is to come of a lookup.
func (l *lookup) over(now clock.Time) bool {
	switch {
	case l.number == 0:
		return now-l.last > l.patience() // another question may follow
	case l.end == nil:
		return now-l.last > 2*sameLookup
	}
	return now-l.last > grace // a decision has ended it
}

// over tells whether a connection has ended and its requests were handed out.
func (c *conn) over(now clock.Time) bool {
	if c.open > 0 {
		return false
	}
	mine := c.tr.Attempts != nil || c.accepted || c.lookup != nil
	switch {
	case mine:
		return c.tr.Closed != nil && c.a.time(now)-*c.tr.Closed > trace.Time(grace)
	case c.flow != nil:
		return c.flow.closed
	}
	return c.forgotten
}
