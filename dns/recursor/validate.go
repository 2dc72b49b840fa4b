package recursor

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/dnssec"
)

// trust is what is known of the zone that a name is in: whether it is signed,
// and by which keys.
type trust struct {
	zone     dns.Name
	security cache.Security
	keys     []dns.DNSKEY
	reason   string
	expires  clock.Time
	known    bool
	want     []func(*trust)
}

// bogusTTL is how long a failure to validate is remembered, in seconds: so
// that a broken zone is not asked for again and again (RFC 4035 §4.7).
const bogusTTL = 30

// bogusCode chooses the extended error for a reason.
func bogusCode(reason string) dns.ErrorCode {
	for _, c := range []struct {
		words string
		code  dns.ErrorCode
	}{
		{"has expired", dns.EDESignatureExpired},
		{"not valid yet", dns.EDESignatureNotYetValid},
		{"no DNSKEY", dns.EDEDNSKEYMissing},
		{"no signatures", dns.EDERRSIGsMissing},
		{"not prove", dns.EDENSECMissing},
	} {
		if strings.Contains(reason, c.words) {
			return c.code
		}
	}
	return dns.EDEBogus
}

// validate judges entries one after the other; the whole is as secure as its
// weakest part. What is found is kept with the entries in the cache.
func (r *Resolver) validate(entries []*cache.Entry, b *budget, done func(cache.Security, string)) {
	worst, reason := cache.Secure, ""
	var step func(i int)
	step = func(i int) {
		if i == len(entries) {
			done(worst, reason)
			return
		}
		e := entries[i]
		r.judge(e, b, func(s cache.Security, why string) {
			if e.Security == cache.Unchecked && e.Reason != madeByDNAME {
				e.Security, e.Reason = s, why
				if s == cache.Bogus {
					e.TTL = bogusTTL
				}
				if e.TTL > 0 {
					r.cache.Put(e, r.now)
				}
			}
			switch {
			case s == cache.Bogus:
				done(s, why)
				return
			case s == cache.Insecure && worst == cache.Secure:
				worst, reason = s, why
			}
			step(i + 1)
		})
	}
	step(0)
}

// judge validates one entry (RFC 4035 §5).
func (r *Resolver) judge(e *cache.Entry, b *budget, done func(cache.Security, string)) {
	switch {
	case e.Security != cache.Unchecked:
		done(e.Security, e.Reason)
	case e.Reason == madeByDNAME:
		done(cache.Secure, "") // as secure as the DNAME before it
	case e.Negative():
		r.judgeNegative(e, b, done)
	case len(e.Signatures) == 0:
		r.trustFor(e.Name, b, func(t *trust) {
			if t.security == cache.Secure {
				done(cache.Bogus, fmt.Sprintf("no signatures over %s %s, though %s is signed", e.Name.Host(), e.Type, t.zone))
				return
			}
			done(t.security, t.reason)
		})
	default:
		signer := signerOf(e.Signatures)
		if !e.Name.IsSubdomainOf(signer) {
			done(cache.Bogus, fmt.Sprintf("%s %s is signed by %s, which is not above it", e.Name.Host(), e.Type, signer))
			return
		}
		r.trustFor(signer, b, func(t *trust) {
			if t.security != cache.Secure {
				done(t.security, t.reason)
				return
			}
			sig, err := r.verify(e.Records, e.Signatures, t, b)
			if err != nil {
				done(cache.Bogus, fmt.Sprintf("%s %s: %v", e.Name.Host(), e.Type, err))
				return
			}
			if !dnssec.Wildcard(sig, e.Name) {
				done(cache.Secure, "")
				return
			}
			// A wildcard answers only for names that do not exist.
			d, err := r.denial(e.Proofs, t, b)
			if err != nil {
				done(cache.Bogus, err.Error())
				return
			}
			proof := d.NoCloser(e.Name, int(sig.Labels))
			r.hashed(d, b)
			switch proof {
			case dnssec.Proved:
				done(cache.Secure, "")
			case dnssec.OptedOut, dnssec.TooManyIterations:
				done(cache.Insecure, "a wildcard whose use the zone's NSEC3 records do not prove")
			default:
				done(cache.Bogus, fmt.Sprintf("%s comes from a wildcard, and the records do not prove that the name itself does not exist", e.Name.Host()))
			}
		})
	}
}

