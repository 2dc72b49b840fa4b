package recursor

import (
	"slices"
	"time"

	"peel/clock"
	"peel/dns"
	"peel/dns/cache"
)

// Fill puts a result into a response. do adds signatures and proofs; ad tells
// that the asker wants to know whether the answer is authentic.
func (res *Result) Fill(m *dns.Message, do, ad bool) {
	m.RecursionAvailable = true
	m.Rcode = res.Rcode
	m.AuthenticData = res.Security == cache.Secure && (do || ad) && len(res.Entries) > 0
	for i, e := range res.Entries {
		// RFC 2181 §5: a set stands in an answer once, also where a chain of
		// aliases comes by the same DNAME record again.
		if e.Type == dns.TypeDNAME && slices.ContainsFunc(res.Entries[:i], func(o *cache.Entry) bool { return o.Type == e.Type && o.Name.EqualFold(e.Name) }) {
			continue
		}
		fill(m, e, do, i == len(res.Entries)-1, res.Stale)
	}
}

func fill(m *dns.Message, e *cache.Entry, do, last, stale bool) {
	first := len(m.Answers)
	m.Answers = append(m.Answers, e.Records...)
	if do {
		m.Answers = append(m.Answers, e.Signatures...)
	}
	if stale { // RFC 8767 §4
		for i := range m.Answers[first:] {
			m.Answers[first+i].TTL = 30
		}
	}
	if !last && !do {
		return
	}
	for i := range e.Proofs {
		rr := &e.Proofs[i]
		if do || rr.Type == dns.TypeSOA {
			rr := *rr
			if e.Negative() {
				rr.TTL = min(rr.TTL, e.TTL)
			}
			if !slices.ContainsFunc(m.Authority, func(o dns.Resource) bool { return o.Type == rr.Type && o.Data == rr.Data }) {
				m.Authority = append(m.Authority, rr)
			}
		}
	}
}

// Workspace is what answering from the cache uses again and again.
type Workspace struct {
	entries [maxAliases + 1]cache.Entry
}

// Cached fills m with the answer to a question if it is in the cache, checked
// as far as unchecked asks for it. refresh tells that the answer is in its
// last tenth, and is wanted: it should be asked for again (prefetching).
func (r *Resolver) Cached(now clock.Time, w *Workspace, m *dns.Message, q dns.Question, do, ad, unchecked bool) (ok, refresh bool) {
	if q.Class != dns.ClassIN || q.Type == dns.TypeANY {
		return false, false
	}
	name, secure := q.Name, true
	n := 0
	for ; ; n++ {
		if n == len(w.entries) {
			return false, false
		}
		e := &w.entries[n]
		found := r.cache.Into(e, name, q.Type, now, false)
		final := found
		if !found && q.Type != dns.TypeCNAME {
			if found = r.cache.Into(e, name, dns.TypeCNAME, now, false); found && e.Negative() {
				return false, false
			}
		}
		if !found || e.Rank < cache.Authority {
			return false, false
		}
		if len(r.anchors) > 0 && !unchecked && (e.Security == cache.Unchecked || e.Security == cache.Bogus) {
			return false, false
		}
		secure = secure && e.Security == cache.Secure
		if left := e.Expires.Sub(now); left*10 < time.Duration(e.TTL)*time.Second {
			refresh = true
		}
		if final {
			break
		}
		name, _ = e.Records[0].Target()
	}
	m.RecursionAvailable = true
	m.Rcode = w.entries[n].Rcode
	m.AuthenticData = secure && (do || ad) && len(r.anchors) > 0
	for i := range n + 1 {
		fill(m, &w.entries[i], do, i == n, false)
	}
	return true, refresh
}
