package zone

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"peel/dns"
)

// Limits of what a zone file may make of itself.
const (
	maxDepth     = 16      // files that include each other
	maxEntry     = 1 << 20 // octets of one record in text, all lines together
	maxGenerated = 1 << 20 // records of all $GENERATE lines
	maxErrors    = 20      // errors told before the rest is left unread
)

// FileError is something wrong in a zone file.
type FileError struct {
	File         string
	Line, Column int // from 1
	Err          error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}
func (e *FileError) Unwrap() error { return e.Err }

// ReadOptions say how to read a zone file.
type ReadOptions struct {
	// Origin completes names until $ORIGIN says otherwise.
	Origin dns.Name
	// Open opens the file of an $INCLUDE; nil forbids it.
	Open func(name string) (io.ReadCloser, error)
	// TTL is for records that have none, in seconds; without it such a record
	// is an error. Files of trust anchors often leave it out.
	TTL uint32
	// Records bounds how many records there may be; 0 means 50 million.
	Records int
}

// Read reads a zone file in the syntax of RFC 1035 §5 with $TTL (RFC 2308),
// $INCLUDE, BIND's $GENERATE and TTLs like 1h30m. It goes on behind an error
// and returns what it could read with all errors, at most twenty, joined: each
// is a *FileError.
func Read(r io.Reader, file string, o ReadOptions) ([]dns.Resource, error) {
	if o.Records == 0 {
		o.Records = 50_000_000
	}
	f := &fileReader{o: o}
	f.read(r, file, o.Origin, 0)
	return f.records, errors.Join(f.errors...)
}

type fileReader struct {
	o         ReadOptions
	records   []dns.Resource
	errors    []error
	generated int
	stopped   bool

	// The state that goes from record to record, and into included files.
	owner    dns.Name
	hasOwner bool
	ttl      uint32 // of $TTL, or else of the last record
	hasTTL   bool
	dollar   bool // ttl is from $TTL
	class    dns.Class
}

func (f *fileReader) fail(file string, line, column int, format string, args ...any) {
	f.errors = append(f.errors, &FileError{file, line, column, fmt.Errorf(format, args...)})
	if len(f.errors) == maxErrors {
		f.errors = append(f.errors, errors.New("more errors are not told"))
		f.stopped = true
	}
}

// word is a token and where it stood.
type word struct {
	dns.Token
	line, column int
}

func (f *fileReader) read(r io.Reader, file string, origin dns.Name, depth int) {
	l := &lexer{r: bufio.NewReaderSize(r, 64<<10), line: 1}
	if f.class == 0 {
		f.class = dns.ClassIN
	}
	for !f.stopped {
		blank, words, err := l.entry()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return
			}
			f.fail(file, l.badLine, l.badColumn, "%w", err)
			if l.broken {
				return
			}
			continue
		}
		if len(words) == 0 {
			continue
		}
		if first := words[0]; !blank && !first.Quoted && strings.HasPrefix(first.Text, "$") {
			origin = f.directive(file, origin, words, depth)
			continue
		}
		f.record(file, origin, blank, words)
	}
}

func (f *fileReader) directive(file string, origin dns.Name, words []word, depth int) dns.Name {
	at := words[0]
	fail := func(w word, format string, args ...any) { f.fail(file, w.line, w.column, format, args...) }
	need := func(least, most int, what string) bool {
		if n := len(words) - 1; n < least || n > most {
			fail(at, "%s takes %s", strings.ToUpper(at.Text), what)
			return false
		}
		return true
	}
	switch strings.ToUpper(at.Text) {
	case "$ORIGIN":
		if !need(1, 1, "a name") {
			return origin
		}
		n, err := dns.ParseNameIn(words[1].Text, origin)
		if err != nil {
			fail(words[1], "%s", trim(err))
			return origin
		}
		return n
	case "$TTL":
		if !need(1, 1, "a time") {
			return origin
		}
		v, err := dns.ParseTTL(words[1].Text)
		if err != nil {
			fail(words[1], "%w", err)
			return origin
		}
		f.ttl, f.hasTTL, f.dollar = v, true, true
	case "$INCLUDE":
		if need(1, 2, "a file and perhaps an origin") {
			f.include(file, origin, words, depth)
		}
	case "$GENERATE":
		if need(4, 1<<10, "a range, an owner, a type and data") {
			f.generate(file, origin, words)
		}
	default:
		fail(at, "%.40q is not a directive; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE", at.Text)
	}
	return origin
}

