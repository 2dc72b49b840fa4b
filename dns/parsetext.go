package dns

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Token is one word of a record in presentation form, escapes as they were
// written.
type Token struct {
	Text   string
	Quoted bool
}

// TokenError tells which token of record data was wrong. Token is the number
// of tokens when one was missing.
type TokenError struct {
	Token int
	Err   error
}

func (e *TokenError) Error() string { return e.Err.Error() }
func (e *TokenError) Unwrap() error { return e.Err }

// ParseData reads record data from its presentation form: that of its type,
// or the generic one of RFC 3597 §5. Names without a final dot are completed
// with origin. The error is a *TokenError.
func ParseData(t Type, c Class, tokens []Token, origin Name) (string, error) {
	p := &textParser{tokens: tokens, origin: origin}
	f := formOf(t, c)
	switch {
	case len(tokens) > 0 && tokens[0].Text == `\#` && !tokens[0].Quoted:
		p.at = 1
		p.generic()
		if p.err == nil && f != nil { // what is written so is held against the form all the same
			r := &reader{msg: p.out, end: len(p.out)}
			if r.data(t, c); r.err == nil && r.off != r.end {
				r.fail("%d octets too long", r.end-r.off)
			}
			if r.err != nil {
				p.fail("%w", r.err)
			}
		}
	case f == nil || t == TypeOPT:
		p.fail(`%s has no presentation form of its own: write \# and the octets (RFC 3597 §5)`, t)
	default:
		for i := range f.fields {
			p.field(f.fields[i].kind)
		}
		if p.err == nil && (t == TypeSVCB || t == TypeHTTPS) {
			if err := consistent(string(p.out)); err != nil {
				p.fail("%w", err)
			}
		}
	}
	if p.err == nil && p.at < len(tokens) {
		p.fail("%.40q follows the end of the %s data", tokens[p.at].Text, t)
	}
	if p.err == nil && len(p.out) > 0xffff {
		p.fail("%d octets of data, at most 65535 are possible", len(p.out))
	}
	if p.err != nil {
		return "", &TokenError{min(p.at, len(tokens)), p.err}
	}
	return string(p.out), nil
}

// textParser turns tokens into wire form.
type textParser struct {
	tokens []Token
	at     int
	origin Name
	out    []byte
	err    error
}

func (p *textParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// take gives the next token; at stays on it when use fails.
func (p *textParser) take(what string, use func(s string) error) {
	if p.err != nil {
		return
	}
	if p.at >= len(p.tokens) {
		p.fail("%s is missing", what)
		return
	}
	if err := use(p.tokens[p.at].Text); err != nil {
		p.fail("%w", err)
		return
	}
	p.at++
}

func (p *textParser) left() bool { return p.err == nil && p.at < len(p.tokens) }

func (p *textParser) number(what string, bits int) (v uint64) {
	p.take(what, func(s string) (err error) {
		if v, err = strconv.ParseUint(s, 10, bits); err != nil {
			return fmt.Errorf("%s %.40q is not a number of at most %d", what, s, uint64(1)<<bits-1)
		}
		p.uint(v, bits)
		return nil
	})
	return v
}

func (p *textParser) uint(v uint64, bits int) {
	for bits -= 8; bits >= 0; bits -= 8 {
		p.out = append(p.out, byte(v>>bits))
	}
}

func (p *textParser) name() {
	p.take("name", func(s string) error {
		n, err := ParseNameIn(s, p.origin)
		if err != nil {
			return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "dns: "))
		}
		p.out = appendName(p.out, n)
		return nil
	})
}

// ParseNameIn reads a name as zone files have them: "@" is the origin, and a
// name without a final dot is completed with it.
func ParseNameIn(s string, origin Name) (Name, error) {
	if s == "@" {
		return origin, nil
	}
	n, err := ParseName(s)
	if err != nil || rooted(s) {
		return n, err
	}
	return n.Join(origin)
}

// rooted tells whether a name ends in a dot that is not escaped.
func rooted(s string) bool {
	if !strings.HasSuffix(s, ".") {
		return false
	}
	slashes := 0
	for i := len(s) - 2; i >= 0 && s[i] == '\\'; i-- {
		slashes++
	}
	return slashes%2 == 0
}

