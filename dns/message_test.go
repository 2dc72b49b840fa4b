package dns

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	oracle "github.com/miekg/dns"
)

// zoneLines holds at least one record of each type that is taken apart, and
// one that is not.
var zoneLines = []string{
	`example.com. 300 IN A 192.0.2.1`,
	`WWW.Example.com. 300 IN AAAA 2001:db8::1`,
	`mapped.example.com. 300 IN AAAA ::ffff:192.0.2.1`,
	`www.example.com. 60 IN CNAME cdn.example.net.`,
	`example.com. 3600 IN NS ns1.example.com.`,
	`1.2.0.192.in-addr.arpa. 3600 IN PTR host.example.com.`,
	`example.com. 3600 IN MX 10 mail.example.com.`,
	`example.com. 3600 IN TXT "v=spf1 -all" "second \"string\" \\ \200" ""`,
	`example.com. 3600 IN SOA ns1.example.com. host\.master.example.com. 2026112001 7200 3600 1209600 300`,
	`_http._tcp.example.com. 60 IN SRV 10 20 8080 www.example.com.`,
	`old.example.com. 60 IN DNAME new.example.com.`,
	`example.com. 60 IN CAA 128 issue "ca.example.net; policy=ev"`,
	`example.com. 60 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D`,
	`example.com. 60 IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==`,
	`example.com. 60 IN RRSIG A 13 2 300 20261220000000 20261120000000 20326 example.com. AAECAwQF`,
	`example.com. 60 IN NSEC www.example.com. A NS SOA RRSIG NSEC DNSKEY CAA TYPE1234`,
	`example.com. 60 IN HTTPS 1 . alpn="h3,h2" port="8443" ipv4hint="192.0.2.1,192.0.2.2" ech="AEX+DQBBpQAg" ipv6hint="2001:db8::1"`,
	`example.com. 60 IN SVCB 0 pool.example.net.`,
	`_dns.example.com. 60 IN SVCB 16 svc.example.net. mandatory="alpn,port" alpn="bar" no-default-alpn port="443" key667="hello"`,
	`example.com. 60 IN SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789`,
	`example.com. 60 IN TYPE65280 \# 4 0A000001`,
	`. 86400 IN NS a.root-servers.net.`,
	`a\.b.\(x\)\;\@\$.example. 60 IN A 192.0.2.9`,
}

func oracleRecords(t testing.TB) []oracle.RR {
	var out []oracle.RR
	for _, line := range zoneLines {
		rr, err := oracle.NewRR(line)
		if err != nil {
			t.Fatalf("oracle: %s: %v", line, err)
		}
		out = append(out, rr)
	}
	return out
}

// oracleMessage makes a message from a random choice of records.
func oracleMessage(r *rand.Rand, rrs []oracle.RR) *oracle.Msg {
	pick := func() (out []oracle.RR) {
		for range r.IntN(6) {
			out = append(out, rrs[r.IntN(len(rrs))])
		}
		return out
	}
	m := &oracle.Msg{Answer: pick(), Ns: pick(), Extra: pick()}
	m.Id, m.Response, m.Opcode = uint16(r.Uint32()), r.IntN(2) == 0, r.IntN(7)
	m.Authoritative, m.Truncated, m.RecursionDesired = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
	m.RecursionAvailable, m.AuthenticatedData, m.CheckingDisabled = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0
	m.Question = []oracle.Question{{Name: "wWw.example.com.", Qtype: oracle.TypeA, Qclass: oracle.ClassINET}}
	m.Rcode = r.IntN(11)
	if r.IntN(2) == 0 {
		m.SetEdns0(uint16(r.Uint32()), r.IntN(2) == 0)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &oracle.EDNS0_EDE{InfoCode: oracle.ExtendedErrorCodeNoReachableAuthority, ExtraText: "no way"}, &oracle.EDNS0_NSID{Code: 3, Nsid: "6e7331"})
		if r.IntN(2) == 0 {
			m.Rcode = 16 + r.IntN(8)
		}
	}
	m.Compress = r.IntN(2) == 0
	return m
}

