package analyze

import (
	"net/url"
	"slices"
	"strings"

	"peel/clock"
	"peel/evidence/decision"
	"peel/trace"
)

// exchange is one request and its response while the evidence comes in. It
// keeps the events between which its phases lie.
type exchange struct {
	number   uint32     // that decisions use; 0 when none does
	ended    clock.Time // seen to have ended
	listed   bool       // among those of the trace
	tr       trace.Exchange
	conn     *conn
	lookup   *lookup
	attempts []*conn // connections opened for it
	opens    bool    // its connection was opened for it, as only packets tell
	// resolved is the answer after which it was; nil where the lookup had ended.
	resolved *trace.Event
	decoded  *int64

	start, failed       *trace.Event
	sendFirst, sendLast *trace.Event
	respFirst, respLast *trace.Event
	informational       []int

	// fault is what the bytes show to be wrong. Where decisions tell of the
	// exchange, they know better.
	fault *trace.Failure
	// apart tells that it was said of this exchange itself what the capture lacks
	// of it.
	apart bool
	read  *decision.BodyRead // the client had it all
	coded coded              // the response's body, while it comes
}

// trace fills in what follows from the whole of the evidence.
func (x *exchange) trace(a *Analyzer) *trace.Exchange {
	x.goBack()
	t := x.tr
	t.Request.Body = settled(t.Request.Body)
	t.Timings = x.timings()
	if t.Timings.Total != nil {
		t.Start, t.End = t.Timings.Total.Start, t.Timings.Total.End
	} else {
		t.End = max(t.Start, a.time(a.now))
	}
	if t.Request.Headers == nil {
		t.Request.Headers = []trace.Header{}
	}
	if t.Response != nil {
		r := *t.Response
		r.Body = settled(r.Body)
		r.Informational = slices.Clip(x.informational)
		if x.decoded != nil {
			r.Body.DecodedSize = *x.decoded
		}
		if x.read != nil && !r.Body.Complete {
			// Whoever read it had all of it, whatever was captured.
			r.Body.Missing += x.read.Size - r.Body.WireSize
			r.Body.WireSize, r.Body.Complete = x.read.Size, true
		}
		t.Response = &r
	} else if x.read != nil {
		t.Response = &trace.Response{Status: int(x.read.Status), Headers: []trace.Header{}, Body: emptyBody()}
		t.Response.Body.WireSize, t.Response.Body.Missing, t.Response.Body.Complete = x.read.Size, x.read.Size, true
	}
	if t.Failure == nil && x.number == 0 {
		t.Failure = x.fault
		if c := x.conn; c != nil && t.Response == nil && c.tr.Failure != nil && c.tr.Failure.Layer == trace.LayerTLS {
			t.Failure = c.tr.Failure // why there was no answer
		}
	}
	if x.conn != nil {
		if t.Protocol == "" {
			t.Protocol = x.conn.tr.Protocol
		}
		if t.Failure == nil && x.conn.tr.Failure != nil && t.Response == nil && !x.apart {
			t.Failure = x.conn.tr.Failure
		}
	}
	return &t
}

// settled is a body that the analysis does not change any more. Content only
// gets longer; of the pieces the last one grows in its place.
func settled(b trace.Body) trace.Body {
	b.Content = slices.Clip(b.Content)
	b.Pieces = slices.Clone(b.Pieces)
	return b
}

// opened returns the connection that was opened for this exchange and that
// carries it.
func (x *exchange) opened() *conn {
	for _, c := range x.attempts {
		if c == x.conn {
			return c
		}
	}
	// The request never got that far: the attempt that came furthest tells.
	if x.conn == nil {
		for i := len(x.attempts) - 1; i >= 0; i-- {
			if x.attempts[i].done != nil {
				return x.attempts[i]
			}
		}
	}
	return nil
}

