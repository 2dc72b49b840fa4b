package tcp

import (
	"time"

	"peel/clock"
)

// recovery is what a sender knows of the segments under way, and how it
// repairs losses: the scoreboard of SACK (RFC 2018, RFC 6675), RACK-TLP
// (RFC 8985), proportional rate reduction (RFC 9937), NewReno without SACK
// (RFC 6582), undo (RFC 3522, RFC 3708) and the RTO (RFC 6298).
type recovery struct {
	sent      []record // from sentHead on: under way, in order of seq
	sentHead  int
	sackBytes int // of them, SACKed
	lostBytes int // of them, held lost and not sent again yet
	dupBytes  int // without SACK: what duplicate ACKs stand for
	dupAcks   int
	lostFrom  int // no record before this index is lost

	mode          recoveryMode
	recover       uint32 // nxt when the mode was entered
	prr           struct{ delivered, out, flight int }
	retransmitted uint64
	delivered     uint64
	deliveredAt   clock.Time
	firstSent     clock.Time
	transmissions uint32

	rack struct {
		sent       clock.Time // of the latest delivered segment
		nth        uint32     // and which transmission that was
		end        uint32
		rtt        time.Duration
		fack       uint32
		reordering bool
		mult       int // of the reordering window
		persist    int
		dsackRound uint32
	}
	tlp struct {
		out     bool
		end     uint32
		retrans bool
	}
	undo struct {
		armed          bool
		cwnd, ssthresh int
		from           uint32 // una at that time
		retrans        int    // retransmissions not reported as duplicates yet
		stamp          uint32 // timestamp of the first
		stamped        bool
	}
}

type recoveryMode uint8

const (
	modeOpen     recoveryMode = iota
	modeCWR                   // reducing after a congestion mark or a tail loss
	modeRecovery              // fast recovery
	modeLoss                  // after an RTO
)

var modeNames = [...]string{"open", "cwr", "recovery", "loss"}

type record struct {
	seq, end    uint32
	sent        clock.Time // last
	delivered   uint64     // Conn.delivered at that time
	deliveredAt clock.Time
	firstSent   clock.Time
	nth         uint32 // transmission of the connection
	tx          uint8
	flags       recordFlags
}

type recordFlags uint8

const (
	recSACKed recordFlags = 1 << iota
	recLost
	recFIN
	recAppLimited
	recProbe // of a larger MTU
)

func (r *record) len() int { return int(r.end - r.seq) }

// inFlight is the pipe of RFC 6675 in bytes: sent, and neither delivered nor
// lost.
func (c *Conn) inFlight() int {
	n := int(c.nxt-c.una) - c.sackBytes - c.lostBytes
	if c.dupBytes > 0 {
		n = max(n-c.dupBytes, 0)
	}
	if c.sendSeq != c.una && c.state <= SynReceived {
		return 0 // the SYN
	}
	return n
}

// track adds a record for new data.
func (c *Conn) track(seq, end uint32, fin bool) *record {
	if c.sentHead > 0 && len(c.sent) == cap(c.sent) {
		n := copy(c.sent, c.sent[c.sentHead:])
		c.sent = c.sent[:n]
		c.lostFrom -= c.sentHead
		c.sentHead = 0
	}
	if c.una == c.nxt {
		// RFC 9438 §4.2 and delivery rates: a new flight begins.
		c.firstSent, c.deliveredAt = c.now, c.now
	}
	c.sent = append(c.sent, record{seq: seq, end: end})
	r := &c.sent[len(c.sent)-1]
	if fin {
		r.flags = recFIN
	}
	if c.probing {
		r.flags |= recProbe
	}
	return r
}

// stampRecord notes a transmission.
func (c *Conn) stampRecord(r *record) {
	r.sent = c.now
	c.transmissions++
	r.nth = c.transmissions
	r.tx = min(r.tx+1, 250)
	r.delivered, r.deliveredAt, r.firstSent = c.delivered, c.deliveredAt, c.firstSent
	if c.Unsent() == 0 && c.lostBytes == 0 && c.inFlight() < c.win.Cwnd {
		r.flags |= recAppLimited
	} else {
		r.flags &^= recAppLimited
	}
	if c.mode == modeRecovery || c.mode == modeCWR {
		c.prr.out += r.len()
	}
}