// What another implementation packs we read, what we pack it reads, and both
// mean the same.
func TestRFC1035MessagesAgainstAnotherImplementation(t *testing.T) {
	rrs := oracleRecords(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		want := oracleMessage(r, rrs)
		packed, err := want.Pack()
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(packed)
		if err != nil {
			t.Fatalf("%v\n%s\n%x", err, want, packed)
		}
		if int(m.Rcode) != want.Rcode {
			t.Fatalf("rcode %d, want %d", m.Rcode, want.Rcode)
		}
		ours, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var got oracle.Msg
		if err := got.Unpack(ours); err != nil {
			t.Fatalf("the oracle cannot read ours: %v\n%x", err, ours)
		}
		var sent oracle.Msg
		if err := sent.Unpack(packed); err != nil {
			t.Fatal(err)
		}
		if got.String() != sent.String() {
			t.Fatalf("ours:\n%s\nsent:\n%s", &got, &sent)
		}
	}
}

// Our presentation form is read back by the other implementation as the same
// record.
func TestPresentationAgainstAnotherImplementation(t *testing.T) {
	for _, rr := range oracleRecords(t) {
		packed, err := (&oracle.Msg{Answer: []oracle.RR{rr}}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(packed)
		if err != nil {
			t.Fatal(err)
		}
		line := m.Answers[0].String()
		back, err := oracle.NewRR(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if !reflect.DeepEqual(normal(t, back), normal(t, rr)) {
			t.Errorf("ours  %s\nback  %s\nfirst %s", line, back, rr)
		}
	}
}

func normal(t *testing.T, rr oracle.RR) string {
	packed, err := (&oracle.Msg{Answer: []oracle.RR{rr}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(packed)
}

func message(parts ...string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestParseRejectsHostileMessages(t *testing.T) {
	head := func(qd, an string) string { return "1234 8180 " + qd + an + "0000 0000" }
	for _, c := range []struct {
		name string
		msg  []byte
		want string
	}{
		{"shorter than a header", message("1234"), "header"},
		{"RFC1035_4_1_4 pointer to itself", message(head("0001", "0000"), "c00c 0001 0001"), "does not lead backwards"},
		{"RFC1035_4_1_4 pointer forward", message(head("0001", "0000"), "c00e 0001 0001"), "does not lead backwards"},
		{"RFC1035_4_1_4 loop through a label", message(head("0001", "0000"), "0161c00c 0001 0001"), "does not lead backwards"},
		{"pointer into the header", message(head("0001", "0000"), "c000 0001 0001"), "header"},
		{"label runs over", message(head("0001", "0000"), "3f61"), "runs over"},
		{"label type 01", message(head("0001", "0000"), "41 00 0001 0001"), "label type"},
		{"more questions than octets", message(head("ffff", "0000"), "00 0001 0001"), "question 2 of 65535"},
		{"rdlength over the end", message(head("0000", "0001"), "00 0001 0001 00000000 0004 0102"), "4 octets announced, 2 left"},
		{"A of five octets", message(head("0000", "0001"), "00 0001 0001 00000000 0005 0102030405"), "1 octets too long"},
		{"A of three octets", message(head("0000", "0001"), "00 0001 0001 00000000 0003 010203"), "4 bytes wanted, 3 left"},
		{"empty A in IN", message(head("0000", "0001"), "00 0001 0001 00000000 0000"), "empty"},
		{"RFC9460_2_2 keys out of order", message(head("0000", "0001"), "00 0041 0001 00000000 000d 0001 00 0003 0002 01bb 0001 0000"), "keys must rise"},
		{"RFC9460_2_2 compressed target", message(head("0001", "0001"), "0161 00 0041 0001 00 0041 0001 00000000 0004 0001 c00c"), "compression is forbidden"},
		{"RFC4034_4_1_2 windows out of order", message(head("0000", "0001"), "00 002f 0001 00000000 0007 00 000101 000101"), "window"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.msg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// A name of 255 octets is the longest; with one more it is refused, however
// it is put together.
func TestRFC1035_2_3_4_NameLimits(t *testing.T) {
	l63 := strings.Repeat("a", 63)
	longest := l63 + "." + l63 + "." + l63 + "." + strings.Repeat("b", 61)
	n, err := ParseName(longest)
	if err != nil || n.Size() != 255 {
		t.Fatalf("size %d, %v", n.Size(), err)
	}
	for _, bad := range []string{longest + "b", "a" + l63, "a..b", ".a", "", `a\`, `a\1`, `a\999`, `a\25x`} {
		if _, err := ParseName(bad); err == nil {
			t.Errorf("%.20q… was taken", bad)
		}
	}
	if _, err := MustName("a").Join(n); err == nil {
		t.Error("Join made a name of 257 octets")
	}
}

func TestRFC4343_NamesCompareWithoutCaseAndKeepIt(t *testing.T) {
	a, b := MustName("WwW.ExAmple.com"), MustName("www.example.COM.")
	if !a.EqualFold(b) || a == b || a.Fold() != b.Fold() || a.String() != "WwW.ExAmple.com." {
		t.Error(a, b)
	}
	if MustName("K.com").EqualFold(MustName("\u212a.com")) {
		t.Error("the Kelvin sign is not a k")
	}
	for _, c := range []struct {
		name, parent string
		want         bool
	}{{"a.b.c", "B.C", true}, {"b.c", "b.c", true}, {"ab.c", "b.c", false}, {"c", "b.c", false}, {"c", ".", true}} {
		if got := MustName(c.name).IsSubdomainOf(MustName(c.parent)); got != c.want {
			t.Errorf("%s below %s: %v", c.name, c.parent, got)
		}
	}
}

// Reading and writing a message cost one allocation and none.
func TestCodecAllocations(t *testing.T) {
	rrs := oracleRecords(t)
	packed, err := (&oracle.Msg{MsgHdr: oracle.MsgHdr{Response: true}, Answer: rrs, Compress: true}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	buf := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() {
		if err := m.Unpack(packed); err != nil {
			t.Fatal(err)
		}
	}); n > 2 { // a second one where names expand beyond the message's size
		t.Errorf("Unpack: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.Append(buf); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Append: %v allocations", n)
	}
}

func TestPartialMessageIsKeptWithTheError(t *testing.T) {
	m := &Message{Header: Header{ID: 7, Response: true}, Questions: []Question{{MustName("a.example"), TypeA, ClassIN}}}
	m.Answers = []Resource{
		NewResource(MustName("a.example"), 60, A{netip.MustParseAddr("192.0.2.1")}),
		NewResource(MustName("a.example"), 60, A{netip.MustParseAddr("192.0.2.2")}),
	}
	b, err := m.Append([]byte("prefix"))
	if err != nil {
		t.Fatal(err)
	}
	b = b[len("prefix"):]
	got, err := Parse(b[:len(b)-1])
	if err == nil || len(got.Questions) != 1 || len(got.Answers) != 1 || got.ID != 7 {
		t.Errorf("%v, %+v", err, got)
	}
	if !strings.Contains(err.Error(), "answer 2 of 2") {
		t.Error(err)
	}
}

func TestRFC6891_ExtendedRcodeNeedsOPT(t *testing.T) {
	m := &Message{Header: Header{Rcode: RcodeBadVers}}
	if _, err := m.Append(nil); err == nil {
		t.Error("BADVERS was packed without an OPT record")
	}
	m.Additional = []Resource{EDNS{UDPSize: 1232, Options: []Option{ExtendedError{EDEBlocked, "ads"}.Option()}}.Resource()}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil || got.Rcode != RcodeBadVers {
		t.Fatal(got, err)
	}
	e, _ := got.EDNS()
	if x := e.ExtendedErrors(); len(x) != 1 || x[0].String() != `15 (Blocked): "ads"` {
		t.Error(x)
	}
}

func TestMnemonicsBothWays(t *testing.T) {
	for code, name := range oracle.RcodeToString {
		if name == "BADSIG" {
			continue // 16 again, of TSIG
		}
		if got := Rcode(code).String(); got != strings.ReplaceAll(name, "NOTIMPL", "NOTIMP") {
			t.Errorf("rcode %d: %s, want %s", code, got, name)
		}
	}
	for v := range 1 << 16 {
		if got, ok := ParseType(Type(v).String()); !ok || got != Type(v) {
			t.Fatalf("type %d as %s", v, Type(v))
		}
		if got, ok := ParseClass(Class(v).String()); !ok || got != Class(v) {
			t.Fatalf("class %d as %s", v, Class(v))
		}
	}
	for v, name := range oracle.TypeToString {
		if got := Type(v).String(); got != name && !strings.HasPrefix(got, "TYPE") {
			t.Errorf("type %d: %s, the oracle says %s", v, got, name)
		}
	}
}

// RFC 4034 §5.4 and appendix B: the key tag of a real key, by an oracle.
func TestRFC4034_B_KeyTag(t *testing.T) {
	rr, _ := oracle.NewRR(zoneLines[13])
	packed, _ := (&oracle.Msg{Answer: []oracle.RR{rr}}).Pack()
	m, err := Parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Answers[0].Value().(DNSKEY).Tag(), rr.(*oracle.DNSKEY).KeyTag(); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}

func seeds(f *testing.F) {
	rrs := oracleRecords(f)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		b, _ := oracleMessage(r, rrs).Pack()
		f.Add(b)
	}
	f.Add([]byte{})
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		once, err := m.Append(nil)
		if err != nil {
			return // larger without the sender's compression
		}
		again, err := Parse(once)
		if err != nil {
			t.Fatalf("%v\n%x\n%x", err, b, once)
		}
		m.Trailing = 0
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("%#v\n%#v", m, again)
		}
		twice, err := again.Append(nil)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%v\n%x\n%x", err, once, twice)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("www.example.com.")
	f.Add(`a\.b\000\\.c`)
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		if back, err := ParseName(n.String()); err != nil || back != n {
			t.Fatalf("%q: %q, %v", s, n.String(), err)
		}
	})
}

func benchMessage(b *testing.B) []byte {
	m := new(oracle.Msg)
	m.SetQuestion("www.example.com.", oracle.TypeA)
	m.Response, m.Compress = true, true
	for _, line := range []string{"www.example.com. 60 IN CNAME cdn.example.net.", "cdn.example.net. 60 IN A 192.0.2.1", "cdn.example.net. 60 IN A 192.0.2.2", "cdn.example.net. 60 IN A 192.0.2.3"} {
		rr, _ := oracle.NewRR(line)
		m.Answer = append(m.Answer, rr)
	}
	m.SetEdns0(1232, false)
	packed, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	return packed
}

func BenchmarkParse(b *testing.B) {
	packed := benchMessage(b)
	b.Run("peel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Parse(packed)
		}
	})
	b.Run("peel, memory used again", func(b *testing.B) {
		b.ReportAllocs()
		var m Message
		for b.Loop() {
			_ = m.Unpack(packed)
		}
	})
	b.Run("miekg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = new(oracle.Msg).Unpack(packed)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	packed := benchMessage(b)
	m, _ := Parse(packed)
	theirs := new(oracle.Msg)
	_ = theirs.Unpack(packed)
	theirs.Compress = true
	buf := make([]byte, 0, 1500)
	b.Run("peel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = m.Append(buf)
		}
	})
	b.Run("miekg", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = theirs.PackBuffer(buf[:cap(buf)])
		}
	})
}
