package dns

import (
	"fmt"
	"iter"
	"strings"
)

// Limits of RFC 1035 §2.3.4.
const (
	maxName  = 255 // octets on the wire, with the root's zero octet
	maxLabel = 63
)

// Name is an absolute domain name. It is valid by construction: labels of 1
// to 63 octets, at most 255 octets on the wire. It keeps the case it was
// given. The zero Name is the root.
//
// Names compare with == octet by octet; EqualFold is the comparison that DNS
// means, and Fold gives a map key for it.
type Name struct {
	// wire is the uncompressed wire form without the final zero octet.
	wire string
}

// ParseName reads the presentation form of RFC 1035 §5.1: labels parted by
// dots, \X for a literal X and \DDD for the octet with that decimal value.
// The name is absolute whether or not it ends in a dot.
func ParseName(s string) (Name, error) {
	if s == "." {
		return Name{}, nil
	}
	if s == "" {
		return Name{}, fmt.Errorf("dns: name is empty")
	}
	var buf [maxName]byte
	wire := append(buf[:0], 0) // the first label's length, filled in at its end
	start := 0
	endLabel := func() error {
		n := len(wire) - start - 1
		switch {
		case n == 0:
			return fmt.Errorf("dns: name %.80q: empty label", s)
		case n > maxLabel:
			return fmt.Errorf("dns: name %.80q: label of %d octets, at most 63 are allowed", s, n)
		}
		wire[start] = byte(n)
		start = len(wire)
		return nil
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '.':
			if err := endLabel(); err != nil {
				return Name{}, err
			}
			if i == len(s)-1 {
				return Name{string(wire)}, nil
			}
			c = 0 // room for the next label's length
		case '\\':
			var n int
			c, n = unescape(s[i+1:])
			if n == 0 {
				return Name{}, fmt.Errorf("dns: name %.80q: broken escape at octet %d", s, i)
			}
			i += n
		}
		if len(wire) == maxName-1 {
			return Name{}, fmt.Errorf("dns: name %.80q…: longer than 255 octets", s)
		}
		wire = append(wire, c)
	}
	if err := endLabel(); err != nil {
		return Name{}, err
	}
	return Name{string(wire)}, nil
}

// unescape reads what follows a backslash and returns the octet it stands
// for and how many were read: 0 if it is broken.
func unescape(s string) (c byte, n int) {
	if s == "" {
		return 0, 0
	}
	if s[0] < '0' || s[0] > '9' {
		return s[0], 1
	}
	if len(s) < 3 {
		return 0, 0
	}
	v := 0
	for _, d := range []byte(s[:3]) {
		if d < '0' || d > '9' {
			return 0, 0
		}
		v = v*10 + int(d-'0')
	}
	if v > 255 {
		return 0, 0
	}
	return byte(v), 3
}

// MustName is ParseName for names written in a program. It panics on a bad one.
func MustName(s string) Name {
	n, err := ParseName(s)
	if err != nil {
		panic(err)
	}
	return n
}

// String returns the presentation form with its final dot, escaped as the
// reference tools do it: octets that mean something in a zone file take a
// backslash, those that do not print become \DDD.
func (n Name) String() string {
	if n.wire == "" {
		return "."
	}
	out := make([]byte, 0, len(n.wire)+1)
	for label := range n.Labels() {
		for i := 0; i < len(label); i++ {
			out = appendEscaped(out, label[i], nameSpecial)
		}
		out = append(out, '.')
	}
	return string(out)
}

// Host returns the presentation form without the final dot, as people write
// host names. The root stays ".".
func (n Name) Host() string {
	if n.wire == "" {
		return "."
	}
	return strings.TrimSuffix(n.String(), ".")
}

// appendEscaped appends c to a name's or character-string's presentation
// form. Space prints inside quotes but not in a name.
func appendEscaped(out []byte, c byte, special string) []byte {
	switch {
	case strings.IndexByte(special, c) >= 0:
		return append(out, '\\', c)
	case c > ' ' && c < 0x7f, c == ' ' && special == quoted:
		return append(out, c)
	}
	return append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
}

