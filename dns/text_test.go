package dns

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"strings"
	"testing"

	oracle "github.com/miekg/dns"

	"peel/internal/needs"
)

// typeLines holds records of every type with a form, beside zoneLines.
var typeLines = []string{
	`h.example.com. 60 IN MB mail.example.com.`,
	`h.example.com. 60 IN MG mail.example.com.`,
	`h.example.com. 60 IN MR mail.example.com.`,
	`h.example.com. 60 IN MINFO a.example.com. b.example.com.`,
	`h.example.com. 60 IN HINFO "PDP-11" "UNIX \"V7\""`,
	`h.example.com. 60 IN RP ada.example.com. txt.example.com.`,
	`h.example.com. 60 IN AFSDB 1 afs.example.com.`,
	`h.example.com. 60 IN X25 311061700956`,
	`h.example.com. 60 IN RT 10 relay.example.com.`,
	`h.example.com. 60 IN GPOS -32.6882 116.8652 10.0`,
	`h.example.com. 60 IN LOC 42 21 54.000 N 71 06 18.000 W -24.00m 30m 10000m 10m`,
	`h.example.com. 60 IN LOC 52 0 0.123 S 105 0 0.000 E 0.00m 1m 10000m 10m`,
	`h.example.com. 60 IN NAPTR 100 50 "s" "http+I2L" "!^.*$!x!" _http._tcp.example.com.`,
	`h.example.com. 60 IN PX 10 map822.example. mapx400.example.`,
	`h.example.com. 60 IN KX 10 kx.example.com.`,
	`h.example.com. 60 IN CERT PKIX 12345 8 AQIDBA==`,
	`h.example.com. 60 IN APL 1:192.0.2.0/24 !1:192.0.2.128/25 2:2001:db8::/32`,
	`h.example.com. 60 IN IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==`,
	`h.example.com. 60 IN IPSECKEY 10 3 2 gw.example.com. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==`,
	`h.example.com. 60 IN DHCID AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=`,
	`0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 60 IN NSEC3 1 1 12 AABBCCDD 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S A RRSIG`,
	`0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.com. 60 IN NSEC3 1 0 0 - 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S`,
	`example.com. 60 IN NSEC3PARAM 1 0 12 AABBCCDD`,
	`_443._tcp.example.com. 60 IN TLSA 3 1 1 0D6FCE3B3E5C9DE7BC0A9F2F1B3C1C0A0D6FCE3B3E5C9DE7BC0A9F2F1B3C1C0A`,
	`h.example.com. 60 IN SMIMEA 3 0 0 AABBCC`,
	`h.example.com. 60 IN HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMzxTs9LBPCIkOFH8cIvM4p9+LrV4e19WzK00+CI6zBCQTdtWsuxKbWIy87UOoJTwkUs7lBu+` +
		`Upr1gsNrut79ryra+bSRGQb1slImA8YVJyuIDsj7kwzG7jnERNqnWxZ48AWkskmdHaVDP4BcelrTI3rMXdXF5D rvs.example.com.`,
	`h.example.com. 60 IN NINFO "x" "y"`,
	`h.example.com. 60 IN TALINK . h1.example.com.`,
	`example.com. 60 IN CDS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D`,
	`example.com. 60 IN CDNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==`,
	`h.example.com. 60 IN OPENPGPKEY AQIDBAUG`,
	`example.com. 60 IN CSYNC 66 3 A NS AAAA`,
	`example.com. 60 IN ZONEMD 2018031900 1 1 C68090D90A7AED716BC459F9340E3D7C1370D4D24B7E2FC3A1DDC0B9A87153B9A9713B3C9AE5CC27777F98B8E730044C`,
	`h.example.com. 60 IN SPF "v=spf1 -all"`,
	`h.example.com. 60 IN NID 10 0014:4fff:ff20:ee64`,
	`h.example.com. 60 IN L32 10 10.1.2.0`,
	`h.example.com. 60 IN L64 10 2001:0db8:1140:1000`,
	`h.example.com. 60 IN LP 10 l64.example.com.`,
	`h.example.com. 60 IN EUI48 00-00-5e-00-53-2a`,
	`h.example.com. 60 IN EUI64 00-00-5e-ef-10-00-00-2a`,
	`h.example.com. 60 IN URI 10 1 "ftp://ftp1.example.com/public"`,
	`h.example.com. 60 IN AVC "app-name:WOLFGANG"`,
	`h.example.com. 60 IN AMTRELAY 10 0 2 2001:db8::15`,
	`h.example.com. 60 IN AMTRELAY 128 0 3 amt.example.com.`,
	`h.example.com. 60 IN SVCB 1 foo.example.com. alpn="h2,h3-19" mandatory=ipv4hint,alpn ipv4hint=192.0.2.1`,
	`h.example.com. 60 IN SVCB 16 foo.example.org. key667="hello\210qoo"`,
	`h.example.com. 60 IN HTTPS 1 . port=8002 ech="AEX+DQA=" dohpath="/dns-query{?dns}"`,
}

