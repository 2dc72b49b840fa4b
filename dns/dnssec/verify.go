// Package dnssec checks DNS signatures and proofs of non-existence (RFC
// 4033–4035, 5155). It decides nothing about whom to trust and fetches
// nothing: see package recursor for the chain of trust.
package dnssec

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"slices"
	"strings"
	"time"

	"peel/dns"
)

// Errors of Verify that say more than that a signature is wrong.
var (
	ErrExpired     = errors.New("the signature has expired")
	ErrNotYetValid = errors.New("the signature is not valid yet")
	ErrUnsupported = errors.New("the algorithm is not supported")
	// ErrWrong is what a signature that was worked out is found to be.
	ErrWrong = errors.New("the signature does not fit the records")
)

// Supported tells whether signatures of an algorithm can be checked. A zone
// whose keys all are of other algorithms counts as unsigned (RFC 4035 §5.2).
func Supported(algorithm uint8) bool {
	switch algorithm {
	case 5, 7, 8, 10, 13, 14, 15:
		return true
	}
	return false
}

// SupportedDigest tells whether a DS record's digest can be checked.
func SupportedDigest(t uint8) bool { return t == 1 || t == 2 || t == 4 }

// IsZoneKey tells whether a key may sign a zone's records: the Zone Key flag,
// protocol 3, and not revoked (RFC 4034 §2.1, RFC 5011 §2.1).
func IsZoneKey(k dns.DNSKEY) bool {
	return k.Flags&0x100 != 0 && k.Protocol == 3 && k.Flags&0x80 == 0
}

// MatchesDS tells whether a DS record of owner names a key (RFC 4034 §5.1.4).
func MatchesDS(ds dns.DS, owner dns.Name, k dns.DNSKEY) bool {
	if ds.Algorithm != k.Algorithm || ds.KeyTag != k.Tag() {
		return false
	}
	b := append([]byte(owner.Fold().Wire()), 0)
	b = append(binary.BigEndian.AppendUint16(b, k.Flags), k.Protocol, k.Algorithm)
	b = append(b, k.PublicKey...)
	var sum []byte
	switch ds.DigestType {
	case 1:
		s := sha1.Sum(b)
		sum = s[:]
	case 2:
		s := sha256.Sum256(b)
		sum = s[:]
	case 4:
		s := sha512.Sum384(b)
		sum = s[:]
	default:
		return false
	}
	return bytes.Equal(sum, ds.Digest)
}

// NewDS makes the DS record data for a key, with SHA-256.
func NewDS(owner dns.Name, k dns.DNSKEY) dns.DS {
	b := append([]byte(owner.Fold().Wire()), 0)
	b = append(binary.BigEndian.AppendUint16(b, k.Flags), k.Protocol, k.Algorithm)
	sum := sha256.Sum256(append(b, k.PublicKey...))
	return dns.DS{KeyTag: k.Tag(), Algorithm: k.Algorithm, DigestType: 2, Digest: sum[:]}
}

// InTime tells whether a signature is valid at a time, which counts in 32
// bits that wrap (RFC 4034 §3.1.5).
func InTime(sig dns.RRSIG, now time.Time) error {
	t := uint32(now.Unix())
	if int32(t-sig.Inception) < 0 {
		return fmt.Errorf("%w: it begins at %s", ErrNotYetValid, stamp(sig.Inception, now))
	}
	if int32(sig.Expiration-t) < 0 {
		return fmt.Errorf("%w: it ended at %s", ErrExpired, stamp(sig.Expiration, now))
	}
	return nil
}

