package zone

import (
	"slices"

	"peel/dns"
)

const (
	// udpSize is the UDP payload size that answers offer: what fits one
	// packet on nearly every path.
	udpSize  = 1232
	maxChain = 16 // aliases followed in one answer
)

// Answer returns the response to a query for the zone, or nil when there must
// be none: to a response and to what is too short for a header. See
// Server.Answer, which is for many zones.
func (z *Zone) Answer(query []byte, limit int) []byte {
	s := NewServer()
	s.Put(z)
	return s.Answer(nil, query, limit)
}

// reply puts into m what the zone says to a question: the algorithm of RFC
// 1034 §4.3.2. do asks for signatures and proofs (RFC 4035 §3.1).
func (z *Zone) reply(m *dns.Message, q dns.Question, do bool) {
	b := builder{z: z, m: m, do: do}
	b.seen = append(b.space[:0], q.Name)
	m.Authoritative = true
	name := q.Name
	for range maxChain + 1 {
		next, more := b.step(name, q.Type)
		if !more || !next.IsSubdomainOf(z.origin) {
			break // the rest, if any, is another zone's to say
		}
		if slices.ContainsFunc(b.seen, next.EqualFold) {
			break // a loop of aliases: what there is of it is the answer
		}
		b.seen = append(b.seen, next)
		name = next
	}
	b.addresses()
}

// builder puts together one response.
type builder struct {
	z  *Zone
	m  *dns.Message
	do bool
	// seen holds the names of the chain, in space as long as it is short.
	seen  []dns.Name
	space [4]dns.Name
	// glue tells that the additional section holds what a referral needs.
	glue bool
}

func (b *builder) put(to *[]dns.Resource, s *set) {
	*to = append(*to, s.records...)
	if b.do {
		*to = append(*to, s.signatures...)
	}
}

// as appends a set under another owner: one made from a wildcard.
func (b *builder) as(to *[]dns.Resource, s *set, owner dns.Name) {
	first := len(*to)
	b.put(to, s)
	for i := range (*to)[first:] {
		(*to)[first+i].Name = owner
	}
}

// step answers for one name, and returns where an alias leads.
func (b *builder) step(name dns.Name, t dns.Type) (next dns.Name, more bool) {
	n := b.z.nodes[name.Fold()]
	found := n != nil
	if !found {
		n = b.z.encloser(name)
	}
	// A DS record belongs to the parent's side of a cut (RFC 4035 §3.1.4.1).
	if n.cut != nil && !(found && t == dns.TypeDS && n.cut == n) {
		b.referral(n.cut)
		return dns.Name{}, false
	}
	if d := n.dname; d != nil {
		return b.redirect(name, d, t)
	}
	if found {
		return b.at(n, name, t, false)
	}
	if n.hasRecords(dns.TypeDNAME) {
		return b.redirect(name, n, t)
	}
	if n.wildcard != nil {
		next, more = b.at(n.wildcard, name, t, true)
		if b.do && b.z.chain != nil {
			b.z.chain.wildcard(b, name, n)
		}
		return next, more
	}
	b.m.Rcode = dns.RcodeNXDomain // RFC 6604 §2.1: of the last name of a chain
	b.negative()
	if b.do && b.z.chain != nil {
		b.z.chain.noName(b, name, n)
	}
	return dns.Name{}, false
}

// encloser returns the closest name above one that is not there.
func (z *Zone) encloser(name dns.Name) *node {
	for name = name.Fold().Parent(); ; name = name.Parent() {
		if n := z.nodes[name]; n != nil {
			return n
		}
	}
}

