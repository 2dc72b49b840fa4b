package tlswire

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"peel/clock"
)

// guard is what protects the next record of a direction.
type guard struct {
	stage  stage
	open   *opener // nil in the clear, and until the secret is there
	secret []byte  // the traffic secret of TLS 1.3 in force
	hs     params  // of TLS 1.2, as they were at the ChangeCipherSpec
	epoch  int
	clear  uint64 // records in the clear so far
	trial  bool   // the key may not be the right one yet
}

// stage is which keys protect a direction. TLS 1.2 has the first and the last.
type stage uint8

const (
	clear stage = iota
	early
	handshake
	application
)

// next goes on to another stage, whose keys are derived at its first record.
func (g *guard) next(s stage) {
	g.stage, g.open, g.epoch = s, nil, int(s)
}

// verdict says how a record is to be read.
type verdict uint8

const (
	inClear verdict = iota
	sealed
	later   // when the other side has spoken or a secret has come
	skipped // this one cannot be opened
	wrong   // this one breaks the protocol
	lost    // it cannot be opened, and no later one
)

// take reads one whole record that came at a time. It is false when the record
// has to wait.
func (d *Decoder) take(dir Dir, rec []byte, at clock.Time) bool {
	h := &d.half[dir]
	g := &h.guard
	how, why := lost, ""
	if !h.blind {
		how, why = d.protection(dir, rec)
	}
	if how == later {
		return false
	}
	e := Event{Dir: dir, Time: at, Offset: h.wait.offset, Length: len(rec), Encrypted: how == sealed || g.stage != clear,
		Record: Record{Type: rec[0], Version: binary.BigEndian.Uint16(rec[1:]), Epoch: g.epoch, Plain: -1, Padding: -1}}
	switch how {
	case inClear:
		e.Encrypted = false
		e.Record.Sequence, e.Record.Epoch = g.clear, 0
		e.Record.Plain, e.Record.Padding = len(rec)-recordHeader, 0
		g.clear++
		d.record(e, rec)
		d.content(e, d.keep(rec[recordHeader:]))
	case sealed:
		d.unseal(e, rec)
	case skipped:
		d.record(e, rec)
		e.Kind, e.Reason = KindUndecryptable, why
		d.emit(e)
	case wrong:
		d.record(e, rec)
		e.Kind, e.Reason = KindMalformed, why
		d.emit(e)
	case lost:
		d.record(e, rec)
		if !h.blind {
			d.lose(e, why)
		}
	}
	return true
}

// record tells of a record, when that is wanted.
func (d *Decoder) record(e Event, rec []byte) {
	if d.lim.Records {
		e.Kind, e.Data = KindRecord, d.keep(rec[:recordHeader])
		d.emit(e)
	}
}

// lose gives up the reading of a direction at the record of e.
func (d *Decoder) lose(e Event, reason string) {
	h := &d.half[e.Dir]
	h.blind, h.msg = true, nil
	e.Kind, e.Reason = KindUndecryptable, reason
	d.emit(e)
}

// unseal opens a record.
func (d *Decoder) unseal(e Event, rec []byte) {
	g := &d.half[e.Dir].guard
	e.Record.Sequence = g.open.seq
	n := len(d.arena)
	out, typ, err := g.open.record(d.arena, rec)
	if err != nil && g.trial {
		before := *g
		if g.stage == early && d.rekey13(e.Dir, handshake) {
			out, typ, err = g.open.record(d.arena, rec)
		}
		if err != nil {
			if *g = before; g.stage == handshake {
				g.next(early)
			}
			d.record(e, rec)
			e.Kind, e.Reason = KindUndecryptable, "early data, and no key log line "+label13(FromClient, early)
			d.emit(e)
			return
		}
		e.Record.Epoch, e.Record.Sequence = g.epoch, 0
	}
	if err != nil {
		d.record(e, rec)
		d.lose(e, fmt.Sprintf("the record at %d cannot be opened: %v (wrong secret, or bytes are missing)", e.Offset, err))
		return
	}
	g.trial = g.trial && g.stage == early
	e.Refused = g.trial && d.earlyData == earlyRefused
	d.arena = out
	e.Record.Type, e.Record.Plain, e.Record.Padding = typ, len(out)-n, g.open.padding
	d.record(e, rec)
	d.content(e, out[n:len(out):len(out)])
}

// content takes what a record holds.
func (d *Decoder) content(e Event, b []byte) {
	h := &d.half[e.Dir]
	e.Data = b
	switch {
	case len(b) > maxClear:
		e.Kind, e.Reason = KindMalformed, fmt.Sprintf("a record of %d bytes, and at most %d are allowed", len(b), maxClear)
	case e.Record.Type == typeHandshake:
		d.handshakeBytes(e)
		return
	case e.Record.Type == typeAlert && len(b) == 2:
		e.Kind, e.Alert = KindAlert, Alert{Level: b[0], Description: b[1]}
	case e.Record.Type == typeAlert:
		e.Kind, e.Reason = KindMalformed, fmt.Sprintf("an alert of %d bytes", len(b))
	case e.Record.Type == typeData:
		h.torn = false
		e.Kind, e.PlainOffset = KindApplicationData, h.plain
		if !e.Refused {
			h.plain += int64(len(b))
		}
	case e.Record.Type == typeCCS && !(e.Encrypted && d.version == version13):
		e.Kind = KindChangeCipherSpec
		if d.version != 0 && d.version != version13 {
			d.changeCipherSpec(e.Dir)
		}
	case e.Record.Type == typeHeartbeat && d.version != version13:
		return // RFC 6520: known to be there by its record only
	default:
		e.Kind, e.Reason = KindMalformed, fmt.Sprintf("content type %d", e.Record.Type)
	}
	d.emit(e)
}

