package http2

import (
	"errors"
	"fmt"
	"time"

	"peel/clock"
	"peel/wire/hpack"
	"peel/wire/httpfield"
)

// Config sets the limits of a Conn. The zero value is a client's with safe
// defaults.
type Config struct {
	// Server makes this the server's side.
	Server bool
	// StreamWindow is how many bytes of one body the peer may send before it
	// is told to go on; 0 means 1 MiB for clients, 256 KiB for servers.
	StreamWindow uint32
	// ConnectionWindow is the same for all bodies together; 0 means 16 MiB
	// and 1 MiB. Credit for the connection is given when data comes, credit
	// for a stream when it is read: an unread body never stalls another one,
	// and what can be held unread is bounded by StreamWindow for each stream.
	ConnectionWindow uint32
	// MaxStreams bounds the peer's concurrent streams; 0 means 128 for
	// servers. Clients allow no push.
	MaxStreams uint32
	// Headers bounds a decoded header list; zero fields mean 64 KiB and 256
	// fields for clients, 16 KiB and 128 for servers.
	Headers hpack.Limits
	// HeaderTable bounds the HPACK tables in bytes; 0 means 4,096.
	HeaderTable uint32

	// SettingsTimeout bounds the wait for the peer's SETTINGS ACK; 0 is 30 s.
	SettingsTimeout time.Duration
	// PingAfter is how long nothing may come, while streams are open, before
	// a PING asks whether the peer is there; 0 means 15 s. PingTimeout is how
	// long the answer may take; 0 means 15 s.
	PingAfter, PingTimeout time.Duration
	// StallTimeout is how long a stream may wait for a window that the peer
	// does not open; 0 means 60 s.
	StallTimeout time.Duration
}

func (c *Config) fill() {
	set(&c.StreamWindow, 1<<20, 256<<10, c.Server)
	set(&c.ConnectionWindow, 16<<20, 1<<20, c.Server)
	set(&c.MaxStreams, 0, 128, c.Server)
	set(&c.Headers.MaxFields, 256, 128, c.Server)
	set(&c.Headers.MaxListSize, 64<<10, 16<<10, c.Server)
	set(&c.HeaderTable, 4096, 4096, c.Server)
	set(&c.SettingsTimeout, 30*time.Second, 30*time.Second, c.Server)
	set(&c.PingAfter, 15*time.Second, 15*time.Second, c.Server)
	set(&c.PingTimeout, 15*time.Second, 15*time.Second, c.Server)
	set(&c.StallTimeout, time.Minute, time.Minute, c.Server)
	c.StreamWindow = min(c.StreamWindow, maxWindow)
	c.ConnectionWindow = max(min(c.ConnectionWindow, maxWindow), 65535)
}

func set[T comparable](v *T, client, server T, isServer bool) {
	var zero T
	if *v == zero {
		*v = client
		if isServer {
			*v = server
		}
	}
}

const (
	maxWindow   = 1<<31 - 1
	maxStreamID = 1<<31 - 1
	// ourMaxFrame is the default of SETTINGS_MAX_FRAME_SIZE, which is kept.
	ourMaxFrame = 16384
	// assumedStreams is the limit before the peer's first SETTINGS (RFC 9113
	// §6.5.2 recommends at least 100).
	assumedStreams = 100
	// outputHigh is how much may wait to be written before SendData takes no
	// more; outputMax how much before the peer counts as one that does not
	// read.
	outputHigh = 256 << 10
	outputMax  = 1 << 20
)

// Preface is what a client sends first (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// ConnError ends a connection.
type ConnError struct {
	Code ErrCode
	What string
	// Remote tells that the peer said so, in a GOAWAY.
	Remote bool
}

func (e *ConnError) Error() string { return fmt.Sprintf("http2: %v: %s", e.Code, e.What) }

