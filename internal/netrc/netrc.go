// Package netrc reads a .netrc file: which login belongs to which machine.
package netrc

import (
	"fmt"
	"strings"
)

// Entry is one machine's credentials. Machine is empty for "default".
type Entry struct {
	Machine, Login, Password, Account string
	Line                              int
}

// File is a parsed .netrc file.
type File struct{ Entries []Entry }

// maxSize bounds a file in bytes.
const maxSize = 1 << 20

// Parse reads a file. Words are separated by white space; a word in double
// quotes may hold some, with backslash escapes; # begins a comment where a
// keyword may stand. Macros (macdef) are skipped.
func Parse(b []byte) (*File, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("netrc: larger than %d bytes", maxSize)
	}
	f := &File{}
	var cur *Entry
	lines := strings.Split(string(b), "\n")
	want := "" // the keyword whose value comes next
	for i := 0; i < len(lines); i++ {
		rest := lines[i]
		for {
			word, quoted, tail, err := next(rest)
			if err != nil {
				return nil, fmt.Errorf("netrc: line %d: %w", i+1, err)
			}
			if word == "" && !quoted {
				break
			}
			rest = tail
			if want != "" {
				if err := set(f, &cur, want, word, i+1); err != nil {
					return nil, err
				}
				want = ""
				continue
			}
			if strings.HasPrefix(word, "#") && !quoted {
				break
			}
			switch word {
			case "machine", "login", "password", "account":
				want = word
			case "default":
				f.Entries = append(f.Entries, Entry{Line: i + 1})
				cur = &f.Entries[len(f.Entries)-1]
			case "macdef":
				for i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != "" {
					i++
				}
				rest = ""
			default:
				return nil, fmt.Errorf("netrc: line %d: %q is not a keyword; expected machine, default, login, password, account or macdef", i+1, word)
			}
		}
	}
	if want != "" {
		return nil, fmt.Errorf("netrc: the file ends where the value of %s should stand", want)
	}
	return f, nil
}

func set(f *File, cur **Entry, keyword, value string, line int) error {
	if keyword == "machine" {
		f.Entries = append(f.Entries, Entry{Machine: strings.ToLower(value), Line: line})
		*cur = &f.Entries[len(f.Entries)-1]
		return nil
	}
	if *cur == nil {
		return fmt.Errorf("netrc: line %d: %s stands before any machine", line, keyword)
	}
	switch keyword {
	case "login":
		(*cur).Login = value
	case "password":
		(*cur).Password = value
	case "account":
		(*cur).Account = value
	}
	return nil
}

// next cuts the first word off a line.
func next(s string) (word string, quoted bool, rest string, err error) {
	s = strings.TrimLeft(s, " \t\r")
	if s == "" || s[0] != '"' {
		i := strings.IndexAny(s, " \t\r")
		if i < 0 {
			return s, false, "", nil
		}
		return s[:i], false, s[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), true, s[i+1:], nil
		case c == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			default:
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false, "", fmt.Errorf("a quoted word does not end")
}

// Lookup returns the first entry for a host, or the default entry. With a
// login, only an entry of that login counts.
func (f *File) Lookup(host, login string) (Entry, bool) {
	host = strings.ToLower(host)
	for _, e := range f.Entries {
		if (e.Machine == host || e.Machine == "") && (login == "" || e.Login == login) {
			return e, true
		}
	}
	return Entry{}, false
}
