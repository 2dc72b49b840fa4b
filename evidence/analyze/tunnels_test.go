package analyze

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/pcap"
	"peel/wire/tcp"
)

// conversation is a request and its response in IPv4 packets.
func conversation() (packets [][]byte) {
	a, b := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80")
	add := func(src, dst netip.AddrPort, h tcp.Header, payload string) {
		packets = append(packets, tcpPacket(src, dst, 0, h, payload))
	}
	add(a, b, tcp.Header{Seq: 100, Flags: tcp.SYN, Window: 1000}, "")
	add(b, a, tcp.Header{Seq: 500, Ack: 101, Flags: tcp.SYN | tcp.ACK, Window: 1000}, "")
	add(a, b, tcp.Header{Seq: 101, Ack: 501, Flags: tcp.ACK | tcp.PSH, Window: 1000}, get)
	add(b, a, tcp.Header{Seq: 501, Ack: 101 + uint32(len(get)), Flags: tcp.ACK | tcp.PSH, Window: 1000}, ok)
	return packets
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const macs = "020000000001 020000000002"

// outer puts n bytes into an IPv4 header of a protocol.
func outer(n int, proto byte) string {
	h := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2}
	binary.BigEndian.PutUint16(h[2:], uint16(20+n))
	binary.BigEndian.PutUint16(h[10:], ^ip.Sum(0, h))
	return hex.EncodeToString(h)
}

func udpTo(port, n int) string { return fmt.Sprintf("c000 %04x %04x 0000", port, 8+n) }

// tunnelCase is headers from Ethernet to the inner IPv4 packet of n bytes.
type tunnelCase struct {
	name   string
	header func(n int) string
	layers string
	link   pcap.LinkType // 0: Ethernet
}

func (c tunnelCase) linkType() pcap.LinkType {
	if c.link == 0 {
		return pcap.LinkEthernet
	}
	return c.link
}

// records is a conversation inside the tunnel.
func (c tunnelCase) records(t testing.TB) (list []capture.Record) {
	for i, p := range conversation() {
		frame := append(unhex(t, c.header(len(p))), p...)
		list = append(list, capture.Record{Time: clock.Time(1e9 + i*1e6), Kind: capture.Packet, Length: len(frame), Data: frame, Link: capture.Link{Type: c.linkType()}})
	}
	return list
}