// at answers with what stands at a node.
func (b *builder) at(n *node, owner dns.Name, t dns.Type, wild bool) (next dns.Name, more bool) {
	before := len(b.m.Answers)
	for i := range n.sets {
		s := &n.sets[i]
		if t == dns.TypeRRSIG {
			for _, rr := range s.signatures {
				if wild {
					rr.Name = owner
				}
				b.m.Answers = append(b.m.Answers, rr)
			}
			continue
		}
		switch {
		case len(s.records) == 0:
			continue
		case s.typ == t, t == dns.TypeANY:
		case s.typ == dns.TypeCNAME && !(t == dns.TypeNSEC && n.hasRecords(t)):
			next, more = s.records[0].Target()
		default:
			continue
		}
		if wild {
			b.as(&b.m.Answers, s, owner)
		} else {
			b.put(&b.m.Answers, s)
		}
	}
	if len(b.m.Answers) == before {
		b.negative()
		if b.do && b.z.chain != nil {
			b.z.chain.noData(b, n, wild)
		}
	}
	return next, more
}

// redirect follows a DNAME (RFC 6672 §3): with it goes the alias it makes.
func (b *builder) redirect(name dns.Name, d *node, t dns.Type) (next dns.Name, more bool) {
	s := d.set(dns.TypeDNAME)
	b.put(&b.m.Answers, s)
	target, _ := s.records[0].Target()
	next, err := name.Rebase(d.name, target)
	if err != nil {
		b.m.Rcode = dns.RcodeYXDomain // §2.2: the name has become too long
		return dns.Name{}, false
	}
	alias, _ := dns.MakeResource(name, s.records[0].TTL, dns.CNAME{Target: next})
	b.m.Answers = append(b.m.Answers, alias)
	return next, t != dns.TypeCNAME // asked for, the alias itself is the answer
}

// referral sends the asker to the servers of a delegation.
func (b *builder) referral(cut *node) {
	if len(b.m.Answers) == 0 {
		b.m.Authoritative = false
	}
	servers := cut.set(dns.TypeNS)
	b.m.Authority = append(b.m.Authority, servers.records...)
	if b.do {
		if ds := cut.set(dns.TypeDS); ds != nil && len(ds.records) > 0 {
			b.put(&b.m.Authority, ds)
		} else if b.z.chain != nil {
			b.z.chain.noDS(b, cut)
		}
	}
	b.glue = true
	for i := range servers.records {
		if host, ok := servers.records[i].Target(); ok {
			b.address(host)
		}
	}
}

// negative adds the SOA record with the TTL of negative answers: the lesser
// of its own and the minimum field (RFC 2308 §3).
func (b *builder) negative() {
	soa := b.z.soa
	v := soa.Data
	minimum := uint32(v[len(v)-4])<<24 | uint32(v[len(v)-3])<<16 | uint32(v[len(v)-2])<<8 | uint32(v[len(v)-1])
	ttl := min(soa.TTL, minimum)
	first := len(b.m.Authority)
	b.put(&b.m.Authority, b.z.apex.set(dns.TypeSOA))
	for i := range b.m.Authority[first:] {
		b.m.Authority[first+i].TTL = ttl
	}
}

// addresses adds what an asker will want next: the addresses of the servers
// that the answer names, if they stand in the zone.
func (b *builder) addresses() {
	if b.glue {
		return
	}
	for i := range b.m.Answers {
		rr := &b.m.Answers[i]
		switch rr.Type {
		case dns.TypeNS:
			if host, ok := rr.Target(); ok {
				b.address(host)
			}
		case dns.TypeMX:
			if v, ok := rr.Value().(dns.MX); ok {
				b.address(v.Host)
			}
		case dns.TypeSRV:
			if v, ok := rr.Value().(dns.SRV); ok {
				b.address(v.Target)
			}
		}
	}
}

func (b *builder) address(host dns.Name) {
	n := b.z.nodes[host.Fold()]
	if n == nil || slices.ContainsFunc(b.m.Additional, func(r dns.Resource) bool { return r.Name.EqualFold(host) }) {
		return
	}
	for _, t := range [...]dns.Type{dns.TypeA, dns.TypeAAAA} {
		if s := n.set(t); s != nil {
			b.put(&b.m.Additional, s)
		}
	}
}
