package ethernet

import "testing"

// IEEE 802.2: what a frame without a type carries.
func TestLLC(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
		want  LLC
		fails bool
	}{
		{"SNAP, IPv4", []byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, LLC{Type: TypeIPv4, Len: 8}, false},
		{"SNAP, CDP", []byte{0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0}, LLC{Name: "CDP", Len: 8}, false},
		{"SNAP of others", []byte{0xaa, 0xaa, 3, 0, 1, 2, 3, 4}, LLC{Name: "SNAP of 000102, protocol 0x0304", Len: 8}, false},
		{"IP without SNAP", []byte{6, 6, 3, 0x45}, LLC{Type: TypeIPv4, Len: 3}, false},
		{"spanning tree", []byte{0x42, 0x42, 3}, LLC{Name: "spanning tree (STP)", Len: 3}, false},
		{"unknown", []byte{0x12, 0x42, 3}, LLC{Name: "802.2 LLC, SAP 0x12", Len: 3}, false},
		{"cut off", []byte{0xaa, 0xaa, 3, 0}, LLC{}, true},
	} {
		if got, err := ParseLLC(c.bytes); (err != nil) != c.fails || err == nil && got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}
