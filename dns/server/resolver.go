package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/internal/accept"
	"peel/internal/kernel"
)

// Network is where a resolver sends its queries.
type Network interface {
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Resolver drives the recursive engine over a network. It is safe for use
// from many goroutines. The engine has a goroutine of its own, which those that
// wait for sockets help when it is idle; what is in the cache is answered past
// it.
type Resolver struct {
	// Log is told when sockets run short, and when that is over; nil tells
	// nobody. It is set before the first question.
	Log func(text string)

	net    Network
	clock  clock.Clock
	ctx    context.Context
	stop   context.CancelFunc
	engine *recursor.Resolver

	asks      asks
	inputs    chan input
	refreshes chan dns.Question
	calls     chan func()
	ended     chan struct{} // the engine's goroutine is over
	running   sync.WaitGroup
	trouble   accept.Trouble

	// mu guards the engine, but for its cache, and what follows. Whoever waits
	// for a socket takes it only when it is free.
	mu      sync.Mutex
	waiting map[int]*ask
	open    map[int]*socket
	timer   *time.Timer
	armed   clock.Time // when it goes off
}

// input is what came in on a socket.
type input struct {
	socket int
	server netip.AddrPort
	msg    []byte
	buf    *[bufferSize]byte // where msg stands, perhaps
	err    error
}

// NewResolver starts a resolver with a cache of its own. It ends with Close.
func NewResolver(cfg recursor.Config, c *cache.Cache, n Network, clk clock.Clock) *Resolver {
	ctx, stop := context.WithCancel(context.Background())
	d := &Resolver{
		net: n, clock: clk, ctx: ctx, stop: stop, engine: recursor.New(cfg, c, kernel.Random64),
		inputs: make(chan input, 256), refreshes: make(chan dns.Question, 64), calls: make(chan func()), ended: make(chan struct{}),
		waiting: map[int]*ask{}, open: map[int]*socket{}, timer: time.NewTimer(time.Hour),
	}
	d.asks.some = make(chan struct{}, 1)
	go d.run()
	return d
}

// Close ends the resolver; questions under way get no answer.
func (d *Resolver) Close() {
	d.stop()
	<-d.ended
	d.running.Wait()
}

// Bounds of what is done at a stretch, so that nothing waits for the end of a
// flood of something else.
const (
	inputsAtOnce = 64
	asksAtOnce   = 32
)

// run is the engine's goroutine: what came in, what was asked, what is due.
func (d *Resolver) run() {
	defer close(d.ended)
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.timer.Stop()
		for _, s := range d.open {
			s.close()
		}
	}()
	for more := false; ; {
		var first func()
		if !more {
			select {
			case <-d.ctx.Done():
				return
			case in := <-d.inputs:
				first = func() { d.input(in) }
			case q := <-d.refreshes:
				first = func() { d.engine.Refresh(d.clock.Now(), q) }
			case first = <-d.calls:
			case <-d.asks.some:
			case <-d.timer.C:
				first = func() { d.armed = 0 } // whatever the clock says: it may have been set back
			}
		}
		more = d.turn(first)
		if d.ctx.Err() != nil {
			return
		}
	}
}

// turn does something, and some of what has gathered; more tells that not all
// questions have been taken.
func (d *Resolver) turn(first func()) (more bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first != nil {
		first()
	}
	for range inputsAtOnce {
		select {
		case in := <-d.inputs:
			d.input(in)
			continue
		default:
		}
		break
	}
	for n := 0; !more; n++ {
		a := d.asks.next()
		if a == nil {
			break
		}
		d.waiting[d.engine.Ask(d.clock.Now(), a.q, a.from, a.unchecked)] = a
		more = n == asksAtOnce
	}
	d.poll()
	return more
}

func (d *Resolver) input(in input) {
	if in.err != nil {
		d.engine.InputError(d.clock.Now(), in.socket, in.err)
		return
	}
	d.engine.Input(d.clock.Now(), in.socket, in.server, in.msg)
	if in.buf != nil {
		buffers.Put(in.buf)
	}
}

