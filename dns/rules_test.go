package dns

import (
	"strings"
	"testing"
)

// RFC 9460 §2.4.3, §7.1.1, §8: records that contradict themselves are refused,
// in text and on the wire.
func TestRFC9460_RecordsThatContradictThemselves(t *testing.T) {
	for text, good := range map[string]bool{
		`1 . mandatory=port`:                              false,
		`1 . mandatory=alpn,port alpn=h2`:                 false,
		`1 . mandatory=alpn,port alpn=h2 port=1`:          true,
		`1 . no-default-alpn`:                             false,
		`1 . no-default-alpn alpn=h2`:                     true,
		`1 . ech=""`:                                      false,
		`1 . ech="AEX+DQA="`:                              true,
		`0 a.example.`:                                    true,
		`1 . mandatory=key667 key667=x`:                   true,
		`1 . mandatory=key667 alpn=h2`:                    false,
		`1 . port=1 mandatory=port no-default-alpn`:       false,
		`1 . alpn=h2 no-default-alpn mandatory=ipv4hint`:  false,
		`1 . alpn=h2 no-default-alpn mandatory=alpn`:      true,
		`16 a.example. alpn=h3 ipv4hint=192.0.2.1 port=1`: true,
	} {
		for _, typ := range []Type{TypeSVCB, TypeHTTPS} {
			if _, err := ParseData(typ, ClassIN, words(text), Name{}); (err == nil) != good {
				t.Errorf("%s %s: %v", typ, text, err)
			}
		}
	}
	for what, params := range map[string]string{
		"mandatory without its key": "\x00\x00\x00\x02\x00\x03",
		"no-default-alpn alone":     "\x00\x02\x00\x00",
		"ech without content":       "\x00\x05\x00\x00",
	} {
		rr := Resource{Name: MustName("a.example"), Type: TypeHTTPS, Class: ClassIN, TTL: 1, Data: "\x00\x01\x00" + params}
		m := &Message{Answers: []Resource{rr}}
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b); err == nil {
			t.Errorf("%s is read", what)
		}
		// RFC 9460 §2.4.2: of an alias parameters do not count.
		m.Answers[0].Data = "\x00\x00\x00" + params
		b, _ = m.Append(nil)
		if _, err := Parse(b); (err == nil) != (what != "ech without content") {
			t.Errorf("%s of an alias: %v", what, err)
		}
	}
}

// RFC 1035 §3.4.2, RFC 4431, RFC 9859, RFC 9886: the text of rare types, as
// named-rrchecker has it where it knows them.
func TestTextOfRareTypes(t *testing.T) {
	for _, c := range []struct{ typ, in, wire, out string }{
		{"WKS", "192.0.2.1 TCP FTP SMTP TELNET", "\xc0\x00\x02\x01\x06\x00\x00\x05\x40", "192.0.2.1 6 21 23 25"},
		{"WKS", "192.0.2.1 17 53", "\xc0\x00\x02\x01\x11\x00\x00\x00\x00\x00\x00\x04", "192.0.2.1 17 53"},
		{"WKS", "192.0.2.1 6", "\xc0\x00\x02\x01\x06", "192.0.2.1 6"},
		{"DLV", "20326 8 2 E06D", "\x4f\x66\x08\x02\xe0\x6d", "20326 8 2 E06D"},
		{"TA", "20326 8 2 E06D", "\x4f\x66\x08\x02\xe0\x6d", "20326 8 2 E06D"},
		{"DSYNC", "CDS NOTIFY 5359 s.example.", "\x00\x3b\x01\x14\xef\x01s\x07example\x00", "CDS NOTIFY 5359 s.example."},
		{"DSYNC", "CSYNC 200 53 .", "\x00\x3e\xc8\x00\x35\x00", "CSYNC 200 53 ."},
		{"HHIT", "AQID", "\x01\x02\x03", "AQID"},
		{"BRID", "AQ ID", "\x01\x02\x03", "AQID"},
	} {
		typ, ok := ParseType(c.typ)
		if !ok {
			t.Errorf("%s is no type", c.typ)
			continue
		}
		data, err := ParseData(typ, ClassIN, words(c.in), Name{})
		if err != nil || data != c.wire {
			t.Errorf("%s %s: %q, %v", c.typ, c.in, data, err)
			continue
		}
		rr := Resource{Name: MustName("a.example"), Type: typ, Class: ClassIN, Data: data}
		if got := rr.Text(); got != c.out {
			t.Errorf("%s %s: printed as %s", c.typ, c.in, got)
		}
		b, err := (&Message{Answers: []Resource{rr}}).Append(nil)
		if m, perr := Parse(b); err != nil || perr != nil || m.Answers[0].Data != data {
			t.Errorf("%s %s: %v, %v", c.typ, c.in, err, perr)
		}
	}
	for _, bad := range []string{"WKS 192.0.2.1", "WKS 192.0.2.1 300", "WKS 192.0.2.1 6 65536", "WKS 192.0.2.1 6 nothing", "DSYNC CDS 300 1 .", "DSYNC CDS WHAT 1 .", "DLV 1 300 2 AA"} {
		name, rest, _ := strings.Cut(bad, " ")
		typ, _ := ParseType(name)
		if _, err := ParseData(typ, ClassIN, words(rest), Name{}); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// RFC 6891 §6.1.1, §6.1.2: one OPT record, of the root.
func TestRFC6891_6_1_2_OwnerOfOPT(t *testing.T) {
	good := EDNS{UDPSize: 1232}.Resource()
	owned := good
	owned.Name = MustName("x.example")
	for _, c := range []struct {
		list []Resource
		ok   bool
	}{{nil, true}, {[]Resource{good}, true}, {[]Resource{owned}, false}, {[]Resource{good, good}, false}} {
		if err := (&Message{Additional: c.list}).CheckEDNS(); (err == nil) != c.ok {
			t.Errorf("%v: %v", c.list, err)
		}
	}
}
