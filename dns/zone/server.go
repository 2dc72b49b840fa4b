package zone

import (
	"slices"
	"sync/atomic"

	"peel/dns"
)

// Server answers for any number of zones. Put and Remove may be called at any
// time: a query is answered from the zones as they were when it came.
type Server struct {
	zones atomic.Pointer[map[dns.Name]*versions]
	// Transfer says who may transfer zones; nobody when nil. peer is what
	// the driver knows the asker by.
	Transfer func(z *Zone, peer string) bool
	// NSID names this server to who asks for it (RFC 5001); none when empty.
	NSID string
}

// versions is a zone with the steps that led to it.
type versions struct {
	zone    *Zone
	history []Difference // oldest first
}

// maxHistory bounds the differences kept of a zone for incremental transfers,
// in steps and in records.
const (
	maxHistory        = 32
	maxHistoryRecords = 100_000
)

// NewServer returns a server without zones.
func NewServer() *Server {
	s := &Server{}
	s.zones.Store(&map[dns.Name]*versions{})
	return s
}

// Put adds a zone, or replaces the one of the same name. When the serial has
// grown, the difference is kept for incremental transfers (RFC 1995).
func (s *Server) Put(z *Zone) {
	s.change(func(m map[dns.Name]*versions) {
		next := &versions{zone: z}
		if old := m[z.origin.Fold()]; old != nil {
			if serialNewer(z.Serial(), old.zone.Serial()) {
				next.history = append(slices.Clone(old.history), Diff(old.zone, z))
			}
			total := 0
			for i := len(next.history) - 1; i >= 0; i-- {
				total += len(next.history[i].Removed) + len(next.history[i].Added)
				if total > maxHistoryRecords || len(next.history)-i > maxHistory {
					next.history = next.history[i+1:]
					break
				}
			}
		}
		m[z.origin.Fold()] = next
	})
}

// Remove takes a zone away.
func (s *Server) Remove(origin dns.Name) {
	s.change(func(m map[dns.Name]*versions) { delete(m, origin.Fold()) })
}

func (s *Server) change(f func(map[dns.Name]*versions)) {
	for {
		old := s.zones.Load()
		next := make(map[dns.Name]*versions, len(*old)+1)
		for k, v := range *old {
			next[k] = v
		}
		f(next)
		if s.zones.CompareAndSwap(old, &next) {
			return
		}
	}
}

// Zones returns the zones in canonical order of their names.
func (s *Server) Zones() []*Zone {
	var out []*Zone
	for _, v := range *s.zones.Load() {
		out = append(out, v.zone)
	}
	slices.SortFunc(out, func(a, b *Zone) int { return a.origin.Compare(b.origin) })
	return out
}

// find returns the zone that a name is in: the one with the most labels. A DS
// record is found on the parent's side.
func (s *Server) find(name dns.Name, t dns.Type) *versions {
	zones := *s.zones.Load()
	at := name.Fold()
	if t == dns.TypeDS && !at.IsRoot() {
		if v := s.above(zones, at.Parent()); v != nil {
			return v
		}
	}
	return s.above(zones, at)
}

func (s *Server) above(zones map[dns.Name]*versions, at dns.Name) *versions {
	for {
		if v := zones[at]; v != nil || at.IsRoot() {
			return v
		}
		at = at.Parent()
	}
}

// Workspace is what answering uses again and again. One belongs to one
// goroutine.
type Workspace struct {
	query, response          dns.Message
	answers, authority, more []dns.Resource
}

// Answer appends the response to a query to dst, or nothing when there must
// be none: to a response and to what is too short for a header.
//
// limit is the most octets the transport takes: dns.MaxMessage on TCP. Below
// that it is UDP, and the size that the client offers counts as well: 512
// octets without EDNS (RFC 1035 §4.2.1, RFC 6891 §6.2.3). A response that is
// larger is cut and marked TC.
func (s *Server) Answer(dst, query []byte, limit int) []byte {
	return s.AnswerWith(&Workspace{}, dst, query, limit)
}

