package stub

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// Sorter orders destination addresses by RFC 6724 §6. Its functions are what
// the rules must know about the host; they do no lookup by themselves.
type Sorter struct {
	// Source returns the address that packets to dst would be sent from, or
	// false when dst cannot be reached. Nil leaves every order as it is.
	Source func(dst netip.Addr) (src netip.Addr, ok bool)
	// Deprecated tells whether a source address is deprecated (rule 3). Nil
	// means that none is.
	Deprecated func(src netip.Addr) bool
}

// Sorted is one address in its place.
type Sorted struct {
	Addr netip.Addr
	// Source is the source address, invalid when there is none.
	Source netip.Addr
	// Why names the rule that put the address before the next one.
	Why string
}

type candidate struct {
	dst, src   netip.Addr
	usable     bool
	deprecated bool
	dstPolicy  policy
	srcPolicy  policy
	dstScope   int
	srcScope   int
}

// Sort returns dsts in the order in which to try them.
//
// Rules 4 (home addresses) and 7 (native transport) need facts that no host
// peel runs on can tell and are passed over. Rule 9 is applied to IPv6 only:
// with IPv4 it would undo a name server's rotation, and no common stub
// resolver does it.
func (s Sorter) Sort(dsts []netip.Addr) []Sorted {
	out := make([]Sorted, len(dsts))
	if s.Source == nil {
		for i, d := range dsts {
			out[i] = Sorted{Addr: d, Why: "as answered: the host's source addresses are not known"}
		}
		return out
	}
	list := make([]candidate, len(dsts))
	for i, d := range dsts {
		list[i] = s.candidate(d)
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		order, _ := a.compare(b)
		return order
	})
	for i, c := range list {
		out[i] = Sorted{Addr: c.dst, Source: c.src}
		if i+1 < len(list) {
			_, out[i].Why = c.compare(list[i+1])
		}
	}
	return out
}

func (s Sorter) candidate(dst netip.Addr) candidate {
	c := candidate{dst: dst, dstPolicy: policyOf(dst), dstScope: scopeOf(dst)}
	c.src, c.usable = s.Source(dst)
	if c.usable = c.usable && c.src.IsValid(); c.usable {
		c.srcPolicy, c.srcScope = policyOf(c.src), scopeOf(c.src)
		c.deprecated = s.Deprecated != nil && s.Deprecated(c.src)
	}
	return c
}

// compare returns which of two comes first, negative for a, and the rule.
func (a candidate) compare(b candidate) (order int, why string) {
	prefer := func(first, second bool) bool {
		if first == second {
			return false
		}
		if order = 1; first {
			order = -1
		}
		return true
	}
	aMatches, bMatches := a.dstScope == a.srcScope, b.dstScope == b.srcScope
	switch {
	case prefer(a.usable, b.usable):
		why = "rule 1: the next one has no route"
	case !a.usable:
		return 0, "neither has a route"
	case prefer(aMatches, bMatches):
		why = "rule 2: its source address has the same scope, the next one's has not"
	case prefer(!a.deprecated, !b.deprecated):
		why = "rule 3: the next one's source address is deprecated"
	case prefer(a.dstPolicy.label == a.srcPolicy.label, b.dstPolicy.label == b.srcPolicy.label):
		why = "rule 5: its source address has the same label, the next one's has not"
	case a.dstPolicy.precedence != b.dstPolicy.precedence:
		order = b.dstPolicy.precedence - a.dstPolicy.precedence
		why = fmt.Sprintf("rule 6: precedence %d before %d", max(a.dstPolicy.precedence, b.dstPolicy.precedence),
			min(a.dstPolicy.precedence, b.dstPolicy.precedence))
	case a.dstScope != b.dstScope:
		order = a.dstScope - b.dstScope
		why = "rule 8: its scope is smaller"
	case a.dst.Is6() && b.dst.Is6() && !a.dst.Is4In6() && !b.dst.Is4In6():
		x, y := commonPrefix(a.src, a.dst), commonPrefix(b.src, b.dst)
		if order = y - x; order != 0 {
			why = fmt.Sprintf("rule 9: shares %d bits with its source address, the next one %d", max(x, y), min(x, y))
		}
	}
	if order == 0 {
		why = "rule 10: the order of the answer"
	}
	return order, why
}

type policy struct {
	prefix            netip.Prefix
	precedence, label int
}

// policyOf returns the row of the default policy table of RFC 6724 §2.1 that
// matches a with the longest prefix.
func policyOf(a netip.Addr) policy {
	a = netip.AddrFrom16(a.As16()) // IPv4 is looked up in its mapped form
	for _, p := range policyTable {
		if p.prefix.Contains(a) {
			return p
		}
	}
	return policy{}
}

// policyTable is in the order of falling prefix length.
var policyTable = []policy{
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

// The scopes of RFC 4291 §2.7, as numbers to compare.
const (
	scopeLink   = 0x2
	scopeSite   = 0x5
	scopeGlobal = 0xe
)

// scopeOf returns the scope of RFC 6724 §3.1 and, for IPv4, §3.2: loopback
// and link-local addresses have link-local scope, all others global.
func scopeOf(a netip.Addr) int {
	a = a.Unmap()
	switch {
	case a.IsMulticast() && a.Is6():
		b := a.As16()
		return int(b[1] & 0xf)
	case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsLinkLocalMulticast():
		return scopeLink
	case a.Is6() && netip.MustParsePrefix("fec0::/10").Contains(a.WithZone("")):
		return scopeSite
	}
	return scopeGlobal
}

// commonPrefix counts the leading bits that a source and a destination share,
// at most 64: beyond the prefix of a network they mean nothing (§2.2).
func commonPrefix(src, dst netip.Addr) int {
	x, y := src.As16(), dst.As16()
	n := 0
	for i := range 8 {
		if d := x[i] ^ y[i]; d != 0 {
			return n + bits.LeadingZeros8(d)
		}
		n += 8
	}
	return n
}
