package zone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peel/dns"
	"peel/internal/needs"
)

// everything uses all of the syntax that BIND knows as well.
const everything = `; a comment first
$TTL 1h30m
@   IN  SOA ns1 host\.master ( 2026112101 ; serial
        2h      ; refresh
        15m 4w  ; retry, expire
        1h )
        NS      ns1
    5400 IN NS   ns2.example.net.
    IN 600 MX   10 mail
ns1     A       192.0.2.1 ; the same line
        AAAA    2001:db8::1
mail    60 A    192.0.2.2
$ORIGIN sub.example.com.
@       A       192.0.2.3
www     CNAME   @
deep.er TXT     "one string" two "with \"quotes\" and \; semicolon" \065\066 "par(en)s"
long    TXT     ( "over"
                  "lines" ) ; and a comment ) (
        HINFO   PDP-11 UNIX
$ORIGIN example.com.
$TTL 2d
*.wild  A       192.0.2.4
a\.dot  A       192.0.2.5
under_score._tcp SRV 0 5 5060 sip
UPPER   A       192.0.2.6
generic TYPE65280 \# 4 0A000001
gen2    A       \# 4 C0000207
deleg   NS      ns.deleg
ns.deleg A      192.0.2.8
$GENERATE 1-3 host$ A 10.0.0.$
$GENERATE 0-4/2 dhcp-${100,4,d} 30 IN CNAME host${0,2,x}.pool
$GENERATE 7-9 x$$-$ TXT item$
$INCLUDE included.zone inc
after   A       192.0.2.9
        TXT     "owner stays after the include"
tlsa    TLSA    3 1 1 ( 0D6FCE3B3E5C9DE7BC0A9F2F1B3C1C0A
                        0D6FCE3B3E5C9DE7BC0A9F2F1B3C1C0A )
svc     HTTPS   1 . alpn="h2,h3" port=8443
last    A       192.0.2.10`

const included = `one A 192.0.2.11
$ORIGIN below
two A 192.0.2.12
@ TXT "at"
`

func opener(files map[string]string) func(string) (io.ReadCloser, error) {
	return func(name string) (io.ReadCloser, error) {
		text, ok := files[name]
		if !ok {
			return nil, fmt.Errorf("open %s: no such file", name)
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
}

func lines(records []dns.Resource) []string {
	var out []string
	for _, rr := range records {
		out = append(out, fmt.Sprintf("%s %d %s %s %x", rr.Name.Fold(), rr.TTL, rr.Class, rr.Type, rr.Data))
	}
	slices.Sort(out)
	return out
}

// BIND compiles the same file to one record a line; both have the same
// records. ldns reads what it can of it.
func TestRFC1035_5_ZoneFileAgainstBIND(t *testing.T) {
	compile := needs.Tool(t, "named-compilezone")
	origin := dns.MustName("example.com")
	ours, err := Read(strings.NewReader(everything), "example.zone", ReadOptions{Origin: origin, Open: opener(map[string]string{"included.zone": included})})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"example.zone": everything + "\n", "included.zone": included} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(compile, "-k", "ignore", "-i", "none", "-n", "ignore", "-r", "ignore", "-o", "-", "-f", "text", "-s", "full", "example.com", "example.zone")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stderr.Bytes(), out)
	}
	theirs, err := Read(bytes.NewReader(out), "bind", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := lines(ours), lines(theirs)
	for _, l := range a {
		if !slices.Contains(b, l) {
			t.Errorf("only ours: %s", l)
		}
	}
	for _, l := range b {
		if !slices.Contains(a, l) {
			t.Errorf("only BIND's: %s", l)
		}
	}
	if len(a) < 35 {
		t.Errorf("only %d records", len(a))
	}
}