// AnswerWith is Answer with memory that is used again.
func (s *Server) AnswerWith(w *Workspace, dst, query []byte, limit int) []byte {
	q, m := &w.query, &w.response
	if len(query) < 12 || query[2]&0x80 != 0 {
		return dst
	}
	err := q.Unpack(query)
	*m = dns.Message{Header: dns.Header{ID: q.ID, Response: true, Opcode: q.Opcode, RecursionDesired: q.RecursionDesired, CheckingDisabled: q.CheckingDisabled},
		Answers: w.answers[:0], Authority: w.authority[:0], Additional: w.more[:0]}
	edns, hasEDNS := q.EDNS()
	if limit < dns.MaxMessage {
		offered := 512
		if hasEDNS {
			offered = max(offered, int(edns.UDPSize))
		}
		limit = min(limit, offered)
	}
	switch {
	case q.Opcode != dns.OpcodeQuery && q.Opcode != dns.OpcodeNotify:
		m.Rcode = dns.RcodeNotImp
	case err != nil, q.Trailing > 0, len(q.Questions) != 1, q.CheckEDNS() != nil:
		m.Rcode = dns.RcodeFormErr
	case hasEDNS && edns.Version != 0:
		m.Rcode = dns.RcodeBadVers
	default:
		m.Questions = q.Questions
		s.reply(m, q, edns.DNSSECOK)
	}
	if hasEDNS {
		e := dns.EDNS{UDPSize: udpSize, DNSSECOK: edns.DNSSECOK}
		if s.NSID != "" && slices.ContainsFunc(edns.Options, func(o dns.Option) bool { return o.Code == dns.OptionNSID }) {
			e.Options = append(e.Options, dns.Option{Code: dns.OptionNSID, Data: []byte(s.NSID)})
		}
		m.Additional = append(m.Additional, e.Resource())
	}
	w.answers, w.authority, w.more = m.Answers, m.Authority, m.Additional
	return Fit(dst, m, limit)
}

func (s *Server) reply(m *dns.Message, q *dns.Message, do bool) {
	question := q.Questions[0]
	v := s.find(question.Name, question.Type)
	switch {
	case q.Opcode == dns.OpcodeNotify: // RFC 1996: to a primary it means nothing
		m.Rcode = dns.RcodeNotAuth
	case question.Class != dns.ClassIN && question.Class != dns.ClassANY || v == nil:
		m.Rcode = dns.RcodeRefused
	case question.Type == dns.TypeIXFR && question.Name.EqualFold(v.zone.origin):
		// RFC 1995 §2: over UDP, when it does not fit, the SOA alone. The
		// whole goes through Transfers.
		m.Authoritative = true
		m.Answers = append(m.Answers, v.zone.soa)
	case question.Type == dns.TypeAXFR || question.Type == dns.TypeIXFR:
		m.Rcode = dns.RcodeRefused
	case question.Type == dns.TypeMAILA || question.Type == dns.TypeMAILB || question.Type == dns.TypeTKEY || question.Type == dns.TypeTSIG || question.Type == dns.TypeOPT:
		m.Rcode = dns.RcodeNotImp
	default:
		v.zone.reply(m, question, do)
	}
}

// Fit appends m to dst in limit octets. What does not fit goes in this order:
// additional records that are no glue, without a mark; then everything, with
// TC set (RFC 2181 §9).
func Fit(dst []byte, m *dns.Message, limit int) []byte {
	base := len(dst)
	out, err := m.Append(dst)
	if err == nil && len(out)-base <= limit {
		return out
	}
	referral := len(m.Answers) == 0 && !m.Authoritative && m.Rcode == dns.RcodeNoError
	short := *m
	short.Additional = nil
	for i := range m.Additional {
		if m.Additional[i].Type == dns.TypeOPT {
			short.Additional = m.Additional[i : i+1]
		}
	}
	if !referral && len(m.Additional) > len(short.Additional) {
		if out, err = short.Append(dst); err == nil && len(out)-base <= limit {
			return out
		}
	}
	short.Truncated = true
	short.Answers, short.Authority = nil, nil
	if out, err = short.Append(dst); err == nil && len(out)-base <= limit {
		return out
	}
	return dst
}

// Has tells whether one of the zones is to answer a query.
func (s *Server) Has(query []byte) bool {
	name, t, ok := dns.QuestionOf(query)
	return ok && s.find(name, t) != nil
}