// splitAt cuts record i so that one begins at seq.
func (c *Conn) splitAt(i int, seq uint32) {
	r := c.sent[i]
	c.sent = append(c.sent, record{})
	copy(c.sent[i+2:], c.sent[i+1:])
	c.sent[i+1] = r
	c.sent[i+1].seq = seq
	c.sent[i].end = seq
	c.sent[i].flags &^= recFIN
}

// markLost marks record i, which will be sent again.
func (c *Conn) markLost(i int, why string) {
	r := &c.sent[i]
	if r.flags&(recLost|recSACKed) != 0 {
		return
	}
	if r.flags&recProbe != 0 {
		r.flags &^= recProbe
		c.probeLost()
	}
	r.flags |= recLost
	c.lostBytes += r.len()
	if i < c.lostFrom || c.lostFrom < c.sentHead {
		c.lostFrom = i
	}
	c.note(Event{Kind: LossMarked, From: r.seq, To: r.end, Why: why})
}

// retransmitLost sends again what is lost, as the window allows.
func (c *Conn) retransmitLost() {
	for i := max(c.lostFrom, c.sentHead); i < len(c.sent) && c.lostBytes > 0; i++ {
		if c.sent[i].flags&recLost == 0 {
			continue
		}
		c.lostFrom = i
		room := c.win.Cwnd - c.inFlight()
		if room <= 0 || c.paceAt > c.now {
			return
		}
		if most := c.mss - c.sackRoom(); c.sent[i].len() > most {
			// It was larger when it was sent: the card cut it, or the path's
			// MTU has become known since.
			c.splitAt(i, c.sent[i].seq+uint32(most))
		}
		if room < c.sent[i].len() && c.inFlight() > 0 {
			return
		}
		c.retransmit(i, modeNames[c.mode])
	}
}

// retransmit sends record i again.
func (c *Conn) retransmit(i int, why string) {
	r := &c.sent[i]
	if r.flags&recLost != 0 {
		r.flags &^= recLost
		c.lostBytes -= r.len()
	}
	c.retransmitted++
	if c.undo.armed && c.mode != modeOpen {
		c.undo.retrans++
		if !c.undo.stamped {
			c.undo.stamped, c.undo.stamp = true, c.tsNow()
		}
	}
	c.note(Event{Kind: Retransmitted, From: r.seq, To: r.end, Why: why})
	n := r.len()
	if r.flags&recFIN != 0 {
		n--
	}
	c.sendData(r.seq, n, r.flags&recFIN != 0, r)
	if c.rtoAt == clock.Never {
		c.rtoAt = c.now.Add(c.rto())
	}
}

// ackInfo gathers what one ACK told.
type ackInfo struct {
	delivered int
	rtt       time.Duration
	newest    record // most recently sent of those delivered
	any       bool
	sacked    bool // something was newly SACKed
	lost      int
	dsack     bool
	advanced  bool   // una moved
	again     bool   // delivered something that was sent more than once
	fack      uint32 // rack.fack before it: within one ACK nothing is out of order
}

// deliver counts a record as delivered, once.
func (c *Conn) deliver(r *record, a *ackInfo) {
	n := r.len()
	a.delivered += n
	c.delivered += uint64(n)
	c.deliveredAt = c.now
	if r.flags&recProbe != 0 {
		c.probeDelivered()
	}
	if r.tx == 1 {
		// Karn's rule: only what was sent once measures the round trip.
		if d := c.now.Sub(r.sent); a.rtt == 0 || d < a.rtt {
			a.rtt = max(d, 1)
		}
		if r.len() >= c.mss && c.mss > baseSegment {
			c.mtu.proved = true
		}
		// RFC 8985 §6.2 step 3.
		if before(r.end, a.fack) && !c.rack.reordering && c.sack {
			c.rack.reordering = true
			c.note(Event{Kind: ReorderingSeen, From: r.seq, To: r.end})
		}
	}
	if r.tx > 1 {
		a.again = true
	}
	if !a.any || sentAfter(r.nth, r.end, a.newest.nth, a.newest.end) {
		a.newest, a.any = *r, true
	}
	if before(c.rack.fack, r.end) {
		c.rack.fack = r.end
	}
}

// sentAfter is the order of transmission of RFC 8985 §6.2 step 2. It goes by
// counting: in virtual time a retransmission and new data leave at one instant,
// and by their sequence numbers the new data would seem to be later.
func sentAfter(n1, end1, n2, end2 uint32) bool {
	return before(n2, n1) || n1 == n2 && before(end2, end1)
}

