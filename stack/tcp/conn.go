// Package tcp is one end of a TCP connection (RFC 9293) as a state machine
// without I/O: Conn takes segments and the time and says what to send and when to
// come again, with recovery, congestion control and timers. The form of segments
// is package wire/tcp.
package tcp

import (
	"net/netip"
	"time"

	"peel/clock"
	wire "peel/wire/tcp"
)

// Conn is one end of a connection (RFC 9293) as a state machine: Input takes
// segments, the user's calls take and give bytes, and Poll sends what is to be
// sent and says when to be called again. After Input or a user's call comes
// Poll. It reads no clock and starts nothing.
type Conn struct {
	cfg *Config
	out Output
	now clock.Time

	local, remote netip.AddrPort
	state         State
	orphan        bool // the user has closed it for good
	noDelay       bool
	err           error
	soft          error // what ICMP told, until something gets through

	snd  sendSide
	rcv  receiveSide
	ack  owed
	opt  agreed
	path pathMTU

	// What is under way, and how losses of it are found and repaired.
	board scoreboard
	rec   recovery
	rack  rack
	tlp   tailLossProbe
	rtt   roundTrip

	win   Window
	cc    congestion
	timer timers
	tries tries
}

// sendSide is the send sequence space (RFC 9293 §3.3.1) and what stands in it.
type sendSide struct {
	iss, una, nxt uint32
	wnd, maxWnd   int // of the peer, in bytes
	wl1, wl2      uint32

	buf    outbox
	bufSeq uint32 // of buf's first byte
	limit  int    // of buf

	synDue    bool
	finQueued bool
	finSent   bool
	urgent    uint32 // end of the urgent data
	urgentOut bool
	small     uint32     // end of the last segment that was not full
	sentAt    clock.Time // data, last
	held      bool       // by Nagle, already told
	shut      bool       // zero window, already told
}

// receiveSide is the receive sequence space (RFC 9293 §3.3.1) and what stands
// in it.
type receiveSide struct {
	irs, nxt uint32
	edge     uint32 // of the window, as announced

	buf   inbox
	limit int    // of buf
	owner Owner  // of the payload of the segment in Input, if it may be kept
	ooo   []span // what arrived before its turn
	stamp uint32 // of ooo's latest

	finIn      bool // the peer's FIN has been reached
	finSeen    bool // or has been seen, at finAt
	finAt      uint32
	urgent     uint32
	urgentSeen bool

	copied   int // by the user within this round trip, for the window
	copiedAt clock.Time

	dsack    wire.Block // to be told
	hasDSACK bool
}

// owed are the ACKs that are to be sent.
type owed struct {
	due       bool
	unacked   int // bytes received since the last ACK was sent
	since     clock.Time
	quick     int // ACKs at once that are left
	pingpong  bool
	last      uint32 // acknowledged
	echoCE    bool   // by ECE (RFC 3168)
	challenge struct {
		at clock.Time
		n  int
	}
}

// agreed are the options in force.
type agreed struct {
	ts, sack, ecn     bool
	scaled            bool
	shiftOut, shiftIn uint8
	peerMSS           int
	tsOffset          uint32
	tsRecent          uint32
	tsRecentAt        clock.Time
}

// congestion is what decides about the window, and what it is told.
type congestion struct {
	alg       Congestion
	model     Model // alg, if it is one
	round     uint64
	roundEnd  uint32
	limitedAt uint32 // where the window last held the sender
	cwr       bool   // is to be sent (RFC 3168)
	// paceAt is when the rate allows the next segment. It is no timer: what
	// has passed is counted from, as credit for a burst.
	paceAt clock.Time
}

// tries counts what the peer has not answered.
type tries struct {
	timeouts   int // in a row
	backoff    int // of the RTO
	probes     int // of zero windows
	keepAlives int
	stuckSince clock.Time // the oldest data without an answer
}

type span struct {
	from, to uint32
	stamp    uint32 // when it last grew: the larger the later
}

// Ends names a connection for NewConn and tells what its host gives it.
type Ends struct {
	Local, Remote netip.AddrPort
	// ISS is the initial sequence number (RFC 6528), TSOffset that of the
	// timestamps.
	ISS, TSOffset uint32
	// Link is what the interface's MTU leaves behind the IP header, Path
	// what the path's MTU does, in bytes.
	Link, Path int
	// Offload is the most data the interface takes in one segment that it
	// will cut itself; 0 when it does not.
	Offload int
}

