// Package cache keeps DNS record sets and negative answers for as long as
// their TTLs say (RFC 1034 §4.3.2, RFC 2181 §5, RFC 2308), in bounded memory.
//
// A Cache reads no clock. It may be read and written from many goroutines.
package cache

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"peel/clock"
	"peel/dns"
)

// Rank says how much a record set is to be believed (RFC 2181 §5.4.1). A set
// does not replace one of higher rank.
type Rank uint8

const (
	// Glue came in the additional section. It finds servers, and is never
	// given to a client.
	Glue Rank = iota + 1
	// Referral is the parent's list of a zone's name servers.
	Referral
	// Authority came in the authority section of an authoritative answer.
	Authority
	// Answer came in the answer section of an authoritative answer.
	Answer
)

// Security is what validation found (RFC 4033 §5).
type Security uint8

const (
	// Unchecked has not been validated.
	Unchecked Security = iota
	// Insecure is proved to lie in an unsigned zone.
	Insecure
	// Secure has good signatures up to a trust anchor.
	Secure
	// Bogus should have had.
	Bogus
)

// String returns "secure" and so on.
func (s Security) String() string {
	return [...]string{"unchecked", "insecure", "secure", "bogus"}[s&3]
}

// Entry is what the cache knows of a name and type.
type Entry struct {
	Name dns.Name
	Type dns.Type
	// Rcode is NoError, or NXDomain for a name that does not exist.
	Rcode    dns.Rcode
	Rank     Rank
	Security Security
	// TTL is in seconds, as it was when the entry was stored.
	TTL uint32
	// Expires is when it is over.
	Expires clock.Time
	// Records is the set; none in a negative entry. Their TTLs are what is
	// left.
	Records, Signatures []dns.Resource
	// Proofs are the SOA record of a negative answer, and the NSEC or NSEC3
	// records and signatures that prove it, or prove a wildcard's expansion.
	Proofs []dns.Resource
	// Reason says in words why the entry is bogus or insecure.
	Reason string
}

// Negative tells that the entry says that there is nothing.
func (e *Entry) Negative() bool { return len(e.Records) == 0 }

type key struct {
	name dns.Name // folded
	typ  dns.Type
}

// nameType is the type under which a name that does not exist is kept.
const nameType dns.Type = 0

// slot is an entry as it is kept: its contents are in one string, so that a
// million of them are a million small objects and not ten.
type slot struct {
	expires clock.Time
	data    string
	at      int32 // in the ring
	used    bool
}

// Cache is the store. It may be used from many goroutines once its bounds are
// set: whoever reads waits for nobody who takes longer than it takes to enter
// one entry.
type Cache struct {
	// MaxBytes bounds the memory, about; 0 means 256 MB.
	MaxBytes int
	// MinTTL and MaxTTL bound TTLs, in seconds; MaxNegative those of negative
	// answers. 0 means none, a week, and three hours.
	MinTTL, MaxTTL, MaxNegative uint32
	// KeepStale is how long entries are kept past their end, to be used when
	// nothing better is to be had (RFC 8767).
	KeepStale time.Duration

	parts [numParts]part
}

// numParts is in how many parts the cache is, each with a lock and a share of
// the memory.
const numParts = 32

// part is some of the entries.
type part struct {
	mu    sync.Mutex
	slots map[key]slot
	// ring holds the keys in the order in which they came, and hand is where
	// the search for room goes on: entries that were used since it passed
	// last stay another round.
	ring  []key
	hand  int
	bytes int

	hits, misses, evicted uint64
}

// New returns an empty cache.
func New() *Cache { return &Cache{} }

func (c *Cache) maxBytes() int {
	if c.MaxBytes == 0 {
		return 256 << 20
	}
	return c.MaxBytes
}

func (c *Cache) maxTTL(negative bool) uint32 {
	switch {
	case negative && c.MaxNegative != 0:
		return c.MaxNegative
	case negative:
		return 3 * 3600
	case c.MaxTTL != 0:
		return c.MaxTTL
	}
	return 7 * 86400
}

// part returns where a name is kept, by FNV-1a. Names chosen to fall into one
// part throw out only what is in that.
func (c *Cache) part(folded dns.Name) *part {
	h := uint32(2166136261)
	wire := folded.Wire()
	for i := range len(wire) {
		h = (h ^ uint32(wire[i])) * 16777619
	}
	return &c.parts[(h^h>>16)%numParts]
}

// slotBytes is what an entry costs beside its strings: in the map, in the
// ring, and in what the map keeps free.
const slotBytes = 160

