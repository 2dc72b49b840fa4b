package dns

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// base32hex is the alphabet of NSEC3 (RFC 5155 §3.3), in lower case as the
// owner names of such records are.
var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

// appendData appends the presentation form of record data: that of its type,
// or the generic one of RFC 3597 §5 for a type without a form and for data
// that does not have it.
func appendData(out []byte, t Type, c Class, wire string) []byte {
	f := formOf(t, c)
	if f != nil && (wire != "" || f.minimum() == 0) {
		start, d := len(out), cut{s: wire}
		for i := range f.fields {
			if k := f.fields[i].kind; i > 0 && (d.s != "" || kindSizes[k] > 0 || k == kindText) {
				out = append(out, ' ')
			}
			out = d.text(out, f.fields[i].kind)
		}
		if !d.bad && d.s == "" {
			return out
		}
		out = out[:start]
	}
	out = append(append(out, `\# `...), strconv.Itoa(len(wire))...)
	if wire != "" {
		out = appendHex(append(out, ' '), wire)
	}
	return out
}

func appendHex(out []byte, s string) []byte {
	return append(out, strings.ToUpper(hex.EncodeToString([]byte(s)))...)
}

func appendQuoted(out []byte, s string) []byte {
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		out = appendEscaped(out, s[i], quoted)
	}
	return append(out, '"')
}

// quote returns a character-string between quotation marks.
func quote(s string) string { return string(appendQuoted(nil, s)) }

// text takes one field and appends its presentation form.
func (c *cut) text(out []byte, k kind) []byte {
	switch k {
	case kindU8, kindAlgorithm:
		return strconv.AppendUint(out, uint64(c.u8()), 10)
	case kindU16, kindTag16:
		return strconv.AppendUint(out, uint64(c.u16()), 10)
	case kindU32, kindSeconds:
		return strconv.AppendUint(out, uint64(c.u32()), 10)
	case kindType:
		return append(out, Type(c.u16()).String()...)
	case kindCert:
		return append(out, mnemonic(certTypes, c.u16(), "")...)
	case kindScheme:
		return append(out, mnemonic(schemes, uint16(c.u8()), "")...)
	case kindTime:
		return append(out, signatureTime(c.u32())...)
	case kindName, kindRead, kindPlain, kindSigner:
		return append(out, c.name().String()...)
	case kindNames:
		for i := 0; c.s != "" && !c.bad; i++ {
			if i > 0 {
				out = append(out, ' ')
			}
			out = append(out, c.name().String()...)
		}
	case kindString:
		return appendQuoted(out, c.take(int(c.u8())))
	case kindBare:
		s := c.take(int(c.u8()))
		if s == "" || strings.Trim(s, "0123456789.+-") != "" {
			return appendQuoted(out, s)
		}
		return append(out, s...)
	case kindStrings:
		for i := 0; i == 0 || c.s != "" && !c.bad; i++ {
			if i > 0 {
				out = append(out, ' ')
			}
			out = appendQuoted(out, c.take(int(c.u8())))
		}
	case kindWord:
		s := c.take(int(c.u8()))
		for i := range len(s) {
			out = appendEscaped(out, s[i], nameSpecial)
		}
	case kindText:
		return appendQuoted(out, c.rest())
	case kindIPv4:
		if s := c.take(4); len(s) == 4 {
			return netip.AddrFrom4([4]byte([]byte(s))).AppendTo(out)
		}
	case kindIPv6:
		if s := c.take(16); len(s) == 16 {
			return netip.AddrFrom16([16]byte([]byte(s))).AppendTo(out)
		}
	case kindHex:
		return appendHex(out, c.rest())
	case kindBase64:
		return append(out, base64.StdEncoding.EncodeToString([]byte(c.rest()))...)
	case kindSalt:
		s := c.take(int(c.u8()))
		if s == "" {
			return append(out, '-')
		}
		return appendHex(out, s)
	case kindHash:
		return append(out, base32hex.EncodeToString([]byte(c.take(int(c.u8()))))...)
	case kindBitmap:
		for i, t := range bitmapTypes(c.rest()) {
			if i > 0 {
				out = append(out, ' ')
			}
			out = append(out, t.String()...)
		}
	case kindEUI48, kindEUI64:
		s := c.take(kindSizes[k])
		for i := range len(s) {
			if i > 0 {
				out = append(out, '-')
			}
			out = append(out, hex.EncodeToString([]byte{s[i]})...)
		}
	case kindLocator:
		for i := range 4 {
			if i > 0 {
				out = append(out, ':')
			}
			out = fmt.Appendf(out, "%04x", c.u16())
		}
	case kindNSAP:
		return appendHex(append(out, "0x"...), c.rest())
	case kindParams:
		d := SVCB{}
		for c.s != "" && !c.bad {
			key := SvcKey(c.u16())
			d.Params = append(d.Params, SvcParam{key, []byte(c.take(int(c.u16())))})
		}
		for i, p := range d.Params {
			if i > 0 {
				out = append(out, ' ')
			}
			out = append(out, p.String()...)
		}
	case kindOptions:
		return append(out, optionsText(c.opt())...)
	default:
		return c.special(out, k)
	}
	return out
}

