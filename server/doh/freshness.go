package doh

import (
	"strconv"

	"peel/dns"
)

// freshness returns for how many seconds an HTTP cache may keep a message:
// the least TTL of its answers, or for a negative answer the SOA's.
func freshness(msg []byte) (string, bool) {
	m, err := dns.Parse(msg)
	if err != nil || m.Rcode != dns.RcodeNoError && m.Rcode != dns.RcodeNXDomain {
		return "", false
	}
	least, found := uint32(1<<31-1), false
	section := m.Answers
	if len(section) == 0 {
		section = m.Authority
	}
	for _, rr := range section {
		ttl := rr.TTL
		if soa, ok := rr.Value().(dns.SOA); ok {
			ttl = min(ttl, soa.Minimum)
		}
		least, found = min(least, ttl), true
	}
	return strconv.FormatUint(uint64(least), 10), found
}
