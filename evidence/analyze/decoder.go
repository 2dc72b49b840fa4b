package analyze

import (
	"bytes"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/http1"
)

// decoder reads what one protocol says on one layer of a connection. It is
// given bytes as they come and makes events and exchanges of them; what stands
// above it (what TLS held, the streams of QUIC) it hands to a layer of its own.
// A decoder of datagrams is given each by itself.
type decoder interface {
	// input takes bytes of one direction, the last of which came at t. They
	// follow those before them. Without bytes it says that something else has
	// changed, and what waits may be read now.
	input(t clock.Time, dir capture.Direction, b []byte)
	// end takes the end of one direction.
	end(t clock.Time, dir capture.Direction)
	// gap says that n bytes are missing here (0: not known how many). It
	// returns false when the protocol cannot be read behind a gap; what follows
	// is only counted then.
	gap(t clock.Time, dir capture.Direction, n int64) bool
	// release lets go of what only a running connection needs.
	release()
	// finish fills in what the decoder found out about the connection.
	finish(to *trace.Connection)
}

// silent is the part of a decoder that has nothing to say.
type silent struct{}

func (silent) end(clock.Time, capture.Direction)             {}
func (silent) gap(clock.Time, capture.Direction, int64) bool { return false }
func (silent) release()                                      {}
func (silent) finish(*trace.Connection)                      {}

// unread is the decoder of bytes that are only counted.
type unread struct {
	silent
	l *layer
}

func (u unread) input(_ clock.Time, dir capture.Direction, b []byte) {
	u.l.in[dir].offset += int64(len(b))
}

// protocol is what has to be known of a protocol to decode it: its line in the
// list of protocols.
type protocol struct {
	// name is what trace.Connection.Protocol says; empty for one that only
	// carries others.
	name trace.Protocol
	// layer is that of its events, of which fields gives the fields.
	layer  trace.LayerName
	fields func(t *trace.Trace, e *trace.Event) []trace.Field
	// over says what it is spoken over; the zero value is streams.
	over transports
	// recognise tells whether the first bytes are its own; nil when others
	// have to say so (an upgrade, a decision).
	recognise func(o *opening) guess
	// upgrade is its token in HTTP's Upgrade field (RFC 9110 §7.8).
	upgrade string
	// open makes the decoder of a layer. from is the exchange that changed to
	// the protocol, or nil.
	open func(l *layer, from *exchange) decoder
}

// transports are what a protocol is spoken over.
type transports uint8

const (
	overStreams transports = iota
	overDatagrams
	overBoth
)

func (t transports) datagrams(yes bool) bool { return t == overBoth || (t == overDatagrams) == yes }

// opening is how a layer begins, as far as it has been seen.
type opening struct {
	// out and in are the first bytes of the client and of the server.
	out, in []byte
	// late tells that the beginning was not captured; secure that TLS is
	// below, tunnelled that a proxy passes the bytes on, waited that no more is
	// to be waited for.
	late, secure, tunnelled, waited bool
	datagram                        bool
	alpn                            string // that TLS settled on
	// client and server are the ports.
	client, server uint16
}

// guess is what first bytes look like.
type guess uint8

const (
	no guess = iota
	perhaps
	yes
)

// Bounds of what is kept of a beginning until its protocol is known.
const (
	maxOpeningOut    = 2 * maxGuess // bytes of the client: more than any protocol needs to be known by
	maxOpeningIn     = 1 << 16      // bytes of the server, when the client says nothing
	maxOpeningPieces = 64           // and the pieces they came in
)