func (r *Resolver) judgeNegative(e *cache.Entry, b *budget, done func(cache.Security, string)) {
	var sigs []dns.Resource
	for _, rr := range e.Proofs {
		if rr.Type == dns.TypeRRSIG {
			sigs = append(sigs, rr)
		}
	}
	if len(sigs) == 0 {
		at := e.Name
		if e.Type == dns.TypeDS && !at.IsRoot() {
			at = at.Parent()
		}
		r.trustFor(at, b, func(t *trust) {
			if t.security == cache.Secure {
				done(cache.Bogus, fmt.Sprintf("no signatures over the proof that %s %s does not exist, though %s is signed", e.Name.Host(), e.Type, t.zone))
				return
			}
			done(t.security, t.reason)
		})
		return
	}
	signer := signerOf(sigs)
	if !e.Name.IsSubdomainOf(signer) {
		done(cache.Bogus, fmt.Sprintf("the proof that %s does not exist is signed by %s", e.Name.Host(), signer))
		return
	}
	r.trustFor(signer, b, func(t *trust) {
		if t.security != cache.Secure {
			done(t.security, t.reason)
			return
		}
		d, err := r.denial(e.Proofs, t, b)
		if err != nil {
			done(cache.Bogus, err.Error())
			return
		}
		proof := dnssec.Unproved
		if e.Rcode == dns.RcodeNXDomain {
			proof = d.NoName(e.Name)
		} else {
			proof = d.NoData(e.Name, e.Type)
		}
		r.hashed(d, b)
		switch proof {
		case dnssec.Proved:
			r.learn(t.zone, e)
			done(cache.Secure, "")
		case dnssec.OptedOut:
			done(cache.Insecure, "the zone's NSEC3 records opt out of proving it")
		case dnssec.TooManyIterations:
			done(cache.Insecure, fmt.Sprintf("the zone's NSEC3 records ask for more than %d iterations (RFC 9276)", dnssec.MaxIterations))
		default:
			what := "that the name does not exist"
			if e.Rcode != dns.RcodeNXDomain {
				what = "that there is no such type"
			}
			done(cache.Bogus, fmt.Sprintf("%s %s: the NSEC records do not prove %s", e.Name.Host(), e.Type, what))
		}
	})
}

func signerOf(sigs []dns.Resource) dns.Name {
	for _, s := range sigs {
		if v, ok := s.Value().(dns.RRSIG); ok {
			return v.Signer
		}
	}
	return dns.Name{}
}

var errWork = errors.New("checking it takes more work than one question may cost")

// verify looks for a good signature over a set by one of a zone's keys.
func (r *Resolver) verify(records, sigs []dns.Resource, t *trust, b *budget) (dns.RRSIG, error) {
	last := fmt.Errorf("no signatures by a key of %s", t.zone)
	set := dnssec.NewSet(records)
	for _, s := range sigs {
		sig, ok := s.Value().(dns.RRSIG)
		if !ok || !sig.Signer.EqualFold(t.zone) {
			continue
		}
		for _, k := range t.keys {
			if k.Algorithm != sig.Algorithm || k.Tag() != sig.KeyTag {
				continue
			}
			// A good zone has few signatures that do not fit: each costs the
			// question, and the zone.
			work := set.Work(k)
			if b.verified >= maxVerified || b.failed >= maxFailed || b.work+work > maxWork {
				return sig, errWork
			}
			if r.wasteful(t.zone) {
				return sig, fmt.Errorf("too much work has gone into signatures of %s that do not fit: not checked for now", t.zone)
			}
			b.verified++
			b.work += work
			r.stats.Verified++
			err := set.Verify(sig, k, r.now.Std())
			if err == nil {
				return sig, nil
			}
			if last = err; errors.Is(err, dnssec.ErrWrong) {
				b.failed++
				r.wasted(t.zone, work)
			}
		}
	}
	return dns.RRSIG{}, last
}

