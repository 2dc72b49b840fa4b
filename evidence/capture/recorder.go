package capture

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"peel/clock"
	"peel/evidence/decision"
	"peel/trace"
	"peel/wire/pcap"
)

// Overflow says what a full recorder does.
type Overflow uint8

const (
	// DropOldest forgets the oldest chunk of records and counts it.
	DropOldest Overflow = iota
	// WaitForReader makes the recorded program wait until the reader of the
	// capture has caught up, so that nothing is lost. It needs a Cursor that
	// is being read.
	WaitForReader
)

// Options of a Recorder. The zero value keeps 64 MiB and drops the oldest.
type Options struct {
	// Limit bounds the bytes kept; 0 means 64 MiB. Less than two chunks
	// (512 KiB) counts as two.
	Limit    int
	Overflow Overflow
}

const (
	chunkSize  = 256 << 10
	headerSize = 24
	// maxSecret is more than a line of a key log ever has.
	maxSecret = 32 << 10
)

// chunk is a run of encoded records. Its bytes are written once and never
// moved; once a recorder has a reader, chunks are left to the garbage
// collector instead of being used again, so what was read stays valid.
type chunk struct {
	buf     []byte
	records int
	evicted bool
	next    *chunk
}

// Recorder is a bounded capture in memory. It is safe for concurrent use;
// records are ordered by the time at which they were recorded. A nil Recorder
// records nothing.
type Recorder struct {
	clock clock.Clock
	opt   Options

	sockets, exchanges, lookups atomic.Uint32
	// packets tells that packets are captured: they then stand for the bytes
	// of sockets, which need not be recorded twice.
	packets atomic.Bool
	// passed and carried count the bytes that went through sockets and those
	// of the packets recorded since.
	passed, carried atomic.Int64

	mu       sync.Mutex
	changed  sync.Cond
	oldest   *chunk
	newest   *chunk
	free     *chunk
	live     int
	waiting  int
	closed   bool
	read     bool // a cursor was made
	reader   *Cursor
	recorded int64 // records in all, those dropped too
	lostRecs int64
	lostLen  int64
	last     clock.Time
	wheres   []string // names of interfaces

	scratch sync.Pool // of *[]byte, for decisions
}

// NewRecorder makes an empty capture that takes its times from c.
func NewRecorder(c clock.Clock, o Options) *Recorder {
	if o.Limit == 0 {
		o.Limit = 64 << 20
	}
	o.Limit = max(o.Limit, 2*chunkSize)
	r := &Recorder{clock: c, opt: o}
	r.changed.L = &r.mu
	r.newest = &chunk{buf: make([]byte, 0, chunkSize)}
	r.oldest = r.newest
	r.live = 1
	return r
}

// NewSocket, NewExchange and NewLookup give the next number of their kind.
func (r *Recorder) NewSocket() uint32 { return next(r, func() *atomic.Uint32 { return &r.sockets }) }
func (r *Recorder) NewExchange() uint32 {
	return next(r, func() *atomic.Uint32 { return &r.exchanges })
}
func (r *Recorder) NewLookup() uint32 { return next(r, func() *atomic.Uint32 { return &r.lookups }) }

func next(r *Recorder, counter func() *atomic.Uint32) uint32 {
	if r == nil {
		return 0
	}
	return counter().Add(1)
}

// Stream records bytes that a socket wrote (Out) or read (In).
func (r *Recorder) Stream(socket uint32, dir Direction, b []byte) {
	if r == nil || len(b) == 0 || r.packets.Load() {
		return
	}
	r.mu.Lock()
	for len(b) > 0 {
		part := b[:min(len(b), chunkSize-headerSize)]
		// Fill the rest of the chunk before starting another.
		if room := chunkSize - headerSize - len(r.newest.buf); room >= 4096 && room < len(part) {
			part = b[:room]
		}
		r.begin(Stream, dir, socket, len(part))
		r.newest.buf = append(r.newest.buf, part...)
		r.end()
		b = b[len(part):]
	}
	r.mu.Unlock()
}

// ByPackets says that packets are captured from now on, by which the bytes of
// sockets are seen: Stream then records nothing.
func (r *Recorder) ByPackets() {
	if r != nil {
		r.packets.Store(true)
	}
}

