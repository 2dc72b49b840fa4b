package dns

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"peel/trace"
)

// Fields describes a message field by field, with Wireshark's names. It goes
// as far as the message can be read and then says where it broke off, in a
// field named "_ws.malformed".
func Fields(msg []byte) []trace.Field {
	w := &walker{reader: reader{msg: msg, end: len(msg)}}
	var out []trace.Field
	if len(msg) > MaxMessage {
		w.fail("message of %d octets, at most %d are possible", len(msg), MaxMessage)
	}
	out = append(out, w.number16("dns.id", "transaction ID", "%#04x"))
	out = append(out, w.flags()...)
	var counts [4]int
	for i, name := range []string{"dns.count.queries", "dns.count.answers", "dns.count.auth_rr", "dns.count.add_rr"} {
		f := w.number16(name, "", "%d")
		counts[i], _ = strconv.Atoi(f.Value)
		out = append(out, f)
	}
	if w.err == nil {
		out = append(out, w.section("dns.queries", counts[0], w.question)...)
	}
	for i, name := range []string{"dns.answers", "dns.authorities", "dns.additionals"} {
		if w.err == nil {
			out = append(out, w.section(name, counts[i+1], w.record)...)
		}
	}
	return w.finish(out)
}

// walker reads like a reader and describes what it read. After an error it
// describes nothing more: the fields it then returns have no name.
type walker struct{ reader }

// finish drops the fields that were not read and tells the error and what
// was left.
func (w *walker) finish(fields []trace.Field) []trace.Field {
	out := fields[:0]
	for _, f := range fields {
		if f.Name != "" {
			out = append(out, f)
		}
	}
	switch {
	case w.err != nil:
		off := min(w.off, len(w.msg))
		out = append(out, trace.Field{Name: "_ws.malformed", Value: w.err.Error(), Offset: off, Length: len(w.msg) - off})
	case w.off < len(w.msg):
		out = append(out, trace.Field{Name: "dns.extraneous.length", Value: strconv.Itoa(len(w.msg) - w.off),
			Meaning: "octets after the last record", Offset: w.off, Length: len(w.msg) - w.off})
	}
	return out
}

// field describes the octets from start to where the walker is.
func (w *walker) field(start int, name, value, meaning string) trace.Field {
	if w.err != nil {
		return trace.Field{}
	}
	return trace.Field{Name: name, Value: value, Meaning: meaning, Offset: start, Length: w.off - start}
}

func (w *walker) number8(name, meaning string) trace.Field {
	start := w.off
	v := w.u8(name)
	return w.field(start, name, strconv.Itoa(int(v)), meaning)
}

func (w *walker) number16(name, meaning, format string) trace.Field {
	start := w.off
	v := w.u16(name)
	return w.field(start, name, fmt.Sprintf(format, v), meaning)
}

func (w *walker) number32(name, meaning string) trace.Field {
	start := w.off
	v := w.u32(name)
	return w.field(start, name, strconv.FormatUint(uint64(v), 10), meaning)
}

func (w *walker) domain(name string) trace.Field {
	start := w.off
	n := w.name(name)
	f := w.field(start, name, displayName(n), "")
	if w.err == nil && f.Length != n.Size() {
		f.Meaning = fmt.Sprintf("compressed from %d octets", n.Size())
	}
	return f
}

// displayName prints the root as Wireshark does.
func displayName(n Name) string {
	if n.IsRoot() {
		return "<Root>"
	}
	return n.Host()
}

// left counts the octets of the region that have not been read.
func (w *walker) left() int { return w.end - w.off }

func (w *walker) octets(name string, n int) trace.Field {
	start := w.off
	b := w.bytes(n, name)
	return w.field(start, name, hex.EncodeToString(b), "")
}

func (w *walker) flags() []trace.Field {
	start := w.off
	bits := w.u16("dns.flags")
	f := w.field(start, "dns.flags", fmt.Sprintf("%#04x", bits), "")
	if w.err != nil {
		return nil
	}
	bit := func(name string, mask uint16, on, off string) {
		c := trace.Field{Name: name, Value: "0", Meaning: off, Offset: start, Length: 1}
		if mask < 0x100 {
			c.Offset = start + 1
		}
		if bits&mask != 0 {
			c.Value, c.Meaning = "1", on
		}
		f.Children = append(f.Children, c)
	}
	op, rcode := Opcode(bits>>11&0xf), Rcode(bits&0xf)
	bit("dns.flags.response", bitQR, "a response", "a query")
	f.Children = append(f.Children, trace.Field{Name: "dns.flags.opcode", Value: strconv.Itoa(int(op)), Meaning: op.String(), Offset: start, Length: 1})
	bit("dns.flags.authoritative", bitAA, "the server is an authority for the name", "the server is not an authority for the name")
	bit("dns.flags.truncated", bitTC, "cut short: ask again over TCP", "not cut short")
	bit("dns.flags.recdesired", bitRD, "recursion is desired", "recursion is not desired")
	bit("dns.flags.recavail", bitRA, "the server can recurse", "the server does not recurse")
	bit("dns.flags.z", bitZ, "reserved, and yet set", "reserved")
	bit("dns.flags.authenticated", bitAD, "the server has authenticated the data", "the data is not said to be authenticated")
	bit("dns.flags.checkdisable", bitCD, "unauthenticated data is acceptable", "unauthenticated data is not acceptable")
	f.Children = append(f.Children, trace.Field{Name: "dns.flags.rcode", Value: strconv.Itoa(int(rcode)), Meaning: rcode.String(), Offset: start + 1, Length: 1})
	return []trace.Field{f}
}