// unquote takes the escapes out of a token.
func unquote(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			var n int
			if c, n = unescape(s[i+1:]); n == 0 {
				return "", fmt.Errorf("broken escape in %.40q", s)
			}
			i += n
		}
		out = append(out, c)
	}
	return string(out), nil
}

func (p *textParser) str(what string, most int, length bool) {
	p.take(what, func(s string) error {
		s, err := unquote(s)
		if err != nil {
			return err
		}
		if len(s) > most {
			return fmt.Errorf("%s of %d octets, at most %d are possible", what, len(s), most)
		}
		if length {
			p.out = append(p.out, byte(len(s)))
		}
		p.out = append(p.out, s...)
		return nil
	})
}

// joined decodes the rest of the tokens, which white space may part anywhere.
func (p *textParser) joined(what string, decode func(s string) ([]byte, error)) {
	if p.err != nil {
		return
	}
	var all strings.Builder
	for _, t := range p.tokens[p.at:] {
		all.WriteString(t.Text)
	}
	b, err := decode(all.String())
	if err != nil {
		p.fail("%s: %w", what, err)
		return
	}
	p.at = len(p.tokens)
	p.out = append(p.out, b...)
}

func (p *textParser) generic() {
	var n uint64
	p.take("length", func(s string) (err error) {
		if n, err = strconv.ParseUint(s, 10, 16); err != nil {
			return fmt.Errorf("length %.40q is not a number of at most 65535", s)
		}
		return nil
	})
	p.joined("octets", hex.DecodeString)
	if p.err == nil && int(n) != len(p.out) {
		p.fail("%d octets announced, %d given", n, len(p.out))
	}
}

func (p *textParser) address(size int) {
	p.take("address", func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.BitLen() != size*8 {
			return fmt.Errorf("%.60q is not an IPv%d address", s, map[int]int{4: 4, 16: 6}[size])
		}
		p.out = append(p.out, a.AsSlice()...)
		return nil
	})
}