// SeesPackets tells whether ByPackets was called.
func (r *Recorder) SeesPackets() bool { return r != nil && r.packets.Load() }

// maxBehind is how far the recording of packets may stay behind the sockets:
// less than the ring that the kernel fills.
const maxBehind = 24 << 20

// Pace tells that n bytes went through a socket whose packets are captured.
// It makes the program wait, up to a second, when the capture stays behind:
// otherwise a fast transfer would lose packets on a busy machine. Flow control
// then slows the peer down.
func (r *Recorder) Pace(n int) {
	if r == nil || !r.packets.Load() {
		return
	}
	passed := r.passed.Add(int64(n))
	for range 2000 {
		if passed-r.carried.Load() < maxBehind {
			return
		}
		time.Sleep(500 * time.Microsecond)
	}
	r.carried.Store(passed) // the capture has ended, or sees something else
}

// packetHead is what stands before a packet's bytes: link type, flags, number
// of the interface's name, length on the wire.
const packetHead = 12

const (
	flagSent = 1 << iota
	flagReceived
	flagPartial
)

// Packet records a packet of length bytes on the wire, of which b was kept,
// with the time at which it was seen.
func (r *Recorder) Packet(at clock.Time, l Link, length int, b []byte) {
	if r == nil {
		return
	}
	r.carried.Add(int64(length))
	b = b[:min(len(b), chunkSize-headerSize-packetHead)]
	var flags byte
	if l.Sent {
		flags |= flagSent
	}
	if l.Received {
		flags |= flagReceived
	}
	if l.Partial {
		flags |= flagPartial
	}
	r.mu.Lock()
	where := slices.Index(r.wheres, l.Where)
	if where < 0 {
		where = len(r.wheres)
		r.wheres = append(r.wheres, l.Where)
	}
	r.beginAt(at, Packet, Out, 0, packetHead+len(b))
	r.newest.buf = binary.LittleEndian.AppendUint16(r.newest.buf, uint16(l.Type))
	r.newest.buf = append(r.newest.buf, flags, 0)
	r.newest.buf = binary.LittleEndian.AppendUint32(r.newest.buf, uint32(where))
	r.newest.buf = binary.LittleEndian.AppendUint32(r.newest.buf, uint32(length))
	r.newest.buf = append(r.newest.buf, b...)
	r.end()
	r.mu.Unlock()
}

// Mark says that every packet up to at has been recorded.
func (r *Recorder) Mark(at clock.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.beginAt(at, Mark, Out, 0, 0)
	r.end()
	r.mu.Unlock()
}

// Secret records one key-log line of a socket, without its line end.
func (r *Recorder) Secret(socket uint32, line []byte) {
	if r == nil || len(line) == 0 || len(line) > maxSecret {
		return
	}
	r.mu.Lock()
	r.begin(Secret, Out, socket, len(line))
	r.newest.buf = append(r.newest.buf, line...)
	r.end()
	r.mu.Unlock()
}

// KeyLog returns a writer for tls.Config.KeyLogWriter that takes the secrets of
// one socket into the capture. Each connection has its own, so that secrets
// are bound to it even where the random on the wire is not the one in the log
// (Encrypted ClientHello).
func (r *Recorder) KeyLog(socket uint32) io.Writer { return keyLog{r, socket} }

type keyLog struct {
	r      *Recorder
	socket uint32
}

func (k keyLog) Write(line []byte) (int, error) {
	k.r.Secret(k.socket, bytes.TrimRight(line, "\r\n"))
	return len(line), nil
}

// Decide records a decision. It keeps nothing of d.
func (r *Recorder) Decide(about About, d decision.Decision) {
	if r == nil {
		return
	}
	// Encoded before the lock is taken: making room may let go of it.
	scratch, _ := r.scratch.Get().(*[]byte)
	if scratch == nil {
		scratch = new([]byte)
	}
	b := appendDecision((*scratch)[:0], about, d)
	r.mu.Lock()
	r.begin(Decided, Out, about.Socket, len(b))
	r.newest.buf = append(r.newest.buf, b...)
	r.end()
	r.mu.Unlock()
	*scratch = b
	r.scratch.Put(scratch)
}

