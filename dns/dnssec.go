package dns

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
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

// NSEC3 is NSEC with hashed names (RFC 5155 §3).
type NSEC3 struct {
	// HashAlgorithm is 1 for SHA-1. Flags 1 is opt-out.
	HashAlgorithm, Flags uint8
	Iterations           uint16
	Salt                 string
	// NextHash is the hash of the next owner name.
	NextHash string
	Types    []Type
}

// NSEC3PARAM says how a zone's names are hashed (RFC 5155 §4).
type NSEC3PARAM struct {
	HashAlgorithm, Flags uint8
	Iterations           uint16
	Salt                 string
}

// Type returns the number of the record type.
func (DS) Type() Type         { return TypeDS }
func (DNSKEY) Type() Type     { return TypeDNSKEY }
func (RRSIG) Type() Type      { return TypeRRSIG }
func (NSEC) Type() Type       { return TypeNSEC }
func (NSEC3) Type() Type      { return TypeNSEC3 }
func (NSEC3PARAM) Type() Type { return TypeNSEC3PARAM }

func (d DS) String() string         { return present(d) }
func (d DNSKEY) String() string     { return present(d) }
func (d RRSIG) String() string      { return present(d) }
func (d NSEC) String() string       { return present(d) }
func (d NSEC3) String() string      { return present(d) }
func (d NSEC3PARAM) String() string { return present(d) }

// signatureTime prints YYYYMMDDHHmmSS in UTC (RFC 4034 §3.2), reading the
// 32 bits as a time before 2106.
func signatureTime(v uint32) string { return time.Unix(int64(v), 0).UTC().Format("20060102150405") }

func (d DS) appendTo(b []byte) ([]byte, error) {
	b = append(binary.BigEndian.AppendUint16(b, d.KeyTag), d.Algorithm, d.DigestType)
	return append(b, d.Digest...), nil
}

func (d DNSKEY) appendTo(b []byte) ([]byte, error) {
	b = append(binary.BigEndian.AppendUint16(b, d.Flags), d.Protocol, d.Algorithm)
	return append(b, d.PublicKey...), nil
}

func (d RRSIG) appendTo(b []byte) ([]byte, error) {
	return append(d.AppendHead(b), d.Signature...), nil
}

// AppendHead appends all fields but the signature, which signatures cover
// (RFC 4034 §3.1.8.1).
func (d RRSIG) AppendHead(b []byte) []byte {
	b = append(binary.BigEndian.AppendUint16(b, uint16(d.Covered)), d.Algorithm, d.Labels)
	for _, v := range [...]uint32{d.OriginalTTL, d.Expiration, d.Inception} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return appendName(binary.BigEndian.AppendUint16(b, d.KeyTag), d.Signer)
}

func (d NSEC) appendTo(b []byte) ([]byte, error) {
	return appendBitmap(appendName(b, d.Next), d.Types), nil
}

func (d NSEC3) appendTo(b []byte) ([]byte, error) {
	if len(d.Salt) > 255 || len(d.NextHash) > 255 {
		return nil, fmt.Errorf("salt of %d and hash of %d octets, at most 255 are possible", len(d.Salt), len(d.NextHash))
	}
	b = binary.BigEndian.AppendUint16(append(b, d.HashAlgorithm, d.Flags), d.Iterations)
	b = append(append(b, uint8(len(d.Salt))), d.Salt...)
	b = append(append(b, uint8(len(d.NextHash))), d.NextHash...)
	return appendBitmap(b, d.Types), nil
}

func (d NSEC3PARAM) appendTo(b []byte) ([]byte, error) {
	if len(d.Salt) > 255 {
		return nil, fmt.Errorf("salt of %d octets, at most 255 are possible", len(d.Salt))
	}
	b = binary.BigEndian.AppendUint16(append(b, d.HashAlgorithm, d.Flags), d.Iterations)
	return append(append(b, uint8(len(d.Salt))), d.Salt...), nil
}

// Tag returns the key tag of RFC 4034 appendix B, by which RRSIG and DS
// records name a key.
func (d DNSKEY) Tag() uint16 {
	b, _ := d.appendTo(nil)
	if d.Algorithm == 1 { // appendix B.1: RSA/MD5 tells it another way
		if len(b) < 7 {
			return 0
		}
		return binary.BigEndian.Uint16(b[len(b)-3:])
	}
	var sum uint32
	for i, c := range b {
		if i&1 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	return uint16(sum + sum>>16)
}

// AlgorithmName returns the mnemonic of a DNSSEC algorithm, or its number.
func AlgorithmName(a uint8) string { return mnemonic(algorithmNames, uint16(a), "") }

// HashNSEC3 returns the hash of a name as RFC 5155 §5 makes it with SHA-1.
func HashNSEC3(name Name, salt string, iterations uint16) [sha1.Size]byte {
	sum := sha1.Sum(append(appendName(nil, name.Fold()), salt...))
	for range iterations {
		sum = sha1.Sum(append(sum[:], salt...))
	}
	return sum
}

// algorithmNames are the mnemonics of DNSSEC algorithms (IANA registry).
var algorithmNames = []named{
	{1, "RSAMD5"}, {2, "DH"}, {3, "DSA"}, {5, "RSASHA1"}, {6, "DSA-NSEC3-SHA1"}, {7, "RSASHA1-NSEC3-SHA1"}, {7, "NSEC3RSASHA1"},
	{8, "RSASHA256"}, {10, "RSASHA512"}, {12, "ECC-GOST"}, {13, "ECDSAP256SHA256"}, {14, "ECDSAP384SHA384"}, {15, "ED25519"},
	{16, "ED448"}, {252, "INDIRECT"}, {253, "PRIVATEDNS"}, {254, "PRIVATEOID"},
}
