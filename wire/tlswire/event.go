package tlswire

import "peel/clock"

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
	// KindUndecryptable is what could not be opened; Reason says why. It is
	// said once when a direction cannot be read from there on.
	KindUndecryptable
	// KindMalformed is a record or message that breaks the format.
	KindMalformed
	// KindGap is a stretch that could not be read, as bytes of it are missing;
	// what comes behind it can be read again. Missing says what it held.
	KindGap
	// KindRecord is a record, readable or not; see Limits.Records. Record
	// tells of it, and Data holds its 5-byte header.
	KindRecord
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
	// PlainOffset is where application data stands in all that its direction
	// carried for the application.
	PlainOffset int64
	// Refused tells of application data sent early which the server did not
	// take (RFC 8446 §4.2.10): it is no part of that stream.
	Refused bool
	// Type is set for handshake messages, Alert for alerts.
	Type  HandshakeType
	Alert Alert
	// Version is the version agreed on so far; 0 before.
	Version   uint16
	Encrypted bool
	// Record is set for records, and for what stands in exactly one.
	Record Record
	// Missing is how many bytes of application data a gap holds, were all of
	// its records of that type; 0 when that is not known.
	Missing int64
	Reason  string
}

// Record is what is known of a record.
type Record struct {
	// Type is the content type: that of the content when the record was
	// opened, else that on the wire (RFC 8446 §5.1).
	Type uint8
	// Version is the one in the header, which says little.
	Version uint16
	// Epoch counts the keys of a direction: 0 is in the clear. In TLS 1.3,
	// 1 is 0-RTT, 2 the handshake, 3 and up application data; in TLS 1.2, 1 is
	// what the first ChangeCipherSpec starts.
	Epoch int
	// Sequence is the number of the record in its epoch.
	Sequence uint64
	// Plain and Padding are bytes of content and of padding; -1 when the record
	// was not opened.
	Plain, Padding int
}

// mark is a record that waits.
type mark struct {
	size int
	time clock.Time
}

// queue holds whole records in the order of their stream.
type queue struct {
	offset int64 // in the stream, of the first record, or of the next one
	buf    []byte
	marks  []mark
	head   int // first byte of buf that waits
	first  int // first mark that waits
}

func (q *queue) empty() bool   { return q.first == len(q.marks) }
func (q *queue) bytes() []byte { return q.buf[q.head:] }

// end is where the bytes behind the queue stand in the stream.
func (q *queue) end() int64 { return q.offset + int64(len(q.bytes())) }

func (q *queue) push(rec []byte, now clock.Time) {
	q.buf = append(q.buf, rec...)
	q.marks = append(q.marks, mark{len(rec), now})
}

func (q *queue) front() ([]byte, clock.Time) {
	m := q.marks[q.first]
	return q.buf[q.head : q.head+m.size], m.time
}

func (q *queue) pop() {
	size := q.marks[q.first].size
	q.offset += int64(size)
	q.head += size
	q.first++
	if q.empty() {
		// Waiting is for the start of a connection: no need to keep the room.
		*q = queue{offset: q.offset}
	}
}
