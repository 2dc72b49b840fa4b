package cooked

import (
	"encoding/hex"
	"strings"
	"testing"

	"peel/wire/ethernet"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestLinks(t *testing.T) {
	bsd := func(b []byte) (Header, error) { return ParseARCNET(b, false) }
	linux := func(b []byte) (Header, error) { return ParseARCNET(b, true) }
	for _, c := range []struct {
		name  string
		parse func([]byte) (Header, error)
		bytes string
		want  Header
		fails bool
	}{
		{"NFLOG, IPv4", ParseNFLOG, "02000001 0800010008000103 05000a0000000000 0600090045", Header{Type: ethernet.TypeIPv4, Len: 24}, false},
		{"NFLOG of a big-endian machine", ParseNFLOG, "0a000001 0008000108000103 0006000960", Header{Type: ethernet.TypeIPv6, Len: 16}, false},
		{"NFLOG without a packet", ParseNFLOG, "02000001 0800010008000103", Header{}, true},
		{"NFLOG, an attribute of no length", ParseNFLOG, "02000001 0000010008000103", Header{}, true},
		{"ARCNET, IP (RFC 1201)", bsd, "0102 d4 00 0007 45", Header{Type: ethernet.TypeIPv4, Len: 6}, false},
		{"ARCNET, ARP (RFC 1051)", linux, "0102 0000 f1 0001", Header{Type: ethernet.TypeARP, Len: 5}, false},
		{"ARCNET, a fragment", linux, "0102 0000 d4 05 0007 45", Header{Len: 8}, false},
		{"ARCNET, an exception packet", linux, "0102 0000 d4 ff ffff d4 00 0007 45", Header{Type: ethernet.TypeIPv4, Len: 12}, false},
		{"ARCNET cut off", bsd, "01", Header{}, true},
	} {
		got, err := c.parse(unhex(c.bytes))
		if (err != nil) != c.fails || err == nil && (got.Type != c.want.Type || got.Len != c.want.Len) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	if n, ok, err := ParseFDDI(unhex("50 020000000001 020000000002 aa")); n != 13 || !ok || err != nil {
		t.Error(n, ok, err)
	}
	if n, link, err := ParsePKTAP(unhex("0c000000 01000000 01000000 02")); n != 12 || link != 1 || err != nil {
		t.Error(n, link, err)
	}
	if _, _, err := ParsePKTAP(unhex("ff000000 01000000 01000000")); err == nil {
		t.Error("a PKTAP header longer than the packet")
	}
}

func FuzzLinks(f *testing.F) {
	f.Add(unhex("02000001 0800010008000103 05000a0000000000 0600090045"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (Header, error){ParseNFLOG, func(b []byte) (Header, error) { return ParseARCNET(b, true) }} {
			if h, err := parse(b); err == nil && h.Len > len(b) {
				t.Fatalf("a header of %d bytes in %d", h.Len, len(b))
			}
		}
		ParseFDDI(b)
		ParsePKTAP(b)
		NFLOGFields(b, 7)
	})
}
