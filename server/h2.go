package server

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"peel/clock"
	"peel/wire/hpack"
	"peel/wire/http2"
	"peel/wire/httpfield"
)

// h2conn is an HTTP/2 connection. One goroutine reads and feeds the engine;
// workers run the handlers, which put their frames into the engine's output;
// a worker that finds nothing else to do sends what has gathered in one write.
//
// What keeps this going is one promise: whenever there is a request to serve,
// or output and nobody writing, a worker is on its way (call). A worker takes
// one request after the other, and before it runs a handler, which may block,
// it sees to it that another one comes for the rest. As long as handlers do
// not block, the one that comes finds nothing left to do: a batch of requests
// costs two wake-ups, not two for each.
type h2conn struct {
	*conn

	lock     sync.Mutex
	eng      *http2.Conn
	streams  map[uint32]*h2stream // queued and running
	queue    []*h2stream          // requests that no worker has taken: queue[head:]
	head     int
	unread   int  // bytes of bodies that handlers have not read
	running  int  // handlers
	coming   bool // a worker is on its way
	writing  bool // a worker is writing
	wrote    sync.Cond
	unsent   int // bytes of bodies in the engine's output
	blocked  []*h2stream
	free     []*h2stream
	halves   []half         // answered, but the request goes on
	fields   httpfield.List // scratch
	length   contentLength
	err      error // why the connection ended
	broken   error // why the reader shall end it
	stopping bool

	timer     *time.Timer
	armed     clock.Time // when it fires; 0 is never
	idleSince clock.Time

	out     []byte // the writing worker's
	writeBy time.Time
}

const (
	// h2Batch is how many bytes of bodies may wait to be written; senders of
	// more are held up.
	h2Batch = 64 << 10
	// minTick is the shortest time between looks at what is due: being a bit
	// late costs nothing, and an engine that asks too often costs little.
	minTick = 50 * time.Millisecond
	// queueFactor bounds the requests that wait for a worker, as a multiple of
	// Limits.Streams. Streams that are open are fewer; more can only be ones
	// that were reset right away (CVE-2023-44487).
	queueFactor = 2
)

func newH2(c *conn) *h2conn {
	now := c.s.clock.Now()
	h := &h2conn{conn: c, streams: map[uint32]*h2stream{}, idleSince: now}
	l := &c.s.limits
	h.eng = http2.NewConn(now, http2.Config{
		Server: true, MaxStreams: uint32(l.Streams), StallTimeout: l.Stall,
		Headers: hpack.Limits{MaxListSize: l.HeaderBytes, MaxFields: l.HeaderFields + 4}, // and the pseudo-headers
	})
	h.wrote.L = &h.lock
	h.timer = time.AfterFunc(time.Hour, h.tick)
	return h
}

func (h *h2conn) serve() {
	h.lock.Lock()
	h.arm(h.s.clock.Now())
	h.call()
	h.lock.Unlock()
	size := 64 << 10
	if h.tls != nil {
		size = record // no read of TLS gives more
	}
	buf := make([]byte, size)
	for {
		n, err := h.Read(buf)
		if h.tls == nil {
			h.tap.release()
		}
		if n > 0 {
			err = h.receive(buf[:n])
		}
		if err != nil {
			h.end(err)
			return
		}
	}
}

// receive feeds the engine and acts on what it says.
func (h *h2conn) receive(b []byte) error {
	now := h.s.clock.Now()
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.err != nil {
		return h.err
	}
	events, err := h.eng.Input(now, b)
	for i := range events {
		h.handle(&events[i], now)
	}
	if err == nil && len(h.queue)-h.head > queueFactor*h.s.limits.Streams {
		err = &http2.ConnError{Code: http2.ErrCodeEnhanceYourCalm, What: "too many requests were begun and reset"}
		h.eng.Shutdown(http2.ErrCodeEnhanceYourCalm, "")
	}
	h.arm(now)
	h.call()
	return err
}

func (h *h2conn) handle(ev *http2.Event, now clock.Time) {
	switch ev.Type {
	case http2.EventRequest:
		st := h.newStream(ev)
		h.streams[st.id] = st
		h.queue = append(h.queue, st)
		return
	case http2.EventWindowOpened:
		h.wakeBlocked()
		return
	}
	st := h.streams[ev.StreamID]
	if st == nil {
		if ev.Type == http2.EventData {
			h.discard(ev.StreamID, len(ev.Data))
		}
		return
	}
	switch ev.Type {
	case http2.EventData:
		st.received(ev)
	case http2.EventTrailers:
		st.req.trailer = append(st.req.trailer[:0], ev.Fields...)
		st.ended = true
		st.changed.Signal()
	case http2.EventReset:
		st.kill(errReset)
	}
}

// errReset is what a handler's stream dies of when it is reset.
var errReset = errors.New("server: the stream was reset")

// call makes sure that a worker comes when there is something to do. Called
// with the lock held.
func (h *h2conn) call() {
	if !h.coming && (h.runnable() || h.writable()) {
		h.coming = true
		h.s.workers.start(h)
	}
}

