package recursor

import (
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"peel/clock"
	"peel/dns"
)

// What is scarce is shared out: places for questions among clients, sockets
// among zones, and time for signatures that do not fit among zones. Whoever
// asks for little gets it, whatever the others do.

// account is what the clients of one prefix have waiting.
type account struct {
	prefix netip.Prefix
	oldest list.List // of *client
}

// Prefix is by what clients are told apart: an IPv4 address, an IPv6 /56 (a
// site's, RFC 6177).
func Prefix(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 56
	}
	p, _ := a.Prefix(bits)
	return p
}

// admit finds a place for a client's question. One prefix gets half of all; and
// where all are taken, the oldest question of whoever has most gives way.
// Otherwise it says why there is none.
func (r *Resolver) admit(c *client, from netip.Addr) (full string) {
	p := Prefix(from)
	a := r.accounts[p]
	if a == nil {
		a = &account{prefix: p}
	}
	n := a.oldest.Len()
	if n >= max(r.cfg.MaxQuestions/2, 1) {
		r.stats.Refused++
		return fmt.Sprintf("%d questions of this client are waiting already", n)
	}
	if r.questions >= r.cfg.MaxQuestions {
		r.stats.Refused++
		if r.heaviest == nil || r.heaviest.oldest.Len() <= n+1 {
			return "too many questions at once"
		}
		r.heaviest.oldest.Front().Value.(*client).failed(&outcome{failure: "too many questions at once", code: dns.EDEOther, cause: ours})
	}
	r.accounts[p] = a
	c.account, c.place = a, a.oldest.PushBack(c)
	r.questions++
	if r.heaviest == nil || a.oldest.Len() > r.heaviest.oldest.Len() {
		r.heaviest = a
	}
	return ""
}

// leave gives the place back.
func (c *client) leave() {
	a := c.account
	if a == nil {
		return
	}
	c.account = nil
	a.oldest.Remove(c.place)
	c.r.questions--
	if a.oldest.Len() == 0 {
		delete(c.r.accounts, a.prefix)
		if c.r.heaviest == a {
			c.r.heaviest = nil
		}
	}
}

// lane is where the queries to one zone's servers stand when there is no
// socket for them. The addresses of servers that are looked up on the way are
// in a lane of their own: who needs many of them does not hold up the rest.
type lane struct {
	key   laneKey
	open  int
	queue []*request
	// waits tells that it stands among those that wait for a socket.
	waits bool
}

type laneKey struct {
	zone dns.Name // folded
	deep bool
}

// request is a query that is to be sent.
type request struct {
	t   *task
	cut *cut
	candidate
	tcp, plain bool // over TCP; without EDNS
}

// maxQueued bounds the queries that wait in one lane.
const maxQueued = 512

// share is how many of the sockets one zone may have.
func (r *Resolver) share() int { return max(r.maxOpen/4, 1) }

// lane returns that of a query.
func (r *Resolver) lane(q *request) *lane {
	k := laneKey{q.cut.zone.Fold(), q.t.depth > 0}
	l := r.lanes[k]
	if l == nil {
		l = &lane{key: k}
		r.lanes[k] = l
	}
	return l
}

// schedule sends a query, now if there is a socket for it.
func (r *Resolver) schedule(q *request) {
	l := r.lane(q)
	if len(l.queue) == 0 && l.open < r.share() && len(r.exchanges) < r.maxOpen && r.now >= r.paused {
		r.transmit(q, l)
		return
	}
	if len(l.queue) >= maxQueued {
		r.stats.Overflows++
		q.t.overflow(q.cut)
		return
	}
	r.stats.Queued++
	l.queue = append(l.queue, q)
	q.cut.out++
	r.wait(l)
}

func (r *Resolver) wait(l *lane) {
	if !l.waits {
		l.waits = true
		r.waiting = append(r.waiting, l)
	}
}

// overflow ends a task for whose query there is no room.
func (t *task) overflow(c *cut) {
	t.end(&outcome{failure: fmt.Sprintf("too many queries wait for the servers of %s", c.zone), code: dns.EDEOther, cause: ours})
}

// release sends what has waited for a socket, one of each zone in turn.
func (r *Resolver) release() {
	if r.now < r.paused {
		return
	}
	for full := 0; len(r.waiting) > full && len(r.exchanges) < r.maxOpen; {
		l := r.waiting[0]
		r.waiting = r.waiting[1:]
		if l.open >= r.share() {
			r.waiting = append(r.waiting, l)
			full++
			continue
		}
		full = 0
		q := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if len(l.queue) > 0 {
			r.waiting = append(r.waiting, l)
		} else {
			l.waits, l.queue = false, nil
		}
		q.cut.out--
		if !q.t.done && q.t.cut == q.cut {
			r.transmit(q, l)
		}
		r.drop(l)
	}
}