// maxName is more than the name of a decision ever has.
const maxName = 255

// decisionHead is the numbers before a decision.
const decisionHead = 12

// appendDecision appends what readDecision reads.
func appendDecision(b []byte, about About, d decision.Decision) []byte {
	b = binary.LittleEndian.AppendUint32(b, about.Exchange)
	b = binary.LittleEndian.AppendUint32(b, about.Lookup)
	b = binary.LittleEndian.AppendUint32(b, about.Stream)
	name := string(d.Name())
	name = name[:min(len(name), maxName)]
	b = append(b, byte(len(name)))
	b = append(b, name...)
	return decision.Append(b, d)
}

// readDecision sets the decision of a record. It is false when b is none.
func readDecision(r *Record, b []byte) bool {
	if len(b) <= decisionHead || len(b) <= decisionHead+int(b[decisionHead]) {
		return false
	}
	r.Exchange = binary.LittleEndian.Uint32(b)
	r.Lookup = binary.LittleEndian.Uint32(b[4:])
	r.Stream = binary.LittleEndian.Uint32(b[8:])
	fields := decisionHead + 1 + int(b[decisionHead])
	r.Decision = decision.Decode(trace.EventName(b[decisionHead+1:fields]), b[fields:])
	return true
}

// begin makes room for a record of at most size bytes and writes its header.
func (r *Recorder) begin(k Kind, dir Direction, socket uint32, size int) {
	r.room(size)
	// The clock is read under the lock so that order and time agree.
	now := max(r.clock.Now(), r.last)
	r.last = now
	r.header(now, k, dir, socket, size)
}

func (r *Recorder) room(size int) {
	for len(r.newest.buf)+headerSize+size > chunkSize {
		r.advance()
	}
}

// beginAt is begin for what has a time of its own.
func (r *Recorder) beginAt(at clock.Time, k Kind, dir Direction, socket uint32, size int) {
	r.room(size)
	r.header(at, k, dir, socket, size)
}

func (r *Recorder) header(now clock.Time, k Kind, dir Direction, socket uint32, size int) {
	b := binary.LittleEndian.AppendUint64(r.newest.buf, uint64(now))
	b = append(b, byte(k), byte(dir), 0, 0)
	b = binary.LittleEndian.AppendUint32(b, socket)
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	r.newest.buf = b
}

func (r *Recorder) end() {
	r.newest.records++
	r.recorded++
	if r.waiting > 0 {
		r.changed.Broadcast()
	}
}

// advance starts a new chunk, making room by the overflow policy. It may
// return without one after a wait, in which another writer can have made it.
func (r *Recorder) advance() {
	if r.opt.Overflow == WaitForReader && r.reader != nil && !r.closed {
		r.releaseRead()
		if r.live*chunkSize >= r.opt.Limit {
			r.wait()
			return
		}
	}
	for r.live*chunkSize >= r.opt.Limit && r.oldest != r.newest {
		r.evict()
	}
	c := r.free
	r.free = nil
	if c == nil {
		c = &chunk{buf: make([]byte, 0, chunkSize)}
	}
	r.newest.next = c
	r.newest = c
	r.live++
}

func (r *Recorder) wait() {
	r.waiting++
	r.changed.Wait()
	r.waiting--
}

// releaseRead lets go of chunks that the reader has left behind.
func (r *Recorder) releaseRead() {
	for r.oldest != r.newest && r.oldest != r.reader.at {
		r.oldest = r.oldest.next
		r.live--
	}
}

func (r *Recorder) evict() {
	c := r.oldest
	r.oldest = c.next
	r.live--
	r.lostRecs += int64(c.records)
	r.lostLen += int64(len(c.buf))
	c.evicted = true
	if !r.read {
		*c = chunk{buf: c.buf[:0]}
		r.free = c
	}
}

// Close ends the capture: cursors return false when they reach the end.
func (r *Recorder) Close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.closed = true
	r.changed.Broadcast()
	r.mu.Unlock()
}

// Lost returns how many records and bytes were dropped so far.
func (r *Recorder) Lost() (records, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lostRecs, r.lostLen
}

