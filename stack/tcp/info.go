package tcp

import (
	"net/netip"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Info is the state of a connection for a table of sockets, in bytes and ns.
type Info struct {
	State                   State
	Local, Remote           netip.AddrPort
	ReceiveQueue, SendQueue int
	Cwnd, Ssthresh, Flight  int
	SendWindow, RecvWindow  int
	SRTT, RTTVar, MinRTT    time.Duration
	RTO                     time.Duration
	MSS, PathMTU            int
	Retransmits             uint64
	Reordering              bool
	Congestion              string
	Options                 string
	Timer                   string
	Expires                 clock.Time
}

// Info returns it.
func (c *Conn) Info() Info {
	i := Info{State: c.state, Local: c.local, Remote: c.remote, ReceiveQueue: c.rcv.buf.n, SendQueue: c.snd.buf.n, Cwnd: c.win.Cwnd, Ssthresh: c.win.Ssthresh, Flight: c.inFlight(),
		SendWindow: c.snd.wnd, RecvWindow: int(c.rcv.edge - c.rcv.nxt), SRTT: c.rtt.srtt, RTTVar: c.rtt.rttvar, MinRTT: c.rtt.min, RTO: c.rto(), MSS: c.path.mss, PathMTU: c.path.size,
		Retransmits: c.board.retransmitted, Reordering: c.rack.reordering, Congestion: c.cc.alg.Name(), Timer: "off", Expires: clock.Never}
	for _, o := range [...]struct {
		on   bool
		name string
	}{{c.opt.ts, "timestamps"}, {c.opt.sack, "sack"}, {c.opt.scaled, "wscale"}, {c.opt.ecn, "ecn"}} {
		if o.on {
			if i.Options != "" {
				i.Options += " "
			}
			i.Options += o.name
		}
	}
	for _, t := range [...]struct {
		at   clock.Time
		name string
	}{{c.timer[timerRTO], "on"}, {c.timer[timerTLP], "probe"}, {c.timer[timerRACK], "reorder"}, {c.timer[timerPersist], "persist"}, {c.timer[timerKeepAlive], "keepalive"}, {c.timer[timerLinger], "timewait"}} {
		if t.at < i.Expires {
			i.Expires, i.Timer = t.at, t.name
		}
	}
	return i
}

// UnderWay tells whether a sequence number is of what is sent and not
// acknowledged: what an honest ICMP error quotes (RFC 5927 §4.1).
func (c *Conn) UnderWay(seq uint32) bool {
	return !wire.Before(seq, c.snd.una) && wire.Before(seq, c.snd.nxt)
}

// Disordered tells that bytes are missing before some that have arrived, or
// that something waits to be told of as a duplicate.
func (c *Conn) Disordered() bool { return len(c.rcv.ooo) > 0 || c.rcv.hasDSACK }

// Quiet tells whether a connection in TIME-WAIT is so for a second at least,
// so that a new one with later timestamps cannot be mistaken for it
// (RFC 6191).
func (c *Conn) Quiet(now clock.Time) bool {
	return c.state == TimeWait && c.opt.ts && c.timer[timerLinger].Sub(now) <= c.cfg.timeWait()-time.Second
}
