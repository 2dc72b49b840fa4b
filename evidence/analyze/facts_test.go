package analyze

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/arp"
	"peel/wire/ethernet"
	"peel/wire/pcap"
)

// What rules and filters ask of a packet stands beside its text, not in it.
func TestPacketsTellTheirFacts(t *testing.T) {
	router, host, near := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.9")
	mac := ethernet.MAC{2, 0, 0, 0, 0, 1}
	frame := func(m arp.Message) []byte {
		return m.AppendTo(append(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac[:]...), 0x08, 0x06))
	}
	// "Fragmentation needed, next MTU 1400" about 10.0.0.2:40000 → 198.51.100.7:443.
	tooBig, err := hex.DecodeString("4500003800000000400100000a" + "0000020a000002" + "03040000" + "00000578" + "450005dc00004000400600000a000002c6336407" + "9c4001bb00000001")
	if err != nil {
		t.Fatal(err)
	}
	copy(tooBig[12:], router.AsSlice())
	a := New(Limits{Packets: 10})
	for _, p := range []struct {
		link pcap.LinkType
		data []byte
	}{
		{pcap.LinkEthernet, frame(arp.Message{Operation: arp.Request, SenderMAC: mac, SenderIP: host, TargetIP: near})},
		{pcap.LinkEthernet, frame(arp.Message{Operation: arp.Reply, SenderMAC: mac, SenderIP: near, TargetIP: host})},
		{pcap.LinkEthernet, frame(arp.Message{Operation: 3, SenderMAC: mac, SenderIP: near, TargetIP: host})},
		{pcap.LinkRaw, tooBig},
	} {
		a.Add(capture.Record{Kind: capture.Packet, Time: 1e9, Length: len(p.data), Data: p.data, Link: capture.Link{Type: p.link}})
	}
	tr := a.Trace()
	packets := tr.Packets
	if len(packets) != 4 || len(tr.Events) != 4 {
		t.Fatalf("%d packets, %d events", len(packets), len(tr.Events))
	}
	if m := tr.Events[0].ARP; m == nil || *m != (trace.ARP{Request: true, Sender: host, Target: near, SenderMAC: mac.String(), Heard: true}) {
		t.Errorf("the request: %+v", m)
	}
	if m := tr.Events[1].ARP; m == nil || m.Request || m.Sender != near || m.SenderMAC != mac.String() {
		t.Errorf("the reply: %+v", m)
	}
	if m := tr.Events[2].ARP; m != nil {
		t.Errorf("neither request nor reply: %+v", m)
	}
	if m := tr.Events[3].ICMP; m == nil || m.V6 || m.Type != 3 || m.Code != 4 || m.NextMTU != 1400 {
		t.Errorf("%q: %+v", tr.Events[3].Text, m)
	}
	if p := packets[0]; p.Source.Addr() != host || p.Destination.Addr() != near {
		t.Errorf("%q is from %v to %v", p.Text, p.Source, p.Destination)
	}
	about := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:40000"), netip.MustParseAddrPort("198.51.100.7:443")}
	if p := packets[3]; p.Source.Addr() != router || p.Destination.Addr() != host || !slices.Equal(p.About, about) {
		t.Errorf("%q is from %v to %v about %v", p.Text, p.Source, p.Destination, p.About)
	}
}
