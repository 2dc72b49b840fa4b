package dnssec

import (
	"crypto/sha1"
	"encoding/base32"
	"strings"

	"peel/dns"
)

// Proof is what NSEC or NSEC3 records say of a name.
type Proof uint8

const (
	// Unproved: the records do not show it.
	Unproved Proof = iota
	// Proved: it does not exist.
	Proved
	// OptedOut: a span of NSEC3 records that leaves unsigned delegations out
	// covers the name; below it nothing is signed (RFC 5155 §6).
	OptedOut
	// TooManyIterations: the hashing asks for more work than RFC 9276 §3.2
	// lets it; the zone counts as unsigned.
	TooManyIterations
)

// MaxIterations is how often NSEC3 hashing may be repeated.
const MaxIterations = 150

// maxHashes bounds the hashes made for one proof: CVE-2023-50868.
const maxHashes = 64

// Denial is a set of records that prove non-existence, all of one zone and
// with good signatures.
type Denial struct {
	Zone   dns.Name
	nsec   []span
	nsec3  []hashedSpan
	hashes int
	work   int
	// cache of hashes made
	known map[dns.Name]string
}

type span struct {
	owner dns.Name
	dns.NSEC
}

type hashedSpan struct {
	hash string // of the owner, raw
	dns.NSEC3
}

// NewDenial takes the NSEC and NSEC3 records among those given.
func NewDenial(zone dns.Name, records []dns.Resource) *Denial {
	d := &Denial{Zone: zone, known: map[dns.Name]string{}}
	for _, rr := range records {
		switch v := rr.Value().(type) {
		case dns.NSEC:
			if rr.Name.IsSubdomainOf(zone) {
				d.nsec = append(d.nsec, span{rr.Name, v})
			}
		case dns.NSEC3:
			if !rr.Name.Parent().EqualFold(zone) || v.HashAlgorithm != 1 || v.Flags > 1 {
				continue // RFC 5155 §8.1, §8.2
			}
			for label := range rr.Name.Labels() {
				raw, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(label))
				if err == nil && len(raw) == sha1.Size && len(v.NextHash) == sha1.Size {
					d.nsec3 = append(d.nsec3, hashedSpan{string(raw), v})
				}
				break
			}
		}
	}
	return d
}

// Empty tells that there are no records to prove anything with.
func (d *Denial) Empty() bool { return len(d.nsec) == 0 && len(d.nsec3) == 0 }

func has(types []dns.Type, t dns.Type) bool {
	for _, x := range types {
		if x == t {
			return true
		}
	}
	return false
}

// delegation tells that a span's owner is a cut: what is below is not in the
// zone, and the span says nothing of it (RFC 6840 §4.1).
func delegation(types []dns.Type) bool {
	return has(types, dns.TypeNS) && !has(types, dns.TypeSOA) || has(types, dns.TypeDNAME)
}

// covers tells whether a name lies between a span's ends.
func (d *Denial) covers(s *span, name dns.Name) bool {
	if s.owner.Compare(name) >= 0 || delegation(s.Types) && name.IsSubdomainOf(s.owner) {
		return false
	}
	if s.Next.EqualFold(d.Zone) { // the last span reaches round to the apex
		return name.IsSubdomainOf(d.Zone)
	}
	return name.Compare(s.Next) < 0
}

func (d *Denial) covering(name dns.Name) *span {
	for i := range d.nsec {
		if d.covers(&d.nsec[i], name) {
			return &d.nsec[i]
		}
	}
	return nil
}

func (d *Denial) matching(name dns.Name) *span {
	for i := range d.nsec {
		if d.nsec[i].owner.EqualFold(name) {
			return &d.nsec[i]
		}
	}
	return nil
}

// common counts the labels that two names share at their ends.
func common(a, b dns.Name) int {
	n := min(a.NumLabels(), b.NumLabels())
	for ; n > 0; n-- {
		if a.Suffix(n).EqualFold(b.Suffix(n)) {
			break
		}
	}
	return n
}

// encloser returns the closest encloser of a name that a span covers.
func (s *span) encloser(name dns.Name) dns.Name {
	return name.Suffix(max(common(name, s.owner), common(name, s.Next)))
}

func wildcardOf(ce dns.Name) dns.Name {
	w, err := ce.Child("*")
	if err != nil {
		return ce
	}
	return w
}

// NoName tells whether a name and a wildcard for it are proved not to exist
// (RFC 4035 §5.4, RFC 5155 §8.4).
func (d *Denial) NoName(name dns.Name) Proof {
	if len(d.nsec) > 0 {
		s := d.covering(name)
		if s == nil || s.Next.IsSubdomainOf(name) { // with names below it, it exists
			return Unproved
		}
		if d.covering(wildcardOf(s.encloser(name))) == nil {
			return Unproved
		}
		return Proved
	}
	ce, p := d.enclosure(name)
	if p == Unproved || p == TooManyIterations {
		return p
	}
	c := d.coveringHash(wildcardOf(ce))
	if c == nil {
		return Unproved
	}
	return p
}

