package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"peel/clock"
	"peel/evidence/capture"
	"peel/evidence/decision"
	"peel/internal/kernel"
	"peel/trace"
)

// protocol is what an origin was found to speak.
type protocol uint8

const (
	unknown protocol = iota
	protoHTTP1
	protoHTTP2
)

// pool holds the connections of one origin.
//
// Until it is known which protocol the origin speaks there is one dial only:
// fifty first requests to an HTTP/2 origin must not make fifty connections.
// Once it is known to speak HTTP/1.1, connections are opened as needed.
type pool struct {
	c      *Client
	origin Origin

	mu      sync.Mutex
	proto   protocol
	h2      *h2conn
	idle    []*h1conn // the most recently used last
	open    int       // HTTP/1 connections, busy and idle
	dialing int
	waiters []*waiter
	noted   string // why the last connection could not be reused

	// What the latest dial is at, for whoever gives up waiting for it.
	layer      trace.LayerName
	doing      string
	cancelDial context.CancelFunc
}

// at says what a dial is at.
func (p *pool) at(layer trace.LayerName, doing string) {
	p.mu.Lock()
	p.layer, p.doing = layer, doing
	p.mu.Unlock()
}

// waiter is a request that waits for a connection; it gets exactly one
// answer.
type waiter struct {
	answer chan handout
}

// handout is a connection, or why there is none.
type handout struct {
	h1  *h1conn
	h2  *h2conn
	err error
	// retry tells the waiter to look again: the situation has changed.
	retry bool
	fresh bool
}

// get finds or opens a connection for a request.
func (p *pool) get(ctx context.Context, exchange uint32) (handout, error) {
	waited := ""
	var since clock.Time
	p.mu.Lock()
	for {
		if p.h2 != nil {
			if why := p.h2.unusable(); why == "" {
				h := p.h2
				p.mu.Unlock()
				if p.c.rec != nil {
					p.c.rec.Decide(capture.About{Exchange: exchange, Socket: h.socket}, &decision.PoolReused{Protocol: decision.HTTP2, Waited: waited})
				}
				return handout{h2: h}, nil
			} else {
				p.noted = why
				p.h2 = nil
			}
		}
		if h := p.takeIdle(); h != nil {
			p.mu.Unlock()
			p.reused(exchange, h, waited)
			return handout{h1: h}, nil
		}
		canDial := p.proto == protoHTTP1 && p.open+p.dialing < p.c.opt.MaxConnections ||
			p.proto != protoHTTP1 && p.dialing == 0
		// Requests already waiting for dials under way do not each need one
		// more, but a new request must not starve behind them.
		if canDial {
			p.dialing++
			why := p.why()
			p.noted = ""
			w := p.wait()
			p.mu.Unlock()
			p.c.rec.Decide(capture.About{Exchange: exchange}, &decision.PoolNew{Why: why, Waited: waited})
			p.dial(exchange)
			h, err := p.await(ctx, w)
			if h.h1 != nil && !h.fresh {
				// Another request was done with its connection first; the new
				// one will serve whoever comes next.
				p.reused(exchange, h.h1, waited)
			}
			if err != nil || !h.retry {
				return h, err
			}
			p.mu.Lock()
			continue
		}
		if since == 0 {
			since = p.c.clock.Now()
			waited = "for the first connection to this origin, to learn its protocol"
			if p.proto == protoHTTP1 {
				waited = fmt.Sprintf("for one of %d connections", p.c.opt.MaxConnections)
			}
			p.c.rec.Decide(capture.About{Exchange: exchange}, &decision.PoolWaited{Why: waited})
		}
		w := p.wait()
		p.mu.Unlock()
		h, err := p.await(ctx, w)
		switch {
		case err != nil:
			return h, err
		case h.h1 != nil:
			p.reused(exchange, h.h1, waited)
			return h, nil
		}
		p.mu.Lock()
	}
}

func (p *pool) reused(exchange uint32, h *h1conn, waited string) {
	if p.c.rec == nil {
		return
	}
	idle := time.Duration(0)
	if h.idleSince != 0 {
		idle = p.c.clock.Now().Sub(h.idleSince)
	}
	p.c.rec.Decide(capture.About{Exchange: exchange, Socket: h.socket}, &decision.PoolReused{Protocol: decision.HTTP1, Idle: idle, Waited: waited})
}

// why says why a new connection is needed.
func (p *pool) why() string {
	switch {
	case p.noted != "":
		return p.noted
	case p.proto == unknown:
		return "first request to this origin"
	case p.open > 0:
		return fmt.Sprintf("all %d connections to this origin are busy", p.open)
	}
	return "no connection to this origin is open"
}

