package tcp

import (
	"fmt"
	"time"

	"peel/clock"
)

// EventKind names a decision of a connection that no packet shows, or not by
// itself. The texts are the names of the trace.
type EventKind uint8

const (
	// StateChanged: to State (RFC 9293 §3.3.2).
	StateChanged EventKind = iota
	// Retransmitted: From to To were sent again; Why.
	Retransmitted
	// TimedOut: the retransmission timer ran out after Wait (RFC 6298 §5).
	TimedOut
	// TailLossProbe: a probe was sent after Wait without acknowledgement (RFC
	// 8985 §7).
	TailLossProbe
	// LossMarked: From to To are taken for lost, or were and nobody had
	// noticed; Why.
	LossMarked
	// RecoveryStarted: of From to To, by fast retransmission (RFC 6675, RFC
	// 6937).
	RecoveryStarted
	// RecoveryEnded: all of it is acknowledged, or given up; Why.
	RecoveryEnded
	// Undone: nothing had been lost, as timestamps or DSACK show (RFC 3522,
	// RFC 3708); the congestion window is New again.
	Undone
	// WindowReduced: the congestion window, without loss; Why.
	WindowReduced
	// SlowStartEnded: an acknowledgement took the congestion window to
	// ssthresh (RFC 5681 §3.1).
	SlowStartEnded
	// IdleRestarted: the congestion window fell from Old to New over a pause
	// of Wait (RFC 5681 §4.1).
	IdleRestarted
	// RTTMeasured: a round trip of Wait (RFC 6298 §3).
	RTTMeasured
	// MSSChanged: segments carry New bytes instead of Old; Why.
	MSSChanged
	// BlackHoleFound: segments of Old bytes vanish, New are tried (RFC 4821
	// §7.7, RFC 2923).
	BlackHoleFound
	// MTUProbed: a segment of New bytes went out to see whether it arrives
	// (RFC 4821).
	MTUProbed
	// WindowClosed: the peer takes Old bytes, New wait (RFC 9293 §3.8.6.1).
	WindowClosed
	// WindowOpened: the peer takes New bytes again.
	WindowOpened
	// WindowProbed: New is the count of probes so far.
	WindowProbed
	// KeepAliveProbed: New is the count of probes so far (RFC 9293 §3.8.4).
	KeepAliveProbed
	// NagleHeld: From to To wait for an acknowledgement (RFC 9293 §3.7.4).
	NagleHeld
	// ACKDelayed: an acknowledgement went out after Wait (RFC 9293 §3.8.6.3).
	ACKDelayed
	// SegmentDropped: a segment From to To came and was not used; Why.
	SegmentDropped
	// ChallengeACK: a segment that may be forged was answered so (RFC 5961);
	// Why.
	ChallengeACK
	// DSACKReceived: the peer had From to To twice (RFC 2883).
	DSACKReceived
	// ReorderingSeen: From to To was overtaken, not lost (RFC 8985 §6.2).
	ReorderingSeen
	// UrgentSeen: urgent data up to To (RFC 9293 §3.8.5).
	UrgentSeen
	// BufferGrown: from Old to New bytes, of the side in Why.
	BufferGrown
	// ConnectionFailed: the error is in Why.
	ConnectionFailed
)

var eventNames = [...]string{"tcp.state", "tcp.retransmit", "tcp.rto", "tcp.tlp", "tcp.loss", "tcp.recovery.start", "tcp.recovery.end", "tcp.undo", "tcp.cwnd.reduced", "tcp.slow_start.end",
	"tcp.cwnd.idle", "tcp.rtt", "tcp.mss", "tcp.black_hole", "tcp.mtu_probe", "tcp.zero_window", "tcp.window_open", "tcp.window_probe", "tcp.keep_alive", "tcp.nagle", "tcp.delayed_ack",
	"tcp.drop", "tcp.challenge_ack", "tcp.dsack", "tcp.reordering", "tcp.urgent", "tcp.buffer", "tcp.failed"}

func (k EventKind) String() string { return eventNames[k] }

// Event is one decision. Which of the fields count depends on the kind.
type Event struct {
	Kind EventKind
	Time clock.Time
	// From and To are the sequence numbers it is about.
	From, To uint32
	// State after it.
	State State
	// Why says what led to it, in a word or a sentence.
	Why string
	// Wait is a duration: the RTO, the RTT, the delay of an ACK.
	Wait time.Duration
	// Old and New are bytes: windows, segment sizes, buffers.
	Old, New int
	// Cwnd, Ssthresh and Flight are bytes, at that time.
	Cwnd, Ssthresh, Flight int
}

// Attrs calls f for each property of the event, in a fixed order.
func (e *Event) Attrs(f func(key, value string)) {
	if e.Why != "" {
		f("why", e.Why)
	}
	if e.From != e.To {
		f("from", fmt.Sprint(e.From))
		f("to", fmt.Sprint(e.To))
	}
	switch e.Kind {
	case StateChanged:
		f("state", e.State.String())
	case RTTMeasured, TimedOut, TailLossProbe, ACKDelayed:
		f("wait", e.Wait.String())
	}
	if e.Old != e.New {
		f("old", fmt.Sprint(e.Old))
		f("new", fmt.Sprint(e.New))
	}
	f("cwnd", fmt.Sprint(e.Cwnd))
	f("ssthresh", fmt.Sprint(e.Ssthresh))
	f("flight", fmt.Sprint(e.Flight))
}

func (e Event) String() string {
	s := e.Kind.String()
	e.Attrs(func(k, v string) { s += " " + k + "=" + v })
	return s
}

// note reports a decision, if somebody wants to know.
func (c *Conn) note(e Event) {
	if c.cfg.Observe == nil {
		return
	}
	e.Time, e.State = c.now, c.state
	e.Cwnd, e.Ssthresh, e.Flight = c.win.Cwnd, c.win.Ssthresh, c.inFlight()
	c.cfg.Observe(c, e)
}
