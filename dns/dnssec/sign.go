package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"io"
	"slices"
	"time"

	"peel/dns"
)

// Signer signs zones with one ECDSA P-256 key (algorithm 13, RFC 6605), which
// is the zone's key-signing and zone-signing key at once.
type Signer struct {
	Zone dns.Name
	// Key is the DNSKEY record's data.
	Key     dns.DNSKEY
	private *ecdsa.PrivateKey
}

// NewSigner makes a key. entropy is random octets, as crypto/rand.Reader
// gives.
func NewSigner(zone dns.Name, entropy io.Reader) (*Signer, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), entropy)
	if err != nil {
		return nil, err
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	return &Signer{zone, dns.DNSKEY{Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: point[1:]}, k}, nil
}

// DS returns the record by which the parent zone vouches for the key.
func (s *Signer) DS(ttl uint32) dns.Resource {
	return dns.NewResource(s.Zone, ttl, NewDS(s.Zone, s.Key))
}

// Sign returns the signature over a record set, valid from inception to
// expiration.
func (s *Signer) Sign(set []dns.Resource, inception, expiration time.Time, entropy io.Reader) (dns.Resource, error) {
	sig := dns.RRSIG{
		Covered: set[0].Type, Algorithm: 13, Labels: uint8(countLabels(set[0].Name)), OriginalTTL: set[0].TTL,
		Expiration: uint32(expiration.Unix()), Inception: uint32(inception.Unix()), KeyTag: s.Key.Tag(), Signer: s.Zone,
	}
	sum := sha256.Sum256(SignedData(sig, set))
	r, v, err := ecdsa.Sign(entropy, s.private, sum[:])
	if err != nil {
		return dns.Resource{}, err
	}
	sig.Signature = make([]byte, 64)
	r.FillBytes(sig.Signature[:32])
	v.FillBytes(sig.Signature[32:])
	return dns.MakeResource(set[0].Name, set[0].TTL, sig)
}

// SignZone returns the records of a zone with its key, NSEC records and
// signatures added. What is below a delegation is not signed.
func (s *Signer) SignZone(records []dns.Resource, negativeTTL uint32, inception, expiration time.Time, entropy io.Reader) ([]dns.Resource, error) {
	out := append(slices.Clone(records), dns.NewResource(s.Zone, 3600, s.Key))
	type key struct {
		name dns.Name
		t    dns.Type
	}
	sets := map[key][]dns.Resource{}
	types := map[dns.Name][]dns.Type{}
	cuts := map[dns.Name]bool{}
	for _, rr := range out {
		n := rr.Name.Fold()
		if rr.Type == dns.TypeNS && !n.EqualFold(s.Zone) {
			cuts[n] = true
		}
		k := key{n, rr.Type}
		if sets[k] == nil {
			types[n] = append(types[n], rr.Type)
		}
		sets[k] = append(sets[k], rr)
	}
	var names []dns.Name
next:
	for n := range types {
		for up := n; !up.EqualFold(s.Zone); {
			if up = up.Parent(); cuts[up] {
				continue next
			}
		}
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b dns.Name) int { return a.Compare(b) })
	for i, n := range names {
		v := dns.NSEC{Next: names[(i+1)%len(names)], Types: []dns.Type{dns.TypeRRSIG, dns.TypeNSEC}}
		for _, t := range types[n] {
			if !cuts[n] || t == dns.TypeNS || t == dns.TypeDS {
				v.Types = append(v.Types, t)
			}
		}
		nsec := dns.NewResource(n, negativeTTL, v)
		out = append(out, nsec)
		toSign := [][]dns.Resource{{nsec}}
		slices.Sort(types[n])
		for _, t := range types[n] {
			if !cuts[n] || t == dns.TypeDS {
				toSign = append(toSign, sets[key{n, t}])
			}
		}
		for _, set := range toSign {
			sig, err := s.Sign(set, inception, expiration, entropy)
			if err != nil {
				return nil, err
			}
			out = append(out, sig)
		}
	}
	return out, nil
}
