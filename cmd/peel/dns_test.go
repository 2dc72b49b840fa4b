package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peel/dns"
	"peel/dns/dnssec"
	nameserver "peel/dns/server"
	"peel/dns/zone"
	"peel/internal/needs"
)

// smallInternet serves a signed root, a TLD and a zone with two servers on
// addresses of the loopback network, all on one port, and returns the port
// and the files for --root-hints and --trust-anchor.
func smallInternet(t *testing.T, secondSerial uint32) (port, hints, anchor string) {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	sign := func(origin, text string) ([]dns.Resource, dns.Resource) {
		name := dns.MustName(origin)
		records, err := zone.Read(strings.NewReader(text), origin, zone.ReadOptions{Origin: name})
		if err != nil {
			t.Fatal(err)
		}
		s, err := dnssec.NewSigner(name, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := s.SignZone(records, 60, now.Add(-time.Hour), now.Add(time.Hour), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return signed, s.DS(300)
	}
	const leaf = "$TTL 300\n@ SOA ns1 root %d 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 A 127.54.0.3\nns2 A 127.54.0.4\nwww CNAME web\nweb A 192.0.2.1\n*.wild TXT x\n"
	example, exampleDS := sign("example.test", fmt.Sprintf(leaf, 7))
	second, err := zone.Read(strings.NewReader(fmt.Sprintf(leaf, secondSerial)), "second", zone.ReadOptions{Origin: dns.MustName("example.test")})
	if err != nil {
		t.Fatal(err)
	}
	if secondSerial == 7 {
		second = example
	}
	tld, tldDS := sign("test", "$TTL 300\n@ SOA ns root 1 2 3 4 60\n@ NS ns\nns A 127.54.0.2\nexample NS ns1.example\nexample NS ns2.example\n"+
		"ns1.example A 127.54.0.3\nns2.example A 127.54.0.4\nplain NS ns1.example\n"+exampleDS.String()+"\n")
	root, rootDS := sign(".", "$TTL 300\n. SOA a.root. h. 1 2 3 4 60\n. NS a.root.\na.root. A 127.54.0.1\ntest. NS ns.test.\nns.test. A 127.54.0.2\n"+tldDS.String()+"\n")
	p := uint16(0)
	for _, s := range []struct {
		at, origin string
		records    []dns.Resource
	}{{"127.54.0.1", ".", root}, {"127.54.0.2", "test", tld}, {"127.54.0.3", "example.test", example}, {"127.54.0.4", "example.test", second}} {
		z, err := zone.New(dns.MustName(s.origin), s.records...)
		if err != nil {
			t.Fatal(err)
		}
		ns := &nameserver.Server{Zones: zone.NewServer()}
		ns.Zones.Put(z)
		if s.at == "127.54.0.3" { // an unsigned zone below a signed one
			plain, err := zone.New(dns.MustName("plain.test"), dns.NewResource(dns.MustName("plain.test"), 60, dns.NS{Host: dns.MustName("ns.plain.test")}),
				dns.NewResource(dns.MustName("a.plain.test"), 60, dns.A{Addr: netip.MustParseAddr("192.0.2.7")}))
			if err != nil {
				t.Fatal(err)
			}
			ns.Zones.Put(plain)
		}
		udp, tcp, err := nameserver.Listen(context.Background(), netip.AddrPortFrom(netip.MustParseAddr(s.at), p))
		if err != nil {
			needs.Missing(t, "%s: %v", s.at, err) // not every system has all of 127/8
		}
		p = uint16(tcp.Addr().(*net.TCPAddr).Port)
		go ns.ServeUDP(udp)
		go ns.ServeTCP(tcp)
		t.Cleanup(ns.Close)
	}
	hints, anchor = filepath.Join(dir, "hints"), filepath.Join(dir, "anchor")
	os.WriteFile(hints, []byte(". 300 NS a.root.\na.root. 300 A 127.54.0.1\n"), 0o644)
	os.WriteFile(anchor, []byte(rootDS.String()+"\n"), 0o644)
	return fmt.Sprint(p), hints, anchor
}

func TestDNSWalk(t *testing.T) {
	port, hints, anchor := smallInternet(t, 7)
	out, stderr, code := runPeel(t, "dns", "www.example.test", "A", "--walk", "-v", "--root-hints", hints, "--trust-anchor", anchor, "--root-port", port)
	for _, want := range []string{
		"referral to test.: ns.test (glue 127.54.0.2)", "referral to example.test.: ns1.example.test (glue 127.54.0.3), ns2.example.test (glue 127.54.0.4)",
		"alias: CNAME web.example.test.", "DNSSEC secure: every part is signed, up to a trust anchor", "192.0.2.1", "not asked: ns", "they agree", "serial 7", "DNSKEY",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, stderr)
		}
	}
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	var j []walkJSON
	out, _, _ = runPeel(t, "dns", "a.plain.test", "--walk", "--json", "--root-hints", hints, "--trust-anchor", anchor, "--root-port", port)
	if err := json.Unmarshal([]byte(out), &j); err != nil || len(j) != 1 || j[0].Security != "insecure" ||
		len(j[0].Answers) != 1 || len(j[0].Steps) < 3 || !strings.Contains(j[0].Reason, "plain.test is not signed") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, _ = runPeel(t, "dns", "nobody.example.test", "--walk", "--root-hints", hints, "--trust-anchor", anchor, "--root-port", port)
	if !strings.Contains(out, "NXDOMAIN") || !strings.Contains(out, "DNSSEC secure") {
		t.Error(out)
	}
}