var certTypes = []named{
	{1, "PKIX"}, {2, "SPKI"}, {3, "PGP"}, {4, "IPKIX"}, {5, "ISPKI"}, {6, "IPGP"}, {7, "ACPKIX"}, {8, "IACPKIX"}, {253, "URI"}, {254, "OID"},
}

// schemes are those of DSYNC records (RFC 9859 §6.2).
var schemes = []named{{1, "NOTIFY"}}

// special prints the forms that are not a row of fields.
func (c *cut) special(out []byte, k kind) []byte {
	if checkSpecial(k, []byte(c.s)) != "" {
		c.bad = true
		return out
	}
	switch k {
	case kindLOC:
		return append(out, locText([]byte(c.rest()))...)
	case kindAPL:
		for i := 0; c.s != "" && !c.bad; i++ {
			family, bits, n := c.u16(), c.u8(), c.u8()
			var b [16]byte
			copy(b[:], c.take(int(n&0x7f)))
			a := netip.AddrFrom16(b)
			if family == 1 {
				a = netip.AddrFrom4([4]byte(b[:4]))
			}
			if i > 0 {
				out = append(out, ' ')
			}
			if n&0x80 != 0 {
				out = append(out, '!')
			}
			out = fmt.Appendf(out, "%d:%s/%d", family, a, bits)
		}
	case kindServices:
		out = strconv.AppendUint(out, uint64(c.u8()), 10)
		for i, b := range []byte(c.rest()) {
			for bit := range 8 {
				if b&(0x80>>bit) != 0 {
					out = strconv.AppendUint(append(out, ' '), uint64(8*i+bit), 10)
				}
			}
		}
	case kindGateway:
		gateway, algorithm := c.u8(), c.u8()
		out = fmt.Appendf(out, "%d %d ", gateway, algorithm)
		out = append(c.gateway(out, gateway), ' ')
		return append(out, base64.StdEncoding.EncodeToString([]byte(c.rest()))...)
	case kindRelay:
		relay := c.u8()
		out = fmt.Appendf(out, "%d %d ", relay>>7, relay&0x7f)
		return c.gateway(out, relay&0x7f)
	case kindHIP:
		n, algorithm, m := c.u8(), c.u8(), c.u16()
		out = appendHex(append(strconv.AppendUint(out, uint64(algorithm), 10), ' '), c.take(int(n)))
		out = append(append(out, ' '), base64.StdEncoding.EncodeToString([]byte(c.take(int(m))))...)
		for c.s != "" && !c.bad {
			out = append(append(out, ' '), c.name().String()...)
		}
	}
	return out
}

func (c *cut) gateway(out []byte, kind uint8) []byte {
	switch kind {
	case 1:
		return c.text(out, kindIPv4)
	case 2:
		return c.text(out, kindIPv6)
	case 3:
		return c.text(out, kindPlain)
	}
	return append(out, '.')
}

// locText prints a position as RFC 1876 §3 has it.
func locText(b []byte) string {
	coordinate := func(v uint32, plus, minus string) string {
		where := plus
		n := int64(v) - 1<<31
		if n < 0 {
			where, n = minus, -n
		}
		return fmt.Sprintf("%d %d %d.%03d %s", n/3600000, n/60000%60, n/1000%60, n%1000, where)
	}
	size := func(c byte) string {
		v := uint64(c >> 4)
		for range c & 0xf {
			v *= 10
		}
		if v%100 == 0 {
			return fmt.Sprintf("%dm", v/100)
		}
		return fmt.Sprintf("%d.%02dm", v/100, v%100)
	}
	altitude := int64(binary.BigEndian.Uint32(b[12:])) - 10000000
	sign := ""
	if altitude < 0 {
		sign, altitude = "-", -altitude
	}
	return fmt.Sprintf("%s %s %s%d.%02dm %s %s %s", coordinate(binary.BigEndian.Uint32(b[4:]), "N", "S"),
		coordinate(binary.BigEndian.Uint32(b[8:]), "E", "W"), sign, altitude/100, altitude%100, size(b[1]), size(b[2]), size(b[3]))
}
