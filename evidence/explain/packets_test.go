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
	const mac1, mac2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
	claim := func(ms int, ip netip.Addr, mac string) *trace.Event {
		return &trace.Event{Time: at(ms), Name: "arp.reply", ARP: &trace.ARP{Sender: ip, SenderMAC: mac}}
	}
	asks := func(ms int, from, for_ netip.Addr, heard, there bool) *trace.Event {
		return &trace.Event{Time: at(ms), Name: "arp.request", ARP: &trace.ARP{Request: true, Sender: from, Target: for_, Heard: heard, TargetSpoke: there}}
	}
	for _, c := range []struct {
		id     trace.FindingID
		conn   trace.Connection
		events []*trace.Event
	}{
		{"", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 500, Bytes: 1000, Retransmissions: 1}, Server: trace.SegmentSide{Segments: 500, Bytes: 100000}}}, nil},
		{"CONNECT-REFUSED", trace.Connection{ClosedBy: "reset", ResetBy: trace.ByServer, Failure: &trace.Failure{Code: trace.FailConnectionRefused}}, nil},
		{"", trace.Connection{ClosedBy: "reset", ResetBy: trace.ByClient, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 2}, Server: trace.SegmentSide{Segments: 1}}}, nil},
		{"CONNECT-TIMEOUT", trace.Connection{Failure: &trace.Failure{Code: trace.FailConnectTimeout}, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 4, SYNs: 4}}},
			[]*trace.Event{{Name: "tcp.syn"}, {Name: "tcp.syn", Time: at(1000)}}},
		{"CONNECT-REJECTED", trace.Connection{Failure: &trace.Failure{Code: trace.FailRejected, Seen: "seen", Try: "try"}, Rejected: &trace.Rejection{From: nine, Type: 3, Code: 13}}, nil},
		{"CONNECT-UNREACHABLE", trace.Connection{Failure: &trace.Failure{Code: trace.FailUnreachable, Seen: "seen", Try: "try"}, Rejected: &trace.Rejection{From: nine, Type: 3, Code: 1}}, nil},
		{"TCP-LOSS", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Server: trace.SegmentSide{Segments: 200, Bytes: 200000, Retransmissions: 6, Fast: 4}}},
			[]*trace.Event{{Name: "tcp.retransmission", Direction: trace.In}}},
		{"", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 100, DSACKs: 6}, Server: trace.SegmentSide{Segments: 200, Bytes: 200000, Retransmissions: 6}}},
			[]*trace.Event{{Name: "tcp.retransmission", Direction: trace.In}}},
		{"REORDER-DUP", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Server: trace.SegmentSide{Segments: 100, Bytes: 200000, OutOfOrder: 9}}}, nil},
		{"ZERO-WINDOW", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 100, ZeroWindows: 2, Stalled: 800e6}}},
			[]*trace.Event{{Time: at(100), Name: "tcp.zero_window", Direction: trace.Out}, {Time: at(900), Name: "tcp.zero_window", Direction: trace.Out}}},
		{"", trace.Connection{Connected: &connected, Segments: &trace.Segments{Complete: true, Client: trace.SegmentSide{Segments: 100, ZeroWindows: 2}}},
			[]*trace.Event{{Time: at(100), Name: "tcp.zero_window", Direction: trace.Out}, {Time: at(101), Name: "tcp.zero_window", Direction: trace.Out}}},
		{"PMTU-REDUCED", trace.Connection{}, []*trace.Event{{Name: "icmp.error", Text: "10.0.0.1 → 10.0.0.2: fragmentation needed, next MTU 1400", ICMP: &trace.ICMP{Type: 3, Code: 4, NextMTU: 1400}}}},
		{"ARP-CONFLICT", trace.Connection{}, []*trace.Event{claim(0, nine, mac1), claim(5, nine, mac2)}},
		{"ARP-CONFLICT", trace.Connection{}, []*trace.Event{claim(0, nine, mac1), claim(60_000, nine, mac2), claim(90_000, nine, mac1)}},
		// An address that moves to another machine; one that routers share.
		{"", trace.Connection{}, []*trace.Event{claim(0, nine, mac1), claim(60_000, nine, mac2), claim(90_000, nine, mac2)}},
		{"", trace.Connection{}, []*trace.Event{claim(0, nine, mac1), claim(1, nine, "00:00:5e:00:01:07"), claim(2, nine, mac1)}},
		{"ARP-SILENCE", trace.Connection{}, []*trace.Event{asks(0, one, nine, true, false), asks(1000, one, nine, true, false)}},
		{"", trace.Connection{}, []*trace.Event{asks(0, one, nine, true, false), asks(1000, one, nine, true, false), claim(1001, nine, mac1)}},
		// A probe (RFC 5227 §2.1.1); answers that would not be seen; one who is there.
		{"", trace.Connection{}, []*trace.Event{asks(0, netip.IPv4Unspecified(), nine, true, false), asks(1000, netip.IPv4Unspecified(), nine, true, false)}},
		{"", trace.Connection{}, []*trace.Event{asks(0, one, nine, false, false), asks(1000, one, nine, false, false)}},
		{"", trace.Connection{}, []*trace.Event{asks(0, one, nine, true, true), asks(1000, one, nine, true, true)}},
		{"", trace.Connection{}, []*trace.Event{asks(0, one, nine, true, false), asks(10, one, nine, true, false)}},
		{"CAPTURE-GAP", trace.Connection{Segments: &trace.Segments{Missing: 10}}, nil},
		{"CAPTURE-DROPPED", trace.Connection{}, []*trace.Event{{Name: "capture.dropped", Text: "7 packets were dropped by the capture"}}},
		{"CAPTURE-DAMAGED", trace.Connection{}, []*trace.Event{{Name: "capture.damage", Text: "byte 7: …"}}},
		{"CHECKSUM-WRONG", trace.Connection{Segments: &trace.Segments{Client: trace.SegmentSide{BadChecksums: 3}}}, []*trace.Event{{Name: "tcp.bad_checksum"}}},
		{"CAPTURE-ONE-WAY", trace.Connection{Segments: &trace.Segments{OneWay: true}}, []*trace.Event{{Name: "tcp.one_way"}}},
		{"CAPTURE-CLOCK", trace.Connection{}, []*trace.Event{{Name: "capture.clock", Text: "the clock went back by 122s before packet 7"}}},
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