// hashed charges the hashing of a proof to the question, and where it is much
// to the zone.
func (r *Resolver) hashed(d *dnssec.Denial, b *budget) {
	b.work += d.Work()
	if d.Work() > muchHashing {
		r.wasted(d.Zone, d.Work())
	}
}

// muchHashing is what a proof costs only where a zone asks for many iterations.
const muchHashing = 300

// denial takes the NSEC and NSEC3 records that have good signatures.
func (r *Resolver) denial(records []dns.Resource, t *trust, b *budget) (*dnssec.Denial, error) {
	var good []dns.Resource
	var last error
	for i, rr := range records {
		if rr.Type != dns.TypeNSEC && rr.Type != dns.TypeNSEC3 {
			continue
		}
		set, _ := pick(records, rr.Name, rr.Type)
		if records[i].Data != set[0].Data {
			continue // judged with the first of its set
		}
		sig, err := r.verify(set, signatures(records, rr.Name, rr.Type), t, b)
		if err != nil {
			last = fmt.Errorf("%s %s: %w", rr.Name.Host(), rr.Type, err)
			continue
		}
		if dnssec.Wildcard(sig, rr.Name) {
			continue // no NSEC record is made from a wildcard
		}
		good = append(good, set...)
	}
	d := dnssec.NewDenial(t.zone, good)
	if d.Empty() && last != nil {
		return nil, last
	}
	return d, nil
}

// trustFor finds the zone that a name is in and whether to trust it: from the
// closest trust anchor down, label by label, by DS records and the proofs
// that there are none.
func (r *Resolver) trustFor(name dns.Name, b *budget, done func(*trust)) {
	anchor, found := name, false
	for {
		if _, found = r.anchors[anchor.Fold()]; found || anchor.IsRoot() {
			break
		}
		anchor = anchor.Parent()
	}
	if !found {
		done(&trust{security: cache.Insecure, reason: "no trust anchor is above " + name.Host(), known: true})
		return
	}
	var step func(t *trust, labels int)
	step = func(t *trust, labels int) {
		if t.security != cache.Secure || labels > name.NumLabels() {
			done(t)
			return
		}
		child := name.Suffix(labels)
		r.trusted(child, func(keep func(*trust, uint32)) { r.descendTrust(child, t, b, keep) }, func(t *trust) { step(t, labels+1) })
	}
	r.trusted(anchor, func(keep func(*trust, uint32)) { r.anchorTrust(anchor, b, keep) }, func(t *trust) { step(t, anchor.NumLabels()+1) })
}

const maxTrust = 100_000

// trusted gives what is known of a name, or finds it: once for all who want
// it.
func (r *Resolver) trusted(name dns.Name, find func(keep func(t *trust, ttl uint32)), done func(*trust)) {
	key := name.Fold()
	t := r.trust[key]
	if t != nil && t.known && t.expires > r.now {
		done(t)
		return
	}
	if t != nil && !t.known {
		t.want = append(t.want, done)
		return
	}
	if len(r.trust) > maxTrust {
		for k, old := range r.trust {
			if old.known {
				delete(r.trust, k)
			}
		}
	}
	t = &trust{want: []func(*trust){done}}
	r.trust[key] = t
	find(func(got *trust, ttl uint32) {
		want := t.want
		*t = *got
		t.known, t.want = true, nil
		t.expires = r.now.Add(time.Duration(min(ttl, 86400)) * time.Second)
		for _, f := range want {
			f(t)
		}
	})
}

