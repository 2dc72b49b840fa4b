package analyze

import (
	"bytes"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/http2"
	"peel/wire/tlswire"
)

// proto is what is spoken on a connection, or on top of its TLS.
type proto uint8

const (
	protoUnknown proto = iota
	protoTLS
	protoHTTP1
	protoHTTP2
	protoDNS
	protoWebSocket
	protoOther
)

var protoNames = [...]trace.Protocol{protoTLS: trace.ProtocolTLS, protoHTTP1: trace.ProtocolHTTP11, protoHTTP2: trace.ProtocolHTTP2, protoDNS: trace.ProtocolDNS, protoWebSocket: trace.ProtocolWebSocket, protoOther: trace.ProtocolUnknown}

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
	tlsMessages                  []*trace.Event

	// Of the packets that carry it, where packets are seen.
	flow                       *flow
	synEvent, established, rst *trace.Event
	told, idleGaps             int
	account                    trace.Account
	content                    int64   // bytes of bodies
	resolved                   *lookup // of a name, to the server's address
	released                   bool
	bySocket                   bool // secrets came by the socket

	wire [2]stretch // bytes as the socket carried them
	app  [2]stretch // bytes of the application: the same, or what TLS held
	tls  *tlsConn
	h1   *h1conn
	h2   *h2conn
	ws   *wsconn

	spoken proto // by the application
	broken bool  // a gap or an error: bytes are only counted
	early  [2][]chunk
	bound  []binding
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
	return c
}

func (c *conn) facts() *trace.TLS {
	if c.tr.TLS == nil {
		c.tr.TLS = &trace.TLS{Messages: []trace.TLSMessage{}}
	}
	return c.tr.TLS
}

// tlsOf returns the TLS decoder, made when first needed: secrets can come
// before the first byte.
func (c *conn) tlsOf() *tlsConn {
	if c.tls == nil {
		c.tls = &tlsConn{c: c, dec: tlswire.NewDecoder(tlswire.Limits{})}
	}
	return c.tls
}

func (c *conn) secret(line []byte) {
	c.tlsOf().secret(line)
}

func (c *conn) speak(p proto) {
	c.spoken = p
	if c.tr.Protocol == "" {
		c.tr.Protocol = protoNames[p]
	}
}

// bytes takes what the socket carried.
func (c *conn) bytes(t clock.Time, dir capture.Direction, b []byte) {
	if dir == capture.Out {
		c.tr.BytesOut += int64(len(b))
	} else {
		c.tr.BytesIn += int64(len(b))
	}
	if c.broken {
		return
	}
	if c.spoken == protoDNS {
		c.dns(t, dir, b)
		return
	}
	if c.tls == nil || !c.tls.active {
		if c.spoken == protoUnknown && looksLikeTLS(c.wire[dir].offset, b) {
			c.tlsOf().active = true
			c.tls.midway = b[0] == 0x17
		}
	}
	if c.tls != nil && c.tls.active {
		off := c.wire[dir].offset
		c.wire[dir].offset += int64(len(b))
		c.tls.input(t, dir, b, off)
		return
	}
	c.application(t, dir, b)
}

// looksLikeTLS recognises the first bytes of a connection: a handshake or
// alert record of version 3.x (RFC 8446 §5.1), or application data where the
// handshake was before the capture.
func looksLikeTLS(offset int64, b []byte) bool {
	if offset != 0 || len(b) < 2 || b[1] != 3 {
		return false
	}
	return b[0] == 0x16 || b[0] == 0x15 || b[0] == 0x17 && len(b) >= 5 && b[2] <= 4 && int(b[3])<<8|int(b[4]) <= 1<<14+2048
}

var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// application takes bytes of the application protocol, in the clear or
// decrypted.
func (c *conn) application(t clock.Time, dir capture.Direction, b []byte) {
	if c.spoken == protoUnknown {
		c.sniff(t, dir, b)
		return
	}
	c.feed(t, dir, b)
}

func (c *conn) feed(t clock.Time, dir capture.Direction, b []byte) {
	f := &c.app[dir]
	switch c.spoken {
	case protoHTTP1:
		f.add(t, b)
		c.h1.run(t, dir)
	case protoHTTP2:
		f.add(t, b)
		c.h2.run(t, dir)
	case protoWebSocket:
		f.add(t, b)
		c.ws.run(t, dir)
	default:
		f.offset += int64(len(b))
	}
}

// sniff finds out what is spoken from the client's first bytes. A server that
// talks first is kept until the client has.
func (c *conn) sniff(t clock.Time, dir capture.Direction, b []byte) {
	c.early[dir] = append(c.early[dir], chunk{t, bytes.Clone(b)})
	var out []byte
	for _, e := range c.early[capture.Out] {
		out = append(out, e.data...)
	}
	switch {
	case len(out) == 0 && len(c.early[capture.In]) < 64:
		return
	case len(out) < len(preface) && len(out) > 0 && bytes.HasPrefix(preface, out):
		return
	case bytes.HasPrefix(out, preface):
		c.h2 = newH2(c)
		c.speak(protoHTTP2)
	case c.late() && looksLikeFrames(out):
		c.h2 = newH2(c)
		c.h2.begun, c.h2.late = true, true
		c.speak(protoHTTP2)
	default:
		switch looksLikeHTTP1(out) {
		case yes:
			c.h1 = newH1(c)
			c.speak(protoHTTP1)
		case perhaps:
			if len(c.early[capture.In]) < 64 {
				return
			}
			c.speak(protoOther)
		default:
			c.speak(protoOther)
		}
	}
	early := c.early
	c.early = [2][]chunk{}
	for _, d := range []capture.Direction{capture.Out, capture.In} {
		for _, e := range early[d] {
			c.feed(e.t, d, e.data)
		}
	}
}