// Errors of OpenStream.
var (
	// ErrStreamLimit: the peer allows no more streams now.
	ErrStreamLimit = errors.New("http2: the peer's limit of concurrent streams is reached")
	// ErrGoingAway: the connection takes no new streams.
	ErrGoingAway = errors.New("http2: the connection is going away")
	// ErrIDsExhausted: all stream identifiers were used.
	ErrIDsExhausted = errors.New("http2: no stream identifiers are left")
	// ErrNoStream: there is no such stream, or its sending side is closed.
	ErrNoStream = errors.New("http2: the stream is not open for sending")
)

// EventType says what an Event is.
type EventType uint8

// Events.
const (
	// EventRequest: a request's head (servers).
	EventRequest EventType = iota + 1
	// EventInformational: a 1xx response (clients).
	EventInformational
	// EventResponse: a final response's head (clients).
	EventResponse
	// EventTrailers: trailer fields; the stream's receiving side has ended.
	EventTrailers
	// EventData: a piece of a body.
	EventData
	// EventReset: the stream is gone, by either side; see Reset.
	EventReset
	// EventWindowOpened: a stream that could not send can go on; StreamID 0
	// means any of them.
	EventWindowOpened
	// EventSettings: the peer's SETTINGS were applied.
	EventSettings
	// EventGoAway: the peer takes no new streams. StreamID is its last one,
	// Data what it says beside Code; those above the last one come as
	// EventReset, unprocessed.
	EventGoAway
)

// Event is one thing that the peer's bytes mean. Fields and Data are valid
// until the next Input.
type Event struct {
	Type      EventType
	StreamID  uint32
	EndStream bool
	// TooLarge tells that a header list was over the limit and Fields is cut.
	TooLarge bool
	Fields   httpfield.List
	Data     []byte
	Code     ErrCode
	Reset    ResetInfo
}

// ResetInfo says how a stream was ended.
type ResetInfo struct {
	Code ErrCode
	// Unprocessed tells that the peer did not act on the request: it can be
	// sent again (RFC 9113 §8.7).
	Unprocessed bool
	// Ours tells that this side reset it; Why says for what.
	Ours bool
	Why  string
	// GoAway tells that no RST_STREAM came: the peer said GOAWAY, with this
	// Code, and names an earlier stream as the last one that it looks at.
	GoAway bool
}

// stream is one stream that is not idle and not closed (RFC 9113 §5.1):
//
//	idle ──HEADERS──▶ open ──END_STREAM──▶ half-closed ──END_STREAM──▶ closed
//	                    └────────────RST_STREAM, either side────────────▲
//
// ended says which sides have sent END_STREAM. With both, or with a
// RST_STREAM, the stream is removed: an identifier that is not in the table is
// idle when it is above the highest one used, and closed otherwise.
type stream struct {
	id         uint32
	localEnd   bool
	remoteEnd  bool
	gotHead    bool
	method     string // of the request that this side sent
	bodiless   string // why the response has no body, if so
	sendWindow int64
	recvWindow int64
	unread     int64 // given to the application and not yet consumed
	credit     int64 // consumed and not yet told to the peer
	length     int64 // announced by content-length, -1 when not
	got        int64
	blocked    clock.Time // since when it waits for a window; 0 if not
}

// Conn is one side of a connection. Feed it what arrives with Input, write
// what TakeOutput gives, call Poll at Deadline. It is not safe for concurrent use.
type Conn struct {
	cfg Config
	enc *hpack.Encoder
	dec *hpack.Decoder

	in     []byte // the beginning of a frame
	out    []byte
	events []Event
	fields []httpfield.List // lists lent to the events of one Input
	lent   int
	data   []byte // frames put together, to which events point
	err    error

	prefaceLeft int
	gotSettings bool
	block       headerBlock

	streams   map[uint32]*stream
	free      []*stream
	local     uint32 // streams opened by this side
	remote    uint32 // streams opened by the peer
	nextID    uint32
	lastLocal uint32 // highest identifier used by this side
	lastPeer  uint32 // highest identifier used by the peer
	resets    [64]uint32
	resetAt   int

	sendWindow  int64
	recvWindow  int64
	credit      int64
	stallCheck  clock.Time // when streams that wait for a window are looked at; 0 if none does
	peerInitial int64
	peerFrame   uint32
	peerStreams uint32

	goAwaySent   bool
	graceful     clock.Time // when the second GOAWAY is due; 0 if none
	goAwayGot    bool
	goAwayLast   uint32
	pendingAcks  int
	settingsSent clock.Time
	lastRead     clock.Time
	pingSent     clock.Time

	noise, churn budget
}