// cumulative takes what ack acknowledges off the scoreboard.
func (c *Conn) cumulative(ack uint32, a *ackInfo) {
	for c.sentHead < len(c.sent) {
		r := &c.sent[c.sentHead]
		if before(ack, r.end) {
			if !before(r.seq, ack) {
				break
			}
			// A part of a record.
			part := *r
			part.end = ack
			part.flags &^= recFIN
			c.settle(&part, a)
			r.seq = ack
			break
		}
		c.settle(r, a)
		c.sentHead++
	}
	if c.sentHead == len(c.sent) {
		c.sent, c.sentHead, c.lostFrom = c.sent[:0], 0, 0
		if cap(c.sent) > 64 {
			c.sent = nil
		}
	}
}

func (c *Conn) settle(r *record, a *ackInfo) {
	if r.flags&recSACKed != 0 {
		c.sackBytes -= r.len()
		return
	}
	if r.flags&recLost != 0 {
		c.lostBytes -= r.len()
	}
	c.deliver(r, a)
}

// selective marks what a SACK block reports.
func (c *Conn) selective(b Block, a *ackInfo) {
	if !before(b.From, b.To) || before(c.nxt, b.To) || !before(c.una, b.To) {
		return
	}
	lo, hi := c.sentHead, len(c.sent)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); !before(b.From, c.sent[m].end) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for i := lo; i < len(c.sent) && before(c.sent[i].seq, b.To); i++ {
		if c.sent[i].flags&recSACKed != 0 {
			continue
		}
		if before(c.sent[i].seq, b.From) {
			c.splitAt(i, b.From)
			continue
		}
		if before(b.To, c.sent[i].end) {
			c.splitAt(i, b.To)
		}
		r := &c.sent[i]
		if r.flags&recLost != 0 {
			r.flags &^= recLost
			c.lostBytes -= r.len()
		}
		c.deliver(r, a)
		r.flags |= recSACKed
		c.sackBytes += r.len()
		a.sacked = true
	}
}

// dsackBlock tells whether the first SACK block reports a duplicate
// (RFC 2883 §4).
func (c *Conn) dsackBlock(ack uint32, o *Options) bool {
	if o.NSACK == 0 {
		return false
	}
	b := o.SACK[0]
	if !before(b.From, b.To) {
		return false
	}
	if before(b.From, ack) {
		return !before(ack, b.To)
	}
	return o.NSACK > 1 && !before(b.From, o.SACK[1].From) && !before(o.SACK[1].To, b.To)
}

// rackUpdate takes the newest delivered segment (RFC 8985 §6.2 steps 1, 2).
func (c *Conn) rackUpdate(a *ackInfo, o *Options) {
	if !a.any {
		return
	}
	r := &a.newest
	rtt := c.now.Sub(r.sent)
	if r.tx > 1 {
		// It may be the original that was acknowledged. What is SACKed is not
		// what the timestamp echoes (RFC 7323 §4.3).
		if rtt < c.rtt.min || c.ts && o.Timestamps && !before(c.una, r.end) && before(o.TSEcr, uint32(r.sent/1e6)+c.tsOffset) {
			return
		}
	}
	c.rack.rtt = rtt
	if c.rack.sent == 0 || sentAfter(r.nth, r.end, c.rack.nth, c.rack.end) {
		c.rack.sent, c.rack.nth, c.rack.end = r.sent, r.nth, r.end
	}
}

// reoWindow is how long a segment may be overtaken before it counts as lost
// (RFC 8985 §6.2 step 4).
func (c *Conn) reoWindow() time.Duration {
	if !c.rack.reordering && (c.mode == modeRecovery || c.mode == modeLoss || c.sackBytes >= 3*c.mss) {
		return 0
	}
	return min(time.Duration(c.rack.mult)*c.rtt.min/4, c.rtt.srtt)
}

// rackDetect marks what was sent long enough before something that has been
// delivered (RFC 8985 §6.2 step 5), and sets the timer for the rest.
func (c *Conn) rackDetect() {
	c.rackAt = clock.Never
	if !c.sack || c.cfg.NoRACK || c.rack.sent == 0 {
		return
	}
	reo := c.reoWindow()
	wait := time.Duration(0)
	for i := c.sentHead; i < len(c.sent); i++ {
		r := &c.sent[i]
		if r.flags&(recSACKed|recLost) != 0 {
			continue
		}
		if !sentAfter(c.rack.nth, c.rack.end, r.nth, r.end) {
			if r.tx == 1 {
				break // the rest was sent later still
			}
			continue
		}
		left := r.sent.Add(c.rack.rtt + reo).Sub(c.now)
		if left <= 0 {
			c.markLost(i, "rack")
		} else {
			wait = max(wait, left)
		}
	}
	if wait > 0 {
		c.rackAt = c.now.Add(wait)
	}
}

