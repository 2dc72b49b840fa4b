package recursor

import (
	"fmt"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
	"peel/dns/dnssec"
)

// answered takes a response with rcode NOERROR or NXDOMAIN that passed every
// check of being the answer to x.
func (t *task) answered(x *exchange, m *dns.Message) {
	if t.cut != x.cut || t.done {
		x.close()
		return
	}
	zone := t.cut.zone
	if ref, ok := t.referral(m); ok {
		x.tell("referral", fmt.Sprintf("%s is at %s", ref.Host(), hosts(m, ref)), m, ref)
		x.close()
		t.follow(m, ref)
		return
	}
	if !m.Authoritative {
		x.lame(m)
		x.cut.tried[x.addr] = maxTries
		x.troubled("lame", dns.EDENoReachableAuthority, "the server is no authority for "+zone.String(), m)
		return
	}
	if t.minimising() {
		t.shortened(x, m)
		return
	}
	t.take(x, m)
}

// hosts lists the servers of a referral for the text of a step.
func hosts(m *dns.Message, zone dns.Name) string {
	s, n := "", 0
	for _, rr := range m.Authority {
		if rr.Type == dns.TypeNS && rr.Name.EqualFold(zone) {
			if n++; n > 3 {
				continue
			}
			if n > 1 {
				s += ", "
			}
			host, _ := rr.Target()
			s += host.Host()
		}
	}
	if n > 3 {
		s += fmt.Sprintf(" and %d more", n-3)
	}
	return s
}

// referral returns the zone that a response sends on to: one below the zone
// asked, and at or above the name asked for.
func (t *task) referral(m *dns.Message) (dns.Name, bool) {
	if m.Rcode != dns.RcodeNoError || len(m.Answers) > 0 {
		return dns.Name{}, false
	}
	for _, rr := range m.Authority {
		if rr.Type == dns.TypeSOA {
			return dns.Name{}, false
		}
	}
	for _, rr := range m.Authority {
		if rr.Type != dns.TypeNS || rr.Class != dns.ClassIN || !rr.Name.IsSubdomainOf(t.cut.zone) || rr.Name.EqualFold(t.cut.zone) || !t.sent.Name.IsSubdomainOf(rr.Name) {
			continue
		}
		if t.q.Type == dns.TypeDS && rr.Name.EqualFold(t.sname) {
			continue // the parent itself is to say what DS there is
		}
		return rr.Name, true
	}
	return dns.Name{}, false
}

// follow keeps what a referral says and asks the zone it leads to.
func (t *task) follow(m *dns.Message, zone dns.Name) {
	r := t.r
	var ns []dns.Resource
	least := uint32(1<<31 - 1)
	for _, rr := range m.Authority {
		if rr.Type == dns.TypeNS && rr.Class == dns.ClassIN && rr.Name.EqualFold(zone) && len(ns) < maxNSNames {
			ns = append(ns, rr)
			least = min(least, rr.TTL)
		}
	}
	// No zone lasts longer than what vouches for its parent: else a zone that
	// was withdrawn would live on by what is below it.
	least = min(least, t.cut.left(r.now))
	e := &cache.Entry{Name: zone, Type: dns.TypeNS, Rank: cache.Referral, TTL: least, Records: ns}
	r.cache.Put(e, r.now)
	t.keepGlue(m, ns)
	t.keepDS(m, zone)
	t.known = 0
	t.enter(zone, ns, r.now.Add(time.Duration(least)*time.Second), t.glue(m, ns))
}

// left is for how many seconds the parent still vouches for the zone.
func (c *cut) left(now clock.Time) uint32 {
	if c.expires == clock.Never {
		return 1<<31 - 1
	}
	return uint32(max(c.expires.Sub(now), 0) / time.Second)
}

// glue returns the addresses that came with a referral. They stand beside
// what the cache has, which may be the child's own and wrong.
func (t *task) glue(m *dns.Message, ns []dns.Resource) map[dns.Name][]dns.Resource {
	all := map[dns.Name][]dns.Resource{}
	for _, n := range ns {
		host, ok := n.Target()
		if !ok || !host.IsSubdomainOf(t.cut.zone) {
			continue
		}
		for _, typ := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
			set, _ := pick(m.Additional, host, typ)
			all[host.Fold()] = append(all[host.Fold()], set[:min(len(set), maxGlue)]...)
		}
	}
	return all
}

// maxGlue bounds the addresses of one server in a referral, of each kind.
const maxGlue = 8

