package analyze

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

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
	missing  int64
	bad, off int
	good     [2]int // segments with a right checksum
	doubtful [2][]doubtful
	waiting  [2][]held
	conflict int
	ttl      [2]uint8
	mac      [2]string
	sent     [2][]sent
	lost     int // entries of sent that were not kept
	idle     clock.Time
}

type addr = struct {
	ip   [16]byte
	port uint16
}

// sent is a stretch of a stream with the packet that carried it.
type sent struct {
	offset int64
	packet uint32
	length uint32
	at     uint16
}

// side hands one direction's stream on.
type side struct {
	f   *flow
	dir capture.Direction
}

func (s side) Bytes(now clock.Time, b []byte) { s.f.conn.bytes(now, s.dir, b) }

func (s side) Gap(now clock.Time, n int64) {
	s.f.missing += n
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
	dir := capture.In
	if (addr{p.src.Addr().As16(), p.src.Port()}) == f.client {
		dir = capture.Out
	}
	p.flow, p.conn, p.dir, p.inflow = f, f.conn, dir, true
	if gap := a.now.Sub(f.idle); f.idle > 0 && gap >= idleGap && f.conn.idleGaps < maxNotedSegments && !s.Flags().Any(tcp.SYN|tcp.RST) {
		f.conn.idleGaps++
		e := a.aboutPacket(trace.LayerTCP, trace.EventTCPIdle, fmt.Sprintf("nothing for %v, then %s from the %s", short(gap), segmentWord(s, length), sideName(dir)))
		e.Connection, e.Direction = f.conn.tr.ID, dirNames[dir]
	}
	f.idle = a.now
	switch p.sum {
	case ip.Bad:
		f.bad++
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

// idleGap is how long a silence is that becomes an event.
const idleGap = time.Second

func segmentWord(s tcp.Segment, length int) string {
	if length > 0 {
		return fmt.Sprintf("%d bytes", length)
	}
	return s.Flags().String()
}

// doubtful is a segment whose checksum is wrong. Its receiver dropped it, if
// it was so on the wire; if it acknowledges the bytes and no other segment
// brought them, they were right.
type doubtful struct {
	seq    uint32
	data   []byte
	packet int
	at     int
}

// maxDoubtful bounds those that are kept, per direction.
const maxDoubtful = 256

func (f *flow) doubt(p *packet, s tcp.Segment) {
	list := &f.doubtful[p.dir]
	if b := s.Payload(); len(b) > 0 && len(*list) < maxDoubtful {
		*list = append(*list, doubtful{s.Seq(), bytes.Clone(b), p.id, p.payload.at})
	}
}

// confirmed takes an acknowledgement of what the other side sent.
func (f *flow) confirmed(dir capture.Direction, ack uint32) {
	list := f.doubtful[dir]
	if len(list) == 0 {
		return
	}
	st := f.streams[dir]
	f.doubtful[dir] = list[:0]
	for _, d := range list {
		switch end := d.seq + uint32(len(d.data)); {
		case int32(end-ack) > 0:
			f.doubtful[dir] = append(f.doubtful[dir], d)
		case st.Offset(end) > st.Next():
			if len(f.sent[dir]) < maxSent {
				f.sent[dir] = append(f.sent[dir], sent{st.Offset(d.seq), uint32(d.packet), uint32(len(d.data)), uint16(min(d.at, 65535))})
			}
			st.Input(f.a.now, d.seq, d.data, false)
		}
	}
}

// reopened tells whether a SYN begins a new connection on the ports of f.
func (f *flow) reopened(p *packet, s tcp.Segment) bool {
	c := &f.analysis.Sides[0]
	if !c.SawSYN && f.analysis.Sides[1].SawSYN && f.relative[0] == s.Seq()+1 {
		return false // its SYN-ACK stands before it in the capture
	}
	return !c.SawSYN || c.ISN != s.Seq() || f.closed
}

// newFlow makes the flow of the current packet. Who is the client is told by
// the SYN, else guessed.
func (a *Analyzer) newFlow(w *wire, p *packet, s tcp.Segment) *flow {
	if len(w.flows) >= a.lim.Flows {
		a.expireFlows(w)
	}
	client, server := p.src, p.dst
	switch flags := s.Flags(); {
	case flags.Has(tcp.SYN | tcp.ACK):
		client, server = server, client
	case flags.Has(tcp.SYN):
	case serverSpeaks(p, s):
		client, server = server, client
	}
	socket, mine := w.bound[client.Port()]
	if mine {
		delete(w.bound, client.Port())
	} else {
		socket = a.unattributedSocket(w)
	}
	c := a.conn(socket)
	f := &flow{a: a, conn: c, client: addr{client.Addr().As16(), client.Port()}}
	c.flow = f
	f.streams[0] = tcp.NewAssembler(a.lim.TCP, side{f, capture.Out})
	f.streams[1] = tcp.NewAssembler(a.lim.TCP, side{f, capture.In})
	if !c.tr.LocalAddr.IsValid() {
		c.tr.LocalAddr, c.tr.RemoteAddr = client, server
	}
	if !mine {
		c.tr.Opened = a.time(a.now)
		c.resolved = w.names.byAddr[server.Addr()]
	}
	return f
}

// firstUnattributed is past the socket numbers that decisions use.
const firstUnattributed = 1 << 20

// unattributedSocket numbers a connection that no decision names.
func (a *Analyzer) unattributedSocket(w *wire) uint32 {
	w.unattributed++
	if a.decisions {
		return firstUnattributed + w.unattributed
	}
	return w.unattributed
}

// serverSpeaks guesses, for a connection whose SYN was not captured, whether
// the sender of a segment is the server: by what it says, else by its port.
func serverSpeaks(p *packet, s tcp.Segment) bool {
	b := s.Payload()
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/1.")):
		return true
	case bytes.HasPrefix(b, preface), looksLikeHTTP1(b) == yes:
		return false
	case len(b) > 5 && b[0] == 0x16 && b[1] == 3:
		return b[5] == 2 // ServerHello
	}
	return rank(s.SourcePort()) > rank(s.DestinationPort()) || rank(s.SourcePort()) == rank(s.DestinationPort()) && s.SourcePort() < s.DestinationPort()
}

// rank says how likely a port is a server's.
func rank(port uint16) int {
	switch {
	case port == 80 || port == 443 || port == 8080 || port == 8443 || port == 53:
		return 3
	case port < 1024:
		return 2
	case port < 32768:
		return 1
	}
	return 0
}

func (f *flow) take(p *packet, s tcp.Segment, length int) {
	a, dir := f.a, p.dir
	now := a.now
	flags := s.Flags()
	if !f.known[dir] {
		f.known[dir], f.relative[dir] = true, s.Seq()
		if flags.Has(tcp.SYN) {
			f.streams[dir].Start(s.Seq() + 1)
		}
	}
	if flags.Has(tcp.ACK) && !f.known[1-dir] && !flags.Has(tcp.RST) {
		// The first that is seen of the other side is its acknowledgement.
		f.relative[1-dir] = s.Ack()
	}
	p.note |= f.analysis.Input(now, int(dir), s, length)
	if p.note != 0 {
		p.notes = append(p.notes, f.analysis.Text(int(dir), p.note))
	}
	f.narrate(p, s, length)
	seq := s.Seq()
	if flags.Has(tcp.SYN) {
		seq++ // data on a SYN begins behind it (RFC 9293 §3.4)
	}
	payload := s.Payload()
	if p.note.Has(tcp.KeepAlive) {
		payload = nil
	}
	if len(payload) > 0 {
		f.streams[dir].Start(seq)
		p.offset = f.streams[dir].Offset(seq)
		f.carry(p, payload)
	}
	if len(payload) > 0 || flags.Has(tcp.FIN) {
		h := held{at: now, seq: seq, data: payload, fin: flags.Has(tcp.FIN), ack: s.Ack(), acks: flags.Has(tcp.ACK)}
		if len(f.waiting[dir]) > 0 || f.early(dir, &h) {
			f.hold(dir, h)
		} else {
			f.deliver(dir, &h)
		}
	}
	if flags.Has(tcp.ACK) && !flags.Has(tcp.RST) {
		f.confirmed(1-dir, s.Ack())
		f.streams[1-dir].Acked(now, s.Ack())
	}
	f.unhold(now)
	if flags.Has(tcp.RST) {
		f.reset(now, dir)
	} else if f.ended[0] && f.ended[1] && !f.closed {
		f.closed = true
		at := a.time(now)
		f.conn.tr.Closed = &at
		f.conn.release()
	}
}

// held is a segment that acknowledges bytes which have not come yet: a capture
// can have the two directions out of step. Its sender had them, so what it
// says comes after them.
type held struct {
	at   clock.Time
	seq  uint32
	data []byte
	fin  bool
	ack  uint32
	acks bool
}

// Bounds of what is held, per direction: segments, and time in the capture.
const (
	maxHeld  = 512
	heldLife = 200 * time.Millisecond
)

// early tells whether a segment acknowledges bytes that have not come.
func (f *flow) early(dir capture.Direction, h *held) bool {
	st := f.streams[1-dir]
	return h.acks && st.Started() && f.analysis.Sides[1-dir].SawSYN && st.Missing(h.ack)
}

// hold keeps a segment, in the order of the stream: what was sent again for a
// loss is what the others wait for.
func (f *flow) hold(dir capture.Direction, h held) {
	h.data = bytes.Clone(h.data)
	list := f.waiting[dir]
	i := len(list)
	for i > 0 && int32(h.seq-list[i-1].seq) < 0 {
		i--
	}
	f.waiting[dir] = slices.Insert(list, i, h)
}

// unhold hands on what has waited long enough, or for what is there now.
func (f *flow) unhold(now clock.Time) {
	for again := true; again; {
		again = false
		for dir := range f.waiting {
			d := capture.Direction(dir)
			for len(f.waiting[dir]) > 0 {
				h := &f.waiting[dir][0]
				if f.early(d, h) && len(f.waiting[dir]) <= maxHeld && now.Sub(h.at) <= heldLife {
					break
				}
				f.deliver(d, h)
				f.waiting[dir] = f.waiting[dir][1:]
				again = true
			}
		}
	}
}

func (f *flow) deliver(dir capture.Direction, h *held) {
	st := f.streams[dir]
	conflicts := st.Conflicts
	st.Input(f.a.now, h.seq, h.data, h.fin)
	f.conflict += st.Conflicts - conflicts
}

// flush hands on what is held, at the end.
func (f *flow) flush() {
	for dir := range f.waiting {
		for i := range f.waiting[dir] {
			f.deliver(capture.Direction(dir), &f.waiting[dir][i])
		}
		f.waiting[dir] = nil
	}
}

// maxSent bounds the map from a stream to its packets, per direction.
const maxSent = 1 << 20

// maxSentInAll bounds it for all connections together: 96 MB.
const maxSentInAll = 4 << 20

// carry remembers which packet carried which bytes, and notes bytes that
// differ from those that were sent in their place before.
func (f *flow) carry(p *packet, payload []byte) {
	list := &f.sent[p.dir]
	add := func(offset int64, packet, at, n int) {
		if len(*list) >= maxSent || f.a.wire.sent >= maxSentInAll {
			f.lost++
			return
		}
		f.a.wire.sent++
		*list = append(*list, sent{offset, uint32(packet), uint32(n), uint16(min(at, 65535))})
	}
	if len(p.parts) == 0 {
		add(p.offset, p.id, p.payload.at, len(payload))
		return
	}
	head := len(p.tcp) - len(payload)
	for _, part := range p.parts {
		from := max(part.Offset, head)
		if n := part.Offset + part.Length - from; n > 0 {
			add(p.offset+int64(from-head), part.Packet, part.At+from-part.Offset, n)
		}
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
	f.conn.release()
}

// narrate makes events of the segments that tell more than that bytes flow.
func (f *flow) narrate(p *packet, s tcp.Segment, length int) {
	a, dir, flags := f.a, p.dir, s.Flags()
	name, text := trace.EventName(""), ""
	switch {
	case flags.Has(tcp.SYN | tcp.ACK):
		name, text = trace.EventTCPSYNACK, "SYN, ACK"
	case flags.Has(tcp.SYN):
		name, text = trace.EventTCPSYN, "SYN"
	case flags.Has(tcp.RST):
		name, text = trace.EventTCPRST, fmt.Sprintf("RST from the %s", sideName(dir))
		if f.analysis.Sides[1-dir].SawSYN && !f.analysis.Sides[dir].SawSYN && f.analysis.Sides[dir].Bytes == 0 {
			text += ": the connection is refused"
		}
	case dir == capture.Out && f.analysis.ACKTime == a.now && f.analysis.SYNACKTime > 0 && f.conn.established == nil:
		name, text = trace.EventTCPEstablished, "ACK: connected, the handshake took "+short(f.analysis.ACKTime.Sub(f.analysis.SYNTime)).String()
		if f.analysis.SYNTime == 0 {
			text = "ACK: connected"
		}
	case flags.Has(tcp.FIN) && !p.note.Has(tcp.Retransmission):
		name, text = trace.EventTCPFIN, fmt.Sprintf("FIN from the %s after %d bytes", sideName(dir), f.analysis.Sides[dir].Bytes)
		if f.conn.tr.ClosedBy == "" {
			f.conn.tr.ClosedBy = sideName(dir)
		}
	}
	if flags.Has(tcp.SYN) {
		text += fmt.Sprintf(", ISN %d, window %d%s", s.Seq(), s.Window(), synText(s))
	}
	const noteworthy = tcp.Retransmission | tcp.OutOfOrder | tcp.LostSegment | tcp.AckedUnseen | tcp.ZeroWindow | tcp.ZeroWindowProbe |
		tcp.WindowFull | tcp.KeepAlive | tcp.PortReused | tcp.DSACK | tcp.SYNRetransmission
	if n := p.note & noteworthy; n != 0 && f.conn.noted < maxNotedSegments {
		f.conn.noted++
		if name == "" {
			name = n.Event()
			text = fmt.Sprintf("%s: %d bytes at %d", n, length, f.streams[dir].Offset(s.Seq()))
			if length == 0 {
				text = fmt.Sprintf("%s (window %d)", n, int(s.Window())<<f.analysis.Scale(int(dir)))
			}
		} else {
			text += " (" + n.String() + ")"
		}
	}
	if name == "" {
		return
	}
	e := a.aboutPacket(trace.LayerTCP, name, text)
	e.Connection, e.Direction = f.conn.tr.ID, dirNames[dir]
	switch name {
	case trace.EventTCPSYN:
		if f.conn.synEvent == nil {
			f.conn.synEvent = e
		}
		if f.conn.start == nil {
			f.conn.start = e
		}
	case trace.EventTCPEstablished:
		f.conn.established = e
		if f.conn.done == nil {
			f.conn.done = e
		}
		if f.conn.tr.Connected == nil {
			at := a.time(a.now)
			f.conn.tr.Connected = &at
		}
	case trace.EventTCPRST:
		f.conn.rst = e
	}
}

// maxNotedSegments bounds the events about remarkable segments of one connection; all
// are counted.
const maxNotedSegments = 200

func sideName(d capture.Direction) trace.Closer {
	if d == capture.Out {
		return trace.ByClient
	}
	return trace.ByServer
}

// flowLife is how long a flow with no packets is kept when others need its
// place.
const flowLife = time.Minute

// expireFlows forgets flows: closed ones, then idle ones, then the oldest
// quarter.
func (a *Analyzer) expireFlows(w *wire) {
	for k, f := range w.flows {
		if f.closed || a.now.Sub(f.idle) > flowLife {
			f.close(a.now)
			delete(w.flows, k)
			a.forget(f.conn)
		}
	}
	if len(w.flows) < a.lim.Flows {
		return
	}
	all := make([]*flow, 0, len(w.flows))
	keys := map[*flow]flowKey{}
	for k, f := range w.flows {
		all = append(all, f)
		keys[f] = k
	}
	slices.SortFunc(all, func(x, y *flow) int {
		if c := cmp.Compare(x.idle, y.idle); c != 0 {
			return c
		}
		return cmp.Compare(x.conn.tr.ID, y.conn.tr.ID)
	})
	for _, f := range all[:len(all)/4+1] {
		f.close(a.now)
		delete(w.flows, keys[f])
		a.forget(f.conn)
	}
}

// forget lets go of a connection that is past the trace's limit and over.
func (a *Analyzer) forget(c *conn) {
	c.forgotten = true
	if a.cut.connections > 0 {
		delete(a.conns, c.socket)
	}
}

// finish fills in what the packets say.
func (f *flow) finish(t *trace.Connection) {
	s := &trace.Segments{Complete: f.analysis.Sides[0].SawSYN, Missing: f.missing, BadChecksums: f.bad, Offloaded: f.off, Conflicts: f.conflict}
	if f.analysis.SYNTime > 0 && f.analysis.ACKTime > 0 {
		s.HandshakeRTT = trace.Duration(f.analysis.ACKTime - f.analysis.SYNTime)
	}
	for d, to := range []*trace.SegmentSide{&s.Client, &s.Server} {
		x := &f.analysis.Sides[d]
		*to = trace.SegmentSide{MAC: f.mac[d], TTL: f.ttl[d], ISN: x.ISN, MSS: x.Options.MSS, WindowScale: -1, SACK: x.Options.SACKPermitted, Timestamps: x.Options.Timestamps,
			Segments: x.Segments, Bytes: x.Bytes, LargestSegment: x.MaxSegment, Retransmissions: x.Retransmissions, Fast: x.Fast, Spurious: x.Spurious, OutOfOrder: x.OutOfOrder,
			DuplicateACKs: x.DupAcks, ZeroWindows: x.ZeroWindows, WindowFull: x.WindowFulls, KeepAlives: x.KeepAlives, MinRTT: trace.Duration(f.analysis.MinRTT[d])}
		if x.SawSYN {
			to.WindowScale = int(x.Options.WindowScale)
		}
		if n := f.analysis.NRTT[d]; n > 0 {
			to.MeanRTT = trace.Duration(f.analysis.SumRTT[d]) / trace.Duration(n)
		}
	}
	acct := f.conn.account
	stream := t.BytesOut + t.BytesIn
	acct.Repeated = max(s.Client.Bytes+s.Server.Bytes-stream, 0)
	f.conn.split(&acct, stream)
	rest(&acct)
	s.Account = acct
	t.Segments = s
	t.SentOut, t.SentIn = f.carried(0), f.carried(1)
	for _, list := range [][]trace.Sent{t.SentOut, t.SentIn} {
		for i := range list {
			t.LongestSent = max(t.LongestSent, list[i].Length)
		}
	}
}

func (f *flow) carried(d int) []trace.Sent {
	out := make([]trace.Sent, len(f.sent[d]))
	for i, s := range f.sent[d] {
		out[i] = trace.Sent{Offset: s.offset, Packet: int(s.packet), At: int32(s.at), Length: int32(s.length)}
	}
	slices.SortStableFunc(out, func(a, b trace.Sent) int { return cmp.Compare(a.Offset, b.Offset) })
	return out
}
