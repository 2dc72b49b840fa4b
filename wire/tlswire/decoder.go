// Package tlswire reads TLS from outside: records, handshake messages with
// their fields, and a passive decoder that follows one connection of TLS 1.2
// or 1.3 from its two byte streams and the lines of a key log. It holds no
// cryptography of its own, only the schedule by which the primitives of the
// standard library are used (RFC 8446, RFC 5246).
package tlswire

import (
	"encoding/binary"
	"fmt"

	"peel/clock"
)

// Dir is the direction of bytes.
type Dir uint8

const (
	// FromClient is what the client sent.
	FromClient Dir = iota
	// FromServer is what the server sent.
	FromServer
)

// Limits bound what a Decoder keeps, and say what it tells. Zero fields have
// the defaults given.
type Limits struct {
	// Pending bounds the bytes of one direction that wait for a secret or for
	// the other side; 0 means 1 MiB. Past it the direction is Undecryptable.
	Pending int
	// Message bounds a handshake message in bytes; 0 means 256 KiB.
	Message int
	// Budget, if any, is what all decoders that have it may spend together on
	// the search behind gaps, in bytes of records tried; it is counted down.
	Budget *int64
	// Records asks for an event of KindRecord ahead of what each record holds.
	Records bool
}

const (
	recordHeader = 5
	// maxClear, maxSealed13 and maxSealed12 are the largest records: content
	// of 2^14 bytes and what encryption may add (RFC 8446 §5.2, RFC 5246
	// §6.2.3).
	maxClear    = 1 << 14
	maxSealed13 = maxClear + 256
	maxSealed12 = maxClear + 2048
	// tail13 is what TLS 1.3 adds to content: its type and the tag of the AEAD
	// (RFC 8446 §5.2).
	tail13 = 1 + 16

	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
	typeHeartbeat = 24

	version12 = 0x0303
	version13 = 0x0304
)

// half is one direction of a connection.
type half struct {
	next int64 // where the next byte of the stream stands
	part []byte
	wait queue // whole records that wait, and where the first stands

	guard guard  // what protects the next record
	msg   []byte // handshake bytes not yet taken
	from  int64  // where the record stands in which msg begins
	plain int64  // bytes of application data so far

	outline Outline
	lost    *loss // behind missing bytes, until records can be read again
	torn    bool  // a handshake message may go on that began in missing bytes

	blind  bool // records are told, and not read any more
	broken bool // nothing more can be told
	closed bool
	hello  bool // its hello was read
}

// silent tells that a direction will settle nothing any more.
func (h *half) silent() bool { return h.blind || (h.broken || h.closed) && h.wait.empty() }

// Decoder follows one connection. Feed it both directions in the order of
// their times. It is not for concurrent use.
type Decoder struct {
	lim     Limits
	half    [2]half
	secrets secrets

	version   uint16 // agreed on; 0 before
	params           // of the handshake that runs or ran last
	retry     bool   // a HelloRetryRequest came
	earlyData earlyData

	now    clock.Time
	events []Event
	arena  []byte

	scratch []byte // of what is tried
}

// params are what a handshake has settled.
type params struct {
	clientRandom, serverRandom []byte
	suiteID                    uint16
	suite                      *suite  // nil when its records cannot be opened
	etm                        [2]bool // encrypt_then_mac in each hello
}

// Outline is what the heads of a direction's records tell, whether what they
// hold can be read or not.
type Outline struct {
	// Data counts the bytes in records of type application_data, with what
	// protects them.
	Data int64
	// Changed tells that a ChangeCipherSpec came, and Behind counts the
	// handshake records after it.
	Changed bool
	Behind  int
	// LastType and LastSize are of the last record: its content type and its
	// bytes behind the head.
	LastType uint8
	LastSize int
}

func (o *Outline) add(rec []byte) {
	o.LastType, o.LastSize = rec[0], len(rec)-recordHeader
	switch rec[0] {
	case typeData:
		o.Data += int64(o.LastSize)
	case typeCCS:
		o.Changed = true
	case typeHandshake:
		if o.Changed {
			o.Behind++
		}
	}
}

// AlertSized tells whether the last record is encrypted and as long as one that
// holds an alert in TLS 1.3 without padding. What it holds is not known.
func (o *Outline) AlertSized() bool { return o.LastType == typeData && o.LastSize == 2+tail13 }

// Outline returns what the heads of one direction's records have told so far.
func (d *Decoder) Outline(dir Dir) Outline { return d.half[dir].outline }

// NewDecoder returns a decoder for a new connection.
func NewDecoder(l Limits) *Decoder {
	if l.Pending == 0 {
		l.Pending = 1 << 20
	}
	if l.Message == 0 {
		l.Message = 256 << 10
	}
	return &Decoder{lim: l}
}

