package analyze

import (
	"bytes"
	"slices"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
)

// dirNames are the directions as a trace names them.
var dirNames = [...]trace.Direction{capture.Out: trace.Out, capture.In: trace.In}

// conn is one connection while its evidence comes in: a stack of decoders,
// each fed by the one below.
type conn struct {
	a      *Analyzer
	socket uint32
	tr     trace.Connection

	start, done                  *trace.Event
	tlsStart, tlsDone, tlsFailed *trace.Event
	tlsLast                      *trace.Event // message of the handshake
	lookup                       *lookup

	// Of the packets that carry it, where packets are seen.
	flow                       *flow
	synEvent, established, rst *trace.Event
	noted, idleGaps            int // events made of its segments, and of its silences
	account                    trace.Account
	content                    int64     // bytes of bodies
	resolved                   []*lookup // of names, to the server's address
	released                   bool
	forgotten                  bool // by the table of flows
	open                       int  // exchanges that were not handed out
	bySocket                   bool // secrets came by the socket
	accepted                   bool // by the recorded program, which is the server
	told                       bool // the recorded program tells of its handshake

	root   layer // the bytes of the socket
	secure bool  // TLS was spoken
	sealed int64 // bytes of TLS records, of which
	plain  int64 // were what they held
	// keyed takes secrets of the socket; those that come before it is there
	// wait.
	keyed   interface{ secret(line []byte) }
	secrets [][]byte
	bound   []binding
	// begun counts the exchanges before the bytes became those of a tunnel.
	begun int
	// passing tells that the bytes became a tunnel's, of which nothing was read
	// yet.
	passing bool
}

// binding says which exchange of the capture a request on the wire is.
type binding struct {
	stream uint32
	x      *exchange
}

// chunk is bytes that came before it was known what they are.
type chunk struct {
	t    clock.Time
	data []byte
}

// stretch is one direction of a byte stream: its position, and the bytes that a
// decoder has not taken yet.
type stretch struct {
	offset int64  // of buf[0]
	buf    []byte // not yet consumed
	first  clock.Time
}

// add appends bytes that came at t.
func (f *stretch) add(t clock.Time, b []byte) {
	if len(f.buf) == 0 {
		f.first = t
	}
	f.buf = append(f.buf, b...)
}

// take consumes n bytes. When the rest came with later bytes, first is only
// an upper bound for them; at is the time of the newest bytes.
func (f *stretch) take(n int, at clock.Time) {
	f.offset += int64(n)
	rest := copy(f.buf, f.buf[n:])
	f.buf = f.buf[:rest]
	f.first = at
}

func newConn(a *Analyzer, socket uint32) *conn {
	c := &conn{a: a, socket: socket}
	c.tr.ID = int(socket)
	c.tr.Network = "tcp"
	c.root = layer{c: c, space: trace.SpaceStream}
	return c
}

func (c *conn) facts() *trace.TLS {
	if c.tr.TLS == nil {
		c.tr.TLS = &trace.TLS{Messages: []trace.TLSMessage{}}
	}
	return c.tr.TLS
}

// maxSecrets bounds the secrets that wait for their connection to speak TLS.
const maxSecrets = 64

// secret takes a line of the socket's key log.
func (c *conn) secret(line []byte) {
	switch {
	case c.keyed != nil:
		c.keyed.secret(line)
	case len(c.secrets) < maxSecrets:
		c.secrets = append(c.secrets, bytes.Clone(line))
	}
}

// speak says what is spoken on the connection, above TLS.
func (c *conn) speak(name trace.Protocol) {
	if c.tr.Protocol == "" || c.passing {
		c.tr.Protocol, c.passing = name, false
	}
}

// through says that what follows only passes through the peer.
func (c *conn) through(p *trace.Proxy) {
	c.tr.Proxy, c.passing = p, true
	c.begun = len(c.tr.Exchanges)
}

// ports are those of the client and of the server, 0 where they are not known.
func (c *conn) ports() (client, server uint16) {
	return c.tr.LocalAddr.Port(), c.tr.RemoteAddr.Port()
}

// bytes takes what the socket carried.
func (c *conn) bytes(t clock.Time, dir capture.Direction, b []byte) {
	if dir == capture.Out {
		c.tr.BytesOut += int64(len(b))
	} else {
		c.tr.BytesIn += int64(len(b))
	}
	c.root.input(t, dir, b)
	if c.secure {
		c.sealed += int64(len(b))
	}
}