// late tells that the beginning of the connection was not captured.
func (c *conn) late() bool {
	return c.tls != nil && c.tls.midway || c.flow != nil && !c.flow.analysis.Sides[0].SawSYN
}

// looksLikeFrames tells whether bytes are HTTP/2 frames from their first byte
// on: one or more whole ones of known types.
func looksLikeFrames(b []byte) bool {
	n := 0
	for len(b) >= http2.FrameHeaderLen {
		h := http2.ParseFrameHeader(b)
		if h.Type > http2.FrameContinuation || h.Length > 1<<14 || b[5]&0x80 != 0 || h.StreamID > 1<<24 {
			return false
		}
		n++
		b = b[min(http2.FrameHeaderLen+int(h.Length), len(b)):]
	}
	return n > 0
}

// guess is what first bytes look like.
type guess uint8

const (
	no guess = iota
	perhaps
	yes
)

// maxMethod bounds the method of a request that is recognised.
const maxMethod = 32

// maxGuess bounds the bytes of a first line that is waited for.
const maxGuess = 4096

// looksLikeHTTP1 tells whether bytes begin a request line (RFC 9112 §3): a
// token, a space, a target, and a version.
func looksLikeHTTP1(b []byte) guess {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	method, rest, ok := bytes.Cut(line, []byte(" "))
	for _, ch := range method[:min(len(method), maxMethod+1)] {
		if ch < '!' || ch > '~' || ch == ':' || ch == '"' || ch == '{' || ch == '<' {
			return no
		}
	}
	switch {
	case len(method) > maxMethod || ok && len(method) == 0 || !ok && whole:
		return no
	case whole || len(b) > maxGuess:
		if i := bytes.LastIndex(rest, []byte(" HTTP/1.")); i >= 0 || len(b) > maxGuess {
			return yes
		}
		return no
	}
	return perhaps
}

// ended takes the end of one direction.
func (c *conn) ended(t clock.Time, dir capture.Direction) {
	if c.tls != nil && c.tls.active {
		c.tls.close(dir)
	}
	if c.h1 != nil && c.spoken == protoHTTP1 {
		c.h1.close(t, dir)
	}
}

// endedBySocket takes the end of one direction as the program saw it. Where
// packets are seen, they tell it themselves.
func (c *conn) endedBySocket(t clock.Time, dir capture.Direction) {
	if c.flow == nil {
		c.ended(t, dir)
	}
}

// gap tells that bytes are missing: nothing after it can be read in order.
func (c *conn) gap() {
	if c.spoken != protoDNS && c.tr.BytesIn+c.tr.BytesOut > 0 {
		c.broken = true
	}
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

// request returns the exchange of a request that appears on the wire.
func (c *conn) request(stream uint32) *exchange {
	for i, b := range c.bound {
		if b.stream == stream {
			c.bound = append(c.bound[:i], c.bound[i+1:]...)
			c.tr.Exchanges = append(c.tr.Exchanges, b.x.tr.ID)
			return b.x
		}
	}
	x := c.a.newExchange()
	x.conn = c
	x.tr.Connection, x.tr.Stream = c.tr.ID, stream
	x.tr.Reused = len(c.tr.Exchanges) > 0
	c.tr.Exchanges = append(c.tr.Exchanges, x.tr.ID)
	x.passive(c, !x.tr.Reused)
	return x
}

// ranges says where bytes of the application stream stand, from there down.
func (c *conn) ranges(dir capture.Direction, offset, length int64) []trace.Range {
	r := trace.Range{Space: trace.SpaceStream, Connection: c.tr.ID, Direction: dirNames[dir], Offset: offset, Length: length}
	if c.tls == nil || !c.tls.active {
		return []trace.Range{r}
	}
	r.Space = trace.SpaceTLS
	below, ok := c.tls.carried(dir, offset, length)
	if !ok {
		return []trace.Range{r}
	}
	return []trace.Range{r, {Space: trace.SpaceStream, Connection: c.tr.ID, Direction: dirNames[dir], Offset: below.Offset, Length: below.Length}}
}

// message adds an event for a message of length bytes at offset of the
// application stream, of which raw is (the beginning of) the bytes.
func (c *conn) message(t clock.Time, layer trace.LayerName, name, text string, dir capture.Direction, offset int64, length int, raw []byte) *trace.Event {
	e := c.a.event(t, layer, name, text)
	e.Connection = c.tr.ID
	e.Direction = dirNames[dir]
	e.Bytes = c.ranges(dir, offset, int64(length))
	e.RawLength = length
	e.Raw = bytes.Clone(raw[:min(len(raw), c.a.lim.Raw)])
	return e
}

func (c *conn) trace() *trace.Connection {
	t := c.tr
	if c.tls != nil {
		c.tls.finish(&t)
	}
	if c.h2 != nil {
		c.h2.finish(&t)
	}
	if c.flow != nil {
		c.flow.finish(&t)
	}
	// A handshake that no decision reports lies between its first and last
	// message.
	if t.TLS != nil {
		facts := *t.TLS
		facts.Handshake = trace.Between(c.tlsStart, c.tlsDone)
		t.TLS = &facts
	}
	return &t
}
