package tcp

import (
	"errors"
	"time"

	wire "peel/wire/tcp"
)

// Config is how a connection behaves. The zero value is a modern host's:
// timestamps, SACK, window scaling, CUBIC, RACK-TLP, Nagle and delayed ACKs.
// A Config is shared by connections and not changed after the first.
type Config struct {
	// NoTimestamps, NoSACK and NoWindowScale leave the option out
	// (RFC 7323, RFC 2018).
	NoTimestamps, NoSACK, NoWindowScale bool
	// ECN asks for explicit congestion notification, and agrees to it when
	// asked (RFC 3168).
	ECN bool
	// Congestion makes the congestion control; nil is CUBIC.
	Congestion func() Congestion
	// InitialWindow in segments; 0 is 10, or fewer of more than 1460 bytes
	// (RFC 6928).
	InitialWindow int
	// NoSlowStartAfterIdle keeps the window over a pause (RFC 5681 §4.1).
	NoSlowStartAfterIdle bool
	// Pacing spreads segments over the round trip. BBR paces always.
	Pacing bool
	// NoDelay sends small segments at once (without Nagle, RFC 9293 §3.7.4).
	NoDelay bool
	// DelayedACK is how long an ACK may wait; 0 is 40 ms, less than 0 is
	// not at all. RFC 9293 §3.8.6.3 allows up to 500 ms.
	DelayedACK time.Duration
	// QuickACKs is how many segments of a new connection are acknowledged at
	// once, to open the peer's window; 0 is 16, less than 0 is none.
	QuickACKs int
	// NoRACK falls back to three duplicate ACKs (RFC 5681) and NoTLP leaves
	// the tail loss probe out (RFC 8985).
	NoRACK, NoTLP bool
	// MinRTO and MaxRTO bound the retransmission timeout; 0 is 200 ms, as
	// Linux has it (RFC 6298 §2.4 says 1 s), and 120 s. InitialRTO is 1 s.
	MinRTO, MaxRTO, InitialRTO time.Duration
	// SynRetries bounds retransmissions of a SYN; 0 is 6: 127 s in all.
	// SynAckRetries is 5.
	SynRetries, SynAckRetries int
	// Retries bounds retransmissions of data; 0 is 15.
	Retries int
	// UserTimeout ends the connection when data stays unacknowledged for so
	// long (RFC 9293 §3.8.3); 0 leaves it to Retries.
	UserTimeout time.Duration
	// KeepAlive is the idle time before the first probe; 0 is none
	// (RFC 9293 §3.8.4). Then KeepAliveProbes (0 is 9) come each
	// KeepAliveInterval (0 is 75 s).
	KeepAlive, KeepAliveInterval time.Duration
	KeepAliveProbes              int
	// SendBuffer and ReceiveBuffer are the most bytes that are held for each
	// direction, up to 16 MiB; 0 is 4 MiB and 6 MiB. Buffers start small and
	// grow as the path can use them, unless FixedBuffers.
	SendBuffer, ReceiveBuffer int
	FixedBuffers              bool
	// TimeWait is 2 MSL; 0 is 60 s, as Linux has it.
	TimeWait time.Duration
	// FinWait2 bounds how long a closed connection waits for the peer's FIN;
	// 0 is 60 s.
	FinWait2 time.Duration
	// MSS is the most that is announced to the peer; 0 is what the interface
	// allows.
	MSS int
	// NoMTUProbing trusts ICMP alone: a path that drops large packets
	// silently is then a black hole (RFC 2923). Otherwise segments shrink
	// after BlackHole retransmissions (0 is 3) of a large one (RFC 4821).
	NoMTUProbing bool
	BlackHole    int
	// Buffers keeps memory between connections; may be nil.
	Buffers *Buffers
	// Observe is told the decisions that no packet shows; may be nil.
	Observe func(c *Conn, e Event)
}

func orDuration(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

func orInt(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func (f *Config) delayedACK() time.Duration { return orDuration(f.DelayedACK, 40*time.Millisecond) }
func (f *Config) minRTO() time.Duration     { return orDuration(f.MinRTO, 200*time.Millisecond) }
func (f *Config) maxRTO() time.Duration     { return orDuration(f.MaxRTO, 120*time.Second) }
func (f *Config) initialRTO() time.Duration { return orDuration(f.InitialRTO, time.Second) }
func (f *Config) timeWait() time.Duration   { return orDuration(f.TimeWait, 60*time.Second) }
func (f *Config) finWait2() time.Duration   { return orDuration(f.FinWait2, 60*time.Second) }
func (f *Config) sendBuffer() int           { return min(orInt(f.SendBuffer, 4<<20), maxBuffer) }
func (f *Config) receiveBuffer() int        { return min(orInt(f.ReceiveBuffer, 6<<20), maxBuffer) }

// windowScale is the least shift that lets the window field tell the whole
// receive buffer (RFC 7323 §2.2).
func (f *Config) windowScale() (shift uint8) {
	if f.NoWindowScale {
		return 0
	}
	for shift < 14 && f.receiveBuffer()>>shift > 0xffff {
		shift++
	}
	return shift
}

// maxBuffer keeps sequence numbers far from wrapping within a window.
const maxBuffer = 16 << 20

// What ends a connection.
var (
	// ErrReset: the peer sent a valid RST.
	ErrReset = errors.New("tcp: connection reset by peer")
	// ErrRefused: a RST answered the SYN.
	ErrRefused = errors.New("tcp: connection refused")
	// ErrTimeout: what was sent stayed unacknowledged.
	ErrTimeout = errors.New("tcp: connection timed out")
	// ErrKeepAlive: keep-alive probes stayed unanswered.
	ErrKeepAlive = errors.New("tcp: connection timed out: the peer does not answer keep-alive probes")
	// ErrAborted: this side reset the connection.
	ErrAborted = errors.New("tcp: connection aborted")
	// ErrClosed: this side closed the connection.
	ErrClosed = errors.New("tcp: connection closed")
)

// State of a connection (RFC 9293 §3.3.2).
type State uint8

const (
	// Closed: no connection.
	Closed State = iota
	// Listen: waits for a SYN.
	Listen
	// SynSent: sent a SYN, waits for the answer.
	SynSent
	// SynReceived: got a SYN and sent one, waits for its acknowledgement.
	SynReceived
	// Established: data flows both ways.
	Established
	// FinWait1: closed here, the FIN is not acknowledged.
	FinWait1
	// FinWait2: closed here and acknowledged; the peer may still send.
	FinWait2
	// CloseWait: the peer closed; this side may still send.
	CloseWait
	// Closing: both closed at once, our FIN is not acknowledged.
	Closing
	// LastAck: the peer closed first, our FIN is not acknowledged.
	LastAck
	// TimeWait: both closed; stays for 2 MSL, for segments still under way.
	TimeWait
)

var stateNames = [...]string{"CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"}

func (s State) String() string { return stateNames[s] }

// Outgoing is the header of a segment that is to be sent, and what its host has
// to know beside it. Ports and checksum are filled in by the host.
type Outgoing struct {
	wire.Header
	// ECT marks the packet as ECN-capable (RFC 3168 §5).
	ECT bool
	// Segment is the largest payload of one packet when the payload is more
	// than that and the network card cuts it; 0 otherwise.
	Segment int
}

// Output takes the segments of a connection. The payload comes in two pieces,
// which are copied before Output returns.
type Output interface {
	SendSegment(c *Conn, h *Outgoing, a, b []byte)
}