// layer is a two-way stream of bytes of a connection: that of the socket, or
// what another protocol carried. It finds out what is spoken and hands the bytes
// to that decoder.
type layer struct {
	c *conn
	// space is the one that its offsets count in, and below leads from them
	// to the bytes of the layer under it that carried them; nil at the bottom.
	space trace.Space
	below func(dir capture.Direction, offset, length int64) (trace.Range, bool)
	under *layer
	// at, where it is set, says all that: of what is cut into the frames of another
	// protocol.
	at        func(dir capture.Direction, offset, length int64) []trace.Range
	secure    bool // TLS is below
	tunnelled bool // a proxy passes on what it holds now
	late      bool // its beginning was not captured

	dec    decoder
	in     [2]stretch
	early  [2][]chunk // until the protocol is known
	broken bool       // behind a gap that dec cannot pass: bytes are only counted
}

// input takes bytes of one direction.
func (l *layer) input(t clock.Time, dir capture.Direction, b []byte) {
	switch {
	case len(b) == 0:
	case l.broken:
		l.in[dir].offset += int64(len(b))
	case l.dec != nil:
		l.dec.input(t, dir, b)
	default:
		l.early[dir] = append(l.early[dir], chunk{t, bytes.Clone(b)})
		l.sniff()
	}
}

// sniff finds out what is spoken from the first bytes, if they tell already.
func (l *layer) sniff() {
	o := opening{secure: l.secure, tunnelled: l.tunnelled, late: l.late || l.c.late() || l.c.behind(capture.Out), datagram: l.c.tr.Network == "udp"}
	o.client, o.server = l.c.ports()
	if t := l.c.tr.TLS; l.secure && t != nil {
		o.alpn = t.ALPN
	}
	o.out, o.in = join(l.early[capture.Out]), join(l.early[capture.In])
	o.waited = len(l.early[capture.In]) >= maxOpeningPieces || len(o.out) > maxOpeningOut || len(o.in) > maxOpeningIn
	waits := len(o.out) == 0 && !o.waited
	for _, p := range l.c.a.protocols {
		if p.recognise == nil || !p.over.datagrams(o.datagram) {
			continue
		}
		switch p.recognise(&o) {
		case yes:
			l.open(p, nil)
			return
		case perhaps:
			waits = waits || !o.waited
		}
	}
	if !waits {
		l.c.speak(trace.ProtocolUnknown)
		if o.late && !o.datagram {
			l.start(&seeker{l: l})
			return
		}
		l.start(unread{l: l})
	}
}

func join(list []chunk) []byte {
	if len(list) == 1 {
		return list[0].data
	}
	var b []byte
	for _, c := range list {
		b = append(b, c.data...)
	}
	return b
}

// open begins to decode a protocol.
func (l *layer) open(p *protocol, from *exchange) {
	l.c.speak(p.name)
	l.start(p.open(l, from))
}

// start hands a decoder what is there already.
func (l *layer) start(d decoder) {
	l.dec = d
	early := l.early
	l.early = [2][]chunk{}
	for _, dir := range []capture.Direction{capture.Out, capture.In} {
		for _, e := range early[dir] {
			l.dec.input(e.t, dir, e.data)
		}
	}
}

// become goes on with another protocol, which an exchange changed to. Bytes
// that the old decoder left are the new one's.
func (l *layer) become(t clock.Time, p *protocol, from *exchange) {
	l.c.tr.Protocol = p.name
	l.dec = p.open(l, from)
	l.dec.input(t, capture.Out, nil)
	l.dec.input(t, capture.In, nil)
}

// tunnel says that from here on the bytes are another connection's, which only
// passes through the peer: what they are is found out anew.
func (l *layer) tunnel(t clock.Time, through *trace.Proxy) {
	l.c.through(through)
	l.dec, l.late, l.tunnelled = nil, false, true
	for dir := range l.in {
		f := &l.in[dir]
		if len(f.buf) > 0 {
			l.early[dir] = append(l.early[dir], chunk{t, bytes.Clone(f.buf)})
			f.buf = nil
		}
	}
	if l.early[0] != nil || l.early[1] != nil {
		l.sniff()
	}
}

// ignore only counts what follows.
func (l *layer) ignore() {
	for dir := range l.in {
		l.in[dir].offset += int64(len(l.in[dir].buf))
		l.in[dir].buf = nil
	}
	l.dec = unread{l: l}
}

