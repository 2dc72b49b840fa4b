package http1

import (
	"bytes"
	"strings"

	"peel/wire/httpfield"
)

// Answering says which method the next response answers, whatever was expected
// before: for an observer, who may have missed some of the responses.
func (r *Reader) Answering(m string) {
	r.methods = r.methods[:0]
	r.ExpectResponseTo(m)
}

// Missing takes note of n bytes that stood next and that the caller cannot show:
// a capture lacks them. It tells whether the reader knows what they were, and
// goes on exactly behind them: they are of a body, or of a chunk, that has as
// many to come, or of a body that ends with the connection.
func (r *Reader) Missing(n int64) bool {
	switch {
	case r.err != nil:
		return false
	case r.state == atClose:
		r.got += n
	case (r.state == atBody || r.state == atChunkData) && n <= r.left:
		r.got += n
		if r.left -= n; r.left == 0 {
			r.state = map[state]state{atBody: atEnd, atChunkData: atChunkEnd}[r.state]
		}
	default:
		return false
	}
	r.offset += n
	return true
}

// Resume gives up the message under way, also after an error: n bytes on, another
// one begins.
func (r *Reader) Resume(n int64) {
	r.done()
	r.offset += n
	r.base, r.lines, r.err, r.closing = 0, false, nil, false
	r.interim = 0
}

// InHead tells whether the reader stands before or in the head of a message.
func (r *Reader) InHead() bool { return r.state == atHead && r.err == nil }

// maxMethod bounds the method of a request that is looked for.
const maxMethod = 32

// Begins tells whether b begins with a start line as the role reads them: of a
// response its version and status, of a request the whole line. When too little
// is there to say, more is true.
func Begins(role Role, b []byte) (yes, more bool) {
	if role == ClientRole {
		const like = "HTTP/1.x ddd"
		for i := 0; i < min(len(b), len(like)); i++ {
			switch c := like[i]; {
			case c == 'x' || c == 'd':
				if !digit(b[i]) {
					return false, false
				}
			case b[i] != c:
				return false, false
			}
		}
		if len(b) <= len(like) {
			return false, true
		}
		c := b[len(like)]
		return c == ' ' || c == '\r' || c == '\n', false
	}
	line, _, whole := bytes.Cut(b[:min(len(b), 8<<10)], []byte("\n"))
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if len(method) > maxMethod || len(method) > 0 && !httpfield.ValidName(string(method)) {
		return false, false
	}
	if !whole {
		return false, len(b) < 8<<10
	}
	i := bytes.LastIndex(rest, []byte(" HTTP/1."))
	if !ok || len(method) == 0 || i < 1 || bytes.IndexByte(rest[:i], ' ') >= 0 {
		return false, false
	}
	v := bytes.TrimRight(rest[i+8:], "\r")
	return len(v) == 1 && digit(v[0]), false
}

// Torn tells whether b, which goes no further, shows a request line far enough to
// know its method and its target: behind the target a version begins.
func Torn(b []byte) bool {
	if yes, _ := Begins(ServerRole, b); yes {
		return true
	}
	if bytes.IndexByte(b, '\n') >= 0 || len(b) > 8<<10 {
		return false
	}
	method, rest, ok := strings.Cut(string(b), " ")
	target, version, ok2 := strings.Cut(rest, " ")
	return ok && ok2 && len(method) <= maxMethod && httpfield.ValidName(method) && target != "" && version != "" && strings.HasPrefix("HTTP/1.", version[:min(len(version), 7)])
}

// Glimpse reads what it can of a head that breaks the rules, or of which only
// the beginning is there: an observer shows it all the same. How the body is
// framed is not told, for nobody can know.
func Glimpse(role Role, b []byte) *Head {
	h := &Head{ContentLength: -1, KeepAlive: true, Minor: 1}
	start, _, _ := bytes.Cut(b, []byte("\n"))
	line := strings.TrimRight(string(start), "\r")
	if role == ClientRole {
		v, rest, _ := strings.Cut(line, " ")
		if v == "HTTP/1.0" {
			h.Minor = 0
		}
		if len(rest) >= 3 && strings.HasPrefix(v, "HTTP/") && digit(rest[0]) && digit(rest[1]) && digit(rest[2]) && (len(rest) == 3 || rest[3] == ' ') {
			h.Status = int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')
			h.Reason = strings.TrimPrefix(rest[3:], " ")
		}
	} else {
		method, rest, _ := strings.Cut(line, " ")
		if httpfield.ValidName(method) && len(method) <= maxMethod {
			h.Method, h.Target = method, rest
			if i := strings.LastIndexByte(rest, ' '); i >= 0 && (strings.HasPrefix(rest[i+1:], "HTTP/") || strings.HasPrefix("HTTP/", rest[i+1:])) {
				h.Target = rest[:i]
				if rest[i+1:] == "HTTP/1.0" {
					h.Minor = 0
				}
			} else if strings.HasPrefix(rest, "HTTP/") {
				h.Target = ""
			}
		}
	}
	for _, l := range FieldLines(b) {
		name, value, ok := strings.Cut(string(b[l.Offset:l.Offset+l.Length]), ":")
		if name = trimOWS(name); ok && httpfield.ValidName(name) && len(h.Fields) < 256 {
			h.Fields = append(h.Fields, httpfield.Field{Name: name, Value: strings.TrimSpace(value)})
		}
	}
	return h
}