// words parts a line as written here: white space outside of quotation marks.
func words(line string) []Token {
	var out []Token
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			end := 1
			for end < len(line) && line[end] != '"' {
				if line[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(line)-1)
			out = append(out, Token{line[1:end], true})
			line = line[end+1:]
			continue
		}
		end := 0
		for in := false; end < len(line) && (in || line[end] != ' '); end++ {
			switch line[end] {
			case '"':
				in = !in
			case '\\':
				end++
			}
		}
		end = min(end, len(line))
		out = append(out, Token{line[:end], false})
		line = line[end:]
	}
	return out
}

// wireOf packs a record with the oracle and cuts its data out.
func wireOf(t *testing.T, line string) (Type, string) {
	t.Helper()
	rr, err := oracle.NewRR(line)
	if err != nil {
		t.Fatalf("oracle: %s: %v", line, err)
	}
	buf := make([]byte, 4096)
	n, err := oracle.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("oracle: %s: %v", line, err)
	}
	at := nameLength(string(buf[:n]))
	size := int(binary.BigEndian.Uint16(buf[at+8:]))
	return Type(rr.Header().Rrtype), string(buf[at+10 : at+10+size])
}

// Data written as text is the same octets to us and to the oracle, and what
// we print the oracle reads back as those octets.
func TestRFC1035_5_1_TextOfEveryTypeAgainstAnotherImplementation(t *testing.T) {
	seen := map[Type]bool{}
	for _, line := range append(zoneLines[:len(zoneLines):len(zoneLines)], typeLines...) {
		typ, want := wireOf(t, line)
		seen[typ] = true
		got, err := ParseData(typ, ClassIN, words(line)[4:], Name{})
		if err != nil || got != want {
			t.Errorf("%s:\nours  %x, %v\nwant  %x", line, got, err, want)
			continue
		}
		rr := Resource{Name: MustName("h.example.com"), Type: typ, Class: ClassIN, TTL: 60, Data: got}
		if _, back := wireOf(t, rr.String()); back != want {
			t.Errorf("%s\nis read back as %x, want %x", rr, back, want)
		}
		again, err := ParseData(typ, ClassIN, words(rr.Text()), Name{})
		if err != nil || again != want {
			t.Errorf("%s: %v\nours again %x\nwant       %x", rr, err, again, want)
		}
	}
	for i := range forms {
		// Not known to the oracle, or never written as text.
		skip := map[Type]bool{TypeOPT: true, 3: true, 4: true, 20: true, 11: true, 22: true, 23: true, 24: true, 25: true, 66: true, 67: true, 68: true, 261: true, 262: true}
		if forms[i].fields != nil && !seen[Type(i)] && !skip[Type(i)] {
			t.Errorf("no line for type %s", Type(i))
		}
	}
}

// RFC 8777 §4.3.1: the discovery bit, which the oracle does not read.
func TestRFC8777_DiscoveryBit(t *testing.T) {
	got, err := ParseData(260, ClassIN, words("10 1 1 192.0.2.1"), Name{})
	if text := (Resource{Type: 260, Class: ClassIN, Data: got}).Text(); got != "\x0a\x81\xc0\x00\x02\x01" || text != "10 1 1 192.0.2.1" || err != nil {
		t.Errorf("%x %s %v", got, text, err)
	}
}

func TestRFC3597_GenericText(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		text string
		want string // "" for an error
	}{
		{TypeA, `\# 4 C0000201`, "\xc0\x00\x02\x01"},
		{TypeA, `\# 5 C000020100`, ""},
		{Type(65280), `\# 3 ab cd 12`, "\xab\xcd\x12"},
		{Type(65280), `\# 0`, ""},
		{Type(65280), `\# 3 ab cd`, ""},
		{Type(65280), `abcd`, ""},
		{TypeMX, `\# 4 000a c00c`, ""},
	} {
		got, err := ParseData(c.typ, ClassIN, words(c.text), Name{})
		if got != c.want || (err != nil) != (c.want == "" && c.text != `\# 0`) {
			t.Errorf("%s %s: %x, %v", c.typ, c.text, got, err)
		}
	}
}