// end takes the end of one direction.
func (l *layer) end(t clock.Time, dir capture.Direction) {
	if l.dec != nil && !l.broken {
		l.dec.end(t, dir)
	}
}

// gap tells that n bytes are missing.
func (l *layer) gap(t clock.Time, dir capture.Direction, n int64) {
	switch {
	case l.dec != nil || l.broken:
	case http1.Torn(join(l.early[capture.Out])):
		l.open(&http1Protocol, nil)
	default:
		l.late = true // what is spoken has to show itself in its middle
		if l.sniff(); l.dec == nil {
			l.in[dir].offset += n + int64(len(join(l.early[dir])))
			l.early[dir] = nil
			return
		}
	}
	if l.broken || !l.dec.gap(t, dir, n) {
		l.broken = true
		l.in[dir].offset += n
	}
}

func (l *layer) release() {
	if l.dec == nil && !l.broken && http1.Torn(join(l.early[capture.Out])) {
		l.open(&http1Protocol, nil)
	}
	// What is there may be the last that there is of it, and is read as such.
	for d := l.dec; d != nil; {
		if d.release(); d == l.dec {
			break
		}
		d = l.dec
	}
	l.early = [2][]chunk{}
	for dir := range l.in {
		l.in[dir].buf = nil
	}
	l.broken = true
}

func (l *layer) finish(to *trace.Connection) {
	if l.dec != nil {
		l.dec.finish(to)
	}
}

// place is the range of a message at offset of the layer.
func (l *layer) place(dir capture.Direction, offset, length int64) trace.Range {
	return trace.Range{Space: l.space, Connection: l.c.tr.ID, Direction: dirNames[dir], Offset: offset, Length: length}
}

// ranges says where bytes of the layer stand, from there down.
func (l *layer) ranges(dir capture.Direction, offset, length int64) []trace.Range {
	if l.at != nil {
		return l.at(dir, offset, length)
	}
	r := l.place(dir, offset, length)
	if l.below == nil {
		return []trace.Range{r}
	}
	below, ok := l.below(dir, offset, length)
	if !ok {
		return []trace.Range{r}
	}
	return append([]trace.Range{r}, l.under.ranges(dir, below.Offset, below.Length)...)
}

// message adds an event for a message of length bytes at offset of the layer,
// of which raw is (the beginning of) the bytes.
func (l *layer) message(t clock.Time, layer trace.LayerName, name trace.EventName, text string, dir capture.Direction, offset int64, length int, raw []byte) *trace.Event {
	e := l.c.a.event(t, layer, name, text)
	e.Connection = l.c.tr.ID
	e.Direction = dirNames[dir]
	e.Bytes = l.ranges(dir, offset, int64(length))
	e.RawLength = length
	e.Raw = bytes.Clone(raw[:min(len(raw), l.c.a.lim.Raw)])
	return e
}

// maxPieces bounds the pieces of one body whose places are kept.
const maxPieces = 4096

// piece takes data of a body that stands at offset of the layer.
func (l *layer) piece(b *trace.Body, dir capture.Direction, offset int64, data []byte) {
	if len(data) == 0 {
		return
	}
	l.c.content += int64(len(data))
	at := b.WireSize
	b.WireSize += int64(len(data))
	l.c.a.keep(b, data)
	l.c.a.dnsBody(b, data)
	if n := len(b.Pieces); n > 0 {
		if last := &b.Pieces[n-1]; last.At+last.Length == at && last.Bytes.Offset+last.Length == offset {
			last.Length += int64(len(data))
			last.Bytes.Length = last.Length
			return
		} else if n == maxPieces {
			return
		}
	}
	b.Pieces = append(b.Pieces, trace.Piece{At: at, Length: int64(len(data)), Bytes: l.place(dir, offset, int64(len(data)))})
}
