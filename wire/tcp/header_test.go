package tcp

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"peel/wire/ip"
)

// The SYN of Wireshark's http.cap: 145.254.160.237:3372 to 65.208.228.223:80.
func TestHeaderBytes(t *testing.T) {
	h := Header{Seq: 0x38affe13, Flags: SYN, Window: 8760}
	h.Option(OptMSS, 0x05, 0xb4)
	h.Options[h.NOptions], h.Options[h.NOptions+1] = OptNop, OptNop
	h.NOptions += 2
	h.Option(OptSACKPermitted)
	b := make([]byte, h.Len())
	h.Put(b, 3372, 80)
	Segment(b).Seal(ip.PseudoSum(netip.MustParseAddr("145.254.160.237"), netip.MustParseAddr("65.208.228.223"), ip.ProtoTCP, len(b)))
	if got := hex.EncodeToString(b); got != "0d2c005038affe1300000000"+"70022238c30c0000"+"020405b401010402" {
		t.Errorf("%s", got)
	}
}

func TestSetters(t *testing.T) {
	h := Header{Seq: 1, Ack: 2, Flags: PSH | ACK | FIN | CWR, Window: 3}
	b := make([]byte, h.Len())
	h.Put(b, 1000, 2000)
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	s.SetSeq(0xfffffff0)
	s.SetFlags(ACK | AE)
	if s.Seq() != 0xfffffff0 || s.Flags() != ACK|AE || s.HeaderLen() != MinHeader || s.Ack() != 2 || s.Window() != 3 {
		t.Errorf("%x", b)
	}
	if s.Seal(7); !ip.Right(7, s) {
		t.Errorf("the checksum is wrong: %x", b)
	}
}
