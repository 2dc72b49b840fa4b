package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
	"peel/internal/kernel"
)

// Network is where a resolver sends its queries.
type Network interface {
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Resolver drives the recursive engine over a network. It is safe for use
// from many goroutines.
type Resolver struct {
	net   Network
	clock clock.Clock
	ctx   context.Context
	stop  context.CancelFunc

	mu      sync.Mutex
	engine  *recursor.Resolver
	waiting map[int]func(*recursor.Result)
	open    map[int]context.CancelFunc
	timer   *time.Timer
	work    recursor.Workspace
	running sync.WaitGroup
}

// NewResolver starts a resolver with a cache of its own. It ends with Close.
func NewResolver(cfg recursor.Config, c *cache.Cache, n Network, clk clock.Clock) *Resolver {
	ctx, stop := context.WithCancel(context.Background())
	d := &Resolver{net: n, clock: clk, ctx: ctx, stop: stop, engine: recursor.New(cfg, c, kernel.Random64), waiting: map[int]func(*recursor.Result){}, open: map[int]context.CancelFunc{}}
	d.timer = time.AfterFunc(time.Hour, d.tick)
	return d
}

// Close ends the resolver; questions under way get no answer.
func (d *Resolver) Close() {
	d.stop()
	d.mu.Lock()
	d.timer.Stop()
	for _, cancel := range d.open {
		cancel()
	}
	d.mu.Unlock()
	d.running.Wait()
}

func (d *Resolver) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.poll()
}

// poll does what the engine wants done. d.mu is held.
func (d *Resolver) poll() {
	for {
		now := d.clock.Now()
		actions, next := d.engine.Poll(now)
		for _, a := range actions {
			switch a.Kind {
			case recursor.SendUDP, recursor.SendTCP:
				d.send(a)
			case recursor.CloseSocket:
				if cancel := d.open[a.Socket]; cancel != nil {
					cancel()
					delete(d.open, a.Socket)
				}
			case recursor.Answered:
				f := d.waiting[a.Question]
				delete(d.waiting, a.Question)
				if f != nil {
					f(a.Result)
				}
			}
		}
		if len(actions) > 0 {
			continue // what was done may have more to do
		}
		if d.ctx.Err() == nil && next != clock.Never {
			d.timer.Reset(max(next.Sub(d.clock.Now()), 0))
		}
		return
	}
}

// send opens a socket for a query and tells the engine what comes back.
func (d *Resolver) send(a recursor.Action) {
	ctx, cancel := context.WithCancel(d.ctx)
	d.open[a.Socket] = cancel
	d.running.Go(func() {
		failed := func(err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if ctx.Err() == nil {
				d.engine.InputError(d.clock.Now(), a.Socket, err)
				d.poll()
			}
		}
		dial, msg, next := d.net.DialUDP, a.Msg, readDatagram
		if a.Kind == recursor.SendTCP {
			dial, msg, next = d.net.DialTCP, dns.AppendStream(nil, a.Msg), dns.ReadStream
		}
		c, err := dial(ctx, a.Server)
		if err != nil {
			failed(err)
			return
		}
		defer c.Close()
		stop := context.AfterFunc(ctx, func() { c.Close() })
		defer stop()
		if _, err := c.Write(msg); err != nil {
			failed(err)
			return
		}
		buf := make([]byte, 4096)
		for ctx.Err() == nil {
			answer, err := next(c, buf)
			if err != nil {
				failed(err)
				return
			}
			d.mu.Lock()
			d.engine.Input(d.clock.Now(), a.Socket, a.Server, answer)
			d.poll()
			d.mu.Unlock()
		}
	})
}

func readDatagram(c io.Reader, buf []byte) ([]byte, error) {
	n, err := c.Read(buf)
	return buf[:n], err
}

// maxWaiting bounds the questions of clients that wait for servers.
const maxWaiting = 10_000

var errNoAnswer = errors.New("the resolver was closed")

// Lookup resolves one question.
func (d *Resolver) Lookup(ctx context.Context, q dns.Question, unchecked bool) (*recursor.Result, error) {
	done := make(chan *recursor.Result, 1)
	d.mu.Lock()
	id := d.engine.Ask(d.clock.Now(), q, unchecked)
	d.waiting[id] = func(r *recursor.Result) { done <- r }
	d.poll()
	d.mu.Unlock()
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.ctx.Done():
		return nil, errNoAnswer
	}
}

