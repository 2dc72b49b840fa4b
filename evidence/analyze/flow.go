package analyze

import (
	"fmt"
	"net/netip"

	"peel/clock"
	"peel/evidence/capture"
	"peel/trace"
	"peel/wire/ip"
	"peel/wire/tcp"
)

// flow is one TCP connection as its packets show it. Direction 0 is the
// client's.
type flow struct {
	a        *Analyzer
	conn     *conn
	client   addr
	analysis tcp.Flow
	streams  [2]*tcp.Assembler
	relative [2]uint32 // what relative sequence numbers count from
	known    [2]bool
	ended    [2]bool
	closed   bool
	cut      bool // by RST
	cutBy    capture.Direction
	busy     [2]bool // a stretch of that stream is being handed on
	refused  bool    // by RST that answers the SYN
	oneWay   *trace.Event
	acks     [2]int // acknowledgements that told something new
	ackTime  [2]clock.Time
	firstSYN clock.Time
	lastSYN  clock.Time
	// synWindow is that of the client's SYN, which is never scaled.
	synWindow uint16
	rejected  *trace.Rejection // by ICMP
	missing   int64
	gaps      int
	bad       [2]int
	off       int
	good      [2]int // segments with a right checksum
	doubtful  [2][]doubtful
	waiting   [2][]held
	conflict  int
	ttl       [2]uint8
	rstTTL    [2]uint8
	mac       [2]string
	sent      [2][]sent
	idle      clock.Time
}

type addr = struct {
	ip   [16]byte
	port uint16
}

// side hands one direction's stream on.
type side struct {
	f   *flow
	dir capture.Direction
}

// Bytes hands on what was sent, behind what its sender had received by then.
func (s side) Bytes(now clock.Time, b []byte) {
	busy := s.f.busy[s.dir]
	s.f.busy[s.dir] = true
	s.f.unholdBefore(1-s.dir, s.f.streams[s.dir].Mark())
	s.f.conn.bytes(now, s.dir, b)
	s.f.busy[s.dir] = busy
}

func (s side) Gap(now clock.Time, n int64) {
	s.f.missing += n
	if s.f.gaps++; s.f.gaps > maxGapEvents {
		s.f.conn.missing(now, s.dir, n)
		return
	}
	e := s.f.a.event(now, trace.LayerTCP, trace.EventTCPGap, fmt.Sprintf("%d bytes were sent and not captured", n))
	e.Connection, e.Direction = s.f.conn.tr.ID, dirNames[s.dir]
	s.f.conn.missing(now, s.dir, n)
}

func (s side) End(now clock.Time, fin bool) {
	s.f.ended[s.dir] = true
	if fin || s.f.cut {
		s.f.conn.ended(now, s.dir)
	}
}

// maxGapEvents bounds the events about what is missing of one connection: a snap
// length cuts every segment. All bytes are counted.
const maxGapEvents = 64

// from is the direction of what a host sent.
func (f *flow) from(src netip.AddrPort) capture.Direction {
	if (addr{src.Addr().As16(), src.Port()}) == f.client {
		return capture.Out
	}
	return capture.In
}

// segment takes a TCP segment whose payload was length bytes long.
func (a *Analyzer) segment(w *wire, p *packet, s tcp.Segment, length int) {
	p.tcp = s
	flags := s.Flags()
	key := p.key(p.src, p.dst)
	f := w.flows[key]
	fresh := f == nil
	if f != nil && flags.Has(tcp.SYN) && !flags.Has(tcp.ACK) && f.reopened(p, s) {
		f.close(a.now)
		fresh = true
	}
	if fresh {
		was := f
		f = a.newFlow(w, p, s)
		if f == nil {
			return
		}
		if was != nil {
			p.note |= tcp.PortReused
		}
		w.flows[key] = f
	}
	dir := f.from(p.src)
	p.flow, p.conn, p.dir, p.inflow = f, f.conn, dir, true
	if gap := a.now.Sub(f.idle); f.idle > 0 && gap >= idleGap && f.conn.idleGaps < maxNotedSegments && !s.Flags().Any(tcp.SYN|tcp.RST) {
		f.conn.idleGaps++
		e := a.aboutPacket(trace.LayerTCP, trace.EventTCPIdle, fmt.Sprintf("nothing for %v, then %s from the %s", short(gap), segmentWord(s, length), sideName(dir)))
		e.Connection, e.Direction = f.conn.tr.ID, dirNames[dir]
	}
	f.idle = a.now
	switch p.sum {
	case ip.Bad:
		f.bad[dir]++
		if w.troubles[trace.EventTCPChecksum]++; w.troubles[trace.EventTCPChecksum] <= maxMalformedEvents {
			e := a.aboutPacket(trace.LayerTCP, trace.EventTCPChecksum, fmt.Sprintf("a wrong checksum: %s from the %s", segmentWord(s, length), sideName(dir)))
			e.Connection, e.Direction = f.conn.tr.ID, dirNames[dir]
		}
		if f.good[dir] > 0 {
			if f.analysis.Next(int(dir)) == s.Seq() {
				// It continues what was sent: its header can be believed.
				p.note |= f.analysis.Input(a.now, int(dir), s, length)
			}
			f.doubt(p, s)
			return
		}
		// All of this side's checksums are wrong: they are made after the
		// packets are captured, whatever the card leaves in their place.
	case ip.Offloaded:
		f.off++
	case ip.Good:
		f.good[dir]++
	}
	if f.ttl[dir] == 0 {
		f.ttl[dir] = p.ip.TTL
		f.mac[dir], _ = p.macs()
	}
	f.take(p, s, length)
}

