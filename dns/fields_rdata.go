package dns

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"peel/trace"
)

// data describes the record data that fills the walker's region, by the form
// of its type.
func (w *walker) data(t Type, c Class) []trace.Field {
	f := formOf(t, c)
	if f == nil {
		return []trace.Field{w.octets("dns.data", w.left())}
	}
	var out []trace.Field
	for i := range f.fields {
		out = append(out, w.dataField(f.fields[i])...)
	}
	return out
}

func (w *walker) dataField(f field) []trace.Field {
	name, start := "dns."+f.name, w.off
	switch f.kind {
	case kindU8, kindAlgorithm, kindScheme:
		return []trace.Field{w.number8(name, f.meaning)}
	case kindU16:
		return []trace.Field{w.number16(name, f.meaning, "%d")}
	case kindTag16:
		return []trace.Field{w.number16(name, f.meaning, "%#04x")}
	case kindU32, kindSeconds:
		return []trace.Field{w.number32(name, f.meaning)}
	case kindType:
		t := Type(w.u16(name))
		return []trace.Field{w.field(start, name, strconv.Itoa(int(t)), t.String())}
	case kindTime:
		v := w.u32(name)
		return []trace.Field{w.field(start, name, strconv.FormatUint(uint64(v), 10), signatureTime(v))}
	case kindName, kindRead, kindPlain, kindSigner:
		return []trace.Field{w.domain(name)}
	case kindIPv4:
		return []trace.Field{w.address(name, 4)}
	case kindIPv6:
		return []trace.Field{w.address(name, 16)}
	case kindString, kindBare, kindStrings, kindWord:
		return w.texts(name, f.kind == kindStrings)
	case kindText:
		return []trace.Field{w.text(name, w.left())}
	case kindSalt, kindHash:
		length := w.number8(strings.TrimSuffix(name, "_value")+"_length", "octets")
		n, _ := strconv.Atoi(length.Value)
		return []trace.Field{length, w.octets(name, n)}
	case kindBitmap:
		w.bitmap()
		var words []string
		if w.err == nil {
			for _, t := range bitmapTypes(string(w.msg[start:w.off])) {
				words = append(words, t.String())
			}
		}
		return []trace.Field{w.field(start, name, strings.Join(words, " "), "")}
	case kindParams:
		return w.paramFields()
	case kindOptions:
		return w.options()
	case kindHex, kindBase64, kindNSAP, kindLOC, kindAPL, kindServices, kindGateway, kindRelay, kindHIP:
		field := w.octets(name, w.left())
		if w.err == nil && f.kind >= kindLOC {
			c := cut{s: string(w.msg[start:w.off])}
			if text := c.text(nil, f.kind); !c.bad {
				field.Meaning = string(text)
			}
		}
		return []trace.Field{field}
	}
	return []trace.Field{w.octets(name, kindSizes[f.kind])}
}

func (w *walker) address(name string, n int) trace.Field {
	start := w.off
	a, _ := netip.AddrFromSlice(w.bytes(n, name))
	return w.field(start, name, a.String(), "")
}

func (w *walker) text(name string, n int) trace.Field {
	start := w.off
	s := string(w.bytes(n, name))
	return w.field(start, name, strings.ToValidUTF8(s, "\ufffd"), "")
}

func (w *walker) texts(name string, all bool) []trace.Field {
	var out []trace.Field
	for first := true; w.err == nil && (first || all && w.off < w.end); first = false {
		length := w.number8(name+lengthSuffix(name), "octets")
		n, _ := strconv.Atoi(length.Value)
		out = append(out, length, w.text(name, n))
	}
	return out
}

// lengthSuffix is how Wireshark names the length of a string.
func lengthSuffix(name string) string {
	if name == "dns.txt" || name == "dns.spf" {
		return ".length"
	}
	return "_length"
}

func (w *walker) options() []trace.Field {
	var out []trace.Field
	for w.off < w.end && w.err == nil {
		start := w.off
		code := OptionCode(w.u16("dns.opt.code"))
		c := w.field(start, "dns.opt.code", strconv.Itoa(int(code)), code.String())
		length := w.number16("dns.opt.len", "octets", "%d")
		n, _ := strconv.Atoi(length.Value)
		at := w.off
		data := w.octets("dns.opt.data", n)
		f := w.field(start, "dns.opt", code.String(), "")
		if w.err == nil {
			raw, _ := hex.DecodeString(data.Value)
			if e, ok := (Option{code, raw}).extendedError(); ok {
				f.Meaning = e.String()
				data.Children = []trace.Field{
					{Name: "dns.opt.ext_error.info_code", Value: strconv.Itoa(int(e.Code)), Meaning: e.Code.Meaning(), Offset: at, Length: 2},
					{Name: "dns.opt.ext_error.extra_text", Value: strings.ToValidUTF8(e.Text, "\ufffd"), Offset: at + 2, Length: n - 2},
				}
			}
		}
		f.Children = keep(c, length, data)
		out = append(out, f)
	}
	return out
}

func (w *walker) paramFields() []trace.Field {
	var out []trace.Field
	for w.off < w.end && w.err == nil {
		start := w.off
		key := SvcKey(w.u16("dns.svcb.svcparam.key"))
		k := w.field(start, "dns.svcb.svcparam.key", strconv.Itoa(int(key)), key.String())
		length := w.number16("dns.svcb.svcparam.value.length", "octets", "%d")
		n, _ := strconv.Atoi(length.Value)
		value := w.octets("dns.svcb.svcparam.value", n)
		f := w.field(start, "dns.svcb.svcparam", "", "")
		if w.err == nil {
			raw, _ := hex.DecodeString(value.Value)
			f.Value = SvcParam{key, raw}.String()
		}
		f.Children = keep(k, length, value)
		out = append(out, f)
	}
	return out
}
