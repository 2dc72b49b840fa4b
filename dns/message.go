package dns

import (
	"encoding/binary"
	"fmt"
)

const (
	headerSize = 12
	// MaxMessage is the largest message: what the two-octet length before a
	// message on TCP can tell (RFC 1035 §4.2.2).
	MaxMessage = 65535
	// minQuestion and minRecord are the fewest octets that one can take.
	minQuestion = 5
	minRecord   = 11
)

// Header is the fixed part of a message, without its counts.
type Header struct {
	ID                 uint16
	Response           bool   // QR
	Opcode             Opcode // 0–15
	Authoritative      bool   // AA
	Truncated          bool   // TC
	RecursionDesired   bool   // RD
	RecursionAvailable bool   // RA
	Zero               bool   // Z, reserved
	AuthenticData      bool   // AD (RFC 4035 §3.1.6)
	CheckingDisabled   bool   // CD (RFC 4035 §3.2.2)
	// Rcode holds the upper eight bits from the OPT record as well.
	Rcode Rcode
}

const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitZ  = 1 << 6
	bitAD = 1 << 5
	bitCD = 1 << 4
)

func (h Header) flags() uint16 {
	bits := uint16(h.Opcode&0xf)<<11 | uint16(h.Rcode&0xf)
	for _, f := range []struct {
		set bool
		bit uint16
	}{
		{h.Response, bitQR}, {h.Authoritative, bitAA}, {h.Truncated, bitTC}, {h.RecursionDesired, bitRD},
		{h.RecursionAvailable, bitRA}, {h.Zero, bitZ}, {h.AuthenticData, bitAD}, {h.CheckingDisabled, bitCD},
	} {
		if f.set {
			bits |= f.bit
		}
	}
	return bits
}

func parseHeader(b []byte) Header {
	bits := binary.BigEndian.Uint16(b[2:])
	return Header{
		ID:                 binary.BigEndian.Uint16(b),
		Response:           bits&bitQR != 0,
		Opcode:             Opcode(bits >> 11 & 0xf),
		Authoritative:      bits&bitAA != 0,
		Truncated:          bits&bitTC != 0,
		RecursionDesired:   bits&bitRD != 0,
		RecursionAvailable: bits&bitRA != 0,
		Zero:               bits&bitZ != 0,
		AuthenticData:      bits&bitAD != 0,
		CheckingDisabled:   bits&bitCD != 0,
		Rcode:              Rcode(bits & 0xf),
	}
}

// Question is what a query asks.
type Question struct {
	Name  Name
	Type  Type
	Class Class
}

// String returns "example.com. IN A".
func (q Question) String() string {
	return q.Name.String() + " " + q.Class.String() + " " + q.Type.String()
}

// Resource is one resource record.
type Resource struct {
	Name  Name
	Type  Type
	Class Class
	// TTL is in seconds. In an OPT record it holds other things; see EDNS.
	TTL uint32
	// Data belongs to Type. Nil stands for a record without data.
	Data RData
}

// NewResource makes a record of class IN. The TTL is in seconds.
func NewResource(name Name, ttl uint32, data RData) Resource {
	return Resource{Name: name, Type: data.Type(), Class: ClassIN, TTL: ttl, Data: data}
}

// String returns the record as a line of a zone file.
func (r Resource) String() string {
	data := `\# 0`
	if r.Data != nil {
		data = r.Data.String()
	}
	return fmt.Sprintf("%s %d %s %s %s", r.Name, r.TTL, r.Class, r.Type, data)
}

// Message is a whole DNS message.
type Message struct {
	Header
	Questions  []Question
	Answers    []Resource
	Authority  []Resource
	Additional []Resource
	// Trailing counts octets after the last record. Append writes none.
	Trailing int
}

// Parse reads a message. It always returns one: with an error, it holds what
// was read before the place that the error names. It copies what it keeps.
//
// Parse fails on a message shorter than its header or longer than 65,535
// octets, a name or record that runs over the end, a compression pointer that
// does not lead backwards, and record data that its type does not allow.
func Parse(b []byte) (*Message, error) {
	m := &Message{}
	if len(b) < headerSize {
		return m, fmt.Errorf("dns: message of %d octets, but its header takes %d", len(b), headerSize)
	}
	if len(b) > MaxMessage {
		return m, fmt.Errorf("dns: message of %d octets, at most %d are possible", len(b), MaxMessage)
	}
	m.Header = parseHeader(b)
	r := &reader{msg: b, off: headerSize, end: len(b)}
	if err := m.parseQuestions(r, int(binary.BigEndian.Uint16(b[4:]))); err != nil {
		return m, err
	}
	for i, s := range []struct {
		what string
		to   *[]Resource
	}{{"answer", &m.Answers}, {"authority record", &m.Authority}, {"additional record", &m.Additional}} {
		count := int(binary.BigEndian.Uint16(b[6+2*i:]))
		if err := parseSection(r, s.what, count, s.to); err != nil {
			return m, err
		}
	}
	m.Trailing = len(b) - r.off
	if e, ok := m.EDNS(); ok {
		m.Rcode |= Rcode(e.ExtendedRcode) << 4
	}
	return m, nil
}

