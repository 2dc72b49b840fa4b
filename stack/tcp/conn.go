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
	cfg     *Config
	out     Output
	now     clock.Time
	state   State
	orphan  bool // the user has closed it for good
	noDelay bool
	err     error
	soft    error // what ICMP told while the SYN is unanswered

	local, remote netip.AddrPort

	// Sending (RFC 9293 §3.3.1).
	iss, una, nxt uint32
	wnd, maxWnd   int // of the peer, in bytes
	wl1, wl2      uint32
	peerMSS       int
	path          int // what a packet of this path leaves for TCP's options and data
	link          int // the same for the interface
	mss           int // of data, with options of every segment deducted
	gso           int // most data of one SendSegment; 0: mss
	shiftOut      uint8
	send          outbox
	sendSeq       uint32 // of send's first byte
	sendLimit     int
	finQueued     bool
	finSent       bool
	urgent        uint32 // end of the urgent data
	urgentOut     bool
	small         uint32 // end of the last segment that was not full
	limitedAt     uint32 // where the congestion window last held the sender
	segmentsOut   uint64

	// Receiving.
	irs, rcvNxt uint32
	recv        inbox
	owner       Owner  // of the payload of the segment in Input, if it may be kept
	edge        uint32 // of the window, as announced
	shiftIn     uint8
	ooo         []span
	stamp       uint32
	rcvLimit    int
	finIn       bool // the peer's FIN has been reached
	finSeen     bool // or has been seen, at finAt
	finAt       uint32
	urgentIn    uint32
	urgentSeen  bool
	copied      int // by the user within this round trip, for the window
	copiedAt    clock.Time
	dsack       wire.Block
	hasDSACK    bool

	// Options in force.
	ts, sack, ecn bool
	scaled        bool
	tsOffset      uint32
	tsRecent      uint32
	tsRecentAt    clock.Time
	lastAckSent   uint32

	// ACKs to send.
	ackNow    bool
	unacked   int // bytes received since the last ACK was sent
	quick     int
	pingpong  bool
	ackAt     clock.Time
	ackSince  clock.Time
	ceSeen    bool // ECE is to be echoed
	cwrOut    bool // CWR is to be sent
	synDue    bool
	challenge struct {
		at clock.Time
		n  int
	}

	recovery
	rtt      roundTrip
	win      Window
	cc       Congestion
	model    Model
	round    uint64
	roundEnd uint32

	// Timers; Never when off.
	rtoAt, tlpAt, rackAt, persistAt clock.Time
	keepAt, lingerAt, paceAt        clock.Time
	backoff                         int // of the RTO
	retries                         int
	probes                          int // of zero windows
	keeps                           int
	heard                           clock.Time // from the peer, last
	sentAt                          clock.Time // data, last
	stuckSince                      clock.Time // the oldest data without an answer
	probing                         bool       // what is sent is an MTU probe
	held                            bool       // by Nagle, already told
	shut                            bool       // zero window, already told

	mtu struct {
		timeouts int  // of large segments, in a row
		proved   bool // a full segment has been delivered
		ceiling  int  // the path's size before it was lowered
		probeAt  clock.Time
		wait     time.Duration
	}
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
	*c = Conn{cfg: cfg, out: out, local: e.Local, remote: e.Remote, iss: e.ISS, una: e.ISS, nxt: e.ISS, small: e.ISS, limitedAt: e.ISS, sendSeq: e.ISS + 1, tsOffset: e.TSOffset,
		link: e.Link, path: min(e.Path, e.Link), gso: e.Offload,
		rtoAt: clock.Never, tlpAt: clock.Never, rackAt: clock.Never, persistAt: clock.Never, keepAt: clock.Never, lingerAt: clock.Never, ackAt: clock.Never}
	c.mtu.probeAt = clock.Never
	c.rtt.rto = cfg.initialRTO()
	c.quick = orInt(cfg.QuickACKs, 16)
	c.sendLimit, c.rcvLimit = min(initialSend, cfg.sendBuffer()), min(initialReceive, cfg.receiveBuffer())
	if cfg.FixedBuffers {
		c.sendLimit, c.rcvLimit = cfg.sendBuffer(), cfg.receiveBuffer()
	}
	c.noDelay = cfg.NoDelay
	c.peerMSS = 536
	if c.remote.Addr().Is6() {
		c.peerMSS = 1220 // RFC 9293 §3.7.1
	}
	c.shiftIn = cfg.windowScale()
	if cfg.Congestion != nil {
		c.cc = cfg.Congestion()
	} else {
		c.cc = NewCubic()
	}
	c.model, _ = c.cc.(Model)
	c.rack.mult = 1
	// Zero would lie ahead of half of all initial numbers.
	c.rack.fack, c.recover = e.ISS, e.ISS
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
	c.synDue = true
	c.nxt = c.iss + 1
	c.ecn = c.cfg.ECN
	c.edge = c.rcvNxt + uint32(min(c.rcvLimit, 0xffff))
	c.become(SynSent)
	c.rtoAt = now.Add(c.rtt.rto)
}