func TestDNSWalkFindsServersThatDisagree(t *testing.T) {
	port, hints, _ := smallInternet(t, 8)
	out, _, code := runPeel(t, "dns", "a.plain.test", "A", "--walk", "--root-hints", hints, "--root-port", port)
	if code != 1 || !strings.Contains(out, "the zone above names other servers than plain.test. itself: ns1.example.test; and ns.plain.test") {
		t.Errorf("exit %d\n%s", code, out)
	}
	out, _, code = runPeel(t, "dns", "web.example.test", "A", "--walk", "--root-hints", hints, "--root-port", port)
	if code != 1 || !strings.Contains(out, "another version than ns1.example.test (serial 7)") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestDNSStoryInTheLab(t *testing.T) {
	out, _, code := runPeel(t, "dns", "--lab", "www.example.com")
	for _, want := range []string{"2 addresses", "rule 6", "alias www.example.com → example.com", "musl   does not read nsswitch.conf"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	out, _, code = runPeel(t, "dns", "--lab", "nobody.example.com")
	if code != 1 || !strings.Contains(out, "name_not_found") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

func TestRFC5890_NamesOfOtherLettersAreAskedInASCII(t *testing.T) {
	for _, args := range [][]string{{"dns", "--lab", "bücher.example.com", "A"}, {"dns", "--lab", "bücher.example.com"}} {
		out, stderr, _ := runPeel(t, args...)
		if !strings.Contains(out, ";; bücher.example.com is xn--bcher-kva.example.com in DNS (IDNA)\n") || strings.Contains(out, `\195`) {
			t.Errorf("%v:\n%s%s", args, out, stderr)
		}
	}
	if out, _, _ := runPeel(t, "dns", "--lab", "bücher.example.com", "A"); !strings.Contains(out, "question: xn--bcher-kva.example.com. IN A") {
		t.Error(out)
	}
}

func TestDNSUsage(t *testing.T) {
	for args, want := range map[string]string{
		"dns": "needs a NAME", "dns example.com BOGUS": "no record type", "dns -x example.com": "takes an address",
		"dns a --https foo": "takes a URL", "dns a --https http://127.0.0.1/": "takes a URL", "dns a --subnet x": "takes a prefix",
		"dns --cache --flush bad..name": "bad..name", "dns --cache bad..name": "bad..name",
		"dns www.example.com --lab --walk": "delegates nothing", "dns b\xfccher.example.com A": "no UTF-8", "dns --lab --cache": "keeps no cache",
		"serve": "what to serve", "serve dns": "needs --zone",
	} {
		if _, stderr, code := runPeel(t, strings.Fields(args)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

func TestRFC1035_3_5_ReverseNames(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "1.2.0.192.in-addr.arpa.", "2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if got, err := reverseName(in); err != nil || got != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

func runPeel(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	r := finish(t, peelCommand(t, args...))
	return r.stdout, r.stderr, r.code
}

func TestSearchNote(t *testing.T) {
	for host, want := range map[string]string{"www": "first", "www.example.com": "after the name itself", "www.": "final dot"} {
		if got := searchNote(host, 1); !strings.Contains(got, want) {
			t.Errorf("%s: %s", host, got)
		}
	}
}

// What is written beside the screen is its owner's alone.
func TestFilesOfDNSAreTheOwners(t *testing.T) {
	for _, args := range [][]string{{"www.example.com"}, {"example.com", "A"}} {
		file := filepath.Join(t.TempDir(), "t.json")
		if r := plain(t, append([]string{"dns", "--lab", "--json=" + file}, args...)...); r.code != exitDone {
			t.Errorf("%v: exit %d, %s", args, r.code, r.stderr)
		}
		if i, err := os.Stat(file); err != nil || i.Mode().Perm() != 0o600 || i.Size() == 0 {
			t.Errorf("%v: %v, %v", args, i, err)
		}
	}
}