func trim(err error) string { return strings.TrimPrefix(err.Error(), "dns: ") }

// include reads a file in place of the line: its origin and owner do not
// reach back (RFC 1035 §5.1).
func (f *fileReader) include(file string, origin dns.Name, words []word, depth int) {
	w := words[1]
	switch {
	case f.o.Open == nil:
		f.fail(file, w.line, w.column, "$INCLUDE is not allowed here")
		return
	case depth+1 >= maxDepth:
		f.fail(file, w.line, w.column, "files include each other more than %d deep", maxDepth)
		return
	}
	if len(words) == 3 {
		n, err := dns.ParseNameIn(words[2].Text, origin)
		if err != nil {
			f.fail(file, words[2].line, words[2].column, "%s", trim(err))
			return
		}
		origin = n
	}
	r, err := f.o.Open(w.Text)
	if err != nil {
		f.fail(file, w.line, w.column, "%w", err)
		return
	}
	defer r.Close()
	owner, has := f.owner, f.hasOwner
	f.read(r, w.Text, origin, depth+1)
	f.owner, f.hasOwner = owner, has
}

// record reads [owner] [ttl] [class] type data, the TTL and class in either
// order.
func (f *fileReader) record(file string, origin dns.Name, blank bool, words []word) {
	fail := func(w word, format string, args ...any) { f.fail(file, w.line, w.column, format, args...) }
	first := words[0]
	if !blank {
		n, err := dns.ParseNameIn(first.Text, origin)
		if err != nil || first.Quoted {
			f.hasOwner = false
			if err == nil {
				err = fmt.Errorf("an owner name is not written between quotation marks")
			}
			fail(first, "%s", trim(err))
			return
		}
		f.owner, f.hasOwner = n, true
		words = words[1:]
	} else if !f.hasOwner {
		fail(first, "a record without an owner name, and none before it has one")
		return
	}
	rr := dns.Resource{Name: f.owner, Class: f.class}
	hasTTL, hasClass := false, false
	for len(words) > 0 && !words[0].Quoted {
		w := words[0].Text
		if c, ok := dns.ParseClass(w); ok && !hasClass && c != dns.ClassANY && c != dns.ClassNONE {
			rr.Class, hasClass = c, true
		} else if v, err := dns.ParseTTL(w); err == nil && !hasTTL {
			rr.TTL, hasTTL = v, true
		} else {
			break
		}
		words = words[1:]
	}
	if len(words) == 0 {
		fail(first, "the record has no type")
		return
	}
	t, ok := dns.ParseType(words[0].Text)
	switch {
	case !ok || words[0].Quoted:
		fail(words[0], "%.40q is no record type", words[0].Text)
		return
	case t == dns.TypeOPT || t >= dns.TypeTKEY && t <= dns.TypeANY:
		fail(words[0], "type %s does not stand in zones", t)
		return
	}
	rr.Type = t
	tokens := make([]dns.Token, 0, 8)
	for _, w := range words[1:] {
		tokens = append(tokens, w.Token)
	}
	var err error
	if rr.Data, err = dns.ParseData(t, rr.Class, tokens, origin); err != nil {
		at := words[0]
		var bad *dns.TokenError
		if errors.As(err, &bad) && bad.Token < len(words)-1 {
			at = words[1+bad.Token]
		}
		fail(at, "%s: %w", t, err)
		return
	}
	f.class = rr.Class
	if !f.giveTTL(&rr, hasTTL) {
		fail(first, "the record has no TTL, and there is no $TTL before it")
		return
	}
	f.keep(file, first, rr)
}

// giveTTL chooses the TTL of a record that may not say one: $TTL (RFC 2308
// §4), else that of the record before (RFC 1035 §5.1), else an SOA record's
// own minimum.
func (f *fileReader) giveTTL(rr *dns.Resource, has bool) bool {
	switch {
	case has:
	case f.hasTTL:
		rr.TTL = f.ttl
	case rr.Type == dns.TypeSOA:
		rr.TTL = rr.Value().(dns.SOA).Minimum
	case f.o.TTL > 0:
		rr.TTL = f.o.TTL
		return true
	default:
		return false
	}
	if rr.TTL > 1<<31-1 {
		rr.TTL = 0 // RFC 2181 §8
	}
	if !f.dollar {
		f.ttl, f.hasTTL = rr.TTL, true
	}
	return true
}