// Put stores an entry for its TTL, which is bounded first. It is not stored
// over one of higher rank that is still good.
func (c *Cache) Put(e *Entry, now clock.Time) {
	k := key{e.Name.Fold(), e.Type}
	if e.Rcode == dns.RcodeNXDomain {
		k.typ = nameType
	}
	// The name is cut from what may be a whole message: keep only itself.
	k.name = clone(k.name)
	e.TTL = max(min(e.TTL, c.maxTTL(e.Negative())), c.MinTTL)
	data := encode(e)
	p := c.part(k.name)
	p.mu.Lock()
	defer p.mu.Unlock()
	old, ok := p.slots[k]
	if ok && old.expires > now {
		if rank, security := head(old.data); rank > e.Rank || rank == e.Rank && security == Secure && e.Security == Unchecked {
			return
		}
	}
	e.Expires = now.Add(time.Duration(e.TTL) * time.Second)
	s := slot{expires: e.Expires, data: data}
	if ok {
		p.bytes -= len(old.data)
		s.used, s.at = old.used, old.at
	} else {
		if p.slots == nil {
			p.slots = map[key]slot{}
		}
		s.at = int32(len(p.ring))
		p.ring = append(p.ring, k)
		p.bytes += slotBytes + k.name.Size()
	}
	p.bytes += len(data)
	p.slots[k] = s
	for p.bytes > c.maxBytes()/numParts && len(p.slots) > 1 {
		p.evict(now)
	}
}

func clone(n dns.Name) dns.Name {
	m, _, _ := dns.NameFromWire(append([]byte(n.Wire()), 0))
	return m
}

// evict makes room: it takes the first entry that has expired or was not
// used since the hand came by.
func (p *part) evict(now clock.Time) {
	for {
		if p.hand >= len(p.ring) {
			p.hand = 0
		}
		k := p.ring[p.hand]
		s := p.slots[k]
		if s.used && s.expires > now {
			s.used = false
			p.slots[k] = s
			p.hand++
			continue
		}
		p.remove(k)
		p.evicted++
		return
	}
}

// remove forgets one entry; the last key of the ring takes its place there.
func (p *part) remove(k key) bool {
	s, ok := p.slots[k]
	if !ok {
		return false
	}
	p.bytes -= len(s.data) + slotBytes + k.name.Size()
	delete(p.slots, k)
	last := len(p.ring) - 1
	if moved := p.ring[last]; int(s.at) != last {
		p.ring[s.at] = moved
		m := p.slots[moved]
		m.at = s.at
		p.slots[moved] = m
	}
	p.ring[last] = key{}
	p.ring = p.ring[:last]
	return true
}

// Get returns what is known of a name and type: its records, or that there
// are none of the type, or that there is no such name. With stale, an entry
// past its end counts if it is kept still; its records have a TTL of 30
// seconds then (RFC 8767 §4).
func (c *Cache) Get(name dns.Name, t dns.Type, now clock.Time, stale bool) (*Entry, bool) {
	e := &Entry{}
	if c.Into(e, name, t, now, stale) {
		return e, true
	}
	return nil, false
}

// Into is Get into an entry whose memory is used again.
func (c *Cache) Into(e *Entry, name dns.Name, t dns.Type, now clock.Time, stale bool) bool {
	folded := name.Fold()
	s, ok := c.part(folded).find(folded, t, now, stale, c.KeepStale)
	if !ok {
		return false
	}
	left := uint32(30)
	if s.expires > now {
		left = uint32((s.expires.Sub(now) + time.Second - 1) / time.Second)
	}
	decode(e, s.data, name, t, left)
	e.Expires = s.expires
	return true
}

func (p *part) find(folded dns.Name, t dns.Type, now clock.Time, stale bool, keep time.Duration) (slot, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := key{folded, t}
	s, ok := p.slots[k]
	if !ok || s.expires <= now && !stale {
		k.typ = nameType
		s, ok = p.slots[k]
	}
	if !ok || s.expires <= now && (!stale || s.expires.Add(keep) <= now) {
		p.misses++
		return s, false
	}
	p.hits++
	if !s.used {
		s.used = true
		p.slots[k] = s
	}
	return s, true
}

// Remove forgets a name: one type, or everything with dns.TypeANY; with
// below, also all names under it. It returns how many entries went. One type
// of one name costs no more than finding it.
func (c *Cache) Remove(name dns.Name, t dns.Type, below bool) int {
	n := 0
	if folded := name.Fold(); t != dns.TypeANY && !below {
		p := c.part(folded)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, typ := range [...]dns.Type{t, nameType} {
			if p.remove(key{folded, typ}) {
				n++
			}
		}
		return n
	}
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		for k := range p.slots {
			if k.name.EqualFold(name) && (t == dns.TypeANY || k.typ == t || k.typ == nameType) || below && k.name.IsSubdomainOf(name) {
				p.remove(k)
				n++
			}
		}
		p.mu.Unlock()
	}
	return n
}