// changeCipherSpec starts the keys that the last hellos have settled (RFC 5246
// §7.1).
func (d *Decoder) changeCipherSpec(dir Dir) {
	g := &d.half[dir].guard
	epoch := g.epoch + 1
	g.next(application)
	g.epoch, g.hs = epoch, d.params
}

// handshakeBytes takes handshake data and cuts it into messages, which may
// span records, or share one (RFC 8446 §5.1).
func (d *Decoder) handshakeBytes(e Event) {
	h := &d.half[e.Dir]
	if h.torn && !messages(e.Data) {
		return // it may be the rest of a message that began in missing bytes
	}
	h.torn = false
	record, at, epoch := e.Record, e.Offset, h.guard.epoch
	end := e.Offset + int64(e.Length)
	b := e.Data
	if len(h.msg) == 0 {
		h.from = at
	} else {
		h.msg = append(h.msg, b...)
		b = h.msg
		e.Record = Record{}
	}
	for len(b) >= 4 {
		size := 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
		e.Offset, e.Length, e.Data = h.from, int(end-h.from), nil
		if size > d.lim.Message {
			e.Kind, e.Reason = KindMalformed, fmt.Sprintf("a handshake message of %d bytes, and at most %d are taken", size, d.lim.Message)
			d.emit(e)
			d.lose(e, "a handshake message is too large to follow")
			return
		}
		if len(b) < size {
			break
		}
		e.Data = d.keep(b[:size])
		b = b[size:]
		e.Kind, e.Type = KindHandshake, HandshakeType(e.Data[0])
		if fault := d.message(e.Dir, e.Type, e.Data); fault != "" {
			d.emit(e)
			e.Kind, e.Reason = KindMalformed, fault
		}
		d.emit(e)
		e.Reason, e.Record, h.from = "", record, at
		if len(b) > 0 && h.guard.epoch != epoch {
			e.Kind, e.Reason, e.Data = KindMalformed, "handshake messages go on in a record after the keys changed (RFC 8446 §5.1)", nil
			d.emit(e)
			b = nil
		}
	}
	if len(b) < len(h.msg) || len(h.msg) == 0 {
		h.msg = append(h.msg[:0], b...)
	}
}

// message lets the state follow a handshake message. It says what is wrong
// with one that the side may not send.
func (d *Decoder) message(dir Dir, typ HandshakeType, msg []byte) (fault string) {
	h := &d.half[dir]
	switch typ {
	case TypeClientHello:
		hello, err := ParseClientHello(msg)
		if dir != FromClient || d.version == version13 {
			return "a ClientHello is not for this place"
		}
		if hello.Random == nil {
			return err.Error()
		}
		h.hello = true
		d.params = params{clientRandom: bytes.Clone(hello.Random), etm: [2]bool{FromClient: hello.EncryptThenMAC}}
		d.earlyData = earlyNone
		if hello.EarlyData && !d.retry {
			d.earlyData = earlyUnsettled
		}
	case TypeServerHello:
		hello, err := ParseServerHello(msg)
		if dir != FromServer || d.version == version13 {
			return "a ServerHello is not for this place"
		}
		if hello.Random == nil {
			return err.Error()
		}
		d.serverHello(&hello)
	case TypeEncryptedExtensions:
		if ee, err := ParseEncryptedExtensions(msg); err == nil && dir == FromServer && d.earlyData == earlyUnsettled {
			d.earlyData = earlyRefused
			if ee.EarlyData {
				d.earlyData = earlyTaken
			}
		}
	case TypeFinished:
		if d.version == version13 && h.guard.stage == handshake {
			h.guard.next(application)
		}
	case TypeEndOfEarlyData:
		if d.version == version13 && h.guard.stage == early {
			h.guard.next(handshake)
		}
	case TypeKeyUpdate:
		d.keyUpdate13(dir)
	}
	return ""
}

func (d *Decoder) serverHello(hello *ServerHello) {
	server, client := &d.half[FromServer], &d.half[FromClient]
	d.suiteID = hello.CipherSuite
	d.suite = suites[hello.CipherSuite]
	if hello.HelloRetryRequest {
		// What follows of early data is refused; the version is not final
		// before the second hellos.
		d.retry, d.earlyData, client.hello = true, earlyNone, false
		return
	}
	d.version = hello.Version
	d.serverRandom = bytes.Clone(hello.Random)
	d.etm[FromServer] = hello.EncryptThenMAC
	if s := d.suite; s != nil && (d.version < version12 || (d.version == version13) != (hello.CipherSuite>>8 == 0x13)) {
		d.suite = nil
	}
	if d.version == version13 {
		server.guard.next(handshake)
		client.guard.next(handshake)
		if d.earlyData == earlyUnsettled {
			client.guard.next(early)
		}
	}
}
