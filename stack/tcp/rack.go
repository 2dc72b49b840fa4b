package tcp

import (
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// rack is what RACK knows of time (RFC 8985 §5.3).
type rack struct {
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

// tailLossProbe is the probe that is out (RFC 8985 §7).
type tailLossProbe struct {
	out     bool
	end     uint32
	retrans bool
}

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
		if rtt < c.rtt.min || c.opt.ts && o.Timestamps && !wire.Before(c.snd.una, r.end) && wire.Before(o.TSEcr, uint32(r.sent/1e6)+c.opt.tsOffset) {
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
	if !c.rack.reordering && (c.rec.mode == modeRecovery || c.rec.mode == modeLoss || c.board.sacked >= 3*c.path.mss) {
		return 0
	}
	return min(time.Duration(c.rack.mult)*c.rtt.min/4, c.rtt.srtt)
}

// rackDetect marks what was sent long enough before something that has been
// delivered (RFC 8985 §6.2 step 5), and sets the timer for the rest.
func (c *Conn) rackDetect() {
	c.timer[timerRACK] = clock.Never
	if !c.opt.sack || c.cfg.NoRACK || c.rack.sent == 0 {
		return
	}
	reo := c.reoWindow()
	wait := time.Duration(0)
	for i := c.board.head; i < len(c.board.records); i++ {
		r := &c.board.records[i]
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
		c.timer[timerRACK] = c.now.Add(wait)
	}
}

// dupThreshDetect is loss by three duplicates (RFC 6675 §3, IsLost), for those
// who switch RACK off.
func (c *Conn) dupThreshDetect() {
	above := 0
	for i := len(c.board.records) - 1; i >= c.board.head; i-- {
		switch r := &c.board.records[i]; {
		case r.flags&recSACKed != 0:
			above += r.len()
		case above > 2*c.path.mss && r.tx == 1:
			c.markLost(i, "dupthresh")
		}
	}
}

// countDuplicates is fast retransmit without SACK (RFC 6582).
func (c *Conn) countDuplicates(dup bool, a *ackInfo) {
	switch {
	case a.advanced:
		// All but the segment that was missing is what duplicate ACKs told.
		known := min(c.board.dupBytes, max(a.delivered-c.path.mss, 0))
		a.delivered -= known
		left := c.board.dupBytes - known
		c.board.dupAcks, c.board.dupBytes = 0, 0
		if c.rec.mode == modeRecovery && wire.Before(c.snd.una, c.rec.point) && c.board.head < len(c.board.records) {
			// A partial ACK: the next segment is missing too.
			c.board.dupBytes = left
			c.firstToMSS()
			c.markLost(c.board.head, "partial ack")
		}
	case dup && c.snd.una != c.snd.nxt:
		c.board.dupAcks++
		c.board.dupBytes = min(c.board.dupBytes+c.path.mss, max(int(c.snd.nxt-c.snd.una)-c.board.lost-c.path.mss, 0))
		if c.board.dupAcks == 3 && c.rec.mode == modeOpen && wire.Before(c.rec.point, c.snd.una) {
			c.firstToMSS()
			c.markLost(c.board.head, "3 duplicate acks")
		}
		a.sacked = true
		a.delivered += c.path.mss
	}
}

func (c *Conn) dsackReceived(b wire.Block) {
	c.note(Event{Kind: DSACKReceived, From: b.From, To: b.To})
	if c.rec.undo.armed && c.rec.undo.retrans > 0 && !wire.Before(b.From, c.rec.undo.from) && !wire.Before(c.rec.point, b.To) {
		c.rec.undo.retrans--
	}
	// RFC 8985 §6.2 step 4: once a round trip, be more patient.
	if !wire.Before(c.snd.una, c.rack.dsackRound) || c.rack.mult == 1 {
		c.rack.dsackRound = c.snd.nxt
		c.rack.mult = min(c.rack.mult+1, 16)
		c.rack.persist = 16
	}
}