// Clock is the one that the times of records are taken from.
func (r *Recorder) Clock() clock.Clock { return r.clock }

// Await waits until more than seen records have been made, or until the
// recorder is closed. It returns how many there are, and whether more can come.
func (r *Recorder) Await(seen int64) (recorded int64, open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.recorded <= seen && !r.closed {
		r.wait()
	}
	return r.recorded, !r.closed
}

// Cursor reads a Recorder's records in order. It is not safe for concurrent
// use.
type Cursor struct {
	r   *Recorder
	at  *chunk
	buf []byte // what of the chunk may be read
	pos int
	// lost counts bytes dropped before the cursor was made, not told yet.
	lost int

	wheres []string
}

// Cursor returns a cursor at the oldest record kept; its first record tells
// what was dropped before. With WaitForReader the
// last cursor asked for is the reader that is waited for.
func (r *Recorder) Cursor() *Cursor {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Cursor{r: r, at: r.oldest, lost: int(r.lostLen)}
	r.read = true
	r.reader = c
	return c
}

// Stop ends the reading: nobody waits for this cursor any more.
func (c *Cursor) Stop() {
	c.r.mu.Lock()
	if c.r.reader == c {
		c.r.reader = nil
	}
	c.r.changed.Broadcast()
	c.r.mu.Unlock()
}

// Next returns the next record. When there is none yet it waits if wait is
// set, until one comes or the recorder is closed; ok is false when there is
// nothing (more) to read. Records that were dropped before the cursor came to
// them are told by one record of kind Lost.
func (c *Cursor) Next(wait bool) (rec Record, ok bool) {
	if lost := c.lost; lost > 0 {
		c.lost = 0
		return Record{Kind: Lost, Length: lost}, true
	}
	if c.pos >= len(c.buf) {
		lost, ok := c.more(wait)
		if !ok {
			return Record{}, false
		}
		if lost > 0 {
			return Record{Kind: Lost, Length: lost}, true
		}
	}
	b := c.buf[c.pos:]
	size := int(binary.LittleEndian.Uint32(b[20:]))
	rec = Record{
		Time:   clock.Time(binary.LittleEndian.Uint64(b)),
		Kind:   Kind(b[8]),
		Dir:    Direction(b[9]),
		Socket: binary.LittleEndian.Uint32(b[12:]),
		Length: size,
	}
	data := b[headerSize : headerSize+size : headerSize+size]
	switch rec.Kind {
	case Packet:
		rec.Length = int(binary.LittleEndian.Uint32(data[8:]))
		rec.Link = Link{Type: pcap.LinkType(binary.LittleEndian.Uint16(data)), Where: c.where(int(binary.LittleEndian.Uint32(data[4:]))),
			Sent: data[2]&flagSent != 0, Received: data[2]&flagReceived != 0, Partial: data[2]&flagPartial != 0}
		rec.Data = data[packetHead:]
	case Decided:
		readDecision(&rec, data)
	default:
		rec.Data = data
	}
	c.pos += headerSize + size
	return rec, true
}

// where returns the name of an interface.
func (c *Cursor) where(i int) string {
	if i >= len(c.wheres) {
		c.r.mu.Lock()
		c.wheres = c.r.wheres[:len(c.r.wheres):len(c.r.wheres)]
		c.r.mu.Unlock()
	}
	return c.wheres[i]
}

// more finds unread bytes, in this chunk or the next.
func (c *Cursor) more(wait bool) (lost int, ok bool) {
	r := c.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if c.pos < len(c.at.buf) {
			c.buf = c.at.buf
			return 0, true
		}
		if nx := c.at.next; nx != nil {
			// This chunk is read to its end. If the one behind it is gone too,
			// go on at the oldest that is left and say what is missing.
			for nx.evicted {
				lost += len(nx.buf)
				nx = nx.next
			}
			c.at, c.buf, c.pos = nx, nil, 0
			if r.waiting > 0 {
				r.changed.Broadcast()
			}
			if lost > 0 {
				return lost, true
			}
			continue
		}
		if !wait || r.closed {
			return 0, false
		}
		r.wait()
	}
}