// request is what a query asks for, beside its question.
type request struct {
	q         *dns.Message
	do, ad    bool
	unchecked bool
	edns      bool
	limit     int
}

// read judges a query; with an rcode, that is all of the answer.
func read(q *dns.Message, query []byte, limit int) (request, dns.Rcode) {
	err := q.Unpack(query)
	e, has := q.EDNS()
	r := request{q: q, do: e.DNSSECOK, ad: q.AuthenticData, unchecked: q.CheckingDisabled, edns: has, limit: limit}
	if limit < dns.MaxMessage {
		offered := 512
		if has {
			offered = max(offered, int(e.UDPSize))
		}
		r.limit = min(limit, offered)
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return r, dns.RcodeNotImp
	case err != nil || len(q.Questions) != 1 || q.Trailing > 0:
		return r, dns.RcodeFormErr
	case has && e.Version != 0:
		return r, dns.RcodeBadVers
	case !q.RecursionDesired:
		return r, dns.RcodeRefused // RFC 8906: others' questions are not answered from the cache
	}
	return r, 0
}

func (r *request) response() *dns.Message {
	return &dns.Message{Header: dns.Header{ID: r.q.ID, Response: true, Opcode: r.q.Opcode, RecursionDesired: r.q.RecursionDesired,
		RecursionAvailable: true, CheckingDisabled: r.unchecked}, Questions: r.q.Questions}
}

func (r *request) finish(dst []byte, m *dns.Message, errs []dns.ExtendedError) []byte {
	if r.edns {
		e := dns.EDNS{UDPSize: udpLimit, DNSSECOK: r.do}
		for _, x := range errs {
			if len(x.Text) > 200 {
				x.Text = x.Text[:200]
			}
			e.Options = append(e.Options, x.Option())
		}
		m.Additional = append(m.Additional, e.Resource())
	} else if m.Rcode > 15 {
		m.Rcode = dns.RcodeServFail
	}
	return zone.Fit(dst, m, r.limit)
}

// Cached implements Recursive.
func (d *Resolver) Cached(q *dns.Message, dst, query []byte, limit int) []byte {
	if len(query) < 12 || query[2]&0x80 != 0 {
		return dst
	}
	r, rcode := read(q, query, limit)
	m := r.response()
	if rcode != 0 {
		m.Rcode = rcode
		if rcode == dns.RcodeFormErr {
			m.Questions = nil
		}
		return r.finish(dst, m, nil)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	ok, refresh := d.engine.Cached(now, &d.work, m, q.Questions[0], r.do, r.ad, r.unchecked)
	if !ok {
		return dst
	}
	if refresh {
		d.engine.Refresh(now, q.Questions[0])
		d.poll()
	}
	return r.finish(dst, m, nil)
}

// Resolve implements Recursive.
func (d *Resolver) Resolve(query []byte, _ netip.AddrPort, limit int, reply func(msg []byte)) {
	q := &dns.Message{}
	r, rcode := read(q, query, limit)
	if rcode != 0 {
		m := r.response()
		m.Rcode = rcode
		reply(r.finish(nil, m, nil))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) >= maxWaiting {
		m := r.response()
		m.Rcode = dns.RcodeServFail
		reply(r.finish(nil, m, []dns.ExtendedError{{Code: dns.EDEOther, Text: "too many questions at once"}}))
		return
	}
	id := d.engine.Ask(d.clock.Now(), q.Questions[0], r.unchecked)
	d.waiting[id] = func(res *recursor.Result) {
		m := r.response()
		res.Fill(m, r.do, r.ad)
		out := r.finish(nil, m, res.Errors)
		go reply(out) // a slow client must not hold the engine
	}
	d.poll()
}

// CacheEntries returns what the cache holds, in canonical order.
func (d *Resolver) CacheEntries() ([]*cache.Entry, cache.Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.engine.Cache()
	return c.All(d.clock.Now()), c.Stats()
}

// Flush forgets a name; with below, all names under it too.
func (d *Resolver) Flush(name dns.Name, below bool) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.engine.Flush(name, below)
}
