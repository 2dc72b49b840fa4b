package http1

import (
	"bytes"

	"peel/wire/httpfield"
)

// maxChunkLine bounds one chunk-size line with its extensions.
const maxChunkLine = 4 << 10

// chunkLine reads the line that begins a chunk, or the CRLF that ends its
// data (RFC 9112 §7.1). Lines end with CRLF and nothing less: a bare LF is
// how one message becomes two.
func (r *Reader) chunkLine(b []byte, eof bool) (Event, int, error) {
	if r.state == atChunkEnd {
		switch {
		case len(b) >= 2 && b[0] == '\r' && b[1] == '\n':
			r.state = atChunkSize
			r.base += 2
			ev, n, err := r.chunkLine(b[2:], eof)
			return ev, n + 2, err
		case len(b) > 0 && b[0] != '\r':
			return Event{}, 0, r.bad(0, "%s where a chunk's data should end with CRLF", quoted(b[:1]))
		case len(b) > 1:
			return Event{}, 0, r.bad(0, "%s where a chunk's data should end with CRLF", quoted(b[:2]))
		}
		return r.starved(eof)
	}
	i := bytes.IndexByte(b[r.scanned:], '\n')
	if i < 0 {
		r.scanned = len(b)
		if len(b) > maxChunkLine {
			return Event{}, 0, r.bad(0, "a chunk-size line longer than %d bytes", maxChunkLine)
		}
		return r.starved(eof)
	}
	i += r.scanned
	r.scanned = 0
	if i == 0 || b[i-1] != '\r' {
		return Event{}, 0, r.bad(i, "a chunk-size line ends with LF alone")
	}
	line := b[:i-1]
	if len(line) > maxChunkLine {
		return Event{}, 0, r.bad(0, "a chunk-size line longer than %d bytes", maxChunkLine)
	}
	size, digits := int64(0), 0
	for digits < len(line) {
		v, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		if digits++; digits > 15 {
			return Event{}, 0, r.bad(0, "the chunk size %s is too large", quoted(line))
		}
		size = size<<4 | int64(v)
	}
	if digits == 0 {
		return Event{}, 0, r.bad(0, "%s is not a chunk size", quoted(line))
	}
	if err := r.extension(line[digits:]); err != nil {
		return Event{}, 0, err
	}
	if size > 0 {
		r.left = size
		r.state = atChunkData
		r.base += i + 1
		ev, n, err := r.next(b[i+1:], eof)
		return ev, n + i + 1, err
	}
	r.state, r.scanned = atTrailer, 0
	r.base += i + 1
	ev, n, err := r.readTrailer(b[i+1:], eof)
	return ev, n + i + 1, err
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// extension checks what stands behind a chunk size. Extensions are read and
// dropped, but not without end: they are a way to send much for nothing.
func (r *Reader) extension(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if r.extra += len(b); r.extra > r.lim.ChunkExtensions {
		return r.bad(0, "more than %d bytes of chunk extensions", r.lim.ChunkExtensions)
	}
	rest := bytes.TrimLeft(b, " \t")
	if len(rest) == 0 || rest[0] != ';' {
		return r.bad(0, "%s behind a chunk size", quoted(b))
	}
	for _, c := range rest {
		if c < ' ' && c != '\t' || c == 0x7f {
			return r.bad(0, "byte 0x%02x in a chunk extension", c)
		}
	}
	return nil
}

// readTrailer reads the trailer section (RFC 9112 §7.1.2).
func (r *Reader) readTrailer(b []byte, eof bool) (Event, int, error) {
	if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		r.done()
		return Event{Kind: End}, 2, nil
	}
	end := -1
	for pos := r.scanned; end < 0; {
		i := bytes.IndexByte(b[pos:], '\n')
		if i < 0 {
			break
		}
		pos += i + 1
		if pos == 1 || b[pos-2] != '\r' {
			return Event{}, 0, r.bad(pos-1, "a trailer line ends with LF alone")
		}
		if pos >= 4 && b[pos-3] == '\n' {
			end = pos
		}
	}
	if end < 0 {
		r.scanned = len(b)
	}
	if end > r.lim.Trailer || end < 0 && len(b) > r.lim.Trailer {
		return Event{}, 0, r.fail(431, r.lim.Trailer, "the trailer section is larger than %d bytes", r.lim.Trailer)
	}
	if end < 0 {
		return r.starved(eof)
	}
	var list httpfield.List
	s := string(b[:end])
	for pos := 0; ; {
		line, next, err := r.line(s, pos)
		if err != nil {
			return Event{}, 0, err
		}
		if line == "" {
			break
		}
		if err := r.field(line, pos, &list, r.lim.Fields); err != nil {
			return Event{}, 0, err
		}
		pos = next
	}
	for _, f := range list {
		if forbiddenTrailer(f.Name) && !r.lim.Observe {
			return Event{}, 0, r.bad(0, "%s is not allowed as a trailer field", f.Name)
		}
	}
	r.done()
	return Event{Kind: End, Trailers: list}, end, nil
}

// forbiddenTrailer lists fields that would change how the message is framed
// or routed after the fact (RFC 9110 §6.5.1).
func forbiddenTrailer(name string) bool {
	for _, f := range []string{"Transfer-Encoding", "Content-Length", "Host", "Connection", "Trailer", "Authorization", "Cookie", "Set-Cookie", "Content-Encoding", "Content-Type", "Content-Range"} {
		if httpfield.EqualName(name, f) {
			return true
		}
	}
	return false
}
