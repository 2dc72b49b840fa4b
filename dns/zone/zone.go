// Package zone is authoritative DNS data: zone files (RFC 1035 §5), the zones
// made of them, and the answers they give, signed ones and transfers included.
//
// It does no I/O: files are opened by the caller, and messages are bytes.
package zone

import (
	"fmt"
	"slices"

	"peel/dns"
)

// Zone is the authoritative data of one zone. It is not changed after New,
// and answering from it is safe at the same time from many sides.
type Zone struct {
	origin  dns.Name
	soa     dns.Resource
	apex    *node
	records []dns.Resource // as given, the SOA first
	// nodes holds what stands at each name, by the folded name. A name that
	// only has names below it is there as well (RFC 8020 §2).
	nodes map[dns.Name]*node
	chain *denial // nil when the zone is not signed
}

// node is what stands at one name.
type node struct {
	name dns.Name
	sets []set
	// cut is the topmost delegation at or above the name, dname the DNAME
	// above it: what is below either is not the zone's to answer.
	cut, dname *node
	// parent is the name above; nil at the apex.
	parent *node
	// wildcard is the node *.name, if there is one.
	wildcard *node
}

// set is all records of one type at one name, with the signatures over them.
type set struct {
	typ        dns.Type
	records    []dns.Resource
	signatures []dns.Resource
}

func (n *node) set(t dns.Type) *set {
	for i := range n.sets {
		if n.sets[i].typ == t {
			return &n.sets[i]
		}
	}
	return nil
}

// New makes a zone from its records. Without an SOA record at the origin, one
// with a negative TTL of 60 seconds is made. It fails on a record outside the
// zone or not of class IN, on an alias beside other records, and on a second
// SOA record. Of equal records it keeps one.
func New(origin dns.Name, records ...dns.Resource) (*Zone, error) {
	z := &Zone{origin: origin, nodes: make(map[dns.Name]*node, len(records))}
	for i := range records {
		rr := &records[i]
		switch {
		case rr.Data == "" && rr.Type != 42: // an empty APL record is one
			return nil, fmt.Errorf("zone %s: record %s %s has no data", origin, rr.Name, rr.Type)
		case rr.Class != dns.ClassIN:
			return nil, fmt.Errorf("zone %s: record %s has class %s", origin, rr.Name, rr.Class)
		case !rr.Name.IsSubdomainOf(origin):
			return nil, fmt.Errorf("zone %s: record %s is not in the zone", origin, rr.Name)
		case rr.Type == dns.TypeSOA && !rr.Name.EqualFold(origin):
			return nil, fmt.Errorf("zone %s: SOA record at %s", origin, rr.Name)
		case rr.Type == dns.TypeSOA && z.soa.Data != "":
			return nil, fmt.Errorf("zone %s: two SOA records", origin)
		}
		if rr.Type == dns.TypeSOA {
			if _, ok := rr.Value().(dns.SOA); !ok {
				return nil, fmt.Errorf("zone %s: the SOA record's data is not of its form", origin)
			}
			z.soa = *rr
		}
	}
	if z.soa.Data == "" {
		z.soa = dns.NewResource(origin, 60, dns.SOA{Primary: origin, Mailbox: origin, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minimum: 60})
		records = append([]dns.Resource{z.soa}, records...)
	}
	for i := range records {
		z.add(records[i])
	}
	z.apex = z.nodes[origin.Fold()]
	z.link()
	if err := z.check(); err != nil {
		return nil, err
	}
	z.records = append(z.records, z.soa)
	for _, n := range z.ordered() {
		for _, s := range n.sets {
			for _, rr := range append(slices.Clip(s.records), s.signatures...) {
				if rr.Type != dns.TypeSOA {
					z.records = append(z.records, rr)
				}
			}
		}
	}
	z.chain = newDenial(z)
	return z, nil
}