func (r *Resolver) drop(l *lane) {
	if l.open == 0 && len(l.queue) == 0 && !l.waits {
		delete(r.lanes, l.key)
	}
}

// local tells that a socket failed for want of something here, which says
// nothing about the server.
func local(err error) bool {
	for _, e := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pauseFor is how long no socket is opened after one could not be.
const pauseFor = 100 * time.Millisecond

// short goes on with fewer sockets, and sends the query again when one is
// free. More are used again as answers come in.
func (x *exchange) short(err error) {
	r, t := x.t.r, x.t
	r.stats.NoSocket++
	x.tell("failed", fmt.Sprintf("no socket could be opened here: %v; tried again", err), nil, dns.Name{})
	x.close()
	r.maxOpen = max(min(r.maxOpen, len(r.exchanges)), minOpen)
	r.paused = r.now.Add(pauseFor)
	r.after(pauseFor, func() {})
	if t.cut == x.cut && !t.done {
		t.dispatch(x.candidate(), x.tcp, x.plain)
	}
}

// minOpen is the fewest sockets that the resolver makes do with.
const minOpen = 8

// dead is a zone none of whose servers could be asked lately.
type dead struct {
	text  string
	code  dns.ErrorCode
	until clock.Time
	probe *task // the one question that finds out whether that has changed
	// asked is when its parent was asked for its servers anew, and glue the
	// addresses that it gave, which for a while stand beside what the child
	// says: that had led nowhere.
	asked clock.Time
	glue  map[dns.Name][]dns.Resource
}

// deadFor is how long (RFC 9520 §3.2: a second at least, five minutes at most);
// then one question goes ahead of the others.
const (
	deadFor    = 5 * time.Second
	renewAfter = 30 * time.Second
	maxDead    = 20_000
)

// deadZone is the note about a zone; nil where there is none.
func (r *Resolver) deadZone(zone dns.Name) *dead { return r.dead[zone.Fold()] }

// noteDead returns the note to be written in.
func (r *Resolver) noteDead(zone dns.Name) *dead {
	d := r.deadZone(zone)
	if d == nil {
		if len(r.dead) >= maxDead {
			makeRoom(r.dead, func(d *dead) bool { return d.until <= r.now && d.asked.Add(renewAfter) <= r.now && d.probe == nil })
		}
		d = &dead{}
		r.dead[zone.Fold()] = d
	}
	return d
}

// barred tells why a zone's servers are not to be asked for a task now. The
// first task after the time is up goes ahead.
func (t *task) barred(zone dns.Name) *dead {
	d := t.r.deadZone(zone)
	if d == nil || d.text == "" || d.probe == t {
		return nil
	}
	if t.r.now >= d.until && (d.probe == nil || d.probe.done) {
		d.probe = t
		return nil
	}
	return d
}

// meter counts work that was for nothing, of which a little is forgotten each
// moment.
type meter struct {
	work int
	at   clock.Time
}

const (
	// wasteAllowed is how much work on signatures that do not fit one zone
	// may cause at once, and wastePerSecond how much in the long run: a tenth
	// of one processor.
	wasteAllowed   = 50_000
	wastePerSecond = 100_000
	maxMeters      = 20_000
)

// wasted adds work to a zone's account.
func (r *Resolver) wasted(zone dns.Name, work int) {
	k := zone.Fold()
	m := r.meters[k]
	if m == nil {
		if len(r.meters) >= maxMeters {
			makeRoom(r.meters, func(m *meter) bool { return m.left(r.now) == 0 })
		}
		m = &meter{}
		r.meters[k] = m
	}
	m.work, m.at = m.left(r.now)+work, r.now
}

func (m *meter) left(now clock.Time) int {
	return max(m.work-int(min(now.Sub(m.at), time.Hour)/time.Microsecond)*wastePerSecond/1_000_000, 0)
}

// wasteful tells that a zone has had its share.
func (r *Resolver) wasteful(zone dns.Name) bool {
	m := r.meters[zone.Fold()]
	return m != nil && m.left(r.now) > wasteAllowed
}

// Stats counts what the resolver has done, and what it had to do without.
type Stats struct {
	Questions, Tasks, Open, Waiting int    // at present
	MaxOpen                         int    // sockets that may be open at once, at present
	Asked, Sent, Answers, Timeouts  uint64 // questions, queries, and what became of them
	Refused                         uint64 // questions for which there was no place
	Queued, Overflows               uint64 // queries that waited for a socket, or found no room to
	NoSocket                        uint64 // sockets that could not be opened
	Verified                        uint64 // signatures checked
	Barred                          uint64 // questions not asked, as the zone's servers do not answer
}

// Stats returns them.
func (r *Resolver) Stats() Stats {
	s := r.stats
	s.Questions, s.Tasks, s.Open, s.MaxOpen = r.questions, len(r.tasks), len(r.exchanges), r.maxOpen
	for _, l := range r.waiting {
		s.Waiting += len(l.queue)
	}
	return s
}