// keepDS keeps what a referral says of the child's keys, with its signatures:
// it saves asking for it.
func (t *task) keepDS(m *dns.Message, zone dns.Name) {
	if len(t.r.anchors) == 0 {
		return
	}
	if set, ttl := pick(m.Authority, zone, dns.TypeDS); len(set) > 0 {
		e := &cache.Entry{Name: zone, Type: dns.TypeDS, Rank: cache.Authority, TTL: ttl, Records: set, Signatures: signatures(m.Authority, zone, dns.TypeDS)}
		if len(e.Signatures) > 0 {
			t.r.cache.Put(e, t.r.now)
		}
		return
	}
	if proofs, ttl := proofs(m.Authority, t.cut.zone); len(proofs) > 0 {
		// Without an SOA record it is no answer for a client.
		t.r.cache.Put(&cache.Entry{Name: zone, Type: dns.TypeDS, Rank: cache.Referral, TTL: ttl, Proofs: proofs}, t.r.now)
	}
}

// pick returns the records of one set, and its least TTL.
func pick(section []dns.Resource, name dns.Name, typ dns.Type) (set []dns.Resource, ttl uint32) {
	ttl = 1<<31 - 1
	for _, rr := range section {
		if rr.Type == typ && rr.Class == dns.ClassIN && rr.Data != "" && rr.Name.EqualFold(name) && len(set) < 1000 {
			set = append(set, rr)
			if rr.TTL > 1<<31-1 {
				rr.TTL = 0 // RFC 2181 §8
			}
			ttl = min(ttl, rr.TTL)
		}
	}
	return set, ttl
}

// signatures returns those over one set.
func signatures(section []dns.Resource, name dns.Name, typ dns.Type) (out []dns.Resource) {
	for _, rr := range section {
		if rr.Type == dns.TypeRRSIG && rr.Class == dns.ClassIN && len(rr.Data) > 2 && dns.Type(rr.Data[0])<<8|dns.Type(rr.Data[1]) == typ && rr.Name.EqualFold(name) && len(out) < 8 {
			out = append(out, rr)
		}
	}
	return out
}

// proofs returns the NSEC and NSEC3 records of a zone with their signatures,
// and their least TTL.
func proofs(section []dns.Resource, zone dns.Name) (out []dns.Resource, ttl uint32) {
	ttl = 1<<31 - 1
	for _, rr := range section {
		if rr.Type != dns.TypeNSEC && rr.Type != dns.TypeNSEC3 || rr.Class != dns.ClassIN || rr.Data == "" || !rr.Name.IsSubdomainOf(zone) || len(out) > 32 {
			continue
		}
		out = append(out, rr)
		out = append(out, signatures(section, rr.Name, rr.Type)...)
		ttl = min(ttl, rr.TTL)
	}
	return out, ttl
}

// shortened takes the answer to a name shorter than the one wanted.
func (t *task) shortened(x *exchange, m *dns.Message) {
	short := t.sent.Name
	if m.Rcode == dns.RcodeNXDomain {
		// RFC 8020 says that nothing is below; servers that do not know empty
		// non-terminals say it wrongly, so the whole name is asked once.
		x.tell("no_name", short.Host()+" does not exist; asked for the whole name", m, dns.Name{})
		t.whole = true
	} else {
		x.tell("no_data", short.Host()+" is no zone of its own", m, dns.Name{})
		t.known = short.NumLabels()
		if set, _ := pick(m.Answers, short, dns.TypeCNAME); len(set) > 0 {
			t.whole = true
		}
	}
	x.close()
	t.cut.tried[x.addr]-- // it answered: it may be asked again
	t.next()
}

// take reads the answer to the whole question, along the aliases that the
// zone itself can speak for.
func (t *task) take(x *exchange, m *dns.Message) {
	zone := t.cut.zone
	for hops := 0; ; hops++ {
		if d := t.dname(m, zone); d != nil {
			x.finish("alias", "", m)
			set, ttl := pick(m.Answers, d.Name, dns.TypeDNAME)
			if !t.redirect(t.keep(m, d.Name, dns.TypeDNAME, set[:1], ttl)) {
				return
			}
		} else if set, ttl := pick(m.Answers, t.sname, t.q.Type); len(set) > 0 {
			x.finish("answer", "", m)
			t.entries = append(t.entries, t.keep(m, t.sname, t.q.Type, set, ttl))
			t.end(&outcome{entries: t.entries, from: x.addr})
			return
		} else if set, ttl := pick(m.Answers, t.sname, dns.TypeCNAME); len(set) > 0 {
			x.finish("alias", "", m)
			if !t.alias(t.keep(m, t.sname, dns.TypeCNAME, set[:1], ttl)) {
				return
			}
		} else if hops > 0 {
			t.begin() // what is left is a question of its own
			return
		} else {
			t.nothing(x, m)
			return
		}
		if !t.sname.IsSubdomainOf(zone) {
			t.begin()
			return
		}
	}
}

