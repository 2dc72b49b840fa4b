package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Value is the data of a record, taken apart: one of the types of this
// package, or Unknown.
type Value interface {
	// Type is the record type that the data belongs to.
	Type() Type
	// String returns the presentation form, as in a zone file.
	String() string
	// appendTo appends the wire form, no name in it compressed.
	appendTo(b []byte) ([]byte, error)
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

// Unknown is data that this package does not give a type of its own: its wire
// form. It still prints field by field where its form is known.
type Unknown struct {
	RRType Type
	Octets []byte
}

// Type returns the number of the record type.
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

func (d A) String() string       { return present(d) }
func (d AAAA) String() string    { return present(d) }
func (d CNAME) String() string   { return present(d) }
func (d NS) String() string      { return present(d) }
func (d PTR) String() string     { return present(d) }
func (d DNAME) String() string   { return present(d) }
func (d MX) String() string      { return present(d) }
func (d TXT) String() string     { return present(d) }
func (d SOA) String() string     { return present(d) }
func (d SRV) String() string     { return present(d) }
func (d CAA) String() string     { return present(d) }
func (u Unknown) String() string { return present(u) }

// present prints a value by way of its wire form, so that there is one way
// to print each type.
func present(v Value) string {
	b, err := v.appendTo(nil)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(appendData(nil, v.Type(), ClassIN, string(b)))
}

func appendName(b []byte, n Name) []byte { return append(append(b, n.wire...), 0) }

func (d A) appendTo(b []byte) ([]byte, error) {
	if !d.Addr.Is4() && !d.Addr.Is4In6() {
		return nil, fmt.Errorf("%q is not an IPv4 address", d.Addr)
	}
	a := d.Addr.As4()
	return append(b, a[:]...), nil
}

func (d AAAA) appendTo(b []byte) ([]byte, error) {
	if !d.Addr.Is6() || d.Addr.Zone() != "" {
		return nil, fmt.Errorf("%q is not an IPv6 address without a zone", d.Addr)
	}
	a := d.Addr.As16()
	return append(b, a[:]...), nil
}

func (d CNAME) appendTo(b []byte) ([]byte, error) { return appendName(b, d.Target), nil }
func (d NS) appendTo(b []byte) ([]byte, error)    { return appendName(b, d.Host), nil }
func (d PTR) appendTo(b []byte) ([]byte, error)   { return appendName(b, d.Target), nil }
func (d DNAME) appendTo(b []byte) ([]byte, error) { return appendName(b, d.Target), nil }

func (d MX) appendTo(b []byte) ([]byte, error) {
	return appendName(binary.BigEndian.AppendUint16(b, d.Preference), d.Host), nil
}

func (d TXT) appendTo(b []byte) ([]byte, error) {
	if len(d.Strings) == 0 {
		return nil, fmt.Errorf("a TXT record holds at least one string")
	}
	for _, s := range d.Strings {
		if len(s) > 255 {
			return nil, fmt.Errorf("string of %d octets, at most 255 are possible", len(s))
		}
		b = append(append(b, uint8(len(s))), s...)
	}
	return b, nil
}

func (d SOA) appendTo(b []byte) ([]byte, error) {
	b = appendName(appendName(b, d.Primary), d.Mailbox)
	for _, v := range [...]uint32{d.Serial, d.Refresh, d.Retry, d.Expire, d.Minimum} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b, nil
}

func (d SRV) appendTo(b []byte) ([]byte, error) {
	for _, v := range [...]uint16{d.Priority, d.Weight, d.Port} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return appendName(b, d.Target), nil
}

func (d CAA) appendTo(b []byte) ([]byte, error) {
	if len(d.Tag) == 0 || len(d.Tag) > 255 {
		return nil, fmt.Errorf("tag of %d octets, 1 to 255 are possible", len(d.Tag))
	}
	b = append(append(b, d.Flags, uint8(len(d.Tag))), d.Tag...)
	return append(b, d.Value...), nil
}

func (u Unknown) appendTo(b []byte) ([]byte, error) { return append(b, u.Octets...), nil }

// Value takes the record's data apart. Data that does not have the form of
// its type, and that of a type this package has no type for, is Unknown.
func (r Resource) Value() Value {
	if v, ok := r.typed(); ok {
		return v
	}
	return Unknown{r.Type, []byte(r.Data)}
}

// Text returns the presentation form of the record's data.
func (r Resource) Text() string {
	return string(appendData(nil, r.Type, r.Class, r.Data))
}

// Addr returns the address of an A or AAAA record.
func (r Resource) Addr() (netip.Addr, bool) {
	switch {
	case r.Type == TypeA && r.Class == ClassIN && len(r.Data) == 4:
		return netip.AddrFrom4([4]byte([]byte(r.Data))), true
	case r.Type == TypeAAAA && r.Class == ClassIN && len(r.Data) == 16:
		return netip.AddrFrom16([16]byte([]byte(r.Data))), true
	}
	return netip.Addr{}, false
}

// Target returns the name that a CNAME, NS, PTR or DNAME record holds.
func (r Resource) Target() (Name, bool) {
	switch r.Type {
	case TypeCNAME, TypeNS, TypePTR, TypeDNAME:
		if n := nameLength(r.Data); n > 0 && n == len(r.Data) {
			return Name{r.Data[:n-1]}, true
		}
	}
	return Name{}, false
}

func (r Resource) typed() (v Value, ok bool) {
	if formOf(r.Type, r.Class) == nil {
		return nil, false
	}
	c := cut{s: r.Data}
	switch r.Type {
	case TypeA, TypeAAAA:
		a, ok := r.Addr()
		if r.Type == TypeA {
			return A{a}, ok
		}
		return AAAA{a}, ok
	case TypeCNAME:
		v = CNAME{c.name()}
	case TypeNS:
		v = NS{c.name()}
	case TypePTR:
		v = PTR{c.name()}
	case TypeDNAME:
		v = DNAME{c.name()}
	case TypeMX:
		v = MX{c.u16(), c.name()}
	case TypeTXT:
		var d TXT
		for len(c.s) > 0 && !c.bad {
			d.Strings = append(d.Strings, c.take(int(c.u8())))
		}
		v, c.bad = d, c.bad || len(d.Strings) == 0
	case TypeSOA:
		v = SOA{c.name(), c.name(), c.u32(), c.u32(), c.u32(), c.u32(), c.u32()}
	case TypeSRV:
		v = SRV{c.u16(), c.u16(), c.u16(), c.name()}
	case TypeCAA:
		v = CAA{c.u8(), c.take(int(c.u8())), c.rest()}
	case TypeDS:
		v = DS{c.u16(), c.u8(), c.u8(), []byte(c.rest())}
	case TypeDNSKEY:
		v = DNSKEY{c.u16(), c.u8(), c.u8(), []byte(c.rest())}
	case TypeRRSIG:
		v = RRSIG{Type(c.u16()), c.u8(), c.u8(), c.u32(), c.u32(), c.u32(), c.u16(), c.name(), []byte(c.rest())}
	case TypeNSEC:
		v = NSEC{c.name(), bitmapTypes(c.rest())}
	case TypeNSEC3:
		v = NSEC3{c.u8(), c.u8(), c.u16(), c.take(int(c.u8())), c.take(int(c.u8())), bitmapTypes(c.rest())}
	case TypeNSEC3PARAM:
		v = NSEC3PARAM{c.u8(), c.u8(), c.u16(), c.take(int(c.u8()))}
	case TypeSVCB:
		v = c.svcb()
	case TypeHTTPS:
		v = HTTPS{c.svcb()}
	case TypeOPT:
		v = c.opt()
	default:
		return nil, false
	}
	return v, !c.bad && c.s == ""
}

// cut takes record data apart. It turns bad when the data ends too soon, and
// then gives zero values.
type cut struct {
	s   string
	bad bool
}

func (c *cut) take(n int) string {
	if n > len(c.s) {
		c.s, c.bad = "", true
		return ""
	}
	s := c.s[:n]
	c.s = c.s[n:]
	return s
}

func (c *cut) rest() string { return c.take(len(c.s)) }

func (c *cut) u8() uint8 {
	if s := c.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (c *cut) u16() uint16 { return uint16(c.u8())<<8 | uint16(c.u8()) }
func (c *cut) u32() uint32 { return uint32(c.u16())<<16 | uint32(c.u16()) }

func (c *cut) name() Name {
	n := nameLength(c.s)
	if n == 0 {
		c.s, c.bad = "", true
		return Name{}
	}
	return Name{c.take(n)[:n-1]}
}

// names calls f with the place of each name in record data, and tells whether
// its case counts in canonical form.
func names(t Type, c Class, wire string, f func(from, to int, lower bool)) {
	form := formOf(t, c)
	if form == nil {
		return
	}
	at := 0
	for _, p := range form.fields {
		n := 0
		switch p.kind {
		case kindName, kindRead, kindSigner, kindPlain:
			if n = nameLength(wire[at:]); n == 0 {
				return
			}
			f(at, at+n, p.kind != kindPlain)
		case kindString, kindBare, kindSalt, kindHash, kindWord:
			if at >= len(wire) {
				return
			}
			n = 1 + int(wire[at])
		default:
			n = kindSizes[p.kind]
			if n == 0 {
				return
			}
		}
		if at += n; at > len(wire) {
			return
		}
	}
}

// CanonicalData returns the record's data in the canonical form of RFC 4034
// §6.2, as signatures cover it.
func (r Resource) CanonicalData() string {
	var b []byte
	names(r.Type, r.Class, r.Data, func(from, to int, fold bool) {
		for i := from; fold && i < to; i++ {
			if lower(r.Data[i]) != r.Data[i] {
				if b == nil {
					b = []byte(r.Data)
				}
				b[i] = lower(b[i])
			}
		}
	})
	if b == nil {
		return r.Data
	}
	return string(b)
}

// bitmapTypes reads a type bitmap (RFC 4034 §4.1.2).
func bitmapTypes(s string) []Type {
	var types []Type
	for len(s) >= 2 {
		window, n := int(s[0]), int(s[1])
		s = s[2:]
		for i := range min(n, len(s)) {
			for bit := range 8 {
				if s[i]&(0x80>>bit) != 0 {
					types = append(types, Type(window<<8|i*8|bit))
				}
			}
		}
		s = s[min(n, len(s)):]
	}
	return types
}

func appendBitmap(b []byte, types []Type) []byte {
	types = slices.Clone(types)
	slices.Sort(types)
	for len(types) > 0 {
		window := types[0] >> 8
		var bitmap [32]byte
		used := 0
		for len(types) > 0 && types[0]>>8 == window {
			low := types[0] & 0xff
			bitmap[low/8] |= 0x80 >> (low % 8)
			used = int(low/8) + 1
			types = types[1:]
		}
		b = append(append(b, uint8(window), uint8(used)), bitmap[:used]...)
	}
	return b
}

// checkSpecial holds the data of the forms that are not a row of fields
// against their rules, and says what is wrong.
func checkSpecial(k kind, b []byte) string {
	switch k {
	case kindLOC:
		if len(b) != 16 {
			return fmt.Sprintf("%d octets, a position takes 16", len(b))
		}
		if b[0] != 0 {
			return fmt.Sprintf("version %d is not known", b[0])
		}
		for _, c := range b[1:4] {
			if c>>4 > 9 || c&0xf > 9 {
				return fmt.Sprintf("size %#02x is not two decimal digits", c)
			}
		}
	case kindAPL:
		for len(b) > 0 {
			if len(b) < 4 || int(b[3]&0x7f) > len(b)-4 {
				return "a prefix runs over the end"
			}
			family, bits, n := binary.BigEndian.Uint16(b), int(b[2]), int(b[3]&0x7f)
			if size := map[uint16]int{1: 4, 2: 16}[family]; size == 0 || n > size || bits > size*8 {
				return fmt.Sprintf("family %d with a prefix of %d bits in %d octets", family, bits, n)
			}
			if n > 0 && b[4+n-1] == 0 {
				return "a prefix ends in a zero octet (RFC 3123 §4)"
			}
			b = b[4+n:]
		}
	case kindServices:
		if len(b) < 1 {
			return "too short"
		}
		if len(b) > 1+65536/8 {
			return fmt.Sprintf("a bitmap of %d octets, there are ports for 8192", len(b)-1)
		}
		if len(b) > 1 && b[len(b)-1] == 0 {
			return "a bitmap that ends in a zero octet"
		}
	case kindGateway:
		if len(b) < 2 {
			return "too short"
		}
		return checkGateway(b[0], b[2:], false)
	case kindRelay:
		if len(b) < 1 {
			return "too short"
		}
		return checkGateway(b[0]&0x7f, b[1:], true)
	case kindHIP:
		if len(b) < 4 {
			return "too short"
		}
		n, m := int(b[0]), int(binary.BigEndian.Uint16(b[2:]))
		if n == 0 || m == 0 || 4+n+m > len(b) {
			return "the identity tag or the key runs over the end"
		}
		for s := string(b[4+n+m:]); s != ""; {
			n := nameLength(s)
			if n == 0 {
				return "a rendezvous server's name runs over the end"
			}
			s = s[n:]
		}
	}
	return ""
}

func checkGateway(kind uint8, b []byte, last bool) string {
	n, size := 0, 0
	switch kind {
	case 0:
	case 1:
		size = 4
	case 2:
		size = 16
	case 3:
		if size = nameLength(string(b)); size == 0 {
			return "the gateway's name runs over the end"
		}
	default:
		return fmt.Sprintf("gateway type %d is not known", kind)
	}
	if n = len(b) - size; n < 0 || last && n != 0 {
		return fmt.Sprintf("%d octets where the gateway takes %d", len(b), size)
	}
	return ""
}

// NewResource makes a record of class IN. The TTL is in seconds. It panics on
// a value that has no wire form, such as an A with an IPv6 address; MakeResource
// is for values that are not the program's own.
func NewResource(name Name, ttl uint32, v Value) Resource {
	r, err := MakeResource(name, ttl, v)
	if err != nil {
		panic(err)
	}
	return r
}

// MakeResource makes a record of class IN. The TTL is in seconds.
func MakeResource(name Name, ttl uint32, v Value) (Resource, error) {
	b, err := v.appendTo(nil)
	if err != nil {
		return Resource{}, fmt.Errorf("dns: record %s %s: %w", name, v.Type(), err)
	}
	if len(b) > 0xffff {
		return Resource{}, fmt.Errorf("dns: record %s %s: %d octets of data, at most 65535 are possible", name, v.Type(), len(b))
	}
	return Resource{Name: name, Type: v.Type(), Class: ClassIN, TTL: ttl, Data: string(b)}, nil
}