func (r *Resolver) anchorTrust(zone dns.Name, b *budget, keep func(*trust, uint32)) {
	var ds []dns.DS
	var keys []dns.DNSKEY
	for _, a := range r.anchors[zone.Fold()] {
		switch v := a.Value().(type) {
		case dns.DS:
			ds = append(ds, v)
		case dns.DNSKEY:
			keys = append(keys, v)
		}
	}
	r.keys(zone, b, keep, func(k dns.DNSKEY) bool {
		for _, d := range ds {
			if dnssec.MatchesDS(d, zone, k) {
				return true
			}
		}
		for _, a := range keys {
			if a.Algorithm == k.Algorithm && a.Flags == k.Flags && string(a.PublicKey) == string(k.PublicKey) {
				return true
			}
		}
		return false
	})
}

// keys fetches a zone's keys: one that entry accepts must sign them.
func (r *Resolver) keys(zone dns.Name, b *budget, keep func(*trust, uint32), entry func(dns.DNSKEY) bool) {
	bogus := func(format string, args ...any) {
		keep(&trust{zone: zone, security: cache.Bogus, reason: fmt.Sprintf(format, args...)}, bogusTTL)
	}
	var distrusted []netip.Addr
	var judge func(o *outcome)
	judge = func(o *outcome) {
		if o.failure != "" {
			bogus("no DNSKEY of %s can be had: %s", zone, o.failure)
			return
		}
		t, err := r.keySet(zone, o, b, entry)
		if err == nil {
			keep(t, o.entries[0].TTL)
			return
		}
		if !o.from.IsValid() || len(distrusted) == maxDistrusted {
			bogus("%v", err)
			return
		}
		// It may be the fault of one server.
		distrusted = append(distrusted, o.from)
		r.again(dns.Question{Name: zone, Type: dns.TypeDNSKEY, Class: dns.ClassIN}, b, distrusted, func(other *outcome) {
			if other.failure != "" {
				bogus("%v", err)
				return
			}
			judge(other)
		})
	}
	r.resolve(zone, dns.TypeDNSKEY, b, nil, judge)
}

