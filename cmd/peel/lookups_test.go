package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// dnsCapture is a capture of lookups that another program made.
func dnsCapture(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../evidence/analyze/testdata/dns", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A capture of DNS lists its lookups: what was asked, of whom, and what came.
func TestReadListsLookups(t *testing.T) {
	for file, c := range map[string]struct{ has, not []string }{
		"nxdomain.pcap": {
			has: []string{"nope.test AAAA,A", "AAAA NXDOMAIN; A NXDOMAIN", "127.0.0.9 udp", "2 queries", "error DNS-NXDOMAIN: nope.test does not exist"},
			not: []string{"no request was seen", "no data"}},
		"aaaa-servfail.pcap": {
			has: []string{"warning DNS-HALF-ANSWERED: AAAA of servfail6.test was answered with SERVFAIL, and A with an address"},
			not: []string{"error DNS"}},
		"formerr-then-address.pcap": {
			has: []string{"formerr.test. A to 127.0.0.9:53 over udp, attempt 1", "127.0.0.1 (TTL 60 s)", "FORMERR: the server could not read the query"},
			not: []string{"no_data", "DNS-"}},
	} {
		out, stderr, code := runPeel(t, "read", "--color", "never", dnsCapture(t, file))
		if code != 0 {
			t.Errorf("%s: exit %d, %s", file, code, stderr)
		}
		for _, want := range c.has {
			if !strings.Contains(unwrapped(out), want) {
				t.Errorf("%s: no %q in\n%s", file, want, out)
			}
		}
		for _, bad := range c.not {
			if strings.Contains(out, bad) {
				t.Errorf("%s: %q in\n%s", file, bad, out)
			}
		}
	}
}

// The line of a packet says what a DNS message asks, and what it answers.
func TestPacketsSayWhatTheyAskInDNS(t *testing.T) {
	out, _, _ := runPeel(t, "read", "--color", "never", "--packets", dnsCapture(t, "nxdomain.pcap"), "--redact=off")
	for _, want := range []string{":53 AAAA? nope.test", " A? nope.test", " A nope.test NXDOMAIN"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, _, _ = runPeel(t, "read", "--color", "never", "--packets", dnsCapture(t, "formerr-then-address.pcap")); !strings.Contains(out, " A formerr.test 127.0.0.1") {
		t.Errorf("no address in\n%s", out)
	}
}