// NoData tells whether a name is proved to have no records of a type (RFC
// 4035 §5.4, RFC 5155 §8.5–8.7).
func (d *Denial) NoData(name dns.Name, t dns.Type) Proof {
	if len(d.nsec) > 0 {
		if s := d.matching(name); s != nil {
			return absent(name, s.Types, t)
		}
		s := d.covering(name)
		switch {
		case s == nil:
			return Unproved
		case s.Next.IsSubdomainOf(name): // an empty non-terminal has nothing
			return Proved
		}
		if w := d.matching(wildcardOf(s.encloser(name))); w != nil {
			return absent(name, w.Types, t)
		}
		return Unproved
	}
	if p := d.bounded(); p != Proved {
		return p
	}
	if h := d.matchingHash(name); h != nil {
		return absent(name, h.Types, t)
	}
	ce, p := d.enclosure(name)
	if p == Unproved || p == TooManyIterations {
		return p
	}
	if t == dns.TypeDS && p == OptedOut {
		return OptedOut
	}
	if w := d.matchingHash(wildcardOf(ce)); w != nil {
		if absent(name, w.Types, t) == Proved {
			return p
		}
		return Unproved
	}
	if p == OptedOut {
		return OptedOut
	}
	return Unproved
}

// absent tells whether a bitmap shows that a type is not there, from the
// right side of a cut.
func absent(name dns.Name, types []dns.Type, t dns.Type) Proof {
	if has(types, t) || has(types, dns.TypeCNAME) && t != dns.TypeCNAME {
		return Unproved
	}
	apex, ns := has(types, dns.TypeSOA), has(types, dns.TypeNS)
	if t == dns.TypeDS && apex && !name.IsRoot() || t != dns.TypeDS && ns && !apex {
		return Unproved // RFC 6840 §4.1, §4.4
	}
	return Proved
}

// Delegation tells whether the records show an unsigned delegation at a name:
// no DS record there, and NS records, or a span that opts out.
func (d *Denial) Delegation(name dns.Name) Proof {
	switch p := d.NoData(name, dns.TypeDS); p {
	case Proved:
		if s := d.matching(name); s != nil && has(s.Types, dns.TypeNS) {
			return Proved
		}
		if len(d.nsec3) > 0 {
			if h := d.matchingHash(name); h != nil && has(h.Types, dns.TypeNS) {
				return Proved
			}
		}
		return Unproved
	default:
		return p
	}
}

// NoCloser tells whether nothing exists between a name and the wildcard that
// it was expanded from, which has that many labels behind the asterisk (RFC
// 4035 §5.3.4, RFC 5155 §8.8).
func (d *Denial) NoCloser(name dns.Name, labels int) Proof {
	if len(d.nsec) > 0 {
		s := d.covering(name)
		if s == nil || s.encloser(name).NumLabels() > labels {
			return Unproved
		}
		return Proved
	}
	if p := d.bounded(); p != Proved {
		return p
	}
	if c := d.coveringHash(name.Suffix(labels + 1)); c != nil {
		if c.Flags&1 != 0 {
			return OptedOut
		}
		return Proved
	}
	return Unproved
}

func (d *Denial) bounded() Proof {
	if len(d.nsec3) == 0 {
		return Unproved
	}
	for i := range d.nsec3 {
		if d.nsec3[i].Iterations > MaxIterations {
			return TooManyIterations
		}
	}
	return Proved
}

// enclosure proves the closest encloser of a name with NSEC3 records (RFC
// 5155 §8.3).
func (d *Denial) enclosure(name dns.Name) (ce dns.Name, p Proof) {
	if p := d.bounded(); p != Proved {
		return dns.Name{}, p
	}
	next := name // one label longer than ce
	for ce = name.Parent(); ce.IsSubdomainOf(d.Zone); ce = ce.Parent() {
		if h := d.matchingHash(ce); h != nil {
			if delegation(h.Types) {
				return ce, Unproved
			}
			switch c := d.coveringHash(next); {
			case c == nil:
				return ce, Unproved
			case c.Flags&1 != 0:
				return ce, OptedOut
			}
			return ce, Proved
		}
		if ce.IsRoot() {
			break
		}
		next = ce
	}
	return ce, Unproved
}

func (d *Denial) hash(name dns.Name, p *hashedSpan) (string, bool) {
	// All records of a zone have the same parameters; a record with others
	// is simply not found.
	key := name.Fold()
	if h, ok := d.known[key]; ok {
		return h, true
	}
	if d.hashes++; d.hashes > maxHashes {
		return "", false
	}
	d.work += 1 + (int(p.Iterations)+1)*(1+(len(p.Salt)+28)/64)/6
	sum := dns.HashNSEC3(key, p.Salt, p.Iterations)
	d.known[key] = string(sum[:])
	return string(sum[:]), true
}

// Work says what the hashing has cost so far, as Set.Work does.
func (d *Denial) Work() int { return d.work }

func (d *Denial) same(i int) bool {
	return d.nsec3[i].Iterations == d.nsec3[0].Iterations && d.nsec3[i].Salt == d.nsec3[0].Salt
}

func (d *Denial) matchingHash(name dns.Name) *hashedSpan {
	h, ok := d.hash(name, &d.nsec3[0])
	if !ok {
		return nil
	}
	for i := range d.nsec3 {
		if d.same(i) && d.nsec3[i].hash == h {
			return &d.nsec3[i]
		}
	}
	return nil
}

func (d *Denial) coveringHash(name dns.Name) *hashedSpan {
	h, ok := d.hash(name, &d.nsec3[0])
	if !ok {
		return nil
	}
	for i := range d.nsec3 {
		s := &d.nsec3[i]
		if !d.same(i) {
			continue
		}
		if s.hash < s.NextHash && s.hash < h && h < s.NextHash || s.hash >= s.NextHash && (h > s.hash || h < s.NextHash) {
			return s
		}
	}
	return nil
}