// quoted holds the octets to escape between quotation marks.
const quoted = `"\`

// IsRoot tells whether n is the root.
func (n Name) IsRoot() bool { return n.wire == "" }

// Size returns the octets that n takes on the wire uncompressed, 1 to 255.
func (n Name) Size() int { return len(n.wire) + 1 }

// Labels returns the labels from left to right, unescaped, without the root.
func (n Name) Labels() iter.Seq[string] {
	return func(yield func(string) bool) {
		for w := n.wire; w != ""; w = w[1+w[0]:] {
			if !yield(w[1 : 1+w[0]]) {
				return
			}
		}
	}
}

// NumLabels counts the labels; the root has none.
func (n Name) NumLabels() int {
	count := 0
	for range n.Labels() {
		count++
	}
	return count
}

// Parent returns n without its first label. The root is its own parent.
func (n Name) Parent() Name {
	if n.wire == "" {
		return n
	}
	return Name{n.wire[1+n.wire[0]:]}
}

// Join returns n followed by suffix: "www".Join("example.com") is
// www.example.com. It fails when the result is longer than 255 octets.
func (n Name) Join(suffix Name) (Name, error) {
	if len(n.wire)+suffix.Size() > maxName {
		return Name{}, fmt.Errorf("dns: name %.80s with suffix %.80s: longer than 255 octets", n.Host(), suffix.Host())
	}
	return Name{n.wire + suffix.wire}, nil
}

// EqualFold compares two names as DNS does: ASCII letters without regard to
// case, all other octets as they are (RFC 4343 §3).
func (n Name) EqualFold(m Name) bool {
	if len(n.wire) != len(m.wire) {
		return false
	}
	// A length octet is at most 63 and therefore never a letter, so the
	// whole wire form can be compared at once.
	for i := 0; i < len(n.wire); i++ {
		if lower(n.wire[i]) != lower(m.wire[i]) {
			return false
		}
	}
	return true
}

// Fold returns n with ASCII letters in lower case: equal for names that are
// EqualFold.
func (n Name) Fold() Name {
	for i := 0; i < len(n.wire); i++ {
		if lower(n.wire[i]) != n.wire[i] {
			b := []byte(n.wire)
			for j := range b {
				b[j] = lower(b[j])
			}
			return Name{string(b)}
		}
	}
	return n
}

// IsSubdomainOf tells whether n is parent or stands below it.
func (n Name) IsSubdomainOf(parent Name) bool {
	for len(n.wire) > len(parent.wire) {
		n = n.Parent()
	}
	return n.EqualFold(parent)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// nameSpecial holds the octets that mean something in a zone file.
const nameSpecial = `.\"();@$`

// Wire returns the uncompressed wire form without the root's zero octet.
func (n Name) Wire() string { return n.wire }

// Compare orders names as RFC 4034 §6.1 does: by their labels from the right,
// without regard to case. It returns -1, 0 or 1.
func (n Name) Compare(m Name) int {
	var a, b [128]uint8
	i, j := n.starts(&a), m.starts(&b)
	for i > 0 && j > 0 {
		i, j = i-1, j-1
		x, y := n.wire[a[i]:], m.wire[b[j]:]
		lx, ly := int(x[0]), int(y[0])
		for k := 1; k <= lx && k <= ly; k++ {
			if p, q := lower(x[k]), lower(y[k]); p != q {
				if p < q {
					return -1
				}
				return 1
			}
		}
		if lx != ly {
			if lx < ly {
				return -1
			}
			return 1
		}
	}
	switch {
	case i > 0:
		return 1
	case j > 0:
		return -1
	}
	return 0
}

// starts fills to with where the labels begin and returns how many there are.
func (n Name) starts(to *[128]uint8) int {
	count := 0
	for at := 0; at < len(n.wire); at += 1 + int(n.wire[at]) {
		to[count] = uint8(at)
		count++
	}
	return count
}

// Child returns n with one more label in front: the octets of label, not its
// presentation form.
func (n Name) Child(label string) (Name, error) {
	switch {
	case label == "" || len(label) > maxLabel:
		return Name{}, fmt.Errorf("dns: label of %d octets, 1 to 63 are possible", len(label))
	case len(label)+1+n.Size() > maxName:
		return Name{}, fmt.Errorf("dns: name %.80s with a label of %d octets more: longer than 255 octets", n.Host(), len(label))
	}
	return Name{string(rune(len(label))) + label + n.wire}, nil
}

// Suffix returns the last labels of n; all of n when it has no more.
func (n Name) Suffix(labels int) Name {
	for have := n.NumLabels(); have > labels; have-- {
		n = n.Parent()
	}
	return n
}

// NameFromWire reads an uncompressed name at the beginning of b and returns
// what follows it.
func NameFromWire(b []byte) (n Name, rest []byte, ok bool) {
	size := nameLength(string(b[:min(len(b), maxName)]))
	if size == 0 {
		return Name{}, b, false
	}
	return Name{string(b[:size-1])}, b[size:], true
}

// NameFromString is NameFromWire for octets in a string, which the name
// shares.
func NameFromString(s string) (n Name, rest string, ok bool) {
	size := nameLength(s)
	if size == 0 {
		return Name{}, s, false
	}
	return Name{s[:size-1]}, s[size:], true
}

// Rebase returns n with the suffix from, at or below which it stands, replaced
// by to: what a DNAME record does (RFC 6672 §2.2). It fails when the result is
// longer than 255 octets.
func (n Name) Rebase(from, to Name) (Name, error) {
	return Name{n.wire[:len(n.wire)-len(from.wire)]}.Join(to)
}

// EqualFold compares ASCII letters without regard to case and nothing else:
// strings.EqualFold would also equate letters of other scripts.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
