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
	StateChanged EventKind = iota
	Retransmitted
	TimedOut
	TailLossProbe
	LossMarked
	RecoveryStarted
	RecoveryEnded
	Undone
	WindowReduced
	SlowStartEnded
	IdleRestarted
	RTTMeasured
	MSSChanged
	BlackHoleFound
	MTUProbed
	WindowClosed
	WindowOpened
	WindowProbed
	KeepAliveProbed
	NagleHeld
	ACKDelayed
	SegmentDropped
	ChallengeACK
	DSACKReceived
	ReorderingSeen
	UrgentSeen
	BufferGrown
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