func (h *h2conn) runnable() bool {
	return h.head < len(h.queue) && h.running < h.s.limits.Handlers
}

func (h *h2conn) writable() bool { return !h.writing && h.err == nil && h.eng.HasOutput() }

// work implements job.
func (h *h2conn) work() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.coming = false
	for {
		full := h.unsent >= h2Batch
		switch {
		case h.runnable() && (!full || h.writing):
			st := h.queue[h.head]
			h.queue[h.head] = nil
			if h.head++; h.head == len(h.queue) {
				h.queue, h.head = h.queue[:0], 0
			}
			h.handleRequest(st)
		case h.writable():
			h.write()
		default:
			if h.stopping && h.eng.Closed() {
				h.fail(ErrClosed)
			}
			return
		}
	}
}

// handleRequest runs the handler for st. The lock is held before and after.
func (h *h2conn) handleRequest(st *h2stream) {
	if st.dead == nil {
		h.running++
		h.call()
		h.lock.Unlock()
		err := h.s.run(&st.res, &st.req)
		h.lock.Lock()
		h.running--
		st.finished(err)
	}
	delete(h.streams, st.id)
	if len(h.streams) == 0 {
		h.idleSince = h.s.clock.Now()
	}
	h.recycle(st)
}

// write sends the output until there is none. The lock is held before and
// after.
func (h *h2conn) write() {
	h.writing = true
	for h.eng.HasOutput() && h.err == nil {
		// Let every handler that can run put its frames in first: they then
		// leave in one write, and in one TLS record.
		h.lock.Unlock()
		runtime.Gosched()
		h.lock.Lock()
		h.out = h.eng.TakeOutput(h.out[:0])
		h.unsent = 0
		h.wakeBlocked()
		h.lock.Unlock()
		err := h.send(h.out)
		h.lock.Lock()
		if err != nil {
			h.fail(err)
		}
	}
	if cap(h.out) > 4*h2Batch {
		h.out = nil
	}
	h.writing = false
	h.wrote.Signal()
}

func (h *h2conn) send(p []byte) error {
	if want := h.s.after(h.s.limits.Stall); want.Sub(h.writeBy) > h.s.limits.Stall/8 {
		h.writeBy = want
		h.SetWriteDeadline(want)
	}
	return h.transmit(p)
}

func (h *h2conn) wakeBlocked() {
	for _, st := range h.blocked {
		st.blocked = false
		st.changed.Signal()
	}
	h.blocked = h.blocked[:0]
}

// tick runs what is due.
func (h *h2conn) tick() {
	now := h.s.clock.Now()
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.err != nil {
		return
	}
	h.armed = 0
	events, err := h.eng.Poll(now)
	for i := range events {
		h.handle(&events[i], now)
	}
	for _, st := range h.streams {
		switch {
		case st.waitBy == 0:
		case st.waitBy <= now:
			st.overdue()
		default:
			h.armAt(st.waitBy, now)
		}
	}
	h.resetHalves(now)
	if len(h.streams) == 0 && h.idleSince.Add(h.s.limits.Idle) <= now {
		h.stop()
	}
	h.arm(now)
	h.call()
	if err != nil {
		h.broken = err
		h.SetReadDeadline(time.Unix(1, 0))
	}
}

// arm sets the timer for what is due next. A time that has moved further away
// is left to the timer's next run, which then sees it.
func (h *h2conn) arm(now clock.Time) {
	next := h.eng.Deadline()
	if len(h.streams) == 0 {
		next = min(next, h.idleSince.Add(h.s.limits.Idle))
	}
	h.armAt(next, now)
}

func (h *h2conn) armAt(next, now clock.Time) {
	if next == clock.Never || h.armed != 0 && h.armed <= next {
		return
	}
	h.armed = next
	h.timer.Reset(max(next.Sub(now), minTick))
}

// drain implements protocol.
func (h *h2conn) drain() {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.err == nil {
		h.stop()
		h.call()
	}
}

// stop begins the graceful end.
func (h *h2conn) stop() {
	if h.stopping {
		return
	}
	now := h.s.clock.Now()
	h.stopping = true
	h.eng.Drain(now)
	h.arm(now)
}

// end is the reader's last act: it lets the engine's farewell out and closes.
func (h *h2conn) end(err error) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.broken != nil {
		err = h.broken
	}
	var bad *http2.ConnError
	if errors.As(err, &bad) {
		h.s.logf("server: %v: %v", h.remote, err)
		for h.writing {
			h.wrote.Wait()
		}
		h.write()
		if h.err == nil {
			h.lock.Unlock()
			h.linger()
			h.lock.Lock()
		}
	}
	h.fail(err)
}

// fail ends the connection and all that runs on it. Called with the lock held.
func (h *h2conn) fail(err error) {
	if h.err != nil {
		return
	}
	h.err = err
	for _, st := range h.streams {
		st.kill(err)
	}
	h.timer.Stop()
	// Closing says goodbye first, which can wait for a write that is stuck.
	go h.close()
}