// Accept makes the connection the answer to a SYN: it enters SYN-RECEIVED and
// answers with the next Poll.
func (c *Conn) Accept(now clock.Time, syn wire.Segment) {
	c.now = now
	o := syn.Options()
	c.takeSYN(syn, &o)
	c.ecn = c.cfg.ECN && syn.Flags().Has(wire.ECE|wire.CWR)
	c.nxt = c.iss + 1
	c.synDue = true
	c.become(SynReceived)
	c.rtoAt = now.Add(c.rtt.rto)
}

// AcceptCookie makes the connection one whose SYN was answered statelessly;
// what the cookie kept stands in o and ecn (RFC 4987 §3.6). The caller gives the
// ACK to Input next.
func (c *Conn) AcceptCookie(now clock.Time, irs uint32, o *wire.Options, ecn bool) {
	c.now = now
	c.irs, c.rcvNxt = irs, irs+1
	c.takeOptions(o)
	if c.ts {
		c.tsRecent, c.tsRecentAt = o.TSVal, now
	}
	c.ecn = ecn
	c.nxt = c.iss + 1
	c.edge = c.rcvNxt + uint32(min(c.rcvLimit, 0xffff))
	c.state = SynReceived
}

// announced is the MSS option's value (RFC 9293 §3.7.1, RFC 6691): the
// interface's MTU less fixed headers.
func (c *Conn) announced() int {
	n := min(c.link-wire.MinHeader, 0xffff)
	if c.cfg.MSS > 0 {
		n = min(n, c.cfg.MSS)
	}
	return n
}

func (c *Conn) takeSYN(s wire.Segment, o *wire.Options) {
	c.irs, c.rcvNxt = s.Seq(), s.Seq()+1
	c.lastAckSent = c.rcvNxt // by the SYN-ACK, or by what answers it
	c.edge = c.rcvNxt + uint32(min(c.rcvLimit, 0xffff))
	c.takeOptions(o)
	if c.ts {
		c.tsRecent, c.tsRecentAt = o.TSVal, c.now
	}
	// RFC 7323 §2.2: the window of a SYN is never scaled.
	c.wnd = int(s.Window())
	c.maxWnd = max(c.maxWnd, c.wnd)
	c.wl1 = s.Seq()
	c.heard = c.now
}

func (c *Conn) takeOptions(o *wire.Options) {
	if o.MSS != 0 {
		c.peerMSS = max(int(o.MSS), minMSS)
	}
	c.ts = o.Timestamps && !c.cfg.NoTimestamps
	c.sack = o.SACKPermitted && !c.cfg.NoSACK
	c.scaled = o.WindowScale >= 0 && !c.cfg.NoWindowScale
	if c.scaled {
		c.shiftOut = uint8(o.WindowScale)
	} else {
		c.shiftIn, c.shiftOut = 0, 0
	}
	c.setMSS("handshake")
	c.win = Window{Cwnd: c.initialWindow(), Ssthresh: 1 << 30, MSS: c.mss}
}

// initialWindow is RFC 6928 §2: ten segments, fewer when they are large.
func (c *Conn) initialWindow() int {
	if n := c.cfg.InitialWindow; n > 0 {
		return n * c.mss
	}
	return min(10*c.mss, max(2*c.mss, 14600))
}

// minMSS keeps a hostile peer from having us send a segment for each byte.
const minMSS = 48

// setMSS computes the data that fits into a segment.
func (c *Conn) setMSS(why string) {
	old := c.mss
	c.mss = c.segmentFor(c.path)
	c.win.MSS = c.mss
	if old != c.mss && old != 0 {
		c.note(Event{Kind: MSSChanged, Why: why, Old: old, New: c.mss})
	}
}

// segmentFor is the data of a segment for a size of the path: never more than
// the peer takes (RFC 9293 §3.7.1).
func (c *Conn) segmentFor(path int) int {
	n := min(path-wire.MinHeader, c.peerMSS)
	if c.ts {
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
	c.sendSeq = c.iss + 1
	if c.retries > 0 {
		// RFC 5681 §3.1: the SYN or its answer was lost.
		c.win.Cwnd = c.mss
		if c.rtt.srtt == 0 {
			c.rtt.rto = min(max(c.rtt.rto, 3*time.Second), c.cfg.maxRTO()) // RFC 6298 §5.7
		}
	}
	c.backoff, c.retries = 0, 0
	c.rtoAt = clock.Never
	c.copiedAt = c.now
	c.roundEnd = c.nxt
	c.become(Established)
	if c.finQueued {
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
	c.send.release(c.cfg.Buffers)
	c.sent, c.sentHead = nil, 0
	c.ooo = nil
	c.rtoAt, c.tlpAt, c.rackAt, c.persistAt = clock.Never, clock.Never, clock.Never, clock.Never
	c.keepAt, c.lingerAt, c.ackAt = clock.Never, clock.Never, clock.Never
	c.paceAt, c.synDue, c.ackNow = 0, false, false
	if c.orphan || c.recv.n == 0 {
		c.recv.release(c.cfg.Buffers)
	}
}
