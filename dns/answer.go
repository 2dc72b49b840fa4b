package dns

import (
	"errors"
	"fmt"
	"slices"
)

// Zone is the authoritative data of one zone. It is not changed after
// NewZone, and answering from it is safe at the same time from many sides.
type Zone struct {
	origin Name
	soa    Resource
	// names holds the records by folded owner. A name that only has names
	// below it is there as well, without records (RFC 8020 §2).
	names map[Name][]Resource
}

// NewZone makes a zone from its records. Without an SOA record at the origin,
// one with a negative TTL of 60 seconds is made. It fails on a record outside
// the zone or not of class IN, on an alias beside other records, and on a
// second SOA record.
func NewZone(origin Name, records ...Resource) (*Zone, error) {
	z := &Zone{origin: origin, names: map[Name][]Resource{}}
	for _, rr := range records {
		switch {
		case rr.Data == nil || rr.Data.Type() != rr.Type:
			return nil, fmt.Errorf("dns: zone %s: record %s %s has no data of its type", origin, rr.Name, rr.Type)
		case rr.Class != ClassIN:
			return nil, fmt.Errorf("dns: zone %s: record %s has class %s", origin, rr.Name, rr.Class)
		case !rr.Name.IsSubdomainOf(origin):
			return nil, fmt.Errorf("dns: zone %s: record %s is not in the zone", origin, rr.Name)
		case rr.Type == TypeSOA && !rr.Name.EqualFold(origin):
			return nil, fmt.Errorf("dns: zone %s: SOA record at %s", origin, rr.Name)
		case rr.Type == TypeSOA && z.soa.Data != nil:
			return nil, fmt.Errorf("dns: zone %s: two SOA records", origin)
		case rr.Type == TypeSOA:
			z.soa = rr
		}
		z.add(rr)
	}
	if z.soa.Data == nil {
		z.soa = NewResource(origin, 60, SOA{Primary: origin, Mailbox: origin, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minimum: 60})
		z.add(z.soa)
	}
	for name, set := range z.names {
		if len(set) > 1 && slices.ContainsFunc(set, func(r Resource) bool { return r.Type == TypeCNAME }) {
			return nil, fmt.Errorf("dns: zone %s: %s is an alias and has other records (RFC 1034 §3.6.2)", origin, name)
		}
	}
	return z, nil
}

func (z *Zone) add(rr Resource) {
	key := rr.Name.Fold()
	z.names[key] = append(z.names[key], rr)
	for origin := z.origin.Fold(); key != origin; {
		key = key.Parent()
		if _, ok := z.names[key]; !ok {
			z.names[key] = nil
		}
	}
}

// Origin returns the name of the zone.
func (z *Zone) Origin() Name { return z.origin }

// Answer returns the response to a query, or nil when there must be none: to
// a response and to what is too short for a header.
//
// limit is the most octets the transport takes: MaxMessage on TCP. Below
// that it is UDP, and the size that the client offers counts as well: 512
// octets without EDNS (RFC 1035 §4.2.1, RFC 6891 §6.2.3). A response that is
// larger is cut and marked TC.
func (z *Zone) Answer(query []byte, limit int) []byte {
	q, err := Parse(query)
	if len(query) < headerSize || q.Response {
		return nil
	}
	m := &Message{Header: Header{ID: q.ID, Response: true, Opcode: q.Opcode, RecursionDesired: q.RecursionDesired, CheckingDisabled: q.CheckingDisabled}}
	edns, hasEDNS := q.EDNS()
	if hasEDNS {
		m.Additional = []Resource{EDNS{UDPSize: defaultEDNSSize, DNSSECOK: edns.DNSSECOK}.Resource()}
	}
	if limit < MaxMessage {
		offered := 512
		if hasEDNS {
			offered = max(offered, int(edns.UDPSize))
		}
		limit = min(limit, offered)
	}
	switch {
	case q.Opcode != OpcodeQuery:
		m.Rcode = RcodeNotImp
	case err != nil, q.Trailing > 0, len(q.Questions) != 1, countOPT(q) > 1:
		m.Rcode = RcodeFormErr
	case hasEDNS && edns.Version != 0:
		m.Rcode = RcodeBadVers
	default:
		m.Questions = q.Questions
		z.answer(m)
	}
	return fit(m, limit)
}