// nothing takes a negative answer; the SOA record says for how long it holds
// (RFC 2308 §5).
func (t *task) nothing(x *exchange, m *dns.Message) {
	e := &cache.Entry{Name: t.sname, Type: t.q.Type, Rcode: m.Rcode, Rank: cache.Answer}
	for _, rr := range m.Authority {
		soa, ok := rr.Value().(dns.SOA)
		if !ok || rr.Class != dns.ClassIN || !t.sname.IsSubdomainOf(rr.Name) || !rr.Name.IsSubdomainOf(t.cut.zone) {
			continue
		}
		e.TTL = min(rr.TTL, soa.Minimum)
		e.Proofs = append(append(e.Proofs, rr), signatures(m.Authority, rr.Name, dns.TypeSOA)...)
		p, ttl := proofs(m.Authority, rr.Name)
		if len(p) > 0 {
			e.TTL = min(e.TTL, ttl)
		}
		e.Proofs = append(e.Proofs, p...)
		break
	}
	if m.Rcode == dns.RcodeNXDomain {
		x.finish("no_name", t.sname.Host()+" does not exist", m)
	} else {
		x.finish("no_data", fmt.Sprintf("%s has no %s record", t.sname.Host(), t.q.Type), m)
	}
	if e.TTL > 0 {
		t.r.cache.Put(e, t.r.now)
	}
	t.entries = append(t.entries, e)
	t.end(&outcome{entries: t.entries, from: x.addr})
}

// finish reports the query and ends it, once.
func (x *exchange) finish(outcome, text string, m *dns.Message) {
	if x.t.r.exchanges[x.socket] == x {
		x.tell(outcome, text, m, dns.Name{})
		x.close()
	}
}

// dname returns the DNAME record of a response that redirects the name.
func (t *task) dname(m *dns.Message, zone dns.Name) *dns.Resource {
	for i := range m.Answers {
		rr := &m.Answers[i]
		if rr.Type == dns.TypeDNAME && t.sname.IsSubdomainOf(rr.Name) && !t.sname.EqualFold(rr.Name) && rr.Name.IsSubdomainOf(zone) {
			if _, ok := rr.Target(); ok {
				return rr
			}
		}
	}
	return nil
}

// keep stores a set from an answer.
func (t *task) keep(m *dns.Message, name dns.Name, typ dns.Type, set []dns.Resource, ttl uint32) *cache.Entry {
	e := &cache.Entry{Name: name, Type: typ, Rank: cache.Answer, TTL: ttl, Records: set, Signatures: signatures(m.Answers, name, typ)}
	for _, s := range e.Signatures {
		sig, ok := s.Value().(dns.RRSIG)
		if !ok {
			continue
		}
		e.TTL = min(e.TTL, sig.OriginalTTL)
		if dnssec.Wildcard(sig, name) {
			e.Proofs, _ = proofs(m.Authority, sig.Signer)
		}
	}
	if typ == dns.TypeNS && name.EqualFold(t.cut.zone) {
		// The child may name its servers, and not make itself live longer than
		// its parent says (ghost domains).
		e.TTL = min(e.TTL, t.cut.left(t.r.now))
	}
	for i := range set {
		set[i].TTL = e.TTL
	}
	t.r.cache.Put(e, t.r.now)
	if typ == dns.TypeNS {
		t.keepGlue(m, set)
	}
	return e
}

// keepGlue keeps the addresses of name servers that came with their names.
// They count only below the zone that was asked: about others it does not
// know (RFC 2181 §5.4.1).
func (t *task) keepGlue(m *dns.Message, ns []dns.Resource) {
	for _, n := range ns {
		host, ok := n.Target()
		if !ok || !host.IsSubdomainOf(t.cut.zone) {
			continue
		}
		for _, typ := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
			if set, ttl := pick(m.Additional, host, typ); len(set) > 0 {
				t.r.cache.Put(&cache.Entry{Name: host, Type: typ, Rank: cache.Glue, TTL: ttl, Records: set}, t.r.now)
			}
		}
	}
}
