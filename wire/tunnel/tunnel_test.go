package tunnel

import (
	"encoding/hex"
	"strings"
	"testing"

	"peel/trace"
	"peel/wire/ethernet"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func([]byte) (Payload, error)
		bytes string
		want  Payload
		fails bool
	}{
		{"GRE, IPv4 (RFC 2784)", ParseGRE, "00000800", Payload{HeaderLen: 4, Type: ethernet.TypeIPv4}, false},
		{"GRE with key and sequence (RFC 2890)", ParseGRE, "3000086d" + "00000001" + "00000002", Payload{HeaderLen: 12, Type: 0x086d}, false},
		{"GRE with checksum, a frame", ParseGRE, "80006558" + "abcd0000", Payload{HeaderLen: 8, Type: TypeTEB, Frame: true}, false},
		{"GRE cut off", ParseGRE, "200008000000", Payload{}, true},
		{"GRE with source routing", ParseGRE, "4000080000000000", Payload{}, true},
		{"GRE of an unknown version", ParseGRE, "00030800", Payload{}, true},
		{"PPTP, IPv4 (RFC 2637)", ParseGRE, "3001880b" + "00100001" + "00000007" + "ff030021", Payload{HeaderLen: 16, Type: ethernet.TypeIPv4}, false},
		{"PPTP, an acknowledgement alone", ParseGRE, "2081880b" + "00000001" + "00000007", Payload{HeaderLen: 12}, false},
		{"ERSPAN II", ParseGRE, "100088be" + "00000001" + "1001000000000000", Payload{HeaderLen: 16, Type: TypeTEB, Frame: true}, false},
		{"VXLAN", ParseVXLAN, "0800000000002a00", Payload{HeaderLen: 8, Type: TypeTEB, Frame: true, Network: 42}, false},
		{"VXLAN-GPE, IPv4", ParseVXLAN, "0c00000100002a00", Payload{HeaderLen: 8, Type: ethernet.TypeIPv4, Network: 42}, false},
		{"Geneve with an option (RFC 8926)", ParseGeneve, "01000800 00002a00 00000000", Payload{HeaderLen: 12, Type: ethernet.TypeIPv4, Network: 42}, false},
		{"Geneve of another version", ParseGeneve, "40000800 00002a00", Payload{}, true},
		{"GTP-U with an extension (TS 29.281)", ParseGTP, "34ff0001 00000007 00000085 01100000 45", Payload{HeaderLen: 16, Type: ethernet.TypeIPv4}, false},
		{"GTP-U, an echo", ParseGTP, "32010004 00000000 00000000", Payload{HeaderLen: 8}, false},
		{"GTP-U with an extension of no length", ParseGTP, "34ff0001 00000007 00000085 00100000 45", Payload{}, true},
		{"L2TP, control", ParseL2TP, "c8020014 00010000 00000000 80080000", Payload{HeaderLen: 12}, false},
		{"L2TP, data with an offset", ParseL2TP, "0202 0001 0001 0002 0000 0021", Payload{HeaderLen: 12, Type: ethernet.TypeIPv4}, false},
		{"no Teredo", ParseTeredo, "0102030405060708", Payload{}, true},
		{"AYIYA, a heartbeat", ParseAYIYA, "44 52 10 3b 00000000", Payload{HeaderLen: 8}, false},
		{"Cisco's HDLC, its own", ParseHDLC, "8f008035", Payload{HeaderLen: 4, Type: 0x8035}, false},
		{"no HDLC", ParseHDLC, "31000800", Payload{}, true},
		{"PPP, its number in a byte", ParsePPP, "21", Payload{HeaderLen: 1, Type: ethernet.TypeIPv4}, false},
		{"Frame Relay, SNAP", ParseFrameRelay, "18410300 80 000000 0800", Payload{HeaderLen: 10, Type: ethernet.TypeIPv4}, false},
		{"no VXLAN", ParseVXLAN, "0800000000002a01", Payload{}, true},
		{"one label", ParseMPLS, "0001d1ff" + "45", Payload{HeaderLen: 4, Type: ethernet.TypeIPv4}, false},
		{"two labels, IPv6", ParseMPLS, "0001d0ff" + "0001d1ff" + "60", Payload{HeaderLen: 8, Type: ethernet.TypeIPv6}, false},
		{"labels without an end", ParseMPLS, "0001d0ff", Payload{}, true},
		{"PPPoE, IPv6", ParsePPPoE, "110000110050" + "0057", Payload{HeaderLen: 8, Type: ethernet.TypeIPv6}, false},
		{"PPPoE, LCP is not read", ParsePPPoE, "110000110050" + "c021", Payload{HeaderLen: 8}, false},
		{"IP in IP", ParseIP, "45", Payload{Type: ethernet.TypeIPv4}, false},
	} {
		got, err := c.parse(unhex(t, c.bytes))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

// No bytes make a header longer than they are, or a field outside of them.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"3000086d0000000100000002", "3001880b001000010000000700210000", "0800000000002a00",
		"0001d0ff0001d1ff60", "1100001100500057", "100022eb0000000100000000000000000000000100000000"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (Payload, error){ParseGRE, ParseVXLAN, ParseMPLS, ParsePPPoE, ParseIP,
			ParseGeneve, ParseGTP, ParseTeredo, ParseAYIYA, ParseL2TP, ParsePPP, ParseHDLC, ParseFrameRelay} {
			if p, err := parse(b); err == nil && (p.HeaderLen < 0 || p.HeaderLen > len(b)) {
				t.Fatalf("a header of %d bytes in %d", p.HeaderLen, len(b))
			}
		}
		for _, fields := range []func([]byte, int) []trace.Field{GREFields, VXLANFields, MPLSFields, PPPoEFields, GeneveFields, GTPFields, AYIYAFields, L2TPFields, HDLCFields} {
			for _, x := range fields(b, 7) {
				if x.Offset < 7 || x.Offset+x.Length > 7+len(b) {
					t.Fatalf("%s outside of the header", x.Name)
				}
			}
		}
	})
}