// dupThreshDetect is loss by three duplicates (RFC 6675 §3, IsLost), for those
// who switch RACK off.
func (c *Conn) dupThreshDetect() {
	above := 0
	for i := len(c.sent) - 1; i >= c.sentHead; i-- {
		switch r := &c.sent[i]; {
		case r.flags&recSACKed != 0:
			above += r.len()
		case above > 2*c.mss && r.tx == 1:
			c.markLost(i, "dupthresh")
		}
	}
}

// ackReceived does what an acceptable ACK means for sending: it moves una,
// finds losses and lets congestion control decide.
func (c *Conn) ackReceived(ack uint32, o *Options, dup bool, ece bool) {
	a := ackInfo{fack: c.rack.fack}
	priorUna, priorLost := c.una, c.lostBytes
	a.advanced = before(c.una, ack)
	if o.NSACK > 0 && c.sack {
		skip := 0
		if a.dsack = c.dsackBlock(ack, o); a.dsack {
			skip = 1
			c.dsackReceived(o.SACK[0])
		}
		for _, b := range o.SACK[skip:o.NSACK] {
			c.selective(b, &a)
		}
	}
	if a.advanced {
		c.cumulative(ack, &a)
		c.acked(ack)
	}
	c.measure(&a, o)
	if c.roundEnd == priorUna || !before(c.una, c.roundEnd) {
		c.round++
		c.roundEnd = c.nxt
	}
	if !c.sack {
		c.countDuplicates(dup, &a)
	}
	c.tlpAcked(ack, &a, o, dup)
	c.rackUpdate(&a, o)
	if a.any || a.dsack {
		if c.cfg.NoRACK && c.sack {
			c.dupThreshDetect()
		} else {
			c.rackDetect()
		}
	}
	c.tryUndo(&a, o)
	a.lost = max(c.lostBytes-priorLost, 0)
	c.steer(&a, priorUna, ece)
	if c.una == c.nxt {
		c.rtoAt, c.tlpAt, c.rackAt = clock.Never, clock.Never, clock.Never
	} else if a.advanced || a.sacked {
		if a.advanced {
			c.rtoAt = c.now.Add(c.rto())
		}
		c.armTLP()
	}
}

// acked moves una.
func (c *Conn) acked(ack uint32) {
	n := int(ack - c.sendSeq)
	if n > 0 {
		data := min(n, c.send.n) // the FIN is not in the buffer
		c.send.discard(data)
		c.sendSeq += uint32(data)
	}
	c.una = ack
	c.retries = 0
	c.stuckSince = c.now
	c.mtu.timeouts = 0
	c.soft = nil
	if c.urgentOut && !before(c.una, c.urgent) {
		c.urgentOut = false
	}
	if c.send.n == 0 {
		c.send.release(c.cfg.Buffers)
	}
	// The send buffer keeps up with the window, so that there is always a
	// round trip's worth to send.
	if want := 2 * c.win.Cwnd; want > c.sendLimit && !c.cfg.FixedBuffers && c.sendLimit < c.cfg.sendBuffer() {
		old := c.sendLimit
		c.sendLimit = min(max(want, 2*old), c.cfg.sendBuffer())
		c.note(Event{Kind: BufferGrown, Why: "send", Old: old, New: c.sendLimit})
	}
}

// measure takes the round trip from what was delivered, or from the echoed
// timestamp where that is all there is (RFC 7323 §4.1).
func (c *Conn) measure(a *ackInfo, o *Options) {
	d := a.rtt
	if a.again {
		// What was repaired may have held the ACK of the rest back.
		d = 0
	}
	if d == 0 && a.advanced && !a.dsack && c.ts && o.Timestamps && o.TSEcr != 0 {
		if ms := int32(c.tsNow() - o.TSEcr); ms >= 0 {
			d = time.Duration(ms) * time.Millisecond
		}
		if d == 0 {
			c.backoff = 0
			return // less than the clock of the timestamps can tell
		}
	}
	a.rtt = d
	if d == 0 {
		return
	}
	c.backoff = 0 // RFC 6298 §5, the note: a new measurement collapses it
	c.rtt.sample(d, c.now, c.cfg)
	c.note(Event{Kind: RTTMeasured, Wait: d})
}