// section describes count entries as one field with a child for each.
func (w *walker) section(name string, count int, entry func() trace.Field) []trace.Field {
	if count == 0 {
		return nil
	}
	f := trace.Field{Name: name, Value: strconv.Itoa(count), Offset: w.off}
	for i := 0; i < count && w.err == nil; i++ {
		start := w.off
		e := entry()
		e.Offset, e.Length = start, w.off-start
		f.Children = append(f.Children, e)
	}
	f.Length = w.off - f.Offset
	return []trace.Field{f}
}

func (w *walker) question() trace.Field {
	f := trace.Field{Name: "dns.query"}
	name := w.domain("dns.qry.name")
	start := w.off
	t := Type(w.u16("dns.qry.type"))
	typ := w.field(start, "dns.qry.type", strconv.Itoa(int(t)), t.String())
	start = w.off
	c := Class(w.u16("dns.qry.class"))
	class := w.field(start, "dns.qry.class", fmt.Sprintf("%#04x", uint16(c)), c.String())
	f.Value = name.Value + " " + t.String()
	f.Children = keep(name, typ, class)
	return f
}

func (w *walker) record() trace.Field {
	f := trace.Field{Name: "dns.resp"}
	name := w.domain("dns.resp.name")
	start := w.off
	t := Type(w.u16("dns.resp.type"))
	typ := w.field(start, "dns.resp.type", strconv.Itoa(int(t)), t.String())
	f.Value = name.Value + " " + t.String()
	f.Children = keep(name, typ)
	start = w.off
	c := Class(w.u16("dns.resp.class"))
	if t == TypeOPT {
		f.Children = append(f.Children, keep(w.field(start, "dns.rr.udp_payload_size", strconv.Itoa(int(c)), "octets that the sender takes over UDP"))...)
		f.Children = append(f.Children, w.extendedTTL()...)
	} else {
		f.Children = append(f.Children, keep(
			w.field(start, "dns.resp.class", fmt.Sprintf("%#04x", uint16(c)), c.String()),
			w.number32("dns.resp.ttl", "seconds"))...)
	}
	length := w.number16("dns.resp.len", "octets of data", "%d")
	f.Children = append(f.Children, keep(length)...)
	n, _ := strconv.Atoi(length.Value)
	if w.err == nil && n > w.end-w.off {
		w.fail("%s data at offset %d: %d octets announced, %d left", t, w.off, n, w.end-w.off)
	}
	if w.err != nil {
		return f
	}
	end := w.end
	w.end = w.off + n
	if n > 0 {
		f.Children = append(f.Children, keep(w.data(t, c)...)...)
	}
	if w.err == nil && w.off != w.end {
		w.fail("%s data at offset %d: %d octets too long", t, w.off, w.end-w.off)
	}
	w.end = end
	return f
}

// extendedTTL describes the TTL of an OPT record (RFC 6891 §6.1.3).
func (w *walker) extendedTTL() []trace.Field {
	rcode := w.number8("dns.resp.ext_rcode", "upper eight bits of the response code")
	version := w.number8("dns.resp.edns0_version", "")
	start := w.off
	z := w.u16("dns.resp.z")
	f := w.field(start, "dns.resp.z", fmt.Sprintf("%#04x", z), "")
	do := trace.Field{Name: "dns.resp.z.do", Value: strconv.Itoa(int(z >> 15)), Meaning: "signatures are wanted (DO)", Offset: start, Length: 1}
	if z>>15 == 0 {
		do.Meaning = "signatures are not wanted"
	}
	f.Children = []trace.Field{do}
	return keep(rcode, version, f)
}

// keep drops the fields that could not be read.
func keep(fields ...trace.Field) []trace.Field {
	out := fields[:0]
	for _, f := range fields {
		if f.Name != "" {
			out = append(out, f)
		}
	}
	return out
}
