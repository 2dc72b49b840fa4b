package recursor

import (
	"container/heap"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/zone"
)

// world is an internet of name servers in virtual time: what each address
// answers, how late, and what it loses.
type world struct {
	t       testing.TB
	now     clock.Time
	r       *Resolver
	servers map[string]func(q query) []reply
	results map[int]*Result
	events  events
	seq     int
	open    map[int]bool
	queries []query // all that were sent
	seed    uint64
}

// query is one that a server got.
type query struct {
	at  clock.Time
	to  string
	tcp bool
	msg *dns.Message
	raw []byte
}

func (q query) String() string {
	transport := "udp"
	if q.tcp {
		transport = "tcp"
	}
	return fmt.Sprintf("%s %s %s", q.to, transport, strings.ToLower(q.msg.Questions[0].String()))
}

// reply is a message that comes back after a delay, or the socket's end.
type reply struct {
	after time.Duration
	msg   []byte
	from  string // another sender, when not empty
	err   error
}

type event struct {
	at     clock.Time
	seq    int
	socket int
	from   netip.AddrPort
	reply
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newWorld(t testing.TB, cfg Config) *world {
	w := &world{t: t, now: clock.Time(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano()), servers: map[string]func(query) []reply{}, results: map[int]*Result{}, open: map[int]bool{}, seed: 1}
	if cfg.Hints == nil {
		cfg.Hints = []Server{{Name: dns.MustName("a.root"), Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}
	}
	if !primed {
		cfg.NoPriming = true
	}
	w.r = New(cfg, cache.New(), w.random)
	return w
}

// primed is set by the test of priming; others count queries.
var primed = false

// random is a small generator: the same numbers in each run.
func (w *world) random() uint64 {
	w.seed ^= w.seed << 13
	w.seed ^= w.seed >> 7
	w.seed ^= w.seed << 17
	return w.seed
}

// serve puts zones at an address.
func (w *world) serve(at string, texts ...string) {
	s := zone.NewServer()
	for _, text := range texts {
		origin, rest, _ := strings.Cut(text, "\n")
		name := dns.MustName(origin)
		records, err := zone.Read(strings.NewReader("$TTL 300\n"+rest), origin, zone.ReadOptions{Origin: name})
		if err != nil {
			w.t.Fatal(err)
		}
		z, err := zone.New(name, records...)
		if err != nil {
			w.t.Fatal(err)
		}
		s.Put(z)
	}
	w.servers[at] = func(q query) []reply { return []reply{{after: 10 * time.Millisecond, msg: answerOf(s, q)}} }
}

func answerOf(s *zone.Server, q query) []byte {
	limit := 1232
	if q.tcp {
		limit = dns.MaxMessage
	}
	return s.Answer(nil, q.raw, limit)
}

// change puts a step between a server and its answers.
func (w *world) change(at string, f func(q query, honest []reply) []reply) {
	honest := w.servers[at]
	w.servers[at] = func(q query) []reply {
		var h []reply
		if honest != nil {
			h = honest(q)
		}
		return f(q, h)
	}
}

// respond makes a message that answers q.
func respond(q query, f func(m *dns.Message)) []byte {
	m := &dns.Message{Header: dns.Header{ID: q.msg.ID, Response: true, Authoritative: true}, Questions: q.msg.Questions}
	f(m)
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// run plays until nothing is left to do, at most until the given time has
// passed.
func (w *world) run(most time.Duration) {
	end := w.now.Add(most)
	for {
		actions, next := w.r.Poll(w.now)
		for _, a := range actions {
			w.act(a)
		}
		if len(actions) > 0 {
			continue
		}
		if len(w.events) > 0 && w.events[0].at <= next {
			next = w.events[0].at
		}
		if next == clock.Never || next > end {
			if w.now < end && next == clock.Never {
				return
			}
			w.now = end
			return
		}
		w.now = max(w.now, next)
		for len(w.events) > 0 && w.events[0].at <= w.now {
			e := heap.Pop(&w.events).(event)
			if !w.open[e.socket] {
				continue
			}
			if e.err != nil {
				w.r.InputError(w.now, e.socket, e.err)
			} else {
				w.r.Input(w.now, e.socket, e.from, e.msg)
			}
		}
	}
}

func (w *world) act(a Action) {
	switch a.Kind {
	case Answered:
		if w.results[a.Question] != nil {
			w.t.Errorf("question %d answered twice", a.Question)
		}
		w.results[a.Question] = a.Result
	case CloseSocket:
		if !w.open[a.Socket] {
			w.t.Errorf("socket %d closed twice", a.Socket)
		}
		delete(w.open, a.Socket)
	default:
		w.open[a.Socket] = true
		m, err := dns.Parse(a.Msg)
		if err != nil {
			w.t.Fatal(err)
		}
		q := query{w.now, a.Server.Addr().String(), a.Kind == SendTCP, m, a.Msg}
		w.queries = append(w.queries, q)
		f := w.servers[q.to]
		if f == nil {
			return // nobody there: silence
		}
		for _, r := range f(q) {
			if r.msg == nil && r.err == nil {
				continue
			}
			from := a.Server
			if r.from != "" {
				from = netip.MustParseAddrPort(r.from)
			}
			w.seq++
			heap.Push(&w.events, event{w.now.Add(r.after), w.seq, a.Socket, from, r})
		}
	}
}

func (w *world) start(name string, t dns.Type) int {
	return w.r.Ask(w.now, dns.Question{Name: dns.MustName(name), Type: t, Class: dns.ClassIN}, netip.Addr{}, false)
}

// ask resolves one question to its end.
func (w *world) ask(name string, t dns.Type) *Result {
	w.t.Helper()
	id := w.start(name, t)
	w.run(time.Minute)
	res := w.results[id]
	if res == nil {
		w.t.Fatalf("%s %s: no result", name, t)
	}
	if len(w.r.tasks) > 0 || len(w.r.exchanges) > 0 || len(w.open) > 0 {
		w.t.Errorf("%s %s: %d tasks, %d exchanges and %d sockets are left", name, t, len(w.r.tasks), len(w.r.exchanges), len(w.open))
	}
	return res
}

// text sums a result up.
func text(res *Result) string {
	s := res.Rcode.String()
	for _, e := range res.Entries {
		for _, rr := range e.Records {
			s += fmt.Sprintf(" %s %s", rr.Type, rr.Text())
		}
	}
	return s
}

func (w *world) want(name string, t dns.Type, want string) *Result {
	w.t.Helper()
	res := w.ask(name, t)
	if got := text(res); got != want {
		w.t.Errorf("%s %s: %s (%s), want %s\n%s", name, t, got, res.Reason, want, w.log())
	}
	return res
}

func (w *world) log() string {
	var b strings.Builder
	for _, q := range w.queries {
		fmt.Fprintf(&b, "  %s\n", q)
	}
	return b.String()
}

// sent counts the queries whose line holds a text.
func (w *world) sent(part string) (n int) {
	for _, q := range w.queries {
		if strings.Contains(q.String(), part) {
			n++
		}
	}
	return n
}

// plain is a small world: root, com, and example.com with two servers.
func plain(t testing.TB, cfg Config) *world {
	w := newWorld(t, cfg)
	w.serve("10.0.0.1", ".\n@ SOA a.root. h. 1 2 3 4 60\n@ NS a.root.\na.root. A 10.0.0.1\ncom NS ns.com.\nns.com. A 10.0.0.2\n")
	w.serve("10.0.0.2", "com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.2\nexample NS ns1.example\nexample NS ns2.example\nns1.example A 10.0.0.3\n"+
		"ns2.example A 10.0.0.4\nother NS ns.other\nns.other A 10.0.0.5\n")
	zone := "example.com\n@ SOA ns1 h 1 2 3 4 60\n@ NS ns1\n@ NS ns2\nns1 A 10.0.0.3\nns2 A 10.0.0.4\nwww 100 A 192.0.2.1\nalias CNAME www\n" +
		"out CNAME x.other.com.\na.b.c.d.e A 192.0.2.2\nbig TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 10) + "\nlong 864000000 A 192.0.2.3\n" +
		"loop1 CNAME loop2\nloop2 CNAME loop1\n*.w A 192.0.2.4\n"
	w.serve("10.0.0.3", zone)
	w.serve("10.0.0.4", zone)
	w.serve("10.0.0.5", "other.com\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nns A 10.0.0.5\nx A 192.0.2.50\n")
	return w
}

var errRefused = errors.New("connection refused")