// countDuplicates is fast retransmit without SACK (RFC 6582).
func (c *Conn) countDuplicates(dup bool, a *ackInfo) {
	switch {
	case a.advanced:
		// All but the segment that was missing is what duplicate ACKs told.
		known := min(c.dupBytes, max(a.delivered-c.mss, 0))
		a.delivered -= known
		left := c.dupBytes - known
		c.dupAcks, c.dupBytes = 0, 0
		if c.mode == modeRecovery && before(c.una, c.recover) && c.sentHead < len(c.sent) {
			// A partial ACK: the next segment is missing too.
			c.dupBytes = left
			c.firstToMSS()
			c.markLost(c.sentHead, "partial ack")
		}
	case dup && c.una != c.nxt:
		c.dupAcks++
		c.dupBytes = min(c.dupBytes+c.mss, max(int(c.nxt-c.una)-c.lostBytes-c.mss, 0))
		if c.dupAcks == 3 && c.mode == modeOpen && before(c.recover, c.una) {
			c.firstToMSS()
			c.markLost(c.sentHead, "3 duplicate acks")
		}
		a.sacked = true
		a.delivered += c.mss
	}
}

// firstToMSS cuts the first record to one segment.
func (c *Conn) firstToMSS() {
	if r := &c.sent[c.sentHead]; r.len() > c.mss {
		c.splitAt(c.sentHead, r.seq+uint32(c.mss))
	}
}

// steer enters and leaves recovery and moves the window.
func (c *Conn) steer(a *ackInfo, priorUna uint32, ece bool) {
	deflated := false
	if c.mode != modeOpen && !before(c.una, c.recover) && c.una != priorUna {
		deflated = c.mode != modeLoss
		c.endRecovery("all acknowledged")
	}
	switch {
	case c.lostBytes > 0 && (c.mode == modeOpen || c.mode == modeCWR):
		c.reduce(modeRecovery, "loss", a.delivered)
	case ece && c.ecn && c.mode == modeOpen && a.advanced:
		c.reduce(modeCWR, "ECE", a.delivered)
	}
	info := Acked{Now: c.now, Bytes: a.delivered, RTT: a.rtt, SRTT: c.rtt.srtt, MinRTT: c.rtt.min, InFlight: c.inFlight(), Round: c.round, Lost: a.lost,
		Recovering: c.mode == modeRecovery || c.mode == modeCWR}
	flight := int(c.nxt-c.una) + a.delivered
	info.Limited = before(priorUna, c.limitedAt) || c.win.Cwnd < c.win.Ssthresh && c.win.Cwnd < 2*flight
	if a.any {
		info.Rate, info.AppLimited = c.rate(&a.newest)
	}
	if c.model != nil {
		if a.delivered > 0 {
			c.cc.Acked(&c.win, info)
		}
		return
	}
	switch c.mode {
	case modeOpen, modeLoss:
		// RFC 5681 §3.2 step 6, RFC 9937 §6: the ACK that ends recovery sets the
		// window to ssthresh and does no more.
		if a.delivered > 0 && (a.advanced || c.mode == modeLoss) && !deflated {
			was := c.win.Cwnd < c.win.Ssthresh
			c.cc.Acked(&c.win, info)
			if was && c.win.Cwnd >= c.win.Ssthresh {
				c.note(Event{Kind: SlowStartEnded})
			}
		}
	default:
		c.reduceRate(a)
	}
}

// rate is the delivery rate over the flight that r belonged to, in bytes a
// second.
func (c *Conn) rate(r *record) (float64, bool) {
	if r.deliveredAt == 0 {
		return 0, false
	}
	c.firstSent = r.sent
	d := max(c.deliveredAt.Sub(r.deliveredAt), r.sent.Sub(r.firstSent))
	if d <= 0 || d < c.rtt.min {
		return 0, r.flags&recAppLimited != 0
	}
	return float64(c.delivered-r.delivered) / d.Seconds(), r.flags&recAppLimited != 0
}

