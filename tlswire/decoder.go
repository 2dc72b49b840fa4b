// Package tlswire reads TLS from outside: records, handshake messages with
// their fields, and a passive decoder that follows one connection of TLS 1.2
// or 1.3 from its two byte streams and the lines of a key log. It holds no
// cryptography of its own, only the schedule by which the primitives of the
// standard library are used (RFC 8446, RFC 5246).
package tlswire

import (
	"bytes"
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

// Kind says what an Event is.
type Kind uint8

const (
	// KindHandshake is a handshake message; Data holds it with its header.
	KindHandshake Kind = iota + 1
	// KindApplicationData is what one record carried for the application.
	KindApplicationData
	// KindAlert is an alert; Data holds its two bytes.
	KindAlert
	// KindChangeCipherSpec is that message; in TLS 1.3 it means nothing.
	KindChangeCipherSpec
	// KindUndecryptable is a record that could not be opened; Reason says
	// why.
	KindUndecryptable
	// KindMalformed is a record or message that breaks the format.
	KindMalformed
)

// Event is one thing that the decoder found. Data is valid until the next
// call of the decoder.
type Event struct {
	Kind Kind
	Dir  Dir
	// Time is when the bytes came that completed it.
	Time clock.Time
	// Offset and Length give the records that carried it, headers included,
	// in the stream of its direction.
	Offset int64
	Length int
	Data   []byte
	// Type is set for handshake messages, Alert for alerts.
	Type  HandshakeType
	Alert Alert
	// Version is the version agreed on so far; 0 before.
	Version   uint16
	Encrypted bool
	Reason    string
}

// Limits bound what a Decoder keeps. Zero fields have the defaults given.
type Limits struct {
	// Pending bounds the bytes of one direction that wait for a secret or for
	// the other side; 0 means 1 MiB.
	Pending int
	// Message bounds a handshake message in bytes; 0 means 256 KiB.
	Message int
}

const (
	recordHeader = 5
	// maxRecord is the largest record: 2^14 bytes and what TLS 1.2 may add
	// (RFC 5246 §6.2.3).
	maxRecord = 1<<14 + 2048

	typeCCS       = 20
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23

	version12 = 0x0303
	version13 = 0x0304
)

// half is one direction of a connection.
type half struct {
	buf    []byte // records not yet taken
	offset int64  // of buf[0]
	last   clock.Time
	stage  stage
	open   *opener // nil while records are in the clear
	traced []byte  // the present TLS 1.3 traffic secret

	msg      []byte // handshake bytes not yet taken
	msgFrom  int64  // where the record stands in which msg begins
	sawHello bool
	dead     bool // nothing more can be read
	closed   bool
	skipping bool // early data that was not accepted
}

// stage is which keys protect a direction of TLS 1.3.
type stage uint8

const (
	clear stage = iota
	early
	handshake
	application
)

// Decoder follows one connection. Feed it both directions in the order of
// their times.
type Decoder struct {
	lim     Limits
	half    [2]half
	secrets map[string][]byte

	clientRandom, serverRandom []byte
	version                    uint16
	suite                      *suite
	suiteID                    uint16
	retry                      bool // a HelloRetryRequest came
	earlyOffered               bool
	etm                        [2]bool // encrypt_then_mac in each hello

	now    clock.Time
	events []Event
	arena  []byte
}

// NewDecoder returns a decoder for a new connection.
func NewDecoder(l Limits) *Decoder {
	if l.Pending == 0 {
		l.Pending = 1 << 20
	}
	if l.Message == 0 {
		l.Message = 256 << 10
	}
	return &Decoder{lim: l, secrets: map[string][]byte{}}
}

// Version returns the version agreed on, or 0.
func (d *Decoder) Version() uint16 { return d.version }

// Input takes bytes of one direction that came at now; offset is where they
// stand in their stream. It returns what they complete.
func (d *Decoder) Input(dir Dir, b []byte, offset int64, now clock.Time) []Event {
	d.begin(now)
	h := &d.half[dir]
	if h.dead {
		return nil
	}
	if len(h.buf) == 0 {
		h.offset = offset
	}
	h.buf = append(h.buf, b...)
	h.last = now
	d.run()
	if len(h.buf) > d.lim.Pending {
		d.give(dir, fmt.Sprintf("more than %d bytes wait for a secret that did not come", d.lim.Pending))
	}
	return d.events
}

// maxSecrets bounds the labels kept for one connection.
const maxSecrets = 16

// Secret takes one line of a key log that belongs to this connection. What it
// opens is returned by Drain.
func (d *Decoder) Secret(line []byte) {
	label, _, secret, err := ParseKeyLogLine(line)
	if err != nil || len(d.secrets) >= maxSecrets && d.secrets[label] == nil {
		return
	}
	d.secrets[label] = secret
}

// Master returns the master secret of a TLS 1.2 connection, or nil. A session
// that is resumed from it has the same (RFC 5246 §7.3), and key logs need not
// say it again.
func (d *Decoder) Master() []byte { return d.secrets["CLIENT_RANDOM"] }

// Resume gives a connection the master secret of the session that it resumes,
// unless its own is known.
func (d *Decoder) Resume(master []byte) {
	if master != nil && d.Master() == nil {
		d.secrets["CLIENT_RANDOM"] = master
	}
}

// Drain returns what secrets that came late have opened.
func (d *Decoder) Drain() []Event {
	d.begin(d.now)
	d.run()
	return d.events
}

// Close takes the end of one direction.
func (d *Decoder) Close(dir Dir) []Event {
	d.begin(d.now)
	h := &d.half[dir]
	if h.closed {
		return nil
	}
	h.closed = true
	d.run()
	if len(h.buf) > 0 && !h.dead {
		switch {
		case len(h.buf) < recordHeader || len(h.buf) < recordHeader+int(binary.BigEndian.Uint16(h.buf[3:])):
			d.emit(Event{Kind: KindMalformed, Dir: dir, Offset: h.offset, Length: len(h.buf), Reason: fmt.Sprintf("the stream ends inside of a record, after %d bytes of it", len(h.buf))})
		default:
			d.give(dir, d.missing(dir))
		}
	}
	return d.events
}

func (d *Decoder) begin(now clock.Time) {
	d.now = now
	d.events = d.events[:0]
	d.arena = d.arena[:0]
}

func (d *Decoder) emit(e Event) {
	e.Time = d.half[e.Dir].last
	e.Version = d.version
	d.events = append(d.events, e)
}

// give gives a direction up.
func (d *Decoder) give(dir Dir, reason string) {
	h := &d.half[dir]
	d.emit(Event{Kind: KindUndecryptable, Dir: dir, Offset: h.offset, Length: len(h.buf), Reason: reason})
	h.dead = true
	h.buf, h.msg = nil, nil
}

// run takes records as long as one direction or the other gets on: a
// ServerHello can open what the client has sent before.
func (d *Decoder) run() {
	for d.step(FromServer) || d.step(FromClient) {
	}
	for i := range d.half {
		// A buffer that was read to its end starts over.
		if h := &d.half[i]; len(h.buf) == 0 && cap(h.buf) > 1<<20 {
			h.buf = nil
		}
	}
}

// step takes one record of a direction and tells whether it did.
func (d *Decoder) step(dir Dir) bool {
	h := &d.half[dir]
	if h.dead || len(h.buf) < recordHeader {
		return false
	}
	typ, size := h.buf[0], int(binary.BigEndian.Uint16(h.buf[3:]))
	if typ < typeCCS || typ > typeData || h.buf[1] != 3 || size > maxRecord {
		d.emit(Event{Kind: KindMalformed, Dir: dir, Offset: h.offset, Length: recordHeader, Data: d.keep(h.buf[:recordHeader]),
			Reason: fmt.Sprintf("% x is not the head of a TLS record", h.buf[:recordHeader])})
		h.dead = true
		return false
	}
	if len(h.buf) < recordHeader+size {
		return false
	}
	if !d.ready(dir, typ) {
		return false
	}
	rec := h.buf[:recordHeader+size]
	d.record(dir, rec)
	if h.dead {
		return false
	}
	h.buf = h.buf[len(rec):]
	h.offset += int64(len(rec))
	if len(h.buf) == 0 {
		h.buf = h.buf[:0:cap(h.buf)]
	}
	return true
}

// ready tells whether the next record of a direction can be read now, or has
// to wait for the other side or for a secret.
func (d *Decoder) ready(dir Dir, typ byte) bool {
	h := &d.half[dir]
	other := &d.half[1-dir]
	if d.version == 0 {
		// Before the ServerHello it is not known what the client's records
		// after its hello mean: 0-RTT data, a ChangeCipherSpec of either
		// version. A closed or dead server will never tell.
		if dir == FromClient && h.sawHello && !other.closed && !other.dead && typ != typeAlert {
			return false
		}
		return true
	}
	switch {
	case d.version == version13 && typ == typeData && h.open == nil:
		return d.advance13(dir)
	case d.version == version12 && h.open != nil && !h.open.ready:
		// The master secret may have come by now.
		if d.suite == nil {
			return false
		}
		h.open.ready = d.keys12(dir, h.open)
		return h.open.ready
	}
	return true
}

// missing says which secret a direction waits for.
func (d *Decoder) missing(dir Dir) string {
	if d.version == 0 {
		return "encrypted records without a ServerHello"
	}
	if d.suite == nil {
		return "not decryptable: cipher suite " + SuiteName(d.suiteID)
	}
	if d.version == version13 {
		return "no key log line " + label13(dir, handshake) + " for this connection"
	}
	return "no key log line CLIENT_RANDOM for this connection"
}

// keep copies bytes so that they live until the next call.
func (d *Decoder) keep(b []byte) []byte {
	n := len(d.arena)
	d.arena = append(d.arena, b...)
	return d.arena[n:len(d.arena):len(d.arena)]
}

// record takes one whole record.
func (d *Decoder) record(dir Dir, rec []byte) {
	h := &d.half[dir]
	typ := rec[0]
	if typ == typeCCS && (d.version != version12 || h.open == nil) {
		d.changeCipherSpec(dir, rec)
		return
	}
	if h.open == nil || d.version == version13 && typ != typeData {
		d.plain(dir, typ, rec[recordHeader:], len(rec), false)
		return
	}
	n := len(d.arena)
	out, inner, err := h.open.record(d.arena, rec)
	if err != nil && h.stage == early {
		// 0-RTT that the server did not take (RFC 8446 §4.2.10), or the end
		// of it was not seen: the handshake keys may fit already.
		if d.rekey13(dir, handshake) {
			if out, inner, err = h.open.record(d.arena, rec); err != nil {
				d.rekey13(dir, early)
				d.emit(Event{Kind: KindUndecryptable, Dir: dir, Offset: h.offset, Length: len(rec), Reason: "early data that cannot be opened"})
				return
			}
		}
	}
	if err != nil && h.skipping {
		// Early data for which there is no secret stands before the flight
		// that the handshake keys open.
		d.emit(Event{Kind: KindUndecryptable, Dir: dir, Offset: h.offset, Length: len(rec), Reason: "early data, and no key log line " + label13(dir, early)})
		return
	}
	if err != nil {
		d.give(dir, fmt.Sprintf("the record at %d cannot be opened: %v (wrong secret, or bytes are missing)", h.offset, err))
		return
	}
	h.skipping = false
	d.arena = out
	d.plain(dir, inner, out[n:len(out):len(out)], len(rec), true)
}

func (d *Decoder) changeCipherSpec(dir Dir, rec []byte) {
	h := &d.half[dir]
	d.emit(Event{Kind: KindChangeCipherSpec, Dir: dir, Offset: h.offset, Length: len(rec), Data: d.keep(rec[recordHeader:])})
	if d.version == version12 {
		h.open = d.opener12(dir)
	}
}

// plain takes the content of a record.
func (d *Decoder) plain(dir Dir, typ byte, b []byte, length int, encrypted bool) {
	h := &d.half[dir]
	ev := Event{Dir: dir, Offset: h.offset, Length: length, Data: b, Encrypted: encrypted}
	if !encrypted {
		ev.Data = d.keep(b)
	}
	switch typ {
	case typeHandshake:
		d.handshakeBytes(dir, b, length, encrypted)
	case typeAlert:
		if len(b) != 2 {
			ev.Kind, ev.Reason = KindMalformed, fmt.Sprintf("an alert of %d bytes", len(b))
			break
		}
		ev.Kind, ev.Alert = KindAlert, Alert{Level: b[0], Description: b[1]}
	case typeData:
		if !encrypted {
			ev.Kind, ev.Reason = KindUndecryptable, "application data before the handshake's end"
			break
		}
		ev.Kind = KindApplicationData
	case typeCCS:
		ev.Kind = KindChangeCipherSpec
	default:
		ev.Kind, ev.Reason = KindMalformed, fmt.Sprintf("content type %d", typ)
	}
	if ev.Kind != 0 {
		d.emit(ev)
	}
}

// handshakeBytes takes handshake data and cuts it into messages, which may
// span records, or share one (RFC 8446 §5.1).
func (d *Decoder) handshakeBytes(dir Dir, b []byte, length int, encrypted bool) {
	h := &d.half[dir]
	if len(h.msg) == 0 {
		h.msgFrom = h.offset
	}
	h.msg = append(h.msg, b...)
	for len(h.msg) >= 4 {
		size := 4 + (int(h.msg[1])<<16 | int(h.msg[2])<<8 | int(h.msg[3]))
		if size > d.lim.Message {
			d.emit(Event{Kind: KindMalformed, Dir: dir, Offset: h.msgFrom, Length: int(h.offset-h.msgFrom) + length, Reason: fmt.Sprintf("a handshake message of %d bytes", size)})
			h.dead = true
			return
		}
		if len(h.msg) < size {
			return
		}
		msg := d.keep(h.msg[:size])
		typ := HandshakeType(msg[0])
		h.msg = h.msg[:copy(h.msg, h.msg[size:])]
		d.emit(Event{Kind: KindHandshake, Dir: dir, Offset: h.msgFrom, Length: int(h.offset-h.msgFrom) + length, Data: msg, Type: typ, Encrypted: encrypted})
		from := len(d.events) - 1
		d.message(dir, typ, msg)
		// The message itself may have settled the version.
		d.events[from].Version = d.version
		if h.dead {
			return
		}
		h.msgFrom = h.offset
	}
}

// message lets the state follow a handshake message.
func (d *Decoder) message(dir Dir, typ HandshakeType, msg []byte) {
	h := &d.half[dir]
	switch typ {
	case TypeClientHello:
		hello, err := ParseClientHello(msg)
		if err != nil {
			return
		}
		h.sawHello = true
		d.clientRandom = bytes.Clone(hello.Random)
		d.earlyOffered = hello.EarlyData
		d.etm[FromClient] = hello.EncryptThenMAC
		if d.retry || d.version == version12 {
			d.version = 0 // a second hello, or a renegotiation
		}
	case TypeServerHello:
		hello, err := ParseServerHello(msg)
		if err != nil {
			return
		}
		d.suiteID = hello.CipherSuite
		d.suite = suites[hello.CipherSuite]
		if hello.HelloRetryRequest {
			d.retry, d.earlyOffered = true, false
			d.half[FromClient].sawHello = false
			return
		}
		d.version = hello.Version
		d.serverRandom = bytes.Clone(hello.Random)
		d.etm[FromServer] = hello.EncryptThenMAC
		if d.version < version12 {
			d.suite = nil
		}
	case TypeFinished:
		if d.version == version13 {
			d.advance13(dir)
		}
	case TypeEndOfEarlyData:
		d.rekey13(dir, handshake)
	case TypeKeyUpdate:
		d.keyUpdate13(dir)
	}
}