var tunnels = []tunnelCase{
	{"GRE", func(n int) string { return macs + "0800" + outer(n+4, 47) + "00000800" }, "eth ip gre ip tcp", 0},
	{"GRE with a key, a frame", func(n int) string { return macs + "0800" + outer(n+22, 47) + "20006558 00000007" + macs + "0800" }, "eth ip gre eth ip tcp", 0},
	{"VXLAN", func(n int) string {
		return macs + "0800" + outer(n+30, 17) + udpTo(4789, n+22) + "08000000 00002a00" + macs + "0800"
	}, "eth ip udp vxlan eth ip tcp", 0},
	{"VXLAN with a group policy", func(n int) string {
		return macs + "0800" + outer(n+30, 17) + udpTo(4789, n+22) + "88000003 00002a00" + macs + "0800"
	}, "eth ip udp vxlan eth ip tcp", 0},
	{"Geneve", func(n int) string {
		return macs + "0800" + outer(n+30, 17) + udpTo(6081, n+22) + "00006558 00002a00" + macs + "0800"
	}, "eth ip udp geneve eth ip tcp", 0},
	{"GTP-U", func(n int) string {
		return macs + "0800" + outer(n+16, 17) + udpTo(2152, n+8) + fmt.Sprintf("30ff%04x 00000007", n)
	}, "eth ip udp gtp ip tcp", 0},
	{"L2TP", func(n int) string {
		return macs + "0800" + outer(n+18, 17) + udpTo(1701, n+10) + "0002 0001 0001 ff030021"
	}, "eth ip udp l2tp ip tcp", 0},
	{"GRE over UDP", func(n int) string { return macs + "0800" + outer(n+12, 17) + udpTo(4754, n+4) + "00000800" }, "eth ip udp gre ip tcp", 0},
	{"802.3 with SNAP", func(n int) string { return macs + fmt.Sprintf("%04x", n+8) + "aaaa03 000000 0800" }, "eth llc ip tcp", 0},
	{"NFLOG", func(n int) string { return fmt.Sprintf("02000000 %02x%02x0900", (n+4)&0xff, (n+4)>>8) }, "nflog ip tcp", pcap.LinkNFLOG},
	{"802.11", func(int) string { return "08010000" + macs + "020000000003 1000 aaaa03 000000 0800" }, "wlan llc ip tcp", pcap.LinkWLAN},
	{"802.11 with QoS, behind radiotap", func(int) string {
		return "00000900 02000000 00" + "88010000" + macs + "020000000003 1000 0000 aaaa03 000000 0800"
	}, "wlan llc ip tcp", pcap.LinkRadiotap},
	{"PPP", func(int) string { return "ff030021" }, "ppp ip tcp", pcap.LinkPPP},
	{"Cisco's HDLC", func(int) string { return "0f000800" }, "chdlc ip tcp", pcap.LinkHDLC},
	{"Frame Relay", func(int) string { return "184103cc" }, "fr ip tcp", pcap.LinkFrameRelay},
	{"IP in IP", func(n int) string { return macs + "0800" + outer(n, 4) }, "eth ip ip tcp", 0},
	{"PPPoE", func(n int) string { return macs + "8864" + fmt.Sprintf("11000011%04x0021", n+2) }, "eth pppoe ip tcp", 0},
	{"MPLS, two labels", func(n int) string { return macs + "8847 0001d0ff 0001d1ff" }, "eth mpls ip tcp", 0},
	{"a VLAN, PPPoE", func(n int) string { return macs + "8100 0007 8864" + fmt.Sprintf("11000011%04x0021", n+2) }, "eth pppoe ip tcp", 0},
}

// What a tunnel carries is read as if it stood in the open, and tshark finds the
// same layers.
func TestTunnels(t *testing.T) {
	for _, c := range tunnels {
		a := New(Limits{Packets: 10, PacketBytes: 1 << 16})
		var file bytes.Buffer
		w := pcap.NewWriter(&file, "peel")
		w.Interface(pcap.Interface{Link: c.linkType()})
		for _, r := range c.records(t) {
			a.Add(r)
			w.Packet(&pcap.Block{Time: r.Time, Data: r.Data, Length: r.Length})
		}
		a.End()
		tr := a.Trace()
		if len(tr.Exchanges) != 1 || tr.Exchanges[0].URL != "http://example.com/a" || tr.Exchanges[0].Response == nil || tr.Exchanges[0].Response.Status != 200 {
			t.Errorf("%s: %d requests, %d events", c.name, len(tr.Exchanges), len(tr.Events))
			continue
		}
		for _, p := range tr.Packets {
			var names []string
			for _, l := range p.Layers {
				names = append(names, l.Name)
			}
			if got := strings.TrimSuffix(strings.Join(names, " "), " data"); got != c.layers {
				t.Errorf("%s: layers %s, want %s", c.name, got, c.layers)
			}
			for _, f := range PacketFields(p) {
				if f.Name != "data" && len(f.Children) == 0 && f.Value == "" {
					t.Errorf("%s: %s has no fields", c.name, f.Name)
				}
				if f.Name == "tcp" && !strings.Contains(fmt.Sprint(f.Children), "right") {
					t.Errorf("%s: the checksum is not judged", c.name)
				}
			}
		}
		if acc := tr.Account; acc.Other != 0 {
			t.Errorf("%s: %d bytes belong to no layer", c.name, acc.Other)
		}
		// tshark: the same protocols in the same order.
		name := filepath.Join(t.TempDir(), "tunnel.pcapng")
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for i, row := range tsharkPackets(t, name, "", []string{"frame.protocols"}) {
			want := tr.Packets[i].Layers
			have := strings.Split(row[0], ":")
			at := 0
			for _, l := range want {
				shark := map[string]string{"pppoe": "pppoes", "data": ""}[l.Name]
				if shark == "" {
					shark = l.Name
				}
				if l.Name == "data" {
					continue
				}
				for at < len(have) && have[at] != shark {
					at++
				}
				if at == len(have) {
					t.Errorf("%s: tshark has %s, and no %s there", c.name, row[0], l.Name)
				}
			}
		}
	}
}