// What we print, ldns reads as the same zone.
func TestLDNSReadsOurZones(t *testing.T) {
	read := needs.Tool(t, "ldns-read-zone")
	ours, err := Read(strings.NewReader(everything), "example.zone", ReadOptions{Origin: dns.MustName("example.com"), Open: opener(map[string]string{"included.zone": included})})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "zone")
	var text strings.Builder
	for _, rr := range ours {
		if rr.Type != dns.TypeHTTPS { // not in every ldns
			text.WriteString(rr.String() + "\n")
		}
	}
	os.WriteFile(file, []byte(text.String()), 0o644)
	out, err := exec.Command(read, "-c", file).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	theirs, err := Read(bytes.NewReader(out), "ldns", ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := lines(theirs)
	for _, l := range lines(ours) {
		if !slices.Contains(b, l) && !strings.Contains(l, " HTTPS ") {
			t.Errorf("ldns does not have %s", l)
		}
	}
}

func TestZoneFileErrorsSayWhere(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a A 192.0.2.1\n", "z:1:1: the record has no TTL"},
		{"$TTL 60\na A 192.0.2.300\n", `z:2:5: A: "192.0.2.300" is not an IPv4 address`},
		{"$TTL 60\n  A 192.0.2.1\n", "z:2:3: a record without an owner name"},
		{"$TTL 60\na IN\n", "z:2:1: the record has no type"},
		{"$TTL 60\na IN BOGUS x\n", `z:2:6: "BOGUS" is no record type`},
		{"$TTL 60\na A ( 192.0.2.1\nb A 192.0.2.2\n", "z:2:5: a parenthesis is not closed"},
		{"$TTL 60\na A 192.0.2.1 )\n", "z:2:15: a parenthesis is closed that was not opened"},
		{"$TTL 60\na TXT \"open\nb A 192.0.2.2\n", "z:2:7: a quotation mark is not closed"},
		{"$TTL x\n", "z:1:6: time"},
		{"$FOO x\n", `z:1:1: "$FOO" is not a directive`},
		{"$INCLUDE self\n", "files include each other"},
		{"$INCLUDE none\n", "z:1:10: open none: no such file"},
		{"$TTL 60\n$GENERATE 9-1 a$ A 10.0.0.$\n", "z:2:11:"},
		{"$TTL 60\n$GENERATE 0-2147483647 a$ A 10.0.0.1\n", "more than 1048576 records"},
		{"$TTL 60\na SOA a. b. 1 2\n", "is missing"},
		{"$TTL 60\n" + strings.Repeat("a", 64) + " A 192.0.2.1\n", "z:2:1: name"},
		{"$TTL 60\na A 192.0.2.1 \"x\"\n", `z:2:15: A: "x" follows the end`},
		{"$TTL 60\na TYPE255 \\# 0\n", "does not stand in zones"},
		{"$TTL 60\na TXT (" + strings.Repeat(" x", 600_000) + ")\n", "longer than"},
	} {
		_, err := Read(strings.NewReader(c.text), "z", ReadOptions{Open: opener(map[string]string{"self": "$INCLUDE self\n"})})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v\nwant %s", c.text, err, c.want)
		}
	}
}

// An error does not end the reading: what follows is read, and all is told.
func TestZoneFileGoesOnBehindErrors(t *testing.T) {
	rrs, err := Read(strings.NewReader("$TTL 60\na A x\nb A 192.0.2.1\nc A y\nd A 192.0.2.2\n"), "z", ReadOptions{})
	var fe *FileError
	if len(rrs) != 2 || !errors.As(err, &fe) || fe.Line != 2 || !strings.Contains(err.Error(), "z:4:5") {
		t.Errorf("%v, %v", rrs, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(everything)
	f.Add("$GENERATE 1-4 a${1,2,n} A 10.0.0.$\n")
	f.Add("$TTL 1\na TXT ( \"x\" ; c\n y )\n")
	f.Fuzz(func(t *testing.T, text string) {
		origin := dns.MustName("example.com")
		rrs, err := Read(strings.NewReader(text), "z", ReadOptions{Origin: origin, Records: 2000, Open: opener(map[string]string{"included.zone": included})})
		if err != nil {
			return
		}
		// What was read prints as a file that is read the same.
		var b strings.Builder
		for _, rr := range rrs {
			b.WriteString(rr.String() + "\n")
		}
		again, err := Read(strings.NewReader(b.String()), "again", ReadOptions{})
		if err != nil || !slices.Equal(again, rrs) {
			t.Fatalf("%v\n%s", err, b.String())
		}
	})
}