func (x *exchange) timings() trace.Timings {
	var t trace.Timings
	var firstWork *trace.Event
	if l := x.lookup; l != nil {
		t.DNS = trace.Between(l.start, l.end)
		if l.early != nil {
			t.DNS = trace.Between(l.start, l.early)
		}
		if x.resolved != nil {
			t.DNS = trace.Between(l.start, x.resolved)
		}
		firstWork = l.start
	}
	if c := x.opened(); c != nil {
		end := c.done
		if c.tlsDone != nil {
			end = c.tlsDone
		}
		// Happy Eyeballs: the phase begins with the first attempt, not with
		// the one that won.
		start := x.attempts[0].start
		t.Connect = trace.Between(start, end)
		t.TCP = x.handshake(c)
		t.SSL = trace.Between(c.tlsStart, c.tlsDone)
		if c.tlsDone == nil && c.tlsFailed != nil {
			t.SSL = trace.Between(c.tlsStart, c.tlsFailed)
			t.Connect = trace.Between(start, c.tlsFailed)
		}
		if firstWork == nil {
			firstWork = start
		}
	}
	if t.Connect == nil && len(x.attempts) > 0 {
		t.Connect = trace.Between(x.attempts[0].start, x.failed)
	}
	if firstWork == nil {
		firstWork = x.sendFirst
	}
	t.Blocked = trace.Between(x.start, firstWork)
	t.Send = trace.Between(x.sendFirst, x.sendLast)
	// A response can begin before the request has ended; there is no wait then.
	t.Wait = trace.Between(x.sendLast, x.respFirst)
	t.Receive = trace.Between(x.respFirst, x.respLast)
	// What a failure cut short lasted until the failure.
	if x.respFirst == nil && t.Wait == nil {
		t.Wait = trace.Between(x.sendLast, x.failed)
	}
	if x.respLast != nil && x.failed != nil && x.failed.Time > x.respLast.Time {
		t.Receive = trace.Between(x.respFirst, x.failed)
	}
	first := x.start
	if first == nil {
		first = x.sendFirst
	}
	last := x.respLast
	if last == nil || x.failed != nil && x.failed.Time > last.Time {
		if x.failed != nil {
			last = x.failed
		}
	}
	t.Total = trace.Between(first, last)
	return t
}

// handshake is how long the network took to open c: as its packets show it, else
// as the program was told. Where other addresses were tried before, it begins
// with the first of them.
func (x *exchange) handshake(c *conn) *trace.Interval {
	from, to := c.start, c.done
	if c.established != nil {
		to = c.established
	}
	switch {
	case x.attempts[0] != c:
		from = x.attempts[0].start
	case c.synEvent != nil:
		from = c.synEvent
	}
	return trace.Between(from, to)
}

// keep keeps the beginning of a message's content, as far as is asked for.
func (a *Analyzer) keep(b *trace.Body, data []byte) {
	n := min(a.lim.Body-len(b.Content), a.lim.Bodies-a.bodies, len(data))
	if n > 0 && b.Missing == 0 && int64(len(b.Content)+len(data)) <= b.WireSize {
		a.bodies += n
		b.Content = append(b.Content, data[:n]...)
	}
}

// passive fills in what decisions tell of other exchanges: the connection was
// opened for the first on it, after a lookup that nobody else used.
func (x *exchange) passive(c *conn, first bool) {
	if c.flow == nil || c.tr.Attempts != nil || !first {
		return
	}
	if c.start == nil {
		return // the connection was there before the capture began
	}
	x.attempts = []*conn{c}
	x.start = c.start
	x.opens = true
	if c.tlsDone == nil {
		c.tlsDone = c.tlsLast
	}
}

// goBack finds the lookup that a request's connection was opened after: the
// one for the host that it names, which is known when its head was read.
func (x *exchange) goBack() {
	if !x.opens || x.tr.URL == "" {
		return
	}
	x.opens = false
	c := x.conn
	l := resolvedFor(c.resolved, x.host())
	if l == nil || l.end == nil {
		return
	}
	x.tr.Lookup = l.tr.ID
	if !l.used && c.tr.Opened-l.tr.End < trace.Time(sameLookup) {
		x.lookup, l.used = l, true
		x.start = l.start
		x.resolved = l.before(c.tr.Opened)
	}
}

// before is the last answer of a lookup before a connection was opened, where
// others came after it: the client did not wait for them.
func (l *lookup) before(opened trace.Time) *trace.Event {
	if l.end.Time <= opened {
		return nil
	}
	var last *trace.Event
	for _, as := range l.asks {
		if as.came != nil && as.came.Time <= opened && (last == nil || as.came.Time > last.Time) {
			last = as.came
		}
	}
	return last
}

// host is the one whose address the client had to find: the request's own, or
// empty where that is another's, a proxy's, or not told.
func (x *exchange) host() string {
	if x.conn.tr.Proxy != nil || x.tr.Method == "CONNECT" || strings.Contains(x.tr.Request.Target, "://") {
		return ""
	}
	u, err := url.Parse(x.tr.URL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
