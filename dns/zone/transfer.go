package zone

import (
	"peel/dns"
)

// Difference is what changed between two versions of a zone.
type Difference struct {
	From, To dns.Resource // the SOA records
	// Removed and Added are the other records, in canonical order.
	Removed, Added []dns.Resource
}

// Diff compares two versions of a zone.
func Diff(from, to *Zone) Difference {
	d := Difference{From: from.soa, To: to.soa}
	type key struct {
		name dns.Name
		t    dns.Type
		data string
		ttl  uint32
	}
	of := func(rr dns.Resource) key { return key{rr.Name.Fold(), rr.Type, rr.Data, rr.TTL} }
	old := make(map[key]bool, len(from.records))
	for _, rr := range from.records[1:] {
		old[of(rr)] = true
	}
	for _, rr := range to.records[1:] {
		if k := of(rr); old[k] {
			delete(old, k)
		} else {
			d.Added = append(d.Added, rr)
		}
	}
	for _, rr := range from.records[1:] {
		if old[of(rr)] {
			d.Removed = append(d.Removed, rr)
		}
	}
	return d
}

// serialNewer compares serials in the arithmetic of RFC 1982.
func serialNewer(a, b uint32) bool { return a != b && int32(a-b) > 0 }

// Transfer is the answer to an AXFR (RFC 5936) or IXFR (RFC 1995) query, as a
// row of messages for one TCP connection.
type Transfer struct {
	query   *dns.Message
	records []dns.Resource
	zone    *Zone
	begun   bool
	edns    bool
	// Incremental tells that only differences are sent.
	Incremental bool
}

// Transfers begins a transfer if a query asks for one: ok is false otherwise.
// The transfer is nil when peer may not have it; Answer says so then.
func (s *Server) Transfers(query []byte, peer string) (t *Transfer, ok bool) {
	q, err := dns.Parse(query)
	if err != nil || q.Response || q.Opcode != dns.OpcodeQuery || len(q.Questions) != 1 {
		return nil, false
	}
	question := q.Questions[0]
	if question.Type != dns.TypeAXFR && question.Type != dns.TypeIXFR {
		return nil, false
	}
	v := s.find(question.Name, question.Type)
	if v == nil || !v.zone.origin.EqualFold(question.Name) || s.Transfer == nil || !s.Transfer(v.zone, peer) {
		return nil, true
	}
	t = &Transfer{query: q, zone: v.zone}
	_, t.edns = q.EDNS()
	if question.Type == dns.TypeIXFR && len(q.Authority) == 1 {
		if soa, is := q.Authority[0].Value().(dns.SOA); is && t.incremental(v, soa.Serial) {
			return t, true
		}
	}
	t.records = append(append(t.records, v.zone.records...), v.zone.soa)
	return t, true
}

// incremental puts the steps from a serial to the present one, if they are
// known (RFC 1995 §4).
func (t *Transfer) incremental(v *versions, serial uint32) bool {
	soa := v.zone.soa
	if !serialNewer(v.zone.Serial(), serial) {
		t.records = append(t.records, soa) // the asker has it all
		t.Incremental = true
		return true
	}
	for i, d := range v.history {
		if d.From.Value().(dns.SOA).Serial != serial {
			continue
		}
		t.records = append(t.records, soa)
		for _, d := range v.history[i:] {
			t.records = append(append(append(append(t.records, d.From), d.Removed...), d.To), d.Added...)
		}
		t.records = append(t.records, soa)
		t.Incremental = true
		return true
	}
	return false
}

// Next appends the next message to dst; more is false when there are none.
func (t *Transfer) Next(dst []byte) (out []byte, more bool) {
	if t.begun && len(t.records) == 0 {
		return dst, false
	}
	m := &dns.Message{Header: dns.Header{ID: t.query.ID, Response: true, Authoritative: true, RecursionDesired: t.query.RecursionDesired}}
	if !t.begun { // RFC 5936 §2.2.1: the question is in the first message at least
		m.Questions = t.query.Questions
		if t.edns {
			m.Additional = []dns.Resource{dns.EDNS{UDPSize: udpSize}.Resource()}
		}
		t.begun = true
	}
	// A message holds what surely fits: compression only makes it smaller.
	const most = 60_000
	size, n := 512, 0
	for n < len(t.records) {
		rr := &t.records[n]
		if size += rr.Name.Size() + 10 + len(rr.Data); n > 0 && size > most {
			break
		}
		n++
	}
	m.Answers, t.records = t.records[:n], t.records[n:]
	out, err := m.Append(dst)
	if err != nil {
		return dst, false
	}
	return out, true
}

// Notify returns the message that tells a secondary of a new version (RFC
// 1996 §3.7).
func (z *Zone) Notify(id uint16) []byte {
	m := &dns.Message{Header: dns.Header{ID: id, Opcode: dns.OpcodeNotify, Authoritative: true},
		Questions: []dns.Question{{Name: z.origin, Type: dns.TypeSOA, Class: dns.ClassIN}}, Answers: []dns.Resource{z.soa}}
	b, err := m.Append(nil)
	if err != nil {
		return nil
	}
	return b
}