// All returns every entry that has not expired, in canonical order of the
// names and then by type.
func (c *Cache) All(now clock.Time) []*Entry {
	var out []*Entry
	type kept struct {
		key
		slot
	}
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		list := make([]kept, 0, len(p.slots))
		for k, s := range p.slots {
			if s.expires > now {
				list = append(list, kept{k, s})
			}
		}
		p.mu.Unlock()
		for _, x := range list {
			e := &Entry{}
			decode(e, x.data, x.name, x.typ, uint32((x.expires.Sub(now)+time.Second-1)/time.Second))
			e.Expires = x.expires
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *Entry) int {
		if n := a.Name.Compare(b.Name); n != 0 {
			return n
		}
		return int(a.Type) - int(b.Type)
	})
	return out
}

// Stats tells how the cache has done.
type Stats struct {
	Entries, Bytes        int
	Hits, Misses, Evicted uint64
}

// Stats returns counts since New.
func (c *Cache) Stats() (s Stats) {
	for i := range c.parts {
		p := &c.parts[i]
		p.mu.Lock()
		s.Entries += len(p.slots)
		s.Bytes += p.bytes
		s.Hits, s.Misses, s.Evicted = s.Hits+p.hits, s.Misses+p.misses, s.Evicted+p.evicted
		p.mu.Unlock()
	}
	return s
}

// encode puts an entry into one string: rank and security, rcode, TTL, the
// reason, then the set's data, its signatures' data, and the proofs as whole
// records.
func encode(e *Entry) string {
	size := 16 + len(e.Reason)
	for _, list := range [...][]dns.Resource{e.Records, e.Signatures, e.Proofs} {
		for i := range list {
			size += 2 + len(list[i].Data)
		}
	}
	b := make([]byte, 0, size+32*len(e.Proofs))
	b = append(b, byte(e.Rank)<<4|byte(e.Security), byte(e.Rcode))
	b = binary.BigEndian.AppendUint32(b, e.TTL)
	reason := e.Reason[:min(len(e.Reason), 255)]
	b = append(append(b, byte(len(reason))), reason...)
	for _, list := range [...][]dns.Resource{e.Records, e.Signatures} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
		for i := range list {
			b = binary.BigEndian.AppendUint16(b, uint16(len(list[i].Data)))
			b = append(b, list[i].Data...)
		}
	}
	if len(e.Proofs) > 0 {
		for i := range e.Proofs {
			rr := &e.Proofs[i]
			b = append(append(b, rr.Name.Wire()...), 0)
			b = binary.BigEndian.AppendUint16(b, uint16(rr.Type))
			b = binary.BigEndian.AppendUint16(b, uint16(len(rr.Data)))
			b = append(b, rr.Data...)
		}
	}
	return string(b)
}

func head(data string) (Rank, Security) { return Rank(data[0] >> 4), Security(data[0] & 0xf) }

func decode(e *Entry, s string, name dns.Name, t dns.Type, ttl uint32) {
	records, signatures, proofs := e.Records[:0], e.Signatures[:0], e.Proofs[:0]
	*e = Entry{Name: name, Type: t, Rcode: dns.Rcode(s[1])}
	e.Rank, e.Security = head(s)
	e.TTL = uint32(s[2])<<24 | uint32(s[3])<<16 | uint32(s[4])<<8 | uint32(s[5])
	n := int(s[6])
	e.Reason = s[7 : 7+n]
	s = s[7+n:]
	u16 := func() int {
		v := int(s[0])<<8 | int(s[1])
		s = s[2:]
		return v
	}
	take := func() string {
		n := u16()
		d := s[:n]
		s = s[n:]
		return d
	}
	for n := u16(); n > 0; n-- {
		records = append(records, dns.Resource{Name: name, Type: t, Class: dns.ClassIN, TTL: ttl, Data: take()})
	}
	for n := u16(); n > 0; n-- {
		signatures = append(signatures, dns.Resource{Name: name, Type: dns.TypeRRSIG, Class: dns.ClassIN, TTL: ttl, Data: take()})
	}
	for s != "" {
		owner, rest, _ := dns.NameFromString(s)
		s = rest
		rr := dns.Resource{Name: owner, Type: dns.Type(u16()), Class: dns.ClassIN, TTL: ttl}
		rr.Data = take()
		proofs = append(proofs, rr)
	}
	e.Records, e.Signatures, e.Proofs = records, signatures, proofs
}
