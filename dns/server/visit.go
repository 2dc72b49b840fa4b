package server

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"peel/dns"
)

// Transport is how a query came.
type Transport uint8

// The transports.
const (
	OverUDP Transport = iota
	OverTCP
	OverTLS
	OverHTTPS
	transports
)

// String returns "udp" and so on.
func (t Transport) String() string { return [...]string{"udp", "tcp", "tls", "https"}[t&3] }

// Source is what a response was made from.
type Source uint8

// The sources.
const (
	FromZone     Source = iota // one of the zones
	FromCache                  // what the resolver knew
	FromResolver               // what it found out
	FromPolicy                 // nothing: the query was refused, or had no form
	sources
)

// String returns "zone" and so on.
func (s Source) String() string { return [...]string{"zone", "cache", "resolver", "policy"}[s&3] }

// Visit is one query and what became of it, for a log.
type Visit struct {
	Peer      netip.AddrPort
	Transport Transport
	Question  dns.Question // of what has none, the zero value
	Start     time.Time
	Duration  time.Duration
	Source    Source
	Rcode     dns.Rcode // the four bits of the header
	Bytes     int
	// Withheld tells that the response was dropped or cut for being one of too
	// many.
	Withheld bool
}

// visit is a query under way.
type visit struct {
	peer      netip.AddrPort
	transport Transport
	start     time.Time
	cookie    cookie
	source    Source
}

// limit is how large the response may be.
func (v *visit) limit() int {
	if v.transport != OverUDP {
		return dns.MaxMessage
	}
	if v.cookie.has {
		return min(udpLimit, v.cookie.offered)
	}
	return udpLimit
}

// room is limit without what leave adds.
func (v *visit) room() int {
	if v.cookie.has {
		return v.limit() - cookieOption
	}
	return v.limit()
}

// Counts are what a server has done.
type Counts struct {
	Queries   [transports]uint64 // by transport
	Responses [16]uint64         // by response code
	Sources   [sources]uint64
	Truncated uint64
	Withheld  uint64 // by the rate limit
	Refused   uint64 // recursion that a client may not have
	Cookies   uint64 // queries with a good one
	Streams   int    // connections at present
	MadeRoom  uint64 // connections that were closed for others, or had no place
}

type counters struct {
	queries                               [transports]atomic.Uint64
	responses                             [16]atomic.Uint64
	sources                               [sources]atomic.Uint64
	truncated, withheld, refused, cookies atomic.Uint64
}

// Counts returns them.
func (s *Server) Counts() (c Counts) {
	for i := range c.Queries {
		c.Queries[i] = s.counters.queries[i].Load()
	}
	for i := range c.Responses {
		c.Responses[i] = s.counters.responses[i].Load()
	}
	for i := range c.Sources {
		c.Sources[i] = s.counters.sources[i].Load()
	}
	c.Truncated, c.Withheld = s.counters.truncated.Load(), s.counters.withheld.Load()
	c.Refused, c.Cookies = s.counters.refused.Load(), s.counters.cookies.Load()
	c.Streams, c.MadeRoom = s.streams.counts()
	return c
}

// arrive begins with a query.
func (s *Server) arrive(query []byte, peer netip.AddrPort, transport Transport) visit {
	v := visit{peer: peer, transport: transport}
	if s.Cookies != nil || s.Rate != nil || s.OnVisit != nil {
		v.start = time.Now()
	}
	if s.Cookies != nil {
		if v.cookie = s.Cookies.read(query, peer.Addr(), v.start); v.cookie.good {
			s.counters.cookies.Add(1)
		}
	}
	s.counters.queries[transport].Add(1)
	return v
}

// LocalNetworks are the networks of this machine and of its neighbours: of
// loopback, private and link-local addresses.
func LocalNetworks() (out []netip.Prefix) {
	for _, p := range [...]string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// mayRecurse tells whether a client may have other names than the zones'
// resolved. The program itself, which has no address, may.
func (s *Server) mayRecurse(peer netip.Addr) bool {
	a := peer.Unmap().WithZone("")
	return s.AllowRecursion == nil || !peer.IsValid() || slices.ContainsFunc(s.AllowRecursion, func(p netip.Prefix) bool { return p.Contains(a) })
}

// refuse appends a response without an answer.
func refuse(q *dns.Message, dst, query []byte, limit int, rcode dns.Rcode, why string) []byte {
	r, bad := read(q, query, limit)
	m := r.response()
	m.RecursionAvailable = false
	m.Rcode = rcode
	var errs []dns.ExtendedError
	switch {
	case bad == dns.RcodeFormErr:
		m.Rcode, m.Questions = bad, nil
	case why != "":
		errs = []dns.ExtendedError{{Code: dns.EDEProhibited, Text: why}}
	}
	return r.finish(dst, m, errs)
}

// leave ends with a response: it gets its cookie, is counted, and over UDP is
// one of not too many. Nothing is returned of one that is not to be sent.
func (s *Server) leave(v *visit, out []byte) []byte {
	if len(out) < 12 {
		return out
	}
	withheld, gone := false, false
	if v.transport == OverUDP && s.Rate != nil && !v.cookie.good {
		switch s.Rate.judge(out, v.peer.Addr(), v.start) {
		case drop:
			withheld, gone = true, true
		case slip:
			withheld = true
			out = cutShort(out)
		}
		if withheld {
			s.counters.withheld.Add(1)
		}
	}
	if s.Cookies != nil && v.cookie.has && !withheld {
		out = s.Cookies.add(out, v.cookie, v.peer.Addr(), v.start, v.limit())
	}
	rcode := out[3] & 0xf
	s.counters.responses[rcode].Add(1)
	s.counters.sources[v.source].Add(1)
	if out[2]&2 != 0 {
		s.counters.truncated.Add(1)
	}
	if s.OnVisit != nil {
		x := Visit{Peer: v.peer, Transport: v.transport, Start: v.start, Duration: time.Since(v.start), Source: v.source, Rcode: dns.Rcode(rcode), Bytes: len(out), Withheld: withheld}
		if name, typ, ok := dns.QuestionOf(out); ok {
			x.Question = dns.Question{Name: name, Type: typ, Class: dns.ClassIN}
			if end := skipName(out, 12); end+4 <= len(out) {
				x.Question.Class = dns.Class(binary.BigEndian.Uint16(out[end+2:]))
			}
		}
		s.OnVisit(x)
	}
	if gone {
		return nil
	}
	return out
}