// NewConn returns a connection in CLOSED. Then call Open, or Accept it.
func NewConn(cfg *Config, out Output, e Ends) *Conn {
	c := &Conn{}
	c.Init(cfg, out, e)
	return c
}

// Init makes a Conn that is embedded ready.
func (c *Conn) Init(cfg *Config, out Output, e Ends) {
	*c = Conn{cfg: cfg, out: out, local: e.Local, remote: e.Remote}
	c.snd.iss, c.snd.una, c.snd.nxt, c.snd.small, c.snd.bufSeq = e.ISS, e.ISS, e.ISS, e.ISS, e.ISS+1
	c.opt.tsOffset = e.TSOffset
	c.path.link, c.path.size, c.path.gso = e.Link, min(e.Path, e.Link), e.Offload
	c.path.probeAt = clock.Never
	c.timer.clear()
	c.rtt.rto = cfg.initialRTO()
	c.ack.quick = orInt(cfg.QuickACKs, 16)
	c.snd.limit, c.rcv.limit = min(initialSend, cfg.sendBuffer()), min(initialReceive, cfg.receiveBuffer())
	if cfg.FixedBuffers {
		c.snd.limit, c.rcv.limit = cfg.sendBuffer(), cfg.receiveBuffer()
	}
	c.noDelay = cfg.NoDelay
	c.opt.peerMSS = 536
	if c.remote.Addr().Is6() {
		c.opt.peerMSS = 1220 // RFC 9293 §3.7.1
	}
	c.opt.shiftIn = cfg.windowScale()
	if cfg.Congestion != nil {
		c.cc.alg = cfg.Congestion()
	} else {
		c.cc.alg = NewCubic()
	}
	c.cc.model, _ = c.cc.alg.(Model)
	c.rack.mult = 1
	// Zero would lie ahead of half of all initial numbers.
	c.rack.fack, c.rec.point, c.cc.limitedAt = e.ISS, e.ISS, e.ISS
}

// Buffers begin small, as most connections need little.
const (
	initialSend    = 128 << 10
	initialReceive = 128 << 10
)

// Open begins an active open: the SYN goes out with the next Poll.
func (c *Conn) Open(now clock.Time) {
	c.now = now
	c.win.MSS = c.announced()
	c.snd.synDue = true
	c.snd.nxt = c.snd.iss + 1
	c.opt.ecn = c.cfg.ECN
	c.rcv.edge = c.rcv.nxt + uint32(min(c.rcv.limit, 0xffff))
	c.become(SynSent)
	c.timer[timerRTO] = now.Add(c.rtt.rto)
}

// Accept makes the connection the answer to a SYN: it enters SYN-RECEIVED and
// answers with the next Poll.
func (c *Conn) Accept(now clock.Time, syn wire.Segment) {
	c.now = now
	o := syn.Options()
	c.takeSYN(syn, &o)
	c.opt.ecn = c.cfg.ECN && syn.Flags().Has(wire.ECE|wire.CWR)
	c.snd.nxt = c.snd.iss + 1
	c.snd.synDue = true
	c.become(SynReceived)
	c.timer[timerRTO] = now.Add(c.rtt.rto)
}

// AcceptCookie makes the connection one whose SYN was answered statelessly;
// what the cookie kept stands in o and ecn (RFC 4987 §3.6). The caller gives the
// ACK to Input next.
func (c *Conn) AcceptCookie(now clock.Time, irs uint32, o *wire.Options, ecn bool) {
	c.now = now
	c.rcv.irs, c.rcv.nxt = irs, irs+1
	c.takeOptions(o)
	if c.opt.ts {
		c.opt.tsRecent, c.opt.tsRecentAt = o.TSVal, now
	}
	c.opt.ecn = ecn
	c.snd.nxt = c.snd.iss + 1
	c.rcv.edge = c.rcv.nxt + uint32(min(c.rcv.limit, 0xffff))
	c.state = SynReceived
}

// announced is the MSS option's value (RFC 9293 §3.7.1, RFC 6691): the
// interface's MTU less fixed headers.
func (c *Conn) announced() int {
	n := min(c.path.link-wire.MinHeader, 0xffff)
	if c.cfg.MSS > 0 {
		n = min(n, c.cfg.MSS)
	}
	return n
}

