package tlswire

import (
	"encoding/binary"
	"fmt"

	"peel/clock"
)

// loss is a stretch of missing bytes in a direction, until a record behind it
// was read.
type loss struct {
	from    int64  // where the first record stands that is not whole
	inside  bool   // all that is missing is of that record,
	skip    int64  // of which that many bytes are to come
	buf     []byte // what came behind it and is not placed yet
	offset  int64  // of buf
	scanned int    // bytes of it that no record begins at
	work    int64  // bytes of records that may still be tried
}

const (
	// maxSealed is the most that one record takes, and minSealed the least that
	// one does whose content is protected.
	maxSealed = recordHeader + maxSealed12
	minSealed = recordHeader + tail13
	// maxScan bounds the bytes in which a record is looked for: in any stretch
	// of two records one begins.
	maxScan = 2 * maxSealed
	// maxSearch bounds the bytes of records that are tried to be opened behind
	// one gap.
	maxSearch = 64 << 20
	// maxNextKeys bounds the changes of keys that a gap can hide.
	maxNextKeys = 2
)

// Gap says that n bytes of a direction are missing where its last bytes ended.
// The next Input of it is of the bytes behind them. It is false when they
// cannot be read, and no Input of that direction is then; KindGap tells from
// where on they could be. Sealed records are found by opening them: how many
// are missing is not known, and each has its number.
func (d *Decoder) Gap(dir Dir, n int64, now clock.Time) (events []Event, ok bool) {
	d.begin(now)
	h := &d.half[dir]
	if h.broken {
		return nil, false
	}
	if h.blind || n <= 0 || h.next == 0 || !h.wait.empty() || d.version == 0 && (dir == FromClient || d.presumed() == nil) {
		d.stop(dir, fmt.Sprintf("the stream's bytes from %d on are missing", h.next))
		return d.events, false
	}
	switch l := h.lost; {
	case l == nil:
		l = &loss{from: h.wait.end(), work: maxSearch}
		if len(h.part) >= recordHeader {
			rest := int64(recordHeader+int(binary.BigEndian.Uint16(h.part[3:]))) - int64(len(h.part))
			l.inside, l.skip = n <= rest, max(rest-n, 0)
		}
		h.lost, h.part, h.msg, h.torn = l, nil, nil, true
	case l.inside && l.skip >= n && len(l.buf) == 0:
		l.skip -= n
	default:
		l.inside, l.skip, l.buf = false, 0, nil
	}
	h.next += n
	h.lost.offset = h.next
	return d.events, true
}

// regain takes bytes behind a gap. It returns those from the first record on
// that can be read, or none.
func (d *Decoder) regain(dir Dir, b []byte) []byte {
	h := &d.half[dir]
	l := h.lost
	if l.skip > 0 {
		n := min(l.skip, int64(len(b)))
		l.skip, l.offset, b = l.skip-n, l.offset+n, b[n:]
	}
	l.buf = append(l.buf, b...)
	for l.skip == 0 && len(l.buf) >= recordHeader {
		size := d.head(dir, l.buf)
		if size > len(l.buf) {
			return nil
		}
		if l.inside && size == recordHeader+1 && l.buf[0] == typeCCS && (d.version == version13 || d.version == 0) {
			l.buf, l.offset = l.buf[size:], l.offset+int64(size) // it says nothing, and has no number
			continue
		}
		if size > 0 && (len(l.buf) < size+recordHeader || d.head(dir, l.buf[size:]) > 0) && d.found(dir, l.buf[:size]) {
			h.lost, h.wait.offset = nil, l.offset
			return l.buf
		}
		if l.scanned++; l.inside || l.scanned > maxScan {
			d.unfound(dir)
			return nil
		}
		l.buf, l.offset = l.buf[1:], l.offset+1
	}
	return nil
}

// unfound gives up a direction behind a gap.
func (d *Decoder) unfound(dir Dir) {
	h := &d.half[dir]
	from, until := h.lost.from, h.lost.offset
	h.lost = nil
	d.emit(Event{Kind: KindUndecryptable, Dir: dir, Time: d.now, Offset: from, Length: int(min(until-from, 1<<30)),
		Reason: fmt.Sprintf("bytes are missing from the stream, and behind %d no record opens", from)})
	h.broken, h.part = true, nil
}

// head returns the size of the record that may begin at b, or 0.
func (d *Decoder) head(dir Dir, b []byte) int {
	size := int(binary.BigEndian.Uint16(b[3:]))
	g := &d.half[dir].guard
	switch {
	case b[0] < typeCCS || b[0] > typeHeartbeat || b[1] != 3 || b[2] > 4 || size == 0 || size > maxSealed12:
		return 0
	case d.version == version13 && (b[0] != typeData && b[0] != typeCCS && b[0] != typeAlert || size > maxSealed13):
		return 0
	case g.stage != clear && b[0] == typeData && size < 16:
		return 0
	}
	return recordHeader + size
}