func (f *fileReader) keep(file string, at word, rr dns.Resource) {
	if len(f.records) >= f.o.Records {
		f.fail(file, at.line, at.column, "more than %d records", f.o.Records)
		f.stopped = true
		return
	}
	f.records = append(f.records, rr)
}

// generate makes records from $GENERATE range owner [ttl] [class] type data:
// "$" stands for the number, "${offset,width,base}" for a form of it.
func (f *fileReader) generate(file string, origin dns.Name, words []word) {
	fail := func(w word, format string, args ...any) { f.fail(file, w.line, w.column, format, args...) }
	span, step, _ := strings.Cut(words[1].Text, "/")
	from, to, ok := strings.Cut(span, "-")
	start, err1 := strconv.ParseUint(from, 10, 31)
	stop, err2 := strconv.ParseUint(to, 10, 31)
	by, err3 := uint64(1), error(nil)
	if step != "" {
		by, err3 = strconv.ParseUint(step, 10, 31)
	}
	if !ok || err1 != nil || err2 != nil || err3 != nil || by == 0 || stop < start {
		fail(words[1], "%.40q is not a range like 1-100 or 0-30/2", words[1].Text)
		return
	}
	for n := start; n <= stop && !f.stopped; n += by {
		if f.generated++; f.generated > maxGenerated {
			fail(words[1], "$GENERATE makes more than %d records", maxGenerated)
			f.stopped = true
			return
		}
		line := make([]word, 0, len(words)-2)
		for _, w := range words[2:] {
			text, err := substitute(w.Text, int64(n))
			if err != nil {
				fail(w, "%w", err)
				return
			}
			w.Text = text
			line = append(line, w)
		}
		before := len(f.errors)
		if f.record(file, origin, false, line); len(f.errors) > before {
			return // one error is enough for the line
		}
	}
}

func substitute(s string, n int64) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			if s[i+1] != '$' {
				out.WriteByte('\\')
			}
			i++
			out.WriteByte(s[i])
		case s[i] != '$':
			out.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '$':
			i++
			out.WriteByte('$')
		case i+1 < len(s) && s[i+1] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("%.40q: a brace is not closed", s)
			}
			parts := strings.Split(s[i+2:i+end], ",")
			i += end
			offset, err := strconv.ParseInt(parts[0], 10, 32)
			width, base := int64(0), "d"
			if len(parts) > 1 && err == nil {
				width, err = strconv.ParseInt(parts[1], 10, 9)
			}
			if len(parts) > 2 {
				base = parts[2]
			}
			if err != nil || len(parts) > 3 || width < 0 || n+offset < 0 {
				return "", fmt.Errorf("%.40q: braces hold an offset, a width and a base", s)
			}
			text, err := numeral(n+offset, int(width), base)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
		default:
			out.WriteString(strconv.FormatInt(n, 10))
		}
	}
	return out.String(), nil
}

// numeral prints a number: decimal, octal, hexadecimal, or in nibbles from
// the least, parted by dots, as reverse names have them.
func numeral(n int64, width int, base string) (string, error) {
	switch base {
	case "d":
		return fmt.Sprintf("%0*d", width, n), nil
	case "o":
		return fmt.Sprintf("%0*o", width, n), nil
	case "x":
		return fmt.Sprintf("%0*x", width, n), nil
	case "X":
		return fmt.Sprintf("%0*X", width, n), nil
	case "n", "N":
		var out []byte
		for first := true; first || n > 0 || len(out) < width; first = false {
			if !first {
				if out = append(out, '.'); len(out) >= width && n == 0 {
					break
				}
			}
			digit := fmt.Sprintf("%x", n&15)
			if base == "N" {
				digit = strings.ToUpper(digit)
			}
			out = append(out, digit...)
			n >>= 4
		}
		return string(out), nil
	}
	return "", fmt.Errorf("base %.10q is none of d, o, x, X, n and N", base)
}