// keySet takes a zone's keys out of an answer, which one that entry accepts
// must have signed.
func (r *Resolver) keySet(zone dns.Name, o *outcome, b *budget, entry func(dns.DNSKEY) bool) (*trust, error) {
	e := o.entries[len(o.entries)-1]
	if len(o.entries) != 1 || e.Negative() {
		return nil, fmt.Errorf("no DNSKEY at %s, though its parent says that it is signed", zone)
	}
	t := &trust{zone: zone, security: cache.Secure}
	var points []dns.DNSKEY
	for i, rr := range e.Records {
		if k, ok := rr.Value().(dns.DNSKEY); ok && dnssec.IsZoneKey(k) && i < 32 {
			t.keys = append(t.keys, k)
			if entry(k) {
				points = append(points, k)
			}
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("none of the keys of %s is the one that its parent names (DS)", zone)
	}
	if _, err := r.verify(e.Records, e.Signatures, &trust{zone: zone, keys: points}, b); err != nil {
		return nil, fmt.Errorf("%s DNSKEY: %w", zone, err)
	}
	return t, nil
}

// descendTrust finds what the parent zone says of a name: a signed zone of
// its own, an unsigned one, or no zone of its own.
func (r *Resolver) descendTrust(name dns.Name, parent *trust, b *budget, keep func(*trust, uint32)) {
	bogus := func(format string, args ...any) {
		keep(&trust{zone: name, security: cache.Bogus, reason: fmt.Sprintf(format, args...)}, bogusTTL)
	}
	// What the parent said may have come from one bad server, or from a forger:
	// it is asked again before it counts, and what failed is not kept.
	var doubted bool
	var distrusted []netip.Addr
	var judge func(o *outcome)
	doubt := func(o *outcome, format string, args ...any) {
		r.cache.Remove(name, dns.TypeDS, false)
		if o.from.IsValid() {
			distrusted = append(distrusted, o.from)
		}
		if doubted && !o.from.IsValid() || len(distrusted) == maxDistrusted {
			bogus(format, args...)
			return
		}
		doubted = true
		r.again(dns.Question{Name: name, Type: dns.TypeDS, Class: dns.ClassIN}, b, distrusted, func(other *outcome) {
			if other.failure != "" {
				bogus(format, args...)
				return
			}
			judge(other)
		})
	}
	judge = func(o *outcome) {
		if o.failure != "" {
			bogus("whether %s is signed cannot be found out: %s", name, o.failure)
			return
		}
		e := o.entries[0]
		if e.Type == dns.TypeCNAME || e.Type == dns.TypeDNAME {
			// An alias is no zone. It needs its own signature to say so.
			if _, err := r.verify(e.Records, e.Signatures, parent, b); err != nil {
				doubt(o, "%s %s: %v", name.Host(), e.Type, err)
				return
			}
			keep(parent, e.TTL)
			return
		}
		if e.Negative() {
			if why := r.unsigned(name, e, parent, b, keep); why != "" {
				doubt(o, "%s", why)
			}
			return
		}
		if _, err := r.verify(e.Records, e.Signatures, parent, b); err != nil {
			doubt(o, "%s DS: %v", name.Host(), err)
			return
		}
		var ds []dns.DS
		for _, rr := range e.Records {
			if d, ok := rr.Value().(dns.DS); ok && dnssec.Supported(d.Algorithm) && dnssec.SupportedDigest(d.DigestType) {
				ds = append(ds, d)
			}
		}
		if len(ds) == 0 {
			keep(&trust{zone: name, security: cache.Insecure, reason: name.Host() + " is signed only with algorithms that are not supported"}, e.TTL)
			return
		}
		// RFC 4509 §3: SHA-1 does not count beside a better digest.
		better := false
		for _, d := range ds {
			better = better || d.DigestType != 1
		}
		r.keys(name, b, func(t *trust, ttl uint32) { keep(t, min(ttl, e.TTL)) }, func(k dns.DNSKEY) bool {
			for _, d := range ds {
				if !(better && d.DigestType == 1) && dnssec.MatchesDS(d, name, k) {
					return true
				}
			}
			return false
		})
	}
	r.ds(name, b, judge)
}

// ds gives what the parent says of a name's keys: from the referral, if there
// was one.
func (r *Resolver) ds(name dns.Name, b *budget, done func(*outcome)) {
	if e, ok := r.cache.Get(name, dns.TypeDS, r.now, false); ok && e.Rank >= cache.Referral {
		done(&outcome{entries: []*cache.Entry{e}})
		return
	}
	r.resolve(name, dns.TypeDS, b, nil, done)
}

// unsigned judges the proof that a name has no DS record; it says what is
// wrong with it.
func (r *Resolver) unsigned(name dns.Name, e *cache.Entry, parent *trust, b *budget, keep func(*trust, uint32)) (wrong string) {
	d, err := r.denial(e.Proofs, parent, b)
	if err != nil || d.Empty() {
		if err == nil {
			err = errors.New("no signatures over a proof, though the parent is signed")
		}
		return fmt.Sprintf("%s DS: %v", name.Host(), err)
	}
	defer r.hashed(d, b)
	switch p := d.Delegation(name); p {
	case dnssec.Proved:
		keep(&trust{zone: name, security: cache.Insecure, reason: fmt.Sprintf("%s is not signed: %s has no DS record for it", name.Host(), parent.zone)}, e.TTL)
		return ""
	case dnssec.OptedOut:
		keep(&trust{zone: name, security: cache.Insecure, reason: fmt.Sprintf("%s is not signed: the NSEC3 records of %s opt out of it", name.Host(), parent.zone)}, e.TTL)
		return ""
	case dnssec.TooManyIterations:
		keep(&trust{zone: name, security: cache.Insecure, reason: fmt.Sprintf("the NSEC3 records of %s ask for more than %d iterations (RFC 9276)", parent.zone, dnssec.MaxIterations)}, e.TTL)
		return ""
	}
	if e.Rcode == dns.RcodeNXDomain && d.NoName(name) == dnssec.Proved || d.NoData(name, dns.TypeDS) == dnssec.Proved {
		keep(parent, e.TTL) // no zone of its own
		return ""
	}
	return fmt.Sprintf("%s DS: the records do not prove that there is none", name.Host())
}
