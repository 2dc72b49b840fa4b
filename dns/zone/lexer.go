package zone

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"peel/dns"
)

// lexer parts a zone file into entries: the words of one record or directive,
// over several lines where parentheses join them.
type lexer struct {
	r            *bufio.Reader
	line, column int
	// broken tells that nothing more can be read; badLine and badColumn say
	// where the last error is.
	broken             bool
	badLine, badColumn int
	err                error
}

func (l *lexer) get() (byte, bool) {
	c, err := l.r.ReadByte()
	if err != nil {
		l.err = err
		return 0, false
	}
	l.column++
	if c == '\n' {
		l.line++
		l.column = 0
	}
	return c, true
}

func (l *lexer) unget() { // never a newline
	_ = l.r.UnreadByte()
	l.column--
}

func (l *lexer) bad(line, column int, format string, args ...any) error {
	l.badLine, l.badColumn = line, column
	return fmt.Errorf(format, args...)
}

// entry returns the words of the next entry, and whether it began with white
// space. At the end of the file the error is io.EOF.
func (l *lexer) entry() (blank bool, words []word, err error) {
	depth, open := 0, word{}
	size := 0
	first := true
	for {
		c, ok := l.get()
		if !ok {
			l.broken = true
			switch {
			case !errors.Is(l.err, io.EOF):
				return blank, nil, l.bad(l.line, l.column+1, "%w", l.err)
			case depth > 0:
				return blank, nil, l.bad(open.line, open.column, "a parenthesis is not closed")
			case len(words) > 0:
				l.broken = false // the last line ended without a newline
				return blank, words, nil
			}
			return blank, nil, io.EOF
		}
		if size++; size > maxEntry {
			l.broken = true
			return blank, nil, l.bad(l.line, l.column, "a record longer than %d octets", maxEntry)
		}
		switch c {
		case '\n':
			if depth == 0 {
				if len(words) > 0 {
					return blank, words, nil
				}
				blank, first = false, true
				continue
			}
		case ' ', '\t', '\r':
			if first {
				blank = true
			}
		case ';':
			for c != '\n' {
				if c, ok = l.get(); !ok {
					break
				}
			}
			if ok && depth == 0 {
				if len(words) > 0 {
					return blank, words, nil
				}
				blank, first = false, true
				continue
			}
		case '(':
			if depth == 0 {
				open = word{line: l.line, column: l.column}
			}
			depth++
			if first {
				blank = false
			}
		case ')':
			if depth--; depth < 0 {
				err := l.bad(l.line, l.column, "a parenthesis is closed that was not opened")
				l.skip()
				return blank, nil, err
			}
		default:
			w, err := l.word(c, &size)
			if err != nil {
				return blank, nil, err
			}
			words = append(words, w)
		}
		first = false
	}
}

// word reads a word that begins with c.
func (l *lexer) word(c byte, size *int) (word, error) {
	w := word{line: l.line, column: l.column}
	var text []byte
	if c == '"' {
		w.Quoted = true
		text, err := l.quoted(nil, size, w)
		w.Text = string(text)
		return w, err
	}
	for {
		switch c {
		case '"': // key="value"
			inner, err := l.quoted(append(text, '"'), size, w)
			if err != nil {
				return w, err
			}
			text = append(inner, '"')
		case '\\':
			text = append(text, c)
			next, ok := l.get()
			if !ok || next == '\n' {
				return w, l.bad(w.line, w.column, "a backslash ends the line")
			}
			text = append(text, next)
		default:
			text = append(text, c)
		}
		var ok bool
		if c, ok = l.get(); !ok {
			break
		}
		if *size++; *size > maxEntry {
			l.broken = true
			return w, l.bad(w.line, w.column, "a record longer than %d octets", maxEntry)
		}
		switch c {
		case ' ', '\t', '\r', ';', '(', ')', '\n':
			if c == '\n' {
				l.line--
			}
			l.unget()
			w.Token = dns.Token{Text: string(text)}
			return w, nil
		}
	}
	w.Token = dns.Token{Text: string(text)}
	return w, nil
}

// quoted reads up to the closing quotation mark.
func (l *lexer) quoted(text []byte, size *int, at word) ([]byte, error) {
	for {
		c, ok := l.get()
		if !ok {
			l.broken = true
			return text, l.bad(at.line, at.column, "a quotation mark is not closed")
		}
		if *size++; *size > maxEntry {
			l.broken = true
			return text, l.bad(at.line, at.column, "a string longer than %d octets", maxEntry)
		}
		switch c {
		case '"':
			return text, nil
		case '\n':
			return text, l.bad(at.line, at.column, "a quotation mark is not closed on its line")
		case '\\':
			text = append(text, c)
			if c, ok = l.get(); !ok {
				l.broken = true
				return text, l.bad(at.line, at.column, "a quotation mark is not closed")
			}
		}
		text = append(text, c)
	}
}

// skip goes to the end of the line.
func (l *lexer) skip() {
	for {
		if c, ok := l.get(); !ok || c == '\n' {
			return
		}
	}
}