// A packet in a packet in a packet … has an end.
func TestTunnelsAreBounded(t *testing.T) {
	b := conversation()[0]
	for range 20 {
		b = append(unhex(t, outer(len(b), 4)), b...)
	}
	a := New(Limits{})
	a.Add(capture.Record{Time: 1e9, Kind: capture.Packet, Length: len(b), Data: b, Link: capture.Link{Type: pcap.LinkRaw}})
	tr := a.Trace()
	if len(tr.Events) != 1 || !strings.Contains(tr.Events[0].Text, "more than 8 packets inside one another") {
		t.Errorf("%+v", tr.Events)
	}
}

// The same addresses and ports in two virtual networks, and in none, are three
// connections.
func TestVirtualNetworksAreApart(t *testing.T) {
	a := New(Limits{Packets: 20, PacketBytes: 1 << 16})
	at := clock.Time(1e9)
	for _, p := range conversation() {
		n := len(p)
		for _, vni := range []string{"", "00002a00", "00002b00"} {
			header := macs + "0800"
			if vni != "" {
				header += outer(n+30, 17) + udpTo(4789, n+22) + "08000000" + vni + macs + "0800"
			}
			frame := append(unhex(t, header), p...)
			a.Add(capture.Record{Time: at, Kind: capture.Packet, Length: len(frame), Data: frame, Link: capture.Link{Type: pcap.LinkEthernet}})
			at += 1e5
		}
	}
	a.End()
	tr := a.Trace()
	if len(tr.Exchanges) != 3 || len(tr.Connections) != 3 {
		t.Errorf("%d requests on %d connections", len(tr.Exchanges), len(tr.Connections))
	}
	for _, c := range tr.Connections {
		if s := c.Segments; s.Client.Segments != 2 || s.Client.Retransmissions+s.Server.Retransmissions != 0 {
			t.Errorf("#%d: %+v", c.ID, s.Client)
		}
	}
}

// A query that cannot be read is DNS by its port.
func TestDatagramCutOff(t *testing.T) {
	a := New(Limits{})
	frame := unhex(t, macs+"0800"+outer(60, 17)+"c0000035 0044 0000"+"caa60100")
	a.Add(capture.Record{Time: 1e9, Kind: capture.Packet, Length: len(frame) + 48, Data: frame, Link: capture.Link{Type: pcap.LinkEthernet}})
	a.End()
	if tr := a.Trace(); len(tr.Connections) != 1 || tr.Connections[0].Protocol != trace.ProtocolDNS {
		t.Errorf("%+v", tr.Connections)
	}
}

// Segments that claim more than their frames hold leave no negative share.
func TestAccountOfLyingHeaders(t *testing.T) {
	for _, c := range []struct{ in, want trace.Account }{
		{trace.Account{Frames: 60, Network: 20, Transport: 20, Repeated: 3000}, trace.Account{Frames: 60, Network: 20, Transport: 20, Repeated: 20}},
		{trace.Account{Frames: 60, Network: 60, Transport: 20}, trace.Account{Frames: 60, Network: 60, Transport: 20}},
		{trace.Account{Frames: 60, Network: 20}, trace.Account{Frames: 60, Network: 20, Other: 40}},
	} {
		if rest(&c.in); c.in != c.want {
			t.Errorf("%+v, want %+v", c.in, c.want)
		}
	}
}
