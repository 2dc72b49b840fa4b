package zone

import (
	"encoding/base32"
	"slices"
	"sort"
	"strings"

	"peel/dns"
)

// denial proves that something does not exist: the chain of NSEC records (RFC
// 4034 §4) or of NSEC3 records (RFC 5155) of a signed zone.
type denial struct {
	z *Zone
	// names holds the nodes with an NSEC record in canonical order.
	names []*node
	// hashed holds the NSEC3 records in the order of their hashes, and hashes
	// says where each name's is known to be.
	hashed []hashedNode
	params dns.NSEC3PARAM
}

type hashedNode struct {
	hash string // in lower case base32hex, as the owner name has it
	node *node
}

func newDenial(z *Zone) *denial {
	d := &denial{z: z}
	if s := z.apex.set(dns.TypeNSEC3PARAM); s != nil {
		for _, rr := range s.records {
			if p, ok := rr.Value().(dns.NSEC3PARAM); ok && p.HashAlgorithm == 1 {
				d.params = p
				for _, n := range z.nodes {
					if n.hasRecords(dns.TypeNSEC3) && n.parent == z.apex {
						w := n.name.Wire()
						d.hashed = append(d.hashed, hashedNode{w[1 : 1+w[0]], n})
					}
				}
			}
		}
		slices.SortFunc(d.hashed, func(a, b hashedNode) int { return strings.Compare(a.hash, b.hash) })
		if len(d.hashed) > 0 {
			return d
		}
	}
	for _, n := range z.ordered() {
		if n.hasRecords(dns.TypeNSEC) {
			d.names = append(d.names, n)
		}
	}
	if len(d.names) == 0 {
		return nil
	}
	return d
}

// Hash returns the hash of a name as RFC 5155 §5 makes it, in lower case
// base32hex.
func Hash(name dns.Name, salt string, iterations uint16) string {
	sum := dns.HashNSEC3(name, salt, iterations)
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

func (d *denial) add(b *builder, n *node) {
	t := dns.TypeNSEC
	if d.hashed != nil {
		t = dns.TypeNSEC3
	}
	s := n.set(t)
	for i := range b.m.Authority {
		if b.m.Authority[i].Type == t && b.m.Authority[i].Data == s.records[0].Data {
			return // it proves two things at once
		}
	}
	b.put(&b.m.Authority, s)
}

// covering returns the node whose NSEC record spans a name, or stands at it.
func (d *denial) covering(name dns.Name) *node {
	i := sort.Search(len(d.names), func(i int) bool { return d.names[i].name.Compare(name) > 0 })
	if i == 0 {
		i = len(d.names)
	}
	return d.names[i-1]
}

// hash returns the NSEC3 node that matches a name, or else the one that
// covers it.
func (d *denial) hash(name dns.Name) (n *node, match bool) {
	h := Hash(name, d.params.Salt, d.params.Iterations)
	i := sort.Search(len(d.hashed), func(i int) bool { return d.hashed[i].hash > h })
	if i == 0 {
		i = len(d.hashed)
	}
	return d.hashed[i-1].node, d.hashed[i-1].hash == h
}

// encloser proves the closest encloser of a name (RFC 5155 §7.2.1): the
// nearest name above that exists, and that the one below it does not.
func (d *denial) encloser(b *builder, name dns.Name, ce *node) {
	for n := ce.name; ; n = n.Parent() {
		node, match := d.hash(n)
		if match || n.EqualFold(d.z.origin) {
			if match {
				d.add(b, node)
			}
			cover, _ := d.hash(name.Suffix(n.NumLabels() + 1))
			d.add(b, cover)
			return
		}
	}
}

// noName proves that neither a name nor a wildcard for it exists.
func (d *denial) noName(b *builder, name dns.Name, ce *node) {
	wild, err := ce.name.Child("*")
	if d.hashed != nil {
		d.encloser(b, name, ce)
		if err == nil {
			n, _ := d.hash(wild)
			d.add(b, n)
		}
		return
	}
	d.add(b, d.covering(name))
	if err == nil {
		d.add(b, d.covering(wild))
	}
}

// noData proves that a name has no records of the type.
func (d *denial) noData(b *builder, n *node, wild bool) {
	if d.hashed == nil {
		d.add(b, d.covering(n.name))
		return
	}
	if node, match := d.hash(n.name); match {
		d.add(b, node)
	} else if n.parent != nil {
		d.encloser(b, n.name, n.parent) // RFC 5155 §7.2.4: a DS below opt-out
	}
}

// wildcard proves that the name itself does not exist, and so that the
// wildcard may answer (RFC 4035 §3.1.3.3, RFC 5155 §7.2.5 and §7.2.6).
func (d *denial) wildcard(b *builder, name dns.Name, ce *node) {
	if d.hashed == nil {
		d.add(b, d.covering(name))
		return
	}
	if slices.ContainsFunc(b.m.Authority, func(r dns.Resource) bool { return r.Type == dns.TypeSOA }) {
		d.encloser(b, name, ce) // no data at the wildcard: the encloser as well
		return
	}
	n, _ := d.hash(name.Suffix(ce.name.NumLabels() + 1))
	d.add(b, n)
}

// noDS proves that a delegation is not signed.
func (d *denial) noDS(b *builder, cut *node) {
	if d.hashed == nil {
		d.add(b, d.covering(cut.name))
		return
	}
	if n, match := d.hash(cut.name); match {
		d.add(b, n)
		return
	}
	d.encloser(b, cut.name, cut.parent)
}
