package dns

import (
	"encoding/binary"
	"fmt"
)

const (
	// HeaderSize is the length of a message's header in octets (RFC 1035
	// §4.1.1).
	HeaderSize = 12
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

func (h *Header) flags() uint16 {
	bits := uint16(h.Opcode&0xf)<<11 | uint16(h.Rcode&0xf)
	set := func(on bool, bit uint16) {
		if on {
			bits |= bit
		}
	}
	set(h.Response, bitQR)
	set(h.Authoritative, bitAA)
	set(h.Truncated, bitTC)
	set(h.RecursionDesired, bitRD)
	set(h.RecursionAvailable, bitRA)
	set(h.Zero, bitZ)
	set(h.AuthenticData, bitAD)
	set(h.CheckingDisabled, bitCD)
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
	// Data is the wire form that belongs to Type, no name in it compressed:
	// see Value and Text. It is empty in a record without data.
	Data string
}

// String returns the record as a line of a zone file.
func (r Resource) String() string {
	return fmt.Sprintf("%s %d %s %s %s", r.Name, r.TTL, r.Class, r.Type, r.Text())
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
	// records is the array that the sections of a parsed message share.
	records []Resource
}

// Parse reads a message. It always returns one: with an error, it holds what
// was read before the place that the error names. It copies what it keeps.
//
// Parse fails on a message shorter than its header or longer than 65,535
// octets, a name or record that runs over the end, a compression pointer that
// does not lead backwards, and record data that its type does not allow.
func Parse(b []byte) (*Message, error) {
	m := &Message{}
	return m, m.Unpack(b)
}

// Unpack reads a message into m, as Parse does, in place of what m held. It
// uses the memory of m's sections again: an answer costs one allocation, for
// the octets of its names and data.
func (m *Message) Unpack(b []byte) error {
	records := m.records[:0]
	*m = Message{Questions: m.Questions[:0], records: records}
	if len(b) < HeaderSize {
		return fmt.Errorf("dns: message of %d octets, but its header takes %d", len(b), HeaderSize)
	}
	if len(b) > MaxMessage {
		return fmt.Errorf("dns: message of %d octets, at most %d are possible", len(b), MaxMessage)
	}
	m.Header = parseHeader(b)
	r := &reader{msg: b, off: HeaderSize, end: len(b)}
	// What compression took away comes back: about so much for each record.
	const expansion = 16
	announced := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	r.arena.Grow(len(b) + expansion*min(announced, len(b)/minRecord))
	for i, count := 0, int(binary.BigEndian.Uint16(b[4:])); i < count; i++ {
		q := Question{Name: r.name("name"), Type: Type(r.u16("type")), Class: Class(r.u16("class"))}
		if r.err != nil {
			return fmt.Errorf("dns: question %d of %d: %w", i+1, count, r.err)
		}
		m.Questions = append(m.Questions, q)
	}
	var counts [3]int
	total := 0
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(b[6+2*i:]))
		total += counts[i]
	}
	// All sections share one array; no count is believed beyond what the
	// octets can hold.
	if total = min(total, (r.end-r.off)/minRecord); cap(records) < total {
		records = make([]Resource, 0, total)
	}
	sections := [3]*[]Resource{&m.Answers, &m.Authority, &m.Additional}
	for s, count := range counts {
		first := len(records)
		var err error
		for i := range count {
			var rr Resource
			if r.resource(&rr); r.err != nil {
				err = fmt.Errorf("dns: %s %d of %d: %w", sectionNames[s], i+1, count, r.err)
				break
			}
			records = append(records, rr)
		}
		if len(records) > first {
			*sections[s] = records[first:len(records):len(records)]
		}
		m.records = records
		if err != nil {
			return err
		}
	}
	m.Trailing = len(b) - r.off
	if e, ok := m.opt(); ok {
		m.Rcode |= Rcode(e.TTL>>24) << 4
	}
	return nil
}

var sectionNames = [...]string{"answer", "authority record", "additional record"}

// resource reads a record.
func (r *reader) resource(rr *Resource) {
	rr.Name = r.name("name")
	head := r.bytes(10, "type, class, ttl and data length")
	if r.err != nil {
		return
	}
	rr.Type, rr.Class = Type(binary.BigEndian.Uint16(head)), Class(binary.BigEndian.Uint16(head[2:]))
	rr.TTL = binary.BigEndian.Uint32(head[4:])
	length := int(binary.BigEndian.Uint16(head[8:]))
	if length > r.end-r.off {
		r.fail("%s data at offset %d: %d octets announced, %d left", rr.Type, r.off, length, r.end-r.off)
		return
	}
	end := r.end
	r.end = r.off + length
	rr.Data = r.data(rr.Type, rr.Class)
	if r.err != nil {
		r.err = fmt.Errorf("%s data: %w", rr.Type, r.err)
	} else if r.off != r.end {
		r.fail("%s data at offset %d: %d octets too long", rr.Type, r.off, r.end-r.off)
	}
	r.end = end
}

// opt returns the OPT record of the additional section.
func (m *Message) opt() (Resource, bool) {
	for i := range m.Additional {
		if m.Additional[i].Type == TypeOPT {
			return m.Additional[i], true
		}
	}
	return Resource{}, false
}

// Append appends m to dst, with name compression in owner names and in the
// data of the types of RFC 1035 (RFC 3597 §4). It fails, returning dst as it
// was, when the message does not fit 65,535 octets, and when the
// response code needs an OPT record that is not there.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if m.Rcode > 15 {
		if _, ok := m.opt(); !ok {
			return dst, fmt.Errorf("dns: response code %s needs an OPT record", m.Rcode)
		}
	}
	p := packer{buf: dst, base: len(dst)}
	p.u16(m.ID)
	p.u16(m.flags())
	for _, n := range [4]int{len(m.Questions), len(m.Answers), len(m.Authority), len(m.Additional)} {
		if n > 0xffff {
			return dst, fmt.Errorf("dns: %d records in one section, at most 65535 are possible", n)
		}
		p.u16(uint16(n))
	}
	for _, q := range m.Questions {
		p.name(q.Name.wire)
		p.u16(uint16(q.Type))
		p.u16(uint16(q.Class))
	}
	for n, section := range [3][]Resource{m.Answers, m.Authority, m.Additional} {
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
	if len(rr.Data) > 0xffff {
		return fmt.Errorf("dns: record %s %s: %d octets of data, at most 65535 are possible", rr.Name, rr.Type, len(rr.Data))
	}
	p.name(rr.Name.wire)
	p.u16(uint16(rr.Type))
	p.u16(uint16(rr.Class))
	p.u32(ttl)
	p.u16(0)
	start := len(p.buf)
	p.data(rr.Type, rr.Class, rr.Data)
	binary.BigEndian.PutUint16(p.buf[start-2:], uint16(len(p.buf)-start))
	return nil
}

// QuestionOf reads the first question of a message, and nothing else.
func QuestionOf(msg []byte) (Name, Type, bool) {
	if len(msg) < HeaderSize || binary.BigEndian.Uint16(msg[4:]) == 0 {
		return Name{}, 0, false
	}
	r := reader{msg: msg, off: HeaderSize, end: len(msg)}
	n, t := r.name("name"), Type(r.u16("type"))
	return n, t, r.err == nil
}
