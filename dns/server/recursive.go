package server

import (
	"net/netip"
	"sync"

	"peel/dns"
	"peel/dns/cache"
	"peel/dns/recursor"
	"peel/dns/zone"
)

// request is what a query asks for, beside its question.
type request struct {
	q         *dns.Message
	do, ad    bool
	unchecked bool
	edns      bool
	limit     int
}

// read judges a query; with an rcode, that is all of the answer.
func read(q *dns.Message, query []byte, limit int) (request, dns.Rcode) {
	err := q.Unpack(query)
	e, has := q.EDNS()
	r := request{q: q, do: e.DNSSECOK, ad: q.AuthenticData, unchecked: q.CheckingDisabled, edns: has, limit: limit}
	if limit < dns.MaxMessage {
		offered := 512
		if has {
			offered = max(offered, int(e.UDPSize))
		}
		r.limit = min(limit, offered)
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return r, dns.RcodeNotImp
	case err != nil || len(q.Questions) != 1 || q.Trailing > 0 || q.CheckEDNS() != nil:
		return r, dns.RcodeFormErr
	case has && e.Version != 0:
		return r, dns.RcodeBadVers
	case !q.RecursionDesired:
		return r, dns.RcodeRefused // RFC 8906: others' questions are not answered from the cache
	}
	return r, 0
}

func (r *request) response() *dns.Message {
	return &dns.Message{Header: dns.Header{ID: r.q.ID, Response: true, Opcode: r.q.Opcode, RecursionDesired: r.q.RecursionDesired,
		RecursionAvailable: true, CheckingDisabled: r.unchecked}, Questions: r.q.Questions}
}

func (r *request) finish(dst []byte, m *dns.Message, errs []dns.ExtendedError) []byte {
	if r.edns {
		e := dns.EDNS{UDPSize: udpLimit, DNSSECOK: r.do}
		for _, x := range errs {
			if len(x.Text) > 200 {
				x.Text = x.Text[:200]
			}
			e.Options = append(e.Options, x.Option())
		}
		m.Additional = append(m.Additional, e.Resource())
	} else if m.Rcode > 15 {
		m.Rcode = dns.RcodeServFail
	}
	return zone.Fit(dst, m, r.limit)
}

// Cached implements Recursive.
func (d *Resolver) Cached(q *dns.Message, dst, query []byte, limit int) []byte {
	if len(query) < 12 || query[2]&0x80 != 0 {
		return dst
	}
	r, rcode := read(q, query, limit)
	m := r.response()
	if rcode != 0 {
		m.Rcode = rcode
		if rcode == dns.RcodeFormErr {
			m.Questions = nil
		}
		return r.finish(dst, m, nil)
	}
	w := workspaces.Get().(*recursor.Workspace)
	defer workspaces.Put(w)
	// The cache alone is asked, whatever the engine is busy with.
	ok, refresh := d.engine.Cached(d.clock.Now(), w, m, q.Questions[0], r.do, r.ad, r.unchecked)
	if !ok {
		return dst
	}
	if refresh {
		select {
		case d.refreshes <- q.Questions[0]:
		default: // another time
		}
	}
	return r.finish(dst, m, nil)
}

var workspaces = sync.Pool{New: func() any { return new(recursor.Workspace) }}

// Resolve implements Recursive.
func (d *Resolver) Resolve(query []byte, peer netip.AddrPort, limit int, reply func(msg []byte)) {
	q := &dns.Message{}
	r, rcode := read(q, query, limit)
	if rcode != 0 {
		m := r.response()
		m.Rcode = rcode
		reply(r.finish(nil, m, nil))
		return
	}
	d.ask(&ask{q: q.Questions[0], from: peer.Addr(), unchecked: r.unchecked, quick: limit < dns.MaxMessage, done: func(res *recursor.Result) {
		m := r.response()
		res.Fill(m, r.do, r.ad)
		reply(r.finish(nil, m, res.Errors))
	}})
}

// CacheEntries returns what the cache holds, in canonical order.
func (d *Resolver) CacheEntries() ([]*cache.Entry, cache.Stats) {
	c := d.engine.Cache()
	return c.All(d.clock.Now()), c.Stats()
}

// CacheStats tells how the cache has done.
func (d *Resolver) CacheStats() cache.Stats { return d.engine.Cache().Stats() }

// Flush forgets a name; with below, all names under it too.
func (d *Resolver) Flush(name dns.Name, below bool) (n int) {
	d.call(func() { n = d.engine.Flush(name, below) })
	return n
}

// Stats counts what the resolver has done.
func (d *Resolver) Stats() (s recursor.Stats) {
	d.call(func() { s = d.engine.Stats() })
	return s
}