// Version returns the version agreed on, or 0.
func (d *Decoder) Version() uint16 { return d.version }

// Suite returns the number of the cipher suite agreed on, or 0.
func (d *Decoder) Suite() uint16 { return d.suiteID }

// ClientRandom returns the random of the last ClientHello read, by which a key
// log that many connections share is searched, or nil. With an encrypted
// ClientHello the log has the inner one's, which nobody else knows.
func (d *Decoder) ClientRandom() []byte { return d.clientRandom }

// Input takes bytes of one direction that came at now, in any pieces; offset
// is where they stand in their stream. Bytes that were there before are left
// out; missing ones end the reading of that direction. It returns what the
// bytes complete, in both directions. The bytes are not kept.
func (d *Decoder) Input(dir Dir, b []byte, offset int64, now clock.Time) []Event {
	d.begin(now)
	h := &d.half[dir]
	if len(b) == 0 || h.broken {
		return nil
	}
	if h.next == 0 && len(h.part) == 0 && h.wait.empty() {
		h.next, h.wait.offset = offset, offset // the first bytes
	}
	if seen := h.next - offset; seen > 0 {
		b = b[min(seen, int64(len(b))):]
	} else if seen < 0 {
		d.stop(dir, fmt.Sprintf("the stream's bytes %d to %d are missing", h.next, offset-1))
		return d.events
	}
	h.next += int64(len(b))
	d.run()
	if h.lost != nil {
		b = d.regain(dir, b)
	}
	for len(b) > 0 && !h.broken {
		b = d.frame(dir, b)
	}
	d.run()
	return d.events
}

// frame takes one record, or the beginning of one, off b. Where records end
// is never encrypted.
func (d *Decoder) frame(dir Dir, b []byte) (rest []byte) {
	h := &d.half[dir]
	if len(h.part) == 0 && len(b) >= recordHeader {
		// The usual case: the record stands in b as a whole and is not copied.
		n, ok := d.recordSize(dir, b)
		if ok && len(b) >= n {
			d.whole(dir, b[:n])
			b = b[n:]
		} else if ok {
			h.part, b = append(h.part, b...), nil
		}
		return b
	}
	if n := min(recordHeader-len(h.part), len(b)); n > 0 {
		h.part, b = append(h.part, b[:n]...), b[n:]
		if len(h.part) < recordHeader {
			return b
		}
	}
	size, ok := d.recordSize(dir, h.part)
	if !ok {
		return nil
	}
	n := min(size-len(h.part), len(b))
	h.part, b = append(h.part, b[:n]...), b[n:]
	if len(h.part) == size {
		rec := h.part
		h.part = h.part[:0]
		d.whole(dir, rec)
	}
	return b
}

// recordSize reads a record's header.
func (d *Decoder) recordSize(dir Dir, b []byte) (int, bool) {
	size := int(binary.BigEndian.Uint16(b[3:]))
	if b[0] < typeCCS || b[0] > typeHeartbeat || b[1] != 3 || b[2] > 4 || size > maxSealed12 {
		h := &d.half[dir]
		at := h.wait.end()
		h.broken = true
		d.emit(Event{Kind: KindMalformed, Dir: dir, Time: d.now, Offset: at, Length: recordHeader, Data: d.keep(b[:recordHeader]),
			Reason: fmt.Sprintf("% x is not the head of a TLS record", b[:recordHeader])})
		return 0, false
	}
	return recordHeader + size, true
}

// whole takes a record that is there as a whole: now, when it can be read, or
// later.
func (d *Decoder) whole(dir Dir, rec []byte) {
	h := &d.half[dir]
	h.outline.add(rec)
	if h.wait.empty() && d.take(dir, rec, d.now) {
		h.wait.offset += int64(len(rec))
		return
	}
	h.wait.push(rec, d.now)
	if len(h.wait.bytes()) > d.lim.Pending {
		d.goBlind(dir, fmt.Sprintf("more than %d bytes wait: %s", d.lim.Pending, d.missing(dir)))
	}
}

// Secret takes one line of the key log of this connection alone. The client
// random in it need not be the one on the wire, which an encrypted
// ClientHello hides. What the line opens is returned by Drain. It fails on a
// line that is none, and has no opinion on comments and empty lines.
func (d *Decoder) Secret(line []byte) error {
	label, random, secret, err := ParseKeyLogLine(line)
	if err != nil || label == "" {
		return err
	}
	d.secrets.add(label, random, secret)
	return nil
}

