package http1

import (
	"bytes"
	"fmt"
	"math"

	"peel/wire/httpfield"
)

// Kind says what an Event is.
type Kind uint8

const (
	// NeedMore: what is there is not enough. Some of it may be consumed.
	NeedMore Kind = iota
	// HeadEvent: a start line and its fields, in Event.Head.
	HeadEvent
	// Data: a piece of the body, in Event.Data.
	Data
	// End: the message is complete; Trailers holds its trailer fields.
	End
	// Tunnel: what follows is not HTTP/1 (101, or 2xx to CONNECT).
	Tunnel
	// Closed: the connection ended between messages.
	Closed
)

// Event is what a Reader found. Head and Trailers are valid until the next
// head, Data aliases the caller's buffer.
type Event struct {
	Kind     Kind
	Head     *Head
	Data     []byte
	Trailers httpfield.List
}

// state is what a Reader expects next.
type state uint8

const (
	atHead state = iota
	atBody
	atEnd
	atChunkSize
	atChunkData
	atChunkEnd
	atTrailer
	atTunnel
	atClose
)

// Reader reads the messages of one direction of a connection. It does not
// buffer: the caller hands in all that was not consumed before.
type Reader struct {
	role    Role
	lim     Limits
	state   state
	offset  int64
	scanned int  // bytes already searched for a line's end
	base    int  // bytes that this call to Next consumed so far
	folds   int  // continuation lines in this head
	interim int  // 1xx responses since the last final one
	lines   bool // a line of the head has ended
	closing bool // the last message said that no other will follow
	head    Head
	left    int64 // of the body, or of the chunk
	got     int64 // body bytes so far
	extra   int   // chunk extension bytes so far
	methods []method
	err     error
	raw     []byte // the head that is being parsed
}

// method is what a response's framing depends on.
type method uint8

const (
	plainMethod method = iota
	headMethod
	connectMethod
)

// Reset makes r read a new connection.
func (r *Reader) Reset(role Role, lim Limits) {
	lim.fill(role)
	*r = Reader{role: role, lim: lim, methods: r.methods[:0]}
}

// ExpectResponseTo tells a client's reader of a request that was sent, whose
// method decides how its response is framed (RFC 9112 §6.3).
func (r *Reader) ExpectResponseTo(m string) {
	k := plainMethod
	switch m {
	case "HEAD":
		k = headMethod
	case "CONNECT":
		k = connectMethod
	}
	r.methods = append(r.methods, k)
}

// Next looks at b, all bytes that came and were not consumed, and returns one
// event and how many bytes of b it consumed. eof tells that nothing will
// follow. After an error every call returns it.
func (r *Reader) Next(b []byte, eof bool) (Event, int, error) {
	if r.err != nil {
		return Event{}, 0, r.err
	}
	if r.scanned > len(b) { // the caller took bytes back; search again
		r.scanned = 0
	}
	r.base = 0
	ev, n, err := r.next(b, eof)
	r.offset += int64(n)
	if err != nil {
		r.err = err
	}
	return ev, n, err
}

func (r *Reader) next(b []byte, eof bool) (Event, int, error) {
	switch r.state {
	case atHead:
		if r.closing {
			return Event{Kind: Closed}, 0, nil
		}
		return r.readHead(b, eof)
	case atBody:
		if r.left == 0 {
			r.state = atEnd
			return r.next(b, eof)
		}
		if len(b) == 0 {
			return r.starved(eof)
		}
		return r.data(b)
	case atEnd:
		r.done()
		return Event{Kind: End}, 0, nil
	case atChunkSize, atChunkEnd:
		return r.chunkLine(b, eof)
	case atChunkData:
		if len(b) == 0 {
			return r.starved(eof)
		}
		return r.data(b)
	case atTrailer:
		return r.readTrailer(b, eof)
	case atClose:
		if len(b) > 0 {
			r.got += int64(len(b))
			return Event{Kind: Data, Data: b}, len(b), nil
		}
		if eof {
			r.done()
			return Event{Kind: End}, 0, nil
		}
		return Event{}, 0, nil
	}
	return Event{Kind: Tunnel}, 0, nil
}

// Direct returns how many bytes of the present body a caller may read past
// the reader, straight to where they are wanted: as many as Next would give
// out unchanged. It is 0 where framing stands between them. Skip says how many
// were read so.
func (r *Reader) Direct() int64 {
	switch {
	case r.err != nil:
		return 0
	case r.state == atBody:
		return r.left
	case r.state == atClose:
		return math.MaxInt64
	}
	return 0
}

// Skip takes note of n bytes that were read past the reader.
func (r *Reader) Skip(n int) {
	r.offset += int64(n)
	r.got += int64(n)
	if r.state == atBody {
		if r.left -= int64(n); r.left == 0 {
			r.state = atEnd
		}
	}
}