// headerBlock is a header block whose end has not come.
type headerBlock struct {
	stream uint32 // 0 when there is none
	flags  Flags
	frames int
	buf    []byte
}

// NewConn begins a connection. Its output holds what each side sends first.
func NewConn(now clock.Time, cfg Config) *Conn {
	cfg.fill()
	c := &Conn{cfg: cfg, enc: hpack.NewEncoder(cfg.HeaderTable), dec: hpack.NewDecoder(max(cfg.HeaderTable, hpack.DefaultTableSize)),
		streams: map[uint32]*stream{}, nextID: 1, sendWindow: 65535, recvWindow: int64(cfg.ConnectionWindow),
		peerInitial: 65535, peerFrame: 16384, peerStreams: assumedStreams, settingsSent: now, lastRead: now, pendingAcks: 1,
		noise: budget{most: 2000, perSecond: 500}, churn: budget{most: 400, perSecond: 200}}
	list := []Setting{{SettingInitialWindowSize, cfg.StreamWindow}, {SettingMaxHeaderListSize, uint32(cfg.Headers.MaxListSize)}}
	if cfg.HeaderTable != 4096 {
		list = append(list, Setting{SettingHeaderTableSize, cfg.HeaderTable})
	}
	if cfg.Server {
		c.nextID = 2
		c.prefaceLeft = len(Preface)
		list = append(list, Setting{SettingMaxConcurrentStreams, cfg.MaxStreams})
	} else {
		c.out = append(c.out, Preface...)
		list = append([]Setting{{SettingEnablePush, 0}}, list...)
	}
	c.out = AppendSettings(c.out, list...)
	if n := cfg.ConnectionWindow - 65535; n > 0 {
		c.out = appendWindowUpdate(c.out, 0, n)
	}
	return c
}

// TakeOutput returns what must be written, and goes on with swap, an empty
// slice whose memory it may use.
func (c *Conn) TakeOutput(swap []byte) []byte {
	out := c.out
	c.out = swap[:0]
	return out
}

// HasOutput tells whether there is something to write.
func (c *Conn) HasOutput() bool { return len(c.out) > 0 }

// Streams returns how many streams are open.
func (c *Conn) Streams() int { return len(c.streams) }

// PeerMaxStreams returns how many streams the peer allows at once.
func (c *Conn) PeerMaxStreams() uint32 { return c.peerStreams }

// Room returns how many more streams can be opened now (clients).
func (c *Conn) Room() int {
	if c.err != nil || c.goAwayGot || c.goAwaySent || c.local >= c.peerStreams {
		return 0
	}
	return int(min(c.peerStreams-c.local, 1<<30))
}

// SendWindow returns how many bytes of bodies may be sent now.
func (c *Conn) SendWindow() int64 { return c.sendWindow }

// Closed tells that the connection has ended: by an error, or gracefully with
// no stream left.
func (c *Conn) Closed() bool {
	return c.err != nil || c.goAwaySent && c.graceful == 0 && len(c.streams) == 0
}

// fail ends the connection with a GOAWAY.
func (c *Conn) fail(code ErrCode, format string, args ...any) error {
	if c.err == nil {
		e := &ConnError{Code: code, What: fmt.Sprintf(format, args...)}
		c.err = e
		c.goAwaySent = true
		c.out = AppendGoAway(c.out, c.lastPeer, code, e.What)
	}
	return c.err
}

