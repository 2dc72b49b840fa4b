package dns

import (
	"encoding/hex"
	"strconv"
	"strings"

	"peel/trace"
)

// data describes the record data that fills the walker's region.
func (w *walker) data(t Type, c Class) []trace.Field {
	switch t {
	case TypeA:
		if c == ClassIN {
			return []trace.Field{w.address("dns.a", 4)}
		}
	case TypeAAAA:
		return []trace.Field{w.address("dns.aaaa", 16)}
	case TypeCNAME:
		return []trace.Field{w.domain("dns.cname")}
	case TypeNS:
		return []trace.Field{w.domain("dns.ns")}
	case TypePTR:
		return []trace.Field{w.domain("dns.ptr.domain_name")}
	case TypeDNAME:
		return []trace.Field{w.domain("dns.dname")}
	case TypeMX:
		return []trace.Field{w.number16("dns.mx.preference", "the lowest is tried first", "%d"), w.domain("dns.mx.mail_exchange")}
	case TypeTXT:
		return w.texts()
	case TypeSOA:
		return []trace.Field{
			w.domain("dns.soa.mname"), w.domain("dns.soa.rname"), w.number32("dns.soa.serial_number", ""),
			w.number32("dns.soa.refresh_interval", "seconds"), w.number32("dns.soa.retry_interval", "seconds"),
			w.number32("dns.soa.expire_limit", "seconds"),
			w.number32("dns.soa.minimum_ttl", "seconds that a negative answer is kept at most"),
		}
	case TypeSRV:
		return []trace.Field{
			w.number16("dns.srv.priority", "the lowest is tried first", "%d"), w.number16("dns.srv.weight", "", "%d"),
			w.number16("dns.srv.port", "", "%d"), w.domain("dns.srv.target"),
		}
	case TypeCAA:
		return w.caaFields()
	case TypeOPT:
		return w.options()
	case TypeDS:
		return []trace.Field{
			w.number16("dns.ds.key_id", "", "%#04x"), w.number8("dns.ds.algorithm", ""), w.number8("dns.ds.digest_type", ""),
			w.octets("dns.ds.digest", w.left()),
		}
	case TypeDNSKEY:
		return []trace.Field{
			w.number16("dns.dnskey.flags", "", "%#04x"), w.number8("dns.dnskey.protocol", ""),
			w.number8("dns.dnskey.algorithm", ""), w.octets("dns.dnskey.public_key", w.left()),
		}
	case TypeRRSIG:
		return w.rrsigFields()
	case TypeNSEC:
		next := w.domain("dns.nsec.next_domain_name")
		start := w.off
		types := NSEC{Types: w.typeBitmap()}
		return []trace.Field{next, w.field(start, "dns.nsec.types", strings.TrimPrefix(types.String(), ". "), "")}
	case TypeSVCB, TypeHTTPS:
		return w.svcbFields()
	}
	return []trace.Field{w.octets("dns.data", w.left())}
}

func (w *walker) address(name string, n int) trace.Field {
	start := w.off
	a := w.addr(n)
	return w.field(start, name, a.String(), "")
}

func (w *walker) text(name string, n int) trace.Field {
	start := w.off
	s := string(w.bytes(n, name))
	return w.field(start, name, strings.ToValidUTF8(s, "\ufffd"), "")
}

func (w *walker) texts() []trace.Field {
	var out []trace.Field
	for w.off < w.end && w.err == nil {
		length := w.number8("dns.txt.length", "octets")
		n, _ := strconv.Atoi(length.Value)
		out = append(out, length, w.text("dns.txt", n))
	}
	return out
}

func (w *walker) caaFields() []trace.Field {
	flags := w.number8("dns.caa.flags", "")
	length := w.number8("dns.caa.tag_length", "octets")
	n, _ := strconv.Atoi(length.Value)
	return []trace.Field{flags, length, w.text("dns.caa.tag", n), w.text("dns.caa.value", w.left())}
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
					{Name: "dns.opt.ext_error.info_code", Value: strconv.Itoa(int(e.Code)), Meaning: e.Meaning(), Offset: at, Length: 2},
					{Name: "dns.opt.ext_error.extra_text", Value: strings.ToValidUTF8(e.Text, "\ufffd"), Offset: at + 2, Length: n - 2},
				}
			}
		}
		f.Children = keep(c, length, data)
		out = append(out, f)
	}
	return out
}

func (w *walker) rrsigFields() []trace.Field {
	start := w.off
	covered := Type(w.u16("dns.rrsig.type_covered"))
	out := []trace.Field{w.field(start, "dns.rrsig.type_covered", strconv.Itoa(int(covered)), covered.String())}
	out = append(out, w.number8("dns.rrsig.algorithm", ""), w.number8("dns.rrsig.labels", ""),
		w.number32("dns.rrsig.original_ttl", "seconds"))
	for _, name := range []string{"dns.rrsig.signature_expiration", "dns.rrsig.signature_inception"} {
		start := w.off
		v := w.u32(name)
		out = append(out, w.field(start, name, strconv.FormatUint(uint64(v), 10), signatureTime(v)))
	}
	return append(out, w.number16("dns.rrsig.key_tag", "", "%d"), w.domain("dns.rrsig.signers_name"),
		w.octets("dns.rrsig.signature", w.left()))
}

func (w *walker) svcbFields() []trace.Field {
	out := []trace.Field{w.number16("dns.svcb.svcpriority", "0 makes it an alias", "%d"), w.domain("dns.svcb.targetname")}
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