func (c *Conn) takeSYN(s wire.Segment, o *wire.Options) {
	c.rcv.irs, c.rcv.nxt = s.Seq(), s.Seq()+1
	c.ack.last = c.rcv.nxt // by the SYN-ACK, or by what answers it
	c.rcv.edge = c.rcv.nxt + uint32(min(c.rcv.limit, 0xffff))
	c.takeOptions(o)
	if c.opt.ts {
		c.opt.tsRecent, c.opt.tsRecentAt = o.TSVal, c.now
	}
	// RFC 7323 §2.2: the window of a SYN is never scaled.
	c.snd.wnd = int(s.Window())
	c.snd.maxWnd = max(c.snd.maxWnd, c.snd.wnd)
	c.snd.wl1 = s.Seq()
}

func (c *Conn) takeOptions(o *wire.Options) {
	if o.MSS != 0 {
		c.opt.peerMSS = max(int(o.MSS), minMSS)
	}
	c.opt.ts = o.Timestamps && !c.cfg.NoTimestamps
	c.opt.sack = o.SACKPermitted && !c.cfg.NoSACK
	c.opt.scaled = o.WindowScale >= 0 && !c.cfg.NoWindowScale
	if c.opt.scaled {
		c.opt.shiftOut = uint8(o.WindowScale)
	} else {
		c.opt.shiftIn, c.opt.shiftOut = 0, 0
	}
	c.setMSS("handshake")
	c.win = Window{Cwnd: c.initialWindow(), Ssthresh: 1 << 30, MSS: c.path.mss}
}

// initialWindow is RFC 6928 §2: ten segments, fewer when they are large.
func (c *Conn) initialWindow() int {
	if n := c.cfg.InitialWindow; n > 0 {
		return n * c.path.mss
	}
	return min(10*c.path.mss, max(2*c.path.mss, 14600))
}

// minMSS keeps a hostile peer from having us send a segment for each byte.
const minMSS = 48

// setMSS computes the data that fits into a segment.
func (c *Conn) setMSS(why string) {
	old := c.path.mss
	c.path.mss = c.segmentFor(c.path.size)
	c.win.MSS = c.path.mss
	if old != c.path.mss && old != 0 {
		c.note(Event{Kind: MSSChanged, Why: why, Old: old, New: c.path.mss})
	}
}

// segmentFor is the data of a segment for a size of the path: never more than
// the peer takes (RFC 9293 §3.7.1).
func (c *Conn) segmentFor(path int) int {
	n := min(path-wire.MinHeader, c.opt.peerMSS)
	if c.opt.ts {
		n -= 12
	}
	return max(n, 8)
}

// State is the state of RFC 9293 §3.3.2.
func (c *Conn) State() State { return c.state }

// Err is what ended the connection, or nil.
func (c *Conn) Err() error { return c.err }

// Ends returns the addresses of this side and of the other.
func (c *Conn) Ends() (local, remote netip.AddrPort) { return c.local, c.remote }

func (c *Conn) become(s State) {
	if c.state == s {
		return
	}
	c.state = s
	c.note(Event{Kind: StateChanged})
}

// established is entered once, from either open.
func (c *Conn) established() {
	c.snd.bufSeq = c.snd.iss + 1
	if c.tries.timeouts > 0 {
		// RFC 5681 §3.1: the SYN or its answer was lost.
		c.win.Cwnd = c.path.mss
		if c.rtt.srtt == 0 {
			c.rtt.rto = min(max(c.rtt.rto, 3*time.Second), c.cfg.maxRTO()) // RFC 6298 §5.7
		}
	}
	c.tries.backoff, c.tries.timeouts = 0, 0
	c.timer[timerRTO] = clock.Never
	c.rcv.copiedAt = c.now
	c.cc.roundEnd = c.snd.nxt
	c.become(Established)
	if c.snd.finQueued {
		c.become(FinWait1)
	}
	c.touchKeepAlive()
}

// fail ends the connection at once.
func (c *Conn) fail(err error) {
	if c.state == Closed {
		return
	}
	if c.err == nil {
		c.err = err
	}
	c.note(Event{Kind: ConnectionFailed, Why: err.Error()})
	c.shutdown()
}

// shutdown brings the connection to CLOSED; what was received stays readable.
func (c *Conn) shutdown() {
	c.become(Closed)
	c.snd.buf.release(c.cfg.Buffers)
	c.board.records, c.board.head = nil, 0
	c.rcv.ooo = nil
	c.timer.clear()
	c.cc.paceAt, c.snd.synDue, c.ack.due = 0, false, false
	if c.orphan || c.rcv.buf.n == 0 {
		c.rcv.buf.release(c.cfg.Buffers)
	}
}