func (f *flow) take(p *packet, s tcp.Segment, length int) {
	a, dir := f.a, p.dir
	now := a.now
	flags := s.Flags()
	if !f.known[dir] {
		f.known[dir], f.relative[dir] = true, s.Seq()
	}
	if flags.Has(tcp.SYN) {
		f.streams[dir].Start(s.Seq() + 1)
	}
	if flags.Has(tcp.ACK) && !f.known[1-dir] && !flags.Has(tcp.RST) {
		// The first that is seen of the other side is its acknowledgement.
		f.relative[1-dir] = s.Ack()
		if c := &f.analysis.Sides[dir]; dir == capture.Out && c.SawSYN && s.Seq() == c.ISN+1 {
			// It acknowledges a SYN-ACK that was not captured: there the stream
			// begins, whatever else of it is missing.
			f.streams[1-dir].Start(s.Ack())
		}
	}
	if flags.Has(tcp.SYN) && dir == capture.Out {
		if f.firstSYN == 0 {
			f.firstSYN = now
		}
		f.lastSYN, f.synWindow = now, s.Window()
	}
	believed := !flags.Has(tcp.ACK) || f.believes(now, dir, s.Ack())
	acked := f.analysis.Acked(int(dir))
	p.note |= f.analysis.Input(now, int(dir), s, length)
	if f.analysis.Acked(int(dir)) != acked && !flags.Has(tcp.RST) {
		f.acks[dir]++
		f.ackTime[dir] = now
	}
	if p.note != 0 {
		p.notes = append(p.notes, f.analysis.Text(int(dir), p.note))
	}
	f.narrate(p, s, length)
	seq := s.Seq()
	if flags.Has(tcp.SYN) {
		seq++ // data on a SYN begins behind it (RFC 9293 §3.4)
	}
	payload := s.Payload()
	cut := max(length-len(payload), 0) // by the snap length
	if p.note.Has(tcp.KeepAlive) || flags.Has(tcp.RST) {
		payload, cut = nil, 0 // what an RST carries says why (RFC 9293 §3.5.3), and is no part of the stream
	}
	if len(payload) > 0 {
		f.streams[dir].Start(seq)
		p.offset = f.streams[dir].Offset(seq)
		f.carry(p, payload)
	}
	if cut > 0 {
		f.streams[dir].Start(seq)
	}
	if len(payload) > 0 || cut > 0 || flags.Has(tcp.FIN) {
		h := held{at: now, seq: seq, data: payload, cut: cut, fin: flags.Has(tcp.FIN), ack: s.Ack(), acks: flags.Has(tcp.ACK)}
		if len(f.waiting[dir]) > 0 || f.early(dir, &h) {
			f.hold(dir, h)
		} else {
			f.deliver(dir, &h)
		}
	}
	if flags.Has(tcp.ACK) && !flags.Has(tcp.RST) && believed {
		f.confirmed(1-dir, s.Ack())
		f.streams[1-dir].Acked(now, s.Ack())
	}
	f.unhold(now)
	if flags.Has(tcp.RST) {
		f.rstTTL[dir] = p.ip.TTL
		f.reset(now, dir)
	} else if f.ended[0] && f.ended[1] && !f.closed {
		f.closed = true
		at := a.time(now)
		f.conn.tr.Closed = &at
		f.tellOneWay(now)
		f.conn.release()
	}
}

// reset takes an RST from one side.
func (f *flow) reset(now clock.Time, dir capture.Direction) {
	if f.closed {
		return
	}
	f.cut, f.cutBy = true, dir
	f.flush()
	f.streams[dir].Close(now)
	f.streams[1-dir].Close(now)
	f.closed = true
	at := f.a.time(now)
	f.conn.tr.Closed = &at
	if f.conn.tr.ClosedBy == "" || f.conn.tr.ClosedBy == trace.ByServer || f.conn.tr.ClosedBy == trace.ByClient {
		f.conn.tr.ClosedBy = trace.ByReset
	}
	f.conn.tr.ResetBy = sideName(dir)
	f.tellOneWay(now)
	f.conn.release()
}

// close ends a flow that nothing more is expected of.
func (f *flow) close(now clock.Time) {
	if f.closed {
		return
	}
	f.flush()
	f.streams[0].Close(now)
	f.streams[1].Close(now)
	f.closed = true
	f.tellOneWay(now)
	f.conn.release()
}