func (m *Message) parseQuestions(r *reader, count int) error {
	m.Questions = make([]Question, 0, min(count, (r.end-r.off)/minQuestion))
	for i := range count {
		q := Question{Name: r.name("name"), Type: Type(r.u16("type")), Class: Class(r.u16("class"))}
		if r.err != nil {
			return fmt.Errorf("dns: question %d of %d: %w", i+1, count, r.err)
		}
		m.Questions = append(m.Questions, q)
	}
	return nil
}

func parseSection(r *reader, what string, count int, to *[]Resource) error {
	if count == 0 {
		return nil
	}
	*to = make([]Resource, 0, min(count, (r.end-r.off)/minRecord))
	for i := range count {
		rr := r.resource()
		if r.err != nil {
			return fmt.Errorf("dns: %s %d of %d: %w", what, i+1, count, r.err)
		}
		*to = append(*to, rr)
	}
	return nil
}

// resourceHead reads a record up to its data and narrows nothing.
func (r *reader) resourceHead() (rr Resource, length int) {
	rr = Resource{Name: r.name("name"), Type: Type(r.u16("type")), Class: Class(r.u16("class")), TTL: r.u32("ttl")}
	length = int(r.u16("data length"))
	if r.err == nil && length > r.end-r.off {
		r.fail("%s data at offset %d: %d octets announced, %d left", rr.Type, r.off, length, r.end-r.off)
	}
	return rr, length
}

func (r *reader) resource() Resource {
	rr, length := r.resourceHead()
	if r.err != nil {
		return rr
	}
	end := r.end
	r.end = r.off + length
	rr.Data = r.rdata(rr.Type, rr.Class)
	if r.err != nil {
		r.err = fmt.Errorf("%s data: %w", rr.Type, r.err)
	} else if r.off != r.end {
		r.fail("%s data at offset %d: %d octets too long", rr.Type, r.off, r.end-r.off)
	}
	r.end = end
	return rr
}

// Append appends m to dst, with name compression in owner names and in the
// data of the types of RFC 1035 (RFC 3597 §4). It fails, returning dst as it
// was, when the message does not fit 65,535 octets, when a record's data is
// not of its type, and when the response code needs an OPT record that is not
// there.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if m.Rcode > 15 {
		if _, ok := m.EDNS(); !ok {
			return dst, fmt.Errorf("dns: response code %s needs an OPT record", m.Rcode)
		}
	}
	p := packer{buf: dst, base: len(dst)}
	p.u16(m.ID)
	p.u16(m.flags())
	for _, n := range []int{len(m.Questions), len(m.Answers), len(m.Authority), len(m.Additional)} {
		if n > 0xffff {
			return dst, fmt.Errorf("dns: %d records in one section, at most 65535 are possible", n)
		}
		p.u16(uint16(n))
	}
	for _, q := range m.Questions {
		p.name(q.Name)
		p.u16(uint16(q.Type))
		p.u16(uint16(q.Class))
	}
	for n, section := range [][]Resource{m.Answers, m.Authority, m.Additional} {
		// The first OPT record of the additional section carries the rcode;
		// in any other place it is a record like others (RFC 6891 §6.1.1).
		opt := n == 2
		for i := range section {
			rr := &section[i]
			ttl := rr.TTL
			if rr.Type == TypeOPT && opt {
				ttl, opt = ttl&0xffffff|uint32(m.Rcode>>4)<<24, false
			}
			if err := p.resource(rr, ttl); err != nil {
				return dst, err
			}
			if len(p.buf)-p.base > MaxMessage {
				return dst, fmt.Errorf("dns: message longer than %d octets", MaxMessage)
			}
		}
	}
	return p.buf, nil
}

func (p *packer) resource(rr *Resource, ttl uint32) error {
	p.name(rr.Name)
	p.u16(uint16(rr.Type))
	p.u16(uint16(rr.Class))
	p.u32(ttl)
	p.u16(0)
	start := len(p.buf)
	if rr.Data != nil {
		if rr.Data.Type() != rr.Type {
			return fmt.Errorf("dns: record %s: its type is %s, its data of type %s", rr.Name, rr.Type, rr.Data.Type())
		}
		if err := rr.Data.pack(p); err != nil {
			return fmt.Errorf("dns: record %s %s: %w", rr.Name, rr.Type, err)
		}
	}
	length := len(p.buf) - start
	if length > 0xffff {
		return fmt.Errorf("dns: record %s %s: %d octets of data, at most 65535 are possible", rr.Name, rr.Type, length)
	}
	binary.BigEndian.PutUint16(p.buf[start-2:], uint16(length))
	return nil
}