// poll does what the engine wants done.
func (d *Resolver) poll() {
	for {
		now := d.clock.Now()
		actions, next := d.engine.Poll(now)
		for _, a := range actions {
			switch a.Kind {
			case recursor.SendUDP, recursor.SendTCP:
				s := &socket{}
				d.open[a.Socket] = s
				d.send(s, a)
			case recursor.CloseSocket:
				if s := d.open[a.Socket]; s != nil {
					s.close()
					delete(d.open, a.Socket)
				}
			case recursor.Answered:
				f := d.waiting[a.Question]
				delete(d.waiting, a.Question)
				switch {
				case f == nil:
				case f.quick:
					f.done(a.Result)
				default:
					go f.done(a.Result) // a slow client must not hold the engine
				}
			}
		}
		if len(actions) > 0 {
			continue // what was done may have more to do
		}
		// Setting a timer wakes others up: it is left where it goes off early
		// enough, which does no harm.
		if next != clock.Never && (next < d.armed || d.armed <= now) && d.ctx.Err() == nil {
			d.armed = next
			d.timer.Reset(max(next.Sub(now), 0))
		}
		return
	}
}

// call runs f in the engine's goroutine, unless that is over.
func (d *Resolver) call(f func()) {
	done := make(chan struct{})
	select {
	case d.calls <- func() { f(); close(done) }:
		<-done
	case <-d.ended:
	}
}

// socket is one that the engine may close before it is open.
type socket struct {
	mu     sync.Mutex
	conn   net.Conn
	cancel context.CancelFunc
	closed bool
}

// hold notes how to end it; false when that is to be now.
func (s *socket) hold(c net.Conn, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conn, s.cancel = c, cancel
	return true
}

func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		s.conn.Close()
	}
	if s.cancel != nil {
		s.cancel()
	}
}

func (s *socket) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

const bufferSize = 4096

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// send sends a query on a socket of its own. What waits for nothing is done at
// once: it costs less than a goroutine and two switches to it.
func (d *Resolver) send(s *socket, a recursor.Action) {
	if a.Kind == recursor.SendTCP {
		d.running.Go(func() { d.stream(s, a) })
		return
	}
	c, err := d.net.DialUDP(d.ctx, a.Server)
	if err == nil {
		s.hold(c, nil)
		_, err = c.Write(a.Msg)
	}
	d.shortage(err)
	d.running.Go(func() {
		if err != nil {
			d.tell(s, a, input{err: err})
			return
		}
		for !s.over() {
			in := input{buf: buffers.Get().(*[bufferSize]byte)}
			n := 0
			n, in.err = c.Read(in.buf[:])
			in.msg = in.buf[:n]
			d.tell(s, a, in)
			if in.err != nil {
				return
			}
		}
	})
}

// tell hands what came in on a socket to the engine, which closes it when it
// has no more use for it.
func (d *Resolver) tell(s *socket, a recursor.Action, in input) {
	if s.over() {
		return
	}
	in.socket, in.server = a.Socket, a.Server
	if d.mu.TryLock() { // the engine is free: no need to wake its goroutine
		defer d.mu.Unlock()
		if d.ctx.Err() == nil {
			d.input(in)
			d.poll()
		}
		return
	}
	select {
	case d.inputs <- in:
	case <-d.ended:
	}
}

// stream sends a query over a connection of its own.
func (d *Resolver) stream(s *socket, a recursor.Action) {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	if !s.hold(nil, cancel) {
		return
	}
	c, err := d.net.DialTCP(ctx, a.Server)
	d.shortage(err)
	if err != nil {
		d.tell(s, a, input{err: err})
		return
	}
	defer c.Close()
	if !s.hold(c, cancel) {
		return
	}
	if _, err = c.Write(dns.AppendStream(nil, a.Msg)); err != nil {
		d.tell(s, a, input{err: err})
	}
	for err == nil && !s.over() {
		var msg []byte
		msg, err = dns.ReadStream(c, nil)
		d.tell(s, a, input{msg: msg, err: err})
	}
}

// shortage notes that a socket could not be opened, or could again.
func (d *Resolver) shortage(err error) {
	if err != nil && !accept.Short(err) {
		return
	}
	if text := d.trouble.Changed(err); text != "" && d.Log != nil {
		d.Log("asking other servers: " + text)
	}
}

var errNoAnswer = errors.New("the resolver was closed")

// Lookup resolves one question.
func (d *Resolver) Lookup(ctx context.Context, q dns.Question, unchecked bool) (*recursor.Result, error) {
	done := make(chan *recursor.Result, 1)
	d.ask(&ask{q: q, unchecked: unchecked, done: func(r *recursor.Result) { done <- r }})
	select {
	case r := <-done:
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.ctx.Done():
		return nil, errNoAnswer
	}
}
