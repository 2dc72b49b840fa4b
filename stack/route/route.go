// Package route is a host's routing table: the longest prefix that matches
// wins, and among those the least metric (RFC 1812 §5.2.4.3).
package route

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Kind tells what a route does with packets.
type Kind uint8

const (
	// Unicast sends them on.
	Unicast Kind = iota
	// Blackhole drops them and tells nobody.
	Blackhole
	// Unreachable answers with ICMP "host unreachable".
	Unreachable
	// Prohibit answers with ICMP "administratively prohibited".
	Prohibit
)

var kindNames = [...]string{"unicast", "blackhole", "unreachable", "prohibit"}

func (k Kind) String() string { return kindNames[k] }

// Route leads to a prefix.
type Route struct {
	Prefix netip.Prefix
	// Gateway is the next hop; the zero Addr means that the destination
	// itself is on the link.
	Gateway netip.Addr
	// Interface is the name of the interface that leads there.
	Interface string
	// Source is the preferred source address; may be zero.
	Source netip.Addr
	// Metric: less is better.
	Metric int
	// MTU in bytes bounds packets on this route; 0 is the interface's.
	MTU  int
	Kind Kind
	// From tells where the route came from: "static", "address", "ra".
	From string
}

func (r Route) String() string {
	s := r.Prefix.String()
	if r.Prefix.Bits() == 0 {
		s = "default"
	}
	if r.Kind != Unicast {
		return r.Kind.String() + " " + s
	}
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	s += " dev " + r.Interface
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	return s
}

// Table is a routing table. The zero Table is empty and ready.
type Table struct {
	four, six lengths
	// Changes counts, so that those who remember an answer know when to ask
	// again.
	Changes uint64
}

// lengths holds the routes of a family, by the length of their prefix.
type lengths struct {
	present []int // longest first
	routes  map[netip.Prefix][]*Route
}

func (t *Table) family(a netip.Addr) *lengths {
	if a.Is4() {
		return &t.four
	}
	return &t.six
}

// Add adds a route. One with the same prefix, metric and interface is
// replaced.
func (t *Table) Add(r Route) error {
	if !r.Prefix.IsValid() {
		return fmt.Errorf("route: the prefix is not valid")
	}
	r.Prefix = r.Prefix.Masked()
	if g := r.Gateway; g.IsValid() && g.Is4() != r.Prefix.Addr().Is4() {
		return fmt.Errorf("route: gateway %v and prefix %v are of different families", g, r.Prefix)
	}
	t.Remove(func(o Route) bool { return o.Prefix == r.Prefix && o.Metric == r.Metric && o.Interface == r.Interface })
	l := t.family(r.Prefix.Addr())
	if l.routes == nil {
		l.routes = map[netip.Prefix][]*Route{}
	}
	if i, found := slices.BinarySearchFunc(l.present, r.Prefix.Bits(), func(a, b int) int { return cmp.Compare(b, a) }); !found {
		l.present = slices.Insert(l.present, i, r.Prefix.Bits())
	}
	list := append(l.routes[r.Prefix], &r)
	slices.SortStableFunc(list, func(a, b *Route) int { return cmp.Compare(a.Metric, b.Metric) })
	l.routes[r.Prefix] = list
	t.Changes++
	return nil
}

// Remove takes out the routes for which f is true and returns how many.
func (t *Table) Remove(f func(Route) bool) int {
	n := 0
	for _, l := range []*lengths{&t.four, &t.six} {
		for p, list := range l.routes {
			kept := slices.DeleteFunc(list, func(r *Route) bool { return f(*r) })
			n += len(list) - len(kept)
			if len(kept) == 0 {
				delete(l.routes, p)
			} else {
				l.routes[p] = kept
			}
		}
		l.present = slices.DeleteFunc(l.present, func(bits int) bool {
			for p := range l.routes {
				if p.Bits() == bits {
					return false
				}
			}
			return true
		})
	}
	if n > 0 {
		t.Changes++
	}
	return n
}

// Lookup returns the route to dst, and nil when there is none. usable may
// refuse routes, as those of an interface that is down; nil takes all.
func (t *Table) Lookup(dst netip.Addr, usable func(*Route) bool) *Route {
	l := t.family(dst)
	for _, bits := range l.present {
		p, err := dst.Prefix(bits)
		if err != nil {
			return nil
		}
		for _, r := range l.routes[p] {
			if usable == nil || usable(r) {
				return r
			}
		}
	}
	return nil
}

// Matches returns all routes that lead to dst, the best first: what stood
// behind the one that Lookup chose.
func (t *Table) Matches(dst netip.Addr) []Route {
	var out []Route
	l := t.family(dst)
	for _, bits := range l.present {
		if p, err := dst.Prefix(bits); err == nil {
			for _, r := range l.routes[p] {
				out = append(out, *r)
			}
		}
	}
	return out
}

// All returns the routes, IPv4 first, by prefix and metric.
func (t *Table) All() []Route {
	var out []Route
	for _, l := range []*lengths{&t.four, &t.six} {
		at := len(out)
		for _, list := range l.routes {
			for _, r := range list {
				out = append(out, *r)
			}
		}
		slices.SortStableFunc(out[at:], func(a, b Route) int {
			return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Interface, b.Interface))
		})
	}
	return out
}
