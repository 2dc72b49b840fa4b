package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// rackUpdate takes the newest delivered segment (RFC 8985 §6.2 steps 1, 2).
func (c *Conn) rackUpdate(a *ackInfo, o *wire.Options) {
	if !a.any {
		return
	}
	r := &a.newest
	rtt := c.now.Sub(r.sent)
	if r.tx > 1 {
		// It may be the original that was acknowledged. What is SACKed is not
		// what the timestamp echoes (RFC 7323 §4.3).
		if rtt < c.rtt.min || c.ts && o.Timestamps && !wire.Before(c.una, r.end) && wire.Before(o.TSEcr, uint32(r.sent/1e6)+c.tsOffset) {
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

// countDuplicates is fast retransmit without SACK (RFC 6582).
func (c *Conn) countDuplicates(dup bool, a *ackInfo) {
	switch {
	case a.advanced:
		// All but the segment that was missing is what duplicate ACKs told.
		known := min(c.dupBytes, max(a.delivered-c.mss, 0))
		a.delivered -= known
		left := c.dupBytes - known
		c.dupAcks, c.dupBytes = 0, 0
		if c.mode == modeRecovery && wire.Before(c.una, c.recover) && c.sentHead < len(c.sent) {
			// A partial ACK: the next segment is missing too.
			c.dupBytes = left
			c.firstToMSS()
			c.markLost(c.sentHead, "partial ack")
		}
	case dup && c.una != c.nxt:
		c.dupAcks++
		c.dupBytes = min(c.dupBytes+c.mss, max(int(c.nxt-c.una)-c.lostBytes-c.mss, 0))
		if c.dupAcks == 3 && c.mode == modeOpen && wire.Before(c.recover, c.una) {
			c.firstToMSS()
			c.markLost(c.sentHead, "3 duplicate acks")
		}
		a.sacked = true
		a.delivered += c.mss
	}
}

func (c *Conn) dsackReceived(b wire.Block) {
	c.note(Event{Kind: DSACKReceived, From: b.From, To: b.To})
	if c.undo.armed && c.undo.retrans > 0 && !wire.Before(b.From, c.undo.from) && !wire.Before(c.recover, b.To) {
		c.undo.retrans--
	}
	// RFC 8985 §6.2 step 4: once a round trip, be more patient.
	if !wire.Before(c.una, c.rack.dsackRound) || c.rack.mult == 1 {
		c.rack.dsackRound = c.nxt
		c.rack.mult = min(c.rack.mult+1, 16)
		c.rack.persist = 16
	}
}
