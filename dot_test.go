package peel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"peel"
	"peel/dns"
	dnsclient "peel/dns/client"
	"peel/evidence/capture"
	"peel/internal/needs"
	"peel/internal/pki"
	"peel/trace"
)

// DNS over TLS is read with the keys of the connection, whatever its port.
func TestRFC7858_LookupsInsideTLS(t *testing.T) {
	needs.Root(t)
	authority, err := pki.NewAuthority("test", true, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Issue(pki.Leaf{Names: []string{"dns.test"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{leaf}, NextProtos: []string{"dot"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	faultyStreams(l)
	recording, err := peel.Record(peel.RecordOptions{Packets: peel.NeedPackets, Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := recording.Store(&file, capture.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	var keys bytes.Buffer
	c := &dnsclient.Client{Network: recording.Network(), TLS: &tls.Config{RootCAs: authority.Pool(), KeyLogWriter: &keys}, Timeout: patience}
	for i, host := range []string{"www.good.test", "nope.test"} {
		q := &dns.Message{Header: dns.Header{ID: uint16(i + 1), RecursionDesired: true}, Questions: []dns.Question{{Name: dns.MustName(host), Type: dns.TypeA, Class: dns.ClassIN}}}
		if _, err := c.Do(context.Background(), dnsclient.Server{Addr: netip.MustParseAddrPort(l.Addr().String()), Transport: dnsclient.TLS, Name: "dns.test"}, q); err != nil {
			t.Fatal(err)
		}
	}
	if err := recording.Close(); err != nil {
		t.Fatal(err)
	}
	rd := peel.NewReading(peel.ReadOptions{})
	defer rd.Close()
	rd.KeyLog(keys.Bytes())
	if err := rd.Open(context.Background(), &file); err != nil {
		t.Fatal(err)
	}
	for rd.Next() {
	}
	rd.Close()
	tr := rd.Trace()
	var got []string
	for _, l := range tr.Lookups {
		for _, s := range l.Steps {
			got = append(got, l.Name+" "+s.Transport+" "+string(s.Outcome))
		}
	}
	if len(got) != 2 || got[0] != "www.good.test tls answer" || got[1] != "nope.test tls no_name" {
		t.Errorf("%q", got)
	}
	if f := told(tr); len(f) != 1 || f[0] != "error DNS-NXDOMAIN: nope.test does not exist" {
		t.Error(f)
	}
	for _, c := range tr.Connections {
		if c.Protocol != trace.ProtocolDNS {
			t.Errorf("connection %d speaks %s", c.ID, c.Protocol)
		}
	}
}