// done makes the reader ready for the next message.
func (r *Reader) done() {
	r.state, r.scanned, r.got, r.extra = atHead, 0, 0, 0
	// RFC 9112 §9.6: a server must not process a request after "close".
	r.closing = r.role == ServerRole && !r.head.KeepAlive && !r.lim.Observe
}

func (r *Reader) data(b []byte) (Event, int, error) {
	n := int(min(int64(len(b)), r.left))
	r.left -= int64(n)
	r.got += int64(n)
	if r.left == 0 {
		if r.state == atChunkData {
			r.state = atChunkEnd
		} else {
			r.state = atEnd
		}
	}
	return Event{Kind: Data, Data: b[:n]}, n, nil
}

// starved is what too few bytes mean: wait, or the end came too early.
func (r *Reader) starved(eof bool) (Event, int, error) {
	if !eof {
		return Event{}, 0, nil
	}
	e := &Error{Status: 400, Offset: r.offset + int64(r.base), Received: r.got, Announced: -1, truncated: true}
	switch r.state {
	case atHead:
		e.What = "the connection ended inside of a message's head"
	case atBody:
		e.Announced = r.got + r.left
		e.What = fmt.Sprintf("the connection ended after %d of %d announced bytes of the body", r.got, e.Announced)
	default:
		e.What = fmt.Sprintf("the connection ended after %d bytes of a chunked body, before its last chunk", r.got)
	}
	return Event{}, 0, e
}

func (r *Reader) bad(at int, format string, args ...any) *Error {
	return r.fail(400, at, format, args...)
}

func (r *Reader) fail(status, at int, format string, args ...any) *Error {
	return &Error{Status: status, Offset: r.offset + int64(r.base+at), What: fmt.Sprintf(format, args...)}
}

// readHead finds the empty line that ends a head and parses what stands
// before it.
func (r *Reader) readHead(b []byte, eof bool) (Event, int, error) {
	skip := 0
	if r.scanned == 0 {
		// RFC 9112 §2.2: a server ignores an empty line before a request.
		for skip < len(b) && (b[skip] == '\r' || b[skip] == '\n') {
			line := 1
			if b[skip] == '\r' {
				if line = 2; skip+1 == len(b) && !eof {
					return Event{}, 0, nil
				}
				if skip+1 == len(b) || b[skip+1] != '\n' {
					return Event{}, 0, r.bad(skip, "CR without LF where a message should begin")
				}
			} else if r.role == ServerRole && !r.lim.Observe {
				return Event{}, 0, r.bad(skip, "LF without CR where a message should begin")
			}
			if skip += line; skip > 4 {
				return Event{}, 0, r.bad(4, "empty lines where a message should begin")
			}
		}
		if skip == len(b) {
			if eof {
				return Event{Kind: Closed}, skip, nil
			}
			return Event{}, 0, nil
		}
		if skip > 0 {
			r.base += skip
			ev, n, err := r.readHead(b[skip:], eof)
			return ev, n + skip, err
		}
	}
	// Checked before there is a line: what speaks another protocol may never
	// send one.
	for i := 0; r.role == ClientRole && r.scanned < 5 && i < min(len(b), 5); i++ {
		if b[i] != "HTTP/"[i] {
			e := r.fail(400, 0, "the response begins with %s, not with HTTP/", quoted(b[:i+1]))
			e.alien = true
			return Event{}, 0, e
		}
	}
	end, err := r.headEnd(b)
	if err != nil {
		return Event{}, 0, err
	}
	if end < 0 {
		return r.starved(eof)
	}
	r.scanned, r.lines = 0, false
	r.raw = b[:end]
	defer func() { r.raw = nil }()
	if err := r.parse(b[:end]); err != nil {
		return Event{}, 0, err
	}
	return Event{Kind: HeadEvent, Head: &r.head}, end, nil
}

// headEnd returns the length of the head, or -1. It goes on where it stopped
// the last time, so that a head that comes byte by byte costs no more.
func (r *Reader) headEnd(b []byte) (int, error) {
	pos := r.scanned
	for {
		i := bytes.IndexByte(b[pos:], '\n')
		if i < 0 {
			break
		}
		at := pos + i
		pos = at + 1
		// An empty line: LF after LF, or after CRLF's LF with a CR between.
		if at > 0 && b[at-1] == '\n' || at > 1 && b[at-1] == '\r' && b[at-2] == '\n' {
			if pos > r.lim.HeadBytes {
				return 0, r.tooLarge(b)
			}
			return pos, nil
		}
		r.lines = true
	}
	r.scanned = len(b)
	if len(b) > r.lim.HeadBytes {
		return 0, r.tooLarge(b)
	}
	if !r.lines && len(b) > r.lim.StartLine {
		return 0, r.fail(414, r.lim.StartLine, "the start line is longer than %d bytes", r.lim.StartLine)
	}
	return -1, nil
}

func (r *Reader) tooLarge([]byte) error {
	return r.fail(431, r.lim.HeadBytes, "the head is larger than %d bytes", r.lim.HeadBytes)
}