func (p *textParser) field(k kind) {
	if p.err != nil {
		return
	}
	switch k {
	case kindU8:
		p.number("number", 8)
	case kindU16, kindTag16:
		p.number("number", 16)
	case kindU32:
		p.number("number", 32)
	case kindSeconds:
		p.take("time", func(s string) error {
			v, err := ParseTTL(s)
			p.uint(uint64(v), 32)
			return err
		})
	case kindType:
		p.take("type", func(s string) error {
			t, ok := ParseType(s)
			if !ok {
				return fmt.Errorf("type %.40q is not known", s)
			}
			p.uint(uint64(t), 16)
			return nil
		})
	case kindAlgorithm, kindCert, kindScheme:
		table, bits, what := algorithmNames, 8, "algorithm"
		switch k {
		case kindCert:
			table, bits = certTypes, 16
		case kindScheme:
			table, what = schemes, "scheme"
		}
		p.take(what, func(s string) error {
			v, ok := fromMnemonic(table, s, "")
			if n, err := strconv.ParseUint(s, 10, bits); err == nil {
				v, ok = uint16(n), true
			}
			if !ok || int(v) >= 1<<bits {
				return fmt.Errorf("%.40q is neither a number nor a known mnemonic", s)
			}
			p.uint(uint64(v), bits)
			return nil
		})
	case kindTime:
		p.take("time", func(s string) error {
			v, err := strconv.ParseUint(s, 10, 32)
			if len(s) == 14 {
				var t time.Time
				t, err = time.Parse("20060102150405", s)
				v = uint64(uint32(t.Unix()))
			}
			if err != nil {
				return fmt.Errorf("time %.40q is not YYYYMMDDHHmmSS", s)
			}
			p.uint(v, 32)
			return nil
		})
	case kindName, kindRead, kindPlain, kindSigner:
		p.name()
	case kindNames:
		for p.left() {
			p.name()
		}
	case kindString, kindBare:
		p.str("string", 255, true)
	case kindStrings:
		for first := true; first || p.left(); first = false {
			p.str("string", 255, true)
		}
	case kindWord:
		p.take("tag", func(s string) error {
			s, err := unquote(s)
			if err == nil && (s == "" || len(s) > 255) {
				err = fmt.Errorf("tag of %d octets, 1 to 255 are possible", len(s))
			}
			p.out = append(append(p.out, byte(len(s))), s...)
			return err
		})
	case kindText:
		p.str("text", 0xffff, false)
	case kindIPv4:
		p.address(4)
	case kindIPv6:
		p.address(16)
	case kindHex:
		p.joined("hexadecimal", hex.DecodeString)
	case kindBase64:
		p.joined("base64", base64.StdEncoding.DecodeString)
	case kindSalt:
		p.take("salt", func(s string) error {
			if s == "-" {
				s = ""
			}
			b, err := hex.DecodeString(s)
			if err != nil || len(b) > 255 {
				return fmt.Errorf("salt %.40q is neither - nor hexadecimal of at most 255 octets", s)
			}
			p.out = append(append(p.out, byte(len(b))), b...)
			return nil
		})
	case kindHash:
		p.take("hash", func(s string) error {
			b, err := base32hex.DecodeString(strings.ToUpper(s))
			if err != nil || len(b) == 0 || len(b) > 255 {
				return fmt.Errorf("hash %.40q is not base32hex of 1 to 255 octets", s)
			}
			p.out = append(append(p.out, byte(len(b))), b...)
			return nil
		})
	case kindBitmap:
		var types []Type
		for p.left() {
			p.take("type", func(s string) error {
				t, ok := ParseType(s)
				if !ok {
					return fmt.Errorf("type %.40q is not known", s)
				}
				types = append(types, t)
				return nil
			})
		}
		p.out = appendBitmap(p.out, types)
	case kindEUI48, kindEUI64:
		p.take("EUI", func(s string) error {
			b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
			if err != nil || len(b) != kindSizes[k] || len(s) != 3*len(b)-1 {
				return fmt.Errorf("%.40q is not %d octets in hexadecimal with hyphens", s, kindSizes[k])
			}
			p.out = append(p.out, b...)
			return nil
		})
	case kindLocator:
		p.take("locator", func(s string) error {
			parts := strings.Split(s, ":")
			if len(parts) != 4 {
				return fmt.Errorf("%.40q is not four groups of 16 bits", s)
			}
			for _, g := range parts {
				v, err := strconv.ParseUint(g, 16, 16)
				if err != nil {
					return fmt.Errorf("%.40q is not four groups of 16 bits", s)
				}
				p.uint(v, 16)
			}
			return nil
		})
	case kindNSAP:
		p.take("NSAP", func(s string) error {
			b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(s), "0x"), ".", ""))
			p.out = append(p.out, b...)
			return err
		})
	case kindParams:
		p.params()
	case kindLOC:
		p.position()
	case kindAPL:
		for p.left() {
			p.take("prefix", p.prefix)
		}
	case kindServices:
		p.services()
	case kindGateway:
		gateway := p.number("gateway type", 8)
		p.field(kindAlgorithm)
		p.gateway(gateway)
		p.field(kindBase64)
	case kindRelay:
		d := p.number("discovery bit", 8)
		relay := p.number("relay type", 8)
		if p.err == nil {
			if d > 1 || relay > 127 {
				p.fail("discovery bit %d and relay type %d: at most 1 and 127 are possible", d, relay)
				return
			}
			p.out = append(p.out[:len(p.out)-2], byte(d<<7|relay))
		}
		p.gateway(relay)
	case kindHIP:
		p.hip()
	}
}

// ParseTTL reads a time in seconds, or in the units of BIND: 1w2d3h4m5s.
func ParseTTL(s string) (uint32, error) {
	bad := fmt.Errorf("time %.40q is not a number of seconds, or like 1w2d3h4m5s, of at most 2147483647", s)
	if s == "" {
		return 0, bad
	}
	var total, v uint64
	digits := 0
	for i := range len(s) {
		c := lower(s[i])
		if '0' <= c && c <= '9' {
			v = v*10 + uint64(c-'0')
			if digits++; digits > 10 {
				return 0, bad
			}
			continue
		}
		unit := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[c]
		if unit == 0 || digits == 0 {
			return 0, bad
		}
		total += v * unit
		v, digits = 0, 0
	}
	// Beyond 2^31-1 a TTL is not one (RFC 2181 §8), but SOA times may be.
	if total += v; total > math.MaxUint32 {
		return 0, bad
	}
	return uint32(total), nil
}
