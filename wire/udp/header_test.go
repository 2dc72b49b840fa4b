package udp

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"peel/wire/ip"
)

// The first datagram of Wireshark's dns.cap: 192.168.170.8 asks 192.168.170.20
// for the TXT records of google.com.
func TestHeaderBytes(t *testing.T) {
	query, _ := hex.DecodeString("10320100000100000000000006676f6f676c6503636f6d0000100001")
	b := append(make([]byte, HeaderLen), query...)
	Header{Source: 32795, Destination: 53, Length: uint16(len(b))}.Put(b)
	Datagram(b).Seal(ip.PseudoSum(netip.MustParseAddr("192.168.170.8"), netip.MustParseAddr("192.168.170.20"), ip.ProtoUDP, len(b)))
	if got := hex.EncodeToString(b[:HeaderLen]); got != "801b0035002485ed" {
		t.Errorf("%s", got)
	}
	d, err := Parse(b)
	if err != nil || d.SourcePort() != 32795 || d.DestinationPort() != 53 || int(d.Length()) != len(b) || !HasChecksum(d.Checksum()) {
		t.Errorf("it came back as %d to %d, %d bytes: %v", d.SourcePort(), d.DestinationPort(), d.Length(), err)
	}
}

// RFC 768: a checksum that comes out as zero is sent as all ones.
func TestNoSumIsZero(t *testing.T) {
	b := make([]byte, HeaderLen)
	Header{Source: 0xffff - HeaderLen, Length: HeaderLen}.Put(b)
	Datagram(b).Seal(0)
	if got := Datagram(b).Checksum(); got != 0xffff || !ip.Right(0, b) {
		t.Errorf("%#x", got)
	}
}
