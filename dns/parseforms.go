package dns

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// Names that WKS records have for protocols and ports, as their RFCs have
// them: old ones, like the type.
var (
	wksProtocols = []named{{1, "ICMP"}, {2, "IGMP"}, {3, "GGP"}, {6, "TCP"}, {8, "EGP"}, {17, "UDP"}}
	wksServices  = []named{
		{5, "RJE"}, {7, "ECHO"}, {9, "DISCARD"}, {11, "USERS"}, {13, "DAYTIME"}, {17, "QUOTE"}, {19, "CHARGEN"}, {20, "FTP-DATA"}, {21, "FTP"}, {22, "SSH"},
		{23, "TELNET"}, {25, "SMTP"}, {37, "TIME"}, {39, "RLP"}, {42, "NAMESERVER"}, {43, "NICNAME"}, {53, "DOMAIN"}, {67, "BOOTPS"}, {68, "BOOTPC"},
		{69, "TFTP"}, {70, "GOPHER"}, {77, "NETRJS"}, {79, "FINGER"}, {80, "HTTP"}, {95, "SUPDUP"}, {101, "HOSTNAMES"}, {103, "X400"}, {104, "X400-SND"},
		{109, "POP2"}, {110, "POP3"}, {111, "SUNRPC"}, {113, "AUTH"}, {115, "SFTP"}, {117, "UUCP-PATH"}, {119, "NNTP"}, {123, "NTP"}, {143, "IMAP"},
		{161, "SNMP"}, {162, "SNMPTRAP"}, {179, "BGP"}, {389, "LDAP"}, {443, "HTTPS"}, {993, "IMAPS"}, {995, "POP3S"},
	}
)

// services reads a protocol and ports, by number or name.
func (p *textParser) services() {
	number := func(what string, table []named, bits int) (v uint64) {
		p.take(what, func(s string) (err error) {
			if v, err = strconv.ParseUint(s, 10, bits); err == nil {
				return nil
			}
			n, ok := fromMnemonic(table, s, "")
			if v = uint64(n); !ok || v >= 1<<bits {
				return fmt.Errorf("%s %.40q is neither a number of at most %d nor a known name", what, s, uint64(1)<<bits-1)
			}
			return nil
		})
		return v
	}
	p.uint(number("protocol", wksProtocols, 8), 8)
	var ports []byte
	for p.left() {
		n := int(number("port", wksServices, 16))
		for len(ports) <= n/8 {
			ports = append(ports, 0)
		}
		ports[n/8] |= 0x80 >> (n % 8)
	}
	p.out = append(p.out, ports...)
}

func (p *textParser) gateway(kind uint64) {
	switch kind {
	case 0:
		p.take("gateway", func(s string) error {
			if s != "." {
				return fmt.Errorf("gateway type 0 is written with a dot, not %.40q", s)
			}
			return nil
		})
	case 1:
		p.address(4)
	case 2:
		p.address(16)
	case 3:
		p.name()
	default:
		p.fail("gateway type %d is not known", kind)
	}
}

func (p *textParser) hip() {
	var tag, key []byte
	algorithm := p.number("algorithm", 8)
	p.take("identity tag", func(s string) (err error) { tag, err = hex.DecodeString(s); return err })
	p.take("key", func(s string) (err error) { key, err = base64.StdEncoding.DecodeString(s); return err })
	if p.err == nil && (len(tag) == 0 || len(tag) > 255 || len(key) == 0 || len(key) > 0xffff) {
		p.fail("identity tag of %d and key of %d octets", len(tag), len(key))
	}
	if p.err != nil {
		return
	}
	p.out = append(p.out[:0], byte(len(tag)), byte(algorithm))
	p.out = binary.BigEndian.AppendUint16(p.out, uint16(len(key)))
	p.out = append(append(p.out, tag...), key...)
	p.field(kindNames)
}

func (p *textParser) prefix(s string) error {
	bad := fmt.Errorf("%.60q is not a prefix like 1:192.0.2.0/24 or !2:2001:db8::/32", s)
	rest, negative := strings.CutPrefix(s, "!")
	family, prefix, ok := strings.Cut(rest, ":")
	if !ok {
		return bad
	}
	n, err := netip.ParsePrefix(prefix)
	if err != nil || family != map[int]string{32: "1", 128: "2"}[n.Addr().BitLen()] {
		return bad
	}
	b := n.Addr().AsSlice()
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	length := byte(len(b))
	if negative {
		length |= 0x80
	}
	p.out = append(append(p.out, 0, family[0]-'0', byte(n.Bits()), length), b...)
	return nil
}

// position reads a LOC record (RFC 1876 §3).
func (p *textParser) position() {
	coordinate := func(plus, minus string, most float64) uint32 {
		var parts []float64
		for p.err == nil {
			var word string
			p.take("coordinate", func(s string) error { word = strings.ToUpper(s); return nil })
			if word == plus || word == minus {
				if len(parts) == 0 {
					break
				}
				ms := 0.0
				for i, scale := range []float64{3600000, 60000, 1000} {
					if i < len(parts) {
						ms += parts[i] * scale
					}
				}
				if ms = math.Round(ms); ms > most*3600000 {
					break
				}
				if word == minus {
					ms = -ms
				}
				return uint32(int64(ms) + 1<<31)
			}
			v, err := strconv.ParseFloat(word, 64)
			if err != nil || len(parts) == 3 || v < 0 || v > 180 || len(parts) > 0 && v >= 60 {
				break
			}
			parts = append(parts, v)
		}
		p.fail("a position is degrees, minutes and seconds with N, S, E or W behind them")
		return 0
	}
	metres := func(def float64, low, high float64) float64 {
		if !p.left() {
			return def
		}
		v := def
		p.take("size", func(s string) (err error) {
			if v, err = strconv.ParseFloat(strings.TrimSuffix(strings.ToLower(s), "m"), 64); err != nil || v < low || v > high {
				return fmt.Errorf("%.40q is not a size in metres from %.0f to %.0f", s, low, high)
			}
			return nil
		})
		return v
	}
	// A size is one digit and a power of ten, in centimetres.
	size := func(def float64) byte {
		cm := uint64(math.Round(metres(def, 0, 90000000) * 100))
		e := byte(0)
		for cm > 9 {
			cm /= 10
			e++
		}
		return byte(cm)<<4 | e
	}
	latitude := coordinate("N", "S", 90)
	longitude := coordinate("E", "W", 180)
	if p.err == nil && !p.left() {
		p.fail("altitude is missing")
	}
	altitude := uint32(int64(math.Round(metres(0, -100000, 42849672.95)*100)) + 10000000)
	p.out = append(p.out, 0, size(1), size(10000), size(10))
	for _, v := range [...]uint32{latitude, longitude, altitude} {
		p.uint(uint64(v), 32)
	}
}
