package http1

import (
	"strings"

	"peel/wire/httpfield"
)

// parse reads a whole head. All strings of it share one copy of the bytes.
func (r *Reader) parse(b []byte) error {
	s := string(b)
	r.folds = 0
	h := &r.head
	*h = Head{Fields: h.Fields[:0], ContentLength: -1, Deviations: nil}
	pos, err := r.startLine(s)
	if err != nil {
		return err
	}
	for {
		line, next, err := r.line(s, pos)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		if err := r.field(line, pos, &h.Fields, r.lim.Fields); err != nil {
			return err
		}
		pos = next
	}
	return r.framing()
}

// line returns the line at pos without its end. A bare LF ends a line in
// responses only (RFC 9112 §2.2 allows it; in requests it helps smugglers).
func (r *Reader) line(s string, pos int) (line string, next int, err error) {
	i := strings.IndexByte(s[pos:], '\n')
	if i < 0 {
		return "", len(s), nil
	}
	next = pos + i + 1
	line = s[pos : pos+i]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	} else if err := r.deviate(pos+i, "a line ends with LF alone, without CR"); err != nil {
		return "", 0, err
	}
	return line, next, nil
}

// deviate tolerates an oddity in a response and notes it; a request is held
// to the rules.
func (r *Reader) deviate(at int, what string) error {
	if r.role == ServerRole && !r.lim.Observe {
		return r.bad(at, "%s", what)
	}
	r.note(what)
	return nil
}

// note reports an oddity without asking whether to tolerate it.
func (r *Reader) note(what string) {
	for _, d := range r.head.Deviations {
		if d == what {
			return
		}
	}
	if len(r.head.Deviations) < 16 {
		r.head.Deviations = append(r.head.Deviations, what)
	}
}

func (r *Reader) startLine(s string) (next int, err error) {
	line, next, err := r.line(s, 0)
	if err != nil {
		return 0, err
	}
	if len(line) > r.lim.StartLine {
		return 0, r.fail(414, r.lim.StartLine, "the start line is longer than %d bytes", r.lim.StartLine)
	}
	if r.role == ClientRole {
		return next, r.statusLine(line)
	}
	return next, r.requestLine(line)
}

// requestLine reads method SP request-target SP HTTP-version (RFC 9112 §3).
func (r *Reader) requestLine(line string) error {
	h := &r.head
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return r.bad(0, "%s is not a request line: method, target and version", quoted(line))
	}
	if !httpfield.ValidName(method) {
		return r.bad(0, "%s is not a method", quoted(method))
	}
	h.Method, h.Target = method, target
	if err := r.version(version, len(method)+len(target)+2); err != nil {
		return err
	}
	var odd notes
	form, authority, detail, i := checkTarget(method, target, &odd)
	if detail != "" {
		return r.targetFault(len(method)+1+i, detail)
	}
	h.Form, h.Authority = form, authority
	for _, what := range odd {
		r.note(what)
	}
	return nil
}

// targetFault refuses a request target, or notes what is wrong with it for an
// observer, who must show it all the same.
func (r *Reader) targetFault(at int, detail string) error {
	if r.lim.Observe && r.head.Target != "" {
		r.note("request target " + detail)
		return nil
	}
	return r.bad(at, "request target %s", detail)
}

func (r *Reader) version(v string, at int) error {
	switch v {
	case "HTTP/1.1":
		r.head.Minor = 1
	case "HTTP/1.0":
		r.head.Minor = 0
	default:
		if len(v) == 8 && strings.HasPrefix(v, "HTTP/") && digit(v[5]) && v[6] == '.' && digit(v[7]) {
			if v[5] == '1' {
				r.head.Minor = 1
				r.note("version " + v + " is taken as HTTP/1.1")
				return nil
			}
			return r.fail(505, at, "version %s is not HTTP/1", v)
		}
		return r.bad(at, "%s is not an HTTP version", quoted(v))
	}
	return nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// statusLine reads HTTP-version SP status-code SP [reason] (RFC 9112 §4).
func (r *Reader) statusLine(line string) error {
	if len(line) < 12 || line[8] != ' ' {
		return r.bad(0, "%s is not a status line", quoted(line))
	}
	if err := r.version(line[:8], 0); err != nil {
		return err
	}
	code := line[9:12]
	if !digit(code[0]) || !digit(code[1]) || !digit(code[2]) || code[0] < '1' || len(line) > 12 && line[12] != ' ' {
		return r.bad(9, "%s is not a status code", quoted(line[9:]))
	}
	h := &r.head
	h.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if len(line) > 13 {
		h.Reason = line[13:]
		if !httpfield.ValidValue(strings.Trim(h.Reason, " \t")) {
			return r.bad(13, "control bytes in the reason phrase %s", quoted(h.Reason))
		}
	} else if len(line) == 12 {
		return r.deviate(12, "no space after the status code")
	}
	return nil
}

// field reads one field line (RFC 9112 §5).
func (r *Reader) field(line string, at int, list *httpfield.List, most int) error {
	if line[0] == ' ' || line[0] == '\t' {
		return r.folded(line, at, list)
	}
	if len(*list) >= most {
		return r.fail(431, at, "more than %d fields", most)
	}
	i := strings.IndexByte(line, ':')
	if i < 0 {
		return r.bad(at, "%s is not a field line: it has no colon", quoted(line))
	}
	name := line[:i]
	if !httpfield.ValidName(name) {
		if n := strings.TrimRight(name, " \t"); n != name && httpfield.ValidName(n) {
			// RFC 9112 §5.1: a server must reject it, a proxy remove it.
			if err := r.deviate(at+len(n), "white space between a field name and its colon"); err != nil {
				return err
			}
			name = n
		} else {
			return r.bad(at, "%s is not a field name", quoted(name))
		}
	}
	value := trimOWS(line[i+1:])
	if !validText(value) {
		return r.bad(at+i+1, "control bytes in the value of %s: %s", name, quoted(value))
	}
	*list = append(*list, httpfield.Field{Name: name, Value: value})
	return nil
}

// folded takes a continuation line (obs-fold, RFC 9112 §5.2): rejected in
// requests, joined with a space in responses.
func (r *Reader) folded(line string, at int, list *httpfield.List) error {
	if r.folds++; len(*list)+r.folds > r.lim.Fields {
		// Each line copies the value so far: few may, or the cost is quadratic.
		return r.fail(431, at, "more than %d field lines", r.lim.Fields)
	}
	if len(*list) == 0 {
		return r.bad(at, "white space before the first field")
	}
	if err := r.deviate(at, "a field value goes on in the next line (obs-fold)"); err != nil {
		return err
	}
	value := trimOWS(line)
	if !httpfield.ValidValue(value) {
		return r.bad(at, "control bytes in a field value")
	}
	last := &(*list)[len(*list)-1]
	last.Value = trimOWS(last.Value + " " + value)
	return nil
}

// validText tells whether s, which has no white space at its ends, may be a
// field value: httpfield.ValidValue, eight bytes at a time.
func validText(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := w ^ ones*0x7f
		// Any byte below 0x20 or equal to 0x7f; a tab is looked at again.
		if ((w-ones*0x20)&^w|(del-ones)&^del)&high != 0 && !onlyTabs(s[:8]) {
			return false
		}
	}
	return onlyTabs(s)
}

// onlyTabs tells that s has no control byte but tabs.
func onlyTabs(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
