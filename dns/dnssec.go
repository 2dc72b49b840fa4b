package dns

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DS is the digest of a child zone's key (RFC 4034 §5).
type DS struct {
	KeyTag                uint16
	Algorithm, DigestType uint8
	Digest                []byte
}

// DNSKEY is a zone's public key (RFC 4034 §2).
type DNSKEY struct {
	Flags               uint16
	Protocol, Algorithm uint8
	PublicKey           []byte
}

// RRSIG is a signature over a record set (RFC 4034 §3). Expiration and
// Inception are seconds since 1970 modulo 2^32 (§3.1.5).
type RRSIG struct {
	Covered                            Type
	Algorithm, Labels                  uint8
	OriginalTTL, Expiration, Inception uint32
	KeyTag                             uint16
	Signer                             Name
	Signature                          []byte
}

// NSEC says that nothing stands between its owner and Next, and which types
// the owner has (RFC 4034 §4).
type NSEC struct {
	Next  Name
	Types []Type
}

func (DS) Type() Type     { return TypeDS }
func (DNSKEY) Type() Type { return TypeDNSKEY }
func (RRSIG) Type() Type  { return TypeRRSIG }
func (NSEC) Type() Type   { return TypeNSEC }

func (d DS) String() string {
	return fmt.Sprintf("%d %d %d %s", d.KeyTag, d.Algorithm, d.DigestType, strings.ToUpper(hex.EncodeToString(d.Digest)))
}

func (d DNSKEY) String() string {
	return fmt.Sprintf("%d %d %d %s", d.Flags, d.Protocol, d.Algorithm, base64.StdEncoding.EncodeToString(d.PublicKey))
}

func (d RRSIG) String() string {
	return fmt.Sprintf("%s %d %d %d %s %s %d %s %s", d.Covered, d.Algorithm, d.Labels, d.OriginalTTL,
		signatureTime(d.Expiration), signatureTime(d.Inception), d.KeyTag, d.Signer,
		base64.StdEncoding.EncodeToString(d.Signature))
}

func (d NSEC) String() string {
	var s strings.Builder
	s.WriteString(d.Next.String())
	for _, t := range d.Types {
		s.WriteString(" " + t.String())
	}
	return s.String()
}

// signatureTime prints YYYYMMDDHHmmSS in UTC (RFC 4034 §3.2), reading the
// 32 bits as a time before 2106.
func signatureTime(v uint32) string { return time.Unix(int64(v), 0).UTC().Format("20060102150405") }

func (d DS) pack(p *packer) error {
	p.u16(d.KeyTag)
	p.u8(d.Algorithm)
	p.u8(d.DigestType)
	p.buf = append(p.buf, d.Digest...)
	return nil
}

func (d DNSKEY) pack(p *packer) error {
	p.u16(d.Flags)
	p.u8(d.Protocol)
	p.u8(d.Algorithm)
	p.buf = append(p.buf, d.PublicKey...)
	return nil
}

func (d RRSIG) pack(p *packer) error {
	p.u16(uint16(d.Covered))
	p.u8(d.Algorithm)
	p.u8(d.Labels)
	p.u32(d.OriginalTTL)
	p.u32(d.Expiration)
	p.u32(d.Inception)
	p.u16(d.KeyTag)
	p.plainName(d.Signer)
	p.buf = append(p.buf, d.Signature...)
	return nil
}

func (d NSEC) pack(p *packer) error {
	p.plainName(d.Next)
	types := slices.Clone(d.Types)
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
		p.u8(uint8(window))
		p.u8(uint8(used))
		p.buf = append(p.buf, bitmap[:used]...)
	}
	return nil
}

func (r *reader) rrsig() RRSIG {
	return RRSIG{
		Covered: Type(r.u16("type covered")), Algorithm: r.u8("algorithm"), Labels: r.u8("labels"),
		OriginalTTL: r.u32("original ttl"), Expiration: r.u32("expiration"), Inception: r.u32("inception"),
		KeyTag: r.u16("key tag"), Signer: r.plainName("signer"), Signature: clone(r.rest()),
	}
}

// typeBitmap reads RFC 4034 §4.1.2: windows in rising order, each with 1 to
// 32 octets of bits.
func (r *reader) typeBitmap() []Type {
	var types []Type
	last := -1
	for r.off < r.end && r.err == nil {
		window, n := int(r.u8("window")), int(r.u8("bitmap length"))
		switch {
		case window <= last:
			r.fail("type bitmap: window %d after window %d", window, last)
		case n < 1 || n > 32:
			r.fail("type bitmap: window of %d octets, 1 to 32 are possible", n)
		}
		last = window
		for i, b := range r.bytes(n, "bitmap") {
			for bit := range 8 {
				if b&(0x80>>bit) != 0 {
					types = append(types, Type(window<<8|i*8|bit))
				}
			}
		}
	}
	return types
}

// Tag returns the key tag of RFC 4034 appendix B, by which RRSIG and DS
// records name a key.
func (d DNSKEY) Tag() uint16 {
	p := packer{}
	_ = d.pack(&p)
	if d.Algorithm == 1 { // appendix B.1: RSA/MD5 tells it another way
		if len(p.buf) < 7 {
			return 0
		}
		return binary.BigEndian.Uint16(p.buf[len(p.buf)-3:])
	}
	var sum uint32
	for i, b := range p.buf {
		if i&1 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	return uint16(sum + sum>>16)
}
