package jsontrace

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"peel/trace"
)

// AppendPacket appends a packet as one line of JSON, with its fields, which
// is what encoding/json would write, and quicker: captures have millions.
func AppendPacket(b []byte, start time.Time, p *trace.Packet, fields []trace.Field) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, int64(p.ID), 10)
	b = append(b, `,"time":`...)
	b = strconv.AppendInt(b, int64(p.Time), 10)
	b = append(b, `,"at":"`...)
	b = start.Add(time.Duration(p.Time)).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","where":`...)
	b = appendString(b, p.Where)
	b = append(b, `,"link_type":`...)
	b = appendString(b, p.LinkType)
	b = append(b, `,"length":`...)
	b = strconv.AppendInt(b, int64(p.Length), 10)
	b = append(b, `,"captured":`...)
	b = strconv.AppendInt(b, int64(p.Captured), 10)
	if p.Connection != 0 {
		b = append(b, `,"connection":`...)
		b = strconv.AppendInt(b, int64(p.Connection), 10)
	}
	if p.Direction != "" {
		b = append(b, `,"direction":`...)
		b = appendString(b, string(p.Direction))
	}
	b = append(b, `,"text":`...)
	b = appendString(b, p.Text)
	b = append(b, `,"layers":[`...)
	for i, l := range p.Layers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendString(b, l.Name)
		b = appendPlace(b, l.Offset, l.Length)
		b = append(b, '}')
	}
	b = append(b, ']')
	if r := p.Bytes; r != nil {
		b = append(b, `,"bytes":{"space":`...)
		b = appendString(b, string(r.Space))
		b = append(b, `,"connection":`...)
		b = strconv.AppendInt(b, int64(r.Connection), 10)
		b = append(b, `,"direction":`...)
		b = appendString(b, string(r.Direction))
		b = append(b, `,"offset":`...)
		b = strconv.AppendInt(b, r.Offset, 10)
		b = append(b, `,"length":`...)
		b = strconv.AppendInt(b, r.Length, 10)
		b = append(b, '}')
	}
	b = appendStrings(b, `,"notes":[`, p.Notes)
	b = appendStrings(b, `,"comments":[`, p.Comments)
	if len(fields) > 0 {
		b = append(b, `,"fields":`...)
		b = appendFields(b, fields)
	}
	if p.Hex != "" {
		b = append(b, `,"hex":"`...)
		b = append(b, p.Hex...)
		b = append(b, '"')
	}
	return append(b, '}', '\n')
}

// HexOf returns what Packet.Hex holds.
func HexOf(p *trace.Packet) string { return hex.EncodeToString(p.Raw) }

func appendStrings(b []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, key...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

func appendPlace(b []byte, offset, length int) []byte {
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, int64(offset), 10)
	b = append(b, `,"length":`...)
	return strconv.AppendInt(b, int64(length), 10)
}

func appendFields(b []byte, fields []trace.Field) []byte {
	b = append(b, '[')
	for i := range fields {
		f := &fields[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendString(b, f.Name)
		b = append(b, `,"value":`...)
		b = appendString(b, f.Value)
		if f.Meaning != "" {
			b = append(b, `,"meaning":`...)
			b = appendString(b, f.Meaning)
		}
		b = appendPlace(b, f.Offset, f.Length)
		if len(f.Children) > 0 {
			b = append(b, `,"children":`...)
			b = appendFields(b, f.Children)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendString writes a JSON string (RFC 8259 §7). Bytes that are no UTF-8
// become U+FFFD.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
			b = append(b, s[from:i]...)
			b = append(b, "\ufffd"...)
			i++
			from = i
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, `\u00`...)
			b = append(b, digits[c>>4], digits[c&15])
		}
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}