// takeIdle returns an idle connection that is still alive, most recently used
// first, and closes the ones that are not.
func (p *pool) takeIdle() *h1conn {
	for len(p.idle) > 0 {
		h := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		idle := p.c.clock.Now().Sub(h.idleSince)
		switch {
		case idle > p.c.opt.IdleTimeout:
			p.noted = fmt.Sprintf("connection #%d was idle for %v, longer than the limit of %v", h.socket, round(idle), p.c.opt.IdleTimeout)
		case idle < peekAfter:
			return h
		default:
			switch kernel.Peek(h.tap.Conn) {
			case kernel.Quiet:
				return h
			case kernel.Ended:
				p.noted = fmt.Sprintf("the server had closed connection #%d while it was idle (%v)", h.socket, round(idle))
			case kernel.Talking:
				p.noted = fmt.Sprintf("connection #%d had bytes on it that nobody asked for", h.socket)
			}
		}
		p.open--
		h.close(decision.Client, p.noted)
	}
	return nil
}

// peekAfter is how long a connection must have been idle before it is looked
// at: under steady load the look would cost more than it finds.
const peekAfter = 2 * time.Millisecond

func (p *pool) wait() *waiter {
	w := &waiter{answer: make(chan handout, 1)}
	p.waiters = append(p.waiters, w)
	return w
}

func (p *pool) await(ctx context.Context, w *waiter) (handout, error) {
	select {
	case h := <-w.answer:
		return h, h.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	gaveUp := cancelled(ctx, trace.LayerPool, "waiting for a connection to "+p.origin.String())
	for i, x := range p.waiters {
		if x == w {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			if p.dialing > 0 {
				gaveUp = cancelled(ctx, p.layer, p.doing)
			}
			if len(p.waiters) == 0 && p.dialing == 1 {
				p.cancelDial() // nobody wants it any more
			}
			p.mu.Unlock()
			return handout{}, gaveUp
		}
	}
	p.mu.Unlock()
	// The answer came at the same moment: pass a connection on.
	if h := <-w.answer; h.h1 != nil {
		h.h1.idleSince = p.c.clock.Now()
		p.put(h.h1)
	}
	return handout{}, gaveUp
}

// dial opens a connection in the background, so that it outlives the request
// that asked for it when others wait for it too.
func (p *pool) dial(exchange uint32) {
	ctx, cancel := context.WithTimeoutCause(p.c.ctx, p.c.opt.ConnectTimeout, &limitError{"opening a connection", p.c.opt.ConnectTimeout})
	p.mu.Lock()
	p.cancelDial = cancel
	p.layer, p.doing = trace.LayerDNS, "looking up "+p.origin.Host
	p.mu.Unlock()
	go func() {
		defer cancel()
		h1, h2, err := p.c.connect(ctx, p, exchange)
		p.mu.Lock()
		p.dialing--
		switch {
		case err != nil:
			// Everybody who waits for this origin waits for the same failure,
			// unless other connections can still serve them.
			if p.open == 0 && p.dialing == 0 {
				p.answerAll(handout{err: err})
			} else if len(p.waiters) > 0 {
				p.answer(handout{err: err})
			}
		case h2 != nil:
			p.proto = protoHTTP2
			p.h2 = h2
			// One stream each; the connection itself queues what is too much.
			p.answerAll(handout{h2: h2, fresh: true})
		default:
			p.open++
			p.proto = protoHTTP1
			if !p.answer(handout{h1: h1, fresh: true}) {
				h1.idleSince = p.c.clock.Now()
				p.idle = append(p.idle, h1)
			}
			// The others now know that they may open their own.
			p.answerAll(handout{retry: true})
		}
		p.mu.Unlock()
	}()
}

func (p *pool) answer(h handout) bool {
	if len(p.waiters) == 0 {
		return false
	}
	w := p.waiters[0]
	p.waiters = append(p.waiters[:0], p.waiters[1:]...)
	w.answer <- h
	return true
}

func (p *pool) answerAll(h handout) {
	for p.answer(h) {
	}
}

// put takes back an HTTP/1 connection after a whole exchange.
func (p *pool) put(h *h1conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.c.ctx.Err() != nil {
		p.open--
		h.close(decision.Client, "the client was closed")
		return
	}
	if p.answer(handout{h1: h}) {
		return
	}
	if len(p.idle) >= p.c.opt.MaxIdle {
		old := p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
		p.open--
		old.close(decision.Client, fmt.Sprintf("more than %d idle connections", p.c.opt.MaxIdle))
	}
	p.idle = append(p.idle, h)
}

// gone tells the pool that a busy HTTP/1 connection was closed.
func (p *pool) gone(why string) {
	p.mu.Lock()
	p.open--
	p.noted = why
	p.answer(handout{retry: true})
	p.mu.Unlock()
}

// lost tells the pool that its HTTP/2 connection takes no more requests.
func (p *pool) lost(h *h2conn, why string) {
	p.mu.Lock()
	if p.h2 == h {
		p.h2 = nil
		p.noted = why
	}
	p.mu.Unlock()
}

func (p *pool) closeIdle(why string) {
	p.mu.Lock()
	idle, h2 := p.idle, p.h2
	p.idle, p.h2 = nil, nil
	p.open -= len(idle)
	p.mu.Unlock()
	for _, h := range idle {
		h.close(decision.Client, why)
	}
	if h2 != nil {
		h2.shut(why)
	}
}