// reduce enters a mode in which the window comes down; delivered is what the
// ACK that led to it told.
func (c *Conn) reduce(m recoveryMode, why string, delivered int) {
	first := c.mode == modeOpen
	c.mode, c.recover = m, c.nxt
	c.tlpAt = clock.Never
	if first {
		c.armUndo()
		c.cc.Reduce(&c.win, c.now, false)
		c.cwrOut = c.ecn // RFC 3168 §6.1.2: for whatever reason
		c.prr.delivered, c.prr.out, c.prr.flight = 0, 0, max(int(c.nxt-c.una)-c.sackBytes-c.dupBytes+delivered, c.mss)
		// One segment at least goes out at once (RFC 9937 §5.1).
		if c.model == nil {
			c.win.Cwnd = c.inFlight() + c.mss
		}
	}
	if m == modeRecovery {
		c.note(Event{Kind: RecoveryStarted, From: c.una, To: c.recover, Why: why})
	} else {
		c.note(Event{Kind: WindowReduced, Why: why})
	}
}

func (c *Conn) armUndo() {
	u := &c.undo
	u.armed, u.from, u.retrans, u.stamped = true, c.una, 0, false
	u.cwnd, u.ssthresh = c.win.Cwnd, c.win.Ssthresh
}

// reduceRate is proportional rate reduction (RFC 9937 §5): what goes out is in
// proportion to what arrives.
func (c *Conn) reduceRate(a *ackInfo) {
	if a.delivered == 0 && a.lost == 0 {
		return
	}
	p := &c.prr
	p.delivered += a.delivered
	pipe, n := c.inFlight(), 0
	if pipe > c.win.Ssthresh {
		n = (p.delivered*c.win.Ssthresh+p.flight-1)/p.flight - p.out
	} else {
		n = max(p.delivered-p.out, a.delivered)
		if a.advanced && a.lost == 0 {
			n += c.mss
		}
		n = min(n, c.win.Ssthresh-pipe)
	}
	n = max(n, 0)
	if p.out == 0 || !c.sack && a.lost > 0 { // RFC 6582 §3.2 step 3: at once
		n = max(n, c.mss)
	}
	c.win.Cwnd = max(pipe+n, c.mss)
}

func (c *Conn) endRecovery(why string) {
	if c.model == nil && c.mode != modeLoss {
		c.win.Cwnd = max(c.win.Ssthresh, 2*c.mss)
	}
	// The duplicates of what was sent again are told of only now (RFC 3708).
	c.undo.armed = c.undo.armed && c.mode != modeCWR && c.undo.stamped
	c.mode = modeOpen
	c.dupAcks, c.dupBytes = 0, 0
	if c.rack.persist > 0 {
		if c.rack.persist--; c.rack.persist == 0 {
			c.rack.mult = 1
		}
	}
	c.note(Event{Kind: RecoveryEnded, Why: why})
}

// tryUndo restores the window when nothing had been lost: the ACK answers the
// original and not the retransmission (RFC 3522), or every retransmission was
// reported as a duplicate (RFC 3708).
func (c *Conn) tryUndo(a *ackInfo, o *Options) {
	u := &c.undo
	if !u.armed || c.mode == modeCWR {
		return
	}
	why := ""
	switch {
	case a.advanced && c.mode != modeOpen && u.stamped && c.ts && o.Timestamps && o.TSEcr != 0 && before(o.TSEcr, u.stamp):
		why = "the original arrived (timestamp)"
	case u.stamped && u.retrans == 0:
		why = "all retransmissions were duplicates (DSACK)"
	default:
		return
	}
	for i := c.sentHead; i < len(c.sent) && c.mode != modeOpen; i++ {
		if r := &c.sent[i]; r.flags&recLost != 0 {
			r.flags &^= recLost
			c.lostBytes -= r.len()
		}
	}
	c.win.Cwnd, c.win.Ssthresh = max(c.win.Cwnd, u.cwnd), u.ssthresh
	c.cc.Undo(&c.win)
	c.note(Event{Kind: Undone, Why: why, New: c.win.Cwnd})
	c.backoff = 0
	u.armed = false
	c.mode = modeOpen
	c.dupAcks, c.dupBytes = 0, 0
	if !c.rack.reordering {
		c.rack.reordering = true
	}
}

func (c *Conn) dsackReceived(b Block) {
	c.note(Event{Kind: DSACKReceived, From: b.From, To: b.To})
	if c.undo.armed && c.undo.retrans > 0 && !before(b.From, c.undo.from) && !before(c.recover, b.To) {
		c.undo.retrans--
	}
	// RFC 8985 §6.2 step 4: once a round trip, be more patient.
	if !before(c.una, c.rack.dsackRound) || c.rack.mult == 1 {
		c.rack.dsackRound = c.nxt
		c.rack.mult = min(c.rack.mult+1, 16)
		c.rack.persist = 16
	}
}