// Shutdown ends the connection at once: no new streams, and those open are
// not waited for.
func (c *Conn) Shutdown(code ErrCode, debug string) {
	if c.err == nil {
		c.goAwaySent = true
		c.graceful = 0
		c.out = AppendGoAway(c.out, c.lastPeer, code, debug)
	}
}

// graceTime is what a peer has to see the first GOAWAY of two.
const graceTime = time.Second

// Drain ends the connection gracefully (RFC 9113 §6.8): first a GOAWAY that
// closes no stream, after a while one that names the last stream taken.
func (c *Conn) Drain(now clock.Time) {
	if c.err != nil || c.goAwaySent {
		return
	}
	c.goAwaySent = true
	c.graceful = now.Add(graceTime)
	c.out = AppendGoAway(c.out, maxStreamID, ErrCodeNo, "")
}

// budget bounds how much of something a peer may do: most at once, and so
// many each second.
type budget struct {
	most, perSecond float64
	level           float64
	last            clock.Time
}

func (b *budget) spend(n float64, now clock.Time) bool {
	if b.last != 0 && now > b.last {
		b.level = max(0, b.level-now.Sub(b.last).Seconds()*b.perSecond)
	}
	b.last = now
	b.level += n
	return b.level <= b.most
}

// Deadline returns when Poll must be called at the latest.
func (c *Conn) Deadline() clock.Time {
	if c.err != nil {
		return clock.Never
	}
	d := clock.Never
	if c.pendingAcks > 0 {
		d = min(d, c.settingsSent.Add(c.cfg.SettingsTimeout))
	}
	if c.graceful != 0 {
		d = min(d, c.graceful)
	}
	switch {
	case c.pingSent != 0:
		d = min(d, c.pingSent.Add(c.cfg.PingTimeout))
	case len(c.streams) > 0:
		d = min(d, c.lastRead.Add(c.cfg.PingAfter))
	}
	if c.stallCheck != 0 {
		d = min(d, c.stallCheck)
	}
	return d
}

// Poll does what time demands. An error ends the connection.
func (c *Conn) Poll(now clock.Time) ([]Event, error) {
	c.events = c.events[:0]
	if c.err != nil {
		return nil, c.err
	}
	if c.pendingAcks > 0 && now >= c.settingsSent.Add(c.cfg.SettingsTimeout) {
		return nil, c.fail(ErrCodeSettingsTimeout, "the peer did not acknowledge SETTINGS within %v", c.cfg.SettingsTimeout)
	}
	if c.graceful != 0 && now >= c.graceful {
		c.graceful = 0
		c.out = AppendGoAway(c.out, c.lastPeer, ErrCodeNo, "")
	}
	if c.pingSent != 0 && now >= c.pingSent.Add(c.cfg.PingTimeout) {
		return nil, c.fail(ErrCodeNo, "nothing came for %v, and no answer to a PING", now.Sub(c.lastRead))
	}
	if c.pingSent == 0 && len(c.streams) > 0 && now >= c.lastRead.Add(c.cfg.PingAfter) {
		c.pingSent = now
		c.out = AppendPing(c.out, false, [8]byte{'p', 'e', 'e', 'l', 'p', 'i', 'n', 'g'})
	}
	if c.stallCheck != 0 && now >= c.stallCheck {
		c.stallCheck = 0
		for _, s := range c.streams {
			switch {
			case s.blocked == 0:
			case now >= s.blocked.Add(c.cfg.StallTimeout):
				c.reset(s, ErrCodeCancel, fmt.Sprintf("the peer opened no window for %v", c.cfg.StallTimeout))
			default:
				c.watch(now)
			}
		}
	}
	return c.events, nil
}

// watch has the streams that wait for a window looked at after a while: a
// stalled one is found within a quarter of its limit.
func (c *Conn) watch(now clock.Time) {
	if c.stallCheck == 0 {
		c.stallCheck = now.Add(c.cfg.StallTimeout / 4)
	}
}
