package explain

import (
	"net/netip"
	"testing"

	"peel/trace"
)

// Each finding by a connection that earns it, and none by one that does not.
func TestPacketFindings(t *testing.T) {
	at := func(ms int) trace.Time { return trace.Time(ms) * 1e6 }
	connected := at(10)
	one, nine := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")
	for _, c := range []struct {
		id     trace.FindingID
		conn   trace.Connection
		events []*trace.Event
	}{
		{"", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 500, Bytes: 1000, Retransmissions: 1}, Server: trace.SegmentSide{Segments: 500, Bytes: 100000}}}, nil},
		{"CONNECT-REFUSED", trace.Connection{ClosedBy: "reset", Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 1}, Server: trace.SegmentSide{Segments: 1}}}, nil},
		{"CONNECT-TIMEOUT", trace.Connection{Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 4, Retransmissions: 3}}}, nil},
		{"TCP-LOSS", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Server: trace.SegmentSide{Segments: 200, Bytes: 200000, Retransmissions: 6, Fast: 4}}}, nil},
		{"REORDER-DUP", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Server: trace.SegmentSide{Segments: 100, Bytes: 200000, OutOfOrder: 9}}}, nil},
		{"ZERO-WINDOW", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 100, ZeroWindows: 2}}},
			[]*trace.Event{{Time: at(100), Name: "tcp.zero_window", Direction: trace.Out}, {Time: at(900), Name: "tcp.zero_window", Direction: trace.Out}}},
		{"", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 100, ZeroWindows: 2}}},
			[]*trace.Event{{Time: at(100), Name: "tcp.zero_window", Direction: trace.Out}, {Time: at(101), Name: "tcp.zero_window", Direction: trace.Out}}},
		{"PMTU-REDUCED", trace.Connection{}, []*trace.Event{{Name: "icmp.error", Text: "10.0.0.1 → 10.0.0.2: fragmentation needed, next MTU 1400", ICMP: &trace.ICMP{Type: 3, Code: 4, NextMTU: 1400}}}},
		{"ARP-CONFLICT", trace.Connection{}, []*trace.Event{{Name: "arp.reply", ARP: &trace.ARP{Sender: nine, SenderMAC: "02:00:00:00:00:01"}}, {Name: "arp.reply", ARP: &trace.ARP{Sender: nine, SenderMAC: "02:00:00:00:00:02"}}}},
		{"", trace.Connection{}, []*trace.Event{{Name: "arp.reply", ARP: &trace.ARP{Sender: nine, SenderMAC: "02:00:00:00:00:01"}}, {Name: "arp.reply", ARP: &trace.ARP{Sender: nine, SenderMAC: "02:00:00:00:00:01"}}}},
		{"ARP-SILENCE", trace.Connection{}, []*trace.Event{{Name: "arp.request", ARP: &trace.ARP{Request: true, Sender: one, Target: nine}}, {Name: "arp.request", ARP: &trace.ARP{Request: true, Sender: one, Target: nine}}}},
		{"", trace.Connection{}, []*trace.Event{{Name: "arp.request", ARP: &trace.ARP{Request: true, Sender: one, Target: nine}}, {Name: "arp.request", ARP: &trace.ARP{Request: true, Sender: one, Target: nine}}, {Name: "arp.reply", ARP: &trace.ARP{Sender: nine, SenderMAC: "02:00:00:00:00:01"}}}},
		{"CAPTURE-GAP", trace.Connection{Segments: &trace.Segments{Missing: 10}}, nil},
		{"CAPTURE-DROPPED", trace.Connection{}, []*trace.Event{{Name: "capture.dropped", Text: "7 packets were dropped by the capture"}}},
		{"CAPTURE-DAMAGED", trace.Connection{}, []*trace.Event{{Name: "capture.damage", Text: "byte 7: …"}}},
		{"CHECKSUM-WRONG", trace.Connection{Segments: &trace.Segments{BadChecksums: 3}}, nil},
	} {
		c.conn.ID, c.conn.RemoteAddr = 1, netip.MustParseAddrPort("192.0.2.1:443")
		for i, e := range c.events {
			e.ID, e.Connection = i+1, 1
		}
		got := Findings(&trace.Trace{Connections: []*trace.Connection{&c.conn}, Events: c.events})
		switch {
		case c.id == "" && len(got) > 0:
			t.Errorf("%s where nothing is wrong: %s", got[0].ID, got[0].Title)
		case c.id != "" && (len(got) != 1 || got[0].ID != c.id || got[0].Title == "" || got[0].WhatToDo == ""):
			t.Errorf("want %s, got %+v", c.id, got)
		}
	}
}
