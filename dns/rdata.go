package dns

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// RData is the data of a resource record: one of the types of this package.
type RData interface {
	// Type is the record type that the data belongs to.
	Type() Type
	// String returns the presentation form, as in a zone file.
	String() string
	pack(p *packer) error
}

// A is an IPv4 address.
type A struct{ Addr netip.Addr }

// AAAA is an IPv6 address (RFC 3596).
type AAAA struct{ Addr netip.Addr }

// CNAME says that the owner is an alias of Target.
type CNAME struct{ Target Name }

// NS names a server of the zone.
type NS struct{ Host Name }

// PTR points to another name: the host behind an address.
type PTR struct{ Target Name }

// DNAME redirects everything below the owner (RFC 6672).
type DNAME struct{ Target Name }

// MX names a mail server; the lowest Preference is tried first.
type MX struct {
	Preference uint16
	Host       Name
}

// TXT is one or more strings of at most 255 octets each.
type TXT struct{ Strings []string }

// SOA heads a zone. Times are in seconds.
type SOA struct {
	Primary, Mailbox               Name
	Serial, Refresh, Retry, Expire uint32
	// Minimum bounds how long a negative answer is kept (RFC 2308 §4).
	Minimum uint32
}

// SRV locates a service (RFC 2782).
type SRV struct {
	Priority, Weight, Port uint16
	Target                 Name
}

// CAA says who may issue certificates (RFC 8659).
type CAA struct {
	Flags uint8
	Tag   string
	Value string
}

// Unknown is the data of a record that this package does not take apart
// (RFC 3597).
type Unknown struct {
	RRType Type
	Octets []byte
}

func (A) Type() Type         { return TypeA }
func (AAAA) Type() Type      { return TypeAAAA }
func (CNAME) Type() Type     { return TypeCNAME }
func (NS) Type() Type        { return TypeNS }
func (PTR) Type() Type       { return TypePTR }
func (DNAME) Type() Type     { return TypeDNAME }
func (MX) Type() Type        { return TypeMX }
func (TXT) Type() Type       { return TypeTXT }
func (SOA) Type() Type       { return TypeSOA }
func (SRV) Type() Type       { return TypeSRV }
func (CAA) Type() Type       { return TypeCAA }
func (u Unknown) Type() Type { return u.RRType }

func (d A) String() string     { return d.Addr.String() }
func (d AAAA) String() string  { return d.Addr.String() }
func (d CNAME) String() string { return d.Target.String() }
func (d NS) String() string    { return d.Host.String() }
func (d PTR) String() string   { return d.Target.String() }
func (d DNAME) String() string { return d.Target.String() }
func (d MX) String() string    { return fmt.Sprintf("%d %s", d.Preference, d.Host) }
func (d SOA) String() string {
	return fmt.Sprintf("%s %s %d %d %d %d %d", d.Primary, d.Mailbox, d.Serial, d.Refresh, d.Retry, d.Expire, d.Minimum)
}
func (d SRV) String() string {
	return fmt.Sprintf("%d %d %d %s", d.Priority, d.Weight, d.Port, d.Target)
}
func (d CAA) String() string { return fmt.Sprintf("%d %s %s", d.Flags, d.Tag, quote(d.Value)) }
func (u Unknown) String() string {
	return strings.TrimSpace(`\# ` + strconv.Itoa(len(u.Octets)) + " " + strings.ToUpper(hex.EncodeToString(u.Octets)))
}
func (d TXT) String() string {
	parts := make([]string, len(d.Strings))
	for i, s := range d.Strings {
		parts[i] = quote(s)
	}
	return strings.Join(parts, " ")
}

// quote returns a character-string between quotation marks.
func quote(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for i := 0; i < len(s); i++ {
		out = appendEscaped(out, s[i], quoted)
	}
	return string(append(out, '"'))
}

func (d A) pack(p *packer) error {
	if !d.Addr.Is4() && !d.Addr.Is4In6() {
		return fmt.Errorf("%q is not an IPv4 address", d.Addr)
	}
	b := d.Addr.As4()
	p.buf = append(p.buf, b[:]...)
	return nil
}

func (d AAAA) pack(p *packer) error {
	if !d.Addr.Is6() || d.Addr.Zone() != "" {
		return fmt.Errorf("%q is not an IPv6 address without a zone", d.Addr)
	}
	b := d.Addr.As16()
	p.buf = append(p.buf, b[:]...)
	return nil
}

func (d CNAME) pack(p *packer) error { p.name(d.Target); return nil }
func (d NS) pack(p *packer) error    { p.name(d.Host); return nil }
func (d PTR) pack(p *packer) error   { p.name(d.Target); return nil }

// RFC 3597 §4: only types of RFC 1035 are compressed.
func (d DNAME) pack(p *packer) error { p.plainName(d.Target); return nil }

func (d MX) pack(p *packer) error {
	p.u16(d.Preference)
	p.name(d.Host)
	return nil
}