// found tells whether the record that begins behind a gap is one, and makes its
// direction ready to read it.
func (d *Decoder) found(dir Dir, rec []byte) bool {
	h := &d.half[dir]
	l, was := h.lost, h.guard
	missing := l.offset - l.from
	// The records lost are of the keys in force, as far as is known; else it
	// is some first record of the next keys.
	least, most := uint64((missing+maxSealed-1)/maxSealed), uint64(missing/minSealed)+1
	if l.inside {
		least, most = 1, 1
	}
	tell := func(lost, plain int64) bool {
		h.plain += plain
		text := fmt.Sprintf("%d bytes from %d on are not read, as some of them are missing; reading goes on behind them", missing, l.from)
		d.emit(Event{Kind: KindGap, Dir: dir, Time: d.now, Offset: l.from, Length: int(min(missing, 1<<30)), Missing: plain, Reason: text})
		return true
	}
	if d.version == 0 {
		if rec[0] != typeData || !d.presume(rec, most, &l.work) {
			return false
		}
		return tell(0, 0)
	}
	open := func() bool { return h.guard.open != nil }
	if d.version != version13 && was.stage == clear && (rec[0] == typeCCS && len(rec) == recordHeader+1 || rec[0] == typeHandshake && (l.inside || messages(rec[recordHeader:]))) {
		return tell(0, 0)
	}
	if rec[0] == typeCCS && d.version == version13 || d.suite == nil {
		return false
	}
	if was.stage != clear && (open() || d.rekey(dir)) {
		o := h.guard.open
		first := o.seq
		if n, ok := d.search(o, rec, first+least, first+most, &l.work); ok {
			return tell(int64(n-first), o.content(missing, int64(n-first)))
		}
		h.guard = was
	}
	for i := 0; i < maxNextKeys && d.nextKeys(dir); i++ {
		if _, ok := d.search(h.guard.open, rec, 0, most, &l.work); ok {
			return tell(0, 0)
		}
	}
	h.guard = was
	return false
}

// presumed are the cipher suites that may have been agreed on in a ServerHello
// which is missing, where the secrets are those of TLS 1.3.
func (d *Decoder) presumed() []uint16 {
	switch len(d.secrets.find(label13(FromServer, application), d.clientRandom)) {
	case 32:
		return []uint16{0x1301, 0x1303}
	case 48:
		return []uint16{0x1302}
	}
	return nil
}

// presume tries whether a record of the server opens without that the
// ServerHello was read, which is what it shows then.
func (d *Decoder) presume(rec []byte, most uint64, work *int64) bool {
	g := &d.half[FromServer].guard
	was := *g
	for _, id := range d.presumed() {
		d.version, d.suiteID, d.suite = version13, id, suites[id]
		for _, s := range []stage{handshake, application} {
			if d.suite == nil || !d.rekey13(FromServer, s) {
				continue
			}
			if _, ok := d.search(g.open, rec, 0, most, work); ok {
				client := &d.half[FromClient].guard
				if client.next(handshake); d.earlyData == earlyUnsettled {
					client.next(early)
				}
				return true
			}
		}
	}
	*g, d.version, d.suiteID, d.suite = was, 0, 0, nil
	return false
}

// rekey derives the keys of the stage that a direction is in.
func (d *Decoder) rekey(dir Dir) bool {
	if d.version == version13 {
		g := &d.half[dir].guard
		return g.stage != early && d.rekey13(dir, g.stage)
	}
	return d.rekey12(dir)
}

// nextKeys goes on to the keys that come after those in force: what changes
// them may have been lost.
func (d *Decoder) nextKeys(dir Dir) bool {
	g := &d.half[dir].guard
	switch {
	case d.version != version13 && g.stage == clear:
		d.changeCipherSpec(dir)
		return g.hs.suite != nil && d.rekey12(dir)
	case d.version != version13 || g.trial:
		return false
	case g.stage == handshake:
		return d.rekey13(dir, application)
	case g.stage == application && g.open != nil:
		generation := g.epoch
		d.keyUpdate13(dir)
		return g.epoch != generation
	}
	return false
}

// search tries to open a record as each of the numbers from first to last. It
// leaves the opener at the one that it is.
func (d *Decoder) search(o *opener, rec []byte, first, last uint64, work *int64) (uint64, bool) {
	cost := int64(len(rec) + 64)
	if o.suite.kind == cbc {
		cost *= 4
	}
	if d.scratch == nil {
		d.scratch = make([]byte, 0, maxSealed)
	}
	was := o.seq
	try := func(seq uint64) bool {
		*work -= cost
		if d.lim.Budget != nil {
			*d.lim.Budget -= cost
		}
		o.seq = seq
		_, _, err := o.record(d.scratch[:0], rec)
		o.seq = seq
		return err == nil
	}
	// With AES-GCM in TLS 1.2 most senders count in the nonce, which tells the
	// number at once.
	if n, ok := o.explicit(rec); ok && o.nonceKnown {
		if seq := o.seq + n - o.lastNonce - 1; seq >= first && seq <= last && try(seq) {
			return seq, true
		}
	}
	for seq := first; seq <= last && *work > 0 && (d.lim.Budget == nil || *d.lim.Budget > 0); seq++ {
		if try(seq) {
			return seq, true
		}
	}
	o.seq = was
	return 0, false
}

// explicit returns the part of the nonce that comes with a record.
func (o *opener) explicit(rec []byte) (uint64, bool) {
	if o.version == version13 || o.suite.kind != gcm || len(rec) < recordHeader+8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(rec[recordHeader:]), true
}

// content is how many bytes that many sealed records held that took size bytes
// together, were they all of application data without padding; 0 when the
// size does not tell.
func (o *opener) content(size, records int64) int64 {
	tail := int64(tail13)
	switch {
	case o.suite.kind == cbc || o.padded:
		return 0
	case o.version != version13 && o.suite.kind == gcm:
		tail = 8 + 16
	case o.version != version13:
		tail = 16
	}
	return max(size-records*(recordHeader+tail), 0)
}

// messages tells whether bytes are whole handshake messages, one after another.
func messages(b []byte) bool {
	for len(b) >= 4 {
		size := 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
		if handshakeNames[HandshakeType(b[0])] == "" || size > len(b) {
			return false
		}
		b = b[size:]
	}
	return len(b) == 0
}
