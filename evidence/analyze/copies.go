package analyze

import (
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"peel/clock"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// copies finds packets that are in the capture more than once: seen on several
// interfaces, on their way in and out, before and after a router, or by a
// mirror port that copies both. Each is analysed once, as what was captured
// again was not sent again.
type copies struct {
	seen    []sighting
	senders []sender
	n       int
}

// sighting is a packet that was seen, as far as another is compared with it.
type sighting struct {
	at      clock.Time
	packet  int
	bytes   uint64 // two checksums of what IP carries: of one alone, packets that differ in a digit have the same now and then
	length  int32
	id      uint32
	part    int // of a datagram: where the fragment begins
	network uint32
	place   uint32 // a checksum of the link header
	src     netip.Addr
	dst     netip.Addr
}

// sender is what is known of the IP IDs of one host towards another.
type sender struct {
	src, dst netip.Addr
	id       uint32
	ids      idUse
}

// idUse is how a host uses the IP ID.
type idUse uint8

const (
	idUnknown idUse = iota
	idVaries        // each packet has another: the same one again is the same packet
	idFixed         // all have the same: it tells nothing
)

// Bounds of what is remembered, and of the time between two copies: what comes
// later than copyLife is another packet, and so is, where no ID tells, what
// comes later than copyMoment. No sender gives a lost segment up so soon.
const (
	maxSightings = 1 << 13
	maxSenders   = 1 << 10
	copyLife     = 150 * time.Millisecond
	copyMoment   = 200 * time.Microsecond
	// maxCopyEvents bounds the events about them; all are counted.
	maxCopyEvents = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// copied tells whether the current packet, of which b is the IP packet, is in
// the capture already, and notes it.
func (a *Analyzer) copied(w *wire, p *packet, b []byte) bool {
	c := &w.copies
	if c.seen == nil {
		c.seen, c.senders = make([]sighting, maxSightings), make([]sender, maxSenders)
	}
	h := &p.ip
	body := h.Payload(b)
	s := sighting{at: a.now, packet: p.id, bytes: uint64(crc32.ChecksumIEEE(body))<<32 | uint64(crc32.Checksum(body, castagnoli)), length: int32(h.Total), id: h.ID, part: h.FragmentOffset,
		network: p.network, src: h.Src, dst: h.Dst}
	if p.net.at > 0 && p.net.at <= len(p.rec.Data) {
		s.place = crc32.Checksum(p.rec.Data[:min(p.net.at, 16)], castagnoli)
	}
	ends := addrHash(h.Src)*31 + addrHash(h.Dst)
	slot := &c.seen[(uint32(s.bytes)^ends^s.id*0x9e3779b1^uint32(s.part))%maxSightings]
	from := &c.senders[ends%maxSenders]
	fresh := from.src != h.Src || from.dst != h.Dst
	if fresh {
		*from = sender{src: h.Src, dst: h.Dst, id: h.ID}
	}
	if slot.packet > 0 && c.same(slot, &s, from.ids, h, body, a.decisions) {
		c.n++
		p.copy = slot.packet
		age := trace.Duration(max(s.at-slot.at, slot.at-s.at))
		p.notes = append(p.notes, fmt.Sprintf("a copy of packet %d", slot.packet))
		if c.n <= maxCopyEvents {
			a.aboutPacket(trace.LayerCapture, trace.EventCaptureCopy, fmt.Sprintf("packet %d is packet %d captured again, %v later", p.id, slot.packet, age))
		}
		return true
	}
	switch {
	case fresh:
	case from.id != h.ID:
		from.ids = idVaries
	case from.ids == idUnknown:
		from.ids = idFixed
	}
	from.id = h.ID
	*slot = s
	return false
}

// same tells whether s is the packet was, captured again. Own is a capture of
// peel's: it has each packet once, unless an ID tells otherwise, and a fast path
// can send a segment again within microseconds.
func (c *copies) same(was, s *sighting, ids idUse, h *ip.Packet, body []byte, own bool) bool {
	if was.bytes != s.bytes || was.length != s.length || was.id != s.id || was.part != s.part || was.network != s.network || was.src != s.src || was.dst != s.dst {
		return false
	}
	age := max(s.at-was.at, was.at-s.at)
	if age > clock.Time(copyLife) {
		return false
	}
	elsewhere := was.place != s.place
	var seg tcp.Segment
	if h.Protocol == ip.ProtoTCP && !h.Fragment {
		seg, _ = tcp.Parse(body)
	}
	switch {
	case h.Version == 4 && h.ID != 0 && ids == idVaries, elsewhere, seg != nil && seg.Flags().Has(tcp.SYN):
		return true
	case seg == nil && len(body) <= 8:
		return false
	case age > clock.Time(copyMoment) || h.Version == 4 && h.ID != 0 && ids == idFixed:
		return false
	}
	if own {
		return false
	}
	// An acknowledgement that tells nothing new is sent again at once, with the
	// same bytes; data is not.
	return seg == nil || len(seg.Payload()) > 0 || seg.Flags().Has(tcp.FIN) || c.n >= 2
}

func addrHash(a netip.Addr) uint32 {
	b := a.As16()
	return crc32.Checksum(b[:], castagnoli)
}
