// Package httpfield holds what the versions of HTTP share: an ordered list of
// fields, kept in the order and case in which they stand on the wire, and the
// rules of RFC 9110 §5 for names and values.
package httpfield

import "strings"

// Field is one header or trailer field, or an HTTP/2 pseudo-header (its name
// then begins with a colon).
type Field struct {
	Name  string
	Value string
	// Sensitive fields are never put into a compression table
	// (RFC 7541 §7.1.3).
	Sensitive bool
}

// List is a sequence of fields in wire order. Names keep their case.
type List []Field

// Get returns the value of the first field with that name, compared without
// regard to case.
func (l List) Get(name string) (value string, ok bool) {
	for i := range l {
		if EqualName(l[i].Name, name) {
			return l[i].Value, true
		}
	}
	return "", false
}

// Value returns the value of the first field with that name, or "".
func (l List) Value(name string) string {
	v, _ := l.Get(name)
	return v
}

// Values returns the values of all fields with that name, in order.
func (l List) Values(name string) []string {
	var out []string
	for i := range l {
		if EqualName(l[i].Name, name) {
			out = append(out, l[i].Value)
		}
	}
	return out
}

// Has tells whether a field with that name is there.
func (l List) Has(name string) bool {
	_, ok := l.Get(name)
	return ok
}

// Add appends a field.
func (l *List) Add(name, value string) { *l = append(*l, Field{Name: name, Value: value}) }

// Set replaces the first field with that name in place, removes the others,
// and appends when there was none.
func (l *List) Set(name, value string) {
	out := (*l)[:0]
	done := false
	for _, f := range *l {
		if !EqualName(f.Name, name) {
			out = append(out, f)
			continue
		}
		if !done {
			f.Value = value
			out = append(out, f)
			done = true
		}
	}
	*l = out
	if !done {
		l.Add(name, value)
	}
}

// Del removes every field with that name.
func (l *List) Del(name string) {
	out := (*l)[:0]
	for _, f := range *l {
		if !EqualName(f.Name, name) {
			out = append(out, f)
		}
	}
	*l = out
}

// Clone returns a copy that shares no backing array with l.
func (l List) Clone() List { return append(List(nil), l...) }

// Size is that of the fields in bytes as RFC 9113 §6.5.2 counts them: name,
// value and 32 for each.
func (l List) Size() int64 {
	n := int64(0)
	for i := range l {
		n += int64(len(l[i].Name)+len(l[i].Value)) + 32
	}
	return n
}

// HasToken tells whether a comma-separated list in any field of that name
// holds token (RFC 9110 §5.6.1), compared without regard to case.
func (l List) HasToken(name, token string) bool {
	for i := range l {
		if !EqualName(l[i].Name, name) {
			continue
		}
		rest := l[i].Value
		for rest != "" {
			var part string
			part, rest, _ = strings.Cut(rest, ",")
			if EqualName(strings.Trim(part, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// EqualName compares two names or tokens without regard to ASCII case.
func EqualName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z' {
			return false
		}
	}
	return true
}

// token marks the bytes of RFC 9110 §5.6.2 tchar.
var token = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-0x20] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// IsTokenByte tells whether c may stand in a token (RFC 9110 §5.6.2).
func IsTokenByte(c byte) bool { return token[c] }

// ValidName tells whether s is a field name: a token (RFC 9110 §5.1).
func ValidName[T ~string | ~[]byte](s T) bool {
	if len(s) == 0 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !token[s[i]] {
			return false
		}
	}
	return true
}

// ValidValue tells whether s may be a field value (RFC 9110 §5.5): no CR, LF,
// NUL or other control but tab, and no white space at either end. Bytes of
// 0x80 and above (obs-text) are allowed, as deployed peers send them.
func ValidValue[T ~string | ~[]byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	if n := len(s); n > 0 && (s[0] == ' ' || s[0] == '\t' || s[n-1] == ' ' || s[n-1] == '\t') {
		return false
	}
	return true
}