func countOPT(m *Message) (n int) {
	for _, rr := range m.Additional {
		if rr.Type == TypeOPT {
			n++
		}
	}
	return n
}

// fit packs m into limit octets, without its records if it must.
func fit(m *Message, limit int) []byte {
	out, err := m.Append(nil)
	if err == nil && len(out) <= limit {
		return out
	}
	m.Truncated = true
	m.Answers, m.Authority = nil, nil
	m.Additional = slices.DeleteFunc(m.Additional, func(r Resource) bool { return r.Type != TypeOPT })
	if out, err = m.Append(nil); err != nil || len(out) > limit {
		return nil
	}
	return out
}

// answer is the algorithm of RFC 1034 §4.3.2 for one zone.
func (z *Zone) answer(m *Message) {
	q := m.Questions[0]
	if q.Class != ClassIN && q.Class != ClassANY || !q.Name.IsSubdomainOf(z.origin) || q.Type == TypeAXFR || q.Type == TypeIXFR {
		m.Rcode = RcodeRefused
		return
	}
	m.Authoritative = true
	seen := map[Name]bool{}
	for name := q.Name; ; {
		if seen[name.Fold()] || len(seen) > maxChain {
			return // a loop of aliases: what there is of it is the answer
		}
		seen[name.Fold()] = true
		if z.delegate(m, name) {
			return
		}
		set, err := z.find(name)
		if err != nil {
			m.Rcode = RcodeNXDomain
			z.negative(m)
			return
		}
		if alias, ok := aliasOf(set); ok && q.Type != TypeCNAME && q.Type != TypeANY {
			m.Answers = append(m.Answers, alias)
			name = alias.Data.(CNAME).Target
			if !name.IsSubdomainOf(z.origin) {
				return // the rest is another zone's to say
			}
			continue
		}
		before := len(m.Answers)
		for _, rr := range set {
			if rr.Type == q.Type || q.Type == TypeANY {
				m.Answers = append(m.Answers, rr)
			}
		}
		if len(m.Answers) == before {
			z.negative(m)
		}
		return
	}
}

var errNoName = errors.New("no such name")

// find returns the records at name, synthesised from a wildcard if one covers
// it (RFC 4592 §3.3.1).
func (z *Zone) find(name Name) ([]Resource, error) {
	if set, ok := z.names[name.Fold()]; ok {
		return set, nil
	}
	for encloser := name.Parent(); encloser.IsSubdomainOf(z.origin); encloser = encloser.Parent() {
		if _, ok := z.names[encloser.Fold()]; !ok {
			continue
		}
		wildcard, err := Name{"\x01*"}.Join(encloser.Fold())
		if err != nil {
			break
		}
		set, ok := z.names[wildcard]
		if !ok {
			break
		}
		out := slices.Clone(set)
		for i := range out {
			out[i].Name = name
		}
		return out, nil
	}
	return nil, errNoName
}

// delegate answers with a referral when name stands at or below NS records
// that are not the zone's own.
func (z *Zone) delegate(m *Message, name Name) bool {
	var cut Name
	for n := name; !n.EqualFold(z.origin); n = n.Parent() {
		if slices.ContainsFunc(z.names[n.Fold()], func(r Resource) bool { return r.Type == TypeNS }) {
			cut = n // the topmost cut counts
		}
	}
	if cut.IsRoot() {
		return false
	}
	if len(m.Answers) == 0 {
		m.Authoritative = false
	}
	var glue []Resource
	for _, rr := range z.names[cut.Fold()] {
		if ns, ok := rr.Data.(NS); ok {
			m.Authority = append(m.Authority, rr)
			for _, g := range z.names[ns.Host.Fold()] {
				if g.Type == TypeA || g.Type == TypeAAAA {
					glue = append(glue, g)
				}
			}
		}
	}
	m.Additional = append(glue, m.Additional...)
	return true
}

// negative adds the SOA record with the TTL of negative answers: the lesser
// of its own and the minimum field (RFC 2308 §3).
func (z *Zone) negative(m *Message) {
	soa := z.soa
	soa.TTL = min(soa.TTL, soa.Data.(SOA).Minimum)
	m.Authority = append(m.Authority, soa)
}

func aliasOf(set []Resource) (Resource, bool) {
	for _, rr := range set {
		if rr.Type == TypeCNAME {
			return rr, true
		}
	}
	return Resource{}, false
}