// add puts a record to its set.
func (z *Zone) add(rr dns.Resource) {
	n := z.node(rr.Name.Fold())
	t := rr.Type
	if t == dns.TypeRRSIG && len(rr.Data) >= 2 {
		covered := dns.Type(rr.Data[0])<<8 | dns.Type(rr.Data[1])
		s := n.set(covered)
		if s == nil {
			n.sets = append(n.sets, set{typ: covered})
			s = &n.sets[len(n.sets)-1]
		}
		s.signatures = append(s.signatures, rr)
		return
	}
	s := n.set(t)
	if s == nil {
		n.sets = append(n.sets, set{typ: t})
		s = &n.sets[len(n.sets)-1]
	}
	for i := range s.records {
		if s.records[i].Data == rr.Data {
			return
		}
	}
	if len(s.records) > 0 { // RFC 2181 §5.2: the records of a set have one TTL
		rr.TTL = s.records[0].TTL
	}
	s.records = append(s.records, rr)
}

// node returns what stands at a folded name, made with the names between it
// and the origin if it is not there.
func (z *Zone) node(key dns.Name) *node {
	if n := z.nodes[key]; n != nil {
		return n
	}
	n := &node{name: key}
	z.nodes[key] = n
	if !key.EqualFold(z.origin) {
		n.parent = z.node(key.Parent())
	}
	return n
}

// link notes at each name what covers it.
func (z *Zone) link() {
	for _, n := range z.ordered() { // parents come before their children
		if n.parent == nil {
			continue
		}
		n.cut, n.dname = n.parent.cut, n.parent.dname
		if n.dname == nil && n.parent.hasRecords(dns.TypeDNAME) {
			n.dname = n.parent
		}
		if n.cut == nil && n.hasRecords(dns.TypeNS) {
			n.cut = n
		}
		if w := n.name.Wire(); w[0] == 1 && w[1] == '*' {
			n.parent.wildcard = n
		}
	}
}

func (n *node) hasRecords(t dns.Type) bool {
	s := n.set(t)
	return s != nil && len(s.records) > 0
}

// ordered returns the nodes in canonical order (RFC 4034 §6.1).
func (z *Zone) ordered() []*node {
	out := make([]*node, 0, len(z.nodes))
	for _, n := range z.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *node) int { return a.name.Compare(b.name) })
	return out
}

func (z *Zone) check() error {
	for _, n := range z.ordered() {
		alias := n.set(dns.TypeCNAME)
		if alias != nil && len(alias.records) > 1 {
			return fmt.Errorf("zone %s: %s is an alias of two names (RFC 2181 §10.1)", z.origin, n.name)
		}
		if d := n.set(dns.TypeDNAME); d != nil && len(d.records) > 1 {
			return fmt.Errorf("zone %s: %s has two DNAME records (RFC 6672 §2.4)", z.origin, n.name)
		}
		if alias == nil || len(alias.records) == 0 {
			continue
		}
		for _, s := range n.sets {
			if len(s.records) > 0 && s.typ != dns.TypeCNAME && s.typ != dns.TypeNSEC && s.typ != dns.TypeRRSIG {
				return fmt.Errorf("zone %s: %s is an alias and has other records (RFC 1034 §3.6.2)", z.origin, n.name)
			}
		}
	}
	return nil
}

// Origin returns the name of the zone.
func (z *Zone) Origin() dns.Name { return z.origin }

// SOA returns the record that heads the zone.
func (z *Zone) SOA() dns.Resource { return z.soa }

// Serial returns the version of the zone.
func (z *Zone) Serial() uint32 { return z.soa.Value().(dns.SOA).Serial }

// Signed tells whether the zone can prove that names do not exist.
func (z *Zone) Signed() bool { return z.chain != nil }

// Records returns all records, the SOA first, then in canonical order. The
// slice must not be changed.
func (z *Zone) Records() []dns.Resource { return z.records }

// Lookup returns the records of one type that stand at a name, without
// regard to delegations and wildcards.
func (z *Zone) Lookup(name dns.Name, t dns.Type) []dns.Resource {
	if n := z.nodes[name.Fold()]; n != nil {
		if s := n.set(t); s != nil {
			return s.records
		}
	}
	return nil
}