// acked is how far into the stream of the other side the sender of the bytes that
// are handed on now had come: what it had received when it sent them. It is false
// where no packets tell.
func (c *conn) acked(dir capture.Direction) (ack uint32, ok bool) {
	if c.flow == nil || c.tr.Network == "udp" {
		return 0, false
	}
	ack = c.flow.streams[dir].Mark()
	return ack, ack != 0
}

// late tells that the beginning of the connection was not captured.
func (c *conn) late() bool { return c.flow != nil && !c.flow.analysis.Sides[0].SawSYN }

// behind tells whether bytes of one side are known to be missing, or wait behind
// some that are.
func (c *conn) behind(dir capture.Direction) bool {
	return c.flow != nil && c.flow.streams[dir].Behind()
}

// ended takes the end of one direction.
func (c *conn) ended(t clock.Time, dir capture.Direction) { c.root.end(t, dir) }

// endedBySocket takes the end of one direction as the program saw it. Where
// packets are seen, they tell it themselves.
func (c *conn) endedBySocket(t clock.Time, dir capture.Direction) {
	if c.flow == nil {
		c.ended(t, dir)
	}
}

// gap tells that evidence was lost: nothing after it can be read in order.
func (c *conn) gap() {
	if c.tr.BytesIn+c.tr.BytesOut > 0 {
		c.root.gap(c.a.now, capture.Out, 0)
		c.root.gap(c.a.now, capture.In, 0)
		c.root.broken = true
	}
}

// missing tells that n bytes of one direction were not captured.
func (c *conn) missing(now clock.Time, dir capture.Direction, n int64) {
	if c.tr.Failure == nil {
		c.tr.Failure = &trace.Failure{Layer: trace.LayerCapture, Code: trace.FailNotCaptured,
			Seen: "bytes of the connection are missing from the capture",
			Try:  "capture without a snap length, with a larger buffer, and on the machine itself"}
	}
	c.root.gap(now, dir, n)
}

// release lets go of what only a running connection needs.
func (c *conn) release() {
	c.released = true
	c.secrets = nil
	c.root.release()
}

func (c *conn) attemptEnded(at trace.Time, outcome trace.AttemptOutcome, err string) {
	if n := len(c.tr.Attempts); n > 0 {
		at0 := &c.tr.Attempts[n-1]
		at0.End, at0.Outcome, at0.Error = at, outcome, err
	}
}

// bind says that the next request on this connection (or the one on that
// stream) is exchange x.
func (c *conn) bind(x *exchange, stream uint32) {
	c.bound = append(c.bound, binding{stream, x})
}

// carries says that an exchange is on this connection.
func (c *conn) carries(x *exchange) {
	if x.conn == nil && x.listed {
		c.open++
	}
	x.conn = c
}

// request returns the exchange of a request that appears on the wire.
func (c *conn) request(stream uint32) *exchange {
	for i, b := range c.bound {
		if b.stream == stream {
			c.bound = append(c.bound[:i], c.bound[i+1:]...)
			c.tr.Exchanges = append(c.tr.Exchanges, b.x.tr.ID)
			return b.x
		}
	}
	return c.unbound(stream)
}

// unbound returns a new exchange of the connection, of which no decision tells.
func (c *conn) unbound(stream uint32) *exchange {
	x := c.a.newExchange()
	c.carries(x)
	x.tr.Connection, x.tr.Stream = c.tr.ID, stream
	x.tr.Reused = len(c.tr.Exchanges) > c.begun
	x.tr.Proxy = c.tr.Proxy
	c.tr.Exchanges = append(c.tr.Exchanges, x.tr.ID)
	x.passive(c, !x.tr.Reused)
	return x
}

func (c *conn) trace() *trace.Connection {
	t := c.tr
	// How an attempt ended is written into its place; exchanges are added.
	t.Attempts, t.Exchanges = slices.Clone(t.Attempts), slices.Clip(t.Exchanges)
	c.root.finish(&t)
	if c.flow != nil {
		c.flow.finish(&t)
	}
	// A handshake that no decision reports lies between its first and last
	// message.
	if t.TLS != nil {
		facts := *t.TLS
		facts.Alerts = slices.Clip(facts.Alerts)
		facts.Handshake = trace.Between(c.tlsStart, c.tlsDone)
		t.TLS = &facts
	}
	return &t
}
