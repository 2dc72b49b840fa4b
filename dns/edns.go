package dns

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// OPT is the data of the EDNS pseudo-record (RFC 6891). The rest of EDNS lies
// in the record's class and TTL; EDNS puts the parts together.
type OPT struct{ Options []Option }

// Option is one EDNS option.
type Option struct {
	Code OptionCode
	Data []byte
}

// OptionCode says what an EDNS option holds.
type OptionCode uint16

// EDNS options by the IANA registry.
const (
	OptionNSID         OptionCode = 3  // RFC 5001
	OptionClientSubnet OptionCode = 8  // RFC 7871
	OptionExpire       OptionCode = 9  // RFC 7314
	OptionCookie       OptionCode = 10 // RFC 7873
	OptionKeepalive    OptionCode = 11 // RFC 7828
	OptionPadding      OptionCode = 12 // RFC 7830
	OptionError        OptionCode = 15 // RFC 8914
)

var optionNames = []named{
	{3, "NSID"}, {8, "ECS"}, {9, "EXPIRE"}, {10, "COOKIE"}, {11, "KEEPALIVE"}, {12, "PADDING"}, {13, "CHAIN"}, {15, "EDE"},
	{5, "DAU"}, {6, "DHU"}, {7, "N3U"}, {14, "KEYTAG"}, {18, "REPORTCHANNEL"}, {19, "ZONEVERSION"},
}

// String returns the mnemonic, or OPTION123.
func (c OptionCode) String() string { return mnemonic(optionNames, uint16(c), "OPTION") }

// Type returns TypeOPT, 41 (RFC 6891 §6.1.1).
func (OPT) Type() Type { return TypeOPT }

func (d OPT) String() string { return optionsText(d) }

func optionsText(d OPT) string {
	parts := make([]string, len(d.Options))
	for i, o := range d.Options {
		parts[i] = o.String()
	}
	return strings.Join(parts, "; ")
}

func (o Option) String() string {
	if e, ok := o.extendedError(); ok {
		return "EDE: " + e.String()
	}
	return o.Code.String() + ": " + o.value()
}

// value shows an option's data as what it stands for, or in hexadecimal.
func (o Option) value() string {
	b := o.Data
	switch {
	case o.Code == OptionClientSubnet && len(b) >= 4: // RFC 7871 §6
		var a [16]byte
		copy(a[:], b[4:])
		addr := netip.AddrFrom16(a)
		if b[1] == 1 {
			addr = netip.AddrFrom4([4]byte(a[:4]))
		}
		return fmt.Sprintf("%s/%d, scope /%d", addr, b[2], b[3])
	case o.Code == OptionCookie && len(b) > 8:
		return fmt.Sprintf("client %x, server %x", b[:8], b[8:])
	case o.Code == OptionNSID && len(b) > 0:
		return fmt.Sprintf("%x (%s)", b, quote(string(b)))
	case o.Code == OptionPadding:
		return fmt.Sprintf("%d octets", len(b))
	case o.Code == OptionKeepalive && len(b) == 2: // RFC 7828: in 100 ms
		return (time.Duration(int(b[0])<<8|int(b[1])) * 100 * time.Millisecond).String()
	}
	return hex.EncodeToString(b)
}

func (d OPT) appendTo(b []byte) ([]byte, error) {
	for _, o := range d.Options {
		if len(o.Data) > 0xffff {
			return nil, fmt.Errorf("option %s of %d octets, at most 65535 are possible", o.Code, len(o.Data))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(o.Code))
		b = binary.BigEndian.AppendUint16(b, uint16(len(o.Data)))
		b = append(b, o.Data...)
	}
	return b, nil
}

func (c *cut) opt() OPT {
	var d OPT
	for c.s != "" && !c.bad {
		code := OptionCode(c.u16())
		d.Options = append(d.Options, Option{code, []byte(c.take(int(c.u16())))})
	}
	return d
}

// EDNS is what a message's OPT record says.
type EDNS struct {
	// UDPSize is the largest UDP payload that the sender takes, in octets.
	UDPSize uint16
	// ExtendedRcode is the upper eight bits of the response code.
	ExtendedRcode uint8
	Version       uint8
	// DNSSECOK asks for signatures (RFC 3225).
	DNSSECOK bool
	// Zero is the 15 bits that are reserved.
	Zero    uint16
	Options []Option
}

// EDNS returns what the first OPT record in the additional section says.
func (m *Message) EDNS() (e EDNS, ok bool) {
	for i := range m.Additional {
		if rr := &m.Additional[i]; rr.Type == TypeOPT {
			d, _ := rr.Value().(OPT)
			return EDNS{
				UDPSize: uint16(rr.Class), ExtendedRcode: uint8(rr.TTL >> 24), Version: uint8(rr.TTL >> 16),
				DNSSECOK: rr.TTL&(1<<15) != 0, Zero: uint16(rr.TTL & 0x7fff), Options: d.Options,
			}, true
		}
	}
	return EDNS{}, false
}

// CheckEDNS fails on a query that does not ask for EDNS in the one way there
// is: one OPT record (RFC 6891 §6.1.1), whose owner is the root (§6.1.2).
func (m *Message) CheckEDNS() error {
	n := 0
	for i := range m.Additional {
		if rr := &m.Additional[i]; rr.Type == TypeOPT {
			if n++; n > 1 {
				return errors.New("dns: more than one OPT record")
			}
			if !rr.Name.IsRoot() {
				return fmt.Errorf("dns: an OPT record of %s, not of the root", rr.Name)
			}
		}
	}
	return nil
}

// Resource returns e as the record to put into the additional section.
func (e EDNS) Resource() Resource {
	ttl := uint32(e.ExtendedRcode)<<24 | uint32(e.Version)<<16 | uint32(e.Zero&0x7fff)
	if e.DNSSECOK {
		ttl |= 1 << 15
	}
	data, _ := OPT{e.Options}.appendTo(nil) // options of more than 65535 octets fit no message
	return Resource{Type: TypeOPT, Class: Class(e.UDPSize), TTL: ttl, Data: string(data)}
}
