package analyze

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"peel/dns"
	"peel/evidence/capture"
	"peel/trace"
)

// Where the checksum of UDP and the flags of DNS stand in a packet.
const udpChecksum, flags = 14 + 20 + 6, 14 + 20 + 8 + 2

func dnsCapture(t *testing.T, name string) []capture.Record {
	t.Helper()
	b, err := os.ReadFile("testdata/dns/" + name + ".pcap")
	if err != nil {
		t.Fatal(err)
	}
	list := records(t, b)
	if len(list) == 0 {
		t.Fatalf("%s has no packets", name)
	}
	return list
}

// answering returns the records with another response code in each response.
func answering(list []capture.Record, codes ...dns.Rcode) []capture.Record {
	var out []capture.Record
	for _, r := range list {
		if r.Kind == capture.Packet && r.Data[flags]&0x80 != 0 && len(codes) > 0 {
			r.Data = bytes.Clone(r.Data)
			r.Data[udpChecksum], r.Data[udpChecksum+1] = 0, 0
			r.Data[flags+1] = r.Data[flags+1]&0xf0 | byte(codes[0])
			codes = codes[1:]
		}
		out = append(out, r)
	}
	return out
}

// iterative returns the records with no query that desires recursion.
func iterative(list []capture.Record) []capture.Record {
	var out []capture.Record
	for _, r := range list {
		if r.Kind == capture.Packet {
			r.Data = bytes.Clone(r.Data)
			r.Data[udpChecksum], r.Data[udpChecksum+1] = 0, 0
			r.Data[flags] &^= 1
		}
		out = append(out, r)
	}
	return out
}

// A lookup that only packets show fails in the words of one whose resolver
// says why.
func TestFailureOfLookupInPackets(t *testing.T) {
	nope := dnsCapture(t, "nxdomain")
	queries := slices.DeleteFunc(slices.Clone(nope), func(r capture.Record) bool {
		return r.Kind == capture.Packet && r.Data[flags]&0x80 != 0
	})
	for _, c := range []struct {
		what   string
		list   []capture.Record
		code   trace.FailureCode
		seen   string
		answer string // an address
	}{
		{"both NXDOMAIN", nope, trace.FailNameNotFound, "nope.test: the name does not exist (asked 127.0.0.9:53)", ""},
		{"both SERVFAIL", answering(nope, dns.RcodeServFail, dns.RcodeServFail), trace.FailServerFailure, "127.0.0.9:53 said SERVFAIL", ""},
		{"both REFUSED", answering(nope, dns.RcodeRefused, dns.RcodeRefused), trace.FailRefused, "127.0.0.9:53 said REFUSED", ""},
		{"both empty", answering(nope, 0, 0), trace.FailNoData, "has no A record of nope.test", ""},
		{"one empty, one SERVFAIL", answering(nope, 0, dns.RcodeServFail), trace.FailServerFailure, "said SERVFAIL", ""},
		{"one SERVFAIL, one NXDOMAIN", answering(nope, dns.RcodeServFail), trace.FailNameNotFound, "NXDOMAIN", ""},
		{"one not answered", nope[:len(nope)-1], "", "", ""},
		{"of a recursor", iterative(nope), "", "", ""},
		{"none answered", queries, "", "", ""},
		{"FORMERR, then an address", dnsCapture(t, "formerr-then-address"), "", "", "127.0.0.1"},
		{"SERVFAIL beside an address", dnsCapture(t, "aaaa-servfail"), "", "", "127.0.0.1"},
	} {
		l := whole(t, c.list).Lookups
		if len(l) != 1 {
			t.Errorf("%s: %d lookups", c.what, len(l))
			continue
		}
		switch f := l[0].Failure; {
		case c.code == "" && f != nil:
			t.Errorf("%s: failed: %+v", c.what, *f)
		case c.code != "" && (f == nil || f.Code != c.code || !strings.Contains(f.Seen, c.seen) || f.Try == ""):
			t.Errorf("%s: %+v, want %s: %s", c.what, f, c.code, c.seen)
		}
		if c.answer != "" && (len(l[0].Addresses) != 1 || l[0].Addresses[0].IP.String() != c.answer) {
			t.Errorf("%s: addresses %v", c.what, l[0].Addresses)
		}
	}
}
