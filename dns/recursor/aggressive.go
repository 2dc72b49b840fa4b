package recursor

import (
	"slices"
	"sort"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/dnssec"
)

// spans are the validated NSEC records of one zone, by which names that do
// not exist are known without asking (RFC 8198).
type spans struct {
	list []span // in canonical order of the owners
	soa  []dns.Resource
}

type span struct {
	owner   dns.Name
	records []dns.Resource // the NSEC record and its signatures
	expires clock.Time
	ttl     uint32
}

// maxSpans bounds what is kept of one zone, maxSpanZones of how many.
const (
	maxSpans     = 10_000
	maxSpanZones = 1_000
)

// learn keeps the NSEC records of a secure negative answer.
func (r *Resolver) learn(zone dns.Name, e *cache.Entry) {
	key := zone.Fold()
	s := r.spans[key]
	if s == nil {
		if len(r.spans) >= maxSpanZones {
			clear(r.spans)
		}
		s = &spans{}
		r.spans[key] = s
	}
	s.soa = s.soa[:0:0]
	for _, rr := range e.Proofs {
		if rr.Type == dns.TypeSOA {
			s.soa = append(append(s.soa, rr), signatures(e.Proofs, rr.Name, dns.TypeSOA)...)
		}
	}
	for _, rr := range e.Proofs {
		if rr.Type != dns.TypeNSEC {
			continue
		}
		ttl := min(rr.TTL, e.TTL)
		x := span{rr.Name, append([]dns.Resource{rr}, signatures(e.Proofs, rr.Name, dns.TypeNSEC)...), r.now.Add(time.Duration(ttl) * time.Second), ttl}
		i := sort.Search(len(s.list), func(i int) bool { return s.list[i].owner.Compare(rr.Name) >= 0 })
		switch {
		case i < len(s.list) && s.list[i].owner.EqualFold(rr.Name):
			s.list[i] = x
		case len(s.list) < maxSpans:
			s.list = slices.Insert(s.list, i, x)
		}
	}
}

// before returns the span that begins at or before a name.
func (s *spans) before(name dns.Name, now clock.Time) *span {
	i := sort.Search(len(s.list), func(i int) bool { return s.list[i].owner.Compare(name) > 0 })
	if i == 0 {
		i = len(s.list) // the last one may reach round
	}
	if i == 0 || s.list[i-1].expires <= now {
		return nil
	}
	return &s.list[i-1]
}

// synthesise answers that a name or type does not exist from spans that are
// known, nil when they do not show it.
func (r *Resolver) synthesise(name dns.Name, typ dns.Type) *cache.Entry {
	if len(r.spans) == 0 || typ == dns.TypeDS {
		return nil
	}
	zone := name
	for ; ; zone = zone.Parent() {
		if s := r.spans[zone.Fold()]; s != nil {
			return r.shown(s, zone, name, typ)
		}
		if zone.IsRoot() {
			return nil
		}
	}
}

func (r *Resolver) shown(s *spans, zone, name dns.Name, typ dns.Type) *cache.Entry {
	at := s.before(name, r.now)
	if at == nil || len(s.soa) == 0 {
		return nil
	}
	used := []*span{at}
	records := slices.Clone(at.records[:1])
	// The wildcard that could answer is beside the closest encloser, which
	// the span tells; the span over that is needed as well.
	for up := name; !up.EqualFold(zone); {
		up = up.Parent()
		w, err := up.Child("*")
		if err != nil {
			continue
		}
		if x := s.before(w, r.now); x != nil && !slices.Contains(used, x) {
			used = append(used, x)
			records = append(records, x.records[0])
		}
	}
	d := dnssec.NewDenial(zone, records)
	e := &cache.Entry{Name: name, Type: typ, Rank: cache.Answer, Security: cache.Secure, Reason: "synthesised from NSEC records (RFC 8198)"}
	switch {
	case d.NoName(name) == dnssec.Proved:
		e.Rcode = dns.RcodeNXDomain
	case d.NoData(name, typ) == dnssec.Proved:
	default:
		return nil
	}
	e.Proofs = append(e.Proofs, s.soa...)
	e.TTL = 1<<31 - 1
	for _, x := range used {
		e.Proofs = append(e.Proofs, x.records...)
		e.TTL = min(e.TTL, uint32(x.expires.Sub(r.now)/time.Second))
	}
	if e.TTL == 0 {
		return nil
	}
	return e
}