func stamp(v uint32, now time.Time) string {
	return now.Add(time.Duration(int32(v-uint32(now.Unix()))) * time.Second).UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Set is a record set, all of one owner and type, made ready for checking
// signatures over it: its canonical form is made once, however many there are.
type Set struct {
	records []dns.Resource
	data    []string // canonical, in order, each once
	size    int
}

// NewSet makes a set ready.
func NewSet(records []dns.Resource) *Set {
	s := &Set{records: records, data: make([]string, len(records))}
	for i, rr := range records {
		s.data[i] = rr.CanonicalData()
	}
	slices.Sort(s.data)
	s.data = slices.Compact(s.data)
	for _, d := range s.data {
		s.size += len(d) + 10
		if len(records) > 0 {
			s.size += records[0].Name.Size()
		}
	}
	return s
}

// Work says what checking one signature over the set by a key costs, in about
// microseconds of one processor: it depends on nothing but the key and the
// size of the records.
func (s *Set) Work(key dns.DNSKEY) int {
	work := 1 + s.size/400
	switch key.Algorithm {
	case 5, 7, 8, 10:
		if pub, err := rsaKey(key.PublicKey); err == nil {
			words := (pub.N.BitLen() + 63) / 64
			work += words * words * (bits.Len(uint(pub.E)) + bits.OnesCount(uint(pub.E))) / 400
		}
	case 13:
		work += 80
	case 14:
		work += 400
	case 15:
		work += 60
	}
	return work
}

// Verify is Set.Verify for a set that is checked once.
func Verify(sig dns.RRSIG, key dns.DNSKEY, set []dns.Resource, now time.Time) error {
	return NewSet(set).Verify(sig, key, now)
}

// Verify checks a signature over the set (RFC 4035 §5.3) at a time.
func (s *Set) Verify(sig dns.RRSIG, key dns.DNSKEY, now time.Time) error {
	if len(s.records) == 0 {
		return errors.New("no records")
	}
	owner := s.records[0].Name
	switch {
	case sig.Covered != s.records[0].Type:
		return fmt.Errorf("the signature covers %s", sig.Covered)
	case !owner.IsSubdomainOf(sig.Signer):
		return fmt.Errorf("the signer %s is not above %s", sig.Signer, owner)
	case sig.Algorithm != key.Algorithm || sig.KeyTag != key.Tag():
		return fmt.Errorf("the signature is by key %d", sig.KeyTag)
	case !IsZoneKey(key):
		return fmt.Errorf("key %d is not a zone key", sig.KeyTag)
	case int(sig.Labels) > countLabels(owner):
		return fmt.Errorf("the signature is for a name of %d labels", sig.Labels)
	}
	if err := InTime(sig, now); err != nil {
		return err
	}
	return check(key, s.signedData(sig), sig.Signature)
}

// countLabels counts labels as RRSIG records do: without root and wildcard.
func countLabels(n dns.Name) int {
	c := n.NumLabels()
	if strings.HasPrefix(n.Wire(), "\x01*") {
		c--
	}
	return c
}

// Wildcard tells whether a signature was made for a wildcard that owner was
// expanded from.
func Wildcard(sig dns.RRSIG, owner dns.Name) bool { return int(sig.Labels) < countLabels(owner) }

// SignedData returns what a signature is made over (RFC 4034 §3.1.8.1).
func SignedData(sig dns.RRSIG, set []dns.Resource) []byte { return NewSet(set).signedData(sig) }

func (s *Set) signedData(sig dns.RRSIG) []byte {
	sig.Signer = sig.Signer.Fold()
	b := sig.AppendHead(make([]byte, 0, s.size+300))
	owner := s.records[0].Name.Fold()
	wire := owner.Wire() + "\x00"
	if Wildcard(sig, owner) {
		wire = "\x01*" + owner.Suffix(int(sig.Labels)).Wire() + "\x00"
	}
	for _, d := range s.data {
		b = append(b, wire...)
		b = binary.BigEndian.AppendUint16(b, uint16(sig.Covered))
		b = binary.BigEndian.AppendUint16(b, uint16(s.records[0].Class))
		b = binary.BigEndian.AppendUint32(b, sig.OriginalTTL)
		b = binary.BigEndian.AppendUint16(b, uint16(len(d)))
		b = append(b, d...)
	}
	return b
}

// check verifies a signature with the standard library's algorithms.
func check(key dns.DNSKEY, data, signature []byte) error {
	switch key.Algorithm {
	case 5, 7, 8, 10: // RFC 3110, RFC 5702
		pub, err := rsaKey(key.PublicKey)
		if err != nil {
			return err
		}
		if n := pub.N.BitLen(); n < leastSecure {
			return fmt.Errorf("key %d is an RSA key of %d bits: what fewer than %d sign is not relied on", key.Tag(), n, leastSecure)
		}
		hash, sum := crypto.SHA256, []byte(nil)
		switch key.Algorithm {
		case 8:
			s := sha256.Sum256(data)
			sum = s[:]
		case 10:
			s := sha512.Sum512(data)
			hash, sum = crypto.SHA512, s[:]
		default:
			s := sha1.Sum(data)
			hash, sum = crypto.SHA1, s[:]
		}
		if rsa.VerifyPKCS1v15(pub, hash, sum, signature) != nil {
			return ErrWrong
		}
		return nil
	case 13, 14: // RFC 6605
		curve, size := elliptic.P256(), 32
		var sum []byte
		if key.Algorithm == 14 {
			curve, size = elliptic.P384(), 48
			s := sha512.Sum384(data)
			sum = s[:]
		} else {
			s := sha256.Sum256(data)
			sum = s[:]
		}
		if len(key.PublicKey) != 2*size || len(signature) != 2*size {
			return fmt.Errorf("key of %d and signature of %d octets, both take %d", len(key.PublicKey), len(signature), 2*size)
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, key.PublicKey...))
		if err != nil {
			return errors.New("the key is no point of the curve")
		}
		if !ecdsa.Verify(pub, sum, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])) {
			return ErrWrong
		}
		return nil
	case 15: // RFC 8080
		if len(key.PublicKey) != ed25519.PublicKeySize {
			return fmt.Errorf("key of %d octets, Ed25519 takes %d", len(key.PublicKey), ed25519.PublicKeySize)
		}
		if !ed25519.Verify(key.PublicKey, data, signature) {
			return ErrWrong
		}
		return nil
	}
	return fmt.Errorf("%w: %d", ErrUnsupported, key.Algorithm)
}

// An RSA key has 512 to 4096 bits (RFC 3110 §2, RFC 5702 §2). The standard
// library checks nothing by keys of fewer than 1024, which can be factored.
const (
	minModulus  = 512
	maxModulus  = 4096
	leastSecure = 1024
)

// rsaKey reads a key as RFC 3110 §2 has it.
func rsaKey(b []byte) (*rsa.PublicKey, error) {
	bad := errors.New("the RSA key is malformed")
	if len(b) < 3 {
		return nil, bad
	}
	n, b := int(b[0]), b[1:]
	if n == 0 {
		n, b = int(binary.BigEndian.Uint16(b)), b[2:]
	}
	if n == 0 || n > 4 || n >= len(b) {
		return nil, bad
	}
	e := 0
	for _, c := range b[:n] {
		e = e<<8 | int(c)
	}
	modulus := new(big.Int).SetBytes(b[n:])
	if n := modulus.BitLen(); n < minModulus || n > maxModulus || e < 3 || e > 1<<31-1 {
		return nil, bad
	}
	return &rsa.PublicKey{N: modulus, E: e}, nil
}
