package layout

import (
	"fmt"
	"testing"
)

func TestTree(t *testing.T) {
	h := []byte{0x45, 0xb8, 0x12, 0x34, 0xc0, 0x00, 0x02, 0x01, 2, 0, 0, 0, 0, 0xff}
	got := Tree(h, 100, []Field{
		{Name: "high", Bit: 0, Bits: 4},
		{Name: "low", Bit: 4, Bits: 4, Scale: 4},
		{Name: "six", Bit: 8, Bits: 6, Meaning: Names(map[uint64]string{46: "EF"})},
		{Name: "hex", Bit: 16, Bits: 16, Kind: Hex},
		{Name: "across", Bit: 12, Bits: 8, Kind: Hex},
		{Name: "flag", Bit: 33, Bits: 1, Kind: Flag},
		{Name: "address", Bit: 32, Bits: 32, Kind: Addr},
		{Name: "mac", Bit: 64, Bits: 48, Kind: MAC},
		{Name: "bytes", Bit: 96, Bits: 16, Kind: Bytes},
		{Name: "beyond", Bit: 104, Bits: 16},
	})
	want := "[{high 4  100 1 []} {low 20  100 1 []} {six 46 EF 101 1 []} {hex 0x1234  102 2 []} {across 0x81  101 2 []} {flag 1  104 1 []} " +
		"{address 192.0.2.1  104 4 []} {mac 02:00:00:00:00:ff  108 6 []} {bytes 00ff  112 2 []}]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestHexValue(t *testing.T) {
	for _, c := range []struct {
		v      uint64
		digits int
		want   string
	}{{0, 4, "0x0000"}, {0x12, 4, "0x0012"}, {0xabcde, 4, "0xabcde"}, {5, 1, "0x5"}} {
		if got := HexValue(c.v, c.digits); got != c.want {
			t.Errorf("%#x with %d digits is %s, want %s", c.v, c.digits, got, c.want)
		}
	}
}