func (d TXT) pack(p *packer) error {
	if len(d.Strings) == 0 {
		return fmt.Errorf("a TXT record holds at least one string")
	}
	for _, s := range d.Strings {
		if len(s) > 255 {
			return fmt.Errorf("string of %d octets, at most 255 are possible", len(s))
		}
		p.u8(uint8(len(s)))
		p.buf = append(p.buf, s...)
	}
	return nil
}

func (d SOA) pack(p *packer) error {
	p.name(d.Primary)
	p.name(d.Mailbox)
	for _, v := range []uint32{d.Serial, d.Refresh, d.Retry, d.Expire, d.Minimum} {
		p.u32(v)
	}
	return nil
}

func (d SRV) pack(p *packer) error {
	p.u16(d.Priority)
	p.u16(d.Weight)
	p.u16(d.Port)
	p.plainName(d.Target)
	return nil
}

func (d CAA) pack(p *packer) error {
	if len(d.Tag) == 0 || len(d.Tag) > 255 {
		return fmt.Errorf("tag of %d octets, 1 to 255 are possible", len(d.Tag))
	}
	p.u8(d.Flags)
	p.u8(uint8(len(d.Tag)))
	p.buf = append(p.buf, d.Tag...)
	p.buf = append(p.buf, d.Value...)
	return nil
}

func (u Unknown) pack(p *packer) error {
	p.buf = append(p.buf, u.Octets...)
	return nil
}

// rdata reads the record data that fills the reader's region. It returns nil
// for data of no octets where the type would have some: such records are
// how RFC 2136 deletes and asks.
func (r *reader) rdata(t Type, c Class) RData {
	if r.off == r.end && t != TypeOPT {
		if c == ClassIN || c == ClassCH || c == ClassHS {
			if minimum := minRData(t); minimum > 0 {
				r.fail("empty, at least %d octets are needed", minimum)
			}
		}
		return nil
	}
	switch t {
	case TypeA:
		if c != ClassIN {
			break // in class CH it is something else altogether
		}
		return A{r.addr(4)}
	case TypeAAAA:
		return AAAA{r.addr(16)}
	case TypeCNAME:
		return CNAME{r.name("target")}
	case TypeNS:
		return NS{r.name("host")}
	case TypePTR:
		return PTR{r.name("target")}
	case TypeDNAME:
		return DNAME{r.name("target")}
	case TypeMX:
		return MX{Preference: r.u16("preference"), Host: r.name("host")}
	case TypeTXT:
		return r.txt()
	case TypeSOA:
		return SOA{
			Primary: r.name("primary"), Mailbox: r.name("mailbox"), Serial: r.u32("serial"), Refresh: r.u32("refresh"),
			Retry: r.u32("retry"), Expire: r.u32("expire"), Minimum: r.u32("minimum"),
		}
	case TypeSRV:
		return SRV{Priority: r.u16("priority"), Weight: r.u16("weight"), Port: r.u16("port"), Target: r.name("target")}
	case TypeCAA:
		return r.caa()
	case TypeOPT:
		return r.opt()
	case TypeDS:
		return DS{KeyTag: r.u16("key tag"), Algorithm: r.u8("algorithm"), DigestType: r.u8("digest type"), Digest: clone(r.rest())}
	case TypeDNSKEY:
		return DNSKEY{Flags: r.u16("flags"), Protocol: r.u8("protocol"), Algorithm: r.u8("algorithm"), PublicKey: clone(r.rest())}
	case TypeRRSIG:
		return r.rrsig()
	case TypeNSEC:
		return NSEC{Next: r.plainName("next name"), Types: r.typeBitmap()}
	case TypeSVCB:
		return r.svcb()
	case TypeHTTPS:
		return HTTPS{r.svcb()}
	}
	return Unknown{RRType: t, Octets: clone(r.rest())}
}

// minRData is the least that the data of a known type takes; 0 when empty
// data is possible.
func minRData(t Type) int {
	switch t {
	case TypeA, TypeDNSKEY, TypeDS:
		return 4
	case TypeAAAA:
		return 16
	case TypeCNAME, TypeNS, TypePTR, TypeDNAME, TypeTXT:
		return 1
	case TypeMX, TypeNSEC, TypeCAA, TypeSVCB, TypeHTTPS:
		return 3
	case TypeSOA:
		return 22
	case TypeSRV:
		return 7
	case TypeRRSIG:
		return 19
	}
	return 0
}

func (r *reader) addr(n int) netip.Addr {
	a, _ := netip.AddrFromSlice(r.bytes(n, "address"))
	return a
}

func (r *reader) txt() TXT {
	var d TXT
	for r.off < r.end && r.err == nil {
		n := int(r.u8("string length"))
		d.Strings = append(d.Strings, string(r.bytes(n, "string")))
	}
	return d
}

func (r *reader) caa() CAA {
	d := CAA{Flags: r.u8("flags")}
	n := int(r.u8("tag length"))
	if n == 0 {
		r.fail("empty tag")
	}
	d.Tag = string(r.bytes(n, "tag"))
	d.Value = string(r.rest())
	return d
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