func TestTextErrorsNameTheToken(t *testing.T) {
	for _, c := range []struct {
		typ   Type
		text  string
		token int
		want  string
	}{
		{TypeA, "192.0.2.300", 0, "not an IPv4 address"},
		{TypeA, "2001:db8::1", 0, "not an IPv4 address"},
		{TypeA, "192.0.2.1 x", 1, "follows the end"},
		{TypeMX, "mail.example.", 0, "not a number"},
		{TypeMX, "10", 1, "name is missing"},
		{TypeSOA, "a. b. 1 2h 3 4d 5y", 6, "time"},
		{TypeTXT, "", 0, "missing"},
		{TypeNSEC, "a. A B", 2, `"B" is not known`},
		{TypeHTTPS, "1 . alpn=h2 alpn=h3", 3, "twice"},
		{TypeHTTPS, "1 . port=x", 2, "no port"},
		{TypeHTTPS, "1 . ipv4hint=2001:db8::1", 2, "no address"},
		{29, "91 0 0 N 0 0 0 E 0m", 4, "position"},
		{29, "42 N 71 W", 4, "altitude"},
		{TypeDS, "1 8 2 xyz", 3, "invalid byte"},
		{42, "1:192.0.2.0/33", 0, "prefix"},
		{45, "10 9 2 . AQID", 3, "gateway type 9"},
	} {
		_, err := ParseData(c.typ, ClassIN, words(c.text), Name{})
		e, ok := err.(*TokenError)
		if !ok || e.Token != c.token || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s %s: %#v", c.typ, c.text, err)
		}
	}
}

func TestRFC4034_6_1_CanonicalOrder(t *testing.T) {
	names := []string{"example", "a.example", "yljkjljk.a.example", "Z.a.example", "zABC.a.EXAMPLE", "z.example", `\001.z.example`, "*.z.example", `\200.z.example`}
	for i, a := range names {
		for j, b := range names {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := MustName(a).Compare(MustName(b)); got != want {
				t.Errorf("%s to %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

// FuzzText: what is read from text prints as text that is read the same.
func FuzzText(f *testing.F) {
	for _, line := range append(zoneLines[:len(zoneLines):len(zoneLines)], typeLines...) {
		w := words(line)
		typ, _ := ParseType(w[3].Text)
		f.Add(uint16(typ), strings.Join(strings.Fields(line)[4:], " "))
	}
	f.Fuzz(func(t *testing.T, typ uint16, text string) {
		var tokens []Token
		for _, w := range strings.Fields(text) {
			tokens = append(tokens, Token{Text: strings.Trim(w, `"`), Quoted: strings.HasPrefix(w, `"`)})
		}
		data, err := ParseData(Type(typ), ClassIN, tokens, Name{})
		if err != nil {
			return
		}
		rr := Resource{Type: Type(typ), Class: ClassIN, Data: data}
		again, err := ParseData(Type(typ), ClassIN, words(rr.Text()), Name{})
		if err != nil || again != data {
			t.Fatalf("%s: %v\n%x\n%x", rr, err, data, again)
		}
	})
}

// BIND reads what we print and prints the same octets.
func TestBINDReadsOurText(t *testing.T) {
	compile := needs.Tool(t, "named-compilezone")
	var zone bytes.Buffer
	zone.WriteString("example.com. 60 IN SOA ns.example.com. root.example.com. 1 2 3 4 5\nexample.com. 60 IN NS ns.example.com.\nns.example.com. 60 IN A 192.0.2.1\n")
	want := map[string]int{}
	for i, line := range typeLines {
		typ, _ := wireOf(t, line)
		data, err := ParseData(typ, ClassIN, words(line)[4:], Name{})
		if err != nil {
			t.Fatal(line, err)
		}
		owner := MustName("h" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".example.com")
		if typ == 63 || typ == TypeCSYNC || typ == TypeCDS || typ == TypeCDNSKEY || typ == TypeNSEC3 || typ == TypeNSEC3PARAM {
			continue // BIND holds these against the zone
		}
		rr := Resource{Name: owner, Type: typ, Class: ClassIN, TTL: 60, Data: data}
		zone.WriteString(rr.String() + "\n")
		want[owner.String()+typ.String()+data]++
	}
	cmd := exec.Command(compile, "-k", "ignore", "-i", "none", "-n", "ignore", "-r", "ignore", "-o", "-", "-f", "text", "-s", "full", "example.com", "/dev/stdin")
	cmd.Stdin = &zone
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stderr.Bytes(), out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		w := words(strings.ReplaceAll(line, "\t", " "))
		if len(w) < 5 || w[3].Text == "SOA" || w[3].Text == "NS" || w[3].Text == "A" {
			continue
		}
		typ, _ := ParseType(w[3].Text)
		data, err := ParseData(typ, ClassIN, w[4:], Name{})
		if err != nil {
			t.Errorf("BIND's line %s: %v", line, err)
			continue
		}
		k := w[0].Text + typ.String() + data
		if want[k]--; want[k] < 0 {
			t.Errorf("BIND has %s", line)
		}
	}
	for k, n := range want {
		if n > 0 {
			t.Errorf("BIND does not have %q", k)
		}
	}
}