// SharedSecret takes one line of a key log that other connections share, and
// tells whether it belongs to this one. Before the ClientHello was read, none
// does.
func (d *Decoder) SharedSecret(line []byte) bool {
	label, random, secret, err := ParseKeyLogLine(line)
	if err != nil || label == "" || string(random) != string(d.clientRandom) {
		return false
	}
	d.secrets.add(label, random, secret)
	return true
}

// Master returns the master secret of a TLS 1.2 connection, or nil. A session
// that is resumed from it has the same (RFC 5246 §7.3), and key logs need not
// say it again.
func (d *Decoder) Master() []byte { return d.secrets.master(d.clientRandom, true) }

// Resume gives a connection the master secret of the session that it resumes,
// for the case that its own is not known.
func (d *Decoder) Resume(master []byte) {
	if d.secrets.resumed == nil {
		d.secrets.resumed = master
	}
}

// Drain returns what secrets that came late have opened. Its events have the
// times of their bytes.
func (d *Decoder) Drain() []Event {
	d.begin(d.now)
	d.run()
	return d.events
}

// Close takes the end of one direction. Records that wait for a secret are
// given up then: secrets have to come before.
func (d *Decoder) Close(dir Dir) []Event {
	d.begin(d.now)
	if d.half[dir].closed {
		return nil
	}
	d.half[dir].closed = true
	d.run()
	// The server first: the client's records can wait for what it says.
	for _, dir := range [...]Dir{FromServer, FromClient} {
		h := &d.half[dir]
		if (h.closed || h.broken) && !h.wait.empty() && (d.awaitsSecret(dir) || d.half[1-dir].silent()) {
			d.goBlind(dir, d.missing(dir))
			d.run()
		}
	}
	h := &d.half[dir]
	if h.lost != nil {
		d.unfound(dir)
	}
	if h.broken || h.blind && len(h.part) == 0 {
		return d.events
	}
	if n := len(h.part); n > 0 {
		d.emit(Event{Kind: KindMalformed, Dir: dir, Time: d.now, Offset: h.wait.end(), Length: n, Reason: fmt.Sprintf("the stream ends inside of a record, after %d bytes of it", n)})
	} else if len(h.msg) > 0 && h.wait.empty() {
		d.emit(Event{Kind: KindMalformed, Dir: dir, Time: d.now, Offset: h.from, Length: int(h.wait.end() - h.from),
			Reason: fmt.Sprintf("the stream ends inside of a handshake message, after %d bytes of it", len(h.msg))})
	}
	return d.events
}

// Waits says why records wait and are not read, or nothing when none do.
func (d *Decoder) Waits() string {
	for _, dir := range [...]Dir{FromServer, FromClient} {
		if !d.half[dir].wait.empty() && !d.half[dir].blind {
			return d.missing(dir)
		}
	}
	return ""
}

func (d *Decoder) begin(now clock.Time) {
	const keepBytes, keepEvents = 1 << 20, 1 << 12
	d.now = now
	if cap(d.arena) > keepBytes {
		d.arena = nil
	}
	if cap(d.events) > keepEvents {
		d.events = nil
	}
	d.events = d.events[:0]
	d.arena = d.arena[:0]
}

// keep copies bytes so that they live until the next call.
func (d *Decoder) keep(b []byte) []byte {
	n := len(d.arena)
	d.arena = append(d.arena, b...)
	return d.arena[n:len(d.arena):len(d.arena)]
}

func (d *Decoder) emit(e Event) {
	e.Version = d.version
	d.events = append(d.events, e)
}

// run takes records that waited as long as one direction or the other gets
// on: a ServerHello can open what the client has sent before.
func (d *Decoder) run() {
	for d.step(FromServer) || d.step(FromClient) {
	}
}

// step takes one record that waited and tells whether it could.
func (d *Decoder) step(dir Dir) bool {
	h := &d.half[dir]
	if h.wait.empty() {
		return false
	}
	rec, at := h.wait.front()
	if !d.take(dir, rec, at) {
		return false
	}
	h.wait.pop()
	return true
}

// goBlind gives up reading a direction. Its records are told as they come;
// what is in them is not.
func (d *Decoder) goBlind(dir Dir, reason string) {
	h := &d.half[dir]
	h.blind = true
	h.msg = nil
	d.emit(Event{Kind: KindUndecryptable, Dir: dir, Time: d.now, Offset: h.wait.offset, Length: len(h.wait.bytes()), Reason: reason})
}

// stop gives a direction up from the next byte on.
func (d *Decoder) stop(dir Dir, reason string) {
	h := &d.half[dir]
	d.emit(Event{Kind: KindUndecryptable, Dir: dir, Time: d.now, Offset: h.wait.end(), Reason: reason})
	h.broken, h.part = true, nil
}
