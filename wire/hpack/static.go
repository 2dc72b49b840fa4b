package hpack

import "peel/wire/httpfield"

// staticTable is the table of RFC 7541 Appendix A. Index 0 is none.
var staticTable = [firstDynamic]httpfield.Field{
	1:  {Name: ":authority"},
	2:  {Name: ":method", Value: "GET"},
	3:  {Name: ":method", Value: "POST"},
	4:  {Name: ":path", Value: "/"},
	5:  {Name: ":path", Value: "/index.html"},
	6:  {Name: ":scheme", Value: "http"},
	7:  {Name: ":scheme", Value: "https"},
	8:  {Name: ":status", Value: "200"},
	9:  {Name: ":status", Value: "204"},
	10: {Name: ":status", Value: "206"},
	11: {Name: ":status", Value: "304"},
	12: {Name: ":status", Value: "400"},
	13: {Name: ":status", Value: "404"},
	14: {Name: ":status", Value: "500"},
	15: {Name: "accept-charset"},
	16: {Name: "accept-encoding", Value: "gzip, deflate"},
	17: {Name: "accept-language"},
	18: {Name: "accept-ranges"},
	19: {Name: "accept"},
	20: {Name: "access-control-allow-origin"},
	21: {Name: "age"},
	22: {Name: "allow"},
	23: {Name: "authorization"},
	24: {Name: "cache-control"},
	25: {Name: "content-disposition"},
	26: {Name: "content-encoding"},
	27: {Name: "content-language"},
	28: {Name: "content-length"},
	29: {Name: "content-location"},
	30: {Name: "content-range"},
	31: {Name: "content-type"},
	32: {Name: "cookie"},
	33: {Name: "date"},
	34: {Name: "etag"},
	35: {Name: "expect"},
	36: {Name: "expires"},
	37: {Name: "from"},
	38: {Name: "host"},
	39: {Name: "if-match"},
	40: {Name: "if-modified-since"},
	41: {Name: "if-none-match"},
	42: {Name: "if-range"},
	43: {Name: "if-unmodified-since"},
	44: {Name: "last-modified"},
	45: {Name: "link"},
	46: {Name: "location"},
	47: {Name: "max-forwards"},
	48: {Name: "proxy-authenticate"},
	49: {Name: "proxy-authorization"},
	50: {Name: "range"},
	51: {Name: "referer"},
	52: {Name: "refresh"},
	53: {Name: "retry-after"},
	54: {Name: "server"},
	55: {Name: "set-cookie"},
	56: {Name: "strict-transport-security"},
	57: {Name: "transfer-encoding"},
	58: {Name: "user-agent"},
	59: {Name: "vary"},
	60: {Name: "via"},
	61: {Name: "www-authenticate"},
}

// staticSlots finds a name in the static table: an open hash table of the
// first index of each name. Its 52 names fill a fifth of it.
var staticSlots = func() (slots [256]uint8) {
	for i := firstDynamic - 1; i > 0; i-- {
		name := staticTable[i].Name
		slot := uint8(hash(0, name))
		for slots[slot] != 0 && staticTable[slots[slot]].Name != name {
			slot++
		}
		slots[slot] = uint8(i)
	}
	return slots
}()

// staticName returns the first index of that name in the static table, or 0.
// h is hash(0, name).
func staticName(name string, h uint32) int {
	for slot := uint8(h); staticSlots[slot] != 0; slot++ {
		if i := int(staticSlots[slot]); staticTable[i].Name == name {
			return i
		}
	}
	return 0
}

// staticPair returns the index of the entry with the name of entry i, the
// first of that name, and that value, or 0.
func staticPair(i int, value string) int {
	for name := staticTable[i].Name; i < firstDynamic && staticTable[i].Name == name; i++ {
		if staticTable[i].Value == value {
			return i
		}
	}
	return 0
}
